"""Calling native code from Python: what is taken, what is refused, what it costs."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import entry, ir, kernel, runtime
from tahr.backends.native.entry import Entry, Input, PythonEntry, make_entry
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.runtime import Frame, Step, Steps
from tests.backends.native import kernels

pytest.importorskip("llvmlite")

FLOAT32 = np.dtype(np.float32)


def times() -> Kernel:
    """Buffer 2 becomes buffer 0 times the scalar in buffer 1."""
    f = kernel.function()
    source, factor, target = (kernel.buffer(f, i) for i in range(3))
    with f.loop("%begin", "%end") as i:
        product = f.value(f"fmul float {f.load(ir.F32, f.at(ir.F32, source, i))}, {f.load(ir.F32, factor)}")
        f.store(ir.F32, product, f.at(ir.F32, target, i))
    return Kernel(ir.module([f.finish()]), 0, "times")


def is_native() -> bool:
    return entry.is_native()


@pytest.fixture(params=["native", "python"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "python":
        monkeypatch.setattr(entry, "is_native", lambda: False)
    elif not is_native():
        pytest.skip("objects look different here")
    return make_entry


X, Y, OUT = (
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array(3, np.float32),
    np.zeros((2, 3), np.float32),
)


@pytest.fixture(params=[False, True], ids=["hold", "release"])
def times_entry(make: Any, request: pytest.FixtureRequest) -> Entry:
    steps = Steps([Step(times(), [1, 2, 3], [], 6)])
    frame = Frame(4, steps.scratch, steps.widest)
    inputs = [Input(1, FLOAT32, (2, 3)), Input(2, FLOAT32, ()), Input(3, FLOAT32, (2, 3))]
    return make(steps, frame, inputs, request.param)


def test_arrays_and_floats(times_entry: Entry) -> None:
    for factor in (Y, 2.5, np.array(-1, np.float32), 1e300, 0.1):
        out = np.zeros((2, 3), np.float32)
        assert times_entry(X, factor, out) is None
        with np.errstate(over="ignore", invalid="ignore"):
            np.testing.assert_array_equal(out, X * np.float32(factor))


class Subclass(np.ndarray):
    """Not exactly an array: it may mean something else."""


def misaligned() -> np.ndarray:
    return np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="none"),
        pytest.param((X, Y), id="too-few"),
        pytest.param((X, Y, OUT, OUT), id="too-many"),
        pytest.param((X[:, ::-1], Y, OUT), id="strided"),
        pytest.param((np.asfortranarray(X), Y, OUT), id="fortran"),
        pytest.param((misaligned(), Y, OUT), id="misaligned"),
        pytest.param((X.reshape(3, 2), Y, OUT), id="shape"),
        pytest.param((X.reshape(6), Y, OUT), id="rank"),
        pytest.param((X[None], Y, OUT), id="higher-rank"),
        pytest.param((X.astype(np.float64), Y, OUT), id="dtype"),
        pytest.param((X.astype(">f4"), Y, OUT), id="byte-order"),
        pytest.param((X.view(np.int32), Y, OUT), id="integers"),
        pytest.param((X.view(Subclass), Y, OUT), id="subclass"),
        pytest.param((X.tolist(), Y, OUT), id="list"),
        pytest.param((X, 1, OUT), id="int"),
        pytest.param((X, True, OUT), id="bool"),
        pytest.param((X, np.float64(1), OUT), id="numpy-scalar"),
        pytest.param((1.0, Y, OUT), id="float-for-an-array"),
        pytest.param((None, None, None), id="nothing"),
    ],
)
def test_what_is_refused_runs_nothing(times_entry: Entry, arguments: tuple[Any, ...]) -> None:
    OUT[:] = 7
    assert times_entry(*arguments) is NotImplemented
    assert (OUT == 7).all()
    out = np.zeros((2, 3), np.float32)
    assert times_entry(X, Y, out) is None, "the next call is taken"
    np.testing.assert_array_equal(out, 3 * X)


def test_keywords_are_refused(times_entry: Entry) -> None:
    with pytest.raises(TypeError):
        times_entry(X, Y, out=OUT)


def test_double_precision_and_empty_arrays(make: Any) -> None:
    f = kernel.function()
    source, target = kernel.buffer(f, 0), kernel.buffer(f, 1)
    f.store(ir.F64, f.load(ir.F64, source), target)
    steps = Steps([Step(Kernel(ir.module([f.finish()]), 0, "copy"), [1, 2], [], 1)])
    frame = Frame(4, steps.scratch, steps.widest)
    double = np.dtype(np.float64)
    run = make(steps, frame, [Input(1, double, ()), Input(2, double, ()), Input(3, double, (0, 4))], False)
    out = np.zeros(())
    for argument in (0.1, np.array(0.1)):
        out[()] = 0
        assert run(argument, out, np.zeros((0, 4))) is None
        assert out == 0.1
    assert run(0.1, out, np.zeros((4, 0))) is NotImplemented


def test_a_status_code_is_given_back(make: Any) -> None:
    steps = Steps([Step(kernels.fail_at(), [0, 1], [2, 1234], 4)])
    run = make(steps, Frame(2, steps.scratch, steps.widest), [Input(1, np.dtype(np.int64), (1,))], True)
    assert run(np.zeros(1, np.int64)) == 1234
    steps.sizes[0][0] = -1
    assert run(np.zeros(1, np.int64)) is None


def test_other_threads_run_meanwhile_but_not_on_the_same_frame(make: Any) -> None:
    steps = Steps([Step(kernels.thread_of_tile(pause_microseconds=100_000), [1], [], 2, work=0)])
    run = make(steps, Frame(2, steps.scratch, steps.widest), [Input(1, np.dtype(np.int64), (2,))], True)
    results: list[Any] = []
    threads = np.zeros(2, np.int64)
    thread = threading.Thread(target=lambda: results.append(run(threads)))
    thread.start()
    while not threads[0]:
        time.sleep(0.001)
    assert run(np.zeros(2, np.int64)) is NotImplemented, "the frame is in use"
    thread.join()
    assert results == [None] and (threads == threads[0]).all() and threads[0] != threading.get_ident()
    assert run(threads) is None


@pytest.mark.parametrize("native", [False, True])
def test_addresses(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    if native and not is_native():
        pytest.skip("objects look different here")
    monkeypatch.setattr(entry, "is_native", lambda: native)
    make: Any = entry.address_function
    address = make.__wrapped__()
    for array in (X, Y, X[:, 1:], np.zeros(0)):
        assert address(array) == array.ctypes.data
    if native:
        for wrong in (None, 1.0, [1], X.view(Subclass)):
            with pytest.raises(TypeError, match="expected an array"):
                address(wrong)


def test_nothing_leaks(times_entry: Entry) -> None:
    out = np.zeros((2, 3), np.float32)
    before = [sys.getrefcount(x) for x in (X, Y, out)]
    for _ in range(1000):
        times_entry(X, Y, out)
        times_entry(X, 0.5, out)
        times_entry(X, Y, None)
    assert [sys.getrefcount(x) for x in (X, Y, out)] == before


def test_an_entry_keeps_what_it_needs(make: Any) -> None:
    def build() -> Entry:
        steps = Steps([Step(times(), [1, 2, 3], [], 6)])
        dtype = np.dtype(np.float32)
        inputs = [Input(1, dtype, (2, 3)), Input(2, dtype, ()), Input(3, dtype, (2, 3))]
        return make(steps, Frame(4, steps.scratch, steps.widest), inputs, False)

    entries = [build() for _ in range(20)]
    rubbish = [np.ones(1000) for _ in range(100)]
    for run in entries:
        out = np.zeros((2, 3), np.float32)
        assert run(X, 2.0, out) is None
        np.testing.assert_array_equal(out, 2 * X)
    del rubbish


@pytest.mark.skipif(sys.implementation.name != "cpython" or os.name != "posix", reason="may be in Python")
def test_entries_are_native_on_usual_builds() -> None:
    expected = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert is_native() == expected
    steps = Steps([])
    run = make_entry(steps, Frame(1, 0, 0), [], False)
    assert isinstance(run, PythonEntry) != expected
    assert run() is None
    assert runtime.runtime().threads >= 1
