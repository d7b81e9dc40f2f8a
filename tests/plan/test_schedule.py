"""The order of a plan's steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, strategies as st

import tahr as tf
from tahr.ops import state
from tahr.plan import schedule
from tahr.program.node import Node, Program
from tahr.program.passes import pipeline
from tests.program.lowering import lower


def before(node: Node) -> set[Node]:
    return {*(v.node for v in node.inputs), *node.tokens}


def assert_valid(program: Program, order: Sequence[Node]) -> None:
    """Every node once, after all that it takes or waits for."""
    place = {node: i for i, node in enumerate(order)}
    assert len(place) == len(order)
    assert set(order) == set(program.nodes())
    for node in order:
        assert all(place[other] < place[node] for other in before(node))


def names(order: Sequence[Node]) -> list[str]:
    return [node.opdef.name for node in order]


def test_a_chain_runs_from_its_start():
    x = tf.placeholder(tf.float32, [2])
    program = lower([tf.exp(tf.sin(tf.cos(x)))], {x: np.zeros(2, np.float32)})
    assert names(schedule.order(program)) == ["_Input", "Cos", "Sin", "Exp"]


def test_what_was_computed_last_is_used_next():
    x = tf.placeholder(tf.float32, [2])
    chains = [tf.exp(tf.sin(x + float(i))) for i in range(3)]
    program = lower([chains[0] + chains[1] + chains[2]], {x: np.zeros(2, np.float32)})
    found = [n for n in names(schedule.order(program)) if n in ("Sin", "Exp")]
    assert found == ["Sin", "Exp"] * 3


def test_effects_run_though_no_output_needs_them():
    w = tf.Variable(1.0)
    program = lower([], {}, [tf.assign(w, 2.0).op])
    assert "Assign" in names(schedule.order(program))


def test_a_write_waits_for_those_who_use_the_old_value():
    w = tf.Variable(np.ones(3, np.float32))
    old = w.read_value()
    write = tf.assign_add(w, [1.0, 1.0, 1.0])
    uses = [tf.exp(old), tf.sin(old)]
    order = schedule.order(pipeline.for_numpy(lower(uses, {}, [write.op])))
    place = {node.opdef.name: i for i, node in enumerate(order)}
    assert place["AssignAdd"] > max(place["Exp"], place["Sin"])


def test_a_write_goes_first_where_a_user_of_the_old_value_needs_it():
    w = tf.Variable(np.ones(3, np.float32))
    old = w.read_value()
    with tf.control_dependencies([tf.assign_add(w, [1.0, 1.0, 1.0])]):
        change = w.read_value() - old
    program = lower([change], {})
    order = schedule.order(program)
    assert_valid(program, order)
    reads = [i for i, n in enumerate(order) if n.opdef is state.ReadCell]
    write = names(order).index("AssignAdd")
    assert reads[0] < write < reads[1]


def test_writes_that_wait_for_each_others_readers():
    a, b = tf.Variable(1.0), tf.Variable(2.0)
    swap = [tf.assign(a, b.read_value()).op, tf.assign(b, a.read_value()).op]
    program = lower([], {}, swap)
    assert_valid(program, schedule.order(program))


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from("rwac")), min_size=1, max_size=25
    )
)
def test_random_programs_are_ordered_validly(steps: list[tuple[int, int, str]]):
    with tf.Graph().as_default():
        variables = [tf.Variable(float(i)) for i in range(2)]
        values = [v.value() for v in variables]
        writes: list[tf.Operation] = []
        for left, right, kind in steps:
            x, y = values[left % len(values)], values[right % len(values)]
            variable = variables[left % 2]
            with tf.control_dependencies([writes[right % len(writes)]] if kind == "c" and writes else []):
                if kind in "rc":
                    values.append(variable.read_value())
                elif kind == "a":
                    values.append(x * y + 1.0)
                else:
                    writes.append(tf.assign_add(variable, y).op)
        program = lower(values[-2:], {}, writes)
        assert_valid(program, schedule.order(program))
