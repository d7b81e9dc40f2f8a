"""Storage: what is freed when, what is written in place, and who owns what comes out."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tahr as tf
from tahr.plan.plan import Plan, make_plan
from tahr.program.passes import pipeline
from tests.evaluate import evaluate
from tests.program.lowering import lower


def plan(outputs: Any, feeds: Mapping[Any, Any]) -> Plan:
    return make_plan(pipeline.for_numpy(lower(outputs, feeds)))


def peak(found: Plan) -> int:
    """How many arrays are alive at once that the run made: a step that writes in place makes none."""
    alive: set[int] = set()
    most = 0
    for step in found.steps:
        alive |= set(step.outputs)
        most = max(most, len(alive) - (step.reuses is not None))
        alive -= set(step.frees)
    return most


# ---------------------------------------------------------------- liveness


def test_a_deep_chain_needs_a_few_arrays():
    x = tf.placeholder(tf.float32, [None, 4])
    h = x
    for _ in range(200):
        h = tf.nn.relu(tf.matmul(h, tf.ones([4, 4])) + 1.0)
    assert peak(plan([h], {x: np.ones((3, 4), np.float32)})) <= 3


def test_a_deep_chain_keeps_what_its_gradient_needs_and_no_more():
    x = tf.placeholder(tf.float32, [None, 4])
    h = x
    for _ in range(50):
        h = tf.sin(tf.cos(h))
    (gradient,) = tf.gradients(h, x)
    assert peak(plan([gradient], {x: np.ones((3, 4), np.float32)})) <= 2 * 50 + 4


def test_everything_but_inputs_constants_and_outputs_is_freed():
    x = tf.placeholder(tf.float32, [None])
    y = tf.exp(x) * tf.sin(x) + 2.0
    found = plan([y, tf.sin(x)], {x: np.ones(3, np.float32)})
    made = {p for s in found.steps for p in s.outputs}
    freed = [p for s in found.steps for p in s.frees]
    assert len(freed) == len(set(freed))
    assert set(freed) & made == made - set(found.outputs)


def test_an_output_that_nobody_takes_is_freed_at_once():
    x = tf.placeholder(tf.float32, [4])
    first, _ = tf.split(x, 2)
    found = plan([first], {x: np.ones(4, np.float32)})
    (step,) = found.steps
    assert set(step.outputs) - set(step.frees) == set(found.outputs)


def test_what_a_run_holds_is_freed_while_it_runs():
    """The arrays themselves, watched through references that do not keep them."""
    alive: list[Any] = []
    most = 0

    def watch(value: np.ndarray) -> np.ndarray:
        nonlocal most
        alive[:] = [r for r in alive if r() is not None]
        most = max(most, len(alive))
        result = value + 1
        alive.append(weakref.ref(result))
        return result

    x = tf.placeholder(tf.float64, [1000])
    h = x
    for _ in range(30):
        h = tf.py_func(watch, [h], tf.float64)
        h.set_shape([1000])
    np.testing.assert_array_equal(tf.Session().run(h, {x: np.zeros(1000)}), np.full(1000, 30.0))
    assert most <= 2


# ---------------------------------------------------------------- writing in place


def reuses(found: Plan) -> list[str]:
    return [s.opdef.name for s in found.steps if s.reuses is not None]


def test_a_dying_input_of_the_same_shape_is_written():
    x = tf.placeholder(tf.float32, [None])
    assert reuses(plan([tf.exp(tf.sin(x))], {x: np.ones(3, np.float32)})) == ["Exp"]


def test_an_input_that_is_needed_later_is_not_written():
    x = tf.placeholder(tf.float32, [None])
    a = tf.sin(x)
    assert "Exp" not in reuses(plan([tf.exp(a), a], {x: np.ones(3, np.float32)}))


def test_feeds_and_constants_are_not_written():
    x = tf.placeholder(tf.float32, [2])
    assert reuses(plan([tf.exp(x), tf.constant([1.0, 2.0]) + x], {x: np.ones(2, np.float32)})) == []


def test_a_view_is_not_written_and_what_it_looks_at_neither():
    x = tf.placeholder(tf.float32, [2, 3])
    a = tf.sin(x)
    view = tf.transpose(a)
    exp = tf.exp(view)
    after = tf.reshape(a, [-1])
    found = plan([exp, after], {x: np.ones((2, 3), np.float32)})
    assert "Exp" not in reuses(found)


def test_another_shape_or_dtype_is_not_written():
    x = tf.placeholder(tf.float32, [1, 3])
    wide = tf.sin(x) + tf.ones([2, 1])
    assert "Add" not in reuses(plan([wide], {x: np.ones((1, 3), np.float32)}))
    assert reuses(plan([tf.sin(x) > 0.0], {x: np.ones((1, 3), np.float32)})) == []


UNARY: list[Callable[[Any], Any]] = [
    tf.sin,
    tf.exp,
    tf.negative,
    tf.square,
    tf.tanh,
    tf.identity,
    tf.stop_gradient,
]
BINARY: list[Callable[[Any, Any], Any]] = [tf.add, tf.subtract, tf.multiply, tf.maximum]
VIEWS: list[Callable[[Any], Any]] = [
    tf.transpose,
    lambda a: tf.reshape(tf.reshape(a, [-1]), [3, 3]),
    lambda a: a[::-1],
    lambda a: tf.concat([a[:1], a[1:]], 0),
    lambda a: tf.stack(tf.unstack(a)),
    lambda a: tf.broadcast_to(a[:1], [3, 3]),
    lambda a: tf.squeeze(tf.expand_dims(a, 1), 1),
    lambda a: tf.split(a, [1, 2], 1)[1][:, :1] + a,
]


@settings(max_examples=3 * settings().max_examples)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
        min_size=1,
        max_size=15,
    ),
    st.lists(st.integers(0, 99), min_size=1, max_size=4),
    st.booleans(),
)
def test_reuse_never_changes_a_result(
    steps: list[tuple[int, int, int, int]], fetched: list[int], is_known: bool
):
    with tf.Graph().as_default():
        inputs = [tf.placeholder(tf.float64, [3, 3] if is_known else [None, None]) for _ in range(2)]
        values: list[Any] = [*inputs, tf.constant(np.linspace(-1, 1, 9).reshape(3, 3))]
        for kind, which, left, right in steps:
            a, b = values[left % len(values)], values[right % len(values)]
            if kind == 0:
                values.append(UNARY[which % len(UNARY)](a))
            elif kind == 1:
                values.append(BINARY[which % len(BINARY)](a, b))
            elif is_known:
                values.append(VIEWS[which % len(VIEWS)](a))
        values[3:] = [tf.clip_by_value(v, -5.0, 5.0) if i % 4 == 3 else v for i, v in enumerate(values[3:])]
        outputs = [values[i % len(values)] for i in fetched]
        rng = np.random.default_rng(0)
        feeds = {x: rng.normal(size=(3, 3)) for x in inputs}
        kept = {x: v.copy() for x, v in feeds.items()}
        session = tf.Session()
        expected = evaluate(outputs, kept)
        for _ in range(2):
            found = session.run(outputs, feeds)
            for value, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(value, wanted, rtol=1e-12)
            for x in inputs:
                np.testing.assert_array_equal(feeds[x], kept[x])
            # What is fetched belongs to the caller: one array each, and none of them part of the graph.
            for i, (tensor, value) in enumerate(zip(outputs, found, strict=True)):
                if tensor in feeds:
                    assert value is feeds[tensor]
                    continue
                assert value.flags.writeable
                others = [v for t, v in zip(outputs, found, strict=True) if t is not tensor]
                assert not any(np.shares_memory(value, other) for other in [*others, *feeds.values()])
                value += 1000.0 * (i + 1)


def test_a_composites_outputs_that_are_the_same_array_inside():
    x = tf.placeholder(tf.float32, [2, 2, 2, 3])
    y, mean, variance = tf.nn.fused_batch_norm(x, tf.ones([3]), tf.zeros([3]), data_format="NHWC")
    op = y.op
    while op.type == "Identity":
        op = op.inputs[0].op
    value = np.random.default_rng(0).normal(size=(2, 2, 2, 3)).astype(np.float32)
    outputs = [mean * 2.0, variance + 1.0, *op.outputs]
    before = evaluate(outputs, {x: value})
    for found, wanted in zip(tf.Session().run(outputs, {x: value}), before, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- results are the caller's own

SOURCES: dict[str, Callable[[], Any]] = {
    "variable": lambda: tf.Variable([1.0, 2.0]),
    "resource": lambda: tf.Variable([1.0, 2.0], use_resource=True),
    "view of a variable": lambda: tf.reshape(tf.Variable([1.0, 2.0]), [2, 1]),
    "slice of a variable": lambda: tf.Variable([1.0, 2.0])[::-1],
    "identity of a variable": lambda: tf.identity(tf.Variable([1.0, 2.0])),
    "constant": lambda: tf.constant([1.0, 2.0]),
    "view of a constant": lambda: tf.constant([1.0, 2.0])[tf.newaxis],
    "constant of a branch": lambda: tf.cond(
        tf.placeholder_with_default(True, []), lambda: tf.constant([1.0, 2.0]), lambda: tf.zeros([2])
    ),
    "variable of a branch": lambda: _cond_of(tf.Variable([1.0, 2.0])),
    "constant of a loop": lambda: tf.while_loop(
        lambda i, a: i < 1, lambda i, a: (i + 1, tf.constant([1.0, 2.0])), [0, tf.zeros([2])]
    )[1],
    "start of a loop that does not run": lambda: tf.while_loop(
        lambda i, a: i < 0, lambda i, a: (i + 1, a * 2.0), [0, tf.constant([1.0, 2.0])]
    )[1],
    "item of a list": lambda: tf.TensorArray(tf.float32, 1).write(0, tf.constant([1.0, 2.0])).read(0),
    "broadcast": lambda: tf.broadcast_to(tf.constant([1.0, 2.0]), [3, 2]),
    "part of a split": lambda: tf.split(tf.Variable([1.0, 2.0]), 2)[0],
}


def _cond_of(variable: Any) -> Any:
    return tf.cond(tf.placeholder_with_default(True, []), variable.read_value, lambda: tf.zeros([2]))


@pytest.mark.parametrize("source", SOURCES)
def test_a_fetched_array_is_writable_and_nobody_elses(source: str):
    tensor = SOURCES[source]()
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    first, again = session.run([tensor, tensor])
    assert first is again or not np.shares_memory(first, again)
    kept = first.copy()
    first += 100.0
    np.testing.assert_array_equal(session.run(tensor), kept)


@pytest.mark.parametrize("use_resource", [False, True])
def test_the_result_of_a_write_is_the_callers_own(use_resource: bool):
    w = tf.Variable([1.0, 2.0], use_resource=use_resource)
    p = tf.placeholder_with_default(True, [])
    writes = [
        tf.assign(w, [5.0, 6.0]),
        tf.assign_add(w, [1.0, 1.0]),
        tf.cond(p, lambda: tf.assign_add(w, [1.0, 1.0]), lambda: w.read_value()),
        tf.cond(
            p, lambda: tf.cond(p, lambda: w.assign_sub([2.0, 2.0]), lambda: w.read_value()), w.read_value
        ),
    ]
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    for write in writes:
        found = session.run(write)
        kept = found.copy()
        found += 100.0
        np.testing.assert_array_equal(session.run(w.read_value()), kept)


def test_a_fetched_array_does_not_change_later():
    w = tf.Variable(np.zeros(4))
    step = tf.assign_add(w, np.ones(4))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    found = [session.run(step) for _ in range(3)]
    found += [session.run(w) for _ in range(2)]
    session.run(step)
    assert [f[0] for f in found] == [1.0, 2.0, 3.0, 3.0, 3.0]


def test_what_py_func_keeps_and_what_it_is_given_are_copies():
    kept: list[np.ndarray] = []

    def function(value: np.ndarray) -> np.ndarray:
        kept.append(value)
        value += 1.0
        return value

    w = tf.Variable([1.0, 2.0])
    y = tf.py_func(function, [w], tf.float32)
    y.set_shape([2])
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(session.run(tf.exp(y) * 0.0 + 1.0), [1.0, 1.0])
    np.testing.assert_array_equal(kept[0], [2.0, 3.0])
    np.testing.assert_array_equal(session.run(w), [1.0, 2.0])
