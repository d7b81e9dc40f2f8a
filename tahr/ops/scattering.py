"""Scattering into copies: TensorScatter, SparseToDense and one-hot codes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import as_array, convert_to_tensor, dtype_of
from tahr.core.dtypes import INDICES, NUMBERS, DType
from tahr.core.forms import Scattered
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops import elementwise, fills, joining, structural
from tahr.ops.indexing import check_scatter, combine_rows, gather_nd, scatter_rows

# ---------------------------------------------------------------- TensorScatter


_SCATTER = "tensor: T, indices: Tindices, updates: T -> output: T"


def _tensor_scatter_shape(tensor: Spec, indices: Spec, updates: Spec) -> Shape:
    check_scatter(indices.shape, updates.shape, tensor.shape)
    return tensor.shape


TensorScatterUpdate = OpDef(
    "TensorScatterUpdate", _SCATTER, types={"Tindices": INDICES}, form=Scattered("assign")
)
TensorScatterUpdate.shape(_tensor_scatter_shape)


@TensorScatterUpdate.kernel
def _tensor_scatter_update_kernel(tensor: Array, indices: Array, updates: Array) -> Array:
    result = tensor.copy()
    target, rows, values = scatter_rows(result, indices, updates)
    target[rows] = values
    return result


@TensorScatterUpdate.gradient
def _tensor_scatter_update_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    _, indices, updates = op.inputs
    kept = tensor_scatter_update(dy, indices, fills.zeros_like(updates))
    return kept, None, gather_nd(dy, indices)


def tensor_scatter_update(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """A copy of a tensor with slices replaced; of several updates of one slice the last stays.

    Args:
        tensor: [d1 ... dk, rest], of any dtype.
        indices: [..., k], int32 or int64.
        updates: [..., rest].

    Raises:
        ValueError: the shapes do not fit.  InvalidArgumentError: an index is out of range.
    """
    return TensorScatterUpdate(tensor, indices, updates, name=name)


def _combined(ufunc: np.ufunc, tensor: Array, indices: Array, updates: Array) -> Array:
    result = tensor.copy()
    combine_rows(ufunc, *scatter_rows(result, indices, updates))
    return result


TensorScatterAdd = OpDef(
    "TensorScatterAdd", _SCATTER, types={"T": NUMBERS, "Tindices": INDICES}, form=Scattered("add")
)
TensorScatterAdd.shape(_tensor_scatter_shape)


@TensorScatterAdd.kernel
def _tensor_scatter_add_kernel(tensor: Array, indices: Array, updates: Array) -> Array:
    return _combined(np.add, tensor, indices, updates)


@TensorScatterAdd.gradient
def _tensor_scatter_add_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    return dy, None, gather_nd(dy, op.inputs[1])


def tensor_scatter_add(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """A copy of a tensor with something added to slices; several updates of one slice add up.

    Args, Raises: as for `tensor_scatter_update`.
    """
    return TensorScatterAdd(tensor, indices, updates, name=name)


TensorScatterSub = OpDef(
    "TensorScatterSub", _SCATTER, types={"T": NUMBERS, "Tindices": INDICES}, form=Scattered("subtract")
)
TensorScatterSub.shape(_tensor_scatter_shape)


@TensorScatterSub.kernel
def _tensor_scatter_sub_kernel(tensor: Array, indices: Array, updates: Array) -> Array:
    return _combined(np.subtract, tensor, indices, updates)


@TensorScatterSub.gradient
def _tensor_scatter_sub_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    return dy, None, elementwise.negative(gather_nd(dy, op.inputs[1]))


def tensor_scatter_sub(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """A copy of a tensor with something subtracted from slices; several updates of one slice add up.

    Args, Raises: as for `tensor_scatter_update`.
    """
    return TensorScatterSub(tensor, indices, updates, name=name)


# ---------------------------------------------------------------- SparseToDense

SparseToDense = OpDef(
    "SparseToDense",
    "sparse_indices: Tindices, output_shape: Tindices, sparse_values: T, default_value: T -> dense: T",
    attrs={"validate_indices": True},
    types={"Tindices": INDICES},
)


@SparseToDense.shape
def _sparse_to_dense_shape(
    indices: Spec, output_shape: Spec, values: Spec, default: Spec, *, validate_indices: bool
) -> Shape:
    (rank,) = shapes.dims(output_shape.shape, 1)
    return shapes.from_value(output_shape.value, rank)


@SparseToDense.kernel
def _sparse_to_dense_kernel(
    indices: Array, output_shape: Array, values: Array, default: Array, *, validate_indices: bool
) -> Array:
    if indices.ndim > 2:
        raise Complaint(
            f"sparse_indices should be a scalar, vector, or matrix, got shape {shapes.show(indices.shape)}"
        )
    places = indices if indices.ndim == 2 else indices.reshape(-1, 1)
    count, rank = places.shape
    if output_shape.shape != (rank,):
        raise Complaint(
            f"output_shape has incorrect number of elements: {output_shape.size} should be: {rank}"
        )
    if values.shape not in ((), (count,)):
        raise Complaint(
            f"sparse_values has incorrect shape {shapes.show(values.shape)}, should be [] or [{count}]"
        )
    if default.ndim:
        raise Complaint("default_value should be a scalar.")
    _check_inside(places, output_shape)
    sizes: list[int] = output_shape.tolist()
    numbers = places @ np.array([math.prod(sizes[axis + 1 :]) for axis in range(rank)], np.int64)
    if validate_indices:
        _check_order(places, numbers)
    result = np.full(math.prod(sizes), default, values.dtype)
    # NumPy writes in the order of memory, which is to be that of the places: the last one stays.
    result[numbers] = np.ascontiguousarray(values)
    return result.reshape(sizes)


def _check_inside(places: Array, shape: Array) -> None:
    outside = ((places < 0) | (places >= shape)).any(axis=1)
    if outside.any():
        i = int(outside.argmax())
        raise Complaint(
            f"indices[{i}] = {shapes.show(tuple(places[i]))} is out of bounds: "
            f"need 0 <= index < {shapes.show(tuple(shape))}"
        )


def _check_order(places: Array, numbers: Array) -> None:
    """Places must be in lexicographic order, which is that of their flat numbers, without repetition."""
    falling = np.diff(numbers) <= 0
    if falling.any():
        i = int(falling.argmax()) + 1
        what = "is repeated" if numbers[i] == numbers[i - 1] else "is out of order"
        raise Complaint(f"indices[{i}] = {shapes.show(tuple(places[i]))} {what}")


@SparseToDense.gradient
def _sparse_to_dense_gradient(op: Operation, dy: Tensor) -> tuple[None, None, Tensor, Tensor]:
    indices, _, values, _ = op.inputs
    if indices.spec.rank != 2:
        rank = structural.size(op.inputs[1])
        indices = structural.reshape(indices, joining.stack([-1, rank]))
    taken = gather_nd(dy, indices)
    rest = elementwise.subtract(structural.reduce_sum(dy), structural.reduce_sum(taken))
    return None, None, structural.sum_to_shape(taken, values), rest


def sparse_to_dense(
    sparse_indices: Any,
    output_shape: Any,
    sparse_values: Any,
    default_value: Any = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """A tensor with given values at given places: `dense[sparse_indices[i]] = sparse_values[i]`.

    Args:
        sparse_indices: [n, rank], int32 or int64; for a vector also [n], or a scalar.
        output_shape: the result's shape, [rank].
        sparse_values: [n], or a scalar for all places.
        default_value: what stands elsewhere, a scalar.
        validate_indices: whether places must be in lexicographic order, without repetition. Otherwise the last value
            of a place stays.
        name: the operation's name.

    Raises:
        InvalidArgumentError: a place is outside of the shape, or out of order; or the shapes do not fit.
    """
    return SparseToDense(
        sparse_indices,
        output_shape,
        sparse_values,
        default_value,
        validate_indices=validate_indices,
        name=name,
    )


# ---------------------------------------------------------------- OneHot

OneHot = OpDef(
    "OneHot",
    "indices: TI, depth: int32, on_value: T, off_value: T -> output: T",
    attrs={"axis": -1},
    types={"TI": INDICES | {dtypes.uint8, dtypes.int8}},
)
OneHot.not_differentiable()


@OneHot.shape
def _one_hot_shape(indices: Spec, depth: Spec, on_value: Spec, off_value: Spec, *, axis: int) -> Shape:
    size: Dim = UNKNOWN if depth.value is None else depth.value.ravel()[0]
    if isinstance(size, int) and size < 0:
        raise Complaint(f"depth must be non-negative, got: {size}")
    if indices.shape is None:
        return None
    place = _one_hot_axis(axis, len(indices.shape))
    return (*indices.shape[:place], size, *indices.shape[place:])


def _one_hot_axis(axis: int, rank: int) -> int:
    if not -1 <= axis <= rank:
        raise Complaint(f"Expected axis to be -1 or between [0, {rank + 1}).  But received: {axis}")
    return rank if axis == -1 else axis


@OneHot.kernel
def _one_hot_kernel(indices: Array, depth: Array, on_value: Array, off_value: Array, *, axis: int) -> Array:
    size = int(depth)
    if size < 0:
        raise Complaint(f"depth must be non-negative, got: {size}")
    place = _one_hot_axis(axis, indices.ndim)
    before, after = indices.shape[:place], indices.shape[place:]
    result = np.full((math.prod(before), size, math.prod(after)), off_value, on_value.dtype)
    flat = indices.reshape(result.shape[0], result.shape[2]).astype(np.int64)
    rows, columns = np.nonzero((flat >= 0) & (flat < size))
    result[rows, flat[rows, columns], columns] = on_value
    return result.reshape(*before, size, *after)


@OneHot.expansion
def _one_hot_expansion(
    indices: Tensor, depth: Tensor, on_value: Tensor, off_value: Tensor, *, axis: int
) -> Tensor:
    wide = indices if indices.dtype in INDICES else elementwise.cast(indices, dtypes.int32)
    places = structural.range_(0, elementwise.cast(depth, wide.dtype), dtype=wide.dtype)
    if axis >= 0:
        behind = fills.fill(structural.expand_dims(structural.rank(indices) - axis, 0), 1)
        places = structural.reshape(places, joining.concat([[-1], behind], 0))
    is_on = elementwise.equal(structural.expand_dims(wide, axis), places)
    return elementwise.select_v2(is_on, on_value, off_value)


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """A tensor that is `on_value` where its place along a new axis is the index, and `off_value` elsewhere.

    Args:
        indices: [before, after], int32, int64, int8 or uint8. One outside [0, depth) gives only `off_value`.
        depth: the size of the new axis, an int32 scalar.
        on_value: a scalar; 1 by default.
        off_value: a scalar; 0 by default.
        axis: where the new axis goes; -1, the default, at the end.
        dtype: the result's type; that of the values, or float32, by default.
        name: the operation's name.

    Returns:
        [before, depth, after].

    Raises:
        TypeError: the values have different types, or not `dtype`.
        ValueError: the axis or depth is impossible.
    """
    with name_scope(name, "one_hot", [indices, depth, on_value, off_value, axis, dtype]) as scope:
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        for label, value in (("on_value", on_value), ("off_value", off_value)):
            found = None if value is None else _dtype_of_scalar(value)
            if found is not None and wanted is not None and found is not wanted:
                other = "dtype parameter" if dtype is not None else "dtype of on_value"
                raise TypeError(f"dtype {found.name} of {label} does not match {other} {wanted.name}")
            wanted = wanted or found
        wanted = wanted or dtypes.float32
        on_value = convert_to_tensor(1 if on_value is None else on_value, wanted, name="on_value")
        off_value = convert_to_tensor(0 if off_value is None else off_value, wanted, name="off_value")
        return OneHot(indices, depth, on_value, off_value, axis=-1 if axis is None else axis, name=scope)


def _dtype_of_scalar(value: Any) -> DType | None:
    known = dtype_of(value)
    return dtypes.of_numpy(as_array(value, None).dtype) if known is None else known
