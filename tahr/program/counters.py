"""Counters of loops: their ranges in the loop's body, where those follow from sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tahr.core.convert import Const
from tahr.core.graph import Operation, Region
from tahr.core.opdef import known_dim, known_int, known_value
from tahr.core.shapes import Range, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.ops import elementwise, logic, structural
from tahr.ops.slicing import StridedSlice
from tahr.program.function import Function
from tahr.program.node import Value


def may_matter(operations: Iterable[Operation]) -> bool:
    """Whether there are slices in a loop's body, or in regions there, that may begin at a counter."""
    return any(
        (op.opdef is StridedSlice and known_value(op.inputs[1].spec) is None)
        or any(may_matter(a.operations) for a in op.attrs.values() if isinstance(a, Region))
        for op in operations
    )


def ranges(
    test: Value, variables: Sequence[Value], body: Function, starts: Sequence[Spec]
) -> list[Range | None]:
    """The ranges of a loop's variables in its body; None where one does not follow from sizes.

    Args:
        test: the loop's condition.
        variables: what the condition calls the loop's variables.
        body: the loop's body, whose first inputs and outputs they are.
        starts: what is known of their first values.
    """
    found: list[Range | None] = [None] * len(variables)
    conditions = [test]
    while conditions:
        condition = conditions.pop().node
        if condition.opdef is logic.LogicalAnd:
            conditions += condition.inputs
        elif condition.opdef in _LIMITS and condition.inputs[0] in variables:
            counter, limit = condition.inputs
            place = variables.index(counter)
            found[place] = found[place] or _range(
                known_dim(starts[place]), _step(body, place), known_dim(limit.spec) + _LIMITS[condition.opdef]
            )
    return found


# What is added to the number with which a counter is compared: the greatest number that it may still be.
_LIMITS = {logic.Less: -1, logic.LessEqual: 0}


def _range(start: Dim, step: int, limit: Dim) -> Range | None:
    """The range of a counter that goes from a number up to a limit."""
    if step <= 0 or start is UNKNOWN or limit is UNKNOWN:
        return None
    if isinstance(start, int) and isinstance(limit, int):
        limit -= (limit - start) % step
    return Range(start, limit)


def _step(body: Function, place: int) -> int:
    """By how much a variable grows in each iteration; 0 where that is not known."""
    variable, op = body.inputs[place], body.outputs[place].op
    while op.opdef is structural.Identity:
        op = op.inputs[0].op
    if op.opdef is not elementwise.AddV2 or variable not in op.inputs:
        return 0
    other = op.inputs[1] if op.inputs[0] is variable else op.inputs[0]
    # A constant from outside may be fed.
    is_own = other.op.opdef is Const and other.op.region is variable.op.region
    return known_int(other.spec) or 0 if is_own else 0
