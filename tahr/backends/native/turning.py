"""Square blocks of a matrix, transposed in registers."""

from __future__ import annotations

from collections.abc import Sequence

from tahr.backends.native import ir


def turned(f: ir.Function, kind: str, block: list[str]) -> list[str]:
    """The columns of a square block of vectors: in each step, pairs of smaller and smaller squares change places."""
    size = len(block)
    step = size // 2
    while step:
        for i in (i for i in range(size) if not i & step):
            a, b = block[i], block[i + step]
            low = [n if not n & step else size + n - step for n in range(size)]
            high = [n + step if not n & step else size + n for n in range(size)]
            block[i], block[i + step] = (_shuffled(f, kind, a, b, order) for order in (low, high))
        step //= 2
    return block


def _shuffled(f: ir.Function, kind: str, a: str, b: str, order: Sequence[int]) -> str:
    """Elements of two vectors, numbered through both."""
    numbers = ", ".join(f"i32 {n}" for n in order)
    return f.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> <{numbers}>")
