"""What is computed with rows that a mask chooses is one stage, and what it would be with those rows alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.program import padding
from tahr.program.function import Function
from tests.backends.native import natively
from tests.installed import BACKENDS

pytestmark = pytest.mark.usefixtures("checked")


def places(mask: Any) -> Any:
    """The numbers of the rows that a mask chooses."""
    return tf.squeeze(tf.where(mask), 1)


def slope(loss: Any, x: Any) -> Any:
    """The gradient, dense."""
    return tf.convert_to_tensor(tf.gradients(loss, [x])[0])


def huber(d: Any) -> Any:
    """A loss by cases."""
    return tf.where(d < 1, 0.5 * d * d, d - 0.5)


# Of x [n, 3] float32, classes [n] int32 and a mask [n].
FORMULAS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sum": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m)),
    "sum of columns": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m), 0, keepdims=True),
    "mean": lambda x, c, m: tf.reduce_mean(tf.boolean_mask(x, m)),
    "mean of columns": lambda x, c, m: tf.reduce_mean(tf.boolean_mask(x, m), 0),
    "mean of integers": lambda x, c, m: tf.reduce_mean(tf.boolean_mask(c, m)),
    "largest": lambda x, c, m: tf.reduce_max(tf.boolean_mask(x, m), 0),
    "smallest class": lambda x, c, m: tf.reduce_min(tf.boolean_mask(c, m)),
    "product": lambda x, c, m: tf.reduce_prod(tf.boolean_mask(x, m)),
    "any": lambda x, c, m: tf.reduce_any(tf.boolean_mask(x, m) > 2),
    "all": lambda x, c, m: tf.reduce_all(tf.boolean_mask(x, m) < 2),
    "largest of rows": lambda x, c, m: tf.reduce_sum(tf.reduce_max(tf.boolean_mask(x, m), 1)),
    "logarithm of rows": lambda x, c, m: tf.reduce_sum(tf.log(tf.abs(tf.boolean_mask(x, m)))),
    "number": lambda x, c, m: tf.cast(tf.shape(tf.where(m))[0], tf.float32) / 2,
    "size": lambda x, c, m: tf.size(places(m), out_type=tf.int64) + 1,
    "sum by number": lambda x, c, m: (
        tf.reduce_sum(tf.boolean_mask(x, m)) / tf.to_float(tf.maximum(tf.shape(places(m))[0], 1))
    ),
    "columns counted": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m)) / tf.to_float(
        tf.shape(tf.boolean_mask(x, m))[-1]
    ),
    "two masks": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m)) * tf.reduce_sum(tf.boolean_mask(x, ~m)),
    "joined": lambda x, c, m: tf.reduce_sum(
        tf.concat([tf.boolean_mask(x, m), tf.boolean_mask(2 * x, m)], 1) ** 2
    ),
    "stacked": lambda x, c, m: tf.reduce_sum(tf.stack([places(m), 2 * places(m)], axis=1)),
    "columns": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m)[:, 1] * tf.boolean_mask(x, m)[..., 0]),
    "split": lambda x, c, m: tf.reduce_sum(tf.split(tf.boolean_mask(x, m), 3, 1)[1]),
    "unstacked": lambda x, c, m: tf.reduce_sum(tf.unstack(tf.boolean_mask(x, m), axis=1)[2]),
    "turned": lambda x, c, m: tf.reduce_sum(
        tf.transpose(tf.reshape(tf.boolean_mask(x, m), [-1, 3, 1]), [0, 2, 1]) ** 2
    ),
    "squeezed": lambda x, c, m: tf.reduce_sum(
        tf.squeeze(tf.expand_dims(tf.boolean_mask(c, m), -1) * 2, [1]) + 1
    ),
    "one hot": lambda x, c, m: tf.reduce_sum(tf.one_hot(tf.boolean_mask(c, m), 3) * tf.boolean_mask(x, m)),
    "right": lambda x, c, m: tf.reduce_mean(
        tf.cast(tf.equal(tf.argmax(tf.boolean_mask(x, m), 1), tf.cast(tf.boolean_mask(c, m), tf.int64)), "float")
    ),
    "softmax": lambda x, c, m: tf.reduce_sum(tf.nn.softmax(tf.boolean_mask(x, m)) ** 2),
    "filled": lambda x, c, m: tf.reduce_sum(tf.fill(tf.shape(tf.boolean_mask(x, m)), 2.0)),
    "filled by number": lambda x, c, m: tf.reduce_sum(tf.ones(tf.stack([tf.shape(tf.where(m))[0], 4]))),
    "repeated": lambda x, c, m: tf.reduce_sum(tf.broadcast_to(x[0], tf.shape(tf.boolean_mask(x, m)))),
    "sums at classes": lambda x, c, m: tf.unsorted_segment_sum(
        tf.boolean_mask(x, m), tf.boolean_mask(c, m), 3
    ),
    "gathered by tuples": lambda x, c, m: tf.reduce_sum(tf.gather_nd(x, tf.where(x > 0))),
    "places of a matrix": lambda x, c, m: tf.reduce_sum(tf.where(x > 0), 0),
    "scattered": lambda x, c, m: tf.scatter_nd(
        tf.where(x > 0), tf.gather_nd(x, tf.where(x > 0)), tf.shape(x, out_type=tf.int64)
    ),
    "dense": lambda x, c, m: tf.sparse_to_dense(
        tf.where(m), tf.shape(c, out_type=tf.int64), tf.gather(c, places(m)), -1, validate_indices=False
    ),
    "slope of a mean": lambda x, c, m: slope(tf.reduce_mean(tf.square(tf.boolean_mask(x, m))), x),
    "slope of a mean of rows": lambda x, c, m: slope(
        tf.reduce_mean(tf.square(tf.reduce_sum(tf.boolean_mask(x, m), 1))), x
    ),
    "slope of a largest": lambda x, c, m: slope(tf.reduce_max(tf.boolean_mask(x, m)), x),
    "slope of an entropy": lambda x, c, m: slope(
        tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=tf.boolean_mask(c, m), logits=tf.boolean_mask(x, m)
            )
        ),
        x,
    ),
    "slope of cases": lambda x, c, m: slope(
        tf.reduce_sum(huber(tf.abs(tf.gather_nd(x, tf.where(m)) - tf.gather_nd(2 * x, tf.where(m))))), x
    ),
    "slope of columns": lambda x, c, m: slope(
        tf.reduce_sum(tf.boolean_mask(x, m)[:, 1] * tf.boolean_mask(x, m)[:, 0]), x
    ),
    "slope of joined": lambda x, c, m: slope(
        tf.reduce_sum(tf.concat([tf.boolean_mask(x, m), tf.boolean_mask(2 * x, m)], 1) ** 2), x
    ),
    "slope of a deviation": lambda x, c, m: slope(
        tf.reduce_sum(tf.boolean_mask(x, m) - tf.reduce_mean(tf.boolean_mask(x, m), 0)) ** 2, x
    ),
    "hidden hits": lambda x, c, m: tf.nn.sampled_softmax_loss(
        tf.transpose(x[:3]), tf.zeros([3]), tf.cast(c[:, None], tf.int64), x, 3, 3,
        sampled_values=(tf.constant([0, 2, 1], tf.int64), tf.ones([tf.shape(c)[0], 1]), tf.ones([3])),
    ),
}  # fmt: skip

MASKS: dict[str, Callable[[int], Any]] = {
    "some": lambda n: np.arange(n) % 3 != 1,
    "all": lambda n: np.ones(n, bool),
    "none": lambda n: np.zeros(n, bool),
    "last": lambda n: np.arange(n) == n - 1,
}


def inputs() -> tuple[Any, Any, Any]:
    """Placeholders of x, classes and a mask."""
    return (
        tf.placeholder(tf.float32, [None, 3]),
        tf.placeholder(tf.int32, [None]),
        tf.placeholder(tf.bool, [None]),
    )


def feeds() -> list[tuple[Any, Any, Any]]:
    """Values of them, of several numbers of rows."""
    random = np.random.default_rng(0)
    return [
        (random.normal(size=[n, 3]).astype(np.float32), random.integers(0, 3, n), mask(n))
        for n in (7, 40, 3)
        for mask in MASKS.values()
    ]


def unpadded(name: str) -> list[Any]:
    """What NumPy makes of a formula, stage by stage."""
    with tf.Graph().as_default(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(padding, "find", lambda *_: {})
        given = inputs()
        fetch = FORMULAS[name](*given)
        with tf.Session(backend="numpy") as session:
            found = [session.run(fetch, dict(zip(given, values))) for values in feeds()]
            assert session.explain(fetch, dict(zip(given, feeds()[0]))).reports[0].ends
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FORMULAS)
def test_padded_rows_change_nothing(name: str, backend: str) -> None:
    """For several numbers of rows in one session; NumPy's reductions give the same bits as without padding."""
    given = inputs()
    fetch = FORMULAS[name](*given)
    with tf.Session(backend=backend, tier=None if backend == "numpy" else "compiled") as session:
        found = [session.run(fetch, dict(zip(given, values))) for values in feeds()]
        explained = session.explain(fetch, dict(zip(given, feeds()[0])))
    assert not explained.reports[0].ends
    assert backend == "numpy" or not explained.boundaries or name == "mean of integers"  # a division of those
    for a, b in zip(found, unpadded(name)):
        if backend == "numpy":
            assert natively.same(np.asarray(a), np.asarray(b))
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


