"""The code of loop nests.

A row is gone through in several passes (`passes.py`); what is kept from one to the next lies in the thread's scratch
memory, which stays in the cache. Of a reduction whose result leaves the nest, each tile (`tiles.py`) leaves a partial
result, and a second kernel combines them in the order of the tiles.

The innermost loops are written for one element; LLVM's vectorizer turns them into vector code. They are marked free of
dependencies between iterations, which holds by construction, so that no alias is checked at run time.
(`vector_loops.py` writes vectors itself, `narrow_loops.py` writes few columns out.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

from tahr.backends.native import combining, ir, kernel, scalars
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.nests import Access, Extent, Nest, Reduce, Source, accesses
from tahr.backends.native.passes import Passes, leaves, parts, stash_kind
from tahr.backends.native.tiles import Loop
from tahr.core import scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar
from tahr.core.sizes import Dim

# Counts up to this are compiled in, so that LLVM can unroll the loop.
SMALL = 16
# So many rows are worked on at once where totals of columns are changed in memory.
ROWS = 4
# Rows or columns are written out where that makes no more nodes than this of all expressions together.
MOST_UNROLLED = 1200


def independent(f: ir.Function, number: int) -> tuple[str, int]:
    """Metadata of a loop, each with a number of its own: what marks it, and the group of the accesses in it.

    They say that the accesses of an iteration do not depend on those of others.
    """
    loop, group = 10 * number, 10 * number + 1
    f.metadata.append(f"!{group} = distinct !{{}}")
    f.metadata.append(f'!{loop + 2} = !{{!"llvm.loop.parallel_accesses", !{group}}}')
    f.metadata.append(f"!{loop} = distinct !{{!{loop}, !{loop + 2}}}")
    return f", !llvm.loop !{loop}", group


class Emitter:
    """Writes the kernel of one nest; what is computed at one column is written for one element.

    Attributes:
        literal_stride: strides up to this are compiled in.
        is_narrow: whether the columns are written out.
        heading: how the text begins.
    """

    literal_stride = 1
    is_narrow = False
    heading = ""

    def __init__(self, nest: Nest, title: str) -> None:
        self.nest = nest
        self.passes = Passes(nest)
        self.title = title
        self.f = kernel.function(plain=self.heading == AS_WRITTEN)
        self.dims = (*nest.rows, *nest.columns)
        self.split = len(nest.rows)
        # What is one run of elements is the same kernel for every length, but for a single element.
        self._literal = SMALL if len(self.dims) > 1 else 1
        self._entries: dict[Dim, str] = {}
        self._stashed: dict[Scalar, int] = {}
        self._groups = 0
        self._row_group: int | None = None  # the group of accesses outside the loops over columns
        self.parts: dict[str, Kernel] = {}
        """The parts that the kernel calls, by their symbols."""

    # ------------------------------------------------------------ the function

    def emit(self) -> Loop:
        """The whole kernel."""
        f, nest = self.f, self.nest
        tile = kernel.size(f, 0)
        self._load_dims()
        memory = [i for i, a in enumerate(nest.inputs) if isinstance(a, Access)]
        self.sources = {i: kernel.buffer(f, n) for n, i in enumerate(memory)}
        self.targets = [kernel.buffer(f, len(memory) + n) for n in range(len(nest.stores))]
        first = len(memory) + len(nest.stores)
        self.partials = {j: kernel.buffer(f, first + n) for n, j in enumerate(nest.leaving)}
        self.row_count = self._count_rows()
        self.column_count = self._product(nest.columns)
        self._plan_stashes()
        with f.loop("%begin", "%end", hint="tile") as number:
            start = self._settled(f.mul(number, tile))
            if nest.rows:
                stop = f.minimum(f.add(start, tile), self.row_count)
                self.column_range = ("0", None)
            else:
                self.column_range = (start, f.minimum(f.add(start, tile), self.column_count))
                start, stop = "0", "1"
            totals = self._start_totals(number)
            if self._takes_rows_together():
                whole = f.add(start, f.mul(f.div(f.sub(stop, start), ROWS), ROWS))
                with f.loop(start, whole, ROWS, "rows") as row:
                    self._rows_together(row, totals)
                self._left_rows(whole, stop, totals)
            else:
                self._each_row(start, stop, totals)
            self._store_totals(number, totals)
        text = "\n\n".join([*self._declarations(), f.finish(), "\n".join(f.metadata)]) + "\n"
        made = Kernel(self.heading + text, 0, self.title, tuple(self.parts.values()))
        return self._loop(made)

    def _declarations(self) -> list[str]:
        """What the kernel calls of its parts."""
        return []

    def _loop(self, made: Kernel) -> Loop:
        return Loop(self.nest, made, tuple(self._entries), tuple(self._stashed), self.is_narrow)

    def _count_rows(self) -> str:
        return self._product(self.nest.rows)

    def _load_dims(self) -> None:
        extents = [a.count for a in self.nest.inputs if isinstance(a, Extent)]
        for dim in (*self.dims, *extents):
            self._value(dim)
        for access in accesses(self.nest):
            for d in (*access.strides, access.offset):
                self._value(d, self.literal_stride)

    def _value(self, dim: Dim, literal: int | None = None) -> str:
        """A dimension, stride or offset: compiled in where it is small, else an entry of the table."""
        if isinstance(dim, int) and -1 <= dim <= (self._literal if literal is None else literal):
            return str(dim)
        if dim not in self._entries:
            self._entries[dim] = kernel.size(self.f, len(self._entries) + 1)
        return self._entries[dim]

    def _product(self, dims: Sequence[Dim]) -> str:
        result = "1"
        for dim in dims:
            value = self._value(dim)
            result = value if result == "1" else self.f.mul(result, value)
        return result

    def _start_totals(self, tile: str) -> dict[int, str]:
        """Accumulators of what leaves the nest: a stack slot for "all", a row of memory set to nothing for "column"."""
        totals: dict[int, str] = {}
        for j in self.nest.leaving:
            reduce = self.nest.reduces[j]
            totals[j] = (
                self._new_total(reduce) if reduce.over == "all" else self._start_column_totals(j, tile)
            )
        return totals

    def _new_total(self, reduce: Reduce) -> str:
        """A stack slot in which a reduction's values are combined."""
        kind = scalars.kind(reduce.accumulator)
        nothing = ir.number(combining.identity(reduce.combine, reduce.accumulator), kind)
        return self.f.variable(kind, nothing, "total")

    def _start_column_totals(self, j: int, tile: str) -> str:
        """The address of a reduction's totals, one for each column."""
        reduce = self.nest.reduces[j]
        memory = ir.MEMORY[reduce.accumulator]
        nothing = ir.number(combining.identity(reduce.combine, reduce.accumulator), memory)
        place = self._settled(self.f.mul(tile, self.column_count))
        totals = self.f.at(memory, self.partials[j], place, "totals")
        self._clear(totals, reduce.accumulator, nothing)
        return totals

    def _clear(self, row: str, dtype: DType, nothing: str) -> None:
        """Sets a row of totals to nothing."""
        memory = ir.MEMORY[dtype]
        with self.f.loop(0, self.column_count, hint="clear") as c:
            self.f.store(memory, nothing, self.f.at(memory, row, c))

    def _store_totals(self, tile: str, totals: Mapping[int, str]) -> None:
        for j in self.nest.leaving:
            reduce = self.nest.reduces[j]
            if reduce.over == "all":
                value = self.f.load(scalars.kind(reduce.accumulator), totals[j])
                self._write(reduce.accumulator, value, self.partials[j], tile)

    # ------------------------------------------------------------ one row

    def _row_metadata(self) -> str:
        return ""

    def _each_row(self, start: str, stop: str, totals: Mapping[int, str]) -> None:
        """Goes over some rows: one run along the last dimension after the other, as dividing takes long.

        A run of few rows is not worth a loop, and to divide by what is compiled in takes less.
        """
        f, rows = self.f, self.nest.rows
        if len(rows) < 2 or (isinstance(rows[-1], int) and rows[-1] <= SMALL):
            with f.loop(start, stop, hint="row", metadata=self._row_metadata()) as row:
                self._row(self._unravel(row), totals)
            return
        last = f.maximum(self._value(rows[-1]), 1)
        end = f.div(f.add(stop, f.sub(last, 1)), last)
        with f.loop(f.div(start, last), end, hint="run") as run:
            before, outer = f.mul(run, last), self._indices(run, rows[:-1])
            first, behind = f.maximum(f.sub(start, before), 0), f.minimum(f.sub(stop, before), last)
            with f.loop(first, behind, hint="row", metadata=self._row_metadata()) as row:
                self._row([*outer, row], totals)

    def _left_rows(self, start: str, stop: str, totals: Mapping[int, str]) -> None:
        """Goes over the few rows that are left where several were worked on at once."""
        self._each_row(start, stop, totals)

    def _row(self, indices: list[str], totals: Mapping[int, str]) -> None:
        nest = self.nest
        self.row_indices = indices
        self.bases = self._bases()
        self.known: dict[Scalar, str] = {}  # values that are the same in the whole row
        last = max(map(self.passes.level, nest.expressions), default=0)
        for number in range(last + 1):
            self._pass(number, totals)
        # What follows from the last pass's reductions alone.
        self._row_stores(range(last + 1, last + 2))

    def _takes_rows_together(self) -> bool:
        """Whether several rows are worked on at once: then totals, which lie in memory, are changed less often.

        Where whole rows are stored, too, it takes a third longer: that is no work for the processor, but for memory.
        """
        if self.nest.stores:
            return False
        is_short = ROWS * len(scalar.ordered([r.what for r in self.nest.reduces])) <= MOST_UNROLLED
        over = {r.over for r in self.nest.reduces}
        return "column" in over and "row" not in over and is_short

    def _rows_together(self, first: str, totals: Mapping[int, str]) -> None:
        """One pass over the columns of some rows, without reductions along the rows."""
        nest, f = self.nest, self.f
        roots = [r.what for r in nest.reduces]
        rows = self._rows(first, roots)
        with ExitStack() as loops:
            indices, flat, group = self._column_loops(loops)
            sums: list[str] = []
            for self.row_indices, self.bases, self.known in rows:
                values = self._element(roots, 0, indices, flat, group)
                sums = [
                    combining.combined(f, r.combine, r.accumulator, a, b)
                    for r, a, b in zip(nest.reduces, sums, values)
                ] or values
            for j, value in enumerate(sums):
                self._accumulate(j, value, totals, totals, flat, group)

    def _rows(
        self, first: str, roots: Sequence[Scalar]
    ) -> list[tuple[list[str], dict[int, str], dict[Scalar, str]]]:
        """Of rows that are worked on at once the indices, the places, and the values that are the same in a row."""
        rows: list[tuple[list[str], dict[int, str], dict[Scalar, str]]] = []
        for n in range(ROWS):
            self.row_indices = self._unravel(self.f.add(first, n))
            self.bases = self._bases()
            self.known = {}
            self._row_values(roots)
            rows.append((self.row_indices, self.bases, self.known))
        return rows

    def _unravel(self, row: str) -> list[str]:
        """The index along each row dimension."""
        return self._indices(row, self.nest.rows)

    def _indices(self, number: str, dims: Sequence[Dim]) -> list[str]:
        """The indices along some dimensions of the element with a number."""
        indices: list[str] = []
        for dim in reversed(dims[1:]):
            size = self._value(dim)
            indices.insert(0, self.f.rem(number, size))
            number = self.f.div(number, size)
        return [number, *indices] if dims else []

    def _bases(self) -> dict[int, str]:
        """The place of each access' first element in the row."""
        places: dict[tuple[Dim, ...], str] = {}
        bases: dict[int, str] = {}
        for access in accesses(self.nest):
            key = (access.offset, *access.strides[: self.split])
            if key not in places:
                places[key] = self._base(access.offset, access.strides)
            bases[id(access)] = places[key]
        return bases

    def _base(self, offset: Dim, strides: Sequence[Dim]) -> str:
        place = self._value(offset, self.literal_stride)
        for index, stride in zip(self.row_indices, strides):
            if stride != 0:
                step = index if stride == 1 else self.f.mul(index, self._value(stride, self.literal_stride))
                place = step if place == "0" else self.f.add(place, step)
        return self._settled(place)

    def _settled(self, place: str) -> str:
        """A number that is the same in all of a row or a tile."""
        return place

    def _pass(self, number: int, totals: Mapping[int, str]) -> None:
        """One pass over the columns of a row."""
        nest = self.nest
        work = self._begun(number)
        if work is None:
            return
        reduces, stores, stash, roots = work
        accumulators: dict[int, str] = {}
        for j in reduces:
            reduce = nest.reduces[j]
            if reduce.over == "row":
                accumulators[j] = self._start_row_total(reduce)
            elif reduce.over == "all":
                accumulators[j] = totals[j]
        with ExitStack() as loops:
            indices, flat, group = self._column_loops(loops)
            values = self._element(roots, number, indices, flat, group)
            for j, value in zip(reduces, values):
                self._accumulate(j, value, accumulators, totals, flat, group)
            for i, value in zip(stores, values[len(reduces) :]):
                access = nest.stores[i][1]
                self._write(access.dtype, value, self.targets[i], self._place(access, indices), group)
            for e, value in zip(stash, values[len(reduces) + len(stores) :]):
                self._put(e.dtype, value, self._stash_place(e, flat), group)
        for j, accumulator in accumulators.items():
            if nest.reduces[j].over == "row":
                self._finish_row_total(nest.reduces[j], self._result(j), accumulator)

    def _result(self, j: int) -> Scalar:
        """The leaf that is the result of a reduction."""
        return scalar.leaf(len(self.nest.inputs) + j, self.nest.reduces[j].dtype)

    def _start_row_total(self, reduce: Reduce) -> str:
        """Where a reduction along the row is accumulated."""
        kind = scalars.kind(reduce.accumulator)
        nothing = ir.number(combining.identity(reduce.combine, reduce.accumulator), kind)
        accumulator = self.f.variable(kind, nothing, "sum")
        self.f.store(kind, nothing, accumulator)
        return accumulator

    def _finish_row_total(self, reduce: Reduce, result: Scalar, accumulator: str) -> None:
        self.known[result] = self.f.load(scalars.kind(reduce.accumulator), accumulator)

    def _begun(self, number: int) -> tuple[list[int], list[int], list[Scalar], list[Scalar]] | None:
        """Computes what a pass over the columns needs of the whole row; None where the pass has nothing to do.

        Returns:
            the reductions, the stores and the expressions to be kept that the pass is for, and what they all compute.
        """
        nest = self.nest
        level, is_wide = self.passes.level, self.passes.is_wide
        reduces = [j for j, r in enumerate(nest.reduces) if level(r.what) == number]
        stores = [i for i, (e, _) in enumerate(nest.stores) if level(e) == number and is_wide(i)]
        stash = [e for e in self._stashed if level(e) == number]
        self._row_stores([number])
        roots = [nest.reduces[j].what for j in reduces] + [nest.stores[i][0] for i in stores] + stash
        if not roots:
            return None
        self._row_values(roots)
        return reduces, stores, stash, roots

    def _row_stores(self, levels: Iterable[int]) -> None:
        """Stores that happen once for each row."""
        for i, (e, access) in enumerate(self.nest.stores):
            if self.passes.level(e) in levels and not self.passes.is_wide(i):
                self._row_values([e])
                place = self.bases[id(access)]
                self._write(access.dtype, self.known[e], self.targets[i], place, self._row_group)

    def _row_values(self, roots: Sequence[Scalar]) -> None:
        """Computes, outside the loop over columns, whatever is the same for all of them."""
        self._compute(self.passes.row_parts(roots))
        for e in roots:
            if e.op == "constant":
                self.known[e] = ir.number(e.value, scalars.kind(e.dtype))

    def _compute(self, wanted: Sequence[Scalar]) -> None:
        """Computes expressions that are the same for all columns."""
        for e in leaves(wanted):
            if e not in self.known:
                access = self.nest.inputs[e.value]
                self.known[e] = self._input(access, e.value, self.row_indices, self._row_group)
        missing = [e for e in wanted if e not in self.known]
        for e, value in zip(missing, scalars.lower(self.f, missing, known=self.known)):
            self.known[e] = value

    # ------------------------------------------------------------ columns

    def _column_loops(self, stack: ExitStack) -> tuple[list[str], str, int]:
        """Opens the loops over columns: their indices, the index as if they were one, and the group of accesses."""
        f = self.f
        vectorized, group = self._new_group()
        indices: list[str] = []
        flat = "0"
        columns = self.nest.columns
        for i, dim in enumerate(columns):
            is_last = i == len(columns) - 1
            start, stop = (self.column_range[0], self.column_range[1]) if len(columns) == 1 else ("0", None)
            size = self._value(dim)
            metadata = vectorized if is_last else ""
            index = stack.enter_context(f.loop(start, stop or size, hint="column", metadata=metadata))
            indices.append(index)
            flat = index if i == 0 else f.add(f.mul(flat, size), index)
        return indices, flat, group

    def _new_group(self) -> tuple[str, int]:
        """Metadata of one more loop, and of the accesses in it, which do not depend on other iterations."""
        self._groups += 1
        return independent(self.f, self._groups)

    def _element(
        self, roots: Sequence[Scalar], number: int, indices: Sequence[str], flat: str, group: int
    ) -> list[str]:
        """The values of expressions at one column."""
        known = dict(self.known)
        _, kept, leaves = self._operands(roots, number)
        for e in kept:
            known[e] = self._take(e.dtype, self._stash_place(e, flat), group)
        for e in leaves:
            known[e] = self._input(self.nest.inputs[e.value], e.value, [*self.row_indices, *indices], group)
        missing = [e for e in dict.fromkeys(roots) if e not in known]
        for e, value in zip(missing, scalars.lower(self.f, missing, known=known)):
            known[e] = value
        return [known[e] for e in roots]

    def _operands(
        self, roots: Sequence[Scalar], number: int
    ) -> tuple[list[Scalar], list[Scalar], list[Scalar]]:
        """What expressions at one column are made of: what is the same in the whole row, what is kept, leaves."""
        same: list[Scalar] = []
        kept: list[Scalar] = []
        leaves: list[Scalar] = []

        def is_kept(e: Scalar) -> bool:
            return e in self._stashed and self.passes.level(e) < number

        for e in parts(roots, lambda e: e not in self.known and not is_kept(e)):
            if e in self.known:
                same.append(e)
            elif is_kept(e):
                kept.append(e)
            elif e.op == "leaf":
                leaves.append(e)
        return same, kept, sorted(leaves, key=lambda e: e.value)

    def _accumulate(
        self,
        j: int,
        value: str,
        accumulators: Mapping[int, str],
        totals: Mapping[int, str],
        flat: str,
        group: int,
    ) -> None:
        reduce, f = self.nest.reduces[j], self.f
        if reduce.over == "column":
            dtype = reduce.accumulator
            sum_ = combining.combined(
                f, reduce.combine, dtype, self._read(dtype, totals[j], flat, group), value
            )
            self._write(dtype, sum_, totals[j], flat, group)
            return
        kind = scalars.kind(reduce.accumulator)
        before = f.load(kind, accumulators[j])
        f.store(
            kind, combining.combined(f, reduce.combine, reduce.accumulator, before, value), accumulators[j]
        )

    # ------------------------------------------------------------ memory

    def _place(self, access: Access, indices: Sequence[str]) -> str:
        place = self.bases[id(access)]
        for index, stride in zip(indices, access.strides[self.split :]):
            if stride != 0:
                step = index if stride == 1 else self.f.mul(index, self._value(stride, self.literal_stride))
                place = step if place == "0" else self.f.add(place, step)
        return place

    def _input(self, access: Source, number: int, indices: Sequence[str], group: int | None) -> str:
        if not isinstance(access, Access):
            kind = scalars.kind(access.dtype)
            index = self._value(access.count) if isinstance(access, Extent) else indices[access.axis]
            if access.dtype.is_floating:
                return self.f.value(f"sitofp i64 {index} to {kind}")
            return index if kind == ir.I64 else self.f.value(f"trunc i64 {index} to {kind}")
        place = self._place(access, indices[self.split :])
        return self._read(access.dtype, self.sources[number], place, group)

    def _read(self, dtype: DType, source: str, place: str, group: int | None = None) -> str:
        memory = ir.MEMORY[dtype]
        mark = "" if group is None else f", !llvm.access.group !{group}"
        address = self.f.at(memory, source, place)
        value = self.f.value(f"load {memory}, ptr {address}, align {dtype.size}{mark}", "x")
        return scalars.from_memory(self.f, dtype, value)

    def _write(self, dtype: DType, value: str, target: str, place: str, group: int | None = None) -> None:
        memory = ir.MEMORY[dtype]
        value = scalars.to_memory(self.f, dtype, value)
        mark = "" if group is None else f", !llvm.access.group !{group}"
        address = self.f.at(memory, target, place)
        self.f.do(f"store {memory} {value}, ptr {address}, align {dtype.size}{mark}")

    # ------------------------------------------------------------ what is kept between passes

    def _plan_stashes(self) -> None:
        """Finds what is kept."""
        self._stashed = self.passes.kept()

    def _stash_place(self, e: Scalar, flat: str) -> str:
        """Where an expression's value in a column is kept: behind those before it, each as long as a row."""
        start = self.f.at(ir.I8, "%scratch", self.f.mul(self.f.add(self.column_count, 16), self._stashed[e]))
        return self.f.at(stash_kind(e.dtype), start, flat)

    def _put(self, dtype: DType, value: str, address: str, group: int) -> None:
        """Keeps a value in scratch, as what it is computed as."""
        value = self.f.value(f"zext i1 {value} to i8") if dtype.is_bool else value
        self.f.do(f"store {stash_kind(dtype)} {value}, ptr {address}, !llvm.access.group !{group}")

    def _take(self, dtype: DType, address: str, group: int) -> str:
        """A value that was kept."""
        kept = self.f.value(f"load {stash_kind(dtype)}, ptr {address}, !llvm.access.group !{group}")
        return self.f.value(f"trunc i8 {kept} to i1") if dtype.is_bool else kept
