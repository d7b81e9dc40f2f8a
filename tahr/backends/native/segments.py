"""Segments for exact sizes: where their storage lies, the table of addresses of a run, and the run itself."""

from __future__ import annotations

import ctypes
import math
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tahr import errors
from tahr.backends.base import Run, runtime_error
from tahr.backends.native import plan as plans, roles, runtime
from tahr.backends.native.arenas import Arena, Arenas, Temporary, laid_out
from tahr.backends.native.calls import Bind, Call, Jump, Partial, Ref, Reserved, Running, Seat, Status
from tahr.backends.native.entry import Buffer, Shift, Variable
from tahr.backends.native.flow import buffers, flow
from tahr.backends.native.growing import Growing
from tahr.backends.native.list_buffers import is_unbounded
from tahr.backends.native.plan import Segment
from tahr.backends.native.single import exact
from tahr.backends.native.walk import FULL, PAUSED
from tahr.core import dtypes, memory, sizes
from tahr.core.convert import Const
from tahr.core.dtypes import DType
from tahr.core.opdef import Array, known_value
from tahr.core.shapes import Items
from tahr.core.sizes import Dim
from tahr.ops.list_values import StoredList
from tahr.ops.streams import Stream
from tahr.program.node import Value

# Runs longer than this let other Python threads go on meanwhile, which costs 0.1 us.
RELEASE_SECONDS = 20e-6
# A position in a random stream; see `_position`.
POSITION = struct.Struct("=QQQ")


