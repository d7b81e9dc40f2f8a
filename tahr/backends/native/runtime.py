"""The native loop that walks through a plan's steps, and the pool of threads that shares a step's tiles.

Both are written in LLVM IR, so that users need no C compiler. A plan is data: an array of step records (`STEP`) which
`run_steps` goes through in order. A run brings a table of buffer addresses; its first buffer is always the run's
status block (`STATUS`), through which kernels report errors.

How a step's tiles are shared out: the calling thread opens a *job*, draws tiles until there are none, closes the job,
and waits for those who joined it. Other threads join while it is open; one that is late, because it slept or had no
processor, misses the job and nobody waits for it. Each thread has a part of the tiles, from which it draws first, and
then from those of others: so it meets the same part of a matrix again when the step is repeated, as in the loops of
recurrent nets, and finds it in its own cache. Job and joiners are one atomic word, `STATE`:

    bits 0-15: threads at work on the job, without the caller;  bit 16: open;  from bit 17: the job's number

Threads look for the next job for `SPIN` nanoseconds, then sleep on a condition variable. They never enter Python, so
they neither need its lock nor hold up its end. One caller at a time has the pool; others run their steps alone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tahr import errors
from tahr.backends.native import engine as engines, ir
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.backends.native.once import once
from tahr.backends.native.target import Target, default_threads

# ---------------------------------------------------------------- what Python and native code share

STEP = np.dtype(
    [
        ("kernel", np.uint64),  # its address
        ("indices", np.uint64),  # address of int32: which buffers of the run's table it is given
        ("buffers", np.int64),  # how many those are
        ("sizes", np.uint64),  # address of the kernel's sizes
        ("tiles", np.int64),
        ("work", np.int64),  # about how many nanoseconds it takes one thread; decides how many share it
        ("samples", np.int64),  # how often that was measured
        ("scratch", np.int64),  # bytes that each thread needs
        ("chunk", np.int64),  # tiles that a thread takes at a time; 0: as the runtime sees fit
        (
            "jumps",
            np.int64,
        ),  # 0, or 1 for no kernel but a jump: see `Jump`; its only size is the step that follows
    ]
)
STATUS = np.dtype(
    [
        ("code", np.int64),  # 0, or what a kernel reported
        ("detail", np.int64),  # the kernel's to use
        ("step", np.int64),  # which step reported
        ("threads", np.int64),  # at most so many, 0: as many as the pool likes
        (
            "stamps",
            np.uint64,
        ),  # 0, or the address of int64: nanoseconds when each step began, and when the last ended
        ("scratch", np.uint64),  # the calling thread's scratch, aligned to 64 bytes
        ("gathered", np.uint64),  # room for the buffer addresses of one step
        ("resume", np.int64),  # with which step to begin
    ]
)
# The codes that the runtime itself reports; kernels use codes of tahr.errors. PAUSED: it is to be called again.
OK = 0
PAUSED = -1

# Fields of the pool, in bytes. What different threads write lies on different cache lines.
THREADS, STARTED, MOST, SPIN = 0, 8, 16, 24
BUSY, SINCE, LAST = 64, 72, 80  # SINCE, LAST: when steps found threads asleep, the first and the last time
STATE, WORKERS = 128, 136
JOB_KERNEL, JOB_BUFFERS, JOB_SIZES, JOB_TILES, JOB_FIRST, JOB_CHUNK, JOB_SCRATCH, JOB_PARTS = range(
    192, 256, 8
)
SLEEPERS, MUTEX, CONDITION = 256, 384, 512  # 128 bytes each are enough for any system's mutex and condition
NEXT, NEXT_STRIDE = 640, 64  # for each part of the job's tiles the next one

OPEN = 1 << 16
ACTIVE = OPEN - 1
NUMBER_SHIFT = 17

MOST_WORKERS = 255
POOL_BYTES = NEXT + NEXT_STRIDE * (MOST_WORKERS + 1)
# Long enough to bridge what Python does between two steps of training, short enough to leave the processor to others.
SPIN_NANOSECONDS = 50_000
# Looks at the clock (20 ns) are this many pauses apart.
PAUSES = 32
# A caller that waited so many pauses for its joiners lets other threads have its processor in between.
PATIENCE = 1000
# Less work than this, in nanoseconds, is not worth another thread: fork and join take 200 to 300.
SHARE_ABOVE = 1500
# Waking a sleeping thread takes its waker 10 us: it is done for a step of more work than this, and where steps worth
# sharing have come one after the other for so long.
WAKE_ABOVE = 20_000
# How much work a step is: an eighth of its tiles is timed in so many runs, of which the fastest counts.
SAMPLES = 4
SAMPLED_PART = 8
# A run that jumps back returns to Python this often, where it may be cancelled or interrupted.
PAUSE_NANOSECONDS = 50_000_000
# Each thread draws about so many times from a step's tiles: less is uneven, more costs atomic additions.
DRAWS = 4
# Of functions that run seldom, or wait: LLVM makes code of them with little effort.
COLD = "noinline optnone"


# ---------------------------------------------------------------- the native code


@dataclass(frozen=True)
class _System:
    """What differs between operating systems and processors."""

    target: Target

    @property
    def darwin(self) -> bool:
        return any(name in self.target.triple for name in ("darwin", "macos"))

    @property
    def threads(self) -> bool:
        """Whether there are POSIX threads; without them every step runs on its caller."""
        return "windows" not in self.target.triple

    @property
    def pause(self) -> str:
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


DECLARATIONS = (
    "declare i32 @clock_gettime(i32, ptr)",
    "declare i32 @sched_yield()",
    "declare i32 @pthread_create(ptr, ptr, ptr, ptr)",
    "declare i32 @pthread_detach(ptr)",
    "declare i32 @pthread_sigmask(i32, ptr, ptr)",
    "declare i32 @pthread_mutex_init(ptr, ptr)",
    "declare i32 @pthread_mutex_lock(ptr)",
    "declare i32 @pthread_mutex_unlock(ptr)",
    "declare i32 @pthread_cond_init(ptr, ptr)",
    "declare i32 @pthread_cond_wait(ptr, ptr)",
    "declare i32 @pthread_cond_broadcast(ptr)",
    "declare i32 @posix_memalign(ptr, i64, i64)",
    "declare void @free(ptr)",
)


def text(target: Target) -> str:
    """The runtime's module."""
    system = _System(target)
    functions = [_float_mode(system), _set_float_mode(system), _run_steps(system)]
    if system.threads:
        functions += [
            _now(system),
            _draw(),
            _measure(),
            _deal(),
            _share(system),
            _start(system),
            _worker(system),
            _scratch_of(),
            _reset(),
        ]
    pool = f"@tahr_pool = global [{POOL_BYTES} x i8] zeroinitializer, align 64"
    return AS_WRITTEN + ir.module(functions, (pool, *(DECLARATIONS if system.threads else ())))


