"""Arithmetic, comparison, logic and casts in the scalar language: the functions of one element behind the ops' forms.

A function takes the op's inputs and attributes. Where the op must raise an error for some element an expression cannot:
such a function is only defined for operands that are known to be harmless. Who divides integers looks at them before.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar, select

# ---------------------------------------------------------------- sums, products, quotients


def add_n(*inputs: Scalar) -> Scalar:
    """The sum, from left to right."""
    return functools.reduce(scalar.add, inputs)


def zeros_like(x: Scalar) -> Scalar:
    """0, whatever x is."""
    return scalar.constant(0, x.dtype)


def ones_like(x: Scalar) -> Scalar:
    """1, whatever x is."""
    return scalar.constant(1, x.dtype)


def mul_no_nan(x: Scalar, y: Scalar) -> Scalar:
    """x * y, and 0 where y is 0."""
    return select(scalar.eq(y, 0), 0, x * y)


def div_no_nan(x: Scalar, y: Scalar) -> Scalar:
    """x / y, and 0 where y is 0."""
    return select(scalar.eq(y, 0), 0, x / y)


def xdivy(x: Scalar, y: Scalar) -> Scalar:
    """x / y, and 0 where x is 0."""
    return select(scalar.eq(x, 0), 0, x / y)


def _signs_differ(x: Scalar, y: Scalar) -> Scalar:
    return (x < 0) ^ (y < 0)


def floor_div(x: Scalar, y: Scalar) -> Scalar:
    """x / y rounded towards minus infinity."""
    if x.dtype.is_floating:
        return scalar.floor(x / y)
    result = scalar.quotient(x, y)
    if x.dtype.is_unsigned:
        return result
    return select(scalar.ne(scalar.remainder(x, y), 0) & _signs_differ(x, y), result - 1, result)


def truncate_div(x: Scalar, y: Scalar) -> Scalar:
    """x / y rounded towards zero."""
    if x.dtype.is_floating:
        return scalar.trunc(x / y)
    return scalar.quotient(x, y)


def divide(x: Scalar, y: Scalar) -> Scalar:
    """x / y; integers are rounded towards zero."""
    return x / y if x.dtype.is_floating else truncate_div(x, y)


def truncate_mod(x: Scalar, y: Scalar) -> Scalar:
    """The remainder with the sign of x."""
    return _float_remainder(x, y) if x.dtype.is_floating else scalar.remainder(x, y)


def _float_remainder(x: Scalar, y: Scalar) -> Scalar:
    """The remainder of floats, which is exact.

    Where the quotient is below 2^52 in float64, in which float32 is computed too, it is at most one too large or too
    small when it has been rounded. Which of them, the sign and the size of what is left say, and fma gives that
    exactly. Other quotients are rare, and left to the C library.
    """
    if x.dtype is not dtypes.float64:
        wide = (scalar.convert(scalar.relabel(v, dtypes.float32), dtypes.float64) for v in (x, y))
        return scalar.relabel(scalar.convert(_float_remainder(*wide), dtypes.float32), x.dtype)
    size, divisor = abs(x), abs(y)
    quotient = scalar.trunc(size / divisor)
    rest = scalar.fma(-quotient, divisor, size)
    quotient = quotient + select(rest < 0, -1, select(rest >= divisor, 1, scalar.constant(0, x.dtype)))
    rest = scalar.copysign(scalar.fma(-quotient, divisor, size), x)
    rest = select(scalar.eq(divisor, math.inf) & (size < math.inf), x, rest)
    return scalar.seldom("fmod", quotient >= 2.0**52, rest, x, y)


def floor_mod(x: Scalar, y: Scalar) -> Scalar:
    """The remainder with the sign of y."""
    rest = truncate_mod(x, y)
    return select(scalar.ne(rest, 0) & _signs_differ(rest, y), rest + y, rest)


def reciprocal(x: Scalar) -> Scalar:
    """1 / x of floats."""
    return scalar.div(1, x)


def square(x: Scalar) -> Scalar:
    """x * x."""
    return x * x


def squared_difference(x: Scalar, y: Scalar) -> Scalar:
    """(x - y) * (x - y)."""
    return square(x - y)


def rsqrt(x: Scalar) -> Scalar:
    """1 / sqrt(x)."""
    return 1 / scalar.sqrt(x)


def sign(x: Scalar) -> Scalar:
    """-1, 0 or 1; NaN for NaN."""
    at_zero = select(scalar.eq(x, 0), 0, x)  # that is NaN, or the zero without a sign
    return select(x > 0, 1, select(x < 0, -1, at_zero))


def round_half_even(x: Scalar) -> Scalar:
    """The nearest integer, the even one of two equally near."""
    return scalar.rint(x) if x.dtype.is_floating else x


def whole_power(x: Scalar, exponent: int) -> Scalar:
    """x to a power that is not negative, by squaring."""
    result = scalar.constant(1, x.dtype)
    while exponent:
        if exponent & 1:
            result = result * x
        x, exponent = x * x, exponent >> 1
    return result


# ---------------------------------------------------------------- comparison, logic and selection


def equal(x: Scalar, y: Scalar, **_: Any) -> Scalar:
    """Whether x == y."""
    return scalar.eq(_rounded(x), _rounded(y))


def not_equal(x: Scalar, y: Scalar, **_: Any) -> Scalar:
    """Whether x != y."""
    return scalar.ne(_rounded(x), _rounded(y))


def _rounded(x: Scalar) -> Scalar:
    """A half as memory holds it.

    It is computed as float32, which has more digits: a maximum that was stored would not be equal to the element that
    it is the maximum of, computed once more. And float32 has a larger range, where 1e6 is no infinity.
    """
    return scalar.convert(scalar.relabel(x, dtypes.float32), x.dtype) if x.dtype in scalar.HALVES else x


def greater(x: Scalar, y: Scalar) -> Scalar:
    """Whether x > y."""
    return x > y


def greater_equal(x: Scalar, y: Scalar) -> Scalar:
    """Whether x >= y."""
    return x >= y


def approximate_equal(x: Scalar, y: Scalar, *, tolerance: float) -> Scalar:
    """Whether |x - y| < tolerance."""
    # The larger minus the smaller, so that unsigned integers do not wrap around.
    distance = scalar.maximum(x, y) - scalar.minimum(x, y)
    return (distance if distance.dtype.is_floating else scalar.convert(distance, dtypes.float64)) < tolerance


def is_nan(x: Scalar) -> Scalar:
    """Whether x is NaN."""
    return scalar.ne(x, x)


def is_inf(x: Scalar) -> Scalar:
    """Whether x is plus or minus infinity."""
    return scalar.eq(abs(_rounded(x)), math.inf)


def is_finite(x: Scalar) -> Scalar:
    """Whether x is neither infinite nor NaN."""
    return abs(_rounded(x)) < math.inf


def left_shift(x: Scalar, y: Scalar) -> Scalar:
    """The bits of x moved up by y places, at most the width less one."""
    return x << _shift_count(y)


def right_shift(x: Scalar, y: Scalar) -> Scalar:
    """The bits of x moved down by y places, at most the width less one."""
    return x >> _shift_count(y)


def _shift_count(y: Scalar) -> Scalar:
    return scalar.minimum(scalar.maximum(y, 0), 8 * y.dtype.size - 1)


# ---------------------------------------------------------------- casts


def cast(x: Scalar, *, DstT: DType, Truncate: bool) -> Scalar:
    """x in another dtype."""
    return scalar.convert(x, DstT)


def cast_like(x: Scalar, like: Scalar) -> Scalar:
    """x in the dtype of another, unless that is one of integers."""
    return scalar.convert(x, like.dtype) if like.dtype.is_floating else x
