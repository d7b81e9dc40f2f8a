"""Conditionals run natively: with the results of the reference backend, and of one branch only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively

RNG = np.random.RandomState(3)


def _same_as_numpy(fetches, feeds) -> list:
    """The native results, which are NumPy's, for one thread and for several."""
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    found = []
    for threads in (1, 4):
        got, left = natively.run(fetches, feeds, threads=threads, runs=2)
        assert left == []
        found.append(got)
    for g, other, e in zip(*found, expected):
        assert natively.same(g, other)
        assert g.dtype == e.dtype and g.shape == e.shape
        np.testing.assert_allclose(g.astype(np.float64), e.astype(np.float64), rtol=2e-5, atol=2e-5)
    return found[0]


@pytest.mark.parametrize("is_true", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_the_results_of_the_branch_that_is_taken(is_true, rows):
    x, p = tf.placeholder(tf.float32, [None, 40]), tf.placeholder(tf.bool, [])
    y, z = tf.cond(
        p, lambda: (tf.tanh(x) * 2.0, tf.reduce_sum(x)), lambda: (tf.nn.softmax(x) + 1.0, tf.constant(7.0))
    )
    _same_as_numpy([y, z, tf.reduce_sum(y * z)], {x: RNG.randn(rows, 40), p: is_true})


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64, tf.int32, tf.bool])
def test_dtypes(dtype):
    x, p = tf.placeholder(dtype, [3, None]), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.concat([x, x], 1), lambda: tf.concat([x[::-1], x], 1))
    for is_true in (True, False):
        _same_as_numpy([y], {x: np.arange(6).reshape(3, 2).astype(dtype.as_numpy_dtype), p: is_true})


def test_nan_and_infinity_pass():
    x, p = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: x * 0.0, lambda: x)
    for is_true in (True, False):
        _same_as_numpy([y], {x: [np.nan, np.inf, -np.inf, -0.0], p: is_true})


def test_results_that_are_captures_views_and_parts():
    x, p = tf.placeholder(tf.float32, [4, 3]), tf.placeholder(tf.bool, [])
    shared = tf.exp(x)

    def then():
        made = tf.sin(tf.concat([shared, x], 0))
        return made[:4], made[4:], shared, tf.transpose(made[:3, :])

    y = tf.cond(p, then, lambda: (x, x, tf.reverse(x, [0]), tf.ones([3, 3])))
    for is_true in (True, False):
        _same_as_numpy(list(y), {x: RNG.randn(4, 3), p: is_true})


def test_a_case_of_many():
    x, i = tf.placeholder(tf.float64, [5]), tf.placeholder(tf.int32, [])
    pairs = [(tf.equal(i, k), lambda k=k: x * float(k)) for k in range(4)]
    y = tf.case(pairs, default=lambda: -x, exclusive=False)
    for k in range(6):
        (got,) = _same_as_numpy([y], {x: np.arange(5.0), i: k})
        np.testing.assert_array_equal(got, np.arange(5.0) * (k if k < 4 else -1))


def test_a_branch_in_a_loop_and_a_loop_in_a_branch():
    x, n = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.int32, [])

    def squared(a):
        return tf.while_loop(lambda j, _: j < 2, lambda j, b: (j + 1, b * b), [0, a])[1]

    def body(i, a):
        return i + 1, tf.cond(
            i < 3, lambda: tf.cond(i < 1, lambda: squared(a), lambda: a + x), lambda: tf.tanh(a)
        )

    results = tf.while_loop(lambda i, _: i < n, body, [0, x])
    for count in (0, 1, 2, 5):
        _same_as_numpy(results, {x: RNG.randn(2, 3), n: count})


def test_only_the_branch_that_is_taken_runs():
    x, i, p = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.int32, [2]), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.gather(x, i) + 1.0, lambda: tf.zeros([2]))
    feeds = {x: np.arange(4.0), i: [1, 9]}
    with tf.Session(backend="native", tier="compiled") as session:
        for _ in range(3):
            assert not session.run(y, {**feeds, p: False}).any()
            with pytest.raises(tf.errors.InvalidArgumentError, match="9 is not in"):
                session.run(y, {**feeds, p: True})
        np.testing.assert_array_equal(session.run(y, {**feeds, i: [1, 3], p: True}), [2.0, 4.0])


def test_a_variable_without_a_value_in_the_other_branch():
    x, p = tf.placeholder(tf.float32, [3]), tf.placeholder(tf.bool, [])
    with tf.variable_scope("v"):
        v, w = tf.get_variable("v", [3]), tf.get_variable("w", [3], initializer=tf.ones_initializer())
    y = tf.cond(p, lambda: x * v, lambda: x * w)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(w.initializer)
        for _ in range(3):
            np.testing.assert_array_equal(session.run(y, {x: [1.0, 2.0, 3.0], p: False}), [1.0, 2.0, 3.0])
            with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value v/v"):
                session.run(y, {x: [1.0, 2.0, 3.0], p: True})
        v.load([2.0, 2.0, 2.0], session)
        for _ in range(3):
            np.testing.assert_array_equal(session.run(y, {x: [1.0, 2.0, 3.0], p: True}), [2.0, 4.0, 6.0])


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_variable_is_initialized_with_that_of_another_which_may_have_none(use_resource):
    """NumPy asks whether it has a value; a branch, which is native, would be handed what is not there."""
    v = tf.get_variable("v", initializer=tf.constant(1.5), use_resource=use_resource)
    w = tf.Variable(v.initialized_value() * 2.0)
    average = tf.train.ExponentialMovingAverage(0.5)
    update = average.apply([v])
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        assert session.run([v, w, average.average(v)]) == [1.5, 3.0, 1.5]
        session.run([v.assign(2.5)])
        session.run([update, w.initializer])
        assert session.run([w, average.average(v)]) == [5.0, 2.0]


