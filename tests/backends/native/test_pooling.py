"""Pooling kernels give what the ops' NumPy kernels give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import pooling
from tahr.backends.native.pooling import Spec
from tahr.core import dtypes
from tahr.ops import pooling_kernels, windows
from tests.backends.native.guarded import Array, run

pytest.importorskip("llvmlite")

# Window, strides, padding, batch and sizes, channels, dtype.
Case = tuple[Sequence[int], Sequence[int], str, Sequence[int], int, str]
CASES: list[Case] = [
    ((2, 2), (2, 2), "SAME", (2, 7, 6), 32, "float32"),  # apart
    ((2, 2), (2, 2), "VALID", (2, 5, 5), 7, "uint8"),  # pixels that no window sees
    ((3, 3), (2, 2), "SAME", (2, 7, 6), 17, "float32"),  # overlapping, a vector and one channel
    ((3, 3), (1, 1), "SAME", (2, 7, 6), 5, "float64"),
    ((3, 3), (1, 1), "SAME", (1, 5, 6), 80, "float16"),  # more vectors than are worked on at once
    ((2, 3), (3, 1), "VALID", (2, 7, 6), 1, "int32"),  # gaps; one channel
    ((17, 17), (1, 1), "SAME", (1, 5, 6), 3, "float32"),  # larger than the image; more than 256 taps
    ((2, 3, 2), (1, 2, 2), "SAME", (2, 3, 5, 6), 3, "float32"),
    ((3,), (2,), "VALID", (2, 9), 3, "int64"),
    ((2, 2), (2, 2), "SAME", (0, 5, 5), 4, "float32"),  # no images
    ((3, 3), (1, 1), "VALID", (2, 2, 5), 4, "float32"),  # no output
    ((2, 2), (2, 2), "SAME", (2, 40, 40), 33, "float32"),  # several blocks of rows
    ((1, 1), (2, 2), "SAME", (2, 5, 4), 16, "float64"),
]


class Pooling:
    """A case with its arrays, tables and counts of tiles."""

    def __init__(self, case: Case) -> None:
        self.window, self.strides, self.padding, (batch, *sizes), channels, name = case
        dtype = dtypes.as_dtype(name)
        self.spec = Spec(dtype, tuple(self.window), tuple(self.strides), channels)
        out, pads = windows.window_geometry(sizes, self.window, self.strides, [1] * len(sizes), self.padding)
        low = [pad[0] for pad in pads if pad is not None]
        random = np.random.default_rng(7)
        # Few values, so that there are ties.
        self.x = random.integers(0, 5, (batch, *sizes, channels)).astype(dtype.numpy)
        self.y_shape = (batch, *out, channels)
        self.dy = random.integers(1, 9, self.y_shape).astype(dtype.numpy)
        self.forward = pooling.sizes(self.spec, out, sizes, low)
        self.backward = pooling.sizes(self.spec, sizes, out, low)
        self.forward_tiles = pooling.tiles(self.forward, batch)
        self.backward_tiles = pooling.tiles(self.backward, batch)
        self.settings: Any = (self.window, self.strides, self.padding)

    @property
    def output(self) -> tuple[Any, Any]:
        return self.y_shape, self.x.dtype

    @property
    def numbers(self) -> tuple[Any, Any]:
        return self.y_shape, self.spec.indices.numpy

    def maxima(self) -> tuple[Array, Array]:
        y, numbers = run(
            pooling.max_pool(self.spec, indices=True),
            [self.x],
            [self.output, self.numbers],
            self.forward,
            self.forward_tiles,
        )
        return y, numbers

    def max_gradient(self, numbers: Array, per_call: int | None = None) -> Array:
        outputs = [(self.x.shape, self.x.dtype)]
        kernel = pooling.max_pool_grad(self.spec)
        (dx,) = run(kernel, [numbers, self.dy], outputs, self.backward, self.backward_tiles, per_call)
        return dx


def spoil(pool: Pooling) -> None:
    """Puts NaN and infinities into floating images."""
    random = np.random.default_rng(8)
    pool.x[random.random(pool.x.shape) < 0.3] = np.nan
    pool.x[random.random(pool.x.shape) < 0.3] = -np.inf
    pool.x[random.random(pool.x.shape) < 0.1] = np.inf


SPOILED = [(case, True) for case in CASES if "int" not in case[-1]]


@pytest.mark.parametrize(("case", "special"), [*((case, False) for case in CASES), *SPOILED], ids=str)
def test_max_pool(case: Case, special: bool) -> None:
    pool = Pooling(case)
    if special:
        spoil(pool)
    expected = pooling_kernels.max_pool(pool.x, *pool.settings)
    (alone,) = run(
        pooling.max_pool(pool.spec), [pool.x], [pool.output], pool.forward, pool.forward_tiles, per_call=1
    )
    y, numbers = pool.maxima()
    (afterwards,) = run(
        pooling.max_pool_indices(pool.spec), [pool.x, y], [pool.numbers], pool.forward, pool.forward_tiles
    )
    np.testing.assert_array_equal(alone, expected)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(afterwards, numbers)
    dx = pooling_kernels.max_pool_grad(pool.x, expected, pool.dy, *pool.settings)
    np.testing.assert_array_equal(pool.max_gradient(numbers), dx)
    np.testing.assert_array_equal(pool.max_gradient(numbers, per_call=2), dx)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_gradient_of_ties(case: Case) -> None:
    pool = Pooling(case)
    y = pooling_kernels.max_pool(pool.x, *pool.settings)
    kernel = pooling.max_pool_grad_of_ties(pool.spec)
    outputs = [(pool.x.shape, pool.x.dtype)]
    (dx,) = run(kernel, [pool.x, y, pool.dy], outputs, pool.backward, pool.backward_tiles)
    expected = pooling_kernels.max_pool_grad(pool.x, y, pool.dy, *pool.settings, all_ties=True)
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("case", [case for case in CASES if case[-1].startswith("float")], ids=str)
def test_avg_pool(case: Case) -> None:
    pool = Pooling(case)
    (y,) = run(
        pooling.avg_pool(pool.spec), [pool.x], [pool.output], pool.forward, pool.forward_tiles, per_call=1
    )
    outputs = [(pool.x.shape, pool.x.dtype)]
    (dx,) = run(pooling.avg_pool_grad(pool.spec), [pool.dy], outputs, pool.backward, pool.backward_tiles)
    np.testing.assert_array_equal(y, pooling_kernels.avg_pool(pool.x, *pool.settings))
    np.testing.assert_array_equal(dx, pooling_kernels.avg_pool_grad(pool.x.shape, pool.dy, *pool.settings))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("places", [dtypes.int64, dtypes.int32])
@pytest.mark.parametrize("counts_images", [False, True])
def test_maxima_and_their_places(case: Case, places: Any, counts_images: bool) -> None:
    pool = Pooling(case)
    if pool.x.dtype.kind == "f" and pool.x.size:
        pool.x.flat[:: 1 + pool.x.size // 5] = np.nan
    maxima, found = pooling_kernels.max_pool_with_argmax(
        pool.x, *pool.settings, include_batch_in_index=counts_images
    )
    kernel = pooling.max_pool_with_places(pool.spec, places, counts_images)
    outputs = [pool.output, (pool.y_shape, places.numpy)]
    y, numbers = run(kernel, [pool.x], outputs, pool.forward, pool.forward_tiles, per_call=1)
    np.testing.assert_array_equal(y, maxima)
    np.testing.assert_array_equal(numbers, found)


@pytest.mark.parametrize("case", CASES)
def test_what_lies_at_the_maxima(case: Case) -> None:
    pool = Pooling(case)
    if pool.x.dtype.kind == "f" and pool.x.size:
        pool.x.flat[:: 1 + pool.x.size // 5] = np.nan
    y = pooling_kernels.max_pool(pool.x, *pool.settings)
    others = np.random.default_rng(8).integers(1, 9, pool.x.shape).astype(pool.x.dtype)
    expected = pooling_kernels.max_pool_grad_grad(pool.x, y, others, *pool.settings)
    kernel = pooling.max_pool_taken(pool.spec)
    (taken,) = run(kernel, [pool.x, y, others], [pool.output], pool.forward, pool.forward_tiles, per_call=1)
    np.testing.assert_array_equal(taken, expected)
