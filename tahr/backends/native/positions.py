"""What lies at one position of an axis, where the position is data: `x[i]` or `x[:, t]` in a loop; and the adjoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tahr.backends.native import ir, kernel, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core.dtypes import DType
from tahr.core.opdef import Position
from tahr.program.node import Node, Value


def position(dtype: DType, indices: DType, is_adjoint: bool) -> Kernel:
    """Copies what lies at one position of an axis; a negative one counts from the end.

    Buffers: source, positions, target, status. Sizes: blocks in a tile, blocks (one for each choice of the dimensions
    before the axis), the axis's size, elements of what lies behind it, and where in `positions` the position is.
    """
    f = kernel.function()
    source, positions, target, status = (kernel.buffer(f, i) for i in range(4))
    tile, total, dim, length, where = kernel.sizes(f, 5)
    memory = ir.MEMORY[dtype]
    given = single.load_index(f, indices, positions, where)
    from_end = f.value(f"icmp slt i64 {given}, 0")
    index = f.value(f"select i1 {from_end}, i64 {f.add(given, dim)}, i64 {given}")
    with f.either(f.value(f"icmp ult i64 {index}, {dim}")) as branches:
        with f.loop("%begin", "%end", hint="tile") as number:
            start = f.mul(number, tile)
            with f.loop(start, f.minimum(f.add(start, tile), total), hint="block") as i:
                block = f.mul(i, f.mul(dim, length))
                inside = f.add(block, f.mul(index, length))
                whole, part = (target, source) if is_adjoint else (source, target)
                at, alone = f.at(memory, whole, inside), f.at(memory, part, f.mul(i, length))
                if is_adjoint:
                    size = f.mul(f.mul(dim, length), dtype.size)
                    first = f.at(memory, target, block)
                    f.do(f"call void @llvm.memset.p0.i64(ptr {first}, i8 0, i64 {size}, i1 false)")
                    single.copy_elements(f, dtype, at, alone, length)
                else:
                    single.copy_elements(f, dtype, alone, at, length)
        branches.otherwise()
        single.report(f, status)
    what = "adjoint of a position" if is_adjoint else "position"
    return Kernel(f.finish() + "\n", 0, f"{what} {dtype.name} by {indices.name}")


def _form(node: Node) -> Position:
    form = node.opdef.form
    assert isinstance(form, Position)
    return form


def _axis(node: Node) -> tuple[int, int] | None:
    return _form(node).rule(*(v.spec for v in node.inputs), **node.attrs)


def _fits(node: Node) -> bool:
    return single.are_plain(node, _data(node)) and _axis(node) is not None


def _data(node: Node) -> Sequence[int]:
    return _form(node).source, _form(node).positions


def _call(node: Node, places: Mapping[Value, Place]) -> Call:
    found, form, output = _axis(node), _form(node), node.outputs[0]
    assert found is not None
    axis, where = found
    source, positions = (node.inputs[i] for i in _data(node))
    dtype = single.dtype_of(output)
    made = position(dtype, single.dtype_of(positions), form.is_adjoint)
    buffers = (single.place(places, source), single.place(places, positions), Ref(output), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        shape = single.exact(output if form.is_adjoint else source, known)
        total, length = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        written = length * (shape[axis] if form.is_adjoint else 1)
        tile, tiles = single.cut(total, written * dtype.size)
        return [Bind(made, buffers, single.bound((tile, total, shape[axis], length, where), tiles))]

    return single.call(node, places, sorted(_data(node)), bind, raises=True)


POSITION = Single(_fits, _data, _call)
