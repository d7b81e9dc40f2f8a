"""A run in flight: its state, what kernels with effects are given, and the walk through a function's stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from tahr import errors
from tahr.backends.report import Inspector
from tahr.core import shapes
from tahr.core.forms import Elementwise
from tahr.core.graph import Operation
from tahr.core.opdef import Array
from tahr.plan.plan import Plan
from tahr.plan.stages import Optimize, PlannedStage, first_stage, next_stage
from tahr.program.effects import Key
from tahr.program.extract import result_key
from tahr.program.function import Function

# How long a blocked operation sleeps before it looks whether its run was cancelled, in seconds.
WAKE_INTERVAL = 0.05


class Cell(Protocol):
    """A variable's state, as kernels see it."""

    def read(self) -> Array:
        """The current value, not to be written."""
        ...

    def assign(self, value: Array) -> Array:
        """Replaces the value by a copy of another."""
        ...

    def update(self, change: Callable[[Array], Array]) -> Array:
        """Changes the value in place, on storage that nobody else sees."""
        ...


class Store(Protocol):
    """A session's state: variables, random streams, queues."""

    def places(self, plan: Plan) -> list[Any]:
        """A plan's places before a run: constants and variables are there."""
        ...

    def stream(self, op: Operation, seed: int, seed2: int) -> AbstractContextManager[Any]:
        """An operation's random stream, locked."""
        ...

    def resource(self, container: str, name: str, make: Callable[[], Any]) -> Any:
        """A queue, table or iterator, made when first asked for."""
        ...

    def update(self, cells: Sequence[Any], change: Callable[..., None]) -> None:
        """Changes several variables in place at once."""
        ...


class WouldBlock(Exception):
    """An operation that may block was only asked to try."""


class Run:
    """One call of `Session.run`.

    Args:
        store: the session's state.
        deadline: when it must be over, in seconds of `time.monotonic`, or None.
    """

    def __init__(self, store: Store, deadline: float | None = None) -> None:
        self.store = store
        self.deadline = deadline
        self.cancelled = False

    def check(self) -> None:
        """Raises where the run was cancelled or is over its time."""
        if self.cancelled:
            raise errors.CancelledError(None, None, "Run call was cancelled")
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise errors.DeadlineExceededError(None, None, "Timed out waiting for notification")


class Context:
    """What a kernel with effects is given beside its inputs.

    Attributes:
        op: the operation that it runs for; random streams and resources belong to it.
        run: the call of `Session.run`.
        may_wait: whether it may block now; else `wait` raises WouldBlock.
    """

    __slots__ = ("_executor", "may_wait", "op", "run")

    def __init__(self, executor: Executor, run: Run, op: Operation | None, may_wait: bool = True) -> None:
        self._executor = executor
        self.run = run
        self.op = op
        self.may_wait = may_wait

    def stream(self, seed: int, seed2: int) -> AbstractContextManager[Any]:
        """The operation's own random stream, locked while the context manager is open."""
        assert self.op is not None
        return self.run.store.stream(self.op, seed, seed2)

    def resource(self, container: str, shared_name: str, make: Callable[[], Any]) -> Any:
        """The resource of a name (the operation's own, if it is empty), made when first asked for."""
        assert self.op is not None
        return self.run.store.resource(container, shared_name or self.op.name, make)

    def update(self, cells: Sequence[Any], change: Callable[..., None]) -> None:
        """Changes several variables in place at once: `change(*arrays)`."""
        self.run.store.update(cells, change)

    def call(self, function: Function, values: Sequence[Any]) -> list[Any]:
        """Runs a region. Raises where the run was cancelled, so that a loop without an end can be ended."""
        self.run.check()
        return self._executor.call(function, values, self.run)[0]

    def wait(self, condition: threading.Condition, ready: Callable[[], bool]) -> None:
        """Waits, holding `condition`, until `ready()`.

        Raises:
            WouldBlock: the operation was only asked to try.
            CancelledError, DeadlineExceededError: the run ended.
        """
        while True:
            if self.may_wait:
                self.run.check()  # first: a run that is over takes nothing, even where it could
            if ready():
                return
            if not self.may_wait:
                raise WouldBlock
            condition.wait(WAKE_INTERVAL)


