"""The scalar language: what an element-wise operation does to one element, as an expression.

An expression is made of some thirty primitives. It has two meanings that must agree: `evaluate` computes it with
NumPy, and a backend compiles it to machine code. The function of a chain of operations is had by calling their
functions on each other's results:

    x, y = leaf(0, float32), leaf(1, float32)
    maximum(x * y, 0.0)

Integers wrap around. float16 and bfloat16 are computed in float32; only `convert` and the outputs round to them.
Nothing traps: every primitive has a value for every input, except that a shift's count must be within the width.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tahr.core import dtypes
from tahr.core.dtypes import DType
from tahr.core.forks import new_lock
from tahr.core.scalar_meaning import CASTS, MEANING, Array

Number = float | int | bool

SUPPORTED: frozenset[DType] = dtypes.REALS | {dtypes.bool_}
"""The dtypes that expressions may have."""

HALVES = frozenset({dtypes.float16, dtypes.bfloat16})
"""The dtypes whose arithmetic is float32's."""


class Unsupported(TypeError):
    """The scalar language cannot say what an operation does to elements of these dtypes or with this attribute."""


class Scalar:
    """A node of an expression: immutable, and equal expressions are the same object.

    Attributes:
        op: the primitive: a name in `scalar_meaning.MEANING`, "leaf" or "constant".
        args: what it is applied to.
        dtype: the type of its value.
        value: a constant's Python number, or a leaf's index.
    """

    __slots__ = ("__weakref__", "args", "dtype", "op", "value")

    op: str
    args: tuple[Scalar, ...]
    dtype: DType
    value: Any

    def __add__(self, other: Scalar | Number) -> Scalar:
        return add(self, other)

    def __radd__(self, other: Number) -> Scalar:
        return add(other, self)

    def __sub__(self, other: Scalar | Number) -> Scalar:
        return sub(self, other)

    def __rsub__(self, other: Number) -> Scalar:
        return sub(other, self)

    def __mul__(self, other: Scalar | Number) -> Scalar:
        return mul(self, other)

    def __rmul__(self, other: Number) -> Scalar:
        return mul(other, self)

    def __truediv__(self, other: Scalar | Number) -> Scalar:
        return div(self, other)

    def __rtruediv__(self, other: Number) -> Scalar:
        return div(other, self)

    def __neg__(self) -> Scalar:
        return neg(self)

    def __abs__(self) -> Scalar:
        return absolute(self)

    def __lt__(self, other: Scalar | Number) -> Scalar:
        return lt(self, other)

    def __le__(self, other: Scalar | Number) -> Scalar:
        return le(self, other)

    def __gt__(self, other: Scalar | Number) -> Scalar:
        return lt(other, self)

    def __ge__(self, other: Scalar | Number) -> Scalar:
        return le(other, self)

    def __and__(self, other: Scalar | Number) -> Scalar:
        return and_(self, other)

    def __or__(self, other: Scalar | Number) -> Scalar:
        return or_(self, other)

    def __xor__(self, other: Scalar | Number) -> Scalar:
        return xor(self, other)

    def __invert__(self) -> Scalar:
        return not_(self)

    def __lshift__(self, other: Scalar | Number) -> Scalar:
        return shift_left(self, other)

    def __rshift__(self, other: Scalar | Number) -> Scalar:
        return shift_right(self, other)

    def __bool__(self) -> bool:
        raise TypeError("an expression has no truth value: use select(condition, x, y)")

    def __repr__(self) -> str:
        if self.op == "leaf":
            return f"x{self.value}"
        if self.op == "constant":
            return repr(self.value)
        of = f":{self.dtype.name}" if self.op in ("convert", "bitcast", "relabel") else ""
        return f"{self.op}{of}({', '.join(map(repr, self.args))})"


# ---------------------------------------------------------------- nodes

_interned: WeakValueDictionary[tuple[Any, ...], Scalar] = WeakValueDictionary()
_interning = new_lock()


