"""Taking elements by their indices, and the adjoint: putting them back, where equal indices add up.

Gather and UnsortedSegmentSum, GatherNd and ScatterNd are pairs of a linear map and its transpose. Masks are
turned into indices by Where. `getitem` stands behind `x[...]`. The names of `slicing` are names here as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import IndexedSlices, convert_to_tensor
from tahr.core.dtypes import INDICES, NUMBERS
from tahr.core.forms import Accumulation, Lookup
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_int, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.errors import Complaint
from tahr.ops import elementwise, fills, joining, structural
from tahr.ops.slicing import (
    StridedSlice as StridedSlice,
    StridedSliceGrad as StridedSliceGrad,
    next_position,
    slice_by,
    strided_slice as strided_slice,
)

# ---------------------------------------------------------------- Gather


def check_indices(indices: Array, size: int, what: str = "indices") -> None:
    """Raises Complaint, in TensorFlow's words, unless all indices are in [0, size)."""
    if indices.size == 0 or (indices.min() >= 0 and indices.max() < size):
        return
    place = np.argwhere((indices < 0) | (indices >= size))[0]
    value = indices[tuple(place)]
    raise Complaint(f"{what}{show_place(place)} = {value} is not in [0, {size})")


def show_place(place: Sequence[int] | Array) -> str:
    """Where in an array an element is, as TensorFlow's errors print it: [2,0]; nothing for a scalar."""
    return "[" + ",".join(map(str, place)) + "]" if len(place) else ""


def _gather_shape(params: Shape, indices: Shape, axis: int | None, batch_dims: int = 0) -> Shape:
    if params is None or indices is None:
        return None
    if batch_dims < 0:
        batch_dims += len(indices)
    rank = len(params) + len(indices) - batch_dims - 1
    if axis is None:
        return (UNKNOWN,) * rank
    if not -len(params) <= axis < len(params):
        least = axis + 1 if axis >= 0 else -axis
        raise Complaint(f"Shape must be at least rank {least} but is rank {len(params)}")
    axis %= len(params)
    if axis < batch_dims:
        raise Complaint(f"batch_dims must be less than or equal to axis, but are {batch_dims} and {axis}")
    batch = shapes.merge(params[:batch_dims], indices[:batch_dims]) or ()
    return (*batch, *params[batch_dims:axis], *indices[batch_dims:], *params[axis + 1 :])


Gather = OpDef(
    "Gather",
    "params: Tparams, indices: Tindices -> output: Tparams",
    attrs={"validate_indices": True},
    types={"Tindices": INDICES},
    form=Lookup(axes=lambda *_, **__: (0, 0)),
)


@Gather.shape
def _gather_legacy_shape(params: Spec, indices: Spec, *, validate_indices: bool) -> Shape:
    return _gather_shape(params.shape, indices.shape, 0)


@Gather.kernel
def _gather_kernel(params: Array, indices: Array, *, validate_indices: bool) -> Array:
    _gather_shape(params.shape, indices.shape, 0)
    check_indices(indices, params.shape[0])
    return params.take(indices, axis=0)


@Gather.gradient
def _gather_gradient(op: Operation, dy: Tensor) -> tuple[IndexedSlices, None]:
    return _rows_of(op.inputs[0], op.inputs[1], dy), None


def _rows_of(params: Tensor, indices: Tensor, dy: Tensor) -> IndexedSlices:
    """The gradient of `params`, of which rows were taken: the rows of `dy`, by the indices they came from."""
    shape = structural.shape(params)
    if indices.spec.rank != 1:
        count = structural.reshape(structural.size(indices), [1])
        dy = structural.reshape(dy, joining.concat([count, slice_by(shape, slice(1, None))], 0))
        indices = structural.reshape(indices, count)
    return IndexedSlices(dy, indices, shape)


def _gathered_axes(params: Spec, indices: Spec, axis: Spec, *, batch_dims: int) -> tuple[int, int] | None:
    """The axis, and the number of dimensions of the batch."""
    known = known_int(axis)
    if known is None or params.shape is None or indices.shape is None:
        return None
    return known % len(params.shape), batch_dims if batch_dims >= 0 else batch_dims + len(indices.shape)


GatherV2 = OpDef(
    "GatherV2",
    "params: Tparams, indices: Tindices, axis: Taxis -> output: Tparams",
    attrs={"batch_dims": 0},
    types={"Tindices": INDICES, "Taxis": INDICES},
    form=Lookup(axes=_gathered_axes),
)


