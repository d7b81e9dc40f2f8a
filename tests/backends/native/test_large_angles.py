"""Angles that only a long table reduces, wherever element-wise code stands: `scalar.seldom` is a branch there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core.opdef import Array
from tests.backends.native.hostile import hostile
from tests.backends.native.natively import run, same

# name: what is computed of a matrix whose elements are angles
PLACES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "columns": tf.sin,
    "two functions of it": lambda x: tf.sin(x) * tf.cos(x),
    "a gradient": lambda x: tf.gradients(tf.sin(x) + tf.tan(x), x)[0],
    "columns across": lambda x: tf.sin(tf.transpose(x)),
    "columns with a stride": lambda x: tf.cos(x[:, ::2]),
    "narrow rows": lambda x: tf.reduce_sum(tf.sin(tf.reshape(x, [-1, 2])), 1),
    "sums of rows": lambda x: tf.reduce_sum(tf.cos(x), 1),
    "sums of columns": lambda x: tf.reduce_sum(tf.sin(x), 0),
    "the same in a row": lambda x: tf.sin(x[:, :1]) + tf.zeros_like(x),
    "behind a product": lambda x: tf.cos(tf.matmul(x, tf.eye(tf.shape(x)[1], dtype=x.dtype))),
    "rows that are looked up": lambda x: tf.sin(tf.gather(x, [3, 0, 3])),
    "a loop": lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, x + tf.sin(y)), (0, x))[1],
}


def angles(rows: int, columns: int, dtype: str) -> Array:
    """Usual angles, with a few huge ones of both signs among them, and what is no angle."""
    random = np.random.default_rng(rows + columns)
    x = random.uniform(-9, 9, (rows, columns))
    chosen = random.random(x.shape) < 0.1
    x[chosen] *= 10.0 ** random.uniform(14, 37, chosen.sum())
    x[-1, -1] = -(2.0**100)  # the last of a tail
    x[rows // 2, 0], x[0, columns // 2] = np.inf, np.nan
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 6), (8, 37), (150, 258)])
@pytest.mark.parametrize("place", PLACES)
def test_angles_that_are_too_large_for_vectors(place: str, shape: tuple[int, int], dtype: str) -> None:
    given = angles(*shape, dtype)
    x = tf.placeholder(dtype, [None, shape[1]])
    result = PLACES[place](x)
    if place == "behind a product":  # in which infinity times 0 is NaN
        given[~np.isfinite(given)] = 1.0
    with tf.Session(backend="numpy") as session:
        expected: Any = session.run(result, {x: given})
    with hostile():
        found, hosts = run(result, {x: given}, threads=1)
    assert not hosts
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert not np.isfinite(given).all() or np.isfinite(found).all()
    for threads in (2, 4):
        again, _ = run(result, {x: given}, threads=threads)
        assert same(found, again)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_large_halves(dtype: tf.DType) -> None:
    given = np.array([3.0, -6e4, 2e4, np.inf, 0.5] * 20).astype(dtype.as_numpy_dtype)
    x = tf.placeholder(dtype, [None])
    found, hosts = run(tf.sin(x), {x: given})
    assert not hosts
    with np.errstate(invalid="ignore"):
        wanted = np.sin(given.astype(np.float64))
    np.testing.assert_allclose(found.astype(np.float64), wanted, atol=4e-3)
