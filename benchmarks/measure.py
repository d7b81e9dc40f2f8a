"""How benchmarks measure: rivals take turns in one process, and the ratio of their minima or medians counts.

Machines are shared and noisy, so a time alone means little. Each rival runs for a slice in turn, many times over;
what is reported is the median of the slices and, for the ratio, the median of the ratios within a turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Timing:
    """Seconds per call, one entry for each turn."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        """The median over the turns."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """The least time of any turn."""
        return min(self.seconds)


def alternate(
    rivals: dict[str, Callable[[], object]], turns: int = 15, slice_seconds: float = 0.15
) -> list[Timing]:
    """Times functions in turns.

    Args:
        rivals: the functions, by name.
        turns: how often each has its turn.
        slice_seconds: about how long a turn lasts.
    """
    calls: dict[str, int] = {}
    for name, function in rivals.items():
        for _ in range(3):
            function()
        started = time.perf_counter()
        function()
        calls[name] = max(1, int(slice_seconds / max(time.perf_counter() - started, 1e-7)))
    timings = {name: Timing(name, []) for name in rivals}
    for _ in range(turns):
        for name, function in rivals.items():
            started = time.perf_counter()
            for _ in range(calls[name]):
                function()
            timings[name].seconds.append((time.perf_counter() - started) / calls[name])
    return list(timings.values())


def ratio(first: Timing, second: Timing) -> float:
    """How many times longer the first takes: the median of the ratios within each turn."""
    return statistics.median(a / b for a, b in zip(first.seconds, second.seconds, strict=True))
