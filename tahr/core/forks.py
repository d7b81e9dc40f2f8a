"""Locks that are free in a child process.

A fork copies locks as they are. One that another thread holds would stay held in the child, where that thread is not.
What it guards may be unfinished there: a variable that was being changed has no value, a plan is made again.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

_locks: WeakSet[threading.RLock] = WeakSet()


def new_lock() -> threading.RLock:
    """A lock that the thread that holds it may take again, and that nobody holds after a fork."""
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _free_all() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
