"""tf.nn.rnn_cell: one step of a recurrent network, from an input and a state to an output and a new state.

Sizes below: [batch, depth] is an input and [batch, units] a state.

Source of names, formulas and defaults: TensorFlow 1.15, python/ops/rnn_cell_impl.py.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

from tahr.core import convert, dtypes, nest, scopes
from tahr.core.dtypes import DType
from tahr.core.graph import Tensor
from tahr.core.tensor_shapes import TensorShape, dimension_value
from tahr.layers.base import InputSpec, Layer
from tahr.ops import activations, initializers
from tahr.ops.channels import bias_add
from tahr.ops.cropping import slice_
from tahr.ops.elementwise import add, clip_by_value, multiply
from tahr.ops.fills import zeros
from tahr.ops.joining import concat, split
from tahr.ops.linalg import matmul
from tahr.ops.shaping import expand_dims, shape
from tahr.ops.softmax import softmax
from tahr.ops.special import exp, sigmoid, tanh
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
