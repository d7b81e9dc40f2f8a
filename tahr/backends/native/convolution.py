"""Convolution kernels: the forward pass and the gradient to the data; `filter_gradients` has the other gradient.

Images are `[batch, *spatial, channels]`, filters `[*window, in, out]`, with one to three spatial dimensions; inside,
there are always three (a picture is a volume of depth 1). Channels, windows, strides and dilations are compiled in;
batch, sizes and padding are passed in the table of sizes.

Both passes are correlations. The gradient to the data correlates dy with the mirrored filter, channels exchanged. With
a stride of s each of the s phases of the image's pixels sees every s-th tap only: so there are s correlations (s^2 for
pictures), each with a filter of its own, and each giving every s-th pixel of the result. `mirror` packs these filters,
as `correlation` wants them; then one kernel walks over all phases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tahr.backends.native import epilogue as epilogues, ir, kernel
from tahr.backends.native.correlation import (
    Correlation,
    Packing,
    Phase,
    block_of,
    is_packed,
    table_of,
    tiles_of,
)
from tahr.backends.native.correlation_kernels import ATTRIBUTES, copy, kernel_of
from tahr.backends.native.epilogue import Epilogue
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.sliding import volume
from tahr.backends.native.turning import turned
from tahr.core.dtypes import DType


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


# --------------------------------------------------------------------------------------------- forward


def forward(spec: Spec, epilogue: Epilogue | None = None) -> Kernel:
    """The kernel of the convolution.

    Buffers: x, w, where `may_pack` also the filter packed by `pack`, the epilogue's operands, its outputs
    `[batch, *out, outputs]`.
    """
    title = f"convolution {spec.title}"
    return kernel_of(_forward(spec), epilogue or epilogues.plain(spec.dtype), title)


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
    phase = Phase(volume(spec.window, 1), volume(low, 0), (0, 0, 0), out, 0)
    return table_of(_forward(spec), batch, volume(sizes, 1), out, [phase])


def forward_tiles(spec: Spec, table: Sequence[int]) -> int:
    """How many tiles `forward` has with a table of sizes."""
    return tiles_of(_forward(spec), table)


def may_pack(spec: Spec) -> bool:
    """Whether `forward` takes the filter as `pack` packs it too: with enough pixels it uses that."""
    return _forward(spec).packing is Packing.PERHAPS


def pack(spec: Spec) -> Kernel:
    """The kernel that packs the filter for `forward`.

    Buffers: w, the packed filter of `packed_elements`. Its tiles are the window's taps.
    """
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=ATTRIBUTES)
    correlation, element = _forward(spec), ir.MEMORY[spec.dtype]
    w, packed = kernel.buffer(f, 0), kernel.buffer(f, 1)
    channels = correlation.channels
    group_size = math.prod(spec.window) * spec.inputs * channels
    with (
        f.loop("%begin", "%end", hint="tap") as tap,
        f.loop(0, correlation.groups, hint="group") as group,
        f.loop(0, spec.inputs, hint="input") as row,
    ):
        number, first = f.add(f.mul(tap, spec.inputs), row), f.mul(group, channels)
        source = f.at(element, w, f.add(f.mul(number, spec.outputs), first))
        to = f.at(element, packed, f.add(f.mul(group, group_size), f.mul(number, channels)))
        count = f.minimum(f.sub(spec.outputs, first), channels)
        copy(f, spec.dtype, correlation.lanes, source, to, count)
    return Kernel(kernel.AS_WRITTEN + ir.module([f.finish()]), 0, f"pack {spec.title}")


def packed_elements(spec: Spec) -> int:
    """How many elements the filter has that `pack` packs."""
    return math.prod(spec.window) * spec.inputs * _forward(spec).packed_row


def pack_tiles(spec: Spec, table: Sequence[int]) -> int:
    """How many tiles `pack` has: none, where `forward` with its table takes the filter as it is."""
    return math.prod(spec.window) if is_packed(table) else 0


def _forward(spec: Spec) -> Correlation:
    return Correlation(
        spec.dtype,
        (volume(spec.window, 1),),
        volume(spec.strides, 1),
        volume(spec.dilations, 1),
        (1, 1, 1),
        spec.inputs,
        spec.outputs,
        len(spec.window) < 3,
        *block_of(spec.inputs, spec.outputs, spec.width, spec.dtype.size),
    ).perhaps_packed


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

    Buffers: w, the packed filter of `mirrored_elements`. Its tiles are the window's taps.
    """
    f = ir.Function(kernel.SYMBOL, kernel.ARGUMENTS, attributes=ATTRIBUTES)
    correlation, element = _to_data(spec), ir.MEMORY[spec.dtype]
    w, packed = kernel.buffer(f, 0), kernel.buffer(f, 1)
    channels = correlation.channels
    whole, rest = divmod(spec.inputs, channels)

    def copy_group(source: str, to: str, group: str | int, group_size: str, rows: int) -> None:
        source = f.at(element, source, f.mul(group, channels * spec.outputs))
        to = f.at(element, to, f.mul(group, group_size))
        _transpose(f, spec.dtype, source, to, (rows, spec.outputs), channels)

    with f.loop("%begin", "%end", hint="tap") as tap:
        record = f.at(ir.I64, "%sizes", f.mul(tap, _TAP))
        number, place, taps = (f.load(ir.I64, f.at(ir.I64, record, i)) for i in range(_TAP))
        source = f.at(element, w, f.mul(number, spec.inputs * spec.outputs))
        to, group_size = f.at(element, packed, place), f.mul(taps, spec.outputs * channels)
        with f.loop(0, whole, hint="group") as group:
            copy_group(source, to, group, group_size, channels)
        if rest:
            copy_group(source, to, whole, group_size, rest)
    return Kernel(kernel.AS_WRITTEN + ir.module([f.finish()]), 0, f"mirror {spec.title}")


