"""Matrix products, natively: every way to compute them, at the edges of every tile, inside guard bytes."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import blocked, engine, finishing, gemm, target as targets
from tahr.backends.native.epilogue import COLUMN, FULL, SCALAR, Epilogue, Operand, accumulating, plain
from tahr.backends.native.gemm import Batch, Problem, Product, Way
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.micro import Micro
from tahr.backends.native.products import Size, swapped
from tahr.backends.native.target import BASELINE, Target
from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import leaf

pytest.importorskip("llvmlite")

Array = np.ndarray[Any, Any]
FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16)
TRANSPOSITIONS = list(itertools.product((False, True), repeat=2))
GUARD = 64


def native(cpu: str, vector_bytes: int) -> Target:
    """An older x86-64 processor, if this machine can run its code."""
    host = targets.host()
    if host.architecture != "x86_64" or (vector_bytes > 16 and not (host.has("avx2") and host.has("fma"))):
        pytest.skip(f"this machine is no {cpu}")
    features = "+avx2,+fma,+f16c" if vector_bytes > 16 else ""
    return dataclasses.replace(
        BASELINE, cpu=cpu, features=features, vector_bytes=vector_bytes, triple=host.triple
    )


class Guarded:
    """An array between guard bytes, aligned to its elements and to nothing more."""

    def __init__(self, array: Array) -> None:
        size = array.dtype.itemsize
        self._bytes = np.full(array.nbytes + 3 * GUARD, 0xA5, np.uint8)
        self._start = GUARD + (-(self._bytes.ctypes.data + GUARD)) % GUARD + size
        self._end = self._start + array.nbytes
        self.array = self._bytes[self._start : self._end].view(array.dtype).reshape(array.shape)
        self.array[...] = array

    def check(self) -> None:
        """Nothing outside the array was written."""
        assert (self._bytes[: self._start] == 0xA5).all()
        assert (self._bytes[self._end :] == 0xA5).all()


def call(
    kernel: Kernel,
    table: Sequence[int],
    arrays: Sequence[Array],
    order: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Runs a kernel's tiles, all at once or in an order of ranges, with scratch full of NaN."""
    (address,) = engine.load([kernel])
    function = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )(address)
    guarded = {id(array): Guarded(array) for array in arrays}
    places = [guarded[id(array)] for array in arrays]
    buffers = np.array([place.array.ctypes.data for place in places], np.uint64)
    sizes = np.array(table, np.int64)
    scratch = np.full(kernel.scratch + 3 * GUARD, 0xFF, np.uint8)
    start = GUARD + (-scratch.ctypes.data) % GUARD
    for begin, end in order or [(0, gemm.tiles(table))]:
        function(buffers.ctypes.data, sizes.ctypes.data, begin, end, scratch.ctypes.data + start)
    assert (scratch[:start] == 0xFF).all()
    assert (scratch[start + kernel.scratch :] == 0xFF).all()
    for array, place in zip(arrays, places):
        place.check()
        array[...] = place.array


def random(rng: np.random.Generator, dtype: DType, *shape: int) -> Array:
    """Numbers around one, of either sign."""
    return rng.standard_normal(shape).astype(dtype.numpy)


def operands(product: Product, m: int, n: int, k: int, *batch: int) -> tuple[Array, Array]:
    """Random A and B, as they are stored."""
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    a = random(rng, product.dtype, *batch, *((k, m) if product.transpose_a else (m, k)))
    b = random(rng, product.dtype, *batch, *((n, k) if product.transpose_b else (k, n)))
    return a, b


def exact(product: Product, a: Array, b: Array) -> Array:
    """A B in float64."""
    a = np.swapaxes(a, -1, -2) if product.transpose_a else a
    b = np.swapaxes(b, -1, -2) if product.transpose_b else b
    with np.errstate(invalid="ignore"):
        return a.astype(np.float64) @ b.astype(np.float64)


def assert_close(dtype: DType, actual: Array, expected: Array, k: int) -> None:
    """Within a few roundings of sums of k terms of about one."""
    epsilon = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24, "float64": 2**-53}[dtype.name]
    accumulation = 2**-53 if dtype == dtypes.float64 else 2**-24
    absolute = 8 * accumulation * (k + 1)
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=2 * epsilon, atol=absolute)


