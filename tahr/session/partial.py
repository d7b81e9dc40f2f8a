"""Partial runs: one run whose feeds arrive, and whose fetches are asked for, bit by bit.

A run is a chain of stages, each of which does what its inputs allow. A feed that has not arrived is an input that is
not there yet: the walk goes on where it stopped when it comes, and nothing is computed twice.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tahr import errors
from tahr.backends.base import Executor, Run, WouldBlock, runtime_error
from tahr.core.graph import Operation, Tensor
from tahr.plan.plan import make_plan
from tahr.plan.stages import PlannedStage
from tahr.program.effects import Key
from tahr.program.extract import Stage, result_key
from tahr.program.function import Function
from tahr.program.node import Builder, Program
from tahr.session.fetches import Fetches


class Declared(Protocol):
    """What a partial run was set up with: a session's routine for all of its fetches and feeds."""

    feeds: tuple[Tensor, ...]
    fetches: Fetches
    computed: list[Tensor]
    function: Function


class PartialRun:
    """One run in several steps.

    Args:
        executor: runs the stages.
        declared: all that may be fetched and fed.
    """

    def __init__(self, executor: Executor, declared: Declared) -> None:
        self._executor = executor
        self._function = declared.function
        self._feeds = frozenset(declared.feeds)
        self._fetches: frozenset[Tensor | Operation] = frozenset(
            (*declared.fetches.tensors, *declared.fetches.operations)
        )
        self._unfed = set(self._feeds)
        self._unfetched = set(self._fetches)
        places = {t: i for i, t in enumerate(declared.computed)}
        self._keys: dict[Tensor, Key] = {t: result_key(self._function, i) for t, i in places.items()}
        self._available: dict[Key, Any] = {}
        self._done: frozenset[Operation] = frozenset()
        self._blocked: list[Operation] = []
        self._stage = _nothing_done()
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        """Whether everything was fed and fetched."""
        return not self._unfed and not self._unfetched

    def step(self, run: Run, fetches: Fetches, feeds: Mapping[Tensor, Any]) -> list[Any]:
        """Feeds some values and computes what they allow.

        Args:
            run: the call.
            fetches: what is wanted now.
            feeds: what arrives now.

        Returns:
            The values of the fetched tensors; they still belong to the run.

        Raises:
            InvalidArgumentError: something was not declared, occurs for the second time, or cannot be computed yet.
        """
        with self._lock:
            wanted = [*fetches.tensors, *fetches.operations]
            self._check(wanted, feeds)
            for tensor, value in feeds.items():
                self._available[tensor] = value
            self._unfed.difference_update(feeds)
            self._advance(run, wanted)
            for item in wanted:
                if not self._is_there(item):
                    raise _refused(
                        f"Fetch {item.name} can't be computed from the feeds that have been fed so far."
                    )
            self._unfetched.difference_update(wanted)
            return [self._available[self._key(t)] for t in fetches.tensors]

    def _check(self, wanted: Sequence[Tensor | Operation], feeds: Mapping[Tensor, Any]) -> None:
        for tensor in feeds:
            if tensor not in self._feeds:
                raise _refused(f"The feed {tensor.name} was not specified in partial_run_setup.")
            if tensor not in self._unfed:
                raise _refused(f"The feed {tensor.name} has already been fed.")
        for item in wanted:
            if item not in self._fetches:
                raise _refused(f"The fetch {item.name} was not specified in partial_run_setup.")
            if item not in self._unfetched:
                raise _refused(f"The fetch {item.name} has already been fetched.")

    def _key(self, tensor: Tensor) -> Key:
        return self._keys.get(tensor, tensor)

    def _is_there(self, item: Tensor | Operation) -> bool:
        return item in self._done if isinstance(item, Operation) else self._key(item) in self._available

    # ------------------------------------------------------------ the walk

    def _advance(self, run: Run, wanted: Sequence[Tensor | Operation]) -> None:
        """Runs all that can run; waits for operations that block only as long as something wanted is missing."""
        while True:
            before = len(self._done)
            self._run_stage(run)
            for op in list(self._blocked):
                self._run_blocked(run, op, may_wait=False)
            if len(self._done) > before:
                continue
            if not self._blocked or all(map(self._is_there, wanted)):
                return
            self._run_blocked(run, self._blocked[0], may_wait=True)

    def _run_stage(self, run: Run) -> None:
        blocked = frozenset(self._blocked)
        planned = self._executor.following(self._function, self._stage, self._available, self._done, blocked)
        found = self._executor.execute(planned.plan, [self._available[k] for k in planned.stage.inputs], run)
        self._available.update(zip(planned.stage.outputs, found))
        self._done |= planned.stage.done
        self._blocked += planned.stage.blocking
        self._stage = planned

    def _run_blocked(self, run: Run, op: Operation, may_wait: bool) -> None:
        assert op.opdef.compute is not None
        inputs = [self._available[k] for k in self._function.outline.values_of(op)]
        try:
            found = op.opdef.compute(self._executor.context(run, op, may_wait), *inputs, **op.attrs)
        except WouldBlock:
            return
        except Exception as error:
            raise runtime_error(op, error) from error
        outputs = found if isinstance(found, (tuple, list)) else [found]
        self._available.update(zip(op.outputs, outputs))
        self._done |= {op}
        self._blocked.remove(op)


def _nothing_done() -> PlannedStage:
    """What comes before the first stage."""
    program = Program(Builder(), [], [], [])
    return PlannedStage(Stage(program, [], [], frozenset(), [], False), make_plan(program), ())


def _refused(text: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(None, None, text)
