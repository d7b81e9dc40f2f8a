"""LLVM, as llvmlite's library has it: the functions that compiling and loading need, and no others.

They are called directly. `import llvmlite.binding` describes ten times as many, which takes three times as long as to
load the library, and takes one lock around every call, though LLVM works on modules of different contexts at once.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from ctypes import POINTER, c_bool, c_char_p, c_int, c_size_t, c_uint, c_uint8, c_uint64, c_void_p
from typing import Any

from tahr.backends.native.once import once


class _Element(ctypes.Structure):
    """What is linked."""

    _fields_ = (("kind", c_uint8), ("data", c_char_p), ("size", c_size_t))


class _Symbol(ctypes.Structure):
    _fields_ = (("name", c_char_p), ("address", c_uint64))


_OBJECT_CODE = 2
"""The kind of an `_Element` that is an object file."""

_TEXT = POINTER(c_char_p)
_PASSES = ("AlwaysInliner", "SROA", "SimplifyCFG")
# What functions give and take; all names begin with LLVMPY_. Most handles are addresses. A text that a function writes
# is a message if it fails, or else its answer.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "GetVersionInfo": (c_uint,),
    "GetProcessTriple": (None, _TEXT),
    "GetHostCPUName": (None, _TEXT),
    "GetHostCPUFeatures": (c_int, _TEXT),
    "DisposeString": (None, c_char_p),
    "InitializeNativeTarget": (None,),
    "InitializeNativeAsmPrinter": (None,),
    "InitializeAllTargetInfos": (None,),
    "InitializeAllTargets": (None,),
    "InitializeAllTargetMCs": (None,),
    "InitializeAllAsmPrinters": (None,),
    "GetTargetFromTriple": (c_void_p, c_char_p, _TEXT),
    # target, triple, cpu, features, level, relocation, code model, prints code, compiles at run time, ABI
    "CreateTargetMachine": (
        c_void_p,
        c_void_p,
        *(c_char_p, c_char_p, c_char_p),
        c_int,
        *(c_char_p, c_char_p),
        *(c_int, c_int),
        c_char_p,
    ),
    "DisposeTargetMachine": (None, c_void_p),
    "CreateTargetMachineData": (c_void_p, c_void_p),
    "CopyStringRepOfTargetData": (None, c_void_p, _TEXT),
    "DisposeTargetData": (None, c_void_p),
    "ContextCreate": (c_void_p,),
    "ContextDispose": (None, c_void_p),
    "ParseAssembly": (c_void_p, c_void_p, c_char_p, _TEXT),
    "SetTarget": (None, c_void_p, c_char_p),
    "SetDataLayout": (None, c_void_p, c_char_p),
    "VerifyModule": (c_bool, c_void_p, _TEXT),
    "PrintModuleToString": (None, c_void_p, _TEXT),
    "DisposeModule": (None, c_void_p),
    "CreatePipelineTuningOptions": (c_void_p,),
    "PTOSetLoopVectorization": (None, c_void_p, c_bool),
    "PTOSetSLPVectorization": (None, c_void_p, c_bool),
    "PTOSetLoopUnrolling": (None, c_void_p, c_bool),
    "DisposePipelineTuningOptions": (None, c_void_p),
    "CreatePassBuilder": (c_void_p, c_void_p, c_void_p),
    "DisposePassBuilder": (None, c_void_p),
    "CreateNewModulePassManager": (c_void_p,),
    "buildPerModuleDefaultPipeline": (c_void_p, c_void_p, c_int),
    **{f"module_Add{name}Pass": (None, c_void_p) for name in _PASSES},
    "RunNewModulePassManager": (None, c_void_p, c_void_p, c_void_p),
    "DisposeNewModulePassManger": (None, c_void_p),  # its name, letter by letter
    "TargetMachineEmitToMemory": (c_void_p, c_void_p, c_void_p, c_int, _TEXT),
    "GetBufferStart": (c_void_p, c_void_p),
    "GetBufferSize": (c_size_t, c_void_p),
    "DisposeMemoryBuffer": (None, c_void_p),
    "CreateLLJITCompiler": (c_void_p, c_void_p, c_bool, c_bool, _TEXT),
    # linker, library's name, elements, imports and exports with their numbers
    "LLJIT_Link": (
        c_void_p,
        c_void_p,
        c_char_p,
        *(POINTER(_Element), c_size_t),
        *(POINTER(_Symbol), c_size_t),
        *(POINTER(_Symbol), c_size_t),
        _TEXT,
    ),
}

# While these run, so does other Python code. The rest is too brief for that: who lets go of Python's lock waits up to
# five milliseconds to have it back.
_LONG = ("RunNewModulePassManager", "TargetMachineEmitToMemory", "LLJIT_Link")


@once
def _functions() -> dict[str, Callable[..., Any]]:
    """LLVM's functions, once the library is loaded and knows this machine."""
    import llvmlite  # pyright: ignore[reportMissingTypeStubs]
    from llvmlite.utils import get_library_name  # pyright: ignore[reportMissingTypeStubs]

    place: str = llvmlite.__path__[0]
    path = os.path.join(place, "binding", get_library_name())
    brief, long = ctypes.PyDLL(path), ctypes.CDLL(path)
    functions: dict[str, Callable[..., Any]] = {}
    for name, (result, *arguments) in _SIGNATURES.items():
        function = functions[name] = getattr(long if name in _LONG else brief, f"LLVMPY_{name}")
        function.restype, function.argtypes = result, arguments
    functions["InitializeNativeTarget"]()
    functions["InitializeNativeAsmPrinter"]()
    return functions


