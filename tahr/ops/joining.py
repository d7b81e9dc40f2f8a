"""Operations that put tensors together and take them apart: concat, split, stack, unstack.

Together with `shaping`, `structural` and `cropping` this file is closed under transposition: the gradient of
each op here is made of ops of the four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_int, known_value
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.core.tensor_shapes import Dimension
from tahr.core.views import Part, View
from tahr.errors import Complaint
from tahr.ops.casts import cast
from tahr.ops.structural import common_shape, identity, static_shape

# ---------------------------------------------------------------- concat and split

ConcatV2 = OpDef("ConcatV2", "values: N*T, axis: Tidx -> output: T", types={"Tidx": dtypes.INDICES},
                 form=MOVEMENT)  # fmt: skip


@ConcatV2.shape
def _concat_shape(*inputs: Spec) -> Shape:
    *values, axis = inputs
    known = [x.shape for x in values if x.shape is not None]
    if not known:
        return None
    ndims = len(known[0])
    for other in known:
        shapes.dims(other, ndims)  # all have the same rank
    if ndims == 0:
        raise Complaint("Can't concatenate scalars (use tf.stack instead)")
    place = known_int(axis)
    if place is None:
        return (UNKNOWN,) * ndims
    place = shapes.normalize_axis(place, ndims, "concatenating axis")
    return _joined([shapes.dims(x.shape, ndims) for x in values], place)


def _joined(parts: Sequence[tuple[Dim, ...]], axis: int) -> tuple[Dim, ...]:
    """The shape of parts put one after another along an axis; their other dimensions must agree."""
    result = list(parts[0])
    for part in parts[1:]:
        for i, dim in enumerate(part):
            if i == axis:
                result[i] = result[i] + dim
                continue
            try:
                result[i] = shapes.merge_dims(result[i], dim)
            except ValueError:
                raise Complaint(
                    f"Dimension {i} in both shapes must be equal, but are {result[i]} and {dim}. "
                    f"Shapes are {shapes.show(parts[0])} and {shapes.show(part)}"
                ) from None
    return tuple(result)


@ConcatV2.value
def _concat_value(*inputs: Spec) -> Array | None:
    *values, axis = inputs
    if known_int(axis) is None or any(x.rank is None for x in values):
        return None
    parts = [_value_or_unknown(x) for x in values]
    if any(part is None for part in parts):
        return None
    return np.concatenate([p for p in parts if p is not None], axis=known_int(axis) or 0)


def _value_or_unknown(x: Spec) -> Array | None:
    """The value of a small tensor, with UNKNOWN for each element where nothing is known of it."""
    if x.value is not None:
        return x.value
    if not shapes.is_static(x.shape) or _static_size(x) > shapes.MAX_VALUE_SIZE:
        return None
    return np.full(x.shape, UNKNOWN, dtype=object)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _static_size(x: Spec) -> int:
    count = shapes.num_elements(x.shape)
    return count if isinstance(count, int) else shapes.MAX_VALUE_SIZE + 1


@ConcatV2.kernel
def _concat_kernel(*inputs: Array) -> Array:
    *values, axis = inputs
    ndims = values[0].ndim
    if not -ndims <= int(axis) < ndims:
        raise Complaint(
            f"ConcatOp : Expected concatenating dimensions in the range [{-ndims}, {ndims}), got {axis}"
        )
    try:
        return np.concatenate(values, axis=int(axis))
    except ValueError:
        listed = " vs. ".join(str(list(v.shape)) for v in values[:8])
        raise Complaint(f"ConcatOp : Dimensions of inputs should match: {listed}") from None


@ConcatV2.parts
def _concat_parts(*inputs: Spec, outs: Sequence[Spec]) -> list[Part] | None:
    *values, axis = inputs
    whole, place = View.dense(outs[0].shape or ()), known_int(axis)
    if place is None:
        return None
    parts: list[Part] = []
    begin: Dim = 0
    for i, x in enumerate(values):
        source = View.dense(x.shape or ())
        parts.append(Part(i, source, whole.narrowed(place, begin, source.shape[place])))
        begin = begin + source.shape[place]
    return parts


@ConcatV2.gradient
def _concat_gradient(op: Operation, dy: Tensor) -> list[Tensor | None]:
    *values, axis = op.inputs
    if len(values) == 1:
        return [dy, None]
    return [*SplitV(dy, AxisSizes(values, axis), axis, num_split=len(values)), None]


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """Tensors put one after another along a dimension that they have.

    Args:
        values: a list of tensors of one rank and dtype, equal in all other dimensions.
        axis: the dimension, in [-rank, rank).
        name: the operation's name.

    Raises:
        ValueError: the shapes do not fit.

    TensorFlow before 1.0 had the arguments in the other order; `concat(1, [a, b])` is understood as well.
    """
    if isinstance(values, int) and isinstance(axis, (list, tuple)):
        values, axis = axis, values
    if not isinstance(values, (list, tuple)):
        values = [values]
    if len(values) == 1:
        with name_scope(name):
            convert.convert_to_tensor(axis, dtypes.int32, name="concat_dim")
            return identity(values[0], name=name)
    return ConcatV2(list(values), axis, name=name)


AxisSizes = OpDef("AxisSizes", "values: N*T, axis: Tidx -> sizes: int32", types={"Tidx": dtypes.INDICES})
AxisSizes.not_differentiable()


@AxisSizes.shape
def _axis_sizes_shape(*inputs: Spec) -> Shape:
    return (len(inputs) - 1,)


@AxisSizes.value
def _axis_sizes_value(*inputs: Spec) -> Array | None:
    *values, axis = inputs
    place = known_int(axis)
    if place is None:
        return None
    return shapes.as_value(UNKNOWN if x.shape is None else x.shape[place] for x in values)


@AxisSizes.kernel
def _axis_sizes_kernel(*inputs: Array) -> Array:
    *values, axis = inputs
    return np.array([x.shape[int(axis)] for x in values], dtype=np.int32)


Split = OpDef("Split", "split_dim: int32, value: T -> output: num_split*T", attrs={"num_split": REQUIRED},
              form=MOVEMENT, aliases=(1,))  # fmt: skip


@Split.shape
def _split_shape(split_dim: Spec, x: Spec, *, num_split: int) -> list[Shape]:
    if x.shape is None:
        return [None] * num_split
    axis = known_int(split_dim)
    if axis is None:
        return [(UNKNOWN,) * len(x.shape)] * num_split
    axis = shapes.normalize_axis(axis, len(x.shape), "split dimension")
    whole = x.shape[axis]
    if isinstance(whole, int) and whole % num_split:
        raise Complaint(
            "Number of ways to split should evenly divide the split dimension: "
            f"Dimension size must be evenly divisible by {num_split} but is {whole}"
        )
    return [(*x.shape[:axis], whole // num_split, *x.shape[axis + 1 :])] * num_split


@Split.kernel
def _split_kernel(split_dim: Array, x: Array, *, num_split: int) -> tuple[Array, ...]:
    axis = _axis_of(split_dim, x)
    if x.shape[axis] % num_split:
        raise Complaint(
            f"Number of ways to split should evenly divide the split dimension, but got split_dim {axis} "
            f"(size = {x.shape[axis]}) and num_split {num_split}"
        )
    return tuple(np.split(x, num_split, axis))


def _axis_of(split_dim: Array, x: Array) -> int:
    """The axis to split along, counted from the front."""
    axis = int(split_dim.item())
    if not -x.ndim <= axis < x.ndim:
        raise Complaint(f"-input rank(-{x.ndim}) <= split_dim < input rank ({x.ndim}), but got {axis}")
    return axis % x.ndim


@Split.view(of=1)
def _split_view(
    x: View, split_dim: Spec, _: Spec, *, outs: Sequence[Spec], num_split: int
) -> list[View] | None:
    axis = known_int(split_dim)
    if axis is None:
        return None
    size = x.shape[axis] // num_split
    return _pieces(x, axis, [size] * num_split)


def _pieces(x: View, axis: int, parts: Sequence[Dim]) -> list[View] | None:
    """A view cut into parts along an axis; None where they are not sure to add up to it."""
    views: list[View] = []
    begin: Dim = 0
    for part in parts:
        views.append(x.narrowed(axis, begin, part))
        begin = begin + part
    fit = sizes.surely_equal(begin, x.shape[axis]) and all(sizes.surely_at_most(0, d) for d in parts)
    return views if fit else None


@Split.gradient
def _split_gradient(op: Operation, *dys: Tensor) -> tuple[None, Tensor]:
    return None, concat(list(dys), op.inputs[0])


SplitV = OpDef("SplitV", "value: T, size_splits: Tlen, split_dim: int32 -> output: num_split*T",
               attrs={"num_split": REQUIRED}, types={"Tlen": dtypes.INDICES}, form=MOVEMENT,
               aliases=(0,))  # fmt: skip


@SplitV.shape
def _split_v_shape(x: Spec, size_splits: Spec, split_dim: Spec, *, num_split: int) -> list[Shape]:
    shapes.merge(size_splits.shape, (num_split,))
    if x.shape is None:
        return [None] * num_split
    axis = known_int(split_dim)
    if axis is None:
        return [(UNKNOWN,) * len(x.shape)] * num_split
    axis = shapes.normalize_axis(axis, len(x.shape), "split dimension")
    parts: list[Dim] = [UNKNOWN] * num_split if size_splits.value is None else size_splits.value.tolist()
    parts = _complete(parts, x.shape[axis])
    return [(*x.shape[:axis], part, *x.shape[axis + 1 :]) for part in parts]


def _complete(parts: list[Dim], whole: Dim) -> list[Dim]:
    """The sizes of the parts, with a -1 replaced by what remains of the whole.

    Raises:
        Complaint: the sizes do not add up.
    """
    if parts.count(-1) > 1:
        raise Complaint("size_splits can only have one -1")
    rest = sum((d for d in parts if d != -1), start=0)
    missing = whole - rest
    wrong = missing != 0 if -1 not in parts else isinstance(missing, int) and missing < 0
    if isinstance(missing, int) and wrong:
        raise Complaint(f"can't split axis of size {whole} into pieces of size {shapes.show(tuple(parts))}")
    return [missing if d == -1 else d for d in parts]


@SplitV.kernel
def _split_v_kernel(x: Array, size_splits: Array, split_dim: Array, *, num_split: int) -> tuple[Array, ...]:
    axis = _axis_of(split_dim, x)
    parts = _complete(size_splits.tolist(), x.shape[axis])
    return tuple(np.split(x, np.cumsum(np.array(parts[:-1], dtype=np.int64)), axis))


@SplitV.view
def _split_v_view(
    x: View, _: Spec, size_splits: Spec, split_dim: Spec, *, outs: Sequence[Spec], num_split: int
) -> list[View] | None:
    axis, parts = known_int(split_dim), known_value(size_splits)
    return None if axis is None or parts is None else _pieces(x, axis, _complete(parts, x.shape[axis]))


@SplitV.gradient
def _split_v_gradient(op: Operation, *dys: Tensor) -> tuple[Tensor, None, None]:
    return concat(list(dys), op.inputs[2]), None, None


def split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split"
) -> list[Tensor]:
    """A tensor cut into parts along a dimension.

    Args:
        value: the tensor.
        num_or_size_splits: the number of equal parts (an integer), or the sizes of the parts, [n]; one -1
            may stand for what remains.
        axis: the dimension.
        num: the number of parts, where the shape of the sizes does not tell it.
        name: the operation's name.

    Returns:
        The parts, a list.

    Raises:
        ValueError: the dimension cannot be cut so, or the number of parts is not known.

    TensorFlow before 1.0 had the arguments in another order; `split(0, 3, tensor)` is understood as well.
    """
    if isinstance(value, int) and isinstance(axis, Tensor):
        value, axis = axis, value
    if isinstance(num_or_size_splits, Dimension):
        num_or_size_splits = num_or_size_splits.value
    if isinstance(num_or_size_splits, (int, np.integer)):
        return Split(axis, value, num_split=int(num_or_size_splits), name=name)
    size_splits = convert.convert_to_tensor(num_or_size_splits)
    if size_splits.spec.rank == 0:
        raise ValueError(
            "Rank-0 tensors are not supported as the num_or_size_splits argument to split. "
            f"Argument provided: {num_or_size_splits}"
        )
    if num is None:
        known = static_shape(size_splits)
        if known is None:
            raise ValueError(f"Cannot infer argument `num` from shape {num_or_size_splits}")
        num = known[0]
    return SplitV(value, size_splits, axis, num_split=num, name=name)


# ---------------------------------------------------------------- stack and unstack

Pack = OpDef("Pack", "values: N*T -> output: T", attrs={"axis": 0}, form=MOVEMENT)


@Pack.shape
def _pack_shape(*values: Spec, axis: int) -> Shape:
    element = common_shape(values)
    if element is None:
        return None
    place = shapes.normalize_axis(axis, len(element) + 1)
    return (*element[:place], len(values), *element[place:])


@Pack.value
def _pack_value(*values: Spec, axis: int) -> Array | None:
    if len(values) > shapes.MAX_VALUE_SIZE:
        return None
    parts = [_value_or_unknown(x) for x in values]
    if any(p is None or p.shape != parts[0].shape for p in parts):  # pyright: ignore[reportOptionalMemberAccess]
        return None
    return np.stack([p for p in parts if p is not None], axis=axis)


@Pack.kernel
def _pack_kernel(*values: Array, axis: int) -> Array:
    if any(x.shape != values[0].shape for x in values):
        other = next(x for x in values if x.shape != values[0].shape)
        raise Complaint(
            "Shapes of all inputs must match: values[0].shape = "
            f"{list(values[0].shape)} != another's shape = {list(other.shape)}"
        )
    return np.stack(values, axis=axis)


@Pack.parts
def _pack_parts(*values: Spec, outs: Sequence[Spec], axis: int) -> list[Part]:
    whole = View.dense(outs[0].shape or ())
    place = axis % len(whole.shape)
    return [Part(i, View.dense(x.shape or ()), whole.at(place, i)) for i, x in enumerate(values)]


@Pack.gradient
def _pack_gradient(op: Operation, dy: Tensor) -> list[Tensor]:
    return unstack(dy, num=len(op.inputs), axis=op.attrs["axis"])


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape put together along a new dimension.

    Args:
        values: a list of n tensors of one shape and dtype, or Python values.
        axis: where the new dimension, of size n, is put.
        name: the operation's name.

    Raises:
        ValueError: the shapes differ, or the axis is out of range.
    """
    if axis == 0:
        try:
            return convert.convert_to_tensor(values, name=name)
        except (TypeError, ValueError):
            pass  # Pack says better what is wrong
    first = convert.convert_to_tensor(values[0])
    if first.spec.rank is not None and not -first.spec.rank - 1 <= axis <= first.spec.rank:
        raise ValueError(f"axis = {axis} not in [{-first.spec.rank - 1}, {first.spec.rank + 1})")
    return Pack(list(values), axis=axis, name=name)


