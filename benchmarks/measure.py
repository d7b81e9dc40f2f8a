"""How benchmarks measure: rivals take turns, and medians and minima over the turns count.

Machines are shared and noisy, so a time alone means little. Each rival runs for a slice in turn, many times over;
what is reported is the median of the slices and, for the ratio, the median of the ratios within a turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Timer = Callable[[int], float]
"""Runs something so many times; returns the seconds of one."""

# Threads that have nothing left to do spin for a while before they sleep (OpenBLAS: 26 ms, Intel's OpenMP: 200 ms). The
# next rival should not share the processors with them.
PAUSE = 0.3
# No comparison lasts much longer than this many seconds, or this many turns if those take longer.
BUDGET, FEWEST_TURNS = 60.0, 3


@dataclass
class Timing:
    """Seconds per step, one entry for each turn."""

    name: str
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median over the turns."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """The least time of any turn."""
        return min(self.seconds)


def steps_for(timer: Timer, seconds: float, most: int | None = None) -> int:
    """How many steps last about so long."""
    count, took = 1, timer(1)
    while took * count < seconds / 10 and count < 1000:  # too short to be measured by itself
        count *= 10
        took = timer(count)
    steps = max(1, int(seconds / max(took, 1e-7)))
    return steps if most is None else min(steps, most)


def alternate(
    rivals: dict[str, Timer],
    turns: int = 15,
    slice_seconds: float = 0.15,
    most: int | None = None,
    pause: float = PAUSE,
) -> list[Timing]:
    """Times rivals in turns.

    Args:
        rivals: what runs and times each, by name.
        turns: how often each has its turn; fewer if that would take too long.
        slice_seconds: about how long a turn lasts.
        most: a bound on the steps of a turn.
        pause: seconds before each turn.
    """
    began = time.perf_counter()
    steps = {name: steps_for(timer, slice_seconds, most) for name, timer in rivals.items()}
    timings = {name: Timing(name) for name in rivals}
    for turn in range(turns):
        if turn >= FEWEST_TURNS and time.perf_counter() - began > BUDGET:
            break
        for name, timer in rivals.items():
            time.sleep(pause)
            timings[name].seconds.append(timer(steps[name]))
    return list(timings.values())


def ratio(first: Timing, second: Timing) -> float:
    """How many times longer the first takes: the median of the ratios within each turn."""
    return statistics.median(a / b for a, b in zip(first.seconds, second.seconds, strict=True))
