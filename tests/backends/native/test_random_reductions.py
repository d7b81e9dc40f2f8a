"""Several reductions of one tensor beside each other, over any of its dimensions, natively against NumPy.

What shares a kernel depends on all of them: rows and columns, totals that leave it, what is kept between passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import example, given, strategies as st

import tahr as tf
from tahr.core.opdef import Array
from tests.backends.native.hostile import hostile
from tests.backends.native.test_random_graphs import check


def centered(x: Any, axes: Sequence[int]) -> Any:
    """What the mean is taken from, added up along one more dimension."""
    return tf.reduce_sum(tf.tanh(x - tf.reduce_mean(x, axes, keepdims=True)), axes[-1:])


def normalized(x: Any, axes: Sequence[int]) -> Any:
    """Of mean 0 and variance 1."""
    mean, variance = tf.nn.moments(x, list(axes), keepdims=True)
    return (x - mean) * tf.rsqrt(variance + 1.0)


REDUCTIONS: list[Callable[[Any, Sequence[int]], Any]] = [
    tf.reduce_sum,
    tf.reduce_max,
    tf.reduce_mean,
    tf.reduce_min,
    centered,
    normalized,
]
SIZES = st.sampled_from(
    [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 33, 39, 40, 45, 47, 48, 49, 60, 63, 65]
)
SHAPES = st.lists(SIZES, min_size=2, max_size=4).filter(lambda shape: np.prod(shape) < 100_000)
# The last number stands for the last dimension, whatever the rank is.
AXES = st.sampled_from([[0], [0], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3], [3], [1, 2, 3], [1], [0, 3], [2]])
REDUCED = st.lists(
    st.tuples(st.sampled_from(REDUCTIONS), AXES),
    min_size=2,
    max_size=6,
)


@given(
    shape=SHAPES,
    known=st.lists(st.booleans(), min_size=4, max_size=4),
    reduced=REDUCED,
    dtype=st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
)
# Of three vectors, the last of which is masked; and rows that are worked on together, each of several dimensions.
@example(
    shape=[5, 7, 38],
    known=[False, False, True, True],
    reduced=[(tf.reduce_sum, [0]), (tf.reduce_max, [0])],
    dtype="float32",
)
@example(
    shape=[9, 3, 45],
    known=[False, False, False, False],
    reduced=[(tf.reduce_sum, [0]), (tf.reduce_mean, [0, 1, 2, 3])],
    dtype="float32",
)
def test_reductions_beside_each_other(
    shape: list[int], known: list[bool], reduced: Sequence[tuple[Any, list[int]]], dtype: str
) -> None:
    rank = len(shape)
    with tf.Graph().as_default():
        x = tf.placeholder(dtype, [n if k else None for n, k in zip(shape, known)])
        row, column = tf.placeholder(dtype, [shape[-1]]), tf.placeholder(dtype, [shape[0]] + [1] * (rank - 1))
        y = x * row + column
        fetches = [f(y, sorted({min(axis, rank - 1) for axis in axes})) for f, axes in reduced]
        feeds = {t: _numbers(dtype, t, shape) for t in (x, row, column)}
        with tf.Session(backend="numpy") as reference:
            expected = reference.run(fetches, feeds)
        with hostile(), tf.Session(backend="native", tier="compiled") as session:
            check(session.run(fetches, feeds), expected, dtype)


def _numbers(dtype: str, tensor: Any, shape: Sequence[int]) -> Array:
    known = tensor.shape.as_list()
    sizes = [known_ if known_ is not None else size for known_, size in zip(known, shape)]
    values = np.random.default_rng(len(known)).standard_normal(sizes)
    return values.astype(tf.as_dtype(dtype).as_numpy_dtype)
