"""OpenBLAS, for the classes of plain products that it computes faster than tahr's own micro-kernel.

It stands in the place of a micro-kernel, where a product's table of sizes names it: so another batch size may be its,
or not, and compiles nothing. It computes whole tiles, which the pool hands out, with the thread that has the tile. The
library is scipy-openblas32's, which nobody else in the process uses: it is loaded when a product is its, without
threads of its own, and NumPy's stays as the user has set it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tahr.backends.native import ir, micro
from tahr.backends.native.ir import F32, F64, I32, POINTER
from tahr.backends.native.kernel import QUICKLY, SYMBOL, Kernel
from tahr.backends.native.once import once
from tahr.backends.native.products import Problem, Product, either, up
from tahr.core import dtypes
from tahr.core.dtypes import DType

NAME = "OpenBLAS"
"""What people are told of it."""


class _Class(NamedTuple):
    """Products that OpenBLAS computes faster.

    Attributes:
        transpose_b: how B is stored.
        terms: the shortest and the longest sums.
        filling: the least part of what the micro-kernel multiplies that is not there: rows and columns are filled up to
            its block's.
        is_narrow: whether there are no more columns than half a vector has.
        rows: the most rows.
    """

    transpose_b: bool
    terms: tuple[int, int]
    filling: float = 0
    is_narrow: bool = False
    rows: int = 1 << 31


# Products of so many multiplications it computes without packing, in its own way.
_MOST = 1_000_000
# OpenBLAS 0.3.34, one thread, beside the usual micro-kernel on a Zen 4: 180 triples of sizes from 8 to 1000, drawn at
# random, each nn, nt and tn, in float32 and float64; OpenBLAS's time / tahr's, geometric means. What is in no
# class takes it 1.14.
_CLASSES = (
    # Up to 20 terms 0.66, up to 64 0.76, up to 128 0.81; less the more is filled up.
    _Class(False, (1, 128)),
    _Class(False, (129, _MOST), filling=0.05),  # 0.86
    _Class(False, (129, _MOST), is_narrow=True),  # 24 products of 4 to 8 columns: 0.28 to 0.7
    _Class(True, (129, _MOST), filling=0.4),  # 0.53
    _Class(True, (21, 128), filling=0.7),  # 0.71; three products
    _Class(True, (65, _MOST), is_narrow=True, rows=128),  # 12 products of 8 columns: 0.53 to 0.87
)
# It has room for two calls at a time on each of so many processors (its MAX_THREADS); for more, it complains. Threads
# are not what counts: how many a session has must not change which product is its, nor so a bit of the result.
_MOST_PROCESSORS = 64


class _Function(NamedTuple):
    """A function of OpenBLAS: its name, and the type of what it multiplies."""

    name: str
    element: str


_GEMM = {
    dtypes.float32: _Function("scipy_cblas_sgemm", F32),
    dtypes.float64: _Function("scipy_cblas_dgemm", F64),
}
_ROW_MAJOR, _AS_IT_IS, _TRANSPOSED = 101, 111, 112


def find(usual: micro.Micro, product: Product, problem: Problem) -> int:
    """The address of OpenBLAS's function for a product that it computes faster; 0 for others, or without it."""
    return _address(product.dtype) if is_faster(usual, product, problem) else 0


def is_faster(usual: micro.Micro, product: Product, problem: Problem) -> bool:
    """Whether OpenBLAS computes a product faster than a micro-kernel, where that was measured."""
    m, n, k = problem.m, problem.n, problem.k
    if not usual.masks or product.dtype not in _GEMM or not product.epilogue.is_plain:
        return False
    # It complains of rows that overlap, and takes 32 bits for a distance.
    rows_of_a, rows_of_b = m if product.transpose_a else k, k if product.transpose_b else n
    distances = problem.lda, problem.ldb, problem.ldc
    overlap = any(far < row for far, row in zip(distances, (rows_of_a, rows_of_b, n)))
    if overlap or max(distances) >= 1 << 31 or min(m, n) < 2 or m * n * k > _MOST:
        return False
    blocks = (up(m, usual.rows) * up(n, usual.lanes), up(n, usual.rows) * up(m, usual.lanes))
    filling = min(blocks) / (m * n) - 1
    return any(
        each.transpose_b == product.transpose_b
        and each.terms[0] <= k <= each.terms[1]
        and filling >= each.filling
        and (not each.is_narrow or n <= usual.lanes // 2)
        and m <= each.rows
        for each in _CLASSES
    )


def micro_kernel(dtype: DType) -> Kernel | None:
    """A micro-kernel (`micro.ARGUMENTS`) that is OpenBLAS, whose function it is given in the place of lines to fetch.

    It writes into C, any number of rows. The distance from k to k of a transposed b is minus that from column to
    column, since there it is one. None where OpenBLAS does not know the dtype.
    """
    if dtype not in _GEMM:
        return None
    element = _GEMM[dtype].element
    f = ir.Function(SYMBOL, micro.ARGUMENTS)
    one, zero = (ir.number(value, element) for value in (1.0, 0.0))
    along = f.value("icmp eq i64 %a_term, 1")
    across = f.value("icmp slt i64 %b_term, 0")
    kind_of_a = either(f, along, _AS_IT_IS, _TRANSPOSED, I32)
    kind_of_b = either(f, across, _TRANSPOSED, _AS_IT_IS, I32)
    lda = either(f, along, "%a_row", "%a_term")
    ldb = either(f, across, f.sub(0, "%b_term"), "%b_term")
    sizes = [f.value(f"trunc i64 {size} to i32") for size in ("%rows", "%columns", "%k", lda, ldb, "%c_row")]
    rows, columns, k, lda, ldb, ldc = sizes
    arguments = (
        *((I32, value) for value in (_ROW_MAJOR, kind_of_a, kind_of_b, rows, columns, k)),
        *((element, one), (POINTER, "%a"), (I32, lda), (POINTER, "%b"), (I32, ldb)),
        *((element, zero), (POINTER, "%c"), (I32, ldc)),
    )
    f.do(f"call void %list({', '.join(f'{kind} {value}' for kind, value in arguments)})")
    return Kernel(QUICKLY + ir.module([f.finish()]), 0, f"{NAME} {dtype.name}")


@once
def _address(dtype: DType) -> int:
    """Where the function is that multiplies; 0 where OpenBLAS is not installed."""
    library = _library()
    if library is None:
        return 0
    return ctypes.cast(getattr(library, _GEMM[dtype].name), ctypes.c_void_p).value or 0


@once
def _library() -> ctypes.CDLL | None:
    """The library, if it is installed, for this machine, and nobody else's."""
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or not spec.submodule_search_locations or (os.cpu_count() or 1) > _MOST_PROCESSORS:
        return None
    place = os.path.join(spec.submodule_search_locations[0], "lib")
    with suppress(OSError, AttributeError, StopIteration), _one_processor():
        name = next(
            name
            for name in sorted(os.listdir(place))
            if name.startswith("libscipy_openblas") and name.endswith((".so", ".dylib", ".dll"))
        )
        library = ctypes.CDLL(os.path.join(place, name))
        # Who had it before has settings of his own.
        return library if library.scipy_openblas_get_num_threads() == 1 else None
    return None


@contextmanager
def _one_processor() -> Generator[None]:
    """Where it is loaded, the library starts a thread for each further processor that the loading thread may use.

    Only that thread is restricted meanwhile; what the environment says of threads others could see, and inherit.

    Raises:
        AttributeError: the system has no such restriction.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
