"""Slices of a tensor by their indices, and the adjoint: slices added up at their indices.

Both see the dimensions that are indexed as one, of *rows*. A place is one index, or a tuple of them. Every index is
compared with its dimension before anything is read or written there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tahr.backends.native import combining, ir, kernel, scalars, single
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref, Status
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.nests import Bound
from tahr.backends.native.single import Single
from tahr.core import sizes
from tahr.core.dtypes import DType
from tahr.core.forms import Accumulation, Lookup, Scatter, Scattered
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


@functools.cache
def lookup(rows: Rows, has_outer: bool, has_batch: bool, is_counted: bool = False) -> Kernel:
    """Copies rows.

    Buffers: source [batch, between, rows, length], indices [batch, places, depth], target
    [batch, between, places, length], status, perhaps int32 how much of the indices counts. Sizes: rows of the target in
    a tile, rows of the target, places, length, rows of the source, between, the indexed dimensions, and places that
    count together. There must be no tile where there are no places.

    Args:
        rows: what is compiled in.
        has_outer: whether batch and between are anything but 1.
        has_batch: whether batch is.
        is_counted: whether a buffer says how many places count; there is no batch then and nothing between. The rows of
            others become zero.
    """
    f = kernel.function()
    source, indices, target, status = (kernel.buffer(f, i) for i in range(4))
    tile, total, places, length, height, between, *dims = kernel.sizes(f, 6 + rows.depth)
    count = length if rows.length is None else rows.length
    kind = ir.MEMORY[rows.dtype]
    limit = f.mul(counted_places(f, 4), kernel.size(f, 6 + rows.depth)) if is_counted else total
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        end = f.minimum(f.add(start, tile), total)
        # The place of the row, and the part of the source, are counted on: divisions are slow.
        place = f.variable(ir.I64, f.rem(start, places) if has_outer else start, "place")
        part = f.variable(ir.I64, f.div(start, places) if has_outer else "0", "part")
        first = f.variable(ir.I64, "0", "first")
        if has_batch:
            f.store(ir.I64, f.mul(f.div(f.load(ir.I64, part), between), places), first)
        with f.loop(start, f.minimum(end, limit), hint="row") as i:
            at = f.add(f.load(ir.I64, first), f.load(ir.I64, place)) if has_outer else i
            row, is_inside = _row(f, rows, indices, at, dims)
            with f.either(is_inside) as branches:
                begin = f.mul(f.load(ir.I64, part), height)
                taken = f.at(kind, source, f.mul(f.add(begin, row), count))
                single.copy_elements(f, rows.dtype, f.at(kind, target, f.mul(i, count)), taken, count)
                branches.otherwise()
                single.report(f, status)
            if has_outer:
                f.store(ir.I64, f.add(f.load(ir.I64, place), 1), place)
                with f.when(f.value(f"icmp eq i64 {f.load(ir.I64, place)}, {places}")):
                    f.store(ir.I64, "0", place)
                    following = f.add(f.load(ir.I64, part), 1)
                    f.store(ir.I64, following, part)
                    if has_batch:
                        f.store(ir.I64, f.mul(f.div(following, between), places), first)
        if is_counted:
            rest = f.minimum(f.maximum(start, limit), end)
            _fill(f, rows.dtype, 0, f.at(kind, target, f.mul(rest, count)), f.mul(f.sub(end, rest), count))
    return Kernel(f.finish() + "\n", 0, f"lookup {rows.title}")


def _axes(node: Node) -> tuple[int, int] | None:
    """The dimension that indices are along, and how many of a batch are before; None where that is not known."""
    form = node.opdef.form
    assert isinstance(form, Lookup)
    return (0, 0) if form.axes is None else form.axes(*(v.spec for v in node.inputs), **node.attrs)


def _depth(node: Node) -> int | None:
    form = node.opdef.form
    assert isinstance(form, Lookup)
    if form.axes is not None:
        return 1
    assert node.inputs[1].shape is not None
    last = node.inputs[1].shape[-1]
    return last if isinstance(last, int) else None


def _counts(node: Node) -> list[int]:
    """The input that says how much of others counts, if there is one."""
    form = node.opdef.form
    assert isinstance(form, (Lookup, Accumulation))
    return [] if form.count is None else [form.count]


def _lookup_data(node: Node) -> list[int]:
    return [0, 1, *_counts(node)]


def _lookup_fits(node: Node) -> bool:
    return single.are_plain(node, (0, 1)) and _axes(node) is not None and _depth(node) is not None


def _lookup_call(node: Node, places: Mapping[Value, Place]) -> Call:
    params, indices = node.inputs[:2]
    form, axes, depth = node.opdef.form, _axes(node), _depth(node)
    assert isinstance(form, Lookup) and axes is not None and depth is not None and params.shape is not None
    axis, batch = axes
    end = axis + depth
    rows = _rows(single.dtype_of(params), indices, depth, params.shape[end:])
    named = single.place(places, indices)
    counts = [single.place(places, node.inputs[i]) for i in _counts(node)]
    buffers = (single.place(places, params), named, Ref(node.outputs[0]), Ref(Status()), *counts)

    def bind(known: Known) -> list[Bind]:
        shape = single.exact(params, known)
        dims, length = shape[axis:end], math.prod(shape[end:])
        batches, between = math.prod(shape[:batch]), math.prod(shape[batch:axis])
        numbered = single.exact(indices, known)[batch : -1 if form.axes is None else None]
        count, together = math.prod(numbered), math.prod(numbered[1:])
        total = batches * between * count
        tile, tiles = single.cut(total, length * rows.dtype.size)
        table = (tile, total, count, length, math.prod(dims), between, *dims, together)
        made = lookup(rows, batches * between != 1, batches != 1, bool(counts))
        return [Bind(made, buffers, single.bound(table, tiles if total else 0))]

    return single.call(node, places, _lookup_data(node), bind, raises=True)


LOOKUP = Single(_lookup_fits, _lookup_data, _lookup_call)


# ---------------------------------------------------------------- accumulations

# A tile goes through all indices, so that there are not more of them than some threads can share well.
MOST_TILES = 16
# A tile takes at least so many bytes of each row.
NARROWEST = 1024


def accumulate(
    rows: Rows,
    combine: str,
    start: float | None = None,
    drops_negative: bool = False,
    is_counted: bool = False,
    is_number: bool = False,
    is_same_row: bool = False,
) -> Kernel:
    """Combines rows with those where they belong, in their order; a tile is a block of the target.

    Buffers: rows [places, length] or one number, indices [places, depth], target [rows, length], status, perhaps int32
    how many places count. Sizes: places, length, rows of the target, rows and columns of a block, blocks side by side,
    the indexed dimensions.

    Args:
        combine: one of `COMBINES`.
        start: what all elements of the target are before; None for what they are.
        drops_negative: whether a negative index is no error.
        is_counted: whether a buffer says how many places count.
        is_number: whether all rows are one and the same number.
        is_same_row: whether the rows are [rows, length], and one is combined with the same row of the target.
    """
    f = kernel.function()
    source, indices, target, status = (kernel.buffer(f, i) for i in range(4))
    places, length, height, *cut, across = kernel.sizes(f, 6)
    dims = [kernel.size(f, 6 + k) for k in range(rows.depth)]
    places = counted_places(f, 4) if is_counted else places
    memory = ir.MEMORY[rows.dtype]
    with f.loop("%begin", "%end", hint="tile") as tile:
        low, high, left, width = block(f, tile, length, height, cut, across)
        if start is not None:
            with f.loop(low, high, hint="fill") as row:
                _fill(f, rows.dtype, start, f.at(memory, target, f.add(f.mul(row, length), left)), width)
        with f.loop(0, places, hint="place") as i:
            row, is_inside = _row(f, rows, indices, i, dims)
            is_dropped = f.value(f"icmp slt i64 {row}, 0") if drops_negative else "false"
            with f.either(is_inside) as branches:
                with f.when(is_between(f, row, low, high)):
                    from_ = row if is_same_row else i
                    if rows.length == 1:
                        taken = f.at(memory, source, 0 if is_number else from_)
                        _combine(f, rows.dtype, combine, f.at(memory, target, row), taken)
                    else:
                        into = f.at(memory, target, f.add(f.mul(row, length), left))
                        taken = (
                            source if is_number else f.at(memory, source, f.add(f.mul(from_, length), left))
                        )
                        _combine_rows(f, rows.dtype, combine, into, taken, width, is_number)
                branches.otherwise()
                with f.when(f.value(f"xor i1 {is_dropped}, true")):
                    single.report(f, status)
    return Kernel("\n".join([f.finish(), *f.metadata]) + "\n", 0, f"{combine} rows {rows.title}")


def counted_places(f: ir.Function, index: int) -> str:
    """How many places count, as the kernel's buffer with a number says."""
    return f.value(f"sext i32 {f.load(ir.I32, kernel.buffer(f, index))} to i64")


