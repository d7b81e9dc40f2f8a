"""What matrix products are, and what the kernels that compute them share: C = epilogue(A B), batched."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from tahr.backends.native import ir, kernel
from tahr.backends.native.epilogue import Epilogue, Segment, addresses, broadcast, emit
from tahr.backends.native.ir import F32, F64, I32, I64
from tahr.core import dtypes
from tahr.core.dtypes import DType

# What keeps LLVM from unrolling and vectorizing a loop, and what the module must hold then.
_PLAIN_LOOP = ", !llvm.loop !0"
LOOP_METADATA = """!0 = distinct !{!0, !1, !2}
!1 = !{!"llvm.loop.unroll.disable"}
!2 = !{!"llvm.loop.vectorize.enable", i1 false}"""


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
    def accumulated(self) -> DType:
        """The dtype of accumulation."""
        return dtypes.float64 if self.dtype == dtypes.float64 else dtypes.float32

    @property
    def element(self) -> str:
        """The LLVM type of accumulation."""
        return F64 if self.dtype == dtypes.float64 else F32

    @property
    def is_half(self) -> bool:
        """Whether elements are converted before they are multiplied."""
        return self.dtype.size == 2

    def title(self, way: str) -> str:
        """What the kernel computes, for people."""
        letters = "".join("t" if transposed else "n" for transposed in (self.transpose_a, self.transpose_b))
        outputs = "" if self.epilogue.is_plain else " + " + ", ".join(o.op for o in self.epilogue.outputs)
        return f"matmul {self.dtype.name} {letters} {way}{outputs}"


class Batch(NamedTuple):
    """One batch dimension: how many products, and from one to the next the distance (in elements; 0 broadcasts)."""

    size: int
    stride_a: int
    stride_b: int
    stride_c: int


@dataclass(frozen=True)
class Problem:
    """A product's exact sizes.

    Attributes:
        m, n, k: C is [m, n], A B sums over k.
        lda, ldb, ldc: the distance between rows of A, B and C as they are stored, in elements.
        batches: at most two batch dimensions, the outer one first.
    """

    m: int
    n: int
    k: int
    lda: int
    ldb: int
    ldc: int
    batches: tuple[Batch, ...] = ()

    @property
    def batch(self) -> int:
        """How many products there are."""
        count = 1
        for batch in self.batches:
            count *= batch.size
        return count


def problem(
    product: Product,
    m: int,
    n: int,
    k: int,
    batches: Sequence[Batch] = (),
    lda: int | None = None,
    ldb: int | None = None,
    ldc: int | None = None,
) -> Problem:
    """A product's exact sizes; matrices are dense unless the distances between their rows are given."""
    lda = lda if lda is not None else m if product.transpose_a else k
    ldb = ldb if ldb is not None else k if product.transpose_b else n
    ldc = ldc if ldc is not None else n
    # Batches whose rows follow each other, multiplied by one B, are rows of one product.
    while batches and not product.transpose_a:
        size, a, b, c = batches[-1]
        if b != 0 or a != m * lda or c != m * ldc:
            break
        m, batches = m * size, batches[:-1]
    return Problem(m, n, k, lda, ldb, ldc, tuple(batches))


class Size(enum.IntEnum):
    """The places in the table of sizes of every kernel here."""

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
    MC = 14  # rows and columns of a tile, and how far it goes along K at a time
    NC = 15
    KC = 16
    ROW_BLOCKS = 17
    COLUMN_BLOCKS = 18
    K_BLOCKS = 19
    PACKS_A = 20  # 1 where the block is packed, 0 where the micro-kernel reads the matrix itself
    PACKS_B = 21
    INNER_BLOCKS = 22  # how many tiles follow each other in a row (or column) of tiles
    BY_COLUMNS = 23  # 1 where tiles follow each other down a column of tiles, 0 where along a row


