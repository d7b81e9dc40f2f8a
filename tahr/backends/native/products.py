"""What matrix products are, and what the code that computes them shares: C = epilogue(A B), batched.

A product's code has two parts. A *walk* goes through tiles and computes A B; it is compiled once for a dtype, whatever
is transposed and whatever follows. The *kernel* (`finishing.py`) holds what follows, the epilogue, and hands it to the
walk, which calls it for each block that is done.

A walk can exchange its operands and compute C' = B' A', which `Size.SWAPPED` says: what it calls A is then B', and what
it calls a row is a column of C.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from tahr.backends.native import ir, kernel
from tahr.backends.native.epilogue import Epilogue, Segment, broadcast
from tahr.backends.native.ir import F32, F64, I32, I64, POINTER
from tahr.core import dtypes
from tahr.core.dtypes import DType

# What keeps LLVM from unrolling and vectorizing a loop, and what the module must hold then.
_PLAIN_LOOP = ", !llvm.loop !0"
LOOP_METADATA = """!0 = distinct !{!0, !1, !2}
!1 = !{!"llvm.loop.unroll.disable"}
!2 = !{!"llvm.loop.vectorize.enable", i1 false}"""


def accumulated(dtype: DType) -> DType:
    """The dtype in which products of a dtype are summed."""
    return dtypes.float64 if dtype == dtypes.float64 else dtypes.float32


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
        return accumulated(self.dtype)

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


def swapped(product: Product, problem: Problem) -> tuple[Product, Problem]:
    """The product C' = B' A'."""
    turned = replace(product, transpose_a=not product.transpose_b, transpose_b=not product.transpose_a)
    batches = tuple(Batch(size, b, a, c) for size, a, b, c in problem.batches)
    return turned, replace(
        problem, m=problem.n, n=problem.m, lda=problem.ldb, ldb=problem.lda, batches=batches
    )


class Size(enum.IntEnum):
    """The places in the table of sizes of every kernel here."""

    TILES = 0
    M = 1
    N = 2
    K = 3
    A_ROW = 4  # from row to row of A, and from term to term of the sum
    A_TERM = 5
    B_TERM = 6
    B_COLUMN = 7
    LDC = 8
    BATCH = 9  # of the inner batch dimension
    OUTER_A = 10
    OUTER_B = 11
    OUTER_C = 12
    INNER_A = 13
    INNER_B = 14
    INNER_C = 15
    MC = 16  # rows and columns of a tile, and how far it goes along K at a time
    NC = 17
    KC = 18
    ROW_BLOCKS = 19
    COLUMN_BLOCKS = 20
    K_BLOCKS = 21
    PACKS_A = 22  # 1 where the block is packed, 0 where the micro-kernel reads the matrix itself
    PACKS_B = 23
    INNER_BLOCKS = 24  # how many tiles follow each other in a row (or column) of tiles
    BY_COLUMNS = 25  # 1 where tiles follow each other down a column of tiles, 0 where along a row
    SWAPPED = 26  # 1 where A and B are exchanged, and what is computed is the transpose of C
    FETCHES = 27  # 1 where what the epilogue reads and writes is fetched ahead
    DIRECT = 28  # 1 where sums are the results, and are written where they belong
    ROWS = 29  # of the micro-kernel's block of C; its columns, and those of a vector
    COLUMNS = 30
    LANES = 31
    LIBRARY = 32  # the address of OpenBLAS's function, where that is called; else 0


