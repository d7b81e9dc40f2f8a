"""Depthwise convolution kernels: each channel has filters of its own.

Images are `[batch, *spatial, channels]`, filters `[*window, channels, multiplier]`, and the output is
`[batch, *out, channels * multiplier]`. Every product meets another element of the filter, so there is little to keep
in registers: vectors run along the channels, and loads are what counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from tahr.backends.native import ir, kernel, sliding
from tahr.backends.native.epilogue import Epilogue, Segment, addresses, emit, plain
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.sliding import Pixel, Row, Walk, Window, volume
from tahr.core.dtypes import DType

# So many neighbouring pixels are computed at once, where rows of a window have at most so many taps. What they share is
# then loaded once: two vectors of channels take 27 loads instead of 72.
_TOGETHER, _MOST_TAPS = 4, 7

# Partial gradients of the filter; see `splits`.
_SPLITS = 8
_PARTIAL_BYTES = 1 << 20


@dataclass(frozen=True)
class Spec:
    """What is compiled into the kernels of a depthwise convolution.

    Attributes:
        dtype: of images and filters, float32 or float64.
        window, strides, dilations: one number for each spatial dimension.
        channels: of the images.
        multiplier: filters for each channel.
    """

    dtype: DType
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    channels: int
    multiplier: int = 1

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return self.channels * self.multiplier

    @property
    def title(self) -> str:
        """What it computes, for people."""
        window, strides = ("x".join(map(str, values)) for values in (self.window, self.strides))
        return f"depthwise {self.dtype.name} {window} /{strides} {self.channels}x{self.multiplier}"

    def sliding(self, channels: int) -> Window:
        """The window as it slides over arrays of so many channels."""
        return Window(volume(self.window, 1), volume(self.strides, 1), volume(self.dilations, 1), channels)


def sizes(spec: Spec, walked: Sequence[int], seen: Sequence[int], low: Sequence[int]) -> list[int]:
    """The table of sizes of `forward` and `to_data`.

    Args:
        walked: spatial sizes of what the kernel writes: of the output, or of the image in `to_data`.
        seen: those of the other one.
        low: the padding before each spatial dimension of the image.
    """
    return sliding.sizes(spec.sliding(spec.outputs), walked, seen, low)


def tiles(table: Sequence[int], batch: int) -> int:
    """How many tiles `forward` and `to_data` have with a table of sizes."""
    return sliding.tiles(table, batch)


# ------------------------------------------------------------------------------------------------ forward


def forward(spec: Spec, epilogue: Epilogue | None = None) -> Kernel:
    """The kernel of the depthwise convolution.

    Buffers: x, w, the epilogue's operands, its outputs `[batch, *out, channels * multiplier]`.
    """
    walk = Walk(spec.sliding(spec.outputs), spec.dtype.size, overlaps=False)
    f, values = walk.f, ir.vector(walk.lanes, ir.MEMORY[spec.dtype])
    x, w = kernel.buffer(f, 0), kernel.buffer(f, 1)
    finish = _finisher(walk, epilogue or plain(spec.dtype))

    def windows(pixel: Pixel, channel: str, vectors: list[Segment]) -> None:
        sums = [f.variable(values, "zeroinitializer", "sum") for _ in vectors]
        with walk.each_tap(pixel) as tap:
            filters = walk.load(spec.dtype, w, walk.element(tap.tap, channel), vectors)
            seen = _repeated(walk, spec, x, tap.place, channel, vectors)
            for value, weight, total in zip(seen, filters, sums):
                _multiply_add(f, values, value, weight, total)
        finish(pixel.place, channel, [f.load(values, total) for total in sums], vectors)

    def together(pixel: Pixel, channel: str, vectors: list[Segment]) -> None:
        offsets = {
            (p, k): p * walk.window.strides[2] + k * walk.window.dilations[2]
            for p in range(_TOGETHER)
            for k in range(walk.window.taps[2])
        }
        sums = _sums_of_neighbours(walk, spec, x, w, walk.each_row_of_taps, pixel, offsets, channel, vectors)
        for p, of_pixel in enumerate(sums):
            finish(f.add(pixel.place, p), channel, of_pixel, vectors)

    if spec.multiplier == 1 and 1 < walk.window.taps[2] <= _MOST_TAPS:
        walk.windows_together(_TOGETHER, _each_channel(walk, together, 2), _each_channel(walk, windows))
    else:
        with walk.windows() as pixel:
            _each_channel(walk, windows)(pixel)
    return walk.kernel(spec.title)


def _each_channel(
    walk: Walk, body: Callable[[Pixel, str, list[Segment]], None], *most: int
) -> Callable[[Pixel], None]:
    """What emits, for a pixel, a body for all channels; some vectors at once."""
    return lambda pixel: walk.channels(partial(body, pixel), *most)


def _sums_of_neighbours(
    walk: Walk,
    spec: Spec,
    array: str,
    w: str,
    each_row: Callable[[Pixel], AbstractContextManager[Row]],
    first: Pixel,
    offsets: Mapping[tuple[int, int], int],
    channel: str,
    vectors: list[Segment],
) -> list[list[str]]:
    """The sums of pixels next to each other, of some channels: what several of them need of a row is loaded once.

    Args:
        each_row: the loops over the rows of what they see.
        offsets: how far what pixel p meets at tap k of a row is from what pixel 0 meets at tap 0.
    """
    f, values, dtype = walk.f, ir.vector(walk.lanes, ir.MEMORY[spec.dtype]), spec.dtype
    sums = [[f.variable(values, "zeroinitializer", "sum") for _ in vectors] for _ in range(_TOGETHER)]
    with each_row(first) as row:
        start = f.add(row.line, first.ranges[2].origin)
        for i, vector in enumerate(vectors):
            place, lane = [vector], f.add(channel, i * walk.lanes)
            seen = {
                offset: walk.load(dtype, array, walk.element(f.add(start, offset), lane), place)[0]
                for offset in sorted(set(offsets.values()))
            }
            for k in range(walk.window.taps[2]):
                (weight,) = walk.load(dtype, w, walk.element(f.add(row.tap_line, k), lane), place)
                for p in range(_TOGETHER):
                    _multiply_add(f, values, seen[offsets[p, k]], weight, sums[p][i])
    return [[f.load(values, total) for total in of_pixel] for of_pixel in sums]


def _finisher(walk: Walk, epilogue: Epilogue) -> Callable[[str, str, Sequence[str], Sequence[Segment]], None]:
    """What passes sums through the epilogue, given a pixel's place, the first channel, the sums and their vectors."""
    count = len(epilogue.operands) + len(epilogue.outputs)
    arrays = [kernel.buffer(walk.f, 2 + i) for i in range(count)]

    def finish(place: str, channel: str, sums: Sequence[str], vectors: Sequence[Segment]) -> None:
        for i, (value, vector) in enumerate(zip(sums, vectors)):
            first = walk.f.add(channel, i * walk.lanes)
            places = addresses(walk.f, epilogue, arrays, first, walk.element(place, first))
            emit(walk.f, epilogue, value, places, vector)

    return finish