def _call(name: str, *arguments: Any) -> Any:
    return _functions()[name](*arguments)


def _answer(name: str, *arguments: Any) -> tuple[Any, str]:
    """What a function gives whose last argument is a text that it writes, and that text."""
    text = c_char_p()
    result = _call(name, *arguments, ctypes.byref(text))
    try:
        return result, (text.value or b"").decode(errors="replace")
    finally:
        _call("DisposeString", text)


def _made(name: str, *arguments: Any) -> Any:
    """What a function makes that leaves a message where it fails.

    Raises:
        RuntimeError: it fails.
    """
    result, message = _answer(name, *arguments)
    if not result:
        raise RuntimeError(message or f"{name} fails")
    return result


# ---------------------------------------------------------------- the machine


def version() -> str:
    """LLVM's version."""
    number = _call("GetVersionInfo")
    return ".".join(str(part) for part in number.to_bytes(3, "big"))


def triple() -> str:
    """LLVM's name of this process's architecture and system."""
    return _answer("GetProcessTriple")[1]


def cpu() -> str:
    """LLVM's name of this processor's model."""
    return _answer("GetHostCPUName")[1]


def features() -> str:
    """What this processor can and cannot do, in the order of the alphabet: "-adx,+aes,..."."""
    found = _answer("GetHostCPUFeatures")[1].split(",")
    return ",".join(sorted(filter(None, found), key=lambda feature: feature[1:]))


@once
def know_all_machines() -> None:
    """Lets LLVM compile for other architectures."""
    for what in ("TargetInfos", "Targets", "TargetMCs", "AsmPrinters"):
        _call(f"InitializeAll{what}")


class Machine:
    """LLVM's target machine: it makes code, for one thread at a time.

    Args:
        triple, cpu, features: the processor, by LLVM's names.
        level: how much effort it takes, 0 to 3.
    """

    def __init__(self, triple: str, cpu: str, features: str, level: int) -> None:
        self.triple = triple.encode()
        target = _made("GetTargetFromTriple", self.triple)
        names = self.triple, cpu.encode(), features.encode()
        self.handle = _call("CreateTargetMachine", target, *names, level, b"pic", b"small", 0, 1, b"")
        if not self.handle:
            raise RuntimeError(f"there is no {cpu} {triple}")
        data = _call("CreateTargetMachineData", self.handle)
        self.layout = _answer("CopyStringRepOfTargetData", data)[1].encode()
        _call("DisposeTargetData", data)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            _call("DisposeTargetMachine", self.handle)

    def emit(self, module: int, is_object: bool = True) -> bytes:
        """A module's object code, or its assembly.

        Raises:
            RuntimeError: LLVM has no code for it.
        """
        buffer = _made("TargetMachineEmitToMemory", self.handle, module, is_object)
        try:
            return ctypes.string_at(_call("GetBufferStart", buffer), _call("GetBufferSize", buffer))
        finally:
            _call("DisposeMemoryBuffer", buffer)


