"""Operations on the structure of tensors: broadcasting, and its adjoint the sum.

The names of `shaping`, `identities`, `transposing` and `ranges`, which are about one tensor, are names of this module
as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes, tensor_shapes
from tahr.core.forms import MOVEMENT, Elementwise, Reduction
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_ints
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.core.tensor_shapes import TensorShape
from tahr.core.views import View
from tahr.errors import Complaint
from tahr.ops import scalars_arithmetic
from tahr.ops.identities import (
    EnsureShape as EnsureShape,
    GuaranteeConst as GuaranteeConst,
    Identity as Identity,
    IdentityN as IdentityN,
    PreventGradient as PreventGradient,
    StopGradient as StopGradient,
    ensure_shape as ensure_shape,
    guarantee_const as guarantee_const,
    identity as identity,
    identity_n as identity_n,
    prevent_gradient as prevent_gradient,
    same_place as same_place,
    stop_gradient as stop_gradient,
)
from tahr.ops.ranges import Range as Range, range_ as range_
from tahr.ops.shaping import (
    ExpandDims as ExpandDims,
    RankOp as RankOp,
    Reshape as Reshape,
    ShapeN as ShapeN,
    ShapeOp as ShapeOp,
    SizeOp as SizeOp,
    Squeeze as Squeeze,
    deprecated_argument as deprecated_argument,
    expand_dims as expand_dims,
    rank as rank,
    reshape as reshape,
    same_shape as same_shape,
    shape as shape,
    shape_n as shape_n,
    size as size,
    squeeze as squeeze,
    static_shape as static_shape,
)
from tahr.ops.transposing import (
    ConjugateTranspose as ConjugateTranspose,
    InvertPermutation as InvertPermutation,
    ReverseV2 as ReverseV2,
    Transpose as Transpose,
    invert_permutation as invert_permutation,
    matrix_transpose as matrix_transpose,
    reverse as reverse,
    transpose as transpose,
    unique_axes as unique_axes,
)

# ---------------------------------------------------------------- broadcasting, and its adjoint the sum

BroadcastTo = OpDef("BroadcastTo", "input: T, shape: Tidx -> output: T", types={"Tidx": dtypes.INDICES},
                    form=MOVEMENT, aliases=(0,))  # fmt: skip


@BroadcastTo.shape
def _broadcast_to_shape(x: Spec, shape: Spec) -> Shape:
    (length,) = shapes.dims(shape.shape, 1)
    target = shapes.from_value(shape.value, length)
    if x.shape is not None and target is not None:
        wide = shapes.broadcast(x.shape, target)
        if wide is None or len(wide) > len(target) or not shapes.compatible(wide, target):
            raise Complaint(f"Incompatible shapes: {shapes.show(x.shape)} vs. {shapes.show(target)}")
    return target


@BroadcastTo.kernel
def _broadcast_to_kernel(x: Array, shape: Array) -> Array:
    try:
        return np.broadcast_to(x, tuple(shape.tolist()))
    except ValueError:
        raise Complaint(f"Incompatible shapes: {list(x.shape)} vs. {shape.tolist()}") from None


@BroadcastTo.view
def _broadcast_to_view(x: View, *specs: Spec, outs: Sequence[Spec]) -> View | None:
    target = outs[0].shape or ()
    lead = len(target) - len(x.shape)
    fits = all(
        sizes.surely_at_most(0, wide) and (narrow == 1 or sizes.surely_equal(narrow, wide))
        for wide, narrow in zip(target, (1,) * lead + x.shape)
    )
    return x.broadcast(target) if lead >= 0 and fits else None


@BroadcastTo.gradient
def _broadcast_to_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return sum_to_shape(dy, op.inputs[0]), None


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor repeated along dimensions of size 1, and along new ones in front, to a wider shape.

    Args:
        input: any tensor.
        shape: [rank], the wider shape.
        name: the operation's name.

    Raises:
        ValueError: the shapes surely do not fit.
    """
    return BroadcastTo(input, shape, name=name)


