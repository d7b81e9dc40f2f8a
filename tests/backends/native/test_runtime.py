"""The loop over steps and the pool of threads: results, errors, threads, forks and ends of processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tahr import errors
from tahr.backends.native import engine, ir, runtime, target as targets, walk
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.runtime import Frame, Step, Steps
from tests.backends.native import kernels

pytest.importorskip("llvmlite")

ROOT = Path(__file__).parents[3]
# So much work that a step is shared; nanoseconds.
MUCH = 1 << 40
pooled = pytest.mark.skipif(os.name != "posix", reason="the pool needs POSIX threads")


def run(steps: list[Step], buffers: list[np.ndarray], threads: int = 0) -> Frame:
    """Runs steps, shared unless they say how much work they are, on buffers, numbers 1 and up of the table."""
    table = Steps([replace(step, work=MUCH if step.work is None else step.work) for step in steps])
    frame = Frame(len(buffers) + 1, table.scratch, table.widest)
    frame.buffers[1:] = [buffer.ctypes.data for buffer in buffers]
    frame.status["threads"] = threads
    frame.status["code"] = 99  # of an earlier run
    code = runtime.runtime().run(table, frame)
    assert code == frame.status["code"]
    return frame


def scaled(threads: int, tiles: int, tile: int = 5, chunk: int = 0) -> None:
    source = np.arange(tiles * tile, dtype=np.float32)
    middle, target = np.zeros_like(source), np.zeros_like(source)
    steps = [
        Step(kernels.scale(2.0), [1, 2], [tile], tiles, chunk=chunk),
        Step(kernels.scale(3.0), [2, 3], [tile], tiles, chunk=chunk),
    ]
    assert run(steps, [source, middle, target], threads).status["code"] == 0
    np.testing.assert_array_equal(middle, 2 * source)
    np.testing.assert_array_equal(target, 6 * source)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("tiles", [0, 1, 2, 3, 7, 100, 1000])
def test_results_do_not_depend_on_threads(threads: int, tiles: int) -> None:
    scaled(threads, tiles)


@pytest.mark.parametrize("chunk", [1, 2, 50, 1000])
def test_results_do_not_depend_on_chunks(chunk: int) -> None:
    scaled(2, 100, chunk=chunk)


def test_no_steps() -> None:
    assert run([], []).status["code"] == 0


def test_sizes_and_tiles_may_change_between_runs() -> None:
    source = np.arange(30, dtype=np.float32)
    target = np.zeros_like(source)
    steps = Steps([Step(kernels.scale(2.0), [1, 2], [3], 4)])
    frame = Frame(3, steps.scratch, steps.widest)
    frame.buffers[1:] = source.ctypes.data, target.ctypes.data
    runtime.runtime().run(steps, frame)
    np.testing.assert_array_equal(target, np.where(source < 12, 2 * source, 0))
    steps.sizes[0][:] = 5
    steps.records["tiles"][0] = 6
    runtime.runtime().run(steps, frame, release=False)
    np.testing.assert_array_equal(target, 2 * source)


# ---------------------------------------------------------------- threads


def threads_of(step: Step, threads: int) -> set[int]:
    """The threads that computed a step's tiles."""
    found = np.zeros(step.tiles, np.int64)
    run([step], [found], threads)
    assert (found != 0).all(), "every tile is computed"
    return set(found.tolist())


@pooled
def test_threads_take_part() -> None:
    slow = Step(kernels.thread_of_tile(pause_microseconds=1000), [1], [], 24, chunk=1)
    # On a busy machine others may come too late for one run.
    assert any(len(threads_of(slow, 3)) == 3 for _ in range(20))
    assert threads_of(slow, 1) == {threading.get_ident()}
    assert len(threads_of(slow, 2)) <= 2, "no more than asked for"


@pooled
def test_small_steps_are_not_shared() -> None:
    quick = Step(kernels.thread_of_tile(), [1], [], 24, work=100)
    assert threads_of(quick, 4) == {threading.get_ident()}


