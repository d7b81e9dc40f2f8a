"""How many threads NumPy's BLAS library computes with.

Where NumPy computes for the native backend, that is one. Its threads, once they have computed, spin for up to a
tenth of a second, in which the backend's own and LLVM would share processors with them: what an MLP's second run
compiles took 1.2 to 1.4 times as long on two. And sums are the same for any number of processors. Around that, and in
functions of the user's that a graph calls, the library is as the user has set it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tahr.core.forks import new_lock


class _Thread(threading.local):
    """Where a thread is: how many times inside `ONE_THREAD`, and how many times it was when it called the user."""

    def __init__(self) -> None:
        self.depth = 0
        self.outer: list[int] = []


_thread = _Thread()
_lock = new_lock()
_inside = 0
"""How many threads are inside."""
_before = 1
"""With how many threads the library computed before the first of them came."""


class Library(NamedTuple):
    """What a BLAS library says of its threads, and is told."""

    get_threads: Callable[[], int]
    set_threads: Callable[[int], None]


# OpenBLAS's functions, as NumPy's developers and others build it, and MKL's.
_NAMES = (
    *(
        (f"{prefix}openblas_get_num_threads{suffix}", f"{prefix}openblas_set_num_threads{suffix}")
        for prefix in ("scipy_", "")
        for suffix in ("64_", "_64", "")
    ),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
)


@functools.cache
def library() -> Library | None:
    """The library that NumPy calls, where it can be told how many threads to use."""
    # A name is looked for in what a module is linked with too (except on Windows). Calls are short: they keep
    # Python's lock.
    module = ctypes.PyDLL(np.linalg._umath_linalg.__file__)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportPrivateUsage, reportUnknownArgumentType]
    for getter, setter in _NAMES:
        if hasattr(module, getter) and hasattr(module, setter):
            found = Library(getattr(module, getter), getattr(module, setter))
            return None if found.get_threads() < 1 else found
    return None


def _enter() -> None:
    global _inside, _before
    with _lock:
        _inside += 1
        if _inside == 1 and (blas := library()):
            _before = blas.get_threads()
            _set(blas, _before, 1)


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside and (blas := library()):
            # What the user has changed meanwhile stays.
            _set(blas, 1, _before)


def _set(blas: Library, found: int, wanted: int) -> None:
    """Sets the number of threads, unless it is what is wanted or not what was found."""
    if found != wanted and blas.get_threads() == found:
        blas.set_threads(wanted)


class OneThread:
    """A context manager in which NumPy's BLAS library computes with one thread, whoever calls it."""

    __slots__ = ()

    def __enter__(self) -> None:
        _thread.depth += 1
        if _thread.depth == 1:
            _enter()

    def __exit__(self, *exc: object) -> None:
        _thread.depth -= 1
        if not _thread.depth:
            _leave()


ONE_THREAD = OneThread()


class AsSet:
    """A context manager in which it computes as the user has set it, unless others are inside `ONE_THREAD`."""

    __slots__ = ()

    def __enter__(self) -> None:
        _thread.outer.append(_thread.depth)
        if _thread.depth:
            _thread.depth = 0
            _leave()

    def __exit__(self, *exc: object) -> None:
        _thread.depth = _thread.outer.pop()
        if _thread.depth:
            _enter()


AS_SET = AsSet()


def _forget_others() -> None:
    """In the child of a fork only the thread that forked is inside, if it was."""
    global _inside
    if _inside:
        _inside = 1
        if not _thread.depth:
            _leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_others)
