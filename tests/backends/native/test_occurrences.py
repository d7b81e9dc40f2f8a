"""How often integers occur."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import occurrences
from tahr.core import dtypes
from tests.backends.native import guarded, natively


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.float32, tf.float64])
@pytest.mark.parametrize("length", [1, 7, 5000])
def test_occurrences_are_numpys(dtype: Any, length: int) -> None:
    x = tf.placeholder(tf.int32, [None])
    random = np.random.RandomState(0)
    feeds = [{x: random.randint(0, 9000, n).astype(np.int32) % 6000} for n in (0, 1, 1000, 300_000)]
    natively.is_as_numpy([tf.bincount(x, minlength=length, maxlength=length, dtype=dtype)], *feeds)


def test_one_bin_for_all() -> None:
    x = tf.placeholder(tf.int32, [None, 3])
    feeds = {x: np.full((50_000, 3), 4, np.int32)}
    natively.is_as_numpy([tf.bincount(x, minlength=6, maxlength=6)], feeds)


def test_no_bins() -> None:
    x = tf.placeholder(tf.int32, [5])
    natively.is_as_numpy([tf.bincount(x, minlength=0, maxlength=0)], {x: np.arange(5)})


def test_they_are_used_behind() -> None:
    """Frequencies, in one segment."""
    x = tf.placeholder(tf.int32, [None])
    counts = tf.bincount(x, minlength=4, maxlength=4, dtype=tf.float32)
    natively.is_as_numpy([counts / tf.reduce_sum(counts)], {x: np.array([0, 3, 3, 9], np.int32)})


@pytest.mark.parametrize("place", [0, 149_999])
def test_a_negative_integer_is_an_error(place: int) -> None:
    x = tf.placeholder(tf.int32, [None])
    counts = tf.bincount(x, minlength=4, maxlength=4)
    value = np.ones(150_000, np.int32)
    value[place] = -1
    for backend, tier in (("numpy", "reference"), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            for _ in range(2):
                with pytest.raises(tf.errors.InvalidArgumentError, match="must be non-negative"):
                    session.run(counts, {x: value})
            assert session.run(counts, {x: np.ones(3, np.int32)}).tolist() == [0, 3, 0, 0]


def test_a_number_of_bins_that_is_data_is_numpys() -> None:
    x = tf.placeholder(tf.int32, [None])
    counts = [tf.bincount(x), tf.bincount(x, minlength=3, maxlength=6)]
    for values in ([1, 4], [0], [9, 9]):
        (every, some), hosts = natively.run(counts, {x: np.array(values, np.int32)})
        assert set(hosts) == {"Bincount"}
        np.testing.assert_array_equal(every, np.bincount(values))
        np.testing.assert_array_equal(some, np.bincount(values, minlength=3)[:6])


@pytest.mark.parametrize("tiles", [1, 3])
def test_counting_between_guards(tiles: int) -> None:
    x = np.array([5, 0, 4, 4, 2**31 - 1, 1, 4], np.int32)
    stretch = -(-len(x) // tiles)
    kernel = occurrences.count(dtypes.int32)
    outputs: list[Any] = [((tiles, 5), np.int64), ((1,), np.int64)]
    bins, code = guarded.run(kernel, [x], outputs, (len(x), stretch, 5), tiles)
    assert bins.sum(0).tolist() == [1, 1, 0, 0, 3] and code == -1  # untouched
    x[2] = -(2**31)
    _, code = guarded.run(kernel, [x], outputs, (len(x), stretch, 5), tiles)
    assert code == tf.errors.INVALID_ARGUMENT


@pytest.mark.parametrize("dtype", [dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64])
def test_adding_up_between_guards(dtype: Any) -> None:
    bins = np.arange(21).reshape(3, 7)
    (sums,) = guarded.run(occurrences.add_up(dtype), [bins], [((7,), dtype.numpy)], (7, 3, 3), 3)
    np.testing.assert_array_equal(sums, bins.sum(0))
