"""Scattering into copies, partitioning and stitching, one-hot codes, reversed sequences, embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import as_array, convert_to_tensor, dtype_of
from tahr.core.dtypes import INDICES, NUMBERS, DType
from tahr.core.forms import Reversal, Scattered
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops import elementwise, fills, joining, reductions, special, structural
from tahr.ops.indexing import (
    check_indices,
    check_scatter,
    combine_rows,
    gather,
    gather_nd,
    scatter_rows,
    show_place,
)
from tahr.ops.slicing import slice_by

# ---------------------------------------------------------------- TensorScatter


_SCATTER = "tensor: T, indices: Tindices, updates: T -> output: T"


def _tensor_scatter_shape(tensor: Spec, indices: Spec, updates: Spec) -> Shape:
    check_scatter(indices.shape, updates.shape, tensor.shape)
    return tensor.shape


TensorScatterUpdate = OpDef(
    "TensorScatterUpdate", _SCATTER, types={"Tindices": INDICES}, form=Scattered("assign")
)
TensorScatterUpdate.shape(_tensor_scatter_shape)


@TensorScatterUpdate.kernel
def _tensor_scatter_update_kernel(tensor: Array, indices: Array, updates: Array) -> Array:
    result = tensor.copy()
    target, rows, values = scatter_rows(result, indices, updates)
    target[rows] = values
    return result


@TensorScatterUpdate.gradient
def _tensor_scatter_update_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    _, indices, updates = op.inputs
    kept = tensor_scatter_update(dy, indices, fills.zeros_like(updates))
    return kept, None, gather_nd(dy, indices)


def tensor_scatter_update(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """A copy of a tensor with slices replaced; of several updates of one slice the last stays.

    Args:
        tensor: [d1 ... dk, rest], of any dtype.
        indices: [..., k], int32 or int64.
        updates: [..., rest].

    Raises:
        ValueError: the shapes do not fit.  InvalidArgumentError: an index is out of range.
    """
    return TensorScatterUpdate(tensor, indices, updates, name=name)


def _combined(ufunc: np.ufunc, tensor: Array, indices: Array, updates: Array) -> Array:
    result = tensor.copy()
    combine_rows(ufunc, *scatter_rows(result, indices, updates))
    return result


TensorScatterAdd = OpDef(
    "TensorScatterAdd", _SCATTER, types={"T": NUMBERS, "Tindices": INDICES}, form=Scattered("add")
)
TensorScatterAdd.shape(_tensor_scatter_shape)


@TensorScatterAdd.kernel
def _tensor_scatter_add_kernel(tensor: Array, indices: Array, updates: Array) -> Array:
    return _combined(np.add, tensor, indices, updates)


@TensorScatterAdd.gradient
def _tensor_scatter_add_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    return dy, None, gather_nd(dy, op.inputs[1])


def tensor_scatter_add(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """A copy of a tensor with something added to slices; several updates of one slice add up.

    Args, Raises: as for `tensor_scatter_update`.
    """
    return TensorScatterAdd(tensor, indices, updates, name=name)


TensorScatterSub = OpDef(
    "TensorScatterSub", _SCATTER, types={"T": NUMBERS, "Tindices": INDICES}, form=Scattered("subtract")
)
TensorScatterSub.shape(_tensor_scatter_shape)


@TensorScatterSub.kernel
def _tensor_scatter_sub_kernel(tensor: Array, indices: Array, updates: Array) -> Array:
    return _combined(np.subtract, tensor, indices, updates)


@TensorScatterSub.gradient
def _tensor_scatter_sub_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    return dy, None, elementwise.negative(gather_nd(dy, op.inputs[1]))


def tensor_scatter_sub(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """A copy of a tensor with something subtracted from slices; several updates of one slice add up.

    Args, Raises: as for `tensor_scatter_update`.
    """
    return TensorScatterSub(tensor, indices, updates, name=name)


# ---------------------------------------------------------------- SparseToDense

SparseToDense = OpDef(
    "SparseToDense",
    "sparse_indices: Tindices, output_shape: Tindices, sparse_values: T, default_value: T -> dense: T",
    attrs={"validate_indices": True},
    types={"Tindices": INDICES},
)


@SparseToDense.shape
def _sparse_to_dense_shape(
    indices: Spec, output_shape: Spec, values: Spec, default: Spec, *, validate_indices: bool
) -> Shape:
    (rank,) = shapes.dims(output_shape.shape, 1)
    return shapes.from_value(output_shape.value, rank)


@SparseToDense.kernel
def _sparse_to_dense_kernel(
    indices: Array, output_shape: Array, values: Array, default: Array, *, validate_indices: bool
) -> Array:
    if indices.ndim > 2:
        raise Complaint(
            f"sparse_indices should be a scalar, vector, or matrix, got shape {shapes.show(indices.shape)}"
        )
    places = indices if indices.ndim == 2 else indices.reshape(-1, 1)
    count, rank = places.shape
    if output_shape.shape != (rank,):
        raise Complaint(
            f"output_shape has incorrect number of elements: {output_shape.size} should be: {rank}"
        )
    if values.shape not in ((), (count,)):
        raise Complaint(
            f"sparse_values has incorrect shape {shapes.show(values.shape)}, should be [] or [{count}]"
        )
    if default.ndim:
        raise Complaint("default_value should be a scalar.")
    _check_inside(places, output_shape)
    sizes: list[int] = output_shape.tolist()
    numbers = places @ np.array([math.prod(sizes[axis + 1 :]) for axis in range(rank)], np.int64)
    if validate_indices:
        _check_order(places, numbers)
    result = np.full(math.prod(sizes), default, values.dtype)
    # NumPy writes in the order of memory, which is to be that of the places: the last one stays.
    result[numbers] = np.ascontiguousarray(values)
    return result.reshape(sizes)


def _check_inside(places: Array, shape: Array) -> None:
    outside = ((places < 0) | (places >= shape)).any(axis=1)
    if outside.any():
        i = int(outside.argmax())
        raise Complaint(
            f"indices[{i}] = {shapes.show(tuple(places[i]))} is out of bounds: "
            f"need 0 <= index < {shapes.show(tuple(shape))}"
        )


def _check_order(places: Array, numbers: Array) -> None:
    """Places must be in lexicographic order, which is that of their flat numbers, without repetition."""
    falling = np.diff(numbers) <= 0
    if falling.any():
        i = int(falling.argmax()) + 1
        what = "is repeated" if numbers[i] == numbers[i - 1] else "is out of order"
        raise Complaint(f"indices[{i}] = {shapes.show(tuple(places[i]))} {what}")


@SparseToDense.gradient
def _sparse_to_dense_gradient(op: Operation, dy: Tensor) -> tuple[None, None, Tensor, Tensor]:
    indices, _, values, _ = op.inputs
    if indices.spec.rank != 2:
        rank = structural.size(op.inputs[1])
        indices = structural.reshape(indices, joining.stack([-1, rank]))
    taken = gather_nd(dy, indices)
    rest = elementwise.subtract(structural.reduce_sum(dy), structural.reduce_sum(taken))
    return None, None, structural.sum_to_shape(taken, values), rest


def sparse_to_dense(
    sparse_indices: Any,
    output_shape: Any,
    sparse_values: Any,
    default_value: Any = 0,
    validate_indices: bool = True,
    name: str | None = None,
) -> Tensor:
    """A tensor with given values at given places: `dense[sparse_indices[i]] = sparse_values[i]`.

    Args:
        sparse_indices: [n, rank], int32 or int64; for a vector also [n], or a scalar.
        output_shape: the result's shape, [rank].
        sparse_values: [n], or a scalar for all places.
        default_value: what stands elsewhere, a scalar.
        validate_indices: whether places must be in lexicographic order, without repetition. Otherwise the last value
            of a place stays.
        name: the operation's name.

    Raises:
        InvalidArgumentError: a place is outside of the shape, or out of order; or the shapes do not fit.
    """
    return SparseToDense(
        sparse_indices,
        output_shape,
        sparse_values,
        default_value,
        validate_indices=validate_indices,
        name=name,
    )


# ---------------------------------------------------------------- OneHot and sequence_mask

OneHot = OpDef(
    "OneHot",
    "indices: TI, depth: int32, on_value: T, off_value: T -> output: T",
    attrs={"axis": -1},
    types={"TI": INDICES | {dtypes.uint8, dtypes.int8}},
)
OneHot.not_differentiable()


@OneHot.shape
def _one_hot_shape(indices: Spec, depth: Spec, on_value: Spec, off_value: Spec, *, axis: int) -> Shape:
    size: Dim = UNKNOWN if depth.value is None else depth.value.ravel()[0]
    if isinstance(size, int) and size < 0:
        raise Complaint(f"depth must be non-negative, got: {size}")
    if indices.shape is None:
        return None
    place = _one_hot_axis(axis, len(indices.shape))
    return (*indices.shape[:place], size, *indices.shape[place:])


def _one_hot_axis(axis: int, rank: int) -> int:
    if not -1 <= axis <= rank:
        raise Complaint(f"Expected axis to be -1 or between [0, {rank + 1}).  But received: {axis}")
    return rank if axis == -1 else axis


@OneHot.kernel
def _one_hot_kernel(indices: Array, depth: Array, on_value: Array, off_value: Array, *, axis: int) -> Array:
    size = int(depth)
    if size < 0:
        raise Complaint(f"depth must be non-negative, got: {size}")
    place = _one_hot_axis(axis, indices.ndim)
    before, after = indices.shape[:place], indices.shape[place:]
    result = np.full((math.prod(before), size, math.prod(after)), off_value, on_value.dtype)
    flat = indices.reshape(result.shape[0], result.shape[2]).astype(np.int64)
    rows, columns = np.nonzero((flat >= 0) & (flat < size))
    result[rows, flat[rows, columns], columns] = on_value
    return result.reshape(*before, size, *after)


@OneHot.expansion
def _one_hot_expansion(
    indices: Tensor, depth: Tensor, on_value: Tensor, off_value: Tensor, *, axis: int
) -> Tensor:
    wide = indices if indices.dtype in INDICES else elementwise.cast(indices, dtypes.int32)
    places = structural.range_(0, elementwise.cast(depth, wide.dtype), dtype=wide.dtype)
    if axis >= 0:
        behind = fills.fill(structural.expand_dims(structural.rank(indices) - axis, 0), 1)
        places = structural.reshape(places, joining.concat([[-1], behind], 0))
    is_on = elementwise.equal(structural.expand_dims(wide, axis), places)
    return elementwise.select_v2(is_on, on_value, off_value)


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """A tensor that is `on_value` where its place along a new axis is the index, and `off_value` elsewhere.

    Args:
        indices: [before, after], int32, int64, int8 or uint8. One outside [0, depth) gives only `off_value`.
        depth: the size of the new axis, an int32 scalar.
        on_value: a scalar; 1 by default.
        off_value: a scalar; 0 by default.
        axis: where the new axis goes; -1, the default, at the end.
        dtype: the result's type; that of the values, or float32, by default.
        name: the operation's name.

    Returns:
        [before, depth, after].

    Raises:
        TypeError: the values have different types, or not `dtype`.
        ValueError: the axis or depth is impossible.
    """
    with name_scope(name, "one_hot", [indices, depth, on_value, off_value, axis, dtype]) as scope:
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        for label, value in (("on_value", on_value), ("off_value", off_value)):
            found = None if value is None else _dtype_of_scalar(value)
            if found is not None and wanted is not None and found is not wanted:
                other = "dtype parameter" if dtype is not None else "dtype of on_value"
                raise TypeError(f"dtype {found.name} of {label} does not match {other} {wanted.name}")
            wanted = wanted or found
        wanted = wanted or dtypes.float32
        on_value = convert_to_tensor(1 if on_value is None else on_value, wanted, name="on_value")
        off_value = convert_to_tensor(0 if off_value is None else off_value, wanted, name="off_value")
        return OneHot(indices, depth, on_value, off_value, axis=-1 if axis is None else axis, name=scope)


def _dtype_of_scalar(value: Any) -> DType | None:
    known = dtype_of(value)
    return dtypes.of_numpy(as_array(value, None).dtype) if known is None else known


def sequence_mask(
    lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None
) -> Tensor:
    """Which places belong to sequences: `mask[..., j] = j < lengths[...]`.

    Args:
        lengths: [...], integers.
        maxlen: the size of the last axis, a scalar; the largest length by default.
        dtype: the result's type.
        name: the name scope.

    Returns:
        [..., maxlen].

    Raises:
        ValueError: `maxlen` is no scalar.
    """
    with name_scope(name, "SequenceMask", [lengths, maxlen]):
        lengths = convert_to_tensor(lengths)
        if maxlen is None:
            maxlen = elementwise.maximum(reductions.reduce_max(lengths), 0)
        maxlen = convert_to_tensor(maxlen)
        if maxlen.spec.rank not in (None, 0):
            raise ValueError("maxlen must be scalar for sequence_mask")
        positions = structural.range_(elementwise.cast(0, maxlen.dtype), maxlen)
        ends = elementwise.cast(structural.expand_dims(lengths, -1), maxlen.dtype)
        mask = elementwise.less(positions, ends)
        return mask if dtype is None else elementwise.cast(mask, dtype)


# ---------------------------------------------------------------- DynamicPartition and DynamicStitch

DynamicPartition = OpDef(
    "DynamicPartition",
    "data: T, partitions: int32 -> outputs: num_partitions*T",
    attrs={"num_partitions": REQUIRED},
)


@DynamicPartition.shape
def _dynamic_partition_shape(data: Spec, partitions: Spec, *, num_partitions: int) -> list[Shape]:
    if data.shape is None or partitions.shape is None:
        return [None] * num_partitions
    rank = len(partitions.shape)
    if not shapes.compatible(data.shape[:rank], partitions.shape):
        raise Complaint(
            f"data.shape must start with partitions.shape, got data.shape = {shapes.show(data.shape)}, "
            f"partitions.shape = {shapes.show(partitions.shape)}"
        )
    return [(UNKNOWN, *data.shape[rank:])] * num_partitions


@DynamicPartition.kernel
def _dynamic_partition_kernel(data: Array, partitions: Array, *, num_partitions: int) -> tuple[Array, ...]:
    if data.shape[: partitions.ndim] != partitions.shape:
        raise Complaint(
            f"data.shape must start with partitions.shape, got data.shape = {shapes.show(data.shape)}, "
            f"partitions.shape = {shapes.show(partitions.shape)}"
        )
    check_indices(partitions, num_partitions, "partitions")
    return tuple(data[partitions == part] for part in range(num_partitions))


@DynamicPartition.gradient
def _dynamic_partition_gradient(op: Operation, *dys: Tensor) -> tuple[Tensor, None]:
    data, partitions = op.inputs
    everyone = structural.range_(structural.size(partitions))
    places = structural.reshape(everyone, structural.shape(partitions))
    came_from = dynamic_partition(places, partitions, op.attrs["num_partitions"])
    return structural.reshape(dynamic_stitch(came_from, dys), structural.shape(data)), None


def dynamic_partition(
    data: Any, partitions: Any, num_partitions: int, name: str | None = None
) -> list[Tensor]:
    """The slices of `data`, sorted into lists by number.

    Args:
        data: [places, rest], of any dtype.
        partitions: int32 [places], in [0, num_partitions): the list for each slice.
        num_partitions: how many lists there are.
        name: the operation's name.

    Returns:
        `num_partitions` tensors [n_i, rest], with the slices in their order.

    Raises:
        ValueError: the shapes do not fit.  InvalidArgumentError: a number is not in [0, num_partitions).
    """
    return DynamicPartition(data, partitions, num_partitions=num_partitions, name=name)


DynamicStitch = OpDef("DynamicStitch", "indices: N*int32, data: N*T -> merged: T", attrs={"N": REQUIRED})


@DynamicStitch.shape
def _dynamic_stitch_shape(*inputs: Spec, N: int) -> Shape:
    indices, data = inputs[:N], inputs[N:]
    rest: Shape = None
    for where, rows in zip(indices, data):
        if where.shape is None or rows.shape is None:
            continue
        rank = len(where.shape)
        if not shapes.compatible(rows.shape[:rank], where.shape):
            raise Complaint(
                f"data.shape = {shapes.show(rows.shape)} does not start with indices.shape = "
                f"{shapes.show(where.shape)}"
            )
        rest = shapes.merge(rest, rows.shape[rank:])
    if rest is None:
        return None
    known = [known_ints(where) for where in indices]
    if any(k is None for k in known):
        return (UNKNOWN, *rest)
    return (1 + max((i for k in known for i in k or ()), default=-1), *rest)


@DynamicStitch.kernel
def _dynamic_stitch_kernel(*inputs: Array, N: int) -> Array:
    indices, data = inputs[:N], inputs[N:]
    size = 1 + max((int(where.max()) for where in indices if where.size), default=-1)
    rest = data[0].shape[indices[0].ndim :]
    # TensorFlow leaves rows that no index names undefined.
    result = np.zeros((size, *rest), data[0].dtype)
    for number, (where, rows) in enumerate(zip(indices, data)):
        if rows.shape != where.shape + rest:
            raise Complaint(
                f"data[{number}].shape = {shapes.show(rows.shape)} does not start with "
                f"indices[{number}].shape = {shapes.show(where.shape)}, or end with {shapes.show(rest)}"
            )
        if where.size and where.min() < 0:
            raise Complaint(f"indices{show_place(np.argwhere(where < 0)[0])} is out of range")
        result[where] = rows
    return result


@DynamicStitch.gradient
def _dynamic_stitch_gradient(op: Operation, dy: Tensor) -> list[Tensor | None]:
    indices = op.inputs[: op.attrs["N"]]
    return [None] * len(indices) + [gather(dy, where) for where in indices]


def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """One tensor out of slices and their places: `merged[indices[m][i, ...]] = data[m][i, ...]`.

    Args:
        indices: int32 tensors [places_m]. Together they should be all of 0 ... n - 1; of several slices for
            one place the last stays.
        data: as many tensors [places_m, rest] of one dtype.
        name: the operation's name.

    Returns:
        [n, rest].

    Raises:
        ValueError: the shapes do not fit.  InvalidArgumentError: a place is negative.
    """
    if len(indices) != len(data):
        raise ValueError(f"dynamic_stitch needs as many indices as data, got {len(indices)} and {len(data)}")
    return DynamicStitch(list(indices), list(data), N=len(data), name=name)


# ---------------------------------------------------------------- ReverseSequence

ReverseSequence = OpDef(
    "ReverseSequence",
    "input: T, seq_lengths: Tlen -> output: T",
    attrs={"seq_dim": REQUIRED, "batch_dim": 0},
    types={"Tlen": INDICES},
    form=Reversal(batch="batch_dim", steps="seq_dim"),
)


@ReverseSequence.shape
def _reverse_sequence_shape(x: Spec, seq_lengths: Spec, *, seq_dim: int, batch_dim: int) -> Shape:
    (count,) = shapes.dims(seq_lengths.shape, 1)
    if x.shape is None:
        return None
    if seq_dim >= len(x.shape):
        raise Complaint(f"seq_dim must be < input rank: {seq_dim} vs. {len(x.shape)}")
    if batch_dim >= len(x.shape):
        raise Complaint(f"batch_dim must be < input rank: {batch_dim} vs. {len(x.shape)}")
    if seq_dim == batch_dim:
        raise Complaint(f"batch_dim == seq_dim == {seq_dim}")
    batch = x.shape[batch_dim]
    if isinstance(batch, int) and isinstance(count, int) and batch != count:
        raise Complaint(f"Dimensions must be equal, but are {batch} and {count}")
    return x.shape


@ReverseSequence.kernel
def _reverse_sequence_kernel(x: Array, seq_lengths: Array, *, seq_dim: int, batch_dim: int) -> Array:
    _reverse_sequence_shape(
        Spec(None, x.shape), Spec(None, seq_lengths.shape), seq_dim=seq_dim, batch_dim=batch_dim
    )
    steps = x.shape[seq_dim]
    for place, length in enumerate(seq_lengths.tolist()):
        if length < 0:
            raise Complaint(f"seq_lens({place}) < 0")
        if length > steps:
            raise Complaint(f"seq_lens({place}) > input.dims({seq_dim})")
    positions = np.arange(steps)
    ends = seq_lengths[:, None]
    order = np.where(positions < ends, ends - 1 - positions, positions)  # [batch, steps]
    swapped = np.moveaxis(x, (batch_dim, seq_dim), (0, 1))
    reversed_ = swapped[np.arange(len(ends))[:, None], order]
    return np.moveaxis(reversed_, (0, 1), (batch_dim, seq_dim))


@ReverseSequence.gradient
def _reverse_sequence_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return ReverseSequence(dy, op.inputs[1], **op.attrs), None


def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: int | None = None,
    batch_axis: int | None = None,
    name: str | None = None,
    seq_dim: int | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """Sequences of different lengths, each reversed up to its length.

    Args:
        input: any tensor, with `batch` sequences.
        seq_lengths: [batch], int32 or int64; at most the size of `seq_axis`.
        seq_axis: which axis runs along the sequences.
        batch_axis: which axis counts the sequences; 0 by default.
        name: the operation's name.
        seq_dim: the older name of `seq_axis`.
        batch_dim: the older name of `batch_axis`.

    Raises:
        ValueError: the axes or shapes do not fit.  InvalidArgumentError: a length is out of range.
    """
    seq_axis = structural.deprecated_argument("seq_axis", seq_axis, "seq_dim", seq_dim)
    batch_axis = structural.deprecated_argument("batch_axis", batch_axis, "batch_dim", batch_dim)
    if seq_axis is None:
        raise ValueError("reverse_sequence needs seq_axis")
    return ReverseSequence(input, seq_lengths, seq_dim=seq_axis, batch_dim=batch_axis or 0, name=name)


# ---------------------------------------------------------------- embeddings


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:
    """The rows of a table, which may be spread over several tensors, for ids.

    Args:
        params: one tensor [rows, rest], or a list of tensors that together are the table.
        ids: [...], int32 or int64, in [0, rows).
        partition_strategy: how several tensors divide the rows: "mod" deals them out (row i is in tensor
            i mod n), "div" cuts the table into contiguous parts, of which the first ones have a row more.
        name: the name scope.
        validate_indices: accepted for TensorFlow's sake; ids are always checked.
        max_norm: the largest Euclidean norm of what is returned for one id; longer rows are scaled down.

    Returns:
        [..., rest].

    Raises:
        ValueError: no params, or an unknown strategy.  InvalidArgumentError: an id is out of range.
    """
    tables: list[Any] = (
        list(params) if isinstance(params, (list, tuple)) else [] if params is None else [params]
    )
    if not tables:
        raise ValueError("Need at least one param")
    with name_scope(name, "embedding_lookup", [*tables, ids]) as scope:
        tables = [convert_to_tensor(table, name="params") for table in tables]
        ids = convert_to_tensor(ids, name="ids")
        if len(tables) == 1:
            return structural.identity(_clipped(gather(tables[0], ids, name=scope), ids, max_norm))
        flat = structural.reshape(ids, [-1])
        owners, rows = _owners(tables, flat, partition_strategy)
        owners = elementwise.cast(owners, dtypes.int32)
        wanted = dynamic_partition(rows, owners, len(tables))
        places = dynamic_partition(structural.range_(structural.size(flat)), owners, len(tables))
        found = dynamic_stitch(places, [gather(table, part) for table, part in zip(tables, wanted)])
        shape = joining.concat(
            [structural.shape(ids), slice_by(structural.shape(tables[0]), slice(1, None))], 0
        )
        return _clipped(structural.reshape(found, shape), ids, max_norm)


def _owners(tables: Sequence[Tensor], ids: Tensor, strategy: str) -> tuple[Tensor, Tensor]:
    """Which table each id's row is in, and which row it is there."""
    count = len(tables)
    if strategy == "mod":
        return elementwise.floormod(ids, count), elementwise.floordiv(ids, count)
    if strategy != "div":
        raise ValueError("Unrecognized partition strategy: " + strategy)
    sizes = [slice_by(structural.shape(table, out_type=ids.dtype), 0) for table in tables]
    total = structural.add_n(sizes)
    size, extras = elementwise.floordiv(total, count), elementwise.floormod(total, count)
    # The first `extras` tables have one row more than the others. An empty table owns no row.
    longer = elementwise.add(size, 1)
    beyond = elementwise.subtract(ids, extras)
    shorter = elementwise.maximum(size, 1)
    owners = elementwise.maximum(elementwise.floordiv(ids, longer), elementwise.floordiv(beyond, shorter))
    rows = elementwise.select(
        elementwise.less(owners, extras),
        elementwise.floormod(ids, longer),
        elementwise.floormod(beyond, shorter),
    )
    return owners, rows


def _clipped(rows: Tensor, ids: Tensor, max_norm: float | None) -> Tensor:
    """The rows [ids, rest], each scaled down to a norm of at most `max_norm`."""
    if max_norm is None:
        return rows
    if rows.spec.rank is None or ids.spec.rank is None:
        raise ValueError("embedding_lookup with max_norm needs params and ids of known rank")
    axes = list(range(ids.spec.rank, rows.spec.rank))
    square = structural.reduce_sum(elementwise.multiply(rows, rows), axes, keepdims=True)
    # The root of 1 in place of 0 keeps the gradient of a zero row finite.
    is_positive = elementwise.greater(square, 0)
    root = special.sqrt(elementwise.select(is_positive, square, fills.ones_like(square)))
    norm = elementwise.select(is_positive, root, square)
    limit = elementwise.cast(max_norm, rows.dtype)
    return elementwise.realdiv(elementwise.multiply(rows, limit), elementwise.maximum(norm, limit))
