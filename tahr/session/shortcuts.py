"""What a session can do again at once: the shortcuts of a run signature, for a few sizes of what is fed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tahr.backends.base import Shortcut
from tahr.core.graph import Tensor
from tahr.session.fetches import feed_value

# For how many sizes a signature keeps shortcuts, as of full batches and of the last, smaller one.
MAX_SIZES = 8
# Nor do they keep more bytes than this together, but for the latest one: what needs much memory takes long, and hardly
# less by a shortcut.
MAX_BYTES = 4 * 2**20


class Shortcuts:
    """The shortcuts of one run signature, each for arrays of certain shapes and dtypes.

    Args:
        feeds: what is fed.
        rebuilt: makes the user's structure of what a shortcut gives and the arrays that were fed; None where a
            shortcut gives that structure itself.

    Attributes:
        run: takes what the user feeds; tries the shortcuts. None while there are none.
    """

    def __init__(
        self, feeds: Sequence[Tensor], rebuilt: Callable[[Sequence[Any], Sequence[Any]], Any] | None
    ) -> None:
        self.run: Callable[..., Any] | None = None
        self._feeds = feeds
        self._rebuilt = rebuilt
        self._converts = rebuilt is not None
        self._kept: dict[Any, Shortcut] = {}

    def has(self, values: Sequence[Any], given: Sequence[Any]) -> bool:
        """Whether there is one for such arrays. It may have declined all the same, as it may wait for nothing.

        Args:
            values, given: the feeds as arrays, and as the user gave them.
        """
        if not self._converts and not all(v is g or type(g) is float for v, g in zip(values, given)):
            self._converts = True
            self._compose()
        return _kind(values) in self._kept

    def add(self, values: Sequence[Any], shortcut: Shortcut) -> None:
        """Keeps one for such arrays."""
        self._kept[_kind(values)] = shortcut
        while len(self._kept) > MAX_SIZES or (
            len(self._kept) > 1 and sum(s.bytes for s in self._kept.values()) > MAX_BYTES
        ):
            del self._kept[next(iter(self._kept))]
        self._compose()

    def _compose(self) -> None:
        runs = [shortcut.run for shortcut in reversed(self._kept.values())]
        if runs:
            run = runs[0] if len(runs) == 1 else _first_that_takes(runs)
            self.run = self._converted_and_rebuilt(run) if self._converts else run

    def _converted_and_rebuilt(self, run: Callable[..., Any]) -> Callable[..., Any]:
        feeds, rebuilt = self._feeds, self._rebuilt

        def converted_and_rebuilt(*given: Any) -> Any:
            if len(given) != len(feeds):
                return NotImplemented
            values = [feed_value(t, v) for t, v in zip(feeds, given)]
            found = run(*values)
            return found if found is NotImplemented or rebuilt is None else rebuilt(found, values)

        return converted_and_rebuilt


def _kind(values: Sequence[Any]) -> tuple[Any, ...]:
    """What shortcuts are told apart by."""
    return tuple((v.shape, v.dtype) for v in values)


def _first_that_takes(runs: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """What tries several ways in turn."""

    def run(*values: Any) -> Any:
        for each in runs:
            found = each(*values)
            if found is not NotImplemented:
                return found
        return NotImplemented

    return run
