"""What a user fetches and feeds: nested structures in, the same structures of arrays out."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tahr import errors
from tahr.core import convert, dtypes, shapes
from tahr.core.convert import IndexedSlices
from tahr.core.graph import Graph, Operation, Tensor
from tahr.core.tensor_shapes import TensorShape
from tahr.program.effects import value_spec

# Above this number of operations no name is looked for that resembles a misspelt one.
MAX_SEARCHED = 2000


class IndexedSlicesValue(NamedTuple):
    """The value of a fetched `IndexedSlices`."""

    values: Any
    indices: Any
    dense_shape: Any


class Fetches:
    """A parsed fetch argument.

    Attributes:
        tensors: the distinct tensors to compute.
        operations: the distinct operations to run.
        is_list: whether a list is fetched.
        flat: where each item of a list, or the one thing that is fetched, is among `tensors` (None for an operation);
            None for other structures.
    """

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self._graph = graph
        self._places: dict[Tensor, int] = {}
        self._operations: dict[Operation, None] = {}
        self._rebuild = self._parse(fetches)
        self.is_list = type(fetches) is list
        items: list[Any] = fetches if self.is_list else [fetches]
        plain = all(type(item) is Tensor or type(item) is Operation for item in items)
        self.flat = [self._places.get(item) for item in items] if plain else None

    @property
    def tensors(self) -> list[Tensor]:
        """The distinct tensors to compute."""
        return list(self._places)

    @property
    def operations(self) -> list[Operation]:
        """The distinct operations to run."""
        return list(self._operations)

    def build(self, values: Sequence[Any]) -> Any:
        """The user's structure, with the values of `tensors` in place."""
        return self._rebuild(values)

    def _parse(self, item: Any) -> Callable[[Sequence[Any]], Any]:
        if item is None:
            text = "Fetch argument None has invalid type <class 'NoneType'>"
            fix = "leave it out; tf.gradients gives None for what its ys do not depend on"
            raise TypeError(errors.describe("", text, fix=fix))
        if isinstance(item, IndexedSlices):
            parts = [
                self._parse(p) if p is not None else None
                for p in (item.values, item.indices, item.dense_shape)
            ]
            return lambda v: IndexedSlicesValue(*(p and p(v) for p in parts))
        if isinstance(item, Mapping):
            entries = [(k, self._parse(v)) for k, v in item.items()]
            kind: Any = type(item)
            if isinstance(item, defaultdict):
                return lambda v: kind(item.default_factory, {k: p(v) for k, p in entries})
            return lambda v: kind({k: p(v) for k, p in entries})
        if isinstance(item, (list, tuple)):
            return self._parse_sequence(item)
        components = getattr(item, "fetch_components", None)
        if components is not None:
            tensors, rebuild = components()
            inner = [self._parse(t) for t in tensors]
            return lambda v: rebuild([p(v) for p in inner])
        return self._parse_leaf(item)

    def _parse_sequence(self, item: Sequence[Any]) -> Callable[[Sequence[Any]], Any]:
        parts = [self._parse(i) for i in item]
        kind: Any = type(item)
        if hasattr(item, "_fields"):
            return lambda v: kind(*(p(v) for p in parts))
        if kind is list:
            return lambda v: [p(v) for p in parts]
        return lambda v: kind(p(v) for p in parts)

    def _parse_leaf(self, item: Any) -> Callable[[Sequence[Any]], Any]:
        try:
            element = self._graph.as_graph_element(item)
        except TypeError as error:
            text = f"Fetch argument {_short(item)} has invalid type {type(item)}, must be a string or Tensor. ({error})"
            raise TypeError(text) from None
        except (KeyError, ValueError) as error:
            reason = error.args[0] if error.args else error
            text = f"Fetch argument {_short(item)} cannot be interpreted as a Tensor. ({reason})"
            raise ValueError(errors.describe("", text, _where(item), self._fix(item))) from None
        if not self._graph.is_fetchable(element):
            op = element.op if isinstance(element, Tensor) else element
            text = f"Operation {op.name!r} has been marked as not fetchable."
            if op.region is not None:
                text = f"{text[:-1]}: it is inside a {op.region.what}, where it may run many times or not at all."
            fix = "fetch what the loop or cond gives back" if op.region is not None else None
            raise ValueError(errors.describe("", text, [op.describe()], fix))
        if isinstance(element, Operation):
            if element.outputs and type(element) is not Operation:
                element = element.outputs[0]  # an operation written by subclassing stands for its value
            else:
                self._operations[element] = None
                return lambda v: None
        place = self._places.setdefault(element, len(self._places))
        return lambda v: v[place]

    def _fix(self, item: Any) -> str | None:
        if not isinstance(item, str):
            return "make the session for the graph of what it fetches: tf.Session(graph=x.graph)"
        operations = self._graph.get_operations()
        if len(operations) > MAX_SEARCHED:
            return None
        name, colon, index = item.partition(":")
        close = difflib.get_close_matches(name, [op.name for op in operations], n=3)
        return "did you mean " + " or ".join(repr(c + colon + index) for c in close) + "?" if close else None


