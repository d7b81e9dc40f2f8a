"""The error function and the gamma function in the scalar language."""

from __future__ import annotations

import math

from tahr.core import dtypes, scalar
from tahr.core.scalar import Scalar, constant, copysign, fma, muladd, select
from tahr.ops.scalar_math import exp_of_negative, log
from tahr.ops.scalars_angles import sin_and_cos
from tahr.ops.scalars_formats import in_float64, of_floats, polynomial

# ---------------------------------------------------------------- error function

# erf(x) / x - 1 in x^2 on [0, 1], and erf(x) in x - 5/2 on [1, 3.9]; errors 2^-29 and 2^-25
_ERF_SMALL = (
    0.128379166, -0.376126271, 0.112836002, -0.0268544442, 0.00518953441, -0.000802083242, 7.88908863e-05,
)  # fmt: skip
_ERF_LARGE = (
    0.999593068, 0.00217808015, -0.00544665276, 0.00835323735, -0.00861531708, 0.00610324313, -0.00281817736,
    0.000570374028, 0.000286509599, -0.000278902119, 6.1886182e-05, 2.10409258e-05, -9.12442346e-06,
)  # fmt: skip

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969), with the coefficients
# of SPECFUN's CALERF, lowest power first: erf(x) / x in x^2 up to 0.46875; exp(x^2) erfc(x) in x up to 4; and beyond
# the correction of its asymptotic form in 1 / x^2.
_ERF_P = (
    3.20937758913846947e3, 3.77485237685302021e2, 1.13864154151050156e2, 3.16112374387056560e0,
    1.85777706184603153e-1,
)  # fmt: skip
_ERF_Q = (2.84423683343917062e3, 1.28261652607737228e3, 2.44024637934444173e2, 2.36012909523441209e1, 1.0)
_ERFC_P = (
    1.23033935479799725e3, 2.05107837782607147e3, 1.71204761263407058e3, 8.81952221241769090e2,
    2.98635138197400131e2, 6.61191906371416295e1, 8.88314979438837594e0, 5.64188496988670089e-1,
    2.15311535474403846e-8,
)  # fmt: skip
_ERFC_Q = (
    1.23033935480374942e3, 3.43936767414372164e3, 4.36261909014324716e3, 3.29079923573345963e3,
    1.62138957456669019e3, 5.37181101862009858e2, 1.17693950891312499e2, 1.57449261107098347e1, 1.0,
)  # fmt: skip
_TAIL_P = (
    6.58749161529837803e-4, 1.60837851487422766e-2, 1.25781726111229246e-1, 3.60344899949804439e-1,
    3.05326634961232344e-1, 1.63153871373020978e-2,
)  # fmt: skip
_TAIL_Q = (
    2.33520497626869185e-3, 6.05183413124413191e-2, 5.27905102951428412e-1, 1.87295284992346725e0,
    2.56852019228982242e0, 1.0,
)  # fmt: skip


