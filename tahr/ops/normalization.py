"""Biases, moments, batch normalization, local response normalization, and vectors of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import constant, convert_to_tensor
from tahr.core.dtypes import FLOATS, NUMBERS, float16, float32
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops.elementwise import abs as absolute
from tahr.ops.elementwise import add, cast, less_equal, maximum, multiply, negative, subtract
from tahr.ops.indexing import gather
from tahr.ops.linalg import matmul
from tahr.ops.reductions import ElementsPerOutput, reduce_mean, reduce_prod
from tahr.ops.softmax import is_zero
from tahr.ops.special import pow as power
from tahr.ops.special import reciprocal, rsqrt, square, squared_difference
from tahr.ops.structural import (
    broadcast_to,
    deprecated_argument,
    expand_dims,
    range_,
    reduce_sum,
    reshape,
    shape,
    squeeze,
    stop_gradient,
    zeros,
    zeros_like,
)
from tahr.ops.windows import from_channels_last, to_channels_last

# ---------------------------------------------------------------- channels


def _channel_axis(data_format: str, rank: int) -> int:
    """Where the channels are: in front ("NCHW", right behind the batch) or last ("NHWC")."""
    return 1 if data_format.startswith("NC") else rank - 1


def _beside_channels(vector: Tensor, data_format: str, rank: int) -> Tensor:
    """A vector with one element per channel, shaped to broadcast against images."""
    if not data_format.startswith("NC"):
        return vector
    return reshape(vector, [-1] + [1] * (rank - 2))


def _other_axes(data_format: str, rank: int) -> list[int]:
    channel = _channel_axis(data_format, rank)
    return [axis for axis in range(rank) if axis != channel]


def _rank(x: Tensor) -> int:
    assert x.spec.rank is not None
    return x.spec.rank


def _same_size(a: Dim, b: Dim) -> Dim:
    """What two statements about the number of channels say together."""
    try:
        return shapes.merge_dims(a, b)
    except ValueError:
        raise Complaint(f"Dimensions must be equal, but are {a} and {b}") from None


def _channel_rows(x: Array, data_format: str) -> Array:
    """Images as a matrix with one column for each channel, 16-bit floats as float32."""
    wide = x.astype(np.float32) if _is_short(x) else x
    images = to_channels_last(wide, data_format) if data_format.startswith("NC") else wide
    return images.reshape(images.size // max(images.shape[-1], 1), images.shape[-1])


def _images(rows: Array, like: Array, data_format: str) -> Array:
    """A matrix with one column for each channel as images of the shape and dtype of others: a view where possible."""
    if data_format.startswith("NC"):
        rows = from_channels_last(rows.reshape(like.shape[0], *like.shape[2:], like.shape[1]), data_format)
    return rows.reshape(like.shape).astype(like.dtype, copy=False)


def _is_short(x: Array) -> bool:
    return x.dtype.itemsize == 2 and x.dtype.kind in "fV"


def _column_sums(rows: Array) -> Array:
    """The sum of each column. A GEMV is more accurate than adding row after row, and as fast."""
    if rows.dtype.kind == "f":
        return np.ones(len(rows), rows.dtype) @ rows
    return np.sum(rows, axis=0, dtype=rows.dtype)


def _column_products(a: Array, b: Array) -> Array:
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
    axis = _channel_axis(data_format, len(x))
    try:
        channels = _same_size(x[axis], channels)
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
    axis = _channel_axis(data_format, value.ndim)
    if value.shape[axis] != bias.size:
        raise Complaint(f"Must provide as many biases as channels: {value.shape[axis]} vs. {bias.size}")
    return np.add(value, bias.reshape(bias.shape + (1,) * (value.ndim - 1 - axis)))


@BiasAdd.expansion
def _bias_add_expansion(value: Tensor, bias: Tensor, *, data_format: str) -> Tensor:
    return value + _beside_channels(bias, data_format, _rank(value))


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
    return (UNKNOWN,) if x is None else (x[_channel_axis(data_format, len(x))],)


@BiasAddGrad.kernel
def _bias_add_grad_kernel(dy: Array, *, data_format: str) -> Array:
    return _column_sums(_channel_rows(dy, data_format)).astype(dy.dtype, copy=False)


@BiasAddGrad.expansion
def _bias_add_grad_expansion(dy: Tensor, *, data_format: str) -> Tensor:
    return reduce_sum(dy, _other_axes(data_format, _rank(dy)))


@BiasAddGrad.gradient
def _bias_add_grad_gradient(op: Operation, db: Tensor) -> Tensor:
    dy = op.inputs[0]
    if op.attrs["data_format"].startswith("NC"):
        db = _beside_channels(db, "NCHW", _rank(dy))
    return broadcast_to(db, shape(dy))


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
"""FusedBatchNorm with statistics in float32 also for 16-bit images; its last output is empty, as on TensorFlow's CPU."""


