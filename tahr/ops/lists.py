"""Lists of tensors as values: what loops accumulate, and what a TensorArray is.

A list is immutable, as every value in a graph is, and yet appending to the newest version or changing one of its items
takes constant time: the newest version owns the items, and older versions remember how to get back (after H. G. Baker,
"Shallow binding makes functional arrays fast", 1991; but here an older version that is used again gets a copy, so that
two lists which grew from one do not take the items from each other at every step).

The ops are closed under differentiation: pushing and popping, setting and getting, stacking and unstacking are each
other's adjoints. In the gradient of a list an item that is None stands for zero.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Region, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Items, Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint


class TensorList:
    """One version of a persistent list.

    Attributes:
        shape: (), as every list is a scalar of dtype variant.
        dtype: object.
    """

    __slots__ = ("_items", "_lock", "_newer", "_undo")

    shape = ()
    ndim = 0
    dtype = np.dtype(object)

    def __init__(self, items: list[Any], lock: threading.Lock | None = None) -> None:
        self._items: list[Any] | None = items
        self._newer: TensorList | None = None
        self._undo: tuple[str, int, Any] = ("", 0, None)
        self._lock = lock or threading.Lock()

    def _own(self) -> list[Any]:
        """The items of this version; an older one gets a copy of its own when it is asked for them."""
        if self._items is None:
            changes: list[tuple[str, int, Any]] = []
            version = self
            while version._items is None:
                changes.append(version._undo)
                assert version._newer is not None
                version = version._newer
            items = list(version._items)
            for change in reversed(changes):
                _apply(items, change)
            self._items, self._newer = items, None
        return self._items

    def _succeed(self, change: tuple[str, int, Any]) -> TensorList:
        """The next version: it takes over the items, and this one remembers how to get back."""
        items = self._own()
        undo = _apply(items, change)
        successor = TensorList(items, self._lock)
        self._items, self._newer, self._undo = None, successor, undo
        return successor

    def items(self) -> list[Any]:
        """A copy of the items."""
        with self._lock:
            return list(self._own())

    def __len__(self) -> int:
        with self._lock:
            return len(self._own())

    def get(self, index: int) -> Any:
        """One item; None where it was never set."""
        with self._lock:
            return self._own()[index]

    def set(self, index: int, item: Any) -> TensorList:
        """The list with another item."""
        with self._lock:
            return self._succeed(("set", index, item))

    def push(self, item: Any) -> TensorList:
        """The list with one more item."""
        with self._lock:
            return self._succeed(("push", 0, item))

    def pop(self) -> tuple[TensorList, Any]:
        """The list without its last item, and that item."""
        with self._lock:
            item = self._own()[-1]
            return self._succeed(("pop", 0, None)), item


class StoredList(TensorList):
    """A list whose items lie side by side in one array, as native code leaves them.

    Attributes:
        rows: the items; there may be more rows than items.
        lengths: int64: how many items there are, and for each row 1 where it has been set.
        known: what holds of every item that it may have; of the sizes the integers count. Where items are lists
            themselves, a row is what lies in such a list, or there is none and nobody asks for it.
    """

    __slots__ = ("known", "lengths", "rows")

    def __init__(self, rows: Array, lengths: Array, known: Items) -> None:
        super().__init__([])
        self._items = None  # made when Python asks for them
        self.rows, self.lengths, self.known = rows, lengths, known

    def _own(self) -> list[Any]:
        if self._items is None and self._newer is None:
            length, *is_set = self.lengths.tolist()
            self._items = [_wrapped(self.rows[i], self.known) if is_set[i] else None for i in range(length)]
        return super()._own()

    def __len__(self) -> int:
        return int(self.lengths[0])

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of the items, or of what lies in them."""
        return self.rows.shape[1:]


def _wrapped(row: Any, known: Items) -> Any:
    """An item of which a row is known."""
    return np.asarray(row) if known.items is None else TensorList([_wrapped(row, known.items)])


