"""The order of effects: what a run needs, which write each read sees, and what comes before what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tahr as tf
from tahr.core.graph import Operation
from tahr.ops import state
from tahr.program.effects import Outline, StateRead
from tahr.program.function import Function


def outline(fetches: Any, targets: Any = ()) -> Any:
    return Function(tf.get_default_graph(), [], list(fetches), list(targets)).outline


def describe(outline: Outline) -> list[dict[str, Any]]:
    """The order of effects as plain data."""
    return [{"op": op.name, "after": [t.name for t in outline.tokens.get(op, ())]} for op in outline.effects]


def ready(*variables: Any) -> tf.Session:
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


# ---------------------------------------------------------------- what is needed


def test_pure_operations_behind_control_edges_are_left_out():
    a = tf.constant(1.0, name="a")
    with tf.control_dependencies([tf.sin(a, name="unused")]):
        b = tf.identity(a, name="b")
    assert [op.name for op in outline([b]).order] == ["a", "b"]


def test_effects_behind_pure_operations_are_needed():
    w = tf.Variable(1.0, name="w")
    with tf.control_dependencies([tf.assign(w, 2.0, name="write")]):
        middle = tf.constant(1.0, name="middle")
    with tf.control_dependencies([middle]):
        b = tf.constant(3.0, name="b")
    found = outline([b])
    assert [op.name for op in found.effects] == ["write"]
    assert "middle" not in [op.name for op in found.order]


def test_effects_that_nothing_needs_are_left_out():
    w = tf.Variable(1.0, name="w")
    tf.assign(w, 2.0)
    assert not outline([w.value()]).effects


def test_a_fed_tensor_cuts_off_the_effects_behind_it():
    w = tf.Variable(1.0, name="w")
    written = tf.identity(tf.assign(w, 2.0))
    session = ready()
    assert session.run(written + 1.0, {written: 10.0}) == 11.0
    assert session.run(w) == 1.0


def test_ties_are_broken_by_creation():
    v = tf.Variable(0.0)
    names = [tf.assign_add(v, float(i), name=f"write{i}").op.name for i in range(5)]
    ops = [tf.get_default_graph().get_operation_by_name(n) for n in reversed(names)]
    assert [e["op"] for e in describe(outline([], ops))] == names


def test_tokens_name_the_nearest_effects_only():
    a, b, c = (tf.Variable(0.0, name=n) for n in "abc")
    first = tf.assign(a, 1.0, name="first")
    with tf.control_dependencies([first]):
        second = tf.assign(b, 1.0, name="second")
    with tf.control_dependencies([first, second]):
        third = tf.assign(c, 1.0, name="third")
    assert describe(outline([], [third.op])) == [
        {"op": "first", "after": []},
        {"op": "second", "after": ["first"]},
        {"op": "third", "after": ["second"]},
    ]


def test_writes_of_one_variable_form_a_chain_and_those_of_others_do_not():
    a, b = tf.Variable(0.0), tf.Variable(0.0)
    ops = [tf.assign_add(v, 1.0, name=n).op for v, n in ((a, "a1"), (b, "b1"), (a, "a2"), (b, "b2"))]
    assert describe(outline([], ops)) == [
        {"op": "a1", "after": []},
        {"op": "b1", "after": []},
        {"op": "a2", "after": ["a1"]},
        {"op": "b2", "after": ["b1"]},
    ]


def test_a_cycle_of_late_control_edges_is_an_error():
    a = tf.constant(1.0, name="a")
    b = tf.identity(a, name="b")
    a.op._add_control_input(b.op)
    with pytest.raises(ValueError, match="cycle of data and control edges"):
        tf.Session().run(b)


# ---------------------------------------------------------------- reads


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_read_sees_the_last_write_among_its_ancestors(use_resource: bool):
    w = tf.Variable(1.0, use_resource=use_resource)
    first = tf.assign(w, 2.0)
    with tf.control_dependencies([first]):
        between = w.read_value()
        second = tf.assign(w, 3.0)
    with tf.control_dependencies([second]):
        after = w.read_value()
    unordered = w.read_value()
    assert ready().run([unordered, between, after, unordered]) == [1.0, 2.0, 3.0, 1.0]


def test_a_read_that_sees_no_write_does_not_run_one():
    w = tf.Variable(1.0)
    tf.assign(w, 5.0)
    session = ready()
    assert session.run(w.read_value()) == 1.0
    assert session.run(w) == 1.0


def test_the_value_of_a_write_is_the_one_it_left_even_after_later_writes():
    w = tf.Variable(1.0)
    first = tf.assign_add(w, 1.0)
    with tf.control_dependencies([first]):
        second = tf.assign_add(w, 10.0)
    assert ready().run([first, second, first * 1.0]) == [2.0, 12.0, 2.0]


def test_a_write_through_the_result_of_a_write():
    w = tf.Variable(1.0)
    assert ready().run(tf.assign_add(tf.assign_add(w, 1.0), 10.0)) == 12.0


def test_a_read_of_the_state_before_survives_writes_in_place():
    w = tf.Variable(np.zeros(3))
    before = w.read_value()
    step = tf.assign_add(w, np.ones(3))
    with tf.control_dependencies([step]):
        difference = w.read_value() - before
    session = ready()
    for _ in range(3):
        np.testing.assert_array_equal(session.run(difference), np.ones(3))


def test_reads_as_keys():
    w = tf.Variable(1.0, name="w")
    write = tf.assign(w, 2.0)
    with tf.control_dependencies([write]):
        after = w.read_value()
    found = outline([after, w.value(), w.handle_or_ref])
    seen = {op.name if op else None: read for (op, _), read in found.reads.items()}
    assert seen[after.op.name] == StateRead(w.op, write.op)
    assert seen["w/read"] == StateRead(w.op, None)
    assert seen[None] == StateRead(w.op, write.op)


def test_writes_in_a_branch_and_in_a_loop_count_as_writes():
    w, p = tf.Variable(0.0), tf.placeholder(tf.bool, [])
    branch = tf.cond(p, lambda: tf.assign_add(w, 1.0), lambda: tf.constant(0.0))
    with tf.control_dependencies([branch]):
        middle = w.read_value()

        def body(i: Any) -> Any:
            with tf.control_dependencies([tf.assign_add(w, 10.0)]):
                return i + 1

        loop = tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])
    with tf.control_dependencies([loop]):
        after = w.read_value()
    before = w.value()
    session = ready()
    assert session.run([before, middle, after, w], {p: True}) == [0.0, 1.0, 31.0, 31.0]
    assert session.run([before, middle, after, w], {p: False}) == [31.0, 31.0, 61.0, 61.0]


@pytest.mark.parametrize("taken", [True, False])
def test_what_operations_in_a_branch_wait_for_outside_runs_before_it(taken: bool):
    w, p = tf.Variable(0.0, use_resource=True), tf.placeholder(tf.bool, [])
    write = tf.assign_add(w, 1.0)

    def wait() -> Any:
        with tf.control_dependencies([write]):
            return w.read_value()

    y = tf.cond(p, lambda: tf.cond(p, wait, lambda: 0.0), lambda: -1.0)
    session = ready()
    assert session.run(y, {p: taken}) == (1.0 if taken else -1.0)
    assert session.run(w) == 1.0  # as TensorFlow: whether or not the branch is taken


def test_what_a_loops_body_waits_for_outside_runs_once_before_it():
    w = tf.Variable(0.0, use_resource=True)
    write = tf.assign_add(w, 1.0)

    def body(i: Any, total: Any) -> Any:
        with tf.control_dependencies([write]):
            return i + 1, total + w.read_value()

    _, total = tf.while_loop(lambda i, _: i < 3, body, [0, 0.0])
    session = ready()
    assert session.run(total) == 3.0
    assert session.run(w) == 1.0


def test_effects_of_a_branch_whose_results_nobody_wants():
    w, v, p = tf.Variable(0.0), tf.Variable(0.0), tf.placeholder(tf.bool, [])
    ignored = tf.cond(p, lambda: (tf.constant(1), tf.assign_add(w, 1.0)), lambda: (tf.constant(2), 0.0))
    nested = tf.cond(p, lambda: tf.cond(w.value() > 100.0, tf.no_op, lambda: v.assign_add(2.0).op), tf.no_op)
    step = tf.group(ignored[0], nested)
    session = ready()
    session.run(step, {p: True})
    session.run(step, {p: False})
    assert session.run([w, v]) == [1.0, 2.0]


def test_reads_in_a_loop_that_writes_see_each_iterations_value():
    w = tf.Variable(1.0, use_resource=True)

    def body(i: Any, total: Any) -> Any:
        before = w.read_value()
        with tf.control_dependencies([before, w.assign_add(1.0)]):
            return i + 1, total + before + 100.0 * w.read_value()

    _, total = tf.while_loop(lambda i, _: i < 3, body, [0, 0.0])
    session = ready()
    assert session.run(total) == 6.0 + 900.0
    assert session.run(w) == 4.0


def test_a_condition_that_reads_what_the_body_writes():
    w = tf.Variable(0.0, use_resource=True)

    def body(i: Any) -> Any:
        with tf.control_dependencies([w.assign_add(2.0)]):
            return i + 1

    count = tf.while_loop(lambda i: w < 5.0, body, [tf.constant(0)])
    session = ready()
    assert session.run(count) == 3
    assert session.run(w) == 6.0
    assert session.run(count) == 0


def test_two_names_for_one_variable_share_its_order():
    first, second = (
        state.VariableV2(shape=(), dtype=tf.float32, shared_name="shared", name=n) for n in ("one", "two")
    )
    write = tf.assign(first, 7.0)
    with tf.control_dependencies([write]):
        read = tf.identity(second)
    session = tf.Session()
    assert session.run(read) == 7.0
    assert session.run(second) == 7.0


def test_effects_of_random_operations_and_prints_are_not_ordered_with_writes():
    w = tf.Variable(0.0)
    draw = tf.random_uniform([])
    write = tf.assign(w, draw)
    value, written = ready().run([draw, write])
    assert value == written


def test_clipping_beside_a_step_keeps_the_step():
    """As a Wasserstein GAN does it, `run([train, clip])`: nothing orders the two, and TensorFlow clips first."""
    w = tf.Variable([[4.0], [1.0]])
    loss = tf.reduce_mean(tf.square(tf.matmul(np.eye(2, dtype=np.float32), w)))
    train = tf.train.GradientDescentOptimizer(0.25).minimize(loss)
    clip = w.assign(tf.clip_by_value(w, -2.0, 2.0))
    session = ready()
    session.run([train, clip])
    assert session.run(w).tolist() == [[1.0], [0.75]]  # by the gradient of what was there before


def test_what_is_put_into_a_queue_first_can_be_taken_in_the_same_run():
    queue = tf.FIFOQueue(3, tf.float32, shapes=[()])
    x = tf.Variable(3.0)
    put = queue.enqueue(tf.square(x) * 2.0 + 1.0)  # deeper than taking
    taken = queue.dequeue()
    session = ready()
    assert session.run([taken, put])[0] == 19.0


# ---------------------------------------------------------------- against a simulator


@dataclass
class Step:
    """One operation of a random graph.

    Attributes:
        kind: "read", "add" (a read's value plus another's), "assign" or "assign_add".
        variable: which variable it reads or writes.
        source: the step whose value it takes; None for a constant.
        controls: the steps that must come before it.
        constant: what is written or added where there is no source.
    """

    kind: str
    variable: int
    source: int | None
    controls: list[int]
    constant: float
    ancestors: set[int] = field(default_factory=set)


@st.composite
def programs(draw: st.DrawFn) -> tuple[int, list[Step], list[int]]:
    """(number of variables, steps, the steps that are fetched)."""
    count = draw(st.integers(1, 3))
    steps: list[Step] = []
    for i in range(draw(st.integers(1, 10))):
        earlier = st.integers(0, i - 1) if i else st.nothing()
        steps.append(
            Step(
                draw(st.sampled_from(["read", "add", "assign", "assign_add"])),
                draw(st.integers(0, count - 1)),
                draw(st.one_of(st.none(), earlier)) if i else None,
                draw(st.lists(earlier, max_size=2, unique=True)) if i else [],
                float(2**i),
            )
        )
    fetched = draw(st.lists(st.integers(0, len(steps) - 1), min_size=1, max_size=4, unique=True))
    return count, steps, fetched


def depths(tensors: list[tf.Tensor]) -> list[int]:
    """How many operations lie before each tensor's, at most."""
    found: dict[Any, int] = {}
    for op in tensors[0].graph.get_operations():  # in order of creation: sources first
        before = [*(t.op for t in op.inputs), *op.control_inputs]
        found[op] = max((found[source] + 1 for source in before), default=0)
    return [found[tensor.op] for tensor in tensors]