def _repeated(walk: Walk, spec: Spec, x: str, place: str, channel: str, vectors: list[Segment]) -> list[str]:
    """The image's channels that meet some channels of the output: each is repeated for each of its filters."""
    if spec.multiplier == 1:
        return walk.load(spec.dtype, x, walk.element(place, channel), vectors)
    f, base = walk.f, walk.f.mul(place, spec.channels)
    places: list[str] = []
    for i in range(len(vectors)):
        outputs = _numbers(walk, walk.f.add(channel, i * walk.lanes), 1)
        channels = f.value(f"udiv {_integers(walk)} {outputs}, {_splat(spec.multiplier)}")
        places.append(f.value(f"add nsw {_integers(walk)} {channels}, {walk.splat(ir.I64, base)}"))
    return walk.gather(spec.dtype, x, places, vectors)


# ------------------------------------------------------------------------------------------------ to the data


def to_data(spec: Spec, epilogue: Epilogue | None = None) -> Kernel:
    """The kernel of the gradient to the images.

    Buffers: dy, w, the epilogue's operands, its outputs `[batch, *spatial, channels]`.
    """
    walk = Walk(spec.sliding(spec.channels), spec.dtype.size, overlaps=False)
    f, values = walk.f, ir.vector(walk.lanes, ir.MEMORY[spec.dtype])
    dy, w = kernel.buffer(f, 0), kernel.buffer(f, 1)
    finish = _finisher(walk, epilogue or plain(spec.dtype))

    def pixels(pixel: Pixel, channel: str, vectors: list[Segment]) -> None:
        sums = [f.variable(values, "zeroinitializer", "sum") for _ in vectors]
        with walk.each_window(pixel) as window:
            for number in range(spec.multiplier):
                filters = _every(walk, spec, w, window.tap, channel, number, vectors)
                gradients = _every(walk, spec, dy, window.place, channel, number, vectors)
                for value, weight, total in zip(gradients, filters, sums):
                    _multiply_add(f, values, value, weight, total)
        finish(pixel.place, channel, [f.load(values, total) for total in sums], vectors)

    def together(pixel: Pixel, channel: str, vectors: list[Segment]) -> None:
        offsets = {(p, k): p - k for p in range(_TOGETHER) for k in range(walk.window.taps[2])}
        each_row = walk.each_row_of_windows
        sums = _sums_of_neighbours(walk, spec, dy, w, each_row, pixel, offsets, channel, vectors)
        for p, of_pixel in enumerate(sums):
            finish(f.add(pixel.place, p), channel, of_pixel, vectors)

    is_dense = math.prod(spec.strides) * math.prod(spec.dilations) == 1
    if spec.multiplier == 1 and 1 < walk.window.taps[2] <= _MOST_TAPS and is_dense:
        walk.pixels_together(_TOGETHER, _each_channel(walk, together, 2), _each_channel(walk, pixels))
    else:
        with walk.pixels() as pixel:
            _each_channel(walk, pixels)(pixel)
    return walk.kernel(f"{spec.title} to data")


