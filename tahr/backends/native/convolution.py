"""Convolution kernels: direct loops with the output's channels in vectors and a block of pixels in registers.

Images are `[batch, *spatial, channels]`, filters `[*window, in, out]`, with one to three spatial dimensions; inside,
there are always three (a picture is a volume of depth 1). Channels, windows, strides and dilations are compiled in;
batch, sizes and padding are passed in the table of sizes.

The forward pass correlates images with the filter. Its inner function (`_block`) holds `pixels x vectors`
accumulators: for every tap and input channel it loads `vectors` vectors of the filter and multiplies them with the
broadcast element of each of `pixels` neighbouring windows. Rows of taps outside of the image are skipped; where windows
reach over a row's left or right end, the rows that the block sees are copied to scratch with zeros around them.

The gradient to the data is a correlation, too: of dy with the mirrored filter, channels exchanged. With a stride of s
each of the s phases of the image's pixels sees every s-th tap only, so there are s correlations (s^2 for pictures), each
with a filter of its own and every s-th pixel of the result. `mirror` packs these filters; then one kernel walks over
all phases, the forward pass being the case of one phase.

The gradient to the filter holds the gradients of a few taps and input channels times a few vectors of output channels
in registers, while it walks over pixels.

Source of the direct method: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
Architectures" (2018).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tahr.backends.native import epilogue as epilogues
from tahr.backends.native import ir, kernel, target
from tahr.backends.native.epilogue import Epilogue, Segment
from tahr.backends.native.kernel import Kernel
from tahr.core.dtypes import DType

# Library calls for copying and filling would not pay for the few elements of a row.
_ATTRIBUTES = 'nounwind "no-builtins" "prefer-vector-width"="512"'

# A tile should be worth the handing out: this many multiplications take about 10 us.
_TILE_PRODUCTS = 1 << 19

# A share of the filter that stays in the second-level cache while a tile walks over pixels.
_CHUNK_BYTES = 256 << 10


@dataclass(frozen=True)
class Spec:
    """What is compiled into the kernels of a convolution.

    Attributes:
        dtype: of images and filters, float32 or float64.
        window, strides, dilations: one number for each spatial dimension.
        inputs, outputs: channels.
        width: the usual width of the output, a hint: blocks of pixels are made to fit.
    """

    dtype: DType
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    inputs: int
    outputs: int
    width: int | None = None

    @property
    def title(self) -> str:
        """What it computes, for people."""
        window = "x".join(map(str, self.window))
        stride = "" if max(self.strides) == 1 else " /" + "x".join(map(str, self.strides))
        dilation = "" if max(self.dilations) == 1 else " dilated " + "x".join(map(str, self.dilations))
        return f"{self.dtype.name} {window}{stride}{dilation} {self.inputs}->{self.outputs}"


def is_product(spec: Spec) -> bool:
    """Whether the convolution, without padding, is the product of a matrix of pixels and the filter."""
    return math.prod(spec.window) == 1 and math.prod(spec.strides) == 1


def volume(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    """Numbers of one to three spatial dimensions as those of three."""
    depth, height, width = (*[fill] * (3 - len(values)), *values)
    return depth, height, width


# --------------------------------------------------------------------------------------------- correlation: sizes


@dataclass(frozen=True)
class _Phase:
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


# The table of sizes: a head, then one record for each phase.
_IMAGES, _DEPTHS, _BLOCKS, _ROWS, _SIZES, _OUT, _PHASES = 0, 1, 2, 3, 4, 7, 10
_PHASE = 13


@dataclass(frozen=True)
class _Correlation:
    """What is compiled into a kernel that correlates.

    Attributes:
        windows: the taps of each phase.
        steps: pixels of the image from one output of a phase to the next.
        dilations: pixels of the image from one tap to the next.
        spread: pixels of the output from one of a phase to the next.
        lanes, vectors, pixels: the accumulators: `pixels x vectors` vectors of `lanes` elements.
    """

    dtype: DType
    windows: tuple[tuple[int, ...], ...]
    steps: tuple[int, int, int]
    dilations: tuple[int, int, int]
    spread: tuple[int, int, int]
    inputs: int
    outputs: int
    lanes: int
    vectors: int
    pixels: int

    @property
    def element(self) -> str:
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
        limit = max(1, min(8, 48 // (self.pixels * self.vectors)))
        return max(n for n in range(1, limit + 1) if run % n == 0)

    @property
    def groups(self) -> int:
        """How many groups of output channels there are: all of `vectors` vectors, but the last."""
        return -(-self.outputs // (self.lanes * self.vectors))

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


def _sizes(
    correlation: _Correlation,
    batch: int,
    sizes: Sequence[int],
    out: Sequence[int],
    phases: Sequence[_Phase],
) -> list[int]:
    """The table of sizes of a correlation."""
    depths, rows = (max(phase.count[axis] for phase in phases) for axis in (0, 1))
    products = max(math.prod(phase.window) * phase.count[2] for phase in phases)
    products *= correlation.inputs * correlation.outputs // correlation.chunks
    wanted = -(-_TILE_PRODUCTS // max(1, products))
    # There should also be enough tiles to share.
    most = max(1, batch * depths * rows * correlation.chunks // 16)
    per_tile = max(1, min(wanted, most, rows))
    records = [number for phase in phases for number in phase.table()]
    return [batch, depths, -(-rows // per_tile), per_tile, *sizes, *out, *records]


def _tiles(correlation: _Correlation, table: Sequence[int]) -> int:
    """How many tiles the table's kernel has."""
    phases = len(correlation.windows)
    return correlation.chunks * phases * table[_IMAGES] * table[_DEPTHS] * table[_BLOCKS]


# --------------------------------------------------------------------------------------------- correlation: shape


