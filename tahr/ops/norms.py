"""Norms of vectors and matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core.convert import convert_to_tensor
from tahr.core.graph import Tensor
from tahr.core.scopes import name_scope
from tahr.ops import elementwise as e, reductions, special, structural as s
from tahr.ops.decompositions import svd
from tahr.ops.matrices import as_factors


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Norms of vectors or matrices.

    Args:
        tensor: any shape, floating or complex.
        ord: "euclidean" or any positive number, np.inf included, for vectors; "euclidean", "fro", 1, 2 or
            np.inf for matrices.
        axis: None: all elements are one vector; an integer: vectors along that axis; a pair: matrices.
        keepdims: whether those axes stay, with size 1.
        name: the operations' scope.
        keep_dims: the old name of `keepdims`.

    Raises:
        ValueError: the norm does not exist.
    """
    keepdims = bool(s.deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    is_matrix = isinstance(axis, (tuple, list)) and len(axis) == 2
    _check_order(ord, axis, is_matrix)
    with name_scope(name, "norm", [tensor]):
        x = convert_to_tensor(tensor)
        result = _matrix_norm(x, ord, list(axis)) if is_matrix else _vector_norm(x, ord, axis)
        return result if keepdims else s.squeeze(result, axis)


def _check_order(ord: Any, axis: Any, is_matrix: bool) -> None:
    if is_matrix:
        if axis[0] == axis[1]:
            raise ValueError("'axis' must be None, an integer, or a tuple of 2 unique integers")
        if ord not in ("euclidean", "fro", 1, 2, np.inf):
            raise ValueError(
                f"'ord' must be a supported matrix norm in ['euclidean', 'fro', 1, 2, inf], got {ord}"
            )
        return
    if isinstance(axis, (tuple, list)) and len(axis) != 1:
        raise ValueError("'axis' must be None, an integer, or a tuple of 2 unique integers")
    if ord != "euclidean" and (isinstance(ord, str) or ord <= 0):
        raise ValueError(
            f"'ord' must be a supported vector norm ('euclidean' or a positive number), got {ord}"
        )


def _euclidean(x: Tensor, axis: Any) -> Tensor:
    return special.sqrt(s.reduce_sum(e.multiply(x, e.conj(x)), axis, keepdims=True))


def _vector_norm(x: Tensor, ord: Any, axis: Any) -> Tensor:
    if ord in ("euclidean", 2):
        return _euclidean(x, axis)
    size = e.abs(x)
    if ord == 1:
        return s.reduce_sum(size, axis, keepdims=True)
    if ord == np.inf:
        return reductions.reduce_max(size, axis, keepdims=True)
    return special.pow(s.reduce_sum(special.pow(size, ord), axis, keepdims=True), 1.0 / ord)


def _matrix_norm(x: Tensor, ord: Any, axes: list[int]) -> Tensor:
    if ord in ("euclidean", "fro"):
        return _euclidean(x, axes)
    if ord == 2:
        return _spectral_norm(x, axes)
    # The largest sum of a column (1) or of a row (inf).
    summed, compared = axes if ord == 1 else axes[::-1]
    return reductions.reduce_max(s.reduce_sum(e.abs(x), summed, keepdims=True), compared, keepdims=True)


def _spectral_norm(x: Tensor, axes: list[int]) -> Tensor:
    """The largest singular value of the matrices along two axes."""
    rank = x.spec.rank
    if rank is None:
        raise ValueError("norm: ord=2 of matrices needs a tensor of known rank")
    last = [i % rank for i in axes]
    order = [i for i in range(rank) if i not in last] + last
    values = svd(s.transpose(x, order), compute_uv=False)
    largest = as_factors(reductions.reduce_max(e.abs(values), -1))
    return s.transpose(largest, [order.index(i) for i in range(rank)])
