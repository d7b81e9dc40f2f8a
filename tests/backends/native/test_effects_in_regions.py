"""Draws and updates of variables in loops and branches run natively, in the reference backend's order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively

RNG = np.random.RandomState(11)
BOTH = pytest.mark.parametrize("use_resource", [False, True])


def _runs(signatures, exact: bool = True) -> list:
    """What some runs of one session give, one after the other: the same on both backends, for any number of threads."""
    found = []
    for backend, threads in (("numpy", 1), ("native", 1), ("native", 4)):
        tf_config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        tier = "compiled" if backend == "native" else None
        natively.execute._records.clear()
        with tf.Session(backend=backend, tier=tier, config=tf_config) as session:
            session.run(tf.global_variables_initializer())
            found.append([session.run(fetches, feeds) for fetches, feeds in signatures])
        if backend == "native":
            assert {*natively.left_to_numpy()} <= {"nothing in it is native"}
    expected, *others = ([np.asarray(x) for xs in results for x in xs if x is not None] for results in found)
    for got in others:
        for g, e in zip(got, expected, strict=True):
            assert g.dtype == e.dtype and g.shape == e.shape
            if exact:
                np.testing.assert_array_equal(g, e)
            else:
                np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-5)
        for g, other in zip(got, others[0], strict=True):
            assert natively.same(g, other)
    return found[1]


# ---------------------------------------------------------------- draws


def test_a_loop_draws_as_often_as_it_runs():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [None, 3])
    tf.set_random_seed(5)

    def body(i, a, b, c):
        a = tf.nn.dropout(a, 0.7) + tf.random_uniform(tf.shape(x))
        b = b + tf.truncated_normal([50]) * tf.random_uniform([], dtype=tf.float64, seed=3).shape.ndims
        return i + 1, a, b + tf.random_normal([50]), c + tf.random_uniform([7], 0, 100, tf.int32)

    drawn = tf.while_loop(lambda i, *_: i < n, body, [0, x, tf.zeros([50]), tf.zeros([7], tf.int32)])
    feeds = [{n: k, x: RNG.randn(rows, 3)} for k, rows in ((3, 2), (0, 2), (1, 2), (5, 0), (2, 3))]
    _runs([(drawn, f) for f in feeds])


def test_only_the_branch_that_is_taken_draws():
    p, seed = tf.placeholder(tf.bool, []), 7
    y = tf.cond(p, lambda: tf.random_uniform([40], seed=seed), lambda: tf.random_normal([40], seed=seed))
    z = tf.random_uniform([3], seed=9)
    found = _runs([([y, z], {p: k}) for k in (True, True, False, True, False, False)])
    assert len({a.tobytes() for a, _ in found}) == len(found)


def test_the_tiers_of_a_session_share_a_stream():
    n = tf.placeholder(tf.int32, [])
    _, y = tf.while_loop(
        lambda i, _: i < n, lambda i, a: (i + 1, a + tf.random_uniform([5], seed=1)), [0, tf.zeros([5])]
    )
    found = []
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend) as session:
            found.append([session.run(y, {n: k}) for k in (2, 3, 1, 4)])
    np.testing.assert_array_equal(*found)


def test_a_draw_after_an_error_goes_on_where_the_stream_was():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [4])

    def body(i, a):
        with tf.control_dependencies([a]):
            return i + 1, a + tf.random_uniform([], seed=1) + tf.gather(x, i)

    _, y = tf.while_loop(lambda i, _: i < n, body, [0, 0.0])
    found = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            first = session.run(y, {n: 2, x: np.zeros(4)})
            with pytest.raises(tf.errors.InvalidArgumentError, match="4 is not in"):
                session.run(y, {n: 9, x: np.zeros(4)})
            found.append([first, session.run(y, {n: 1, x: np.zeros(4)})])
    np.testing.assert_array_equal(*found)


def test_dropout_in_a_recurrent_net_and_its_gradients():
    tf.set_random_seed(1)
    x = tf.placeholder(tf.float32, [None, 6, 4])
    cell = tf.nn.rnn_cell.DropoutWrapper(tf.nn.rnn_cell.GRUCell(5), 0.8, 0.7, 0.9, seed=2)
    outputs, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    loss = tf.reduce_sum(outputs * outputs) + tf.reduce_sum(state)
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    feeds = {x: RNG.randn(3, 6, 4)}
    _runs([([loss, train], feeds)] * 4 + [(tf.trainable_variables(), {})], exact=False)


# ---------------------------------------------------------------- variables


def _variable(name: str, shape, use_resource: bool, value: float = 1.0, dtype=tf.float32):
    return tf.get_variable(
        name, shape, dtype, tf.constant_initializer(value, dtype), use_resource=use_resource
    )


@BOTH
def test_reads_and_writes_keep_their_order(use_resource):
    x, n = tf.placeholder(tf.float32, [3]), tf.placeholder(tf.int32, [])
    v = _variable("v", [3], use_resource)
    c = _variable("c", [], use_resource, 0, tf.int32)

    def body(i, a):
        old = v.read_value()
        with tf.control_dependencies([old]):
            new = tf.assign_add(v, x * 0.5)
        with tf.control_dependencies([new]):
            count = tf.cond(i < 2, lambda: tf.assign_add(c, 1), lambda: tf.identity(c))
            return i + 1 + 0 * count, a + old * new

    _, made = tf.while_loop(lambda i, _: i < n, body, [0, x])
    with tf.control_dependencies([made]):
        after = v.read_value() * 2.0
    signatures = []
    for count in (3, 0, 5, 1):
        feeds = {x: np.arange(3) / 7, n: count}
        signatures += [([made, after], feeds), ([v, c], {}), ([made, v], feeds), ([c], {})]
    _runs(signatures, exact=False)


@BOTH
def test_only_the_branch_that_is_taken_writes(use_resource):
    p, x = tf.placeholder(tf.bool, []), tf.placeholder(tf.float32, [4])
    v, w = _variable("v", [4], use_resource), _variable("w", [4], use_resource)
    y = tf.cond(p, lambda: tf.assign_sub(v, x), lambda: tf.assign(w, v * x))
    feeds = {x: RNG.randn(4)}
    _runs([s for k in (True, False, True, True, False) for s in (([y], {p: k, **feeds}), ([v, w], {}))])


@BOTH
def test_a_variable_that_only_one_branch_gives_a_value(use_resource):
    p, x = tf.placeholder(tf.bool, []), tf.placeholder(tf.float32, [3])
    v = tf.get_variable("v", [3], use_resource=use_resource)
    y = tf.cond(p, lambda: tf.assign(v, x), lambda: x * 0.0)
    with tf.Session(backend="native", tier="compiled") as session:
        for _ in range(2):
            assert not session.run(y, {p: False, x: np.ones(3)}).any()
        assert not session.run(tf.is_variable_initialized(v))
        for k in (1.0, 2.0, 3.0):
            session.run(y, {p: True, x: np.full(3, k)})
            np.testing.assert_array_equal(session.run(v), np.full(3, k))


@BOTH
def test_a_loop_without_iterations_leaves_what_it_would_overwrite(use_resource):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [3])
    v = _variable("v", [3], use_resource, 5.0)

    def body(i):
        with tf.control_dependencies([tf.assign(v, x)]):
            return i + 1

    loop = tf.while_loop(lambda i: i < n, body, [0])
    feeds = {x: np.arange(3.0)}
    _runs([([loop], {n: 0, **feeds}), ([v], {}), ([loop], {n: 2, **feeds}), ([v], {})])


@BOTH
def test_what_was_fetched_is_not_changed_by_a_loop(use_resource):
    v = _variable("v", [3], use_resource)
    loop = tf.while_loop(
        lambda i: i < 3, lambda i: i + tf.cast(tf.assign_add(v, [1.0, 1.0, 1.0])[0] > 0, tf.int32), [0]
    )
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        before = session.run(v)
        session.run(loop)
        np.testing.assert_array_equal(before, np.ones(3))
        np.testing.assert_array_equal(session.run(v), np.full(3, 4.0))


@BOTH
def test_what_was_written_before_an_error_stays(use_resource):
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [4])
    v = _variable("v", [], use_resource, 0.0)

    def body(i, a):
        with tf.control_dependencies([a]), tf.control_dependencies([tf.assign_add(v, 1.0)]):
            return i + 1, a + tf.gather(x, i)

    _, y = tf.while_loop(lambda i, _: i < n, body, [0, 0.0])
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(v.initializer)
            for k in (5.0, 10.0):
                with pytest.raises(tf.errors.InvalidArgumentError, match="4 is not in"):
                    session.run(y, {n: 9, x: np.zeros(4)})
                assert session.run(v) == k


@BOTH
def test_a_loop_that_is_cancelled_gives_its_variables_back(use_resource):
    v = _variable("v", [2], use_resource, 0.0)
    forever = tf.while_loop(lambda i: i >= 0.0, lambda i: tf.abs(tf.assign_add(v, [1.0, 2.0])[0]), [0.0])
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(v.initializer)
        with pytest.raises(tf.errors.DeadlineExceededError):
            session.run(forever, options=tf.RunOptions(timeout_in_ms=200))
        one, two = session.run(v)
        assert one > 0 and two == 2 * one


@BOTH
def test_no_update_is_lost_between_threads(use_resource):
    v = _variable("v", [], use_resource, 0, tf.int32)

    def body(i):
        with tf.control_dependencies([tf.assign_add(v, 1)]):
            return i + 1

    loop = tf.while_loop(lambda i: i < 10, body, [0])
    with tf.Session(backend="native", tier="compiled") as session, ThreadPoolExecutor(4) as pool:
        session.run(v.initializer)
        list(pool.map(lambda _: session.run(loop), range(100)))
        assert session.run(v) == 1000


@BOTH
@pytest.mark.parametrize("optimizer", [tf.train.AdamOptimizer(0.05), tf.train.GradientDescentOptimizer(0.1)])
def test_training_in_a_loop(use_resource, optimizer):
    x, w = tf.placeholder(tf.float32, [None, 4]), _variable("w", [4, 3], use_resource, 0.3)
    b = _variable("b", [3], use_resource, 0.1)

    def body(i):
        loss = tf.reduce_mean(tf.square(tf.tanh(tf.matmul(x, w)) - b))
        with tf.control_dependencies([optimizer.minimize(loss)]):
            return i + 1

    steps = tf.while_loop(lambda i: i < 4, body, [0])
    _runs([([steps], {x: np.linspace(0, 1, 12).reshape(3, 4)}), ([w, b], {})] * 2, exact=False)


@BOTH
def test_rows_of_a_variable_are_changed_in_a_loop(use_resource):
    x, v = tf.placeholder(tf.float32, [4, 3]), _variable("v", [6, 3], use_resource)

    def body(i):
        changed = tf.scatter_add(v, [i, i + 2], tf.gather(x, [i, i + 1]))
        with tf.control_dependencies([changed]):
            return i + 1

    loop = tf.while_loop(lambda i: i < 3, body, [0])
    _runs([([loop], {x: RNG.randn(4, 3)}), ([v], {})] * 2)


def test_two_variables_written_in_nested_regions():
    x = tf.placeholder(tf.float32, [])
    a, b = _variable("a", [], True), _variable("b", [], True)

    def inner(j):
        add = tf.cond(j < 1, lambda: tf.assign_add(a, x), lambda: tf.assign_add(b, a))
        with tf.control_dependencies([add]):
            return j + 1

    def outer(i):
        done = tf.while_loop(lambda j: j < 3, inner, [0])
        with tf.control_dependencies([done]), tf.control_dependencies([tf.assign(a, b * 0.5)]):
            return i + 1

    loop = tf.while_loop(lambda i: i < 3, outer, [0])
    with tf.control_dependencies([loop]):
        result = a + b
    _runs([([loop, result], {x: 1.25}), ([a, b], {})] * 2)
