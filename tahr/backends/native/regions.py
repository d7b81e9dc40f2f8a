"""Which loops, conditionals and lists the native backend runs itself, and what is known of them before a plan is made.

A conditional is native where everything in both branches is, and they give results of the same shapes. A loop is native
where everything in its condition and its body is, and its lists can be buffers: the shape of their items and their
greatest length are known. Lists are changed in place, so each version of a list may be changed by one node only;
whoever else takes that version reads it before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tahr.backends.native import ahead, list_buffers, roles
from tahr.backends.native.bounds import Bounds, Changes, counters
from tahr.backends.native.list_versions import (
    FILLED,
    FRESH,
    GETS,
    POPS,
    STACKS,
    WRITES,
    added,
    is_optional,
    previous,
    start,
)
from tahr.backends.native.looked_up import LookedUp, looked_up
from tahr.backends.native.region_programs import REGIONS, Found, Loop, Region, Unfit, has_regions, without
from tahr.backends.native.roles import Role
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
from tahr.core.forms import Iota
from tahr.core.opdef import known_value
from tahr.core.shapes import Items, Spec
from tahr.core.sizes import UNKNOWN, Dim
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
        given = _lists_from_python(program) if given is None else given
        self._nodes = program.nodes()
        self._result = Found(lists=dict(given), optional=dict(optional))
        self._fixed = given.keys() - own
        self._users: dict[Value, list[Node]] = {}
        for node in self._nodes:
            for value in node.inputs:
                self._users.setdefault(value, []).append(node)

    def found(self) -> Found:
        """What is native."""
        for node in self._nodes:
            try:
                if node.opdef is control_flow.While:
                    self._loop(node)
                elif node.opdef is control_flow.If:
                    self._branching(node)
                elif _handles_lists(node) and node.opdef is not Input:
                    self._list_node(node)
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
            for user in self._users.get(value, ()):
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
                        not self._may_leave(v)
                        and (v in outputs or any(user not in nodes for user in self._users.get(v, ())))
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

    def _may_leave(self, value: Value) -> bool:
        """Whether a list may be handed to Python, or to the region around this one."""
        if value in self._fixed and not self._is_region:
            return True  # Python has it
        if self._is_region:
            return value in self._program.outputs and all(
                u in self._result.nodes for u in self._users.get(value, ())
            )
        found = self._result.lists.get(value)
        if value.node.opdef is lists.EmptyTensorList:
            return True  # Python makes it, too
        if found is None or any(n in self._result.nodes for n in self._changes(value)):
            return False
        return self._has_storage(value)

    # ------------------------------------------------------------ lists

    def _list_node(self, node: Node) -> None:
        opdef = node.opdef
        if opdef in FRESH or opdef in FILLED:
            self._new_list(node)
        elif opdef is lists.TensorListOneItem:
            if any(added(user) is not node for user in self._users.get(node.outputs[0], ())):
                raise Unfit("a list of one item is only added to others")
            self._list(node.inputs[0])
        elif opdef in STACKS:
            self._stack(node)
        elif is_optional(node):
            self._result.optional[node.outputs[0]] = self._item_spec(node.inputs[1])
        elif node.inputs[0] in self._result.optional:
            self._unpacked(node)
        elif opdef in WRITES or opdef in POPS or opdef in GETS:
            self._access(node)
        else:
            raise Unfit("no list buffers for it")

    def _item_spec(self, value: Value) -> Spec:
        """What is known of a value as an item of a list."""
        spec = self._result.optional.get(value, value.spec)
        if not is_plain(spec):
            raise Unfit("an item has no native form")
        return spec

    def _unpacked(self, node: Node) -> None:
        """Takes out the item of a list of at most one."""
        spec = self._result.optional[node.inputs[0]]
        rest, item = node.outputs if node.opdef in POPS else (None, None)
        if rest is None or item is None or rest in self._users or rest in self._program.outputs:
            raise Unfit("a list of at most one item is only looked into")
        if item.dtype is dtypes.variant:
            self._result.optional[item] = spec
        elif not _is(Items(spec.dtype, spec.shape), item.spec):
            raise Unfit("items of other shapes")

    def _list(self, value: Value) -> list_buffers.Shape:
        found = self._result.lists.get(value)
        if found is None:
            raise Unfit("its list is the host's")
        return found

    def _stored(self, value: Value) -> list_buffers.Shape:
        """What is known of a list that has storage."""
        found = self._list(value)
        if not self._has_storage(value):
            raise Unfit("nobody has said yet what items the list has")
        return found

    def _has_storage(self, value: Value) -> bool:
        first = start(value)
        if first.node.opdef not in FRESH or first in self._result.filled_first:
            return True
        version: Value | None = value
        while version is not None:
            if version.node.opdef is control_flow.While:
                return True
            version = previous(version)
        return False

    def _new_list(self, node: Node) -> None:
        opdef = node.opdef
        if opdef is lists.EmptyTensorList:
            found = list_buffers.Shape(None, (), 0, 0)
        elif opdef is lists.TensorListReserve:
            length = known_value(node.inputs[0].spec)
            if length is None or (isinstance(length[0], int) and length[0] < 0):
                raise Unfit("its length is data")
            found = self._filled_first(node, list_buffers.Shape(None, (), length[0], length[0]))
        elif opdef is lists.TensorListZerosLike:
            found = self._list(node.inputs[0])
            if found.length is None:
                raise Unfit("its length is data")
            found = self._filled_first(node, replace(found, capacity=found.length))
        else:
            found = self._filled(node)
        self._result.lists[node.outputs[0]] = found

    def _filled_first(self, node: Node, found: list_buffers.Shape) -> list_buffers.Shape:
        """What is known of a list without items, which has storage at once where no loop is the first to change it."""
        value = node.outputs[0]
        changes = self._changes(value)
        if value in self._program.outputs and not self._is_region:
            items = value.spec.items
        elif len(changes) == 1 and changes[0].opdef is not control_flow.While:
            items = next(v for v in changes[0].outputs if previous(v) is value).spec.items
        else:
            return found
        if items is None or items.shape is None or not is_plain(Spec(items.dtype, items.shape)):
            return found
        self._result.filled_first.add(value)
        return replace(found, dtype=items.dtype, row=items.shape)

    def _filled(self, node: Node) -> list_buffers.Shape:
        tensor = node.inputs[0]
        if node.opdef is list_arrays.TensorListScatter:
            tensor = node.inputs[1]
            empty = self._list(node.inputs[0])
            if node.inputs[0].node.opdef is not lists.TensorListReserve:
                raise Unfit("rows are scattered into a list that has some")
            if empty.length is None or not is_count(node.inputs[2], empty.length):
                raise Unfit("rows are scattered to places that are data")
        spec = tensor.spec
        if not is_plain(spec) or not spec.shape:
            raise Unfit("the rows' shapes are data")
        return list_buffers.Shape(spec.dtype, spec.shape[1:], spec.shape[0], spec.shape[0])

    def _stack(self, node: Node) -> None:
        found = self._stored(node.inputs[0])
        shape = node.outputs[0].shape
        if (
            found.is_optional
            or found.dtype is None
            or found.length is None
            or self._changes(node.inputs[0])
            or not is_plain(node.outputs[0].spec)
        ):
            raise Unfit("the list's length is data, or it is changed later")
        if not shapes.surely_equal(shape, (found.length, *found.row)):
            raise Unfit("not the whole list")
        if node.opdef is list_arrays.TensorListGatherLike and not is_count(node.inputs[1], found.length):
            raise Unfit("not the whole list in order")

    def _access(self, node: Node) -> None:
        items = node.inputs[0]
        found = self._stored(items)
        if node.opdef not in GETS:
            self._check_change(items)
        if node.opdef is lists.TensorListAdd and added(node) is None:
            raise Unfit("two lists are added")
        if node.attrs.get("resize_if_index_out_of_bounds") and not found.grows:
            raise Unfit("the list grows")
        if node.opdef in POPS and not self._is_region:
            raise Unfit("an item is popped outside of a loop")
        if node.opdef in POPS and any(
            n.opdef in WRITES and start(n.inputs[0]) is start(items) for n in self._nodes
        ):
            raise Unfit("pushed and popped")
        one = added(node) if node.opdef is lists.TensorListAdd else None
        index = None if one is None else one.inputs[1]
        if node.opdef in GETS or node.opdef in (lists.TensorListSetItem, lists.TensorListClearItem):
            index = node.inputs[1]
        if index is not None and (not is_plain(index.spec) or index.shape != ()):
            raise Unfit("an index of no known dtype")
        item = _item(node)
        if found.is_optional:
            if node.opdef not in (lists.TensorListPushBack, *POPS) or item is None:
                raise Unfit("a list of lists is only pushed to and popped")
            if item.dtype is not dtypes.variant:
                raise Unfit("items of other dtypes")
            if node.opdef in POPS:
                self._result.optional[item] = Spec(found.dtype, found.row)
        row = Items(found.dtype, found.row)
        if found.dtype is None or (item is not None and not _is(row, self._item_spec(item))):
            raise Unfit("items of other shapes")
        changed = node.outputs[0]
        if node.opdef not in GETS:
            is_longer = node.opdef is lists.TensorListPushBack or node.opdef in POPS
            self._result.lists[changed] = replace(found, length=None) if is_longer else found

    def _changes(self, value: Value) -> list[Node]:
        """The nodes that change a version of a list."""
        return [
            node
            for node in self._users.get(value, ())
            if (node.opdef in (*WRITES, *POPS) and node.inputs[0] is value)
            or (has_regions(node) and any(value is previous(v) for v in node.outputs))
        ]

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
                infos[i] = self._list(value)
            else:
                in_order = [body.program.inputs[k] for k in in_turn]
                changes = body_bounds.changes(body, body.results[i], in_order)
                info = infos[i] = self._variable_list(node, i, trips, changes)
                if self._is_left_to(node, value) and info.capacity == self._list(value).capacity:
                    adopted.add(i)
        regions: list[Region] = []
        for program, known_bounds in ((test, self._bounds.inside(node, test)), (body, body_bounds)):
            given = dict(zip(program.program.inputs, [*infos[:count], *(infos[p] for p in program.places)]))
            known = {v: s for v, s in given.items() if s is not None}
            inner = find(program.program, known, program.variables, bounds=known_bounds)
            _require_native(program.program, inner)
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

    def _is_left_to(self, loop: Node, value: Value) -> bool:
        """Whether nobody but a loop needs a version of a list, which it may change where that lies."""
        return (
            len(self._users[value]) == 1
            and loop.inputs.count(value) == 1
            and value not in self._program.outputs
            and value.node.opdef not in FRESH
            and start(value) not in self._fixed
        )

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
        return are_only_summed(items, indices.node.inputs[0], self._users, self._program.outputs)

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
                self._new_list(value.node)
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
        if self._changes(items):
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
        found = self._stored(before)
        self._check_change(before)
        for branch, result in zip(branches, results):
            taken = {v: node.inputs[p] for v, p in zip(branch.captures, branch.places)}
            if taken.get(start(result)) is not before:
                raise Unfit("a list takes the place of another")
            if branch.found.lists[result].length != found.length:
                found = replace(found, length=None)
        if found.length is None and not self._is_region:
            raise Unfit("how long a list grows is data")
        self._result.lists[output] = found

    def _check_change(self, items: Value) -> None:
        """Raises Unfit where a version of a list must not be changed in place."""
        if len(self._changes(items)) != 1 or items in self._program.outputs:
            raise Unfit("two versions are made from one")
        if start(items) in self._fixed:
            raise Unfit("a list from outside is changed")

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
                given[inner] = self._list(outer)
        own = [v for v, p in zip(region.captures, region.places) if node.inputs[p] in changed]
        bounds = self._bounds.inside(node, region)
        found = find(region.program, given, own, optional, bounds)
        _require_native(region.program, found)
        return replace(region, found=found)

    def _variable_list(
        self, node: Node, index: int, trips: Dim | None, changes: Changes
    ) -> list_buffers.Shape:
        """What is known of a list that is a loop's variable, given what an iteration does to it."""
        before = node.inputs[index]
        first, items = self._list(before), node.outputs[index].spec.items
        holds_lists = items is not None and items.dtype is dtypes.variant
        if holds_lists:
            items = Items(first.dtype, first.row) if first.is_optional else _innermost(items)
        if items is None or not is_plain(Spec(items.dtype, items.shape)) or items.shape is None:
            raise Unfit("the shapes of a list's items are data")
        capacity = first.capacity
        times = UNKNOWN if trips is None else trips
        # A list from around this region has room for all that is pushed in it, or set behind its end.
        has_room = self._is_region and start(before).node.opdef is Input and self._is_left_to(node, before)
        if changes.grows != 0 and not (has_room and first.grows):
            if changes.pushes != 0 or changes.pops or not (before.node.opdef in FRESH or first.length == 0):
                raise Unfit("a list grows in several ways")
            capacity = capacity + changes.grows * times
        if changes.pushes != 0 and not has_room:
            if changes.pops:
                raise Unfit("a list is pushed to and popped")
            capacity = capacity + changes.pushes * times
        return list_buffers.Shape(
            items.dtype,
            items.shape,
            capacity,
            first.length if changes == Changes() else None,
            changes.grows != 0,
            holds_lists,
        )


