"""Sequences of different lengths in one tensor: masks, and sequences reversed up to their lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import INDICES
from tahr.core.forms import Reversal
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import elementwise, reductions, structural

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


# ---------------------------------------------------------------- masks


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