def block(
    f: ir.Function, tile: str, length: str, height: str, cut: Sequence[str], across: str
) -> tuple[str, str, str, str]:
    """The block of a target that a tile is: its first row and that behind its last, its first column and its width.

    Args:
        cut: the rows and columns of a block.
        across: how many blocks are side by side.
    """
    rows, columns = cut
    low = f.mul(f.div(tile, across), rows)
    left = f.mul(f.rem(tile, across), columns)
    width = f.maximum(f.minimum(columns, f.sub(length, left)), 0)
    return low, f.minimum(f.add(low, rows), height), left, width


def is_between(f: ir.Function, row: str, low: str, high: str) -> str:
    """Whether a row is in a block."""
    # Unsigned: the row is below `low` where the difference wraps.
    return f.value(f"icmp ult i64 {f.value(f'sub i64 {row}, {low}')}, {f.sub(high, low)}")


def _fill(f: ir.Function, dtype: DType, number: float, target: str, count: str) -> None:
    """Sets elements to a number."""
    if number == 0:
        f.do(f"call void @llvm.memset.p0.i64(ptr {target}, i8 0, i64 {f.mul(count, dtype.size)}, i1 false)")
        return
    memory = ir.MEMORY[dtype]
    value = scalars.to_memory(f, dtype, ir.number(number, scalars.kind(dtype)))
    with f.loop(0, count, hint="filled") as j:
        f.store(memory, value, f.at(memory, target, j), align=dtype.size)


