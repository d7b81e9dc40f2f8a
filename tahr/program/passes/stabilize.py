"""Formulas that overflow or cancel, in the forms that do not.

Gradients were built in the graph from the formulas as the user wrote them, so each rule has its gradient's
form as well: log(softmax(x)) is useless without a gradient that never divides by a probability that
underflowed to 0. Results differ from TensorFlow's by rounding, and otherwise only where TensorFlow gives
Inf or NaN. Every rule is about real floating numbers. PyTensor's rewrites of the same formulas were the
model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tahr.core import shapes
from tahr.core.dtypes import FLOATS
from tahr.program.node import Node, Program, Value
from tahr.program.passes import canonicalize
from tahr.program.pattern import Rules, build, is_filled, known_integers, p, rule
from tahr.program.rewrite import rewrite


def run(program: Program) -> Program:
    """The pass."""
    return rewrite(program, canonicalize.known_value_is_constant, canonicalize.RULES, RULES)


# ---------------------------------------------------------------- softmax


@rule(p.Log(p.Softmax("x")))
def log_of_softmax(x: Value) -> Value:
    """log(softmax(x)) -> log_softmax(x).

    Equal but for rounding; -inf only where TensorFlow's probability underflows.
    """
    return build.LogSoftmax(x)


@rule(
    p.Log(p.Reshape(p.Softmax(...).named("y"), "shape")), p.Log(p.Reshape(p.Sigmoid(...).named("y"), "shape"))
)
def log_of_reshaped(y: Value, shape: Value) -> Value:
    """log(reshape(softmax(x))) -> reshape(log(softmax(x))).

    Exact: the logarithm is taken element by element.
    """
    return build.Reshape(build.Log(y), shape)


@rule(
    p.Log(p.Transpose(p.Softmax(...).named("y"), "perm")),
    p.Log(p.Transpose(p.Sigmoid(...).named("y"), "perm")),
)
def log_of_transposed(y: Value, perm: Value) -> Value:
    """log(transpose(softmax(x))) -> transpose(log(softmax(x))).

    Exact: the logarithm is taken element by element.
    """
    return build.Transpose(build.Log(y), perm)


_SOFTMAX = p.Softmax(...).named("y")


@rule(p.Mul(p.Sub("dy", p.Sum(p.Mul("dy", _SOFTMAX), reduction_indices="axis", keep_dims=True)), _SOFTMAX))
def gradient_of_log_of_softmax(dy: Value, y: Value, axis: int | tuple[int, ...]) -> Value | None:
    """(g/y - Σ g/y·y)·y -> g - y·Σ g. The same by algebra; g/y is infinite where the softmax y underflowed.

    Where dy also has other terms h, from other uses of y, they keep their own form: (h - Σ h·y)·y.
    """
    if not _is_last(axis, y):
        return None
    g, h = _split(dy, y)
    if g is None:
        return None
    dx: Value = build.Sub(g, build.Mul(y, build.Sum(g, reduction_indices=-1, keep_dims=True)))
    if h is None:
        return dx
    inner = build.Sum(build.Mul(h, y), reduction_indices=-1, keep_dims=True)
    return build.AddV2(dx, build.Mul(build.Sub(h, inner), y))


def _is_last(axis: int | tuple[int, ...], x: Value) -> bool:
    axes = (axis,) if isinstance(axis, int) else axis
    rank = len(x.shape or ())
    return axes == (-1,) or axes == (rank - 1,)


# ---------------------------------------------------------------- sigmoid

_SIGMOID = p.Sigmoid("x").named("y")


@rule(p.Log(p.Sigmoid("x")))
def log_of_sigmoid(x: Value) -> Value | None:
    """log(sigmoid(x)) -> -softplus(-x).

    Equal but for rounding; TensorFlow gives -inf where the sigmoid underflows.
    """
    return build.Neg(build.Softplus(build.Neg(x))) if x.dtype in FLOATS else None


@rule(p.Log(p.Sub(1, p.Sigmoid("x"))))
def log_of_one_minus_sigmoid(x: Value) -> Value | None:
    """log(1 - sigmoid(x)) -> -softplus(x).

    Equal but for rounding; TensorFlow gives -inf where the sigmoid rounds to 1.
    """
    return build.Neg(build.Softplus(x)) if x.dtype in FLOATS else None


@rule(p.Mul(p.Mul("dy", _SIGMOID), p.Sub(1, _SIGMOID)))
def gradient_of_log_of_sigmoid(dy: Value, y: Value) -> Value | None:
    """g/y·y·(1 - y) -> g·(1 - y); g/(1 - y)·y·(1 - y) -> g·y.

    The same by algebra; the quotients may be infinite.

    A cross-entropy has both terms; others in dy keep their form.
    """
    if y.dtype not in FLOATS:
        return None
    by_y, rest = _split(dy, y)
    by_other, rest = (None, None) if rest is None else _split(rest, y, complement=True)
    if by_y is None and by_other is None:
        return None
    terms: list[Value] = []
    if by_y is not None:
        terms.append(build.Mul(by_y, build.Sub(build.filled(1, y), y)))
    if by_other is not None:
        terms.append(build.Mul(by_other, y))
    if rest is not None:
        terms.append(build.Mul(build.Mul(rest, y), build.Sub(build.filled(1, y), y)))
    return _total(terms)


# ---------------------------------------------------------------- logarithms and exponentials


@rule(p.Log(p.AddV2(1, p.Exp("x"))), p.Log1p(p.Exp("x")))
def log_of_one_plus_exp(x: Value) -> Value | None:
    """log(1 + exp(x)) -> softplus(x). Equal but for rounding; TensorFlow gives inf where exp(x) overflows."""
    return build.Softplus(x) if x.dtype in FLOATS else None


_EXP = p.Exp("x").named("y")


@rule(p.Mul(p.Mul("g", p.Reciprocal(p.AddV2(1, _EXP))), _EXP))
def gradient_of_log_of_one_plus_exp(g: Value, x: Value) -> Value | None:
    """g/(1 + exp(x))·exp(x) -> g·sigmoid(x).

    The same by algebra; TensorFlow gives 0·inf, NaN, where exp(x) overflows.
    """
    return build.Mul(g, build.Sigmoid(x)) if x.dtype in FLOATS else None


@rule(p.Log(p.AddV2(1, "x")))
def log_of_one_plus(x: Value) -> Value | None:
    """log(1 + x) -> log1p(x).

    For all x, NaN and Inf too, but a small x is not rounded away. Its gradient, g/(1 + x), is stable.
    """
    return build.Log1p(x) if x.dtype in FLOATS else None


@rule(p.Sub(p.Exp("x"), 1), p.AddV2(p.Exp("x"), -1))
def exp_minus_one(x: Value) -> Value | None:
    """exp(x) - 1 -> expm1(x).

    For all x, NaN and Inf too, but without cancellation near 0. Its gradient, g·exp(x), is stable.
    """
    return build.Expm1(x) if x.dtype in FLOATS else None


_SUM_EXP = p.Sum(p.Exp("x"), reduction_indices="axes").named("total")


@rule(p.Log(p.Sum(p.Exp("x"), reduction_indices="axes", keep_dims="keep")))
def log_of_sum_of_exp(x: Value, axes: int | tuple[int, ...], keep: bool, node: Node) -> Value | None:
    """log(Σ exp(x)) -> m + log(Σ exp(x - m)), m = max(x).

    Equal but for rounding; TensorFlow gives inf where exp(x) overflows.

    An infinite m is replaced by 0, so that inf - inf does not make NaN: the result is then m, as in
    TensorFlow.
    """
    if x.dtype not in FLOATS or axes == () or _is_shifted(x, axes):
        return None
    largest = build.Max(x, reduction_indices=axes, keep_dims=True)
    zero = build.filled(0, x)
    m: Value = build.SelectV2(build.IsFinite(largest), largest, zero)
    total = build.Sum(build.Exp(build.Sub(x, m)), reduction_indices=axes, keep_dims=keep)
    if not keep:
        m = build.Squeeze(m, squeeze_dims=(axes,) if isinstance(axes, int) else axes)
    return build.AddV2(m, build.Log(total))


def _is_shifted(x: Value, axes: int | tuple[int, ...]) -> bool:
    """Whether x is something less its largest element already."""
    if x.node.opdef.name != "Sub":
        return False
    source, shift = x.node.inputs
    while shift.node.opdef.name in ("SelectV2", "StopGradient", "Identity"):
        shift = shift.node.inputs[1 if shift.node.opdef.name == "SelectV2" else 0]
    return (
        shift.node.opdef.name == "Max"
        and shift.node.inputs[0] is source
        and known_integers(shift.node.inputs[1]) == axes
    )


_QUOTIENT = p.Mul("g", p.Reciprocal(_SUM_EXP))


@rule(p.Mul(p.BroadcastTo(_QUOTIENT, "shape"), p.Exp("x")))
def gradient_of_log_of_sum_of_exp(g: Value, total: Value, shape: Value, x: Value) -> Value | None:
    """g/Σ exp(x)·exp(x) -> g·exp(x - log(Σ exp(x))).

    The same by algebra; TensorFlow gives 0·inf, NaN, for large x.
    """
    if x.dtype not in FLOATS:
        return None
    wide = build.BroadcastTo(build.Log(total), shape)
    return build.Mul(build.BroadcastTo(g, shape), build.Exp(build.Sub(x, wide)))


@rule(p.Mul(p.BroadcastTo(p.Reshape(_QUOTIENT, "kept"), "shape"), p.Exp("x")))
def gradient_of_log_of_sum_of_exp_over_axes(
    g: Value, total: Value, kept: Value, shape: Value, x: Value
) -> Value | None:
    """g/Σ exp(x)·exp(x) -> g·exp(x - log(Σ exp(x))).

    The same where the sum lost its axes, which a reshape restores.
    """
    if x.dtype not in FLOATS or not shapes.surely_equal(g.shape, total.shape):
        return None
    wide = build.BroadcastTo(build.Reshape(build.Log(total), kept), shape)
    return build.Mul(build.BroadcastTo(build.Reshape(g, kept), shape), build.Exp(build.Sub(x, wide)))


# ---------------------------------------------------------------- gradients as sums of quotients


def _split(dy: Value, y: Value, complement: bool = False) -> tuple[Value | None, Value | None]:
    """A gradient as g/y + h: g and h, None where there is no such term.

    Args:
        dy: the gradient: one term, or a sum.
        y: what the quotients are by; with `complement` they are by 1 - y instead.
    """
    quotients: list[Value] = []
    others: list[Value] = []
    for term in _terms(dy):
        numerator = _numerator(term, lambda d: _is_complement(d, y) if complement else d is y)
        (others if numerator is None else quotients).append(term if numerator is None else numerator)
    if not quotients:
        return None, dy
    return _total(quotients), _total(others) if others else None


def _terms(dy: Value) -> list[Value]:
    """The terms of a sum of tensors of one shape, in order."""
    found: list[Value] = []
    stack = [dy]
    while stack:
        term = stack.pop()
        name, inputs = term.node.opdef.name, term.node.inputs
        if name == "AddN" or (
            name == "AddV2" and all(shapes.surely_equal(x.shape, dy.shape) for x in inputs)
        ):
            stack += reversed(inputs)
        else:
            found.append(term)
    return found


def _total(terms: Sequence[Value]) -> Value:
    return terms[0] if len(terms) == 1 else build.AddN(*terms)


def _is_complement(value: Value, y: Value) -> bool:
    return value.node.opdef.name == "Sub" and value.node.inputs[1] is y and is_filled(value.node.inputs[0], 1)


def _numerator(term: Value, is_divisor: Callable[[Value], bool]) -> Value | None:
    """g, where the term is g/d for a wanted divisor d; also under a minus, a reshape or a transposition."""
    name, inputs = term.node.opdef.name, term.node.inputs
    if name == "Mul":
        for g, other in (inputs, inputs[::-1]):
            if other.node.opdef.name == "Reciprocal" and is_divisor(other.node.inputs[0]):
                return g if shapes.surely_equal(g.shape, term.shape) else None
    if name == "RealDiv" and is_divisor(inputs[1]):
        return inputs[0] if shapes.surely_equal(inputs[0].shape, term.shape) else None
    if name == "Neg":
        g = _numerator(inputs[0], is_divisor)
        return None if g is None else build.Neg(g)
    if name == "Reshape":
        # The divisor has been reshaped as the term's input is; reshaped back it is the wanted one.
        g = _numerator(inputs[0], lambda d: _was_moved(d, "Reshape", term, is_divisor))
        return None if g is None else build.Reshape(g, inputs[1])
    if name == "Transpose":
        back = known_integers(inputs[1])
        g = _numerator(inputs[0], lambda d: _was_moved(d, "Transpose", term, is_divisor) and _undoes(back, d))
        return None if g is None else build.Transpose(g, inputs[1])
    return None


def _was_moved(divisor: Value, by: str, term: Value, is_divisor: Callable[[Value], bool]) -> bool:
    """Whether a divisor is a wanted one, of the shape of `term`, moved by a reshape or transposition."""
    if divisor.node.opdef.name != by:
        return False
    source = divisor.node.inputs[0]
    return is_divisor(source) and shapes.surely_equal(source.shape, term.shape)


def _undoes(back: int | tuple[int, ...] | None, moved: Value) -> bool:
    """Whether a permutation is the inverse of the one that made a value."""
    perm = known_integers(moved.node.inputs[1])
    if not isinstance(perm, tuple) or not isinstance(back, tuple) or len(perm) != len(back):
        return False
    return all(perm[i] == place for place, i in enumerate(back))


RULES = Rules(
    log_of_softmax,
    log_of_reshaped,
    log_of_transposed,
    gradient_of_log_of_softmax,
    log_of_sigmoid,
    log_of_one_minus_sigmoid,
    gradient_of_log_of_sigmoid,
    log_of_one_plus_exp,
    gradient_of_log_of_one_plus_exp,
    log_of_one_plus,
    exp_minus_one,
    log_of_sum_of_exp,
    gradient_of_log_of_sum_of_exp,
    gradient_of_log_of_sum_of_exp_over_axes,
)
