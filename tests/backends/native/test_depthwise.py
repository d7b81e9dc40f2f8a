"""Depthwise convolution kernels give what the ops' NumPy kernels give, to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import depthwise
from tahr.backends.native.depthwise import Spec
from tahr.core import dtypes
from tahr.ops import windows
from tests.backends.native.guarded import run

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
    np.testing.assert_allclose(y, windows.depthwise_conv(x, w, *settings), **close)

    table = depthwise.sizes(spec, sizes, out, low)
    tiles = depthwise.tiles(table, batch)
    (dx,) = run(depthwise.to_data(spec), [dy, w], [(x.shape, x.dtype)], table, tiles, per_call=1)
    expected = windows.depthwise_conv_backprop_input(x.shape, w, dy, *settings)
    np.testing.assert_allclose(dx, expected, **close)

    table, splits = depthwise.to_filter_sizes(batch, sizes, out, low), depthwise.splits(spec)
    outputs = [((splits, *w.shape), w.dtype)]
    (parts,) = run(depthwise.to_filter(spec), [x, dy], outputs, table, splits, per_call=1)
    expected = windows.depthwise_conv_backprop_filter(x, w.shape, dy, *settings)
    outputs = [(w.shape, w.dtype)]
    (dw,) = run(depthwise.combine(spec), [parts], outputs, [], depthwise.combine_tiles(spec))
    np.testing.assert_allclose(dw, expected, **close)
