"""What a queue is while a session runs: elements under a lock, and the operations that wait for them in line."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tahr import errors
from tahr.core.opdef import Array
from tahr.ops.philox import WORDS_PER_BLOCK
from tahr.ops.streams import Stream

Element = tuple[Array, ...]


# ---------------------------------------------------------------- in what order elements come out


class Buffer(Protocol):
    """The elements of a queue."""

    def __len__(self) -> int: ...

    def put(self, element: Element) -> None:
        """Adds an element."""
        ...

    def take(self) -> Element:
        """Removes the element whose turn it is."""
        ...

    def put_back(self, elements: Sequence[Element]) -> None:
        """Takes back elements that were taken last, as if they had not been."""
        ...


class FirstInFirstOut:
    """Elements come out in the order in which they went in."""

    def __init__(self) -> None:
        self._elements: deque[Element] = deque()

    def __len__(self) -> int:
        return len(self._elements)

    def put(self, element: Element) -> None:
        """Adds an element at the end."""
        self._elements.append(element)

    def take(self) -> Element:
        """Removes the first element."""
        return self._elements.popleft()

    def put_back(self, elements: Sequence[Element]) -> None:
        """Puts elements in front again."""
        self._elements.extendleft(reversed(elements))


class Shuffled:
    """Any element may come out next; with a seed, TensorFlow's.

    Source: TensorFlow 1.15, core/kernels/random_shuffle_queue_op.cc: the next Philox word modulo the size is the index;
    the last element then moves there.
    """

    def __init__(self, seed: int, seed2: int) -> None:
        self._elements: list[Element] = []
        self._stream = Stream(seed, seed2)
        self._words: list[int] = []

    def __len__(self) -> int:
        return len(self._elements)

    def put(self, element: Element) -> None:
        """Adds an element."""
        self._elements.append(element)

    def take(self) -> Element:
        """Removes an element at random."""
        if not self._words:
            self._words = self._stream.reserve(1).words(WORDS_PER_BLOCK).tolist()[::-1]
        index = self._words.pop() % len(self._elements)
        self._elements[index], self._elements[-1] = self._elements[-1], self._elements[index]
        return self._elements.pop()

    def put_back(self, elements: Sequence[Element]) -> None:
        """Adds elements again."""
        self._elements.extend(elements)


class ByPriority:
    """The element with the lowest first component comes out next; of equal ones that which went in first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Element]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, element: Element) -> None:
        """Adds an element; its first component is the priority."""
        heapq.heappush(self._heap, (int(element[0]), self._count, element))
        self._count += 1

    def take(self) -> Element:
        """Removes the element with the lowest priority."""
        return heapq.heappop(self._heap)[2]

    def put_back(self, elements: Sequence[Element]) -> None:
        """Adds elements again, before others of equal priority."""
        for place, element in enumerate(elements):
            heapq.heappush(self._heap, (int(element[0]), place - self._count - len(elements), element))


# ---------------------------------------------------------------- the queue


