"""The kernel of a nest, and how its work is cut into tiles when the sizes are known.

A tile is a block of rows; where there are no rows, a stretch of the columns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tahr.backends.native.kernel import Kernel
from tahr.backends.native.nests import Bound, Nest
from tahr.backends.native.passes import itemsize
from tahr.core import scalar, sizes
from tahr.core.scalar import Scalar
from tahr.core.sizes import Dim

# A tile has about so many elements: a few microseconds of work, against half a microsecond to hand it out. That is for
# expressions of so many nodes; where more is computed of each element, a tile has fewer, but not less than the last.
TILE = 16_384
LIGHT = 16
LEAST = 2_048
# Tiles that leave totals of long rows have so many rows, if that makes enough tiles.
MOST_ROWS, FEWEST_TILES = 64, 16
# Stretches of columns are multiples of so many.
STRETCH = 64


@dataclass(frozen=True)
class Loop:
    """A nest's kernel, with what its table of sizes holds.

    Attributes:
        nest: what it computes.
        kernel: the code.
        entries: the dimensions in the table, behind the size of a tile.
        kept: the expressions that are kept in scratch from one pass over a row to the next.
        is_narrow: whether the columns are written out; then everything is kept, in registers.
    """

    nest: Nest
    kernel: Kernel
    entries: tuple[Dim, ...]
    kept: tuple[Scalar, ...]
    is_narrow: bool

    def bind(self, known: Mapping[str, int]) -> Bound:
        """The call for exact values of the symbols."""
        rows, columns = count(self.nest.rows, known), count(self.nest.columns, known)
        leaves_columns = any(r.over == "column" for r in self.nest.reduces)
        tile, tiles = cut(rows, columns, bool(self.nest.rows), self.tile, leaves_columns)
        table = (tile, *(sizes.evaluate(d, known) for d in self.entries))  # pyright: ignore[reportArgumentType]
        return Bound(table, tiles, self.kept_bytes * (columns + 16))

    @property
    def kept_bytes(self) -> int:
        """The bytes of scratch for each column."""
        return sum(itemsize(e.dtype) for e in self.kept)

    @functools.cached_property
    def tile(self) -> int:
        """About how many elements a tile has: fewer, the more is computed of each."""
        return max(LEAST, min(TILE, TILE * LIGHT // max(len(scalar.ordered(self.nest.expressions)), 1)))

    def width(self, known: Mapping[str, int]) -> int:
        """How many columns there are."""
        return count(self.nest.columns, known)


def count(dims: Iterable[Dim], known: Mapping[str, int]) -> int:
    """How many elements some dimensions have."""
    result = 1
    for dim in dims:
        result *= sizes.evaluate(dim, known)  # pyright: ignore[reportArgumentType]
    return result


def cut(rows: int, columns: int, has_rows: bool, elements: int, leaves_columns: bool) -> tuple[int, int]:
    """How many rows (or columns, if there are no rows) a tile has, and how many tiles there are: at least one.

    Where each tile leaves a result for every column, tiles of a few long rows would leave nearly as much as they read.
    A few tiles are of one size, and so many that two or four threads get as many each.
    """
    tile = max(1, elements // max(columns, 1)) if has_rows else elements
    if leaves_columns:
        tile = max(tile, min(MOST_ROWS, -(-rows // FEWEST_TILES)))
    count = rows if has_rows else columns
    tiles = max(1, -(-count // tile))
    if 1 < tiles < FEWEST_TILES:
        wanted, unit = tiles if leaves_columns else -(-tiles // 4) * 4, 1 if has_rows else STRETCH
        tile = -(-count // (wanted * unit)) * unit
        tiles = -(-count // tile)
    return tile, tiles
