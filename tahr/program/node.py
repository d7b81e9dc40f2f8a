"""The Program's intermediate representation: immutable nodes, interned so that equal computations are one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tahr.core.convert import Const
from tahr.core.dtypes import DType, of_numpy
from tahr.core.graph import Operation
from tahr.core.opdef import OpDef
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import Dim

# Constants up to this size are merged when their bytes are equal, larger ones only when they are the same array.
MERGED_CONSTANT_BYTES = 4096

Input = OpDef("_Input", "-> output: dtype", attrs={"place": 0}, register=False)


class Node:
    """One computation of a Program.

    Attributes:
        opdef: its kind.
        inputs: the values that it takes.
        attrs: its attributes; a region is a (Function, places of captures) pair here.
        outputs: the values that it gives.
        tokens: nodes with effects that must run before it.
        op: the operation that it stands for (the first, where several were merged): for error texts, and the
            identity of what has effects.
        number: grows in the order of creation, which is a topological order.
        has_effects: whether it does more than compute its outputs.
    """

    __slots__ = ("attrs", "has_effects", "inputs", "number", "op", "opdef", "outputs", "tokens")

    def __init__(
        self,
        opdef: OpDef,
        inputs: tuple[Value, ...],
        attrs: Mapping[str, Any],
        specs: Sequence[Spec],
        tokens: tuple[Node, ...],
        op: Operation | None,
        number: int,
    ) -> None:
        self.opdef = opdef
        self.inputs = inputs
        self.attrs = attrs
        self.outputs = tuple(Value(self, i, s) for i, s in enumerate(specs))
        self.tokens = tokens
        self.op = op
        self.number = number
        self.has_effects = opdef.effects.any or _has_effectful_region(attrs)

    def __repr__(self) -> str:
        return f"%{self.number} = {self.opdef.name}({', '.join(map(repr, self.inputs))})"


class Value:
    """One output of a node."""

    __slots__ = ("index", "node", "spec")

    def __init__(self, node: Node, index: int, spec: Spec) -> None:
        self.node = node
        self.index = index
        self.spec = spec

    @property
    def dtype(self) -> DType | None:
        """The type of its elements."""
        return self.spec.dtype

    @property
    def shape(self) -> Shape:
        """Its shape: integers and symbolic sizes."""
        return self.spec.shape

    @property
    def dims(self) -> tuple[Dim, ...]:
        """Its shape, which is known; as that of all that is compiled."""
        assert self.spec.shape is not None
        return self.spec.shape

    @property
    def constant(self) -> np.ndarray[Any, Any] | None:
        """Its value, where it is a constant."""
        return self.node.attrs["value"] if self.node.opdef is Const else None

    def __repr__(self) -> str:
        return f"%{self.node.number}" + (f".{self.index}" if len(self.node.outputs) > 1 else "")


def _has_effectful_region(attrs: Mapping[str, Any]) -> bool:
    return any(isinstance(v, tuple) and v and getattr(v[0], "has_effects", False) for v in attrs.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


class Builder:
    """Makes nodes. Two pure nodes of one kind with the same inputs and attributes are the same node."""

    def __init__(self) -> None:
        self._interned: dict[Any, Node] = {}
        self._count = 0

    def node(
        self,
        opdef: OpDef,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any],
        op: Operation | None = None,
        tokens: Sequence[Node] = (),
        specs: Sequence[Spec] | None = None,
    ) -> Node:
        """The node for a computation.

        Args:
            opdef: its kind.
            inputs: the values that it takes.
            attrs: all of its attributes.
            op: the operation that it stands for.
            tokens: nodes with effects that must run before it.
            specs: what is known of its outputs, where that has been worked out already.

        Raises:
            ValueError: the inputs' shapes do not fit.
        """
        key: Any = None
        if not opdef.effects.any and not tokens and not _has_effectful_region(attrs):
            key = (opdef.name, tuple(map(id, inputs)), attrs_key(attrs))
            found = self._interned.get(key)
            if found is not None:
                return found
        if specs is None:
            specs = opdef.infer([v.spec for v in inputs], attrs)
        node = self.add(opdef, inputs, attrs, specs, op, tokens)
        if key is not None:
            self._interned[key] = node
        return node

    def add(
        self,
        opdef: OpDef,
        inputs: Sequence[Value],
        attrs: Mapping[str, Any],
        specs: Sequence[Spec],
        op: Operation | None = None,
        tokens: Sequence[Node] = (),
    ) -> Node:
        """A new node with given output specs, never merged with another."""
        self._count += 1
        return Node(opdef, tuple(inputs), attrs, specs, tuple(tokens), op, self._count)

    def value(self, opdef: OpDef, *inputs: Value, op: Operation | None = None, **attrs: Any) -> Value:
        """The first output of the node for a computation, with default attributes filled in."""
        return self.node(opdef, inputs, {**opdef.attrs, **attrs}, op).outputs[0]

    def constant(self, value: np.ndarray[Any, Any]) -> Value:
        """A constant."""
        value = value.view()
        value.setflags(write=False)
        return self.value(Const, value=value, dtype=of_numpy(value.dtype))


def attrs_key(attrs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Attributes in a hashable form: equal where the attributes mean the same."""
    return tuple((k, _hashable(v)) for k, v in sorted(attrs.items()))


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "O" and value.nbytes <= MERGED_CONSTANT_BYTES:
            return (value.dtype.str, str(value.dtype), value.shape, value.tobytes())
        return id(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, float):
        return (float, value.hex())  # so that 0.0 and -0.0, and 1 and 1.0, stay apart
    if isinstance(value, (bool, int)):
        return (type(value), value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


class Program:
    """What one run signature computes.

    Attributes:
        builder: makes further nodes, merged with the existing ones.
        inputs: the values given at each run.
        outputs: the values given back.
        roots: nodes that run for their effects.
    """

    def __init__(
        self, builder: Builder, inputs: Sequence[Value], outputs: Sequence[Value], roots: Sequence[Node]
    ) -> None:
        self.builder = builder
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.roots = tuple(roots)

    def nodes(self) -> list[Node]:
        """Every node that an output or root needs, in topological order."""
        seen: set[Node] = set()
        order: list[Node] = []
        stack: list[tuple[Node, Iterator[Node]]] = []

        def visit(node: Node) -> None:
            if node not in seen:
                seen.add(node)
                stack.append((node, _dependencies(node)))

        for start in [*self.roots, *(v.node for v in self.outputs), *(v.node for v in self.inputs)]:
            visit(start)
            while stack:
                node, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    order.append(node)
                    stack.pop()
                else:
                    visit(following)
        return order


def _dependencies(node: Node) -> Iterator[Node]:
    for value in node.inputs:
        yield value.node
    yield from node.tokens
