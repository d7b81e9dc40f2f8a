"""Counting: histograms, occurrences of integers, the confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import constant, convert_to_tensor
from tahr.core.dtypes import INDICES, DType
from tahr.core.forms import Occurrences
from tahr.core.graph import Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.errors import Complaint
from tahr.ops import elementwise as e, fills, indexing, joining, reductions, structural as s

HistogramFixedWidth = OpDef(
    "HistogramFixedWidth",
    "values: T, value_range: T, nbins: int32 -> out: dtype",
    attrs={"dtype": dtypes.int32},
    types={"T": frozenset({dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64}), "dtype": INDICES},
).not_differentiable()


@HistogramFixedWidth.shape
def _histogram_shape(values: Spec, value_range: Spec, nbins: Spec, *, dtype: DType) -> Shape:
    shapes.merge(value_range.shape, (2,))
    return (UNKNOWN if nbins.value is None else nbins.value.item(),)


@HistogramFixedWidth.kernel
def _histogram_kernel(values: Array, value_range: Array, nbins: Array, *, dtype: DType) -> Array:
    low, high = value_range
    count = int(nbins)
    if count <= 0:
        raise Complaint(f"nbins should be a positive number, but got '{count}'")
    if not low < high:
        raise Complaint(
            f"value_range should satisfy value_range[0] < value_range[1], but got '[{low}, {high}]'"
        )
    if np.isnan(values).any():
        raise Complaint("values must not contain NaN")
    # The bin is chosen in double precision, whatever the type; values outside fall into the outer bins.
    width = float(high - low) / count
    places = np.clip((values.astype(np.float64) - float(low)) / width, 0, count - 1).astype(np.int64)
    return np.bincount(places.ravel(), minlength=count).astype(dtype.numpy)


def histogram_fixed_width(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None
) -> Tensor:
    """How many values fall into each of `nbins` bins of equal width.

    Args:
        values: any shape, real.
        value_range: [lowest, highest], of the dtype of `values`. Values outside count in the outermost bins.
        nbins: the number of bins, an int32 scalar.
        dtype: int32 or int64, the type of the counts.
        name: the operation's name.

    Returns:
        The counts, [nbins].

    Raises:
        InvalidArgumentError: the range is empty, or there are no bins.
    """
    with name_scope(name, "histogram_fixed_width", [values, value_range, nbins]) as scope:
        return HistogramFixedWidth(values, value_range, nbins, dtype=dtypes.as_dtype(dtype), name=scope)


Bincount = OpDef(
    "Bincount",
    "arr: int32, size: int32, weights: T -> bins: T",
    types={"T": frozenset({dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64})},
    form=Occurrences(),
).not_differentiable()


@Bincount.shape
def _bincount_shape(arr: Spec, size: Spec, weights: Spec) -> Shape:
    shapes.dims(size.shape, 0)
    return (UNKNOWN if size.value is None else size.value.item(),)


@Bincount.kernel
def _bincount_kernel(arr: Array, size: Array, weights: Array) -> Array:
    count = int(size)
    if arr.size and arr.min() < 0:
        raise Complaint("Input arr must be non-negative!")
    if weights.size and weights.size != arr.size:
        raise Complaint(
            f"weights must have the shape of arr, {list(arr.shape)}, or none: {list(weights.shape)}"
        )
    inside = arr < count
    if not weights.size:
        counted = arr.ravel() if inside.all() else arr[inside]
        return np.bincount(counted, minlength=count).astype(weights.dtype)
    bins = np.zeros(count, dtype=weights.dtype)
    np.add.at(bins, arr[inside], weights[inside])
    return bins


def bincount(
    arr: Any, weights: Any = None, minlength: Any = None, maxlength: Any = None, dtype: Any = dtypes.int32
) -> Tensor:
    """How often each integer from 0 on occurs.

    Args:
        arr: int32, any shape, not negative.
        weights: the shape of `arr`: what each occurrence counts; 1 by default.
        minlength: the least length of the result.
        maxlength: the greatest length of the result; larger integers are ignored.
        dtype: the type of the counts where there are no weights.

    Returns:
        The counts, [max(arr) + 1] within those bounds.

    Raises:
        InvalidArgumentError: an integer is negative.
    """
    with name_scope(None, "bincount"):
        arr = convert_to_tensor(arr, dtype=dtypes.int32, name="arr")
        if isinstance(minlength, int) and isinstance(maxlength, int) and minlength >= maxlength:
            size = constant(maxlength)  # whatever there is
        else:
            size = _length_of_bins(arr, minlength, maxlength)
        if weights is not None:
            return indexing.unsorted_segment_sum(convert_to_tensor(weights, name="weights"), arr, size)
        return Bincount(arr, size, constant([], dtype))


def _length_of_bins(arr: Tensor, minlength: Any, maxlength: Any) -> Tensor:
    """How many bins there are for all integers, within bounds."""
    is_nonempty = e.cast(e.greater(reductions.reduce_prod(s.shape(arr)), 0), dtypes.int32)
    size = e.multiply(is_nonempty, e.add(reductions.reduce_max(arr), 1))
    if minlength is not None:
        size = e.maximum(convert_to_tensor(minlength, dtype=dtypes.int32, name="minlength"), size)
    if maxlength is not None:
        size = e.minimum(convert_to_tensor(maxlength, dtype=dtypes.int32, name="maxlength"), size)
    return size


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
    weights: Any = None,
) -> Tensor:
    """How often class i was taken for class j, in row i and column j.

    Args:
        labels: the true classes, integers, [n] (or [n, 1]).
        predictions: the predicted classes, integers, [n] (or [n, 1]).
        num_classes: the number of classes; the largest class plus one by default.
        dtype: the type of the counts.
        name: the operations' scope.
        weights: [n], what each prediction counts; 1 by default.

    Returns:
        [num_classes, num_classes].

    Raises:
        InvalidArgumentError: a class is negative or not below `num_classes`.
    """
    with name_scope(name, "confusion_matrix", [predictions, labels, num_classes, weights]):
        predictions, labels = convert_to_tensor(predictions), convert_to_tensor(labels)
        predictions, labels = _same_rank(predictions, labels), _same_rank(labels, predictions)
        predictions, labels = e.cast(predictions, dtypes.int64), e.cast(labels, dtypes.int64)
        if num_classes is None:
            size = e.add(e.maximum(reductions.reduce_max(predictions), reductions.reduce_max(labels)), 1)
        else:
            size = e.cast(num_classes, dtypes.int64)
        counted = fills.ones_like(predictions, dtype) if weights is None else e.cast(weights, dtype)
        pairs = joining.stack([labels, predictions], axis=1)
        return indexing.scatter_nd(pairs, counted, joining.stack([size, size]))


def _same_rank(x: Tensor, other: Tensor) -> Tensor:
    """`x` without its last axis, of size 1, where it has one more than `other`."""
    if x.spec.rank is None or other.spec.rank is None or x.spec.rank != other.spec.rank + 1:
        return x
    return s.squeeze(x, [-1])
