"""Operations on the shape of one tensor, and on the order of its elements: reshape, transpose, reverse.

Together with `structural` and `joining` this file is closed under transposition: the gradient of each op here
is made of ops of the three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import IOTA, MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_int, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec, TensorShape
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


# ---------------------------------------------------------------- the same values


def same_place(x: View, *specs: Spec, **_: Any) -> View:
    """The view rule of ops whose output is their input."""
    return x


Identity = OpDef("Identity", "input: T -> output: T", form=MOVEMENT, aliases=(0,), shape_math=True)
Identity.shape(same_shape)
Identity.items(lambda x: x.items)


@Identity.kernel
def _identity_kernel(x: Array) -> Array:
    return x


Identity.view(same_place)


@Identity.gradient
def _identity_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy


# So that the gradient of rows gathered from a variable stays sparse on its way through the variable's read.
Identity.gradient_takes_slices = True


def identity(input: Any, name: str | None = None) -> Tensor:
    """A tensor with the same values, of the same shape."""
    return Identity(input, name=name)


IdentityN = OpDef("IdentityN", "input: [T] -> output: [T]", attrs={"T": REQUIRED}, form=MOVEMENT)


@IdentityN.shape
def _identity_n_shape(*inputs: Spec, T: list[DType]) -> list[Shape]:
    return [x.shape for x in inputs]


@IdentityN.kernel
def _identity_n_kernel(*inputs: Array, T: list[DType]) -> tuple[Array, ...]:
    return tuple(x.copy() for x in inputs)


@IdentityN.expansion
def _identity_n_expansion(*inputs: Tensor, T: list[DType]) -> list[Tensor]:
    return [identity(x) for x in inputs]


@IdentityN.gradient
def _identity_n_gradient(op: Operation, *dys: Tensor) -> Sequence[Tensor]:
    return dys


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Tensor]:
    """Tensors with the same values, all of one operation."""
    tensors = [convert.convert_to_tensor(x) for x in input]
    return IdentityN(tensors, T=[x.spec.dtype for x in tensors], name=name)


StopGradient = OpDef("StopGradient", "input: T -> output: T", form=MOVEMENT, aliases=(0,), shape_math=True)
StopGradient.shape(same_shape)
StopGradient.kernel(_identity_kernel)
StopGradient.view(same_place)
StopGradient.not_differentiable()


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """The same values, taken for constants when gradients are computed."""
    return StopGradient(input, name=name)


PreventGradient = OpDef(
    "PreventGradient", "input: T -> output: T", attrs={"message": ""}, form=MOVEMENT, aliases=(0,)
)
PreventGradient.shape(same_shape)
PreventGradient.view(same_place)


@PreventGradient.kernel
def _prevent_gradient_kernel(x: Array, *, message: str) -> Array:
    return x


@PreventGradient.gradient
def _prevent_gradient_gradient(op: Operation, dy: Tensor) -> None:
    raise LookupError(f"Gradient explicitly disabled. Reason: {op.attrs['message']}.")


def prevent_gradient(input: Any, message: str = "", name: str | None = None) -> Tensor:
    """The same values; computing a gradient through them raises LookupError with `message`."""
    return PreventGradient(input, message=message, name=name)


GuaranteeConst = OpDef("GuaranteeConst", "input: T -> output: T", form=MOVEMENT, aliases=(0,))
GuaranteeConst.shape(same_shape)
GuaranteeConst.kernel(_identity_kernel)
GuaranteeConst.view(same_place)
GuaranteeConst.not_differentiable()


def guarantee_const(input: Any, name: str | None = None) -> Tensor:
    """The same values, which the caller promises never change."""
    return GuaranteeConst(input, name=name)


EnsureShape = OpDef(
    "EnsureShape", "input: T -> output: T", attrs={"shape": REQUIRED}, form=MOVEMENT, aliases=(0,)
)


@EnsureShape.shape
def _ensure_shape_shape(x: Spec, *, shape: TensorShape) -> Shape:
    return shapes.merge(x.shape, shape.raw)


@EnsureShape.kernel
def _ensure_shape_kernel(x: Array, *, shape: TensorShape) -> Array:
    if not shapes.compatible(x.shape, shape.raw):
        raise Complaint(
            f"Shape of tensor {shapes.show(x.shape)} is not compatible with expected shape "
            f"{shapes.show(shape.raw)}."
        )
    return x


@EnsureShape.view
def _ensure_shape_view(x: View, *specs: Spec, outs: Sequence[Spec], shape: TensorShape) -> View | None:
    wanted = shapes.dims(shape.raw, len(x.shape))
    fits = all(isinstance(w, Unknown) or sizes.surely_equal(d, w) for d, w in zip(x.shape, wanted))
    return x if fits else None


@EnsureShape.gradient
def _ensure_shape_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same values; a run raises InvalidArgumentError unless they have a shape that `shape` describes.

    Args:
        x: the tensor.
        shape: a possibly partial shape, which the result is known to have.

    Raises:
        ValueError: the static shape contradicts `shape`.
    """
    return EnsureShape(x, shape=TensorShape(shape), name=name)


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