def check(product: Product, way: Way, problem: Problem) -> None:
    """A plain product equals float64's."""
    kernel, table = gemm.kernel(product, way), gemm.sizes(product, problem, way)
    check_table(kernel, table, product, problem.m, problem.n, problem.k)


def check_table(kernel: Kernel, table: Sequence[int], product: Product, m: int, n: int, k: int) -> None:
    """A kernel's plain product, with a table of sizes, equals float64's."""
    a, b = operands(product, m, n, k)
    c = np.full((m, n), np.nan, product.dtype.numpy)
    call(kernel, table, [a, b, c])
    assert_close(product.dtype, c, exact(product, a, b), k)


def check_both_ways(kernel: Kernel, plan: blocked.Blocking, product: Product, problem: Problem) -> None:
    """A plain product equals float64's, whether or not its operands are exchanged."""
    for table in (
        blocked.tiled(plan, product, problem),
        blocked.tiled(plan, *swapped(product, problem), is_swapped=True),
    ):
        check_table(kernel, table, product, problem.m, problem.n, problem.k)


def edges(*units: int) -> list[int]:
    """Sizes at and around multiples of units."""
    return sorted({0, 1, 2, *(unit + d for unit in units for d in (-1, 0, 1)), 2 * units[-1] + 3})


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.name)
def test_sizes_around_the_blocks(dtype: DType, transpose_a: bool, transpose_b: bool) -> None:
    product = Product(dtype, transpose_a, transpose_b, plain(dtype))
    plan = blocked.blocking(dtype, targets.current())
    kernel = gemm.kernel(product, Way(gemm.BLOCKED))
    for m, n in itertools.product(edges(plan.rows), edges(plan.lanes, plan.columns)):
        check_both_ways(kernel, plan, product, gemm.problem(product, m, n, (5 * m + 3 * n) % 20))


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(("cpu", "vector_bytes"), [("x86-64", 16), ("haswell", 32), ("", 0)])
def test_blocks_along_every_dimension(
    cpu: str, vector_bytes: int, dtype: DType, transpose_a: bool, transpose_b: bool
) -> None:
    """With scratch so small that every dimension is cut into several blocks."""
    product = Product(dtype, transpose_a, transpose_b, plain(dtype))
    with targets.using(native(cpu, vector_bytes) if cpu else targets.host()):
        plan = blocked.blocking(dtype, targets.current())
        small = dataclasses.replace(
            plan,
            depth=16,
            packed_a=16 * 2 * plan.rows,
            packed_b=16 * plan.columns,
            accumulated=2 * plan.rows * plan.columns,
        )
        micro = small.micro.kernel()
        kernel = finishing.kernel_of(product, blocked.walk(small), targets.current(), "blocked", micro)
        for m, n, k in itertools.product(
            (1, 2 * plan.rows, 5 * plan.rows + 1),
            (2, plan.columns + 1, 2 * plan.columns + 5),
            (0, 1, 15, 16, 17, 32, 41),
        ):
            check_both_ways(kernel, small, product, gemm.problem(product, m, n, k))


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("kind", [gemm.ROW, gemm.COLUMN])
def test_one_row_or_column(kind: str, dtype: DType, transpose_a: bool, transpose_b: bool) -> None:
    product = Product(dtype, transpose_a, transpose_b, plain(dtype))
    lanes = targets.current().lanes(product.accumulated.size)
    for length, k in itertools.product(
        [1, 2, 7, 8, 9, lanes + 1, 129, 300], [1, 7, 8, 9, lanes - 1, 2 * lanes + 3]
    ):
        m, n = (1, length) if kind == gemm.ROW else (length, 1)
        problem = gemm.problem(product, m, n, k)
        # One row (or column) that is stored across lies dense all the same.
        problem = dataclasses.replace(problem, lda=1 if transpose_a and m == 1 else problem.lda)
        assert length == 1 or gemm.choose(product, problem) == Way(kind)
        check(product, Way(kind), problem)


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize(
    "dtype", [dtypes.float32, dtypes.float64, dtypes.bfloat16], ids=lambda dtype: dtype.name
)
def test_tiny(dtype: DType, transpose_a: bool, transpose_b: bool) -> None:
    product = Product(dtype, transpose_a, transpose_b, plain(dtype))
    for m, n, k in [
        (100, 2, 2),
        (4, 2, 2),
        (1, 2, 2),
        (0, 2, 2),
        (37, 3, 5),
        (2, 2, 100),
        (2, 1, 7),
        (3, 4, 50),
        (1, 1, 3),
    ]:
        problem = gemm.problem(product, m, n, k)
        way = gemm.choose(product, problem, (m or None, n, k))
        assert way.kind == gemm.TINY
        check(product, way, problem)


