"""Recurrent networks: a cell taken from step to step over sequences.

Sizes below: inputs are [batch, time, depth] (or [time, batch, depth]), outputs the same with the cell's output size.

Source of names, defaults and rules: TensorFlow 1.15, python/ops/rnn.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tahr.core import convert, dtypes, nest, scopes
from tahr.core.dtypes import DType
from tahr.core.graph import Tensor
from tahr.core.tensor_shapes import TensorShape
from tahr.layers.rnn_cell import assert_like_rnncell, sizes_with_batch
from tahr.ops import control_flow, logic, reductions
from tahr.ops.assertions import assert_
from tahr.ops.casts import to_int32
from tahr.ops.elementwise import maximum, minimum
from tahr.ops.fills import zeros
from tahr.ops.identities import identity
from tahr.ops.joining import concat, stack
from tahr.ops.sequences import reverse_sequence
from tahr.ops.shaping import shape
from tahr.ops.tensor_array import TensorArray
from tahr.ops.transposing import reverse, transpose
from tahr.variable_scope import get_variable_scope, variable_scope

# ---------------------------------------------------------------- what all of them need


def _initial_state(cell: Any, state: Any, batch_size: Any, dtype: Any) -> Any:
    """The given state, or the cell's zeros.

    Raises:
        ValueError: neither a state nor a dtype is given.
    """
    if state is not None:
        return nest.map_structure(_as_value, state)
    if dtype is None:
        raise ValueError("If there is no initial_state, you must give a dtype.")
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(inputs=None, batch_size=batch_size, dtype=dtype)
    return cell.zero_state(batch_size, dtype)


def _as_value(value: Any) -> Any:
    """A tensor, or a TensorArray as it is."""
    return value if hasattr(value, "flow") else convert.convert_to_tensor(value)


def _common_dtype(dtype: Any, state: Any) -> DType:
    """The dtype of the outputs: the given one, or else that of all parts of the state.

    Raises:
        ValueError: the state is empty, or its parts differ.
    """
    if dtype is not None:
        return dtypes.as_dtype(dtype)
    found: list[DType] = [part.dtype.base_dtype for part in nest.flatten(state)]
    if not found:
        raise ValueError("Unable to infer dtype from empty state.")
    if any(other is not found[0] for other in found):
        raise ValueError(
            "State has tensors of different inferred dtypes. "
            f"Unable to infer a single representative dtype: {[dtype.name for dtype in found]}"
        )
    return found[0]


def _common_size(tensors: Sequence[Tensor], axis: int, complaint: str) -> int | None:
    """The static size that tensors share along an axis, as far as one of them knows it.

    Raises:
        ValueError: they differ, with `complaint` as its text.
    """
    known = {size for x in tensors if (size := x.get_shape().as_list()[axis]) is not None}
    if len(known) > 1:
        raise ValueError(f"{complaint}: {sorted(known)}")
    return known.pop() if known else None


def _batch_size(inputs: Sequence[Tensor], axis: int) -> int | Tensor:
    """The number of sequences, which lie along an axis of all inputs: an integer where one of them knows it.

    Raises:
        ValueError: the inputs differ in it.
    """
    known = _common_size(inputs, axis, "Batch_size is not the same for all the elements in the input")
    return shape(inputs[0])[axis] if known is None else known


_DIFFERENT_TIMES = "Time steps is not the same for all the elements in the input in a batch"


def _copy_through(finished: Tensor, old: Any, new: Any) -> Any:
    """The old rows of the sequences that are finished and the new ones of the others.

    TensorArrays and scalars belong to no sequence: they are always new.

    Args:
        finished: [batch], bool.
        old: [batch, ...].
        new: [batch, ...].
    """
    if hasattr(new, "flow") or new.get_shape().ndims == 0:
        return new
    return logic.select(finished, old, new)


def _masked_step(cell: Any, x: Any, state: Any, zero_output: Any, finished: Tensor | None) -> tuple[Any, Any]:
    """One step, in which finished sequences put out zeros and keep their state."""
    output, new_state = cell(x, state)
    nest.assert_same_structure(zero_output, output)
    nest.assert_same_structure(state, new_state)
    if finished is not None:
        rows: Tensor = finished
        output = nest.map_structure(lambda old, new: _copy_through(rows, old, new), zero_output, output)
        new_state = nest.map_structure(lambda old, new: _copy_through(rows, old, new), state, new_state)
    for old, new in zip(nest.flatten(state), nest.flatten(new_state)):
        if hasattr(new, "set_shape"):
            new.set_shape(old.get_shape())
    return output, new_state


def _as_lengths(sequence_length: Any) -> Tensor:
    """Lengths as an int32 vector.

    Raises:
        ValueError: they are no vector.
    """
    lengths = to_int32(sequence_length)
    if lengths.get_shape().ndims not in (None, 1):
        raise ValueError(
            f"sequence_length must be a vector of length batch_size, but saw shape: {lengths.get_shape()}"
        )
    return identity(lengths, name="sequence_length")


def _transpose_batch_time(x: Tensor) -> Tensor:
    """[batch, time, ...] as [time, batch, ...], or the other way round."""
    rank = x.get_shape().ndims
    return transpose(x, [1, 0, *range(2, rank or 0)])


# ---------------------------------------------------------------- dynamic_rnn


def dynamic_rnn(
    cell: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """Takes a cell over sequences of any length, in a loop.

    Args:
        cell: an RNNCell.
        inputs: [batch, time, ...], or a structure of such; the sizes behind time must be known.
        sequence_length: int32 [batch]: beyond its length a sequence puts out zeros and keeps its state.
        initial_state: the state to begin with; zeros by default.
        dtype: the dtype of initial state and outputs; needed without `initial_state`.
        parallel_iterations: accepted.
        swap_memory: accepted.
        time_major: whether inputs and outputs are [time, batch, ...], which saves two transpositions.
        scope: the variable scope, "rnn" by default.

    Returns:
        The outputs [batch, time, output_size], or a structure of such, and the state after the last step.

    Raises:
        TypeError: `cell` is no cell.
        ValueError: a size is not known, sizes do not fit, or the dtype is missing.
        InvalidArgumentError: when run: there is not one length for each sequence.
    """
    assert_like_rnncell("cell", cell)
    with variable_scope(scope or "rnn"):
        flat = [_checked_sequences(x) for x in nest.flatten(inputs)]
        if not time_major:
            flat = [_transpose_batch_time(x) for x in flat]
        lengths = None if sequence_length is None else _as_lengths(sequence_length)
        batch_size = _batch_size(flat, 1)
        state = _initial_state(cell, initial_state, batch_size, dtype)
        if lengths is not None:
            lengths = _with_checked_size(lengths, batch_size)
        outputs, state = _dynamic_loop(
            cell,
            nest.pack_sequence_as(inputs, flat),
            state,
            batch_size,
            lengths,
            _common_dtype(dtype, state),
            parallel_iterations or 32,
            swap_memory,
        )
        if not time_major:
            outputs = nest.map_structure(_transpose_batch_time, outputs)
        return outputs, state


def _checked_sequences(x: Any) -> Tensor:
    """Sequences as a tensor of a known rank, at least 3, and known sizes behind batch and time."""
    x = convert.convert_to_tensor(x)
    sizes = None if x.get_shape().ndims is None else x.get_shape().with_rank_at_least(3).as_list()
    if sizes is None or None in sizes[2:]:
        raise ValueError(
            "Input size (depth of inputs) must be accessible via shape inference, "
            f"but saw value None for input={x}."
        )
    return x


def _with_checked_size(lengths: Tensor, batch_size: Any) -> Tensor:
    """The lengths, behind a check that there are as many as sequences."""
    expected = stack([batch_size])
    found = shape(lengths)
    message = [f"Expected shape for Tensor {lengths.name} is ", expected, " but saw shape: ", found]
    check = assert_(reductions.reduce_all(logic.equal(found, expected)), message)
    with scopes.control_dependencies([check]):
        return identity(lengths, name="CheckSeqLen")


def _dynamic_loop(
    cell: Any,
    inputs: Any,
    state: Any,
    batch_size: Any,
    lengths: Tensor | None,
    dtype: DType,
    parallel_iterations: int,
    swap_memory: bool,
) -> tuple[Any, Any]:
    """The loop itself, over inputs [time, batch, ...]."""
    flat = nest.flatten(inputs)
    times = _common_size(flat, 0, _DIFFERENT_TIMES)
    time_steps = shape(flat[0])[0]
    batch = batch_size if isinstance(batch_size, int) else None
    output_sizes = [TensorShape([batch]).concatenate(size) for size in nest.flatten(cell.output_size)]
    if lengths is None:
        zero_output, last = cell.output_size, time_steps
    else:
        zero_output = nest.map_structure(
            lambda size: zeros(sizes_with_batch(batch_size, size), dtype), cell.output_size
        )
        # At least one step is made: it is what tells the outputs' sizes.
        last = minimum(time_steps, maximum(1, reductions.reduce_max(lengths)))
    with scopes.name_scope("dynamic_rnn"):
        rows = [TensorArray(x.dtype.base_dtype, size=time_steps).unstack(x) for x in flat]
        written = [TensorArray(dtype, size=time_steps, element_shape=size) for size in output_sizes]
    time = convert.constant(0, dtype=dtypes.int32, name="time")

    def step(time: Tensor, written: Any, state: Any) -> tuple[Tensor, Any, Any]:
        x = nest.pack_sequence_as(inputs, [row.read(time) for row in rows])
        for part, whole in zip(nest.flatten(x), flat):
            part.set_shape(whole.get_shape()[1:])
        finished = None if lengths is None else logic.greater_equal(time, lengths)
        output, state = _masked_step(cell, x, state, zero_output, finished)
        written = tuple(array.write(time, y) for array, y in zip(written, nest.flatten(output)))
        return time + 1, written, state

    _, written, state = control_flow.while_loop(
        lambda time, *_: logic.less(time, last),
        step,
        (time, tuple(written), state),
        parallel_iterations=parallel_iterations,
        swap_memory=swap_memory,
    )
    outputs = [array.stack() for array in written]
    for y, size in zip(outputs, output_sizes):
        y.set_shape(TensorShape([times]).concatenate(size))
    return nest.pack_sequence_as(cell.output_size, outputs), state


# ---------------------------------------------------------------- static_rnn


def static_rnn(
    cell: Any,
    inputs: Any,
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """Takes a cell over sequences of a fixed length, each step with operations of its own.

    Unlike TensorFlow, which leaves out steps at which every sequence is finished, it computes them and drops
    the results.

    Args:
        cell: an RNNCell.
        inputs: a list with one tensor [batch, ...], or a structure of such, for each step.
        initial_state: the state to begin with; zeros by default.
        dtype: the dtype of initial state and outputs; needed without `initial_state`.
        sequence_length: int32 [batch]: beyond its length a sequence puts out zeros and keeps its state.
        scope: the variable scope, "rnn" by default.

    Returns:
        The list of outputs [batch, output_size], and the state after the last step.

    Raises:
        TypeError: `cell` is no cell, or `inputs` no list.
        ValueError: there are no inputs, a size is not known, sizes do not fit, or the dtype is missing.
    """
    assert_like_rnncell("cell", cell)
    if not nest.is_sequence(inputs):
        raise TypeError(f"Argument `inputs` must be a sequence. Received: {inputs}")
    if not inputs:
        raise ValueError("Argument `inputs` must not be empty.")
    with variable_scope(scope or "rnn"):
        flat = [_checked_step(x) for x in nest.flatten(inputs)]
        steps = nest.pack_sequence_as(inputs, flat)
        batch_size = _batch_size(flat, 0)
        state = _initial_state(cell, initial_state, batch_size, dtype)
        lengths, zero_output = None, cell.output_size
        if sequence_length is not None:
            lengths = _as_lengths(sequence_length)
            zeros_dtype = _common_dtype(dtype, state)
            zero_output = nest.map_structure(
                lambda size: zeros(sizes_with_batch(batch_size, size), zeros_dtype), cell.output_size
            )
        outputs: list[Any] = []
        for time, x in enumerate(steps):
            if time > 0:
                get_variable_scope().reuse_variables()
            finished = None if lengths is None else logic.greater_equal(time, lengths)
            output, state = _masked_step(cell, x, state, zero_output, finished)
            outputs.append(output)
        return outputs, state


def _checked_step(x: Any) -> Tensor:
    """One step's inputs as a tensor of a known rank, at least 1, and known sizes behind the batch."""
    x = convert.convert_to_tensor(x)
    for axis, size in enumerate(x.get_shape().with_rank_at_least(1).as_list()[1:]):
        if size is None:
            raise ValueError(
                f"Input size (dimension {axis} of input {x}) must be accessible via shape inference, "
                "but saw value None."
            )
    return x


