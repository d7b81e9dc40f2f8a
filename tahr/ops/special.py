"""Powers, exponentials, trigonometric and hyperbolic functions, and the special functions of statistics.

The special functions are computed in float64, by `special_functions`, and rounded to the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tahr.core import dtypes, scalar
from tahr.core.dtypes import FLOATING, FLOATS, SIGNED
from tahr.core.forms import ELEMENTWISE, Elementwise
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.errors import Complaint
from tahr.ops import (
    scalar_math,
    scalars_angles,
    scalars_arithmetic,
    scalars_special,
    special_functions as functions,
)
from tahr.ops.elementwise import cast, conj, equal, multiply_no_nan, not_equal, realdiv, select_v2
from tahr.ops.fills import ones_like, zeros_like

_UNARY = "x: T -> y: T"
_BINARY = "x: T, y: T -> z: T"
_WIDE = frozenset({dtypes.float32, dtypes.float64})

_Pair = tuple[Tensor, Tensor]

# ---------------------------------------------------------------- powers

Square = OpDef(
    "Square", _UNARY, types={"T": dtypes.NUMBERS}, form=Elementwise(np.square, scalars_arithmetic.square)
)


@Square.gradient
def _square_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * (2.0 * conj(op.inputs[0]))


def square(x: Any, name: str | None = None) -> Tensor:
    """x * x."""
    return Square(x, name=name)


SquaredDifference = OpDef(
    "SquaredDifference",
    _BINARY,
    types={"T": FLOATING | SIGNED},
    form=Elementwise(scalar=scalars_arithmetic.squared_difference),
)


@SquaredDifference.kernel
def _squared_difference_kernel(x: Array, y: Array) -> Array:
    return np.square(x - y)


@SquaredDifference.expansion
def _squared_difference_expansion(x: Tensor, y: Tensor) -> Tensor:
    return square(x - y)


@SquaredDifference.gradient
def _squared_difference_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = op.inputs
    dx = dz * (2.0 * conj(x - y))
    return dx, -dx


def squared_difference(x: Any, y: Any, name: str | None = None) -> Tensor:
    """(x - y) * (x - y)."""
    return SquaredDifference(x, y, name=name)


Sqrt = OpDef("Sqrt", _UNARY, types={"T": FLOATING}, form=Elementwise(np.sqrt, scalar.sqrt))


@Sqrt.gradient
def _sqrt_gradient(op: Operation, dy: Tensor) -> Tensor:
    # As in TensorFlow, a zero stays zero where the slope is infinite; likewise for rsqrt and reciprocal.
    return multiply_no_nan(0.5 / conj(op.outputs[0]), dy)


def sqrt(x: Any, name: str | None = None) -> Tensor:
    """The square root; NaN for negative numbers."""
    return Sqrt(x, name=name)


Rsqrt = OpDef("Rsqrt", _UNARY, types={"T": FLOATING}, form=Elementwise(scalar=scalars_arithmetic.rsqrt))


@Rsqrt.kernel
def _rsqrt_kernel(x: Array) -> Array:
    return np.reciprocal(np.sqrt(x))


@Rsqrt.gradient
def _rsqrt_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = conj(op.outputs[0])
    return multiply_no_nan(-0.5 * y * square(y), dy)


def rsqrt(x: Any, name: str | None = None) -> Tensor:
    """1 / sqrt(x)."""
    return Rsqrt(x, name=name)


Reciprocal = OpDef(
    "Reciprocal",
    _UNARY,
    types={"T": FLOATING | SIGNED},
    form=Elementwise(scalar=scalars_arithmetic.reciprocal),
)


@Reciprocal.kernel
def _reciprocal_kernel(x: Array) -> Array:
    if x.dtype.kind in "iu" and not x.all():
        raise Complaint("Integer division by zero")
    return np.reciprocal(x)


@Reciprocal.gradient
def _reciprocal_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = conj(op.outputs[0])
    return multiply_no_nan(-square(y), dy)


def reciprocal(x: Any, name: str | None = None) -> Tensor:
    """1 / x; integers are divided with truncation.

    Raises:
        InvalidArgumentError: when it runs, for the integer 0.
    """
    return Reciprocal(x, name=name)


Inv = OpDef(
    "Inv", _UNARY, types={"T": FLOATING | SIGNED}, form=Elementwise(scalar=scalars_arithmetic.reciprocal)
)
Inv.kernel(_reciprocal_kernel)
Inv.gradient(_reciprocal_gradient)


def inv(x: Any, name: str | None = None) -> Tensor:
    """1 / x: the old name of `reciprocal`."""
    return Inv(x, name=name)


Pow = OpDef("Pow", _BINARY, types={"T": FLOATING | SIGNED}, form=Elementwise(scalar=scalar_math.power))


@Pow.kernel
def _pow_kernel(x: Array, y: Array) -> Array:
    if x.dtype.kind == "i" and (y < 0).any():
        raise Complaint("Integers to negative integer powers are not allowed", "tf.pow(tf.to_float(x), ...)")
    return np.power(x, y)


@Pow.gradient
def _pow_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y, z = conj(op.inputs[0]), conj(op.inputs[1]), conj(op.outputs[0])
    # x^y log(x) tends to 0 at x = 0; a real x < 0 has no real logarithm, and TensorFlow gives 0 there too.
    is_complex = x.spec.dtype is not None and x.spec.dtype.is_complex
    has_log = not_equal(x, zeros_like(x)) if is_complex else x > zeros_like(x)
    log_x = select_v2(has_log, log(select_v2(has_log, x, ones_like(x))), zeros_like(x))
    return dz * y * pow(x, y - 1), dz * z * log_x


def pow(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x to the power of y; x^0 and 1^y are 1, even for NaN.

    Raises:
        InvalidArgumentError: when it runs, for an integer to a negative power.
    """
    return Pow(x, y, name=name)


