"""Operations that check values while a graph runs: Assert and what is made of it, and CheckNumerics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from tahr import errors
from tahr.core import convert, dtypes, scopes, shapes
from tahr.core.dtypes import FLOATS, DType
from tahr.core.forms import Check, Finite
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import CHECKS, REQUIRED, Array, OpDef
from tahr.core.shapes import Spec
from tahr.ops import control_flow, elementwise, logic, reductions, shaping, structural
from tahr.ops.printing import summary
from tahr.ops.shaping import same_shape

# ---------------------------------------------------------------- Assert

Assert = OpDef(
    "Assert",
    "condition: bool, data: [T] ->",
    attrs={"T": REQUIRED, "summarize": 3},
    effects=CHECKS,
    form=Check(),
).not_differentiable()


@Assert.shape
def _assert_shape(condition: Spec, *data: Spec, T: list[DType], summarize: int) -> None:
    shapes.dims(condition.shape, 0)


@Assert.kernel
def _assert_kernel(condition: Array, *data: Array, T: list[DType], summarize: int) -> tuple[()]:
    if not bool(condition):
        raise errors.Complaint(
            "assertion failed: " + " ".join(summary(np.asarray(d), summarize) for d in data)
        )
    return ()


def assert_(
    condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None
) -> Operation:
    """An operation that fails unless a condition holds.

    Args:
        condition: a bool scalar.
        data: tensors and strings to show where it fails.
        summarize: how many elements of each to show: 3 by default, all if negative.
        name: the name scope.

    Raises:
        ValueError: there are no data.  InvalidArgumentError: when run: "assertion failed".
    """
    with scopes.name_scope(name, "Assert", [condition, *data]):
        tensors = [convert.convert_to_tensor(d, name=f"data_{i}") for i, d in enumerate(data)]
        if not tensors:
            raise ValueError("Attr 'T' of 'Assert' Op passed list of length 0 less than minimum 1.")
        types = [t.spec.dtype for t in tensors]
        return Assert(condition, tensors, T=types, summarize=3 if summarize is None else summarize)


# ---------------------------------------------------------------- comparisons that must hold

_Comparison = Callable[[Any, Any], Tensor]
_OK = "static_checks_determined_all_ok"


def _check(
    symbol: str,
    op_name: str,
    compare: _Comparison,
    x: Any,
    y: Any,
    data: Sequence[Any] | None,
    summarize: int | None,
    message: str | None,
    name: str | None,
) -> Operation:
    """Asserts that a comparison holds element by element; fails at once where both values are known now."""
    with scopes.name_scope(name, op_name, [x, y, *(data or ())]):
        x, y = _pair(x, y)
        if data is None:
            data = [
                f"Condition x {symbol} y did not hold element-wise:",
                f"x ({x.name}) = ",
                x,
                f"y ({y.name}) = ",
                y,
            ]
            data = [message, *data] if message is not None else data
        return _assert_all(compare(x, y), data, summarize, _static(compare, x, y))


def _pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(x, Tensor) and convert.dtype_of(x) is None:
        y = convert.convert_to_tensor(y, name="y")
        return convert.convert_to_tensor(x, preferred_dtype=y.spec.dtype, name="x"), y
    x = convert.convert_to_tensor(x, name="x")
    return x, convert.convert_to_tensor(y, preferred_dtype=x.spec.dtype, name="y")


def _static(compare: _Comparison, x: Tensor, y: Tensor) -> bool | None:
    """Whether a comparison of known values holds everywhere; None where they are not known."""
    known = convert.constant_value(x), convert.constant_value(y)
    return None if known[0] is None or known[1] is None else bool(np.all(_STATIC[compare](*known)))


_STATIC: dict[_Comparison, Callable[[Any, Any], Any]] = {
    logic.equal: np.equal,
    logic.not_equal: np.not_equal,
    logic.less: np.less,
    logic.less_equal: np.less_equal,
    logic.greater: np.greater,
    logic.greater_equal: np.greater_equal,
}


def _assert_all(
    condition: Tensor, data: Sequence[Any], summarize: int | None, holds: bool | None = None
) -> Operation:
    if holds is False:
        raise errors.InvalidArgumentError(None, None, "\n".join(_static_text(d) for d in data))
    return assert_(reductions.reduce_all(condition), data, summarize)


def _static_text(item: Any) -> str:
    known = convert.constant_value(item)
    return str(item) if known is None else str(known)


def assert_equal(
    x: Any,
    y: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless x == y, element by element.

    Args:
        x: any tensor.
        y: a tensor of the same dtype, broadcast with x.
        data: what to show where it fails; x and y by default.
        summarize: how many elements of each to show.
        message: what to say first.
        name: the name scope.

    Raises:
        InvalidArgumentError: it does not hold: now, where both values are known, or else when run.
    """
    return _check("==", "assert_equal", logic.equal, x, y, data, summarize, message, name)


