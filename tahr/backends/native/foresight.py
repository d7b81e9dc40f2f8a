"""What can be told of a plan before it is made: whether it takes long, and what it will need in any case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.backends import costs
from tahr.backends.costs import Known
from tahr.backends.native import engine, gemm, runtime, target as targets
from tahr.core.forms import Contraction, Window
from tahr.program.node import Node, Program

# NumPy, with one thread, computes so many operations of products and convolutions for longer than it takes to compile
# them, even where they run once.
_LONG = 20_000_000_000
# Products of more operations than this are not written out for their sizes.
_LARGE = 1 << 19


def is_long(program: Program, values: Sequence[Any]) -> bool:
    """Whether a program takes NumPy longer than a compiler, given inputs of these shapes."""
    known = costs.known_sizes(program, values)
    large = (node for node in program.nodes() if isinstance(node.opdef.form, (Contraction, Window)))
    return sum(costs.flops(node, known) or 0 for node in large) >= _LONG


def begin(program: Program, values: Sequence[Any]) -> None:
    """Has compiled, in the background, what a program's plan will need in any case.

    Python makes the plan meanwhile, which takes as long as to compile half of an MLP's step.
    """
    known = costs.known_sizes(program, values)
    products = (node for node in program.nodes() if isinstance(node.opdef.form, Contraction))
    dtypes = {node.outputs[0].dtype for node in products if _is_large(node, known)}
    target = targets.current()
    runtime.announce()
    engine.foresee([kernel for dtype in dtypes if dtype for kernel in gemm.shared(dtype, target)])


def _is_large(product: Node, known: Known) -> bool:
    """Whether the blocked walk computes a product."""
    result = product.outputs[0]
    if result.dtype is None or not result.dtype.is_floating:
        return False
    rows_and_columns = (costs.elements((size,), known) or 0 for size in (result.shape or ())[-2:])
    return min(rows_and_columns, default=0) > 1 and (costs.flops(product, known) or 0) > _LARGE
