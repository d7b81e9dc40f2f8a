"""Queues: where one run (or thread) leaves tensors for another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, scopes, shapes, tensor_shapes
from tahr.core.dtypes import DType
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import IO, REQUIRED, Array, Effects, OpDef, known_int
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.core.tensor_shapes import TensorShape
from tahr.errors import Complaint
from tahr.ops.queue_states import Buffer, ByPriority, Element, FirstInFirstOut, QueueState, Shuffled
from tahr.ops.seeds import get_seed

BLOCKS = Effects(io=True, may_block=True)

# ---------------------------------------------------------------- the queue itself

# Queues without a shared name are numbered, as in TensorFlow's messages: '_0_fifo_queue'.
_numbers = itertools.count()

_ATTRS = {"component_types": REQUIRED, "shapes": (), "capacity": -1, "container": "", "shared_name": ""}


def _define(kind: str, make_buffer: Callable[..., Buffer], **attrs: Any) -> OpDef:
    """An op that gives the handle of a queue, which is made when it is first asked for."""
    # Two queues are never the same one, however equal their attributes are: hence the effect.
    op = OpDef(f"{kind}V2", "-> handle: resource", attrs={**_ATTRS, **attrs}, effects=IO).not_differentiable()
    op.shape(lambda **_: ())

    @op.stateful_kernel
    def _handle_kernel(context: Any, **attrs: Any) -> QueueState:  # pyright: ignore[reportUnusedFunction]
        def make() -> QueueState:
            name = attrs["shared_name"] or f"_{next(_numbers)}_{context.op.name}"
            capacity = attrs["capacity"] if attrs["capacity"] >= 0 else None
            least = attrs.get("min_after_dequeue", 0)
            if capacity is not None and least >= capacity > 0:
                raise Complaint(f"min_after_dequeue {least} must be < capacity {capacity}")
            return QueueState(kind, name, make_buffer(**attrs), capacity, attrs["component_types"], least)

        queue = context.resource(attrs["container"], attrs["shared_name"], make)
        if queue.types != attrs["component_types"] or queue.kind != kind:
            raise Complaint(
                f"Shared queue '{queue.name}' is a {queue.kind} with component types {_names(queue.types)}, but "
                f"requested was a {kind} with component types {_names(attrs['component_types'])}"
            )
        return queue

    return op


def _names(types: Sequence[DType]) -> str:
    return "[" + ", ".join(t.name for t in types) + "]"


def _first_in_first_out(**_: Any) -> Buffer:
    return FirstInFirstOut()


def _shuffled(*, seed: int, seed2: int, **_: Any) -> Buffer:
    return Shuffled(seed, seed2)


def _by_priority(**_: Any) -> Buffer:
    return ByPriority()


FIFOQueueV2 = _define("FIFOQueue", _first_in_first_out)
RandomShuffleQueueV2 = _define("RandomShuffleQueue", _shuffled, min_after_dequeue=0, seed=0, seed2=0)
PaddingFIFOQueueV2 = _define("PaddingFIFOQueue", _first_in_first_out)
PriorityQueueV2 = _define("PriorityQueue", _by_priority)

# ---------------------------------------------------------------- enqueue

QueueEnqueueV2 = OpDef(
    "QueueEnqueueV2",
    "handle: resource, components: [Tcomponents] ->",
    attrs={"shapes": REQUIRED, "timeout_ms": -1},
    effects=BLOCKS,
).not_differentiable()


@QueueEnqueueV2.stateful_kernel
def _enqueue_kernel(
    context: Any, queue: QueueState, *components: Array, shapes: Sequence[Shape], timeout_ms: int
) -> tuple[()]:
    for i, (component, shape) in enumerate(zip(components, shapes)):
        _check_component(i, shape, component.shape)
    # Copies: the arrays may be fed ones, which the caller changes for the next run.
    queue.enqueue(context, [tuple(np.array(c) for c in components)])
    return ()


QueueEnqueueManyV2 = OpDef(
    "QueueEnqueueManyV2",
    "handle: resource, components: [Tcomponents] ->",
    attrs={"shapes": REQUIRED, "timeout_ms": -1},
    effects=BLOCKS,
).not_differentiable()


@QueueEnqueueManyV2.stateful_kernel
def _enqueue_many_kernel(
    context: Any, queue: QueueState, *components: Array, shapes: Sequence[Shape], timeout_ms: int
) -> tuple[()]:
    if not components[0].ndim:
        raise Complaint("Expected a vector or higher rank of elements to enqueue, got a scalar")
    count = len(components[0])
    for i, (component, shape) in enumerate(zip(components, shapes)):
        _check_component(i, (count, *(component.shape[1:] if shape is None else shape)), component.shape)
    copies = [np.array(c) for c in components]
    queue.enqueue(context, [tuple(c[i, ...] for c in copies) for i in range(count)])
    return ()


def _check_component(index: int, expected: Shape, got: tuple[int, ...]) -> None:
    if not shapes.compatible(expected, got):
        raise Complaint(
            f"Shape mismatch in tuple component {index}. Expected {shapes.show(expected)}, got {shapes.show(got)}"
        )


# ---------------------------------------------------------------- dequeue

_DEQUEUE_ATTRS = {"component_types": REQUIRED, "shapes": REQUIRED, "timeout_ms": -1}

QueueDequeueV2 = OpDef(
    "QueueDequeueV2",
    "handle: resource -> components: [component_types]",
    attrs=_DEQUEUE_ATTRS,
    effects=BLOCKS,
).not_differentiable()


@QueueDequeueV2.shape
def _dequeue_shape(queue: Spec, *, shapes: Sequence[Shape], **_: Any) -> list[Shape]:
    return list(shapes)


@QueueDequeueV2.stateful_kernel
def _dequeue_kernel(context: Any, queue: QueueState, **_: Any) -> Element:
    return queue.dequeue(context, 1)[0]


QueueDequeueManyV2 = OpDef(
    "QueueDequeueManyV2",
    "handle: resource, n: int32 -> components: [component_types]",
    attrs=_DEQUEUE_ATTRS,
    effects=BLOCKS,
).not_differentiable()


@QueueDequeueManyV2.shape
def _dequeue_many_shape(queue: Spec, n: Spec, *, shapes: Sequence[Shape], **_: Any) -> list[Shape]:
    count = _checked_count(n)
    return [None if s is None else (UNKNOWN if count is None else count, *s) for s in shapes]


def _checked_count(n: Spec) -> int | None:
    shapes.dims(n.shape, 0)
    count = known_int(n)
    if count is not None and count < 0:
        raise ValueError(f"Input 'n' must be >= 0, but is {count}")
    return count


@QueueDequeueManyV2.stateful_kernel
def _dequeue_many_kernel(
    context: Any,
    queue: QueueState,
    n: Array,
    *,
    component_types: list[DType],
    shapes: Sequence[Shape],
    timeout_ms: int,
) -> list[Array]:
    return _batch(queue, queue.dequeue(context, _count(queue, n, shapes)), component_types, shapes)


QueueDequeueUpToV2 = OpDef(
    "QueueDequeueUpToV2",
    "handle: resource, n: int32 -> components: [component_types]",
    attrs=_DEQUEUE_ATTRS,
    effects=BLOCKS,
).not_differentiable()


@QueueDequeueUpToV2.shape
def _dequeue_up_to_shape(queue: Spec, n: Spec, *, shapes: Sequence[Shape], **_: Any) -> list[Shape]:
    _checked_count(n)
    return [None if s is None else (UNKNOWN, *s) for s in shapes]


@QueueDequeueUpToV2.stateful_kernel
def _dequeue_up_to_kernel(
    context: Any,
    queue: QueueState,
    n: Array,
    *,
    component_types: list[DType],
    shapes: Sequence[Shape],
    timeout_ms: int,
) -> list[Array]:
    elements = queue.dequeue(context, _count(queue, n, shapes), allow_fewer=True)
    return _batch(queue, elements, component_types, shapes)


def _count(queue: QueueState, n: Array, element_shapes: Sequence[Shape]) -> int:
    if any(s is None for s in element_shapes):
        raise Complaint(
            f"{queue.kind}'s DequeueMany and DequeueUpTo require the components to have specified shapes.",
            "give the queue its `shapes`",
        )
    if int(n) < 0:
        raise Complaint(f"DequeueManyOp must request a positive number of elements, got {int(n)}")
    return int(n)


def _batch(
    queue: QueueState, elements: list[Element], types: Sequence[DType], element_shapes: Sequence[Shape]
) -> list[Array]:
    """The elements' components as rows; in a PaddingFIFOQueue filled up to the longest."""
    result: list[Array] = []
    for i, (dtype, shape) in enumerate(zip(types, element_shapes)):
        rows = [e[i] for e in elements]
        assert shape is not None
        static = tuple(d if isinstance(d, int) else 0 for d in shape)
        size = tuple(map(max, zip(*(r.shape for r in rows)))) if rows else static
        batch = np.full((len(rows), *size), b"" if dtype is dtypes.string else 0, dtype.numpy)
        for target, row in enumerate(rows):
            batch[(target, *map(slice, row.shape), ...)] = row
        result.append(batch)
    return result


