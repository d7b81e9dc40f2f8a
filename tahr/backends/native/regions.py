"""Which loops, conditionals and lists the native backend runs itself, and what is known of them before a plan is made.

A conditional is native where everything in both branches is, and they give results of the same shapes. A loop is native
where everything in its condition and its body is, and its lists can be buffers (`known_lists`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tahr.backends.native import ahead, list_buffers, roles
from tahr.backends.native.bounds import Bounds, counters
from tahr.backends.native.known_lists import ListSearch, are_items, handles_lists, lists_from_python
from tahr.backends.native.list_versions import (
    FILLED,
    FRESH,
    GETS,
    POPS,
    WRITES,
    previous,
    start,
)
from tahr.backends.native.looked_up import LookedUp, looked_up
from tahr.backends.native.region_programs import REGIONS, Found, Loop, Region, Unfit, has_regions, without
from tahr.backends.native.region_roles import data, require_native, role_of
from tahr.backends.native.single import is_plain
from tahr.backends.native.sums import (
    Shares,
    Sum,
    are_only_summed,
    find_shares,
    find_sums,
    kept_at_once,
    worth_keeping,
)
from tahr.core import dtypes, shapes, sizes
from tahr.core.shapes import Items, Spec
from tahr.core.sizes import Dim
from tahr.ops import control_flow, list_arrays, lists
from tahr.program.node import Input, Node, Program, Value

# In fewer iterations nothing is won by treating matrices ahead of a loop.
_SEVERAL = 4


def find(
    program: Program,
    given: Mapping[Value, list_buffers.Shape] | None = None,
    own: Collection[Value] = (),
    optional: Mapping[Value, Spec] | None = None,
    bounds: Bounds | None = None,
) -> Found:
    """What of a program is native, beside what `roles` knows.

    Args:
        program: a run's, or a region's.
        given: what is known of the lists among a region's inputs; None for a run's program.
        own: the lists among its inputs that may be changed, such as a loop's variables.
        optional: what is known of those among its inputs that have at most one item.
        bounds: the bounds of its integers.
    """
    return _Search(program, given, own, optional or {}, bounds or Bounds()).found()


class _Search:
    def __init__(
        self,
        program: Program,
        given: Mapping[Value, list_buffers.Shape] | None,
        own: Collection[Value],
        optional: Mapping[Value, Spec],
        bounds: Bounds,
    ) -> None:
        self._program = program
        self._bounds = bounds
        self._is_region = given is not None
        given = lists_from_python(program) if given is None else given
        self._nodes = program.nodes()
        self._result = Found(lists=dict(given), optional=dict(optional))
        self._lists = ListSearch(program, self._result, given.keys() - own, self._is_region)

    def found(self) -> Found:
        """What is native."""
        for node in self._nodes:
            try:
                if node.opdef is control_flow.While:
                    self._loop(node)
                elif node.opdef is control_flow.If:
                    self._branching(node)
                elif handles_lists(node) and node.opdef is not Input:
                    self._lists.look_at(node)
                else:
                    continue
            except Unfit as unfit:
                self._result.reasons[node] = str(unfit)
                continue
            self._result.nodes.add(node)
        self._drop_mixed()
        for node in self._result.nodes:
            if node.opdef in WRITES or (node.opdef in GETS and not self._is_region):
                self._result.written.add(start(node.inputs[0]))
            elif has_regions(node):
                changed = [v for v in node.outputs if v in self._result.lists]
                self._result.written.update(map(start, changed))
        if not self._is_region:
            self._find_unread()
        return self._result

    def _find_unread(self) -> None:
        """Finds the lists that the passes have left without readers: what a gradient in its simplest form needs not."""
        found: dict[Value, list[tuple[Loop, int]]] = {}
        read: set[Value] = set()
        for value in self._result.lists:
            if value in self._program.outputs:
                read.add(_kept_in(value))
            for user in self._lists.users.get(value, ()):
                loop = self._result.loops.get(user)
                for i in (i for i, v in enumerate(user.inputs) if v is value):
                    if loop is None or i >= len(user.outputs):
                        read.add(_kept_in(value))
                        continue
                    list_ = _kept_in(user.outputs[i])
                    found.setdefault(list_, []).append((loop, i))
                    if _reads(loop.body, i):
                        read.add(list_)
        for value, uses in found.items():
            if value not in read:
                for loop, i in uses:
                    loop.body.found.unread.add(loop.body.program.inputs[i])

    def _drop_mixed(self) -> None:
        """Without nodes that take lists from the host's, or would hand them lists that cannot be handed over."""
        nodes, outputs = self._result.nodes, set(self._program.outputs)
        while True:
            mixed = {
                node
                for node in nodes
                if any(
                    (v.node not in nodes and v.node.opdef is not Input)
                    or (
                        not self._lists.may_leave(v)
                        and (v in outputs or any(user not in nodes for user in self._lists.users.get(v, ())))
                    )
                    for v in (*node.inputs, *node.outputs)
                    if v.dtype is dtypes.variant
                )
            }
            if not mixed:
                return
            nodes -= mixed
            for node in mixed:
                self._result.loops.pop(node, None)
                self._result.branches.pop(node, None)

    # ------------------------------------------------------------ loops

    def _loop(self, node: Node) -> None:
        test, body = (self._bounds.region(node, name) for name in REGIONS[node.opdef.name])
        if test.results[0].shape != () or test.results[0].dtype is not dtypes.bool_:
            raise Unfit("its condition is no scalar")
        count = len(node.outputs)
        adopted: set[int] = set()
        trips = self._bounds.trips(node)
        in_turn = [i for i, first in counters(node, body).items() if first == 0]
        body, inputs = self._ahead(node, body, trips, in_turn)
        sums, shares = self._behind(node, test, body, inputs, trips is not None)
        body, sums, shares = without(body, sums, shares)
        body_bounds = self._bounds.inside(node, body, inputs, trips)
        infos: list[list_buffers.Shape | None] = [None] * len(inputs)
        for i, value in enumerate(inputs):
            if value.dtype is not dtypes.variant:
                self._check_dense(node, i, value)
            elif i >= count:
                infos[i] = self._lists.known(value)
            else:
                in_order = [body.program.inputs[k] for k in in_turn]
                changes = body_bounds.changes(body, body.results[i], in_order)
                info = infos[i] = self._lists.as_variable(node, i, trips, changes)
                if self._lists.is_left_to(node, value) and info.capacity == self._lists.known(value).capacity:
                    adopted.add(i)
        regions: list[Region] = []
        for program, known_bounds in ((test, self._bounds.inside(node, test)), (body, body_bounds)):
            given = dict(zip(program.program.inputs, [*infos[:count], *(infos[p] for p in program.places)]))
            known = {v: s for v, s in given.items() if s is not None}
            inner = find(program.program, known, program.variables, bounds=known_bounds)
            require_native(program.program, inner)
            regions.append(replace(program, found=inner))
        summed = {s.place for s in sums}
        for i in range(count):
            new = body.results[i]
            if i in summed:
                continue
            if new.dtype is dtypes.variant and start(new) is not body.program.inputs[i]:
                raise Unfit("a list takes the place of another")
            if new.dtype is not dtypes.variant and not shapes.surely_equal(new.shape, node.outputs[i].shape):
                raise Unfit("a variable changes its shape")
        for output, info in zip(node.outputs, infos):
            if info is not None:
                self._result.lists[output] = info
        kept = kept_at_once(sums) if trips is None else trips
        self._result.loops[node] = Loop(
            inputs, regions[0], regions[1], frozenset(adopted), sums, shares, kept, trips is not None
        )

    def _check_dense(self, node: Node, i: int, value: Value) -> None:
        """Raises Unfit where what a loop takes has no native form, or changes its shape."""
        if i >= len(node.outputs):
            if not is_plain(value.spec):
                raise Unfit("what it captures has no native form")
        elif not is_plain(value.spec) or not is_plain(node.outputs[i].spec):
            raise Unfit("the shape or dtype of a variable has no native form")
        elif not shapes.surely_equal(value.shape, node.outputs[i].shape):
            raise Unfit("a variable changes its shape")

    def _behind(
        self, node: Node, test: Region, body: Region, inputs: Sequence[Value], is_bounded: bool
    ) -> tuple[Sequence[Sum], Sequence[Shares]]:
        """What is added up behind a loop, instead of in its iterations; where these have no bound, for some at once."""
        if not is_bounded:
            count = len(node.outputs)
            return worth_keeping(find_sums(test.program, body.program, body.results, count, frozenset())), ()
        sums = find_sums(test.program, body.program, body.results, len(node.outputs), body.lookups)
        captured = body.program.inputs[len(node.outputs) :]
        around = {v: inputs[p] for v, p in zip(captured, body.places)}
        shares = find_shares(node, body.program, body.results, sums, around)
        return sums, [s for s in shares if self._are_shares(node.outputs[s.place], around[s.indices])]

    def _are_shares(self, items: Value, indices: Value) -> bool:
        """Whether only sums of a list's items are wanted, over equal indices."""
        return are_only_summed(items, indices.node.inputs[0], self._lists.users, self._program.outputs)

    def _ahead(
        self, node: Node, body: Region, trips: Dim | None, counters: Sequence[int]
    ) -> tuple[Region, tuple[Value, ...]]:
        """A loop's body without what is computed ahead of it, and all that the loop then takes."""
        count = len(node.outputs)
        same = {
            variable: first
            for variable, first, result in zip(body.program.inputs[:count], node.inputs, body.results)
            if result is variable and variable.spec == first.spec and first.dtype is not dtypes.variant
        }
        for captured, place in zip(body.program.inputs[count:], body.places):
            if captured.dtype is not dtypes.variant:
                same[captured] = node.inputs[place]
        is_repeated = not isinstance(trips, int) or trips >= _SEVERAL
        rows = self._rows_in_turn(node, body, counters) if is_repeated else {}
        tables = self._looked_up(node, body) if is_repeated else {}
        moved = ahead.moved(body.program, same, rows, tables, self._program.builder, is_repeated)
        program, more = moved.body, moved.inputs
        for value in more:
            if value.dtype is dtypes.variant:
                self._lists.begin(value.node)
                self._result.nodes.add(value.node)
        instead = dict(zip(body.program.outputs, program.outputs))
        places = (*body.places, *range(len(node.inputs), len(node.inputs) + len(more)))
        results = [instead[v] for v in body.results]
        return Region(program, results, places, body.found, moved.lookups), (*node.inputs, *more)

    def _rows_in_turn(self, node: Node, body: Region, counters: Sequence[int]) -> dict[Value, Value]:
        """The matrices of a body that are row 0, 1, ... of a tensor around the loop, and that tensor."""
        in_turn = {body.program.inputs[i] for i in counters}
        return {
            read.outputs[0]: self._side_by_side(items, tensor)
            for read, items, tensor in self._reads_of_tensors(node, body)
            if read.inputs[1] in in_turn and tensor.shape is not None and len(tensor.shape) == 3
        }

    def _side_by_side(self, items: Value, tensor: Value) -> Value:
        """A tensor of which a list was made, where the list has it: there one row lies behind the other."""
        if self._lists.changes(items):
            return tensor
        builder = self._program.builder
        count = builder.constant(np.array(-1, np.int32))
        attrs = {"element_dtype": tensor.dtype, "element_shape": None}
        stack = builder.node(
            list_arrays.TensorListStack, [items, count], attrs, items.node.op, (), [tensor.spec]
        )
        self._result.nodes.add(stack)
        return stack.outputs[0]

    def _looked_up(self, node: Node, body: Region) -> dict[Value, LookedUp]:
        """The values of a body that are items of a tensor around the loop, of rows of a table."""
        found = {
            read.outputs[0]: looked_up(tensor, self._program.builder)
            for read, _, tensor in self._reads_of_tensors(node, body)
        }
        return {value: rows for value, rows in found.items() if rows is not None}

    def _reads_of_tensors(self, node: Node, body: Region) -> list[tuple[Node, Value, Value]]:
        """The nodes of a loop's body that read an item of a list that was made of a tensor, and both of these."""
        found: list[tuple[Node, Value, Value]] = []
        around = dict(zip(body.program.inputs[len(node.outputs) :], (node.inputs[p] for p in body.places)))
        for read in body.program.nodes():
            items = around.get(read.inputs[0]) if read.opdef is lists.TensorListGetItem else None
            if items is not None and items in self._result.lists and items.node.opdef in FILLED:
                found.append(
                    (read, items, items.node.inputs[items.node.opdef is list_arrays.TensorListScatter])
                )
        return found

    def _branching(self, node: Node) -> None:
        dense = [v for v in (*node.inputs, *node.outputs) if v.dtype is not dtypes.variant]
        if complaint := roles.obstacle(dense):
            raise Unfit(complaint)
        if node.inputs[0].shape != () or node.inputs[0].dtype is not dtypes.bool_:
            raise Unfit("its predicate is no scalar")
        branches = [self._branch(node, name) for name in REGIONS[node.opdef.name]]
        for output, *results in zip(node.outputs, *(branch.results for branch in branches)):
            if output.dtype is dtypes.variant:
                if previous(output) is not None:
                    self._changed_in_branches(output, branches, results)
                elif any(r in b.found.optional for b, r in zip(branches, results)):
                    self._result.optional[output] = _optional_result(branches, results)
                else:
                    self._result.lists[output] = _begun_in_branches(branches, results)
                continue
            for result in results:
                same = result.dtype is output.dtype and shapes.surely_equal(result.shape, output.shape)
                if not same or not is_plain(result.spec):
                    raise Unfit("the results of its branches have different shapes")
        self._result.branches[node] = branches[0], branches[1]

    def _changed_in_branches(
        self, output: Value, branches: Sequence[Region], results: Sequence[Value]
    ) -> None:
        """Notes what is known of a list that the branches of a conditional change, or one of them."""
        before, node = previous(output), output.node
        assert before is not None
        found = self._lists.stored(before)
        self._lists.check_change(before)
        for branch, result in zip(branches, results):
            taken = {v: node.inputs[p] for v, p in zip(branch.captures, branch.places)}
            if taken.get(start(result)) is not before:
                raise Unfit("a list takes the place of another")
            if branch.found.lists[result].length != found.length:
                found = replace(found, length=None)
        if found.length is None and not self._is_region:
            raise Unfit("how long a list grows is data")
        self._result.lists[output] = found

    def _branch(self, node: Node, name: str) -> Region:
        """A branch, of which everything is native."""
        region = self._bounds.region(node, name)
        changed = {previous(v) for v in node.outputs}
        given: dict[Value, list_buffers.Shape] = {}
        optional: dict[Value, Spec] = {}
        for inner, place in zip(region.program.inputs, region.places):
            outer = node.inputs[place]
            if outer in self._result.optional:
                optional[inner] = self._result.optional[outer]
            elif outer.dtype is dtypes.variant:
                given[inner] = self._lists.known(outer)
        own = [v for v, p in zip(region.captures, region.places) if node.inputs[p] in changed]
        bounds = self._bounds.inside(node, region)
        found = find(region.program, given, own, optional, bounds)
        require_native(region.program, found)
        return replace(region, found=found)


