"""Samples of the list ops; lists are no arrays, so `tests/ops/test_lists.py` calls the kernels itself."""

from __future__ import annotations

from tests.ops.samples import Sample

_OPS = (
    "EmptyTensorList",
    "TensorListReserve",
    "TensorListLength",
    "TensorListZerosLike",
    "TensorListAdd",
    "TensorListPushBack",
    "TensorListPopBack",
    "TensorListPopBackLike",
    "TensorListGetItem",
    "TensorListGetItemLike",
    "TensorListOneItem",
    "TensorListSetItem",
    "TensorListClearItem",
    "TensorListFromTensor",
    "TensorListStack",
    "TensorListStackLike",
    "TensorListGather",
    "TensorListScatterLike",
    "TensorListGatherLike",
    "TensorListScatterIntoExistingList",
    "TensorListClearItems",
    "TensorListConcat",
    "TensorListSplit",
    "TensorListConcatLike",
)

SAMPLES = [Sample(op, "on lists", stateful="tests/ops/test_lists.py") for op in _OPS]
