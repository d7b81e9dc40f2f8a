"""The native runtime as Python sees it: steps, frames, and the call that runs the ones on the other.

Its native code is the loop that walks through steps (`walk.py`) and the pool of threads that shares their tiles
(`pool.py`).
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tahr import errors
from tahr.backends.native import engine as engines, ir, pool, walk
from tahr.backends.native.kernel import QUICKLY, Kernel
from tahr.backends.native.once import once
from tahr.backends.native.systems import System, float_mode, now, set_float_mode
from tahr.backends.native.target import Target, default_threads
from tahr.backends.native.walk import SAMPLES, STATUS, STEP
from tahr.core import memory

TITLE = "runtime"


@functools.cache
def text(target: Target) -> str:
    """The runtime's module; its time is its kernels', whatever the effort with which it is compiled."""
    system = System(target)
    functions = [float_mode(system), set_float_mode(system), *walk.functions(system)]
    if not system.threads:
        return QUICKLY + ir.module(functions, [pool.DEFINITION])
    functions += [now(system), *pool.functions(system)]
    return QUICKLY + ir.module(functions, [pool.DEFINITION, *pool.DECLARATIONS])


@once
def announce() -> None:
    """Has the runtime compiled along with the first kernels."""
    engine = engines.engine()
    engine.announce(text(engine.target), TITLE)


class Runtime:
    """The runtime as it is loaded in this process; `runtime()` gives it.

    Attributes:
        run_steps: the address of the native loop.
        pool: the address of the pool, which native callers hand to it.
    """

    def __init__(self) -> None:
        engine = engines.engine()
        names = ["tahr_run_steps", "tahr_pool"]
        has_threads = System(engine.target).threads
        if has_threads:
            names.append("tahr_reset")
        addresses = engine.load_module(text(engine.target), TITLE, names)
        self.run_steps: int = addresses["tahr_run_steps"]
        self.pool: int = addresses["tahr_pool"]
        if has_threads:
            reset = ctypes.CFUNCTYPE(None)(addresses["tahr_reset"])
            reset()
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=reset)
        ctypes.c_int64.from_address(self.pool + pool.SPIN).value = pool.SPIN_NANOSECONDS
        self.threads = min(default_threads(), pool.MOST_WORKERS + 1)
        arguments = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        # The first lets other Python threads run meanwhile, which costs 0.1 us.
        self._releasing = ctypes.CFUNCTYPE(ctypes.c_int64, *arguments)(self.run_steps)
        self._holding = ctypes.PYFUNCTYPE(ctypes.c_int64, *arguments)(self.run_steps)

    @property
    def threads(self) -> int:
        """How many threads take part where a run does not say otherwise, the caller's included."""
        return ctypes.c_int64.from_address(self.pool + pool.THREADS).value

    @threads.setter
    def threads(self, count: int) -> None:
        ctypes.c_int64.from_address(self.pool + pool.THREADS).value = count

    @property
    def started(self) -> int:
        """How many threads the pool has started."""
        return ctypes.c_int64.from_address(self.pool + pool.STARTED).value

    def run(self, steps: Steps, frame: Frame, release: bool = True) -> int:
        """Runs steps on a frame's buffers.

        Args:
            release: whether other Python threads may run meanwhile.

        Returns:
            The status code: 0, or what a kernel reported; `frame.status` has the rest.
        """
        call = self._releasing if release else self._holding
        return call(steps.address, len(steps), frame.address, self.pool)

    def time(self, steps: Steps, frame: Frame) -> np.ndarray[Any, Any]:
        """Runs steps and gives the nanoseconds that each took; 0 where the system has no clock for it.

        Raises:
            ValueError: a step reported an error.
        """
        times = np.zeros(len(steps), np.int64)
        frame.status["times"] = times.ctypes.data
        try:
            if code := self.run(steps, frame):
                raise ValueError(f"step {frame.status['step']} reported {code}")
        finally:
            frame.status["times"] = 0
        return times


@once
def runtime() -> Runtime:
    """The process's runtime."""
    return Runtime()


@dataclass(frozen=True)
class Step:
    """One call of a kernel.

    Attributes:
        kernel: what is called.
        buffers: which buffers of the run's table it is given; 0 is the status block.
        sizes: its sizes.
        tiles: how many tiles it has.
        work: about how many nanoseconds one thread takes for it; None: the runtime finds out.
        chunk: how many tiles a thread takes at a time; 0 leaves it to the runtime.
    """

    kernel: Kernel
    buffers: Sequence[int]
    sizes: Sequence[int]
    tiles: int
    work: int | None = None
    chunk: int = 0