def _tiling(outputs: int, width: int | None, size: int) -> tuple[int, int, int]:
    """How many lanes, vectors and pixels a block's accumulators have.

    Args:
        outputs: the output's channels.
        width: the output's usual width, None where unknown.
        size: bytes of an element.
    """
    machine = target.current()
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


# --------------------------------------------------------------------------------------------- correlation: kernel

_BLOCK_ARGUMENTS = (
    (ir.POINTER, "buffers"),
    (ir.POINTER, "x"),
    (ir.I64, "x.depth"),
    (ir.I64, "x.row"),
    (ir.POINTER, "w"),
    (ir.I64, "w.depth"),
    (ir.I64, "w.row"),
    (ir.I64, "depths"),
    (ir.I64, "rows"),
    (ir.I64, "columns"),
    (ir.I64, "channel"),
    (ir.I64, "offset"),
    (ir.I64, "pixels"),
)


def _block(c: _Correlation, epilogue: Epilogue, name: str, channels: int) -> str:
    """The function that computes one block: some pixels of a row, and at most `vectors x lanes` channels."""
    f = ir.Function(name, _BLOCK_ARGUMENTS, attributes=f"noinline {_ATTRIBUTES}", linkage="internal")
    vectors = _segments(c.lanes, channels)
    kind = ir.vector(c.lanes, c.element)
    sums = [[f.variable(kind, "zeroinitializer", "sum") for _ in vectors] for _ in range(c.pixels)]

    def accumulate(x: str, w: str) -> None:
        """Adds the products of one input channel and one tap."""
        weights = [v.load(f, c.dtype, f.at(c.element, w, i * c.lanes)) for i, v in enumerate(vectors)]
        for pixel, row in enumerate(sums):
            place = f.at(c.element, x, pixel * c.steps[2] * c.inputs)
            element = epilogues.broadcast(f, c.lanes, c.element, f.load(c.element, place, c.dtype.size))
            for total, weight in zip(row, weights):
                _multiply_add(f, kind, element, weight, total)

    def run(x: str, w: str, length: str) -> None:
        """Adds the products of `length` elements that follow each other."""
        with f.loop(0, length, c.unroll, "k") as k:
            x, w = f.at(c.element, x, k), f.at(c.element, w, f.mul(k, c.outputs))
            for i in range(c.unroll):
                accumulate(f.at(c.element, x, i), f.at(c.element, w, i * c.outputs))

    with f.loop(0, "%depths", hint="depth") as depth:
        x_depth = f.at(c.element, "%x", f.mul(depth, "%x.depth"))
        w_depth = f.at(c.element, "%w", f.mul(depth, "%w.depth"))
        with f.loop(0, "%rows", hint="row") as row:
            x_row = f.at(c.element, x_depth, f.mul(row, "%x.row"))
            w_row = f.at(c.element, w_depth, f.mul(row, "%w.row"))
            if c.is_contiguous:
                run(x_row, w_row, f.mul("%columns", c.inputs))
            else:
                with f.loop(0, "%columns", hint="column") as column:
                    x_tap = f.at(c.element, x_row, f.mul(column, c.dilations[2] * c.inputs))
                    run(x_tap, f.at(c.element, w_row, f.mul(column, c.inputs * c.outputs)), str(c.inputs))
    _finish_block(f, c, epilogue, sums, vectors)
    return f.finish()


def _finish_block(
    f: ir.Function, c: _Correlation, epilogue: Epilogue, sums: list[list[str]], vectors: list[Segment]
) -> None:
    """Passes a block's sums through the epilogue."""
    kind = ir.vector(c.lanes, c.element)
    arrays = [kernel.buffer(f, 2 + i) for i in range(len(epilogue.operands) + len(epilogue.outputs))]

    def store(pixel: str | int, values: Sequence[str]) -> None:
        first = f.add("%offset", f.mul(pixel, c.spread[2] * c.outputs))
        for i, (value, vector) in enumerate(zip(values, vectors)):
            column = f.add("%channel", i * c.lanes)
            places = epilogues.addresses(f, epilogue, arrays, column, f.add(first, i * c.lanes))
            epilogues.emit(f, epilogue, value, places, vector)

    if epilogue.is_plain:
        for pixel, row in enumerate(sums):
            with f.when(f.value(f"icmp sgt i64 %pixels, {pixel}")):
                store(pixel, [f.load(kind, total) for total in row])
        return
    # The expressions are emitted once, for sums that wait in memory.
    waiting = f.variable(f"[{c.pixels * len(vectors)} x {kind}]", hint="waiting")
    for i, total in enumerate(itertools.chain(*sums)):
        f.store(kind, f.load(kind, total), f.at(kind, waiting, i))
    with f.loop(0, "%pixels", hint="pixel") as pixel:
        first = f.mul(pixel, len(vectors))
        store(pixel, [f.load(kind, f.at(kind, waiting, f.add(first, i))) for i in range(len(vectors))])


def _segments(lanes: int, channels: int) -> list[Segment]:
    """The vectors that some channels fill; the last may be partly empty."""
    whole, rest = divmod(channels, lanes)
    mask = "<" + ", ".join(f"i1 {str(i < rest).lower()}" for i in range(lanes)) + ">"
    return [Segment(lanes)] * whole + [Segment(lanes, mask)] * (rest > 0)


def _multiply_add(f: ir.Function, kind: str, a: str, b: str, total: str) -> None:
    """total += a b."""
    suffix = kind.strip("<>").replace(" x ", "").replace("float", "f32").replace("double", "f64")
    value = f"call {kind} @llvm.fmuladd.v{suffix}({kind} {a}, {kind} {b}, {kind} {f.load(kind, total)})"
    f.store(kind, f.value(value), total)