def _lists_from_python(program: Program) -> dict[Value, list_buffers.Shape]:
    """What is known of the lists that an earlier stage left to Python."""
    found: dict[Value, list_buffers.Shape] = {}
    for value in program.inputs:
        items = value.spec.items
        if items is None:
            continue
        dtype, shape, _ = items.innermost
        if dtype is None:
            found[value] = list_buffers.Shape(None, (), 0, 0)
        elif shape is not None and is_plain(Spec(dtype, shape)):
            is_optional = items.items is not None
            found[value] = list_buffers.Shape(dtype, shape, UNKNOWN, None, is_optional=is_optional)
    return found


def _optional_result(branches: Sequence[Region], results: Sequence[Value]) -> Spec:
    """What is known of the item of a list that branches give, where it has at most one."""
    specs: list[Spec] = []
    for branch, result in zip(branches, results):
        if result in branch.found.optional:
            specs.append(branch.found.optional[result])
        elif result.node.opdef is not lists.EmptyTensorList:
            raise Unfit("it gives a list of several items")
    if not specs or any(not _is(Items(specs[0].dtype, specs[0].shape), spec) for spec in specs):
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
        is_alike = _is(Items(first.dtype, first.row), Spec(info.dtype, info.row))
        if info.grows or (
            info.dtype is not None and not (is_alike and info.is_optional is first.is_optional)
        ):
            raise Unfit("it gives lists of different items")
    capacity = sizes.maximum(infos[0].capacity, infos[1].capacity)
    length = infos[0].length if infos[0].length == infos[1].length else None
    return replace(first, capacity=capacity, length=length)


