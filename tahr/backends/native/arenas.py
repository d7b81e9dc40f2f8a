"""Arenas: the memory in which a segment's temporary storages lie, and where each lies in it."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tahr.backends.native import runtime
from tahr.backends.native.calls import Partial, Reserved, Running
from tahr.core.opdef import Array
from tahr.program.node import Value

# Every buffer of an arena begins at a multiple of this many bytes.
ALIGNMENT = 64

Temporary = Value | Partial | Reserved | Running
"""What lies in an arena."""


@dataclass(frozen=True)
class Layout:
    """Where temporary storages lie in an arena, in bytes, and how large it is."""

    offsets: dict[Temporary, int]
    size: int


def laid_out(spans: Mapping[Temporary, tuple[int, int, int]]) -> Layout:
    """Places storages so that those in use at the same time do not overlap, the largest first.

    Args:
        spans: for each its size in bytes, and the first and last step that uses it.
    """
    offsets: dict[Temporary, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last; in this order
    total = 0
    for storage, (size, first, last) in sorted(spans.items(), key=lambda item: -item[1][0]):
        size = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        offset = 0
        for start, end, its_first, its_last in placed:
            if its_first > last or first > its_last:
                continue
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[storage] = offset
        bisect.insort(placed, (offset, offset + size, first, last))
        total = max(total, offset + size)
    return Layout(offsets, total)


class Room(NamedTuple):
    """Memory of a list without a bound.

    Attributes:
        rows: bytes, for its items.
        lengths: int64: for how many items there is room, how many there are, and for each 1 where it has been set.
        rows_at, lengths_at: their addresses.
    """

    rows: Array
    lengths: Array
    rows_at: int
    lengths_at: int


class Arena(NamedTuple):
    """A piece of memory.

    Attributes:
        memory: its bytes.
        address: where it begins.
        rooms: what lists without a bound have beside it, by the values that their lengths are. They become larger.
    """

    memory: Array
    address: int
    rooms: dict[Value, Room]

    @property
    def bytes(self) -> int:
        """How large it is, with what lists have beside it."""
        return self.memory.size + sum(r.rows.nbytes + r.lengths.nbytes for r in self.rooms.values())


class Arenas:
    """The arenas of a plan. A run of a segment takes one, whatever its sizes are, and gives it back for the next.

    So a plan that runs with many sizes, one run at a time, keeps one, as large as the largest of them needs.

    Attributes:
        rows: how many bytes of rows lists without a bound have had at most, by the values that their lengths are.
    """

    def __init__(self) -> None:
        self._free: list[Arena] = []
        self.rows: dict[Value, int] = {}

    def take(self, size: int, is_exact: bool = False) -> Arena:
        """An arena, not initialized.

        Args:
            size: how many bytes there must be at least.
            is_exact: whether there shall be no more, as it is not given back soon.

        Raises:
            ResourceExhaustedError: there is no memory.
        """
        try:
            found = self._free.pop()
        except IndexError:
            return _new(size)
        if found.memory.size == size or (found.memory.size > size and not is_exact):
            return found
        if found.memory.size > size:
            self.give(found)
            return _new(size)
        rooms = found.rooms
        del found  # one that is too small goes before there is another
        return _new(size)._replace(rooms=rooms)

    def give(self, arena: Arena) -> None:
        """Gives one back."""
        self._free.append(arena)


def _new(size: int) -> Arena:
    memory = runtime.aligned(size)
    return Arena(memory, memory.ctypes.data, {})
