"""Trigonometric functions in the scalar language, and their inverses.

Angles that only a long table can reduce are rare, and behind a branch (`scalar.seldom`).
"""

from __future__ import annotations

import math

from tahr.core import dtypes, scalar
from tahr.core.scalar import Scalar, bitcast, constant, copysign, fma, muladd, select, sqrt
from tahr.ops.scalars_formats import F64, in_float64, polynomial

# (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2 on [-pi/4, pi/4]; errors 2^-58 and 2^-63, those of
# the short ones 2^-37 and 2^-42
_SIN = (
    -0.16666666666666646, 0.008333333333325041, -0.0001984126983154341, 2.755731420810151e-06,
    -2.505082915604426e-08, 1.5900479602052987e-10,
)  # fmt: skip
_COS = (
    0.04166666666666666, -0.0013888888888883729, 2.4801587295128526e-05, -2.7557315890543475e-07,
    2.087592103139011e-09, -1.1369363227303878e-11,
)  # fmt: skip
_SIN_SHORT = (-0.16666666646063327, 0.00833332975691413, -0.00019839427881146907, 2.719035349086124e-06)
_COS_SHORT = (0.04166666665090284, -0.0013888885798174634, 2.479998789998469e-05, -2.724439489877349e-07)
# pi / 2 as a sum of doubles, each the nearest to what the ones before leave.
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33)

# (atan(t) - t) / t^3 in t^2 on [0, tan(pi/8)]; errors 2^-59 and 2^-30
_ATAN = (
    -0.33333333333333304, 0.19999999999979798, -0.14285714282529277, 0.1111111088842249, -0.09090900510566213,
    0.07692105331575014, -0.066635803531677, 0.058511289928494296, -0.05053023721978301, 0.038393633034810234,
    -0.018248756925027653,
)  # fmt: skip
_ATAN_SHORT = (
    -0.33333320553100876, 0.1999873291814974, -0.1424770711463404, 0.10620817894198527, -0.06139458013624481,
)  # fmt: skip
# (asin(x) - x) / x^3 in x^2 on [0, 1/2]; errors 2^-56 and 2^-27
_ASIN = (
    0.16666666666666424, 0.07500000000132792, 0.044642856975791394, 0.030381953713650357, 0.02237187570493921,
    0.017358081529259353, 0.013900035151685848, 0.01207885791615134, 0.00689356939870831, 0.018587312844821124,
    -0.01482932800085284, 0.031005439586699445,
)  # fmt: skip
_ASIN_SHORT = (
    0.16666729248129222, 0.07496047116488196, 0.04539035093799586, 0.024528020731114212, 0.04163196876558558,
)  # fmt: skip

# ---------------------------------------------------------------- sine, cosine, tangent


def _reduce_angle(x: Scalar) -> tuple[Scalar, Scalar]:
    """r and q, |r| <= pi / 4, with x = q pi / 2 + r for x >= 0; q as an integer.

    The products are exact and the first two differences nearly so; what is left of pi / 2 after its parts, times q, is
    below the last bit even of the smallest r.
    """
    shifted = muladd(x, 2 / math.pi, F64.magic)
    q = shifted - F64.magic
    r = x
    for part in _HALF_PI:
        r = fma(q, -part, r)
    return r, bitcast(shifted, F64.bits)


# Beyond it the reduction of angles takes a table of the digits of 2 / pi.
_LARGEST_ANGLE = 2.0**45


def _unless_huge(function: str, x: Scalar, value: Scalar) -> Scalar:
    """A function's value for a usual angle; for a finite one that is too large the function itself."""
    size = abs(x)
    return scalar.seldom(function, (size > _LARGEST_ANGLE) & (size < math.inf), value, x)


def sin_and_cos(x: Scalar, short: bool) -> tuple[Scalar, Scalar, Scalar]:
    """The sine and cosine of r, and q, for |x| <= 2^45: see `_reduce_angle`. Of NaN and infinities they are NaN."""
    r, q = _reduce_angle(abs(x))
    square = r * r
    sine = muladd(r * square, polynomial(square, _SIN_SHORT if short else _SIN), r)
    fourth = square * square
    cosine = 1 + muladd(square, -0.5, fourth * polynomial(square, _COS_SHORT if short else _COS))
    return sine, cosine, q


def _negate(x: Scalar, sign: Scalar) -> Scalar:
    """x, with its sign flipped where the highest bit of an integer is set."""
    return bitcast(bitcast(x, sign.dtype) ^ (sign & sign.dtype.min), x.dtype)