# ---------------------------------------------------------------- close and size

QueueCloseV2 = OpDef(
    "QueueCloseV2", "handle: resource ->", attrs={"cancel_pending_enqueues": False}, effects=IO
).not_differentiable()


@QueueCloseV2.kernel
def _close_kernel(queue: QueueState, *, cancel_pending_enqueues: bool) -> tuple[()]:
    queue.close(cancel_pending_enqueues)
    return ()


QueueSizeV2 = OpDef("QueueSizeV2", "handle: resource -> size: int32", effects=IO).not_differentiable()
QueueSizeV2.shape(lambda queue: ())


@QueueSizeV2.kernel
def _size_kernel(queue: QueueState) -> Array:
    return np.asarray(queue.size(), np.int32)


QueueIsClosedV2 = OpDef(
    "QueueIsClosedV2", "handle: resource -> is_closed: bool", effects=IO
).not_differentiable()
QueueIsClosedV2.shape(lambda queue: ())


@QueueIsClosedV2.kernel
def _is_closed_kernel(queue: QueueState) -> Array:
    return np.asarray(queue.is_closed())


# ---------------------------------------------------------------- what users see


class QueueBase:
    """A queue of elements, each of them one or several tensors.

    Args:
        dtypes: the dtypes of an element's components.
        shapes: their static shapes, or None for each that is unknown.
        names: names for the components, or None; with names, elements are dictionaries.
        queue_ref: the queue's handle.
    """

    def __init__(
        self, dtypes: Sequence[DType], shapes: Sequence[Any], names: Sequence[str] | None, queue_ref: Tensor
    ) -> None:
        self._dtypes = list(dtypes)
        self._shapes: list[Shape] = [as_shape(s) for s in shapes] if shapes else [None] * len(self._dtypes)
        if len(self._shapes) != len(self._dtypes):
            raise ValueError(
                "Queue shapes must have the same length as dtypes, received "
                f"len(shapes)={len(self._shapes)}, len(dtypes)={len(self._dtypes)}"
            )
        self._names = names
        self._queue_ref = queue_ref
        self._name = queue_ref.op.name.split("/")[-1]

    @property
    def queue_ref(self) -> Tensor:
        """The queue's handle."""
        return self._queue_ref

    @property
    def name(self) -> str:
        """The name of the queue's operation."""
        return self._queue_ref.op.name

    @property
    def dtypes(self) -> list[DType]:
        """The dtypes of an element's components."""
        return self._dtypes

    @property
    def shapes(self) -> list[TensorShape]:
        """The static shapes of an element's components."""
        return [TensorShape(s) for s in self._shapes]

    @property
    def names(self) -> Sequence[str] | None:
        """The names of an element's components, or None."""
        return self._names

    # ------------------------------------------------------------ in

    def enqueue(self, vals: Any, name: str | None = None) -> Operation:
        """An operation that adds one element, waiting for room.

        Args:
            vals: a tensor, a list of tensors, or, for a queue with names, a dictionary.
            name: the operation's name.

        Raises:
            ValueError: number, dtypes or shapes do not fit.
            CancelledError: when run: the queue is closed.
        """
        with scopes.name_scope(name, f"{self._name}_enqueue", _values(vals)) as scope:
            tensors = self._components(vals)
            for tensor, shape in zip(tensors, self._shapes):
                _check_compatible(tensor.spec.shape, shape)
            return QueueEnqueueV2(self._queue_ref, tensors, shapes=self._shapes, name=scope)

    def enqueue_many(self, vals: Any, name: str | None = None) -> Operation:
        """An operation that adds elements, the rows of tensors, waiting for room.

        Args:
            vals: tensors [n, ...] in the form of an element.
            name: the operation's name.

        Raises:
            ValueError: number, dtypes or shapes do not fit.
            CancelledError: when run: the queue is closed.
        """
        with scopes.name_scope(name, f"{self._name}_EnqueueMany", _values(vals)) as scope:
            tensors = self._components(vals)
            rows: Shape = (UNKNOWN,)
            for tensor, shape in zip(tensors, self._shapes):
                found = tensor.spec.shape
                if found == ():
                    raise ValueError("Shape () must have rank at least 1")
                if found is not None:
                    rows = shapes.merge(rows, found[:1])
                    _check_compatible(found[1:], shape)
            return QueueEnqueueManyV2(self._queue_ref, tensors, shapes=self._shapes, name=scope)

    def _components(self, vals: Any) -> list[Tensor]:
        """What is given for an element, as tensors in the order of the components."""
        if isinstance(vals, Mapping):
            if not self._names:
                raise ValueError("Queue must have names to enqueue a dictionary")
            if sorted(self._names) != sorted(vals.keys()):
                raise ValueError(
                    "Keys in dictionary to enqueue do not match names of Queue.  "
                    f"Dictionary: {sorted(vals.keys())}, Queue: {sorted(self._names)}"
                )
            vals = [vals[k] for k in self._names]
        elif self._names:
            raise ValueError("You must enqueue a dictionary in a Queue with names")
        elif not isinstance(vals, (list, tuple)):
            vals = [vals]
        if len(vals) != len(self._dtypes):
            raise ValueError(
                f"An element of queue '{self.name}' has {len(self._dtypes)} components, got {len(vals)}"
            )
        return [
            convert.convert_to_tensor(v, dtype=d, name=f"component_{i}")
            for i, (v, d) in enumerate(zip(vals, self._dtypes))
        ]

    # ------------------------------------------------------------ out

    def dequeue(self, name: str | None = None) -> Any:
        """The next element, which is removed: waits for one.

        Returns:
            A tensor, a list of tensors for several components, or a dictionary for a queue with names.

        Raises:
            OutOfRangeError: when run: the queue is closed and empty.
        """
        found = QueueDequeueV2(self._queue_ref, name=name or f"{self._name}_Dequeue", **self._attrs())
        return self._returned(found)

    def dequeue_many(self, n: Any, name: str | None = None) -> Any:
        """The next n elements, stacked: waits for them.

        Args:
            n: how many, an int32 scalar.
            name: the operation's name.

        Returns:
            As `dequeue`, with tensors [n, ...].

        Raises:
            OutOfRangeError: when run: the queue is closed and has fewer.
        """
        name = name or f"{self._name}_DequeueMany"
        return self._returned(QueueDequeueManyV2(self._queue_ref, n, name=name, **self._attrs()))

    def dequeue_up_to(self, n: Any, name: str | None = None) -> Any:
        """As `dequeue_many`, but of a closed queue what is left, if it is at least one element."""
        name = name or f"{self._name}_DequeueUpTo"
        return self._returned(QueueDequeueUpToV2(self._queue_ref, n, name=name, **self._attrs()))

    def _attrs(self) -> dict[str, Any]:
        return {"component_types": self._dtypes, "shapes": self._shapes}

    def _returned(self, tensors: Sequence[Tensor]) -> Any:
        if self._names:
            return dict(zip(self._names, tensors))
        return tensors[0] if len(tensors) == 1 else tensors

    # ------------------------------------------------------------ state

    def close(self, cancel_pending_enqueues: bool = False, name: str | None = None) -> Operation:
        """An operation that closes the queue: nothing more comes in; what is in it can still be taken out.

        Args:
            cancel_pending_enqueues: whether operations that wait to enqueue fail; else they may finish.
            name: the operation's name.
        """
        name = name or f"{self._name}_Close"
        return QueueCloseV2(self._queue_ref, cancel_pending_enqueues=cancel_pending_enqueues, name=name)

    def is_closed(self, name: str | None = None) -> Tensor:
        """Whether the queue is closed, a bool scalar."""
        return QueueIsClosedV2(self._queue_ref, name=name or f"{self._name}_Is_Closed")

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements, an int32 scalar."""
        return QueueSizeV2(self._queue_ref, name=name or f"{self._name}_Size")


def as_shape(value: Any) -> Shape:
    """A component's shape as shape rules want it."""
    return value if value is None else tensor_shapes.as_shape(value)


