"""The kernels of loop nests: which way each is written."""

from __future__ import annotations

from tahr.backends.native import combining, ir, kernel, scalars
from tahr.backends.native.blocks import BlockEmitter, across
from tahr.backends.native.epilogue import Segment
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.loops import Emitter
from tahr.backends.native.narrow_loops import NarrowEmitter
from tahr.backends.native.nests import Nest
from tahr.backends.native.products import mask
from tahr.backends.native.strips import StripEmitter, lies_in_strips
from tahr.backends.native.target import current
from tahr.backends.native.tiles import Loop
from tahr.backends.native.vector_groups import GroupEmitter
from tahr.backends.native.vector_loops import VectorEmitter, masks
from tahr.backends.native.vector_strips import VectorStripEmitter
from tahr.core.dtypes import DType

# Totals of so many columns are combined by one tile.
COMBINED = 1024


def compiled(nest: Nest, title: str) -> Loop:
    """The kernel of a nest. Its buffers: inputs in memory, stores, and partial results of reductions that leave."""
    turned = across(nest)
    if GroupEmitter.can_write(nest):
        return GroupEmitter(nest, title).emit()
    if lies_in_strips(nest):
        strips = VectorStripEmitter if VectorStripEmitter.can_write(nest) else StripEmitter
        return strips(nest, title).emit()
    if turned is not None:
        return BlockEmitter(turned, title).emit()
    if NarrowEmitter.can_write(nest):
        return NarrowEmitter(nest, title).emit()
    emitter = VectorEmitter if VectorEmitter.can_write(nest) else Emitter
    return emitter(nest, title).emit()


def combiner(combine: str, accumulator: DType, dtype: DType) -> Kernel:
    """The kernel that combines the partial results of tiles, in their order.

    Buffers: partial results [tiles, columns], result [columns]. Sizes: tiles, columns.

    Args:
        combine, accumulator, dtype: as in `nests.Reduce`.
    """
    f = kernel.function(plain=True)
    tiles, columns = kernel.sizes(f, 2)
    source, target = kernel.buffer(f, 0), kernel.buffer(f, 1)
    memory, out = ir.MEMORY[accumulator], ir.MEMORY[dtype]
    lanes = current().lanes(accumulator.size)

    def combine_columns(column: str, run: Segment) -> None:
        kind = scalars.kind(accumulator, run.width)
        total = f.variable(kind, run.load(f, accumulator, f.at(memory, source, column)))
        with f.loop(1, tiles, hint="tile") as tile:
            value = run.load(f, accumulator, f.at(memory, source, f.add(f.mul(tile, columns), column)))
            before = f.load(kind, total)
            f.store(kind, combining.combined(f, combine, accumulator, before, value, run.width), total)
        run.store(f, dtype, f.load(kind, total), f.at(out, target, column))

    start, stop = f.mul("%begin", COMBINED), f.minimum(f.mul("%end", COMBINED), columns)
    if masks(current()):
        with f.loop(start, stop, lanes, hint="column") as column:
            combine_columns(column, Segment(lanes, mask(f, lanes, f.sub(columns, column))))
    else:
        whole = f.sub(stop, f.rem(f.sub(stop, start), lanes))
        with f.loop(start, whole, lanes, hint="column") as column:
            combine_columns(column, Segment(lanes))
        with f.loop(whole, stop, hint="column") as column:
            combine_columns(column, Segment())
    return Kernel(AS_WRITTEN + f.finish() + "\n", 0, f"combine {combine} {dtype.name}")


def combiner_tiles(columns: int) -> int:
    """How many tiles a combiner has."""
    return max(1, -(-columns // COMBINED))
