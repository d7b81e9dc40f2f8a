"""A Plan: a Program's nodes as steps over numbered places, in order, with what is freed after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakSet

from tahr.core.convert import Const
from tahr.core.forms import Elementwise
from tahr.core.graph import Operation
from tahr.core.opdef import OpDef
from tahr.ops import state
from tahr.plan import memory, schedule
from tahr.program.effects import SlotKey, slot_of
from tahr.program.node import Input, Node, Program, Value

_VARIABLES = (state.VariableV2, state.VarHandleOp)


class Step(NamedTuple):
    """One node, ready to run.

    Attributes:
        run: the kernel with its attributes bound.
        inputs: the places of its inputs.
        outputs: the places of its outputs.
        frees: the places that nothing needs any more after it.
        takes_context: whether the kernel's first argument is the run's state.
        reuses: the index of the input whose storage the output is written to, or None.
        node: the node, for messages and tools.
    """

    run: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    frees: tuple[int, ...]
    takes_context: bool
    reuses: int | None
    node: Node

    @property
    def op(self) -> Operation | None:
        """The user's operation that it stands for."""
        return self.node.op

    @property
    def opdef(self) -> OpDef:
        """The kind of operation."""
        return self.node.opdef


@dataclass(frozen=True, eq=False)
class Plan:
    """How a Program runs.

    Attributes:
        steps: in order.
        template: the places before a run: constants are there, everything else is None.
        inputs: the places of the inputs.
        outputs: the places of the outputs.
        owned: for each output, whether it is the caller's own: no view of an input, constant or variable, and not the
            same storage as another output.
        variables: the places of variables, with their operations: a session fills them in once for all runs.
        program: what it was made from.
        notes: see `Notes`.
    """

    steps: tuple[Step, ...]
    template: tuple[Any, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    owned: tuple[bool, ...]
    variables: tuple[tuple[int, SlotKey, Operation], ...]
    program: Program
    notes: dict[Any, Any] = field(default_factory=dict[Any, Any])


T = TypeVar("T")


class Notes(Generic[T]):
    """What a backend keeps for each plan, as long as there is the plan.

    It is kept by the plan itself. In a dictionary of weak references it would stay forever: it leads back to the plan,
    by way of nodes and their graph.
    """

    def __init__(self) -> None:
        self._plans: WeakSet[Plan] = WeakSet()

    def get(self, plan: Plan) -> T | None:
        """What is kept for a plan."""
        return plan.notes.get(self)

    def setdefault(self, plan: Plan, note: T) -> T:
        """What is kept for a plan, which is `note` if there was nothing yet."""
        self._plans.add(plan)
        return plan.notes.setdefault(self, note)

    def values(self) -> list[T]:
        """What is kept for the plans there are."""
        return [plan.notes[self] for plan in self._plans]

    def clear(self) -> None:
        """Forgets everything."""
        for plan in self._plans:
            del plan.notes[self]
        self._plans.clear()


def make_plan(program: Program) -> Plan:
    """Orders a Program's nodes, decides what is freed and reused when, and numbers the places."""
    nodes = schedule.order(program)
    storage = memory.Storage(nodes)
    last = memory.last_uses(program, nodes)
    ends = memory.storage_ends(storage, last)
    places: dict[Value, int] = {}
    template: list[Any] = []
    for node in nodes:
        for value in node.outputs:
            places[value] = len(template)
            template.append(node.attrs["value"] if node.opdef is Const else None)
    kept = {places[v] for v in program.outputs}
    steps: list[Step] = []
    variables: list[tuple[int, SlotKey, Operation]] = []
    for i, node in enumerate(nodes):
        if node.opdef is Const or node.opdef is Input:
            continue
        if node.opdef in _VARIABLES:
            assert node.op is not None
            variables.append((places[node.outputs[0]], slot_of(node.op), node.op))
            continue
        dying = {*node.inputs, *node.outputs}
        frees = sorted(
            places[v] for v in dying if last[v] == i and places[v] not in kept and v.node.opdef is not Const
        )
        reuses = memory.reusable_input(node, i, storage, ends)
        steps.append(
            Step(
                _bound(node, _may_overwrite(node, i, storage, ends)) if reuses is None else _ufunc(node),
                tuple(places[v] for v in node.inputs),
                tuple(places[v] for v in node.outputs),
                tuple(frees),
                node.opdef.takes_context,
                reuses,
                node,
            )
        )
    return Plan(
        tuple(steps),
        tuple(template),
        tuple(places[v] for v in program.inputs),
        tuple(places[v] for v in program.outputs),
        _owned_outputs(program.outputs, storage),
        tuple(variables),
        program,
    )


def _may_overwrite(node: Node, index: int, storage: memory.Storage, ends: dict[Value, int]) -> bool:
    scratch = node.opdef.scratch
    return scratch is not None and memory.is_free(node.inputs[scratch], index, storage, ends)


def _bound(node: Node, may_overwrite: bool) -> Callable[..., Any]:
    compute = node.opdef.compute
    if compute is None:
        raise NotImplementedError(f"{node.opdef.name} has neither a kernel nor an expansion")
    attrs = {**node.attrs, "may_overwrite": True} if may_overwrite else node.attrs
    return partial(compute, **attrs) if attrs else compute


def _ufunc(node: Node) -> Callable[..., Any]:
    form = node.opdef.form
    assert isinstance(form, Elementwise) and form.ufunc is not None
    return form.ufunc


def _owned_outputs(outputs: Sequence[Value], storage: memory.Storage) -> tuple[bool, ...]:
    taken: set[Value] = set()
    owned: list[bool] = []
    for value in outputs:
        roots = storage.roots[value]
        owned.append(storage.is_owned(value) and taken.isdisjoint(roots) and not value.node.opdef.aliases)
        taken |= roots
    return tuple(owned)
