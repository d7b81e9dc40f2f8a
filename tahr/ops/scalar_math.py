"""Exponentials, logarithms and powers in the scalar language.

As the functions beside them (`scalars_angles`, `scalars_special`), they do without branches, tables or calls, for
vector instructions. Each reduces its argument to a short interval, evaluates a polynomial there, and selects what
infinities, NaN and the ends of the range need. The polynomials are minimax: Remez's exchange algorithm in 50 decimals,
with coefficients rounded to doubles. Numbers below the smallest normal one count as zero.
"""

from __future__ import annotations

import math

from tahr.core import scalar
from tahr.core.scalar import Scalar, bitcast, constant, convert, copysign, fma, muladd, select, sqrt
from tahr.ops import scalars_arithmetic
from tahr.ops.scalars_formats import F32, F64, Format, bits_of, format_of, in_float64, of_floats, polynomial

# (log(1 + f) - f + f^2 / 2) / f^3 on [sqrt(1/2) - 1, sqrt(2) - 1]; error 2^-30
_LOG_32 = (
    0.333333134, -0.249999863, 0.200020681, -0.166691818, 0.14221352, -0.123867425, 0.118574458, -0.117716991,
    0.0692658073,
)  # fmt: skip
# (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2, for the same interval; error 2^-58
_LOG_64 = (
    0.6666666666666712, 0.39999999999538866, 0.2857142871836776, 0.22222200785894886, 0.18183458973254782,
    0.1531655496489693, 0.1477242543567491,
)  # fmt: skip
# The same less its first coefficient, which is 2/3, divided by s^2; error 2^-52
_LOG_REST = (
    0.4000000000000003, 0.2857142857133766, 0.22222222271435346, 0.1818180819967546, 0.1538557790571338,
    0.13285864377224968, 0.1291466188176153,
)  # fmt: skip
# (sinh(x) - x) / x^3 in x^2 on [0, 1]; errors 2^-63 and 2^-34
_SINH = (
    0.16666666666666666, 0.008333333333333203, 0.0001984126984140059, 2.7557319165447297e-06,
    2.5052121978136764e-08, 1.6057339790494186e-10, 7.756564378075021e-13,
)  # fmt: skip
_SINH_SHORT = (0.16666666520790718, 0.008333348927911077, 0.00019836327155380986, 2.816174826409542e-06)

# ---------------------------------------------------------------- exponentials


def _reduce_exp(x: Scalar) -> tuple[Scalar, Scalar]:
    """r and n, |r| <= ln(2) / 2, with x = n ln 2 + r; n as an integer to be added to an exponent.

    Where x is large both are garbage.
    """
    form = format_of(x)
    shifted = muladd(x, 1 / math.log(2), form.magic)
    n = shifted - form.magic
    r = muladd(n, -form.ln2_low, muladd(n, -form.ln2_high, x))
    # The lowest bits of `magic` are zero; what stands above them is shifted out.
    return r, bitcast(shifted, form.bits) << form.fraction


def _expm1_reduced(r: Scalar) -> Scalar:
    return muladd(r * r, polynomial(r, format_of(r).exp), r)


def _exp(x: Scalar, halved: bool = False) -> Scalar:
    """exp(x), or half of it."""
    form = format_of(x)
    result = _exp_within(x, halved=halved)
    limit = form.exp_max + (math.log(2) if halved else 0)
    return select(x <= limit, result, x * math.inf)  # also NaN


def exp_of_negative(x: Scalar, extra: Scalar | None = None) -> Scalar:
    """exp(x) for x <= 0, or exp(x + extra) for a very small extra."""
    return select(x <= 0, _exp_within(x, extra), x)


def _exp_within(x: Scalar, extra: Scalar | None = None, halved: bool = False) -> Scalar:
    """exp(x + extra), or half of it, where that is not above the largest number; anything for NaN."""
    form = format_of(x)
    r, n = _reduce_exp(x)
    mantissa = 1 + _expm1_reduced(r if extra is None else r + extra)
    bits = bitcast(mantissa, form.bits) + n
    if halved:
        bits = bits - (1 << form.fraction)
    return select(x < form.exp_min, 0, bitcast(bits, form.dtype))


@of_floats
def exp(x: Scalar) -> Scalar:
    """e to the power of x."""
    return _exp(x)


@of_floats
def expm1(x: Scalar) -> Scalar:
    """exp(x) - 1, without cancellation."""
    form = format_of(x)
    clamped = select(x < form.expm1_min, form.expm1_min, x)
    r, n = _reduce_exp(clamped)
    # 2^n - 1 + 2^n (exp(r) - 1), halved, since 2^n may be out of range.
    scale = bitcast(n + bits_of(0.5, form), form.dtype)
    half = muladd(scale, _expm1_reduced(r), scale - 0.5)
    # Half of the smallest normal numbers would count as zero, and -0.0 lose its sign.
    result = select(abs(x) < 4 * form.tiny, x, half + half)
    return select(x <= form.exp_max, result, x * math.inf)


