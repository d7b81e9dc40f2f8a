"""Items of a list that a loop multiplies in turn are multiplied all at once, ahead of it, where that pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import ahead, blocked, engine, execute, target
from tahr.backends.native.calls import Bind
from tahr.backends.native.segments import BoundSegment
from tahr.core import dtypes
from tahr.ops import list_arrays, lists
from tests.backends.native import natively

pytest.importorskip("llvmlite")

RNG = np.random.RandomState(7)
LOW = blocked.blocking(dtypes.float32, target.current()).rows // 2
"""The most rows of items that leave the loop in any case."""


@pytest.fixture
def everything_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_MANY_CACHES", 0)


def is_ahead(fetches: Any, *feeds: Mapping[Any, Any], tolerance: float = 2e-5) -> bool:
    """Whether products are ahead of a loop; results are NumPy's, and their bits depend on no threads."""
    with tf.Session(backend="numpy") as session:
        session.run(tf.global_variables_initializer())
        values = session.run(tf.trainable_variables())
        expected = [session.run(fetches, each) for each in feeds]
    found = [_natively(fetches, feeds, values, threads) for threads in (1, 2, 4)]
    for one, two, four, numpy in zip(*found, expected):
        for *ours, wanted in zip(one, two, four, numpy):
            assert all(natively.same(ours[0], other) for other in ours)
            np.testing.assert_allclose(ours[0], wanted, rtol=tolerance, atol=tolerance)
    (plan,) = _plans()
    titles = [call.title for segment in plan.segments for call in segment.calls]
    assert not any("BatchMatMul" in title for title in titles[titles.index("loop") :])
    return any("BatchMatMul" in title for title in titles[: titles.index("loop")])


def _plans() -> list[Any]:
    return [r.native for r in execute._records.values() if r.native is not None]


def _natively(
    fetches: Any, feeds: tuple[Mapping[Any, Any], ...], values: list[Any], threads: int
) -> list[Any]:
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Session(backend="native", tier="compiled", config=config) as session:
        for variable, value in zip(tf.trainable_variables(), values):
            variable.load(value, session)
        execute._records.clear()
        found = [session.run(fetches, each) for each in feeds]
        assert natively.left_to_numpy() == []
        return found


def net(cell: Any, batch: int | None, time_major: bool = False, features: int = 6) -> tuple[Any, list[Any]]:
    """A recurrent net's inputs, and its outputs and gradients."""
    shape = [None, batch, features] if time_major else [batch, None, features]
    x = tf.placeholder(tf.float32, shape)
    with tf.variable_scope("net", initializer=tf.random_uniform_initializer(-1, 1, seed=3)):
        outputs, _ = tf.nn.dynamic_rnn(cell(8), x, dtype=tf.float32, time_major=time_major)
    return x, [outputs, *tf.gradients(tf.reduce_sum(outputs**2), [x, *tf.trainable_variables()])]


def values(*shape: int) -> np.ndarray:
    return RNG.randn(*shape).astype(np.float32)


CELLS = pytest.mark.parametrize("cell", [tf.nn.rnn_cell.BasicLSTMCell, tf.nn.rnn_cell.GRUCell])


@CELLS
@pytest.mark.parametrize("batch", [1, LOW, LOW + 1])
def test_few_rows_leave_the_loop(cell: Any, batch: int) -> None:
    x, fetches = net(cell, batch)
    assert is_ahead(fetches, {x: values(batch, 7, 6)}) == (batch <= LOW)


def multiplied(tiles: bool = True) -> set[str]:
    """The titles of the products in the plan that have tiles for the sizes that came last, or have none."""
    (record,) = [r for r in execute._records.values() if r.native is not None]
    *_, binding = record.bindings.values()
    assert binding is not None
    segments = [item for item in binding.items if isinstance(item, BoundSegment)]
    return {
        call.title.split()[0]
        for segment in segments
        for call, step in zip(segment._flow.calls, segment._flow.steps)
        if "_Product" in call.title and isinstance(step, Bind) and bool(step.bound.tiles) == tiles
    }


