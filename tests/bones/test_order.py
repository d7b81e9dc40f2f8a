"""Reads, writes and feeds: which value a run sees."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tahr as tf


def _variable(value, **kwargs):
    variable = tf.Variable(value, **kwargs)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return variable, session


def test_loss_beside_a_train_op_is_the_one_before_the_update_and_the_variable_the_one_after():
    w, session = _variable(3.0)
    loss = tf.square(w)
    train = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    session.run(tf.global_variables_initializer())
    for expected_loss, expected_w in ((9.0, 0.0), (0.0, 0.0)):
        _, loss_value, w_value = session.run([train, loss, w])
        assert (loss_value, w_value) == (expected_loss, expected_w)


@pytest.mark.parametrize("order", [0, 1])
def test_a_fetched_variable_is_read_at_the_end_whatever_the_order_of_fetches(order):
    w, session = _variable(1.0)
    add = tf.assign_add(w, 2.0)
    fetches = [add.op, w] if order else [w, add.op]
    assert session.run(fetches)[order] == 3.0
    assert session.run([add.op, "Variable:0"])[1] == 5.0


def test_an_unordered_read_of_a_resource_variable_is_the_value_before():
    w, session = _variable(1.0, use_resource=True)
    add = tf.assign_add(w, 2.0)
    value = w.read_value()
    assert session.run([add, value])[1] == 1.0
    assert session.run(w) == 3.0


def test_control_dependencies_order_reads():
    w, session = _variable(1.0)
    add = tf.assign_add(w, 2.0)
    with tf.control_dependencies([add]):
        after = w.read_value()
        twice_after = after * 2.0
    before = w.value()
    assert session.run([before, after, twice_after]) == [1.0, 3.0, 6.0]


def test_who_takes_a_variable_reads_it_at_its_own_place():
    # TensorFlow 2.21's compat.v1 gives these values: w/read shares the variable's storage.
    w, session = _variable(1.0)
    with tf.control_dependencies([tf.assign_add(w, 5.0)]):
        results = [w + 0.0, tf.identity(w), tf.cond(w > 3.0, lambda: w * 2.0, lambda: w)]
    assert session.run(results) == [6.0, 6.0, 12.0]
    assert session.run(results[0], {"Variable/read:0": 3.0}) == 3.0
    assert session.run(results[2], {"Variable/read:0": 7.0}) == 14.0
    assert session.run(results[2], {w: 2.0}) == 2.0


def test_a_loss_behind_a_train_op_is_the_one_after_the_update():
    w, session = _variable(3.0)
    train = tf.train.GradientDescentOptimizer(0.25).minimize(tf.square(w))
    with tf.control_dependencies([train]):
        loss = tf.square(w)
    assert session.run([loss, w]) == [2.25, 1.5]


def test_a_loop_that_writes_a_variable_reads_what_the_last_iteration_left():
    w, session = _variable(1.0)

    def body(i):
        with tf.control_dependencies([tf.assign(w, w * 2.0)]):
            return i + 1

    loop = tf.while_loop(lambda i: i < 7, body, [0])
    with tf.control_dependencies([loop]):
        after = tf.identity(w)
    assert session.run([loop, after]) == [7, 128.0]


def test_a_branch_reads_what_it_wrote_before():
    w, session = _variable(1.0)

    def branch():
        with tf.control_dependencies([tf.assign_add(w, 1.0)]):
            return w * 10.0

    assert session.run(tf.cond(tf.constant(True), branch, lambda: w)) == 20.0
    assert session.run(tf.cond(tf.constant(False), branch, lambda: w)) == 2.0


def test_an_order_survives_pure_operations_between_two_effects():
    w, session = _variable(1.0)
    first = tf.assign(w, 5.0)
    with tf.control_dependencies([first]):
        between = tf.constant(1.0) + 0.0
    with tf.control_dependencies([tf.identity(between)]):
        second = tf.assign_add(w, 1.0)
    assert session.run(second) == 6.0


def test_the_writes_of_one_variable_form_a_chain():
    w, session = _variable(0.0)
    adds = [tf.assign_add(w, 1.0).op for _ in range(10)]
    session.run(adds)
    assert session.run(w) == 10.0


def test_reads_that_cross_over_each_other_see_the_start_of_the_run():
    # a's unordered read feeds b's write and the other way round: no order of reads and writes could do it.
    a, b = tf.Variable(1.0), tf.Variable(2.0)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    swap = tf.group(tf.assign(a, b.read_value()), tf.assign(b, a.read_value()))
    session.run(swap)
    assert session.run([a, b]) == [2.0, 1.0]
    with tf.control_dependencies([tf.assign(a, 10.0)]):
        late_write_of_b = tf.assign(b, a.value())
    with tf.control_dependencies([tf.assign(b, 20.0)]):
        late_write_of_a = tf.assign(a, b.value())
    session.run([late_write_of_a, late_write_of_b])
    assert set(session.run([a, b])) <= {1.0, 2.0, 10.0, 20.0}


def test_a_fetched_array_is_the_callers_own():
    w, session = _variable(np.zeros(3, np.float32))
    fed = tf.placeholder(tf.float32, [3])
    constant = tf.constant([1.0, 2.0, 3.0])
    values = session.run(
        [w, tf.reshape(fed, [3, 1]), constant, tf.transpose(tf.reshape(constant, [1, 3]))], {fed: [1, 2, 3]}
    )
    for value in values:
        value += 100.0
    session.run(tf.assign_add(w, [1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(values[0], [100.0, 100.0, 100.0])
    np.testing.assert_array_equal(session.run(w), [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(session.run(constant), [1.0, 2.0, 3.0])


def test_two_fetches_of_one_storage_are_two_arrays():
    x = tf.constant([1.0, 2.0]) + tf.random_uniform([2]) * 0.0
    first, second = tf.Session().run([x, tf.reshape(x, [2, 1])])
    first[0] = 7.0
    assert second[0, 0] == 1.0


def test_feeds_are_never_written():
    fed = tf.placeholder(tf.float32, [None])
    value = np.arange(4, dtype=np.float32)
    result = tf.Session().run(tf.exp(fed + 1.0) * 2.0, {fed: value})
    np.testing.assert_array_equal(value, np.arange(4, dtype=np.float32))
    assert result is not value


def test_a_fed_tensor_that_is_fetched_comes_back():
    fed = tf.placeholder(tf.float32, [2])
    value = np.ones(2, np.float32)
    assert tf.Session().run(fed, {fed: value}) is value


def test_any_tensor_can_be_fed():
    x = tf.constant(2.0)
    y = tf.square(x, name="y")
    z = y + x
    session = tf.Session()
    assert session.run(z, {y: 10.0}) == 12.0
    assert session.run(z, {"y:0": 10.0}) == 12.0
    assert session.run(z, {x: 3.0}) == 12.0


def test_feeding_a_composites_output_and_its_gradient():
    logits = tf.placeholder(tf.float64, [1, 3])
    p = tf.nn.softmax(logits)
    weights = tf.constant([[1.0, 2.0, 3.0]], tf.float64)
    (gradient,) = tf.gradients(p * weights, logits)
    fed = np.array([[0.5, 0.25, 0.25]])
    got = tf.Session().run(gradient, {p: fed, logits: [[9.0, 9.0, 9.0]]})
    w = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(got, fed * (w - np.sum(fed * w)), rtol=1e-12)


@pytest.mark.parametrize("use_resource", [False, True])
def test_feeding_a_variable_replaces_all_its_reads(use_resource):
    w, session = _variable(1.0, use_resource=use_resource)
    y = w * 2.0 + w.read_value()
    assert session.run(y, {w: 10.0}) == 30.0
    assert session.run(y) == 3.0


def test_feeding_a_variable_replaces_its_reads_inside_a_loop():
    w, session = _variable(2.0, use_resource=True)
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * w), [0, 1.0])
    assert session.run(y, {w: 10.0}) == 1000.0
    assert session.run(y) == 8.0


def test_eight_threads_lose_no_update():
    count = tf.Variable(0)
    total = tf.Variable(np.zeros(1000, np.float64))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    step = tf.group(tf.assign_add(count, 1), tf.assign_add(total, np.ones(1000)))
    errors = []

    def work():
        try:
            for _ in range(100):
                session.run(step)
                seen = session.run(total)
                assert (seen == seen[0]).all(), "a reader saw half of an update"
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert session.run(count) == 800
    np.testing.assert_array_equal(session.run(total), np.full(1000, 800.0))


def test_sessions_have_their_own_variables_and_share_plans():
    w = tf.Variable(1.0)
    add = tf.assign_add(w, 1.0)
    first, second = tf.Session(), tf.Session()
    first.run(tf.global_variables_initializer())
    with pytest.raises(tf.errors.FailedPreconditionError):
        tf.Session().run(tf.assign_add(tf.Variable(tf.zeros([])), 1.0))
    second.run(tf.global_variables_initializer())
    first.run(add)
    assert (first.run(w), second.run(w)) == (2.0, 1.0)


def test_effects_behind_control_edges_of_a_pure_fetch_run():
    w, session = _variable(0.0)
    with tf.control_dependencies([tf.assign_add(w, 1.0)]):
        pure = tf.constant(5.0) * 2.0
    assert session.run(pure) == 10.0
    assert session.run(w) == 1.0
