"""Reductions by segment: over the rows of a tensor that have equal ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import FLOATING, FLOATS, INDICES, NUMBERS, REALS
from tahr.core.forms import Accumulation
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops import elementwise as e, fills, indexing, joining, special, structural as s

# ---------------------------------------------------------------- ids in order

_SEGMENT_TYPES = {"T": NUMBERS, "Tindices": INDICES, "Tnumsegments": INDICES}
_ORDERED_SEGMENT_TYPES = {"T": REALS, "Tindices": INDICES, "Tnumsegments": INDICES}


def _segment_shape(data: Spec, segment_ids: Spec) -> Shape:
    (count,) = shapes.dims(segment_ids.shape, 1)
    if data.shape is None:
        return None
    if not data.shape:
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    try:
        shapes.merge_dims(data.shape[0], count)
    except ValueError:
        raise ValueError("segment_ids should be the same size as dimension 0 of input") from None
    ids = known_ints(segment_ids)
    return (UNKNOWN if ids is None else max(ids, default=-1) + 1, *data.shape[1:])


def _reduce_rows(ufunc: np.ufunc, out: Array, data: Array, ids: Array) -> Array:
    """Writes to out[i] the reduction of the rows whose id is i; `ids` ascend."""
    if ids.size and data.size:
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        out[ids[starts]] = ufunc.reduceat(data, starts, axis=0, dtype=data.dtype)
    return out


def _segment_kernel(ufunc: np.ufunc, data: Array, ids: Array, empty: Any) -> Array:
    if ids.shape != data.shape[:1]:
        raise Complaint("segment_ids should be the same size as dimension 0 of input.")
    if np.any(ids[1:] < ids[:-1]):
        raise Complaint("segment ids are not increasing")
    if ids.size and ids[0] < 0:
        raise Complaint("segment ids must be >= 0")
    count = int(ids[-1]) + 1 if ids.size else 0
    return _reduce_rows(ufunc, np.full((count, *data.shape[1:]), empty, data.dtype), data, ids)


def _per_row(counts: Tensor, rows: Tensor) -> Tensor:
    """One number for each row, in the dtype of the rows and shaped to broadcast against them."""
    trailing = fills.fill(s.expand_dims(e.subtract(s.rank(rows), s.rank(counts)), 0), 1)
    return s.reshape(e.cast(counts, rows.dtype), joining.concat([s.shape(counts), trailing], 0))


SegmentSum = OpDef("SegmentSum", "data: T, segment_ids: Tindices -> output: T", types=_SEGMENT_TYPES)
SegmentSum.shape(_segment_shape)


@SegmentSum.kernel
def _segment_sum_kernel(data: Array, ids: Array) -> Array:
    return _segment_kernel(np.add, data, ids, 0)


@SegmentSum.gradient
def _segment_sum_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return indexing.gather(dy, op.inputs[1]), None


def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The sums of the rows with equal ids.

    Args:
        data: numbers, [n, ...].
        segment_ids: the segment of each row, int32 or int64, [n], ascending.
        name: the operation's name.

    Returns:
        One row for each segment up to the last, [segment_ids[-1] + 1, ...]; 0 for a segment without rows.

    Raises:
        ValueError: the sizes differ.  InvalidArgumentError: the ids do not ascend, or are negative.
    """
    return SegmentSum(data, segment_ids, name=name)


SegmentMean = OpDef(
    "SegmentMean", "data: T, segment_ids: Tindices -> output: T", types={"T": FLOATING, "Tindices": INDICES}
)
SegmentMean.shape(_segment_shape)


@SegmentMean.expansion
def _segment_mean_expansion(data: Tensor, ids: Tensor) -> Tensor:
    total = segment_sum(data, ids)
    counts = e.maximum(segment_sum(fills.ones_like(ids), ids), 1)
    return e.realdiv(total, _per_row(counts, total))


def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The means of the rows with equal ids; 0 for a segment without rows. As `segment_sum`, floating."""
    return SegmentMean(data, segment_ids, name=name)


SegmentProd = OpDef("SegmentProd", "data: T, segment_ids: Tindices -> output: T", types=_SEGMENT_TYPES)
SegmentProd.shape(_segment_shape)


@SegmentProd.kernel
def _segment_prod_kernel(data: Array, ids: Array) -> Array:
    return _segment_kernel(np.multiply, data, ids, 1)


def segment_prod(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The products of the rows with equal ids; 1 for a segment without rows. As `segment_sum`.

    Unlike TensorFlow's it has a gradient.
    """
    return SegmentProd(data, segment_ids, name=name)


