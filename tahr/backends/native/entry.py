"""From Python into native code: a run of a plan's steps, again, as one call.

An entry takes a run's arrays, compares each with what is expected, puts the addresses into the run's table, takes the
variables that are written, walks through the steps, and hands over new arrays. It never waits for what another thread
has, but declines, so it may be called with locks held, in any order. Usually it is a builtin function made of machine
code (`builtin.py`). On builds of Python whose objects look different, such as those without a global lock, it is what
is here: plain Python that does the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tahr.backends.base import Form
from tahr.backends.native.runtime import Frame, Steps, runtime
from tahr.backends.native.walk import FULL, PAUSED

# Takes one argument for each input. Gives the results, or NotImplemented when something is not as expected or the frame
# is in use: then nothing has run.
Entry = Callable[..., Any]


@dataclass(frozen=True)
class Buffer:
    """An array of a run.

    Attributes:
        slot: its number in the run's table of buffers.
        dtype: its dtype; a Python float is also taken where that is float32 or float64 and the shape is ().
        shape: its shape.
    """

    slot: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def scalar_bytes(self) -> int:
        """How many bytes a Python float takes there, or 0 where it cannot be one."""
        is_scalar = self.shape == () and self.dtype in (np.dtype(np.float32), np.dtype(np.float64))
        return self.dtype.itemsize if is_scalar else 0


@dataclass(frozen=True)
class Variable:
    """An array that lies in a session's cell (`session.store.Cell`).

    Attributes:
        cell: the cell.
        buffer: what its array is expected to be.
        is_written: whether the run changes it.
    """

    cell: Any
    buffer: Buffer
    is_written: bool


@dataclass(frozen=True)
class Shift:
    """A second place in the run's table for an array: one that leads to the middle of it, as for a slice.

    Attributes:
        slot: the place.
        source: the array's own place; the shifts of one array are made in order, and the last may replace that.
        bytes: how far behind the array's start it leads.
    """

    slot: int
    source: int
    bytes: int


@dataclass(frozen=True)
class Recipe:
    """What an entry does.

    Attributes:
        steps, frame: what runs, and on which frame.
        inputs: what it is given.
        variables: what it finds in cells.
        results: what it makes.
        shifts: further places of the table that follow from those of all these arrays.
        form: how those are handed over.
        release: whether other Python threads may run meanwhile, with the written variables out of sight: worth its
            0.1 us, and 0.1 us for each of those, in runs of tens of microseconds.
        failed: is called where a step reported an error, before anything is let go; raises it.
        paused: is called where the steps pause, if they do, or find a list full; raises where they shall not go on.
        held: what else must live as long as the entry.
    """

    steps: Steps
    frame: Frame
    inputs: Sequence[Buffer]
    variables: Sequence[Variable]
    results: Sequence[Buffer]
    shifts: Sequence[Shift]
    form: Form
    release: bool
    failed: Callable[[], Any]
    paused: Callable[[], Any] | None
    held: Any = None


class PythonEntry:
    """An entry in plain Python."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._busy = threading.Lock()
        self._written = [v for v in recipe.variables if v.is_written]
        self._read = [v for v in recipe.variables if not v.is_written]

    def __call__(self, *arguments: Any) -> Any:
        """Runs; see `Entry`."""
        if len(arguments) != len(self._recipe.inputs) or not self._busy.acquire(blocking=False):
            return NotImplemented
        try:
            return self._run([_argument(a, b) for a, b in zip(arguments, self._recipe.inputs)])
        finally:
            self._busy.release()

    def _run(self, inputs: Sequence[Any]) -> Any:
        recipe = self._recipe
        try:
            results = [np.empty(b.shape, b.dtype) for b in recipe.results]
        except MemoryError:
            return NotImplemented
        with ExitStack() as stack:
            taken = [stack.enter_context(_taken(v.cell)) for v in self._written]
            buffers = [*recipe.inputs, *(v.buffer for v in (*self._written, *self._read)), *recipe.results]
            arrays = [*inputs, *taken, *(v.cell.array for v in self._read), *results]
            if not all(map(_fits, arrays, buffers)):
                return NotImplemented
            for array, buffer in zip(arrays, buffers):
                recipe.frame.buffers[buffer.slot] = array.ctypes.data
            for shift in recipe.shifts:
                recipe.frame.buffers[shift.slot] = recipe.frame.buffers[shift.source] + np.uint64(shift.bytes)
            self._walk()
        return recipe.form.build([array if array.ndim else array[()] for array in results])

    def _walk(self) -> None:
        recipe = self._recipe
        recipe.frame.status["resume"] = 0  # an error may have ended the run before
        while code := runtime().run(recipe.steps, recipe.frame, recipe.release):
            if code not in (PAUSED, FULL) or recipe.paused is None:
                recipe.failed()
            else:
                recipe.paused()


@contextmanager
def _taken(cell: Any) -> Generator[Any]:
    """A variable's array, out of sight while the context manager is open; None where another thread has it."""
    if not cell.lock.acquire(blocking=False):
        yield None
        return
    try:
        array = cell.take()
        try:
            yield array
        finally:
            cell.give(array)
    finally:
        cell.lock.release()


def _argument(argument: Any, buffer: Buffer) -> Any:
    """What is given, or the array for a Python float."""
    if type(argument) is not float or not buffer.scalar_bytes:
        return argument
    with np.errstate(over="ignore"):
        return np.array(argument, buffer.dtype)


def _fits(array: Any, buffer: Buffer) -> bool:
    """Whether an array is what is expected."""
    return (
        type(array) is np.ndarray
        and array.dtype == buffer.dtype
        and array.shape == buffer.shape
        and array.flags.c_contiguous
        and array.flags.aligned
    )
