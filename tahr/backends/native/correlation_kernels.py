"""Correlation kernels: the inner loops of a convolution's forward pass and of its gradient to the data.

The inner function (`_block`) holds `pixels x vectors` accumulators in registers: for every tap and input channel it
loads `vectors` vectors of the filter, which run along the output's channels, and multiplies them with the broadcast
element of each of `pixels` neighbouring windows. With a few output channels only, vectors run along the input's
channels instead, and are summed up at the end. Rows of taps outside of the image are skipped. Where windows reach
over a row's left or right end, the rows that the block sees are copied to scratch, with zeros around them.

`correlation.py` says what is computed, and how large blocks are.

Source of the direct method: Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD
Architectures" (2018).
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tahr.backends.native import epilogue as epilogues, ir, kernel
from tahr.backends.native.correlation import (
    OUT,
    PACKED,
    PHASE,
    PHASES,
    SIZES,
    Correlation,
    Packing,
)
from tahr.backends.native.epilogue import Epilogue, Segment
from tahr.backends.native.kernel import Kernel
from tahr.core import scalar
from tahr.core.dtypes import DType

# Library calls for copying and filling would not pay for the few elements of a row.
ATTRIBUTES = 'nounwind "no-builtins" "prefer-vector-width"="512"'

# An epilogue of so many operations is emitted for each accumulator.
_SHORT = 6

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
    images, depths, row_blocks, rows, column_blocks, columns = (kernel.size(f, i) for i in range(SIZES))
    sizes = [kernel.size(f, SIZES + i) for i in range(3)]
    out = [kernel.size(f, OUT + i) for i in range(3)]
    with f.loop("%begin", "%end", hint="tile") as tile:
        across, rest = f.rem(tile, column_blocks), f.div(tile, column_blocks)
        block, rest = f.rem(rest, row_blocks), f.div(rest, row_blocks)
        depth, rest = ("0", rest) if c.is_flat else (f.rem(rest, depths), f.div(rest, depths))
        image, rest = f.rem(rest, images), f.div(rest, images)
        phase, chunk = f.rem(rest, len(c.windows)), f.div(rest, len(c.windows))
        record = f.at(ir.I64, "%sizes", f.add(f.mul(phase, PHASE), PHASES))
        fields = [f.load(ir.I64, f.at(ir.I64, record, i)) for i in range(PHASE)]
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
    is_packed = f.value(f"trunc i64 {kernel.size(f, PACKED)} to i1")
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