@in_float64
def sin(x: Scalar, *, short: bool) -> Scalar:
    """The sine."""
    sine, cosine, q = sin_and_cos(x, short)
    value = select(scalar.eq(q & 1, 0), sine, cosine)
    return _unless_huge("sin", x, _negate(value, (q << 62) ^ bitcast(x, q.dtype)))


@in_float64
def cos(x: Scalar, *, short: bool) -> Scalar:
    """The cosine."""
    sine, cosine, q = sin_and_cos(x, short)
    value = select(scalar.eq(q & 1, 0), cosine, sine)
    return _unless_huge("cos", x, _negate(value, (q + 1) << 62))


@in_float64
def tan(x: Scalar, *, short: bool) -> Scalar:
    """The tangent."""
    sine, cosine, q = sin_and_cos(x, short)
    is_even = scalar.eq(q & 1, 0)
    value = select(is_even, sine, -cosine) / select(is_even, cosine, sine)
    return _unless_huge("tan", x, _negate(value, bitcast(x, q.dtype)))


# ---------------------------------------------------------------- inverses


def _atan_of_quotient(low: Scalar, high: Scalar, short: bool) -> Scalar:
    """atan(low / high) for 0 <= low <= high, of which high may be 0 or both infinite."""
    is_infinite = scalar.eq(low, math.inf)
    is_large = (low > (math.sqrt(2) - 1) * high) | is_infinite
    # atan(t) = pi / 4 + atan((t - 1) / (t + 1)), scaled: the sum must not overflow, nor the difference underflow.
    scale = select(high > 1, constant(0.5, high.dtype), 2.0**60)
    scaled_low, scaled_high = scale * low, scale * high
    t = select(is_large, scaled_low - scaled_high, low) / select(is_large, scaled_low + scaled_high, high)
    t = select(scalar.eq(high, 0) | is_infinite, 0, t)
    square = t * t
    angle = muladd(t * square, polynomial(square, _ATAN_SHORT if short else _ATAN), t)
    return angle + select(is_large, constant(math.pi / 4, t.dtype), 0)


@in_float64
def atan(x: Scalar, *, short: bool) -> Scalar:
    """The inverse tangent."""
    size = abs(x)
    angle = _atan_of_quotient(scalar.minimum(size, 1), scalar.maximum(size, 1), short)
    # Of numbers above 1 it is the smaller one that the larger is divided by: atan(x) = pi / 2 - atan(1 / x).
    return copysign(select(size > 1, _HALF_PI[0] - (angle - _HALF_PI[1]), angle), x)


@in_float64
def atan2(y: Scalar, x: Scalar, *, short: bool) -> Scalar:
    """The angle of the point (x, y)."""
    height, width = abs(y), abs(x)
    angle = _atan_of_quotient(scalar.minimum(height, width), scalar.maximum(height, width), short)
    angle = select(height > width, _HALF_PI[0] - (angle - _HALF_PI[1]), angle)
    is_left = bitcast(x, dtypes.int64) < 0
    angle = select(is_left, math.pi - (angle - 2 * _HALF_PI[1]), angle)
    return copysign(angle, y)


def _asin_parts(x: Scalar, short: bool) -> tuple[Scalar, Scalar]:
    """Whether |x| > 1/2, and then asin(sqrt((1 - |x|) / 2)), which is acos(|x|) / 2; else asin(|x|)."""
    size = abs(x)
    is_large = size > 0.5
    square = select(is_large, 0.5 - 0.5 * size, size * size)
    root = select(is_large, sqrt(square), size)
    return is_large, muladd(root * square, polynomial(square, _ASIN_SHORT if short else _ASIN), root)


@in_float64
def asin(x: Scalar, *, short: bool) -> Scalar:
    """The inverse sine."""
    is_large, angle = _asin_parts(x, short)
    return copysign(select(is_large, _HALF_PI[0] - (2 * angle - _HALF_PI[1]), angle), x)


@in_float64
def acos(x: Scalar, *, short: bool) -> Scalar:
    """The inverse cosine."""
    is_large, angle = _asin_parts(x, short)
    doubled = 2 * angle
    large = select(x < 0, math.pi - (doubled - 2 * _HALF_PI[1]), doubled)
    return select(is_large, large, _HALF_PI[0] - (copysign(angle, x) - _HALF_PI[1]))
