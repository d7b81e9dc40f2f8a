"""The gradients of cond and while_loop: conditionals and loops that take back what those did.

A gradient region may use the tensors of the region whose gradient it computes. What it needs of them the forward
operation gives away: loops push values on lists, on their way through all loops and conditionals around them, and the
backward loops pop them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes
from tahr.core.building import RegionScope
from tahr.core.convert import Const, IndexedSlices
from tahr.core.graph import Operation, Region, Tensor
from tahr.core.shapes import Shape, Spec
from tahr.ops import (
    elementwise,
    fills,
    hidden_results,
    joining,
    list_arrays,
    lists,
    ranges,
    state,
    structural,
)
from tahr.ops.control_flow import (
    Arg,
    If,
    While,
    add_argument,
    conditional,
    loop_operation,
    no_control,
)

# What brings together what is there.
_DONE_AGAIN = (
    joining.ConcatV2,
    ranges.Range,
    lists.TensorListReserve,
    list_arrays.TensorListFromTensor,
    list_arrays.TensorListScatter,
)


class _GradientRegion(Region):
    """A region that computes gradients of another: it may use that region's tensors as if they were its own.

    Attributes:
        operation: the loop or cond whose gradient this is part of.
        forward: the region of it whose gradients are computed.
        stacks: the numbers that this region gives to lists that are popped in it; and which numbers they have in the
            gradient region around it, None where they begin here.
    """

    def __init__(self, operation: Operation, forward: Region) -> None:
        super().__init__(operation.graph, forward.what)
        self.operation = operation
        self.forward = forward
        self.stacks: dict[int, int | None] = {}
        self._adopted: dict[Tensor, Tensor] = {}

    def adopt(self, tensor: Tensor) -> Tensor | None:
        if tensor.op.region is not self.forward:
            return super().adopt(tensor)
        if tensor not in self._adopted:
            with RegionScope(self.graph, self):
                self._adopted[tensor] = self._taken(tensor)
        return self._adopted[tensor]

    def _taken(self, inner: Tensor) -> Tensor:
        """The value that a tensor of the forward region took in the execution that is being taken back.

        What only brings together what is there is not kept, but done again: a concatenation, the item of a list
        that does not change in the region, such as a row of the inputs, a list that is made of a tensor, and the
        bounds of a slice. So are constants, and integers that follow from shapes.
        """
        op = inner.op
        is_row = op.opdef is lists.TensorListGetItem and op.inputs[0].op.region is not self.forward
        follows_from_shapes = inner.spec.value is not None and op.opdef is not Arg and _is_pure(op)
        if op.opdef is Const or is_row or follows_from_shapes or op.opdef in _DONE_AGAIN or _is_bound(inner):
            inputs = [_own(self, t) for t in op.inputs]
            return self.graph.add_operation(op.opdef, inputs, dict(op.attrs)).outputs[inner.value_index]
        return self.fetch(inner)

    def fetch(self, inner: Tensor) -> Tensor:
        """The same, from what the forward operation gives away."""
        raise NotImplementedError

    def enter(self, items: Tensor) -> tuple[int, Tensor]:
        """Brings a list in: its number, and what it is when an execution begins."""
        raise NotImplementedError

    def settle(self, number: int, items: Tensor) -> None:
        """Says what an execution leaves of a list."""
        raise NotImplementedError

    def popped(self, inner: Tensor) -> Tensor:
        """The value of a forward tensor from a list on which all executions push, also those of what is around it."""
        path = self._path()
        items = hidden_results.accumulated([(region.operation, region.forward) for region in path], inner)
        number: int | None = None
        for region in path:
            around = number
            number, items = region.enter(items)
            region.stacks[number] = around
        assert number is not None
        rest, value = lists.TensorListPopBack(
            items, element_dtype=inner.spec.dtype, element_shape=inner.spec.shape
        )
        self.settle(number, rest)
        return value

    def leave(self, left: Mapping[int, Tensor]) -> None:
        """Hands what is left of the lists to the region around, given what it is behind this one's operation."""
        for number, around in self.stacks.items():
            if around is not None:
                assert isinstance(self.parent, _GradientRegion)
                self.parent.settle(around, left[number])

    def empties(self, number: int) -> bool:
        """Whether nothing is left of a list behind this region's operation."""
        around = self.stacks.get(number, -1)
        if isinstance(self.parent, _BackwardBranch) and around is not None:
            return self.parent.empties(around)
        return around is None

    def _path(self) -> list[_GradientRegion]:
        """The gradient regions around this one, as far as the forward regions lie in each other likewise, and it."""
        around = self.parent
        if isinstance(around, _GradientRegion) and around.forward is self.operation.region:
            return [*around._path(), self]
        return [self]


