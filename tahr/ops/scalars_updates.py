"""The steps of the optimizers in the scalar language: the new elements of a variable and its slots.

Each function takes an op's inputs in their order and its attributes, and gives the new state in the order of the
signature. The formulas are those of the rules in `training_ops`, which names their sources.
"""

from __future__ import annotations

from typing import Any

from tahr.core import scalar
from tahr.core.scalar import Scalar, muladd, select, sqrt
from tahr.ops import scalar_math

_One = tuple[Scalar]
_Two = tuple[Scalar, Scalar]
_Three = tuple[Scalar, Scalar, Scalar]


def assign(var: Scalar, value: Scalar, **_: Any) -> _One:
    """The value."""
    return (value,)


def assign_add(var: Scalar, value: Scalar, **_: Any) -> _One:
    """var + value."""
    return (var + value,)


def assign_sub(var: Scalar, value: Scalar, **_: Any) -> _One:
    """var - value."""
    return (var - value,)


def gradient_descent(var: Scalar, alpha: Scalar, delta: Scalar, **_: Any) -> _One:
    """A step of gradient descent."""
    return (var - alpha * delta,)


def momentum(
    var: Scalar, accum: Scalar, lr: Scalar, grad: Scalar, rate: Scalar, *, use_nesterov: bool, **_: Any
) -> _Two:
    """A step with momentum."""
    accum = muladd(accum, rate, grad)
    return var - lr * (muladd(rate, accum, grad) if use_nesterov else accum), accum


def adagrad(var: Scalar, accum: Scalar, lr: Scalar, grad: Scalar, *, update_slots: bool, **_: Any) -> _Two:
    """A step of Adagrad."""
    if update_slots:
        accum = muladd(grad, grad, accum)
    return var - lr * grad / sqrt(accum), accum


def adagrad_da(
    var: Scalar,
    total: Scalar,
    squares: Scalar,
    grad: Scalar,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    global_step: Scalar,
    **_: Any,
) -> _Three:
    """A step of dual averaging."""
    total, squares = total + grad, muladd(grad, grad, squares)
    step = scalar.convert(global_step, var.dtype)
    return lr * _shrink(-total, l1 * step) / (l2 * step * lr + sqrt(squares)), total, squares


def adadelta(
    var: Scalar,
    accum: Scalar,
    accum_update: Scalar,
    lr: Scalar,
    rho: Scalar,
    epsilon: Scalar,
    grad: Scalar,
    **_: Any,
) -> _Three:
    """A step of Adadelta."""
    accum = _mean(accum, rho, grad * grad)
    update = sqrt((accum_update + epsilon) / (accum + epsilon)) * grad
    return var - lr * update, accum, _mean(accum_update, rho, update * update)


def rmsprop(
    var: Scalar,
    ms: Scalar,
    mom: Scalar,
    lr: Scalar,
    rho: Scalar,
    rate: Scalar,
    epsilon: Scalar,
    grad: Scalar,
    **_: Any,
) -> _Three:
    """A step of RMSProp."""
    ms = _mean(ms, rho, grad * grad)
    mom = muladd(mom, rate, lr * grad / sqrt(ms + epsilon))
    return var - mom, ms, mom


def centered_rmsprop(
    var: Scalar,
    mg: Scalar,
    ms: Scalar,
    mom: Scalar,
    lr: Scalar,
    rho: Scalar,
    rate: Scalar,
    epsilon: Scalar,
    grad: Scalar,
    **_: Any,
) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """A step of RMSProp divided by the deviation."""
    ms, mg = _mean(ms, rho, grad * grad), _mean(mg, rho, grad)
    mom = muladd(mom, rate, lr * grad / sqrt(ms - mg * mg + epsilon))
    return var - mom, mg, ms, mom


def adam(
    var: Scalar,
    m: Scalar,
    v: Scalar,
    beta1_power: Scalar,
    beta2_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Scalar,
    *,
    use_nesterov: bool,
    **_: Any,
) -> _Three:
    """A step of Adam."""
    rate = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
    m, v = _mean(m, beta1, grad), _mean(v, beta2, grad * grad)
    direction = _mean(m, beta1, grad) if use_nesterov else m
    return var - rate * (direction / (sqrt(v) + epsilon)), m, v


def ftrl(
    var: Scalar,
    accum: Scalar,
    linear: Scalar,
    grad: Scalar,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    lr_power: Scalar,
    **_: Any,
) -> _Three:
    """A step of FTRL-proximal."""
    return _ftrl(var, accum, linear, grad, grad, lr, l1, l2, lr_power)


def ftrl_v2(
    var: Scalar,
    accum: Scalar,
    linear: Scalar,
    grad: Scalar,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    l2_shrinkage: Scalar,
    lr_power: Scalar,
    **_: Any,
) -> _Three:
    """A step of FTRL-proximal with a shrinkage penalty."""
    return _ftrl(var, accum, linear, grad, grad + 2 * l2_shrinkage * var, lr, l1, l2, lr_power)


def proximal_gradient_descent(
    var: Scalar, alpha: Scalar, l1: Scalar, l2: Scalar, delta: Scalar, **_: Any
) -> _One:
    """A step of FOBOS."""
    return (_shrink(var - alpha * delta, alpha * l1) / (1 + alpha * l2),)


def proximal_adagrad(
    var: Scalar, accum: Scalar, lr: Scalar, l1: Scalar, l2: Scalar, grad: Scalar, **_: Any
) -> _Two:
    """A step of FOBOS with Adagrad's rates."""
    accum = muladd(grad, grad, accum)
    rate = lr / sqrt(accum)
    return _shrink(var - rate * grad, rate * l1) / (1 + rate * l2), accum


def _mean(mean: Scalar, decay: Scalar, x: Scalar) -> Scalar:
    """An exponentially decaying mean, with one more value."""
    return muladd(mean, decay, (1 - decay) * x)


def _shrink(x: Scalar, threshold: Scalar) -> Scalar:
    """Soft thresholding: x moved towards zero by `threshold`, and zero where that would pass it."""
    clipped = scalar.minimum(scalar.maximum(x, -threshold), threshold)
    return select(threshold <= 0, x, x - clipped)


def _ftrl(
    var: Scalar,
    accum: Scalar,
    linear: Scalar,
    grad: Scalar,
    shrunk: Scalar,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    lr_power: Scalar,
) -> _Three:
    total = muladd(grad, grad, accum)
    is_root = scalar.eq(lr_power, -0.5)
    new_power, old_power = (select(is_root, sqrt(a), scalar_math.power(a, -lr_power)) for a in (total, accum))
    linear = linear + (shrunk - (new_power - old_power) / lr * var)
    return _shrink(-linear, l1) / (new_power / lr + 2 * l2), total, linear
