"""Loop nests with operands that lie across: neighbours in memory belong to neighbouring rows, not to one row.

Such an operand is a transposed matrix, or images whose channels lie in front of or behind the others'. Reading it
along a row touches one cache line for each element, and if the distance is a power of two, all of them compete for
the same few places of the cache. So *blocks* of neighbouring rows are worked on: what they need of such operands is
turned in registers, and written to scratch as the rows want it. Each cache line is read once, as a whole.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tahr.backends.native import ir, kernel, target as targets
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.loops import Emitter
from tahr.backends.native.nests import Access, Bound, Nest, Position, Source
from tahr.backends.native.passes import itemsize
from tahr.backends.native.products import call, declaration
from tahr.backends.native.tiles import Loop, count, cut
from tahr.backends.native.turning import turned
from tahr.core import sizes
from tahr.core.sizes import Dim

# A block has so many rows, and so many columns, unless whole rows are needed. More rows than a cache line holds: each
# column may lie in another page, and finding that takes as long.
ROWS = 64
COLUMNS = 256
# Where whole rows are needed, they have at most so many columns.
MOST_COLUMNS = 2048
# With fewer rows or columns than these there is little to be turned.
FEWEST_ROWS = 16
FEWEST_COLUMNS = 8


# ---------------------------------------------------------------- which nests


def across(nest: Nest) -> Nest | None:
    """The nest with the row dimension last along which an operand's elements follow each other; None if none does."""
    over = {r.over for r in nest.reduces}
    if "column" in over or len(nest.columns) != 1 or not nest.rows:
        return None
    (columns,) = nest.columns
    if _is_less(columns, FEWEST_COLUMNS) or (
        "row" in over and not (isinstance(columns, int) and columns <= MOST_COLUMNS)
    ):
        return None
    found = [a.strides.index(1) for a in _lying_across(nest).values()]
    stores = [a.strides[-1] for _, a in nest.stores]
    if not found or any(s not in (0, 1) for s in stores):
        return None
    axis = max(set(found), key=found.count)
    return None if _is_less(nest.rows[axis], FEWEST_ROWS) else _with_last(nest, axis)


def _is_less(dim: Dim, least: int) -> bool:
    return isinstance(dim, int) and dim < least


def _lying_across(nest: Nest) -> dict[int, Access]:
    """The inputs whose elements follow each other along a dimension of the rows, and not along the columns."""
    split = len(nest.rows)
    return {
        i: a
        for i, a in enumerate(nest.inputs)
        if isinstance(a, Access) and a.strides[-1] not in (-1, 0, 1) and 1 in a.strides[:split]
    }


def _with_last(nest: Nest, axis: int) -> Nest:
    """The nest with one row dimension behind the others."""
    split = len(nest.rows)
    order = [i for i in range(split) if i != axis] + [axis]
    numbers = {old: new for new, old in enumerate(order)} | {split: split}

    def moved(source: Source) -> Source:
        if isinstance(source, Position):
            return replace(source, axis=numbers[source.axis])
        return (
            replace(source, strides=_moved(source.strides, order)) if isinstance(source, Access) else source
        )

    return replace(
        nest,
        rows=tuple(nest.rows[i] for i in order),
        inputs=tuple(map(moved, nest.inputs)),
        stores=tuple((e, replace(a, strides=_moved(a.strides, order))) for e, a in nest.stores),
    )


def _moved(strides: Sequence[Dim], order: Sequence[int]) -> tuple[Dim, ...]:
    return (*(strides[i] for i in order), *strides[len(order) :])


# ---------------------------------------------------------------- code


@dataclass(frozen=True)
class BlockLoop(Loop):
    """A nest's kernel that works on blocks of rows.

    Attributes:
        turned: the bytes of an element of each operand that is turned.
    """

    turned: tuple[int, ...]

    def bind(self, known: Mapping[str, int]) -> Bound:
        """The call for exact values of the symbols."""
        rows, columns = count(self.nest.rows, known), count(self.nest.columns, known)
        last = count(self.nest.rows[-1:], known)
        width = max(1, columns if _needs_whole_rows(self.nest) else min(columns, COLUMNS))
        blocks = rows // max(last, 1) * -(-last // ROWS) * -(-columns // width)
        tile, tiles = cut(blocks, ROWS * width, True, self.tile, False)
        table = (tile, *(sizes.evaluate(d, known) for d in self.entries))  # pyright: ignore[reportArgumentType]
        return Bound(table, tiles, self.kept_bytes * (columns + 16) + 64 + sum(self.turned) * ROWS * width)


def _needs_whole_rows(nest: Nest) -> bool:
    return any(r.over == "row" for r in nest.reduces)


