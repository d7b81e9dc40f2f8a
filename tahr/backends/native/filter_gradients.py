"""The kernels of a convolution's gradient to the filter.

The inner function (`_block`) holds the gradients of a few rows of the filter, as a matrix `[taps * inputs, outputs]`,
in registers, for a few vectors of output channels, while it walks over pixels: a *unit*. With many input channels a
unit's rows are channels of one tap, and only pixels that the tap sees inside the image are visited. With few, a unit
has several taps; then rows of the image are copied to scratch, with zeros around them.

The batch is split into a fixed number of parts, whose gradients are added up at the end: so tiles are independent, and
the bits do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tahr.backends.native import ir, kernel, target as targets
from tahr.backends.native.convolution import Spec
from tahr.backends.native.correlation import tiling
from tahr.backends.native.correlation_kernels import ATTRIBUTES, copy, multiply_add, segments
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.sliding import volume

# With fewer input channels than this, the taps of whole rows of the window are taken together.
_FEW_INPUTS = 4

# Pixels are worked through in passes whose images and gradients stay in the second-level cache.
_PASS_BYTES = 96 << 10

# Rows of the output in a pass over images with few channels, which are copied to scratch.
_COPIED_ROWS = 8

# So many tiles are wanted, and at most so many partial gradients of so many bytes in all: a large filter has enough
# units to share.
_TILES = 32
_SPLITS = 16
_PARTIAL_BYTES = 1 << 17

# The table of sizes.
_BATCH, _OUT, _SIZES, _LOW, _PASSES = 0, 1, 4, 7, 10
_COLUMN_BLOCKS, _COLUMNS, _ROW_BLOCKS, _ROWS, _IMAGE_BLOCKS, _IMAGES = 11, 12, 13, 14, 15, 16
_UNITS_PER_TILE, _UNIT_TILES, _COUNT = 17, 18, 19


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
    return max(1, min(_SPLITS, _PARTIAL_BYTES // max(1, size)))


def to_filter(spec: Spec) -> Kernel:
    """The kernel of the gradient to the filter.

    Buffers: x, dy, the partial gradients `[splits, *window, inputs, outputs]`; with a single split, the gradient.
    """
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=ATTRIBUTES)
    units = _units(spec)
    walk = _Walk(f, spec, units)
    table = [kernel.size(f, i) for i in range(_COUNT)]
    total = math.prod(spec.window) * spec.inputs * spec.outputs
    with f.loop("%begin", "%end", hint="tile") as tile:
        share, split = f.rem(tile, table[_UNIT_TILES]), f.div(tile, table[_UNIT_TILES])
        first = f.mul(share, table[_UNITS_PER_TILE])
        stop = f.minimum(f.add(first, table[_UNITS_PER_TILE]), walk.units_count)
        walk.gradient = f.at(walk.element, walk.partial, f.mul(split, total))
        with f.loop(first, stop, hint="unit") as unit:
            walk.call(unit, walk.x, "0", "0", walk.dy, "0", "0", "0", "0", "0", "1")
        start = f.div(f.mul(split, table[_PASSES]), splits(spec))
        end = f.div(f.mul(f.add(split, 1), table[_PASSES]), splits(spec))
        with f.loop(start, end, hint="pass") as number:
            walk.visit(number, table, first, stop)
    functions = walk.functions()
    text = kernel.AS_WRITTEN + ir.module([*functions, f.finish()])
    return Kernel(text, walk.scratch, f"convolution to filter {spec.title}")


def to_filter_sizes(
    spec: Spec, batch: int, sizes: Sequence[int], out: Sequence[int], low: Sequence[int]
) -> list[int]:
    """The table of sizes of `to_filter`; arguments as in `forward_sizes`."""
    sizes, out, low = volume(sizes, 1), volume(out, 1), volume(low, 0)
    units = _units(spec)
    pixel_bytes = (spec.inputs * volume(spec.strides, 1)[1] + spec.outputs) * spec.dtype.size
    columns = max(1, min(out[2], _PASS_BYTES // pixel_bytes))
    rows = max(1, min(out[1], _PASS_BYTES // (pixel_bytes * columns)))
    images = max(1, min(batch, _PASS_BYTES // (pixel_bytes * columns * rows))) if rows == out[1] else 1
    if units.columns:
        columns = -(-columns // units.columns) * units.columns
        rows, images = max(1, min(out[1], _COPIED_ROWS)), 1
    # Each number of blocks, and the size of a block.
    blocks = [
        n
        for size, part in ((out[2], columns), (out[1], rows), (batch, images))
        for n in (-(-size // part), part)
    ]
    passes = out[0] * blocks[0] * blocks[2] * blocks[4]
    count = _units_count(spec, units)
    per_tile = -(-count // -(-_TILES // splits(spec)))
    return [batch, *out, *sizes, *low, passes, *blocks, per_tile, -(-count // per_tile)]


def to_filter_tiles(spec: Spec, table: Sequence[int]) -> int:
    """How many tiles `to_filter` has with a table of sizes."""
    return splits(spec) * table[_UNIT_TILES]


def _units_count(spec: Spec, units: _Units) -> int:
    return units.rows * -(-spec.outputs // (units.lanes * units.vectors))


def _units(spec: Spec) -> _Units:
    machine = targets.current()
    window, taps = volume(spec.window, 1), math.prod(spec.window)
    if spec.inputs >= _FEW_INPUTS:
        lanes, vectors, rows = tiling(spec.outputs, spec.inputs, spec.dtype.size)
        per_tap = -(-spec.inputs // rows)
        return _Units(lanes, vectors, tuple(range(rows)), per_tap, taps * per_tap)
    # All that fits into the registers with one vector: whole rows of the window, or a part of one.
    lanes, _, _ = tiling(spec.outputs, None, spec.dtype.size)
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


_ARGUMENTS = (
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


def _block(spec: Spec, units: _Units, name: str, channels: int) -> str:
    """The function that adds to one unit what some pixels give; or clears it first, if `fresh` is 1.

    The first `skip` rows of the unit are those of another and left alone.
    """
    f = ir.Function(name, _ARGUMENTS, attributes=f"noinline {ATTRIBUTES}", linkage="internal")
    element, lanes = ir.MEMORY[spec.dtype], units.lanes
    vectors = segments(lanes, channels)
    kinds = [vector.type(element) for vector in vectors]
    sums = [[f.variable(kind, "zeroinitializer", "sum") for kind in kinds] for _ in units.offsets]
    places = [
        [f.at(element, "%dw", row * spec.outputs + i * lanes) for i in range(len(vectors))]
        for row in range(len(sums))
    ]
    with f.when(f.value("icmp eq i64 %fresh, 0")):
        for row, addresses in zip(sums, places):
            for total, address, vector in zip(row, addresses, vectors):
                f.store(vector.type(element), vector.load(f, spec.dtype, address), total)
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
                multiply_add(f, element, value, vectors, gradients, row)
    for number, (row, addresses) in enumerate(zip(sums, places)):
        with f.when(f.value(f"icmp sle i64 %skip, {number}")):
            for total, address, vector in zip(row, addresses, vectors):
                vector.store(f, spec.dtype, f.load(vector.type(element), total), address)
    return f.finish()


class _Walk:
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
        return [_block(self.spec, self.units, name, count) for name, count in names.items()]

    def visit(self, number: str, table: Sequence[str], first: str, stop: str) -> None:
        """One pass: all units of a tile meet some rows of some images."""
        f, spec = self.f, self.spec
        across, rest = f.rem(number, table[_COLUMN_BLOCKS]), f.div(number, table[_COLUMN_BLOCKS])
        block, rest = f.rem(rest, table[_ROW_BLOCKS]), f.div(rest, table[_ROW_BLOCKS])
        images, self.depth = f.rem(rest, table[_IMAGE_BLOCKS]), f.div(rest, table[_IMAGE_BLOCKS])
        self.image = f.mul(images, table[_IMAGES])
        self.images = f.minimum(table[_IMAGES], f.sub(table[_BATCH], self.image))
        self.out, self.sizes, self.low = (table[i : i + 3] for i in (_OUT, _SIZES, _LOW))
        self.row, self.column = f.mul(block, table[_ROWS]), f.mul(across, table[_COLUMNS])
        self.row_end = f.minimum(f.add(self.row, table[_ROWS]), self.out[1])
        self.column_end = f.minimum(f.add(self.column, table[_COLUMNS]), self.out[2])
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
        starts = ("0", self.row, self.column)
        ends = (self.out[0], self.row_end, self.column_end)
        ahead, begins, counts = [], [], []
        for axis, number in enumerate(numbers):
            # Output `o` sees the pixel `stride * o + shift` through this tap.
            stride = self.strides[axis]
            shift = f.sub(f.mul(number, self.dilations[axis]), self.low[axis])
            begin = f.div(f.maximum(f.sub(stride - 1, shift), 0), stride)
            end = f.div(f.maximum(f.add(f.sub(self.sizes[axis], shift), stride - 1), 0), stride)
            begin, end = f.maximum(begin, starts[axis]), f.minimum(end, ends[axis])
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
        with f.loop(self.column, self.column_end, self.units.columns, "column") as column:
            source = f.sub(f.mul(column, self.strides[2]), self.low[2])
            seen = (self.units.columns - 1) * self.strides[2] + (self.window[2] - 1) * self.dilations[2] + 1
            inside = f.maximum(source, 0)
            end = f.maximum(f.minimum(self.sizes[2], f.add(source, seen)), inside)
            elements = f.mul(f.sub(end, inside), spec.inputs)
            ahead = f.mul(f.sub(inside, source), spec.inputs)
            with (
                f.loop(0, self.window[0], hint="copy.depth") as i,
                f.loop(0, self.lines, hint="copy.row") as j,
            ):
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
                    copy(f, spec.dtype, lanes, place, f.at(self.element, to, ahead), elements)
            columns = f.minimum(self.units.columns, f.sub(self.column_end, column))
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
        arguments = ", ".join(f"{kind} {value}" for (kind, _), value in zip(_ARGUMENTS, values))
        channels = units.lanes * units.vectors
        if self.groups == 1 or spec.outputs % channels == 0:
            f.do(f"call void @main({arguments})")
            return
        with f.either(f.value(f"icmp slt i64 {group}, {self.groups - 1}")) as branches:
            f.do(f"call void @main({arguments})")
            branches.otherwise()
            f.do(f"call void @rest({arguments})")