def _where(item: Any) -> list[str]:
    """The line that made a tensor, operation or variable."""
    op = getattr(item, "op", item)
    return [op.describe()] if isinstance(op, Operation) else []


def feed_tensors(graph: Graph, key: Any) -> list[Tensor]:
    """The tensors that a key of a feed_dict stands for: one, or several for a nested key.

    Raises:
        TypeError: it is no tensor of this graph.  ValueError: it may not be fed.
    """
    if isinstance(key, (list, tuple)):
        return [t for k in key for t in feed_tensors(graph, k)]
    own = getattr(key, "handle_or_ref", None)
    try:
        tensor = graph.as_graph_element(key if own is None else own, allow_operation=False)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(key, Operation) and type(key) is not Operation and key.outputs:
            tensor = key.outputs[0]
        else:
            reason = error.args[0] if error.args else error
            text = f"Cannot interpret feed_dict key as Tensor: {reason}"
            raise TypeError(errors.describe("", text, _where(key))) from None
    if not graph.is_feedable(tensor) or tensor.op.region is not None:
        region = tensor.op.region
        inside = "" if region is None else f" It is inside a {region.what}."
        raise ValueError(
            errors.describe("", f"Tensor {tensor} may not be fed.{inside}", [tensor.op.describe()])
        )
    return [tensor]


def feed_value(tensor: Tensor, value: Any) -> Any:
    """The array that is fed for a tensor.

    Args:
        tensor: what is fed.
        value: an array, number, string or list. An array of the right dtype is taken as it is.

    Raises:
        TypeError: the value cannot have the tensor's dtype.  ValueError: its shape does not fit.
    """
    spec = tensor.spec
    if spec.dtype is dtypes.resource:
        spec = value_spec(tensor)
    dtype, static = spec.dtype, spec.shape
    if (
        type(value) is np.ndarray
        and dtype is not None
        and value.dtype == dtype.numpy
        and dtype is not dtypes.string
    ):
        array = value
    else:
        array = _converted(tensor, dtype, value)
    if static is not None and not _fits(static, array.shape):
        raise ValueError(
            errors.describe(
                "",
                f"Cannot feed value of shape {array.shape} for Tensor {tensor.name!r}, which has shape "
                f"'{TensorShape(static)}'",
                [tensor.op.describe()],
                f"feed an array of shape {TensorShape(static)}, or declare the tensor with None where sizes vary",
            )
        )
    return array


def _fits(static: Any, shape: tuple[int, ...]) -> bool:
    if len(static) != len(shape):
        return False
    for known, size in zip(static, shape):
        if known is not size and isinstance(known, int) and known != size:
            return False
    return True


def _converted(tensor: Tensor, dtype: dtypes.DType | None, value: Any) -> Any:
    """The array for a value that is not one of the right dtype already. What it does wrong is told with the tensor."""
    try:
        if isinstance(value, (Tensor, Operation)) or hasattr(value, "handle_or_ref"):
            raise TypeError(
                "The value of a feed cannot be a tf.Tensor object. Acceptable feed values include Python scalars, "
                f"strings, lists, numpy ndarrays, or TensorHandles. For reference, the tensor object was {value} which "
                f"was passed to the feed with key {tensor}."
            )
        if dtype is not None and not dtype.is_numpy_compatible:
            return value
        return _as_array(value, dtype)
    except MemoryError:
        raise
    except Exception as error:  # a value may raise anything: it is asked for its elements
        kind = ValueError if isinstance(error, (ValueError, ArithmeticError)) else TypeError
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        wanted = f" of dtype {dtype.name}" if dtype is not None else ""
        text = f"Cannot feed {_short(value)} for Tensor {tensor.name!r}{wanted}: {problem}"
        raise kind(errors.describe("", text, [tensor.op.describe()])) from error


