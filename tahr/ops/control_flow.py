"""cond and while_loop: operations that run a region of the graph.

A region's operations belong to the graph like all others; the `If` or `While` operation refers to the region. Captures
are found when the region is complete and become further inputs of the operation, so that everything which walks the
graph sees what it depends on. The gradient of a loop is a loop that runs backwards: see `While.gradient` below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tahr import errors
from tahr.core import convert, dtypes, nest, scopes, shapes, source
from tahr.core.convert import Const, IndexedSlices
from tahr.core.dtypes import DType
from tahr.core.graph import Graph, Operation, Region, Tensor
from tahr.core.opdef import MOVEMENT, REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.ops import elementwise, joining, lists, shaping, state, structural

# ---------------------------------------------------------------- grouping

NoOp = OpDef("NoOp", "->").not_differentiable()


@NoOp.kernel
def _no_op_kernel() -> tuple[()]:
    return ()


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing: something to attach control dependencies to."""
    return NoOp(name=name)


def group(*inputs: Any, name: str | None = None) -> Operation:
    """An operation that runs all the given ones.

    Args:
        inputs: operations, tensors, variables, or lists of them.
        name: the operation's name.

    Raises:
        TypeError: an input is none of these.
    """
    items = nest.flatten(list(inputs))
    graph = scopes.graph_of(items)
    with (
        scopes.name_scope(name, "group_deps", items) as scope,
        graph.control_dependencies([_as_op(i, graph) for i in items]),
    ):
        return NoOp(name=scope)


def _as_op(item: Any, graph: Graph) -> Operation:
    if isinstance(item, IndexedSlices):
        return item.values.op
    if not hasattr(item, "graph") and not hasattr(item, "_as_graph_element"):
        raise TypeError(
            "'inputs' should be zero or more (nested) Tensors or operations. "
            f"Received '{item}' with type '{type(item)}'."
        )
    return graph.as_operation(item)


def with_dependencies(dependencies: Sequence[Any], output_tensor: Any, name: str | None = None) -> Any:
    """A tensor with the value of `output_tensor` that is there only after `dependencies` ran."""
    with (
        scopes.name_scope(name, "control_dependency", [*dependencies, output_tensor]) as scope,
        scopes.control_dependencies(list(dependencies)),
    ):
        if isinstance(output_tensor, IndexedSlices):
            return IndexedSlices(
                structural.identity(output_tensor.values),
                output_tensor.indices,
                output_tensor.dense_shape,
            )
        return structural.identity(output_tensor, name=scope)


def tuple_(
    tensors: Sequence[Any], name: str | None = None, control_inputs: Sequence[Any] | None = None
) -> list[Any]:
    """The same tensors, none of which is there before all have been computed.

    Raises:
        ValueError: there is no tensor among them.
    """
    with scopes.name_scope(name, "tuple", tensors):
        gating = [t for t in tensors if t is not None]
        if not gating:
            raise ValueError(f"Must have at least one Tensor: {list(tensors)}")
        gate = group(*gating, *(control_inputs or ()))
        return [
            None if t is None else t if isinstance(t, Operation) else with_dependencies([gate], t)
            for t in tensors
        ]


# ---------------------------------------------------------------- regions

Arg = OpDef(
    "_Arg", "-> output: dtype", attrs={"dtype": REQUIRED, "shape": None}, form=MOVEMENT
).not_differentiable()


@Arg.shape
def _arg_shape(*, dtype: DType | None, shape: Shape) -> Shape:
    return shape


@Arg.kernel
def _arg_kernel(*, dtype: DType | None, shape: Shape) -> Array:
    raise errors.Complaint("a region's argument has a value only while the region runs")


def _add_arg(region: Region, spec: Spec, name: str) -> Tensor:
    """One more value that is given to the region at each execution."""
    op = region.graph.add_operation(Arg, (), {"dtype": spec.dtype, "shape": spec.shape}, name)
    region.inputs.append(op.outputs[0])
    return op.outputs[0]


