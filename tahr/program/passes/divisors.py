"""Divisors of integers are looked at before they divide: one that is 0 is an error, and compiled code raises none."""

from __future__ import annotations

from collections.abc import Sequence

from tahr.core import sizes
from tahr.core.opdef import known_value
from tahr.ops.elementwise import INTEGER_DIVISIONS, CheckDivisor
from tahr.program.node import Node, Program, Value
from tahr.program.pattern import build
from tahr.program.rewrite import rewrite


def run(program: Program) -> Program:
    """The pass."""
    return rewrite(program, _checked)


def _checked(node: Node) -> Sequence[Value] | None:
    """A division by a divisor that was looked at; None for what needs no look."""
    if node.opdef not in INTEGER_DIVISIONS:
        return None
    x, y = node.inputs
    if y.dtype is None or not y.dtype.is_integer or y.node.opdef is CheckDivisor or _is_never_zero(y):
        return None
    return [getattr(build, node.opdef.name)(x, build.CheckDivisor(x, y))]


def _is_never_zero(divisor: Value) -> bool:
    """Whether a divisor is a constant without zeros, or known from sizes that are above 0."""
    if divisor.constant is not None:
        return bool(divisor.constant.all())
    known = known_value(divisor.spec)
    return known is not None and all((sizes.least(d) or 0) > 0 for d in known)
