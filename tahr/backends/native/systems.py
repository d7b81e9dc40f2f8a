"""What differs between operating systems and processors: threads, clocks, the mode of floating-point numbers."""

from __future__ import annotations

from dataclasses import dataclass

from tahr.backends.native import ir
from tahr.backends.native.target import Target


@dataclass(frozen=True)
class System:
    """What differs between operating systems and processors."""

    target: Target

    @property
    def darwin(self) -> bool:
        """Whether it is one of Apple's."""
        return any(name in self.target.triple for name in ("darwin", "macos"))

    @property
    def threads(self) -> bool:
        """Whether there are POSIX threads; without them every step runs on its caller."""
        return "windows" not in self.target.triple

    @property
    def pause(self) -> str:
        """The instruction for a turn of a loop that waits."""
        if self.target.architecture == "x86_64":
            return "call void @llvm.x86.sse2.pause()"
        if self.target.architecture == "aarch64":
            return "call void @llvm.aarch64.hint(i32 1)"
        return "fence acquire"

    @property
    def monotonic(self) -> int:
        """CLOCK_MONOTONIC."""
        return 6 if self.darwin else 1

    @property
    def set_mask(self) -> int:
        """SIG_SETMASK."""
        return 3 if self.darwin else 2


def float_mode(system: System) -> str:
    """The calling thread's floating-point mode."""
    f = ir.Function("float_mode", [], ir.I64, "alwaysinline", "internal")
    if system.target.architecture == "x86_64":
        slot = f.variable(ir.I32)
        f.do(f"call void @llvm.x86.sse.stmxcsr(ptr {slot})")
        mode = f.value(f"zext i32 {f.load(ir.I32, slot)} to i64")
    elif system.target.architecture == "aarch64":
        mode = f.value("call i64 @llvm.aarch64.get.fpcr()")
    else:
        mode = "0"
    return f.finish(f"i64 {mode}")


# All exceptions masked, rounding to nearest; flush-to-zero and denormals-are-zero, because Adam's moments of dead units
# decay into denormals, which some processors handle a hundred times slower.
_FAST_MODE = {"x86_64": 0x9FC0, "aarch64": 1 << 24}


def set_float_mode(system: System) -> str:
    """Changes the calling thread's floating-point mode."""
    f = ir.Function("set_float_mode", [(ir.I64, "mode")], "void", "alwaysinline", "internal")
    if system.target.architecture == "x86_64":
        slot = f.variable(ir.I32)
        f.store(ir.I32, f.value("trunc i64 %mode to i32"), slot)
        f.do(f"call void @llvm.x86.sse.ldmxcsr(ptr {slot})")
    elif system.target.architecture == "aarch64":
        f.do("call void @llvm.aarch64.set.fpcr(i64 %mode)")
    return f.finish()


def set_fast_mode(f: ir.Function, system: System) -> None:
    """Denormals count as zero from here on."""
    mode = _FAST_MODE.get(system.target.architecture, 0)
    f.do(f"call void @set_float_mode(i64 {mode})")


def now(system: System) -> str:
    """Nanoseconds of the monotonic clock."""
    f = ir.Function("now", [], ir.I64, linkage="internal")
    time = f.variable("[2 x i64]")
    f.do(f"call i32 @clock_gettime(i32 {system.monotonic}, ptr {time})")
    seconds, rest = (f.load(ir.I64, f.at(ir.I8, time, offset)) for offset in (0, 8))
    return f.finish(f"i64 {f.add(f.mul(seconds, 1_000_000_000), rest)}")
