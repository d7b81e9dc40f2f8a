"""What a session makes of a run: its Programs before it runs, and how their plans run."""

# pyright: reportPrivateUsage=false
# It looks into a session as no other module may: what a run would do, without doing it.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tahr.backends import report as reports
from tahr.backends.base import Executor, Run
from tahr.backends.report import Boundary, Inspector, Report, Step
from tahr.core.sizes import Unknown
from tahr.plan.plan import Plan
from tahr.plan.stages import PlannedStage
from tahr.program.function import Function
from tahr.program.node import Program
from tahr.session import denormals
from tahr.session.fetches import feed_value

if TYPE_CHECKING:
    from tahr.session.session import BaseSession

# How often a run is measured.
TIMED_RUNS = 5


@dataclass(frozen=True)
class Explanation:
    """How a run is done; as text it is a table.

    Attributes:
        reports: one for each plan that takes part: the run's first one; where it was measured, also those of later
            stages and of the bodies of loops and conditionals.
    """

    reports: tuple[Report, ...]

    @property
    def steps(self) -> list[Step]:
        """The steps of all plans."""
        return [step for report in self.reports for step in report.steps]

    @property
    def boundaries(self) -> list[Boundary]:
        """Where native segments end before their plan does, and why."""
        return [boundary for report in self.reports for boundary in report.boundaries]

    @property
    def arena_bytes(self) -> int:
        """The temporary storage of the native segments."""
        return sum(report.arena for report in self.reports)

    @property
    def cache_hits(self) -> int:
        """How many of the kernels were found compiled, on disk or in this process."""
        return sum(report.kernels - report.compiled for report in self.reports)

    @property
    def cache_misses(self) -> int:
        """How many of the kernels had to be compiled."""
        return sum(report.compiled for report in self.reports)

    @property
    def compile_ms(self) -> float:
        """The milliseconds that this took."""
        return sum(report.compile_ms for report in self.reports)

    def __str__(self) -> str:
        return "\n\n".join(map(reports.table, self.reports))


def explain(session: BaseSession, fetches: Any, feed_dict: Any = None, time: bool = False) -> Explanation:
    """How `session.run(fetches, feed_dict)` is done; see `BaseSession.explain`."""
    function, values = function_of(session, fetches, feed_dict)
    executor = session._executor
    assert executor.inspector is not None
    if time:
        return Explanation(_measured(session, executor, function, values))
    planned = executor.planned(function, values)
    report = executor.inspector.report(planned.plan, values)
    return Explanation((replace(report, ends=_end(planned)),))


def program_of(session: BaseSession, fetches: Any, feed_dict: Any = None) -> Program:
    """The Program, after all passes, that `session.run(fetches, feed_dict)` begins with; nothing is run.

    Where shapes depend on data, the Programs of later stages exist only once the run is there.

    Args:
        session: the session.
        fetches: as in `run`.
        feed_dict: as in `run`; only dtypes and shapes count.

    Raises:
        TypeError, ValueError: a fetch or feed does not fit.
    """
    function, values = function_of(session, fetches, feed_dict)
    return session._executor.planned(function, values).plan.program


def function_of(session: BaseSession, fetches: Any, feed_dict: Any) -> tuple[Function, list[Any]]:
    """The function that a run computes, and the values that it is given."""
    keys, given = session._parse_feeds(feed_dict or {})
    routine = session._routine(fetches, keys)
    return routine.function, [feed_value(tensor, value) for tensor, value in zip(routine.feeds, given)]


def _end(planned: PlannedStage) -> str:
    """Why a stage is not the last one; empty where it is."""
    if planned.is_whole:
        return ""
    stage = planned.stage
    if stage.blocking:
        return f"{', '.join(op.type for op in stage.blocking)} may block"
    unknown = [
        v.node.opdef.name
        for v in stage.program.outputs
        if v.shape is None or any(isinstance(d, Unknown) for d in v.shape)
    ]
    return (
        f"the shape of {', '.join(dict.fromkeys(unknown))} follows from data" if unknown else "data decides"
    )


# ---------------------------------------------------------------- measuring


class _Observer(Executor):
    """An executor that measures each plan, those of loops' bodies included.

    Attributes:
        found: for each plan what is known of it, and the times of its steps at each run.
    """

    def __init__(self, inspector: Inspector, observed: Executor) -> None:
        super().__init__(self._measure, observed.optimize, inspector=inspector)
        self.found: dict[Plan, tuple[Report, list[list[int]]]] = {}
        self._inspector = inspector
        self._functions: list[str] = []

    def call(self, function: Function, values: Sequence[Any], run: Run) -> tuple[list[Any], Sequence[bool]]:
        """Runs a function, and remembers meanwhile which it is."""
        self._functions.append(function.what)
        try:
            return super().call(function, values, run)
        finally:
            self._functions.pop()

    def _measure(self, plan: Plan, values: Sequence[Any], executor: Executor, run: Run) -> list[Any]:
        found = self.found.get(plan)
        if found is None:
            report = self._inspector.report(plan, values)
            found = self.found[plan] = replace(report, what=self._functions[-1]), []
        times: list[int] = []
        results = self._inspector.timed(plan, values, executor, run, times)
        if len(times) == len(found[0].steps):  # else NumPy had to step in
            found[1].append(times)
        return results


def _measured(
    session: BaseSession, executor: Executor, function: Function, values: Sequence[Any]
) -> tuple[Report, ...]:
    assert executor.inspector is not None
    observer = _Observer(executor.inspector, executor)
    for _ in range(TIMED_RUNS):
        run = session._begin()
        try:
            with np.errstate(all="ignore"), denormals.FLUSHED:
                observer.call(function, values, run)
        finally:
            session._runs.discard(run)
    return tuple(report.measured(times) for report, times in observer.found.values())
