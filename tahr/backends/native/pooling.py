"""Pooling kernels: maxima and means of windows that slide over images, and their gradients.

Images are `[batch, *spatial, channels]` with one to three spatial dimensions; inside, there are always three. Windows,
strides and the number of channels are compiled in; batch, sizes and padding are passed in the table of sizes. Vectors
run along the channels.

Max pooling can say which tap of each window won (`max_pool` with `indices`, or `max_pool_indices` afterwards). Its
gradient then needs neither images nor maxima. All gradients gather: each pixel adds up what the windows that see it
give to it. So every element is written once, rows are independent, and nothing is cleared before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tahr.backends.native import ir, kernel, target
from tahr.backends.native.epilogue import Segment, broadcast
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.scalars import kind
from tahr.core import dtypes
from tahr.core.dtypes import DType

_ATTRIBUTES = 'nounwind optsize "no-builtins" "prefer-vector-width"="512"'

# So many vectors of channels are worked on at once: enough to hide latencies, few enough for the registers.
_VECTORS = 4

# A tile should be worth the handing out: so many elements that its windows see.
_TILE_ELEMENTS = 1 << 15


@dataclass(frozen=True)
class Spec:
    """What is compiled into pooling kernels.

    Attributes:
        dtype: of the images; means are of floating numbers.
        window, strides: one number for each spatial dimension.
        channels: how many.
    """

    dtype: DType
    window: tuple[int, ...]
    strides: tuple[int, ...]
    channels: int

    @property
    def indices(self) -> DType:
        """The type of the numbers of taps."""
        return dtypes.uint8 if math.prod(self.window) <= 256 else dtypes.int32

    @property
    def taps(self) -> tuple[int, int, int]:
        """The window in three dimensions."""
        return _volume(self.window, 1)

    @property
    def steps(self) -> tuple[int, int, int]:
        """The strides in three dimensions."""
        return _volume(self.strides, 1)

    @property
    def title(self) -> str:
        """What is pooled, for people."""
        window, strides = ("x".join(map(str, values)) for values in (self.window, self.strides))
        return f"{self.dtype.name} {window} /{strides}"


def _volume(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    depth, height, width = (*[fill] * (3 - len(values)), *values)
    return depth, height, width


# ------------------------------------------------------------------------------------------------ sizes

# The table of sizes. A forward kernel walks over the output and sees the image; a gradient the other way round.
_BLOCKS, _ROWS, _WALKED, _SEEN, _LOW, _COUNT = 0, 1, 2, 5, 8, 11


def sizes(spec: Spec, walked: Sequence[int], seen: Sequence[int], low: Sequence[int]) -> list[int]:
    """The table of sizes of all kernels.

    Args:
        walked: spatial sizes of what the kernel writes: of the output (or its indices), or of the image in a gradient.
        seen: those of the other one.
        low: the padding before each spatial dimension of the image.
    """
    walked = _volume(walked, 1)
    elements = walked[2] * spec.channels * math.prod(spec.window)
    rows = max(1, min(walked[1], _TILE_ELEMENTS // max(1, elements)))
    return [-(-walked[1] // rows), rows, *walked, *_volume(seen, 1), *_volume(low, 0)]


def tiles(table: Sequence[int], batch: int) -> int:
    """How many tiles a kernel has with a table of sizes."""
    return batch * table[_WALKED] * table[_BLOCKS]


# ------------------------------------------------------------------------------------------------ what they share


@dataclass(frozen=True)
class _Range:
    """The positions along one axis that a pixel or window is concerned with.

    Attributes:
        origin: a window's first tap, as a pixel of the image (perhaps outside); or a pixel, counted with padding.
        first, count: the first tap inside the image, and how many; or the last window that sees the pixel.
    """

    origin: str
    first: str
    count: str


class _Walk:
    """A kernel under construction that visits each pixel of what it writes.

    Attributes:
        f: its function.
        walked, seen, low: sizes and padding, as `sizes` gave them.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=_ATTRIBUTES)
        table = kernel.sizes(self.f, _COUNT)
        self._blocks, self._rows = table[_BLOCKS], table[_ROWS]
        self.walked, self.seen, self.low = (table[i : i + 3] for i in (_WALKED, _SEEN, _LOW))
        self.lanes = target.current().lanes(max(4, spec.dtype.size))
        while self.lanes > max(1, spec.channels):
            self.lanes //= 2

    @contextmanager
    def pixels(self, around: Callable[[int, str], _Range]) -> Generator[_Pixel]:
        """The loops over tiles, rows and pixels; `around` gives what a position along an axis is concerned with."""
        f, walked, seen = self.f, self.walked, self.seen
        with f.loop("%begin", "%end", hint="tile") as tile:
            block, rest = f.rem(tile, self._blocks), f.div(tile, self._blocks)
            depth, image = f.rem(rest, walked[0]), f.div(rest, walked[0])
            in_depth = around(0, depth)
            first = f.mul(block, self._rows)
            with f.loop(first, f.minimum(f.add(first, self._rows), walked[1]), hint="row") as row:
                in_row = around(1, row)
                line = f.add(f.mul(f.add(f.mul(image, walked[0]), depth), walked[1]), row)
                with f.loop(0, walked[2], hint="column") as column:
                    place = f.mul(f.add(f.mul(line, walked[2]), column), self.spec.channels)
                    ranges = (in_depth, in_row, around(2, column))
                    yield _Pixel(place, f.mul(image, seen[0]), ranges)

    def taps(self, axis: int, position: str) -> _Range:
        """What a window sees along an axis."""
        f = self.f
        origin = f.sub(f.mul(position, self.spec.steps[axis]), self.low[axis])
        first = f.maximum(f.sub(0, origin), 0)
        stop = f.minimum(f.sub(self.seen[axis], origin), self.spec.taps[axis])
        return _Range(origin, first, f.sub(stop, first))

    def windows(self, axis: int, position: str) -> _Range:
        """Which windows see a pixel along an axis: how many, up to the last."""
        f, step = self.f, self.spec.steps[axis]
        origin = f.add(position, self.low[axis])
        last = f.minimum(f.div(origin, step), f.sub(self.seen[axis], 1))
        before = f.div(f.maximum(f.add(f.sub(origin, self.spec.taps[axis]), step), 0), step)
        return _Range(origin, last, f.add(f.sub(last, before), 1))

    def channels(self, body: Callable[[str, int], None]) -> None:
        """Emits the loop over channels: the body gets the first channel, and how many vectors begin there.

        The last vector ends with the channels; what it shares with the one before is computed twice. (Masks would
        do, but LLVM 22 stores four bytes for a mask of one lane over a truncated vector.)
        """
        whole = self.spec.channels // self.lanes
        full = whole // _VECTORS * _VECTORS
        if full:
            with self.f.loop(0, full * self.lanes, _VECTORS * self.lanes, "channel") as channel:
                body(channel, _VECTORS)
        if whole > full:
            body(str(full * self.lanes), whole - full)
        if self.spec.channels > whole * self.lanes:
            body(str(self.spec.channels - self.lanes), 1)

    @contextmanager
    def each_tap(self, pixel: _Pixel) -> Generator[tuple[str, str]]:
        """The loops over the taps of a window inside the image: each tap's pixel (its first element) and number."""
        f, spec = self.f, self.spec
        (depth, row, column), taps = pixel.ranges, spec.taps
        with (
            f.loop(0, depth.count, hint="tap") as i,
            f.loop(0, row.count, hint="tap") as j,
            f.loop(0, column.count, hint="tap") as k,
        ):
            numbers = [f.add(r.first, n) for r, n in zip(pixel.ranges, (i, j, k))]
            at = [f.add(r.origin, n) for r, n in zip(pixel.ranges, numbers)]
            number = f.add(f.mul(f.add(f.mul(numbers[0], taps[1]), numbers[1]), taps[2]), numbers[2])
            yield self._element(pixel, at), number

    def first_tap(self, pixel: _Pixel) -> tuple[str, str]:
        """The first tap of a window inside the image: its pixel (the first element) and number."""
        f, taps, (depth, row, column) = self.f, self.spec.taps, pixel.ranges
        at = [f.add(r.origin, r.first) for r in pixel.ranges]
        number = f.add(f.mul(f.add(f.mul(depth.first, taps[1]), row.first), taps[2]), column.first)
        return self._element(pixel, at), number

    @contextmanager
    def each_window(self, pixel: _Pixel) -> Generator[tuple[str, str, list[str]]]:
        """The loops over the windows that see a pixel, the last first, so that taps come in their order.

        The value is the window's first element, the number of the tap that sees the pixel, and the window's position.
        """
        f, spec = self.f, self.spec
        depth, row, column = pixel.ranges
        with (
            f.loop(0, depth.count, hint="window") as i,
            f.loop(0, row.count, hint="window") as j,
            f.loop(0, column.count, hint="window") as k,
        ):
            at = [f.sub(r.first, n) for r, n in zip(pixel.ranges, (i, j, k))]
            tap = [f.sub(r.origin, f.mul(n, step)) for r, n, step in zip(pixel.ranges, at, spec.steps)]
            number = f.add(f.mul(f.add(f.mul(tap[0], spec.taps[1]), tap[1]), spec.taps[2]), tap[2])
            yield self._element(pixel, at), number, at

    def _element(self, pixel: _Pixel, at: Sequence[str]) -> str:
        f, seen = self.f, self.seen
        line = f.add(f.mul(f.add(pixel.image, at[0]), seen[1]), at[1])
        return f.mul(f.add(f.mul(line, seen[2]), at[2]), self.spec.channels)

    def load(self, dtype: DType, array: str, place: str, vectors: int) -> list[str]:
        """Some vectors of channels."""
        segment = Segment(self.lanes)
        return [segment.load(self.f, dtype, self._address(dtype, array, place, i)) for i in range(vectors)]

    def store(self, dtype: DType, values: Sequence[str], array: str, place: str) -> None:
        """Writes some vectors of channels."""
        segment = Segment(self.lanes)
        for i, value in enumerate(values):
            segment.store(self.f, dtype, value, self._address(dtype, array, place, i))

    def _address(self, dtype: DType, array: str, place: str, vector: int) -> str:
        base = self.f.at(ir.MEMORY[dtype], array, place)
        return self.f.at(ir.MEMORY[dtype], base, vector * self.lanes)

    def splat(self, element: str, value: str) -> str:
        """A vector of one value's copies."""
        return broadcast(self.f, self.lanes, element, value)

    def kernel(self, title: str) -> Kernel:
        """What was built."""
        return Kernel(ir.module([self.f.finish()]), 0, f"{title} {self.spec.title}")


