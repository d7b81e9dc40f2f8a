"""Walks through large matrix products, batched, either operand transposed.

The blocked walk follows GotoBLAS: blocks of A and B are copied ("packed") into the order in which the micro-kernel
reads them, and the micro-kernel keeps a small block of C in registers while it walks along K. A tile is a block of C;
tiles that follow each other in a row of blocks share the packed block of A.

Source: K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008.
"""

from __future__ import annotations

import functools
import itertools
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from tahr.backends.native import fetching, ir, kernel, micro, openblas, packing
from tahr.backends.native.epilogue import FULL, Segment
from tahr.backends.native.ir import I64, POINTER
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.micro import Micro
from tahr.backends.native.packing import Packing
from tahr.backends.native.products import (
    FINISH,
    LOOP_METADATA,
    Problem,
    Product,
    Size,
    Tile,
    Walk,
    accumulated,
    blocks,
    call,
    declaration,
    either,
    even,
    loop,
    swapped,
    table,
    up,
)
from tahr.backends.native.target import Target
from tahr.core.dtypes import DType


@dataclass(frozen=True)
class Blocking:
    """How a target's registers and caches are used.

    Attributes:
        dtype: the type of A's and B's elements.
        micro: the micro-kernel.
        panel: rows of a packed panel of A: those of the usual micro-kernel.
        packed_a, packed_b: how many elements of packed A (in the second-level cache) and of packed B (of which the
            second-level cache holds a panel) a thread's scratch holds.
        depth: the most steps along K before the block of C goes to memory.
        accumulated: how many elements of C wait in scratch where K is cut into blocks.
        cache: the bytes of the second-level cache.
    """

    dtype: DType
    micro: Micro
    panel: int
    packed_a: int
    packed_b: int
    depth: int
    accumulated: int
    cache: int

    def packing(self, dtype: DType) -> Kernel:
        """What packs elements of a dtype: the product's, or what it accumulates."""
        micro = self.micro
        return Packing(dtype, micro.lanes, micro.rows, micro.masks).kernel()

    @property
    def rows(self) -> int:
        """Rows of the micro-kernel's block of C."""
        return self.micro.rows

    @property
    def lanes(self) -> int:
        """Elements of a vector register."""
        return self.micro.lanes

    @property
    def columns(self) -> int:
        """Columns of the micro-kernel's widest block of C."""
        return self.micro.columns

    @property
    def element_bytes(self) -> int:
        """The size of what is accumulated."""
        return self.micro.dtype.size


@functools.cache
def blocking(dtype: DType, target: Target) -> Blocking:
    """The blocking for a target: the block of C, a row of B and an element of A fill the vector registers."""
    rows, vectors = (8, 3) if target.vector_registers >= 32 else (4, 3) if target.has_fma else (4, 2)
    sums = accumulated(dtype)
    micro = Micro(sums, target.lanes(sums.size), rows, vectors, target.has("avx512f"), (1, 2, 3)[:vectors])
    # Half the second-level cache is for A, a few panels of B take the rest.
    packed = target.l2 // 2 // sums.size
    depth = target.l2 * 3 // 16 // (micro.columns * sums.size) // 8 * 8
    return Blocking(
        dtype=dtype,
        micro=micro,
        panel=rows,
        packed_a=packed,
        packed_b=4 * packed,
        depth=min(depth, 1024),
        accumulated=packed // 2,
        cache=target.l2,
    )


# ---------------------------------------------------------------- sizes


def sizes(
    plan: Blocking, product: Product, problem: Problem, tailored: tuple[Micro, bool] | None = None
) -> list[int]:
    """The table of the blocked walk.

    Args:
        tailored: another micro-kernel, and whether it wants the operands to be exchanged.
    """
    if tailored is not None:
        plan, swaps = replace(plan, micro=tailored[0]), tailored[1]
    else:
        swaps = _swaps(plan, product, problem)
    if swaps:
        return tiled(plan, *swapped(product, problem), is_swapped=True)
    return tiled(plan, product, problem)


def library_sizes(plan: Blocking, product: Product, problem: Problem, library: int) -> list[int]:
    """The table with which OpenBLAS, whose function is at an address, computes whole tiles; see `openblas.py`."""
    rows, columns = _tile(plan, problem, min(problem.k, plan.depth), False, False)
    block = rows, columns, plan.lanes
    sizes = table(product, problem, rows, columns, problem.k, is_direct=True, block=block, library=library)
    if product.transpose_b:
        sizes[Size.B_TERM] = -problem.ldb
    return sizes


