"""What the tutorial's own listing gets wrong must stay right here."""

from __future__ import annotations

import time

import numpy as np
import pytest

import tahr as tf
from tahr import Graph, Operation, Session, Variable, placeholder


def gradient(y, x, feed_dict=None):
    """dy/dx in a fresh session."""
    return Session().run(tf.gradients(y, [x])[0], feed_dict)


def test_paths_of_unequal_length() -> None:
    # The listing visits breadth first: it meets x, next to the loss, before tanh, which x also feeds.
    x = Variable(0.5)
    y = tf.add(x, tf.negative(tf.tanh(tf.multiply(x, x))))
    assert gradient(y, x) == pytest.approx(1 - 2 * 0.5 * (1 - np.tanh(0.25) ** 2))


def test_a_long_and_a_short_path() -> None:
    x = Variable(1.1)
    long = x
    for _ in range(50):
        long = tf.sin(long)
    value, slope = 1.1, 1.0
    for _ in range(50):
        slope *= np.cos(value)
        value = np.sin(value)
    assert gradient(tf.multiply(x, long), x) == pytest.approx(value + 1.1 * slope, rel=1e-5)


def test_a_consumer_outside_of_the_loss() -> None:
    # The listing asks every consumer for its gradient; those that the loss does not depend on have none.
    x = Variable(3.0)
    aside = tf.square(x, name="aside")
    loss = tf.multiply(x, 2.0)
    assert gradient(loss, x) == 2
    assert Session().run(aside) == 9


def test_a_variable_that_the_loss_does_not_depend_on_is_left_alone() -> None:
    x, other = Variable(3.0), Variable(4.0)
    step = tf.train.GradientDescentOptimizer(0.5).minimize(tf.square(x))
    session = Session()
    session.run(step)
    assert session.run([x, other]) == [0, 4]


def test_an_operation_that_takes_the_same_node_twice() -> None:
    # The listing looks an input up by its first index, so one of the two contributions is lost.
    x = Variable(3.0)
    assert gradient(tf.multiply(x, x), x) == 6
    assert gradient(tf.subtract(x, x), x) == 0
    assert gradient(tf.divide(x, x), x) == 0
    m = Variable([[1.0, 2.0], [3.0, 4.0]])
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    ones = np.ones((2, 2))
    np.testing.assert_allclose(gradient(tf.matmul(m, m), m), ones @ values.T + values.T @ ones)


def test_a_diamond_counts_both_ways() -> None:
    x = Variable(2.0)
    y = tf.add(tf.multiply(x, 3.0), tf.square(x))
    assert gradient(tf.square(y), x) == 2 * 10 * (3 + 4)


def test_doubling_repeated_takes_linear_time() -> None:
    # 2 to the power of 1000 paths: whoever follows each of them never returns.
    x = Variable(np.float64(1.0))
    y = x
    for _ in range(1000):
        y = y + y
    started = time.perf_counter()
    (dx,) = tf.gradients(y, [x])
    built = time.perf_counter() - started
    assert Session().run(dx) == 2.0**1000
    assert built < 20


def test_values_are_not_kept_on_nodes() -> None:
    x = placeholder(tf.float32)
    y = tf.square(x)
    first, second = Session(), Session()
    assert first.run(y, {x: 2}) == 4
    assert second.run(y, {x: 3}) == 9
    assert not hasattr(y, "value") and not hasattr(y.op, "output_value")
    # A node has the value of this run, never that of an earlier one.
    with pytest.raises(tf.errors.InvalidArgumentError, match="You must feed a value for placeholder"):
        first.run(y)


def test_values_of_own_operations_are_not_kept_either() -> None:
    class square(Operation):
        def __init__(self, x):
            super().__init__([x])

        def compute(self, x_value):
            return x_value * x_value

    x = placeholder()
    y = square(x)
    kept = set(vars(y))
    session = Session()
    assert session.run(y, {x: 2}) == 4
    assert set(vars(y)) == kept
    with pytest.raises(tf.errors.InvalidArgumentError, match="You must feed a value for placeholder"):
        session.run(y)


def test_sessions_do_not_share_the_values_of_variables() -> None:
    x = Variable(1.0)
    step = tf.train.GradientDescentOptimizer(0.25).minimize(tf.square(x))
    first, second = Session(), Session()
    first.run(step)
    assert (first.run(x), second.run(x)) == (0.5, 1)


def test_a_step_computes_its_gradients_from_what_is_fed_to_it() -> None:
    # In the listing a step uses whatever values the last run left on the nodes, or fails if there was none.
    x = placeholder()
    w = Variable(0.0)
    step = tf.train.GradientDescentOptimizer(1.0).minimize(tf.multiply(w, x))
    loss = tf.multiply(w, x)
    session = Session()
    session.run(step, {x: 5})
    assert session.run(w) == -5
    session.run(loss, {x: 1000})
    session.run(step, {x: 7})
    assert session.run(w) == -12


def summed_to(array, shape):
    """The sum over the axes along which `shape` was broadcast to the array's shape."""
    extra = array.ndim - len(shape)
    total = array.sum(axis=tuple(range(extra)))
    return total.sum(axis=tuple(i for i, size in enumerate(shape) if size == 1), keepdims=True)


# For each operation its derivatives with respect to both operands.
DERIVATIVES = {
    "multiply": lambda x, y: (y, x),
    "add": lambda x, y: (1, 1),
    "subtract": lambda x, y: (1, -1),
    "divide": lambda x, y: (1 / y, -x / y**2),
}


@pytest.mark.parametrize(
    ("x_shape", "y_shape"),
    [((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3, 4)), ((2, 1, 4), (3, 1))],
)
@pytest.mark.parametrize("operation", DERIVATIVES)
def test_gradients_of_broadcast_operands_have_the_operands_shapes(operation, x_shape, y_shape) -> None:
    rng = np.random.default_rng(0)
    x_value, y_value = rng.uniform(1, 2, x_shape), rng.uniform(1, 2, y_shape)
    x, y = placeholder(), placeholder()
    found = Session().run(tf.gradients(getattr(tf, operation)(x, y), [x, y]), {x: x_value, y: y_value})
    result_shape = np.broadcast_shapes(x_shape, y_shape)
    for gradient_value, value, derivative in zip(
        found, (x_value, y_value), DERIVATIVES[operation](x_value, y_value)
    ):
        expected = summed_to(np.broadcast_to(derivative, result_shape), value.shape)
        assert gradient_value.shape == value.shape
        np.testing.assert_allclose(gradient_value, expected)


def test_softmax_does_not_overflow() -> None:
    x = placeholder()
    p = tf.softmax(x)
    with np.errstate(all="raise"):
        found = Session().run(p, {x: [[1000.0, 0.0], [-1000.0, -1000.0], [1e300, -1e300]]})
    assert found.tolist() == [[1, 0], [0.5, 0.5], [1, 0]]


def test_the_log_of_softmax_stays_finite() -> None:
    x = Variable([[1000.0, 0.0]])
    loss = tf.negative(tf.reduce_sum(tf.multiply([[0.0, 1.0]], tf.log(tf.softmax(x)))))
    session = Session()
    assert session.run(loss) == 1000
    assert session.run(tf.gradients(loss, [x])[0]).tolist() == [[1, -1]]


def test_a_deep_graph_needs_no_recursion() -> None:
    Graph().as_default()
    x = Variable(np.float64(1.0))
    y = x
    for _ in range(5000):
        y = tf.add(y, 1e-3)
    (dx,) = tf.gradients(y, [x])
    value, slope = Session().run([y, dx])
    assert value == pytest.approx(6) and slope == 1
