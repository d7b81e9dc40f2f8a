"""Matrix products: C = epilogue(A B), batched, either operand transposed.

The blocked kernel follows GotoBLAS: blocks of A and B are copied ("packed") into the order in which the micro-kernel
reads them, and the micro-kernel keeps a small block of C in registers while it walks along K. A tile is a block of C;
tiles that follow each other in a row of blocks share the packed block of A.

Source: K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
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
    def is_half(self) -> bool:
        """Whether elements are converted before they are multiplied."""
        return self.dtype.size == 2

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
    PACKS_A = 20  # 1 where the block is packed, 0 where the micro-kernel reads the matrix itself
    PACKS_B = 21


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
        masks: whether loads and stores of parts of a vector cost no more than whole ones.
    """

    lanes: int
    rows: int
    vectors: int
    packed_a: int
    packed_b: int
    depth: int
    accumulated: int
    masks: bool

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
        masks=target.has("avx512f"),
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
        Size.PACKS_A: _packs_a(product, plan, n), Size.PACKS_B: _packs_b(product, plan, m, n),
    }  # fmt: skip
    return [table[place] for place in Size]


def tiles(table: Sequence[int]) -> int:
    """How many tiles a table's product has."""
    return table[Size.TILES]


def _packs_a(product: Product, plan: Blocking, n: int) -> bool:
    """Whether A is packed: not where its few uses do not pay for it."""
    return product.is_half or n > 2 * plan.columns


