"""Loops and branches: state that grows, draws inside, gradients of every order."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tests.running import run_initialized as run


def test_gradients_of_a_loop_to_third_order():
    x = tf.placeholder(tf.float64, [])
    _, power = tf.while_loop(
        lambda i, a: i < 5, lambda i, a: (i + 1, a * x), [0, tf.constant(1.0, tf.float64)]
    )
    derivatives = [power]
    for _ in range(3):
        derivatives += tf.gradients(derivatives[-1], x)
    assert run(derivatives, {x: 2.0}) == [32.0, 80.0, 160.0, 240.0]


def test_a_loop_that_does_not_run_passes_gradients_through():
    x = tf.placeholder(tf.float64, [])
    (y,) = tf.while_loop(lambda a: a < 0.0, lambda a: [a * 3.0], [x], return_same_structure=True)
    (gradient,) = tf.gradients(y * y, x)
    assert run(gradient, {x: 2.0}) == 4.0


def test_the_number_of_iterations_may_depend_on_data():
    x = tf.placeholder(tf.float64, [])
    y = tf.while_loop(lambda a: a < 100.0, lambda a: a * x, [x])
    (gradient,) = tf.gradients(y, x)
    session = tf.Session()
    for value in (2.0, 3.0, 11.0, 200.0):
        n, product = 1, value
        while product < 100.0:
            n, product = n + 1, product * value
        assert session.run([y, gradient], {x: value}) == pytest.approx([product, n * value ** (n - 1)])


def test_a_loop_whose_state_grows_and_its_gradient():
    x = tf.placeholder(tf.float64, [None])
    _, grown = tf.while_loop(
        lambda i, a: i < 3,
        lambda i, a: (i + 1, tf.concat([a, a[-1:] * x[:1]], 0)),
        [0, x],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )
    (gradient,) = tf.gradients(tf.reduce_sum(grown), x)
    session = tf.Session()
    for n in (1, 2, 5):
        value = np.arange(1.0, n + 1.0)
        got, dx = session.run([grown, gradient], {x: value})
        first, last = value[0], value[-1]
        np.testing.assert_allclose(got, [*value, *(last * first**k for k in (1, 2, 3))])
        expected = np.ones(n)
        expected[-1] += first + first**2 + first**3
        expected[0] += last * (1 + 2 * first + 3 * first**2)
        np.testing.assert_allclose(dx, expected)


def test_dropout_in_a_loop_draws_once_for_forward_and_both_derivatives():
    x = tf.placeholder(tf.float64, [4])
    _, y = tf.while_loop(
        lambda i, a: i < 3, lambda i, a: (i + 1, tf.nn.dropout(a * a, keep_prob=0.6, seed=3)), [0, x]
    )
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    session = tf.Session()
    kept = 0
    for _ in range(20):
        value = np.array([1.1, 0.9, 1.2, 1.05])
        got, dx, ddx = session.run([y, first, second], {x: value})
        # y = c x^8 with the same masks in all three: dy = 8 y/x, ddy = 56 y/x^2.
        np.testing.assert_allclose(dx, 8 * got / value, rtol=1e-9)
        np.testing.assert_allclose(ddx, 56 * got / value**2, rtol=1e-9)
        kept += np.count_nonzero(got)
    assert 5 < kept < 40  # about 80 * 0.6^3


def test_gradients_inside_a_body():
    x = tf.placeholder(tf.float64, [])

    def newton(i, a):
        value = a * a - x
        (slope,) = tf.gradients(value, a)
        return i + 1, a - value / slope

    _, root = tf.while_loop(lambda i, a: i < 20, newton, [0, tf.constant(1.0, tf.float64)])
    (gradient,) = tf.gradients(root, x)
    got, dx = run([root, gradient], {x: 9.0})
    assert got == pytest.approx(3.0)
    assert dx == pytest.approx(1.0 / 6.0)


def test_nested_loops_and_their_gradients():
    x = tf.placeholder(tf.float64, [])

    def outer(i, a):
        _, b = tf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, b * x), [0, a])
        return i + 1, b + x

    _, y = tf.while_loop(lambda i, a: i < 4, outer, [1, tf.constant(1.0, tf.float64)])
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    # ((1*x + x) x^2 + x) x^3 + x = 2 x^6 + x^4 + x
    v = 1.5
    assert run([y, first, second], {x: v}) == pytest.approx(
        [2 * v**6 + v**4 + v, 12 * v**5 + 4 * v**3 + 1, 60 * v**4 + 12 * v**2]
    )


def test_a_branch_inside_a_loop_and_its_gradients():
    x = tf.placeholder(tf.float64, [])

    def body(i, a):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: a * x, lambda: a + tf.square(x))

    _, y = tf.while_loop(lambda i, a: i < 4, body, [0, tf.constant(1.0, tf.float64)])
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    v = 1.5  # (x + x^2) x + x^2 = 2 x^2 + x^3
    assert run([y, first, second], {x: v}) == pytest.approx([2 * v**2 + v**3, 4 * v + 3 * v**2, 4 + 6 * v])


def test_a_loop_inside_a_branch_and_its_gradients():
    x = tf.placeholder(tf.float64, [])

    def power():
        return tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * x), [0, x])[1]

    y = tf.cond(x > 0.0, power, lambda: -x)
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    session = tf.Session()
    assert session.run([y, first, second], {x: 2.0}) == pytest.approx([16.0, 32.0, 48.0])
    assert session.run([y, first, second], {x: -2.0}) == pytest.approx([2.0, -1.0, 0.0])


def test_sparse_gradients_through_a_loop_stay_sparse():
    table = tf.Variable(np.arange(8.0).reshape(4, 2))
    ids = tf.constant([1, 3, 1])
    _, total = tf.while_loop(
        lambda i, a: i < 3,
        lambda i, a: (i + 1, a + tf.gather(table, tf.reshape(ids[i], [1])) * tf.cast(i + 1, tf.float64)),
        [0, tf.zeros([1, 2], tf.float64)],
    )
    (gradient,) = tf.gradients(total, table)
    assert isinstance(gradient, tf.IndexedSlices)
    update = tf.train.GradientDescentOptimizer(1.0).apply_gradients([(gradient, table)])
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    slices = session.run(gradient)
    dense = np.zeros((4, 2))
    np.add.at(dense, slices.indices, slices.values)
    np.testing.assert_array_equal(dense, [[0, 0], [4, 4], [0, 0], [2, 2]])
    session.run(update)
    np.testing.assert_array_equal(session.run(table), np.arange(8.0).reshape(4, 2) - dense)


def test_a_forward_run_does_not_compute_what_only_gradients_need():
    x = tf.placeholder(tf.float64, [])
    _, y = tf.while_loop(lambda i, a: i < 5, lambda i, a: (i + 1, tf.sin(a * x)), [0, x])
    session = tf.Session()
    before = session.run(y, {x: 0.5})
    tf.gradients(y, x)  # gives the loop hidden variables
    assert session.run(y, {x: 0.5}) == before
    from tahr.program.function import live_variables

    loop = next(op for op in tf.get_default_graph().get_operations() if op.type == "While")
    assert live_variables(loop, [1]) == [0, 1]
    assert len(loop.outputs) > 3


def test_draws_and_writes_in_a_loop_happen_once_for_each_iteration():
    count = tf.Variable(0)
    x = tf.placeholder(tf.float64, [])

    def body(i, a):
        with tf.control_dependencies([tf.assign_add(count, 1)]):
            return i + 1, a * x

    _, y = tf.while_loop(lambda i, a: i < 5, body, [0, x])
    (gradient,) = tf.gradients(y, x)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    assert session.run([y, gradient], {x: 1.0}) == [1.0, 6.0]
    assert session.run(count) == 5


def test_an_inner_tensor_cannot_be_used_or_fetched_outside():
    inner = []

    def body(i):
        inner.append(i * 2)
        return i + 1

    tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])
    with pytest.raises(ValueError, match="in a while loop"):
        tf.add(inner[0], 1)
    with pytest.raises(ValueError, match="not fetchable"):
        tf.Session().run(inner[0])


def test_only_the_branch_that_is_taken_runs():
    a, b = tf.Variable(0), tf.Variable(0)
    p = tf.placeholder(tf.bool, [])
    result = tf.cond(p, lambda: tf.assign_add(a, 1), lambda: tf.assign_add(b, 1))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    session.run(result, {p: True})
    session.run(result, {p: True})
    session.run(result, {p: False})
    assert session.run([a, b]) == [2, 1]


def test_variables_made_inside_a_loop_are_lifted_out():
    def body(i, a):
        w = tf.get_variable("w", [], tf.float64, initializer=tf.constant_initializer(2.0))
        return i + 1, a * w

    _, y = tf.while_loop(lambda i, a: i < 3, body, [0, tf.constant(1.0, tf.float64)])
    (w,) = tf.trainable_variables()
    (gradient,) = tf.gradients(y, w)
    assert run([y, gradient]) == [8.0, 12.0]


def test_a_hessian_through_scan_like_recurrence():
    w = tf.placeholder(tf.float64, [3])
    xs = tf.constant([[1.0, 2.0, 3.0], [0.5, 0.1, 0.2], [1.0, 1.0, 1.0]], tf.float64)
    _, h = tf.while_loop(
        lambda i, h: i < 3,
        lambda i, h: (i + 1, tf.tanh(h + tf.reduce_sum(w * xs[i]))),
        [0, tf.constant(0.0, tf.float64)],
    )
    (hessian,) = tf.hessians(h, w)
    value = np.array([0.1, -0.2, 0.3])
    got = run(hessian, {w: value})
    (gradient,) = tf.gradients(h, w)
    session = tf.Session()
    step = 1e-5
    for i in range(3):
        shift = np.eye(3)[i] * step
        difference = session.run(gradient, {w: value + shift}) - session.run(gradient, {w: value - shift})
        np.testing.assert_allclose(got[i], difference / (2 * step), rtol=1e-6, atol=1e-8)
