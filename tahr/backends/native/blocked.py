"""Matrix products: C = epilogue(A B), batched, either operand transposed.

The blocked kernel follows GotoBLAS: blocks of A and B are copied ("packed") into the order in which the micro-kernel
reads them, and the micro-kernel keeps a small block of C in registers while it walks along K. A tile is a block of C;
tiles that follow each other in a row of blocks share the packed block of A.

Source: K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tahr.backends.native import ir
from tahr.backends.native.epilogue import FULL, Segment, broadcast
from tahr.backends.native.ir import I1, I64, POINTER
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.products import (
    LOOP_METADATA,
    Emitter,
    Problem,
    Product,
    Size,
    Tile,
    blocks,
    cover,
    either,
    even,
    loop,
    mask,
    multiply_add,
    table,
    up,
)
from tahr.backends.native.target import Target


@dataclass(frozen=True)
class Blocking:
    """How a target's registers and caches are used.

    Attributes:
        lanes: elements of a vector register.
        rows: rows of the micro-kernel's block of C.
        vectors: the most vectors in a row of it.
        packed_a, packed_b: how many elements of packed A (in the second-level cache) and of packed B (of which the
            second-level cache holds a panel) a thread's scratch holds.
        depth: the most steps along K before the block of C goes to memory.
        accumulated: how many elements of C wait in scratch where K is cut into blocks.
        masks: whether loads and stores of parts of a vector cost no more than whole ones.
        element_bytes: the size of what is accumulated.
        cache: the bytes of the second-level cache.
    """

    lanes: int
    rows: int
    vectors: int
    packed_a: int
    packed_b: int
    depth: int
    accumulated: int
    masks: bool
    element_bytes: int
    cache: int

    @property
    def columns(self) -> int:
        """Columns of the micro-kernel's widest block of C."""
        return self.lanes * self.vectors

    @property
    def square(self) -> int:
        """Rows and columns of the squares in which packing transposes: as wide as 128 or 256 bits."""
        return min(self.rows, self.lanes, 8 * 4 // self.element_bytes)


def blocking(product: Product, target: Target) -> Blocking:
    """The blocking for a target: the block of C, a row of B and an element of A fill the vector registers."""
    rows, vectors = (8, 3) if target.vector_registers >= 32 else (4, 3) if target.has_fma else (4, 2)
    element_bytes = product.accumulated.size
    lanes = target.lanes(element_bytes)
    # Half the second-level cache is for A, a few panels of B take the rest.
    packed = target.l2 // 2 // element_bytes
    depth = target.l2 * 3 // 16 // (vectors * lanes * element_bytes) // 8 * 8
    return Blocking(
        lanes=lanes,
        rows=rows,
        vectors=vectors,
        packed_a=packed,
        packed_b=4 * packed,
        depth=min(depth, 1024),
        accumulated=packed // 2,
        masks=target.has("avx512f"),
        element_bytes=element_bytes,
        cache=target.l2,
    )


# ---------------------------------------------------------------- sizes


def sizes(plan: Blocking, product: Product, problem: Problem) -> list[int]:
    """The table of the blocked kernel."""
    depth = _depth(plan, problem)
    packs_a, packs_b = _packs_a(plan, product, problem), _packs_b(plan, product, problem)
    rows, columns = _tile(plan, problem, depth, packs_a, packs_b)
    # A block stays packed from one tile to the next if both need it: along a row of tiles A's, down a column B's.
    again_a = problem.m * (blocks(problem.n, columns) - 1) if packs_a else 0
    again_b = problem.n * (blocks(problem.m, rows) - 1) if packs_b else 0
    return table(problem, rows, columns, depth, packs_a, packs_b, by_columns=again_a < again_b)


def _depth(plan: Blocking, problem: Problem) -> int:
    """How far a block goes along K: all the way, if that is not too far; else so far that a tile may be large."""
    return even(problem.k, plan.depth if problem.k <= plan.depth else plan.depth // 2, 1)


def _tile(plan: Blocking, problem: Problem, depth: int, packs_a: bool, packs_b: bool) -> tuple[int, int]:
    """Rows and columns of a tile: packed blocks fit their scratch, and there is work for several threads."""
    most = min(_TILE_ROWS, plan.packed_a // depth, plan.accumulated // plan.columns)
    rows = even(problem.m, most // plan.rows * plan.rows, plan.rows)
    most, tiles = plan.packed_b // depth, _TILES if packs_a else 2 * _TILES
    if depth < problem.k:
        # Nothing stays packed from one tile to the next.
        most, tiles = min(most, plan.accumulated // rows), _TILES // 2
    # A tile has work for some microseconds; beyond that, more tiles let more threads take part.
    least = _TILE_WORK // (rows * depth)
    wanted = problem.n * problem.batch * blocks(problem.m, rows) // tiles
    columns = min(most // plan.columns * plan.columns, up(max(wanted, least, 1), plan.columns))
    columns = even(problem.n, columns, plan.columns)
    count = problem.batch * blocks(problem.m, rows) * blocks(problem.n, columns)
    if not packs_a and not packs_b and count < _TILES and rows * columns * depth > 2 * _TILE_WORK:
        rows = even(problem.m, up(rows // 2, plan.rows), plan.rows)
    return rows, columns


# A tile's most rows; its least multiplications; how many tiles are enough for every thread.
_TILE_ROWS, _TILE_WORK, _TILES = 256, 1 << 17, 16


def _packs_a(plan: Blocking, product: Product, problem: Problem) -> bool:
    """Whether A is packed.

    As long as its rows lie along K, the micro-kernel reads a few of them as fast from where they are. Across, it reads
    half a cache line of each: which is as good where all of them stay in the cache, or are read only once or twice.
    """
    if product.is_half or not product.transpose_a:
        return product.is_half
    is_wide = plan.rows * plan.element_bytes >= 32
    is_cached = problem.k * problem.lda * plan.element_bytes <= plan.cache // 2
    return problem.n > 2 * plan.columns and not (is_wide and is_cached)


def _packs_b(plan: Blocking, product: Product, problem: Problem) -> bool:
    """Whether B is packed: not where its rows lie as the micro-kernel reads them, and are read not too often."""
    if product.is_half or product.transpose_b or (problem.n % plan.lanes != 0 and not plan.masks):
        return True
    # Rows that are a page apart share few places in the caches.
    uses = 4 if problem.ldb * plan.element_bytes % _PAGE == 0 else 16
    is_cached = problem.k * problem.n * plan.element_bytes <= plan.cache // 4
    return problem.m > uses * plan.rows and not is_cached


_PAGE = 4096


# ---------------------------------------------------------------- the kernel


def kernel(plan: Blocking, product: Product) -> Kernel:
    """The packed, register-tiled kernel; buffers are A, B, the epilogue's operands, then its outputs."""
    emitter = _Blocked(plan, product)
    return Kernel(emitter.text(), emitter.scratch_bytes, product.title("blocked"))


_PACK_STEPS = 8
_ATTRIBUTES = 'noinline "prefer-vector-width"="512"'
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


class _Blocked(Emitter):
    """Writes the blocked kernel of one product."""

    def __init__(self, plan: Blocking, product: Product) -> None:
        super().__init__(product, plan.lanes, plan.masks)
        self.plan = plan
        self.may_pack_a = product.is_half or product.transpose_a
        packed_a = plan.packed_a if self.may_pack_a else 0
        offsets = (0, packed_a, packed_a + plan.packed_b)
        self.packed_a, self.packed_b, self.small_c = (self.f.at(self.element, "%scratch", o) for o in offsets)
        self.scratch_bytes = (offsets[-1] + max(plan.accumulated, plan.rows * plan.columns)) * self.bytes
        self.helpers: dict[str, str] = {}
        """The texts of the functions that the kernel calls."""

    def text(self) -> str:
        """The module."""
        self._blocks()
        micros = [self._micro(vectors) for vectors in range(1, self.plan.vectors + 1)]
        return AS_WRITTEN + ir.module([*micros, *self.helpers.values(), self.f.finish(), LOOP_METADATA])

    # ------------------------------------------------------------ the micro-kernel

    def _micro(self, vectors: int) -> str:
        """The micro-kernel: the small block c (which lies dense) becomes, or is increased by, a b.

        Its arguments: a, with the distances from row to row and from k to k; how many rows there are; b, with the
        distance from k to k and the number of columns in the last vector; k; c; and whether c is increased.
        """
        rows, lanes, vector, element = self.plan.rows, self.plan.lanes, self.vector, self.element
        align = lanes * self.bytes
        f = ir.Function(f"micro{vectors}", _MICRO, attributes=_ATTRIBUTES, linkage="internal")
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
        if self.masks:
            runs[-1] = Segment(lanes, mask(f, lanes, "%last"))
        with loop(f, 0, "%k", hint="k") as k:
            b = f.at(element, "%b", f.mul(k, "%b_step"))
            row_of_b = [
                runs[v].load(f, self.product.accumulated, f.at(element, b, v * lanes)) for v in range(vectors)
            ]
            along = f.mul(k, "%a_step")
            for row in range(rows):
                factor = broadcast(f, lanes, element, f.load(element, f.at(element, lines[row], along)))
                for v in range(vectors):
                    total = sums[row, v]
                    f.store(
                        vector, multiply_add(f, vector, factor, row_of_b[v], f.load(vector, total)), total
                    )
        for place in places:
            f.store(vector, f.load(vector, sums[place]), c[place], align)
        return f.finish()

    # ------------------------------------------------------------ blocks

    def _blocks(self) -> None:
        """The kernel: tile after tile, block after block along K."""
        f, size = self.f, self.size
        self.packs_a = f.value(f"icmp ne i64 {size[Size.PACKS_A]}, 0") if self.may_pack_a else "false"
        self.packs_b = f.value(f"icmp ne i64 {size[Size.PACKS_B]}, 0")
        # Which block each scratch holds; -1 is none.
        held_a, held_b = f.variable(I64, "-1"), f.variable(I64, "-1")
        with self.tiles() as tile, loop(f, 0, size[Size.K_BLOCKS], hint="kb") as k_block:
            k = f.mul(k_block, size[Size.KC])
            depth = f.minimum(size[Size.KC], f.sub(size[Size.K], k))
            a, b = self.block_of_a(tile, k), self.block_of_b(tile, k)
            if self.may_pack_a:
                with self._unless_held(self.packs_a, held_a, tile.row_of_tiles, k_block):
                    self._pack_a(a, tile.rows, depth)
            with self._unless_held(self.packs_b, held_b, tile.column_of_tiles, k_block):
                self._pack_b(b, tile.columns, depth)
            self._multiply(tile, a, b, k_block, depth)

    def _unless_held(self, packs: str, held: str, block: str, k_block: str) -> AbstractContextManager[None]:
        f = self.f
        key = f.add(f.mul(block, self.size[Size.K_BLOCKS]), k_block)
        differs = f.value(f"icmp ne i64 {f.load(I64, held)}, {key}")
        f.store(I64, key, held)
        return f.when(f.value(f"and i1 {packs}, {differs}"))

    def _panels(self, columns: str) -> tuple[str, str]:
        """How many vectors a block's columns take, and into how many panels they are cut evenly."""
        f, lanes, vectors = self.f, self.plan.lanes, self.plan.vectors
        count = f.div(f.add(columns, lanes - 1), lanes)
        return count, f.div(f.add(count, vectors - 1), vectors)

    def _panel(self, panel: str, panels: str, count: str) -> tuple[str, str, str]:
        """A panel's first column, how many columns it takes, and how many vectors these are."""
        f = self.f
        first = f.div(f.mul(panel, count), panels)
        vectors = f.sub(f.div(f.mul(f.add(panel, 1), count), panels), first)
        return f.mul(first, self.lanes), f.mul(vectors, self.lanes), vectors

    def _multiply(self, tile: Tile, block_a: str, block_b: str, k_block: str, depth: str) -> None:
        """The micro-kernel over one pair of blocks; after the last along K, the epilogue."""
        f, plan, element, size = self.f, self.plan, self.element, self.size
        again = f.value(f"icmp ne i64 {k_block}, 0")
        last = f.value(f"icmp eq i64 {f.add(k_block, 1)}, {size[Size.K_BLOCKS]}")
        single = f.value(f"icmp eq i64 {size[Size.K_BLOCKS]}, 1")
        padded_rows = f.mul(f.div(f.add(tile.rows, plan.rows - 1), plan.rows), plan.rows)
        count, panels = self._panels(tile.columns)
        row_step, a_step = (1, size[Size.LDA]) if self.product.transpose_a else (size[Size.LDA], 1)
        panel_step = either(f, self.packs_a, depth, row_step)
        row_step, a_step = either(f, self.packs_a, 1, row_step), either(f, self.packs_a, plan.rows, a_step)
        base_a = either(f, self.packs_a, self.packed_a, block_a, POINTER)
        with loop(f, 0, panels, hint="panel") as panel:
            start, width, vectors = self._panel(panel, panels, count)
            there = f.minimum(width, f.sub(tile.columns, start))
            packed_b = f.at(element, self.packed_b, f.mul(start, depth))
            b = either(f, self.packs_b, packed_b, f.at(self.memory, block_b, start), POINTER)
            b_step = either(f, self.packs_b, width, size[Size.LDB])
            tail = f.sub(there, f.sub(width, plan.lanes))
            micro = "@micro1"
            for n in range(2, plan.vectors + 1):
                is_wide = f.value(f"icmp sge i64 {vectors}, {n}")
                micro = either(f, is_wide, f"@micro{n}", micro, POINTER)
            with loop(f, 0, tile.rows, plan.rows, hint="row") as row:
                height = f.minimum(plan.rows, f.sub(tile.rows, row))
                a = f.at(element, base_a, f.mul(row, panel_step))
                # Where K is one block, one small block of C in the first-level cache is enough.
                place = f.add(f.mul(start, padded_rows), f.mul(row, width))
                small_c = f.at(element, self.small_c, either(f, single, 0, place))
                column, ldc = f.add(tile.j, start), size[Size.LDC]
                offset = f.add(f.add(tile.c, f.mul(f.add(tile.i, row), ldc)), column)
                self._prefetch(offset, ldc, height)
                f.do(
                    f"call void {micro}(ptr {a}, i64 {row_step}, i64 {a_step}, i64 {height}, ptr {b}, "
                    f"i64 {b_step}, i64 {tail}, i64 {depth}, ptr {small_c}, i1 {again})"
                )
                with f.when(last):
                    self.finish(small_c, width, height, there, column, offset, ldc)

    def _prefetch(self, offset: str, leading: str, rows: str) -> None:
        """Fetches the epilogue's operands that have C's layout: they arrive while the micro-kernel computes."""
        f = self.f
        bases = zip(self.product.epilogue.operands, self.buffers[2:])
        full = [(ir.MEMORY[operand.dtype], base) for operand, base in bases if operand.access == FULL]
        if not full:
            return
        with loop(f, 0, rows, hint="f") as row:
            line = f.add(offset, f.mul(row, leading))
            for (element, base), v in itertools.product(full, range(self.plan.vectors)):
                address = f.at(element, base, f.add(line, v * self.lanes))
                f.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 3, i32 1)")

    # ------------------------------------------------------------ packing

    def _pack_a(self, block: str, rows: str, depth: str) -> None:
        """A's block as panels of the micro-kernel's rows: [panel][k][row]."""
        f, height = self.f, self.plan.rows
        pack = self._copy(height) if self.product.transpose_a else self._transpose()
        with (
            self._steps(depth, self.product.transpose_a) as (k, steps),
            loop(f, 0, rows, height, hint="pa") as row,
        ):
            there = f.minimum(height, f.sub(rows, row))
            packed = f.at(self.element, self.packed_a, f.add(f.mul(row, depth), f.mul(k, height)))
            source = self._within(block, Size.LDA, row, k, self.product.transpose_a)
            self._pack(pack, source, Size.LDA, there, packed, height, steps)

    def _pack_b(self, block: str, columns: str, depth: str) -> None:
        """B's block as panels of vectors: [panel][k][column]."""
        f = self.f
        pack = self._transpose() if self.product.transpose_b else self._copy(self.plan.lanes)
        count, panels = self._panels(columns)
        with (
            self._steps(depth, not self.product.transpose_b) as (k, steps),
            loop(f, 0, panels, hint="pb") as panel,
        ):
            start, width, _ = self._panel(panel, panels, count)
            there = f.minimum(width, f.sub(columns, start))
            packed = f.at(self.element, self.packed_b, f.add(f.mul(start, depth), f.mul(k, width)))
            source = self._within(block, Size.LDB, start, k, not self.product.transpose_b)
            self._pack(pack, source, Size.LDB, there, packed, width, steps)

    @contextmanager
    def _steps(self, depth: str, along_line: bool) -> Generator[tuple[str, str]]:
        """The loop over runs of steps along K: where one begins, and how many steps it has.

        Lines that lie side by side are read a few steps at a time: so all panels read from the same few pages.
        """
        f = self.f
        step = str(_PACK_STEPS) if along_line else depth
        with loop(f, 0, depth, step, hint="step") as k:
            yield k, f.minimum(step, f.sub(depth, k))

    def _within(self, block: str, leading: Size, line: str, k: str, along_line: bool) -> str:
        f = self.f
        far, near = (k, line) if along_line else (line, k)
        return f.at(self.memory, block, f.add(f.mul(far, self.size[leading]), near))

    def _pack(
        self, pack: str, source: str, leading: Size, there: str, packed: str, width: str | int, steps: str
    ) -> None:
        leading_size = self.size[leading]
        arguments = f"ptr {source}, i64 {leading_size}, i64 {there}, ptr {packed}, i64 {width}, i64 {steps}"
        self.f.do(f"call void @{pack}({arguments})")

    def _copy(self, unit: int) -> str:
        """The function that packs lines which lie as they shall, `unit` elements at a time."""
        f = ir.Function(f"copy{unit}", _PACK, attributes=_ATTRIBUTES, linkage="internal")
        whole = f.value(f"icmp eq i64 {f.rem('%there', unit)}, 0")
        with f.either(whole) as branches:
            with loop(f, 0, "%depth", hint="k") as k, loop(f, 0, "%there", unit, hint="c") as line:
                self._copy_run(f, k, line, Segment(unit))
            branches.otherwise()
            with loop(f, 0, "%depth", hint="k") as k:
                cover(f, "%there", unit, functools.partial(self._copy_run, f, k))
        return self._helper(f)

    def _copy_run(self, f: ir.Function, k: str, line: str, run: Segment) -> None:
        source = f.at(self.memory, "%source", f.add(f.mul(k, "%leading"), line))
        packed = f.at(self.element, "%packed", f.add(f.mul(k, "%width"), line))
        run.store(f, self.product.accumulated, run.load(f, self.product.dtype, source), packed)

    def _transpose(self) -> str:
        """The function that packs lines which lie across, square by square; one that is not there repeats the last."""
        f = ir.Function("transpose", _PACK, attributes=_ATTRIBUTES, linkage="internal")
        size = self.plan.square
        final = f.sub("%there", 1)
        with loop(f, 0, "%width", size, hint="line") as line:
            numbers = [f.minimum(f.add(line, r), final) for r in range(size)]
            lines = [f.at(self.memory, "%source", f.mul(number, "%leading")) for number in numbers]
            packed = f.at(self.element, "%packed", line)

            def run(k: str, run: Segment) -> None:
                place = f.at(self.element, packed, f.mul(k, "%width"))
                sources = [f.at(self.memory, source, k) for source in lines]
                if run.width is None:
                    values, step = [run.load(f, self.product.dtype, source) for source in sources], "1"
                else:
                    values, step = self._transposed(f, sources), "%width"
                for row, value in enumerate(values):
                    address = f.at(self.element, place, f.mul(row, step))
                    run.store(f, self.product.accumulated, value, address)

            cover(f, "%depth", size, run)
        return self._helper(f)

    def _transposed(self, f: ir.Function, sources: Sequence[str]) -> list[str]:
        """The columns of the square whose rows start at some addresses.

        Processors shuffle fastest within 128 bits. So the square is loaded as squares of 128 bits wide, which change
        places as they are put together and are then transposed side by side.
        """
        dtype, size = self.product.dtype, self.plan.square
        part = min(size, 16 // self.bytes)
        pieces = [
            [Segment(part).load(f, dtype, f.at(self.memory, source, at)) for at in range(0, size, part)]
            for source in sources
        ]
        columns: list[str] = []
        for at in range(size // part):
            rows = [row[at] for row in pieces]
            if size > part:
                halves = zip(rows[:part], rows[part:])
                rows = [_shuffle(f, ir.vector(part, self.element), a, b, range(size)) for a, b in halves]
            columns += _transposed(f, rows, size, self.element)
        return columns

    def _helper(self, f: ir.Function) -> str:
        self.helpers[f.name] = f.finish()
        return f.name


def _transposed(f: ir.Function, rows: Sequence[str], width: int, element: str) -> list[str]:
    """Transposes the squares that lie side by side in vectors of a width; there are as many rows as a square has.

    Source: interleaving each row of the first half with its counterpart in the second is a perfect shuffle of the
    elements' addresses; log2(size) of them exchange rows and columns (Stone, "Parallel processing with the perfect
    shuffle", 1971).
    """
    size, kind = len(rows), ir.vector(width, element)
    half = size // 2
    low = [
        x for square in range(0, width, size) for i in range(square, square + half) for x in (i, width + i)
    ]
    high = [i + half for i in low]
    values = list(rows)
    for _ in range(size.bit_length() - 1):
        pairs = zip(values[:half], values[half:])
        values = [_shuffle(f, kind, a, b, order) for a, b in pairs for order in (low, high)]
    return values


def _shuffle(f: ir.Function, kind: str, a: str, b: str, order: Sequence[int]) -> str:
    indices = "<" + ", ".join(f"i32 {i}" for i in order) + ">"
    return f.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(order)} x i32> {indices}")