def _packs_b(product: Product, plan: Blocking, m: int, n: int) -> bool:
    """Whether B is packed: not where its rows lie as the micro-kernel reads them, and are read a few times only."""
    if product.is_half or product.transpose_b or (n % plan.lanes != 0 and not plan.masks):
        return True
    return m > 2 * plan.rows


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
    emitter = _Blocked(product, plan or blocking(product, targets.current()))
    return Kernel(emitter.text(), emitter.scratch_bytes, _title(product))


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
        self.memory = ir.MEMORY[product.dtype]
        self.vector = ir.vector(plan.lanes, self.element)
        self.offsets = (0, plan.packed_a, plan.packed_a + plan.packed_b)
        block = max(plan.accumulated, plan.rows * plan.columns)
        self.scratch_bytes = (self.offsets[-1] + block) * product.element_bytes
        self.helpers: dict[str, str] = {}
        """The texts of the functions that the kernel calls."""

    def text(self) -> str:
        """The module."""
        main = self._main()
        micros = [self._micro(vectors) for vectors in range(1, self.plan.vectors + 1)]
        return ir.module([*micros, *self.helpers.values(), main])

    # ------------------------------------------------------------ the micro-kernel

    def _micro(self, vectors: int) -> str:
        """The micro-kernel: the small block c (which lies dense) becomes, or is increased by, a b.

        Its arguments: a, with the distances from row to row and from k to k; how many rows there are; b, with the
        distance from k to k and the number of columns in the last vector; k; c; and whether it is overwritten.
        """
        rows, lanes, vector, element = self.plan.rows, self.plan.lanes, self.vector, self.element
        align = lanes * self.product.element_bytes
        f = ir.Function(
            f"micro{vectors}", _MICRO, attributes='noinline "prefer-vector-width"="512"', linkage="internal"
        )
        places = [(row, v) for row in range(rows) for v in range(vectors)]
        sums = {place: f.variable(vector, "zeroinitializer") for place in places}
        c = {(row, v): f.at(element, "%c", (row * vectors + v) * lanes) for row, v in places}
        with f.when("%again"):
            for place in places:
                f.store(vector, f.load(vector, c[place], align), sums[place])
        # Rows that are not there repeat the last one that is; nobody reads what becomes of them.
        final = f.sub("%rows", 1)
        lines = [f.at(element, "%a", f.mul(f.minimum(final, row), "%row_step")) for row in range(rows)]
        runs = [Segment(lanes)] * vectors
        if self.plan.masks:
            runs[-1] = Segment(lanes, mask(f, lanes, "%last"))
        with f.loop(0, "%k", hint="k") as k:
            b = f.at(element, "%b", f.mul(k, "%b_step"))
            row_of_b = [runs[v].load(f, self.accumulated, f.at(element, b, v * lanes)) for v in range(vectors)]
            along = f.mul(k, "%a_step")
            for row in range(rows):
                factor = broadcast(f, lanes, element, f.load(element, f.at(element, lines[row], along)))
                for v in range(vectors):
                    multiply_add(f, vector, factor, row_of_b[v], sums[row, v])
        for place in places:
            f.store(vector, f.load(vector, sums[place]), c[place], align)
        return f.finish()

    @property
    def accumulated(self) -> DType:
        """The dtype of accumulation."""
        return dtypes.float64 if self.element == F64 else dtypes.float32

    # ------------------------------------------------------------ blocks

    def _main(self) -> str:
        """The kernel: tile after tile, block after block along K."""
        f = kernel.function()
        self.table = table = kernel.sizes(f, len(Size))
        buffers = 2 + len(self.product.epilogue.operands) + len(self.product.epilogue.outputs)
        self.buffers = [kernel.buffer(f, i) for i in range(buffers)]
        self.packed_a, self.packed_b, self.accumulators = (
            f.at(self.element, "%scratch", offset) for offset in self.offsets
        )
        self.packs_a, self.packs_b = (
            f.value(f"icmp ne i64 {table[place]}, 0") for place in (Size.PACKS_A, Size.PACKS_B)
        )
        # Which block each scratch holds; -1 is none.
        held_a, held_b = f.variable(I64, "-1"), f.variable(I64, "-1")
        with f.loop("%begin", "%end", hint="tile") as tile:
            column_block, row_of_tiles = _split(f, tile, table[Size.COLUMN_BLOCKS])
            row_block, batch = _split(f, row_of_tiles, table[Size.ROW_BLOCKS])
            inner, outer = _split(f, batch, table[Size.BATCH])
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
                of_b = f.add(f.mul(batch, table[Size.COLUMN_BLOCKS]), column_block)
                key_b = f.add(f.mul(of_b, table[Size.K_BLOCKS]), k_block)
                block_a = self._block(f, 0, a, i, k, self.product.transpose_a)
                block_b = self._block(f, 1, b, j, k, not self.product.transpose_b)
                with self._unless_held(f, self.packs_a, held_a, key_a):
                    self._pack_a(f, block_a, rows, depth)
                with self._unless_held(f, self.packs_b, held_b, key_b):
                    self._pack_b(f, block_b, columns, depth)
                self._multiply(f, block_a, block_b, c, i, rows, j, columns, k_block, depth)
        return f.finish()

    def _block(self, f: ir.Function, operand: int, offset: str, line: str, k: str, along_line: bool) -> str:
        """Where a block of A or B starts: `line` is the row of A or the column of B, k the place along the sum."""
        far, near = (k, line) if along_line else (line, k)
        place = f.add(f.add(offset, f.mul(far, self.table[Size.LDA + operand])), near)
        return f.at(self.memory, self.buffers[operand], place)

    @staticmethod
    def _unless_held(f: ir.Function, packs: str, held: str, key: str) -> AbstractContextManager[None]:
        differs = f.value(f"icmp ne i64 {f.load(I64, held)}, {key}")
        f.store(I64, key, held)
        return f.when(f.value(f"and i1 {packs}, {differs}"))

    def _panels(self, f: ir.Function, columns: str) -> tuple[str, str]:
        """How many vectors a block's columns take, and into how many panels they are cut evenly."""
        lanes, vectors = self.plan.lanes, self.plan.vectors
        count = f.div(f.add(columns, lanes - 1), lanes)
        return count, f.div(f.add(count, vectors - 1), vectors)

    def _panel(self, f: ir.Function, panel: str, panels: str, count: str) -> tuple[str, str, str]:
        """A panel's first column, how many columns it takes, and how many vectors these are."""
        first = f.div(f.mul(panel, count), panels)
        vectors = f.sub(f.div(f.mul(f.add(panel, 1), count), panels), first)
        return f.mul(first, self.plan.lanes), f.mul(vectors, self.plan.lanes), vectors

    def _multiply(
        self,
        f: ir.Function,
        block_a: str,
        block_b: str,
        c: str,
        i: str,
        rows: str,
        j: str,
        columns: str,
        k_block: str,
        depth: str,
    ) -> None:
        """The micro-kernel over one pair of blocks; after the last along K, the epilogue."""
        plan, element, table = self.plan, self.element, self.table
        again = f.value(f"icmp ne i64 {k_block}, 0")
        last = f.value(f"icmp eq i64 {f.add(k_block, 1)}, {table[Size.K_BLOCKS]}")
        single = f.value(f"icmp eq i64 {table[Size.K_BLOCKS]}, 1")
        padded_rows = f.mul(f.div(f.add(rows, plan.rows - 1), plan.rows), plan.rows)
        count, panels = self._panels(f, columns)
        row_step, a_step = (1, table[Size.LDA]) if self.product.transpose_a else (table[Size.LDA], 1)
        row_step, a_step = _either(f, self.packs_a, 1, row_step), _either(f, self.packs_a, plan.rows, a_step)
        base_a = _either(f, self.packs_a, self.packed_a, block_a, POINTER)
        panel_step = _either(f, self.packs_a, depth, row_step)
        with f.loop(0, panels, hint="panel") as panel:
            start, width, vectors = self._panel(f, panel, panels, count)
            there = f.minimum(width, f.sub(columns, start))
            packed_b = f.at(element, self.packed_b, f.mul(start, depth))
            b = _either(f, self.packs_b, packed_b, f.at(self.memory, block_b, start), POINTER)
            b_step = _either(f, self.packs_b, width, table[Size.LDB])
            tail = f.sub(there, f.sub(width, plan.lanes))
            with f.loop(0, rows, plan.rows, hint="row") as row:
                height = f.minimum(plan.rows, f.sub(rows, row))
                a = f.at(element, base_a, f.mul(row, panel_step))
                # Where K is one block, one small block of C in the first-level cache is enough.
                place = f.add(f.mul(start, padded_rows), f.mul(row, width))
                accumulators = f.at(element, self.accumulators, _either(f, single, 0, place))
                arguments = (
                    f"ptr {a}, i64 {row_step}, i64 {a_step}, i64 {height}, ptr {b}, i64 {b_step}, i64 {tail}, "
                    f"i64 {depth}, ptr {accumulators}, i1 {again}"
                )
                for n in range(1, plan.vectors + 1):
                    with f.when(f.value(f"icmp eq i64 {vectors}, {n}")):
                        f.do(f"call void @micro{n}({arguments})")
                with f.when(last):
                    self._finish(f, c, f.add(i, row), height, f.add(j, start), there, accumulators, width)

    def _finish(
        self, f: ir.Function, c: str, i: str, rows: str, j: str, columns: str, accumulators: str, width: str
    ) -> None:
        """The epilogue of one small block of C."""
        lanes, epilogue = self.plan.lanes, self.product.epilogue

        def segment(column: str, run: Segment) -> None:
            places = addresses(f, epilogue, self.buffers[2:], f.add(j, column), f.add(offset, column))
            address = f.at(self.element, source, column)
            value = f.load(run.type(self.element), address, self.product.element_bytes)
            emit(f, epilogue, value, places, run)

        with f.loop(0, rows, hint="r") as row:
            source = f.at(self.element, accumulators, f.mul(row, width))
            offset = f.add(f.add(c, f.mul(f.add(i, row), self.table[Size.LDC])), j)
            if self.plan.masks:
                with f.loop(0, columns, lanes, hint="c") as column:
                    segment(column, Segment(lanes, mask(f, lanes, f.sub(columns, column))))
            else:
                whole = f.mul(f.div(columns, lanes), lanes)
                with f.loop(0, whole, lanes, hint="c") as column:
                    segment(column, Segment(lanes))
                with f.loop(whole, columns, hint="c") as column:
                    segment(column, Segment())

    # ------------------------------------------------------------ packing

    def _pack_a(self, f: ir.Function, block: str, rows: str, depth: str) -> None:
        """A's block as panels of the micro-kernel's rows: [panel][k][row]."""
        height = self.plan.rows
        leading = self.table[Size.LDA]
        pack = self._copy(height) if self.product.transpose_a else self._transpose()
        row_step = 1 if self.product.transpose_a else leading
        with f.loop(0, rows, height, hint="pa") as row:
            source = f.at(self.memory, block, f.mul(row, row_step))
            packed = f.at(self.element, self.packed_a, f.mul(row, depth))
            there = f.minimum(height, f.sub(rows, row))
            f.do(
                f"call void @{pack}(ptr {source}, i64 {leading}, i64 {there}, ptr {packed}, i64 {height}, i64 {depth})"
            )

    def _pack_b(self, f: ir.Function, block: str, columns: str, depth: str) -> None:
        """B's block as panels of vectors: [panel][k][column]."""
        leading = self.table[Size.LDB]
        pack = self._transpose() if self.product.transpose_b else self._copy(self.plan.lanes)
        column_step = leading if self.product.transpose_b else 1
        count, panels = self._panels(f, columns)
        with f.loop(0, panels, hint="pb") as panel:
            start, width, _ = self._panel(f, panel, panels, count)
            source = f.at(self.memory, block, f.mul(start, column_step))
            packed = f.at(self.element, self.packed_b, f.mul(start, depth))
            there = f.minimum(width, f.sub(columns, start))
            f.do(
                f"call void @{pack}(ptr {source}, i64 {leading}, i64 {there}, ptr {packed}, i64 {width}, i64 {depth})"
            )

    def _copy(self, unit: int) -> str:
        """The function that packs lines which lie as they shall, `unit` elements at a time."""
        f = ir.Function(f"copy{unit}", _PACK, attributes=_HELPER, linkage="internal")

        with f.loop(0, "%depth", hint="k") as k:
            line = f.at(self.memory, "%source", f.mul(k, "%leading"))
            packed = f.at(self.element, "%packed", f.mul(k, "%width"))

            def run(column: str, run: Segment) -> None:
                value = run.load(f, self.product.dtype, f.at(self.memory, line, column))
                run.store(f, self.accumulated, value, f.at(self.element, packed, column))

            cover(f, "%there", unit, run)
        return self._helper(f)

    def _transpose(self) -> str:
        """The function that packs lines which lie across, square by square; a line that is not there repeats the last."""
        f = ir.Function("transpose", _PACK, attributes=_HELPER, linkage="internal")
        size = self.plan.square
        final = f.sub("%there", 1)
        with f.loop(0, "%width", size, hint="line") as line:
            numbers = [f.minimum(f.add(line, r), final) for r in range(size)]
            lines = [f.at(self.memory, "%source", f.mul(number, "%leading")) for number in numbers]
            packed = f.at(self.element, "%packed", line)

            def run(k: str, run: Segment) -> None:
                values = [run.load(f, self.product.dtype, f.at(self.memory, source, k)) for source in lines]
                place = f.at(self.element, packed, f.mul(k, "%width"))
                if run.width is None:
                    for row, value in enumerate(values):
                        run.store(f, self.accumulated, value, f.at(self.element, place, row))
                    return
                for row, value in enumerate(_transposed(f, values, self.element)):
                    run.store(f, self.accumulated, value, f.at(self.element, place, f.mul(row, "%width")))

            cover(f, "%depth", size, run)
        return self._helper(f)

    def _helper(self, f: ir.Function) -> str:
        self.helpers[f.name] = f.finish()
        return f.name


