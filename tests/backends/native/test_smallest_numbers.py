"""Functions of the smallest normal numbers, while denormals count as zero: also without fused operations."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import target

pytestmark = pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_function_of_the_smallest_numbers(dtype: type[np.floating]) -> None:
    x = tf.placeholder(dtype, [None])
    numbers = (np.finfo(dtype).tiny * np.array([1, 1.5, 2, 5, 7.7, 40, -1, -3])).astype(dtype)
    expected = (2 / math.sqrt(math.pi) * numbers.astype(np.float64)).astype(dtype)
    with tf.Session(backend="native", tier="compiled") as session:
        found = session.run(tf.erf(x), {x: numbers})
    np.testing.assert_allclose(found, expected, rtol=3 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_angles_of_points_with_the_smallest_and_largest_coordinates(dtype: type[np.floating]) -> None:
    """Neither a half of one may count as zero, nor the difference of two, nor is their sum infinite."""
    y, x = tf.placeholder(dtype, [None]), tf.placeholder(dtype, [None])
    limits = np.finfo(dtype)
    factors = np.array([1, 1 + 1e-3, 1.5, 2, 3, 1e3])
    with tf.Session(backend="native", tier="compiled") as session:
        for sizes in (float(limits.tiny) * factors, float(limits.max) / factors):
            feeds = [a.ravel().astype(dtype) for a in np.meshgrid(sizes, [*sizes, *-sizes])]
            found = session.run(tf.atan2(y, x), dict(zip((y, x), feeds)))
            np.testing.assert_allclose(found, np.arctan2(*feeds), rtol=3 * float(limits.eps))
