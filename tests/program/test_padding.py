"""Rows whose number nobody sees are padded; where somebody does, nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core.graph import Operation
from tahr.program import padding
from tahr.program.function import Function
from tests.installed import BACKENDS

pytestmark = pytest.mark.usefixtures("checked")


def padded(fetches: Any, feeds: Any = ()) -> set[str]:
    """The types of the operations that run on padded rows."""
    operations = [f for f in fetches if isinstance(f, Operation)]
    tensors = [f for f in fetches if not isinstance(f, Operation)]
    graph = tf.get_default_graph()
    return {op.type for op in Function(graph, list(feeds), tensors, operations).padded}


def summed() -> tuple[Any, Any, Any]:
    """A variable, distinct indices, and rows that were summed."""
    table = tf.get_variable("table", [6, 3], use_resource=False)
    indices, values = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.float32, [None, 3])
    unique, places = tf.unique(indices)
    return table, unique, tf.unsorted_segment_sum(values, places, tf.shape(unique)[0])


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(0.1),
    "Ftrl": lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "ProximalAdagrad": lambda: tf.train.ProximalAdagradOptimizer(0.1),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.1, centered=True),
}


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_sparse_step_is_one_stage(name: str, resource: bool) -> None:
    table = tf.get_variable("table", [6, 3], use_resource=resource)
    indices = tf.placeholder(tf.int32, [None, 2])
    loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, indices)))
    train = OPTIMIZERS[name]().minimize(loss)
    assert "Unique" in padded([train])
    feeds = {indices: [[1, 1], [5, 1]]}
    with tf.Session(backend="numpy") as session:
        session.run(tf.global_variables_initializer())
        session.run(train, feeds)
        assert len(session.explain(train, feeds).reports) == 1


def test_what_writes_rows_is_told_how_many_count() -> None:
    table, unique, rows = summed()
    step = tf.scatter_sub(table, unique, 0.5 * rows * rows).op
    assert padded([step]) == {"Unique", "ScatterSub"}
    assert padded([tf.scatter_update(table, unique, 0.0).op]) == {"Unique", "ScatterUpdate"}


def test_rows_of_variables_and_numbers_may_join() -> None:
    table, unique, rows = summed()
    slot = tf.get_variable("slot", [6, 3], use_resource=False)
    moved = 0.9 * tf.gather(slot, unique) + rows / tf.constant([1.0, 2.0, 3.0])
    kept = tf.scatter_update(slot, unique, moved)
    with tf.control_dependencies([kept]):
        step = tf.scatter_sub(table, unique, tf.minimum(moved, [[1.0]])).op
    assert padded([step]) == {"Unique", "GatherV2", "ScatterUpdate", "ScatterSub"}


def test_rows_are_looked_up_once_for_equal_indices() -> None:
    table = tf.get_variable("table", [6, 3])
    indices = tf.placeholder(tf.int32, [None])
    unique, places = tf.unique(indices)
    found = tf.gather(tf.nn.embedding_lookup(table, unique), places)
    assert padded([found]) == {"Unique", "GatherV2"}
    (slope,) = tf.gradients(tf.reduce_sum(found * found), [table])
    step = tf.scatter_sub(tf.get_variable("copy", [6, 3], use_resource=False), slope.indices, slope.values).op
    assert padded([step]) == {"Unique", "GatherV2", "ScatterSub"}


SEEN: dict[str, Callable[[Any, Any, Any], Any]] = {
    "fetched indices": lambda table, unique, rows: unique,
    "fetched rows": lambda table, unique, rows: 2.0 * rows,
    "number": lambda table, unique, rows: tf.size(unique),
    "shape": lambda table, unique, rows: tf.shape(rows),
    "product": lambda table, unique, rows: tf.matmul(rows, rows, transpose_a=True),
    "other rows": lambda table, unique, rows: tf.scatter_sub(
        table, unique, rows + tf.placeholder(tf.float32, [None, 3])
    ),
    "unknown rank": lambda table, unique, rows: tf.scatter_sub(
        table, unique, rows + tf.placeholder(tf.float32)
    ),
    "columns": lambda table, unique, rows: tf.scatter_sub(table, unique, tf.transpose(rows)),
    "other indices": lambda table, unique, rows: tf.scatter_sub(
        table, tf.placeholder(tf.int32, [None]), rows
    ),
    "unique again": lambda table, unique, rows: tf.scatter_sub(table, tf.unique(unique)[0], rows),
    "distinct rows of others": lambda table, unique, rows: tf.scatter_sub(
        table, tf.unique(tf.placeholder(tf.int32, [None]))[0], rows
    ),
    "other places": lambda table, unique, rows: tf.unsorted_segment_sum(
        tf.ones([4, 2]), [0, 0, 1, 1], tf.shape(unique)[0]
    ),
    "printed": lambda table, unique, rows: tf.scatter_sub(table, unique, tf.Print(rows, [rows])),
    "checked": lambda table, unique, rows: tf.scatter_sub(table, unique, tf.check_numerics(rows, "rows")),
    "in a branch": lambda table, unique, rows: tf.cond(
        tf.placeholder(tf.bool, []), lambda: tf.reduce_sum(rows), lambda: 0.0
    ),
}


@pytest.mark.parametrize("how", SEEN)
def test_a_number_that_is_seen_ends_a_stage(how: str) -> None:
    table, unique, rows = summed()
    found = SEEN[how](table, unique, rows)
    found = found.op if found.is_ref else found
    outputs, targets = ([], [found]) if isinstance(found, Operation) else ([found], [])
    assert unique.op not in Function(tf.get_default_graph(), [], outputs, targets).padded


def test_both_outcomes_are_not_mixed_up() -> None:
    """The same `unique` is padded for one fetch, and not for another."""
    table, unique, rows = summed()
    step = tf.scatter_sub(table, unique, rows).op
    assert padded([step])
    assert not padded([step, rows])
    assert "ScatterSub" not in padded([step], feeds=[unique])


def test_numbers_of_rows_that_are_floats_or_of_unknown_rank_are_not_padded() -> None:
    for values in (tf.placeholder(tf.float32, [None]), tf.placeholder(tf.string, [None])):
        assert not padding.find([tf.unique(values)[0].op], [], [])
    assert not padding.find([tf.unique(tf.placeholder(tf.int32))[0].op], [], [])


def test_integer_rows_are_not_padded() -> None:
    """A row of nothing is zero, and to divide by it would be an error that nobody made."""
    table = tf.get_variable("table", initializer=np.ones([6], np.int32), use_resource=False)
    unique, places = tf.unique(tf.placeholder(tf.int32, [None]))
    rows = tf.unsorted_segment_sum(tf.placeholder(tf.int32, [None]), places, tf.shape(unique)[0])
    assert not padded([tf.scatter_sub(table, unique, 12 // rows).op])


def test_what_is_computed_late_still_counts() -> None:
    """Rows come from Python, hence in a later stage than their indices: the count is found again there."""
    table = tf.get_variable("table", initializer=np.zeros([6, 3], np.float32), use_resource=False)
    indices = tf.placeholder(tf.int32, [None])
    unique, places = tf.unique(indices)
    values = tf.py_func(lambda i: np.ones([len(i), 3], np.float32), [indices], tf.float32)
    values.set_shape([None, 3])
    rows = tf.unsorted_segment_sum(values, places, tf.shape(unique)[0])
    step = tf.scatter_add(table, unique, rows).op
    assert padded([step]) == {"Unique", "ScatterAdd"}
    for backend in BACKENDS:
        with tf.Session(backend=backend) as session:
            session.run(tf.global_variables_initializer())
            for feed in ([1, 1, 4], [], [2]):
                session.run(step, {indices: feed})
            np.testing.assert_array_equal(session.run(table)[:, 0], [0, 2, 1, 0, 1, 0])