def copy(dtype: DType) -> Kernel:
    """Copies all elements. Buffers: source, target. Sizes: elements in a tile, elements."""
    f = kernel.function()
    source, target = kernel.buffer(f, 0), kernel.buffer(f, 1)
    tile, total = kernel.sizes(f, 2)
    memory = ir.MEMORY[dtype]
    with f.loop("%begin", "%end", hint="tile") as number:
        start = f.mul(number, tile)
        count = f.maximum(f.minimum(f.sub(total, start), tile), 0)
        single.copy_elements(f, dtype, f.at(memory, target, start), f.at(memory, source, start), count)
    return Kernel(f.finish() + "\n", 0, f"copy {dtype.name}")


def check(rows: Rows, is_counted: bool = False) -> Kernel:
    """Reports an index that is out of range, before anything is written.

    Buffers: indices, status, perhaps int32 how many places count. Sizes: places, the indexed dimensions.
    """
    f = kernel.function()
    indices, status = kernel.buffer(f, 0), kernel.buffer(f, 1)
    places, *dims = kernel.sizes(f, 1 + rows.depth)
    places = counted_places(f, 2) if is_counted else places
    all_fit = f.variable(ir.I1, "true")
    with f.loop(0, places, hint="place") as i:
        _, is_inside = _row(f, rows, indices, i, dims)
        f.store(ir.I1, f.value(f"and i1 {f.load(ir.I1, all_fit)}, {is_inside}"), all_fit)
    with f.when(f.value(f"xor i1 {f.load(ir.I1, all_fit)}, true")):
        single.report(f, status)
    return Kernel(f.finish() + "\n", 0, f"check {rows.indices.name} indices {rows.depth}")


