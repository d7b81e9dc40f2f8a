"""The variables of a graph: lists of them, and operations that initialize them or ask whether they are initialized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, scopes
from tahr.core.graph import Operation, Tensor
from tahr.core.scopes import GraphKeys
from tahr.ops import control_flow, elementwise, indexing, joining
from tahr.ops.assignments import is_variable_initialized


def global_variables(scope: str | None = None) -> list[Any]:
    """The default graph's variables; with `scope` those whose name matches that regular expression."""
    return scopes.get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


all_variables = global_variables


def local_variables(scope: str | None = None) -> list[Any]:
    """The variables that belong to one process and are not saved."""
    return scopes.get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """The variables in the collection MODEL_VARIABLES."""
    return scopes.get_collection(GraphKeys.MODEL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """The variables that optimizers change by default."""
    return scopes.get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Any]:
    """The variables of which an `ExponentialMovingAverage` keeps an average."""
    return scopes.get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Any], name: str = "init") -> Operation:
    """An operation that initializes variables."""
    if var_list:
        return control_flow.group(*[v.initializer for v in var_list], name=name)
    return control_flow.no_op(name=name)


def global_variables_initializer() -> Operation:
    """An operation that initializes all global variables."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """An operation that initializes all local variables."""
    return variables_initializer(local_variables())


initialize_all_variables = global_variables_initializer
initialize_local_variables = local_variables_initializer
initialize_variables = variables_initializer


def report_uninitialized_variables(
    var_list: Sequence[Any] | None = None, name: str = "report_uninitialized_variables"
) -> Tensor:
    """The names of the variables that are not initialized: a string vector, empty if all are.

    Args:
        var_list: the variables to look at; all global and local ones by default.
        name: the name scope.
    """
    if var_list is None:
        var_list = global_variables() + local_variables()
    with scopes.name_scope(name), scopes.control_dependencies(None):
        if not var_list:
            return convert.constant(np.empty(0, dtype=object), dtype=dtypes.string)
        from_all = joining.stack([is_variable_initialized(v) for v in var_list])
        names = convert.constant([v.op.name for v in var_list])
        return indexing.boolean_mask(names, elementwise.logical_not(from_all))


def assert_variables_initialized(var_list: Sequence[Any] | None = None) -> Any:
    """An operation that fails unless all variables are initialized; deprecated in TensorFlow, too."""
    if var_list is None:
        var_list = global_variables() + local_variables()
    return joining.stack([is_variable_initialized(v) for v in var_list]) if var_list else None
