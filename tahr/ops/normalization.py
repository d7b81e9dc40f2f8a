"""Moments, vectors of length 1, and local response normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import constant, convert_to_tensor
from tahr.core.dtypes import FLOATS, float16, float32
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.ops.casts import cast
from tahr.ops.channels import channel_rows, images_like
from tahr.ops.elementwise import abs as absolute, add, maximum, multiply, subtract
from tahr.ops.fills import zeros_like
from tahr.ops.indexing import gather
from tahr.ops.joining import stack
from tahr.ops.linalg import matmul
from tahr.ops.logic import less_equal
from tahr.ops.reductions import reduce_mean, reduce_prod
from tahr.ops.special import pow as power, reciprocal, rsqrt, square, squared_difference
from tahr.ops.structural import (
    deprecated_argument,
    expand_dims,
    range_,
    reduce_sum,
    reshape,
    shape,
    squeeze,
    stop_gradient,
)

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
    rows = channel_rows(x, "NHWC")
    norm = (rows * rows) @ _neighbours(rows.shape[1], depth_radius, rows.dtype)
    norm *= alpha
    norm += bias
    np.power(norm, -beta, out=norm)
    norm *= rows
    return images_like(norm, x, "NHWC")


def _lrn_norm(rows: Tensor, neighbours: Tensor, bias: float, alpha: float) -> Tensor:
    return bias + alpha * matmul(square(rows), neighbours)


def _neighbour_matrix(x: Tensor, radius: int) -> Tensor:
    """`_neighbours` as a tensor, for images x."""
    index = range_(shape(x)[-1])
    distance = absolute(expand_dims(index, 1) - expand_dims(index, 0))
    return cast(less_equal(distance, radius), x.dtype)


def _rows(x: Tensor) -> Tensor:
    """Images as a matrix of their pixels; the number of these is said, since there may be no channels."""
    sizes = shape(x)
    return reshape(x, stack([reduce_prod(sizes[:-1]), sizes[-1]]))


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
    dy_rows, rows, y_rows = (channel_rows(a, "NHWC") for a in (dy, x, y))
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
    return images_like(norm, x, "NHWC")


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

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks"
    (2012), section 3.3.
    """
    return LRN(
        input,
        depth_radius=int(depth_radius),
        bias=float(bias),
        alpha=float(alpha),
        beta=float(beta),
        name=name,
    )


lrn = local_response_normalization