def _at(region: Region | None, graph: Graph) -> Any:
    """A context manager that builds in a region that exists already, outside of every control block."""
    return _Inside(region, graph)


class _Inside:
    def __init__(self, region: Region | None, graph: Graph) -> None:
        self._region, self._graph = region, graph

    def __enter__(self) -> None:
        state = self._graph.state
        self._previous = state.region, state.control_groups
        state.region, state.control_groups = self._region, []

    def __exit__(self, *exc: object) -> None:
        self._graph.state.region, self._graph.state.control_groups = self._previous


def _static_pred(pred: Any) -> Any:
    if isinstance(pred, (bool, np.bool_)):
        raise TypeError("pred must not be a Python bool")
    return convert.convert_to_tensor(pred, dtype=dtypes.bool_, name="pred")


def _wait_for_controllers(op: Operation, *regions: Region) -> None:
    """Makes an operation wait for what operations in its regions are to wait for outside of them."""
    for controller in (c for region in regions for c in region.controllers):
        if controller.region is op.region:
            op.add_control_inputs([controller])
        elif op.region is not None:
            op.region.controllers[controller] = None


# ---------------------------------------------------------------- cond

If = OpDef(
    "If",
    "cond: bool, input: [Tin] -> output: [Tout]",
    attrs={"then_branch": REQUIRED, "else_branch": REQUIRED, "Tout": REQUIRED},
)


@If.shape
def _if_shape(*specs: Spec, then_branch: Region, else_branch: Region, Tout: list[DType]) -> list[Shape]:
    return [shapes.join(t.spec.shape, e.spec.shape) for t, e in zip(then_branch.outputs, else_branch.outputs)]


@If.stateful_kernel
def _if_kernel(
    context: Any, pred: Array, *values: Any, then_branch: Any, else_branch: Any, **_: Any
) -> tuple[Any, ...]:
    """Runs one branch. Here the branches are functions, each with the places of its captures among `values`."""
    function, places = then_branch if _holds(pred) else else_branch
    return tuple(context.call(function, [values[i] for i in places]))


def _holds(pred: Array) -> bool:
    """The truth of a predicate or a loop's condition; NumPy would take any array of one element."""
    if np.ndim(pred):
        raise errors.Complaint(
            f"The second input must be a scalar, but it has shape {shapes.show(np.shape(pred))}"
        )
    return bool(pred)


def _conditional(pred: Tensor, then_branch: Region, else_branch: Region, name: str) -> Operation:
    """The If operation for two complete regions."""
    captured = dict.fromkeys([*then_branch.captures(), *else_branch.captures()])
    types = [t.spec.dtype for t in then_branch.outputs]
    attrs = {"then_branch": then_branch, "else_branch": else_branch, "Tout": types}
    op = pred.graph.add_operation(If, [pred, *captured], attrs, name)
    then_branch.owner = else_branch.owner = op
    _wait_for_controllers(op, then_branch, else_branch)
    return op


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """Runs one of two functions' operations, depending on a value.

    Args:
        pred: a bool scalar tensor.
        true_fn: builds and returns what to compute if `pred` is true: a tensor, operation, or nested structure.
        false_fn: the same for false; it must return the same structure and dtypes.
        strict: whether a list of one tensor is returned as a list.
        name: the name scope.
        fn1: old name of `true_fn`.
        fn2: old name of `false_fn`.

    Returns:
        What the functions return, as tensors outside of the branches; for an operation the value of `pred`.

    Raises:
        TypeError: `pred` is a Python bool, or a function is missing or not callable.
        ValueError: a function returns nothing, or the two results differ in structure or dtype.
    """
    true_fn, false_fn = fn1 if true_fn is None else true_fn, fn2 if false_fn is None else false_fn
    if true_fn is None or not callable(true_fn):
        raise TypeError(
            "cond(): true_fn must be callable."
            if true_fn is not None
            else "cond(): true_fn argument required"
        )
    if false_fn is None or not callable(false_fn):
        raise TypeError(
            "cond(): false_fn must be callable."
            if false_fn is not None
            else "cond(): false_fn argument required"
        )
    with scopes.name_scope(name, "cond", [pred]):
        pred = _static_pred(pred)
        structural.identity(pred, name="pred_id")
        then_branch, then_result = _build_branch(pred, true_fn, "true_fn", True)
        else_branch, else_result = _build_branch(pred, false_fn, "false_fn", False)
        _check_branches(then_result, then_branch, else_result, else_branch)
        op = _conditional(pred, then_branch, else_branch, "If")
        merged = [structural.identity(t, name="Merge") for t in op.outputs]
    result = nest.pack_sequence_as(then_result, _rebuild(nest.flatten(then_result), merged))
    if (
        not strict
        and isinstance(result, (list, tuple))
        and len(result) == 1
        and not hasattr(result, "_fields")
    ):
        return result[0]
    return result


