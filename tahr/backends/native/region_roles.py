"""What nodes are in a program whose native loops, conditionals and lists are known."""

from __future__ import annotations

from collections.abc import Sequence

from tahr.backends.native import roles
from tahr.backends.native.list_versions import GETS, POPS, STACKS
from tahr.backends.native.region_programs import Found, Unfit
from tahr.backends.native.roles import Role
from tahr.core import dtypes
from tahr.ops import control_flow, list_arrays, lists
from tahr.program.node import Input, Node, Program, Value

_ROLES = {control_flow.While.name: Role.LOOP, control_flow.If.name: Role.BRANCHING}


def role_of(node: Node, found: Found) -> Role:
    """The role of a node in a program of which more is known."""
    if node in found.nodes:
        return _ROLES.get(node.opdef.name, Role.LIST)
    return roles.role(node)


def data(node: Node, role: Role, found: Found) -> Sequence[Value]:
    """What a node reads as data."""
    inputs, opdef = node.inputs, node.opdef
    if role is Role.LOOP:
        return found.loops[node].inputs
    if role is not Role.LIST:
        return [inputs[i] for i in roles.data_inputs(node, role)]
    if opdef is lists.TensorListReserve:
        return ()
    if opdef in STACKS or opdef in POPS:
        return inputs[:1]
    return inputs[:2] if opdef in GETS or opdef is list_arrays.TensorListScatter else inputs


def ordered(order: Sequence[Node], found: Found) -> list[Node]:
    """The nodes of a program in order, and those that are computed ahead of loops."""
    result: dict[Node, None] = {}

    def take(node: Node) -> None:
        if node not in result:
            for value in node.inputs:
                take(value.node)
            result[node] = None

    for node in order:
        if node in found.loops:
            for value in found.loops[node].inputs:
                take(value.node)
        result[node] = None
    return list(result)


def require_native(program: Program, found: Found) -> None:
    """Raises Unfit where a node that is needed is the host's."""
    stack = [*program.roots, *(v.node for v in program.outputs)]
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.opdef is Input and all(v.dtype is dtypes.variant for v in node.outputs):
            continue
        role = role_of(node, found)
        if role is Role.HOST:
            raise Unfit(f"{node.opdef.name}: {found.reasons.get(node) or roles.reason(node) or role.value}")
        stack += [v.node for v in data(node, role, found)]
