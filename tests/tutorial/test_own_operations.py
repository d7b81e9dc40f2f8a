"""Operations written as the tutorial writes its own: subclasses with `compute`, and gradients of arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tahr as tf
from tahr import Graph, Operation, RegisterGradient, Session, Variable, placeholder
from tahr.autodiff import registry
from tests.tutorial.clouds import blue_points, first_bias, first_weights, losses_by_hand, red_points


class add(Operation):
    def __init__(self, x, y):
        super().__init__([x, y])

    def compute(self, x_value, y_value):
        return x_value + y_value


class matmul(Operation):
    def __init__(self, a, b):
        super().__init__([a, b])

    def compute(self, a_value, b_value):
        return a_value.dot(b_value)


class softmax(Operation):
    def __init__(self, a):
        super().__init__([a])

    def compute(self, a_value):
        powers = np.exp(a_value)
        return powers / np.sum(powers, axis=1)[:, None]


class log(Operation):
    def __init__(self, x):
        super().__init__([x])

    def compute(self, x_value):
        return np.log(x_value)


class multiply(Operation):
    def __init__(self, x, y):
        super().__init__([x, y])

    def compute(self, x_value, y_value):
        return x_value * y_value


class reduce_sum(Operation):
    def __init__(self, A, axis=None):
        super().__init__([A])
        self.axis = axis

    def compute(self, A_value):
        return np.sum(A_value, self.axis)


class negative(Operation):
    def __init__(self, x):
        super().__init__([x])

    def compute(self, x_value):
        return -x_value


@pytest.fixture(autouse=True)
def gradients() -> Iterator[None]:
    """The gradients of this file's classes, registered for one test."""
    before = dict(registry._registered)

    @RegisterGradient("add")
    def _add(op, grad):
        def summed(shape):
            total = grad
            while np.ndim(total) > len(shape):
                total = np.sum(total, axis=0)
            return total

        return [summed(x.shape) for x in op.inputs]

    @RegisterGradient("matmul")
    def _matmul(op, grad):
        a, b = op.inputs
        return [grad.dot(b.T), a.T.dot(grad)]

    @RegisterGradient("softmax")
    def _softmax(op, grad):
        return (grad - np.sum(grad * op.output, 1)[:, None]) * op.output

    @RegisterGradient("log")
    def _log(op, grad):
        return grad / op.inputs[0]

    @RegisterGradient("multiply")
    def _multiply(op, grad):
        a, b = op.inputs
        return [grad * b, grad * a]

    @RegisterGradient("reduce_sum")
    def _reduce_sum(op, grad):
        a = op.inputs[0]
        kept = np.array(a.shape)
        kept[op.axis] = 1
        return np.broadcast_to(np.reshape(grad, kept), a.shape)

    @RegisterGradient("negative")
    def _negative(op, grad):
        return -grad

    yield
    registry._registered.clear()
    registry._registered.update(before)


def test_the_example_program_on_own_operations() -> None:
    Graph().as_default()
    X, c = placeholder(), placeholder()
    W, b = Variable(first_weights), Variable(first_bias)
    p = softmax(add(matmul(X, W), b))
    J = negative(reduce_sum(reduce_sum(multiply(c, log(p)), axis=1)))
    minimization_op = tf.train.GradientDescentOptimizer(learning_rate=0.01).minimize(J)
    classes = [[1, 0]] * len(blue_points) + [[0, 1]] * len(red_points)
    feed_dict = {X: np.concatenate((blue_points, red_points)), c: classes}
    session = Session()
    losses = []
    for _ in range(30):
        losses.append(session.run(J, feed_dict))
        session.run(minimization_op, feed_dict)
    np.testing.assert_allclose(losses, losses_by_hand(30, 0.01), rtol=1e-9)


def test_own_operations_mix_with_the_library() -> None:
    x = placeholder(tf.float64, [None, 2])
    w = Variable(first_weights)
    loss = tf.reduce_sum(tf.square(add(tf.matmul(x, w), 1.0)))
    (dw,) = tf.gradients(loss, [w])
    points = red_points[:5]
    expected = 2 * points.T @ (points @ first_weights + 1)
    np.testing.assert_allclose(Session().run(dw, {x: points}), expected)


def test_an_operation_stands_for_its_value() -> None:
    x = placeholder()
    y = multiply(x, 3)
    z = y - 1
    session = Session()
    assert session.run(y, {x: 2}) == 6
    assert session.run([y, z], {x: [1, 2]})[1].tolist() == [2, 5]
    assert session.run({"y": y, "again": y.output}, {x: 2}) == {"y": 6, "again": 6}
    assert session.run(z, {y.output: 10}) == 9


def test_an_operation_knows_its_inputs_and_consumers() -> None:
    x = placeholder()
    y = negative(x)
    z = add(y, x)
    assert x.consumers() == [y, z]
    assert y.output.consumers() == [z]
    assert list(z.inputs) == [y.output, x]
    assert (y.type, y.name, negative(x).name) == ("negative", "negative", "negative_1")


def test_compute_and_gradient_see_the_attributes_of_their_own_object() -> None:
    x = placeholder(tf.float64)
    rows, columns = reduce_sum(x, axis=1), reduce_sum(x, axis=0)
    (dx,) = tf.gradients([rows, columns], [x])
    session = Session()
    values = np.arange(6.0).reshape(2, 3)
    assert session.run(rows, {x: values}).tolist() == [3, 12]
    assert session.run(columns, {x: values}).tolist() == [3, 5, 7]
    assert session.run(dx, {x: values}).tolist() == [[2, 2, 2], [2, 2, 2]]


def test_a_missing_gradient_is_named() -> None:
    class cube(Operation):
        def __init__(self, x):
            super().__init__([x])

        def compute(self, x_value):
            return x_value**3

    w = Variable(2.0)
    with pytest.raises(LookupError, match="No gradient defined for operation 'cube'"):
        tf.gradients(cube(w), [w])


def test_an_error_in_compute_names_the_operation_and_shows_the_users_line() -> None:
    x, y = placeholder(), placeholder()
    z = matmul(x, y)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"matmul(?s:.*)a_value\.dot"):
        Session().run(z, {x: [[1, 2]], y: [[1, 2]]})
