"""Operations that put tensors together and take them apart: concat, split, stack, unstack, slice, pad, tile.

Together with `shaping` and `structural` this file is closed under transposition: the gradient of each op here
is made of ops of the three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import MOVEMENT, REQUIRED, Array, OpDef, known_int, known_ints, known_value
from tahr.core.scopes import name_scope
from tahr.core.shapes import Dimension, Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.core.views import Assembly, Part, Run, View, parts_of_runs
from tahr.errors import Complaint
from tahr.ops.casts import cast
from tahr.ops.structural import (
    common_shape,
    identity,
    range_,
    reduce_sum,
    reshape,
    shape,
    size,
    static_shape,
)

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


# ---------------------------------------------------------------- slice and pad

Slice = OpDef("Slice", "input: T, begin: Index, size: Index -> output: T", types={"Index": dtypes.INDICES},
              form=MOVEMENT, aliases=(0,))  # fmt: skip


@Slice.shape
def _slice_shape(x: Spec, begin: Spec, size: Spec) -> Shape:
    merged = shapes.merge(begin.shape, size.shape)
    (length,) = shapes.dims(merged, 1)
    if x.shape is not None:
        length = shapes.merge_dims(length, len(x.shape))
    if not isinstance(length, int):
        return None
    whole = shapes.dims(x.shape, length)
    begins: list[Dim] = [UNKNOWN] * length if begin.value is None else begin.value.tolist()
    counts: list[Dim] = [UNKNOWN] * length if size.value is None else size.value.tolist()
    return tuple(_sliced_dim(i, d, b, n) for i, (d, b, n) in enumerate(zip(whole, begins, counts)))


def _sliced_dim(axis: int, whole: Dim, begin: Dim, size: Dim) -> Dim:
    """The size of one dimension of a slice; -1 takes all that remains."""
    if isinstance(whole, int) and isinstance(begin, int) and not 0 <= begin <= whole:
        raise Complaint(f"Expected begin[{axis}] in [0, {whole}], but got {begin}")
    if isinstance(size, int) and size == -1:
        return whole - begin
    rest = whole - begin
    if isinstance(rest, int) and isinstance(size, int) and not 0 <= size <= rest:
        raise Complaint(f"Expected size[{axis}] in [0, {rest}], but got {size}")
    return size


@Slice.value
def _slice_value(x: Spec, begin: Spec, size: Spec) -> Array | None:
    first, counts = known_ints(begin), known_ints(size)
    if x.value is None or first is None or counts is None:
        return None
    return _slice_kernel(x.value, np.array(first, dtype=np.int64), np.array(counts, dtype=np.int64))


@Slice.kernel
def _slice_kernel(x: Array, begin: Array, size: Array) -> Array:
    if begin.size != x.ndim or size.size != x.ndim:
        raise Complaint(f"Expected begin and size arguments to be 1-D tensors of size {x.ndim}")
    window: list[slice] = []
    for axis, (whole, first, count) in enumerate(zip(x.shape, begin.tolist(), size.tolist())):
        length = _sliced_dim(axis, whole, first, count)
        assert isinstance(length, int)
        window.append(slice(first, first + length))
    return x[(*window, ...)]


@Slice.view
def _slice_view(x: View, _: Spec, begin: Spec, size: Spec, *, outs: Sequence[Spec]) -> View | None:
    first, target = known_value(begin), outs[0].shape or ()
    if first is None:
        return None
    is_inside = all(
        sizes.surely_at_most(0, b) and sizes.surely_at_most(0, n) and sizes.surely_at_most(b + n, d)
        for b, n, d in zip(first, target, x.shape)
    )
    return x.sliced(first, (1,) * len(first), target) if is_inside else None


@Slice.gradient
def _slice_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    x, begin, _ = op.inputs
    return pad(dy, _paddings_around(begin, dy, x)), None, None


def _paddings_around(begin: Tensor, inner: Tensor, outer: Tensor) -> Any:
    """How much to pad `inner`, which begins there, to the shape of `outer`: an array where it is known."""
    first, inside, outside = convert.constant_value(begin), static_shape(inner), static_shape(outer)
    if first is None or inside is None or outside is None:
        index_type = begin.spec.dtype or dtypes.int32
        return SlicePaddings(begin, shape(inner, out_type=index_type), shape(outer, out_type=index_type))
    return _slice_paddings_kernel(first, np.array(inside, first.dtype), np.array(outside, first.dtype))


SlicePaddings = OpDef(
    "SlicePaddings",
    "begin: T, inner_shape: T, outer_shape: T -> paddings: T",
    types={"T": dtypes.INDICES},
    shape_math=True,
)
SlicePaddings.not_differentiable()


@SlicePaddings.shape
def _slice_paddings_shape(begin: Spec, inner: Spec, outer: Spec) -> Shape:
    (length,) = shapes.dims(shapes.merge(begin.shape, shapes.merge(inner.shape, outer.shape)), 1)
    return (length, 2)


@SlicePaddings.kernel
def _slice_paddings_kernel(begin: Array, inner: Array, outer: Array) -> Array:
    return np.stack([begin, outer - begin - inner], axis=1)


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """A block of a tensor.

    Args:
        input_: any tensor.
        begin: [rank], where the block begins.
        size: [rank], its shape; -1 takes all that remains of a dimension.
        name: the operation's name.

    Raises:
        ValueError: the block surely reaches over the tensor's edge.
    """
    return Slice(input_, begin, size, name=name)


def _padded_shape(x: Spec, paddings: Spec, *_: Spec, **attrs: Any) -> Shape:
    length, two = shapes.dims(paddings.shape, 2)
    if isinstance(two, int) and two != 2:
        raise Complaint(f"Dimension must be 2 but is {two}: paddings is [rank, 2]")
    if not isinstance(length, int):
        length = x.rank
    if length is None:
        return None
    whole = shapes.dims(x.shape, length)
    if paddings.value is None:
        return (UNKNOWN,) * length
    if any(isinstance(p, int) and p < 0 for p in paddings.value.flat):
        raise Complaint("Paddings must be non-negative")
    return tuple(d + before + after for d, (before, after) in zip(whole, paddings.value))


def _check_paddings(x: Array, paddings: Array) -> list[tuple[int, int]]:
    if paddings.shape != (x.ndim, 2):
        raise Complaint(
            "The first dimension of paddings must be the rank of inputs: "
            f"{list(paddings.shape)}, {list(x.shape)}"
        )
    if paddings.size and paddings.min() < 0:
        raise Complaint(f"Paddings must be non-negative: {paddings.tolist()}")
    return [(before, after) for before, after in paddings.tolist()]


Pad = OpDef("Pad", "input: T, paddings: Tpaddings -> output: T", types={"Tpaddings": dtypes.INDICES},
            form=MOVEMENT)  # fmt: skip
Pad.shape(_padded_shape)


def _known_paddings(paddings: Spec) -> list[tuple[Dim, Dim]] | None:
    """How much is added before and after each dimension; None unless all of it is known and not negative."""
    found = known_value(paddings)
    if found is None or not all(sizes.surely_at_most(0, d) for d in found):
        return None
    return list(zip(found[::2], found[1::2]))


def _padded(x: Spec, paddings: Spec, outs: Sequence[Spec], **fill: int) -> Assembly | None:
    around = _known_paddings(paddings)
    if around is None or x.shape is None:
        return None
    target = View.dense(outs[0].shape or ())
    inner = target.sliced([before for before, _ in around], (1,) * len(around), x.shape)
    parts = (Part(0, View.dense(x.shape), inner),)
    return Assembly(parts) if all(p == (0, 0) for p in around) else Assembly(parts, **fill)


@Pad.parts
def _pad_parts(x: Spec, paddings: Spec, *, outs: Sequence[Spec]) -> Assembly | None:
    return _padded(x, paddings, outs, fill=0)


@Pad.kernel
def _pad_kernel(x: Array, paddings: Array) -> Array:
    zero = np.array(b"", dtype=object) if x.dtype.kind == "O" else np.zeros((), x.dtype)
    return _pad_v2_kernel(x, paddings, zero)


@Pad.gradient
def _pad_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    x, paddings = op.inputs
    return _unpad(dy, paddings, x), None


def _unpad(y: Tensor, paddings: Tensor, x: Tensor) -> Tensor:
    """What a padded tensor holds where `x` was before padding."""
    known = convert.constant_value(paddings)
    begin = reshape(slice_(paddings, [0, 0], [-1, 1]), [-1]) if known is None else known[:, 0]
    return slice_(y, begin, shape(x, out_type=paddings.dtype))


PadV2 = OpDef("PadV2", "input: T, paddings: Tpaddings, constant_values: T -> output: T",
              types={"Tpaddings": dtypes.INDICES}, form=MOVEMENT)  # fmt: skip
PadV2.shape(_padded_shape)


@PadV2.parts
def _pad_v2_parts(x: Spec, paddings: Spec, constant_values: Spec, *, outs: Sequence[Spec]) -> Assembly | None:
    return _padded(x, paddings, outs, fill_input=2)


@PadV2.kernel
def _pad_v2_kernel(x: Array, paddings: Array, constant_values: Array) -> Array:
    around = _check_paddings(x, paddings)
    padded = np.full([b + d + a for d, (b, a) in zip(x.shape, around)], constant_values, dtype=x.dtype)
    padded[(*(slice(b, b + d) for d, (b, _) in zip(x.shape, around)), ...)] = x
    return padded


@PadV2.gradient
def _pad_v2_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    x, paddings, _ = op.inputs
    return _unpad(dy, paddings, x), None, None  # as in TensorFlow, none for the constant


MirrorPad = OpDef("MirrorPad", "input: T, paddings: Tpaddings -> output: T", attrs={"mode": REQUIRED},
                  types={"Tpaddings": dtypes.INDICES}, form=MOVEMENT)  # fmt: skip
MirrorPad.shape(_padded_shape)


@MirrorPad.kernel
def _mirror_pad_kernel(x: Array, paddings: Array, *, mode: str) -> Array:
    for axis, (before, after) in enumerate(_check_paddings(x, paddings)):
        if before or after:
            _check_mirror(before, after, x.shape[axis], mode)
            x = x.take(_mirrored(before, x.shape[axis], after, mode), axis=axis)
    return x.copy() if not paddings.any() else x


def _check_mirror(before: int, after: int, size: int, mode: str) -> None:
    if max(before, after) > size - (mode == "REFLECT"):
        limit = "less than" if mode == "REFLECT" else "no greater than"
        raise Complaint(f"paddings must be {limit} the dimension size: {before}, {after} for size {size}")


def _mirrored(before: int, size: int, after: int, mode: str) -> Array:
    """For each place of a padded dimension, the place of the original that it shows."""
    places = np.arange(-before, size + after)
    if mode == "REFLECT":  # the edge itself is not repeated
        return size - 1 - np.abs(size - 1 - np.abs(places))
    return np.where(places < 0, -1 - places, np.where(places >= size, 2 * size - 1 - places, places))


@MirrorPad.parts
def _mirror_pad_parts(x: Spec, paddings: Spec, *, outs: Sequence[Spec], mode: str) -> list[Part] | None:
    around = _known_paddings(paddings)
    if around is None or x.shape is None:
        return None
    edge = 1 if mode == "REFLECT" else 0  # how many elements at the edge are not repeated
    limits = [size - edge for size in x.shape]
    if not all(sizes.surely_at_most(n, most) for pair, most in zip(around, limits) for n in pair):
        return None
    runs = [
        [
            Run(edge + before - 1, 0, before, -1),
            Run(0, before, size),
            Run(size - 1 - edge, before + size, after, -1),
        ]
        for size, (before, after) in zip(x.shape, around)
    ]
    return parts_of_runs(0, View.dense(x.shape), View.dense(outs[0].shape or ()), runs)


@MirrorPad.gradient
def _mirror_pad_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return MirrorPadGrad(dy, op.inputs[1], mode=op.attrs["mode"]), None


MirrorPadGrad = OpDef("MirrorPadGrad", "input: T, paddings: Tpaddings -> output: T", attrs={"mode": REQUIRED},
                      types={"T": dtypes.NUMBERS, "Tpaddings": dtypes.INDICES})  # fmt: skip


@MirrorPadGrad.shape
def _mirror_pad_grad_shape(x: Spec, paddings: Spec, *, mode: str) -> Shape:
    if x.shape is None or paddings.value is None:
        return None if x.shape is None else (UNKNOWN,) * len(x.shape)
    return tuple(d - before - after for d, (before, after) in zip(x.shape, paddings.value))


@MirrorPadGrad.kernel
def _mirror_pad_grad_kernel(x: Array, paddings: Array, *, mode: str) -> Array:
    total = x
    for axis, (before, after) in enumerate(_check_paddings(x, paddings)):
        if before or after:
            size = x.shape[axis] - before - after
            _check_mirror(before, after, size, mode)
            moved = np.moveaxis(total, axis, 0)
            folded = np.zeros((size, *moved.shape[1:]), x.dtype)
            np.add.at(folded, _mirrored(before, size, after, mode), moved)
            total = np.moveaxis(folded, 0, axis)
    return total.copy() if total is x else total


@MirrorPadGrad.gradient
def _mirror_pad_grad_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return MirrorPad(dy, op.inputs[1], mode=op.attrs["mode"]), None


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0
) -> Tensor:
    """A tensor with more elements before and after each dimension.

    Args:
        tensor: any tensor.
        paddings: [rank, 2]: how many elements to add before and after.
        mode: what is added: "CONSTANT", a value; "REFLECT", the mirror image without the edge; "SYMMETRIC",
            the mirror image with the edge.
        name: the operation's name.
        constant_values: the value, a scalar.

    Raises:
        ValueError: another mode, or paddings of the wrong shape.
    """
    mode = mode.upper()
    if mode in ("REFLECT", "SYMMETRIC"):
        return MirrorPad(tensor, paddings, mode=mode, name=name)
    if mode != "CONSTANT":
        raise ValueError(f"Unknown padding mode: {mode}")
    if not isinstance(constant_values, Tensor) and constant_values == 0:
        return Pad(tensor, paddings, name=name)
    return PadV2(tensor, paddings, constant_values, name=name)


# ---------------------------------------------------------------- tile, grids, the identity matrix

Tile = OpDef("Tile", "input: T, multiples: Tmultiples -> output: T", types={"Tmultiples": dtypes.INDICES},
             form=MOVEMENT)  # fmt: skip


@Tile.shape
def _tile_shape(x: Spec, multiples: Spec) -> Shape:
    (length,) = shapes.dims(multiples.shape, 1)
    if x.shape is not None and isinstance(length, int) and length != len(x.shape):
        raise Complaint(f"Shape must be rank {len(x.shape)} but is rank {length}: the length of multiples")
    if not isinstance(length, int):
        length = x.rank
    if length is None:
        return None
    times = shapes.from_value(multiples.value, length)
    assert times is not None
    return tuple(d * n for d, n in zip(shapes.dims(x.shape, length), times))


@Tile.kernel
def _tile_kernel(x: Array, multiples: Array) -> Array:
    if multiples.size != x.ndim:
        raise Complaint(
            f"Expected multiples argument to be a vector of length {x.ndim} but got length {multiples.size}"
        )
    if multiples.size and multiples.min() < 0:
        raise Complaint(f"Expected multiples[i] >= 0, but got {multiples.tolist()}")
    return np.tile(x, multiples.tolist())


@Tile.parts
def _tile_parts(x: Spec, multiples: Spec, *, outs: Sequence[Spec]) -> list[Part] | None:
    times = known_value(multiples)
    if times is None or x.shape is None or not all(sizes.surely_at_most(0, n) for n in times):
        return None
    # Each dimension that is repeated is seen as two: its copies, and the elements of one copy.
    copied = [n != 1 for n in times]
    narrow = [d for size, twice in zip(x.shape, copied) for d in ((1, size) if twice else (size,))]
    wide = [d for n, size, twice in zip(times, x.shape, copied) for d in ((n, size) if twice else (size,))]
    source = View.dense(narrow)
    for axis, (one, many) in enumerate(zip(narrow, wide)):
        if one == 1 and many != 1:
            source = source.repeated(axis, many)
    return [Part(0, source, View.dense(wide))]


@Tile.gradient
def _tile_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    x, multiples = op.inputs
    # dy in the shape [m0, d0, m1, d1, ...]: the copies of each dimension lie along its own axis.
    pairs = reshape(stack([multiples, shape(x, out_type=multiples.dtype)], axis=1), [-1])
    rank = x.spec.rank
    copies = np.arange(0, 2 * rank, 2, dtype=np.int32) if rank is not None else range_(0, size(pairs), 2)
    return reshape(reduce_sum(reshape(dy, pairs), copies), shape(x)), None


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """A tensor repeated along each dimension.

    Args:
        input: any tensor.
        multiples: [rank], how many times.
        name: the operation's name.
    """
    return Tile(input, multiples, name=name)
