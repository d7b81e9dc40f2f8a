"""Max pooling that says where the maxima are, and its gradients of first and second order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import placed_maxima
from tahr.core import dtypes
from tahr.ops import pooling
from tests.backends.native import guarded, natively


def pooled(x: Any, size: int, padding: str, counts_images: bool, dtype: Any = tf.int64) -> Any:
    window, strides = [1, size, size, 1], [1, 2, 2, 1]
    return tf.nn.max_pool_with_argmax(
        x, window, strides, padding, output_dtype=dtype, include_batch_in_index=counts_images
    )


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.float16])
@pytest.mark.parametrize("counts_images", [False, True])
@pytest.mark.parametrize(("size", "padding", "channels"), [(2, "SAME", 5), (3, "SAME", 16), (3, "VALID", 1)])
def test_maxima_places_and_gradients(
    dtype: Any, counts_images: bool, size: int, padding: str, channels: int
) -> None:
    x = tf.placeholder(dtype, [None, None, None, channels])
    y, places = pooled(x, size, padding, counts_images)
    (dx,) = tf.gradients(y * y, x)
    (ddx,) = tf.gradients(dx * dx, x)
    random = np.random.RandomState(0)
    feeds = [
        {x: random.randint(-9, 9, (*shape, channels)).astype(dtype.as_numpy_dtype)}
        for shape in ((2, 7, 6), (3, 20, 31), (0, 4, 4))
    ]
    natively.is_as_numpy([y, places, dx, ddx], *feeds)


@pytest.mark.parametrize("dtype", [tf.int32, tf.uint8])
def test_integers(dtype: Any) -> None:
    x = tf.placeholder(dtype, [2, 5, 5, 3])
    value = np.random.RandomState(0).randint(0, 9, (2, 5, 5, 3)).astype(dtype.as_numpy_dtype)
    natively.is_as_numpy(list(pooled(x, 2, "SAME", False, tf.int32)), {x: value})


def test_nan_and_infinity() -> None:
    x = tf.placeholder(tf.float32, [1, 4, 4, 1])
    value = np.array([[np.nan, 1, 2, np.nan], [3, 4, 5, 6], [-np.inf, -np.inf, np.inf, 0], [-np.inf] * 4])
    natively.is_as_numpy(list(pooled(x, 2, "VALID", False)), {x: value.reshape(1, 4, 4, 1)})


def test_pictures_that_are_put_back() -> None:
    """Unpooling: a net that gives maxima back to their places, trained in one segment."""
    x = tf.placeholder(tf.float32, [None, 6, 6, 4])
    y, places = pooled(x, 2, "SAME", True)
    flat = tf.scatter_nd(tf.reshape(places, [-1, 1]), tf.reshape(y, [-1]), [tf.size(x, out_type=tf.int64)])
    loss = tf.reduce_mean(tf.square(tf.reshape(flat, tf.shape(x)) - x))
    feeds = {x: np.random.RandomState(0).randn(3, 6, 6, 4).astype(np.float32)}
    with tf.Session(backend="numpy") as session:
        expected = session.run([loss, *tf.gradients(loss, x)], feeds)
    got, hosts = natively.run([loss, *tf.gradients(loss, x)], feeds)
    assert hosts == []
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("place", [-1, 48, 2**40])
def test_places_that_are_not_there(place: int) -> None:
    x = tf.placeholder(tf.float32, [2, 4, 4, 3])
    part, places = tf.placeholder(tf.float32, [2, 2, 2, 3]), tf.placeholder(tf.int64, [2, 2, 2, 3])
    attrs: dict[str, Any] = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": "SAME"}
    results = [
        pooling.MaxPoolGradWithArgmax(x, part, places, **attrs),
        pooling.MaxPoolGradGradWithArgmax(x, x, places, **attrs),
    ]
    feeds = {x: np.zeros((2, 4, 4, 3)), part: np.ones((2, 2, 2, 3)), places: np.zeros((2, 2, 2, 3), np.int64)}
    feeds[places][1, 1, 1, 2] = place
    for result in results:
        for backend, tier in (("numpy", "reference"), ("native", "compiled")):
            with (
                tf.Session(backend=backend, tier=tier) as session,
                pytest.raises(tf.errors.InvalidArgumentError, match=r"must be in \[0, 48\)"),
            ):
                session.run(result, feeds)


def test_parts_of_another_shape_are_numpys() -> None:
    x, part = tf.placeholder(tf.float32, [2, 4, 4, 3]), tf.placeholder(tf.float32, [2, 2, 1, 3])
    places = tf.placeholder(tf.int64, [2, 2, 2, 3])
    attrs: dict[str, Any] = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1), "padding": "SAME"}
    dx = pooling.MaxPoolGradWithArgmax(x, part, places, **attrs)
    feeds = {x: np.zeros((2, 4, 4, 3)), part: np.ones((2, 2, 1, 3)), places: np.zeros((2, 2, 2, 3))}
    with tf.Session(backend="native", tier="compiled") as session, pytest.raises(Exception, match="shape"):
        session.run(dx, feeds)


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("places", [dtypes.int32, dtypes.int64])
def test_kernels_between_guards(tiles: int, places: Any) -> None:
    pictures = np.random.RandomState(0).randn(2, 10).astype(np.float32)
    numbers = np.array([[9, 0, 9], [1, 1, 5]], places.numpy)
    parts = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    table, status = (-(-2 // tiles), 2, 3, 10), ((1,), np.int64)
    take = placed_maxima.in_pictures(dtypes.float32, places, is_adjoint=False)
    taken, code = guarded.run(take, [pictures, numbers], [((2, 3), np.float32), status], table, tiles)
    np.testing.assert_array_equal(taken, np.take_along_axis(pictures, numbers.astype(int), 1))
    assert code == -1  # untouched
    put = placed_maxima.in_pictures(dtypes.float32, places, is_adjoint=True)
    sums, code = guarded.run(put, [parts, numbers], [((2, 10), np.float32), status], table, tiles)
    np.testing.assert_array_equal(sums, [[2, 0, 0, 0, 0, 0, 0, 0, 0, 4], [0, 9, 0, 0, 0, 6, 0, 0, 0, 0]])
    assert code == -1
    numbers[1, 2] = 10
    _, code = guarded.run(put, [parts, numbers], [((2, 10), np.float32), status], table, tiles)
    assert code == tf.errors.INVALID_ARGUMENT


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("hides", [False, True])
def test_gradients_of_gradients_of_maxima(layout: str, hides: bool) -> None:
    """As in a gradient penalty."""
    shape = (2, 6, 7, 3) if layout == "NHWC" else (2, 3, 6, 7)
    channels = layout.index("C")
    known = [d if i == channels or not hides else None for i, d in enumerate(shape)]
    x = tf.placeholder(tf.float64, known)
    y = tf.nn.max_pool(tf.tanh(x), 3, 2, "SAME", data_format=layout)
    (dx,) = tf.gradients(y * y, x)
    penalty = tf.gradients(tf.reduce_sum(dx * dx), x)
    natively.is_as_numpy(penalty, {x: np.random.RandomState(0).randn(*shape)})