# ---------------------------------------------------------------- orders of the same elements

Transpose = OpDef("Transpose", "x: T, perm: Tperm -> y: T", types={"Tperm": dtypes.INDICES},
                  form=MOVEMENT, aliases=(0,))  # fmt: skip


@Transpose.shape
def _transpose_shape(x: Spec, perm: Spec) -> Shape:
    if perm.shape is not None:
        (length,) = shapes.dims(perm.shape, 1)
        if x.shape is None:
            return (UNKNOWN,) * length if isinstance(length, int) else None
        if isinstance(length, int) and length != len(x.shape):
            raise Complaint(
                f"Dimension must be {len(x.shape)} but is {length}: perm has one entry a dimension"
            )
    if x.shape is None:
        return None
    order = known_ints(perm)
    if order is None:
        return (UNKNOWN,) * len(x.shape)
    _check_permutation(order)
    return tuple(x.shape[axis] for axis in order)


def _check_permutation(perm: Sequence[int]) -> None:
    for axis in perm:
        if not -len(perm) <= axis < len(perm):
            raise Complaint(f"perm dim {axis} is out of range of input rank {len(perm)}")
    if len({axis % len(perm) for axis in perm}) != len(perm):
        raise Complaint(f"perm {list(perm)} is not a permutation: a dimension occurs twice")


@Transpose.kernel
def _transpose_kernel(x: Array, perm: Array) -> Array:
    if perm.size != x.ndim:
        raise Complaint(
            f"transpose expects a vector of size {x.ndim}. But input(1) is a vector of size {perm.size}"
        )
    order = perm.tolist()
    _check_permutation(order)
    return x.transpose(order)


@Transpose.view
def _transpose_view(x: View, _: Spec, perm: Spec, *, outs: Sequence[Spec]) -> View | None:
    order = known_ints(perm)
    return None if order is None else x.transposed(order)


@Transpose.gradient
def _transpose_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return transpose(dy, _inverse(op.inputs[1])), None


ConjugateTranspose = OpDef("ConjugateTranspose", "x: T, perm: Tperm -> y: T", types={"Tperm": dtypes.INDICES})
ConjugateTranspose.shape(_transpose_shape)


@ConjugateTranspose.kernel
def _conjugate_transpose_kernel(x: Array, perm: Array) -> Array:
    return np.conj(_transpose_kernel(x, perm))


@ConjugateTranspose.gradient
def _conjugate_transpose_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return transpose(dy, _inverse(op.inputs[1]), conjugate=True), None


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """The dimensions of a tensor in another order.

    Args:
        a: any tensor.
        perm: [rank]: dimension i of the result is dimension perm[i] of `a`; reversed by default.
        name: the operation's name.
        conjugate: whether complex elements are conjugated.
    """
    with name_scope(name, "transpose", [a]) as scope:
        x = convert.convert_to_tensor(a, name="a")
        conjugates = conjugate and x.spec.dtype is not None and x.spec.dtype.is_complex
        definition = ConjugateTranspose if conjugates else Transpose
        if perm is None:
            perm = _reversed_axes(x)
        return definition(x, perm, name=scope)