@dataclass(frozen=True)
class _Pixel:
    """What a walk stands at.

    Attributes:
        place: its first element in the array that is written.
        image: the depths of all images before this one, in the array that is seen.
        ranges: what it is concerned with along each axis.
    """

    place: str
    image: str
    ranges: tuple[_Range, _Range, _Range]


# ------------------------------------------------------------------------------------------------ maxima


def max_pool(spec: Spec, indices: bool = False) -> Kernel:
    """The maximum of each window; NaN is passed over.

    Buffers: x, y, and if `indices` the number of the tap that takes the window's gradient (of type `spec.indices`).
    """
    walk = _Walk(spec)
    f, element = walk.f, kind(spec.dtype)
    x, y = kernel.buffer(f, 0), kernel.buffer(f, 1)
    numbers = kernel.buffer(f, 2) if indices else ""
    lowest = walk.splat(element, ir.number(spec.dtype.min, element))
    values, counts = ir.vector(walk.lanes, element), ir.vector(walk.lanes, ir.I32)

    def windows(channel: str, vectors: int) -> None:
        maxima = [f.variable(values, lowest, "max") for _ in range(vectors)]
        if indices:
            place, number = walk.first_tap(pixel)
            first = walk.load(spec.dtype, x, f.add(place, channel), vectors)
            # This scan stays at a NaN that comes first, as the gradient's choice does.
            best = [f.variable(values, value, "best") for value in first]
            winners = [f.variable(counts, _numbered(walk, number), "winner") for _ in range(vectors)]
        with walk.each_tap(pixel) as (place, number):
            seen = walk.load(spec.dtype, x, f.add(place, channel), vectors)
            for value, maximum in zip(seen, maxima):
                _choose(f, values, _greater(f, spec.dtype, values, value, f.load(values, maximum)), value, maximum)
            if indices:
                this = _numbered(walk, number)
                for value, highest, winner in zip(seen, best, winners):
                    wins = _greater(f, spec.dtype, values, value, f.load(values, highest))
                    _choose(f, values, wins, value, highest)
                    _choose(f, counts, wins, this, winner)
        place = f.add(pixel.place, channel)
        walk.store(spec.dtype, [f.load(values, maximum) for maximum in maxima], y, place)
        if indices:
            _store_indices(walk, winners, numbers, place)

    with walk.pixels(walk.taps) as pixel:
        walk.channels(windows)
    return walk.kernel("max pool with indices" if indices else "max pool")


