"""Parts of a tensor that are written where they belong, instead of being copied there.

What concatenation or stacking puts together has mostly just been computed, and for this alone. A nest that computes it
can as well write into the whole; then there is nothing left to copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tahr.backends.native import roles
from tahr.backends.native.calls import Place
from tahr.backends.native.fuse import Fusion
from tahr.backends.native.recompute import Readers
from tahr.backends.native.roles import Role
from tahr.core import sizes
from tahr.core.views import View, dense_strides
from tahr.program.node import Node, Value

Seats = dict[Value, tuple[Value, View]]
"""For values that have no storage of their own, the root that they are written into, and where."""


def seated(
    nodes: Sequence[Node],
    node_roles: Mapping[Node, Role],
    places: Mapping[Value, Place],
    fusion: Fusion,
    readers: Readers,
    kept: set[Value],
) -> Seats:
    """The values of a segment's nests that are written into the whole that they are a part of.

    Args:
        nodes: the segment's, in topological order.
        node_roles: what each node is.
        places: where each value lies.
        fusion: the groups.
        readers: the groups that read what a root holds.
        kept: values that something outside reads: they, and wholes among them, are stored as ever.
    """
    found: Seats = {}
    for node in nodes:
        if node_roles[node] is not Role.PARTS or node.outputs[0] in kept:
            continue
        assembly = roles.assembly(node)
        assert assembly is not None
        if assembly.fill is not None or assembly.fill_input is not None:
            continue  # the filling would have to come first
        numbers = [part.input for part in assembly.parts]
        for part in assembly.parts:
            value = node.inputs[part.input]
            group = fusion.of.get(value.node)
            if group is None or group.anchor is not None or value in kept or value in group.leaving:
                continue
            # Another part may be a view of it, and would look for it where it is not.
            roots = [places[v].root for v in node.inputs if v in places]
            alone = numbers.count(part.input) == 1 and roots.count(value) == 1
            own = places[value].root is value and readers.get(value, set()) - {group} == {fusion.of[node]}
            if alone and own and _is_whole(part.source, value):
                found[value] = node.outputs[0], part.target
    return found


def _is_whole(source: View, value: Value) -> bool:
    """Whether a part is the whole of a value, in its own order."""
    same = len(source.shape) == len(value.dims) and all(map(sizes.surely_equal, source.shape, value.dims))
    return same and source.offset == 0 and source.strides == dense_strides(value.dims)
