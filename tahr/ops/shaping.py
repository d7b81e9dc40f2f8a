"""Operations on the shape of one tensor: shapes as tensors, reshape, expand_dims, squeeze.

Together with `identities`, `transposing`, `structural` and `joining` this file is closed under transposition: the
gradient of each op here is made of ops of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_int
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim, Unknown
from tahr.core.views import View
from tahr.errors import Complaint

# ---------------------------------------------------------------- helpers for public functions


def deprecated_argument(name: str, value: Any, old_name: str, old_value: Any) -> Any:
    """The value of an argument that has an older name as well.

    Raises:
        ValueError: both are given.
    """
    if old_value is None:
        return value
    if value is not None:
        raise ValueError(f"Cannot specify both '{old_name}' and '{name}'")
    return old_value


def static_shape(x: Tensor) -> tuple[int, ...] | None:
    """The shape of a tensor where every dimension is known as an integer, else None."""
    shape = x.spec.shape
    return shape if shapes.is_static(shape) else None  # pyright: ignore[reportReturnType]


def same_shape(x: Spec, *others: Spec, **attrs: Any) -> Shape:
    """The shape rule of ops whose output has the shape of the first input."""
    return x.shape


# ---------------------------------------------------------------- shapes as tensors

ShapeOp = OpDef("Shape", "input: T -> output: out_type", attrs={"out_type": dtypes.int32})
ShapeOp.not_differentiable()


@ShapeOp.shape
def _shape_shape(x: Spec, *, out_type: DType) -> Shape:
    return (UNKNOWN if x.shape is None else len(x.shape),)


@ShapeOp.value
def _shape_value(x: Spec, *, out_type: DType) -> Array | None:
    return None if x.shape is None else shapes.as_value(x.shape)


@ShapeOp.kernel
def _shape_kernel(x: Array, *, out_type: DType) -> Array:
    return np.array(x.shape, dtype=out_type.numpy)


def shape(
    input: Any, name: str | None = None, out_type: DType = dtypes.int32, optimize: bool = True
) -> Tensor:
    """The shape of a tensor, as a tensor.

    Args:
        input: any tensor.
        name: the operation's name.
        out_type: int32 or int64.
        optimize: whether it is a constant where the static shape is fully known.

    Returns:
        [rank] of `out_type`.
    """
    with name_scope(name, "Shape", [input]) as scope:
        x = convert.convert_to_tensor(input)
        known = static_shape(x)
        if optimize and known is not None:
            return convert.constant(np.array(known, dtype=out_type.numpy), name=scope)
        return ShapeOp(x, out_type=out_type, name=scope)


ShapeN = OpDef("ShapeN", "input: N*T -> output: N*out_type", attrs={"N": REQUIRED, "out_type": dtypes.int32})
ShapeN.not_differentiable()


@ShapeN.shape
def _shape_n_shape(*inputs: Spec, N: int, out_type: DType) -> list[Shape]:
    return [_shape_shape(x, out_type=out_type) for x in inputs]


@ShapeN.kernel
def _shape_n_kernel(*inputs: Array, N: int, out_type: DType) -> tuple[Array, ...]:
    return tuple(_shape_kernel(x, out_type=out_type) for x in inputs)


def shape_n(input: Sequence[Any], out_type: DType = dtypes.int32, name: str | None = None) -> list[Tensor]:
    """The shapes of tensors of one dtype, each [rank] of `out_type`."""
    return ShapeN(list(input), N=len(input), out_type=out_type, name=name)


SizeOp = OpDef("Size", "input: T -> output: out_type", attrs={"out_type": dtypes.int32})
SizeOp.not_differentiable()


@SizeOp.shape
def _size_shape(x: Spec, *, out_type: DType) -> Shape:
    return ()


@SizeOp.value
def _size_value(x: Spec, *, out_type: DType) -> Array:
    return shapes.as_value([shapes.num_elements(x.shape)]).reshape(())


@SizeOp.kernel
def _size_kernel(x: Array, *, out_type: DType) -> Array:
    return np.array(x.size, dtype=out_type.numpy)


def size(input: Any, name: str | None = None, out_type: DType = dtypes.int32) -> Tensor:
    """The number of elements of a tensor, a scalar of `out_type`; a constant where it is known."""
    with name_scope(name, "Size", [input]) as scope:
        x = convert.convert_to_tensor(input)
        known = static_shape(x)
        if known is not None:
            return convert.constant(np.array(math.prod(known), dtype=out_type.numpy), name=scope)
        return SizeOp(x, out_type=out_type, name=scope)


RankOp = OpDef("Rank", "input: T -> output: int32")
RankOp.not_differentiable()


@RankOp.shape
def _rank_shape(x: Spec) -> Shape:
    return ()


@RankOp.value
def _rank_value(x: Spec) -> Array | None:
    return None if x.rank is None else np.array(x.rank, dtype=object)


@RankOp.kernel
def _rank_kernel(x: Array) -> Array:
    return np.array(x.ndim, dtype=np.int32)


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of dimensions of a tensor, an int32 scalar; a constant where it is known."""
    with name_scope(name, "Rank", [input]) as scope:
        x = convert.convert_to_tensor(input)
        if x.spec.rank is not None:
            return convert.constant(x.spec.rank, dtypes.int32, name=scope)
        return RankOp(x, name=scope)