# How the bounds of slices follow from counters: sums and products of integers, beside each other.
_BOUNDS = (joining.Pack, elementwise.AddV2, elementwise.Sub, elementwise.Mul)


def _is_bound(tensor: Tensor) -> bool:
    """Whether a tensor is made of integers as the bounds of slices are."""
    op = tensor.op
    is_made_of_scalars = all(t.spec.shape == () for t in op.inputs)
    return op.opdef in _BOUNDS and tensor.spec.dtype in dtypes.INDICES and is_made_of_scalars


def carries_gradient(tensor: Tensor) -> bool:
    """Whether a gradient can flow through a tensor: for all that is known, its elements are differentiable."""
    dtype = tensor.spec.dtype
    return dtype is None or dtype.is_differentiable or dtype is dtypes.resource


def _value(tensor: Tensor) -> Tensor:
    """The tensor itself; for a resource variable's handle, whose gradient is that of its value, the value."""
    if tensor.spec.dtype is not dtypes.resource:
        return tensor
    variable = state.variable_op(tensor)
    value = state.ReadVariableOp(tensor, dtype=variable.attrs["dtype"])
    value.set_shape(variable.attrs["shape"])
    return value


def _zeros(tensor: Tensor) -> Tensor:
    """Zeros of a tensor's dtype and shape."""
    tensor = _value(tensor)
    spec = tensor.spec
    if spec.dtype is dtypes.variant:
        return lists.zeros_like_list(tensor)
    if shapes.is_static(spec.shape) and spec.dtype is not None:
        return convert.constant(np.zeros(spec.shape, spec.dtype.numpy))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return fills.zeros_like(tensor)


# ---------------------------------------------------------------- the gradient of cond

Driver = Callable[..., list[Any]]


class _BackwardBranch(_GradientRegion):
    """A branch that computes the gradients of a branch.

    Attributes:
        lists: what is popped in loops in it, by number: as it is before, and as it is behind them.
    """

    def __init__(self, operation: Operation, forward: Region) -> None:
        super().__init__(operation, forward)
        self.lists: list[tuple[Tensor, Tensor | None]] = []

    def fetch(self, inner: Tensor) -> Tensor:
        items = hidden_results.exposed(self.operation, self.forward, inner)
        spec = inner.spec
        return lists.TensorListPopBack(items, element_dtype=spec.dtype, element_shape=spec.shape)[1]

    def enter(self, items: Tensor) -> tuple[int, Tensor]:
        self.lists.append((items, None))
        return len(self.lists) - 1, items

    def settle(self, number: int, items: Tensor) -> None:
        self.lists[number] = self.lists[number][0], items


def if_gradient(op: Operation, dys: Sequence[Any], driver: Driver) -> list[Any]:
    """The gradient of cond is a cond: in each branch, the gradients of that branch with respect to its captures."""
    graph, pred = op.graph, op.inputs[0]
    captured = [t for t in op.inputs[1:] if carries_gradient(t)]
    branches: list[_BackwardBranch] = []
    found: list[list[Any]] = []
    for branch in (op.attrs["then_branch"], op.attrs["else_branch"]):
        region = _BackwardBranch(op, branch)
        with region, no_control(graph):
            pairs = [(y, dy) for y, dy in zip(branch.outputs, dys) if dy is not None and carries_gradient(y)]
            found.append(driver([y for y, _ in pairs], captured, [dy for _, dy in pairs], captured))
        branches.append(region)
    kinds = [_kind(t, e) for t, e in zip(*found)]
    for region, gradients in zip(branches, found):
        with RegionScope(graph, region):
            for tensor, gradient, kind in zip(captured, gradients, kinds):
                region.outputs += (_own(region, t) for t in _branch_outputs(tensor, gradient, kind))
    result: dict[Tensor, Any] = {}
    if any(kinds) or any(region.lists for region in branches):
        outputs = iter(_backward_conditional(pred, branches))
        for tensor, kind in zip(captured, kinds):
            if kind == "dense":
                result[tensor] = next(outputs)
            elif kind == "sparse":
                result[tensor] = IndexedSlices(next(outputs), next(outputs), structural.shape(_value(tensor)))
    return [None, *(result.get(t) for t in op.inputs[1:])]


