"""Compiles kernels with LLVM and loads them: text in, addresses out.

Each kernel is a module and an object of its own, so that equal kernels are compiled once per process, and once per
machine where the cache on disk keeps them. What is loaded stays until the process ends: plans hold bare addresses.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tahr.backends.native import conversions, llvm, target as targets
from tahr.backends.native.cache import Cache, default, key
from tahr.backends.native.compiler import OPTIONS, CompileError, Compiler, Job
from tahr.backends.native.kernel import Kernel, with_parts
from tahr.backends.native.once import LOCK, once
from tahr.backends.native.target import Target


@dataclass(frozen=True)
class Statistics:
    """What an engine did so far.

    Attributes:
        compiled: how many kernels it compiled.
        from_disk: how many it found compiled on disk.
        compile_ms, load_ms: the milliseconds that went by compiling, and reading objects and linking them.
    """

    compiled: int
    from_disk: int
    compile_ms: float
    load_ms: float

    def __sub__(self, earlier: Statistics) -> Statistics:
        """What was done since."""
        return Statistics(
            self.compiled - earlier.compiled,
            self.from_disk - earlier.from_disk,
            self.compile_ms - earlier.compile_ms,
            self.load_ms - earlier.load_ms,
        )


class Engine:
    """Compiles for one target, and loads into this process.

    Args:
        target: the processor. `load` needs one that this machine can run.
        cache: where compiled objects are kept between processes, or None.
    """

    def __init__(self, target: Target, cache: Cache | None = None) -> None:
        self.target = target
        self.cache = cache
        self._compiler = Compiler(target, targets.default_threads())
        self._addresses: dict[str, int] = {}
        self._jobs: dict[str, Job] = {}
        """Modules that are announced, by their texts, until they are loaded."""
        self._libraries = 0
        self._compiled = self._from_disk = 0
        self._compile_seconds = self._load_seconds = 0.0

    @functools.cached_property
    def _linker(self) -> llvm.Linker:
        return llvm.Linker(self._compiler.new_machine())

    # ------------------------------------------------------------ loading

    def announce(self, text: str, title: str, is_urgent: bool = True) -> None:
        """Says that a module will be loaded: it is compiled with the next kernels, or behind them."""
        with LOCK:
            self._begin(text, title, is_urgent)

    def foresee(self, kernels: Iterable[Kernel]) -> None:
        """Begins, in the background, to compile kernels that will be loaded, their parts and what was announced."""
        with LOCK:
            for kernel in with_parts(kernels):
                if kernel.symbol not in self._addresses:
                    self._begin(kernel.linked_text, kernel.title)
        self._compiler.begin()

    def is_at_work(self, text: str) -> bool:
        """Whether a module that was announced is being compiled in the background, so that who loads it waits."""
        job = self._jobs.get(text)
        return job is not None and self._compiler.is_at_work(job)

    def load(self, kernels: Sequence[Kernel]) -> list[int]:
        """The addresses of kernels, compiled where they are new.

        Raises:
            CompileError: LLVM refuses a text, or it calls what does not exist.
        """
        with LOCK:
            if all(kernel.symbol in self._addresses for kernel in kernels):  # and so are the parts of each
                return [self._addresses[kernel.symbol] for kernel in kernels]
            wanted = {kernel.symbol: kernel for kernel in with_parts(kernels)}
            fresh = {symbol: kernel for symbol, kernel in wanted.items() if symbol not in self._addresses}
            if fresh:
                self._load(list(fresh.values()))
            return [self._addresses[kernel.symbol] for kernel in kernels]

    def _load(self, kernels: Sequence[Kernel]) -> None:
        symbols = [kernel.symbol for kernel in kernels]
        objects = self.objects_of(kernels)
        try:
            self._addresses |= self.link(objects, symbols, self._loaded_parts(kernels))
        except CompileError as error:
            titles = ", ".join(kernel.title for kernel in kernels)
            raise CompileError(f"{error}; one of: {titles}") from error

    def _loaded_parts(self, kernels: Sequence[Kernel]) -> dict[str, int]:
        """The addresses of those parts of kernels that were loaded before."""
        symbols = {part.symbol for kernel in kernels for part in kernel.parts}
        return {symbol: self._addresses[symbol] for symbol in symbols & self._addresses.keys()}

    def load_module(
        self, text: str, title: str, symbols: Sequence[str], imports: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """The addresses of what a module defines; it is loaded as often as it is asked for."""
        with LOCK:
            self._begin(text, title)
            return self.link(self._finish([text]), symbols, imports)

    def link(
        self, objects: Sequence[bytes], symbols: Sequence[str], imports: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Loads compiled objects for good.

        Args:
            objects: what `objects_of` gave.
            symbols: the functions and variables that are asked for.
            imports: addresses of what the objects call; the C library's functions are found without.

        Returns:
            The symbols' addresses.

        Raises:
            CompileError: a symbol is missing.
        """
        with LOCK:
            imports = {**self._conversions_for(objects), **(imports or {})}
            start = time.perf_counter()
            self._libraries += 1  # a name is taken even where linking fails
            try:
                return self._linker.link(f"tahr{self._libraries}", objects, imports, symbols)
            except RuntimeError as error:
                raise CompileError(str(error)) from error
            finally:
                self._load_seconds += time.perf_counter() - start

    def _conversions_for(self, objects: Sequence[bytes]) -> dict[str, int]:
        """The addresses of those functions of `conversions` that objects call: they hold their names."""
        called = [
            name for name in conversions.NAMES if any(b"\0" + name.encode() in data for data in objects)
        ]
        return {name: self._conversions[name] for name in called}

    @functools.cached_property
    def _conversions(self) -> dict[str, int]:
        symbols = {name: conversions.PREFIX + name for name in conversions.NAMES}
        found = self.load_module(conversions.text(), "conversions", list(symbols.values()))
        return {name: found[symbol] for name, symbol in symbols.items()}

    # ------------------------------------------------------------ compiling

    @functools.cached_property
    def _circumstances(self) -> tuple[str, ...]:
        """What an object depends on beside the text."""
        return (self.target.triple, self.target.cpu, self.target.features, targets.llvm_version(), OPTIONS)

    def objects_of(self, kernels: Sequence[Kernel]) -> list[bytes]:
        """The object code of kernels, from disk where they were compiled before.

        Raises:
            CompileError: LLVM refuses a text.
        """
        with LOCK:
            for kernel in kernels:
                if self._begin(kernel.linked_text, kernel.title).is_found:
                    self._from_disk += 1
                else:
                    self._compiled += 1
            return self._finish([kernel.linked_text for kernel in kernels])

    def _begin(self, text: str, title: str, is_wanted: bool = True) -> Job:
        """The job of a module: to be compiled, or done where it is on disk."""
        if text not in self._jobs:
            self._jobs[text] = self._new_job(text, title, is_wanted)
        return self._jobs[text]

    def _new_job(self, text: str, title: str, is_wanted: bool) -> Job:
        if self.cache is None:
            job = Job(text, title)
        else:
            name = key((*self._circumstances, text))
            job = Job(text, title, functools.partial(self.cache.put, name))
            start = time.perf_counter()
            found = self.cache.get(name)
            self._load_seconds += time.perf_counter() - start
            if found is not None:
                job.find(found)
                return job
        self._compiler.announce(job, is_wanted)
        return job

    def _finish(self, texts: Sequence[str]) -> list[bytes]:
        """The object code of modules whose jobs were begun."""
        start = time.perf_counter()
        jobs = [self._jobs[text] for text in texts]
        has_waited = not all(job.is_done for job in jobs)
        try:
            self._compiler.finish(jobs)
            return [job.data for job in jobs]
        finally:  # what went wrong is begun anew where it is asked for again
            for text in texts:
                self._jobs.pop(text, None)
            self._compile_seconds += time.perf_counter() - start if has_waited else 0.0

    # ------------------------------------------------------------ looking inside

    def ir_of(self, kernel: Kernel) -> str:
        """A kernel's LLVM IR after optimization, for people."""
        with LOCK:
            return self._compiler.ir(kernel.text, kernel.title)

    def assembly_of(self, kernel: Kernel) -> str:
        """A kernel's assembly, for people."""
        with LOCK:
            return self._compiler.assembly(kernel.text, kernel.title)

    def statistics(self) -> Statistics:
        """What was compiled and loaded so far."""
        with LOCK:
            return Statistics(
                self._compiled, self._from_disk, self._compile_seconds * 1e3, self._load_seconds * 1e3
            )


@once
def _engine_for(target: Target) -> Engine:
    return Engine(target, default())


def engine() -> Engine:
    """The process's engine for the current target."""
    return _engine_for(targets.current())


def load(kernels: Sequence[Kernel]) -> list[int]:
    """The addresses of kernels for this machine; see `Engine.load`."""
    return engine().load(kernels)


def foresee(kernels: Iterable[Kernel]) -> None:
    """Begins to compile kernels for this machine; see `Engine.foresee`."""
    engine().foresee(kernels)


def ir_of(kernel: Kernel) -> str:
    """A kernel's optimized LLVM IR; see `Engine.ir_of`."""
    return engine().ir_of(kernel)


def assembly_of(kernel: Kernel) -> str:
    """A kernel's assembly; see `Engine.assembly_of`."""
    return engine().assembly_of(kernel)


def statistics() -> Statistics:
    """What the process's engine did so far."""
    return engine().statistics()
