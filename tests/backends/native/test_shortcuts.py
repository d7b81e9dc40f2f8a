"""Runs that are done again: what has a shortcut, and that nobody can tell."""

from __future__ import annotations

import _thread
import gc
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf


def shortcuts(session: Any) -> list[Any]:
    return list(session._shortcuts.values())


def values(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


# ---------------------------------------------------------------- what is fetched and fed


def test_the_structure_of_the_fetches_does_not_matter(session: Any) -> None:
    """One function serves them all, each has its own shortcut."""
    x = tf.placeholder(tf.float32, [None])
    y, total = x * 2.0, tf.reduce_sum(x)
    nothing = tf.group(y.op)
    fetches: list[Any] = [
        [y, total],
        (y, total),
        [total, nothing, y, y],
        y,
        total,
        nothing,
        [],
        {"y": y, "total": total},
        [y, [total, (y, x)]],
        OrderedDict(a=x, b=total),
        x,
    ]
    feed = values(3)
    expected: dict[Any, Any] = {y: feed * 2, total: np.float32(3), nothing: None, x: feed}

    def build(structure: Any) -> Any:
        if isinstance(structure, dict):
            return type(structure)((k, build(v)) for k, v in structure.items())
        if isinstance(structure, (list, tuple)):
            return type(structure)(map(build, structure))
        return expected[structure]

    calls = [session.make_callable(fetch, [x]) for fetch in fetches if fetch != []]
    for _ in range(4):
        for fetch in fetches:
            assert repr(session.run(fetch, {x: feed})) == repr(build(fetch))
        for fetch, call in zip((f for f in fetches if f != []), calls):
            assert repr(call(feed)) == repr(build(fetch))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_views_of_what_is_computed(session: Any, count: int) -> None:
    """A reshape is its result's own array; of other views there is a copy, made by a kernel."""
    x = tf.placeholder(tf.float32, [None, 2, 5])
    y, z = x * 2.0, x + 1.0
    fetches: list[Any] = [
        tf.reshape(y, [-1]),
        [tf.reshape(y, [-1, 5]), z],
        [y, tf.reshape(y, [-1, 10])],
        tf.transpose(y),
        y[:, -1],
        y[:, 1:, ::2],
        tf.expand_dims(y, 0),
        tf.broadcast_to(tf.reduce_sum(y), [2, 3]),
        tf.reshape(tf.transpose(y), [2, -1]),
    ]
    feed = values(count, 2, 5)
    for fetch in fetches:
        with tf.Session(backend="numpy") as other:
            expected = other.run(fetch, {x: feed})
        for _ in range(4):
            found = session.run(fetch, {x: feed})
            assert repr(found) == repr(expected)
            first = found[0] if isinstance(fetch, list) else found
            first += 1  # the caller's own
    assert len(shortcuts(session)) == len(fetches)


def test_tensors_are_fed_by_name_and_in_any_order(session: Any) -> None:
    x, y = (tf.placeholder(tf.float32, [2], name=name) for name in "xy")
    z = x - y
    a, b = values(2), np.ones(2, np.float32)
    for _ in range(4):
        for feeds in ({x: a, y: b}, {y: b, x: a}, {"x:0": a, y: b}, {"y:0": b, "x:0": a}):
            np.testing.assert_array_equal(session.run(z, feeds), a - b)
        np.testing.assert_array_equal(session.run(z, {x: b, y: a}), b - a)
    assert len(shortcuts(session)) == 4


@pytest.mark.parametrize("scalar", [2, 2.0, True, np.float32(2), np.int64(2), np.array(2.0), "two"])
@pytest.mark.parametrize(
    "vector", [[1, 2.5], (1.0, 2.5), np.array([1, 2.5]), np.ma.array([1, 2.5]), [[1, 2.5]]]
)
def test_whatever_can_be_fed_has_a_shortcut(scalar: Any, vector: Any) -> None:
    """It does what the long way does."""
    x, y = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [2])
    fetches: list[Any] = [x * y, [x, y * 2.0, y]]
    results: list[str] = []
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier=None) as session:
            calls = [session.make_callable(fetch, [x, y]) for fetch in fetches]
            for _ in range(4):
                found = [outcome(lambda f=f: session.run(f, {x: scalar, y: vector})) for f in fetches]
                found += [outcome(lambda c=c: c(scalar, vector)) for c in calls]
                found += [outcome(lambda c=c: c(scalar, vector, vector)) for c in calls]
                results.append(repr(found))
            assert backend == "numpy" or shortcuts(session) or "Error" in results[0]
    assert len(set(results)) == 1


