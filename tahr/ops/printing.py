"""Values as text, and operations that show them while a graph runs: Print and tf.print."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from tahr.core import convert, scopes, shapes
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import IO, REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec

# ---------------------------------------------------------------- values as text


def element_text(value: Any) -> str:
    """An element as TensorFlow's runtime writes it: the fewest of 6 or 9 (for doubles 15 or 17) digits that suffice."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (np.complexfloating, complex)):
        return f"({element_text(value.real)},{element_text(value.imag)})"
    if isinstance(value, (np.float64, float)):
        return _shortest(float(value), 15, 17, np.float64)
    if isinstance(value, (np.floating, ml_dtypes.bfloat16)):
        return _shortest(float(value), 6, 9, np.float32)
    return str(value)


def _shortest(value: float, few: int, many: int, kind: Any) -> str:
    if not np.isfinite(value):
        return "nan" if np.isnan(value) else "inf" if value > 0 else "-inf"
    text = f"{value:.{few}g}"
    return text if kind(text) == kind(value) else f"{value:.{many}g}"


def summary(value: Array, limit: int) -> str:
    """The first elements of an array, as Assert and Print show them: [[1 2][3...]...].

    Args:
        value: any array.
        limit: how many elements are shown; a negative number shows all.
    """
    limit = value.size if limit < 0 else limit
    if not value.ndim:
        return f"[{element_text(value[()])}]"
    rest = iter(value.ravel()[:limit].tolist() if value.dtype == object else value.ravel()[:limit])
    return (
        "[" + _rows(value.shape, rest, [min(limit, value.size)]) + ("..." if value.size > limit else "") + "]"
    )


def _rows(shape: tuple[int, ...], rest: Any, left: list[int], depth: int = 0) -> str:
    """The elements of a sub-array, as far as `left` (the number of elements still to be shown) allows."""
    if depth == len(shape) - 1:
        shown = min(shape[-1], left[0])
        left[0] -= shown
        text = " ".join(element_text(next(rest)) for _ in range(shown))
        return text + ("..." if shown < shape[-1] and depth else "")
    parts: list[str] = []
    for _ in range(shape[depth]):
        if not left[0]:
            break
        parts.append(f"[{_rows(shape, rest, left, depth + 1)}]")
    return "".join(parts)


# ---------------------------------------------------------------- Print

Print = OpDef(
    "Print",
    "input: T, data: [U] -> output: T",
    attrs={"U": REQUIRED, "message": "", "first_n": -1, "summarize": 3},
    effects=IO,
    aliases=(0,),
)
Print.shape(lambda x, *_, **__: x.shape)