def _as_array(value: Any, dtype: dtypes.DType | None) -> np.ndarray[Any, Any]:
    """An array of a dtype, by NumPy's conversions; but what would change beyond rounding is refused."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError("some of its elements are masked; fill them first")
    array = np.asarray(value)
    kind = array.dtype.kind
    if dtype is dtypes.string or (dtype is None and kind in "OSU"):
        return _text(np.asarray(value, dtype=object))
    if kind in "mM" or array.dtype.names is not None or (kind == "O" and any(v is None for v in array.flat)):
        raise TypeError(f"expected numbers, got {'None' if kind == 'O' else array.dtype}")
    if dtype is None:
        return array
    if (kind == "c" and not dtype.is_complex) or (kind in "SU" and dtype.is_bool):
        raise TypeError(f"values of dtype {array.dtype} do not fit")
    with np.errstate(invalid="raise" if dtype.is_integer else "ignore", over="ignore"):  # NaN is no integer
        result = array.astype(dtype.numpy)
    if not _same_integers(value, array, result, dtype):
        raise TypeError(
            f"Type of feed value {_short(value)} with type {type(value)} is not compatible with Tensor type "
            f"{dtype.name}. Try explicitly setting the type of the feed tensor to a larger type (e.g. int64)."
        )
    return result


def _same_integers(
    value: Any, array: np.ndarray[Any, Any], result: np.ndarray[Any, Any], dtype: dtypes.DType
) -> bool:
    """Whether integers are still the same after conversion to an integer type, and a Python integer as a bool."""
    if dtype.is_integer and array.dtype.kind in "iu" and not np.can_cast(array.dtype, result.dtype):
        return bool((array == result).all())
    return type(value) is not int or not dtype.is_bool or int(result) == value


def _text(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    for item in array.flat:
        if not isinstance(item, (str, bytes)):
            raise TypeError(f"expected strings, got {type(item).__name__}")
    return convert.as_array(array, dtypes.string)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # a hostile __repr__ must not hide the real error
        return f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


def fetched(value: Any, is_own: bool) -> Any:
    """A result as the user gets it: a scalar as a NumPy scalar, an array that is writable and the caller's own."""
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return value[()]
    if not is_own or not value.flags.writeable or value.base is not None:
        return np.array(value)
    return value


def missing_feeds(missing: Sequence[Operation], wanted: Sequence[Operation]) -> errors.InvalidArgumentError:
    """The error for placeholders that a run needs and that were not fed."""
    lines: list[str] = []
    for op in missing:
        lines.append(op.describe())
        path = _path(op, set(wanted))
        if len(path) > 1:
            names = [o.name for o in path]
            shown = names if len(names) <= 6 else [*names[:3], "...", *names[-2:]]
            lines.append("    needed by " + " <- ".join(shown))
    first = missing[0].outputs[0]
    dtype = f" with dtype {_dtype_name(first)}" if first.spec.dtype else ""
    shape = "" if first.spec.shape is None else f" and shape {shapes.show(first.spec.shape)}"
    others = "" if len(missing) == 1 else " (and for " + ", ".join(repr(o.name) for o in missing[1:]) + ")"
    text = f"You must feed a value for placeholder tensor '{missing[0].name}'{dtype}{shape}{others}"
    feeds = ", ".join(f"{op.outputs[0].name!r}: ..." for op in missing[:4]) + (
        ", ..." if len(missing) > 4 else ""
    )
    fix = f"sess.run(..., feed_dict={{{feeds}}})"
    return errors.InvalidArgumentError(None, missing[0], errors.describe("", text, lines, fix))


def _dtype_name(tensor: Tensor) -> str:
    """A dtype as TensorFlow's runtime writes it."""
    return {"float32": "float", "float64": "double", "float16": "half"}.get(
        tensor.dtype.name, tensor.dtype.name
    )


def _path(start: Operation, goals: set[Operation]) -> list[Operation]:
    """The shortest chain of consumers from a fetched operation down to `start`, the fetched one first."""
    came_from: dict[Operation, Operation | None] = {start: None}
    queue = [start]
    for op in queue:
        if op in goals:
            path: list[Operation] = [op]
            while (previous := came_from[path[-1]]) is not None:
                path.append(previous)
            return path
        for tensor in op.outputs:
            for consumer in tensor.consumers():
                if consumer not in came_from:
                    came_from[consumer] = op
                    queue.append(consumer)
    return [start]
