"""A plan's steps as one Python function, for plans that run often.

Going through the list of steps costs about half a microsecond for each, as much as a small kernel. Written out, a step
is one line: a call whose arguments are local variables.

    def run(places, context):
        v2, v4 = places[2], places[4]
        v5 = k0(v2, v4, transpose_b=False)
        v8 = k1(v5, v7, out=v5) if v5.flags.writeable else k1(v5, v7)
        v5 = v7 = None
        return [v8]
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from tahr.plan.plan import Plan, Step

# Longer plans take longer to be written out than they save.
MOST_STEPS = 2000

# What its frames in tracebacks are called: a place in this package, so that they are hidden like its others.
FILE = os.path.join(os.path.dirname(__file__), "<plan>")


class Straight:
    """A plan, written out.

    Args:
        plan: the plan.

    Attributes:
        run: the function: `run(places, context)` gives the outputs. `places` is as the plan's template, with inputs.
        source: its text.
    """

    def __init__(self, plan: Plan) -> None:
        self._names: dict[str, Any] = {}
        self._lines: list[str] = ["def run(places, context):"]
        self._step_of_line: dict[int, Step] = {}
        self._load(plan)
        for i, step in enumerate(plan.steps):
            first = len(self._lines) + 1
            self._lines += self._step(i, step)
            self._step_of_line.update(dict.fromkeys(range(first, len(self._lines) + 1), step))
        self._lines.append(f"    return [{_listed(plan.outputs)}]")
        self.source = "\n".join(self._lines) + "\n"
        exec(compile(self.source, FILE, "exec"), self._names)
        self.run: Callable[[list[Any], Any], list[Any]] = self._names["run"]

    def _load(self, plan: Plan) -> None:
        """Local variables for what is there before a run."""
        made: set[int] = set()
        taken: dict[int, None] = {}
        for step in plan.steps:
            taken.update(dict.fromkeys(i for i in step.inputs if i not in made))
            made.update(step.outputs)
        taken.update(dict.fromkeys(i for i in plan.outputs if i not in made))
        self._lines += [f"    v{i} = places[{i}]" for i in taken]

    def _step(self, number: int, step: Step) -> Iterable[str]:
        kernel, attrs = step.run, ""
        if isinstance(kernel, partial) and not kernel.args:
            # An argument that is given here is quicker than one that a partial adds.
            for name, value in kernel.keywords.items():
                self._names[f"a{number}_{name}"] = value
                attrs += f", {name}=a{number}_{name}"
            kernel = kernel.func
        self._names[f"k{number}"] = kernel
        arguments = _listed(step.inputs)
        if step.takes_context:
            self._names[f"o{number}"] = step.op
            yield f"    context.op = o{number}"
            arguments = ", ".join(filter(None, ("context", arguments)))
        call = f"k{number}({arguments}{attrs if arguments else attrs[2:]})"
        if step.reuses is not None:
            reused = f"v{step.inputs[step.reuses]}"
            call = f"k{number}({arguments}, out={reused}) if {reused}.flags.writeable else {call}"
        if len(step.outputs) == 1:
            result = f"v{step.outputs[0]}"
            yield f"    {result} = {call}"
            yield f"    if type({result}) is tuple or type({result}) is list: {result} = {result}[0]"
        elif step.outputs:
            yield f"    {_listed(step.outputs)} = {call}"
        else:
            yield f"    {call}"
        if step.frees:
            yield f"    {' = '.join(f'v{i}' for i in step.frees)} = None"

    def failed(self, error: BaseException) -> tuple[Step, list[Any]] | None:
        """The step that raised an error, and its operands; None where it was not raised in the function."""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_code is self.run.__code__:  # pyright: ignore[reportFunctionMemberAccess]
                step = self._step_of_line[line]
                return step, [frame.f_locals.get(f"v{i}") for i in step.inputs]
        return None


def _listed(places: Sequence[int]) -> str:
    return ", ".join(f"v{i}" for i in places)
