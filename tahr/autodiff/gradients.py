"""Backpropagation: from ys back to xs, one operation at a time, in reverse topological order.

For every operation between the two the driver has the gradients with respect to its outputs, asks the op's rule for the
gradients with respect to its inputs, and adds them to what other consumers of those inputs contributed. An operation's
turn comes when all of its consumers in between have had theirs, so each rule is applied once and every path counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tahr import errors
from tahr.autodiff import python_gradients, registry
from tahr.core import convert, dtypes, scopes, shapes
from tahr.core.convert import IndexedSlices
from tahr.core.forms import Elementwise
from tahr.core.graph import Operation, Tensor
from tahr.ops import casts, control_flow, control_flow_gradients, fills, indexing, joining, lists, structural
from tahr.ops.control_flow_gradients import carries_gradient

Gradient = Tensor | IndexedSlices | None

# They ask for gradients themselves, of what is in a branch or a loop's body.
control_flow.If.gradient_of_region(control_flow_gradients.if_gradient)
control_flow.While.gradient_of_region(control_flow_gradients.while_gradient)


class UnconnectedGradients:
    """What `gradients` gives for an x that no y depends on: None, or zeros."""

    NONE = "none"
    ZERO = "zero"


class AggregationMethod:
    """TensorFlow's ways of adding up partial gradients; tahr has one, so all of them mean the same."""

    ADD_N = 0
    DEFAULT = 0
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: int | None = None,
    stop_gradients: Any = None,
    unconnected_gradients: Any = UnconnectedGradients.NONE,
) -> list[Any]:
    """Symbolic derivatives of the sum of ys with respect to each x.

    Args:
        ys: a tensor or list of tensors.
        xs: a tensor or variable, or a list of them.
        grad_ys: for each y the incoming gradient, of y's shape; ones by default.
        name: the name scope of the operations added.
        colocate_gradients_with_ops: accepted; devices are kept, not obeyed.
        gate_gradients: accepted; what a gradient reads never changes during a run.
        aggregation_method: accepted; partial gradients are added in one way.
        stop_gradients: tensors to be taken as constants.
        unconnected_gradients: what to return for an x that no y depends on: None ("none") or zeros ("zero").

    Returns:
        For each x a tensor of its shape and dtype, an IndexedSlices where x was only gathered from, or None.

    Raises:
        LookupError: an operation in between has no gradient; the text names the path.
        ValueError: the lists do not fit together.  TypeError: a y cannot be differentiated.
    """
    unconnected = getattr(unconnected_gradients, "value", unconnected_gradients)
    if unconnected not in ("none", "zero"):
        raise ValueError(f"Unknown value for unconnected_gradients: {unconnected_gradients!r}")
    ys, xs, stops = _as_list(ys), _as_list(xs), _as_list(stop_gradients)
    grad_ys = [None] * len(ys) if grad_ys is None else _as_list(grad_ys)
    if len(grad_ys) != len(ys):
        raise ValueError(f"Passed {len(grad_ys)} grad_ys for {len(ys)} ys")
    with scopes.name_scope(name, "gradients", [*ys, *xs, *stops, *grad_ys]):
        y_tensors = [
            _dense(convert.convert_to_tensor(y, name="y") if not isinstance(y, IndexedSlices) else y)
            for y in ys
        ]
        x_tensors = [source_tensor(x) for x in xs]
        stop_tensors = [source_tensor(s) for s in stops]
        dys = [_default_grad(i, y, dy) for i, (y, dy) in enumerate(zip(y_tensors, grad_ys))]
        found = backpropagate(y_tensors, x_tensors, dys, stop_tensors)
        if unconnected == "zero":
            found = [fills.zeros_like(x) if g is None else g for x, g in zip(xs, found)]
        return [_typed(x, g) for x, g in zip(x_tensors, found)]


def _typed(x: Tensor, gradient: Gradient) -> Gradient:
    """A gradient with respect to a placeholder without dtype has the dtype of what is fed."""
    is_open = x.spec.dtype is None and isinstance(gradient, Tensor)
    return casts.CastLike(gradient, x) if is_open else gradient


def source_tensor(x: Any) -> Tensor:
    """The tensor to differentiate with respect to: a variable's own one, so that all of its reads count."""
    own = getattr(x, "handle_or_ref", None)
    if own is not None:
        return own
    return convert.convert_to_tensor(x, name="x", as_ref=True)


