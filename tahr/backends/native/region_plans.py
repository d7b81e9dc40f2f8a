"""Native loops and lists in a plan: where they lie, what comes before what, and the steps that they become.

A loop's steps are those of its condition and its body, with jumps, among the steps of the segment around it. Its
variables lie where its results do; an iteration ends by copying there what the body made. What a loop captures is read
where it lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tahr.backends.native import (
    added_up,
    flow,
    gemm,
    list_buffers,
    list_calls,
    list_versions,
    lookups,
    lower,
    region_programs,
    roles,
    single,
)
from tahr.backends.native.added_up import Added
from tahr.backends.native.calls import (
    Call,
    Jump,
    Known,
    Mark,
    Partial,
    Place,
    Ref,
    Seat,
    Status,
    deeper,
)
from tahr.backends.native.epilogue import accumulating, plain
from tahr.backends.native.list_buffers import Access, Lengths, Rows, Storage
from tahr.backends.native.multiplication import Multiplication
from tahr.backends.native.region_programs import Found, Region
from tahr.backends.native.roles import Role
from tahr.backends.native.sums import Shares, Sum
from tahr.core import dtypes, shapes, sizes
from tahr.core.forms import Elementwise
from tahr.core.opdef import OpDef
from tahr.core.shapes import Items, Spec
from tahr.core.sizes import Dim
from tahr.core.views import View
from tahr.ops import elementwise, fills, list_arrays, lists
from tahr.ops.list_values import StoredList
from tahr.program.effects import SlotKey, slot_of
from tahr.program.node import Node, Program, Value

ListOf = OpDef("_ListOf", "items: T, lengths: int64 -> y: variant", register=False)
"""The list that lies in a storage, as Python has it."""
ListOf.kernel(StoredList)
NoItems = OpDef("_NoItems", "-> y: variant", register=False)
"""An empty list, as Python has it where native code goes on with it later."""


@NoItems.kernel
def _no_items_kernel() -> StoredList:
    return StoredList(np.zeros(0), np.zeros(1, np.int64), Items())


Copy = OpDef("_Copy", "x: T -> y: T", form=Elementwise(scalar=lambda x: x), register=False)
"""The same elements, row-major and without gaps."""


class Planner(Protocol):
    """The planner of a program or region, as far as it is needed here."""

    program: Program
    places: dict[Value, Place]
    roles: dict[Node, Role]
    needs: dict[Node, list[Value]]
    nodes: list[Node]
    regions: RegionPlans

    def dense(self, value: Value) -> Value:
        """A value that lies in row-major order: itself or a copy."""
        ...

    def copy(self, value: Value) -> Value:
        """A copy of a value."""
        ...

    def inner(self, program: Program, found: Found) -> Planner:
        """The planner of a region."""
        ...

    def prepare(self) -> set[Value]:
        """Finds out where everything lies."""
        ...

    def finished(self, leaves: set[Value]) -> list[Call]:
        """The calls of all nodes; those roots are read behind them."""
        ...


class RegionPlans:
    """The loops and lists of one program or region.

    Args:
        planner: its planner.
        found: what of it is native.

    Attributes:
        orders: for a node those that must run before it, beside those whose results it needs.
        writers: for a node that seats a value the one that writes it, unless all that computes is native.
        owned: for a node the storage that it makes for lists.
        kept: values that must be stored in any case.
        items: for lists of at most one item the item, wherever there is one.
    """

    def __init__(self, planner: Planner, found: Found) -> None:
        self._planner = planner
        self.found = found
        self.storage: dict[Value, Storage] = {}
        self.orders: dict[Node, list[Node]] = {}
        self.writers: dict[Node, Node] = {}
        self.owned: dict[Node, list[Value]] = {}
        self.kept: set[Value] = set()
        self.items: dict[Value, Value] = {}
        # For each version of a list the nodes that made it, those that read it, and the one that changes it.
        self._made: dict[Value, list[Node]] = {}
        self._readers: dict[Value, list[Node]] = {}
        self._changed: dict[Value, Node] = {}
        self._seats: dict[Node, tuple[Access, Value, list[Value], Value | None]] = {}
        self._rows_of_their_own: set[Value] = set()
        # For sums with a table the sums of rows that belong to equal rows of the table.
        self._added_rows: dict[Sum, Value] = {}
        self._lengths: dict[Node, Value] = {}
        self._handed_over: dict[Value, Value] = {}
        self._loop_inputs: dict[Node, list[Value | None]] = {}
        # For each loop, where the factors of its sums lie.
        self._factors: dict[Node, dict[Value, Storage]] = {}

    # ------------------------------------------------------------ where things lie

    def give(self, value: Value, storage: Storage, places: Mapping[Value, Place]) -> None:
        """Says where a list lies that comes from outside."""
        self.storage[value] = storage
        for part in (storage.items, storage.meta):
            self._planner.places[part] = places[part]

    def place(self, node: Node) -> None:
        """Places what a native loop or list node makes."""
        opdef = node.opdef
        if self._planner.roles[node] is Role.LOOP:
            self._place_loop(node)
        elif opdef in list_versions.FILLED:
            self._place_filled(node)
        elif node.outputs[0] in self.found.filled_first:
            self._place_zeros(node)
        elif opdef in list_versions.STACKS:
            self._place_stack(node)
        elif list_versions.is_optional(node):
            self.items[node.outputs[0]] = settled(self._planner, self._item(node.inputs[1]))
        elif node.inputs and node.inputs[0] in self.found.optional:
            self._give_item(node.outputs[1], self.items[node.inputs[0]])
        elif opdef in list_versions.WRITES or opdef in list_versions.POPS or opdef in list_versions.GETS:
            self._place_access(node)

    def given_by_python(self) -> dict[Value, Storage]:
        """Gives storage to the lists that come from Python."""
        known = {v: self.found.lists[v] for v in self._planner.program.inputs if v in self.found.lists}
        found = {v: self._new_storage(v) for v, shape in known.items() if shape.dtype is not None}
        self.storage.update(found)
        return found

    def read(self, node: Node, value: Value) -> list[Value]:
        """Notes that a node reads a list; gives the storage that it needs."""
        self._order(node, self._made.get(value, ()))
        self._readers.setdefault(value, []).append(node)
        return [self.storage[value].items, self.storage[value].meta]

    def change(self, node: Node, before: Value, after: Value) -> None:
        """Notes that a node makes a version of a list of another."""
        self.storage[after] = self.storage[before]
        self._changed[before] = node
        self._made[after] = [node]

    def begin(self, node: Node, output: Value) -> list[Value]:
        """Gives a list that a node makes a storage of its own."""
        storage = self.storage[output] = self._new_storage(output)
        self._made[output] = [node]
        return [storage.items, storage.meta]

    def _new_storage(self, value: Value) -> Storage:
        """Another storage for what a list is known to be."""
        found = self.found.lists[value]
        spec = Spec(found.dtype, (found.capacity, *found.row))
        items = self._made_of(Rows, (), spec, value.node, Role.LIST)
        return Storage(items, self._new_meta(value.node, items))

    def handed_over(self, value: Value) -> Value:
        """A list as Python has it."""
        if value not in self._handed_over:
            builder, found = self._planner.program.builder, self.found.lists[value]
            if value in self.storage:
                inputs = [self.storage[value].items, self.storage[value].meta]
                known = Items(found.dtype, found.row)
                if found.is_optional and value.spec.items is not None:
                    known = value.spec.items.of_shape(found.row)
                made = builder.add(ListOf, inputs, {"known": known}, [value.spec], value.node.op)
            else:
                made = builder.add(NoItems, (), {}, [value.spec], value.node.op)
            self._planner.roles[made] = Role.HOST
            self.found.reasons[made] = "a list is handed to NumPy"
            self._add(made, self.read(made, value) if value in self.storage else ())
            self._handed_over[value] = made.outputs[0]
        return self._handed_over[value]

    def _item(self, value: Value) -> Value:
        """What is kept for an item of a list."""
        return self.items.get(value, value)

    def _give_item(self, value: Value, item: Value) -> None:
        """Says where an item lies that was taken from a list."""
        if value.dtype is dtypes.variant:
            self.items[value] = item
        else:
            self._planner.places[value] = self._planner.places[item]

    def computed(self) -> set[Value]:
        """The values that kernels put into storage of their own, for the time of one run of the region."""
        seated = {v for _, _, values, _ in self._seats.values() for v in values}
        return {v for n in self._planner.nodes for v in n.outputs} - seated - self.kept

    def finish(self) -> None:
        """Puts whoever changes a list behind those who read it."""
        for value, node in self._changed.items():
            self._order(node, [r for r in self._readers.get(value, ()) if r is not node])

    def _order(self, node: Node, before: Sequence[Node]) -> None:
        self.orders.setdefault(node, []).extend(before)

    def _made_of(self, opdef: OpDef, inputs: Sequence[Value], spec: Spec, node: Node, role: Role) -> Value:
        """The output of a further node, in a storage of its own."""
        made = self._planner.program.builder.add(opdef, inputs, {}, [spec], node.op)
        value = made.outputs[0]
        assert spec.shape is not None
        self._planner.roles[made] = role
        self._planner.places[value] = Place(value, View.dense(spec.shape))
        return value

    def _computed(self, opdef: OpDef, inputs: Sequence[Value], spec: Spec, node: Node) -> Value:
        value = self._made_of(opdef, inputs, spec, node, Role.ELEMENTWISE)
        self._planner.needs[value.node] = list(inputs)
        self._planner.nodes.append(value.node)
        self.kept.add(value)
        return value

    def _add(self, node: Node, needs: Sequence[Value]) -> None:
        self._planner.needs[node] = list(needs)
        self._planner.nodes.append(node)

    def _new_meta(self, node: Node, items: Value) -> Value:
        """The lengths of a list whose rows are `items`."""
        assert items.shape is not None
        return self._made_of(Lengths, [items], Spec(dtypes.int64, (items.shape[0] + 1,)), node, Role.LIST)

    def _place_filled(self, node: Node) -> None:
        tensor = node.inputs[1] if node.opdef is list_arrays.TensorListScatter else node.inputs[0]
        items = self._computed(Copy, [tensor], Spec(tensor.dtype, tensor.shape), node)
        meta = self._new_meta(node, items)
        self._add(meta.node, [])
        self._lengths[meta.node] = node.outputs[0]
        self.storage[node.outputs[0]] = Storage(items, meta)

    def _place_zeros(self, node: Node) -> None:
        value = node.outputs[0]
        items, meta = self.begin(node, value)
        self._add(meta.node, [])
        self.owned[meta.node] = [items]
        self._lengths[meta.node] = value
        self._made[value] = [meta.node]

    def _place_stack(self, node: Node) -> None:
        storage, output = self.storage[node.inputs[0]], node.outputs[0]
        assert output.shape is not None
        self._planner.places[output] = Place(storage.items, View.dense(output.shape))
        self._add(node, [storage.items])
        self._order(node, self._made.get(node.inputs[0], ()))

    def _place_access(self, node: Node) -> None:
        items, opdef = node.inputs[0], node.opdef
        found, storage = self.found.lists[items], self.storage[items]
        if list_versions.start(items) in self.found.unread:
            self.storage[node.outputs[0]] = storage
            return
        spec = Spec(found.dtype, found.row)
        row = list_versions.added(node) if opdef is lists.TensorListAdd else None
        index = row.inputs[1] if row is not None else None
        if opdef in list_versions.GETS or opdef in (lists.TensorListSetItem, lists.TensorListClearItem):
            index = node.inputs[1]
        index = None if index is None else self._planner.dense(index)
        seated: list[Value] = []
        if opdef in list_versions.POPS:
            seated = [Value(node, 1, spec) if found.is_optional else node.outputs[1]]
            self._planner.places[seated[0]] = Place(seated[0], View.dense(found.row))
            self._give_item(node.outputs[1], seated[0])
        elif opdef in list_versions.GETS and list_versions.start(items) not in self.found.written:
            seated = [node.outputs[0]]
            self._planner.places[seated[0]] = Place(seated[0], View.dense(found.row))
        elif opdef in list_versions.GETS or opdef in (lists.TensorListClearItem, lists.TensorListAdd):
            seated = [self._made_of(Rows, (), spec, node, Role.LIST)]
        self._add(node, [storage.items, storage.meta, *([] if index is None else [index])])
        made = [node]
        written: Value | None = None
        if opdef is lists.TensorListAdd:
            assert row is not None
            written = self._computed(elementwise.AddV2, [seated[0], row.inputs[2]], spec, node)
        elif opdef is lists.TensorListClearItem:
            written = self._computed(fills.ZerosLike, [seated[0]], spec, node)
        elif opdef in list_versions.WRITES:
            item = self._item(node.inputs[1 if opdef is lists.TensorListPushBack else 2])
            written = item if item in self._rows_of_their_own else self._computed(Copy, [item], spec, node)
        elif opdef in list_versions.GETS and seated[0] is not node.outputs[0]:
            copied = self._computed(Copy, [seated[0]], spec, node)
            self._planner.places[node.outputs[0]] = self._planner.places[copied]
            self._order(copied.node, [node])
            made.append(copied.node)
        if written is not None:
            seated.append(written)
            for writer in self._writers(written):
                self._order(writer, [node])
            made.append(written.node)
            if written not in self._rows_of_their_own:
                self.writers[node] = written.node
        self._order(node, self._made.get(items, ()))
        if opdef in list_versions.GETS:
            self._readers.setdefault(items, []).extend(made)
        else:
            self._changed[items] = node
            self._made[node.outputs[0]] = made
            self.storage[node.outputs[0]] = storage
        self._seats[node] = _access(node, index, found.is_bounded), items, seated, index

    def _place_loop(self, node: Node) -> None:
        loop, planner = self.found.loops[node], self._planner
        inputs: list[Value | None] = []
        needs: list[Value] = []
        for value in loop.inputs:
            if value.dtype is not dtypes.variant:
                inputs.append(planner.dense(settled(planner, value, region_programs.writes(node))))
                needs.append(inputs[-1])  # pyright: ignore[reportArgumentType]
                continue
            inputs.append(None)
            if value in self.storage:
                needs += [self.storage[value].items, self.storage[value].meta]
        own: list[Value] = []
        for i, output in enumerate(node.outputs):
            if output.dtype is not dtypes.variant:
                assert output.shape is not None
                planner.places[output] = Place(output, View.dense(output.shape))
                continue
            before = node.inputs[i]
            if i in loop.adopted:
                self.change(node, before, output)
            else:
                own += self.begin(node, output)
                self._readers.setdefault(before, []).append(node)
        for i, value in enumerate(loop.inputs):
            if value.dtype is dtypes.variant:
                self._order(node, self._made.get(value, ()))
                if i >= len(node.outputs):
                    self._readers.setdefault(value, []).append(node)
        self._loop_inputs[node] = inputs
        factors = dict.fromkeys(v for s in loop.sums for v in (s.a, s.b))
        self._factors[node] = {v: self._place_factor(node, v, loop.kept) for v in factors}
        self.owned[node] = own
        self._add(node, needs)

    def _place_factor(self, node: Node, factor: Value, kept: Dim) -> Storage:
        """Room for what a value of a loop's body is in so many iterations."""
        assert factor.shape is not None
        spec = Spec(factor.dtype, (kept, *factor.shape))
        items = self._made_of(Rows, (), spec, node, Role.LIST)
        return Storage(items, self._new_meta(node, items))

    def keep(self, value: Value, storage: Storage, places: Mapping[Value, Place]) -> None:
        """Pushes a value on a list of its own: it is computed there, if it can be."""
        builder, spec = self._planner.program.builder, Spec(dtypes.variant, ())
        handle = builder.add(Rows, (), {}, [spec]).outputs[0]
        self.give(handle, storage, places)
        assert value.shape is not None and storage.items.shape is not None
        self.found.lists[handle] = list_buffers.Shape(value.dtype, value.shape, storage.items.shape[0], None)
        push = builder.add(lists.TensorListPushBack, [handle, value], {}, [spec], value.node.op)
        self._planner.roles[push] = Role.LIST
        if self._is_made_once(value):
            self._rows_of_their_own.add(value)
            # A whole that somebody reads is stored anyway, and then its parts can be computed where they belong.
            is_whole = self._planner.roles[value.node] is Role.PARTS
            if not is_whole or not any(value in needs for needs in self._planner.needs.values()):
                self.kept.add(value)
        self.place(push)

    def _is_made_once(self, value: Value) -> bool:
        """Whether a loop nest or copies of parts make a value in a storage of its own, which may lie anywhere."""
        role = self._planner.roles[value.node]
        return role in (Role.ELEMENTWISE, Role.PARTS) and self._planner.places[value].root is value

    def _writers(self, value: Value) -> list[Node]:
        """The nodes that may write to a value's storage: parts of a whole may be computed there."""
        is_whole = self._planner.roles[value.node] is Role.PARTS
        return [value.node, *(v.node for v in value.node.inputs)] if is_whole else [value.node]

    # ------------------------------------------------------------ steps

    def calls(self, node: Node) -> list[Call]:
        """The calls of a loop or of a list node."""
        if node in self._loop_inputs:
            return self._loop_calls(node)
        if node in self._lengths:
            value = self._lengths[node]
            is_set = value not in self.found.filled_first
            calls = [list_calls.begin(node.outputs[0], self.found.lists[value], is_set)]
            return calls if is_set else [*calls, lower.zeros_call(self.storage[value].items)]
        return self._seat_calls(node) if node in self._seats else []

    def _seat_calls(self, node: Node) -> list[Call]:
        access, items, seated, index = self._seats[node]
        storage, found = self.storage[items], self.found.lists[items]
        kernel = list_buffers.seat(access)
        buffers = [Ref(Status()), Ref(storage.meta), Ref(storage.items)]
        reads = [storage.items, storage.meta]
        if index is not None:
            place = self._planner.places[index]
            buffers.append(Ref(place.root, place.view.offset))
            reads.append(place.root)
        assert found.dtype is not None
        item = found.dtype.size
        calls: list[Call] = []
        for i, value in enumerate(seated):
            # The second of two that lie in one row: the first has checked the row and changed the list.
            again = replace(access, expects=None) if i else access
            made = list_buffers.seat(again) if i else kernel

            def bind(
                known: Known, value: Value = value, made: Any = made
            ) -> tuple[Sequence[Any], dict[Partial, int]]:
                row = math.prod(sizes.evaluate(d, known) for d in found.row) * item  # pyright: ignore[reportArgumentType]
                capacity = sizes.evaluate(found.capacity, known) if found.is_bounded else 0  # pyright: ignore[reportArgumentType]
                return [Seat(made, tuple(buffers), (row, capacity), value)], {}

            writes = (value, storage.meta, storage.items)
            operands = {0: buffers[2]} | ({} if index is None else {1: buffers[3]})
            calls.append(Call(node.opdef.name, (node,), tuple(reads), writes, (made,), bind, operands))
        return calls

    def _loop_calls(self, node: Node) -> list[Call]:
        loop = self.found.loops[node]
        calls: list[Call] = []
        for i, output in enumerate(node.outputs):
            calls += self._entering(node, i, output)
        none = list_buffers.Shape(None, (), 0, 0)
        calls += [list_calls.begin(storage.meta, none, False) for storage in self._factors[node].values()]
        top, end = Mark(), Mark()
        calls.append(control("loop", [top]))
        test = self._inner(node, loop.test)
        test.prepare()
        condition = test.places[settled(test, loop.test.results[0])]
        calls += deeper(test.finished({condition.root}))
        merge(test, self._planner)
        holds = Ref(condition.root, condition.view.offset)
        calls.append(control("while", [Jump(end, holds)], [condition.root]))
        calls += deeper(self._body_calls(node, loop.body))
        full, behind = self._adding(node)
        calls += deeper(full)
        calls.append(control("end of the loop", [Jump(top), end]))
        return calls + behind

    def _adding(self, node: Node) -> tuple[list[Call], list[Call]]:
        """The calls that add sums to variables: at an iteration's end, and behind the loop."""
        loop, factors = self.found.loops[node], list(self._factors[node].values())
        if loop.sums and not loop.is_bounded:
            flag = self._made_of(Rows, (), Spec(dtypes.bool_, ()), node, Role.LIST)
            products = [self._added(node, summed) for summed in loop.sums]
            args = factors, products, flag
            return [added_up.when_full(*args)], [added_up.of_the_rest(*args)]
        calls = [list_calls.clear_rest(storage) for storage in factors]
        for summed in loop.sums:
            calls += self._sum_calls(node, summed)
        for shares in loop.shares:
            calls += self._share_calls(node, shares)
        return [], calls

    def _added(self, node: Node, summed: Sum) -> Added:
        """The product that is added to a variable."""
        a, b = (self._factors[node][v].items for v in (summed.a, summed.b))
        return Added(a, b, node.outputs[summed.place], summed.first)

    def _sum_calls(self, node: Node, summed: Sum) -> list[Call]:
        """The calls behind a loop that add to a variable what its iterations would have added."""
        product = self._added(node, summed)
        a, b, *_ = product
        if summed.lookup is None:
            return [product.product()]
        lookup = self._lookup_of_all(node, summed.lookup, a)
        table = lookup.inputs[0]
        assert table.shape is not None and b.shape is not None
        used = self._made_of(Rows, (), table.spec, node, Role.LIST)
        added = self._made_of(Rows, (), Spec(b.dtype, (table.shape[0], b.shape[-1])), node, Role.LIST)
        self._added_rows[summed] = added
        return [
            lookups.rows_in_use(lookup, self._planner.places, used),
            lookups.sums_of_rows(lookup, self._planner.places, b, added),
            product._replace(a=used, b=added).product(),
        ]

    def _share_calls(self, node: Node, shares: Shares) -> list[Call]:
        """The calls behind a loop that give each row of a table's gradient to one of the items that share in it."""
        items, indices = (
            self.storage[node.outputs[shares.place]].items,
            self._around_loop(node, shares.indices),
        )
        assert items.shape is not None
        width, dtype = items.shape[-1], single.dtype_of(items)
        height = self._added_rows[shares.terms[0].sum].shape[0]  # pyright: ignore[reportOptionalSubscript]
        total = self._made_of(Rows, (), Spec(dtype, (height, width)), node, Role.LIST)
        calls: list[Call] = []
        for share in shares.terms:
            rows = self._added_rows[share.sum]
            matrix = self._planner.places[self._around_loop(node, share.matrix)]
            kind = accumulating(dtype) if calls else plain(dtype)
            into = (Ref(total), Ref(total)) if calls else (Ref(total),)
            product = gemm.Product(dtype, False, False, kind)
            inner, columns = matrix.view.shape
            multiplication = Multiplication(product, height, width, inner, inner, columns)
            buffers = (Ref(rows), Ref(matrix.root, matrix.view.offset + share.first), *into)
            calls.append(
                Call("MatMul", (), (rows, matrix.root), (total,), (), multiplication.binder(buffers))
            )
        return [*calls, lookups.handed_out(total, self.storage[indices].items, items)]

    def _around_loop(self, node: Node, value: Value) -> Value:
        """What the loop's body captures as an input; if that is no list it lies in row-major order."""
        loop = self.found.loops[node]
        place = loop.body.places[loop.body.program.inputs.index(value) - len(node.outputs)]
        return self._loop_inputs[node][place] or loop.inputs[place]

    def _lookup_of_all(self, node: Node, lookup: Node, indices: Value) -> Node:
        """What all iterations look up in a table around a loop: a node that is not computed, but explains errors."""
        planner, table = self._planner, self._around_loop(node, lookup.inputs[0])
        assert table.shape is not None and indices.shape is not None
        planner.places[indices] = Place(indices, View.dense(indices.shape))
        spec = Spec(table.dtype, (*indices.shape, *table.shape[1:]))
        inputs = [table, indices, *lookup.inputs[2:]]
        made = planner.program.builder.add(lookup.opdef, inputs, lookup.attrs, [spec], lookup.op)
        planner.roles[made] = roles.role(made)
        return made

    def _entering(self, node: Node, i: int, output: Value) -> list[Call]:
        """What puts a variable's first value where the loop has it."""
        planner = self._planner
        if output.dtype is not dtypes.variant:
            first = self._loop_inputs[node][i]
            assert first is not None
            return [lower.copy_call(planner.places[first], first, output)]
        loop = self.found.loops[node]
        if i in loop.adopted or loop.body.program.inputs[i] in loop.body.found.unread:
            return []
        return self.brought(node.inputs[i], self.storage[output], self.found.lists[output])

    def brought(self, items: Value, target: Storage, found: list_buffers.Shape) -> list[Call]:
        """The calls that bring a list to another storage, given what is known of it there."""
        if items in self.storage:
            theirs = self.storage[items]
            if not found.is_bounded:
                return [list_calls.bring(theirs, target)]
            return [
                lower.copy_call(Place(t, View.dense(t.shape or ())), t, m)
                for t, m in ((theirs.items, target.items), (theirs.meta, target.meta))
            ]
        first = self.found.lists[items]
        if not found.is_bounded:
            return [list_calls.begin_unbounded(target, first.length or 0)]
        calls = [list_calls.begin(target.meta, replace(found, length=first.length), False)]
        if first.length != 0:
            calls.append(lower.zeros_call(target.items))
        return calls

    def _inner(self, node: Node, region: Region) -> Planner:
        """The planner of a loop's region, whose inputs lie where the loop's variables and captures do."""
        planner = self._planner
        inner = planner.inner(region.program, region.found)
        count = len(node.outputs)
        for k, value in enumerate(region.program.inputs):
            place = None if k < count else region.places[k - count]
            outer = node.outputs[k] if place is None else self.found.loops[node].inputs[place]
            if value.dtype is dtypes.variant:
                if outer in self.storage:  # of another only the length is known, and asked for
                    inner.regions.give(value, self.storage[outer], planner.places)
                continue
            dense = outer if place is None else self._loop_inputs[node][place]
            assert dense is not None and value.shape is not None
            inner.places[value] = Place(planner.places[dense].root, View.dense(value.shape))
        return inner

    def _body_calls(self, node: Node, region: Region) -> list[Call]:
        inner = self._inner(node, region)
        inner.prepare()
        for factor, storage in self._factors[node].items():
            inner.regions.keep(factor, storage, self._planner.places)
        behind = {s.place for s in self.found.loops[node].sums}
        states = {
            v: i for i, v in enumerate(node.outputs) if v.dtype is not dtypes.variant and i not in behind
        }
        made: dict[int, Value] = {}
        for output, i in states.items():
            new = settled(inner, region.results[i])
            root = inner.places[new].root
            if root is output and inner.places[new].view.is_dense:
                continue
            # What lies in a variable would change while the variables change.
            made[i] = inner.copy(new) if root in states else new
        calls = inner.finished({inner.places[v].root for v in made.values()})
        back: list[Call] = []
        for i, new in made.items():
            place, output = inner.places[new], node.outputs[i]
            shared = sum(inner.places[v].root is place.root for v in made.values()) > 1
            renamed = None if shared else _in_place(calls, place, output, inner)
            if renamed is None:
                back.append(lower.copy_call(place, new, output))
            else:
                calls = renamed
        merge(inner, self._planner)
        return [*calls, *back]