def _backward_conditional(pred: Tensor, branches: Sequence[_BackwardBranch]) -> list[Tensor]:
    """The results of complete branches; what they leave of lists is handed to the region around."""
    taken, other = branches
    count = len(taken.outputs)
    for region, opposite in ((taken, other), (other, taken)):
        for before, behind in region.lists:
            assert behind is not None
            region.outputs.append(behind)
            opposite.outputs.append(before)
    outputs = conditional(pred, taken, other, "If").outputs
    rest = iter(outputs[count:])
    for region in branches:
        region.leave({number: next(rest) for number in range(len(region.lists))})
    return outputs[:count]


def _kind(then_gradient: Any, else_gradient: Any) -> str:
    """How a capture's gradient leaves the branches: "" where neither has one."""
    known = [g for g in (then_gradient, else_gradient) if g is not None]
    if not known:
        return ""
    return "sparse" if all(isinstance(g, IndexedSlices) for g in known) else "dense"


def _branch_outputs(tensor: Tensor, gradient: Any, kind: str) -> list[Tensor]:
    if kind == "dense":
        return [_zeros(tensor) if gradient is None else convert.convert_to_tensor(gradient)]
    if kind == "sparse" and gradient is None:
        value = _value(tensor)
        rows = fills.zeros(joining.concat([[0], structural.shape(value)[1:]], 0), dtype=value.spec.dtype)
        return [rows, convert.constant(np.zeros(0, np.int32))]
    if kind == "sparse":
        return [gradient.values, elementwise.cast(gradient.indices, dtypes.int32)]
    return []


# ---------------------------------------------------------------- the gradient of while_loop


class _BackwardLoop(_GradientRegion):
    """The body of a loop that runs another loop's iterations backwards.

    Its variables are added as they turn out to be needed: the gradients of the forward loop's variables, sums of the
    gradients of its captures, and lists of values that the forward loop computed, popped one by one.

    Attributes:
        initial: its variables' first values.
        next: what an iteration makes of them; None as long as that is not known.
        slices: the places of the lists that gather slices, by the values and indices of an iteration.
    """

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation, operation.attrs["body"])
        self.initial: list[Tensor] = []
        self.next: list[Tensor | None] = []
        self.slices: dict[tuple[Tensor, Tensor], list[int]] = {}

    def add_variable(self, initial: Tensor, shape: Shape = None) -> tuple[int, Tensor]:
        """A further loop variable: its place, and its value at the start of an iteration."""
        with RegionScope(self.graph, self):
            arg = add_argument(self, Spec(initial.spec.dtype, shape), "Identity")
        self.initial.append(initial)
        self.next.append(None)
        return len(self.next) - 1, arg

    def fetch(self, inner: Tensor) -> Tensor:
        return self.popped(inner)

    def enter(self, items: Tensor) -> tuple[int, Tensor]:
        return self.add_variable(items, ())

    def settle(self, number: int, items: Tensor) -> None:
        self.next[number] = items


def while_gradient(op: Operation, dys: Sequence[Any], driver: Driver) -> list[Any]:
    """The gradient of a loop is a loop: it takes the iterations back, last one first.

    In each it asks the driver for the gradients of the body's outputs with respect to the body's inputs and captures.
    What these need of the forward iteration was pushed on lists by the forward loop and is popped here. Both lists and
    loops are differentiable again.
    """
    if not op.attrs["back_prop"]:
        return [None] * len(op.inputs)
    graph, body = op.graph, op.attrs["body"]
    trips = hidden_results.trip_count(op)
    active = _active(body, dys)
    captured = [t for t in op.inputs[len(body.inputs) :] if carries_gradient(t)]
    starts = [_nothing(op, i) if dys[i] is None else convert.convert_to_tensor(dys[i]) for i in active]

    back = _BackwardLoop(op)
    with back, no_control(graph):
        counter, remaining = back.add_variable(trips, ())
        back.next[counter] = elementwise.subtract(remaining, convert.constant(1))
        slots = [back.add_variable(s, body.inputs[i].spec.shape) for i, s in zip(active, starts)]
        inputs = [body.inputs[i] for i in active]
        sources = [*inputs, *captured]
        found = driver([body.outputs[i] for i in active], sources, [d for _, d in slots], sources)
        for (place, _), tensor, gradient in zip(slots, inputs, found):
            back.next[place] = (
                _zeros(_own(back, tensor)) if gradient is None else convert.convert_to_tensor(gradient)
            )
        sums = [_accumulate(back, t, g) for t, g in zip(captured, found[len(inputs) :])]
        back.outputs = [_own(back, t) for t in back.next if t is not None]

    outputs = loop_operation(graph, back.initial, _backward_test(back), back, True, "While").outputs
    back.leave(dict(enumerate(outputs)))
    of_captures = {
        t: _accumulated_gradient(t, [outputs[p] for p in places]) for t, places in zip(captured, sums)
    }
    of_variables = {i: outputs[place] for i, (place, _) in zip(active, slots)}
    variables = len(body.inputs)  # more than `dys` where the gradient needed hidden ones
    return [of_variables.get(i) if i < variables else of_captures.get(t) for i, t in enumerate(op.inputs)]


