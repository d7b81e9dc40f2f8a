"""Micro-kernels made to measure: for products of known sizes that the usual one fits badly.

The usual micro-kernel's block of C is as large as the registers allow, for any size. Ten rows are two such blocks, of
which the second is mostly empty; of a hundred columns, which are seven vectors, the last vector is. Where all sizes are
known when a product's kernel is chosen, blocks of other heights and widths are considered: ten rows of two vectors hold
nearly as many sums, and a hundred columns are thirteen vectors of half the length. A plain product's micro-kernel also
writes into C, and needs no epilogue, which is what short sums take longest for.

Each is a part of its own, compiled in about 10 ms by whoever wants it first, and only where it saves a microsecond. A
size that is not known, as of a batch, leaves the product to the usual one: so another batch compiles nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tahr.backends.native.blocked import Blocking, overhead
from tahr.backends.native.micro import Micro
from tahr.backends.native.products import Problem, Product, blocks, problem, swapped
from tahr.backends.native.target import Target


class Tailored(NamedTuple):
    """A micro-kernel for some sizes, and whether the operands are exchanged for it."""

    micro: Micro
    is_swapped: bool


# Time is counted in multiplications of the longest vectors: 3 to 8 are begun in a nanosecond. Measured on a Zen 4: how
# many bytes come from the second-level cache in that time; how long a sum waits until its next term can be added; what
# a block costs besides, each vector of its sums, and each row that may be missing; and how long half a vector takes:
# there are more instructions then, which cost where a processor is shared.
_FAR, _LATENCY, _CALL, _STORE, _MISSING, _HALF = 8, 4, 25, 2, 3, 0.53
# What is worth compiling: so much of the usual time less, and so much less (about a microsecond).
_WORTH, _LEAST = 0.08, 3000


def find(plan: Blocking, target: Target, product: Product, known: Sequence[int | None]) -> Tailored | None:
    """The micro-kernel for a product whose m, n and k are known; None where the usual one does."""
    m, n, k = known
    if product.is_half or not m or not n or not k:
        return None
    exact = problem(product, m, n, k)
    ways = (product, exact), swapped(product, exact)
    usual = min(_time(plan, target, *way, is_swapped) for is_swapped, way in enumerate(ways))
    time, micro, is_swapped = min(
        (
            (_time(replace(plan, micro=micro), target, *way, is_swapped), micro, is_swapped == 1)
            for is_swapped, way in enumerate(ways)
            for micro in _micros(plan.micro, target, way[1], product.epilogue.is_plain and not is_swapped)
        ),
        key=lambda each: each[0],
    )
    return Tailored(micro, is_swapped) if usual - time > max(_WORTH * usual, _LEAST) else None


def _micros(usual: Micro, target: Target, problem: Problem, in_place: bool) -> Iterator[Micro]:
    """The micro-kernels whose sums registers can hold beside a row of B and an element of A."""
    for lanes in (usual.lanes, usual.lanes // 2) if target.halves_vectors else (usual.lanes,):
        for vectors in range(1, 6):
            whole, rest = divmod(blocks(problem.n, lanes), vectors)
            widths = ((rest,) if rest else ()) + ((vectors,) if whole else ())
            most = min(2 * usual.rows, (target.vector_registers - 1 - vectors) // vectors)
            for rows in range(4, most + 1):
                is_exact = problem.m % rows == 0
                yield Micro(usual.dtype, lanes, rows, vectors, usual.masks, widths, False, in_place, is_exact)


def _time(plan: Blocking, target: Target, product: Product, problem: Problem, is_swapped: int) -> float:
    """About how long a product takes."""
    micro = plan.micro
    whole, rest = divmod(blocks(problem.n, micro.lanes), micro.vectors)
    row = whole * _block(micro, target, micro.vectors, problem.k)
    if rest:
        row += _block(micro, target, rest, problem.k)
    return blocks(problem.m, micro.rows) * row + overhead(plan, product, problem, is_swapped == 1)


def _block(micro: Micro, target: Target, vectors: int, k: int) -> float:
    """How long a block of C takes that is so many vectors wide."""
    sums = micro.rows * vectors
    if micro.lanes < target.lanes(micro.dtype.size):
        sums *= _HALF
    bytes_of_b = vectors * micro.lanes * micro.dtype.size
    # A step along K takes as long as its multiplications, or as long as it takes to load what is multiplied.
    far = bytes_of_b / _FAR if bytes_of_b * k > target.l1 * 7 // 8 else 0
    step = max(sums, micro.rows + vectors, far, _LATENCY)
    call = _CALL + _STORE * sums + (0 if micro.is_exact else _MISSING * micro.rows)
    # Without an epilogue a block is handed over once.
    return k * step + (call if micro.in_place else 2 * call)
