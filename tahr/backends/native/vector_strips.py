"""Strips of rows, written in vectors: each holds neighbouring rows, and what is one number in a row stays in registers.

LLVM's vectorizer would keep a strip's totals in memory, and read and write them once for each column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

from tahr.backends.native import ir, scalars
from tahr.backends.native.epilogue import Segment, broadcast
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.nests import Access, Nest, Position, accesses
from tahr.backends.native.passes import stash_kind, stashed
from tahr.backends.native.products import mask
from tahr.backends.native.strips import StripLoop, Strips
from tahr.backends.native.target import current
from tahr.backends.native.tiles import Loop
from tahr.backends.native.vector_loops import VectorEmitter, masks
from tahr.core import scalar
from tahr.core.scalar import Scalar


class VectorStripEmitter(Strips, VectorEmitter):
    """Writes a nest by strips of a few vectors of rows.

    Rows that are not there are masked where memory is read or written; in registers anything may stand for them.
    """

    @staticmethod
    def can_write(nest: Nest) -> bool:
        """Whether neighbouring rows lie side by side, and the processor masks vectors."""
        last = len(nest.rows) - 1
        if not masks(current()) or any(a.strides[last] not in (0, 1) for a in accesses(nest)):
            return False
        return all(a.strides[last] == 1 for _, a in nest.stores)

    def _is_vector(self, e: Scalar) -> bool:
        return True

    def _fit(self, nodes: int) -> None:
        """Finds a width of strips that leaves few lanes unused at the end of rows of a known number."""
        last = self.nest.rows[-1]
        if isinstance(last, int):
            vectors = -(-last // self.lanes)
            # A strip costs about as much as one more vector.
            self.copies = min(range(self.copies, 0, -1), key=lambda n: -(-vectors // n) * (n + 1))
        self.strip = self.copies * self.lanes

    # ------------------------------------------------------------ one strip

    def _row(self, indices: list[str], totals: Mapping[int, str]) -> None:
        f, last = self.f, self.nest.rows[-1]
        self.segments = [Segment(self.lanes)] * self.copies
        if not isinstance(last, int) or last % self.strip:
            left = f.sub(self.last, indices[-1])
            counts = [f.sub(left, copy * self.lanes) for copy in range(self.copies)]
            self.segments = [Segment(self.lanes, mask(f, self.lanes, n)) for n in counts]
        # Values that are the same in the whole row, of each vector of rows.
        self.by_copy: list[dict[Scalar, str]] = [{} for _ in range(self.copies)]
        super()._row(indices, totals)

    def _compute(self, wanted: Sequence[Scalar]) -> None:
        missing = [e for e in wanted if e not in self.by_copy[0]]
        for copy, values in enumerate(self.by_copy):
            values.update(zip(missing, self._vectors(missing, copy, [], values)))
        self.known |= self.by_copy[0]

    def _row_stores(self, levels: Iterable[int]) -> None:
        for i, (e, access) in enumerate(self.nest.stores):
            if self.passes.level(e) in levels and not self.passes.is_wide(i):
                self._row_values([e])
                for copy, values in enumerate(self.by_copy):
                    (value,) = self._vectors([e], copy, [], values)
                    self._store(i, value, self.bases[id(access)], copy)

    def _store(self, i: int, value: str, place: str, copy: int) -> None:
        """Writes a vector of rows of a store, whose strip begins at a place."""
        dtype = self.nest.stores[i][1].dtype
        address = self.f.at(ir.MEMORY[dtype], self.targets[i], self.f.add(place, copy * self.lanes))
        self.segments[copy].store(self.f, dtype, value, address)

    def _pass(self, number: int, totals: Mapping[int, str]) -> None:
        nest, f = self.nest, self.f
        work = self._begun(number)
        if work is None:
            return
        reduces, stores, stash, roots = work
        sums = {j: self._nothing(nest.reduces[j]) for j in reduces}
        with ExitStack() as loops:
            indices, flat, _ = self._column_loops(loops)
            _, kept, _ = self._operands(roots, number)
            for copy, segment in enumerate(self.segments):
                known = dict(self.by_copy[copy])
                for e in kept:
                    known[e] = Segment(self.lanes).load(f, stashed(e.dtype), self._kept_place(e, flat, copy))
                values = self._vectors(roots, copy, indices, known)
                for j, value in zip(reduces, values):
                    there = Segment(self.lanes) if nest.reduces[j].over == "row" else segment
                    self._add_to_sum(nest.reduces[j], sums[j][copy], value, there)
                for i, value in zip(stores, values[len(reduces) :]):
                    self._store(i, value, self._place(nest.stores[i][1], indices), copy)
                for e, value in zip(stash, values[len(reduces) + len(stores) :]):
                    place = self._kept_place(e, flat, copy)
                    Segment(self.lanes).store(f, stashed(e.dtype), value, place)
        for j, copies in sums.items():
            if nest.reduces[j].over == "row":
                for values, total in zip(self.by_copy, copies):
                    values[self._result(j)] = self._total(nest.reduces[j], total)
            else:
                self._finish(j, copies, totals)
        self.known |= self.by_copy[0]

    def _kept_place(self, e: Scalar, flat: str, copy: int) -> str:
        return self.f.at(stash_kind(e.dtype), self._stash_row(e, flat), copy * self.lanes)

    # ------------------------------------------------------------ vectors of rows

    def _vectors(
        self, roots: Sequence[Scalar], copy: int, indices: Sequence[str], known: Mapping[Scalar, str]
    ) -> list[str]:
        """The values of expressions at one column, for a vector of rows."""
        values = dict(known)
        for e in scalar.ordered(roots, values):
            if e.op == "leaf":
                values[e] = self._vector(e.value, copy, indices)
        return scalars.lower(self.f, roots, width=self.lanes, known=values)

    def _vector(self, number: int, copy: int, indices: Sequence[str]) -> str:
        """An input at one column, for a vector of rows."""
        f, source, last = self.f, self.nest.inputs[number], self.split - 1
        if isinstance(source, Position) and source.axis == last:
            return self._positions(source.dtype, f.add(self.row_indices[-1], copy * self.lanes))
        if not isinstance(source, Access) or source.strides[last] == 0:
            value = self._input(source, number, [*self.row_indices, *indices], None)
            return broadcast(f, self.lanes, scalars.kind(source.dtype), value)
        place = f.add(self._place(source, indices), copy * self.lanes)
        address = f.at(ir.MEMORY[source.dtype], self.sources[number], place)
        return self.segments[copy].load(f, source.dtype, address)

    def _loop(self, made: Kernel) -> Loop:
        return StripLoop(self.nest, made, tuple(self._entries), tuple(self._stashed), False, self.strip, 0)
