"""Nests that read the same tensor are one, unless one needs what the other computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tahr.core.opdef import Array
from tests.backends.native.natively import random, run


def agree(fetches: Sequence[Any], feeds: dict[Any, Array]) -> list[str]:
    """Compares with NumPy; returns the titles of the calls."""
    found, hosts = run(list(fetches), feeds)
    titles = [
        c.title for r in execute._records.values() if r.native for s in r.native.segments for c in s.calls
    ]
    with tf.Session(backend="numpy") as session:
        expected = session.run(list(fetches), feeds)
    assert not hosts
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    return titles


@pytest.mark.parametrize("rows", [1, 5, 4099])
@pytest.mark.parametrize("columns", [1, 3, 16, 37])
def test_sums_along_the_same_axis(rows: int, columns: int) -> None:
    x, y = random(rows, columns), random(rows, columns + 1)[:, 1:].copy()
    a, b = tf.placeholder(tf.float64, [None, columns]), tf.placeholder(tf.float64, [None, columns])
    fetches = [
        tf.reduce_sum(a, 0),
        tf.reduce_max(a * b, 0),
        tf.reduce_sum(tf.square(a)),
        tf.reduce_sum(a - b),
    ]
    titles = agree(fetches, {a: x, b: y})
    assert len(titles) == 1


def test_sums_along_different_axes_stay_apart() -> None:
    x = random(40, 30)
    a = tf.placeholder(tf.float64, [40, 30])
    agree([tf.reduce_sum(a, 0), tf.nn.softmax(a), tf.reduce_max(a, 1), tf.exp(a)], {a: x})


def test_what_needs_a_sum_of_the_same_tensor_comes_behind_it() -> None:
    x = random(40, 30)
    a = tf.placeholder(tf.float64, [40, 30])
    mean = tf.reduce_mean(a, 0)
    agree([a - mean, tf.reduce_sum(a * a, 0), tf.reduce_sum(tf.square(a - mean), 0)], {a: x})


def test_a_matrix_and_its_transpose() -> None:
    x = random(40, 40)
    a = tf.placeholder(tf.float64, [40, 40])
    agree([tf.reduce_sum(a * 2, 0), tf.reduce_sum(tf.transpose(a) + a, 0), tf.transpose(a) * a], {a: x})


def test_updates_that_read_the_same_tensor() -> None:
    v, w = tf.Variable(random(40, 30)), tf.Variable(random(40, 30) + 1)
    a = tf.placeholder(tf.float64, [40, 30])
    updates = [v.assign_add(a), w.assign_sub(a * 2)]
    total = tf.reduce_sum(a, 0)
    results: list[Any] = []
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier="compiled") as session:
            session.run(tf.global_variables_initializer())
            results.append([session.run([*updates, total], {a: random(40, 30)}) for _ in range(2)])
    for one, other in zip(*results, strict=True):
        for x, y in zip(one, other, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