def _node(op: str, args: tuple[Scalar, ...], dtype: DType, value: Any = None) -> Scalar:
    # repr tells -0.0 from 0.0, True from 1, and makes every NaN the same.
    key = (op, args, dtype.name, None if value is None else repr(value))
    with _interning:
        node = _interned.get(key)
        if node is None:
            node = Scalar()
            node.op, node.args, node.dtype, node.value = op, args, dtype, value
            _interned[key] = node
    return node


def leaf(index: int, dtype: DType) -> Scalar:
    """The element of an input.

    Raises:
        Unsupported: the language has no such dtype.
    """
    if dtype not in SUPPORTED:
        raise Unsupported(f"expressions have no {dtype.name}")
    return _node("leaf", (), dtype, index)


def constant(value: Any, dtype: DType) -> Scalar:
    """A number, rounded to the dtype (an integer that does not fit wraps around)."""
    if dtype not in SUPPORTED:
        raise Unsupported(f"expressions have no {dtype.name}")
    if dtype.is_integer and not isinstance(value, float):
        bits = 8 * dtype.size
        wrapped = int(value) % (1 << bits)
        signed = not dtype.is_unsigned and wrapped >> (bits - 1)
        return _node("constant", (), dtype, wrapped - (1 << bits) if signed else wrapped)
    if dtype is dtypes.float64 or dtype is dtypes.float32:
        # Formulas are full of constants, and these are much quicker than NumPy.
        item = float(value) if dtype is dtypes.float64 else ctypes.c_float(value).value
    else:
        with np.errstate(all="ignore"):
            item = np.asarray(value).astype(dtype.numpy).item()
    return _node("constant", (), dtype, float(item) if dtype.is_floating else item)


def is_constant(x: Scalar, value: Number | None = None) -> bool:
    """Whether an expression is a constant; if a value is given, that one (-0.0 is not 0.0)."""
    return x.op == "constant" and (value is None or repr(x.value) == repr(type(x.value)(value)))


def ordered(outputs: Iterable[Scalar], known: Container[Scalar] = ()) -> list[Scalar]:
    """Every node of some expressions once, arguments before what they are arguments of.

    Args:
        outputs: the expressions.
        known: nodes to leave out, with what only they need.
    """
    order: dict[Scalar, None] = {}
    stack = [o for o in outputs if o not in known][::-1]
    while stack:
        node = stack[-1]
        waiting = [a for a in node.args if a not in order and a not in known] if node not in order else []
        if waiting:
            stack += waiting[::-1]
        else:
            order[stack.pop()] = None
    return list(order)


def substitute(outputs: Sequence[Scalar], leaves: Mapping[int, Scalar]) -> list[Scalar]:
    """Expressions with other expressions in the place of some leaves."""
    new: dict[Scalar, Scalar] = {}
    for node in ordered(outputs):
        if node.op == "leaf":
            new[node] = leaves.get(node.value, node)
        else:
            args = tuple(new[a] for a in node.args)
            new[node] = node if args == node.args else _apply(node.op, args, node.dtype)
    return [new[o] for o in outputs]


# ---------------------------------------------------------------- primitives


def _operands(*values: Scalar | Number) -> list[Scalar]:
    """Operands of one dtype; numbers take that of the others."""
    found = next(v.dtype for v in values if isinstance(v, Scalar))
    result = [v if isinstance(v, Scalar) else constant(v, found) for v in values]
    for x in result:
        if x.dtype is not found:
            raise TypeError(f"operands have the dtypes {found.name} and {x.dtype.name}")
    return result


def _require(condition: bool, op: str, dtype: DType) -> None:
    if not condition:
        raise Unsupported(f"{op} of {dtype.name}")