def _values(vals: Any) -> list[Any]:
    if isinstance(vals, Mapping):
        return list(vals.values())
    return list(vals) if isinstance(vals, (list, tuple)) else [vals]


def _check_compatible(found: Shape, wanted: Shape) -> None:
    if not shapes.compatible(found, wanted):
        raise ValueError(f"Shapes {TensorShape(found)} and {TensorShape(wanted)} are incompatible")


def _as_types(types: Any) -> list[DType]:
    return [dtypes.as_dtype(t).base_dtype for t in (types if isinstance(types, (list, tuple)) else [types])]


def _as_shapes(given: Any, types: list[DType], partial: bool = False) -> list[Shape]:
    """The components' shapes from what a user gives: None, one shape, or a list of shapes."""
    if given is None:
        return []
    if isinstance(given, TensorShape) or (isinstance(given, (list, tuple)) and not _is_list_of_shapes(given)):
        given = [given]
    result = [as_shape(s) for s in given]
    if len(result) != len(types):
        raise ValueError(
            "Queue shapes must have the same length as dtypes, received "
            f"len(shapes)={len(result)}, len(dtypes)={len(types)}"
        )
    if not partial and not all(map(shapes.is_static, result)):
        raise ValueError(f"All shapes must be fully defined: {[TensorShape(s) for s in result]}")
    return result


