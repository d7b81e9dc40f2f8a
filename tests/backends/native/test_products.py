"""Matrix products in plans: batches that are rows of one product."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively

RNG = np.random.RandomState(3)


def _same_as_numpy(fetches, feeds) -> None:
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    got, hosts = natively.run(fetches, feeds)
    assert hosts == []
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shape", [(3, 5, 4), (6, 1, 4), (0, 5, 4), (3, 0, 4), (2, 3, 1, 4)])
@pytest.mark.parametrize("is_static", [False, True])
def test_one_matrix_for_a_whole_batch(shape, is_static):
    x, w = tf.placeholder(tf.float32, shape if is_static else None), tf.placeholder(tf.float32, [4, 6])
    if not is_static:
        x.set_shape([None] * len(shape))
    bias = tf.placeholder(tf.float32, [6])
    product = tf.nn.relu(tf.matmul(x, tf.broadcast_to(w, [*shape[:-2], 4, 6])) + bias)
    _same_as_numpy(product, {x: RNG.randn(*shape), w: RNG.randn(4, 6), bias: RNG.randn(6)})
