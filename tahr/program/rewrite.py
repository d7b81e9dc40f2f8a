"""One walk over a Program that replaces nodes.

Nodes come in topological order, so the inputs of each are final when its turn comes. What nothing changed
is kept as it is, and what stands for it needs no new inference: a replacement has the dtype and shape of
what it replaces. Nodes with effects are rebuilt on new inputs and tokens where they must be, and are
otherwise never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tahr.core.graph import Operation
from tahr.program.node import Input, Node, Program, Value
from tahr.program.pattern import building, stand_for

Step = Callable[[Node], "Sequence[Value] | None"]
"""Gives what replaces a pure node's outputs, or None to keep it."""

# How many replacements of replacements there may be; more means that rules undo each other.
MAX_DEPTH = 64


def rewrite(program: Program, *steps: Step, given: Mapping[Value, Value] | None = None) -> Program:
    """The program after one walk, in which each pure node is offered to the steps in turn until none applies.

    Args:
        program: the program.
        steps: what may replace nodes.
        given: values, and what takes their places from the start: final, and in the places of all a node's outputs.

    Raises:
        RecursionError: the steps never come to an end.
    """
    with building(program.builder):
        return _Walk(program, steps, given or {}).result()


class _Walk:
    def __init__(self, program: Program, steps: Sequence[Step], given: Mapping[Value, Value]) -> None:
        self.program = program
        self.steps = steps
        # What stands for nodes and values that were replaced; both sides of an entry are final.
        self.nodes: dict[Node, Node] = {}
        self.values = dict(given)
        self.settled = {value.node for value in given}
        self.depth = 0

    def result(self) -> Program:
        for node in self.program.nodes():
            self._settle(node)
        if not self.values and not self.nodes:
            return self.program
        return Program(
            self.program.builder,
            self.program.inputs,
            [self.values.get(v, v) for v in self.program.outputs],
            [self.nodes.get(n, n) for n in self.program.roots],
        )

    def _settle(self, node: Node) -> None:
        """Decides what stands for a node whose inputs are settled."""
        if node in self.settled:
            return
        self.settled.add(node)
        new = self._rebuilt(node)
        if new is not node:
            self.nodes[node] = new
            self._settle(new)
            outputs: Sequence[Value] = [self.values.get(v, v) for v in new.outputs]
        else:
            replaced = self._replaced(node)
            if replaced is None:
                return
            outputs = replaced
        self.values.update((old, by) for old, by in zip(node.outputs, outputs) if by is not old)

    def _rebuilt(self, node: Node) -> Node:
        """The node on what stands for its inputs and tokens."""
        values, nodes = self.values, self.nodes
        if values.keys().isdisjoint(node.inputs) and nodes.keys().isdisjoint(node.tokens):
            return node
        return self.program.builder.node(
            node.opdef,
            [values.get(v, v) for v in node.inputs],
            node.attrs,
            node.op,
            [nodes.get(t, t) for t in node.tokens],
            [v.spec for v in node.outputs],
        )

    def _replaced(self, node: Node) -> Sequence[Value] | None:
        if not is_rewritable(node):
            return None
        stand_for(node.op)
        for step in self.steps:
            found = step(node)
            if found is not None:
                return self._final(found, node.op)
        return None

    def _final(self, found: Sequence[Value], op: Operation | None) -> list[Value]:
        """The values of a replacement, after its own new nodes were offered to the steps."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RecursionError(f"rewriting rules undo each other at {found[0].node.opdef.name} (for {op})")
        for node in self._new_nodes(found):
            self._settle(node)
        self.depth -= 1
        return [self.values.get(v, v) for v in found]

    def _new_nodes(self, found: Sequence[Value]) -> list[Node]:
        """The nodes behind some values that are not settled yet, in topological order."""
        seen: set[Node] = set()
        stack = [v.node for v in found]
        while stack:
            node = stack.pop()
            if node not in seen and node not in self.settled:
                seen.add(node)
                stack += [v.node for v in node.inputs]
                stack += node.tokens
        return sorted(seen, key=lambda node: node.number)


def is_rewritable(node: Node) -> bool:
    """Whether a node is a pure function of its inputs and nothing else."""
    return (
        node.opdef is not Input and not node.opdef.takes_context and not node.tokens and not node.has_effects
    )