# ---------------------------------------------------------------- exponentials and logarithms

Exp = OpDef("Exp", _UNARY, types={"T": FLOATING}, form=Elementwise(np.exp, scalar_math.exp))


@Exp.gradient
def _exp_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * conj(op.outputs[0])


def exp(x: Any, name: str | None = None) -> Tensor:
    """e to the power of x."""
    return Exp(x, name=name)


Expm1 = OpDef("Expm1", _UNARY, types={"T": FLOATING}, form=Elementwise(np.expm1, scalar_math.expm1))


@Expm1.gradient
def _expm1_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * exp(conj(op.inputs[0]))


def expm1(x: Any, name: str | None = None) -> Tensor:
    """exp(x) - 1, without cancellation for small x."""
    return Expm1(x, name=name)


Log = OpDef("Log", _UNARY, types={"T": FLOATING}, form=Elementwise(np.log, scalar_math.log))


@Log.gradient
def _log_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * reciprocal(conj(op.inputs[0]))


def log(x: Any, name: str | None = None) -> Tensor:
    """The natural logarithm; -inf for 0, NaN for negative numbers."""
    return Log(x, name=name)


Log1p = OpDef("Log1p", _UNARY, types={"T": FLOATING}, form=Elementwise(np.log1p, scalar_math.log1p))


@Log1p.gradient
def _log1p_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * reciprocal(1 + conj(op.inputs[0]))


def log1p(x: Any, name: str | None = None) -> Tensor:
    """log(1 + x), without cancellation for small x."""
    return Log1p(x, name=name)


Xlogy = OpDef("Xlogy", _BINARY, types={"T": FLOATING}, form=Elementwise(scalar=scalar_math.xlogy))


@Xlogy.kernel
def _xlogy_kernel(x: Array, y: Array) -> Array:
    return np.where(x == 0, np.zeros_like(y), x * np.log(y))


@Xlogy.expansion
def _xlogy_expansion(x: Tensor, y: Tensor) -> Tensor:
    return select_v2(equal(x, zeros_like(x)), zeros_like(y), x * log(y))


@Xlogy.gradient
def _xlogy_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = conj(op.inputs[0]), conj(op.inputs[1])
    return dz * xlogy(_is_not_zero(x), y), dz * xdivy(x, y)


def _is_not_zero(x: Tensor) -> Tensor:
    return cast(not_equal(x, zeros_like(x)), x.spec.dtype)


