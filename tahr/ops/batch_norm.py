"""Batch normalization: as one op for images, and made of small ones for anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import constant, convert_to_tensor
from tahr.core.dtypes import FLOATS
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.ops.casts import cast
from tahr.ops.channels import (
    beside_channels,
    channel_axis,
    channel_rows,
    column_products,
    column_sums,
    images_like,
    other_axes,
    rank_of,
)
from tahr.ops.elementwise import maximum, negative
from tahr.ops.fills import zeros
from tahr.ops.layouts import same_dim
from tahr.ops.reductions import ElementsPerOutput, reduce_mean
from tahr.ops.softmax import is_zero
from tahr.ops.special import rsqrt, square
from tahr.ops.structural import deprecated_argument, reduce_sum

# ---------------------------------------------------------------- FusedBatchNorm

_NORM_ATTRS = {"epsilon": 1e-4, "data_format": "NHWC", "is_training": True}
_NORM_INPUTS = "x: T, scale: U, offset: U, mean: U, variance: U"
_NORM_OUTPUTS = "y: T, batch_mean: U, batch_variance: U, reserve_space_1: U, reserve_space_2: U"
_NORM_GRAD_INPUTS = "y_backprop: T, x: T, scale: U, reserve_space_1: U, reserve_space_2: U"
_NORM_GRAD_OUTPUTS = "x_backprop: T, scale_backprop: U, offset_backprop: U"
_NORM_TYPES = {"T": FLOATS, "U": FLOATS}

FusedBatchNorm = OpDef(
    "FusedBatchNorm",
    f"{_NORM_INPUTS} -> {_NORM_OUTPUTS}".replace("U", "T"),
    attrs=_NORM_ATTRS,
    types={"T": FLOATS},
)
FusedBatchNormV3 = OpDef(
    "FusedBatchNormV3",
    f"{_NORM_INPUTS} -> {_NORM_OUTPUTS}, reserve_space_3: U",
    attrs=_NORM_ATTRS,
    types=_NORM_TYPES,
)
"""FusedBatchNorm with float32 statistics for 16-bit images; its last output is empty, as on TensorFlow's
CPU."""


@FusedBatchNorm.shape
def _norm_shape(
    x: Spec,
    scale: Spec,
    offset: Spec,
    mean: Spec,
    variance: Spec,
    *,
    data_format: str,
    is_training: bool,
    **_: Any,
) -> list[Shape]:
    sizes = shapes.dims(x.shape, 4)
    axis = channel_axis(data_format, 4)
    channels = sizes[axis]
    for vector in (scale, offset) if is_training else (scale, offset, mean, variance):
        channels = same_dim(channels, shapes.dims(vector.shape, 1)[0])
    vectors: list[Shape] = [(channels,)] * 4
    return [(*sizes[:axis], channels, *sizes[axis + 1 :]), *vectors]


@FusedBatchNormV3.shape
def _norm_v3_shape(*specs: Spec, **attrs: Any) -> list[Shape]:
    return [*_norm_shape(*specs, **attrs), (0,)]


@FusedBatchNorm.kernel
def _norm_kernel(
    x: Array,
    scale: Array,
    offset: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> tuple[Array, ...]:
    rows = channel_rows(x, data_format)
    stored = scale.dtype
    count = len(rows)
    if is_training:
        mean = column_sums(rows) / rows.dtype.type(count)
    y = rows - mean
    if is_training:
        variance = column_products(y, y) / rows.dtype.type(count)
    y *= scale / np.sqrt(variance + variance.dtype.type(epsilon))
    y += offset
    statistics = [mean.astype(stored), variance.astype(stored)]
    if is_training:
        # The batch is a sample: an unbiased estimate divides by count - 1 (Bessel's correction).
        unbiased = variance * rows.dtype.type(count / max(count - 1, 1))
        return images_like(y, x, data_format), mean.astype(stored), unbiased.astype(stored), *statistics
    return images_like(y, x, data_format), mean.astype(stored), variance.astype(stored), *statistics


@FusedBatchNormV3.kernel
def _norm_v3_kernel(x: Array, scale: Array, *rest: Array, **attrs: Any) -> tuple[Array, ...]:
    return *_norm_kernel(x, scale, *rest, **attrs), np.zeros(0, scale.dtype)


@FusedBatchNorm.expansion
def _norm_expansion(
    x: Tensor,
    scale: Tensor,
    offset: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> tuple[Tensor, ...]:
    rank, axes = rank_of(x), other_axes(data_format, rank_of(x))
    wide = cast(x, scale.dtype)
    if is_training:
        mean = reduce_mean(wide, axes)
    centered = wide - beside_channels(mean, data_format, rank)
    unbiased = variance
    if is_training:
        variance = reduce_mean(square(centered), axes)
        count = ElementsPerOutput(wide, variance)
        unbiased = variance * (count / maximum(count - 1, 1))
    factor = scale * rsqrt(variance + epsilon)
    y = centered * beside_channels(factor, data_format, rank) + beside_channels(offset, data_format, rank)
    return cast(y, x.dtype), mean, unbiased, mean, variance


@FusedBatchNormV3.expansion
def _norm_v3_expansion(*inputs: Tensor, **attrs: Any) -> tuple[Tensor, ...]:
    return *_norm_expansion(*inputs, **attrs), zeros([0], inputs[1].dtype)


@FusedBatchNorm.gradient
@FusedBatchNormV3.gradient
def _norm_gradient(op: Operation, dy: Tensor, *dstatistics: Tensor) -> tuple[Tensor | None, ...]:
    """As in TensorFlow, the mean and variance given for inference get no gradient."""
    x, scale = op.inputs[:2]
    definition = FusedBatchNormGrad if op.opdef is FusedBatchNorm else FusedBatchNormGradV3
    dx, dscale, doffset, *_ = definition(dy, x, scale, *op.outputs[3:], **op.attrs)
    if op.attrs["is_training"] and not all(map(is_zero, dstatistics[:4])):
        dx += cast(_gradient_of_moments(op, dstatistics), x.dtype)
    return dx, dscale, doffset, None, None


def _gradient_of_moments(op: Operation, dstatistics: Sequence[Tensor]) -> Tensor:
    """The images' gradient through the outputs that are the batch's mean and variance."""
    data_format, rank = op.attrs["data_format"], 4
    mean, variance = op.outputs[3:5]
    wide = cast(op.inputs[0], mean.dtype)
    dbatch_mean, dbatch_variance, dmean, dvariance = dstatistics[:4]
    count = ElementsPerOutput(wide, variance)
    dmean = (dmean + dbatch_mean) / count
    dvariance = (dvariance + dbatch_variance * count / maximum(count - 1, 1)) / count
    centered = wide - beside_channels(mean, data_format, rank)
    return beside_channels(dmean, data_format, rank) + 2.0 * centered * beside_channels(
        dvariance, data_format, rank
    )


FusedBatchNormGrad = OpDef(
    "FusedBatchNormGrad",
    f"{_NORM_GRAD_INPUTS} -> {_NORM_GRAD_OUTPUTS}, reserve_space_3: U, reserve_space_4: U".replace("U", "T"),
    attrs=_NORM_ATTRS,
    types={"T": FLOATS},
)
FusedBatchNormGradV3 = OpDef(
    "FusedBatchNormGradV3",
    f"{_NORM_GRAD_INPUTS}, reserve_space_3: U -> "
    f"{_NORM_GRAD_OUTPUTS}, reserve_space_4: U, reserve_space_5: U",
    attrs=_NORM_ATTRS,
    types=_NORM_TYPES,
)


@FusedBatchNormGrad.shape
@FusedBatchNormGradV3.shape
def _norm_grad_shape(
    dy: Spec, x: Spec, scale: Spec, mean: Spec, variance: Spec, *reserved: Spec, data_format: str, **_: Any
) -> list[Shape]:
    sizes = shapes.dims(shapes.merge(dy.shape, x.shape), 4)
    axis = channel_axis(data_format, 4)
    channels = sizes[axis]
    for vector in (scale, mean, variance):
        channels = same_dim(channels, shapes.dims(vector.shape, 1)[0])
    return [(*sizes[:axis], channels, *sizes[axis + 1 :]), (channels,), (channels,), (0,), (0,)]


@FusedBatchNormGrad.kernel
@FusedBatchNormGradV3.kernel
def _norm_grad_kernel(
    dy: Array,
    x: Array,
    scale: Array,
    mean: Array,
    variance: Array,
    *reserved: Array,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> tuple[Array, ...]:
    rows, wide_dy = channel_rows(x, data_format), channel_rows(dy, data_format)
    inverse = 1 / np.sqrt(variance + variance.dtype.type(epsilon))
    dx = rows - mean
    doffset = column_sums(wide_dy)
    dscale = column_products(wide_dy, dx) * inverse
    if is_training:
        count = rows.dtype.type(len(rows))
        dx *= -inverse * dscale / count
        dx += wide_dy
        dx -= doffset / count
        dx *= scale * inverse
    else:
        np.multiply(wide_dy, scale * inverse, out=dx)
    dscale, doffset = dscale.astype(scale.dtype), doffset.astype(scale.dtype)
    empty = np.zeros(0, scale.dtype)
    return images_like(dx, x, data_format), dscale, doffset, empty, empty.copy()


@FusedBatchNormGrad.expansion
@FusedBatchNormGradV3.expansion
def _norm_grad_expansion(
    dy: Tensor,
    x: Tensor,
    scale: Tensor,
    mean: Tensor,
    variance: Tensor,
    *reserved: Tensor,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> tuple[Tensor, ...]:
    """Ioffe, Szegedy, "Batch Normalization" (2015), section 3, with the sums over the batch collected."""
    rank, axes = rank_of(x), other_axes(data_format, rank_of(x))

    def beside(vector: Tensor) -> Tensor:
        return beside_channels(vector, data_format, rank)

    wide_dy = cast(dy, scale.dtype)
    inverse = rsqrt(variance + epsilon)
    normalized = (cast(x, scale.dtype) - beside(mean)) * beside(inverse)
    doffset, dscale = reduce_sum(wide_dy, axes), reduce_sum(wide_dy * normalized, axes)
    dx = wide_dy
    if is_training:
        count = ElementsPerOutput(wide_dy, doffset)
        dx = dx - beside(doffset / count) - normalized * beside(dscale / count)
    dx = cast(dx * beside(scale * inverse), x.dtype)
    return dx, dscale, doffset, zeros([0], scale.dtype), zeros([0], scale.dtype)


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Images with mean 0 and variance 1 in each channel, times a scale, plus an offset.

    Args:
        x: images, [batch, height, width, channels], or as `data_format` says.
        scale, offset: [channels].
        mean, variance: [channels], what to normalize by for inference; None in training.
        epsilon: what is added to the variance. TensorFlow 1.15 raises it to 1.001e-5, cuDNN's minimum; later
            releases and tahr do not.
        data_format: "NHWC" or "NCHW".
        is_training: whether the batch's own mean and variance are taken.
        name: the operation's name.

    Returns:
        The images, the mean and the variance: in training those of the batch, the variance with Bessel's
        correction.

    Raises:
        ValueError: a mean or variance is given for training, or the shapes do not fit.

    Source: Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift" (2015).
    """
    x = convert_to_tensor(x, name="input")
    scale = convert_to_tensor(scale, name="scale")
    offset = convert_to_tensor(offset, name="offset")
    if is_training and (mean is not None or variance is not None):
        raise ValueError("Both 'mean' and 'variance' must be None if is_training is True.")
    mean = constant([], scale.spec.dtype) if mean is None else mean
    variance = constant([], scale.spec.dtype) if variance is None else variance
    y, batch_mean, batch_variance, *_ = FusedBatchNormV3(
        x,
        scale,
        offset,
        mean,
        variance,
        epsilon=float(epsilon),
        data_format=data_format,
        is_training=bool(is_training),
        name=name,
    )
    return y, batch_mean, batch_variance


