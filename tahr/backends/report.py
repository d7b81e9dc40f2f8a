"""What a backend makes of a plan, for people: `Session.explain` prints it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tahr.backends import costs
from tahr.ops.state import ReadCell
from tahr.plan.plan import Plan, Step as PlannedStep
from tahr.program.node import Node, Value

# More of the user's lines than this are not printed for one step.
MOST_LINES = 4


@dataclass(frozen=True)
class Step:
    """One kernel's group of nodes, or one node that NumPy computes.

    Attributes:
        segment: the number of the native segment that it is part of, from 1; None for NumPy's.
        title: what it computes.
        nodes: the nodes that it stands for.
        reason: why NumPy computes it; empty for a kernel.
        reads, writes: bytes; None where they follow from data. What is in a loop counts once.
        flops: arithmetic operations, likewise; None where nobody knows.
        ms: the median of the measured times, in milliseconds; None where nothing was measured.
        depth: in how many loops and branches of its segment it is.
        library: the library whose function computes it for these sizes; empty where that is tahr's own code, or NumPy.
    """

    segment: int | None
    title: str
    nodes: tuple[Node, ...]
    reason: str
    reads: int | None
    writes: int | None
    flops: int | None
    ms: float | None = None
    depth: int = 0
    library: str = ""

    @property
    def lines(self) -> list[str]:
        """The user's lines that it stands for: "model.py:41   y = tf.matmul(x, w)"."""
        return list(dict.fromkeys(n.op.source.describe() for n in self.nodes if n.op is not None))

    @property
    def places(self) -> str:
        """The user's lines in short: "model.py:41,42"."""
        by_file: dict[str, list[int]] = {}
        for node in self.nodes:
            if node.op is not None:
                source = node.op.source
                by_file.setdefault(os.path.basename(source.filename), []).append(source.lineno)
        found: list[str] = []
        for file, numbers in by_file.items():
            unique = sorted(set(numbers))
            shown = ",".join(map(str, unique[:MOST_LINES]))
            found.append(f"{file}:{shown}" + (",..." if len(unique) > MOST_LINES else ""))
        return " ".join(found)


@dataclass(frozen=True)
class Boundary:
    """Why a native segment ends before the plan does.

    Attributes:
        segment: its number.
        steps: the steps of NumPy's that come next.
        bytes: how much crosses the boundary: the results of the segment.
        ms: the median time of those steps, in milliseconds; None where nothing was measured.
    """

    segment: int
    steps: tuple[Step, ...]
    bytes: int | None
    ms: float | None

    @property
    def reason(self) -> str:
        """What NumPy has to compute, and why."""
        return ", ".join(dict.fromkeys(f"{s.title}: {s.reason}" for s in self.steps))


