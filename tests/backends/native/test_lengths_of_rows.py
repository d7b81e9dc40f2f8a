"""Reductions over every set of dimensions, alone and beside each other, of rows of every length, between guards.

How a row is written depends on how many vectors it is, on what is left behind them, and on whether that is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

import tahr as tf
from tahr.core.opdef import Array
from tests.backends.native.hostile import hostile
from tests.backends.native.test_random_graphs import check

AXES = [list(axes) for count in (1, 2, 3) for axes in itertools.combinations(range(3), count)]
# Of 16 elements of float32, the widest vectors: up to four, whole or not, are written out; of more there is a loop.
KNOWN = [5, 16, 23, 32, 38, 45, 60, 70, 240]


def compare(dtype: str, known: int | None, shapes: Sequence[Sequence[int]], beside: bool) -> None:
    """Raises where a plan differs from NumPy for some shape, or writes outside of a buffer.

    No dimensions are one in memory: each has an operand of its own.
    """
    x, row, column = (tf.placeholder(dtype, shape) for shape in ([None, None, known], [known], [None, 1, 1]))
    y = x * row + column
    with (
        tf.Session(backend="numpy") as reference,
        hostile() as watch,
        tf.Session(backend="native", tier="compiled") as session,
    ):
        for axes in AXES:
            fetches = [tf.reduce_sum(y, axes)]
            if beside:
                fetches += [tf.reduce_sum(y), tf.reduce_max(y, axes)]
            for shape in shapes:
                feeds = {x: numbers(dtype, shape), row: numbers(dtype, shape[2:])}
                feeds[column] = numbers(dtype, [shape[0], 1, 1])
                check(session.run(fetches, feeds), reference.run(fetches, feeds), dtype)
                watch.check()


def numbers(dtype: str, shape: Sequence[int]) -> Array:
    """Of which halves hold products and sums, too."""
    values = np.random.default_rng(shape).integers(-8, 9, shape)
    return (values if dtype == "int32" else values / 4).astype(tf.as_dtype(dtype).as_numpy_dtype)


@pytest.mark.parametrize("length", KNOWN)
@pytest.mark.parametrize("beside", [False, True])
def test_known_lengths(length: int, beside: bool) -> None:
    compare("float32", length, [(1, 1, length), (9, 7, length)], beside)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_lengths_that_only_a_run_knows(dtype: str) -> None:
    compare(dtype, None, [(1 + n % 11, 1 + n % 4, n) for n in range(1, 71, 6)], beside=True)