def _field(f: ir.Function, base: str, offset: int) -> str:
    return f.at(ir.I8, base, offset)


def _get(f: ir.Function, kind: str, base: str, offset: int) -> str:
    return f.load(kind, _field(f, base, offset))


def _put(f: ir.Function, kind: str, value: str | int, base: str, offset: int) -> None:
    f.store(kind, str(value), _field(f, base, offset))


def _atomic_get(f: ir.Function, base: str, offset: int, order: str = "acquire") -> str:
    return f.value(f"load atomic i64, ptr {_field(f, base, offset)} {order}, align 8")


def _atomic_put(f: ir.Function, value: str | int, base: str, offset: int, order: str = "release") -> None:
    f.do(f"store atomic i64 {value}, ptr {_field(f, base, offset)} {order}, align 8")


def _atomic(f: ir.Function, what: str, base: str, offset: int, value: str | int, order: str) -> str:
    return f.value(f"atomicrmw {what} ptr {_field(f, base, offset)}, i64 {value} {order}")


def _offset(record: np.dtype[Any], name: str) -> int:
    fields: Any = record.fields
    return fields[name][1]


def _branch(f: ir.Function, condition: str, yes: str, no: str) -> None:
    f.do(f"br i1 {condition}, label %{yes}, label %{no}")


def _float_mode(system: _System) -> str:
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


def _set_float_mode(system: _System) -> str:
    """Changes the calling thread's floating-point mode."""
    f = ir.Function("set_float_mode", [(ir.I64, "mode")], "void", "alwaysinline", "internal")
    if system.target.architecture == "x86_64":
        slot = f.variable(ir.I32)
        f.store(ir.I32, f.value("trunc i64 %mode to i32"), slot)
        f.do(f"call void @llvm.x86.sse.ldmxcsr(ptr {slot})")
    elif system.target.architecture == "aarch64":
        f.do("call void @llvm.aarch64.set.fpcr(i64 %mode)")
    return f.finish()


def _fast_mode(f: ir.Function, system: _System) -> None:
    mode = _FAST_MODE.get(system.target.architecture, 0)
    f.do(f"call void @set_float_mode(i64 {mode})")


def _now(system: _System) -> str:
    """Nanoseconds of the monotonic clock."""
    f = ir.Function("now", [], ir.I64, linkage="internal")
    time = f.variable("[2 x i64]")
    f.do(f"call i32 @clock_gettime(i32 {system.monotonic}, ptr {time})")
    seconds, rest = _get(f, ir.I64, time, 0), _get(f, ir.I64, time, 8)
    return f.finish(f"i64 {f.add(f.mul(seconds, 1_000_000_000), rest)}")


_CALL = [(ir.POINTER, "kernel"), (ir.POINTER, "buffers"), (ir.POINTER, "sizes"), (ir.I64, "tiles")]


def _draw() -> str:
    """Draws tiles of the open job and computes them until there are none: those of one part, then of the next."""
    arguments = [
        (ir.POINTER, "pool"),
        *_CALL,
        (ir.I64, "first"),
        (ir.I64, "chunk"),
        (ir.I64, "parts"),
        (ir.I64, "mine"),
        (ir.POINTER, "scratch"),
    ]
    f = ir.Function("draw", arguments, linkage="internal")
    with f.loop(0, "%parts", hint="part") as i:
        part = f.rem(f.add("%mine", i), "%parts")
        end = _part(f, f.add(part, 1))
        next_ = f.at(ir.I8, _field(f, "%pool", NEXT), f.mul(part, NEXT_STRIDE))
        again, work, done = f.label("again"), f.label("work"), f.label("done")
        f.jump(again)
        f.open(again)
        begin = f.value(f"atomicrmw add ptr {next_}, i64 %chunk monotonic")
        _branch(f, f.value(f"icmp slt i64 {begin}, {end}"), work, done)
        f.open(work)
        last = f.minimum(f.add(begin, "%chunk"), end)
        f.do(f"call void %kernel(ptr %buffers, ptr %sizes, i64 {begin}, i64 {last}, ptr %scratch)")
        f.jump(again)
        f.open(done)
    return f.finish()


