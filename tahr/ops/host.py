"""Python functions as operations: `py_func`, and operations written by subclassing `Operation`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tahr import errors
from tahr.core import blas, convert, dtypes, scopes
from tahr.core.convert import register_tensor_conversion_function
from tahr.core.dtypes import DType
from tahr.core.graph import Operation, Tensor, hooks, install_operators
from tahr.core.opdef import IO, REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint

# ---------------------------------------------------------------- calling the user's code

# The class of error that an exception inside the user's function becomes, as in TensorFlow's py_func.cc.
_KINDS: list[tuple[type[Exception], Any]] = [
    (ValueError, errors.InvalidArgumentError),
    (TypeError, errors.InvalidArgumentError),
    (StopIteration, errors.OutOfRangeError),
    (MemoryError, errors.ResourceExhaustedError),
    (NotImplementedError, errors.UnimplementedError),
]


def call_python(function: Callable[..., Any], *args: Any) -> Any:
    """What a user's function returns, which computes with as many threads as the user has set.

    Raises:
        Complaint: it raised an exception; the text has its traceback without the library's own frames.
    """
    try:
        with blas.AS_SET:
            return function(*args)
    except Exception as error:
        kind = next((k for cls, k in _KINDS if isinstance(error, cls)), errors.UnknownError)
        inner = error.__traceback__.tb_next if error.__traceback__ is not None else None
        frames = "".join(traceback.format_tb(inner)) if inner is not None else ""
        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        raise Complaint(f"{text}\nTraceback (most recent call last):\n{frames}", kind=kind) from error


def function_name(function: Any) -> str:
    """How a function is called in messages."""
    return getattr(function, "__name__", type(function).__name__)


def as_result(value: Any, what: str) -> Array:
    """An array of its own for a value that a user's function returned; text becomes bytes.

    Raises:
        Complaint: a tensor cannot hold it.
    """
    try:
        array = np.array(value)
        if array.dtype.kind in "SU" or (array.dtype.kind == "O" and array.size):
            if not all(isinstance(v, (str, bytes)) for v in array.flat):
                raise TypeError
            return convert.as_array(np.array(value, dtype=object), dtypes.string)
        dtypes.of_numpy(array.dtype)
    except (TypeError, ValueError):
        raise Complaint(
            f"{what} has a type that no tensor can hold: Unsupported object type {type(value).__name__}",
            "return numbers, strings or arrays of them",
            errors.InternalError,
        ) from None
    return array


# ---------------------------------------------------------------- py_func


def _py_func_shape(*inputs: Spec, func: Any, Tout: list[DType]) -> list[Shape]:
    return [None] * len(Tout)


def _py_func_kernel(*inputs: Array, func: Callable[..., Any], Tout: list[DType]) -> tuple[Array, ...]:
    # The function may write to its arguments and keep them: they are copies, as the results are.
    found = call_python(func, *(_argument(a) for a in inputs))
    values: Sequence[Any] = [] if found is None else found if isinstance(found, (list, tuple)) else [found]
    name = function_name(func)
    if len(values) != len(Tout):
        raise Complaint(f"{name} returns {len(values)} values, but expects to see {len(Tout)} values.")
    return tuple(_checked(v, wanted, i, name) for i, (v, wanted) in enumerate(zip(values, Tout)))


def _argument(value: Array) -> Any:
    """An input as the user's function gets it: a scalar as a NumPy scalar or bytes."""
    return value[()] if value.ndim == 0 else value.copy()


def _checked(value: Any, wanted: DType, index: int, name: str) -> Array:
    array = as_result(value, f"{index}-th value returned by {name}")
    found = dtypes.of_numpy(array.dtype)
    if found is not wanted:
        raise Complaint(
            f"{index}-th value returned by {name} is {_runtime_name(found)}, but expects {_runtime_name(wanted)}",
            f"return it as np.{wanted.name}, or declare tf.{found.name}",
        )
    return array


def _runtime_name(dtype: DType) -> str:
    """A dtype as TensorFlow's runtime writes it."""
    return {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)


PyFunc = OpDef(
    "PyFunc", "input: [Tin] -> output: [Tout]", attrs={"func": REQUIRED, "Tout": REQUIRED}, effects=IO
).not_differentiable()
PyFunc.shape(_py_func_shape)
PyFunc.kernel(_py_func_kernel)