def _is_list_of_shapes(given: Sequence[Any]) -> bool:
    return not given or any(isinstance(s, (list, tuple, TensorShape)) for s in given)


def _as_names(names: Any, types: list[DType]) -> list[str] | None:
    if names is None:
        return None
    names = list(names) if isinstance(names, (list, tuple)) else [names]
    if len(names) != len(types):
        raise ValueError(
            "List of names must have the same length as the list of dtypes, received "
            f"len(names)={len(names)},len(dtypes)={len(types)}"
        )
    if not all(isinstance(n, str) for n in names):
        raise TypeError(f"names must be strings, got {names}")
    return names


class FIFOQueue(QueueBase):
    """A queue whose elements come out in the order in which they went in.

    Args:
        capacity: how many elements it holds; any number, if negative.
        dtypes: the dtypes of an element's components: a list, or one dtype.
        shapes: their shapes, fully known; needed for `dequeue_many`.
        names: names for the components; elements are then dictionaries.
        shared_name: queues of this name in one session (or server) are the same one.
        name: the operation's name.

    Raises:
        ValueError: the lists differ in length, or a shape is not fully known.
    """

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any = None,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "fifo_queue",
    ) -> None:
        types = _as_types(dtypes)
        known, labels = _as_shapes(shapes, types), _as_names(names, types)
        handle = FIFOQueueV2(
            component_types=types,
            shapes=tuple(known),
            capacity=capacity,
            shared_name=shared_name or "",
            name=name,
        )
        super().__init__(types, known, labels, handle)


