"""Transcendental functions in the scalar language: without branches, tables or calls, for vector instructions.

Each reduces its argument to a short interval, evaluates a polynomial there, and selects what infinities, NaN and the
ends of the range need. The polynomials are minimax: Remez's exchange algorithm in 50 decimals, with coefficients
rounded to doubles. float16 and bfloat16 are computed in float32. What is used most has formulas of its own for float32;
the others compute float32 in float64. Numbers below the smallest normal one count as zero. Angles that only a long
table can reduce are left to the C library, behind a branch (`scalar.seldom`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar, bitcast, constant, convert, copysign, fma, muladd, select, sqrt
from tahr.ops import scalars_arithmetic

Function = Callable[..., Scalar]


class _Format(NamedTuple):
    """A binary floating-point format, and the constants of functions in it.

    Attributes:
        dtype, bits: its dtype, and the integer dtype of the same width.
        fraction: the number of bits after the point.
        magic: 1.5 * 2^fraction: added to x, it leaves x rounded to an integer in the lowest bits.
        tiny: the smallest normal number.
        ln2_high, ln2_low: ln 2, the high part with so few bits that its products with exponents are exact.
        exp_min, exp_max: the first and the last number of this dtype whose exp is a normal number.
        exp: (exp(r) - 1 - r) / r^2 on [-ln(2) / 2, ln(2) / 2].
        expm1_min: below, exp(x) - 1 is -1.
        tanh_max: from there on, tanh(x) is 1.
    """

    dtype: DType
    bits: DType
    fraction: int
    magic: float
    tiny: float
    ln2_high: float
    ln2_low: float
    exp_min: float
    exp_max: float
    exp: tuple[float, ...]
    expm1_min: float
    tanh_max: float

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return _bits_of(1.0, self)


# The parts of ln 2 are those of S. Moshier's Cephes library (float32) and of Sun's fdlibm (float64).
_F32 = _Format(
    dtype=dtypes.float32,
    bits=dtypes.int32,
    fraction=23,
    magic=1.5 * 2**23,
    tiny=2.0**-126,
    ln2_high=0.693359375,
    ln2_low=-2.12194440e-4,
    exp_min=-87.336544,
    exp_max=88.722831,
    # error 2^-26
    exp=(0.500000006, 0.16666545, 0.0416662892, 0.00836640733, 0.00139460978),
    expm1_min=-18.0,
    tanh_max=9.5,
)
_F64 = _Format(
    dtype=dtypes.float64,
    bits=dtypes.int64,
    fraction=52,
    magic=1.5 * 2**52,
    tiny=2.0**-1022,
    ln2_high=6.93147180369123816490e-01,
    ln2_low=1.90821492927058770002e-10,
    exp_min=-708.39641853226408,
    exp_max=709.78271289338397,
    # error 2^-61
    exp=(
        0.5, 0.16666666666666677, 0.0416666666666667, 0.008333333333322104, 0.0013888888888867665,
        0.00019841269885087146, 2.4801587359308575e-05, 2.755724513189075e-06, 2.75572436080485e-07,
        2.510875036596393e-08, 2.0924229354466577e-09,
    ),
    expm1_min=-38.0,
    tanh_max=20.0,
)  # fmt: skip

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
# (sinh(x) - x) / x^3 in x^2 on [0, 1]; errors 2^-63 and 2^-34
_SINH = (
    0.16666666666666666, 0.008333333333333203, 0.0001984126984140059, 2.7557319165447297e-06,
    2.5052121978136764e-08, 1.6057339790494186e-10, 7.756564378075021e-13,
)  # fmt: skip
_SINH_SHORT = (0.16666666520790718, 0.008333348927911077, 0.00019836327155380986, 2.816174826409542e-06)

# erf(x) / x - 1 in x^2 on [0, 1], and erf(x) in x - 5/2 on [1, 3.9]; errors 2^-29 and 2^-25
_ERF_SMALL = (
    0.128379166, -0.376126271, 0.112836002, -0.0268544442, 0.00518953441, -0.000802083242, 7.88908863e-05,
)  # fmt: skip
_ERF_LARGE = (
    0.999593068, 0.00217808015, -0.00544665276, 0.00835323735, -0.00861531708, 0.00610324313, -0.00281817736,
    0.000570374028, 0.000286509599, -0.000278902119, 6.1886182e-05, 2.10409258e-05, -9.12442346e-06,
)  # fmt: skip

# ---------------------------------------------------------------- how a function is chosen by dtype


def _require_float(x: Scalar) -> None:
    if not x.dtype.is_floating:
        raise scalar.Unsupported(f"a function of {x.dtype.name}")


def _of_floats(function: Function) -> Function:
    """A function of float32 and float64 as one of halves too."""

    @functools.wraps(function)
    def wrapper(*inputs: Scalar) -> Scalar:
        dtype = inputs[0].dtype
        _require_float(inputs[0])
        if dtype not in scalar.HALVES:
            return function(*inputs)
        return scalar.relabel(function(*(scalar.relabel(x, dtypes.float32) for x in inputs)), dtype)

    return wrapper


def _in_float64(function: Function) -> Function:
    """A function of float64 as one of float32, which is told by `short` that it need not be exact to the last bit."""

    @functools.wraps(function)
    def wrapper(*inputs: Scalar) -> Scalar:
        if inputs[0].dtype is dtypes.float64:
            return function(*inputs, short=False)
        result = function(*(convert(x, dtypes.float64) for x in inputs), short=True)
        return convert(result, dtypes.float32)

    return _of_floats(wrapper)


def _format(x: Scalar) -> _Format:
    return _F32 if x.dtype is dtypes.float32 else _F64


def _bits_of(value: float, form: _Format) -> int:
    return bitcast(constant(value, form.dtype), form.bits).value


def _polynomial(x: Scalar, coefficients: Sequence[float]) -> Scalar:
    """The polynomial with these coefficients, lowest power first, by Horner's rule."""
    result = constant(coefficients[-1], x.dtype)
    for coefficient in reversed(coefficients[:-1]):
        result = muladd(result, x, coefficient)
    return result


