"""Calls that begin, copy and end lists as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.backends.native import list_buffers
from tahr.backends.native.calls import Bind, Call, Known, Partial, Ref, Status
from tahr.backends.native.list_buffers import Storage
from tahr.backends.native.nests import Bound
from tahr.core import sizes
from tahr.core.sizes import Dim
from tahr.program.node import Value


def begin(meta: Value, found: list_buffers.Shape, is_set: bool) -> Call:
    """The call that writes the length of a list, of which is known what `found` says."""
    kernel = list_buffers.begin()

    def bind(known: Known) -> tuple[Sequence[Any], dict[Partial, int]]:
        length, capacity = (
            sizes.evaluate(0 if d is None else d, known)  # pyright: ignore[reportArgumentType]
            for d in (found.length, found.capacity)
        )
        return [Bind(kernel, (Ref(meta),), Bound((length, capacity, int(is_set)), 1))], {}

    return Call("a list's length", (), (), (meta,), (kernel,), bind)


def begin_unbounded(storage: Storage, length: Dim) -> Call:
    """The call with which a list without a bound begins."""
    kernel = list_buffers.begin_unbounded()
    buffers = (Ref(Status()), Ref(storage.meta), Ref(storage.items))

    def bind(known: Known) -> tuple[Sequence[Any], dict[Partial, int]]:
        count = sizes.evaluate(length, known)  # pyright: ignore[reportArgumentType]
        bound = Bound((count, list_buffers.row_bytes(storage.items, known)), 1)
        return [Bind(kernel, buffers, bound)], {}

    return Call("a list's length", (), (), (storage.meta, storage.items), (kernel,), bind)


def bring(storage: Storage, target: Storage) -> Call:
    """The call that copies a list to one without a bound."""
    kernel = list_buffers.bring()
    reads, writes = (storage.meta, storage.items), (target.meta, target.items)
    buffers = (Ref(Status()), *map(Ref, writes), *map(Ref, reads))

    def bind(known: Known) -> tuple[Sequence[Any], dict[Partial, int]]:
        bound = Bound((list_buffers.row_bytes(target.items, known),), 1)
        return [Bind(kernel, buffers, bound)], {}

    return Call("a list's copy", (), reads, writes, (kernel,), bind)


def clear_rest(storage: Storage) -> Call:
    """The call that fills the rows behind a list's end with zeros."""
    kernel = list_buffers.clear_rest()
    items = storage.items

    def bind(known: Known) -> tuple[Sequence[Any], dict[Partial, int]]:
        assert items.shape is not None
        capacity = sizes.evaluate(items.shape[0], known)  # pyright: ignore[reportArgumentType]
        bound = Bound((list_buffers.row_bytes(items, known), capacity), 1)
        return [Bind(kernel, (Ref(storage.meta), Ref(items)), bound)], {}

    return Call("zeros", (), (storage.meta,), (items,), (kernel,), bind)