PyFuncStateless = OpDef(
    "PyFuncStateless", "input: [Tin] -> output: [Tout]", attrs={"func": REQUIRED, "Tout": REQUIRED}
).not_differentiable()
PyFuncStateless.shape(_py_func_shape)
PyFuncStateless.kernel(_py_func_kernel)


def py_func(
    func: Callable[..., Any],
    inp: Sequence[Any],
    Tout: Any,
    stateful: bool = True,
    name: str | None = None,
) -> Any:
    """An operation that calls a Python function with NumPy values.

    It may call `session.run`, also of the session that is running. Gradients do not flow through it; with
    `gradient_override_map({"PyFunc": ...})` it is given one.

    Args:
        func: takes one array (a NumPy scalar or bytes for a scalar) for each input, and returns an array or a list.
        inp: the inputs: a list of tensors.
        Tout: the dtypes of what it returns: a list, or one dtype.
        stateful: whether it is called in every run, and in order with other effects. If not, two calls with the same
            inputs may become one.
        name: the operation's name.

    Returns:
        A list of tensors of unknown shapes; a tensor where `Tout` is no list; the operation where it is empty.

    Raises:
        ValueError: `func` is not callable.
        OpError: when run: `func` raised an exception (ValueError and TypeError become InvalidArgumentError,
            StopIteration OutOfRangeError, MemoryError ResourceExhaustedError, NotImplementedError UnimplementedError,
            all others UnknownError), or what it returned differs in number or dtype.
    """
    if not callable(func):
        raise ValueError(f"Expected func to be callable, got func to be of type {type(func)}")
    is_list = isinstance(Tout, (list, tuple))
    types = [dtypes.as_dtype(t).base_dtype for t in (Tout if is_list else [Tout])]
    with scopes.name_scope(name, "PyFunc" if stateful else "PyFuncStateless", list(inp)) as scope:
        tensors = [convert.convert_to_tensor(v, name=f"input_{i}") for i, v in enumerate(inp)]
        graph = scopes.graph_of(tensors)
        definition = PyFunc if stateful else PyFuncStateless
        op = graph.add_operation(definition, tensors, {"func": func, "Tout": types}, scope)
    if not types:
        return op
    return list(op.outputs) if is_list else op.outputs[0]


def numpy_function(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, name: str | None = None) -> Any:
    """As `py_func` with `stateful=True`."""
    return py_func(func, inp, Tout, True, name)


# ---------------------------------------------------------------- operations by subclassing

_definitions: dict[type[Operation], OpDef] = {}


def _definition(cls: type[Operation]) -> OpDef:
    """The kind of operation that a class with a `compute` method is."""
    found = _definitions.get(cls)
    if found is None:
        found = OpDef(
            cls.__name__, "input: [Tin] -> output: Tout", attrs={"Tout": None}, effects=IO, register=False
        )
        found.shape(lambda *_, **__: None)
        found.stateful_kernel(_compute)
        _definitions[cls] = found
    return found


def _compute(context: Any, *values: Array, **_: Any) -> Array:
    op = context.op
    return as_result(
        call_python(op.compute, *(_argument(v) for v in values)), f"the value that {op.type}.compute returned"
    )


def _add_python_operation(op: Operation, input_nodes: Sequence[Any], name: str | None) -> None:
    """Adds an object of a subclass of Operation to the graph, as one operation.

    Raises:
        TypeError: the class has no `compute` method, or an input is no tensor.
    """
    cls = type(op)
    if not callable(getattr(cls, "compute", None)):
        raise TypeError(
            f"{cls.__name__} needs a method compute(self, *values) that gives the operation's value"
        )
    nodes = list(input_nodes)
    graph = scopes.graph_of(nodes)
    name = name or cls.__name__.lstrip("_")
    with graph.as_default(), graph.name_scope(name) as scope:
        tensors = [convert.convert_to_tensor(n, name=f"input_{i}") for i, n in enumerate(nodes)]
        graph.add_operation(_definition(cls), tensors, {"Tout": None}, scope, op=op)


def _convert_operation(
    value: Operation, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    """The tensor that an operation written by subclassing stands for.

    Raises:
        TypeError: it is another kind of operation.
    """
    if type(value) is Operation:
        raise TypeError(
            f"Can't convert Operation '{value.name}' to Tensor (target dtype={dtype}, name={name})"
        )
    return convert.convert_to_tensor(value.output, dtype)


hooks.python_operation = _add_python_operation
register_tensor_conversion_function(Operation, _convert_operation)
install_operators(Operation)
