"""Rows whose number depends on data, but is seen by nobody: they are padded, so that no stage has to end for them.

An optimizer's step for a sparse gradient first sums the rows of equal indices:

    unique, places = tf.unique(indices)
    rows = tf.unsorted_segment_sum(values, places, tf.shape(unique)[0])

A loss of those elements that a mask chooses looks them up, and takes a mean:

    chosen = tf.gather(losses, tf.squeeze(tf.where(mask), 1))
    loss = tf.reduce_mean(chosen)

How many rows that makes is known when the indices, or the mask, are. But often all that happens to them is done to
each row alone, up to operations that can be told how many rows count: those that reduce them, add them up elsewhere, or
write them to rows of variables. Then the Program has as many rows as there are indices (or elements of the mask), and
counts those that matter: what finds rows becomes an operation that finds their number too, what must know it gets it
as one more input (`ops.counted`), and everything between is as it was, on some rows too many.

Whether that can be is found out by following what depends on the number through the operations of a function, with the
rules of `rows`. Where a tensor goes anywhere else, nothing is padded, and the stage ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tahr.core.convert import Const
from tahr.core.graph import Operation, Tensor
from tahr.ops import counted
from tahr.ops.sorting import Unique
from tahr.program import rows
from tahr.program.effects import names_variable
from tahr.program.node import attrs_key
from tahr.program.rows import Kind


class Padded(NamedTuple):
    """How an operation runs on padded rows.

    Attributes:
        finder: what finds those rows: perhaps the operation itself.
        numbers: the inputs in which it takes their number itself. If there are none it gets it as one more input.
    """

    finder: Operation
    numbers: tuple[int, ...] = ()


class _Tag(NamedTuple):
    """How a tensor depends on how many rows an operation finds."""

    finder: Operation
    kind: Kind


def find(
    order: Iterable[Operation], fed: Iterable[Tensor], results: Iterable[Tensor]
) -> dict[Operation, Padded]:
    """The operations that run on padded rows.

    Args:
        order: a function's operations, in topological order.
        fed: tensors whose values are given.
        results: tensors whose values are seen.

    Returns:
        What finds rows of which nobody sees how many there are, and what is told their number.
    """
    order = list(order)
    if not any(map(_finds_rows, order)):
        return {}
    return _Search(set(fed)).run(order, results)


class _Search:
    def __init__(self, fed: set[Tensor]) -> None:
        self._fed = fed
        self._tags: dict[Tensor, _Tag] = {}
        self._finders: dict[
            Operation, Operation
        ] = {}  # those that surely find the same have one to stand for them
        self._told: dict[Operation, Padded] = {}
        self._seen: set[Operation] = set()

    def run(self, order: Iterable[Operation], results: Iterable[Tensor]) -> dict[Operation, Padded]:
        for op in order:
            read = {i: self._tags[t] for i, t in enumerate(op.inputs) if t in self._tags}
            if read:
                self._follow(op, read)
            if _finds_rows(op):
                self._begin(op)
        self._seen.update(self._tags[t].finder for t in results if t in self._tags)
        padded = {op: Padded(op) for op, same in self._finders.items() if same not in self._seen}
        told = {op: how for op, how in self._told.items() if how.finder not in self._seen}
        return padded | told

    def _begin(self, op: Operation) -> None:
        """Tags the rows that an operation finds."""
        alike = (other for other in self._finders if self._find_the_same(op, other))
        finder = self._finders[op] = next(alike, op)
        found = op.outputs[:1] if op.opdef is Unique else op.outputs
        self._tag(found, _Tag(finder, Kind.ROWS))

    def _find_the_same(self, a: Operation, b: Operation) -> bool:
        same = a.opdef is b.opdef and attrs_key(a.attrs) == attrs_key(b.attrs)
        return same and all(_are_same(x, y, self._fed) for x, y in zip(a.inputs, b.inputs))

    def _follow(self, op: Operation, read: Mapping[int, _Tag]) -> None:
        """Tags what an operation makes of tensors that depend on a number of rows, or notes that it sees it."""
        finders = {tag.finder for tag in read.values()}
        (finder, *others) = finders
        kinds = {i: tag.kind for i, tag in read.items()}
        found = None if others else rows.outcome(op, kinds, lambda tensor: self._is_place(tensor, finder))
        if found is None:
            self._seen.update(finders)
            return
        if found.is_told or found.numbers:
            self._told[op] = Padded(finder, found.numbers)
        if found.kind is not Kind.NOT:
            self._tag(op.outputs, _Tag(finder, found.kind))

    def _tag(self, tensors: Iterable[Tensor], tag: _Tag) -> None:
        self._tags.update({t: tag for t in tensors if t not in self._fed})

    def _is_place(self, tensor: Tensor, finder: Operation) -> bool:
        """Whether a tensor says, for each element of a vector, which of its different elements it is."""
        return (
            self._finders.get(tensor.op) is finder and tensor.op.opdef is Unique and tensor.value_index == 1
        )


def _finds_rows(op: Operation) -> bool:
    if op.opdef not in counted.PADDED:
        return False
    spec = op.inputs[0].spec
    if op.opdef is Unique:
        return spec.rank == 1 and spec.dtype is not None and spec.dtype.is_integer
    return bool(spec.rank)


def _are_same(a: Tensor, b: Tensor, fed: Collection[Tensor], depth: int = 8) -> bool:
    """Whether two tensors surely have the same value: they are one, or equal operations on the same ones."""
    if a is b:
        return not names_variable(a)  # that is read anew by whatever takes it
    if a in fed or b in fed or a.value_index != b.value_index:
        return False
    if a.op.opdef is not b.op.opdef or a.op.opdef.effects.any or len(a.op.inputs) != len(b.op.inputs):
        return False
    if not depth or attrs_key(a.op.attrs) != attrs_key(b.op.attrs):
        return False
    is_made = bool(a.op.inputs) or a.op.opdef is Const
    return is_made and all(_are_same(x, y, fed, depth - 1) for x, y in zip(a.op.inputs, b.op.inputs))