class _FewItems(TensorList):
    """A list of which few items are set: what reading a list gives for its gradient.

    A loop that reads a list adds one of these in each iteration of its gradient; that must not take the time of a walk
    through the whole list.
    """

    __slots__ = ("_length", "few")

    def __init__(self, length: int, few: dict[int, Any]) -> None:
        super().__init__([])
        self._items = None  # made when something else than a sum is asked for
        self._length = length
        self.few = few

    def _own(self) -> list[Any]:
        if self._items is None and self._newer is None:
            self._items = [self.few.get(i) for i in range(self._length)]
        return super()._own()

    def __len__(self) -> int:
        return self._length


def _apply(items: list[Any], change: tuple[str, int, Any]) -> tuple[str, int, Any]:
    """Changes the items and returns the change that takes it back."""
    kind, index, item = change
    if kind == "push":
        items.append(item)
        return ("pop", 0, None)
    if kind == "pop":
        return ("push", 0, items.pop())
    old = items[index]
    items[index] = item
    return ("set", index, old)


# What was tried with an index that is out of range, as in TensorFlow's messages.
_READ = "read from index {} but array size is"
_WRITE = "write to index {} but array is not resizeable and size is"

# As the number of elements of a list: whatever it is.
_ANY = -1


def _scalar(*_: Any, **__: Any) -> Shape:
    return ()


# ---------------------------------------------------------------- what is known of items


def _no_items(*_: Spec, **__: Any) -> Items:
    return Items()


def _same_items(items: Spec, *_: Any, **__: Any) -> Items | None:
    return items.items


def _popped_items(items: Spec, *_: Any, **__: Any) -> list[Items | None]:
    return [items.items, None if items.items is None else items.items.items]


def _item(spec: Spec) -> Items | None:
    return None if spec.dtype is None else Items(spec.dtype, spec.shape, spec.items)


def _rows_of(spec: Spec) -> Items | None:
    return None if spec.dtype is None or not spec.shape else Items(spec.dtype, spec.shape[1:])


def _with_item(items: Spec, item: Spec) -> Items | None:
    return shapes.join_items(items.items, _item(item))


def _item_shape(items: Spec, declared: Shape) -> Shape:
    """The shape of a list's item; `declared` is what was said when the graph was built."""
    known = items.items.shape if items.items is not None else None
    return shapes.merge(declared, known) if shapes.compatible(declared, known) else declared


def _checked(items: TensorList, index: Array, what: str) -> int:
    """An index as an integer; `what` is one of the phrases above."""
    i = int(index)
    if not 0 <= i < len(items):
        raise Complaint(f"Tried to {what.format(i)}: {len(items)}")
    return i


def _check_count(items: TensorList, num_elements: Array) -> None:
    """Whether the list is as long as was said when the graph was built; -1 says nothing."""
    if 0 <= int(num_elements) != len(items):
        raise Complaint(
            f"Operation expected a list with {int(num_elements)} elements but got a list with {len(items)} elements."
        )


def _count(num_elements: Spec) -> Dim:
    """The length of a list as far as it is known from the input that gives it."""
    if num_elements.value is None:
        return UNKNOWN
    count = num_elements.value.ravel()[0]
    return UNKNOWN if isinstance(count, int) and count < 0 else count


def _check_item(item: Any, index: int, element_shape: Shape) -> Any:
    """An item, whose shape must be as was said when the graph was built."""
    if not shapes.compatible(element_shape, item.shape):
        raise Complaint(
            f"TensorArray has inconsistent shapes. Expected shape: {shapes.show(element_shape)} but index {index} "
            f"has shape: {list(item.shape)}"
        )
    return item


def _unwritten(index: int, element_shape: Shape) -> Complaint:
    return Complaint(
        f"Could not read from TensorArray index {index}. Furthermore, the element shape is not fully defined: "
        f"{shapes.show(element_shape)}.",
        "write the item first, or give the TensorArray its full element_shape to read zeros",
    )


