"""Which lists can be buffers, and what is known of them before a plan is made: the shape of their items, their length.

Lists are changed in place, so each version of a list may be changed by one node only; whoever else takes that version
reads it before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tahr.backends.native.bounds import Changes
from tahr.backends.native.list_buffers import Shape
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
from tahr.backends.native.region_programs import Found, Unfit, has_regions
from tahr.backends.native.single import is_plain
from tahr.core import dtypes, shapes, sizes
from tahr.core.forms import Iota
from tahr.core.opdef import known_value
from tahr.core.shapes import Items, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.ops import control_flow, list_arrays, lists
from tahr.program.node import Input, Node, Program, Value


class ListSearch:
    """The lists of a program, of which it finds out what is known.

    Args:
        program: a run's, or a region's.
        found: what is known so far: of the lists among its inputs. It gets what is found.
        fixed: the lists that may not be changed.
        is_region: whether the program is a region's.

    Attributes:
        users: the nodes that take each value.
    """

    def __init__(self, program: Program, found: Found, fixed: Collection[Value], is_region: bool) -> None:
        self._program = program
        self._result = found
        self._fixed = fixed
        self._is_region = is_region
        self._nodes = program.nodes()
        self.users: dict[Value, list[Node]] = {}
        for node in self._nodes:
            for value in node.inputs:
                self.users.setdefault(value, []).append(node)

    # ------------------------------------------------------------ what a node makes of its lists

    def look_at(self, node: Node) -> None:
        """Finds out what a node makes of lists; raises Unfit where they can be no buffers."""
        opdef = node.opdef
        if opdef in FRESH or opdef in FILLED:
            self.begin(node)
        elif opdef is lists.TensorListOneItem:
            if any(added(user) is not node for user in self.users.get(node.outputs[0], ())):
                raise Unfit("a list of one item is only added to others")
            self.known(node.inputs[0])
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

    def _unpacked(self, node: Node) -> None:
        """Takes out the item of a list of at most one."""
        spec = self._result.optional[node.inputs[0]]
        rest, item = node.outputs if node.opdef in POPS else (None, None)
        if rest is None or item is None or rest in self.users or rest in self._program.outputs:
            raise Unfit("a list of at most one item is only looked into")
        if item.dtype is dtypes.variant:
            self._result.optional[item] = spec
        elif not are_items(Items(spec.dtype, spec.shape), item.spec):
            raise Unfit("items of other shapes")

    def begin(self, node: Node) -> None:
        """Notes what is known of a list that a node makes of none."""
        opdef = node.opdef
        if opdef is lists.EmptyTensorList:
            found = Shape(None, (), 0, 0)
        elif opdef is lists.TensorListReserve:
            length = known_value(node.inputs[0].spec)
            if length is None or (isinstance(length[0], int) and length[0] < 0):
                raise Unfit("its length is data")
            found = self._filled_first(node, Shape(None, (), length[0], length[0]))
        elif opdef is lists.TensorListZerosLike:
            found = self.known(node.inputs[0])
            if found.length is None:
                raise Unfit("its length is data")
            found = self._filled_first(node, replace(found, capacity=found.length))
        else:
            found = self._filled(node)
        self._result.lists[node.outputs[0]] = found

    def _filled_first(self, node: Node, found: Shape) -> Shape:
        """What is known of a list without items, which has storage at once where no loop is the first to change it."""
        value = node.outputs[0]
        changes = self.changes(value)
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

    def _filled(self, node: Node) -> Shape:
        tensor = node.inputs[0]
        if node.opdef is list_arrays.TensorListScatter:
            tensor = node.inputs[1]
            empty = self.known(node.inputs[0])
            if node.inputs[0].node.opdef is not lists.TensorListReserve:
                raise Unfit("rows are scattered into a list that has some")
            if empty.length is None or not _is_count(node.inputs[2], empty.length):
                raise Unfit("rows are scattered to places that are data")
        spec = tensor.spec
        if not is_plain(spec) or not spec.shape:
            raise Unfit("the rows' shapes are data")
        return Shape(spec.dtype, spec.shape[1:], spec.shape[0], spec.shape[0])

    def _stack(self, node: Node) -> None:
        found = self.stored(node.inputs[0])
        shape = node.outputs[0].shape
        if (
            found.is_optional
            or found.dtype is None
            or found.length is None
            or self.changes(node.inputs[0])
            or not is_plain(node.outputs[0].spec)
        ):
            raise Unfit("the list's length is data, or it is changed later")
        if not shapes.surely_equal(shape, (found.length, *found.row)):
            raise Unfit("not the whole list")
        if node.opdef is list_arrays.TensorListGatherLike and not _is_count(node.inputs[1], found.length):
            raise Unfit("not the whole list in order")

    def _access(self, node: Node) -> None:
        items = node.inputs[0]
        found = self.stored(items)
        if node.opdef not in GETS:
            self.check_change(items)
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
        if found.dtype is None or (item is not None and not are_items(row, self._item_spec(item))):
            raise Unfit("items of other shapes")
        changed = node.outputs[0]
        if node.opdef not in GETS:
            is_longer = node.opdef is lists.TensorListPushBack or node.opdef in POPS
            self._result.lists[changed] = replace(found, length=None) if is_longer else found

    # ------------------------------------------------------------ what is known of a list

    def _item_spec(self, value: Value) -> Spec:
        """What is known of a value as an item of a list."""
        spec = self._result.optional.get(value, value.spec)
        if not is_plain(spec):
            raise Unfit("an item has no native form")
        return spec

    def known(self, value: Value) -> Shape:
        """What is known of a list; raises Unfit where that is the host's."""
        found = self._result.lists.get(value)
        if found is None:
            raise Unfit("its list is the host's")
        return found

    def stored(self, value: Value) -> Shape:
        """What is known of a list that has storage."""
        found = self.known(value)
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

    def changes(self, value: Value) -> list[Node]:
        """The nodes that change a version of a list."""
        return [
            node
            for node in self.users.get(value, ())
            if (node.opdef in (*WRITES, *POPS) and node.inputs[0] is value)
            or (has_regions(node) and any(value is previous(v) for v in node.outputs))
        ]

    def check_change(self, items: Value) -> None:
        """Raises Unfit where a version of a list must not be changed in place."""
        if len(self.changes(items)) != 1 or items in self._program.outputs:
            raise Unfit("two versions are made from one")
        if start(items) in self._fixed:
            raise Unfit("a list from outside is changed")

    # ------------------------------------------------------------ lists that others have, too

    def may_leave(self, value: Value) -> bool:
        """Whether a list may be handed to Python, or to the region around this one."""
        if value in self._fixed and not self._is_region:
            return True  # Python has it
        if self._is_region:
            return value in self._program.outputs and all(
                u in self._result.nodes for u in self.users.get(value, ())
            )
        found = self._result.lists.get(value)
        if value.node.opdef is lists.EmptyTensorList:
            return True  # Python makes it, too
        if found is None or any(n in self._result.nodes for n in self.changes(value)):
            return False
        return self._has_storage(value)

    def is_left_to(self, loop: Node, value: Value) -> bool:
        """Whether nobody but a loop needs a version of a list, which it may change where that lies."""
        return (
            len(self.users[value]) == 1
            and loop.inputs.count(value) == 1
            and value not in self._program.outputs
            and value.node.opdef not in FRESH
            and start(value) not in self._fixed
        )

    def as_variable(self, node: Node, index: int, trips: Dim | None, changes: Changes) -> Shape:
        """What is known of a list that is a loop's variable, given what an iteration does to it."""
        before = node.inputs[index]
        first, items = self.known(before), node.outputs[index].spec.items
        holds_lists = items is not None and items.dtype is dtypes.variant
        if holds_lists:
            items = Items(first.dtype, first.row) if first.is_optional else _innermost(items)
        if items is None or not is_plain(Spec(items.dtype, items.shape)) or items.shape is None:
            raise Unfit("the shapes of a list's items are data")
        capacity = first.capacity
        times = UNKNOWN if trips is None else trips
        # A list from around this region has room for all that is pushed in it, or set behind its end.
        has_room = self._is_region and start(before).node.opdef is Input and self.is_left_to(node, before)
        if changes.grows != 0 and not (has_room and first.grows):
            if changes.pushes != 0 or changes.pops or not (before.node.opdef in FRESH or first.length == 0):
                raise Unfit("a list grows in several ways")
            capacity = capacity + changes.grows * times
        if changes.pushes != 0 and not has_room:
            if changes.pops:
                raise Unfit("a list is pushed to and popped")
            capacity = capacity + changes.pushes * times
        return Shape(
            items.dtype,
            items.shape,
            capacity,
            first.length if changes == Changes() else None,
            changes.grows != 0,
            holds_lists,
        )


