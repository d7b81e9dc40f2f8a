"""The tests of rewriting are tested: planted faults, each of which must be caught, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.program import check
from tahr.program.check import BrokenProgram
from tahr.program.node import Program, Value
from tahr.program.passes import canonicalize, pipeline
from tahr.program.passes.pipeline import Pass
from tahr.program.pattern import Rules, build, p, rule
from tahr.program.rewrite import rewrite
from tests.program import test_rules
from tests.program.lowering import lower, op
from tests.program.test_rules import CASES, check_rule

# ---------------------------------------------------------------- wrong rules


def is_caught(fault: Any, name: str) -> bool:
    """Whether the cases of a rule fail with a wrong rule in its place, though they pass with the right one."""
    caught = False
    cases = [case for case in CASES if case.rule == name]
    assert cases
    for case in cases:
        for dtype in case.dtypes:
            assert check_rule(test_rules.rule_named(name), case, dtype) == case.right
            try:
                check_rule(fault, replace(case), dtype)
            except AssertionError:
                caught = True
    return caught


@rule(p.AddV2("x", 0))
def plus_zero(x: Value) -> Value:
    """x + 0 -> x. Wrong for -0.0."""
    return x


@rule(p.Log(p.Softmax("x")))
def wrong_by_a_thousandth(x: Value) -> Value:
    """log(softmax(x)) -> 1.001 log_softmax(x). Wrong by 0.1 %."""
    return build.Mul(build.LogSoftmax(x), build.filled(1.001, x))


@rule(p.Transpose(p.Transpose("x", perm="a"), perm="b"))
def composed_the_wrong_way(x: Value, a: tuple[int, ...], b: tuple[int, ...]) -> Value:
    """x.T(a).T(b) -> x.T(b∘a). Wrong unless the two commute."""
    return build.Transpose(x, perm=[b[i] for i in a])


@rule(p.Sub("x", p.Neg("y")))
def sign_lost(x: Value, y: Value) -> Value:
    """x - -y -> x - y. Wrong."""
    return build.Sub(x, y)


@rule(p.Cast(p.Cast("x", DstT="middle"), DstT="to"))
def any_cast_of_cast(x: Value, to: Any) -> Value:
    """cast(cast(x, t), u) -> cast(x, u). Wrong where the first cast loses something."""
    return build.Cast(x, DstT=to)


@rule(p.SelectV2("c", "x", "x"))
def the_condition_instead(c: Value, x: Value) -> Value:
    """select(c, x, x) -> x * 1. Wrong for infinities that a product with 0 makes NaN."""
    return build.AddV2(x, build.Mul(x, build.filled(0, x)))


@rule(p.Log(p.Sum(p.Exp("x"), reduction_indices="axes", keep_dims="keep")))
def shifted_by_infinity(x: Value, axes: Any, keep: bool) -> Value | None:
    """log(Σ exp(x)) -> m + log(Σ exp(x - m)). Wrong where m is infinite."""
    if x.node.opdef is op.Sub:
        return None
    m = build.Max(x, reduction_indices=axes, keep_dims=True)
    total = build.Sum(build.Exp(build.Sub(x, m)), reduction_indices=axes, keep_dims=True)
    found: Value = build.AddV2(m, build.Log(total))
    return found if keep else build.Squeeze(found, squeeze_dims=(axes,))


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (plus_zero, "plus_negative_zero"),
        (wrong_by_a_thousandth, "log_of_softmax"),
        (composed_the_wrong_way, "transpose_of_transpose"),
        (sign_lost, "minus_negative"),
        (any_cast_of_cast, "cast_of_cast"),
        (the_condition_instead, "equal_choices"),
        (shifted_by_infinity, "log_of_sum_of_exp"),
    ],
    ids=lambda x: x if isinstance(x, str) else x.name,
)
def test_a_wrong_rule_changes_numbers(fault: Any, name: str) -> None:
    assert is_caught(fault, name)


def test_a_rule_that_changes_the_dtype_is_refused_by_name() -> None:
    @rule(p.Neg("x"))
    def widened(x: Value) -> Value:
        """-x -> float64(x). Wrong."""
        return build.Cast(x, DstT=tf.float64)

    x = tf.placeholder(tf.float32, [2])
    program = lower([-x], {x: np.ones(2, "f")})
    with pytest.raises(TypeError, match="rule widened turns float32 into float64"):
        rewrite(program, Rules(widened))


def test_a_rule_that_changes_the_shape_does_not_apply() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    program = lower([op.Tile(x, [2, 1])], {x: np.ones((2, 3), "f")})
    assert rewrite(program, Rules(canonicalize.same_shape)) is program


def test_rules_that_undo_each_other_are_named() -> None:
    @rule(p.AddV2("x", "y"))
    def subtract(x: Value, y: Value) -> Value:
        """x + y -> x - -y. Half of a circle."""
        return build.Sub(x, build.Neg(build.Neg(build.Neg(y))))

    @rule(p.Sub("x", "y"))
    def add(x: Value, y: Value) -> Value:
        """x - y -> x + -y. The other half."""
        return build.AddV2(x, build.Neg(y))

    x = tf.placeholder(tf.float32, [2])
    program = lower([op.AddV2(x, x)], {x: np.ones(2, "f")})
    with pytest.raises(RecursionError, match="undo each other"):
        rewrite(program, Rules(subtract, add))


@pytest.mark.parametrize(
    "make",
    [
        lambda: p.AddV2("x"),
        lambda: p.AddN("x", "y"),
        lambda: p.Sum("x", axes="a"),
        lambda: rule(p.Neg("x"))(lambda x: x),
        lambda: rule(p.Neg("x"))(_unbound),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_when_it_is_written(make: Callable[[], Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        make()


def _unbound(y: Value) -> Value:
    """-x -> y. It takes what no pattern binds."""
    return y


# ---------------------------------------------------------------- wrong passes


def updates() -> Program:
    """Two writes of one variable, in order, and a read between them."""
    x = tf.placeholder(tf.float32, [2])
    w = tf.Variable(tf.zeros([2]))
    first = tf.assign_add(w, tf.identity(x))
    with tf.control_dependencies([first]):
        second = tf.assign(w, x * 2.0)
    return lower([first + 1.0, second], {x: np.ones(2, "f")})


def after(change: Callable[[Program], Program], **options: Any) -> None:
    """Runs the ordinary passes, and then a wrong one named "faulty"."""
    program = updates()
    with check.on():
        pipeline.run(program, pipeline.NUMPY)
        pipeline.run(program, (*pipeline.NUMPY, Pass("faulty", change, **options)))


def with_roots(program: Program, roots: Any) -> Program:
    return Program(program.builder, program.inputs, program.outputs, roots)


def with_outputs(program: Program, outputs: Any) -> Program:
    return Program(program.builder, program.inputs, outputs, program.roots)


def with_last_root(program: Program, tokens: Any) -> Program:
    """The program with other tokens at its last effect."""
    last = program.roots[-1]
    new = program.builder.node(last.opdef, last.inputs, last.attrs, last.op, tokens)
    outputs = [new.outputs[v.index] if v.node is last else v for v in program.outputs]
    return Program(program.builder, program.inputs, outputs, [*program.roots[:-1], new])


def duplicated(program: Program) -> Program:
    (add,) = [n for n in program.nodes() if n.opdef.name == "AddV2"]
    specs = [v.spec for v in add.outputs]
    again = program.builder.add(add.opdef, add.inputs, add.attrs, specs, add.op)
    return with_outputs(
        program, [program.builder.value(add.opdef, add.outputs[0], again.outputs[0]), program.outputs[1]]
    )


def misjudged(program: Program) -> Program:
    """A node that is said to have another shape than its op gives it."""
    (add,) = [n for n in program.nodes() if n.opdef.name == "AddV2"]
    spec = add.outputs[0].spec._replace(shape=(3,))
    wrong = program.builder.add(add.opdef, add.inputs[::-1], add.attrs, [spec], add.op)
    neg = program.builder.add(op.Neg, wrong.outputs, {}, [spec], add.op)
    return with_outputs(
        program, [program.builder.value(op.Sum, neg.outputs[0], _axes(program)), program.outputs[1]]
    )


def _axes(program: Program) -> Value:
    return program.builder.constant(np.zeros(0, np.int32))


def pure_with_token(program: Program) -> Program:
    (add,) = [n for n in program.nodes() if n.opdef.name == "AddV2"]
    new = program.builder.node(add.opdef, add.inputs, add.attrs, add.op, program.roots[:1])
    return with_outputs(program, [new.outputs[0], program.outputs[1]])


def with_identity(program: Program) -> Program:
    return with_outputs(program, [program.builder.value(op.Identity, program.outputs[0]), program.outputs[1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: with_roots(q, q.roots[:-1]), "effects were lost or added"),
        (lambda q: with_roots(q, q.roots[::-1]), "in its place in the order no more"),
        (lambda q: with_roots(q, [*q.roots, q.roots[0]]), "a root is there twice"),
        (lambda q: with_last_root(q, ()), "does not run after the same effects as before"),
        (lambda q: with_outputs(q, q.outputs[:1]), "outputs, before 2"),
        (lambda q: with_outputs(q, [_axes(q), q.outputs[1]]), "was float32"),
        (lambda q: Program(q.builder, (), q.outputs, q.roots), "an input that is none of the program's"),
        (pure_with_token, "a pure node with tokens"),
        (duplicated, "computes the same"),
        (misjudged, "is said to have shape"),
        (with_identity, "Identity must not be there any more"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_wrong_pass_is_named(change: Callable[[Program], Program], message: str) -> None:
    with pytest.raises(BrokenProgram, match="after faulty: ") as error:
        after(change)
    assert message in str(error.value)


def test_a_composite_that_was_not_expanded_is_named() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    program = lower([op.EuclideanNorm(x, [1])], {x: np.ones((2, 3), "f")})
    lazy = tuple(
        replace(each, run=lambda program: program) if each.name == "expand" else each
        for each in pipeline.NUMPY
    )
    with (
        check.on(),
        pytest.raises(BrokenProgram, match="after expand: EuclideanNorm must not be there any more"),
    ):
        pipeline.run(program, lazy)


def test_the_checker_is_off_unless_it_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check._switch, "depth", 0)
    assert not check.is_on()
    with check.on():
        assert check.is_on()
    assert not check.is_on()
    pipeline.run(updates(), (Pass("faulty", lambda q: with_roots(q, q.roots[:-1])),))
