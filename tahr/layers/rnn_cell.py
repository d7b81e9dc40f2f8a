"""tf.nn.rnn_cell: one step of a recurrent network, from an input and a state to an output and a new state.

Sizes below: [batch, depth] is an input and [batch, units] a state.

Source of names, formulas and defaults: TensorFlow 1.15, python/ops/rnn_cell_impl.py and
rnn_cell_wrapper_impl.py.
"""

from __future__ import annotations

import hashlib
import itertools
import numbers
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tahr.core import convert, dtypes, nest, scopes
from tahr.core.dtypes import DType
from tahr.core.graph import Tensor
from tahr.core.shapes import TensorShape, dimension_value
from tahr.layers.base import InputSpec, Layer
from tahr.ops import activations, initializers
from tahr.ops.channels import bias_add
from tahr.ops.cropping import slice_
from tahr.ops.elementwise import add, clip_by_value, div, floor, multiply
from tahr.ops.joining import concat, split
from tahr.ops.linalg import matmul
from tahr.ops.nn import dropout
from tahr.ops.random import random_uniform
from tahr.ops.shaping import expand_dims, shape
from tahr.ops.softmax import softmax
from tahr.ops.special import exp, sigmoid, tanh
from tahr.ops.structural import zeros
from tahr.variable_scope import fixed_size_partitioner, get_variable_scope, variable_scope

Activation = Callable[[Any], Any]

# The activations that can be given by name.
_ACTIVATIONS: dict[str, Activation] = {
    "elu": activations.elu,
    "exponential": exp,
    "linear": lambda x: x,
    "relu": activations.relu,
    "selu": activations.selu,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "softplus": activations.softplus,
    "softsign": activations.softsign,
    "tanh": tanh,
}