def assert_none_equal(
    x: Any,
    y: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless x != y in every element. Arguments as in `assert_equal`."""
    return _check("!=", "assert_none_equal", logic.not_equal, x, y, data, summarize, message, name)


def assert_less(
    x: Any,
    y: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless x < y in every element. Arguments as in `assert_equal`."""
    return _check("<", "assert_less", logic.less, x, y, data, summarize, message, name)


def assert_less_equal(
    x: Any,
    y: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless x <= y in every element. Arguments as in `assert_equal`."""
    return _check("<=", "assert_less_equal", logic.less_equal, x, y, data, summarize, message, name)


def assert_greater(
    x: Any,
    y: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless x > y in every element. Arguments as in `assert_equal`."""
    return _check(">", "assert_greater", logic.greater, x, y, data, summarize, message, name)


def assert_greater_equal(
    x: Any,
    y: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless x >= y in every element. Arguments as in `assert_equal`."""
    return _check(">=", "assert_greater_equal", logic.greater_equal, x, y, data, summarize, message, name)


def assert_near(
    x: Any,
    y: Any,
    rtol: Any = None,
    atol: Any = None,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless |x - y| <= atol + rtol * |y| in every element.

    Args:
        x: a floating tensor.
        y: a tensor of the same dtype, broadcast with x.
        rtol: the relative tolerance; ten times the dtype's epsilon by default.
        atol: the absolute tolerance; the same by default.
        data: what to show where it fails; x and y by default.
        summarize: how many elements of each to show.
        message: what to say first.
        name: the name scope.
    """
    with scopes.name_scope(name, "assert_near", [x, y, rtol, atol, *(data or ())]):
        x, y = _pair(x, y)
        dtype = x.dtype.base_dtype
        default = 10 * float(ml_dtypes.finfo(dtype.real_dtype.numpy).eps)
        rtol, atol = (
            convert.convert_to_tensor(default if t is None else t, dtype=dtype.real_dtype, name=n)
            for t, n in ((rtol, "rtol"), (atol, "atol"))
        )
        if data is None:
            data = [
                message or "",
                f"x and y not equal to tolerance rtol = {rtol}, atol = {atol}",
                f"x ({x.name}) = ",
                x,
                f"y ({y.name}) = ",
                y,
            ]
        bound = elementwise.add(atol, elementwise.multiply(rtol, elementwise.abs(y)))
        return _assert_all(
            logic.less_equal(elementwise.abs(elementwise.subtract(x, y)), bound), data, summarize
        )


def _check_sign(
    symbol: str,
    compare: _Comparison,
    op_name: str,
    x: Any,
    data: Any,
    summarize: int | None,
    message: str | None,
    name: str | None,
) -> Operation:
    with scopes.name_scope(name, op_name, [x, *(data or ())]):
        x = convert.convert_to_tensor(x, name="x")
        if data is None:
            data = [
                message or "",
                f"Condition x {symbol} 0 did not hold element-wise:",
                f"x ({x.name}) = ",
                x,
            ]
        zero = convert.convert_to_tensor(0, dtype=x.spec.dtype, name="zero")
        return _assert_all(compare(x, zero), data, summarize, _static(compare, x, zero))


def assert_positive(
    x: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless every element is > 0. Arguments as in `assert_equal`."""
    return _check_sign(">", logic.greater, "assert_positive", x, data, summarize, message, name)


def assert_negative(
    x: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless every element is < 0. Arguments as in `assert_equal`."""
    return _check_sign("<", logic.less, "assert_negative", x, data, summarize, message, name)


def assert_non_negative(
    x: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless every element is >= 0. Arguments as in `assert_equal`."""
    return _check_sign(">=", logic.greater_equal, "assert_non_negative", x, data, summarize, message, name)


def assert_non_positive(
    x: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless every element is <= 0. Arguments as in `assert_equal`."""
    return _check_sign("<=", logic.less_equal, "assert_non_positive", x, data, summarize, message, name)


# ---------------------------------------------------------------- ranks and types that must hold


def _check_rank(
    op_name: str,
    phrase: str,
    fits: Callable[[int, list[int]], bool],
    condition: Callable[[Tensor, list[Tensor]], Tensor],
    x: Any,
    ranks: Sequence[Any],
    data: Any,
    summarize: int | None,
    message: str | None,
    name: str | None,
) -> Operation:
    """Asserts something of a tensor's rank; now, where the rank is known."""
    with scopes.name_scope(name, op_name, [x, *ranks, *(data or ())]):
        x = convert.convert_to_tensor(x, name="x")
        wanted = [convert.convert_to_tensor(r, dtype=dtypes.int32, name="rank") for r in ranks]
        if any(r.spec.shape not in ((), None) for r in wanted):
            raise ValueError("Rank must be a scalar.")
        lead = f"{message}.  " if message else ""
        known = [convert.constant_value(r) for r in wanted]
        if x.spec.rank is not None and all(k is not None for k in known):
            values = [int(k) for k in known]  # pyright: ignore[reportArgumentType]
            if not fits(x.spec.rank, values):
                shown = values[0] if len(values) == 1 else tuple(values)
                raise ValueError(
                    f"{lead}Tensor {x.name} must have rank {phrase}{shown}.  "
                    f"Received rank {x.spec.rank}, shape {x.shape}"
                )
            return control_flow.no_op(_OK)
        if data is None:
            text = f"Tensor {x.name} must have rank {phrase}".rstrip()
            data = [lead, text, *wanted, "Received shape: ", structural.shape(x)]
        return assert_(condition(structural.rank(x), wanted), data, summarize)


def assert_rank(
    x: Any,
    rank: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless a tensor has a given rank.

    Args:
        x: any tensor.
        rank: the rank, an int32 scalar.
        data: what to show where it fails.
        summarize: how many elements of each to show.
        message: what to say first.
        name: the name scope.

    Raises:
        ValueError: the rank is known now, and another.  InvalidArgumentError: when run: it is another.
    """
    return _check_rank(
        "assert_rank",
        "",
        lambda found, wanted: found == wanted[0],
        lambda found, wanted: logic.equal(found, wanted[0]),
        x,
        [rank],
        data,
        summarize,
        message,
        name,
    )


def assert_rank_at_least(
    x: Any,
    rank: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless a tensor has a given rank or a higher one. Arguments as in `assert_rank`."""
    return _check_rank(
        "assert_rank_at_least",
        "at least ",
        lambda found, wanted: found >= wanted[0],
        lambda found, wanted: logic.greater_equal(found, wanted[0]),
        x,
        [rank],
        data,
        summarize,
        message,
        name,
    )


def assert_rank_in(
    x: Any,
    ranks: Sequence[Any],
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless a tensor has one of some ranks. Arguments as in `assert_rank`."""
    return _check_rank(
        "assert_rank_in",
        "in ",
        lambda found, wanted: found in wanted,
        lambda found, wanted: reductions.reduce_any(logic.equal(found, wanted)),
        x,
        ranks,
        data,
        summarize,
        message,
        name,
    )


def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> Operation:
    """Checks a tensor's dtype now, and gives an operation that does nothing.

    Raises:
        TypeError: it is another.
    """
    with scopes.name_scope(name, "assert_type", [tensor]):
        tensor = convert.convert_to_tensor(tensor, name="tensor")
        if tensor.dtype.base_dtype is not dtypes.as_dtype(tf_type):
            lead = f"{message}  " if message else ""
            raise TypeError(
                f"{lead}{tensor.name} must be of type {dtypes.as_dtype(tf_type)!r}; got {tensor.dtype!r}"
            )
        return control_flow.no_op("statically_determined_correct_type")


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """Checks now that a tensor is of an integer dtype, and gives an operation that does nothing.

    Raises:
        TypeError: it is not.
    """
    with scopes.name_scope(name, "assert_integer", [x]):
        x = convert.convert_to_tensor(x, name="x")
        if not x.dtype.is_integer:
            lead = f"{message}  " if message else ""
            raise TypeError(f'{lead}Expected "x" to be integer type.  Found: {x.name} of dtype {x.dtype}')
        return control_flow.no_op("statically_determined_was_integer")


def assert_scalar(tensor: Any, name: str | None = None, message: str | None = None) -> Tensor:
    """Checks now that a tensor's static shape, as far as it is known, is a scalar's, and returns it.

    Raises:
        ValueError: it is not.
    """
    with scopes.name_scope(name, "assert_scalar", [tensor]):
        tensor = convert.convert_to_tensor(tensor, name="tensor")
        if tensor.spec.shape not in ((), None):
            lead = f"{message}  " if message else ""
            raise ValueError(f"{lead}Expected scalar shape for {tensor.name}, saw shape: {tensor.shape}.")
        return tensor


def assert_proper_iterable(values: Any) -> None:
    """Checks that something is a collection: iterable, but no tensor, array or string.

    Raises:
        TypeError: it is not.
    """
    if isinstance(values, (Tensor, np.ndarray, bytes, str)):
        raise TypeError(f'Expected argument "values" to be a "proper" iterable.  Found: {type(values)}')
    if not hasattr(values, "__iter__"):
        raise TypeError(f'Expected argument "values" to be iterable.  Found: {type(values)}')


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether something is a tensor of numbers; bool is none."""
    return isinstance(tensor, Tensor) and tensor.spec.dtype in dtypes.NUMBERS


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Whether no element is smaller than the one before it, in row-major order: a bool scalar."""
    with scopes.name_scope(name, "is_non_decreasing", [x]):
        return reductions.reduce_all(logic.less_equal(*_neighbours(x)))


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Whether every element is greater than the one before it, in row-major order: a bool scalar."""
    with scopes.name_scope(name, "is_strictly_increasing", [x]):
        return reductions.reduce_all(logic.less(*_neighbours(x)))


def _neighbours(x: Any) -> tuple[Tensor, Tensor]:
    """All elements but the last, and all but the first."""
    flat = structural.reshape(convert.convert_to_tensor(x, name="x"), [-1])
    return flat[:-1], flat[1:]


# ---------------------------------------------------------------- CheckNumerics

CheckNumerics = OpDef(
    "CheckNumerics",
    "tensor: T -> output: T",
    attrs={"message": REQUIRED},
    types={"T": FLOATS},
    form=Finite(),
    effects=CHECKS,
    aliases=(0,),
)
CheckNumerics.shape(same_shape)


@CheckNumerics.kernel
def _check_numerics_kernel(x: Array, *, message: str) -> Array:
    has_nan, has_inf = bool(np.isnan(x).any()), bool(np.isinf(x).any())
    if has_nan or has_inf:
        what = "Inf and NaN" if has_nan and has_inf else "NaN" if has_nan else "Inf"
        raise errors.Complaint(f"{message} : Tensor had {what} values")
    return x


@CheckNumerics.gradient
def _check_numerics_gradient(op: Operation, dy: Tensor) -> Tensor:
    message = f"Not a number (NaN) or infinity (Inf) values detected in gradient. {op.attrs['message']}"
    return check_numerics(dy, message)


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """The same tensor, unless it holds NaN or Inf.

    Args:
        tensor: a floating tensor.
        message: how the error's text begins.
        name: the operation's name.

    Raises:
        InvalidArgumentError: when run: "... : Tensor had NaN values".
    """
    return CheckNumerics(tensor, message=message, name=name)


def verify_tensor_all_finite(
    t: Any = None, msg: str | None = None, name: str | None = None, x: Any = None, message: str | None = None
) -> Tensor:
    """The same tensor, unless it holds NaN or Inf; then the run fails with a message.

    Args:
        t: old name of `x`.
        msg: old name of `message`.
        name: the name scope.
        x: a floating tensor.
        message: how the error's text begins.

    Raises:
        ValueError: the tensor or the message is missing, or given twice.
        InvalidArgumentError: when it runs, for NaN or Inf.
    """
    x = shaping.deprecated_argument("x", x, "t", t)
    message = shaping.deprecated_argument("message", message, "msg", msg)
    if x is None or message is None:
        raise ValueError("verify_tensor_all_finite needs a tensor and a message")
    with scopes.name_scope(name, "VerifyFinite", [x]):
        x = convert.convert_to_tensor(x, name="x")
        return control_flow.with_dependencies([check_numerics(x, message)], x)


def add_check_numerics_ops() -> Operation:
    """An operation that checks every floating tensor that the default graph has now, outside of loops and branches."""
    checks: list[Operation] = []
    for op in scopes.get_default_graph().get_operations():
        for tensor in op.outputs if op.region is None else ():
            if tensor.spec.dtype in FLOATS and not tensor.is_ref:
                checks.append(check_numerics(tensor, tensor.name).op)
    return control_flow.group(*checks)
