"""Runs native plans: binds them to exact sizes, hands arrays to segments, and calls NumPy for the rest."""

from __future__ import annotations

import ctypes
import math
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tahr import errors
from tahr.backends import numpy as reference, report as reports
from tahr.backends.base import Check, Executor, Form, Run, Shortcut, runtime_error
from tahr.backends.native import builtin, engine, inspection, plan as plans, regions, roles, runtime
from tahr.backends.native.calls import Bind, Call, Jump, Partial, Place, Ref, Reserved, Seat, Status
from tahr.backends.native.entry import Buffer, Entry, Recipe, Variable
from tahr.backends.native.flow import buffers, flow
from tahr.backends.native.plan import HostStep, NativePlan, Segment, Unplannable
from tahr.backends.native.roles import Role, extent
from tahr.backends.report import Report
from tahr.core import dtypes, sizes
from tahr.core.convert import Const
from tahr.core.dtypes import DType
from tahr.core.opdef import Array
from tahr.core.shapes import Spec
from tahr.ops import lists
from tahr.plan.plan import Plan
from tahr.program.node import Value
from tahr.program.passes import pipeline

# For how many exact sizes a plan keeps what it has worked out; past that it starts afresh.
MAX_BINDINGS = 64
# The run of a plan from which on it is compiled: what runs once never waits for a compiler.
COMPILED_FROM = 2
# Runs longer than this let other Python threads go on meanwhile, which costs 0.1 us.
RELEASE_SECONDS = 20e-6
# A position in a random stream; see `_position`.
POSITION = struct.Struct("=QQQ")
# Every buffer of an arena begins at a multiple of this many bytes.
ALIGNMENT = 64


# ---------------------------------------------------------------- storage


@dataclass(frozen=True)
class _Layout:
    """Where temporary storages lie in an arena, in bytes, and how large it is."""

    offsets: dict[Value | Partial | Reserved, int]
    size: int


