"""QueueRunner: threads that keep a queue filled while the main thread trains."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from tahr import errors
from tahr.core import scopes
from tahr.core.scopes import GraphKeys
from tahr.ops.queues import QueueBase
from tahr.session.default import get_default_session
from tahr.training.coordinator import Coordinator


class QueueRunner:
    """Several enqueue operations of one queue, each of which a thread runs again and again.

    When the data end (an enqueue operation raises OutOfRangeError) its thread ends, and the last one closes the queue.

    Args:
        queue: the queue.
        enqueue_ops: the operations, one for each thread; the same one may occur several times.
        close_op: what closes the queue; `queue.close()` by default.
        cancel_op: what closes it at a stop, so that pending enqueues fail; by default
            `queue.close(cancel_pending_enqueues=True)`.
        queue_closed_exception_types: the exceptions that mean the end of data; `OutOfRangeError` by default.
        queue_runner_def: not supported: importing is done by the graph importers.
        import_scope: not supported.

    Raises:
        ValueError: the queue or the operations are missing.  TypeError: the exception types are none.
    """

    def __init__(
        self,
        queue: QueueBase | None = None,
        enqueue_ops: Sequence[Any] | None = None,
        close_op: Any = None,
        cancel_op: Any = None,
        queue_closed_exception_types: tuple[type[BaseException], ...] | None = None,
        queue_runner_def: Any = None,
        import_scope: str | None = None,
    ) -> None:
        if queue_runner_def is not None:
            raise NotImplementedError(
                "QueueRunner does not take a queue_runner_def: give it a queue and enqueue_ops"
            )
        if queue is None or not enqueue_ops:
            raise ValueError("Must provide queue and enqueue_ops.")
        closed = (
            (errors.OutOfRangeError,)
            if queue_closed_exception_types is None
            else queue_closed_exception_types
        )
        if not isinstance(closed, tuple) or not all(isinstance(t, type) for t in closed):
            raise TypeError("queue_closed_exception_types, when provided, must be a tuple of tf.error types")
        self._queue = queue
        self._enqueue_ops = list(enqueue_ops)
        self._close_op = queue.close() if close_op is None else close_op
        self._cancel_op = queue.close(cancel_pending_enqueues=True) if cancel_op is None else cancel_op
        self._closed_types = closed
        self._lock = threading.Lock()
        # How many threads are at work, for each session.
        self._running: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._exceptions: list[BaseException] = []

    @property
    def queue(self) -> QueueBase:
        """The queue."""
        return self._queue

    @property
    def enqueue_ops(self) -> list[Any]:
        """The operations that fill it."""
        return self._enqueue_ops

    @property
    def close_op(self) -> Any:
        """The operation that closes it."""
        return self._close_op

    @property
    def cancel_op(self) -> Any:
        """The operation that closes it and cancels pending enqueues."""
        return self._cancel_op

    @property
    def queue_closed_exception_types(self) -> tuple[type[BaseException], ...]:
        """The exceptions that mean the end of data."""
        return self._closed_types

    @property
    def exceptions_raised(self) -> list[BaseException]:
        """What the threads raised without a coordinator."""
        return self._exceptions

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._queue.name

    def create_threads(
        self, sess: Any, coord: Coordinator | None = None, daemon: bool = False, start: bool = False
    ) -> list[threading.Thread]:
        """Makes the threads for a session.

        Args:
            sess: the session.
            coord: where exceptions are reported, and which stops the threads.
            daemon: whether the threads do not keep the process alive.
            start: whether to start them; else the caller does.

        Returns:
            The threads; none if those of an earlier call are still at work.
        """
        with self._lock:
            if self._running.get(sess, 0) > 0:
                return []
            self._running[sess] = len(self._enqueue_ops)
            self._exceptions = []
        threads = [
            threading.Thread(
                target=self._run,
                args=(sess, op, coord),
                name=f"QueueRunnerThread-{self.name}-{op.name}",
                daemon=daemon,
            )
            for op in self._enqueue_ops
        ]
        if coord is not None:
            name = f"QueueRunnerThread-{self.name}-close_on_stop"
            threads.append(
                threading.Thread(target=self._close_on_stop, args=(sess, coord), name=name, daemon=daemon)
            )
            for thread in threads:
                coord.register_thread(thread)
        if start:
            for thread in threads:
                thread.start()
        return threads

    def _run(self, sess: Any, enqueue_op: Any, coord: Coordinator | None) -> None:
        """One thread's work."""
        has_ended = False
        try:
            enqueue = sess.make_callable(enqueue_op)
            while coord is None or not coord.should_stop():
                enqueue()
        except self._closed_types:
            has_ended = True
        except Exception as error:
            if coord is None:
                with self._lock:
                    self._exceptions.append(error)
                raise
            coord.request_stop(error)
        finally:
            with self._lock:
                self._running[sess] -= 1
                is_last = not self._running[sess]
        if has_ended and is_last:
            with suppress(errors.OpError, RuntimeError):  # the queue, or the session, is closed already
                sess.run(self._close_op)

    def _close_on_stop(self, sess: Any, coord: Coordinator) -> None:
        coord.wait_for_stop()
        with suppress(errors.OpError, RuntimeError):  # the session is closed already
            sess.run(self._cancel_op)


def add_queue_runner(qr: QueueRunner, collection: str = GraphKeys.QUEUE_RUNNERS) -> None:
    """Adds a QueueRunner to those that `start_queue_runners` starts."""
    scopes.add_to_collection(collection, qr)


def start_queue_runners(
    sess: Any = None,
    coord: Coordinator | None = None,
    daemon: bool = True,
    start: bool = True,
    collection: str = GraphKeys.QUEUE_RUNNERS,
) -> list[threading.Thread]:
    """Starts the threads of all QueueRunners of the session's graph.

    Args:
        sess: the session; the default one by default.
        coord: stops the threads, and takes their exceptions.
        daemon: whether the threads do not keep the process alive.
        start: whether to start them; else the caller does.
        collection: where the QueueRunners are found.

    Returns:
        The threads.

    Raises:
        ValueError: there is no session.
    """
    sess = get_default_session() if sess is None else sess
    if sess is None:
        raise ValueError(
            "Cannot start queue runners: No default session is registered. Use `with sess.as_default()` or pass an "
            "explicit session to tf.start_queue_runners(sess=sess)"
        )
    runners = sess.graph.get_collection(collection)
    return [t for r in runners for t in r.create_threads(sess, coord=coord, daemon=daemon, start=start)]
