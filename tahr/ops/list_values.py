"""Lists of tensors as values: what loops accumulate, and what a TensorArray is.

A list is immutable, as every value in a graph is, and yet appending to the newest version or changing one of its items
takes constant time: the newest version owns the items, and older versions remember how to get back (after H. G. Baker,
"Shallow binding makes functional arrays fast", 1991; but here an older version that is used again gets a copy, so that
two lists which grew from one do not take the items from each other at every step).

In the gradient of a list an item that is None stands for zero.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tahr.core.opdef import Array
from tahr.core.shapes import Items


class TensorList:
    """One version of a persistent list.

    Attributes:
        shape: (), as every list is a scalar of dtype variant.
        dtype: object.
    """

    __slots__ = ("_items", "_lock", "_newer", "_undo")

    shape = ()
    ndim = 0
    dtype = np.dtype(object)

    def __init__(self, items: list[Any], lock: threading.Lock | None = None) -> None:
        self._items: list[Any] | None = items
        self._newer: TensorList | None = None
        self._undo: tuple[str, int, Any] = ("", 0, None)
        self._lock = lock or threading.Lock()

    def _own(self) -> list[Any]:
        """The items of this version; an older one gets a copy of its own when it is asked for them."""
        if self._items is None:
            changes: list[tuple[str, int, Any]] = []
            version = self
            while version._items is None:
                changes.append(version._undo)
                assert version._newer is not None
                version = version._newer
            items = list(version._items)
            for change in reversed(changes):
                _apply(items, change)
            self._items, self._newer = items, None
        return self._items

    def _succeed(self, change: tuple[str, int, Any]) -> TensorList:
        """The next version: it takes over the items, and this one remembers how to get back."""
        items = self._own()
        undo = _apply(items, change)
        successor = TensorList(items, self._lock)
        self._items, self._newer, self._undo = None, successor, undo
        return successor

    def items(self) -> list[Any]:
        """A copy of the items."""
        with self._lock:
            return list(self._own())

    def __len__(self) -> int:
        with self._lock:
            return len(self._own())

    def get(self, index: int) -> Any:
        """One item; None where it was never set."""
        with self._lock:
            return self._own()[index]

    def set(self, index: int, item: Any) -> TensorList:
        """The list with another item."""
        with self._lock:
            return self._succeed(("set", index, item))

    def push(self, item: Any) -> TensorList:
        """The list with one more item."""
        with self._lock:
            return self._succeed(("push", 0, item))

    def pop(self) -> tuple[TensorList, Any]:
        """The list without its last item, and that item."""
        with self._lock:
            item = self._own()[-1]
            return self._succeed(("pop", 0, None)), item


class StoredList(TensorList):
    """A list whose items lie side by side in one array, as native code leaves them.

    Attributes:
        rows: the items; there may be more rows than items.
        lengths: int64: how many items there are, and for each row 1 where it has been set.
        known: what holds of every item that it may have; of the sizes the integers count. Where items are lists
            themselves, a row is what lies in such a list, or there is none and nobody asks for it.
    """

    __slots__ = ("known", "lengths", "rows")

    def __init__(self, rows: Array, lengths: Array, known: Items) -> None:
        super().__init__([])
        self._items = None  # made when Python asks for them
        self.rows, self.lengths, self.known = rows, lengths, known

    def _own(self) -> list[Any]:
        if self._items is None and self._newer is None:
            length, *is_set = self.lengths.tolist()
            self._items = [_wrapped(self.rows[i], self.known) if is_set[i] else None for i in range(length)]
        return super()._own()

    def __len__(self) -> int:
        return int(self.lengths[0])

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of the items, or of what lies in them."""
        return self.rows.shape[1:]


def _wrapped(row: Any, known: Items) -> Any:
    """An item of which a row is known."""
    return np.asarray(row) if known.items is None else TensorList([_wrapped(row, known.items)])


class FewItems(TensorList):
    """A list of which few items are set: what reading a list gives for its gradient.

    A loop that reads a list adds one of these in each iteration of its gradient; that must not take the time of a walk
    through the whole list.
    """

    __slots__ = ("_length", "few")

    def __init__(self, length: int, few: dict[int, Any]) -> None:
        super().__init__([])
        self._items = None  # made when something else than a sum is asked for
        self._length = length
        self.few = few

    def _own(self) -> list[Any]:
        if self._items is None and self._newer is None:
            self._items = [self.few.get(i) for i in range(self._length)]
        return super()._own()

    def __len__(self) -> int:
        return self._length


def _apply(items: list[Any], change: tuple[str, int, Any]) -> tuple[str, int, Any]:
    """Changes the items and returns the change that takes it back."""
    kind, index, item = change
    if kind == "push":
        items.append(item)
        return ("pop", 0, None)
    if kind == "pop":
        return ("push", 0, items.pop())
    old = items[index]
    items[index] = item
    return ("set", index, old)


# ---------------------------------------------------------------- zeros and sums


def zeros_of(value: Any) -> Any:
    """Zeros like a value; for a list, the list without items set."""
    if isinstance(value, TensorList):
        return TensorList([None] * len(value))
    return np.zeros(value.shape, value.dtype)


def add(a: Any, b: Any) -> Any:
    """The sum of two items of gradient lists."""
    if a is None or b is None:
        return a if b is None else b
    if isinstance(a, FewItems) and isinstance(b, FewItems):
        both = a.few | {i: add(a.few.get(i), item) for i, item in b.few.items()}
        return FewItems(len(a), both)
    if isinstance(a, FewItems):
        return _with_few(b, a)
    if isinstance(b, FewItems):
        return _with_few(a, b)
    if isinstance(a, TensorList):
        return TensorList([add(x, y) for x, y in zip(a.items(), b.items())])
    return np.add(a, b)


def _with_few(items: TensorList, added: FewItems) -> TensorList:
    for i, item in added.few.items():
        items = items.set(i, add(items.get(i), item))
    return items