class RandomShuffleQueue(QueueBase):
    """A queue from which any element may come out next.

    Args:
        capacity: how many elements it holds.
        min_after_dequeue: how many elements must stay behind until it is closed, so that they are well mixed.
        dtypes: as for FIFOQueue.
        shapes: as for FIFOQueue.
        names: as for FIFOQueue.
        seed: with it (or the graph's seed) the order is the same in every session, and TensorFlow's.
        shared_name: as for FIFOQueue.
        name: the operation's name.
    """

    def __init__(
        self,
        capacity: int,
        min_after_dequeue: int,
        dtypes: Any,
        shapes: Any = None,
        names: Any = None,
        seed: int | None = None,
        shared_name: str | None = None,
        name: str = "random_shuffle_queue",
    ) -> None:
        types = _as_types(dtypes)
        known, labels = _as_shapes(shapes, types), _as_names(names, types)
        seed1, seed2 = get_seed(seed)
        handle = RandomShuffleQueueV2(
            component_types=types,
            shapes=tuple(known),
            capacity=capacity,
            min_after_dequeue=min_after_dequeue,
            seed=seed1 or 0,
            seed2=seed2 or 0,
            shared_name=shared_name or "",
            name=name,
        )
        super().__init__(types, known, labels, handle)


class PaddingFIFOQueue(QueueBase):
    """A FIFOQueue whose elements may differ in shape: `dequeue_many` fills them up with zeros to the longest.

    Args:
        capacity: how many elements it holds.
        dtypes: as for FIFOQueue.
        shapes: one for each component; dimensions that vary are None.
        names: as for FIFOQueue.
        shared_name: as for FIFOQueue.
        name: the operation's name.

    Raises:
        ValueError: there are no shapes.
    """

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "padding_fifo_queue",
    ) -> None:
        types = _as_types(dtypes)
        if shapes is None:
            raise ValueError("When providing partial shapes, a list of shapes must be provided.")
        known, labels = _as_shapes(shapes, types, partial=True), _as_names(names, types)
        handle = PaddingFIFOQueueV2(
            component_types=types,
            shapes=tuple(known),
            capacity=capacity,
            shared_name=shared_name or "",
            name=name,
        )
        super().__init__(types, known, labels, handle)


class PriorityQueue(QueueBase):
    """A queue from which the element with the lowest priority number comes out next.

    An element has one more component in front, the priority, an int64 scalar.

    Args:
        capacity: how many elements it holds.
        types: the dtypes of the other components.
        shapes: their shapes.
        names: names for all components, the priority's first.
        shared_name: as for FIFOQueue.
        name: the operation's name.
    """

    def __init__(
        self,
        capacity: int,
        types: Any,
        shapes: Any = None,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "priority_queue",
    ) -> None:
        others = _as_types(types)
        all_types = [dtypes.int64, *others]
        known: list[Shape] = [(), *(_as_shapes(shapes, others) or [None] * len(others))]
        labels = _as_names(names, all_types)
        handle = PriorityQueueV2(
            component_types=all_types,
            shapes=tuple(known),
            capacity=capacity,
            shared_name=shared_name or "",
            name=name,
        )
        super().__init__(all_types, known, labels, handle)
