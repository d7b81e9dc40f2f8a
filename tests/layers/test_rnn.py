"""Recurrent networks: sizes at the edge, bad lengths, gradients; what TensorFlow says is in tests/recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tahr as tf

cells = tf.nn.rnn_cell


@pytest.fixture(autouse=True)
def _graph() -> Iterator[None]:
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        yield


def network(**options: Any) -> tuple[Any, Any, Any, Any]:
    """A network over inputs of which only the depth is known: inputs, outputs, state and gradient."""
    x = tf.placeholder(tf.float32, [None, None, 2])
    outputs, state = tf.nn.dynamic_rnn(cells.GRUCell(3), x, dtype=tf.float32, **options)
    return x, outputs, state, tf.gradients(tf.reduce_sum(outputs * outputs) + tf.reduce_sum(state), x)[0]


@pytest.mark.parametrize(("batch", "time"), [(1, 1), (3, 5), (0, 2)])
def test_one_graph_takes_every_size(batch: int, time: int) -> None:
    x, outputs, state, gradient = network()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run([outputs, state, gradient], {x: np.ones([batch, time, 2])})
    assert [value.shape for value in values] == [(batch, time, 3), (batch, 3), (batch, time, 2)]
    assert all(np.isfinite(value).all() for value in values)


def test_no_steps_leave_the_state_as_it_is() -> None:
    x = tf.placeholder(tf.float32, [2, None, 2])
    outputs, state = tf.nn.dynamic_rnn(cells.GRUCell(3), x, initial_state=tf.ones([2, 3]))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run([outputs, state], {x: np.zeros([2, 0, 2])})
    assert values[0].shape == (2, 0, 3)
    np.testing.assert_array_equal(values[1], np.ones([2, 3]))


def test_the_length_of_one_sequence_does_not_change_another() -> None:
    lengths = tf.placeholder(tf.int32, [None])
    x, outputs, state, gradient = network(sequence_length=lengths)
    data = np.random.default_rng(0).normal(size=[3, 4, 2])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        together = session.run([outputs, state, gradient], {x: data, lengths: [4, 2, 0]})
        for i, length in enumerate([4, 2, 0]):
            alone = session.run([outputs, state, gradient], {x: data[i : i + 1], lengths: [length]})
            for one, other in zip(alone, together):
                np.testing.assert_allclose(one[0], other[i], rtol=1e-5, atol=1e-6)
    assert not together[0][1, 2:].any()
    assert not together[2][1, 2:].any()
    assert not together[1][2].any()


def test_there_must_be_one_length_for_each_sequence() -> None:
    lengths = tf.placeholder(tf.int32)
    x, outputs, *_ = network(sequence_length=lengths)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.InvalidArgumentError, match="Expected shape for Tensor"):
            session.run(outputs, {x: np.ones([2, 3, 2]), lengths: [1, 2, 3]})


def test_gradients_of_a_lstm_are_those_of_differences() -> None:
    x = tf.placeholder(tf.float64, [2, 3, 2])
    cell = cells.LSTMCell(2, use_peepholes=True, num_proj=2)
    outputs, state = tf.nn.dynamic_rnn(cell, x, [3, 1], dtype=tf.float64)
    loss = tf.reduce_sum(tf.sin(outputs)) + tf.reduce_sum(state.c * state.h)
    gradient = tf.gradients(loss, x)[0]
    data = np.random.default_rng(1).normal(size=[2, 3, 2])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got = session.run(gradient, {x: data})
        for place in np.ndindex(data.shape):
            step = np.zeros_like(data)
            step[place] = 1e-5
            up, down = (session.run(loss, {x: data + sign * step}) for sign in (1, -1))
            np.testing.assert_allclose(got[place], (up - down) / 2e-5, rtol=1e-6, atol=1e-9)


def test_dropout_in_a_loop_differs_between_steps_and_variational_dropout_does_not() -> None:
    x = tf.ones([1, 6, 50])

    class Echo(cells.RNNCell):
        @property
        def state_size(self) -> int:
            return 1

        @property
        def output_size(self) -> int:
            return 50

        def call(self, inputs: Any, state: Any) -> Any:
            return inputs, state

    def masks(**options: Any) -> Any:
        cell = cells.DropoutWrapper(Echo(), output_keep_prob=0.5, dtype=tf.float32, **options)
        return tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)[0][0]

    free, tied = masks(), masks(variational_recurrent=True)
    with tf.Session() as session:
        free_masks, tied_masks = session.run([free, tied])
        again = session.run(tied)
    assert {0.0, 2.0} == set(np.unique(free_masks)) == set(np.unique(tied_masks))
    assert (free_masks != free_masks[0]).any()
    assert (tied_masks == tied_masks[0]).all()
    assert (tied_masks != again).any()


def test_a_network_trains() -> None:
    """The sum of a sequence, learned."""
    data = np.random.default_rng(2).uniform(-0.5, 0.5, size=[32, 5, 1]).astype(np.float32)
    outputs, _ = tf.nn.dynamic_rnn(cells.BasicLSTMCell(8), tf.constant(data), dtype=tf.float32)
    answer = tf.matmul(outputs[:, -1], tf.get_variable("w", [8, 1]))
    loss = tf.reduce_mean(tf.square(answer - data.sum(1)))
    train = tf.train.AdamOptimizer(0.03).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first = session.run(loss)
        for _ in range(60):
            session.run(train)
        assert session.run(loss) < 0.1 * first


@pytest.mark.parametrize("name", ["relu", "sigmoid", "linear"])
def test_an_activation_can_be_given_by_name(name: str) -> None:
    x, state = tf.constant([[1.0, -2.0]]), tf.constant([[0.5, 0.5]])
    by_name, _ = cells.BasicRNNCell(2, activation=name)(x, state)
    function = {"relu": tf.nn.relu, "sigmoid": tf.sigmoid, "linear": tf.identity}[name]
    by_function, _ = cells.BasicRNNCell(2, activation=function, reuse=True)(x, state)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        one, other = session.run([by_name, by_function])
    np.testing.assert_array_equal(one, other)


def test_what_is_wrong_is_said() -> None:
    x = tf.ones([2, 3, 4])
    with pytest.raises(ValueError, match="Unknown activation function: 'swoosh'"):
        cells.GRUCell(2, activation="swoosh")
    with pytest.raises(ValueError, match="you must give a dtype"):
        tf.nn.dynamic_rnn(cells.GRUCell(2), x)
    with pytest.raises(TypeError, match="is not an RNNCell: 'output_size' property is missing"):
        tf.nn.dynamic_rnn("cell", x)
    with pytest.raises(ValueError, match="Batch_size is not the same"):
        tf.nn.dynamic_rnn(cells.GRUCell(2), (x, tf.ones([5, 3, 4])), dtype=tf.float32)
    with pytest.raises(ValueError, match="Time steps is not the same"):
        tf.nn.dynamic_rnn(cells.GRUCell(2), (x, tf.ones([2, 4, 4])), dtype=tf.float32)
    state = (tf.ones([2, 2]), tf.ones([2, 2], tf.float64))
    with pytest.raises(ValueError, match="different inferred dtypes"):
        tf.nn.dynamic_rnn(cells.MultiRNNCell([cells.GRUCell(2)] * 2), x, initial_state=state)
    with pytest.raises(ValueError, match="batch_size and dtype cannot be None"):
        cells.GRUCell(2).get_initial_state(batch_size=3)
    with pytest.raises(ValueError, match="Expected state to be a tuple of length 2"):
        cells.MultiRNNCell([cells.GRUCell(2)] * 2)(tf.ones([2, 2]), (tf.ones([2, 2]),))


def test_the_initial_state_follows_the_inputs() -> None:
    x = tf.placeholder(tf.float64, [None, 4])
    state = cells.LSTMCell(3).get_initial_state(x)
    assert state.dtype is tf.float64
    assert state.c.shape.as_list() == [None, 3]
    with tf.Session() as session:
        assert session.run(state.h, {x: np.ones([5, 4])}).shape == (5, 3)
    with pytest.raises(ValueError, match="batch size from input tensor is 2"):
        cells.GRUCell(2).get_initial_state(tf.ones([2, 2]), batch_size=3)
    with pytest.raises(ValueError, match="dtype from input tensor is float32"):
        cells.GRUCell(2).get_initial_state(tf.ones([2, 2]), dtype=tf.float64)