# For each packed tap: which of w's it was, where it begins, and how many its phase has.
_TAP = 3


def _transpose(f: ir.Function, dtype: DType, source: str, to: str, shape: tuple[int, int], step: int) -> None:
    """Writes the transpose of a matrix, by square blocks that are turned in registers.

    Args:
        shape: of the matrix.
        step: elements from one row of the transpose to the next.
    """
    rows, columns = shape
    element, size = ir.MEMORY[dtype], 32 // dtype.size
    kind = ir.vector(size, element)
    whole_rows, whole_columns = rows // size * size, columns // size * size

    def copy_one_by_one(first_row: int, end_row: int, first_column: int, end_column: int) -> None:
        if first_row == end_row or first_column == end_column:
            return
        with (
            f.loop(first_row, end_row, hint="row") as i,
            f.loop(first_column, end_column, hint="column") as j,
        ):
            value = f.load(element, f.at(element, source, f.add(f.mul(i, columns), j)))
            f.store(element, value, f.at(element, to, f.add(f.mul(j, step), i)))

    with f.loop(0, whole_columns, size, "column") as j, f.loop(0, whole_rows, size, "row") as i:
        corner = f.at(element, source, f.add(f.mul(i, columns), j))
        block = [f.load(kind, f.at(element, corner, n * columns), dtype.size) for n in range(size)]
        corner = f.at(element, to, f.add(f.mul(j, step), i))
        for n, row in enumerate(turned(f, kind, block)):
            f.store(kind, row, f.at(element, corner, n * step), dtype.size)
    copy_one_by_one(whole_rows, rows, 0, columns)
    copy_one_by_one(0, whole_rows, whole_columns, columns)


def mirror_sizes(spec: Spec) -> list[int]:
    """The table of sizes of `mirror`."""
    window, correlation = volume(spec.window, 1), _to_data(spec)
    table: list[int] = []
    place = 0
    for shares in _phase_shares(spec):
        taps = list(itertools.product(*(share.taps for share in shares)))
        for i, (depth, row, column) in enumerate(taps):
            number = (depth * window[1] + row) * window[2] + column
            table += [number, place + i * spec.outputs * correlation.channels, len(taps)]
        place += len(taps) * spec.outputs * correlation.packed_row
    return table


def mirrored_elements(spec: Spec) -> int:
    """How many elements the filter has that `mirror` packs."""
    return math.prod(spec.window) * spec.outputs * _to_data(spec).packed_row


def mirror_tiles(spec: Spec) -> int:
    """How many tiles `mirror` has."""
    return math.prod(spec.window)


def to_data(spec: Spec, epilogue: Epilogue | None = None) -> Kernel:
    """The kernel of the gradient to the images, or of the transposed convolution.

    Buffers: dy `[batch, *out, outputs]`, the filter packed by `mirror`, the epilogue's operands, its outputs
    `[batch, *spatial, inputs]`.
    """
    title = f"convolution to data {spec.title}"
    return kernel_of(_to_data(spec), epilogue or epilogues.plain(spec.dtype), title)


def to_data_sizes(
    spec: Spec, batch: int, sizes: Sequence[int], out: Sequence[int], low: Sequence[int]
) -> list[int]:
    """The table of sizes of `to_data`; arguments as in `forward_sizes`."""
    sizes, low, strides = volume(sizes, 1), volume(low, 0), volume(spec.strides, 1)
    phases: list[Phase] = []
    filters = 0
    places = itertools.product(*map(range, strides))
    for phase, shares in zip(places, _phase_shares(spec)):
        # The phase's first pixel inside the image, as its number among those of the phase, and as a pixel.
        firsts = [max(0, -((p - before) // s)) for p, before, s in zip(phase, low, strides)]
        start = [s * first + p - before for first, p, before, s in zip(firsts, phase, low, strides)]
        phases.append(
            Phase(
                tuple(len(share.taps) for share in shares),
                tuple(share.low - first for share, first in zip(shares, firsts)),
                tuple(start),
                tuple(max(0, -((i - size) // s)) for i, size, s in zip(start, sizes, strides)),
                filters,
            )
        )
        filters += math.prod(len(share.taps) for share in shares) * spec.outputs * _to_data(spec).packed_row
    return table_of(_to_data(spec), batch, volume(out, 1), sizes, phases)


def to_data_tiles(spec: Spec, table: Sequence[int]) -> int:
    """How many tiles `to_data` has with a table of sizes."""
    return tiles_of(_to_data(spec), table)


def _phase_shares(spec: Spec) -> list[tuple[_Share, ...]]:
    """Each phase's taps along all axes."""
    axes = zip(volume(spec.window, 1), volume(spec.strides, 1), volume(spec.dilations, 1))
    return list(itertools.product(*(_shares(*axis) for axis in axes)))


def _to_data(spec: Spec) -> Correlation:
    strides, dilations = volume(spec.strides, 1), volume(spec.dilations, 1)
    depth, row, column = (d // math.gcd(s, d) for s, d in zip(strides, dilations))
    return Correlation(
        spec.dtype,
        tuple(tuple(len(share.taps) for share in shares) for shares in _phase_shares(spec)),
        (1, 1, 1),
        (depth, row, column),
        strides,
        spec.outputs,
        spec.inputs,
        len(spec.window) < 3,
        *block_of(spec.outputs, spec.inputs, spec.width, spec.dtype.size),
        packing=Packing.ALWAYS,
    )