def test_a_tiny_kernel_serves_other_sizes() -> None:
    """What is not known when the kernel is written may change."""
    product = Product(dtypes.float64, False, False, plain(dtypes.float64))
    way = gemm.choose(product, gemm.problem(product, 100, 2, 3), (None, 2, 3))
    for m in (0, 1, 7, 50_000):
        check(product, way, gemm.problem(product, m, 2, 3))


def test_every_way_is_chosen() -> None:
    product = Product(dtypes.float32, False, False, plain(dtypes.float32))
    sizes = {
        (128, 784, 512): "blocked",
        (128, 784, 10): "blocked",
        (1, 784, 512): "row",
        (512, 784, 1): "column",
    }
    for (m, k, n), kind in sizes.items():
        assert gemm.choose(product, gemm.problem(product, m, n, k), (m, n, k)).kind == kind
    assert gemm.choose(product, gemm.problem(product, 100, 2, 2), (None, 2, 2)).kind == "tiny"
    # Rows too long to be gathered from.
    assert gemm.choose(product, gemm.problem(product, 100, 1, 20), (None, 1, 20)).kind == "column"
    assert gemm.choose(product, gemm.problem(product, 100, 16, 2), (None, 16, 2)).kind == "blocked"
    # A column of something wider is not dense.
    assert gemm.choose(product, gemm.problem(product, 100, 1, 20, ldc=3)).kind == "blocked"
    for m, k, n in [(0, 3, 3), (3, 0, 3), (3, 3, 0), (0, 0, 0)]:
        assert gemm.choose(product, gemm.problem(product, m, n, k)).kind == gemm.BLOCKED


def test_large() -> None:
    """Sizes beyond every block of the real blocking."""
    for transposed in (False, True):
        product = Product(dtypes.float32, transposed, transposed, plain(dtypes.float32))
        for m, n, k in [(301, 513, 2100), (9, 4000, 10), (2000, 17, 30)]:
            problem = gemm.problem(product, m, n, k)
            check(product, gemm.choose(product, problem), problem)


# ---------------------------------------------------------------- micro-kernels made to measure


