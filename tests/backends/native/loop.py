"""Expressions of the scalar language compiled to loops over arrays, as LLVM vectorizes them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from tahr.backends.native import engine, ir, kernel, scalars
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar

_SIGNATURE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
)


class Loop:
    """A compiled loop.

    Args:
        outputs: the expressions.
        inputs: the dtypes of the leaves.
        width: the number of elements of explicit vectors; None for one element at a time, left to the vectorizer.
    """

    def __init__(self, outputs: Sequence[Scalar], inputs: Sequence[DType], width: int | None = None) -> None:
        self._outputs = outputs
        self._width = width or 1
        self._function = _SIGNATURE(engine.load([self._kernel(inputs, width)])[0])

    def _kernel(self, inputs: Sequence[DType], width: int | None) -> kernel.Kernel:
        f = kernel.function()
        buffers = [kernel.buffer(f, i) for i in range(len(inputs) + len(self._outputs))]
        with f.loop(0, kernel.size(f, 0), self._width) as i:
            leaves: list[str] = []
            for dtype, buffer in zip(inputs, buffers):
                stored = scalars.memory_kind(dtype, width)
                loaded = f.load(stored, f.at(ir.MEMORY[dtype], buffer, i), align=1)
                leaves.append(scalars.from_memory(f, dtype, loaded, width))
            results = scalars.lower(f, self._outputs, leaves, width)
            for output, result, buffer in zip(self._outputs, results, buffers[len(inputs) :]):
                stored = scalars.memory_kind(output.dtype, width)
                value = scalars.to_memory(f, output.dtype, result, width)
                f.store(stored, value, f.at(ir.MEMORY[output.dtype], buffer, i), align=1)
        return kernel.Kernel(f.finish(), 0, "test")

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """The outputs for arrays of one shape."""
        count = arrays[0].size
        padded = -(-count // self._width) * self._width
        inputs = [np.resize(np.ascontiguousarray(a), padded) for a in arrays]
        results = [np.empty(padded, output.dtype.numpy) for output in self._outputs]
        pointers = (ctypes.c_void_p * (len(inputs) + len(results)))(
            *(a.ctypes.data for a in (*inputs, *results))
        )
        sizes = (ctypes.c_int64 * 1)(padded)
        self._function(pointers, sizes, 0, 1, None)
        return [r[:count] for r in results]