# ---------------------------------------------------------------- modules


@contextmanager
def parsed(text: str, machine: Machine) -> Generator[int]:
    """The handle of a module in a context of its own, which lives as long as the context manager is open.

    Raises:
        RuntimeError: the text is wrong.
    """
    context = _call("ContextCreate")
    try:
        module = _made("ParseAssembly", context, text.encode())
        try:
            _call("SetTarget", module, machine.triple)
            _call("SetDataLayout", module, machine.layout)
            is_wrong, complaint = _answer("VerifyModule", module)
            if is_wrong:
                raise RuntimeError(complaint)
            yield module
        finally:
            _call("DisposeModule", module)
    finally:
        _call("ContextDispose", context)


def printed(module: int) -> str:
    """A module's text."""
    return _answer("PrintModuleToString", module)[1]


@contextmanager
def _pass_builder(machine: Machine) -> Generator[int]:
    options = _call("CreatePipelineTuningOptions")
    _call("PTOSetLoopVectorization", options, True)
    # SLP vectorization costs compile time and finds nothing in loops that are vectorized already. Unrolling (LLVM's
    # partial one; loops of known length unroll all the same) costs a tenth of the time to compile and gains nothing:
    # the vectorizer interleaves.
    _call("PTOSetSLPVectorization", options, False)
    _call("PTOSetLoopUnrolling", options, False)
    builder = _call("CreatePassBuilder", machine.handle, options)
    try:
        yield builder
    finally:
        _call("DisposePassBuilder", builder)
        _call("DisposePipelineTuningOptions", options)


def _run(passes: int, module: int, builder: int) -> None:
    try:
        _call("RunNewModulePassManager", passes, module, builder)
    finally:
        _call("DisposeNewModulePassManger", passes)


def optimize(module: int, machine: Machine, level: int) -> None:
    """Runs LLVM's own sequence of passes over a module."""
    with _pass_builder(machine) as builder:
        _run(_call("buildPerModuleDefaultPipeline", builder, level), module, builder)


def run_passes(module: int, machine: Machine, names: Iterable[str]) -> None:
    """Runs some passes, of `_PASSES`, over a module."""
    with _pass_builder(machine) as builder:
        passes = _call("CreateNewModulePassManager")
        for name in names:
            _call(f"module_Add{name}Pass", passes)
        _run(passes, module, builder)


# ---------------------------------------------------------------- loading


class Linker:
    """Loads object code into this process, for good: threads may still be in it when the interpreter is taken down.

    Args:
        machine: for which processor the code is.
    """

    def __init__(self, machine: Machine) -> None:
        # JITLink keeps a library's sections together, as aarch64's short jumps need; Windows is beyond it.
        self._handle = _made("CreateLLJITCompiler", machine.handle, True, os.name != "nt")

    def link(
        self, name: str, objects: Sequence[bytes], imports: Mapping[str, int], exports: Sequence[str]
    ) -> dict[str, int]:
        """The addresses of symbols.

        Args:
            name: a name that was never given before.
            objects: what defines them.
            imports: addresses of what the objects call; the C library's functions are found without.
            exports: the symbols.

        Raises:
            RuntimeError: a symbol is missing.
        """
        elements = (_Element * len(objects))(*((_OBJECT_CODE, data, len(data)) for data in objects))
        given = (_Symbol * len(imports))(*((each.encode(), address) for each, address in imports.items()))
        found = (_Symbol * len(exports))(*((each.encode(), 0) for each in exports))
        tables = (elements, len(elements), given, len(given), found, len(found))
        _made("LLJIT_Link", self._handle, name.encode(), *tables)
        return {each: symbol.address for each, symbol in zip(exports, found)}
