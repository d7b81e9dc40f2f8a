"""Loops in loops with their gradients, natively: what the inner iterations remember lies on one stack.

Each must be a single native segment, and give what the reference backend gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively
from tests.backends.native.loop_programs import repeated, with_gradients

F = tf.float64
RNG = np.random.RandomState(7)


@pytest.fixture(name="x")
def _x() -> Any:
    return tf.placeholder(F, [None, 3])


@pytest.fixture(name="w")
def _w() -> Any:
    return tf.placeholder(F, [3, 3])


def _feeds(x: Any, w: Any) -> list[dict[Any, Any]]:
    return [{x: RNG.randn(rows, 3), w: RNG.randn(3, 3)} for rows in (2, 0, 1)]


def test_three_levels(x: Any, w: Any) -> None:
    def inner(_: Any, h: Any) -> Any:
        return tf.tanh(tf.matmul(h, w) + 0.1)

    y = repeated(4, lambda i, h: tf.sin(repeated(3, lambda j, h: repeated(2, inner, h) * 1.1, h)), x)
    natively.is_as_numpy(with_gradients(y, x, w), *_feeds(x, w))


@pytest.mark.parametrize("counts", [[2, 0, 5, 1], [0, 0, 0, 0], [9, 9, 9, 9]])
def test_as_many_inner_iterations_as_data_says(x: Any, w: Any, counts: list[int]) -> None:
    """There is room for as many as there may be at most."""
    n = tf.placeholder(tf.int32, [None])
    y = repeated(
        4,
        lambda i, h: 1.5 * repeated(tf.minimum(n[i], 5), lambda _, h: tf.tanh(tf.matmul(h, w)), h),
        x,
    )
    natively.is_as_numpy(with_gradients(y, x, w), *({**feed, n: counts} for feed in _feeds(x, w)))


@pytest.mark.parametrize(("outer", "inner"), [(0, 3), (3, 0), (1, 1), (9, 9)])
def test_fed_numbers_of_iterations(x: Any, w: Any, outer: int, inner: int) -> None:
    n, m = tf.placeholder(tf.int32, []), tf.placeholder(tf.int32, [])

    def step(_: Any, h: Any) -> Any:
        return repeated(tf.minimum(m, 4), lambda _, h: tf.tanh(tf.matmul(h, w)), h)

    y = repeated(tf.minimum(n, 5), step, x)
    natively.is_as_numpy(with_gradients(y, x, w), *({**feed, n: outer, m: inner} for feed in _feeds(x, w)))


def test_sizes_that_are_fed(w: Any) -> None:
    """Further sizes need nothing compiled anew."""
    x = tf.placeholder(F, [None, None, 3])
    size = tf.shape(x)[1]
    y = repeated(
        size, lambda i, h: repeated(size, lambda _, h: tf.tanh(tf.matmul(h, w) + x[:, i]), h) * 1.3, x[:, 0]
    )
    feeds = [{x: RNG.randn(*shape, 3), w: RNG.randn(3, 3)} for shape in ((2, 4), (1, 2), (0, 3), (5, 7))]
    natively.is_as_numpy(with_gradients(y, x, w), *feeds)


def test_an_array_that_the_inner_loop_writes(x: Any, w: Any) -> None:
    def step(_: Any, h: Any) -> Any:
        def write(j: Any, h: Any, items: Any) -> Any:
            h = tf.tanh(tf.matmul(h, w))
            return j + 1, h, items.write(j, h)

        _, h, items = tf.while_loop(lambda j, *_: j < 4, write, [0, h, tf.TensorArray(F, 4)])
        return h + tf.reduce_max(items.stack(), 0)

    y = repeated(3, step, x)
    natively.is_as_numpy(with_gradients(y, x, w), *_feeds(x, w)[::2])


def test_an_array_whose_items_the_inner_loop_reads(w: Any) -> None:
    """It is made of a tensor in each outer iteration, and again on the way back."""
    x = tf.placeholder(F, [None, 4, 5, 3])
    words = tf.transpose(x, [1, 2, 0, 3])

    def word(i: Any, h: Any) -> Any:
        letters = tf.TensorArray(F, 5).unstack(words[i])
        return tf.sin(repeated(5, lambda j, h: tf.tanh(tf.matmul(h, w) + letters.read(j)), h))

    y = repeated(4, word, tf.zeros([tf.shape(x)[0], 3], F))
    feeds = [{x: RNG.randn(rows, 4, 5, 3), w: RNG.randn(3, 3)} for rows in (2, 1, 0)]
    natively.is_as_numpy(with_gradients(y, x, w), *feeds)


def test_a_scan_in_a_map(w: Any) -> None:
    x = tf.placeholder(F, [None, 5, 3])

    def scanned(rows: Any) -> Any:
        return tf.scan(lambda s, r: tf.tanh(tf.reshape(tf.matmul(s[None], w), [3]) + r), rows)[-1]

    feeds = [{x: RNG.randn(rows, 5, 3), w: RNG.randn(3, 3)} for rows in (4, 1, 2)]
    natively.is_as_numpy(with_gradients(tf.map_fn(scanned, x), x, w), *feeds)


def test_scans_over_what_a_map_made(w: Any) -> None:
    """Their lists begin alike, and each sets its first item."""
    x = tf.placeholder(F, [None, 4, 3])
    mapped = tf.map_fn(lambda rows: tf.scan(lambda s, r: tf.tanh(s + r), tf.matmul(rows, w))[-1], x)
    y = tf.scan(lambda s, r: tf.tanh(s * r), mapped) + tf.scan(lambda s, r: tf.sin(s + r), mapped)
    feeds = [{x: RNG.randn(n, 4, 3), w: RNG.randn(3, 3)} for n in (3, 1, 2)]
    natively.is_as_numpy(with_gradients(y, x, w), *feeds)


def test_a_recurrent_net_in_a_map() -> None:
    """Its outputs are not taken: nothing is kept for their gradients."""
    x, lengths = tf.placeholder(F, [None, 4, 6, 3]), tf.placeholder(tf.int32, [None, 4])
    cell = tf.nn.rnn_cell.GRUCell(3, kernel_initializer=tf.constant_initializer(0.1), dtype=F)
    cell.build(tf.TensorShape([None, 3]))

    def state_of(given: Any) -> Any:
        return tf.nn.dynamic_rnn(cell, given[0], given[1], dtype=F)[1]

    states = tf.map_fn(state_of, (tf.transpose(x, [1, 0, 2, 3]), tf.transpose(lengths)), dtype=F)
    feeds = [{x: RNG.randn(n, 4, 6, 3), lengths: RNG.randint(0, 7, (n, 4))} for n in (3, 1, 8)]
    loss = tf.reduce_sum(tf.square(states))
    fetches = [states, *tf.gradients(loss, [x, *tf.trainable_variables()])]
    with tf.Session(backend="numpy") as reference, tf.Session(backend="native", tier="compiled") as session:
        for each in (reference, session):
            each.run(tf.global_variables_initializer())
        for feed in feeds:
            for _ in range(2):
                for found, expected in zip(session.run(fetches, feed), reference.run(fetches, feed)):
                    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        assert not session.explain(fetches, feeds[0]).boundaries


def test_the_gradient_of_a_gradient_through_a_loop(x: Any, w: Any) -> None:
    """What was popped in the first is pushed in the second, on a list that is empty at first."""
    y = repeated(4, lambda _, h: tf.tanh(tf.matmul(h, w)), x)
    (dx,) = tf.gradients(tf.reduce_sum(y * y), x)
    natively.is_as_numpy(with_gradients(dx, x, w), *_feeds(x, w))


def test_steps_of_descent_through_which_a_gradient_goes(x: Any, w: Any) -> None:
    """A net that learns in a loop, for each of several tasks, and learns how to begin."""
    tasks = tf.placeholder(F, [None, 2, 3])

    def learnt(task: Any) -> Any:
        def error(v: Any) -> Any:
            return tf.reduce_mean(tf.square(tf.tanh(tf.matmul(task, v)) - 0.5))

        return error(repeated(3, lambda _, v: v - 0.1 * tf.gradients(error(v), v)[0], w))

    y = tf.map_fn(learnt, tasks)
    feeds = [{tasks: RNG.randn(n, 2, 3), w: RNG.randn(3, 3)} for n in (3, 1)]
    natively.is_as_numpy([y, *tf.gradients(tf.reduce_sum(y), w)], *feeds)


def test_as_many_inner_iterations_as_outer_ones_so_far(x: Any, w: Any) -> None:
    y = repeated(5, lambda i, h: 1.3 * repeated(i, lambda _, h: tf.tanh(tf.matmul(h, w)), h), x)
    natively.is_as_numpy(with_gradients(y, x, w), *_feeds(x, w))


def test_folds_from_both_ends() -> None:
    x = tf.placeholder(F, [None, 4, 3])

    def folded(a: Any, rows: Any) -> Any:
        return tf.foldr(lambda b, row: tf.tanh(b * row), rows, initializer=a)

    y = tf.foldl(folded, x, initializer=tf.ones([3], F))
    natively.is_as_numpy(with_gradients(y, x), *({x: RNG.randn(n, 4, 3)} for n in (3, 1, 2)))


def test_branches_in_inner_loops(x: Any, w: Any) -> None:
    """What a branch remembers is pushed, or the place is left as it is."""

    def inner(i: Any, j: Any, h: Any) -> Any:
        return tf.case(
            [
                (tf.equal((i + j) % 3, 0), lambda: tf.tanh(tf.matmul(h, w))),
                (tf.equal((i + j) % 3, 1), lambda: tf.sin(h) * h),
            ],
            default=lambda: h * 1.1,
        )

    y = repeated(4, lambda i, h: repeated(3, lambda j, h: inner(i, j, h), h), x)
    natively.is_as_numpy(with_gradients(y, x, w), *_feeds(x, w))


def test_two_gradients_of_one_loop(x: Any, w: Any) -> None:
    """Both pop what was pushed once."""

    def step(_: Any, h: Any) -> Any:
        return repeated(3, lambda _, h: tf.tanh(tf.matmul(h, w)), h)

    y = repeated(4, step, x)
    natively.is_as_numpy(with_gradients(y, x, w) + with_gradients(tf.sin(y), x, w), *_feeds(x, w))


def test_the_gradient_of_a_gradient_through_nested_loops(x: Any, w: Any) -> None:
    y = repeated(2, lambda i, h: repeated(3, lambda _, h: tf.tanh(tf.matmul(h, w)), h), x)
    first = tf.gradients(tf.reduce_sum(y * y), [x, w])
    second = tf.gradients(sum(tf.reduce_sum(g * g) for g in first), [x, w])
    natively.is_as_numpy([*first, *second], *_feeds(x, w))


def test_gradients_inside_of_a_loop_and_through_it(w: Any) -> None:
    """A net with a loop that learns in a loop, for each of several tasks."""
    tasks = tf.placeholder(F, [None, 2, 3])

    def learnt(task: Any) -> Any:
        def error(v: Any) -> Any:
            return tf.reduce_sum(tf.square(repeated(3, lambda _, h: tf.tanh(tf.matmul(h, v)), task)))

        return error(repeated(2, lambda _, v: v - 0.1 * tf.gradients(error(v), v)[0], w))

    y = tf.map_fn(learnt, tasks)
    feeds = [{tasks: RNG.randn(n, 2, 3), w: RNG.randn(3, 3)} for n in (3, 1)]
    natively.is_as_numpy([y, *tf.gradients(tf.reduce_sum(y), [w, tasks])], *feeds)


def test_a_loop_over_fewer_than_no_items(x: Any) -> None:
    """A bound that is negative, where something is in the list before."""
    count = tf.shape(x)[0] - 5

    def write(i: Any, items: Any) -> Any:
        return i + 1, items.write(i, x[i] * 2.0)

    first = tf.TensorArray(F, 0, dynamic_size=True, element_shape=[3])
    items = tf.while_loop(lambda i, _: i < count, write, [0, first])[1]
    y = repeated(3, lambda i, h: repeated(count, lambda j, h: tf.tanh(h * x), h), x)
    with tf.Session(backend="numpy") as reference, tf.Session(backend="native", tier="compiled") as session:
        for rows in (9, 2, 3):
            feeds = {x: RNG.randn(rows, 3)}
            fetches = [*with_gradients(y, x), items.size()]
            for _ in range(2):
                for found, expected in zip(session.run(fetches, feeds), reference.run(fetches, feeds)):
                    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_an_error_in_an_inner_iteration(x: Any, w: Any) -> None:
    """A run after it is as any other."""
    items = tf.TensorArray(F, 4).unstack(tf.ones([4, 1, 3], F))
    n = tf.placeholder(tf.int32, [])
    y = repeated(3, lambda i, h: repeated(2, lambda j, h: tf.tanh(h * items.read(i + j + n)), h), x)
    fetches = with_gradients(y, x)
    with tf.Session(backend="native", tier="compiled") as session:
        for _ in range(3):
            found = session.run(fetches, {x: np.ones((2, 3)), n: 0})
            with pytest.raises(tf.errors.InvalidArgumentError, match="index 4 but array size is: 4"):
                session.run(fetches, {x: np.ones((2, 3)), n: 1})
            again = session.run(fetches, {x: np.ones((2, 3)), n: 0})
            assert all(natively.same(a, b) for a, b in zip(found, again))