SegmentMax = OpDef("SegmentMax", "data: T, segment_ids: Tindices -> output: T", types=_ORDERED_SEGMENT_TYPES)
SegmentMax.shape(_segment_shape)


@SegmentMax.kernel
def _segment_max_kernel(data: Array, ids: Array) -> Array:
    return _segment_kernel(np.maximum, data, ids, 0)


def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The largest elements of the rows with equal ids; 0 where there are none. As `segment_sum`, real."""
    return SegmentMax(data, segment_ids, name=name)


SegmentMin = OpDef("SegmentMin", "data: T, segment_ids: Tindices -> output: T", types=_ORDERED_SEGMENT_TYPES)
SegmentMin.shape(_segment_shape)


@SegmentMin.kernel
def _segment_min_kernel(data: Array, ids: Array) -> Array:
    return _segment_kernel(np.minimum, data, ids, 0)


def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The smallest elements of the rows with equal ids; 0 where there are none. As `segment_sum`, real."""
    return SegmentMin(data, segment_ids, name=name)


# ---------------------------------------------------------------- ids in any order


def _unsorted_kernel(ufunc: np.ufunc, data: Array, ids: Array, num_segments: Array, empty: Any) -> Array:
    kept, rows = indexing.segment_rows(data, ids, int(num_segments))
    out = np.full((int(num_segments), *rows.shape[1:]), empty, data.dtype)
    indexing.combine_rows(ufunc, out, kept, rows)
    return out


UnsortedSegmentProd = OpDef(
    "UnsortedSegmentProd",
    "data: T, segment_ids: Tindices, num_segments: Tnumsegments -> output: T",
    types=_SEGMENT_TYPES,
    form=Accumulation(rows=0, indices=1, drops_negative=True, combine="multiply"),
)
UnsortedSegmentProd.shape(indexing.segment_shape)


@UnsortedSegmentProd.kernel
def _unsorted_segment_prod_kernel(data: Array, ids: Array, num_segments: Array) -> Array:
    return _unsorted_kernel(np.multiply, data, ids, num_segments, 1)