def _optional_result(branches: Sequence[Region], results: Sequence[Value]) -> Spec:
    """What is known of the item of a list that branches give, where it has at most one."""
    specs: list[Spec] = []
    for branch, result in zip(branches, results):
        if result in branch.found.optional:
            specs.append(branch.found.optional[result])
        elif result.node.opdef is not lists.EmptyTensorList:
            raise Unfit("it gives a list of several items")
    if not specs or any(not are_items(Items(specs[0].dtype, specs[0].shape), spec) for spec in specs):
        raise Unfit("it gives lists of different items")
    return specs[0]


def _begun_in_branches(branches: Sequence[Region], results: Sequence[Value]) -> list_buffers.Shape:
    """What is known of a list that branches give: it is copied from where the branch that is taken has it."""
    if any(result not in branch.found.lists for branch, result in zip(branches, results)):
        raise Unfit("it gives a list of one item")  # what reads an array in a branch is given as its gradient
    infos = [branch.found.lists[result] for branch, result in zip(branches, results)]
    first = next((info for info in infos if info.dtype is not None), None)
    if first is None:
        raise Unfit("it gives a list without items")
    for info in infos:
        is_alike = are_items(Items(first.dtype, first.row), Spec(info.dtype, info.row))
        if info.grows or (
            info.dtype is not None and not (is_alike and info.is_optional is first.is_optional)
        ):
            raise Unfit("it gives lists of different items")
    capacity = sizes.maximum(infos[0].capacity, infos[1].capacity)
    length = infos[0].length if infos[0].length == infos[1].length else None
    return replace(first, capacity=capacity, length=length)


def _kept_in(value: Value) -> Value:
    """The version of a list with which its storage begins."""
    while True:
        before = previous(value)
        if before is None or before.node.opdef in FRESH:
            return value
        value = before


def _reads(body: Region, place: int) -> bool:
    """Whether a loop's body does more with one of its lists than to push items, and to pop them unseen."""
    nodes = body.program.nodes()
    used = set(body.program.outputs)
    for node in nodes:
        used.update(data(node, role_of(node, body.found), body.found))
    for node in nodes:
        if not any(v.dtype is dtypes.variant and start(v) is body.program.inputs[place] for v in node.inputs):
            continue
        is_unseen = node.opdef in POPS and node.outputs[1] not in used
        is_push = node.opdef is lists.TensorListPushBack and node.inputs[1].dtype is not dtypes.variant
        if not is_unseen and not is_push:
            return True
    return False