def _correlate(c: _Correlation, epilogue: Epilogue, title: str) -> Kernel:
    """The kernel that walks over tiles: a share of the channels, a phase, and some rows of an image's plane."""
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=f"optsize {_ATTRIBUTES}")
    x, w = kernel.buffer(f, 0), kernel.buffer(f, 1)
    images, depths, blocks, rows = (kernel.size(f, i) for i in (_IMAGES, _DEPTHS, _BLOCKS, _ROWS))
    sizes = [kernel.size(f, _SIZES + i) for i in range(3)]
    out = [kernel.size(f, _OUT + i) for i in range(3)]
    with f.loop("%begin", "%end", hint="tile") as tile:
        block, rest = f.rem(tile, blocks), f.div(tile, blocks)
        depth, rest = f.rem(rest, depths), f.div(rest, depths)
        image, rest = f.rem(rest, images), f.div(rest, images)
        phase, chunk = f.rem(rest, len(c.windows)), f.div(rest, len(c.windows))
        record = f.at(ir.I64, "%sizes", f.add(f.mul(phase, _PHASE), _PHASES))
        fields = [f.load(ir.I64, f.at(ir.I64, record, i)) for i in range(_PHASE)]
        window, low, start, count = (fields[i : i + 3] for i in (0, 3, 6, 9))
        share = f.at(c.element, w, fields[12])
        with f.when(f.value(f"icmp slt i64 {depth}, {count[0]}")):
            plane = _seen(f, c, 0, depth, low, window, sizes)
            out_depth = f.add(start[0], f.mul(depth, c.spread[0]))
            out_plane = f.add(f.mul(image, out[0]), out_depth)
            first = f.mul(block, rows)
            with f.loop(first, f.minimum(f.add(first, rows), count[1]), hint="row") as row:
                seen = [plane, _seen(f, c, 1, row, low, window, sizes)]
                out_row = f.add(f.mul(out_plane, out[1]), f.add(start[1], f.mul(row, c.spread[1])))
                with f.loop(0, count[2], c.pixels, "pixel") as pixel:
                    column = f.sub(f.mul(pixel, c.steps[2]), low[2])
                    source = _source(f, c, x, image, sizes, seen, column, window)
                    out_pixel = f.add(f.mul(out_row, out[2]), f.add(start[2], f.mul(pixel, c.spread[2])))
                    remaining = f.sub(count[2], pixel)
                    _channel_groups(f, c, source, share, seen, window, chunk, out_pixel, remaining)
    names = {"main": min(c.outputs, c.lanes * c.vectors)}
    rest = c.outputs - (c.groups - 1) * c.lanes * c.vectors
    if rest != names["main"]:
        names["rest"] = rest
    functions = [_block(c, epilogue, name, channels) for name, channels in names.items()]
    return Kernel(ir.module([*functions, f.finish()]), c.scratch, title)


