"""Packing for matrix products: blocks are copied into the order in which the micro-kernel reads them.

A *line* is a row of A or a column of B. Lines are packed panel by panel, a panel being as many lines as the
micro-kernel takes at once: [panel][k][line].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tahr.backends.native import fetching, ir, kernel
from tahr.backends.native.epilogue import Segment
from tahr.backends.native.ir import F32, F64, I64, POINTER
from tahr.backends.native.kernel import AS_WRITTEN, SYMBOL, Kernel
from tahr.backends.native.products import LOOP_METADATA, accumulated, call, cover, either, loop, mask
from tahr.core import dtypes
from tahr.core.dtypes import DType

# The first element of a block, with the distances from line to line and from k to k, one of which is one; how many
# lines there are; where they go; how many lines a panel has, and the unit to which the last one is filled up; and how
# far the block goes along K.
ARGUMENTS = (
    (POINTER, "source"),
    (I64, "line_step"),
    (I64, "k_step"),
    (I64, "lines"),
    (POINTER, "packed"),
    (I64, "panel"),
    (I64, "unit"),
    (I64, "depth"),
)
# The same for a panel of lines that lie across; `width` is the distance from k to k where they go.
_TRANSPOSE = (
    (POINTER, "source"),
    (I64, "line_step"),
    (I64, "lines"),
    (POINTER, "packed"),
    (I64, "width"),
    (I64, "depth"),
)
# Lines that lie side by side are read so many steps at a time: so all panels read from the same few pages. Meanwhile
# the steps that come next are fetched, as no processor foresees strides that long: 64 rows times a matrix of 3136x1024
# take 2.6 ms instead of 2.8, of 6272x1024 5.5 instead of 6.1.
_STEPS = 8


@dataclass(frozen=True)
class Packing:
    """Writes the function that packs.

    Attributes:
        dtype: what is packed; half types become float32.
        lanes: elements of a vector register.
        rows: the least lines of a panel.
        masks: whether loads and stores of parts of a vector cost no more than whole ones.
    """

    dtype: DType
    lanes: int
    rows: int
    masks: bool

    @property
    def _accumulated(self) -> DType:
        return accumulated(self.dtype)

    @property
    def _memory(self) -> str:
        return ir.MEMORY[self.dtype]

    @property
    def _element(self) -> str:
        return F64 if self.dtype == dtypes.float64 else F32

    @property
    def _square(self) -> int:
        """Lines and steps of the squares that are transposed at once: as wide as 128 or 256 bits."""
        return min(self.rows, self.lanes, 8 * 4 // self._accumulated.size)

    def kernel(self) -> Kernel:
        """The module."""
        text = AS_WRITTEN + ir.module([self._transpose(), self._pack(), LOOP_METADATA])
        return Kernel(text, 0, f"packing {self.dtype.name}")

    def _pack(self) -> str:
        """A block's lines, panel by panel."""
        f = ir.Function(SYMBOL, ARGUMENTS, attributes=kernel.ATTRIBUTES, plain=True)
        adjacent = f.value("icmp eq i64 %line_step, 1")
        step = either(f, adjacent, _STEPS, "%depth")
        with loop(f, 0, "%depth", step, hint="k") as k, loop(f, 0, "%lines", "%panel", hint="first") as first:
            steps = f.minimum(step, f.sub("%depth", k))
            there = f.minimum("%panel", f.sub("%lines", first))
            width = f.mul(f.div(f.add(there, f.sub("%unit", 1)), "%unit"), "%unit")
            packed = f.at(self._element, "%packed", f.add(f.mul(first, "%depth"), f.mul(k, width)))
            source = f.at(self._memory, "%source", f.add(f.mul(first, "%line_step"), f.mul(k, "%k_step")))
            with f.either(adjacent) as branches:
                self._copy(f, source, there, packed, width, steps)
                branches.otherwise()
                call(f, "@transpose", _TRANSPOSE, source, "%line_step", there, packed, width, steps)
        return f.finish()

    def _copy(self, f: ir.Function, source: str, lines: str, packed: str, width: str, steps: str) -> None:
        """Lines that lie as they shall."""

        def run(k: str, line: str, run: Segment) -> None:
            there = f.at(self._memory, source, f.add(f.mul(k, "%k_step"), line))
            here = f.at(self._element, packed, f.add(f.mul(k, width), line))
            fetching.fetch(f, f.at(self._memory, there, f.mul("%k_step", _STEPS)), level=2)
            run.store(f, self._accumulated, run.load(f, self.dtype, there), here)

        if self.masks:
            with loop(f, 0, lines, self.lanes, hint="line") as line:
                segment = Segment(self.lanes, mask(f, self.lanes, f.sub(lines, line)))
                with loop(f, 0, steps, hint="step") as k:
                    run(k, line, segment)
        else:
            with loop(f, 0, steps, hint="step") as k:
                cover(f, lines, min(self.lanes, self.rows), lambda line, segment: run(k, line, segment))

    def _transpose(self) -> str:
        """Lines that lie across, square by square; one that is not there repeats the last."""
        f = ir.Function("transpose", _TRANSPOSE, attributes=kernel.ATTRIBUTES, linkage="internal", plain=True)
        size = self._square
        final = f.sub("%lines", 1)
        with loop(f, 0, "%lines", size, hint="line") as line:
            numbers = [f.minimum(f.add(line, r), final) for r in range(size)]
            lines = [f.at(self._memory, "%source", f.mul(number, "%line_step")) for number in numbers]
            packed = f.at(self._element, "%packed", line)

            def run(k: str, run: Segment) -> None:
                place = f.at(self._element, packed, f.mul(k, "%width"))
                sources = [f.at(self._memory, source, k) for source in lines]
                if run.width is None:
                    values, step = [run.load(f, self.dtype, source) for source in sources], "1"
                else:
                    values, step = self._transposed(f, sources), "%width"
                for row, value in enumerate(values):
                    address = f.at(self._element, place, f.mul(row, step))
                    run.store(f, self._accumulated, value, address)

            cover(f, "%depth", size, run)
        return f.finish()

    def _transposed(self, f: ir.Function, sources: Sequence[str]) -> list[str]:
        """The columns of the square whose rows start at some addresses.

        Processors shuffle fastest within 128 bits. So the square is loaded as squares of 128 bits wide, which change
        places as they are put together and are then transposed side by side.
        """
        size = self._square
        part = min(size, 16 // self._accumulated.size)
        pieces = [
            [Segment(part).load(f, self.dtype, f.at(self._memory, source, at)) for at in range(0, size, part)]
            for source in sources
        ]
        columns: list[str] = []
        for at in range(size // part):
            rows = [row[at] for row in pieces]
            if size > part:
                halves = zip(rows[:part], rows[part:])
                rows = [_shuffle(f, ir.vector(part, self._element), a, b, range(size)) for a, b in halves]
            columns += _transposed(f, rows, size, self._element)
        return columns


def _transposed(f: ir.Function, rows: Sequence[str], width: int, element: str) -> list[str]:
    """Transposes the squares that lie side by side in vectors of a width; there are as many rows as a square has.

    Source: interleaving each row of the first half with its counterpart in the second is a perfect shuffle of the
    elements' addresses; log2(size) of them exchange rows and columns (Stone, "Parallel processing with the perfect
    shuffle", 1971).
    """
    size, kind = len(rows), ir.vector(width, element)
    half = size // 2
    low = [
        x for square in range(0, width, size) for i in range(square, square + half) for x in (i, width + i)
    ]
    high = [i + half for i in low]
    values = list(rows)
    for _ in range(size.bit_length() - 1):
        pairs = zip(values[:half], values[half:])
        values = [_shuffle(f, kind, a, b, order) for a, b in pairs for order in (low, high)]
    return values


def _shuffle(f: ir.Function, kind: str, a: str, b: str, order: Sequence[int]) -> str:
    indices = "<" + ", ".join(f"i32 {i}" for i in order) + ">"
    return f.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> {indices}")
