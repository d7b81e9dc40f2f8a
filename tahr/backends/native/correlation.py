"""Correlations, which a convolution's forward pass and its gradient to the data are: their sizes, tiles and blocks.

A kernel walks over one or several *phases*: correlations whose outputs interleave. The forward pass has one; see
`convolution` for what else has more. It computes in *blocks*, some pixels of a row by some of the output's channels,
whose accumulators are in registers.

A block sees the filter's rows in part only: one group of the output's channels. With many channels these parts lie so
far apart that they displace each other from the caches. In a *packed* filter, the parts of a group follow each other.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tahr.backends.native import ir, target as targets
from tahr.core.dtypes import DType

# A tile should be worth the handing out: this many multiplications take about 10 us.
_TILE_PRODUCTS = 1 << 19

# So many tiles are wanted, for as many threads as there may be.
_TILES = 16

# From so many pixels on it is worth packing a filter whose rows have so many bytes: convolutions take a fifth less
# time with 192 to 512 channels, and a few percent less with 128. With 64 channels there is nothing to be won.
_PACKED_PIXELS, _PACKED_ROW = 1024, 512

# A share of the filter that stays in the second-level cache while a tile walks over pixels.
_CHUNK_BYTES = 256 << 10


# -------------------------------------------------------------------------------------------- sizes


@dataclass(frozen=True)
class Phase:
    """One correlation: every `spread`-th pixel of the output, from `start` on.

    Attributes:
        window: how many taps.
        low: the first window's first tap is this far before the image's start.
        start, count: the first pixel of the output, and how many.
        filters: where its filter begins, in elements.
    """

    window: tuple[int, ...]
    low: tuple[int, ...]
    start: tuple[int, ...]
    count: tuple[int, ...]
    filters: int

    def table(self) -> list[int]:
        """What the kernel reads, as a record of the table of sizes."""
        return [*self.window, *self.low, *self.start, *self.count, self.filters]


# Where things are in the table of sizes: a head (a tile has some rows and columns of a plane; then the sizes of image
# and output, and whether the filter is packed), then one record for each phase.
_IMAGES, _DEPTHS, _ROW_BLOCKS, _ROWS, _COLUMN_BLOCKS, _COLUMNS = range(6)
SIZES, OUT, PACKED, PHASES = 6, 9, 12, 13
# How many numbers a record has.
PHASE = 13


class Packing(enum.Enum):
    """Whether a filter lies packed."""

    NEVER = "as it is given"
    ALWAYS = "packed"
    PERHAPS = "both ways, and the table of sizes says which one counts"


@dataclass(frozen=True)
class Correlation:
    """What is compiled into a kernel that correlates.

    Attributes:
        windows: the taps of each phase.
        steps: pixels of the image from one output of a phase to the next.
        dilations: pixels of the image from one tap to the next.
        spread: pixels of the output from one of a phase to the next.
        is_flat: whether images are pictures, whose depth is 1.
        lanes, vectors, pixels: the accumulators: `pixels x vectors` vectors of `lanes` elements.
        along_inputs: whether vectors run along the input's channels, and `vectors` is the number of outputs.
        packing: how the filter lies.
    """

    dtype: DType
    windows: tuple[tuple[int, ...], ...]
    steps: tuple[int, int, int]
    dilations: tuple[int, int, int]
    spread: tuple[int, int, int]
    inputs: int
    outputs: int
    is_flat: bool
    lanes: int
    vectors: int
    pixels: int
    along_inputs: bool = False
    packing: Packing = Packing.NEVER

    @property
    def element(self) -> str:
        """The LLVM type of the elements."""
        return ir.MEMORY[self.dtype]

    @property
    def is_contiguous(self) -> bool:
        """Whether a row of taps, with all input channels, is one run in memory."""
        return self.dilations[2] == 1

    @property
    def unroll(self) -> int:
        """How many elements of a run are taken at once: a divisor of all runs."""
        run = self.inputs
        if self.is_contiguous and len(self.windows) == 1:
            run *= self.windows[0][2]
        if self.along_inputs:
            return self.lanes
        limit = max(1, min(8, 48 // (self.pixels * self.vectors)))
        return max(n for n in range(1, limit + 1) if run % n == 0)

    @property
    def groups(self) -> int:
        """How many groups of output channels there are: all of `vectors` vectors, but the last."""
        return -(-self.outputs // (self.lanes * self.vectors))

    @property
    def channels(self) -> int:
        """Output channels of a group."""
        return min(self.outputs, self.lanes * self.vectors)

    @property
    def packed_row(self) -> int:
        """Elements of a packed filter for one tap and one input channel; the last group may have gaps."""
        return self.groups * self.channels

    @property
    def perhaps_packed(self) -> Correlation:
        """The same, but packed where that is worth it."""
        pays = self.groups > 1 and self.outputs * self.dtype.size >= _PACKED_ROW
        return replace(self, packing=Packing.PERHAPS) if pays else self

    @property
    def chunks(self) -> int:
        """How many shares of the filter are walked over one after the other."""
        taps = max(map(math.prod, self.windows))
        wanted = -(-taps * self.inputs * self.outputs * self.dtype.size // _CHUNK_BYTES)
        per_chunk = -(-self.groups // max(1, min(self.groups, wanted)))
        return -(-self.groups // per_chunk)

    @property
    def row(self) -> int:
        """Elements of a row in scratch: what a block of pixels sees, in whole vectors."""
        taps = max(window[2] for window in self.windows)
        seen = (self.pixels - 1) * self.steps[2] + (max(taps, 1) - 1) * self.dilations[2] + 1
        return -(-seen * self.inputs // self.lanes) * self.lanes

    @property
    def scratch(self) -> int:
        """Bytes of scratch."""
        rows = max(window[0] * window[1] for window in self.windows)
        return rows * self.row * self.dtype.size


def table_of(
    correlation: Correlation,
    batch: int,
    sizes: Sequence[int],
    out: Sequence[int],
    phases: Sequence[Phase],
) -> list[int]:
    """The table of sizes of a correlation."""
    depths, rows, columns = (max(phase.count[axis] for phase in phases) for axis in range(3))
    products = max(math.prod(phase.window) for phase in phases)
    products *= correlation.inputs * correlation.outputs // correlation.chunks
    # There should be enough tiles to share, and each should be worth the handing out.
    lines = batch * depths * rows * correlation.chunks * len(phases)
    per_tile = min(columns, -(-_TILE_PRODUCTS // max(1, products)))
    if lines >= _TILES:
        per_tile = columns
    per_tile = max(1, -(-per_tile // correlation.pixels)) * correlation.pixels
    wanted = _TILE_PRODUCTS // max(1, products * columns)
    rows_per_tile = max(1, min(wanted, rows, max(lines // _TILES, wanted // 8)))
    records = [number for phase in phases for number in phase.table()]
    is_packed = correlation.packing is not Packing.NEVER and batch * math.prod(out) >= _PACKED_PIXELS
    blocks = [-(-rows // rows_per_tile), rows_per_tile, -(-columns // per_tile), per_tile]
    return [batch, depths, *blocks, *sizes, *out, int(is_packed), *records]


def is_packed(table: Sequence[int]) -> bool:
    """Whether a table of sizes says that a filter which is given both ways counts as packed."""
    return bool(table[PACKED])


def tiles_of(correlation: Correlation, table: Sequence[int]) -> int:
    """How many tiles the table's kernel has."""
    plane = table[_ROW_BLOCKS] * table[_COLUMN_BLOCKS]
    return correlation.chunks * len(correlation.windows) * table[_IMAGES] * table[_DEPTHS] * plane


