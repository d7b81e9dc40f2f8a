"""Runs on several threads wait for each other, but never in a circle: who waits holds nothing that others wait for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import objects
from tahr.backends.native.segments import BoundSegment

# How long a thread is given to come to where it waits, and to do what it can do at once.
SOON, AT_ONCE = 0.2, 20


@pytest.fixture(params=["native", "python"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds of both kinds of entries."""
    if request.param == "python":
        monkeypatch.setattr(objects, "is_known", lambda: False)
    elif not objects.is_known():
        pytest.skip("objects look different here")


# Short runs keep other Python threads out; long ones let them go on.
SIZES = pytest.mark.parametrize("size", [4, 400_000], ids=["short", "long"])
# From its fourth run on a signature has a shortcut.
WAYS = pytest.mark.parametrize("before", [0, 4], ids=["long-way", "shortcut"])


@contextmanager
def changing(session: Any, variable: Any) -> Generator[None]:
    """This thread changes a variable, as others see it."""
    (cell,) = [c for c in session._store._cells.values() if c._variable is variable.op]
    with cell.lock:
        array = cell.take()
        try:
            yield
        finally:
            cell.give(array)


def waiting(work: Callable[[], Any]) -> threading.Thread:
    """A thread with work that has to wait."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SOON)
    assert thread.is_alive()
    return thread


def finish(*threads: threading.Thread) -> None:
    """Waits for threads that have nothing to wait for any more."""
    for thread in threads:
        thread.join(AT_ONCE)
        assert not thread.is_alive(), "it waits for ever"


def is_free(lock: Any) -> bool:
    """Whether this thread can have a lock."""
    if not lock.acquire(timeout=AT_ONCE):
        return False
    lock.release()
    return True


def exchange(session: Any, size: int) -> tuple[list[Any], list[Any]]:
    """Two variables of ones, and for each the step that adds the other one to it."""
    a, b = variables = [tf.Variable(np.ones(size, np.float32)) for _ in range(2)]
    session.run(tf.global_variables_initializer())
    return variables, [tf.assign_add(a, b).op, tf.assign_add(b, a).op]


@SIZES
@WAYS
def test_who_waits_to_read_holds_no_variable(session: Any, size: int, before: int) -> None:
    (a, b), (step, _) = exchange(session, size)
    for _ in range(before):
        session.run(step)
    assert len(session._shortcuts) == (before > 0)
    with changing(session, b):
        thread = waiting(lambda: session.run(step))
        (cell,) = [c for c in session._store._cells.values() if c._variable is a.op]
        assert is_free(cell.lock)
    finish(thread)
    assert (session.run(a) == 2 + before).all()


@SIZES
@WAYS
def test_each_reads_what_the_other_changes(session: Any, size: int, before: int) -> None:
    """As the two nets of a game do that are trained on a thread each."""
    variables, steps = exchange(session, size)
    scale = tf.assign(variables[0], variables[0] * 0.5).op, tf.assign(variables[1], variables[1] * 0.5).op
    for step in (*steps, *scale) * before:
        session.run(step)

    def work(*steps: Any) -> None:
        for _ in range(150 if size < 100 else 20):
            for step in steps:
                session.run(step)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=work, args=pair, daemon=True) for pair in (*zip(steps, scale),) * 2
        ]
        for thread in threads:
            thread.start()
        finish(*threads)
    finally:
        sys.setswitchinterval(interval)
    assert all(np.isfinite(session.run(variables)).flat)


@SIZES
@WAYS
def test_who_waits_for_a_variable_holds_no_stream(session: Any, size: int, before: int) -> None:
    total = tf.Variable(np.zeros(size, np.float32))
    step = tf.assign_add(total, tf.random_uniform([size], seed=7)).op
    session.run(total.initializer)
    for _ in range(before):
        session.run(step)
    assert len(session._shortcuts) == (before > 0)
    with changing(session, total):
        thread = waiting(lambda: session.run(step))
        assert all(is_free(lock) for lock, _ in session._store._streams.values())
    finish(thread)
    with tf.Session(backend="numpy") as reference:
        reference.run(total.initializer)
        for _ in range(before + 1):
            reference.run(step)
        np.testing.assert_allclose(session.run(total), reference.run(total), rtol=1e-6)


@WAYS
def test_a_stream_that_another_thread_has(session: Any, before: int) -> None:
    drawn = tf.random_uniform([3], seed=7)
    found = [session.run(drawn) for _ in range(before + 1)]
    ((lock, _),) = session._store._streams.values()
    with lock:
        thread = waiting(lambda: found.append(session.run(drawn)))
    finish(thread)
    found.append(session.run(drawn))
    with tf.Session(backend="numpy") as reference:
        np.testing.assert_allclose(found, [reference.run(drawn) for _ in found], rtol=1e-6)


def test_a_run_that_failed_keeps_its_table_until_the_error_is_made(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    failure = BoundSegment.failure

    def watched(self: BoundSegment, frame: Any, arena: Any) -> Exception:
        seen.append(any(other is frame for other, _ in self._frames))
        return failure(self, frame, arena)

    monkeypatch.setattr(BoundSegment, "failure", watched)
    indices = tf.placeholder(tf.int32, [None])
    rows = tf.gather(tf.constant(np.ones((4, 2), np.float32)) * 2.0, indices)
    for _ in range(3):
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(rows, {indices: [9]})
    assert seen == [False] * 3
