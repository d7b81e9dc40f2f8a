"""Values that are computed again where they are read, instead of being stored.

`x - mean` in batch normalization is wanted by the variance, by the result and by the gradient: three kernels that
cannot be one. If x is stored anyway, a kernel that reads x instead of the difference reads as much, and nobody has to
write the difference. So a value of a nest is not stored where

* a few cheap operations make it of one tensor of its size that is stored anyway, and of smaller ones (a number for
  each channel, say),
* all others who read it are nests, which evaluate expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tahr.backends.native import roles, tracing
from tahr.backends.native.calls import Place
from tahr.backends.native.fuse import Fusion, Group, product
from tahr.backends.native.roles import Role
from tahr.core import scalar, sizes
from tahr.program.node import Node, Value

Readers = dict[Value, set[Group]]
"""The groups that read what a root holds."""

_ARITHMETIC = {"add", "sub", "mul", "neg", "abs", "muladd", "fma", "minimum", "maximum"}
_CHEAP = _ARITHMETIC | {"leaf", "constant", "lt", "le", "eq", "ne", "not", "select", "convert"}
_MOST_OPERATIONS = 6


def recomputed(
    nodes: Sequence[Node],
    node_roles: Mapping[Node, Role],
    places: Mapping[Value, Place],
    fusion: Fusion,
    readers: Readers,
    kept: set[Value],
) -> set[Value]:
    """The values of a segment that nobody has to store; whoever reads them becomes a reader of what they are made of.

    Args:
        nodes: the segment's, in topological order.
        node_roles: what each node is.
        places: where each value lies.
        fusion: the groups.
        readers: changed accordingly.
        kept: values that are stored in any case.
    """
    operations: dict[Value, int] = {}
    for node in nodes:
        if node_roles[node] is Role.ELEMENTWISE and len(node.outputs) == 1:
            count = _operations(node, places, fusion, readers, kept, operations)
            if count is not None and count <= _MOST_OPERATIONS:
                operations[node.outputs[0]] = count
    viewed = {places[v].root for n in nodes for v in n.inputs if v in places and places[v].root is not v}
    found: set[Value] = set()
    for value in reversed(operations):
        outside = readers.get(value, set()) - {fusion.of[value.node]}
        if not outside or value in kept or value in viewed or any(g.anchor is not None for g in outside):
            continue
        found.add(value)
        readers[value] = readers[value] - outside
        for operand in value.node.inputs:
            if operand in places:
                readers.setdefault(places[operand].root, set()).update(outside)
    return found


def _operations(
    node: Node,
    places: Mapping[Value, Place],
    fusion: Fusion,
    readers: Readers,
    kept: set[Value],
    operations: Mapping[Value, int],
) -> int | None:
    """How many operations make a node's output of what is stored anyway; None where they are not few and cheap."""
    traced = tracing.traced(node)
    if traced is None or any(e.op not in _CHEAP for e in scalar.ordered(traced)):
        return None
    output = node.outputs[0]
    full: set[Value] = set()
    for value in node.inputs:
        if value not in places or roles.is_variable(places[value].root.node):
            return None  # a variable may have been changed when the value is computed again
        if not _is_smaller(value, output):
            full.add(value)
    if len(full) != 1:
        return None
    (operand,) = full
    root = places[operand].root
    assert operand.dtype is not None and output.dtype is not None
    if operand.dtype.size > output.dtype.size:
        return None
    own = sum(e.op not in ("leaf", "constant") for e in scalar.ordered(traced))
    if root is operand and root in operations:
        return operations[root] + own
    group = fusion.of.get(root.node)
    is_stored = group is None or root in kept or bool(readers.get(root, set()) - {group})
    return own if is_stored else None


def _is_smaller(value: Value, whole: Value) -> bool:
    """Whether a value surely has much fewer elements than another that it is broadcast to."""
    assert value.shape is not None and whole.shape is not None
    mine, theirs = ([d for d in shape if d != 1] for shape in (value.shape, whole.shape))
    return len(mine) < len(theirs) and not sizes.surely_equal(product(mine), product(theirs))
