"""Pooling kernels: maxima and means of windows that slide over images, and their gradients.

Images are `[batch, *spatial, channels]` with one to three spatial dimensions. Windows, strides and the number of
channels are compiled in; batch, sizes and padding are passed in the table of sizes.

Max pooling can say which tap of each window won (`max_pool` with `indices`, or `max_pool_indices` afterwards). Its
gradient then needs neither images nor maxima. All gradients gather; see `sliding`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tahr.backends.native import ir, kernel, sliding
from tahr.backends.native.epilogue import Segment
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.scalars import kind
from tahr.backends.native.sliding import Seen, Walk, Window, volume
from tahr.core import dtypes
from tahr.core.dtypes import DType


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
    def sliding(self) -> Window:
        """The window as it slides."""
        return Window(volume(self.window, 1), volume(self.strides, 1), (1, 1, 1), self.channels)

    @property
    def title(self) -> str:
        """What is pooled, for people."""
        window, strides = ("x".join(map(str, values)) for values in (self.window, self.strides))
        return f"{self.dtype.name} {window} /{strides}"


# ------------------------------------------------------------------------------------------------ sizes


def sizes(spec: Spec, walked: Sequence[int], seen: Sequence[int], low: Sequence[int]) -> list[int]:
    """The table of sizes of all kernels.

    Args:
        walked: spatial sizes of what the kernel writes: of the output (or its indices), or of the image in a gradient.
        seen: those of the other one.
        low: the padding before each spatial dimension of the image.
    """
    return sliding.sizes(spec.sliding, walked, seen, low)


def tiles(table: Sequence[int], batch: int) -> int:
    """How many tiles a kernel has with a table of sizes."""
    return sliding.tiles(table, batch)


# ------------------------------------------------------------------------------------------------ maxima


def max_pool(spec: Spec, indices: bool = False) -> Kernel:
    """The maximum of each window; NaN is passed over.

    Buffers: x, y, and if `indices` the number of the tap that takes the window's gradient (of type `spec.indices`).
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f, element = walk.f, kind(spec.dtype)
    x, y = kernel.buffer(f, 0), kernel.buffer(f, 1)
    numbers = kernel.buffer(f, 2) if indices else ""
    lowest = walk.splat(element, ir.number(spec.dtype.min, element))
    values, counts = ir.vector(walk.lanes, element), ir.vector(walk.lanes, ir.I32)

    def windows(channel: str, vectors: list[Segment]) -> None:
        maxima = [f.variable(values, lowest, "max") for _ in vectors]
        best: list[str] = []
        winners: list[str] = []
        if indices:
            tap = walk.first_tap(pixel)
            first = walk.load(spec.dtype, x, walk.element(tap.place, channel), vectors)
            # This scan stays at a NaN that comes first, as the gradient's choice does.
            best = [f.variable(values, value, "best") for value in first]
            winners = [f.variable(counts, _numbered(walk, tap), "winner") for _ in vectors]
        with walk.each_tap(pixel) as tap:
            seen = walk.load(spec.dtype, x, walk.element(tap.place, channel), vectors)
            for value, maximum in zip(seen, maxima):
                _choose(
                    f, values, _greater(f, spec.dtype, values, value, f.load(values, maximum)), value, maximum
                )
            if indices:
                this = _numbered(walk, tap)
                _keep_greatest(walk, spec.dtype, seen, best, this, (winners, counts))
        place = walk.element(pixel.place, channel)
        walk.store(spec.dtype, [f.load(values, maximum) for maximum in maxima], y, place, vectors)
        if indices:
            _store_indices(walk, spec.indices, winners, numbers, place, vectors)

    with walk.windows() as pixel:
        walk.channels(windows)
    return walk.kernel(f"max pool {'with indices ' if indices else ''}{spec.title}")


