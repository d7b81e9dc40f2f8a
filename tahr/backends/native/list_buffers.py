"""Lists of tensors as buffers: a row for each item, and beside them the length and which rows have been set.

An item that is read or written lies in its row; nothing is moved. A small kernel *seats* a value: it finds the row, and
puts its address into the run's table, where later steps find the value.

How many items there may be is known before a run, or has no bound. A list without one has memory of its own, with the
number of rows that there are at present before its length; a kernel that finds too few reports it (`growing.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tahr import errors
from tahr.backends.native import ir, kernel, records, single
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.walk import FULL, STATUS
from tahr.core import sizes
from tahr.core.dtypes import DType
from tahr.core.opdef import OpDef
from tahr.core.sizes import UNKNOWN, Dim
from tahr.program.node import Value

Rows = OpDef("_Rows", "-> y: T", register=False)
"""The storage of a list, or a row of it."""
Lengths = OpDef("_Lengths", "rows: T -> y: int64", register=False)
"""The length of a list, and which of its rows are set."""


@dataclass(frozen=True)
class Shape:
    """What the lists that one value may be have in common.

    Attributes:
        dtype: the items' dtype; None as long as there are none.
        row: the items' shape.
        capacity: how many items there may be; UNKNOWN where that has no bound.
        length: how many there are; None where that is known only when it runs.
        grows: whether an item may be set behind the end, which makes the list longer.
        is_optional: whether the items are lists themselves, of at most one item: the row is that item's.
    """

    dtype: DType | None
    row: tuple[Dim, ...]
    capacity: Dim
    length: Dim | None
    grows: bool = False
    is_optional: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether it is known how many items there may be."""
        return self.capacity is not UNKNOWN


@dataclass(frozen=True, eq=False)
class Storage:
    """Where a list lies.

    Attributes:
        items: [capacity, ...].
        meta: int64 [1 + capacity]: the length, and for each row 1 where it has been set.
    """

    items: Value
    meta: Value


@dataclass(frozen=True)
class Access:
    """How a seat finds its row, and what becomes of it.

    Attributes:
        end: "push" or "pop"; "" for an index.
        index: the index's dtype.
        marks: whether the row has been set afterwards; None where that stays.
        expects: whether it must have been set before; None where that does not matter.
        grows: whether it may lie behind the end, which makes the list longer.
        is_bounded: whether the capacity is a size; else it lies before the length.
    """

    end: str = ""
    index: DType | None = None
    marks: bool | None = None
    expects: bool | None = None
    grows: bool = False
    is_bounded: bool = True


def is_unbounded(storage: Value) -> bool:
    """Whether a storage is that of the rows or the lengths of a list without a bound."""
    return storage.node.opdef in (Rows, Lengths) and (storage.shape or (0,))[0] is UNKNOWN


def row_bytes(items: Value, known: Mapping[str, int]) -> int:
    """The bytes of a row of a list's storage."""
    assert items.shape is not None and items.dtype is not None
    return math.prod(sizes.evaluate(d, known) for d in items.shape[1:]) * items.dtype.size  # pyright: ignore[reportArgumentType]


def seat(access: Access) -> Kernel:
    """The kernel of a seat.

    Buffers: status, meta, items, the index if there is one, then the places of the table that lead to the value.
    Sizes: bytes of a row, capacity, how many such places there are, and the value's offset in bytes in each.
    """
    f = kernel.function()
    status, meta, items = (kernel.buffer(f, i) for i in range(3))
    row, capacity, doors = kernel.sizes(f, 3)
    if not access.is_bounded:
        capacity = _capacity(f, meta)
    length = f.load(ir.I64, meta)
    first_door = 3
    if access.end == "push":
        i = length
        is_bad = f.value(f"icmp sge i64 {i}, {capacity}")
    elif access.end == "pop":
        i = f.sub(length, 1)
        is_bad = f.value(f"icmp slt i64 {i}, 0")
    else:
        assert access.index is not None
        i = single.load_index(f, access.index, kernel.buffer(f, 3), "0")
        is_bad = f.value(f"icmp uge i64 {i}, {capacity if access.grows else length}")
        first_door = 4
    with f.either(is_bad) as branches:
        if access.is_bounded or not (access.grows or access.end == "push"):
            single.report(f, status)
        else:
            _report_full(f, status, i)
        branches.otherwise()
        if access.grows:
            with f.when(f.value(f"icmp sge i64 {i}, {length}")):
                _clear(f, meta, items, length, f.add(i, 1), row)
        flag = f.at(ir.I64, meta, f.add(i, 1))
        if access.expects is not None:
            wrong = f"icmp {'eq' if access.expects else 'ne'} i64 {f.load(ir.I64, flag)}, 0"
            with f.when(f.value(wrong)):
                single.report(f, status)
        if access.marks is not None:
            f.store(ir.I64, str(int(access.marks)), flag)
        if access.grows:
            f.store(ir.I64, f.maximum(length, f.add(i, 1)), meta)
        if access.end:
            f.store(ir.I64, f.add(i, 1) if access.end == "push" else i, meta)
        start = f.at(ir.I8, items, f.mul(i, row))
        with f.loop(0, doors, hint="door") as door:
            offset = f.load(ir.I64, f.at(ir.I64, "%sizes", f.add(door, 3)))
            place = f.load(ir.POINTER, f.at(ir.POINTER, "%buffers", f.add(door, first_door)))
            f.store(ir.POINTER, f.at(ir.I8, start, offset), place)
    return Kernel(kernel.AS_WRITTEN + f.finish(), 0, f"seat {access.end or 'at an index'}")