# ---------------------------------------------------------------- exponentials


def _reduce_exp(x: Scalar) -> tuple[Scalar, Scalar]:
    """r and n, |r| <= ln(2) / 2, with x = n ln 2 + r; n as an integer to be added to an exponent.

    Where x is large both are garbage.
    """
    form = _format(x)
    shifted = muladd(x, 1 / math.log(2), form.magic)
    n = shifted - form.magic
    r = muladd(n, -form.ln2_low, muladd(n, -form.ln2_high, x))
    # The lowest bits of `magic` are zero; what stands above them is shifted out.
    return r, bitcast(shifted, form.bits) << form.fraction


def _expm1_reduced(r: Scalar) -> Scalar:
    return muladd(r * r, _polynomial(r, _format(r).exp), r)


def _exp(x: Scalar, halved: bool = False) -> Scalar:
    """exp(x), or half of it."""
    form = _format(x)
    result = _exp_within(x, halved=halved)
    limit = form.exp_max + (math.log(2) if halved else 0)
    return select(x <= limit, result, x * math.inf)  # also NaN


def _exp_of_negative(x: Scalar, extra: Scalar | None = None) -> Scalar:
    """exp(x) for x <= 0, or exp(x + extra) for a very small extra."""
    return select(x <= 0, _exp_within(x, extra), x)


def _exp_within(x: Scalar, extra: Scalar | None = None, halved: bool = False) -> Scalar:
    """exp(x + extra), or half of it, where that is not above the largest number; anything for NaN."""
    form = _format(x)
    r, n = _reduce_exp(x)
    mantissa = 1 + _expm1_reduced(r if extra is None else r + extra)
    bits = bitcast(mantissa, form.bits) + n
    if halved:
        bits = bits - (1 << form.fraction)
    return select(x < form.exp_min, 0, bitcast(bits, form.dtype))


