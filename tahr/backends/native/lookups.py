"""Slices of a tensor by their indices, and the adjoint: slices added up at their indices.

Both see the dimensions that are indexed as one, of *rows*. A place is one index, or a tuple of them. Every index is
compared with its dimension before anything is read or written there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tahr.backends.native import ir, kernel, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.single import Single
from tahr.core import scalar, sizes
from tahr.core.dtypes import DType
from tahr.core.opdef import Accumulation, Lookup, Scatter
from tahr.core.shapes import Spec
from tahr.core.sizes import Dim
from tahr.program.node import Node, Value


@dataclass(frozen=True)
class Rows:
    """What is compiled into a kernel.

    Attributes:
        dtype: of the elements.
        indices: the dtype of the indices.
        depth: how many indices make a place.
        length: how many elements a row has; None where the table of sizes says it.
    """

    dtype: DType
    indices: DType
    depth: int
    length: int | None

    @property
    def title(self) -> str:
        """What is indexed, for people."""
        return f"{self.dtype.name} {self.length or ''} by {self.indices.name} {self.depth}"


def _rows(dtype: DType, indices: Value, depth: int, inner: Sequence[object]) -> Rows:
    length = single.fixed_count(inner)  # pyright: ignore[reportArgumentType]
    if length is not None and length * dtype.size > single.SHORT_ROW:
        length = None
    return Rows(dtype, single.dtype_of(indices), depth, length)


def _row(f: ir.Function, rows: Rows, indices: str, number: str, dims: Sequence[str]) -> tuple[str, str]:
    """The row that place `number` is, and whether all its indices are in range."""
    row, is_inside = "0", "true"
    for k, dim in enumerate(dims):
        index = single.load_index(f, rows.indices, indices, f.add(f.mul(number, rows.depth), k))
        fits = f.value(f"icmp ult i64 {index}, {dim}")
        is_inside = fits if k == 0 else f.value(f"and i1 {is_inside}, {fits}")
        # An index that is out of range may overflow here; the row is not used then.
        row = index if k == 0 else f.value(f"add i64 {f.value(f'mul i64 {row}, {dim}')}, {index}")
    return row, is_inside


# ---------------------------------------------------------------- lookups


def lookup(rows: Rows, has_outer: bool) -> Kernel:
    """Copies rows.

    Buffers: source [outer, rows, length], indices [places, depth], target [outer, places, length], status.
    Sizes: rows of the target in a tile, rows of the target, places, length, rows of the source, the indexed dimensions.
    """
    f = kernel.function()
    source, indices, target, status = (kernel.buffer(f, i) for i in range(4))
    tile, total, places, length, height, *dims = kernel.sizes(f, 5 + rows.depth)
    count = length if rows.length is None else rows.length
    kind = ir.MEMORY[rows.dtype]
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        # The place of the row and the start of its part of the source are counted on: divisions are slow.
        place = f.variable(ir.I64, f.rem(start, places) if has_outer else start, "place")
        part = f.variable(ir.I64, f.mul(f.div(start, places), height) if has_outer else "0", "part")
        with f.loop(start, f.minimum(f.add(start, tile), total), hint="row") as i:
            row, is_inside = _row(f, rows, indices, f.load(ir.I64, place) if has_outer else i, dims)
            with f.either(is_inside) as branches:
                taken = f.at(kind, source, f.mul(f.add(f.load(ir.I64, part), row), count))
                single.copy_elements(f, rows.dtype, f.at(kind, target, f.mul(i, count)), taken, count)
                branches.otherwise()
                single.report(f, status)
            if has_outer:
                _count_on(f, place, part, places, height)
    return Kernel(f.finish() + "\n", 0, f"lookup {rows.title}")


def _count_on(f: ir.Function, place: str, part: str, places: str, height: str) -> None:
    """The next place; behind the last one the first, in the next part of the source."""
    following = f.add(f.load(ir.I64, place), 1)
    is_last = f.value(f"icmp eq i64 {following}, {places}")
    f.store(ir.I64, f.value(f"select i1 {is_last}, i64 0, i64 {following}"), place)
    step = f.value(f"select i1 {is_last}, i64 {height}, i64 0")
    f.store(ir.I64, f.add(f.load(ir.I64, part), step), part)


def _axis(node: Node) -> int | None:
    """The dimension that indices are along; 0 for tuples of indices, None where it is not known."""
    form = node.opdef.form
    assert isinstance(form, Lookup)
    return 0 if form.axis is None else form.axis(*(v.spec for v in node.inputs), **node.attrs)


def _depth(node: Node) -> int | None:
    form = node.opdef.form
    assert isinstance(form, Lookup)
    if form.axis is not None:
        return 1
    assert node.inputs[1].shape is not None
    last = node.inputs[1].shape[-1]
    return last if isinstance(last, int) else None


def _lookup_fits(node: Node) -> bool:
    return single.are_plain(node, (0, 1)) and _axis(node) is not None and _depth(node) is not None


def _lookup_call(node: Node, places: Mapping[Value, Place]) -> Call:
    params, indices = node.inputs[:2]
    axis, depth = _axis(node), _depth(node)
    assert axis is not None and depth is not None and params.shape is not None
    rows = _rows(single.dtype_of(params), indices, depth, params.shape[axis + depth :])
    buffers = (
        single.place(places, params),
        single.place(places, indices),
        Ref(node.outputs[0]),
        Ref(Status()),
    )

    def bind(known: Known) -> list[Bind]:
        shape = single.exact(params, known)
        outer, dims, length = (
            math.prod(shape[:axis]),
            shape[axis : axis + depth],
            math.prod(shape[axis + depth :]),
        )
        count = math.prod(single.exact(indices, known)[: None if depth_is_one else -1])
        tile, tiles = single.cut(outer * count, length * rows.dtype.size)
        table = (tile, outer * count, count, length, math.prod(dims), *dims)
        return [Bind(lookup(rows, outer != 1), buffers, single.bound(table, tiles))]

    form = node.opdef.form
    assert isinstance(form, Lookup)
    depth_is_one = form.axis is not None
    return single.call(node, places, (0, 1), bind, raises=True)


LOOKUP = Single(_lookup_fits, lambda node: (0, 1), _lookup_call)


# ---------------------------------------------------------------- accumulations

# A tile goes through all indices, so that there are not more of them than some threads can share well.
MOST_TILES = 16
# A tile takes at least so many bytes of each row.
NARROWEST = 1024


def accumulate(rows: Rows, combine: str, clears: bool, drops_negative: bool) -> Kernel:
    """Combines rows with those where they belong, in their order; a tile is a block of the target.

    Buffers: rows [places, length], indices [places, depth], target [rows, length], status.
    Sizes: places, length, rows of the target, rows and columns of a block, blocks side by side, the indexed
    dimensions.

    Args:
        combine: "add", "subtract" or "assign".
        clears: whether the target is all zeros before.
        drops_negative: whether a negative index is no error.
    """
    f = kernel.function()
    source, indices, target, status = (kernel.buffer(f, i) for i in range(4))
    places, length, height, block_rows, block_columns, across, *dims = kernel.sizes(f, 6 + rows.depth)
    memory = ir.MEMORY[rows.dtype]
    with f.loop("%begin", "%end", hint="tile") as tile:
        low = f.mul(f.div(tile, across), block_rows)
        high = f.minimum(f.add(low, block_rows), height)
        left = f.mul(f.rem(tile, across), block_columns)
        width = f.maximum(f.minimum(block_columns, f.sub(length, left)), 0)
        if clears:
            with f.loop(low, high, hint="clear") as row:
                cleared = f.at(memory, target, f.add(f.mul(row, length), left))
                count = f.mul(width, rows.dtype.size)
                f.do(f"call void @llvm.memset.p0.i64(ptr {cleared}, i8 0, i64 {count}, i1 false)")
        with f.loop(0, places, hint="place") as i:
            row, is_inside = _row(f, rows, indices, i, dims)
            is_dropped = f.value(f"icmp slt i64 {row}, 0") if drops_negative else "false"
            with f.either(is_inside) as branches:
                # Unsigned: the row is below `low` where the difference wraps.
                is_mine = f.value(f"icmp ult i64 {f.value(f'sub i64 {row}, {low}')}, {f.sub(high, low)}")
                with f.when(is_mine):
                    if rows.length == 1:
                        _combine(f, rows.dtype, combine, f.at(memory, target, row), f.at(memory, source, i))
                    else:
                        into = f.at(memory, target, f.add(f.mul(row, length), left))
                        taken = f.at(memory, source, f.add(f.mul(i, length), left))
                        _combine_rows(f, rows.dtype, combine, into, taken, width)
                branches.otherwise()
                with f.when(f.value(f"xor i1 {is_dropped}, true")):
                    single.report(f, status)
    return Kernel("\n".join([f.finish(), *f.metadata]) + "\n", 0, f"{combine} rows {rows.title}")


def check(rows: Rows) -> Kernel:
    """Reports an index that is out of range, before anything is written.

    Buffers: indices, status. Sizes: places, rows.
    """
    f = kernel.function()
    indices, status = kernel.buffer(f, 0), kernel.buffer(f, 1)
    places, height = kernel.sizes(f, 2)
    all_fit = f.variable(ir.I1, "true")
    with f.loop(0, places, hint="place") as i:
        _, is_inside = _row(f, rows, indices, i, [height])
        f.store(ir.I1, f.value(f"and i1 {f.load(ir.I1, all_fit)}, {is_inside}"), all_fit)
    with f.when(f.value(f"xor i1 {f.load(ir.I1, all_fit)}, true")):
        single.report(f, status)
    return Kernel(f.finish() + "\n", 0, f"check {rows.indices.name} indices")


def _combine_rows(f: ir.Function, dtype: DType, combine: str, target: str, source: str, count: str) -> None:
    """Combines `count` elements with others."""
    memory = ir.MEMORY[dtype]
    f.metadata = [
        "!2 = distinct !{}",
        '!3 = !{!"llvm.loop.parallel_accesses", !2}',
        "!1 = distinct !{!1, !3}",
    ]
    with f.loop(0, count, hint="column", metadata=", !llvm.loop !1") as j:
        _combine(
            f, dtype, combine, f.at(memory, target, j), f.at(memory, source, j), ", !llvm.access.group !2"
        )


def _combine(f: ir.Function, dtype: DType, combine: str, target: str, source: str, mark: str = "") -> None:
    """Combines an element with another; halves are rounded every time, as in TensorFlow."""
    memory, kind = ir.MEMORY[dtype], scalars.kind(dtype)
    align = f"align {dtype.size}{mark}"
    new = f.value(f"load {memory}, ptr {source}, {align}")
    if combine != "assign":
        old = f.value(f"load {memory}, ptr {target}, {align}")
        a, b = (scalars.from_memory(f, dtype, value) for value in (old, new))
        name = ("f" if dtype.is_floating else "") + {"add": "add", "subtract": "sub"}[combine]
        new = scalars.to_memory(f, dtype, f.value(f"{name} {kind} {a}, {b}"))
    f.do(f"store {memory} {new}, ptr {target}, {align}")


def _blocks(height: int, length: int, size: int) -> tuple[int, int, int, int]:
    """The rows and columns of a block of the target, how many are side by side, and how many there are in all."""
    across = min(MOST_TILES, max(1, length * size // NARROWEST))
    columns = -(-length // across)
    across = max(1, -(-length // max(columns, 1)))
    down = min(MOST_TILES // across, max(1, height * columns * size // single.TILE_BYTES), max(height, 1))
    rows = -(-height // down)
    return rows, columns, across, across * max(1, -(-height // max(rows, 1)))


def _accumulation(node: Node) -> Accumulation:
    form = node.opdef.form
    assert isinstance(form, Accumulation)
    return form


def _places_depth(node: Node) -> int | None:
    form = _accumulation(node)
    if not form.tuples:
        return 1
    shape = node.inputs[form.indices].shape
    assert shape is not None
    return shape[-1] if isinstance(shape[-1], int) else None


def _accumulation_data(node: Node) -> tuple[int, int]:
    form = _accumulation(node)
    return form.rows, form.indices


def _accumulation_fits(node: Node) -> bool:
    if not single.are_plain(node, _accumulation_data(node)) or _places_depth(node) is None:
        return False
    return node.outputs[0].dtype in scalar.SUPPORTED and not single.dtype_of(node.outputs[0]).is_bool


def _accumulation_call(node: Node, places: Mapping[Value, Place]) -> Call:
    form, data, output = _accumulation(node), _accumulation_data(node), node.outputs[0]
    source, indices = (node.inputs[i] for i in data)
    depth = _places_depth(node)
    assert depth is not None
    assert output.shape is not None
    are_numbers = single.fixed_count(output.shape[depth:]) == 1
    rows = Rows(single.dtype_of(output), single.dtype_of(indices), depth, 1 if are_numbers else None)
    made = accumulate(rows, "add", True, form.drops_negative)
    buffers = (single.place(places, source), single.place(places, indices), Ref(output), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        shape = single.exact(output, known)
        dims, length = shape[:depth], math.prod(shape[depth:])
        count = math.prod(single.exact(indices, known)[: -1 if form.tuples else None])
        block_rows, block_columns, across, tiles = _blocks(math.prod(dims), length, rows.dtype.size)
        table = (count, length, math.prod(dims), block_rows, block_columns, across, *dims)
        return [Bind(made, buffers, single.bound(table, tiles))]

    return single.call(node, places, data, bind, raises=True)


ACCUMULATION = Single(_accumulation_fits, _accumulation_data, _accumulation_call)


# ---------------------------------------------------------------- rows of variables

_COMBINES = ("assign", "add", "subtract")


def _variable(value: Value) -> tuple[DType, tuple[Dim, ...] | None]:
    """The dtype and the shape of the variable that a reference or a handle stands for."""
    attrs = value.node.attrs
    return attrs["dtype"], attrs["shape"]


def _scatter_fits(node: Node) -> bool:
    form = node.opdef.form
    assert isinstance(form, Scatter)
    if "shape" not in node.inputs[0].node.attrs or not all(single.is_plain(v.spec) for v in node.inputs[1:]):
        return False
    dtype, shape = _variable(node.inputs[0])
    if not single.is_plain(Spec(dtype, shape)) or not shape or form.combine not in _COMBINES:
        return False
    if dtype.is_bool and form.combine != "assign":
        return False
    indices, updates = (v.shape or () for v in node.inputs[1:])
    wanted = (*indices, *shape[1:])
    return len(updates) == len(wanted) and all(map(sizes.surely_equal, updates, wanted))


def _scatter_call(node: Node, places: Mapping[Value, Place]) -> Call:
    form = node.opdef.form
    assert isinstance(form, Scatter)
    variable, indices, updates = node.inputs
    dtype, shape = _variable(variable)
    assert shape
    are_numbers = single.fixed_count(shape[1:]) == 1
    rows = Rows(dtype, single.dtype_of(indices), 1, 1 if are_numbers else None)
    checked, made = check(rows), accumulate(rows, form.combine, clears=False, drops_negative=False)
    named = single.place(places, indices)
    buffers = (single.place(places, updates), named, Ref(variable), Ref(Status()))

    def bind(known: Known) -> list[Bind]:
        height, *inner = (sizes.evaluate(d, known) for d in shape)  # pyright: ignore[reportArgumentType]
        count, length = math.prod(single.exact(indices, known)), math.prod(inner)
        block_rows, block_columns, across, tiles = _blocks(height, length, dtype.size)
        table = (count, length, height, block_rows, block_columns, across, height)
        return [
            Bind(checked, (named, Ref(Status())), single.bound((count, height), 1)),
            Bind(made, buffers, single.bound(table, tiles)),
        ]

    return single.call(node, places, (0, 1, 2), bind, raises=True, writes=(0,))


SCATTER = Single(_scatter_fits, lambda node: (0, 1, 2), _scatter_call)
