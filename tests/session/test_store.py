"""A session's state: variables changed in place or copied, threads, values taken lazily."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core import scopes
from tahr.program.effects import SlotKey
from tahr.session import store
from tahr.session.store import Cell, Store


def cell_of(variable: Any) -> Cell:
    return Cell(SlotKey("", variable.op.name), variable.op)


@pytest.fixture
def cell() -> Cell:
    """A cell with the value [1, 2]."""
    found = cell_of(tf.Variable(tf.zeros([2])))
    found.assign(np.array([1.0, 2.0], np.float32))
    return found


def add_one(array: np.ndarray) -> np.ndarray:
    array += 1.0
    return array


# ---------------------------------------------------------------- one cell


def test_assigning_takes_a_copy(cell: Cell):
    value = np.array([3.0, 4.0], np.float32)
    cell.assign(value)
    value += 1.0
    np.testing.assert_array_equal(cell.read(), [3.0, 4.0])


@pytest.mark.skipif(
    not store._COUNTS_ARE_EXACT, reason="reference counts are not exact without a global lock"
)
@pytest.mark.parametrize("how", ["assign", "update", "writable"])
def test_what_nobody_reads_is_changed_in_place(cell: Cell, how: str):
    address = cell.read().ctypes.data
    _write(cell, how)
    assert cell.read().ctypes.data == address


def _write(cell: Cell, how: str) -> None:
    if how == "assign":
        cell.assign(np.array([7.0, 8.0], np.float32))
    elif how == "update":
        cell.update(add_one)
    else:
        add_one(cell.writable())


@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: a[::-1], lambda a: a.reshape(2, 1)[:, 0], memoryview]
)
@pytest.mark.parametrize("how", ["assign", "update", "writable"])
def test_what_somebody_reads_is_left_alone(cell: Cell, how: str, view: Callable[[Any], Any]):
    reader = view(cell.read())
    before = np.array(reader)
    _write(cell, how)
    np.testing.assert_array_equal(np.asarray(reader), before)
    assert not np.array_equal(cell.read(), [1.0, 2.0])


def test_assigning_another_shape(cell: Cell):
    cell.assign(np.zeros((2, 3), np.float32))
    assert cell.read().shape == (2, 3)


def test_assigning_a_value_to_itself(cell: Cell):
    cell.assign(cell.read())
    cell.assign(cell.read()[::-1])
    np.testing.assert_array_equal(cell.read(), [2.0, 1.0])


def test_a_failing_update_leaves_the_value():
    w = tf.Variable([1.0, 2.0])
    bad = tf.placeholder(tf.float32)
    step = tf.scatter_add(w, [0, 5], [10.0, 10.0])
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    with pytest.raises(tf.errors.InvalidArgumentError):
        session.run(step)
    with pytest.raises(tf.errors.InvalidArgumentError):
        session.run(tf.assign_add(w, bad), {bad: [1.0, 2.0, 3.0]})
    np.testing.assert_array_equal(session.run(w), [1.0, 2.0])


def test_an_uninitialized_variable():
    variable = tf.Variable(tf.zeros([2]), name="missing")
    found = cell_of(variable)
    assert not found.is_initialized
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value missing"
    ):
        found.read()
    with pytest.raises(tf.errors.FailedPreconditionError):
        found.update(add_one)
    assert not found.is_initialized


@pytest.mark.parametrize("use_resource", [False, True])
def test_every_way_to_use_an_uninitialized_variable_fails(use_resource: bool):
    w = tf.Variable(tf.zeros([2]), name="missing", use_resource=use_resource)
    session = tf.Session()
    for fetch in (w, w + 1.0, tf.assign_add(w, [1.0, 1.0]), tf.scatter_add(w, [0], [1.0]), w[0]):
        with pytest.raises(tf.errors.FailedPreconditionError, match="missing"):
            session.run(fetch)


# ---------------------------------------------------------------- values taken lazily


@pytest.mark.parametrize("use_resource", [False, True])
def test_in_tutorial_behaviour_an_array_is_taken_when_it_is_needed(use_resource: bool):
    initial = np.array([1.0, 2.0], np.float32)
    w = tf.Variable(initial, use_resource=use_resource)
    session = tf.Session()
    assert not session.run(tf.is_variable_initialized(w))
    np.testing.assert_array_equal(session.run(tf.assign_add(w, [1.0, 1.0])), [2.0, 3.0])
    assert session.run(tf.is_variable_initialized(w))
    np.testing.assert_array_equal(initial, [1.0, 2.0])
    np.testing.assert_array_equal(tf.Session().run(w), [1.0, 2.0])


def test_in_strict_behaviour_it_must_be_initialized(monkeypatch: pytest.MonkeyPatch):
    w = tf.Variable([1.0, 2.0])
    monkeypatch.setattr(scopes, "is_strict", lambda: True)
    with pytest.raises(tf.errors.FailedPreconditionError):
        tf.Session().run(w)


def test_threads_that_need_a_lazy_value_at_once_get_one():
    w = tf.Variable(np.zeros(1000))
    session = tf.Session()
    step = tf.assign_add(w, np.ones(1000))
    session._routine(step, ())
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        session.run(step)

    _in_threads(work, 8)
    np.testing.assert_array_equal(session.run(w), np.full(1000, 8.0))


# ---------------------------------------------------------------- the store


def test_operations_with_equal_keys_share_a_cell():
    first, second = tf.Variable(1.0), tf.Variable(2.0)
    found = Store()
    key = SlotKey("", "name")
    assert found.cell(key, first.op) is found.cell(key, second.op)
    assert found.cell(key, first.op) is not found.cell(SlotKey("container", "name"), first.op)


def test_updating_several_cells_at_once_and_one_twice():
    cells = [cell_of(tf.Variable(float(i))) for i in range(3)]
    for i, cell in enumerate(cells):
        cell.assign(np.array([float(i)], np.float32))

    def rotate(a: Any, b: Any, c: Any) -> None:
        a[0], b[0], c[0] = b[0], c[0], a[0]

    Store().update(cells, rotate)
    assert [float(c.read()[0]) for c in cells] == [1.0, 2.0, 0.0]


def test_updates_of_the_same_cells_in_other_orders_do_not_block_each_other():
    cells = [cell_of(tf.Variable(0.0)) for _ in range(3)]
    for cell in cells:
        cell.assign(np.zeros(1, np.float32))
    found = Store()

    def change(*arrays: Any) -> None:
        for array in arrays:
            array += 1.0

    def work(shift: int) -> None:
        for _ in range(100):
            found.update([cells[(i + shift) % 3] for i in range(3)], change)

    _in_threads(work, 6, lambda i: (i,))
    assert [float(c.read()[0]) for c in cells] == [600.0] * 3


def test_a_resource_is_made_once():
    made: list[int] = []
    found = Store()
    values = [found.resource("", "queue", lambda: made.append(1) or object()) for _ in range(3)]
    assert len(made) == 1
    assert values[0] is values[2]
    assert found.resource("other", "queue", object) is not values[0]


def test_closing_tells_the_resources():
    class Resource:
        closed = 0

        def session_closed(self) -> None:
            self.closed += 1

    found, resource = Store(), Resource()
    found.resource("", "a", lambda: resource)
    found.resource("", "b", object)
    found.close()
    assert resource.closed == 1


def test_sessions_on_one_target_share_variables_until_it_is_reset():
    w = tf.Variable(tf.constant(1.0))
    first, second = tf.Session("local-test"), tf.Session("local-test")
    first.run(tf.global_variables_initializer())
    second.run(tf.assign_add(w, 1.0))
    assert first.run(w) == 2.0
    tf.Session.reset("local-test")
    with pytest.raises(tf.errors.FailedPreconditionError):
        tf.Session("local-test").run(w)


def test_readers_beside_writers_see_whole_arrays():
    w = tf.Variable(np.zeros(10_000))
    step = tf.assign_add(w, np.ones(10_000))
    doubled = w * 2.0
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    torn: list[Any] = []

    def work(i: int) -> None:
        for _ in range(50):
            if i % 2:
                session.run(step)
            else:
                seen = session.run(doubled)
                if not (seen == seen[0]).all():
                    torn.append(seen)

    _in_threads(work, 6, lambda i: (i,))
    assert not torn
    assert session.run(w)[0] == 150.0


def _in_threads(work: Callable[..., None], count: int, args: Callable[[int], Any] = lambda i: ()) -> None:
    """Runs `work` in several threads at once; an error in one of them fails the test."""
    failed: list[BaseException] = []

    def guarded(*given: Any) -> None:
        try:
            work(*given)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=args(i)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    assert not any(t.is_alive() for t in threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_a_fork_no_lock_is_held() -> None:
    variable = tf.Variable(np.ones(3, np.float32))
    step = variable.assign_add(tf.ones(3))
    session = tf.Session()
    session.run(variable.initializer)
    (cell,) = session._store._cells.values()
    held, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with cell.lock:
            held.set()
            ends.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if session.run(step).tolist() == [2, 2, 2] else 1)
    _, status = os.waitpid(child, 0)
    ends.set()
    other.join()
    assert status == 0
