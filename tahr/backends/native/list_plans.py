"""Native lists in a plan: where they lie, what comes before what, and the steps that reach their rows.

A list is changed where it lies. So what changes a version of it comes behind all that read this version, and a value
that is pushed or set is, if it can be, computed in its row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tahr.backends.native import list_buffers, list_calls, list_versions, lower, roles
from tahr.backends.native.calls import Call, Known, Partial, Place, Ref, Seat, Status
from tahr.backends.native.list_buffers import Access, Lengths, Rows, Storage
from tahr.backends.native.region_programs import Found
from tahr.backends.native.roles import Role
from tahr.core import dtypes, shapes, sizes
from tahr.core.forms import Elementwise
from tahr.core.opdef import OpDef
from tahr.core.shapes import Items, Spec
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
    lists: ListPlans

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


def settled(planner: Planner, value: Value, changed: frozenset[SlotKey] | None = None) -> Value:
    """What a region is given for a value; a copy where that lies in a session's variable that the region changes.

    Args:
        changed: those variables; None for any of them.
    """
    root = planner.places[value].root.node
    if not roles.is_variable(root) or root.op is None:
        return value
    return planner.copy(value) if changed is None or slot_of(root.op) in changed else value


class ListPlans:
    """The lists of one program or region.

    Args:
        planner: its planner.
        found: what of it is native.

    Attributes:
        storage: where each list lies.
        orders: for a node those that must run before it, beside those whose results it needs.
        writers: for a node that seats a value the one that writes it, unless all that computes is native.
        owned: for a node the storage that it makes for lists.
        kept: values that must be stored in any case.
        items: for lists of at most one item the item, wherever there is one.
    """

    def __init__(self, planner: Planner, found: Found) -> None:
        self._planner = planner
        self._found = found
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
        self._lengths: dict[Node, Value] = {}
        self._handed_over: dict[Value, Value] = {}

    # ------------------------------------------------------------ lists from outside, and those that leave

    def give(self, value: Value, storage: Storage, places: Mapping[Value, Place]) -> None:
        """Says where a list lies that comes from outside."""
        self.storage[value] = storage
        for part in (storage.items, storage.meta):
            self._planner.places[part] = places[part]

    def given_by_python(self) -> dict[Value, Storage]:
        """Gives storage to the lists that come from Python."""
        known = {v: self._found.lists[v] for v in self._planner.program.inputs if v in self._found.lists}
        found = {v: self._storage_of(v) for v, shape in known.items() if shape.dtype is not None}
        self.storage.update(found)
        return found

    def handed_over(self, value: Value) -> Value:
        """A list as Python has it."""
        if value not in self._handed_over:
            builder, found = self._planner.program.builder, self._found.lists[value]
            if value in self.storage:
                inputs = [self.storage[value].items, self.storage[value].meta]
                known = Items(found.dtype, found.row)
                if found.is_optional and value.spec.items is not None:
                    known = value.spec.items.of_shape(found.row)
                made = builder.add(ListOf, inputs, {"known": known}, [value.spec], value.node.op)
            else:
                made = builder.add(NoItems, (), {}, [value.spec], value.node.op)
            self._planner.roles[made] = Role.HOST
            self._found.reasons[made] = "a list is handed to NumPy"
            self._add(made, self.read(made, value) if value in self.storage else ())
            self._handed_over[value] = made.outputs[0]
        return self._handed_over[value]

    # ------------------------------------------------------------ versions, and who reads and changes them

    def read(self, node: Node, value: Value) -> list[Value]:
        """Notes that a node reads a list; gives the storage that it needs."""
        self.look_at(node, value)
        return [self.storage[value].items, self.storage[value].meta]

    def look_at(self, node: Node, value: Value) -> None:
        """Notes that a node reads a list, which may be one without storage."""
        self.follow(node, value)
        self._readers.setdefault(value, []).append(node)

    def follow(self, node: Node, value: Value) -> None:
        """Notes that a node comes behind those that make a list."""
        self._order(node, self._made.get(value, ()))

    def change(self, node: Node, before: Value, after: Value) -> None:
        """Notes that a node makes a version of a list of another."""
        self.storage[after] = self.storage[before]
        self._changed[before] = node
        self._made[after] = [node]

    def begin(self, node: Node, output: Value) -> list[Value]:
        """Gives a list that a node makes a storage of its own."""
        storage = self.storage[output] = self._storage_of(output)
        self._made[output] = [node]
        return [storage.items, storage.meta]

    def finish(self) -> None:
        """Puts whoever changes a list behind those who read it."""
        for value, node in self._changed.items():
            self._order(node, [r for r in self._readers.get(value, ()) if r is not node])

    def _order(self, node: Node, before: Sequence[Node]) -> None:
        self.orders.setdefault(node, []).extend(before)

    # ------------------------------------------------------------ storage

    def _storage_of(self, value: Value) -> Storage:
        """Another storage for what a list is known to be."""
        found = self._found.lists[value]
        return self.new_storage(value.node, Spec(found.dtype, (found.capacity, *found.row)))

    def new_storage(self, node: Node, rows: Spec) -> Storage:
        """A storage that a node makes for a list, and what is known of its rows."""
        items = self.room(node, rows)
        return Storage(items, self._new_meta(node, items))

    def room(self, node: Node, spec: Spec) -> Value:
        """Room that a node makes for values side by side."""
        return self._made_of(Rows, (), spec, node, Role.LIST)

    def _made_of(self, opdef: OpDef, inputs: Sequence[Value], spec: Spec, node: Node, role: Role) -> Value:
        """The output of a further node, in a storage of its own."""
        made = self._planner.program.builder.add(opdef, inputs, {}, [spec], node.op)
        value = made.outputs[0]
        assert spec.shape is not None
        self._planner.roles[made] = role
        self._planner.places[value] = Place(value, View.dense(spec.shape))
        return value

    def _new_meta(self, node: Node, items: Value) -> Value:
        """The lengths of a list whose rows are `items`."""
        assert items.shape is not None
        return self._made_of(Lengths, [items], Spec(dtypes.int64, (items.shape[0] + 1,)), node, Role.LIST)

    def _computed(self, opdef: OpDef, inputs: Sequence[Value], spec: Spec, node: Node) -> Value:
        value = self._made_of(opdef, inputs, spec, node, Role.ELEMENTWISE)
        self._planner.needs[value.node] = list(inputs)
        self._planner.nodes.append(value.node)
        self.kept.add(value)
        return value

    def _add(self, node: Node, needs: Sequence[Value]) -> None:
        self._planner.needs[node] = list(needs)
        self._planner.nodes.append(node)

    def computed(self) -> set[Value]:
        """The values that kernels put into storage of their own, for the time of one run of the region."""
        seated = {v for _, _, values, _ in self._seats.values() for v in values}
        return {v for n in self._planner.nodes for v in n.outputs} - seated - self.kept

    # ------------------------------------------------------------ where things lie

    def place(self, node: Node) -> None:
        """Places what a node of lists makes."""
        opdef = node.opdef
        if opdef in list_versions.FILLED:
            self._place_filled(node)
        elif node.outputs[0] in self._found.filled_first:
            self._place_zeros(node)
        elif opdef in list_versions.STACKS:
            self._place_stack(node)
        elif list_versions.is_optional(node):
            self.items[node.outputs[0]] = settled(self._planner, self._item(node.inputs[1]))
        elif node.inputs and node.inputs[0] in self._found.optional:
            self._give_item(node.outputs[1], self.items[node.inputs[0]])
        elif opdef in list_versions.WRITES or opdef in list_versions.POPS or opdef in list_versions.GETS:
            self._place_access(node)

    def _item(self, value: Value) -> Value:
        """What is kept for an item of a list."""
        return self.items.get(value, value)

    def _give_item(self, value: Value, item: Value) -> None:
        """Says where an item lies that was taken from a list."""
        if value.dtype is dtypes.variant:
            self.items[value] = item
        else:
            self._planner.places[value] = self._planner.places[item]

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
        self.follow(node, node.inputs[0])

    def _place_access(self, node: Node) -> None:
        items, opdef = node.inputs[0], node.opdef
        found, storage = self._found.lists[items], self.storage[items]
        if list_versions.start(items) in self._found.unread:
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
        elif opdef in list_versions.GETS and list_versions.start(items) not in self._found.written:
            seated = [node.outputs[0]]
            self._planner.places[seated[0]] = Place(seated[0], View.dense(found.row))
        elif opdef in list_versions.GETS or opdef in (lists.TensorListClearItem, lists.TensorListAdd):
            seated = [self.room(node, spec)]
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
        self.follow(node, items)
        if opdef in list_versions.GETS:
            self._readers.setdefault(items, []).extend(made)
        else:
            self._changed[items] = node
            self._made[node.outputs[0]] = made
            self.storage[node.outputs[0]] = storage
        self._seats[node] = _access(node, index, found.is_bounded), items, seated, index

    def keep(self, value: Value, storage: Storage, places: Mapping[Value, Place]) -> None:
        """Pushes a value on a list of its own: it is computed there, if it can be."""
        builder, spec = self._planner.program.builder, Spec(dtypes.variant, ())
        handle = builder.add(Rows, (), {}, [spec]).outputs[0]
        self.give(handle, storage, places)
        assert value.shape is not None and storage.items.shape is not None
        self._found.lists[handle] = list_buffers.Shape(value.dtype, value.shape, storage.items.shape[0], None)
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
        """The calls of a node of lists."""
        if node in self._lengths:
            value = self._lengths[node]
            is_set = value not in self._found.filled_first
            calls = [list_calls.begin(node.outputs[0], self._found.lists[value], is_set)]
            return calls if is_set else [*calls, lower.zeros_call(self.storage[value].items)]
        return self._seat_calls(node) if node in self._seats else []

    def _seat_calls(self, node: Node) -> list[Call]:
        access, items, seated, index = self._seats[node]
        storage, found = self.storage[items], self._found.lists[items]
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
        first = self._found.lists[items]
        if not found.is_bounded:
            return [list_calls.begin_unbounded(target, first.length or 0)]
        calls = [list_calls.begin(target.meta, replace(found, length=first.length), False)]
        if first.length != 0:
            calls.append(lower.zeros_call(target.items))
        return calls


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