def max_pool_with_places(spec: Spec, places: DType, counts_images: bool) -> Kernel:
    """The maximum of each window, and which element of its image that is; of equal ones the first.

    A window's first pixel has both if it is NaN; later ones are passed over.

    Buffers: x, y, the elements' numbers.

    Args:
        places: the type of these numbers.
        counts_images: whether they count through all images, instead of each.
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f = walk.f
    x, y, numbers = (kernel.buffer(f, i) for i in range(3))
    values, pixels = ir.vector(walk.lanes, kind(spec.dtype)), ir.vector(walk.lanes, ir.I64)

    def windows(channel: str, vectors: list[Segment]) -> None:
        tap = walk.first_tap(pixel)
        first = walk.load(spec.dtype, x, walk.element(tap.place, channel), vectors)
        best = [f.variable(values, value, "best") for value in first]
        winners = [f.variable(pixels, walk.splat(ir.I64, tap.place), "winner") for _ in vectors]
        with walk.each_tap(pixel) as tap:
            seen = walk.load(spec.dtype, x, walk.element(tap.place, channel), vectors)
            this = walk.splat(ir.I64, tap.place)
            _keep_greatest(walk, spec.dtype, seen, best, this, (winners, pixels))
        place = walk.element(pixel.place, channel)
        walk.store(spec.dtype, [f.load(values, highest) for highest in best], y, place, vectors)
        begin = "0" if counts_images else f.mul(pixel.image, f.mul(walk.seen[1], walk.seen[2]))
        found = [
            _element_numbers(walk, places, f.load(pixels, winner), begin, f.add(channel, i * walk.lanes))
            for i, winner in enumerate(winners)
        ]
        walk.store(places, found, numbers, place, vectors)

    with walk.windows() as pixel:
        walk.channels(windows)
    return walk.kernel(f"max pool with places {places.name} {spec.title}")


def _element_numbers(walk: Walk, dtype: DType, pixels: str, begin: str, channel: str) -> str:
    """The numbers of the elements of a vector of pixels' channels, counted from a pixel on."""
    f, wide = walk.f, ir.vector(walk.lanes, ir.I64)
    lanes = "<" + ", ".join(f"i64 {lane}" for lane in range(walk.lanes)) + ">"
    counted = f.value(f"sub {wide} {pixels}, {walk.splat(ir.I64, begin)}")
    rows = f.value(f"mul {wide} {counted}, {walk.splat(ir.I64, str(walk.window.channels))}")
    columns = f.value(f"add {wide} {walk.splat(ir.I64, channel)}, {lanes}")
    numbers = f.value(f"add {wide} {rows}, {columns}")
    memory = ir.MEMORY[dtype]
    return (
        numbers if memory == ir.I64 else f.value(f"trunc {wide} {numbers} to {ir.vector(walk.lanes, memory)}")
    )


def max_pool_indices(spec: Spec) -> Kernel:
    """Which tap of each window takes its gradient: the first that equals the maximum.

    It is the window's first pixel if that is NaN, or if no pixel equals the maximum.

    Buffers: x, y, the taps' numbers (of type `spec.indices`).
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f, element = walk.f, kind(spec.dtype)
    x, y, numbers = (kernel.buffer(f, i) for i in range(3))
    values, counts = ir.vector(walk.lanes, element), ir.vector(walk.lanes, ir.I32)

    def windows(channel: str, vectors: list[Segment]) -> None:
        place = walk.element(pixel.place, channel)
        maxima = walk.load(spec.dtype, y, place, vectors)
        winners = [f.variable(counts, ir.splat(ir.I32, "-1"), "winner") for _ in vectors]
        with walk.each_tap(pixel) as tap:
            seen = walk.load(spec.dtype, x, walk.element(tap.place, channel), vectors)
            this = _numbered(walk, tap)
            for value, maximum, winner in zip(seen, maxima, winners):
                equal = _equal(f, spec.dtype, values, value, maximum)
                searching = f.value(f"icmp slt {counts} {f.load(counts, winner)}, zeroinitializer")
                both = f.value(f"and {ir.vector(walk.lanes, ir.I1)} {equal}, {searching}")
                _choose(f, counts, both, this, winner)
        tap = walk.first_tap(pixel)
        first = walk.load(spec.dtype, x, walk.element(tap.place, channel), vectors)
        this = _numbered(walk, tap)
        for value, winner in zip(first, winners):
            stays = f.value(f"icmp slt {counts} {f.load(counts, winner)}, zeroinitializer")
            if spec.dtype.is_floating:
                nan = f.value(f"fcmp uno {values} {value}, {value}")
                stays = f.value(f"or {ir.vector(walk.lanes, ir.I1)} {stays}, {nan}")
            _choose(f, counts, stays, this, winner)
        _store_indices(walk, spec.indices, winners, numbers, place, vectors)

    with walk.windows() as pixel:
        walk.channels(windows)
    return walk.kernel(f"max pool's indices {spec.title}")


def max_pool_taken(spec: Spec) -> Kernel:
    """The element, of other images, at the first pixel of each window that equals the maximum; 0 if none does.

    Buffers: x, y, the other images, the elements.
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f, element = walk.f, kind(spec.dtype)
    x, y, others, target = (kernel.buffer(f, i) for i in range(4))
    values, bits = ir.vector(walk.lanes, element), ir.vector(walk.lanes, ir.I1)

    def windows(channel: str, vectors: list[Segment]) -> None:
        place = walk.element(pixel.place, channel)
        maxima = walk.load(spec.dtype, y, place, vectors)
        taken = [f.variable(values, "zeroinitializer", "taken") for _ in vectors]
        searching = [f.variable(bits, ir.splat(ir.I1, "true"), "searching") for _ in vectors]
        with walk.each_tap(pixel) as tap:
            at = walk.element(tap.place, channel)
            seen, given = (walk.load(spec.dtype, images, at, vectors) for images in (x, others))
            for value, maximum, other, result, goes_on in zip(seen, maxima, given, taken, searching):
                equal, still = _equal(f, spec.dtype, values, value, maximum), f.load(bits, goes_on)
                _choose(f, values, f.value(f"and {bits} {equal}, {still}"), other, result)
                _choose(f, bits, equal, "zeroinitializer", goes_on)
        walk.store(spec.dtype, [f.load(values, result) for result in taken], target, place, vectors)

    with walk.windows() as pixel:
        walk.channels(windows)
    return walk.kernel(f"max pool's gradient's gradient {spec.title}")