def _combine_rows(
    f: ir.Function, dtype: DType, combine: str, target: str, source: str, count: str, is_number: bool
) -> None:
    """Combines `count` elements with others, or with one number."""
    memory = ir.MEMORY[dtype]
    f.metadata = [
        "!2 = distinct !{}",
        '!3 = !{!"llvm.loop.parallel_accesses", !2}',
        "!1 = distinct !{!1, !3}",
    ]
    with f.loop(0, count, hint="column", metadata=", !llvm.loop !1") as j:
        taken = source if is_number else f.at(memory, source, j)
        _combine(f, dtype, combine, f.at(memory, target, j), taken, ", !llvm.access.group !2")


COMBINES = ("assign", "add", "subtract", "multiply", "divide", "maximum", "minimum")


def _combine(f: ir.Function, dtype: DType, combine: str, target: str, source: str, mark: str = "") -> None:
    """Combines an element with another; halves are rounded every time, as in TensorFlow."""
    memory, kind = ir.MEMORY[dtype], scalars.kind(dtype)
    align = f"align {dtype.size}{mark}"
    new = f.value(f"load {memory}, ptr {source}, {align}")
    if combine != "assign":
        old = f.value(f"load {memory}, ptr {target}, {align}")
        a, b = (scalars.from_memory(f, dtype, value) for value in (old, new))
        if combine in ("maximum", "minimum"):
            result = combining.combined(f, combine, dtype, a, b)
        else:
            name = ("f" if dtype.is_floating else "") + _INSTRUCTIONS[combine]
            result = f.value(f"{name} {kind} {a}, {b}")
        new = scalars.to_memory(f, dtype, result)
    f.do(f"store {memory} {new}, ptr {target}, {align}")


_INSTRUCTIONS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}


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


def _places_depth(indices: Value, tuples: bool) -> int | None:
    """How many indices make a place; None where it is not known."""
    if not tuples:
        return 1
    return indices.dims[-1] if isinstance(indices.dims[-1], int) else None


def _accumulation_data(node: Node) -> list[int]:
    form = _accumulation(node)
    return [form.rows, form.indices, *_counts(node)]


def _accumulation_fits(node: Node) -> bool:
    form = _accumulation(node)
    if not single.are_plain(node, _accumulation_data(node)) or single.dtype_of(node.outputs[0]).is_bool:
        return False
    return _places_depth(node.inputs[form.indices], form.tuples) is not None


def _start(combine: str, dtype: DType) -> float:
    """What nothing combined is."""
    if combine in ("maximum", "minimum"):
        return dtype.min if combine == "maximum" else dtype.max
    return int(combine == "multiply")


def _accumulation_call(node: Node, places: Mapping[Value, Place]) -> Call:
    form, data, output = _accumulation(node), _accumulation_data(node), node.outputs[0]
    source, indices, *counts = (single.place(places, node.inputs[i]) for i in data)
    dtype = single.dtype_of(output)
    change = Change(dtype, output.dims, node.inputs[form.indices], form.tuples)
    start, is_counted = _start(form.combine, dtype), bool(counts)
    made = accumulate(change.rows, form.combine, start, form.drops_negative, is_counted)
    buffers = (source, indices, Ref(output), Ref(Status()), *counts)

    def bind(known: Known) -> list[Bind]:
        return [Bind(made, buffers, change.bound(known))]

    return single.call(node, places, data, bind, raises=True)


