"""Slices of tensors: StridedSlice, its adjoint, and the keys of `x[1:, ..., None, -1]`."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tahr import errors
from tahr.core import dtypes, shapes, sizes, source
from tahr.core.convert import convert_to_tensor, dtype_of
from tahr.core.dtypes import INDICES, DType
from tahr.core.forms import Position
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.core.tensor_shapes import Dimension
from tahr.core.views import Along, Assembly, Part, Selection, View
from tahr.errors import Complaint
from tahr.ops import elementwise, fills, joining, structural

# ---------------------------------------------------------------- StridedSlice and its adjoint


class _Part(NamedTuple):
    """One entry of a key: a slice, an index, a new axis, or an ellipsis.

    Attributes:
        kind: "slice", "index", "new" or "rest".
        begin: the first position, or the index; None: from the end that the stride starts from.
        end: the position before which to stop; None: at the other end.
        stride: the step, not 0.
    """

    kind: str
    begin: Any = None
    end: Any = None
    stride: Any = None


def _parts(
    begin: Sequence[Any], end: Sequence[Any], strides: Sequence[Any], masks: dict[str, int]
) -> list[_Part]:
    """The entries of a key from StridedSlice's vectors and bit masks; an ellipsis bit outranks the others.

    Raises:
        ValueError: two ellipses.
    """

    def masked(mask: str, i: int) -> bool:
        return bool(masks[mask + "_mask"] >> i & 1)

    parts: list[_Part] = []
    for i, (first, stop, stride) in enumerate(zip(begin, end, strides)):
        if masked("ellipsis", i):
            parts.append(_Part("rest"))
        elif masked("new_axis", i):
            parts.append(_Part("new"))
        elif masked("shrink_axis", i):
            parts.append(_Part("index", first, stride=stride))
        else:
            first = None if masked("begin", i) else first
            parts.append(_Part("slice", first, None if masked("end", i) else stop, stride))
    if sum(part.kind == "rest" for part in parts) > 1:
        raise Complaint("Multiple ellipses in slice spec not allowed")
    return parts


def _sliced(shape: tuple[Dim, ...], parts: Sequence[_Part]) -> tuple[Dim, ...]:
    """The shape of a slice; positions that are not known yet are UNKNOWN.

    Raises:
        ValueError: an index out of bounds, too many entries, a stride of zero.
    """
    rank = len(shape)
    used = sum(part.kind in ("slice", "index") for part in parts)
    if used > rank:
        raise Complaint(f"Index out of range using input dim {rank}; input has only {rank} dims")
    result: list[Dim] = []
    axis = 0
    for i, part in enumerate(parts):
        if part.kind == "new":
            result.append(1)
        elif part.kind == "rest":
            result += shape[axis : axis + rank - used]
            axis += rank - used
        else:
            if type(part.stride) is int and part.stride == 0:
                raise Complaint(f"strides[{i}] must be non-zero")
            if part.kind == "slice":
                result.append(_slice_range(shape[axis], part)[1])
            else:
                _check_position(shape[axis], part, axis)
            axis += 1
    return (*result, *shape[axis:])


def _check_position(dim: Dim, part: _Part, axis: int) -> None:
    if isinstance(part.stride, int) and part.stride < 0:
        raise Complaint("only stride 1 allowed on non-range indexing.")
    index = part.begin
    if isinstance(dim, int) and isinstance(index, int) and not -dim <= index < dim:
        raise Complaint(f"slice index {index} of dimension {axis} out of bounds.")


def _slice_range(dim: Dim, part: _Part) -> tuple[Dim, Dim]:
    """The first position that a slice takes out of a dimension, and how many it takes, by Python's rules."""
    stride = part.stride
    if not isinstance(stride, int):
        return UNKNOWN, UNKNOWN
    if stride > 0:
        first = 0 if part.begin is None else _clamp(part.begin, dim, 0, dim)
        stop = dim if part.end is None else _clamp(part.end, dim, 0, dim)
        span = stop - first
    else:
        first = dim - 1 if part.begin is None else _clamp(part.begin, dim, -1, dim - 1)
        stop = -1 if part.end is None else _clamp(part.end, dim, -1, dim - 1)
        span = first - stop
    steps = abs(stride)
    return first, sizes.maximum((span + (steps - 1)) // steps, 0)


def _selection(x: View, parts: Sequence[_Part]) -> Selection:
    """The elements that a key takes; an index is a position where it is not known, or not sure to be within bounds."""
    kept: list[int] = []  # axes of x, and -1 for new ones
    positions: list[Along] = []
    rest = len(x.shape) - sum(part.kind in ("slice", "index") for part in parts)
    axis = 0
    for i, part in enumerate(parts):
        if part.kind == "new":
            kept.append(-1)
        elif part.kind == "rest":
            kept += range(axis, axis + rest)
            axis += rest
        elif part.kind == "slice":
            kept.append(axis)
            x = x.narrowed(axis, *_slice_range(x.shape[axis], part), part.stride)
            axis += 1
        else:
            index = _index_within(x.shape[axis], part.begin)
            if index is None:
                positions.append(Along(i, x.shape[axis], x.strides[axis], from_end=x.shape[axis]))
                index = 0
            x = x.narrowed(axis, index, 1)
            axis += 1
    kept += range(axis, len(x.shape))
    view = View(
        tuple(1 if a < 0 else x.shape[a] for a in kept),
        tuple(0 if a < 0 else x.strides[a] for a in kept),
        x.offset,
    )
    return Selection(view, tuple(positions))


def _view_of_slice(x: View, parts: Sequence[_Part]) -> View | None:
    """The elements that a key takes; None where an index is not sure to be within bounds."""
    view, positions = _selection(x, parts)
    return None if positions else view


def _index_within(dim: Dim, index: Dim) -> Dim | None:
    """An index counted from the front; None where it is not sure to be within bounds."""
    if not sizes.surely_at_most(0, index):
        index = index + dim
    is_within = sizes.surely_at_most(0, index) and sizes.surely_at_most(index, dim - 1)
    return index if is_within else None


class RangeEntry(NamedTuple):
    """An entry of a key that is a range.

    Attributes:
        place: which entry it is.
        axis: the axis that it is for.
        result_axis: which axis of the slice that becomes.
    """

    place: int
    axis: int
    result_axis: int


def range_entries(rank: int, entries: int, masks: dict[str, int]) -> list[RangeEntry]:
    """The entries of a key that are ranges; none where there are more entries than axes."""
    places = range(entries)
    parts = _parts(places, places, places, masks)
    used = sum(part.kind in ("slice", "index") for part in parts)
    found: list[RangeEntry] = []
    axis = result_axis = 0
    for place, part in enumerate(parts if used <= rank else ()):
        if part.kind == "slice":
            found.append(RangeEntry(place, axis, result_axis))
        axis += rank - used if part.kind == "rest" else part.kind != "new"
        result_axis += rank - used if part.kind == "rest" else part.kind != "index"
    return found


def _known_parts(begin: Spec, end: Spec, strides: Spec, masks: dict[str, int]) -> list[_Part] | None:
    vectors = [_positions(v) for v in (begin, end, strides)]
    if any(v is None for v in vectors):
        return None
    first, stop, stride = (v or [] for v in vectors)
    return _parts(first, stop, stride, masks)


def _clamp(position: Dim, dim: Dim, low: Dim, high: Dim) -> Dim:
    """A position counted from the front and kept within [low, high]; a negative one counts from the end."""
    lowest = sizes.least(position)
    if lowest is not None and lowest >= 0:
        return sizes.minimum(position, high)
    highest = sizes.least(-position)
    if highest is not None and highest > 0:
        return sizes.maximum(position + dim, low)
    return UNKNOWN  # a symbolic position of either sign


def _positions(spec: Spec) -> list[Any] | None:
    """The elements of begin, end or strides as far as they are known; None where even their number is not."""
    if spec.value is not None:
        return spec.value.ravel().tolist()
    (length,) = shapes.dims(spec.shape, 1)
    return [UNKNOWN] * length if isinstance(length, int) else None


def _numpy_key(parts: Sequence[_Part]) -> tuple[Any, ...]:
    """A key with the same meaning for an array; its ellipsis makes the result an array, never a scalar."""
    key: list[Any] = []
    for part in parts:
        if part.kind == "slice":
            key.append(slice(part.begin, part.end, part.stride))
        else:
            key.append({"index": part.begin, "new": None, "rest": Ellipsis}[part.kind])
    return tuple(key) if Ellipsis in key else (*key, Ellipsis)


MASKS = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}


