"""What is computed again instead of being stored: the right numbers, and no array for what stays in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tahr.core.opdef import Array
from tests.backends.native.natively import random, run


def agree(fetches: Sequence[Any], feeds: dict[Any, Array]) -> list[Any]:
    """Compares with NumPy; returns the shapes of what kernels write."""
    found, hosts = run(list(fetches), feeds)
    shapes = [
        v.shape
        for r in execute._records.values()
        if r.native
        for s in r.native.segments
        for c in s.calls
        for v in c.writes
    ]
    with tf.Session(backend="numpy") as session:
        expected = session.run(list(fetches), feeds)
    assert not hosts
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    return shapes


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalization(layout: str, training: bool) -> None:
    x, scale, offset = random(4, 5, 6, 3) + 2, random(3), random(3)
    mean, variance = (None, None) if training else (random(3), np.square(random(3)))
    if layout == "NCHW":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    given = [tf.placeholder(tf.float64, a.shape) for a in (x, scale, offset)]
    ys = tf.nn.fused_batch_norm(
        given[0], given[1], given[2], mean, variance, data_format=layout, is_training=training
    )
    gradients = tf.gradients(tf.square(tf.nn.relu(ys[0])), given)
    shapes = agree([*ys, *gradients], dict(zip(given, (x, scale, offset))))
    if layout == "NHWC":
        # The result, its gradient with and without what it is multiplied by, and that of the images.
        assert sum(len(shape) == 4 for shape in shapes) <= 4


def test_a_difference_is_not_stored() -> None:
    x = random(64, 50)
    given = tf.placeholder(tf.float64, [None, 50])
    centered = given - tf.reduce_mean(given, 0)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centered), 0))
    shapes = agree([centered / deviation], {given: x})
    assert sum(len(shape) == 2 for shape in shapes) == 1


def test_what_is_fetched_is_stored() -> None:
    x = random(64, 50)
    given = tf.placeholder(tf.float64, [None, 50])
    centered = given - tf.reduce_mean(given, 0)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centered), 0))
    agree([centered / deviation, centered], {given: x})


def test_a_variable_that_changes_is_not_read_later() -> None:
    w = tf.Variable(np.float64(3.0), use_resource=True)
    given = tf.placeholder(tf.float64, [None, 50])
    scaled = given * w.read_value()
    total = tf.reduce_sum(tf.square(scaled), 0)
    with tf.control_dependencies([total]):
        change = w.assign_add(1.0)
    with tf.control_dependencies([change.op]):
        late = tf.identity(total)
    result = scaled / late
    x = random(64, 50)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        found = session.run(result, {given: x})
    np.testing.assert_allclose(found, 3 * x / np.square(3 * x).sum(0), rtol=1e-12)


def test_chains() -> None:
    x, a = random(64, 50), random(50)
    given, scale = tf.placeholder(tf.float64, [None, 50]), tf.placeholder(tf.float64, [50])
    first = given * scale
    second = tf.maximum(first - tf.reduce_max(given, 0), -3.0)
    one = tf.reduce_sum(second, 0)
    two = tf.reduce_sum(first * tf.exp(second - one), 0)
    result = second * two + first * one
    shapes = agree([result], {given: x, scale: a})
    assert sum(len(shape) == 2 for shape in shapes) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("axes", [[0], [1], [2], [0, 2]])
@pytest.mark.parametrize("reduce", [tf.reduce_max, tf.reduce_min])
def test_what_a_maximum_is_of_is_found_again(reduce: Any, axes: list[int], dtype: str) -> None:
    """Halves are computed as float32: one that is computed again must be equal to one that was stored."""
    x, scale, more = (tf.placeholder(dtype, shape) for shape in ([None] * 3, [None], [None, 1]))
    y = x * scale + more
    gradient = tf.gradients(tf.reduce_sum(reduce(y, axes)), x)[0] / scale
    numpy_dtype = x.dtype.as_numpy_dtype
    feeds = {x: random(9, 17, 35), scale: 1.0 + random(35) ** 2, more: random(17, 1)}
    with tf.Session(backend="native", tier="compiled") as session:
        found = session.run(gradient, {t: a.astype(numpy_dtype) for t, a in feeds.items()})
    np.testing.assert_allclose(np.sum(found, tuple(axes), np.float64), 1.0, rtol=2e-2)
