"""Activation functions and their derivatives in the scalar language."""

from __future__ import annotations

from tahr.core.scalar import Scalar, maximum, minimum, select


def relu(x: Scalar) -> Scalar:
    """max(x, 0)."""
    return maximum(x, 0)


def relu_grad(dy: Scalar, x: Scalar) -> Scalar:
    """dy where x > 0, else 0."""
    return select(x > 0, dy, 0)


def relu6(x: Scalar) -> Scalar:
    """min(max(x, 0), 6)."""
    return minimum(maximum(x, 0), 6)


def relu6_grad(dy: Scalar, x: Scalar) -> Scalar:
    """dy where 0 < x < 6, else 0."""
    return select((x > 0) & (x < 6), dy, 0)


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