def _build_branch(
    pred: Tensor, function: Callable[[], Any], name: str, is_taken_for: bool
) -> tuple[Region, Any]:
    region = Region(pred.graph, "cond branch")
    with region, _no_control(pred.graph):
        result = function()
        if result is None:
            raise ValueError(f"{name} must have a return value.")
        region.outputs = [t for item in nest.flatten(result) for t in _as_outputs(item, is_taken_for)]
    if not region.outputs:
        raise ValueError(f"{name} must return at least one result.")
    return region, result


class _no_control:
    """Inside a region the controllers of the blocks around it do not count: they run before the whole operation."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __enter__(self) -> None:
        self._previous = self._graph.state.control_groups
        self._graph.state.control_groups = []

    def __exit__(self, *exc: object) -> None:
        self._graph.state.control_groups = self._previous


def _as_outputs(item: Any, is_taken_for: bool) -> list[Tensor]:
    """A branch's result as tensors: an operation becomes, after it ran, the value of the predicate."""
    if type(item) is Operation:
        return [with_dependencies([item], convert.constant(is_taken_for))]
    if isinstance(item, IndexedSlices):
        return [item.values, item.indices]
    flow = getattr(item, "flow", None)  # of a TensorArray
    if flow is not None:
        return [flow]
    tensor = convert.convert_to_tensor(item)
    return [structural.identity(tensor) if tensor.is_ref else tensor]


def _rebuild(originals: list[Any], tensors: Sequence[Tensor]) -> list[Any]:
    """Tensors in the form of the values that they stand for: TensorArrays and IndexedSlices again."""
    rest = iter(tensors)
    rebuilt: list[Any] = []
    for original in originals:
        if isinstance(original, IndexedSlices):
            rebuilt.append(IndexedSlices(next(rest), next(rest), original.dense_shape))
        elif hasattr(original, "flow"):
            rebuilt.append(original.with_flow(next(rest)))
        else:
            rebuilt.append(next(rest))
    return rebuilt


def _check_branches(then_result: Any, then_branch: Region, else_result: Any, else_branch: Region) -> None:
    try:
        nest.assert_same_structure(then_result, else_result)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Incompatible return types of true_fn and false_fn: {error}") from None
    for t, e in zip(then_branch.outputs, else_branch.outputs):
        if t.spec.dtype is not e.spec.dtype and None not in (t.spec.dtype, e.spec.dtype):
            raise ValueError(
                f"Outputs of true_fn and false_fn must have the same type: {t.dtype.name}, {e.dtype.name}"
            )


# ---------------------------------------------------------------- while_loop

While = OpDef(
    "While",
    "input: [Tin] -> output: [Tout]",
    attrs={"cond": REQUIRED, "body": REQUIRED, "Tout": REQUIRED, "back_prop": True},
)


@While.shape
def _while_shape(*specs: Spec, body: Region, **_: Any) -> list[Shape]:
    return [t.spec.shape for t in body.inputs]