def _apply(op: str, args: tuple[Scalar, ...], dtype: DType) -> Scalar:
    """A node, or what is equal to it and simpler."""
    rule = _SIMPLER.get(op)
    simpler = rule(dtype, *args) if rule is not None else None
    if simpler is not None:
        return simpler
    node = _node(op, args, dtype)
    if args and all(a.op == "constant" for a in args):
        return constant(evaluate([node], ())[0].item(), dtype)
    return node


def _arithmetic(op: str, *values: Scalar | Number) -> Scalar:
    args = _operands(*values)
    _require(not args[0].dtype.is_bool, op, args[0].dtype)
    return _apply(op, tuple(args), args[0].dtype)


def _of_floats(op: str, *values: Scalar | Number) -> Scalar:
    args = _operands(*values)
    _require(args[0].dtype.is_floating, op, args[0].dtype)
    return _apply(op, tuple(args), args[0].dtype)


def _of_integers(op: str, *values: Scalar | Number) -> Scalar:
    args = _operands(*values)
    _require(args[0].dtype.is_integer, op, args[0].dtype)
    return _apply(op, tuple(args), args[0].dtype)


def _comparison(op: str, *values: Scalar | Number) -> Scalar:
    return _apply(op, tuple(_operands(*values)), dtypes.bool_)


def _bitwise(op: str, *values: Scalar | Number) -> Scalar:
    args = _operands(*values)
    _require(not args[0].dtype.is_floating, op, args[0].dtype)
    return _apply(op, tuple(args), args[0].dtype)


