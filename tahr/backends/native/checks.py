"""Checks of elements."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tahr.backends.native import kernel, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core.dtypes import DType
from tahr.program.node import Node, Value


def finite(dtype: DType) -> Kernel:
    """Copies elements, and reports an infinite one or NaN.

    Buffers: source, target, status. Sizes: elements in a tile, elements.
    """
    f = kernel.function()
    source, target, status = (kernel.buffer(f, i) for i in range(3))
    tile, total = kernel.sizes(f, 2)
    kind, infinity = f"i{8 * dtype.size}", single.INFINITIES[dtype]
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        found = f.variable(kind, "0", "found")
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="element") as i:
            bits = f.load(kind, f.at(kind, source, i), dtype.size)
            f.store(kind, bits, f.at(kind, target, i), dtype.size)
            size = f.value(f"and {kind} {bits}, {(1 << 8 * dtype.size - 1) - 1}")
            is_wrong = f.value(f"icmp uge {kind} {size}, {infinity}")
            one = f.value(f"zext i1 {is_wrong} to {kind}")
            f.store(kind, f.value(f"or {kind} {f.load(kind, found)}, {one}"), found)
        with f.when(f.value(f"icmp ne {kind} {f.load(kind, found)}, 0")):
            single.report(f, status)
    return Kernel(f.finish() + "\n", 0, f"finite {dtype.name}")


def _fits(node: Node) -> bool:
    return single.are_plain(node, (0,)) and node.inputs[0].dtype in single.INFINITIES


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    x = node.inputs[0]
    dtype = single.dtype_of(x)
    made = finite(dtype)
    buffers = (single.place(places, x), Ref(node.outputs[0]), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        count = math.prod(single.exact(x, known))
        tile, tiles = single.cut(count, dtype.size)
        return [Bind(made, buffers, single.bound((tile, count), tiles))]

    return single.call(node, places, (0,), bind, raises=True)


FINITE = Single(_fits, lambda node: (0,), _call)
