"""Runs native plans: hands arrays to segments of exact sizes, and calls NumPy for the rest."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import ref

import numpy as np

from tahr import errors
from tahr.backends import numpy as reference, report as reports
from tahr.backends.base import Check, Executor, Form, Run, Shortcut, runtime_error
from tahr.backends.native import (
    builtin,
    engine,
    foresight,
    heap,
    inspection,
    plan as plans,
    planner,
    roles,
    tracing,
)
from tahr.backends.native.calls import Place
from tahr.backends.native.compiler import CompileError
from tahr.backends.native.fitting import Fitting
from tahr.backends.native.plan import HostStep, NativePlan, Segment, Unplannable
from tahr.backends.native.roles import Role, extent
from tahr.backends.native.segments import BoundSegment, Unexpected, dense_array, dtype_of
from tahr.backends.native.shortcuts import is_repeatable, make_shortcut
from tahr.backends.native.single import exact
from tahr.backends.report import Report
from tahr.core import blas, sizes
from tahr.core.forks import new_lock
from tahr.core.opdef import Array
from tahr.ops.list_values import StoredList
from tahr.plan.plan import Notes, Plan
from tahr.program.node import Node, Value
from tahr.program.passes import pipeline

# For how many exact sizes a plan keeps what it has worked out; past that it starts afresh.
MAX_BINDINGS = 64
# The run of a plan from which on it is compiled: what runs once never waits for a compiler.
COMPILED_FROM = 2
# A loop may run a plan often in the first run. It is compiled then only if it is long: most loops are part of what is
# compiled in the second run, and not needed any more by themselves.
COMPILED_IN_LOOPS_FROM = 100
# After so many runs exact sizes get a shortcut, though others come in between: to make one takes as long as a few runs
# without.
OFTEN = 32


class Binding:
    """A plan for exact sizes."""

    def __init__(self, plan: NativePlan, bound: Mapping[str, int]) -> None:
        self.plan = plan
        self.bound = bound
        self.runs = 0  # since it was given a shortcut
        before = engine.statistics()
        if len(plan.items) == 1:
            builtin.announce()  # what entries are made of, for `shortcut`
        self.items = [
            BoundSegment(item, bound, plan.arenas) if isinstance(item, Segment) else item
            for item in plan.items
        ]
        self._built = engine.statistics() - before
        self.fixed: dict[Value, Any] = {v: _fixed_array(v, role, bound) for v, role in _given(plan)}

    def shortcut(
        self,
        shapes: Sequence[tuple[int, ...]],
        cells: Mapping[Value, Any],
        store: Any,
        threads: int,
        form: Form,
        check: Check | None,
    ) -> Shortcut | None:
        """A quicker way for the next run, see `make_shortcut`; None where there is Python to do in between."""
        if len(self.items) != 1 or not isinstance(self.items[0], BoundSegment):
            return None
        segment = self.items[0]
        if (segment.has_loops and check is None) or not is_repeatable(self.plan, segment):
            return None
        return make_shortcut(self.plan, segment, shapes, self.fixed, cells, store, threads, form, check)

    def report(self) -> Report:
        """How the plan runs."""
        segments = [item for item in self.items if isinstance(item, BoundSegment)]
        arena = sum(segment.layout.size for segment in segments)
        report = inspection.native_report(self.plan, self.bound, arena, self._built)
        return replace(report, growing=sum(segment.growing.bytes for segment in segments))

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
            raise Unexpected  # the reference backend reads only what the branches that are taken use
        arrays = dict(self.fixed)
        arrays.update(zip(self.plan.program.inputs, values))
        for value, storage in self.plan.lists.items():
            found = arrays[value]
            arrays[storage.items], arrays[storage.meta] = found.rows, found.lengths
        for item, frees in zip(self.items, self.plan.frees):
            if isinstance(item, BoundSegment):
                item.run(arrays, cells, threads, run, times)
            else:
                timed = item if times is None else replace(item, run=reports.timed_call(item.run, times))
                with blas.ONE_THREAD:
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
        array = dense_array(array)
        if view.is_dense:  # perhaps only the beginning of the storage
            return array.reshape(-1)[: math.prod(shape)].reshape(shape)
        flat = array.reshape(-1)[sizes.evaluate(view.offset, self.bound) :]  # pyright: ignore[reportArgumentType]
        strides = [sizes.evaluate(s, self.bound) * array.itemsize for s in view.strides]  # pyright: ignore[reportArgumentType]
        return np.lib.stride_tricks.as_strided(flat, shape, strides, writeable=False)


def _sizes_of(value: Any) -> tuple[int, ...]:
    """The sizes of an array, or of a list's items."""
    return value.item_shape if isinstance(value, StoredList) else value.shape


