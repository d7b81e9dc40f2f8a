"""From a graph to Programs: interning, pruning, stages, dtypes that are not given, regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core.convert import Const
from tahr.core.graph import Operation
from tahr.core.opdef import OPS
from tahr.core.shapes import Spec
from tahr.plan.stages import classify
from tahr.program.extract import Stage, extract
from tahr.program.function import Function, live_variables
from tahr.program.node import MERGED_CONSTANT_BYTES, Builder, Program, attrs_key
from tests.program.lowering import compute, lower


def names(program: Program) -> list[str]:
    return [n.opdef.name for n in program.nodes() if n.opdef is not Const and n.opdef.name != "_Input"]


def first_stage(outputs: Any, feeds: Any) -> Stage:
    function = Function(tf.get_default_graph(), list(feeds), outputs)
    specs, _ = classify(dict(zip(function.keys, feeds.values(), strict=True)))
    return extract(function, specs, frozenset(), frozenset())


def placeholder(*shape: Any) -> tf.Tensor:
    return tf.placeholder(tf.float32, list(shape))


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


# ---------------------------------------------------------------- interning


def test_equal_computations_are_one_node():
    x = placeholder(None)
    program = lower([tf.sin(x) + tf.sin(x)], {x: zeros(3)})
    assert sorted(names(program)) == ["AddV2", "Sin"]


def test_equality_goes_through_whole_subgraphs():
    x = placeholder(None)

    def deep() -> Any:
        return tf.exp(tf.sin(x) * 2.0 + x)

    assert names(lower([deep() - deep()], {x: zeros(3)})).count("Exp") == 1


def test_other_attributes_are_another_node():
    x = placeholder(2, 3)
    outputs = [tf.argmax(x, 0), tf.argmax(x, 0), tf.argmax(x, 0, output_type=tf.int32), tf.argmax(x, 1)]
    assert names(lower(outputs, {x: zeros(2, 3)})) == ["ArgMax"] * 3


def test_the_order_of_inputs_matters():
    x, y = placeholder(2), placeholder(2)
    assert len(names(lower([x - y, y - x], {x: zeros(2), y: zeros(2)}))) == 2


def test_a_write_waits_only_for_the_reads_of_the_state_that_it_replaces():
    w = tf.Variable(1.0)
    write = tf.assign_add(w, 1.0)
    for _ in range(20):
        with tf.control_dependencies([write]):
            write = tf.assign(w, w * 2.0)
    writes = [n for n in lower([write], {}).nodes() if n.opdef.name == "Assign"]
    # The write before it, and the read of what that left.
    assert len(writes) == 20 and all(len(set(n.tokens)) == 2 for n in writes)


def test_draws_and_writes_are_never_merged():
    w = tf.Variable(1.0)
    outputs = [tf.random_uniform([2], seed=1), tf.random_uniform([2], seed=1)]
    writes = [tf.assign_add(w, 1.0).op, tf.assign_add(w, 1.0).op]
    found = names(lower(outputs, {}, writes))
    assert found.count("RandomUniform") == 2
    assert found.count("AssignAdd") == 2


def test_computations_behind_control_edges_are_merged_too():
    x, w = placeholder(2), tf.Variable(1.0)
    a = tf.sin(x)
    with tf.control_dependencies([tf.assign(w, 2.0)]):
        b = tf.sin(x)
    assert names(lower([a, b], {x: zeros(2)})).count("Sin") == 1


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (np.float32(1), np.float32(1), True),
        (np.float32(1), np.float64(1), False),
        (np.float32(0.0), np.float32(-0.0), False),
        (np.float32(np.nan), np.float32(np.nan), True),
        (np.zeros((1, 2)), np.zeros((2, 1)), False),
        (np.zeros((0, 2)), np.zeros((2, 0)), False),
        (np.zeros(3, np.int32), np.zeros(3, np.uint32), False),
        (np.zeros(MERGED_CONSTANT_BYTES), np.zeros(MERGED_CONSTANT_BYTES), False),
    ],
)
def test_constants_are_merged_by_their_bytes(a: Any, b: Any, same: bool):
    builder = Builder()
    assert (builder.constant(np.asarray(a)) is builder.constant(np.asarray(b))) is same


def test_a_large_constant_is_merged_with_itself():
    builder, value = Builder(), np.zeros(MERGED_CONSTANT_BYTES)
    assert builder.constant(value) is not builder.constant(value.copy())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", 1),
        ([1], [1.0]),
        ([1, [2]], [1, 2]),
        (None, False),
        (tf.int32, tf.int64),
    ],
)
def test_attributes_that_look_alike_stay_apart(a: Any, b: Any):
    assert attrs_key({"x": a}) != attrs_key({"x": b})


@pytest.mark.parametrize(
    "value", [1, 1.5, float("nan"), True, "a", [1, 2], (1, [2.0, None]), np.arange(3), tf.int32]
)
def test_equal_attributes_are_equal(value: Any):
    again = (
        list(value) if isinstance(value, list) else value.copy() if isinstance(value, np.ndarray) else value
    )
    key = attrs_key({"x": value, "y": 1})
    assert key == attrs_key({"y": 1, "x": again})
    assert hash(key) == hash(attrs_key({"x": again, "y": 1}))


# ---------------------------------------------------------------- pruning


def test_what_no_fetch_needs_is_not_there():
    x = placeholder(2)
    tf.exp(x)
    assert names(lower([tf.sin(x)], {x: zeros(2)})) == ["Sin"]


def test_what_stands_before_a_fed_tensor_is_not_there():
    x = placeholder(2)
    middle = tf.exp(x)
    assert names(lower([tf.sin(middle)], {middle: zeros(2)})) == ["Sin"]


def test_a_fed_output_of_several():
    x = placeholder(4)
    a, b = tf.split(x, 2)
    session = tf.Session()
    np.testing.assert_array_equal(session.run(a + b, {x: [1, 2, 3, 4], a: [10, 20]}), [13, 24])
    np.testing.assert_array_equal(session.run(a + b, {b: [1, 2], a: [10, 20]}), [11, 22])


def test_a_fed_input_that_nothing_needs_is_kept_as_an_input():
    x, y = placeholder(2), placeholder(2)
    program = lower([tf.sin(x)], {x: zeros(2), y: zeros(2)})
    assert len(program.inputs) == 2


# ---------------------------------------------------------------- shapes


def test_symbols_flow_through_shape_rules():
    x = placeholder(None, 3)
    program = lower(
        [tf.reshape(x, [tf.shape(x)[0] * 3]), tf.concat([x, x], 0), tf.transpose(x)], {x: zeros(5, 3)}
    )
    shape = program.inputs[0].shape
    assert shape is not None
    size = shape[0]
    assert [v.shape for v in program.outputs] == [(3 * size,), (2 * size, 3), (3, size)]


def test_a_reshape_to_a_computed_shape_stays_in_the_stage():
    x = placeholder(None, None)
    y = tf.reshape(x, tf.stack([tf.shape(x)[1], tf.shape(x)[0]])) + 1.0
    assert first_stage([y], {x: zeros(4, 5)}).is_last


# ---------------------------------------------------------------- stages


def crossing_types(stage: Stage) -> set[str]:
    """The types of the operations whose values later stages take."""
    return {k.op.type if isinstance(k, tf.Tensor) else k.variable.type for k in stage.outputs}


def test_what_crosses_into_the_next_stage():
    x = placeholder(None)
    kept = tf.boolean_mask(x, x > 0.0)
    scale = tf.exp(tf.reduce_sum(x))
    stage = first_stage([kept * scale], {x: zeros(5)})
    assert not stage.is_last
    crossing = crossing_types(stage)
    assert "Exp" in crossing
    assert "Greater" not in crossing


def test_small_computations_on_shapes_are_made_again_and_do_not_cross():
    x = placeholder(None, 3)
    rows = tf.shape(x)[0]
    kept = tf.boolean_mask(tf.reshape(x, [-1]), tf.reshape(x, [-1]) > 0.0)
    stage = first_stage([tf.reshape(kept * 2.0, [-1]) + tf.zeros([rows * 0 + 1])], {x: zeros(5, 3)})
    assert not {"Shape", "StridedSlice"} & crossing_types(stage)


def test_three_stages_in_a_row_and_values_that_skip_one():
    x = tf.placeholder(tf.int32, [None])
    first, _ = tf.unique(x)
    second, _ = tf.unique(first % 3)
    early = tf.reduce_sum(x)
    y = tf.reduce_sum(second) + early * tf.size(first) + tf.size(second)
    session = tf.Session()
    for feed in ([1, 4, 4, 2], [7], [0, 0, 0]):
        one = np.unique(feed)
        two = np.unique(one % 3)
        assert session.run(y, {x: feed}) == two.sum() + sum(feed) * len(one) + len(two)


def test_several_outputs_of_unknown_shape_in_later_stages():
    x = tf.placeholder(tf.float64, [None])
    parts = (
        tf.dynamic_partition(x, tf.cast(x > 0.0, tf.int32), 2) if hasattr(tf, "dynamic_partition") else None
    )
    kept = [tf.boolean_mask(x, x <= 0.0), tf.boolean_mask(x, x > 0.0)] if parts is None else parts
    y = [tf.reduce_sum(kept[0] * 2.0), tf.size(kept[1] + 1.0)]
    assert tf.Session().run(y, {x: [-1.0, 2.0, 3.0, -4.0]}) == [-10.0, 2]


def test_a_loop_behind_data_and_data_behind_a_loop():
    x = tf.placeholder(tf.int32, [None])
    values, _ = tf.unique(x)
    _, grown = tf.while_loop(
        lambda i, a: i < tf.size(values),
        lambda i, a: (i + 1, tf.concat([a, values[i : i + 1] * 2], 0)),
        [0, values],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )
    again, _ = tf.unique(grown)
    session = tf.Session()
    np.testing.assert_array_equal(session.run(again + 0, {x: [3, 3, 6]}), [3, 6, 12])
    np.testing.assert_array_equal(session.run(again + 0, {x: [5]}), [5, 10])


def test_an_effect_behind_data_waits_and_one_before_does_not():
    w, x = tf.Variable(0, use_resource=True), tf.placeholder(tf.int32, [None])
    values, _ = tf.unique(x)
    early = tf.assign_add(w, 1)
    with tf.control_dependencies([early]):
        late = tf.assign_add(w, 10 * tf.reduce_sum(values))
    with tf.control_dependencies([late]):
        after = w.read_value()
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    assert session.run(after, {x: [1, 1, 2]}) == 31
    assert session.run(w) == 31


def test_a_draw_in_an_early_stage_is_used_and_not_repeated_in_a_later_one():
    x = tf.placeholder(tf.float64, [None])
    noise = tf.random_uniform([1], dtype=tf.float64)
    kept = tf.boolean_mask(x, x > 0.0)
    first, second = kept * 0.0 + noise, noise
    a, b = tf.Session().run([first, second], {x: [1.0, 2.0, -1.0]})
    np.testing.assert_array_equal(a, [b[0], b[0]])


# ---------------------------------------------------------------- dtypes that are not given


@pytest.mark.parametrize(
    ("build", "fed", "dtype"),
    [
        (lambda x: x + 1, np.ones(1, np.float32), np.float32),
        (lambda x: x + 1, np.ones(1, np.int64), np.int64),
        (lambda x: x * 0.5, np.ones(1, np.float32), np.float32),
        (lambda x: x * 0.5, np.ones(1, np.float64), np.float64),
        (lambda x: 2 - x, np.ones(1, np.float16), np.float16),
        (lambda x: x > 0, np.ones(1, np.float16), np.bool_),
        (lambda x: tf.matmul([[1.0, 2.0]], [[3.0], [4.0]]) + x, np.ones(1, np.float64), np.float64),
        (lambda x: -tf.exp(x), np.ones(1, np.float64), np.float64),
    ],
)
def test_what_depends_on_a_placeholder_without_dtype(build: Any, fed: np.ndarray, dtype: Any):
    y = build(tf.placeholder())
    (x,) = [op for op in tf.get_default_graph().get_operations() if op.type.startswith("Placeholder")]
    assert tf.Session().run(y, {x.outputs[0]: fed}).dtype == dtype


def test_two_placeholders_without_dtype_are_promoted_together():
    a, b = tf.placeholder(), tf.placeholder()
    y = a * b + 1
    session = tf.Session()
    for left, right in (
        (np.array([3], np.int32), np.array([0.5], np.float64)),
        (np.array([1.5], np.float32), np.array([2], np.float64)),
        (np.array([1], np.int32), np.array([2], np.int64)),
    ):
        found = session.run(y, {a: left, b: right})
        assert found.dtype == np.result_type(left, right)
        np.testing.assert_array_equal(found, left * right + 1)


def test_lists_and_numbers_may_be_fed():
    x = tf.placeholder()
    assert tf.Session().run(x * 2, {x: 3}) == 6
    np.testing.assert_array_equal(tf.Session().run(x * 2, {x: [1, 2]}), [2, 4])


def test_loops_and_branches_over_a_placeholder_without_dtype():
    x = tf.placeholder()
    _, power = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * x), [0, x])
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: power * 2, lambda: x)
    (gradient,) = tf.gradients(y, x)
    for dtype in (np.float32, np.float64):
        found = tf.Session().run([y, gradient], {x: np.array([1.0, 2.0], dtype)})
        assert [f.dtype for f in found] == [dtype, dtype]
        np.testing.assert_array_equal(found, [[2, 32], [8, 64]])


def test_a_gradient_has_the_dtype_that_was_fed():
    x = tf.placeholder()
    (gradient,) = tf.gradients(tf.reduce_sum(x * x), x)
    for dtype in (np.float32, np.float64):
        found = tf.Session().run(gradient, {x: np.array([1.0, 2.0], dtype)})
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, [2, 4])


# ---------------------------------------------------------------- regions


def region_node(program: Program, name: str) -> Any:
    (node,) = [n for n in program.nodes() if n.opdef.name == name]
    return node


def the_operation(kind: str) -> Operation:
    (op,) = [o for o in tf.get_default_graph().get_operations() if o.type == kind]
    return op


def test_only_the_wanted_results_of_a_branching_are_there():
    x, p = placeholder(2), tf.placeholder(tf.bool, [])
    _, second = tf.cond(p, lambda: (tf.sin(x), x * 2.0), lambda: (tf.exp(x), x))
    node = region_node(lower([second], {x: zeros(2), p: np.array(True)}), "If")
    assert len(node.outputs) == 1
    function, _ = node.attrs["then_branch"]
    assert "Sin" not in [op.type for op in function.outline.order]


def test_a_capture_of_both_branches_is_one_input():
    x, p = placeholder(2), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: x * 2.0, lambda: x + tf.sin(x))
    node = region_node(lower([y], {x: zeros(2), p: np.array(True)}), "If")
    assert len(node.inputs) == 2


def test_a_variable_that_a_region_only_reads_is_given_to_it():
    w, p = tf.Variable([1.0, 2.0], use_resource=True), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: w * 2.0, lambda: w.read_value())
    node = region_node(lower([y], {p: np.array(True)}), "If")
    assert [v.node.opdef.name for v in node.inputs] == ["_Input", "_ReadCell"]


def test_shapes_of_branches_that_differ_are_joined():
    x, p = placeholder(None), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: x, lambda: tf.zeros([3]))
    stage = first_stage([y * 2.0], {x: zeros(5), p: np.array(True)})
    assert not stage.is_last
    session = tf.Session()
    assert session.run(y * 2.0, {x: zeros(5), p: True}).shape == (5,)
    assert session.run(y * 2.0, {x: zeros(5), p: False}).shape == (3,)


def test_live_loop_variables():
    x = placeholder()
    results = tf.while_loop(
        lambda i, a, b, c, d: i < 3,
        lambda i, a, b, c, d: (i + 1, a + b, b * 2.0, c + a, d * x),
        [0, x, x, x, x],
    )
    assert len(results) == 5
    op = the_operation("While")
    assert live_variables(op, [1]) == [0, 1, 2]
    assert live_variables(op, [2]) == [0, 2]
    assert live_variables(op, [3]) == [0, 1, 2, 3]
    assert live_variables(op, [4]) == [0, 4]
    assert live_variables(op, []) == [0]


def test_a_loop_with_effects_keeps_all_of_its_variables():
    w = tf.Variable(0)

    def body(i: Any, a: Any) -> Any:
        with tf.control_dependencies([tf.assign_add(w, 1)]):
            return i + 1, a * 2.0

    tf.while_loop(lambda i, a: i < 3, body, [0, 1.0])
    assert live_variables(the_operation("While"), []) == [0, 1]


def test_sizes_that_a_body_keeps_stay_known():
    x = placeholder(None, 3)
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.tanh(a + x)), [0, x])
    program = lower([y], {x: zeros(5, 3)})
    assert program.outputs[0].shape == program.inputs[0].shape


def test_sizes_that_a_body_changes_do_not():
    x = placeholder(None)
    _, y = tf.while_loop(
        lambda i, a: i < 3,
        lambda i, a: (i + 1, tf.concat([a, a], 0)),
        [0, x],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )
    stage = first_stage([y + 1.0], {x: zeros(5)})
    assert not stage.is_last
    assert tf.Session().run(y + 1.0, {x: zeros(5)}).shape == (40,)


def test_a_size_that_another_loop_variable_hands_over():
    x, z = placeholder(None), placeholder(None)
    _, a, _ = tf.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, b, a), [0, x, z])
    session = tf.Session()
    assert session.run(a * 1.0, {x: zeros(5), z: zeros(4)}).shape == (4,)
    assert session.run(a * 1.0, {x: zeros(5), z: zeros(1)}).shape == (1,)
    assert session.run(a * 1.0, {x: zeros(5), z: zeros(5)}).shape == (5,)


def test_a_region_that_gives_back_what_it_captured_or_was_given():
    x, p = placeholder(None), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: (x, x * 2.0), lambda: (x, x))
    session = tf.Session()
    for taken in (True, False):
        first, second = session.run(y, {x: [1.0, 2.0], p: taken})
        np.testing.assert_array_equal(first, [1, 2])
        np.testing.assert_array_equal(second, [2, 4] if taken else [1, 2])


def test_loops_are_not_merged_but_what_they_take_is():
    x = placeholder()
    results = [
        tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, a * x), [0, tf.sin(x)])[1] for _ in range(2)
    ]
    assert names(lower(results, {x: zeros()})).count("Sin") == 1


# ---------------------------------------------------------------- programs


def test_a_deep_program_is_walked_without_recursion():
    x = placeholder(2)
    y = x
    for i in range(3_000):
        y = y + float(i % 7)
    program = lower([y], {x: zeros(2)})
    assert len(program.nodes()) > 3_000
    np.testing.assert_array_equal(compute(program, [zeros(2)])[0], [sum(i % 7 for i in range(3_000))] * 2)


def test_nodes_come_in_topological_order():
    x = placeholder(2)
    y = tf.sin(x)
    program = lower([y * tf.exp(y) + x, y], {x: zeros(2)})
    place = {n: i for i, n in enumerate(program.nodes())}
    assert all(place[v.node] < place[n] for n in place for v in n.inputs)


def test_a_builder_infers_what_it_is_not_told():
    builder = Builder()
    x = builder.add(
        OPS["Placeholder"], (), {"dtype": tf.float32, "shape": None}, [Spec(tf.float32, (2, 3))]
    ).outputs[0]
    total = builder.value(OPS["Sum"], x, builder.constant(np.array([0], np.int32)))
    assert total.shape == (3,)
    assert total is builder.value(OPS["Sum"], x, builder.constant(np.array([0], np.int32)))
    assert repr(total.node) == f"%{total.node.number} = Sum({x!r}, {total.node.inputs[1]!r})"
