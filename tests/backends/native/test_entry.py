"""Calling native code from Python: what is taken, what is refused, what becomes of variables, what it costs."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.base import Form
from tahr.backends.native import builtin, ir, kernel, objects
from tahr.backends.native.builtin import make_entry
from tahr.backends.native.entry import Buffer, Entry, PythonEntry, Recipe, Shift, Variable
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.runtime import Frame, Jump, Step, Steps
from tahr.program.effects import SlotKey
from tahr.session.store import Cell
from tests.backends.native import kernels
from tests.backends.native.hostile import definition_with

pytest.importorskip("llvmlite")

FLOAT32, INT64 = np.dtype(np.float32), np.dtype(np.int64)
NOTHING = Form((None,), is_list=False)


def times() -> Kernel:
    """Buffer 2 becomes buffer 0 times the scalar in buffer 1."""
    f = kernel.function()
    source, factor, target = (kernel.buffer(f, i) for i in range(3))
    with f.loop("%begin", "%end") as i:
        product = f.value(f"fmul float {f.load(ir.F32, f.at(ir.F32, source, i))}, {f.load(ir.F32, factor)}")
        f.store(ir.F32, product, f.at(ir.F32, target, i))
    return Kernel(ir.module([f.finish()]), 0, "times")


class Failed(Exception):
    """What the recipes of these tests raise where a step fails."""


def failed() -> None:
    raise Failed


def entry_of(
    steps: Sequence[Step | Jump],
    inputs: Sequence[Buffer] = (),
    variables: Sequence[Variable] = (),
    results: Sequence[Buffer] = (),
    form: Form = NOTHING,
    release: bool = False,
    on_failure: Callable[[], Any] = failed,
    paused: Callable[[], Any] | None = None,
    shifts: Sequence[Shift] = (),
) -> Entry:
    """An entry of steps on a frame with ten buffers."""
    loaded = Steps(steps)
    frame = Frame(10, loaded.scratch, loaded.widest)
    return make_entry(
        Recipe(loaded, frame, inputs, variables, results, shifts, form, release, on_failure, paused)
    )


@pytest.fixture(params=["native", "python"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything holds of both kinds of entries."""
    if request.param == "python":
        monkeypatch.setattr(objects, "is_known", lambda: False)
    elif not objects.is_known():
        pytest.skip("objects look different here")
    return request.param


@pytest.fixture(params=[False, True], ids=["hold", "release"])
def release(request: pytest.FixtureRequest) -> bool:
    return request.param


# ---------------------------------------------------------------- arguments


X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3, np.float32)


@pytest.fixture
def times_entry(release: bool) -> Entry:
    """Gives its first argument times its second one."""
    inputs = [Buffer(1, FLOAT32, (2, 3)), Buffer(2, FLOAT32, ())]
    results = [Buffer(3, FLOAT32, (2, 3))]
    return entry_of([Step(times(), [1, 2, 3], [], 6)], inputs, (), results, Form((0,), False), release)


def test_arrays_and_floats(times_entry: Entry) -> None:
    for factor in (Y, 2.5, np.array(-1, np.float32), 1e300, 0.1):
        found = times_entry(X, factor)
        with np.errstate(over="ignore", invalid="ignore"):
            np.testing.assert_array_equal(found, X * np.float32(factor))
        assert type(found) is np.ndarray and found.base is None and found.flags.writeable


def test_places_that_lead_to_the_middle_of_arrays(release: bool) -> None:
    """Of an argument, of a variable and of a result; run after run, on other arrays."""
    cell = cell_of(np.array([5, 7], np.float32))
    steps = [Step(times(), [1, 2, 3], [], 3), Step(times(), [4, 5, 6], [], 3)]
    shifts = [Shift(4, 1, 12), Shift(5, 2, 0), Shift(2, 2, 4), Shift(6, 3, 12)]
    variables = [Variable(cell, Buffer(2, FLOAT32, (2,)), False)]
    results = [Buffer(3, FLOAT32, (2, 3))]
    entry = entry_of(
        steps,
        [Buffer(1, FLOAT32, (2, 3))],
        variables,
        results,
        Form((0,), False),
        release,
        shifts=shifts,
    )
    for i in range(3):
        np.testing.assert_array_equal(entry(X + i), (X + i) * [[7], [5]])
        cell.array = np.array([5, 7], np.float32)


