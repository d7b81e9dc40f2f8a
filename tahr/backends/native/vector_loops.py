"""Loop nests whose innermost loop is written in vectors.

LLVM's vectorizer finds the same vectors, but its way there is long, and it makes three loops: over several vectors at a
time, over smaller ones, over single elements. Here there are two, the second over what is left, a vector at a time with
a mask for the elements that there are. It takes half the time to compile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from tahr.backends.native import combining, ir, scalars
from tahr.backends.native.epilogue import Segment, broadcast
from tahr.backends.native.kernel import AS_WRITTEN, QUICKLY
from tahr.backends.native.loops import Emitter
from tahr.backends.native.nests import Access, Nest, Position, Reduce
from tahr.backends.native.passes import itemsize, stash_kind, stashed
from tahr.backends.native.products import mask
from tahr.backends.native.target import Target, current
from tahr.core import scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar

# How many vectors are worked on at the same time, for expressions of so many nodes: what is waited for is hidden, and
# the code stays short.
COPIES = ((4, 10), (2, 40))
# Rows of so few vectors, with so many nodes in all of them, are written out: then totals of columns are in registers.
WRITTEN_OUT = 4
MOST_WRITTEN_OUT = 120
# How floats are compared of which one is the maximum or minimum.
EXTREMA = {"maximum": "ogt", "minimum": "olt"}


def masks(target: Target) -> bool:
    """Whether the processor loads and stores parts of a vector, whatever the elements."""
    return all(target.has(feature) for feature in ("avx512bw", "avx512dq", "avx512vl"))


class _Run(NamedTuple):
    """The elements of a row that are worked on together.

    Attributes:
        column: that of the first.
        segment: how many they are.
        copy: which of the vectors that are in work at the same time it is.
    """

    column: str
    segment: Segment
    copy: int


class VectorEmitter(Emitter):
    """Writes the loop over columns in vectors, several at a time; then LLVM has half as much to do.

    Where less than a vector is left its elements are masked, so there is no loop over single elements.
    """

    heading = AS_WRITTEN

    @staticmethod
    def can_write(nest: Nest) -> bool:
        """Whether a row's elements lie side by side, and the processor masks vectors."""
        if not masks(current()):
            return False
        if nest.rows and nest.columns == (1,):
            return False  # LLVM makes vectors of rows
        for access in nest.inputs:
            if isinstance(access, Access) and access.strides[-1] not in (0, 1):
                return False
        for _, access in nest.stores:
            strides = access.strides[len(nest.rows) :]
            if strides[-1] != 1 and any(s != 0 for s in strides):
                return False
        return True

    def __init__(self, nest: Nest, title: str) -> None:
        super().__init__(nest, title)
        if all(size == 1 for size in self.dims):
            self.heading = QUICKLY  # a number, as of a learning rate
        computed = [e for e in scalar.ordered(nest.expressions) if self._is_vector(e)]
        self.lanes = current().lanes(max((itemsize(e.dtype) for e in computed), default=4))
        self.copies = next((n for n, most in COPIES if len(computed) <= most), 1)
        self.has_rest = True
        self.runs: list[_Run] = []
        """The runs of a row that is written out."""
        self._in_registers: dict[int, list[str]] = {}
        """For reductions along the rows the totals of each run, where they are not in memory."""
        self._missing: dict[str, str] = {}
        """For accumulators of maxima and minima of floats, where is kept what was not a number."""
        self._fit(len(computed))

    def _is_vector(self, e: Scalar) -> bool:
        """Whether an expression is computed in vectors."""
        return self.passes.on_columns(e)

    def _fit(self, nodes: int) -> None:
        """Finds how to go through rows of a known length."""
        length = self.nest.columns[-1]
        if not isinstance(length, int) or length == 0 or len(self.dims) == 1:
            return
        vectors = -(-length // self.lanes)
        if vectors <= WRITTEN_OUT and vectors * nodes <= MOST_WRITTEN_OUT:
            self.copies = vectors
            self.runs = [self._run(v, length - v * self.lanes) for v in range(vectors)]
        elif length % self.lanes == 0:
            self.copies = next(n for n in range(self.copies, 0, -1) if vectors % n == 0)
            self.has_rest = False

    def _run(self, number: int, left: int) -> _Run:
        """A run of a row that is written out, where so many elements are left."""
        lanes = ", ".join(f"i1 {'true' if i < left else 'false'}" for i in range(self.lanes))
        return _Run(
            str(number * self.lanes), Segment(self.lanes, f"<{lanes}>" if left < self.lanes else None), number
        )

    def _settled(self, place: str) -> str:
        # LLVM would carry a pointer along for each access and each loop around it, and run out of registers.
        return self.f.value(f"freeze i64 {place}") if place.startswith("%") else place

    def _along(self, start: str, stop: str, body: Callable[[_Run], None]) -> None:
        """Goes over the innermost dimension's columns."""
        for run in self.runs:
            body(run)
        if not self.runs:
            self._loops(start, stop, body, "column")

    def _loops(self, start: str, stop: str, body: Callable[[_Run], None], hint: str) -> None:
        """The loops from one column to another."""
        f, together = self.f, self.copies * self.lanes
        whole = f.sub(stop, f.rem(f.sub(stop, start), together))
        with f.loop(start, whole, together, hint=hint) as index:
            for copy in range(self.copies):
                at = f.add(index, copy * self.lanes) if copy else index
                body(_Run(at, Segment(self.lanes), copy))
        if not self.has_rest:
            return
        with f.loop(whole, stop, self.lanes, hint=hint) as index:
            body(_Run(index, self._segment(index, stop), 0))

    def _segment(self, column: str, stop: str) -> Segment:
        """The next vector of columns, as far as there are some."""
        if not self.has_rest:
            return Segment(self.lanes)
        return Segment(self.lanes, mask(self.f, self.lanes, self.f.sub(stop, column)))

    def _clear(self, row: str, dtype: DType, nothing: str) -> None:
        f, memory = self.f, ir.MEMORY[dtype]
        values = ir.splat(memory, nothing)
        with f.loop(0, self.column_count, self.lanes, hint="clear") as column:
            segment = self._segment(column, self.column_count)
            segment.write(f, dtype, values, f.at(memory, row, column))

    def _left_rows(self, start: str, stop: str, totals: Mapping[int, str]) -> None:
        if not self.runs:
            self.copies = 1  # short code is worth more for so few rows
        super()._left_rows(start, stop, totals)

    # ------------------------------------------------------------ a pass over the columns

    def _pass(self, number: int, totals: Mapping[int, str]) -> None:
        nest, f = self.nest, self.f
        work = self._begun(number)
        if work is None:
            return
        reduces, stores, stash, roots = work
        sums = {j: self._nothing(nest.reduces[j]) for j in reduces if nest.reduces[j].over != "column"}
        with ExitStack() as outer:
            indices, start, stop, flat = self._outer_loops(outer)
            element = self._elements(roots, number, indices, flat)
            columns = self._totals(totals, flat)
            targets = [self._start(self.targets[i], nest.stores[i][1], indices) for i in stores]
            keeps = [self._stash_place(e, flat) for e in stash]

            def body(run: _Run) -> None:
                values = element(run)
                for j, value in zip(reduces, values):
                    if j in sums:
                        self._add_to_sum(nest.reduces[j], sums[j][run.copy], value, run.segment)
                    else:
                        self._add_to_total(j, columns, value, run)
                for i, value, target in zip(stores, values[len(reduces) :], targets):
                    dtype = nest.stores[i][1].dtype
                    run.segment.store(f, dtype, value, f.at(ir.MEMORY[dtype], target, run.column))
                for e, value, place in zip(stash, values[len(reduces) + len(stores) :], keeps):
                    run.segment.store(
                        f, stashed(e.dtype), value, f.at(stash_kind(e.dtype), place, run.column)
                    )

            self._along(start, stop, body)
        for j, copies in sums.items():
            self._finish(j, copies, totals)

    def _rows_together(self, first: str, totals: Mapping[int, str]) -> None:
        nest, f = self.nest, self.f
        roots = [r.what for r in nest.reduces]
        rows = self._rows(first, roots)
        sums = {j: self._nothing(r) for j, r in enumerate(nest.reduces) if r.over != "column"}
        with ExitStack() as outer:
            indices, start, stop, flat = self._outer_loops(outer)
            elements: list[Callable[[_Run], list[str]]] = []
            for self.row_indices, self.bases, self.known in rows:
                elements.append(self._elements(roots, 0, indices, flat))
            columns = self._totals(totals, flat)

            def body(run: _Run) -> None:
                by_row = [element(run) for element in elements]
                for j, (reduce, values) in enumerate(zip(nest.reduces, zip(*by_row))):
                    value = functools.reduce(
                        lambda a, b: combining.combined(
                            f, reduce.combine, reduce.accumulator, a, b, self.lanes
                        ),
                        values,
                    )
                    if reduce.over == "column":
                        self._add_to_total(j, columns, value, run)
                    else:
                        self._add_to_sum(reduce, sums[j][run.copy], value, run.segment)

            self._along(start, stop, body)
        for j, copies in sums.items():
            self._finish(j, copies, totals)

    def _outer_loops(self, stack: ExitStack) -> tuple[list[str], str, str, str]:
        """Opens the loops over all columns but the innermost.

        Returns:
            their indices, from where to where the innermost goes, and the number of the columns before it.
        """
        f, indices, flat = self.f, list[str](), "0"
        *outer, last = self.nest.columns
        for dim in outer:
            size = self._value(dim)
            index = stack.enter_context(f.loop(0, size, hint="column"))
            indices.append(index)
            flat = f.add(f.mul(flat, size), index)
        if outer:
            return indices, "0", self._value(last), f.mul(flat, self._value(last))
        start, stop = self.column_range
        return indices, start, stop or self._value(last), flat

    def _elements(
        self, roots: Sequence[Scalar], number: int, indices: Sequence[str], flat: str
    ) -> Callable[[_Run], list[str]]:
        """What computes expressions at a run of columns; what is the same for all of them is there before."""
        f, nest, lanes = self.f, self.nest, self.lanes
        last = len(self.dims) - 1
        same, kept, leaves = self._operands(roots, number)
        known = {
            e: broadcast(f, lanes, scalars.kind(e.dtype), self.known[e]) for e in same if e.op != "constant"
        }
        keeps = {e: self._stash_place(e, flat) for e in kept}
        starts: dict[Scalar, str] = {}
        positions: list[Scalar] = []
        for e in leaves:
            access = nest.inputs[e.value]
            if isinstance(access, Access) and access.strides[-1] == 1:
                starts[e] = self._start(self.sources[e.value], access, indices)
            elif isinstance(access, Position) and access.axis == last:
                positions.append(e)
            else:
                value = self._input(access, e.value, [*self.row_indices, *indices], None)
                known[e] = broadcast(f, lanes, scalars.kind(e.dtype), value)

        def element(run: _Run) -> list[str]:
            values = dict(known)
            for e, place in keeps.items():
                values[e] = run.segment.load(
                    f, stashed(e.dtype), f.at(stash_kind(e.dtype), place, run.column)
                )
            for e, start in starts.items():
                values[e] = run.segment.load(f, e.dtype, f.at(ir.MEMORY[e.dtype], start, run.column))
            for e in positions:
                values[e] = self._positions(e.dtype, run.column)
            return scalars.lower(f, roots, width=lanes, known=values)

        return element

    def _start(self, buffer: str, access: Access, indices: Sequence[str]) -> str:
        """The address of an access' element in the innermost dimension's first column."""
        return self.f.at(ir.MEMORY[access.dtype], buffer, self._place(access, indices))

    def _positions(self, dtype: DType, index: str) -> str:
        """The numbers of columns."""
        f, lanes = self.f, self.lanes
        wide, kind = ir.vector(lanes, ir.I64), scalars.kind(dtype, lanes)
        order = "<" + ", ".join(f"i64 {i}" for i in range(lanes)) + ">"
        numbers = f.value(f"add {wide} {broadcast(f, lanes, ir.I64, index)}, {order}")
        if dtype.is_floating:
            return f.value(f"sitofp {wide} {numbers} to {kind}")
        return numbers if kind == wide else f.value(f"trunc {wide} {numbers} to {kind}")

    # ------------------------------------------------------------ reductions

    def _nothing(self, reduce: Reduce) -> list[str]:
        """Accumulators of a reduction along the columns, one for each vector in work."""
        kind = scalars.kind(reduce.accumulator)
        nothing = ir.splat(kind, ir.number(combining.identity(reduce.combine, reduce.accumulator), kind))
        vector = ir.vector(self.lanes, kind)
        sums = [self.f.variable(vector, nothing, "sum") for _ in range(self.copies)]
        if reduce.combine in EXTREMA and reduce.accumulator.is_floating:
            self._missing |= {sum_: self.f.variable(vector, "zeroinitializer", "missing") for sum_ in sums}
        return sums

    def _add_to_sum(self, reduce: Reduce, sum_: str, value: str, segment: Segment) -> None:
        f, dtype = self.f, reduce.accumulator
        kind = scalars.kind(dtype)
        vector = ir.vector(self.lanes, kind)
        if segment.mask is not None:
            nothing = ir.splat(kind, ir.number(combining.identity(reduce.combine, dtype), kind))
            mask_ = f"{segment.type(ir.I1)} {segment.mask}"
            value = f.value(f"select {mask_}, {vector} {value}, {vector} {nothing}")
        before = f.load(vector, sum_)
        if sum_ in self._missing:
            self._note_missing(sum_, vector, value)
            f.store(vector, _extremum(f, reduce.combine, dtype, before, value, self.lanes), sum_)
        else:
            f.store(vector, combining.combined(f, reduce.combine, dtype, before, value, self.lanes), sum_)

    def _note_missing(self, sum_: str, vector: str, value: str) -> None:
        """Notes, beside a maximum or minimum, what is not a number."""
        place = self._missing[sum_]
        self.f.store(vector, self._unless_missing(vector, value, self.f.load(vector, place)), place)

    def _unless_missing(self, vector: str, value: str, other: str) -> str:
        """A value where it is not a number, else another one."""
        missing = self.f.value(f"fcmp uno {vector} {value}, {value}")
        return self.f.value(
            f"select {ir.vector(self.lanes, ir.I1)} {missing}, {vector} {value}, {vector} {other}"
        )

    def _total(self, reduce: Reduce, sum_: str) -> str:
        """An accumulator's vector."""
        vector = scalars.kind(reduce.accumulator, self.lanes)
        total = self.f.load(vector, sum_)
        if sum_ not in self._missing:
            return total
        return self._unless_missing(vector, self.f.load(vector, self._missing[sum_]), total)

    def _totals(self, totals: Mapping[int, str], flat: str) -> dict[int, str]:
        """The addresses of totals of columns, from the innermost dimension's first on."""
        reduces = self.nest.reduces
        return {
            j: self.f.at(ir.MEMORY[reduces[j].accumulator], total, flat)
            for j, total in totals.items()
            if reduces[j].over == "column" and j not in self._in_registers
        }

    def _start_column_totals(self, j: int, tile: str) -> str:
        if not self.runs or len(self.nest.columns) > 1:
            return super()._start_column_totals(j, tile)
        self._in_registers[j] = self._nothing(self.nest.reduces[j])
        return ""

    def _store_totals(self, tile: str, totals: Mapping[int, str]) -> None:
        super()._store_totals(tile, totals)
        f = self.f
        for j, registers in self._in_registers.items():
            dtype = self.nest.reduces[j].accumulator
            row = f.at(ir.MEMORY[dtype], self.partials[j], f.mul(tile, self.column_count))
            for run, register in zip(self.runs, registers):
                value = self._total(self.nest.reduces[j], register)
                run.segment.store(f, dtype, value, f.at(ir.MEMORY[dtype], row, run.column))

    def _add_to_total(self, j: int, columns: Mapping[int, str], value: str, run: _Run) -> None:
        f, reduce = self.f, self.nest.reduces[j]
        if j in self._in_registers:
            self._add_to_sum(reduce, self._in_registers[j][run.copy], value, Segment(self.lanes))
            return
        dtype, total = reduce.accumulator, columns[j]
        place = f.at(ir.MEMORY[dtype], total, run.column)
        before = run.segment.load(f, dtype, place)
        run.segment.store(
            f, dtype, combining.combined(f, reduce.combine, dtype, before, value, self.lanes), place
        )

    def _finish(self, j: int, copies: Sequence[str], totals: Mapping[int, str]) -> None:
        """Combines the accumulators of a reduction: the vectors, then their elements, halves with halves."""
        f, reduce = self.f, self.nest.reduces[j]
        dtype, width = reduce.accumulator, self.lanes
        kind = scalars.kind(dtype)
        vectors = [self._total(reduce, copy) for copy in copies]
        value = functools.reduce(
            lambda a, b: combining.combined(f, reduce.combine, dtype, a, b, width), vectors
        )
        while width > 1:
            vector, width = ir.vector(width, kind), width // 2
            halves = [
                f.value(
                    f"shufflevector {vector} {value}, {vector} poison, {ir.vector(width, ir.I32)} <"
                    + ", ".join(f"i32 {i}" for i in range(first, first + width))
                    + ">"
                )
                for first in (0, width)
            ]
            value = combining.combined(f, reduce.combine, dtype, *halves, width)
        value = f.value(f"extractelement {ir.vector(1, kind)} {value}, i64 0")
        if reduce.over == "row":
            self.known[scalar.leaf(len(self.nest.inputs) + j, reduce.dtype)] = value
        else:
            f.store(
                kind, combining.combined(f, reduce.combine, dtype, f.load(kind, totals[j]), value), totals[j]
            )


def _extremum(f: ir.Function, combine: str, dtype: DType, a: str, b: str, width: int) -> str:
    """The maxima or minima of two vectors of floats, of which a are numbers: a where b are not, and of equal zeros.

    That is one instruction, where llvm.maximum takes six: for NaN, which is looked for beside it, and signs of zeros.
    """
    kind = scalars.kind(dtype, width)
    better = f.value(f"fcmp {EXTREMA[combine]} {kind} {b}, {a}")
    return f.value(f"select {ir.vector(width, ir.I1)} {better}, {kind} {b}, {kind} {a}")