# ---------------------------------------------------------------- batch normalization from parts


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None
) -> Tensor:
    """scale (x - mean) / sqrt(variance + epsilon) + offset.

    Args:
        x: floating numbers of any shape.
        mean, variance: of a shape that broadcasts to that of x.
        offset, scale: of such a shape, or None for none.
        variance_epsilon: what is added to the variance, so that nothing is divided by 0.
        name: the scope of the operations.

    Source: Ioffe, Szegedy, "Batch Normalization" (2015).
    """
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        x, mean, variance = (convert_to_tensor(v) for v in (x, mean, variance))
        factor = rsqrt(variance + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        shift = offset - mean * factor if offset is not None else negative(mean) * factor
        if x.spec.dtype is not None:
            factor, shift = cast(factor, x.spec.dtype), cast(shift, x.spec.dtype)
        return x * factor + shift


def batch_norm_with_global_normalization(
    t: Any = None,
    m: Any = None,
    v: Any = None,
    beta: Any = None,
    gamma: Any = None,
    variance_epsilon: Any = None,
    scale_after_normalization: Any = None,
    name: str | None = None,
    input: Any = None,
    mean: Any = None,
    variance: Any = None,
) -> Tensor:
    """`batch_normalization` under older names.

    Args:
        t, input: the images, [batch, height, width, channels].
        m, mean: [channels].
        v, variance: [channels].
        beta: the offset, [channels].
        gamma: the scale, [channels]; used only with `scale_after_normalization`.
        variance_epsilon: what is added to the variance.
        scale_after_normalization: whether there is a scale.
        name: the scope of the operations.
    """
    t = deprecated_argument("input", input, "t", t)
    m = deprecated_argument("mean", mean, "m", m)
    v = deprecated_argument("variance", variance, "v", v)
    scale = gamma if scale_after_normalization else None
    return batch_normalization(t, m, v, beta, scale, variance_epsilon, name)
