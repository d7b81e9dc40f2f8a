"""How reductions combine values: what they begin with, and the code that brings two values together."""

from __future__ import annotations

from typing import Any

from tahr.backends.native import ir, scalars
from tahr.core.dtypes import DType

_IDENTITY: dict[str, Any] = {"add": 0, "multiply": 1, "and": True, "or": False}


def identity(combine: str, dtype: DType) -> Any:
    """The value that changes nothing when it is combined with another."""
    if combine in _IDENTITY:
        return _IDENTITY[combine]
    lowest = combine == "maximum"
    if dtype.is_floating:
        return float("-inf") if lowest else float("inf")
    return dtype.min if lowest else dtype.max


def combined(f: ir.Function, combine: str, dtype: DType, a: str, b: str, width: int | None = None) -> str:
    """a and b combined. Sums of floats may be reordered, so that they can be vectorized.

    Signs of zeros count: else LLVM takes a common factor out of a sum, and infinity times 0 is no longer NaN.
    """
    kind = scalars.kind(dtype, width)
    if combine in ("add", "multiply"):
        name = {"add": "add", "multiply": "mul"}[combine]
        return f.value(f"f{name} reassoc {kind} {a}, {b}" if dtype.is_floating else f"{name} {kind} {a}, {b}")
    if combine in ("and", "or"):
        return f.value(f"{combine} {kind} {a}, {b}")
    if dtype.is_floating:
        return ir.intrinsic(f, combine, kind, a, b)
    return ir.intrinsic(f, f"{'u' if dtype.is_unsigned else 's'}{combine[:3]}", kind, a, b)
