"""Correlation kernels: the inner loops of a convolution's forward pass and of its gradient to the data.

The inner function (`_block`) holds `pixels x vectors` accumulators in registers: for every tap and input channel it
loads `vectors` vectors of the filter, which run along the output's channels, and multiplies them with the broadcast
element of each of `pixels` neighbouring windows. With a few output channels only, vectors run along the input's
channels instead, and are summed up at the end. Rows of taps outside of the image are skipped. Where windows reach
over a row's left or right end, the rows that the block sees are copied to scratch, with zeros around them.

A block sees the filter's rows in part only: one group of the output's channels. With many channels these parts lie so
far apart that they displace each other from the caches. In a *packed* filter, the parts of a group follow each other.

A kernel walks over one or several *phases*: correlations whose outputs interleave. The forward pass has one; see
`convolution` for what else has more.

Source of the direct method: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
Architectures" (2018).
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from tahr.backends.native import epilogue as epilogues, ir, kernel, target as targets
from tahr.backends.native.epilogue import Epilogue, Segment
from tahr.backends.native.kernel import Kernel
from tahr.core import scalar
from tahr.core.dtypes import DType

# Library calls for copying and filling would not pay for the few elements of a row.
ATTRIBUTES = 'nounwind "no-builtins" "prefer-vector-width"="512"'

# A tile should be worth the handing out: this many multiplications take about 10 us.
_TILE_PRODUCTS = 1 << 19

# So many tiles are wanted, for as many threads as there may be.
_TILES = 16

# An epilogue of so many operations is emitted for each accumulator.
_SHORT = 6

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
        """What the kernel reads, in `_PHASE`'s order."""
        return [*self.window, *self.low, *self.start, *self.count, self.filters]


# The table of sizes: a head (a tile has some rows and columns of a plane), then one record for each phase.
_IMAGES, _DEPTHS, _ROW_BLOCKS, _ROWS, _COLUMN_BLOCKS, _COLUMNS = range(6)
_SIZES, _OUT, _PACKED, _PHASES = 6, 9, 12, 13
_PHASE = 13


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
    return bool(table[_PACKED])


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


# -------------------------------------------------------------------------------------------- kernel

_BLOCK_ARGUMENTS = (
    (ir.POINTER, "buffers"),
    (ir.POINTER, "x"),
    (ir.I64, "x.depth"),
    (ir.I64, "x.row"),
    (ir.POINTER, "w"),
    (ir.I64, "w.depth"),
    (ir.I64, "w.row"),
    (ir.I64, "w.step"),
    (ir.I64, "depths"),
    (ir.I64, "rows"),
    (ir.I64, "columns"),
    (ir.I64, "channel"),
    (ir.I64, "offset"),
    (ir.I64, "pixels"),
)


