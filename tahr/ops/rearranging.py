"""Elements moved along axes: rolled around, repeated; and flat indices taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes, sizes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import INDICES
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.core.views import Part, Run, View, parts_of_runs
from tahr.errors import Complaint
from tahr.ops import cropping, elementwise, fills, indexing, joining, reductions, sequences, structural
from tahr.ops.slicing import slice_by

# ---------------------------------------------------------------- Roll

Roll = OpDef(
    "Roll",
    "input: T, shift: Tshift, axis: Taxis -> output: T",
    types={"Tshift": INDICES, "Taxis": INDICES},
    form=MOVEMENT,
)


@Roll.shape
def _roll_shape(x: Spec, shift: Spec, axis: Spec) -> Shape:
    if x.shape == ():
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    for spec in (shift, axis):
        if spec.rank is not None and spec.rank > 1:
            raise ValueError(f"Shape must be at most rank 1 but is rank {spec.rank}")
    shapes.merge(shift.shape, axis.shape)
    return x.shape


@Roll.kernel
def _roll_kernel(x: Array, shift: Array, axis: Array) -> Array:
    if x.ndim == 0:
        raise Complaint("input must be 1-D or higher")
    if shift.shape != axis.shape:
        raise Complaint("shift and axis must have the same size")
    wrong = axis[(axis < -x.ndim) | (axis >= x.ndim)]
    if wrong.size:
        raise Complaint(f"axis {wrong[0]} is out of range")
    return np.roll(x, shift.ravel().tolist(), axis.ravel().tolist())


@Roll.parts
def _roll_parts(x: Spec, shift: Spec, axis: Spec, *, outs: Sequence[Spec]) -> list[Part] | None:
    steps, axes = known_ints(shift), known_ints(axis)
    if steps is None or axes is None or x.shape is None:
        return None
    if not all(-len(x.shape) <= place < len(x.shape) for place in axes):
        return None
    by = [0] * len(x.shape)
    for step, place in zip(steps, axes):
        by[place] += step
    runs: list[list[Run]] = []
    for size, step in zip(x.shape, by):
        if size == 0 or step == 0:
            runs.append([Run(0, 0, size)])
        elif sizes.surely_at_most(1, size):
            around = step % size  # how many come in at the front
            runs.append([Run(0, around, size - around), Run(size - around, 0, around)])
        else:
            return None
    return parts_of_runs(0, View.dense(x.shape), View.dense(x.shape), runs)


@Roll.gradient
def _roll_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    _, shift, axis = op.inputs
    return roll(dy, elementwise.negative(shift), axis), None, None


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """The elements moved along axes; those that leave at one end come in at the other.

    Args:
        input: at least a vector, of any dtype.
        shift: by how many places, towards larger indices; negative: towards smaller ones. A scalar or vector, int32
            or int64.
        axis: along which axis, or axes: of the shape of `shift`; shifts along the same axis add up.
        name: the operation's name.

    Raises:
        ValueError: the ranks do not fit.  InvalidArgumentError: there is no such axis.
    """
    return Roll(input, shift, axis, name=name)


# ---------------------------------------------------------------- repeat


def repeat(input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> Tensor:
    """Each element several times: `[3, 4]` with `repeats=[2, 1]` gives `[3, 3, 4]`.

    Args:
        input: [before, n, after], of any dtype; a scalar is taken as a vector.
        repeats: how often, an integer scalar, or a vector [n]: how often each; negative ones are zero.
        axis: which axis has the size n; None: the input is flattened.
        name: the name scope.

    Returns:
        [before, m, after], where m is the sum of the repeats.

    Raises:
        TypeError: `axis` or `repeats` is no integer.
        ValueError: `repeats` does not fit, or `axis` is negative and the rank is not known.
    """
    if axis is None:
        input, axis = structural.reshape(input, [-1]), 0
    if not isinstance(axis, int):
        raise TypeError("axis must be an int")
    with name_scope(name, "Repeat", [input, repeats]):
        x = convert_to_tensor(input, name="data")
        counts = convert_to_tensor(repeats, name="repeats")
        if counts.spec.dtype is not None and not counts.spec.dtype.is_integer:
            raise TypeError(f"Argument `repeats` must be of type integer, not {counts.dtype.name}")
        if counts.spec.dtype not in INDICES:
            counts = elementwise.cast(counts, dtypes.int32)
        if x.spec.rank == 0:
            x = structural.expand_dims(x, 0)
        if x.spec.rank is not None:
            axis = shapes.normalize_axis(axis, x.spec.rank)
        elif axis < 0:
            raise ValueError(
                f"axis={axis} may only be negative if rank(data) is statically known: set the shape"
            )
        if counts.spec.shape == (1,):
            counts = structural.reshape(counts, [])
        if counts.spec.rank == 0:
            return _repeat_all(x, counts, axis)
        return indexing.gather(x, _repeated_places(x, counts, axis), axis=axis)


def _repeat_all(x: Tensor, count: Tensor, axis: int) -> Tensor:
    """Each element equally often: tiled along an axis of its own, which then joins the one before it."""
    place = axis + 1
    shape = structural.shape(x)
    multiples = joining.concat(
        [
            fills.fill([place], 1),
            [elementwise.maximum(elementwise.cast(count, dtypes.int32), 0)],
            fills.fill(structural.expand_dims(structural.rank(x) - place, 0), 1),
        ],
        0,
    )
    tiled = cropping.tile(structural.expand_dims(x, place), multiples)
    length = slice_by(shape, slice(axis, place)) * slice_by(multiples, slice(place, place + 1))
    before, after = slice_by(shape, slice(None, axis)), slice_by(shape, slice(place, None))
    return structural.reshape(tiled, joining.concat([before, length, after], 0))


def _repeated_places(x: Tensor, counts: Tensor, axis: int) -> Tensor:
    """The index of each result along the axis: 0 `counts[0]` times, 1 `counts[1]` times, and so on."""
    if counts.spec.rank is not None and counts.spec.rank > 1:
        raise ValueError(f"Shape must be at most rank 1 but is rank {counts.spec.rank}")
    size = slice_by(structural.shape(x), axis)
    if x.spec.shape is not None and counts.spec.shape is not None:
        shapes.merge((x.spec.shape[axis],), counts.spec.shape)
    counts = structural.broadcast_to(counts, [size])
    wanted = sequences.sequence_mask(counts, elementwise.maximum(reductions.reduce_max(counts), 0))
    column = structural.expand_dims(structural.range_(size), -1)
    places = structural.broadcast_to(column, structural.shape(wanted))
    return indexing.boolean_mask(places, wanted)


# ---------------------------------------------------------------- UnravelIndex

UnravelIndex = OpDef(
    "UnravelIndex", "indices: Tidx, dims: Tidx -> output: Tidx", types={"Tidx": INDICES}
).not_differentiable()


@UnravelIndex.shape
def _unravel_index_shape(indices: Spec, dims: Spec) -> Shape:
    (rank,) = shapes.dims(dims.shape, 1)
    if indices.shape is None:
        return None
    return (rank, *indices.shape) if len(indices.shape) < 2 else (rank, UNKNOWN)


@UnravelIndex.kernel
def _unravel_index_kernel(indices: Array, dims: Array) -> Array:
    if indices.ndim > 1:
        raise Complaint(f"The indices can only be scalar or vector, got {shapes.show(indices.shape)}")
    if not dims.all():
        raise Complaint(
            "Input dims cannot contain a dim of zero, "
            f"but dims contains zero at index {int(np.argmin(dims != 0))}"
        )
    if indices.size and (indices.min() < 0 or indices.max() >= np.prod(dims)):
        raise Complaint(f"index is out of bound as with dims {shapes.show(tuple(dims.tolist()))}")
    places = np.unravel_index(indices, tuple(dims.tolist()))
    return np.array(places, indices.dtype).reshape(len(dims), *indices.shape)


def unravel_index(indices: Any, dims: Any, name: str | None = None) -> Tensor:
    """The coordinates in an array of elements that are numbered row by row.

    Args:
        indices: the numbers, a scalar or a vector [n], int32 or int64.
        dims: the array's shape, a vector [rank].
        name: the operation's name.

    Returns:
        [rank], or [rank, n].

    Raises:
        InvalidArgumentError: a number is outside of the array.

    Differs from TensorFlow 1.15: a negative number is an error, and there may be no numbers at all.
    """
    return UnravelIndex(indices, dims, name=name)