class BlockEmitter(Emitter):
    """Writes a nest by blocks of rows."""

    def _count_rows(self) -> str:
        """The number of blocks: none goes beyond the end of the last row dimension."""
        f = self.f
        self.last, columns = self._value(self.nest.rows[-1]), self._value(self.nest.columns[0])
        self.width = columns if _needs_whole_rows(self.nest) else f.minimum(columns, COLUMNS)
        self.width = f.maximum(self.width, 1)
        self.columns = columns
        self.across = f.div(f.add(columns, f.sub(self.width, 1)), self.width)
        self.down = f.div(f.add(self.last, ROWS - 1), ROWS)
        return f.mul(f.mul(self._product(self.nest.rows[:-1]), self.down), self.across)

    def _plan_stashes(self) -> None:
        super()._plan_stashes()
        f, last = self.f, len(self.nest.rows) - 1
        self.turned = {i: a for i, a in _lying_across(self.nest).items() if a.strides[last] == 1}
        kept = sum(itemsize(e.dtype) for e in self._stashed)
        before = f.mul(f.add(self.column_count, 16), kept)
        place = f.at(ir.I8, "%scratch", f.mul(f.div(f.add(before, 63), 64), 64))  # behind what is kept
        self.copies: dict[int, str] = {}
        for i, access in self.turned.items():
            self.copies[i] = place
            place = f.at(ir.I8, place, f.mul(self.width, ROWS * access.dtype.size))

    def _each_row(self, start: str, stop: str, totals: Mapping[int, str]) -> None:
        with self.f.loop(start, stop, hint="block") as block:
            self._block(block, totals)

    def _block(self, number: str, totals: Mapping[int, str]) -> None:
        """One block: its operands are turned, then its rows are computed."""
        f = self.f
        segment, block = f.rem(number, self.across), f.div(number, self.across)
        self.first = f.mul(f.rem(block, self.down), ROWS)
        rows = f.minimum(f.sub(self.last, self.first), ROWS)
        start = f.mul(segment, self.width)
        stop = f.minimum(f.add(start, self.width), self.columns)
        outer = self._indices(f.div(block, self.down), self.nest.rows[:-1])
        self.row_indices = [*outer, self.first]
        for i, access in self.turned.items():
            self._turn(i, access, rows, start, f.sub(stop, start))
        self.column_range = (start, stop)
        with f.loop(0, rows, hint="of.block") as self.number:
            self._row([*outer, f.add(self.first, self.number)], totals)

    def _input(self, access: Source, number: int, indices: Sequence[str], group: int | None) -> str:
        if number not in self.turned:
            return super()._input(access, number, indices, group)
        place = self.f.sub(indices[-1], self.column_range[0])
        place = self.f.add(self.f.mul(self.number, self.width), place)
        return self._read(access.dtype, self.copies[number], place, group)

    def _turn(self, number: int, access: Access, rows: str, start: str, columns: str) -> None:
        """Copies an operand's elements for some columns, so that those of a row follow each other."""
        f, element = self.f, ir.MEMORY[access.dtype]
        distance = self._value(access.strides[-1], self.literal_stride)
        corner = f.add(self._base(access.offset, access.strides), f.mul(start, distance))
        part = turning(access.dtype.size, targets.current().vector_bytes)
        self.parts[part.symbol] = part
        source, target = f.at(element, self.sources[number], corner), self.copies[number]
        call(f, f"@{part.symbol}", _TURN, source, distance, target, self.width, rows, columns)

    def _declarations(self) -> list[str]:
        return [declaration(symbol, _TURN) for symbol in self.parts]

    def _loop(self, made: Kernel) -> Loop:
        sizes_of_turned = tuple(a.dtype.size for a in self.turned.values())
        return BlockLoop(self.nest, made, tuple(self._entries), tuple(self._stashed), False, sizes_of_turned)


_TURN = [
    (ir.POINTER, "source"),
    (ir.I64, "distance"),
    (ir.POINTER, "target"),
    (ir.I64, "width"),
    (ir.I64, "rows"),
    (ir.I64, "columns"),
]


@functools.cache
def turning(size: int, vector_bytes: int) -> Kernel:
    """The part that writes to `target`, row by row, what lies column by column in `source`.

    The columns of the source are `distance` elements apart, the rows of the target `width`. What turns a block is long,
    so all nests share it, and all dtypes of a size: elements are moved as integers.

    Args:
        size: the bytes of an element.
        vector_bytes: those of the target's vectors.
    """
    f = ir.Function(kernel.SYMBOL, _TURN, attributes=kernel.ATTRIBUTES)
    element, side = f"i{8 * size}", min(FEWEST_ROWS, vector_bytes // size)
    kind = ir.vector(side, element)

    def read(row: str, column: str) -> str:
        return f.at(element, "%source", f.add(f.mul(column, "%distance"), row))

    def written(row: str, column: str) -> str:
        return f.at(element, "%target", f.add(f.mul("%width", row), column))

    def copy_one_by_one(first_row: str, end_row: str, first_column: str, end_column: str) -> None:
        with (
            f.loop(first_row, end_row, hint="row") as row,
            f.loop(first_column, end_column, hint="column") as column,
        ):
            f.store(element, f.load(element, read(row, column), size), written(row, column), size)

    whole_rows, whole_columns = (f.mul(f.div(count, side), side) for count in ("%rows", "%columns"))
    with f.loop(0, whole_columns, side, "column") as column, f.loop(0, whole_rows, side, "row") as row:
        block = [f.load(kind, read(row, f.add(column, n)), size) for n in range(side)]
        for n, line in enumerate(turned(f, kind, block)):
            f.store(kind, line, written(f.add(row, n), column), size)
    copy_one_by_one("0", whole_rows, whole_columns, "%columns")
    copy_one_by_one(whole_rows, "%rows", "0", "%columns")
    return Kernel(kernel.AS_WRITTEN + f.finish() + "\n", 0, f"turning elements of {size} bytes")