def _block(c: Correlation, epilogue: Epilogue, name: str, channels: int) -> str:
    """The function that computes one block: some pixels of a row, and at most `vectors x lanes` channels."""
    f = ir.Function(name, _BLOCK_ARGUMENTS, attributes=f"noinline {ATTRIBUTES}", linkage="internal")
    vectors = segments(c.lanes, channels)
    kinds = [vector.type(c.element) for vector in vectors]
    sums = [[f.variable(kind, "zeroinitializer", "sum") for kind in kinds] for _ in range(c.pixels)]
    along = range(c.outputs if c.along_inputs else 0)
    whole = ir.vector(c.lanes, c.element)
    partial = [[f.variable(whole, "zeroinitializer", "partial") for _ in along] for _ in range(c.pixels)]
    step = {Packing.NEVER: str(c.outputs), Packing.ALWAYS: str(c.channels)}.get(c.packing, "%w.step")

    def accumulate(x: str, w: str) -> None:
        """Adds the products of one input channel and one tap."""
        weights = [v.load(f, c.dtype, f.at(c.element, w, i * c.lanes)) for i, v in enumerate(vectors)]
        for pixel, row in enumerate(sums):
            place = f.at(c.element, x, pixel * c.steps[2] * c.inputs)
            element = f.load(c.element, place, c.dtype.size)
            multiply_add(f, c.element, element, vectors, weights, row)

    def accumulate_along(x: str, w: str) -> None:
        """Adds the products of a vector of input channels and one tap."""
        weights = _columns(f, c, w)
        for pixel, row in enumerate(partial):
            place = f.at(c.element, x, pixel * c.steps[2] * c.inputs)
            seen = f.load(ir.vector(c.lanes, c.element), place, c.dtype.size)
            for total, weight in zip(row, weights):
                _add_product(f, Segment(c.lanes), c.element, seen, weight, total)

    def run(x: str, w: str, length: str) -> None:
        """Adds the products of `length` elements that follow each other."""
        with f.loop(0, length, c.unroll, "k") as k:
            x, w = f.at(c.element, x, k), f.at(c.element, w, f.mul(k, step))
            if c.along_inputs:
                accumulate_along(x, w)
            else:
                for i in range(c.unroll):
                    accumulate(f.at(c.element, x, i), f.at(c.element, w, f.mul(step, i)))

    with _depths(f, c, "%depths") as depth, f.loop(0, "%rows", hint="row") as row:
        x_row = f.at(c.element, "%x", f.add(f.mul(depth, "%x.depth"), f.mul(row, "%x.row")))
        w_row = f.at(c.element, "%w", f.add(f.mul(depth, "%w.depth"), f.mul(row, "%w.row")))
        if c.is_contiguous:
            run(x_row, w_row, f.mul("%columns", c.inputs))
        else:
            with f.loop(0, "%columns", hint="column") as column:
                x_tap = f.at(c.element, x_row, f.mul(column, c.dilations[2] * c.inputs))
                run(x_tap, f.at(c.element, w_row, f.mul(column, f.mul(step, c.inputs))), str(c.inputs))
    if c.along_inputs:
        for (total,), row in zip(sums, partial):
            f.store(kinds[0], _summed(f, c, kinds[0], row), total)
    _finish_block(f, c, epilogue, sums, vectors)
    return f.finish()


def _columns(f: ir.Function, c: Correlation, w: str) -> list[str]:
    """The filter's columns, for as many rows as a vector has elements: one for each output channel."""
    element, lanes, count = c.element, c.lanes, c.outputs
    rows = ir.vector(lanes * count, element)
    loaded = f.load(rows, w, c.dtype.size)
    result: list[str] = []
    for output in range(count):
        order = ", ".join(f"i32 {lane * count + output}" for lane in range(lanes))
        result.append(f.value(f"shufflevector {rows} {loaded}, {rows} poison, <{lanes} x i32> <{order}>"))
    return result


def _summed(f: ir.Function, c: Correlation, kind: str, row: Sequence[str]) -> str:
    """The vector of the sums of some vectors' elements."""
    whole = ir.vector(c.lanes, c.element)
    result = "zeroinitializer"
    for i, total in enumerate(row):
        name = f"@llvm.vector.reduce.fadd.v{c.lanes}f{8 * c.dtype.size}"
        start = f"{c.element} {ir.number(-0.0, c.element)}"
        value = f.value(f"call reassoc {c.element} {name}({start}, {whole} {f.load(whole, total)})")
        result = f.value(f"insertelement {kind} {result}, {c.element} {value}, i64 {i}")
    return result


@contextmanager
def _depths(f: ir.Function, c: Correlation, count: str) -> Generator[str]:
    """The loop over depths, where there is more than one."""
    if c.is_flat:
        yield "0"
        return
    with f.loop(0, count, hint="depth") as depth:
        yield depth


