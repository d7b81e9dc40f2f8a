"""Lists as values: which ops make, change and read them, and which version of a list is made of which."""

from __future__ import annotations

from tahr.core import dtypes
from tahr.ops import control_flow, lists
from tahr.program.node import Node, Value

# Ops that change their first input, a list, in place; those that change only its length are at the end.
WRITES = (lists.TensorListPushBack, lists.TensorListSetItem, lists.TensorListClearItem, lists.TensorListAdd)
POPS = (lists.TensorListPopBack, lists.TensorListPopBackLike)
GETS = (lists.TensorListGetItem, lists.TensorListGetItemLike)
STACKS = (lists.TensorListStack, lists.TensorListGatherLike, lists.TensorListStackLike)
FRESH = (lists.EmptyTensorList, lists.TensorListReserve, lists.TensorListZerosLike)
FILLED = (lists.TensorListFromTensor, lists.TensorListScatter)


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
    if node.opdef is control_flow.While and value.dtype is dtypes.variant:
        return node.inputs[value.index]
    return None


def added(node: Node) -> Node | None:
    """The row that is added to a list, where that is what the node does."""
    other = node.inputs[1].node
    return other if node.opdef is lists.TensorListAdd and other.opdef is lists.TensorListOneItem else None


def is_optional(node: Node) -> bool:
    """Whether a node makes a list of one item."""
    return node.opdef is lists.TensorListPushBack and node.inputs[0].node.opdef is lists.EmptyTensorList
