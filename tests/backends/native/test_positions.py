"""Positions that are data: `x[i]`, `x[:, t]`, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively

KEYS = [
    lambda x, i: x[i],
    lambda x, i: x[:, i],
    lambda x, i: x[..., i],
    lambda x, i: x[:, i, tf.newaxis],
    lambda x, i: x[i, ...],
    lambda x, i: x[0:, i, :],
]


@pytest.mark.parametrize("take", KEYS)
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 3, 3)])
def test_positions_and_their_gradients(take, dtype, shape):
    x, i = tf.placeholder(dtype, [None, None, shape[2]]), tf.placeholder(tf.int32, [])
    y = take(x, i)
    dx = tf.gradients(y * y, x)[0]
    value = np.arange(np.prod(shape)).reshape(shape) / 16
    for index in (0, 2, -1, -3):
        with tf.Session(backend="numpy") as session:
            expected = session.run([y, dx], {x: value, i: index})
        for threads in (1, 4):
            got, left = natively.run([y, dx], {x: value, i: index}, threads=threads)
            assert left == []
            assert all(map(natively.same, got, expected))


@pytest.mark.parametrize("dtype", [tf.int64, tf.bool, tf.int8])
def test_other_dtypes(dtype):
    x, i = tf.placeholder(dtype, [4]), tf.placeholder(tf.int64, [])
    value = np.array([0, 1, 1, 0]).astype(dtype.as_numpy_dtype)
    got, left = natively.run(x[i], {x: value, i: 2})
    assert left == [] and got == value[2] and got.dtype == value.dtype


@pytest.mark.parametrize("index", [4, -5, 2**31 - 1])
def test_a_position_out_of_range_is_an_error(index):
    x, i = tf.placeholder(tf.float32, [2, None]), tf.placeholder(tf.int32, [])
    (dx,) = tf.gradients(x[:, i], x)
    for fetch in (x[:, i], dx):
        with (
            tf.Session(backend="native", tier="compiled") as session,
            pytest.raises(
                tf.errors.InvalidArgumentError, match=f"slice index {index} of dimension 1 out of bounds"
            ),
        ):
            session.run(fetch, {x: np.ones((2, 4)), i: index})


def test_no_elements():
    x, i = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.int32, [])
    got, left = natively.run([x[:, i], *tf.gradients(x[:, i], x)], {x: np.zeros((0, 3)), i: 1})
    assert left == [] and got[0].shape == (0,) and got[1].shape == (0, 3)
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.InvalidArgumentError, match="out of bounds"),
    ):
        session.run(x[i], {x: np.zeros((0, 3)), i: 0})


def test_a_loop_over_steps():
    x = tf.placeholder(tf.float64, [None, 5, 3])
    _, y = tf.while_loop(lambda t, _: t < 5, lambda t, a: (t + 1, tf.tanh(a + x[:, t])), [0, x[:, 0]])
    fetches = [y, *tf.gradients(y, x)]
    feeds = {x: np.random.RandomState(0).randn(2, 5, 3)}
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    got, left = natively.run(fetches, feeds, runs=2)
    assert left == []
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g, e, rtol=1e-9)
