"""Matrix products in plans: batches that are rows of one product."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tests.backends.native import natively

RNG = np.random.RandomState(3)


def _same_as_numpy(fetches, feeds) -> None:
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    got, hosts = natively.run(fetches, feeds)
    assert hosts == []
    pairs = zip(got, expected, strict=True) if isinstance(fetches, list) else [(got, expected)]
    for actual, reference in pairs:
        np.testing.assert_allclose(actual, reference, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shape", [(3, 5, 4), (6, 1, 4), (0, 5, 4), (3, 0, 4), (2, 3, 1, 4)])
@pytest.mark.parametrize("is_static", [False, True])
def test_one_matrix_for_a_whole_batch(shape, is_static):
    x, w = tf.placeholder(tf.float32, shape if is_static else None), tf.placeholder(tf.float32, [4, 6])
    if not is_static:
        x.set_shape([None] * len(shape))
    bias = tf.placeholder(tf.float32, [6])
    product = tf.nn.relu(tf.matmul(x, tf.broadcast_to(w, [*shape[:-2], 4, 6])) + bias)
    _same_as_numpy(product, {x: RNG.randn(*shape), w: RNG.randn(4, 6), bias: RNG.randn(6)})


# ---------------------------------------------------------------- what is left to nests


def _products() -> list[tuple[str, int]]:
    """The titles of all products that were compiled, and how many arrays each of them stores."""
    native = (record.native for record in execute._records.values() if record.native)
    calls = (call for plan in native for segment in plan.segments for call in segment.calls)
    return [(call.title, len(call.writes)) for call in calls if "MatMul" in call.title]


def _normalized(x, scale):
    mean, variance = tf.nn.moments(x, [1], keep_dims=True)
    return (x - mean) * tf.rsqrt(variance + 1e-3) * scale


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_what_only_nests_use_is_computed_by_them(rows):
    """The gradient of a normalization is all sums: the product before it is stored, and nothing made of it."""
    x, t = tf.placeholder(tf.float32, [None, 20]), tf.placeholder(tf.float32, [None, 30])
    scale, w = tf.placeholder(tf.float32, [20]), tf.placeholder(tf.float32, [20, 30])
    loss = tf.reduce_sum(tf.matmul(_normalized(x, scale), w) * t)
    gradients = tf.gradients(loss, [x, scale])
    feeds = {x: RNG.randn(rows, 20), t: RNG.randn(rows, 30), scale: RNG.randn(20), w: RNG.randn(20, 30)}
    _same_as_numpy(gradients, feeds)
    if rows != 1:  # sums of one row are no sums
        assert _products() == [("MatMul", 1)]


def test_the_gradient_of_a_softmax_reads_one_product():
    q, k = tf.placeholder(tf.float32, [None, 6, 4]), tf.placeholder(tf.float32, [None, 6, 4])
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True))
    gradients = tf.gradients(tf.reduce_sum(tf.square(tf.matmul(weights, k))), [q])
    _same_as_numpy(gradients, {q: RNG.randn(5, 6, 4), k: RNG.randn(5, 6, 4)})
    assert all(stored == 1 for _, stored in _products())


def test_what_a_product_reads_stays_in_the_epilogue():
    x, w = tf.placeholder(tf.float32, [None, 8]), tf.placeholder(tf.float32, [8, 8])
    hidden = tf.nn.relu(tf.matmul(x, w))
    _same_as_numpy([tf.matmul(hidden, w), tf.reduce_sum(hidden, 0)], {x: RNG.randn(9, 8), w: RNG.randn(8, 8)})
    assert ("MatMul Relu", 1) in _products()


def test_not_a_number_and_infinity_in_what_is_left_to_nests():
    x, w, s = (tf.placeholder(tf.float32, shape) for shape in ([None, 4], [4, 4], [4]))
    y = tf.matmul(x, w)
    fetches = [tf.reduce_sum(y, 0), tf.reduce_max(y * s, 1)]
    rows = np.array([[1, 2, 3, 4], [np.nan, 0, 0, 1], [np.inf, 1, 1, 1]], np.float32)
    _same_as_numpy(fetches, {x: rows, w: np.eye(4), s: RNG.randn(4)})
    assert _products() == [("MatMul", 1)]
