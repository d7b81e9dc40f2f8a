"""Steps for sparse gradients: distinct indices, rows of variables that change, whole optimizers in one segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr import errors
from tahr.backends.native import distinct, execute, row_updates
from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.ops import counted, training_ops
from tests.backends.native import guarded, natively

TIERS = {"numpy": None, "native": "compiled"}


# ---------------------------------------------------------------- distinct elements

INTEGERS = [dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.int32, dtypes.uint32, dtypes.int64, dtypes.uint64]


def found_distinct(x: Any, places: DType) -> list[Any]:
    """What the kernel gives, between guards."""
    bits = max(1, (2 * x.size - 1).bit_length())
    outputs = [(x.shape, x.dtype), (x.shape, places.numpy), ((), np.int32), ((1 << bits,), np.int32)]
    kernel = distinct.distinct(dtypes.of_numpy(x.dtype), places)
    return guarded.run(kernel, [x], outputs, (x.size, bits), 1)[:3]


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("places", [dtypes.int32, dtypes.int64], ids=lambda d: d.name)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 1_000])
@pytest.mark.parametrize("different", [1, 2, 100, 2**40])
def test_distinct_elements(dtype: DType, places: DType, count: int, different: int) -> None:
    x = np.random.default_rng(0).integers(-different, different, count).astype(dtype.numpy)
    found = found_distinct(x, places)
    assert counted.PaddedUnique.compute is not None
    for value, expected in zip(found, counted.PaddedUnique.compute(x, out_idx=places)):
        assert natively.same(value, expected)


def test_distinct_elements_that_want_the_same_slots() -> None:
    """Multiples of a power of two, and extremes."""
    extremes = [0, -1, 2**63 - 1, -(2**63)]
    x = np.array([*(i << 40 for i in range(300)), *extremes, *extremes], np.int64)
    y, idx, count = found_distinct(x, dtypes.int32)
    assert count == 303
    np.testing.assert_array_equal(y[idx], x)


# ---------------------------------------------------------------- rows that change

SHAPES = [(1,), (300,), (50, 3), (3, 5000), (2000, 40), (7, 2, 3), (5, 0)]
STEPS = {
    name: step.sparse
    for name, step in vars(training_ops).items()
    if isinstance(step, training_ops.Step) and step.sparse is not None
}


def changed(
    opdef: Any, backend: str, shape: tuple[int, ...], dtype: str, count: int, threads: int = 0
) -> list[Any]:
    """The variables after two steps in which rows are named repeatedly."""
    rng = np.random.default_rng(0)
    numpy = tf.as_dtype(dtype).as_numpy_dtype
    with tf.Graph().as_default():
        written = opdef.effects.writes
        starts = [(rng.random(shape) + 0.5).astype(numpy) for _ in written]
        variables = [
            tf.get_variable(f"v{i}", initializer=s, use_resource=False) for i, s in enumerate(starts)
        ]
        feeds: dict[Any, Any] = {}
        inputs: list[Any] = []
        for arg in opdef.inputs[len(variables) :]:
            if arg.name == "indices":
                value = rng.integers(0, shape[0], count).astype(np.int32)
            elif arg.name == "grad":
                value = (rng.random((count, *shape[1:])) - 0.5).astype(numpy)
            elif arg.name == "global_step":
                value = np.asarray(3, np.int64)
            else:
                value = np.asarray(-0.5 if arg.name == "lr_power" else 0.5 * rng.random() + 0.01, numpy)
            fed = tf.placeholder(tf.as_dtype(value.dtype), [None] * value.ndim if value.ndim else [])
            if arg.name == "grad":
                fed.set_shape([None, *shape[1:]])
            feeds[fed] = value
            inputs.append(fed)
        step = opdef(*(v.handle_or_ref for v in variables), *inputs).op
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Session(backend=backend, tier=TIERS[backend], config=config) as session:
            session.run(tf.global_variables_initializer())
            execute._records.clear()
            for _ in range(2):
                session.run(step, feeds)
            assert backend == "numpy" or not natively.left_to_numpy()
            return session.run(variables)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_that_change(name: str, shape: tuple[int, ...]) -> None:
    for count in (0, 1, 60):
        expected = changed(STEPS[name], "numpy", shape, "float32", count)
        for value, right in zip(changed(STEPS[name], "native", shape, "float32", count), expected):
            np.testing.assert_allclose(value, right, rtol=1e-4, atol=5e-6)  # differences of near numbers


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes_of_rows_that_change(name: str, dtype: str) -> None:
    """A half is rounded once for each element and step, by NumPy after each operation."""
    tolerance = {"float16": 2e-2, "bfloat16": 0.15, "float64": 1e-12}[dtype]
    expected = changed(STEPS[name], "numpy", (30, 5), dtype, 9)
    for value, right in zip(changed(STEPS[name], "native", (30, 5), dtype, 9), expected):
        assert value.dtype == right.dtype
        np.testing.assert_allclose(
            value.astype(np.float64), right.astype(np.float64), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("shape", [(50, 3), (3, 5000), (2000, 40)], ids=str)
def test_bits_do_not_depend_on_threads(name: str, shape: tuple[int, ...]) -> None:
    one, two, four = (changed(STEPS[name], "native", shape, "float32", 3_000, n) for n in (1, 2, 4))
    assert all(natively.same(a, b) and natively.same(a, c) for a, b, c in zip(one, two, four))


def test_only_rows_that_count_are_read() -> None:
    """What lies behind them is NaN, and the indices there are out of range."""
    step = row_updates.Step(
        row_updates.Rows(dtypes.float32, dtypes.int32, 1, None),
        (dtypes.float32, dtypes.float32, dtypes.float32),
        (scalar.leaf(0, dtypes.float32) - scalar.leaf(1, dtypes.float32) * scalar.leaf(2, dtypes.float32),),
        2,
        is_counted=True,
    )
    kernel = row_updates.update_rows(step, "test")
    variable = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows = np.full([5, 3], np.nan, np.float32)
    rows[:2] = 1
    indices = np.array([3, 1, 99, -1, 99], np.int32)
    inputs = [
        variable,
        np.asarray(0.5, np.float32),
        rows,
        indices,
        np.zeros(1, np.int64),
        np.asarray(2, np.int32),
    ]
    expected = variable.copy()
    expected[[3, 1]] -= 0.5
    for cut in ((4, 3, 1, 1), (1, 3, 1, 4), (2, 2, 2, 4)):
        height, width, across, tiles = cut
        (found,) = guarded.run(kernel, inputs, [0], (5, 3, 4, height, width, across), tiles, per_call=1)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bad", [-1, 6, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("name", ["Momentum", "Adam"])
def test_an_index_out_of_range(bad: int, resource: bool, name: str) -> None:
    table = tf.get_variable("table", initializer=np.ones([6, 3], np.float32), use_resource=resource)
    indices, values = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.float32, [None, 3])
    optimizer = {"Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9), "Adam": tf.train.AdamOptimizer}
    slices = tf.IndexedSlices(values, indices, tf.shape(table))
    train = optimizer[name]().apply_gradients([(slices, table)])
    feeds = {indices: [0, bad, 0], values: np.ones([3, 3])}
    messages: list[str] = []
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier=TIERS[backend]) as session:
            session.run(tf.global_variables_initializer())
            with pytest.raises(errors.InvalidArgumentError) as caught:
                session.run(train, feeds)
            messages.append(caught.value.message.splitlines()[0])
            assert str(bad) in messages[-1]
            np.testing.assert_array_equal(session.run(table), np.ones([6, 3]))
            feeds[indices][1] = 1
            session.run(train, feeds)
            assert (session.run(table)[:2] < 1).all()
            feeds[indices][1] = bad
    assert messages[0] == messages[1]


def test_a_planted_fault_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    made = row_updates.update_rows

    def wrong(step: row_updates.Step, title: str) -> Any:
        return made(replace(step, outputs=tuple(e + 1e-3 for e in step.outputs)), title)

    monkeypatch.setattr(row_updates, "update_rows", wrong)
    with pytest.raises(AssertionError):
        test_rows_that_change("MOMENTUM", (50, 3))


# ---------------------------------------------------------------- optimizers

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "AdagradDA": lambda: tf.train.AdagradDAOptimizer(0.1, tf.train.get_or_create_global_step()),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(0.1),
    "Ftrl": lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "Nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "ProximalAdagrad": lambda: tf.train.ProximalAdagradOptimizer(0.1),
    "ProximalGradientDescent": lambda: tf.train.ProximalGradientDescentOptimizer(0.1),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.1),
    "Centered": lambda: tf.train.RMSPropOptimizer(0.1, centered=True),
}


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_embeddings_are_trained_in_one_segment(name: str, resource: bool) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=[40, 8]).astype(np.float32)
    table = tf.get_variable("table", initializer=start, use_resource=resource)
    weight = tf.get_variable("weight", initializer=start[:8, :1], use_resource=resource)
    indices = tf.placeholder(tf.int32, [None, 3])
    rows = tf.nn.embedding_lookup(table, indices)
    loss = tf.reduce_mean(tf.square(tf.matmul(tf.reduce_mean(rows, 1), weight) - 1.0))
    train = OPTIMIZERS[name]().minimize(loss)
    results: list[Any] = []
    for backend in ("numpy", "native"):
        batches = np.random.default_rng(1)
        with tf.Session(backend=backend, tier=TIERS[backend]) as session:
            session.run(tf.global_variables_initializer())
            execute._records.clear()
            for size in (5, 5, 2, 1, 0, 30):
                session.run(train, {indices: batches.integers(0, 20, [size, 3])})
            assert backend == "numpy" or not natively.left_to_numpy()
            results.append(session.run(tf.global_variables()))
    for value, expected in zip(*results, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_a_loop_of_sparse_steps() -> None:
    """Steps in the body of a loop, on indices that it is given row by row."""
    table = tf.get_variable("table", initializer=np.ones([9, 2], np.float32), use_resource=True)
    indices = tf.placeholder(tf.int32, [None, 4])
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9, use_locking=False)
    optimizer._create_slots([table])
    optimizer._prepare()

    def body(i: Any) -> Any:
        rows = tf.nn.embedding_lookup(table, indices[i])
        slices = tf.IndexedSlices(2.0 * rows, indices[i], tf.shape(table))
        with tf.control_dependencies([optimizer._update(slices, table)]):
            return i + 1

    loop = tf.while_loop(lambda i: i < tf.shape(indices)[0], body, [0])
    feeds = {indices: [[1, 1, 2, 3], [3, 3, 3, 3], [0, 8, 1, 0]]}
    results: list[Any] = []
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier=TIERS[backend]) as session:
            session.run(tf.global_variables_initializer())
            assert session.run(loop, feeds) == 3
            results.append(session.run(table))
    np.testing.assert_allclose(*results, rtol=1e-6)
    assert results[0][4, 0] == 1
    assert results[0][3, 0] < results[0][2, 0] < 1
