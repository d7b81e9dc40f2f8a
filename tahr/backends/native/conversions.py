"""What LLVM calls where it rounds a double to half in one step, which kernels never ask for.

It does so by itself: `half(copysign(x, float(y)))` of a double y becomes `copysign(half(x), half(y))`. The functions
are part of compiler runtime libraries, which this process need not hold.
"""

from __future__ import annotations

from tahr.backends.native import ir, scalars
from tahr.core import dtypes, scalar

NAMES = {"__truncdfhf2": dtypes.float16, "__truncdfbf2": dtypes.bfloat16}
"""The functions' names, and what they round to."""

PREFIX = "tahr"
"""What is put before a name, lest the functions be found calling themselves."""


def text() -> str:
    """A module that defines them."""
    functions: list[str] = []
    for name, dtype in NAMES.items():
        f = ir.Function(PREFIX + name, [("double", "x")], returns=ir.MEMORY[dtype])
        (value,) = scalars.lower(f, [scalar.convert(scalar.leaf(0, dtypes.float64), dtype)], ["%x"])
        functions.append(f.finish(f"{ir.MEMORY[dtype]} {scalars.to_memory(f, dtype, value)}"))
    return ir.module(functions)
