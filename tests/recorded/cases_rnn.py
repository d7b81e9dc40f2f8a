"""Recurrent networks: names of variables, values, gradients, lengths, scopes, dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Cases, static_shape

MakeCell = Callable[[Any], Any]

BATCH, TIME, DEPTH = 2, 3, 2
INPUTS = np.cos(np.arange(BATCH * TIME * DEPTH)).reshape(BATCH, TIME, DEPTH).astype(np.float32)
LENGTHS = [3, 1]


def weight(index: int, shape: list[int], dtype: Any) -> np.ndarray:
    """Numbers that depend on their place, for the variable made as the index-th."""
    count = int(np.prod(shape, dtype=int))
    return (0.6 * np.sin(1.0 + index + 0.7 * np.arange(count))).reshape(shape).astype(dtype)


def run(tf: Any, fetches: Any, feed_dict: Any = None) -> Any:
    """Evaluate with every variable set to known numbers."""
    with tf.Session() as session:
        for index, variable in enumerate(tf.global_variables()):
            dtype = variable.dtype.base_dtype.as_numpy_dtype
            variable.load(weight(index, variable.get_shape().as_list(), dtype), session)
        return session.run(fetches, feed_dict)


def variables(tf: Any) -> list[Any]:
    """Names, shapes and dtypes of all variables, in the order in which they were made."""
    return [[v.name, v.get_shape().as_list(), v.dtype.base_dtype.name] for v in tf.global_variables()]


def flat(structure: Any) -> list[Any]:
    """The leaves of nested lists and tuples."""
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in flat(item)]
    return [structure]


def inputs(tf: Any, shape: tuple[int | None, ...] = (None, None, DEPTH), dtype: str = "float32") -> Any:
    return tf.placeholder(dtype, shape)


def lengths_of(tf: Any) -> Any:
    """The lengths, in a tensor that does not tell statically how many there are."""
    return tf.placeholder_with_default(LENGTHS, [None])


def described(tf: Any, x: Any, outputs: Any, state: Any, feed_dict: Any) -> dict[str, Any]:
    """Everything that is to be compared: variables, static shapes, values and gradients."""
    results = flat(outputs) + flat(state)
    loss = tf.add_n([tf.reduce_sum(tf.sin(result * (i + 1.0))) for i, result in enumerate(results)])
    grads = tf.gradients(loss, [x, *tf.trainable_variables()])
    return {
        "variables": variables(tf),
        "shapes": [static_shape(result) for result in results],
        "values": run(tf, results, feed_dict),
        "gradients": run(tf, [tf.convert_to_tensor(grad) for grad in grads], feed_dict),
    }


def dynamic(make: MakeCell, lengths: bool = False, **options: Any) -> Callable[[Any], Any]:
    """dynamic_rnn over inputs of unknown batch and time."""

    def case(tf: Any) -> Any:
        x = inputs(tf)
        outputs, state = tf.nn.dynamic_rnn(
            make(tf), x, lengths_of(tf) if lengths else None, dtype=tf.float32, **options
        )
        return described(tf, x, outputs, state, {x: INPUTS})

    return case


def multi(tf: Any) -> Any:
    cells = tf.nn.rnn_cell
    return cells.MultiRNNCell([cells.LSTMCell(2), cells.ResidualWrapper(cells.GRUCell(2))])


def joined_states(tf: Any) -> Any:
    cells = tf.nn.rnn_cell
    lower, upper = cells.BasicLSTMCell(2, state_is_tuple=False), cells.GRUCell(3)
    return cells.MultiRNNCell([lower, upper], state_is_tuple=False)


def full_lstm(tf: Any) -> Any:
    return tf.nn.rnn_cell.LSTMCell(
        3,
        use_peepholes=True,
        cell_clip=0.5,
        num_proj=2,
        proj_clip=0.3,
        forget_bias=0.5,
        activation=tf.nn.softsign,
    )


CELLS: dict[str, MakeCell] = {
    "basic_rnn": lambda tf: tf.nn.rnn_cell.BasicRNNCell(2),
    "basic_rnn_relu": lambda tf: tf.nn.rnn_cell.BasicRNNCell(2, activation=tf.nn.relu),
    "gru": lambda tf: tf.nn.rnn_cell.GRUCell(2),
    "basic_lstm": lambda tf: tf.nn.rnn_cell.BasicLSTMCell(2),
    "basic_lstm_joined": lambda tf: tf.nn.rnn_cell.BasicLSTMCell(2, forget_bias=0.0, state_is_tuple=False),
    "lstm": lambda tf: tf.nn.rnn_cell.LSTMCell(2),
    "lstm_full": full_lstm,
    "lstm_projection_joined": lambda tf: tf.nn.rnn_cell.LSTMCell(3, num_proj=2, state_is_tuple=False),
    "multi": multi,
    "multi_joined": joined_states,
    "device": lambda tf: tf.nn.rnn_cell.DeviceWrapper(tf.nn.rnn_cell.GRUCell(2), "/cpu:0"),
    "residual_function": lambda tf: tf.nn.rnn_cell.ResidualWrapper(
        tf.nn.rnn_cell.GRUCell(2), lambda x, y: x * 2.0 - y
    ),
    "named": lambda tf: tf.nn.rnn_cell.GRUCell(2, name="my_cell"),
    "shards": lambda tf: tf.nn.rnn_cell.LSTMCell(2, num_unit_shards=2),
}


# ---------------------------------------------------------------- ways to run a cell


def time_major(tf: Any) -> Any:
    x = inputs(tf, (TIME, None, DEPTH))
    outputs, state = tf.nn.dynamic_rnn(
        tf.nn.rnn_cell.GRUCell(2), x, lengths_of(tf), dtype=tf.float32, time_major=True
    )
    return described(tf, x, outputs, state, {x: INPUTS.swapaxes(0, 1)})


def initial_state(tf: Any) -> Any:
    x = inputs(tf, (BATCH, TIME, DEPTH))
    cell = tf.nn.rnn_cell.LSTMCell(2)
    state = tf.nn.rnn_cell.LSTMStateTuple(tf.constant([[0.1, 0.2], [0.3, 0.4]]), tf.ones([BATCH, 2]))
    outputs, state = tf.nn.dynamic_rnn(cell, x, initial_state=state)
    return described(tf, x, outputs, state, {x: INPUTS})


def float64(tf: Any) -> Any:
    x = inputs(tf, dtype="float64")
    outputs, state = tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(2), x, dtype=tf.float64)
    return described(tf, x, outputs, state, {x: INPUTS.astype(np.float64)})


def zero_lengths(tf: Any) -> Any:
    x = inputs(tf)
    outputs, state = tf.nn.dynamic_rnn(tf.nn.rnn_cell.GRUCell(2), x, lengths_of(tf) * 0, dtype=tf.float32)
    return described(tf, x, outputs, state, {x: INPUTS})


def static(lengths: bool) -> Callable[[Any], Any]:
    def case(tf: Any) -> Any:
        x = inputs(tf, (None, TIME, DEPTH))
        outputs, state = tf.nn.static_rnn(
            tf.nn.rnn_cell.BasicLSTMCell(2),
            tf.unstack(x, axis=1),
            dtype=tf.float32,
            sequence_length=lengths_of(tf) if lengths else None,
        )
        return described(tf, x, outputs, state, {x: INPUTS})

    return case


def bidirectional(lengths: bool) -> Callable[[Any], Any]:
    def case(tf: Any) -> Any:
        x = inputs(tf, (None, TIME, DEPTH))
        outputs, state = tf.nn.bidirectional_dynamic_rnn(
            tf.nn.rnn_cell.LSTMCell(2),
            tf.nn.rnn_cell.GRUCell(1),
            x,
            sequence_length=lengths_of(tf) if lengths else None,
            dtype=tf.float32,
        )
        return described(tf, x, outputs, state, {x: INPUTS})

    return case


def static_bidirectional(lengths: bool) -> Callable[[Any], Any]:
    def case(tf: Any) -> Any:
        x = inputs(tf, (None, TIME, DEPTH))
        outputs, *states = tf.nn.static_bidirectional_rnn(
            tf.nn.rnn_cell.BasicLSTMCell(2),
            tf.nn.rnn_cell.GRUCell(1),
            tf.unstack(x, axis=1),
            dtype=tf.float32,
            sequence_length=lengths_of(tf) if lengths else None,
        )
        return described(tf, x, outputs, states, {x: INPUTS})

    return case


def raw(loop_state: bool) -> Callable[[Any], Any]:
    """raw_rnn that feeds each output back as the next input, after the given first one."""

    def case(tf: Any) -> Any:
        x = inputs(tf, (None, DEPTH))
        cell = tf.nn.rnn_cell.GRUCell(DEPTH)

        def loop_fn(time: Any, output: Any, state: Any, so_far: Any) -> Any:
            finished = time >= lengths_of(tf)
            if output is None:
                start = cell.zero_state(tf.shape(x)[0], tf.float32)
                return finished, x, start, None, tf.constant(0.0) if loop_state else None
            total = so_far + tf.reduce_sum(output) if loop_state else None
            return finished, output, state, output, total

        emitted, state, total = tf.nn.raw_rnn(cell, loop_fn)
        results = [state, total] if loop_state else [state]
        return described(tf, x, emitted.stack(), results, {x: INPUTS[:, 0]})

    return case


def nested(tf: Any) -> Any:
    """A cell of one's own whose inputs, outputs and states are structures."""

    class Pair(tf.nn.rnn_cell.RNNCell):
        state_size = (2, tf.TensorShape([1, 2]))
        output_size = (2, tf.TensorShape([1, 2]))

        def call(self, inputs: Any, state: Any) -> Any:
            (x, y), (a, b) = inputs, state
            w = tf.get_variable("w", [2, 2])
            a = tf.tanh(tf.matmul(x + a, w))
            b = b * 0.5 + y
            return (a, b + 1.0), (a, b)

    x = inputs(tf)
    outputs, state = tf.nn.dynamic_rnn(Pair(), (x, tf.expand_dims(x, 2)), lengths_of(tf), dtype=tf.float32)
    return described(tf, x, outputs, state, {x: INPUTS})