def simulate(
    count: int, steps: list[Step], depth: list[int], fetched: list[int], initial: list[float]
) -> tuple[Any, Any]:
    """What the documented rule gives: (fetched values, final values of the variables)."""
    for step in steps:
        before = {*step.controls, *([] if step.source is None else [step.source])}
        step.ancestors = before.union(*(steps[j].ancestors for j in before))
    # All effects that a fetch depends on by data or control edges run. Edges lead to what is deeper, so that this order
    # is a topological one.
    needed = {*fetched}.union(*(steps[j].ancestors for j in fetched))
    order = sorted(needed, key=lambda i: (depth[i], i))
    writes = [i for i in order if steps[i].kind.startswith("assign")]
    state = list(initial)
    left: dict[int, float] = {}  # what each write left
    values: dict[int, float] = {}

    def seen(i: int) -> float:
        own = [j for j in writes if j in steps[i].ancestors and steps[j].variable == steps[i].variable]
        return left[own[-1]] if own else initial[steps[i].variable]

    for i in order:
        step = steps[i]
        given = step.constant if step.source is None else values[step.source]
        if step.kind == "read":
            values[i] = seen(i)
        elif step.kind == "add":
            values[i] = seen(i) + given
        else:
            state[step.variable] = given + (state[step.variable] if step.kind == "assign_add" else 0.0)
            values[i] = left[i] = state[step.variable]
    return [values[i] for i in fetched], state


