"""Copies of which the places depend on data or on the matrix: bands, diagonals, sequences reversed up to their ends."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tahr.backends.native import ir, kernel, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core.dtypes import DType
from tahr.core.forms import Reversal
from tahr.core.opdef import known_int
from tahr.program.node import Node, Value


def _copy(f: ir.Function, dtype: DType, target: str, source: str, count: str) -> None:
    single.copy_elements(f, dtype, target, source, count)


def _clear(f: ir.Function, dtype: DType, target: str, count: str) -> None:
    length = f.mul(count, dtype.size)
    f.do(f"call void @llvm.memset.p0.i64(ptr {target}, i8 0, i64 {length}, i1 false)")


# ---------------------------------------------------------------- bands


def band(dtype: DType) -> Kernel:
    """Matrices with zeros outside of a band around the diagonal.

    Buffers: source and target [matrices, rows, columns], status. Sizes: rows in a tile, rows of all matrices, rows,
    columns, diagonals kept below and above; negative for all.
    """
    f = kernel.function()
    source, target, status = (kernel.buffer(f, i) for i in range(3))
    tile, total, rows, columns, lower, upper = kernel.sizes(f, 6)
    memory = ir.MEMORY[dtype]
    for most, size in ((lower, rows), (upper, columns)):
        with f.when(f.value(f"icmp sgt i64 {most}, {size}")):
            single.report(f, status)

    def or_all(most: str, end: str, all_: str | int) -> str:
        return f.value(f"select i1 {f.value(f'icmp slt i64 {most}, 0')}, i64 {all_}, i64 {end}")

    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            i, base = f.rem(row, rows), f.mul(row, columns)
            left = f.minimum(or_all(lower, f.maximum(f.sub(i, lower), 0), 0), columns)
            right = f.minimum(or_all(upper, f.add(f.add(i, upper), 1), columns), columns)
            right = f.maximum(right, left)
            into = f.at(memory, target, base)
            _clear(f, dtype, into, left)
            _copy(
                f,
                dtype,
                f.at(memory, into, left),
                f.at(memory, source, f.add(base, left)),
                f.sub(right, left),
            )
            _clear(f, dtype, f.at(memory, into, right), f.sub(columns, right))
    return Kernel(f.finish() + "\n", 0, f"band {dtype.name}")


def _band_fits(node: Node) -> bool:
    return single.are_plain(node, (0,)) and all(known_int(v.spec) is not None for v in node.inputs[1:])


def _band_call(node: Node, places: Mapping[Value, Place]) -> Call:
    x = node.inputs[0]
    dtype = single.dtype_of(x)
    lower, upper = (known_int(v.spec) for v in node.inputs[1:])
    assert lower is not None and upper is not None
    made = band(dtype)
    buffers = (single.place(places, x), Ref(node.outputs[0]), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        *batch, rows, columns = single.exact(x, known)
        total = math.prod(batch) * rows
        tile, tiles = single.cut(total, columns * dtype.size)
        return [Bind(made, buffers, single.bound((tile, total, rows, columns, lower, upper), tiles))]

    return single.call(node, places, (0,), bind, raises=True)


BAND = Single(_band_fits, lambda node: (0,), _band_call)


# ---------------------------------------------------------------- diagonals


def with_diagonal(dtype: DType) -> Kernel:
    """Matrices with another main diagonal.

    Buffers: source [matrices, rows, columns], diagonals [matrices, length], target. Sizes: rows in a tile, rows of all
    matrices, rows, columns, length.
    """
    f = kernel.function()
    source, diagonals, target = (kernel.buffer(f, i) for i in range(3))
    tile, total, rows, columns, length = kernel.sizes(f, 5)
    memory = ir.MEMORY[dtype]
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as row:
            i, base = f.rem(row, rows), f.mul(row, columns)
            into = f.at(memory, target, base)
            _copy(f, dtype, into, f.at(memory, source, base), columns)
            with f.when(f.value(f"icmp slt i64 {i}, {length}")):
                place = f.add(f.mul(f.div(row, rows), length), i)
                single.copy_elements(f, dtype, f.at(memory, into, i), f.at(memory, diagonals, place), 1)
    return Kernel(f.finish() + "\n", 0, f"with diagonal {dtype.name}")


def _diagonal_fits(node: Node) -> bool:
    return single.are_plain(node, (0, 1))


def _diagonal_call(node: Node, places: Mapping[Value, Place]) -> Call:
    x = node.inputs[0]
    dtype = single.dtype_of(x)
    made = with_diagonal(dtype)
    buffers = (*(single.place(places, v) for v in node.inputs), Ref(node.outputs[0]))

    def bind(known: Known) -> list[Bind]:
        *batch, rows, columns = single.exact(x, known)
        total = math.prod(batch) * rows
        tile, tiles = single.cut(total, columns * dtype.size)
        return [Bind(made, buffers, single.bound((tile, total, rows, columns, min(rows, columns)), tiles))]

    return single.call(node, places, (0, 1), bind)


DIAGONAL = Single(_diagonal_fits, lambda node: (0, 1), _diagonal_call)


# ---------------------------------------------------------------- sequences


def reverse(dtype: DType, lengths: DType, batch_first: bool, row: int | None) -> Kernel:
    """Sequences reversed up to their own ends.

    Buffers: source, lengths, target, status. Sizes: rows in a tile, rows, the sizes of the first and of the second of
    the two dimensions and of what lies between them, elements of a row.

    Args:
        batch_first: whether the dimension of the batch comes before that of the steps.
        row: how many elements a row has, where that is compiled in.
    """
    f = kernel.function()
    source, ends, target, status = (kernel.buffer(f, i) for i in range(4))
    tile, total, first, second, between, given = kernel.sizes(f, 6)
    memory, count = ir.MEMORY[dtype], given if row is None else row
    steps = second if batch_first else first
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as i:
            # i is ((outer * first + a) * between + m) * second + b.
            rest, b = f.div(i, second), f.rem(i, second)
            a = f.rem(f.div(rest, between), first)
            item, step = (a, b) if batch_first else (b, a)
            end = single.load_index(f, lengths, ends, item)
            with f.either(f.value(f"icmp ule i64 {end}, {steps}")) as branches:
                mirrored = f.sub(f.sub(end, 1), f.value(f"shl i64 {step}, 1"))
                is_inside = f.value(f"icmp slt i64 {step}, {end}")
                away = f.value(f"select i1 {is_inside}, i64 {mirrored}, i64 0")
                distance = away if batch_first else f.mul(f.mul(away, between), second)
                taken = f.at(memory, source, f.mul(f.add(i, distance), count))
                single.copy_elements(f, dtype, f.at(memory, target, f.mul(i, count)), taken, count)
                branches.otherwise()
                single.report(f, status)
    return Kernel(f.finish() + "\n", 0, f"reverse {dtype.name} by {lengths.name}")


def _axes(node: Node) -> tuple[int, int]:
    """The dimensions of the batch and of the steps."""
    form = node.opdef.form
    assert isinstance(form, Reversal)
    return node.attrs[form.batch], node.attrs[form.steps]


def _reverse_fits(node: Node) -> bool:
    return single.are_plain(node, (0, 1)) and min(_axes(node)) >= 0


def _reverse_call(node: Node, places: Mapping[Value, Place]) -> Call:
    x, lengths = node.inputs
    batch, steps = _axes(node)
    first, second = sorted((batch, steps))
    dtype = single.dtype_of(x)
    row = single.fixed_count(x.dims[second + 1 :])
    if row is not None and row * dtype.size > single.SHORT_ROW:
        row = None
    made = reverse(dtype, single.dtype_of(lengths), batch < steps, row)
    buffers = (*(single.place(places, v) for v in node.inputs), Ref(node.outputs[0]), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        shape = single.exact(x, known)
        length = math.prod(shape[second + 1 :])
        total = math.prod(shape[: second + 1])
        tile, tiles = single.cut(total, length * dtype.size)
        table = (tile, total, shape[first], shape[second], math.prod(shape[first + 1 : second]), length)
        return [Bind(made, buffers, single.bound(table, tiles))]

    return single.call(node, places, (0, 1), bind, raises=True)


REVERSAL = Single(_reverse_fits, lambda node: (0, 1), _reverse_call)
