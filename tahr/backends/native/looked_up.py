"""Rows of a table that a loop multiplies: a table that has fewer rows than are looked up is multiplied instead.

A net over characters looks up a vector for each, and multiplies it by a matrix W. If T is the table and P says which
rows are taken, that is (P T) W = P (T W), and the gradient of W is (P T)^T G = T^T (P^T G), where P^T G adds up the
rows of G that belong to the same row of T. There are far fewer products in it, if T has few rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tahr.core import sizes
from tahr.core.graph import Operation
from tahr.core.opdef import known_int, known_ints
from tahr.ops import indexing, transposing
from tahr.program.node import Builder, Node, Value


@dataclass(frozen=True)
class LookedUp:
    """A tensor that consists of rows of a table.

    Attributes:
        table: the matrix.
        indices: which of its rows.
        op: the operation that looks them up.
    """

    table: Value
    indices: Value
    op: Operation | None


def looked_up(tensor: Value, builder: Builder) -> LookedUp | None:
    """How a tensor consists of rows of a table that has fewer; None where that is not known.

    Args:
        tensor: the tensor; behind the lookup its dimensions may have been put into another order.
        builder: makes nodes of its program.
    """
    node = tensor.node
    order: list[int] | None = None
    if node.opdef is transposing.Transpose:
        order = known_ints(node.inputs[1].spec)
        if not order or order[-1] != len(order) - 1:
            return None
        node = node.inputs[0].node
    if not is_lookup(node):
        return None
    table, indices, _ = node.inputs
    if table.shape is None or indices.shape is None:
        return None
    height = table.shape[0]
    if not sizes.surely_at_most(1, height) or not sizes.surely_at_most(height, math.prod(indices.shape)):
        return None
    if order is not None:
        turned = builder.constant(np.array(order[:-1], np.int32))
        indices = builder.value(transposing.Transpose, indices, turned, op=node.op)
    return LookedUp(table, indices, node.op)


def is_lookup(node: Node) -> bool:
    """Whether a node takes rows of a matrix."""
    if node.opdef is not indexing.GatherV2 or known_int(node.inputs[2].spec) != 0 or node.attrs["batch_dims"]:
        return False
    table = node.inputs[0].shape
    return table is not None and len(table) == 2
