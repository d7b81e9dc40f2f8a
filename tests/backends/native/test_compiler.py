"""Modules are compiled on several threads: who waits comes first, and errors reach whoever asks."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import builtin, llvm, objects, target as targets
from tahr.backends.native.compiler import CompileError, Compiler, Job
from tahr.backends.native.engine import Engine
from tahr.backends.native.kernel import AS_WRITTEN, QUICKLY
from tahr.backends.native.target import Target

pytest.importorskip("llvmlite")

ROOT = Path(__file__).parents[3]
SEVEN = "define i64 @seven() {\n  ret i64 7\n}\n"


class Recorded(Compiler):
    """A compiler that only writes down what it is given; it stops at a text until it may go on."""

    def __init__(self, threads: int) -> None:
        super().__init__(targets.host(), threads)
        self.done: list[str] = []
        self.may_go_on = threading.Event()

    def compile(self, text: str, title: str) -> bytes:
        if text == "stop":
            self.may_go_on.wait(timeout=60)
        self.done.append(text)
        return text.encode()


def announced(compiler: Compiler, *texts: str, is_wanted: bool = False) -> list[Job]:
    jobs = [Job(text, text) for text in texts]
    for job in jobs:
        compiler.announce(job, is_wanted)
    return jobs


def test_what_is_wanted_comes_first_and_the_longest_of_that() -> None:
    compiler = Recorded(threads=1)
    jobs = announced(compiler, "aa", "a long one that nobody wants", "aaaa", "a")
    compiler.finish([jobs[0], jobs[2], jobs[3]])
    assert compiler.done == ["aaaa", "aa", "a"]
    assert jobs[2].data == b"aaaa" and not jobs[1].is_done and not compiler.is_at_work(jobs[1])
    compiler.finish(jobs)
    assert all(job.is_done for job in jobs)


def test_nobody_waits_for_what_is_not_wanted() -> None:
    compiler = Recorded(threads=2)
    wanted, other = announced(compiler, "wanted", "stop")
    compiler.finish([wanted])
    assert wanted.is_done and not other.is_done and compiler.is_at_work(other)
    compiler.may_go_on.set()
    compiler.settle()
    assert other.data == b"stop" and not compiler.is_at_work(other)


def test_what_is_announced_as_wanted_is_compiled_with_the_next() -> None:
    compiler = Recorded(threads=1)
    announced(compiler, "early", is_wanted=True)
    compiler.finish(announced(compiler, "a"))
    assert compiler.done == ["early", "a"]


def test_several_threads_wait_for_the_same() -> None:
    compiler = Recorded(threads=2)
    jobs = announced(compiler, "stop", "a", "b")
    waiting = [threading.Thread(target=compiler.finish, args=(jobs,)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    compiler.may_go_on.set()
    for thread in waiting:
        thread.join()
    assert sorted(compiler.done) == ["a", "b", "stop"]


def test_without_more_threads_the_caller_compiles_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    compiler = Recorded(threads=3)
    jobs = announced(compiler, "a", "b", "c")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    compiler.finish(jobs)
    assert all(job.is_done for job in jobs)
    compiler.settle()


def test_an_interruption_reaches_the_caller() -> None:
    class Interrupted(Recorded):
        def compile(self, text: str, title: str) -> bytes:
            raise KeyboardInterrupt

    compiler = Interrupted(threads=1)
    jobs = announced(compiler, "a")
    with pytest.raises(KeyboardInterrupt):
        compiler.finish(jobs)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_the_background_is_raised_where_the_code_is_asked_for(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAHR_NUM_THREADS", str(threads))
    own = Engine(targets.host())
    own.announce("nonsense", "the title", is_urgent=False)
    assert own.load_module(SEVEN, "seven", ["seven"])["seven"]
    for _ in range(2):  # it is tried again
        with pytest.raises(CompileError, match="the title"):
            own.load_module("nonsense", "the title", ["nonsense"])


@pytest.mark.parametrize("heading", ["", AS_WRITTEN, QUICKLY])
def test_whatever_the_effort_the_code_is_there(heading: str) -> None:
    text = heading + SEVEN
    compiler = Compiler(targets.host())
    assert "ret i64 7" in compiler.ir(text, "seven")
    assert "seven" in compiler.assembly(text, "seven")
    assert Engine(targets.host()).load_module(text, "seven", ["seven"])["seven"]


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_waits_for_what_is_being_compiled() -> None:
    program = f"""