def _segment_prod_gradient(op: Operation, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dy times the product of the segment's other elements.

    That is y / x; at the only zero of a segment the product of the rest; and 0 where there are more zeros.
    """
    x, ids = op.inputs[:2]
    y = op.outputs[0]
    count = op.inputs[2] if len(op.inputs) == 3 else indexing.getitem(s.shape(y), 0)
    one, zero = fills.ones_like(x), fills.zeros_like(x)
    is_zero = e.equal(x, zero)
    zeros = indexing.unsorted_segment_sum(e.cast(is_zero, dtypes.int32), ids, count)
    filled = e.select(is_zero, one, x)
    product = unsorted_segment_prod(filled, ids, count)
    dy = e.select(e.greater(zeros, 1), fills.zeros_like(dy), dy)
    quotient = e.realdiv(indexing.gather_or_zero(y, ids), filled)
    others = e.select(is_zero, indexing.gather_or_zero(product, ids), quotient)
    return e.multiply(indexing.gather_or_zero(dy, ids), e.conj(others)), *(None for _ in op.inputs[1:])


SegmentProd.gradient(_segment_prod_gradient)
UnsortedSegmentProd.gradient(_segment_prod_gradient)


def unsorted_segment_prod(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The products of the rows with equal ids, in any order.

    Args:
        data: numbers, [*s, ...].
        segment_ids: the segment of each row, below `num_segments`, [*s]; a negative one drops the row.
        num_segments: how many segments there are, an integer scalar.
        name: the operation's name.

    Returns:
        [num_segments, ...]; 1 for a segment without rows.

    Raises:
        InvalidArgumentError: an id is not below `num_segments`.
    """
    return UnsortedSegmentProd(data, segment_ids, num_segments, name=name)


UnsortedSegmentMax = OpDef(
    "UnsortedSegmentMax",
    "data: T, segment_ids: Tindices, num_segments: Tnumsegments -> output: T",
    types=_ORDERED_SEGMENT_TYPES,
    form=Accumulation(rows=0, indices=1, drops_negative=True, combine="maximum"),
)
UnsortedSegmentMax.shape(indexing.segment_shape)


@UnsortedSegmentMax.kernel
def _unsorted_segment_max_kernel(data: Array, ids: Array, num_segments: Array) -> Array:
    lowest = dtypes.of_numpy(data.dtype).min
    return _unsorted_kernel(np.maximum, data, ids, num_segments, lowest)


def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The largest elements of the rows with equal ids; the lowest finite value for a segment without rows.

    Arguments as in `unsorted_segment_prod`, real numbers.
    """
    return UnsortedSegmentMax(data, segment_ids, num_segments, name=name)


UnsortedSegmentMin = OpDef(
    "UnsortedSegmentMin",
    "data: T, segment_ids: Tindices, num_segments: Tnumsegments -> output: T",
    types=_ORDERED_SEGMENT_TYPES,
    form=Accumulation(rows=0, indices=1, drops_negative=True, combine="minimum"),
)
UnsortedSegmentMin.shape(indexing.segment_shape)


@UnsortedSegmentMin.kernel
def _unsorted_segment_min_kernel(data: Array, ids: Array, num_segments: Array) -> Array:
    highest = dtypes.of_numpy(data.dtype).max
    return _unsorted_kernel(np.minimum, data, ids, num_segments, highest)


def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The smallest elements of the rows with equal ids; the highest finite value for a segment without rows.

    Arguments as in `unsorted_segment_prod`, real numbers.
    """
    return UnsortedSegmentMin(data, segment_ids, num_segments, name=name)


def _segment_extreme_gradient(op: Operation, dy: Tensor) -> tuple[Tensor | None, ...]:
    """Elements that share the extreme value of their segment share its gradient equally."""
    x, ids = op.inputs[:2]
    y = op.outputs[0]
    count = op.inputs[2] if len(op.inputs) == 3 else indexing.getitem(s.shape(y), 0)
    one, zero = fills.ones_like(x), fills.zeros_like(x)
    chosen = e.select(e.equal(x, indexing.gather_or_zero(y, ids)), one, zero)
    ties = indexing.unsorted_segment_sum(chosen, ids, count)
    share = e.realdiv(dy, e.maximum(ties, fills.ones_like(ties)))
    return e.multiply(chosen, indexing.gather_or_zero(share, ids)), *(None for _ in op.inputs[1:])


for _op in (SegmentMax, SegmentMin, UnsortedSegmentMax, UnsortedSegmentMin):
    _op.gradient(_segment_extreme_gradient)


def _unsorted_counts(data: Tensor, ids: Tensor, num_segments: Any) -> Tensor:
    """How many rows each segment has, at least 1, shaped to broadcast against the segments' rows."""
    counts = indexing.unsorted_segment_sum(fills.ones_like(ids, dtypes.int32), ids, num_segments)
    trailing = fills.fill(s.expand_dims(e.subtract(s.rank(data), s.rank(ids)), 0), 1)
    shape = joining.concat([s.shape(counts), trailing], 0)
    return s.reshape(e.cast(e.maximum(counts, 1), data.dtype), shape)


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The means of the rows with equal ids; 0 for a segment without rows.

    Arguments as in `unsorted_segment_prod`, floating.
    """
    with name_scope(name, "UnsortedSegmentMean"):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        total = indexing.unsorted_segment_sum(data, ids, num_segments)
        return e.realdiv(total, _unsorted_counts(data, ids, num_segments))


def unsorted_segment_sqrt_n(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """The sums of the rows with equal ids, each divided by the square root of their number; 0 without rows.

    Arguments as in `unsorted_segment_prod`, floating.
    """
    with name_scope(name, "UnsortedSegmentSqrtN"):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        total = indexing.unsorted_segment_sum(data, ids, num_segments)
        return e.realdiv(total, special.sqrt(_unsorted_counts(data, ids, num_segments)))


# ---------------------------------------------------------------- chosen rows

_SPARSE_TYPES = {"T": FLOATS, "Tidx": INDICES, "Tsegmentids": INDICES, "Tnumsegments": INDICES}
_CHOSEN = "data: T, indices: Tidx, segment_ids: Tsegmentids -> output: T"
_CHOSEN_COUNTED = "data: T, indices: Tidx, segment_ids: Tsegmentids, num_segments: Tnumsegments -> output: T"


def _chosen_shape(data: Spec, indices: Spec, segment_ids: Spec) -> Shape:
    rows = None if data.shape is None else (*shapes.dims(indices.shape, 1), *data.shape[1:])
    return _segment_shape(Spec(data.dtype, rows), segment_ids)


def _chosen_counted_shape(data: Spec, indices: Spec, segment_ids: Spec, num_segments: Spec) -> Shape:
    rows = _chosen_shape(data, indices, segment_ids)
    count: Dim = UNKNOWN if num_segments.value is None else num_segments.value.item()
    return None if rows is None else (count, *rows[1:])


SparseSegmentSum = OpDef("SparseSegmentSum", _CHOSEN, types={**_SPARSE_TYPES, "T": REALS})
SparseSegmentSum.shape(_chosen_shape)


@SparseSegmentSum.expansion
def _sparse_segment_sum_expansion(data: Tensor, indices: Tensor, ids: Tensor) -> Tensor:
    return segment_sum(indexing.gather(data, indices), ids)


SparseSegmentSumWithNumSegments = OpDef(
    "SparseSegmentSumWithNumSegments", _CHOSEN_COUNTED, types={**_SPARSE_TYPES, "T": REALS}
)
SparseSegmentSumWithNumSegments.shape(_chosen_counted_shape)


@SparseSegmentSumWithNumSegments.expansion
def _sparse_segment_sum_counted_expansion(
    data: Tensor, indices: Tensor, ids: Tensor, count: Tensor
) -> Tensor:
    return indexing.unsorted_segment_sum(indexing.gather(data, indices), ids, count)


def sparse_segment_sum(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """The sums of chosen rows with equal ids: `segment_sum(gather(data, indices), segment_ids)`.

    Args:
        data: real numbers, [rows, ...].
        indices: which rows, int32 or int64, [n].
        segment_ids: the segment that each goes to, [n], ascending.
        name: the operation's name.
        num_segments: how many segments there are; as many as the last id says by default.

    Returns:
        [num_segments, ...]; 0 for a segment without rows.

    Raises:
        InvalidArgumentError: an index or an id is out of range, or the ids do not ascend.
    """
    if num_segments is None:
        return SparseSegmentSum(data, indices, segment_ids, name=name)
    return SparseSegmentSumWithNumSegments(data, indices, segment_ids, num_segments, name=name)


SparseSegmentMean = OpDef("SparseSegmentMean", _CHOSEN, types=_SPARSE_TYPES)
SparseSegmentMean.shape(_chosen_shape)


@SparseSegmentMean.expansion
def _sparse_segment_mean_expansion(data: Tensor, indices: Tensor, ids: Tensor) -> Tensor:
    return segment_mean(indexing.gather(data, indices), ids)


SparseSegmentMeanWithNumSegments = OpDef(
    "SparseSegmentMeanWithNumSegments", _CHOSEN_COUNTED, types=_SPARSE_TYPES
)
SparseSegmentMeanWithNumSegments.shape(_chosen_counted_shape)


@SparseSegmentMeanWithNumSegments.expansion
def _sparse_segment_mean_counted_expansion(
    data: Tensor, indices: Tensor, ids: Tensor, count: Tensor
) -> Tensor:
    return unsorted_segment_mean(indexing.gather(data, indices), ids, count)


def sparse_segment_mean(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """The means of chosen rows with equal ids. Arguments as in `sparse_segment_sum`, floating."""
    if num_segments is None:
        return SparseSegmentMean(data, indices, segment_ids, name=name)
    return SparseSegmentMeanWithNumSegments(data, indices, segment_ids, num_segments, name=name)


SparseSegmentSqrtN = OpDef("SparseSegmentSqrtN", _CHOSEN, types=_SPARSE_TYPES)
SparseSegmentSqrtN.shape(_chosen_shape)


@SparseSegmentSqrtN.expansion
def _sparse_segment_sqrt_n_expansion(data: Tensor, indices: Tensor, ids: Tensor) -> Tensor:
    total = segment_sum(indexing.gather(data, indices), ids)
    counts = e.maximum(segment_sum(fills.ones_like(ids), ids), 1)
    return e.realdiv(total, special.sqrt(_per_row(counts, total)))


SparseSegmentSqrtNWithNumSegments = OpDef(
    "SparseSegmentSqrtNWithNumSegments", _CHOSEN_COUNTED, types=_SPARSE_TYPES
)
SparseSegmentSqrtNWithNumSegments.shape(_chosen_counted_shape)


@SparseSegmentSqrtNWithNumSegments.expansion
def _sparse_segment_sqrt_n_counted_expansion(
    data: Tensor, indices: Tensor, ids: Tensor, count: Tensor
) -> Tensor:
    return unsorted_segment_sqrt_n(indexing.gather(data, indices), ids, count)


def sparse_segment_sqrt_n(
    data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
) -> Tensor:
    """The sums of chosen rows with equal ids, divided by the square root of their number.

    Arguments as in `sparse_segment_sum`, floating.
    """
    if num_segments is None:
        return SparseSegmentSqrtN(data, indices, segment_ids, name=name)
    return SparseSegmentSqrtNWithNumSegments(data, indices, segment_ids, num_segments, name=name)