class BoundSegment:
    """A segment for exact sizes.

    Args:
        segment: what it binds.
        bound: the sizes.
        arenas: those of its plan.

    Attributes:
        segment: what it binds.
        steps: the calls of kernels.
        inputs, cells, outputs, fixed: the slots of the table that each run fills in.
    """

    def __init__(self, segment: Segment, bound: Mapping[str, int], arenas: Arenas) -> None:
        self.segment = segment
        self._bound = bound
        self._arenas = arenas
        self._flow = flow(segment.calls, bound)
        self._calls = self._flow.calls  # for each step the call that it belongs to
        self._slots: dict[Ref, int] = {}
        given: list[list[int]] = []  # for each step the slots of its buffers
        for step in self._flow.steps:
            given.append([self._slot_of(_at(ref, bound)) for ref in buffers(step)])
        # For values that lie in rows of lists: slots that lead to the slots that lead to the values.
        seated = self._flow.seated
        self._doors = {
            ref: (slot, len(self._slots) + 1 + i)
            for i, (ref, slot) in enumerate((r, s) for r, s in self._slots.items() if r.storage in seated)
        }
        self._spare = len(self._slots) + len(self._doors) + 1
        self.growing = Growing(self._slots, bound, arenas)
        outside = {*segment.inputs, *segment.outputs, *segment.cells}
        counts = self._flow.counts
        self.layout = laid_out(
            {
                storage: (self._bytes(storage, counts, bound), *span)
                for storage, span in self._flow.spans(outside | self.growing.storages).items()
            }
        )
        self._lying = self._slots_of_arena()
        # Whatever sizes come next, nothing is compiled then.
        others = [kernel for call in segment.calls for kernel in call.kernels]
        self.steps = runtime.Steps(list(map(self._step, self._flow.steps, given)), others)
        self.reserved = [(r.storage, s) for r, s in self._slots.items() if isinstance(r.storage, Reserved)]
        running = [(r.storage, s) for r, s in self._slots.items() if isinstance(r.storage, Running)]
        # One order for all threads, so that none waits for another.
        self.running = sorted(running, key=lambda item: id(item[0].node.op))
        self.shapes = {v: exact(v, bound) for v in segment.outputs if not is_unbounded(v)}
        self._expected = {v: exact(v, bound) for v in segment.inputs if not is_unbounded(v)}
        # Those that are free, with the addresses of the arenas that they lead to.
        self._frames: list[tuple[runtime.Frame, int]] = []
        self._shortest = math.inf
        self._places: dict[Value, list[tuple[int, int]]] = {}
        for ref, slot in self._slots.items():
            if ref.storage in outside:
                assert isinstance(ref.storage, Value) and isinstance(ref.offset, int)
                self._places.setdefault(ref.storage, []).append((slot, ref.offset * _itemsize(ref.storage)))

    def _slot_of(self, ref: Ref) -> int:
        """The slot of the table that leads to a buffer; a new one where it has none."""
        return 0 if isinstance(ref.storage, Status) else self._slots.setdefault(ref, len(self._slots) + 1)

    def _slots_of_arena(self) -> Array:
        """The slots that lead into the arena, and the bytes of it before what they lead to."""
        offsets = self.layout.offsets
        lying = [
            (slot, offsets[ref.storage] + ref.offset * _itemsize(ref.storage))  # pyright: ignore[reportOperatorIssue]
            for ref, slot in self._slots.items()
            if not isinstance(ref.storage, Status) and ref.storage in offsets
        ]
        return np.array(lying, np.int64).reshape(-1, 2).T

    def _step(self, step: Bind | Jump | Seat, slots: list[int]) -> runtime.Step | runtime.Jump:
        """A step on slots of the table."""
        if isinstance(step, Jump):
            return runtime.Jump(self._flow.marks[step.to], slots[0] if slots else None)
        if isinstance(step, Seat):
            doors = [(ref, door) for ref, (_, door) in self._doors.items() if ref.storage is step.value]
            offsets = [ref.offset * _itemsize(step.value) for ref, _ in doors]
            sizes = [*step.sizes, len(doors), *offsets]
            return runtime.Step(step.kernel, [*slots, *(door for _, door in doors)], sizes, 1)  # pyright: ignore[reportArgumentType]
        bound = step.bound
        kernel = step.kernel
        if bound.scratch > kernel.scratch:
            kernel = replace(kernel, scratch=bound.scratch)
        return runtime.Step(kernel, slots, bound.sizes, bound.tiles)

    @property
    def has_loops(self) -> bool:
        """Whether it holds a loop."""
        return self._flow.has_loops

    @property
    def can_stop(self) -> bool:
        """Whether a run may end before its last step: where a kernel reports an error, or it was cancelled."""
        return self.has_loops or any(call.operands is not None for call in self.segment.calls)

    @staticmethod
    def _bytes(storage: Temporary, counts: Mapping[Partial, int], bound: Mapping[str, int]) -> int:
        if isinstance(storage, (Reserved, Running)):
            return _itemsize(storage)
        if isinstance(storage, Partial):
            return counts[storage] * storage.dtype.size
        return math.prod(exact(storage, bound)) * _itemsize(storage)

    def _frame(self, is_kept: bool = False) -> tuple[runtime.Frame, Arena]:
        """A table that leads to an arena; each run in flight has its own.

        Args:
            is_kept: whether it is for more than one run.
        """
        arena = self._arenas.take(self.layout.size, is_exact=is_kept)
        try:
            frame, leads_to = self._frames.pop()
        except IndexError:
            frame, leads_to = self._new_frame(), None
        if leads_to != arena.address:
            frame.buffers[self._lying[0]] = arena.address + self._lying[1]
        return frame, arena

    def _new_frame(self) -> runtime.Frame:
        frame = runtime.Frame(self._spare + 1, self.steps.scratch, self.steps.widest)
        for slot, door in self._doors.values():
            frame.buffers[door] = frame.address + 8 * slot
        return frame

    # ------------------------------------------------------------ for shortcuts

    def new_frame(self, threads: int) -> tuple[runtime.Frame, Arena]:
        """A frame for a shortcut to keep, with its arena: that of the run before, so that memory is not held twice."""
        frame, arena = self._frame(is_kept=True)
        self.growing.enter(frame, arena.rooms)
        frame.status["threads"] = threads
        return frame, arena

    def slot(self, value: Value) -> int | None:
        """The place of the table to which an entry puts the address of a value's storage; None where there is none."""
        places = self._places.get(value)
        return places[0][0] if places else None

    def shifts(self, values: Iterable[Value]) -> list[Shift]:
        """The further places of the table that lead into storages, and those that do not lead to their starts."""
        found: list[Shift] = []
        for (first, offset), *others in (self._places[v] for v in values if v in self._places):
            found += [Shift(slot, first, distance) for slot, distance in others]
            if offset:
                found.append(Shift(first, first, offset))
        return found

    def exact(self, shape: Sequence[Dim]) -> tuple[int, ...]:
        """A shape of the plan for the segment's sizes."""
        return tuple(sizes.evaluate(d, self._bound) for d in shape)  # pyright: ignore[reportArgumentType]

    def is_unread(self, value: Value) -> bool:
        """Whether no kernel looks at a value."""
        return value not in self._places

    def buffer(self, value: Value, shape: tuple[int, ...]) -> Buffer:
        """What a shortcut expects of a value's array; the address of one that is not read goes to a slot of no use."""
        slot = self.slot(value)
        return Buffer(self._spare if slot is None else slot, dtype_of(value).numpy, shape)

    def variables(self, cells: Mapping[Value, Any]) -> list[Variable]:
        """The variables that a shortcut finds in cells."""
        written = self.segment.written
        return [
            Variable(cells[v], self.buffer(v, tuple(v.node.attrs["shape"])), v in written)
            for v in self.segment.cells
        ]

    def fill_fixed(self, frame: runtime.Frame, fixed: Mapping[Value, Array]) -> list[Array]:
        """Puts what never changes into a table; the arrays must be kept."""
        held: list[Any] = []
        for value in self.segment.inputs:
            if value in fixed:
                self._give(frame, value, fixed[value], held)
        return held

    @property
    def is_long(self) -> bool:
        """Whether runs are so long that other Python threads should go on meanwhile."""
        return self._shortest > RELEASE_SECONDS

    def run(
        self,
        arrays: dict[Value, Any],
        cells: Mapping[Value, Any],
        threads: int,
        run: Run,
        times: list[int] | None = None,
    ) -> None:
        """Runs the segment: reads inputs from `arrays`, puts outputs there, and adds the calls' times to `times`."""
        frame, arena = self._frame()
        self.growing.enter(frame, arena.rooms, arrays)
        frame.status["threads"] = threads
        held: list[Any] = []
        with ExitStack() as stack:
            for value, expected in self._expected.items():
                array = dense_array(arrays[value])
                if array.shape != expected or array.dtype != dtype_of(value).numpy:
                    raise _not_as_inferred(value, array, expected)
                self._give(frame, value, array, held)
            for value, shape in self.shapes.items():
                assert value.dtype is not None
                array = arrays[value] = new_array(shape, value.dtype.numpy)
                self._give(frame, value, array, held)
            self._take_cells(frame, cells, stack, held)
            self._reserve(frame, run.store)
            for running, slot in self.running:
                stream = stack.enter_context(stream_of(run.store, running))
                self._put(frame, slot, stream)
                stack.callback(self._advance, frame, slot, stream)
            taken = None
            if times is not None:
                taken = np.zeros(len(self.steps), np.int64)
                frame.status["times"] = taken.ctypes.data
            start = time.perf_counter()
            code = runtime.runtime().run(self.steps, frame)
            while code in (PAUSED, FULL):
                self.pause(frame, arena)
                run.check()
                code = runtime.runtime().run(self.steps, frame)
            self._shortest = min(self._shortest, time.perf_counter() - start)
            if times is not None and taken is not None:
                frame.status["times"] = 0
                times += self._times(taken)
            if code:
                raise self.failure(frame, arena)
            self.growing.leave(arrays, self.segment.outputs, arena.rooms)
            self._frames.append((frame, arena.address))  # from here on another thread may have it
            self._arenas.give(arena)

    def pause(self, frame: runtime.Frame, arena: Arena) -> None:
        """Gives a list more room, if that is why a run has come back before its end."""
        if frame.status["code"] == FULL:
            step = self._flow.steps[int(frame.status["step"])]
            self.growing.grow(frame, arena.rooms, buffers(step))

    def _times(self, taken: Array) -> list[int]:
        """The nanoseconds of each call, from those of its steps."""
        times = {id(call): 0 for call in self.segment.calls}
        for call, nanoseconds in zip(self._calls, taken.tolist()):
            times[id(call)] += nanoseconds
        return list(times.values())

    def failure(self, frame: runtime.Frame, arena: Arena) -> Exception:
        """The error for what a kernel reported: the NumPy kernel raises it, given the same inputs."""
        frame.status["code"] = 0
        call = self._calls[int(frame.status["step"])]
        (node,) = call.nodes
        assert call.operands is not None and node.opdef.compute is not None
        inputs = [self._operand(frame, arena, call, i, value) for i, value in enumerate(node.inputs)]
        try:
            if node.opdef.takes_context:
                writes = node.opdef.effects.writes
                given = [_CopyOfCell(a) if i in writes else a for i, a in enumerate(inputs)]
                node.opdef.compute(_OnCopies(), *given, **node.attrs)
            else:
                node.opdef.compute(*inputs, **node.attrs)
        except Exception as error:
            return runtime_error(node.op, error, inputs)
        raise AssertionError(f"{node.opdef.name}: the kernel reported an error, but NumPy finds none")

    def _operand(self, frame: runtime.Frame, arena: Arena, call: Call, index: int, value: Value) -> Any:
        """What a node that failed was given as one of its inputs."""
        assert call.operands is not None
        if value.dtype is dtypes.variant:
            items, meta = call.reads[:2]
            if meta in arena.rooms:
                return self.growing.list_in(meta, arena.rooms[meta])
            rows, lengths = (self._seen(frame, v, Ref(v)) for v in (items, meta))
            return StoredList(rows, lengths, Items())
        if index in call.operands:
            return self._seen(frame, value, call.operands[index])
        if value.node.opdef is Const or known_value(value.spec) is not None:
            return self._known(value)
        return np.zeros(
            exact(value, self._bound), dtype_of(value).numpy
        )  # what is wrong does not depend on it

    def _known(self, value: Value) -> Array:
        """A value that was read when the plan was made."""
        is_constant = value.node.opdef is Const
        return value.node.attrs["value"] if is_constant else plans.constant_array(value, self._bound)

    def _seen(self, frame: runtime.Frame, value: Value, ref: Ref) -> Array:
        """A copy of what a kernel was given as a value."""
        shape = (
            tuple(value.node.attrs["shape"]) if roles.is_variable(value.node) else exact(value, self._bound)
        )
        array = np.empty(shape, dtype_of(value).numpy)
        ctypes.memmove(
            array.ctypes.data, int(frame.buffers[self._slots[_at(ref, self._bound)]]), array.nbytes
        )
        return array

    def _give(self, frame: runtime.Frame, value: Value, array: Array, held: list[Any]) -> None:
        array = dense_array(array)
        held.append(array)
        for slot, offset in self._places.get(value, ()):
            frame.buffers[slot] = array.ctypes.data + offset

    def _reserve(self, frame: runtime.Frame, store: Any) -> None:
        """Advances the random streams that the run draws from, and tells kernels where they were."""
        for reserved, slot in self.reserved:
            with stream_of(store, reserved) as stream:
                self._put(frame, slot, stream)
                stream.reserve(reserved.blocks)

    @staticmethod
    def _put(frame: runtime.Frame, slot: int, stream: Any) -> None:
        """Tells kernels where a random stream is."""
        packed = POSITION.pack(*position(*stream.state))
        ctypes.memmove(int(frame.buffers[slot]), packed, POSITION.size)

    @staticmethod
    def _advance(frame: runtime.Frame, slot: int, stream: Any) -> None:
        """Puts a random stream where kernels have left it."""
        _, low, high = POSITION.unpack(ctypes.string_at(int(frame.buffers[slot]), POSITION.size))
        stream.reserve(passed(stream, low, high))

    def _take_cells(
        self, frame: runtime.Frame, cells: Mapping[Value, Any], stack: ExitStack, held: list[Any]
    ) -> None:
        """Variables that are written are taken out of the session, so that nobody sees them half changed."""
        for value in self.segment.cells:
            # First what is only read: who waits for another run to give it back must not hold what that one waits for.
            if value not in self.segment.written:
                array = cells[value].read()
                _check(value, array)
                self._give(frame, value, array, held)
        written = {cells[v]: v for v in self.segment.written}
        for cell in sorted(written, key=id):  # one order for all threads, so that none waits for another
            stack.enter_context(cell.lock)
        for cell, value in written.items():
            if value in self.segment.overwritten:
                # Whatever it held, or nothing, is replaced; a reader may still have the old array.
                array = new_array(value.node.attrs["shape"], dtype_of(value).numpy, is_kept=True)
                old = cell.vacate()
                stack.push(partial(_replace, cell, old, array))
            else:
                array = cell.take()
                stack.callback(cell.give, array)
            _check(value, array)
            self._give(frame, value, array, held)


