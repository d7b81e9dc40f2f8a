"""Every optimizer with IndexedSlices gradients: repeated indices, and a row that is never touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cases_optimizers import DTYPES, OPTIMIZERS, follow, make_optimizer, slots_of
from .harness import Cases

TABLE = np.array([[1.0], [-2.0], [0.5], [3.0]])
INDICES = np.array([1, 3, 1, 0], np.int32)


def sparse_loss(tf: Any, dtype: str) -> tuple[Any, Any]:
    """Return a loss that looks up rows 1, 3, 1, 0 of a table of four, and the table."""
    table = tf.Variable(TABLE.astype(dtype), name="table")
    rows = tf.gather(table, tf.constant(INDICES))
    weights = np.array([[1.0], [0.5], [0.25], [2.0]], dtype)
    return tf.reduce_sum(weights * tf.square(rows - np.array([[0.5], [1.0], [1.5], [-1.0]], dtype))), table


def sparse_case(tf: Any, label: str, dtype: str) -> dict[str, Any]:
    loss, table = sparse_loss(tf, dtype)
    optimizer = make_optimizer(tf, label)
    pairs = optimizer.compute_gradients(loss)
    train = optimizer.apply_gradients(pairs)
    return {
        "sparse": isinstance(pairs[0][0], tf.IndexedSlices),
        "slot_names": optimizer.get_slot_names(),
        **follow(tf, train, [table], slots_of(optimizer, [table])),
    }


def changing_rows(tf: Any, label: str) -> dict[str, Any]:
    """Each step touches other rows: stale slots of the untouched rows must stay (or decay, for Adam)."""
    table = tf.Variable(TABLE.astype("float32"), name="table")
    rows = tf.placeholder(tf.int32, [None])
    optimizer = make_optimizer(tf, label)
    train = optimizer.minimize(tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, rows))))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = []
        for fed in ([0, 1], [2, 2, 2], [], [3, 0]):
            session.run(train, {rows: np.array(fed, np.int32)})
            values.append(session.run(table))
        return {"trajectory": np.stack(values), "slots": session.run(slots_of(optimizer, [table]))}


def summed_slices(tf: Any) -> dict[str, Any]:
    """Two lookups and a dense use of one table: the sum of sparse gradients, alone and with a dense one."""
    table = tf.Variable(TABLE.astype("float32"), name="table")
    loss = tf.reduce_sum(tf.gather(table, [0, 1])) + tf.reduce_sum(3.0 * tf.gather(table, [1, 1, 2]))
    sparse = tf.gradients(loss, table)[0]
    dense = tf.gradients(loss + tf.reduce_sum(table), table)[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        slices = session.run(sparse)
        return {
            "is_sparse": isinstance(sparse, tf.IndexedSlices),
            "values": slices.values,
            "indices": slices.indices,
            "dense_shape": np.asarray(slices.dense_shape),
            "converted": session.run(tf.convert_to_tensor(sparse)),
            "with_dense": session.run(tf.convert_to_tensor(dense)),
        }


CASES: Cases = {}
for _label in OPTIMIZERS:
    for _dtype in DTYPES[_label]:
        CASES[f"{_label}_{_dtype}"] = lambda tf, label=_label, dtype=_dtype: sparse_case(tf, label, dtype)
    CASES[f"changing_rows_{_label}"] = lambda tf, label=_label: changing_rows(tf, label)
CASES["summed_slices"] = summed_slices