Sum = OpDef("Sum", "input: T, reduction_indices: Tidx -> output: T", attrs={"keep_dims": False},
            types={"T": dtypes.NUMBERS, "Tidx": dtypes.INDICES}, form=Reduction("add", 0))  # fmt: skip


@Sum.shape
def _sum_shape(x: Spec, axes: Spec, *, keep_dims: bool) -> Shape:
    return shapes.reduced(x.shape, axes.value, keep_dims)


@Sum.kernel
def _sum_kernel(x: Array, axes: Array, *, keep_dims: bool) -> Array:
    over = unique_axes(axes.ravel().tolist(), x.ndim)
    # NumPy widens small integers when it sums; TensorFlow keeps the input's dtype. It adds 16-bit floats in
    # 32 bits.
    accumulator = np.float32 if dtypes.is_half(x.dtype) else x.dtype
    total = np.add.reduce(x, axis=over, keepdims=keep_dims, dtype=accumulator)
    return np.asarray(total, dtype=x.dtype)


@Sum.gradient
def _sum_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    x, axes = op.inputs
    if not op.attrs["keep_dims"] and not _are_leading(axes):
        dy = reshape(dy, kept_shape(x, axes))
    return broadcast_to(dy, shape(x)), None


def _are_leading(axes: Tensor) -> bool:
    """Whether axes are surely 0, 1, ... k-1: those that broadcasting restores by itself."""
    known = convert.constant_value(axes)
    return known is not None and sorted(known.ravel().tolist()) == list(range(known.size))