@While.stateful_kernel
def _while_kernel(context: Any, *values: Any, cond: Any, body: Any, **_: Any) -> tuple[Any, ...]:
    """Runs the body while the condition holds. Here both are functions of the loop variables and their captures.

    `cond` and `body` come as (function, places of its captures among `values`); the loop variables come first.
    """
    test, test_places = cond
    step, step_places = body
    count = len(step.inputs) - len(step.captures)
    state = list(values[:count])
    test_captures = [values[i] for i in test_places]
    step_captures = [values[i] for i in step_places]
    del values
    while _holds(context.call(test, state + test_captures)[0]):
        state = list(context.call(step, state + step_captures))
    return tuple(state)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Repeats `body` while `cond` holds.

    Args:
        cond: takes the loop variables, returns a bool scalar tensor.
        body: takes the loop variables, returns new ones of the same structure and dtypes.
        loop_vars: the initial values: a list or tuple, possibly nested, of tensors and TensorArrays.
        shape_invariants: the shapes that hold in every iteration, in the structure of `loop_vars`; by default the
            initial values' static shapes.
        parallel_iterations: accepted; must be positive.
        back_prop: whether gradients flow through the loop.
        swap_memory: accepted.
        name: the name scope.
        maximum_iterations: a limit, as an integer or a scalar tensor.
        return_same_structure: whether a single loop variable is returned in its list.

    Returns:
        The final loop variables, in the structure that `body` returns.

    Raises:
        TypeError: `cond` or `body` is not callable, or `parallel_iterations` is no positive integer.
        ValueError: there are no loop variables, or their shapes, dtypes or structure change in the body.
    """
    if not loop_vars:
        raise ValueError("No loop variables provided")
    if not callable(cond):
        raise TypeError("cond must be callable.")
    if not callable(body):
        raise TypeError("body must be callable.")
    if parallel_iterations < 1:
        raise TypeError("parallel_iterations must be a positive integer.")
    with scopes.name_scope(name, "while", nest.flatten(loop_vars)):
        wrapped = isinstance(loop_vars, (list, tuple))
        structure: Any = loop_vars if wrapped else [loop_vars]
        invariants = shape_invariants if wrapped or shape_invariants is None else [shape_invariants]
        if maximum_iterations is not None:
            cond, body, structure, invariants = _limited(
                cond, body, structure, invariants, maximum_iterations
            )
        result = _build_while(cond, body, structure, invariants, back_prop)
        if maximum_iterations is not None:
            result = result[1]
    if not wrapped:
        return result[0]
    return (
        result[0]
        if len(result) == 1 and not return_same_structure and not hasattr(result, "_fields")
        else result
    )


def _limited(
    cond: Callable[..., Any], body: Callable[..., Any], structure: Any, invariants: Any, limit: Any
) -> tuple[Callable[..., Any], Callable[..., Any], Any, Any]:
    """The loop with a counter as one more loop variable."""
    limit = convert.convert_to_tensor(limit, name="maximum_iterations")
    if limit.spec.shape not in ((), None):
        raise ValueError(f"maximum_iterations must be a scalar, saw shape: {limit.shape}")
    counter = convert.constant(0, dtype=limit.dtype, name="iteration_counter")

    def limited_cond(i: Tensor, inner: Any) -> Tensor:
        return elementwise.logical_and(elementwise.less(i, limit), cond(*inner))

    def limited_body(i: Tensor, inner: Any) -> Any:
        result = body(*inner)
        if not isinstance(result, (list, tuple)):
            result = [result]
        return elementwise.add(i, convert.constant(1, dtype=limit.dtype)), nest.pack_sequence_as(
            inner, nest.flatten(result)
        )

    new_invariants = None if invariants is None else [shapes.scalar(), invariants]
    return limited_cond, limited_body, [counter, structure], new_invariants


def _build_while(
    cond: Callable[..., Any], body: Callable[..., Any], structure: Any, invariants: Any, back_prop: bool
) -> Any:
    leaves = nest.flatten(structure)
    initial = [_loop_input(v) for v in leaves]
    graph = scopes.graph_of(initial)
    specs = _invariant_specs(initial, structure, invariants)

    cond_region = Region(graph, "while loop")
    with cond_region, _no_control(graph):
        args = [_add_arg(cond_region, s, "Merge") for s in specs]
        test = cond(*nest.pack_sequence_as(structure, _rebuild(leaves, args)))
        test = convert.convert_to_tensor(test)
        if test.spec.dtype is not dtypes.bool_ and test.spec.dtype is not None:
            raise TypeError(f"cond must return a bool tensor, got {test}")
        shapes.dims(test.spec.shape, 0)
        cond_region.outputs = [test]

    body_region = Region(graph, "while loop")
    with body_region, _no_control(graph):
        args = [_add_arg(body_region, s, "Identity") for s in specs]
        result = body(*nest.pack_sequence_as(structure, _rebuild(leaves, args)))
        if not isinstance(result, (list, tuple)) or (
            len(structure) == 1 and not nest.is_sequence(structure[0]) and len(nest.flatten(result)) != 1
        ):
            result = [result]
        nest.assert_same_structure(list(structure), list(result), check_types=False)
        body_region.outputs = [_loop_output(new, arg) for new, arg in zip(nest.flatten(result), args)]
    _check_invariants(initial, body_region, invariants is not None)

    op = _loop(graph, initial, cond_region, body_region, back_prop, "While")
    exits = [structural.identity(t, name="Exit") for t in op.outputs]
    return nest.pack_sequence_as(result, _rebuild(leaves, exits))


def _loop(
    graph: Graph, initial: Sequence[Tensor], cond: Region, body: Region, back_prop: bool, name: str
) -> Operation:
    """The While operation for two complete regions."""
    captured = dict.fromkeys([*cond.captures(), *body.captures()])
    attrs = {"cond": cond, "body": body, "Tout": [t.spec.dtype for t in body.inputs], "back_prop": back_prop}
    op = graph.add_operation(While, [*initial, *captured], attrs, name)
    cond.owner = body.owner = op
    _wait_for_controllers(op, cond, body)
    return op


def _loop_input(value: Any) -> Tensor:
    if hasattr(value, "flow"):
        return value.flow
    if isinstance(value, IndexedSlices):
        raise TypeError("IndexedSlices cannot be loop variables; convert them to a tensor first")
    tensor = convert.convert_to_tensor(value)
    return structural.identity(tensor) if tensor.is_ref else tensor


def _loop_output(value: Any, arg: Tensor) -> Tensor:
    if hasattr(value, "flow"):
        return value.flow
    tensor = convert.convert_to_tensor(value, preferred_dtype=arg.spec.dtype)
    if tensor.spec.dtype is not arg.spec.dtype and None not in (tensor.spec.dtype, arg.spec.dtype):
        raise ValueError(
            f"Input tensor '{arg.name}' enters the loop with type {arg.dtype.name}, but has type "
            f"{tensor.dtype.name} after 1 iteration."
        )
    return structural.identity(tensor) if tensor.is_ref else tensor


def _invariant_specs(initial: list[Tensor], structure: Any, invariants: Any) -> list[Spec]:
    if invariants is None:
        return [Spec(t.spec.dtype, t.spec.shape) for t in initial]
    flat = [_as_shape(s) for s in _flatten_shapes(invariants, structure)]
    if len(flat) != len(initial):
        raise ValueError(f"shape_invariants has {len(flat)} shapes for {len(initial)} loop variables")
    for shape, tensor in zip(flat, initial):
        if not _covers(shape, tensor.spec.shape):
            raise ValueError(
                f"The shape invariant specified for {tensor.name} is not compatible with the initial shape of the "
                f"loop variable. It enters the loop with shape {tensor.shape}, but the specified shape invariant is "
                f"{shapes.TensorShape(shape)}."
            )
    return [Spec(t.spec.dtype, s) for t, s in zip(initial, flat)]


def _flatten_shapes(invariants: Any, structure: Any) -> list[Any]:
    """The shapes in the order of the structure's leaves; a shape may itself be a list of dimensions."""
    if not nest.is_sequence(structure):
        return [invariants]
    if isinstance(structure, dict):
        return [s for k in sorted(structure) for s in _flatten_shapes(invariants[k], structure[k])]
    return [s for i, item in zip(invariants, structure) for s in _flatten_shapes(i, item)]


