"""Arithmetic, element by element, beside the functions of `logic` and `casts`; broadcasting is NumPy's.

Gradients are given per output element: the gradient driver sums them down to the shape of a broadcast input.
Where an input is complex the gradient is multiplied by the conjugate of the derivative, as in TensorFlow.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from tahr.core import dtypes, scalar, shapes, sizes, tensor_shapes
from tahr.core.convert import IndexedSlices, convert_to_tensor, dtype_of, weak_constant
from tahr.core.dtypes import COMPLEX, FLOATING, FLOATS, INTEGERS, NUMBERS, REALS, SIGNED, DType
from tahr.core.forms import ELEMENTWISE, Elementwise, NotZero
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import scalars_arithmetic
from tahr.ops.casts import (
    angle as angle,
    bitcast as bitcast,
    cast as cast,
    complex as complex,
    conj as conj,
    imag as imag,
    is_complex as is_complex,
    real as real,
    to_bfloat16 as to_bfloat16,
    to_complex64 as to_complex64,
    to_complex128 as to_complex128,
    to_double as to_double,
    to_float as to_float,
    to_int32 as to_int32,
    to_int64 as to_int64,
)
from tahr.ops.fills import ones_like, zeros_like
from tahr.ops.identities import identity
from tahr.ops.logic import (
    approximate_equal as approximate_equal,
    bitwise_and as bitwise_and,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    divide_between as divide_between,
    equal as equal,
    greater as greater,
    greater_equal as greater_equal,
    invert as invert,
    is_finite as is_finite,
    is_inf as is_inf,
    is_nan as is_nan,
    left_shift as left_shift,
    less as less,
    less_equal as less_equal,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    not_equal as not_equal,
    right_shift as right_shift,
    select as select,
    select_v2 as select_v2,
)
from tahr.ops.structural import add_n

_BINARY = "x: T, y: T -> z: T"
_UNARY = "x: T -> y: T"

_Pair = tuple[Tensor, Tensor]

# ---------------------------------------------------------------- sums and products

AddV2 = OpDef("AddV2", _BINARY, types={"T": NUMBERS}, form=Elementwise(np.add, scalar.add), shape_math=True)


@AddV2.gradient
def _add_v2_gradient(op: Operation, dz: Tensor) -> _Pair:
    return dz, dz


Add = OpDef(
    "Add",
    _BINARY,
    types={"T": NUMBERS | {dtypes.string}},
    form=Elementwise(np.add, scalar.add),
    shape_math=True,
)
Add.gradient(_add_v2_gradient)


@Add.kernel
def _add_kernel(x: Array, y: Array) -> Array:
    return np.asarray(np.add(x, y), dtype=x.dtype)  # for objects of rank 0 NumPy returns the bytes themselves


def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The sum x + y; strings are joined.

    Args:
        x, y: numbers or strings of one dtype, with shapes that broadcast.

    Raises:
        ValueError: the shapes do not broadcast.  TypeError: the dtypes differ.
    """
    return Add(x, y, name=name)


Sub = OpDef("Sub", _BINARY, types={"T": NUMBERS}, form=Elementwise(np.subtract, scalar.sub), shape_math=True)


@Sub.gradient
def _sub_gradient(op: Operation, dz: Tensor) -> _Pair:
    return dz, -dz


