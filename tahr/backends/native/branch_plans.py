"""Native conditionals in a plan: the steps of both branches, of which jumps pass over one.

A branch reads what it captures where that lies, and leaves its results where those of the conditional are.
"""

from __future__ import annotations

from collections.abc import Sequence

from tahr.backends.native import lower, region_programs
from tahr.backends.native.calls import Call, Jump, Mark, Place, Ref, deeper
from tahr.backends.native.list_plans import Planner, settled
from tahr.backends.native.list_versions import previous
from tahr.backends.native.region_plans import control, is_whole, merge, with_storage
from tahr.backends.native.region_programs import Found, Region
from tahr.core import dtypes
from tahr.core.views import View
from tahr.program.effects import SlotKey
from tahr.program.node import Node, Value


class BranchPlans:
    """The conditionals of one program or region.

    Args:
        planner: its planner.
        found: what of it is native.
    """

    def __init__(self, planner: Planner, found: Found) -> None:
        self._planner = planner
        self._found = found
        # For each conditional what its branches take, where that is a value; and what lies where its results are.
        self._given: dict[Node, tuple[list[Value | None], list[Value | None]]] = {}
        self._results: dict[Node, list[Value | None]] = {}

    def place(self, node: Node) -> None:
        """Places what a conditional gives."""
        results = self._results[node] = [self._result(output) for output in node.outputs]
        owned = [v for v in results if v is not None and v not in node.outputs]
        for output in self._begun(node):
            owned += self._planner.lists.begin(node, output)
        self._planner.lists.owned[node] = owned
        taken, other = (
            [self._taken(node.inputs[p], region_programs.writes(node, name)) for p in region.places]
            for name, region in zip(("then_branch", "else_branch"), self._found.branches[node])
        )
        self._given[node] = taken, other
        needs = dict.fromkeys(v for v in (node.inputs[0], *taken, *other) if v is not None)
        for value in dict.fromkeys(v for v in node.inputs if v in self._planner.lists.storage):
            needs.update(dict.fromkeys(self._planner.lists.read(node, value)))
        self._planner.needs[node] = list(needs)
        for output in node.outputs:
            if output in self._found.lists and (before := previous(output)) is not None:
                self._planner.lists.change(node, before, output)
        self._planner.nodes.append(node)

    def _begun(self, node: Node) -> list[Value]:
        """The results that are lists of which no version was there before."""
        return [v for v in node.outputs if v in self._found.lists and previous(v) is None]

    def _result(self, output: Value) -> Value | None:
        """What lies where a result is: itself, or of a list of at most one item that item; None for other lists."""
        if output in self._found.lists:
            return None
        result = output
        if output.dtype is dtypes.variant:
            result = Value(output.node, output.index, self._found.optional[output])
            self._planner.lists.items[output] = result
        assert result.shape is not None
        self._planner.places[result] = Place(result, View.dense(result.shape))
        return result

    def _taken(self, value: Value, changed: frozenset[SlotKey]) -> Value | None:
        """What a branch that changes some variables takes; None for a list with buffers."""
        if self._is_list(value):
            return None
        return settled(self._planner, self._planner.lists.items.get(value, value), changed)

    def _is_list(self, value: Value) -> bool:
        """Whether a value is a list that is no single item."""
        return value.dtype is dtypes.variant and value not in self._planner.lists.items

    def calls(self, node: Node) -> list[Call]:
        """The calls of a conditional."""
        taken, other = (
            deeper(self._branch_calls(node, region, given))
            for region, given in zip(self._found.branches[node], self._given[node])
        )
        predicate = self._planner.places[node.inputs[0]]
        holds = Ref(predicate.root, predicate.view.offset)
        otherwise, end = Mark(), Mark()
        return [
            control("if", [Jump(otherwise, holds)], [predicate.root]),
            *taken,
            control("else", [Jump(end), otherwise]),
            *other,
            control("end of the branches", [end]),
        ]

    def _branch_calls(self, node: Node, region: Region, given: Sequence[Value | None]) -> list[Call]:
        """The calls of one branch; its results lie where the conditional's do."""
        inner = self._inner(node, region, given)
        inner.prepare()
        items = inner.lists.items
        results = {
            output: settled(inner, items.get(value, value))
            for value, output in zip(region.results, self._results[node])
            if output is not None and (value.dtype is not dtypes.variant or value in items)
        }
        begun = {output: region.results[output.index] for output in self._begun(node)}
        leaves = {inner.places[v].root for v in results.values()}
        for value in begun.values():
            if value in inner.lists.storage:
                storage = inner.lists.storage[value]
                leaves |= {storage.items, storage.meta}
        calls = inner.finished(leaves)
        own = inner.lists.computed()
        moved: dict[Value, Value] = {}
        for output, value in results.items():
            place = inner.places[value]
            root = place.root
            if root in own and root not in moved and is_whole(place) and _is_made(calls, root):
                calls = with_storage(calls, root, output)
                moved[root] = output
            else:
                calls.append(lower.copy_call(Place(moved.get(root, root), place.view), value, output))
        for output, value in begun.items():
            target = self._planner.lists.storage[output]
            calls += inner.lists.brought(value, target, self._found.lists[output])
        merge(inner, self._planner)
        return calls

    def _inner(self, node: Node, region: Region, given: Sequence[Value | None]) -> Planner:
        """The planner of a branch, which takes what the conditional captures where that lies."""
        planner = self._planner
        inner = planner.inner(region.program, region.found)
        for value, taken, place in zip(region.program.inputs, given, region.places):
            if taken is None:
                storage = planner.lists.storage.get(node.inputs[place])
                if storage is not None:
                    inner.lists.give(value, storage, planner.places)
            elif value.dtype is dtypes.variant:
                inner.lists.items[value] = taken
                inner.places[taken] = planner.places[taken]
            else:
                inner.places[value] = planner.places[taken]
        return inner


def _is_made(calls: Sequence[Call], root: Value) -> bool:
    """Whether calls write a storage."""
    return any(root in call.writes for call in calls)
