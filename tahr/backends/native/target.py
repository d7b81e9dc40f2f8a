"""The processor that kernels are compiled for, and whether LLVM is there to compile for it."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tahr.backends.native import llvm
from tahr.backends.native.once import once

# The release of llvmlite; pyproject.toml asks for the same.
LLVMLITE = "0.50"
# What is assumed of caches where the system does not tell.
L1_BYTES, L2_BYTES = 32 << 10, 512 << 10
_CACHES = "/sys/devices/system/cpu/cpu0/cache"
_CONTROL_GROUP = "/sys/fs/cgroup"
_UNITS = {"K": 1 << 10, "M": 1 << 20}


def is_available() -> bool:
    """Whether LLVM can be imported here, in the version that is needed."""
    return complaint() is None


@once
def complaint() -> str | None:
    """Why LLVM cannot be used, or None."""
    if sys.maxsize < 1 << 32 or sys.byteorder != "little":
        return "native code is for 64-bit little-endian systems"
    try:
        import llvmlite  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        return "llvmlite is not installed"
    # Another package may have asked for a release whose LLVM reads the text of kernels differently.
    if not llvmlite.__version__.startswith(LLVMLITE + "."):
        return f"llvmlite {llvmlite.__version__} is installed, and {LLVMLITE} is needed"
    return None


def llvm_version() -> str:
    """The versions of llvmlite and of the LLVM in it."""
    import llvmlite  # pyright: ignore[reportMissingTypeStubs]

    return f"{llvmlite.__version__} {llvm.version()}"


@dataclass(frozen=True)
class Target:
    """A processor, as emitters and the compiler see it.

    Attributes:
        triple: LLVM's name of architecture and system: "x86_64-unknown-linux-gnu".
        cpu: LLVM's name of the model.
        features: LLVM's feature string. The model's name alone can promise what a virtual machine hides.
        vector_bytes: the width of the widest vector register.
        vector_registers: how many of them there are.
        l1, l2: bytes of the caches of one core.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    l1: int = L1_BYTES
    l2: int = L2_BYTES

    @property
    def architecture(self) -> str:
        """The first part of the triple: "x86_64", "aarch64"."""
        architecture = self.triple.split("-")[0]
        return "aarch64" if architecture == "arm64" else architecture

    def has(self, feature: str) -> bool:
        """Whether the processor has a feature of LLVM's name: "fma", "avx512bf16"."""
        return f"+{feature}" in self.features.split(",")

    @property
    def has_fma(self) -> bool:
        """Whether a multiplication and an addition are one instruction, rounded once."""
        return self.architecture == "aarch64" or self.has("fma")

    @property
    def halves_vectors(self) -> bool:
        """Whether the longest vectors take twice as long as those of half their length."""
        return self.vector_bytes == 64 and self.cpu == "znver4"

    def lanes(self, element_bytes: int) -> int:
        """How many elements of a size one vector register holds."""
        return self.vector_bytes // element_bytes


def default_threads() -> int:
    """How many threads compute: `TAHR_NUM_THREADS`, or as many as there are processors for this process."""
    text = os.environ.get("TAHR_NUM_THREADS", "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"TAHR_NUM_THREADS={text}: expected a positive number")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    quota = _quota()
    return processors if quota >= processors else max(1, math.ceil(quota))


def _text(*path: str | os.PathLike[str]) -> str:
    """What a file of the system says."""
    # `pathlib` imports `urllib`, which `import tahr` must not wait for.
    with open(os.path.join(*path), encoding="ascii") as file:
        return file.read().strip()


def _quota() -> float:
    """The processor time that a container grants per time, or infinity: more threads than that stop each other."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = _text(_CONTROL_GROUP, "cpu.max").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota = int(_text(_CONTROL_GROUP, "cpu/cpu.cfs_quota_us"))
        period = int(_text(_CONTROL_GROUP, "cpu/cpu.cfs_period_us"))
        return quota / period if quota > 0 else math.inf
    return math.inf


# What every x86-64 processor has.
BASELINE = Target("x86_64-unknown-linux-gnu", "x86-64", "", vector_bytes=16, vector_registers=16)
AARCH64 = Target("aarch64-unknown-linux-gnu", "generic", "+neon", vector_bytes=16, vector_registers=32)


def current() -> Target:
    """The processor to compile for: this machine's, unless `TAHR_TARGET=baseline` or `using` say otherwise."""
    return _replaced[-1] if _replaced else _from_environment(os.environ.get("TAHR_TARGET", ""))


_replaced: list[Target] = []


@contextmanager
def using(target: Target) -> Generator[None]:
    """Compiles for another processor as long as the context manager is open; for tests."""
    _replaced.append(target)
    try:
        yield
    finally:
        _replaced.pop()


@once
def _from_environment(name: str) -> Target:
    if name in ("", "host"):
        return host()
    if name != "baseline":
        raise ValueError(f"TAHR_TARGET={name}: expected host or baseline")
    if host().architecture != BASELINE.architecture:
        raise ValueError(f"TAHR_TARGET=baseline: this machine is {host().architecture}, not x86_64")
    return Target(
        host().triple, "x86-64", "", vector_bytes=16, vector_registers=16, l1=host().l1, l2=host().l2
    )


@once
def host() -> Target:
    """This machine's processor."""
    features = llvm.features()
    has = set(features.split(","))
    if "+avx512f" in has:
        vector_bytes, registers = 64, 32
    elif "+avx" in has:
        vector_bytes, registers = 32, 16
    else:
        vector_bytes, registers = 16, 32 if platform.machine().lower() in ("arm64", "aarch64") else 16
    return Target(
        triple=llvm.triple(),
        cpu=llvm.cpu(),
        features=features,
        vector_bytes=vector_bytes,
        vector_registers=registers,
        l1=_cache_bytes(1, L1_BYTES),
        l2=_cache_bytes(2, L2_BYTES),
    )


def _cache_bytes(level: int, otherwise: int) -> int:
    """The size of a core's data cache at a level, as Linux tells it."""
    try:
        for index in sorted(name for name in os.listdir(_CACHES) if name.startswith("index")):
            kind = _text(_CACHES, index, "type")
            if int(_text(_CACHES, index, "level")) == level and kind in ("Data", "Unified"):
                text = _text(_CACHES, index, "size")
                return int(text[:-1]) * _UNITS[text[-1]] if text[-1] in _UNITS else int(text)
    except (OSError, ValueError):
        pass  # another system, or a container that hides it
    return otherwise