@_of_floats
def exp(x: Scalar) -> Scalar:
    """e to the power of x."""
    return _exp(x)


@_of_floats
def expm1(x: Scalar) -> Scalar:
    """exp(x) - 1, without cancellation."""
    form = _format(x)
    clamped = select(x < form.expm1_min, form.expm1_min, x)
    r, n = _reduce_exp(clamped)
    # 2^n - 1 + 2^n (exp(r) - 1), halved, since 2^n may be out of range.
    scale = bitcast(n + _bits_of(0.5, form), form.dtype)
    half = muladd(scale, _expm1_reduced(r), scale - 0.5)
    # Half of the smallest normal numbers would count as zero, and -0.0 lose its sign.
    result = select(abs(x) < 4 * form.tiny, x, half + half)
    return select(x <= form.exp_max, result, x * math.inf)


@_of_floats
def tanh(x: Scalar) -> Scalar:
    """The hyperbolic tangent: t = u / (u + 2) with u = exp(2 |x|) - 1; for small x, more exactly, u / 2 (1 - t)."""
    form = _format(x)
    size = abs(x)
    size = select(size > form.tanh_max, form.tanh_max, size)
    # As in `_reduce_exp`, for r / 2. One part of ln 2 is enough: where n is large, tanh is 1.
    shifted = muladd(size, 2 / math.log(2), form.magic)
    half = muladd(shifted - form.magic, -math.log(2) / 2, size)
    coefficients = [c * 2 ** (k + 2) for k, c in enumerate(form.exp)]
    reduced = muladd(half * half, _polynomial(half, coefficients), half + half)
    scale = bitcast((bitcast(shifted, form.bits) << form.fraction) + form.one, form.dtype)
    u = muladd(scale, reduced, scale - 1)
    t = u / (u + 2)
    return copysign(select(size < 0.375, muladd(-0.5 * u, t, 0.5 * u), t), x)


@_of_floats
def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + exp(-x)): 1 - t and, for x < 0, e (1 - t) with e = exp(-|x|) and t = e / (1 + e)."""
    small = _exp_of_negative(-abs(x))
    t = small / (1 + small)
    base = select(x < 0, small, 1)
    return muladd(-base, t, base)


@_in_float64
def sinh(x: Scalar, *, short: bool) -> Scalar:
    """The hyperbolic sine."""
    size = abs(x)
    half = _exp(size, halved=True)
    square = x * x
    small = muladd(size * square, _polynomial(square, _SINH_SHORT if short else _SINH), size)
    return copysign(select(size < 1, small, half - 0.25 / half), x)


@_in_float64
def cosh(x: Scalar, *, short: bool) -> Scalar:
    """The hyperbolic cosine."""
    half = _exp(abs(x), halved=True)
    return half + 0.25 / half


# ---------------------------------------------------------------- logarithms


def _split(x: Scalar) -> tuple[Scalar, Scalar]:
    """m and k, sqrt(1/2) <= m < sqrt(2), with x = 2^k m, for positive normal x; k as an integer."""
    form = _format(x)
    bits = bitcast(x, form.bits)
    k = (bits - _bits_of(math.sqrt(0.5), form)) >> form.fraction
    return bitcast(bits - (k << form.fraction), form.dtype), k


def _as_float(k: Scalar, form: _Format) -> Scalar:
    """A small integer as a float."""
    if form is _F32:
        return convert(k, form.dtype)
    return bitcast(k + _bits_of(form.magic, form), form.dtype) - form.magic  # AVX2 cannot convert 64 bits


def _log_of(f: Scalar, k: Scalar) -> Scalar:
    """log(2^k (1 + f)), sqrt(1/2) <= 1 + f < sqrt(2)."""
    form = _format(f)
    k = _as_float(k, form)
    if form is _F32:
        square = f * f
        rest = muladd(k, form.ln2_low, square * f * _polynomial(f, _LOG_32))
        return muladd(k, form.ln2_high, f + muladd(square, -0.5, rest))
    # As in Sun's fdlibm: log(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)) with s = f / (2 + f).
    s = f / (2 + f)
    square = s * s
    half = 0.5 * f * f
    rest = muladd(s, muladd(square, _polynomial(square, _LOG_64), half), k * form.ln2_low)
    return muladd(k, form.ln2_high, f - (half - rest))


def _log_at_ends(x: Scalar, result: Scalar) -> Scalar:
    """A logarithm of x where it is not positive, infinite or NaN."""
    result = select(x < _format(x).tiny, select(x < 0, constant(math.nan, x.dtype), -math.inf), result)
    return select(x < math.inf, result, x)


def _log(x: Scalar) -> Scalar:
    m, k = _split(x)
    return _log_at_ends(x, _log_of(m - 1, k))


@_of_floats
def log(x: Scalar) -> Scalar:
    """The natural logarithm."""
    return _log(x)


def _log1p_of(x: Scalar) -> tuple[Scalar, Scalar]:
    """1 + x, rounded, and log(1 + x) for finite x > -1."""
    form = _format(x)
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


@_of_floats
def log1p(x: Scalar) -> Scalar:
    """log(1 + x), without cancellation."""
    return _log1p(x)


@_of_floats
def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which never overflows."""
    _, small = _log1p_of(_exp_of_negative(-abs(x)))
    return scalar.maximum(x, 0) + small