def max_pool_indices(spec: Spec) -> Kernel:
    """Which tap of each window takes its gradient: the first that equals the maximum.

    It is the window's first pixel if that is NaN, or if no pixel equals the maximum.

    Buffers: x, y, the taps' numbers (of type `spec.indices`).
    """
    walk = _Walk(spec)
    f, element = walk.f, kind(spec.dtype)
    x, y, numbers = (kernel.buffer(f, i) for i in range(3))
    values, counts = ir.vector(walk.lanes, element), ir.vector(walk.lanes, ir.I32)

    def windows(channel: str, vectors: int) -> None:
        place = f.add(pixel.place, channel)
        maxima = walk.load(spec.dtype, y, place, vectors)
        winners = [f.variable(counts, ir.splat(walk.lanes, ir.I32, "-1"), "winner") for _ in range(vectors)]
        with walk.each_tap(pixel) as (source, number):
            seen = walk.load(spec.dtype, x, f.add(source, channel), vectors)
            this = _numbered(walk, number)
            for value, maximum, winner in zip(seen, maxima, winners):
                equal = _equal(f, spec.dtype, values, value, maximum)
                searching = f.value(f"icmp slt {counts} {f.load(counts, winner)}, zeroinitializer")
                both = f.value(f"and {ir.vector(walk.lanes, ir.I1)} {equal}, {searching}")
                _choose(f, counts, both, this, winner)
        source, number = walk.first_tap(pixel)
        first = walk.load(spec.dtype, x, f.add(source, channel), vectors)
        this = _numbered(walk, number)
        for value, winner in zip(first, winners):
            stays = f.value(f"icmp slt {counts} {f.load(counts, winner)}, zeroinitializer")
            if spec.dtype.is_floating:
                nan = f.value(f"fcmp uno {values} {value}, {value}")
                stays = f.value(f"or {ir.vector(walk.lanes, ir.I1)} {stays}, {nan}")
            _choose(f, counts, stays, this, winner)
        _store_indices(walk, winners, numbers, place)

    with walk.pixels(walk.taps) as pixel:
        walk.channels(windows)
    return walk.kernel("max pool's indices")


