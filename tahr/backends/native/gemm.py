"""Matrix products: C = epilogue(A B), batched, either operand transposed.

The blocked kernel follows GotoBLAS: blocks of A and B are copied ("packed") into the order in which the micro-kernel
reads them, and the micro-kernel keeps a small block of C in registers while it walks along K. A tile is a block of C;
tiles that follow each other in a row of blocks share the packed block of A.

Source: K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

from tahr.backends.native import ir, kernel, target as targets
from tahr.backends.native.epilogue import Epilogue, Segment, addresses, broadcast, emit
from tahr.backends.native.ir import F32, F64, I1, I32, I64, POINTER
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.target import Target
from tahr.core import dtypes
from tahr.core.dtypes import DType


@dataclass(frozen=True)
class Product:
    """What is known of a matrix product when its kernel is written.

    Attributes:
        dtype: the type of A's and B's elements: float64, float32 or a half type (accumulated as float32).
        transpose_a: whether A is stored as [K, M] instead of [M, K].
        transpose_b: whether B is stored as [N, K] instead of [K, N].
        epilogue: what is computed of the product; leaf 0 is computed in the type of accumulation.
    """

    dtype: DType
    transpose_a: bool
    transpose_b: bool
    epilogue: Epilogue

    @property
    def element(self) -> str:
        """The LLVM type of accumulation."""
        return F64 if self.dtype == dtypes.float64 else F32

    @property
    def element_bytes(self) -> int:
        """The size of what is accumulated."""
        return 8 if self.dtype == dtypes.float64 else 4


class Batch(NamedTuple):
    """One batch dimension: how many products, and from one to the next the distance (in elements; 0 broadcasts)."""

    count: int
    stride_a: int
    stride_b: int
    stride_c: int


class Size(enum.IntEnum):
    """The places of the blocked kernel's table of sizes."""

    TILES = 0
    M = 1
    N = 2
    K = 3
    LDA = 4
    LDB = 5
    LDC = 6
    BATCH = 7  # of the inner batch dimension
    OUTER_A = 8
    OUTER_B = 9
    OUTER_C = 10
    INNER_A = 11
    INNER_B = 12
    INNER_C = 13
    MC = 14  # rows, columns and depth of a block
    NC = 15
    KC = 16
    ROW_BLOCKS = 17
    COLUMN_BLOCKS = 18
    K_BLOCKS = 19


@dataclass(frozen=True)
class Blocking:
    """How a target's registers and caches are used.

    Attributes:
        lanes: elements of a vector register.
        rows: rows of the micro-kernel's block of C.
        vectors: the most vectors in a row of it.
        packed_a, packed_b: how many elements of packed A and B a thread's scratch holds.
        depth: the most steps along K before the block of C goes to memory.
        accumulated: how many elements of C wait in scratch where K is cut into blocks.
    """

    lanes: int
    rows: int
    vectors: int
    packed_a: int
    packed_b: int
    depth: int
    accumulated: int

    @property
    def columns(self) -> int:
        """Columns of the micro-kernel's widest block of C."""
        return self.lanes * self.vectors

    @property
    def square(self) -> int:
        """Rows and columns of the squares in which packing transposes."""
        return min(self.rows, self.lanes)


def blocking(product: Product, target: Target) -> Blocking:
    """The blocking for a target: the block of C, a row of B and an element of A fill the vector registers."""
    rows, vectors = (8, 3) if target.vector_registers >= 32 else (4, 3) if target.has_fma else (4, 2)
    packed = (512 << 10) // product.element_bytes
    return Blocking(
        lanes=target.lanes(product.element_bytes),
        rows=rows,
        vectors=vectors,
        packed_a=packed,
        packed_b=packed,
        depth=1024,
        accumulated=packed // 2,
    )


# ---------------------------------------------------------------- sizes


