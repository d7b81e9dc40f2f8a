"""The reference backend: a loop over a plan's steps, each of them one NumPy kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.backends.base import Executor, Run, runtime_error
from tahr.plan.plan import Plan
from tahr.program.passes import pipeline


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
    places: list[Any] = list(plan.template)
    for place, value in zip(plan.inputs, values):
        places[place] = value
    step = None
    try:
        for step in plan.steps:
            inputs = [places[i] for i in step.inputs]
            if step.takes_context:
                result = step.run(executor.context(run, step.op), *inputs)
            elif step.reuses is not None and inputs[step.reuses].flags.writeable:
                result = step.run(*inputs, out=inputs[step.reuses])
            else:
                result = step.run(*inputs)
            outputs = step.outputs
            if len(outputs) == 1:
                places[outputs[0]] = result[0] if type(result) is tuple or type(result) is list else result
            elif outputs:
                for place, value in zip(outputs, result):
                    places[place] = value
            for place in step.frees:
                places[place] = None
    except Exception as error:
        assert step is not None
        failure = runtime_error(step.op, error, [places[i] for i in step.inputs])
        if failure is error:
            raise
        raise failure from error
    return [places[i] for i in plan.outputs]


def executor() -> Executor:
    """The reference executor."""
    return Executor(execute, pipeline.for_numpy)
