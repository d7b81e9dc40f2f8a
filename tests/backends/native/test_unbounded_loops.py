"""Loops of which nobody knows before how often they run, with their gradients: lists without a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import builtin, growing, objects, runtime
from tests.backends.native import natively
from tests.backends.native.hostile import hostile
from tests.backends.native.loop_programs import repeated, with_gradients

F = tf.float64
RNG = np.random.RandomState(3)

Program = Callable[[Any, Any], Any]


@pytest.fixture(name="x")
def _x() -> Any:
    return tf.placeholder(F, [None, 3])


@pytest.fixture(name="w")
def _w() -> Any:
    return tf.placeholder(F, [3, 3])


@pytest.fixture(name="no_room")
def _no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists begin with room for one item, so that they are often full."""
    monkeypatch.setattr(growing, "FIRST_ROOM", 1)


def _feeds(x: Any, w: Any, *rows: int) -> list[dict[Any, Any]]:
    return [{x: RNG.randn(n, 3), w: 0.3 * RNG.randn(3, 3)} for n in rows or (2, 0, 1, 5)]


def _until_small(step: Callable[[Any, Any], Any], first: Any, limit: float = 0.01) -> Any:
    """As many steps as it takes until all is small."""
    return tf.while_loop(
        lambda i, h: tf.reduce_sum(tf.abs(h)) > limit, lambda i, h: (i + 1, step(i, h)), [0, first]
    )[1]


def _shrunk(w: Any) -> Callable[[Any, Any], Any]:
    return lambda _, h: 0.9 * tf.tanh(tf.matmul(h, w))


# ---------------------------------------------------------------- programs


def _fixed_point(x: Any, w: Any) -> Any:
    def step(h: Any) -> Any:
        return 0.9 * tf.tanh(tf.matmul(h, w) + x)

    return tf.while_loop(lambda h: tf.norm(h - step(h)) > 1e-6, step, [x])


def _in_a_map(x: Any, w: Any) -> Any:
    return tf.map_fn(lambda row: _until_small(_shrunk(w), row[None])[0], x)


def _gradient_in_a_map(x: Any, w: Any) -> Any:
    """The lists begin in the body of a loop."""

    def task(row: Any) -> Any:
        y = _until_small(_shrunk(w), row[None])
        return tf.gradients(tf.reduce_sum(y * y), row)[0]

    return tf.map_fn(task, x)


def _in_branches(x: Any, w: Any) -> Any:
    def of(function: Callable[[Any], Any]) -> Callable[[], Any]:
        return lambda: _until_small(lambda _, h: 0.9 * function(tf.matmul(h, w)), x)

    return tf.cond(tf.reduce_sum(x) > 0, of(tf.tanh), of(tf.sin))


def _around_branches(x: Any, w: Any) -> Any:
    def step(i: Any, h: Any) -> Any:
        return tf.cond(tf.equal(i % 3, 1), lambda: 0.5 * tf.sin(h) * h, lambda: _shrunk(w)(i, h))

    return _until_small(step, x)


def _twice_differentiated(x: Any, w: Any) -> Any:
    y = _until_small(_shrunk(w), x, 0.1)
    return tf.gradients(tf.reduce_sum(y * y), x)[0]


def _two_losses(x: Any, w: Any) -> Any:
    """Two gradients pop the same lists: one of them copies of these."""
    y = _until_small(_shrunk(w), x)
    return y + tf.gradients(tf.sin(y), x)[0]


def _scalars(x: Any, w: Any) -> Any:
    total = tf.reduce_sum(x * x) + tf.reduce_sum(w)
    return _until_small(lambda _, h: 0.7 * tf.sin(h) * h, total) * x