def max_pool_grad(spec: Spec) -> Kernel:
    """The gradient of `max_pool`, by the numbers of the taps that won.

    Buffers: the taps' numbers, dy, dx.
    """
    walk = _Walk(spec)
    f, element = walk.f, kind(spec.dtype)
    numbers, dy = kernel.buffer(f, 0), kernel.buffer(f, 1)
    indices = ir.vector(walk.lanes, ir.MEMORY[spec.indices])

    def wins(channel: str, vectors: int, window: str, number: str, at: list[str]) -> list[str]:
        place = f.add(window, channel)
        this = f.value(f"trunc i64 {number} to {ir.MEMORY[spec.indices]}")
        this = walk.splat(ir.MEMORY[spec.indices], this)
        winners = walk.load(spec.indices, numbers, place, vectors)
        shares = walk.load(spec.dtype, dy, place, vectors)
        return [
            _masked(walk, element, f.value(f"icmp eq {indices} {winner}, {this}"), share)
            for winner, share in zip(winners, shares)
        ]

    return _gather(walk, 2, wins, "max pool's gradient")


def max_pool_grad_of_ties(spec: Spec) -> Kernel:
    """The gradient of `max_pool` of volumes, where every pixel that equals the maximum takes the gradient.

    Buffers: x, y, dy, dx.
    """
    walk = _Walk(spec)
    f, element = walk.f, kind(spec.dtype)
    x, y, dy = (kernel.buffer(f, i) for i in range(3))

    def wins(channel: str, vectors: int, window: str, number: str, at: list[str]) -> list[str]:
        place, values = f.add(window, channel), ir.vector(walk.lanes, element)
        own = walk.load(spec.dtype, x, f.add(f.load(ir.I64, here), channel), vectors)
        maxima = walk.load(spec.dtype, y, place, vectors)
        shares = walk.load(spec.dtype, dy, place, vectors)
        return [
            _masked(walk, element, _equal(f, spec.dtype, values, value, maximum), share)
            for value, maximum, share in zip(own, maxima, shares)
        ]

    here = f.variable(ir.I64, hint="here")
    return _gather(walk, 3, wins, "max pool's gradient, to all ties", here)