def subtract(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The difference x - y."""
    return Sub(x, y, name=name)


def sub(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The difference x - y: the old name of `subtract`."""
    return Sub(x, y, name=name)


Mul = OpDef("Mul", _BINARY, types={"T": NUMBERS}, form=Elementwise(np.multiply, scalar.mul), shape_math=True)


@Mul.gradient
def _mul_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = op.inputs
    return dz * conj(y), conj(x) * dz


def multiply(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The product x * y."""
    return Mul(x, y, name=name)


def mul(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The product x * y: the old name of `multiply`."""
    return Mul(x, y, name=name)


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor | IndexedSlices:
    """A scalar times a tensor, or times the rows of an IndexedSlices.

    Raises:
        ValueError: `scalar` is not of rank 0.
    """
    dtype = x.dtype.base_dtype if isinstance(x, IndexedSlices) else convert_to_tensor(x).spec.dtype
    factor = convert_to_tensor(scalar, dtype=dtype, name="scalar")
    if factor.spec.rank != 0:
        raise ValueError(f"Only scalar multiply works, got shape {factor.shape}")
    if isinstance(x, IndexedSlices):
        return IndexedSlices(Mul(factor, x.values, name=name), x.indices, x.dense_shape)
    return Mul(factor, x, name=name)


MulNoNan = OpDef(
    "MulNoNan", _BINARY, types={"T": FLOATING}, form=Elementwise(scalar=scalars_arithmetic.mul_no_nan)
)


@MulNoNan.kernel
def _mul_no_nan_kernel(x: Array, y: Array) -> Array:
    return np.where(y == 0, np.zeros_like(x), x * y)


@MulNoNan.expansion
def _mul_no_nan_expansion(x: Tensor, y: Tensor) -> Tensor:
    product = x * y
    return select_v2(equal(y, zeros_like(y)), zeros_like(product), product)


@MulNoNan.gradient
def _mul_no_nan_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = op.inputs
    return multiply_no_nan(dz, conj(y)), multiply_no_nan(conj(x), dz)


def multiply_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The product x * y, and 0 where y is 0, even if x is NaN or infinite."""
    return MulNoNan(x, y, name=name)


def accumulate_n(inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Tensor:
    """The sum of tensors of one shape and dtype, which may be given to be checked; see `add_n`.

    Raises:
        ValueError: `inputs` is empty, or a shape differs.  TypeError: a dtype differs from `tensor_dtype`.
    """
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise ValueError("inputs must be a list of at least one Tensor with the same dtype and shape")
    tensors = [convert_to_tensor(x, dtype=tensor_dtype) for x in inputs]
    for tensor in tensors if shape is not None else ():
        shapes.merge(tensor.spec.shape, tensor_shapes.as_shape(shape))
    if len(tensors) == 1:
        return tensors[0] if name is None else identity(tensors[0], name=name)
    return add_n(tensors, name=name)


# ---------------------------------------------------------------- quotients and remainders


def _check_divisor(y: Array) -> None:
    if y.dtype.kind in "iu" and not y.all():
        raise Complaint("Integer division by zero")


def _static_quotient(function: np.ufunc) -> Any:
    """A value rule for known dividends and divisors; a zero divisor is left to fail when it runs."""

    def rule(x: Spec, y: Spec) -> Array | None:
        if x.value is None or y.value is None or 0 in y.value.ravel().tolist():
            return None
        return np.asarray(function(x.value, y.value), dtype=object)

    return rule


# TensorFlow's op also lists integers, for which no kernel exists.
RealDiv = OpDef("RealDiv", _BINARY, types={"T": FLOATING}, form=Elementwise(np.true_divide, scalar.div))


@RealDiv.gradient
def _real_div_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = conj(op.inputs[0]), conj(op.inputs[1])
    return realdiv(dz, y), dz * realdiv(realdiv(-x, y), y)


def realdiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y of floating-point numbers, by IEEE 754: 1 / 0 is infinite, 0 / 0 is NaN."""
    return RealDiv(x, y, name=name)


# What integers are cast to before a true division; floating-point numbers stay.
_TRUE_DIVISION = {
    **dict.fromkeys((dtypes.uint8, dtypes.int8, dtypes.uint16, dtypes.int16), dtypes.float32),
    **dict.fromkeys((dtypes.int32, dtypes.int64, dtypes.uint32, dtypes.uint64), dtypes.float64),
}


def _of_one_dtype(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Two operands as tensors; the one that is none takes the dtype of the other, if it fits.

    Raises:
        TypeError: the dtypes differ.
    """
    if _has_dtype(y) and not _has_dtype(x):
        y_tensor, x_tensor = _beside(x, convert_to_tensor(y), "x")
    else:
        x_tensor, y_tensor = _beside(y, convert_to_tensor(x, name="x"), "y")
    return x_tensor, y_tensor


def _has_dtype(value: Any) -> bool:
    return isinstance(value, Tensor) or dtype_of(value) is not None


def _beside(value: Any, tensor: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """A tensor, and an operand next to it converted to its dtype where that fits."""
    dtype = tensor.spec.dtype
    if isinstance(value, (bool, int, float)) and dtype is None:
        return tensor, weak_constant(value, name)
    other = convert_to_tensor(value, preferred_dtype=dtype, name=name)
    if dtype is not None and other.spec.dtype is not None and other.spec.dtype is not dtype:
        raise TypeError(f"x and y must have the same dtype, got {dtype!r} and {other.dtype!r}")
    return tensor, other


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y as Python 3 means it.

    Integers are cast first: those of 8 and 16 bits to float32, others to float64.

    Raises:
        TypeError: the dtypes differ, or are not numeric.
    """
    with name_scope(name, "truediv", [x, y]) as scope:
        x, y = _of_one_dtype(x, y)
        dtype = _TRUE_DIVISION.get(x.spec.dtype or y.spec.dtype)  # pyright: ignore[reportArgumentType]
        if dtype is not None:
            x, y = cast(x, dtype), cast(y, dtype)
        return RealDiv(x, y, name=scope)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y as Python 3 means it; see `truediv`."""
    return truediv(x, y, name)


FloorDiv = OpDef(
    "FloorDiv", _BINARY, types={"T": NUMBERS}, form=Elementwise(scalar=scalars_arithmetic.floor_div)
)
FloorDiv.value(_static_quotient(np.floor_divide))
FloorDiv.not_differentiable()


@FloorDiv.kernel
def _floor_div_kernel(x: Array, y: Array) -> Array:
    _check_divisor(y)
    # NumPy's floor_divide of floats goes by way of the remainder, and so gives NaN for an infinite dividend.
    return np.floor_divide(x, y) if x.dtype.kind in "iu" else np.floor(x / y)


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y rounded towards minus infinity, as Python's `//`; same dtype.

    Raises:
        InvalidArgumentError: when it runs, for an integer divided by zero.
    """
    with name_scope(name, "floordiv", [x, y]) as scope:
        return FloorDiv(x, y, name=scope)


def floor_div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y rounded towards minus infinity; see `floordiv`."""
    return FloorDiv(x, y, name=name)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y as Python 2 meant it: integers are divided with `//`.

    Raises:
        TypeError: the dtypes differ.
    """
    with name_scope(name, "div", [x, y]) as scope:
        x, y = _of_one_dtype(x, y)
        dtype = x.spec.dtype or y.spec.dtype
        return (FloorDiv if dtype is not None and dtype.is_integer else RealDiv)(x, y, name=scope)


TruncateDiv = OpDef(
    "TruncateDiv", _BINARY, types={"T": REALS}, form=Elementwise(scalar=scalars_arithmetic.truncate_div)
)
TruncateDiv.not_differentiable()


@TruncateDiv.kernel
def _truncate_div_kernel(x: Array, y: Array) -> Array:
    _check_divisor(y)
    if x.dtype.kind not in "iu":
        return np.trunc(x / y)
    quotient, remainder = np.divmod(x, y)
    return quotient + ((remainder != 0) & ((x < 0) != (y < 0))).astype(x.dtype)


def truncatediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y rounded towards zero, as in C.

    Raises:
        InvalidArgumentError: when it runs, for an integer divided by zero.
    """
    return TruncateDiv(x, y, name=name)


# Python's functions never make this op; graphs from other programs hold it.
Div = OpDef("Div", _BINARY, types={"T": NUMBERS}, form=Elementwise(scalar=scalars_arithmetic.divide))
Div.gradient(_real_div_gradient)


@Div.kernel
def _div_kernel(x: Array, y: Array) -> Array:
    return _truncate_div_kernel(x, y) if x.dtype.kind in "iu" else x / y


FloorMod = OpDef(
    "FloorMod", _BINARY, types={"T": REALS}, form=Elementwise(scalar=scalars_arithmetic.floor_mod)
)
FloorMod.value(_static_quotient(np.mod))


@FloorMod.kernel
def _floor_mod_kernel(x: Array, y: Array) -> Array:
    _check_divisor(y)
    return np.mod(x, y)


@FloorMod.gradient
def _floor_mod_gradient(op: Operation, dz: Tensor) -> _Pair:
    # mod(x, y) = x - y * floor(x / y), and the floor is constant almost everywhere.
    x, y = op.inputs
    return dz, -dz * floor_div(x, y)


def floormod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The remainder of `floordiv`: it has the sign of the divisor, as Python's `%`.

    Raises:
        InvalidArgumentError: when it runs, for an integer divided by zero.
    """
    return FloorMod(x, y, name=name)


def mod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The remainder of `floordiv`; see `floormod`."""
    return FloorMod(x, y, name=name)


TruncateMod = OpDef(
    "TruncateMod", _BINARY, types={"T": REALS}, form=Elementwise(scalar=scalars_arithmetic.truncate_mod)
)


@TruncateMod.kernel
def _truncate_mod_kernel(x: Array, y: Array) -> Array:
    _check_divisor(y)
    return np.fmod(x, y)


def truncatemod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The remainder of `truncatediv`: it has the sign of the dividend, as in C. It has no gradient.

    Raises:
        InvalidArgumentError: when it runs, for an integer divided by zero.
    """
    return TruncateMod(x, y, name=name)


# An older op with the same meaning; Python's functions never make it.
Mod = OpDef("Mod", _BINARY, types={"T": REALS}, form=Elementwise(scalar=scalars_arithmetic.truncate_mod))
Mod.kernel(_truncate_mod_kernel)

INTEGER_DIVISIONS = frozenset({FloorDiv, TruncateDiv, Div, FloorMod, TruncateMod, Mod})
"""The ops for which a divisor that is 0 is an error, where they divide integers."""

# For what is compiled, where a function of one element cannot raise: a pass puts it in front of divisions.
CheckDivisor = OpDef(
    "CheckDivisor",
    "x: T, y: T -> output: T",
    types={"T": INTEGERS},
    form=NotZero(),
    aliases=(1,),
)
CheckDivisor.not_differentiable()


@CheckDivisor.shape
def _check_divisor_shape(x: Spec, y: Spec) -> Shape:
    return y.shape


@CheckDivisor.kernel
def _check_divisor_kernel(x: Array, y: Array) -> Array:
    _check_divisor(y)
    return y


DivNoNan = OpDef(
    "DivNoNan", _BINARY, types={"T": FLOATING}, form=Elementwise(scalar=scalars_arithmetic.div_no_nan)
)


@DivNoNan.kernel
def _div_no_nan_kernel(x: Array, y: Array) -> Array:
    return np.where(y == 0, np.zeros_like(x), x / y)


@DivNoNan.expansion
def _div_no_nan_expansion(x: Tensor, y: Tensor) -> Tensor:
    quotient = realdiv(x, y)
    return select_v2(equal(y, zeros_like(y)), zeros_like(quotient), quotient)


@DivNoNan.gradient
def _div_no_nan_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = conj(op.inputs[0]), conj(op.inputs[1])
    return div_no_nan(dz, y), dz * div_no_nan(div_no_nan(-x, y), y)


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The quotient x / y, and 0 where y is 0."""
    with name_scope(name, "div_no_nan", [x, y]) as scope:
        x, y = _of_one_dtype(x, y)
        return DivNoNan(x, y, name=scope)


def reciprocal_no_nan(x: Any, name: str | None = None) -> Tensor:
    """The reciprocal 1 / x, and 0 where x is 0."""
    with name_scope(name, "reciprocal_no_nan", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        return DivNoNan(ones_like(x), x, name=scope)


# ---------------------------------------------------------------- sign and magnitude

Neg = OpDef(
    "Neg", _UNARY, types={"T": FLOATING | SIGNED}, form=Elementwise(np.negative, scalar.neg), shape_math=True
)


@Neg.gradient
def _neg_gradient(op: Operation, dy: Tensor) -> Tensor:
    return -dy


def negative(x: Any, name: str | None = None) -> Tensor:
    """The negative -x."""
    return Neg(x, name=name)


def neg(x: Any, name: str | None = None) -> Tensor:
    """The negative -x: the old name of `negative`."""
    return Neg(x, name=name)


Abs = OpDef("Abs", _UNARY, types={"T": FLOATS | SIGNED}, form=Elementwise(np.absolute, scalar.absolute))


@Abs.gradient
def _abs_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy * sign(op.inputs[0])


ComplexAbs = OpDef(
    "ComplexAbs", "x: T -> y: Tout", attrs={"Tout": dtypes.float32}, types={"T": COMPLEX}, form=ELEMENTWISE
)


@ComplexAbs.kernel
def _complex_abs_kernel(x: Array, *, Tout: DType) -> Array:
    return np.absolute(x)


@ComplexAbs.gradient
def _complex_abs_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = op.outputs[0]
    return div_no_nan(complex(dy, zeros_like(dy)) * op.inputs[0], complex(y, zeros_like(y)))


def abs(x: Any, name: str | None = None) -> Tensor:
    """The absolute value; of a complex number, a real one. The gradient at 0 is 0."""
    with name_scope(name, "Abs", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if is_complex(x):
            return ComplexAbs(x, Tout=x.dtype.real_dtype, name=scope)
        return Abs(x, name=scope)


Sign = OpDef("Sign", _UNARY, types={"T": FLOATING | SIGNED}, form=Elementwise(scalar=scalars_arithmetic.sign))


@Sign.kernel
def _sign_kernel(x: Array) -> Array:
    if x.dtype.kind != "c":
        return np.sign(x)
    # NumPy 1 has another sign of complex numbers than NumPy 2.
    magnitude = np.absolute(x)
    return np.where(magnitude == 0, np.zeros_like(x), x / magnitude)


@Sign.gradient
def _sign_gradient(op: Operation, dy: Tensor) -> Tensor:
    return zeros_like(dy)


def sign(x: Any, name: str | None = None) -> Tensor:
    """-1, 0 or 1; z / |z| for complex z; NaN for NaN. The gradient is 0 everywhere."""
    return Sign(x, name=name)


Maximum = OpDef("Maximum", _BINARY, types={"T": REALS}, form=Elementwise(np.maximum, scalar.maximum))


@Maximum.value
def _maximum_value(x: Spec, y: Spec) -> Array | None:
    return _each_dim(sizes.maximum, x, y)


def _each_dim(function: Any, x: Spec, y: Spec) -> Array | None:
    if x.value is None or y.value is None:
        return None
    return np.asarray(np.frompyfunc(function, 2, 1)(x.value, y.value), dtype=object)


@Maximum.gradient
def _maximum_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = op.inputs
    return divide_between(x >= y, dz)


def maximum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The larger of x and y; NaN where either is. In a tie the gradient goes to x."""
    return Maximum(x, y, name=name)


Minimum = OpDef("Minimum", _BINARY, types={"T": REALS}, form=Elementwise(np.minimum, scalar.minimum))


@Minimum.value
def _minimum_value(x: Spec, y: Spec) -> Array | None:
    return _each_dim(sizes.minimum, x, y)


@Minimum.gradient
def _minimum_gradient(op: Operation, dz: Tensor) -> _Pair:
    x, y = op.inputs
    return divide_between(x <= y, dz)


def minimum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The smaller of x and y; NaN where either is. In a tie the gradient goes to x."""
    return Minimum(x, y, name=name)


def clip_by_value(
    t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None
) -> Tensor | IndexedSlices:
    """The values of `t`, moved to the nearer end where they lie outside [clip_value_min, clip_value_max].

    Args:
        t: a tensor, or an IndexedSlices, whose rows are clipped.
        clip_value_min, clip_value_max: scalars, or tensors that broadcast to the shape of `t`.

    Raises:
        ValueError: a bound does not broadcast to the shape of `t`.
    """
    with name_scope(name, "clip_by_value", [t, clip_value_min, clip_value_max]) as scope:
        values = convert_to_tensor(t.values if isinstance(t, IndexedSlices) else t, name="t")
        below = minimum(values, clip_value_max)
        shapes.merge(values.spec.shape, below.spec.shape)
        clipped = maximum(below, clip_value_min, name=scope)
        shapes.merge(values.spec.shape, clipped.spec.shape)
    return IndexedSlices(clipped, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else clipped


# ---------------------------------------------------------------- rounding

Floor = OpDef(
    "Floor", _UNARY, types={"T": FLOATS}, form=Elementwise(np.floor, scalar.floor)
).not_differentiable()


def floor(x: Any, name: str | None = None) -> Tensor:
    """The largest integer that is not above x, in the dtype of x."""
    return Floor(x, name=name)


Ceil = OpDef("Ceil", _UNARY, types={"T": FLOATS}, form=Elementwise(np.ceil, scalar.ceil)).not_differentiable()


def ceil(x: Any, name: str | None = None) -> Tensor:
    """The smallest integer that is not below x, in the dtype of x."""
    return Ceil(x, name=name)


Rint = OpDef("Rint", _UNARY, types={"T": FLOATS}, form=Elementwise(np.rint, scalar.rint)).not_differentiable()


def rint(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, the even one of two equally near, in the dtype of x."""
    return Rint(x, name=name)


Round = OpDef(
    "Round",
    _UNARY,
    types={"T": FLOATING | SIGNED},
    form=Elementwise(scalar=scalars_arithmetic.round_half_even),
).not_differentiable()


@Round.kernel
def _round_kernel(x: Array) -> Array:
    return np.positive(x) if x.dtype.kind == "i" else np.rint(x)


def round(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, the even one of two equally near, in the dtype of x."""
    x = convert_to_tensor(x, name="x")
    return x if x.spec.dtype is not None and x.spec.dtype.is_integer else Round(x, name=name)


# ---------------------------------------------------------------- casts within limits


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """Casts to another dtype; values outside its range become its smallest or largest value."""
    with name_scope(name, "saturate_cast", [value]) as scope:
        value = convert_to_tensor(value, name="value")
        wanted = dtypes.as_dtype(dtype).base_dtype
        found = value.dtype.base_dtype
        if found.min < wanted.min:
            value = maximum(value, convert_to_tensor(_within(wanted.min, found), found, name="min"))
        if found.max > wanted.max:
            value = minimum(value, convert_to_tensor(_within(wanted.max, found), found, name="max"))
        return cast(value, wanted, name=scope)


def _within(limit: Any, dtype: DType) -> Array:
    """A limit as a value of a wider dtype: rounded towards zero, since float32(2**31 - 1) is 2**31."""
    value = np.asarray(limit, dtype=dtype.numpy)
    if dtype.is_floating and builtins.abs(int(value)) > builtins.abs(int(limit)):
        value = np.nextafter(value, np.zeros_like(value))
    return value
