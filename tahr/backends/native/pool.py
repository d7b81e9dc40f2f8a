"""The pool of threads that shares a step's tiles, in LLVM IR, so that users need no C compiler.

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

from tahr.backends.native import ir
from tahr.backends.native.systems import System, set_fast_mode

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
# Waking a sleeping thread takes its waker 10 us: it is done for a step of more work than this, and where steps worth
# sharing have come one after the other for so long.
WAKE_ABOVE = 20_000
# Each thread draws about so many times from a step's tiles: less is uneven, more costs atomic additions.
DRAWS = 4

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


DEFINITION = f"@tahr_pool = global [{POOL_BYTES} x i8] zeroinitializer, align 64"


def functions(system: System) -> list[str]:
    """What a step calls to share its tiles, `share`, what that calls, and `tahr_reset`."""
    worker = _Worker(system).text()
    return [_draw(), _deal(), _share(system), _start(system), _wake(), worker, _scratch_of(), _reset()]


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


# What a step's kernel is called with.
CALL = [(ir.POINTER, "kernel"), (ir.POINTER, "buffers"), (ir.POINTER, "sizes"), (ir.I64, "tiles")]


def _draw() -> str:
    """Draws tiles of the open job and computes them until there are none: those of one part, then of the next."""
    arguments = [
        (ir.POINTER, "pool"),
        *CALL,
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
        f.branch(f.value(f"icmp slt i64 {begin}, {end}"), work, done)
        f.open(work)
        last = f.minimum(f.add(begin, "%chunk"), end)
        f.do(f"call void %kernel(ptr %buffers, ptr %sizes, i64 {begin}, i64 {last}, ptr %scratch)")
        f.jump(again)
        f.open(done)
    return f.finish()


def _part(f: ir.Function, number: str) -> str:
    """The first tile of a part."""
    return f.add("%first", f.div(f.mul(f.sub("%tiles", "%first"), number), "%parts"))


def _share(system: System) -> str:
    """Runs the tiles from `first` on up to `threads` threads: this one, and those of the pool that come in time."""
    arguments = [
        (ir.POINTER, "pool"),
        (ir.I64, "threads"),
        *CALL,
        (ir.I64, "first"),
        (ir.I64, "asked"),
        (ir.I64, "need"),
        (ir.POINTER, "scratch"),
        (ir.I64, "work"),
    ]
    f = ir.Function("share", arguments, linkage="internal")
    alone, ours = f.label("alone"), f.label("ours")
    other = _atomic(f, "xchg", "%pool", BUSY, 1, "acquire")
    f.branch(f.value(f"icmp ne i64 {other}, 0"), alone, ours)
    f.open(alone)
    f.do("call void %kernel(ptr %buffers, ptr %sizes, i64 %first, i64 %tiles, ptr %scratch)")
    f.do("ret void")

    f.open(ours)
    helpers = f.sub(f.minimum("%threads", f.sub("%tiles", "%first")), 1)
    _have_threads(f, helpers)
    chunk, parts = _describe_job(f, helpers)
    _open_job(f)
    _wake_sleepers(f)
    f.do(
        f"call void @draw(ptr %pool, ptr %kernel, ptr %buffers, ptr %sizes, i64 %tiles, i64 %first, i64 {chunk}, "
        f"i64 {parts}, i64 0, ptr %scratch)"
    )
    _close_job(f, system)
    _atomic_put(f, 0, "%pool", BUSY)
    return f.finish()


def _have_threads(f: ir.Function, helpers: str) -> None:
    """Starts threads where there are fewer than could help."""
    start, ready = f.label("start"), f.label("ready")
    started = _get(f, ir.I64, "%pool", STARTED)
    wanted = f.minimum(helpers, _get(f, ir.I64, "%pool", MOST))
    f.branch(f.value(f"icmp slt i64 {started}, {wanted}"), start, ready)
    f.open(start)
    f.do(f"call void @start(ptr %pool, i64 {wanted})")
    f.jump(ready)
    f.open(ready)


def _describe_job(f: ir.Function, helpers: str) -> tuple[str, str]:
    """Writes down what joiners must know; gives how many tiles are drawn at a time, and how many parts there are."""
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
    return chunk, parts


def _open_job(f: ir.Function) -> None:
    """Gives the job a number, and lets others join.

    The caller opens the job, then looks for sleepers; they announce themselves, then look for jobs. In this order on
    both sides, and sequentially consistent, no job is missed by everyone.
    """
    last = _atomic_get(f, "%pool", STATE, "monotonic")
    number = f.add(f.value(f"lshr i64 {last}, {NUMBER_SHIFT}"), 1)
    opened = f.value(f"or i64 {f.value(f'shl i64 {number}, {NUMBER_SHIFT}')}, {OPEN}")
    _atomic_put(f, opened, "%pool", STATE, "seq_cst")


def _wake_sleepers(f: ir.Function) -> None:
    """Has threads woken, if some sleep."""
    sleepers = _atomic_get(f, "%pool", SLEEPERS, "seq_cst")
    with f.when(f.value(f"icmp ne i64 {sleepers}, 0")):
        f.do("call void @wake(ptr %pool, i64 %work)")


def _wake() -> str:
    """Wakes threads that sleep, where there is work enough for it."""
    f = ir.Function("wake", [(ir.POINTER, "pool"), (ir.I64, "work")], linkage="internal")
    now = f.value("call i64 @now()")
    pause = f.sub(now, _get(f, ir.I64, "%pool", LAST))
    paused = f.value(f"icmp sgt i64 {pause}, {_get(f, ir.I64, '%pool', SPIN)}")
    since = f.value(f"select i1 {paused}, i64 {now}, i64 {_get(f, ir.I64, '%pool', SINCE)}")
    _put(f, ir.I64, since, "%pool", SINCE)
    _put(f, ir.I64, f.add(now, "%work"), "%pool", LAST)
    weight = f.maximum("%work", f.sub(now, since))
    with f.when(f.value(f"icmp sgt i64 {weight}, {WAKE_ABOVE}")):
        mutex, condition = _field(f, "%pool", MUTEX), _field(f, "%pool", CONDITION)
        f.do(f"call i32 @pthread_mutex_lock(ptr {mutex})")
        f.do(f"call i32 @pthread_cond_broadcast(ptr {condition})")
        f.do(f"call i32 @pthread_mutex_unlock(ptr {mutex})")
    return f.finish()


def _close_job(f: ir.Function, system: System) -> None:
    """Lets nobody join any more, and waits for those who did."""
    _atomic(f, "and", "%pool", STATE, ~OPEN, "acq_rel")
    waited = f.variable(ir.I64, "0")
    wait, more, yield_, pause, done = (f.label(name) for name in ("wait", "more", "yield", "pause", "done"))
    f.jump(wait)
    f.open(wait)
    active = f.value(f"and i64 {_atomic_get(f, '%pool', STATE)}, {ACTIVE}")
    f.branch(f.value(f"icmp eq i64 {active}, 0"), done, more)
    f.open(more)
    count = f.add(f.load(ir.I64, waited), 1)
    f.store(ir.I64, count, waited)
    f.branch(f.value(f"icmp sgt i64 {count}, {PATIENCE}"), yield_, pause)
    f.open(yield_)
    f.do("call i32 @sched_yield()")
    f.jump(wait)
    f.open(pause)
    f.do(system.pause)
    f.jump(wait)
    f.open(done)


def _deal() -> str:
    """Says which tile of each part is the next."""
    arguments = [(ir.POINTER, "pool"), (ir.I64, "first"), (ir.I64, "tiles"), (ir.I64, "parts")]
    f = ir.Function("deal", arguments, attributes="alwaysinline", linkage="internal")
    with f.loop(0, "%parts", hint="part") as i:
        next_ = f.at(ir.I8, _field(f, "%pool", NEXT), f.mul(i, NEXT_STRIDE))
        f.do(f"store atomic i64 {_part(f, i)}, ptr {next_} monotonic, align 8")
    return f.finish()


def _start(system: System) -> str:
    """Starts threads until the pool has as many as wanted; where the system refuses one, it is not asked again."""
    f = ir.Function("start", [(ir.POINTER, "pool"), (ir.I64, "wanted")], linkage="internal")
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
    f.branch(f.value(f"icmp slt i64 {started}, %wanted"), create, done)
    f.open(create)
    error = f.value(f"call i32 @pthread_create(ptr {thread}, ptr null, ptr @worker, ptr %pool)")
    f.branch(f.value(f"icmp eq i32 {error}, 0"), created, failed)
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


class _Worker:
    """What a thread of the pool does: it waits for a job, joins it, draws its tiles; without end."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._f = f = ir.Function("worker", [(ir.POINTER, "pool")], ir.POINTER, linkage="internal")
        self._idle, self._sleep, self._join, self._work = (
            f.label(name) for name in ("idle", "sleep", "join", "work")
        )
        self._mutex, self._condition = _field(f, "%pool", MUTEX), _field(f, "%pool", CONDITION)
        self._seen, self._pauses = f.variable(ir.I64, "0"), f.variable(ir.I64, "0")
        self._scratch, self._has = f.variable(ir.POINTER, "null"), f.variable(ir.I64, "0")
        self._begun = f.variable(ir.I64, "0")

    def text(self) -> str:
        """The function."""
        f = self._f
        set_fast_mode(f, self._system)
        me = f.add(_atomic(f, "add", "%pool", WORKERS, 1, "monotonic"), 1)
        f.jump(self._idle)
        self._look_for_jobs()
        self._sleep_until_one_comes()
        parts = self._join_it()
        self._draw_its_tiles(me, parts)
        f.open(f.label("never"))
        return f.finish("ptr null")

    def _is_new(self, state: str) -> str:
        """Whether a state shows an open job that this thread has not looked at."""
        f, seen = self._f, self._f.load(ir.I64, self._seen)
        number = f.value(f"lshr i64 {state}, {NUMBER_SHIFT}")
        opened = f.value(f"icmp ne i64 {f.value(f'and i64 {state}, {OPEN}')}, 0")
        return f.value(f"and i1 {opened}, {f.value(f'icmp ne i64 {number}, {seen}')}")

    def _look_for_jobs(self) -> None:
        f = self._f
        look, pause, clock = (f.label(name) for name in ("look", "pause", "clock"))
        f.open(self._idle)
        f.store(ir.I64, f.value("call i64 @now()"), self._begun)
        f.jump(look)
        f.open(look)
        f.branch(self._is_new(_atomic_get(f, "%pool", STATE)), self._join, pause)
        f.open(pause)
        f.do(self._system.pause)
        count = f.add(f.load(ir.I64, self._pauses), 1)
        f.store(ir.I64, count, self._pauses)
        f.branch(f.value(f"icmp eq i64 {f.rem(count, PAUSES)}, 0"), clock, look)
        f.open(clock)
        spun = f.sub(f.value("call i64 @now()"), f.load(ir.I64, self._begun))
        f.branch(f.value(f"icmp sgt i64 {spun}, {_get(f, ir.I64, '%pool', SPIN)}"), self._sleep, look)

    def _sleep_until_one_comes(self) -> None:
        f = self._f
        wait, dream, awake = (f.label(name) for name in ("wait", "dream", "awake"))
        f.open(self._sleep)
        f.do(f"call i32 @pthread_mutex_lock(ptr {self._mutex})")
        _atomic(f, "add", "%pool", SLEEPERS, 1, "seq_cst")
        f.jump(wait)
        f.open(wait)
        f.branch(self._is_new(_atomic_get(f, "%pool", STATE, "seq_cst")), awake, dream)
        f.open(dream)
        f.do(f"call i32 @pthread_cond_wait(ptr {self._condition}, ptr {self._mutex})")
        f.jump(wait)
        f.open(awake)
        _atomic(f, "sub", "%pool", SLEEPERS, 1, "seq_cst")
        f.do(f"call i32 @pthread_mutex_unlock(ptr {self._mutex})")
        f.jump(self._join)

    def _join_it(self) -> str:
        """Joins the job, unless it has helpers enough; gives into how many parts its tiles are divided."""
        f = self._f
        enter, attempt, full = (f.label(name) for name in ("enter", "attempt", "full"))
        f.open(self._join)
        state = _atomic_get(f, "%pool", STATE)
        f.branch(self._is_new(state), enter, self._idle)
        f.open(enter)
        # Read before joining, it may already be the next job's: then the state has changed and the exchange fails.
        parts = _atomic_get(f, "%pool", JOB_PARTS, "monotonic")
        active = f.value(f"and i64 {state}, {ACTIVE}")
        number = f.value(f"lshr i64 {state}, {NUMBER_SHIFT}")
        f.branch(f.value(f"icmp slt i64 {f.add(active, 1)}, {parts}"), attempt, full)
        f.open(full)
        f.store(ir.I64, number, self._seen)
        f.jump(self._idle)
        f.open(attempt)
        joined = f.value(
            f"cmpxchg ptr {_field(f, '%pool', STATE)}, i64 {state}, i64 {f.add(state, 1)} acq_rel monotonic"
        )
        f.branch(f.value(f"extractvalue {{ i64, i1 }} {joined}, 1"), self._work, self._join)
        f.open(self._work)
        f.store(ir.I64, number, self._seen)
        return parts

    def _draw_its_tiles(self, me: str, parts: str) -> None:
        f = self._f
        compute, leave = f.label("compute"), f.label("leave")
        enough = f.value(f"call i1 @scratch_of(ptr %pool, ptr {self._scratch}, ptr {self._has})")
        f.branch(enough, compute, leave)
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
        f.do(f"call void @draw(ptr %pool, {', '.join(job)}, {mine}, ptr {f.load(ir.POINTER, self._scratch)})")
        f.jump(leave)
        f.open(leave)
        _atomic(f, "sub", "%pool", STATE, 1, "release")
        f.jump(self._idle)


