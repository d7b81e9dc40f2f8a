"""What LLVM calls to convert to and from half types, which kernels never ask for: they do it by integers.

It does so by itself: `half(copysign(x, float(y)))` of a double y becomes `copysign(half(x), half(y))`; and where a
processor has no registers for a half type, a value that only passes through may be widened and rounded again. The
functions are part of compiler runtime libraries, which this process need not hold.
"""

from __future__ import annotations

from tahr.backends.native import ir, scalars
from tahr.core import dtypes, scalar

NAMES = {
    "__truncdfhf2": (dtypes.float64, dtypes.float16),
    "__truncdfbf2": (dtypes.float64, dtypes.bfloat16),
    "__truncsfhf2": (dtypes.float32, dtypes.float16),
    "__truncsfbf2": (dtypes.float32, dtypes.bfloat16),
    "__extendhfsf2": (dtypes.float16, dtypes.float32),
}
"""The functions' names, and what they convert from and to."""

PREFIX = "tahr"
"""What is put before a name, lest the functions be found calling themselves."""


def text() -> str:
    """A module that defines them."""
    functions: list[str] = []
    for name, (source, dtype) in NAMES.items():
        f = ir.Function(PREFIX + name, [(ir.MEMORY[source], "x")], returns=ir.MEMORY[dtype])
        given = scalars.from_memory(f, source, "%x")
        (value,) = scalars.lower(f, [scalar.convert(scalar.leaf(0, source), dtype)], [given])
        functions.append(f.finish(f"{ir.MEMORY[dtype]} {scalars.to_memory(f, dtype, value)}"))
    return ir.module(functions)