SEEN: dict[str, Callable[[Any, Any, Any], Any]] = {
    "fetched rows": lambda x, c, m: tf.boolean_mask(x, m),
    "fetched places": lambda x, c, m: tf.where(m),
    "fetched number": lambda x, c, m: tf.shape(tf.where(m))[0],
    "fetched shape": lambda x, c, m: tf.shape(tf.boolean_mask(x, m)),
    "product": lambda x, c, m: tf.reduce_sum(tf.matmul(tf.boolean_mask(x, m), tf.ones([3, 2]))),
    "columns": lambda x, c, m: tf.reduce_sum(tf.transpose(tf.boolean_mask(x, m)), 0),
    "sorted": lambda x, c, m: tf.nn.top_k(tf.boolean_mask(c, m), 1).values,
    "first row": lambda x, c, m: tf.boolean_mask(x, m)[0],
    "below each other": lambda x, c, m: tf.reduce_sum(tf.concat([tf.boolean_mask(x, m), x], 0)),
    "other rows": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m) + x),
    "other mask": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m) + tf.boolean_mask(x, x[:, 0] > 0)),
    "flat": lambda x, c, m: tf.reduce_sum(tf.reshape(tf.boolean_mask(x, m), [-1]) ** 2),
    "divided by integers": lambda x, c, m: tf.reduce_sum(12 // tf.boolean_mask(c, m)),
    "checked": lambda x, c, m: tf.reduce_sum(tf.check_numerics(tf.boolean_mask(x, m), "rows")),
    "from another axis": lambda x, c, m: tf.reduce_sum(tf.gather(tf.transpose(x), places(m), axis=1)),
    "ordered": lambda x, c, m: tf.sparse_to_dense(tf.where(m), [9], tf.gather(c, places(m))),
    "axes that are data": lambda x, c, m: tf.reduce_sum(tf.boolean_mask(x, m), c[:1]),
    "in a branch": lambda x, c, m: tf.cond(m[0], lambda: tf.reduce_sum(tf.boolean_mask(x, m)), lambda: 0.0),
}