def _finish_block(
    f: ir.Function, c: Correlation, epilogue: Epilogue, sums: list[list[str]], vectors: list[Segment]
) -> None:
    """Passes a block's sums through the epilogue."""
    kinds = [vector.type(c.element) for vector in vectors]
    first = 3 if c.packing is Packing.PERHAPS else 2
    arrays = [kernel.buffer(f, first + i) for i in range(len(epilogue.operands) + len(epilogue.outputs))]

    def store(pixel: str | int, values: Sequence[str]) -> None:
        first = f.add("%offset", f.mul(pixel, c.spread[2] * c.outputs))
        for i, (value, vector) in enumerate(zip(values, vectors)):
            column = f.add("%channel", i * c.lanes)
            places = epilogues.addresses(f, epilogue, arrays, column, f.add(first, i * c.lanes))
            epilogues.emit(f, epilogue, value, places, vector)

    if len(scalar.ordered(epilogue.outputs)) <= _SHORT:
        for pixel, row in enumerate(sums):
            with f.when(f.value(f"icmp sgt i64 %pixels, {pixel}")):
                store(pixel, [f.load(kind, total) for kind, total in zip(kinds, row)])
        return
    # Longer expressions are emitted once, for sums that wait in memory.
    slot = ir.vector(c.lanes, c.element)
    waiting = f.variable(f"[{c.pixels * len(vectors)} x {slot}]", hint="waiting")
    for i, (kind, total) in enumerate(zip(kinds * c.pixels, itertools.chain(*sums))):
        f.store(kind, f.load(kind, total), f.at(slot, waiting, i))
    with f.loop(0, "%pixels", hint="pixel") as pixel:
        first = f.mul(pixel, len(vectors))
        store(pixel, [f.load(kind, f.at(slot, waiting, f.add(first, i))) for i, kind in enumerate(kinds)])


def segments(lanes: int, channels: int) -> list[Segment]:
    """The vectors that some channels fill; the last is as short as it may be, and perhaps partly empty."""
    whole, rest = divmod(channels, lanes)
    if not rest:
        return [Segment(lanes)] * whole
    last = 1 << (rest - 1).bit_length()
    mask = "<" + ", ".join(f"i1 {str(i < rest).lower()}" for i in range(last)) + ">"
    return [Segment(lanes)] * whole + [Segment(last, mask if rest < last else None)]


def multiply_add(
    f: ir.Function,
    element: str,
    factor: str,
    vectors: Sequence[Segment],
    values: Sequence[str],
    totals: Sequence[str],
) -> None:
    """Adds the products of a number and some vectors to totals."""
    factors = {vector.width: vector.splat(f, element, factor) for vector in dict.fromkeys(vectors)}
    for vector, value, total in zip(vectors, values, totals):
        _add_product(f, vector, element, factors[vector.width], value, total)


def _add_product(f: ir.Function, vector: Segment, element: str, a: str, b: str, total: str) -> None:
    """total += a b, of vectors."""
    kind = vector.type(element)
    name = f"@llvm.fmuladd.v{vector.width}f{32 if element == ir.F32 else 64}"
    operands = f"{kind} {a}, {kind} {b}, {kind} {f.load(kind, total)}"
    f.store(kind, f.value(f"call {kind} {name}({operands})"), total)


def kernel_of(c: Correlation, epilogue: Epilogue, title: str) -> Kernel:
    """The kernel that walks over tiles: a share of the channels, a phase, and some rows of an image's plane."""
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=ATTRIBUTES)
    x, filters = kernel.buffer(f, 0), _filters(f, c)
    images, depths, row_blocks, rows, column_blocks, columns = (kernel.size(f, i) for i in range(_SIZES))
    sizes = [kernel.size(f, _SIZES + i) for i in range(3)]
    out = [kernel.size(f, _OUT + i) for i in range(3)]
    with f.loop("%begin", "%end", hint="tile") as tile:
        across, rest = f.rem(tile, column_blocks), f.div(tile, column_blocks)
        block, rest = f.rem(rest, row_blocks), f.div(rest, row_blocks)
        depth, rest = ("0", rest) if c.is_flat else (f.rem(rest, depths), f.div(rest, depths))
        image, rest = f.rem(rest, images), f.div(rest, images)
        phase, chunk = f.rem(rest, len(c.windows)), f.div(rest, len(c.windows))
        record = f.at(ir.I64, "%sizes", f.add(f.mul(phase, _PHASE), _PHASES))
        fields = [f.load(ir.I64, f.at(ir.I64, record, i)) for i in range(_PHASE)]
        window, low, start, count = (fields[i : i + 3] for i in (0, 3, 6, 9))
        share = filters._replace(address=f.at(c.element, filters.address, fields[12]))
        if len(c.windows) == 1:
            window = [str(taps) for taps in c.windows[0]]
        with f.when(f.value(f"icmp slt i64 {depth}, {count[0]}")):
            plane = ("0", "0", "1") if c.is_flat else _seen(f, c, 0, depth, low, window, sizes)
            out_depth = f.add(start[0], f.mul(depth, c.spread[0]))
            out_plane = f.add(f.mul(image, out[0]), out_depth)
            first = f.mul(block, rows)
            with f.loop(first, f.minimum(f.add(first, rows), count[1]), hint="row") as row:
                seen = [plane, _seen(f, c, 1, row, low, window, sizes)]
                out_row = f.add(f.mul(out_plane, out[1]), f.add(start[1], f.mul(row, c.spread[1])))
                first_pixel = f.mul(across, columns)
                end_pixel = f.minimum(f.add(first_pixel, columns), count[2])
                with f.loop(first_pixel, end_pixel, c.pixels, "pixel") as pixel:
                    column = f.sub(f.mul(pixel, c.steps[2]), low[2])
                    source = _source(f, c, x, image, sizes, seen, column, window)
                    out_pixel = f.add(f.mul(out_row, out[2]), f.add(start[2], f.mul(pixel, c.spread[2])))
                    remaining = f.sub(count[2], pixel)
                    _channel_groups(f, c, source, share, seen, window, chunk, out_pixel, remaining)
    names = {"main": c.channels}
    rest = c.outputs - (c.groups - 1) * c.channels
    if rest != names["main"]:
        names["rest"] = rest
    functions = [_block(c, epilogue, name, channels) for name, channels in names.items()]
    return Kernel(kernel.AS_WRITTEN + ir.module([*functions, f.finish()]), c.scratch, title)