def tiled(plan: Blocking, product: Product, problem: Problem, is_swapped: bool = False) -> list[int]:
    """The table of the blocked walk, with the operands as they are given: they may have been exchanged."""
    depth = _depth(plan, problem)
    packs_a, packs_b = _packs_a(plan, product, problem), _packs_b(plan, product, problem)
    rows, columns = _tile(plan, problem, depth, packs_a, packs_b)
    stays = not (packs_a or packs_b or is_swapped) and _stays(plan, problem, depth)
    vectors = blocks(problem.n, plan.lanes)
    if stays and columns == plan.columns and vectors % 4 == 0 and vectors % 3 != 0 and 2 in plan.micro.widths:
        # The widest block would leave a narrower one at the end, and half of the tiles were not half of the columns.
        # What is made to measure may have no code for blocks of two vectors.
        columns = 2 * plan.lanes
    # A block stays packed from one tile to the next if both need it and K is one block: along a row of tiles A's, down
    # a column B's.
    again_a = problem.m * (blocks(problem.n, columns) - 1) if packs_a else 0
    again_b = problem.n * (blocks(problem.m, rows) - 1) if packs_b else 0
    by_columns = (depth == problem.k and again_a < again_b) or stays
    fetches = _fetches(plan, product, problem)
    is_direct = (
        plan.micro.in_place and depth == problem.k and (plan.micro.masks or problem.n % plan.lanes == 0)
    )
    block = plan.rows, plan.columns, plan.lanes
    packs = packs_a, packs_b
    return table(
        product, problem, rows, columns, depth, *packs, by_columns, is_swapped, fetches, is_direct, block
    )


def _stays(plan: Blocking, problem: Problem, depth: int) -> bool:
    """Whether B and C are small enough to stay in caches until another product has them.

    Then a thread is given the same columns of both: B's may be weights, of which C is the gradient in the next product,
    or an update. What one processor has written, another would have to fetch: a training step of 784-128-10 with
    batch 32 takes two 81 us, and 97 where tiles go along rows.
    """
    size = max(problem.m, problem.k) * problem.n * plan.element_bytes
    return problem.batch == 1 and depth == problem.k and size <= plan.cache


def _swaps(plan: Blocking, product: Product, problem: Problem) -> bool:
    """Whether the operands are exchanged."""
    return _cost(plan, *swapped(product, problem), True) < _cost(plan, product, problem, False)


def _cost(plan: Blocking, product: Product, problem: Problem, is_swapped: bool) -> float:
    """About how many multiplications of vectors a product takes, or could be done in the time that packing takes."""
    vectors = up(problem.m, plan.rows) * up(problem.n, plan.lanes) / plan.lanes
    return problem.k * vectors + overhead(plan, product, problem, is_swapped)


def overhead(plan: Blocking, product: Product, problem: Problem, is_swapped: bool) -> float:
    """What a product takes besides, to pack its operands and to turn its result."""
    m, n, k = problem.m, problem.n, problem.k
    across = (n if product.transpose_b else 0) + (m if product.is_half and not product.transpose_a else 0)
    scattered = min(m, n) if n > plan.columns and _is_scattered(plan, product, problem) else 0
    turning = _TURN * m * n if is_swapped else 0
    return k * (_ACROSS * across + _SCATTERED * scattered) + turning


# What it takes to pack an element whose line lies across, to have a scattered A for each row or column of C, whichever
# are fewer, and to turn an element of C, in multiplications of vectors.
_ACROSS, _SCATTERED, _TURN = 0.5, 3, 1.5


