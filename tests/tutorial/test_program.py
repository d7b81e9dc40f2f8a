"""The tutorial's example program, statement by statement as it is printed there."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr import (
    Graph,
    Session,
    Variable,
    add,
    log,
    matmul,
    multiply,
    negative,
    placeholder,
    reduce_sum,
    softmax,
)
from tests.tutorial.clouds import blue_points, first_bias, first_weights, losses_by_hand, red_points

GradientDescentOptimizer = tf.train.GradientDescentOptimizer


def test_the_example_program(capsys: pytest.CaptureFixture[str]) -> None:
    Graph().as_default()

    X = placeholder()
    c = placeholder()

    W = Variable(first_weights)
    b = Variable(first_bias)

    p = softmax(add(matmul(X, W), b))

    J = negative(reduce_sum(reduce_sum(multiply(c, log(p)), axis=1)))

    minimization_op = GradientDescentOptimizer(learning_rate=0.01).minimize(J)

    feed_dict = {
        X: np.concatenate((blue_points, red_points)),
        c: [[1, 0]] * len(blue_points) + [[0, 1]] * len(red_points),
    }

    session = Session()

    losses = []
    for step in range(100):
        J_value = session.run(J, feed_dict)
        losses.append(J_value)
        if step % 10 == 0:
            print("Step:", step, " Loss:", J_value)
        session.run(minimization_op, feed_dict)

    W_value = session.run(W)
    b_value = session.run(b)

    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in printed] == [str(step) for step in range(0, 100, 10)]
    assert 190 < float(printed[0].split()[-1]) < 210
    assert 0.9 < float(printed[-1].split()[-1]) < 1.2
    assert losses == sorted(losses, reverse=True)
    np.testing.assert_allclose(losses, losses_by_hand(100, 0.01), rtol=1e-9)
    assert W_value.shape == (2, 2) and b_value.shape == (2,)
    assert W_value.dtype == b_value.dtype == np.float64
    # The line that the tutorial plots separates the clouds.
    for points, is_blue in ((blue_points, True), (red_points, False)):
        scores = points @ W_value + b_value
        assert np.mean((scores[:, 0] > scores[:, 1]) == is_blue) >= 0.98


def test_a_sigmoid_perceptron() -> None:
    x = placeholder()
    w = Variable([1, 1])
    b = Variable(0)
    p = tf.sigmoid(add(matmul(w, x), b))
    # Lists are fed, integers multiply, vectors are matrix-multiplied; the sigmoid of 5 is the tutorial's example.
    assert Session().run(p, {x: [3, 2]}) == pytest.approx(1 / (1 + np.exp(-5)))


def test_matrix_times_vector_and_vector_times_matrix() -> None:
    x = placeholder()
    y = placeholder()
    z = matmul(x, y)
    session = Session()
    matrix = [[1, 2], [3, 4], [5, 6]]
    assert session.run(z, {x: matrix, y: [1, 10]}).tolist() == [21, 43, 65]
    assert session.run(z, {x: [1, 10, 100], y: matrix}).tolist() == [531, 642]
    assert session.run(z, {x: [1, 2], y: [3, 4]}) == 11


def test_the_first_graph_of_the_series() -> None:
    Graph().as_default()
    A = Variable([[1, 0], [0, -1]])
    b = Variable([1, 1])
    x = placeholder()
    z = add(matmul(A, x), b)
    assert Session().run(z, {x: [1, 2]}).tolist() == [2, -1]


def test_a_python_number_beside_a_placeholder_without_dtype_stays_weak() -> None:
    x = placeholder()
    half = x * 0.5
    twice = 2 * x
    session = Session()
    assert session.run(half, {x: np.float32(3)}).dtype == np.float32
    assert session.run(half, {x: np.float64(3)}).dtype == np.float64
    assert session.run(half, {x: 3}) == 1.5
    assert session.run(twice, {x: np.arange(3, dtype=np.int8)}).dtype == np.int8


def test_a_gradient_has_the_dtype_of_what_it_is_taken_with_respect_to() -> None:
    x = placeholder()
    w = Variable(np.array([1, 2], np.float32))
    (dw,) = tf.gradients(reduce_sum(multiply(x, w)), [w])
    found = Session().run(dw, {x: np.array([3.0, 4.0])})
    assert found.dtype == np.float32
    assert found.tolist() == [3, 4]


def test_operations_know_their_consumers() -> None:
    x = placeholder()
    y = negative(x)
    z = multiply(y, x)
    assert x.consumers() == [y.op, z.op]
    assert list(z.op.inputs) == [y, x]
    assert z.consumers() == []


def test_integers_become_floats_where_only_floats_make_sense() -> None:
    x = placeholder()
    session = Session()
    assert session.run(log(x), {x: 1}) == 0
    assert session.run(softmax(x), {x: [[0, 0]]}).tolist() == [[0.5, 0.5]]
    assert session.run(tf.sigmoid(x), {x: [0]}).tolist() == [0.5]
    assert session.run(tf.gradients(tf.sigmoid(x), [x])[0], {x: [0]}) == [0.25]
    assert session.run(negative(x), {x: [1]}).dtype.kind == "i"


def test_what_is_written_to_a_variable_takes_its_dtype() -> None:
    x = placeholder()
    w = Variable(np.array([1, 2], np.float32))
    found = Session().run(tf.assign(w, x), {x: np.array([0.5, 1.5])})
    assert found.dtype == np.float32
    assert found.tolist() == [0.5, 1.5]


@pytest.mark.parametrize("optimizer", ["GradientDescent", "Momentum", "Adam", "Adagrad", "RMSProp", "Ftrl"])
def test_optimizers_keep_the_variables_dtype_whatever_is_fed(optimizer: str) -> None:
    x = placeholder()
    w = Variable(np.array([1, 2], np.float32))
    arguments = {"momentum": 0.9} if optimizer == "Momentum" else {}
    step = getattr(tf.train, optimizer + "Optimizer")(0.1, **arguments).minimize(reduce_sum(multiply(x, w)))
    session = Session()
    session.run(step, {x: [3, 4]})
    found = session.run(w)
    assert found.dtype == np.float32
    assert (found < [1, 2]).all()