def max_pool_grad(spec: Spec) -> Kernel:
    """The gradient of `max_pool`, by the numbers of the taps that won.

    Buffers: the taps' numbers, dy, dx.
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f, element = walk.f, kind(spec.dtype)
    numbers, dy = kernel.buffer(f, 0), kernel.buffer(f, 1)
    indices = ir.vector(walk.lanes, ir.MEMORY[spec.indices])

    def wins(here: str, channel: str, vectors: list[Segment], window: Seen) -> list[str]:
        place = walk.element(window.place, channel)
        this = f.value(f"trunc i64 {window.tap} to {ir.MEMORY[spec.indices]}")
        this = walk.splat(ir.MEMORY[spec.indices], this)
        winners = walk.load(spec.indices, numbers, place, vectors)
        shares = walk.load(spec.dtype, dy, place, vectors)
        return [
            _masked(walk, element, f.value(f"icmp eq {indices} {winner}, {this}"), share)
            for winner, share in zip(winners, shares)
        ]

    return _gather(walk, spec, 2, wins, "max pool's gradient")


def max_pool_grad_of_ties(spec: Spec) -> Kernel:
    """The gradient of `max_pool` of volumes, where every pixel that equals the maximum takes the gradient.

    Buffers: x, y, dy, dx.
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f, element = walk.f, kind(spec.dtype)
    x, y, dy = (kernel.buffer(f, i) for i in range(3))

    def wins(here: str, channel: str, vectors: list[Segment], window: Seen) -> list[str]:
        place, values = walk.element(window.place, channel), ir.vector(walk.lanes, element)
        own = walk.load(spec.dtype, x, walk.element(here, channel), vectors)
        maxima = walk.load(spec.dtype, y, place, vectors)
        shares = walk.load(spec.dtype, dy, place, vectors)
        return [
            _masked(walk, element, _equal(f, spec.dtype, values, value, maximum), share)
            for value, maximum, share in zip(own, maxima, shares)
        ]

    return _gather(walk, spec, 3, wins, "max pool's gradient, to all ties")


# ------------------------------------------------------------------------------------------------ means


