"""Reshapes of which only exact sizes tell whether they keep all elements: views, once that was looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr import errors
from tests.backends.native import natively


def in_a_loop(x: Any) -> Any:
    """There and back, three times."""
    return tf.while_loop(
        lambda i, a: i < 3,
        lambda i, a: (i + 1, a + tf.reshape(tf.reshape(a, [8, 9]) * 2, tf.shape(a))),
        [0, x],
    )[1]


def in_a_branch(x: Any) -> Any:
    """With a branch that is taken, and one that is not."""
    return tf.cond(
        tf.reduce_sum(x) > -1, lambda: tf.reshape(x, [8, 9]) * 2, lambda: tf.reshape(x, [8, 9]) + 1
    )


RESHAPES: dict[str, Callable[[Any], Any]] = {
    "as many rows as the program says": lambda x: tf.tanh(tf.reshape(tf.exp(x), [6, 3, 4])),
    "to a vector": lambda x: tf.reshape(x + 1, [72]) * 2,
    "a size that is open": lambda x: tf.reshape(tf.exp(x), [-1, 9]) + 1,
    "across": lambda x: tf.reduce_sum(tf.reshape(tf.transpose(x * 2), [3, 24]), 1),
    "a sum's gradient": lambda x: tf.gradients(tf.exp(tf.reshape(x, [6, 3, 4])), x)[0],
    "fetched": lambda x: tf.reshape(tf.exp(x), [2, 36]),
    "in a loop": in_a_loop,
    "in a branch": in_a_branch,
}


@pytest.mark.parametrize("made", RESHAPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_as_many_elements(made: str, dtype: str) -> None:
    x = tf.placeholder(dtype, [None, 12])
    fetch = RESHAPES[made](x)
    feeds = {x: np.random.default_rng(0).uniform(size=[6, 12])}
    found, hosts = natively.run(fetch, feeds)
    assert not hosts
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetch, feeds)
    assert found.shape == expected.shape
    np.testing.assert_allclose(
        found.astype("f"), expected.astype("f"), rtol=1e-5 if dtype == "float32" else 0.05
    )


@pytest.mark.parametrize("made", RESHAPES)
@pytest.mark.parametrize("rows", [0, 1, 5, 7])
def test_not_as_many(made: str, rows: int) -> None:
    """The error is NumPy's, and a run that fits is native all the same."""
    x = tf.placeholder(tf.float32, [None, 12])
    fetch = RESHAPES[made](x)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(fetch, {x: np.ones([6, 12])})
        if made == "a size that is open" and rows * 12 % 9 == 0:
            assert session.run(fetch, {x: np.ones([rows, 12])}).size == rows * 12
            return
        with pytest.raises(errors.InvalidArgumentError, match=f"a tensor with {rows * 12} values"):
            session.run(fetch, {x: np.ones([rows, 12])})
        session.run(fetch, {x: np.ones([6, 12])})
        assert not session.explain(fetch, {x: np.ones([6, 12])}).boundaries


def test_training_where_no_shape_is_given() -> None:
    """The gradient of a weight has as many rows as what is fed has columns, and only the feed says how many."""
    x, y = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    weights, bias = tf.Variable(np.ones([2, 3], np.float32)), tf.Variable(tf.zeros([3]))
    model = tf.nn.softmax(tf.nn.relu(tf.matmul(x, weights) + bias))
    cost = tf.reduce_mean(-tf.reduce_sum(y * tf.log(model), axis=1))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(cost)
    random = np.random.default_rng(0)
    feeds = {x: random.uniform(size=[6, 2]), y: np.eye(3)[[0, 1, 2, 0, 1, 2]]}
    costs: list[Any] = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            costs.append([session.run([cost, train], feeds)[0] for _ in range(5)])
            assert backend == "numpy" or not session.explain([cost, train], feeds).boundaries
            with pytest.raises(errors.InvalidArgumentError):
                session.run(train, {x: random.uniform(size=[6, 5]), y: feeds[y]})
    np.testing.assert_allclose(*costs, rtol=1e-5)
