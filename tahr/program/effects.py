"""The order of effects: which operations are needed, in what order, and which write each read sees.

The rule: operations with effects run in topological order over data and control edges, by depth, then as created. The
writes of one variable form a chain in that order. A read gives what the last write among its ancestors left, or else
the value at the start of the run; so reads are not operations here but names of values:

* `StateRead(slot, None)`: the value at the start of the run (or of a region's execution);
* `StateRead(slot, write)`: the value that a write left.

Control edges matter to operations with effects alone. They are turned into direct edges between those (`tokens`),
through any pure operations in between, so that rewriting pure computations can never lose an order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tahr.core import dtypes
from tahr.core.graph import Operation, Region, Tensor
from tahr.core.shapes import Spec
from tahr.ops import state


class SlotKey(NamedTuple):
    """Which variable of a session's store: operations with equal keys stand for the same one."""

    container: str
    name: str


class StateRead(NamedTuple):
    """A variable's value at one point of a run: at its start, or after a write.

    Attributes:
        variable: the variable's operation.
        after: the operation whose write it sees; None for the value at the start.
    """

    variable: Operation
    after: Operation | None


Key = Tensor | StateRead
"""What names a value while a program is extracted."""


def slot_of(variable: Operation) -> SlotKey:
    """The key of the variable that an operation stands for."""
    return SlotKey(variable.attrs["container"], variable.attrs["shared_name"] or variable.name)


def is_variable(tensor: Tensor) -> bool:
    """Whether a tensor is a variable's reference or handle rather than a value."""
    if tensor.is_ref:
        return True
    return tensor.spec.dtype is dtypes.resource and _leads_to_variable(tensor)


def reference_behind(tensor: Tensor) -> Tensor | None:
    """The reference that a variable's own read (`w/read`) is another name for; None for any other tensor.

    In TensorFlow that tensor shares the variable's storage. So it is no read at a point of its own: each operation that
    takes it reads the variable, at its own place among the effects. A `read_value()` is a read where it was made.
    """
    op = tensor.op
    if op.type != "Identity" or not op.inputs[0].is_ref:
        return None
    reference = op.inputs[0]
    return reference if op.name == f"{reference.op.name}/read" else None


def own_read(variable: Operation) -> Tensor | None:
    """A reference variable's own read; None for a resource variable."""
    outputs = (t for op in variable.outputs[0].consumers() for t in op.outputs)
    return next((t for t in outputs if reference_behind(t) is not None), None)


def names_variable(tensor: Tensor) -> bool:
    """Whether a tensor stands for a variable: operations take no value from it, but read the variable."""
    return is_variable(tensor) or reference_behind(tensor) is not None


def value_spec(tensor: Tensor) -> Spec:
    """What is known of a tensor's value; for a resource variable's handle, of the variable's."""
    if tensor.op.opdef is state.VarHandleOp:
        return Spec(tensor.op.attrs["dtype"], tensor.op.attrs["shape"])
    return tensor.spec


def _leads_to_variable(tensor: Tensor) -> bool:
    op = tensor.op
    while op.opdef is not state.VarHandleOp:
        if op.opdef.name != "Identity":
            return False
        op = op.inputs[0].op
    return True