def _reversed_axes(x: Tensor) -> Any:
    """[rank - 1, ..., 0] for the rank of `x`."""
    if x.spec.rank is not None:
        return np.arange(x.spec.rank - 1, -1, -1, dtype=np.int32)
    return reverse(range_(rank(x)), [0])


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """The last two dimensions exchanged: [..., m, n] becomes [..., n, m].

    Raises:
        ValueError: `a` has fewer than two dimensions, or an unknown rank.
    """
    with name_scope(name, "matrix_transpose", [a]):
        x = convert.convert_to_tensor(a, name="a")
        ndims = x.spec.rank
        if ndims is None:
            raise ValueError("matrix_transpose needs a tensor of known rank; give it one with set_shape")
        if ndims < 2:
            raise ValueError(
                "Argument 'a' should be a (batch) matrix, with rank >= 2.  "
                f"Found: {shapes.show(x.spec.shape)}"
            )
        perm = [*range(ndims - 2), ndims - 1, ndims - 2]
        return transpose(x, perm, conjugate=conjugate)


InvertPermutation = OpDef("InvertPermutation", "x: T -> y: T", types={"T": dtypes.INDICES})
InvertPermutation.shape(same_shape)
InvertPermutation.not_differentiable()


@InvertPermutation.kernel
def _invert_permutation_kernel(x: Array) -> Array:
    if not np.array_equal(np.sort(x), np.arange(x.size)):
        raise Complaint(f"{x.tolist()} is not a permutation of 0 to {x.size - 1}")
    inverse = np.empty_like(x)
    inverse[x] = np.arange(x.size, dtype=x.dtype)
    return inverse


@InvertPermutation.value
def _invert_permutation_value(x: Spec) -> Array | None:
    order = known_ints(x)
    return (
        None if order is None else _invert_permutation_kernel(np.array(order, dtype=np.int64)).astype(object)
    )


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """The inverse of a permutation of 0 ... n-1: y[x[i]] = i. Both are [n], int32 or int64."""
    return InvertPermutation(x, name=name)


def _inverse(perm: Tensor) -> Any:
    """The inverse of a permutation that may count from the end; an array where it is known."""
    known = convert.constant_value(perm)
    return invert_permutation(perm) if known is None else np.argsort(known % known.size).astype(known.dtype)


ReverseV2 = OpDef("ReverseV2", "tensor: T, axis: Tidx -> output: T", types={"Tidx": dtypes.INDICES},
                  form=MOVEMENT, aliases=(0,))  # fmt: skip


@ReverseV2.shape
def _reverse_shape(x: Spec, axis: Spec) -> Shape:
    axes = known_ints(axis)
    if x.shape is not None and axes is not None:
        unique_axes(axes, len(x.shape))
    return x.shape


