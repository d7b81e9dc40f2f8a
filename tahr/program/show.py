"""A Program as text, one line a node.

%1 = input 0 : float32[s0,784]
%3 = MatMul(%1, %2) : float32[s0,10]   model.py:41
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tahr.core import dtypes
from tahr.core.convert import Const
from tahr.core.dtypes import DType
from tahr.ops.state import ReadCell
from tahr.program.function import Function
from tahr.program.node import Input, Node, Program, Value

# Constants of more elements are shown by their shape alone.
MAX_SHOWN = 8


def show(program: Program) -> str:
    """A Program's nodes in topological order, numbered from 1, and at last what it gives.

    Tokens (`after`) are the effects that must run before a node. The user's line stands at the end.
    """
    numbers = numbered(program)
    lines = [line(node, numbers) for node in numbers]
    lines.append(f"return {', '.join(name(v, numbers) for v in program.outputs)}".rstrip())
    return "\n".join(lines)


def numbered(program: Program) -> dict[Node, int]:
    """The numbers by which a Program's nodes are shown, in topological order."""
    return {node: i for i, node in enumerate(program.nodes(), 1)}


def line(node: Node, numbers: Mapping[Node, int]) -> str:
    """One node: what it computes, its dtype and shape, what it comes after, and the user's line."""
    text = f"%{numbers[node]} = {_computation(node, numbers)}"
    if node.outputs:
        text += " : " + ", ".join(map(spec, node.outputs))
    if node.tokens:
        text += "   after " + ", ".join(f"%{numbers[token]}" for token in node.tokens)
    return text if node.op is None else f"{text}   {node.op.source.place}"


def _computation(node: Node, numbers: Mapping[Node, int]) -> str:
    if node.opdef is Input:
        return f"input {node.attrs['place']}"
    if node.opdef is Const:
        return f"constant {_array(node.attrs['value'])}"
    attrs = [f"{k}={_attr(v)}" for k, v in node.attrs.items() if not _is_default(node, k, v)]
    return f"{node.opdef.name}({', '.join([*(name(v, numbers) for v in node.inputs), *attrs])})"


def name(value: Value, numbers: Mapping[Node, int]) -> str:
    """A value, by the number of its node: %3, or %3.1 for one of several outputs."""
    return f"%{numbers[value.node]}" + (f".{value.index}" if len(value.node.outputs) > 1 else "")


def spec(value: Value) -> str:
    """`float32[s0,784]`: the dtype and shape of a value."""
    dtype = "?" if value.dtype is None else value.dtype.name
    return dtype + ("[?]" if value.shape is None else f"[{','.join(map(str, value.shape))}]")


def _is_default(node: Node, name: str, value: Any) -> bool:
    # A variable's name is all that its attributes say to a reader.
    if name in ("shape", "dtype", "container") and (node.opdef.takes_context or node.opdef is ReadCell):
        return True
    return name in node.opdef.attrs and type(value) is not np.ndarray and node.opdef.attrs[name] == value


def _attr(value: Any) -> str:
    if isinstance(value, DType):
        return value.name
    if isinstance(value, tuple) and value and isinstance(value[0], Function):
        return f"<{value[0].what}>"
    if isinstance(value, np.ndarray):
        return _array(value)
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _array(value: Any) -> str:
    if value.size > MAX_SHOWN:
        return "..."
    if value.dtype == dtypes.bfloat16.numpy:
        value = value.astype(np.float32)
    return str(value.tolist())
