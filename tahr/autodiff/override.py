"""Gradients of the user's own: for a function, in place of what its operations would give.

A gradient for an op type is registered in `registry`, and chosen for a part of a graph by
`Graph.gradient_override_map`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from tahr.autodiff import registry
from tahr.autodiff.registry import NoGradient, NotDifferentiable, RegisterGradient
from tahr.core import convert, dtypes, nest, scopes
from tahr.core.graph import Graph, Operation, Tensor
from tahr.core.scopes import GraphKeys
from tahr.ops import identities

_count = itertools.count()


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator for functions that bring their own gradient.

    The results, arguments and variables all pass through one IdentityN, whose gradient is the given one: it
    stops what would flow to the results' own operations, and sends `grad_fn`'s answers to the arguments and
    variables.

    Args:
        f: `f(*tensors)` returns `(y, grad_fn)`, where y is a tensor or nested structure of tensors.
            `grad_fn(*dys)` returns the gradient of each argument, given that of each y. Where f uses
            variables, `grad_fn` takes a keyword argument `variables`, a list, and returns a pair: the
            gradients of the arguments, and a list of those of the variables.

    Returns:
        A function of the same arguments that returns y.

    Raises:
        TypeError: f uses variables, and `grad_fn` does not take them.
        ValueError: keyword arguments were given, or `grad_fn` returned too few or too many gradients.

    Differs from TensorFlow 1.15: reference variables are handled as well as resource variables. Those that f
    did not make are passed where `grad_fn` takes `variables`, and otherwise left out, as in TensorFlow.
    """

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise ValueError(
                "The custom_gradient decorator currently supports keywords arguments only when eager "
                f"execution is enabled: pass {sorted(kwargs)} by position."
            )
        return _call(f, [convert.convert_to_tensor(x) for x in args])

    return decorated


def _call(f: Callable[..., Any], args: list[Tensor]) -> Any:
    graph = scopes.graph_of(args)
    first, existing = graph.version, set(_known_variables(graph))
    result, grad_fn = f(*args)
    results = [convert.convert_to_tensor(y) for y in nest.flatten(result)]
    variables = _variables_for(grad_fn, _used_variables(graph, first), existing)
    values = [convert.convert_to_tensor(v) for v in variables]

    def gradient(op: Operation, *dys: Any) -> list[Any]:
        given = dys[: len(results)]
        if not variables:
            return [*[None] * len(results), *nest.flatten(grad_fn(*given))]
        input_grads, variable_grads = grad_fn(*given, variables=variables)
        if len(variable_grads) != len(variables):
            raise ValueError(
                "Must return gradient for each variable from @custom_gradient grad_fn: "
                f"got {len(variable_grads)} for {[v.name for v in variables]}."
            )
        return [*[None] * len(results), *nest.flatten(input_grads), *variable_grads]

    name = f"CustomGradient-{next(_count)}"
    registry.RegisterGradient(name)(gradient)
    with graph.gradient_override_map({"IdentityN": name}):
        passed = identities.identity_n([*results, *args, *values])
    return nest.pack_sequence_as(result, passed[: len(results)])


def _variables_for(grad_fn: Callable[..., Any], used: Sequence[Any], existing: set[Any]) -> list[Any]:
    """The variables that `grad_fn` must give gradients of."""
    parameters = inspect.signature(grad_fn).parameters
    if "variables" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return list(used)
    demanding = [v for v in used if v.handle_or_ref.spec.dtype is dtypes.resource or v not in existing]
    if demanding:
        raise TypeError(
            "If using @custom_gradient with a function that uses variables, then grad_fn must accept a "
            f"keyword argument 'variables': {[v.name for v in demanding]} are used."
        )
    return []


def _known_variables(graph: Graph) -> dict[Any, None]:
    """Every variable that some collection of the graph holds."""
    keys = {GraphKeys.GLOBAL_VARIABLES, *graph.get_all_collection_keys()}
    return {
        v: None
        for key in sorted(keys, key=str)
        for v in graph.get_collection(key)
        if hasattr(v, "handle_or_ref")
    }


def _used_variables(graph: Graph, first: int) -> list[Any]:
    """The trainable variables that operations from the graph's `first` on read, in the order of use."""
    owners: dict[Tensor, Any] = {}
    for variable in _known_variables(graph):
        own = variable.handle_or_ref
        owners[own] = variable
        if own.spec.dtype is not dtypes.resource:
            owners[variable.value()] = variable  # the one read that all uses of a reference variable share
    found: dict[Any, None] = {}
    for op in graph.get_operations()[first:]:
        for tensor in op.inputs:
            variable = owners.get(tensor)
            # A variable's own operations, such as its initializer, are no use of it.
            if variable is not None and variable.trainable and not op.name.startswith(variable.op.name + "/"):
                found[variable] = None
    return list(found)


__all__ = ["NoGradient", "NotDifferentiable", "RegisterGradient", "custom_gradient"]