def _backward_test(back: _BackwardLoop) -> Region:
    """The condition of a backward loop: its first variable counts the iterations that are left."""
    test = Region(back.graph, "while loop")
    with test, no_control(back.graph):
        args = [add_argument(test, Spec(t.spec.dtype, t.spec.shape), "Merge") for t in back.inputs]
        test.outputs = [elementwise.greater(args[0], convert.constant(0))]
    return test


def _active(body: Region, dys: Sequence[Any]) -> list[int]:
    """The places of the variables whose gradients a backward loop computes, given those of the loop's results.

    Of lists these are the ones that have a gradient from outside, or from another variable that does.
    """
    places = [i for i in range(len(dys)) if carries_gradient(body.inputs[i])]
    is_list = [t.spec.dtype is dtypes.variant for t in body.inputs]
    found = {i for i in places if dys[i] is not None or not is_list[i]}
    return sorted(found | (_variables_behind(body, found) & set(places)))


def _variables_behind(body: Region, places: Set[int]) -> set[int]:
    """The places of the variables that results of a loop depend on, other than by how often it runs."""
    numbers = {t: i for i, t in enumerate(body.inputs)}
    found = set(places)
    pending = list(found)
    while pending:
        further = {numbers[t] for t in _behind(body, body.outputs[pending.pop()]) if t in numbers} - found
        found |= further
        pending += further
    return found


def _behind(region: Region, tensor: Tensor) -> set[Tensor]:
    """The tensors of a region on which another one depends, and itself."""
    seen: set[Tensor] = set()
    stack = [tensor]
    while stack:
        tensor = stack.pop()
        op = tensor.op
        if tensor in seen or op.region is not region:
            continue
        seen.add(tensor)
        if op.opdef is While:
            variables = op.attrs["body"].inputs
            live = _variables_behind(op.attrs["body"], {tensor.value_index})
            stack += [t for i, t in enumerate(op.inputs) if i in live or i >= len(variables)]
        else:
            stack += op.inputs
    return seen


def _is_pure(op: Operation) -> bool:
    """Whether an operation does nothing but compute, and contains no regions."""
    return not op.opdef.effects.any and not any(isinstance(v, Region) for v in op.attrs.values())


def _nothing(loop: Operation, place: int) -> Tensor:
    """The gradient of a loop's result that nobody took."""
    body = loop.attrs["body"]
    if isinstance(body, _BackwardLoop) and body.empties(place):
        return lists.EmptyTensorList()
    return _zeros(loop.outputs[place])


def _own(region: _GradientRegion, tensor: Tensor) -> Tensor:
    """What stands for a tensor in a gradient region: itself, or the forward value brought there."""
    if tensor.op.region is None or tensor.op.region.encloses(region):
        return tensor
    adopted = region.adopt(tensor)
    assert adopted is not None
    return adopted


def _accumulate(back: _BackwardLoop, tensor: Tensor, gradient: Any) -> list[int]:
    """Adds up a capture's gradient over the iterations: as a sum, or as lists of slices. Gives the places."""
    if gradient is None:
        return []
    if not isinstance(gradient, IndexedSlices):
        with RegionScope(back.graph, back.parent):
            start = _zeros(tensor)
        place, total = back.add_variable(start, start.spec.shape)
        is_list = tensor.spec.dtype is dtypes.variant
        back.next[place] = _with_items(back, total, gradient) if is_list else elementwise.add(total, gradient)
        return [place]
    parts = gradient.values, gradient.indices
    if parts not in back.slices:
        back.slices[parts] = _gathered(back, parts)
    return back.slices[parts]