@pooled
def test_the_runtime_finds_out_how_much_work_a_step_is() -> None:
    slow = Step(kernels.thread_of_tile(pause_microseconds=300), [1], [], 24)
    quick = Step(kernels.thread_of_tile(), [1], [], 2)
    steps = Steps([slow, quick])
    threads = np.zeros(24, np.int64)
    frame = Frame(2, steps.scratch, steps.widest)
    frame.buffers[1] = threads.ctypes.data
    frame.status["threads"] = 2
    for _ in range(10):
        runtime.runtime().run(steps, frame)
    much, little = steps.records["work"].tolist()
    assert much >= 24 * 300_000
    assert 0 <= little < 24 * 300_000
    assert steps.records["samples"].tolist() == [walk.SAMPLES] * 2
    run([replace(slow, work=much)], [threads], 2)
    run([replace(quick, work=0)], [threads], 2)
    assert (threads[:2] == threading.get_ident()).all()


@pytest.mark.parametrize("tiles", [1, 2, 3, 50])
def test_measuring_computes_each_tile_once(tiles: int) -> None:
    count = np.zeros(1, np.int64)
    steps = Steps([Step(kernels.fail_at(), [0, 1], [-1, 0], tiles)] * 2)
    frame = Frame(2, steps.scratch, steps.widest)
    frame.buffers[1] = count.ctypes.data
    frame.status["threads"] = 2
    for i in range(8):
        assert runtime.runtime().run(steps, frame) == 0
        assert count[0] == 2 * tiles * (i + 1)


@pooled
def test_a_pool_of_one() -> None:
    native = runtime.runtime()
    before = native.threads
    native.threads = 1
    try:
        step = Step(kernels.thread_of_tile(pause_microseconds=100), [1], [], 8)
        assert threads_of(step, 0) == {threading.get_ident()}
    finally:
        native.threads = before


@pytest.mark.parametrize("callers", [2, 8])
def test_several_python_threads_run_at_once(callers: int) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for tiles in (1, 2, 50, 3):
                for _ in range(20):
                    scaled(4, tiles)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_threads_that_slept_wake_up() -> None:
    for _ in range(5):
        scaled(4, 100)
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("text", "expected"), [("1", 1), ("3", 3), ("100000", 100_000), ("0", None), ("-1", None), ("two", None)]
)
def test_the_environment_chooses_threads(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None
) -> None:
    monkeypatch.setenv("TAHR_NUM_THREADS", text)
    if expected is None:
        with pytest.raises(ValueError, match=f"TAHR_NUM_THREADS={text}: expected a positive number"):
            targets.default_threads()
    else:
        assert targets.default_threads() == expected