@GatherV2.shape
def _gather_v2_shape(params: Spec, indices: Spec, axis: Spec, *, batch_dims: int) -> Shape:
    return _gather_shape(params.shape, indices.shape, known_int(axis), batch_dims)


@GatherV2.value
def _gather_v2_value(params: Spec, indices: Spec, axis: Spec, *, batch_dims: int) -> Array | None:
    """Some sizes of a shape."""
    if params.value is None or params.value.ndim != 1 or indices.value is None or known_ints(indices) is None:
        return None
    places = indices.value.astype(np.int64)
    if ((places < 0) | (places >= params.value.size)).any():
        return None  # an error, which the kernel raises
    return np.asarray(params.value.take(places), dtype=object)


@GatherV2.kernel
def _gather_v2_kernel(params: Array, indices: Array, axis: Array, *, batch_dims: int) -> Array:
    shape = _gather_shape(params.shape, indices.shape, int(axis), batch_dims)
    at = int(axis) % params.ndim
    check_indices(indices, params.shape[at])
    if batch_dims < 0:
        batch_dims += indices.ndim
    if batch_dims == 0:
        return params.take(indices, axis=at)
    result = np.empty(shape, params.dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]  # all integers
    for place in np.ndindex(*params.shape[:batch_dims]):
        result[place] = params[place].take(indices[place], axis=at - batch_dims)
    return result


@GatherV2.gradient
def _gather_v2_gradient(op: Operation, dy: Tensor) -> tuple[Tensor | IndexedSlices, None, None]:
    params, indices, axis = op.inputs
    batch_dims: int = op.attrs["batch_dims"]
    if batch_dims:
        return _scatter_batches(params, indices, known_int(axis.spec), batch_dims, dy), None, None
    if known_int(axis.spec) == 0:
        return _rows_of(params, indices, dy), None, None
    return _scatter_along(params, indices, axis, dy), None, None


def _scatter_along(params: Tensor, indices: Tensor, axis: Tensor, dy: Tensor) -> Tensor:
    """The adjoint of gathering along any axis: bring it to the front, add up the rows, put it back."""
    rank = structural.rank(params)
    known = known_int(axis.spec)
    place: Any = known
    if known is None or known < 0:
        place = elementwise.floormod(elementwise.cast(axis, dtypes.int32), rank)
    shape = structural.shape(params)
    outer, inner = slice_by(shape, slice(None, place)), slice_by(shape, slice(next_position(place), None))
    count = structural.reshape(structural.size(indices), [1])
    taken = structural.reshape(dy, joining.concat([outer, count, inner], 0))
    before, after = structural.range_(0, place), structural.range_(next_position(place), rank)
    to_front = joining.concat([structural.reshape(place, [1]), before, after], 0)
    back = joining.concat([next_position(before), [0], after], 0)
    rows = structural.transpose(taken, to_front)
    total = unsorted_segment_sum(rows, structural.reshape(indices, count), slice_by(shape, place))
    return structural.transpose(total, back)


def _scatter_batches(
    params: Tensor, indices: Tensor, axis: int | None, batch_dims: int, dy: Tensor
) -> Tensor:
    """The adjoint of gathering by each batch's own indices: bring the axis to the batch, and scatter."""
    rank, index_rank = params.spec.rank, indices.spec.rank
    if rank is None or index_rank is None or axis is None:
        raise ValueError("The gradient of gather with batch_dims needs a known axis and known ranks")
    at, batch = axis % rank, batch_dims % (index_rank + 1) if batch_dims >= 0 else batch_dims + index_rank
    inner = index_rank - batch
    # dy has the dimensions [batch, between, indices, rest]; the indices go before what lies between.
    end = at + inner
    moved = structural.transpose(
        dy, [*range(batch), *range(at, end), *range(batch, at), *range(end, rank - 1 + inner)]
    )
    order = [*range(batch), at, *range(batch, at), *range(at + 1, rank)]
    shape = gather(structural.shape(params, out_type=indices.dtype), order)
    total = scatter_nd(_with_batch_positions(indices, batch), moved, shape)
    return structural.transpose(total, np.argsort(order).astype(np.int32))


def _with_batch_positions(indices: Tensor, batch: int) -> Tensor:
    """[..., batch + 1]: for each index its place in the `batch` leading dimensions, and the index itself."""
    shape = structural.shape(indices, out_type=indices.dtype)
    rank = indices.spec.rank or 0
    columns: list[Tensor] = []
    for axis in range(batch):
        positions = structural.range_(elementwise.cast(0, indices.dtype), slice_by(shape, axis))
        positions = structural.reshape(positions, [1] * axis + [-1] + [1] * (rank - axis - 1))
        columns.append(structural.broadcast_to(positions, shape))
    return joining.stack([*columns, indices], axis=-1)