PROGRAMS = [
    _fixed_point,
    _in_a_map,
    _gradient_in_a_map,
    _in_branches,
    _around_branches,
    _twice_differentiated,
    _two_losses,
    _scalars,
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_gradients(program: Program, x: Any, w: Any, no_room: None) -> None:
    natively.is_as_numpy(with_gradients(program(x, w), x, w), *_feeds(x, w))


@pytest.mark.parametrize("program", PROGRAMS)
def test_bits_depend_on_no_room(program: Program, x: Any, w: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fetches = with_gradients(program(x, w), x, w)
    (feeds,) = _feeds(x, w, 3)
    found: list[Any] = []
    for room in (2, 5, 1000):
        monkeypatch.setattr(growing, "FIRST_ROOM", room)
        found.append(natively.run(fetches, feeds)[0])
    for *others, first in zip(*found):
        assert all(natively.same(first, other) for other in others)


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_is_written_outside_of_lists(
    program: Program, x: Any, w: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "FIRST_ROOM", 1)
    fetches = with_gradients(program(x, w), x, w)
    for feeds in _feeds(x, w):
        with tf.Session(backend="numpy") as session:
            expected = session.run(fetches, feeds)
        with hostile(), tf.Session(backend="native", tier="compiled") as session:
            natively.execute._records.clear()
            for _ in range(2):
                for found, wanted in zip(session.run(fetches, feeds), expected):
                    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("counts", [[2, 0, 40, 1], [0, 0, 0, 0], [17, 17, 17, 17]])
def test_as_many_inner_iterations_as_data_says(x: Any, w: Any, counts: list[int], no_room: None) -> None:
    """All inner iterations push on one list."""
    n = tf.placeholder(tf.int32, [None])
    y = repeated(4, lambda i, h: 1.5 * repeated(n[i], lambda _, h: tf.tanh(tf.matmul(h, w)), h), x)
    natively.is_as_numpy(with_gradients(y, x, w), *({**feed, n: counts} for feed in _feeds(x, w)))


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32])
def test_dtypes(dtype: Any, no_room: None) -> None:
    x = tf.placeholder(dtype, [None, 3])
    y = tf.while_loop(lambda h: tf.reduce_max(h) > 1, lambda h: h * tf.constant(0.5, dtype) * h, [x])
    fetches, feeds = with_gradients(y, x), {x: np.array([[1.75, 1.5, 1], [1, 1.25, 1.875]])}
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    found, left = natively.run(fetches, feeds, runs=2)
    assert not left
    for got, wanted in zip(found, expected):
        np.testing.assert_allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=0.02)


def test_numpy_computes_between_a_loop_and_its_gradient(x: Any, w: Any, no_room: None) -> None:
    """The lists go from one segment to the next, and may become longer there."""
    y = _until_small(_shrunk(w), x)
    z = tf.igamma(tf.constant(2, F), tf.square(y))
    natively.is_as_numpy(with_gradients(z, x, w), *_feeds(x, w), hosts=["Igamma"])


# ---------------------------------------------------------------- effects


def test_variables_and_random_numbers(no_room: None) -> None:
    """What was done before a list was full is not done again."""
    x, seed = tf.placeholder(F, [None, 3]), 3
    weights = tf.Variable(0.2 * np.ones((3, 3)))
    count = tf.Variable(0)

    def step(i: Any, h: Any) -> Any:
        with tf.control_dependencies([tf.assign_add(count, 1), tf.Assert(tf.reduce_all(h < 1e9), [h])]):
            return 0.9 * tf.tanh(tf.matmul(h, weights)) + 1e-5 * tf.random_uniform([3], seed=seed, dtype=F)

    y = _until_small(step, tf.sin(x), 0.001)
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y * y))
    found: list[Any] = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        natively.execute._records.clear()
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            results = [session.run([y, train], {x: np.full((n, 3), n + 1.0)})[0] for n in (2, 2, 2, 2, 5, 2)]
            found.append([*results, *session.run([weights, count])])
    assert set(natively.left_to_numpy()) == {"nothing in it is native"}  # the initializers
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_an_assertion_fails_in_the_middle(no_room: None) -> None:
    n = tf.placeholder(tf.int32, [])
    x = tf.placeholder(F, [3])

    def step(i: Any, h: Any) -> Any:
        with tf.control_dependencies([tf.Assert(i < 40, ["so far", i])]):
            return tf.sin(h)

    fetches = with_gradients(repeated(n, step, x), x)
    with tf.Session(backend="numpy") as reference, tf.Session(backend="native", tier="compiled") as session:
        for count in (3, 60, 3, 3, 30, 60, 40, 41, 7):
            feeds = {n: count, x: RNG.randn(3)}
            if count > 40:
                with pytest.raises(tf.errors.InvalidArgumentError, match="so far"):
                    session.run(fetches, feeds)
                continue
            for found, expected in zip(session.run(fetches, feeds), reference.run(fetches, feeds)):
                np.testing.assert_allclose(found, expected, rtol=1e-9)


