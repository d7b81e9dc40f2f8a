"""The places of the elements that are not zero.

Numbers of elements are written one after the other, each where the next one belongs: behind it, if the element is not
zero, and else at the same place again. So there is nothing to predict. What indices they stand for is computed later,
in tiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tahr.backends.native import ir, kernel, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import dtypes
from tahr.core.dtypes import DType
from tahr.program.node import Node, Value


def numbers(dtype: DType) -> Kernel:
    """The numbers of the elements that are not zero, in one tile.

    Buffers: elements, int64 numbers [elements + 1], int32 how many there are. Sizes: elements.
    """
    f = kernel.function()
    source, target, total = (kernel.buffer(f, i) for i in range(3))
    count = kernel.size(f, 0)
    known = f.variable(ir.I64, "0", "known")
    memory = ir.MEMORY[dtype]
    with f.loop(0, count, hint="element") as i:
        at = f.load(ir.I64, known)
        f.store(ir.I64, i, f.at(ir.I64, target, at))
        element = f.load(memory, f.at(memory, source, i), align=dtype.size)
        counts = f.value(f"zext i1 {_is_not_zero(f, dtype, element)} to i64")
        f.store(ir.I64, f.add(at, counts), known)
    f.store(ir.I32, f.value(f"trunc i64 {f.load(ir.I64, known)} to i32"), total)
    return Kernel(f.finish() + "\n", 0, f"nonzero {dtype.name}")


def _is_not_zero(f: ir.Function, dtype: DType, element: str) -> str:
    memory = ir.MEMORY[dtype]
    if not dtype.is_floating:
        return f.value(f"icmp ne {memory} {element}, 0")
    kind = scalars.kind(dtype)
    return f.value(f"fcmp une {kind} {scalars.from_memory(f, dtype, element)}, {ir.number(0.0, kind)}")


def indices(rank: int) -> Kernel:
    """The indices of elements by their numbers, and zeros behind those that count.

    Buffers: int64 numbers, int32 how many count, int64 indices [elements, rank]. Sizes: elements in a tile, elements,
    the dimensions.
    """
    f = kernel.function()
    source, total, target = (kernel.buffer(f, i) for i in range(3))
    tile, height, *dims = kernel.sizes(f, 2 + rank)
    count = f.value(f"sext i32 {f.load(ir.I32, total)} to i64")
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        end = f.minimum(f.add(start, tile), height)
        with f.loop(start, f.minimum(end, count), hint="row") as i:
            rest = f.load(ir.I64, f.at(ir.I64, source, i))
            row = f.at(ir.I64, target, f.mul(i, rank))
            for axis in reversed(range(rank)):
                index = f.rem(rest, dims[axis]) if axis else rest
                f.store(ir.I64, index, f.at(ir.I64, row, axis))
                rest = f.div(rest, dims[axis]) if axis else rest
        first = f.minimum(f.maximum(start, count), end)
        size = f.mul(f.sub(end, first), 8 * rank)
        behind = f.at(ir.I64, target, f.mul(first, rank))
        f.do(f"call void @llvm.memset.p0.i64(ptr {behind}, i8 0, i64 {size}, i1 false)")
    return Kernel(f.finish() + "\n", 0, f"indices of rank {rank}")


def _fits(node: Node) -> bool:
    return single.are_plain(node, (0,))


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    x, (found, total) = node.inputs[0], node.outputs
    made, turned = numbers(single.dtype_of(x)), indices(len(x.dims))
    listed = Partial(found, dtypes.int64, "numbers")

    def bind(known: Known) -> list[Bind]:
        shape = single.exact(x, known)
        count = math.prod(shape)
        tile, tiles = single.cut(count, 8 * len(shape))
        return [
            Bind(made, (single.place(places, x), Ref(listed), Ref(total)), single.bound((count,), 1)),
            Bind(turned, (Ref(listed), Ref(total), Ref(found)), single.bound((tile, count, *shape), tiles)),
        ]

    return single.call(
        node, places, (0,), bind, partials=lambda known: {listed: math.prod(single.exact(x, known)) + 1}
    )


NONZERO = Single(_fits, lambda node: (0,), _call)
