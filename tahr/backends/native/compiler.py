"""LLVM's part of the work: the text of a module becomes object code, several modules at a time on several threads.

llvmlite takes one lock around each call into LLVM, though LLVM works on modules of different contexts at once. So each
module has a context of its own, and the two calls that take long, the passes and the emission of code, go to the
library past the lock.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from tahr.backends.native import target as targets
from tahr.backends.native.kernel import AS_WRITTEN
from tahr.backends.native.target import Target

# O3 gains nothing over O2 here and compiles longer. SLP vectorization costs compile time and finds nothing in loops
# that are vectorized already. Unrolling (LLVM's partial one; loops of known length unroll all the same) costs a tenth
# of the time to compile and gains nothing: the vectorizer interleaves.
SPEED_LEVEL = 2
OPTIONS = f"O{SPEED_LEVEL} loop-vectorize no-slp no-unroll"


class CompileError(RuntimeError):
    """LLVM did not take a kernel: a mistake of an emitter."""


class Compiler:
    """Compiles for one target.

    Args:
        target: the processor; any that LLVM knows.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._idle: list[Any] = []
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
        targets.host()  # what a process has once is there before threads need it: the caller may hold its lock
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
        with self._machine() as machine:
            return str(_optimized(machine, text, title))

    def assembly(self, text: str, title: str) -> str:
        """A module's assembly."""
        with self._machine() as machine:
            return machine.emit_assembly(_optimized(machine, text, title))

    def _compile_one(self, text: str, title: str) -> bytes:
        with self._machine() as machine:
            return _emit(machine, _optimized(machine, text, title))

    @contextmanager
    def _machine(self) -> Generator[Any]:
        """LLVM's target machine, which one thread can use at a time."""
        try:
            machine = self._idle.pop()
        except IndexError:
            machine = self.new_machine()
        yield machine
        self._idle.append(machine)

    def new_machine(self) -> Any:
        """A new target machine."""
        binding = targets.llvm()
        if self.target.architecture != targets.host().architecture:
            binding.initialize_all_targets()
            binding.initialize_all_asmprinters()
        return binding.Target.from_triple(self.target.triple).create_target_machine(
            cpu=self.target.cpu,
            features=self.target.features,
            opt=SPEED_LEVEL,
            reloc="pic",
            codemodel="small",
            jit=True,
        )


def _optimized(machine: Any, text: str, title: str) -> Any:
    """A module after the passes."""
    binding = targets.llvm()
    try:
        module = binding.parse_assembly(text, context=binding.create_context())
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise CompileError(f"{title}: {error}") from error
    options = binding.create_pipeline_tuning_options(SPEED_LEVEL)
    options.loop_vectorization = True
    options.slp_vectorization = False
    options.loop_unrolling = False
    builder = binding.create_pass_builder(machine, options)
    passes = _clean_up() if text.startswith(AS_WRITTEN) else builder.getModulePassManager()
    _past_the_lock("LLVMPY_RunNewModulePassManager")(passes, module, builder)
    return module


def _clean_up() -> Any:
    """The passes for code that is as it shall be but for stack slots and needless blocks."""
    passes = targets.llvm().create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_loop_rotate_pass()
    passes.add_simplify_cfg_pass()
    return passes


def _emit(machine: Any, module: Any) -> bytes:
    """A module's object code."""
    ffi = targets.llvm().ffi
    with ffi.OutputString() as message:
        buffer = _past_the_lock("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, message)
        if not buffer:
            raise CompileError(str(message))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _past_the_lock(name: str) -> Any:
    """A function of llvmlite's library without its lock around it."""
    locked = getattr(targets.llvm().ffi.lib, name)
    function = getattr(_library(), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function


@functools.cache
def _library() -> ctypes.CDLL:
    """llvmlite's library, which is loaded already."""
    return ctypes.CDLL(targets.llvm().ffi.lib._name)