@dataclass(frozen=True)
class Jump:
    """A step that computes nothing, but says which step follows.

    Attributes:
        target: that step's number.
        unless: the buffer of a bool that must be false for that; None where it is always so.
    """

    target: int
    unless: int | None = None

    @property
    def buffers(self) -> Sequence[int]:
        """The buffers of the step."""
        return () if self.unless is None else (self.unless,)

    @property
    def sizes(self) -> Sequence[int]:
        """The sizes of the step."""
        return (self.target,)


class Steps:
    """Steps in the form that native code reads.

    Args:
        steps: the steps.
        others: kernels that are loaded too, for steps of other sizes.

    Attributes:
        records: the array of `STEP`; `tiles`, `work`, `samples` and `chunk` may be changed between runs.
        sizes: for each step a view of its sizes, which may be changed between runs.
        scratch: how many bytes of scratch a frame needs.
        widest: the largest number of buffers of a step.
    """

    def __init__(self, steps: Sequence[Step | Jump], others: Sequence[Kernel] = ()) -> None:
        kernels = [step.kernel for step in steps if isinstance(step, Step)]
        announce()
        addresses = iter(engines.load([*kernels, *others]))
        self._indices = np.array([i for step in steps for i in step.buffers], np.int32)
        all_sizes = np.array([size for step in steps for size in step.sizes], np.int64)
        self.sizes: list[np.ndarray[Any, Any]] = []
        self.scratch = max((kernel.scratch for kernel in kernels), default=0)
        self.widest = max((len(step.buffers) for step in steps), default=0)
        first_size = 0
        index_address, size_address = self._indices.ctypes.data, all_sizes.ctypes.data
        records: list[tuple[int, ...]] = []
        for step in steps:
            given = index_address, len(step.buffers), size_address + 8 * first_size
            records.append(_record(step, 0 if isinstance(step, Jump) else next(addresses), given))
            self.sizes.append(all_sizes[first_size : first_size + len(step.sizes)])
            index_address += 4 * len(step.buffers)
            first_size += len(step.sizes)
        self.records = np.array(records, STEP)  # at once: to fill in single fields takes far longer
        self._all_sizes = all_sizes
        self.address: int = self.records.ctypes.data

    def __len__(self) -> int:
        return len(self.records)


def _record(step: Step | Jump, kernel: int, given: tuple[int, int, int]) -> tuple[int, ...]:
    """The fields of a `STEP`.

    Args:
        step: the step.
        kernel: the address of its kernel.
        given: the address of its buffers' numbers, how many they are, and the address of its sizes.
    """
    if isinstance(step, Jump):
        return (0, *given, 0, 0, 0, 0, 0, 1)
    work, samples = (0, 0) if step.work is None else (step.work, SAMPLES)
    return (kernel, *given, step.tiles, work, samples, step.kernel.scratch, step.chunk, 0)


class Frame:
    """What one run in flight needs: the table of buffer addresses, the status block, the caller's scratch.

    Args:
        buffers: how many addresses the table holds, the status block's included.
        scratch, widest: what the steps that will run on it need; see `Steps`.

    Attributes:
        buffers: the table; number 0 is the status block's.
        status: a record of `STATUS`.
    """

    def __init__(self, buffers: int, scratch: int, widest: int) -> None:
        self.buffers = np.zeros(buffers, np.uint64)
        self._status = np.zeros(1, STATUS)
        self.status: Any = self._status[0]
        self._scratch = aligned(scratch)
        self._gathered = np.zeros(widest, np.uint64)
        self._status["scratch"] = self._scratch.ctypes.data
        self._status["gathered"] = self._gathered.ctypes.data
        self.buffers[0] = self._status.ctypes.data
        self.address: int = self.buffers.ctypes.data


def aligned(count: int) -> np.ndarray[Any, Any]:
    """Bytes, not initialized, that start at a multiple of 64.

    Raises:
        ResourceExhaustedError: there is no memory.
    """
    try:
        return memory.empty((count,), np.uint8)
    except (MemoryError, ValueError) as error:  # the latter where no array can be so large
        raise errors.ResourceExhaustedError(None, None, f"OOM when allocating {count} bytes") from error
