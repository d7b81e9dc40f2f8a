"""Shortcuts: a run of one segment, again, on arrays of the same shapes, with all looked up beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from tahr.backends.base import Check, Form, Shortcut
from tahr.backends.native import builtin
from tahr.backends.native.calls import Reserved, Running
from tahr.backends.native.entry import Buffer, Entry, Recipe
from tahr.backends.native.plan import NativePlan
from tahr.backends.native.segments import BoundSegment, passed, position, stream_of
from tahr.core.opdef import Array
from tahr.program.node import Value


def is_repeatable(plan: NativePlan, segment: BoundSegment) -> bool:
    """Whether a run of a plan is nothing but the steps of its segment, on whole arrays."""
    drawing = [drawn.node.op for drawn, _ in (*segment.reserved, *segment.running)]
    if len(set(drawing)) < len(drawing):
        return False  # one stream feeds several nodes, in order
    program = plan.program
    unread = {v for v in program.inputs if segment.is_unread(v)}
    if any(program.inputs[i] in unread for _, i, _ in plan.symbols):
        return False  # a size that counts is that of an array that does not
    results = [_result(plan, segment, v) for v in program.outputs]
    storages = {r.storage for r in results if r is not None}
    if None in results or len(storages) < len(results) or storages != set(segment.shapes):
        return False
    if segment.segment.overwritten and segment.can_stop:
        return False  # the old values would be lost
    given = (*program.inputs, *segment.segment.cells, *segment.shapes)
    return all(v in unread or segment.slot(v) is not None for v in given)


class _Result(NamedTuple):
    """Where an output of a program comes from.

    Attributes:
        storage: a result of the segment.
        shape: the output's own.
    """

    storage: Value
    shape: tuple[int, ...]


def _result(plan: NativePlan, segment: BoundSegment, output: Value) -> _Result | None:
    """The result of a segment that is an output's array: of a reshape, what is reshaped, if that is all of it."""
    if output in segment.shapes:
        return _Result(output, segment.shapes[output])
    place = plan.places.get(output)
    if place is None or place.root not in segment.shapes or not place.view.is_dense:
        return None
    shape = segment.exact(place.view.shape)
    return _Result(place.root, shape) if math.prod(shape) == math.prod(segment.shapes[place.root]) else None


def make_shortcut(
    plan: NativePlan,
    segment: BoundSegment,
    shapes: Sequence[tuple[int, ...]],
    fixed: Mapping[Value, Array],
    cells: Mapping[Value, Any],
    store: Any,
    threads: int,
    form: Form,
    check: Check | None,
) -> Shortcut:
    """A quicker way for the next run of a plan that is repeatable.

    Args:
        plan, segment: what runs.
        shapes: the shapes of the plan's inputs.
        fixed: the arrays of what never changes.
        cells: the session's variables.
        store: the session's random streams.
        threads: how many threads compute; 0 for as many as there are.
        form: how the results are handed over.
        check: what a loop calls from time to time; see `Executor.shortcut`.
    """
    frame, arena = segment.new_frame(threads)
    drawn = (*segment.reserved, *segment.running)
    inputs = [segment.buffer(v, shape) for v, shape in zip(plan.program.inputs, shapes)]
    inputs += [Buffer(slot, np.dtype(np.uint64), (3,)) for _, slot in drawn]

    def failed() -> None:
        raise segment.failure(frame, arena)

    def paused() -> None:
        segment.pause(frame, arena)
        if check is not None:
            check()

    recipe = Recipe(
        steps=segment.steps,
        frame=frame,
        inputs=inputs,
        variables=segment.variables(cells),
        results=[segment.buffer(*r) for v in plan.program.outputs if (r := _result(plan, segment, v))],
        shifts=segment.shifts([*plan.program.inputs, *segment.segment.cells, *segment.shapes]),
        form=form,
        release=segment.is_long or segment.has_loops,
        failed=failed,
        paused=paused if segment.has_loops or segment.growing else None,
        held=(arena, segment.fill_fixed(frame, fixed)),
    )
    entry = builtin.make_entry(recipe)
    run = _Drawing(entry, store, [d for d, _ in drawn]) if drawn else entry
    return Shortcut(run, arena.bytes)


class _Drawing:
    """An entry of steps that draw random numbers.

    Args:
        entry: takes the positions in the random streams behind the other arguments.
        store: the session's random streams.
        drawn: what is drawn, in the order of the positions. Kernels in loops and branches move theirs on.
    """

    def __init__(self, entry: Entry, store: Any, drawn: Sequence[Reserved | Running]) -> None:
        self._entry = entry
        self._store = store
        self._drawn = drawn

    def __call__(self, *values: Any) -> Any:
        """Runs where the streams are, and advances them if it did run; declines where another thread has one."""
        with ExitStack() as stack:
            streams = [stack.enter_context(stream_of(self._store, d, may_wait=False)) for d in self._drawn]
            if None in streams:
                return NotImplemented
            positions = [np.array(position(*stream.state), np.uint64) for stream in streams]
            found = None
            try:
                found = self._entry(*values, *positions)
            finally:
                if found is not NotImplemented:
                    for stream, drawn, (_, low, high) in zip(streams, self._drawn, positions):
                        is_known = isinstance(drawn, Reserved)
                        stream.reserve(drawn.blocks if is_known else passed(stream, int(low), int(high)))
        return found