def gather(
    params: Any,
    indices: Any,
    validate_indices: bool | None = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """Slices of `params` along an axis: `params[indices]` for axis 0.

    Args:
        params: [batch, between, size, rest], of any dtype; a Variable is read.
        indices: [batch, ...], int32 or int64, in [0, size).
        validate_indices: accepted for TensorFlow's sake; indices are always checked.
        name: the operation's name.
        axis: which dimension of `params` has the size `size`; `batch_dims` by default, negative from the end.
        batch_dims: how many leading dimensions of both belong together.

    Returns:
        [batch, between, ..., rest].

    Raises:
        ValueError: the axis is outside of `params`, or batches differ.
        InvalidArgumentError: an index is not in [0, size), also where it is negative.
    """
    return GatherV2(params, indices, batch_dims if axis is None else axis, batch_dims=batch_dims, name=name)


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """Slices of `params` by the indices of each batch's own.

    Args:
        params: [batch, size, rest].
        indices: [batch, n], int32 or int64; all but its last dimension are the batch.

    Returns:
        [batch, n, rest].

    Raises:
        ValueError: the rank of `indices` is not known, or 0.
    """
    with name_scope(name, "BatchGather", [params, indices]):
        indices = convert_to_tensor(indices, name="indices")
        rank = indices.spec.rank
        if rank is None:
            raise ValueError("batch_gather does not allow indices with unknown shape.")
        return gather(params, indices, axis=rank - 1, batch_dims=rank - 1)


# ---------------------------------------------------------------- UnsortedSegmentSum: the adjoint of Gather


def combine_rows(ufunc: np.ufunc, target: Array, rows: Array, values: Array) -> None:
    """Combines `values[i]` into row `rows[i]` of `target`, in place and in order: `ufunc.at` for rows.

    NumPy's `ufunc.at` is fast only for flat arrays. Adding 10,000 rows of 128 floats takes 4 ms this way,
    14 ms with `np.add.at(target, rows, values)`, 3 to 10 ms by sorting and `np.add.reduceat`.

    Args:
        target: [n, ...], contiguous; changed.
        rows: [m], in [0, n).
        values: [m, ...].
    """
    width = values.size // max(rows.size, 1)
    places = rows if width == 1 else (rows.astype(np.intp)[:, None] * width + np.arange(width)).ravel()
    ufunc.at(target.reshape(-1), places, values.reshape(-1))


def segment_shape(data: Spec, segment_ids: Spec, num_segments: Spec) -> Shape:
    """The shape of a reduction by unsorted segments: [num_segments, rest] for data [ids, rest]."""
    count = UNKNOWN if num_segments.value is None else num_segments.value.ravel()[0]
    if isinstance(count, int) and count < 0:
        raise Complaint(f"Dimension size, given by scalar input 2, must be non-negative but is {count}")
    if data.shape is None or segment_ids.shape is None:
        return None
    rank = len(segment_ids.shape)
    if rank > len(data.shape):
        raise Complaint(f"Shape must be at least rank {rank} but is rank {len(data.shape)}")
    for a, b in zip(data.shape, segment_ids.shape):
        if isinstance(a, int) and isinstance(b, int) and a != b:
            raise Complaint(f"Dimensions must be equal, but are {a} and {b}")
    return (count, *data.shape[rank:])


def segment_rows(data: Array, segment_ids: Array, num_segments: int) -> tuple[Array, Array]:
    """The rows of `data` with their segments, without those of negative segments.

    Returns:
        ids [n] and rows [n, rest].

    Raises:
        Complaint: shapes do not fit, or a segment is not below `num_segments`.
    """
    if data.shape[: segment_ids.ndim] != segment_ids.shape:
        raise Complaint(
            f"data.shape = {shapes.show(data.shape)} does not start with segment_ids.shape = "
            f"{shapes.show(segment_ids.shape)}"
        )
    ids = segment_ids.reshape(-1)
    rows = data.reshape(ids.size, *data.shape[segment_ids.ndim :])
    if ids.size and ids.max() >= num_segments:
        place = np.argwhere(segment_ids >= num_segments)[0]
        value = segment_ids[tuple(place)]
        raise Complaint(f"segment_ids{show_place(place)} = {value} is out of range [0, {num_segments})")
    if ids.size and ids.min() < 0:
        kept = ids >= 0
        ids, rows = ids[kept], rows[kept]
    return ids, rows


UnsortedSegmentSum = OpDef(
    "UnsortedSegmentSum",
    "data: T, segment_ids: Tindices, num_segments: Tnumsegments -> output: T",
    types={"T": NUMBERS, "Tindices": INDICES, "Tnumsegments": INDICES},
    form=Accumulation(rows=0, indices=1, drops_negative=True),
)
UnsortedSegmentSum.shape(segment_shape)


@UnsortedSegmentSum.kernel
def _unsorted_segment_sum_kernel(data: Array, segment_ids: Array, num_segments: Array) -> Array:
    ids, rows = segment_rows(data, segment_ids, int(num_segments))
    total = np.zeros((int(num_segments), *rows.shape[1:]), data.dtype)
    combine_rows(np.add, total, ids, rows)
    return total


@UnsortedSegmentSum.gradient
def _unsorted_segment_sum_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return gather_or_zero(dy, op.inputs[1]), None, None


def gather_or_zero(params: Tensor, indices: Tensor) -> Tensor:
    """`gather(params, indices)`, but zeros for negative indices."""
    known = known_ints(indices.spec)
    if known is not None and min(known, default=0) >= 0:
        return gather(params, indices)
    rows = gather(params, elementwise.maximum(indices, 0))
    wide = joining.concat(
        [structural.shape(indices), fills.ones_like(slice_by(structural.shape(params), slice(1, None)))],
        0,
    )
    kept = structural.reshape(elementwise.greater_equal(indices, 0), wide)
    return elementwise.select_v2(kept, rows, fills.zeros_like(rows))


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """The sums of those rows of `data` that have the same segment.

    Args:
        data: [ids, rest], numbers.
        segment_ids: [ids], of any rank; int32 or int64. Rows with a negative segment are dropped.
        num_segments: how many segments there are; empty ones give 0.

    Returns:
        [num_segments, rest].

    Raises:
        ValueError: the shapes do not fit.  InvalidArgumentError: a segment is not below `num_segments`.
    """
    return UnsortedSegmentSum(data, segment_ids, num_segments, name=name)


# ---------------------------------------------------------------- GatherNd and ScatterNd


def flat_rows(indices: Array, dims: Sequence[int], shown: str) -> Array:
    """The number of each row that `indices` choose, where the leading dimensions `dims` are seen as one.

    Args:
        indices: [..., k].
        dims: the k leading dimensions.
        shown: what TensorFlow says after "does not index into".

    Raises:
        Complaint: an index is out of range.
    """
    batch = indices.shape[:-1]
    count = int(np.prod(batch, dtype=np.int64))
    rows = np.zeros(count, np.intp)
    outside = np.zeros(count, np.bool_)
    flat = indices.reshape(count, len(dims))
    for axis, dim in enumerate(dims):
        column = flat[:, axis]
        outside |= (column < 0) | (column >= dim)
        rows = rows * dim + column
    if outside.any():
        bad = int(np.argmax(outside))
        place = show_place([int(i) for i in np.unravel_index(bad, batch)])
        row = ", ".join(map(str, flat[bad].tolist()))
        raise Complaint(f"indices{place} = [{row}] does not index into {shown}")
    return rows


GatherNd = OpDef(
    "GatherNd",
    "params: Tparams, indices: Tindices -> output: Tparams",
    types={"Tindices": INDICES},
    form=Lookup(),
)


@GatherNd.shape
def _gather_nd_shape(params: Spec, indices: Spec) -> Shape:
    if indices.shape == ():
        raise Complaint("Shape must be at least rank 1 but is rank 0")
    if params.shape is None or indices.shape is None or not isinstance(indices.shape[-1], int):
        return None
    depth = indices.shape[-1]
    if depth > len(params.shape):
        raise Complaint(
            f"indices.shape[-1] must be <= params.rank, but saw indices shape: {shapes.show(indices.shape)} "
            f"and params shape: {shapes.show(params.shape)}"
        )
    return (*indices.shape[:-1], *params.shape[depth:])


@GatherNd.kernel
def _gather_nd_kernel(params: Array, indices: Array) -> Array:
    depth = indices.shape[-1]
    if depth > params.ndim:
        raise Complaint(
            f"index innermost dimension length must be <= params rank; saw: {depth} vs. {params.ndim}"
        )
    outer, inner = params.shape[:depth], params.shape[depth:]
    rows = flat_rows(indices, outer, f"param shape {shapes.show(params.shape)}")
    flat = params.reshape(int(np.prod(outer, dtype=np.int64)), *inner)
    return flat.take(rows, axis=0).reshape((*indices.shape[:-1], *inner))


@GatherNd.gradient
def _gather_nd_gradient(op: Operation, dy: Tensor) -> tuple[Tensor | IndexedSlices, None]:
    params, indices = op.inputs
    shape = structural.shape(params, out_type=indices.dtype)
    if indices.spec.rank == 2 and indices.spec.shape is not None and indices.spec.shape[-1] == 1:
        return IndexedSlices(dy, structural.squeeze(indices, [-1]), shape), None
    return scatter_nd(indices, dy, shape), None


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    """Slices of `params` by tuples of indices: `params[i, j]` for each [i, j] in `indices`.

    Args:
        params: [d1 ... dk, rest], of any dtype.
        indices: [..., k], int32 or int64; k may be 0.
        name: the operation's name.
        batch_dims: how many leading dimensions of both belong together.

    Returns:
        [..., rest].

    Raises:
        ValueError: k is larger than the rank of `params`.  InvalidArgumentError: an index is out of range.
    """
    if batch_dims == 0:
        return GatherNd(params, indices, name=name)
    with name_scope(name, "BatchGatherND", [params, indices]):
        indices = convert_to_tensor(indices, name="indices")
        if indices.spec.rank is None or batch_dims >= indices.spec.rank:
            raise ValueError(
                f"batch_dims = {batch_dims} must be less than rank(indices) = {indices.spec.rank}"
            )
        first = slice_by(indices, (Ellipsis, 0))
        leading = slice_by(_with_batch_positions(first, batch_dims), (Ellipsis, slice(None, batch_dims)))
        return GatherNd(params, joining.concat([leading, indices], -1))


ScatterNd = OpDef(
    "ScatterNd",
    "indices: Tindices, updates: T, shape: Tindices -> output: T",
    types={"Tindices": INDICES},
    form=Accumulation(rows=1, indices=0, tuples=True),
)


@ScatterNd.shape
def _scatter_nd_shape(indices: Spec, updates: Spec, shape: Spec) -> Shape:
    (rank,) = shapes.dims(shape.shape, 1)
    result = shapes.from_value(shape.value, rank)
    check_scatter(indices.shape, updates.shape, result)
    return result


def check_scatter(indices: Shape, updates: Shape, result: Shape) -> None:
    """Raises ValueError unless indices [batch, k] and result [d1 ... dk, rest] fit updates [batch, rest]."""
    if indices == ():
        raise Complaint("Shape must be at least rank 1 but is rank 0")
    if indices is None or updates is None:
        return
    batch, depth = indices[:-1], indices[-1]
    head, rest = updates[: len(batch)], updates[len(batch) :]
    got = f"updates[shape={shapes.show(updates)}]"
    if not shapes.compatible(batch, head):
        span = f"[0,{len(batch)})"
        raise Complaint(
            f"Dimensions {span} of indices[shape={shapes.show(indices)}] = {shapes.show(batch)} must match "
            f"dimensions {span} of {got} = {shapes.show(head)}"
        )
    if result is not None and isinstance(depth, int) and not shapes.compatible(rest, result[depth:]):
        raise Complaint(
            f"Dimensions [{depth},{len(result)}) of input[shape={shapes.show(result)}] = "
            f"{shapes.show(result[depth:])} must match dimensions [{len(batch)},{len(updates)}) of {got} = "
            f"{shapes.show(rest)}"
        )


def scatter_rows(target: Array, indices: Array, updates: Array) -> tuple[Array, Array, Array]:
    """Where updates go: the target [n, rest] with the indexed dimensions as one, rows [m], values [m, rest].

    Raises:
        Complaint: shapes do not fit, or an index is out of range.
    """
    check_scatter(indices.shape, updates.shape, target.shape)
    depth = indices.shape[-1]
    outer, inner = target.shape[:depth], target.shape[depth:]
    rows = flat_rows(indices, outer, f"shape {shapes.show(target.shape)}")
    flat = target.reshape(int(np.prod(outer, dtype=np.int64)), *inner)
    return flat, rows, updates.reshape(rows.size, *inner)


@ScatterNd.kernel
def _scatter_nd_kernel(indices: Array, updates: Array, shape: Array) -> Array:
    result = np.zeros(shape.tolist(), updates.dtype)
    combine_rows(np.add, *scatter_rows(result, indices, updates))
    return result


@ScatterNd.gradient
def _scatter_nd_gradient(op: Operation, dy: Tensor) -> tuple[None, Tensor, None]:
    return None, gather_nd(dy, op.inputs[0]), None


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Zeros with slices added at tuples of indices; those at equal indices add up. Adjoint of `gather_nd`.

    Args:
        indices: [..., k], int32 or int64.
        updates: [..., rest].
        shape: the result's shape [d1 ... dk, rest], a vector of the dtype of `indices`.

    Raises:
        ValueError: the shapes do not fit.  InvalidArgumentError: an index is out of range.
    """
    return ScatterNd(indices, updates, shape, name=name)


# ---------------------------------------------------------------- Where and masks

Where = OpDef("Where", "input: T -> index: int64", types={"T": NUMBERS | {dtypes.bool_}})
Where.not_differentiable()


@Where.shape
def _where_shape(x: Spec) -> Shape:
    return (UNKNOWN, UNKNOWN if x.shape is None else len(x.shape))


@Where.kernel
def _where_kernel(x: Array) -> Array:
    return np.argwhere(x).astype(np.int64, copy=False)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """The places where a condition holds; or, with `x` and `y`, a choice between their elements.

    Args:
        condition: bool. With `x` and `y` it has their shape, or is a scalar or a vector that chooses rows.
        x, y: tensors of one dtype and shape; or neither.

    Returns:
        int64 [n, rank], the indices of the n true elements in row-major order; or a tensor like `x`.

    Raises:
        ValueError: only one of `x` and `y` is given, or the shapes do not fit.
    """
    if x is None and y is None:
        with name_scope(name, "Where", [condition]) as scope:
            return Where(
                convert_to_tensor(condition, name="condition", preferred_dtype=dtypes.bool_), name=scope
            )
    if x is None or y is None:
        raise ValueError("x and y must both be non-None or both be None.")
    return elementwise.select(condition, x, y, name=name)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int | None = None) -> Tensor:
    """The slices of a tensor for which a mask is true: `tensor[mask]`.

    Args:
        tensor: [before, masked, rest], of any dtype.
        mask: bool [masked], of known rank, at least 1.
        name: the name scope.
        axis: how many dimensions `before` are not masked; 0 by default.

    Returns:
        [before, n, rest] for a mask with n true elements.

    Raises:
        ValueError: the mask is a scalar, has an unknown rank, or does not fit.
    """
    with name_scope(name, None, [tensor, mask]):
        tensor = convert_to_tensor(tensor, name="tensor")
        mask = convert_to_tensor(mask, name="mask")
        count = mask.spec.rank
        if count == 0:
            raise ValueError("mask cannot be scalar.")
        if count is None:
            raise ValueError(
                "Number of mask dimensions must be specified, even if some dimensions are None.  "
                "E.g. shape=[None] is ok, but shape=None is not."
            )
        first = 0 if axis is None else axis
        if first < 0 and tensor.spec.rank is not None:
            first += tensor.spec.rank
        tensor.shape[first : first + count].assert_is_compatible_with(mask.shape)
        # Also for a mask of one dimension, as in TensorFlow: the gradient then is dense.
        shape = structural.shape(tensor)
        before, rest = slice_by(shape, slice(None, first)), slice_by(shape, slice(first + count, None))
        masked = structural.reshape(structural.size(mask), [1])
        tensor = structural.reshape(tensor, joining.concat([before, masked, rest], 0))
        mask = structural.reshape(mask, [-1])
        return gather(tensor, structural.squeeze(where(mask), [1]), axis=first)


# In an index it makes an axis of length 1, as in NumPy: `x[:, tf.newaxis]`.
newaxis = None


def getitem(tensor: Any, key: Any) -> Tensor:
    """What `tensor[key]` means.

    Args:
        tensor: [...], of any dtype.
        key: an integer, a scalar int32 or int64 tensor, a slice of such, `...`, `tf.newaxis`, or a tuple (or
            list) of these; or one boolean mask (tensor or array) for the leading axes. NumPy's lists of
            indices are not supported, as in TensorFlow: use `gather`.

    Raises:
        TypeError: anything else in the key.  ValueError: an index out of bounds, too many entries.
    """
    return boolean_mask(tensor, key) if _is_mask(key) else slice_by(tensor, key)


def _is_mask(key: Any) -> bool:
    return isinstance(key, (bool, np.bool_)) or getattr(key, "dtype", None) in (dtypes.bool_, np.dtype(bool))
