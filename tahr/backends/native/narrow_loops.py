"""Loop nests of few columns, which are written out: the rows are what is vectorized."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from tahr.backends.native import combining, ir, scalars
from tahr.backends.native.loops import MOST_UNROLLED, Emitter
from tahr.backends.native.nests import Nest
from tahr.backends.native.passes import leaves
from tahr.core import scalar
from tahr.core.scalar import Scalar

# So few columns are written out.
NARROW = 8
# Without reductions, vectors of columns are better beyond this many (2 MB in rows of 8: twice as fast).
NARROW_WITHOUT_SUMS = 3


class NarrowEmitter(Emitter):
    """Writes a nest of few columns: they are written out, and the loop over rows is the innermost.

    A softmax of 100 rows of 2 takes a fifth of the time. LLVM must know how far one row is from the next, or it only
    vectorizes for rows that lie side by side.
    """

    literal_stride = NARROW
    is_narrow = True

    @staticmethod
    def can_write(nest: Nest) -> bool:
        """Whether there are so few columns that a loop over them is not worth having."""
        columns = [d for d in nest.columns if isinstance(d, int)]
        most = NARROW if nest.reduces else NARROW_WITHOUT_SUMS
        if not nest.rows or len(columns) < len(nest.columns) or math.prod(columns) > most:
            return False
        return len(scalar.ordered(nest.expressions)) * math.prod(columns) <= MOST_UNROLLED

    def _takes_rows_together(self) -> bool:
        return False  # totals are in registers

    def _row_metadata(self) -> str:
        vectorized, self._row_group = self._new_group()
        return vectorized

    def _plan_stashes(self) -> None:
        """Nothing is kept in memory: a row is straight-line code."""
        columns = [range(d) for d in self.nest.columns if isinstance(d, int)]
        self.columns = [list(map(str, place)) for place in itertools.product(*columns)]

    def _start_totals(self, tile: str) -> dict[int, str]:
        self.column_totals: dict[tuple[int, int], str] = {}
        totals: dict[int, str] = {}
        for j in self.nest.leaving:
            reduce = self.nest.reduces[j]
            if reduce.over == "all":
                totals[j] = self._new_total(reduce)
            else:
                for c in range(len(self.columns)):
                    self.column_totals[j, c] = self._new_total(reduce)
        return totals

    def _store_totals(self, tile: str, totals: Mapping[int, str]) -> None:
        super()._store_totals(tile, totals)
        first = self.f.mul(tile, len(self.columns))
        for (j, c), total in self.column_totals.items():
            dtype = self.nest.reduces[j].accumulator
            value = self.f.load(scalars.kind(dtype), total)
            self._write(dtype, value, self.partials[j], self.f.add(first, c))

    def _row(self, indices: list[str], totals: Mapping[int, str]) -> None:
        self.by_column: list[dict[Scalar, str]] = [{} for _ in self.columns]
        super()._row(indices, totals)

    def _pass(self, number: int, totals: Mapping[int, str]) -> None:
        nest = self.nest
        self._row_stores([number])
        for i, (e, access) in enumerate(nest.stores):
            if self.passes.level(e) == number and self.passes.is_wide(i):
                for value, indices in zip(self._values(e), self.columns):
                    place = self._place(access, indices)
                    self._write(access.dtype, value, self.targets[i], place, self._row_group)
        for j, reduce in enumerate(nest.reduces):
            if self.passes.level(reduce.what) == number:
                self._reduce(j, self._values(reduce.what), totals)

    def _reduce(self, j: int, values: Sequence[str], totals: Mapping[int, str]) -> None:
        reduce, f = self.nest.reduces[j], self.f
        dtype = reduce.accumulator
        kind = scalars.kind(dtype)
        if reduce.over == "column":
            for c, value in enumerate(values):
                total = self.column_totals[j, c]
                f.store(kind, combining.combined(f, reduce.combine, dtype, f.load(kind, total), value), total)
            return
        result = ir.number(combining.identity(reduce.combine, dtype), kind)
        for value in values:
            result = combining.combined(f, reduce.combine, dtype, result, value)
        if reduce.over == "row":
            self.known[scalar.leaf(len(self.nest.inputs) + j, reduce.dtype)] = result
        else:
            f.store(
                kind, combining.combined(f, reduce.combine, dtype, f.load(kind, totals[j]), result), totals[j]
            )

    def _values(self, e: Scalar) -> list[str]:
        """An expression's value in each column."""
        self._row_values([e])
        for known, indices in zip(self.by_column, self.columns):
            known.update(self.known)
            for leaf in leaves([e]):
                if leaf not in known:
                    places = [*self.row_indices, *indices]
                    known[leaf] = self._input(
                        self.nest.inputs[leaf.value], leaf.value, places, self._row_group
                    )
            missing = [n for n in scalar.ordered([e], known) if n.op != "leaf"]
            known.update(zip(missing, scalars.lower(self.f, missing, known=known)))
        return [known[e] for known in self.by_column]