def _activation(given: Any) -> Activation:
    """A function for an activation that may be given as one, as its name, or not at all: tanh.

    Raises:
        ValueError: there is no activation of that name.
    """
    if given is None:
        return tanh
    if callable(given):
        return given
    if given not in _ACTIVATIONS:
        raise ValueError(f"Unknown activation function: {given!r}. Known are {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[given]


# ---------------------------------------------------------------- the base class


def sizes_with_batch(batch_size: Any, size: Any) -> Tensor:
    """The dynamic shape [batch_size, *size].

    Args:
        batch_size: an integer, a Dimension, or an int32 scalar tensor.
        size: an integer, or a TensorShape.
    """
    batch_size = dimension_value(batch_size)
    front = [batch_size] if isinstance(batch_size, numbers.Integral) else expand_dims(batch_size, 0)
    return concat([front, convert.constant(TensorShape(size).as_list(), dtype=dtypes.int32)], 0)


def _zero_state(state_size: Any, batch_size: Any, dtype: Any) -> Any:
    dtype = dtypes.as_dtype(dtype)
    return nest.map_structure(lambda size: zeros(sizes_with_batch(batch_size, size), dtype), state_size)


class RNNCell(Layer):
    """The base class of cells.

    A subclass has the properties `state_size` and `output_size` and the method `call(inputs, state)`, which returns
    the output and the new state. Variables that `call` gets with `get_variable` are the cell's: they are made by its
    first call and shared by later ones.

    Args:
        trainable, name, dtype: as for every `Layer`.
    """

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Takes one step.

        Args:
            inputs: [batch, depth], or a structure of tensors.
            state: the state before, of the structure of `state_size`.
            scope: the variable scope of a cell that has none yet.
            args: further arguments of `call`.
            kwargs: further arguments of `call`.

        Returns:
            The output and the state after.
        """
        outer = get_variable_scope() if scope is None else scope
        with variable_scope(outer, custom_getter=self._get_and_track) as entered:
            inner = None if scope is None else entered
            return super().__call__(inputs, state, *args, scope=inner, **kwargs)

    def _get_and_track(self, getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        variable = getter(*args, **kwargs)
        self._track(variable)
        return variable

    @property
    def state_size(self) -> Any:
        """The sizes of the state without its batch: an integer, a TensorShape, or a structure of such."""
        raise NotImplementedError("Abstract method")

    @property
    def output_size(self) -> Any:
        """The sizes of the output, likewise."""
        raise NotImplementedError("Abstract method")

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """A state of zeros.

        Args:
            batch_size: an integer or an int32 scalar tensor.
            dtype: its dtype.

        Returns:
            A structure like `state_size` of tensors [batch_size, size].
        """
        with scopes.name_scope(type(self).__name__ + "ZeroState", values=[batch_size]):
            return _zero_state(self.state_size, batch_size, dtype)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> Any:
        """The state to begin with: zeros, of the batch size and dtype of `inputs` where those are given.

        Raises:
            ValueError: the batch size or the dtype is not given, or is not that of the inputs.
        """
        if inputs is not None:
            inputs = convert.convert_to_tensor(inputs, name="inputs")
            known = inputs.get_shape().as_list()[0]
            if isinstance(batch_size, int) and known not in (None, batch_size):
                raise ValueError(f"batch size from input tensor is {known}, but batch_size is {batch_size}")
            if dtype is not None and dtypes.as_dtype(dtype) is not inputs.dtype.base_dtype:
                raise ValueError(f"dtype from input tensor is {inputs.dtype.name}, but dtype is {dtype}")
            batch_size = shape(inputs)[0] if known is None else known
            dtype = inputs.dtype
        if batch_size is None or dtype is None:
            raise ValueError(
                "batch_size and dtype cannot be None while constructing initial state: "
                f"batch_size={batch_size}, dtype={dtype}"
            )
        return self.zero_state(batch_size, dtype)


class LayerRNNCell(RNNCell):
    """The base class of cells that make their variables in `build`, as layers do, rather than in `call`."""

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Takes one step; the arguments are `RNNCell.__call__`'s."""
        return Layer.__call__(self, inputs, state, *args, scope=scope, **kwargs)


def _checked_depth(input_shape: Any) -> int:
    """The size of the inputs' last axis.

    Raises:
        ValueError: it is not known.
    """
    depth = TensorShape(input_shape).as_list()[-1]
    if depth is None:
        raise ValueError(f"Expected inputs.shape[-1] to be known, saw shape: {input_shape}")
    return depth


# ---------------------------------------------------------------- cells


class BasicRNNCell(LayerRNNCell):
    """The simplest cell: output = new state = activation([x, state] W + b).

    Args:
        num_units: the size of state and output.
        activation: a function, or its name; tanh by default.
        reuse: whether the variables `kernel` and `bias` must exist (True), or may (AUTO_REUSE).
        name, dtype: as for every `Layer`.
    """

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=2)
        self._num_units = num_units
        self._activation = _activation(activation)

    @property
    def state_size(self) -> int:
        """`num_units`."""
        return self._num_units

    @property
    def output_size(self) -> int:
        """`num_units`."""
        return self._num_units

    def build(self, input_shape: Any) -> None:
        """Makes `kernel` [depth + units, units] and `bias` [units]."""
        depth = _checked_depth(input_shape)
        self._kernel = self.add_weight("kernel", [depth + self._num_units, self._num_units])
        self._bias = self.add_weight("bias", [self._num_units], initializer=initializers.Zeros())
        self.built = True

    def call(self, inputs: Any, state: Any) -> tuple[Tensor, Tensor]:
        """Takes one step."""
        output = self._activation(bias_add(matmul(concat([inputs, state], 1), self._kernel), self._bias))
        return output, output