class Outline:
    """The operations behind some outputs and targets, and the order of their effects.

    Attributes:
        order: the operations that must be computed or run, in topological order.
        tokens: for an operation with effects, those that must run before it and that its inputs do not imply.
        reads: for (operation, input index) of a read, and (None, output index) of a fetched variable: what it sees.
        states: the slots that a region only reads; their values are given to it from outside.
        captures: tensors from outside of the region that its operations take.
        arguments: the region's own arguments that are needed.
        effects: the needed operations with effects, in order.
        writers: for each slot the operations that write it, in order.
        written: for each operation with effects in an order the slots that it writes.
        writes: the slots that are written.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        targets: Sequence[Operation],
        is_region: bool,
        regions_of: Callable[[Operation], list[Outline]],
        region: Region | None = None,
        written: frozenset[SlotKey] = frozenset(),
    ) -> None:
        self._fed = set(inputs)
        self._is_region = is_region
        self._region = region
        self._written_beside = written
        self._regions_of = regions_of
        self._inner: dict[Operation, list[Outline]] = {}
        self.captures: tuple[Tensor, ...] = ()
        self.arguments: tuple[Tensor, ...] = ()
        reached = self._reach([t.op for t in outputs if t not in self._fed], targets)
        every = _topological(reached, self._sources)
        self.effects = [op for op in every if self._effectful(op)]
        self.writes = frozenset(slot for op in self.effects for slot in self._written(op))
        self.has_effects = bool(self.effects)
        self.has_ordered_effects = any(self._ordered(op) for op in self.effects)
        self.reads: dict[tuple[Operation | None, int], StateRead] = {}
        self.tokens: dict[Operation, list[Operation]] = {}
        self.region_reads: dict[Operation, list[StateRead]] = {}
        self.writers: dict[SlotKey, list[Operation]] = {}
        self.written: dict[Operation, list[SlotKey]] = {}
        self._states: dict[SlotKey, Operation] = {}
        self._order_effects(every)
        self._resolve_outputs(outputs)
        self.order = self._needed(every, outputs, targets)
        self.states: tuple[SlotKey, ...] = tuple(self._states)
        self.state_variables = tuple(self._states.values())

    def values_of(self, op: Operation) -> list[Key]:
        """What names the inputs of an operation that takes values alone: tensors, and reads of variables."""
        return [self.reads.get((op, i)) or tensor for i, tensor in enumerate(op.inputs)]

    # ------------------------------------------------------------ what is needed

    def _sources(self, op: Operation) -> Iterable[Operation]:
        """The operations that must come before `op`."""
        for tensor in op.inputs:
            if tensor not in self._fed and not self._is_outside(tensor):
                yield tensor.op
        for control in op.control_inputs:
            if self._region is None or self._region.encloses(control.region):
                yield control

    def _is_outside(self, tensor: Tensor) -> bool:
        return self._region is not None and not self._region.encloses(tensor.op.region)

    def _reach(self, starts: Sequence[Operation], targets: Sequence[Operation]) -> set[Operation]:
        captures: dict[Tensor, None] = {}
        arguments: dict[Tensor, None] = {}
        own = set(self._region.inputs) if self._region is not None else set[Tensor]()
        reached: set[Operation] = set()
        stack = [op for op in [*starts, *targets] if self._region is None or self._region.encloses(op.region)]
        while stack:
            op = stack.pop()
            if op in reached:
                continue
            reached.add(op)
            for tensor in op.inputs:
                if self._is_outside(tensor) and not names_variable(tensor):
                    captures[tensor] = None
            for tensor in op.outputs:
                if tensor in own:
                    arguments[tensor] = None
            stack.extend(s for s in self._sources(op) if s not in reached)
        if self._region is not None:
            # A region may give back what it captured.
            captures.update(
                (t, None) for t in self._region.outputs if self._is_outside(t) and not names_variable(t)
            )
        self.captures = tuple(captures)
        self.arguments = tuple(arguments)
        return reached

    def _needed(
        self, every: list[Operation], outputs: Sequence[Tensor], targets: Sequence[Operation]
    ) -> list[Operation]:
        """Of all reached operations those to be run: not the pure ones that only control edges lead to."""
        needed: set[Operation] = set()
        stack = (
            [t.op for t in outputs if t not in self._fed and not is_variable(t)]
            + list(targets)
            + list(self.effects)
        )
        while stack:
            op = stack.pop()
            if op in needed or self._is_foreign(op):
                continue
            needed.add(op)
            for i, tensor in enumerate(op.inputs):
                if tensor not in self._fed and (op, i) not in self.reads and not is_variable(tensor):
                    stack.append(tensor.op)
        return [op for op in every if op in needed]

    def _is_foreign(self, op: Operation) -> bool:
        return self._region is not None and not self._region.encloses(op.region)

    # ------------------------------------------------------------ effects of one operation

    def _inside(self, op: Operation) -> list[Outline]:
        if op not in self._inner:
            self._inner[op] = self._regions_of(op)
        return self._inner[op]

    def _effectful(self, op: Operation) -> bool:
        return (op.opdef.effects.any and not self._is_plain_read(op)) or any(
            o.has_effects for o in self._inside(op)
        )

    def _is_plain_read(self, op: Operation) -> bool:
        return op.opdef is state.ReadVariableOp

    def _ordered(self, op: Operation) -> bool:
        own = op.opdef.effects.ordered and not self._is_plain_read(op)
        return own or any(o.has_ordered_effects for o in self._inside(op))

    def _written(self, op: Operation) -> list[SlotKey]:
        own = [slot_of(state.variable_op(op.inputs[i])) for i in op.opdef.effects.writes]
        return own + [slot for o in self._inside(op) for slot in o.writes]

    # ------------------------------------------------------------ order

    def _order_effects(self, every: list[Operation]) -> None:
        """Walks the operations in order, tracking for each the set of effects among its ancestors, as bits."""
        ancestors: dict[Operation, int] = {}
        ordered: list[Operation] = []
        bit: dict[Operation, int] = {}
        for op in every:
            mask = 0
            for source in self._sources(op):
                mask |= ancestors[source] | bit.get(source, 0)
            ancestors[op] = mask
            self._resolve_reads(op, mask, bit)
            if self._ordered(op):
                self.tokens[op] = _nearest(mask, ordered, ancestors)
                bit[op] = 1 << len(ordered)
                ordered.append(op)
                self.written[op] = self._written(op)
                for slot in self.written[op]:
                    chain = self.writers.setdefault(slot, [])
                    if chain and chain[-1] is not op:
                        self.tokens[op].append(chain[-1])
                    chain.append(op)

    def _resolve_reads(self, op: Operation, mask: int, bit: dict[Operation, int]) -> None:
        """Notes what each read of an operation sees.

        A use of a reference, or of a variable's own read, as a value is a read, as are a ReadVariableOp and the reads
        of a region.
        """
        args = op.opdef.flat_inputs(len(op.inputs), op.attrs) if any(map(names_variable, op.inputs)) else ()
        for i, arg in enumerate(args):
            tensor = op.inputs[i]
            if tensor in self._fed:
                continue
            reference = reference_behind(tensor)
            if reference is not None:
                self.reads[op, i] = self._seen(reference.op, mask, bit)
            elif is_variable(tensor) and (self._is_plain_read(op) or (tensor.is_ref and not arg.is_ref)):
                self.reads[op, i] = self._seen(state.variable_op(tensor), mask, bit)
        inner = self._inside(op)
        if inner:
            variables = {slot_of(v): v for o in inner for v in o.state_variables}
            self.region_reads[op] = [self._seen(v, mask, bit) for v in variables.values()]

    def _seen(self, variable: Operation, mask: int, bit: dict[Operation, int]) -> StateRead:
        slot = slot_of(variable)
        for write in reversed(self.writers.get(slot, ())):
            if mask & bit[write]:
                return StateRead(variable, write)
        return self._at_start(variable)

    def _at_start(self, variable: Operation) -> StateRead:
        slot = slot_of(variable)
        if self._is_region and slot not in self.writes | self._written_beside:
            self._states.setdefault(slot, variable)
        return StateRead(variable, None)

    def _resolve_outputs(self, outputs: Sequence[Tensor]) -> None:
        for i, tensor in enumerate(outputs):
            if tensor in self._fed:
                continue
            reference = reference_behind(tensor)
            if reference is not None:
                self.reads[None, i] = self._at_start(reference.op)
            if not is_variable(tensor):
                continue
            variable = state.variable_op(tensor)
            chain = self.writers.get(slot_of(variable), [])
            if tensor.op is variable:
                # The variable itself: read at the end of the run.
                self.reads[None, i] = StateRead(variable, chain[-1]) if chain else self._at_start(variable)
            else:
                self.reads[None, i] = StateRead(variable, tensor.op)


def _nearest(mask: int, ordered: list[Operation], ancestors: dict[Operation, int]) -> list[Operation]:
    """The effects in a set of ancestors that no other one of them has among its own ancestors."""
    found: list[Operation] = []
    while mask:
        latest = mask.bit_length() - 1
        op = ordered[latest]
        found.append(op)
        mask &= ~(ancestors[op] | 1 << latest)
    return found


def _topological(ops: set[Operation], sources: Callable[[Operation], Iterable[Operation]]) -> list[Operation]:
    """The operations so that sources come first: by their depth, and equally deep ones as they were created.

    So an operation that has little to wait for goes first, as it would where all run as soon as they can: of two writes
    of a variable that nothing orders, clipping what it holds comes before an optimizer's step, and neither is lost.
    What may block waits for everything that does not, lest it keep from running what it waits for itself: of taking
    from a queue and putting into it, that is done first which was created first.

    Raises:
        ValueError: there is a cycle, which late control edges can make.
    """
    waiting: dict[Operation, int] = {}
    followers: dict[Operation, list[Operation]] = {}
    for op in ops:
        before = {s for s in sources(op) if s in ops}
        waiting[op] = len(before)
        for source in before:
            followers.setdefault(source, []).append(op)

    def ticket(op: Operation, depth: int) -> tuple[bool, int, int, int, Operation]:
        """What is smaller goes first; the depth of what may block does not matter."""
        may_block = op.opdef.effects.may_block
        return may_block, 0 if may_block else depth, op.id, depth, op

    ready = [ticket(op, 0) for op, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[Operation] = []
    while ready:
        *_, depth, op = heapq.heappop(ready)
        order.append(op)
        for follower in followers.get(op, ()):
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, ticket(follower, depth + 1))
    if len(order) != len(ops):
        stuck = next(op for op in ops if waiting[op])
        raise ValueError(f"The graph has a cycle of data and control edges through {stuck.describe()}")
    return order
