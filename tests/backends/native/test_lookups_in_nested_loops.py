"""Gradients of tables of which loops in loops look up rows: the slices of all iterations lie on one list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import natively
from tests.backends.native.loop_programs import repeated

F = tf.float64
RNG = np.random.RandomState(8)
# What puts the slices together behind all loops.
HANDED = ["_ListOf", "TensorListConcat"]

Lookup = Callable[[Any, Any], Any]
Program = Callable[[Lookup, Any, Any, Any, Any], Any]


def _by_product(table: Any, indices: Any) -> Any:
    """Rows of a table, of which the gradient is no slices."""
    return tf.matmul(tf.one_hot(indices, 7, dtype=F), table)


def _inner(lookup: Lookup, table: Any, ids: Any, counts: Any, h: Any) -> Any:
    def row(i: Any, h: Any) -> Any:
        return repeated(4, lambda j, h: tf.tanh(h * 0.7 + lookup(table, ids[:, j])), h) * 1.1

    return repeated(3, row, h)


def _as_often_as_data_says(lookup: Lookup, table: Any, ids: Any, counts: Any, h: Any) -> Any:
    def row(i: Any, h: Any) -> Any:
        return repeated(counts[i], lambda j, h: tf.tanh(h * 0.7 + lookup(table, ids[:, j % 4])), h)

    return repeated(tf.size(counts), row, h)


def _three_levels(lookup: Lookup, table: Any, ids: Any, counts: Any, h: Any) -> Any:
    return repeated(2, lambda i, h: tf.sin(_inner(lookup, table, ids, counts, h)), h)


def _two_in_one_body(lookup: Lookup, table: Any, ids: Any, counts: Any, h: Any) -> Any:
    def step(j: Any, h: Any) -> Any:
        return tf.tanh(h * lookup(table, ids[:, j]) + lookup(table, ids[:, 3 - j]))

    return repeated(3, lambda i, h: repeated(4, step, h), h)


def _on_both_levels(lookup: Lookup, table: Any, ids: Any, counts: Any, h: Any) -> Any:
    def row(i: Any, h: Any) -> Any:
        h = repeated(4, lambda j, h: tf.tanh(h * 0.7 + lookup(table, ids[:, j])), h)
        return h * lookup(table, ids[:, i])

    return repeated(3, row, h)


def _of_a_table_that_is_changed(lookup: Lookup, table: Any, ids: Any, counts: Any, h: Any) -> Any:
    return _inner(lookup, tf.tanh(table) * 2.0, ids, counts, h) + _inner(
        lookup, tf.identity(table), ids, counts, h
    )


def _of_a_table_made_in_the_loop(lookup: Lookup, table: Any, ids: Any, counts: Any, h: Any) -> Any:
    def row(i: Any, h: Any) -> Any:
        own = table * tf.cast(i + 1, F)
        return repeated(4, lambda j, h: tf.tanh(h * 0.7 + lookup(own, ids[:, j])), h)

    return repeated(3, row, h)


PROGRAMS = [
    _inner,
    _as_often_as_data_says,
    _three_levels,
    _two_in_one_body,
    _on_both_levels,
    _of_a_table_that_is_changed,
    _of_a_table_made_in_the_loop,
]


def _fetches(program: Program, lookup: Lookup, table: Any, ids: Any, counts: Any) -> list[Any]:
    h = tf.zeros([tf.shape(ids)[0], 3], F) + 0.3
    y = program(lookup, table, ids, counts, h)
    (dx,) = tf.gradients(tf.reduce_sum(y * y), table)
    return [y, tf.convert_to_tensor(dx)]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_gradients_are_those_of_products(program: Program, backend: str) -> None:
    table, ids = tf.placeholder(F, [7, 3]), tf.placeholder(tf.int32, [None, 4])
    counts = tf.placeholder(tf.int32, [None])
    found, expected = (
        _fetches(program, lookup, table, ids, counts) for lookup in (tf.nn.embedding_lookup, _by_product)
    )
    with tf.Session(backend=backend) as session:
        for batch, numbers in ((5, [2, 0, 3]), (1, [0, 0]), (2, [1, 9]), (5, [2, 0, 3]), (3, [])):
            feeds = {table: RNG.randn(7, 3), ids: RNG.randint(0, 7, (batch, 4)), counts: numbers}
            for a, b in zip(*session.run([found, expected], feeds)):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("program", PROGRAMS[:3])
def test_only_what_is_behind_all_loops_is_left_to_numpy(program: Program) -> None:
    table, ids = tf.placeholder(F, [7, 3]), tf.placeholder(tf.int32, [None, 4])
    counts = tf.placeholder(tf.int32, [None])
    fetches = _fetches(program, tf.nn.embedding_lookup, table, ids, counts)
    feeds = [
        {table: RNG.randn(7, 3), ids: RNG.randint(0, 7, (batch, 4)), counts: [2, 0, 3]} for batch in (5, 2, 1)
    ]
    natively.is_as_numpy(fetches, *feeds, hosts=HANDED)


def test_the_gradient_of_a_gradient() -> None:
    table, ids = tf.placeholder(F, [7, 3]), tf.placeholder(tf.int32, [None, 4])
    found: list[Any] = []
    for lookup in (tf.nn.embedding_lookup, _by_product):
        y, dx = _fetches(_inner, lookup, table, ids, None)
        (second,) = tf.gradients(tf.reduce_sum(dx * dx) + tf.reduce_sum(y), table)
        found.append([dx, tf.convert_to_tensor(second)])
    feeds = {table: RNG.randn(7, 3), ids: RNG.randint(0, 7, (2, 4))}
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend) as session:
            for _ in range(3):
                for a, b in zip(*session.run(found, feeds)):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