def xlogy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x * log(y), and 0 where x is 0."""
    return Xlogy(x, y, name=name)


Xdivy = OpDef("Xdivy", _BINARY, types={"T": FLOATING}, form=Elementwise(scalar=scalars_arithmetic.xdivy))


@Xdivy.kernel
def _xdivy_kernel(x: Array, y: Array) -> Array:
    return np.where(x == 0, np.zeros_like(y), x / y)


@Xdivy.expansion
def _xdivy_expansion(x: Tensor, y: Tensor) -> Tensor:
    return select_v2(equal(x, zeros_like(x)), zeros_like(y), realdiv(x, y))


@Xdivy.gradient
def _xdivy_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = conj(op.inputs[0]), conj(op.inputs[1])
    return dz * xdivy(_is_not_zero(x), y), dz * xdivy(-x, square(y))


def xdivy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, and 0 where x is 0."""
    return Xdivy(x, y, name=name)


# ---------------------------------------------------------------- trigonometry, in radians

Sin = OpDef("Sin", _UNARY, types={"T": FLOATING}, form=Elementwise(np.sin, scalars_angles.sin))


@Sin.gradient
def _sin_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * cos(conj(op.inputs[0]))


def sin(x: Any, name: str | None = None) -> Tensor:
    """The sine."""
    return Sin(x, name=name)


Cos = OpDef("Cos", _UNARY, types={"T": FLOATING}, form=Elementwise(np.cos, scalars_angles.cos))


@Cos.gradient
def _cos_gradient(op: Operation, dy: Tensor) -> Tensor:
    return -dy * sin(conj(op.inputs[0]))


def cos(x: Any, name: str | None = None) -> Tensor:
    """The cosine."""
    return Cos(x, name=name)


Tan = OpDef("Tan", _UNARY, types={"T": FLOATING}, form=Elementwise(np.tan, scalars_angles.tan))


@Tan.gradient
def _tan_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * square(reciprocal(cos(conj(op.inputs[0]))))


def tan(x: Any, name: str | None = None) -> Tensor:
    """The tangent."""
    return Tan(x, name=name)


Asin = OpDef("Asin", _UNARY, types={"T": FLOATING}, form=Elementwise(np.arcsin, scalars_angles.asin))


@Asin.gradient
def _asin_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * reciprocal(sqrt(1 - square(conj(op.inputs[0]))))


def asin(x: Any, name: str | None = None) -> Tensor:
    """The inverse sine, in [-pi/2, pi/2]."""
    return Asin(x, name=name)


Acos = OpDef("Acos", _UNARY, types={"T": FLOATING}, form=Elementwise(np.arccos, scalars_angles.acos))


@Acos.gradient
def _acos_gradient(op: Operation, dy: Tensor) -> Tensor:
    return -dy * reciprocal(sqrt(1 - square(conj(op.inputs[0]))))


def acos(x: Any, name: str | None = None) -> Tensor:
    """The inverse cosine, in [0, pi]."""
    return Acos(x, name=name)


Atan = OpDef("Atan", _UNARY, types={"T": FLOATING}, form=Elementwise(np.arctan, scalars_angles.atan))


@Atan.gradient
def _atan_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * reciprocal(1 + square(conj(op.inputs[0])))


def atan(x: Any, name: str | None = None) -> Tensor:
    """The inverse tangent, in [-pi/2, pi/2]."""
    return Atan(x, name=name)


Atan2 = OpDef(
    "Atan2", "y: T, x: T -> z: T", types={"T": FLOATS}, form=Elementwise(np.arctan2, scalars_angles.atan2)
)


@Atan2.gradient
def _atan2_gradient(op: Operation, dz: Tensor) -> _Pair:
    y, x = op.inputs
    scaled = dz / (square(x) + square(y))
    return x * scaled, -y * scaled


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), in [-pi, pi]."""
    return Atan2(y, x, name=name)


# ---------------------------------------------------------------- hyperbolic functions

Sinh = OpDef("Sinh", _UNARY, types={"T": FLOATING}, form=Elementwise(np.sinh, scalar_math.sinh))


@Sinh.gradient
def _sinh_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * cosh(conj(op.inputs[0]))


def sinh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic sine."""
    return Sinh(x, name=name)


Cosh = OpDef("Cosh", _UNARY, types={"T": FLOATING}, form=Elementwise(np.cosh, scalar_math.cosh))


@Cosh.gradient
def _cosh_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * sinh(conj(op.inputs[0]))


