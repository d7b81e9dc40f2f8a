"""Cells made of cells: several one above the other, and wrappers that drop out, add residuals or choose devices.

Source of names, formulas and defaults: TensorFlow 1.15, python/ops/rnn_cell_impl.py and rnn_cell_wrapper_impl.py.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from tahr.core import convert, dtypes, nest, scopes
from tahr.core.graph import Tensor
from tahr.layers.base import Layer
from tahr.layers.rnn_cell import LSTMStateTuple, RNNCell, assert_like_rnncell, sizes_with_batch
from tahr.ops.cropping import slice_
from tahr.ops.elementwise import add, div, floor, multiply
from tahr.ops.joining import concat
from tahr.ops.nn import dropout
from tahr.ops.random import random_uniform
from tahr.variable_scope import variable_scope


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
