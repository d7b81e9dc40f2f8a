"""Diagonals of matrices: made into matrices, taken out, and set.

A band of diagonals is packed into a matrix: one row for each diagonal, from the uppermost to the lowest, filled from
the left. Diagonal 0 is the main one, d > 0 lies above it: it holds the elements [i, i + d].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.forms import MOVEMENT, WithDiagonal
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_ints, known_value
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim, maximum, minimum
from tahr.core.views import Assembly, Part, View
from tahr.errors import Complaint
from tahr.ops import fills, structural

# ---------------------------------------------------------------- main diagonals


def matrix_dims(x: Spec) -> tuple[tuple[Dim, ...], Dim, Dim] | None:
    """(batch, rows, columns) of a tensor that must hold matrices; None for an unknown rank."""
    if x.shape is None:
        return None
    if len(x.shape) < 2:
        raise ValueError(f"Shape must be at least rank 2 but is rank {len(x.shape)}")
    return x.shape[:-2], x.shape[-2], x.shape[-1]


def _shorter(rows: Dim, columns: Dim) -> Dim:
    return rows if rows == columns else minimum(rows, columns)


MatrixDiag = OpDef("MatrixDiag", "diagonal: T -> output: T", form=MOVEMENT)


@MatrixDiag.shape
def _matrix_diag_shape(x: Spec) -> Shape:
    if x.shape is None:
        return None
    if not x.shape:
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    return (*x.shape, x.shape[-1])


@MatrixDiag.kernel
def _matrix_diag_kernel(x: Array) -> Array:
    result = np.zeros((*x.shape, x.shape[-1]), dtype=x.dtype)
    places = np.arange(x.shape[-1])
    result[..., places, places] = x
    return result


@MatrixDiag.parts
def _matrix_diag_parts(x: Spec, *, outs: Sequence[Spec]) -> Assembly:
    assert x.shape is not None
    *batch, size = x.shape
    rank = len(batch)
    target = View.dense((*batch, size, size)).diagonal(rank, rank + 1, size)
    return Assembly((Part(0, View.dense((*batch, size)), target),), fill=0)


@MatrixDiag.gradient
def _matrix_diag_gradient(op: Operation, dy: Tensor) -> Tensor:
    return matrix_diag_part(dy)


MatrixDiagPart = OpDef("MatrixDiagPart", "input: T -> diagonal: T", form=MOVEMENT, aliases=(0,))


@MatrixDiagPart.shape
def _matrix_diag_part_shape(x: Spec) -> Shape:
    dims = matrix_dims(x)
    return None if dims is None else (*dims[0], _shorter(dims[1], dims[2]))


@MatrixDiagPart.kernel
def _matrix_diag_part_kernel(x: Array) -> Array:
    return np.diagonal(x, axis1=-2, axis2=-1)


@MatrixDiagPart.view
def _matrix_diag_part_view(x: View, *specs: Spec, outs: Sequence[Spec]) -> View:
    rank = len(x.shape)
    return x.diagonal(rank - 2, rank - 1, _shorter(x.shape[-2], x.shape[-1]))


@MatrixDiagPart.gradient
def _matrix_diag_part_gradient(op: Operation, dy: Tensor) -> Tensor:
    return matrix_set_diag(fills.zeros_like(op.inputs[0]), dy)


MatrixSetDiag = OpDef("MatrixSetDiag", "input: T, diagonal: T -> output: T", form=WithDiagonal())


@MatrixSetDiag.shape
def _matrix_set_diag_shape(x: Spec, diagonal: Spec) -> Shape:
    dims = matrix_dims(x)
    if dims is not None:
        shapes.merge((*dims[0], _shorter(dims[1], dims[2])), diagonal.shape)
    return x.shape


@MatrixSetDiag.kernel
def _matrix_set_diag_kernel(x: Array, diagonal: Array) -> Array:
    places = np.arange(min(x.shape[-2:]))
    if diagonal.shape != (*x.shape[:-2], places.size):
        raise Complaint(
            "must have diagonal.shape == input.shape[:-2] + min(input.shape[-2:]), but received input shape: "
            f"{shapes.show(x.shape)} and diagonal shape: {shapes.show(diagonal.shape)}"
        )
    result = x.copy()
    result[..., places, places] = diagonal
    return result


@MatrixSetDiag.gradient
def _matrix_set_diag_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    diagonal = matrix_diag_part(dy)
    return matrix_set_diag(dy, fills.zeros_like(diagonal)), diagonal


# ---------------------------------------------------------------- bands of diagonals


def _band(k: Spec) -> tuple[int, int] | None:
    """The lowest and the uppermost diagonal; None where they are not known."""
    if k.rank is not None and k.rank > 1:
        raise ValueError(f"Shape must be at most rank 1 but is rank {k.rank}")
    if k.rank == 1 and k.shape not in ((1,), (2,), (UNKNOWN,)):
        raise Complaint(
            f"diag_index must be a vector with one or two elements, not of shape {shapes.show(k.shape)}"
        )
    known = known_ints(k)
    return None if known is None else _checked_band(known)


def _checked_band(k: list[int]) -> tuple[int, int]:
    if k[0] > k[-1]:
        raise Complaint(f"lower_diag_index must not be larger than upper_diag_index: {k[0]} > {k[-1]}")
    return k[0], k[-1]


def _longest(rows: Dim, columns: Dim, low: int, high: int) -> Any:
    """The length of the longest diagonal of a band."""
    return _shorter(rows + min(high, 0), columns - max(low, 0))


def _check_bounds(rows: Dim, columns: Dim, low: int, high: int) -> None:
    for name, d in (("lower", low), ("upper", high)):
        is_below = isinstance(rows, int) and d <= -max(rows, 1)
        if is_below or (isinstance(columns, int) and d >= max(columns, 1)):
            raise Complaint(
                f"{name}_diag_index is out of bound: {d}. It must be between -{rows} and {columns}, exclusive"
            )


def _packed_shape(batch: tuple[Dim, ...], low: int, high: int, length: Dim) -> tuple[Dim, ...]:
    """The shape of a band; a single diagonal has no dimension for its number."""
    return (*batch, length) if low == high else (*batch, high - low + 1, length)


def _diagonals(rows: int, columns: int, low: int, high: int) -> Iterator[tuple[int, Array, Array]]:
    """For each row of a band: its number, and the rows and columns of the matrix that its elements belong to."""
    for number, d in enumerate(range(high, low - 1, -1)):
        along = np.arange(max(min(rows + min(d, 0), columns - max(d, 0)), 0))
        yield number, along + max(-d, 0), along + max(d, 0)


MatrixDiagV2 = OpDef(
    "MatrixDiagV2",
    "diagonal: T, k: int32, num_rows: int32, num_cols: int32, padding_value: T -> output: T",
)


@MatrixDiagV2.shape
def _matrix_diag_v2_shape(
    diagonal: Spec, k: Spec, num_rows: Spec, num_cols: Spec, padding_value: Spec
) -> Shape:
    band = _band(k)
    if diagonal.shape is None or band is None:
        return None
    rank = 1 if band[0] == band[1] else 2
    if len(diagonal.shape) < rank:
        raise ValueError(f"Shape must be at least rank {rank} but is rank {len(diagonal.shape)}")
    batch = diagonal.shape[:-rank]
    asked = [known_value(size) for size in (num_rows, num_cols)]
    if None in asked:
        return (*batch, UNKNOWN, UNKNOWN)
    (rows,), (columns,) = (size or [] for size in asked)
    return (*batch, *_matrix_sizes(diagonal.shape, band, rows, columns))


def _matrix_sizes(
    diagonal: tuple[Dim, ...], band: tuple[int, int], rows: Dim, columns: Dim
) -> tuple[Any, Any]:
    """The rows and columns that a band of diagonals makes, where -1 asks for the fewest possible."""
    low, high = band
    count = high - low + 1
    if count > 1 and isinstance(diagonal[-2], int) and diagonal[-2] != count:
        raise Complaint(
            f"The number of rows of `diagonal`, {diagonal[-2]}, doesn't match the number of diagonals "
            f"from {low} to {high}"
        )
    fewest: tuple[Any, Any] = diagonal[-1] - min(high, 0), diagonal[-1] + max(low, 0)
    if rows == -1 and columns == -1:
        side = maximum(*fewest)
        return side, side
    found = fewest[0] if rows == -1 else rows, fewest[1] if columns == -1 else columns
    if not all(isinstance(size, int) for size in (*found, *fewest)):
        return found
    for name, size, least in zip(("num_rows", "num_cols"), found, fewest):
        if size < least:
            raise Complaint(f"{name} is too small: {size}, but the diagonals need {least}")
    if found[0] != fewest[0] and found[1] != fewest[1]:
        raise Complaint(
            "num_rows and num_cols are not consistent with lower_diag_index, upper_diag_index, and the length of "
            f"the given diagonals: num_rows = {found[0]} != {fewest[0]}, num_cols = {found[1]} != {fewest[1]}"
        )
    return found


@MatrixDiagV2.kernel
def _matrix_diag_v2_kernel(
    diagonal: Array, k: Array, num_rows: Array, num_cols: Array, padding_value: Array
) -> Array:
    low, high = _checked_band(k.ravel().tolist())
    packed = diagonal[..., None, :] if low == high else diagonal
    rows, columns = _matrix_sizes(packed.shape, (low, high), int(num_rows), int(num_cols))
    result = np.full((*packed.shape[:-2], rows, columns), padding_value, diagonal.dtype)
    for number, i, j in _diagonals(rows, columns, low, high):
        result[..., i, j] = packed[..., number, : i.size]
    return result


@MatrixDiagV2.gradient
def _matrix_diag_v2_gradient(op: Operation, dy: Tensor) -> tuple[Tensor | None, ...]:
    diagonal, k, *_ = op.inputs
    padding = structural.reduce_sum(MatrixSetDiagV2(dy, fills.zeros_like(diagonal), k))
    return MatrixDiagPartV2(dy, k, fills.zeros([], dy.dtype)), None, None, None, padding


def matrix_diag(
    diagonal: Any,
    name: str = "diag",
    k: Any = 0,
    num_rows: Any = -1,
    num_cols: Any = -1,
    padding_value: Any = 0,
) -> Tensor:
    """Matrices with the given diagonals.

    Args:
        diagonal: [..., n], or a band of them [..., count, n], see the module.
        name: the operation's name.
        k: which diagonal it is; or the lowest and the uppermost one of the band, a vector [2].
        num_rows: the number of rows m; the fewest possible by default.
        num_cols: the number of columns n, likewise; where neither is given the matrices are square.
        padding_value: what stands elsewhere.

    Returns:
        [..., m, n].

    Raises:
        ValueError: the sizes do not fit.
    """
    if (
        _is_main(k)
        and _is_default(num_rows, -1)
        and _is_default(num_cols, -1)
        and _is_default(padding_value, 0)
    ):
        return MatrixDiag(diagonal, name=name)
    diagonal = convert_to_tensor(diagonal, name="diagonal")
    return MatrixDiagV2(diagonal, k, num_rows, num_cols, _padding(padding_value, diagonal), name=name)


def _is_default(value: Any, default: int) -> bool:
    return isinstance(value, int) and value == default


def _is_main(k: Any) -> bool:
    return _is_default(k, 0)


def _padding(value: Any, like: Tensor) -> Any:
    """The padding in the dtype of what it stands beside; the default 0 means False among bools."""
    return bool(value) if like.spec.dtype is dtypes.bool_ and _is_default(value, 0) else value


MatrixDiagPartV2 = OpDef("MatrixDiagPartV2", "input: T, k: int32, padding_value: T -> diagonal: T")


@MatrixDiagPartV2.shape
def _matrix_diag_part_v2_shape(x: Spec, k: Spec, padding_value: Spec) -> Shape:
    dims, band = matrix_dims(x), _band(k)
    if dims is None or band is None:
        return None
    batch, rows, columns = dims
    _check_bounds(rows, columns, *band)
    return _packed_shape(batch, *band, _longest(rows, columns, *band))


@MatrixDiagPartV2.kernel
def _matrix_diag_part_v2_kernel(x: Array, k: Array, padding_value: Array) -> Array:
    low, high = _checked_band(k.ravel().tolist())
    rows, columns = x.shape[-2:]
    _check_bounds(rows, columns, low, high)
    longest = _longest(rows, columns, low, high)
    result = np.full((*x.shape[:-2], high - low + 1, longest), padding_value, x.dtype)
    for number, i, j in _diagonals(rows, columns, low, high):
        result[..., number, : i.size] = x[..., i, j]
    return result[..., 0, :] if low == high else result


@MatrixDiagPartV2.gradient
def _matrix_diag_part_v2_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    x, k, _ = op.inputs
    dx = MatrixSetDiagV2(fills.zeros_like(x), dy, k)
    # What did not come from the matrices is padding.
    return dx, None, structural.reduce_sum(dy) - structural.reduce_sum(dx)


def matrix_diag_part(input: Any, name: str = "diag_part", k: Any = 0, padding_value: Any = 0) -> Tensor:
    """Diagonals of matrices.

    Args:
        input: [..., m, n].
        name: the operation's name.
        k: which diagonal; or the lowest and the uppermost one of a band, a vector [2].
        padding_value: what fills up the shorter ones of a band.

    Returns:
        [..., length], or [..., count, length], see the module.

    Raises:
        ValueError: there is no such diagonal.
    """
    if _is_main(k) and _is_default(padding_value, 0):
        return MatrixDiagPart(input, name=name)
    x = convert_to_tensor(input, name="input")
    return MatrixDiagPartV2(x, k, _padding(padding_value, x), name=name)


MatrixSetDiagV2 = OpDef("MatrixSetDiagV2", "input: T, diagonal: T, k: int32 -> output: T")


@MatrixSetDiagV2.shape
def _matrix_set_diag_v2_shape(x: Spec, diagonal: Spec, k: Spec) -> Shape:
    dims, band = matrix_dims(x), _band(k)
    if dims is not None and band is not None:
        batch, rows, columns = dims
        _check_bounds(rows, columns, *band)
        shapes.merge(_packed_shape(batch, *band, _longest(rows, columns, *band)), diagonal.shape)
    return x.shape


@MatrixSetDiagV2.kernel
def _matrix_set_diag_v2_kernel(x: Array, diagonal: Array, k: Array) -> Array:
    low, high = _checked_band(k.ravel().tolist())
    rows, columns = x.shape[-2:]
    _check_bounds(rows, columns, low, high)
    wanted = _packed_shape(x.shape[:-2], low, high, _longest(rows, columns, low, high))
    if diagonal.shape != wanted:
        raise Complaint(
            f"diagonal must have the shape {shapes.show(wanted)}, but received input shape: "
            f"{shapes.show(x.shape)} and diagonal shape: {shapes.show(diagonal.shape)}"
        )
    packed = diagonal[..., None, :] if low == high else diagonal
    result = x.copy()
    for number, i, j in _diagonals(rows, columns, low, high):
        result[..., i, j] = packed[..., number, : i.size]
    return result


@MatrixSetDiagV2.gradient
def _matrix_set_diag_v2_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor, None]:
    _, diagonal, k = op.inputs
    dx = MatrixSetDiagV2(dy, fills.zeros_like(diagonal), k)
    return dx, MatrixDiagPartV2(dy, k, fills.zeros([], dy.dtype)), None


def matrix_set_diag(input: Any, diagonal: Any, name: str = "set_diag", k: Any = 0) -> Tensor:
    """Matrices with some diagonals replaced.

    Args:
        input: [..., m, n].
        diagonal: [..., length], or a band [..., count, length], see the module.
        name: the operation's name.
        k: which diagonal it is; or the lowest and the uppermost one of the band, a vector [2].

    Raises:
        ValueError: the shapes do not fit.
    """
    if _is_main(k):
        return MatrixSetDiag(input, diagonal, name=name)
    return MatrixSetDiagV2(input, diagonal, k, name=name)
