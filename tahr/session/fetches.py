"""What a user fetches and feeds: nested structures in, the same structures of arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tahr import errors
from tahr.core import convert, dtypes, shapes
from tahr.core.convert import IndexedSlices
from tahr.core.graph import Graph, Operation, Tensor
from tahr.core.shapes import TensorShape
from tahr.program.effects import value_spec


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
    """

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self._graph = graph
        self._places: dict[Tensor, int] = {}
        self._operations: dict[Operation, None] = {}
        self._rebuild = self._parse(fetches)

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
            raise TypeError("Fetch argument None has invalid type <class 'NoneType'>")
        if isinstance(item, IndexedSlices):
            parts = [self._parse(p) if p is not None else None for p in (item.values, item.indices, item.dense_shape)]
            return lambda v: IndexedSlicesValue(*(p and p(v) for p in parts))
        if isinstance(item, Mapping):
            entries = [(k, self._parse(v)) for k, v in item.items()]
            kind: Any = type(item)
            return lambda v: kind((k, p(v)) for k, p in entries)
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
            raise TypeError(
                f"Fetch argument {item!r} has invalid type {type(item)}, must be a string or Tensor. ({error})"
            ) from None
        except (KeyError, ValueError) as error:
            text = error.args[0] if error.args else error
            raise ValueError(f"Fetch argument {item!r} cannot be interpreted as a Tensor. ({text})") from None
        if not self._graph.is_fetchable(element):
            op = element.op if isinstance(element, Tensor) else element
            raise ValueError(
                errors.describe(
                    "",
                    f"Operation {op.name!r} has been marked as not fetchable.",
                    [op.describe()],
                    "fetch what the loop or cond gives back" if op.region is not None else None,
                )
            )
        if isinstance(element, Operation):
            if element.outputs and type(element) is not Operation:
                element = element.outputs[0]  # an operation written by subclassing stands for its value
            else:
                self._operations[element] = None
                return lambda v: None
        place = self._places.setdefault(element, len(self._places))
        return lambda v: v[place]


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
            text = error.args[0] if error.args else error
            raise TypeError(f"Cannot interpret feed_dict key as Tensor: {text}") from None
    if not graph.is_feedable(tensor) or tensor.op.region is not None:
        raise ValueError(f"Tensor {tensor} may not be fed.")
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
    if type(value) is np.ndarray and dtype is not None and value.dtype == dtype.numpy and dtype is not dtypes.string:
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
    if isinstance(value, (Tensor, Operation)) or hasattr(value, "handle_or_ref"):
        raise TypeError(
            "The value of a feed cannot be a tf.Tensor object. Acceptable feed values include Python scalars, "
            f"strings, lists, numpy ndarrays, or TensorHandles. For reference, the tensor object was {value} which "
            f"was passed to the feed with key {tensor}."
        )
    if dtype is not None and not dtype.is_numpy_compatible:
        return value
    try:
        if dtype is None:
            array = np.asarray(value)
            return _text(array) if array.dtype.kind in "OSU" else array
        if dtype is dtypes.string:
            return _text(np.asarray(value, dtype=object))
        array = np.asarray(value, dtype=dtype.numpy)
    except Exception as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise type(error)(
            errors.describe(
                "",
                f"Cannot feed {_short(value)} for Tensor {tensor.name!r} of dtype {dtype.name if dtype else None}: "
                f"{problem}",
                [tensor.op.describe()],
            )
        ) if isinstance(error, (TypeError, ValueError, OverflowError)) else error
    if isinstance(value, int) and not isinstance(value, bool) and array.dtype.kind in "iu" and int(array) != value:
        raise TypeError(
            f"Type of feed value {value} with type {type(value)} is not compatible with Tensor type {dtype.name}. "
            "Try explicitly setting the type of the feed tensor to a larger type (e.g. int64)."
        )
    return array


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
    return errors.InvalidArgumentError(None, missing[0], errors.describe("", text, lines))


def _dtype_name(tensor: Tensor) -> str:
    """A dtype as TensorFlow's runtime writes it."""
    return {"float32": "float", "float64": "double", "float16": "half"}.get(tensor.dtype.name, tensor.dtype.name)


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
