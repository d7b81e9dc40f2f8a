"""What loops and conditionals give away for their gradients, in variables and results that their users do not see.

Loops push values on lists, on their way through all loops and conditionals around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tahr.core import convert, dtypes
from tahr.core.building import RegionScope
from tahr.core.graph import Operation, Region, Tensor
from tahr.core.shapes import Spec
from tahr.ops import elementwise, lists
from tahr.ops.control_flow import If, While, add_argument


def _add_hidden_variable(loop: Operation, initial: Tensor, build: Callable[[Tensor], Tensor]) -> Tensor:
    """Gives a loop one more variable, which its user does not see, and returns its final value.

    Args:
        loop: the While operation.
        initial: the first value, outside of the loop.
        build: from the variable's value at the start of an iteration to its value at the end.
    """
    graph, body, test = loop.graph, loop.attrs["body"], loop.attrs["cond"]
    spec = Spec(initial.spec.dtype, initial.spec.shape)
    with RegionScope(graph, body):
        body.outputs.append(build(add_argument(body, spec, "Hidden")))
    with RegionScope(graph, test):
        add_argument(test, spec, "Hidden")
    loop.insert_input(len(body.inputs) - 1, initial)
    loop.attrs["Tout"].append(spec.dtype)
    graph.touch()
    return loop.add_output(spec)


def trip_count(loop: Operation) -> Tensor:
    """The number of iterations that the loop ran."""
    hidden = loop.hidden
    if "trips" not in hidden:
        with RegionScope(loop.graph, loop.region):
            zero = convert.constant(0, dtype=dtypes.int32)
        one = np.int32(1)
        hidden["trips"] = _add_hidden_variable(
            loop, zero, lambda i: elementwise.add(i, convert.constant(one))
        )
    return hidden["trips"]


Path = Sequence["tuple[Operation, Region]"]
"""A loop or cond and its body or branch, one that lies in that, and so on."""


def accumulated(path: Path, inner: Tensor) -> Tensor:
    """The list of the values that a tensor took, one for each time that it was computed.

    Args:
        path: leads to the tensor's region. All that run there push on one list, which goes through all of them.
        inner: the tensor.
    """
    op, region = path[0]
    hidden = op.hidden
    if inner not in hidden:
        if op.opdef is If:
            hidden[inner] = _add_hidden_result(
                op, region, lambda: accumulated(path[1:], inner), lists.EmptyTensorList
            )
        else:
            with RegionScope(op.graph, op.region):
                empty = lists.EmptyTensorList()
            hidden[inner] = _pushed(path, empty, inner)
    return hidden[inner]


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
        with RegionScope(graph, region):
            region.outputs.append(build() if region is branch else otherwise())
    branching.attrs["Tout"].append(dtypes.variant)
    graph.touch()
    return branching.add_output(Spec(dtypes.variant, ()))


def exposed(branching: Operation, branch: Region, inner: Tensor) -> Tensor:
    """A list that holds the value of a branch's tensor, empty where the other branch ran."""
    hidden = branching.hidden
    if inner not in hidden:
        hidden[inner] = _add_hidden_result(
            branching,
            branch,
            lambda: lists.TensorListPushBack(lists.EmptyTensorList(), inner),
            lists.EmptyTensorList,
        )
    return hidden[inner]
