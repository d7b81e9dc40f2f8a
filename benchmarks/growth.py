"""How the time of a step grows with batch, depth and sequence length: nothing should surprise."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import works
from benchmarks.compare import timer
from benchmarks.measure import steps_for
from benchmarks.process import Process
from benchmarks.works import WORKLOADS, Work

_BY_NAME = {work.name: work for work in WORKLOADS}


@dataclass(frozen=True)
class Series:
    """One workload in several sizes."""

    title: str
    sizes: Sequence[int]
    works: Sequence[Work]


def _series(title: str, base: str, sizes: Sequence[int], name: str, **others: Any) -> Series:
    work = _BY_NAME[base]
    return Series(title, sizes, [replace(work, sizes=work.sizes | others | {name: size}) for size in sizes])


def _deep(sizes: Sequence[int]) -> Series:
    base = _BY_NAME["W3"]
    nets = [replace(base, sizes=base.sizes | {"layers": [64] * (n + 1), "batch": 32}) for n in sizes]
    return Series("layers of an MLP of width 64, batch 32", sizes, nets)


SERIES = (
    _series("batch of W3's MLP", "W3", [1, 4, 16, 64, 256, 1024], "batch"),
    _series("batch of W5's CNN", "W5", [1, 4, 16, 64], "batch"),
    _series("batch of W7's LSTM, 16 steps", "W7", [1, 8, 64, 256], "batch", steps=16),
    _deep([2, 8, 32, 128]),
    _series("layers of W8's GPT, 32 steps, batch 2", "W8", [1, 2, 4, 8, 16], "layers", steps=32, batch=2),
    _series("steps of W7's LSTM, hidden 64, batch 8", "W7", [4, 16, 64, 256], "steps", hidden=64, batch=8),
    _series("steps of W8's GPT, 2 layers, batch 2", "W8", [16, 64, 256, 512], "steps", layers=2, batch=2),
    _series("elements of W9", "W9", [100, 10_000, 1_000_000], "size"),
    _series("elements of W11", "W11", [100, 10_000, 1_000_000], "size"),
)


@dataclass
class Point:
    """One size.

    Attributes:
        size: how large.
        first: seconds to build the graph and take the first step.
        step: seconds of a step after that.
        power: the exponent of growth since the size before: 1 is linear.
    """

    size: int
    first: float
    step: float
    power: float | None


def measure(series: Series, process: Process, turns: int) -> Iterator[Point]:
    """Measures the sizes one after another."""
    before: tuple[int, float] | None = None
    for size, work in zip(series.sizes, series.works, strict=True):
        first, step = _point(work, process, turns)
        power = math.log(step / before[1]) / math.log(size / before[0]) if before else None
        yield Point(size, first, step, power)
        before = size, step


def _point(work: Work, process: Process, turns: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.npz"
        works.save(work, path)
        began = time.perf_counter()
        process.ask("load", path)
        process.ask("check", 1)
        first = time.perf_counter() - began
    run = timer(process)
    steps = steps_for(run, 0.03, most=50)
    return first, min(run(steps) for _ in range(turns))
