"""What a user can hand to native code: every kind of array, while others change it, and where there is no memory."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import builtin, runtime, segments
from tahr.backends.native.tiles import TILE
from tests.backends.native.hostile import definition_with, hostile

LONG = 2 * TILE + 1


def numbers(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return (np.arange(np.prod(shape, dtype=int)) % 23 - 11).reshape(shape).astype(dtype)


def misaligned(values: np.ndarray) -> np.ndarray:
    raw = np.zeros(values.nbytes + 1, np.uint8)
    view = raw[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    assert not (values.size and view.flags.aligned)
    return view


def read_only(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "plain": lambda a: a,
    "misaligned": misaligned,
    "byte swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read only": read_only,
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: a[::-1, ::-1],
    "column by column": np.asfortranarray,
    "one row, again and again": lambda a: np.broadcast_to(a[:1], a.shape),
    "another dtype": lambda a: a.astype(np.float64),
    "lists": lambda a: a.tolist() if a.size else a,
}


def session() -> tf.Session:
    return tf.Session(backend="native", tier="compiled")


@pytest.mark.parametrize("rows", [0, 1, 3, LONG // 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, rows: int) -> None:
    """Three times, since later runs may take a shortcut."""
    x = tf.placeholder(tf.float32, [None, 5])
    weights = tf.constant(numbers(5, 4))
    fetches = [x * 2.0 + 1.0, tf.reduce_sum(x, 0), tf.transpose(x), tf.matmul(x, weights), x[:, ::-1]]
    feed = LAYOUTS[layout](numbers(rows, 5))
    values = np.array(feed, np.float32).reshape(rows, 5)
    expected = [values * 2 + 1, values.sum(0), values.T, values @ numbers(5, 4), values[:, ::-1]]
    with hostile(), session() as sess:
        for _ in range(4):
            found = sess.run(fetches, {x: feed})
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-2)
    np.testing.assert_array_equal(np.array(feed, np.float32).reshape(rows, 5), values)


@pytest.mark.parametrize("value", [2.5, np.float32(2.5), np.array(2.5), np.array(2.5, np.float16), 2])
def test_scalars(value: Any) -> None:
    x = tf.placeholder(tf.float32, [])
    with session() as sess:
        for _ in range(4):
            assert sess.run(x * 2.0 + 1.0, {x: value}) == np.float32(value) * 2 + 1


def test_shapes_that_change_from_run_to_run() -> None:
    x, y = tf.placeholder(tf.float32, [None, None]), tf.placeholder(tf.float32, [None])
    fetches = [x + y, tf.reduce_max(x, 1), tf.reduce_sum(x * y)]
    with session() as sess:
        for rows, columns in [(2, 3), (3, 2), (1, 1), (0, 3), (3, 1), (2, 3), (LONG, 2), (2, LONG), (2, 3)]:
            a, b = numbers(rows, columns), numbers(columns)
            found = sess.run(fetches, {x: a, y: b})
            np.testing.assert_array_equal(found[0], a + b)
            np.testing.assert_array_equal(found[1], a.max(1))
            np.testing.assert_allclose(found[2], (a.astype(float) * b).sum(), rtol=1e-5)


def test_sizes_that_do_not_fit() -> None:
    x, y = tf.placeholder(tf.float32, [None, 4]), tf.placeholder(tf.float32, [None, 4])
    z = tf.placeholder(tf.float32, [None, None])
    with session() as sess:
        assert sess.run(x + y, {x: numbers(3, 4), y: numbers(3, 4)}).shape == (3, 4)
        with pytest.raises(tf.errors.InvalidArgumentError):
            sess.run(x + y, {x: numbers(3, 4), y: numbers(2, 4)})
        with pytest.raises(tf.errors.InvalidArgumentError):
            sess.run(tf.matmul(x, z), {x: numbers(3, 4), z: numbers(3, 4)})
        assert sess.run(x + y, {x: numbers(2, 4), y: numbers(2, 4)}).shape == (2, 4)


@pytest.mark.parametrize("bad", [-1, 5, 2**31 - 1, -(2**31)])
def test_an_index_out_of_range_is_an_error(bad: int) -> None:
    table, ids = tf.placeholder(tf.float32, [5, 3]), tf.placeholder(tf.int32, [None])
    fetch = tf.reduce_sum(tf.gather(table, ids) * 2.0)
    good = np.array([0, 4, 2], np.int32)
    with hostile(), session() as sess:
        for _ in range(3):
            assert sess.run(fetch, {table: numbers(5, 3), ids: good}) == 2 * numbers(5, 3)[good].sum()
            with pytest.raises(tf.errors.InvalidArgumentError, match="not in \\[0, 5\\)"):
                sess.run(fetch, {table: numbers(5, 3), ids: np.array([0, bad, 1], np.int32)})


def test_feeds_that_change_while_they_are_read() -> None:
    """Whatever is read, it is some number that was there; sizes and indices are never believed twice."""
    x, ids = tf.placeholder(tf.float32, [None, 8]), tf.placeholder(tf.int32, [None])
    fetch = tf.reduce_max(tf.gather(tf.nn.relu(x) + 1.0, ids))
    values, indices = numbers(64, 8), np.zeros(4 * TILE, np.int32)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            values[...] = -values
            indices[:] = 63 - indices
            indices[-1] = 1 << 30
            indices[-1] = 0

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with session() as sess:
            for _ in range(30):
                with contextlib.suppress(tf.errors.InvalidArgumentError):
                    assert 1 <= sess.run(fetch, {x: values, ids: indices}) <= 12
    finally:
        over.set()
        thread.join()


# ---------------------------------------------------------------- no memory


class _NoMemory:
    """NumPy whose large arrays cannot be had."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any) -> Any:
        if np.prod(shape, dtype=int) > 100:
            raise MemoryError("Unable to allocate")
        return np.empty(shape, dtype)