def sizes(
    product: Product,
    m: int,
    n: int,
    k: int,
    batches: Sequence[Batch] = (),
    lda: int | None = None,
    ldb: int | None = None,
    ldc: int | None = None,
    plan: Blocking | None = None,
) -> list[int]:
    """The table for exact sizes.

    Args:
        m, n, k: C is [m, n], A B sums over k.
        batches: at most two batch dimensions, the outer one first.
        lda, ldb, ldc: the distance between rows of A, B and C as they are stored, in elements; by default they are dense.
        plan: the blocking, by default the current target's.
    """
    plan = plan or blocking(product, targets.current())
    lda = lda if lda is not None else m if product.transpose_a else k
    ldb = ldb if ldb is not None else k if product.transpose_b else n
    ldc = ldc if ldc is not None else n
    m, batches = _folded(product, m, lda, ldc, batches)
    outer, inner = [Batch(1, 0, 0, 0)] * (2 - len(batches)) + list(batches)

    depth = _even(k, plan.depth, 1)
    block_rows, block_columns = _block(plan, m, n, depth, outer.count * inner.count)
    row_blocks, column_blocks = _blocks(m, block_rows), _blocks(n, block_columns)
    table = {
        Size.TILES: outer.count * inner.count * row_blocks * column_blocks,
        Size.M: m, Size.N: n, Size.K: k,
        Size.LDA: lda, Size.LDB: ldb, Size.LDC: ldc,
        Size.BATCH: inner.count,
        Size.OUTER_A: outer.stride_a, Size.OUTER_B: outer.stride_b, Size.OUTER_C: outer.stride_c,
        Size.INNER_A: inner.stride_a, Size.INNER_B: inner.stride_b, Size.INNER_C: inner.stride_c,
        Size.MC: block_rows, Size.NC: block_columns, Size.KC: depth,
        Size.ROW_BLOCKS: row_blocks, Size.COLUMN_BLOCKS: column_blocks,
        Size.K_BLOCKS: max(1, _blocks(k, depth)),
    }  # fmt: skip
    return [table[place] for place in Size]


def tiles(table: Sequence[int]) -> int:
    """How many tiles a table's product has."""
    return table[Size.TILES]


def _folded(
    product: Product, m: int, lda: int, ldc: int, batches: Sequence[Batch]
) -> tuple[int, Sequence[Batch]]:
    """Batches whose rows follow each other, multiplied by one B, are rows of one product."""
    while batches and not product.transpose_a:
        count, a, b, c = batches[-1]
        if b != 0 or a != m * lda or c != m * ldc:
            break
        m, batches = m * count, batches[:-1]
    return m, batches