class _Counter:
    """How often an operation has printed in a session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def next(self) -> int:
        """The number of this call, from 0 on."""
        with self._lock:
            self._count += 1
            return self._count - 1


@Print.stateful_kernel
def _print_kernel(
    context: Any, x: Array, *data: Array, message: str, first_n: int, summarize: int, **_: Any
) -> Array:
    if first_n < 0 or context.resource("", f"{context.op.name}/count", _Counter).next() < first_n:
        sys.stderr.write(message + "".join(summary(np.asarray(d), summarize) for d in data) + "\n")
    return x


@Print.gradient
def _print_gradient(op: Operation, dy: Tensor) -> list[Tensor | None]:
    return [dy, *[None] * (len(op.inputs) - 1)]


def print_data(
    input_: Any,
    data: Sequence[Any],
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """The same tensor; when it is computed, a line is printed to standard error (`tf.Print`).

    Args:
        input_: the tensor that is passed on.
        data: what to print: tensors and strings.
        message: what to print first.
        first_n: how many times to print; always, if negative or None.
        summarize: how many elements of each to print: 3 by default, all if negative.
        name: the operation's name.
    """
    tensors = [convert.convert_to_tensor(d) for d in data]
    return Print(
        input_,
        tensors,
        U=[t.spec.dtype for t in tensors],
        message=message or "",
        first_n=-1 if first_n is None else first_n,
        summarize=3 if summarize is None else summarize,
        name=name,
    )


# ---------------------------------------------------------------- tf.print

StringFormat = OpDef(
    "StringFormat",
    "inputs: [T] -> output: string",
    attrs={"T": REQUIRED, "template": "%s", "placeholder": "%s", "summarize": 3},
).not_differentiable()
StringFormat.shape(lambda *_, **__: ())


@StringFormat.kernel
def _string_format_kernel(*inputs: Array, template: str, placeholder: str, summarize: int, **_: Any) -> Array:
    parts = template.split(placeholder)
    texts = [_edges(np.asarray(x), summarize) for x in inputs]
    joined = parts[0] + "".join(text + part for text, part in zip(texts, parts[1:]))
    return np.array(joined.encode(), dtype=object)


def _edges(value: Array, summarize: int) -> str:
    """An array with the first and last elements along each axis: [1 2 3 ... 8 9 10]."""
    if not value.ndim:
        element = value[()]
        return element_text(element)
    count = len(value)
    if summarize < 0 or count <= 2 * summarize:
        shown = [_edges(np.asarray(v), summarize) for v in value]
    else:
        first, last = value[:summarize], value[count - summarize :]
        shown = [*(_edges(np.asarray(v), summarize) for v in first), "..."]
        shown += [_edges(np.asarray(v), summarize) for v in last]
    between = " " if value.ndim == 1 else "\n " if value.ndim == 2 else "\n\n "
    return "[" + between.join(shown) + "]"


PrintV2 = OpDef(
    "PrintV2", "input: string ->", attrs={"output_stream": "stderr", "end": "\n"}, effects=IO
).not_differentiable()


@PrintV2.shape
def _print_v2_shape(text: Spec, *, output_stream: str, end: str) -> Shape:
    shapes.dims(text.shape, 0)
    return None


@PrintV2.kernel
def _print_v2_kernel(text: Array, *, output_stream: str, end: str) -> tuple[()]:
    content: bytes = text.item()
    line = content.decode(errors="replace") + end
    if output_stream.startswith("file://"):
        with open(output_stream[len("file://") :], "a") as file:
            file.write(line)
    else:
        (sys.stdout if output_stream == "stdout" else sys.stderr).write(line)
    return ()


def print_(
    *inputs: Any,
    output_stream: Any = None,
    summarize: int = 3,
    sep: str = " ",
    end: str = "\n",
    name: str | None = None,
) -> Operation:
    """An operation that prints (`tf.print`): it runs when it is fetched or something depends on it.

    Args:
        inputs: what to print: tensors, strings and other Python values.
        output_stream: `sys.stderr` (the default), `sys.stdout`, or "file://" and a path.
        summarize: how many elements to show at both ends of each axis; all, if negative.
        sep: what stands between the inputs.
        end: what follows the last of them.
        name: the operation's name.

    Raises:
        ValueError: the output stream is none of these.
    """
    stream = _stream_name(output_stream)
    tensors = [i for i in inputs if isinstance(i, Tensor) or convert.dtype_of(i) is not None]
    texts = ["\0" if any(i is t for t in tensors) else str(i) for i in inputs]
    values = [convert.convert_to_tensor(t) for t in tensors]
    with scopes.name_scope(name, "print", values):
        types = [v.spec.dtype for v in values]
        text = StringFormat(values, T=types, template=sep.join(texts), placeholder="\0", summarize=summarize)
        return PrintV2(text, output_stream=stream, end=end)


def _stream_name(stream: Any) -> str:
    if stream is None or stream is sys.stderr:
        return "stderr"
    if stream is sys.stdout:
        return "stdout"
    if isinstance(stream, str) and stream.startswith("file://"):
        return stream
    raise ValueError(
        f"Unknown output stream {stream!r}: it must be sys.stderr, sys.stdout, or start with 'file://'"
    )