def _trained() -> tuple[Any, Any, Any, Any]:
    x = tf.placeholder(tf.float32, [None, 16])
    w = tf.Variable(numbers(16, 16) / 64)
    y = tf.nn.softmax(tf.matmul(tf.nn.relu(tf.matmul(x, w)), w))
    return x, w, y, tf.train.GradientDescentOptimizer(0.125).minimize(tf.reduce_mean(tf.square(y)))


@pytest.mark.parametrize("what", ["outputs", "arena"])
def test_no_memory(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run fails, variables are as they were, and the next run is right."""
    x, w, y, train = _trained()
    feed = {x: numbers(20, 16)}
    with session() as sess, tf.Session(backend="numpy") as reference:
        for s in (sess, reference):
            s.run(tf.global_variables_initializer())
        before = sess.run(w)
        with monkeypatch.context() as patch:
            if what == "outputs":
                patch.setattr(segments, "np", _NoMemory())
            else:
                patch.setattr(runtime, "memory", _NoMemory())
            for _ in range(3):
                with pytest.raises(tf.errors.ResourceExhaustedError, match="OOM"):
                    sess.run([y, train], feed)
        np.testing.assert_array_equal(sess.run(w), before)
        for _ in range(4):
            found, expected = (s.run([y, train], feed)[0] for s in (sess, reference))
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_no_memory_in_a_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the run to the long way, which fails."""
    memory: list[Any] = [np]
    definition = definition_with(lambda *a: memory[0].empty(*a))
    monkeypatch.setattr(builtin, "_definition", definition)
    x, w, y, train = _trained()
    feed = {x: numbers(20, 16)}
    with session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(4):
            sess.run([y, train], feed)
        before = sess.run(w)
        with monkeypatch.context() as patch:
            memory[0] = _NoMemory()
            patch.setattr(segments, "np", memory[0])
            with pytest.raises(tf.errors.ResourceExhaustedError, match="OOM"):
                sess.run([y, train], feed)
        memory[0] = np
        np.testing.assert_array_equal(sess.run(w), before)
        sess.run([y, train], feed)
        assert not np.array_equal(sess.run(w), before)


def test_more_than_there_can_be() -> None:
    x = tf.placeholder(tf.float32, [None, 1])
    fetch = x + tf.transpose(x)
    with session() as sess:
        assert sess.run(fetch, {x: numbers(2, 1)}).shape == (2, 2)
        with pytest.raises(tf.errors.ResourceExhaustedError):
            sess.run(fetch, {x: np.broadcast_to(np.float32(1), [1 << 23, 1])})
        gc.collect()
        assert sess.run(fetch, {x: numbers(3, 1)}).shape == (3, 3)