def lists_from_python(program: Program) -> dict[Value, Shape]:
    """What is known of the lists that an earlier stage left to Python."""
    found: dict[Value, Shape] = {}
    for value in program.inputs:
        items = value.spec.items
        if items is None:
            continue
        dtype, shape, _ = items.innermost
        if dtype is None:
            found[value] = Shape(None, (), 0, 0)
        elif shape is not None and is_plain(Spec(dtype, shape)):
            is_optional = items.items is not None
            found[value] = Shape(dtype, shape, UNKNOWN, None, is_optional=is_optional)
    return found


def _innermost(items: Items | None) -> Items | None:
    """What is known of what lies in lists of at most one item, which may be such lists themselves."""
    while items is not None and items.dtype is dtypes.variant:
        items = items.items
    return items


def handles_lists(node: Node) -> bool:
    """Whether a node takes or gives lists."""
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


def are_items(items: Items, spec: Spec) -> bool:
    """Whether items of a list surely have the dtype and shape of a value."""
    return items.dtype is spec.dtype and shapes.surely_equal(items.shape, spec.shape)


def _is_count(value: Value, count: Dim) -> bool:
    """Whether a value surely is 0, 1, ... count - 1."""
    constant = value.constant
    if constant is not None:
        return isinstance(count, int) and constant.tolist() == list(range(count))
    node = value.node
    if not isinstance(node.opdef.form, Iota) or len(node.inputs) != 3:
        return False
    first, last, step = (known_value(v.spec) for v in node.inputs)
    return first == [0] and step == [1] and last is not None and sizes.surely_equal(last[0], count)