def _has_value(cell: Any) -> bool:
    """Whether a variable can be read."""
    try:
        cell.read()
    except errors.FailedPreconditionError:
        return False
    return True


def _given(plan: NativePlan) -> list[tuple[Value, Role]]:
    """Values that are there before a run, and the same in each of equal sizes."""
    used: dict[Value, None] = dict.fromkeys(plan.program.outputs)
    for item in plan.items:
        used.update(dict.fromkeys(item.inputs if isinstance(item, Segment) else item.needs))
    roots = dict.fromkeys(plan.places[v].root if v in plan.places else v for v in used)
    fixed = (Role.CONSTANT, Role.KNOWN, Role.EXTENT, Role.UNIFORM)
    return [(v, plan.node_roles[v.node]) for v in roots if plan.node_roles.get(v.node) in fixed]


def _fixed_array(value: Value, role: Role, bound: Mapping[str, int]) -> Array:
    """The array of a value that is the same in each run of equal sizes."""
    if role is Role.CONSTANT:
        return dense_array(value.node.attrs["value"])
    if role is Role.EXTENT:
        count = sizes.evaluate(extent(value.node), bound)  # pyright: ignore[reportArgumentType]
        return np.asarray(count).astype(dtype_of(value).numpy)
    if role is Role.UNIFORM:
        found = tracing.traced(value.node)
        assert found is not None
        return np.full(exact(value, bound), found[0].value, dtype_of(value).numpy)
    return plans.constant_array(value, bound)


# ---------------------------------------------------------------- the backend


