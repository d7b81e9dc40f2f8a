"""Order and equality along axes: the largest elements, sorting, searching, unique elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import constant_value, convert_to_tensor
from tahr.core.dtypes import INDICES, REALS, DType
from tahr.core.forms import AmongLargest, Largest, SortedPlace
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_int
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops import elementwise, indexing, joining, reductions, results, structural
from tahr.ops.slicing import slice_by

# ---------------------------------------------------------------- the largest elements


TopKV2 = OpDef(
    "TopKV2",
    "input: T, k: int32 -> values: T, indices: int32",
    attrs={"sorted": True},
    types={"T": REALS},
    form=Largest(),
)


@TopKV2.shape
def _top_k_shape(x: Spec, k: Spec, *, sorted: bool) -> list[Shape]:
    count: Dim = UNKNOWN if k.value is None else k.value.ravel()[0]
    if isinstance(count, int) and count < 0:
        raise Complaint(f"Need k >= 0, got {count}")
    if x.shape is None:
        return [None, None]
    if not x.shape:
        raise Complaint("Shape must be at least rank 1 but is rank 0")
    last = x.shape[-1]
    if isinstance(count, int) and isinstance(last, int) and count > last:
        raise Complaint(f"input must have last dimension >= k = {count} but is {last}")
    shape = (*x.shape[:-1], count)
    return [shape, shape]


@TopKV2.kernel
def _top_k_kernel(x: Array, k: Array, *, sorted: bool) -> tuple[Array, Array]:
    count = int(k)
    if x.ndim == 0:
        raise Complaint("input must be >= 1-D, got shape []")
    if count < 0:
        raise Complaint(f"Need k >= 0, got {count}")
    if count > x.shape[-1]:
        raise Complaint(f"input must have at least k columns. Had {x.shape[-1]}, needed {count}")
    places = _largest(x, count)
    return np.take_along_axis(x, places, -1), places.astype(np.int32)


def _largest(x: Array, count: int) -> Array:
    """The places of the `count` largest elements along the last axis, descending; the first ones of equals.

    NaN counts as largest.
    """
    if x.dtype == dtypes.bfloat16.numpy:
        x = x.astype(np.float32)  # NumPy takes the NaN of a dtype that is not its own for a number
    if count == 1:
        return x.argmax(-1)[..., None]
    if x.size and 0 < 8 * count <= x.shape[-1] and x.dtype.kind in "iuf" and not np.isnan(x.max()):
        places = _places_of_largest(x, count)
        order = _descending(np.take_along_axis(x, places, -1))
        return np.take_along_axis(places, order, -1)
    return _descending(x)[..., :count]


def _descending(x: Array) -> Array:
    """The places of all elements along the last axis, descending; equal elements keep their order."""
    # A stable ascending sort from the back, read from the back.
    backwards = np.argsort(x[..., ::-1], axis=-1, kind="stable")
    return (x.shape[-1] - 1) - backwards[..., ::-1]


def _places_of_largest(x: Array, count: int) -> Array:
    """The places of the `count` largest elements, by place: without sorting all, for few of many.

    Of 10,000 elements the 10 largest are found in a quarter of the time of a sort.
    """
    rank = x.shape[-1] - count
    least = np.partition(x, rank, axis=-1)[..., rank, None]
    above, ties = x > least, x == least
    room = count - above.sum(axis=-1, keepdims=True)
    chosen = above | (ties & (np.cumsum(ties, axis=-1) <= room))
    return np.nonzero(chosen)[-1].reshape(*x.shape[:-1], count)


@TopKV2.gradient
def _top_k_gradient(op: Operation, dy: Tensor, _: Tensor | None) -> tuple[Tensor, None]:
    x = op.inputs[0]
    return scatter_along_last(dy, op.outputs[1], x), None


def scatter_along_last(dy: Tensor, places: Tensor, x: Tensor) -> Tensor:
    """Zeros like `x` [..., n] with `dy` [..., k] added at `places` [..., k] of the last axis."""
    shape = structural.shape(x)
    rows = reductions.reduce_prod(slice_by(shape, slice(None, -1)))
    starts = elementwise.multiply(structural.range_(rows), slice_by(shape, -1))
    column = joining.concat([slice_by(shape, slice(None, -1)), [1]], 0)
    flat = elementwise.add(places, structural.reshape(starts, column))
    count = structural.reshape(structural.size(flat), [1])
    total = indexing.unsorted_segment_sum(
        structural.reshape(dy, count), structural.reshape(flat, count), structural.size(x)
    )
    return structural.reshape(total, shape)


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> results.TopKV2:
    """The `k` largest elements along the last axis, and where they are; of equals those with lower indices.

    Args:
        input: real numbers [..., n].
        k: an int32 scalar, at most n.
        sorted: whether they must come in descending order; here they always do.
        name: the operation's name.

    Returns:
        (values, indices), both [..., k]; indices are int32.

    Raises:
        ValueError, InvalidArgumentError: `input` is a scalar, or has fewer than `k` columns.
    """
    return results.TopKV2(*TopKV2(input, k, sorted=sorted, name=name))


_IN_TOP_K = "predictions: float32, targets: T"


def _in_top_k_shape(predictions: Spec, targets: Spec, *_: Spec, **attrs: Any) -> Shape:
    rows, _classes = shapes.dims(predictions.shape, 2)
    (count,) = shapes.dims(targets.shape, 1)
    if isinstance(rows, int) and isinstance(count, int) and rows != count:
        raise Complaint(f"Dimensions must be equal, but are {rows} and {count}")
    return (shapes.merge_dims(rows, count),)


def _are_in_top_k(predictions: Array, targets: Array, k: int) -> Array:
    """Ties count in; rows that hold anything infinite or NaN, or whose target is no class, do not."""
    if predictions.ndim != 2 or targets.shape != predictions.shape[:1]:
        raise Complaint(
            "predictions must be 2-dimensional, and targets have one element for each row, but are "
            f"{shapes.show(predictions.shape)} and {shapes.show(targets.shape)}"
        )
    classes = predictions.shape[1]
    exists = (targets >= 0) & (targets < classes)
    if classes == 0:
        return exists
    chosen = predictions[np.arange(targets.size), np.where(exists, targets, 0)]
    larger = (predictions > chosen[:, None]).sum(axis=1)
    return exists & np.isfinite(predictions).all(axis=1) & (larger < k)


InTopK = OpDef(
    "InTopK",
    _IN_TOP_K + " -> precision: bool",
    attrs={"k": REQUIRED},
    types={"T": INDICES},
    form=AmongLargest(count=lambda *_, k: k),
)
InTopK.not_differentiable()
InTopK.shape(_in_top_k_shape)


@InTopK.kernel
def _in_top_k_legacy_kernel(predictions: Array, targets: Array, *, k: int) -> Array:
    return _are_in_top_k(predictions, targets, k)


InTopKV2 = OpDef(
    "InTopKV2",
    _IN_TOP_K + ", k: T -> precision: bool",
    types={"T": INDICES},
    form=AmongLargest(count=lambda predictions, targets, k: known_int(k)),
)
InTopKV2.not_differentiable()
InTopKV2.shape(_in_top_k_shape)


@InTopKV2.kernel
def _in_top_k_kernel(predictions: Array, targets: Array, k: Array) -> Array:
    return _are_in_top_k(predictions, targets, int(k))


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Whether each target is among the `k` classes with the largest predictions; ties count in.

    Args:
        predictions: float32 [batch, classes].
        targets: int32 or int64 [batch]: classes.
        k: a scalar.
        name: the operation's name.

    Returns:
        bool [batch]; False where the target is no class, or a prediction of the row is infinite or NaN.

    Raises:
        ValueError: the shapes do not fit.
    """
    with name_scope(name, "in_top_k"):
        return InTopKV2(predictions, targets, k, name=name)