def _part(f: ir.Function, number: str) -> str:
    """The first tile of a part."""
    return f.add("%first", f.div(f.mul(f.sub("%tiles", "%first"), number), "%parts"))


def _share(system: _System) -> str:
    """Runs the tiles from `first` on up to `threads` threads: this one, and those of the pool that come in time."""
    arguments = [
        (ir.POINTER, "pool"),
        (ir.I64, "threads"),
        *_CALL,
        (ir.I64, "first"),
        (ir.I64, "asked"),
        (ir.I64, "need"),
        (ir.POINTER, "scratch"),
        (ir.I64, "work"),
    ]
    f = ir.Function("share", arguments, attributes="noinline", linkage="internal")
    alone, ours, start, ready, wake, draw = (
        f.label(name) for name in ("alone", "ours", "start", "ready", "wake", "draw")
    )
    other = _atomic(f, "xchg", "%pool", BUSY, 1, "acquire")
    _branch(f, f.value(f"icmp ne i64 {other}, 0"), alone, ours)
    f.open(alone)
    f.do("call void %kernel(ptr %buffers, ptr %sizes, i64 %first, i64 %tiles, ptr %scratch)")
    f.do("ret void")

    f.open(ours)
    helpers = f.sub(f.minimum("%threads", f.sub("%tiles", "%first")), 1)
    started = _get(f, ir.I64, "%pool", STARTED)
    wanted = f.minimum(helpers, _get(f, ir.I64, "%pool", MOST))
    _branch(f, f.value(f"icmp slt i64 {started}, {wanted}"), start, ready)
    f.open(start)
    f.do(f"call void @start(ptr %pool, i64 {wanted})")
    f.jump(ready)
    f.open(ready)

    few = f.maximum(f.div("%tiles", f.mul("%threads", DRAWS)), 1)
    chunk = f.value(f"select i1 {f.value('icmp sgt i64 %asked, 0')}, i64 %asked, i64 {few}")
    _put(f, ir.POINTER, "%kernel", "%pool", JOB_KERNEL)
    _put(f, ir.POINTER, "%buffers", "%pool", JOB_BUFFERS)
    _put(f, ir.POINTER, "%sizes", "%pool", JOB_SIZES)
    _put(f, ir.I64, "%tiles", "%pool", JOB_TILES)
    _put(f, ir.I64, chunk, "%pool", JOB_CHUNK)
    _put(f, ir.I64, "%need", "%pool", JOB_SCRATCH)
    _put(f, ir.I64, "%first", "%pool", JOB_FIRST)
    parts = f.add(f.minimum(helpers, _get(f, ir.I64, "%pool", MOST)), 1)
    _atomic_put(f, parts, "%pool", JOB_PARTS, "monotonic")
    f.do(f"call void @deal(ptr %pool, i64 %first, i64 %tiles, i64 {parts})")
    # Open the job, then look for sleepers; they announce themselves, then look for jobs. In this order on both
    # sides, and sequentially consistent, no job is missed by everyone.
    last = _atomic_get(f, "%pool", STATE, "monotonic")
    number = f.add(f.value(f"lshr i64 {last}, {NUMBER_SHIFT}"), 1)
    opened = f.value(f"or i64 {f.value(f'shl i64 {number}, {NUMBER_SHIFT}')}, {OPEN}")
    _atomic_put(f, opened, "%pool", STATE, "seq_cst")
    sleepers = _atomic_get(f, "%pool", SLEEPERS, "seq_cst")
    sleeping = f.label("sleeping")
    _branch(f, f.value(f"icmp eq i64 {sleepers}, 0"), draw, sleeping)
    f.open(sleeping)
    now = f.value("call i64 @now()")
    pause = f.sub(now, _get(f, ir.I64, "%pool", LAST))
    paused = f.value(f"icmp sgt i64 {pause}, {_get(f, ir.I64, '%pool', SPIN)}")
    since = f.value(f"select i1 {paused}, i64 {now}, i64 {_get(f, ir.I64, '%pool', SINCE)}")
    _put(f, ir.I64, since, "%pool", SINCE)
    _put(f, ir.I64, f.add(now, "%work"), "%pool", LAST)
    weight = f.maximum("%work", f.sub(now, since))
    _branch(f, f.value(f"icmp sgt i64 {weight}, {WAKE_ABOVE}"), wake, draw)
    f.open(wake)
    mutex, condition = _field(f, "%pool", MUTEX), _field(f, "%pool", CONDITION)
    f.do(f"call i32 @pthread_mutex_lock(ptr {mutex})")
    f.do(f"call i32 @pthread_cond_broadcast(ptr {condition})")
    f.do(f"call i32 @pthread_mutex_unlock(ptr {mutex})")
    f.jump(draw)

    f.open(draw)
    f.do(
        f"call void @draw(ptr %pool, ptr %kernel, ptr %buffers, ptr %sizes, i64 %tiles, i64 %first, i64 {chunk}, "
        f"i64 {parts}, i64 0, ptr %scratch)"
    )

    _atomic(f, "and", "%pool", STATE, ~OPEN, "acq_rel")
    waited = f.variable(ir.I64, "0")
    wait, more, yield_, pause, done = (f.label(name) for name in ("wait", "more", "yield", "pause", "done"))
    f.jump(wait)
    f.open(wait)
    active = f.value(f"and i64 {_atomic_get(f, '%pool', STATE)}, {ACTIVE}")
    _branch(f, f.value(f"icmp eq i64 {active}, 0"), done, more)
    f.open(more)
    count = f.add(f.load(ir.I64, waited), 1)
    f.store(ir.I64, count, waited)
    _branch(f, f.value(f"icmp sgt i64 {count}, {PATIENCE}"), yield_, pause)
    f.open(yield_)
    f.do("call i32 @sched_yield()")
    f.jump(wait)
    f.open(pause)
    f.do(system.pause)
    f.jump(wait)
    f.open(done)
    _atomic_put(f, 0, "%pool", BUSY)
    return f.finish()