def _rows(tensor: Array) -> list[Array]:
    """The rows of a copy, as arrays even where they are scalars."""
    copy = tensor.copy()
    return [copy[i, ...] for i in range(len(copy))]


def _or_zeros(item: Any, like: Any) -> Any:
    """A gradient's item: None stands for zero, which is never materialised."""
    if item is not None:
        return item
    return zeros_of(like)


def zeros_of(value: Any) -> Any:
    """Zeros like a value; for a list, the list without items set."""
    if isinstance(value, TensorList):
        return TensorList([None] * len(value))
    return np.zeros(value.shape, value.dtype)


def _sum(a: Any, b: Any) -> Any:
    """The sum of two items of gradient lists."""
    if a is None or b is None:
        return a if b is None else b
    if isinstance(a, _FewItems) and isinstance(b, _FewItems):
        both = a.few | {i: _sum(a.few.get(i), item) for i, item in b.few.items()}
        return _FewItems(len(a), both)
    if isinstance(a, _FewItems):
        return _with_few(b, a)
    if isinstance(b, _FewItems):
        return _with_few(a, b)
    if isinstance(a, TensorList):
        return TensorList([_sum(x, y) for x, y in zip(a.items(), b.items())])
    return np.add(a, b)


def _with_few(items: TensorList, added: _FewItems) -> TensorList:
    for i, item in added.few.items():
        items = items.set(i, _sum(items.get(i), item))
    return items


# ---------------------------------------------------------------- empty and reserved lists

EmptyTensorList = OpDef("EmptyTensorList", "-> handle: variant", form=MOVEMENT).not_differentiable()
EmptyTensorList.shape(_scalar)
EmptyTensorList.items(_no_items)


@EmptyTensorList.kernel
def _empty_kernel() -> TensorList:
    return TensorList([])


TensorListReserve = OpDef(
    "TensorListReserve", "num_elements: int32 -> handle: variant", form=MOVEMENT
).not_differentiable()
TensorListReserve.shape(_scalar)
TensorListReserve.items(_no_items)


@TensorListReserve.kernel
def _reserve_kernel(num_elements: Array) -> TensorList:
    return TensorList([None] * int(num_elements))


TensorListLength = OpDef("TensorListLength", "input_handle: variant -> length: int32").not_differentiable()
TensorListLength.shape(_scalar)


@TensorListLength.kernel
def _length_kernel(items: TensorList) -> Array:
    return np.asarray(len(items), np.int32)


# ---------------------------------------------------------------- gradients of lists

TensorListZerosLike = OpDef(
    "TensorListZerosLike", "input_handle: variant -> output: variant"
).not_differentiable()
TensorListZerosLike.shape(_scalar)
TensorListZerosLike.items(_same_items)
TensorListZerosLike.kernel(zeros_of)

TensorListAdd = OpDef("TensorListAdd", "a: variant, b: variant -> output: variant", aliases=(0, 1))
TensorListAdd.shape(_scalar)
TensorListAdd.items(lambda a, b: shapes.join_items(a.items, b.items))
TensorListAdd.kernel(_sum)


@TensorListAdd.gradient
def _list_add_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    return dy, dy


def add_lists(values: Sequence[Tensor]) -> Tensor:
    """The item-wise sum of lists of equal length."""
    total = values[0]
    for value in values[1:]:
        total = TensorListAdd(total, value)
    return total


def zeros_like_list(value: Tensor) -> Tensor:
    """A list of as many items, all of them zero."""
    return TensorListZerosLike(value)


# ---------------------------------------------------------------- push and pop

TensorListPushBack = OpDef(
    "TensorListPushBack",
    "input_handle: variant, tensor: element_dtype -> output_handle: variant",
    aliases=(0, 1),
)
TensorListPushBack.shape(_scalar)
TensorListPushBack.items(_with_item)


