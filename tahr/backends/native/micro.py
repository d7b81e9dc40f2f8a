"""The micro-kernel of matrix products: a small block of C stays in registers while it is summed along K."""

from __future__ import annotations

from dataclasses import dataclass

from tahr.backends.native import fetching, ir, kernel
from tahr.backends.native.epilogue import Segment, broadcast
from tahr.backends.native.ir import F32, F64, I1, I64, POINTER
from tahr.backends.native.kernel import AS_WRITTEN, SYMBOL, Kernel
from tahr.backends.native.products import LOOP_METADATA, loop, mask, multiply_add
from tahr.core import dtypes
from tahr.core.dtypes import DType

# a, with the distances from row to row and from k to k; how many rows there are; b, with the distance from k to k, and
# how many columns there are; k; the small block c, whose rows are as long as the widest; whether it is increased by
# a b instead of becoming a b; and the lines to fetch meanwhile (`fetching.py`).
ARGUMENTS = (
    (POINTER, "a"),
    (I64, "a_row"),
    (I64, "a_term"),
    (I64, "rows"),
    (POINTER, "b"),
    (I64, "b_term"),
    (I64, "columns"),
    (I64, "k"),
    (POINTER, "c"),
    (I1, "again"),
    (POINTER, "list"),
)
# So many steps along K before it is used, a transposed a is fetched: the time that memory takes. Processors do not
# foresee it by themselves where its rows are on different pages.
_AHEAD = 32


@dataclass(frozen=True)
class Micro:
    """A micro-kernel for a target.

    Attributes:
        dtype: what is summed: float32 or float64.
        lanes: elements of a vector register.
        rows: rows of the block of C.
        vectors: the most vectors in a row of it.
        masks: whether loads of parts of a vector cost no more than whole ones.
    """

    dtype: DType
    lanes: int
    rows: int
    vectors: int
    masks: bool

    @property
    def columns(self) -> int:
        """Columns of the widest block of C."""
        return self.lanes * self.vectors

    def kernel(self) -> Kernel:
        """The module."""
        f = ir.Function(SYMBOL, ARGUMENTS, attributes=kernel.ATTRIBUTES)
        # Rows that are not there repeat the last one that is; nobody reads what becomes of them.
        final = f.sub("%rows", 1)
        element = self._element
        lines = [f.at(element, "%a", f.mul(f.minimum(final, row), "%a_row")) for row in range(self.rows)]
        count = f.div(f.add("%columns", self.lanes - 1), self.lanes)
        last = fetching.last(f, "%list")
        for vectors in range(1, self.vectors + 1):
            with f.when(f.value(f"icmp eq i64 {count}, {vectors}")):
                self._block(f, lines, vectors, last)
        title = f"micro-kernel {self.dtype.name}"
        return Kernel(AS_WRITTEN + ir.module([f.finish(), LOOP_METADATA]), 0, title)

    @property
    def _element(self) -> str:
        return F64 if self.dtype == dtypes.float64 else F32

    def _block(self, f: ir.Function, lines: list[str], vectors: int, last: str) -> None:
        """A block that is so many vectors wide.

        Args:
            lines: where the rows of a begin.
            last: the number of the last group of lines to fetch.
        """
        element, lanes, vector = self._element, self.lanes, ir.vector(self.lanes, self._element)
        align = lanes * self.dtype.size
        places = [(row, v) for row in range(self.rows) for v in range(vectors)]
        sums = {place: f.variable(vector, "zeroinitializer") for place in places}
        c = {(row, v): f.at(element, "%c", row * self.columns + v * lanes) for row, v in places}
        with f.when("%again"):
            for place in places:
                f.store(vector, f.load(vector, c[place], align), sums[place])
        runs = [Segment(lanes)] * vectors
        if self.masks:
            runs[-1] = Segment(lanes, mask(f, lanes, f.sub("%columns", (vectors - 1) * lanes)))
        with loop(f, 0, "%k", hint="k") as k:
            # One vector is multiplied so soon that fetching would take a quarter as long.
            if vectors > 1:
                fetching.fetch_listed(f, "%list", last, k)
                fetching.fetch(f, f.at(element, lines[0], f.mul(f.add(k, _AHEAD), "%a_term")))
            b = f.at(element, "%b", f.mul(k, "%b_term"))
            row_of_b = [run.load(f, self.dtype, f.at(element, b, v * lanes)) for v, run in enumerate(runs)]
            along = f.mul(k, "%a_term")
            for row, line in enumerate(lines):
                factor = broadcast(f, lanes, element, f.load(element, f.at(element, line, along)))
                for v in range(vectors):
                    total = sums[row, v]
                    sum_ = multiply_add(f, vector, factor, row_of_b[v], f.load(vector, total))
                    f.store(vector, sum_, total)
        for place in places:
            f.store(vector, f.load(vector, sums[place]), c[place], align)