@pytest.mark.parametrize("name", SEEN)
def test_a_number_that_is_seen_ends_a_stage(name: str) -> None:
    given = inputs()
    fetch = SEEN[name](*given)
    found = Function(tf.get_default_graph(), given, [fetch]).padded
    assert not any(op.type == "Where" and how.finder is op for op, how in found.items())


def test_places_that_are_fed_are_as_many_as_they_are() -> None:
    x, _, m = given = inputs()
    where = tf.where(m)
    fetch = tf.reduce_sum(tf.gather_nd(x, where))
    assert not Function(tf.get_default_graph(), [*given, where], [fetch]).padded.keys() - {where.op}
    for backend in BACKENDS:
        with tf.Session(backend=backend) as session:
            assert session.run(fetch, {x: np.ones([4, 3]), where: [[2], [2]]}) == 6


def test_what_reads_a_variable_anew_finds_other_rows() -> None:
    """Two masks of one variable, with a write in between."""
    flags = tf.Variable(np.array([True, False, True]), use_resource=False)
    first = tf.reduce_sum(tf.to_float(tf.where(flags)) + 1)
    with tf.control_dependencies([first]):
        changed = tf.assign(flags, [False, True, False])
    with tf.control_dependencies([changed]):
        second = tf.reduce_sum(tf.to_float(tf.where(flags)) + 1)
    for backend in BACKENDS:
        with tf.Session(backend=backend, tier=None if backend == "numpy" else "compiled") as session:
            session.run(tf.global_variables_initializer())
            assert session.run([first, second]) == [4, 2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_index_out_of_range_is_an_error_only_where_it_counts(backend: str) -> None:
    """Also in a table without rows, of which nothing is looked up."""
    x, _, m = inputs()
    fetch = tf.reduce_sum(tf.gather(x, places(m)))
    with tf.Session(backend=backend, tier=None if backend == "numpy" else "compiled") as session:
        assert session.run(fetch, {x: np.zeros([0, 3]), m: np.zeros(5, bool)}) == 0
        with pytest.raises(tf.errors.InvalidArgumentError, match="indices"):
            session.run(fetch, {x: np.zeros([2, 3]), m: np.arange(5) == 3})
        assert session.run(fetch, {x: np.ones([2, 3]), m: np.arange(5) == 1}) == 3