@TensorListPushBack.kernel
def _push_kernel(items: TensorList, tensor: Any) -> TensorList:
    return items.push(tensor)


@TensorListPushBack.gradient
def _push_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor | None]:
    rest, item = TensorListPopBackLike(dy, op.inputs[1])
    return rest, item if _has_gradient(op.inputs[1]) else None


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.spec.dtype is None or tensor.spec.dtype.is_differentiable


def _item_gradient(d_item: Tensor | None) -> Any:
    """What stands in the gradient's list for an item that has no gradient, such as an integer."""
    return np.float32(0) if d_item is None else d_item


def _pop_shapes(items: Spec, *, element_dtype: DType, element_shape: Shape) -> list[Shape]:
    return [(), _item_shape(items, element_shape)]


TensorListPopBack = OpDef(
    "TensorListPopBack",
    "input_handle: variant -> output_handle: variant, tensor: element_dtype",
    attrs={"element_dtype": REQUIRED, "element_shape": REQUIRED},
    form=MOVEMENT,
    aliases=(0,),
)
TensorListPopBack.shape(_pop_shapes)
TensorListPopBack.items(_popped_items)


@TensorListPopBack.kernel
def _pop_kernel(items: TensorList, *, element_dtype: DType, element_shape: Shape) -> tuple[TensorList, Any]:
    if not len(items):
        raise Complaint("Trying to pop from an empty list.")
    return items.pop()


@TensorListPopBack.gradient
def _pop_gradient(op: Operation, d_rest: Tensor, d_item: Tensor | None) -> Tensor:
    return TensorListPushBack(d_rest, _item_gradient(d_item))


# As TensorListPopBack, from the gradient of a list, whose items may be None; `like` gives an item's shape.
TensorListPopBackLike = OpDef(
    "TensorListPopBackLike",
    "input_handle: variant, like: element_dtype -> output_handle: variant, tensor: element_dtype",
    aliases=(0,),
)


@TensorListPopBackLike.shape
def _pop_like_shape(items: Spec, like: Spec) -> list[Shape]:
    return [(), like.shape]


TensorListPopBackLike.items(_popped_items)


@TensorListPopBackLike.kernel
def _pop_like_kernel(items: TensorList, like: Any) -> tuple[TensorList, Any]:
    rest, item = items.pop()
    return rest, _or_zeros(item, like)


@TensorListPopBackLike.gradient
def _pop_like_gradient(op: Operation, d_rest: Tensor, d_item: Tensor | None) -> tuple[Tensor, None]:
    return TensorListPushBack(d_rest, _item_gradient(d_item)), None


# ---------------------------------------------------------------- get and set

TensorListGetItem = OpDef(
    "TensorListGetItem",
    "input_handle: variant, index: int32 -> item: element_dtype",
    attrs={"element_dtype": REQUIRED, "element_shape": None},
    aliases=(0,),
)


@TensorListGetItem.shape
def _get_shape(items: Spec, index: Spec, *, element_dtype: DType, element_shape: Shape) -> Shape:
    return _item_shape(items, element_shape)


@TensorListGetItem.kernel
def _get_kernel(items: TensorList, index: Array, *, element_dtype: DType, element_shape: Shape) -> Any:
    i = _checked(items, index, _READ)
    item = items.get(i)
    if item is None:
        if shapes.is_static(element_shape):
            # As in TensorFlow, where the shape is known.
            return np.zeros(element_shape, element_dtype.numpy)  # pyright: ignore[reportArgumentType, reportCallIssue]
        raise _unwritten(i, element_shape)
    return _check_item(item, i, element_shape)


@TensorListGetItem.gradient
def _get_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListOneItem(_as_long(op.inputs[0]), op.inputs[1], dy), None


def _as_long(items: Tensor) -> Tensor:
    """The first version of a list that surely has as many items: it may lie outside of the loops that change it."""
    while (before := _before(items)) is not None:
        items = before
    return items


