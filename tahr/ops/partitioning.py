"""Partitioning and stitching: DynamicPartition and DynamicStitch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_ints
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.errors import Complaint
from tahr.ops import structural
from tahr.ops.indexing import check_indices, gather, show_place

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
