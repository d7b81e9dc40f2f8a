"""Tensors of one number: fill, zeros, ones; and evenly spaced numbers: tf.linspace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT, Elementwise
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.core.tensor_shapes import TensorShape
from tahr.core.views import View
from tahr.errors import Complaint
from tahr.ops import scalars_arithmetic
from tahr.ops.shaping import reshape, shape, static_shape
from tahr.ops.structural import reduce_sum

Fill = OpDef("Fill", "dims: index_type, value: T -> output: T", types={"index_type": dtypes.INDICES},
              form=MOVEMENT)  # fmt: skip


@Fill.shape
def _fill_shape(dims: Spec, value: Spec) -> Shape:
    (length,) = shapes.dims(dims.shape, 1)
    shapes.dims(value.shape, 0)
    if dims.value is not None:
        _check_fill(dims.value.tolist())
    return shapes.from_value(dims.value, length)


def _check_fill(target: Sequence[Dim]) -> None:
    for i, dim in enumerate(target):
        if isinstance(dim, int) and dim < 0:
            raise Complaint(f"Dimension {dim} must be >= 0: dims[{i}] of the tensor to fill")


@Fill.value
def _fill_value(dims: Spec, value: Spec) -> Array | None:
    target = known_ints(dims)
    if target is None or value.value is None or math.prod(target) > shapes.MAX_VALUE_SIZE:
        return None
    return np.full(target, value.value.item(), dtype=object)


@Fill.kernel
def _fill_kernel(dims: Array, value: Array) -> Array:
    target = dims.tolist()
    _check_fill(target)
    return np.full(target, value, dtype=value.dtype)


@Fill.view(of=1)
def _fill_view(x: View, *specs: Spec, outs: Sequence[Spec]) -> View | None:
    target = outs[0].shape or ()
    return x.broadcast(target) if all(sizes.surely_at_most(0, d) for d in target) else None


@Fill.gradient
def _fill_gradient(op: Operation, dy: Tensor) -> tuple[None, Tensor]:
    return None, reduce_sum(dy)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor all of whose elements are one value.

    Args:
        dims: [rank], its shape.
        value: a scalar.
        name: the operation's name.
    """
    return Fill(dims, value, name=name)


# Larger constants would be stored in the graph; a Fill makes them when they are needed. TensorFlow's limit.
_LARGEST_CONSTANT = 1000


def _filled(shape: Any, value: Any, dtype: DType, scope: str) -> Tensor:
    """The constant, or the Fill where the shape is large or not known, behind `zeros` and `ones`."""
    if not isinstance(shape, Tensor):
        count = _static_count(shape)
        if count is not None and count < _LARGEST_CONSTANT:
            return convert.constant(value, dtype, shape=shape, name=scope)
        name = None if count is None else "shape_as_tensor"
        shape = convert.convert_to_tensor(shape, dtypes.int32, name=name)
    if shape.spec.rank != 1:
        shape = reshape(shape, [-1])
    return fill(shape, convert.constant(value, dtype), name=scope)


def _static_count(shape: Any) -> int | None:
    """The number of elements of a shape that users wrote, or None where it is not of plain integers."""
    try:
        return TensorShape(shape).num_elements()
    except (TypeError, ValueError):
        return None


def _zero_of(dtype: DType) -> Any:
    return b"" if dtype is dtypes.string else False if dtype is dtypes.bool_ else 0


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of zeros (False, empty strings).

    Args:
        shape: its shape: integers, a TensorShape, or an int32 tensor.
        dtype: the type of its elements.
        name: the operation's name.
    """
    dtype = dtypes.as_dtype(dtype).base_dtype
    with name_scope(name, "zeros", [shape]) as scope:
        return _filled(shape, _zero_of(dtype), dtype, scope)


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of ones (True).

    Args:
        shape: its shape: integers, a TensorShape, or an int32 tensor.
        dtype: the type of its elements.
        name: the operation's name.
    """
    dtype = dtypes.as_dtype(dtype).base_dtype
    with name_scope(name, "ones", [shape]) as scope:
        return _filled(shape, True if dtype is dtypes.bool_ else 1, dtype, scope)