NthElement = OpDef(
    "NthElement", "input: T, n: int32 -> values: T", attrs={"reverse": False}, types={"T": REALS}
)


@NthElement.shape
def _nth_element_shape(x: Spec, n: Spec, *, reverse: bool) -> Shape:
    if x.shape is None:
        return None
    if not x.shape:
        raise Complaint("Shape must be at least rank 1 but is rank 0")
    place, last = known_int(n), x.shape[-1]
    if place is not None and place < 0:
        raise Complaint(f"n must be non-negative, got {place}")
    if place is not None and isinstance(last, int) and last <= place:
        raise Complaint(f"Input must have last dimension > n = {place} but is {last}")
    return x.shape[:-1]


@NthElement.kernel
def _nth_element_kernel(x: Array, n: Array, *, reverse: bool) -> Array:
    place = int(n)
    if place < 0:
        raise Complaint(f"n must be non-negative, got {place}")
    if x.ndim == 0 or place >= x.shape[-1]:
        raise Complaint(f"Input must have last dimension > n = {place}")
    if reverse:
        place = x.shape[-1] - 1 - place
    return np.asarray(np.sort(x, axis=-1)[..., place])


@NthElement.gradient
def _nth_element_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    # Elements equal to the chosen one share its gradient.
    x, chosen = op.inputs[0], structural.expand_dims(op.outputs[0], -1)
    equals = elementwise.cast(elementwise.equal(chosen, x), dy.dtype)
    share = elementwise.realdiv(equals, structural.reduce_sum(equals, -1, keepdims=True))
    return elementwise.multiply(share, structural.expand_dims(dy, -1)), None


