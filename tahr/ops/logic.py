"""Comparison, logic, selection and bits, element by element; broadcasting is NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import scalar, shapes
from tahr.core.dtypes import FLOATS, INTEGERS, NUMBERS, REALS
from tahr.core.forms import Elementwise
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import scalars_arithmetic
from tahr.ops.fills import zeros_like
from tahr.ops.shaping import reshape

_COMPARE = "x: T, y: T -> z: bool"
_TEST = "x: T -> y: bool"
_BITS = "x: T, y: T -> z: T"

# ---------------------------------------------------------------- comparison

_EQUALITY: dict[str, Any] = {"incompatible_shape_error": True}

Equal = OpDef(
    "Equal", _COMPARE, attrs=_EQUALITY, form=Elementwise(np.equal, scalars_arithmetic.equal)
).not_differentiable()


def equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x == y; NaN equals nothing. Any dtype."""
    return Equal(x, y, name=name)


NotEqual = OpDef(
    "NotEqual", _COMPARE, attrs=_EQUALITY, form=Elementwise(np.not_equal, scalars_arithmetic.not_equal)
).not_differentiable()


def not_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x != y. Any dtype."""
    return NotEqual(x, y, name=name)


Less = OpDef("Less", _COMPARE, types={"T": REALS}, form=Elementwise(np.less, scalar.lt)).not_differentiable()


def less(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x < y."""
    return Less(x, y, name=name)


LessEqual = OpDef("LessEqual", _COMPARE, types={"T": REALS}, form=Elementwise(np.less_equal, scalar.le))
LessEqual.not_differentiable()


def less_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x <= y."""
    return LessEqual(x, y, name=name)


Greater = OpDef(
    "Greater", _COMPARE, types={"T": REALS}, form=Elementwise(np.greater, scalars_arithmetic.greater)
).not_differentiable()


def greater(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x > y."""
    return Greater(x, y, name=name)


GreaterEqual = OpDef(
    "GreaterEqual",
    _COMPARE,
    types={"T": REALS},
    form=Elementwise(np.greater_equal, scalars_arithmetic.greater_equal),
)
GreaterEqual.not_differentiable()


def greater_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x >= y."""
    return GreaterEqual(x, y, name=name)


ApproximateEqual = OpDef(
    "ApproximateEqual",
    _COMPARE,
    attrs={"tolerance": 1e-5},
    types={"T": NUMBERS},
    form=Elementwise(scalar=scalars_arithmetic.approximate_equal),
).not_differentiable()


@ApproximateEqual.shape
def _approximate_equal_shape(x: Spec, y: Spec, *, tolerance: float) -> Shape:
    return shapes.merge(x.shape, y.shape)


@ApproximateEqual.kernel
def _approximate_equal_kernel(x: Array, y: Array, *, tolerance: float) -> Array:
    if x.shape != y.shape:
        raise Complaint(
            f"x and y must be of the same shape. x shape: {list(x.shape)}. y shape: {list(y.shape)}"
        )
    # The larger minus the smaller, so that unsigned integers do not wrap around.
    distance = np.absolute(x - y) if x.dtype.kind == "c" else np.maximum(x, y) - np.minimum(x, y)
    return distance < tolerance


def approximate_equal(x: Any, y: Any, tolerance: float = 1e-5, name: str | None = None) -> Tensor:
    """Whether |x - y| < tolerance, for tensors of one shape."""
    return ApproximateEqual(x, y, tolerance=tolerance, name=name)


IsNan = OpDef(
    "IsNan", _TEST, types={"T": FLOATS}, form=Elementwise(np.isnan, scalars_arithmetic.is_nan)
).not_differentiable()


def is_nan(x: Any, name: str | None = None) -> Tensor:
    """Whether x is NaN."""
    return IsNan(x, name=name)


IsInf = OpDef(
    "IsInf", _TEST, types={"T": FLOATS}, form=Elementwise(np.isinf, scalars_arithmetic.is_inf)
).not_differentiable()


def is_inf(x: Any, name: str | None = None) -> Tensor:
    """Whether x is plus or minus infinity."""
    return IsInf(x, name=name)


IsFinite = OpDef(
    "IsFinite", _TEST, types={"T": FLOATS}, form=Elementwise(np.isfinite, scalars_arithmetic.is_finite)
).not_differentiable()


def is_finite(x: Any, name: str | None = None) -> Tensor:
    """Whether x is neither infinite nor NaN."""
    return IsFinite(x, name=name)


# ---------------------------------------------------------------- logic and selection

_LOGIC = "x: bool, y: bool -> z: bool"

LogicalAnd = OpDef("LogicalAnd", _LOGIC, form=Elementwise(np.logical_and, scalar.and_)).not_differentiable()


def logical_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x and y are true."""
    return LogicalAnd(x, y, name=name)


LogicalOr = OpDef("LogicalOr", _LOGIC, form=Elementwise(np.logical_or, scalar.or_)).not_differentiable()


def logical_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether x or y or both are true."""
    return LogicalOr(x, y, name=name)


LogicalNot = OpDef(
    "LogicalNot", "x: bool -> y: bool", form=Elementwise(np.logical_not, scalar.not_)
).not_differentiable()


def logical_not(x: Any, name: str | None = None) -> Tensor:
    """Whether x is false."""
    return LogicalNot(x, name=name)


def logical_xor(x: Any, y: Any, name: str | None = "LogicalXor") -> Tensor:
    """Whether exactly one of x and y is true."""
    return logical_and(logical_or(x, y), logical_not(logical_and(x, y)), name=name)


def divide_between(first: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient to the first input where it was chosen, which it is in a tie, and else to the second."""
    zeros = zeros_like(dz)
    return select_v2(first, dz, zeros), select_v2(first, zeros, dz)