def _gathered(back: _BackwardLoop, parts: tuple[Tensor, Tensor]) -> list[int]:
    """The places of lists that gather the slices of all iterations, given the values and indices of one."""
    places: list[int] = []
    starts: list[Tensor] = []
    for _ in parts:
        with RegionScope(back.graph, back.parent):
            start = lists.EmptyTensorList()
        place, items = back.add_variable(start, ())
        places.append(place)
        starts.append(items)
    for place, items in zip(places, _with_slices(back, starts, parts)):
        back.next[place] = items
    return places


def _with_slices(region: Region, items: Sequence[Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
    """Lists of values and of indices, with the slices that a region makes in an execution.

    What a loop in it has gathered already, or a cond in it gives, is not put together only to be gathered again: those
    go on with these lists. How many slices there are in an execution then need not be known.
    """
    gathered = [_gathered_inside(region, part) for part in parts]
    if None not in gathered:
        for list_, inner in zip(items, gathered):
            assert inner is not None
            inner.op.replace_input(inner.value_index, list_)
        return [inner for inner in gathered if inner is not None]
    op = parts[0].op
    if op.opdef is If and op.region is region and not any(p.op is not op or p.consumers() for p in parts):
        return _with_slices_of_branches(op, items, [p.value_index for p in parts])
    values, indices = parts
    pushed = zip(items, (values, elementwise.cast(indices, dtypes.int32)))
    return [lists.TensorListPushBack(list_, part) for list_, part in pushed]


def _with_slices_of_branches(
    branching: Operation, items: Sequence[Tensor], places: Sequence[int]
) -> list[Tensor]:
    """Lists with the slices that a branch of a cond makes, of those two results of it which are values and indices."""

    def build(branch: Region) -> Sequence[Tensor]:
        parts = [branch.outputs[place] for place in places]
        return items if parts[1].spec.shape == (0,) else _with_slices(branch, items, parts)

    return _changed_in_branches(branching, items, build)


def _with_items(region: Region, items: Tensor, added: Tensor) -> Tensor:
    """A list with another one added, which a region makes; in the branch of a cond, where that makes it."""
    op = added.op
    if op.opdef is lists.TensorListZerosLike:
        return items
    if op.opdef is not If or op.region is not region or added.consumers():
        return lists.add_lists([items, added])
    place = added.value_index
    return _changed_in_branches(
        op, [items], lambda branch: [_with_items(branch, items, branch.outputs[place])]
    )[0]


def _changed_in_branches(
    branching: Operation, items: Sequence[Tensor], build: Callable[[Region], Sequence[Tensor]]
) -> list[Tensor]:
    """Gives a cond further results, versions of lists from around it that `build` makes in each of its branches."""
    for list_ in items:
        if list_ not in branching.inputs[1:]:
            branching.insert_input(len(branching.inputs), list_)
    for branch in (branching.attrs["then_branch"], branching.attrs["else_branch"]):
        with RegionScope(branching.graph, branch):
            branch.outputs += build(branch)
    branching.attrs["Tout"] += [dtypes.variant for _ in items]
    branching.graph.touch()
    return [branching.add_output(Spec(dtypes.variant, ())) for _ in items]


def _gathered_inside(region: Region, part: Tensor) -> Tensor | None:
    """The list of which a part of slices is made, if a loop in a region has filled it and nobody else takes it."""
    if part.op.opdef is not list_arrays.TensorListConcat or part.consumers():
        return None
    (items,) = part.op.inputs
    loop = items.op
    if loop.opdef is not While or loop.region is not region or items.consumers() != [part.op]:
        return None
    begins = loop.inputs[items.value_index]
    return items if begins.op.opdef is lists.EmptyTensorList and begins.consumers() == [loop] else None


def _accumulated_gradient(tensor: Tensor, results: Sequence[Tensor]) -> Any:
    """A capture's gradient, given what the loop made of the variables of `_accumulate`: the sum, or all slices."""
    if len(results) < 2:
        return results[0] if results else None
    values, indices = results
    value = _value(tensor)
    row: Shape = None if value.spec.shape is None else (0, *value.spec.shape[1:])
    all_values, _ = list_arrays.TensorListConcat(values, element_dtype=value.spec.dtype, element_shape=row)
    all_indices, _ = list_arrays.TensorListConcat(indices, element_dtype=dtypes.int32, element_shape=(0,))
    return IndexedSlices(all_values, all_indices, structural.shape(value))