@_in_float64
def asinh(x: Scalar, *, short: bool) -> Scalar:
    """The inverse hyperbolic sine."""
    size = abs(x)
    square = size * size
    large = size > 1e18  # where log(1 + x) is log(x), and squares are not yet infinite
    value = select(large, size, size + square / (1 + sqrt(square + 1)))
    return copysign(_log1p(value) + select(large, constant(math.log(2), x.dtype), 0), x)


@_in_float64
def acosh(x: Scalar, *, short: bool) -> Scalar:
    """The inverse hyperbolic cosine."""
    above = x - 1
    large = x > 1e18
    value = select(large, x, above + sqrt(above * (above + 2)))
    result = _log1p(value) + select(large, constant(math.log(2), x.dtype), 0)
    return select(x < 1, math.nan, result)


@_in_float64
def atanh(x: Scalar, *, short: bool) -> Scalar:
    """The inverse hyperbolic tangent."""
    size = abs(x)
    return copysign(0.5 * _log1p((size + size) / (1 - size)), x)


@_of_floats
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


@_in_float64
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
    result = select(exponent <= _F64.exp_max, result, exponent * math.inf)
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
    k = _as_float(k, _F64)
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
    rest = cube * square * _polynomial(square, _LOG_REST)
    inner = 2 * s + term
    inner_low = (2 * s - inner) + term + (2 * s_low + term_low + rest)
    base = k * _F64.ln2_high
    high = base + inner
    low = (base - high) + inner + (inner_low + k * _F64.ln2_low)
    return _log_at_ends(x, high), select((x >= _F64.tiny) & (x < math.inf), low, 0)


# ---------------------------------------------------------------- trigonometry


def _reduce_angle(x: Scalar) -> tuple[Scalar, Scalar]:
    """r and q, |r| <= pi / 4, with x = q pi / 2 + r for x >= 0; q as an integer.

    The products are exact and the first two differences nearly so; what is left of pi / 2 after its parts, times q, is
    below the last bit even of the smallest r.
    """
    shifted = muladd(x, 2 / math.pi, _F64.magic)
    q = shifted - _F64.magic
    r = x
    for part in _HALF_PI:
        r = fma(q, -part, r)
    return r, bitcast(shifted, _F64.bits)