def cosh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic cosine."""
    return Cosh(x, name=name)


Tanh = OpDef("Tanh", _UNARY, types={"T": FLOATING}, form=Elementwise(np.tanh, scalar_math.tanh))


@Tanh.gradient
def _tanh_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * (1 - square(conj(op.outputs[0])))


def tanh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh(x, name=name)


Asinh = OpDef("Asinh", _UNARY, types={"T": FLOATING}, form=Elementwise(np.arcsinh, scalar_math.asinh))


@Asinh.gradient
def _asinh_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy / cosh(conj(op.outputs[0]))


def asinh(x: Any, name: str | None = None) -> Tensor:
    """The inverse hyperbolic sine."""
    return Asinh(x, name=name)


Acosh = OpDef("Acosh", _UNARY, types={"T": FLOATING}, form=Elementwise(np.arccosh, scalar_math.acosh))


@Acosh.gradient
def _acosh_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy / sinh(conj(op.outputs[0]))


def acosh(x: Any, name: str | None = None) -> Tensor:
    """The inverse hyperbolic cosine; NaN below 1."""
    return Acosh(x, name=name)


Atanh = OpDef("Atanh", _UNARY, types={"T": FLOATING}, form=Elementwise(np.arctanh, scalar_math.atanh))


@Atanh.gradient
def _atanh_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * reciprocal(1 - square(conj(op.inputs[0])))


def atanh(x: Any, name: str | None = None) -> Tensor:
    """The inverse hyperbolic tangent; infinite at -1 and 1, NaN beyond."""
    return Atanh(x, name=name)


Sigmoid = OpDef("Sigmoid", _UNARY, types={"T": FLOATING}, form=Elementwise(scalar=scalar_math.sigmoid))


@Sigmoid.kernel
def _sigmoid_kernel(x: Array) -> Array:
    one = np.ones((), dtype=x.dtype)
    return one / (one + np.exp(-x))


@Sigmoid.gradient
def _sigmoid_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = conj(op.outputs[0])
    return dy * y * (1 - y)


def sigmoid(x: Any, name: str | None = None) -> Tensor:
    """The logistic function 1 / (1 + exp(-x))."""
    return Sigmoid(x, name=name)


# ---------------------------------------------------------------- error function


def _in_float64(function: Callable[..., Array]) -> Callable[..., Array]:
    """A kernel that computes in float64 and rounds to the dtype of its inputs."""

    def kernel(*inputs: Array) -> Array:
        return function(*(x.astype(np.float64) for x in inputs)).astype(inputs[0].dtype)

    return kernel


# Elements of a block: its temporaries, some ten of 128 KiB, stay in a core's cache.
_BLOCK = 1 << 14


def _in_blocks(function: Callable[[Array], Array], dtype: Any = np.float64) -> Callable[[Array], Array]:
    """A kernel of one input that computes in `dtype`, block by block: a long formula takes half the time."""

    def kernel(x: Array) -> Array:
        flat, result = x.ravel(), np.empty(x.size, x.dtype)
        for start in range(0, x.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block] = function(flat[block].astype(dtype))
        return result.reshape(x.shape)

    return kernel


Erf = OpDef("Erf", _UNARY, types={"T": FLOATS}, form=Elementwise(scalar=scalars_special.erf))

_erf_wide, _erf_narrow = _in_blocks(functions.erf), _in_blocks(functions.erf_float32, np.float32)


@Erf.kernel
def _erf_kernel(x: Array) -> Array:
    return _erf_wide(x) if x.dtype == np.float64 else _erf_narrow(x)


@Erf.gradient
def _erf_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * (2 / math.sqrt(math.pi)) * exp(-square(op.inputs[0]))


def erf(x: Any, name: str | None = None) -> Tensor:
    """The error function: 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return Erf(x, name=name)


Erfc = OpDef("Erfc", _UNARY, types={"T": FLOATS}, form=Elementwise(scalar=scalars_special.erfc))
Erfc.kernel(_in_blocks(functions.erfc))


@Erfc.gradient
def _erfc_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * (-2 / math.sqrt(math.pi)) * exp(-square(op.inputs[0]))


def erfc(x: Any, name: str | None = None) -> Tensor:
    """1 - erf(x), without cancellation for large x."""
    return Erfc(x, name=name)


# ---------------------------------------------------------------- gamma and beta functions

