"""Native conditionals in a plan: the steps of both branches, of which jumps pass over one.

A branch reads what it captures where that lies, and leaves its results where those of the conditional are.
"""

from __future__ import annotations

from collections.abc import Sequence

from tahr.backends.native import lower, regions
from tahr.backends.native.calls import Call, Jump, Mark, Place, Ref
from tahr.backends.native.region_plans import Planner, control, is_whole, merge, with_storage
from tahr.core.views import View
from tahr.program.node import Node, Value


class BranchPlans:
    """The conditionals of one program or region.

    Args:
        planner: its planner.
        found: what of it is native.
    """

    def __init__(self, planner: Planner, found: regions.Found) -> None:
        self._planner = planner
        self._found = found

    def place(self, node: Node) -> None:
        """Places what a conditional gives."""
        planner = self._planner
        for output in node.outputs:
            assert output.shape is not None
            planner.places[output] = Place(output, View.dense(output.shape))
        planner.needs[node] = list(node.inputs)
        planner.nodes.append(node)

    def calls(self, node: Node) -> list[Call]:
        """The calls of a conditional."""
        taken, other = (self._branch_calls(node, region) for region in self._found.branches[node])
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

    def _branch_calls(self, node: Node, region: regions.Region) -> list[Call]:
        """The calls of one branch; its results lie where the conditional's do."""
        planner = self._planner
        inner = planner.inner(region.program, region.found)
        for value, place in zip(region.program.inputs, region.places):
            inner.places[value] = planner.places[node.inputs[place]]
        inner.prepare()
        roots = [inner.places[result].root for result in region.results]
        calls = inner.finished(set(roots))
        own = inner.regions.computed()
        for result, root, output in zip(region.results, roots, node.outputs):
            place = inner.places[result]
            if root in own and roots.count(root) == 1 and is_whole(place) and _is_made(calls, root):
                calls = with_storage(calls, root, output)
            else:
                calls.append(lower.copy_call(place, result, output))
        merge(inner, planner)
        return calls


def _is_made(calls: Sequence[Call], root: Value) -> bool:
    """Whether calls write a storage."""
    return any(root in call.writes for call in calls)
