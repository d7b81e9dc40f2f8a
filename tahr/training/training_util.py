"""The global step: the variable that counts the steps of training."""

from __future__ import annotations

from typing import Any

from tahr.core import dtypes, scopes
from tahr.core.graph import Graph, Tensor
from tahr.core.scopes import GraphKeys
from tahr.ops.initializers import Zeros
from tahr.variable_scope import get_variable
from tahr.variables import Variable


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the global step in a session.

    Args:
        sess: the session.
        global_step_tensor: the variable or tensor.
    """
    return int(sess.run(global_step_tensor))


def get_global_step(graph: Graph | None = None) -> Any:
    """The global step of a graph: what its collection GLOBAL_STEP holds, or the tensor "global_step:0".

    Args:
        graph: the graph; the default one by default.

    Returns:
        A variable or tensor; None where there is none, or where the collection holds several.

    Raises:
        TypeError: it is no integer scalar.
    """
    graph = scopes.get_default_graph() if graph is None else graph
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        return None
    try:
        step = found[0] if found else graph.get_tensor_by_name("global_step:0")
    except KeyError:
        return None
    assert_global_step(step)
    return step


def create_global_step(graph: Graph | None = None) -> Any:
    """Makes the global step: an int64 variable named "global_step" that starts at 0.

    Args:
        graph: the graph; the default one by default.

    Raises:
        ValueError: there is one already.
    """
    graph = scopes.get_default_graph() if graph is None else graph
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    with graph.as_default(), graph.name_scope(None):
        step = get_variable(
            GraphKeys.GLOBAL_STEP,
            shape=[],
            dtype=dtypes.int64,
            initializer=Zeros(),
            trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
        )
    step.op.lazy_value = dtypes.int64.numpy.type(0)  # as for a variable made from a number
    return step


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """The global step of a graph, made where there is none."""
    graph = scopes.get_default_graph() if graph is None else graph
    step = get_global_step(graph)
    return create_global_step(graph) if step is None else step


def assert_global_step(global_step_tensor: Any) -> None:
    """Raises TypeError unless something is an integer scalar that can count steps."""
    if not isinstance(global_step_tensor, (Variable, Tensor)):
        raise TypeError(f'Existing "global_step" must be a Variable or Tensor: {global_step_tensor}.')
    if not global_step_tensor.dtype.base_dtype.is_integer:
        raise TypeError(f'Existing "global_step" does not have integer type: {global_step_tensor.dtype}')
    shape = global_step_tensor.get_shape()
    if shape.ndims != 0 and shape.is_fully_defined():
        raise TypeError(f'Existing "global_step" is not scalar: {shape}')