@dataclass(frozen=True)
class Form:
    """How a shortcut hands over a function's results.

    Attributes:
        places: for each item which result it is, or None for None.
        is_list: whether the items are handed over in a list; else there is one.
    """

    places: tuple[int | None, ...]
    is_list: bool

    def build(self, results: Sequence[Any]) -> Any:
        """The results in this form."""
        items = [None if place is None else results[place] for place in self.places]
        return items if self.is_list else items[0]


Check = Callable[[], None]


class Shortcut(NamedTuple):
    """A quicker way to run something again, on arrays of the same shapes.

    Attributes:
        run: takes the values of a function's inputs; gives its results, or NotImplemented where they are not as before
            or it would have to wait.
        bytes: how much memory it keeps.
    """

    run: Callable[..., Any]
    bytes: int


class Executor:
    """Runs functions on a backend: plans their stages and walks through them.

    Args:
        execute: runs one plan: `execute(plan, values, executor, run)` gives the outputs.
        optimize: the passes that Programs go through for this backend.
        shortcut: a quicker way to run a plan again: `shortcut(plan, values, store, form, check)`.
        inspector: says how plans run.
    """

    def __init__(
        self,
        execute: Callable[[Plan, Sequence[Any], Executor, Run], list[Any]],
        optimize: Optimize,
        shortcut: Callable[[Plan, Sequence[Any], Any, Form, Check | None], Shortcut | None] | None = None,
        inspector: Inspector | None = None,
    ) -> None:
        self._execute = execute
        self.optimize = optimize
        self._shortcut = shortcut
        self.inspector = inspector

    def planned(self, function: Function, values: Sequence[Any]) -> PlannedStage:
        """The first stage of a function for given input values."""
        return first_stage(function, values, self.optimize)

    def call(self, function: Function, values: Sequence[Any], run: Run) -> tuple[list[Any], Sequence[bool]]:
        """Runs a function.

        Args:
            function: what is computed.
            values: its inputs, and behind them the variables that it only reads.
            run: the call of `Session.run` that it belongs to.

        Returns:
            The results, and for each whether it is the caller's own (else it may be a view of state).
        """
        planned = first_stage(function, values, self.optimize)
        found = self._execute(planned.plan, values, self, run)
        if planned.is_whole:
            owned = planned.plan.owned
            places = planned.results
            return [found[i] for i in places], [owned[i] for i in places]  # pyright: ignore[reportArgumentType, reportCallIssue]
        return _Walk(self, function, run, values, planned, found).finish()

    @property
    def has_shortcuts(self) -> bool:
        """Whether there may be a quicker way to run something again."""
        return self._shortcut is not None

    def shortcut(
        self, function: Function, values: Sequence[Any], store: Any, form: Form, check: Check | None
    ) -> Shortcut | None:
        """A quicker way to run a function again, on arrays of the same shapes and dtypes; None where there is none.

        Args:
            function: what is computed.
            values: its inputs.
            store: the session's state.
            form: how the results are handed over: the caller's own arrays, and NumPy scalars for those of rank 0.
            check: what a long run calls from time to time, `Run.check`; without it there is no shortcut for a loop.
        """
        if self._shortcut is None or function.constants:
            return None
        planned = first_stage(function, values, self.optimize)
        if not planned.is_whole or list(planned.results) != list(range(len(planned.plan.outputs))):
            return None
        return self._shortcut(planned.plan, values, store, form, check)

    def execute(self, plan: Plan, values: Sequence[Any], run: Run) -> list[Any]:
        """Runs one plan."""
        return self._execute(plan, values, self, run)

    def following(
        self, function: Function, previous: PlannedStage, available: dict[Key, Any], done: Any, begun: Any
    ) -> PlannedStage:
        """The stage that follows another."""
        return next_stage(function, previous, available, done, begun, self.optimize)

    def context(self, run: Run, op: Operation | None, may_wait: bool = True) -> Context:
        """What a kernel with effects is given."""
        return Context(self, run, op, may_wait)