@FusedBatchNorm.shape
def _norm_shape(
    x: Spec, scale: Spec, offset: Spec, mean: Spec, variance: Spec, *, data_format: str, is_training: bool, **_: Any
) -> list[Shape]:
    sizes = shapes.dims(x.shape, 4)
    axis = _channel_axis(data_format, 4)
    channels = sizes[axis]
    for vector in (scale, offset) if is_training else (scale, offset, mean, variance):
        channels = _same_size(channels, shapes.dims(vector.shape, 1)[0])
    return [(*sizes[:axis], channels, *sizes[axis + 1 :])] + [(channels,)] * 4


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
    rows = _channel_rows(x, data_format)
    stored = scale.dtype
    count = len(rows)
    if is_training:
        mean = _column_sums(rows) / rows.dtype.type(count)
    y = rows - mean
    if is_training:
        variance = _column_products(y, y) / rows.dtype.type(count)
    y *= scale / np.sqrt(variance + variance.dtype.type(epsilon))
    y += offset
    statistics = [mean.astype(stored), variance.astype(stored)]
    if is_training:
        # The batch is a sample: an unbiased estimate divides by count - 1 (Bessel's correction).
        unbiased = variance * rows.dtype.type(count / max(count - 1, 1))
        return _images(y, x, data_format), mean.astype(stored), unbiased.astype(stored), *statistics
    return _images(y, x, data_format), mean.astype(stored), variance.astype(stored), *statistics


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
    rank, axes = _rank(x), _other_axes(data_format, _rank(x))
    wide = cast(x, scale.dtype)
    if is_training:
        mean = reduce_mean(wide, axes)
    centered = wide - _beside_channels(mean, data_format, rank)
    unbiased = variance
    if is_training:
        variance = reduce_mean(square(centered), axes)
        count = ElementsPerOutput(wide, variance)
        unbiased = variance * (count / maximum(count - 1, 1))
    factor = scale * rsqrt(variance + epsilon)
    y = centered * _beside_channels(factor, data_format, rank) + _beside_channels(offset, data_format, rank)
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
    centered = wide - _beside_channels(mean, data_format, rank)
    return _beside_channels(dmean, data_format, rank) + 2.0 * centered * _beside_channels(
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
    f"{_NORM_GRAD_INPUTS}, reserve_space_3: U -> {_NORM_GRAD_OUTPUTS}, reserve_space_4: U, reserve_space_5: U",
    attrs=_NORM_ATTRS,
    types=_NORM_TYPES,
)


