"""Products of a matrix and a vector, and products so small that the loops around them would cost more than they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tahr.backends.native import ir, kernel
from tahr.backends.native.epilogue import COLUMN, SCALAR, Segment, addresses, emit
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.products import (
    FINISH,
    LOOP_METADATA,
    Emitter,
    Problem,
    Product,
    Size,
    Tile,
    Walk,
    accumulated,
    call,
    even,
    loop,
    multiply_add,
    swapped,
    table,
)
from tahr.backends.native.target import Target
from tahr.core.dtypes import DType

# The most elements of C that a tile accumulates in scratch; the least multiplications worth a tile; enough tiles.
_TILE, _WORK, _TILES = 2048, 1 << 15, 16
# The shortest part of a row that is worth reading by itself: memory comes by the page.
_RUN = 256
# Rows of the matrix that are read at once.
_STREAMS = 8


def vector_sizes(product: Product, problem: Problem, is_row: bool) -> list[int]:
    """The table of the walk for one column of C; or for one row, which is a column of C'."""
    if is_row:
        product, problem = swapped(product, problem)
    least = max(-(-_WORK // max(problem.k, 1)), _RUN if product.transpose_a else 1)
    wanted = problem.m * problem.batch // (4 if product.transpose_a else _TILES)
    tile = even(problem.m, min(_TILE, max(wanted, least)), 128)
    return table(product, problem, tile, 1, problem.k, is_swapped=is_row)


def as_row(product: Product) -> Product:
    """A product with one column, which lies dense, finished as a row is: a column's bias is a scalar."""
    operands = tuple(
        replace(operand, access=SCALAR) if operand.access == COLUMN else operand
        for operand in product.epilogue.operands
    )
    return replace(product, epilogue=replace(product.epilogue, operands=operands))


def sums_rows(product: Product, is_row: bool) -> bool:
    """Whether a product with one row (or column) adds up rows of the matrix, as they are stored."""
    return not product.transpose_b if is_row else product.transpose_a


def walk(dtype: DType, target: Target, by_sums: bool) -> Kernel:
    """The walk for one column of C: a matrix times a vector, which lies dense.

    The matrix is read once, in place: its rows are either the sum's terms or what the vector is multiplied with.
    """
    element_bytes = accumulated(dtype).size
    lanes = target.lanes(element_bytes)
    emitter = _Vector(dtype, lanes, target.has("avx512f"))
    title = f"{'sums of rows' if by_sums else 'dot products'} {dtype.name}"
    # An epilogue reads whole vectors.
    return Kernel(emitter.text(by_sums), (_TILE + lanes) * element_bytes, title)


class _Vector(Walk):
    """Writes the walks for one column of C."""

    def text(self, by_sums: bool) -> str:
        """The module."""
        f, size = self.f, self.size
        with self.tiles() as tile:
            a, b = self.block_of_a(tile, 0), self.block_of_b(tile, 0)
            if by_sums:
                self._sum_of_rows(a, size[Size.A_TERM], b, tile.rows)
            else:
                self._dot_products(a, size[Size.A_ROW], b, tile.rows)
            self._finish(tile)
        return AS_WRITTEN + ir.module([f.finish(), LOOP_METADATA])

    def _finish(self, tile: Tile) -> None:
        """The epilogue of a tile: a row of C, or a column that lies dense as a row does."""
        place = self.f.add(tile.c, tile.i)
        block = "%scratch", 0, 1, tile.rows, tile.i, place, 0
        call(self.f, "%finish", FINISH, "%buffers", *block)

    # ------------------------------------------------------------ y = sum over k of x[k] row[k]

    def _sum_of_rows(self, matrix: str, leading: str, x: str, count: str) -> None:
        f, k = self.f, self.size[Size.K]
        zeros = f"i8 0, i64 {f.mul(count, self.bytes)}, i1 false"
        f.do(f"call void @llvm.memset.p0.i64(ptr align 64 %scratch, {zeros})")
        whole = f.mul(f.div(k, _STREAMS), _STREAMS)
        for start, end, rows in ((0, whole, _STREAMS), (whole, k, 1)):
            with loop(f, start, end, rows, hint="k") as first:
                self._add_rows(matrix, leading, x, count, [f.add(first, r) for r in range(rows)])

    def _add_rows(self, matrix: str, leading: str, x: str, count: str, rows: Sequence[str]) -> None:
        f = self.f
        factors = [Segment().load(f, self.dtype, f.at(self.memory, x, row)) for row in rows]
        lines = [f.at(self.memory, matrix, f.mul(row, leading)) for row in rows]

        def run(at: str, run: Segment) -> None:
            kind = run.type(self.element)
            place = f.at(self.element, "%scratch", at)
            # Two chains of additions: one would wait for each of its links.
            sums = [
                run.load(f, self.accumulated, place),
                run.splat(f, self.element, ir.number(0.0, self.element)),
            ]
            for i, (factor, line) in enumerate(zip(factors, lines)):
                elements = run.load(f, self.dtype, f.at(self.memory, line, at))
                sums[i % 2] = multiply_add(f, kind, run.splat(f, self.element, factor), elements, sums[i % 2])
            total = f.value(f"fadd {kind} {sums[0]}, {sums[1]}") if len(rows) > 1 else sums[0]
            run.store(f, self.accumulated, total, place)

        if self.masks:
            with loop(f, 0, count, self.lanes, hint="c") as at:
                run(at, self.run(at, count))
        else:
            whole = f.mul(f.div(count, self.lanes), self.lanes)
            with loop(f, 0, whole, self.lanes, hint="c") as at:
                run(at, Segment(self.lanes))
            with loop(f, whole, count, hint="c") as at:
                run(at, Segment())

    # ------------------------------------------------------------ y[i] = sum over k of row[i][k] x[k]

    def _dot_products(self, matrix: str, leading: str, x: str, count: str) -> None:
        f, k = self.f, self.size[Size.K]
        whole = k if self.masks else f.mul(f.div(k, self.lanes), self.lanes)
        final = f.sub(count, 1)
        with loop(f, 0, count, _STREAMS, hint="p") as first:
            numbers = [f.add(first, r) for r in range(_STREAMS)]
            # Rows that are not there repeat the last one that is.
            lines = [
                f.at(self.memory, matrix, f.mul(f.minimum(number, final), leading)) for number in numbers
            ]
            sums = [f.variable(self.vector, "zeroinitializer") for _ in lines]
            with loop(f, 0, whole, self.lanes, hint="k") as at:
                self._add_products(x, lines, sums, at, self.run(at, k))
            zero = ir.number(-0.0, self.element)
            suffix = f"v{self.lanes}{'f64' if self.bytes == 8 else 'f32'}"
            totals = [
                f.variable(
                    self.element,
                    f.value(
                        f"call reassoc {self.element} @llvm.vector.reduce.fadd.{suffix}"
                        f"({self.element} {zero}, {self.vector} {f.load(self.vector, total)})"
                    ),
                )
                for total in sums
            ]
            if not self.masks:
                with loop(f, whole, k, hint="k") as at:
                    self._add_products(x, lines, totals, at, Segment())
            for number, total in zip(numbers, totals):
                with f.when(f.value(f"icmp slt i64 {number}, {count}")):
                    f.store(self.element, f.load(self.element, total), f.at(self.element, "%scratch", number))

    def _add_products(self, x: str, lines: Sequence[str], sums: Sequence[str], at: str, run: Segment) -> None:
        f, dtype, kind = self.f, self.dtype, run.type(self.element)
        factor = run.load(f, dtype, f.at(self.memory, x, at))
        for line, total in zip(lines, sums):
            elements = run.load(f, dtype, f.at(self.memory, line, at))
            f.store(kind, multiply_add(f, kind, elements, factor, f.load(kind, total)), total)


# ---------------------------------------------------------------- tiny products

# The most elements of a tiny B, or C; the longest rows that a vector's elements are gathered from; the most terms of a
# tiny product's sums; rows of a tile.
_TINY, _TINY_ROW, _TINY_SUM, _TINY_ROWS = 32, 8, 4096, 1 << 14


def tiny_constants(
    product: Product, problem: Problem, known: tuple[int | None, int | None, int | None]
) -> tuple[int | None, int | None, int | None] | None:
    """The sizes that the kernel of a tiny product holds as constants; None if it is none."""
    m, n, k = known
    if problem.batch != 1 or problem.ldc != problem.n:
        return None
    are_short = product.transpose_a or (problem.lda == k and problem.k <= _TINY_ROW)
    if n and k and n * k <= _TINY and n <= _TINY_ROW and are_short:
        return None, n, k
    if m and n and m * n <= _TINY // 2 and problem.k <= _TINY_SUM:
        return m, n, None
    return None


def tiny_sizes(product: Product, problem: Problem) -> list[int]:
    """The table of a tiny product."""
    return table(product, problem, min(max(problem.m, 1), _TINY_ROWS), max(problem.n, 1), max(problem.k, 1))


def tiny(product: Product, m: int | None, n: int | None, k: int | None) -> Kernel:
    """The kernel of a tiny product: either B, or C, is held in registers."""
    emitter = _Tiny(product)
    assert n is not None
    heading = ""
    if k is not None:
        emitter.rows(n, k)
    else:
        assert m is not None
        emitter.sums(m, n)
        heading = AS_WRITTEN  # there is nothing in it to be vectorized
    return Kernel(heading + ir.module([emitter.f.finish(), LOOP_METADATA]), 0, product.title("tiny"))


class _Tiny(Emitter):
    """Writes the kernels of tiny products."""

    def __init__(self, product: Product) -> None:
        super().__init__(product.dtype, kernel.function())
        self.product = product
        epilogue = product.epilogue
        count = len(epilogue.operands) + len(epilogue.outputs)
        self.buffers = [kernel.buffer(self.f, 2 + i) for i in range(count)]

    def rows(self, n: int, k: int) -> None:
        """Row after row of a dense C = A B; a loop that LLVM vectorizes."""
        f = self.f
        with self.tiles() as tile:
            a, b = self.block_of_a(tile, 0), self.block_of_b(tile, 0)
            of_b = {(p, j): self._element(b, *self._place_in_b(p, j)) for p in range(k) for j in range(n)}
            with f.loop(0, tile.rows, hint="row") as row:
                if self.product.transpose_a:
                    of_a = [self._element(a, *self._place_in_a(row, p)) for p in range(k)]
                else:
                    of_a = [self._element(a, f.add(f.mul(row, k), p)) for p in range(k)]
                offset = f.add(tile.c, f.mul(f.add(tile.i, row), n))
                self._finish(
                    [self._sum([(of_a[p], of_b[p, j]) for p in range(k)]) for j in range(n)], n, offset
                )

    def sums(self, m: int, n: int) -> None:
        """Every element of C at once, each as a few interleaved sums."""
        f, size = self.f, self.size
        streams = 4 if m * n <= 4 else 1
        with self.tiles() as tile:
            a, b = self.block_of_a(tile, 0), self.block_of_b(tile, 0)
            zero = ir.number(0.0, self.element)
            sums = {
                (s, i, j): f.variable(self.element, zero)
                for s in range(streams)
                for i in range(m)
                for j in range(n)
            }
            whole = f.mul(f.div(size[Size.K], streams), streams)
            for start, end, count in ((0, whole, streams), (whole, size[Size.K], 1)):
                with loop(f, start, end, count, hint="k") as first:
                    for s in range(count):
                        k = f.add(first, s)
                        of_a = [self._element(a, *self._place_in_a(i, k)) for i in range(m)]
                        of_b = [self._element(b, *self._place_in_b(k, j)) for j in range(n)]
                        for i in range(m):
                            for j in range(n):
                                total = sums[s, i, j]
                                before = f.load(self.element, total)
                                after = multiply_add(f, self.element, of_a[i], of_b[j], before)
                                f.store(self.element, after, total)
            for i in range(m):
                row = [self._total([sums[s, i, j] for s in range(streams)]) for j in range(n)]
                self._finish(row, n, f.add(tile.c, i * n))

    def _place_in_a(self, i: int | str, k: int | str) -> tuple[str, int | str]:
        if self.product.transpose_a:
            return self.f.mul(k, self.size[Size.A_TERM]), i
        return self.f.mul(i, self.size[Size.A_ROW]), k

    def _place_in_b(self, k: int | str, j: int | str) -> tuple[str, int | str]:
        if self.product.transpose_b:
            return self.f.mul(j, self.size[Size.B_COLUMN]), k
        return self.f.mul(k, self.size[Size.B_TERM]), j

    def _element(self, base: str, *places: int | str) -> str:
        f = self.f
        address = base
        for place in places:
            address = f.at(self.memory, address, place)
        return Segment().load(f, self.product.dtype, address)

    def _sum(self, terms: Sequence[tuple[str, str]]) -> str:
        f = self.f
        total = f.value(f"fmul {self.element} {terms[0][0]}, {terms[0][1]}")
        for a, b in terms[1:]:
            total = multiply_add(f, self.element, a, b, total)
        return total

    def _total(self, parts: Sequence[str]) -> str:
        f = self.f
        values = [f.load(self.element, part) for part in parts]
        while len(values) > 1:
            values = [f.value(f"fadd {self.element} {a}, {b}") for a, b in zip(values[::2], values[1::2])]
        return values[0]

    def _finish(self, row: Sequence[str], n: int, offset: str) -> None:
        """The epilogue of one row: a row's operands are read before anything of it is written."""
        f, epilogue = self.f, self.product.epilogue
        for j, value in enumerate(row):
            places = addresses(f, epilogue, self.buffers, j, f.add(offset, j))
            emit(f, epilogue, value, places, Segment())