def _deal() -> str:
    """Says which tile of each part is the next."""
    arguments = [(ir.POINTER, "pool"), (ir.I64, "first"), (ir.I64, "tiles"), (ir.I64, "parts")]
    f = ir.Function("deal", arguments, attributes="alwaysinline", linkage="internal")
    with f.loop(0, "%parts", hint="part") as i:
        next_ = f.at(ir.I8, _field(f, "%pool", NEXT), f.mul(i, NEXT_STRIDE))
        f.do(f"store atomic i64 {_part(f, i)}, ptr {next_} monotonic, align 8")
    return f.finish()


def _measure() -> str:
    """Computes a step's first tiles and notes what that says of the step's work."""
    arguments = [(ir.POINTER, "record"), *_CALL, (ir.I64, "sample"), (ir.POINTER, "scratch")]
    f = ir.Function("measure", arguments, attributes="noinline", linkage="internal")
    begun = f.value("call i64 @now()")
    f.do("call void %kernel(ptr %buffers, ptr %sizes, i64 0, i64 %sample, ptr %scratch)")
    work = f.div(f.mul(f.sub(f.value("call i64 @now()"), begun), "%tiles"), "%sample")
    samples = _get(f, ir.I64, "%record", _offset(STEP, "samples"))
    fastest = f.minimum(work, _get(f, ir.I64, "%record", _offset(STEP, "work")))
    is_first = f.value(f"icmp eq i64 {samples}, 0")
    known = f.value(f"select i1 {is_first}, i64 {work}, i64 {fastest}")
    _put(f, ir.I64, known, "%record", _offset(STEP, "work"))
    _put(f, ir.I64, f.add(samples, 1), "%record", _offset(STEP, "samples"))
    return f.finish()


def _start(system: _System) -> str:
    """Starts threads until the pool has as many as wanted; where the system refuses one, it is not asked again."""
    f = ir.Function("start", [(ir.POINTER, "pool"), (ir.I64, "wanted")], attributes=COLD, linkage="internal")
    # Signals are for Python's main thread; new threads inherit the mask.
    everything, before, thread = f.variable("[128 x i8]"), f.variable("[128 x i8]"), f.variable(ir.POINTER)
    f.do(f"call void @llvm.memset.p0.i64(ptr {everything}, i8 -1, i64 128, i1 false)")
    f.do(f"call i32 @pthread_sigmask(i32 {system.set_mask}, ptr {everything}, ptr {before})")
    check, create, failed, created, done = (
        f.label(name) for name in ("check", "create", "failed", "created", "done")
    )
    f.jump(check)
    f.open(check)
    started = _get(f, ir.I64, "%pool", STARTED)
    _branch(f, f.value(f"icmp slt i64 {started}, %wanted"), create, done)
    f.open(create)
    error = f.value(f"call i32 @pthread_create(ptr {thread}, ptr null, ptr @worker, ptr %pool)")
    _branch(f, f.value(f"icmp eq i32 {error}, 0"), created, failed)
    f.open(failed)
    _put(f, ir.I64, started, "%pool", MOST)
    f.jump(done)
    f.open(created)
    f.do(f"call i32 @pthread_detach(ptr {f.load(ir.POINTER, thread)})")
    _put(f, ir.I64, f.add(started, 1), "%pool", STARTED)
    f.jump(check)
    f.open(done)
    f.do(f"call i32 @pthread_sigmask(i32 {system.set_mask}, ptr {before}, ptr null)")
    return f.finish()


def _is_new(f: ir.Function, state: str, seen: str) -> str:
    """Whether a state shows an open job that this thread has not looked at."""
    number = f.value(f"lshr i64 {state}, {NUMBER_SHIFT}")
    opened = f.value(f"icmp ne i64 {f.value(f'and i64 {state}, {OPEN}')}, 0")
    return f.value(f"and i1 {opened}, {f.value(f'icmp ne i64 {number}, {seen}')}")


