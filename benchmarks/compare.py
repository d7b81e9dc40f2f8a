"""Workloads side by side: results are checked against tahr's, then the frameworks are timed in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import works
from benchmarks.measure import PAUSE, Timer, Timing, alternate, ratio
from benchmarks.process import Process, WorkerError
from benchmarks.works import Work

TOLERANCE = 4e-4
CHECKED_STEPS = 5
# Over a thousand steps on one batch Adam's and momentum's moments decay into denormals, which some frameworks
# compute with slowly. That is measured by itself (`long`); elsewhere training stays short of it.
STEPS_WITH_MOMENTS = 400


@dataclass
class Row:
    """What became of one workload.

    Attributes:
        work: the workload.
        timings: by framework.
        failures: a word or two by framework: why it was not timed.
        notes: the whole story of each failure.
    """

    work: Work
    timings: dict[str, Timing] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def fail(self, name: str, word: str, note: str) -> None:
        """Records that a framework is not timed."""
        self.failures[name] = word
        self.notes.append(f"{self.work.name}, {name}: {note}")


def first_results(process: Process, path: Path) -> list[list[float]] | None:
    """Builds a workload in a worker and takes the first steps; None if it has no such program.

    Raises:
        WorkerError: the framework failed.
    """
    if not process.ask("load", path)["supported"]:
        return None
    return process.ask("check", CHECKED_STEPS)["results"]


def differ(ours: list[list[float]], theirs: list[list[float]]) -> bool:
    """Whether any result differs by more than the tolerance; NaN differs from everything."""
    pairs = [(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
    return not all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-6) for a, b in pairs)


def agreeing(work: Work, processes: Sequence[Process], path: Path, row: Row) -> dict[str, Process]:
    """The frameworks whose first results are those of the first framework that has any."""
    reference: tuple[str, list[list[float]]] | None = None
    found: dict[str, Process] = {}
    for process in processes:
        name = process.framework.name
        try:
            results = first_results(process, path)
        except WorkerError as error:
            row.fail(name, "failed", str(error).strip().splitlines()[-1])
            continue
        if results is None:
            continue
        if reference is None:
            reference = name, results
        elif differ(reference[1], results):
            row.fail(name, "differs", f"{results} where {reference[0]} has {reference[1]}")
            continue
        found[name] = process
    return found


def timer(process: Process) -> Timer:
    """Times steps of the workload that a worker has loaded."""
    return lambda count: process.ask("time", count)["seconds"]


def compare(
    work: Work, processes: Sequence[Process], turns: int, slice_seconds: float, pause: float = PAUSE
) -> Row:
    """Checks and times one workload."""
    row = Row(work)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.npz"
        works.save(work, path)
        rivals = {name: timer(process) for name, process in agreeing(work, processes, path, row).items()}
    most = max(1, STEPS_WITH_MOMENTS // turns) if work.keeps_moments else None
    try:
        row.timings = {t.name: t for t in alternate(rivals, turns, slice_seconds, most, pause)}
    except WorkerError as error:
        row.notes.append(f"{work.name}: {str(error).strip().splitlines()[-1]}")
    return row


# ---------------------------------------------------------------- the table


def _number(seconds: float) -> str:
    """Milliseconds with three digits that count."""
    ms = seconds * 1e3
    return f"{ms:.{4 if ms < 0.1 else 3 if ms < 1 else 2 if ms < 10 else 1}f}"


def _cell(row: Row, name: str) -> str:
    timing = row.timings.get(name)
    if timing is None:
        return row.failures.get(name, "-")
    return f"{_number(timing.median)} ({_number(timing.best)})"


def _best(row: Row, names: Sequence[str], seconds: Callable[[Timing], float]) -> Timing | None:
    """The framework that takes the least seconds."""
    return min((row.timings[n] for n in names if n in row.timings), key=seconds, default=None)


def _speed(row: Row, name: str, peers: Sequence[str]) -> str:
    """How many times faster than the best peer a framework is: by medians, and (by minima)."""
    by_median = _best(row, peers, lambda t: t.median)
    by_minimum = _best(row, peers, lambda t: t.best)
    ours = row.timings.get(name)
    if by_median is None or by_minimum is None or ours is None:
        return "-"
    return f"{ratio(by_median, ours):.2f} ({by_minimum.best / ours.best:.2f})"


def heading(ours: Sequence[str], peers: Sequence[str]) -> str:
    """The table's first line."""
    cells = "".join(f"{name:>16}" for name in [*ours, *peers])
    speeds = "".join(f"{f'best/{name}':>18}" for name in ours)
    return f"{'ms per step: median (minimum)':50}{cells}  {'best peer':11}{speeds}{'goal':>6}"


def line(row: Row, ours: Sequence[str], peers: Sequence[str]) -> str:
    """One workload's line; `best/tahr` is how many times faster than the best peer tahr is."""
    cells = "".join(f"{_cell(row, name):>16}" for name in [*ours, *peers])
    best = _best(row, peers, lambda t: t.median)
    speeds = "".join(f"{_speed(row, name, peers):>18}" for name in ours)
    goal = "" if row.work.goal is None else f"{row.work.goal:.1f}"
    return f"{row.work.name:5}{row.work.title:45}{cells}  {best.name if best else '-':11}{speeds}{goal:>6}"
