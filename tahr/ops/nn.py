"""What is left of tf.nn: dropout, layers in one call, losses of logits, and small measures."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import constant_value, convert_to_tensor
from tahr.core.dtypes import FLOATS, float32, int64
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.tensor_shapes import TensorShape
from tahr.ops.activations import relu
from tahr.ops.casts import cast
from tahr.ops.channels import bias_add
from tahr.ops.elementwise import abs as absolute, add, divide, negative, subtract
from tahr.ops.fills import ones_like, zeros_like
from tahr.ops.linalg import matmul
from tahr.ops.logic import greater_equal, less_equal, logical_and, select
from tahr.ops.random import random_uniform
from tahr.ops.reductions import count_nonzero
from tahr.ops.softmax import check_named
from tahr.ops.special import exp, log, log1p, square
from tahr.ops.structural import deprecated_argument, identity, reduce_sum, shape, size

# ---------------------------------------------------------------- layers in one call


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """x weights + biases.

    Args:
        x: [batch, in].
        weights: [in, out].
        biases: [out].
        name: the operation's name.

    Returns:
        [batch, out].
    """
    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        x = convert_to_tensor(x, name="x")
        weights = convert_to_tensor(weights, name="weights")
        biases = convert_to_tensor(biases, name="biases")
        return bias_add(matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x weights + biases).

    Arguments as in `xw_plus_b`.
    """
    with name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        x = convert_to_tensor(x, name="x")
        weights = convert_to_tensor(weights, name="weights")
        biases = convert_to_tensor(biases, name="biases")
        return relu(bias_add(matmul(x, weights), biases), name=scope)


# ---------------------------------------------------------------- dropout


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """Sets elements to 0 with probability `rate`, and divides the others by 1 - rate: the expected sum stays.

    Args:
        x: floating numbers of any shape.
        keep_prob: 1 - rate, the older way to say it.
        noise_shape: a shape that broadcasts to that of x; along its dimensions of size 1 elements share
            their fate.
        seed: the operation's random seed.
        name: the scope of the operations.
        rate: in [0, 1), a number or scalar tensor.

    Raises:
        ValueError: the rate is missing, given twice, or out of range; or x is not floating.

    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014).
    """
    rate = deprecated_argument("rate", rate, "keep_prob", _complement(keep_prob))
    if rate is None:
        raise ValueError("You must provide a rate to dropout.")
    with name_scope(name, "dropout", [x]):
        x = convert_to_tensor(x, name="x")
        if x.spec.dtype is not None and not x.spec.dtype.is_floating:
            raise ValueError(
                "x has to be a floating point tensor since it's going to be scaled. "
                f"Got a {x.spec.dtype!r} tensor instead."
            )
        if isinstance(rate, numbers.Real) and not 0 <= float(rate) < 1:
            raise ValueError(f"rate must be a scalar tensor or a float in the range [0, 1), got {rate:g}")
        if isinstance(rate, numbers.Real) and rate == 0:
            return x
        dtype = x.spec.dtype or float32
        rate = convert_to_tensor(rate, dtype=dtype, name="rate")
        rate.get_shape().assert_is_compatible_with(())
        if constant_value(rate) == 0:
            return x
        noise = random_uniform(_noise_shape(x, noise_shape), dtype=dtype, seed=seed)
        scale = 1 / (1 - rate)
        # >= because the noise is in [0, 1): a rate of p keeps a share of exactly 1 - p of its values.
        kept = noise >= rate
        y = x * scale * cast(kept, dtype)
        y.set_shape(x.spec.shape)
        return y


def _complement(keep_prob: Any) -> Any:
    if keep_prob is None:
        return None
    try:
        return 1.0 - keep_prob
    except TypeError:
        raise ValueError(f"keep_prob must be a floating point number or Tensor (got {keep_prob!r})") from None


def _noise_shape(x: Tensor, noise_shape: Any) -> Any:
    """The noise's shape: that of x where it is not given, and the sizes of x where it has None."""
    if noise_shape is None:
        return shape(x)
    if isinstance(noise_shape, Tensor):
        return noise_shape
    wanted = TensorShape(noise_shape)
    if x.spec.shape is None or wanted.ndims != len(x.spec.shape):
        return noise_shape
    sizes = shape(x)
    return [sizes[i] if size is None else size for i, size in enumerate(wanted.as_list())]


# ---------------------------------------------------------------- L2Loss

L2Loss = OpDef("L2Loss", "t: T -> output: T", types={"T": FLOATS})


@L2Loss.shape
def _l2_loss_shape(t: Spec) -> Shape:
    return ()


@L2Loss.kernel
def _l2_loss_kernel(t: Array) -> Array:
    flat = t.ravel() if t.dtype.itemsize > 2 else t.ravel().astype(np.float32)
    return np.asarray(np.dot(flat, flat) / 2, dtype=t.dtype)


