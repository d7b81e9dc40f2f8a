"""Denormals count as zero while a graph runs, as in TensorFlow.

Moments of dead units decay into denormals, on which processors are many times slower. The mode is a bit of the thread's
floating-point control register; glibc's `fesetenv` sets it. Where that is not to be had, nothing is changed.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import threading

# x86-64 glibc: fenv_t is 32 bytes, the last four of them MXCSR. Bit 15 flushes results to zero, bit 6 takes denormal
# inputs as zero (Intel 64 Software Developer's Manual, volume 1, section 10.2.3).
_FENV_SIZE = 32
_MXCSR = 28
_FLUSH = 0x8040


def _library() -> ctypes.CDLL | None:
    if sys.platform != "linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        library = ctypes.PyDLL("libm.so.6")  # PyDLL: the call is short, so the interpreter's lock is kept
        library.fegetenv.argtypes = library.fesetenv.argtypes = [ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return library


_libm = _library()


class _Modes:
    """The saved modes of one thread; runs nest where py_func calls `session.run`."""

    __slots__ = ("_depth", "_flushed", "_flushed_mode", "_places", "_saved", "_saved_mode")

    def __init__(self) -> None:
        self._depth = 0
        self._saved = ctypes.create_string_buffer(_FENV_SIZE)
        self._flushed = ctypes.create_string_buffer(_FENV_SIZE)
        self._places = ctypes.addressof(self._saved), ctypes.addressof(self._flushed)
        if _libm is not None:
            _libm.fegetenv(self._places[1])
        # The control register inside each of the two.
        self._saved_mode = ctypes.c_uint32.from_buffer(self._saved, _MXCSR)
        self._flushed_mode = ctypes.c_uint32.from_buffer(self._flushed, _MXCSR)

    def enter(self) -> None:
        self._depth += 1
        if self._depth == 1:
            assert _libm is not None
            saved, flushed = self._places
            _libm.fegetenv(saved)
            self._flushed_mode.value = self._saved_mode.value | _FLUSH
            _libm.fesetenv(flushed)

    def leave(self) -> None:
        self._depth -= 1
        if not self._depth:
            assert _libm is not None
            _libm.fesetenv(self._places[0])


class _Threads(threading.local):
    """Each thread's modes."""

    def __init__(self) -> None:
        self.modes = _Modes()


_threads = _Threads()


class Flushed:
    """A context manager that flushes denormals in this thread and restores the caller's mode at the end."""

    __slots__ = ()

    def __enter__(self) -> None:
        if _libm is not None:
            _threads.modes.enter()

    def __exit__(self, *exc: object) -> None:
        if _libm is not None:
            _threads.modes.leave()


FLUSHED = Flushed()
