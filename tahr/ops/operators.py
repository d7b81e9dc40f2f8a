"""What Python's operators, indexing and NumPy's functions mean for tensors: fills `graph.hooks.operator`.

An operand that is no tensor takes the dtype of the tensor beside it where it fits. Constants and operations
are named as in TensorFlow: `x + 1` makes "add/y" and "add".
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tahr.core.convert import (
    IndexedSlices,
    convert_to_tensor,
    dtype_of,
    register_tensor_conversion_function,
    weak_constant,
)
from tahr.core.dtypes import DType, string
from tahr.core.graph import Operation, Tensor, hooks
from tahr.core.scopes import name_scope
from tahr.ops import (
    contractions,
    cropping,
    elementwise,
    fills,
    indexing,
    joining,
    linalg,
    logic,
    reductions,
    scans,
    special,
    structural,
)

# ---------------------------------------------------------------- binary operators


def _is_tensor(value: Any) -> bool:
    """Whether a value is a tensor or stands for one, as a variable does."""
    return isinstance(value, (Tensor, Operation)) or dtype_of(value) is not None


def _operand(value: Any, other: Any, name: str) -> Tensor:
    """An operand as a tensor, with the dtype of the other operand where it has none of its own and fits.

    Beside a tensor whose dtype is not known yet, a Python number stays without one too.
    """
    if isinstance(value, Tensor):
        return value
    dtype = dtype_of(other)
    if dtype is None and isinstance(other, Tensor) and isinstance(value, numbers.Number):
        return weak_constant(value, name)
    return convert_to_tensor(value, preferred_dtype=dtype, name=name)


def _plus(x: Tensor, y: Tensor, name: str) -> Tensor:
    return (elementwise.Add if x.spec.dtype is string else elementwise.AddV2)(x, y, name=name)


def _and(x: Tensor, y: Tensor, name: str) -> Tensor:
    return (logic.BitwiseAnd if _is_integer(x) else logic.LogicalAnd)(x, y, name=name)


def _or(x: Tensor, y: Tensor, name: str) -> Tensor:
    return (logic.BitwiseOr if _is_integer(x) else logic.LogicalOr)(x, y, name=name)


def _xor(x: Tensor, y: Tensor, name: str) -> Tensor:
    return elementwise.bitwise_xor(x, y, name) if _is_integer(x) else elementwise.logical_xor(x, y, name)


def _is_integer(x: Tensor) -> bool:
    """Whether `&`, `|`, `^` and `~` mean bits rather than truth; TensorFlow 1 has only the latter."""
    return x.spec.dtype is not None and x.spec.dtype.is_integer


# The function behind each operator; it is also the name of the operation.
_BINARY: dict[str, Callable[[Tensor, Tensor, str], Tensor]] = {
    "add": _plus,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "div": elementwise.div,
    "truediv": elementwise.truediv,
    "floordiv": elementwise.floordiv,
    "mod": elementwise.floormod,
    "pow": special.pow,
    "matmul": lambda x, y, name: linalg.matmul(x, y, name=name),
    "and": _and,
    "or": _or,
    "xor": _xor,
}


def _binary(symbol: str, x: Any, y: Any) -> Any:
    """`x` and `y` joined by an operator; NotImplemented where `y` may know what it means beside a tensor."""
    may_defer = _is_tensor(x) and hasattr(type(y), f"__r{symbol}__")
    # The tensor whose operator this is comes first, so that the read of a variable is not named after it.
    if _is_tensor(x):
        x = convert_to_tensor(x)
    else:
        y = convert_to_tensor(y)
    with name_scope(None, symbol, [x, y]) as scope:
        try:
            x, y = _operand(x, y, "x"), _operand(y, x, "y")
        except TypeError:
            if may_defer:
                return NotImplemented
            raise
        return _BINARY[symbol](x, y, scope)


# ---------------------------------------------------------------- other operators

_COMPARISONS = {
    "lt": elementwise.less,
    "le": elementwise.less_equal,
    "gt": elementwise.greater,
    "ge": elementwise.greater_equal,
}


def _invert(x: Any) -> Tensor:
    x = convert_to_tensor(x)
    return elementwise.invert(x) if _is_integer(x) else elementwise.logical_not(x)


_UNARY: dict[str, Callable[[Any], Tensor]] = {
    "neg": elementwise.negative,
    "abs": elementwise.abs,
    "invert": _invert,
}

# ---------------------------------------------------------------- NumPy's ufuncs

# The ufuncs that are operators: `array + tensor` arrives as np.add.
_UFUNC_OPERATORS: dict[np.ufunc, str] = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.true_divide: "truediv",
    np.floor_divide: "floordiv",
    np.remainder: "mod",
    np.power: "pow",
    np.matmul: "matmul",
}

_UFUNCS: dict[np.ufunc, Callable[..., Tensor]] = {
    np.absolute: elementwise.abs,
    np.arccos: special.acos,
    np.arccosh: special.acosh,
    np.arcsin: special.asin,
    np.arcsinh: special.asinh,
    np.arctan: special.atan,
    np.arctan2: special.atan2,
    np.arctanh: special.atanh,
    np.bitwise_and: elementwise.bitwise_and,
    np.bitwise_or: elementwise.bitwise_or,
    np.bitwise_xor: elementwise.bitwise_xor,
    np.ceil: elementwise.ceil,
    np.conjugate: elementwise.conj,
    np.cos: special.cos,
    np.cosh: special.cosh,
    np.equal: elementwise.equal,
    np.exp: special.exp,
    np.expm1: special.expm1,
    np.floor: elementwise.floor,
    np.fmod: elementwise.truncatemod,
    np.greater: elementwise.greater,
    np.greater_equal: elementwise.greater_equal,
    np.invert: _invert,
    np.isfinite: elementwise.is_finite,
    np.isinf: elementwise.is_inf,
    np.isnan: elementwise.is_nan,
    np.left_shift: elementwise.left_shift,
    np.less: elementwise.less,
    np.less_equal: elementwise.less_equal,
    np.log: special.log,
    np.log1p: special.log1p,
    np.logical_and: elementwise.logical_and,
    np.logical_not: elementwise.logical_not,
    np.logical_or: elementwise.logical_or,
    np.logical_xor: elementwise.logical_xor,
    np.maximum: elementwise.maximum,
    np.minimum: elementwise.minimum,
    np.negative: elementwise.negative,
    np.not_equal: elementwise.not_equal,
    np.reciprocal: special.reciprocal,
    np.right_shift: elementwise.right_shift,
    np.rint: elementwise.rint,
    np.sign: elementwise.sign,
    np.sin: special.sin,
    np.sinh: special.sinh,
    np.sqrt: special.sqrt,
    np.square: special.square,
    np.tan: special.tan,
    np.tanh: special.tanh,
}


def _ufunc(
    tensor: Any, ufunc: np.ufunc, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]
) -> Tensor:
    """What `ufunc(*inputs)` means where an input is a tensor.

    Raises:
        TypeError: there is no such operation, or an argument (`out=`) has no meaning in a graph.
    """
    if method != "__call__" or kwargs:
        how = f".{method}" if method != "__call__" else f" with {', '.join(kwargs)}="
        raise TypeError(
            f"np.{ufunc.__name__}{how} does not work on a tensor: it has a value only in a session."
        )
    if ufunc in _UFUNC_OPERATORS:
        return _binary(_UFUNC_OPERATORS[ufunc], *inputs)
    function = _UFUNCS.get(ufunc)
    if function is None:
        raise TypeError(f"np.{ufunc.__name__} does not work on a tensor, and there is no operation for it.")
    if len(inputs) == 1:
        return function(*inputs)
    x, y = inputs
    left = _operand(x, y, "x")
    return function(left, _operand(y, left, "y"))


# ---------------------------------------------------------------- NumPy's other functions

# Each takes the arguments of NumPy's function that have a meaning in a graph, under NumPy's names.


def _sum(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return structural.reduce_sum(a, axis, keepdims)


def _mean(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return reductions.reduce_mean(a, axis, keepdims)


def _prod(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return reductions.reduce_prod(a, axis, keepdims)


def _max(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return reductions.reduce_max(a, axis, keepdims)


def _min(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return reductions.reduce_min(a, axis, keepdims)


def _any(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return reductions.reduce_any(a, axis, keepdims)


def _all(a: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    return reductions.reduce_all(a, axis, keepdims)


def _argmax(a: Any, axis: Any = None) -> Tensor:
    return reductions.argmax(structural.reshape(a, [-1]) if axis is None else a, axis or 0)


def _argmin(a: Any, axis: Any = None) -> Tensor:
    return reductions.argmin(structural.reshape(a, [-1]) if axis is None else a, axis or 0)


def _cumsum(a: Any, axis: Any = None) -> Tensor:
    return scans.cumsum(structural.reshape(a, [-1]) if axis is None else a, axis or 0)


def _reshape(a: Any, shape: Any) -> Tensor:
    return structural.reshape(a, [shape] if isinstance(shape, int) else shape)


def _transpose(a: Any, axes: Any = None) -> Tensor:
    return structural.transpose(a, axes)


def _concatenate(arrays: Any, axis: int = 0) -> Tensor:
    return joining.concat(list(arrays), axis)


def _stack(arrays: Any, axis: int = 0) -> Tensor:
    return joining.stack(list(arrays), axis)


def _expand_dims(a: Any, axis: Any) -> Tensor:
    return structural.expand_dims(a, axis)


def _squeeze(a: Any, axis: Any = None) -> Tensor:
    return structural.squeeze(a, axis)


def _where(condition: Any, x: Any = None, y: Any = None) -> Tensor:
    if x is None and y is None:
        return indexing.where(condition)
    left = _operand(x, y, "x")
    return elementwise.select_v2(condition, left, _operand(y, left, "y"))


def _clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    clipped = a if a_max is None else elementwise.minimum(a, a_max)
    return clipped if a_min is None else elementwise.maximum(clipped, a_min)


def _tile(A: Any, reps: Any) -> Tensor:
    return cropping.tile(A, [reps] if isinstance(reps, int) else reps)


def _dot(a: Any, b: Any) -> Tensor:
    a = _operand(a, b, "a")
    b = _operand(b, a, "b")
    if a.spec.rank == 0 or b.spec.rank == 0:
        return elementwise.multiply(a, b)
    axis_of_b = 0 if b.spec.rank == 1 else -2 if b.spec.rank is None else b.spec.rank - 2
    return contractions.tensordot(a, b, [[-1 if a.spec.rank is None else a.spec.rank - 1], [axis_of_b]])


def _round(a: Any, decimals: int = 0) -> Tensor:
    if decimals:
        raise TypeError("decimals: a tensor is rounded to integers only")
    return elementwise.round(a)


def _zeros_like(a: Any) -> Tensor:
    return fills.zeros_like(a)


def _ones_like(a: Any) -> Tensor:
    return fills.ones_like(a)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.all: _all,
    np.any: _any,
    np.amax: _max,
    np.amin: _min,
    np.argmax: _argmax,
    np.argmin: _argmin,
    np.around: _round,
    np.clip: _clip,
    np.concatenate: _concatenate,
    np.cumsum: _cumsum,
    np.dot: _dot,
    np.expand_dims: _expand_dims,
    np.max: _max,
    np.mean: _mean,
    np.min: _min,
    np.ones_like: _ones_like,
    np.prod: _prod,
    np.reshape: _reshape,
    np.round: _round,
    np.squeeze: _squeeze,
    np.stack: _stack,
    np.sum: _sum,
    np.tile: _tile,
    np.transpose: _transpose,
    np.where: _where,
    np.zeros_like: _zeros_like,
}


def _function(tensor: Any, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What `func(*args, **kwargs)` of NumPy means where an argument is a tensor.

    Raises:
        TypeError: there is no such operation, or an argument has no meaning in a graph.
    """
    function = _FUNCTIONS.get(func)
    if function is None:
        raise TypeError(
            f"np.{func.__name__} does not work on a tensor, which has a value only in a session. "
            f"Fetch it first, or use an operation of tf instead."
        )
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"np.{func.__name__} of a tensor: {error}; it has no meaning in a graph.") from None
    return function(*bound.args, **bound.kwargs)