@CELLS
@pytest.mark.parametrize("time_major", [False, True])
def test_the_number_of_rows_chooses_when_it_is_known(cell: Any, time_major: bool) -> None:
    """Both ways are in one plan: another batch compiles nothing, and results are NumPy's."""
    x, fetches = net(cell, None, time_major)
    feeds = [{x: values(LOW, 7, 6)}, {x: values(LOW + 1, 7, 6)}, {x: values(2, 3, 6)}, {x: values(33, 2, 6)}]
    is_ahead(fetches, *feeds)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        execute._records.clear()
        batches = (2, LOW, LOW + 1, 31, 3)
        for count in batches:
            shape = (7, count, 6) if time_major else (count, 7, 6)
            before = engine.statistics().compiled
            session.run(fetches, {x: values(*shape)})
            assert ("_ProductAhead" in multiplied()) == (count <= LOW)
            assert count == batches[0] or engine.statistics().compiled == before


def test_what_is_not_wanted_costs_nothing_as_people_are_told() -> None:
    x, fetches = net(tf.nn.rnn_cell.BasicRNNCell, None)
    with tf.Session(backend="native") as session:
        for count in (LOW, LOW + 1):
            explained = session.explain(fetches[0], {x: values(count, 7, 6)})
            (step,) = (s for s in explained.steps if s.title.startswith("_ProductAhead"))
            costs = step.reads, step.writes, step.flops
            assert all(costs) if count == LOW else costs == (0, 0, 0)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_which_part_of_a_product_may_leave(place: int, dtype: Any) -> None:
    """The first or the last of the matrices side by side, for what is left must be one matrix."""
    x, w = tf.placeholder(dtype, [5, None, 4]), tf.placeholder(dtype, [10, 3])
    items = tf.TensorArray(dtype, 5).unstack(x)

    def body(i: Any, h: Any, y: Any) -> Any:
        parts = [h, y]
        parts.insert(place, items.read(i))
        return i + 1, tf.tanh(tf.matmul(tf.concat(parts, 1), w)), h + y

    first = [tf.ones([tf.shape(x)[1], 3], dtype) for _ in range(2)]
    results = tf.while_loop(lambda i, h, y: i < 5, body, [0, *first])
    w_fed = RNG.randn(10, 3)
    for count in (2, LOW + 5):
        is_ahead(results, {x: RNG.randn(5, count, 4), w: w_fed})
        assert ("_ProductAhead" in multiplied() | multiplied(tiles=False)) == (place != 1)


def test_nothing_is_left_of_a_product() -> None:
    """All of it is ahead for few rows: sums without terms are added."""
    x, w = tf.placeholder(tf.float32, [5, None, 4]), tf.placeholder(tf.float32, [4, 4])
    items = tf.TensorArray(tf.float32, 5).unstack(x)
    results = tf.while_loop(
        lambda i, a: i < 5,
        lambda i, a: (i + 1, tf.nn.relu(a + tf.matmul(items.read(i), w))),
        [0, tf.zeros([tf.shape(x)[1], 4])],
    )
    matrix = values(4, 4)
    is_ahead(results, *({x: values(5, count, 4), w: matrix} for count in (2, LOW, LOW + 1, 40)))


def test_not_a_number_and_infinity_stay_in_their_rows() -> None:
    x, fetches = net(tf.nn.rnn_cell.BasicRNNCell, None)
    for count in (2, LOW + 2):
        fed = values(count, 6, 6)
        fed[0, 2, 1], fed[1, 3, 0] = np.nan, np.inf
        with tf.Session(backend="native", tier="compiled") as session:
            session.run(tf.global_variables_initializer())
            outputs = session.run(fetches[0], {x: fed})
        assert np.isfinite(outputs[0, :2]).all() and np.isnan(outputs[0, 2:]).all()
        assert np.isfinite(outputs[1, :3]).all() and np.isfinite(outputs[2:]).all()


@CELLS
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.usefixtures("everything_pays")
def test_large_matrices_leave_the_loop_for_any_batch(cell: Any, time_major: bool) -> None:
    x, fetches = net(cell, None, time_major)
    shapes = [(7, 5), (12, 9), (2, 3)]
    assert is_ahead(fetches, *({x: values(*shape, 6)} for shape in shapes))


@pytest.mark.usefixtures("everything_pays")
@pytest.mark.parametrize("steps", [0, 1])
def test_hardly_any_iterations(steps: int) -> None:
    x, fetches = net(tf.nn.rnn_cell.BasicLSTMCell, 5)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        outputs, *gradients = session.run(fetches, {x: values(5, steps, 6)})
    assert outputs.shape == (5, steps, 8)
    assert steps or not any(gradient.any() for gradient in gradients)


