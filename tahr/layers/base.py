"""The base class of layers: where a layer's variables live, and when they are made and shared.

A layer stands in one variable scope, fixed by its first call. The first call builds the layer, which makes its
variables there; every later call enters the same scope with `reuse=True`.

Source of the rules: TensorFlow 1.15, python/layers/base.py and python/keras/engine/base_layer.py.
"""

from __future__ import annotations

import inspect
import numbers
import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, nest, scopes
from tahr.core.graph import Operation, Tensor
from tahr.core.scopes import GraphKeys
from tahr.core.tensor_shapes import TensorShape
from tahr.variable_scope import PartitionedVariable, VariableScope, get_variable, variable_scope
from tahr.variables import Variable, VariableAggregation, VariableSynchronization


class InputSpec:
    """What a layer demands of an input.

    Args:
        dtype: its dtype; None: any.
        shape: its shape, None for dimensions that may be anything.
        ndim: its rank.
        max_ndim: the highest rank.
        min_ndim: the lowest rank.
        axes: the sizes that some axes must have, by axis.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {} if axes is None else {int(axis): size for axis, size in axes.items()}

    def complaint(self, x: Tensor) -> str | None:
        """What is wrong with an input, or None; what is not known is not wrong."""
        shape = x.get_shape()
        bounded = self.ndim is not None or self.min_ndim is not None or self.max_ndim is not None
        if shape.ndims is None:
            return "its rank is undefined, but the layer requires a defined rank." if bounded else None
        if self.ndim is not None and shape.ndims != self.ndim:
            return f"expected ndim={self.ndim}, found ndim={shape.ndims}."
        if self.max_ndim is not None and shape.ndims > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={shape.ndims}."
        if self.min_ndim is not None and shape.ndims < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={shape.ndims}."
        if self.dtype is not None and x.dtype.base_dtype != dtypes.as_dtype(self.dtype):
            return f"expected dtype={dtypes.as_dtype(self.dtype).name}, found dtype={x.dtype.name}."
        sizes = shape.as_list()
        for axis, size in self.axes.items():
            if size is not None and sizes[axis] not in (size, None):
                return f"expected axis {axis} of input shape to have value {size} but got shape {shape}."
        if self.shape is not None and not shape.is_compatible_with(self.shape):
            return f"expected shape={TensorShape(self.shape)}, found shape={shape}."
        return None


class Layer:
    """A function of tensors with variables of its own; the base class of layers and cells.

    A subclass makes its variables in `build(input_shape)`, with `add_weight`, and computes in `call(inputs)`.

    Args:
        trainable: whether its variables are.
        name: the name of its variable scope; by default the class's, in lower case with underscores, made unique
            in the scope of the first call.
        dtype: the dtype of its variables; that of the first input by default.
        _scope: the variable scope to stand in: a name, or a scope. By default the first call opens one.
        _reuse: whether the variables must exist already (True), or may (AUTO_REUSE).

    Raises:
        TypeError: an argument is unknown.
    """

    def __init__(
        self, trainable: bool = True, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        scope, self._reuse = kwargs.pop("_scope", None), kwargs.pop("_reuse", None)
        if kwargs:
            raise TypeError(f"Keyword argument not understood: {', '.join(sorted(kwargs))}")
        self.trainable = trainable
        self.built = False
        self.input_spec: Any = None
        self.stateful = False
        self._dtype = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        self._base_name = name or _snake_case(type(self).__name__)
        self._name = name or _numbered(self._base_name)
        self._trainable_weights: list[Any] = []
        self._non_trainable_weights: list[Any] = []
        self._losses: list[Any] = []
        self._updates: list[Any] = []
        self._scope: VariableScope | None = None
        if scope is not None:
            with variable_scope(scope) as self._scope:
                pass

    # ------------------------------------------------------------ what it is

    @property
    def name(self) -> str:
        """The given name, or the class's with a number; variables are named after `scope_name`."""
        return self._name

    @property
    def dtype(self) -> str | None:
        """The name of its variables' dtype, if it is known yet."""
        return None if self._dtype is None else self._dtype.name

    @property
    def scope_name(self) -> str:
        """The prefix of its variables' names.

        Raises:
            ValueError: it was not called yet.
        """
        if self._scope is None:
            raise ValueError(
                f'No name available for layer scope because the layer "{self._name}" has not been used yet. '
                "The scope name is determined the first time the layer instance is called. "
                "You must therefore call the layer before querying `scope_name`."
            )
        return self._scope.name

    @property
    def trainable_weights(self) -> list[Any]:
        """The variables that are trained."""
        return list(self._trainable_weights) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The variables that are not trained."""
        frozen = [] if self.trainable else self._trainable_weights
        return [*frozen, *self._non_trainable_weights]

    @property
    def weights(self) -> list[Any]:
        """All its variables, those that are trained first."""
        return self.trainable_weights + self.non_trainable_weights

    @property
    def trainable_variables(self) -> list[Any]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def variables(self) -> list[Any]:
        """The same as `weights`."""
        return self.weights

    @property
    def losses(self) -> list[Any]:
        """The losses that were added, those of its variables' regularizers among them."""
        return list(self._losses)

    @property
    def updates(self) -> list[Any]:
        """The operations that were added to be run with each training step."""
        return list(self._updates)

    def count_params(self) -> int:
        """The number of elements of all its variables.

        Raises:
            ValueError: it is not built yet.
        """
        if not self.built:
            raise ValueError(f"You tried to call `count_params` on {self._name}, but the layer isn't built.")
        return sum(variable.get_shape().num_elements() for variable in self.weights)

    # ------------------------------------------------------------ what a subclass says

    def build(self, input_shape: Any) -> None:
        """Makes the variables.

        Args:
            input_shape: the input's TensorShape, or a structure of such.
        """
        self.built = True

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Builds what the layer computes, and returns it."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output's shape.

        Raises:
            NotImplementedError: the layer does not say.
        """
        raise NotImplementedError

    # ------------------------------------------------------------ calling it

    def __call__(self, inputs: Any, *args: Any, scope: Any = None, **kwargs: Any) -> Any:
        """Builds the layer's computation for some inputs, and at the first call its variables.

        Args:
            inputs: a tensor, or a structure of tensors.
            args: further arguments of `call`.
            scope: the variable scope (a name, or a scope) of a layer that has none yet.
            kwargs: further arguments of `call`.

        Raises:
            ValueError: the inputs do not fit `input_spec`.
        """
        self._set_scope(scope)
        inputs = nest.map_structure(_as_tensor, inputs)
        with self._inside() as entered:
            if "scope" in inspect.signature(self.call).parameters:
                kwargs["scope"] = entered
            self._check_inputs(inputs)
            if not self.built:
                self._build_for(inputs)
            return self.call(inputs, *args, **kwargs)

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The same as calling the layer."""
        return self(inputs, *args, **kwargs)

    def _set_scope(self, scope: Any) -> None:
        """Fixes the scope of a layer that stands in none yet."""
        if self._scope is not None:
            return
        if scope is None and self._reuse:  # what is to be shared has the plain name
            scope = self._base_name
        with variable_scope(scope, default_name=self._base_name) as self._scope:
            pass

    @contextmanager
    def _inside(self) -> Generator[VariableScope]:
        """Inside the layer's variable scope and name scope; once it is built its variables are shared."""
        reuse = True if self.built else self._reuse
        assert self._scope is not None
        with (
            variable_scope(self._scope, reuse=reuse, auxiliary_name_scope=False) as scope,
            scopes.name_scope(scope.original_name_scope or None),
        ):
            yield scope

    def _build_for(self, inputs: Any) -> None:
        flat = nest.flatten(inputs)
        if self._dtype is None and flat:
            self._dtype = convert.dtype_of(flat[0])
        self.build(nest.map_structure(_shape_of, inputs))
        self.built = True  # whether or not a subclass's `build` says so

    def _check_inputs(self, inputs: Any) -> None:
        if self.input_spec is None:
            return
        specs, tensors = nest.flatten(self.input_spec), nest.flatten(inputs)
        if len(specs) != len(tensors):
            raise ValueError(
                f"Layer {self._name} expects {len(specs)} inputs, but it received {len(tensors)} input tensors. "
                f"Inputs received: {inputs}"
            )
        for i, (spec, x) in enumerate(zip(specs, tensors)):
            problem = None if spec is None else spec.complaint(x)
            if problem is not None:
                raise ValueError(
                    f"Input {i} of layer {self._name} is incompatible with the layer: {problem} "
                    f"Full shape received: {x.get_shape()}"
                )

    # ------------------------------------------------------------ what belongs to it

    def add_weight(
        self,
        name: str,
        shape: Any,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Callable[[Any], Any] | None = None,
        trainable: bool | None = None,
        constraint: Any = None,
        use_resource: bool | None = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
        partitioner: Any = None,
    ) -> Any:
        """Finds or makes a variable in the layer's scope, as `get_variable` does.

        Args:
            name: its name within the scope.
            shape: its shape.
            dtype: its dtype; the layer's by default, else float32.
            initializer: its initializer; the scope's by default.
            regularizer: a function of the variable; what it gives for a new one is added to `losses`.
            trainable: whether optimizers change it; they do by default, if the layer is trainable.
            constraint: a function that optimizers apply to new values.
            use_resource: whether it is a resource variable.
            synchronization: accepted.
            aggregation: accepted.
            partitioner: a function of shape and dtype that gives the number of parts along each axis.
        """
        self._set_scope(None)
        known = {id(variable) for variable in scopes.get_collection_ref(GraphKeys.GLOBAL_VARIABLES)}
        if trainable is None:
            trainable = synchronization != VariableSynchronization.ON_READ
        with self._inside():
            variable = get_variable(
                name,
                shape,
                dtype or self._dtype or dtypes.float32,
                initializer,
                trainable=trainable and self.trainable,
                partitioner=partitioner,
                use_resource=use_resource,
                constraint=constraint,
                synchronization=synchronization,
                aggregation=aggregation,
            )
        self._track(variable)
        if regularizer is not None and not any(id(part) in known for part in _parts(variable)):
            self._regularize(name, variable, regularizer)
        return variable

    def add_variable(self, *args: Any, **kwargs: Any) -> Any:
        """The same as `add_weight`."""
        return self.add_weight(*args, **kwargs)

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Adds losses to `losses` and to the collection REGULARIZATION_LOSSES.

        Args:
            losses: a scalar tensor, or a list of such.
            inputs: accepted: the inputs that they depend on.
        """
        added = [loss for loss in nest.flatten(losses) if loss is not None]
        self._losses += added
        _collect(added, GraphKeys.REGULARIZATION_LOSSES)

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Adds operations to `updates` and to the collection UPDATE_OPS.

        Args:
            updates: an operation or a tensor, or a list of such.
            inputs: accepted: the inputs that they depend on.
        """
        added: list[Operation | Tensor] = nest.flatten(updates)
        self._updates += added
        _collect(added, GraphKeys.UPDATE_OPS)

    def _regularize(self, name: str, variable: Any, regularizer: Callable[[Any], Any]) -> None:
        with scopes.init_scope(), self._inside(), scopes.name_scope(name + "/Regularizer"):
            self.add_loss(regularizer(variable))

    def _track(self, variable: Any) -> None:
        """Notes a variable, or the parts of a partitioned one, as this layer's."""
        for part in _parts(variable):
            weights = self._trainable_weights if part.trainable else self._non_trainable_weights
            if all(part is not other for other in weights):
                weights.append(part)


