"""Depthwise convolution kernels give what the ops' NumPy kernels give, to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import depthwise
from tahr.backends.native.depthwise import Spec
from tahr.backends.native.epilogue import COLUMN, FULL, Epilogue, Operand
from tahr.core import dtypes, scalar
from tahr.ops import convolution_kernels, windows
from tests.backends.native.guarded import combined, run

pytest.importorskip("llvmlite")

# Window, strides, dilations, padding, batch and sizes, channels, multiplier, dtype.
Case = tuple[Sequence[int], Sequence[int], Sequence[int], Any, Sequence[int], int, int, str]
CASES: list[Case] = [
    ((3, 3), (1, 1), (1, 1), "SAME", (2, 9, 7), 32, 1, "float32"),
    ((3, 3), (2, 2), (1, 1), "SAME", (2, 9, 8), 83, 1, "float32"),  # more vectors than are worked on at once
    ((3, 2), (1, 1), (2, 3), "VALID", (2, 9, 8), 5, 1, "float64"),
    ((3, 3), (2, 2), (3, 2), "SAME", (2, 12, 13), 9, 2, "float64"),  # strides meet dilations
    ((3, 3), (1, 1), (1, 1), [(2, 0), (1, 3)], (1, 6, 5), 7, 3, "float32"),
    ((2, 2), (3, 3), (1, 1), "VALID", (2, 8, 9), 1, 4, "float32"),
    ((5, 5), (1, 1), (1, 1), "SAME", (2, 2, 3), 1, 1, "float32"),  # larger than the image
    ((3, 3), (1, 1), (1, 1), "SAME", (0, 2, 3), 4, 1, "float32"),  # no images
    # Rows of images in which several neighbours are computed at once, with some left over at both ends.
    ((3, 3), (1, 1), (1, 1), "SAME", (2, 4, 14), 50, 1, "float32"),
    ((5, 5), (1, 1), (1, 1), "VALID", (1, 7, 17), 16, 1, "float64"),
    ((7, 7), (1, 1), (1, 1), "SAME", (1, 8, 19), 20, 1, "float32"),
    ((8, 8), (1, 1), (1, 1), "SAME", (1, 8, 19), 3, 1, "float32"),
    ((3, 3), (2, 2), (1, 1), "SAME", (1, 6, 23), 33, 1, "float32"),
    ((2, 3), (1, 1), (2, 2), "SAME", (1, 6, 21), 18, 1, "float32"),
    (
        (3, 3),
        (1, 1),
        (1, 1),
        [(2, 0), (6, 5)],
        (1, 5, 12),
        17,
        1,
        "float32",
    ),  # more padding than the window is wide
    ((3,), (1,), (1,), "SAME", (2, 26), 40, 1, "float32"),
    ((3, 1), (1, 1), (1, 1), "SAME", (1, 6, 13), 16, 1, "float32"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_depthwise_convolution_and_its_gradients(case: Case) -> None:
    window, strides, dilations, padding, (batch, *sizes), channels, multiplier, name = case
    dtype = dtypes.as_dtype(name)
    spec = Spec(dtype, tuple(window), tuple(strides), tuple(dilations), channels, multiplier)
    out, pads = windows.window_geometry(sizes, window, strides, dilations, padding)
    low = [pad[0] for pad in pads if pad is not None]
    random = np.random.default_rng(5)
    x, w, dy = (
        random.standard_normal(shape).astype(dtype.numpy)
        for shape in (
            (batch, *sizes, channels), (*window, channels, multiplier), (batch, *out, channels * multiplier)
        )
    )  # fmt: skip
    settings: Any = (strides, padding, dilations)
    close: Any = {"rtol": 1e-5, "atol": 1e-4} if dtype.size == 4 else {"rtol": 1e-12, "atol": 1e-12}

    table = depthwise.sizes(spec, out, sizes, low)
    tiles = depthwise.tiles(table, batch)
    (y,) = run(depthwise.forward(spec), [x, w], [(dy.shape, x.dtype)], table, tiles, per_call=1)
    np.testing.assert_allclose(y, convolution_kernels.depthwise_conv(x, w, *settings), **close)

    table = depthwise.sizes(spec, sizes, out, low)
    tiles = depthwise.tiles(table, batch)
    (dx,) = run(depthwise.to_data(spec), [dy, w], [(x.shape, x.dtype)], table, tiles, per_call=1)
    expected = convolution_kernels.depthwise_conv_backprop_input(x.shape, w, dy, *settings)
    np.testing.assert_allclose(dx, expected, **close)

    table, splits = depthwise.to_filter_sizes(batch, sizes, out, low), depthwise.splits(spec)
    outputs = [((splits, *w.shape), w.dtype)]
    (parts,) = run(depthwise.to_filter(spec), [x, dy], outputs, table, splits, per_call=1)
    expected = convolution_kernels.depthwise_conv_backprop_filter(x, w.shape, dy, *settings)
    np.testing.assert_allclose(combined(parts), expected, **close)


def test_the_epilogue() -> None:
    spec = Spec(dtypes.float32, (3, 3), (1, 1), (1, 1), 21)
    random = np.random.default_rng(5)
    x, w, full = (
        random.standard_normal(shape).astype(np.float32)
        for shape in ((2, 5, 4, 21), (3, 3, 21, 1), (2, 5, 4, 21))
    )
    bias = random.standard_normal(21).astype(np.float32)
    product, column, other = (scalar.leaf(i, dtypes.float32) for i in range(3))
    end = Epilogue(
        (scalar.maximum(product + column, 0.0), other - product),
        (Operand(dtypes.float32, COLUMN), Operand(dtypes.float32, FULL)),
    )
    table = depthwise.sizes(spec, (5, 4), (5, 4), (1, 1))
    tiles = depthwise.tiles(table, 2)
    # dx is dy under the mirrored filter.
    mirrored = w[::-1, ::-1]
    expected = convolution_kernels.depthwise_conv(x, w, (1, 1), "SAME", (1, 1))
    for kernel, filters in ((depthwise.forward(spec, end), w), (depthwise.to_data(spec, end), mirrored)):
        inputs = [x, filters, bias, full]
        activated, updated = run(kernel, inputs, [(full.shape, np.float32), 3], table, tiles)
        np.testing.assert_allclose(activated, np.maximum(expected + bias, 0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(updated, full - expected, rtol=1e-5, atol=1e-5)
