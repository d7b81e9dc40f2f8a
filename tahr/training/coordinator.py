"""Coordinator: lets several threads stop together, and brings the exception of one of them to the main thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tahr import errors

# How often `join` looks whether threads still live, in seconds: at first, and at most.
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 1.0


class Coordinator:
    """Stops threads together.

    Threads loop `while not coord.should_stop()`; any of them, or the main thread, may call `request_stop`. The main
    thread calls `join`, which raises the exception that a thread reported.

    Args:
        clean_stop_exception_types: exceptions that mean a normal end when reported; `OutOfRangeError` by default.
    """

    def __init__(self, clean_stop_exception_types: Sequence[type[BaseException]] | None = None) -> None:
        self._clean = tuple(clean_stop_exception_types or (errors.OutOfRangeError,))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._exception: BaseException | None = None
        self._joined = False
        self._threads: set[threading.Thread] = set()

    @property
    def joined(self) -> bool:
        """Whether `join` has returned and nothing was registered since."""
        return self._joined

    def request_stop(self, ex: Any = None) -> None:
        """Asks all threads to stop.

        Args:
            ex: the exception that is the reason: an exception, or what `sys.exc_info()` gives. The first one that is
                reported is raised by `join`.
        """
        if isinstance(ex, tuple):
            ex = ex[1]
        with self._lock:
            if isinstance(ex, self._clean):
                ex = None
            if self._joined and ex is not None:
                raise ex
            if not self._stop.is_set():
                self._exception = self._exception or ex
                self._stop.set()

    def clear_stop(self) -> None:
        """Forgets that a stop was requested, and why."""
        with self._lock:
            self._joined = False
            self._exception = None
            self._stop.clear()

    def should_stop(self) -> bool:
        """Whether a stop was requested."""
        return self._stop.is_set()

    @contextmanager
    def stop_on_exception(self) -> Generator[None]:
        """A context manager that reports an exception raised in it and goes on behind it."""
        try:
            yield
        except Exception as error:
            self.request_stop(error)

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Waits until a stop is requested.

        Args:
            timeout: how long at most, in seconds.

        Returns:
            Whether it was.
        """
        return self._stop.wait(timeout)

    def register_thread(self, thread: threading.Thread) -> None:
        """Adds a thread to those that `join` waits for."""
        with self._lock:
            self._threads.add(thread)

    def join(
        self,
        threads: Iterable[threading.Thread] | None = None,
        stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:
        """Waits until all threads have ended.

        Args:
            threads: threads to wait for, beside the registered ones.
            stop_grace_period_secs: how long a thread may go on after a stop was requested, in seconds.
            ignore_live_threads: whether threads that go on longer are no error.

        Raises:
            RuntimeError: threads are still alive after that time.
            BaseException: what was reported with `request_stop`.
        """
        with self._lock:
            waiting = self._threads.union(threads or ())
        while any(t.is_alive() for t in waiting) and not self.wait_for_stop(_LONGEST_PAUSE):
            pass
        deadline = time.monotonic() + stop_grace_period_secs
        pause = _FIRST_PAUSE
        while any(t.is_alive() for t in waiting) and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE, max(deadline - time.monotonic(), _FIRST_PAUSE))
        alive = [t.name for t in waiting if t.is_alive()]
        with self._lock:
            self._joined = True
            self._threads = set()
            if self._exception is not None:
                raise self._exception
            if alive and not ignore_live_threads:
                raise RuntimeError(f"Coordinator stopped with threads still running: {' '.join(alive)}")

    def raise_requested_exception(self) -> None:
        """Raises the exception that was reported, if there is one."""
        with self._lock:
            if self._exception is not None:
                raise self._exception


class LooperThread(threading.Thread):
    """A thread that calls something again and again until its coordinator stops.

    Args:
        coord: the coordinator; exceptions are reported to it.
        timer_interval_secs: the seconds from one call to the next; None for no pause.
        target: what to call; or subclass and override `run_loop`.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Raises:
        ValueError: `coord` is no Coordinator.
    """

    def __init__(
        self,
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any] | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(coord, Coordinator):
            raise ValueError(f"'coord' argument must be a Coordinator: {coord}")
        super().__init__(daemon=True)
        self._coord = coord
        self._interval = timer_interval_secs
        self._call = target
        self._arguments = tuple(args or ()), dict(kwargs or {})
        coord.register_thread(self)

    @staticmethod
    def loop(
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> LooperThread:
        """Makes a LooperThread and starts it."""
        looper = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        """The thread's work."""
        with self._coord.stop_on_exception():
            self.start_loop()
            following = time.monotonic()
            while not self._coord.should_stop():
                self.run_loop()
                if self._interval is not None:
                    following += self._interval
                    if self._coord.wait_for_stop(max(0.0, following - time.monotonic())):
                        break
            self.stop_loop()

    def start_loop(self) -> None:
        """Called once before the first call; for subclasses."""

    def stop_loop(self) -> None:
        """Called once after the last call; for subclasses."""

    def run_loop(self) -> None:
        """One call."""
        if self._call is not None:
            self._call(*self._arguments[0], **self._arguments[1])