class _Walk:
    """The walk through a function's stages, with operations that block beside it.

    A blocking operation runs only when nothing else can: first each is tried without waiting; if none succeeds, the
    run waits for one, or, if several are left, for the first of them, each on a thread of its own.
    """

    def __init__(
        self,
        executor: Executor,
        function: Function,
        run: Run,
        values: Sequence[Any],
        planned: PlannedStage,
        found: Sequence[Any],
    ) -> None:
        self.executor = executor
        self.function = function
        self.run = run
        self.available: dict[Key, Any] = dict(zip(function.keys, values))
        self.owned: dict[Key, bool] = {}
        self.done: frozenset[Operation] = frozenset()
        self.waiting: dict[Operation, _Blocked | None] = {}
        self._take(planned, found)

    def _take(self, planned: PlannedStage, found: Sequence[Any]) -> None:
        self.planned = planned
        self.available.update(zip(planned.stage.outputs, found))
        self.owned.update(zip(planned.stage.outputs, planned.plan.owned))
        self.done |= planned.stage.done
        self.waiting.update(dict.fromkeys(planned.stage.blocking))

    def finish(self) -> tuple[list[Any], Sequence[bool]]:
        try:
            self._walk()
        except BaseException:
            self._abandon()
            raise
        keys = [result_key(self.function, i) for i in range(len(self.function.outputs))]
        return [self.available[k] for k in keys], [self.owned.get(k, False) for k in keys]

    def _abandon(self) -> None:
        """Ends what still waits, so that a run that failed takes nothing out of a queue afterwards."""
        blocked = [b for b in self.waiting.values() if b is not None]
        if blocked:
            self.run.cancelled = True
        for entry in blocked:
            entry.join()

    def _walk(self) -> None:
        while self.waiting or not self.planned.stage.is_last:
            before = len(self.done)
            self._advance_blocked()
            planned = self.executor.following(
                self.function, self.planned, self.available, self.done, frozenset(self.waiting)
            )
            values = [self.available[k] for k in planned.stage.inputs]
            self._take(planned, self.executor.execute(planned.plan, values, self.run))
            if len(self.done) == before and not self.waiting and not self.planned.stage.is_last:
                raise errors.InternalError(None, None, "a stage of the plan made no progress")

    def _advance_blocked(self) -> None:
        if not self.waiting:
            return
        progress = [self._try(op) for op in list(self.waiting)]
        if not any(progress):
            self._wait_for_one()

    def _try(self, op: Operation) -> bool:
        blocked = self.waiting[op]
        if blocked is not None:
            if not blocked.is_over:
                return False
            self._complete(op, blocked.result())
            return True
        try:
            outputs = self._run_blocking(op, may_wait=False)
        except WouldBlock:
            return False
        self._complete(op, outputs)
        return True

    def _wait_for_one(self) -> None:
        if len(self.waiting) == 1 and None in self.waiting.values():
            (op,) = self.waiting
            self._complete(op, self._run_blocking(op, may_wait=True))
            return
        signal = threading.Event()
        for op, blocked in self.waiting.items():
            if blocked is None:
                self.waiting[op] = _Blocked(lambda op=op: self._run_blocking(op, may_wait=True), signal)
        blocked = [b for b in self.waiting.values() if b is not None]
        while not any(b.is_over for b in blocked):
            self.run.check()
            blocked[0].signal.wait(WAKE_INTERVAL)
        for op, entry in list(self.waiting.items()):
            if entry is not None and entry.is_over:
                self._complete(op, entry.result())

    def _run_blocking(self, op: Operation, may_wait: bool) -> Sequence[Any]:
        assert op.opdef.compute is not None
        inputs = [self.available[k] for k in self.function.outline.values_of(op)]
        context = self.executor.context(self.run, op, may_wait)
        try:
            result = op.opdef.compute(context, *inputs, **op.attrs)
        except WouldBlock:
            raise
        except Exception as error:
            failure = runtime_error(op, error)
            if failure is error:
                raise
            raise failure from error
        return result if isinstance(result, (tuple, list)) else [result]

    def _complete(self, op: Operation, outputs: Sequence[Any]) -> None:
        del self.waiting[op]
        self.done |= {op}
        for tensor, value in zip(op.outputs, outputs):
            self.available[tensor] = value
            self.owned[tensor] = False