# ---------------------------------------------------------------- scopes and names


def weights_of(cell: Any) -> list[list[str]]:
    kinds = (cell.weights, cell.trainable_weights, cell.non_trainable_variables)
    return [[weight.name for weight in kind] for kind in kinds]


def scopes(tf: Any) -> Any:
    """Where variables are, for cells called in several ways."""
    cells = tf.nn.rnn_cell
    x, state = tf.ones([2, 2]), tf.zeros([2, 2])
    shared = cells.GRUCell(2)
    first, _ = shared(x, state)
    with tf.variable_scope("outer"):
        second, _ = shared(x, state)
        inner = cells.GRUCell(2)
        inner(x, state)
        cells.GRUCell(2)(x, state)
        cells.GRUCell(2)(x, state, scope="given")
    with tf.variable_scope("outer", reuse=True):
        cells.GRUCell(2)(x, state)
    cells.GRUCell(2, reuse=True)(x, state)
    cells.GRUCell(2, name="gru_cell", reuse=tf.AUTO_REUSE)(x, state)
    cells.MultiRNNCell([cells.BasicRNNCell(2), cells.BasicRNNCell(2)])(x, (state, state), scope="stack")
    return {
        "variables": variables(tf),
        "weights": [weights_of(cell) for cell in (shared, inner)],
        "scope": [shared.scope_name, inner.scope_name],
        "operations": [first.name, second.name],
    }