_HELPER = 'noinline "prefer-vector-width"="512"'
_PACK = (
    (POINTER, "source"),
    (I64, "leading"),
    (I64, "there"),
    (POINTER, "packed"),
    (I64, "width"),
    (I64, "depth"),
)
_MICRO = (
    (POINTER, "a"),
    (I64, "row_step"),
    (I64, "a_step"),
    (I64, "rows"),
    (POINTER, "b"),
    (I64, "b_step"),
    (I64, "last"),
    (I64, "k"),
    (POINTER, "c"),
    (I1, "again"),
)


# ---------------------------------------------------------------- pieces of code


def _split(f: ir.Function, index: str, count: str) -> tuple[str, str]:
    """The remainder and the quotient."""
    return f.rem(index, count), f.div(index, count)


def _either(f: ir.Function, condition: str, yes: str | int, no: str | int, kind: str = I64) -> str:
    return f.value(f"select i1 {condition}, {kind} {yes}, {kind} {no}")


def cover(f: ir.Function, count: str, unit: int, body: Callable[[str, Segment], None]) -> None:
    """Runs a body for vectors that cover `count` elements; the last may overlap the one before.

    Where there are fewer elements than a vector has, they come one by one. The body must not mind doing an element
    twice.
    """
    with f.either(f.value(f"icmp sge i64 {count}, {unit}")) as branches:
        final = f.sub(count, unit)
        with f.loop(0, count, unit, hint="run") as i:
            body(f.minimum(i, final), Segment(unit))
        branches.otherwise()
        with f.loop(0, count, hint="one") as i:
            body(i, Segment())


