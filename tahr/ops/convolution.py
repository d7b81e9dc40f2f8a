"""Convolutions in two and three dimensions, depthwise convolutions, and transposed ones.

Each kind is three ops that are closed under differentiation, since a convolution is bilinear in images and
filters: the convolution itself, its adjoint by the images (which is the transposed convolution), and that by
the filters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tahr.core import shapes
from tahr.core.dtypes import FLOATS, INDICES, int32
from tahr.core.forms import Window
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import Dim
from tahr.errors import Complaint
from tahr.ops import convolution_kernels
from tahr.ops.layouts import (
    channels_last,
    check_window,
    complaining,
    from_channels_last,
    images_shape,
    in_layout,
    output_sizes,
    padding_attrs,
    per_dimension,
    same_dim,
    shape_like,
    spatial_padding,
    to_channels_last,
)
from tahr.ops.structural import deprecated_argument, shape
from tahr.ops.windows import Padding

# ---------------------------------------------------------------- three ops of a kind


class _Geometry(NamedTuple):
    """The attributes of a convolution, for its spatial dimensions."""

    strides: tuple[int, ...]
    padding: Padding
    dilations: tuple[int, ...]


def _geometry(attrs: dict[str, Any]) -> _Geometry:
    """The attributes, checked."""
    data_format = attrs["data_format"]
    return _Geometry(
        check_window("Stride", attrs["strides"], data_format),
        spatial_padding(attrs["padding"], attrs.get("explicit_paddings", ()), data_format),
        check_window("Dilation", attrs["dilations"], data_format),
    )


class _Trio(NamedTuple):
    """A convolution and its two adjoints.

    Attributes:
        forward: `input, filter -> output`.
        to_input: `input_sizes, filter, out_backprop -> output`.
        to_filter: `input, filter_sizes, out_backprop -> output`.
    """

    forward: OpDef
    to_input: OpDef
    to_filter: OpDef


OutChannels = Callable[[Dim, Dim, Dim], Dim]
"""Of the images' channels and the filter's last two dimensions; checks that they fit."""


def _define(
    trio: _Trio,
    kernels: tuple[Callable[..., Array], Callable[..., Array], Callable[..., Array]],
    out_channels: OutChannels,
) -> None:
    """Gives shape rules, kernels and gradients to a convolution and its adjoints.

    Args:
        trio: those.
        kernels: the functions of `convolution_kernels` that compute them.
        out_channels: how many channels the output has.
    """
    conv, conv_to_input, conv_to_filter = kernels
    _define_forward(trio, conv, out_channels)
    _define_to_input(trio, conv_to_input, out_channels)
    _define_to_filter(trio, conv_to_filter)


def _define_forward(trio: _Trio, compute: Callable[..., Array], out_channels: OutChannels) -> None:
    forward, to_input, to_filter = trio

    @forward.shape
    def _shape(x: Spec, filters: Spec, **attrs: Any) -> Shape:
        data_format, geometry = attrs["data_format"], _geometry(attrs)
        batch, sizes, channels = images_shape(x.shape, data_format)
        *window, ins, outs = shapes.dims(filters.shape, len(data_format))
        out = output_sizes(sizes, window, geometry.strides, geometry.dilations, geometry.padding)
        return in_layout(batch, out, out_channels(channels, ins, outs), data_format)

    @forward.kernel
    @complaining
    def _kernel(x: Array, filters: Array, **attrs: Any) -> Array:
        data_format = attrs["data_format"]
        y = compute(to_channels_last(x, data_format), filters, *_geometry(attrs))
        return from_channels_last(y, data_format)

    @forward.gradient
    def _gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, filters = op.inputs
        return to_input(shape(x), filters, dy, **op.attrs), to_filter(x, shape(filters), dy, **op.attrs)


def _define_to_input(trio: _Trio, compute: Callable[..., Array], out_channels: OutChannels) -> None:
    forward, to_input, to_filter = trio

    @to_input.shape
    def _shape(input_sizes: Spec, filters: Spec, dy: Spec, **attrs: Any) -> Shape:
        data_format = attrs["data_format"]
        _geometry(attrs)
        batch, _, channels = images_shape(dy.shape, data_format)
        asked_batch, sizes, asked_channels = images_shape(
            shape_like(input_sizes, len(data_format)), data_format
        )
        *_, ins, outs = shapes.dims(filters.shape, len(data_format))
        same_dim(channels, out_channels(asked_channels, ins, outs))
        return in_layout(same_dim(asked_batch, batch), sizes, asked_channels, data_format)

    @to_input.kernel
    @complaining
    def _kernel(input_sizes: Array, filters: Array, dy: Array, **attrs: Any) -> Array:
        data_format = attrs["data_format"]
        sizes, dy = channels_last(input_sizes, data_format), to_channels_last(dy, data_format)
        return from_channels_last(compute(sizes, filters, dy, *_geometry(attrs)), data_format)

    @to_input.gradient
    def _gradient(op: Operation, ddx: Tensor) -> tuple[None, Tensor, Tensor]:
        _, filters, dy = op.inputs
        return None, to_filter(ddx, shape(filters), dy, **op.attrs), forward(ddx, filters, **op.attrs)


def _define_to_filter(trio: _Trio, compute: Callable[..., Array]) -> None:
    forward, to_input, to_filter = trio

    @to_filter.shape
    def _shape(x: Spec, filter_sizes: Spec, dy: Spec, **attrs: Any) -> Shape:
        data_format = attrs["data_format"]
        _geometry(attrs)
        same_dim(images_shape(x.shape, data_format)[0], images_shape(dy.shape, data_format)[0])
        return shape_like(filter_sizes, len(data_format))

    @to_filter.kernel
    @complaining
    def _kernel(x: Array, filter_sizes: Array, dy: Array, **attrs: Any) -> Array:
        data_format = attrs["data_format"]
        x, dy = to_channels_last(x, data_format), to_channels_last(dy, data_format)
        return compute(x, tuple(filter_sizes.tolist()), dy, *_geometry(attrs))

    @to_filter.gradient
    def _gradient(op: Operation, ddw: Tensor) -> tuple[Tensor, None, Tensor]:
        x, _, dy = op.inputs
        return to_input(shape(x), ddw, dy, **op.attrs), None, forward(x, ddw, **op.attrs)


def _out_channels(channels: Dim, ins: Dim, outs: Dim) -> Dim:
    """Of a convolution, whose channels may be several groups of as many as the filters have."""
    if isinstance(channels, int) and isinstance(ins, int):
        if ins < 1:
            raise Complaint("Depth of filter must not be 0")
        if channels % ins:
            raise Complaint(f"Depth of input ({channels}) is not a multiple of input depth of filter ({ins})")
    return outs


def _depthwise_out_channels(channels: Dim, ins: Dim, multiplier: Dim) -> Dim:
    """Of a depthwise convolution: as many for each channel as the multiplier says."""
    return same_dim(channels, ins) * multiplier


# ---------------------------------------------------------------- Conv2D

_CONV_2D_ATTRS = {
    "strides": REQUIRED,
    "use_cudnn_on_gpu": True,
    "padding": REQUIRED,
    "explicit_paddings": (),
    "data_format": "NHWC",
    "dilations": (1, 1, 1, 1),
}
_FORWARD = "input: T, filter: T -> output: T"
_BACKPROP_INPUT = "input_sizes: int32, filter: T, out_backprop: T -> output: T"
_BACKPROP_FILTER = "input: T, filter_sizes: int32, out_backprop: T -> output: T"
_TYPES = {"T": FLOATS | {int32}}

Conv2D = OpDef("Conv2D", _FORWARD, attrs=_CONV_2D_ATTRS, types=_TYPES, form=Window("convolution"))
Conv2DBackpropInput = OpDef(
    "Conv2DBackpropInput",
    _BACKPROP_INPUT,
    attrs=_CONV_2D_ATTRS,
    types=_TYPES,
    form=Window("convolution", "images", 0),
)
Conv2DBackpropFilter = OpDef(
    "Conv2DBackpropFilter",
    _BACKPROP_FILTER,
    attrs=_CONV_2D_ATTRS,
    types={"T": FLOATS},
    form=Window("convolution", "filter", 1),
)
_define(
    _Trio(Conv2D, Conv2DBackpropInput, Conv2DBackpropFilter),
    (
        convolution_kernels.conv,
        convolution_kernels.conv_backprop_input,
        convolution_kernels.conv_backprop_filter,
    ),
    _out_channels,
)

_ONES_2D = (1, 1, 1, 1)
_ONES_3D = (1, 1, 1, 1, 1)


def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = _ONES_2D,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """The convolution (strictly: cross-correlation) of images with filters.

    Args:
        input: images, [batch, height, width, in], or as `data_format` says.
        filter: [height, width, in, out]; with fewer channels than the images, the convolution is grouped.
        strides: steps between windows: an integer, one for each spatial dimension, or one for each dimension.
        padding: "SAME", "VALID", or four (low, high) pairs.
        use_cudnn_on_gpu: accepted.
        data_format: "NHWC" or "NCHW".
        dilations: steps between the taps of a window, as `strides`.
        name: the operation's name.
        filters: the newer name of `filter`.

    Returns:
        [batch, out height, out width, out].

    Raises:
        ValueError: shapes or attributes do not fit.
    """
    data_format = data_format or "NHWC"
    return Conv2D(
        input,
        deprecated_argument("filters", filters, "filter", filter),
        strides=per_dimension(strides, data_format, "strides"),
        use_cudnn_on_gpu=use_cudnn_on_gpu,
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
        **padding_attrs(padding),
    )


def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any = None,
    out_backprop: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = _ONES_2D,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """The gradient of `conv2d` with respect to the images.

    Args:
        input_sizes: [4], the images' shape.
        filter: [height, width, in, out].
        out_backprop: the gradient of the convolution.
        strides, padding, use_cudnn_on_gpu, data_format, dilations: those of `conv2d`.
        name: the operation's name.
        filters: the newer name of `filter`.
    """
    return Conv2DBackpropInput(
        input_sizes,
        deprecated_argument("filters", filters, "filter", filter),
        out_backprop,
        strides=per_dimension(strides, data_format, "strides"),
        use_cudnn_on_gpu=use_cudnn_on_gpu,
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
        **padding_attrs(padding),
    )


def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = _ONES_2D,
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv2d` with respect to the filters.

    Args:
        input: the images.
        filter_sizes: [4], the filters' shape.
        out_backprop: the gradient of the convolution.
        strides, padding, use_cudnn_on_gpu, data_format, dilations: those of `conv2d`.
        name: the operation's name.
    """
    return Conv2DBackpropFilter(
        input,
        filter_sizes,
        out_backprop,
        strides=per_dimension(strides, data_format, "strides"),
        use_cudnn_on_gpu=use_cudnn_on_gpu,
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
        **padding_attrs(padding),
    )


