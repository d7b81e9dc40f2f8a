"""What is to be computed, as a function of some of the graph's tensors: a run's signature, or a region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.core.convert import Const
from tahr.core.forks import new_lock
from tahr.core.graph import Graph, Operation, Region, Tensor
from tahr.program import padding
from tahr.program.effects import Key, Outline, SlotKey, StateRead


class Function:
    """Outputs (and effects) as a function of inputs, all of them tensors of one graph.

    Attributes:
        inputs: the tensors whose values are given: fed tensors, or a region's arguments and then its captures.
        captures: the last of `inputs`: what a region takes from outside.
        outputs: the tensors wanted. A reference stands for the variable's value: at the end of the run, if it is the
            variable's own, else after the write that gave it.
        targets: operations to run for their effects.
        written: the variables that change between two calls though the function itself only reads them.
        constants: the places of inputs that are small integer constants, as long as they are not fed.
        outline: the operations needed, their order, and which write each read sees. The values of the variables that
            a region only reads (`outline.states`) are given behind `inputs`.
        padded: the operations that run on padded rows; see `padding`.
        plans, exact, inferred: the planner's caches, filled as the function is run.
        demanded: the integers that fed sizes were found to have to be; sizes equal to one are a class of their own.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        targets: Sequence[Operation] = (),
        region: Region | None = None,
        written: frozenset[SlotKey] = frozenset(),
    ) -> None:
        self.graph = graph
        self.captures: tuple[Tensor, ...] = ()
        if region is not None:
            self.captures = _outline(region, outputs).captures
        self.inputs = (*inputs, *self.captures)
        # Inputs that are small constants in the graph: their values shape what follows, unless they are fed.
        self.constants = tuple(
            i for i, t in enumerate(self.inputs) if t.op.opdef is Const and t.spec.value is not None
        )
        self.outputs = tuple(outputs)
        self.targets = tuple(targets)
        self.what = region.what if region is not None else "run"
        self.outline = Outline(
            self.inputs, outputs, targets, region is not None, _inner_outlines, region, written
        )
        self.padded = padding.find(self.outline.order, self.inputs, self.outputs)
        self.lock = new_lock()
        self.plans: dict[Any, Any] = {}
        self.exact: dict[Any, Any] = {}
        self.inferred: dict[Any, Any] = {}
        self.demanded: set[int] = set()

    @property
    def keys(self) -> list[Key]:
        """What a call gives, in order: the inputs, then the variables that a region only reads."""
        return [*self.inputs, *(StateRead(v, None) for v in self.outline.state_variables)]

    @property
    def has_effects(self) -> bool:
        """Whether running it does more than compute its outputs."""
        return self.outline.has_effects

    @property
    def writes(self) -> frozenset[SlotKey]:
        """The variables that it may write."""
        return self.outline.writes

    def __repr__(self) -> str:
        return f"<Function {self.what}: {len(self.inputs)} inputs, {len(self.outputs)} outputs>"


def branch_function(branch: Region, live: Sequence[int]) -> Function:
    """The function of a branch's captures that gives the outputs in `live`."""
    return _cached(branch, ("branch", *live), [], [branch.outputs[i] for i in live])


def body_function(loop: Operation, live: Sequence[int]) -> Function:
    """One iteration of a loop, as a function of its live variables (and captures)."""
    body = loop.attrs["body"]
    inputs, outputs = [body.inputs[i] for i in live], [body.outputs[i] for i in live]
    return _cached(body, ("body", *live), inputs, outputs, loop)


def test_function(loop: Operation, live: Sequence[int]) -> Function:
    """A loop's condition, as a function of its live variables (and captures)."""
    test = loop.attrs["cond"]
    return _cached(test, ("test", *live), [test.inputs[i] for i in live], test.outputs, loop)


def _cached(
    region: Region,
    key: Any,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    loop: Operation | None = None,
) -> Function:
    functions: dict[Any, Function] = region.functions
    key = (key, len(region.operations), region.graph.changes)
    if key not in functions:
        written = frozenset[SlotKey]() if loop is None else _written_in(loop)
        functions[key] = Function(region.graph, inputs, outputs, (), region, written)
    return functions[key]


def live_results(branching: Operation, wanted: Sequence[int]) -> list[int]:
    """The results of a branching that matter: the wanted ones, and those that effects in an order stand behind."""
    branches = [value for value in branching.attrs.values() if isinstance(value, Region)]
    if not any(_outline(b, b.outputs).has_ordered_effects for b in branches):
        return list(wanted)
    effectful = (
        i
        for i in range(len(branching.outputs))
        if any(_outline(b, [b.outputs[i]]).has_ordered_effects for b in branches)
    )
    return sorted({*wanted, *effectful})


def live_variables(loop: Operation, wanted: Sequence[int]) -> list[int]:
    """The loop variables that matter: the wanted ones, and what they or the loop's test depend on.

    Dropping the others is what frees a forward run from the lists that only gradients need. Where the body has effects
    in an order, all of it runs.
    """
    body, test = loop.attrs["body"], loop.attrs["cond"]
    if _outline(body, body.outputs).has_ordered_effects:
        return list(range(len(body.inputs)))
    places = {t: i for i, t in enumerate(body.inputs)}
    test_places = {t: i for i, t in enumerate(test.inputs)}
    live = {*wanted, *(test_places[t] for t in _arguments(test, test.outputs))}
    pending = list(live)
    while pending:
        for tensor in _arguments(body, [body.outputs[pending.pop()]]):
            if places[tensor] not in live:
                live.add(places[tensor])
                pending.append(places[tensor])
    return sorted(live)


def _arguments(region: Region, outputs: Sequence[Tensor]) -> list[Tensor]:
    """The region's arguments that some of its tensors depend on."""
    own = set(region.inputs)
    seen: set[Operation] = set()
    found: list[Tensor] = []
    stack = [t.op for t in outputs]
    while stack:
        op = stack.pop()
        if op in seen or not region.encloses(op.region):
            continue
        seen.add(op)
        found += [t for t in op.outputs if t in own]
        stack += [t.op for t in op.inputs]
        stack += op.control_inputs
    return found


def _outline(region: Region, outputs: Sequence[Tensor], written: frozenset[SlotKey] = frozenset()) -> Outline:
    return Outline((), outputs, (), True, _inner_outlines, region, written)


def _written_in(loop: Operation) -> frozenset[SlotKey]:
    """The variables that a loop's body or condition writes: neither can be given their values from outside."""
    regions = loop.attrs["body"], loop.attrs["cond"]
    return frozenset[SlotKey]().union(*(_outline(r, r.outputs).writes for r in regions))


def _inner_outlines(op: Operation) -> list[Outline]:
    """Outlines of all that the regions of an operation may do, for the analysis of effects."""
    regions = [value for value in op.attrs.values() if isinstance(value, Region)]
    outlines = [_outline(r, r.outputs) for r in regions]
    if op.type != "While":
        return outlines
    written = frozenset[SlotKey]().union(*(o.writes for o in outlines))
    return [_outline(r, r.outputs, written) for r in regions] if written else outlines