ZerosLike = OpDef("ZerosLike", "x: T -> y: T", form=Elementwise(scalar=scalars_arithmetic.zeros_like))
ZerosLike.not_differentiable()


@ZerosLike.kernel
def _zeros_like_kernel(x: Array) -> Array:
    return np.full(x.shape, b"", dtype=object) if x.dtype.kind == "O" else np.zeros(x.shape, x.dtype)


OnesLike = OpDef("OnesLike", "x: T -> y: T", types={"T": dtypes.NUMBERS | {dtypes.bool_}},
                 form=Elementwise(scalar=scalars_arithmetic.ones_like))  # fmt: skip
OnesLike.not_differentiable()


@OnesLike.kernel
def _ones_like_kernel(x: Array) -> Array:
    return np.ones(x.shape, x.dtype)


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Zeros in the shape of another tensor.

    Args:
        tensor: any tensor.
        dtype: the type of the zeros; that of `tensor` by default.
        name: the operation's name.
        optimize: whether they are a constant where the static shape is fully known.
    """
    with name_scope(name, "zeros_like", [tensor]) as scope:
        x = convert.convert_to_tensor(tensor, name="tensor")
        wanted = x.spec.dtype if dtype is None else dtypes.as_dtype(dtype).base_dtype
        known = static_shape(x)
        if optimize and known is not None and wanted is not None:
            return zeros(known, wanted, name=scope)
        if wanted is not None and wanted is not x.spec.dtype:
            return zeros(shape(x, optimize=optimize), wanted, name=scope)
        return ZerosLike(x, name=scope)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Ones in the shape of another tensor.

    Args:
        tensor: any tensor.
        dtype: the type of the ones; that of `tensor` by default.
        name: the operation's name.
        optimize: whether they are a constant where the static shape is fully known.
    """
    with name_scope(name, "ones_like", [tensor]) as scope:
        x = convert.convert_to_tensor(tensor, name="tensor")
        wanted = x.spec.dtype if dtype is None else dtypes.as_dtype(dtype).base_dtype
        if wanted is None:
            return OnesLike(x, name=scope)
        known = static_shape(x) if optimize else None
        y = ones(shape(x, optimize=optimize) if known is None else known, wanted, name=scope)
        y.set_shape(x.spec.shape)
        return y


LinSpace = OpDef("LinSpace", "start: T, stop: T, num: Tidx -> output: T",
                 types={"T": dtypes.FLOATS, "Tidx": dtypes.INDICES})  # fmt: skip
LinSpace.not_differentiable()


@LinSpace.shape
def _linspace_shape(start: Spec, stop: Spec, num: Spec) -> Shape:
    for arg in (start, stop, num):
        shapes.dims(arg.shape, 0)
    count: Dim = UNKNOWN if num.value is None else num.value.item()
    if isinstance(count, int) and count <= 0:
        raise Complaint(f"Requires num > 0: {count}")
    return (count,)


@LinSpace.kernel
def _linspace_kernel(start: Array, stop: Array, num: Array) -> Array:
    count = int(num)
    if count <= 0:
        raise Complaint(f"Requires num > 0: {count}")
    dtype = start.dtype
    if count == 1:
        return start.reshape(1).copy()
    step = (stop - start) / np.asarray(count - 1, dtype=dtype)
    points = start + step * np.arange(count, dtype=dtype)
    points[-1] = stop  # rounding must not move the end
    return points.astype(dtype)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` numbers from start to stop, both included, at equal distances.

    Args:
        start: a floating-point scalar.
        stop: likewise.
        num: an integer scalar, at least 1.
        name: the operation's name.

    Returns:
        [num], of the dtype of `start`.
    """
    return LinSpace(start, stop, num, name=name)
