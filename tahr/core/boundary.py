"""Where errors leave the library: what a user sees of a traceback is his own code.

A public function is called through `boundary`, which drops tahr's frames from the traceback of an error that
passes, so that it ends at the user's line. Code of the user's that tahr called, such as the body of a loop, stays
in it. Nothing is dropped while the environment variable TAHR_FULL_TRACEBACK is set to anything but 0.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from types import FunctionType, TracebackType
from typing import Any, TypeVar

import numpy as np

from tahr.core import source

FULL_TRACEBACK = "TAHR_FULL_TRACEBACK"

# Code that tahr calls: its frames say nothing to the user either, where they stand below one of tahr's.
_CALLED_BY_US = (os.path.dirname(np.__file__) + os.sep, contextlib.__file__)

Function = TypeVar("Function", bound=Callable[..., Any])

# Two names of one function stand for one object.
_wrapped: dict[Callable[..., Any], Callable[..., Any]] = {}


def boundary(function: Function) -> Function:
    """Decorates a public function: of the traceback of an error that leaves it, only the user's frames are kept."""
    found = _wrapped.get(function)
    if found is not None:
        return found  # pyright: ignore[reportReturnType]  # what stands there has its key's signature

    @functools.wraps(function)
    def public(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            hide_frames(error)
            # A bare `raise` does not add this frame again. (Python 3.10 raises what it caught, with this frame.)
            raise

    _wrapped[function] = _wrapped[public] = public
    return public  # pyright: ignore[reportReturnType]


def is_boundary(function: Function) -> Function:
    """Decorates a public function that calls `hide_frames` itself: it runs so often that another call would count."""
    _wrapped[function] = function
    return function


def hide_frames(error: BaseException) -> None:
    """Drops tahr's frames from the traceback of an error that a boundary caught, and of the errors that led to it."""
    if os.environ.get(FULL_TRACEBACK, "0") not in ("", "0"):
        return
    first = error.__traceback__
    if first is not None:  # the boundary's own frame, which Python 3.10 keeps
        error.__traceback__ = first.tb_next = _users_part(first.tb_next)
    seen = {error}
    while (reason := _reason(error)) is not None and reason not in seen:
        if reason.__traceback__ is not None:
            reason.__traceback__ = _users_part(reason.__traceback__)
            if reason.__traceback__ is None:  # what failed inside tahr is told by the error that it led to
                error.__cause__ = None
                return
        seen.add(reason)
        error = reason


def _reason(error: BaseException) -> BaseException | None:
    """The error that Python shows above another one."""
    return error.__cause__ if error.__suppress_context__ else error.__context__


def _users_part(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without tahr's frames, and without those that stand below one of them and are not the user's."""
    kept: list[TracebackType] = []
    hidden = False
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        hidden = source.is_ours(filename) or (hidden and filename.startswith(_CALLED_BY_US))
        if not hidden:
            kept.append(traceback)
        traceback = traceback.tb_next
    result: TracebackType | None = None
    for entry in reversed(kept):
        entry.tb_next = result
        result = entry
    return result


def enclose(namespace: dict[str, Any], name: str) -> None:
    """Puts every public function of a namespace, and of the classes in it, behind a boundary.

    Core's classes are left alone: what tahr itself calls all the time would become slower, so their methods for
    users are decorated where they are written.

    Args:
        namespace: the dictionary of the module.
        name: the module's name, under which its functions are pickled.
    """
    for key, value in list(namespace.items()):
        if key.startswith("_") or not getattr(value, "__module__", "").startswith("tahr."):
            continue
        if isinstance(value, FunctionType):
            function = boundary(value)
            if function.__module__ == value.__module__:  # the first of its names
                function.__module__, function.__qualname__ = name, key
            namespace[key] = function
        elif isinstance(value, type) and not issubclass(value, BaseException):
            _enclose_class(value)


# The special methods that users' code runs and that may well fail.
_SPECIAL = ("__init__", "__call__", "__enter__", "__exit__", "__getitem__", "__iter__")


def _enclose_class(cls: type) -> None:
    for base in cls.__mro__:
        if not base.__module__.startswith("tahr.") or base.__module__.startswith("tahr.core."):
            continue
        for name, method in _public_methods(base):
            setattr(base, name, boundary(method))


def _public_methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    for name, value in list(vars(cls).items()):
        if isinstance(value, FunctionType) and (not name.startswith("_") or name in _SPECIAL):
            yield name, value
