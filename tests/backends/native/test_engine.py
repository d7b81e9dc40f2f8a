"""Kernels are compiled once, loaded, and run; what cannot be is an error."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import engine, ir, kernel, runtime, target as targets
from tahr.backends.native.cache import Cache
from tahr.backends.native.engine import CompileError, Engine
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.target import AARCH64, BASELINE, Target
from tests.backends.native import kernels

pytest.importorskip("llvmlite")

ROOT = Path(__file__).parents[3]
WINDOWS = Target("x86_64-pc-windows-msvc", "x86-64", "", vector_bytes=16, vector_registers=16)
MACOS = Target("arm64-apple-darwin", "apple-m1", "", vector_bytes=16, vector_registers=32)


def call(address: int, buffers: list[np.ndarray], sizes: list[int], tiles: int) -> None:
    """Calls a kernel directly."""
    function = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
    )(address)
    pointers = np.array([b.ctypes.data for b in buffers], np.uint64)
    numbers = np.array(sizes, np.int64)
    function(pointers.ctypes.data, numbers.ctypes.data, 0, tiles, None)


def doubled(address: int, count: int) -> np.ndarray:
    source, target = np.arange(count, dtype=np.float32), np.zeros(count, np.float32)
    call(address, [source, target], [count], 1)
    return target


def test_a_kernel_runs() -> None:
    (address,) = engine.load([kernels.scale(2.0)])
    for count in (0, 1, 7, 100):
        np.testing.assert_array_equal(doubled(address, count), 2 * np.arange(count))


def test_equal_texts_are_compiled_once() -> None:
    own = Engine(targets.host())
    first, second, third = own.load([kernels.scale(2.0), kernels.scale(3.0), kernels.scale(2.0)])
    assert first == third != second
    assert own.load([kernels.scale(3.0)]) == [second]
    statistics = own.statistics()
    assert (statistics.compiled, statistics.from_disk) == (2, 0)
    assert statistics.compile_ms > 0 and statistics.load_ms > 0


def test_nothing_to_load() -> None:
    assert Engine(targets.host()).load([]) == []


def test_an_announced_module_is_compiled_with_the_next_kernels() -> None:
    own = Engine(targets.host())
    text = "define i64 @announced() {\n  ret i64 7\n}\n"
    own.announce(text, "announced")
    assert own.statistics().compile_ms == 0
    own.load([kernels.scale(2.0)])
    before = own.statistics()
    assert before.compiled == 1  # it is no kernel
    addresses = own.load_module(text, "announced", ["announced"])
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(addresses["announced"])() == 7
    assert own.statistics().compile_ms == before.compile_ms


def test_an_announced_module_may_be_loaded_before_any_kernel() -> None:
    own = Engine(targets.host())
    text = "define void @early() {\n  ret void\n}\n"
    own.announce(text, "early")
    own.load_module(text, "early", ["early"])
    assert own.statistics().compiled == 0 and own.statistics().compile_ms > 0
    own.load([kernels.scale(2.0)])
    assert own.statistics().compiled == 1


def test_only_kernels_are_counted(tmp_path: Path) -> None:
    """Where what is announced is on disk and kernels are not, too: what is counted is never more than is there."""
    text = "define void @early() {\n  ret void\n}\n"
    Engine(targets.host(), Cache(tmp_path)).load_module(text, "early", ["early"])
    own = Engine(targets.host(), Cache(tmp_path))
    own.announce(text, "early")
    own.load([kernels.scale(2.0), kernels.scale(3.0)])
    assert (own.statistics().compiled, own.statistics().from_disk) == (2, 0)


def test_a_missing_symbol_is_an_error_that_names_the_kernel() -> None:
    own = Engine(targets.host())
    with pytest.raises(CompileError, match="broken"):
        own.load([kernels.broken()])
    # The engine goes on, and says it again.
    assert doubled(own.load([kernels.scale(2.0)])[0], 3).tolist() == [0, 2, 4]
    with pytest.raises(CompileError, match="broken"):
        own.load([kernels.scale(5.0), kernels.broken()])
    assert doubled(own.load([kernels.scale(5.0)])[0], 3).tolist() == [0, 5, 10]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("define void @KERNEL() {\n  nonsense\n}\n", id="syntax"),
        pytest.param("define i32 @KERNEL() {\n  ret void\n}\n", id="type"),
        pytest.param("define void @other() {\n  ret void\n}\n", id="no-kernel"),
    ],
)
def test_a_wrong_text_is_an_error(text: str) -> None:
    with pytest.raises(CompileError, match="the title"):
        Engine(targets.host()).load([Kernel(text, 0, "the title")])


def test_kernels_may_call_the_c_library() -> None:
    f = kernel.function()
    x = kernel.buffer(f, 0)
    f.store(ir.F64, f.value(f"call double @cbrt(double {f.load(ir.F64, x)})"), x)
    (address,) = engine.load([Kernel(ir.module([f.finish()], ["declare double @cbrt(double)"]), 0, "cbrt")])
    number = np.array([27.0])
    call(address, [number], [], 1)
    assert number[0] == pytest.approx(3.0)


def test_several_python_threads_load() -> None:
    own = Engine(targets.host())
    wanted = [kernels.scale(float(i)) for i in range(6)]
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(own.load(wanted))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(addresses == found[0] for addresses in found)
    assert own.statistics().compiled == len(wanted)


def test_optimized_ir_and_assembly_can_be_read() -> None:
    text = engine.ir_of(kernels.scale(2.0))
    assert "x float>" in text, "the loop is vectorized"
    assert "KERNEL" in engine.assembly_of(kernels.scale(2.0))


def test_baseline_code_has_no_avx() -> None:
    text = Engine(BASELINE).assembly_of(kernels.scale(3.0))
    assert "mulps" in text and "vmulps" not in text and "%ymm" not in text


@pytest.mark.skipif(targets.host().architecture != "x86_64", reason="x86-64 code")
def test_baseline_code_runs() -> None:
    before = targets.current()
    with targets.using(BASELINE):
        assert targets.current() is BASELINE
        assert doubled(engine.load([kernels.scale(2.0)])[0], 9).tolist() == [2 * i for i in range(9)]
    assert targets.current() == before


@pytest.mark.parametrize("target", [AARCH64, BASELINE, WINDOWS, MACOS], ids=lambda t: t.triple)
def test_other_processors_and_systems_compile(target: Target) -> None:
    own = Engine(target)
    kernels_ = [kernels.scale(2.0), Kernel(runtime.text(target), 0, runtime.TITLE)]
    assert all(len(data) > 100 for data in own.objects_of(kernels_))
    assert own.statistics().compiled == 2


def test_what_the_host_says_of_itself() -> None:
    host = targets.host()
    assert host.vector_bytes in (16, 32, 64) and host.vector_registers in (16, 32)
    assert host.lanes(4) == host.vector_bytes // 4
    assert 8 << 10 <= host.l1 <= host.l2
    assert host.architecture in host.triple.replace("arm64", "aarch64")


def test_features_and_architecture() -> None:
    target = Target("arm64-apple-darwin", "apple-m1", "+neon,-sve", vector_bytes=16, vector_registers=32)
    assert (target.architecture, target.has("neon"), target.has("sve")) == ("aarch64", True, False)
    assert target.has_fma and not BASELINE.has_fma


def test_the_environment_chooses_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAHR_TARGET", "pdp11")
    with pytest.raises(ValueError, match="pdp11"):
        targets.current()
    monkeypatch.setenv("TAHR_TARGET", "host")
    assert targets.current() is targets.host()
    if targets.host().architecture == "x86_64":
        monkeypatch.setenv("TAHR_TARGET", "baseline")
        assert targets.current().cpu == "x86-64" and targets.current().features == ""


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    wanted = [kernels.scale(2.0), kernels.scale(3.0)]
    first = Engine(targets.host(), Cache(tmp_path / "cache"))
    first.load(wanted)
    second = Engine(targets.host(), Cache(tmp_path / "cache"))
    address = second.load(wanted)[0]
    assert doubled(address, 4).tolist() == [0, 2, 4, 6]
    assert (second.statistics().compiled, second.statistics().from_disk) == (0, 2)
    # Another target's objects are other entries.
    third = Engine(targets.BASELINE, Cache(tmp_path / "cache"))
    third.objects_of(wanted[:1])
    assert (third.statistics().compiled, third.statistics().from_disk) == (1, 0)


def test_kernels_share_a_part() -> None:
    """One is loaded together with it, others find it loaded, and by itself it is a kernel like any other."""
    part = kernels.scale(2.0)
    own = Engine(targets.host())
    first, again = own.load([kernels.through_a_part(3.0, part), kernels.through_a_part(3.0, part)])
    assert own.statistics().compiled == 2 and first == again
    second, itself = own.load([kernels.through_a_part(5.0, part), part])
    assert own.statistics().compiled == 3
    for address, factor in ((first, 6), (second, 10), (itself, 2)):
        np.testing.assert_array_equal(doubled(address, 7), factor * np.arange(7))


def test_parts_have_parts() -> None:
    inner = kernels.through_a_part(3.0, kernels.scale(2.0))
    own = Engine(targets.host())
    (address,) = own.load([kernels.through_a_part(5.0, inner)])
    assert own.statistics().compiled == 3
    np.testing.assert_array_equal(doubled(address, 7), 30 * np.arange(7))


def test_a_part_is_kept_on_disk(tmp_path: Path) -> None:
    Engine(targets.host(), Cache(tmp_path)).load([kernels.through_a_part(3.0, kernels.scale(2.0))])
    own = Engine(targets.host(), Cache(tmp_path))
    (address,) = own.load([kernels.through_a_part(5.0, kernels.scale(2.0))])
    assert (own.statistics().compiled, own.statistics().from_disk) == (1, 1)
    np.testing.assert_array_equal(doubled(address, 7), 10 * np.arange(7))


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_importing_does_not_load_llvm() -> None:
    program = (
        "import sys, tahr\n"
        "from tahr.backends.native import cache, engine, entry, runtime, target\n"
        "sys.exit('llvmlite.binding' in sys.modules or not target.is_available())"
    )
    result = run(program)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.50.0", None),
        ("0.50.7", None),
        ("0.45.1", "llvmlite 0.45.1 is installed, and 0.50 is needed"),
        ("0.5.0", "llvmlite 0.5.0 is installed, and 0.50 is needed"),
    ],
)
def test_only_one_release_of_llvmlite_will_do(
    monkeypatch: pytest.MonkeyPatch, version: str, expected: str | None
) -> None:
    monkeypatch.setattr("llvmlite.__version__", version)
    complaint: Any = targets.complaint
    assert complaint.__wrapped__() == expected


def test_pyproject_asks_for_the_release_that_is_needed() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"llvmlite>={targets.LLVMLITE},<' in text


def test_without_llvmlite() -> None:
    program = (
        "import sys\n"
        "sys.modules['llvmlite'] = None\n"
        "import tahr\n"
        "from tahr.backends.native import engine, entry, runtime, target\n"
        "assert target.complaint() == 'llvmlite is not installed'\n"
        "sys.exit(target.is_available())"
    )
    result = run(program)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("name", "dtype"), [("__truncdfhf2", np.float16), ("__truncdfbf2", ml_dtypes.bfloat16)]
)
def test_what_llvm_calls_to_round_doubles_to_halves(name: str, dtype: type) -> None:
    """As a kernel calls it: the process may have no such function of its own."""
    f = kernel.function()
    stored = "half" if dtype is np.float16 else "bfloat"
    with f.loop("%begin", "%end") as i:
        x = f.load(ir.F64, f.at(ir.F64, kernel.buffer(f, 0), i))
        f.store(stored, f.value(f"call {stored} @{name}(double {x})"), f.at(stored, kernel.buffer(f, 1), i))
    (address,) = engine.load(
        [Kernel(ir.module([f.finish()], [f"declare {stored} @{name}(double)"]), 0, name)]
    )
    values = np.array([0.0, -0.0, 1 / 3, -1e9, 1e-7, 1 + 2**-11 + 2**-40, 3e38, np.inf, -np.inf, np.nan])
    results = np.zeros(len(values), dtype)
    call(address, [values, results], [], len(values))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(results.astype(float), values.astype(dtype).astype(float))


def test_a_plan_that_cannot_be_compiled_is_run_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise CompileError("no such instruction")

    x = tf.placeholder(tf.float32, [None])
    y = tf.exp(x) * 3.0 - tf.reduce_sum(tf.sin(x))
    numbers = np.array([0.0, 1.0, -2.0], np.float32)
    monkeypatch.setattr(Engine, "load", refuse)
    with tf.Session(backend="native", tier="compiled") as session:
        with pytest.warns(RuntimeWarning, match="NumPy runs a plan, since LLVM cannot compile it: no such"):
            found = session.run(y, {x: numbers})
        np.testing.assert_allclose(found, np.exp(numbers) * 3 - np.sin(numbers).sum(), rtol=1e-6)
        assert np.array_equal(session.run(y, {x: numbers[:2]}), session.run(y, {x: numbers[:2]}))
        assert "no such instruction" in str(session.explain(y, {x: numbers}))
