"""The micro-kernel of matrix products: a small block of C stays in registers while it is summed along K."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tahr.backends.native import fetching, ir, kernel
from tahr.backends.native.epilogue import Segment, broadcast
from tahr.backends.native.ir import F32, F64, I64, POINTER
from tahr.backends.native.kernel import AS_WRITTEN, SYMBOL, Kernel
from tahr.backends.native.products import LOOP_METADATA, loop, mask, multiply_add
from tahr.core import dtypes
from tahr.core.dtypes import DType

# a, with the distances from row to row and from k to k; how many rows there are; b, with the distance from k to k, and
# how many columns there are; k; c, with the distance from row to row; and the lines to fetch meanwhile (`fetching.py`).
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
    (I64, "c_row"),
    (POINTER, "list"),
)
# So many steps along K before it is used, a transposed a is fetched: the time that memory takes. Processors do not
# foresee it by themselves where its rows are on different pages.
_AHEAD = 32


# How far rows are from the first: those of a, and those of c.
_Distances = tuple[Sequence[str], Sequence[str | int]]


@dataclass(frozen=True)
class Micro:
    """A micro-kernel for a target.

    Attributes:
        dtype: what is summed: float32 or float64.
        lanes: elements of a vector register.
        rows: rows of the block of C.
        vectors: the most vectors in a row of it.
        masks: whether loads of parts of a vector cost no more than whole ones.
        widths: how many vectors the blocks have that there is code for.
        fetches: whether lines are fetched meanwhile.
        in_place: whether c is a matrix, of which nothing but the block is read or written, and has any number of rows.
            Else it is memory for a block, with rows as long as the widest.
        is_exact: whether no rows are ever missing.
    """

    dtype: DType
    lanes: int
    rows: int
    vectors: int
    masks: bool
    widths: tuple[int, ...]
    fetches: bool = True
    in_place: bool = False
    is_exact: bool = False

    @property
    def columns(self) -> int:
        """Columns of the widest block of C."""
        return self.lanes * self.vectors

    def kernel(self) -> Kernel:
        """The module."""
        f = ir.Function(SYMBOL, ARGUMENTS, attributes=kernel.ATTRIBUTES)
        if not self.in_place:
            self._blocks(f, "%a", "%c", self._distances(f, "%rows"))
        else:
            every = self._distances(f, "%rows") if self.is_exact else None
            with loop(f, 0, "%rows", self.rows, hint="first") as first:
                a, c = (f.at(self._element, f"%{x}", f.mul(first, f"%{x}_row")) for x in "ac")
                self._blocks(f, a, c, every or self._distances(f, f.sub("%rows", first)))
        title = f"micro-kernel {self.dtype.name} {self.rows}x{self.columns}"
        return Kernel(AS_WRITTEN + ir.module([f.finish(), LOOP_METADATA]), 0, title)

    def _distances(self, f: ir.Function, rows: str) -> _Distances:
        """How far the rows of a block's a and c are from the first."""
        numbers: Sequence[str | int] = range(self.rows)
        if not self.is_exact:
            # Rows that are not there repeat the last one that is, and become it once more.
            final = f.sub(rows, 1)
            numbers = [f.minimum(final, row) for row in numbers]
        lines = [f.mul(number, "%a_row") for number in numbers]
        if self.in_place:
            return lines, [f.mul(number, "%c_row") for number in numbers]
        return lines, range(0, self.rows * self.columns, self.columns)

    def _blocks(self, f: ir.Function, a: str, c: str, distances: _Distances) -> None:
        """A block of any of the widths."""
        lines, rows_of_c = distances
        starts = [f.at(self._element, c, row) for row in rows_of_c]
        count = f.div(f.add("%columns", self.lanes - 1), self.lanes)
        last = fetching.last(f, "%list")
        for vectors in self.widths:
            with f.when(f.value(f"icmp eq i64 {count}, {vectors}")):
                self._block(f, a, lines, starts, vectors, last)

    @property
    def _element(self) -> str:
        return F64 if self.dtype == dtypes.float64 else F32

    def _block(
        self,
        f: ir.Function,
        start: str,
        lines: Sequence[str],
        rows_of_c: Sequence[str],
        vectors: int,
        last: str,
    ) -> None:
        """A block that is so many vectors wide.

        Args:
            start: where the rows of a begin.
            lines: how far they are from the first.
            rows_of_c: where the rows of c begin.
            last: the number of the last group of lines to fetch.
        """
        element, lanes, vector = self._element, self.lanes, ir.vector(self.lanes, self._element)
        runs = [Segment(lanes)] * vectors
        if self.masks:
            runs[-1] = Segment(lanes, mask(f, lanes, f.sub("%columns", (vectors - 1) * lanes)))
        runs_of_c = runs if self.in_place else [Segment(lanes)] * vectors
        places = [(row, v) for row in range(self.rows) for v in range(vectors)]
        sums = {place: f.variable(vector, "zeroinitializer") for place in places}
        c = {(row, v): f.at(element, rows_of_c[row], v * lanes) for row, v in places}
        of_a, of_b = f.variable(POINTER, start), f.variable(POINTER, "%b")
        with loop(f, 0, "%k", hint="k") as k:
            a, b = f.load(POINTER, of_a), f.load(POINTER, of_b)
            # One vector is multiplied so soon that fetching would take a quarter as long.
            if self.fetches and vectors > 1:
                fetching.fetch_listed(f, "%list", last, k)
                fetching.fetch(f, f.at(element, a, f.mul(_AHEAD, "%a_term")))
            row_of_b = [run.load(f, self.dtype, f.at(element, b, v * lanes)) for v, run in enumerate(runs)]
            for row, line in enumerate(lines):
                factor = broadcast(f, lanes, element, f.load(element, f.at(element, a, line)))
                for v in range(vectors):
                    total = sums[row, v]
                    sum_ = multiply_add(f, vector, factor, row_of_b[v], f.load(vector, total))
                    f.store(vector, sum_, total)
            f.store(POINTER, f.at(element, a, "%a_term"), of_a)
            f.store(POINTER, f.at(element, b, "%b_term"), of_b)
        for row, v in places:
            runs_of_c[v].store(f, self.dtype, f.load(vector, sums[row, v]), c[row, v])