def begin() -> Kernel:
    """The kernel that writes a list's meta. Buffers: meta. Sizes: length, capacity, 1 where every row is set."""
    f = kernel.function()
    meta = kernel.buffer(f, 0)
    length, capacity, flag = kernel.sizes(f, 3)
    f.store(ir.I64, length, meta)
    with f.loop(1, f.add(capacity, 1)) as i:
        f.store(ir.I64, flag, f.at(ir.I64, meta, i))
    return Kernel(kernel.AS_WRITTEN + f.finish(), 0, "a list's length")


def begin_unbounded() -> Kernel:
    """The kernel with which a list without a bound begins: zeros that nobody set.

    Buffers: status, meta, items. Sizes: length, bytes of a row.
    """
    f = kernel.function()
    status, meta, items = (kernel.buffer(f, i) for i in range(3))
    length, row = kernel.sizes(f, 2)
    with f.either(f.value(f"icmp sgt i64 {length}, {_capacity(f, meta)}")) as branches:
        _report_full(f, status, f.sub(length, 1))
        branches.otherwise()
        f.store(ir.I64, length, meta)
        _clear(f, meta, items, "0", length, row)
    return Kernel(kernel.AS_WRITTEN + f.finish(), 0, "a list's length")


def bring() -> Kernel:
    """The kernel that copies a list to one without a bound.

    Buffers: status, meta, items, meta and items of what is copied. Sizes: bytes of a row.
    """
    f = kernel.function()
    status, meta, items, from_meta, from_items = (kernel.buffer(f, i) for i in range(5))
    (row,) = kernel.sizes(f, 1)
    length = f.load(ir.I64, from_meta)
    with f.either(f.value(f"icmp sgt i64 {length}, {_capacity(f, meta)}")) as branches:
        _report_full(f, status, f.sub(length, 1))
        branches.otherwise()
        for to, from_, count in (
            (meta, from_meta, f.mul(f.add(length, 1), 8)),
            (items, from_items, f.mul(length, row)),
        ):
            f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {from_}, i64 {count}, i1 false)")
    return Kernel(kernel.AS_WRITTEN + f.finish(), 0, "a list's copy")


def _capacity(f: ir.Function, meta: str) -> str:
    """For how many rows there is room at present in a list without a bound."""
    return f.load(ir.I64, f.at(ir.I64, meta, -1))


def _report_full(f: ir.Function, status: str, i: str) -> None:
    """Says in the status block that there is no room for row i; or, if that is negative, that there is none such."""
    is_valid = f.value(f"icmp sge i64 {i}, 0")
    code = f.value(f"select i1 {is_valid}, i64 {FULL}, i64 {errors.INVALID_ARGUMENT}")
    records.put(f, STATUS, "detail", status, i)
    records.put(f, STATUS, "code", status, code)


def _clear(f: ir.Function, meta: str, items: str, first: str, end: str, row: str) -> None:
    """Fills some rows with zeros that nobody set."""
    count = f.sub(end, first)
    flags = f.at(ir.I64, meta, f.add(first, 1))
    rows = f.at(ir.I8, items, f.mul(first, row))
    for start, bytes_ in ((flags, f.mul(count, 8)), (rows, f.mul(count, row))):
        f.do(f"call void @llvm.memset.p0.i64(ptr {start}, i8 0, i64 {bytes_}, i1 false)")


def is_as_long() -> Kernel:
    """The kernel that tells how long a list is. Buffers: meta, a bool. Sizes: it has more items than, and at most."""
    f = kernel.function()
    meta, flag = (kernel.buffer(f, i) for i in range(2))
    least, most = kernel.sizes(f, 2)
    length = f.load(ir.I64, meta)
    is_more, is_at_most = (
        f.value(f"icmp {c}") for c in (f"sgt i64 {length}, {least}", f"sle i64 {length}, {most}")
    )
    both = f.value(f"and i1 {is_more}, {is_at_most}")
    f.store(ir.I8, f.value(f"zext i1 {both} to i8"), flag)
    return Kernel(kernel.AS_WRITTEN + f.finish(), 0, "how long a list is")


def clear_rest() -> Kernel:
    """The kernel that clears the rows behind a list's end. Buffers: meta, items. Sizes: bytes of a row, capacity."""
    f = kernel.function()
    meta, items = (kernel.buffer(f, i) for i in range(2))
    row, capacity = kernel.sizes(f, 2)
    length = f.load(ir.I64, meta)
    rest = f.mul(f.sub(capacity, length), row)
    end = f.at(ir.I8, items, f.mul(length, row))
    f.do(f"call void @llvm.memset.p0.i64(ptr {end}, i8 0, i64 {rest}, i1 false)")
    return Kernel(kernel.AS_WRITTEN + f.finish(), 0, "zeros behind a list's end")