def test_threads_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAHR_NUM_THREADS", raising=False)
    assert 1 <= targets.default_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"cpu.max": "max 100000"}, 64, id="no-limit"),
        pytest.param({"cpu.max": "250000 100000"}, 3, id="limit"),
        pytest.param({"cpu.max": "20000 100000"}, 1, id="less-than-one"),
        pytest.param({"cpu.max": "6400000000 100000"}, 64, id="more-than-there-are"),
        pytest.param({"cpu.max": "nonsense"}, 64, id="nonsense"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2, id="version-1"
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64, id="version-1-none"
        ),
        pytest.param({}, 64, id="elsewhere"),
    ],
)
def test_a_containers_limit_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    monkeypatch.delenv("TAHR_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(targets, "_CONTROL_GROUP", tmp_path)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert targets.default_threads() == expected


# ---------------------------------------------------------------- what else a step may rely on


@pytest.mark.parametrize("threads", [1, 4])
def test_a_reported_error_ends_the_run(threads: int) -> None:
    count, target = np.zeros(1, np.int64), np.zeros(4, np.float32)
    one = np.ones(4, np.float32)
    fails = Step(kernels.fail_at(), [0, 1], [6, 3], 10)
    steps = [Step(kernels.fail_at(), [0, 1], [-1, 3], 10), fails, Step(kernels.scale(2.0), [2, 3], [4], 1)]
    status = run(steps, [count, one, target], threads).status
    assert (status["code"], status["detail"], status["step"]) == (3, 6, 1)
    assert count[0] == 20 and not target.any()
    # The next run is not touched by it.
    steps[1] = steps[0]
    assert run(steps, [count, one, target], threads).status["code"] == 0
    assert target.all()


@pytest.mark.parametrize("threads", [1, 4])
def test_scratch_is_aligned_and_grows(threads: int) -> None:
    for floats in (1, 100, 5000, 70_000, 3):
        tiles = 20
        source = np.arange(tiles * floats, dtype=np.float32)
        target, addresses = np.zeros_like(source), np.zeros(tiles, np.uint64)
        run(
            [Step(kernels.through_scratch(floats), [1, 2, 3], [], tiles)],
            [source, target, addresses],
            threads,
        )
        np.testing.assert_array_equal(target, source)
        assert not (addresses % 64).any()


def test_a_frame_that_does_not_fit_in_memory() -> None:
    with pytest.raises(errors.ResourceExhaustedError, match="OOM"):
        Frame(1, 1 << 60, 0)


def test_times_of_steps() -> None:
    work = Step(kernels.spin(1000), [1], [], 1)
    steps = Steps([work] * 3)
    results = np.zeros(1)  # eight bytes, for either kernel
    frame = Frame(2, steps.scratch, steps.widest)
    frame.buffers[1] = results.ctypes.data
    times = runtime.runtime().time(steps, frame)
    assert times.shape == (3,) and frame.status["times"] == 0
    if os.name == "posix":
        assert (times > 100).all(), "a thousand multiplications take longer"
    failing = Steps([Step(kernels.fail_at(), [0, 1], [0, 3], 1)])
    with pytest.raises(ValueError, match="step 0 reported 3"):
        runtime.runtime().time(failing, frame)


@pytest.mark.parametrize("threads", [1, 4])
def test_denormals_are_zero_in_every_thread_and_the_callers_mode_stays(threads: int) -> None:
    tiny = np.float32(1e-40)
    source, target = np.full(1000, tiny), np.ones(1000, np.float32)
    run([Step(kernels.scale(2.0), [1, 2], [1], 1000)], [source, target], threads)
    assert not target.any()
    assert np.multiply(source, np.float32(2)).all(), "NumPy still computes with denormals"


@pytest.mark.skipif(targets.host().architecture != "x86_64", reason="reads MXCSR")
def test_the_callers_mode_is_restored_to_the_bit() -> None:
    get = ir.Function("get", [], ir.I32)
    slot = get.variable(ir.I32)
    get.do(f"call void @llvm.x86.sse.stmxcsr(ptr {slot})")
    put = ir.Function("put", [(ir.I32, "mode")])
    slot_of_put = put.variable(ir.I32)
    put.store(ir.I32, "%mode", slot_of_put)
    put.do(f"call void @llvm.x86.sse.ldmxcsr(ptr {slot_of_put})")
    module = ir.module([get.finish(f"i32 {get.load(ir.I32, slot)}"), put.finish()])
    addresses = engine.engine().load_module(module, "mode", ["get", "put"])
    mode = ctypes.PYFUNCTYPE(ctypes.c_uint32)(addresses["get"])
    set_mode = ctypes.PYFUNCTYPE(None, ctypes.c_uint32)(addresses["put"])
    before = mode()
    for other in (0x1F80, 0x3F80, 0x7F80 | 0x20):  # usual; rounding down; rounding to zero, and inexact seen
        for bad in (-1, 0):
            set_mode(other)
            status = run([Step(kernels.fail_at(), [0, 1], [bad, 3], 1)], [np.zeros(1, np.int64)]).status
            after = mode()
            set_mode(before)
            # What Python itself computes meanwhile may leave the mark of an inexact result (0x20).
            assert after | 0x20 == other | 0x20
            assert status["code"] == (3 if bad == 0 else 0)


# ---------------------------------------------------------------- processes


def python(program: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs a program that has `work(threads)`: it checks 50 runs of a shared step."""
    prelude = (
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from tahr.backends.native import runtime\n"
        "from tahr.backends.native.runtime import Frame, Step, Steps\n"
        "from tests.backends.native import kernels\n"
        "def work(threads, tile=100, rounds=50):\n"
        "    steps = Steps([Step(kernels.scale(2.0), [1, 2], [tile], 40, chunk=1, work=10**9)])\n"
        "    source = np.arange(40 * tile, dtype=np.float32)\n"
        "    for _ in range(rounds):\n"
        "        target = np.zeros_like(source)\n"
        "        frame = Frame(3, steps.scratch, steps.widest)\n"
        "        frame.buffers[1:] = source.ctypes.data, target.ctypes.data\n"
        "        frame.status['threads'] = threads\n"
        "        assert runtime.runtime().run(steps, frame) == 0\n"
        "        assert (target == 2 * source).all()\n"
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", prelude + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def assert_clean(result: subprocess.CompletedProcess[str]) -> None:
    assert (result.returncode, result.stderr) == (0, ""), result.stderr


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@forks
def test_a_child_has_threads_of_its_own() -> None:
    program = (
        "work(3)\n"
        "assert runtime.runtime().started == 2\n"
        "for _ in range(3):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        assert runtime.runtime().started == 0\n"
        "        work(3)\n"
        "        assert runtime.runtime().started == 2\n"
        "        sys.exit(7)\n"
        "    work(3)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
    )
    assert_clean(python(program))


@forks
def test_forks_while_other_threads_run_steps() -> None:
    program = (
        "over = False\n"
        "def loop():\n"
        "    while not over:\n"
        "        work(2, tile=1000, rounds=5)\n"
        "threads = [threading.Thread(target=loop, daemon=True) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "for _ in range(15):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        work(2, rounds=5)\n"
        "        os._exit(7)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "over = True\n"
        "for thread in threads: thread.join()\n"
    )
    assert_clean(python(program))


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("work(4)", id="spinning"),
        pytest.param("work(4); time.sleep(0.05)", id="asleep"),
        pytest.param(
            "threading.Thread(target=work, args=(4, 1000, 10**9), daemon=True).start(); time.sleep(0.2)",
            id="daemon-thread-in-a-run",
        ),
        pytest.param("work(4); sys.stdout.flush(); os._exit(0)", id="at-once"),
    ],
)
def test_a_process_ends_cleanly(end: str) -> None:
    assert_clean(python(end))


@pooled
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_where_the_system_refuses_threads_and_memory() -> None:
    # With 2 MB left there is no room for another thread's stack.
    program = (
        "import resource\n"
        "work(1)\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), -1))\n"
        "work(4)\n"
        "assert runtime.runtime().started == 0\n"
    )
    assert_clean(python(program))
    # With room for stacks but not for scratch, the caller does it all.
    program = (
        "import resource\n"
        "work(3)\n"
        "floats = 8 << 20\n"
        "tiles = 4\n"
        "steps = Steps([Step(kernels.through_scratch(floats), [1, 2, 3], [], tiles, work=10**9)])\n"
        "source = np.ones(tiles * floats, np.float32)\n"
        "target, addresses = np.zeros_like(source), np.zeros(tiles, np.uint64)\n"
        "frame = Frame(4, steps.scratch, steps.widest)\n"
        "frame.buffers[1:] = source.ctypes.data, target.ctypes.data, addresses.ctypes.data\n"
        "frame.status['threads'] = 3\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), -1))\n"
        "assert runtime.runtime().run(steps, frame) == 0\n"
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n"
        "assert (target == source).all() and len(set(addresses)) == 1\n"
    )
    assert_clean(python(program))


def test_many_short_jobs_are_neither_lost_nor_done_twice() -> None:
    """Each tile is counted once, over many jobs of few tiles with more threads than processors."""
    count = np.zeros(1, np.int64)
    steps = [Step(kernels.fail_at(), [0, 1], [-1, 0], tiles) for tiles in (2, 3, 5, 9)] * 250
    for threads in (2, 3, 8):
        count[:] = 0
        run(steps, [count], threads)
        assert count[0] == 19 * 250


def test_the_text_of_a_kernel_without_buffers() -> None:
    text = (
        "define void @KERNEL(ptr %buffers, ptr %sizes, i64 %begin, i64 %end, ptr %scratch) {\n  ret void\n}\n"
    )
    assert run([Step(Kernel(text, 0, "nothing"), [], [], 100)], [], threads=2).status["code"] == 0
