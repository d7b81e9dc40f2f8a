"""Ops on lists of tensors, an item at a time: push and pop, set and get.

The ops are closed under differentiation: pushing and popping, setting and getting are each other's adjoints. So are
those between lists and whole arrays (`list_arrays`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Region, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Items, Shape, Spec
from tahr.errors import Complaint
from tahr.ops import list_values
from tahr.ops.list_values import FewItems, TensorList

# What was tried with an index that is out of range, as in TensorFlow's messages.
READ = "read from index {} but array size is"
_WRITE = "write to index {} but array is not resizeable and size is"


def scalar(*_: Any, **__: Any) -> Shape:
    """The shape of every list."""
    return ()


# ---------------------------------------------------------------- what is known of items


def _no_items(*_: Spec, **__: Any) -> Items:
    return Items()


def same_items(items: Spec, *_: Any, **__: Any) -> Items | None:
    """What is known of the items, where they are like the first input's."""
    return items.items


def _popped_items(items: Spec, *_: Any, **__: Any) -> list[Items | None]:
    return [items.items, None if items.items is None else items.items.items]


def _item(spec: Spec) -> Items | None:
    return None if spec.dtype is None else Items(spec.dtype, spec.shape, spec.items)


def _with_item(items: Spec, item: Spec) -> Items | None:
    return shapes.join_items(items.items, _item(item))


def item_shape(items: Spec, declared: Shape) -> Shape:
    """The shape of a list's item; `declared` is what was said when the graph was built."""
    known = items.items.shape if items.items is not None else None
    return shapes.merge(declared, known) if shapes.compatible(declared, known) else declared


# ---------------------------------------------------------------- what is asked of items


def checked(items: TensorList, index: Array, what: str) -> int:
    """An index as an integer; `what` is one of the phrases above."""
    i = int(index)
    if not 0 <= i < len(items):
        raise Complaint(f"Tried to {what.format(i)}: {len(items)}")
    return i


def check_item(item: Any, index: int, element_shape: Shape) -> Any:
    """An item, whose shape must be as was said when the graph was built."""
    if not shapes.compatible(element_shape, item.shape):
        raise Complaint(
            f"TensorArray has inconsistent shapes. Expected shape: {shapes.show(element_shape)} but index {index} "
            f"has shape: {list(item.shape)}"
        )
    return item


def unwritten(index: int, element_shape: Shape) -> Complaint:
    """That an item was read which is not there, and whose zeros have no shape."""
    return Complaint(
        f"Could not read from TensorArray index {index}. Furthermore, the element shape is not fully defined: "
        f"{shapes.show(element_shape)}.",
        "write the item first, or give the TensorArray its full element_shape to read zeros",
    )


def written_already(index: int) -> Complaint:
    """That an item was written a second time, where that is not allowed."""
    return Complaint(f"Could not write to TensorArray index {index} because it has already been written to.")


def _or_zeros(item: Any, like: Any) -> Any:
    """A gradient's item: None stands for zero, which is never materialised."""
    return list_values.zeros_of(like) if item is None else item


# ---------------------------------------------------------------- empty and reserved lists

EmptyTensorList = OpDef("EmptyTensorList", "-> handle: variant", form=MOVEMENT).not_differentiable()
EmptyTensorList.shape(scalar)
EmptyTensorList.items(_no_items)


@EmptyTensorList.kernel
def _empty_kernel() -> TensorList:
    return TensorList([])


TensorListReserve = OpDef(
    "TensorListReserve", "num_elements: int32 -> handle: variant", form=MOVEMENT
).not_differentiable()
TensorListReserve.shape(scalar)
TensorListReserve.items(_no_items)


@TensorListReserve.kernel
def _reserve_kernel(num_elements: Array) -> TensorList:
    return TensorList([None] * int(num_elements))


TensorListLength = OpDef("TensorListLength", "input_handle: variant -> length: int32").not_differentiable()
TensorListLength.shape(scalar)


@TensorListLength.kernel
def _length_kernel(items: TensorList) -> Array:
    return np.asarray(len(items), np.int32)


# ---------------------------------------------------------------- gradients of lists

TensorListZerosLike = OpDef(
    "TensorListZerosLike", "input_handle: variant -> output: variant"
).not_differentiable()
TensorListZerosLike.shape(scalar)
TensorListZerosLike.items(same_items)
TensorListZerosLike.kernel(list_values.zeros_of)

TensorListAdd = OpDef("TensorListAdd", "a: variant, b: variant -> output: variant", aliases=(0, 1))
TensorListAdd.shape(scalar)
TensorListAdd.items(lambda a, b: shapes.join_items(a.items, b.items))
TensorListAdd.kernel(list_values.add)


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
TensorListPushBack.shape(scalar)
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
    return [(), item_shape(items, element_shape)]


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
    return item_shape(items, element_shape)


@TensorListGetItem.kernel
def _get_kernel(items: TensorList, index: Array, *, element_dtype: DType, element_shape: Shape) -> Any:
    i = checked(items, index, READ)
    item = items.get(i)
    if item is None:
        if shapes.is_static(element_shape):
            # As in TensorFlow, where the shape is known.
            return np.zeros(element_shape, element_dtype.numpy)  # pyright: ignore[reportArgumentType, reportCallIssue]
        raise unwritten(i, element_shape)
    return check_item(item, i, element_shape)


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
TensorListOneItem.shape(scalar)
TensorListOneItem.items(lambda items, index, item: _item(item))


@TensorListOneItem.kernel
def _one_item_kernel(items: TensorList, index: Array, item: Any) -> TensorList:
    return FewItems(len(items), {int(index): item})


@TensorListOneItem.gradient
def _one_item_gradient(op: Operation, dy: Tensor) -> tuple[None, None, Tensor]:
    return None, None, TensorListGetItemLike(dy, op.inputs[1], op.inputs[2])


TensorListSetItem = OpDef(
    "TensorListSetItem",
    "input_handle: variant, index: int32, item: element_dtype -> output_handle: variant",
    attrs={"resize_if_index_out_of_bounds": False, "write_once": False},
    aliases=(0, 2),
)
TensorListSetItem.shape(scalar)
TensorListSetItem.items(lambda items, index, item, **_: _with_item(items, item))


@TensorListSetItem.kernel
def _set_kernel(
    items: TensorList, index: Array, item: Any, *, resize_if_index_out_of_bounds: bool, write_once: bool
) -> TensorList:
    i = int(index)
    if resize_if_index_out_of_bounds and i >= 0:
        while len(items) <= i:
            items = items.push(None)
    i = checked(items, index, _WRITE)
    if write_once and items.get(i) is not None:
        raise written_already(i)
    return items.set(i, item)


@TensorListSetItem.gradient
def _set_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, Tensor]:
    _, index, item = op.inputs
    return TensorListClearItem(dy, index), None, TensorListGetItemLike(dy, index, item)


TensorListClearItem = OpDef(
    "TensorListClearItem", "input_handle: variant, index: int32 -> output_handle: variant", aliases=(0,)
)
TensorListClearItem.shape(scalar)
TensorListClearItem.items(same_items)


@TensorListClearItem.kernel
def _clear_kernel(items: TensorList, index: Array) -> TensorList:
    return items.set(int(index), None)


@TensorListClearItem.gradient
def _clear_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListClearItem(dy, op.inputs[1]), None
