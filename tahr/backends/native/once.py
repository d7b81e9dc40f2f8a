"""One lock for what a process has once: LLVM, its engines, the runtime."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LOCK = threading.RLock()
# A fork waits until nobody compiles or loads. So a child finds the lock free, and LLVM as it should be.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)


def once(function: Callable[P, R]) -> Callable[P, R]:
    """`functools.cache` for positional arguments, but several threads that ask at once get the same result."""
    results: dict[tuple[Any, ...], R] = {}

    @functools.wraps(function)
    def result(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return results[args]
        except KeyError:
            pass
        with LOCK:
            if args not in results:
                results[args] = function(*args, **kwargs)
            return results[args]

    return result
