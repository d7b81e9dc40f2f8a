"""Ops between lists of tensors and whole arrays: stack and unstack, gather and scatter, concat and split.

They are each other's adjoints, as those on items are (`lists`), so the gradient of a TensorArray is made of these.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.dtypes import DType
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Items, Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops import list_values
from tahr.ops.list_values import TensorList
from tahr.ops.lists import (
    READ,
    check_item,
    checked,
    item_shape,
    same_items,
    scalar,
    unwritten,
    written_already,
)

# As the number of elements of a list: whatever it is.
_ANY = -1


# ---------------------------------------------------------------- rows and items


def _rows_of(spec: Spec) -> Items | None:
    return None if spec.dtype is None or not spec.shape else Items(spec.dtype, spec.shape[1:])


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


def _rows(tensor: Array) -> list[Array]:
    """The rows of a copy, as arrays even where they are scalars."""
    copy = tensor.copy()
    return [copy[i, ...] for i in range(len(copy))]


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
    shape = item_shape(items, element_shape)
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
    check_item(known, first, element_shape)
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
    shape = item_shape(items, element_shape)
    return None if shape is None else (shapes.dims(indices.shape, 1)[0], *shape)


@TensorListGather.kernel
def _gather_kernel(items: TensorList, indices: Array, *, element_dtype: DType, element_shape: Shape) -> Array:
    every = items.items()
    picked = [every[checked(items, i, READ)] for i in indices]
    if any(p is None for p in picked) and not shapes.is_static(element_shape):
        raise unwritten(next(int(i) for i, p in zip(indices, picked) if p is None), element_shape)
    return stacked(picked, element_dtype, element_shape)


@TensorListGather.gradient
def _gather_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return TensorListScatterLike(op.inputs[0], op.inputs[1], dy), None


# Rows into the gradient of a list; rows with equal indices add up.
TensorListScatterLike = OpDef(
    "TensorListScatterLike",
    "input_handle: variant, indices: int32, tensor: element_dtype -> output_handle: variant",
)
TensorListScatterLike.shape(scalar)
TensorListScatterLike.items(lambda items, indices, tensor: _rows_of(tensor))


@TensorListScatterLike.kernel
def _scatter_like_kernel(items: TensorList, indices: Array, tensor: Array) -> TensorList:
    result: list[Any] = [None] * len(items)
    for i, row in zip(indices.tolist(), _rows(tensor)):
        result[i] = list_values.add(result[i], row)
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
TensorListScatter.shape(scalar)


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
            raise written_already(i)
        result[i] = row
    return TensorList(result)


@TensorListScatter.gradient
def _scatter_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor, None]:
    _, tensor, indices = op.inputs
    return TensorListClearItems(dy, indices), TensorListGatherLike(dy, indices, tensor), None


TensorListClearItems = OpDef(
    "TensorListClearItems", "input_handle: variant, indices: int32 -> output_handle: variant", aliases=(0,)
)
TensorListClearItems.shape(scalar)
TensorListClearItems.items(same_items)


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
TensorListSplit.shape(scalar)


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