def selection_of(
    shape: Shape, begin: Spec, end: Spec, strides: Spec, masks: dict[str, int]
) -> Selection | None:
    """The elements that StridedSlice's arguments choose; None where it is not known which kind of key they are."""
    parts = _known_parts(begin, end, strides, masks)
    if shape is None or parts is None:
        return None
    is_too_long = sum(part.kind in ("slice", "index") for part in parts) > len(shape)
    return None if is_too_long else _selection(View.dense(shape), parts)


StridedSlice = OpDef(
    "StridedSlice",
    "input: T, begin: Index, end: Index, strides: Index -> output: T",
    attrs=MASKS,
    types={"Index": INDICES},
    form=Position(
        0,
        1,
        lambda x, begin, end, strides, **masks: selection_of(x.shape, begin, end, strides, masks),
    ),
    aliases=(0,),
)


@StridedSlice.shape
def _strided_slice_shape(x: Spec, begin: Spec, end: Spec, strides: Spec, **masks: int) -> Shape:
    vectors = [_positions(v) for v in (begin, end, strides)]
    if x.shape is None or any(v is None for v in vectors):
        return None
    first, stop, stride = (v or [] for v in vectors)
    if not len(first) == len(stop) == len(stride):
        raise Complaint(
            "Expected begin, end, and strides to be 1D equal size tensors, "
            f"but got sizes {len(first)}, {len(stop)}, and {len(stride)} instead."
        )
    return _sliced(x.shape, _parts(first, stop, stride, masks))


