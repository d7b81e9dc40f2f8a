"""Products that are OpenBLAS's: which they are, that they are right, and that nothing else in the process changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import blocked, engine, gemm, openblas, target as targets
from tahr.backends.native.epilogue import accumulating, plain
from tahr.backends.native.gemm import Batch, Product
from tahr.backends.native.products import Size
from tahr.core import dtypes
from tahr.core.dtypes import DType
from tests.backends.native.test_gemm import assert_close, call, exact, operands

pytest.importorskip("llvmlite")
if not targets.current().has("avx512f"):
    pytest.skip("it was measured with vectors of 512 bits only", allow_module_level=True)

ROOT = Path(__file__).parents[3]
FLOATS = (dtypes.float32, dtypes.float64)
# m, n and k, and whether B is transposed: at least one for each class, with one and with several tiles.
SERVED = [
    (2, 2, 1, False),
    (64, 64, 20, False),
    (300, 400, 7, False),
    (512, 10, 64, False),
    (300, 20, 128, False),
    (9, 17, 33, False),
    (100, 9, 256, False),
    (9, 9, 500, False),
    (64, 4, 300, False),
    (9, 9, 500, True),
    (9, 9, 64, True),
    (64, 4, 300, True),
]


def is_served(product: Product, m: int, n: int, k: int, lda: int | None = None) -> bool:
    usual = blocked.blocking(product.dtype, targets.current()).micro
    return openblas.is_faster(usual, product, gemm.problem(product, m, n, k, lda=lda))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize(("m", "n", "k", "transpose_b"), SERVED)
def test_products_that_are_its(
    m: int, n: int, k: int, transpose_b: bool, transpose_a: bool, dtype: DType
) -> None:
    product = Product(dtype, transpose_a, transpose_b, plain(dtype))
    exact_sizes = gemm.problem(product, m, n, k)
    way = gemm.choose(product, exact_sizes)
    table = gemm.sizes(product, exact_sizes, way)
    assert table[Size.LIBRARY]
    a, b = operands(product, m, n, k)
    results: list[Any] = []
    tiles = range(gemm.tiles(table))
    for order in ([(0, len(tiles))], [(tile, tile + 1) for tile in reversed(tiles)]):
        c = np.full((m, n), np.nan, dtype.numpy)
        call(gemm.kernel(product, way), table, [a, b, c], order)
        results.append(c)
    assert_close(dtype, results[0], exact(product, a, b), k)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.name)
def test_batches_and_rows_that_are_apart(dtype: DType) -> None:
    product = Product(dtype, True, False, plain(dtype))
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(dtype.numpy) for shape in ((3, 5, 20), (3, 5, 30)))
    c = np.full((3, 16, 40), 7, dtype.numpy)
    sizes = gemm.problem(product, 16, 25, 5, [Batch(3, 100, 150, 640)], lda=20, ldb=30, ldc=40)
    way = gemm.choose(product, sizes)
    table = gemm.sizes(product, sizes, way)
    assert table[Size.LIBRARY]
    call(gemm.kernel(product, way), table, [a, b, c])
    expected = np.swapaxes(a[..., :16], 1, 2).astype(float) @ b[..., :25]
    assert_close(dtype, c[..., :25], expected, 5)
    assert (c[..., 25:] == 7).all()


def test_products_that_are_not_its() -> None:
    f32 = dtypes.float32
    nn, nt = (Product(f32, False, transposed, plain(f32)) for transposed in (False, True))
    assert is_served(nn, 512, 10, 64)
    assert not is_served(nn, 512, 512, 64)  # the micro-kernel is faster
    assert not is_served(nt, 512, 10, 64)
    assert not is_served(nn, 1, 10, 8)
    assert not is_served(nn, 512, 10, 1 << 31)
    assert not is_served(nn, 512, 10, 64, lda=0)  # one row, again and again
    assert not is_served(Product(f32, False, False, accumulating(f32)), 512, 10, 64)
    assert not is_served(Product(dtypes.bfloat16, False, False, plain(dtypes.bfloat16)), 512, 10, 64)
    with targets.using(targets.BASELINE):
        assert not is_served(nn, 512, 10, 64)  # nobody has measured it


def test_without_it_products_are_tahrs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openblas, "_address", {dtypes.float32: 0}.get)
    product = Product(dtypes.float32, False, False, plain(dtypes.float32))
    sizes = gemm.problem(product, 512, 10, 64)
    way = gemm.choose(product, sizes)
    table = gemm.sizes(product, sizes, way)
    assert table[Size.LIBRARY] == 0
    a, b = operands(product, 512, 10, 64)
    c = np.zeros((512, 10), np.float32)
    call(gemm.kernel(product, way), table, [a, b, c])
    assert_close(dtypes.float32, c, exact(product, a, b), 64)


def test_any_number_of_threads_gives_the_same_bits_and_other_batches_compile_nothing() -> None:
    x, dy = tf.placeholder(tf.float32, [None, 200]), tf.placeholder(tf.float32, [None, 30])
    gradient = tf.matmul(x, dy, transpose_a=True)
    rng = np.random.default_rng(0)
    feeds = [
        {x: np.float32(rng.standard_normal((batch, 200))), dy: np.float32(rng.standard_normal((batch, 30)))}
        for batch in (64, 16, 17, 300)
    ]
    results: list[list[Any]] = []
    for threads in (1, 2, 4):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Session(backend="native", tier="compiled", config=config) as session:
            first = session.run(gradient, feeds[0])
            before = engine.statistics().compiled
            results.append([first, *(session.run(gradient, given) for given in feeds[1:])])
            assert engine.statistics().compiled == before
    for given, *found in zip(feeds, *results):
        np.testing.assert_allclose(
            found[0], given[x].T.astype(float) @ given[dy].astype(float), rtol=1e-4, atol=1e-4
        )
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)


def test_the_number_of_threads_does_not_decide_whether_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the bits of a product would depend on that number."""
    monkeypatch.setenv("TAHR_NUM_THREADS", "200")
    assert getattr(openblas._library, "__wrapped__")() is not None  # noqa: B009, as `once` does not say that it is there