class _Filters(NamedTuple):
    """Where filters lie.

    Attributes:
        address: of the first.
        is_packed: whether they are packed, an i1.
        step: elements from one input channel to the next.
    """

    address: str
    is_packed: str
    step: str


def _filters(f: ir.Function, c: Correlation) -> _Filters:
    address = kernel.buffer(f, 1)
    if c.packing is Packing.NEVER:
        return _Filters(address, "false", str(c.outputs))
    if c.packing is Packing.ALWAYS:
        return _Filters(address, "true", str(c.channels))
    is_packed = f.value(f"trunc i64 {kernel.size(f, _PACKED)} to i1")
    address = f.value(f"select i1 {is_packed}, ptr {kernel.buffer(f, 2)}, ptr {address}")
    return _Filters(address, is_packed, f.value(f"select i1 {is_packed}, i64 {c.channels}, i64 {c.outputs}"))


def _seen(
    f: ir.Function,
    c: Correlation,
    axis: int,
    index: str,
    low: Sequence[str],
    window: Sequence[str],
    sizes: Sequence[str],
) -> tuple[str, str, str]:
    """What a window sees along an axis: its first tap inside the image, that pixel, and how many taps."""
    dilation = c.dilations[axis]
    origin = f.sub(f.mul(index, c.steps[axis]), low[axis])
    first = f.div(f.maximum(f.sub(dilation - 1, origin), 0), dilation)
    stop = f.div(f.maximum(f.add(f.sub(sizes[axis], origin), dilation - 1), 0), dilation)
    taps = f.maximum(f.sub(f.minimum(stop, window[axis]), first), 0)
    return first, f.add(origin, f.mul(first, dilation)), taps