def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The transpose of `conv2d`, which leads from small images to large ones ("deconvolution").

    Args:
        value: images, [batch, height, width, in].
        filter: [height, width, out, in].
        output_shape: [4], the shape of the result.
        strides, padding, data_format, dilations: those of the `conv2d` that this is the transpose of.
        name: the operation's name.
        input: the newer name of `value`.
        filters: the newer name of `filter`.
    """
    value = deprecated_argument("input", input, "value", value)
    filter = deprecated_argument("filters", filters, "filter", filter)
    data_format = data_format or "NHWC"
    with name_scope(name, "conv2d_transpose", [value, filter, output_shape]) as scope:
        return Conv2DBackpropInput(
            output_shape,
            filter,
            value,
            strides=per_dimension(strides, data_format, "strides"),
            data_format=data_format,
            dilations=per_dimension(dilations, data_format, "dilations"),
            name=scope,
            **padding_attrs(padding),
        )


# ---------------------------------------------------------------- Conv3D

_CONV_3D_ATTRS = {
    "strides": REQUIRED,
    "padding": REQUIRED,
    "data_format": "NDHWC",
    "dilations": (1, 1, 1, 1, 1),
}

Conv3D = OpDef("Conv3D", _FORWARD, attrs=_CONV_3D_ATTRS, types={"T": FLOATS}, form=Window("convolution"))
Conv3DBackpropInputV2 = OpDef(
    "Conv3DBackpropInputV2",
    "input_sizes: Tshape, filter: T, out_backprop: T -> output: T",
    attrs=_CONV_3D_ATTRS,
    types={"T": FLOATS, "Tshape": INDICES},
    form=Window("convolution", "images", 0),
)
Conv3DBackpropFilterV2 = OpDef(
    "Conv3DBackpropFilterV2",
    _BACKPROP_FILTER,
    attrs=_CONV_3D_ATTRS,
    types={"T": FLOATS},
    form=Window("convolution", "filter", 1),
)
_define(
    _Trio(Conv3D, Conv3DBackpropInputV2, Conv3DBackpropFilterV2),
    (
        convolution_kernels.conv,
        convolution_kernels.conv_backprop_input,
        convolution_kernels.conv_backprop_filter,
    ),
    _out_channels,
)


def conv3d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str = "NDHWC",
    dilations: Any = _ONES_3D,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """The convolution of volumes with filters.

    Args:
        input: volumes, [batch, depth, height, width, in], or as `data_format` says.
        filter: [depth, height, width, in, out].
        strides: steps between windows: an integer, one for each spatial dimension, or one for each dimension.
        padding: "SAME" or "VALID".
        data_format: "NDHWC" or "NCDHW".
        dilations: steps between the taps of a window, as `strides`.
        name: the operation's name.
        filters: the newer name of `filter`.
    """
    data_format = data_format or "NDHWC"
    return Conv3D(
        input,
        deprecated_argument("filters", filters, "filter", filter),
        strides=per_dimension(strides, data_format, "strides"),
        padding=padding,
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
    )


def conv3d_transpose(
    value: Any,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: str = "SAME",
    data_format: str = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The transpose of `conv3d`.

    Args:
        value: volumes, [batch, depth, height, width, in].
        filter: [depth, height, width, out, in].
        output_shape: [5], the shape of the result.
        strides, padding, data_format, dilations: those of the `conv3d` that this is the transpose of.
        name: the operation's name.
        input: the newer name of `value`.
        filters: the newer name of `filter`.
    """
    value = deprecated_argument("input", input, "value", value)
    filter = deprecated_argument("filters", filters, "filter", filter)
    data_format = data_format or "NDHWC"
    with name_scope(name, "conv3d_transpose", [value, filter, output_shape]) as scope:
        return Conv3DBackpropInputV2(
            output_shape,
            filter,
            value,
            strides=per_dimension(strides, data_format, "strides"),
            padding=padding,
            data_format=data_format,
            dilations=per_dimension(dilations, data_format, "dilations"),
            name=scope,
        )


