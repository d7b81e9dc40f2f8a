"""Adjoints of slices at counters of loops, as adjoints of blocks: see `program.slices`."""

from __future__ import annotations

from collections.abc import Sequence

from tahr.ops.slicing import StridedSliceGrad
from tahr.program.node import Node, Program, Value
from tahr.program.rewrite import rewrite
from tahr.program.slices import adjoint_of_block


def run(program: Program) -> Program:
    """The pass."""

    def as_block(node: Node) -> Sequence[Value] | None:
        found = adjoint_of_block(program.builder, node) if node.opdef is StridedSliceGrad else None
        return None if found is None else [found]

    return rewrite(program, as_block)