def outcome(call: Callable[[], Any]) -> Any:
    """What is given back, or what is raised."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def test_a_graph_that_changes(session: Any) -> None:
    x, count = tf.placeholder(tf.float32, [2]), tf.Variable(0)
    y = x * 2.0
    counted = tf.assign_add(count, 1).op
    session.run(count.initializer)
    call = session.make_callable(y, [x])
    for _ in range(3):
        session.run(y, {x: values(2)})
        call(values(2))
    y.op.add_control_inputs([counted])
    for i in range(3):
        session.run(y, {x: values(2)})
        call(values(2))
        assert session.run(count) == 2 * i + 2


def test_a_closed_session() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = x * 2.0
    session = tf.Session(backend="native")
    call = session.make_callable(y, [x])
    for _ in range(3):
        session.run(y, {x: values(2)})
        call(values(2))
    session.close()
    for run in (lambda: session.run(y, {x: values(2)}), lambda: call(values(2))):
        with pytest.raises(RuntimeError, match="closed"):
            run()


def test_a_session_is_let_go(session: Any) -> None:
    other = tf.Session(backend="native")
    v = tf.Variable([1.0, 2.0])
    step = tf.assign_add(v, [1.0, 1.0]).op
    other.run(v.initializer)
    for _ in range(3):
        other.run(step)
    assert shortcuts(other)
    gone = weakref.ref(other._store)
    del other
    gc.collect()
    assert gone() is None


def test_products_of_parts_of_arrays(session: Any) -> None:
    """Kernels read what is fed, and a variable, from several places on, or not from its start."""
    x, w = tf.placeholder(tf.float32, [None, 6]), tf.Variable(values(9, 4))
    parts = [tf.matmul(x[:, 3 * i : 3 * i + 3], w[3 * i : 3 * i + 3]) for i in range(2)]
    last = tf.matmul(x[:, 3:], w[6:])
    session.run(w.initializer)
    matrix = values(9, 4)
    for rows in (5, 12):
        feed = values(rows, 6)
        for _ in range(4):
            expected = [feed[:, :3] @ matrix[:3], feed[:, 3:] @ matrix[3:6]]
            for found, wanted in zip(session.run(parts, {x: feed}), expected):
                np.testing.assert_allclose(found, wanted)
            np.testing.assert_allclose(session.run(last, {x: feed}), feed[:, 3:] @ matrix[6:])
    assert len(shortcuts(session)) == 2


# ---------------------------------------------------------------- variables


def descent(size: int) -> tuple[Any, Any, Any]:
    x = tf.placeholder(tf.float32, [size])
    w = tf.Variable(np.ones(size, np.float32))
    return x, w, tf.assign_sub(w, x).op


# Short runs keep other Python threads out; long ones let them go on.
SIZES = pytest.mark.parametrize("size", [4, 400_000])


@SIZES
def test_an_array_that_the_user_holds_does_not_change(session: Any, size: int) -> None:
    x, w, step = descent(size)
    session.run(w.initializer)
    feed = np.ones(size, np.float32)
    held = []
    for i in range(6):
        held.append(session.run(w))
        session.run(step, {x: feed})
        for j, array in enumerate(held):
            assert (array == 1 - j).all(), (i, j)


@SIZES
def test_threads_lose_no_update(session: Any, size: int) -> None:
    """Several signatures change the same variables at the same time, in different orders."""
    x = tf.placeholder(tf.float32, [])
    a, b = (tf.Variable(np.zeros(size, np.float32)) for _ in range(2))
    both = [
        tf.group(*[tf.assign_add(v, tf.fill([size], x * factor)) for v in pair])
        for pair in ((a, b), (b, a))
        for factor in (1.0, 2.0)
    ]
    alone = tf.assign_add(a, tf.fill([size], x)).op
    session.run(tf.global_variables_initializer())
    times = 300 if size < 100 else 30
    for fetch in (*both, alone):
        for _ in range(3):
            session.run(fetch, {x: 0.0})
    assert len(shortcuts(session)) == 5
    errors: list[BaseException] = []

    def work(fetch: Any) -> None:
        try:
            for _ in range(times):
                session.run(fetch, {x: 1.0})
        except BaseException as error:  # looked at by the test
            errors.append(error)

    torn: list[Any] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            found = session.run(a)
            if found.min() != found.max():
                torn.append(found)

    threads = [threading.Thread(target=work, args=(fetch,)) for fetch in (*both, *both, alone)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    reader.join()
    assert not errors and not torn
    assert (session.run(b) == 12 * times).all()
    assert (session.run(a) == 13 * times).all()


@pytest.mark.parametrize("size", [4, 400_000])
def test_an_interrupt_loses_nothing(session: Any, size: int) -> None:
    """Wherever it strikes: what was changed is back, and no lock is held."""
    x, w, step = descent(size)
    session.run(w.initializer)
    feed = {x: np.ones(size, np.float32)}
    for _ in range(3):
        session.run(step, feed)
    done, struck = 3, 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        timer = threading.Timer(0.002, _thread.interrupt_main)
        try:
            timer.start()
            while True:
                session.run(step, feed)
                done += 1
        except KeyboardInterrupt:
            struck += 1
        timer.join()
    found = session.run(w)
    assert struck and found.min() == found.max()
    assert 0 <= (1 - found[0]) - done <= struck  # a run may be done when the interrupt comes
    (cell,) = session._store._cells.values()
    assert cell.lock.acquire(blocking=False)
    cell.lock.release()


def test_a_step_that_fails(session: Any) -> None:
    """The error is that of the long way, and later runs are right."""
    table = tf.Variable(values(4, 2))
    i = tf.placeholder(tf.int32, [2])
    rows = tf.gather(table, i)
    with tf.control_dependencies([rows]):
        after = tf.assign_add(table, tf.ones([4, 2])).op
    session.run(table.initializer)
    good, bad = np.array([1, 3], np.int32), np.array([1, 9], np.int32)
    messages: set[str] = set()
    for _ in range(4):
        session.run([rows, after], {i: good})
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            session.run([rows, after], {i: bad})
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert shortcuts(session)


# ---------------------------------------------------------------- variables that are overwritten


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.int32, tf.bool])
@pytest.mark.parametrize("shape", [(), (0,), (3, 5)])
def test_an_assignment_of_a_whole_variable(session: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    v, x = tf.Variable(tf.zeros(shape, dtype)), tf.placeholder(dtype, shape)
    assigned, copied = tf.assign(v, x), tf.Variable(tf.zeros(shape, dtype))
    copy = tf.assign(copied, v)
    session.run(tf.global_variables_initializer())
    for i in range(5):
        feed = (values(*shape) % 7 - i).astype(dtype.as_numpy_dtype)
        np.testing.assert_array_equal(session.run(assigned, {x: feed}), feed)
        session.run(copy.op)
        np.testing.assert_array_equal(session.run(copied), feed)
    assert len(shortcuts(session)) >= 2


def test_load_has_a_shortcut(session: Any) -> None:
    v = tf.Variable(values(4))
    for i in range(4):
        v.load(values(4) * i, session)
        np.testing.assert_array_equal(session.run(v), values(4) * i)
    assert shortcuts(session)


@SIZES
def test_who_holds_a_variable_that_is_overwritten_keeps_its_value(session: Any, size: int) -> None:
    x, w, _ = descent(size)
    overwrite = tf.assign(w, x).op
    held = []
    for i in range(6):
        session.run(overwrite, {x: np.full(size, i, np.float32)})
        (cell,) = session._store._cells.values()
        held.append(cell.array if i % 2 else session.run(w))
        for j, array in enumerate(held):
            assert (array == j).all(), (i, j)
    assert shortcuts(session)


@SIZES
def test_nobody_sees_half_of_what_is_assigned(session: Any, size: int) -> None:
    x = tf.placeholder(tf.float32, [])
    a, b = (tf.Variable(np.zeros(size, np.float32)) for _ in range(2))
    both = tf.group(tf.assign(a, tf.fill([size], x)), tf.assign(b, tf.fill([size], x)))
    for i in range(3):
        session.run(both, {x: float(i)})
    assert shortcuts(session)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for i in range(100):
                session.run(both, {x: float(i)})
                found = session.run(a)
                assert found.min() == found.max()
        except BaseException as error:  # looked at by the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert (session.run(a) == 99).all() and (session.run(b) == 99).all()


def test_what_was_overwritten_comes_back_where_a_run_fails(session: Any) -> None:
    table, i = tf.constant(values(4, 2)), tf.placeholder(tf.int32, [])
    v = tf.Variable(values(2))
    with tf.control_dependencies([tf.assign(v, [7.0, 7.0])]):
        row = tf.gather(table, i)
    session.run(v.initializer)
    for _ in range(4):
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(row, {i: 9})
        np.testing.assert_array_equal(session.run(v), values(2))
    for _ in range(3):
        session.run(row, {i: 1})
    np.testing.assert_array_equal(session.run(v), [7.0, 7.0])
    session.run(v.initializer)
    with pytest.raises(tf.errors.InvalidArgumentError):
        session.run(row, {i: 9})
    np.testing.assert_array_equal(session.run(v), values(2))


# ---------------------------------------------------------------- loops


@pytest.fixture
def power(session: Any) -> tuple[Any, Any, Any]:
    """x to the power of n, and its gradient."""
    x, n = tf.placeholder(tf.float32, [2]), tf.placeholder(tf.int32, [])
    _, y = tf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * x), [0, tf.ones([2])])
    return x, n, [y, *tf.gradients(y, x)]


def test_loops_have_shortcuts(session: Any, power: tuple[Any, Any, Any]) -> None:
    x, n, fetches = power
    for k in (3, 0, 1, 10, 3):
        for _ in range(3):
            feeds = {x: np.array([1.5, -2.0], np.float32), n: np.array(k, np.int32)}
            (y,) = session.run([fetches[0]], feeds)
            np.testing.assert_allclose(y, feeds[x] ** k, rtol=1e-5)
            y, dx = session.run(fetches, feeds)
            np.testing.assert_allclose(dx, k * feeds[x] ** (k - 1.0), rtol=1e-5, atol=1e-6)
    assert shortcuts(session)


def test_draws_in_loops_and_branches_have_shortcuts(session: Any) -> None:
    """Their streams are moved on as far as the runs have drawn, whichever way the runs go."""
    tf.set_random_seed(5)
    n, flag = tf.placeholder(tf.int32, []), tf.placeholder(tf.bool, [])
    drawn = tf.while_loop(
        lambda i, _: i < n, lambda i, y: (i + 1, y + tf.random_uniform([3])), [0, tf.zeros([3])]
    )[1]
    chosen = tf.cond(flag, lambda: tf.random_normal([2]), lambda: tf.random_uniform([2], 5, 6))
    fetches = [drawn, chosen, tf.random_uniform([4])]
    fed = [{n: np.array(k, np.int32), flag: np.array(k % 3 == 1)} for k in (3, 0, 1, 10, 3, 1, 0, 2)]
    found = [session.run(fetches, feeds) for feeds in fed]
    assert shortcuts(session)
    session._shortcuts.clear()
    found += [session.run(fetches, feeds) for feeds in fed]
    with tf.Session(backend="numpy") as reference:
        expected = [reference.run(fetches, feeds) for feeds in (*fed, *fed)]
    for a, b in zip(found, expected):
        for x, y in zip(a, b):
            np.testing.assert_allclose(x, y, rtol=1e-6)


def test_threads_share_a_stream_of_a_loop(session: Any) -> None:
    """Each number is drawn once."""
    fetch = tf.while_loop(
        lambda i, _: i < 20,
        lambda i, y: (i + 1, tf.maximum(y, tf.random_uniform([], 0, 10**6, tf.int32, seed=3))),
        [0, 0],
    )[1]
    with tf.Session(backend="numpy") as reference:
        expected = sorted(int(reference.run(fetch)) for _ in range(84))
    found = [int(session.run(fetch)) for _ in range(4)]
    assert shortcuts(session)

    def work() -> None:
        found.extend(int(session.run(fetch)) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == expected


def endless() -> tuple[Any, Any]:
    flag = tf.placeholder(tf.bool, [])
    found = tf.while_loop(lambda i: tf.logical_or(i < 5, flag), lambda i: [i + 1], [tf.constant(0)])
    return flag, found


@pytest.mark.parametrize("end", ["close", "interrupt"])
def test_an_endless_loop_is_ended(end: str) -> None:
    flag, found = endless()
    session = tf.Session(backend="native", tier="compiled")
    for _ in range(3):
        assert session.run(found, {flag: np.array(False)}) == 5
    assert shortcuts(session)
    stop: Callable[[], Any] = session.close if end == "close" else _thread.interrupt_main
    timer = threading.Timer(0.2, stop)
    timer.start()
    with pytest.raises(tf.errors.CancelledError if end == "close" else KeyboardInterrupt):
        session.run(found, {flag: np.array(True)})
    timer.join()
    if end == "interrupt":
        assert session.run(found, {flag: np.array(False)}) == 5, "it begins at the beginning"


def test_an_endless_loop_in_a_session_with_a_timeout() -> None:
    flag, found = endless()
    config = tf.ConfigProto(operation_timeout_in_ms=200)
    with tf.Session(backend="native", tier="compiled", config=config) as session:
        for _ in range(3):
            assert session.run(found, {flag: np.array(False)}) == 5
        with pytest.raises(tf.errors.DeadlineExceededError):
            session.run(found, {flag: np.array(True)})