def _before(items: Tensor) -> Tensor | None:
    """An earlier version of a list that has as many items; None where none is known."""
    op = items.op
    if op.type == "While":
        return op.inputs[items.value_index] if _keeps_length(op.attrs["body"], items.value_index) else None
    if op.type == "_Arg":
        region, loop = op.region, None if op.region is None else op.region.owner
        place = region.inputs.index(items) if region is not None else 0
        if region is None or loop is None or loop.type != "While" or not _keeps_length(region, place):
            return None
        return loop.inputs[place]
    is_same = op.opdef in (TensorListSetItem, TensorListClearItem, TensorListAdd) or op.type == "Identity"
    return op.inputs[0] if is_same and not op.attrs.get("resize_if_index_out_of_bounds") else None


def _keeps_length(body: Region, place: int) -> bool:
    """Whether a list that is a loop's variable is as long after an iteration as before it."""
    items: Tensor | None = body.outputs[place]
    while items is not None and items is not body.inputs[place]:
        items = _before(items) if items.op.region is body and items not in body.inputs else None
    return items is not None


TensorListGetItemLike = OpDef(
    "TensorListGetItemLike",
    "input_handle: variant, index: int32, like: element_dtype -> item: element_dtype",
    aliases=(0,),
)


@TensorListGetItemLike.shape
def _get_like_shape(items: Spec, index: Spec, like: Spec) -> Shape:
    return like.shape


@TensorListGetItemLike.kernel
def _get_like_kernel(items: TensorList, index: Array, like: Any) -> Any:
    return _or_zeros(items.get(int(index)), like)


@TensorListGetItemLike.gradient
def _get_like_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return TensorListOneItem(op.inputs[0], op.inputs[1], dy), None, None


# A list as long as another, of which one item is set: the adjoint of getting an item.
TensorListOneItem = OpDef(
    "TensorListOneItem",
    "input_handle: variant, index: int32, item: element_dtype -> output_handle: variant",
    aliases=(2,),
)
TensorListOneItem.shape(_scalar)
TensorListOneItem.items(lambda items, index, item: _item(item))


@TensorListOneItem.kernel
def _one_item_kernel(items: TensorList, index: Array, item: Any) -> TensorList:
    return _FewItems(len(items), {int(index): item})


@TensorListOneItem.gradient
def _one_item_gradient(op: Operation, dy: Tensor) -> tuple[None, None, Tensor]:
    return None, None, TensorListGetItemLike(dy, op.inputs[1], op.inputs[2])


TensorListSetItem = OpDef(
    "TensorListSetItem",
    "input_handle: variant, index: int32, item: element_dtype -> output_handle: variant",
    attrs={"resize_if_index_out_of_bounds": False, "write_once": False},
    aliases=(0, 2),
)
TensorListSetItem.shape(_scalar)
TensorListSetItem.items(lambda items, index, item, **_: _with_item(items, item))


@TensorListSetItem.kernel
def _set_kernel(
    items: TensorList, index: Array, item: Any, *, resize_if_index_out_of_bounds: bool, write_once: bool
) -> TensorList:
    i = int(index)
    if resize_if_index_out_of_bounds and i >= 0:
        while len(items) <= i:
            items = items.push(None)
    i = _checked(items, index, _WRITE)
    if write_once and items.get(i) is not None:
        raise _written_already(i)
    return items.set(i, item)


def _written_already(index: int) -> Complaint:
    return Complaint(f"Could not write to TensorArray index {index} because it has already been written to.")


@TensorListSetItem.gradient
def _set_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    _, index, item = op.inputs
    return TensorListClearItem(dy, index), None, TensorListGetItemLike(dy, index, item)


TensorListClearItem = OpDef(
    "TensorListClearItem", "input_handle: variant, index: int32 -> output_handle: variant", aliases=(0,)
)
TensorListClearItem.shape(_scalar)
TensorListClearItem.items(_same_items)