pack = stack  # its name in TensorFlow before 1.0


def parallel_stack(values: Any, name: str = "parallel_stack") -> Tensor:
    """Tensors of one shape put together along a new first dimension; here the same as `stack`."""
    return Pack(list(values), axis=0, name=name)


def _pack_list(values: Sequence[Any], dtype: DType | None, name: str | None) -> Tensor:
    """The tensor that a (nested) list with tensors in it stands for: TensorFlow's automatic packing."""
    found = _element_dtypes(values)
    first = next((t for t in found if t is not None), None)
    if dtype is not None and first is not dtype:
        values = _cast_elements(values, dtype)
    return _pack_nested(values, dtype or first, None in found, name or "packed")


def _cast_elements(values: Sequence[Any], dtype: DType) -> list[Any]:
    """A nested list whose tensors have a dtype that was asked for."""
    return [
        _cast_elements(value, dtype)
        if isinstance(value, (list, tuple))
        else value
        if convert.dtype_of(value) in (None, dtype)
        else cast(value, dtype)
        for value in values
    ]


def _element_dtypes(values: Sequence[Any]) -> list[DType | None]:
    """The dtypes of the tensors in a nested list."""
    found: list[DType | None] = []
    for value in values:
        if isinstance(value, (list, tuple)):
            found += _element_dtypes(value)
        elif isinstance(value, Tensor) or convert.dtype_of(value) is not None:
            found.append(convert.dtype_of(value))
    return found


