"""Maxima and means of windows that slide over images: MaxPool, AvgPool, and their gradients.

For a given choice of maxima max pooling is linear: its gradient scatters to the chosen pixels, and the
gradient's gradient gathers from them. These two, and AvgPool and AvgPoolGrad, are adjoint to each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import FLOATS, INDICES, REALS, DType, int64
from tahr.core.forms import InPictures, PlacedMaxima, Window
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import pooling_kernels, results
from tahr.ops.layouts import (
    channels_last,
    check_window,
    complaining,
    from_channels_last,
    images_shape,
    in_layout,
    output_sizes,
    per_dimension,
    shape_like,
    spatial_padding,
    to_channels_last,
)
from tahr.ops.structural import deprecated_argument, expand_dims, shape, squeeze
from tahr.ops.windows import Padding

# ---------------------------------------------------------------- what they share

_ATTRS_2D = {"ksize": REQUIRED, "strides": REQUIRED, "padding": REQUIRED, "data_format": "NHWC"}
_ATTRS_3D = {**_ATTRS_2D, "data_format": "NDHWC"}
_UNARY = "input: T -> output: T"
_MAX_GRAD = "orig_input: T, orig_output: T, grad: T -> output: T"

_Window = tuple[tuple[int, ...], tuple[int, ...], Padding]


def _window(attrs: dict[str, Any]) -> _Window:
    """Window, strides and padding of the spatial dimensions, checked."""
    data_format = attrs["data_format"]
    if attrs["padding"] not in ("SAME", "VALID"):
        raise Complaint(f'Attr "padding" passed string {attrs["padding"]!r} not in: "SAME", "VALID".')
    return (
        check_window("Ksize", attrs["ksize"], data_format),
        check_window("Stride", attrs["strides"], data_format),
        spatial_padding(attrs["padding"], (), data_format),
    )


def _pooled_shape(x: Spec, **attrs: Any) -> Shape:
    data_format = attrs["data_format"]
    batch, sizes, channels = images_shape(x.shape, data_format)
    window, strides, padding = _window(attrs)
    out = output_sizes(sizes, window, strides, [1] * len(window), padding)
    return in_layout(batch, out, channels, data_format)


def _max_grad_shape(x: Spec, y: Spec, dy: Spec, **attrs: Any) -> Shape:
    return shapes.dims(x.shape, len(attrs["data_format"]))


def _max_grad_grad_shape(x: Spec, y: Spec, ddx: Spec, **attrs: Any) -> Shape:
    pooled = _pooled_shape(Spec(x.dtype, shapes.merge(x.shape, ddx.shape)), **attrs)
    return shapes.merge(pooled, y.shape)


def _avg_grad_shape(input_shape: Spec, dy: Spec, **attrs: Any) -> Shape:
    data_format = attrs["data_format"]
    batch, sizes, channels = images_shape(shape_like(input_shape, len(data_format)), data_format)
    dy_batch, _, dy_channels = images_shape(dy.shape, data_format)
    return in_layout(
        shapes.merge_dims(batch, dy_batch), sizes, shapes.merge_dims(channels, dy_channels), data_format
    )


@complaining
def _max_kernel(x: Array, **attrs: Any) -> Array:
    data_format = attrs["data_format"]
    return from_channels_last(
        pooling_kernels.max_pool(to_channels_last(x, data_format), *_window(attrs)), data_format
    )


def _max_grad_kernel(x: Array, y: Array, dy: Array, all_ties: bool, attrs: dict[str, Any]) -> Array:
    data_format = attrs["data_format"]
    x, y, dy = (to_channels_last(a, data_format) for a in (x, y, dy))
    return from_channels_last(pooling_kernels.max_pool_grad(x, y, dy, *_window(attrs), all_ties), data_format)


@complaining
def _max_grad_grad_kernel(x: Array, y: Array, ddx: Array, **attrs: Any) -> Array:
    data_format = attrs["data_format"]
    x, y, ddx = (to_channels_last(a, data_format) for a in (x, y, ddx))
    return from_channels_last(pooling_kernels.max_pool_grad_grad(x, y, ddx, *_window(attrs)), data_format)


@complaining
def _avg_kernel(x: Array, **attrs: Any) -> Array:
    data_format = attrs["data_format"]
    return from_channels_last(
        pooling_kernels.avg_pool(to_channels_last(x, data_format), *_window(attrs)), data_format
    )


@complaining
def _avg_grad_kernel(input_shape: Array, dy: Array, **attrs: Any) -> Array:
    data_format = attrs["data_format"]
    sizes = channels_last(input_shape, data_format)
    dx = pooling_kernels.avg_pool_grad(sizes, to_channels_last(dy, data_format), *_window(attrs))
    return from_channels_last(dx, data_format)


def _pooling(definition: OpDef, value: Any, ksize: Any, strides: Any, layout: str, **attrs: Any) -> Tensor:
    """Adds a pooling op, with window and strides as users write them."""
    return definition(
        value,
        ksize=per_dimension(ksize, layout, "ksize"),
        strides=per_dimension(strides, layout, "strides"),
        data_format=layout,
        **attrs,
    )


def _pooling_of_signals(
    definition: OpDef,
    value: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None,
    name: str | None,
) -> Tensor:
    """Pooling in one dimension: that of images with a height of 1."""
    layout = data_format or "NWC"
    images, axis = ("NCHW", 2) if layout.startswith("NC") else ("NHWC", 1)
    y = definition(
        expand_dims(value, axis),
        ksize=(1, *per_dimension(ksize, layout, "ksize")),
        strides=(1, *per_dimension(strides, layout, "strides")),
        padding=padding,
        data_format=images,
        name=name,
    )
    return squeeze(y, [axis])


# ---------------------------------------------------------------- MaxPool

MaxPool = OpDef("MaxPool", _UNARY, attrs=_ATTRS_2D, types={"T": REALS}, form=Window("maximum"))
MaxPool.shape(_pooled_shape)
MaxPool.kernel(_max_kernel)


@MaxPool.gradient
def _max_pool_gradient(op: Operation, dy: Tensor) -> Tensor:
    return MaxPoolGrad(op.inputs[0], op.outputs[0], dy, **op.attrs)


def max_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """The maximum of each window; of equal maxima the first takes the gradient.

    Args:
        value: images, [batch, height, width, channels], or as `data_format` says.
        ksize: the window: an integer, one for each spatial dimension, or one for each dimension.
        strides: steps between windows, as `ksize`.
        padding: "SAME" or "VALID".
        data_format: "NHWC" or "NCHW".
        name: the operation's name.
        input: the newer name of `value`.

    Returns:
        [batch, out height, out width, channels].

    Raises:
        ValueError: shapes or attributes do not fit.
    """
    value = deprecated_argument("input", input, "value", value)
    with name_scope(name, "MaxPool", [value]) as scope:
        return _pooling(MaxPool, value, ksize, strides, data_format or "NHWC", padding=padding, name=scope)


def max_pool2d(
    input: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NHWC", name: str | None = None
) -> Tensor:
    """`max_pool` under the name of "MaxPool2d"."""
    with name_scope(name, "MaxPool2d", [input]) as scope:
        return _pooling(MaxPool, input, ksize, strides, data_format or "NHWC", padding=padding, name=scope)


def max_pool1d(
    input: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NWC", name: str | None = None
) -> Tensor:
    """The maximum of each window of signals.

    Args:
        input: signals, [batch, width, channels], or as `data_format` says.
        ksize, strides: the window, and the step between windows.
        padding: "SAME" or "VALID".
        data_format: "NWC" or "NCW".
        name: the scope of the operations.
    """
    with name_scope(name, "MaxPool1d", [input]) as scope:
        return _pooling_of_signals(MaxPool, input, ksize, strides, padding, data_format, scope)


MaxPoolGrad = OpDef(
    "MaxPoolGrad", _MAX_GRAD, attrs=_ATTRS_2D, types={"T": REALS}, form=Window("maximum", "images")
)
MaxPoolGrad.shape(_max_grad_shape)


@MaxPoolGrad.kernel
@complaining
def _max_pool_grad_kernel(x: Array, y: Array, dy: Array, **attrs: Any) -> Array:
    return _max_grad_kernel(x, y, dy, False, attrs)


@MaxPoolGrad.gradient
def _max_pool_grad_gradient(op: Operation, ddx: Tensor) -> tuple[None, None, Tensor]:
    x, y, _ = op.inputs
    return None, None, MaxPoolGradGrad(x, y, ddx, **op.attrs)


MaxPoolGradGrad = OpDef(
    "MaxPoolGradGrad", _MAX_GRAD, attrs=_ATTRS_2D, types={"T": REALS}, form=Window("maximum", "taken")
)
MaxPoolGradGrad.shape(_max_grad_grad_shape)
MaxPoolGradGrad.kernel(_max_grad_grad_kernel)


@MaxPoolGradGrad.gradient
def _max_pool_grad_grad_gradient(op: Operation, ddy: Tensor) -> tuple[None, None, Tensor]:
    x, y, _ = op.inputs
    return None, None, MaxPoolGrad(x, y, ddy, **op.attrs)


# ---------------------------------------------------------------- MaxPoolWithArgmax

_ATTRS_ARGMAX = {
    "ksize": REQUIRED,
    "strides": REQUIRED,
    "padding": REQUIRED,
    "include_batch_in_index": False,
}
_ARGMAX_GRAD = "input: T, grad: T, argmax: Targmax -> output: T"
_ARGMAX_TYPES = {"T": REALS, "Targmax": INDICES}

MaxPoolWithArgmax = OpDef(
    "MaxPoolWithArgmax",
    "input: T -> output: T, argmax: Targmax",
    attrs={**_ATTRS_ARGMAX, "Targmax": int64},
    types=_ARGMAX_TYPES,
    form=PlacedMaxima(),
)


@MaxPoolWithArgmax.shape
def _argmax_shape(x: Spec, **attrs: Any) -> list[Shape]:
    return [_pooled_shape(x, **attrs, data_format="NHWC")] * 2


@MaxPoolWithArgmax.kernel
@complaining
def _argmax_kernel(
    x: Array, *, include_batch_in_index: bool, Targmax: DType, **attrs: Any
) -> tuple[Array, Array]:
    window, strides, padding = _window({**attrs, "data_format": "NHWC"})
    y, argmax = pooling_kernels.max_pool_with_argmax(x, window, strides, padding, include_batch_in_index)
    return y, argmax.astype(Targmax.numpy, copy=False)


@MaxPoolWithArgmax.gradient
def _argmax_gradient(op: Operation, dy: Tensor, dargmax: None) -> Tensor:
    attrs = {name: value for name, value in op.attrs.items() if name != "Targmax"}
    return MaxPoolGradWithArgmax(op.inputs[0], dy, op.outputs[1], **attrs)


def max_pool_with_argmax(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    Targmax: Any = None,
    name: str | None = None,
    output_dtype: Any = None,
    include_batch_in_index: bool = False,
) -> results.MaxPoolWithArgmax:
    """The maximum of each window and where it is.

    Args:
        input: images, [batch, height, width, channels].
        ksize, strides: as in `max_pool`.
        padding: "SAME" or "VALID".
        data_format: "NHWC".
        Targmax: the older name of `output_dtype`.
        name: the operation's name.
        output_dtype: the type of the indices, int64 by default.
        include_batch_in_index: whether indices count through the batch, or start anew with each image.

    Returns:
        The maxima, and their places in the flattened images.

    Raises:
        ValueError: another layout is asked for.
    """
    if data_format != "NHWC":
        raise ValueError("Data formats other than 'NHWC' are not yet supported")
    dtype = deprecated_argument("output_dtype", output_dtype, "Targmax", Targmax)
    outputs = MaxPoolWithArgmax(
        input,
        ksize=per_dimension(ksize, "NHWC", "ksize"),
        strides=per_dimension(strides, "NHWC", "strides"),
        padding=padding,
        Targmax=int64 if dtype is None else dtype,
        include_batch_in_index=include_batch_in_index,
        name=name,
    )
    return results.MaxPoolWithArgmax(*outputs)


def _flat_places(x: Array, argmax: Array, include_batch_in_index: bool) -> Array:
    """Indices into the whole flattened batch."""
    limit = x.size if include_batch_in_index or not len(x) else x.size // len(x)
    if argmax.size and not 0 <= argmax.min() <= argmax.max() < limit:
        raise Complaint(f"argmax holds {argmax.min()} to {argmax.max()}, but must be in [0, {limit})")
    if include_batch_in_index or not len(x):
        return argmax
    starts = np.arange(len(x), dtype=np.int64) * (x.size // len(x))
    return argmax + starts.reshape(-1, *[1] * (argmax.ndim - 1))


MaxPoolGradWithArgmax = OpDef(
    "MaxPoolGradWithArgmax",
    _ARGMAX_GRAD,
    attrs=_ATTRS_ARGMAX,
    types=_ARGMAX_TYPES,
    form=InPictures(is_adjoint=True),
)


@MaxPoolGradWithArgmax.shape
def _argmax_grad_shape(x: Spec, dy: Spec, argmax: Spec, **_: Any) -> Shape:
    return shapes.dims(x.shape, 4)


@MaxPoolGradWithArgmax.kernel
def _argmax_grad_kernel(
    x: Array, dy: Array, argmax: Array, *, include_batch_in_index: bool, **_: Any
) -> Array:
    dx = np.zeros(x.size, dy.dtype)
    places = _flat_places(x, argmax, include_batch_in_index)
    np.add.at(dx, places.ravel(), dy.ravel())  # windows may overlap, and share a maximum
    return dx.reshape(x.shape)


@MaxPoolGradWithArgmax.gradient
def _argmax_grad_gradient(op: Operation, ddx: Tensor) -> tuple[None, Tensor, None]:
    x, _, argmax = op.inputs
    return None, MaxPoolGradGradWithArgmax(x, ddx, argmax, **op.attrs), None


MaxPoolGradGradWithArgmax = OpDef(
    "MaxPoolGradGradWithArgmax", _ARGMAX_GRAD, attrs=_ATTRS_ARGMAX, types=_ARGMAX_TYPES, form=InPictures()
)


@MaxPoolGradGradWithArgmax.shape
def _argmax_grad_grad_shape(x: Spec, ddx: Spec, argmax: Spec, **_: Any) -> Shape:
    return shapes.dims(argmax.shape, 4)


@MaxPoolGradGradWithArgmax.kernel
def _argmax_grad_grad_kernel(
    x: Array, ddx: Array, argmax: Array, *, include_batch_in_index: bool, **_: Any
) -> Array:
    return ddx.reshape(-1)[_flat_places(x, argmax, include_batch_in_index)]


@MaxPoolGradGradWithArgmax.gradient
def _argmax_grad_grad_gradient(op: Operation, ddy: Tensor) -> tuple[None, Tensor, None]:
    x, _, argmax = op.inputs
    return None, MaxPoolGradWithArgmax(x, ddy, argmax, **op.attrs), None


# ---------------------------------------------------------------- AvgPool

AvgPool = OpDef("AvgPool", "value: T -> output: T", attrs=_ATTRS_2D, types={"T": FLOATS}, form=Window("mean"))
AvgPool.shape(_pooled_shape)
AvgPool.kernel(_avg_kernel)


@AvgPool.gradient
def _avg_pool_gradient(op: Operation, dy: Tensor) -> Tensor:
    return AvgPoolGrad(shape(op.inputs[0]), dy, **op.attrs)


def avg_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """The mean of the pixels in each window; padding is no pixel.

    Arguments as in `max_pool`, floating numbers only.
    """
    value = deprecated_argument("input", input, "value", value)
    with name_scope(name, "AvgPool", [value]) as scope:
        return _pooling(AvgPool, value, ksize, strides, data_format or "NHWC", padding=padding, name=scope)


avg_pool2d = avg_pool


def avg_pool1d(
    input: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NWC", name: str | None = None
) -> Tensor:
    """The mean of each window of signals.

    Arguments as in `max_pool1d`, floating numbers only.
    """
    with name_scope(name, "AvgPool1D", [input]) as scope:
        return _pooling_of_signals(AvgPool, input, ksize, strides, padding, data_format, scope)


AvgPoolGrad = OpDef(
    "AvgPoolGrad",
    "orig_input_shape: int32, grad: T -> output: T",
    attrs=_ATTRS_2D,
    types={"T": FLOATS},
    form=Window("mean", "images", 0),
)
AvgPoolGrad.shape(_avg_grad_shape)
AvgPoolGrad.kernel(_avg_grad_kernel)


@AvgPoolGrad.gradient
def _avg_pool_grad_gradient(op: Operation, ddx: Tensor) -> tuple[None, Tensor]:
    return None, AvgPool(ddx, **op.attrs)


# ---------------------------------------------------------------- three dimensions

MaxPool3D = OpDef("MaxPool3D", _UNARY, attrs=_ATTRS_3D, types={"T": FLOATS}, form=Window("maximum"))
MaxPool3D.shape(_pooled_shape)
MaxPool3D.kernel(_max_kernel)


@MaxPool3D.gradient
def _max_pool3d_gradient(op: Operation, dy: Tensor) -> Tensor:
    return MaxPool3DGrad(op.inputs[0], op.outputs[0], dy, **op.attrs)


def max_pool3d(
    input: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NDHWC", name: str | None = None
) -> Tensor:
    """The maximum of each window of volumes; each of equal maxima takes the whole gradient.

    Args:
        input: volumes, [batch, depth, height, width, channels], or as `data_format` says.
        ksize, strides: as in `max_pool`.
        padding: "SAME" or "VALID".
        data_format: "NDHWC" or "NCDHW".
        name: the operation's name.
    """
    with name_scope(name, "MaxPool3D", [input]) as scope:
        return _pooling(MaxPool3D, input, ksize, strides, data_format or "NDHWC", padding=padding, name=scope)


MaxPool3DGrad = OpDef(
    "MaxPool3DGrad",
    "orig_input: TInput, orig_output: TInput, grad: T -> output: T",
    attrs=_ATTRS_3D,
    types={"T": FLOATS, "TInput": FLOATS},
    form=Window("maximum", "ties"),
)
MaxPool3DGrad.shape(_max_grad_shape)


@MaxPool3DGrad.kernel
@complaining
def _max_pool3d_grad_kernel(x: Array, y: Array, dy: Array, **attrs: Any) -> Array:
    return _max_grad_kernel(x, y, dy, True, attrs)


@MaxPool3DGrad.gradient
def _max_pool3d_grad_gradient(op: Operation, ddx: Tensor) -> tuple[None, None, Tensor]:
    x, y, _ = op.inputs
    return None, None, MaxPool3DGradGrad(x, y, ddx, **op.attrs)


MaxPool3DGradGrad = OpDef("MaxPool3DGradGrad", _MAX_GRAD, attrs=_ATTRS_3D, types={"T": REALS}, form=Window())
"""As in TensorFlow it takes the first of equal maxima: the adjoint of MaxPool3DGrad only without ties."""
MaxPool3DGradGrad.shape(_max_grad_grad_shape)
MaxPool3DGradGrad.kernel(_max_grad_grad_kernel)


@MaxPool3DGradGrad.gradient
def _max_pool3d_grad_grad_gradient(op: Operation, ddy: Tensor) -> tuple[None, None, Tensor]:
    x, y, _ = op.inputs
    return None, None, MaxPool3DGrad(x, y, ddy, **op.attrs)


AvgPool3D = OpDef("AvgPool3D", _UNARY, attrs=_ATTRS_3D, types={"T": FLOATS}, form=Window("mean"))
AvgPool3D.shape(_pooled_shape)
AvgPool3D.kernel(_avg_kernel)


@AvgPool3D.gradient
def _avg_pool3d_gradient(op: Operation, dy: Tensor) -> Tensor:
    return AvgPool3DGrad(shape(op.inputs[0]), dy, **op.attrs)


def avg_pool3d(
    input: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NDHWC", name: str | None = None
) -> Tensor:
    """The mean of each window of volumes.

    Arguments as in `max_pool3d`.
    """
    with name_scope(name, "AvgPool3D", [input]) as scope:
        return _pooling(AvgPool3D, input, ksize, strides, data_format or "NDHWC", padding=padding, name=scope)


AvgPool3DGrad = OpDef(
    "AvgPool3DGrad",
    "orig_input_shape: int32, grad: T -> output: T",
    attrs=_ATTRS_3D,
    types={"T": FLOATS},
    form=Window("mean", "images", 0),
)
AvgPool3DGrad.shape(_avg_grad_shape)
AvgPool3DGrad.kernel(_avg_grad_kernel)


@AvgPool3DGrad.gradient
def _avg_pool3d_grad_gradient(op: Operation, ddx: Tensor) -> tuple[None, Tensor]:
    return None, AvgPool3D(ddx, **op.attrs)


# ---------------------------------------------------------------- any number of dimensions

_POOLS = {
    ("MAX", 1): max_pool1d,
    ("MAX", 2): max_pool,
    ("MAX", 3): max_pool3d,
    ("AVG", 1): avg_pool1d,
    ("AVG", 2): avg_pool,
    ("AVG", 3): avg_pool3d,
}
_LAYOUTS = {1: "NWC", 2: "NHWC", 3: "NDHWC"}


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    padding: str,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """The maximum or mean of windows of signals, images or volumes.

    Args:
        input: [batch, *spatial, channels]; where `data_format` starts with "NC", channels come second.
        window_shape: a size for each spatial dimension.
        pooling_type: "MAX" or "AVG".
        padding: "SAME" or "VALID".
        dilation_rate: accepted where it is 1.
        strides: a step for each spatial dimension.
        name: the operation's name.
        data_format: the layout.
        dilations: the newer name of `dilation_rate`.

    Raises:
        ValueError: there is no such pooling, or it is dilated.
    """
    dilation_rate = deprecated_argument("dilations", dilations, "dilation_rate", dilation_rate)
    if dilation_rate is not None and np.max(dilation_rate) > 1:
        raise ValueError("dilation_rate > 1 is not supported in pooling")
    with name_scope(name, f"{pooling_type.lower()}_pool", [input]) as scope:
        x = convert_to_tensor(input, name="input")
        function = _POOLS.get((pooling_type, len(window_shape)))
        if function is None:
            raise ValueError(
                f"pooling_type must be MAX or AVG, and num_spatial_dims must be one of 1, 2 or 3, "
                f"but saw {pooling_type} and {len(window_shape)}"
            )
        layout = _LAYOUTS[len(window_shape)]
        if data_format is not None and data_format.startswith("NC"):
            layout = "NC" + layout[1:-1]
        return function(x, window_shape, strides, padding, layout, scope)


def max_pool_v2(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = None,
    name: str | None = None,
) -> Tensor:
    """The maximum of each window of signals, images or volumes, by the rank of the input.

    Args:
        input: [batch, *spatial, channels], of known rank, or as `data_format` says.
        ksize, strides: as in `max_pool`.
        padding: "SAME" or "VALID".
        data_format: the layout.
        name: the operation's name.
    """
    return _pool_by_rank("MAX", input, ksize, strides, padding, data_format, name)


def avg_pool_v2(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str | None = None,
    name: str | None = None,
) -> Tensor:
    """The mean of each window of signals, images or volumes, by the rank of the input.

    Arguments as in `max_pool_v2`.
    """
    return _pool_by_rank("AVG", input, ksize, strides, padding, data_format, name)


def _pool_by_rank(
    kind: str, value: Any, ksize: Any, strides: Any, padding: str, data_format: str | None, name: str | None
) -> Tensor:
    x = convert_to_tensor(value, name="input")
    if x.spec.rank is None and data_format is None:
        raise ValueError("The rank of the input must be known, or data_format given")
    spatial_rank = len(data_format) - 2 if data_format is not None else (x.spec.rank or 0) - 2
    if spatial_rank not in _LAYOUTS:
        raise ValueError(f"Input tensor must be of rank 3, 4 or 5 but was {spatial_rank + 2}.")
    return _POOLS[kind, spatial_rank](x, ksize, strides, padding, data_format or _LAYOUTS[spatial_rank], name)