def _block(plan: Blocking, m: int, n: int, depth: int, batch: int) -> tuple[int, int]:
    """Rows and columns of a tile: packed blocks fit their scratch, and there is work for several threads."""
    rows = min(_TILE_ROWS, plan.packed_a // max(depth, 1) // plan.rows * plan.rows)
    rows = _even(m, max(rows, plan.rows), plan.rows)
    columns = min(plan.packed_b // max(depth, 1), plan.accumulated // rows) // plan.columns * plan.columns
    # A tile has work for some microseconds; beyond that, more tiles let more threads take part.
    least = _TILE_WORK // (rows * max(depth, 1))
    wanted = n * batch * _blocks(m, rows) // _TILES
    columns = min(columns, max(_up(max(wanted, least), plan.columns), plan.columns))
    return rows, _even(n, max(columns, plan.columns), plan.columns)


# A tile's most rows; its least multiplications; how many tiles are enough for every thread.
_TILE_ROWS, _TILE_WORK, _TILES = 256, 1 << 17, 16


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


def _up(size: int, unit: int) -> int:
    return _blocks(size, unit) * unit


def _even(size: int, most: int, unit: int) -> int:
    """The block size that cuts a size into as few blocks as possible, of nearly equal sizes."""
    blocks = max(1, _blocks(size, most))
    return max(unit, _up(_blocks(size, blocks), unit))


# ---------------------------------------------------------------- the kernel


def blocked(product: Product, plan: Blocking | None = None) -> Kernel:
    """The packed, register-tiled kernel; buffers are A, B, the epilogue's operands, then its outputs."""
    plan = plan or blocking(product, targets.current())
    emitter = _Blocked(product, plan)
    text = ir.module([emitter.micro(vectors) for vectors in range(1, plan.vectors + 1)] + [emitter.main()])
    return Kernel(text, emitter.scratch_bytes, _title(product))


def _title(product: Product) -> str:
    letters = "".join("t" if transposed else "n" for transposed in (product.transpose_a, product.transpose_b))
    outputs = "" if product.epilogue.is_plain else " + " + ", ".join(o.op for o in product.epilogue.outputs)
    return f"matmul {product.dtype.name} {letters}{outputs}"


class _Blocked:
    """Writes the blocked kernel of one product."""

    def __init__(self, product: Product, plan: Blocking) -> None:
        self.product = product
        self.plan = plan
        self.element = product.element
        self.vector = ir.vector(plan.lanes, self.element)
        # Packing writes whole squares, so up to a square more than the block.
        slack = plan.square * plan.columns
        at_a = plan.packed_a + slack
        at_b = at_a + plan.packed_b + slack
        self.offsets = (0, at_a, at_b)
        self.scratch_bytes = (at_b + max(plan.accumulated, plan.rows * plan.columns)) * product.element_bytes

    # ------------------------------------------------------------ the micro-kernel

    def micro(self, vectors: int) -> str:
        """`void micro(ptr a, ptr b, i64 k, ptr c, i1 first)`: c (+)= a b for packed panels a and b; c is dense."""
        arguments = ((POINTER, "a"), (POINTER, "b"), (I64, "k"), (POINTER, "c"), (I1, "first"))
        f = ir.Function(
            f"micro{vectors}", arguments, attributes='noinline "prefer-vector-width"="512"', linkage="internal"
        )
        rows, lanes, vector, element = self.plan.rows, self.plan.lanes, self.vector, self.element
        align = lanes * self.product.element_bytes
        places = [(row, v) for row in range(rows) for v in range(vectors)]
        sums = {place: f.variable(vector, "zeroinitializer") for place in places}
        c = {(row, v): f.at(element, "%c", (row * vectors + v) * lanes) for row, v in places}
        with f.either("%first") as branches:
            branches.otherwise()
            for place in places:
                f.store(vector, f.load(vector, c[place], align), sums[place])
        with f.loop(0, "%k", hint="k") as k:
            a = f.at(element, "%a", f.mul(k, rows))
            b = f.at(element, "%b", f.mul(k, vectors * lanes))
            row_of_b = [f.load(vector, f.at(element, b, v * lanes), align) for v in range(vectors)]
            for row in range(rows):
                factor = broadcast(f, lanes, element, f.load(element, f.at(element, a, row)))
                for v in range(vectors):
                    self._multiply_add(f, factor, row_of_b[v], sums[row, v])
        for place in places:
            f.store(vector, f.load(vector, sums[place]), c[place], align)
        return f.finish()

    def _multiply_add(self, f: ir.Function, a: str, b: str, total: str) -> None:
        kind = self.vector
        suffix = f"v{self.plan.lanes}f{8 * self.product.element_bytes}"
        before = f.load(kind, total)
        after = f.value(f"call {kind} @llvm.fmuladd.{suffix}({kind} {a}, {kind} {b}, {kind} {before})")
        f.store(kind, after, total)

    # ------------------------------------------------------------ blocks

    def main(self) -> str:
        """The kernel: tile after tile, block after block along K."""
        f = kernel.function()
        self.table = kernel.sizes(f, len(Size))
        buffers = 2 + len(self.product.epilogue.operands) + len(self.product.epilogue.outputs)
        self.buffers = [kernel.buffer(f, i) for i in range(buffers)]
        self.packed_a, self.packed_b, self.accumulators = (
            f.at(self.element, "%scratch", offset) for offset in self.offsets
        )
        table = self.table
        # Which block each scratch holds; -1 is none.
        held_a, held_b = f.variable(I64, "-1"), f.variable(I64, "-1")
        with f.loop("%begin", "%end", hint="tile") as tile:
            column_block, row_of_tiles = self._split(f, tile, table[Size.COLUMN_BLOCKS])
            row_block, batch = self._split(f, row_of_tiles, table[Size.ROW_BLOCKS])
            inner, outer = self._split(f, batch, table[Size.BATCH])
            i, j = f.mul(row_block, table[Size.MC]), f.mul(column_block, table[Size.NC])
            rows = f.minimum(table[Size.MC], f.sub(table[Size.M], i))
            columns = f.minimum(table[Size.NC], f.sub(table[Size.N], j))
            a, b, c = (
                f.add(f.mul(outer, table[place]), f.mul(inner, table[place + 3]))
                for place in (Size.OUTER_A, Size.OUTER_B, Size.OUTER_C)
            )
            with f.loop(0, table[Size.K_BLOCKS], hint="kb") as k_block:
                k = f.mul(k_block, table[Size.KC])
                depth = f.minimum(table[Size.KC], f.sub(table[Size.K], k))
                key_a = f.add(f.mul(row_of_tiles, table[Size.K_BLOCKS]), k_block)
                with self._unless_held(f, held_a, key_a):
                    self._pack_a(f, a, i, rows, k, depth)
                of_b = f.add(f.mul(batch, table[Size.COLUMN_BLOCKS]), column_block)
                with self._unless_held(f, held_b, f.add(f.mul(of_b, table[Size.K_BLOCKS]), k_block)):
                    self._pack_b(f, b, j, columns, k, depth)
                self._multiply(f, c, i, rows, j, columns, k_block, depth)
        return f.finish()

    @staticmethod
    def _split(f: ir.Function, index: str, count: str) -> tuple[str, str]:
        return f.rem(index, count), f.div(index, count)

    @staticmethod
    def _unless_held(f: ir.Function, held: str, key: str) -> AbstractContextManager[None]:
        differs = f.value(f"icmp ne i64 {f.load(I64, held)}, {key}")
        f.store(I64, key, held)
        return f.when(differs)

    def _panels(self, f: ir.Function, columns: str) -> tuple[str, str]:
        """How many vectors a block's columns take, and into how many panels they are cut evenly."""
        lanes, vectors = self.plan.lanes, self.plan.vectors
        count = f.div(f.add(columns, lanes - 1), lanes)
        return count, f.div(f.add(count, vectors - 1), vectors)

    def _panel(self, f: ir.Function, panel: str, panels: str, count: str) -> tuple[str, str]:
        """A panel's first vector, and how many it has."""
        first = f.div(f.mul(panel, count), panels)
        return first, f.sub(f.div(f.mul(f.add(panel, 1), count), panels), first)

    def _multiply(
        self, f: ir.Function, c: str, i: str, rows: str, j: str, columns: str, k_block: str, depth: str
    ) -> None:
        """The micro-kernel over one pair of packed blocks; after the last along K, the epilogue."""
        plan, element = self.plan, self.element
        first = f.value(f"icmp eq i64 {k_block}, 0")
        last = f.value(f"icmp eq i64 {f.add(k_block, 1)}, {self.table[Size.K_BLOCKS]}")
        single = f.value(f"and i1 {first}, {last}")
        padded_rows = f.mul(f.div(f.add(rows, plan.rows - 1), plan.rows), plan.rows)
        count, panels = self._panels(f, columns)
        with f.loop(0, panels, hint="panel") as panel:
            start, vectors = self._panel(f, panel, panels, count)
            start, width = f.mul(start, plan.lanes), f.mul(vectors, plan.lanes)
            b = f.at(element, self.packed_b, f.mul(start, depth))
            with f.loop(0, rows, plan.rows, hint="row") as row:
                a = f.at(element, self.packed_a, f.mul(row, depth))
                # Where K is one block, one small block of C in the first-level cache is enough.
                place = f.add(f.mul(start, padded_rows), f.mul(row, width))
                place = f.value(f"select i1 {single}, i64 0, i64 {place}")
                accumulators = f.at(element, self.accumulators, place)
                for n in range(1, plan.vectors + 1):
                    with f.when(f.value(f"icmp eq i64 {vectors}, {n}")):
                        f.do(
                            f"call void @micro{n}(ptr {a}, ptr {b}, i64 {depth}, ptr {accumulators}, i1 {first})"
                        )
                with f.when(last):
                    height = f.minimum(plan.rows, f.sub(rows, row))
                    there = f.minimum(width, f.sub(columns, start))
                    self._finish(f, c, f.add(i, row), height, f.add(j, start), there, accumulators, width)

    def _finish(
        self, f: ir.Function, c: str, i: str, rows: str, j: str, columns: str, accumulators: str, width: str
    ) -> None:
        """The epilogue of one small block of C."""
        with f.loop(0, rows, hint="r") as row:
            source = f.at(self.element, accumulators, f.mul(row, width))
            offset = f.add(f.add(c, f.mul(f.add(i, row), self.table[Size.LDC])), j)

            def segment(column: str, run: Segment) -> None:
                places = addresses(
                    f, self.product.epilogue, self.buffers[2:], f.add(j, column), f.add(offset, column)
                )
                kind = run.type(self.element)
                value = f.load(kind, f.at(self.element, source, column), self.product.element_bytes)
                emit(f, self.product.epilogue, value, places, run)

            lanes = self.plan.lanes
            whole = f.mul(f.div(columns, lanes), lanes)
            with f.loop(0, whole, lanes, hint="c") as column:
                segment(column, Segment(lanes))
            with f.loop(whole, columns, hint="c") as column:
                segment(column, Segment())

    # ------------------------------------------------------------ packing

    def _pack_a(self, f: ir.Function, a: str, i: str, rows: str, k: str, depth: str) -> None:
        """A's block as panels of the micro-kernel's rows: [panel][k][row]."""
        height = self.plan.rows
        with f.loop(0, rows, height, hint="pa") as row:
            target = f.at(self.element, self.packed_a, f.mul(row, depth))
            source = self._address(f, 0, a, f.add(i, row), k, self.product.transpose_a)
            there = f.minimum(height, f.sub(rows, row))
            if self.product.transpose_a:
                self._copy(f, source, self.table[Size.LDA], there, target, str(height), depth, height)
            else:
                self._transpose(f, source, self.table[Size.LDA], there, target, str(height), depth)

    def _pack_b(self, f: ir.Function, b: str, j: str, columns: str, k: str, depth: str) -> None:
        """B's block as panels of vectors: [panel][k][column]."""
        lanes = self.plan.lanes
        count, panels = self._panels(f, columns)
        with f.loop(0, panels, hint="pb") as panel:
            start, vectors = self._panel(f, panel, panels, count)
            start, width = f.mul(start, lanes), f.mul(vectors, lanes)
            target = f.at(self.element, self.packed_b, f.mul(start, depth))
            source = self._address(f, 1, b, f.add(j, start), k, not self.product.transpose_b)
            there = f.minimum(width, f.sub(columns, start))
            if self.product.transpose_b:
                self._transpose(f, source, self.table[Size.LDB], there, target, width, depth)
            else:
                self._copy(f, source, self.table[Size.LDB], there, target, width, depth, lanes)

    def _address(
        self, f: ir.Function, operand: int, offset: str, line: str, k: str, along_line: bool
    ) -> str:
        """Where a block of A or B starts: `line` is the row of A or the column of B, k the place along the sum."""
        leading = self.table[Size.LDA + operand]
        far, near = (k, line) if along_line else (line, k)
        place = f.add(f.add(offset, f.mul(far, leading)), near)
        return f.at(ir.MEMORY[self.product.dtype], self.buffers[operand], place)

    def _copy(
        self, f: ir.Function, source: str, leading: str, there: str, target: str, width: str, depth: str, unit: int
    ) -> None:
        """Packs lines that lie as they shall, `unit` elements at a time; what is not there becomes zero.

        Args:
            leading: the distance from one k to the next in the source.
            there: how many of the panel's lines exist.
            width: the panel's lines, packed.
        """
        dtype, memory = self.product.dtype, ir.MEMORY[self.product.dtype]
        kind = ir.vector(unit, self.element)
        whole = f.mul(f.div(there, unit), unit)
        mask = self._mask(f, unit, f.sub(there, whole))
        ragged = f.value(f"icmp ne i64 {whole}, {there}")
        with f.loop(0, depth, hint="k") as k:
            line = f.at(memory, source, f.mul(k, leading))
            packed = f.at(self.element, target, f.mul(k, width))
            with f.loop(0, whole, unit, hint="c") as column:
                value = Segment(unit).load(f, dtype, f.at(memory, line, column))
                f.store(kind, value, f.at(self.element, packed, column), self.product.element_bytes)
            with f.when(ragged):
                value = Segment(unit, mask).load(f, dtype, f.at(memory, line, whole))
                f.store(kind, value, f.at(self.element, packed, whole), self.product.element_bytes)

    def _transpose(
        self, f: ir.Function, source: str, leading: str, there: str, target: str, width: str, depth: str
    ) -> None:
        """Packs lines that lie across, square by square; a line that is not there repeats the last one.

        Squares that reach beyond the depth write what the next panel, or the slack, takes.
        """
        size = self.plan.square
        dtype, memory = self.product.dtype, ir.MEMORY[self.product.dtype]
        kind = ir.vector(size, self.element)
        final = f.sub(there, 1)
        whole = f.mul(f.div(depth, size), size)
        mask = self._mask(f, size, f.sub(depth, whole))

        def square(lines: Sequence[str], line: str, k: str, run: Segment) -> None:
            values = [run.load(f, dtype, f.at(memory, source, k)) for source in lines]
            place = f.at(self.element, target, f.add(f.mul(k, width), line))
            for row, value in enumerate(_transposed(f, values, self.element)):
                f.store(
                    kind, value, f.at(self.element, place, f.mul(row, width)), self.product.element_bytes
                )

        with f.loop(0, width, size, hint="line") as line:
            lines = [
                f.at(memory, source, f.mul(f.minimum(f.add(line, r), final), leading)) for r in range(size)
            ]
            with f.loop(0, whole, size, hint="k") as k:
                square(lines, line, k, Segment(size))
            with f.when(f.value(f"icmp ne i64 {whole}, {depth}")):
                square(lines, line, whole, Segment(size, mask))

    @staticmethod
    def _mask(f: ir.Function, width: int, count: str) -> str:
        """The mask of the first elements."""
        kind = ir.vector(width, I32)
        every = broadcast(f, width, I32, f.value(f"trunc i64 {count} to i32"))
        order = "<" + ", ".join(f"i32 {i}" for i in range(width)) + ">"
        return f.value(f"icmp slt {kind} {order}, {every}", "mask")


def _transposed(f: ir.Function, rows: Sequence[str], element: str) -> list[str]:
    """The columns of a square of vectors, whose size is a power of two, by interleaving halves."""
    size = len(rows)
    kind = ir.vector(size, element)
    # Interleaving row r with row r + size / 2 and repeating it log2(size) times is a transposition.
    half = size // 2
    low = [x for i in range(half) for x in (i, size + i)]
    high = [x for i in range(half, size) for x in (i, size + i)]
    values = list(rows)
    for _ in range(size.bit_length() - 1):
        values = [
            _shuffle(f, kind, values[i], values[i + half], order) for i in range(half) for order in (low, high)
        ]
    return values


def _shuffle(f: ir.Function, kind: str, a: str, b: str, order: Sequence[int]) -> str:
    indices = "<" + ", ".join(f"i32 {i}" for i in order) + ">"
    return f.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> {indices}")
