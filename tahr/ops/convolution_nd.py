"""Convolutions made of those in `convolution`: of signals, separable, dilated, of any rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import int32
from tahr.core.graph import Tensor
from tahr.core.scopes import name_scope
from tahr.ops.convolution import (
    Conv2D,
    Conv2DBackpropInput,
    conv2d,
    conv2d_transpose,
    conv3d,
    conv3d_transpose,
    depthwise_conv2d_native,
)
from tahr.ops.joining import concat
from tahr.ops.layouts import padding_attrs, per_dimension
from tahr.ops.structural import deprecated_argument, expand_dims, squeeze

# ---------------------------------------------------------------- one dimension


def _two_dimensional(data_format: str | None) -> tuple[str, str, int]:
    """Layouts of signals and of the images they are computed as, and where these have one more axis."""
    if data_format in (None, "NHWC", "NWC"):
        return "NWC", "NHWC", 1
    if data_format in ("NCHW", "NCW"):
        return "NCW", "NCHW", 2
    raise ValueError('data_format must be "NWC" or "NCW".')


def conv1d(
    value: Any = None,
    filters: Any = None,
    stride: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool | None = None,
    data_format: str | None = None,
    name: str | None = None,
    input: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The convolution of signals with filters, computed as one of images with a height of 1.

    Args:
        value: signals, [batch, width, in].
        filters: [width, in, out].
        stride: the step between windows.
        padding: "SAME" or "VALID".
        use_cudnn_on_gpu: accepted.
        data_format: "NWC" or "NCW".
        name: the operation's name.
        input: the newer name of `value`.
        dilations: the step between the taps of a window.

    Returns:
        [batch, out width, out].
    """
    value = deprecated_argument("input", input, "value", value)
    signals, images, axis = _two_dimensional(data_format)
    with name_scope(name, "conv1d", [value, filters]) as scope:
        result = Conv2D(
            expand_dims(value, axis),
            expand_dims(filters, 0),
            strides=(1, *per_dimension(stride, signals, "stride")),
            dilations=(1, *per_dimension(dilations, signals, "dilations")),
            data_format=images,
            name=scope,
            **padding_attrs(padding),
        )
        return squeeze(result, [axis])


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The transpose of `conv1d`.

    Args:
        input: signals, [batch, width, in].
        filters: [width, out, in].
        output_shape: [3], the shape of the result.
        strides, padding, data_format, dilations: those of the `conv1d` that this is the transpose of.
        name: the operation's name.
    """
    signals, images, axis = _two_dimensional(data_format)
    with name_scope(name, "conv1d_transpose", [input, filters, output_shape]) as scope:
        sizes = convert_to_tensor(output_shape, int32, name="output_shape")
        result = Conv2DBackpropInput(
            concat([sizes[:axis], [1], sizes[axis:]], 0),
            expand_dims(filters, 0),
            expand_dims(input, axis),
            strides=(1, *per_dimension(strides, signals, "strides")),
            dilations=(1, *per_dimension(dilations, signals, "dilations")),
            data_format=images,
            name=scope,
            **padding_attrs(padding),
        )
        return squeeze(result, [axis])


# ---------------------------------------------------------------- channel by channel


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """The convolution of each channel with its own filters.

    Args:
        input: images, [batch, height, width, in].
        filter: [height, width, in, multiplier].
        strides: as in `conv2d`.
        padding: as in `conv2d`.
        rate: the older name of `dilations`.
        name: the operation's name.
        data_format: "NHWC" or "NCHW".
        dilations: [2], steps between the taps of a window.

    Returns:
        [batch, out height, out width, in * multiplier].

    Raises:
        ValueError: strides and dilations are both above 1.

    Differs from TensorFlow 1.15 in that a dilated convolution is one operation.
    """
    rate = deprecated_argument("dilations", dilations, "rate", rate)
    data_format = data_format or "NHWC"
    with name_scope(name, "depthwise", [input, filter]) as scope:
        input = convert_to_tensor(input, name="tensor_in")
        filter = convert_to_tensor(filter, name="filter_in")
        _check_strided_or_dilated(strides, rate)
        return depthwise_conv2d_native(
            input, filter, strides, padding, data_format, 1 if rate is None else rate, name=scope
        )


def _check_strided_or_dilated(strides: Any, dilations: Any) -> None:
    """Raises ValueError where both skip pixels, which TensorFlow does not allow in its general functions."""
    if strides is not None and dilations is not None and np.max(strides) > 1 and np.max(dilations) > 1:
        raise ValueError("strides > 1 not supported in conjunction with dilation_rate > 1")


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """A depthwise convolution followed by one with 1x1 filters that mixes the channels.

    Args:
        input: images, [batch, height, width, in].
        depthwise_filter: [height, width, in, multiplier].
        pointwise_filter: [1, 1, in * multiplier, out].
        strides, padding: of the depthwise convolution, as in `conv2d`.
        rate: the older name of `dilations`.
        name: the operation's name.
        data_format: "NHWC" or "NCHW".
        dilations: [2], of the depthwise convolution.

    Returns:
        [batch, out height, out width, out].

    Raises:
        ValueError: the pointwise filter is not 1x1, or strides and dilations are both above 1.
    """
    rate = deprecated_argument("dilations", dilations, "rate", rate)
    data_format = data_format or "NHWC"
    with name_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]) as scope:
        input = convert_to_tensor(input, name="tensor_in")
        depthwise_filter = convert_to_tensor(depthwise_filter, name="depthwise_filter")
        pointwise_filter = convert_to_tensor(pointwise_filter, name="pointwise_filter")
        window = shapes.dims(pointwise_filter.spec.shape, 4)[:2]
        if any(isinstance(size, int) and size != 1 for size in window):
            raise ValueError(f"the pointwise filter must be 1x1, but is {window[0]}x{window[1]}")
        _check_strided_or_dilated(strides, rate)
        channels = depthwise_conv2d_native(
            input,
            depthwise_filter,
            strides,
            padding,
            data_format,
            1 if rate is None else rate,
            name="depthwise",
        )
        return conv2d(channels, pointwise_filter, 1, "VALID", data_format=data_format, name=scope)


# ---------------------------------------------------------------- any number of dimensions

_LAYOUTS = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def _layout(data_format: str | None, *tensors: Tensor) -> str:
    """The layout of images, from their rank or the filters'.

    Raises:
        ValueError: the rank is unknown, or there are not one, two or three spatial dimensions.
    """
    ranks = [t.spec.rank for t in tensors if t.spec.rank is not None]
    if not ranks:
        raise ValueError("rank of input must be known: set the shape of the images or of the filters")
    layout = _LAYOUTS.get(ranks[0] - 2)
    if layout is None:
        raise ValueError(f"num_spatial_dims must be one of 1, 2 or 3 but saw: {ranks[0] - 2}.")
    if data_format is not None and data_format.startswith("NC"):
        return "NC" + layout[1:-1]
    return layout


def convolution(
    input: Any,
    filter: Any,
    padding: Any,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The convolution of signals, images or volumes with filters.

    Args:
        input: [batch, *spatial, in], or [batch, in, *spatial] where `data_format` starts with "NC".
        filter: [*window, in, out].
        padding: "SAME" or "VALID".
        strides: a step for each spatial dimension.
        dilation_rate: a step between the taps of a window for each spatial dimension.
        name: the operation's name.
        data_format: the layout.
        filters: the newer name of `filter`.
        dilations: the newer name of `dilation_rate`.

    Raises:
        ValueError: the rank is unknown, or strides and dilations are both above 1.

    Differs from TensorFlow 1.15 in that a dilated convolution is one operation.
    """
    filter = deprecated_argument("filters", filters, "filter", filter)
    dilation_rate = deprecated_argument("dilations", dilations, "dilation_rate", dilation_rate)
    with name_scope(name, "convolution", [input, filter]) as scope:
        x = convert_to_tensor(input, name="input")
        w = convert_to_tensor(filter, name="filter")
        layout = _layout(data_format, x, w)
        _check_strided_or_dilated(strides, dilation_rate)
        if len(layout) == 3:
            return conv1d(x, w, strides, padding, data_format=layout, name=scope, dilations=dilation_rate)
        conv = conv2d if len(layout) == 4 else conv3d
        return conv(x, w, strides, padding, data_format=layout, dilations=dilation_rate, name=scope)


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The transpose of `convolution`.

    Args:
        input: [batch, *spatial, in].
        filters: [*window, out, in].
        output_shape: the shape of the result.
        strides, padding, data_format, dilations: those of the convolution.
        name: the operation's name.
    """
    with name_scope(name, "conv_transpose", [input, filters, output_shape]) as scope:
        x = convert_to_tensor(input, name="input")
        w = convert_to_tensor(filters, name="filters")
        layout = _layout(data_format, x, w)
        if len(layout) == 3:
            return conv1d_transpose(x, w, output_shape, strides, padding, layout, dilations, scope)
        transpose = conv2d_transpose if len(layout) == 4 else conv3d_transpose
        return transpose(x, w, output_shape, strides, padding, layout, scope, dilations=dilations)


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: Any, name: str | None = None) -> Tensor:
    """`conv2d` with `rate` - 1 pixels left out between the taps of a window.

    Args:
        value: images, [batch, height, width, in].
        filters: [height, width, in, out].
        rate: at least 1.
        padding: "SAME" or "VALID".
        name: the operation's name.
    """
    return convolution(value, filters, padding, dilation_rate=[rate, rate], name=name)


def atrous_conv2d_transpose(
    value: Any, filters: Any, output_shape: Any, rate: int, padding: Any, name: str | None = None
) -> Tensor:
    """The transpose of `atrous_conv2d`.

    Args:
        value: images, [batch, height, width, in].
        filters: [height, width, out, in].
        output_shape: [4], the shape of the result.
        rate: at least 1.
        padding: "SAME" or "VALID".
        name: the operation's name.

    Raises:
        ValueError: the rate is below 1.
    """
    if rate < 1:
        raise ValueError(f"rate {rate} cannot be less than one")
    with name_scope(name, "atrous_conv2d_transpose", [value, filters, output_shape]) as scope:
        return conv2d_transpose(value, filters, output_shape, 1, padding, name=scope, dilations=rate)
