"""Rows whose number depends on data, but is seen by nobody: they are padded, so that no stage has to end for them.

An optimizer's step for a sparse gradient first sums the rows of equal indices:

    unique, places = tf.unique(indices)
    rows = tf.unsorted_segment_sum(values, places, tf.shape(unique)[0])

How many rows that makes is known when the indices are. But often all that happens to them is element-wise, up to
operations that write them to rows of variables. Then the Program has as many rows as there are indices, and counts
those that matter: `unique` becomes `_PaddedUnique`, what writes gets the count as one more input (`ops.counted`), and
everything between is as it was, on some rows too many.

Whether the number is seen is found out by following what depends on it through the operations of a function. A tensor
either has that many *rows*, or is their *shape*, or their *number*; where it goes anywhere else, nothing is padded.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tahr.core.convert import constant_value
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Accumulation, Elementwise, Lookup
from tahr.ops import counted
from tahr.ops.shaping import Identity, ShapeOp, SizeOp, StopGradient
from tahr.ops.slicing import StridedSlice
from tahr.ops.sorting import Unique


class _Kind(enum.Enum):
    """How a tensor depends on the number of rows."""

    ROWS = "its first dimension is that number"
    SHAPE = "a vector whose first element is that number"
    NUMBER = "that number"
    NOT = "not at all"


class _Tag(NamedTuple):
    """What is known of a tensor: how it depends on how many elements an operation `unique` finds."""

    unique: Operation
    kind: _Kind


def find(
    order: Sequence[Operation], fed: Iterable[Tensor], results: Iterable[Tensor]
) -> dict[Operation, Operation]:
    """The operations that run on padded rows.

    Args:
        order: a function's operations, in topological order.
        fed: tensors whose values are given.
        results: tensors whose values are seen.

    Returns:
        Each `unique` whose number of elements nobody sees, by itself; and what writes its rows, with it.
    """
    if not any(map(_can_be_padded, order)):
        return {}
    tags: dict[Tensor, _Tag] = {}
    uniques: dict[Operation, None] = {}
    writers: dict[Operation, Operation] = {}
    seen: set[Operation] = set()
    given = set(fed)
    for op in order:
        read = {i: tags[t] for i, t in enumerate(op.inputs) if t in tags and t not in given}
        if read:
            kind = _followed(op, read)
            if kind is None:
                seen.update(tag.unique for tag in read.values())
            unique = next(iter(read.values())).unique
            if _writes_rows(op):
                writers[op] = unique
            elif kind is not None and kind is not _Kind.NOT:
                tags.update(dict.fromkeys(op.outputs, _Tag(unique, kind)))
        if _can_be_padded(op):
            uniques[op] = None
            tags[op.outputs[0]] = _Tag(op, _Kind.ROWS)
    seen.update(tags[t].unique for t in results if t in tags)
    padded = {op: op for op in uniques if op not in seen}
    return padded | {writer: unique for writer, unique in writers.items() if unique in padded}


def _can_be_padded(op: Operation) -> bool:
    if op.opdef is not Unique:
        return False
    spec = op.inputs[0].spec
    return spec.rank == 1 and spec.dtype is not None and spec.dtype.is_integer


def _writes_rows(op: Operation) -> bool:
    return counted.can_be_counted(op.opdef)


def _followed(op: Operation, read: Mapping[int, _Tag]) -> _Kind | None:
    """How the outputs of an operation depend on a number of rows; None where it is seen.

    Args:
        op: the operation.
        read: which of its inputs depend on such a number.
    """
    tags = set(read.values())
    if len(tags) > 1:
        return None
    ((unique, kind),) = tags
    if op.opdef in (Identity, StopGradient):
        return kind
    if kind is not _Kind.ROWS:
        return _of_number(op, unique, kind, list(read))
    if op.opdef is ShapeOp:
        return _Kind.SHAPE
    if op.opdef is SizeOp and op.inputs[0].spec.rank == 1:
        return _Kind.NUMBER
    if _writes_rows(op):
        return _written(op, read)
    if isinstance(op.opdef.form, Elementwise):
        return _Kind.ROWS if _goes_row_by_row(op, read) else None
    if isinstance(op.opdef.form, Lookup):
        return _looked_up(op, unique, list(read))
    return None


def _of_number(op: Operation, unique: Operation, kind: _Kind, read: Sequence[int]) -> _Kind | None:
    """As `_followed`, for operations on the number of rows or their shape."""
    if kind is _Kind.SHAPE and op.opdef is StridedSlice and read == [0]:
        return _sliced(op)
    form = op.opdef.form
    if kind is _Kind.NUMBER and isinstance(form, Accumulation) and not form.tuples and read == [2]:
        # Rows behind the last are made of nothing: to divide integers by them would be an error.
        dtype = op.outputs[0].spec.dtype
        is_floating = dtype is not None and dtype.is_floating
        return _Kind.ROWS if is_floating and op.inputs[form.indices] is unique.outputs[1] else None
    return None


def _sliced(op: Operation) -> _Kind | None:
    """As `_followed`, for parts of a shape."""
    begin, stride = constant_value(op.inputs[1]), constant_value(op.inputs[3])
    is_other = any(op.attrs[mask] for mask in ("begin_mask", "ellipsis_mask", "new_axis_mask"))
    if begin is None or stride is None or begin.size != 1 or is_other or int(stride[0]) != 1:
        return None
    if begin[0] > 0:
        return _Kind.NOT
    return _Kind.NUMBER if begin[0] == 0 and op.outputs[0].spec.rank == 0 else None


def _goes_row_by_row(op: Operation, read: Mapping[int, _Tag]) -> bool:
    """Whether an element-wise operation computes each row of its output from the same row of what it reads."""
    rank = op.outputs[0].spec.rank
    for i, tensor in enumerate(op.inputs):
        shape = tensor.spec.shape
        if rank is None or shape is None:
            return False
        is_smaller = len(shape) < rank or shape[0] == 1
        if (len(shape) != rank) if i in read else not is_smaller:
            return False
    return bool(rank)


def _looked_up(op: Operation, unique: Operation, read: Sequence[int]) -> _Kind | None:
    form = op.opdef.form
    assert isinstance(form, Lookup)
    specs = [t.spec for t in op.inputs]
    if form.axes is None or form.axes(*specs, **op.attrs) != (0, 0):
        return None
    if read == [1]:
        return _Kind.ROWS
    # Places are those of rows that count.
    return _Kind.NOT if read == [0] and op.inputs[1] is unique.outputs[1] else None


def _written(op: Operation, read: Mapping[int, _Tag]) -> _Kind | None:
    indices, rows = counted.row_inputs(op.opdef)
    is_number = op.inputs[rows].spec.rank == 0
    fits = set(read) == ({indices} if is_number else {indices, rows})
    return _Kind.NOT if fits and op.inputs[indices].spec.rank == 1 else None