import os, threading, time
from tahr.backends.native import target
from tahr.backends.native.compiler import Compiler, Job

class Slow(Compiler):
    def compile(self, text, title):
        time.sleep(0.2 if text == "slow" else 0)
        return text.encode()

compiler = Slow(target.host(), threads=2)
jobs = [Job(text, text) for text in ("wanted", "slow")]
for job in jobs:
    compiler.announce(job)
compiler.finish(jobs[:1])
assert not jobs[1].is_done
child = os.fork()
assert jobs[1].data == b"slow"
if not child:
    later = Job({SEVEN!r}, "seven")
    real = Compiler(target.host(), threads=2)
    real.announce(later)
    real.finish([later])
    os._exit(0 if later.data else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    result = run(program)
    assert result.returncode == 0, result.stderr


def test_compiling_and_running_does_not_import_all_of_llvmlite() -> None:
    program = (
        "import os, sys\n"
        "os.environ['TAHR_CACHE'] = '0'\n"
        "import tahr as tf\n"
        "with tf.Session(backend='native', tier='compiled') as session:\n"
        "    for _ in range(3):\n"
        "        assert session.run(tf.exp(tf.zeros([3]))).tolist() == [1, 1, 1]\n"
        "sys.exit('llvmlite.binding' in sys.modules)"
    )
    result = run(program)
    assert result.returncode == 0, result.stderr


def test_llvm_says_what_is_wrong() -> None:
    host = targets.host()
    machine = llvm.Machine(host.triple, host.cpu, host.features, 2)
    with pytest.raises(RuntimeError, match="expected top-level entity"), llvm.parsed("nonsense", machine):
        pass
    wrong = "define i32 @f() {\n  ret void\n}\n"
    with (
        pytest.raises(RuntimeError, match="value doesn't match function result type"),
        llvm.parsed(wrong, machine),
    ):
        pass
    with pytest.raises(RuntimeError, match="pdp11"):
        llvm.Machine("pdp11-dec-rsx", "", "", 2)
    with pytest.raises(RuntimeError, match="missing"):
        llvm.Linker(machine).link("library", [], {}, ["missing"])


def test_what_llvm_says_of_the_machine() -> None:
    assert llvm.version().split(".")[0] == "22"
    assert llvm.triple().count("-") >= 2 and llvm.cpu()
    features = llvm.features()
    assert all(feature[0] in "+-" for feature in filter(None, features.split(",")))


def test_an_unknown_processor_is_compiled_for_all_the_same() -> None:
    unknown = Target(targets.host().triple, "generic", "", vector_bytes=16, vector_registers=16)
    assert Compiler(unknown).compile(SEVEN, "seven")


@pytest.mark.skipif(not objects.is_known(), reason="entries are Python")
def test_runs_go_the_long_way_while_entries_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.exp(x) * 3.0
    numbers = np.array([0.0, 1.0, -2.0], np.float32)

    def shortcuts(session: Any) -> int:
        return len(session._shortcuts)

    with tf.Session(backend="native", tier="compiled") as session:
        monkeypatch.setattr(builtin, "is_coming", lambda: True)
        found = [session.run(y, {x: numbers}) for _ in range(3)]
        assert shortcuts(session) == 0
        monkeypatch.setattr(builtin, "is_coming", lambda: False)
        found += [session.run(y, {x: numbers}) for _ in range(2)]
        assert shortcuts(session) == 1
        assert len({values.tobytes() for values in found}) == 1
