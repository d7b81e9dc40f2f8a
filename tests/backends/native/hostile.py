"""A debug mode for whole plans: memory is full of NaN before a run, and nothing around a buffer may change.

Buffers of an arena are kept apart, each with room of its own that is poison; so are the results and the variables
that a run makes. What a kernel reads before anybody wrote it is NaN, and shows in the results. Every step is shared
between threads, however little work it is.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partialmethod
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import arenas, builtin, runtime, segments
from tahr.core.opdef import Array

POISON = 0xFF  # NaN in every floating type, and an integer that no test expects
ROOM = 256  # bytes before and behind each buffer
MUCH = 1 << 40  # so much work, in nanoseconds, that a step is shared


class Memory:
    """Memory for bytes, with poison around and inside.

    Args:
        count: how many.
        alignment: of their first; they are aligned to no more.
    """

    def __init__(self, count: int, alignment: int = 1) -> None:
        self._all = np.full(count + 2 * ROOM + 64, POISON, np.uint8)
        self._start = -self._all.ctypes.data % 64 + ROOM + alignment % 64
        self.bytes = self._all[self._start : self._start + count]

    def poison(self) -> None:
        """Fills it again."""
        self.bytes[:] = POISON

    def is_intact(self) -> bool:
        """Whether nothing around the bytes has changed."""
        before, behind = self._all[: self._start], self._all[self._start + self.bytes.size :]
        return bool((before == POISON).all() and (behind == POISON).all())


class Watch:
    """What was handed out since a debug mode began."""

    def __init__(self) -> None:
        self._memories: list[Memory] = []
        self._arenas: list[tuple[Array, list[tuple[int, int]]]] = []

    def new(self, count: int, alignment: int) -> Memory:
        """Memory that is watched."""
        memory = Memory(count, alignment)
        self._memories.append(memory)
        return memory

    def watch(self, arena: Array, rooms: list[tuple[int, int]]) -> None:
        """Watches the bytes between the buffers of an arena."""
        self._arenas.append((arena, rooms))

    def check(self) -> None:
        """Raises AssertionError where something was written between buffers."""
        assert all(memory.is_intact() for memory in self._memories), "written outside of a buffer"
        for arena, rooms in self._arenas:
            for start, stop in rooms:
                assert (arena[start:stop] == POISON).all(), "written between the buffers of an arena"


class _Numpy:
    """NumPy for the executor: new arrays lie in watched memory."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any) -> Array:
        """As `np.empty`."""
        dtype = np.dtype(dtype)
        count = math.prod(shape) * dtype.itemsize
        return self._watch.new(count, dtype.itemsize).bytes.view(dtype).reshape(tuple(shape))


def _apart(spans: Mapping[Any, tuple[int, int, int]]) -> Any:
    """A layout in which every storage has a place and room of its own."""
    offsets: dict[Any, int] = {}
    at = ROOM
    for storage, (size, *_) in spans.items():
        offsets[storage] = at
        at += -(-max(size, 1) // arenas.ALIGNMENT) * arenas.ALIGNMENT + ROOM
    return arenas.Layout(offsets, at)


_definitions: list[Any] = []  # of entries, with what they call: they must outlive those


def definition_with(empty: Any) -> Any:
    """Entries whose results are made by another function than `np.empty`."""
    make: Any = builtin._definition
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(builtin._OBJECTS, "empty", empty)
        definition = make.__wrapped__()
    _definitions.append((definition, empty))
    return lambda: definition


@contextmanager
def shared() -> Generator[None]:
    """Every step of plans that are bound inside is shared between threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime.Step, "__init__", partialmethod(runtime.Step.__init__, work=MUCH))
        yield


@contextmanager
def hostile() -> Generator[Watch]:
    """Native runs inside are watched. Plans that were bound before it began are not."""
    watch = Watch()
    take_frame = segments.BoundSegment._frame
    rooms: dict[int, list[tuple[int, int]]] = {}
    kept: list[Any] = []  # so that no two layouts have the same identity

    def laid_out(spans: Mapping[Any, tuple[int, int, int]]) -> Any:
        layout = _apart(spans)
        ends = [0, *(offset + spans[storage][0] for storage, offset in layout.offsets.items())]
        starts = [*layout.offsets.values(), layout.size]
        rooms[id(layout)] = list(zip(ends, starts))
        kept.append(layout)
        return layout

    def watched(self: Any, is_kept: bool = False) -> Any:
        frame, arena = take_frame(self, is_kept)
        arena.memory[:] = POISON
        frame._scratch[:] = POISON
        watch.watch(arena.memory, rooms.get(id(self.layout), []))
        return frame, arena

    def used_once(self: Any, arena: Any) -> None:
        """Other sizes have room between other buffers."""

    with shared(), pytest.MonkeyPatch.context() as patch:
        numpy = _Numpy(watch)
        patch.setattr(segments, "np", numpy)
        patch.setattr(segments, "memory", numpy)
        patch.setattr(builtin, "_definition", definition_with(numpy.empty))
        patch.setattr(segments, "laid_out", laid_out)
        patch.setattr(segments.BoundSegment, "_frame", watched)
        patch.setattr(arenas.Arenas, "give", used_once)
        patch.setattr(runtime, "aligned", lambda count: watch.new(count, 64).bytes)
        yield watch
    watch.check()
