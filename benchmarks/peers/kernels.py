"""tahr's kernels without its sessions."""

from __future__ import annotations

from functools import partial

import numpy as np

import tahr as tf
from benchmarks.works import Arrays, Sizes, Step
from tahr.backends.native import gemm, runtime
from tahr.backends.native.epilogue import plain


def product(sizes: Sizes, arrays: Arrays) -> Step:
    """A matrix product into an array that is there."""
    dtype = tf.as_dtype(sizes["dtype"])
    wanted = gemm.Product(dtype, sizes["transpose_a"], sizes["transpose_b"], plain(dtype))
    m, n, k = sizes["m"], sizes["n"], sizes["k"]
    problem = gemm.problem(wanted, m, n, k)
    way = gemm.choose(wanted, problem, (m, n, k))
    table = gemm.sizes(wanted, problem, way)
    c = np.zeros((m, n), dtype.as_numpy_dtype)
    kernel = gemm.kernel(wanted, way)
    steps = runtime.Steps([runtime.Step(kernel, [1, 2, 3], table, gemm.tiles(table))])
    frame = runtime.Frame(4, steps.scratch, steps.widest)
    for number, array in enumerate((arrays["a"], arrays["b"], c), 1):
        frame.buffers[number] = array.ctypes.data
    return partial(_run, steps, frame, arrays, c)


def _run(steps: runtime.Steps, frame: runtime.Frame, _: Arrays, c: np.ndarray) -> np.ndarray:
    """One product; the frame has the addresses of arrays that are kept here."""
    runtime.runtime().run(steps, frame)
    return c


VERSION = f"{tf.__version__}, kernels alone"
BUILDERS = {"product": product}