def _not_as_inferred(value: Value, array: Array, expected: tuple[int, ...]) -> Exception:
    """The error for an array that a kernel in Python gave, and that is not what its op's rules say."""
    inferred = f"{list(expected)} {dtype_of(value).name} was inferred"
    problem = f"the result is {list(array.shape)} {array.dtype}, but {inferred}"
    return runtime_error(value.node.op, errors.InternalError(None, value.node.op, problem))


def _replace(cell: Any, old: Array | None, new: Array, kind: Any, *_: Any) -> None:
    """Gives a variable its new value, or, where the run failed, its old one."""
    cell.give(old if kind is not None else new)


class _CopyOfCell:
    """Stands for a variable where a NumPy kernel shall only say what is wrong."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def update(self, change: Callable[[Array], Array]) -> Array:
        """Changes the copy."""
        return change(self.array)


class _OnCopies:
    """Stands for the context of a NumPy kernel that changes variables or draws, see `base.Context`."""

    @staticmethod
    def update(cells: Sequence[_CopyOfCell], change: Callable[..., None]) -> None:
        """Changes the copies."""
        change(*[cell.array for cell in cells])

    @staticmethod
    def stream(seed: int, seed2: int) -> AbstractContextManager[Any]:
        """A stream that is not the operation's; what is wrong does not depend on what is drawn."""
        return nullcontext(Stream(1, 1))


