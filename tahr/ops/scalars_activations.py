"""Activation functions and their derivatives in the scalar language."""

from __future__ import annotations

from tahr.core.scalar import Scalar, constant, maximum, minimum, select
from tahr.ops import scalar_math

# For these a unit's mean 0 and variance 1 are a fixed point of selu: Klambauer et al. (2017), equation 14.
SELU_SCALE = 1.0507009873554804934193349852946
SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


def relu(x: Scalar) -> Scalar:
    """max(x, 0)."""
    return maximum(x, 0)


def relu_grad(dy: Scalar, x: Scalar) -> Scalar:
    """dy times whether x > 0: as in TensorFlow, what is no number stays none."""
    return dy * select(x > 0, constant(1, dy.dtype), 0)


def relu6(x: Scalar) -> Scalar:
    """min(max(x, 0), 6)."""
    return minimum(maximum(x, 0), 6)


def relu6_grad(dy: Scalar, x: Scalar) -> Scalar:
    """dy times whether 0 < x < 6."""
    return dy * select((x > 0) & (x < 6), constant(1, dy.dtype), 0)


def leaky_relu(x: Scalar, *, alpha: float) -> Scalar:
    """x where x > 0, else alpha x."""
    return select(x > 0, x, x * alpha)


def leaky_relu_grad(dy: Scalar, x: Scalar, *, alpha: float) -> Scalar:
    """dy where x > 0, else alpha dy."""
    return select(x > 0, dy, dy * alpha)


def softsign(x: Scalar) -> Scalar:
    """x / (|x| + 1)."""
    return x / (abs(x) + 1)


def softsign_grad(dy: Scalar, x: Scalar) -> Scalar:
    """dy / (|x| + 1)^2."""
    divisor = abs(x) + 1
    return dy / (divisor * divisor)


def elu(x: Scalar) -> Scalar:
    """x where x >= 0, else exp(x) - 1."""
    return select(x < 0, scalar_math.expm1(x), x)


def elu_grad(dy: Scalar, y: Scalar) -> Scalar:
    """dy where y >= 0, else dy exp(x) = dy (y + 1)."""
    return select(y < 0, dy * (y + 1), dy)


def selu(x: Scalar) -> Scalar:
    """SELU_SCALE x where x >= 0, else SELU_SCALE_ALPHA (exp(x) - 1)."""
    return select(x < 0, scalar_math.expm1(x) * SELU_SCALE_ALPHA, x * SELU_SCALE)


def selu_grad(dy: Scalar, y: Scalar) -> Scalar:
    """dy times SELU_SCALE where y >= 0, else times y + SELU_SCALE_ALPHA."""
    return select(y < 0, dy * (y + SELU_SCALE_ALPHA), dy * SELU_SCALE)


def softplus_grad(dy: Scalar, x: Scalar) -> Scalar:
    """dy / (exp(-x) + 1)."""
    return dy / (scalar_math.exp(-x) + 1)
