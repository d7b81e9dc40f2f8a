"""Matrix products, C = epilogue(A B): which kernel computes one, and with which sizes.

    product = Product(dtypes.float32, transpose_a=False, transpose_b=False, epilogue=plain(dtypes.float32))
    exact = problem(product, m, n, k)
    way = choose(product, exact)
    kernel(product, way), sizes(product, exact, way), tiles(...)

A kernel's buffers are A, B, the epilogue's operands and its outputs. Everything is row-major.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from tahr.backends.native import blocked, finishing, gemv, openblas, tailored, target as targets
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.products import (
    Batch as Batch,
    Problem as Problem,
    Product as Product,
    Size,
    problem as problem,
)
from tahr.backends.native.tailored import Tailored
from tahr.backends.native.target import Target
from tahr.core.dtypes import DType

BLOCKED, ROW, COLUMN, TINY = "blocked", "row", "column", "tiny"


@dataclass(frozen=True)
class Way:
    """A way to compute products: one kernel for each.

    Attributes:
        kind: "blocked"; "row" and "column" where C has one; "tiny" where two sizes are so small that they are constants
            in the kernel.
        m, n, k: these constants; None is what the kernel does not know.
        tailored: another micro-kernel than the usual one.
        library: the address of OpenBLAS's function, where that multiplies; the kernel is the usual one.
    """

    kind: str
    m: int | None = None
    n: int | None = None
    k: int | None = None
    tailored: Tailored | None = None
    library: int = field(default=0, compare=False)


Known = tuple[int | None, int | None, int | None]


def choose(product: Product, problem: Problem, known: Known = (None, None, None)) -> Way:
    """The way to compute a product of exact sizes on the current target.

    Args:
        known: m, n and k as far as the kernel may be specialized to them: sizes that never change.
    """
    tiny = gemv.tiny_constants(product, problem, known)
    if tiny is not None:
        return Way(TINY, *tiny)
    if problem.k > 0 and problem.m == 1 and problem.n > 0 and (not product.transpose_a or problem.lda == 1):
        return Way(ROW)
    is_dense = (product.transpose_b or problem.ldb == 1) and problem.ldc == 1
    if problem.k > 0 and problem.n == 1 and problem.m > 0 and is_dense:
        return Way(COLUMN)
    target = targets.current()
    if library := openblas.find(blocked.blocking(product.dtype, target).micro, product, problem):
        return Way(BLOCKED, library=library)
    return Way(BLOCKED, tailored=_tailored(product, known, target))


@functools.cache
def _tailored(product: Product, known: Known, target: Target) -> Tailored | None:
    return tailored.find(blocked.blocking(product.dtype, target), target, product, known)


def kernel(product: Product, way: Way) -> Kernel:
    """The kernel for the current target."""
    return _kernel(product, way, targets.current())


@functools.cache
def _kernel(product: Product, way: Way, target: Target) -> Kernel:
    if way.kind == TINY:
        return gemv.tiny(product, way.m, way.n, way.k)
    if way.kind == COLUMN:
        product = gemv.as_row(product)
    if way.kind in (ROW, COLUMN):
        by_sums = gemv.sums_rows(product, way.kind == ROW)
        return finishing.kernel_of(product, _vector_walk(product.dtype, by_sums, target), target, way.kind)
    walk, usual = shared(product.dtype, target)
    micro = way.tailored.micro.kernel() if way.tailored else usual
    return finishing.kernel_of(product, walk, target, way.kind, micro)


@functools.cache
def _vector_walk(dtype: DType, by_sums: bool, target: Target) -> Kernel:
    """The walk for one row or column, which adds up rows or does not."""
    return gemv.walk(dtype, target, by_sums)


@functools.cache
def shared(dtype: DType, target: Target) -> tuple[Kernel, Kernel]:
    """What all large products of a dtype share: the blocked walk and its micro-kernel."""
    plan = blocked.blocking(dtype, target)
    return blocked.walk(plan), plan.micro.kernel()


def sizes(product: Product, problem: Problem, way: Way) -> list[int]:
    """The kernel's table for exact sizes. Nothing in it depends on the number of threads."""
    if way.kind == TINY:
        return gemv.tiny_sizes(product, problem)
    if way.kind in (ROW, COLUMN):
        return gemv.vector_sizes(product, problem, way.kind == ROW)
    plan = blocked.blocking(product.dtype, targets.current())
    if way.library:
        return blocked.library_sizes(plan, product, problem, way.library)
    return blocked.sizes(plan, product, problem, way.tailored)


def tiles(table: Sequence[int]) -> int:
    """How many tiles a table's product has."""
    return table[Size.TILES]
