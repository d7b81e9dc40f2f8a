"""Nests whose members go through the same elements in different shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native.natively import run


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_counting_in_another_shape(dtype: Any, size: int) -> None:
    x = tf.placeholder(dtype, [None, 2, 3])
    count = tf.size(x) if dtype is tf.int32 else tf.cast(tf.size(x), dtype)
    numbers = tf.reshape(3 + 2 * tf.range(count), tf.shape(x))
    (found, also), hosts = run([numbers + x, tf.reshape(tf.range(24), [4, 3, 2]) * tf.ones([4, 3, 2], tf.int32)],
                               {x: np.ones((size, 2, 3), dtype.as_numpy_dtype)})  # fmt: skip
    np.testing.assert_array_equal(found, 4 + 2 * np.arange(size * 6).reshape(size, 2, 3))
    np.testing.assert_array_equal(also, np.arange(24).reshape(4, 3, 2))
    assert not hosts


def test_the_gradient_of_the_largest_of_each_row() -> None:
    x = tf.placeholder(tf.float64, [None, 2, 2, None])
    values, places = tf.nn.top_k(x, 2)
    array = np.random.default_rng(0).permutation(2 * 2 * 2 * 10).reshape(2, 2, 2, 10)
    found, _ = run([places, *tf.gradients(values, x)], {x: array})
    np.testing.assert_array_equal(found[1], array >= np.sort(array)[..., -2:-1])


@pytest.mark.parametrize("columns", [3, 6, 64])
def test_a_factor_of_all_terms_stays_within_the_sum(columns: int) -> None:
    """0 times infinity is no number, though their sum times infinity would be infinite."""
    x, c = tf.placeholder(tf.float64, [None, columns]), tf.placeholder(tf.float64, [])
    array = np.ones((4, columns))
    array[::2, 1] = 0
    found, _ = run(tf.reduce_sum(x * c, 1), {x: array, c: -np.inf})
    np.testing.assert_array_equal(found, [np.nan, -np.inf, np.nan, -np.inf])