Lgamma = OpDef("Lgamma", _UNARY, types={"T": FLOATS}, form=Elementwise(scalar=scalars_special.lgamma))
Lgamma.kernel(_in_blocks(functions.lgamma))


@Lgamma.gradient
def _lgamma_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * digamma(op.inputs[0])


def lgamma(x: Any, name: str | None = None) -> Tensor:
    """The logarithm of |gamma(x)|; infinite at 0, -1, -2 ..."""
    return Lgamma(x, name=name)


Digamma = OpDef("Digamma", _UNARY, types={"T": FLOATS}, form=Elementwise(scalar=scalars_special.digamma))
Digamma.kernel(_in_blocks(functions.digamma))


@Digamma.gradient
def _digamma_gradient(op: Operation, dy: Tensor) -> Tensor:
    x = op.inputs[0]
    return dy * polygamma(ones_like(x), x)


def digamma(x: Any, name: str | None = None) -> Tensor:
    """The derivative of lgamma; NaN at 0, -1, -2 ..."""
    return Digamma(x, name=name)


Polygamma = OpDef("Polygamma", "a: T, x: T -> z: T", types={"T": _WIDE}, form=ELEMENTWISE)
Polygamma.kernel(_in_float64(functions.polygamma))


@Polygamma.gradient
def _polygamma_gradient(op: Operation, dz: Tensor) -> tuple[None, Tensor]:
    a, x = op.inputs
    return None, dz * polygamma(a + 1, x)


def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The a-th derivative of digamma at x, for a = 0, 1, 2 ...; NaN for other a."""
    return Polygamma(a, x, name=name)


Zeta = OpDef("Zeta", "x: T, q: T -> z: T", types={"T": _WIDE}, form=ELEMENTWISE)
Zeta.kernel(_in_float64(functions.zeta))


@Zeta.gradient
def _zeta_gradient(op: Operation, dz: Tensor) -> tuple[None, Tensor]:
    x, q = op.inputs
    return None, dz * -x * zeta(x + 1, q)


def zeta(x: Any, q: Any, name: str | None = None) -> Tensor:
    """Hurwitz's zeta function: the sum of (q + k)^-x over k = 0, 1, 2 ..., for x > 1."""
    return Zeta(x, q, name=name)


Igamma = OpDef("Igamma", "a: T, x: T -> z: T", types={"T": FLOATS}, form=ELEMENTWISE)
Igamma.kernel(_in_float64(functions.igamma))


@Igamma.gradient
def _igamma_gradient(op: Operation, dz: Tensor) -> _Pair:
    a, x = op.inputs
    # In the logarithm, because the gamma function overflows.
    density = exp((a - 1) * log(x) - x - lgamma(a))
    return dz * IgammaGradA(a, x), dz * density


def igamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularized lower incomplete gamma function P(a, x), for a > 0 and x >= 0."""
    return Igamma(a, x, name=name)


IgammaGradA = OpDef("IgammaGradA", "a: T, x: T -> z: T", types={"T": _WIDE}, form=ELEMENTWISE)
IgammaGradA.kernel(_in_float64(functions.igamma_grad_a))

Igammac = OpDef("Igammac", "a: T, x: T -> z: T", types={"T": FLOATS}, form=ELEMENTWISE)
Igammac.kernel(_in_float64(functions.igammac))


@Igammac.gradient
def _igammac_gradient(op: Operation, dz: Tensor) -> _Pair:
    da, dx = _igamma_gradient(op, dz)
    return -da, -dx


def igammac(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return Igammac(a, x, name=name)


Betainc = OpDef("Betainc", "a: T, b: T, x: T -> z: T", types={"T": _WIDE}, form=ELEMENTWISE)
Betainc.kernel(_in_float64(functions.betainc))


@Betainc.gradient
def _betainc_gradient(op: Operation, dz: Tensor) -> tuple[None, None, Tensor]:
    # As in TensorFlow, no gradient flows to a and b.
    a, b, x = op.inputs
    log_beta = lgamma(a) + lgamma(b) - lgamma(a + b)
    return None, None, dz * exp(xlogy(b - 1, 1 - x) + xlogy(a - 1, x) - log_beta)


def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularized incomplete beta function I_x(a, b), for a, b > 0 and x in [0, 1]."""
    return Betainc(a, b, x, name=name)
