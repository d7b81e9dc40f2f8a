"""Coordinator and QueueRunner: threads that stop together, and queues that they fill."""

from __future__ import annotations

import threading
import time

import pytest

import tahr as tf
from tahr.training.coordinator import Coordinator, LooperThread
from tahr.training.queue_runner import QueueRunner, add_queue_runner, start_queue_runners


def started(target):
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


# ---------------------------------------------------------------- Coordinator


def test_threads_stop_together():
    coord = Coordinator()
    counts = [0, 0]

    def work(i):
        while not coord.should_stop():
            counts[i] += 1
            if counts[i] == 5 and i == 0:
                coord.request_stop()
            time.sleep(0.001)

    threads = [started(lambda i=i: work(i)) for i in range(2)]
    coord.join(threads)
    assert coord.joined and counts[0] == 5 and not any(t.is_alive() for t in threads)
    coord.clear_stop()
    assert not coord.should_stop() and not coord.joined


def test_join_raises_the_first_exception():
    coord = Coordinator()

    def work():
        with coord.stop_on_exception():
            raise KeyError("first")

    threads = [started(work)]
    assert coord.wait_for_stop(10)
    coord.request_stop(ValueError("second"))
    with pytest.raises(KeyError, match="first"):
        coord.join(threads)
    with pytest.raises(KeyError, match="first"):
        coord.raise_requested_exception()
    with pytest.raises(ValueError, match="late"):
        coord.request_stop(ValueError("late"))


def test_the_end_of_data_is_no_failure():
    coord = Coordinator()
    coord.request_stop(tf.errors.OutOfRangeError(None, None, "the end"))
    coord.join([])
    assert coord.should_stop()


def test_threads_that_do_not_stop():
    coord = Coordinator()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="stubborn", daemon=True)
    thread.start()
    coord.request_stop()
    with pytest.raises(RuntimeError, match="threads still running: stubborn"):
        coord.join([thread], stop_grace_period_secs=0.05)
    coord.join([thread], stop_grace_period_secs=0.05, ignore_live_threads=True)
    release.set()
    thread.join(10)


def test_a_looper_calls_until_the_stop():
    coord = Coordinator()
    calls = []

    def call(x, y):
        calls.append((x, y))
        if len(calls) == 3:
            raise KeyError("enough")

    LooperThread.loop(coord, 0.001, call, args=(1,), kwargs={"y": 2})
    with pytest.raises(KeyError, match="enough"):
        coord.join()
    assert calls == [(1, 2)] * 3
    with pytest.raises(ValueError, match="must be a Coordinator"):
        LooperThread(None, None)  # pyright: ignore[reportArgumentType]


# ---------------------------------------------------------------- QueueRunner


def counter_queue(limit, threads=2):
    """A queue that is filled with the numbers from 1 up to a limit."""
    counter = tf.Variable(0, trainable=False)
    queue = tf.FIFOQueue(3, tf.int32, shapes=[[]])
    # The number is taken and put in one operation after the other, so each number occurs once.
    enqueue = queue.enqueue(tf.count_up_to(counter, limit))
    return counter, queue, QueueRunner(queue, [enqueue] * threads)


def test_a_queue_is_filled_until_the_data_end():
    with tf.Graph().as_default(), tf.Session() as session:
        counter, queue, runner = counter_queue(20)
        add_queue_runner(runner)
        session.run(counter.initializer)
        coord = Coordinator()
        threads = start_queue_runners(coord=coord)
        assert len(threads) == 3 and runner.create_threads(session) == []
        dequeue, seen = queue.dequeue(), []

        def take_all():
            while True:
                seen.append(int(session.run(dequeue)))

        with pytest.raises(tf.errors.OutOfRangeError, match="is closed and has insufficient elements"):
            take_all()
        coord.request_stop()
        coord.join(threads)
        assert sorted(seen) == list(range(20))
        assert runner.exceptions_raised == [] and runner.name == queue.name


def test_a_stop_cancels_what_waits():
    with tf.Graph().as_default(), tf.Session() as session:
        queue = tf.FIFOQueue(2, tf.int32, shapes=[[]])
        runner = QueueRunner(queue, [queue.enqueue(1)])
        coord = Coordinator()
        threads = runner.create_threads(session, coord, start=True)
        assert session.run(queue.dequeue_many(5)).tolist() == [1] * 5
        coord.request_stop()
        coord.join(threads, stop_grace_period_secs=10)


def test_an_exception_reaches_the_main_thread():
    def fail():
        raise KeyError("lost")

    with tf.Graph().as_default(), tf.Session() as session:
        queue = tf.FIFOQueue(2, tf.int32)
        runner = QueueRunner(queue, [queue.enqueue(tf.py_func(fail, [], tf.int32))])
        coord = Coordinator()
        threads = runner.create_threads(session, coord, start=True)
        with pytest.raises(tf.errors.UnknownError, match="KeyError: 'lost'"):
            coord.join(threads)


def test_mistakes():
    queue = tf.FIFOQueue(2, tf.int32)
    with pytest.raises(ValueError, match="Must provide queue and enqueue_ops"):
        QueueRunner(queue, [])
    with pytest.raises(TypeError, match=r"tuple of tf\.error types"):
        QueueRunner(queue, [queue.enqueue(1)], queue_closed_exception_types=[ValueError])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="No default session is registered"):
        start_queue_runners()