def networks(tf: Any) -> Any:
    """Where the variables of networks are."""
    cells = tf.nn.rnn_cell
    x = inputs(tf, (None, TIME, DEPTH))
    steps = tf.unstack(x, axis=1)
    cell = cells.GRUCell(2)
    tf.nn.dynamic_rnn(cell, x, dtype=tf.float32, scope="first")
    tf.nn.dynamic_rnn(cell, x, dtype=tf.float32, scope="second")
    with tf.variable_scope("reused"):
        tf.nn.static_rnn(cells.BasicRNNCell(2), steps, dtype=tf.float32)
    with tf.variable_scope("reused", reuse=True):
        tf.nn.dynamic_rnn(cells.BasicRNNCell(2), x, dtype=tf.float32)
    with tf.variable_scope("shared") as scope:
        tf.nn.dynamic_rnn(cells.BasicRNNCell(2), x, dtype=tf.float32, scope=scope)
    return variables(tf)


def initializers(tf: Any) -> Any:
    """What variables start from; the scope's initializer, regularizer and partitioner reach the cells."""
    cells = tf.nn.rnn_cell
    x, state = tf.ones([2, 2]), tf.zeros([2, 2])
    with tf.variable_scope(
        "scope",
        initializer=tf.constant_initializer(0.25),
        regularizer=lambda w: tf.reduce_sum(w * w),
    ):
        cells.GRUCell(2)(x, state)
    cells.GRUCell(
        2,
        kernel_initializer=tf.constant_initializer(0.5),
        bias_initializer=tf.constant_initializer(0.125),
        name="g",
    )(x, state)
    cells.LSTMCell(2, initializer=tf.constant_initializer(2.0), use_peepholes=True)(x, (state, state))
    losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run(tf.global_variables())
    return {"variables": variables(tf), "values": values, "losses": len(losses)}


