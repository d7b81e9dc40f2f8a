"""Forward mode and Hessians, against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.running import run_initialized as run

# ---------------------------------------------------------------- jvp


def test_jvp_of_a_matrix_product() -> None:
    rng = np.random.default_rng(0)
    a, b, da, db = (rng.normal(size=s) for s in ((2, 3), (3, 4), (2, 3), (3, 4)))
    x, y = tf.constant(a), tf.constant(b)
    (product,) = tf.jvp(tf.matmul(x, y), [x, y], [da, db])
    np.testing.assert_allclose(run(product), da @ b + a @ db, rtol=1e-12)


def test_jvp_is_the_jacobian_times_the_vector() -> None:
    x = tf.constant([0.1, 0.2, 0.3], tf.float64)
    y = tf.nn.softmax(tf.sin(x))
    rows = tf.stack([tf.gradients(y[i], x)[0] for i in range(3)])
    v = np.array([1.0, -2.0, 0.5])
    jacobian, product = run([rows, tf.jvp(y, x, v)[0]])
    np.testing.assert_allclose(product, jacobian @ v, rtol=1e-10)


THROUGH: dict[str, Callable[[Any], Any]] = {
    "softmax cross-entropy": lambda x: tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=tf.constant([[0.2, 0.3, 0.5], [1, 0, 0]], tf.float64), logits=x
    ),
    "sparse cross-entropy": lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 2], logits=x),
    "cond": lambda x: tf.cond(tf.reduce_sum(x) > 100.0, lambda: x, lambda: x * x * x),
    "map_fn": lambda x: tf.map_fn(lambda row: tf.tanh(row) * row, x),
    "sort": tf.sort,
    "convolution": lambda x: tf.nn.conv2d(
        tf.reshape(x, [1, 2, 3, 1]) ** 2, tf.ones([2, 2, 1, 1], tf.float64), [1, 1, 1, 1], "SAME"
    ),
    "pooling": lambda x: tf.nn.max_pool(tf.reshape(x, [1, 2, 3, 1]), [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    "inverse": lambda x: tf.linalg.inv(tf.matmul(x, x, transpose_b=True)),
}


@pytest.mark.parametrize("name", THROUGH)
def test_jvp_is_the_slope_along_the_vector(name: str) -> None:
    rng = np.random.default_rng(0)
    at, v, h = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), 1e-6
    x = tf.constant(at)
    y = THROUGH[name](x)
    (product,) = tf.jvp(y, x, v)
    slope = (run(y, {x: at + h * v}) - run(y, {x: at - h * v})) / (2 * h)
    np.testing.assert_allclose(run(product), slope, rtol=1e-6, atol=1e-8)


def test_jvp_of_several_results() -> None:
    x, z = tf.constant(2.0), tf.constant(5.0)
    first, second, third = tf.jvp([x * x, 3 * x, z], x, 1.0)
    assert run([first, second]) == [4, 3]
    assert third is None


def test_jvp_where_nothing_is_connected() -> None:
    assert tf.jvp([tf.constant(1.0), tf.constant(2.0)], tf.constant(3.0), 1.0) == [None, None]


def test_jvp_of_a_variable_and_of_gathered_rows() -> None:
    w = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    y = tf.square(tf.gather(w, [2, 0, 2]))
    (product,) = tf.jvp(y, w, np.ones([3, 2], np.float32))
    np.testing.assert_array_equal(run(product), [[10, 12], [2, 4], [10, 12]])


def test_jvp_through_a_loop() -> None:
    x = tf.constant(3.0)
    y = tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, a * x), [0, tf.constant(1.0)])[1]
    assert run(tf.jvp(y, x, 1.0)) == [27]


def test_jvp_can_be_differentiated() -> None:
    x = tf.constant(2.0)
    (slope,) = tf.jvp(x**3, x, 1.0)
    assert run(tf.gradients(slope, x)) == [12]


def test_jvp_of_unknown_shapes() -> None:
    x = tf.placeholder(tf.float32)
    (product,) = tf.jvp(tf.reduce_sum(x * x), x, 2 * tf.ones_like(x))
    assert run(product, {x: [[1, 2], [3, 4]]}) == 40


def test_jvp_checks_what_is_given() -> None:
    x = tf.constant([1.0, 2.0])
    with pytest.raises(ValueError, match="Passed 2 vs for 1 xs"):
        tf.jvp(x, [x], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"vs\[0\] has shape \[3\], but its x has \[2\]"):
        tf.jvp(x, x, [1.0, 2.0, 3.0])


# ---------------------------------------------------------------- hessians


def test_the_hessian_of_a_quadratic_form() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    x = tf.constant(rng.normal(size=3))
    y = tf.reduce_sum(x * tf.tensordot(tf.constant(a), x, 1))
    (hessian,) = tf.hessians(y, x)
    assert hessian.shape.as_list() == [3, 3]
    np.testing.assert_allclose(run(hessian), a + a.T, rtol=1e-12)


def test_hessians_of_several_xs_of_any_rank() -> None:
    x, y = tf.constant(2.0), tf.constant([[1.0, 2.0], [3.0, 4.0]])
    of_x, of_y = run(tf.hessians(x**3 + tf.reduce_sum(y**3), [x, y]))
    assert of_x == 12
    np.testing.assert_array_equal(of_y, np.diag([6.0, 12.0, 18.0, 24.0]).reshape(2, 2, 2, 2))


def test_hessians_sum_over_ys() -> None:
    x = tf.constant([1.0, 2.0])
    np.testing.assert_array_equal(run(tf.hessians([x**2, x**3], x))[0], np.diag([8.0, 14.0]))


def test_the_hessian_of_an_unknown_shape() -> None:
    x = tf.placeholder(tf.float32)
    (hessian,) = tf.hessians(tf.reduce_sum(tf.exp(x)), x)
    assert run(hessian, {x: np.zeros([2, 1])}).shape == (2, 1, 2, 1)


def test_the_hessian_of_nothing() -> None:
    x = tf.zeros([0, 2])
    assert run(tf.hessians(tf.reduce_sum(tf.exp(x)), x))[0].shape == (0, 2, 0, 2)


def test_the_hessian_of_a_variable() -> None:
    w = tf.Variable([1.0, 2.0])
    np.testing.assert_array_equal(run(tf.hessians(tf.reduce_prod(w), w))[0], [[0, 1], [1, 0]])


def test_the_hessian_of_something_linear_is_zero() -> None:
    x = tf.constant([1.0, 2.0])
    np.testing.assert_array_equal(run(tf.hessians(3 * x, x))[0], np.zeros([2, 2]))


def test_the_hessian_through_a_loop() -> None:
    x = tf.constant(2.0)
    y = tf.while_loop(lambda i, _: i < 3, lambda i, a: (i + 1, a * x), [0, tf.constant(1.0)])[1]
    assert run(tf.hessians(y, x)) == [12]


def test_a_hessian_of_what_is_not_connected_is_an_error() -> None:
    with pytest.raises(ValueError, match="None values not supported"):
        tf.hessians(tf.constant(1.0), tf.constant(2.0))


@pytest.mark.parametrize("shape", [None, [2]])
def test_hessians_of_a_placeholder_without_dtype(shape: list[int] | None) -> None:
    x = tf.placeholder(shape=shape)
    found = tf.hessians(tf.reduce_sum(x * x * x), x)[0]
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(found, {x: np.array([1.0, 2.0])}), [[6.0, 0.0], [0.0, 12.0]])