def _as_shape(value: Any) -> Shape:
    return shapes.as_shape(value)


def _covers(invariant: Shape, shape: Shape) -> bool:
    """Whether every value that `shape` describes is described by `invariant`."""
    if invariant is None:
        return True
    if shape is None or len(shape) != len(invariant):
        return False
    return all(not isinstance(i, int) or i == d for i, d in zip(invariant, shape))


def _check_invariants(initial: Sequence[Tensor], body: Region, given: bool) -> None:
    for start, arg, new in zip(initial, body.inputs, body.outputs):
        if not _covers(arg.spec.shape, new.spec.shape):
            where = source.caller().describe()
            raise ValueError(
                errors.describe(
                    "while_loop",
                    f"The shape for {arg.name} is not an invariant for the loop. It enters the loop with shape "
                    f"{start.shape}, but has shape {new.shape} after one iteration.",
                    [where, new.op.describe()],
                    "Provide shape invariants using either the `shape_invariants` argument of tf.while_loop or "
                    "set_shape() on the loop variables.",
                )
            )


# ---------------------------------------------------------------- gradients: what forward regions give away


def _add_hidden_variable(loop: Operation, initial: Tensor, build: Callable[[Tensor], Tensor]) -> Tensor:
    """Gives a loop one more variable, which its user does not see, and returns its final value.

    Args:
        loop: the While operation.
        initial: the first value, outside of the loop.
        build: from the variable's value at the start of an iteration to its value at the end.
    """
    graph, body, test = loop.graph, loop.attrs["body"], loop.attrs["cond"]
    spec = Spec(initial.spec.dtype, initial.spec.shape)
    with _at(body, graph):
        body.outputs.append(build(_add_arg(body, spec, "Hidden")))
    with _at(test, graph):
        _add_arg(test, spec, "Hidden")
    loop.insert_input(len(body.inputs) - 1, initial)
    loop.attrs["Tout"].append(spec.dtype)
    graph.touch()
    return loop.add_output(spec)


