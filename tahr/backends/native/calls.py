"""Calls of kernels, as a segment holds them: what they read and write, and how exact sizes are filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tahr.backends.native.kernel import Kernel
from tahr.backends.native.nests import Bound
from tahr.backends.native.tiles import Loop
from tahr.core.dtypes import DType
from tahr.core.sizes import Dim
from tahr.core.views import View
from tahr.program.node import Node, Value

Known = Mapping[str, int]


@dataclass(frozen=True)
class Place:
    """Where a value lies: a view of the storage of a root."""

    root: Value
    view: View


@dataclass(frozen=True)
class Partial:
    """What the kernels of one call hand to each other, such as a reduction's partial results: only it uses the storage.

    Attributes:
        result: the value of the whole.
        dtype: what they are.
        purpose: tells several that belong to one value apart.
    """

    result: Value
    dtype: DType
    purpose: str = ""


@dataclass(frozen=True)
class Status:
    """The run's status block, through which a kernel reports an error: see `walk.STATUS`."""


@dataclass(frozen=True)
class Reserved:
    """Blocks of an operation's random stream, which each run reserves: three int64, key and halves of the counter.

    Attributes:
        node: what draws.
        blocks: how many.
    """

    node: Node
    blocks: int


@dataclass(frozen=True)
class Running:
    """Where an operation's random stream is, in the same form: kernels in loops and branches advance it as they draw.

    Attributes:
        node: what draws.
    """

    node: Node


class Ref(NamedTuple):
    """A buffer that a kernel is given.

    Attributes:
        storage: a root, partial results, the status block, or a position in a random stream.
        offset: how many elements behind its start.
    """

    storage: Value | Partial | Status | Reserved | Running
    offset: Dim = 0


class Bind(NamedTuple):
    """One kernel's call for exact sizes.

    Attributes:
        kernel: what is called.
        buffers: what it is given.
        bound: its sizes, tiles and scratch.
        library: whose function computes it, for people; empty for tahr's own.
    """

    kernel: Kernel
    buffers: tuple[Ref, ...]
    bound: Bound
    library: str = ""


@dataclass(frozen=True, eq=False)
class Mark:
    """A place among a segment's steps, for jumps."""


@dataclass(frozen=True)
class Jump:
    """A step that goes on elsewhere.

    Attributes:
        to: where.
        unless: a bool that must be false for that; None where it is always so.
    """

    to: Mark
    unless: Ref | None = None


@dataclass(frozen=True)
class Seat:
    """A step that seats a value: it decides in which row of a list the value lies until it is seated again.

    Attributes:
        kernel: finds the row.
        buffers: what it is given; behind them come the places of the run's table that lead to the value.
        sizes: its sizes, before the number of those places and the value's offset in each.
        value: the value; it has no storage of its own.
    """

    kernel: Kernel
    buffers: tuple[Ref, ...]
    sizes: tuple[int, ...]
    value: Value


@dataclass(frozen=True)
class Call:
    """What one group became.

    Attributes:
        title: what it computes, for people.
        nodes: the nodes it stands for.
        reads, writes: the storages that it uses.
        kernels: what has to be compiled whatever the sizes.
        bind: the kernels' calls for exact sizes, and how many elements of each Partial there are.
        operands: where kernels may report that an input is not valid, the inputs by their number that were data: the
            NumPy kernel of the (only) node raises the error for them. None if they report nothing.
        loop: the loop nest that it is, for people; None for other kernels.
        depth: in how many loops and branches it is.
    """

    title: str
    nodes: tuple[Node, ...]
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    kernels: tuple[Kernel, ...]
    bind: Callable[[Known], tuple[Sequence[Bind | Mark | Jump | Seat], dict[Partial, int]]]
    operands: Mapping[int, Ref] | None = None
    loop: Loop | None = None
    depth: int = 0


def deeper(calls: Iterable[Call]) -> list[Call]:
    """Calls as they are in a loop or a branch."""
    return [replace(call, depth=call.depth + 1) for call in calls]