# ---------------------------------------------------------------- other shapes of the same elements

Reshape = OpDef("Reshape", "tensor: T, shape: Tshape -> output: T", types={"Tshape": dtypes.INDICES},
                form=MOVEMENT, aliases=(0,))  # fmt: skip


@Reshape.shape
def _reshape_shape(x: Spec, shape: Spec) -> Shape:
    (length,) = shapes.dims(shape.shape, 1)
    if shape.value is None:
        return shapes.from_value(None, length)
    target: list[Dim] = shape.value.ravel().tolist()
    _check_sizes(target)
    count = shapes.num_elements(x.shape)
    # One dimension that is left open, by -1 or because it is computed, follows from the others.
    gaps = [i for i, d in enumerate(target) if isinstance(d, Unknown) or d == -1]
    rest = shapes.num_elements(tuple(d for i, d in enumerate(target) if i not in gaps))
    if len(gaps) == 1:
        target[gaps[0]] = _missing_dim(count, rest)
    elif not gaps and isinstance(count, int) and isinstance(rest, int) and count != rest:
        raise Complaint(
            f"Cannot reshape a tensor with {count} elements to shape {shapes.show(tuple(target))} "
            f"({rest} elements)"
        )
    return tuple(UNKNOWN if isinstance(d, int) and d < 0 else d for d in target)


def _check_sizes(target: Sequence[Dim]) -> None:
    """Raises Complaint for a negative size, except for one -1."""
    for i, dim in enumerate(target):
        if isinstance(dim, int) and dim < -1:
            raise Complaint(f"Size {i} must be non-negative, not {dim}")
    if target.count(-1) > 1:
        raise Complaint("Only one input size may be -1")


def _missing_dim(count: Dim, rest: Dim) -> Dim:
    """The dimension that, times `rest`, makes `count` elements."""
    if isinstance(rest, int) and rest == 0:
        if isinstance(count, int) and count > 0:
            raise Complaint(f"Cannot reshape a tensor with {count} elements to 0 elements")
        return UNKNOWN
    if isinstance(count, int) and isinstance(rest, int) and count % rest:
        raise Complaint(
            f"Dimension size must be evenly divisible by {rest} but is {count}: "
            f"cannot reshape a tensor with {count} elements"
        )
    return count // rest


@Reshape.value
def _reshape_value(x: Spec, shape: Spec) -> Array | None:
    result = _reshape_shape(x, shape)
    if x.value is None or not shapes.is_static(result):
        return None
    return x.value.reshape(result)  # pyright: ignore[reportArgumentType, reportCallIssue]


@Reshape.kernel
def _reshape_kernel(x: Array, shape: Array) -> Array:
    target = shape.tolist()
    _check_sizes(target)
    rest = math.prod(d for d in target if d != -1)
    fits = x.size == rest if -1 not in target else rest > 0 and x.size % rest == 0
    if not fits:
        if -1 in target and rest == 0:
            raise Complaint(
                "reshape cannot infer the missing input size for an empty tensor unless all specified "
                "input sizes are non-zero"
            )
        if -1 in target:
            raise Complaint(
                f"Input to reshape is a tensor with {x.size} values, but the requested shape requires a "
                f"multiple of {rest}"
            )
        raise Complaint(
            f"Input to reshape is a tensor with {x.size} values, but the requested shape has {rest}"
        )
    return x.reshape(target)


@Reshape.view
def _reshape_view(x: View, *specs: Spec, outs: Sequence[Spec]) -> View | None:
    """Where sizes are symbols, who uses it has to see whether there are as many elements."""
    target = outs[0].shape or ()
    before, after = shapes.num_elements(x.shape), shapes.num_elements(target)
    surely_differ = isinstance(before, int) and isinstance(after, int) and before != after
    return x.reshaped(target) if x.is_known and not surely_differ else None