def _source(
    f: ir.Function,
    c: Correlation,
    x: str,
    image: str,
    sizes: Sequence[str],
    seen: Sequence[tuple[str, str, str]],
    column: str,
    window: Sequence[str],
) -> tuple[str, str, str]:
    """Where a block finds the pixels that it sees, and the steps from one depth and one row of taps to the next.

    That is the image itself, or a copy in scratch if some of the pixels are outside.
    """
    (_, depth, depths), (_, row, rows) = seen
    line = f.mul(sizes[2], c.inputs)
    plane = f.mul(sizes[1], line)
    inside_plane = f.add(f.mul(f.add(f.mul(image, sizes[0]), depth), plane), f.mul(row, line))
    depth_step, row_step = f.mul(plane, c.dilations[0]), f.mul(line, c.dilations[1])
    places = [f.variable(kind) for kind in (ir.POINTER, ir.I64, ir.I64)]

    def choose(*values: str) -> None:
        for kind, value, place in zip((ir.POINTER, ir.I64, ir.I64), values, places):
            f.store(kind, value, place)

    last = f.add(column, f.mul(f.sub(window[2], 1), c.dilations[2]))
    last = f.add(last, (c.pixels - 1) * c.steps[2])
    starts_inside = f.value(f"icmp sge i64 {column}, 0")
    ends_inside = f.value(f"icmp slt i64 {last}, {sizes[2]}")
    with f.either(f.value(f"and i1 {starts_inside}, {ends_inside}")) as branches:
        choose(f.at(c.element, x, f.add(inside_plane, f.mul(column, c.inputs))), depth_step, row_step)
        branches.otherwise()
        # Pixels of the image from `first` to `stop`, as far as the block sees them.
        first = f.maximum(column, 0)
        stop = f.maximum(f.minimum(sizes[2], f.add(last, 1)), first)
        elements = f.mul(f.sub(stop, first), c.inputs)
        ahead = f.mul(f.sub(first, column), c.inputs)
        with _depths(f, c, depths) as i, f.loop(0, rows, hint="copy.row") as j:
            to = f.at(c.element, "%scratch", f.mul(f.add(f.mul(i, rows), j), c.row))
            kind = ir.vector(c.lanes, c.element)
            with f.loop(0, c.row, c.lanes, "clear") as k:
                f.store(kind, "zeroinitializer", f.at(c.element, to, k), c.dtype.size)
            start = f.add(f.add(f.mul(i, depth_step), f.mul(j, row_step)), inside_plane)
            start = f.add(start, f.mul(first, c.inputs))
            copy(f, c.dtype, c.lanes, f.at(c.element, x, start), f.at(c.element, to, ahead), elements)
        choose("%scratch", f.mul(rows, c.row), str(c.row))
    address, depth_step, row_step = (
        f.load(kind, place) for kind, place in zip((ir.POINTER, ir.I64, ir.I64), places)
    )
    return address, depth_step, row_step


def copy(f: ir.Function, dtype: DType, lanes: int, source: str, to: str, elements: str) -> None:
    """Copies some elements that follow each other."""
    element, count = ir.MEMORY[dtype], ir.vector(lanes, ir.I64)
    numbers = "<" + ", ".join(f"i64 {n}" for n in range(lanes)) + ">"
    with f.loop(0, elements, lanes, "copy") as i:
        left = epilogues.broadcast(f, lanes, ir.I64, f.sub(elements, i))
        some = Segment(lanes, f.value(f"icmp slt {count} {numbers}, {left}"))
        some.store(f, dtype, some.load(f, dtype, f.at(element, source, i)), f.at(element, to, i))


def _channel_groups(
    f: ir.Function,
    c: Correlation,
    source: tuple[str, str, str],
    share: _Filters,
    seen: Sequence[tuple[str, str, str]],
    window: Sequence[str],
    chunk: str,
    out_pixel: str,
    remaining: str,
) -> None:
    """Calls the block functions of a tile's share of the output's channels."""
    (first_depth, _, depths), (first_row, _, rows) = seen
    w_row = f.mul(window[2], f.mul(share.step, c.inputs))
    w_depth = f.mul(window[1], w_row)
    w_group = f.value(f"select i1 {share.is_packed}, i64 {f.mul(window[0], w_depth)}, i64 {c.channels}")
    weights = f.at(c.element, share.address, f.add(f.mul(first_depth, w_depth), f.mul(first_row, w_row)))
    pixels = f.minimum(remaining, c.pixels)

    def call(name: str, group: str | int) -> None:
        channel = f.mul(group, c.channels)
        offset = f.add(f.mul(out_pixel, c.outputs), channel)
        values = [
            "%buffers", *source, f.at(c.element, weights, f.mul(group, w_group)), w_depth, w_row, share.step,
            depths, rows, window[2], channel, offset, pixels,
        ]  # fmt: skip
        arguments = ", ".join(f"{kind} {value}" for (kind, _), value in zip(_BLOCK_ARGUMENTS, values))
        f.do(f"call void @{name}({arguments})")

    per_chunk = -(-c.groups // c.chunks)
    first = f.mul(chunk, per_chunk)
    full = c.outputs // c.channels
    stop = f.minimum(f.add(first, per_chunk), c.groups)
    with f.loop(first, f.minimum(stop, full), hint="group") as group:
        call("main", group)
    if full < c.groups:
        with f.when(f.value(f"icmp eq i64 {stop}, {c.groups}")):
            call("rest", full)
