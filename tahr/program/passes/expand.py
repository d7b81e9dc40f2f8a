"""Composites become the ops that they stand for, unless the backend keeps them as kernels of their own.

An op's expansion builds graph operations from tensors. It is traced once, in a scratch graph, for each op,
attributes and input specs (symbolic sizes flow through it), and the trace is then inlined wherever it is
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tahr.core.forks import new_lock
from tahr.core.graph import Graph, Operation, Region, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.program.node import Builder, Node, Program, Value, attrs_key
from tahr.program.passes import canonicalize
from tahr.program.rewrite import rewrite

Keeps = Callable[[OpDef], bool]
"""Whether a backend has a kernel of its own for a composite."""

# How many traces are remembered; past that the memory starts afresh.
MAX_TRACES = 1024


def run(program: Program, keeps: Keeps) -> Program:
    """The pass."""
    expand = partial(expansion, builder=program.builder, keeps=keeps)
    # Not the stabilizing rules: expansions are stable as they are, and softplus is made of what it replaces.
    return rewrite(program, expand, canonicalize.known_value_is_constant, canonicalize.RULES)


def is_composite(opdef: OpDef, keeps: Keeps) -> bool:
    """Whether an op is to be expanded."""
    return opdef.expand is not None and not keeps(opdef)


def expansion(node: Node, builder: Builder, keeps: Keeps) -> Sequence[Value] | None:
    """The values of a composite's expansion, or None for any other node."""
    if not is_composite(node.opdef, keeps):
        return None
    assert node.opdef.expand is not None
    return inline(node.opdef.expand, node, builder)


def inline(function: Callable[..., Any], node: Node, builder: Builder) -> Sequence[Value]:
    """The values of what `function(*tensors, **attrs)` makes of a node's inputs, in pure ops."""
    return _traced(function, [v.spec for v in node.inputs], node.attrs).inlined(node, builder)


# ---------------------------------------------------------------- tracing

_Argument = OpDef(
    "_Argument",
    "-> output: dtype",
    attrs={"dtype": REQUIRED, "shape": REQUIRED, "value": None},
    register=False,
)


@_Argument.shape
def _argument_shape(*, dtype: Any, shape: Shape, value: Array | None) -> Shape:
    return shape


@_Argument.value
def _argument_value(*, dtype: Any, shape: Shape, value: Array | None) -> Array | None:
    return value


@dataclass(frozen=True)
class _Trace:
    """An expansion as data.

    Attributes:
        arguments: the operations that stand for the inputs.
        operations: the others that the outputs need, in topological order.
        outputs: the results.
    """

    arguments: tuple[Operation, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Tensor, ...]

    def inlined(self, node: Node, builder: Builder) -> list[Value]:
        """The results as values, built on a node's inputs and standing for the node's operation."""
        values: dict[Tensor, Value] = {a.outputs[0]: v for a, v in zip(self.arguments, node.inputs)}
        for op in self.operations:
            specs = [t.spec for t in op.outputs]
            made = builder.node(op.opdef, [values[t] for t in op.inputs], op.attrs, node.op, (), specs)
            values.update(zip(op.outputs, made.outputs))
        return [values[t] for t in self.outputs]


_traces: dict[Any, _Trace] = {}
_lock = new_lock()


def _traced(function: Callable[..., Any], specs: Sequence[Spec], attrs: Mapping[str, Any]) -> _Trace:
    key = (function, tuple(s.key for s in specs), attrs_key(attrs))
    found = _traces.get(key)
    if found is None:
        found = _trace(function, specs, attrs)
        with _lock:
            if len(_traces) >= MAX_TRACES:
                _traces.clear()
            _traces[key] = found
    return found


def _trace(function: Callable[..., Any], specs: Sequence[Spec], attrs: Mapping[str, Any]) -> _Trace:
    with Graph().as_default():
        arguments = [_Argument(dtype=s.dtype, shape=s.shape, value=s.value) for s in specs]
        made = function(*arguments, **attrs)
    outputs = tuple(made) if isinstance(made, (list, tuple)) else (made,)
    needed = _needed(outputs)
    for op in needed:
        if op.opdef.effects.any or any(isinstance(v, Region) for v in op.attrs.values()):
            raise TypeError(
                f"the expansion {function.__name__} must be made of pure ops, but holds {op.type}"
            )
    inputs = tuple(a.op for a in arguments)
    return _Trace(inputs, tuple(op for op in needed if op.opdef is not _Argument), outputs)


def _needed(outputs: Sequence[Tensor]) -> list[Operation]:
    """The operations behind some tensors, in the order of their making."""
    seen: set[Operation] = set()
    stack = [t.op for t in outputs]
    while stack:
        op = stack.pop()
        if op not in seen:
            seen.add(op)
            stack += [t.op for t in op.inputs]
    return sorted(seen, key=lambda op: op.id)
