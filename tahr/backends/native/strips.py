"""Loop nests whose columns lie far apart, while their rows lie side by side: a sum along a dimension in the middle.

A *strip* of neighbouring rows is worked on at once: the innermost loop goes over them, for one column after the other.
So whole cache lines are read, and the loop can be vectorized. (`vector_strips.py` writes vectors itself.)
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tahr.backends.native import combining, ir, scalars
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.loops import Emitter
from tahr.backends.native.nests import Bound, Nest, Reduce, accesses
from tahr.backends.native.passes import itemsize, stash_kind
from tahr.backends.native.tiles import Loop, count, cut
from tahr.core import sizes
from tahr.core.scalar import Scalar

# So many neighbouring rows are a strip; of a strip, values of up to so many columns are kept from pass to pass.
LANES = 64
MOST_KEPT = 2048
# Rows of fewer than these make no strip.
FEWEST_LANES = 8


@dataclass(frozen=True)
class StripLoop(Loop):
    """A nest's kernel that works on strips of rows.

    Attributes:
        strip: how many rows a strip has.
        arrays: the bytes of scratch for what is one number in a row, for a strip.
    """

    strip: int
    arrays: int

    def bind(self, known: Mapping[str, int]) -> Bound:
        """The call for exact values of the symbols."""
        rows, columns = count(self.nest.rows, known), count(self.nest.columns, known)
        last = count(self.nest.rows[-1:], known)
        strips = rows // max(last, 1) * -(-last // self.strip)
        tile, tiles = cut(strips, columns * self.strip, True, self.tile, False)
        table = (tile, *(sizes.evaluate(d, known) for d in self.entries))  # pyright: ignore[reportArgumentType]
        return Bound(table, tiles, self.kept_bytes * columns * self.strip + self.arrays)


def lies_in_strips(nest: Nest) -> bool:
    """Whether neighbours in memory are neighbouring rows, not columns, and rows are added up."""
    over = {r.over for r in nest.reduces}
    if "row" not in over or "column" in over or not nest.rows:
        return False
    last = nest.rows[-1]
    if isinstance(last, int) and last < FEWEST_LANES:
        return False
    split = len(nest.rows)
    # What is the same for neighbouring rows is read once for all of them.
    steps = [a.strides[split - 1] for a in accesses(nest) if any(s != 0 for s in a.strides[split:])]
    along = steps.count(1)
    return along > len(steps) - steps.count(0) - along


class Strips(Emitter):
    """What goes over strips of rows.

    Attributes:
        strip: how many rows a strip has.
    """

    strip = LANES

    def _plan_stashes(self) -> None:
        columns = [d for d in self.nest.columns if isinstance(d, int)]
        if len(columns) == len(self.nest.columns) and math.prod(columns) <= MOST_KEPT:
            super()._plan_stashes()

    def _count_rows(self) -> str:
        """The number of strips: none goes beyond the end of the last dimension."""
        self.last = self._value(self.nest.rows[-1])
        self.strips = self.f.div(self.f.add(self.last, self.strip - 1), self.strip)
        outer = self._product(self.nest.rows[:-1])
        return self.f.mul(outer, self.strips)

    def _each_row(self, start: str, stop: str, totals: Mapping[int, str]) -> None:
        with self.f.loop(start, stop, hint="strip") as strip:
            self._row(self._unravel(strip), totals)

    def _unravel(self, row: str) -> list[str]:
        """The index along each row dimension of a strip's first row."""
        f = self.f
        first = f.mul(f.rem(row, self.strips), self.strip)
        return [*self._indices(f.div(row, self.strips), self.nest.rows[:-1]), first]

    def _stash_row(self, e: Scalar, flat: str) -> str:
        """Where the values of a kept expression in one column begin, one for each row of the strip."""
        start = self.f.at(ir.I8, "%scratch", self.f.mul(self.column_count, self.strip * self._stashed[e]))
        return self.f.at(stash_kind(e.dtype), start, self.f.mul(flat, self.strip))


