"""Liveness: when storage is needed last, and which step may reuse it.

Decisions are made for storage, not for values: a reshape or a transpose is another view of its input's storage, and so
is whatever an op's `aliases` declares. Storage that a run does not own (feeds, constants, variables' arrays) is never
written and never freed here.
"""

from __future__ import annotations

from collections.abc import Sequence

from tahr.core import shapes
from tahr.core.convert import Const
from tahr.core.forms import Elementwise
from tahr.ops import control_flow, state
from tahr.program.node import Input, Node, Program, Value

_NOT_OWNED = (Input, Const, state.ReadCell, state.VariableV2, state.VarHandleOp)


class Storage:
    """Which storage each value lies in.

    A value may lie in one of several storages (an op may return either of two inputs), so it has a set of roots: the
    values whose nodes allocated them.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.roots: dict[Value, frozenset[Value]] = {}
        for node in nodes:
            shared: frozenset[Value] = frozenset()
            if node.opdef.aliases:
                shared = shared.union(
                    *(self.roots[node.inputs[i]] for i in node.opdef.aliases if i < len(node.inputs))
                )
            elif node.opdef is control_flow.While or node.opdef is control_flow.If:
                # A loop or branch may give back what it was given.
                shared = shared.union(*(self.roots[v] for v in node.inputs))
            for value in node.outputs:
                self.roots[value] = shared | {value}

    def is_owned(self, value: Value) -> bool:
        """Whether everything that the value may lie in was allocated by this run."""
        return all(root.node.opdef not in _NOT_OWNED for root in self.roots[value])

    def is_alone(self, value: Value) -> bool:
        """Whether the value is surely a storage of its own and no view."""
        return self.roots[value] == {value} and self.is_owned(value)


def last_uses(program: Program, nodes: Sequence[Node]) -> dict[Value, int]:
    """For each value the index of the last node that takes it; results are needed for ever."""
    last: dict[Value, int] = {}
    for i, node in enumerate(nodes):
        for value in node.inputs:
            last[value] = i
        for value in node.outputs:
            last.setdefault(value, i)
    for value in program.outputs:
        last[value] = len(nodes)
    return last


def storage_ends(storage: Storage, last: dict[Value, int]) -> dict[Value, int]:
    """For each storage the index of the last node that takes any value lying in it."""
    ends: dict[Value, int] = {}
    for value, index in last.items():
        for root in storage.roots[value]:
            ends[root] = max(ends.get(root, -1), index)
    return ends


def reusable_input(node: Node, index: int, storage: Storage, ends: dict[Value, int]) -> int | None:
    """The place of an input whose storage the node may write its output to: it is needed by nobody else.

    Args:
        node: an element-wise node whose meaning is one ufunc.
        index: its place in the plan's order.
        storage: which storage values lie in.
        ends: when each storage is needed last.
    """
    form = node.opdef.form
    if not isinstance(form, Elementwise) or form.ufunc is None or len(node.outputs) != 1:
        return None
    output = node.outputs[0]
    if not output.shape:  # scalars: NumPy gives them back as scalars, and there is nothing to win
        return None
    for place, value in enumerate(node.inputs):
        if (
            is_free(value, index, storage, ends)
            and value.dtype is output.dtype
            and shapes.surely_equal(value.shape, output.shape)
        ):
            return place
    return None


def is_free(value: Value, index: int, storage: Storage, ends: dict[Value, int]) -> bool:
    """Whether the step at `index` is the last to see a value's storage, and may overwrite it."""
    return storage.is_alone(value) and ends[value] == index