# ---------------------------------------------------------------- sort


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """The elements along an axis, put in order.

    Args:
        values: real numbers, [...].
        axis: which axis; negative from the end.
        direction: "ASCENDING" or "DESCENDING".
        name: the name scope.

    Raises:
        ValueError: another direction, or an axis that does not exist or is not known.
    """
    with name_scope(name, "sort"):
        return _sorted(values, axis, direction)[0]


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Tensor:
    """The places that put the elements in order along an axis: a gather from there is sorted.

    Args:
        values: real numbers, [...].
        axis: which axis; negative from the end.
        direction: "ASCENDING" or "DESCENDING".
        stable: accepted for TensorFlow's sake; equal elements always keep their order.
        name: the name scope.

    Returns:
        int32 [...].

    Raises:
        ValueError: another direction, or an axis that does not exist or is not known.
    """
    with name_scope(name, "argsort"):
        return _sorted(values, axis, direction)[1]


def _sorted(values: Any, axis: Any, direction: str) -> tuple[Tensor, Tensor]:
    """The sorted values, and the places where they were: all of `top_k`, of flipped values if ascending."""
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(f"{direction} should be one of ASCENDING, DESCENDING")
    known = constant_value(axis) if isinstance(axis, Tensor) else axis
    if known is None:
        raise ValueError("axis must be constant")
    values = convert_to_tensor(values, name="values")
    rank = values.spec.rank
    if rank is None and int(known) != -1:
        raise ValueError("sort needs values of known rank, or axis=-1")
    perm = None
    if rank is not None:
        at = shapes.normalize_axis(int(known), rank)
        perm = list(range(rank))
        perm[at], perm[-1] = perm[-1], perm[at]  # its own inverse
    is_last = perm is None or perm == list(range(len(perm)))
    keys = values if is_last else structural.transpose(values, perm)
    ascends = direction == "ASCENDING"
    found = top_k(_flipped(keys) if ascends else keys, slice_by(structural.shape(keys), -1))
    ordered = _flipped(found.values) if ascends else found.values
    if is_last:
        return ordered, found.indices
    return structural.transpose(ordered, perm), structural.transpose(found.indices, perm)


def _flipped(x: Tensor) -> Tensor:
    """The numbers in reverse order, without overflow: -x; -1 - x for integers, max - x for unsigned ones."""
    if x.dtype.is_unsigned:
        return elementwise.subtract(elementwise.cast(x.dtype.max, x.dtype), x)
    if x.dtype.is_integer:
        return elementwise.subtract(elementwise.cast(-1, x.dtype), x)
    return elementwise.negative(x)


# ---------------------------------------------------------------- search


