"""How often integers occur: `tf.bincount`. Each tile counts in bins of its own, which are then added up."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tahr.backends.native import ir, kernel, single
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import dtypes
from tahr.core.dtypes import DType
from tahr.program.node import Node, Value

# A tile counts at least so many integers, and several times as many as there are bins: those are added up behind it.
_LEAST, _PER_BIN = 1 << 15, 8
_MOST_TILES = 16


def count(indices: DType) -> Kernel:
    """Counts integers; a tile has a stretch of them, and bins of its own.

    Buffers: integers, int64 bins [tiles, length], status. Sizes: how many integers, in a tile, and bins.
    """
    f = kernel.function()
    source, bins, status = (kernel.buffer(f, i) for i in range(3))
    total, stretch, length = kernel.sizes(f, 3)
    with f.loop("%begin", "%end", hint="tile") as tile:
        own = f.at(ir.I64, bins, f.mul(tile, length))
        f.do(f"call void @llvm.memset.p0.i64(ptr {own}, i8 0, i64 {f.mul(length, 8)}, i1 false)")
        start = f.mul(tile, stretch)
        with f.loop(start, f.minimum(f.add(start, stretch), total), hint="element") as i:
            index = single.load_index(f, indices, source, i)
            with f.either(f.value(f"icmp ult i64 {index}, {length}")) as branches:
                place = f.at(ir.I64, own, index)
                f.store(ir.I64, f.add(f.load(ir.I64, place), 1), place)
                branches.otherwise()
                with f.when(f.value(f"icmp slt i64 {index}, 0")):
                    single.report(f, status)
    return Kernel(kernel.AS_WRITTEN + f.finish() + "\n", 0, f"occurrences {indices.name}")


def add_up(dtype: DType) -> Kernel:
    """Adds up the bins of all tiles.

    Buffers: int64 bins [tiles, length], the sums [length]. Sizes: bins, in a tile of this kernel, and tiles of `count`.
    """
    f = kernel.function()
    bins, sums = kernel.buffer(f, 0), kernel.buffer(f, 1)
    length, stretch, tiles = kernel.sizes(f, 3)
    memory = ir.MEMORY[dtype]
    with f.loop("%begin", "%end", hint="tile") as tile:
        start = f.mul(tile, stretch)
        with f.loop(start, f.minimum(f.add(start, stretch), length), hint="bin") as i:
            found = f.variable(ir.I64, "0", "found")
            with f.loop(0, tiles, hint="part") as part:
                counted = f.load(ir.I64, f.at(ir.I64, bins, f.add(f.mul(part, length), i)))
                f.store(ir.I64, f.add(f.load(ir.I64, found), counted), found)
            f.store(memory, _converted(f, dtype, f.load(ir.I64, found)), f.at(memory, sums, i))
    return Kernel(kernel.AS_WRITTEN + f.finish() + "\n", 0, f"sums of occurrences {dtype.name}")


def _converted(f: ir.Function, dtype: DType, number: str) -> str:
    if dtype is dtypes.int64:
        return number
    return f.value(f"{'sitofp' if dtype.is_floating else 'trunc'} i64 {number} to {ir.MEMORY[dtype]}")


def _fits(node: Node) -> bool:
    return single.are_plain(node, (0,)) and node.inputs[2].shape == (0,)


def _tiles(total: int, length: int) -> tuple[int, int]:
    """How many integers a tile counts, and how many tiles there are."""
    tiles = min(_MOST_TILES, max(1, total // max(_LEAST, _PER_BIN * length)))
    return -(-total // tiles), tiles


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    source, output = node.inputs[0], node.outputs[0]
    dtype = single.dtype_of(output)
    made, behind = count(single.dtype_of(source)), add_up(dtype)
    bins = Partial(output, dtypes.int64, "bins")

    def cut(known: Known) -> tuple[int, int, int, int]:
        """How many integers there are, in a tile, tiles, and bins."""
        total, (length,) = math.prod(single.exact(source, known)), single.exact(output, known)
        return total, *_tiles(total, length), length

    def bind(known: Known) -> list[Bind]:
        total, stretch, tiles, length = cut(known)
        share, shares = single.cut(length, 8 * tiles)
        counting = single.bound((total, stretch, length), tiles)
        adding = single.bound((length, share, tiles), shares)
        given = single.place(places, source)
        return [
            Bind(made, (given, Ref(bins), Ref(Status())), counting),
            Bind(behind, (Ref(bins), Ref(output)), adding),
        ]

    def partials(known: Known) -> dict[Partial, int]:
        _, _, tiles, length = cut(known)
        return {bins: tiles * length}

    return single.call(node, places, (0,), bind, raises=True, partials=partials)


OCCURRENCES = Single(_fits, lambda node: (0,), _call)
