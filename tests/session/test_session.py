"""What a session promises: fetches and feeds of every structure, defaults, threads, closing, growing graphs, plans."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import tahr as tf
from tahr.session import session as session_module


class Point(NamedTuple):
    x: Any
    y: Any


@pytest.fixture
def session() -> Iterator[Any]:
    with tf.Session() as session:
        yield session


# ---------------------------------------------------------------- fetches


def test_structures_of_fetches(session: Any) -> None:
    a, b, nothing = tf.constant(1.0, name="a"), tf.constant([2, 3], name="b"), tf.no_op(name="nothing")
    assert session.run(a) == 1.0 and type(session.run(a)) is np.float32
    assert session.run([]) == [] and session.run(()) == () and session.run({}) == {}
    assert session.run(nothing) is None
    assert session.run([nothing, [nothing]]) == [None, [None]]
    assert session.run("a:0") == 1.0 and session.run("nothing") is None
    assert session.run(["a:0", a, "a"]) == [1.0, 1.0, None]
    found = session.run({"one": a, "two": [b, (a, nothing)], 3: {}})
    assert list(found) == ["one", "two", 3]
    assert found["one"] == 1.0 and found[3] == {}
    assert found["two"][0].tolist() == [2, 3] and found["two"][1] == (1.0, None)


def test_types_of_structures_are_kept(session: Any) -> None:
    a = tf.constant(1.0)
    ordered = session.run(OrderedDict([("z", a), ("a", a)]))
    assert type(ordered) is OrderedDict and list(ordered) == ["z", "a"]
    default = session.run(defaultdict(list, {"k": a}))
    assert type(default) is defaultdict and default["new"] == [] and default["k"] == 1.0
    assert session.run(Point(a, [a])) == Point(1.0, [1.0])
    assert type(session.run(Point(a, a))) is Point
    pair = namedtuple("pair", "first second")  # pyright: ignore[reportUntypedNamedTuple]  # users have them
    assert session.run([pair(a, Point(a, a))]) == [pair(1.0, Point(1.0, 1.0))]

    class MyList(list):
        pass

    assert type(session.run(MyList([a]))) is MyList


def test_structures_that_are_equal_are_told_apart(session: Any) -> None:
    a, b = tf.constant(1.0), tf.constant(2.0)
    other = namedtuple("other", "x y")  # pyright: ignore[reportUntypedNamedTuple]  # users have them
    for item in (Point(a, b), (a, b), other(a, b)) * 2:
        assert type(session.run([item])[0]) is type(item)
        assert type(session.run((item, a))[0]) is type(item)
        assert type(session.run(Point(item, a)).x) is type(item)


def test_fetched_twice_is_computed_once(session: Any) -> None:
    calls: list[int] = []
    value = tf.py_func(lambda: calls.append(1) or np.float32(1), [], tf.float32)
    drawn = tf.random_uniform([3])
    found = session.run([value, {"again": value}, drawn, drawn, drawn.op])
    assert calls == [1]
    assert found[2].tolist() == found[3].tolist()


def test_two_results_never_share_storage(session: Any) -> None:
    a = tf.constant([1.0, 2.0])
    first, second = session.run([a, a])
    assert first is second or not np.shares_memory(first, second)
    x = a + 1.0
    plain, same, part = session.run([x, tf.identity(x), x[1:]])
    plain[:] = 9
    assert part.tolist() == [3.0]
    assert same.tolist() == [2.0, 3.0]


def test_results_are_writable_and_do_not_change(session: Any) -> None:
    v = tf.Variable([1.0, 2.0])
    session.run(v.initializer)
    c = tf.constant([5.0, 6.0])
    read, const = session.run([v, c])
    session.run(v.assign_add([1.0, 1.0]))
    assert read.tolist() == [1.0, 2.0]
    read[:] = 0
    const[:] = 0
    assert session.run(v).tolist() == [2.0, 3.0]
    assert session.run(c).tolist() == [5.0, 6.0]


def test_variables_and_their_names(session: Any) -> None:
    v = tf.Variable(3.0, name="v")
    r = tf.Variable(4.0, name="r", use_resource=True)
    session.run(tf.global_variables_initializer())
    assert session.run([v, v.name, "v", r, {"r": r}]) == [3.0, 3.0, None, 4.0, {"r": 4.0}]


def test_indexed_slices(session: Any) -> None:
    table = tf.Variable(tf.ones([5, 2]))
    (gradient,) = tf.gradients(tf.reduce_sum(tf.gather(table, [1, 3])), [table])
    session.run(table.initializer)
    found, total = session.run([gradient, tf.constant(1.0)])
    assert found.indices.tolist() == [1, 3]
    assert found.values.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert found.dense_shape.tolist() == [5, 2]
    assert total == 1.0
    rows = tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([0]))
    assert session.run(rows).dense_shape is None
    assert session.run(rows.values, {rows: ([[7.0]], [0])}).tolist() == [[7.0]]
    assert session.run(gradient, {gradient: found}).values.tolist() == found.values.tolist()


# ---------------------------------------------------------------- feeds


def test_structures_of_feeds(session: Any) -> None:
    x, y, z = (tf.placeholder(tf.float32, [], name=n) for n in "xyz")
    total = x + 10.0 * y + 100.0 * z
    assert session.run(total, {(x, y): (1, 2), z: 3}) == 321
    assert session.run(total, {(x, (y, z)): [1, (2, 3)]}) == 321
    assert session.run(total, {Point(x, y): Point(1, 2), "z:0": 3}) == 321
    assert session.run(total, {"x:0": 1, "y:0": 2, "z:0": 3}) == 321


def test_any_tensor_can_be_fed(session: Any) -> None:
    calls: list[int] = []
    expensive = tf.py_func(lambda: calls.append(1) or np.float32(1), [], tf.float32)
    constant = tf.constant(2.0)
    total = expensive + constant
    assert session.run(total, {expensive: 5.0, constant: 6.0}) == 11.0
    assert session.run(total * 2.0, {total: 4.0}) == 8.0
    assert calls == []
    first, second = tf.split(tf.placeholder(tf.float32, [4]), 2)
    assert session.run(first + second, {first: [1, 2], second: [3, 4]}).tolist() == [4, 6]
    v = tf.Variable(1.0)
    assert session.run(v + 1.0, {v: 5.0}) == 6.0
    default = tf.placeholder_with_default(3.0, [])
    assert session.run(default * 2.0) == 6.0
    assert session.run(default * 2.0, {default: 4.0}) == 8.0


def test_a_fed_tensor_that_is_fetched(session: Any) -> None:
    x = tf.placeholder(tf.float32, [2])
    array = np.ones(2, np.float32)
    found = session.run([x, x + 1.0, x], {x: array})
    assert found[0] is array and found[2] is array


def test_a_tensor_that_is_named_twice_takes_the_last_value(session: Any) -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    assert session.run([x, x + 1.0], {x: 1.0, "x:0": 2.0}) == [2.0, 3.0]
    assert session.run([x, x + 1.0], {"x:0": 2.0, x: 1.0}) == [1.0, 2.0]


def test_feeds_that_are_not_needed(session: Any) -> None:
    x, unused = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [3])
    assert session.run(x + 1.0, {x: 1.0, unused: np.zeros(3)}) == 2.0


def test_feed_dicts_of_other_types(session: Any) -> None:
    x = tf.placeholder(tf.float32, [])
    assert session.run(x + 1.0, OrderedDict({x: 1.0})) == 2.0
    assert session.run(tf.constant(1.0), None) == session.run(tf.constant(1.0), {}) == 1.0


# ---------------------------------------------------------------- callables


def test_make_callable(session: Any) -> None:
    x, y = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
    call = session.make_callable({"sum": x + y, "op": tf.no_op()}, [x, y])
    assert call(1, 2) == {"sum": 3.0, "op": None}
    assert call(3, 4)["sum"] == 7.0
    with pytest.raises(ValueError, match="Expected 2 feed values, got 1"):
        call(1)
    with pytest.raises(TypeError, match="feed_list"):
        session.make_callable(x, x)
    with_options = session.make_callable(x * 2.0, [x], accept_options=True)
    assert with_options(1.0, options=tf.RunOptions(), run_metadata=tf.RunMetadata()) == 2.0
    no_feeds = session.make_callable(tf.constant(5.0))
    assert no_feeds() == 5.0
    session.close()
    with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
        no_feeds()


# ---------------------------------------------------------------- default sessions


def test_default_sessions_nest() -> None:
    c = tf.constant(1.0)
    assert tf.get_default_session() is None
    outer, inner = tf.Session(), tf.Session()
    with outer.as_default() as given:
        assert given is outer and tf.get_default_session() is outer
        assert c.eval() == 1.0
        with inner.as_default():
            assert tf.get_default_session() is inner
        assert tf.get_default_session() is outer
    assert tf.get_default_session() is None
    assert outer.run(c) == 1.0  # as_default does not close
    with outer:
        assert tf.get_default_session() is outer
    with pytest.raises(RuntimeError, match="closed"):
        outer.run(c)


def test_a_session_is_the_default_of_its_thread_only() -> None:
    seen: list[Any] = []
    with tf.Session():
        thread = threading.Thread(target=lambda: seen.append(tf.get_default_session()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_session_enters_its_graph() -> None:
    graph = tf.Graph()
    with tf.Session(graph=graph):
        c = tf.constant(1.0)
        assert c.graph is graph
        assert c.eval() == 1.0
    assert tf.get_default_graph() is not graph


def test_a_session_is_left_when_an_error_passes() -> None:
    c = tf.constant(1.0)
    session = tf.Session()
    with pytest.raises(ZeroDivisionError), session:
        raise ZeroDivisionError
    assert tf.get_default_session() is None
    with pytest.raises(RuntimeError, match="closed"):
        session.run(c)


def test_eval_and_run() -> None:
    v = tf.Variable(1.0)
    x = tf.placeholder(tf.float32)
    add = v.assign_add(2.0).op
    with tf.Session() as session:
        v.initializer.run()
        assert (v * 2.0).eval() == 2.0
        assert (x * v).eval({x: 3.0}) == 3.0
        assert v.eval() == 1.0
        add.run()
        add.run(feed_dict={x: 1.0})
        assert v.eval(session) == 5.0
        assert (v + 0.0).eval(session=session) == 5.0
        assert v.value().eval() == 5.0


def test_interactive_sessions() -> None:
    session = tf.InteractiveSession()
    try:
        assert tf.get_default_session() is session
        assert (tf.constant(1.0) + 1.0).eval() == 2.0
        second = tf.InteractiveSession(graph=tf.Graph())
        try:
            assert tf.constant(1.0).graph is second.graph
            assert tf.constant(4.0).eval() == 4.0
        finally:
            second.close()
        assert tf.get_default_session() is session
        assert tf.constant(1.0).graph is session.graph
    finally:
        session.close()
        session.close()  # closing twice is no error
    assert tf.get_default_session() is None


def test_arguments_of_a_session() -> None:
    text: Any = "graph"
    number: Any = 1
    with pytest.raises(TypeError, match=r"graph must be a tf\.Graph"):
        tf.Session(graph=text)
    with pytest.raises(TypeError, match="target must be a string"):
        tf.Session(target=number)
    graph = tf.Graph()
    assert tf.Session(graph=graph).graph is graph
    assert tf.Session().graph is tf.get_default_graph()


# ---------------------------------------------------------------- several sessions, several threads


def test_sessions_on_one_graph_have_their_own_variables() -> None:
    v = tf.Variable(0.0)
    add = v.assign_add(1.0)
    first, second = tf.Session(), tf.Session()
    first.run(v.initializer)
    second.run(v.initializer)
    for _ in range(3):
        first.run(add)
    second.run(add)
    assert (first.run(v), second.run(v)) == (3.0, 1.0)


def test_sessions_on_one_target_share_variables() -> None:
    v = tf.Variable(0.0, name="shared_between_sessions")
    target = "grpc://test_session"
    first, second = tf.Session(target), tf.Session(target)
    first.run(v.initializer)
    first.run(v.assign_add(1.0))
    first.close()
    assert second.run(v) == 1.0
    tf.Session.reset(target)
    with pytest.raises(tf.errors.FailedPreconditionError):
        tf.Session(target).run(tf.get_variable("never_set", []))


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Runs `work(i)` on several threads at once; raises what one of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def body(i: int) -> None:
        try:
            start.wait()
            work(i)
        except BaseException as error:  # given to the test
            errors.append(error)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_many_threads_on_one_session(session: Any) -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.nn.relu(x * 2.0 - 1.0)
    v = tf.Variable(0.0)
    add = v.assign_add(1.0)
    session.run(v.initializer)

    def work(i: int) -> None:
        for size in range(1, 20):
            array = np.full(size, i, np.float32)
            found = session.run([y, {"again": y}], {x: array})
            expected = np.maximum(array * 2 - 1, 0)
            assert found[0].tolist() == found[1]["again"].tolist() == expected.tolist()
            session.run(add)

    in_threads(8, work)
    assert session.run(v) == 8 * 19


def test_threads_that_run_and_build(session: Any) -> None:
    graph = session.graph
    base = tf.constant(1.0)

    def work(i: int) -> None:
        with graph.as_default():
            value = base
            for _ in range(10):
                value = value + float(i)
                assert session.run(value) >= 1.0
        assert session.run(value) == 1.0 + 10 * i

    in_threads(6, work)
    names = [op.name for op in graph.get_operations()]
    assert len(names) == len(set(names))


# ---------------------------------------------------------------- waiting


def test_a_timeout_ends_a_wait() -> None:
    queue = tf.FIFOQueue(1, tf.float32, shapes=[[]])
    value = queue.dequeue()
    with tf.Session() as session:
        begin = time.monotonic()
        with pytest.raises(tf.errors.DeadlineExceededError, match="Timed out waiting for notification"):
            session.run(value, options=tf.RunOptions(timeout_in_ms=100))
        assert 0.05 < time.monotonic() - begin < 5
        session.run(queue.enqueue(1.0))  # the session goes on
        assert session.run(value, options=tf.RunOptions(timeout_in_ms=10_000)) == 1.0
        call = session.make_callable(value, accept_options=True)
        with pytest.raises(tf.errors.DeadlineExceededError):
            call(options=tf.RunOptions(timeout_in_ms=50))


def test_a_timeout_of_the_session() -> None:
    value = tf.FIFOQueue(1, tf.float32, shapes=[[]]).dequeue()
    with (
        tf.Session(config=tf.ConfigProto(operation_timeout_in_ms=50)) as session,
        pytest.raises(tf.errors.DeadlineExceededError),
    ):
        session.run(value)


def ended_by_closing(fetches: Any) -> BaseException:
    """The error of a run that does not end by itself, after another thread has closed the session."""
    session = tf.Session()
    caught: list[BaseException] = []

    def run() -> None:
        try:
            session.run(fetches)
        except BaseException as error:  # looked at by the test
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    assert thread.is_alive()
    session.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    return caught[0]


def test_closing_ends_a_wait_in_another_thread() -> None:
    queue = tf.FIFOQueue(1, tf.float32, shapes=[[]])
    assert isinstance(ended_by_closing(queue.dequeue()), tf.errors.CancelledError)


def test_closing_ends_two_waits() -> None:
    queues = [tf.FIFOQueue(1, tf.float32, shapes=[[]]) for _ in range(2)]
    assert isinstance(ended_by_closing([q.dequeue() for q in queues]), tf.errors.CancelledError)


def test_closing_ends_an_endless_loop() -> None:
    forever = tf.while_loop(lambda i: i >= 0, lambda i: i * 0, [0])
    assert isinstance(ended_by_closing(forever), tf.errors.CancelledError)


def test_a_timeout_ends_an_endless_loop(session: Any) -> None:
    forever = tf.while_loop(lambda i: i >= 0, lambda i: i * 0, [0])
    with pytest.raises(tf.errors.DeadlineExceededError):
        session.run(forever, options=tf.RunOptions(timeout_in_ms=100))


# ---------------------------------------------------------------- graphs that grow or change


def test_a_graph_that_grows_between_runs(session: Any) -> None:
    value = tf.constant(0.0)
    for i in range(20):
        value = value + 1.0
        assert session.run(value) == i + 1
    v = tf.Variable(7.0)
    session.run(v.initializer)
    assert session.run(v + value) == 27.0


def test_a_late_control_edge_counts(session: Any) -> None:
    v = tf.Variable(0.0)
    session.run(v.initializer)
    value = tf.identity(tf.constant(1.0))
    add = v.assign_add(1.0)
    call = session.make_callable(value)
    assert session.run(value) == 1.0 and session.run([value])[0] == 1.0 and call() == 1.0
    assert session.run(v) == 0.0
    value.op._add_control_input(add.op)
    session.run(value)
    session.run([value])
    session.run({"nested": value})
    call()
    assert session.run(v) == 4.0


def test_a_late_set_shape_counts(session: Any) -> None:
    x = tf.placeholder(tf.float32, None)
    y = tf.identity(x) * 2.0
    assert session.run(y, {x: np.ones(3)}).tolist() == [2, 2, 2]
    call = session.make_callable(y, [x])
    x.set_shape([2])
    with pytest.raises(ValueError, match="Cannot feed value of shape"):
        session.run(y, {x: np.ones(3)})
    with pytest.raises(ValueError, match="Cannot feed value of shape"):
        call(np.ones(3))
    assert session.run(y, {x: np.ones(2)}).tolist() == [2, 2]


# ---------------------------------------------------------------- plans


def test_plans_are_shared_between_sessions() -> None:
    x = tf.placeholder(tf.float32, [None])
    y = x * 2.0
    first, second = tf.Session(), tf.Session()
    first.run(y, {x: [1.0]})
    graph = tf.get_default_graph()
    before = dict(graph.routines)
    second.run(y, {x: [1.0]})
    assert graph.routines == before


def test_structures_of_the_same_fetches_share_a_plan(session: Any) -> None:
    a, b = tf.constant(1.0) + 1.0, tf.constant(2.0) + 1.0
    session.run([a, b])
    session.run((a, b))
    session.run({"a": a, "b": b})
    session.run([[a], Point(b, a)])
    assert len({id(routine.function) for routine in tf.get_default_graph().routines.values()}) == 1


def test_the_number_of_plans_is_bounded(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_ROUTINES", 20)
    x = tf.placeholder(tf.float32, [])
    values = [x + float(i) for i in range(40)]
    for i, value in enumerate(values):
        assert session.run(value, {x: 1.0}) == 1.0 + i
        assert session.run({"v": [value]}, {x: 1.0}) == {"v": [1.0 + i]}
    assert len(tf.get_default_graph().routines) <= 21
    assert session.run(values[0], {x: 1.0}) == 1.0


def test_plans_go_with_their_graph() -> None:
    with tf.Graph().as_default() as graph, tf.Session() as session:
        session.run(tf.constant(1.0) + 1.0)
        assert graph.routines
    assert not tf.get_default_graph().routines