def _pack_nested(values: Sequence[Any], dtype: DType | None, is_weak: bool, name: str) -> Tensor:
    """Packs one level of a nested list; `is_weak` where a tensor's dtype is not known yet."""
    with name_scope(name) as scope:
        parts: list[Tensor] = []
        for i, value in enumerate(values):
            if isinstance(value, (list, tuple)) and _element_dtypes(value):
                parts.append(_pack_nested(value, dtype, is_weak, str(i)))
            elif dtype is None and is_weak and isinstance(value, (int, float, complex)):
                parts.append(convert.weak_constant(value, name=str(i)))
            elif dtype is not None and convert.dtype_of(value) not in (None, dtype):
                found = convert.convert_to_tensor(value)
                raise TypeError(
                    f"Cannot convert a list containing a tensor of dtype {found.dtype.name} to {dtype.name} "
                    f"(Tensor is: {found!r})"
                )
            else:
                parts.append(convert.convert_to_tensor(value, dtype, name=str(i)))
        return Pack(parts, name=scope)


convert.set_pack(_pack_list)


Unpack = OpDef("Unpack", "value: T -> output: num*T", attrs={"num": REQUIRED, "axis": 0}, form=MOVEMENT,
               aliases=(0,), shape_math=True)  # fmt: skip


@Unpack.shape
def _unpack_shape(x: Spec, *, num: int, axis: int) -> list[Shape]:
    if x.shape is None:
        return [None] * num
    place = shapes.normalize_axis(axis, len(x.shape))
    whole = x.shape[place]
    if isinstance(whole, int) and whole != num:
        raise Complaint(f"Dimension must be {num} but is {whole}: num is the size of the dimension")
    return [(*x.shape[:place], *x.shape[place + 1 :])] * num