def build(steps: list[Step], variables: list[Any], size: tuple[int, ...]) -> list[tf.Tensor]:
    tensors: list[tf.Tensor] = []
    for step in steps:
        variable = variables[step.variable]
        with tf.control_dependencies([tensors[j] for j in step.controls]):
            given: Any = tf.fill(size, tf.constant(step.constant, tf.float64))
            given = given if step.source is None else tensors[step.source]
            if step.source is not None and step.kind in ("read", "add"):
                # An operation depends on its source as a whole: the read comes after it.
                with tf.control_dependencies([given]):
                    read = variable.read_value()
            else:
                read = variable.read_value() if step.kind in ("read", "add") else None
            if step.kind == "read":
                assert read is not None
                tensors.append(read)
            elif step.kind == "add":
                tensors.append(read + given)
            else:
                write = variable.assign if step.kind == "assign" else variable.assign_add
                tensors.append(tf.identity(write(given)))
    return tensors


@pytest.mark.parametrize("use_resource", [False, True])
@settings(max_examples=3 * settings().max_examples)
@given(program=programs(), size=st.sampled_from([(), (3,)]))
def test_random_reads_and_writes_as_the_rule_says(
    use_resource: bool, program: tuple[int, list[Step], list[int]], size: tuple[int, ...]
):
    count, steps, fetched = program
    with tf.Graph().as_default():
        initial = [float(1000 * (i + 1)) for i in range(count)]
        variables = [
            tf.Variable(np.full(size, v), dtype=tf.float64, use_resource=use_resource) for v in initial
        ]
        tensors = build(steps, variables, size)
        session = ready()
        for _ in range(2):  # the second run starts from what the first one left
            expected, final = simulate(count, steps, depths(tensors), fetched, initial)
            found = session.run([tensors[i] for i in fetched])
            for value, wanted in zip(found, expected, strict=True):
                np.testing.assert_array_equal(value, np.full(size, wanted))
            for variable, wanted in zip(variables, final, strict=True):
                np.testing.assert_array_equal(session.run(variable), np.full(size, wanted))
            initial = final


def test_operations_know_what_they_write():
    w = tf.Variable(0.0, name="w")
    write = tf.assign(w, 1.0)
    found = outline([], [write.op])
    assert isinstance(write.op, Operation)
    assert [slot.name for slot in found.writes] == ["w"]
