"""The text of a module becomes object code; several modules at a time, on several threads."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from tahr.backends.native import llvm, target as targets
from tahr.backends.native.kernel import AS_WRITTEN
from tahr.backends.native.target import Target

# O3 gains nothing over O2 here and compiles longer.
SPEED_LEVEL = 2
OPTIONS = f"O{SPEED_LEVEL} loop-vectorize no-slp no-unroll"
# For code that is as it shall be but for stack slots and needless blocks.
_CLEAN_UP = ("AlwaysInliner", "SROA", "SimplifyCFG", "InstCombine", "LoopRotate", "SimplifyCFG")


class CompileError(RuntimeError):
    """LLVM did not take a kernel: a mistake of an emitter."""


class Compiler:
    """Compiles for one target.

    Args:
        target: the processor; any that LLVM knows.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        # What a process has once is there before threads need it: who waits for them may hold its lock.
        if target.architecture != targets.host().architecture:
            llvm.know_all_machines()
        self._idle: list[llvm.Machine] = []
        """Target machines that no thread is using."""

    def compile(self, texts: Sequence[str], titles: Sequence[str], threads: int = 1) -> list[bytes]:
        """The object code of modules.

        Args:
            texts: LLVM IR; a text that begins with `AS_WRITTEN` is only cleaned up.
            titles: what to call them where one is wrong.
            threads: how many threads to use at most.

        Raises:
            CompileError: LLVM refuses a text.
        """
        # Long ones first, so that no thread is left with one at the end.
        waiting = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        objects: list[bytes] = [b""] * len(texts)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not failures:
                    i = waiting.pop()
                    objects[i] = self._compile_one(texts[i], titles[i])
            except IndexError:
                pass  # none is left
            except BaseException as error:
                failures.append(error)

        others = [threading.Thread(target=work) for _ in range(min(threads, len(texts)) - 1)]
        for thread in others:
            thread.start()
        work()
        for thread in others:
            thread.join()
        if failures:
            raise failures[0]
        return objects

    def ir(self, text: str, title: str) -> str:
        """A module's IR after the passes."""
        with self._machine() as machine, _optimized(machine, text, title) as module:
            return llvm.printed(module)

    def assembly(self, text: str, title: str) -> str:
        """A module's assembly."""
        with self._machine() as machine, _optimized(machine, text, title) as module:
            return machine.emit(module, is_object=False).decode()

    def _compile_one(self, text: str, title: str) -> bytes:
        with self._machine() as machine, _optimized(machine, text, title) as module:
            return machine.emit(module)

    @contextmanager
    def _machine(self) -> Generator[llvm.Machine]:
        """LLVM's target machine, which one thread can use at a time."""
        try:
            machine = self._idle.pop()
        except IndexError:
            machine = self.new_machine()
        yield machine
        self._idle.append(machine)

    def new_machine(self) -> llvm.Machine:
        """A new target machine."""
        return llvm.Machine(self.target.triple, self.target.cpu, self.target.features, SPEED_LEVEL)


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
            else:
                llvm.optimize(module, machine, SPEED_LEVEL)
            yield module
    except RuntimeError as error:
        raise CompileError(f"{title}: {error}") from error
