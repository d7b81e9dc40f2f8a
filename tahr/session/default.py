"""The default session of each thread, which `Tensor.eval` and `Operation.run` use.

It stands apart from sessions, with which all that runs graphs is loaded: who only builds a graph does without.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tahr import errors
from tahr.core.graph import Operation, hooks


class _Stack(threading.local):
    """The default sessions of one thread, innermost last."""

    def __init__(self) -> None:
        self.sessions: list[Any] = []


stack = _Stack()


def get_default_session() -> Any:
    """The innermost default session of this thread, or None."""
    return stack.sessions[-1] if stack.sessions else None


def _run_in_default(fetch: Any, feed_dict: Mapping[Any, Any] | None, session: Any) -> Any:
    """What `Tensor.eval` and `Operation.run` do."""
    is_operation = type(fetch) is Operation
    what, method = ("operation", "run") if is_operation else ("tensor", "eval")
    doing = f"{'execute' if is_operation else 'evaluate'} {what}"
    given = session is not None
    if session is None:
        session = get_default_session()
    if session is None:
        raise ValueError(
            f"Cannot {doing} using `{method}()`: No default session is registered. Use `with sess.as_default()` "
            f"or pass an explicit session to `{method}(session=sess)`"
        )
    if session.graph is not fetch.graph:
        advice = "" if given else f" Pass an explicit session to `{method}(session=sess)`."
        text = (
            f"Cannot use the {'given' if given else 'default'} session to {doing}: the {what}'s graph is different "
            f"from the session's graph.{advice}"
        )
        raise ValueError(errors.describe("", text, [getattr(fetch, "op", fetch).describe()]))
    return session.run(fetch, feed_dict)


hooks.run = _run_in_default