# Beyond it the reduction of angles would take a table of the digits of 2 / pi: the C library has one.
_LARGEST_ANGLE = 2.0**45


def _or_library(function: str, x: Scalar, value: Scalar) -> Scalar:
    """A function's value for a usual angle; of a finite one that is too large, what the C library computes."""
    size = abs(x)
    return scalar.seldom(function, (size > _LARGEST_ANGLE) & (size < math.inf), value, x)


def _sin_and_cos(x: Scalar, short: bool) -> tuple[Scalar, Scalar, Scalar]:
    """The sine and cosine of r, and q, for |x| <= 2^45: see `_reduce_angle`. Of NaN and infinities they are NaN."""
    r, q = _reduce_angle(abs(x))
    square = r * r
    sine = muladd(r * square, _polynomial(square, _SIN_SHORT if short else _SIN), r)
    fourth = square * square
    cosine = 1 + muladd(square, -0.5, fourth * _polynomial(square, _COS_SHORT if short else _COS))
    return sine, cosine, q


def _negate(x: Scalar, sign: Scalar) -> Scalar:
    """x, with its sign flipped where the highest bit of an integer is set."""
    return bitcast(bitcast(x, sign.dtype) ^ (sign & sign.dtype.min), x.dtype)


@_in_float64
def sin(x: Scalar, *, short: bool) -> Scalar:
    """The sine."""
    sine, cosine, q = _sin_and_cos(x, short)
    value = select(scalar.eq(q & 1, 0), sine, cosine)
    return _or_library("sin", x, _negate(value, (q << 62) ^ bitcast(x, q.dtype)))


@_in_float64
def cos(x: Scalar, *, short: bool) -> Scalar:
    """The cosine."""
    sine, cosine, q = _sin_and_cos(x, short)
    value = select(scalar.eq(q & 1, 0), cosine, sine)
    return _or_library("cos", x, _negate(value, (q + 1) << 62))


@_in_float64
def tan(x: Scalar, *, short: bool) -> Scalar:
    """The tangent."""
    sine, cosine, q = _sin_and_cos(x, short)
    is_even = scalar.eq(q & 1, 0)
    value = select(is_even, sine, -cosine) / select(is_even, cosine, sine)
    return _or_library("tan", x, _negate(value, bitcast(x, q.dtype)))


def _atan_of_quotient(low: Scalar, high: Scalar, short: bool) -> Scalar:
    """atan(low / high) for 0 <= low <= high, of which high may be 0 or both infinite."""
    # atan(t) = pi / 4 + atan((t - 1) / (t + 1)); halves, so that the sum does not overflow.
    is_infinite = scalar.eq(low, math.inf)
    is_large = (low > (math.sqrt(2) - 1) * high) | is_infinite
    half_low, half_high = 0.5 * low, 0.5 * high
    t = select(is_large, half_low - half_high, low) / select(is_large, half_low + half_high, high)
    t = select(scalar.eq(high, 0) | is_infinite, 0, t)
    square = t * t
    angle = muladd(t * square, _polynomial(square, _ATAN_SHORT if short else _ATAN), t)
    return angle + select(is_large, constant(math.pi / 4, t.dtype), 0)


@_in_float64
def atan(x: Scalar, *, short: bool) -> Scalar:
    """The inverse tangent."""
    size = abs(x)
    angle = _atan_of_quotient(scalar.minimum(size, 1), scalar.maximum(size, 1), short)
    # Of numbers above 1 it is the smaller one that the larger is divided by: atan(x) = pi / 2 - atan(1 / x).
    return copysign(select(size > 1, _HALF_PI[0] - (angle - _HALF_PI[1]), angle), x)


@_in_float64
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
    return is_large, muladd(root * square, _polynomial(square, _ASIN_SHORT if short else _ASIN), root)


@_in_float64
def asin(x: Scalar, *, short: bool) -> Scalar:
    """The inverse sine."""
    is_large, angle = _asin_parts(x, short)
    return copysign(select(is_large, _HALF_PI[0] - (2 * angle - _HALF_PI[1]), angle), x)