@of_floats
def tanh(x: Scalar) -> Scalar:
    """The hyperbolic tangent: t = u / (u + 2) with u = exp(2 |x|) - 1; for small x, more exactly, u / 2 (1 - t)."""
    form = format_of(x)
    size = abs(x)
    size = select(size > form.tanh_max, form.tanh_max, size)
    # As in `_reduce_exp`, for r / 2. One part of ln 2 is enough: where n is large, tanh is 1.
    shifted = muladd(size, 2 / math.log(2), form.magic)
    half = muladd(shifted - form.magic, -math.log(2) / 2, size)
    coefficients = [c * 2 ** (k + 2) for k, c in enumerate(form.exp)]
    reduced = muladd(half * half, polynomial(half, coefficients), half + half)
    scale = bitcast((bitcast(shifted, form.bits) << form.fraction) + form.one, form.dtype)
    u = muladd(scale, reduced, scale - 1)
    t = u / (u + 2)
    return copysign(select(size < 0.375, muladd(-0.5 * u, t, 0.5 * u), t), x)


@of_floats
def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + exp(-x)): 1 - t and, for x < 0, e (1 - t) with e = exp(-|x|) and t = e / (1 + e)."""
    small = exp_of_negative(-abs(x))
    t = small / (1 + small)
    base = select(x < 0, small, 1)
    return muladd(-base, t, base)


@in_float64
def sinh(x: Scalar, *, short: bool) -> Scalar:
    """The hyperbolic sine."""
    size = abs(x)
    half = _exp(size, halved=True)
    square = x * x
    small = muladd(size * square, polynomial(square, _SINH_SHORT if short else _SINH), size)
    return copysign(select(size < 1, small, half - 0.25 / half), x)


@in_float64
def cosh(x: Scalar, *, short: bool) -> Scalar:
    """The hyperbolic cosine."""
    half = _exp(abs(x), halved=True)
    return half + 0.25 / half


# ---------------------------------------------------------------- logarithms


def _split(x: Scalar) -> tuple[Scalar, Scalar]:
    """m and k, sqrt(1/2) <= m < sqrt(2), with x = 2^k m, for positive normal x; k as an integer."""
    form = format_of(x)
    bits = bitcast(x, form.bits)
    k = (bits - bits_of(math.sqrt(0.5), form)) >> form.fraction
    return bitcast(bits - (k << form.fraction), form.dtype), k


def _as_float(k: Scalar, form: Format) -> Scalar:
    """A small integer as a float."""
    if form is F32:
        return convert(k, form.dtype)
    return bitcast(k + bits_of(form.magic, form), form.dtype) - form.magic  # AVX2 cannot convert 64 bits


def _log_of(f: Scalar, k: Scalar) -> Scalar:
    """log(2^k (1 + f)), sqrt(1/2) <= 1 + f < sqrt(2)."""
    form = format_of(f)
    k = _as_float(k, form)
    if form is F32:
        square = f * f
        rest = muladd(k, form.ln2_low, square * f * polynomial(f, _LOG_32))
        return muladd(k, form.ln2_high, f + muladd(square, -0.5, rest))
    # As in Sun's fdlibm: log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)) with s = f / (2 + f).
    s = f / (2 + f)
    square = s * s
    half = 0.5 * f * f
    rest = muladd(s, muladd(square, polynomial(square, _LOG_64), half), k * form.ln2_low)
    return muladd(k, form.ln2_high, f - (half - rest))


def _log_at_ends(x: Scalar, result: Scalar) -> Scalar:
    """A logarithm of x where it is not positive, infinite or NaN."""
    result = select(x < format_of(x).tiny, select(x < 0, constant(math.nan, x.dtype), -math.inf), result)
    return select(x < math.inf, result, x)


def _log(x: Scalar) -> Scalar:
    m, k = _split(x)
    return _log_at_ends(x, _log_of(m - 1, k))


@of_floats
def log(x: Scalar) -> Scalar:
    """The natural logarithm."""
    return _log(x)


def _log1p_of(x: Scalar) -> tuple[Scalar, Scalar]:
    """1 + x, rounded, and log(1 + x) for finite x > -1."""
    form = format_of(x)
    total = 1 + x
    kept = total - 1
    lost = (1 - (total - kept)) + (x - kept)  # what the rounding of 1 + x lost: Knuth's exact sum
    m, k = _split(total)
    # Where the exponent is larger than 60, what was lost is too small to count.
    scale = bitcast(form.one - (scalar.minimum(k, 60) << form.fraction), form.dtype)
    return total, _log_of(muladd(lost, scale, m - 1), k)


def _log1p(x: Scalar) -> Scalar:
    total, result = _log1p_of(x)
    return _log_at_ends(total, copysign(result, x))


@of_floats
def log1p(x: Scalar) -> Scalar:
    """log(1 + x), without cancellation."""
    return _log1p(x)


@of_floats
def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which never overflows."""
    _, small = _log1p_of(exp_of_negative(-abs(x)))
    return scalar.maximum(x, 0) + small