def _every(
    walk: Walk, spec: Spec, array: str, place: str, channel: str, number: int, vectors: list[Segment]
) -> list[str]:
    """What belongs to the filter of a number of each of some channels."""
    if spec.multiplier == 1:
        return walk.load(spec.dtype, array, walk.element(place, channel), vectors)
    f = walk.f
    places: list[str] = []
    for i in range(len(vectors)):
        first = f.add(walk.element(place, channel), i * walk.lanes)
        places.append(_numbers(walk, f.add(f.mul(first, spec.multiplier), number), spec.multiplier))
    return walk.gather(spec.dtype, array, places, vectors)


# ------------------------------------------------------------------------------------------------ to the filter

# The table of sizes: the batch, and three times three numbers.
_IMAGES, _OUT, _SIZES, _LOW, _COUNT = 0, 1, 4, 7, 10


def splits(spec: Spec) -> int:
    """How many partial gradients `to_filter` makes, to be added up: a function of the spec alone."""
    size = math.prod(spec.window) * spec.outputs * spec.dtype.size
    return max(1, min(_SPLITS, _PARTIAL_BYTES // max(1, size)))


def to_filter(spec: Spec) -> Kernel:
    """The kernel of the gradient to the filter.

    Buffers: x, dy, the partial gradients `[splits, *window, channels, multiplier]`. A tile is one of them, or a few
    channels of one.
    """
    walk = Walk(spec.sliding(spec.outputs), spec.dtype.size)
    f, element, values = walk.f, ir.MEMORY[spec.dtype], ir.vector(walk.lanes, ir.MEMORY[spec.dtype])
    x, dy, partial = (kernel.buffer(f, i) for i in range(3))
    table = kernel.sizes(f, _COUNT)
    out, image_sizes, low = (table[i : i + 3] for i in (_OUT, _SIZES, _LOW))
    rows = f.mul(f.mul(table[_IMAGES], out[0]), out[1])
    window = spec.sliding(spec.outputs)
    taps = math.prod(window.taps)

    def tap_range(axis: int, tap: str) -> tuple[str, str, str]:
        """The outputs that see a pixel through a tap: the first, the end, and the pixel that output 0 would see."""
        stride = window.strides[axis]
        shift = f.sub(f.mul(tap, window.dilations[axis]), low[axis])
        first = f.div(f.maximum(f.sub(stride - 1, shift), 0), stride)
        end = f.div(f.maximum(f.add(f.sub(image_sizes[axis], shift), stride - 1), 0), stride)
        return first, f.minimum(end, out[axis]), shift

    def channels(channel: str, vectors: list[Segment]) -> None:
        with (
            f.loop(0, window.taps[0], hint="tap") as i,
            f.loop(0, window.taps[1], hint="tap") as j,
            f.loop(0, window.taps[2], hint="tap") as k,
        ):
            sums = [f.variable(values, "zeroinitializer", "sum") for _ in vectors]
            for total in sums:
                f.store(values, "zeroinitializer", total)
            ranges = [tap_range(axis, tap) for axis, tap in enumerate((i, j, k))]
            with f.loop(first_row, last_row, hint="row") as row:
                plane, line = f.div(row, out[1]), f.rem(row, out[1])
                image, depth = f.div(plane, out[0]), f.rem(plane, out[0])
                inside = _between(f, depth, *ranges[0][:2]), _between(f, line, *ranges[1][:2])
                with f.when(f.value(f"and i1 {inside[0]}, {inside[1]}")):
                    seen_depth = f.add(f.mul(depth, window.strides[0]), ranges[0][2])
                    seen_row = f.add(f.mul(line, window.strides[1]), ranges[1][2])
                    plane = f.add(f.mul(image, image_sizes[0]), seen_depth)
                    start = f.mul(f.add(f.mul(plane, image_sizes[1]), seen_row), image_sizes[2])
                    with f.loop(ranges[2][0], ranges[2][1], hint="column") as column:
                        pixel = f.add(start, f.add(f.mul(column, window.strides[2]), ranges[2][2]))
                        gradient = walk.element(f.add(f.mul(row, out[2]), column), channel)
                        gradients = walk.load(spec.dtype, dy, gradient, vectors)
                        images = _repeated(walk, spec, x, pixel, channel, vectors)
                        for value, shared, total in zip(gradients, images, sums):
                            _multiply_add(f, values, value, shared, total)
            number = f.add(f.mul(f.add(f.mul(i, window.taps[1]), j), window.taps[2]), k)
            target = f.at(element, partial, f.mul(split, taps * spec.outputs))
            result = [f.load(values, total) for total in sums]
            walk.store(spec.dtype, result, target, walk.element(number, channel), vectors)

    with f.loop("%begin", "%end", hint="split") as split:
        first_row = f.div(f.mul(split, rows), splits(spec))
        last_row = f.div(f.mul(f.add(split, 1), rows), splits(spec))
        walk.channels(channels)
    return walk.kernel(f"{spec.title} to filter")


def to_filter_sizes(batch: int, image: Sequence[int], out: Sequence[int], low: Sequence[int]) -> list[int]:
    """The table of sizes of `to_filter`; it has `splits` tiles.

    Args:
        image, out: spatial sizes of the image and of the output.
        low: the padding before each spatial dimension of the image.
    """
    return [batch, *volume(out, 1), *volume(image, 1), *volume(low, 0)]


def _between(f: ir.Function, value: str, first: str, end: str) -> str:
    """Whether first <= value < end."""
    after, before = f.value(f"icmp sge i64 {value}, {first}"), f.value(f"icmp slt i64 {value}, {end}")
    return f.value(f"and i1 {after}, {before}")


# ------------------------------------------------------------------------------------------------ vectors


def _integers(walk: Walk) -> str:
    return ir.vector(walk.lanes, ir.I64)


def _splat(value: int) -> str:
    return ir.splat(ir.I64, str(value))


def _numbers(walk: Walk, first: str, step: int) -> str:
    """The vector first, first + step, ..."""
    steps = "<" + ", ".join(f"i64 {lane * step}" for lane in range(walk.lanes)) + ">"
    return walk.f.value(f"add nsw {_integers(walk)} {walk.splat(ir.I64, first)}, {steps}")


def _multiply_add(f: ir.Function, values: str, a: str, b: str, total: str) -> None:
    """total += a b."""
    suffix = values.strip("<>").replace(" x ", "").replace("float", "f32").replace("double", "f64")
    call = (
        f"call {values} @llvm.fmuladd.v{suffix}({values} {a}, {values} {b}, {values} {f.load(values, total)})"
    )
    f.store(values, f.value(call), total)
