"""Softmax along a dimension that is not the last, as TensorFlow has it: of a transposed tensor, transposed back.

What is compiled adds up along any dimension, so nothing has to move. Then both transpositions cancel out.
"""

from __future__ import annotations

from typing import Any

from tahr.program.node import Program, Value
from tahr.program.pattern import Rules, build, p, rule
from tahr.program.rewrite import rewrite


def run(program: Program) -> Program:
    """The pass."""
    return rewrite(program, RULES)


@rule(p.Softmax(p.Transpose("x", perm="perm")))
def softmax_of_transpose(x: Value, perm: tuple[int, ...]) -> Value | None:
    """softmax(x.T(p)) -> (exp(x - max x) / Σ exp(x - max x)).T(p), along another dimension. Saves two copies."""
    axis = perm[-1]
    if axis == len(perm) - 1:
        return None
    e = build.Exp(_shifted(x, axis))
    return build.Transpose(build.RealDiv(e, build.Sum(e, [axis], keep_dims=True)), perm)


@rule(p.LogSoftmax(p.Transpose("x", perm="perm")))
def log_softmax_of_transpose(x: Value, perm: tuple[int, ...]) -> Value | None:
    """log_softmax(x.T(p)) -> (x - max x - log Σ exp(x - max x)).T(p), along another dimension. Saves two copies."""
    axis = perm[-1]
    if axis == len(perm) - 1:
        return None
    z = _shifted(x, axis)
    return build.Transpose(build.Sub(z, build.Log(build.Sum(build.Exp(z), [axis], keep_dims=True))), perm)


# ---------------------------------------------------------------- gradients


def _moved(name: str) -> Any:
    return p.Transpose(name, perm="perm")


_weighted_sum = p.Sum(p.Mul(_moved("dy"), _moved("y")), reduction_indices=-1, keep_dims=True)


@rule(p.Mul(p.Sub(_moved("dy"), _weighted_sum), _moved("y")))
def gradient_of_softmax(dy: Value, y: Value, perm: tuple[int, ...]) -> Value | None:
    """(dy.T(p) - Σ dy.T(p) y.T(p)) y.T(p) -> ((dy - Σ dy y) y).T(p), the sum along another dimension. No copies."""
    total = build.Sum(build.Mul(dy, y), [perm[-1]], keep_dims=True)
    return build.Transpose(build.Mul(build.Sub(dy, total), y), perm)


_sum = p.Sum(_moved("dy"), reduction_indices=-1, keep_dims=True)


@rule(p.Sub(_moved("dy"), p.Mul(_sum, p.Exp(_moved("y")))))
def gradient_of_log_softmax(dy: Value, y: Value, perm: tuple[int, ...]) -> Value | None:
    """dy.T(p) - exp(y.T(p)) Σ dy.T(p) -> (dy - exp(y) Σ dy).T(p), the sum along another dimension. No copies."""
    total = build.Sum(dy, [perm[-1]], keep_dims=True)
    return build.Transpose(build.Sub(dy, build.Mul(total, build.Exp(y))), perm)


def _shifted(x: Value, axis: int) -> Value:
    """x less its largest elements along a dimension."""
    return build.Sub(x, build.Max(x, [axis], keep_dims=True))


RULES = Rules(softmax_of_transpose, log_softmax_of_transpose, gradient_of_softmax, gradient_of_log_softmax)