class Subclass(np.ndarray):
    """Not exactly an array: it may mean something else."""


def misaligned() -> np.ndarray:
    return np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="none"),
        pytest.param((X,), id="too-few"),
        pytest.param((X, Y, X), id="too-many"),
        pytest.param((X[:, ::-1], Y), id="strided"),
        pytest.param((np.asfortranarray(X), Y), id="fortran"),
        pytest.param((misaligned(), Y), id="misaligned"),
        pytest.param((X.reshape(3, 2), Y), id="shape"),
        pytest.param((X.reshape(6), Y), id="rank"),
        pytest.param((X[None], Y), id="higher-rank"),
        pytest.param((X.astype(np.float64), Y), id="dtype"),
        pytest.param((X.astype(">f4"), Y), id="byte-order"),
        pytest.param((X.view(np.int32), Y), id="integers"),
        pytest.param((X.view(Subclass), Y), id="subclass"),
        pytest.param((X.tolist(), Y), id="list"),
        pytest.param((X, 1), id="int"),
        pytest.param((X, True), id="bool"),
        pytest.param((X, np.float64(1)), id="numpy-scalar"),
        pytest.param((1.0, Y), id="float-for-an-array"),
        pytest.param((None, None), id="nothing"),
    ],
)
def test_what_is_refused_runs_nothing(times_entry: Entry, arguments: tuple[Any, ...]) -> None:
    before = times_entry(X, Y)
    assert times_entry(*arguments) is NotImplemented
    np.testing.assert_array_equal(before, 3 * X)
    np.testing.assert_array_equal(times_entry(X, Y), 3 * X, "the next call is taken")


def test_keywords_are_refused(times_entry: Entry) -> None:
    with pytest.raises(TypeError):
        times_entry(X, y=Y)


def copy() -> Step:
    """Buffer 2 becomes buffer 1, a float64."""
    f = kernel.function()
    f.store(ir.F64, f.load(ir.F64, kernel.buffer(f, 0)), kernel.buffer(f, 1))
    return Step(Kernel(ir.module([f.finish()]), 0, "copy"), [1, 2], [], 1)


def test_double_precision_and_empty_arrays() -> None:
    double = np.dtype(np.float64)
    inputs = [Buffer(1, double, ()), Buffer(3, double, (0, 4))]
    run = entry_of([copy()], inputs, (), [Buffer(2, double, ())], Form((0,), False))
    for argument in (0.1, np.array(0.1)):
        found = run(argument, np.zeros((0, 4)))
        assert type(found) is np.float64 and found == 0.1
    assert run(0.1, np.zeros((4, 0))) is NotImplemented


# ---------------------------------------------------------------- results


@pytest.mark.parametrize(
    "form",
    [
        NOTHING,
        Form((), True),
        Form((None,), True),
        Form((0,), False),
        Form((1,), False),
        Form((1, None, 0), True),
        Form((0, 0, 1, 1), True),
    ],
)
def test_forms(form: Form) -> None:
    inputs = [Buffer(1, FLOAT32, (3,)), Buffer(2, FLOAT32, ())]
    results = [Buffer(3, FLOAT32, (3,)), Buffer(4, FLOAT32, ())]
    steps = [Step(times(), [1, 2, 3], [], 3), Step(times(), [2, 2, 4], [], 1)]
    run = entry_of(steps, inputs, (), results, form)
    x = np.arange(3, dtype=np.float32)
    for factor in (2.0, 3.0):
        found, expected = run(x, factor), form.build([x * np.float32(factor), np.float32(factor * factor)])
        assert type(found) is type(expected)
        for a, b in zip(*(v if form.is_list else [v] for v in (found, expected)), strict=True):
            assert type(a) is type(b)
            np.testing.assert_array_equal(a, b)


def test_results_are_the_callers(times_entry: Entry) -> None:
    first, second = times_entry(X, 1.0), times_entry(X, 2.0)
    first[:] = 7
    np.testing.assert_array_equal(second, 2 * X)
    alone = np.zeros(1)
    assert len(set(references([first, second, alone]))) == 1


