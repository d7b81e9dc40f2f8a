"""Slices at counters of loops, whose length is known as they surely lie within: `x[i:i+2]`; and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tests.backends.native import natively


def added_up(
    take: Callable[[tf.Tensor], tf.Tensor], limit: Any, start: Any = 0, step: int = 1, **options: Any
) -> tf.Tensor:
    """The sum of a function of what is taken in each iteration, which differs for equal elements at other places."""

    def body(i: tf.Tensor, total: tf.Tensor) -> Sequence[tf.Tensor]:
        part = take(i)
        places = tf.cast(tf.range(tf.size(part)), tf.float64) + tf.cast(i, tf.float64)
        return i + step, total + tf.reduce_sum(tf.sin(part) * tf.reshape(tf.cos(places), tf.shape(part)))

    zero = tf.constant(0, tf.float64)
    return tf.while_loop(lambda i, _: i < limit, body, [start, zero], **options)[1]


def with_gradient(y: tf.Tensor, x: tf.Tensor) -> list[tf.Tensor]:
    return [y, tf.gradients(y, x)[0]]


def numbers(*shape: int) -> np.ndarray:
    return natively.random(*shape)


KEYS = [
    lambda x, i: x[i : i + 1],
    lambda x, i: x[i : i + 1, 2],
    lambda x, i: x[i : i + 1, i],
    lambda x, i: x[i : i + 1, ..., i],
    lambda x, i: x[i : 1 + i, tf.newaxis, :, 1:3],
    lambda x, i: x[i : i + 1, ::-2, 1:],
    lambda x, i: x[..., i : i + 1],
    lambda x, i: x[:, i : i + 1, :],
    lambda x, i: x[tf.newaxis, ..., i : i + 1, 2],
    lambda x, i: x[i : i + 1, i : i + 1, i : i + 1],
    lambda x, i: x[-1, i : i + 1],
    lambda x, i: x[2 - i : 3 - i],
    lambda x, i: x[2 * i - i : i + 1, 4 - 2 * i : 5 - i * 2],
    lambda x, i: tf.strided_slice(x, [0, i], [2, i + 1]),
]


@pytest.mark.parametrize("take", KEYS)
@pytest.mark.parametrize("shape", [(3, 5, 5), (4, 5, 3)])
def test_slices_and_their_gradients(take, shape):
    x = tf.placeholder(tf.float64, shape)
    natively.is_as_numpy(with_gradient(added_up(lambda i: take(x, i), 3), x), {x: numbers(*shape)})


@pytest.mark.parametrize("limit_inside", [True, False])
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_sizes_that_are_fed(limit_inside, dtype):
    x = tf.placeholder(tf.float64, [None, None])
    size = tf.shape(x, out_type=dtype)[0]
    one = tf.constant(0, dtype)
    y = tf.while_loop(
        lambda i, _: i < (tf.shape(x, out_type=dtype)[0] if limit_inside else size),
        lambda i, y: (i + 1, y + tf.reduce_sum(tf.exp(x[i : i + 1]))),
        [one, tf.constant(0, tf.float64)],
    )[1]
    feeds = [{x: numbers(*shape)} for shape in ((5, 3), (9, 2), (2, 2), (5, 1))]
    natively.is_as_numpy(with_gradient(y, x), *feeds)
    for shape in ((0, 3), (1, 3), (3, 0), (1, 1), (0, 0)):
        natively.is_as_numpy(with_gradient(y, x), {x: numbers(*shape)})


def test_another_size_compiles_nothing():
    x = tf.placeholder(tf.float64, [None, 3])
    fetches = with_gradient(added_up(lambda i: x[i : i + 1], tf.shape(x)[0]), x)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(fetches, {x: numbers(5, 3)})
        plans = len(execute._records.values())
        for size in (7, 2, 40):
            assert " 0 compiled" in str(session.explain(fetches, {x: numbers(size, 3)}))
        assert len(execute._records.values()) == plans


@pytest.mark.parametrize(
    ("length", "limit", "start", "step"),
    [(2, 10, 0, 2), (3, 8, 0, 1), (5, 10, 5, 5), (3, 10, 1, 3), (10, 1, 0, 1), (2, 9, 3, 7), (4, 0, 0, 1)],
)
def test_several_rows(length, limit, start, step):
    x = tf.placeholder(tf.float64, [10, 2])
    y = added_up(lambda i: x[i : i + length], limit, start, step)
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(10, 2)})


def test_batches():
    x = tf.placeholder(tf.float64, [12, 2])
    y = added_up(lambda i: x[i * 3 : (i + 1) * 3], 4)
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(12, 2)})


@pytest.mark.parametrize("offset", [1, 2])
def test_windows_of_a_sequence(offset):
    x = tf.placeholder(tf.float64, [None, 3])
    y = added_up(lambda i: x[i : i + offset + 1], tf.shape(x)[0] - offset)
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(8, 3)}, {x: numbers(4, 3)})


def test_what_lies_behind_the_counter():
    x = tf.placeholder(tf.float64, [None, 3])
    y = added_up(lambda i: x[i - 2 : i] * x[i - 1 : i + 1], tf.shape(x)[0], start=2)
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(8, 3)}, {x: numbers(3, 3)})


def test_a_condition_of_several_parts_and_a_limit_that_counts():
    x = tf.placeholder(tf.float64, [None, 3])
    y = tf.while_loop(
        lambda i, y: tf.logical_and(tf.less_equal(i, tf.shape(x)[0] - 1), y < 2.0),
        lambda i, y: (i + 1, y + tf.reduce_sum(tf.sigmoid(x[i : i + 1]))),
        [0, tf.constant(0, tf.float64)],
        maximum_iterations=5,
    )[1]
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(8, 3)}, {x: numbers(3, 3)})


def test_a_tensor_that_is_a_variable_of_the_loop():
    x = tf.placeholder(tf.float64, [None, 3])
    y = tf.while_loop(
        lambda i, x, y: i < tf.shape(x)[0],
        lambda i, x, y: (i + 1, x, y + tf.reduce_sum(tf.sin(x[i : i + 1]))),
        [0, x, tf.constant(0, tf.float64)],
    )[2]
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(8, 3)}, {x: numbers(3, 3)})


def test_loops_in_loops():
    x = tf.placeholder(tf.float64, [None, 4])

    def outer(i, y):
        inner = added_up(lambda j: x[i : i + 1, j : j + 1] + x[i : i + 1, 2 * j - j : j + 1], tf.shape(x)[1])
        return i + 1, y + inner * tf.reduce_sum(x[i : i + 1])

    zero = tf.constant(0, tf.float64)
    y = tf.while_loop(lambda i, _: i < tf.shape(x)[0], outer, [0, zero])[1]
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(6, 4)}, {x: numbers(3, 4)})


def test_counters_of_two_loops_together():
    x = tf.placeholder(tf.float64, [12, 2])
    zero = tf.constant(0, tf.float64)
    y = tf.while_loop(
        lambda i, _: i < 3,
        lambda i, y: (i + 1, y + added_up(lambda j: x[i * 4 + j : i * 4 + j + 1], 4)),
        [0, zero],
    )[1]
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(12, 2)})


def test_in_a_branch():
    x = tf.placeholder(tf.float64, [None, 3])
    y = added_up(
        lambda i: tf.cond(tf.equal(i % 2, 0), lambda: tf.exp(x[i : i + 1]), lambda: 2.0 * x[i : i + 1]),
        tf.shape(x)[0],
    )
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(7, 3)})


def test_rows_that_are_gathered():
    x = tf.placeholder(tf.float64, [None, 3])
    array = tf.TensorArray(tf.float64, tf.shape(x)[0])
    array = tf.while_loop(
        lambda i, _: i < tf.shape(x)[0], lambda i, a: (i + 1, a.write(i, tf.tanh(x[i : i + 1]))), [0, array]
    )[1]
    y = array.stack()
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(7, 3)}, {x: numbers(2, 3)})


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32])
def test_other_dtypes(dtype):
    x = tf.placeholder(dtype, [None, 3])
    array = tf.TensorArray(dtype, tf.shape(x)[0])
    y = tf.while_loop(
        lambda i, _: i < tf.shape(x)[0], lambda i, a: (i + 1, a.write(i, x[i : i + 1] * 2)), [0, array]
    )[1].stack()
    natively.is_as_numpy(with_gradient(y, x), {x: numbers(7, 3)})


UNPROVEN = {
    "from before the front": lambda x: added_up(lambda i: x[i : i + 1], 3, start=-2),
    "over the end": lambda x: added_up(lambda i: x[i : i + 2], 6),
    "an end of 0": lambda x: added_up(lambda i: x[i - 1 : i], 4),
    "from the end": lambda x: added_up(lambda i: x[i - 3 : i - 1], 3),
    "a step too long": lambda x: added_up(lambda i: x[i : i + 2], tf.shape(x)[0], step=2),
    "downwards": lambda x: added_up(lambda i: x[i : i + 1], 8, start=5, step=-1, maximum_iterations=6),
    "of two steps": lambda x: added_up(lambda i: x[i : i + 2 : 2], 6),
    "a start that is data": lambda x: added_up(lambda i: x[i : i + 1], 6, tf.cast(x[0, 0] * 0, tf.int32)),
    "a limit that is data": lambda x: added_up(lambda i: x[i : i + 1], tf.cast(x[0, 0] * 0 + 9, tf.int32)),
}


@pytest.mark.parametrize("name", UNPROVEN)
def test_what_may_not_lie_within_is_as_python_slices_it(name):
    x = tf.placeholder(tf.float64, [6, 2])
    fetches = with_gradient(UNPROVEN[name](x), x)
    feeds = {x: numbers(6, 2)}
    expected = natively.by_numpy(fetches, feeds)
    for tier in (None, "compiled"):
        with tf.Session(backend="native", tier=tier) as session:
            for _ in range(3):
                assert all(map(np.allclose, session.run(fetches, feeds), expected))


def test_a_limit_that_grows_with_what_the_loop_makes():
    x = tf.placeholder(tf.float64, [4, 2])
    zero = tf.constant(0, tf.float64)

    def body(i, rows, y):
        grown = tf.cond(i < 3, lambda: tf.concat([rows, rows[:1]], 0), lambda: rows)
        return i + 1, grown, y + tf.reduce_sum(x[i : i + 1]) + 1

    shapes = [tf.TensorShape([]), tf.TensorShape([None, 2]), tf.TensorShape([])]
    y = tf.while_loop(lambda i, rows, _: i < tf.shape(rows)[0], body, [0, x, zero], shapes)[2]
    value = numbers(4, 2)
    with tf.Session(backend="native", tier="compiled") as session:
        assert np.allclose(session.run(y, {x: value}), value.sum() + 7)


def test_a_step_that_is_fed():
    x, step = tf.placeholder(tf.float64, [4, 2]), tf.constant(1)
    zero = tf.constant(0, tf.float64)
    y = tf.while_loop(
        lambda i, _: i < 4, lambda i, y: (i + step, y + tf.reduce_sum(x[i + 0 : i + 1]) + 1), [0, zero]
    )[1]
    value = numbers(4, 2)
    with tf.Session(backend="native", tier="compiled") as session:
        assert np.allclose(session.run(y, {x: value}), value.sum() + 4)
        assert np.allclose(session.run(y, {x: value, step: 2}), value[::2].sum() + 2)


@pytest.mark.parametrize(("begin", "end"), [(-6, -4), (-100, -98), (-2, 0), (0, 2), (4, 6), (5, 7), (-1, 1)])
def test_an_adjoint_without_a_proof_is_as_numpy(begin, end):
    x, i = tf.placeholder(tf.float64, [6, 3]), tf.placeholder(tf.int32, [])
    dy = tf.placeholder(tf.float64, [2, 3])
    (dx,) = tf.gradients(x[i : i + (end - begin)], x, dy)
    feeds = {x: numbers(6, 3), i: begin, dy: numbers(2, 3)}
    results: list[Any] = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            try:
                results.append(session.run(dx, feeds))
            except tf.errors.InvalidArgumentError:
                results.append(None)
    expected, found = results
    assert (found is None) == (expected is None)
    assert expected is None or (found == expected).all()
