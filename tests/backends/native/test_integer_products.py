"""Products of integers: loop nests with the numbers of NumPy's, all transpositions, batches, sizes and threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import target

pytestmark = pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def operand(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    """Numbers whose products overflow small types."""
    return rng.integers(0, 256, shape).astype(dtype)


def run(fetch: Any, feeds: dict[Any, np.ndarray], threads: int = 0) -> np.ndarray:
    """The result of the native backend, all of it native."""
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Session(backend="native", tier="compiled", config=config) as session:
        assert not session.explain(fetch, feeds).boundaries
        return session.run(fetch, feeds)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_matrices(dtype: str, transpose_a: bool, transpose_b: bool) -> None:
    rng = np.random.default_rng(0)
    for m, n, k in [(33, 70, 50), (1, 5, 300), (4, 1, 7), (3, 4, 0), (0, 4, 3), (3, 0, 2), (1, 1, 1)]:
        a, b = operand(rng, dtype, m, k), operand(rng, dtype, k, n)
        with tf.Graph().as_default():
            x, y = (tf.placeholder(dtype, [None, None]) for _ in range(2))
            product = tf.matmul(x, y, transpose_a=transpose_a, transpose_b=transpose_b)
            feeds = {x: a.T.copy() if transpose_a else a, y: b.T.copy() if transpose_b else b}
            found = run(product, feeds)
        assert found.dtype == a.dtype
        np.testing.assert_array_equal(found, a @ b)


def test_batches() -> None:
    rng = np.random.default_rng(1)
    a, b = operand(rng, "int32", 2, 1, 5, 9), operand(rng, "int32", 3, 9, 4)
    x, y = tf.placeholder(tf.int32, a.shape), tf.placeholder(tf.int32, b.shape)
    np.testing.assert_array_equal(run(tf.matmul(x, y), {x: a, y: b}), a @ b)


def test_threads() -> None:
    rng = np.random.default_rng(2)
    a, b = operand(rng, "int64", 100, 300), operand(rng, "int64", 300, 200)
    x, y = tf.placeholder(tf.int64, [None, 300]), tf.constant(b)
    for threads in (1, 2, 4):
        np.testing.assert_array_equal(run(tf.matmul(x, y), {x: a}, threads), a @ b)


@pytest.mark.parametrize("terms", [1, 4])
def test_other_numbers_of_terms_are_an_error(terms: int) -> None:
    """A multiplication would stretch one term to all."""
    x, y = tf.placeholder(tf.int32), tf.placeholder(tf.int32)
    feeds = {x: np.ones((2, terms), np.int32), y: np.ones((3, 5), np.int32)}
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.InvalidArgumentError),
    ):
        session.run(tf.matmul(x, y), feeds)
