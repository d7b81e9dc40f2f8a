"""What a loop computes of values that do not change in it: that is computed once, ahead of the loop.

Such a value becomes one that the loop captures. A matrix by whose transpose each iteration multiplies is transposed
ahead, so that its rows lie as the product reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tahr.backends.native import roles
from tahr.backends.native.roles import Role
from tahr.ops import linalg, shaping
from tahr.program.node import Builder, Input, Node, Program, Value
from tahr.program.rewrite import is_rewritable, rewrite

_FREE = frozenset({Role.VIEW, Role.CONSTANT, Role.KNOWN, Role.EXTENT, Role.UNIFORM, Role.IOTA})
"""What costs nothing in the body."""
_MOVED = frozenset({Role.ELEMENTWISE, Role.REDUCE, Role.PARTS, Role.PRODUCT, Role.WINDOW})
"""What is computed ahead. Nothing of it can fail: the loop may have no iterations at all."""


def moved(
    body: Program, same: Mapping[Value, Value], builder: Builder, is_repeated: bool
) -> tuple[Program, list[Value]]:
    """A loop's body without what is computed ahead of it.

    Args:
        body: the body; it is not changed.
        same: its inputs that do not change while the loop runs, and what they are around it.
        builder: makes nodes of the program around it.
        is_repeated: whether there may be enough iterations for a matrix to be transposed.

    Returns:
        the body, which takes further inputs behind its own, and what those are around it.
    """
    return _Mover(body, same, builder, is_repeated).result()


class _Mover:
    def __init__(
        self, body: Program, same: Mapping[Value, Value], builder: Builder, is_repeated: bool
    ) -> None:
        self._body = body
        self._builder = builder
        self._is_repeated = is_repeated
        # What values of the body that do not change are around the loop, as far as that was asked for.
        self._around_loop = dict(same)
        self._unchanging = set(same)
        self._leaving: set[Node] = set()
        self._inputs: dict[Value, Value] = {}  # for each further capture, around the loop, the body's input

    def result(self) -> tuple[Program, list[Value]]:
        for node in self._body.nodes():
            self._look_at(node)
        given = {v: self._input(self._around(v)) for node in self._wanted() for v in node.outputs}
        new = rewrite(self._body, self._with_rows_in_place, given=given)
        if not self._inputs:
            return self._body, []
        inputs = [*self._body.inputs, *self._inputs.values()]
        return Program(new.builder, inputs, new.outputs, new.roots), list(self._inputs)

    def _look_at(self, node: Node) -> None:
        """Notes whether a node computes the same in each iteration."""
        role = roles.role(node)
        if role in _FREE | _MOVED and is_rewritable(node) and self._unchanging.issuperset(node.inputs):
            self._unchanging.update(node.outputs)
            if role in _MOVED and node.outputs[0].shape != ():
                self._leaving.add(node)

    def _wanted(self) -> list[Node]:
        """The nodes that leave, and whose results are read by those that stay."""
        wanted: list[Node] = []
        seen: set[Node] = set()
        stack = [*self._body.roots, *(v.node for v in self._body.outputs)]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in self._leaving:
                wanted.append(node)
            else:
                stack += [*(v.node for v in node.inputs), *node.tokens]
        return sorted(wanted, key=lambda node: node.number)

    def _with_rows_in_place(self, node: Node) -> Sequence[Value] | None:
        """A product with a matrix that was transposed ahead, for one with its transpose."""
        if not self._is_repeated or node.opdef is not linalg.MatMul or not node.attrs["transpose_b"]:
            return None
        a, b = node.inputs
        if b not in self._unchanging and b not in self._around_loop:
            return None
        matrix = self._around(b)
        order = self._builder.constant(np.array([1, 0], np.int32))
        transposed = self._input(self._builder.value(shaping.Transpose, matrix, order, op=node.op))
        attrs = {**node.attrs, "transpose_b": False}
        return self._body.builder.node(node.opdef, [a, transposed], attrs, node.op).outputs

    def _input(self, around: Value) -> Value:
        """The body's input that is a value around the loop."""
        found = self._inputs.get(around)
        if found is None:
            attrs = {"place": len(self._body.inputs) + len(self._inputs)}
            found = self._body.builder.add(Input, (), attrs, [around.spec]).outputs[0]
            self._inputs[around] = found
            self._around_loop[found] = around
        return found

    def _around(self, value: Value) -> Value:
        """What an unchanging value of the body is around the loop: the same computation there."""
        found = self._around_loop.get(value)
        if found is None:
            node = value.node
            inputs = [self._around(v) for v in node.inputs]
            specs = [v.spec for v in node.outputs]
            made = self._builder.node(node.opdef, inputs, node.attrs, node.op, (), specs)
            self._around_loop.update(zip(node.outputs, made.outputs))
            found = self._around_loop[value]
        return found
