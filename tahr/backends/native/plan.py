"""What a plan for the native backend is: segments that run as one native call each, and host steps between them.

`planner.py` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tahr.backends.native.arenas import Arenas
from tahr.backends.native.calls import Call, Place
from tahr.backends.native.list_buffers import Storage
from tahr.backends.native.roles import Role
from tahr.core import sizes
from tahr.core.opdef import known_value
from tahr.program.effects import SlotKey
from tahr.program.node import Node, Program, Value


class Unplannable(Exception):
    """The native backend cannot run a program in its own order; the reference executor does."""


@dataclass(eq=False)
class HostStep:
    """One node that NumPy computes.

    Attributes:
        run: the kernel with its attributes bound.
        node: the node.
        needs: the values that it takes.
        takes_context: whether the kernel's first argument is the run's state.
        reason: why it is NumPy's.
    """

    run: Callable[..., Any]
    node: Node
    needs: list[Value]
    takes_context: bool
    reason: str


@dataclass(eq=False)
class Segment:
    """Kernels that run in one native call.

    Attributes:
        calls: in order.
        inputs: roots that are arrays before it.
        outputs: roots that become arrays.
        cells: the variables that it reads or writes.
        written: those that it writes.
        overwritten: those of them whose old values it does not look at.
    """

    calls: list[Call]
    inputs: list[Value]
    outputs: list[Value]
    cells: list[Value]
    written: list[Value]
    overwritten: frozenset[Value]


@dataclass(eq=False)
class NativePlan:
    """How a program runs natively.

    Attributes:
        items: segments and host steps in order.
        places: where each value lies.
        node_roles: what each node is.
        symbols: for each symbolic size where it is found: the index of an input, and the dimension of that or, of a
            list, of its items.
        variables: the values that stand for variables, with their keys and operations.
        uncertain: those that may have no value, as perhaps nobody reads them: only in a branch are they used.
        program: what it was made from.
        reshaped: those reshapes, in regions too, of which only exact sizes tell whether they keep all elements.
        lists: where the lists lie that come from Python.
        frees: for each item the values that nobody needs behind it.
        arenas: what its runs have for temporary storages.
    """

    items: list[Segment | HostStep]
    places: dict[Value, Place]
    node_roles: dict[Node, Role]
    symbols: list[tuple[str, int, int]]
    variables: list[tuple[Value, SlotKey, Any]]
    uncertain: list[Value]
    program: Program
    reshaped: list[Node]
    lists: dict[Value, Storage]
    frees: list[list[Value]] = field(default_factory=list[list[Value]])
    arenas: Arenas = field(default_factory=Arenas)

    @property
    def segments(self) -> list[Segment]:
        """The native parts."""
        return [item for item in self.items if isinstance(item, Segment)]


def frees(plan: NativePlan, outputs: Iterable[Value]) -> list[list[Value]]:
    """For each item the roots whose arrays nobody needs after it."""
    kept = {plan.places[v].root if v in plan.places else v for v in outputs}
    last: dict[Value, int] = {}
    for i, item in enumerate(plan.items):
        if isinstance(item, Segment):
            used = [*item.inputs, *item.outputs]
        else:
            used = [plan.places[v].root if v in plan.places else v for v in item.needs]
            used += item.node.outputs
        last.update(dict.fromkeys(used, i))
    found: list[list[Value]] = [[] for _ in plan.items]
    for value, i in last.items():
        if value not in kept:
            found[i].append(value)
    return found


def constant_array(value: Value, known: Mapping[str, int]) -> np.ndarray[Any, Any]:
    """The array of integers that follow from sizes."""
    assert value.dtype is not None
    found = known_value(value.spec)
    assert found is not None
    exact = [sizes.evaluate(d, known) for d in found]
    return np.array(exact, dtype=value.dtype.numpy).reshape([sizes.evaluate(d, known) for d in value.dims])  # pyright: ignore[reportArgumentType]
