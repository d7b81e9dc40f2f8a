"""What lies at positions that are data: `x[i]`, `x[:, t]` in a loop, `x[i, 2:5, j]`, a block; the adjoint; writes.

The elements are those of a view that positions move. Its outermost dimension, where that is a whole one, are blocks
that tiles share; its innermost, where elements are neighbours, is a row that is copied at once; between them are loops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from tahr.backends.native import ir, kernel, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import shapes, sizes
from tahr.core.dtypes import DType
from tahr.core.forms import Position, PositionWrite
from tahr.core.shapes import Spec
from tahr.core.sizes import Dim
from tahr.core.views import Selection, View
from tahr.program.node import Node, Value

_FIXED = 6
"""How many sizes come before those of positions and loops."""


def position(
    dtype: DType,
    indices: DType,
    positions: int,
    loops: int,
    has_rows: bool,
    is_adjoint: bool,
    keeps_rest: bool = False,
) -> Kernel:
    """Copies what lies at positions of axes.

    Buffers: source, positions, target, status. Sizes: blocks in a tile, blocks, elements of the whole in a block, where
    in it the first one lies, elements of the part in a block, and in a row; for each position its place in the buffer,
    how many there could be, its stride, and what is added to a negative one; for each loop its count and stride.

    Args:
        dtype: of the elements.
        indices: of the positions.
        positions: how many there are.
        loops: how many lie between blocks and rows.
        has_rows: whether a row may have more than one element.
        is_adjoint: whether the source is the part, and the target the whole.
        keeps_rest: whether the target stays what it is elsewhere, instead of becoming zero.
    """
    f = kernel.function()
    source, given, target, status = (kernel.buffer(f, i) for i in range(4))
    tile, blocks, block, first, part_block, row = kernel.sizes(f, _FIXED)
    offset, is_valid = _moved(f, indices, given, first, positions)
    between = [_pair(f, _FIXED + 4 * positions + 2 * i) for i in range(loops)]
    memory, length = ir.MEMORY[dtype], row if has_rows else 1
    whole, part = (target, source) if is_adjoint else (source, target)
    with f.either(is_valid) as branches:
        with f.loop("%begin", "%end", hint="tile") as number:
            start = f.mul(number, tile)
            stop = f.minimum(f.add(start, tile), blocks)
            if is_adjoint and not keeps_rest:
                place, count = f.at(memory, target, f.mul(start, block)), f.mul(f.sub(stop, start), block)
                size = f.mul(count, dtype.size)
                f.do(f"call void @llvm.memset.p0.i64(ptr {place}, i8 0, i64 {size}, i1 false)")
            with f.loop(start, stop, hint="block") as i, ExitStack() as nest:
                at, alone = f.add(f.mul(i, block), offset), "0"
                for count, stride in between:
                    index = nest.enter_context(f.loop(0, count, hint="index"))
                    at = f.add(at, f.mul(index, stride))
                    alone = f.add(f.mul(alone, count), index)
                there = f.at(memory, whole, at)
                here = f.at(memory, part, f.add(f.mul(i, part_block), f.mul(alone, length)))
                single.copy_elements(f, dtype, *((there, here) if is_adjoint else (here, there)), length)
        branches.otherwise()
        single.report(f, status)
    what = "write to positions" if keeps_rest else "adjoint of positions" if is_adjoint else "positions"
    return Kernel(f.finish() + "\n", 0, f"{what} {dtype.name} by {indices.name}")


def _pair(f: ir.Function, where: int) -> tuple[str, str]:
    return kernel.size(f, where), kernel.size(f, where + 1)


def _moved(f: ir.Function, indices: DType, given: str, first: str, positions: int) -> tuple[str, str]:
    """Where the first element lies, and whether all positions are within bounds; else it lies nowhere."""
    offset, is_valid = first, "true"
    for number in range(positions):
        where, count, stride, from_end = (kernel.size(f, _FIXED + 4 * number + i) for i in range(4))
        index = single.load_index(f, indices, given, where)
        is_negative = f.value(f"icmp slt i64 {index}, 0")
        index = f.value(f"select i1 {is_negative}, i64 {f.add(index, from_end)}, i64 {index}")
        is_inside = f.value(f"icmp ult i64 {index}, {count}")
        is_valid = f.value(f"and i1 {is_valid}, {is_inside}")
        # Of an index that is far out the product is no number that counts.
        offset = f.value(f"add i64 {offset}, {f.value(f'mul i64 {index}, {stride}')}")
    return offset, is_valid


# ---------------------------------------------------------------- blocks, loops and rows


class _Layout(NamedTuple):
    """How the elements of a view are walked through.

    Attributes:
        blocks, block: how many blocks the whole has, and the elements of each.
        loops: counts and strides.
        row: the elements of a row.
    """

    blocks: Dim
    block: Dim
    loops: tuple[tuple[Dim, Dim], ...]
    row: Dim


def _layout(whole: Sequence[Dim], view: View) -> _Layout:
    total = math.prod(whole, start=1)
    dims = _merged(view)
    row: Dim = dims.pop()[0] if dims and dims[-1][1] == 1 else 1
    if dims and sizes.surely_equal(dims[0][0] * dims[0][1], total):
        return _Layout(*dims[0], tuple(dims[1:]), row)
    return _Layout(1, total, tuple(dims), row)


def _merged(view: View) -> list[tuple[Dim, Dim]]:
    """The sizes and strides of a view, where neighbours that one walk goes through are one."""
    dims: list[tuple[Dim, Dim]] = []
    for count, stride in zip(view.shape, view.strides):
        if count == 1:
            continue
        if dims and sizes.surely_equal(dims[-1][1], count * stride):
            count = dims.pop()[0] * count
        dims.append((count, stride))
    return dims


# ---------------------------------------------------------------- nodes


def _form(node: Node) -> Position | PositionWrite:
    form = node.opdef.form
    assert isinstance(form, (Position, PositionWrite))
    return form


def _is_adjoint(node: Node) -> bool:
    """Whether a node's source is the part, of its output or of a variable."""
    form = _form(node)
    return isinstance(form, PositionWrite) or form.is_adjoint