class _Blocked:
    """A blocking operation on a thread of its own."""

    def __init__(self, work: Callable[[], Sequence[Any]], signal: threading.Event) -> None:
        self.signal = signal
        self._outcome: tuple[Sequence[Any] | None, BaseException | None] | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Waits until the operation has ended."""
        self._thread.join()

    def _run(self, work: Callable[[], Sequence[Any]]) -> None:
        try:
            self._outcome = (work(), None)
        except BaseException as error:  # handed to the thread that waits
            self._outcome = (None, error)
        self.signal.set()

    @property
    def is_over(self) -> bool:
        """Whether the operation has ended."""
        return self._outcome is not None

    def result(self) -> Sequence[Any]:
        """What it gave. Raises what it raised."""
        assert self._outcome is not None
        outputs, error = self._outcome
        if error is not None:
            raise error
        assert outputs is not None
        return outputs


def runtime_error(op: Operation | None, error: Exception, operands: Sequence[Any] = ()) -> Exception:
    """The error that `Session.run` raises where a kernel failed: of TensorFlow's class, with the user's line."""
    if isinstance(error, errors.OpError):
        if error.op is None and op is not None and type(error) is not errors.OpError:
            where = [op.describe()]
            return type(error)(None, op, errors.describe("", error.message, where))
        return error
    kind: type[Any] = errors.InvalidArgumentError
    if isinstance(error, errors.Complaint):
        kind = error.kind
    elif isinstance(error, MemoryError):
        kind = errors.ResourceExhaustedError
    elif not isinstance(error, (ValueError, IndexError, TypeError, ArithmeticError)):
        return error
    problem = _incompatible_shapes(op, operands) or str(error) or type(error).__name__
    if kind is errors.ResourceExhaustedError:
        problem = f"OOM when allocating tensor: {problem}"
    where = [] if op is None else [op.describe()]
    where += _describe_operands(op, operands)
    text = errors.describe(op.type if op is not None else "", problem, where, getattr(error, "fix", None))
    return kind(None, op, text)


def _incompatible_shapes(op: Operation | None, operands: Sequence[Any]) -> str | None:
    """TensorFlow's phrase where an element-wise operation failed because its inputs do not broadcast."""
    if op is None or not isinstance(op.opdef.form, Elementwise):
        return None
    found = [np.shape(a) for a in operands]
    try:
        np.broadcast_shapes(*found)
    except ValueError:
        return "Incompatible shapes: " + " vs. ".join(map(shapes.show, found))
    return None


def _describe_operands(op: Operation | None, operands: Sequence[Any]) -> list[str]:
    """The shapes and dtypes that a kernel was given, with the tensors' names where they are surely those of its op."""
    described = [f"{shapes.show(np.shape(a))} {getattr(a, 'dtype', '')}".rstrip() for a in operands]
    tensors = [] if op is None else op.inputs
    same = len(tensors) == len(operands) and all(
        t.spec.dtype is not None
        and t.spec.dtype.numpy == getattr(a, "dtype", None)
        and shapes.compatible(t.spec.shape, np.shape(a))
        for t, a in zip(tensors, operands)
    )
    if same:  # a pass may have changed what the step computes
        return [f'"{t.name}" is {text} ({t.op.source.place})' for t, text in zip(tensors[:6], described)]
    return [f"its inputs: {', '.join(described[:6])}"] if described else []
