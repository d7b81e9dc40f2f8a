"""Queues: FIFOQueueV2, RandomShuffleQueueV2, PaddingFIFOQueueV2, PriorityQueueV2, and waiting for them.

Operations: QueueEnqueueV2, QueueEnqueueManyV2, QueueDequeueV2, QueueDequeueManyV2, QueueDequeueUpToV2, QueueCloseV2,
QueueSizeV2, QueueIsClosedV2. Messages were recorded from TensorFlow 2.21 (compat.v1).
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import tahr as tf


class Timeout:
    """RunOptions with a time limit."""

    def __init__(self, milliseconds: int) -> None:
        self.timeout_in_ms = milliseconds


@pytest.fixture
def session():
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


def in_thread(function, *args):
    """Starts a thread; its result or exception is in the list that comes back with it."""
    outcome = []

    def work():
        try:
            outcome.append(function(*args))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, outcome


# ---------------------------------------------------------------- elements


def test_first_in_first_out(session):
    queue = tf.FIFOQueue(5, tf.float32, shapes=[[]])
    session.run(queue.enqueue(1.0))
    session.run(queue.enqueue_many([[2.0, 3.0, 4.0]]))
    assert session.run(queue.size()) == 4
    assert session.run(queue.dequeue()) == 1.0
    assert session.run(queue.dequeue_many(2)).tolist() == [2.0, 3.0]
    assert session.run(queue.size()) == 1


def test_elements_of_several_components(session):
    queue = tf.FIFOQueue(5, [tf.int32, tf.string], shapes=[[2], []])
    session.run(queue.enqueue_many([[[1, 2], [3, 4]], ["a", "b"]]))
    number, word = session.run(queue.dequeue())
    assert (number.tolist(), word) == ([1, 2], b"a")
    numbers, text = session.run(queue.dequeue_many(1))
    assert (numbers.tolist(), text.tolist()) == ([[3, 4]], [b"b"])


def test_names_make_dictionaries(session):
    queue = tf.FIFOQueue(3, [tf.float32, tf.int32], names=["a", "b"])
    session.run(queue.enqueue({"b": 2, "a": 1.0}))
    assert session.run(queue.dequeue()) == {"a": 1.0, "b": 2}
    with pytest.raises(ValueError, match="Keys in dictionary to enqueue do not match"):
        queue.enqueue({"a": 1.0})
    with pytest.raises(ValueError, match="must enqueue a dictionary"):
        queue.enqueue([1.0, 2])


def test_what_is_enqueued_is_a_copy(session):
    queue = tf.FIFOQueue(3, tf.float32)
    x = tf.placeholder(tf.float32, [2])
    value = np.array([1.0, 2.0], np.float32)
    session.run(queue.enqueue(x), {x: value})
    value[:] = 9.0
    assert session.run(queue.dequeue()).tolist() == [1.0, 2.0]


def test_a_variable_is_enqueued_with_the_value_that_it_has_then(session):
    queue, counter = tf.FIFOQueue(4, tf.int32, [()]), tf.Variable(0)
    session.run(counter.initializer)
    session.run(queue.enqueue(tf.assign_add(counter, 1)))
    session.run(queue.enqueue(counter))
    session.run(queue.enqueue(counter), {counter: 7})
    assert [session.run(queue.dequeue()) for _ in range(3)] == [1, 1, 7]


def test_the_shuffled_order_is_tensorflows(session):
    queue = tf.RandomShuffleQueue(30, 0, tf.int32, shapes=[[]], seed=3)
    session.run(queue.enqueue_many([list(range(10))]))
    assert session.run(queue.dequeue_many(10)).tolist() == [7, 1, 4, 5, 6, 8, 0, 9, 2, 3]


def test_some_elements_stay_behind_until_it_is_closed(session):
    queue = tf.RandomShuffleQueue(30, 3, tf.int32, shapes=[[]])
    session.run(queue.enqueue_many([list(range(5))]))
    seen = [session.run(queue.dequeue()) for _ in range(2)]
    with pytest.raises(tf.errors.DeadlineExceededError):
        session.run(queue.dequeue(), options=Timeout(100))
    session.run(queue.close())
    seen += session.run(queue.dequeue_many(3)).tolist()
    assert sorted(seen) == [0, 1, 2, 3, 4]
    with pytest.raises(tf.errors.InvalidArgumentError, match="min_after_dequeue 3 must be < capacity 3"):
        session.run(tf.RandomShuffleQueue(3, 3, tf.int32).size())


def test_padding(session):
    queue = tf.PaddingFIFOQueue(30, [tf.int32, tf.string], shapes=[[None], [None, 2]])
    session.run(queue.enqueue([[1, 2], [["a", "b"]]]))
    session.run(queue.enqueue([[3], [["c", "d"], ["e", "f"]]]))
    result = queue.dequeue_many(2)
    assert result[0].shape.as_list() == [2, None] and queue.dequeue()[0].shape.as_list() == [None]
    numbers, text = session.run(result)
    assert numbers.tolist() == [[1, 2], [3, 0]]
    assert text.tolist() == [[[b"a", b"b"], [b"", b""]], [[b"c", b"d"], [b"e", b"f"]]]
    with pytest.raises(ValueError, match="shapes must be provided"):
        tf.PaddingFIFOQueue(30, tf.int32, shapes=None)


def test_priorities(session):
    queue = tf.PriorityQueue(30, tf.string, shapes=[[]])
    session.run(queue.enqueue_many([np.array([5, 1, 3, 1]), ["a", "b", "c", "d"]]))
    assert session.run(queue.dequeue()) == [1, b"b"]
    priorities, text = session.run(queue.dequeue_many(3))
    assert (priorities.tolist(), text.tolist()) == ([1, 3, 5], [b"d", b"c", b"a"])


def test_a_shared_name_is_the_same_queue(session):
    first = tf.FIFOQueue(3, tf.int32, shared_name="q")
    second = tf.FIFOQueue(3, tf.int32, shared_name="q")
    session.run(first.enqueue(7))
    assert session.run(second.dequeue()) == 7
    other = tf.FIFOQueue(3, tf.float32, shared_name="q")
    with pytest.raises(tf.errors.InvalidArgumentError, match="component types"):
        session.run(other.size())
    apart = tf.FIFOQueue(3, tf.int32), tf.FIFOQueue(3, tf.int32)
    session.run(apart[0].enqueue(1))
    assert session.run([q.size() for q in apart]) == [1, 0]


# ---------------------------------------------------------------- static knowledge


def test_shapes_and_names():
    with tf.Graph().as_default():
        queue = tf.FIFOQueue(3, tf.float32, shapes=[[2]])
        n = tf.placeholder(tf.int32, [])
        found = [queue.dequeue(), queue.dequeue_many(3), queue.dequeue_many(n), queue.dequeue_up_to(3)]
        assert [t.shape.as_list() for t in found] == [[2], [3, 2], [None, 2], [None, 2]]
        names = [t.op.name for t in found] + [
            queue.enqueue([[1.0, 2.0]]).name,
            queue.close().name,
            queue.name,
        ]
        assert names == [
            "fifo_queue_Dequeue",
            "fifo_queue_DequeueMany",
            "fifo_queue_DequeueMany_1",
            "fifo_queue_DequeueUpTo",
            "fifo_queue_enqueue",
            "fifo_queue_Close",
            "fifo_queue",
        ]
        assert tf.FIFOQueue(3, tf.float32).dequeue().shape.ndims is None
        assert (queue.dtypes, queue.shapes, queue.names) == ([tf.float32], [tf.TensorShape([2])], None)


@pytest.mark.parametrize(
    ("call", "phrase"),
    [
        (lambda: tf.FIFOQueue(3, [tf.float32, tf.int32], names=["a"]), r"len\(names\)=1"),
        (lambda: tf.FIFOQueue(3, [tf.float32, tf.int32], shapes=[[]]), r"len\(shapes\)=1, len\(dtypes\)=2"),
        (lambda: tf.FIFOQueue(3, tf.float32, shapes=[[None]]), "must be fully defined"),
        (lambda: tf.FIFOQueue(3, tf.float32, shapes=[[]]).enqueue([[1.0, 2.0]]), "are incompatible"),
        (lambda: tf.FIFOQueue(3, tf.float32, shapes=[[]]).enqueue_many([1.0]), "rank at least 1"),
        (lambda: tf.FIFOQueue(3, tf.float32).enqueue(tf.constant(1)), "requested dtype float32"),
        (lambda: tf.FIFOQueue(3, tf.float32).enqueue([1.0, 2.0]), "1 components, got 2"),
        (lambda: tf.FIFOQueue(3, [tf.float32] * 2).enqueue_many([[1.0], [1.0, 2.0]]), "compatible"),
        (lambda: tf.FIFOQueue(3, tf.float32).enqueue({"a": 1.0}), "must have names"),
        (lambda: tf.FIFOQueue(3, tf.float32, shapes=[[]]).dequeue_many(-1), "'n' must be >= 0, but is -1"),
    ],
)
def test_errors_while_the_graph_is_built(call, phrase):
    with pytest.raises(ValueError, match=phrase):
        call()


def test_errors_of_a_run(session):
    x = tf.placeholder(tf.float32)
    queue = tf.FIFOQueue(3, [tf.float32] * 2, shapes=[[2], []])
    for op, value, phrase in [
        (queue.enqueue([x, 1.0]), [1.0], r"component 0. Expected \[2\], got \[1\]"),
        (queue.enqueue_many([x, [1.0]]), [[1.0]], r"component 0. Expected \[1,2\], got \[1,1\]"),
        (queue.enqueue_many([[[1.0, 2.0]], x]), [1.0, 2.0], r"component 1. Expected \[1\], got \[2\]"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match="Shape mismatch in tuple " + phrase):
            session.run(op, {x: value})
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="require the components to have specified shapes"
    ):
        session.run(tf.FIFOQueue(3, tf.float32).dequeue_many(1))


# ---------------------------------------------------------------- closing


def test_a_closed_queue_gives_what_is_in_it(session):
    queue = tf.FIFOQueue(3, tf.float32, shapes=[[]])
    session.run(queue.enqueue_many([[1.0, 2.0, 3.0]]))
    assert not session.run(queue.is_closed())
    session.run(queue.close())
    assert session.run(queue.is_closed())
    assert session.run(queue.dequeue()) == 1.0
    with pytest.raises(
        tf.errors.OutOfRangeError,
        match=r"FIFOQueue '_\d+_fifo_queue' is closed and has insufficient elements \(requested 3, current size 2\)",
    ):
        session.run(queue.dequeue_many(3))
    assert session.run(queue.dequeue_up_to(5)).tolist() == [2.0, 3.0]
    for op in (queue.dequeue(), queue.dequeue_up_to(5)):
        with pytest.raises(tf.errors.OutOfRangeError, match="current size 0"):
            session.run(op)
    assert session.run(queue.dequeue_many(0)).shape == (0,)
    with pytest.raises(tf.errors.CancelledError, match=r"is closed."):
        session.run(queue.enqueue(1.0))
    with pytest.raises(tf.errors.CancelledError, match=r"is already closed."):
        session.run(queue.close())
    session.run(queue.close(cancel_pending_enqueues=True))


def test_closing_lets_pending_enqueues_finish_or_cancels_them(session):
    for cancel in (False, True):
        queue = tf.FIFOQueue(1, tf.int32, shapes=[[]])
        session.run(queue.enqueue(1))
        thread, outcome = in_thread(session.run, queue.enqueue(2))
        time.sleep(0.1)
        session.run(queue.close(cancel_pending_enqueues=cancel))
        assert session.run(queue.dequeue()) == 1
        thread.join(10)
        if cancel:
            assert isinstance(outcome[0], tf.errors.CancelledError) and "was cancelled" in str(outcome[0])
        else:
            assert outcome == [None] and session.run(queue.dequeue()) == 2
        with pytest.raises(tf.errors.OutOfRangeError):
            session.run(queue.dequeue())


# ---------------------------------------------------------------- waiting


def test_enqueue_and_dequeue_in_one_run_of_an_empty_queue(session):
    queue = tf.FIFOQueue(1, tf.float32, shapes=[[]])
    x = tf.placeholder(tf.float32, [])
    y = queue.dequeue() * 2.0
    for value in (1.0, 2.0):
        assert session.run([y, queue.enqueue(x + 1.0)], {x: value})[0] == 2 * (value + 1)
    assert session.run(queue.size()) == 0


def test_more_elements_than_the_queue_can_hold(session):
    queue = tf.FIFOQueue(2, tf.int32, shapes=[[]])
    found, _ = session.run([queue.dequeue_many(7), queue.enqueue_many([list(range(7))])])
    assert found.tolist() == list(range(7))


def test_a_timeout_ends_the_wait_and_loses_nothing(session):
    queue = tf.FIFOQueue(3, tf.int32, shapes=[[]])
    session.run(queue.enqueue_many([[1, 2]]))
    start = time.monotonic()
    with pytest.raises(tf.errors.DeadlineExceededError, match="Timed out"):
        session.run(queue.dequeue_many(3), options=Timeout(200))
    assert 0.1 < time.monotonic() - start < 10
    assert session.run(queue.dequeue_many(2)).tolist() == [1, 2]
    full = tf.FIFOQueue(1, tf.int32)
    session.run(full.enqueue(1))
    with pytest.raises(tf.errors.DeadlineExceededError):
        session.run(full.enqueue(2), options=Timeout(100))
    assert session.run(full.size()) == 1


def test_several_operations_wait_in_one_run(session):
    queues = [tf.FIFOQueue(1, tf.int32) for _ in range(3)]
    total = tf.add_n([tf.reshape(q.dequeue(), []) for q in queues])
    thread, outcome = in_thread(session.run, total)
    for i, queue in reversed(list(enumerate(queues))):
        time.sleep(0.02)
        session.run(queue.enqueue(10**i))
    thread.join(10)
    assert outcome == [111]


def test_closing_the_session_ends_the_wait():
    with tf.Graph().as_default():
        queue = tf.FIFOQueue(1, tf.int32)
        session = tf.Session()
        thread, outcome = in_thread(session.run, queue.dequeue())
        time.sleep(0.1)
        session.close()
        thread.join(10)
    assert isinstance(outcome[0], tf.errors.CancelledError)


def test_sessions_on_one_server_share_their_queues():
    with tf.Graph().as_default():
        queue = tf.FIFOQueue(2, tf.int32, shapes=[[]], shared_name="between")
        x = tf.placeholder(tf.int32, [])
        put, get = queue.enqueue(x), queue.dequeue()
        target = "test_queues.test_sessions_on_one_server_share_their_queues"
        producer, consumer = tf.Session(target), tf.Session(target)

        def produce():
            for i in range(50):
                producer.run(put, {x: i})

        thread, outcome = in_thread(produce)
        assert [consumer.run(get) for _ in range(50)] == list(range(50))
        thread.join(10)
        assert outcome == [None]
        tf.Session.reset(target)


def test_many_producers_and_consumers_lose_nothing(session):
    queue = tf.FIFOQueue(3, tf.int32, shapes=[[]])
    x = tf.placeholder(tf.int32, [None])
    put, get = queue.enqueue_many([x]), queue.dequeue_many(5)
    producers = [in_thread(session.run, put, {x: list(range(20 * i, 20 * i + 20))}) for i in range(4)]
    consumers = [in_thread(lambda: [session.run(get).tolist() for _ in range(4)]) for _ in range(4)]
    for thread, _ in producers + consumers:
        thread.join(20)
    batches = [batch for _, outcome in consumers for batch in outcome[0]]
    assert sorted(n for batch in batches for n in batch) == list(range(80))
    # Only one operation at a time takes elements, so each batch is consecutive in the queue.
    assert all(batch == list(range(batch[0], batch[0] + 5)) for batch in batches)


def test_a_graph_hangs_off_a_dequeue(session):
    queue = tf.FIFOQueue(10, tf.float32, shapes=[[2]])
    batch = queue.dequeue_up_to(3)
    w = tf.Variable([1.0, 1.0])
    step = w.assign_sub(tf.reduce_sum(batch, 0))
    session.run(w.initializer)
    session.run(queue.enqueue_many([np.ones([5, 2])]))
    session.run(queue.close())
    for expected in (-2.0, -4.0):
        session.run(step)
        assert session.run(w).tolist() == [expected] * 2
    with pytest.raises(tf.errors.OutOfRangeError):
        session.run(step)


def test_in_a_loop(session):
    queue = tf.FIFOQueue(10, tf.int32, shapes=[[]])
    session.run(queue.enqueue_many([[1, 2, 3, 4]]))
    _, total = tf.while_loop(lambda i, _: i < 3, lambda i, t: (i + 1, t + queue.dequeue()), [0, 0])
    assert session.run(total) == 6 and session.run(queue.size()) == 1


def test_a_run_that_fails_takes_nothing_afterwards(session):
    closed, other, third = (tf.FIFOQueue(2, tf.int32, shapes=[[]]) for _ in range(3))
    thread, outcome = in_thread(session.run, [closed.dequeue(), other.dequeue(), third.dequeue()])
    time.sleep(0.1)  # until each waits on a thread of its own
    session.run(closed.close())
    thread.join(10)
    assert isinstance(outcome[0], tf.errors.OutOfRangeError)
    session.run([other.enqueue(1), third.enqueue(2)])
    time.sleep(0.1)
    assert session.run([other.size(), third.size()]) == [1, 1]
