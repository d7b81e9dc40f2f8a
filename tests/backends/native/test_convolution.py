"""Convolution kernels give what the ops' NumPy kernels give, to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import convolution, epilogue, filter_gradients, target as targets
from tahr.backends.native.compiler import Compiler
from tahr.backends.native.convolution import Spec
from tahr.backends.native.epilogue import Epilogue, Operand
from tahr.backends.native.target import AARCH64, BASELINE
from tahr.core import dtypes, scalar
from tahr.ops import convolution_kernels, windows
from tests.backends.native.guarded import Array, combined, run

pytest.importorskip("llvmlite")

# Window, strides, dilations, padding, batch and sizes, input channels, output channels.
Case = tuple[Sequence[int], Sequence[int], Sequence[int], Any, Sequence[int], int, int]
CASES: list[Case] = [
    ((5, 5), (1, 1), (1, 1), "SAME", (2, 28, 28), 1, 32),  # a first layer
    ((3, 3), (1, 1), (1, 1), "SAME", (2, 9, 33), 16, 16),  # one vector; blocks of a row in a row's middle
    ((3, 3), (2, 2), (1, 1), "SAME", (2, 9, 11), 16, 33),  # a masked vector
    ((3, 3), (2, 2), (1, 1), "VALID", (2, 8, 12), 17, 70),  # a group of vectors, and a rest
    ((3, 2), (1, 2), (2, 3), "SAME", (1, 13, 19), 3, 17),  # strides meet dilations
    ((5, 4), (3, 2), (2, 4), [(4, 1), (3, 3)], (2, 20, 19), 3, 5),
    ((2, 2), (3, 3), (1, 1), [(4, 1), (3, 3)], (2, 20, 19), 37, 5),  # pixels that no window sees
    ((1, 1), (2, 2), (1, 1), "VALID", (2, 7, 8), 5, 64),
    ((5, 5), (1, 1), (1, 1), "SAME", (3, 2, 3), 4, 12),  # larger than the image
    ((3, 3), (1, 1), (1, 1), [(7, 9), (6, 30)], (1, 5, 5), 8, 8),  # windows that see padding only
    ((11, 11), (1, 1), (1, 1), "SAME", (1, 13, 12), 3, 2),  # a row of taps exceeds the registers
    ((3, 3), (1, 1), (1, 1), "SAME", (2, 9, 21), 32, 3),  # vectors along the input channels
    ((4, 4), (2, 2), (1, 1), "SAME", (2, 9, 21), 1, 32),  # the same in the gradient
    ((3,), (1,), (2,), [(4, 1)], (2, 40), 3, 5),
    ((4,), (1,), (1,), "SAME", (1, 3001), 16, 48),  # a signal of several blocks
    ((4,), (2,), (1,), "SAME", (1, 3001), 1, 4),
    ((2, 3, 3), (1, 2, 1), (2, 1, 2), "SAME", (2, 5, 7, 8), 6, 9),
    ((3, 3), (1, 1), (1, 1), "SAME", (0, 5, 5), 4, 5),  # no images
    ((3, 3), (1, 1), (1, 1), "VALID", (2, 2, 5), 4, 5),  # no output
    ((3, 3), (2, 2), (1, 1), "VALID", (2, 5, 2), 3, 5),
    ((3, 3), (1, 1), (1, 1), "VALID", (1, 4, 4), 160, 200),  # the filter exceeds a share of the cache
    ((3, 4), (2, 3), (1, 2), "SAME", (2, 7, 9), 131, 150),  # packed filters of several phases, with a rest
    ((3, 2), (1, 1), (1, 1), "SAME", (5, 15, 14), 7, 131),  # with so many pixels packing is worth it
    ((3, 2), (1, 2), (2, 1), "VALID", (5, 25, 25), 3, 256),
]


class Convolution:
    """A case with its arrays and what describes it to the kernels."""

    def __init__(self, case: Case, dtype: dtypes.DType) -> None:
        window, strides, dilations, padding, (batch, *sizes), inputs, outputs = case
        out, pads = windows.window_geometry(sizes, window, strides, dilations, padding)
        low = [pad[0] for pad in pads if pad is not None]
        self.spec = Spec(dtype, tuple(window), tuple(strides), tuple(dilations), inputs, outputs, out[-1])
        random = np.random.default_rng(3)
        self.x = random.standard_normal((batch, *sizes, inputs)).astype(dtype.numpy)
        self.w = random.standard_normal((*window, inputs, outputs)).astype(dtype.numpy)
        self.dy = random.standard_normal((batch, *out, outputs)).astype(dtype.numpy)
        self.sizes: Any = (self.spec, batch, sizes, out, low)
        self.settings: Any = (strides, padding, dilations)

    def forward(
        self, end: Epilogue | None = None, operands: Sequence[Array] = (), per_call: int | None = None
    ) -> list[Array]:
        table = convolution.forward_sizes(*self.sizes)
        end = end or epilogue.plain(self.spec.dtype)
        outputs = [(self.dy.shape, output.dtype.numpy) for output in end.outputs]
        tiles = convolution.forward_tiles(self.spec, table)
        kernel = convolution.forward(self.spec, end)
        filters = self.filters(table) if convolution.may_pack(self.spec) else [self.w]
        return run(kernel, [self.x, *filters, *operands], outputs, table, tiles, per_call)

    def filters(self, table: Sequence[int]) -> list[Array]:
        """The filter as it is and packed; the one that does not count is all NaN."""
        nothing = np.full(convolution.packed_elements(self.spec), np.nan, self.w.dtype)
        tiles = convolution.pack_tiles(self.spec, table)
        if not tiles:
            return [self.w, nothing]
        (packed,) = run(convolution.pack(self.spec), [self.w], [(nothing.shape, nothing.dtype)], [], tiles)
        return [np.full_like(self.w, np.nan), packed]

    def to_data(
        self, end: Epilogue | None = None, operands: Sequence[Array] = (), per_call: int | None = None
    ) -> list[Array]:
        table = convolution.mirror_sizes(self.spec)
        packed = [((convolution.mirrored_elements(self.spec),), self.w.dtype)]
        (packed_filter,) = run(
            convolution.mirror(self.spec), [self.w], packed, table, convolution.mirror_tiles(self.spec)
        )
        table = convolution.to_data_sizes(*self.sizes)
        end = end or epilogue.plain(self.spec.dtype)
        outputs = [(self.x.shape, output.dtype.numpy) for output in end.outputs]
        tiles = convolution.to_data_tiles(self.spec, table)
        kernel = convolution.to_data(self.spec, end)
        return run(kernel, [self.dy, packed_filter, *operands], outputs, table, tiles, per_call)

    def to_filter(self, per_call: int | None = None) -> Array:
        table = filter_gradients.to_filter_sizes(*self.sizes)
        splits = filter_gradients.splits(self.spec)
        tiles = filter_gradients.to_filter_tiles(self.spec, table)
        outputs = [((splits, *self.w.shape), self.w.dtype)]
        (parts,) = run(
            filter_gradients.to_filter(self.spec), [self.x, self.dy], outputs, table, tiles, per_call
        )
        if splits == 1:
            return parts[0]
        return combined(parts)


def assert_close(actual: Array, expected: Array) -> None:
    """Equal to rounding: sums have up to a few thousand terms of about 1."""
    tolerance = 1e-3 if expected.dtype == np.float32 else 1e-11
    np.testing.assert_allclose(actual, expected, rtol=tolerance / 10, atol=tolerance)


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=repr)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution_and_its_gradients(case: Case, dtype: dtypes.DType) -> None:
    c = Convolution(case, dtype)
    assert_close(c.forward()[0], convolution_kernels.conv(c.x, c.w, *c.settings))
    assert_close(c.to_data()[0], convolution_kernels.conv_backprop_input(c.x.shape, c.w, c.dy, *c.settings))
    assert_close(c.to_filter(), convolution_kernels.conv_backprop_filter(c.x, c.w.shape, c.dy, *c.settings))


@pytest.mark.parametrize("case", [CASES[1], CASES[2], CASES[11], CASES[14], CASES[21], CASES[22]], ids=str)
def test_bits_do_not_depend_on_how_tiles_are_shared(case: Case) -> None:
    c = Convolution(case, dtypes.float32)
    np.testing.assert_array_equal(c.forward()[0], c.forward(per_call=1)[0])
    np.testing.assert_array_equal(c.to_data()[0], c.to_data(per_call=3)[0])
    np.testing.assert_array_equal(c.to_filter(), c.to_filter(per_call=1))


@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 7, 9, 16, 17, 48, 65])
def test_numbers_of_channels(outputs: int) -> None:
    c = Convolution(((3, 3), (1, 1), (1, 1), "SAME", (1, 3, 5), 2, outputs), dtypes.float32)
    assert_close(c.forward()[0], convolution_kernels.conv(c.x, c.w, *c.settings))


@pytest.mark.parametrize("width", [1, 2, 7, 13, 14, 15, 16, 17, 28, 29, 61])
def test_one_kernel_serves_all_sizes(width: int) -> None:
    """The width that a kernel was made for is a hint."""
    hinted = Convolution(((3, 3), (1, 1), (1, 1), "SAME", (1, 4, 14), 5, 8), dtypes.float32)
    c = Convolution(((3, 3), (1, 1), (1, 1), "SAME", (2, 3, width), 5, 8), dtypes.float32)
    c.spec = hinted.spec
    c.sizes = (hinted.spec, *c.sizes[1:])
    assert_close(c.forward()[0], convolution_kernels.conv(c.x, c.w, *c.settings))
    assert_close(c.to_filter(), convolution_kernels.conv_backprop_filter(c.x, c.w.shape, c.dy, *c.settings))


def test_the_epilogue_gets_operands_by_channel_and_by_element() -> None:
    c = Convolution(((3, 3), (1, 1), (1, 1), "SAME", (2, 5, 9), 5, 37), dtypes.float32)
    product, bias, factor, other = (scalar.leaf(i, dtypes.float32) for i in range(4))
    activated = scalar.maximum(product + bias, 0.0)
    end = Epilogue(
        (activated, activated * factor + other),
        (
            Operand(dtypes.float32, epilogue.COLUMN),
            Operand(dtypes.float32, epilogue.SCALAR),
            Operand(dtypes.float32, epilogue.FULL),
        ),
    )
    random = np.random.default_rng(4)
    for forward, shape in ((True, c.dy.shape), (False, c.x.shape)):
        operands = [random.standard_normal(size).astype(np.float32) for size in ((shape[-1],), (), shape)]
        run_it = c.forward if forward else c.to_data
        first, second = run_it(end, operands)
        if forward:
            expected = convolution_kernels.conv(c.x, c.w, *c.settings)
        else:
            expected = convolution_kernels.conv_backprop_input(c.x.shape, c.w, c.dy, *c.settings)
        expected = np.maximum(expected + operands[0], 0)
        assert_close(first, expected)
        assert_close(second, expected * operands[1] + operands[2])


@pytest.mark.parametrize("outputs", [1, 16, 17, 37])
def test_the_epilogue_gives_other_dtypes_and_writes_in_place(outputs: int) -> None:
    c = Convolution(((3, 3), (1, 1), (1, 1), "SAME", (2, 5, 9), 5, outputs), dtypes.float32)
    product, other = scalar.leaf(0, dtypes.float32), scalar.leaf(1, dtypes.float32)
    end = Epilogue(
        (scalar.lt(product, 0.0), scalar.convert(product, dtypes.float16), other - 0.5 * product),
        (Operand(dtypes.float32, epilogue.FULL),),
    )
    table = convolution.forward_sizes(*c.sizes)
    old = np.random.default_rng(6).standard_normal(c.dy.shape).astype(np.float32)
    is_negative, half, updated = run(
        convolution.forward(c.spec, end),
        [c.x, c.w, old],
        [(old.shape, np.bool_), (old.shape, np.float16), 2],
        table,
        convolution.forward_tiles(c.spec, table),
    )
    expected = convolution_kernels.conv(c.x, c.w, *c.settings)
    np.testing.assert_array_equal(is_negative, expected < 0)
    np.testing.assert_allclose(half, expected, rtol=2e-3, atol=1e-3)
    assert_close(updated, old - 0.5 * expected)


def test_products() -> None:
    """Without strides, a window of one pixel leaves nothing but a product of matrices."""
    assert convolution.is_product(Spec(dtypes.float32, (1, 1), (1, 1), (1, 1), 3, 4))
    assert not convolution.is_product(Spec(dtypes.float32, (1, 1), (2, 2), (1, 1), 3, 4))
    assert not convolution.is_product(Spec(dtypes.float32, (1, 3), (1, 1), (1, 1), 3, 4))


@pytest.mark.parametrize("case", [CASES[2], CASES[4], CASES[9], CASES[11]], ids=str)
def test_every_x86_64_processor(case: Case) -> None:
    if targets.host().architecture != BASELINE.architecture:
        pytest.skip("another architecture")
    with targets.using(BASELINE):
        test_convolution_and_its_gradients(case, dtypes.float32)


def test_other_processors_compile() -> None:
    with targets.using(AARCH64):
        c = Convolution(CASES[2], dtypes.float32)
        kernels = [
            convolution.forward(c.spec),
            convolution.to_data(c.spec),
            filter_gradients.to_filter(c.spec),
        ]
        compiler = Compiler(AARCH64)
        assert all(compiler.compile(k.text, k.title) for k in kernels)