@TensorListClearItem.kernel
def _clear_kernel(items: TensorList, index: Array) -> TensorList:
    return items.set(int(index), None)


@TensorListClearItem.gradient
def _clear_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListClearItem(dy, op.inputs[1]), None


# ---------------------------------------------------------------- stack and unstack, gather and scatter

TensorListFromTensor = OpDef("TensorListFromTensor", "tensor: element_dtype -> output_handle: variant")


@TensorListFromTensor.shape
def _from_tensor_shape(tensor: Spec) -> Shape:
    if tensor.shape == ():
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    return ()


TensorListFromTensor.items(_rows_of)


@TensorListFromTensor.kernel
def _from_tensor_kernel(tensor: Array) -> TensorList:
    return TensorList(_rows(tensor))


@TensorListFromTensor.gradient
def _from_tensor_gradient(op: Operation, dy: Tensor) -> Tensor:
    return TensorListStackLike(dy, op.inputs[0])


TensorListStack = OpDef(
    "TensorListStack",
    "input_handle: variant, num_elements: int32 -> tensor: element_dtype",
    attrs={"element_dtype": REQUIRED, "element_shape": None},
)


@TensorListStack.shape
def _stack_shape(items: Spec, num_elements: Spec, *, element_dtype: DType, element_shape: Shape) -> Shape:
    shape = _item_shape(items, element_shape)
    return None if shape is None else (_count(num_elements), *shape)


@TensorListStack.kernel
def _stack_kernel(
    items: TensorList, num_elements: Array, *, element_dtype: DType, element_shape: Shape
) -> Array:
    _check_count(items, num_elements)
    return stacked(items.items(), element_dtype, element_shape)


@TensorListStack.gradient
def _stack_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListFromTensor(dy), None


def stacked(items: list[Any], dtype: DType, element_shape: Shape) -> Array:
    """The items as the rows of one array; items that were never set are zeros."""
    first = next((i for i, item in enumerate(items) if item is not None), None)
    if first is None:
        if not shapes.is_static(element_shape):
            raise Complaint(
                f"TensorArray has size {len(items)} and no item was written, but element shape "
                f"{shapes.show(element_shape)} is not fully defined.",
                "give the TensorArray its full element_shape",
            )
        return np.zeros((len(items), *element_shape), dtype.numpy)  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues, reportOptionalIterable]
    known = items[first]
    _check_item(known, first, element_shape)
    for i, item in enumerate(items):
        if item is not None and item.shape != known.shape:
            raise Complaint(
                f"TensorArray has inconsistent shapes. Index {first} has shape: {list(known.shape)} but index {i} "
                f"has shape: {list(item.shape)}"
            )
    result = np.zeros((len(items), *known.shape), dtype.numpy)
    for row, item in zip(range(len(items)), items):
        if item is not None:
            result[row, ...] = item
    return result


TensorListStackLike = OpDef(
    "TensorListStackLike", "input_handle: variant, like: element_dtype -> tensor: element_dtype"
)


@TensorListStackLike.shape
def _stack_like_shape(items: Spec, like: Spec) -> Shape:
    return like.shape


@TensorListStackLike.kernel
def _stack_like_kernel(items: TensorList, like: Array) -> Array:
    result = np.zeros(like.shape, like.dtype)
    for row, item in enumerate(items.items()):
        if item is not None:
            result[row, ...] = item
    return result


@TensorListStackLike.gradient
def _stack_like_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListFromTensor(dy), None


TensorListGather = OpDef(
    "TensorListGather",
    "input_handle: variant, indices: int32 -> values: element_dtype",
    attrs={"element_dtype": REQUIRED, "element_shape": None},
)


@TensorListGather.shape
def _gather_shape(items: Spec, indices: Spec, *, element_dtype: DType, element_shape: Shape) -> Shape:
    shape = _item_shape(items, element_shape)
    return None if shape is None else (shapes.dims(indices.shape, 1)[0], *shape)