def _worker(system: _System) -> str:
    """A thread of the pool: waits for a job, joins it, draws its tiles; without end."""
    f = ir.Function("worker", [(ir.POINTER, "pool")], ir.POINTER, COLD, "internal")
    idle, look, pause, clock, sleep, wait, awake, join, enter, work, compute, leave = (
        f.label(name)
        for name in (
            "idle",
            "look",
            "pause",
            "clock",
            "sleep",
            "wait",
            "awake",
            "join",
            "enter",
            "work",
            "compute",
            "leave",
        )
    )
    mutex, condition = _field(f, "%pool", MUTEX), _field(f, "%pool", CONDITION)
    seen, pauses = f.variable(ir.I64, "0"), f.variable(ir.I64, "0")
    scratch, has = f.variable(ir.POINTER, "null"), f.variable(ir.I64, "0")
    begun = f.variable(ir.I64, "0")
    _fast_mode(f, system)
    me = f.add(_atomic(f, "add", "%pool", WORKERS, 1, "monotonic"), 1)
    f.jump(idle)

    f.open(idle)
    f.store(ir.I64, f.value("call i64 @now()"), begun)
    f.jump(look)
    f.open(look)
    state = _atomic_get(f, "%pool", STATE)
    _branch(f, _is_new(f, state, f.load(ir.I64, seen)), join, pause)
    f.open(pause)
    f.do(system.pause)
    count = f.add(f.load(ir.I64, pauses), 1)
    f.store(ir.I64, count, pauses)
    _branch(f, f.value(f"icmp eq i64 {f.rem(count, PAUSES)}, 0"), clock, look)
    f.open(clock)
    spun = f.sub(f.value("call i64 @now()"), f.load(ir.I64, begun))
    _branch(f, f.value(f"icmp sgt i64 {spun}, {_get(f, ir.I64, '%pool', SPIN)}"), sleep, look)

    f.open(sleep)
    f.do(f"call i32 @pthread_mutex_lock(ptr {mutex})")
    _atomic(f, "add", "%pool", SLEEPERS, 1, "seq_cst")
    f.jump(wait)
    f.open(wait)
    state = _atomic_get(f, "%pool", STATE, "seq_cst")
    dream = f.label("dream")
    _branch(f, _is_new(f, state, f.load(ir.I64, seen)), awake, dream)
    f.open(dream)
    f.do(f"call i32 @pthread_cond_wait(ptr {condition}, ptr {mutex})")
    f.jump(wait)
    f.open(awake)
    _atomic(f, "sub", "%pool", SLEEPERS, 1, "seq_cst")
    f.do(f"call i32 @pthread_mutex_unlock(ptr {mutex})")
    f.jump(join)

    f.open(join)
    state = _atomic_get(f, "%pool", STATE)
    _branch(f, _is_new(f, state, f.load(ir.I64, seen)), enter, idle)
    f.open(enter)
    # Read before joining, it may already be the next job's: then the state has changed and the exchange fails.
    parts = _atomic_get(f, "%pool", JOB_PARTS, "monotonic")
    active = f.value(f"and i64 {state}, {ACTIVE}")
    number = f.value(f"lshr i64 {state}, {NUMBER_SHIFT}")
    full = f.label("full")
    attempt = f.label("attempt")
    _branch(f, f.value(f"icmp slt i64 {f.add(active, 1)}, {parts}"), attempt, full)
    f.open(full)
    f.store(ir.I64, number, seen)
    f.jump(idle)
    f.open(attempt)
    joined = f.value(
        f"cmpxchg ptr {_field(f, '%pool', STATE)}, i64 {state}, i64 {f.add(state, 1)} acq_rel monotonic"
    )
    _branch(f, f.value(f"extractvalue {{ i64, i1 }} {joined}, 1"), work, join)

    f.open(work)
    f.store(ir.I64, number, seen)
    enough = f.value(f"call i1 @scratch_of(ptr %pool, ptr {scratch}, ptr {has})")
    _branch(f, enough, compute, leave)
    f.open(compute)
    job = [
        f"{kind} {_get(f, kind, '%pool', offset)}"
        for kind, offset in (
            (ir.POINTER, JOB_KERNEL),
            (ir.POINTER, JOB_BUFFERS),
            (ir.POINTER, JOB_SIZES),
            (ir.I64, JOB_TILES),
            (ir.I64, JOB_FIRST),
            (ir.I64, JOB_CHUNK),
        )
    ]
    mine = f"i64 {parts}, i64 {f.rem(me, parts)}"
    f.do(f"call void @draw(ptr %pool, {', '.join(job)}, {mine}, ptr {f.load(ir.POINTER, scratch)})")
    f.jump(leave)
    f.open(leave)
    _atomic(f, "sub", "%pool", STATE, 1, "release")
    f.jump(idle)

    f.open(f.label("never"))
    return f.finish("ptr null")


def _scratch_of() -> str:
    """Makes a thread's scratch large enough for the job; false where there is no memory."""
    arguments = [(ir.POINTER, "pool"), (ir.POINTER, "scratch"), (ir.POINTER, "has")]
    f = ir.Function("scratch_of", arguments, ir.I1, COLD, "internal")
    grow, small = f.label("grow"), f.label("small")
    need = _get(f, ir.I64, "%pool", JOB_SCRATCH)
    _branch(f, f.value(f"icmp sgt i64 {need}, {f.load(ir.I64, '%has')}"), grow, small)
    f.open(small)
    f.do("ret i1 true")
    f.open(grow)
    f.do(f"call void @free(ptr {f.load(ir.POINTER, '%scratch')})")
    f.store(ir.POINTER, "null", "%scratch")
    error = f.value(f"call i32 @posix_memalign(ptr %scratch, i64 64, i64 {need})")
    success = f.value(f"icmp eq i32 {error}, 0")
    f.store(ir.I64, f.value(f"select i1 {success}, i64 {need}, i64 0"), "%has")
    return f.finish(f"i1 {success}")


