"""Kernels: compiled loops over tiles, and what they agree on with whoever calls them.

A kernel is one function

    void kernel(ptr buffers, ptr sizes, i64 begin, i64 end, ptr scratch)

that computes the tiles `begin <= tile < end` of its work. `buffers` leads to the addresses of what it reads and writes,
`sizes` to 64-bit integers: dimensions, strides, offsets (in elements) and whatever else a changed batch size changes.
So one compiled kernel serves every size. Tiles are independent of each other, and how work is cut into tiles depends
on the sizes and the processor alone, never on the number of threads: results are the same bits for any number.
`scratch` is memory that belongs to the calling thread for the time of the call, aligned to 64 bytes.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tahr.backends.native import ir

ARGUMENTS = (
    (ir.POINTER, "buffers"),
    (ir.POINTER, "sizes"),
    (ir.I64, "begin"),
    (ir.I64, "end"),
    (ir.POINTER, "scratch"),
)

# What a function that uses vectors has.
ATTRIBUTES = '"prefer-vector-width"="512"'

# In a kernel's text this stands for the symbol, which is a hash of the text.
SYMBOL = "KERNEL"

# A text that starts with this holds its loops and vectors as they shall be, and only has to be cleaned up: LLVM's whole
# pipeline takes ten times as long and finds nothing.
AS_WRITTEN = "; as written\n"
# A text that starts with this calls what takes the time, or runs seldom: its code is made with little effort, in a
# fifth of the time.
QUICKLY = "; quickly\n"


@dataclass(frozen=True)
class Kernel:
    """One kernel, ready to be compiled.

    Attributes:
        text: LLVM IR that defines `@KERNEL`, and whatever it calls; no triple, no data layout, no addresses.
        scratch: how many bytes of scratch each thread needs.
        title: what it computes, for people: "matmul f32 nn + bias + relu".
        parts: modules of functions that the text calls by their symbols; several kernels may share one.
    """

    text: str
    scratch: int
    title: str
    parts: tuple[Kernel, ...] = ()

    @functools.cached_property
    def symbol(self) -> str:
        """The name of the compiled function: equal texts are one function."""
        return "tahr_" + hashlib.sha256(self.text.encode()).hexdigest()[:24]

    @functools.cached_property
    def linked_text(self) -> str:
        """The text with that name in it."""
        return self.text.replace(f"@{SYMBOL}", f"@{self.symbol}")


def with_parts(kernels: Iterable[Kernel]) -> Iterator[Kernel]:
    """Kernels, and the parts that they are linked with."""
    for kernel in kernels:
        yield kernel
        yield from with_parts(kernel.parts)


def function(plain: bool = False) -> ir.Function:
    """A kernel's function, to be filled; see `ir.Function`."""
    return ir.Function(SYMBOL, ARGUMENTS, attributes=ATTRIBUTES, plain=plain)


def buffer(f: ir.Function, index: int) -> str:
    """The address of the kernel's buffer with a number; loaded once, at the start of the function."""
    return f.load(ir.POINTER, f.at(ir.POINTER, "%buffers", index), hint=f"buffer{index}")


def size(f: ir.Function, index: int) -> str:
    """The kernel's size with a number."""
    return f.load(ir.I64, f.at(ir.I64, "%sizes", index), hint=f"size{index}")


def sizes(f: ir.Function, count: int) -> Sequence[str]:
    """The first sizes."""
    return [size(f, i) for i in range(count)]