def own_cells(tf: Any) -> Any:
    """Cells that users write: with get_variable in `call`, with add_variable in `build`, with `__call__`."""

    class ByCall(tf.nn.rnn_cell.RNNCell):
        state_size = 2
        output_size = 2

        def call(self, inputs: Any, state: Any) -> Any:
            w = tf.get_variable("w", [4, 2])
            frozen = tf.get_variable("frozen", [2], trainable=False)
            new = tf.tanh(tf.matmul(tf.concat([inputs, state], 1), w)) + frozen
            return new, new

    class ByBuild(tf.nn.rnn_cell.RNNCell):
        @property
        def state_size(self) -> int:
            return 2

        @property
        def output_size(self) -> int:
            return 2

        def build(self, input_shape: Any) -> None:
            self.w = self.add_variable("w", [input_shape[1].value, 2])

        def call(self, inputs: Any, state: Any) -> Any:
            new = tf.tanh(tf.matmul(inputs, self.w) + state)
            return new, new

    class ByScope(tf.nn.rnn_cell.RNNCell):
        state_size = 2
        output_size = 2

        def __call__(self, inputs: Any, state: Any, scope: Any = None) -> Any:
            with tf.variable_scope(scope or "by_scope"):
                new = tf.tanh(inputs * tf.get_variable("g", [2]) + state)
            return new, new

    x = inputs(tf, (None, TIME, DEPTH))
    made = [ByCall(), ByBuild(), ByScope()]
    outputs, state = tf.nn.dynamic_rnn(tf.nn.rnn_cell.MultiRNNCell(made), x, dtype=tf.float32)
    stepped, _ = tf.nn.static_rnn(ByScope(), tf.unstack(x, axis=1), dtype=tf.float32, scope="steps")
    return {
        "weights": [weights_of(cell) for cell in made],
        **described(tf, x, [outputs, stepped], state, {x: INPUTS}),
    }


def errors(tf: Any) -> Any:
    """The classes of errors."""
    cells = tf.nn.rnn_cell
    x, state = tf.ones([2, 3, 2]), tf.zeros([2, 2])

    def twice() -> None:
        for _ in range(2):
            tf.nn.dynamic_rnn(cells.GRUCell(2), x, dtype=tf.float32, scope="same")

    attempts: list[Callable[[], Any]] = [
        twice,
        lambda: cells.GRUCell(2)(x, state),
        lambda: cells.MultiRNNCell([]),
        lambda: cells.MultiRNNCell(3),
        lambda: cells.MultiRNNCell([cells.LSTMCell(2)], state_is_tuple=False),
        lambda: cells.ResidualWrapper(3),
        lambda: cells.DropoutWrapper(cells.GRUCell(2), input_keep_prob=1.5),
        lambda: cells.DropoutWrapper(cells.GRUCell(2), variational_recurrent=True),
        lambda: cells.DropoutWrapper(
            cells.GRUCell(2), input_keep_prob=0.5, variational_recurrent=True, dtype=tf.float32
        ),
        lambda: cells.RNNCell().state_size,
        lambda: cells.GRUCell(2).scope_name,
        lambda: tf.nn.dynamic_rnn(cells.GRUCell(2), x),
        lambda: tf.nn.dynamic_rnn(3, x),
        lambda: tf.nn.dynamic_rnn(cells.GRUCell(2), x, sequence_length=3, dtype=tf.float32),
        lambda: tf.nn.dynamic_rnn(cells.GRUCell(2), inputs(tf, (2, 3, None)), dtype=tf.float32),
        lambda: tf.nn.dynamic_rnn(cells.GRUCell(2), inputs(tf, (2, 3)), dtype=tf.float32),
        lambda: tf.nn.dynamic_rnn(cells.GRUCell(2), x, initial_state=tf.zeros([3, 2])),
        lambda: tf.nn.static_rnn(cells.GRUCell(2), [], dtype=tf.float32),
        lambda: tf.nn.static_rnn(cells.GRUCell(2), x, dtype=tf.float32),
        lambda: tf.nn.raw_rnn(cells.GRUCell(2), 3),
    ]
    found: list[str] = []
    for attempt in attempts:
        try:
            attempt()
            found.append("none")
        except Exception as error:
            found.append(type(error).__name__)
    return found


# ---------------------------------------------------------------- dropout