@TensorListGather.kernel
def _gather_kernel(items: TensorList, indices: Array, *, element_dtype: DType, element_shape: Shape) -> Array:
    every = items.items()
    picked = [every[_checked(items, i, _READ)] for i in indices]
    if any(p is None for p in picked) and not shapes.is_static(element_shape):
        raise _unwritten(next(int(i) for i, p in zip(indices, picked) if p is None), element_shape)
    return stacked(picked, element_dtype, element_shape)


@TensorListGather.gradient
def _gather_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListScatterLike(op.inputs[0], op.inputs[1], dy), None


# Rows into the gradient of a list; rows with equal indices add up.
TensorListScatterLike = OpDef(
    "TensorListScatterLike",
    "input_handle: variant, indices: int32, tensor: element_dtype -> output_handle: variant",
)
TensorListScatterLike.shape(_scalar)
TensorListScatterLike.items(lambda items, indices, tensor: _rows_of(tensor))


@TensorListScatterLike.kernel
def _scatter_like_kernel(items: TensorList, indices: Array, tensor: Array) -> TensorList:
    result: list[Any] = [None] * len(items)
    for i, row in zip(indices.tolist(), _rows(tensor)):
        result[i] = _sum(result[i], row)
    return TensorList(result)


@TensorListScatterLike.gradient
def _scatter_like_gradient(op: Operation, dy: Tensor) -> tuple[None, None, Tensor]:
    return None, None, TensorListGatherLike(dy, op.inputs[1], op.inputs[2])


TensorListGatherLike = OpDef(
    "TensorListGatherLike",
    "input_handle: variant, indices: int32, like: element_dtype -> values: element_dtype",
)


@TensorListGatherLike.shape
def _gather_like_shape(items: Spec, indices: Spec, like: Spec) -> Shape:
    return like.shape


@TensorListGatherLike.kernel
def _gather_like_kernel(items: TensorList, indices: Array, like: Array) -> Array:
    every = items.items()
    result = np.zeros(like.shape, like.dtype)
    for row, i in enumerate(indices.tolist()):
        if every[i] is not None:
            result[row, ...] = every[i]
    return result


@TensorListGatherLike.gradient
def _gather_like_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return TensorListScatterLike(op.inputs[0], op.inputs[1], dy), None, None


TensorListScatter = OpDef(
    "TensorListScatterIntoExistingList",
    "input_handle: variant, tensor: element_dtype, indices: int32 -> output_handle: variant",
    attrs={"resize_if_index_out_of_bounds": False, "write_once": False},
    aliases=(0,),
)
TensorListScatter.shape(_scalar)


@TensorListScatter.items
def _scatter_items(items: Spec, tensor: Spec, indices: Spec, **_: Any) -> Items | None:
    return shapes.join_items(items.items, _rows_of(tensor))


@TensorListScatter.kernel
def _scatter_kernel(
    items: TensorList, tensor: Array, indices: Array, *, resize_if_index_out_of_bounds: bool, write_once: bool
) -> TensorList:
    if len(indices) != len(tensor):
        raise Complaint(
            f"Expected len(indices) == values.shape[0], but saw: {len(indices)} vs. {len(tensor)}"
        )
    result = items.items()
    highest = int(indices.max(initial=-1))
    if resize_if_index_out_of_bounds and highest >= len(result):
        result += [None] * (highest + 1 - len(result))
    for i, row in zip(indices.tolist(), _rows(tensor)):
        if not 0 <= i < len(result):
            raise Complaint(f"Max scatter index must be < array size ({i} vs. {len(result)})")
        if write_once and result[i] is not None:
            raise _written_already(i)
        result[i] = row
    return TensorList(result)


@TensorListScatter.gradient
def _scatter_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor, None]:
    _, tensor, indices = op.inputs
    return TensorListClearItems(dy, indices), TensorListGatherLike(dy, indices, tensor), None