SelectV2 = OpDef(
    "SelectV2", "condition: bool, t: T, e: T -> output: T", form=Elementwise(scalar=scalar.select)
)


@SelectV2.kernel
def _select_v2_kernel(condition: Array, t: Array, e: Array) -> Array:
    return np.where(condition, t, e)


@SelectV2.gradient
def _select_v2_gradient(op: Operation, dy: Tensor) -> tuple[None, Tensor, Tensor]:
    return None, *divide_between(op.inputs[0], dy)


def select_v2(condition: Any, t: Any, e: Any, name: str | None = None) -> Tensor:
    """`t` where the condition holds and `e` elsewhere; the three broadcast.

    Args:
        condition: bool.
        t, e: tensors of one dtype.
    """
    return SelectV2(condition, t, e, name=name)


Select = OpDef("Select", "condition: bool, t: T, e: T -> output: T")


@Select.shape
def _select_shape(condition: Spec, t: Spec, e: Spec) -> Shape:
    shape = shapes.merge(t.shape, e.shape)
    mask = condition.shape
    if mask is None or len(mask) == 0:
        return shape
    if len(mask) > 1:
        return shapes.merge(shape, mask)
    if shape is None:
        return None  # a vector of conditions may choose among rows
    if not shape:
        raise ValueError(f"Shape must be rank 0 but is rank 1: the condition {shapes.show(mask)}")
    return (shapes.merge_dims(mask[0], shape[0]), *shape[1:])


@Select.kernel
def _select_kernel(condition: Array, t: Array, e: Array) -> Array:
    if t.shape != e.shape:
        raise Complaint(f"'then' and 'else' must have the same size, but received: {t.shape} vs. {e.shape}")
    if condition.shape == t.shape or condition.ndim == 0:
        return np.where(condition, t, e)
    if condition.ndim != 1 or t.ndim == 0 or condition.size != t.shape[0]:
        raise Complaint(
            f"'condition' must have the shape of 'then', {t.shape}, or be a scalar or a vector with one "
            f"element for each row, but has the shape {condition.shape}"
        )
    return np.where(condition.reshape(-1, *[1] * (t.ndim - 1)), t, e)


@Select.expansion
def _select_expansion(condition: Tensor, t: Tensor, e: Tensor) -> Tensor:
    rank = t.spec.rank or 0
    if condition.spec.rank == 1 and rank > 1:
        condition = reshape(condition, [-1] + [1] * (rank - 1))
    return SelectV2(condition, t, e)


@Select.gradient
def _select_gradient(op: Operation, dy: Tensor) -> tuple[None, Tensor, Tensor]:
    condition, t, _ = op.inputs
    zeros = zeros_like(t)
    return None, select(condition, dy, zeros), select(condition, zeros, dy)


def select(condition: Any, x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x` where the condition holds and `y` elsewhere, without broadcasting: the three-argument `tf.where`.

    Args:
        condition: bool, of the shape of `x`; or a scalar; or a vector that chooses rows of `x` and `y`.
        x, y: tensors of one dtype and shape.

    Raises:
        ValueError: the shapes do not fit.
    """
    return Select(condition, x, y, name=name)


# ---------------------------------------------------------------- bits

BitwiseAnd = OpDef("BitwiseAnd", _BITS, types={"T": INTEGERS}, form=Elementwise(np.bitwise_and, scalar.and_))
BitwiseAnd.not_differentiable()


def bitwise_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The bits that are set in both integers."""
    return BitwiseAnd(x, y, name=name)


BitwiseOr = OpDef("BitwiseOr", _BITS, types={"T": INTEGERS}, form=Elementwise(np.bitwise_or, scalar.or_))
BitwiseOr.not_differentiable()


def bitwise_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The bits that are set in either integer."""
    return BitwiseOr(x, y, name=name)


BitwiseXor = OpDef("BitwiseXor", _BITS, types={"T": INTEGERS}, form=Elementwise(np.bitwise_xor, scalar.xor))
BitwiseXor.not_differentiable()


def bitwise_xor(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The bits that are set in exactly one of the integers."""
    return BitwiseXor(x, y, name=name)


Invert = OpDef(
    "Invert", "x: T -> y: T", types={"T": INTEGERS}, form=Elementwise(np.invert, scalar.not_)
).not_differentiable()


def invert(x: Any, name: str | None = None) -> Tensor:
    """Every bit of an integer flipped."""
    return Invert(x, name=name)


def _shift_count(y: Array) -> Array:
    # A shift by less than 0 bits, or by the width, is undefined in C; TensorFlow takes the nearest other.
    return np.clip(y, 0, 8 * y.dtype.itemsize - 1).astype(y.dtype)


LeftShift = OpDef(
    "LeftShift", _BITS, types={"T": INTEGERS}, form=Elementwise(scalar=scalars_arithmetic.left_shift)
).not_differentiable()


@LeftShift.kernel
def _left_shift_kernel(x: Array, y: Array) -> Array:
    return np.left_shift(x, _shift_count(y))


def left_shift(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The bits of x moved to the left by y places, at most the width less one."""
    return LeftShift(x, y, name=name)


RightShift = OpDef(
    "RightShift", _BITS, types={"T": INTEGERS}, form=Elementwise(scalar=scalars_arithmetic.right_shift)
).not_differentiable()


@RightShift.kernel
def _right_shift_kernel(x: Array, y: Array) -> Array:
    return np.right_shift(x, _shift_count(y))


def right_shift(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The bits of x moved to the right by y places, at most the width less one; the sign is kept."""
    return RightShift(x, y, name=name)
