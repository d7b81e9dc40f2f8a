"""What is put together from parts is written there at once, where nobody else wants the parts."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute

X = np.random.RandomState(3).randn(37, 6).astype(np.float32)


def titles(fetches, feeds) -> list[str]:
    """The kernels of a run that gives NumPy's results."""
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    execute._records.clear()
    with tf.Session(backend="native", tier="compiled") as session:
        found = session.run(fetches, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    plans = [r.native for r in execute._records.values() if r.native is not None]
    return [call.title for plan in plans for segment in plan.segments for call in segment.calls]


def copies(fetches, feeds) -> int:
    """How many parts are copied."""
    return sum("part of" in title for title in titles(fetches, feeds))


@pytest.fixture
def x():
    return tf.placeholder(tf.float32, [None, 6])


@pytest.mark.parametrize("axis", [0, 1])
def test_computed_parts_are_not_copied(x, axis: int):
    whole = tf.concat([tf.nn.relu(x), tf.exp(x), x * 2.0], axis)
    assert copies(tf.cumsum(whole), {x: X}) == 0


def test_sums_of_rows_are_parts_too(x):
    whole = tf.concat([tf.tanh(x), tf.reduce_sum(x, 1, keepdims=True)], 1)
    assert copies(tf.matmul(whole, tf.ones([7, 3])), {x: X}) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stacking(x, axis: int):
    assert copies(tf.cumsum(tf.stack([tf.sin(x), tf.cos(x)], axis)), {x: X}) == 0


def test_what_is_fed_is_copied(x):
    assert copies(tf.cumsum(tf.concat([x, tf.exp(x)], 1)), {x: X}) == 1


def test_a_part_that_others_read_is_copied(x):
    part = tf.exp(x)
    whole = tf.concat([part, tf.tanh(x)], 1)
    assert copies(tf.matmul(whole, tf.cumsum(part), transpose_a=True), {x: X}) == 1


def test_a_part_twice_is_copied(x):
    part = tf.exp(x)
    assert copies(tf.cumsum(tf.concat([part, part], 1)), {x: X}) == 2


@pytest.mark.parametrize("axis", [0, 1])
def test_a_part_of_which_another_part_is_a_view_is_copied(x, axis: int):
    value = tf.sin(x)
    first = value[:1] if axis == 0 else value[:, 2:]
    assert copies(tf.concat([first, value], axis)[:-1] * 2.0, {x: X}) == 2


def test_between_zeros_a_part_is_copied(x):
    assert copies(tf.cumsum(tf.pad(tf.exp(x), [[1, 2], [0, 1]])), {x: X}) == 1


def test_a_whole_that_is_fetched_is_copied(x):
    assert copies(tf.concat([tf.exp(x), tf.tanh(x)], 1), {x: X}) == 2


@pytest.mark.parametrize("rows", [0, 1, 2, 2731])
def test_numbers_of_rows(x, rows: int):
    whole = tf.concat([tf.nn.relu(x), tf.exp(-x * x)], 1)
    titles(tf.cumsum(whole, 1), {x: np.resize(X, (rows, 6))})
