"""A new list of its own for each whose first item is set at once.

Equal new lists are one node, as all equal nodes are. But items are set where they lie, and two lists that begin as one
would have to be copied. No pass may leave nodes that compute the same: so this is none, but comes behind them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tahr.ops.lists import TensorListReserve, TensorListSetItem
from tahr.program.node import Node, Program, Value
from tahr.program.rewrite import rewrite


def with_own_lists(program: Program) -> Program:
    """The program in which nobody else uses a new list of which an item is set."""
    users = Counter(value.node for node in program.nodes() for value in node.inputs)

    def separate(node: Node) -> Sequence[Value] | None:
        if node.opdef is not TensorListSetItem:
            return None
        items, *rest = node.inputs
        new = items.node
        if new.opdef is not TensorListReserve or users[new] < 2:
            return None
        own = program.builder.add(new.opdef, new.inputs, new.attrs, [items.spec], new.op)
        specs = [v.spec for v in node.outputs]
        return program.builder.node(node.opdef, [*own.outputs, *rest], node.attrs, node.op, (), specs).outputs

    return rewrite(program, separate)