def _seen(
    f: ir.Function,
    c: _Correlation,
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
    c: _Correlation,
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
        with f.loop(0, depths, hint="copy.depth") as i, f.loop(0, rows, hint="copy.row") as j:
            to = f.at(c.element, "%scratch", f.mul(f.add(f.mul(i, rows), j), c.row))
            kind = ir.vector(c.lanes, c.element)
            with f.loop(0, c.row, c.lanes, "clear") as k:
                f.store(kind, "zeroinitializer", f.at(c.element, to, k), c.dtype.size)
            start = f.add(f.add(f.mul(i, depth_step), f.mul(j, row_step)), inside_plane)
            start = f.add(start, f.mul(first, c.inputs))
            _copy(f, c.dtype, c.lanes, f.at(c.element, x, start), f.at(c.element, to, ahead), elements)
        choose("%scratch", f.mul(rows, c.row), str(c.row))
    address, depth_step, row_step = (
        f.load(kind, place) for kind, place in zip((ir.POINTER, ir.I64, ir.I64), places)
    )
    return address, depth_step, row_step


def _copy(f: ir.Function, dtype: DType, lanes: int, source: str, to: str, elements: str) -> None:
    """Copies some elements that follow each other."""
    element, count = ir.MEMORY[dtype], ir.vector(lanes, ir.I64)
    numbers = "<" + ", ".join(f"i64 {n}" for n in range(lanes)) + ">"
    with f.loop(0, elements, lanes, "copy") as i:
        left = epilogues.broadcast(f, lanes, ir.I64, f.sub(elements, i))
        some = Segment(lanes, f.value(f"icmp slt {count} {numbers}, {left}"))
        some.store(f, dtype, some.load(f, dtype, f.at(element, source, i)), f.at(element, to, i))


def _channel_groups(
    f: ir.Function,
    c: _Correlation,
    source: tuple[str, str, str],
    share: str,
    seen: Sequence[tuple[str, str, str]],
    window: Sequence[str],
    chunk: str,
    out_pixel: str,
    remaining: str,
) -> None:
    """Calls the block functions of a tile's share of the output's channels."""
    (first_depth, _, depths), (first_row, _, rows) = seen
    w_row = f.mul(window[2], c.inputs * c.outputs)
    w_depth = f.mul(window[1], w_row)
    weights = f.at(c.element, share, f.add(f.mul(first_depth, w_depth), f.mul(first_row, w_row)))
    pixels = f.minimum(remaining, c.pixels)
    channels = c.lanes * c.vectors

    def call(name: str, group: str | int) -> None:
        channel = f.mul(group, channels)
        offset = f.add(f.mul(out_pixel, c.outputs), channel)
        values = [
            "%buffers", *source, f.at(c.element, weights, channel), w_depth, w_row, depths, rows, window[2],
            channel, offset, pixels,
        ]  # fmt: skip
        arguments = ", ".join(f"{kind} {value}" for (kind, _), value in zip(_BLOCK_ARGUMENTS, values))
        f.do(f"call void @{name}({arguments})")

    per_chunk = -(-c.groups // c.chunks)
    first = f.mul(chunk, per_chunk)
    full = c.groups if c.outputs % channels == 0 or c.outputs < channels else c.groups - 1
    stop = f.minimum(f.add(first, per_chunk), c.groups)
    with f.loop(first, f.minimum(stop, full), hint="group") as group:
        call("main", group)
    if full < c.groups:
        with f.when(f.value(f"icmp eq i64 {stop}, {c.groups}")):
            call("rest", full)


# --------------------------------------------------------------------------------------------- forward


def forward(spec: Spec, epilogue: Epilogue | None = None) -> Kernel:
    """The kernel of the convolution.

    Buffers: x, w, the epilogue's operands, its outputs `[batch, *out, outputs]`.
    """
    title = f"convolution {spec.title}"
    return _correlate(_forward(spec), epilogue or epilogues.plain(spec.dtype), title)


def forward_sizes(
    spec: Spec, batch: int, sizes: Sequence[int], out: Sequence[int], low: Sequence[int]
) -> list[int]:
    """The table of sizes of `forward`.

    Args:
        sizes: the image's spatial sizes.
        out: the output's.
        low: the padding before each spatial dimension.
    """
    out = volume(out, 1)
    phase = _Phase(volume(spec.window, 1), volume(low, 0), (0, 0, 0), out, 0)
    return _sizes(_forward(spec), batch, volume(sizes, 1), out, [phase])


def forward_tiles(spec: Spec, table: Sequence[int]) -> int:
    """How many tiles `forward` has with a table of sizes."""
    return _tiles(_forward(spec), table)


def _forward(spec: Spec) -> _Correlation:
    return _Correlation(
        spec.dtype,
        (volume(spec.window, 1),),
        volume(spec.strides, 1),
        volume(spec.dilations, 1),
        (1, 1, 1),
        spec.inputs,
        spec.outputs,
        *_tiling(spec.outputs, spec.width, spec.dtype.size),
    )


# --------------------------------------------------------------------------------------------- gradient to the data


@dataclass(frozen=True)
class _Share:
    """The taps along one axis that the pixels of one phase see.

    Attributes:
        taps: their numbers, the last first: a correlation's order.
        low: how far before pixel 0 of the phase (in dy) the first of them is.
    """

    taps: tuple[int, ...]
    low: int


def _shares(window: int, stride: int, dilation: int) -> list[_Share]:
    """The taps that each of an axis's phases sees.

    Pixel `i` of the image, with the padding at `i + low = stride * j + phase`, is seen by the output `o` through the
    tap `k` if `stride * o + dilation * k = i + low`: so `o = j - (dilation * k - phase) / stride`.
    """
    shares: list[_Share] = []
    for phase in range(stride):
        taps = [k for k in reversed(range(window)) if (k * dilation - phase) % stride == 0]
        shares.append(_Share(tuple(taps), (taps[0] * dilation - phase) // stride if taps else 0))
    return shares


def mirror(spec: Spec) -> Kernel:
    """The kernel that packs the filter for `to_data`: mirrored, channels exchanged, sorted by phases.

    Buffers: w, the packed filter of as many elements. Its tiles are the window's taps.
    """
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=_ATTRIBUTES)
    element = ir.MEMORY[spec.dtype]
    w, packed = kernel.buffer(f, 0), kernel.buffer(f, 1)
    area = spec.inputs * spec.outputs
    with f.loop("%begin", "%end", hint="tap") as tap:
        source = f.at(element, w, f.mul(f.load(ir.I64, f.at(ir.I64, "%sizes", tap)), area))
        to = f.at(element, packed, f.mul(tap, area))
        with f.loop(0, spec.outputs, hint="out") as o, f.loop(0, spec.inputs, hint="in") as i:
            value = f.load(element, f.at(element, source, f.add(f.mul(i, spec.outputs), o)))
            f.store(element, value, f.at(element, to, f.add(f.mul(o, spec.inputs), i)))
    return Kernel(ir.module([f.finish()]), 0, f"mirror {spec.title}")


def mirror_sizes(spec: Spec) -> list[int]:
    """The table of sizes of `mirror`: the tap that each packed tap was."""
    window = volume(spec.window, 1)
    return [
        (depth * window[1] + row) * window[2] + column
        for shares in _phase_shares(spec)
        for depth, row, column in itertools.product(*(share.taps for share in shares))
    ]


def mirror_tiles(spec: Spec) -> int:
    """How many tiles `mirror` has."""
    return math.prod(spec.window)


def to_data(spec: Spec, epilogue: Epilogue | None = None) -> Kernel:
    """The kernel of the gradient to the images, or of the transposed convolution.

    Buffers: dy `[batch, *out, outputs]`, the filter packed by `mirror`, the epilogue's operands, its outputs
    `[batch, *spatial, inputs]`.
    """
    title = f"convolution to data {spec.title}"
    return _correlate(_to_data(spec), epilogue or epilogues.plain(spec.dtype), title)


def to_data_sizes(
    spec: Spec, batch: int, sizes: Sequence[int], out: Sequence[int], low: Sequence[int]
) -> list[int]:
    """The table of sizes of `to_data`; arguments as in `forward_sizes`."""
    sizes, low, strides = volume(sizes, 1), volume(low, 0), volume(spec.strides, 1)
    phases: list[_Phase] = []
    filters = 0
    places = itertools.product(*map(range, strides))
    for phase, shares in zip(places, _phase_shares(spec)):
        # The phase's first pixel inside the image, as its number among those of the phase, and as a pixel.
        firsts = [max(0, -((p - l) // s)) for p, l, s in zip(phase, low, strides)]
        start = [s * first + p - l for first, p, l, s in zip(firsts, phase, low, strides)]
        phases.append(
            _Phase(
                tuple(len(share.taps) for share in shares),
                tuple(share.low - first for share, first in zip(shares, firsts)),
                tuple(start),
                tuple(max(0, -((i - size) // s)) for i, size, s in zip(start, sizes, strides)),
                filters,
            )
        )
        filters += math.prod(len(share.taps) for share in shares) * spec.inputs * spec.outputs
    return _sizes(_to_data(spec), batch, volume(out, 1), sizes, phases)


def to_data_tiles(spec: Spec, table: Sequence[int]) -> int:
    """How many tiles `to_data` has with a table of sizes."""
    return _tiles(_to_data(spec), table)


def _phase_shares(spec: Spec) -> list[tuple[_Share, ...]]:
    """Each phase's taps along all axes."""
    axes = zip(volume(spec.window, 1), volume(spec.strides, 1), volume(spec.dilations, 1))
    return list(itertools.product(*(_shares(*axis) for axis in axes)))


def _to_data(spec: Spec) -> _Correlation:
    strides, dilations = volume(spec.strides, 1), volume(spec.dilations, 1)
    depth, row, column = (d // math.gcd(s, d) for s, d in zip(strides, dilations))
    return _Correlation(
        spec.dtype,
        tuple(tuple(len(share.taps) for share in shares) for shares in _phase_shares(spec)),
        (1, 1, 1),
        (depth, row, column),
        strides,
        spec.outputs,
        spec.inputs,
        *_tiling(spec.inputs, spec.width, spec.dtype.size),
    )


# --------------------------------------------------------------------------------------------- gradient to the filter

# With fewer input channels than this, the taps of whole rows of the window are taken together.
_FEW_INPUTS = 4

# Pixels are worked through in passes whose images and gradients stay in the second-level cache.
_PASS_BYTES = 96 << 10

# Rows of the output in a pass over images with few channels, which are copied to scratch.
_COPIED_ROWS = 8

# So many tiles are wanted, and so many bytes of partial gradients are acceptable.
_FILTER_TILES = 16
_PARTIAL_BYTES = 1 << 20

# The table of sizes.
(
    _F_IMAGES, _F_OUT, _F_SIZES, _F_LOW, _F_PASSES, _F_ROW_BLOCKS, _F_ROWS, _F_IMAGE_BLOCKS, _F_PER_PASS, _F_UNITS,
    _F_TILES, _F_COUNT,
) = (0, 1, 4, 7, 10, 11, 12, 13, 14, 15, 16, 17)  # fmt: skip


@dataclass(frozen=True)
class _Units:
    """How the gradient to the filter is cut into units: what is held in registers during a pass over pixels.

    A unit is the gradient of `len(offsets)` consecutive rows of the filter, as a matrix `[taps * inputs, outputs]`,
    for `vectors` vectors of output channels.

    Attributes:
        lanes, vectors: of output channels.
        offsets: from the element of x that meets the unit's first row to those of all its rows.
        per_tap: units along the input channels of a tap; 0 if a unit has several taps.
        rows: units along the rows of the filter.
        columns: pixels of a block that is copied to scratch.
    """

    lanes: int
    vectors: int
    offsets: tuple[int, ...]
    per_tap: int
    rows: int
    columns: int = 0


def splits(spec: Spec) -> int:
    """How many partial gradients `to_filter` makes, for `combine` to add up: a function of the spec alone."""
    size = math.prod(spec.window) * spec.inputs * spec.outputs * spec.dtype.size
    return max(1, min(_FILTER_TILES, _PARTIAL_BYTES // max(1, size)))


def to_filter(spec: Spec) -> Kernel:
    """The kernel of the gradient to the filter.

    Buffers: x, dy, the partial gradients `[splits, *window, inputs, outputs]`; with a single split, the gradient.
    """
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=f"optsize {_ATTRIBUTES}")
    units = _units(spec)
    walk = _FilterWalk(f, spec, units)
    table = [kernel.size(f, i) for i in range(_F_COUNT)]
    total = math.prod(spec.window) * spec.inputs * spec.outputs
    with f.loop("%begin", "%end", hint="tile") as tile:
        share, split = f.rem(tile, table[_F_TILES]), f.div(tile, table[_F_TILES])
        first = f.mul(share, table[_F_UNITS])
        stop = f.minimum(f.add(first, table[_F_UNITS]), walk.units_count)
        walk.gradient = f.at(walk.element, walk.partial, f.mul(split, total))
        with f.loop(first, stop, hint="unit") as unit:
            walk.call(unit, walk.x, "0", "0", walk.dy, "0", "0", "0", "0", "0", "1")
        start = f.div(f.mul(split, table[_F_PASSES]), splits(spec))
        end = f.div(f.mul(f.add(split, 1), table[_F_PASSES]), splits(spec))
        with f.loop(start, end, hint="pass") as number:
            walk.visit(number, table, first, stop)
    functions = walk.functions()
    return Kernel(ir.module([*functions, f.finish()]), walk.scratch, f"convolution to filter {spec.title}")


def to_filter_sizes(
    spec: Spec, batch: int, sizes: Sequence[int], out: Sequence[int], low: Sequence[int]
) -> list[int]:
    """The table of sizes of `to_filter`; arguments as in `forward_sizes`."""
    sizes, out, low = volume(sizes, 1), volume(out, 1), volume(low, 0)
    units = _units(spec)
    row_bytes = out[2] * (spec.inputs * volume(spec.strides, 1)[1] + spec.outputs) * spec.dtype.size
    rows = max(1, min(out[1], _PASS_BYTES // max(1, row_bytes)))
    if units.columns:
        rows, images = max(1, min(out[1], _COPIED_ROWS)), 1
    else:
        images = max(1, min(batch, _PASS_BYTES // max(1, row_bytes * rows))) if rows == out[1] else 1
    row_blocks, image_blocks = -(-out[1] // rows), -(-batch // images)
    passes = out[0] * row_blocks * image_blocks
    count = _units_count(spec, units)
    per_tile = -(-count // -(-_FILTER_TILES // splits(spec)))
    return [
        batch, *out, *sizes, *low, passes, row_blocks, rows, image_blocks, images, per_tile, -(-count // per_tile)
    ]  # fmt: skip


def to_filter_tiles(spec: Spec, table: Sequence[int]) -> int:
    """How many tiles `to_filter` has with a table of sizes."""
    return splits(spec) * table[_F_TILES]


def _units_count(spec: Spec, units: _Units) -> int:
    return units.rows * -(-spec.outputs // (units.lanes * units.vectors))


def _units(spec: Spec) -> _Units:
    machine = target.current()
    window, taps = volume(spec.window, 1), math.prod(spec.window)
    if spec.inputs >= _FEW_INPUTS:
        lanes, vectors, rows = _tiling(spec.outputs, spec.inputs, spec.dtype.size)
        per_tap = -(-spec.inputs // rows)
        return _Units(lanes, vectors, tuple(range(rows)), per_tap, taps * per_tap)
    # All that fits into the registers with one vector: whole rows of the window, or a part of one.
    lanes, _, _ = _tiling(spec.outputs, None, spec.dtype.size)
    most = machine.vector_registers - 3
    dilations = volume(spec.dilations, 1)
    columns = min(spec.width or 32, 64)
    line = _copied_row(spec, lanes, columns)
    run = [column * dilations[2] * spec.inputs + i for column in range(window[2]) for i in range(spec.inputs)]
    if len(run) <= most:
        lines = max(n for n in range(1, window[1] + 1) if window[1] % n == 0 and n * len(run) <= most)
        offsets = [row * dilations[1] * line + place for row in range(lines) for place in run]
    else:
        # Parts must look alike: with dilation, they are whole taps.
        part = spec.inputs if dilations[2] > 1 else 1
        length = max(n for n in range(part, most + 1, part) if len(run) % n == 0)
        offsets = run[:length]
    return _Units(lanes, 1, tuple(offsets), 0, taps * spec.inputs // len(offsets), columns)


def _copied_row(spec: Spec, lanes: int, columns: int) -> int:
    """Elements of a row in scratch, in whole vectors."""
    seen = (columns - 1) * spec.strides[-1] + (spec.window[-1] - 1) * spec.dilations[-1] + 1
    return -(-seen * spec.inputs // lanes) * lanes


_FILTER_ARGUMENTS = (
    (ir.POINTER, "x"),
    (ir.I64, "x.image"),
    (ir.I64, "x.row"),
    (ir.POINTER, "dy"),
    (ir.I64, "dy.image"),
    (ir.I64, "dy.row"),
    (ir.I64, "images"),
    (ir.I64, "rows"),
    (ir.I64, "columns"),
    (ir.POINTER, "dw"),
    (ir.I64, "skip"),
    (ir.I64, "fresh"),
)


def _filter_block(spec: Spec, units: _Units, name: str, channels: int) -> str:
    """The function that adds to one unit what some pixels give; or clears it first, if `fresh` is 1.

    The first `skip` rows of the unit are those of another and left alone.
    """
    f = ir.Function(name, _FILTER_ARGUMENTS, attributes=f"noinline {_ATTRIBUTES}", linkage="internal")
    element, lanes = ir.MEMORY[spec.dtype], units.lanes
    kind = ir.vector(lanes, element)
    vectors = _segments(lanes, channels)
    sums = [[f.variable(kind, "zeroinitializer", "sum") for _ in vectors] for _ in units.offsets]
    places = [
        [f.at(element, "%dw", row * spec.outputs + i * lanes) for i in range(len(vectors))]
        for row in range(len(sums))
    ]
    with f.when(f.value("icmp eq i64 %fresh, 0")):
        for row, addresses in zip(sums, places):
            for total, address, vector in zip(row, addresses, vectors):
                f.store(kind, vector.load(f, spec.dtype, address), total)
    with f.loop(0, "%images", hint="image") as image, f.loop(0, "%rows", hint="row") as line:
        x = f.at(element, "%x", f.add(f.mul(image, "%x.image"), f.mul(line, "%x.row")))
        dy = f.at(element, "%dy", f.add(f.mul(image, "%dy.image"), f.mul(line, "%dy.row")))
        with f.loop(0, "%columns", hint="column") as column:
            pixel = f.at(element, x, f.mul(column, spec.strides[-1] * spec.inputs))
            gradient = f.at(element, dy, f.mul(column, spec.outputs))
            gradients = [
                v.load(f, spec.dtype, f.at(element, gradient, i * lanes)) for i, v in enumerate(vectors)
            ]
            for offset, row in zip(units.offsets, sums):
                value = f.load(element, f.at(element, pixel, offset), spec.dtype.size)
                value = epilogues.broadcast(f, lanes, element, value)
                for total, shared in zip(row, gradients):
                    _multiply_add(f, kind, value, shared, total)
    for number, (row, addresses) in enumerate(zip(sums, places)):
        with f.when(f.value(f"icmp sle i64 %skip, {number}")):
            for total, address, vector in zip(row, addresses, vectors):
                vector.store(f, spec.dtype, f.load(kind, total), address)
    return f.finish()


class _FilterWalk:
    """The kernel of the gradient to the filter under construction.

    Attributes:
        x, dy, partial: its buffers.
        gradient: the partial gradient of the current tile.
    """

    def __init__(self, f: ir.Function, spec: Spec, units: _Units) -> None:
        self.f, self.spec, self.units = f, spec, units
        self.element = ir.MEMORY[spec.dtype]
        self.x, self.dy, self.partial = (kernel.buffer(f, i) for i in range(3))
        self.gradient = self.partial
        self.units_count = _units_count(spec, units)
        self.groups = self.units_count // units.rows
        self.window, self.strides, self.dilations = (
            volume(values, 1) for values in (spec.window, spec.strides, spec.dilations)
        )
        self.line = _copied_row(spec, units.lanes, units.columns) if units.columns else 0
        lines = (_COPIED_ROWS - 1) * self.strides[1] + (self.window[1] - 1) * self.dilations[1] + 1
        self.lines = lines
        self.scratch = self.window[0] * lines * self.line * spec.dtype.size

    def functions(self) -> list[str]:
        """The block functions that `call` calls."""
        channels = self.units.lanes * self.units.vectors
        names = {"main": min(self.spec.outputs, channels)}
        rest = self.spec.outputs - (self.groups - 1) * channels
        if rest != names["main"]:
            names["rest"] = rest
        return [_filter_block(self.spec, self.units, name, count) for name, count in names.items()]

    def visit(self, number: str, table: Sequence[str], first: str, stop: str) -> None:
        """One pass: all units of a tile meet some rows of some images."""
        f, spec = self.f, self.spec
        block, rest = f.rem(number, table[_F_ROW_BLOCKS]), f.div(number, table[_F_ROW_BLOCKS])
        images, depth = f.rem(rest, table[_F_IMAGE_BLOCKS]), f.div(rest, table[_F_IMAGE_BLOCKS])
        self.image = f.mul(images, table[_F_PER_PASS])
        self.images = f.minimum(table[_F_PER_PASS], f.sub(table[_F_IMAGES], self.image))
        self.depth = depth
        self.row = f.mul(block, table[_F_ROWS])
        self.out, self.sizes, self.low = (table[i : i + 3] for i in (_F_OUT, _F_SIZES, _F_LOW))
        self.row_end = f.minimum(f.add(self.row, table[_F_ROWS]), self.out[1])
        self.x_row = f.mul(self.sizes[2], spec.inputs)
        self.x_image = f.mul(f.mul(self.sizes[0], self.sizes[1]), self.x_row)
        self.dy_row = f.mul(self.out[2], spec.outputs)
        self.dy_image = f.mul(f.mul(self.out[0], self.out[1]), self.dy_row)
        if self.units.columns:
            self._visit_copied(first, stop)
        else:
            with f.loop(first, stop, hint="unit") as unit:
                self._visit_tap(unit)

    def _visit_tap(self, unit: str) -> None:
        """A unit of a single tap: only pixels inside the image are visited."""
        f, spec = self.f, self.spec
        tap = f.div(unit, self.units.per_tap * self.groups)
        rest, column = f.div(tap, self.window[2]), f.rem(tap, self.window[2])
        numbers = (f.div(rest, self.window[1]), f.rem(rest, self.window[1]), column)
        whole = ("0", self.row, "0")
        ends = (self.out[0], self.row_end, self.out[2])
        ahead, begins, counts = [], [], []
        for axis, number in enumerate(numbers):
            # Output `o` sees the pixel `stride * o + shift` through this tap.
            stride = self.strides[axis]
            shift = f.sub(f.mul(number, self.dilations[axis]), self.low[axis])
            begin = f.div(f.maximum(f.sub(stride - 1, shift), 0), stride)
            end = f.div(f.maximum(f.add(f.sub(self.sizes[axis], shift), stride - 1), 0), stride)
            begin, end = f.maximum(begin, whole[axis]), f.minimum(end, ends[axis])
            begins.append(begin)
            counts.append(f.maximum(f.sub(end, begin), 0))
            ahead.append(f.add(f.mul(begin, stride), shift))
        is_inside = f.value(f"icmp sle i64 {begins[0]}, {self.depth}")
        below_end = f.value(f"icmp slt i64 {self.depth}, {f.add(begins[0], counts[0])}")
        with f.when(f.value(f"and i1 {is_inside}, {below_end}")):
            depth = f.add(ahead[0], f.mul(f.sub(self.depth, begins[0]), self.strides[0]))
            line = f.add(f.mul(f.add(f.mul(self.image, self.sizes[0]), depth), self.sizes[1]), ahead[1])
            x = f.add(f.mul(line, self.x_row), f.mul(ahead[2], spec.inputs))
            dy = self._gradient_at(begins[1], begins[2])
            self.call(
                unit, f.at(self.element, self.x, x), self.x_image, f.mul(self.x_row, self.strides[1]),
                dy, self.dy_image, self.dy_row, self.images, counts[1], counts[2], "0",
            )  # fmt: skip

    def _gradient_at(self, row: str, column: str) -> str:
        """The address of dy at a pixel of the pass's first image."""
        f = self.f
        plane = f.add(f.mul(self.image, self.out[0]), self.depth)
        line = f.mul(f.add(f.mul(plane, self.out[1]), row), self.dy_row)
        return f.at(self.element, self.dy, f.add(line, f.mul(column, self.spec.outputs)))

    def _visit_copied(self, first: str, stop: str) -> None:
        """Units of several taps: what they see is copied to scratch, with zeros around it."""
        f, spec, lanes = self.f, self.spec, self.units.lanes
        rows = f.sub(self.row_end, self.row)
        kind = ir.vector(lanes, self.element)
        with f.loop(0, self.out[2], self.units.columns, "column") as column:
            source = f.sub(f.mul(column, self.strides[2]), self.low[2])
            seen = (self.units.columns - 1) * self.strides[2] + (self.window[2] - 1) * self.dilations[2] + 1
            inside = f.maximum(source, 0)
            end = f.maximum(f.minimum(self.sizes[2], f.add(source, seen)), inside)
            elements = f.mul(f.sub(end, inside), spec.inputs)
            ahead = f.mul(f.sub(inside, source), spec.inputs)
            with f.loop(0, self.window[0], hint="copy.depth") as i, f.loop(0, self.lines, hint="copy.row") as j:
                to = f.at(self.element, "%scratch", f.mul(f.add(f.mul(i, self.lines), j), self.line))
                with f.loop(0, self.line, lanes, "clear") as k:
                    f.store(kind, "zeroinitializer", f.at(self.element, to, k), spec.dtype.size)
                depth = f.sub(f.mul(self.depth, self.strides[0]), self.low[0])
                depth = f.add(depth, f.mul(i, self.dilations[0]))
                row = f.add(f.sub(f.mul(self.row, self.strides[1]), self.low[1]), j)
                # Unsigned comparisons: negative numbers are outside, too.
                depth_inside = f.value(f"icmp ult i64 {depth}, {self.sizes[0]}")
                row_inside = f.value(f"icmp ult i64 {row}, {self.sizes[1]}")
                with f.when(f.value(f"and i1 {depth_inside}, {row_inside}")):
                    plane = f.add(f.mul(self.image, self.sizes[0]), depth)
                    line = f.mul(f.add(f.mul(plane, self.sizes[1]), row), self.x_row)
                    place = f.at(self.element, self.x, f.add(line, f.mul(inside, spec.inputs)))
                    _copy(f, spec.dtype, lanes, place, f.at(self.element, to, ahead), elements)
            columns = f.minimum(self.units.columns, f.sub(self.out[2], column))
            dy = self._gradient_at(self.row, column)
            with f.loop(first, stop, hint="unit") as unit:
                x = f.at(self.element, "%scratch", self._copied_place(unit))
                row_step = str(self.line * self.strides[1])
                self.call(unit, x, "0", row_step, dy, "0", self.dy_row, "1", rows, columns, "0")

    def _copied_place(self, unit: str) -> str:
        """Where in scratch a unit's first row begins for the pass's first pixel."""
        f, spec = self.f, self.spec
        length = len(self.units.offsets)
        run = self.window[2] * spec.inputs
        first = f.mul(f.div(unit, self.groups), length)
        tap_row, in_run = f.div(first, run), f.rem(first, run)
        depth, row = f.div(tap_row, self.window[1]), f.rem(tap_row, self.window[1])
        line = f.add(f.mul(depth, self.lines), f.mul(row, self.dilations[1]))
        return f.add(f.mul(line, self.line), f.mul(in_run, self.dilations[2]))

    def call(
        self,
        unit: str,
        x: str,
        x_image: str,
        x_row: str,
        dy: str,
        dy_image: str,
        dy_row: str,
        images: str,
        rows: str,
        columns: str,
        fresh: str,
    ) -> None:
        """Calls the block function for a unit and some pixels; x and dy are at the first channels."""
        f, spec, units = self.f, self.spec, self.units
        row, group = f.div(unit, self.groups), f.rem(unit, self.groups)
        length = len(units.offsets)
        skip = "0"
        if units.per_tap:
            tap, part = f.div(row, units.per_tap), f.rem(row, units.per_tap)
            # The last part of a tap ends with it, and shares some rows with the one before.
            wanted = f.mul(part, length)
            channel = f.minimum(wanted, spec.inputs - length)
            skip = f.sub(wanted, channel)
            x = f.at(self.element, x, channel)
            first = f.add(f.mul(tap, spec.inputs), channel)
        else:
            first = f.mul(row, length)
        out = f.mul(group, units.lanes * units.vectors)
        dw = f.at(self.element, self.gradient, f.add(f.mul(first, spec.outputs), out))
        values = [
            x, x_image, x_row, f.at(self.element, dy, out), dy_image, dy_row, images, rows, columns, dw, skip, fresh
        ]  # fmt: skip
        arguments = ", ".join(f"{kind} {value}" for (kind, _), value in zip(_FILTER_ARGUMENTS, values))
        channels = units.lanes * units.vectors
        if self.groups == 1 or spec.outputs % channels == 0:
            f.do(f"call void @main({arguments})")
            return
        with f.either(f.value(f"icmp slt i64 {group}, {self.groups - 1}")) as branches:
            f.do(f"call void @main({arguments})")
            branches.otherwise()
            f.do(f"call void @rest({arguments})")


_COMBINED = 1024


def combine(spec: Spec) -> Kernel:
    """The kernel that adds up the partial gradients of `to_filter`.

    Buffers: the partial gradients, the gradient to the filter. It needs no sizes.
    """
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=_ATTRIBUTES)
    element = ir.MEMORY[spec.dtype]
    partial, gradient = kernel.buffer(f, 0), kernel.buffer(f, 1)
    total = math.prod(spec.window) * spec.inputs * spec.outputs
    first, stop = f.mul("%begin", _COMBINED), f.minimum(f.mul("%end", _COMBINED), total)
    with f.loop(first, stop, hint="element") as i:
        value = f.load(element, f.at(element, partial, i))
        for split in range(1, splits(spec)):
            other = f.load(element, f.at(element, partial, f.add(i, split * total)))
            value = f.value(f"fadd {element} {value}, {other}")
        f.store(element, value, f.at(element, gradient, i))
    return Kernel(ir.module([f.finish()]), 0, f"combine {spec.title}")


def combine_sizes(spec: Spec) -> list[int]:
    """The table of sizes of `combine`: empty."""
    return []


def combine_tiles(spec: Spec) -> int:
    """How many tiles `combine` has."""
    return -(-math.prod(spec.window) * spec.inputs * spec.outputs // _COMBINED)
