"""What convolution and pooling share: layouts, attributes with one entry per dimension, output sizes.

A layout is a string such as "NHWC": N the batch, C the channels, the other letters spatial dimensions.
Kernels work with the channels last; `convolution_kernels` and `pooling_kernels` compute.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.opdef import Array
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import Dim
from tahr.errors import Complaint
from tahr.ops import windows
from tahr.ops.windows import Padding


def channel_axis(data_format: str) -> int:
    """Where in a layout the channels are."""
    return data_format.index("C")


def to_channels_last(images: Array, data_format: str) -> Array:
    """Images of a layout as a view with channels last; "NHWC" passes through."""
    return np.moveaxis(images, 1, -1) if data_format[1] == "C" else images


def from_channels_last(images: Array, data_format: str) -> Array:
    """Images with channels last as a view in a layout: `to_channels_last` undone."""
    return np.moveaxis(images, -1, 1) if data_format[1] == "C" else images


def spatial(values: Sequence[Any], data_format: str) -> tuple[Any, ...]:
    """The entries of spatial dimensions, of a list with one entry for each dimension of a layout."""
    return tuple(value for value, letter in zip(values, data_format) if letter not in "NC")


def in_layout(batch: Any, sizes: Sequence[Any], channels: Any, data_format: str) -> tuple[Any, ...]:
    """One entry for each dimension of a layout."""
    remaining = iter(sizes)
    special = {"N": batch, "C": channels}
    return tuple(special[letter] if letter in special else next(remaining) for letter in data_format)


def per_dimension(value: Any, data_format: str, name: str) -> tuple[int, ...]:
    """An attribute of a window (strides, dilations, ksize) with one entry for each dimension of a layout.

    Args:
        value: an integer for all spatial dimensions, a list with one entry for each of these, or the full
            list; None for ones.
        data_format: the layout.
        name: what to call it in errors.

    Raises:
        ValueError: the list has another length.
    """
    count = len(data_format) - 2
    values = [1] if value is None else [int(v) for v in np.atleast_1d(value)]
    if len(values) == count + 2:
        return tuple(values)
    if len(values) not in (1, count):
        raise ValueError(f"{name} should be of length 1, {count} or {count + 2} but was {len(values)}")
    return in_layout(1, values * count if len(values) == 1 else values, 1, data_format)


def padding_attrs(padding: Any) -> dict[str, Any]:
    """The attributes that stand for what users write as padding.

    Args:
        padding: "SAME", "VALID", or a (low, high) pair for each dimension, batch and channels included.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(padding, str) or padding is None:
        return {"padding": padding}
    pairs = [tuple(int(p) for p in pair) for pair in padding]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("Each element of padding must be a list of size 2")
    return {"padding": "EXPLICIT", "explicit_paddings": tuple(p for pair in pairs for p in pair)}


def spatial_padding(padding: str, explicit_paddings: Sequence[int], data_format: str) -> Padding:
    """Padding as `windows` wants it.

    Raises:
        Complaint: it is not valid.
    """
    if padding in ("SAME", "VALID"):
        return padding
    if padding != "EXPLICIT":
        raise Complaint(f'Attr "padding" passed string {padding!r} not in: "SAME", "VALID", "EXPLICIT".')
    if len(explicit_paddings) != 2 * len(data_format):
        raise Complaint(
            f"explicit_paddings attribute must contain {2 * len(data_format)} values, "
            f"but got: {len(explicit_paddings)}"
        )
    pairs = list(zip(explicit_paddings[::2], explicit_paddings[1::2]))
    if any(pairs[data_format.index(letter)] != (0, 0) for letter in "NC"):
        raise Complaint("Nonzero explicit padding in the batch or depth dimensions is not supported")
    return list(spatial(pairs, data_format))


def check_window(name: str, values: Sequence[int], data_format: str) -> tuple[int, ...]:
    """The spatial entries of strides, dilations or ksize.

    Raises:
        Complaint: one is not positive, or the window would move over batch or channels.
    """
    if len(values) != len(data_format):
        raise Complaint(
            f"{name} needs {len(data_format)} entries for the layout {data_format}: {list(values)}"
        )
    for value in values:
        if value < 1:
            raise Complaint(f"{name} must be > 0, but got {value}")
    if any(values[data_format.index(letter)] != 1 for letter in "NC"):
        raise Complaint(
            f"Current implementation does not yet support {name.lower()}s in the batch and depth dimensions."
        )
    return spatial(values, data_format)


def output_sizes(
    sizes: Sequence[Dim],
    window: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Padding,
) -> tuple[Dim, ...]:
    """The spatial sizes of a windowed operation's output, where anything may be unknown.

    Raises:
        Complaint: the window surely does not fit, in TensorFlow's words.
    """
    if padding != "SAME":
        pads = [(0, 0)] * len(sizes) if isinstance(padding, str) else padding
        for size, k, dilation, (low, high) in zip(sizes, window, dilations, pads):
            extent, room = (k - 1) * dilation + 1, size + low + high
            if isinstance(extent, int) and isinstance(room, int) and room < extent:
                raise Complaint(f"Negative dimension size caused by subtracting {extent} from {room}")
    return windows.window_geometry(sizes, window, strides, dilations, padding).out


def shape_like(sizes: Spec, rank: int) -> tuple[Dim, ...]:
    """The shape that an input which holds one (`input_sizes`) describes."""
    (length,) = shapes.dims(sizes.shape, 1)
    if isinstance(length, int) and length != rank:
        raise Complaint(f"{rank} sizes are needed, but got {length}")
    return shapes.dims(shapes.from_value(sizes.value, rank), rank)


def same_dim(a: Dim, b: Dim) -> Dim:
    """What two statements about the same dimension say together.

    Raises:
        Complaint: they contradict each other, in TensorFlow's words.
    """
    try:
        return shapes.merge_dims(a, b)
    except ValueError:
        raise Complaint(f"Dimensions must be equal, but are {a} and {b}") from None


def images_shape(x: Shape, data_format: str) -> tuple[Dim, tuple[Dim, ...], Dim]:
    """Batch, spatial sizes and channels of images."""
    sizes = shapes.dims(x, len(data_format))
    return sizes[0], spatial(sizes, data_format), sizes[channel_axis(data_format)]


def channels_last(sizes: Array, data_format: str) -> tuple[int, ...]:
    """The shape of images, given as an array, in the layout with the channels last."""
    known = tuple(int(size) for size in sizes)
    return (known[0], *spatial(known, data_format), known[channel_axis(data_format)])


def complaining(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel made of their functions, whose ValueErrors become errors of the operation."""

    @functools.wraps(kernel)
    def checked(*arrays: Any, **attrs: Any) -> Any:
        try:
            return kernel(*arrays, **attrs)
        except Complaint:
            raise
        except ValueError as error:
            raise Complaint(str(error)) from error

    return checked
