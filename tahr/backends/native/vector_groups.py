"""Loop nests that add up small groups of neighbours, and further along another dimension: group normalization.

A row's innermost columns are a few elements, next to which lie those of the next row. Such a run of groups is worked on
as a strip of rows is, each element in a lane of its own. At the end the lanes of a group are combined, so that all of
them know the group's result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tahr.backends.native import combining, ir, scalars
from tahr.backends.native.epilogue import Segment
from tahr.backends.native.nests import Access, Nest, Position, Reduce, Source, accesses
from tahr.backends.native.target import current
from tahr.backends.native.vector_loops import masks
from tahr.backends.native.vector_strips import VectorStripEmitter

# Groups of so many elements: any vector holds a whole number of them, and each would fill less than a vector.
SIZES = (2, 4, 8)


class GroupEmitter(VectorStripEmitter):
    """Writes a nest by strips of groups: in its rows, the last dimension is that of the groups' elements.

    Args:
        nest: as it is to be computed.
        title: the kernel's.
    """

    @staticmethod
    def can_write(nest: Nest) -> bool:
        """Whether vectors hold whole groups, and all accesses are of elements or of groups."""
        if not masks(current()) or not nest.rows or len(nest.columns) < 2:
            return False
        size = nest.columns[-1]
        if size not in SIZES or {r.over for r in nest.reduces} != {"row"}:
            return False
        last = len(nest.rows) - 1
        if any(isinstance(a, Position) and a.axis in (last, last + len(nest.columns)) for a in nest.inputs):
            return False
        steps = [(a.strides[last], a.strides[-1]) for a in accesses(nest)]
        stored = [(a.strides[last], a.strides[-1]) for _, a in nest.stores]
        return {*steps} <= {(size, 1), (1, 0), (0, 0)} and (size, 1) in steps and (0, 0) not in stored

    def __init__(self, nest: Nest, title: str) -> None:
        self.group = _group(nest)
        last = len(nest.rows) - 1
        super().__init__(_by_element(nest), title)
        self._of_groups = {
            i for i, a in enumerate(nest.inputs) if isinstance(a, Access) and a.strides[last] == 1
        }
        self._stored_by_group = {i for i, (_, a) in enumerate(nest.stores) if a.strides[last] == 1}

    def _vector(self, number: int, copy: int, indices: Sequence[str]) -> str:
        if number not in self._of_groups:
            return super()._vector(number, copy, indices)
        f, source = self.f, self.nest.inputs[number]
        assert isinstance(source, Access)
        place = f.add(self._place(source, indices), self._first_group(copy))
        address = f.at(ir.MEMORY[source.dtype], self.sources[number], place)
        values = self._segment_of_groups(copy).load(f, source.dtype, address)
        kind = scalars.kind(source.dtype, self.lanes // self.group)
        return self._shuffled(kind, values, [lane // self.group for lane in range(self.lanes)])

    def _store(self, i: int, value: str, place: str, copy: int) -> None:
        if i not in self._stored_by_group:
            super()._store(i, value, place, copy)
            return
        f, (what, access) = self.f, self.nest.stores[i]
        kind = scalars.kind(what.dtype, self.lanes)
        values = self._first_lanes(kind, value)
        address = f.at(ir.MEMORY[access.dtype], self.targets[i], f.add(place, self._first_group(copy)))
        self._segment_of_groups(copy).store(f, access.dtype, values, address)

    def _total(self, reduce: Reduce, sum_: str) -> str:
        """An accumulator's vector, in which each lane has what all lanes of its group come to."""
        total, step = super()._total(reduce, sum_), 1
        kind = scalars.kind(reduce.accumulator, self.lanes)
        while step < self.group:
            others = self._shuffled(kind, total, [lane ^ step for lane in range(self.lanes)])
            total = combining.combined(self.f, reduce.combine, reduce.accumulator, total, others, self.lanes)
            step *= 2
        return total

    def _first_group(self, copy: int) -> str:
        """The number of a vector's first group."""
        return self.f.div(self.f.add(self.row_indices[-1], copy * self.lanes), self.group)

    def _segment_of_groups(self, copy: int) -> Segment:
        """The groups of a vector: those are there of which the first element is."""
        elements = self.segments[copy].mask
        is_there = None if elements is None else self._first_lanes(ir.vector(self.lanes, ir.I1), elements)
        return Segment(self.lanes // self.group, is_there)

    def _first_lanes(self, kind: str, vector: str) -> str:
        """The first lane of each group."""
        return self._shuffled(kind, vector, range(0, self.lanes, self.group))

    def _shuffled(self, kind: str, vector: str, lanes: Sequence[int]) -> str:
        """Some lanes of a vector."""
        numbers = ", ".join(f"i32 {lane}" for lane in lanes)
        return self.f.value(f"shufflevector {kind} {vector}, {kind} poison, <{len(lanes)} x i32> <{numbers}>")


def _group(nest: Nest) -> int:
    """How many elements a group has."""
    size = nest.columns[-1]
    assert isinstance(size, int)
    return size


def _by_element(nest: Nest) -> Nest:
    """The nest with the innermost dimension of the columns as part of that of the rows; a group's place is 0."""
    split = len(nest.rows)

    def moved(access: Access) -> Access:
        *strides, step = access.strides
        strides[split - 1] = step
        return replace(access, strides=tuple(strides))

    def moved_source(source: Source) -> Source:
        return moved(source) if isinstance(source, Access) else source

    return replace(
        nest,
        rows=(*nest.rows[:-1], nest.rows[-1] * _group(nest)),
        columns=nest.columns[:-1],
        inputs=tuple(map(moved_source, nest.inputs)),
        stores=tuple((e, moved(a)) for e, a in nest.stores),
    )
