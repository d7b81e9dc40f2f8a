"""The native loop that walks through a plan's steps, in LLVM IR.

A plan is data: an array of step records (`STEP`) which the loop goes through in order. A run brings a table of buffer
addresses; its first buffer is always the run's status block (`STATUS`), through which kernels report errors.
"""

from __future__ import annotations

import numpy as np

from tahr.backends.native import ir, pool, records
from tahr.backends.native.systems import System, set_fast_mode

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
        ("times", np.uint64),  # 0, or the address of int64, to which each step's nanoseconds are added
        ("scratch", np.uint64),  # the calling thread's scratch, aligned to 64 bytes
        ("gathered", np.uint64),  # room for the buffer addresses of one step
        ("resume", np.int64),  # with which step to begin
    ]
)
# The codes that the runtime itself reports; kernels use codes of tahr.errors. PAUSED: it is to be called again.
OK = 0
PAUSED = -1
# What a kernel reports that found no room for a row of a list; "detail" says for which. It has changed nothing, and
# runs again when there is (`growing.py`).
FULL = -2

# Less work than this, in nanoseconds, is not worth another thread: fork and join take 200 to 300.
SHARE_ABOVE = 1500
# How much work a step is: an eighth of its tiles is timed in so many runs, of which the fastest counts.
SAMPLES = 4
SAMPLED_PART = 8
# A run that jumps back returns to Python this often, where it may be cancelled or interrupted.
PAUSE_NANOSECONDS = 50_000_000


def functions(system: System) -> list[str]:
    """The loop, `tahr_run_steps`, and what it calls."""
    return [_Walk(system).text(), *([_measure()] if system.threads else [])]


_MEASURE = [(ir.POINTER, "record"), *pool.CALL, (ir.I64, "sample"), (ir.POINTER, "scratch")]


def _measure() -> str:
    """Computes a step's first tiles and notes what that says of the step's work."""
    f = ir.Function("measure", _MEASURE, linkage="internal")
    begun = f.value("call i64 @now()")
    f.do("call void %kernel(ptr %buffers, ptr %sizes, i64 0, i64 %sample, ptr %scratch)")
    work = f.div(f.mul(f.sub(f.value("call i64 @now()"), begun), "%tiles"), "%sample")
    samples = records.get(f, STEP, "samples", "%record")
    fastest = f.minimum(work, records.get(f, STEP, "work", "%record"))
    is_first = f.value(f"icmp eq i64 {samples}, 0")
    known = f.value(f"select i1 {is_first}, i64 {work}, i64 {fastest}")
    records.put(f, STEP, "work", "%record", known)
    records.put(f, STEP, "samples", "%record", f.add(samples, 1))
    return f.finish()