def table(
    problem: Problem,
    rows: int,
    columns: int,
    depth: int,
    packs_a: bool = False,
    packs_b: bool = False,
    by_columns: bool = False,
) -> list[int]:
    """The table of sizes for tiles of so many rows and columns."""
    outer, inner = [Batch(1, 0, 0, 0)] * (2 - len(problem.batches)) + list(problem.batches)
    row_blocks, column_blocks = blocks(problem.m, rows), blocks(problem.n, columns)
    places = {
        Size.TILES: problem.batch * row_blocks * column_blocks,
        Size.M: problem.m, Size.N: problem.n, Size.K: problem.k,
        Size.LDA: problem.lda, Size.LDB: problem.ldb, Size.LDC: problem.ldc,
        Size.BATCH: inner.size,
        Size.OUTER_A: outer.stride_a, Size.OUTER_B: outer.stride_b, Size.OUTER_C: outer.stride_c,
        Size.INNER_A: inner.stride_a, Size.INNER_B: inner.stride_b, Size.INNER_C: inner.stride_c,
        Size.MC: rows, Size.NC: columns, Size.KC: depth,
        Size.ROW_BLOCKS: row_blocks, Size.COLUMN_BLOCKS: column_blocks,
        Size.K_BLOCKS: max(1, blocks(problem.k, depth)),
        Size.PACKS_A: int(packs_a), Size.PACKS_B: int(packs_b),
        Size.INNER_BLOCKS: row_blocks if by_columns else column_blocks, Size.BY_COLUMNS: int(by_columns),
    }  # fmt: skip
    return [places[place] for place in Size]


