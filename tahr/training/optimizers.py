"""The optimizers. Their formulas are in `ops.training_ops`; here is what feeds them: rates, slots, names.

Learning rates and other hyperparameters may be numbers, tensors, or functions of no arguments that give one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tahr.core import convert, scopes
from tahr.core.convert import IndexedSlices
from tahr.core.graph import Operation, Tensor
from tahr.ops import casts, control_flow, identities, special, training_ops
from tahr.ops.assignments import is_resource, scatter_add, scatter_sub
from tahr.ops.training_ops import Step
from tahr.training import slot_creator
from tahr.training.optimizer import Optimizer


class _StepOptimizer(Optimizer):
    """An optimizer whose update is one operation.

    Attributes of subclasses:
        _step: the op types of the update.
        _slot_names: the slots that it changes, in the op's order.
    """

    _step: Step
    _slot_names: Sequence[str] = ()

    def _rates(self, var: Any) -> Mapping[str, Any]:
        """The scalar inputs of the update, by the op's names; they are cast to the variable's dtype."""
        raise NotImplementedError()

    def _attrs(self) -> Mapping[str, Any]:
        """The attributes of the update beside `use_locking`."""
        return {}

    def _tensor(self, param: Any, name: str) -> Tensor:
        """A hyperparameter as a tensor."""
        return convert.convert_to_tensor(self._call_if_callable(param), name=name)

    def _filled_slot(self, var: Any, value: float, slot_name: str, op_name: str | None = None) -> None:
        """Makes a slot of which all elements are `value` at first, unless the variable has it."""
        if self.get_slot(var, slot_name) is None:
            slot = slot_creator.create_filled_slot(var, value, op_name or self._name, var.dtype.base_dtype)
            self._slot_dict(slot_name)[var.op.graph, var.op.name] = slot

    def _add_step(self, grad: Tensor, var: Any, indices: Tensor | None = None) -> Operation:
        """Adds the operation that changes `var`, for a gradient of its shape or of the rows `indices`."""
        step = self._step
        dense, sparse = (
            (step.resource_dense, step.resource_sparse) if is_resource(var) else (step.dense, step.sparse)
        )
        definition = dense if indices is None else sparse
        assert definition is not None
        state = [var, *(self.get_slot(var, name) for name in self._slot_names)]
        given = {"grad": grad, "delta": grad, "indices": indices}
        rates = self._rates(var)
        dtype = var.dtype.base_dtype
        inputs: list[Any] = []
        for arg in definition.inputs[len(state) :]:
            if arg.name in given:
                inputs.append(given[arg.name])
            else:
                inputs.append(casts.cast(rates[arg.name], dtype) if arg.type == "T" else rates[arg.name])
        refs = [v.handle_or_ref for v in state]
        result = definition(*refs, *inputs, use_locking=self._use_locking, **self._attrs())
        return result if isinstance(result, Operation) else result.op

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        return self._add_step(grad, var)

    def _resource_apply_dense(self, grad: Tensor, handle: Any) -> Any:
        return self._add_step(grad, handle)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        return self._add_step(grad.values, var, grad.indices)

    def _resource_apply_sparse(self, grad: Tensor, handle: Any, indices: Tensor) -> Any:
        return self._add_step(grad, handle, indices)


class GradientDescentOptimizer(_StepOptimizer):
    """`w -= learning_rate * gradient`.

    Args:
        learning_rate: the rate.
        use_locking: accepted; a write is always whole.
        name: the name of the operations.
    """

    _step = training_ops.GRADIENT_DESCENT

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        return {"alpha": self._learning_rate_tensor}

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        # Subtracting rows adds up by itself, so duplicates need not be summed first.
        rate = casts.cast(self._learning_rate_tensor, var.dtype.base_dtype)
        return scatter_sub(var, grad.indices, grad.values * rate, self._use_locking).op

    def _resource_apply_sparse_duplicate_indices(self, grad: Tensor, handle: Any, indices: Tensor) -> Any:
        rate = casts.cast(self._learning_rate_tensor, handle.dtype.base_dtype)
        return scatter_add(handle, indices, -grad * rate).op


class MomentumOptimizer(_StepOptimizer):
    """`accumulation = momentum * accumulation + gradient`, `w -= learning_rate * accumulation`.

    Args:
        learning_rate: the rate.
        momentum: how much of the accumulation is kept.
        use_locking: accepted; a write is always whole.
        name: the name of the operations and slots.
        use_nesterov: whether to look ahead by one step: `w -= learning_rate * (gradient + momentum *
            accumulation)`.

    Source: Polyak 1964; Sutskever et al. 2013 for Nesterov's form.
    """

    _step = training_ops.MOMENTUM
    _slot_names = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._use_nesterov = use_nesterov

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._zeros_slot(var, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._momentum_tensor = self._tensor(self._momentum, "momentum")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        return {"lr": self._learning_rate_tensor, "momentum": self._momentum_tensor}

    def _attrs(self) -> Mapping[str, Any]:
        return {"use_nesterov": self._use_nesterov}


class AdagradOptimizer(_StepOptimizer):
    """Each element's rate falls with the root of the sum of its squared gradients.

    Args:
        learning_rate: the rate.
        initial_accumulator_value: what the sums start with, positive.
        use_locking: accepted; a write is always whole.
        name: the name of the operations and slots.

    Raises:
        ValueError: `initial_accumulator_value` is not positive.

    Source: Duchi, Hazan and Singer 2011.
    """

    _step = training_ops.ADAGRAD
    _slot_names = ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        if initial_accumulator_value <= 0.0:
            raise ValueError(f"initial_accumulator_value must be positive: {initial_accumulator_value}")
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._filled_slot(var, self._initial_accumulator_value, "accumulator")

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        return {"lr": self._learning_rate_tensor}


class AdagradDAOptimizer(_StepOptimizer):
    """Adagrad by dual averaging, which keeps what L1 regularization set to zero at zero.

    Args:
        learning_rate: the rate.
        global_step: the variable that counts the steps.
        initial_gradient_squared_accumulator_value: what the sums of squares start with, positive.
        l1_regularization_strength: weight of the L1 penalty, 0 or more.
        l2_regularization_strength: weight of the L2 penalty, 0 or more.
        use_locking: accepted; a write is always whole.
        name: the name of the operations and slots.

    Raises:
        ValueError: `initial_gradient_squared_accumulator_value` is not positive.

    Source: Duchi, Hazan and Singer 2011, equation 3.
    """

    _step = training_ops.ADAGRAD_DA
    _slot_names = ("gradient_accumulator", "gradient_squared_accumulator")

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        if initial_gradient_squared_accumulator_value <= 0.0:
            raise ValueError(
                "initial_gradient_squared_accumulator_value must be positive: "
                f"{initial_gradient_squared_accumulator_value}"
            )
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._global_step = global_step
        self._initial_gradient_squared_accumulator_value = initial_gradient_squared_accumulator_value
        self._l1_regularization_strength = l1_regularization_strength
        self._l2_regularization_strength = l2_regularization_strength

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._filled_slot(var, 0.0, "gradient_accumulator")
            value = self._initial_gradient_squared_accumulator_value
            self._filled_slot(var, value, "gradient_squared_accumulator")

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        # The step under way, counted from 1; the update is given it as int64.
        self._this_step = casts.cast(identities.identity(self._global_step) + 1, "int64")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        dtype = var.dtype.base_dtype
        return {
            "lr": self._learning_rate_tensor,
            "l1": convert.constant(self._l1_regularization_strength, dtype),
            "l2": convert.constant(self._l2_regularization_strength, dtype),
            "global_step": self._this_step,
        }


class AdadeltaOptimizer(_StepOptimizer):
    """Steps whose size follows the ratio of the root mean squares of past steps and past gradients.

    Args:
        learning_rate: a factor of the step; 1 is the paper's algorithm.
        rho: how slowly the means forget.
        epsilon: what keeps the roots away from zero, and the first steps small.
        use_locking: accepted; a write is always whole.
        name: the name of the operations and slots.

    Source: Zeiler 2012.
    """

    _step = training_ops.ADADELTA
    _slot_names = ("accum", "accum_update")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._rho = rho
        self._epsilon = epsilon

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._zeros_slot(var, "accum", self._name)
            self._zeros_slot(var, "accum_update", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._tensor(self._lr, "lr")
        self._rho_t = self._tensor(self._rho, "rho")
        self._epsilon_t = self._tensor(self._epsilon, "epsilon")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        return {"lr": self._lr_t, "rho": self._rho_t, "epsilon": self._epsilon_t}


class RMSPropOptimizer(_StepOptimizer):
    """Gradients divided by the root of a moving average of their squares, with momentum.

    Args:
        learning_rate: the rate.
        decay: how slowly the averages forget.
        momentum: how much of the last step is kept.
        epsilon: added to the mean square, inside the root.
        use_locking: accepted; a write is always whole.
        centered: whether to divide by the standard deviation instead of the root mean square.
        name: the name of the operations and slots.

    Source: Tieleman and Hinton 2012, lecture 6e; Graves 2013 for the centered form. The mean square starts at
        1.
    """

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._decay = decay
        self._momentum = momentum
        self._epsilon = epsilon
        self._centered = centered
        self._step = training_ops.CENTERED_RMSPROP if centered else training_ops.RMSPROP
        self._slot_names = ("mg", "rms", "momentum") if centered else ("rms", "momentum")

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._filled_slot(var, 1.0, "rms")
            if self._centered:
                self._zeros_slot(var, "mg", self._name)
            self._zeros_slot(var, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._decay_tensor = self._tensor(self._decay, "decay")
        self._momentum_tensor = self._tensor(self._momentum, "momentum")
        self._epsilon_tensor = self._tensor(self._epsilon, "epsilon")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        return {
            "lr": self._learning_rate_tensor,
            "rho": self._decay_tensor,
            "momentum": self._momentum_tensor,
            "epsilon": self._epsilon_tensor,
        }


class AdamOptimizer(_StepOptimizer):
    """Steps along a moving average of the gradient, divided by the root of one of its square.

    Args:
        learning_rate: the rate.
        beta1: how slowly the mean of the gradients forgets.
        beta2: how slowly the mean of their squares forgets.
        epsilon: added to the root; it is the paper's "epsilon hat" before section 2.1, outside of the bias
            correction, and not the epsilon of its algorithm 1.
        use_locking: accepted; a write is always whole.
        name: the name of the operations and slots.

    Source: Kingma and Ba 2015. With a sparse gradient the averages of all rows decay and all rows move, as if
        the
    other rows' gradients were zero.
    """

    _step = training_ops.ADAM
    _slot_names = ("m", "v")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon

    def _get_beta_accumulators(self) -> tuple[Any, Any]:
        """The variables that hold beta1 and beta2 to the power of the step."""
        return self._get_non_slot_variable("beta1_power"), self._get_non_slot_variable("beta2_power")

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        first = min(var_list, key=lambda v: v.name)
        self._create_non_slot_variable(self._call_if_callable(self._beta1), "beta1_power", first)
        self._create_non_slot_variable(self._call_if_callable(self._beta2), "beta2_power", first)
        for var in var_list:
            self._zeros_slot(var, "m", self._name)
            self._zeros_slot(var, "v", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._tensor(self._lr, "learning_rate")
        self._beta1_t = self._tensor(self._beta1, "beta1")
        self._beta2_t = self._tensor(self._beta2, "beta2")
        self._epsilon_t = self._tensor(self._epsilon, "epsilon")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        beta1_power, beta2_power = self._get_beta_accumulators()
        return {
            "beta1_power": beta1_power,
            "beta2_power": beta2_power,
            "lr": self._lr_t,
            "beta1": self._beta1_t,
            "beta2": self._beta2_t,
            "epsilon": self._epsilon_t,
        }

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        return self._add_sparse_steps(grad.values, var, grad.indices)

    def _resource_apply_sparse(self, grad: Tensor, handle: Any, indices: Tensor) -> Any:
        return self._add_sparse_steps(grad, handle, indices)

    def _add_sparse_steps(self, grad: Tensor, var: Any, indices: Tensor) -> Operation:
        dtype = var.dtype.base_dtype
        rates = {name: casts.cast(rate, dtype) for name, rate in self._rates(var).items()}
        beta1, beta2 = rates["beta1"], rates["beta2"]
        rate = rates["lr"] * special.sqrt(1 - rates["beta2_power"]) / (1 - rates["beta1_power"])
        m = self._decay_and_add(self.get_slot(var, "m"), beta1, indices, grad * (1 - beta1))
        v = self._decay_and_add(self.get_slot(var, "v"), beta2, indices, grad * grad * (1 - beta2))
        step = var.assign_sub(rate * m / (special.sqrt(v) + rates["epsilon"]), use_locking=self._use_locking)
        return control_flow.group(step, m, v)

    def _decay_and_add(self, slot: Any, beta: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
        """Multiplies a slot by `beta`, then adds `rows` at `indices`; gives its new value."""
        decayed = slot.assign(slot.read_value() * beta, use_locking=self._use_locking)
        with scopes.control_dependencies([decayed]):
            return scatter_add(slot, indices, rows, self._use_locking)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Operation:
        beta1_power, beta2_power = self._get_beta_accumulators()
        with scopes.control_dependencies(update_ops):
            powers = [
                power.assign(power.read_value() * beta, use_locking=self._use_locking)
                for power, beta in ((beta1_power, self._beta1_t), (beta2_power, self._beta2_t))
            ]
        return control_flow.group(*update_ops, *powers, name=name_scope)


class FtrlOptimizer(_StepOptimizer):
    """Follow the regularized leader: sparse linear models with L1 and L2 penalties.

    Args:
        learning_rate: the rate.
        learning_rate_power: how the rate falls with the sum of squared gradients, 0 or less.
        initial_accumulator_value: what the sums of squares start with, 0 or more.
        l1_regularization_strength: weight of the L1 penalty, 0 or more.
        l2_regularization_strength: weight of the L2 penalty that stabilizes, 0 or more.
        use_locking: accepted; a write is always whole.
        name: the name of the operations and slots.
        accum_name: what the slot of the sums is named; `name` by default.
        linear_name: what the slot of the linear term is named; `name` by default.
        l2_shrinkage_regularization_strength: weight of an L2 penalty that is added to the loss, 0 or more.

    Raises:
        ValueError: an argument has the wrong sign.

    Source: McMahan et al. 2013, algorithm 1.
    """

    _slot_names = ("accum", "linear")

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        super().__init__(use_locking, name)
        if learning_rate_power > 0.0:
            raise ValueError(f"learning_rate_power {learning_rate_power} needs to be negative or zero")
        for value, what in (
            (initial_accumulator_value, "initial_accumulator_value"),
            (l1_regularization_strength, "l1_regularization_strength"),
            (l2_regularization_strength, "l2_regularization_strength"),
            (l2_shrinkage_regularization_strength, "l2_shrinkage_regularization_strength"),
        ):
            if value < 0.0:
                raise ValueError(f"{what} {value} needs to be positive or zero")
        self._learning_rate = learning_rate
        self._learning_rate_power = learning_rate_power
        self._initial_accumulator_value = initial_accumulator_value
        self._l1_regularization_strength = l1_regularization_strength
        self._l2_regularization_strength = l2_regularization_strength
        self._l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self._accum_name = accum_name
        self._linear_name = linear_name
        self._step = training_ops.FTRL_V2 if l2_shrinkage_regularization_strength > 0.0 else training_ops.FTRL

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._filled_slot(var, self._initial_accumulator_value, "accum", self._accum_name)
            self._zeros_slot(var, "linear", self._linear_name or self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._l1_tensor = self._tensor(self._l1_regularization_strength, "l1_regularization_strength")
        self._l2_tensor = self._tensor(self._l2_regularization_strength, "l2_regularization_strength")
        shrinkage = self._l2_shrinkage_regularization_strength
        self._l2_shrinkage_tensor = self._tensor(shrinkage, "l2_shrinkage_regularization_strength")
        self._learning_rate_power_tensor = self._tensor(self._learning_rate_power, "learning_rate_power")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        return {
            "lr": self._learning_rate_tensor,
            "l1": self._l1_tensor,
            "l2": self._l2_tensor,
            "l2_shrinkage": self._l2_shrinkage_tensor,
            "lr_power": self._learning_rate_power_tensor,
        }


class ProximalGradientDescentOptimizer(_StepOptimizer):
    """Gradient descent with L1 and L2 penalties that are minimized exactly after each step.

    Args:
        learning_rate: the rate.
        l1_regularization_strength: weight of the L1 penalty, 0 or more.
        l2_regularization_strength: weight of the L2 penalty, 0 or more.
        use_locking: accepted; a write is always whole.
        name: the name of the operations.

    Source: Duchi and Singer 2009.
    """

    _step = training_ops.PROXIMAL_GRADIENT_DESCENT

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._l1_regularization_strength = l1_regularization_strength
        self._l2_regularization_strength = l2_regularization_strength

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._l1_tensor = self._tensor(self._l1_regularization_strength, "l1_regularization_strength")
        self._l2_tensor = self._tensor(self._l2_regularization_strength, "l2_regularization_strength")

    def _rates(self, var: Any) -> Mapping[str, Any]:
        rate = self._learning_rate_tensor
        return {"alpha": rate, "lr": rate, "l1": self._l1_tensor, "l2": self._l2_tensor}


class ProximalAdagradOptimizer(ProximalGradientDescentOptimizer):
    """Adagrad with L1 and L2 penalties that are minimized exactly after each step.

    Args:
        learning_rate: the rate.
        initial_accumulator_value: what the sums of squares start with, positive.
        l1_regularization_strength: weight of the L1 penalty, 0 or more.
        l2_regularization_strength: weight of the L2 penalty, 0 or more.
        use_locking: accepted; a write is always whole.
        name: the name of the operations and slots.

    Raises:
        ValueError: `initial_accumulator_value` is not positive.

    Source: Duchi and Singer 2009; Duchi, Hazan and Singer 2011.
    """

    _step = training_ops.PROXIMAL_ADAGRAD
    _slot_names = ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        if initial_accumulator_value <= 0.0:
            raise ValueError(f"initial_accumulator_value must be positive: {initial_accumulator_value}")
        super().__init__(
            learning_rate, l1_regularization_strength, l2_regularization_strength, use_locking, name
        )
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._filled_slot(var, self._initial_accumulator_value, "accumulator")