def _innermost(items: Items | None) -> Items | None:
    """What is known of what lies in lists of at most one item, which may be such lists themselves."""
    while items is not None and items.dtype is dtypes.variant:
        items = items.items
    return items


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


def _handles_lists(node: Node) -> bool:
    return any(v.dtype is dtypes.variant for v in (*node.inputs, *node.outputs))


def _item(node: Node) -> Value | None:
    """The item that a node writes or reads, where it must have the shape of the list's items."""
    if node.opdef in POPS:
        return node.outputs[1]
    if node.opdef in GETS:
        return node.outputs[0]
    if node.opdef is lists.TensorListAdd:
        row = added(node)
        return row.inputs[2] if row is not None else None
    if node.opdef is lists.TensorListPushBack:
        return node.inputs[1]
    return node.inputs[2] if node.opdef is lists.TensorListSetItem else None


def _is(items: Items, spec: Spec) -> bool:
    return items.dtype is spec.dtype and shapes.surely_equal(items.shape, spec.shape)


def is_count(value: Value, count: Dim) -> bool:
    """Whether a value surely is 0, 1, ... count - 1."""
    constant = value.constant
    if constant is not None:
        return isinstance(count, int) and constant.tolist() == list(range(count))
    node = value.node
    if not isinstance(node.opdef.form, Iota) or len(node.inputs) != 3:
        return False
    first, last, step = (known_value(v.spec) for v in node.inputs)
    return first == [0] and step == [1] and last is not None and sizes.surely_equal(last[0], count)


