"""The different elements of a vector, found with a table of those seen so far.

The table has a slot for twice as many elements as there are, or more. An element's slot follows from its bits; where
that is taken by another element, the next free one is its own (open addressing with linear probing; Knuth, volume 3,
section 6.4, algorithm L).
"""

from __future__ import annotations

from collections.abc import Mapping

from tahr.backends.native import ir, kernel, single
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import dtypes
from tahr.core.dtypes import DType
from tahr.program.node import Node, Value

# 2**64 divided by the golden ratio, odd: products with it spread over the upper bits (Knuth's multiplicative hashing).
_SPREAD = 0x9E3779B97F4A7C15


def distinct(dtype: DType, places: DType) -> Kernel:
    """Finds the different elements, in one tile. The first is repeated behind the last.

    Buffers: source, the different elements, the place of each among them (all [count]), int32 how many there are, the
    table: int32 [2**bits]. Sizes: count, bits.
    """
    f = kernel.function()
    source, found, numbers, total, table = (kernel.buffer(f, i) for i in range(5))
    count, bits = kernel.sizes(f, 2)
    slots = f.value(f"shl i64 1, {bits}")
    f.do(f"call void @llvm.memset.p0.i64(ptr {table}, i8 0, i64 {f.mul(slots, 4)}, i1 false)")
    memory, number_kind = ir.MEMORY[dtype], ir.MEMORY[places]
    known = f.variable(ir.I64, "0", "known")
    with f.loop(0, count, hint="element") as i:
        element = f.load(memory, f.at(memory, source, i), align=dtype.size)
        entry = f.at(ir.I32, table, slot(f, dtype, element, table, found, bits, slots))
        number = f.load(ir.I32, entry)
        with f.when(f.value(f"icmp eq i32 {number}, 0")):
            at = f.load(ir.I64, known)
            f.store(memory, element, f.at(memory, found, at), align=dtype.size)
            more = f.add(at, 1)
            f.store(ir.I64, more, known)
            f.store(ir.I32, f.value(f"trunc i64 {more} to i32"), entry)
        place = f.value(f"sub i32 {f.load(ir.I32, entry)}, 1")
        place = place if number_kind == ir.I32 else f.value(f"sext i32 {place} to i64")
        f.store(number_kind, place, f.at(number_kind, numbers, i), align=places.size)
    end = f.load(ir.I64, known)
    with f.loop(end, count, hint="rest") as i:
        first = f.load(memory, found, align=dtype.size)
        f.store(memory, first, f.at(memory, found, i), align=dtype.size)
    f.store(ir.I32, f.value(f"trunc i64 {end} to i32"), total)
    return Kernel(kernel.AS_WRITTEN + f.finish() + "\n", 0, f"distinct {dtype.name}")


def slot(f: ir.Function, dtype: DType, element: str, table: str, found: str, bits: str, slots: str) -> str:
    """The slot of an element: where it is, or the free one where it shall be.

    Args:
        table: int32 [slots], the number of the element that has each slot, from 1; 0 for a free slot.
        found: the elements.
        bits: the logarithm of the number of slots.
    """
    memory = ir.MEMORY[dtype]
    wide = element if memory == ir.I64 else f.value(f"zext {memory} {element} to i64")
    spread = f.value(f"mul i64 {wide}, {_SPREAD}")
    start = f.value(f"lshr i64 {spread}, {f.sub(64, bits)}")
    here = f.variable(ir.I64, start, "slot")
    probe, compare, following, done = (f.label(name) for name in ("probe", "compare", "following", "done"))
    f.jump(probe)
    f.open(probe)
    at = f.load(ir.I64, here)
    number = f.load(ir.I32, f.at(ir.I32, table, at))
    f.do(f"br i1 {f.value(f'icmp eq i32 {number}, 0')}, label %{done}, label %{compare}")
    f.open(compare)
    place = f.sub(f.value(f"zext i32 {number} to i64"), 1)
    other = f.load(memory, f.at(memory, found, place), align=dtype.size)
    f.do(f"br i1 {f.value(f'icmp eq {memory} {other}, {element}')}, label %{done}, label %{following}")
    f.open(following)
    f.store(ir.I64, f.value(f"and i64 {f.add(at, 1)}, {f.sub(slots, 1)}"), here)
    f.jump(probe)
    f.open(done)
    return f.load(ir.I64, here)


def _fits(node: Node) -> bool:
    return single.are_plain(node, (0,)) and single.dtype_of(node.inputs[0]).is_integer


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    x = node.inputs[0]
    made = distinct(single.dtype_of(x), single.dtype_of(node.outputs[1]))
    table = Partial(node.outputs[0], dtypes.int32, "table")
    buffers = (single.place(places, x), *(Ref(v) for v in node.outputs), Ref(table))

    def bits(known: Known) -> int:
        (count,) = single.exact(x, known)
        return max(1, (2 * count - 1).bit_length())

    def bind(known: Known) -> list[Bind]:
        return [Bind(made, buffers, single.bound((*single.exact(x, known), bits(known)), 1))]

    return single.call(node, places, (0,), bind, partials=lambda known: {table: 1 << bits(known)})


DISTINCT = Single(_fits, lambda node: (0,), _call)