def heights_and_widths(plan: blocked.Blocking) -> list[tuple[int, int, int]]:
    """Lanes, rows and vectors of blocks of C of every kind: low and wide, high and narrow, of half vectors."""
    lanes = plan.lanes
    blocks = [(lanes, 4, 3), (lanes, 2 * plan.rows, 1)]
    if plan.micro.masks:
        blocks += [(lanes, 10, 2), (lanes // 2, 5, 5), (lanes // 2, 9, 3)]
    return blocks


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(("cpu", "vector_bytes"), [("haswell", 32), ("", 0)])
def test_other_micro_kernels(
    cpu: str, vector_bytes: int, dtype: DType, transpose_a: bool, transpose_b: bool
) -> None:
    """Of every height and width; with sums that are cut and that are not, in C and in scratch, upright and turned."""
    product = Product(dtype, transpose_a, transpose_b, plain(dtype))
    with targets.using(native(cpu, vector_bytes) if cpu else targets.host()):
        plan = dataclasses.replace(blocked.blocking(dtype, targets.current()), depth=16)
        walk = blocked.walk(plan)
        for lanes, rows, vectors in heights_and_widths(plan):
            for in_place, m, k in itertools.product(
                (True, False), (2 * rows, 3 * rows + 1, rows - 1), (16, 40)
            ):
                micro = Micro(
                    *(plan.micro.dtype, lanes, rows, vectors, plan.micro.masks),
                    widths=tuple(range(1, vectors + 1)),
                    fetches=False,
                    in_place=in_place,
                    is_exact=m % rows == 0,
                )
                kernel = finishing.kernel_of(product, walk, targets.current(), "blocked", micro.kernel())
                n = 2 * micro.columns - 1
                table = blocked.sizes(plan, product, gemm.problem(product, m, n, k), (micro, False))
                assert table[Size.DIRECT] == (in_place and k == 16 and micro.masks)
                check_table(kernel, table, product, m, n, k)
                if not in_place:
                    table = blocked.sizes(plan, product, gemm.problem(product, n, m, k), (micro, True))
                    check_table(kernel, table, product, n, m, k)


TO_MEASURE = [(512, 10, 128), (128, 10, 512), (100, 100, 100), (50, 50, 200), (512, 32, 12), (33, 200, 1100)]


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
def test_known_sizes_have_micro_kernels_to_measure(
    dtype: DType, transpose_a: bool, transpose_b: bool
) -> None:
    """And their bits are the same whichever threads compute which tiles."""
    biased = Epilogue((scalar.maximum(leaf(0, dtype) + leaf(1, dtype), 0.0),), (Operand(dtype, COLUMN),))
    found = 0
    for m, n, k in TO_MEASURE:
        for epilogue in (plain(dtype), biased):
            product = Product(dtype, transpose_a, transpose_b, epilogue)
            problem = gemm.problem(product, m, n, k)
            way = gemm.choose(product, problem, (m, n, k))
            found += way.tailored is not None
            kernel, table = gemm.kernel(product, way), gemm.sizes(product, problem, way)
            a, b = operands(product, m, n, k)
            bias = random(np.random.default_rng(1), dtype, n)
            arrays = [a, b] if epilogue.is_plain else [a, b, bias]
            whole, parts = (np.full((m, n), np.nan, dtype.numpy) for _ in range(2))
            call(kernel, table, [*arrays, whole])
            count = gemm.tiles(table)
            call(kernel, table, [*arrays, parts], [(tile, tile + 1) for tile in reversed(range(count))])
            np.testing.assert_array_equal(whole, parts)
            expected = exact(product, a, b)
            if not epilogue.is_plain:
                expected = np.maximum(expected + bias, 0)
            assert_close(dtype, whole, expected, k)
    if targets.current().has("avx512f"):
        assert found > len(TO_MEASURE) // 2


def test_unknown_sizes_have_the_usual_micro_kernel() -> None:
    """So another batch compiles nothing; nor do halves, which are packed, and what would save no microsecond."""
    product = Product(dtypes.float32, True, False, plain(dtypes.float32))
    problem = gemm.problem(product, 512, 10, 128)
    for known in itertools.product((512, None), (10, None), (128, None)):
        if None in known:
            assert gemm.choose(product, problem, known) == Way(gemm.BLOCKED)
    for sizes in [(0, 10, 128), (512, 0, 128), (512, 10, 0), (12, 10, 12), (512, 48, 128)]:
        assert gemm.choose(product, gemm.problem(product, *sizes), sizes) == Way(gemm.BLOCKED)
    halves = Product(dtypes.float16, True, False, plain(dtypes.float16))
    assert gemm.choose(halves, problem, (512, 10, 128)) == Way(gemm.BLOCKED)


# ---------------------------------------------------------------- tiles, batches, strides


@pytest.mark.parametrize(("m", "n", "k"), [(300, 400, 500), (1, 3000, 100), (3000, 1, 100), (3000, 10, 20)])
def test_tiles_in_any_order_give_the_same_bits(m: int, n: int, k: int) -> None:
    product = Product(dtypes.float32, False, False, plain(dtypes.float32))
    problem = gemm.problem(product, m, n, k)
    way = gemm.choose(product, problem)
    kernel, table = gemm.kernel(product, way), gemm.sizes(product, problem, way)
    a, b = operands(product, m, n, k)
    count = gemm.tiles(table)
    assert count > 2
    results: list[Array] = []
    for order in (
        [(0, count)],
        [(tile, tile + 1) for tile in reversed(range(count))],
        [(count // 3, count), (0, count // 3)],
    ):
        c = np.full((m, n), np.nan, np.float32)
        call(kernel, table, [a, b, c], order)
        results.append(c)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize(("m", "n", "k"), [(5, 20, 7), (1, 20, 7), (20, 1, 7), (9, 9, 9)])
def test_two_batch_dimensions_with_broadcast(
    m: int, n: int, k: int, transpose_a: bool, transpose_b: bool
) -> None:
    product = Product(dtypes.float32, transpose_a, transpose_b, plain(dtypes.float32))
    a, b = operands(product, m, n, k, 3, 2)
    for outer_a, inner_a, outer_b, inner_b in [(1, 1, 1, 1), (1, 0, 0, 1), (0, 0, 1, 1), (1, 1, 0, 0)]:
        batches = [
            Batch(3, outer_a * 2 * m * k, outer_b * 2 * k * n, 2 * m * n),
            Batch(2, inner_a * m * k, inner_b * k * n, m * n),
        ]
        problem = gemm.problem(product, m, n, k, batches)
        if problem.m != m:
            assert not transpose_a  # batches of rows became rows
        way = gemm.choose(product, problem)
        if way.kind in (gemm.ROW, gemm.COLUMN):
            assert 1 in (problem.m, problem.n)
        c = np.full((3, 2, m, n), np.nan, np.float32)
        call(gemm.kernel(product, way), gemm.sizes(product, problem, way), [a, b, c])
        used_a = a[: 3 if outer_a else 1, : 2 if inner_a else 1]
        used_b = b[: 3 if outer_b else 1, : 2 if inner_b else 1]
        assert_close(dtypes.float32, c, np.broadcast_to(exact(product, used_a, used_b), c.shape), k)


def test_heads_are_read_and_written_in_place() -> None:
    """Attention's products take [batch, time, head, depth] without a transposition."""
    batch, time, heads, depth = 2, 20, 3, 8
    rng = np.random.default_rng(0)
    q, k = (random(rng, dtypes.float32, batch, time, heads, depth) for _ in range(2))
    product = Product(dtypes.float32, False, True, plain(dtypes.float32))
    stride = time * heads * depth
    batches = [Batch(batch, stride, stride, heads * time * time), Batch(heads, depth, depth, time * time)]
    problem = gemm.problem(product, time, time, depth, batches, lda=heads * depth, ldb=heads * depth)
    way = gemm.choose(product, problem)
    scores = np.full((batch, heads, time, time), np.nan, np.float32)
    call(gemm.kernel(product, way), gemm.sizes(product, problem, way), [q, k, scores])
    assert_close(dtypes.float32, scores, np.einsum("bihd,bjhd->bhij", q, k, dtype=np.float64), depth)

    product = Product(dtypes.float32, False, False, plain(dtypes.float32))
    batches = [Batch(batch, heads * time * time, stride, stride), Batch(heads, time * time, depth, depth)]
    problem = gemm.problem(product, time, depth, time, batches, ldb=heads * depth, ldc=heads * depth)
    way = gemm.choose(product, problem)
    out = np.full((batch, time, heads, depth), np.nan, np.float32)
    call(gemm.kernel(product, way), gemm.sizes(product, problem, way), [scores, k, out])
    expected = np.einsum("bhij,bjhd->bihd", scores, k, dtype=np.float64)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_nothing_in_the_table_depends_on_threads_and_tiles_are_enough_for_some() -> None:
    product = Product(dtypes.float32, False, False, plain(dtypes.float32))
    problem = gemm.problem(product, 128, 512, 784)
    assert gemm.tiles(gemm.sizes(product, problem, gemm.choose(product, problem))) >= 4


def test_large_results_are_fetched_ahead_and_two_threads_have_tiles() -> None:
    product = Product(dtypes.float32, True, False, accumulating(dtypes.float32))
    with targets.using(dataclasses.replace(targets.host(), l2=1 << 20)):
        for m, n, k in [(128, 128, 1024), (512, 512, 64), (5, 5, 5), (0, 5, 5)]:
            table = gemm.sizes(product, gemm.problem(product, m, n, k), Way(gemm.BLOCKED))
            assert bool(table[Size.FETCHES]) == (2 * m * n * 4 >= 1 << 19)
            assert gemm.tiles(table) >= 4 or m * n * k < 1 << 17


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
def test_exchanged_operands_of_batches(transpose_a: bool, transpose_b: bool) -> None:
    """Batches, a bias for each column, and an output that is larger than the product: all of them turned."""
    m, n, k = 5, 20, 7
    dtype = dtypes.float32
    epilogue = Epilogue(
        (leaf(0, dtype) + leaf(1, dtype) * leaf(2, dtype),), (Operand(dtype, COLUMN), Operand(dtype, FULL))
    )
    product = Product(dtype, transpose_a, transpose_b, epilogue)
    a, b = operands(product, m, n, k, 3)
    problem = gemm.problem(product, m, n, k, [Batch(3, m * k, k * n, m * (n + 2))], ldc=n + 2)
    plan = blocked.blocking(dtype, targets.current())
    table = blocked.tiled(plan, *swapped(product, problem), is_swapped=True)
    rng = np.random.default_rng(6)
    bias, factor = random(rng, dtype, n + 2), random(rng, dtype, 3, m, n + 2)
    c = np.full((3, m, n + 2), 7, np.float32)
    call(gemm.kernel(product, Way(gemm.BLOCKED)), table, [a, b, bias, factor, c])
    expected = exact(product, a, b) + bias[:n].astype(np.float64) * factor[..., :n]
    assert_close(dtype, c[..., :n], expected, k)
    assert (c[..., n:] == 7).all()


def test_operands_are_exchanged_where_that_saves_packing() -> None:
    """Not where few rows would fill the vectors badly, nor where the sum is so short that turning C costs more."""

    def is_swapped(transpose_b: bool, m: int, n: int, k: int) -> bool:
        product = Product(dtypes.float32, False, transpose_b, plain(dtypes.float32))
        return bool(gemm.sizes(product, gemm.problem(product, m, n, k), Way(gemm.BLOCKED))[Size.SWAPPED])

    lanes = targets.current().lanes(4)
    rows = blocked.blocking(dtypes.float32, targets.current()).rows
    assert is_swapped(True, lanes, 384, 1024)
    assert is_swapped(True, rows, 384, 1024) == (lanes <= rows)
    assert not is_swapped(True, lanes, 384, 4)
    assert not is_swapped(False, lanes, 384, 1024)


def test_operands_are_exchanged_where_the_left_one_lies_scattered() -> None:
    """Rows half a page or a page apart are better on the right; not if both are, nor what the cache holds."""

    def is_swapped(m: int, n: int, k: int) -> bool:
        product = Product(dtypes.float32, True, False, plain(dtypes.float32))
        return bool(gemm.sizes(product, gemm.problem(product, m, n, k), Way(gemm.BLOCKED))[Size.SWAPPED])

    with targets.using(dataclasses.replace(targets.host(), l2=1 << 20)):
        if blocked.blocking(dtypes.float32, targets.current()).rows < 8:
            pytest.skip("with few rows at a time, whatever lies across counts as scattered")
        assert is_swapped(512, 128, 1024) and is_swapped(1024, 256, 2048)
        assert not is_swapped(128, 512, 1024)
        assert not is_swapped(512, 512, 1024)
        assert not is_swapped(512, 128, 64)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSITIONS)
@pytest.mark.parametrize(("m", "n", "k"), [(20, 60, 33), (20, 10, 33), (1, 60, 33), (60, 1, 33), (60, 3, 2)])
def test_nan_and_infinity_stay_in_their_rows_and_columns(
    m: int, n: int, k: int, transpose_a: bool, transpose_b: bool
) -> None:
    product = Product(dtypes.float32, transpose_a, transpose_b, plain(dtypes.float32))
    a, b = operands(product, m, n, k)
    a.flat[0] = np.nan
    a.flat[-1] = np.inf
    b.flat[b.size // 2] = -np.inf
    expected = exact(product, a, b)
    known = (None, n, k) if n * k < 10 else (None, None, None)
    problem = gemm.problem(product, m, n, k)
    way = gemm.choose(product, problem, known)
    c = np.zeros((m, n), np.float32)
    call(gemm.kernel(product, way), gemm.sizes(product, problem, way), [a, b, c])
    assert np.isnan(expected).any()
    assert_close(dtypes.float32, c, expected, k)


# ---------------------------------------------------------------- epilogues


WAYS = [(20, 60, 33), (20, 10, 33), (1, 60, 33), (60, 1, 33), (60, 3, 2), (0, 5, 5), (5, 40, 0)]


def finished(
    epilogue: Epilogue,
    m: int,
    n: int,
    k: int,
    arrays: Sequence[Array],
    dtype: DType,
    is_swapped: bool = False,
) -> list[Array]:
    """What an epilogue gives, checked against the scalar language's own evaluator; of exchanged operands on demand."""
    product = Product(dtype, False, False, epilogue)
    problem = gemm.problem(product, m, n, k)
    way = gemm.choose(product, problem, (None, n, k) if n * k < 10 else (None, None, None))
    table = gemm.sizes(product, problem, way)
    if is_swapped:
        way = Way(gemm.BLOCKED)
        plan = blocked.blocking(dtype, targets.current())
        table = blocked.tiled(plan, *swapped(product, problem), is_swapped=True)
    a, b = operands(product, m, n, k)
    outputs = [np.full((m, n), 7, output.dtype.numpy) for output in epilogue.outputs]
    call(gemm.kernel(product, way), table, [a, b, *arrays, *outputs])
    accumulated = exact(product, a, b).astype(product.accumulated.numpy)
    expected = scalar.evaluate(epilogue.outputs, [accumulated, *(np.broadcast_to(x, (m, n)) for x in arrays)])
    for actual, reference in zip(outputs, expected):
        if actual.dtype == bool:
            np.testing.assert_array_equal(actual, reference)
        else:
            tolerance = 1e-4 if actual.dtype.itemsize >= 4 else 1e-2
            np.testing.assert_allclose(
                actual.astype(np.float64), reference.astype(np.float64), rtol=tolerance, atol=tolerance
            )
    return outputs


@pytest.mark.parametrize(("m", "n", "k"), WAYS)
def test_bias_and_relu_with_its_mask(m: int, n: int, k: int) -> None:
    dtype = dtypes.float32
    total = leaf(0, dtype) + leaf(1, dtype)
    positive = scalar.maximum(total, 0.0)
    epilogue = Epilogue(
        (positive, scalar.lt(scalar.constant(0.0, dtype), positive)), (Operand(dtype, COLUMN),)
    )
    finished(epilogue, m, n, k, [random(np.random.default_rng(1), dtype, n)], dtype)


@pytest.mark.parametrize(("m", "n", "k"), WAYS)
def test_a_mask_and_a_scalar(m: int, n: int, k: int) -> None:
    dtype = dtypes.float64
    masked = scalar.select(leaf(1, dtypes.bool_), leaf(0, dtype) * leaf(2, dtype), 0.0)
    epilogue = Epilogue((masked,), (Operand(dtypes.bool_, FULL), Operand(dtype, SCALAR)))
    rng = np.random.default_rng(2)
    finished(epilogue, m, n, k, [rng.random((m, n)) < 0.5, np.array(0.25)], dtype)


@pytest.mark.parametrize(("m", "n", "k"), WAYS)
def test_half_types_are_rounded_once(m: int, n: int, k: int) -> None:
    for dtype in (dtypes.float16, dtypes.bfloat16):
        epilogue = Epilogue((leaf(0, dtype) + leaf(1, dtype),), (Operand(dtype, COLUMN),))
        finished(epilogue, m, n, k, [random(np.random.default_rng(3), dtype, n)], dtype)


@pytest.mark.parametrize(("m", "n", "k"), [(20, 60, 2100), *WAYS])
def test_an_output_may_be_an_operand(m: int, n: int, k: int) -> None:
    """C += A B, in place."""
    product = Product(dtypes.float32, False, False, accumulating(dtypes.float32))
    problem = gemm.problem(product, m, n, k)
    way = gemm.choose(product, problem, (None, n, k) if n * k < 10 else (None, None, None))
    a, b = operands(product, m, n, k)
    c = random(np.random.default_rng(4), dtypes.float32, m, n)
    expected = c + exact(product, a, b)
    call(gemm.kernel(product, way), gemm.sizes(product, problem, way), [a, b, c, c])
    assert_close(dtypes.float32, c, expected, k)


def of_many_arrays() -> tuple[Epilogue, list[DType]]:
    """An epilogue with more arrays than are fetched ahead, of elements of 1 to 8 bytes; and its operands' dtypes."""
    kinds = [dtypes.float64, dtypes.int64, dtypes.bool_, dtypes.float32]
    wide, whole, flag, plus = (leaf(i, kind) for i, kind in enumerate(kinds, 1))
    total = leaf(0, dtypes.float32) + plus
    outputs = [
        scalar.convert(total, dtypes.float64) * wide,
        whole + scalar.constant(1, dtypes.int64),
        scalar.select(flag, total, 0.0),
        scalar.lt(total, scalar.constant(0.0, dtypes.float32)),
        *(total * (0.1 * i) for i in range(6)),
    ]
    return Epilogue(tuple(outputs), tuple(Operand(kind, FULL) for kind in kinds)), kinds


@pytest.mark.parametrize(("cpu", "vector_bytes"), [("x86-64", 16), ("haswell", 32), ("", 0)])
@pytest.mark.parametrize(("m", "n", "k"), [(50, 20, 60), (9, 70, 130), (100, 49, 1500), (3, 5, 0), (0, 5, 5)])
def test_many_arrays(cpu: str, vector_bytes: int, m: int, n: int, k: int) -> None:
    """The lists of lines to be fetched have room for all that is in them, turned or not."""
    epilogue, kinds = of_many_arrays()
    rng = np.random.default_rng(7)
    arrays = [(2 * rng.random((m, n))).astype(kind.numpy) for kind in kinds]
    with targets.using(native(cpu, vector_bytes) if vector_bytes else targets.host()):
        for is_swapped in (False, True):
            finished(epilogue, m, n, k, arrays, dtypes.float32, is_swapped)


# ---------------------------------------------------------------- other processors


@pytest.mark.parametrize(("cpu", "vector_bytes"), [("x86-64", 16), ("haswell", 32)])
def test_older_processors(cpu: str, vector_bytes: int) -> None:
    dtype = dtypes.float32
    total = scalar.maximum(leaf(0, dtype) + leaf(1, dtype), 0.0)
    epilogue = Epilogue((total,), (Operand(dtype, COLUMN),))
    with targets.using(native(cpu, vector_bytes)):
        for m, n, k in WAYS:
            finished(epilogue, m, n, k, [random(np.random.default_rng(5), dtype, n)], dtype)
        for transpose_a, transpose_b in TRANSPOSITIONS:
            product = Product(dtype, transpose_a, transpose_b, plain(dtype))
            for m, n, k in [(9, 30, 17), (9, 3, 17), (1, 30, 17), (30, 1, 17)]:
                problem = gemm.problem(product, m, n, k)
                check(product, gemm.choose(product, problem), problem)


@pytest.mark.parametrize("vectors", [4, 8, 16, 20])
def test_products_of_the_same_weights_are_halved_at_the_same_column(vectors: int) -> None:
    """Forward and in the weights' gradient, where all of it stays in caches."""
    plan = dataclasses.replace(blocked.blocking(dtypes.float32, targets.current()), cache=1 << 20)
    m, n, k = 32, vectors * plan.lanes, 250
    forward = Product(dtypes.float32, False, False, plain(dtypes.float32))
    backward = Product(dtypes.float32, True, False, plain(dtypes.float32))
    for product, sizes in ((forward, (m, n, k)), (backward, (k, n, m))):
        table = blocked.tiled(plan, product, gemm.problem(product, *sizes))
        if table[Size.PACKS_A] or table[Size.PACKS_B]:
            continue
        assert table[Size.BY_COLUMNS]
        if plan.micro.vectors == 3:
            assert n // 2 % table[Size.NC] == 0
    large = gemm.problem(forward, 32, n, 1 << 15)
    assert not blocked.tiled(plan, forward, large)[Size.BY_COLUMNS]


@pytest.mark.parametrize(("m", "n", "k"), [(512, 256, 20), (200, 320, 20), (400, 320, 16), (512, 250, 20)])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_blocks_are_as_wide_as_there_is_code_for(m: int, n: int, k: int, transpose_a: bool) -> None:
    """Short sums into many columns: a micro-kernel made to measure, for blocks of one and of three vectors."""
    product = Product(dtypes.float32, transpose_a, False, plain(dtypes.float32))
    problem = gemm.problem(product, m, n, k)
    check(product, gemm.choose(product, problem, (m, n, k)), problem)


def test_all_tiles_are_made_of_blocks_that_there_is_code_for() -> None:
    rng = np.random.default_rng(0)
    for m, n, k in (rng.integers(1, 700, (1000, 3)) // rng.integers(1, 16, (1000, 3)) + 2).tolist():
        for transpose_a, transpose_b in TRANSPOSITIONS:
            product = Product(dtypes.float32, transpose_a, transpose_b, plain(dtypes.float32))
            problem = gemm.problem(product, m, n, k)
            way = gemm.choose(product, problem, (m, n, k))
            if way.kind != gemm.BLOCKED or way.library:
                continue
            usual = blocked.blocking(dtypes.float32, targets.current()).micro
            micro = way.tailored.micro if way.tailored else usual
            table = gemm.sizes(product, problem, way)
            columns, wide = table[Size.N], table[Size.NC]
            tiles = {wide, columns % wide} - {0} if columns > wide else {columns}
            blocks = {min(tile - at, micro.columns) for tile in tiles for at in range(0, tile, micro.columns)}
            assert {-(-block // micro.lanes) for block in blocks} <= {*micro.widths}, (m, n, k)