# ---------------------------------------------------------------- both directions


def bidirectional_dynamic_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """`dynamic_rnn` twice: one cell reads the sequences forwards, another one backwards.

    Args:
        cell_fw: the cell that reads forwards; its variables are in "fw".
        cell_bw: the cell that reads backwards; its variables are in "bw".
        inputs: [batch, time, ...], or a structure of such.
        sequence_length: int32 [batch]; a sequence is reversed up to its length.
        initial_state_fw: the state in which `cell_fw` begins; zeros by default.
        initial_state_bw: the state in which `cell_bw` begins.
        dtype: the dtype of initial states and outputs; needed without initial states.
        parallel_iterations: accepted.
        swap_memory: accepted.
        time_major: whether inputs and outputs are [time, batch, ...].
        scope: the variable scope, "bidirectional_rnn" by default.

    Returns:
        The pair of outputs, both in the order of the inputs, and the pair of final states.

    Raises:
        TypeError, ValueError: as `dynamic_rnn`.
    """
    assert_like_rnncell("cell_fw", cell_fw)
    assert_like_rnncell("cell_bw", cell_bw)
    time_axis, batch_axis = (0, 1) if time_major else (1, 0)

    def reversed_(sequences: Any) -> Any:
        return nest.map_structure(
            lambda x: _reverse_time(x, sequence_length, time_axis, batch_axis), sequences
        )

    def run(cell: Any, sequences: Any, state: Any, inner: Any) -> tuple[Any, Any]:
        return dynamic_rnn(
            cell,
            sequences,
            sequence_length,
            state,
            dtype,
            parallel_iterations,
            swap_memory,
            time_major,
            inner,
        )

    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as inner:
            output_fw, state_fw = run(cell_fw, inputs, initial_state_fw, inner)
        with variable_scope("bw") as inner:
            output_bw, state_bw = run(cell_bw, reversed_(inputs), initial_state_bw, inner)
    return (output_fw, reversed_(output_bw)), (state_fw, state_bw)