class GRUCell(LayerRNNCell):
    """The gated recurrent unit.

    With gates r, u = σ([x, h] Wg + bg) and the candidate c = activation([x, r h] Wc + bc), output and new state
    are u h + (1 - u) c.

    Args:
        num_units: the size of state and output.
        activation: a function, or its name; tanh by default.
        reuse: whether the variables must exist (True), or may (AUTO_REUSE).
        kernel_initializer: of both kernels; the scope's by default.
        bias_initializer: of both biases; ones for the gates and zeros for the candidate by default.
        name, dtype: as for every `Layer`.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014).
    """

    def __init__(
        self,
        num_units: int,
        activation: Any = None,
        reuse: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=2)
        self._num_units = num_units
        self._activation = _activation(activation)
        self._kernel_initializer = kernel_initializer
        self._bias_initializer = bias_initializer

    @property
    def state_size(self) -> int:
        """`num_units`."""
        return self._num_units

    @property
    def output_size(self) -> int:
        """`num_units`."""
        return self._num_units

    def build(self, input_shape: Any) -> None:
        """Makes `gates/kernel` [depth + units, 2 units], `candidate/kernel` [depth + units, units], and biases."""
        rows, units = _checked_depth(input_shape) + self._num_units, self._num_units
        kernel, bias = self._kernel_initializer, self._bias_initializer
        self._gate_kernel = self.add_weight("gates/kernel", [rows, 2 * units], initializer=kernel)
        self._gate_bias = self.add_weight(
            "gates/bias", [2 * units], initializer=initializers.Ones() if bias is None else bias
        )
        self._candidate_kernel = self.add_weight("candidate/kernel", [rows, units], initializer=kernel)
        self._candidate_bias = self.add_weight(
            "candidate/bias", [units], initializer=initializers.Zeros() if bias is None else bias
        )
        self.built = True

    def call(self, inputs: Any, state: Any) -> tuple[Tensor, Tensor]:
        """Takes one step."""
        gates = bias_add(matmul(concat([inputs, state], 1), self._gate_kernel), self._gate_bias)
        r, u = split(sigmoid(gates), 2, axis=1)
        candidate = bias_add(
            matmul(concat([inputs, r * state], 1), self._candidate_kernel), self._candidate_bias
        )
        new_state = u * state + (1 - u) * self._activation(candidate)
        return new_state, new_state


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM: the cell's memory `c` and its output `h`."""

    c: Any
    h: Any

    @property
    def dtype(self) -> DType:
        """The dtype of both.

        Raises:
            TypeError: they differ.
        """
        if self.c.dtype != self.h.dtype:
            raise TypeError(f"Inconsistent internal state: {self.c.dtype} vs {self.h.dtype}")
        return self.c.dtype


class BasicLSTMCell(LayerRNNCell):
    """The long short-term memory without peepholes.

    With i, j, f, o = [x, h] W + b the memory becomes σ(f + forget_bias) c + σ(i) activation(j), and the output
    σ(o) activation(c).

    Args:
        num_units: the size of memory and output.
        forget_bias: added to the forget gate, so that it begins open.
        state_is_tuple: whether the state is an `LSTMStateTuple`; otherwise one tensor [batch, 2 units].
        activation: a function, or its name; tanh by default.
        reuse: whether the variables `kernel` and `bias` must exist (True), or may (AUTO_REUSE).
        name, dtype: as for every `Layer`.

    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997); Zaremba et al., "Recurrent Neural
    Network Regularization" (2014).
    """

    def __init__(
        self,
        num_units: int,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=2)
        self._num_units = num_units
        self._forget_bias = forget_bias
        self._state_is_tuple = state_is_tuple
        self._activation = _activation(activation)

    @property
    def state_size(self) -> Any:
        """`num_units` for c and h, or twice that for both together."""
        units = self._num_units
        return LSTMStateTuple(units, units) if self._state_is_tuple else 2 * units

    @property
    def output_size(self) -> int:
        """`num_units`."""
        return self._num_units

    def build(self, input_shape: Any) -> None:
        """Makes `kernel` [depth + units, 4 units] and `bias` [4 units]."""
        units = self._num_units
        self._kernel = self.add_weight("kernel", [_checked_depth(input_shape) + units, 4 * units])
        self._bias = self.add_weight("bias", [4 * units], initializer=initializers.Zeros())
        self.built = True

    def call(self, inputs: Any, state: Any) -> tuple[Tensor, Any]:
        """Takes one step."""
        c, h = state if self._state_is_tuple else split(state, 2, axis=1)
        gates = bias_add(matmul(concat([inputs, h], 1), self._kernel), self._bias)
        i, j, f, o = split(gates, 4, axis=1)
        kept = multiply(c, sigmoid(add(f, self._forget_bias)))
        new_c = add(kept, multiply(sigmoid(i), self._activation(j)))
        new_h = multiply(self._activation(new_c), sigmoid(o))
        return new_h, LSTMStateTuple(new_c, new_h) if self._state_is_tuple else concat([new_c, new_h], 1)