@Reshape.gradient
def _reshape_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return reshape(dy, shape(op.inputs[0])), None


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same elements, in row-major order, in another shape.

    Args:
        tensor: any tensor.
        shape: [rank], the new shape; at most one -1 stands for what remains.
        name: the operation's name.

    Raises:
        ValueError: the numbers of elements surely differ, or two sizes are -1.
    """
    return Reshape(tensor, shape, name=name)


ExpandDims = OpDef("ExpandDims", "input: T, dim: Tdim -> output: T", types={"Tdim": dtypes.INDICES},
                   form=MOVEMENT, aliases=(0,))  # fmt: skip


@ExpandDims.shape
def _expand_dims_shape(x: Spec, dim: Spec) -> Shape:
    if x.shape is None:
        return None
    axis = known_int(dim)
    if axis is None:
        return (UNKNOWN,) * (len(x.shape) + 1)
    axis = _new_axis(axis, len(x.shape))
    return (*x.shape[:axis], 1, *x.shape[axis:])


def _new_axis(axis: int, rank: int) -> int:
    """Where an axis is put into a tensor of `rank` dimensions, counted from the front."""
    if not -rank - 1 <= axis <= rank:
        raise Complaint(f"dim {axis} not in the interval [{-rank - 1}, {rank}].")
    return axis % (rank + 1)


@ExpandDims.value
def _expand_dims_value(x: Spec, dim: Spec) -> Array | None:
    axis = known_int(dim)
    return None if x.value is None or axis is None else np.expand_dims(x.value, axis)


@ExpandDims.kernel
def _expand_dims_kernel(x: Array, dim: Array) -> Array:
    if dim.size != 1:
        raise Complaint("'dim' must be a tensor with a single value")
    return np.expand_dims(x, _new_axis(int(dim.item()), x.ndim))


@ExpandDims.view
def _expand_dims_view(x: View, _: Spec, dim: Spec, *, outs: Sequence[Spec]) -> View | None:
    axis = known_int(dim)
    return None if axis is None else x.expanded(_new_axis(axis, len(x.shape)))


@ExpandDims.gradient
def _expand_dims_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return reshape(dy, shape(op.inputs[0])), None


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """The same elements with a new dimension of size 1.

    Args:
        input: any tensor.
        axis: where the new dimension is put, in [-rank - 1, rank].
        name: the operation's name.
        dim: the older name of `axis`.

    Raises:
        ValueError: neither or both of `axis` and `dim` are given, or it is out of range.
    """
    axis = deprecated_argument("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("Must specify an axis argument to tf.expand_dims()")
    return ExpandDims(input, axis, name=name)


Squeeze = OpDef("Squeeze", "input: T -> output: T", attrs={"squeeze_dims": ()}, form=MOVEMENT, aliases=(0,))


@Squeeze.shape
def _squeeze_shape(x: Spec, *, squeeze_dims: Sequence[int]) -> Shape:
    if x.shape is None:
        return None
    if not squeeze_dims:
        if not all(isinstance(d, int) or sizes.surely_above_one(d) for d in x.shape):
            return None
        return tuple(d for d in x.shape if d != 1)
    gone = {shapes.normalize_axis(axis, len(x.shape), "squeeze dimension") for axis in squeeze_dims}
    for axis in gone:
        _check_squeezable(axis, x.shape[axis])
    return tuple(d for i, d in enumerate(x.shape) if i not in gone)


def _check_squeezable(axis: int, dim: Dim) -> None:
    if sizes.surely_above_one(dim) or dim == 0:
        raise Complaint(f"Can not squeeze dim[{axis}], expected a dimension of 1, got {dim}")


@Squeeze.value
def _squeeze_value(x: Spec, *, squeeze_dims: Sequence[int]) -> Array | None:
    return None if x.value is None else np.squeeze(x.value, tuple(squeeze_dims) or None)


@Squeeze.kernel
def _squeeze_kernel(x: Array, *, squeeze_dims: Sequence[int]) -> Array:
    for axis in squeeze_dims:
        _check_squeezable(axis, x.shape[shapes.normalize_axis(axis, x.ndim, "squeeze dimension")])
    return np.squeeze(x, tuple({axis % x.ndim for axis in squeeze_dims}) or None)


@Squeeze.view
def _squeeze_view(x: View, *specs: Spec, outs: Sequence[Spec], squeeze_dims: Sequence[int]) -> View | None:
    if squeeze_dims:
        gone = [axis % len(x.shape) for axis in squeeze_dims]
        return x.without(gone) if all(x.shape[axis] == 1 for axis in gone) else None
    if not all(isinstance(d, int) or sizes.surely_above_one(d) for d in x.shape):
        return None
    return x.without([axis for axis, d in enumerate(x.shape) if d == 1])


@Squeeze.gradient
def _squeeze_gradient(op: Operation, dy: Tensor) -> Tensor:
    return reshape(dy, shape(op.inputs[0]))


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """The same elements without dimensions of size 1.

    Args:
        input: any tensor.
        axis: which dimensions to remove, an integer or a list; all of size 1 by default.
        name: the operation's name.
        squeeze_dims: the older name of `axis`.

    Raises:
        ValueError: a dimension to remove surely has another size.
    """
    axis = deprecated_argument("axis", axis, "squeeze_dims", squeeze_dims)
    axes = () if axis is None else tuple(int(a) for a in np.atleast_1d(axis))
    return Squeeze(input, squeeze_dims=axes, name=name)