@dataclass(frozen=True)
class Report:
    """How one plan runs.

    Attributes:
        backend: "native" or "numpy".
        reason: why the whole plan is NumPy's, where the session's backend is native.
        steps: in order.
        handed_over: for each native segment the bytes of its results.
        arena: the bytes of all native segments' temporary storage.
        growing: the bytes that lists without a bound have beside it at present; they get more when a run needs it.
        kernels: how many different kernels it calls.
        compiled, from_disk, compile_ms: how many of them were compiled for it, how many were found on disk (the others
            had been loaded by this process), and the milliseconds that compiling took.
        what: which function of the run it is part of.
        ends: why a later plan goes on; empty where none does.
        runs: how often it was measured.
    """

    backend: str
    steps: tuple[Step, ...]
    reason: str = ""
    handed_over: tuple[int | None, ...] = ()
    arena: int = 0
    growing: int = 0
    kernels: int = 0
    compiled: int = 0
    from_disk: int = 0
    compile_ms: float = 0.0
    what: str = "run"
    ends: str = ""
    runs: int = 0

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The ends of native segments that others of NumPy's steps follow."""
        found: list[Boundary] = []
        for number, crossing in enumerate(self.handed_over, 1):
            last = max(i for i, s in enumerate(self.steps) if s.segment == number)
            following: list[Step] = []
            for step in self.steps[last + 1 :]:
                if step.segment is not None:
                    break
                following.append(step)
            if following:
                times = [s.ms for s in following if s.ms is not None]
                found.append(Boundary(number, tuple(following), crossing, sum(times) if times else None))
        return tuple(found)

    def measured(self, times: Sequence[Sequence[int]]) -> Report:
        """The same with the medians of measured times.

        Args:
            times: for each run the nanoseconds of each step.
        """
        medians = [sorted(column)[len(column) // 2] / 1e6 for column in zip(*times)]
        steps = tuple(replace(s, ms=ms) for s, ms in zip(self.steps, medians))
        return replace(self, steps=steps, runs=len(times))


class Inspector(Protocol):
    """What a backend says of its plans."""

    def report(self, plan: Plan, values: Sequence[Any]) -> Report:
        """How a plan runs, given inputs of these shapes; nothing is run."""
        ...

    def timed(
        self, plan: Plan, values: Sequence[Any], executor: Any, run: Any, times: list[int]
    ) -> list[Any]:
        """Runs a plan as `execute` does, and adds the nanoseconds of each step of the report to `times`."""
        ...


# ---------------------------------------------------------------- NumPy's steps


def host_step(node: Node, reason: str, known: costs.Known) -> Step:
    """A node that NumPy computes."""
    name = node.opdef.name
    if node.opdef is ReadCell or node.opdef.view_rule is not None or node.opdef.aliases:
        return Step(None, name, (node,), reason, 0, 0, 0)  # another name for an array that is there
    flops = costs.flops(node, known)
    return Step(None, name, (node,), reason, total(node.inputs, known), total(node.outputs, known), flops)


def total(values: Sequence[Value], known: costs.Known) -> int | None:
    """The bytes of several values, each counted once; None where one of them has an unknown size."""
    found = [costs.size(v, known) for v in dict.fromkeys(values)]
    return None if None in found else sum(s for s in found if s is not None)


def reference_report(plan: Plan, values: Sequence[Any], reason: Callable[[Node], str]) -> Report:
    """How NumPy runs a plan.

    Args:
        reason: why it computes a node.
    """
    known = costs.known_sizes(plan.program, values)
    steps = tuple(host_step(step.node, reason(step.node), known) for step in plan.steps)
    return Report("numpy", steps)


def timed_plan(plan: Plan, times: list[int]) -> Plan:
    """A plan whose steps measure themselves."""

    def timed(step: PlannedStep) -> PlannedStep:
        return step._replace(run=timed_call(step.run, times))

    return replace(plan, steps=tuple(map(timed, plan.steps)))


def timed_call(call: Callable[..., Any], times: list[int]) -> Callable[..., Any]:
    """A function that adds the nanoseconds that each call took to a list."""

    def measured(*args: Any, **options: Any) -> Any:
        start = time.perf_counter_ns()
        result = call(*args, **options)
        times.append(time.perf_counter_ns() - start)
        return result

    return measured


# ---------------------------------------------------------------- as text

_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_HEAD = ("", "reads", "writes", "flops", "ms", "")


def amount(count: float | None, unit: str = "") -> str:
    """`12.3 k`: a number with three digits; "?" for None, and nothing for 0."""
    if count is None:
        return "?"
    if not count:
        return "-"
    for size, prefix in _UNITS:
        if count >= size:
            return f"{count / size:.3g} {prefix}{unit}"
    return f"{count:.3g} {unit}".rstrip()


def table(report: Report, width: int = 44) -> str:
    """A report as text: a line for each step, under a line for each segment.

    Args:
        width: how wide the column of titles is.
    """
    rows: list[tuple[str, ...]] = [_HEAD]
    previous: int | None = -1
    ends = {b.segment: b for b in report.boundaries}
    for step in report.steps:
        if step.segment != previous:
            if previous in ends:
                rows.append((_end(ends[previous]),))
            rows.append(("NumPy" if step.segment is None else f"segment {step.segment}",))
            previous = step.segment
        title = "  " * step.depth + step.title
        title = title if len(title) <= width else title[: width - 3] + "..."
        time_ = "" if step.ms is None else f"{step.ms:.4f}"
        by = f"by {step.library}" if step.library else ""
        where = "   ".join(filter(None, (step.places, by, step.reason)))
        rows.append(
            (
                f"  {title}",
                amount(step.reads, "B"),
                amount(step.writes, "B"),
                amount(step.flops),
                time_,
                where,
            )
        )
    widths = [max((len(r[i]) for r in rows if len(r) > 1), default=0) for i in range(len(_HEAD) - 1)]
    return "\n".join([heading(report), *(_line(row, widths) for row in rows)])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    if len(row) == 1:
        return row[0]
    cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
    return "  ".join([*cells, row[-1]]).rstrip()


def _end(boundary: Boundary) -> str:
    cost = "" if boundary.ms is None else f", {boundary.ms:.4f} ms"
    return f"  -- ends because of {boundary.reason}; hands over {amount(boundary.bytes, 'B')}{cost}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def heading(report: Report) -> str:
    """The first line: what runs where, and what it took to compile."""
    parts = [f"{report.what}: {report.backend}"]
    if report.reason:
        parts[0] += f", because {report.reason}"
    hosts = sum(s.segment is None for s in report.steps)
    if report.backend == "native":
        parts.append(f"{_counted(len(report.handed_over), 'segment')}, {_counted(hosts, 'step')} by NumPy")
        parts.append(f"arena {amount(report.arena, 'B')}")
        if report.growing:
            parts.append(f"lists without a bound {amount(report.growing, 'B')} at present")
        loaded = report.kernels - report.compiled - report.from_disk
        parts.append(
            f"{_counted(report.kernels, 'kernel')}: {report.compiled} compiled in {report.compile_ms:.0f} ms, "
            f"{report.from_disk} from disk, {loaded} there before"
        )
    times = [s.ms for s in report.steps if s.ms is not None]
    if times:
        parts.append(f"{sum(times):.4f} ms, median of {report.runs}")
    if report.ends:
        parts.append(f"goes on in another plan: {report.ends}")
    return "; ".join(parts)