def reduce_sum(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The sums over some dimensions; 0 where there is nothing to add.

    Args:
        input_tensor: numbers of any shape.
        axis: the dimensions to sum over, an integer or a list; all by default.
        keepdims: whether they stay, with size 1.
        name: the operation's name.
        reduction_indices: the older name of `axis`.
        keep_dims: the older name of `keepdims`.

    Raises:
        ValueError: an axis is out of range, or both names of an argument are given.
    """
    axis = deprecated_argument("axis", axis, "reduction_indices", reduction_indices)
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    x = convert.convert_to_tensor(input_tensor, name="input_tensor")
    return reduced_to_scalar(Sum(x, all_axes(x, axis), keep_dims=keepdims, name=name), axis, keepdims)


def all_axes(x: Tensor, axis: Any) -> Any:
    """What a reduction takes as its axes: `axis`, or those of all dimensions where it is None."""
    if axis is not None:
        return axis
    if x.spec.rank is not None:
        return convert.constant(np.arange(x.spec.rank, dtype=np.int32))
    return range_(0, rank(x))


def reduced_to_scalar(y: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """The result of a reduction, known to be a scalar where it went over all dimensions."""
    if axis is None and not keepdims:
        y.set_shape(())
    return y


ReducedShape = OpDef("ReducedShape", "input_shape: T, axes: Tidx -> output_shape: T",
                     types={"T": dtypes.INDICES, "Tidx": dtypes.INDICES})  # fmt: skip
ReducedShape.shape(same_shape)
ReducedShape.not_differentiable()


@ReducedShape.value
def _reduced_shape_value(input_shape: Spec, axes: Spec) -> Array | None:
    over = known_ints(axes)
    if input_shape.value is None or over is None:
        return None
    return _reduced_shape_kernel(input_shape.value, np.array(over, dtype=np.int64))


@ReducedShape.kernel
def _reduced_shape_kernel(input_shape: Array, axes: Array) -> Array:
    kept = input_shape.copy()
    kept[axes.astype(np.int64)] = 1
    return kept


def kept_shape(x: Tensor, axes: Tensor) -> Any:
    """The shape that a reduction of `x` has with keepdims=True: an array where it is known, else a tensor."""
    known, over = static_shape(x), convert.constant_value(axes)
    if known is None or over is None:
        return ReducedShape(shape(x), axes)
    return _reduced_shape_kernel(np.array(known, dtype=np.int32), over)


SumToShape = OpDef("SumToShape", "input: T, shape: Tidx -> output: T",
                   types={"T": dtypes.NUMBERS, "Tidx": dtypes.INDICES})  # fmt: skip


@SumToShape.shape
def _sum_to_shape_shape(x: Spec, shape: Spec) -> Shape:
    (length,) = shapes.dims(shape.shape, 1)
    return shapes.from_value(shape.value, length)


@SumToShape.kernel
def _sum_to_shape_kernel(x: Array, shape: Array) -> Array:
    target = tuple(shape.tolist())
    axes = summed_axes(x.shape, target)
    if axes is None:
        raise Complaint(
            f"Incompatible shapes: {list(x.shape)} is not {list(target)} made wider by broadcasting"
        )
    return _sum_kernel(x, np.array(axes, dtype=np.int64), keep_dims=False).reshape(target)


@SumToShape.gradient
def _sum_to_shape_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return broadcast_to(dy, shape(op.inputs[0])), None


def summed_axes(wide: Shape, narrow: Shape) -> tuple[int, ...] | None:
    """The axes of `wide` to sum over to undo the broadcasting of `narrow` to it.

    Returns:
        None where that depends on sizes that are not known, or where `narrow` does not broadcast to `wide`.
    """
    if wide is None or narrow is None or len(narrow) > len(wide):
        return None
    lead = len(wide) - len(narrow)
    axes = list(range(lead))
    for axis in range(lead, len(wide)):
        repeated = _is_repeated(wide[axis], narrow[axis - lead])
        if repeated is None:
            return None
        if repeated:
            axes.append(axis)
    return tuple(axes)


def _is_repeated(wide: Dim, narrow: Dim) -> bool | None:
    """Whether a dimension of size `narrow` was repeated to size `wide`; None where that is not known."""
    if sizes.surely_equal(wide, narrow):
        return False
    if isinstance(narrow, int):
        # Only 1 is repeated. Another size must be that of `wide`, if that is not known.
        return True if narrow == 1 else None if isinstance(wide, int) else False
    return False if wide == 1 or sizes.surely_above_one(narrow) else None


def sum_to_shape(grad: Any, x: Tensor) -> Tensor:
    """The adjoint of broadcasting: a gradient summed over the dimensions along which `x` was repeated.

    Args:
        grad: a gradient with the shape that `x` was broadcast to.
        x: the tensor that was broadcast.

    Returns:
        `grad` itself where nothing was broadcast, else a tensor with the shape of `x`.
    """
    wide, narrow = convert.convert_to_tensor(grad), x.spec.shape
    axes = summed_axes(wide.spec.shape, narrow)
    if axes is None:
        return SumToShape(wide, shape(x))
    if not axes:
        return wide
    assert wide.spec.shape is not None and narrow is not None
    lead = len(wide.spec.shape) - len(narrow)
    if lead == 0 or lead == len(axes):
        return reduce_sum(wide, list(axes), keepdims=lead == 0)
    return reshape(reduce_sum(wide, list(axes)), shape(x))


BroadcastArgs = OpDef("BroadcastArgs", "s0: T, s1: T -> r0: T", types={"T": dtypes.INDICES})
BroadcastArgs.not_differentiable()


@BroadcastArgs.shape
def _broadcast_args_shape(s0: Spec, s1: Spec) -> Shape:
    (a,), (b,) = shapes.dims(s0.shape, 1), shapes.dims(s1.shape, 1)
    return (sizes.maximum(a, b),)


@BroadcastArgs.value
def _broadcast_args_value(s0: Spec, s1: Spec) -> Array | None:
    if s0.value is None or s1.value is None:
        return None
    wide = shapes.broadcast(shapes.from_value(s0.value), shapes.from_value(s1.value))
    return None if wide is None else shapes.as_value(wide)


@BroadcastArgs.kernel
def _broadcast_args_kernel(s0: Array, s1: Array) -> Array:
    try:
        return np.array(np.broadcast_shapes(tuple(s0.tolist()), tuple(s1.tolist())), dtype=s0.dtype)
    except ValueError:
        raise Complaint(f"Incompatible shapes: {s0.tolist()} vs. {s1.tolist()}") from None


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Tensor:
    """The shape, as a tensor, that two shapes given as tensors broadcast to."""
    return BroadcastArgs(shape_x, shape_y)


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The `TensorShape` that two shapes broadcast to.

    Raises:
        ValueError: they do not.
    """
    return TensorShape(shapes.broadcast(tensor_shapes.as_shape(shape_x), tensor_shapes.as_shape(shape_y)))


BroadcastGradientArgs = OpDef(
    "BroadcastGradientArgs", "s0: T, s1: T -> r0: T, r1: T", types={"T": dtypes.INDICES}
)
BroadcastGradientArgs.not_differentiable()


@BroadcastGradientArgs.shape
def _broadcast_gradient_args_shape(s0: Spec, s1: Spec) -> list[Shape]:
    return [(UNKNOWN,), (UNKNOWN,)]


@BroadcastGradientArgs.kernel
def _broadcast_gradient_args_kernel(s0: Array, s1: Array) -> tuple[Array, Array]:
    wide = _broadcast_args_kernel(s0, s1)
    a, b = (np.concatenate([np.ones(wide.size - s.size, s.dtype), s]) for s in (s0, s1))
    lead_a, lead_b = (np.arange(wide.size) < wide.size - s.size for s in (s0, s1))
    # As in TensorFlow, a dimension of size 1 on both sides counts as summed in both.
    over = (np.flatnonzero(lead | (s == 1)) for lead, s in ((lead_a, a), (lead_b, b)))
    first, second = (axes.astype(s0.dtype) for axes in over)
    return first, second


# ---------------------------------------------------------------- the sum of tensors

AddN = OpDef(
    "AddN",
    "inputs: N*T -> sum: T",
    types={"T": dtypes.NUMBERS},
    form=Elementwise(scalar=scalars_arithmetic.add_n),
)


@AddN.shape
def _add_n_shape(*inputs: Spec) -> Shape:
    return common_shape(inputs)


def common_shape(inputs: Sequence[Spec]) -> Shape:
    """The shape that all inputs must have. Raises Complaint where two surely differ."""
    result: Shape = None
    for x in inputs:
        try:
            result = shapes.merge(result, x.shape)
        except ValueError:
            raise _unequal(result or (), x.shape or ()) from None
    return result


def _unequal(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> Complaint:
    if len(a) != len(b):
        return Complaint(f"Shapes must be equal rank, but are {len(a)} and {len(b)}")
    axis = next(i for i, (d, e) in enumerate(zip(a, b)) if not shapes.compatible((d,), (e,)))
    return Complaint(
        f"Dimension {axis} in both shapes must be equal, but are {a[axis]} and {b[axis]}. "
        f"Shapes are {shapes.show(a)} and {shapes.show(b)}"
    )


@AddN.kernel
def _add_n_kernel(*inputs: Array) -> Array:
    for x in inputs[1:]:
        if x.shape != inputs[0].shape:
            raise Complaint(
                f"Inputs to operation AddN must have the same size and shape. "
                f"Input 0: {list(inputs[0].shape)} != input {list(x.shape)}"
            )
    total = inputs[0].copy()
    for x in inputs[1:]:
        total += x
    return total


@AddN.gradient
def _add_n_gradient(op: Operation, dy: Tensor) -> list[Tensor]:
    return [dy] * len(op.inputs)


def add_n(inputs: Sequence[Any], name: str | None = None) -> Tensor:
    """The sum of tensors of one shape and dtype.

    Args:
        inputs: tensors; IndexedSlices among them are made dense.
        name: the operation's name.

    Raises:
        ValueError: there is none, or their shapes differ.
    """
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise ValueError(
            "inputs must be a list of at least one Tensor/IndexedSlices with the same dtype and shape"
        )
    tensors = [convert.convert_to_tensor(x) for x in inputs]
    if len(tensors) == 1:
        return tensors[0] if name is None else identity(tensors[0], name=name)
    return AddN(tensors, name=name)