def _memo(op: Operation) -> dict[Any, Tensor]:
    """What an operation's gradients have already asked of it: hidden outputs by the tensor they accumulate."""
    return op.hidden


def _trip_count(loop: Operation) -> Tensor:
    """The number of iterations that the loop ran."""
    memo = _memo(loop)
    if "trips" not in memo:
        with _at(loop.region, loop.graph):
            zero = convert.constant(0, dtype=dtypes.int32)
        one = np.int32(1)
        memo["trips"] = _add_hidden_variable(loop, zero, lambda i: elementwise.add(i, convert.constant(one)))
    return memo["trips"]


Path = Sequence["tuple[Operation, Region]"]
"""A loop or cond and its body or branch, one that lies in that, and so on."""


def _accumulated(path: Path, inner: Tensor) -> Tensor:
    """The list of the values that a tensor took, one for each time that it was computed.

    Args:
        path: leads to the tensor's region. All that run there push on one list, which goes through all of them.
        inner: the tensor.
    """
    op, region = path[0]
    memo = _memo(op)
    if inner not in memo:
        if op.opdef is If:
            memo[inner] = _add_hidden_result(
                op, region, lambda: _accumulated(path[1:], inner), lists.EmptyTensorList
            )
        else:
            with _at(op.region, op.graph):
                empty = lists.EmptyTensorList()
            memo[inner] = _pushed(path, empty, inner)
    return memo[inner]


def _pushed(path: Path, items: Tensor, inner: Tensor) -> Tensor:
    """A list with one more item, or, given a path, with as many as are computed there."""
    if not path:
        return lists.TensorListPushBack(items, inner)
    op, region = path[0]
    if op.opdef is While:
        return _add_hidden_variable(op, items, lambda mine: _pushed(path[1:], mine, inner))
    if items not in op.inputs[1:]:
        op.insert_input(len(op.inputs), items)
    return _add_hidden_result(op, region, lambda: _pushed(path[1:], items, inner), lambda: items)