class _Walk:
    """The function `tahr_run_steps`: walks through steps, and gives the status code."""

    def __init__(self, system: System) -> None:
        arguments = [(ir.POINTER, "steps"), (ir.I64, "count"), (ir.POINTER, "buffers"), (ir.POINTER, "pool")]
        self._system = system
        self._f = f = ir.Function("tahr_run_steps", arguments, ir.I64)
        self._status = f.load(ir.POINTER, "%buffers")
        self._report("code", OK)
        self._times, self._scratch, self._gathered = map(self._asked, ("times", "scratch", "gathered"))
        threads = self._asked("threads")
        usual = f.load(ir.I64, f.at(ir.I8, "%pool", pool.THREADS))
        self._limit = f.value(f"select i1 {f.value(f'icmp eq i64 {threads}, 0')}, i64 {usual}, i64 {threads}")
        self._mode = f.value("call i64 @float_mode()")
        set_fast_mode(f, system)
        self._timed = f.value(f"icmp ne ptr {self._times}, null")
        self._place = f.variable(ir.I64, self._asked("resume"), hint="place")  # which step is next
        self._begun = f.variable(ir.I64, "0", hint="begun")  # when the first jump back was, or 0
        self._entered = f.variable(ir.I64, "0", hint="entered")  # when the step began
        self._head, self._finish = f.label("head"), f.label("finish")

    def _asked(self, name: str) -> str:
        """A field of the status block."""
        return records.get(self._f, STATUS, name, self._status)

    def _report(self, name: str, value: str | int) -> None:
        """Writes a field of the status block."""
        records.put(self._f, STATUS, name, self._status, value)

    def text(self) -> str:
        """The function."""
        f = self._f
        body, jump, compute = (f.label(name) for name in ("body", "jump", "compute"))
        self._report("resume", 0)
        f.jump(self._head)
        f.open(self._head)
        step = f.load(ir.I64, self._place)
        f.branch(f.value(f"icmp slt i64 {step}, %count"), body, self._finish)
        f.open(body)
        self._enter()
        record = records.at(f, STEP, "%steps", step)
        self._gather(record)
        kernel, sizes, tiles = (records.get(f, STEP, name, record) for name in ("kernel", "sizes", "tiles"))
        f.branch(f.value(f"icmp ne i64 {records.get(f, STEP, 'jumps', record)}, 0"), jump, compute)
        f.open(jump)
        self._jump(record, sizes)
        f.open(compute)
        self._compute(record, kernel, sizes, tiles)
        self._leave(step)
        self._go_on_from(step)
        f.open(self._finish)
        f.do(f"call void @set_float_mode(i64 {self._mode})")
        return f.finish(f"i64 {self._asked('code')}")

    # ------------------------------------------------------------ times

    def _enter(self) -> None:
        """Notes when a step begins."""
        f = self._f
        if self._system.threads:
            with f.when(self._timed):
                f.store(ir.I64, f.value("call i64 @now()"), self._entered)

    def _leave(self, step: str) -> None:
        """Adds the time of a step that ends."""
        f = self._f
        if self._system.threads:
            with f.when(self._timed):
                spent = f.at(ir.I64, self._times, step)
                taken = f.sub(f.value("call i64 @now()"), f.load(ir.I64, self._entered))
                f.store(ir.I64, f.add(f.load(ir.I64, spent), taken), spent)

    # ------------------------------------------------------------ a step

    def _gather(self, record: str) -> None:
        """Collects the addresses of a step's buffers."""
        f = self._f
        indices = records.get(f, STEP, "indices", record)
        with f.loop(0, records.get(f, STEP, "buffers", record), hint="buffer") as i:
            index = f.value(f"sext i32 {f.load(ir.I32, f.at(ir.I32, indices, i))} to i64")
            address = f.load(ir.POINTER, f.at(ir.POINTER, "%buffers", index))
            f.store(ir.POINTER, address, f.at(ir.POINTER, self._gathered, i))

    def _compute(self, record: str, kernel: str, sizes: str, tiles: str) -> None:
        """Calls a step's kernel, on several threads where it is worth it."""
        f = self._f
        rest = f"{kernel}, ptr {self._gathered}, ptr {sizes}, i64 {tiles}"
        first = f.variable(ir.I64, hint="first")
        f.store(ir.I64, "0", first)
        if not self._system.threads:
            f.do(
                f"call void {kernel}(ptr {self._gathered}, ptr {sizes}, i64 0, i64 {tiles}, ptr {self._scratch})"
            )
            return
        shareable = f.value(f"icmp sgt i64 {f.minimum(tiles, self._limit)}, 1")
        unknown = f.value(f"icmp slt i64 {records.get(f, STEP, 'samples', record)}, {SAMPLES}")
        with f.when(f.value(f"and i1 {shareable}, {unknown}")):
            sample = f.maximum(f.div(tiles, SAMPLED_PART), 1)
            f.do(f"call void @measure(ptr {record}, ptr {rest}, i64 {sample}, ptr {self._scratch})")
            f.store(ir.I64, sample, first)
        work = records.get(f, STEP, "work", record)
        threads = f.minimum(self._limit, f.div(work, SHARE_ABOVE))
        left = f.sub(tiles, f.load(ir.I64, first))
        with f.either(f.value(f"icmp sgt i64 {f.minimum(left, threads)}, 1")) as branches:
            begin, chunk, need = (
                f.load(ir.I64, first),
                *(records.get(f, STEP, name, record) for name in ("chunk", "scratch")),
            )
            f.do(
                f"call void @share(ptr %pool, i64 {threads}, ptr {rest}, i64 {begin}, i64 {chunk}, i64 {need}, "
                f"ptr {self._scratch}, i64 {work})"
            )
            branches.otherwise()
            begin = f.load(ir.I64, first)
            f.do(
                f"call void {kernel}(ptr {self._gathered}, ptr {sizes}, i64 {begin}, i64 {tiles}, ptr {self._scratch})"
            )

    def _call(self, kernel: str, sizes: str, begin: str, end: str) -> None:
        """Calls a kernel for some of its tiles."""
        rest = f"ptr {sizes}, i64 {begin}, i64 {end}, ptr {self._scratch}"
        self._f.do(f"call void {kernel}(ptr {self._gathered}, {rest})")

    def _go_on_from(self, step: str) -> None:
        """Goes on with the next step, unless this one has failed."""
        f = self._f
        failed, following = f.label("failed"), f.label("following")
        f.branch(f.value(f"icmp eq i64 {self._asked('code')}, {OK}"), following, failed)
        f.open(failed)
        self._report("step", step)
        f.jump(self._finish)
        f.open(following)
        f.store(ir.I64, f.add(step, 1), self._place)
        f.jump(self._head)

    # ------------------------------------------------------------ jumps

    def _jump(self, record: str, sizes: str) -> None:
        """Goes on at another step; a jump that leads back first looks whether the run is to pause."""
        f, place = self._f, self._place
        tested, free, back, taken, passed = (
            f.label(name) for name in ("tested", "free", "back", "taken", "passed")
        )
        conditions = records.get(f, STEP, "buffers", record)
        target = f.load(ir.I64, sizes)
        f.branch(f.value(f"icmp eq i64 {conditions}, 1"), tested, free)
        f.open(tested)
        holds = f.load(ir.I8, f.load(ir.POINTER, self._gathered))
        f.branch(f.value(f"icmp eq i8 {holds}, 0"), taken, passed)
        f.open(passed)
        f.store(ir.I64, f.add(f.load(ir.I64, place), 1), place)
        f.jump(self._head)
        f.open(free)
        f.branch(f.value(f"icmp sgt i64 {target}, {f.load(ir.I64, place)}"), taken, back)
        f.open(back)
        if self._system.threads:
            self._pause_at_times(target, taken)
        else:
            f.jump(taken)
        f.open(taken)
        f.store(ir.I64, target, place)
        f.jump(self._head)

    def _pause_at_times(self, target: str, taken: str) -> None:
        """Ends the run where the first jump back was long ago; the next run begins at the target."""
        f = self._f
        first, late, pause = (f.label(name) for name in ("first", "late", "pause"))
        now, since = f.value("call i64 @now()"), f.load(ir.I64, self._begun)
        f.branch(f.value(f"icmp eq i64 {since}, 0"), first, late)
        f.open(first)
        f.store(ir.I64, now, self._begun)
        f.jump(taken)
        f.open(late)
        f.branch(f.value(f"icmp sgt i64 {f.sub(now, since)}, {PAUSE_NANOSECONDS}"), pause, taken)
        f.open(pause)
        self._report("resume", target)
        self._report("code", PAUSED)
        f.jump(self._finish)
