"""Integers as linear functions of others, such as of the counters of loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tahr.core.opdef import known_dim
from tahr.core.sizes import UNKNOWN, Dim
from tahr.ops import elementwise, structural
from tahr.program.node import Value


class Linear(NamedTuple):
    """A linear function of scalars.

    Attributes:
        factors: what each of them is multiplied by.
        rest: what is added.
    """

    factors: Mapping[Value, int]
    rest: Dim

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """The sum of this function and a multiple of another one."""
        factors = dict(self.factors)
        for value, f in other.factors.items():
            factors[value] = factors.get(value, 0) + f * factor
        return Linear({v: f for v, f in factors.items() if f}, self.rest + other.rest * factor)

    def least(self) -> Dim:
        """What it is at least."""
        return self._extreme(1)

    def most(self) -> Dim:
        """What it is at most."""
        return self._extreme(-1)

    def _extreme(self, sign: int) -> Dim:
        total = self.rest
        for value, factor in self.factors.items():
            within = value.spec.within
            if within is None:
                return UNKNOWN
            total += factor * (within.least if factor * sign > 0 else within.most)
        return total


def linear(value: Value, depth: int = 8) -> Linear:
    """An integer scalar as a linear function of others: of counters, where they are what it is computed of.

    Args:
        value: the scalar.
        depth: how many operations are looked through, one behind the other.
    """
    node, known = value.node, known_dim(value.spec)
    if known is not UNKNOWN:
        return Linear({}, known)
    if depth and node.opdef is structural.Identity:
        return linear(node.inputs[0], depth - 1)
    if depth and node.opdef in (elementwise.AddV2, elementwise.Sub, elementwise.Mul):
        a, b = (linear(v, depth - 1) for v in node.inputs)
        if node.opdef is not elementwise.Mul:
            return a.plus(b, 1 if node.opdef is elementwise.AddV2 else -1)
        for one, other in ((a, b), (b, a)):
            if not other.factors and isinstance(other.rest, int):
                return Linear({}, 0).plus(one, other.rest)
    return Linear({value: 1}, 0)