def backpropagate(
    ys: Sequence[Tensor], xs: Sequence[Tensor], dys: Sequence[Gradient], stops: Sequence[Tensor] = ()
) -> list[Gradient]:
    """The driver itself: gradients of ys (weighted by dys) with respect to xs.

    The rules of loops and branches call it again for what is inside them.
    """
    between = _between(ys, xs, stops)
    pending = _pending_counts(between)
    partials: dict[Tensor, list[Gradient]] = {}
    for y, dy in zip(ys, dys):
        partials.setdefault(y, []).append(dy)
    stopped = set(stops)
    wanted = set(xs)
    result: dict[Tensor, Gradient] = {}
    # First in, first out: partial gradients are added (and sparse ones joined) in TensorFlow's order.
    ready = deque(op for op in between if pending[op] == 0)
    while ready:
        op = ready.popleft()
        outputs = [_add_up(partials.pop(t)) if t in partials else None for t in op.outputs]
        for tensor, dy in zip(op.outputs, outputs):
            if tensor in wanted:
                result[tensor] = dy
        outputs = [None if t in stopped else dy for t, dy in zip(op.outputs, outputs)]
        if any(dy is not None for dy in outputs) and any(t.op in between for t in op.inputs):
            for tensor, dx in zip(op.inputs, _input_gradients(op, outputs, ys, xs)):
                if dx is not None and tensor.op in between:
                    partials.setdefault(tensor, []).append(dx)
        for tensor in op.inputs:
            if tensor.op in between:
                pending[tensor.op] -= 1
                if pending[tensor.op] == 0:
                    ready.append(tensor.op)
    # An x that is a y but nothing else, or that lies outside of `between`, has at most its own dy.
    return [result[x] if x in result else _add_up(partials[x]) if x in partials else None for x in xs]


def _between(ys: Sequence[Tensor], xs: Sequence[Tensor], stops: Sequence[Tensor]) -> dict[Operation, None]:
    """The operations on a path from xs to ys, in an order in which consumers come before producers."""
    stop_ops = {t.op for t in stops}
    behind: set[Operation] = set()  # what ys depend on
    stack = [y.op for y in ys]
    while stack:
        op = stack.pop()
        if op in behind:
            continue
        behind.add(op)
        if op in stop_ops and all(t in set(stops) for t in op.outputs):
            continue
        stack.extend(t.op for t in op.inputs if t.op not in behind)
    ahead: set[Operation] = set()  # of those, what depends on xs
    stack = [x.op for x in xs if x.op in behind]
    while stack:
        op = stack.pop()
        if op in ahead:
            continue
        ahead.add(op)
        for tensor in op.outputs:
            if carries_gradient(tensor):
                stack.extend(c for c in tensor.consumers() if c in behind and c not in ahead)
    return dict.fromkeys(sorted(ahead, key=lambda op: op.id, reverse=True))


def _pending_counts(between: dict[Operation, None]) -> dict[Operation, int]:
    """For each operation, how many edges lead from it to others in between."""
    pending = dict.fromkeys(between, 0)
    for op in between:
        for tensor in op.inputs:
            if tensor.op in pending:
                pending[tensor.op] += 1
    return pending


def _input_gradients(
    op: Operation, dys: list[Gradient], ys: Sequence[Tensor], xs: Sequence[Tensor]
) -> Sequence[Gradient]:
    """What the op's rule gives for each input, of the input's shape and dtype."""
    rule, definition = _rule(op), op.opdef
    if rule is None:
        if not definition.is_differentiable or registry.lookup(op.gradient_type or op.type)[0]:
            return [None] * len(op.inputs)
        if definition.expand is None:
            raise LookupError(_no_gradient(op, ys, xs))
    with scopes.name_scope(op.name + "_grad"):
        if rule is None:
            return _through_expansion(op, dys)
        if definition.gradient_takes_driver:
            found = rule(op, dys, backpropagate)
        else:
            if not definition.gradient_takes_slices:
                dys = [_dense(dy) for dy in dys]
            found = rule(op, *(_zeros_if_none(t, dy) for t, dy in zip(op.outputs, dys)))
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        if len(found) != len(op.inputs):
            raise ValueError(
                f"Num gradients {len(found)} generated for op {op.describe()} do not match num inputs {len(op.inputs)}"
            )
        return [None if dx is None else _fit(op, t, dx) for t, dx in zip(op.inputs, found)]


def _rule(op: Operation) -> Callable[..., Any] | None:
    if op.gradient_type is not None:
        known, function = registry.lookup(op.gradient_type)
        if not known:
            raise LookupError(
                f"No gradient is registered under the name {op.gradient_type!r}: {op.describe()}"
            )
    elif op.opdef.gradient_rule is not None:
        return op.opdef.gradient_rule
    else:
        function = registry.lookup(op.type)[1]
    # The gradient of an operation written by subclassing is a function of arrays.
    return function if function is None or type(op) is Operation else python_gradients.symbolic(function)


def _through_expansion(op: Operation, dys: list[Gradient]) -> Sequence[Gradient]:
    """The gradient of a composite, by differentiating what it stands for."""
    assert op.opdef.expand is not None
    expanded = op.opdef.expand(*op.inputs, **op.attrs)
    outputs = list(expanded) if isinstance(expanded, (list, tuple)) else [expanded]
    known = [(y, dy) for y, dy in zip(outputs, dys) if dy is not None]
    inputs = list(op.inputs)
    return backpropagate([y for y, _ in known], inputs, [dy for _, dy in known], stops=inputs)