def _depth(plan: Blocking, problem: Problem) -> int:
    """How far a block goes along K: all the way, if that is not too far; else so far that a tile may be large."""
    return even(problem.k, plan.depth if problem.k <= plan.depth else plan.depth * 3 // 8, 1)


def _tile(plan: Blocking, problem: Problem, depth: int, packs_a: bool, packs_b: bool) -> tuple[int, int]:
    """Rows and columns of a tile: packed blocks fit their scratch, and there is work for several threads."""
    most = min(_TILE_ROWS, plan.packed_a // depth, plan.accumulated // plan.columns)
    rows = even(problem.m, most // plan.rows * plan.rows, plan.rows)
    most, enough = plan.packed_b // depth, _TILES if packs_a else 2 * _TILES
    if depth < problem.k:
        # Nothing stays packed from one tile to the next.
        most, enough = min(most, plan.accumulated // rows), _TILES // 2
    # A tile has work for some microseconds; beyond that, more tiles let more threads take part.
    least = _TILE_WORK // (rows * depth)
    wanted = problem.n * problem.batch * blocks(problem.m, rows) // enough
    columns = min(most // plan.columns * plan.columns, up(max(wanted, least, 1), plan.columns))
    columns = even(problem.n, columns, plan.columns)
    # Where nothing is packed again for another row of tiles, or there are too few of them for two threads, tiles may be
    # flat.
    tiles = problem.batch * blocks(problem.m, rows) * blocks(problem.n, columns)
    is_packed_again = packs_b and (columns < problem.n or depth < problem.k)
    if not packs_a and (not is_packed_again or tiles < _FEW_TILES):
        enough = _FEW_TILES if is_packed_again else _TILES
        rows = _flat(plan, problem, rows, columns, depth, packs_b, enough)
    return rows, columns


def _flat(
    plan: Blocking, problem: Problem, rows: int, columns: int, depth: int, packs_b: bool, enough: int
) -> int:
    """So few rows of a tile that there are enough tiles, though not too little work in one."""
    is_cached = problem.k * problem.n * plan.element_bytes <= plan.cache // 2
    # B is read for each row of tiles, or packed by each thread, and once more when it takes further tiles.
    least = plan.rows * (8 if packs_b else 1 if is_cached else 4)
    tiles = problem.batch * blocks(problem.n, columns)
    while (
        rows > least and tiles * blocks(problem.m, rows) < enough and rows * columns * depth > 2 * _TILE_WORK
    ):
        rows = even(problem.m, up(rows // 2, plan.rows), plan.rows)
    return rows


# A tile's most rows; its least multiplications; how many tiles are enough for every thread, and how many are not even
# enough for two.
_TILE_ROWS, _TILE_WORK, _TILES, _FEW_TILES = 256, 1 << 17, 16, 4


def _packs_a(plan: Blocking, product: Product, problem: Problem) -> bool:
    """Whether A is packed: halves, and what is scattered, if it is read often.

    As long as its rows lie along K, the micro-kernel reads a few of them as fast from where they are.
    """
    if product.is_half:
        return True
    # Panels are as high as the usual micro-kernel's block, which takes one after the other.
    fits = plan.rows == plan.panel and not plan.micro.in_place
    return fits and problem.n > 2 * plan.columns and _is_scattered(plan, product, problem)


def _is_scattered(plan: Blocking, product: Product, problem: Problem) -> bool:
    """Whether the micro-kernel would wait for A.

    Across, it reads a part of a cache line of each row, which is as good as along if the line stays in the cache until
    its other parts are read. That is not so where lines share few places in the cache, nor quick where each is on
    another page.
    """
    is_wide = plan.rows * plan.element_bytes >= 32
    is_cached = problem.k * problem.lda * plan.element_bytes <= plan.cache // 2
    apart = problem.lda * plan.element_bytes
    is_close = apart < _PAGE and apart % (_PAGE // 2) != 0
    return product.transpose_a and not (is_wide and (is_cached or is_close))


def _packs_b(plan: Blocking, product: Product, problem: Problem) -> bool:
    """Whether B is packed: not where its rows lie as the micro-kernel reads them, and are read not too often."""
    if product.is_half or product.transpose_b or (problem.n % plan.lanes != 0 and not plan.micro.masks):
        return True
    # Rows that are half a page apart, or a page, share few places in the caches. A processor with two units for vectors
    # of 512 bits waits for them, and is 10 to 15 percent faster with these numbers, over many shapes, than where twice
    # as much was read in place; one with half of that computes as fast as ever.
    uses = 4 if problem.ldb * plan.element_bytes % (_PAGE // 2) == 0 else 8
    is_cached = problem.k * problem.n * plan.element_bytes <= plan.cache // 16
    return problem.m > uses * plan.rows and not is_cached


def _fetches(plan: Blocking, product: Product, problem: Problem) -> bool:
    """Whether what the epilogue reads and writes is fetched: where it is too much to be in the cache already."""
    if not plan.micro.fetches:
        return False
    epilogue = product.epilogue
    arrays = len(epilogue.outputs) + sum(operand.access == FULL for operand in epilogue.operands)
    size = problem.m * problem.n * problem.batch * plan.element_bytes
    return arrays * size >= plan.cache // 2


_PAGE = 4096


# ---------------------------------------------------------------- the walk


def walk(plan: Blocking) -> Kernel:
    """The packed, register-tiled walk."""
    emitter = _Blocked(plan)
    parts = (emitter.pack, emitter.turn, *([emitter.library] if emitter.library else []))
    return Kernel(emitter.text(), emitter.scratch_bytes, f"blocked products {plan.dtype.name}", parts)


class _Blocked(Walk):
    """Writes the blocked walk."""

    def __init__(self, plan: Blocking) -> None:
        super().__init__(plan.dtype, plan.lanes, plan.micro.masks)
        self.plan = plan
        self.pack, self.turn = plan.packing(plan.dtype), plan.packing(plan.micro.dtype)
        self.library = openblas.micro_kernel(plan.dtype) if plan.micro.masks else None
        block = 2 * plan.rows * plan.columns  # of the usual micro-kernel, or another
        # An epilogue reads whole vectors, also where a block is narrower: what follows a block may be read.
        sizes = (plan.packed_a, plan.packed_b, block, block, fetching.BYTES // self.bytes, plan.accumulated)
        offsets = itertools.accumulate(sizes, initial=0)
        places = [self.f.at(self.element, "%scratch", offset) for offset in offsets]
        self.packed_a, self.packed_b, self.turned, self.small_c, self.lines, self.waiting, _ = places
        self.listed = self.lines
        self.scratch_bytes = sum(sizes) * self.bytes

    def text(self) -> str:
        """The module."""
        self._blocks()
        declarations = [declaration(part.symbol, packing.ARGUMENTS) for part in (self.pack, self.turn)]
        if self.library:
            declarations.append(declaration(self.library.symbol, micro.ARGUMENTS))
        return AS_WRITTEN + ir.module([self.f.finish(), LOOP_METADATA], declarations)

    def _blocks(self) -> None:
        """Tile after tile, block after block along K."""
        f, size, plan = self.f, self.size, self.plan
        self.packs_a = f.value(f"icmp ne i64 {size[Size.PACKS_A]}, 0")
        self.packs_b = f.value(f"icmp ne i64 {size[Size.PACKS_B]}, 0")
        self.fetches = f.value(f"icmp ne i64 {size[Size.FETCHES]}, 0")
        self.is_indirect = f.value(f"icmp eq i64 {size[Size.DIRECT]}, 0")
        self.is_cut = f.value(f"icmp ne i64 {size[Size.K_BLOCKS]}, 1")
        self.micro = "%micro"
        if self.library:
            is_asked = f.value(f"icmp ne i64 {size[Size.LIBRARY]}, 0")
            address = f.value(f"inttoptr i64 {size[Size.LIBRARY]} to ptr")
            self.micro = either(f, is_asked, f"@{self.library.symbol}", "%micro", POINTER)
            self.listed = either(f, is_asked, address, self.lines, POINTER)
        # Where the sums go that are results: to the only output.
        self.c = kernel.buffer(f, 2)
        # Which block each scratch holds; -1 is none.
        held_a, held_b = f.variable(I64, "-1"), f.variable(I64, "-1")
        vectors = size[Size.COLUMNS], size[Size.LANES]
        fetching.begin(f, self.lines)
        with self.tiles() as tile, loop(f, 0, size[Size.K_BLOCKS], hint="kb") as k_block:
            k = f.mul(k_block, size[Size.KC])
            depth = f.minimum(size[Size.KC], f.sub(size[Size.K], k))
            a, b = self.block_of_a(tile, k), self.block_of_b(tile, k)
            with self._unless_held(self.packs_a, held_a, tile.row_of_tiles, k_block):
                steps = size[Size.A_ROW], size[Size.A_TERM]
                self._pack(self.pack, a, *steps, tile.rows, self.packed_a, plan.rows, plan.rows, depth)
            with self._unless_held(self.packs_b, held_b, tile.column_of_tiles, k_block):
                steps = size[Size.B_COLUMN], size[Size.B_TERM]
                self._pack(self.pack, b, *steps, tile.columns, self.packed_b, *vectors, depth)
            self._multiply(tile, a, b, k_block, depth)

    def _unless_held(self, packs: str, held: str, block: str, k_block: str) -> AbstractContextManager[None]:
        f = self.f
        key = f.add(f.mul(block, self.size[Size.K_BLOCKS]), k_block)
        differs = f.value(f"icmp ne i64 {f.load(I64, held)}, {key}")
        f.store(I64, key, held)
        return f.when(f.value(f"and i1 {packs}, {differs}"))

    def _pack(self, part: Kernel, *values: str | int) -> None:
        call(self.f, f"@{part.symbol}", packing.ARGUMENTS, *values)

    def _multiply(self, tile: Tile, block_a: str, block_b: str, k_block: str, depth: str) -> None:
        """The micro-kernel over one pair of blocks; after the last along K, the epilogue."""
        f, plan, element, size = self.f, self.plan, self.element, self.size
        last = f.value(f"icmp eq i64 {f.add(k_block, 1)}, {size[Size.K_BLOCKS]}")
        fetches = f.value(f"and i1 {last}, {self.fetches}")
        finishes = f.value(f"and i1 {last}, {self.is_indirect}")
        a_row = either(f, self.packs_a, 1, size[Size.A_ROW])
        a_term = either(f, self.packs_a, plan.rows, size[Size.A_TERM])
        base_a = either(f, self.packs_a, self.packed_a, block_a, POINTER)
        panel_step = either(f, self.packs_a, depth, a_row)
        c_row = either(f, self.is_indirect, size[Size.COLUMNS], size[Size.LDC])
        # A micro-kernel that writes into C goes through all rows by itself.
        at_once = either(f, self.is_indirect, size[Size.ROWS], size[Size.MC])
        with loop(f, 0, tile.columns, size[Size.COLUMNS], hint="panel") as start:
            width = f.minimum(size[Size.COLUMNS], f.sub(tile.columns, start))
            packed_b = f.at(element, self.packed_b, f.mul(start, depth))
            b = either(f, self.packs_b, packed_b, f.at(self.memory, block_b, start), POINTER)
            b_term = either(f, self.packs_b, self._whole_vectors(width), size[Size.B_TERM])
            with loop(f, 0, tile.rows, at_once, hint="row") as row:
                height = f.minimum(at_once, f.sub(tile.rows, row))
                a = f.at(element, base_a, f.mul(row, panel_step))
                column, offset = self.place(tile, f.add(tile.i, row), f.add(tile.j, start))
                rows, columns = (
                    either(f, self.is_swapped, *pair) for pair in ((width, height), (height, width))
                )
                with f.when(fetches):
                    fetching.fill(f, self.lines, "%arrays", rows, columns, offset, size[Size.LDC])
                c = either(f, self.is_indirect, self.small_c, f.at(element, self.c, offset), POINTER)
                values = a, a_row, a_term, height, b, b_term, width, depth, c, c_row, self.listed
                call(f, self.micro, micro.ARGUMENTS, *values)
                with f.when(self.is_cut):
                    self._add(start, row, k_block)
                with f.when(finishes):
                    block = *self._upright(c, height, width), rows, columns, column, offset
                    call(f, "%finish", FINISH, "%buffers", *block, size[Size.LDC])

    def _add(self, start: str, row: str, k_block: str) -> None:
        """Adds a small block of C to what there was before; what it is now becomes the small block."""
        f, size = self.f, self.size
        place = f.add(f.mul(start, size[Size.MC]), f.mul(row, size[Size.COLUMNS]))
        waiting = f.at(self.element, self.waiting, place)
        is_first = f.value(f"icmp eq i64 {k_block}, 0")
        # A micro-kernel's vectors may be half as long as the longest.
        half = Segment(self.lanes // 2)
        kind = half.type(self.element)
        with loop(f, 0, f.mul(size[Size.ROWS], size[Size.COLUMNS]), self.lanes // 2, hint="sum") as at:
            there, here = f.at(self.element, waiting, at), f.at(self.element, self.small_c, at)
            before, product = (half.load(f, self.accumulated, each) for each in (there, here))
            total = either(f, is_first, product, f.value(f"fadd {kind} {before}, {product}"), kind)
            for each in (there, here):
                half.store(f, self.accumulated, total, each)

    def _whole_vectors(self, columns: str) -> str:
        """Columns as a packed panel has them, which is filled up to whole vectors: their length is a power of two."""
        f, lanes = self.f, self.size[Size.LANES]
        return f.value(f"and i64 {f.add(columns, f.sub(lanes, 1))}, {f.sub(0, lanes)}")

    def _upright(self, c: str, height: str, width: str) -> tuple[str, str]:
        """Where a small block's rows are C's rows, and the distance between them."""
        f, columns = self.f, self.size[Size.COLUMNS]
        # Squares are turned, which may reach beyond the rows.
        pitch = f.mul(f.div(f.add(self.size[Size.ROWS], self.plan.rows - 1), self.plan.rows), self.plan.rows)
        with f.when(self.is_swapped):
            self._pack(self.turn, c, columns, 1, height, self.turned, pitch, pitch, width)
        source = either(f, self.is_swapped, self.turned, c, POINTER)
        return source, either(f, self.is_swapped, pitch, columns)