def _reverse_time(x: Any, lengths: Any, time_axis: int, batch_axis: int) -> Tensor:
    """Sequences reversed, each up to its length."""
    if lengths is None:
        return reverse(x, [time_axis])
    return reverse_sequence(x, lengths, seq_axis=time_axis, batch_axis=batch_axis)


def static_bidirectional_rnn(
    cell_fw: Any,
    cell_bw: Any,
    inputs: Any,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any, Any]:
    """`static_rnn` twice: one cell reads the sequences forwards, another one backwards.

    Args:
        cell_fw: the cell that reads forwards; its variables are in "fw".
        cell_bw: the cell that reads backwards; its variables are in "bw".
        inputs: a list with one tensor [batch, ...], or a structure of such, for each step.
        initial_state_fw: the state in which `cell_fw` begins; zeros by default.
        initial_state_bw: the state in which `cell_bw` begins.
        dtype: the dtype of initial states and outputs; needed without initial states.
        sequence_length: int32 [batch]; a sequence is reversed up to its length.
        scope: the variable scope, "bidirectional_rnn" by default.

    Returns:
        For each step the two outputs joined, [batch, output_size of both]; the forward and the backward
        state after the last step.

    Raises:
        TypeError, ValueError: as `static_rnn`.
    """
    assert_like_rnncell("cell_fw", cell_fw)
    assert_like_rnncell("cell_bw", cell_bw)
    if not nest.is_sequence(inputs):
        raise TypeError(f"Argument `inputs` must be a sequence. Received: {inputs}")
    if not inputs:
        raise ValueError("Argument `inputs` must not be empty.")
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as inner:
            output_fw, state_fw = static_rnn(
                cell_fw, inputs, initial_state_fw, dtype, sequence_length, scope=inner
            )
        with variable_scope("bw") as inner:
            backwards = _reverse_steps(inputs, sequence_length)
            output_bw, state_bw = static_rnn(
                cell_bw, backwards, initial_state_bw, dtype, sequence_length, scope=inner
            )
    pairs = zip(output_fw, _reverse_steps(output_bw, sequence_length))
    return [nest.map_structure(_joined, fw, bw) for fw, bw in pairs], state_fw, state_bw


