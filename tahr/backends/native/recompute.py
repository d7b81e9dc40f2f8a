"""Values that are computed again where they are read, instead of being stored.

`x - mean` in batch normalization is wanted by the variance, by the result and by the gradient: three kernels that
cannot be one. If x is stored anyway, a kernel that reads x instead of the difference reads as much, and nobody has to
write the difference. So a value is not stored where

* a few cheap operations make it of one tensor of its size that is stored anyway, and of smaller ones (a number for
  each channel, say),
* all others who read it evaluate expressions: nests, and the epilogues of products.

And where several values are each a few operations on one that is not stored, then that one is stored in their place:
of tanh(x), 1 + tanh(x) and 1 - tanh(x)^2 only the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tahr.backends.native import roles, tracing
from tahr.backends.native.calls import Place
from tahr.backends.native.fuse import Fusion
from tahr.backends.native.groups import Group, product
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
    needs: Mapping[Node, Sequence[Value]],
    fusion: Fusion,
    readers: Readers,
    kept: set[Value],
) -> set[Value]:
    """The values of a segment that nobody has to store; whoever reads them becomes a reader of what they are made of.

    Args:
        nodes: the segment's, in topological order.
        node_roles: what each node is.
        places: where each value lies.
        needs: for each node the values that its kernel reads.
        fusion: the groups.
        readers: changed accordingly.
        kept: values that are stored in any case.
    """
    chains = _Chains(nodes, node_roles, places, fusion, readers, kept)
    viewed = {places[v].root for n in nodes for v in n.inputs if v in places and places[v].root is not v}
    found: set[Value] = set()
    for value in reversed(chains.values()):
        outside = readers.get(value, set()) - {fusion.of[value.node]}
        if not outside or value in kept or value in viewed:
            continue
        if any(not _evaluates(group, value, places, needs, fusion) for group in outside):
            continue
        found.add(value)
        readers[value] = readers[value] - outside
        for operand in value.node.inputs:
            if operand in places:
                readers.setdefault(places[operand].root, set()).update(outside)
    return found


def _evaluates(
    group: Group,
    value: Value,
    places: Mapping[Value, Place],
    needs: Mapping[Node, Sequence[Value]],
    fusion: Fusion,
) -> bool:
    """Whether a group that reads a value can as well compute it: an epilogue must be able to read its operands."""
    if group.anchor is None:
        return True
    if any(places[v].root is value for v in needs[group.anchor] if v in places):
        return False
    operands = [v for v in value.node.inputs if v in places]
    return all(fusion.operand_access(group, v, value.dims) is not None for v in operands)


class _Chains:
    """Chains of a few cheap operations, each on one tensor of its size and on smaller ones.

    Attributes:
        links: for each value that can be the end of a chain, the tensor and how many operations are its own.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        node_roles: Mapping[Node, Role],
        places: Mapping[Value, Place],
        fusion: Fusion,
        readers: Readers,
        kept: set[Value],
    ) -> None:
        self._places, self._fusion, self._readers, self._kept = places, fusion, readers, kept
        self.links: dict[Value, tuple[Value, int]] = {}
        for node in nodes:
            if node_roles[node] is Role.ELEMENTWISE and len(node.outputs) == 1:
                link = _link(node, places)
                if link is not None:
                    self.links[node.outputs[0]] = link

    def values(self) -> list[Value]:
        """The values that short chains make of what is stored, in topological order."""
        shared = self._shared()
        operations: dict[Value, int] = {}
        for value, (operand, own) in self.links.items():
            root = self._places[operand].root
            if root is operand and root in operations and root not in shared:
                count = operations[root] + own
            elif self._is_stored(root) or root in shared:
                count = own
            else:
                continue
            if count <= _MOST_OPERATIONS:
                operations[value] = count
        return list(operations)

    def _is_stored(self, root: Value) -> bool:
        group = self._fusion.of.get(root.node)
        return group is None or root in self._kept or bool(self._readers.get(root, set()) - {group})

    def _shared(self) -> set[Value]:
        """Tensors that are not stored, but from which chains lead to several values that are."""
        ends: Counter[Value] = Counter()
        starts: dict[Value, Value] = {}
        for value, (operand, _) in self.links.items():
            root = self._places[operand].root
            starts[value] = starts.get(root, root) if root is operand else root
            if self._is_stored(value):
                ends[starts[value]] += 1
                starts[value] = value
        return {root for root, count in ends.items() if count > 1 and not self._is_stored(root)}


def _link(node: Node, places: Mapping[Value, Place]) -> tuple[Value, int] | None:
    """The tensor that a few cheap operations make a node's output of, and how many; None where there is not one."""
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
    assert operand.dtype is not None and output.dtype is not None
    if operand.dtype.size > output.dtype.size:
        return None
    return operand, sum(e.op not in ("leaf", "constant") for e in scalar.ordered(traced))


def _is_smaller(value: Value, whole: Value) -> bool:
    """Whether a value surely has much fewer elements than another that it is broadcast to."""
    mine, theirs = ([d for d in shape if d != 1] for shape in (value.dims, whole.dims))
    return len(mine) < len(theirs) and not sizes.surely_equal(product(mine), product(theirs))
