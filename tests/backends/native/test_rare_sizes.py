"""Sizes that a plan does not expect: what turns out to be 1 and is broadcast, 0, or less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native.hostile import hostile


def agree(fetches: Sequence[Any], feeds: Sequence[Mapping[Any, Any]]) -> None:
    """Runs of one native session give what NumPy gives, for one set of feeds after another."""
    reference = tf.Session(backend="numpy")
    with hostile(), tf.Session(backend="native", tier="compiled") as session:
        for given in feeds:
            for found, expected in zip(session.run(fetches, given), reference.run(fetches, given)):
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def counted(*shape: int) -> Any:
    """1, 2, 3, ..."""
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("given", [(2, 5), (3, 2), (6, 5)])
def test_a_slice_that_has_one_element_is_broadcast(given: tuple[int, int]) -> None:
    x, y = (tf.placeholder(tf.float64, [None]) for _ in range(2))
    z = x[1:] * y
    feeds = [{x: counted(a), y: counted(b)} for a, b in ((6, 5), given, (6, 5))]
    agree([z, *tf.gradients(z, [x, y])], feeds)


def test_a_slice_that_has_one_element_is_broadcast_over_a_known_size() -> None:
    x = tf.placeholder(tf.float64, [None, 3])
    z = x[1:] * np.arange(15.0).reshape(5, 3)
    agree([z, *tf.gradients(z, x)], [{x: counted(n, 3)} for n in (6, 2, 6)])


def test_a_batch_that_has_one_matrix_is_broadcast() -> None:
    a, b = tf.placeholder(tf.float64, [None, 3, 4]), tf.placeholder(tf.float64, [None, 4, 2])
    z = tf.matmul(a[1:], b)
    agree([z, *tf.gradients(z, [a, b])], [{a: counted(n, 3, 4), b: counted(5, 4, 2)} for n in (6, 2, 6)])


@pytest.mark.parametrize("rows", [0, 3])
def test_what_is_computed_once_for_no_elements_is_stored(rows: int) -> None:
    x, s = tf.placeholder(tf.float64, [None, None]), tf.placeholder(tf.float64, [])
    row, turned = tf.tanh(s), tf.transpose(x)
    fetches = [row, row + turned, tf.reduce_logsumexp(turned, keepdims=True), *tf.gradients(row * turned, s)]
    agree(fetches, [{x: counted(4, rows), s: 0.5}, {x: counted(0, 2), s: 0.25}])


def test_what_is_computed_once_for_a_part_that_may_be_empty_is_stored() -> None:
    x, s = tf.placeholder(tf.float64, [4, None]), tf.placeholder(tf.float64, [])
    row = tf.tanh(s)
    agree([row, row + tf.transpose(x)[2:]], [{x: counted(4, n), s: 0.5} for n in (5, 2, 5)])


def test_a_window_with_a_stride_is_larger_than_its_image() -> None:
    x = tf.placeholder(tf.float64, [2, None, None, 2, None])
    y = tf.nn.max_pool3d(x, [1, 7, 1, 1, 1], [1, 2, 1, 1, 1], "VALID")
    z = y - tf.reduce_mean(y, 0, keepdims=True)
    agree([z, *tf.gradients(z, x)], [{x: counted(2, n, n, 2, n)} for n in (5, 4, 9)])