def _require_native(program: Program, found: Found) -> None:
    """Raises Unfit where a node that is needed is the host's."""
    stack = [*program.roots, *(v.node for v in program.outputs)]
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.opdef is Input and all(v.dtype is dtypes.variant for v in node.outputs):
            continue
        role = role_of(node, found)
        if role is Role.HOST:
            raise Unfit(f"{node.opdef.name}: {found.reasons.get(node) or roles.reason(node) or role.value}")
        stack += [v.node for v in data(node, role, found)]


_ROLES = {control_flow.While.name: Role.LOOP, control_flow.If.name: Role.BRANCHING}


def role_of(node: Node, found: Found) -> Role:
    """The role of a node in a program of which more is known."""
    if node in found.nodes:
        return _ROLES.get(node.opdef.name, Role.LIST)
    return roles.role(node)


def data(node: Node, role: Role, found: Found) -> Sequence[Value]:
    """What a node reads as data."""
    inputs, opdef = node.inputs, node.opdef
    if role is Role.LOOP:
        return found.loops[node].inputs
    if role is not Role.LIST:
        return [inputs[i] for i in roles.data_inputs(node, role)]
    if opdef is lists.TensorListReserve:
        return ()
    if opdef in STACKS or opdef in POPS:
        return inputs[:1]
    return inputs[:2] if opdef in GETS or opdef is list_arrays.TensorListScatter else inputs


def ordered(order: Sequence[Node], found: Found) -> list[Node]:
    """The nodes of a program in order, and those that are computed ahead of loops."""
    result: dict[Node, None] = {}

    def take(node: Node) -> None:
        if node not in result:
            for value in node.inputs:
                take(value.node)
            result[node] = None

    for node in order:
        if node in found.loops:
            for value in found.loops[node].inputs:
                take(value.node)
        result[node] = None
    return list(result)