def _erf_and_erfc(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Whether |x| is small, erf(x) for small x, erfc(|x|) for others."""
    size = abs(x)
    is_small = size <= 0.46875
    square = x * x
    small = x * polynomial(square, _ERF_P) / polynomial(square, _ERF_Q)
    size = scalar.minimum(size, 30.0)  # erfc is 0 from 27 on
    square = size * size
    tail = 1 / square
    correction = tail * polynomial(tail, _TAIL_P) / polynomial(tail, _TAIL_Q)
    factor = select(
        size <= 4,
        polynomial(size, _ERFC_P) / polynomial(size, _ERFC_Q),
        (1 / math.sqrt(math.pi) - correction) / size,
    )
    # exp(-x^2) with what the rounding of x^2 lost.
    return is_small, small, exp_of_negative(-square, -fma(size, size, -square)) * factor


@of_floats
def erf(x: Scalar) -> Scalar:
    """The error function."""
    if x.dtype is dtypes.float64:
        is_small, small, complement = _erf_and_erfc(x)
        return select(is_small, small, copysign(1 - complement, x))
    # Polynomials alone: beside an exponential they take three quarters of its time.
    size = scalar.minimum(abs(x), 3.9)
    # Not x + x * polynomial: without fused operations that product of the smallest numbers counts as zero.
    small = x * (1 + polynomial(x * x, _ERF_SMALL))
    return select(size < 1, small, copysign(polynomial(size - 2.5, _ERF_LARGE), x))


@in_float64
def erfc(x: Scalar, *, short: bool) -> Scalar:
    """1 - erf(x), without cancellation."""
    is_small, small, complement = _erf_and_erfc(x)
    return select(is_small, 1 - small, select(x < 0, 2 - complement, complement))


# ---------------------------------------------------------------- gamma function

# The coefficients of the asymptotic series of log gamma and digamma in 1 / x^2 (DLMF 5.11.1 and 5.11.2), for x >= 8.
_SHIFT = 8
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def _require_short(short: bool) -> None:
    if not short:
        raise scalar.Unsupported(
            "the gamma function of float64, near whose zeros these formulas are not exact enough"
        )


def _rising(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """x + 8, x (x + 1) ... (x + 7) and its derivative for x < 8, else x, 1 and 0."""
    product, derivative = x, constant(1, x.dtype)
    for k in range(1, _SHIFT):
        factor = x + k
        derivative = muladd(derivative, factor, product)
        product = product * factor
    is_low = x < _SHIFT
    return select(is_low, x + _SHIFT, x), select(is_low, product, 1), select(is_low, derivative, 0)


def _sin_and_cos_of_pi(x: Scalar) -> tuple[Scalar, Scalar]:
    """sin(pi f) and cos(pi f) with f = x less the nearest integer: those of x, but for a common sign."""
    fraction = x - scalar.rint(x)
    sine, cosine, q = sin_and_cos(math.pi * fraction, short=False)
    is_even = scalar.eq(q & 1, 0)  # q is 0 or 1
    return copysign(select(is_even, sine, cosine), fraction), select(is_even, cosine, -sine)


@in_float64
def lgamma(x: Scalar, *, short: bool) -> Scalar:
    """The logarithm of |gamma(x)|; infinite at 0, -1, -2 ...

    Source: the recurrence DLMF 5.5.1 and the reflection DLMF 5.5.3.
    """
    _require_short(short)
    size, is_negative = abs(x), x < 0
    shifted, product, _ = _rising(size)
    inverse = 1 / shifted
    series = inverse * polynomial(inverse * inverse, _STIRLING) + 0.5 * math.log(2 * math.pi)
    stirling = muladd(shifted - 0.5, log(shifted) - 1, series - 0.5)
    sine, _ = _sin_and_cos_of_pi(size)
    reflected = math.pi * product / (size * abs(sine))
    value = select(is_negative, -stirling, stirling) + log(select(is_negative, reflected, 1 / product))
    value = select(scalar.eq(x, 1) | scalar.eq(x, 2), 0, value)
    return select((x <= 0) & scalar.eq(scalar.floor(x), x) | scalar.eq(size, math.inf), math.inf, value)


@in_float64
def digamma(x: Scalar, *, short: bool) -> Scalar:
    """The derivative of lgamma; NaN at 0, -1, -2 ...

    Source: the recurrence DLMF 5.5.2 and the reflection DLMF 5.5.4.
    """
    _require_short(short)
    is_positive = x > 0
    shifted, product, derivative = _rising(select(is_positive, x, 1 - x))
    inverse = 1 / shifted
    square = inverse * inverse
    value = log(shifted) - 0.5 * inverse - square * polynomial(square, _DIGAMMA) - derivative / product
    sine, cosine = _sin_and_cos_of_pi(x)
    reflected = select(scalar.eq(scalar.floor(x), x), math.nan, value - math.pi * cosine / sine)
    return select(is_positive, value, reflected)