class LSTMCell(LayerRNNCell):
    """The long short-term memory with what was added to it: peepholes, clipping, and a projection.

    Args:
        num_units: the size of the memory.
        use_peepholes: whether the gates see the memory, through the vectors `w_f_diag`, `w_i_diag` and `w_o_diag`.
        cell_clip: the memory is clipped to [-cell_clip, cell_clip] before it reaches the output.
        initializer: of the weights and the projection; the scope's by default.
        num_proj: the size of the output, which is then projected by `projection/kernel`.
        proj_clip: the projected output is clipped to [-proj_clip, proj_clip].
        num_unit_shards: the older way to say in how many parts the variables are.
        num_proj_shards: the same for the projection.
        forget_bias: added to the forget gate, so that it begins open.
        state_is_tuple: whether the state is an `LSTMStateTuple`; otherwise one tensor.
        activation: a function, or its name; tanh by default.
        reuse: whether the variables must exist (True), or may (AUTO_REUSE).
        name, dtype: as for every `Layer`.

    Source: Sak et al., "Long Short-Term Memory Recurrent Neural Network Architectures for Large Scale Acoustic
    Modeling" (2014).
    """

    def __init__(
        self,
        num_units: int,
        use_peepholes: bool = False,
        cell_clip: float | None = None,
        initializer: Any = None,
        num_proj: int | None = None,
        proj_clip: float | None = None,
        num_unit_shards: int | None = None,
        num_proj_shards: int | None = None,
        forget_bias: float = 1.0,
        state_is_tuple: bool = True,
        activation: Any = None,
        reuse: Any = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(_reuse=reuse, name=name, dtype=dtype, **kwargs)
        self.input_spec = InputSpec(ndim=2)
        self._num_units = num_units
        self._use_peepholes = use_peepholes
        self._cell_clip = cell_clip
        self._initializer = initializer
        self._num_proj = num_proj
        self._proj_clip = proj_clip
        self._num_unit_shards = num_unit_shards
        self._num_proj_shards = num_proj_shards
        self._forget_bias = forget_bias
        self._state_is_tuple = state_is_tuple
        self._activation = _activation(activation)

    @property
    def state_size(self) -> Any:
        """The sizes of c and h, or their sum for both together."""
        if self._state_is_tuple:
            return LSTMStateTuple(self._num_units, self.output_size)
        return self._num_units + self.output_size

    @property
    def output_size(self) -> int:
        """`num_proj`, or `num_units` without a projection."""
        return self._num_proj or self._num_units

    def build(self, input_shape: Any) -> None:
        """Makes `kernel` [depth + output, 4 units], `bias` [4 units], and what the options ask for."""
        units, output = self._num_units, self.output_size
        self._kernel = self.add_weight(
            "kernel",
            [_checked_depth(input_shape) + output, 4 * units],
            initializer=self._initializer,
            partitioner=_parts(self._num_unit_shards),
        )
        self._bias = self.add_weight("bias", [4 * units], initializer=initializers.Zeros())
        if self._use_peepholes:
            self._w_f_diag, self._w_i_diag, self._w_o_diag = (
                self.add_weight(name, [units], initializer=self._initializer)
                for name in ("w_f_diag", "w_i_diag", "w_o_diag")
            )
        if self._num_proj is not None:
            self._proj_kernel = self.add_weight(
                "projection/kernel",
                [units, output],
                initializer=self._initializer,
                partitioner=_parts(self._num_proj_shards),
            )
        self.built = True

    def call(self, inputs: Any, state: Any) -> tuple[Tensor, Any]:
        """Takes one step."""
        c, h = state if self._state_is_tuple else self._cut(state)
        gates = bias_add(matmul(concat([inputs, h], 1), self._kernel), self._bias)
        i, j, f, o = split(gates, 4, axis=1)
        f = f + self._forget_bias
        if self._use_peepholes:
            f, i = f + self._w_f_diag * c, i + self._w_i_diag * c
        new_c = _clipped(sigmoid(f) * c + sigmoid(i) * self._activation(j), self._cell_clip)
        if self._use_peepholes:
            o = o + self._w_o_diag * new_c
        new_h = sigmoid(o) * self._activation(new_c)
        if self._num_proj is not None:
            new_h = _clipped(matmul(new_h, self._proj_kernel), self._proj_clip)
        return new_h, LSTMStateTuple(new_c, new_h) if self._state_is_tuple else concat([new_c, new_h], 1)

    def _cut(self, state: Any) -> tuple[Tensor, Tensor]:
        units = self._num_units
        return slice_(state, [0, 0], [-1, units]), slice_(state, [0, units], [-1, self.output_size])


def _parts(count: int | None) -> Any:
    return None if count is None else fixed_size_partitioner(count)


def _clipped(x: Any, limit: float | None) -> Any:
    return x if limit is None else clip_by_value(x, -limit, limit)


# ---------------------------------------------------------------- cells made of cells


def assert_like_rnncell(cell_name: str, cell: Any) -> None:
    """Checks that an object has what a cell needs.

    Raises:
        TypeError: it has not.
    """
    conditions = [
        (hasattr(cell, "output_size"), "'output_size' property is missing"),
        (hasattr(cell, "state_size"), "'state_size' property is missing"),
        (
            hasattr(cell, "zero_state") or hasattr(cell, "get_initial_state"),
            "either 'zero_state' or 'get_initial_state' method is required",
        ),
        (callable(cell), "is not callable"),
    ]
    problems = [problem for holds, problem in conditions if not holds]
    if problems:
        raise TypeError(f"The argument {cell_name!r} ({cell}) is not an RNNCell: {', '.join(problems)}.")


class MultiRNNCell(RNNCell):
    """Cells one above the other: the output of each is the next one's input.

    Args:
        cells: the cells, the first of which gets the input; their variables are in `cell_0`, `cell_1`, ...
        state_is_tuple: whether the state is the tuple of their states; otherwise these are joined along their last
            axis.

    Raises:
        ValueError: there are no cells, or states that are tuples shall be joined.
        TypeError: `cells` is no list or tuple, or there is something else than cells in it.
    """

    def __init__(self, cells: Any, state_is_tuple: bool = True) -> None:
        super().__init__()
        if not cells:
            raise ValueError("Must specify at least one cell for MultiRNNCell.")
        if not isinstance(cells, (list, tuple)):
            raise TypeError(f"cells must be a list or tuple, but received: {cells}.")
        for i, cell in enumerate(cells):
            assert_like_rnncell(f"cells[{i}]", cell)
        self._cells: list[Any] = list(cells)
        self._state_is_tuple = state_is_tuple
        sizes = [cell.state_size for cell in self._cells]
        if not state_is_tuple and any(nest.is_sequence(size) for size in sizes):
            raise ValueError(
                "Some cells return tuples of states, but the flag state_is_tuple is not set. "
                f"State sizes are: {sizes}"
            )

    @property
    def state_size(self) -> Any:
        """The tuple of the cells' sizes, or their sum."""
        sizes = tuple(cell.state_size for cell in self._cells)
        return sizes if self._state_is_tuple else sum(sizes)

    @property
    def output_size(self) -> Any:
        """The last cell's output size."""
        return self._cells[-1].output_size

    @property
    def trainable_weights(self) -> list[Any]:
        """The cells' variables that are trained."""
        return self._weights_of_cells("trainable_weights") if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The cells' variables that are not trained."""
        frozen = [] if self.trainable else self._weights_of_cells("trainable_weights")
        return frozen + self._weights_of_cells("non_trainable_weights")

    def _weights_of_cells(self, kind: str) -> list[Any]:
        return [weight for cell in self._cells if isinstance(cell, Layer) for weight in getattr(cell, kind)]

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The cells' states of zeros; see `RNNCell.zero_state`."""
        if not self._state_is_tuple:
            return super().zero_state(batch_size, dtype)
        with scopes.name_scope(type(self).__name__ + "ZeroState", values=[batch_size]):
            return tuple(cell.zero_state(batch_size, dtype) for cell in self._cells)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Takes one step with all cells."""
        if self._state_is_tuple and (not nest.is_sequence(state) or len(state) != len(self._cells)):
            raise ValueError(
                f"Expected state to be a tuple of length {len(self._cells)}, but received: {state}"
            )
        states: Any = state if self._state_is_tuple else self._cut(state)
        new_states: list[Any] = []
        for i, (cell, cell_state) in enumerate(zip(self._cells, states)):
            with variable_scope(f"cell_{i}"):
                inputs, new_state = cell(inputs, cell_state)
                new_states.append(new_state)
        return inputs, tuple(new_states) if self._state_is_tuple else concat(new_states, 1)

    def _cut(self, state: Tensor) -> list[Tensor]:
        sizes = [cell.state_size for cell in self._cells]
        starts = itertools.accumulate(sizes[:-1], initial=0)
        return [slice_(state, [0, start], [-1, size]) for start, size in zip(starts, sizes)]


class _Wrapper(RNNCell):
    """A cell around a cell: it has no variable scope and no variables of its own."""

    def __init__(self, cell: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert_like_rnncell("cell", cell)
        self.cell = cell

    @property
    def wrapped_cell(self) -> Any:
        """The cell inside."""
        return self.cell

    @property
    def state_size(self) -> Any:
        """The cell's."""
        return self.cell.state_size

    @property
    def output_size(self) -> Any:
        """The cell's."""
        return self.cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The cell's state of zeros."""
        with scopes.name_scope(type(self).__name__ + "ZeroState", values=[batch_size]):
            return self.cell.zero_state(batch_size, dtype)

    def __call__(self, inputs: Any, state: Any, scope: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Takes one step; the arguments are `RNNCell.__call__`'s."""
        if scope is not None:
            kwargs["scope"] = scope
        return self._wrapped_call(inputs, state, *args, **kwargs)

    def _wrapped_call(self, inputs: Any, state: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        raise NotImplementedError


def _drops_all_but_memory(substate: Any) -> Any:
    """Which parts of a state `DropoutWrapper` changes by default: not the memory of an LSTM, nor TensorArrays.

    Source: Semeniuta et al., "Recurrent Dropout without Memory Loss" (2016).
    """
    if isinstance(substate, LSTMStateTuple):
        return LSTMStateTuple(c=False, h=True)
    return not hasattr(substate, "flow")


class DropoutWrapper(_Wrapper):
    """A cell with dropout of its inputs, outputs and state.

    Args:
        cell: the cell.
        input_keep_prob: the probability that an element of the input stays; a number or a scalar tensor.
        output_keep_prob: the same for the output.
        state_keep_prob: the same for the state that goes on to the next step.
        variational_recurrent: whether all steps of one run drop the same elements; the batch, too, shares them.
        input_size: the sizes of the inputs without their batch; needed by variational dropout of inputs.
        dtype: the dtype of what is dropped; needed by variational dropout.
        seed: the random seed; every tensor derives its own from it.
        dropout_state_filter_visitor: a function of a part of the state: True or False for all of it, or such for each
            of its parts. By default the memory of an LSTM is spared.

    Raises:
        TypeError: `cell` is no cell, or the visitor is not callable.
        ValueError: a probability is not in [0, 1], or what variational dropout needs is missing.

    Source: Zaremba et al. (2014); variational: Gal and Ghahramani, "A Theoretically Grounded Application of Dropout
    in Recurrent Neural Networks" (2016).
    """

    def __init__(
        self,
        cell: Any,
        input_keep_prob: Any = 1.0,
        output_keep_prob: Any = 1.0,
        state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False,
        input_size: Any = None,
        dtype: Any = None,
        seed: int | None = None,
        dropout_state_filter_visitor: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, dtype=dtype, **kwargs)
        if dropout_state_filter_visitor is not None and not callable(dropout_state_filter_visitor):
            raise TypeError("dropout_state_filter_visitor must be callable")
        self._state_filter = dropout_state_filter_visitor or _drops_all_but_memory
        with scopes.name_scope("DropoutWrapperInit"):
            self._input_keep_prob = _probability(input_keep_prob, "input_keep_prob")
            self._output_keep_prob = _probability(output_keep_prob, "output_keep_prob")
            self._state_keep_prob = _probability(state_keep_prob, "state_keep_prob")
        self._seed = seed
        self._variational_recurrent = variational_recurrent
        self._input_noise: Any = None
        self._state_noise: Any = None
        self._output_noise: Any = None
        if variational_recurrent:
            self._make_noise(input_size)

    def _make_noise(self, input_size: Any) -> None:
        if self._dtype is None:
            raise ValueError("When variational_recurrent=True, dtype must be provided")
        if _drops(self._input_keep_prob):
            if input_size is None:
                raise ValueError(
                    "When variational_recurrent=True and input_keep_prob < 1.0 or is unknown, "
                    "input_size must be provided"
                )
            self._input_noise = self._noise("input", input_size)
        self._state_noise = self._noise("state", self.cell.state_size)
        self._output_noise = self._noise("output", self.cell.output_size)

    def _noise(self, salt: str, sizes: Any) -> Any:
        """Uniform noise [1, *size] for each of a structure of sizes."""
        count = itertools.count()
        return nest.map_structure(
            lambda size: random_uniform(
                sizes_with_batch(1, size),
                dtype=self._dtype or dtypes.float32,
                seed=self._seed_of(salt, next(count)),
            ),
            sizes,
        )

    def _seed_of(self, salt: str, index: int) -> int | None:
        """The seed of one tensor, as TensorFlow derives it: so runs of one program drop the same elements."""
        if self._seed is None:
            return None
        text = f"{self._seed}{salt}_{index}"
        return int(hashlib.md5(text.encode()).hexdigest()[:8], 16) & 0x7FFFFFFF

    def _wrapped_call(self, inputs: Any, state: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if _drops(self._input_keep_prob):
            inputs = self._dropout(inputs, "input", self._input_noise, self._input_keep_prob, _everything)
        output, new_state = self.cell(inputs, state, *args, **kwargs)
        if _drops(self._state_keep_prob):
            new_state = self._dropout(
                new_state, "state", self._state_noise, self._state_keep_prob, self._state_filter
            )
        if _drops(self._output_keep_prob):
            output = self._dropout(output, "output", self._output_noise, self._output_keep_prob, _everything)
        return output, new_state

    def _dropout(
        self, values: Any, salt: str, noise: Any, keep_prob: Any, wanted: Callable[[Any], Any]
    ) -> Any:
        """Drops elements of those parts of a structure that are wanted; the others count as one part each."""
        count = itertools.count()

        def one(value: Any, noise: Any) -> Tensor:
            if self._variational_recurrent:
                next(count)
                return _dropped_by(noise, value, keep_prob)
            return dropout(value, keep_prob=keep_prob, seed=self._seed_of(salt, next(count)))

        def visit(value: Any, noise: Any) -> Any:
            answer = wanted(value)
            if not nest.is_sequence(value):
                return one(value, noise) if answer else _skipped(value, count)
            if answer is False:
                return _skipped(value, count)
            parts = _parts_of(value)
            noises = _parts_of(noise) if self._variational_recurrent else [None] * len(parts)
            answers = [True] * len(parts) if answer is True else _parts_of(answer)
            new = [
                visit(p, n) if a else _skipped(p, count)
                for p, n, a in zip(parts, noises, answers, strict=True)
            ]
            return _with_parts(value, new)

        return visit(values, noise)


def _everything(_: Any) -> bool:
    return True


def _skipped(value: Any, count: Iterator[int]) -> Any:
    next(count)
    return value


def _parts_of(value: Any) -> list[Any]:
    """The direct parts of a structure; a dict's in the order of its sorted keys."""
    return [value[key] for key in sorted(value)] if isinstance(value, dict) else list(value)


def _with_parts(value: Any, parts: list[Any]) -> Any:
    """A structure like `value` with other parts."""
    if isinstance(value, dict):
        return type(value)(zip(sorted(value), parts))
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _probability(value: Any, name: str) -> Any:
    """A probability as a float where it is known, else as a tensor."""
    tensor = convert.convert_to_tensor(value)
    known = convert.constant_value(tensor)
    if known is None:
        return tensor
    if not 0 <= known <= 1:
        raise ValueError(f"Parameter {name} must be between 0 and 1. Received {float(known):g}")
    return float(known)


def _drops(keep_prob: Any) -> bool:
    return not isinstance(keep_prob, float) or keep_prob < 1


def _dropped_by(noise: Tensor, value: Tensor, keep_prob: Any) -> Tensor:
    """Dropout by given noise."""
    kept = multiply(div(value, keep_prob), floor(keep_prob + noise))
    kept.set_shape(value.get_shape())
    return kept


class ResidualWrapper(_Wrapper):
    """A cell whose inputs are added to its outputs.

    Args:
        cell: the cell.
        residual_fn: a function of inputs and outputs to use instead of the sum.

    Raises:
        TypeError: `cell` is no cell.
    """

    def __init__(
        self, cell: Any, residual_fn: Callable[[Any, Any], Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cell, **kwargs)
        self._residual_fn = residual_fn

    def _wrapped_call(self, inputs: Any, state: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        outputs, new_state = self.cell(inputs, state, *args, **kwargs)
        return (self._residual_fn or _residual_sum)(inputs, outputs), new_state


def _residual_sum(inputs: Any, outputs: Any) -> Any:
    """The sums of inputs and outputs, which must have equal shapes: nothing is broadcast."""
    nest.assert_same_structure(inputs, outputs)
    for x, y in zip(nest.flatten(inputs), nest.flatten(outputs)):
        x.get_shape().assert_is_compatible_with(y.get_shape())
    return nest.map_structure(add, inputs, outputs)


class DeviceWrapper(_Wrapper):
    """A cell whose operations are noted for a device.

    Args:
        cell: the cell.
        device: the device's name, or a function of an operation.
    """

    def __init__(self, cell: Any, device: Any, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self._device = device

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """The cell's state of zeros, on the device."""
        with (
            scopes.name_scope(type(self).__name__ + "ZeroState", values=[batch_size]),
            scopes.device(self._device),
        ):
            return self.cell.zero_state(batch_size, dtype)

    def _wrapped_call(self, inputs: Any, state: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        with scopes.device(self._device):
            return self.cell(inputs, state, *args, **kwargs)
