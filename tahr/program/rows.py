"""How the results of operations depend on a number of rows that is data: the rules of `padding`.

A tensor either has that many *rows*, or is their *shape*, or their *number*. Rows behind the last that counts hold
anything. A shape or a number counts them too, which is right where it says what shape something shall have; what
computes with a number is told the true one.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tahr.core.convert import constant_value
from tahr.core.forms import Accumulation, ArgExtreme, Elementwise, Lookup, Reduction
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import OpDef
from tahr.ops import counted
from tahr.ops.fills import Fill
from tahr.ops.identities import Identity, StopGradient
from tahr.ops.joining import AxisSizes, ConcatV2, Pack, Split, SplitV, Unpack
from tahr.ops.logic import Select
from tahr.ops.reductions import ElementsPerOutput, Mean
from tahr.ops.scattering import OneHot, SparseToDense
from tahr.ops.shaping import ExpandDims, Reshape, ShapeOp, SizeOp, Squeeze
from tahr.ops.slicing import StridedSlice, StridedSliceGrad
from tahr.ops.softmax import (
    LogSoftmax,
    Softmax,
    SoftmaxCrossEntropyWithLogits,
    SparseSoftmaxCrossEntropyWithLogits,
)
from tahr.ops.structural import BroadcastTo, ReducedShape, SumToShape
from tahr.ops.transposing import Transpose


class Kind(enum.Enum):
    """How a tensor depends on the number of rows."""

    ROWS = "its first dimension is that number"
    SHAPE = "a vector whose first element is that number"
    NUMBER = "that number"
    NOT = "not at all"


class Outcome(NamedTuple):
    """What becomes of an operation that depends on the number of rows.

    Attributes:
        kind: how all of its outputs depend on it.
        is_told: whether it must be told how many rows count.
        numbers: the inputs in which it takes the number itself, and must be given the true one.
    """

    kind: Kind
    is_told: bool = False
    numbers: tuple[int, ...] = ()


_ROWS, _SHAPE, _NUMBER, _NOT = (Outcome(kind) for kind in Kind)
_TOLD = Outcome(Kind.NOT, is_told=True)

Kinds = Mapping[int, Kind]
"""The inputs of an operation that depend on the number of rows."""


def outcome(op: Operation, read: Kinds, is_place: Callable[[Tensor], bool]) -> Outcome | None:
    """What becomes of an operation; None where it sees the number of rows.

    Args:
        op: the operation.
        read: how its inputs depend on the number; at least one does.
        is_place: whether a tensor says, for each element in which rows were looked for, which row it is.
    """
    kinds = set(read.values())
    if op.opdef in (Identity, StopGradient):
        return Outcome(read[0])
    rule = _RULES.get(op.opdef)
    if rule is not None:
        return rule(op, read)
    form = op.opdef.form
    if counted.can_be_counted(op.opdef):
        return _written(op, read)
    if isinstance(form, Elementwise):
        return _element_wise(op, read)
    if isinstance(form, Reduction):
        return _reduced(op, read)
    if isinstance(form, Lookup):
        return _looked_up(op, read, is_place)
    if isinstance(form, Accumulation):
        return _accumulated(op, read, is_place)
    if isinstance(form, ArgExtreme) and kinds == {Kind.ROWS}:
        return _ROWS if _axis(op.inputs[1], op.inputs[0]) != 0 else None
    return None


# ---------------------------------------------------------------- row by row


def _element_wise(op: Operation, read: Kinds) -> Outcome | None:
    if set(read.values()) == {Kind.NUMBER}:
        return Outcome(Kind.NOT, numbers=tuple(read))
    is_exact = op.outputs[0].spec.dtype is not None and not op.outputs[0].spec.dtype.is_floating
    if op.opdef.name in _OF_NO_ZERO and is_exact and len(op.inputs) - 1 in read:
        return None
    return _ROWS if _are_rows(read) and _goes_row_by_row(op, read) else None


_OF_NO_ZERO = {"Div", "FloorDiv", "FloorMod", "Inv", "Mod", "Pow", "Reciprocal", "TruncateDiv", "TruncateMod"}
"""Of integers these may fail, if the last one is 0: a row that does not count may be."""


def _are_rows(read: Kinds) -> bool:
    return set(read.values()) == {Kind.ROWS}


def _goes_row_by_row(op: Operation, read: Kinds) -> bool:
    """Whether an operation that broadcasts computes each row of its output from the same row of what it reads."""
    rank = op.outputs[0].spec.rank
    for i, tensor in enumerate(op.inputs):
        shape = tensor.spec.shape
        if rank is None or shape is None:
            return False
        if (len(shape) != rank) if i in read else not _has_no_rows(tensor, rank):
            return False
    return bool(rank)


def _has_no_rows(tensor: Tensor, rank: int) -> bool:
    """Whether a tensor that is broadcast to a rank surely is the same for each row."""
    shape, op = tensor.spec.shape, tensor.op
    if shape is None or len(shape) < rank or shape[0] == 1:
        return shape is not None
    if op.opdef is not Reshape or op.inputs[1].op.opdef is not ReducedShape:
        return False
    # A reduction over all rows, whose axes are put back.
    axes = constant_value(op.inputs[1].op.inputs[1])
    return axes is not None and 0 in axes.ravel()


def _selected(op: Operation, read: Kinds) -> Outcome | None:
    """A choice between rows, by a condition for each element, for each row, or for all."""
    is_for_all = 0 not in read and op.inputs[0].spec.rank == 0
    return _ROWS if _are_rows(read) and {1, 2} <= set(read) and (0 in read or is_for_all) else None


def _of_rows(op: Operation, read: Kinds) -> Outcome | None:
    """Of operations that are done to each row of a matrix, or to each element of a vector beside it, alone."""
    is_matrix = (op.inputs[0].spec.rank or 0) >= 2
    return _ROWS if is_matrix and _are_rows(read) and len(read) == len(op.inputs) else None


def _reshaped(op: Operation, read: Kinds) -> Outcome | None:
    """A reshape keeps rows where those before and after surely have as many elements."""
    before, after = _row_size(op.inputs[0]), _row_size(op.outputs[0])
    is_same = before is not None and before == after
    return _ROWS if read.get(0) is Kind.ROWS and is_same else None


def _row_size(tensor: Tensor) -> int | None:
    shape = tensor.spec.shape
    if not shape or not all(isinstance(d, int) for d in shape[1:]):
        return None
    return math.prod(d for d in shape[1:] if isinstance(d, int))


def _moved(op: Operation, read: Kinds) -> Outcome | None:
    """Of operations on other axes than the first."""
    places = {ExpandDims: 1, Transpose: 1, Split: 0, SplitV: 2}
    values = op.inputs[1] if op.opdef is Split else op.inputs[0]
    rank = values.spec.rank
    if set(read) != {op.inputs.index(values)} or not _are_rows(read) or rank is None:
        return None
    if op.opdef is Squeeze:
        axes = [a % rank for a in op.attrs["squeeze_dims"]]
        return _ROWS if axes and 0 not in axes else None
    if op.opdef is Transpose:
        order = constant_value(op.inputs[1])
        return _ROWS if order is not None and order.size and order[0] % rank == 0 else None
    if op.opdef is Unpack:
        return _ROWS if op.attrs["axis"] % rank else None
    axis = constant_value(op.inputs[places[op.opdef]])
    axis = None if axis is None else int(axis) % (rank + (op.opdef is ExpandDims))
    return _ROWS if axis else None


def _axis(axis: Tensor, of: Tensor) -> int:
    """A dimension, counted from the front; 0 where it is not known."""
    known, rank = constant_value(axis), of.spec.rank
    return 0 if known is None or not rank else int(known) % rank


def _joined(op: Operation, read: Kinds) -> Outcome | None:
    """Rows become wider rows. A number before others becomes a shape."""
    values = op.inputs if op.opdef is Pack else op.inputs[:-1]
    rank = values[0].spec.rank
    if rank is None:
        return None
    if op.opdef is Pack:
        if read == {0: Kind.NUMBER} and len(values) > 1:
            return _SHAPE
        axis = op.attrs["axis"] % (rank + 1)
    else:
        if read == {0: Kind.SHAPE}:
            return _SHAPE
        axis = _axis(op.inputs[-1], values[0])
    if not _are_rows(read) or not axis:
        return None
    return _NOT if op.opdef is AxisSizes else _ROWS if set(read) == set(range(len(values))) else None


def _one_hot(op: Operation, read: Kinds) -> Outcome | None:
    return _ROWS if read == {0: Kind.ROWS} and op.attrs["axis"] == -1 else None


# ---------------------------------------------------------------- shapes and numbers


def _shape_of(op: Operation, read: Kinds) -> Outcome | None:
    return _SHAPE if _are_rows(read) else None


def _size_of(op: Operation, read: Kinds) -> Outcome | None:
    return _NUMBER if _are_rows(read) and op.inputs[0].spec.rank == 1 else None


def _sliced(op: Operation, read: Kinds) -> Outcome | None:
    """Of a shape its first element, or those behind it; of rows some columns."""
    if read == {0: Kind.SHAPE}:
        first = _first_taken(op)
        if first:
            return _NOT
        return _NUMBER if first == 0 and op.outputs[0].spec.rank == 0 else None
    return _ROWS if read == {0: Kind.ROWS} and _takes_all_rows(op, op.inputs[0]) else None


def _first_taken(op: Operation) -> int | None:
    """With which element of a vector a slice begins; None where that is not known."""
    begin, stride = constant_value(op.inputs[1]), constant_value(op.inputs[3])
    length = (op.inputs[0].spec.shape or (None,))[0]
    is_other = any(op.attrs[mask] for mask in ("begin_mask", "ellipsis_mask", "new_axis_mask"))
    if begin is None or stride is None or begin.size != 1 or is_other or int(stride[0]) != 1:
        return None
    first = int(begin[0])
    if first >= 0:
        return first
    return first + length if isinstance(length, int) and first + length >= 0 else None


def _unsliced(op: Operation, read: Kinds) -> Outcome | None:
    """The adjoint of a slice of rows."""
    is_of_rows = read == {0: Kind.SHAPE, 4: Kind.ROWS}
    return _ROWS if is_of_rows and _takes_all_rows(op, op.outputs[0]) else None


def _takes_all_rows(op: Operation, whole: Tensor) -> bool:
    """Whether a slice begins `x[:, ...` or `x[..., ` with fewer indices than dimensions behind."""
    parts, rank, attrs = op.inputs[1].spec.shape, whole.spec.rank, op.attrs
    stride = constant_value(op.inputs[3])
    if not parts or not isinstance(parts[0], int) or rank is None or stride is None:
        return False
    if attrs["ellipsis_mask"] & 1:
        return not attrs["new_axis_mask"] and parts[0] - 1 < rank
    is_whole = attrs["begin_mask"] & attrs["end_mask"] & 1
    return bool(is_whole) and not (attrs["shrink_axis_mask"] | attrs["new_axis_mask"]) & 1 and stride[0] == 1


def _spread(op: Operation, read: Kinds) -> Outcome | None:
    """Something small, or rows, made as large as rows are."""
    shape, value = (0, 1) if op.opdef is Fill else (1, 0)
    if read.get(shape) is not Kind.SHAPE or read.get(value, Kind.ROWS) is not Kind.ROWS:
        return None
    small, rank = op.inputs[value], op.outputs[0].spec.rank
    if rank is None:
        return None
    return _ROWS if (small.spec.rank == rank if value in read else _has_no_rows(small, rank)) else None


def _summed(op: Operation, read: Kinds) -> Outcome | None:
    """A sum down to a shape leaves rows where that is theirs."""
    is_of_rows = read == {0: Kind.ROWS, 1: Kind.SHAPE}
    return _ROWS if is_of_rows and op.inputs[0].spec.rank == op.outputs[0].spec.rank else None


def _kept(op: Operation, read: Kinds) -> Outcome | None:
    """The shape of a reduction."""
    axes, length = constant_value(op.inputs[1]), op.inputs[0].spec.shape
    if read != {0: Kind.SHAPE} or axes is None or not length or not isinstance(length[0], int):
        return None
    return _NOT if 0 in axes.ravel() % length[0] else _SHAPE


# ---------------------------------------------------------------- what is told the number


def _reduced(op: Operation, read: Kinds) -> Outcome | None:
    axes, rank = constant_value(op.inputs[1]), op.inputs[0].spec.rank
    if read != {0: Kind.ROWS} or axes is None or not rank:
        return None
    return _TOLD if 0 in axes.ravel() % rank else _ROWS


def _elements(op: Operation, read: Kinds) -> Outcome | None:
    """How many elements went into each one of a reduction over all rows."""
    if read == {0: Kind.ROWS}:
        return _TOLD if op.inputs[0].spec.rank else None
    return _NOT if _are_rows(read) and len(read) == 2 else None


def _looked_up(op: Operation, read: Kinds, is_place: Callable[[Tensor], bool]) -> Outcome | None:
    form = op.opdef.form
    assert isinstance(form, Lookup)
    if form.axes is not None and form.axes(*(t.spec for t in op.inputs), **op.attrs) != (0, 0):
        return None
    if read == {1: Kind.ROWS}:
        is_deep_enough = (op.inputs[1].spec.rank or 0) >= (1 if form.axes is not None else 2)
        return Outcome(Kind.ROWS, is_told=not op.opdef.effects.any) if is_deep_enough else None
    # Places are those of rows that count.
    return _NOT if read == {0: Kind.ROWS} and form.axes is not None and is_place(op.inputs[1]) else None


def _accumulated(op: Operation, read: Kinds, is_place: Callable[[Tensor], bool]) -> Outcome | None:
    form = op.opdef.form
    assert isinstance(form, Accumulation)
    if read == {2: Kind.NUMBER} and not form.tuples:
        # Rows behind the last are made of nothing.
        return _ROWS if is_place(op.inputs[form.indices]) else None
    is_of_rows = _are_rows(read) and set(read) == {form.rows, form.indices}
    is_vector = op.inputs[form.indices].spec.rank == 1 + form.tuples
    return _TOLD if is_of_rows and is_vector else None


def _placed(op: Operation, read: Kinds) -> Outcome | None:
    is_of_rows = read == {0: Kind.ROWS, 2: Kind.ROWS} and not op.attrs["validate_indices"]
    return _TOLD if is_of_rows and op.inputs[0].spec.rank == 2 and op.inputs[2].spec.rank == 1 else None


def _written(op: Operation, read: Kinds) -> Outcome | None:
    indices, rows = counted.row_inputs(op.opdef)
    is_number = op.inputs[rows].spec.rank == 0
    fits = set(read) == ({indices} if is_number else {indices, rows}) and _are_rows(read)
    return _TOLD if fits and op.inputs[indices].spec.rank == 1 else None


_RULES: dict[OpDef, Callable[[Operation, Kinds], Outcome | None]] = {
    **dict.fromkeys((Softmax, LogSoftmax, SoftmaxCrossEntropyWithLogits), _of_rows),
    SparseSoftmaxCrossEntropyWithLogits: _of_rows,
    Select: _selected,
    Reshape: _reshaped,
    **dict.fromkeys((ExpandDims, Squeeze, Transpose, Split, SplitV, Unpack), _moved),
    **dict.fromkeys((ConcatV2, Pack, AxisSizes), _joined),
    OneHot: _one_hot,
    ShapeOp: _shape_of,
    SizeOp: _size_of,
    StridedSlice: _sliced,
    StridedSliceGrad: _unsliced,
    **dict.fromkeys((BroadcastTo, Fill), _spread),
    SumToShape: _summed,
    ReducedShape: _kept,
    Mean: _reduced,
    ElementsPerOutput: _elements,
    SparseToDense: _placed,
}
