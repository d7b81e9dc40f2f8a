"""What lies at positions that are data: `x[i]`, `x[:, t]` in a loop, `x[i, 2:5, j]`, or a block; and the adjoint.

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
from tahr.core import sizes
from tahr.core.dtypes import DType
from tahr.core.forms import Position
from tahr.core.sizes import Dim
from tahr.core.views import Selection, View
from tahr.program.node import Node, Value

_FIXED = 6
"""How many sizes come before those of positions and loops."""


def position(
    dtype: DType, indices: DType, positions: int, loops: int, has_rows: bool, is_adjoint: bool
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
        is_adjoint: whether the source is the part, and the target zero elsewhere.
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
            if is_adjoint:
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
    what = "adjoint of positions" if is_adjoint else "positions"
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


def _form(node: Node) -> Position:
    form = node.opdef.form
    assert isinstance(form, Position)
    return form


def _selection(node: Node) -> Selection | None:
    return _form(node).rule(*(v.spec for v in node.inputs), **node.attrs)


def _fits(node: Node) -> bool:
    if not single.are_plain(node, _data(node)):
        return False
    found = _selection(node)
    if found is None or not found.positions or not found.is_known:
        return False
    part = node.inputs[_form(node).source] if _form(node).is_adjoint else node.outputs[0]
    shape = part.shape or ()
    return len(shape) == len(found.view.shape) and all(map(sizes.surely_equal, shape, found.view.shape))


def _data(node: Node) -> Sequence[int]:
    return _form(node).source, _form(node).positions


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    found, form, output = _selection(node), _form(node), node.outputs[0]
    assert found is not None
    source, positions = (node.inputs[i] for i in _data(node))
    whole = (output if form.is_adjoint else source).shape
    assert whole is not None
    layout, dtype = _layout(whole, found.view), single.dtype_of(output)
    counts = len(found.positions), len(layout.loops)
    made = position(dtype, single.dtype_of(positions), *counts, layout.row != 1, form.is_adjoint)
    buffers = (single.place(places, source), single.place(places, positions), Ref(output), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        def exact(*dims: Dim) -> list[int]:
            return [sizes.evaluate(d, known) for d in dims]  # pyright: ignore[reportArgumentType]

        blocks, block, row, first = exact(layout.blocks, layout.block, layout.row, found.view.offset)
        loops = [exact(*loop) for loop in layout.loops]
        part_block = row * math.prod(count for count, _ in loops)
        tile, tiles = single.cut(blocks, (block if form.is_adjoint else part_block) * dtype.size)
        table = [tile, blocks, block, first, part_block, row]
        table += [size for p in found.positions for size in exact(*p)]
        table += [size for loop in loops for size in loop]
        return [Bind(made, buffers, single.bound(table, tiles))]

    return single.call(node, places, sorted(_data(node)), bind, raises=True)


POSITION = Single(_fits, _data, _call)
"""Positions that are data, among slices that are not, blocks that begin there, and the adjoints of both."""
