"""What integers surely do not exceed, as sizes; and so how often loops run at most, and how long lists become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tahr.backends.native.list_versions import POPS, previous
from tahr.backends.native.region_programs import REGIONS, Region, counts, has_regions, program_of
from tahr.core import dtypes, sizes
from tahr.core.opdef import known_int, known_value
from tahr.core.sizes import UNKNOWN, Dim
from tahr.ops import control_flow, elementwise, lists, logic
from tahr.program.node import Node, Value


class Changes(NamedTuple):
    """What happens to a list in one iteration of a loop.

    Attributes:
        pushes: how many items are pushed at most.
        pops: whether items are popped.
        grows: by how many items it becomes longer at most, on an average of all iterations, as items are set behind
            its end.
    """

    pushes: Dim = 0
    pops: bool = False
    grows: Dim = 0


class Bounds:
    """The bounds of the integers of a program, or of a region.

    A list has a bound where all of its items, which are integers then, have it.

    Args:
        around: those of the program around it.
        outer: what values of this program are there.
        given: bounds that are known otherwise.
    """

    def __init__(
        self,
        around: Bounds | None = None,
        outer: Mapping[Value, Value] | None = None,
        given: Mapping[Value, Dim] | None = None,
    ) -> None:
        self._around = around
        self._outer = outer or {}
        self._given = given or {}
        self._regions: dict[tuple[Node, str], Region] = {}
        self._trips: dict[Node, Dim | None] = {}

    def region(self, node: Node, name: str) -> Region:
        """The program of a loop's condition or body, or of a branch."""
        if (node, name) not in self._regions:
            self._regions[node, name] = program_of(node, name)
        return self._regions[node, name]

    def inside(
        self, node: Node, region: Region, inputs: Sequence[Value] | None = None, trips: Dim | None = None
    ) -> Bounds:
        """The bounds of a loop's condition or body, or of a branch.

        Args:
            inputs: what the node takes, if that is more than its inputs.
            trips: how often its body runs at most, if it is a loop and that is known.
        """
        taken = node.inputs if inputs is None else inputs
        variables, captures = region.variables, region.captures
        outer = {inner: taken[place] for inner, place in zip(captures, region.places)}
        outer |= {inner: first for inner, first in zip(variables, taken) if inner.dtype is dtypes.variant}
        given: dict[Value, Dim] = {}
        if trips is not None:
            body = self.region(node, "body")
            given = {variables[i]: first + trips for i, first in counters(node, body).items()}
        return Bounds(self, outer, given)

    # ------------------------------------------------------------ integers

    def of(self, value: Value) -> Dim | None:
        """A size, at least 0, that an integer surely does not exceed; None where none is known."""
        node = value.node
        known = known_value(value.spec)
        if known is not None and len(known) == 1:
            return sizes.maximum(known[0], 0)
        if value in self._given:
            return self._given[value]
        if value in self._outer and self._around is not None:
            return self._around.of(self._outer[value])
        if node.opdef is elementwise.Minimum:
            return next((b for b in map(self.of, node.inputs) if b is not None), None)
        if node.opdef is control_flow.While:
            return self._of_result(value)
        return self._of_items(value)

    def _of_result(self, value: Value) -> Dim | None:
        """The bound of a loop's result: of a counter, or of the items of a list."""
        node = value.node
        body = self.region(node, "body")
        if value.dtype is dtypes.variant:
            return self.inside(node, body, trips=self.trips(node)).of(body.results[value.index])
        first = counters(node, body).get(value.index)
        trips = None if first is None else self.trips(node)
        return None if first is None or trips is None else first + trips

    def _of_items(self, value: Value) -> Dim | None:
        """The bound of a list that is pushed or popped, or of what is popped: no native loop does both to one list."""
        node = value.node
        if node.opdef in POPS:
            return self.of(node.inputs[0])
        if node.opdef is not lists.TensorListPushBack:
            return 0 if node.opdef is lists.EmptyTensorList else None
        before, item = map(self.of, node.inputs)
        return None if before is None or item is None else sizes.maximum(before, item)

    # ------------------------------------------------------------ loops

    def trips(self, node: Node) -> Dim | None:
        """The greatest number of iterations of a loop, where it follows from sizes: a counter's limit."""
        if node not in self._trips:
            self._trips[node] = self._found_trips(node)
        return self._trips[node]

    def _found_trips(self, node: Node) -> Dim | None:
        test, body = self.region(node, "cond"), self.region(node, "body")
        inside = self.inside(node, test)
        conditions = [test.results[0]]
        while conditions:
            condition = conditions.pop().node
            if condition.opdef is logic.LogicalAnd:
                conditions += condition.inputs
            if condition.opdef not in _COMPARISONS or condition.inputs[0] not in test.variables:
                continue
            counter, limit = condition.inputs
            place = test.variables.index(counter)
            step, further = _COMPARISONS[condition.opdef]
            first = node.inputs[place]
            from_, to = (first, limit) if step > 0 else (limit, first)
            start = known_int(from_.spec)
            if start is None or start < 0 or not counts(body, place, step):
                continue
            bound = inside.of(to) if step > 0 else self.of(to)
            if bound is not None:
                return sizes.maximum(bound + further, 0)
        return None

    def changes(self, body: Region, result: Value, in_turn: Sequence[Value]) -> Changes:
        """What an iteration of a loop, whose body this is, does to a list.

        Args:
            result: the version of the list that it leaves.
            in_turn: the body's values that are 0, 1, ... in its iterations.
        """
        pushes: Dim = 0
        grows: Dim = 0
        pops = False
        version: Value | None = result
        while version is not None:
            node = version.node
            pushes += node.opdef is lists.TensorListPushBack
            pops = pops or node.opdef in POPS
            if node.attrs.get("resize_if_index_out_of_bounds"):
                grows = sizes.maximum(grows, 1 if node.inputs[1] in in_turn else UNKNOWN)
            if has_regions(node):
                inside = self._changes_inside(node, version.index, in_turn)
                pushes, pops = pushes + inside.pushes, pops or inside.pops
                grows = sizes.maximum(grows, inside.grows)
            version = previous(version)
        return Changes(pushes, pops, grows)

    def _changes_inside(self, node: Node, index: int, in_turn: Sequence[Value]) -> Changes:
        """What a loop in a loop does to a list, or a conditional."""
        if node.opdef is control_flow.While:
            body, trips = self.region(node, "body"), self.trips(node)
            changes = self.inside(node, body, trips=trips).changes(body, body.results[index], ())
            if changes.pushes == 0:
                return changes
            return changes._replace(pushes=changes.pushes * (UNKNOWN if trips is None else trips))
        found: list[Changes] = []
        for name in REGIONS[node.opdef.name]:
            branch = self.region(node, name)
            still_in_turn = [v for v, p in zip(branch.captures, branch.places) if node.inputs[p] in in_turn]
            inside = self.inside(node, branch)
            found.append(inside.changes(branch, branch.results[index], still_in_turn))
        one, other = found
        pushes = sizes.maximum(one.pushes, other.pushes)
        return Changes(pushes, one.pops or other.pops, sizes.maximum(one.grows, other.grows))


# By how much a counter changes where it is compared with its limit, and how many iterations there are beyond that.
_COMPARISONS = {
    logic.Less: (1, 0),
    logic.LessEqual: (1, 1),
    logic.Greater: (-1, 0),
    logic.GreaterEqual: (-1, 1),
}


def counters(loop: Node, body: Region) -> dict[int, int]:
    """The variables of a loop that count its iterations, and the integers that they count from: no negative ones."""
    found: dict[int, int] = {}
    for i, value in enumerate(loop.inputs[: len(loop.outputs)]):
        first = known_int(value.spec)
        if first is not None and first >= 0 and counts(body, i):
            found[i] = first
    return found
