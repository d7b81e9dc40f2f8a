"""What is paid once: importing, the way to the first step, and memory."""

from __future__ import annotations

import compileall
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import works
from benchmarks.process import ROOT, Framework, Process, worker_environment
from benchmarks.works import Work

_IMPORTS = {
    "tahr": "tahr",
    "torch": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow.compat.v1",
    "pytensor": "pytensor.tensor",
    "numpy": "numpy",
}
# Where frameworks keep what they compiled.
_CACHES: tuple[str, ...] = ("HOME", "XDG_CACHE_HOME", "TMPDIR", "TAHR_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
_PROGRAM = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def compile_tahr() -> None:
    """Compiles tahr's modules to bytecode, which pip has done for all that it installed."""
    compileall.compile_dir(ROOT / "tahr", quiet=1)


def import_seconds(framework: Framework, threads: int, times: int = 3) -> float:
    """The least seconds of importing a framework in a new process."""
    program = _PROGRAM.format(_IMPORTS[framework.module])
    environment = worker_environment(threads, framework.environment)
    return min(_printed([framework.python, "-c", program], environment) for _ in range(times))


def _printed(command: Sequence[str], environment: dict[str, str]) -> float:
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


@dataclass
class Start:
    """From the start of a process.

    Attributes:
        cold: seconds to the end of the first step, with nothing in any cache of the framework's.
        warm: the same once more.
        memory: the peak memory in bytes of the second process, after some more steps.
    """

    cold: float
    warm: float
    memory: int


def start(framework: Framework, work: Work, threads: int) -> Start | None:
    """Starts a framework twice and takes it to the first step of a workload; None if it has no such program.

    Caches live in the home or temporary directory, so new ones make a cold start. Files that the operating
    system has in memory stay there.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.npz"
        works.save(work, path)
        homes = dict.fromkeys(_CACHES, folder)
        cold = _first_step(framework, path, threads, homes)
        warm = _first_step(framework, path, threads, homes) if cold else None
    return Start(cold[0], *warm) if cold and warm else None


def _first_step(
    framework: Framework, path: Path, threads: int, homes: dict[str, str]
) -> tuple[float, int] | None:
    began = time.perf_counter()
    with Process(framework, threads, homes) as process:
        process.greet()
        if not process.ask("load", path)["supported"]:
            return None
        process.ask("check", 1)
        seconds = time.perf_counter() - began
        process.ask("time", 20)
        return seconds, process.ask("memory")["bytes"]
