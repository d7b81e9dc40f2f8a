"""Lists without a bound: how a segment finds their memory, and makes it larger while it runs.

How often a loop runs may be known only when it ends: it goes on until something has converged, or all sequences are
over. What its gradient needs of each iteration lies in lists, which begin with a few rows. A kernel that finds no room
for a row has changed nothing; it reports that, and the run comes back to Python. There the list gets twice as many
rows, what is in it is moved, and the run goes on with the same step. Nothing is done twice, so it does not matter which
variables were written and which numbers drawn before. Memory that has grown stays for the next run.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tahr.backends.native import runtime, single
from tahr.backends.native.arenas import Arenas, Room
from tahr.backends.native.calls import Ref
from tahr.backends.native.list_buffers import Lengths, is_unbounded
from tahr.core import sizes
from tahr.core.opdef import Array
from tahr.core.shapes import Items
from tahr.ops.list_values import StoredList
from tahr.program.node import Value

# For how many items there is room at first.
FIRST_ROOM = 16


class _List(NamedTuple):
    """A list without a bound.

    Attributes:
        items, lengths: its storage.
        shape, dtype: those of an item.
        row: its bytes.
        items_at, lengths_at: the slots of the run's table that lead there.
    """

    items: Value
    lengths: Value
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    row: int
    items_at: int
    lengths_at: int

    def rows_in(self, room: Room) -> Array:
        """The items that there is room for."""
        capacity = int(room.lengths[0])
        return room.rows[: capacity * self.row].view(self.dtype).reshape(capacity, *self.shape)


class Growing:
    """The lists without a bound of a segment of exact sizes.

    Args:
        slots: the slots of the run's table, by the buffers that they lead to.
        bound: the sizes.
        arenas: those of the plan.
    """

    def __init__(self, slots: Mapping[Ref, int], bound: Mapping[str, int], arenas: Arenas) -> None:
        self._arenas = arenas
        self._lists: dict[Any, _List] = {}
        for ref, slot in slots.items():
            lengths = ref.storage
            if isinstance(lengths, Value) and lengths.node.opdef is Lengths and is_unbounded(lengths):
                (items,) = lengths.node.inputs
                shape = tuple(sizes.evaluate(d, bound) for d in items.dims[1:])  # pyright: ignore[reportArgumentType]
                dtype = single.dtype_of(items).numpy
                row = math.prod(shape) * dtype.itemsize
                self._lists[lengths] = _List(items, lengths, shape, dtype, row, slots[Ref(items)], slot)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._lists)

    @property
    def storages(self) -> set[Value]:
        """What lies in memory of its own."""
        return {v for each in self._lists.values() for v in (each.items, each.lengths)}

    @property
    def bytes(self) -> int:
        """How much memory a run begins with for them at present."""
        return sum((each.row + 8) * self._room_at_first(each) for each in self._lists.values())

    def _room_at_first(self, each: _List) -> int:
        """For how many items there is room where a list gets its memory: as much as it once had, in bytes."""
        known = self._arenas.rows.get(each.lengths, 0)
        return max(FIRST_ROOM, known // each.row if each.row else 0)

    # ------------------------------------------------------------ before and behind a run

    def enter(
        self, frame: runtime.Frame, rooms: dict[Value, Room], arrays: Mapping[Value, Any] | None = None
    ) -> None:
        """Puts where the lists are into a run's table.

        Args:
            frame: the run's.
            rooms: those of its arena; lists that have none get some.
            arrays: what earlier segments left, lists among them.

        Raises:
            ResourceExhaustedError: there is no memory.
        """
        for each in self._lists.values():
            if arrays is not None and each.lengths in arrays:
                rooms[each.lengths] = _room_of(arrays[each.items], arrays[each.lengths])
            else:
                if each.lengths not in rooms:
                    rooms[each.lengths] = _new_room(each.row, self._room_at_first(each))
                rooms[each.lengths].lengths[1] = 0
            self._put(frame, each, rooms[each.lengths])

    def _put(self, frame: runtime.Frame, each: _List, room: Room) -> None:
        room.lengths[0] = _capacity(room, each.row)
        self._arenas.rows[each.lengths] = max(room.rows.size, self._arenas.rows.get(each.lengths, 0))
        frame.buffers[each.items_at] = room.rows_at
        frame.buffers[each.lengths_at] = room.lengths_at + room.lengths.itemsize

    def leave(self, arrays: dict[Value, Any], outputs: Collection[Value], rooms: dict[Value, Room]) -> None:
        """Makes the rooms of lists that came from earlier segments, or are outputs, arrays."""
        for each in self._lists.values():
            if each.lengths in arrays or each.lengths in outputs:
                room = rooms.pop(each.lengths)
                arrays[each.items] = each.rows_in(room)
                arrays[each.lengths] = room.lengths[1:]

    def list_in(self, lengths: Value, room: Room) -> StoredList:
        """A list as Python has it."""
        return StoredList(self._lists[lengths].rows_in(room), room.lengths[1:], Items())

    # ------------------------------------------------------------ in a run

    def grow(self, frame: runtime.Frame, rooms: dict[Value, Room], buffers: Sequence[Ref]) -> None:
        """Gives the list that a step has found full twice as much room at least, and has the step run again.

        Args:
            frame: the run's, which ended with that step.
            rooms: those of its arena.
            buffers: those of the step.

        Raises:
            ResourceExhaustedError: there is no memory.
        """
        each = next(self._lists[ref.storage] for ref in buffers if ref.storage in self._lists)
        old, row = rooms[each.lengths], int(frame.status["detail"])
        new = _larger(old, each.row, max(2 * int(old.lengths[0]), row + 1))
        _move(frame, old, new)
        rooms[each.lengths] = new
        self._put(frame, each, new)
        frame.status["resume"] = frame.status["step"]


def _capacity(room: Room, row: int) -> int:
    """How many items of so many bytes there is room for."""
    marks = room.lengths.size - 2
    return min(marks, room.rows.size // row) if row else marks


def _new_room(row: int, count: int) -> Room:
    """Room for so many items of so many bytes each."""
    lengths = runtime.aligned(8 * (count + 2)).view(np.int64)
    lengths[1] = 0
    return _room(runtime.aligned(count * row), lengths)


def _room_of(rows: Array, lengths: Array) -> Room:
    """The room of a list that lies in arrays; its lengths are copied, as it may change."""
    own = np.empty(lengths.size + 1, np.int64)
    own[0], own[1:] = len(rows), lengths
    return _room(rows.reshape(-1).view(np.uint8), own)


def _room(rows: Array, lengths: Array) -> Room:
    """Some memory as a list's."""
    return Room(rows, lengths, rows.ctypes.data, lengths.ctypes.data)


def _larger(room: Room, row: int, count: int) -> Room:
    """A copy of a list with room for more items."""
    larger = _new_room(row, count)
    length = int(room.lengths[1])
    larger.rows[: length * row] = room.rows[: length * row]
    larger.lengths[1 : length + 2] = room.lengths[1 : length + 2]
    return larger


def _move(frame: runtime.Frame, before: Room, after: Room) -> None:
    """Has what leads into a list, such as to a row in which a value lies, lead to where that is now."""
    table, start = frame.buffers, before.rows_at
    inside = (table >= start) & (table < start + before.rows.nbytes)
    table[inside] += np.uint64((after.rows_at - start) % 2**64)
