"""The operands of matrix products, as they lie in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tahr.core import sizes
from tahr.core.sizes import Dim
from tahr.core.views import View, dense_strides
from tahr.program.node import Node


@dataclass(frozen=True)
class Matrix:
    """An operand of a product as it lies in memory.

    Attributes:
        view: the operand, not transposed.
        is_transposed: whether it is stored with rows as columns.
        stride: the distance between stored rows.
        columns: the number of columns of the operand.
    """

    view: View
    is_transposed: bool
    stride: Dim
    columns: Dim

    def batches(self, shape: Sequence[Dim]) -> list[Dim]:
        """The strides along the batch dimensions of a product."""
        return list(self.view.broadcast((*shape, *self.view.shape[-2:])).strides[:-2])


def flips(node: Node) -> tuple[bool, bool]:
    """Whether the operands of a product are transposed. Real numbers: the adjoint is the transpose."""
    attrs = node.attrs
    if "transpose_a" in attrs:
        return attrs["transpose_a"], attrs["transpose_b"]
    return attrs["adj_x"], attrs["adj_y"]


def matrix(view: View, flip: bool) -> Matrix | None:
    """A view as an operand of a product; None where neither rows nor columns lie without gaps."""
    if len(view.shape) < 2:
        return None
    if flip:
        rank = len(view.shape)
        view = view.transposed([*range(rank - 2), rank - 1, rank - 2])
    (rows, columns), (down, across) = view.shape[-2:], view.strides[-2:]
    if across == 1 or columns == 1:
        return Matrix(view, False, columns if rows == 1 else down, columns)
    if down == 1 or rows == 1:
        return Matrix(view, True, rows if columns == 1 else across, columns)
    return None


def merged_batches(
    shape: Sequence[Dim], a: Sequence[Dim], b: Sequence[Dim], c: Sequence[Dim]
) -> list[tuple[Dim, Dim, Dim, Dim]]:
    """Batch dimensions with their strides, neighbours merged where all three operands allow it."""
    merged: list[tuple[Dim, Dim, Dim, Dim]] = []
    for dim in zip(shape, a, b, c):
        if dim[0] == 1:
            continue
        if merged and all(sizes.surely_equal(merged[-1][i], dim[i] * dim[0]) for i in (1, 2, 3)):
            merged[-1] = (merged[-1][0] * dim[0], *dim[1:])
        else:
            merged.append(dim)
    return merged


def product_fits(node: Node, a: View, b: View) -> bool:
    """Whether the operands of a product can be read where they lie."""
    left, right = matrix(a, flips(node)[0]), matrix(b, flips(node)[1])
    if left is None or right is None:
        return False
    shape = node.outputs[0].dims
    out = dense_strides(shape)[:-2]
    return len(merged_batches(shape[:-2], left.batches(shape[:-2]), right.batches(shape[:-2]), out)) <= 2
