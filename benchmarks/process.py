"""The parent's side of a worker process, and which Python runs which framework."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PEERS = ("torch", "compile", "jax", "tensorflow", "pytensor", "numpy")

# torch.compile is the same installation as torch.
_VENVS = {"compile": "torch"}
# These would hold a current OpenBLAS to an older processor's kernels.
_DROPPED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TAHR_NUM_THREADS", "BENCH_THREADS")


class WorkerError(Exception):
    """A framework failed; the text is its traceback."""


@dataclass(frozen=True)
class Framework:
    """A framework and how it is started.

    Attributes:
        name: the heading of its column.
        module: the module of benchmarks.peers.
        python: the interpreter that has it installed.
        environment: environment variables of its own.
    """

    name: str
    module: str
    python: str
    environment: Mapping[str, str] = field(default_factory=dict)


def interpreter(peer: str, given: Mapping[str, str | None]) -> str | None:
    """The Python of a peer: an option, else an environment variable such as TAHR_BENCH_TORCH, else none.

    NumPy by hand runs in this one.
    """
    if peer == "numpy":
        return sys.executable
    name = _VENVS.get(peer, peer)
    return given.get(name) or os.environ.get(f"TAHR_BENCH_{name.upper()}")


def worker_environment(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    return kept | dict.fromkeys(_THREADS, str(threads)) | {"PYTHONPATH": str(ROOT)} | dict(extra)


class Process:
    """A framework's worker process; leaves with its `with` block.

    Args:
        framework: what runs in it.
        threads: how many threads it may compute with.
        extra: further environment variables.
    """

    def __init__(self, framework: Framework, threads: int, extra: Mapping[str, str] | None = None) -> None:
        self.framework = framework
        self._process = subprocess.Popen(
            [framework.python, "-m", "benchmarks.worker", framework.module],
            cwd=ROOT,
            env=worker_environment(threads, {**framework.environment, **(extra or {})}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_STDERR") else None,
            text=True,
        )
        self.greeting: dict[str, Any] = {}

    def greet(self) -> dict[str, Any]:
        """Waits until the framework is imported: its version, and the seconds that took.

        Raises:
            WorkerError: it cannot be imported.
        """
        self.greeting = self._read()
        return self.greeting

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the worker of {self.framework.name} ended: {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def ask(self, *command: object) -> dict[str, Any]:
        """Sends a command and waits for its answer.

        Raises:
            WorkerError: the framework failed.
        """
        assert self._process.stdin is not None
        try:
            print(*command, file=self._process.stdin, flush=True)
        except BrokenPipeError as error:
            raise WorkerError(f"the worker of {self.framework.name} has ended") from error
        return self._read()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may have ended already
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