def conv3d_backprop_filter_v2(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: str,
    data_format: str = "NDHWC",
    dilations: Any = _ONES_3D,
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv3d` with respect to the filters.

    Args:
        input: the volumes.
        filter_sizes: [5], the filters' shape.
        out_backprop: the gradient of the convolution.
        strides, padding, data_format, dilations: those of `conv3d`.
        name: the operation's name.
    """
    return Conv3DBackpropFilterV2(
        input,
        filter_sizes,
        out_backprop,
        strides=per_dimension(strides, data_format, "strides"),
        padding=padding,
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
    )


# ---------------------------------------------------------------- DepthwiseConv2dNative

_DEPTHWISE_ATTRS = {
    "strides": REQUIRED,
    "padding": REQUIRED,
    "explicit_paddings": (),
    "data_format": "NHWC",
    "dilations": (1, 1, 1, 1),
}

DepthwiseConv2dNative = OpDef(
    "DepthwiseConv2dNative", _FORWARD, attrs=_DEPTHWISE_ATTRS, types={"T": FLOATS}, form=Window("depthwise")
)
DepthwiseConv2dNativeBackpropInput = OpDef(
    "DepthwiseConv2dNativeBackpropInput",
    _BACKPROP_INPUT,
    attrs=_DEPTHWISE_ATTRS,
    types={"T": FLOATS},
    form=Window("depthwise", "images", 0),
)
DepthwiseConv2dNativeBackpropFilter = OpDef(
    "DepthwiseConv2dNativeBackpropFilter",
    _BACKPROP_FILTER,
    attrs=_DEPTHWISE_ATTRS,
    types={"T": FLOATS},
    form=Window("depthwise", "filter", 1),
)
_define(
    _Trio(DepthwiseConv2dNative, DepthwiseConv2dNativeBackpropInput, DepthwiseConv2dNativeBackpropFilter),
    (
        convolution_kernels.depthwise_conv,
        convolution_kernels.depthwise_conv_backprop_input,
        convolution_kernels.depthwise_conv_backprop_filter,
    ),
    _depthwise_out_channels,
)


def depthwise_conv2d_native(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = _ONES_2D,
    name: str | None = None,
) -> Tensor:
    """The convolution of each channel with its own filters.

    Args:
        input: images, [batch, height, width, in].
        filter: [height, width, in, multiplier].
        strides, padding, data_format, dilations: as in `conv2d`.
        name: the operation's name.

    Returns:
        [batch, out height, out width, in * multiplier].
    """
    data_format = data_format or "NHWC"
    return DepthwiseConv2dNative(
        input,
        filter,
        strides=per_dimension(strides, data_format, "strides"),
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
        **padding_attrs(padding),
    )


def depthwise_conv2d_native_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = _ONES_2D,
    name: str | None = None,
) -> Tensor:
    """The gradient of `depthwise_conv2d_native` with respect to the images.

    Args:
        input_sizes: [4], the images' shape.
        filter: [height, width, in, multiplier].
        out_backprop: the gradient of the convolution.
        strides, padding, data_format, dilations: those of the convolution.
        name: the operation's name.
    """
    return DepthwiseConv2dNativeBackpropInput(
        input_sizes,
        filter,
        out_backprop,
        strides=per_dimension(strides, data_format, "strides"),
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
        **padding_attrs(padding),
    )


def depthwise_conv2d_native_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = _ONES_2D,
    name: str | None = None,
) -> Tensor:
    """The gradient of `depthwise_conv2d_native` with respect to the filters.

    Args:
        input: the images.
        filter_sizes: [4], the filters' shape.
        out_backprop: the gradient of the convolution.
        strides, padding, data_format, dilations: those of the convolution.
        name: the operation's name.
    """
    return DepthwiseConv2dNativeBackpropFilter(
        input,
        filter_sizes,
        out_backprop,
        strides=per_dimension(strides, data_format, "strides"),
        data_format=data_format,
        dilations=per_dimension(dilations, data_format, "dilations"),
        name=name,
        **padding_attrs(padding),
    )