# -------------------------------------------------------------------------------------------- shape of a block

# With more output channels than this, vectors along them waste less than sums across vectors cost.
_FEW_OUTPUTS = 4


def block_of(inputs: int, outputs: int, width: int | None, size: int) -> tuple[int, int, int, bool]:
    """How many lanes, vectors and pixels a correlation's accumulators have, and whether they run along its inputs."""
    machine = targets.current()
    lanes = machine.lanes(size)
    if outputs > min(_FEW_OUTPUTS, lanes) or inputs % lanes:
        return *tiling(outputs, width, size), False
    most = max(1, (machine.vector_registers - outputs - 2) // outputs)
    width = width or 32
    return lanes, outputs, -(-width // -(-width // most)), True


def tiling(outputs: int, width: int | None, size: int) -> tuple[int, int, int]:
    """How many lanes, vectors and pixels a block's accumulators have.

    Args:
        outputs: the output's channels.
        width: the output's usual width, None where unknown.
        size: bytes of an element.
    """
    machine = targets.current()
    lanes = machine.lanes(size)
    while lanes > 2 and lanes // 2 >= outputs:
        lanes //= 2
    count = -(-outputs // lanes)
    width = width or 32
    options = {_tile(count, vectors, width, machine.vector_registers) for vectors in range(1, 5)}
    vectors, pixels = min(options, key=lambda tile: _cost(count, *tile, width))
    return lanes, vectors, pixels


def _tile(count: int, vectors: int, width: int, registers: int) -> tuple[int, int]:
    """Vectors and pixels of equal groups and blocks."""
    vectors = -(-count // -(-count // vectors))
    most = max(1, (registers - vectors - 1) // vectors)
    return vectors, -(-width // -(-width // most))


def _cost(count: int, vectors: int, pixels: int, width: int) -> float:
    """An estimate of the cycles for each tap and input channel: multiplications, or the loads for them."""
    groups = [vectors] * (count // vectors) + [count % vectors] * (count % vectors > 0)
    one = sum(max(pixels * group, group + 0.5 * pixels, 4) + 0.1 * (group + pixels) for group in groups)
    return -(-width // pixels) * one