@L2Loss.expansion
def _l2_loss_expansion(t: Tensor) -> Tensor:
    return reduce_sum(square(t)) * 0.5


@L2Loss.gradient
def _l2_loss_gradient(op: Operation, dy: Tensor) -> Tensor:
    return op.inputs[0] * dy


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """Σ t² / 2: half the squared length, without the square root.

    Args:
        t: floating numbers of any shape.
        name: the operation's name.

    Returns:
        A scalar.
    """
    return L2Loss(t, name=name)


# ---------------------------------------------------------------- losses of logits


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """-labels log sigmoid(x) - (1 - labels) log(1 - sigmoid(x)), element by element.

    Args:
        labels: probabilities, of the shape and dtype of the logits.
        logits: x.
        name: the operation's name.

    Raises:
        ValueError: the shapes differ, or labels and logits are not given by name.
    """
    check_named("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels")
        _check_same_shape("labels", labels, logits)
        # max(x, 0) - x labels + log(1 + exp(-|x|)): never overflows. TensorFlow selects where one would write
        # relu and abs, so that the derivative at 0 is that of the formula.
        zeros = zeros_like(logits, dtype=logits.spec.dtype)
        is_positive = greater_equal(logits, zeros)
        relu_logits = select(is_positive, logits, zeros)
        negative_abs = select(is_positive, negative(logits), logits)
        return add(relu_logits - logits * labels, log1p(exp(negative_abs)), name=scope)


def _check_same_shape(what: str, labels: Tensor, logits: Tensor) -> None:
    if not shapes.compatible(labels.spec.shape, logits.spec.shape):
        raise ValueError(f"logits and {what} must have the same shape ({logits.shape} vs {labels.shape})")


def weighted_cross_entropy_with_logits(
    labels: Any = None,
    logits: Any = None,
    pos_weight: Any = None,
    name: str | None = None,
    targets: Any = None,
) -> Tensor:
    """-labels log sigmoid(x) pos_weight - (1 - labels) log(1 - sigmoid(x)), element by element.

    Args:
        labels: probabilities, of the shape and dtype of the logits.
        logits: x.
        pos_weight: how much more a missed positive costs; above 1 it raises recall.
        name: the operation's name.
        targets: the older name of `labels`.

    Raises:
        ValueError: the shapes differ, or both names of the labels are given.
    """
    labels = deprecated_argument("labels", labels, "targets", targets)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels")
        _check_same_shape("labels", labels, logits)
        # (1 - z) x + (1 + (q - 1) z) log(1 + exp(-x)), for labels z and weight q, so as never to overflow.
        log_weight = 1 + (pos_weight - 1) * labels
        softplus = log1p(exp(-absolute(logits))) + relu(-logits)
        return add((1 - labels) * logits, log_weight * softplus, name=scope)


def log_poisson_loss(
    targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None
) -> Tensor:
    """exp(c) - c z: the negative log-likelihood of counts z under Poisson distributions of mean exp(c).

    Args:
        targets: z, counts, of the shape and dtype of `log_input`.
        log_input: c.
        compute_full_loss: whether Stirling's approximation of log(z!) is added, for z > 1.
        name: the scope of the operations.

    Raises:
        ValueError: the shapes differ.
    """
    with name_scope(name, "log_poisson_loss", [log_input, targets]):
        log_input = convert_to_tensor(log_input, name="log_input")
        targets = convert_to_tensor(targets, name="targets")
        if not shapes.compatible(targets.spec.shape, log_input.spec.shape):
            raise ValueError(
                f"log_input and targets must have the same shape ({log_input.shape} vs {targets.shape})"
            )
        loss = exp(log_input) - log_input * targets
        if not compute_full_loss:
            return loss
        stirling = targets * log(targets) - targets + 0.5 * log(2 * math.pi * targets)
        zeros, ones = zeros_like(targets), ones_like(targets)
        is_small = logical_and(targets >= zeros, less_equal(targets, ones))
        return loss + select(is_small, zeros, stirling)


# ---------------------------------------------------------------- measures


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of elements that are 0; NaN where there are none.

    Args:
        value: numbers of any shape.
        name: the scope of the operations.

    Returns:
        A float32 scalar.

    Differs from TensorFlow 1.15 in that it always counts in 64 bits, instead of choosing when run.
    """
    with name_scope(name, "zero_fraction", [value]):
        value = convert_to_tensor(value, name="value")
        count = size(value, out_type=int64)
        zeros = subtract(count, count_nonzero(value, dtype=int64))
        return identity(divide(cast(zeros, float32), cast(count, float32)), name="fraction")