class Change:
    """Rows of something that are combined with others.

    Args:
        dtype, shape: what is changed.
        indices: the places.
        tuples: whether those are tuples of indices.
    """

    def __init__(self, dtype: DType, shape: Sequence[Dim], indices: Value, tuples: bool) -> None:
        depth = _places_depth(indices, tuples)
        assert depth is not None
        are_numbers = single.fixed_count(shape[depth:]) == 1
        self.rows = Rows(dtype, single.dtype_of(indices), depth, 1 if are_numbers else None)
        """What is compiled in."""
        self._shape = shape
        self._indices = indices
        self._tuples = tuples

    def sizes(self, known: Known) -> tuple[int, tuple[int, ...], int]:
        """How many places there are, the indexed dimensions, and the elements of a row."""
        shape = tuple(sizes.evaluate(d, known) for d in self._shape)  # pyright: ignore[reportArgumentType]
        depth = self.rows.depth
        count = math.prod(single.exact(self._indices, known)[: -1 if self._tuples else None])
        return count, shape[:depth], math.prod(shape[depth:])

    def bound(self, known: Known) -> Bound:
        """The sizes of `accumulate`."""
        count, dims, length = self.sizes(known)
        height = math.prod(dims)
        rows, columns, across, tiles = _blocks(height, length, self.rows.dtype.size)
        return single.bound((count, length, height, rows, columns, across, *dims), tiles)


ACCUMULATION = Single(_accumulation_fits, _accumulation_data, _accumulation_call)


# ---------------------------------------------------------------- rows of variables and of copies


def _changed(node: Node) -> tuple[DType, tuple[Dim, ...] | None]:
    """The dtype and the shape of what has rows that change: of the variable, or of the first input."""
    value = node.inputs[0]
    if isinstance(node.opdef.form, Scatter):
        return value.node.attrs["dtype"], value.node.attrs.get("shape")
    return single.dtype_of(value), value.shape


def _change_form(node: Node) -> Scatter | Scattered:
    form = node.opdef.form
    assert isinstance(form, (Scatter, Scattered))
    return form


def _scatter_fits(node: Node) -> bool:
    form = _change_form(node)
    if not all(single.is_plain(v.spec) for v in node.inputs[1:]):
        return False
    if isinstance(form, Scatter) and "shape" not in node.inputs[0].node.attrs:
        return False
    dtype, shape = _changed(node)
    depth = _places_depth(node.inputs[1], form.tuples)
    if not single.is_plain(Spec(dtype, shape)) or depth is None or form.combine not in COMBINES:
        return False
    if not shape or (dtype.is_bool and form.combine != "assign"):
        return False
    if form.combine == "divide" and not dtype.is_floating:
        return False  # the processor stops at a division by zero
    indices, updates = (v.shape or () for v in node.inputs[1:3])
    if _is_number(node):
        return True
    wanted = (*(indices[:-1] if form.tuples else indices), *shape[depth:])
    return len(updates) == len(wanted) and all(map(sizes.surely_equal, updates, wanted))


def _is_number(node: Node) -> bool:
    """Whether all rows that a node combines are one and the same number."""
    form = node.opdef.form
    return isinstance(form, Scatter) and not form.tuples and node.inputs[2].shape == ()


