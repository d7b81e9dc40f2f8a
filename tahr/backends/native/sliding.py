"""Loops of kernels in which a window slides over images, channel by channel: pooling, depthwise convolution.

A `Walk` visits every pixel of what a kernel writes: the output, where each pixel is a window with its taps; or, in a
gradient, the image, where each pixel is seen by some windows, and gathers what they give to it. So every element is
written once, rows are independent, and nothing is cleared before. Vectors run along the channels.

There are always three spatial dimensions: a picture is a volume of depth 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tahr.backends.native import ir, kernel, target
from tahr.backends.native.epilogue import Segment, broadcast
from tahr.backends.native.kernel import Kernel
from tahr.core.dtypes import DType

_ATTRIBUTES = 'nounwind optsize "no-builtins" "prefer-vector-width"="512"'

# So many vectors of channels are worked on at once: enough to hide latencies, few enough for the registers.
_VECTORS = 4

# A tile should be worth the handing out: so many elements that its windows see.
_TILE_ELEMENTS = 1 << 15


def volume(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    """Numbers of one to three spatial dimensions as those of three."""
    depth, height, width = (*[fill] * (3 - len(values)), *values)
    return depth, height, width


@dataclass(frozen=True)
class Window:
    """What is compiled in: a window, the steps between windows and between its taps, and channels that are written."""

    taps: tuple[int, int, int]
    strides: tuple[int, int, int]
    dilations: tuple[int, int, int]
    channels: int


# The table of sizes: blocks of rows in a plane, rows in a block, and three times three numbers.
_BLOCKS, _ROWS, _WALKED, _SEEN, _LOW, _COUNT = 0, 1, 2, 5, 8, 11


def sizes(window: Window, walked: Sequence[int], seen: Sequence[int], low: Sequence[int]) -> list[int]:
    """The table of sizes of a walk.

    Args:
        walked: spatial sizes of what the kernel writes: of the output, or of the image in a gradient.
        seen: those of the other one.
        low: the padding before each spatial dimension of the image.
    """
    walked = volume(walked, 1)
    elements = walked[2] * window.channels * math.prod(window.taps)
    rows = max(1, min(walked[1], _TILE_ELEMENTS // max(1, elements)))
    return [-(-walked[1] // rows), rows, *walked, *volume(seen, 1), *volume(low, 0)]


def tiles(table: Sequence[int], batch: int) -> int:
    """How many tiles a walk has with a table of sizes."""
    return batch * table[_WALKED] * table[_BLOCKS]


@dataclass(frozen=True)
class _Range:
    """The positions along one axis that a pixel or window is concerned with.

    Attributes:
        origin: a window's first tap, as a pixel of the image (perhaps outside); or a pixel, counted with padding.
        first, count: the first tap inside the image, and how many; or the last window that sees the pixel, and how
            many do.
    """

    origin: str
    first: str
    count: str


@dataclass(frozen=True)
class Pixel:
    """What a walk stands at.

    Attributes:
        place: its number in the array that is written.
        image: the depths of all images before this one, in the array that is seen.
        ranges: what it is concerned with along each axis.
    """

    place: str
    image: str
    ranges: tuple[_Range, _Range, _Range]


@dataclass(frozen=True)
class Seen:
    """A tap of a window, or a window that sees a pixel.

    Attributes:
        place: the number of the pixel in the array that is seen.
        tap: the number of the tap in the window.
        at: its position along each axis.
    """

    place: str
    tap: str
    at: tuple[str, str, str]


@dataclass(frozen=True)
class _Line:
    """A row of what is written.

    Attributes:
        place: the number of its first pixel.
        image: as of its pixels.
        in_depth, in_row: what they are concerned with along the first axes.
    """

    place: str
    image: str
    in_depth: _Range
    in_row: _Range


@dataclass(frozen=True)
class Row:
    """A row of taps, or of windows that see a pixel.

    Attributes:
        line: the number of the row's first pixel in the array that is seen.
        tap_line: the number of the row's first tap in the window.
        is_there: whether there is such a row.
        at: its depth and height.
    """

    line: str
    tap_line: str
    is_there: str
    at: tuple[str, str]


_Position = Callable[[int, str], tuple[str, str, str]]
"""Of an axis and a number in its range the position in the array that is seen, the tap, and whether there is one."""


class Walk:
    """A kernel under construction that visits each pixel of what it writes.

    Attributes:
        f: its function.
        lanes: elements of a vector.
        walked, seen, low: sizes and padding, as `sizes` gave them.
    """

    def __init__(self, window: Window, size: int, overlaps: bool = True) -> None:
        """Begins a kernel.

        Args:
            size: of an element, in bytes.
            overlaps: whether elements may be written twice. If not, vectors that the channels do not fill are masked.
        """
        self.window, self._overlaps = window, overlaps
        self.f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=_ATTRIBUTES)
        table = kernel.sizes(self.f, _COUNT)
        self._blocks, self._rows = table[_BLOCKS], table[_ROWS]
        self.walked, self.seen, self.low = (table[i : i + 3] for i in (_WALKED, _SEEN, _LOW))
        # Half types are computed as floats.
        self.lanes = target.current().lanes(max(4, size))
        while self.lanes > max(1, window.channels if overlaps else 2 * window.channels - 1):
            self.lanes //= 2

    def kernel(self, title: str) -> Kernel:
        """What was built."""
        return Kernel(kernel.AS_WRITTEN + ir.module([self.f.finish()]), 0, title)

    # ------------------------------------------------------------ loops

    def windows(self) -> AbstractContextManager[Pixel]:
        """The loops over the pixels of an output: `each_tap` gives what such a window sees."""
        return self._pixels(self._taps_of)

    def pixels(self) -> AbstractContextManager[Pixel]:
        """The loops over the pixels of an image: `each_window` gives those that see one."""
        return self._pixels(self._windows_of)

    def windows_together(
        self, count: int, together: Callable[[Pixel], None], single: Callable[[Pixel], None]
    ) -> None:
        """The loops over the windows of an output: neighbours in a row at once, where all of their taps are inside.

        Args:
            count: how many; `together` gets the first of them.
            single: what is emitted for the others.
        """
        f, stride, low = self.f, self.window.strides[2], self.low[2]
        reach = (count - 1) * stride + (self.window.taps[2] - 1) * self.window.dilations[2]

        def are_inside(column: str) -> str:
            origin = f.sub(f.mul(column, stride), low)
            fits = f.value(f"icmp slt i64 {f.add(origin, reach)}, {self.seen[2]}")
            return self._both(f.value(f"icmp sge i64 {origin}, 0"), fits)

        first = f.div(f.add(low, stride - 1), stride)
        self._together(count, self._taps_of, first, are_inside, together, single)

    def pixels_together(
        self, count: int, together: Callable[[Pixel], None], single: Callable[[Pixel], None]
    ) -> None:
        """The loops over the pixels of an image, as `windows_together`: where all windows that could see them exist.

        The windows neither stride nor are dilated.
        """
        f, low, taps = self.f, self.low[2], self.window.taps[2]

        def are_seen(column: str) -> str:
            last = f.add(column, low)
            begins = f.value(f"icmp sge i64 {last}, {taps - 1}")
            return self._both(begins, f.value(f"icmp slt i64 {f.add(last, count - 1)}, {self.seen[2]}"))

        first = f.maximum(f.sub(taps - 1, low), 0)
        self._together(count, self._windows_of, first, are_seen, together, single)

    def _together(
        self,
        count: int,
        around: Callable[[int, str], _Range],
        first: str,
        are_inside: Callable[[str], str],
        together: Callable[[Pixel], None],
        single: Callable[[Pixel], None],
    ) -> None:
        """The loops over all pixels: in each row groups that fit to the first of those with all their neighbours."""
        f, width = self.f, self.walked[2]
        with self._lines(around) as line:
            start = f.sub(f.rem(first, count), count)
            with f.loop(start, width, count, hint="columns") as column:
                end = f.add(column, count)
                is_begun, fits = f.value(f"icmp sge i64 {column}, 0"), f.value(f"icmp sle i64 {end}, {width}")
                with f.either(self._both(self._both(is_begun, fits), are_inside(column))) as branches:
                    together(self._pixel(line, column, around))
                    branches.otherwise()
                    with f.loop(f.maximum(column, 0), f.minimum(end, width), hint="column") as each:
                        single(self._pixel(line, each, around))

    @contextmanager
    def _pixels(self, around: Callable[[int, str], _Range]) -> Generator[Pixel]:
        with self._lines(around) as line, self.f.loop(0, self.walked[2], hint="column") as column:
            yield self._pixel(line, column, around)

    @contextmanager
    def _lines(self, around: Callable[[int, str], _Range]) -> Generator[_Line]:
        """The loops over the rows of what is written."""
        f, walked = self.f, self.walked
        with f.loop("%begin", "%end", hint="tile") as tile:
            block, rest = f.rem(tile, self._blocks), f.div(tile, self._blocks)
            depth, image = f.rem(rest, walked[0]), f.div(rest, walked[0])
            in_depth = around(0, depth)
            first = f.mul(block, self._rows)
            with f.loop(first, f.minimum(f.add(first, self._rows), walked[1]), hint="row") as row:
                in_row = around(1, row)
                line = f.add(f.mul(f.add(f.mul(image, walked[0]), depth), walked[1]), row)
                yield _Line(f.mul(line, walked[2]), f.mul(image, self.seen[0]), in_depth, in_row)

    def _pixel(self, line: _Line, column: str, around: Callable[[int, str], _Range]) -> Pixel:
        return Pixel(
            self.f.add(line.place, column), line.image, (line.in_depth, line.in_row, around(2, column))
        )

    def _taps_of(self, axis: int, position: str) -> _Range:
        """What a window sees along an axis."""
        f, dilation = self.f, self.window.dilations[axis]
        origin = f.sub(f.mul(position, self.window.strides[axis]), self.low[axis])
        first = f.div(f.maximum(f.sub(dilation - 1, origin), 0), dilation)
        stop = f.div(f.maximum(f.add(f.sub(self.seen[axis], origin), dilation - 1), 0), dilation)
        return _Range(origin, first, f.sub(f.minimum(stop, self.window.taps[axis]), first))

    def _windows_of(self, axis: int, position: str) -> _Range:
        """Which windows see a pixel along an axis; with dilation, those that might."""
        f, taps, stride = self.f, self.window.taps[axis], self.window.strides[axis]
        origin = f.add(position, self.low[axis])
        if self.window.dilations[axis] > 1:
            return _Range(origin, "0", str(taps))
        last = f.minimum(f.div(origin, stride), f.sub(self.seen[axis], 1))
        before = f.div(f.maximum(f.add(f.sub(origin, taps), stride), 0), stride)
        return _Range(origin, last, f.add(f.sub(last, before), 1))

    def channels(self, body: Callable[[str, list[Segment]], None], most: int = _VECTORS) -> None:
        """Emits the loop over channels: the body gets the first channel, and at most so many vectors that begin there.

        Where channels do not fill the last vector, it ends with them, and what it shares with the one before is
        computed twice; or it is masked. (LLVM 22 writes four bytes for a mask of one lane over a truncated vector,
        such as `max_pool`'s indices.)
        """
        channels = self.window.channels
        whole, rest = divmod(channels, self.lanes)
        full = whole // most * most
        if full:
            with self.f.loop(0, full * self.lanes, most * self.lanes, "channel") as channel:
                body(channel, [Segment(self.lanes)] * most)
        if whole > full:
            body(str(full * self.lanes), [Segment(self.lanes)] * (whole - full))
        if rest and self._overlaps:
            body(str(channels - self.lanes), [Segment(self.lanes)])
        elif rest:
            mask = ", ".join(f"i1 {str(lane < rest).lower()}" for lane in range(self.lanes))
            body(str(channels - rest), [Segment(self.lanes, f"<{mask}>")])

    # ------------------------------------------------------------ taps and windows

    @contextmanager
    def each_tap(self, pixel: Pixel) -> Generator[Seen]:
        """The loops over the taps of a window inside the image."""
        with self._each(pixel, self._tap(pixel), [False] * 3) as seen:
            yield seen

    @contextmanager
    def each_window(self, pixel: Pixel) -> Generator[Seen]:
        """The loops over the windows that see a pixel, in the order of the taps that see it."""
        window = self.window
        apart = [
            taps <= stride and dilation == 1
            for taps, stride, dilation in zip(window.taps, window.strides, window.dilations)
        ]
        with self._each(pixel, self._window(pixel), apart) as seen:
            yield seen

    def each_row_of_taps(self, pixel: Pixel) -> AbstractContextManager[Row]:
        """The loops over the rows of a window inside the image."""
        return self._each_row(pixel, self._tap(pixel), [False] * 3)

    def each_row_of_windows(self, pixel: Pixel) -> AbstractContextManager[Row]:
        """The loops over the rows of windows that see a pixel, where they neither stride nor are dilated."""
        return self._each_row(pixel, self._window(pixel), [False] * 3)

    def _tap(self, pixel: Pixel) -> _Position:
        """The taps of a window."""

        def position(axis: int, number: str) -> tuple[str, str, str]:
            around = pixel.ranges[axis]
            tap = self.f.add(around.first, number)
            return self.f.add(around.origin, self.f.mul(tap, self.window.dilations[axis])), tap, "true"

        return position

    def _window(self, pixel: Pixel) -> _Position:
        """The windows that see a pixel."""
        f = self.f

        def position(axis: int, number: str) -> tuple[str, str, str]:
            around, stride = pixel.ranges[axis], self.window.strides[axis]
            if self.window.dilations[axis] == 1:
                # The last window sees the pixel through the first tap.
                at = f.sub(around.first, number)
                return at, f.sub(around.origin, f.mul(at, stride)), "true"
            ahead = f.sub(around.origin, f.mul(number, self.window.dilations[axis]))
            at = f.div(ahead, stride)
            # A negative number, taken as unsigned, is beyond all sizes.
            is_inside = f.value(f"icmp ult i64 {at}, {self.seen[axis]}")
            is_pixel = f.value(f"icmp eq i64 {f.rem(ahead, stride)}, 0")
            is_positive = f.value(f"icmp sge i64 {ahead}, 0")
            return at, number, self._both(self._both(is_inside, is_pixel), is_positive)

        return position

    @contextmanager
    def _each(self, pixel: Pixel, position: _Position, single: Sequence[bool]) -> Generator[Seen]:
        """The loops over a pixel's ranges.

        Args:
            position: what a number in a range stands for.
            single: of each axis, whether its ranges have at most one position.
        """
        f = self.f
        with (
            self._each_row(pixel, position, single) as row,
            self._up_to(pixel.ranges[2].count, single[2]) as k,
        ):
            column, tap_column, has_column = position(2, k)
            with f.when(self._both(row.is_there, has_column)):
                yield Seen(f.add(row.line, column), f.add(row.tap_line, tap_column), (*row.at, column))

    @contextmanager
    def _each_row(self, pixel: Pixel, position: _Position, single: Sequence[bool]) -> Generator[Row]:
        """The loops over a pixel's ranges but the innermost."""
        f, (depths, rows, _), taps = self.f, pixel.ranges, self.window.taps
        with self._up_to(depths.count, single[0]) as i:
            depth, tap_depth, has_depth = position(0, i)
            plane = f.mul(f.add(pixel.image, depth), self.seen[1])
            tap_plane = f.mul(tap_depth, taps[1])
            with self._up_to(rows.count, single[1]) as j:
                row, tap_row, has_row = position(1, j)
                line = f.mul(f.add(plane, row), self.seen[2])
                tap_line = f.mul(f.add(tap_plane, tap_row), taps[2])
                yield Row(line, tap_line, self._both(has_depth, has_row), (depth, row))

    @contextmanager
    def _up_to(self, count: str, single: bool) -> Generator[str]:
        """The loop from 0 to a count, which is 0 or 1 if `single`."""
        if single:
            with self.f.when(self.f.value(f"icmp sgt i64 {count}, 0")):
                yield "0"
            return
        with self.f.loop(0, count, hint="seen") as number:
            yield number

    def first_tap(self, pixel: Pixel) -> Seen:
        """The first tap of a window inside the image."""
        f, window, (depths, rows, columns) = self.f, self.window, pixel.ranges
        depth, row, column = (
            f.add(r.origin, f.mul(r.first, dilation)) for r, dilation in zip(pixel.ranges, window.dilations)
        )
        line = f.add(f.mul(f.add(pixel.image, depth), self.seen[1]), row)
        tap = f.add(
            f.mul(f.add(f.mul(depths.first, window.taps[1]), rows.first), window.taps[2]), columns.first
        )
        return Seen(f.add(f.mul(line, self.seen[2]), column), tap, (depth, row, column))

    def _both(self, a: str, b: str) -> str:
        if a == "true":
            return b
        return a if b == "true" else self.f.value(f"and i1 {a}, {b}")

    # ------------------------------------------------------------ vectors

    def element(self, place: str, channel: str) -> str:
        """The number of an element of an array that has as many channels as the one that is written."""
        return self.f.add(self.f.mul(place, self.window.channels), channel)

    def gather(
        self, dtype: DType, array: str, places: Sequence[str], vectors: Sequence[Segment]
    ) -> list[str]:
        """Vectors of elements at vectors of places."""
        element, lanes = ir.MEMORY[dtype], self.lanes
        values, pointers = ir.vector(lanes, element), ir.vector(lanes, ir.POINTER)
        suffix = f"v{lanes}{'f32' if element == ir.F32 else 'f64'}.v{lanes}p0"
        result: list[str] = []
        for place, vector in zip(places, vectors):
            mask = f"{ir.vector(lanes, ir.I1)} {vector.mask or ir.splat(ir.I1, 'true')}"
            address = f"getelementptr inbounds {element}, ptr {array}, {ir.vector(lanes, ir.I64)} {place}"
            arguments = f"{pointers} align {dtype.size} {self.f.value(address)}, {mask}, {values} poison"
            result.append(self.f.value(f"call {values} @llvm.masked.gather.{suffix}({arguments})"))
        return result

    def load(self, dtype: DType, array: str, place: str, vectors: Sequence[Segment]) -> list[str]:
        """Some vectors of channels."""
        return [
            vector.load(self.f, dtype, self._address(dtype, array, place, i))
            for i, vector in enumerate(vectors)
        ]

    def store(
        self, dtype: DType, values: Sequence[str], array: str, place: str, vectors: Sequence[Segment]
    ) -> None:
        """Writes some vectors of channels."""
        for i, (value, vector) in enumerate(zip(values, vectors)):
            vector.store(self.f, dtype, value, self._address(dtype, array, place, i))

    def _address(self, dtype: DType, array: str, place: str, vector: int) -> str:
        base = self.f.at(ir.MEMORY[dtype], array, place)
        return self.f.at(ir.MEMORY[dtype], base, vector * self.lanes)

    def splat(self, element: str, value: str) -> str:
        """A vector of one value's copies."""
        return broadcast(self.f, self.lanes, element, value)