def _parts(variable: Any) -> list[Variable]:
    """The variables behind what `get_variable` gave; a custom getter may have given something else."""
    parts: Iterable[Any] = variable if isinstance(variable, PartitionedVariable) else [variable]
    return [part for part in parts if isinstance(part, Variable)]


def _collect(items: Iterable[Any], key: str) -> None:
    """Adds to a collection what is not in it yet."""
    collection = scopes.get_collection_ref(key)
    for item in items:
        if all(item is not other for other in collection):
            collection.append(item)


def _as_tensor(value: Any) -> Any:
    """A tensor for a Python number or an array; everything else as it is."""
    if isinstance(value, (np.ndarray, np.generic, numbers.Number, Variable)):
        return convert.convert_to_tensor(value)
    return value


def _shape_of(value: Any) -> TensorShape | None:
    return value.get_shape() if hasattr(value, "get_shape") else None


def _snake_case(name: str) -> str:
    """`BasicLSTMCell` as `basic_lstm_cell`; a private class's name gets a prefix, as no scope may begin with `_`.

    Variables are named after it, so the two patterns must be exactly TensorFlow's, for `LSTM2Cell` (`lst_m2cell`) too.

    Source of the patterns: TensorFlow 1.15, python/keras/utils/generic_utils.py. Later releases of
    Keras say `lstm2_cell`.
    """
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    return "private" + words if words.startswith("_") else words


def _numbered(base_name: str) -> str:
    """`lstm_cell_1`, `lstm_cell_2`, ...: counted in each graph."""
    found = scopes.get_collection_ref("__layer_counts")
    if not found:
        found.append({})
    found[0][base_name] = found[0].get(base_name, 0) + 1
    return f"{base_name}_{found[0][base_name]}"