def _joined(forward: Tensor, backward: Tensor) -> Tensor:
    return concat([forward, backward], 1)


def _reverse_steps(steps: Sequence[Any], lengths: Any) -> list[Any]:
    """A list of steps in reverse order, where each sequence is reversed up to its length."""
    if lengths is None:
        return list(reversed(steps))
    flat = [nest.flatten(step) for step in steps]
    columns = [_rows(_reverse_time(stack(column), lengths, 0, 1), len(steps)) for column in zip(*flat)]
    return [nest.pack_sequence_as(steps[0], row) for row in zip(*columns)]


def _rows(x: Tensor, count: int) -> list[Tensor]:
    return [x[i] for i in range(count)]


# ---------------------------------------------------------------- raw_rnn


def raw_rnn(
    cell: Any,
    loop_fn: Callable[[Tensor, Any, Any, Any], Any],
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:
    """Takes a cell from step to step, where a function says what each step's input is and when to stop.

    The function is called first with time 0 and None for everything else, then after each step:

        finished, next_input, next_state, emit, next_loop_state = loop_fn(time, output, state, loop_state)

    The first call returns in place of `emit` a tensor (or a structure) of the shape of one sequence's emitted
    output, or None for the cell's output size, and in place of `next_loop_state` the first loop state or None. Later
    calls may return None for an unchanged loop state.

    Args:
        cell: an RNNCell.
        loop_fn: that function. `finished` is a bool vector [batch]: a sequence that is finished emits zeros and
            keeps its state. The loop stops when all are.
        parallel_iterations: accepted.
        swap_memory: accepted.
        scope: the variable scope, "rnn" by default.

    Returns:
        A TensorArray of what was emitted (or a structure of such), the last state, and the last loop state.

    Raises:
        TypeError: `cell` is no cell, or `loop_fn` not callable.
    """
    assert_like_rnncell("cell", cell)
    if not callable(loop_fn):
        raise TypeError(f"Argument `loop_fn` must be a callable. Received: {loop_fn}.")
    with variable_scope(scope or "rnn"):
        time = convert.constant(0, dtype=dtypes.int32)
        finished, first_input, first_state, emit, loop_state = loop_fn(time, None, None, None)
        has_loop_state = loop_state is not None
        inputs = nest.map_structure(convert.convert_to_tensor, first_input)
        batch_size = _batch_size(nest.flatten(inputs), 0)
        state = nest.map_structure(_as_value, first_state)
        zero_emit = _zeros_to_emit(cell, emit, batch_size, _common_dtype(None, nest.flatten(state)[:1]))
        arrays = tuple(_growing_array(zero) for zero in nest.flatten(zero_emit))
        first = (
            time,
            convert.convert_to_tensor(finished),
            inputs,
            arrays,
            state,
            loop_state if has_loop_state else convert.constant(0, dtype=dtypes.int32),
        )
        _, _, _, arrays, state, loop_state = control_flow.while_loop(
            lambda time, finished, *_: logic.logical_not(reductions.reduce_all(finished)),
            _raw_step(cell, loop_fn, zero_emit, has_loop_state),
            first,
            parallel_iterations=parallel_iterations or 32,
            swap_memory=swap_memory,
        )
        emitted = nest.pack_sequence_as(zero_emit, list(arrays))
        return emitted, state, loop_state if has_loop_state else None


def _raw_step(
    cell: Any, loop_fn: Callable[[Tensor, Any, Any, Any], Any], zero_emit: Any, has_loop_state: bool
) -> Callable[..., Any]:
    """The body of the loop: a step of the cell, and what `loop_fn` says of it.

    Args:
        cell, loop_fn: as in `raw_rnn`.
        zero_emit: what finished sequences emit.
        has_loop_state: whether there is one; otherwise a number takes its place, as a loop variable cannot be None.
    """

    def step(time: Tensor, finished: Tensor, x: Any, arrays: Any, state: Any, loop_state: Any) -> Any:
        output, cell_state = cell(x, state)
        nest.assert_same_structure(state, cell_state)
        time = time + 1
        answer = loop_fn(time, output, cell_state, loop_state if has_loop_state else None)
        now_finished, next_input, next_state, emit, next_loop_state = answer
        nest.assert_same_structure(state, next_state)
        nest.assert_same_structure(x, next_input)
        nest.assert_same_structure(zero_emit, emit)

        def advance(old: Any, new: Any) -> Any:
            return _copy_through(finished, old, _as_value(new))

        emit = nest.map_structure(advance, zero_emit, emit)
        state = nest.map_structure(advance, state, next_state)
        arrays = tuple(array.write(time - 1, y) for array, y in zip(arrays, nest.flatten(emit)))
        if next_loop_state is not None:
            loop_state = next_loop_state
        return time, logic.logical_or(finished, now_finished), next_input, arrays, state, loop_state

    return step


def _zeros_to_emit(cell: Any, emit: Any, batch_size: Any, dtype: DType) -> Any:
    """Zeros [batch, ...] in the structure of what is emitted: of `emit`, or of the cell's output where that is None.

    Args:
        cell: as in `raw_rnn`.
        emit: what `loop_fn` returned at first in its place: tensors of the shape of one sequence's output, or None.
        batch_size: an integer or an int32 scalar.
        dtype: of the cell's output.
    """
    structure, sizes, kinds = _emitted(cell, emit, dtype)
    found = [zeros(_batched(batch_size, size), kind) for size, kind in zip(sizes, kinds)]
    return nest.pack_sequence_as(structure, found)


def _growing_array(element: Tensor) -> TensorArray:
    """An empty TensorArray for such elements, which grows as they are written."""
    return TensorArray(element.dtype, size=0, dynamic_size=True, element_shape=element.get_shape())


def _emitted(cell: Any, emit: Any, dtype: DType) -> tuple[Any, list[Any], list[DType]]:
    """Structure, sizes without the batch, and dtypes of what `loop_fn` emits."""
    if emit is None:
        sizes = nest.flatten(cell.output_size)
        return cell.output_size, sizes, [dtype] * len(sizes)
    tensors = [convert.convert_to_tensor(x) for x in nest.flatten(emit)]
    sizes = [x.get_shape() if x.get_shape().is_fully_defined() else shape(x) for x in tensors]
    return emit, sizes, [x.dtype.base_dtype for x in tensors]


def _batched(batch_size: Any, size: Any) -> Tensor:
    """[batch_size, *size], where the size may be a tensor."""
    return (
        concat([stack([batch_size]), size], 0)
        if isinstance(size, Tensor)
        else sizes_with_batch(batch_size, size)
    )
