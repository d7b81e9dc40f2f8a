"""Convolutions of groups of channels, and their adjoints, as those of each group.

Group i of the images' channels meets group i of the filters. Where each channel is a group of its own, that is a
depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tahr.core.graph import Tensor
from tahr.core.opdef import OpDef
from tahr.ops import shaping
from tahr.ops.convolution import (
    Conv2D,
    Conv2DBackpropFilter,
    Conv2DBackpropInput,
    DepthwiseConv2dNative,
    DepthwiseConv2dNativeBackpropFilter,
    DepthwiseConv2dNativeBackpropInput,
)
from tahr.ops.joining import concat, split
from tahr.ops.layouts import channel_axis
from tahr.ops.slicing import slice_by


def _known(tensor: Tensor, axis: int) -> int:
    """A dimension, which is known."""
    assert tensor.spec.shape is not None
    size = tensor.spec.shape[axis]
    assert isinstance(size, int)
    return size


def _with_size(sizes: Tensor, axis: int, size: int) -> Tensor:
    """A shape with another size of one dimension."""
    return concat([slice_by(sizes, slice(None, axis)), [size], slice_by(sizes, slice(axis + 1, None))], 0)


# ---------------------------------------------------------------- groups of several channels


def conv(x: Tensor, filters: Tensor, **attrs: Any) -> Tensor:
    """`Conv2D` as one convolution for each group."""
    axis = channel_axis(attrs["data_format"])
    groups = _known(x, axis) // _known(filters, 2)
    parts = zip(split(x, groups, axis), split(filters, groups, 3))
    return concat([Conv2D(*part, **attrs) for part in parts], axis)


def conv_to_input(input_sizes: Tensor, filters: Tensor, dy: Tensor, **attrs: Any) -> Tensor:
    """`Conv2DBackpropInput` likewise."""
    axis = channel_axis(attrs["data_format"])
    inner = _known(filters, 2)
    assert input_sizes.spec.value is not None
    groups = input_sizes.spec.value[axis] // inner
    sizes = _with_size(input_sizes, axis, inner)
    parts = zip(split(filters, groups, 3), split(dy, groups, axis))
    return concat([Conv2DBackpropInput(sizes, *part, **attrs) for part in parts], axis)


def conv_to_filter(x: Tensor, filter_sizes: Tensor, dy: Tensor, **attrs: Any) -> Tensor:
    """`Conv2DBackpropFilter` likewise."""
    axis = channel_axis(attrs["data_format"])
    assert filter_sizes.spec.value is not None
    *_, inner, outer = filter_sizes.spec.value
    groups = _known(x, axis) // inner
    sizes = _with_size(filter_sizes, 3, outer // groups)
    parts = zip(split(x, groups, axis), split(dy, groups, axis))
    return concat([Conv2DBackpropFilter(a, sizes, b, **attrs) for a, b in parts], 3)


# ---------------------------------------------------------------- groups of one channel


def _depthwise_shape(height: int, width: int, channels: int, outer: int) -> list[int]:
    return [height, width, channels, outer // channels]


def _depthwise_attrs(attrs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attrs.items() if name in DepthwiseConv2dNative.attrs}


def depthwise(x: Tensor, filters: Tensor, **attrs: Any) -> Tensor:
    """`Conv2D` of groups of one channel."""
    channels = _known(x, channel_axis(attrs["data_format"]))
    height, width, _, outer = (_known(filters, i) for i in range(4))
    filters = shaping.reshape(filters, _depthwise_shape(height, width, channels, outer))
    return DepthwiseConv2dNative(x, filters, **_depthwise_attrs(attrs))


def depthwise_to_input(input_sizes: Tensor, filters: Tensor, dy: Tensor, **attrs: Any) -> Tensor:
    """`Conv2DBackpropInput` likewise."""
    assert input_sizes.spec.value is not None
    channels = input_sizes.spec.value[channel_axis(attrs["data_format"])]
    height, width, _, outer = (_known(filters, i) for i in range(4))
    filters = shaping.reshape(filters, _depthwise_shape(height, width, channels, outer))
    return DepthwiseConv2dNativeBackpropInput(input_sizes, filters, dy, **_depthwise_attrs(attrs))


def depthwise_to_filter(x: Tensor, filter_sizes: Tensor, dy: Tensor, **attrs: Any) -> Tensor:
    """`Conv2DBackpropFilter` likewise."""
    channels = _known(x, channel_axis(attrs["data_format"]))
    assert filter_sizes.spec.value is not None
    height, width, _, outer = filter_sizes.spec.value
    sizes = _depthwise_shape(height, width, channels, outer)
    found = DepthwiseConv2dNativeBackpropFilter(x, sizes, dy, **_depthwise_attrs(attrs))
    return shaping.reshape(found, filter_sizes)


GROUPED: dict[OpDef, Callable[..., Tensor]] = {
    Conv2D: conv,
    Conv2DBackpropInput: conv_to_input,
    Conv2DBackpropFilter: conv_to_filter,
}
DEPTHWISE: dict[OpDef, Callable[..., Tensor]] = {
    Conv2D: depthwise,
    Conv2DBackpropInput: depthwise_to_input,
    Conv2DBackpropFilter: depthwise_to_filter,
}