@FusedBatchNormGrad.shape
@FusedBatchNormGradV3.shape
def _norm_grad_shape(
    dy: Spec, x: Spec, scale: Spec, mean: Spec, variance: Spec, *reserved: Spec, data_format: str, **_: Any
) -> list[Shape]:
    sizes = shapes.dims(shapes.merge(dy.shape, x.shape), 4)
    axis = _channel_axis(data_format, 4)
    channels = sizes[axis]
    for vector in (scale, mean, variance):
        channels = _same_size(channels, shapes.dims(vector.shape, 1)[0])
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
    rows, wide_dy = _channel_rows(x, data_format), _channel_rows(dy, data_format)
    inverse = 1 / np.sqrt(variance + variance.dtype.type(epsilon))
    dx = rows - mean
    doffset = _column_sums(wide_dy)
    dscale = _column_products(wide_dy, dx) * inverse
    if is_training:
        count = rows.dtype.type(len(rows))
        dx *= -inverse * dscale / count
        dx += wide_dy
        dx -= doffset / count
        dx *= scale * inverse
    else:
        np.multiply(wide_dy, scale * inverse, out=dx)
    empty = np.zeros(0, scale.dtype)
    return (
        _images(dx, x, data_format), dscale.astype(scale.dtype), doffset.astype(scale.dtype), empty, empty.copy()
    )  # fmt: skip


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
    rank, axes = _rank(x), _other_axes(data_format, _rank(x))

    def beside(vector: Tensor) -> Tensor:
        return _beside_channels(vector, data_format, rank)

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


# The least epsilon: cuDNN's CUDNN_BN_MIN_EPSILON, which TensorFlow keeps to on every device.
_MIN_EPSILON = 1.001e-5


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
        mean, variance: [channels], what to normalize by for inference; None in training, which takes the batch's.
        epsilon: what is added to the variance; at least 1.001e-5.
        data_format: "NHWC" or "NCHW".
        is_training: whether the batch's own mean and variance are taken.
        name: the operation's name.

    Returns:
        The images; and the mean and variance: in training those of the batch, the variance with Bessel's correction.

    Raises:
        ValueError: a mean or variance is given for training, or the shapes do not fit.

    Source: Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift" (2015).
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
        epsilon=max(float(epsilon), _MIN_EPSILON),
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


# ---------------------------------------------------------------- moments

_Moments = tuple[Tensor, Tensor]


def moments(
    x: Any,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> _Moments:
    """The mean and the (biased) variance along some dimensions.

    Args:
        x: floating numbers of any shape; 16-bit ones are computed in float32.
        axes: the dimensions, a list of integers.
        shift: accepted; the true mean is subtracted.
        name: the scope of the operations.
        keep_dims: the older name of `keepdims`.
        keepdims: whether the dimensions stay, with size 1.
    """
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "moments", [x, axes]):
        x = convert_to_tensor(x, name="x")
        y = cast(x, float32) if x.spec.dtype is float16 else x
        mean = reduce_mean(y, axes, keepdims=True, name="mean")
        # The variance's derivative by the mean is zero: stopping it saves the work.
        deviation = squared_difference(y, stop_gradient(mean))
        variance = reduce_mean(deviation, axes, keepdims=True, name="variance")
        return _finished(mean, axes, keepdims, x), _finished(variance, axes, keepdims, x)


def _finished(moment: Tensor, axes: Any, keepdims: bool, x: Tensor) -> Tensor:
    """A moment with the dimensions and the dtype that were asked for."""
    if not keepdims:
        moment = squeeze(moment, axes)
    return cast(moment, float16) if x.spec.dtype is float16 else moment