def _scratch_of() -> str:
    """Makes a thread's scratch large enough for the job; false where there is no memory."""
    arguments = [(ir.POINTER, "pool"), (ir.POINTER, "scratch"), (ir.POINTER, "has")]
    f = ir.Function("scratch_of", arguments, ir.I1, linkage="internal")
    grow, small = f.label("grow"), f.label("small")
    need = _get(f, ir.I64, "%pool", JOB_SCRATCH)
    f.branch(f.value(f"icmp sgt i64 {need}, {f.load(ir.I64, '%has')}"), grow, small)
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
    f = ir.Function("tahr_reset", [])
    pool = "@tahr_pool"
    for field in (STARTED, WORKERS, BUSY, STATE, SLEEPERS):
        _put(f, ir.I64, 0, pool, field)
    _put(f, ir.I64, MOST_WORKERS, pool, MOST)
    for field in (MUTEX, CONDITION):
        f.do(f"call void @llvm.memset.p0.i64(ptr {_field(f, pool, field)}, i8 0, i64 128, i1 false)")
    f.do(f"call i32 @pthread_mutex_init(ptr {_field(f, pool, MUTEX)}, ptr null)")
    f.do(f"call i32 @pthread_cond_init(ptr {_field(f, pool, CONDITION)}, ptr null)")
    return f.finish()