class StripEmitter(Strips):
    """Writes a nest for one element: the innermost loop goes over the rows of a strip, and LLVM vectorizes it.

    What is one number in a row is an array in scratch here, behind the expressions that are kept.
    """

    def _plan_stashes(self) -> None:
        super()._plan_stashes()
        self.slots: dict[Scalar, str] = {}  # the arrays of what is one number in a row
        kept = sum(itemsize(e.dtype) for e in self._stashed)
        self.arrays = self.f.at(ir.I8, "%scratch", self.f.mul(self.column_count, LANES * kept), "arrays")
        self.array_count = 0

    def _row(self, indices: list[str], totals: Mapping[int, str]) -> None:
        self.slots = {}
        self.first = indices[-1]
        self.lanes = self.f.minimum(self.f.sub(self.last, self.first), LANES)
        super()._row(indices, totals)

    @contextmanager
    def _each_lane(self) -> Generator[tuple[str, int]]:
        """The loop over the rows of a strip: its index, and the group of accesses."""
        f, before = self.f, (self.row_indices, self.bases, self.known)
        vectorized, group = self._new_group()
        with f.loop(0, self.lanes, hint="lane", metadata=vectorized) as lane:
            self.row_indices = [*before[0][:-1], f.add(self.first, lane)]
            self.bases = self._bases()
            self.known = {
                e: self._take(e.dtype, self._array_place(e, slot, lane), group)
                for e, slot in self.slots.items()
            }
            self.known |= {e: v for e, v in before[2].items() if e.op == "constant"}
            yield lane, group
        self.row_indices, self.bases, self.known = before

    def _array(self) -> str:
        """One more array in scratch, with an element for each row of a strip."""
        self.array_count += 1
        return self.f.at(ir.I8, self.arrays, (self.array_count - 1) * LANES * 8)

    def _array_place(self, e: Scalar, array: str, lane: str) -> str:
        return self.f.at(stash_kind(e.dtype), array, lane)

    def _compute(self, wanted: Sequence[Scalar]) -> None:
        missing = [e for e in wanted if e not in self.slots]
        if not missing:
            return
        arrays = {e: self._array() for e in missing}
        with self._each_lane() as (lane, group):
            self._row_group = group
            super()._compute(missing)
            for e, array in arrays.items():
                self._put(e.dtype, self.known[e], self._array_place(e, array, lane), group)
        self.slots |= arrays

    def _row_stores(self, levels: Iterable[int]) -> None:
        for i, (e, access) in enumerate(self.nest.stores):
            if self.passes.level(e) in levels and not self.passes.is_wide(i):
                self._row_values([e])
                with self._each_lane() as (_, group):
                    self._write(access.dtype, self.known[e], self.targets[i], self.bases[id(access)], group)

    def _start_row_total(self, reduce: Reduce) -> str:
        dtype, array = reduce.accumulator, self._array()
        nothing = ir.number(combining.identity(reduce.combine, dtype), scalars.kind(dtype))
        with self._each_lane() as (lane, group):
            self._put(dtype, nothing, self.f.at(stash_kind(dtype), array, lane), group)
        return array

    def _finish_row_total(self, reduce: Reduce, result: Scalar, accumulator: str) -> None:
        self.slots[result] = accumulator

    def _column_loops(self, stack: ExitStack) -> tuple[list[str], str, int]:
        indices, flat, _ = super()._column_loops(stack)
        self.lane, group = stack.enter_context(self._each_lane())
        return indices, flat, group

    def _accumulate(
        self,
        j: int,
        value: str,
        accumulators: Mapping[int, str],
        totals: Mapping[int, str],
        flat: str,
        group: int,
    ) -> None:
        reduce = self.nest.reduces[j]
        if reduce.over != "row":
            super()._accumulate(j, value, accumulators, totals, flat, group)
            return
        dtype = reduce.accumulator
        place = self.f.at(stash_kind(dtype), accumulators[j], self.lane)
        total = combining.combined(self.f, reduce.combine, dtype, self._take(dtype, place, group), value)
        self._put(dtype, total, place, group)

    def _stash_place(self, e: Scalar, flat: str) -> str:
        return self.f.at(stash_kind(e.dtype), self._stash_row(e, flat), self.lane)

    def _loop(self, made: Kernel) -> Loop:
        arrays = self.array_count * LANES * 8
        return StripLoop(self.nest, made, tuple(self._entries), tuple(self._stashed), False, LANES, arrays)
