"""What the plans of loops and of conditionals share: jumps, and results that are computed where they are wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tahr.backends.native import flow
from tahr.backends.native.calls import Call, Jump, Known, Mark, Partial, Place, Ref
from tahr.backends.native.list_plans import Planner
from tahr.backends.native.roles import Role
from tahr.core import shapes, sizes
from tahr.program.node import Value


def merge(inner: Planner, planner: Planner) -> None:
    """Makes what a region's planner knows part of what the planner around it knows."""
    planner.roles.update(inner.roles)
    planner.places.update(inner.places)


def control(title: str, steps: Sequence[Jump | Mark], reads: Sequence[Value] = ()) -> Call:
    """A call that computes nothing, but jumps or is jumped to."""
    return Call(title, (), tuple(reads), (), (), lambda known: (steps, {}))


# ---------------------------------------------------------------- where results are written


def is_whole(place: Place) -> bool:
    """Whether a value surely is the whole of its storage, in row-major order."""
    stored, seen = place.root.shape, place.view.shape
    assert stored is not None
    return place.view.is_dense and sizes.surely_equal(math.prod(stored), math.prod(seen))


def with_storage(calls: Sequence[Call], old: Value, new: Value) -> list[Call]:
    """The same calls, but where one storage was there is another."""

    def rename(ref: Ref) -> Ref:
        return Ref(new, ref.offset) if ref.storage is old else ref

    def renamed(call: Call) -> Call:
        def bind(known: Known) -> tuple[Sequence[Any], dict[Partial, int]]:
            made, partials = call.bind(known)
            return [flow.renamed(step, rename) for step in made], partials

        def values(of: Sequence[Value]) -> tuple[Value, ...]:
            return tuple(new if v is old else v for v in of)

        operands = None if call.operands is None else {i: rename(r) for i, r in call.operands.items()}
        return replace(
            call, reads=values(call.reads), writes=values(call.writes), bind=bind, operands=operands
        )

    return [renamed(c) if old in (*c.reads, *c.writes) else c for c in calls]


def in_place(calls: Sequence[Call], place: Place, state: Value, inner: Planner) -> list[Call] | None:
    """The calls of a body with one that writes its result over the variable's old value; None where that is not safe.

    It is where that call, which reads it element by element, is the last that reads the old value.
    """
    result = place.root
    makers = [i for i, call in enumerate(calls) if result in call.writes]
    readers = [i for i, call in enumerate(calls) if state in call.reads]
    if len(makers) != 1 or not is_whole(place) or result not in inner.lists.computed():
        return None
    (maker,) = makers
    if any(i > maker for i in readers) or not _is_elementwise(calls[maker], result, state, inner):
        return None
    return with_storage(calls, result, state)


def _is_elementwise(call: Call, result: Value, state: Value, inner: Planner) -> bool:
    """Whether a call reads of an old value just the element that it then writes."""
    if state not in call.reads:
        return True
    own = {v for node in call.nodes for v in node.outputs}
    for node in call.nodes:
        for value in inner.needs[node]:
            place = inner.places[value]
            if place.root in own and not place.view.is_dense:
                return False
            if place.root is not state:
                continue
            is_same = place.view.is_dense and shapes.surely_equal(place.view.shape, result.shape)
            if inner.roles[node] is not Role.ELEMENTWISE or not is_same:
                return False
    if call.loop is None:
        return inner.roles[call.nodes[0]] is Role.PRODUCT
    # A nest computes and stores one expression after the other: the others must not read the old value.
    others = [v for v in call.writes if v is not result]
    return not call.loop.nest.reduces and not any(_depends(v, state, inner) for v in others)


def _depends(value: Value, state: Value, inner: Planner) -> bool:
    """Whether a value of a body follows from the old value of a variable."""
    seen: set[Value] = set()
    stack = [value]
    while stack:
        value = stack.pop()
        root = inner.places[value].root if value in inner.places else value
        if root is state:
            return True
        if value not in seen:
            seen.add(value)
            stack += [v for node in {value.node, root.node} for v in inner.needs.get(node, node.inputs)]
    return False