def table(
    product: Product,
    problem: Problem,
    rows: int,
    columns: int,
    depth: int,
    packs_a: bool = False,
    packs_b: bool = False,
    by_columns: bool = False,
    is_swapped: bool = False,
    fetches: bool = False,
    is_direct: bool = False,
    block: tuple[int, int, int] = (0, 0, 0),
    library: int = 0,
) -> list[int]:
    """The table of sizes for tiles of so many rows and columns.

    Args:
        product, problem: the exchanged ones, if the operands are exchanged.
        block: the micro-kernel's rows, columns, and those of a vector.
        library: the address of OpenBLAS's function, where that is called.
    """
    outer, inner = [Batch(1, 0, 0, 0)] * (2 - len(problem.batches)) + list(problem.batches)
    row_blocks, column_blocks = blocks(problem.m, rows), blocks(problem.n, columns)
    a_row, a_term = (1, problem.lda) if product.transpose_a else (problem.lda, 1)
    b_term, b_column = (1, problem.ldb) if product.transpose_b else (problem.ldb, 1)
    places = {
        Size.TILES: problem.batch * row_blocks * column_blocks,
        Size.M: problem.m, Size.N: problem.n, Size.K: problem.k,
        Size.A_ROW: a_row, Size.A_TERM: a_term, Size.B_TERM: b_term, Size.B_COLUMN: b_column,
        Size.LDC: problem.ldc,
        Size.BATCH: inner.size,
        Size.OUTER_A: outer.stride_a, Size.OUTER_B: outer.stride_b, Size.OUTER_C: outer.stride_c,
        Size.INNER_A: inner.stride_a, Size.INNER_B: inner.stride_b, Size.INNER_C: inner.stride_c,
        Size.MC: rows, Size.NC: columns, Size.KC: depth,
        Size.ROW_BLOCKS: row_blocks, Size.COLUMN_BLOCKS: column_blocks,
        Size.K_BLOCKS: max(1, blocks(problem.k, depth)),
        Size.PACKS_A: int(packs_a), Size.PACKS_B: int(packs_b),
        Size.INNER_BLOCKS: row_blocks if by_columns else column_blocks, Size.BY_COLUMNS: int(by_columns),
        Size.SWAPPED: int(is_swapped), Size.FETCHES: int(fetches), Size.DIRECT: int(is_direct),
        Size.ROWS: block[0], Size.COLUMNS: block[1], Size.LANES: block[2], Size.LIBRARY: library,
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


# ---------------------------------------------------------------- what walks and kernels agree on

# A walk: a kernel's arguments, its epilogue, and the arrays that have C's layout and that the epilogue reads or writes:
# how many, and for each the number of its buffer and the bytes of an element; and the micro-kernel of the blocked walk.
WALK = (*kernel.ARGUMENTS, (POINTER, "finish"), (POINTER, "arrays"), (POINTER, "micro"))
# The epilogue of a block of C: the address of its products, with the distance from row to row; how many rows and
# columns there are; the first column; the place in C of its first element; and the distance between rows of C.
FINISH = (
    (POINTER, "buffers"),
    (POINTER, "source"),
    (I64, "pitch"),
    (I64, "rows"),
    (I64, "columns"),
    (I64, "column"),
    (I64, "offset"),
    (I64, "leading"),
)


def call(f: ir.Function, callee: str, arguments: Sequence[tuple[str, str]], *values: str | int) -> None:
    """Calls a function with arguments as declared."""
    passed = ", ".join(f"{kind} {value}" for (kind, _), value in zip(arguments, values, strict=True))
    f.do(f"call void {callee}({passed})")


def declaration(symbol: str, arguments: Sequence[tuple[str, str]]) -> str:
    """The declaration of a function of another module."""
    return f"declare void @{symbol}({', '.join(kind for kind, _ in arguments)})"


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
    """What the emitters of products' code share.

    Args:
        dtype: the type of A's and B's elements.
        f: the function that goes through tiles.
    """

    def __init__(self, dtype: DType, f: ir.Function) -> None:
        self.dtype = dtype
        self.accumulated = accumulated(dtype)
        self.element = F64 if dtype == dtypes.float64 else F32
        self.memory = ir.MEMORY[dtype]
        self.bytes = self.accumulated.size
        self.f = f
        self.size = kernel.sizes(f, len(Size))
        self.a, self.b = kernel.buffer(f, 0), kernel.buffer(f, 1)

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
        return self._block(self.a, tile.a, (tile.i, Size.A_ROW), (k, Size.A_TERM))

    def block_of_b(self, tile: Tile, k: str | int) -> str:
        """The address of a tile's first element of B at a place along the sum."""
        return self._block(self.b, tile.b, (tile.j, Size.B_COLUMN), (k, Size.B_TERM))

    def _block(self, base: str, place: str, *along: tuple[str | int, Size]) -> str:
        f = self.f
        for index, step in along:
            place = f.add(place, f.mul(index, self.size[step]))
        return f.at(self.memory, base, place)


class Walk(Emitter):
    """What the emitters of walks share: where C is, as they see it, and a target's vectors.

    Args:
        dtype: the type of A's and B's elements.
        lanes: elements of a vector register.
        masks: whether loads and stores of parts of a vector cost no more than whole ones.
    """

    def __init__(self, dtype: DType, lanes: int, masks: bool) -> None:
        f = ir.Function(kernel.SYMBOL, WALK, attributes=kernel.ATTRIBUTES, plain=True)
        super().__init__(dtype, f)
        self.lanes = lanes
        self.masks = masks
        self.vector = ir.vector(lanes, self.element)
        self.is_swapped = f.value(f"icmp ne i64 {self.size[Size.SWAPPED]}, 0")
        self.a, self.b = (
            either(f, self.is_swapped, second, first, POINTER)
            for first, second in ((self.a, self.b), (self.b, self.a))
        )

    def run(self, at: str, end: str) -> Segment:
        """A vector's elements from `at` on, as far as there are some; a whole one without masks."""
        return Segment(self.lanes, mask(self.f, self.lanes, self.f.sub(end, at)) if self.masks else None)

    def place(self, tile: Tile, i: str, j: str) -> tuple[str, str]:
        """The column of C, and the place in C, of an element of the walk's result."""
        f = self.f
        row, column = either(f, self.is_swapped, j, i), either(f, self.is_swapped, i, j)
        return column, f.add(f.add(tile.c, f.mul(row, self.size[Size.LDC])), column)


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
