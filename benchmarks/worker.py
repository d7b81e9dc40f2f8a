"""The process in which one framework runs: `python -m benchmarks.worker torch`.

It reads one command a line and answers each with one line of JSON:

    load FILE    builds the workload stored in FILE, in place of the one before
    check N      runs N steps: a summary of each result
    time N       runs one step untimed, then N: seconds per step
    memory       the peak memory of the process in bytes

`supported` is false in the answer to `load` if the framework has no such program. An error is answered by its text.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks import works
from benchmarks.works import Step


def summary(result: Any) -> list[float]:
    """Numbers that tell results apart: scalars themselves, and the lengths of vectors."""
    results = result if isinstance(result, (list, tuple)) else [result]
    arrays = [np.asarray(r, np.float64) for r in results]
    return [float(a) if a.ndim == 0 else float(np.linalg.norm(a)) for a in arrays]


class Worker:
    """Answers commands with one framework.

    Args:
        builders: for each kind of workload a function that takes sizes and arrays and returns its step.
    """

    def __init__(self, builders: dict[str, Any]) -> None:
        self._builders = builders
        self._step: Step | None = None

    def load(self, path: str) -> dict[str, Any]:
        """Builds a workload."""
        self._step = None
        work, arrays = works.load(Path(path))
        build = self._builders.get(work.kind)
        if build is None:
            return {"supported": False}
        self._step = build(work.sizes, arrays)
        return {"supported": True}

    def check(self, count: str) -> dict[str, Any]:
        """Runs steps and summarises their results."""
        assert self._step is not None
        return {"results": [summary(self._step()) for _ in range(int(count))]}

    def time(self, count: str) -> dict[str, Any]:
        """Runs and times steps, behind one that warms caches and threads."""
        step, number = self._step, int(count)
        assert step is not None
        step()
        started = time.perf_counter()
        for _ in range(number):
            step()
        return {"seconds": (time.perf_counter() - started) / number}

    def memory(self) -> dict[str, Any]:
        """The peak memory so far."""
        return {"bytes": peak_memory()}


def peak_memory() -> int:
    """The peak memory of this process in bytes.

    On Linux `ru_maxrss` would begin with that of the process from which this one was forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [text for text in status.read_text().splitlines() if text.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def answer(worker: Worker, line: str) -> dict[str, Any]:
    """The answer to one command."""
    command, *arguments = line.split()
    try:
        return getattr(worker, command)(*arguments)
    except Exception:  # whatever goes wrong in a framework is an answer
        return {"error": traceback.format_exc()}


def private_stdout() -> TextIO:
    """The real standard output, for answers; what a framework prints goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def use_threads(count: int) -> None:
    """Holds this process to `count` of its processors, which every framework's pool follows."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def main() -> None:
    """Serves until standard input ends."""
    answers = private_stdout()
    use_threads(int(os.environ["BENCH_THREADS"]))
    started = time.perf_counter()
    peer = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")
    greeting = {"version": peer.VERSION, "import": time.perf_counter() - started}
    worker = Worker(peer.BUILDERS)
    print(json.dumps(greeting), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(worker, line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
