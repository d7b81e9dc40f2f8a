"""Lists that branches write, and lists of what loops in branches remember, natively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively
from tests.backends.native.loop_programs import repeated, with_gradients

F = tf.float64
RNG = np.random.RandomState(11)


@pytest.fixture(name="x")
def _x() -> Any:
    return tf.placeholder(F, [None, 3])


@pytest.fixture(name="w")
def _w() -> Any:
    return tf.placeholder(F, [3, 3])


def _feeds(x: Any, w: Any, more: dict[Any, Any] | None = None) -> list[dict[Any, Any]]:
    return [{x: RNG.randn(rows, 3), w: RNG.randn(3, 3), **(more or {})} for rows in (2, 0, 1)]


@pytest.mark.parametrize("limit", [0, 3, 9])
@pytest.mark.parametrize("writes_always", [True, False])
def test_writes_in_branches_in_a_loop(x: Any, w: Any, limit: int, writes_always: bool) -> None:
    """What a branch does not write is zero."""
    n = tf.placeholder(tf.int32, [])

    def body(i: Any, h: Any, items: Any) -> Any:
        h = tf.tanh(tf.matmul(h, w))

        def otherwise() -> Any:
            return items.write(i, tf.sin(h)) if writes_always else items

        return i + 1, h, tf.cond(i < n, lambda: items.write(i, h), otherwise)

    items = tf.TensorArray(F, 6, element_shape=[None if writes_always else 2, 3])
    _, _, items = tf.while_loop(lambda i, *_: i < 6, body, [0, x, items])
    # Where nothing was written there are zeros of a shape that must be known.
    feeds = (
        _feeds(x, w, {n: limit}) if writes_always else [{x: RNG.randn(2, 3), w: RNG.randn(3, 3), n: limit}]
    )
    natively.is_as_numpy(with_gradients(items.stack(), x, w), *feeds)


def test_writes_in_nested_branches(x: Any, w: Any) -> None:
    def body(i: Any, h: Any, items: Any) -> Any:
        h = tf.tanh(tf.matmul(h, w))
        cases = [(tf.equal(i % 3, k), lambda k=k: items.write(i, h * (k + 2.0))) for k in range(2)]
        return i + 1, h, tf.case(cases, default=lambda: items.write(i, tf.sin(h)))

    _, _, items = tf.while_loop(lambda i, *_: i < 7, body, [0, x, tf.TensorArray(F, 7)])
    natively.is_as_numpy(with_gradients(items.stack(), x, w), *_feeds(x, w))


def test_a_loop_in_a_branch_in_a_loop_writes(x: Any, w: Any) -> None:
    def body(i: Any, h: Any, items: Any) -> Any:
        h = tf.tanh(tf.matmul(h, w))

        def write() -> Any:
            return repeated(2, lambda j, a: a.write(2 * i + j, h * tf.cast(j + 1, F)), items)

        return i + 1, h, tf.cond(tf.equal(i % 2, 0), write, lambda: items)

    items = tf.TensorArray(F, 6, element_shape=[2, 3])
    _, h, items = tf.while_loop(lambda i, *_: i < 3, body, [0, x, items])
    y = items.stack()
    fetches = [y, h, *tf.gradients(tf.reduce_sum(y * y) + tf.reduce_sum(h), [x, w])]
    natively.is_as_numpy(fetches, {x: RNG.randn(2, 3), w: RNG.randn(3, 3)})


def test_only_some_iterations_write(x: Any, w: Any) -> None:
    """As many items as there are come first."""

    def body(i: Any, count: Any, h: Any, items: Any) -> Any:
        h = tf.tanh(tf.matmul(h, w))
        keeps = tf.reduce_sum(h) > 0.0
        count, items = tf.cond(keeps, lambda: (count + 1, items.write(count, h)), lambda: (count, items))
        return i + 1, count, h, items

    items = tf.TensorArray(F, 8, element_shape=[2, 3])
    _, count, _, items = tf.while_loop(lambda i, *_: i < 8, body, [0, 0, x, items])
    feeds = [{x: RNG.randn(2, 3), w: RNG.randn(3, 3)} for _ in range(3)]
    natively.is_as_numpy([count, *with_gradients(items.stack(), x, w)], *feeds)


@pytest.mark.parametrize("is_true", [True, False])
def test_writes_in_a_branch_of_the_run(x: Any, is_true: bool) -> None:
    p = tf.placeholder(tf.bool, [])
    items = tf.TensorArray(F, 2).write(0, x)
    more = tf.cond(p, lambda: items.write(1, tf.exp(x)), lambda: items.write(1, x * 3.0))
    fresh = tf.TensorArray(F, 3, element_shape=[2, 3])
    one = tf.cond(p, lambda: fresh.write(1, x), lambda: fresh.write(2, x + 1.0))
    fetches = [more.read(0) * more.read(1), one.read(1)]
    natively.is_as_numpy(fetches, {x: RNG.randn(2, 3), p: is_true})


@pytest.mark.parametrize("is_true", [True, False])
def test_gradients_of_loops_in_branches(x: Any, w: Any, is_true: bool) -> None:
    """Each branch begins its own list of what it remembers."""
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(
        p,
        lambda: repeated(3, lambda _, h: tf.tanh(tf.matmul(h, w)), x),
        lambda: repeated(5, lambda _, h: tf.sin(tf.matmul(h, w)) * h, x),
    )
    first = with_gradients(y, x, w)
    second = tf.gradients(tf.reduce_sum(tf.square(first[1])), [x, w])
    natively.is_as_numpy(first, *_feeds(x, w, {p: is_true}))
    with tf.Session(backend="native", tier="compiled") as native, tf.Session(backend="numpy") as reference:
        feeds = _feeds(x, w, {p: is_true})[0]
        for _ in range(2):
            for a, b in zip(native.run(second, feeds), reference.run(second, feeds)):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_loops_and_branches_in_each_other(x: Any, w: Any) -> None:
    def inner(j: Any, h: Any) -> Any:
        return tf.cond(
            tf.reduce_sum(h) > 0.0,
            lambda: repeated(2, lambda _, h: tf.tanh(tf.matmul(h, w)), h),
            lambda: tf.cond(j > 1, lambda: repeated(3, lambda _, h: h * tf.sin(h + 0.3), h), lambda: h * 1.3),
        )

    def outer(i: Any, h: Any) -> Any:
        return tf.cond(tf.equal(i, 1), lambda: tf.sin(h) * h, lambda: repeated(4, inner, h))

    natively.is_as_numpy(with_gradients(repeated(3, outer, x), x, w), *_feeds(x, w))


def test_a_loop_over_constants_in_a_branch(x: Any) -> None:
    """Nothing that the branch takes has a gradient, and yet a list goes through it."""

    def factor() -> Any:
        return tf.reduce_sum(repeated(3, lambda _, c: tf.tanh(c * 1.1), tf.ones([3], F)))

    y = repeated(4, lambda i, h: h * tf.cond(tf.equal(i % 2, 0), factor, lambda: tf.constant(1.5, F)), x)
    natively.is_as_numpy(with_gradients(y, x), {x: RNG.randn(2, 3)}, {x: RNG.randn(0, 3)})


@pytest.mark.parametrize("is_true", [True, False])
def test_an_array_from_either_branch(x: Any, is_true: bool) -> None:
    """Of different lengths: NumPy takes what the branch that was taken has made."""
    p = tf.placeholder(tf.bool, [])

    def squares(count: int) -> Any:
        items = tf.TensorArray(F, count, element_shape=[2, 3])
        return repeated(count, lambda i, a: a.write(i, x * tf.cast(i * i, F)), items)

    items = tf.cond(p, lambda: squares(4), lambda: squares(2))
    feeds = {x: RNG.randn(2, 3), p: is_true}
    natively.is_as_numpy([items.stack()], feeds, hosts=("_ListOf", "TensorListLength", "TensorListStack"))


def test_errors_in_branches(x: Any) -> None:
    """Writing twice, and behind the end; a run after that is as any other."""
    at = tf.placeholder(tf.int32, [])

    def body(i: Any, items: Any) -> Any:
        return i + 1, tf.cond(i > 1, lambda: items.write(at, x), lambda: items.write(i, x * 2.0))

    _, items = tf.while_loop(lambda i, _: i < 3, body, [0, tf.TensorArray(F, 3)])
    y = items.stack()
    with tf.Session(backend="native", tier="compiled") as session:
        for _ in range(3):
            expected = np.array([[[2.0] * 3], [[2.0] * 3], [[1.0] * 3]])
            assert natively.same(session.run(y, {x: np.ones((1, 3)), at: 2}), expected)
            with pytest.raises(tf.errors.InvalidArgumentError, match="index 1 because it has already been"):
                session.run(y, {x: np.ones((1, 3)), at: 1})
            with pytest.raises(tf.errors.InvalidArgumentError, match="index 3 but array is not resizeable"):
                session.run(y, {x: np.ones((1, 3)), at: 3})


@pytest.mark.parametrize("where", ["alone", "in a loop", "in a loop that reads it, too"])
def test_the_gradient_of_an_array_that_one_branch_reads(x: Any, where: str) -> None:
    """That branch gives a list of one item; where it is not added to another in the loop, the gradient is NumPy's."""
    n, rows = tf.placeholder(tf.int32, []), tf.placeholder(F, [4, None, 3])
    inputs = tf.TensorArray(F, 4, clear_after_read=False).unstack(rows)

    def step(i: Any, h: Any) -> Any:
        h = tf.cond(tf.equal(i % 2, 0), lambda: tf.sin(h), lambda: tf.tanh(h + inputs.read(i)))
        return h * inputs.read(i) if where.endswith("too") else h

    y = step(n, x) if where == "alone" else repeated(n, step, x)
    for size, count in ((2, 3), (1, 0)):
        feed = {x: RNG.randn(size, 3), rows: RNG.randn(4, size, 3), n: count}
        natively.is_as_numpy_somehow(with_gradients(y, x, rows), feed)