def unique_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front. Raises Complaint where one is out of range or occurs twice."""
    if len(axes) == 1 and 0 <= axes[0] < rank:  # nearly always
        return (axes[0],)
    normal = tuple(axis % rank if -rank <= axis < rank else -1 for axis in axes)
    for axis, place in zip(axes, normal):
        if place < 0:
            raise Complaint(f"Invalid dimension {axis}: it must be in the range [{-rank}, {rank})")
        if normal.count(place) > 1:
            raise Complaint(f"axis {axis} specified more than once")
    return normal


@ReverseV2.kernel
def _reverse_kernel(x: Array, axis: Array) -> Array:
    return np.flip(x, unique_axes(axis.ravel().tolist(), x.ndim))


@ReverseV2.view
def _reverse_view(x: View, _: Spec, axis: Spec, *, outs: Sequence[Spec]) -> View | None:
    axes = known_ints(axis)
    return None if axes is None else x.reversed(unique_axes(axes, len(x.shape)))


@ReverseV2.gradient
def _reverse_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return reverse(dy, op.inputs[1]), None


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """The elements in reverse order along some dimensions.

    Args:
        tensor: any tensor.
        axis: [n], the dimensions to reverse.
        name: the operation's name.
    """
    return ReverseV2(tensor, axis, name=name)


# ---------------------------------------------------------------- ranges

Range = OpDef("Range", "start: Tidx, limit: Tidx, delta: Tidx -> output: Tidx", types={"Tidx": dtypes.REALS},
              form=IOTA)  # fmt: skip
Range.not_differentiable()


@Range.shape
def _range_shape(start: Spec, limit: Spec, delta: Spec) -> Shape:
    for arg in (start, limit, delta):
        shapes.dims(arg.shape, 0)
    ends = [UNKNOWN if arg.value is None else arg.value.item() for arg in (start, limit, delta)]
    first, last, step = ends
    if not isinstance(step, int):
        return (UNKNOWN,)
    if isinstance(first, int) and isinstance(last, int):
        return (_range_length(first, last, step),)
    # Rounded up, and not negative as the kernel checks.
    return ((last - first + step - 1) // step if step > 0 else (first - last - step - 1) // -step,)


def _range_length(start: Any, limit: Any, delta: Any) -> int:
    """The number of elements of a range. Raises Complaint where it cannot end."""
    if delta == 0:
        raise Complaint("Requires delta != 0: 0")
    if delta > 0 and start > limit:
        raise Complaint(f"Requires start <= limit when delta > 0: {start}/{limit}")
    if delta < 0 and start < limit:
        raise Complaint(f"Requires start >= limit when delta < 0: {start}/{limit}")
    if isinstance(delta, int):
        return (limit - start + delta - 1) // delta if delta > 0 else (start - limit - delta - 1) // -delta
    return math.ceil(abs((limit - start) / delta))


@Range.value
def _range_value(start: Spec, limit: Spec, delta: Spec) -> Array | None:
    ends = [known_int(arg) for arg in (start, limit, delta)]
    if None in ends:
        return None
    first, last, step = (e for e in ends if e is not None)
    if _range_length(first, last, step) > shapes.MAX_VALUE_SIZE:
        return None
    return np.arange(first, last, step, dtype=np.int64).astype(object)


@Range.kernel
def _range_kernel(start: Array, limit: Array, delta: Array) -> Array:
    if start.dtype.kind in "iu":
        first, last, step = int(start), int(limit), int(delta)
        _range_length(first, last, step)
        return np.arange(first, last, step, dtype=start.dtype)
    count = _range_length(start[()], limit[()], delta[()])
    return start + np.arange(count).astype(start.dtype) * delta


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """The numbers start, start + delta, ... up to but without limit; `range_(n)` counts from 0.

    Args:
        start: a scalar, the first number.
        limit: a scalar.
        delta: a scalar, not 0.
        dtype: the type of the numbers; the widest of the arguments' by default.
        name: the operation's name.

    Raises:
        ValueError: the range is known never to end.
        TypeError: tensors of different dtypes; unlike in TensorFlow they are not converted.
    """
    if limit is None:
        start, limit = 0, start
    values = (start, limit, delta)
    with name_scope(name, "range", values) as scope:
        wanted = _range_dtype(values) if dtype is None else dtypes.as_dtype(dtype).base_dtype
        ends = [convert.convert_to_tensor(v, wanted, n) for v, n in zip(values, ("start", "limit", "delta"))]
        y = Range(*ends, name=scope)
        known = [convert.constant_value(end) for end in ends]
        if all(k is not None and k.ndim == 0 for k in known):
            y.set_shape([_range_kernel(*known).size])
        return y


_RANGE_TYPES = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)


def _range_dtype(values: Sequence[Any]) -> DType | None:
    """The widest dtype among the ends of a range; None where a tensor's is not known."""
    found = [
        v.spec.dtype if isinstance(v, Tensor)
        else convert.dtype_of(v) or dtypes.of_numpy(convert.as_array(v, None).dtype)
        for v in values
    ]  # fmt: skip
    ranked = [t for t in found if t in _RANGE_TYPES]
    return max(ranked, key=_RANGE_TYPES.index) if len(ranked) == len(found) else found[0]
