"""cond and while_loop: operations that run a region of the graph.

A region's operations belong to the graph like all others; the `If` or `While` operation refers to the region. Captures
are found when the region is complete and become further inputs of the operation, so that everything which walks the
graph sees what it depends on. The gradient of a loop is a loop that runs backwards: see `control_flow_gradients.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tahr import errors
from tahr.core import convert, dtypes, nest, scopes, shapes, source, tensor_shapes
from tahr.core.building import ControlScope
from tahr.core.convert import IndexedSlices
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Graph, Operation, Region, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.ops import elementwise, structural

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


def add_argument(region: Region, spec: Spec, name: str) -> Tensor:
    """One more value that is given to the region at each execution."""
    op = region.graph.add_operation(Arg, (), {"dtype": spec.dtype, "shape": spec.shape}, name)
    region.inputs.append(op.outputs[0])
    return op.outputs[0]


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


def conditional(pred: Tensor, then_branch: Region, else_branch: Region, name: str) -> Operation:
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
        op = conditional(pred, then_branch, else_branch, "If")
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
    with region, no_control(pred.graph):
        result = function()
        if result is None:
            raise ValueError(f"{name} must have a return value.")
        region.outputs = [t for item in nest.flatten(result) for t in _as_outputs(item, is_taken_for)]
    if not region.outputs:
        raise ValueError(f"{name} must return at least one result.")
    return region, result


def no_control(graph: Graph) -> ControlScope:
    """Inside a region the controllers of the blocks around it do not count: they run before the whole operation."""
    return graph.control_dependencies(None)


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

    new_invariants = None if invariants is None else [tensor_shapes.scalar(), invariants]
    return limited_cond, limited_body, [counter, structure], new_invariants


def _build_while(
    cond: Callable[..., Any], body: Callable[..., Any], structure: Any, invariants: Any, back_prop: bool
) -> Any:
    leaves = nest.flatten(structure)
    initial = [_loop_input(v) for v in leaves]
    graph = scopes.graph_of(initial)
    specs = _invariant_specs(initial, structure, invariants)

    cond_region = Region(graph, "while loop")
    with cond_region, no_control(graph):
        args = [add_argument(cond_region, s, "Merge") for s in specs]
        test = cond(*nest.pack_sequence_as(structure, _rebuild(leaves, args)))
        test = convert.convert_to_tensor(test)
        if test.spec.dtype is not dtypes.bool_ and test.spec.dtype is not None:
            raise TypeError(f"cond must return a bool tensor, got {test}")
        shapes.dims(test.spec.shape, 0)
        cond_region.outputs = [test]

    body_region = Region(graph, "while loop")
    with body_region, no_control(graph):
        args = [add_argument(body_region, s, "Identity") for s in specs]
        result = body(*nest.pack_sequence_as(structure, _rebuild(leaves, args)))
        if not isinstance(result, (list, tuple)) or (
            len(structure) == 1 and not nest.is_sequence(structure[0]) and len(nest.flatten(result)) != 1
        ):
            result = [result]
        nest.assert_same_structure(list(structure), list(result), check_types=False)
        body_region.outputs = [_loop_output(new, arg) for new, arg in zip(nest.flatten(result), args)]
    _check_invariants(initial, body_region)

    op = loop_operation(graph, initial, cond_region, body_region, back_prop, "While")
    exits = [structural.identity(t, name="Exit") for t in op.outputs]
    return nest.pack_sequence_as(result, _rebuild(leaves, exits))


def loop_operation(
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
                f"{tensor_shapes.TensorShape(shape)}."
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
    return tensor_shapes.as_shape(value)


def _covers(invariant: Shape, shape: Shape) -> bool:
    """Whether every value that `shape` describes is described by `invariant`."""
    if invariant is None:
        return True
    if shape is None or len(shape) != len(invariant):
        return False
    return all(not isinstance(i, int) or i == d for i, d in zip(invariant, shape))


def _check_invariants(initial: Sequence[Tensor], body: Region) -> None:
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