@in_float64
def asinh(x: Scalar, *, short: bool) -> Scalar:
    """The inverse hyperbolic sine."""
    size = abs(x)
    square = size * size
    large = size > 1e18  # where log(1 + x) is log(x), and squares are not yet infinite
    value = select(large, size, size + square / (1 + sqrt(square + 1)))
    return copysign(_log1p(value) + select(large, constant(math.log(2), x.dtype), 0), x)


@in_float64
def acosh(x: Scalar, *, short: bool) -> Scalar:
    """The inverse hyperbolic cosine."""
    above = x - 1
    large = x > 1e18
    value = select(large, x, above + sqrt(above * (above + 2)))
    result = _log1p(value) + select(large, constant(math.log(2), x.dtype), 0)
    return select(x < 1, math.nan, result)


@in_float64
def atanh(x: Scalar, *, short: bool) -> Scalar:
    """The inverse hyperbolic tangent."""
    size = abs(x)
    return copysign(0.5 * _log1p((size + size) / (1 - size)), x)


@of_floats
def xlogy(x: Scalar, y: Scalar) -> Scalar:
    """x * log(y), and 0 where x is 0."""
    return select(scalar.eq(x, 0), 0, x * _log(y))


# ---------------------------------------------------------------- powers


def power(x: Scalar, y: Scalar) -> Scalar:
    """x to the power of y; small constant powers are products."""
    if x.dtype.is_integer:
        if not scalar.is_constant(y) or y.value < 0:
            raise scalar.Unsupported("an integer to a power that may be negative, which is an error")
        return scalars_arithmetic.whole_power(x, y.value)
    if scalar.is_constant(y) and y.value in (0.0, 0.5, 1.0, 2.0, 3.0, 4.0):
        return _small_power(x, y.value)
    if scalar.is_constant(y) and y.value in (-0.5, -1.0, -2.0):
        return 1 / _small_power(x, -y.value)
    return _power(x, y)


def _small_power(x: Scalar, exponent: float) -> Scalar:
    """x to the power of 1/2 or a small integer."""
    if exponent == 0.5:  # unlike square roots, powers of -0.0 and -inf are not negative or NaN
        return select(scalar.eq(x, -math.inf), math.inf, sqrt(x) + 0.0)
    return scalars_arithmetic.whole_power(x, int(exponent))


@in_float64
def _power(x: Scalar, y: Scalar, *, short: bool) -> Scalar:
    size = abs(x)
    if short:
        exponent, extra = y * _log(size), None
    else:
        high, low = _log_in_two_parts(size)
        exponent = y * high
        extra = fma(y, high, -exponent) + y * low
    is_one = scalar.eq(size, 1)
    exponent = select(is_one, y * 0, exponent)
    result = _exp_within(exponent, None if extra is None else select(is_one, 0, extra))
    # With `extra` it may be the sum that is too large: then the bits of the result are those of a NaN.
    fits = (exponent <= F64.exp_max) & scalar.eq(result, result)
    result = select(fits, result, exponent * math.inf)
    whole = scalar.floor(y)
    half = 0.5 * y
    is_odd = scalar.eq(whole, y) & scalar.ne(scalar.floor(half), half)
    result = select(is_odd, copysign(result, x), result)
    result = select((x < 0) & scalar.ne(whole, y) & (size < math.inf), math.nan, result)
    minus_one_to_infinity = is_one & scalar.eq(abs(y), math.inf)
    return select(scalar.eq(y, 0) | scalar.eq(x, 1) | minus_one_to_infinity, 1, result)


def _log_in_two_parts(x: Scalar) -> tuple[Scalar, Scalar]:
    """log(x) of a float64 as a sum, with twice the precision of `log`: an exponent of 700 magnifies its error.

    The sums and products of two parts are those of T. J. Dekker, "A floating-point technique for extending the
    available precision", Numer. Math. 18 (1971). log(1 + f) = 2 s + 2/3 s^3 + ... with s = f / (2 + f).
    """
    m, k = _split(x)
    k = _as_float(k, F64)
    f = m - 1
    divisor = 2 + f
    divisor_low = f - (divisor - 2)
    s = f / divisor
    s_low = (fma(-s, divisor, f) - s * divisor_low) / divisor
    square = s * s
    square_low = fma(s, s, -square) + 2 * s * s_low
    cube = square * s
    cube_low = fma(square, s, -cube) + square_low * s + square * s_low
    third, third_low = 2 / 3, 3.7007434154171886e-17
    term = cube * third
    term_low = fma(cube, third, -term) + cube_low * third + cube * third_low
    rest = cube * square * polynomial(square, _LOG_REST)
    inner = 2 * s + term
    inner_low = (2 * s - inner) + term + (2 * s_low + term_low + rest)
    base = k * F64.ln2_high
    high = base + inner
    low = (base - high) + inner + (inner_low + k * F64.ln2_low)
    return _log_at_ends(x, high), select((x >= F64.tiny) & (x < math.inf), low, 0)