def test_branches_of_different_shapes_are_numpys():
    x, p = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: x[:2], lambda: x)
    with tf.Session(backend="native", tier="compiled") as session:
        for is_true, total in ((True, 1.0), (False, 6.0)):
            assert session.run(tf.reduce_sum(y), {x: np.arange(4.0), p: is_true}) == total
        (step,) = (s for s in session.explain([tf.exp(x), y], {x: np.arange(4.0), p: True}).steps if s.reason)
    assert step.reason == "its shape follows from data: [?]"


def test_a_branch_that_needs_numpy_says_what_for():
    x, p = tf.placeholder(tf.float32, [3, 3]), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.linalg.inv(x), lambda: x)
    with tf.Session(backend="native", tier="compiled") as session:
        (step,) = (s for s in session.explain([tf.exp(x), y], {x: np.eye(3), p: True}).steps if s.reason)
    assert step.reason == "MatrixInverse: no native form"


def test_threads_of_python_share_a_conditional():
    x, p = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: x + 1.0, lambda: x - 1.0)
    with tf.Session(backend="native", tier="compiled") as session, ThreadPoolExecutor(4) as pool:

        def run(k):
            return session.run(y, {x: np.full(1 + k % 3, k), p: k % 2 == 0})[0] - k

        found = list(pool.map(run, range(200)))
    assert found == [1.0, -1.0] * 100


def test_every_third_iteration():
    x = tf.placeholder(tf.float32, [3])

    def body(i, a):
        return i + 1, tf.cond(
            tf.equal(i % 3, 0), lambda: a * 2.0, lambda: a + x * tf.cast(i // 2, tf.float32)
        )

    _same_as_numpy(tf.while_loop(lambda i, _: i < 7, body, [0, x]), {x: [1.0, 2.0, 3.0]})


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("rows", [0, 3])
def test_gradients_of_a_conditional(rows):
    x, w = tf.placeholder(tf.float64, [None, 4]), tf.placeholder(tf.float64, [4, 4])
    p = tf.placeholder(tf.bool, [])

    def then():
        a = tf.tanh(tf.matmul(x, w))
        return a * tf.sin(a), tf.reduce_sum(a)

    y, z = tf.cond(p, then, lambda: (x * 2.0, tf.reduce_max(tf.abs(w))))
    gradients = tf.gradients(tf.reduce_sum(y * y) * z, [x, w])
    for is_true in (True, False):
        _same_as_numpy([y, *gradients], {x: RNG.randn(rows, 4), w: RNG.randn(4, 4), p: is_true})


def test_gradients_of_nested_conditionals():
    x, i = tf.placeholder(tf.float64, [3]), tf.placeholder(tf.int32, [])

    def inner():
        a = tf.exp(x)
        return tf.cond(i < 1, lambda: a * tf.sin(a * x), lambda: a * a)

    y = tf.cond(i < 2, inner, lambda: tf.sqrt(x))
    gradients = tf.gradients(y, x)
    for k in range(3):
        _same_as_numpy([y, *gradients], {x: [0.3, 1.0, 2.0], i: k})


@pytest.mark.parametrize("count", [0, 1, 4])
def test_gradients_of_a_conditional_in_a_loop(count):
    x, n = tf.placeholder(tf.float64, [None, 3]), tf.placeholder(tf.int32, [])
    last = tf.minimum(n, 6)

    def body(i, a):
        b = tf.sin(a)
        smaller = tf.cond(i < 1, lambda: b * b * x, lambda: tf.exp(-b))
        return i + 1, tf.cond(tf.reduce_sum(a) > 0.0, lambda: tf.tanh(smaller * a) + x, lambda: a * b - x)

    _, y = tf.while_loop(lambda i, _: i < last, body, [0, x])
    gradients = tf.gradients(tf.reduce_sum(y * y), x)
    _same_as_numpy([y, *gradients], {x: RNG.randn(2, 3), n: count})


def test_the_gradient_of_a_gradient():
    x, p = tf.placeholder(tf.float64, [3]), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.sin(x) * x * x, lambda: tf.exp(x))
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    for is_true in (True, False):
        feeds = {x: [0.3, -1.0, 2.0], p: is_true}
        with tf.Session(backend="numpy") as session:
            expected = session.run([first, second], feeds)
        got, _ = natively.run([first, second], feeds, runs=2)
        np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_the_gradient_of_a_variable_that_a_branch_reads():
    p, x = tf.placeholder(tf.bool, []), tf.placeholder(tf.float32, [None, 3])
    with tf.variable_scope("net", initializer=tf.constant_initializer(0.2)):
        v, w = tf.get_variable("v", [3, 2]), tf.get_variable("w", [3, 2])
    y = tf.cond(p, lambda: tf.matmul(x, v), lambda: tf.tanh(tf.matmul(x, w)))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y * y))
    found = []
    for backend in ("numpy", "native"):
        natively.execute._records.clear()
        with tf.Session(backend=backend, tier="compiled") as session:
            session.run(tf.global_variables_initializer())
            for k in (True, False, False, True, True):
                session.run(train, {p: k, x: np.arange(6.0).reshape(2, 3) / 6})
            found.append(session.run([v, w]))
    np.testing.assert_allclose(*found, rtol=1e-5)