# ------------------------------------------------------------------------------------------------ means


def avg_pool(spec: Spec) -> Kernel:
    """The mean of each window's pixels; padding is no pixel.

    Buffers: x, y.
    """
    walk = _Walk(spec)
    f, element = walk.f, kind(spec.dtype)
    x, y = kernel.buffer(f, 0), kernel.buffer(f, 1)
    values = ir.vector(walk.lanes, element)

    def windows(channel: str, vectors: int) -> None:
        sums = [f.variable(values, "zeroinitializer", "sum") for _ in range(vectors)]
        with walk.each_tap(pixel) as (place, _):
            for value, total in zip(walk.load(spec.dtype, x, f.add(place, channel), vectors), sums):
                f.store(values, f.value(f"fadd {values} {f.load(values, total)}, {value}"), total)
        pixels = _product(f, [r.count for r in pixel.ranges])
        divisor = walk.splat(element, f.value(f"sitofp i64 {pixels} to {element}"))
        means = [f.value(f"fdiv {values} {f.load(values, total)}, {divisor}") for total in sums]
        walk.store(spec.dtype, means, y, f.add(pixel.place, channel))

    with walk.pixels(walk.taps) as pixel:
        walk.channels(windows)
    return walk.kernel("mean pool")


def avg_pool_grad(spec: Spec) -> Kernel:
    """The gradient of `avg_pool`: each window shares its dy equally among its pixels.

    Buffers: dy, dx.
    """
    walk = _Walk(spec)
    f, element = walk.f, kind(spec.dtype)
    dy = kernel.buffer(f, 0)
    values = ir.vector(walk.lanes, element)

    def shares(channel: str, vectors: int, window: str, number: str, at: list[str]) -> list[str]:
        seen: list[str] = []
        for axis, position in enumerate(at):
            origin = f.sub(f.mul(position, spec.steps[axis]), walk.low[axis])
            stop = f.minimum(f.add(origin, spec.taps[axis]), walk.walked[axis])
            seen.append(f.sub(stop, f.maximum(origin, 0)))
        divisor = walk.splat(element, f.value(f"sitofp i64 {_product(f, seen)} to {element}"))
        gradients = walk.load(spec.dtype, dy, f.add(window, channel), vectors)
        return [f.value(f"fdiv {values} {value}, {divisor}") for value in gradients]

    return _gather(walk, 1, shares, "mean pool's gradient")


