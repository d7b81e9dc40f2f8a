"""What the primitives of the scalar language mean, in NumPy: functions of arrays, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tahr.core.dtypes import DType

Array = np.ndarray[Any, Any]


def _fma(x: Array, y: Array, z: Array) -> Array:
    """x * y + z, rounded about once: NumPy has no such function."""
    if x.dtype != np.float64:
        return (x.astype(np.float64) * y + z).astype(x.dtype)
    # The product's rounding error by Dekker's splitting, the sum's by Knuth's: T. J. Dekker, "A floating-point
    # technique for extending the available precision", Numer. Math. 18 (1971).
    product = x * y
    x_high, y_high = _leading(x), _leading(y)
    x_low, y_low = x - x_high, y - y_high
    lost = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    total = product + z
    kept = total - product
    missing = (product - (total - kept)) + (z - kept)
    corrected = total + (missing + lost)
    return np.where(np.isfinite(corrected), corrected, total)


def _leading(x: Array) -> Array:
    scaled = x * 134217729.0  # 2^27 + 1
    return scaled - (scaled - x)


def _quotient(x: Array, y: Array) -> Array:
    rounded_down, rest = np.divmod(x, y)
    toward_zero = rounded_down + ((rest != 0) & ((x < 0) != (y < 0))).astype(x.dtype)
    return np.where(y == 0, np.zeros_like(x), toward_zero)


def _float_to_integer(x: Array, dtype: np.dtype[Any]) -> Array:
    is_narrow = dtype.itemsize < 4 or dtype == np.int32
    wide: np.dtype[Any] = np.dtype(np.int32 if is_narrow else np.int64)
    half = 2.0 ** (8 * wide.itemsize - 1)
    fits = (x >= -half) & (x < half)
    result = np.where(fits, x, 0).astype(wide)
    result = np.where(fits, result, np.iinfo(wide).min).astype(dtype)
    if dtype == np.uint64:  # those that have the highest bit
        large = (x >= half) & (x < 2 * half)
        result = np.where(large, np.where(large, x, 0).astype(dtype), result)
    return result


def _convert(x: Array, source: DType, target: DType) -> Array:
    if source.is_floating and target.is_integer:
        return _float_to_integer(x, target.numpy)
    return x.astype(target.numpy)


def _relabel(x: Array, source: DType, target: DType) -> Array:
    return x


def _seldom(function: np.ufunc) -> Callable[..., Array]:
    """The meaning of `seldom`."""
    return lambda condition, usual, *operands: np.where(condition, function(*operands), usual)


def _bitcast(x: Array, source: DType, target: DType) -> Array:
    return np.ascontiguousarray(x).view(target.numpy).reshape(x.shape)


CASTS: dict[str, Callable[[Array, DType, DType], Array]] = {
    "convert": _convert,
    "bitcast": _bitcast,
    "relabel": _relabel,
}
"""The meaning of the casts, given the dtypes before and after."""

MEANING: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "quotient": _quotient,
    "remainder": np.fmod,
    "neg": np.negative,
    "abs": np.abs,
    "fma": _fma,
    "muladd": _fma,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "copysign": np.copysign,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shift_left": np.left_shift,
    "shift_right": np.right_shift,
    "select": np.where,
    "sin": _seldom(np.sin),
    "cos": _seldom(np.cos),
    "tan": _seldom(np.tan),
    "fmod": _seldom(np.fmod),
}
"""The primitives beside casts, leaves and constants."""