# ---------------------------------------------------------------- the hook


def operator(name: str, *operands: Any) -> Any:
    """The tensor that an operator, an index or one of NumPy's functions means.

    Args:
        name: "add", "lt", "neg", "getitem", "ufunc" ...: the special method without underscores.
        operands: in the order of the expression, whichever of them is the tensor.
    """
    if name in _BINARY:
        return _binary(name, *operands)
    if name in _COMPARISONS:
        return _COMPARISONS[name](*operands)
    if name in _UNARY:
        return _UNARY[name](*operands)
    return {"getitem": indexing.getitem, "ufunc": _ufunc, "function": _function}[name](*operands)


hooks.operator = operator

# ---------------------------------------------------------------- sparse gradients as tensors


def _dense(
    value: IndexedSlices, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    """The dense tensor that an IndexedSlices stands for: rows with equal indices are added.

    Raises:
        ValueError: its dense shape or another dtype is missing.
    """
    if dtype is not None and not dtype.is_compatible_with(value.dtype):
        raise ValueError(
            f"Tensor conversion requested dtype {dtype.name} for IndexedSlices with dtype {value.dtype.name}"
        )
    if value.dense_shape is None:
        raise ValueError(f"Tensor conversion requested for IndexedSlices without dense_shape: {value}")
    return indexing.unsorted_segment_sum(value.values, value.indices, value.dense_shape[0], name=name)


register_tensor_conversion_function(IndexedSlices, _dense)