class QueueState:
    """A queue of a session.

    Operations that wait stand in line: those that dequeue in one, those that enqueue in another. Only the first in line
    moves elements, so an operation that takes several elements gets consecutive ones, and may take more than the
    queue can hold.

    Args:
        kind: "FIFOQueue" ..., for messages.
        name: its name, for messages.
        buffer: the elements.
        capacity: how many it holds; None for any number.
        types: the dtypes of an element's components.
        min_after_dequeue: how many elements must stay behind, until it is closed.

    Attributes:
        shape: (), as a handle is a scalar of dtype resource.
        dtype: object.
    """

    shape = ()
    ndim = 0
    dtype = np.dtype(object)

    def __init__(
        self,
        kind: str,
        name: str,
        buffer: Buffer,
        capacity: int | None,
        types: list[Any],
        min_after_dequeue: int = 0,
    ) -> None:
        self.kind = kind
        self.name = name
        self.types = types
        self._buffer = buffer
        self._capacity = capacity
        self._min_after_dequeue = min_after_dequeue
        self._changed = threading.Condition()
        self._enqueuing: deque[object] = deque()
        self._dequeuing: deque[object] = deque()
        self._is_closing = False  # closed as soon as the operations that are enqueuing are through
        self._is_closed = False
        self._is_cancelled = False

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"

    def size(self) -> int:
        """The number of elements."""
        with self._changed:
            return len(self._buffer)

    def is_closed(self) -> bool:
        """Whether nothing can be enqueued any more."""
        with self._changed:
            return self._is_closed or self._is_closing

    def close(self, cancel_pending_enqueues: bool) -> None:
        """Lets nothing more in.

        Args:
            cancel_pending_enqueues: whether operations that wait to enqueue fail; else they may finish.

        Raises:
            CancelledError: it is closed already.
        """
        with self._changed:
            if (self._is_closed or self._is_closing) and not cancel_pending_enqueues:
                raise errors.CancelledError(None, None, f"Queue '{self.name}' is already closed.")
            self._is_cancelled |= cancel_pending_enqueues
            self._is_closing = True
            self._is_closed |= cancel_pending_enqueues or not self._enqueuing
            self._changed.notify_all()

    def session_closed(self) -> None:
        """Wakes what waits, so that it sees that its run is cancelled."""
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------ enqueue

    def enqueue(self, context: Any, elements: Sequence[Element]) -> None:
        """Adds elements, waiting for room.

        Raises:
            CancelledError: it is closed, or is while this waits and pending enqueues are cancelled.
        """
        with self._changed:
            if self._is_closed or self._is_closing:
                raise errors.CancelledError(None, None, f"{self} is closed.")
            if not context.may_wait and (self._enqueuing or self._room() < len(elements)):
                context.wait(self._changed, lambda: False)
            ticket = object()
            self._enqueuing.append(ticket)
            try:
                for element in elements:
                    context.wait(self._changed, lambda: self._is_cancelled or self._may_enqueue(ticket))
                    if self._is_cancelled:
                        raise errors.CancelledError(None, None, "Enqueue operation was cancelled")
                    self._buffer.put(element)
                    self._changed.notify_all()
            finally:
                self._enqueuing.remove(ticket)
                self._is_closed |= self._is_closing and not self._enqueuing
                self._changed.notify_all()

    def _room(self) -> float:
        return float("inf") if self._capacity is None else self._capacity - len(self._buffer)

    def _may_enqueue(self, ticket: object) -> bool:
        return self._enqueuing[0] is ticket and self._room() > 0

    # ------------------------------------------------------------ dequeue

    def dequeue(self, context: Any, count: int, allow_fewer: bool = False) -> list[Element]:
        """Removes elements, waiting for them.

        Args:
            context: the run.
            count: how many.
            allow_fewer: whether fewer (but at least one) will do once the queue is closed.

        Raises:
            OutOfRangeError: it is closed and has too few.
        """
        with self._changed:
            if not context.may_wait and (
                self._dequeuing or not (self._is_closed or self._available() >= count)
            ):
                context.wait(self._changed, lambda: False)
            ticket = object()
            self._dequeuing.append(ticket)
            taken: list[Element] = []
            try:
                while len(taken) < count:
                    context.wait(self._changed, lambda: self._may_dequeue(ticket))
                    if self._available() > 0:
                        taken.append(self._buffer.take())
                        self._changed.notify_all()
                    elif allow_fewer and taken:
                        break
                    else:
                        raise self._insufficient(count, len(taken))
            except BaseException:
                self._buffer.put_back(taken)
                raise
            finally:
                self._dequeuing.remove(ticket)
                self._changed.notify_all()
            return taken

    def _available(self) -> int:
        return len(self._buffer) - (0 if self._is_closed else self._min_after_dequeue)

    def _may_dequeue(self, ticket: object) -> bool:
        return self._dequeuing[0] is ticket and (self._is_closed or self._available() > 0)

    def _insufficient(self, count: int, taken: int) -> errors.OutOfRangeError:
        size = len(self._buffer) + taken
        return errors.OutOfRangeError(
            None,
            None,
            f"{self} is closed and has insufficient elements (requested {count}, current size {size})",
        )