TensorListClearItems = OpDef(
    "TensorListClearItems", "input_handle: variant, indices: int32 -> output_handle: variant", aliases=(0,)
)
TensorListClearItems.shape(_scalar)
TensorListClearItems.items(_same_items)


@TensorListClearItems.kernel
def _clear_items_kernel(items: TensorList, indices: Array) -> TensorList:
    for i in indices.tolist():
        items = items.set(i, None)
    return items


@TensorListClearItems.gradient
def _clear_items_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListClearItems(dy, op.inputs[1]), None


# ---------------------------------------------------------------- concat and split along the first axis

TensorListConcat = OpDef(
    "TensorListConcat",
    "input_handle: variant -> tensor: element_dtype, lengths: int64",
    attrs={"element_dtype": REQUIRED, "element_shape": None},
)


@TensorListConcat.shape
def _concat_shape(items: Spec, *, element_dtype: DType, element_shape: Shape) -> list[Shape]:
    return [None if element_shape is None else (UNKNOWN, *element_shape[1:]), (UNKNOWN,)]


@TensorListConcat.kernel
def _concat_kernel(items: TensorList, *, element_dtype: DType, element_shape: Shape) -> tuple[Array, Array]:
    parts = [p for p in items.items() if p is not None]
    for i, part in enumerate(parts):
        if not part.shape:
            raise Complaint(
                f"Concat saw a scalar shape at index {i} but requires at least vectors.  Did you mean to call pack?"
            )
    lengths = np.array([len(p) for p in parts], np.int64)
    if parts:
        return np.concatenate(parts), lengths
    rest = () if element_shape is None else element_shape[1:]
    if not shapes.is_static(rest):
        raise Complaint("Tried to concat elements of an empty list with unknown element_shape")
    return np.zeros((0, *rest), element_dtype.numpy), lengths  # pyright: ignore[reportArgumentType]


@TensorListConcat.gradient
def _concat_gradient(op: Operation, dy: Tensor, d_lengths: Tensor) -> Tensor:
    return TensorListSplit(dy, op.outputs[1], _ANY)


TensorListSplit = OpDef(
    "TensorListSplit",
    "tensor: element_dtype, lengths: int64, num_elements: int32 -> output_handle: variant",
)
TensorListSplit.shape(_scalar)


@TensorListSplit.kernel
def _split_kernel(tensor: Array, lengths: Array, num_elements: Array) -> TensorList:
    if 0 <= int(num_elements) != len(lengths):
        raise Complaint(
            f"TensorArray's size is not equal to the size of lengths ({int(num_elements)} vs. {len(lengths)}), and "
            "the TensorArray is not marked as dynamically resizeable"
        )
    if int(lengths.sum()) != len(tensor):
        raise Complaint(
            f"Expected sum of lengths to be equal to values.shape[0], but sum of lengths is {int(lengths.sum())} "
            f"and value's shape is: {list(tensor.shape)}"
        )
    return TensorList(
        [np.array(part) for part in np.split(tensor, np.cumsum(lengths)[:-1])] if len(lengths) else []
    )


@TensorListSplit.gradient
def _split_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return TensorListConcatLike(dy, op.inputs[0], op.inputs[1]), None, None


TensorListConcatLike = OpDef(
    "TensorListConcatLike",
    "input_handle: variant, like: element_dtype, lengths: int64 -> tensor: element_dtype",
)


@TensorListConcatLike.shape
def _concat_like_shape(items: Spec, like: Spec, lengths: Spec) -> Shape:
    return like.shape


@TensorListConcatLike.kernel
def _concat_like_kernel(items: TensorList, like: Array, lengths: Array) -> Array:
    result = np.zeros(like.shape, like.dtype)
    start = 0
    for length, item in zip(lengths.tolist(), items.items()):
        if item is not None:
            result[start : start + length] = item
        start += length
    return result


@TensorListConcatLike.gradient
def _concat_like_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return TensorListSplit(dy, op.inputs[2], _ANY), None, None