@StridedSlice.value
def _strided_slice_value(x: Spec, begin: Spec, end: Spec, strides: Spec, **masks: int) -> Array | None:
    vectors = [known_ints(v) for v in (begin, end, strides)]
    if x.value is None or any(v is None for v in vectors):
        return None
    first, stop, stride = (v or [] for v in vectors)
    return x.value[_numpy_key(_parts(first, stop, stride, masks))]


@StridedSlice.kernel
def _strided_slice_kernel(x: Array, begin: Array, end: Array, strides: Array, **masks: int) -> Array:
    parts = _parts(begin.tolist(), end.tolist(), strides.tolist(), masks)
    try:
        return x[_numpy_key(parts)]
    except (IndexError, ValueError):
        _sliced(x.shape, parts)  # says it in TensorFlow's words
        raise


@StridedSlice.view
def _strided_slice_view(
    x: View, _: Spec, begin: Spec, end: Spec, strides: Spec, *, outs: Sequence[Spec], **masks: int
) -> View | None:
    parts = _known_parts(begin, end, strides, masks)
    return None if parts is None else _view_of_slice(x, parts)


@StridedSlice.gradient
def _strided_slice_gradient(op: Operation, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, begin, end, strides = op.inputs
    shape = structural.shape(x, out_type=begin.dtype)
    return StridedSliceGrad(shape, begin, end, strides, dy, **op.attrs), None, None, None


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """The elements from `begin` up to `end`, every `strides`-th; `x[1:, ..., None, 2]` is a call of it.

    Args:
        input_: [...], of any dtype.
        begin: the first position along each of the leading axes, [n], int32 or int64;
            negative: from the end.
        end: the position before which to stop, [n].
        strides: the steps, [n], not zero, possibly negative; ones by default.
        begin_mask: bit i: take `begin[i]` as the first position.
        end_mask: bit i: take `end[i]` as the last position.
        ellipsis_mask: bit i: entry i stands for as many whole axes as are left; at most one.
        new_axis_mask: bit i: entry i is a new axis of size 1.
        shrink_axis_mask: bit i: take only position `begin[i]`, and drop the axis.
        var: the variable whose value `input_` is: the result then has a method `assign(value, name=None)`, which
            writes to that part of the variable.
        name: the operation's name.

    Returns:
        The slice; its rank is that of `input_` without dropped axes, plus new ones.

    Raises:
        ValueError, InvalidArgumentError: an index that is out of bounds, more entries than axes, a stride of
            zero. Bounds of ranges are never too large, as in Python.
    """
    if strides is None:
        begin = convert_to_tensor(begin, name="begin")
        strides = fills.ones_like(begin)
    result = StridedSlice(
        input_,
        begin,
        end,
        strides,
        begin_mask=begin_mask,
        end_mask=end_mask,
        ellipsis_mask=ellipsis_mask,
        new_axis_mask=new_axis_mask,
        shrink_axis_mask=shrink_axis_mask,
        name=name,
    )
    return result if var is None else var._assignable_slice(result)


StridedSliceGrad = OpDef(
    "StridedSliceGrad",
    "shape: Index, begin: Index, end: Index, strides: Index, dy: T -> output: T",
    attrs=MASKS,
    types={"Index": INDICES},
    form=Position(
        4,
        1,
        lambda shape, begin, end, strides, dy, **masks: selection_of(
            shapes.from_value(shape.value), begin, end, strides, masks
        ),
        is_adjoint=True,
    ),
)


@StridedSliceGrad.shape
def _strided_slice_grad_shape(
    shape: Spec, begin: Spec, end: Spec, strides: Spec, dy: Spec, **masks: int
) -> Shape:
    (rank,) = shapes.dims(shape.shape, 1)
    return shapes.from_value(shape.value, rank)


@StridedSliceGrad.kernel
def _strided_slice_grad_kernel(
    shape: Array, begin: Array, end: Array, strides: Array, dy: Array, **masks: int
) -> Array:
    result = np.zeros(shape.tolist(), dy.dtype)
    parts = _parts(begin.tolist(), end.tolist(), strides.tolist(), masks)
    expected = _sliced(result.shape, parts)
    if dy.shape != expected:
        raise Complaint(f"shape of dy was {shapes.show(dy.shape)} instead of {shapes.show(expected)}")
    result[_numpy_key(parts)] = dy
    return result


@StridedSliceGrad.parts
def _strided_slice_grad_parts(
    shape: Spec, begin: Spec, end: Spec, strides: Spec, dy: Spec, *, outs: Sequence[Spec], **masks: int
) -> Assembly | None:
    parts = _known_parts(begin, end, strides, masks)
    whole = outs[0].shape or ()
    if parts is None or not all(sizes.surely_at_most(0, d) for d in whole):
        return None
    target = _view_of_slice(View.dense(whole), parts)
    return None if target is None else Assembly((Part(4, View.dense(dy.shape or ()), target),), fill=0)


@StridedSliceGrad.gradient
def _strided_slice_grad_gradient(op: Operation, dy: Tensor) -> tuple[Tensor | None, ...]:
    _, begin, end, strides, _ = op.inputs
    return None, None, None, None, StridedSlice(dy, begin, end, strides, **op.attrs)


def write_slice(
    target: Array, begin: Array, end: Array, strides: Array, value: Array, masks: dict[str, int]
) -> None:
    """Writes a value, which is broadcast, into the slice of an array that StridedSlice's arguments describe.

    Raises:
        Complaint: the value does not fit.
    """
    parts = _parts(begin.tolist(), end.tolist(), strides.tolist(), masks)
    expected = _sliced(target.shape, parts)
    try:
        target[_numpy_key(parts)] = value
    except ValueError:
        raise Complaint(
            f"the value has the shape {shapes.show(value.shape)}, but the slice {shapes.show(expected)}"
        ) from None


# ---------------------------------------------------------------- x[...]


def slice_by(tensor: Any, key: Any) -> Tensor:
    """What `tensor[key]` means, where the key is no mask (for which see `indexing.getitem`).

    Args:
        tensor: [...], of any dtype.
        key: an integer, a scalar int32 or int64 tensor, a slice of such, `...`, `tf.newaxis`, or a tuple (or
            list) of these.

    Raises:
        TypeError: anything else in the key.  ValueError: an index out of bounds, too many entries.
    """
    entries: Sequence[Any] = key if isinstance(key, (list, tuple)) else (key,)
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = dict(MASKS)
    for i, entry in enumerate(entries):
        bit = 1 << i
        first: Any = 0
        stop: Any = 0
        stride: Any = 1
        if entry is Ellipsis:
            masks["ellipsis_mask"] |= bit
        elif entry is None:
            masks["new_axis_mask"] |= bit
        elif isinstance(entry, slice):
            low, high = _bound(entry.start), _bound(entry.stop)
            if low is None:
                masks["begin_mask"] |= bit
            else:
                first = low
            if high is None:
                masks["end_mask"] |= bit
            else:
                stop = high
            if entry.step is not None:
                stride = _index(entry.step)
        else:
            first = _index(entry)
            stop = next_position(first)
            masks["shrink_axis_mask"] |= bit
        begin.append(first)
        end.append(stop)
        strides.append(stride)
    with name_scope(None, "strided_slice", [tensor, *begin, *end, *strides]) as scope:
        dtype = _index_dtype([*begin, *end, *strides])
        packed = [_pack(values, dtype) for values in (begin, end, strides)]
        return StridedSlice(tensor, *packed, **masks, name=scope)


def _bound(value: Any) -> Any:
    """A bound of a slice; None, or sys.maxsize as Python 2 wrote it, where there is none."""
    if value is None or (isinstance(value, int) and value == sys.maxsize):
        return None
    return _index(value)


def _index(value: Any) -> Any:
    """An integer or a scalar integer tensor out of one entry of a key.

    Raises:
        TypeError: it is neither.  ValueError: an unknown Dimension.
    """
    if isinstance(value, Dimension):
        if value.value is None:
            _refuse(ValueError, "Cannot index by an unknown Dimension", "use tf.shape(x)[i] for x.shape[i]")
        return value.value
    if isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu":
        return int(value)
    is_integer = dtype_of(value) in (dtypes.int32, dtypes.int64)
    index = convert_to_tensor(value) if is_integer else None
    if index is None or index.spec.rank not in (None, 0):
        _refuse(
            TypeError,
            "Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar tf.int32/tf.int64 "
            f"tensors are valid indices, got {value!r}",
            None if index is None else "tf.gather(x, indices)",
        )
    return index


def next_position(position: Any) -> Any:
    """position + 1, for an integer or a tensor of integers."""
    return elementwise.AddV2(position, 1, name="add") if isinstance(position, Tensor) else position + 1


def _refuse(kind: type[Exception], problem: str, fix: str | None = None) -> NoReturn:
    raise kind(errors.describe("strided_slice", problem, [source.caller().describe()], fix))


def _index_dtype(values: Sequence[Any]) -> DType:
    """int64 where some index has that type or is too large for int32, else int32."""
    wide = any(
        v.dtype == dtypes.int64 if isinstance(v, Tensor) else not -(2**31) <= v < 2**31 for v in values
    )
    return dtypes.int64 if wide else dtypes.int32


def _pack(values: Sequence[Any], dtype: DType) -> Tensor:
    """Integers and scalar tensors as one vector named "stack"."""
    if not any(isinstance(v, Tensor) for v in values):
        return convert_to_tensor(np.array(values, dtype.numpy), name="stack")
    same = [elementwise.cast(v, dtype) if isinstance(v, Tensor) else v for v in values]
    return joining.stack(same, name="stack")
