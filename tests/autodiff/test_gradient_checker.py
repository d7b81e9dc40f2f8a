"""tf.test.compute_gradient and compute_gradient_error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tahr as tf


@pytest.fixture
def session() -> Iterator[Any]:
    with tf.Session() as session:
        yield session


@pytest.mark.usefixtures("session")
def test_the_jacobians_of_a_matrix_product() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0).reshape(3, 1) + 1
    x = tf.constant(a)
    y = tf.matmul(x, tf.constant(b))
    theoretical, numeric = tf.test.compute_gradient(x, [2, 3], y, [2, 1], x_init_value=a)
    expected = np.kron(np.eye(2), b)
    np.testing.assert_allclose(theoretical, expected)
    np.testing.assert_allclose(numeric, expected, atol=1e-9)


@pytest.mark.usefixtures("session")
def test_several_xs() -> None:
    x, y = tf.constant([1.0, 2.0], tf.float64), tf.constant(3.0, tf.float64)
    (of_x, _), (of_y, _) = tf.test.compute_gradient(
        [x, y], [[2], []], x * y, [2], x_init_value=[np.array([1.0, 2.0]), np.array(3.0)]
    )
    np.testing.assert_array_equal(of_x, [[3, 0], [0, 3]])
    np.testing.assert_array_equal(of_y, [[1, 2]])
    assert tf.test.compute_gradient_error([x, y], [[2], []], x * y, [2]) < 1e-8


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_a_right_gradient_has_a_small_error(dtype: str) -> None:
    x = tf.placeholder(dtype, [2, 3])
    error = tf.test.compute_gradient_error(x, [2, 3], tf.exp(x) * x, [2, 3])
    assert error < (1e-2 if dtype == "float32" else 1e-5)


@pytest.mark.usefixtures("session")
def test_a_wrong_gradient_is_found() -> None:
    @tf.custom_gradient
    def wrong(x: Any) -> Any:
        return x * x, lambda dy: 2.002 * x * dy

    x = tf.placeholder(tf.float64, [3])
    value = np.array([1.0, 2.0, 3.0])
    error = tf.test.compute_gradient_error(x, [3], wrong(x), [3], x_init_value=value)
    assert error == pytest.approx(0.006, rel=1e-3)


@pytest.mark.usefixtures("session")
def test_sparse_gradients_count_repeated_rows() -> None:
    x = tf.constant(np.ones([3, 2]))
    y = tf.gather(x, [0, 2, 0])
    assert tf.test.compute_gradient_error(x, [3, 2], tf.square(y), [3, 2]) < 1e-8


@pytest.mark.usefixtures("session")
def test_the_gradient_may_be_the_incoming_one() -> None:
    x = tf.constant([1.0, 2.0], tf.float64)
    assert tf.test.compute_gradient_error(x, [2], x + 1, [2]) < 1e-8


@pytest.mark.usefixtures("session")
def test_no_elements() -> None:
    x = tf.placeholder(tf.float32, [0, 2])
    theoretical, numeric = tf.test.compute_gradient(x, [0, 2], 2 * x, [0, 2])
    assert theoretical.shape == numeric.shape == (0, 0)
    assert tf.test.compute_gradient_error(x, [0, 2], 2 * x, [0, 2]) == 0


@pytest.mark.usefixtures("session")
def test_variables_and_other_feeds() -> None:
    w = tf.Variable(tf.ones([2], tf.float64))
    x, scale = tf.placeholder(tf.float64, [2]), tf.placeholder(tf.float64, [])
    theoretical, _ = tf.test.compute_gradient(
        x, [2], scale * x * w, [2], init_targets=[w.initializer], extra_feed_dict={scale: 5.0}
    )
    np.testing.assert_array_equal(theoretical, [[5, 0], [0, 5]])


@pytest.mark.usefixtures("session")
def test_what_cannot_be_checked_is_an_error() -> None:
    x = tf.constant([1.0, 2.0])
    with pytest.raises(ValueError, match="does not depend on"):
        tf.test.compute_gradient(x, [2], tf.constant(1.0), [])
    with pytest.raises(ValueError, match=r"x_shape is \[2\], but x_init_value has \[3\]"):
        tf.test.compute_gradient(x, [2], x, [2], x_init_value=[1, 2, 3])
    n = tf.constant([1, 2])
    with pytest.raises(TypeError, match="must be of real or complex numbers"):
        tf.test.compute_gradient(n, [2], n * 2, [2])


def test_a_session_is_needed() -> None:
    x = tf.constant(1.0)
    with pytest.raises(ValueError, match="No default session is registered"):
        tf.test.compute_gradient(x, [], x * x, [])