def add(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """x + y."""
    return _arithmetic("add", x, y)


def sub(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """x - y."""
    return _arithmetic("sub", x, y)


def mul(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """x * y."""
    return _arithmetic("mul", x, y)


def div(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """x / y of floats."""
    return _of_floats("div", x, y)


def quotient(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """x / y of integers, rounded towards zero; 0 where y is 0. The smallest integer divided by -1 is itself."""
    return _of_integers("quotient", x, y)


def remainder(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """What `quotient` leaves, with the sign of x; 0 where y is 0."""
    return _of_integers("remainder", x, y)


def neg(x: Scalar) -> Scalar:
    """-x; for floats the sign bit is flipped."""
    return _arithmetic("neg", x)


def absolute(x: Scalar) -> Scalar:
    """|x|; the smallest integer stays negative."""
    return x if x.dtype.is_unsigned else _arithmetic("abs", x)


def fma(x: Scalar | Number, y: Scalar | Number, z: Scalar | Number) -> Scalar:
    """x * y + z of floats, rounded once."""
    return _of_floats("fma", x, y, z)


def muladd(x: Scalar | Number, y: Scalar | Number, z: Scalar | Number) -> Scalar:
    """x * y + z of floats, rounded once or twice: whatever the processor does faster."""
    return _of_floats("muladd", x, y, z)


def minimum(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """The smaller; NaN where either is. Of zeros with different signs, any."""
    return _arithmetic("minimum", x, y)


def maximum(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """The larger; NaN where either is. Of zeros with different signs, any."""
    return _arithmetic("maximum", x, y)


def sqrt(x: Scalar) -> Scalar:
    """The square root; NaN for negative numbers."""
    return _of_floats("sqrt", x)


def floor(x: Scalar) -> Scalar:
    """The largest integer that is not above x."""
    return _of_floats("floor", x)


def ceil(x: Scalar) -> Scalar:
    """The smallest integer that is not below x."""
    return _of_floats("ceil", x)


def trunc(x: Scalar) -> Scalar:
    """The integer part of x."""
    return _of_floats("trunc", x)


def rint(x: Scalar) -> Scalar:
    """The nearest integer, the even one of two equally near."""
    return _of_floats("rint", x)


def copysign(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """|x| with the sign of y."""
    return _of_floats("copysign", x, y)


def lt(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """Whether x < y; false where either is NaN, as for `le` and `eq`."""
    return _comparison("lt", x, y)


def le(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """Whether x <= y."""
    return _comparison("le", x, y)


def eq(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """Whether x == y."""
    return _comparison("eq", x, y)


def ne(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """Whether x != y; true where either is NaN."""
    return _comparison("ne", x, y)


def and_(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """The bits (of a bool: the one bit) that are set in both."""
    return _bitwise("and", x, y)


def or_(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """The bits that are set in either."""
    return _bitwise("or", x, y)


def xor(x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """The bits that are set in exactly one."""
    return _bitwise("xor", x, y)


def not_(x: Scalar) -> Scalar:
    """Every bit flipped."""
    return _bitwise("not", x)


def shift_left(x: Scalar | Number, count: Scalar | Number) -> Scalar:
    """The bits moved up by `count` places, 0 <= count < width."""
    return _of_integers("shift_left", x, count)


def shift_right(x: Scalar | Number, count: Scalar | Number) -> Scalar:
    """The bits moved down by `count` places, 0 <= count < width; copies of the sign enter at the top."""
    return _of_integers("shift_right", x, count)


def select(condition: Scalar, x: Scalar | Number, y: Scalar | Number) -> Scalar:
    """x where the condition holds, else y; the other may be anything."""
    _require(condition.dtype.is_bool, "select by a condition", condition.dtype)
    chosen, other = _operands(x, y)
    return _apply("select", (condition, chosen, other), chosen.dtype)


def seldom(function: str, condition: Scalar, usual: Scalar, *operands: Scalar) -> Scalar:
    """A function where a condition holds, which is seldom, else what is usual.

    Unlike `select`, which computes both, it branches: the function is called only if the condition holds anywhere in
    a vector.

    Args:
        function: "fmod"; or "sin", "cos" or "tan", of angles of 2^45 or more.
        condition: a bool.
        usual, operands: float64.
    """
    _require(condition.dtype.is_bool, "a condition", condition.dtype)
    _require(usual.dtype is dtypes.float64, function, usual.dtype)
    if is_constant(condition, False):
        return usual
    return _apply(function, (condition, *_operands(usual, *operands)), usual.dtype)


def bitcast(x: Scalar, dtype: DType) -> Scalar:
    """The same bits as another dtype of the same width; halves, which are computed in float32, have no bits."""
    fits = x.dtype.size == dtype.size and not {x.dtype, dtype} & (HALVES | {dtypes.bool_})
    _require(fits, f"bits as {dtype.name}", x.dtype)
    return _apply("bitcast", (x,), dtype)


def convert(x: Scalar, dtype: DType) -> Scalar:
    """A cast: floats are rounded to nearest, integers wrap around, whatever is not 0 is true.

    A float that becomes an integer loses its fraction. Where it does not fit it becomes the smallest integer of 32 bits
    (64 for int64, uint32 and uint64), cut to the width, which is what x86 makes of it; likewise NaN.
    """
    _require(dtype in SUPPORTED, "convert to", dtype)
    return _apply("convert", (x,), dtype)


def relabel(x: Scalar, dtype: DType) -> Scalar:
    """A half as float32, or a float32 as a half that is not rounded yet."""
    fits = x.dtype in HALVES | {dtypes.float32} and dtype in HALVES | {dtypes.float32}
    _require(fits, f"relabel as {dtype.name}", x.dtype)
    return _apply("relabel", (x,), dtype)


# ---------------------------------------------------------------- simplification


def _is_zero(x: Scalar, sign: float = 1.0) -> bool:
    """Whether this is the constant 0: for floats, the one of a sign."""
    return is_constant(x, sign * 0.0 if x.dtype.is_floating else 0)


def _simpler_add(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
    # -0.0 is the neutral element of IEEE's addition: -0.0 + 0.0 is 0.0.
    return y if _is_zero(x, -1.0) else x if _is_zero(y, -1.0) else None


def _simpler_sub(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
    return x if _is_zero(y) else None


def _simpler_mul(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
    return y if is_constant(x, 1) else x if is_constant(y, 1) else None


def _simpler_quotient(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
    return x if is_constant(y, 1) else None


def _simpler_inverse(op: str) -> Callable[..., Scalar | None]:
    """The rule of an operation that is its own inverse."""

    def rule(dtype: DType, x: Scalar) -> Scalar | None:
        return x.args[0] if x.op == op else None

    return rule


def _simpler_extremum(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
    return x if x is y else None


def _simpler_and(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
    every = True if dtype.is_bool else -1 if not dtype.is_unsigned else dtype.max
    return x if x is y or is_constant(y, every) else y if is_constant(x, every) else None


def _simpler_or(dtype: DType, x: Scalar, y: Scalar) -> Scalar | None:
    return x if x is y or is_constant(y, 0) else y if is_constant(x, 0) else None


def _simpler_shift(dtype: DType, x: Scalar, count: Scalar) -> Scalar | None:
    return x if is_constant(count, 0) else None


def _simpler_select(dtype: DType, condition: Scalar, x: Scalar, y: Scalar) -> Scalar | None:
    if x is y or is_constant(condition, True):
        return x
    if is_constant(condition, False):
        return y
    if condition.op == "not":
        return select(condition.args[0], y, x)
    if dtype.is_bool and is_constant(x, True) and is_constant(y, False):
        return condition
    return None


def _simpler_cast(dtype: DType, x: Scalar) -> Scalar | None:
    return x if x.dtype is dtype else None


def _simpler_bits(dtype: DType, x: Scalar) -> Scalar | None:
    if x.dtype is dtype:
        return x
    return bitcast(x.args[0], dtype) if x.op == "bitcast" else None


def _simpler_relabel(dtype: DType, x: Scalar) -> Scalar | None:
    if x.dtype is dtype:
        return x
    return relabel(x.args[0], dtype) if x.op == "relabel" else None


# Rules that hold for NaN, infinities and signed zeros too.
_SIMPLER: dict[str, Callable[..., Scalar | None]] = {
    "add": _simpler_add,
    "sub": _simpler_sub,
    "mul": _simpler_mul,
    "div": _simpler_quotient,
    "quotient": _simpler_quotient,
    "neg": _simpler_inverse("neg"),
    "not": _simpler_inverse("not"),
    "minimum": _simpler_extremum,
    "maximum": _simpler_extremum,
    "and": _simpler_and,
    "or": _simpler_or,
    "xor": lambda dtype, x, y: _simpler_or(dtype, x, y) if x is not y else None,
    "shift_left": _simpler_shift,
    "shift_right": _simpler_shift,
    "select": _simpler_select,
    "convert": _simpler_cast,
    "bitcast": _simpler_bits,
    "relabel": _simpler_relabel,
}


# ---------------------------------------------------------------- the meaning, in NumPy


def computed_in(dtype: DType) -> np.dtype[Any]:
    """The NumPy dtype of values of a dtype while they are computed with."""
    return np.dtype(np.float32) if dtype in HALVES else dtype.numpy


def evaluate(outputs: Sequence[Scalar], arrays: Sequence[Array] | Mapping[int, Array]) -> list[Array]:
    """Computes expressions with NumPy, element by element.

    Args:
        outputs: the expressions.
        arrays: the inputs, by the leaves' indices; they broadcast.

    Returns:
        Arrays of the outputs' dtypes.
    """
    values: dict[Scalar, Array] = {}
    with np.errstate(all="ignore"):
        for node in ordered(outputs):
            target = computed_in(node.dtype)
            if node.op == "leaf":
                value = np.asarray(arrays[node.value])
            elif node.op == "constant":
                value = np.asarray(node.value, dtype=target)
            elif node.op in ("convert", "bitcast", "relabel"):
                (x,) = node.args
                value = CASTS[node.op](values[x], x.dtype, node.dtype)
            else:
                value = MEANING[node.op](*(values[a] for a in node.args))
            values[node] = np.asarray(value).astype(target)
        return [values[o].astype(o.dtype.numpy) for o in outputs]
