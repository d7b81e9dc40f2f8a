"""The binary formats that functions of the scalar language are computed in, and how one is chosen by dtype.

float16 and bfloat16 are computed in float32. What is used most has formulas of its own for float32; the others compute
float32 in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar, bitcast, constant, convert, muladd

Function = Callable[..., Scalar]


class Format(NamedTuple):
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
        return bits_of(1.0, self)


# The parts of ln 2 are those of S. Moshier's Cephes library (float32) and of Sun's fdlibm (float64).
F32 = Format(
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
F64 = Format(
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


# ---------------------------------------------------------------- how a function is chosen by dtype


def _require_float(x: Scalar) -> None:
    if not x.dtype.is_floating:
        raise scalar.Unsupported(f"a function of {x.dtype.name}")


def of_floats(function: Function) -> Function:
    """A function of float32 and float64 as one of halves too."""

    @functools.wraps(function)
    def wrapper(*inputs: Scalar) -> Scalar:
        dtype = inputs[0].dtype
        _require_float(inputs[0])
        if dtype not in scalar.HALVES:
            return function(*inputs)
        return scalar.relabel(function(*(scalar.relabel(x, dtypes.float32) for x in inputs)), dtype)

    return wrapper


def in_float64(function: Function) -> Function:
    """A function of float64 as one of float32, which is told by `short` that it need not be exact to the last bit."""

    @functools.wraps(function)
    def wrapper(*inputs: Scalar) -> Scalar:
        if inputs[0].dtype is dtypes.float64:
            return function(*inputs, short=False)
        result = function(*(convert(x, dtypes.float64) for x in inputs), short=True)
        return convert(result, dtypes.float32)

    return of_floats(wrapper)


def format_of(x: Scalar) -> Format:
    """The format of a float32 or float64."""
    return F32 if x.dtype is dtypes.float32 else F64


def bits_of(value: float, form: Format) -> int:
    """A number's bits in a format, as an integer."""
    return bitcast(constant(value, form.dtype), form.bits).value


def polynomial(x: Scalar, coefficients: Sequence[float]) -> Scalar:
    """The polynomial with these coefficients, lowest power first, by Horner's rule."""
    result = constant(coefficients[-1], x.dtype)
    for coefficient in reversed(coefficients[:-1]):
        result = muladd(result, x, coefficient)
    return result