class NoMemory:
    """NumPy without memory."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def empty(*_: Any) -> Any:
        raise MemoryError


def test_without_memory_it_is_left_to_the_long_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, results = [Buffer(1, FLOAT32, (1,))], [Buffer(i, FLOAT32, (1,)) for i in (2, 3)]
    cell = cell_of(np.ones(1, np.float32))
    run = entry_of([Step(times(), [1, 1, 4], [], 1)], inputs, [written(cell, 4, 1)], results)
    if kind == "python":
        monkeypatch.setattr("tahr.backends.native.entry.np", NoMemory())
        assert run(np.ones(1, np.float32)) is NotImplemented
        return
    allowed = [np.empty, *[NoMemory.empty] * 2]
    monkeypatch.setattr(builtin, "_definition", definition_with(lambda *a: allowed.pop(0)(*a)))
    run = entry_of([Step(times(), [1, 1, 4], [], 1)], inputs, [written(cell, 4, 1)], results)
    value = np.full(1, 3, np.float32)
    assert run(value) is NotImplemented, "the second result"
    assert run(value) is NotImplemented, "the first result"
    assert cell.read() == 1
    allowed += [np.empty] * 2
    assert run(value) is None
    assert cell.read() == 9


# ---------------------------------------------------------------- variables


def cell_of(array: np.ndarray | None) -> Cell:
    with tf.Graph().as_default():
        op = tf.Variable(tf.zeros([1])).op
    cell = Cell(SlotKey("", "v"), op)
    if array is not None:
        cell.assign(array)
    return cell


def written(cell: Cell, slot: int, *shape: int) -> Variable:
    return Variable(cell, Buffer(slot, FLOAT32, shape), is_written=True)


@pytest.fixture
def cell() -> Cell:
    """A variable, [1, 2]."""
    return cell_of(np.array([1, 2], np.float32))


@pytest.fixture
def scale(cell: Cell, release: bool) -> Entry:
    """Multiplies the variable by what it is given."""
    return entry_of(
        [Step(times(), [1, 2, 1], [], 2)], [Buffer(2, FLOAT32, ())], [written(cell, 1, 2)], release=release
    )


def test_a_variable_changes_in_place(cell: Cell, scale: Entry) -> None:
    address = cell.read().ctypes.data
    assert scale(3.0) is None and scale(2.0) is None
    np.testing.assert_array_equal(cell.read(), [6, 12])
    assert objects.is_known() is False or cell.read().ctypes.data == address
    assert cell.lock.acquire(blocking=False)
    cell.lock.release()


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[1:], memoryview])
def test_what_somebody_holds_is_left_alone(cell: Cell, scale: Entry, view: Callable[[Any], Any]) -> None:
    held = view(cell.read())
    before = np.array(held)
    found = scale(3.0)
    np.testing.assert_array_equal(held, before)
    assert found is NotImplemented or cell.read() is not held
    del held
    assert scale(2.0) is None


def test_a_lazy_value_becomes_one_that_is_assigned(cell: Cell, scale: Entry, kind: str) -> None:
    cell.is_lazy = True
    found = scale(3.0)
    assert found is (NotImplemented if kind == "native" else None)
    assert cell.is_lazy == (kind == "native"), "the long way takes it"


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.ones(3, np.float32),
        lambda: np.ones((1, 2), np.float32),
        lambda: np.ones(2),
        lambda: np.ones(4, np.float32)[::2],
    ],
)
def test_another_kind_of_value_is_refused(cell: Cell, scale: Entry, make: Callable[[], Any]) -> None:
    cell.array = make()
    assert scale(3.0) is NotImplemented
    np.testing.assert_array_equal(cell.read(), make())


def test_a_variable_that_another_thread_has_is_not_touched(kind: str, release: bool) -> None:
    if kind == "python":
        pytest.skip("waits")
    cells = [cell_of(np.array([1], np.float32)) for _ in range(3)]
    variables = [written(c, i + 1, 1) for i, c in enumerate(cells)]
    steps = [Step(times(), [i, 4, i], [], 1) for i in (1, 2, 3)]
    run = entry_of(steps, [Buffer(4, FLOAT32, ())], variables, release=release)
    taken, done = threading.Event(), threading.Event()

    def take() -> None:
        with cells[1].lock:
            array = cells[1].take()
            taken.set()
            done.wait()
            cells[1].give(array)
            del array

    thread = threading.Thread(target=take)
    thread.start()
    taken.wait()
    assert run(2.0) is NotImplemented
    for cell in (cells[0], cells[2]):
        assert cell.lock.acquire(blocking=False), "its lock is free"
        cell.lock.release()
        assert cell.read() == 1
    done.set()
    thread.join()
    assert run(2.0) is None
    assert [float(c.read()[0]) for c in cells] == [2, 2, 2]


def test_a_lock_that_is_held_is_not_waited_for(cell: Cell, scale: Entry, kind: str, release: bool) -> None:
    if kind == "python" or not release:
        pytest.skip("waits, or needs no lock")
    found: list[Any] = []
    with cell.lock:
        thread = threading.Thread(target=lambda: found.append(scale(2.0)))
        thread.start()
        thread.join()
    assert found == [NotImplemented]
    assert scale(2.0) is None


def test_while_other_threads_run_a_variable_is_out_of_sight() -> None:
    cell = cell_of(np.zeros(2, np.float32))
    variable = Variable(cell, Buffer(1, FLOAT32, (2,)), is_written=True)
    step = Step(kernels.thread_of_tile(pause_microseconds=100_000), [2], [], 2, work=0)
    run = entry_of([step], [Buffer(2, INT64, (2,))], [variable], release=True)
    threads = np.zeros(2, np.int64)
    thread = threading.Thread(target=run, args=(threads,))
    thread.start()
    while not threads[0]:
        time.sleep(0.001)
    assert cell.array is None
    assert not cell.lock.acquire(blocking=False)
    thread.join()
    assert cell.array is not None
    assert cell.lock.acquire(blocking=False)
    cell.lock.release()


def test_a_variable_that_is_read_lives_until_the_run_ends(release: bool) -> None:
    """Whoever replaces it meanwhile does not take the memory away."""
    cell = cell_of(np.full(2, 5, np.float32))
    variable = Variable(cell, Buffer(1, FLOAT32, (2,)), is_written=False)
    calls: list[float] = []

    def replace() -> None:
        cell.array = None
        rubbish = [np.zeros(2, np.float32) for _ in range(1000)]
        calls.append(float(rubbish[0][0]))
        cell.array = np.full(2, 7, np.float32)

    run = entry_of(
        [Jump(2, 5), Jump(0), Step(times(), [1, 4, 2], [], 2)],
        [Buffer(4, FLOAT32, ()), Buffer(5, np.dtype(np.bool_), ())],
        [variable],
        [Buffer(2, FLOAT32, (2,))],
        Form((0,), False),
        release,
        paused=lambda: (replace(), flag.fill(False)),
    )
    flag = np.array(True)
    held = run(2.0, flag)
    np.testing.assert_array_equal(held, [10, 10])
    np.testing.assert_array_equal(cell.read(), [7, 7])
    assert calls == [0]


def test_an_uninitialized_variable(release: bool) -> None:
    cell = cell_of(None)
    run = entry_of(
        [Step(times(), [1, 1, 1], [], 2)],
        [],
        [Variable(cell, Buffer(1, FLOAT32, (2,)), False)],
        (),
        NOTHING,
        release,
    )
    assert run() is NotImplemented


# ---------------------------------------------------------------- errors, pauses, threads


def test_a_failure_is_told_before_anything_is_let_go(cell: Cell, kind: str, release: bool) -> None:
    """So that nobody else can change what the error is about."""
    seen: list[Any] = []
    inputs, results = [Buffer(2, INT64, (1,))], [Buffer(3, FLOAT32, (2,))]

    def explain() -> None:
        seen.append(run(np.zeros(1, np.int64)))
        seen.append(cell.array is None)
        raise Failed

    steps = [Step(kernels.fail_at(), [0, 2], [2, 1234], 4)]
    run = entry_of(steps, inputs, [written(cell, 1, 2)], results, Form((0,), False), release, explain)
    for _ in range(3):
        with pytest.raises(Failed):
            run(np.zeros(1, np.int64))
    assert seen == [NotImplemented, release or kind == "python"] * 3
    np.testing.assert_array_equal(cell.read(), [1, 2])
    alone = np.zeros(1)
    assert len(set(references([cell.array, alone]))) == 1
    assert cell.lock.acquire(blocking=False)
    cell.lock.release()


@pytest.mark.parametrize("error", [KeyboardInterrupt, tf.errors.CancelledError(None, None, "")])
def test_a_run_that_pauses_may_be_ended(cell: Cell, release: bool, error: Any) -> None:
    """The next one begins at the beginning."""
    pauses: list[int] = []

    def paused() -> None:
        pauses.append(1)
        if len(pauses) == 2:
            raise error

    # Multiply, then loop until the flag is false, then multiply again.
    multiply = Step(times(), [1, 2, 1], [], 2)
    steps = [multiply, Jump(3, 3), Jump(1), multiply]
    inputs = [Buffer(2, FLOAT32, ()), Buffer(3, np.dtype(np.bool_), ())]
    run = entry_of(steps, inputs, [written(cell, 1, 2)], release=release, paused=paused)
    with pytest.raises((KeyboardInterrupt, tf.errors.CancelledError)):
        run(3.0, np.array(True))
    assert len(pauses) == 2
    np.testing.assert_array_equal(cell.read(), [3, 6])
    assert run(2.0, np.array(False)) is None
    np.testing.assert_array_equal(cell.read(), [12, 24])


def test_other_threads_run_meanwhile_but_not_on_the_same_frame() -> None:
    step = Step(kernels.thread_of_tile(pause_microseconds=100_000), [1], [], 2, work=0)
    run = entry_of([step], [Buffer(1, INT64, (2,))], release=True)
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


# ---------------------------------------------------------------- memory


def references(values: Sequence[Any]) -> list[int]:
    return [sys.getrefcount(v) for v in values]


def test_nothing_leaks(cell: Cell, release: bool) -> None:
    read = cell_of(np.ones(2, np.float32))
    is_native = objects.is_known()
    variables = [written(cell, 1, 2), Variable(read, Buffer(3, FLOAT32, (2,)), is_written=False)]
    inputs, results = [Buffer(2, FLOAT32, ())], [Buffer(4, FLOAT32, (2,)), Buffer(5, FLOAT32, ())]
    steps = [
        Step(times(), [1, 2, 1], [], 2),
        Step(times(), [3, 2, 4], [], 2),
        Step(times(), [2, 2, 5], [], 1),
    ]
    run = entry_of(steps, inputs, variables, results, Form((0, None, 1), True), release)
    factor = np.array(1, np.float32)
    watched = [
        cell,
        read,
        read.array,
        factor,
        results[0].shape,
        results[0].dtype,
        None,
        False,
        NotImplemented,
    ]

    def work() -> None:
        for _ in range(1000):
            assert run(factor) is not NotImplemented
            assert run(1.0) is not NotImplemented
            assert run(None) is NotImplemented
            if is_native:  # else it has a value taken lazily
                array, cell.array = cell.array, None
                assert run(1.0) is NotImplemented
                cell.array = array
                del array

    work()
    gc.collect()  # what other tests have left holds None, too, and would go at any time
    before = references(watched)
    work()
    gc.collect()
    for a, b in zip(before, references(watched)):
        assert abs(a - b) < 100, "a thousand runs keep nothing"


def test_an_entry_keeps_what_it_needs() -> None:
    def build() -> tuple[Entry, Cell]:
        cell = cell_of(np.ones(6, np.float32))
        inputs, results = (
            [Buffer(1, np.dtype(np.float32), (2, 3)), Buffer(2, FLOAT32, ())],
            [
                Buffer(3, np.dtype(np.float32), (2, 3)),
                Buffer(5, FLOAT32, ()),
            ],
        )
        steps = [Step(times(), [1, 2, 3], [], 6), Step(times(), [2, 2, 5], [], 1)]
        return entry_of(steps, inputs, [written(cell, 4, 6)], results, Form((0, 1), True)), cell

    entries = [build() for _ in range(20)]
    rubbish = [np.ones(1000) for _ in range(100)]
    for run, _ in entries:
        array, scalar = run(X, 2.0)
        np.testing.assert_array_equal(array, 2 * X)
        assert scalar == 4
    del rubbish


def test_where_an_object_keeps_its_slots(kind: str) -> None:
    if kind == "python":
        pytest.skip("only machine code needs them")
    cell = cell_of(np.ones(2, np.float32))
    for name in ("array", "lock", "key", "is_lazy"):
        address = objects.attribute_address(cell, name)
        assert objects._read(address) == id(getattr(cell, name))
    with pytest.raises(AttributeError):
        objects.attribute_address(cell, "missing")


@pytest.mark.skipif(sys.implementation.name != "cpython" or os.name != "posix", reason="may be in Python")
def test_entries_are_native_on_usual_builds() -> None:
    expected = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert isinstance(entry_of([], []), PythonEntry) != expected or not objects.is_known()
