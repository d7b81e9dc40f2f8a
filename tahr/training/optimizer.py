"""The base class of optimizers: gradients of a loss, and operations that apply them to variables.

A subclass says what one step does to one variable: `_apply_dense` and `_apply_sparse` for TensorFlow 1's
default variables, `_resource_apply_dense` and `_resource_apply_sparse` for those made with
`use_resource=True`. It may keep slots, which are variables that belong to a variable, such as its momentum,
and variables of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tahr.autodiff.gradients import gradients
from tahr.core import convert, dtypes, nest, scopes
from tahr.core.convert import IndexedSlices
from tahr.core.dtypes import DType
from tahr.core.graph import Graph, Operation, Tensor
from tahr.core.scopes import GraphKeys
from tahr.ops import control_flow, indexing, shaping, sorting
from tahr.ops.assignments import is_resource
from tahr.ops.variable_lists import trainable_variables
from tahr.training import slot_creator
from tahr.variables import Variable

GradientAndVariable = tuple[Any, Any]


class Optimizer:
    """Adds the operations that train a model to its graph.

    Args:
        use_locking: kept as an attribute of the update operations; a write is always whole.
        name: the name scope of the updates, and part of the slots' names.

    Raises:
        ValueError: the name is empty.
    """

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._use_locking = use_locking
        self._name = name
        self._slots: dict[str, dict[tuple[Graph, str], Any]] = {}
        self._non_slot_dict: dict[tuple[str, Graph], Any] = {}

    def get_name(self) -> str:
        """The name that it was given."""
        return self._name

    # ------------------------------------------------------------ what users call

    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """An operation that takes one step towards a smaller loss.

        Args:
            loss: the tensor to minimize; if it is no scalar, the sum of its elements.
            global_step: a variable that each step increments.
            var_list: the variables to change; all trainable ones by default.
            gate_gradients: GATE_NONE, GATE_OP or GATE_GRAPH; see `compute_gradients`.
            aggregation_method: accepted; partial gradients are added in one way.
            colocate_gradients_with_ops: accepted; devices are kept, not obeyed.
            name: the name of the operation; that of the optimizer by default.
            grad_loss: the gradient that the loss starts with; ones by default.

        Raises:
            ValueError: the loss depends on none of the variables, or there are none.
        """
        pairs = self.compute_gradients(
            loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss
        )
        if all(grad is None for grad, _ in pairs):
            raise ValueError(
                "No gradients provided for any variable, check your graph for ops that do not support "
                f"gradients, between variables {[str(v) for _, v in pairs]} and loss {loss}."
            )
        return self.apply_gradients(pairs, global_step=global_step, name=name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: int | None = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[GradientAndVariable]:
        """The gradients of a loss, each with its variable.

        Args:
            loss: the tensor to minimize.
            var_list: variables (or tensors), also nested; all trainable variables by default.
            gate_gradients: with GATE_GRAPH no gradient is there before all are. What a gradient reads never
                changes during a run, so the others mean the same.
            aggregation_method: accepted; partial gradients are added in one way.
            colocate_gradients_with_ops: accepted; devices are kept, not obeyed.
            grad_loss: the gradient that the loss starts with; ones by default.

        Returns:
            Pairs (gradient, variable); the gradient is a tensor, an IndexedSlices, or None where the loss
            does not depend on the variable.

        Raises:
            TypeError: the loss is a function, which only eager execution can differentiate.
            ValueError: there are no variables, or an argument or a dtype is not valid.
        """
        if callable(loss):
            raise TypeError(
                f"compute_gradients: `loss` must be a tensor, got the function {loss!r}: call it first"
            )
        if gate_gradients not in (Optimizer.GATE_NONE, Optimizer.GATE_OP, Optimizer.GATE_GRAPH):
            raise ValueError(
                "gate_gradients must be one of: Optimizer.GATE_NONE, Optimizer.GATE_OP, "
                f"Optimizer.GATE_GRAPH. Not {gate_gradients}"
            )
        self._assert_valid_dtypes([loss] if grad_loss is None else [loss, grad_loss])
        variables = trainable_variables() if var_list is None else nest.flatten(var_list)
        if not variables:
            raise ValueError("No variables to optimize.")
        for var in variables:
            _check_optimizable(var)
        grads = gradients(
            loss,
            variables,
            grad_ys=grad_loss,
            gate_gradients=gate_gradients == Optimizer.GATE_OP,
            aggregation_method=aggregation_method,
            colocate_gradients_with_ops=colocate_gradients_with_ops,
        )
        if gate_gradients == Optimizer.GATE_GRAPH:
            grads = control_flow.tuple_(grads)
        self._assert_valid_dtypes([v for g, v in zip(grads, variables) if g is not None])
        return list(zip(grads, variables))

    def apply_gradients(
        self, grads_and_vars: Iterable[GradientAndVariable], global_step: Any = None, name: str | None = None
    ) -> Operation:
        """An operation that changes variables by their gradients.

        Args:
            grads_and_vars: pairs as `compute_gradients` returns them.
            global_step: a variable that is incremented after the changes.
            name: the name of the operation; that of the optimizer by default.

        Raises:
            TypeError: a gradient is no tensor.
            ValueError: there are no variables, or all gradients are None.
            NotImplementedError: something is no variable.
        """
        pairs = [(_as_gradient(grad), var) for grad, var in grads_and_vars]
        if not pairs:
            raise ValueError("No variables provided.")
        for _, var in pairs:
            _check_optimizable(var)
        changed = [var for grad, var in pairs if grad is not None]
        if not changed:
            raise ValueError(f"No gradients provided for any variable: {[str(v) for _, v in pairs]}.")
        with scopes.init_scope():
            self._create_slots(changed)
        with scopes.name_scope(name, self._name) as scope:
            self._prepare()
            updates: list[Any] = []
            for grad, var in pairs:
                if grad is not None:
                    with scopes.name_scope(f"update_{var.op.name}"), scopes.colocate_with(var.op):
                        updates.append(self._update(grad, var))
            if global_step is None:
                train_op = self._finish(updates, scope)
            else:
                with scopes.control_dependencies([self._finish(updates, "update")]):
                    counted = global_step.assign_add(1, name=scope, read_value=False)
                train_op = counted
        train_op = getattr(train_op, "op", train_op)
        collection = scopes.get_collection_ref(GraphKeys.TRAIN_OP)
        if train_op not in collection:
            collection.append(train_op)
        return train_op

    def _update(self, grad: Any, var: Any) -> Any:
        """The operation that changes one variable by its gradient."""
        if not isinstance(var, Variable):
            raise NotImplementedError(f"Trying to update a Tensor {var}")
        if isinstance(grad, IndexedSlices):
            if var.constraint is not None:
                raise RuntimeError("Cannot use a constraint function on a sparse variable.")
            if is_resource(var):
                return self._resource_apply_sparse_duplicate_indices(grad.values, var, grad.indices)
            return self._apply_sparse_duplicate_indices(grad, var)
        update = self._resource_apply_dense(grad, var) if is_resource(var) else self._apply_dense(grad, var)
        if var.constraint is None:
            return update
        with scopes.control_dependencies([update]):
            return var.assign(var.constraint(var.read_value()), read_value=False)

    # ------------------------------------------------------------ slots and other variables

    def get_slot(self, var: Any, name: str) -> Any:
        """The slot `name` of a variable, or None where it has none (yet)."""
        return self._slots.get(name, {}).get(_key(var))

    def get_slot_names(self) -> list[str]:
        """The names of the slots that were made, sorted."""
        return sorted(self._slots)

    def variables(self) -> list[Any]:
        """The optimizer's own variables in the default graph, slots included, sorted by name."""
        own = [
            *self._non_slot_dict.values(),
            *(slot for named in self._slots.values() for slot in named.values()),
        ]
        graph = scopes.get_default_graph()
        return sorted((v for v in own if v.op.graph is graph), key=lambda v: v.name)

    def _slot_dict(self, slot_name: str) -> dict[tuple[Graph, str], Any]:
        return self._slots.setdefault(slot_name, {})

    def _get_or_make_slot(self, var: Any, val: Any, slot_name: str, op_name: str) -> Any:
        """The slot of a variable; made with the initial value `val` where there is none."""
        named = self._slot_dict(slot_name)
        if _key(var) not in named:
            named[_key(var)] = slot_creator.create_slot(var, val, op_name)
        return named[_key(var)]

    def _get_or_make_slot_with_initializer(
        self, var: Any, initializer: Any, shape: Any, dtype: DType, slot_name: str, op_name: str
    ) -> Any:
        """The slot of a variable; made with an initializer where there is none."""
        named = self._slot_dict(slot_name)
        if _key(var) not in named:
            named[_key(var)] = slot_creator.create_slot_with_initializer(
                var, initializer, shape, dtype, op_name
            )
        return named[_key(var)]

    def _zeros_slot(self, var: Any, slot_name: str, op_name: str) -> Any:
        """The slot of a variable; made of zeros where there is none."""
        named = self._slot_dict(slot_name)
        if _key(var) not in named:
            named[_key(var)] = slot_creator.create_zeros_slot(var, op_name)
        return named[_key(var)]

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any) -> Any:
        """A variable of the optimizer's own, one for each graph; of the same kind as `colocate_with`."""
        key = (name, colocate_with.op.graph)
        if key not in self._non_slot_dict:
            self._non_slot_dict[key] = Variable(
                initial_value, name=name, trainable=False, use_resource=is_resource(colocate_with)
            )
        return self._non_slot_dict[key]

    def _get_non_slot_variable(self, name: str, graph: Graph | None = None) -> Any:
        return self._non_slot_dict.get((name, scopes.get_default_graph() if graph is None else graph))

    def _non_slot_variables(self) -> Iterable[Any]:
        return self._non_slot_dict.values()

    # ------------------------------------------------------------ what subclasses say

    def _valid_dtypes(self) -> set[DType]:
        """The dtypes that the loss, the variables and their gradients may have."""
        return {dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64}

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        """Makes the slots that the variables need."""

    def _prepare(self) -> None:
        """Makes the tensors that all updates share, such as the learning rate."""

    def _apply_dense(self, grad: Tensor, var: Any) -> Any:
        """The operation that changes a variable by a gradient of its shape."""
        raise NotImplementedError()

    def _resource_apply_dense(self, grad: Tensor, handle: Any) -> Any:
        """The same for a resource variable; `handle` is the variable."""
        raise NotImplementedError()

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        """The operation that changes some rows of a variable; no row is named twice."""
        raise NotImplementedError()

    def _resource_apply_sparse(self, grad: Tensor, handle: Any, indices: Tensor) -> Any:
        """The same for a resource variable; `grad` [n, ...] are the rows and `indices` [n] their numbers."""
        raise NotImplementedError()

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        """As `_apply_sparse`, but rows may be named repeatedly: by default they are summed first."""
        values, indices = _sum_duplicates(grad.values, grad.indices)
        return self._apply_sparse(IndexedSlices(values, indices, grad.dense_shape), var)

    def _resource_apply_sparse_duplicate_indices(self, grad: Tensor, handle: Any, indices: Tensor) -> Any:
        """As `_resource_apply_sparse`, but rows may be named repeatedly."""
        values, unique = _sum_duplicates(grad, indices)
        return self._resource_apply_sparse(values, handle, unique)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Operation:
        """The operation, named `name_scope`, that runs all updates and whatever follows them."""
        return control_flow.group(*update_ops, name=name_scope)

    def _call_if_callable(self, param: Any) -> Any:
        """A hyperparameter, or what it returns if it is a function of no arguments."""
        return param() if callable(param) else param

    def _assert_valid_dtypes(self, tensors: Iterable[Any]) -> None:
        """Raises ValueError unless all dtypes are valid; one that is not known yet passes."""
        valid = self._valid_dtypes()
        for tensor in tensors:
            dtype = convert.dtype_of(tensor)
            if dtype is not None and dtype not in valid:
                raise ValueError(
                    f"Invalid type {dtype!r} for {getattr(tensor, 'name', tensor)}, "
                    f"expected: {sorted(valid, key=lambda d: d.name)}."
                )


def _key(var: Any) -> tuple[Graph, str]:
    return var.op.graph, var.op.name


def _check_optimizable(var: Any) -> None:
    if not isinstance(var, (Variable, Tensor)):
        raise NotImplementedError(f"Trying to optimize unsupported type {type(var).__name__}: {var!r}")


def _as_gradient(grad: Any) -> Any:
    if grad is None or isinstance(grad, (Tensor, IndexedSlices)):
        return grad
    try:
        return convert.convert_to_tensor(grad)
    except (TypeError, ValueError):
        raise TypeError(
            f"Gradient must be convertible to a Tensor or IndexedSlices, or None: {grad!r}"
        ) from None


def _sum_duplicates(values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of which each is named once: those with equal indices are summed.

    Args:
        values: rows, [n, ...].
        indices: their numbers, [n].

    Returns:
        The sums, [k, ...], and the distinct indices, [k].
    """
    unique, positions = sorting.unique(indices)
    return indexing.unsorted_segment_sum(values, positions, shaping.shape(unique)[0]), unique
