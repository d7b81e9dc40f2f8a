"""The kernels of loop nests: which way each is written."""

from __future__ import annotations

import math

from tahr.backends.native import ir, kernel, loops, scalars
from tahr.backends.native.blocks import BlockEmitter, across
from tahr.backends.native.epilogue import Segment
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.loops import Emitter, Loop, NarrowEmitter
from tahr.backends.native.nests import Nest, Reduce
from tahr.backends.native.products import mask
from tahr.backends.native.strips import StripEmitter, lies_in_strips
from tahr.backends.native.target import current
from tahr.backends.native.vector_loops import VectorEmitter, masks
from tahr.core import scalar

# Totals of so many columns are combined by one tile.
COMBINED = 1024


def compiled(nest: Nest, title: str) -> Loop:
    """The kernel of a nest. Its buffers: inputs in memory, stores, and partial results of reductions that leave."""
    turned = across(nest)
    if lies_in_strips(nest):
        return StripEmitter(nest, title).emit()
    if turned is not None:
        return BlockEmitter(turned, title).emit()
    if _is_narrow(nest):
        return NarrowEmitter(nest, title).emit()
    emitter = VectorEmitter if VectorEmitter.can_write(nest) else Emitter
    return emitter(nest, title).emit()


def _is_narrow(nest: Nest) -> bool:
    """Whether there are so few columns that a loop over them is not worth having."""
    columns = [d for d in nest.columns if isinstance(d, int)]
    most = loops.NARROW if nest.reduces else loops.NARROW_WITHOUT_SUMS
    if not nest.rows or len(columns) < len(nest.columns) or math.prod(columns) > most:
        return False
    return len(scalar.ordered(nest.expressions)) * math.prod(columns) <= loops.MOST_UNROLLED


def combiner(reduce: Reduce) -> Kernel:
    """The kernel that combines the partial results of tiles, in their order.

    Buffers: partial results [tiles, columns], result [columns]. Sizes: tiles, columns.
    """
    f = kernel.function()
    tiles, columns = kernel.sizes(f, 2)
    source, target = kernel.buffer(f, 0), kernel.buffer(f, 1)
    dtype = reduce.accumulator
    width = current().lanes(dtype.size) if masks(current()) else None
    kind, memory, out = scalars.kind(dtype, width), ir.MEMORY[dtype], ir.MEMORY[reduce.dtype]
    total = f.variable(kind)
    stop = f.minimum(f.mul("%end", COMBINED), columns)
    with f.loop(f.mul("%begin", COMBINED), stop, width or 1, hint="column") as column:
        run = Segment(width, mask(f, width, f.sub(columns, column)) if width else None)
        f.store(kind, run.load(f, dtype, f.at(memory, source, column)), total)
        with f.loop(1, tiles, hint="tile") as tile:
            value = run.load(f, dtype, f.at(memory, source, f.add(f.mul(tile, columns), column)))
            f.store(kind, loops.combined(f, reduce.combine, dtype, f.load(kind, total), value, width), total)
        run.store(f, reduce.dtype, f.load(kind, total), f.at(out, target, column))
    return Kernel(AS_WRITTEN + f.finish() + "\n", 0, f"combine {reduce.combine} {reduce.dtype.name}")


def combiner_tiles(columns: int) -> int:
    """How many tiles a combiner has."""
    return max(1, -(-columns // COMBINED))