def _check(value: Value, array: Array) -> None:
    """Native code trusts shapes: a variable must have the one that it was made with."""
    if array.shape != tuple(value.node.attrs["shape"]) or not array.flags.c_contiguous:
        raise Unexpected


class Unexpected(Exception):
    """An array is not what the plan was made for; nothing was computed with it."""


def new_array(shape: Sequence[int], dtype: Any, is_kept: bool = False) -> Array:
    """An array, not initialized; one that is kept is a variable's.

    Raises:
        ResourceExhaustedError: there is no memory.
    """
    try:
        return memory.empty(shape, dtype) if is_kept else np.empty(shape, dtype)
    except MemoryError as error:
        raise errors.ResourceExhaustedError(None, None, f"OOM when allocating tensor: {error}") from error


def dense_array(array: Any) -> Array:
    """An array whose elements lie in row-major order without gaps, aligned; a copy where it is none."""
    array = np.asarray(array, order="C")
    return array if array.flags.aligned else array.copy()


def dtype_of(value: Value) -> DType:
    """The type of a storage's elements; for a variable, of its array."""
    dtype = value.node.attrs["dtype"] if roles.is_variable(value.node) else value.dtype
    assert dtype is not None
    return dtype


def _itemsize(storage: Temporary) -> int:
    if isinstance(storage, (Reserved, Running)):
        return POSITION.size
    return storage.dtype.size if isinstance(storage, Partial) else dtype_of(storage).size


def _at(ref: Ref, bound: Mapping[str, int]) -> Ref:
    """A buffer with an exact offset."""
    if isinstance(ref.offset, int):
        return ref
    return Ref(ref.storage, sizes.evaluate(ref.offset, bound))  # pyright: ignore[reportArgumentType]


def stream_of(store: Any, drawn: Reserved | Running, may_wait: bool = True) -> Any:
    """The random stream of a drawing node, locked while the context manager is open; see `Store.stream`."""
    attrs = drawn.node.attrs
    return store.stream(drawn.node.op, attrs["seed"], attrs["seed2"], may_wait)


def position(key: int, counter: int) -> tuple[int, int, int]:
    """A position in a random stream, as kernels read it: key, lower and upper half of the counter."""
    return key, counter % 2**64, counter >> 64


def passed(stream: Any, low: int, high: int) -> int:
    """How many blocks of a random stream are before a position, given as the halves of its counter."""
    _, counter = stream.state
    return (low + (high << 64) - counter) % 2**128
