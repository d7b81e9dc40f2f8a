"""Sizes that come again and again beside others, as full batches and the last one: each keeps its shortcut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import arenas, execute
from tahr.session import shortcuts


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sizes that shortcuts are made for."""
    found: list[Any] = []
    original = execute.make_shortcut

    def noted(plan: Any, segment: Any, shapes: Any, *args: Any) -> Any:
        found.append(shapes[0][0])
        return original(plan, segment, shapes, *args)

    monkeypatch.setattr(execute, "make_shortcut", noted)
    return found


@pytest.fixture(params=["run", "callable"])
def call(session: Any, request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Adds up the squares of what it is given."""
    x = tf.placeholder(tf.float32, [None])
    total = tf.reduce_sum(tf.square(x))
    if request.param == "callable":
        return session.make_callable(total, [x])
    return lambda value: session.run(total, {x: value})


def twos(size: int) -> np.ndarray:
    return np.full(size, 2, np.float32)


def test_the_last_batch_of_each_epoch(call: Any, made: list[int]) -> None:
    for _ in range(4):
        for size in (6, 6, 6, 5):
            assert call(twos(size)) == 4 * size
    assert made == [6, 5]


def test_sizes_in_turn_get_shortcuts_when_they_came_often(call: Any, made: list[int]) -> None:
    for turn in range(3 * execute.OFTEN):
        for size in (6, 5, 7):
            assert call(twos(size)) == 4 * size
        if turn == execute.OFTEN // 2:
            assert not made
    assert made == [6, 5, 7]


def test_the_oldest_go_where_there_are_many(call: Any, made: list[int]) -> None:
    sizes = list(range(2, 2 + shortcuts.MAX_SIZES + 2))
    for size in sizes * 2:
        for _ in range(4):
            assert call(twos(size)) == 4 * size
    assert made[: len(sizes)] == sizes and len(made) == 2 * len(sizes)
    for size in sizes[-shortcuts.MAX_SIZES :]:
        assert call(twos(size)) == 4 * size
    assert len(made) == 2 * len(sizes)


@pytest.mark.parametrize("most", [0, 2**40])
def test_what_needs_much_memory_keeps_the_latest(
    session: Any, made: list[int], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(shortcuts, "MAX_BYTES", most)
    x = tf.placeholder(tf.float32, [None, 64])
    y = tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), x)
    for size in (50, 40, 50, 40):
        for _ in range(4):
            found = session.run(y, {x: np.ones((size, 64), np.float32)})
            np.testing.assert_allclose(found, np.ones((size, 64)), rtol=1e-5)
    assert made == ([50, 40] if most else [50, 40, 50, 40])


def test_a_shortcut_that_declines_is_not_made_again(session: Any, made: list[int]) -> None:
    x = tf.placeholder(tf.float32, [3])
    total = tf.Variable(tf.zeros([3]))
    step = tf.assign_add(total, x).op
    session.run(total.initializer)
    held = [session.run(total)]
    for i in range(12):
        session.run(step, {x: twos(3)})
        held.append(session.run(total))
        assert (held[0] == 0).all() and (held[-1] == 2 * (i + 1)).all()
    assert made == [3]


def test_what_is_fed_as_lists_now_and_then(call: Any, made: list[int]) -> None:
    for size in (3, 4) * 3:
        for value in (twos(size), twos(size).tolist(), twos(2 * size)[::2], twos(size).astype(np.float64)):
            for _ in range(3):
                assert call(value) == 4 * size
    assert made == [3, 4]


def test_dtypes_are_told_apart(session: Any) -> None:
    x = tf.placeholder(None, [2])
    y = x * 2
    for _ in range(5):
        for dtype in (np.float32, np.int32, np.float64):
            for _ in range(3):
                found = session.run(y, {x: np.array([1, 3], dtype)})
                assert found.dtype == dtype and found.tolist() == [2, 6]


# ---------------------------------------------------------------- memory


def softmaxes(session: Any) -> Callable[[int], Any]:
    """Needs room for a matrix of as many rows and columns as it is given."""
    x = tf.placeholder(tf.float32, [None, 2])
    y = tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), x)
    return lambda size: session.run(y, {x: np.ones((size, 2), np.float32)})


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How large the arenas are that are made."""
    found: list[int] = []
    original = arenas._new

    def noted(size: int) -> Any:
        found.append(size)
        return original(size)

    monkeypatch.setattr(arenas, "_new", noted)
    return found


def test_runs_of_many_sizes_share_an_arena(session: Any, taken: list[int]) -> None:
    run = softmaxes(session)
    for size in (90, 20, 60, 30, 80, 20, 90, 95, 40):
        np.testing.assert_allclose(run(size), np.ones((size, 2)), rtol=1e-5)
    assert len(taken) == 2 and 4 * 90 * 90 <= taken[0] < taken[1] < 3 * 4 * 95 * 95


def test_a_shortcut_keeps_no_more_than_it_needs(session: Any, taken: list[int]) -> None:
    run = softmaxes(session)
    for size in (90, 20, 20, 20, 20, 90):
        np.testing.assert_allclose(run(size), np.ones((size, 2)), rtol=1e-5)
    assert len(taken) == 2 and taken[1] < 3 * 4 * 20 * 20


def test_runs_at_the_same_time_have_an_arena_each(session: Any) -> None:
    run = softmaxes(session)
    wrong: list[Any] = []

    def work(first: int) -> None:
        for size in range(first, first + 60, 3):
            found = run(size)
            if not np.allclose(found, np.ones((size, 2)), rtol=1e-5):
                wrong.append(size)

    threads = [threading.Thread(target=work, args=(first,)) for first in (100, 101, 102, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_run_that_fails_takes_its_arena_along(session: Any, taken: list[int]) -> None:
    x, i = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.int32, [])
    y = tf.matmul(tf.gather(tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), [i]), x)
    for index in (0, 9, 1, 9, 2):
        feeds = {x: np.ones((3, 2), np.float32), i: index}
        if index < 3:
            np.testing.assert_allclose(session.run(y, feeds), [[1, 1]], rtol=1e-5)
        else:
            with pytest.raises(tf.errors.InvalidArgumentError):
                session.run(y, feeds)
    assert 1 <= len(taken) <= 3