def _reset() -> str:
    """Makes the pool one without threads: when it is new, and in a child process, where only the caller lives on."""
    f = ir.Function("tahr_reset", [], attributes=COLD)
    pool = "@tahr_pool"
    for field in (STARTED, WORKERS, BUSY, STATE, SLEEPERS):
        _put(f, ir.I64, 0, pool, field)
    _put(f, ir.I64, MOST_WORKERS, pool, MOST)
    for field in (MUTEX, CONDITION):
        f.do(f"call void @llvm.memset.p0.i64(ptr {_field(f, pool, field)}, i8 0, i64 128, i1 false)")
    f.do(f"call i32 @pthread_mutex_init(ptr {_field(f, pool, MUTEX)}, ptr null)")
    f.do(f"call i32 @pthread_cond_init(ptr {_field(f, pool, CONDITION)}, ptr null)")
    return f.finish()


def _run_steps(system: _System) -> str:
    """Walks through steps; gives the status code.

    Where stamps are asked for, each step's are as far apart as it took in all, should it run several times.
    """
    arguments = [(ir.POINTER, "steps"), (ir.I64, "count"), (ir.POINTER, "buffers"), (ir.POINTER, "pool")]
    f = ir.Function("tahr_run_steps", arguments, ir.I64)

    def status_field(name: str, kind: str) -> str:
        return _get(f, kind, status, _offset(STATUS, name))

    status = f.load(ir.POINTER, "%buffers")
    _put(f, ir.I64, OK, status, _offset(STATUS, "code"))
    stamps, scratch = status_field("stamps", ir.POINTER), status_field("scratch", ir.POINTER)
    gathered = status_field("gathered", ir.POINTER)
    asked = status_field("threads", ir.I64)
    usual = _get(f, ir.I64, "%pool", THREADS)
    limit = f.value(f"select i1 {f.value(f'icmp eq i64 {asked}, 0')}, i64 {usual}, i64 {asked}")
    mode = f.value("call i64 @float_mode()")
    _fast_mode(f, system)
    timed = f.value(f"icmp ne ptr {stamps}, null")
    finish = f.label("finish")
    place = f.variable(ir.I64, status_field("resume", ir.I64), hint="place")
    begun, entered = f.variable(ir.I64, "0", hint="begun"), f.variable(ir.I64, "0", hint="entered")

    def enter() -> None:
        """Notes when a step begins."""
        if system.threads:
            with f.when(timed):
                f.store(ir.I64, f.value("call i64 @now()"), entered)

    def leave(step: str) -> None:
        """Adds the time of a step that ends."""
        if system.threads:
            with f.when(timed):
                spent = f.at(ir.I64, stamps, f.add(step, 1))
                taken = f.sub(f.value("call i64 @now()"), f.load(ir.I64, entered))
                f.store(ir.I64, f.add(f.load(ir.I64, spent), taken), spent)

    head, body, done = f.label("head"), f.label("body"), f.label("done")
    with f.when(f.value(f"and i1 {timed}, {f.value(f'icmp eq i64 {f.load(ir.I64, place)}, 0')}")):
        size = f.mul(f.add("%count", 1), 8)
        f.do(f"call void @llvm.memset.p0.i64(ptr {stamps}, i8 0, i64 {size}, i1 false)")
    _put(f, ir.I64, 0, status, _offset(STATUS, "resume"))
    f.jump(head)
    f.open(head)
    step = f.load(ir.I64, place)
    _branch(f, f.value(f"icmp slt i64 {step}, %count"), body, done)
    f.open(body)
    enter()
    record = f.value(f"getelementptr inbounds [{STEP.itemsize} x i8], ptr %steps, i64 {step}")

    def field(name: str, kind: str) -> str:
        return _get(f, kind, record, _offset(STEP, name))

    indices = field("indices", ir.POINTER)
    with f.loop(0, field("buffers", ir.I64), hint="buffer") as i:
        index = f.value(f"sext i32 {f.load(ir.I32, f.at(ir.I32, indices, i))} to i64")
        address = f.load(ir.POINTER, f.at(ir.POINTER, "%buffers", index))
        f.store(ir.POINTER, address, f.at(ir.POINTER, gathered, i))
    function, sizes, tiles = (
        field("kernel", ir.POINTER),
        field("sizes", ir.POINTER),
        field("tiles", ir.I64),
    )
    jump, compute = f.label("jump"), f.label("compute")
    _branch(f, f.value(f"icmp ne i64 {field('jumps', ir.I64)}, 0"), jump, compute)
    f.open(jump)
    _jump(f, system, field("buffers", ir.I64), gathered, sizes, place, begun, (head, finish), status)
    f.open(compute)
    rest = f"{function}, ptr {gathered}, ptr {sizes}, i64 {tiles}"
    first = f.variable(ir.I64, hint="first")
    f.store(ir.I64, "0", first)
    if system.threads:
        shareable = f.value(f"icmp sgt i64 {f.minimum(tiles, limit)}, 1")
        unknown = f.value(f"icmp slt i64 {field('samples', ir.I64)}, {SAMPLES}")
        with f.when(f.value(f"and i1 {shareable}, {unknown}")):
            sample = f.maximum(f.div(tiles, SAMPLED_PART), 1)
            f.do(f"call void @measure(ptr {record}, ptr {rest}, i64 {sample}, ptr {scratch})")
            f.store(ir.I64, sample, first)
        work = field("work", ir.I64)
        threads = f.minimum(limit, f.div(work, SHARE_ABOVE))
        left = f.sub(tiles, f.load(ir.I64, first))
        with f.either(f.value(f"icmp sgt i64 {f.minimum(left, threads)}, 1")) as branches:
            f.do(
                f"call void @share(ptr %pool, i64 {threads}, ptr {rest}, i64 {f.load(ir.I64, first)}, "
                f"i64 {field('chunk', ir.I64)}, i64 {field('scratch', ir.I64)}, ptr {scratch}, "
                f"i64 {work})"
            )
            branches.otherwise()
            f.do(
                f"call void {function}(ptr {gathered}, ptr {sizes}, i64 {f.load(ir.I64, first)}, i64 {tiles}, "
                f"ptr {scratch})"
            )
    else:
        f.do(f"call void {function}(ptr {gathered}, ptr {sizes}, i64 0, i64 {tiles}, ptr {scratch})")
    leave(step)
    failed, following = f.label("failed"), f.label("following")
    code = status_field("code", ir.I64)
    _branch(f, f.value(f"icmp eq i64 {code}, {OK}"), following, failed)
    f.open(failed)
    _put(f, ir.I64, step, status, _offset(STATUS, "step"))
    f.jump(finish)
    f.open(following)
    f.store(ir.I64, f.add(step, 1), place)
    f.jump(head)
    f.open(done)
    with f.when(timed), f.loop(0, "%count", hint="stamp") as i:
        last, stamp = f.at(ir.I64, stamps, i), f.at(ir.I64, stamps, f.add(i, 1))
        f.store(ir.I64, f.add(f.load(ir.I64, last), f.load(ir.I64, stamp)), stamp)
    f.jump(finish)
    f.open(finish)
    f.do(f"call void @set_float_mode(i64 {mode})")
    return f.finish(f"i64 {status_field('code', ir.I64)}")