def _add_hidden_result(
    branching: Operation, branch: Region, build: Callable[[], Tensor], otherwise: Callable[[], Tensor]
) -> Tensor:
    """Gives a cond one more result, a list which its user does not see, and returns it.

    Args:
        branching: the If operation.
        branch: one of its branches.
        build: makes the result in that branch.
        otherwise: makes it in the other one.
    """
    graph = branching.graph
    for region in (branching.attrs["then_branch"], branching.attrs["else_branch"]):
        with _at(region, graph):
            region.outputs.append(build() if region is branch else otherwise())
    branching.attrs["Tout"].append(dtypes.variant)
    graph.touch()
    return branching.add_output(Spec(dtypes.variant, ()))


def _exposed(branching: Operation, branch: Region, inner: Tensor) -> Tensor:
    """A list that holds the value of a branch's tensor, empty where the other branch ran."""
    memo = _memo(branching)
    if inner not in memo:
        memo[inner] = _add_hidden_result(
            branching,
            branch,
            lambda: lists.TensorListPushBack(lists.EmptyTensorList(), inner),
            lists.EmptyTensorList,
        )
    return memo[inner]


# What brings together what is there.
_DONE_AGAIN = (
    joining.ConcatV2,
    shaping.Range,
    lists.TensorListReserve,
    lists.TensorListFromTensor,
    lists.TensorListScatter,
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
            with _at(self, self.graph):
                self._adopted[tensor] = self._taken(tensor)
        return self._adopted[tensor]

    def _taken(self, inner: Tensor) -> Tensor:
        """The value that a tensor of the forward region took in the execution that is being taken back.

        What only brings together what is there is not kept, but done again: a concatenation, the item of a list
        that does not change in the region, such as a row of the inputs, and a list that is made of a tensor. So are
        constants, and integers that follow from shapes.
        """
        op = inner.op
        is_row = op.opdef is lists.TensorListGetItem and op.inputs[0].op.region is not self.forward
        follows_from_shapes = inner.spec.value is not None and op.opdef is not Arg and _is_pure(op)
        if op.opdef is Const or is_row or follows_from_shapes or op.opdef in _DONE_AGAIN:
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
        items = _accumulated([(region.operation, region.forward) for region in path], inner)
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


def _differentiable(tensor: Tensor) -> bool:
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
    return structural.zeros_like(tensor)


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
        items = _exposed(self.operation, self.forward, inner)
        spec = inner.spec
        return lists.TensorListPopBack(items, element_dtype=spec.dtype, element_shape=spec.shape)[1]

    def enter(self, items: Tensor) -> tuple[int, Tensor]:
        self.lists.append((items, None))
        return len(self.lists) - 1, items

    def settle(self, number: int, items: Tensor) -> None:
        self.lists[number] = self.lists[number][0], items


@If.gradient_of_region
def _if_gradient(op: Operation, dys: Sequence[Any], driver: Driver) -> list[Any]:
    """The gradient of cond is a cond: in each branch, the gradients of that branch with respect to its captures."""
    graph, pred = op.graph, op.inputs[0]
    captured = [t for t in op.inputs[1:] if _differentiable(t)]
    branches: list[_BackwardBranch] = []
    found: list[list[Any]] = []
    for branch in (op.attrs["then_branch"], op.attrs["else_branch"]):
        region = _BackwardBranch(op, branch)
        with region, _no_control(graph):
            pairs = [(y, dy) for y, dy in zip(branch.outputs, dys) if dy is not None and _differentiable(y)]
            found.append(driver([y for y, _ in pairs], captured, [dy for _, dy in pairs], captured))
        branches.append(region)
    kinds = [_kind(t, e) for t, e in zip(*found)]
    for region, gradients in zip(branches, found):
        with _at(region, graph):
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
    outputs = _conditional(pred, taken, other, "If").outputs
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
        rows = structural.zeros(joining.concat([[0], structural.shape(value)[1:]], 0), dtype=value.spec.dtype)
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
    """

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation, operation.attrs["body"])
        self.initial: list[Tensor] = []
        self.next: list[Tensor | None] = []

    def add_variable(self, initial: Tensor, shape: Shape = None) -> tuple[int, Tensor]:
        """A further loop variable: its place, and its value at the start of an iteration."""
        with _at(self, self.graph):
            arg = _add_arg(self, Spec(initial.spec.dtype, shape), "Identity")
        self.initial.append(initial)
        self.next.append(None)
        return len(self.next) - 1, arg

    def fetch(self, inner: Tensor) -> Tensor:
        return self.popped(inner)

    def enter(self, items: Tensor) -> tuple[int, Tensor]:
        return self.add_variable(items, ())

    def settle(self, number: int, items: Tensor) -> None:
        self.next[number] = items


@While.gradient_of_region
def _while_gradient(op: Operation, dys: Sequence[Any], driver: Driver) -> list[Any]:
    """The gradient of a loop is a loop: it takes the iterations back, last one first.

    In each it asks the driver for the gradients of the body's outputs with respect to the body's inputs and captures.
    What these need of the forward iteration was pushed on lists by the forward loop and is popped here. Both lists and
    loops are differentiable again.
    """
    if not op.attrs["back_prop"]:
        return [None] * len(op.inputs)
    graph, body = op.graph, op.attrs["body"]
    trips = _trip_count(op)
    active = _active(body, dys)
    captured = [t for t in op.inputs[len(body.inputs) :] if _differentiable(t)]
    starts = [_nothing(op, i) if dys[i] is None else convert.convert_to_tensor(dys[i]) for i in active]

    back = _BackwardLoop(op)
    with back, _no_control(graph):
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

    test = Region(graph, "while loop")
    with test, _no_control(graph):
        args = [_add_arg(test, Spec(t.spec.dtype, t.spec.shape), "Merge") for t in back.inputs]
        test.outputs = [elementwise.greater(args[0], convert.constant(0))]
    outputs = _loop(graph, back.initial, test, back, True, "While").outputs
    back.leave(dict(enumerate(outputs)))

    of_captures: dict[Tensor, Any] = {}
    for tensor, places in zip(captured, sums):
        if len(places) == 1:
            of_captures[tensor] = outputs[places[0]]
        elif places:
            of_captures[tensor] = _concatenated(tensor, *(outputs[p] for p in places))
    of_variables = {i: outputs[place] for i, (place, _) in zip(active, slots)}
    variables = len(body.inputs)  # more than `dys` where the gradient needed hidden ones
    return [of_variables.get(i) if i < variables else of_captures.get(t) for i, t in enumerate(op.inputs)]


def _active(body: Region, dys: Sequence[Any]) -> list[int]:
    """The places of the variables whose gradients a backward loop computes, given those of the loop's results.

    Of lists these are the ones that have a gradient from outside, or from another variable that does.
    """
    places = [i for i in range(len(dys)) if _differentiable(body.inputs[i])]
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
        with _at(back.parent, back.graph):
            start = _zeros(tensor)
        place, total = back.add_variable(start, start.spec.shape)
        is_list = tensor.spec.dtype is dtypes.variant
        back.next[place] = lists.add_lists([total, gradient]) if is_list else elementwise.add(total, gradient)
        return [place]
    places: list[int] = []
    for part in (gradient.values, elementwise.cast(gradient.indices, dtypes.int32)):
        with _at(back.parent, back.graph):
            start = lists.EmptyTensorList()
        place, items = back.add_variable(start, ())
        back.next[place] = lists.TensorListPushBack(items, part)
        places.append(place)
    return places


def _concatenated(tensor: Tensor, values: Tensor, indices: Tensor) -> IndexedSlices:
    """The slices of all iterations together."""
    value = _value(tensor)
    row: Shape = None if value.spec.shape is None else (0, *value.spec.shape[1:])
    all_values, _ = lists.TensorListConcat(values, element_dtype=value.spec.dtype, element_shape=row)
    all_indices, _ = lists.TensorListConcat(indices, element_dtype=dtypes.int32, element_shape=(0,))
    return IndexedSlices(all_values, all_indices, structural.shape(value))
