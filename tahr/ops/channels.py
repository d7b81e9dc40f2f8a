"""One number for each channel of images: BiasAdd, and what batch normalization shares with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import NUMBERS, widened
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.errors import Complaint
from tahr.ops.layouts import from_channels_last, same_dim, to_channels_last
from tahr.ops.structural import broadcast_to, reduce_sum, reshape, shape

# ---------------------------------------------------------------- channels


def channel_axis(data_format: str, rank: int) -> int:
    """Where the channels are: in front ("NCHW", right behind the batch) or last ("NHWC")."""
    return 1 if data_format.startswith("NC") else rank - 1


def beside_channels(vector: Tensor, data_format: str, rank: int) -> Tensor:
    """A vector with one element per channel, shaped to broadcast against images."""
    if not data_format.startswith("NC"):
        return vector
    return reshape(vector, [-1] + [1] * (rank - 2))


def other_axes(data_format: str, rank: int) -> list[int]:
    """All axes but that of the channels."""
    channel = channel_axis(data_format, rank)
    return [axis for axis in range(rank) if axis != channel]


def rank_of(x: Tensor) -> int:
    """The rank of a tensor of which it is known."""
    assert x.spec.rank is not None
    return x.spec.rank


def channel_rows(x: Array, data_format: str) -> Array:
    """Images as a matrix with one column for each channel, 16-bit floats as float32."""
    wide = widened(x)
    images = to_channels_last(wide, data_format) if data_format.startswith("NC") else wide
    return images.reshape(images.size // max(images.shape[-1], 1), images.shape[-1])


def images_like(rows: Array, like: Array, data_format: str) -> Array:
    """A matrix with one column for each channel as images of the shape and dtype of others."""
    if data_format.startswith("NC"):
        rows = from_channels_last(rows.reshape(like.shape[0], *like.shape[2:], like.shape[1]), data_format)
    return rows.reshape(like.shape).astype(like.dtype, copy=False)


def column_sums(rows: Array) -> Array:
    """The sum of each column. A GEMV is more accurate than adding row after row, and as fast."""
    if rows.dtype.kind == "f":
        return np.ones(len(rows), rows.dtype) @ rows
    return np.sum(rows, axis=0, dtype=rows.dtype)


def column_products(a: Array, b: Array) -> Array:
    """The sum of each column of a * b; in blocks, because `einsum` adds row after row."""
    total = np.zeros(a.shape[1], a.dtype)
    for start in range(0, len(a), 1024):
        block = slice(start, start + 1024)
        total += np.einsum("nc,nc->c", a[block], b[block])
    return total


# ---------------------------------------------------------------- BiasAdd

BiasAdd = OpDef(
    "BiasAdd", "value: T, bias: T -> output: T", attrs={"data_format": "NHWC"}, types={"T": NUMBERS}
)


@BiasAdd.shape
def _bias_add_shape(value: Spec, bias: Spec, *, data_format: str) -> Shape:
    (channels,) = shapes.dims(bias.shape, 1)
    x = _with_channels(value.shape, data_format)
    if x is None:
        return None
    axis = channel_axis(data_format, len(x))
    try:
        channels = same_dim(x[axis], channels)
    except Complaint as complaint:
        raise Complaint(
            f"{complaint.problem}: value is {shapes.show(x)}, bias {shapes.show(bias.shape)}"
        ) from None
    return (*x[:axis], channels, *x[axis + 1 :])


def _with_channels(x: Shape, data_format: str) -> Shape:
    """The shape. Raises ValueError where it has no channels."""
    least = 3 if data_format.startswith("NC") else 2
    if x is not None and len(x) < least:
        raise ValueError(f"Shape must be at least rank {least} but is rank {len(x)}")
    return x


@BiasAdd.kernel
def _bias_add_kernel(value: Array, bias: Array, *, data_format: str) -> Array:
    axis = channel_axis(data_format, value.ndim)
    if value.shape[axis] != bias.size:
        raise Complaint(f"Must provide as many biases as channels: {value.shape[axis]} vs. {bias.size}")
    return np.add(value, bias.reshape(bias.shape + (1,) * (value.ndim - 1 - axis)))


@BiasAdd.expansion
def _bias_add_expansion(value: Tensor, bias: Tensor, *, data_format: str) -> Tensor:
    return value + beside_channels(bias, data_format, rank_of(value))


@BiasAdd.gradient
def _bias_add_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    return dy, BiasAddGrad(dy, data_format=op.attrs["data_format"])


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """Adds one number to each channel.

    Args:
        value: [..., channels], at least a matrix; for "NC..." [batch, channels, ...].
        bias: [channels].
        data_format: "N...C" (the default) or "NC...": where the channels are.
        name: the operation's name.

    Raises:
        ValueError: the bias does not fit, or the format is none.
    """
    if data_format is not None and not (data_format.startswith("NC") or data_format[-1:] == "C"):
        raise ValueError("data_format must be of the form `N...C` or `NC...`")
    layout = "NCHW" if data_format is not None and data_format.startswith("NC") else "NHWC"
    with name_scope(name, "BiasAdd", [value, bias]) as scope:
        x = convert_to_tensor(value, name="input")
        b = convert_to_tensor(bias, dtype=x.spec.dtype, name="bias")
        return BiasAdd(x, b, data_format=layout, name=scope)


BiasAddGrad = OpDef(
    "BiasAddGrad", "out_backprop: T -> output: T", attrs={"data_format": "NHWC"}, types={"T": NUMBERS}
)


@BiasAddGrad.shape
def _bias_add_grad_shape(dy: Spec, *, data_format: str) -> Shape:
    x = _with_channels(dy.shape, data_format)
    return (UNKNOWN,) if x is None else (x[channel_axis(data_format, len(x))],)


@BiasAddGrad.kernel
def _bias_add_grad_kernel(dy: Array, *, data_format: str) -> Array:
    return column_sums(channel_rows(dy, data_format)).astype(dy.dtype, copy=False)


@BiasAddGrad.expansion
def _bias_add_grad_expansion(dy: Tensor, *, data_format: str) -> Tensor:
    return reduce_sum(dy, other_axes(data_format, rank_of(dy)))


@BiasAddGrad.gradient
def _bias_add_grad_gradient(op: Operation, db: Tensor) -> Tensor:
    dy = op.inputs[0]
    if op.attrs["data_format"].startswith("NC"):
        db = beside_channels(db, "NCHW", rank_of(dy))
    return broadcast_to(db, shape(dy))