class _Record:
    """What the backend knows of one plan of the reference backend.

    Attributes:
        runs: in how many calls of `Session.run` it ran.
        times: how often it ran in the latest.
        native: its native form; None until it is made, or where it cannot be.
        fitting: what exact sizes of that must fulfil.
        reason: why it has no native form.
        bindings: that form for exact sizes, by these; None where the sizes do not fit.
        latest: the binding that ran last.
        repeated: that one too, if it had run before it as well: the sizes do not change in every run.
    """

    def __init__(self) -> None:
        self.runs = self.times = 0
        self._latest: Callable[[], Run | None] = lambda: None
        self.native: NativePlan | None = None
        self.fitting: Fitting | None = None
        self.reason = ""
        self.bindings: dict[tuple[int, ...], Binding | None] = {}
        self.latest: Binding | None = None
        self.repeated: Binding | None = None
        self.lock = new_lock()

    def count(self, run: Run) -> None:
        """Counts that it runs."""
        if self._latest() is not run:
            self._latest = ref(run)
            self.runs += 1
            self.times = 0
        self.times += 1

    def make_plan(self, plan: Plan, values: Sequence[Any]) -> None:
        """Makes the native form, or finds out why there is none."""
        heap.trim()  # of what NumPy's runs have left
        foresight.begin(plan.program, values)
        try:
            self.native = planner.make_plan(pipeline.for_native(plan.program))
            self.fitting = Fitting(self.native)
            if not self.native.segments:
                self.reason = "nothing in it is native"
        except Unplannable as error:
            self.reason = str(error)

    def ran(self, binding: Binding) -> None:
        """Notes which sizes it had."""
        binding.runs += 1
        self.repeated = binding if binding is self.latest else None
        self.latest = binding


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
        record.count(run)
        is_early = record.runs < self._compiled_from and record.times < COMPILED_IN_LOOPS_FROM
        binding = None
        if not record.reason and (
            not is_early or (record.times == 1 and foresight.is_long(plan.program, values))
        ):
            binding = self._binding(record, plan, values)
        if binding is not None:
            try:
                found = binding.run(values, _cells(binding.plan, run.store), executor, run, self._threads)
            except Unexpected:
                pass
            else:
                record.ran(binding)
                return found
        with blas.ONE_THREAD:
            return reference.execute(plan, values, executor, run)

    def shortcut(
        self, plan: Plan, values: Sequence[Any], store: Any, form: Form, check: Check | None
    ) -> Shortcut | None:
        """A quicker way to run a plan that has been run, on arrays of the same shapes; None where there is none.

        There is one for sizes that came twice running, or often.
        """
        record = _records.get(plan)
        binding = None if record is None else record.latest
        if record is None or binding is None or (binding is not record.repeated and binding.runs < OFTEN):
            return None
        if builtin.is_coming():
            return None  # rather than wait for it; the next run asks again
        if self._binding(record, plan, values) is not binding:
            return None  # another thread has run other sizes
        binding.runs = 0
        shapes = [v.shape for v in values]
        return binding.shortcut(shapes, _cells(binding.plan, store), store, self._threads, form, check)

    # ------------------------------------------------------------ looking inside

    def report(self, plan: Plan, values: Sequence[Any]) -> Report:
        """How a plan runs, once it is compiled, given inputs of these shapes."""
        record = _records.setdefault(plan, _Record())
        binding = self._binding(record, plan, values)
        if binding is None:
            hosts = [] if record.native is None else record.native.items
            reasons = {item.node.op: item.reason for item in hosts if isinstance(item, HostStep)}

            def reason(node: Node) -> str:
                return reasons.get(node.op) or roles.reason(node) or "its plan is not compiled"

            return replace(reports.reference_report(plan, values, reason), reason=record.reason)
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
            except Unexpected:
                times.clear()
        with blas.ONE_THREAD:
            return reference.execute(reports.timed_plan(plan, times), values, executor, run)

    def _binding(self, record: _Record, plan: Plan, values: Sequence[Any]) -> Binding | None:
        """A plan for the exact sizes of its inputs; None where NumPy runs it. What is not there yet is made."""
        with record.lock:
            if record.native is None and not record.reason:
                record.make_plan(plan, values)
            native = record.native
            if native is None or record.fitting is None or record.reason:
                return None
            found = tuple(_sizes_of(values[i])[axis] for _, i, axis in native.symbols)
            if found not in record.bindings:
                if len(record.bindings) >= MAX_BINDINGS:
                    record.bindings.clear()
                bound = {name: size for (name, _, _), size in zip(native.symbols, found)}
                try:
                    # Sizes that do not fit are NumPy's, which raises the error, in its turn among others.
                    record.bindings[found] = Binding(native, bound) if record.fitting.holds(bound) else None
                except CompileError as error:
                    record.reason = f"LLVM cannot compile it: {error}"
                    warnings.warn(f"NumPy runs a plan, since {record.reason}", RuntimeWarning, stacklevel=2)
                    return None
            return record.bindings[found]


def _cells(plan: NativePlan, store: Any) -> dict[Value, Any]:
    """A session's variables, by the values that stand for them."""
    return {v: store.cell(key, op) for v, key, op in plan.variables}


_records: Notes[_Record] = Notes()


def executor(compiled_from: int = COMPILED_FROM, threads: int = 0) -> Executor:
    """The native executor; arguments as `Backend`'s."""
    backend = Backend(compiled_from, threads)
    return Executor(backend.execute, pipeline.for_numpy, backend.shortcut, backend)