@_in_float64
def acos(x: Scalar, *, short: bool) -> Scalar:
    """The inverse cosine."""
    is_large, angle = _asin_parts(x, short)
    doubled = 2 * angle
    large = select(x < 0, math.pi - (doubled - 2 * _HALF_PI[1]), doubled)
    return select(is_large, large, _HALF_PI[0] - (copysign(angle, x) - _HALF_PI[1]))


# ---------------------------------------------------------------- error function

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
    small = x * _polynomial(square, _ERF_P) / _polynomial(square, _ERF_Q)
    size = scalar.minimum(size, 30.0)  # erfc is 0 from 27 on
    square = size * size
    tail = 1 / square
    correction = tail * _polynomial(tail, _TAIL_P) / _polynomial(tail, _TAIL_Q)
    factor = select(
        size <= 4,
        _polynomial(size, _ERFC_P) / _polynomial(size, _ERFC_Q),
        (1 / math.sqrt(math.pi) - correction) / size,
    )
    # exp(-x^2) with what the rounding of x^2 lost.
    return is_small, small, _exp_of_negative(-square, -fma(size, size, -square)) * factor


@_of_floats
def erf(x: Scalar) -> Scalar:
    """The error function."""
    if x.dtype is dtypes.float64:
        is_small, small, complement = _erf_and_erfc(x)
        return select(is_small, small, copysign(1 - complement, x))
    # Polynomials alone: beside an exponential they take three quarters of its time.
    size = scalar.minimum(abs(x), 3.9)
    small = muladd(x, _polynomial(x * x, _ERF_SMALL), x)
    return select(size < 1, small, copysign(_polynomial(size - 2.5, _ERF_LARGE), x))


@_in_float64
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
    sine, cosine, q = _sin_and_cos(math.pi * fraction, short=False)
    is_even = scalar.eq(q & 1, 0)  # q is 0 or 1
    return copysign(select(is_even, sine, cosine), fraction), select(is_even, cosine, -sine)


@_in_float64
def lgamma(x: Scalar, *, short: bool) -> Scalar:
    """The logarithm of |gamma(x)|; infinite at 0, -1, -2 ...

    Source: the recurrence DLMF 5.5.1 and the reflection DLMF 5.5.3.
    """
    _require_short(short)
    size, is_negative = abs(x), x < 0
    shifted, product, _ = _rising(size)
    inverse = 1 / shifted
    series = inverse * _polynomial(inverse * inverse, _STIRLING) + 0.5 * math.log(2 * math.pi)
    stirling = muladd(shifted - 0.5, _log(shifted) - 1, series - 0.5)
    sine, _ = _sin_and_cos_of_pi(size)
    reflected = math.pi * product / (size * abs(sine))
    value = select(is_negative, -stirling, stirling) + _log(select(is_negative, reflected, 1 / product))
    value = select(scalar.eq(x, 1) | scalar.eq(x, 2), 0, value)
    return select((x <= 0) & scalar.eq(scalar.floor(x), x) | scalar.eq(size, math.inf), math.inf, value)


@_in_float64
def digamma(x: Scalar, *, short: bool) -> Scalar:
    """The derivative of lgamma; NaN at 0, -1, -2 ...

    Source: the recurrence DLMF 5.5.2 and the reflection DLMF 5.5.4.
    """
    _require_short(short)
    is_positive = x > 0
    shifted, product, derivative = _rising(select(is_positive, x, 1 - x))
    inverse = 1 / shifted
    square = inverse * inverse
    value = _log(shifted) - 0.5 * inverse - square * _polynomial(square, _DIGAMMA) - derivative / product
    sine, cosine = _sin_and_cos_of_pi(x)
    reflected = select(scalar.eq(scalar.floor(x), x), math.nan, value - math.pi * cosine / sine)
    return select(is_positive, value, reflected)
