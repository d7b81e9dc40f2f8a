"""Stages, symbolic sizes, and depth."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pytest

import tahr as tf


def _functions(graph):
    return {id(r.function): r.function for r in graph.routines.values()}.values()


def test_a_new_batch_size_is_no_new_program():
    x = tf.placeholder(tf.float32, [None, 3])
    w = tf.Variable(np.ones((3, 2), np.float32))
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w)))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    for batch in (5, 7, 32, 100, 2):
        session.run([train, loss], {x: np.ones((batch, 3), np.float32)})
    (function,) = [f for f in _functions(session.graph) if f.inputs == (x,)]
    assert len(function.plans) == 1
    session.run([train, loss], {x: np.ones((1, 3), np.float32)})
    session.run([train, loss], {x: np.ones((0, 3), np.float32)})
    assert len(function.plans) == 3  # 1 and 0 are classes of their own: broadcasting depends on them


def test_a_graph_that_ran_is_freed():
    def graph_that_ran():
        with tf.Graph().as_default() as graph, tf.Session() as session:
            x = tf.placeholder(tf.float32, [None, 3])
            w = tf.Variable(np.ones((3, 2), np.float32))
            _, y = tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, tf.tanh(y)), [0, tf.matmul(x, w)])
            loss = tf.reduce_mean(y)
            train = tf.train.AdamOptimizer(0.1).minimize(loss)
            session.run(tf.global_variables_initializer())
            for _ in range(8):
                session.run([train, loss], {x: np.ones((5, 3), np.float32)})
            return weakref.ref(graph)

    graph = graph_that_ran()
    gc.collect()
    assert graph() is None


def test_what_depends_on_data_ends_a_stage():
    x = tf.placeholder(tf.int32, [None])
    values, index = tf.unique(x)
    doubled = values * 2
    again, _ = tf.unique(tf.concat([doubled, doubled + 1], 0))
    total = tf.reduce_sum(again) + tf.reduce_sum(index)
    session = tf.Session()
    for feed in ([1, 1, 2], [5], [3, 3, 3, 3], [1, 2, 3, 4, 5]):
        unique, inverse = np.unique(feed, return_inverse=True)
        assert session.run(total, {x: feed}) == np.sum(4 * unique + 1) + inverse.sum()


def test_unique_inside_an_optimizers_step():
    table = tf.Variable(np.ones((5, 2), np.float32))
    ids = tf.placeholder(tf.int32, [None])
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, ids)))
    train = tf.train.AdamOptimizer(0.1).minimize(loss)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    for feed in ([0, 0, 1], [4], [2, 3, 2, 3, 2]):
        session.run(train, {ids: feed})
    value = session.run(table)
    assert (value < 1.0).all()


def test_boolean_mask_and_its_gradient():
    x = tf.placeholder(tf.float64, [None, 2])
    kept = tf.boolean_mask(x, x[:, 0] > 0.0)
    (gradient,) = tf.gradients(tf.reduce_sum(tf.square(kept)), x)
    session = tf.Session()
    value = np.array([[1.0, 2.0], [-1.0, 3.0], [4.0, 5.0]])
    got, dx = session.run([kept, gradient], {x: value})
    np.testing.assert_array_equal(got, value[[0, 2]])
    np.testing.assert_array_equal(dx, 2 * value * [[1.0], [0.0], [1.0]])
    empty, dx = session.run([kept, gradient], {x: -value[:1]})
    assert empty.shape == (0, 2)
    np.testing.assert_array_equal(dx, [[0.0, 0.0]])


def test_py_func_in_the_middle_of_a_plan():
    x = tf.placeholder(tf.float32, [None])
    (middle,) = tf.py_func(lambda v: [v[v > 1.0]], [x * 2.0], [tf.float32])
    y = tf.reduce_sum(tf.square(middle))
    assert tf.Session().run(y, {x: [0.1, 1.0, 2.0]}) == 4.0 + 16.0


def test_py_func_that_calls_session_run():
    x = tf.placeholder(tf.float32, [])
    inner = x * 10.0
    session = tf.Session()
    outer = tf.py_func(lambda v: session.run(inner, {x: v}) + np.float32(1), [x + 1.0], tf.float32)
    assert session.run(outer * 2.0, {x: 2.0}) == 62.0


def test_writes_order_across_stages():
    w = tf.Variable(1.0)
    ids = tf.placeholder(tf.int32, [None])
    before = w.value()
    unique, _ = tf.unique(ids)
    with tf.control_dependencies([unique]):
        add = tf.assign_add(w, tf.cast(tf.size(unique), tf.float32))
    with tf.control_dependencies([add]):
        after = w.read_value()
    late = before + tf.cast(tf.size(unique), tf.float32)  # the value before, used in a later stage
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    assert session.run([late, after, w], {ids: [1, 1, 2]}) == [3.0, 3.0, 3.0]
    assert session.run([late, after, w], {ids: [1, 1, 2]}) == [5.0, 5.0, 5.0]


def test_enqueue_and_dequeue_in_one_run_on_an_empty_queue():
    queue = tf.FIFOQueue(10, [tf.float32], shapes=[[]])
    x = tf.placeholder(tf.float32, [])
    enqueue = queue.enqueue([x])
    y = queue.dequeue() * 2.0
    session = tf.Session()
    for value in (1.0, 2.0, 3.0):
        assert session.run([enqueue, y], {x: value})[1] == 2.0 * value


def test_a_chain_of_queues_in_one_run():
    first, second = (tf.FIFOQueue(1, [tf.float32]) for _ in range(2))  # no shapes: sizes depend on data
    x = tf.placeholder(tf.float32, [None])
    fill = first.enqueue([x])
    move = second.enqueue([tf.reshape(first.dequeue(), [-1]) + 1.0])
    drained = tf.reduce_sum(tf.reshape(second.dequeue(), [-1]))
    assert tf.Session().run([drained, move, fill], {x: [1.0, 2.0]})[0] == 5.0


def test_a_chain_of_ten_thousand_operations_and_its_gradient():
    x = tf.placeholder(tf.float64, [])
    y = x
    for _ in range(10_000):
        y = y + 1.0
    (gradient,) = tf.gradients(y, x)
    assert tf.Session().run([y, gradient], {x: 0.0}) == [10_000.0, 1.0]


def test_a_thousand_levels_of_doubling_take_linear_time():
    x = tf.placeholder(tf.float64, [])
    y = x
    for _ in range(1000):
        y = y + y
    started = time.perf_counter()
    (gradient,) = tf.gradients(y, x)
    assert time.perf_counter() - started < 30  # exponential time would never end
    assert tf.Session().run(gradient, {x: 1.0}) == 2.0**1000


def test_paths_of_unequal_length_and_consumers_outside_the_loss():
    x = tf.placeholder(tf.float64, [])
    short = x * 2.0
    long = tf.square(tf.square(x + short)) * x
    outside = short * 100.0
    loss = long + short * x
    (gradient,) = tf.gradients(loss, x)
    value, step = 1.3, 1e-6
    session = tf.Session()
    numeric = (session.run(loss, {x: value + step}) - session.run(loss, {x: value - step})) / (2 * step)
    assert session.run(gradient, {x: value}) == pytest.approx(numeric, rel=1e-6)
    assert outside is not None