@Unpack.kernel
def _unpack_kernel(x: Array, *, num: int, axis: int) -> tuple[Array, ...]:
    if x.shape[axis] != num:
        raise Complaint(f"Input shape axis {axis} must equal {num}, got shape {list(x.shape)}")
    parts = np.moveaxis(x, axis, 0)
    return tuple(parts[i, ...] for i in range(num))


@Unpack.view
def _unpack_view(x: View, *specs: Spec, outs: Sequence[Spec], num: int, axis: int) -> list[View] | None:
    place = axis % len(x.shape)
    return [x.at(place, i) for i in range(num)] if x.shape[place] == num else None


@Unpack.gradient
def _unpack_gradient(op: Operation, *dys: Tensor) -> Tensor:
    return Pack(list(dys), axis=op.attrs["axis"])


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The slices of a tensor along a dimension, as a list of tensors without it.

    Args:
        value: any tensor.
        num: the size of the dimension, where the static shape does not tell it.
        axis: the dimension.
        name: the operation's name.

    Raises:
        ValueError: the size of the dimension is not known, or the axis is out of range.
    """
    x = convert.convert_to_tensor(value)
    ndims = x.spec.rank
    if ndims is not None and not -ndims <= axis < ndims:
        raise ValueError(f"axis = {axis} not in [{-ndims}, {ndims})")
    if num is None:
        dim = UNKNOWN if x.spec.shape is None else x.spec.shape[axis]
        if not isinstance(dim, int):
            raise ValueError(f"Cannot infer argument `num` from shape {x.shape}")
        num = dim
    return Unpack(x, num=num, axis=axis, name=name)


unpack = unstack  # its name in TensorFlow before 1.0