def _laid_out(spans: Mapping[Value | Partial | Reserved, tuple[int, int, int]]) -> _Layout:
    """Places storages so that those in use at the same time do not overlap, the largest first.

    Args:
        spans: for each its size in bytes, and the first and last step that uses it.
    """
    offsets: dict[Value | Partial | Reserved, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    total = 0
    for storage, (size, first, last) in sorted(spans.items(), key=lambda item: -item[1][0]):
        size = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        offset = 0
        for start, end, *_ in sorted(p for p in placed if p[2] <= last and first <= p[3]):
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[storage] = offset
        placed.append((offset, offset + size, first, last))
        total = max(total, offset + size)
    return _Layout(offsets, total)


class _BoundSegment:
    """A segment for exact sizes.

    Attributes:
        segment: what it binds.
        steps: the calls of kernels.
        inputs, cells, outputs, fixed: the slots of the table that each run fills in.
    """

    def __init__(self, segment: Segment, bound: Mapping[str, int]) -> None:
        self.segment = segment
        self._bound = bound
        self._flow = flow(segment.calls, bound)
        self._calls = self._flow.calls  # for each step the call that it belongs to
        self._slots: dict[Ref, int] = {}
        for step in self._flow.steps:
            for ref in buffers(step):
                if not isinstance(ref.storage, Status):
                    self._slots.setdefault(_at(ref, bound), len(self._slots) + 1)
        # For values that lie in rows of lists: slots that lead to the slots that lead to the values.
        self._doors = {
            ref: (slot, len(self._slots) + 1 + i)
            for i, (ref, slot) in enumerate(
                (r, s) for r, s in self._slots.items() if r.storage in self._flow.seated
            )
        }
        self._spare = len(self._slots) + len(self._doors) + 1
        outside = {*segment.inputs, *segment.outputs, *segment.cells}
        counts = self._flow.counts
        self.layout = _laid_out(
            {
                storage: (self._bytes(storage, counts, bound), *span)
                for storage, span in self._flow.spans(outside).items()
            }
        )
        self.steps = runtime.Steps([self._step(step) for step in self._flow.steps])
        self.reserved = [(r.storage, s) for r, s in self._slots.items() if isinstance(r.storage, Reserved)]
        self.shapes = {v: _exact(v, bound) for v in segment.outputs}
        self._expected = {v: _exact(v, bound) for v in segment.inputs}
        self._frames: list[tuple[runtime.Frame, Array]] = []
        self._shortest = math.inf
        self._places: dict[Value, list[tuple[int, int]]] = {}
        for ref, slot in self._slots.items():
            if ref.storage in outside:
                assert isinstance(ref.storage, Value) and isinstance(ref.offset, int)
                self._places.setdefault(ref.storage, []).append((slot, ref.offset * _itemsize(ref.storage)))

    def _step(self, step: Bind | Jump | Seat) -> runtime.Step | runtime.Jump:
        """A step on slots of the table."""
        slots = [
            0 if isinstance(r.storage, Status) else self._slots[_at(r, self._bound)] for r in buffers(step)
        ]
        if isinstance(step, Jump):
            return runtime.Jump(self._flow.marks[step.to], slots[0] if slots else None)
        if isinstance(step, Seat):
            doors = [(ref, door) for ref, (_, door) in self._doors.items() if ref.storage is step.value]
            offsets = [ref.offset * _itemsize(step.value) for ref, _ in doors]
            sizes = [*step.sizes, len(doors), *offsets]
            return runtime.Step(step.kernel, [*slots, *(door for _, door in doors)], sizes, 1)  # pyright: ignore[reportArgumentType]
        bound = step.bound
        kernel = replace(step.kernel, scratch=max(bound.scratch, step.kernel.scratch))
        return runtime.Step(kernel, slots, bound.sizes, bound.tiles)

    @property
    def has_loops(self) -> bool:
        """Whether it holds a loop."""
        return self._flow.has_loops

    @staticmethod
    def _bytes(
        storage: Value | Partial | Reserved, counts: Mapping[Partial, int], bound: Mapping[str, int]
    ) -> int:
        if isinstance(storage, Reserved):
            return POSITION.size
        if isinstance(storage, Partial):
            return counts[storage] * storage.dtype.size
        return math.prod(_exact(storage, bound)) * _itemsize(storage)

    def _frame(self) -> tuple[runtime.Frame, Array]:
        """A table with an arena; each run in flight has its own."""
        try:
            return self._frames.pop()
        except IndexError:
            return self._new_frame()

    def _new_frame(self) -> tuple[runtime.Frame, Array]:
        frame = runtime.Frame(self._spare + 1, self.steps.scratch, self.steps.widest)
        arena = runtime.aligned(self.layout.size)
        for slot, door in self._doors.values():
            frame.buffers[door] = frame.address + 8 * slot
        for ref, slot in self._slots.items():
            found = self.layout.offsets.get(ref.storage)  # pyright: ignore[reportArgumentType, reportCallIssue]
            if found is not None:
                assert isinstance(ref.offset, int)
                step = 0 if isinstance(ref.storage, Reserved) else ref.offset * _itemsize(ref.storage)  # pyright: ignore[reportArgumentType]
                frame.buffers[slot] = arena.ctypes.data + found + step
        return frame, arena

    # ------------------------------------------------------------ for shortcuts

    def new_frame(self, threads: int) -> tuple[runtime.Frame, Array]:
        """A frame for a shortcut to keep, with its arena: that of the run before, so that memory is not held twice."""
        frame, arena = self._frame()
        frame.status["threads"] = threads
        return frame, arena

    def slot(self, value: Value) -> int | None:
        """The only place of the table that leads to the start of a value's storage; None where there are others."""
        places = self._places.get(value, ())
        return places[0][0] if len(places) == 1 and places[0][1] == 0 else None

    def is_unread(self, value: Value) -> bool:
        """Whether no kernel looks at a value."""
        return value not in self._places

    def buffer(self, value: Value, shape: tuple[int, ...]) -> Buffer:
        """What a shortcut expects of a value's array; the address of one that is not read goes to a slot of no use."""
        slot = self.slot(value)
        return Buffer(self._spare if slot is None else slot, _dtype(value).numpy, shape)

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
        frame.status["threads"] = threads
        held: list[Any] = []
        with ExitStack() as stack:
            for value, expected in self._expected.items():
                array = _dense_array(arrays[value])
                if array.shape != expected or array.dtype != _dtype(value).numpy:
                    raise _not_as_inferred(value, array, expected)
                self._give(frame, value, array, held)
            for value, shape in self.shapes.items():
                assert value.dtype is not None
                array = arrays[value] = _new_array(shape, value.dtype.numpy)
                self._give(frame, value, array, held)
            self._take_cells(frame, cells, stack, held)
            self._reserve(frame, run.store)
            stamps = None
            if times is not None:
                stamps = np.zeros(len(self.steps) + 1, np.int64)
                frame.status["stamps"] = stamps.ctypes.data
            start = time.perf_counter()
            code = runtime.runtime().run(self.steps, frame)
            while code == runtime.PAUSED:
                run.check()
                code = runtime.runtime().run(self.steps, frame)
            self._shortest = min(self._shortest, time.perf_counter() - start)
            if times is not None and stamps is not None:
                frame.status["stamps"] = 0
                times += self._times(stamps)
            self._frames.append((frame, arena))
            if code:
                raise self.failure(frame)

    def _times(self, stamps: Array) -> list[int]:
        """The nanoseconds of each call, from those at which its kernels began."""
        times = {id(call): 0 for call in self.segment.calls}
        for call, taken in zip(self._calls, np.diff(stamps).tolist()):
            times[id(call)] += taken
        return list(times.values())

    def failure(self, frame: runtime.Frame) -> Exception:
        """The error for what a kernel reported: the NumPy kernel raises it, given the same inputs."""
        frame.status["code"] = 0
        call = self._calls[int(frame.status["step"])]
        (node,) = call.nodes
        assert call.operands is not None and node.opdef.compute is not None
        inputs = [self._operand(frame, call, i, value) for i, value in enumerate(node.inputs)]
        try:
            if node.opdef.takes_context:
                writes = node.opdef.effects.writes
                given = [_CopyOfCell(a) if i in writes else a for i, a in enumerate(inputs)]
                node.opdef.compute(None, *given, **node.attrs)
            else:
                node.opdef.compute(*inputs, **node.attrs)
        except Exception as error:
            return runtime_error(node.op, error, inputs)
        raise AssertionError(f"{node.opdef.name}: the kernel reported an error, but NumPy finds none")

    def _operand(self, frame: runtime.Frame, call: Call, index: int, value: Value) -> Any:
        """What a node that failed was given as one of its inputs."""
        assert call.operands is not None
        if value.dtype is dtypes.variant:
            items, meta = call.reads[:2]
            rows, (length, *is_set) = self._seen(frame, items, Ref(items)), self._seen(frame, meta, Ref(meta))
            return lists.TensorList([row if s else None for row, s in zip(rows[:length], is_set)])
        if index in call.operands:
            return self._seen(frame, value, call.operands[index])
        is_item = call.nodes[0].opdef in regions.WRITES  # it is computed after its row was found
        return np.zeros(_exact(value, self._bound), _dtype(value).numpy) if is_item else self._known(value)

    def _known(self, value: Value) -> Array:
        """A value that was read when the plan was made."""
        is_constant = value.node.opdef is Const
        return value.node.attrs["value"] if is_constant else plans.constant_array(value, self._bound)

    def _seen(self, frame: runtime.Frame, value: Value, ref: Ref) -> Array:
        """A copy of what a kernel was given as a value."""
        shape = (
            tuple(value.node.attrs["shape"]) if roles.is_variable(value.node) else _exact(value, self._bound)
        )
        array = np.empty(shape, _dtype(value).numpy)
        ctypes.memmove(
            array.ctypes.data, int(frame.buffers[self._slots[_at(ref, self._bound)]]), array.nbytes
        )
        return array

    def _give(self, frame: runtime.Frame, value: Value, array: Array, held: list[Any]) -> None:
        array = _dense_array(array)
        held.append(array)
        for slot, offset in self._places.get(value, ()):
            frame.buffers[slot] = array.ctypes.data + offset

    def _reserve(self, frame: runtime.Frame, store: Any) -> None:
        """Advances the random streams that the run draws from, and tells kernels where they were."""
        for reserved, slot in self.reserved:
            with _stream(store, reserved) as stream:
                start = stream.reserve(reserved.blocks)
            position = POSITION.pack(*_position(start.key, start.counter))
            ctypes.memmove(int(frame.buffers[slot]), position, POSITION.size)

    def _take_cells(
        self, frame: runtime.Frame, cells: Mapping[Value, Any], stack: ExitStack, held: list[Any]
    ) -> None:
        """Variables that are written are taken out of the session, so that nobody sees them half changed."""
        written = {cells[v]: v for v in self.segment.written}
        for cell in sorted(written, key=id):  # one order for all threads, so that none waits for another
            stack.enter_context(cell.lock)
        for cell, value in written.items():
            if value in self.segment.overwritten:
                # Whatever it held, or nothing, is replaced; a reader may still have the old array.
                array = _new_array(value.node.attrs["shape"], _dtype(value).numpy)
                old = cell.vacate()
                stack.push(partial(_replace, cell, old, array))
            else:
                array = cell.take()
                stack.callback(cell.give, array)
            _check(value, array)
            self._give(frame, value, array, held)
        for value in self.segment.cells:
            if value not in self.segment.written:
                array = cells[value].read()
                _check(value, array)
                self._give(frame, value, array, held)


def _not_as_inferred(value: Value, array: Array, expected: tuple[int, ...]) -> Exception:
    """The error for an array that a kernel in Python gave, and that is not what its op's rules say."""
    problem = f"the result is {list(array.shape)} {array.dtype}, but {list(expected)} {_dtype(value).name} was inferred"
    return runtime_error(value.node.op, errors.InternalError(None, value.node.op, problem))


def _replace(cell: Any, old: Array | None, new: Array, kind: Any, *_: Any) -> None:
    """Gives a variable its new value, or, where the run failed, its old one."""
    cell.give(old if kind is not None else new)


class _CopyOfCell:
    """Stands for a variable where a NumPy kernel shall only say what is wrong."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def update(self, change: Callable[[Array], Array]) -> Array:
        """Changes the copy."""
        return change(self._array)


def _check(value: Value, array: Array) -> None:
    """Native code trusts shapes: a variable must have the one that it was made with."""
    if array.shape != tuple(value.node.attrs["shape"]) or not array.flags.c_contiguous:
        raise _Unexpected


class _Unexpected(Exception):
    """An array is not what the plan was made for; nothing was computed with it."""


def _has_value(cell: Any) -> bool:
    """Whether a variable can be read."""
    try:
        cell.read()
    except errors.FailedPreconditionError:
        return False
    return True


def _new_array(shape: Sequence[int], dtype: Any) -> Array:
    """An array, not initialized.

    Raises:
        ResourceExhaustedError: there is no memory.
    """
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        raise errors.ResourceExhaustedError(None, None, f"OOM when allocating tensor: {error}") from error


def _dense_array(array: Any) -> Array:
    """An array whose elements lie in row-major order without gaps, aligned; a copy where it is none."""
    array = np.asarray(array, order="C")
    return array if array.flags.aligned else array.copy()


def _exact(value: Value, bound: Mapping[str, int]) -> tuple[int, ...]:
    assert value.shape is not None
    return tuple(sizes.evaluate(d, bound) for d in value.shape)  # pyright: ignore[reportArgumentType]


def _dtype(value: Value) -> DType:
    """The type of a storage's elements; for a variable, of its array."""
    dtype = value.node.attrs["dtype"] if roles.is_variable(value.node) else value.dtype
    assert dtype is not None
    return dtype


def _itemsize(storage: Value | Partial) -> int:
    return storage.dtype.size if isinstance(storage, Partial) else _dtype(storage).size


def _at(ref: Ref, bound: Mapping[str, int]) -> Ref:
    """A buffer with an exact offset."""
    return replace(ref, offset=sizes.evaluate(ref.offset, bound))  # pyright: ignore[reportArgumentType]


class _Drawing:
    """An entry of steps that draw random numbers.

    Args:
        entry: takes the positions in the random streams behind the other arguments.
        store: the session's random streams.
        reserved: what is drawn, in the order of the positions.
    """

    def __init__(self, entry: Entry, store: Any, reserved: Sequence[Reserved]) -> None:
        self._entry = entry
        self._store = store
        self._reserved = reserved

    def __call__(self, *values: Any) -> Any:
        """Runs where the streams are, and advances them if it did run."""
        with ExitStack() as stack:
            streams = [stack.enter_context(_stream(self._store, reserved)) for reserved in self._reserved]
            positions = [np.array(_position(*stream.state), np.uint64) for stream in streams]
            found = None
            try:
                found = self._entry(*values, *positions)
            finally:
                if found is not NotImplemented:
                    for stream, reserved in zip(streams, self._reserved):
                        stream.reserve(reserved.blocks)
        return found


def _stream(store: Any, reserved: Reserved) -> Any:
    """The random stream of a drawing node, locked while the context manager is open."""
    attrs = reserved.node.attrs
    return store.stream(reserved.node.op, attrs["seed"], attrs["seed2"])


def _position(key: int, counter: int) -> tuple[int, int, int]:
    """A position in a random stream, as kernels read it: key, lower and upper half of the counter."""
    return key, counter % 2**64, counter >> 64


class Binding:
    """A plan for exact sizes."""

    def __init__(self, plan: NativePlan, bound: Mapping[str, int]) -> None:
        self.plan = plan
        self.bound = bound
        _check_shapes(plan, bound)
        before = engine.statistics()
        self.items = [
            _BoundSegment(item, bound) if isinstance(item, Segment) else item for item in plan.items
        ]
        self._built = engine.statistics() - before
        self.fixed: dict[Value, Any] = {}
        for value, role in _given(plan):
            if role is Role.CONSTANT:
                self.fixed[value] = _dense_array(value.node.attrs["value"])
            elif role is Role.EXTENT:
                assert value.dtype is not None
                count = sizes.evaluate(extent(value.node), bound)  # pyright: ignore[reportArgumentType]
                self.fixed[value] = np.asarray(count).astype(value.dtype.numpy)
            elif role is Role.UNIFORM:
                found = roles.traced(value.node)
                assert found is not None
                self.fixed[value] = np.full(_exact(value, bound), found[0].value, _dtype(value).numpy)
            else:
                self.fixed[value] = plans.constant_array(value, bound)

    def shortcut(
        self,
        cells: Mapping[Value, Any],
        store: Any,
        threads: int,
        shapes: Sequence[tuple[int, ...]],
        form: Form,
        check: Check | None,
    ) -> Shortcut | None:
        """A quicker way for the next run; None where there is Python to do in between.

        Args:
            cells: the session's variables.
            store: the session's random streams.
            threads: how many threads compute; 0 for as many as there are.
            shapes: the shapes of the inputs.
            form: how the results are handed over.
            check: see `Executor.shortcut`.
        """
        if len(self.items) != 1 or not isinstance(self.items[0], _BoundSegment):
            return None
        segment = self.items[0]
        if (segment.has_loops and check is None) or not self._is_repeatable(segment):
            return None
        frame, arena = segment.new_frame(threads)
        # One order for all threads, so that none waits for another.
        reserved = sorted(segment.reserved, key=lambda item: id(item[0].node.op))
        inputs = [segment.buffer(v, shape) for v, shape in zip(self.plan.program.inputs, shapes)]
        inputs += [Buffer(slot, np.dtype(np.uint64), (3,)) for _, slot in reserved]

        def failed() -> None:
            raise segment.failure(frame)

        recipe = Recipe(
            segment.steps,
            frame,
            inputs,
            segment.variables(cells),
            [segment.buffer(v, segment.shapes[v]) for v in self.plan.program.outputs],
            form,
            segment.is_long or segment.has_loops,
            failed,
            check if segment.has_loops else None,
            (arena, segment.fill_fixed(frame, self.fixed)),
        )
        run = builtin.make_entry(recipe)
        return _Drawing(run, store, [r for r, _ in reserved]) if reserved else run

    def _is_repeatable(self, segment: _BoundSegment) -> bool:
        """Whether a run of the plan is nothing but the steps of a segment, on arrays that lie each in one place."""
        drawing = [reserved.node.op for reserved, _ in segment.reserved]
        if len(set(drawing)) < len(drawing):
            return False  # one stream feeds several nodes, in order
        program = self.plan.program
        unread = {v for v in program.inputs if segment.is_unread(v)}
        if any(program.inputs[i] in unread for _, i, _ in self.plan.symbols):
            return False  # a size that counts is that of an array that does not
        if len(set(program.outputs)) < len(program.outputs) or set(program.outputs) != set(segment.shapes):
            return False
        given = (*program.inputs, *segment.segment.cells, *program.outputs)
        return not segment.segment.overwritten and all(
            v in unread or segment.slot(v) is not None for v in given
        )

    def report(self) -> Report:
        """How the plan runs."""
        segments = [item for item in self.items if isinstance(item, _BoundSegment)]
        arena = sum(segment.layout.size for segment in segments)
        return inspection.native_report(self.plan, self.bound, arena, self._built)

    def run(
        self,
        values: Sequence[Any],
        cells: Mapping[Value, Any],
        executor: Executor,
        run: Run,
        threads: int,
        times: list[int] | None = None,
    ) -> list[Any]:
        """Runs the plan; adds the nanoseconds of each step to `times`."""
        if not all(_has_value(cells[v]) for v in self.plan.uncertain):
            raise _Unexpected  # the reference backend reads only what the branches that are taken use
        arrays = dict(self.fixed)
        arrays.update(zip(self.plan.program.inputs, values))
        for item, frees in zip(self.items, self.plan.frees):
            if isinstance(item, _BoundSegment):
                item.run(arrays, cells, threads, run, times)
            else:
                timed = item if times is None else replace(item, run=reports.timed_call(item.run, times))
                self._host(timed, arrays, cells, executor, run)
            for value in frees:
                arrays.pop(value, None)
        return [self._fetch(v, arrays, cells) for v in self.plan.program.outputs]

    def _host(
        self,
        step: HostStep,
        arrays: dict[Value, Any],
        cells: Mapping[Value, Any],
        executor: Executor,
        run: Run,
    ) -> None:
        node = step.node
        needs = [self._fetch(v, arrays, cells, is_host=True) for v in step.needs]
        try:
            if step.takes_context:
                result = step.run(executor.context(run, node.op), *needs)
            else:
                result = step.run(*needs)
        except Exception as error:
            failure = runtime_error(node.op, error, needs)
            if failure is error:
                raise
            raise failure from error
        found = result if isinstance(result, (tuple, list)) else (result,)
        arrays.update(zip(node.outputs, found))

    def _fetch(
        self, value: Value, arrays: Mapping[Value, Any], cells: Mapping[Value, Any], is_host: bool = False
    ) -> Any:
        if value in cells:
            return cells[value] if is_host else cells[value].read()
        if value in arrays:
            return arrays[value]
        place = self.plan.places[value]
        root = place.root
        array = cells[root].read() if root in cells else arrays[root]
        return self._viewed(array, place)

    def _viewed(self, array: Array, place: Place) -> Array:
        """The array of a view."""
        view = place.view
        shape = tuple(sizes.evaluate(d, self.bound) for d in view.shape)  # pyright: ignore[reportArgumentType]
        array = _dense_array(array)
        if view.is_dense:  # perhaps only the beginning of the storage
            return array.reshape(-1)[: math.prod(shape)].reshape(shape)
        flat = array.reshape(-1)[sizes.evaluate(view.offset, self.bound) :]  # pyright: ignore[reportArgumentType]
        strides = [sizes.evaluate(s, self.bound) * array.itemsize for s in view.strides]  # pyright: ignore[reportArgumentType]
        return np.lib.stride_tricks.as_strided(flat, shape, strides, writeable=False)


def _check_shapes(plan: NativePlan, bound: Mapping[str, int]) -> None:
    """Kernels do not look whether exact shapes fit together.

    Raises:
        _Unexpected: they do not. The reference backend raises the error, in its turn among others.
    """
    if not bound:
        return  # what the graph knows was checked when it was built
    for segment in plan.segments:
        for node in dict.fromkeys(n for call in segment.calls for n in call.nodes):
            specs = [_exact_spec(v, bound) for v in node.inputs]
            try:
                node.opdef.infer(specs, node.attrs)
            except (ValueError, errors.Complaint) as error:
                raise _Unexpected from error


def _exact_spec(value: Value, bound: Mapping[str, int]) -> Spec:
    spec = value.spec
    if spec.shape is None:
        return spec
    shape = tuple(d if isinstance(d, sizes.Unknown) else sizes.evaluate(d, bound) for d in spec.shape)
    known = None
    if spec.value is not None:
        exact = [d if isinstance(d, sizes.Unknown) else sizes.evaluate(d, bound) for d in spec.value.flat]
        known = np.array([*exact, None], dtype=object)[:-1].reshape(spec.value.shape)
    return Spec(spec.dtype, shape, known)


def _given(plan: NativePlan) -> list[tuple[Value, Role]]:
    """Values that are there before a run, and the same in each of equal sizes."""
    used: dict[Value, None] = dict.fromkeys(plan.program.outputs)
    for item in plan.items:
        used.update(dict.fromkeys(item.inputs if isinstance(item, Segment) else item.needs))
    roots = dict.fromkeys(plan.places[v].root if v in plan.places else v for v in used)
    fixed = (Role.CONSTANT, Role.KNOWN, Role.EXTENT, Role.UNIFORM)
    return [(v, plan.node_roles[v.node]) for v in roots if plan.node_roles.get(v.node) in fixed]


# ---------------------------------------------------------------- the backend


class _Record:
    """What the backend knows of one plan of the reference backend.

    Attributes:
        runs: how often it ran.
        native: its native form; None until it is made, or where it cannot be.
        reason: why it has no native form.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.native: NativePlan | None = None
        self.reason = ""
        self.bindings: dict[tuple[int, ...], Binding | None] = {}
        self.lock = threading.RLock()


class Backend:
    """Runs plans natively from their second run on.

    Args:
        compiled_from: the run from which on a plan is compiled.
        threads: how many threads compute; 0 for as many as there are.
    """

    def __init__(self, compiled_from: int = COMPILED_FROM, threads: int = 0) -> None:
        self._compiled_from = compiled_from
        self._threads = threads

    def execute(self, plan: Plan, values: Sequence[Any], executor: Executor, run: Run) -> list[Any]:
        """Runs one plan; see `numpy.execute`."""
        record = _records.get(plan)
        if record is None:
            record = _records.setdefault(plan, _Record())
        record.runs += 1
        if record.runs < self._compiled_from or record.reason:
            return reference.execute(plan, values, executor, run)
        binding = self._binding(record, plan, values)
        if binding is None:
            return reference.execute(plan, values, executor, run)
        cells = _cells(binding.plan, run.store)
        try:
            return binding.run(values, cells, executor, run, self._threads)
        except _Unexpected:
            return reference.execute(plan, values, executor, run)

    def shortcut(
        self, plan: Plan, values: Sequence[Any], store: Any, form: Form, check: Check | None
    ) -> Shortcut | None:
        """A quicker way to run a plan that has been run, on arrays of the same shapes; None where there is none."""
        record = _records.get(plan)
        if record is None or record.native is None or record.runs <= self._compiled_from:
            return None
        binding = self._binding(record, plan, values)
        if binding is None:
            return None
        shapes = [v.shape for v in values]
        return binding.shortcut(_cells(binding.plan, store), store, self._threads, shapes, form, check)

    # ------------------------------------------------------------ looking inside

    def report(self, plan: Plan, values: Sequence[Any]) -> Report:
        """How a plan runs, once it is compiled, given inputs of these shapes."""
        record = _records.setdefault(plan, _Record())
        binding = self._binding(record, plan, values)
        if binding is None:
            found = reports.reference_report(
                plan, values, lambda n: roles.reason(n) or "its plan is not compiled"
            )
            return replace(found, reason=record.reason)
        return binding.report()

    def timed(
        self, plan: Plan, values: Sequence[Any], executor: Executor, run: Run, times: list[int]
    ) -> list[Any]:
        """Runs a plan natively, and adds the nanoseconds of each step of the report to `times`."""
        binding = self._binding(_records.setdefault(plan, _Record()), plan, values)
        if binding is not None:
            try:
                return binding.run(
                    values, _cells(binding.plan, run.store), executor, run, self._threads, times
                )
            except _Unexpected:
                times.clear()
        return reference.execute(reports.timed_plan(plan, times), values, executor, run)

    def _binding(self, record: _Record, plan: Plan, values: Sequence[Any]) -> Binding | None:
        with record.lock:
            if record.native is None and not record.reason:
                try:
                    record.native = plans.make_plan(pipeline.for_native(plan.program))
                    if not record.native.segments:
                        record.reason = "nothing in it is native"
                except Unplannable as error:
                    record.reason = str(error)
            native = record.native
            if native is None or record.reason:
                return None
            exact = tuple(values[i].shape[axis] for _, i, axis in native.symbols)
            if exact not in record.bindings:
                if len(record.bindings) >= MAX_BINDINGS:
                    record.bindings.clear()
                bound = {name: size for (name, _, _), size in zip(native.symbols, exact)}
                try:
                    record.bindings[exact] = Binding(native, bound)
                except _Unexpected:  # these sizes are NumPy's
                    record.bindings[exact] = None
            return record.bindings[exact]


def _cells(plan: NativePlan, store: Any) -> dict[Value, Any]:
    """A session's variables, by the values that stand for them."""
    return {v: store.cell(key, op) for v, key, op in plan.variables}


_records: WeakKeyDictionary[Plan, _Record] = WeakKeyDictionary()


def executor(compiled_from: int = COMPILED_FROM, threads: int = 0) -> Executor:
    """The native executor; arguments as `Backend`'s."""
    backend = Backend(compiled_from, threads)
    return Executor(backend.execute, pipeline.for_numpy, backend.shortcut, backend)
