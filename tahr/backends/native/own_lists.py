"""A new list of its own for each of which an item is set at once.

Equal new lists are one node, as all equal nodes are. But items are set where they lie, and two lists that begin as one
would have to be copied. No pass may leave nodes that compute the same: so this is none, but comes behind them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tahr.ops.lists import (
    TensorListAdd,
    TensorListOneItem,
    TensorListReserve,
    TensorListSetItem,
    TensorListZerosLike,
)
from tahr.program.node import Node, Program, Value
from tahr.program.rewrite import rewrite


def with_own_lists(program: Program) -> Program:
    """The program in which nobody else uses a new list of which an item is set."""
    while (
        after := _with_some(program)
    ) is not program:  # nodes behind those that were replaced are other ones
        program = after
    return program


def _with_some(program: Program) -> Program:
    """The program with more such lists; itself where there are no more."""
    users: dict[Node, list[Node]] = {}
    for node in program.nodes():
        for value in node.inputs:
            users.setdefault(value.node, []).append(node)

    def separate(node: Node) -> Sequence[Value] | None:
        if node.opdef is TensorListSetItem:
            return _on_its_own(program, node) if len(users.get(node.inputs[0].node, ())) > 1 else None
        is_single = node.opdef is TensorListOneItem and node in users
        if is_single and all(user.opdef is not TensorListAdd for user in users[node]):
            return _added_to_zeros(program, node)
        return None

    return rewrite(program, separate)


def _on_its_own(program: Program, node: Node) -> Sequence[Value] | None:
    """An item that is set in a new list, which nobody else takes; None where the list is none."""
    items, *rest = node.inputs
    new = items.node
    if new.opdef is not TensorListReserve:
        return None
    own = program.builder.add(new.opdef, new.inputs, new.attrs, [items.spec], new.op)
    specs = [v.spec for v in node.outputs]
    return program.builder.node(node.opdef, [*own.outputs, *rest], node.attrs, node.op, (), specs).outputs


def _added_to_zeros(program: Program, node: Node) -> Sequence[Value]:
    """A list of one item, as the sum of that and of a list of zeros, which can be changed further."""
    build = program.builder
    specs = [v.spec for v in node.outputs]
    zeros = build.add(TensorListZerosLike, node.inputs[:1], {}, specs, node.op)
    one = build.add(node.opdef, node.inputs, node.attrs, specs, node.op)
    return build.add(TensorListAdd, [*zeros.outputs, *one.outputs], {}, specs, node.op).outputs
