"""The reference executor: a plan's steps in order, errors with the user's line, and what it lets go."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends import numpy as backend
from tahr.backends.base import Run, runtime_error
from tahr.errors import Complaint
from tahr.plan.plan import make_plan
from tahr.session.store import Store
from tests.program.lowering import lower


def execute(outputs: Any, feeds: Any, targets: Any = (), store: Store | None = None) -> list[Any]:
    """Runs tensors as they are extracted, without any pass."""
    executor = backend.executor()
    plan = make_plan(lower(outputs, feeds, targets))
    return executor.execute(plan, list(feeds.values()), Run(store or Store()))


# ---------------------------------------------------------------- values


def test_several_outputs_in_the_order_wanted():
    x = tf.placeholder(tf.float64, [4])
    a, b = tf.split(x, 2)
    found = execute([b * 2.0, a, b], {x: np.arange(4.0)})
    for value, wanted in zip(found, ([4, 6], [0, 1], [2, 3]), strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_an_input_and_a_constant_as_outputs():
    x, c = tf.placeholder(tf.float64, [2]), tf.constant([5.0, 6.0])
    value = np.array([1.0, 2.0])
    given, constant = execute([x, c], {x: value})
    assert given is value
    np.testing.assert_array_equal(constant, [5.0, 6.0])


def test_an_output_of_several_that_nobody_wants():
    x = tf.placeholder(tf.float64, [4])
    (found,) = execute([tf.nn.top_k(x, 2).indices], {x: np.array([3.0, 1.0, 4.0, 1.0])})
    np.testing.assert_array_equal(found, [2, 0])


def test_a_plan_runs_again_and_again():
    x = tf.placeholder(tf.float64, [2])
    executor, plan = backend.executor(), make_plan(lower([tf.exp(tf.sin(x))], {x: np.zeros(2)}))
    for value in (np.zeros(2), np.ones(2), np.zeros(2)):
        (found,) = executor.execute(plan, [value], Run(Store()))
        np.testing.assert_allclose(found, np.exp(np.sin(value)))


def test_many_threads_run_one_plan():
    x = tf.placeholder(tf.float64, [None])
    y = x
    for _ in range(30):
        y = tf.sin(y) + x
    session = tf.Session()
    wrong: list[Any] = []

    def expected(value: np.ndarray) -> np.ndarray:
        result = value
        for _ in range(30):
            result = np.sin(result) + value
        return result

    def work(seed: int) -> None:
        value = np.random.default_rng(seed).normal(size=100 + seed)
        for _ in range(20):
            if not np.allclose(session.run(y, {x: value}), expected(value)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_read_only_and_strided_feeds():
    x = tf.placeholder(tf.float64, [None, 2])
    y = tf.negative(tf.matmul(x, tf.transpose(x))) + tf.reduce_sum(x)
    value = np.arange(12.0).reshape(2, 6).T[::-1]
    value.setflags(write=False)
    expected = -(value @ value.T) + value.sum()
    np.testing.assert_allclose(tf.Session().run(y, {x: value}), expected)


# ---------------------------------------------------------------- effects


def test_effects_happen_in_order():
    seen: list[int] = []

    def note(number: int) -> Any:
        return tf.py_func(lambda: seen.append(number), [], [])

    first = note(1)
    with tf.control_dependencies([first]):
        second = note(2)
    third = note(3)
    with tf.control_dependencies([third, second]):
        fourth = note(4)
    execute([], {}, [fourth, third, first])
    assert seen.index(1) < seen.index(2) < seen.index(4)
    assert seen.index(3) < seen.index(4)
    assert sorted(seen) == [1, 2, 3, 4]


def test_an_effect_runs_once_however_often_it_is_used():
    seen: list[int] = []
    value = tf.py_func(lambda: seen.append(1) or np.float64(2.0), [], tf.float64)
    assert tf.Session().run([value, value * 2.0, tf.gather([value], 0)]) == [2.0, 4.0, 2.0]
    assert seen == [1]


def test_equal_effects_are_not_merged():
    w = tf.Variable(0.0)
    steps = [tf.assign_add(w, 1.0).op for _ in range(3)]
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    session.run(steps)
    assert session.run(w) == 3.0


# ---------------------------------------------------------------- errors


def test_an_error_names_the_operation_and_the_users_line():
    x = tf.placeholder(tf.float32, None, "x")
    y = tf.placeholder(tf.float32, None, "y")
    total = tf.add(x, y, name="total")  # the line in the message
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"Incompatible shapes: \[2\] vs. \[3\]"
    ) as caught:
        tf.Session().run(total * 2.0, {x: [1, 2], y: [1, 2, 3]})
    assert caught.value.op is total.op
    assert "test_numpy_executor.py" in str(caught.value)
    assert "the line in the message" in str(caught.value) or '"total"' in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("bad"), tf.errors.InvalidArgumentError),
        (IndexError("bad"), tf.errors.InvalidArgumentError),
        (ZeroDivisionError("bad"), tf.errors.InvalidArgumentError),
        (MemoryError("bad"), tf.errors.ResourceExhaustedError),
        (Complaint("bad", kind=tf.errors.OutOfRangeError), tf.errors.OutOfRangeError),
        (tf.errors.DataLossError(None, None, "bad"), tf.errors.DataLossError),
        (KeyError("bad"), KeyError),
        (RuntimeError("bad"), RuntimeError),
    ],
)
def test_what_an_exception_in_a_kernel_becomes(raised: Exception, expected: type[Exception]):
    op = tf.constant(1.0, name="culprit").op
    found = runtime_error(op, raised)
    assert type(found) is expected
    if isinstance(found, tf.errors.OpError):
        assert found.op is op
        assert "culprit" in str(found)
        assert "bad" in str(found)


def test_an_error_inside_a_loop_in_a_branch_names_the_inner_operation():
    x = tf.placeholder(tf.int32, [])
    table = tf.constant([1.0, 2.0])

    def body(i: Any, a: Any) -> Any:
        return i + 1, a + tf.gather(table, i, name="inner")

    y = tf.cond(x > 0, lambda: tf.while_loop(lambda i, a: i < x, body, [0, 0.0])[1], lambda: tf.constant(0.0))
    session = tf.Session()
    assert session.run(y, {x: 2}) == 3.0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"2 is not in \[0, 2\)") as caught:
        session.run(y, {x: 3})
    assert caught.value.op.name.endswith("inner")
    assert session.run(y, {x: 1}) == 1.0


def test_a_failed_run_leaves_what_ran_before_it_and_the_next_run_works():
    w, x = tf.Variable(0.0), tf.placeholder(tf.float32, [])
    with tf.control_dependencies([tf.assign_add(w, 1.0)]):
        y = tf.check_numerics(x, "not a number")
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a number"):
        session.run(y, {x: np.nan})
    assert session.run(y, {x: 5.0}) == 5.0
    assert session.run(w) == 2.0


def test_warnings_of_numpy_are_not_shown():
    x = tf.placeholder(tf.float32, [2])
    fetches = [tf.log(x), 1.0 / x, tf.exp(x * 1e30)]
    with np.errstate(all="raise"):
        log, inverse, exp = tf.Session().run(fetches, {x: [0.0, -1.0]})
    assert log[0] == -np.inf
    assert np.isnan(log[1])
    assert inverse[0] == np.inf
    assert exp[0] == 1.0


# ---------------------------------------------------------------- what is let go, and waiting


def test_a_run_keeps_nothing_of_what_it_computed():
    kept: list[Any] = []

    def watch(value: np.ndarray) -> np.ndarray:
        result = np.array(value)
        kept.append(weakref.ref(result))
        return result

    x = tf.placeholder(tf.float64, [1000])
    y = tf.reduce_sum(tf.py_func(watch, [x], tf.float64))
    session = tf.Session()
    value = np.ones(1000)
    fed = weakref.ref(value)
    session.run(y, {x: value})
    del value
    gc.collect()
    assert [r() for r in kept] == [None]
    assert fed() is None


def test_a_run_that_waits_ends_at_its_deadline():
    queue = tf.FIFOQueue(1, [tf.float32], shapes=[[]])
    started = time.monotonic()
    with pytest.raises(tf.errors.DeadlineExceededError):
        tf.Session().run(queue.dequeue(), options=tf.RunOptions(timeout_in_ms=100))
    assert time.monotonic() - started < 20


def test_closing_a_session_ends_a_run_that_waits():
    queue = tf.FIFOQueue(1, [tf.float32], shapes=[[]])
    item = queue.dequeue()
    session = tf.Session()
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            session.run(item)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not session._runs:
        time.sleep(0.01)
    session.close()
    thread.join(30)
    assert [type(e) for e in outcome] == [tf.errors.CancelledError]


def test_blocked_operations_wait_beside_each_other():
    first, second = (tf.FIFOQueue(1, [tf.float32], shapes=[[]], name=n) for n in ("first", "second"))
    total = first.dequeue() + second.dequeue()
    x = tf.placeholder(tf.float32, [])
    fills = [first.enqueue([x]), second.enqueue([x])]
    session = tf.Session()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(session.run(total)))
    thread.start()
    time.sleep(0.1)
    session.run(fills[1], {x: 1.0})
    time.sleep(0.1)
    session.run(fills[0], {x: 10.0})
    thread.join(30)
    assert found == [11.0]