def mask(f: ir.Function, width: int, count: str) -> str:
    """The mask of a vector's first `count` elements."""
    every = broadcast(f, width, I32, f.value(f"trunc i64 {count} to i32"))
    order = "<" + ", ".join(f"i32 {i}" for i in range(width)) + ">"
    return f.value(f"icmp slt {ir.vector(width, I32)} {order}, {every}", "mask")


def multiply_add(f: ir.Function, vector: str, a: str, b: str, total: str) -> None:
    """Adds a b to the vector in a stack slot."""
    lanes, element = vector.strip("<>").split(" x ")
    suffix = f"v{lanes}{'f32' if element == F32 else 'f64'}"
    before = f.load(vector, total)
    f.store(
        vector,
        f.value(f"call {vector} @llvm.fmuladd.{suffix}({vector} {a}, {vector} {b}, {vector} {before})"),
        total,
    )


def _transposed(f: ir.Function, rows: Sequence[str], element: str) -> list[str]:
    """The columns of a square of vectors, whose size is a power of two.

    Source: interleaving each row of the first half with its counterpart in the second is a perfect shuffle of the
    elements' addresses; log2(size) of them exchange rows and columns (Stone, "Parallel processing with the perfect
    shuffle", 1971).
    """
    half = len(rows) // 2
    kind = ir.vector(len(rows), element)
    low = [x for i in range(half) for x in (i, 2 * half + i)]
    high = [x for i in range(half, 2 * half) for x in (i, 2 * half + i)]
    values = list(rows)
    for _ in range(half.bit_length()):
        pairs = zip(values[:half], values[half:])
        values = [_shuffle(f, kind, a, b, order) for a, b in pairs for order in (low, high)]
    return values


def _shuffle(f: ir.Function, kind: str, a: str, b: str, order: Sequence[int]) -> str:
    indices = "<" + ", ".join(f"i32 {i}" for i in order) + ">"
    return f.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> {indices}")
