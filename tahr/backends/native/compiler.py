"""The text of a module becomes object code; several modules at a time, on several threads."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from tahr.backends.native import llvm, target as targets
from tahr.backends.native.kernel import AS_WRITTEN, QUICKLY
from tahr.backends.native.once import LOCK
from tahr.backends.native.target import Target

# O3 gains nothing over O2 here and compiles longer; nor do instructions that are put in order once more after registers
# are chosen, which is what is left out of making code on the first level.
SPEED_LEVEL, CODE_LEVEL = 2, 1
OPTIONS = f"O{SPEED_LEVEL} O{CODE_LEVEL} loop-vectorize no-slp no-unroll"
# For code that is as it shall be but for stack slots and needless blocks; and for what is compiled quickly.
_CLEAN_UP = ("AlwaysInliner", "SROA", "SimplifyCFG")
_LITTLE = ("AlwaysInliner", "SROA")


class CompileError(RuntimeError):
    """LLVM did not take a kernel: a mistake of an emitter."""


class Job:
    """A module that is to be compiled.

    Args:
        text: LLVM IR; what begins with `AS_WRITTEN` or `QUICKLY` is compiled with less effort.
        title: what to call it where it is wrong.
        keep: is given the object code, by the thread that made it.
    """

    def __init__(self, text: str, title: str, keep: Callable[[bytes], Any] | None = None) -> None:
        self.text = text
        self.title = title
        self._keep = keep
        self.is_wanted = False  # by somebody who waits
        self.is_done = self.is_found = False
        self._data = b""
        self._error: BaseException | None = None

    def find(self, data: bytes) -> None:
        """Says that its object code is there already."""
        self._data = data
        self.is_done = self.is_found = True

    def run(self, compiler: Compiler) -> None:
        """Compiles it."""
        try:
            self._data = compiler.compile(self.text, self.title)
            if self._keep:
                self._keep(self._data)
        except BaseException as error:
            self._error = error  # for who waits
            if not isinstance(error, Exception):
                raise
        finally:
            self.is_done = True

    @property
    def data(self) -> bytes:
        """The object code.

        Raises:
            CompileError: LLVM refuses the text.
        """
        if self._error is not None:
            raise self._error
        return self._data


class Compiler:
    """Compiles for one target.

    Args:
        target: the processor; any that LLVM knows.
        threads: how many threads to use at most, with those that wait.
    """

    def __init__(self, target: Target, threads: int = 1) -> None:
        self.target = target
        self._threads = threads
        # What a process has once is there before threads need it: who waits for them may hold its lock.
        if target.architecture != targets.host().architecture:
            llvm.know_all_machines()
        self._idle: defaultdict[int, list[llvm.Machine]] = defaultdict(list)
        """Target machines that no thread is using, by the effort that they make."""
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running = 0
        _compilers.add(self)

    # ------------------------------------------------------------ several modules

    def announce(self, job: Job, is_wanted: bool = False) -> None:
        """Has a module compiled with the next ones that somebody waits for, or behind them unless it is wanted."""
        with self._changed:
            job.is_wanted = is_wanted
            self._waiting.append(job)

    def begin(self) -> None:
        """Has others begin with what was announced, while the caller does something else."""
        self._get_help(self._threads - 1)

    def finish(self, jobs: Sequence[Job]) -> None:
        """Compiles, with others' help, until modules that were announced are there; the others see to the rest."""
        for job in jobs:
            job.is_wanted = True
        if any(not job.is_done for job in jobs):
            # One module fewer than wait: the caller is about to take one.
            self._get_help(min(self._threads, len(self._waiting)) - 1)
        while job := self._next(lambda job: job.is_wanted):
            self._run(job)
        with self._changed:
            self._changed.wait_for(lambda: all(job.is_done for job in jobs))

    def is_at_work(self, job: Job) -> bool:
        """Whether a thread in the background is compiling a module, or is going to."""
        return not job.is_done and self._running > 0

    def settle(self) -> None:
        """Waits until nothing is compiled in the background."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running)

    def _get_help(self, most: int) -> None:
        """Starts threads in the background, as many as are useful and no more than are given, with those that run."""
        with self._changed:
            missing = min(most, len(self._waiting)) - self._running
            self._running += max(0, missing)
        for _ in range(missing):
            try:
                threading.Thread(target=self._work, name="tahr compiler").start()
            except RuntimeError:  # there are too many threads, or the interpreter is about to end
                self._rest()

    def _work(self) -> None:
        """What a thread in the background does; it ends where there is nothing to do."""
        try:
            # The interpreter waits for it before it ends; by then nobody wants the rest.
            while threading.main_thread().is_alive() and (job := self._next(lambda _: True)):
                self._run(job)
        finally:
            self._rest()

    def _rest(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def _next(self, suits: Callable[[Job], bool]) -> Job | None:
        """Which job that suits is next, if one is waiting: wanted and long ones first, lest one be left at the end."""
        with self._changed:
            found = max(filter(suits, self._waiting), key=_urgency, default=None)
            if found:
                self._waiting.remove(found)
            return found

    def _run(self, job: Job) -> None:
        try:
            job.run(self)
        finally:
            with self._changed:
                self._changed.notify_all()

    # ------------------------------------------------------------ one module

    def compile(self, text: str, title: str) -> bytes:
        """The object code of a module; see `Job`.

        Raises:
            CompileError: LLVM refuses the text.
        """
        with self._machine(_level(text)) as machine, _optimized(machine, text, title) as module:
            return machine.emit(module)

    def ir(self, text: str, title: str) -> str:
        """A module's IR after the passes."""
        with self._machine(_level(text)) as machine, _optimized(machine, text, title) as module:
            return llvm.printed(module)

    def assembly(self, text: str, title: str) -> str:
        """A module's assembly."""
        with self._machine(_level(text)) as machine, _optimized(machine, text, title) as module:
            return machine.emit(module, is_object=False).decode()

    @contextmanager
    def _machine(self, level: int) -> Generator[llvm.Machine]:
        """LLVM's target machine, which one thread can use at a time."""
        try:
            machine = self._idle[level].pop()
        except IndexError:
            machine = self.new_machine(level)
        yield machine
        self._idle[level].append(machine)

    def new_machine(self, level: int = CODE_LEVEL) -> llvm.Machine:
        """A new target machine."""
        return llvm.Machine(self.target.triple, self.target.cpu, self.target.features, level)


def _level(text: str) -> int:
    return 0 if text.startswith(QUICKLY) else CODE_LEVEL


@contextmanager
def _optimized(machine: llvm.Machine, text: str, title: str) -> Generator[int]:
    """A module after the passes.

    Raises:
        CompileError: LLVM refuses the text, or has no code for it.
    """
    try:
        with llvm.parsed(text, machine) as module:
            if text.startswith(AS_WRITTEN):
                llvm.run_passes(module, machine, _CLEAN_UP)
            elif text.startswith(QUICKLY):
                llvm.run_passes(module, machine, _LITTLE)
            else:
                llvm.optimize(module, machine, SPEED_LEVEL)
            yield module
    except RuntimeError as error:
        raise CompileError(f"{title}: {error}") from error


def _urgency(job: Job) -> tuple[bool, int]:
    return job.is_wanted, len(job.text)


_compilers: WeakSet[Compiler] = WeakSet()


def _settle() -> None:
    """Lets all compilers come to rest: a child of a fork would wait for threads that it does not have."""
    LOCK.acquire()
    for compiler in _compilers:
        compiler.settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle, after_in_parent=LOCK.release, after_in_child=LOCK.release)