def test_how_much_is_too_much_for_the_cache() -> None:
    """What counts is what leaves, of all products together."""
    cache = blocked.blocking(dtypes.float32, target.current()).cache
    features = 256
    units = ahead._MANY_CACHES * cache // (4 * 4 * features) + 1
    for hidden, expected in ((units, True), (units // 2, False)):
        tf.reset_default_graph()
        x = tf.placeholder(tf.float32, [None, 8, features])
        w = [tf.placeholder(tf.float32, [features, 2 * hidden]) for _ in range(2)]
        items = tf.TensorArray(tf.float32, 8).unstack(tf.transpose(x, [1, 0, 2]))

        def body(i: Any, total: Any, items: Any = items, w: Any = w) -> Any:
            return i + 1, total + tf.matmul(items.read(i), w[0]) * tf.matmul(items.read(i), w[1])

        first = [0, tf.zeros([tf.shape(x)[0], 2 * hidden])]
        _, total = tf.while_loop(lambda i, _: i < 8, body, first)
        feeds = {x: values(5, 8, features), **{m: values(features, 2 * hidden) for m in w}}
        assert is_ahead([total], feeds, tolerance=2e-3) == expected


def test_items_that_are_not_read_in_turn_stay_in_the_loop() -> None:
    x, w = tf.placeholder(tf.float32, [7, 1, 4]), tf.placeholder(tf.float32, [4, 4])
    items = tf.TensorArray(tf.float32, 7).unstack(x)
    results = tf.while_loop(
        lambda i, a: i < 7, lambda i, a: (i + 1, a + tf.matmul(items.read(6 - i), w)), [0, tf.zeros([1, 4])]
    )
    assert not is_ahead(results, {x: values(7, 1, 4), w: values(4, 4)})


def test_items_that_change_behind_the_loop() -> None:
    x, w = tf.placeholder(tf.float32, [7, 1, 4]), tf.placeholder(tf.float32, [4, 4])
    items = list_arrays.TensorListFromTensor(x)

    def body(i: Any, total: Any) -> Any:
        item = lists.TensorListGetItem(items, i, element_dtype=tf.float32, element_shape=(1, 4))
        return i + 1, total + tf.matmul(item, w)

    _, total = tf.while_loop(lambda i, _: i < 7, body, [0, tf.zeros([1, 4])])
    changed = lists.TensorListSetItem(items, 3, total)
    stacked = list_arrays.TensorListStack(changed, 7, element_dtype=tf.float32, element_shape=(1, 4))
    assert is_ahead([total, stacked], {x: values(7, 1, 4), w: values(4, 4)})


def test_a_part_of_the_rows_of_a_wide_product() -> None:
    """[x, h, y] W: the parts that are left stay together only where they are neighbours."""
    x, w = tf.placeholder(tf.float64, [9, 1, 4]), tf.placeholder(tf.float64, [12, 4])
    items = tf.TensorArray(tf.float64, 9).unstack(x)

    def body(i: Any, h: Any, y: Any) -> Any:
        return i + 1, tf.tanh(tf.matmul(tf.concat([h, items.read(i), y], 1), w)), h + y

    first = [0, tf.zeros([1, 4], tf.float64), tf.ones([1, 4], tf.float64)]
    results = tf.while_loop(lambda i, h, y: i < 9, body, first)
    assert is_ahead(results, {x: RNG.randn(9, 1, 4), w: RNG.randn(12, 4)})


def test_halves_stay_in_the_loop() -> None:
    """A sum of two products would be rounded in between."""
    x, w = tf.placeholder(tf.float16, [7, 1, 4]), tf.placeholder(tf.float16, [4, 4])
    items = tf.TensorArray(tf.float16, 7).unstack(x)
    results = tf.while_loop(
        lambda i, a: i < 7,
        lambda i, a: (i + 1, a + tf.matmul(items.read(i), w)),
        [0, tf.zeros([1, 4], tf.float16)],
    )
    feeds = {x: RNG.randn(7, 1, 4).astype(np.float16), w: RNG.randn(4, 4).astype(np.float16)}
    assert not is_ahead(results, feeds, tolerance=2e-2)
