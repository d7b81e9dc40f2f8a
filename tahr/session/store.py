"""A session's state: variables, random streams, and resources such as queues."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tahr import errors
from tahr.core import memory, scopes
from tahr.core.forks import new_lock
from tahr.core.graph import Operation
from tahr.core.opdef import Array
from tahr.ops.streams import Stream
from tahr.plan.plan import Plan
from tahr.program.effects import SlotKey


def _count_of_two_references() -> int:
    """What `getrefcount` says of an object that a cell and a local name hold: Python 3.14 counts one less."""
    cell = [object()]
    array = cell[0]
    return sys.getrefcount(array)


# An array with more references than its cell's and a local name's is somebody's who reads it.
_UNREAD = _count_of_two_references()
# Without a global lock reference counts of other threads' objects are not exact, so nothing is changed in place there.
_COUNTS_ARE_EXACT = getattr(sys, "_is_gil_enabled", lambda: True)()


class Cell:
    """One variable's value.

    A reader gets the array itself. A writer changes it in place where no reader holds it, and otherwise a copy which
    then takes its place; so readers see whole arrays, and no update is lost.

    Args:
        key: its name, for messages.
        variable: the operation of the variable.

    Attributes:
        lock: is held by who writes.
        array: the value; None before it is initialized, and while it is out of sight. Native code reads and writes it.
        is_lazy: whether the value is an initial one that nobody has asked to be assigned.
    """

    __slots__ = ("_variable", "array", "is_lazy", "key", "lock")

    def __init__(self, key: SlotKey, variable: Operation) -> None:
        self.key = key
        self.lock = new_lock()
        self._variable = variable
        self.array: Array | None = None
        self.is_lazy = False

    @property
    def is_initialized(self) -> bool:
        """Whether a value was written to it; one that a read took lazily does not count."""
        with self.lock:  # a value that is being changed is out of sight
            return self.array is not None and not self.is_lazy

    def read(self) -> Array:
        """The value, which must not be written.

        Raises:
            FailedPreconditionError: it is not initialized.
        """
        array = self.array
        return self._needed() if array is None else array

    def _needed(self) -> Array:
        """The value; in tutorial behaviour an initial value that is an array is taken now."""
        with self.lock:
            if self.array is None:
                lazy = self._variable.lazy_value
                if lazy is None or scopes.is_strict():
                    raise errors.FailedPreconditionError(None, self._variable, _uninitialized(self._variable))
                self.array, self.is_lazy = memory.copy(lazy), True
            return self.array

    def assign(self, value: Array) -> Array:
        """Replaces the value by a copy of another."""
        with self.lock:
            self.is_lazy = False
            old = self.array
            dtype = self._variable.attrs["dtype"].numpy
            if (
                old is not None
                and old.shape == value.shape
                and _COUNTS_ARE_EXACT
                and sys.getrefcount(old) <= _UNREAD
            ):
                self.array = None  # out of sight: other threads run while NumPy copies
                try:
                    np.copyto(old, value)
                finally:
                    self.array = old
                return old
            self.array = new = memory.copy(value, dtype)
            return new

    def writable(self) -> Array:
        """The value, to be changed in place: nobody else holds it. The caller holds the lock."""
        array = self._needed()
        self.is_lazy = False
        if not _COUNTS_ARE_EXACT or sys.getrefcount(array) > _UNREAD:
            self.array = array = memory.copy(array)
        return array

    def take(self) -> Array:
        """The value, to be changed in place; until `give`, whoever wants it waits. The caller holds the lock."""
        array = self.writable()
        self.array = None
        return array

    def give(self, array: Array | None) -> None:
        """Puts back what was taken."""
        self.array = array

    def vacate(self) -> Array | None:
        """Takes away the value, if there is one; whoever reads it keeps it. The caller holds the lock."""
        array, self.array = self.array, None
        self.is_lazy = False
        return array

    def update(self, change: Callable[[Array], Array]) -> Array:
        """Changes the value in place: `change(array)` returns the array."""
        with self.lock:
            array = self.take()
            try:
                array = change(array)
            finally:
                self.array = array
            return array


def _uninitialized(variable: Operation) -> str:
    return errors.describe(
        "",
        f"Attempting to use uninitialized value {variable.name}",
        [variable.describe()],
        "sess.run(tf.global_variables_initializer()) first, or restore the variable from a checkpoint",
    )


class Store:
    """The state of one session, or of several that share a server."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._cells: dict[SlotKey, Cell] = {}
        self._streams: dict[Operation, tuple[threading.RLock, Stream]] = {}
        self._resources: dict[tuple[str, str], Any] = {}
        self._templates: WeakKeyDictionary[Plan, list[Any]] = WeakKeyDictionary()

    def places(self, plan: Plan) -> list[Any]:
        """A plan's places before a run: constants and variables are there."""
        template = self._templates.get(plan)
        if template is None:
            template = list(plan.template)
            for place, key, op in plan.variables:
                template[place] = self.cell(key, op)
            self._templates[plan] = template
        return template.copy()

    def cell(self, key: SlotKey, op: Operation) -> Cell:
        """The variable of a key, made when first asked for."""
        found = self._cells.get(key)
        if found is None:
            with self._lock:
                found = self._cells.setdefault(key, Cell(key, op))
        return found

    @contextmanager
    def _locked(self, entry: tuple[threading.RLock, Stream], may_wait: bool) -> Generator[Stream | None]:
        lock, stream = entry
        if not lock.acquire(blocking=may_wait):
            yield None
            return
        try:
            yield stream
        finally:
            lock.release()

    def stream(self, op: Operation, seed: int, seed2: int, may_wait: bool = True) -> Any:
        """An operation's random stream, locked while the context manager is open.

        Args:
            op: the operation.
            seed, seed2: where its stream begins.
            may_wait: whether to wait where another thread has it; else there is None instead of it then.
        """
        entry = self._streams.get(op)
        if entry is None:
            with self._lock:
                entry = self._streams.setdefault(op, (new_lock(), Stream(seed, seed2)))
        return self._locked(entry, may_wait)

    def resource(self, container: str, name: str, make: Callable[[], Any]) -> Any:
        """A queue, table or iterator, made when first asked for."""
        key = (container, name)
        with self._lock:
            if key not in self._resources:
                self._resources[key] = make()
            return self._resources[key]

    def update(self, cells: Sequence[Cell], change: Callable[..., None]) -> None:
        """Changes several variables in place at once: `change(*arrays)`, under all their locks."""
        if len(cells) == 1:
            (cell,) = cells
            with cell.lock:
                array = cell.take()
                try:
                    change(array)
                finally:
                    cell.give(array)
            return
        with ExitStack() as stack:
            # One order for all threads, so that none waits for another.
            for cell in sorted(set(cells), key=id):
                stack.enter_context(cell.lock)
            arrays: dict[Cell, Array] = {}
            try:
                for cell in set(cells):  # one that occurs twice is one array
                    arrays[cell] = cell.take()
                change(*[arrays[cell] for cell in cells])
            finally:
                for cell, array in arrays.items():
                    cell.give(array)

    def close(self) -> None:
        """Tells every resource that its session is gone."""
        with self._lock:
            resources = list(self._resources.values())
        for resource in resources:
            closing = getattr(resource, "session_closed", None)
            if closing is not None:
                closing()