def _jump(
    f: ir.Function,
    system: _System,
    count: str,
    gathered: str,
    sizes: str,
    place: str,
    begun: str,
    leads_to: tuple[str, str],
    status: str,
) -> None:
    """Goes on at another step; a jump that leads back first looks whether the run is to pause.

    Args:
        count: how many buffers the step has: one where there is a condition.
        place: the variable that holds which step is next.
        begun: the variable that holds when the first such jump was, or 0.
        leads_to: the labels where the next step is run, and where the run ends.
    """
    head, finish = leads_to
    tested, free, back, taken, passed = (
        f.label(name) for name in ("tested", "free", "back", "taken", "passed")
    )
    target = f.load(ir.I64, sizes)
    _branch(f, f.value(f"icmp eq i64 {count}, 1"), tested, free)
    f.open(tested)
    holds = f.load(ir.I8, f.load(ir.POINTER, gathered))
    _branch(f, f.value(f"icmp eq i8 {holds}, 0"), taken, passed)
    f.open(passed)
    f.store(ir.I64, f.add(f.load(ir.I64, place), 1), place)
    f.jump(head)
    f.open(free)
    _branch(f, f.value(f"icmp sgt i64 {target}, {f.load(ir.I64, place)}"), taken, back)
    f.open(back)
    if system.threads:
        now, first, late, pause = (
            f.value("call i64 @now()"),
            f.label("first"),
            f.label("late"),
            f.label("pause"),
        )
        since = f.load(ir.I64, begun)
        _branch(f, f.value(f"icmp eq i64 {since}, 0"), first, late)
        f.open(first)
        f.store(ir.I64, now, begun)
        f.jump(taken)
        f.open(late)
        _branch(f, f.value(f"icmp sgt i64 {f.sub(now, since)}, {PAUSE_NANOSECONDS}"), pause, taken)
        f.open(pause)
        _put(f, ir.I64, target, status, _offset(STATUS, "resume"))
        _put(f, ir.I64, PAUSED, status, _offset(STATUS, "code"))
        f.jump(finish)
    else:
        f.jump(taken)
    f.open(taken)
    f.store(ir.I64, target, place)
    f.jump(head)


# ---------------------------------------------------------------- Python's side


TITLE = "runtime"


@once
def _announce() -> None:
    """Has the runtime compiled along with the first kernels."""
    engine = engines.engine()
    engine.announce(text(engine.target), TITLE)


class Runtime:
    """The runtime as it is loaded in this process; `runtime()` gives it.

    Attributes:
        run_steps: the address of the native loop.
        pool: the address of the pool, which native callers hand to it.
    """

    def __init__(self) -> None:
        engine = engines.engine()
        names = ["tahr_run_steps", "tahr_pool"]
        has_threads = _System(engine.target).threads
        if has_threads:
            names.append("tahr_reset")
        addresses = engine.load_module(text(engine.target), TITLE, names)
        self.run_steps: int = addresses["tahr_run_steps"]
        self.pool: int = addresses["tahr_pool"]
        if has_threads:
            reset = ctypes.CFUNCTYPE(None)(addresses["tahr_reset"])
            reset()
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=reset)
        ctypes.c_int64.from_address(self.pool + SPIN).value = SPIN_NANOSECONDS
        self.threads = min(default_threads(), MOST_WORKERS + 1)
        arguments = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        # The first lets other Python threads run meanwhile, which costs 0.1 us.
        self._releasing = ctypes.CFUNCTYPE(ctypes.c_int64, *arguments)(self.run_steps)
        self._holding = ctypes.PYFUNCTYPE(ctypes.c_int64, *arguments)(self.run_steps)

    @property
    def threads(self) -> int:
        """How many threads take part where a run does not say otherwise, the caller's included."""
        return ctypes.c_int64.from_address(self.pool + THREADS).value

    @threads.setter
    def threads(self, count: int) -> None:
        ctypes.c_int64.from_address(self.pool + THREADS).value = count

    @property
    def started(self) -> int:
        """How many threads the pool has started."""
        return ctypes.c_int64.from_address(self.pool + STARTED).value

    def run(self, steps: Steps, frame: Frame, release: bool = True) -> int:
        """Runs steps on a frame's buffers.

        Args:
            release: whether other Python threads may run meanwhile.

        Returns:
            The status code: 0, or what a kernel reported; `frame.status` has the rest.
        """
        call = self._releasing if release else self._holding
        return call(steps.address, len(steps), frame.address, self.pool)

    def time(self, steps: Steps, frame: Frame) -> np.ndarray[Any, Any]:
        """Runs steps and gives the nanoseconds that each took; 0 where the system has no clock for it.

        Raises:
            ValueError: a step reported an error.
        """
        stamps = np.zeros(len(steps) + 1, np.int64)
        frame.status["stamps"] = stamps.ctypes.data
        try:
            if code := self.run(steps, frame):
                raise ValueError(f"step {frame.status['step']} reported {code}")
        finally:
            frame.status["stamps"] = 0
        return np.diff(stamps)


