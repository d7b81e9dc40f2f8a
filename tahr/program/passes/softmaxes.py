"""Softmax along a dimension that is not the last, as TensorFlow has it: of a transposed tensor, transposed back.

What is compiled adds up along any dimension, so nothing has to move. Then both transpositions cancel out.
"""

from __future__ import annotations

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


def _shifted(x: Value, axis: int) -> Value:
    """x less its largest elements along a dimension."""
    return build.Sub(x, build.Max(x, [axis], keep_dims=True))


RULES = Rules(softmax_of_transpose, log_softmax_of_transpose)
