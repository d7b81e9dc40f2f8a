"""Lists as values: which ops make, change and read them, and which version of a list is made of which."""

from __future__ import annotations

from collections.abc import Sequence

from tahr.core import dtypes
from tahr.core.graph import Region, Tensor
from tahr.ops import control_flow, list_arrays, lists, structural
from tahr.program.function import Function
from tahr.program.node import Node, Value

# Ops that change their first input, a list, in place; those that change only its length are at the end.
WRITES = (lists.TensorListPushBack, lists.TensorListSetItem, lists.TensorListClearItem, lists.TensorListAdd)
POPS = (lists.TensorListPopBack, lists.TensorListPopBackLike)
GETS = (lists.TensorListGetItem, lists.TensorListGetItemLike)
STACKS = (list_arrays.TensorListStack, list_arrays.TensorListGatherLike, list_arrays.TensorListStackLike)
FRESH = (lists.EmptyTensorList, lists.TensorListReserve, lists.TensorListZerosLike)
FILLED = (list_arrays.TensorListFromTensor, list_arrays.TensorListScatter)


def start(value: Value) -> Value:
    """The first version of a list: what all others were made from by changes."""
    while True:
        before = previous(value)
        if before is None:
            return value
        value = before


def previous(value: Value) -> Value | None:
    """The version of a list that a change made this one of; None where it begins here."""
    node = value.node
    if value.index == 0 and (node.opdef in WRITES or node.opdef in POPS):
        return node.inputs[0]
    if value.dtype is not dtypes.variant:
        return None
    if node.opdef is control_flow.While:
        return node.inputs[value.index]
    return _before_branches(value) if node.opdef is control_flow.If else None


def _before_branches(value: Value) -> Value | None:
    """The list of which both branches of a conditional give a version; None where there is none."""
    taken = [_taken_by(value.node, name, value.index) for name in ("then_branch", "else_branch")]
    return taken[0] if taken[0] is taken[1] else None


def _taken_by(node: Node, name: str, index: int) -> Value | None:
    """The list of which a branch of a conditional gives a version."""
    function: Function
    function, places = node.attrs[name]
    first = _first_version(function.outputs[index], function.captures)
    return None if first is None else node.inputs[1 + places[function.captures.index(first)]]


def _first_version(tensor: Tensor, captures: Sequence[Tensor]) -> Tensor | None:
    """The one of a branch's captures that a list in the branch is a version of."""
    while tensor not in captures:
        op = tensor.op
        if op.opdef is control_flow.While:
            tensor = op.inputs[tensor.value_index]
        elif op.opdef is control_flow.If:
            regions: list[Region] = [op.attrs["then_branch"], op.attrs["else_branch"]]
            one, other = (_first_version(r.outputs[tensor.value_index], captures) for r in regions)
            return one if one is other else None
        elif op.opdef is structural.Identity or (op.opdef in (*WRITES, *POPS) and tensor.value_index == 0):
            tensor = op.inputs[0]
        else:
            return None
    return tensor


def added(node: Node) -> Node | None:
    """The row that is added to a list, where that is what the node does."""
    other = node.inputs[1].node
    return other if node.opdef is lists.TensorListAdd and other.opdef is lists.TensorListOneItem else None


def is_optional(node: Node) -> bool:
    """Whether a node makes a list of one item."""
    return node.opdef is lists.TensorListPushBack and node.inputs[0].node.opdef is lists.EmptyTensorList