def blocks(size: int, block: int) -> int:
    """How many blocks cover a size."""
    return -(-size // block)


def up(size: int, unit: int) -> int:
    """The next multiple of a unit."""
    return blocks(size, unit) * unit


def even(size: int, most: int, unit: int) -> int:
    """The block size, a multiple of a unit, that cuts a size into few and nearly equal blocks."""
    return max(unit, up(blocks(size, max(1, blocks(size, max(most, 1)))), unit))


# ---------------------------------------------------------------- code


class Tile(NamedTuple):
    """The names of the values that say where a tile is.

    Attributes:
        i, j: its first row and column.
        rows, columns: how many it has.
        a, b, c: the offsets of its products' matrices.
        row_of_tiles, column_of_tiles: numbers that tiles with the same rows of A, and columns of B, have in common.
    """

    i: str
    j: str
    rows: str
    columns: str
    a: str
    b: str
    c: str
    row_of_tiles: str
    column_of_tiles: str


class Emitter:
    """What the emitters of products' kernels share.

    Args:
        product: what to compute.
        lanes: elements of a vector register.
        masks: whether loads and stores of parts of a vector cost no more than whole ones.
    """

    def __init__(self, product: Product, lanes: int, masks: bool) -> None:
        self.product = product
        self.lanes = lanes
        self.masks = masks
        self.element = product.element
        self.memory = ir.MEMORY[product.dtype]
        self.vector = ir.vector(lanes, self.element)
        self.bytes = product.accumulated.size
        self.f = f = kernel.function()
        self.size = kernel.sizes(f, len(Size))
        buffers = 2 + len(product.epilogue.operands) + len(product.epilogue.outputs)
        self.buffers = [kernel.buffer(f, i) for i in range(buffers)]

    @contextmanager
    def tiles(self) -> Generator[Tile]:
        """The loop over the tiles of a call."""
        f, size = self.f, self.size

        def split(index: str, count: str) -> tuple[str, str]:
            return f.div(index, count), f.rem(index, count)

        by_columns = f.value(f"icmp ne i64 {size[Size.BY_COLUMNS]}, 0")
        with loop(f, "%begin", "%end", hint="tile") as tile:
            batch, within = split(tile, f.mul(size[Size.ROW_BLOCKS], size[Size.COLUMN_BLOCKS]))
            y, x = split(within, size[Size.INNER_BLOCKS])
            row_block, column_block = either(f, by_columns, x, y), either(f, by_columns, y, x)
            outer, inner = split(batch, size[Size.BATCH])
            i, j = f.mul(row_block, size[Size.MC]), f.mul(column_block, size[Size.NC])
            a, b, c = (
                f.add(f.mul(outer, size[place]), f.mul(inner, size[place + 3]))
                for place in (Size.OUTER_A, Size.OUTER_B, Size.OUTER_C)
            )
            yield Tile(
                i,
                j,
                f.minimum(size[Size.MC], f.sub(size[Size.M], i)),
                f.minimum(size[Size.NC], f.sub(size[Size.N], j)),
                a,
                b,
                c,
                f.add(f.mul(batch, size[Size.ROW_BLOCKS]), row_block),
                f.add(f.mul(batch, size[Size.COLUMN_BLOCKS]), column_block),
            )

    def block_of_a(self, tile: Tile, k: str | int) -> str:
        """The address of a tile's first element of A at a place along the sum."""
        return self._block(0, tile.a, tile.i, k, self.product.transpose_a)

    def block_of_b(self, tile: Tile, k: str | int) -> str:
        """The address of a tile's first element of B at a place along the sum."""
        return self._block(1, tile.b, tile.j, k, not self.product.transpose_b)

    def _block(self, operand: int, offset: str, line: str, k: str | int, along_line: bool) -> str:
        f = self.f
        far, near = (k, line) if along_line else (line, k)
        place = f.add(f.add(offset, f.mul(far, self.size[Size.LDA + operand])), near)
        return f.at(self.memory, self.buffers[operand], place)

    def finish(
        self, source: str, pitch: str, rows: str | int, columns: str, column: str, offset: str, leading: str
    ) -> None:
        """The epilogue of a block of C.

        Args:
            source: the address of the accumulated products; `pitch` from one row to the next.
            rows, columns: how many there are.
            column, offset: the block's first column, and the place of its first element in C.
            leading: the distance between rows of C.
        """
        f, lanes, epilogue = self.f, self.lanes, self.product.epilogue

        def segments(at: str, run: Segment) -> None:
            with loop(f, 0, rows, hint="r") as row:
                there = f.add(f.add(offset, at), f.mul(row, leading))
                places = addresses(f, epilogue, self.buffers[2:], f.add(column, at), there)
                products = f.at(self.element, source, f.add(f.mul(row, pitch), at))
                emit(f, epilogue, f.load(run.type(self.element), products, self.bytes), places, run)

        if self.masks:
            with loop(f, 0, columns, lanes, hint="c") as at:
                segments(at, Segment(lanes, mask(f, lanes, f.sub(columns, at))))
        else:
            whole = f.mul(f.div(columns, lanes), lanes)
            with loop(f, 0, whole, lanes, hint="c") as at:
                segments(at, Segment(lanes))
            with loop(f, whole, columns, hint="c") as at:
                segments(at, Segment())


@contextmanager
def loop(
    f: ir.Function, start: str | int, end: str | int, step: str | int = 1, hint: str = "i"
) -> Generator[str]:
    """A loop that LLVM neither unrolls nor vectorizes."""
    with f.loop(start, end, step, hint, _PLAIN_LOOP) as index:
        yield index


def either(f: ir.Function, condition: str, yes: str | int, no: str | int, kind: str = I64) -> str:
    """One of two values."""
    return f.value(f"select i1 {condition}, {kind} {yes}, {kind} {no}")


def cover(f: ir.Function, count: str, unit: int, body: Callable[[str, Segment], None]) -> None:
    """Runs a body for vectors that cover `count` elements; the last may overlap the one before.

    Where there are fewer elements than a vector has, they come one by one. The body must not mind doing an element
    twice.
    """
    with f.either(f.value(f"icmp sge i64 {count}, {unit}")) as branches:
        final = f.sub(count, unit)
        with loop(f, 0, count, unit, hint="run") as i:
            body(f.minimum(i, final), Segment(unit))
        branches.otherwise()
        with loop(f, 0, count, hint="one") as i:
            body(i, Segment())


def mask(f: ir.Function, width: int, count: str) -> str:
    """The mask of a vector's first `count` elements."""
    every = broadcast(f, width, I32, f.value(f"trunc i64 {f.minimum(count, width)} to i32"))
    order = "<" + ", ".join(f"i32 {i}" for i in range(width)) + ">"
    return f.value(f"icmp slt {ir.vector(width, I32)} {order}, {every}", "mask")


def multiply_add(f: ir.Function, kind: str, a: str, b: str, c: str) -> str:
    """a b + c, of floats or vectors of them."""
    count, _, element = kind.strip("<>").rpartition(" x ")
    suffix = (f"v{count}" if count else "") + ("f64" if element == F64 else "f32")
    return f.value(f"call {kind} @llvm.fmuladd.{suffix}({kind} {a}, {kind} {b}, {kind} {c})")
