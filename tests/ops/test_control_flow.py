"""Operations with regions (If, While, and the _Arg inside), and those that only order others (NoOp)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.ops import control_flow
from tests.installed import BACKENDS
from tests.running import run_initialized as run

# Where a function belongs; of any type, because these tests pass it on purpose.
NO_FUNCTION: Any = 1


# ---------------------------------------------------------------- order


def test_NoOp_group_and_tuple():
    v = tf.Variable(1.0)
    w = tf.Variable(1.0)
    both = tf.group(v.assign_add(1.0), [w.assign_add(2.0)])
    assert both.type == "NoOp" and both.name == "group_deps"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(both) is None
        assert session.run([v, w]) == [2.0, 3.0]
        first, nothing = tf.tuple([v + 1.0, None], control_inputs=[w.assign(0.0)])
        assert nothing is None and session.run(first) == 3.0 and session.run(w) == 0.0
    with pytest.raises(TypeError, match=r"Tensors or operations|tf.group"):
        tf.group(3)
    with pytest.raises(ValueError, match="at least one Tensor"):
        tf.tuple([None])


def test_with_dependencies():
    v = tf.Variable(1.0)
    x = control_flow.with_dependencies([v.assign(5.0)], tf.constant(2.0))
    with tf.Session() as session:
        session.run(v.initializer)
        assert session.run(x) == 2.0 and session.run(v) == 5.0


# ---------------------------------------------------------------- If


def test_one_branch_runs():
    p, x = tf.placeholder(tf.bool, []), tf.placeholder(tf.float32, [])
    v = tf.Variable(0.0)
    y = tf.cond(p, lambda: v.assign_add(x), lambda: x * 2.0)
    assert y.op.inputs[0].op.type == "If"
    with tf.Session() as session:
        session.run(v.initializer)
        assert [session.run(y, {p: False, x: 3.0}), session.run(v)] == [6.0, 0.0]
        assert [session.run(y, {p: True, x: 3.0}), session.run(v)] == [3.0, 3.0]


def test_structures_and_shapes_of_branches():
    p = tf.placeholder(tf.bool, [])
    result = tf.cond(
        p, lambda: {"a": tf.zeros([2]), "b": [tf.ones([3])]}, lambda: {"a": tf.ones([2]), "b": [tf.ones([4])]}
    )
    assert result["a"].shape.as_list() == [2] and result["b"][0].shape.as_list() == [None]
    found = run(result, {p: False})
    assert found["a"].tolist() == [1.0, 1.0] and found["b"][0].shape == (4,)
    operation = tf.cond(p, lambda: tf.no_op(), lambda: tf.no_op())
    assert run(operation, {p: True}) in (True, None)


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda p: tf.cond(True, lambda: 1, lambda: 2), TypeError, "pred must not be a Python bool"),
        (lambda p: tf.cond(p, NO_FUNCTION, lambda: 2), TypeError, "true_fn must be callable"),
        (lambda p: tf.cond(p, lambda: 1, NO_FUNCTION), TypeError, "false_fn must be callable"),
        (lambda p: tf.cond(p, lambda: [1, 2], lambda: [1]), ValueError, "Incompatible return types"),
        (lambda p: tf.cond(p, lambda: 1, lambda: 1.0), ValueError, "must have the same type: int32, float32"),
    ],
)
def test_errors_of_cond(call, error, phrase):
    with pytest.raises(error, match=phrase):
        call(tf.placeholder(tf.bool, []))


# ---------------------------------------------------------------- While


def test_loop_variables_are_arguments_of_the_region():
    x = tf.constant(5)
    i, total = tf.while_loop(lambda i, t: i < x, lambda i, t: (i + 1, t + i), [0, 0])
    loop = i.op.inputs[0].op
    assert loop.type == "While" and {t.op.type for t in loop.attrs["body"].inputs} == {"_Arg"}
    assert run([i, total]) == [5, 10]


def test_a_region_argument_has_no_value_outside():
    kernel = control_flow.Arg.compute
    assert kernel is not None
    with pytest.raises(ValueError, match="a value only while the region runs"):
        kernel(dtype=tf.float32, shape=None)


def test_growing_shapes_need_invariants():
    start = [tf.constant(0), tf.zeros([1])]

    def body(i, x):
        return i + 1, tf.concat([x, tf.ones([1])], 0)

    with pytest.raises(ValueError, match="is not an invariant for the loop"):
        tf.while_loop(lambda i, x: i < 3, body, start)
    _, x = tf.while_loop(
        lambda i, x: i < 3, body, start, shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])]
    )
    assert x.shape.as_list() == [None] and run(x).tolist() == [0.0, 1.0, 1.0, 1.0]


def test_maximum_iterations_and_structures():
    i = tf.while_loop(lambda i: i < 100, lambda i: i + 1, [0], maximum_iterations=7)
    assert run(i) == 7
    start = [{"i": tf.constant(0), "x": tf.constant(1.0)}]
    state = tf.while_loop(lambda s: s["i"] < 3, lambda s: {"i": s["i"] + 1, "x": s["x"] * 2.0}, start)
    assert run(state)["x"] == 8.0


def test_state_changes_in_every_iteration():
    v = tf.Variable(1.0)

    def body(i, x):
        with tf.control_dependencies([v.assign(v.read_value() * 2.0)]):
            return i + 1, v.read_value()

    _, x = tf.while_loop(lambda i, x: i < 4, body, [0, 0.0])
    with tf.Session() as session:
        session.run(v.initializer)
        assert session.run(x) == 16.0 and session.run(v) == 16.0


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: tf.while_loop(lambda: True, lambda: 1, []), ValueError, "No loop variables"),
        (lambda: tf.while_loop(NO_FUNCTION, lambda i: i, [0]), TypeError, "cond must be callable"),
        (lambda: tf.while_loop(lambda i: i < 1, NO_FUNCTION, [0]), TypeError, "body must be callable"),
        (
            lambda: tf.while_loop(lambda i: i < 1, lambda i: i, [0], parallel_iterations=0),
            TypeError,
            "positive integer",
        ),
        (lambda: tf.while_loop(lambda i: i, lambda i: i, [0]), TypeError, "bool tensor"),
        (
            lambda: tf.while_loop(lambda i: [i < 1], lambda i: i, [0]),
            ValueError,
            "must be rank 0 but is rank 1",
        ),
        (
            lambda: tf.while_loop(lambda i: i < 1, lambda i: tf.cast(i, tf.float32), [0]),
            ValueError,
            "has type|with type",
        ),
        (lambda: tf.while_loop(lambda i, j: i < 1, lambda i, j: [i], [0, 1]), ValueError, "nested structure"),
    ],
)
def test_errors_of_while_loop(call, error, phrase):
    with pytest.raises(error, match=phrase):
        call()


def test_a_condition_of_unknown_shape_must_be_a_scalar():
    condition = tf.placeholder(tf.bool)
    loop = tf.while_loop(lambda i: condition, lambda i: i + 1, [0])
    branching = tf.cond(condition, lambda: 1, lambda: 2)
    for fetch in (loop, branching):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be a scalar, but it has shape \[1\]"):
            run(fetch, {condition: [True]})


def test_inner_tensors_stay_inside():
    inner = []
    tf.while_loop(lambda i: i < 3, lambda i: inner.append(i + 1) or inner[0], [0])
    with pytest.raises(ValueError, match="is in a while loop"):
        tf.identity(inner[0])
    with pytest.raises(ValueError, match="not fetchable"):
        run(inner[0])


def test_gradients_of_a_branch_in_a_loop_to_second_order():
    x = tf.placeholder(tf.float64, [])

    def body(i, y):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: y * x, lambda: y + x)

    _, y = tf.while_loop(lambda i, _: i < 4, body, [0, tf.constant(1.0, tf.float64)])
    first = tf.gradients(y, x)[0]
    second = tf.gradients(first, x)[0]
    # ((1*x + x) * x) + x = 2x² + x
    assert run([y, first, second], {x: 3.0}) == [21.0, 13.0, 4.0]
    assert np.isfinite(run(first, {x: 0.0}))


def test_a_branch_of_an_operation_gives_the_value_of_the_predicate():
    p, v = tf.placeholder(tf.bool, []), tf.Variable(0.0)
    nothing = tf.cond(p, tf.no_op, tf.no_op)
    assert nothing.dtype is tf.bool and nothing.shape.as_list() == []
    either = tf.cond(p, lambda: [v.assign(1.0).op, 2.0], lambda: [v.assign(3.0).op, 4.0])
    with tf.Session() as session:
        session.run(v.initializer)
        for value in (True, False):
            assert session.run(nothing, {p: value}) == value
            assert session.run(either, {p: value}) == [value, 2.0 if value else 4.0]
            assert session.run(v) == (1.0 if value else 3.0)


@pytest.mark.parametrize(
    ("true_fn", "false_fn", "phrase"),
    [
        (lambda: None, lambda: None, "true_fn must have a return value"),
        (lambda: 1, lambda: None, "false_fn must have a return value"),
        (list, list, "must return at least one result"),
        (lambda: [None], lambda: [None], "None values not supported"),
        (tf.no_op, lambda: 1, "must have the same type"),
    ],
)
def test_branches_must_return_something(true_fn, false_fn, phrase):
    with pytest.raises(ValueError, match=phrase):
        tf.cond(tf.placeholder(tf.bool, []), true_fn, false_fn)


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_begins_with_a_variable_and_a_branch_depends_on_one(backend: str, use_resource: bool):
    v = tf.Variable(2.0, use_resource=use_resource)
    flag = tf.Variable(True, use_resource=use_resource)
    _, power = tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * v), [0, v])
    chosen = tf.cond(flag, lambda: v + 1.0, lambda: v)
    with tf.control_dependencies([tf.assign(v, 3.0), tf.assign(flag, False)]):
        _, later = tf.while_loop(lambda i, x: i < 1, lambda i, x: (i + 1, x * v), [0, v.read_value()])
        otherwise = tf.cond(flag.read_value(), lambda: v + 1.0, lambda: v - 1.0)
    with tf.Session(backend=backend, tier="compiled" if backend == "native" else None) as session:
        for _ in range(2):
            session.run([v.initializer, flag.initializer])
            assert session.run([power, chosen]) == [16.0, 3.0]
            assert session.run([later, otherwise]) == [9.0, 2.0]