def _scatter_call(node: Node, places: Mapping[Value, Place]) -> Call:
    """Variables are changed in place, once all indices have been looked at."""
    form = _change_form(node)
    target, indices, updates, *counts = node.inputs
    dtype, shape = _changed(node)
    assert shape is not None
    change = Change(dtype, shape, indices, form.tuples)
    in_place = isinstance(form, Scatter)
    is_counted = bool(counts)
    first = check(change.rows, is_counted) if in_place else copy(dtype)
    made = accumulate(change.rows, form.combine, is_counted=is_counted, is_number=_is_number(node))
    named, changed = single.place(places, indices), Ref(target if in_place else node.outputs[0])
    counted = tuple(single.place(places, v) for v in counts)
    buffers = (single.place(places, updates), named, changed, Ref(Status()), *counted)

    def bind(known: Known) -> list[Bind]:
        count, dims, length = change.sizes(known)
        if in_place:
            before = Bind(first, (named, Ref(Status()), *counted), single.bound((count, *dims), 1))
        else:
            total = math.prod(dims) * length
            tile, tiles = single.cut(total, dtype.size)
            before = Bind(first, (single.place(places, target), changed), single.bound((tile, total), tiles))
        return [before, Bind(made, buffers, change.bound(known))]

    writes = (0,) if in_place else ()
    return single.call(node, places, range(len(node.inputs)), bind, raises=True, writes=writes)


SCATTER = Single(_scatter_fits, lambda node: range(len(node.inputs)), _scatter_call)


def sums_of_rows(lookup: Node, places: Mapping[Value, Place], rows: Value, target: Value) -> Call:
    """The call that adds up rows: each of `rows` is added to that of `target` which `lookup` takes of its table."""
    return _by_row(lookup, places, rows, target, "add")


def rows_in_use(lookup: Node, places: Mapping[Value, Place], target: Value) -> Call:
    """The call that copies those rows of a lookup's table that it takes; all others become zeros."""
    return _by_row(lookup, places, places[lookup.inputs[0]].root, target, "assign")


def _by_row(lookup: Node, places: Mapping[Value, Place], rows: Value, target: Value, combine: str) -> Call:
    table, indices = (single.place(places, lookup.inputs[i]) for i in (0, 1))
    is_copy = combine == "assign"
    change = Change(single.dtype_of(target), target.dims, lookup.inputs[1], False)
    made = accumulate(change.rows, combine, 0, is_same_row=is_copy)
    buffers = (table if is_copy else Ref(rows), indices, Ref(target), Ref(Status()))
    return Call(
        "rows in use" if is_copy else "sums of rows",
        (lookup,),
        (*{rows: None, places[lookup.inputs[0]].root: None, places[lookup.inputs[1]].root: None},),
        (target,),
        (),
        lambda known: ([Bind(made, buffers, change.bound(known))], {}),
        {0: table, 1: indices},
    )


def hand_out(rows: Rows) -> Kernel:
    """Moves each row to the first place that has its index, and leaves zeros; all other places that have it get those.

    Buffers: rows [height, length], indices [places], target [places, length]. Sizes: places, length, height.
    """
    f = kernel.function()
    source, indices, target = (kernel.buffer(f, i) for i in range(3))
    places, length, height = kernel.sizes(f, 3)
    memory = ir.MEMORY[rows.dtype]
    with f.loop(0, places, hint="place") as i:
        row, is_inside = _row(f, rows, indices, i, [height])
        with f.when(is_inside):
            taken = f.at(memory, source, f.mul(row, length))
            single.copy_elements(f, rows.dtype, f.at(memory, target, f.mul(i, length)), taken, length)
            _fill(f, rows.dtype, 0, taken, length)
    return Kernel(f.finish() + "\n", 0, f"hand out rows {rows.title}")


def handed_out(rows: Value, indices: Value, target: Value) -> Call:
    """The call that gives each of some rows to the first of its places in `target`."""
    made = hand_out(Rows(single.dtype_of(rows), single.dtype_of(indices), 1, None))

    def bind(known: Known) -> tuple[list[Bind], dict[Partial, int]]:
        height, length = single.exact(rows, known)
        table = (math.prod(single.exact(indices, known)), length, height)
        return [Bind(made, (Ref(rows), Ref(indices), Ref(target)), single.bound(table, 1))], {}

    return Call("rows to their places", (), (rows, indices), (target, rows), (), bind)