def _bound_shape(sorted_inputs: Spec, values: Spec, *, out_type: DType) -> Shape:
    rows, _ = shapes.dims(sorted_inputs.shape, 2)
    count, width = shapes.dims(values.shape, 2)
    return (shapes.merge_dims(rows, count), width)


def _bounds(sorted_inputs: Array, values: Array, side: Any, out_type: DType) -> Array:
    if sorted_inputs.ndim != 2 or values.ndim != 2 or len(sorted_inputs) != len(values):
        raise Complaint("Leading dim_size of both tensors must match, and both be matrices")
    result = np.empty(values.shape, out_type.numpy)
    for row, (ordered, wanted) in enumerate(zip(sorted_inputs, values)):
        result[row] = np.searchsorted(ordered, wanted, side)
    return result


_BOUND = "sorted_inputs: T, values: T -> output: out_type"

LowerBound = OpDef("LowerBound", _BOUND, attrs={"out_type": dtypes.int32}, form=SortedPlace(True))
LowerBound.shape(_bound_shape)
LowerBound.not_differentiable()


@LowerBound.kernel
def _lower_bound_kernel(sorted_inputs: Array, values: Array, *, out_type: DType) -> Array:
    return _bounds(sorted_inputs, values, "left", out_type)


UpperBound = OpDef("UpperBound", _BOUND, attrs={"out_type": dtypes.int32}, form=SortedPlace(False))
UpperBound.shape(_bound_shape)
UpperBound.not_differentiable()


@UpperBound.kernel
def _upper_bound_kernel(sorted_inputs: Array, values: Array, *, out_type: DType) -> Array:
    return _bounds(sorted_inputs, values, "right", out_type)