def _whole(node: Node) -> Spec:
    """What is known of that of which positions choose a part."""
    form, first = _form(node), node.inputs[0]
    if isinstance(form, PositionWrite):
        return Spec(first.node.attrs["dtype"], first.node.attrs.get("shape"))
    return node.outputs[0].spec if form.is_adjoint else node.inputs[form.source].spec


def _selection(node: Node) -> Selection | None:
    specs = [v.spec for v in node.inputs]
    if isinstance(_form(node), PositionWrite):
        specs[0] = _whole(node)
    return _form(node).rule(*specs, **node.attrs)


def _fits(node: Node) -> bool:
    form, whole = _form(node), _whole(node)
    specs = [node.inputs[i].spec for i in (form.source, form.positions)]
    if not all(map(single.is_plain, (whole, *specs))):
        return False
    found, is_write = _selection(node), isinstance(form, PositionWrite)
    if found is None or not found.is_known or not (found.positions or is_write):
        return False
    if not is_write and not single.is_plain(node.outputs[0].spec):
        return False
    part = specs[0] if _is_adjoint(node) else node.outputs[0].spec
    return shapes.surely_equal(part.shape, found.view.shape)


def _data(node: Node) -> Sequence[int]:
    """A variable that is written is read as well, as the rest of it stays."""
    form = _form(node)
    return (*node.opdef.effects.writes, form.source, form.positions)


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    found, form, whole = _selection(node), _form(node), _whole(node)
    assert found is not None and whole.shape is not None and whole.dtype is not None
    writes = node.opdef.effects.writes
    source, positions = (node.inputs[i] for i in (form.source, form.positions))
    layout, dtype, is_adjoint = _layout(whole.shape, found.view), whole.dtype, _is_adjoint(node)
    counts = len(found.positions), len(layout.loops)
    indices, has_rows = single.dtype_of(positions), layout.row != 1
    made = position(dtype, indices, *counts, has_rows, is_adjoint, keeps_rest=bool(writes))
    target = Ref(node.inputs[0] if writes else node.outputs[0])
    buffers = (single.place(places, source), single.place(places, positions), target, Ref(Status()))
    touches_all = is_adjoint and not writes

    def bind(known: Known) -> list[Bind]:
        def exact(*dims: Dim) -> list[int]:
            return [sizes.evaluate(d, known) for d in dims]  # pyright: ignore[reportArgumentType]

        blocks, block, row, first = exact(layout.blocks, layout.block, layout.row, found.view.offset)
        loops = [exact(*loop) for loop in layout.loops]
        part_block = row * math.prod(count for count, _ in loops)
        tile, tiles = single.cut(blocks, (block if touches_all else part_block) * dtype.size)
        table = [tile, blocks, block, first, part_block, row]
        table += [size for p in found.positions for size in exact(*p)]
        table += [size for loop in loops for size in loop]
        return [Bind(made, buffers, single.bound(table, tiles))]

    return single.call(node, places, sorted(_data(node)), bind, raises=bool(found.positions), writes=writes)


POSITION = Single(_fits, _data, _call)
"""Positions that are data, among slices that are not, blocks that begin there, the adjoints of both, and writes."""