def settled(planner: Planner, value: Value, changed: frozenset[SlotKey] | None = None) -> Value:
    """What a region is given for a value; a copy where that lies in a session's variable that the region changes.

    Args:
        changed: those variables; None for any of them.
    """
    root = planner.places[value].root.node
    if not roles.is_variable(root) or root.op is None:
        return value
    return planner.copy(value) if changed is None or slot_of(root.op) in changed else value


def merge(inner: Planner, planner: Planner) -> None:
    """Makes what a region's planner knows part of what the planner around it knows."""
    planner.roles.update(inner.roles)
    planner.places.update(inner.places)


def _access(node: Node, index: Value | None, is_bounded: bool) -> Access:
    """How a list node finds its row, and what becomes of it."""
    return replace(_access_by(node, index), is_bounded=is_bounded)


def _access_by(node: Node, index: Value | None) -> Access:
    """The same of a list that has a bound."""
    opdef = node.opdef
    dtype = None if index is None else index.dtype
    if opdef is lists.TensorListPushBack:
        return Access("push", marks=True)
    if opdef in list_versions.POPS:
        return Access("pop", marks=False)
    if opdef is lists.TensorListGetItem:
        is_static = shapes.is_static(node.attrs["element_shape"])
        return Access(index=dtype, expects=None if is_static else True)
    if opdef is lists.TensorListSetItem:
        grows = node.attrs["resize_if_index_out_of_bounds"]
        return Access(
            index=dtype, marks=True, expects=False if node.attrs["write_once"] else None, grows=grows
        )
    if opdef is lists.TensorListAdd:
        return Access(index=dtype, marks=True)
    return Access(index=dtype, marks=False if opdef is lists.TensorListClearItem else None)


def control(title: str, steps: Sequence[Jump | Mark], reads: Sequence[Value] = ()) -> Call:
    """A call that computes nothing, but jumps or is jumped to."""
    return Call(title, (), tuple(reads), (), (), lambda known: (steps, {}))


def _in_place(calls: Sequence[Call], place: Place, state: Value, inner: Planner) -> list[Call] | None:
    """The calls of a body with one that writes its result over the variable's old value; None where that is not safe.

    It is where that call, which reads it element by element, is the last that reads the old value.
    """
    result = place.root
    makers = [i for i, call in enumerate(calls) if result in call.writes]
    readers = [i for i, call in enumerate(calls) if state in call.reads]
    if len(makers) != 1 or not is_whole(place) or result not in inner.regions.computed():
        return None
    (maker,) = makers
    if any(i > maker for i in readers) or not _is_elementwise(calls[maker], result, state, inner):
        return None
    return with_storage(calls, result, state)


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