# ------------------------------------------------------------------------------------------------ pieces


def _gather(
    walk: _Walk,
    output: int,
    shares: Callable[[str, list[Segment], str, str, list[str]], list[str]],
    title: str,
    here: str | None = None,
) -> Kernel:
    """The kernel that adds up, for each pixel, the shares of all windows that see it.

    Args:
        output: the number of dx's buffer.
        shares: of a channel and its vectors, a window's first element, the number of the tap that sees the pixel,
            and the window's position.
        here: a variable that gets the pixel's first element.
    """
    f, spec = walk.f, walk.spec
    dx = kernel.buffer(f, output)
    values = ir.vector(walk.lanes, kind(spec.dtype))

    def pixels(channel: str, vectors: int) -> None:
        sums = [f.variable(values, "zeroinitializer", "sum") for _ in range(vectors)]
        if here is not None:
            f.store(ir.I64, pixel.place, here)
        with walk.each_window(pixel) as (window, number, at):
            for share, total in zip(shares(channel, vectors, window, number, at), sums):
                f.store(values, _plus(f, spec.dtype, values, f.load(values, total), share), total)
        walk.store(spec.dtype, [f.load(values, total) for total in sums], dx, f.add(pixel.place, channel))

    with walk.pixels(walk.windows) as pixel:
        walk.channels(pixels)
    return walk.kernel(title)


def _plus(f: ir.Function, dtype: DType, values: str, a: str, b: str) -> str:
    return f.value(f"{'fadd' if dtype.is_floating else 'add'} {values} {a}, {b}")


def _masked(walk: _Walk, element: str, mask: str, value: str) -> str:
    """The value where the mask is true, 0 elsewhere."""
    bits, values = ir.vector(walk.lanes, ir.I1), ir.vector(walk.lanes, element)
    return walk.f.value(f"select {bits} {mask}, {values} {value}, {values} zeroinitializer")


def _choose(f: ir.Function, values: str, mask: str, value: str, variable: str) -> None:
    """Replaces a variable's elements where a mask is true."""
    bits = values[: values.index("x") + 2] + "i1>"
    chosen = f"select {bits} {mask}, {values} {value}, {values} {f.load(values, variable)}"
    f.store(values, f.value(chosen), variable)


def _greater(f: ir.Function, dtype: DType, values: str, a: str, b: str) -> str:
    """a > b; false for NaN."""
    compare = "fcmp ogt" if dtype.is_floating else "icmp ugt" if dtype.is_unsigned else "icmp sgt"
    return f.value(f"{compare} {values} {a}, {b}")


def _equal(f: ir.Function, dtype: DType, values: str, a: str, b: str) -> str:
    """a == b; false for NaN."""
    return f.value(f"{'fcmp oeq' if dtype.is_floating else 'icmp eq'} {values} {a}, {b}")


def _numbered(walk: _Walk, number: str) -> str:
    """A vector of a tap's number."""
    return walk.splat(ir.I32, walk.f.value(f"trunc i64 {number} to i32"))


def _store_indices(walk: _Walk, winners: Sequence[str], array: str, place: str) -> None:
    counts, memory = ir.vector(walk.lanes, ir.I32), ir.MEMORY[walk.spec.indices]
    loaded = [walk.f.load(counts, winner) for winner in winners]
    if memory != ir.I32:
        loaded = [walk.f.value(f"trunc {counts} {n} to {ir.vector(walk.lanes, memory)}") for n in loaded]
    walk.store(walk.spec.indices, loaded, array, place)


def _product(f: ir.Function, values: Sequence[str]) -> str:
    product = values[0]
    for value in values[1:]:
        product = f.mul(product, value)
    return product
