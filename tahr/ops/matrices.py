"""What ops on stacks of matrices [..., m, n] share."""

from __future__ import annotations

import numpy as np

from tahr.core import shapes
from tahr.core.graph import Tensor
from tahr.core.opdef import Array
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import elementwise as e, structural as s


def square_shape(x: Spec) -> Shape:
    """The shape of a stack of matrices that must be square. Raises ValueError where they surely are not."""
    if x.shape is None:
        return None
    if len(x.shape) < 2:
        raise ValueError(f"Shape must be at least rank 2 but is rank {len(x.shape)}")
    rows, columns = x.shape[-2:]
    if isinstance(rows, int) and isinstance(columns, int) and rows != columns:
        raise ValueError(f"Dimensions must be equal, but are {rows} and {columns}")
    size = shapes.merge_dims(rows, columns)
    return (*x.shape[:-2], size, size)


def check_square(x: Array) -> None:
    """Raises Complaint unless an array holds square matrices."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise Complaint(f"Input matrix must be square: {shapes.show(x.shape)}")


def as_factors(x: Tensor) -> Tensor:
    """Numbers [...] as [..., 1, 1], to scale matrices with."""
    return s.expand_dims(s.expand_dims(x, -1), -1)


def conjugate_transposes(x: Array) -> Array:
    """The conjugate transposes."""
    return np.swapaxes(x, -1, -2).conj()


def half(x: Tensor) -> Tensor:
    """1/2 in the dtype of `x`."""
    return e.cast(0.5, x.dtype)


def static_sizes(x: Tensor, function: str) -> tuple[int, int]:
    """The sizes of matrices. Raises ValueError where they are not known."""
    shape = x.spec.shape
    if shape is None or not isinstance(shape[-1], int) or not isinstance(shape[-2], int):
        raise ValueError(f"{function} needs matrices of known size, got the shape {shapes.show(shape)}")
    return shape[-2], shape[-1]
