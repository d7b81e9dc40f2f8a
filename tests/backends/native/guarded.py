"""Runs kernels on arrays between guards: what is written outside of an array, or read before it is written, shows."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tahr.backends.native import engine, nest_kernels
from tahr.backends.native.kernel import Kernel
from tahr.core import dtypes

Array = NDArray[Any]

_GUARD = 256
_POISON = 0xFF  # NaN in every floating type, and an integer that no test expects

_Function = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
)


class Guarded:
    """Memory for an array, aligned to its elements and no more, with poison around and inside."""

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        dtype = np.dtype(dtype)
        self._bytes = int(np.prod(shape)) * dtype.itemsize
        memory = np.full(self._bytes + 2 * _GUARD + 64, _POISON, np.uint8)
        self._start = -memory.ctypes.data % 64 + _GUARD + dtype.itemsize
        self._memory = memory
        self.array = memory[self._start : self._start + self._bytes].view(dtype).reshape(tuple(shape))

    def is_intact(self) -> bool:
        """Whether nothing around the array has changed."""
        stop = self._start + self._bytes
        return bool((self._memory[: self._start] == _POISON).all() and (self._memory[stop:] == _POISON).all())


def run(
    kernel: Kernel,
    inputs: Sequence[Array],
    outputs: Sequence[tuple[Sequence[int], Any] | int],
    table: Sequence[int],
    tiles: int,
    per_call: int | None = None,
) -> list[Array]:
    """Runs a kernel whose buffers are some inputs, then some outputs.

    Args:
        outputs: shapes and dtypes; or the number of the input that an output overwrites.
        table: its sizes.
        tiles: how many tiles it has.
        per_call: how many of them a call computes, the last ones first; all in one call by default.

    Returns:
        The outputs.
    """
    (address,) = engine.load([kernel])
    buffers = [Guarded(values.shape, values.dtype) for values in inputs]
    for buffer, values in zip(buffers, inputs):
        buffer.array[...] = values
    for output in outputs:
        buffers.append(buffers[output] if isinstance(output, int) else Guarded(*output))
    scratch = np.full(kernel.scratch + 64 + _GUARD, _POISON, np.uint8)
    aligned = -scratch.ctypes.data % 64
    pointers = np.array([buffer.array.ctypes.data for buffer in buffers], np.uint64)
    numbers = np.array([*table, 0], np.int64)
    step = per_call or max(1, tiles)
    for begin in reversed(range(0, tiles, step)):
        _Function(address)(
            pointers.ctypes.data,
            numbers.ctypes.data,
            begin,
            min(begin + step, tiles),
            scratch.ctypes.data + aligned,
        )
    assert all(buffer.is_intact() for buffer in buffers), "written outside of an array"
    assert (scratch[aligned + kernel.scratch :] == _POISON).all(), "written outside of scratch"
    for number, (buffer, values) in enumerate(zip(buffers, inputs)):
        if number not in outputs:
            np.testing.assert_array_equal(buffer.array, values)
    return [buffer.array for buffer in buffers[len(inputs) :]]


def combined(parts: Array) -> Array:
    """The sum of partial gradients, as the kernel behind `to_filter` makes it."""
    dtype = dtypes.as_dtype(parts.dtype)
    splits, elements = len(parts), parts[0].size
    outputs = [(parts.shape[1:], parts.dtype)]
    tiles = nest_kernels.combiner_tiles(elements)
    (total,) = run(nest_kernels.combiner("add", dtype, dtype), [parts], outputs, [splits, elements], tiles)
    return total