def test_special_values() -> None:
    product = Product(dtypes.float32, False, False, plain(dtypes.float32))
    sizes = gemm.problem(product, 9, 9, 3)
    way = gemm.choose(product, sizes)
    a, b = operands(product, 9, 9, 3)
    a[0, 0], a[1, 1], b[2, 2] = np.nan, np.inf, -np.inf
    c = np.full((9, 9), np.nan, np.float32)  # what was there before does not matter
    table = gemm.sizes(product, sizes, way)
    assert table[Size.LIBRARY]
    call(gemm.kernel(product, way), table, [a, b, c])
    with np.errstate(invalid="ignore"):
        expected = a.astype(float) @ b
    np.testing.assert_allclose(c, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted as Linux shows them")
def test_loading_it_starts_no_threads_and_changes_no_settings() -> None:
    program = """
import ctypes
import os
import numpy as np
from tahr.backends.native import openblas
from tahr.core import dtypes

np.ones((500, 500)) @ np.ones((500, 500))  # NumPy's own has its threads by now
def state():
    return len(os.listdir("/proc/self/task")), dict(os.environ), os.sched_getaffinity(0)

before = state()
while_loading = []
usual = ctypes.CDLL

def load(*arguments):
    while_loading.append(dict(os.environ))  # which a program that is started now inherits
    return usual(*arguments)

ctypes.CDLL = load
assert openblas._address(dtypes.float32)
assert while_loading == [dict(os.environ)]
assert state() == before
"""
    for given in ({}, {"OPENBLAS_NUM_THREADS": "3"}):
        environment = {**os.environ, **given}
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