@once
def runtime() -> Runtime:
    """The process's runtime."""
    return Runtime()


@dataclass(frozen=True)
class Step:
    """One call of a kernel.

    Attributes:
        kernel: what is called.
        buffers: which buffers of the run's table it is given; 0 is the status block.
        sizes: its sizes.
        tiles: how many tiles it has.
        work: about how many nanoseconds one thread takes for it; None: the runtime finds out.
        chunk: how many tiles a thread takes at a time; 0 leaves it to the runtime.
    """

    kernel: Kernel
    buffers: Sequence[int]
    sizes: Sequence[int]
    tiles: int
    work: int | None = None
    chunk: int = 0


@dataclass(frozen=True)
class Jump:
    """A step that computes nothing, but says which step follows.

    Attributes:
        target: that step's number.
        unless: the buffer of a bool that must be false for that; None where it is always so.
    """

    target: int
    unless: int | None = None

    @property
    def buffers(self) -> Sequence[int]:
        """The buffers of the step."""
        return () if self.unless is None else (self.unless,)

    @property
    def sizes(self) -> Sequence[int]:
        """The sizes of the step."""
        return (self.target,)


class Steps:
    """Steps in the form that native code reads.

    Attributes:
        records: the array of `STEP`; `tiles`, `work`, `samples` and `chunk` may be changed between runs.
        sizes: for each step a view of its sizes, which may be changed between runs.
        scratch: how many bytes of scratch a frame needs.
        widest: the largest number of buffers of a step.
    """

    def __init__(self, steps: Sequence[Step | Jump]) -> None:
        kernels = [step.kernel for step in steps if isinstance(step, Step)]
        _announce()
        addresses = iter(engines.load(kernels))
        self._indices = np.array([i for step in steps for i in step.buffers], np.int32)
        all_sizes = np.array([size for step in steps for size in step.sizes], np.int64)
        self.records = np.zeros(len(steps), STEP)
        self.sizes: list[np.ndarray[Any, Any]] = []
        self.scratch = max((kernel.scratch for kernel in kernels), default=0)
        self.widest = max((len(step.buffers) for step in steps), default=0)
        first_index = first_size = 0
        for record, step in zip(self.records, steps):
            record["indices"] = self._indices.ctypes.data + 4 * first_index
            record["buffers"] = len(step.buffers)
            record["sizes"] = all_sizes.ctypes.data + 8 * first_size
            if isinstance(step, Jump):
                record["jumps"] = 1
            else:
                self._fill(record, step, next(addresses))
            self.sizes.append(all_sizes[first_size : first_size + len(step.sizes)])
            first_index += len(step.buffers)
            first_size += len(step.sizes)
        self._all_sizes = all_sizes
        self.address: int = self.records.ctypes.data

    @staticmethod
    def _fill(record: Any, step: Step, address: int) -> None:
        record["kernel"] = address
        record["tiles"], record["chunk"] = step.tiles, step.chunk
        if step.work is not None:
            record["work"], record["samples"] = step.work, SAMPLES
        record["scratch"] = step.kernel.scratch

    def __len__(self) -> int:
        return len(self.records)


class Frame:
    """What one run in flight needs: the table of buffer addresses, the status block, the caller's scratch.

    Args:
        buffers: how many addresses the table holds, the status block's included.
        scratch, widest: what the steps that will run on it need; see `Steps`.

    Attributes:
        buffers: the table; number 0 is the status block's.
        status: a record of `STATUS`.
    """

    def __init__(self, buffers: int, scratch: int, widest: int) -> None:
        self.buffers = np.zeros(buffers, np.uint64)
        self._status = np.zeros(1, STATUS)
        self.status: Any = self._status[0]
        self._scratch = aligned(scratch)
        self._gathered = np.zeros(widest, np.uint64)
        self._status["scratch"] = self._scratch.ctypes.data
        self._status["gathered"] = self._gathered.ctypes.data
        self.buffers[0] = self._status.ctypes.data
        self.address: int = self.buffers.ctypes.data


def aligned(count: int) -> np.ndarray[Any, Any]:
    """Bytes, not initialized, that start at a multiple of 64.

    Raises:
        ResourceExhaustedError: there is no memory.
    """
    try:
        room = np.empty(count + 63, np.uint8)
    except MemoryError as error:
        raise errors.ResourceExhaustedError(None, None, f"OOM when allocating {count} bytes") from error
    start = -room.ctypes.data % 64
    return room[start : start + count]