def searchsorted(
    sorted_sequence: Any,
    values: Any,
    side: str = "left",
    out_type: Any = dtypes.int32,
    name: str | None = None,
) -> Tensor:
    """Where values would be inserted into sorted sequences.

    Args:
        sorted_sequence: [..., n], ascending along the last axis.
        values: [..., m], of the same type.
        side: "left" goes before equal elements, "right" after them.
        out_type: int32 or int64.
        name: the operation's name.

    Returns:
        [..., m], of `out_type`, in [0, n].

    Raises:
        ValueError: another side, or shapes that do not fit.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be either 'right' or 'left'.  Saw: {side}.")
    sorted_sequence = convert_to_tensor(sorted_sequence)
    values = convert_to_tensor(values, dtype=sorted_sequence.spec.dtype)
    bound = UpperBound if side == "right" else LowerBound
    found = bound(_as_rows(sorted_sequence), _as_rows(values), out_type=dtypes.as_dtype(out_type), name=name)
    return structural.reshape(found, structural.shape(values))


def _as_rows(x: Tensor) -> Tensor:
    """[..., n] as a matrix [rows, n]."""
    return structural.reshape(x, joining.stack([-1, slice_by(structural.shape(x), -1)]))


# ---------------------------------------------------------------- unique elements


def _unique_shape(x: Spec, *, out_idx: DType) -> list[Shape]:
    return [(UNKNOWN,), shapes.dims(x.shape, 1)]


def _unique_with_counts_shape(x: Spec, *, out_idx: DType) -> list[Shape]:
    return [(UNKNOWN,), shapes.dims(x.shape, 1), (UNKNOWN,)]


def _unique(x: Array) -> tuple[Array, Array, Array]:
    """The different elements in the order of their first occurrence, the place of each element, the counts.

    Two NaNs differ, as in TensorFlow.
    """
    if x.ndim != 1:
        raise Complaint(f"unique expects a 1D vector, but has the shape {shapes.show(x.shape)}")
    if x.dtype.kind in "iu" and x.size and _span(x) <= _MOST_SPANNED * x.size:
        first, inverse, counts = _occurrences(x)
    else:
        _, first, inverse, counts = np.unique(
            x, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
        )
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return x[first[order]], rank[inverse.reshape(-1)], counts[order]


# Integers that spread over at most so many times their number are counted rather than sorted.
_MOST_SPANNED = 8


def _span(x: Array) -> int:
    """How many integers there are from the least to the greatest."""
    return int(x.max()) - int(x.min()) + 1


def _occurrences(x: Array) -> tuple[Array, Array, Array]:
    """For integers the first places of the different ones, which one each is, and the counts; by tables."""
    wide = x if x.dtype == np.uint64 else x.astype(np.int64)
    places = (wide - wide.min()).astype(np.intp)
    counts = np.bincount(places)
    first = np.empty(counts.size, np.intp)
    first[places[::-1]] = np.arange(x.size - 1, -1, -1)  # of equal ones the last to be written is the first
    different = np.flatnonzero(counts)
    number = np.empty(counts.size, np.intp)
    number[different] = np.arange(different.size)
    return first[different], number[places], counts[different]


Unique = OpDef("Unique", "x: T -> y: T, idx: out_idx", attrs={"out_idx": dtypes.int32})
Unique.shape(_unique_shape)


@Unique.kernel
def _unique_kernel(x: Array, *, out_idx: DType) -> tuple[Array, Array]:
    y, idx, _ = _unique(x)
    return y, idx.astype(out_idx.numpy)


def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> results.Unique:
    """The different elements of a vector, and for each element which one it is.

    Args:
        x: [n], of any dtype.
        out_idx: the type of the indices, int32 or int64.
        name: the operation's name.

    Returns:
        (y, idx): `y` in the order of first occurrence, `idx` [n] with `y[idx] == x`.

    Raises:
        ValueError: `x` is no vector.
    """
    return results.Unique(*Unique(x, out_idx=dtypes.as_dtype(out_idx), name=name))


UniqueWithCounts = OpDef(
    "UniqueWithCounts", "x: T -> y: T, idx: out_idx, count: out_idx", attrs={"out_idx": dtypes.int32}
)
UniqueWithCounts.shape(_unique_with_counts_shape)


@UniqueWithCounts.kernel
def _unique_with_counts_kernel(x: Array, *, out_idx: DType) -> tuple[Array, Array, Array]:
    y, idx, count = _unique(x)
    return y, idx.astype(out_idx.numpy), count.astype(out_idx.numpy)


def unique_with_counts(
    x: Any, out_idx: Any = dtypes.int32, name: str | None = None
) -> results.UniqueWithCounts:
    """The different elements of a vector, for each element which one it is, and how often each occurs.

    Args:
        x: [n], of any dtype.
        out_idx: the type of the indices and counts, int32 or int64.
        name: the operation's name.

    Returns:
        (y, idx, count), see `unique`; `count` is as long as `y`.

    Raises:
        ValueError: `x` is no vector.
    """
    return results.UniqueWithCounts(*UniqueWithCounts(x, out_idx=dtypes.as_dtype(out_idx), name=name))


ListDiff = OpDef("ListDiff", "x: T, y: T -> out: T, idx: out_idx", attrs={"out_idx": dtypes.int32})


@ListDiff.shape
def _list_diff_shape(x: Spec, y: Spec, *, out_idx: DType) -> list[Shape]:
    shapes.dims(x.shape, 1)
    shapes.dims(y.shape, 1)
    return [(UNKNOWN,), (UNKNOWN,)]


@ListDiff.kernel
def _list_diff_kernel(x: Array, y: Array, *, out_idx: DType) -> tuple[Array, Array]:
    (idx,) = np.nonzero(~np.isin(x, y))
    return x[idx], idx.astype(out_idx.numpy)


def setdiff1d(x: Any, y: Any, index_dtype: Any = dtypes.int32, name: str | None = None) -> results.ListDiff:
    """The elements of one vector that do not occur in another, in their order and as often as they occur.

    Args:
        x, y: vectors of one dtype.
        index_dtype: the type of the indices, int32 or int64.
        name: the operation's name.

    Returns:
        (out, idx): the elements, and where they are in `x`.

    Raises:
        ValueError: `x` or `y` is no vector.
    """
    return results.ListDiff(*ListDiff(x, y, out_idx=dtypes.as_dtype(index_dtype), name=name))
