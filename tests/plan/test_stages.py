"""Stages: classes of input shapes, what is planned once, and where a stage ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core import dtypes
from tahr.core.shapes import Items
from tahr.core.sizes import Size, symbol
from tahr.ops.list_values import StoredList, TensorList
from tahr.plan import stages
from tahr.plan.stages import PlannedStage, classify, first_stage
from tahr.program.effects import Key
from tahr.program.function import Function
from tahr.program.passes import pipeline


def function_of(outputs: Any, inputs: Any) -> Function:
    return Function(tf.get_default_graph(), inputs, outputs)


def planned(function: Function, *values: Any) -> PlannedStage:
    return first_stage(function, [np.asarray(v) for v in values], pipeline.for_numpy)


def shape_of_input(found: PlannedStage) -> tuple[Any, ...]:
    (value,) = found.stage.program.inputs
    return value.shape or ()


# ---------------------------------------------------------------- classes


def classes(*pairs: tuple[Any, tuple[int, ...]]) -> list[Any]:
    values: dict[Key, Any] = {
        tf.placeholder(tf.float32, static): np.zeros(shape, np.float32) for static, shape in pairs
    }
    return [spec.shape for spec in classify(values)[0].values()]


def test_known_sizes_are_integers():
    assert classes(([3, 4], (3, 4))) == [(3, 4)]


def test_zero_and_one_are_classes_of_their_own():
    ((zero, one, other),) = classes(([None, None, None], (0, 1, 5)))
    assert (zero, one) == (0, 1)
    assert isinstance(other, Size)


def test_equal_sizes_share_a_symbol_and_others_do_not():
    (a, b), (c,) = classes(([None, None], (5, 7)), ([None], (7,)))
    assert b == c
    assert a != b


def test_an_unknown_rank_is_that_of_the_value():
    ((a, b),) = classes((None, (2, 1)))
    assert isinstance(a, Size)
    assert b == 1


def test_a_value_without_dtype_is_classed_by_its_own():
    x = tf.placeholder()
    specs, key = classify({x: np.zeros(2, np.int64)})
    assert specs[x].dtype is tf.int64
    assert key != classify({x: np.zeros(2, np.float32)})[1]


# ---------------------------------------------------------------- caches


def test_items_of_a_list_that_native_code_left_are_classed_between_stages():
    x, items = tf.placeholder(tf.float32, [None]), tf.TensorArray(tf.float32, 2).flow
    size = symbol("n")
    for rows, row in ((5, (3, 3)), (7, (4, 3)), (5, (1, 3))):
        known = Items(dtypes.float32, (row[0] if row[0] < 2 else size, 3))
        stored = StoredList(np.zeros((rows, *row)), np.zeros(rows + 1, np.int64), known)
        specs, key = classify({x: np.zeros(row[0]), items: stored}, with_items=True)
        shape = specs[x].shape
        assert shape is not None and specs[items].items == Items(dtypes.float32, (*shape, 3))
        assert key == classify({x: np.zeros(row[0]), items: stored}, with_items=True)[1]
        assert classify({x: np.zeros(row[0]), items: stored})[0][items].items is None
        assert classify({x: np.zeros(2), items: TensorList([row])}, with_items=True)[0][items].items is None


def test_one_plan_for_all_sizes_of_a_class():
    x = tf.placeholder(tf.float32, [None, None])
    function = function_of([x * 2.0], [x])
    square = {id(planned(function, np.zeros((n, n), np.float32))) for n in (2, 3, 50)}
    oblong = {id(planned(function, np.zeros((n, n + 1), np.float32))) for n in (2, 3, 50)}
    assert len(square) == len(oblong) == 1
    assert square != oblong
    assert len(function.plans) == 2


def test_a_size_that_the_graph_demands_is_an_integer():
    x = tf.placeholder(tf.float32, [None, None])
    joined = tf.concat([x, tf.zeros([8, 3])], 1)
    function = function_of([joined], [x])
    found = planned(function, np.zeros((8, 5), np.float32))
    assert shape_of_input(found)[0] == 8
    assert isinstance(shape_of_input(found)[1], Size)
    assert planned(function, np.zeros((8, 6), np.float32)) is found
    assert planned(function, np.zeros((8, 8), np.float32)) is not found  # columns are an integer by chance


@pytest.mark.parametrize("shape", [[6], [3, 6]])
def test_a_size_that_broadcasting_demands(shape: list[int]):
    x = tf.placeholder(tf.float32, [None, None])
    function = function_of([x * tf.ones(shape)], [x])
    found = planned(function, np.zeros((3, 6), np.float32))
    assert shape_of_input(found)[1] == 6


def test_a_demand_that_is_not_met_is_an_error_as_before():
    x = tf.placeholder(tf.float32, [None, 5])
    joined = tf.concat([x, tf.zeros([8, 3])], 1)
    session = tf.Session()
    for _ in range(3):
        assert session.run(joined, {x: np.zeros((8, 5))}).shape == (8, 8)
        with pytest.raises(tf.errors.InvalidArgumentError, match="should match"):
            session.run(joined, {x: np.zeros((7, 5))})


def test_plans_for_different_dtypes_of_one_placeholder_stay_apart():
    x = tf.placeholder()
    y = x * 2
    session = tf.Session()
    for _ in range(2):
        for value in (np.array([1, 2], np.int32), np.array([1.5, 2.5]), np.array([0.5, 0.5], np.float32)):
            found = session.run(y, {x: value})
            assert found.dtype == value.dtype
            np.testing.assert_array_equal(found, value * 2)


def test_the_memory_of_exact_shapes_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stages, "MAX_EXACT", 5)
    x = tf.placeholder(tf.float32, [None])
    function = function_of([x * 2.0], [x])
    for n in range(30):
        planned(function, np.zeros(n, np.float32))
        assert len(function.exact) <= 5
    assert len(function.plans) == 3


def test_the_memory_of_classes_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stages, "MAX_PLANS", 4)
    x = tf.placeholder(tf.float32)
    function = function_of([x * 2.0], [x])
    for rank in range(12):
        planned(function, np.zeros((1,) * rank, np.float32))
        assert len(function.plans) <= 4


def test_the_memory_of_following_stages_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stages, "MAX_PLANS", 3)
    x = tf.placeholder(tf.float64, [])
    middle = tf.py_func(lambda n: np.ones((1,) * int(n)), [x], tf.float64)
    y = tf.reduce_sum(middle + 1.0)
    session = tf.Session()
    for rank in range(8):
        assert session.run(y, {x: float(rank)}) == 2.0


@pytest.mark.parametrize("most", [3, 4096])
def test_the_stage_behind_exactly_equal_values_is_found_at_once(monkeypatch: pytest.MonkeyPatch, most: int):
    """Sizes, dtypes and the values of constants may change from run to run."""
    monkeypatch.setattr(stages, "MAX_EXACT", most)
    classified: list[int] = []

    def noted(*args: Any, **how: Any) -> Any:
        classified.append(1)
        return classify(*args, **how)

    monkeypatch.setattr(stages, "classify", noted)
    x, shape = tf.placeholder(tf.float64, [None]), tf.constant([2, 3])
    middle = tf.py_func(lambda x: x[x > 0], [x], x.dtype)
    y = tf.reduce_sum(middle) + tf.reshape(tf.range(6.0, dtype=tf.float64), shape)
    session = tf.Session()
    counts: list[int] = []
    for _ in range(2):
        for n in (0, 1, 2, 5, 2, 7):
            for rows in (2, 3, 6):
                found = session.run(y, {x: np.full(n, 2.0), shape: [rows, 6 // rows]})
                np.testing.assert_array_equal(found, 2 * n + np.arange(6.0).reshape(rows, -1))
        counts.append(len(classified))
    assert counts[1] == counts[0] if most > 3 else counts[1] > counts[0]


# ---------------------------------------------------------------- where a stage ends


def test_a_program_of_known_shapes_is_one_stage():
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.reshape(x, [tf.shape(x)[0] * 3]) + tf.reduce_mean(x)
    assert planned(function_of([y], [x]), np.zeros((5, 3), np.float32)).is_whole


def test_a_recurrent_loop_over_a_batch_of_any_size_is_one_stage():
    x = tf.placeholder(tf.float32, [None, 3])
    _, h = tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(h + x)), [0, x])
    assert planned(function_of([h * 2.0], [x]), np.zeros((5, 3), np.float32)).is_whole


def test_a_shape_that_depends_on_data_ends_a_stage():
    x = tf.placeholder(tf.int32, [None])
    values, _ = tf.unique(x)
    function = function_of([values * 2], [x])
    first = planned(function, np.zeros(5, np.int32))
    assert not first.is_whole
    assert [op.type for op in first.stage.done if op.type != "Const"] == ["Unique"]


def test_a_result_whose_shape_depends_on_data_needs_no_further_stage():
    x = tf.placeholder(tf.int32, [None])
    values, _ = tf.unique(x)
    assert planned(function_of([values], [x]), np.zeros(5, np.int32)).is_whole


def test_a_fed_shape_is_looked_at():
    shape, x = tf.placeholder(tf.int32, [2]), tf.placeholder(tf.float32, [None])
    y = tf.reshape(x, shape) * 2.0
    session = tf.Session()
    for size in ((2, 3), (3, 2), (6, 1), (1, 6)):
        assert session.run(y, {x: np.zeros(6), shape: size}).shape == size


def test_an_independent_part_does_not_wait_for_data():
    x = tf.placeholder(tf.float32, [None])
    y = tf.boolean_mask(x, x > 0.0) * 2.0
    z = tf.exp(tf.sin(x))
    first = planned(function_of([y, z], [x]), np.zeros(5, np.float32))
    assert z.op in first.stage.done


def test_a_constant_captured_by_a_loop_that_is_fed_another_value():
    n = tf.constant([2, 3])
    x = tf.placeholder(tf.float32, [6])
    _, y = tf.while_loop(
        lambda i, a: i < 2, lambda i, a: (i + 1, tf.reshape(tf.reshape(a, n) * 2.0, [6])), [0, x]
    )
    session = tf.Session()
    for shape in ((2, 3), (3, 2), (6, 1), (2, 3)):
        np.testing.assert_array_equal(session.run(y, {x: np.ones(6), n: shape}), np.full(6, 4.0))
