"""Arrays that a loop writes and reads, as tables of dynamic programming are, and their gradients, natively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively
from tests.backends.native.loop_programs import with_gradients

F = tf.float64
RNG = np.random.RandomState(3)


def _table(first: list[Any], count: int, rule: Any) -> Any:
    """Some first items, and those that a rule makes of the array and the number of the next one."""
    items = tf.TensorArray(F, count, clear_after_read=False)
    for i, item in enumerate(first):
        items = items.write(i, item)

    def body(i: Any, items: Any) -> Any:
        return i + 1, items.write(i, rule(i, items))

    return tf.while_loop(lambda i, _: i < count, body, [len(first), items])[1]


@pytest.mark.parametrize("rows", [2, 1, 0])
@pytest.mark.parametrize("result", ["all", "last", "both"])
def test_an_item_follows_from_those_before_it(rows: int, result: str) -> None:
    x, w = tf.placeholder(F, [None, 3]), tf.placeholder(F, [3, 3])
    items = _table(
        [x, x * 2.0], 9, lambda i, items: tf.tanh(tf.matmul(items.read(i - 1), w) + items.read(i - 2))
    )
    y = {"all": items.stack, "last": lambda: items.read(8), "both": lambda: items.stack() + items.read(8)}
    natively.is_as_numpy(with_gradients(y[result](), x, w), {x: RNG.randn(rows, 3), w: RNG.randn(3, 3)})


def test_the_gradient_of_a_gradient_through_a_table() -> None:
    x = tf.placeholder(F, [None, 3])
    y = _table([x], 5, lambda i, items: tf.sin(items.read(i - 1) * 1.1)).stack()
    (dx,) = tf.gradients(tf.reduce_sum(y * y), x)
    feeds = {x: RNG.randn(2, 3)}
    (second,) = tf.gradients(tf.reduce_sum(dx * dx), x)
    with tf.Session(backend="native", tier="compiled") as native, tf.Session(backend="numpy") as reference:
        for _ in range(2):
            np.testing.assert_allclose(native.run(second, feeds), reference.run(second, feeds), rtol=1e-9)


def test_a_table_of_two_dimensions() -> None:
    """The path of least effort, softly: rows and columns are loops, and each place reads three others."""
    cost = tf.placeholder(F, [4, 5])
    table = tf.TensorArray(F, 30, clear_after_read=False, element_shape=[])
    far = tf.constant(50.0, F)
    for i in range(5):
        table = table.write(6 * i, far if i else far * 0.0)
    for j in range(1, 6):
        table = table.write(j, far)

    def row(i: Any, table: Any) -> Any:
        def place(j: Any, table: Any) -> Any:
            before = [table.read(6 * i + j - 1), table.read(6 * (i - 1) + j), table.read(6 * (i - 1) + j - 1)]
            least = -tf.reduce_logsumexp(-tf.stack(before))
            return j + 1, table.write(6 * i + j, cost[i - 1][j - 1] + least)

        return i + 1, tf.while_loop(lambda j, _: j < 6, place, [1, table])[1]

    table = tf.while_loop(lambda i, _: i < 5, row, [1, table])[1]
    natively.is_as_numpy(with_gradients(table.read(29), cost), *({cost: RNG.rand(4, 5)} for _ in range(2)))


def test_an_item_that_is_not_there_yet() -> None:
    """A run after the error is as any other."""
    x, back = tf.placeholder(F, [None, 3]), tf.placeholder(tf.int32, [])
    y = _table([x], 5, lambda i, items: items.read(i - back) * 2.0).stack()
    fetches = with_gradients(y, x)
    with tf.Session(backend="native", tier="compiled") as session:
        for _ in range(3):
            assert session.run(fetches, {x: np.ones((1, 3)), back: 1})[0][4].tolist() == [[16.0] * 3]
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="Could not read from TensorArray index 1"
            ):
                session.run(fetches, {x: np.ones((1, 3)), back: 0})
