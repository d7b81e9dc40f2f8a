"""Moving averages of variables: `average = decay * average + (1 - decay) * value`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.core import convert, dtypes, scopes
from tahr.core.graph import Operation, Tensor
from tahr.core.scopes import GraphKeys
from tahr.ops import casts, control_flow, elementwise, special
from tahr.ops.initializers import Zeros
from tahr.ops.variable_lists import global_variables, moving_average_variables, trainable_variables
from tahr.training import slot_creator
from tahr.variable_scope import get_variable, get_variable_scope, variable_scope
from tahr.variables import Variable


def assign_moving_average(
    variable: Any, value: Any, decay: Any, zero_debias: bool = True, name: str | None = None
) -> Tensor:
    """Moves a variable towards a value: `variable -= (1 - decay) * (variable - value)`.

    Args:
        variable: the average, of a floating type.
        value: a tensor of its shape.
        decay: how slowly the average forgets, a scalar below 1.
        zero_debias: whether the variable starts at 0 and the average is to be corrected for that. Two more
            variables are made then, the uncorrected average and the number of updates.
        name: the name of the result.

    Returns:
        The new average.

    Source: Kingma and Ba 2015, section 3, for the correction.
    """
    dtype = variable.dtype.base_dtype
    with scopes.name_scope(name, "AssignMovingAvg", [variable, value, decay]) as scope:
        rate = casts.cast(convert.convert_to_tensor(1.0 - decay, name="decay"), dtype)
        # New reads, so that under control_dependencies they see what the operations before them wrote.
        value = value.read_value() if isinstance(value, Variable) else value
        if zero_debias:
            change = _debiased_change(variable, value, rate)
        else:
            change = (variable.read_value() - value) * rate
        return variable.assign_sub(change, name=scope)


def _debiased_change(average: Any, value: Any, rate: Tensor) -> Tensor:
    """What to subtract from an average so that it is no longer biased towards its start, 0.

    After n updates the plain average of a constant is `1 - (1 - rate)**n` times that constant.
    """
    dtype = average.dtype.base_dtype
    slot: dict[str, Any] = {"dtype": dtype, "initializer": Zeros(), "trainable": False}
    with variable_scope(average.op.name, values=[average, value, rate]):
        biased = get_variable(_unused("biased"), shape=average.shape, **slot)
        local_step = get_variable(_unused("local_step"), shape=[], **slot)
        updates = [biased.assign_sub((biased.read_value() - value) * rate), local_step.assign_add(1)]
        with scopes.control_dependencies(updates):
            correction = 1 - special.pow(1.0 - rate, local_step.read_value())
            return average.read_value() - biased.read_value() / correction


def _unused(name: str) -> str:
    """A name that no variable of the current scope has; the same one where variables are being reused."""
    scope = get_variable_scope()
    taken = {v.op.name for v in global_variables()}
    full_name = f"{scope.name}/{name}"
    if scope.reuse or full_name not in taken:
        return name
    count = 1
    while f"{full_name}_{count}" in taken:
        count += 1
    return f"{name}_{count}"


class ExponentialMovingAverage:
    """Keeps moving averages of variables, to be used in place of the variables after training.

    Args:
        decay: how slowly the averages forget, a scalar below 1.
        num_updates: the number of updates so far; if given, the averages start out faster:
            `min(decay, (1 + num_updates) / (10 + num_updates))`.
        zero_debias: whether averages of tensors that are no variables, which start at 0, are corrected for
            that.
        name: what follows a variable's name in that of its average.
    """

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Any] = {}

    @property
    def name(self) -> str:
        """The name that it was given."""
        return self._name

    def apply(self, var_list: Sequence[Any] | None = None) -> Operation:
        """An operation that updates the averages; makes those that are missing.

        The average of a variable starts at the variable's initial value, that of another tensor at 0.

        Args:
            var_list: variables, and tensors of known shape, of a floating type; all trainable variables by
                default.

        Raises:
            TypeError: one has another type.
        """
        variables = list(trainable_variables() if var_list is None else var_list)
        corrected: set[Any] = set()
        for var in variables:
            if not var.dtype.base_dtype.is_floating:
                raise TypeError(f"The variables must be half, float, or double: {var.name}")
            if var not in self._averages:
                with scopes.init_scope():
                    self._averages[var] = average = self._make_average(var)
                if self._zero_debias and not isinstance(var, Variable):
                    corrected.add(average)
        with scopes.name_scope(self._name) as scope:
            decay = convert.convert_to_tensor(self._decay, dtype=dtypes.float32, name="decay")
            if self._num_updates is not None:
                count = casts.cast(self._num_updates, dtypes.float32, name="num_updates")
                decay = elementwise.minimum(decay, (1.0 + count) / (10.0 + count))
            updates = [
                assign_moving_average(self._averages[v], v, decay, zero_debias=self._averages[v] in corrected)
                for v in variables
            ]
            return control_flow.group(*updates, name=scope)

    def _make_average(self, var: Any) -> Any:
        if not isinstance(var, Variable):
            return slot_creator.create_zeros_slot(var, self._name)
        scopes.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, var)
        average = slot_creator.create_slot(var, var.initialized_value(), self._name)
        average.op.lazy_value = var.op.lazy_value
        return average

    def average(self, var: Any) -> Any:
        """The variable that holds the average of `var`, or None where none is kept."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name of the operation of `var`'s average, whether or not it has been made yet."""
        if var in self._averages:
            return self._averages[var].op.name
        graph = scopes.get_default_graph()
        return graph.unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables: Sequence[Any] | None = None) -> dict[str, Any]:
        """What a Saver needs to restore the averages into the variables.

        Args:
            moving_avg_variables: the variables that take their average's value; by default all that are
                trainable or in the collection MOVING_AVERAGE_VARIABLES.

        Returns:
            Variables by the name under which their value is saved: the average's name for these, and its own
            for every other global variable.
        """
        if moving_avg_variables is None:
            moving_avg_variables = [*trainable_variables(), *moving_average_variables()]
        averaged = dict.fromkeys(moving_avg_variables)
        result = {self.average_name(v): v for v in averaged}
        for var in global_variables():
            if var not in averaged and var.op.name not in result:
                result[var.op.name] = var
        return result
