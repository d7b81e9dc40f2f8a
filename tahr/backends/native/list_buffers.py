"""Lists of tensors as buffers: a row for each item, and beside them the length and which rows have been set.

An item that is read or written lies in its row; nothing is moved. A small kernel *seats* a value: it finds the row, and
puts its address into the run's table, where later steps find the value.
"""

from __future__ import annotations

from dataclasses import dataclass

from tahr.backends.native import ir, kernel, single
from tahr.backends.native.kernel import Kernel
from tahr.core.dtypes import DType
from tahr.core.sizes import Dim
from tahr.program.node import Value


@dataclass(frozen=True)
class Shape:
    """What the lists that one value may be have in common.

    Attributes:
        dtype: the items' dtype; None as long as there are none.
        row: the items' shape.
        capacity: how many items there may be.
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
    """

    end: str = ""
    index: DType | None = None
    marks: bool | None = None
    expects: bool | None = None
    grows: bool = False


def seat(access: Access) -> Kernel:
    """The kernel of a seat.

    Buffers: status, meta, items, the index if there is one, then the places of the table that lead to the value.
    Sizes: bytes of a row, capacity, how many such places there are, and the value's offset in bytes in each.
    """
    f = kernel.function()
    status, meta, items = (kernel.buffer(f, i) for i in range(3))
    row, capacity, doors = kernel.sizes(f, 3)
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
        single.report(f, status)
        branches.otherwise()
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
