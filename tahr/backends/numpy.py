"""The reference backend: a loop over a plan's steps, each of them one NumPy kernel.

A plan that runs often is written out as a Python function, which does the same with less in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from tahr.backends import report as reports
from tahr.backends.base import Context, Executor, Run, runtime_error
from tahr.backends.report import Report
from tahr.plan.plan import Notes, Plan
from tahr.plan.straight import MOST_STEPS, Straight
from tahr.program.passes import pipeline

# The run of a plan from which on it is written out; that takes as long as about 20 runs of the loop.
STRAIGHT_FROM = 5


def execute(plan: Plan, values: Sequence[Any], executor: Executor, run: Run) -> list[Any]:
    """Runs one plan.

    Args:
        plan: the steps.
        values: the inputs' values, in the plan's order.
        executor: runs the regions inside it.
        run: the call of `Session.run` that it belongs to.

    Returns:
        The outputs' values.
    """
    places = run.store.places(plan)
    for place, value in zip(plan.inputs, values):
        places[place] = value
    context = executor.context(run, None)  # one for all steps: it is told whose turn it is
    straight = _straight(plan)
    if straight is not None:
        return _run_straight(straight, places, context)
    at = places.__getitem__
    step = None
    try:
        for step in plan.steps:
            compute, inputs, outputs, frees, takes_context, reuses, node = step
            if takes_context:
                context.op = node.op
                result = compute(context, *map(at, inputs))
            elif reuses is not None and places[inputs[reuses]].flags.writeable:
                result = compute(*map(at, inputs), out=places[inputs[reuses]])
            else:
                result = compute(*map(at, inputs))
            if len(outputs) == 1:
                places[outputs[0]] = result[0] if type(result) is tuple or type(result) is list else result
            elif outputs:
                for place, value in zip(outputs, result):
                    places[place] = value
            for place in frees:
                places[place] = None
    except Exception as error:
        assert step is not None
        failure = runtime_error(step.op, error, [places[i] for i in step.inputs])
        if failure is error:
            raise
        raise failure from error
    return [places[i] for i in plan.outputs]


_runs: WeakKeyDictionary[Plan, int] = WeakKeyDictionary()
_written_out: Notes[Straight] = Notes()


def _straight(plan: Plan) -> Straight | None:
    """A plan written out, from a run on that makes it likely that many follow."""
    found = _written_out.get(plan)
    if found is None and len(plan.steps) <= MOST_STEPS:
        _runs[plan] = runs = _runs.get(plan, 0) + 1
        if runs >= STRAIGHT_FROM:
            found = _written_out.setdefault(plan, Straight(plan))
    return found


def _run_straight(straight: Straight, places: list[Any], context: Context) -> list[Any]:
    try:
        return straight.run(places, context)
    except Exception as error:
        failed = straight.failed(error)
        if failed is None:
            raise
        step, operands = failed
        failure = runtime_error(step.op, error, operands)
        if failure is error:
            raise
        raise failure from error


class Reference:
    """Says how this backend runs plans."""

    def report(self, plan: Plan, values: Sequence[Any]) -> Report:
        """How a plan runs, given inputs of these shapes."""
        return reports.reference_report(plan, values, lambda node: "")

    def timed(
        self, plan: Plan, values: Sequence[Any], executor: Executor, run: Run, times: list[int]
    ) -> list[Any]:
        """Runs a plan, and adds the nanoseconds of each step to `times`."""
        return execute(reports.timed_plan(plan, times), values, executor, run)


def executor() -> Executor:
    """The reference executor."""
    return Executor(execute, pipeline.for_numpy, inspector=Reference())