# ---------------------------------------------------------------- runs


def _sines() -> tuple[Any, Any, Any]:
    """As many sines of sines as are asked for, with their gradient."""
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(F, [3])
    return n, x, with_gradients(repeated(n, lambda _, h: tf.sin(h), x), x)


@pytest.mark.parametrize("is_known", [True, False])
def test_lists_become_longer_in_shortcuts(is_known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sizes, but ever more iterations: each run is a shortcut's once there is one."""
    if not is_known:
        monkeypatch.setattr(objects, "is_known", lambda: False)
    n, x, fetches = _sines()
    grown: list[int] = []
    grow = growing.Growing.grow

    def noted(self: Any, *args: Any) -> None:
        grown.append(1)
        grow(self, *args)

    monkeypatch.setattr(growing.Growing, "grow", noted)
    with tf.Session(backend="numpy") as reference, tf.Session(backend="native", tier="compiled") as session:
        run = session.make_callable(fetches, [n, x])
        for count in (2, 2, 2, 2, 2, 2, 100, 0, 1000, 999, 3):
            array = RNG.randn(3)
            while builtin.is_coming():
                pass
            expected = reference.run(fetches, {n: count, x: array})
            for found, wanted in zip(run(np.int32(count), array), expected):
                np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert 0 < len(grown) < 100


def test_threads_in_one_session() -> None:
    n, x, fetches = _sines()
    wrong: list[Any] = []
    array = np.array([0.1, 1.0, 2.0])
    counts = (1, 50, 3, 400, 17, 1000)
    with tf.Session(backend="numpy") as reference:
        expected = {count: reference.run(fetches, {n: count, x: array}) for count in counts}
    with tf.Session(backend="native", tier="compiled") as session:

        def work(turn: int) -> None:
            for i in range(40):
                count = counts[(i + turn) % len(counts)]
                found = session.run(fetches, {n: count, x: array})
                if not all(np.allclose(f, e, rtol=1e-9) for f, e in zip(found, expected[count])):
                    wrong.append(count)

        threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that needs too much says so, and those behind it go on."""
    n, x, fetches = _sines()
    aligned = runtime.aligned

    def scarce(count: int) -> Any:
        if count > 20_000:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return aligned(count)

    monkeypatch.setattr(runtime, "aligned", scarce)
    with tf.Session(backend="native", tier="compiled") as session:
        for count in (10, 10_000, 10, 10, 10, 10, 10_000, 100):
            feeds = {n: count, x: np.zeros(3)}
            if count == 10_000:
                with pytest.raises(tf.errors.ResourceExhaustedError, match="OOM"):
                    session.run(fetches, feeds)
            else:
                np.testing.assert_array_equal(session.run(fetches, feeds)[1], np.zeros(3))


def test_a_loop_without_an_end_is_cancelled() -> None:
    x = tf.placeholder(F, [])
    (dx,) = tf.gradients(tf.while_loop(lambda h: h > -1, tf.sin, [x]), x)
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.DeadlineExceededError),
    ):
        session.run(dx, {x: 1.0}, options=tf.RunOptions(timeout_in_ms=200))


def test_memory_stays_for_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(F, [None])
    fetches = with_gradients(repeated(n, lambda _, h: tf.sin(h), x), x)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(fetches, {n: 1000, x: np.ones(50)})
        made: list[int] = []
        aligned = runtime.aligned

        def noted(count: int) -> Any:
            made.append(count)
            return aligned(count)

        monkeypatch.setattr(runtime, "aligned", noted)
        for size in (40, 30, 20, 30):
            session.run(fetches, {n: 1000, x: np.ones(size)})
        assert sum(made) < 10_000


def test_explain_says_how_much_memory_lists_have() -> None:
    n, x, fetches = _sines()
    with tf.Session(backend="native", tier="compiled") as session:
        feeds = {n: 100, x: np.ones(3)}
        session.run(fetches, feeds)
        explained = session.explain(fetches, feeds)
        (report,) = explained.reports
        assert not explained.boundaries and 100 * 24 <= report.growing <= 10_000
        assert "; lists without a bound 4.1 kB at present; " in str(explained)
        assert "loop" in tf.debug.ir(fetches, feeds, session).nests


# ---------------------------------------------------------------- arrays that grow


def test_an_array_that_is_written_until_all_is_done(x: Any, w: Any, no_room: None) -> None:
    def body(i: Any, h: Any, items: Any) -> Any:
        h = _shrunk(w)(i, h)
        return i + 1, h, items.write(i, h)

    items = tf.TensorArray(F, 0, dynamic_size=True, element_shape=[None, 3])
    _, y, items = tf.while_loop(lambda i, h, _: tf.reduce_sum(tf.abs(h)) > 0.01, body, [0, x, items])
    hosts = ["_ListOf", "TensorListLength", "TensorListStack"]
    natively.is_as_numpy([items.stack(), items.size(), y], *_feeds(x, w, 2, 1, 5), hosts=hosts)


def _written(places: Any, x: Any, read: Callable[[Any, Any], Any]) -> Any:
    """Writes to places that are data, and adds up what is read in turn."""

    def body(i: Any, total: Any, items: Any) -> Any:
        items = items.write(places[i], x * tf.cast(i + 1, F))
        return i + 1, total + read(items, i), items

    items = tf.TensorArray(F, 0, dynamic_size=True, element_shape=[2, 3], clear_after_read=False)
    first = [0, tf.zeros([2, 3], F), items]
    return tf.while_loop(lambda i, *_: i < tf.size(places), body, first)


@pytest.mark.parametrize("order", [[0, 3, 1, 50, 2, 49], [], [300], [5, 4, 3, 2, 1, 0]])
def test_places_that_are_data(x: Any, order: list[int], no_room: None) -> None:
    """What lies between them is zero, and the list as long as the last one says."""
    places = tf.placeholder(tf.int32, [None])
    _, total, items = _written(places, x, lambda items, i: items.read(places[i] // 2))
    with hostile():
        feeds = {places: order, x: RNG.randn(2, 3)}
        hosts = ["_ListOf", "TensorListLength", "TensorListStack"]
        natively.is_as_numpy([total, items.stack()], feeds, hosts=hosts)


@pytest.mark.parametrize(
    ("order", "what"),
    [([3, -1], "index -1"), ([4, 4], "already been written"), ([2, 9, 1], "read from index 30")],
)
def test_errors_are_those_of_the_reference_backend(
    x: Any, order: list[int], what: str, no_room: None
) -> None:
    places = tf.placeholder(tf.int32, [None])
    read = (lambda items, i: items.read(places[i] + 21 * tf.cast(i > 0, tf.int32))) if 9 in order else None
    _, total, _ = _written(places, x, read or (lambda items, i: items.read(places[i])))
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            for _ in range(2):
                with pytest.raises(tf.errors.InvalidArgumentError, match=what):
                    session.run(total, {places: order, x: np.ones((2, 3))})


def test_what_lies_between_written_places_of_a_bounded_array_is_zero(x: Any) -> None:
    """A branch leaves some out; what nobody wrote reads as zeros."""

    def body(i: Any, total: Any, items: Any) -> Any:
        is_odd = tf.equal(i % 2, 1)
        items = tf.cond(is_odd, lambda: items.write(i, x), lambda: items)
        return i + 1, total + tf.cond(is_odd, lambda: items.read(i - 1), lambda: x), items

    items = tf.TensorArray(F, 0, dynamic_size=True, element_shape=[2, 3], clear_after_read=False)
    _, total, _ = tf.while_loop(lambda i, *_: i < 6, body, [0, tf.zeros([2, 3], F), items])
    with hostile():
        natively.is_as_numpy([total], {x: RNG.randn(2, 3)})