def avg_pool(spec: Spec) -> Kernel:
    """The mean of each window's pixels; padding is no pixel.

    Buffers: x, y.
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f, element = walk.f, kind(spec.dtype)
    x, y = kernel.buffer(f, 0), kernel.buffer(f, 1)
    values = ir.vector(walk.lanes, element)

    def windows(channel: str, vectors: list[Segment]) -> None:
        sums = [f.variable(values, "zeroinitializer", "sum") for _ in vectors]
        with walk.each_tap(pixel) as tap:
            for value, total in zip(
                walk.load(spec.dtype, x, walk.element(tap.place, channel), vectors), sums
            ):
                f.store(values, f.value(f"fadd {values} {f.load(values, total)}, {value}"), total)
        pixels = _product(f, [r.count for r in pixel.ranges])
        divisor = walk.splat(element, f.value(f"sitofp i64 {pixels} to {element}"))
        means = [f.value(f"fdiv {values} {f.load(values, total)}, {divisor}") for total in sums]
        walk.store(spec.dtype, means, y, walk.element(pixel.place, channel), vectors)

    with walk.windows() as pixel:
        walk.channels(windows)
    return walk.kernel(f"mean pool {spec.title}")


def avg_pool_grad(spec: Spec) -> Kernel:
    """The gradient of `avg_pool`: each window shares its dy equally among its pixels.

    Buffers: dy, dx.
    """
    walk = Walk(spec.sliding, spec.dtype.size)
    f, element = walk.f, kind(spec.dtype)
    dy = kernel.buffer(f, 0)
    values = ir.vector(walk.lanes, element)

    def shares(here: str, channel: str, vectors: list[Segment], window: Seen) -> list[str]:
        seen: list[str] = []
        for axis, position in enumerate(window.at):
            origin = f.sub(f.mul(position, walk.window.strides[axis]), walk.low[axis])
            stop = f.minimum(f.add(origin, walk.window.taps[axis]), walk.walked[axis])
            seen.append(f.sub(stop, f.maximum(origin, 0)))
        divisor = walk.splat(element, f.value(f"sitofp i64 {_product(f, seen)} to {element}"))
        gradients = walk.load(spec.dtype, dy, walk.element(window.place, channel), vectors)
        return [f.value(f"fdiv {values} {value}, {divisor}") for value in gradients]

    return _gather(walk, spec, 1, shares, "mean pool's gradient")


# ------------------------------------------------------------------------------------------------ pieces


def _gather(
    walk: Walk,
    spec: Spec,
    output: int,
    shares: Callable[[str, str, list[Segment], Seen], list[str]],
    title: str,
) -> Kernel:
    """The kernel that adds up, for each pixel, the shares of all windows that see it.

    Args:
        output: the number of dx's buffer.
        shares: of the pixel's number, a channel and the number of vectors there, and a window.
    """
    f = walk.f
    dx = kernel.buffer(f, output)
    values = ir.vector(walk.lanes, kind(spec.dtype))

    def gather(channel: str, vectors: list[Segment]) -> None:
        sums = [f.variable(values, "zeroinitializer", "sum") for _ in vectors]
        with walk.each_window(pixel) as window:
            for share, total in zip(shares(pixel.place, channel, vectors, window), sums):
                f.store(values, _plus(f, spec.dtype, values, f.load(values, total), share), total)
        result = [f.load(values, total) for total in sums]
        walk.store(spec.dtype, result, dx, walk.element(pixel.place, channel), vectors)

    with walk.pixels() as pixel:
        walk.channels(gather)
    return walk.kernel(f"{title} {spec.title}")


def _plus(f: ir.Function, dtype: DType, values: str, a: str, b: str) -> str:
    return f.value(f"{'fadd' if dtype.is_floating else 'add'} {values} {a}, {b}")


def _masked(walk: Walk, element: str, mask: str, value: str) -> str:
    """The value where the mask is true, 0 elsewhere."""
    bits, values = ir.vector(walk.lanes, ir.I1), ir.vector(walk.lanes, element)
    return walk.f.value(f"select {bits} {mask}, {values} {value}, {values} zeroinitializer")


def _keep_greatest(
    walk: Walk,
    dtype: DType,
    seen: Sequence[str],
    best: Sequence[str],
    this: str,
    kept: tuple[Sequence[str], str],
) -> None:
    """Keeps values that are greater than the best so far, and where they are.

    Args:
        seen, best: the values, and the slots of the best.
        this: where the values are, in each lane.
        kept: the slots of where the best are, and their type.
    """
    f, values = walk.f, ir.vector(walk.lanes, kind(dtype))
    winners, places = kept
    for value, highest, winner in zip(seen, best, winners):
        wins = _greater(f, dtype, values, value, f.load(values, highest))
        _choose(f, values, wins, value, highest)
        _choose(f, places, wins, this, winner)


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


def _numbered(walk: Walk, tap: Seen) -> str:
    """A vector of a tap's number."""
    return walk.splat(ir.I32, walk.f.value(f"trunc i64 {tap.tap} to i32"))


def _store_indices(
    walk: Walk, dtype: DType, winners: Sequence[str], array: str, place: str, vectors: Sequence[Segment]
) -> None:
    """Writes taps' numbers, as the type that holds all of them."""
    counts, memory = ir.vector(walk.lanes, ir.I32), ir.MEMORY[dtype]
    loaded = [walk.f.load(counts, winner) for winner in winners]
    if memory != ir.I32:
        loaded = [walk.f.value(f"trunc {counts} {n} to {ir.vector(walk.lanes, memory)}") for n in loaded]
    walk.store(dtype, loaded, array, place, vectors)


def _product(f: ir.Function, values: Sequence[str]) -> str:
    product = values[0]
    for value in values[1:]:
        product = f.mul(product, value)
    return product