def _fit(op: Operation, x: Tensor, dx: Any) -> Gradient:
    """A rule's answer as a gradient of x: summed over the axes along which x was broadcast."""
    # A handle's gradient is that of its variable's value.
    if isinstance(dx, IndexedSlices) or x.spec.dtype is dtypes.resource:
        return dx
    dx = convert.convert_to_tensor(dx, dtype=x.spec.dtype)
    if dx.spec.dtype is None and x.spec.dtype is not None:  # a placeholder without dtype has come in between
        dx = casts.cast(dx, x.spec.dtype)
    if isinstance(op.opdef.form, Elementwise):
        return structural.sum_to_shape(dx, x)
    if not shapes.compatible(dx.spec.shape, x.spec.shape):
        raise ValueError(
            errors.describe(
                "gradients",
                f"Incompatible shapes between op input and calculated input gradient: input {x.name} has shape "
                f"{shapes.show(x.spec.shape)}, the gradient {shapes.show(dx.spec.shape)}.",
                [op.describe()],
            )
        )
    return dx


def _add_up(partials: Sequence[Gradient]) -> Gradient:
    """The sum of partial gradients: sparse if all are, else dense."""
    known = [p for p in partials if p is not None]
    if len(known) < 2:
        return known[0] if known else None
    if all(isinstance(p, IndexedSlices) for p in known):
        slices: list[Any] = known
        return IndexedSlices(
            joining.concat([s.values for s in slices], 0),
            joining.concat([s.indices for s in slices], 0),
            slices[0].dense_shape,
        )
    dense: list[Any] = [_dense(p) for p in known]
    if dense[0].spec.dtype is dtypes.variant:
        return lists.add_lists(dense)
    return structural.add_n(dense)


def _dense(gradient: Any) -> Any:
    """A gradient as a tensor."""
    if not isinstance(gradient, IndexedSlices):
        return gradient
    if gradient.dense_shape is None:
        raise ValueError("Tensor conversion requested for IndexedSlices without dense_shape")
    rows = structural.reshape(gradient.values, joining.concat([[-1], gradient.dense_shape[1:]], 0))
    return indexing.unsorted_segment_sum(rows, gradient.indices, gradient.dense_shape[0])


def _zeros_if_none(output: Tensor, dy: Gradient) -> Gradient:
    if dy is not None or not carries_gradient(output):
        return dy
    return lists.zeros_like_list(output) if output.spec.dtype is dtypes.variant else fills.zeros_like(output)


def _default_grad(index: int, y: Tensor, dy: Any) -> Gradient:
    """The gradient that a y starts with."""
    dtype = y.spec.dtype
    if dtype is not None and not (
        dtype.is_floating or dtype.is_complex or dtype.is_integer or dy is not None
    ):
        raise TypeError(f"Gradients of tensors with dtype {dtype.name} cannot be computed: {y}")
    if isinstance(dy, IndexedSlices):
        return dy
    if dy is None:
        if dtype is not None and dtype.is_complex:
            raise TypeError(f"Gradients of complex tensors must set grad_ys (y.dtype = {dtype!r})")
        if dtype is None:
            return fills.ones_like(y)
        one = convert.constant(1, dtype=dtype, name=f"grad_ys_{index}")
        return fills.fill(structural.shape(y), one)
    dy = convert.convert_to_tensor(dy, dtype=dtype, name=f"grad_ys_{index}")
    if not shapes.compatible(dy.spec.shape, y.spec.shape):
        raise ValueError(
            f"grad_ys[{index}] has shape {shapes.show(dy.spec.shape)}, but its y has {shapes.show(y.spec.shape)}"
        )
    return dy


def _no_gradient(op: Operation, ys: Sequence[Tensor], xs: Sequence[Tensor]) -> str:
    """The text of a missing gradient: the operation, and the path from y to x on which it lies."""
    path = [
        *reversed(_walk(op, {y.op for y in ys}, forwards=True)),
        *_walk(op, {x.op for x in xs}, forwards=False)[1:],
    ]
    shown = [o.describe() for o in path]
    if len(shown) > 6:
        shown = [*shown[:3], f"... {len(shown) - 6} more ...", *shown[-3:]]
    return errors.describe(
        "gradients",
        f"No gradient defined for operation '{op.name}' (op type: {op.type}). The path from y to x is:",
        shown,
        f"register one with @tf.RegisterGradient({op.type!r}), or cut the path with tf.stop_gradient",
    )


def _walk(start: Operation, goals: set[Operation], forwards: bool) -> list[Operation]:
    """A shortest path from an operation to one of the goals, along its outputs or its inputs."""
    came_from: dict[Operation, Operation | None] = {start: None}
    queue = [start]
    for op in queue:
        if op in goals:
            path = [op]
            while (previous := came_from[path[-1]]) is not None:
                path.append(previous)
            return path[::-1]
        near = [c for t in op.outputs for c in t.consumers()] if forwards else [t.op for t in op.inputs]
        for other in near:
            if other not in came_from:
                came_from[other] = op
                queue.append(other)
    return [start]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