def sufficient_statistics(
    x: Any,
    axes: Any,
    shift: Any = None,
    keep_dims: bool | None = None,
    name: str | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Count, sum and sum of squares along some dimensions, from which `normalize_moments` makes moments.

    Args:
        x: floating numbers of any shape.
        axes: the dimensions, a list of integers.
        shift: a guess of the mean that is subtracted first, for precision.
        keep_dims: the older name of `keepdims`.
        name: the scope of the operations.
        keepdims: whether the dimensions stay, with size 1.

    Returns:
        The number of elements, a scalar; the sum; the sum of squares; the shift, or None.
    """
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    axes = sorted(set(axes))
    with name_scope(name, "sufficient_statistics", [x, shift]):
        x = convert_to_tensor(x, name="x")
        sizes = None if x.spec.shape is None else [x.spec.shape[axis] for axis in axes]
        if sizes is not None and shapes.is_static(tuple(sizes)):
            count = constant(int(np.prod(sizes, dtype=np.int64)), x.spec.dtype)
        else:
            count = reduce_prod(gather(cast(shape(x), x.dtype), axes), name="count")
        if shift is not None:
            shift = convert_to_tensor(shift, x.spec.dtype, name="shift")
            first, second = subtract(x, shift), squared_difference(x, shift)
        else:
            first, second = x, square(x)
        first = reduce_sum(first, axes, keepdims=keepdims, name="mean_ss")
        second = reduce_sum(second, axes, keepdims=keepdims, name="var_ss")
        return count, first, second, shift


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> _Moments:
    """Mean and variance from the results of `sufficient_statistics`.

    Args:
        counts: the number of elements, a scalar.
        mean_ss: the sum, less the shift.
        variance_ss: the sum of squares, less the shift.
        shift: what was subtracted, or None.
        name: the scope of the operations.
    """
    with name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        divisor = reciprocal(counts, name="divisor")
        if shift is not None:
            shifted_mean = multiply(mean_ss, divisor, name="shifted_mean")
            mean = add(shifted_mean, shift, name="mean")
        else:
            shifted_mean = mean = multiply(mean_ss, divisor, name="mean")
        return mean, subtract(multiply(variance_ss, divisor), square(shifted_mean), name="variance")


def weighted_moments(
    x: Any,
    axes: Any,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> _Moments:
    """The mean and variance along some dimensions where each element occurs as often as its weight says.

    Args:
        x: floating numbers of any shape; 16-bit ones are computed in float32.
        axes: the dimensions, a list of integers.
        frequency_weights: positive numbers of a shape that broadcasts with that of x.
        name: the scope of the operations.
        keep_dims: the older name of `keepdims`.
        keepdims: whether the dimensions stay, with size 1.
    """
    keepdims = bool(deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "weighted_moments", [x, frequency_weights, axes]):
        x = convert_to_tensor(x, name="x")
        y = cast(x, float32) if x.spec.dtype is float16 else x
        weights = cast(convert_to_tensor(frequency_weights, name="frequency_weights"), y.dtype)
        total = reduce_sum(weights * y, axes, keepdims=True, name="weighted_input_sum")
        weight = reduce_sum(weights + zeros_like(y), axes, keepdims=True, name="sum_of_weights")
        divisor = reciprocal(weight, name="inv_weight_sum")
        mean = multiply(total, divisor)
        deviations = weights * squared_difference(y, mean)
        deviation = reduce_sum(deviations, axes, keepdims=True, name="weighted_distsq")
        variance = multiply(deviation, divisor)
        return _finished(mean, axes, keepdims, x), _finished(variance, axes, keepdims, x)


# ---------------------------------------------------------------- lengths


def l2_normalize(
    x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None
) -> Tensor:
    """x / sqrt(max(Σ x², epsilon)): vectors of length 1.

    Args:
        x: floating numbers of any shape.
        axis: the dimensions that make a vector; all by default.
        epsilon: a lower bound of the squared length.
        name: the operation's name.
        dim: the older name of `axis`.
    """
    axis = deprecated_argument("axis", axis, "dim", dim)
    with name_scope(name, "l2_normalize", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        squared_length = reduce_sum(square(x), axis, keepdims=True)
        return multiply(x, rsqrt(maximum(squared_length, epsilon)), name=scope)


# ---------------------------------------------------------------- LRN

_LRN_ATTRS = {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5}

LRN = OpDef("LRN", "input: T -> output: T", attrs=_LRN_ATTRS, types={"T": FLOATS})


@LRN.shape
def _lrn_shape(x: Spec, **_: Any) -> Shape:
    return shapes.dims(x.shape, 4)


def _neighbours(channels: int, radius: int, dtype: Any) -> Array:
    """[channels, channels]: 1 where two channels are at most `radius` apart."""
    index = np.arange(channels)
    return (np.abs(index[:, None] - index) <= radius).astype(dtype)


@LRN.kernel
def _lrn_kernel(x: Array, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Array:
    rows = _channel_rows(x, "NHWC")
    norm = (rows * rows) @ _neighbours(rows.shape[1], depth_radius, rows.dtype)
    norm *= alpha
    norm += bias
    np.power(norm, -beta, out=norm)
    norm *= rows
    return _images(norm, x, "NHWC")


def _lrn_norm(rows: Tensor, neighbours: Tensor, bias: float, alpha: float) -> Tensor:
    return bias + alpha * matmul(square(rows), neighbours)


def _neighbour_matrix(x: Tensor, radius: int) -> Tensor:
    """`_neighbours` as a tensor, for images x."""
    index = range_(shape(x)[-1])
    distance = absolute(expand_dims(index, 1) - expand_dims(index, 0))
    return cast(less_equal(distance, radius), x.dtype)


def _rows(x: Tensor) -> Tensor:
    return reshape(x, [-1, shape(x)[-1]])


@LRN.expansion
def _lrn_expansion(x: Tensor, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Tensor:
    rows = _rows(x)
    norm = _lrn_norm(rows, _neighbour_matrix(x, depth_radius), bias, alpha)
    return reshape(rows * power(norm, -beta), shape(x))


@LRN.gradient
def _lrn_gradient(op: Operation, dy: Tensor) -> Tensor:
    return LRNGrad(dy, op.inputs[0], op.outputs[0], **op.attrs)


LRNGrad = OpDef(
    "LRNGrad",
    "input_grads: T, input_image: T, output_image: T -> output: T",
    attrs=_LRN_ATTRS,
    types={"T": FLOATS},
)


@LRNGrad.shape
def _lrn_grad_shape(dy: Spec, x: Spec, y: Spec, **_: Any) -> Shape:
    return shapes.dims(shapes.merge(shapes.merge(dy.shape, x.shape), y.shape), 4)


@LRNGrad.kernel
def _lrn_grad_kernel(
    dy: Array, x: Array, y: Array, *, depth_radius: int, bias: float, alpha: float, beta: float
) -> Array:
    dy_rows, rows, y_rows = (_channel_rows(a, "NHWC") for a in (dy, x, y))
    neighbours = _neighbours(rows.shape[1], depth_radius, rows.dtype)
    norm = (rows * rows) @ neighbours
    norm *= alpha
    norm += bias
    through_norm = (dy_rows * y_rows / norm) @ neighbours
    through_norm *= rows
    through_norm *= -2 * alpha * beta
    np.power(norm, -beta, out=norm)
    norm *= dy_rows
    norm += through_norm
    return _images(norm, x, "NHWC")


@LRNGrad.expansion
def _lrn_grad_expansion(
    dy: Tensor, x: Tensor, y: Tensor, *, depth_radius: int, bias: float, alpha: float, beta: float
) -> Tensor:
    dy_rows, rows, y_rows = map(_rows, (dy, x, y))
    neighbours = _neighbour_matrix(x, depth_radius)
    norm = _lrn_norm(rows, neighbours, bias, alpha)
    through_norm = matmul(dy_rows * y_rows / norm, neighbours)
    dx = dy_rows * power(norm, -beta) - 2.0 * alpha * beta * rows * through_norm
    return reshape(dx, shape(x))


def local_response_normalization(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    name: str | None = None,
) -> Tensor:
    """Each pixel divided by (bias + alpha Σ x²)^beta, the sum being over channels near its own.

    Args:
        input: images, [batch, height, width, channels], floating.
        depth_radius: how far channels count as near.
        bias, alpha, beta: numbers.
        name: the operation's name.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012),
    section 3.3.
    """
    return LRN(
        input, depth_radius=int(depth_radius), bias=float(bias), alpha=float(alpha), beta=float(beta), name=name
    )


lrn = local_response_normalization