def dropped(wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Two runs of a network with dropout: the random numbers are TensorFlow's.

    In a loop TensorFlow may draw the numbers of later steps first, so the steps are single ones.
    """

    def case(tf: Any) -> Any:
        x = inputs(tf, (BATCH, TIME, DEPTH))
        outputs, state = tf.nn.static_rnn(wrap(tf), tf.unstack(x, axis=1), dtype=tf.float32)
        results = [*flat(outputs), *flat(state)]
        with tf.Session() as session:
            for index, variable in enumerate(tf.global_variables()):
                variable.load(weight(index, variable.get_shape().as_list(), np.float32), session)
            return [session.run(results, {x: INPUTS}) for _ in range(2)]

    return case


def wrapped(**options: Any) -> Callable[[Any], Any]:
    def wrap(tf: Any) -> Any:
        cells = tf.nn.rnn_cell
        given = {**options, "dtype": tf.float32} if "input_size" in options else options
        return cells.DropoutWrapper(cells.LSTMCell(4), seed=7, **given)

    return wrap


def filtered(tf: Any) -> Any:
    cells = tf.nn.rnn_cell
    visitor = lambda part: not isinstance(part, cells.LSTMStateTuple)  # noqa: E731
    stack = cells.MultiRNNCell([cells.LSTMCell(2), cells.GRUCell(4)])
    return cells.DropoutWrapper(stack, state_keep_prob=0.5, seed=3, dropout_state_filter_visitor=visitor)


def probability_tensor(tf: Any) -> Any:
    keep = tf.placeholder_with_default(0.5, [])
    return tf.nn.rnn_cell.DropoutWrapper(tf.nn.rnn_cell.GRUCell(4), output_keep_prob=keep, seed=11)


# ---------------------------------------------------------------- higher order


def by_steps(tf: Any, cell: Any, x: Any) -> Any:
    return tf.stack(tf.nn.static_rnn(cell, tf.unstack(x, axis=1), dtype=tf.float32)[0], axis=1)


def in_a_loop(tf: Any, cell: Any, x: Any) -> Any:
    return tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)[0]


def second_order(make: MakeCell, network: Callable[[Any, Any, Any], Any]) -> Callable[[Any], Any]:
    """The gradient of the squared norm of a gradient; TensorFlow has none of a loop, but one of single steps."""

    def case(tf: Any) -> Any:
        x = inputs(tf, (None, TIME, DEPTH))
        outputs = network(tf, make(tf), x)
        first = tf.gradients(tf.reduce_sum(tf.sin(outputs)), tf.trainable_variables())
        norm = tf.add_n([tf.reduce_sum(tf.square(grad)) for grad in first])
        return run(tf, tf.gradients(norm, tf.trainable_variables()), {x: INPUTS})

    return case


SECOND_ORDER = ("basic_rnn", "gru", "multi")

CASES: Cases = {}
for _name, _make in CELLS.items():
    CASES[_name] = dynamic(_make)
for _name in ("basic_rnn", "lstm_full", "multi"):
    CASES[f"{_name}_lengths"] = dynamic(CELLS[_name], lengths=True)
CASES.update(
    {
        "time_major": time_major,
        "initial_state": initial_state,
        "float64": float64,
        "zero_lengths": zero_lengths,
        "static": static(False),
        "static_lengths": static(True),
        "bidirectional": bidirectional(False),
        "bidirectional_lengths": bidirectional(True),
        "static_bidirectional": static_bidirectional(False),
        "static_bidirectional_lengths": static_bidirectional(True),
        "raw": raw(False),
        "raw_loop_state": raw(True),
        "nested": nested,
        "scopes": scopes,
        "networks": networks,
        "initializers": initializers,
        "own_cells": own_cells,
        "errors": errors,
        "dropout_output": dropped(wrapped(output_keep_prob=0.6)),
        "dropout_all": dropped(wrapped(input_keep_prob=0.7, output_keep_prob=0.6, state_keep_prob=0.5)),
        "dropout_variational": dropped(
            wrapped(
                input_keep_prob=0.7,
                output_keep_prob=0.6,
                state_keep_prob=0.5,
                variational_recurrent=True,
                input_size=DEPTH,
            )
        ),
        "dropout_filtered": dropped(filtered),
        "dropout_probability_tensor": dropped(probability_tensor),
    }
)
for _name in SECOND_ORDER:
    CASES[f"{_name}_second_order"] = second_order(CELLS[_name], by_steps)
