"""Lists that go on to a later stage, as the length of a stacked array is data: native code leaves and takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import growing
from tests.backends.native import natively
from tests.backends.native.loop_programs import repeated, with_gradients

F = tf.float64
RNG = np.random.RandomState(4)
# What reads a stacked array's length.
HANDED = ("_ListOf", "TensorListLength", "TensorListStack")


@pytest.fixture(autouse=True)
def _no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists begin with room for one item, so that they are often full."""
    monkeypatch.setattr(growing, "FIRST_ROOM", 1)


def _written(step: Any, first: Any, count: Any) -> Any:
    """What some steps make of a value, stacked."""

    def body(i: Any, h: Any, items: Any) -> Any:
        h = step(i, h)
        return i + 1, h, items.write(i, h)

    items = tf.TensorArray(F, 0, dynamic_size=True, element_shape=first.shape)
    return tf.while_loop(lambda i, *_: i < count, body, [0, first, items])[2].stack()


@pytest.mark.parametrize("rows", [2, 1, 0])
def test_a_gradient_pops_what_an_earlier_stage_pushed(rows: int) -> None:
    n, x, w = tf.placeholder(tf.int32, []), tf.placeholder(F, [None, 3]), tf.placeholder(F, [3, 3])
    y = _written(lambda i, h: tf.tanh(tf.matmul(h, w)), x, n)
    arrays = {x: RNG.randn(rows, 3), w: RNG.randn(3, 3)}
    feeds = [{**arrays, n: count} for count in (5, 1, 40)]
    natively.is_as_numpy(with_gradients(y, x, w), *feeds, hosts=HANDED)


@pytest.mark.parametrize("rows", [4, 2, 1, 0])
def test_sizes_that_only_items_have(rows: int) -> None:
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(F, [None, 3])

    def step(_: Any, h: Any) -> Any:
        one, other = tf.split(tf.exp(-tf.concat([h, 2 * h], 1)), 2, 1)
        return one * tf.reduce_sum(tf.exp(-tf.concat([h, other], 0)), 0)

    feeds = [{n: count, x: RNG.rand(rows, 3)} for count in (4, 1)]
    natively.is_as_numpy(with_gradients(_written(step, x, n), x), *feeds, hosts=HANDED)


def test_items_that_nobody_wrote() -> None:
    """They stay so on their way, and their gradient is zero."""
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(F, [2])

    def body(i: Any, h: Any, items: Any) -> Any:
        h = tf.sin(h)
        return i + 1, h, items.write(3 * i, h)

    items = tf.TensorArray(F, 0, dynamic_size=True, element_shape=[2])
    y = tf.while_loop(lambda i, *_: i < n, body, [0, x, items])[2].stack()
    natively.is_as_numpy(with_gradients(y, x), *({n: k, x: RNG.randn(2)} for k in (4, 0, 9)), hosts=HANDED)


def test_the_first_run_is_numpys() -> None:
    """Lists of Python's own are another class than those that native code left."""
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(F, [None, 3])
    fetches = with_gradients(_written(lambda i, h: tf.sin(h), x, n), x)
    feeds = {n: 12, x: RNG.randn(2, 3)}
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    with tf.Session(backend="native") as session:
        for _ in range(6):
            for found, wanted in zip(session.run(fetches, feeds), expected):
                np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_python_takes_what_native_code_left() -> None:
    """A list that both take, and one of which older versions are used."""
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(F, [3])
    y = _written(lambda i, h: tf.sin(h), x, n)
    (dx,) = tf.gradients(tf.igamma(tf.constant(2, F), y * y), x)
    z = repeated(n, lambda i, h: h + tf.sin(dx), dx)
    with tf.Session(backend="numpy") as reference, tf.Session(backend="native", tier="compiled") as session:
        for count in (7, 3, 0):
            feed = {n: count, x: RNG.randn(3)}
            for found, expected in zip(session.run([y, z], feed), reference.run([y, z], feed)):
                np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("lengths", [[5, 2, 7], [1, 0, 1]])
def test_training_a_raw_rnn(lengths: list[int]) -> None:
    x, steps = tf.placeholder(F, [None, 7, 4]), tf.placeholder(tf.int32, [None])
    batch = tf.shape(x)[0]
    inputs = tf.TensorArray(F, 7).unstack(tf.transpose(x, [1, 0, 2]))
    cell = tf.nn.rnn_cell.GRUCell(4, kernel_initializer=tf.constant_initializer(0.1), dtype=F)

    def loop_fn(time: Any, output: Any, state: Any, _: Any) -> Any:
        is_over = time >= steps
        following = tf.cond(
            tf.reduce_all(is_over), lambda: tf.zeros([batch, 4], F), lambda: inputs.read(time)
        )
        following.set_shape([None, 4])
        return is_over, following, cell.zero_state(batch, F) if output is None else state, output, None

    emitted, state, _ = tf.nn.raw_rnn(cell, loop_fn)
    loss = tf.reduce_sum(tf.square(emitted.stack())) + tf.reduce_sum(state)
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    feeds = [{x: RNG.randn(n, 7, 4), steps: np.resize(lengths, n)} for n in (3, 3, 3, 5, 1)]
    found: list[Any] = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        natively.execute._records.clear()
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            losses = [session.run([loss, train], feed)[0] for feed in feeds]
            found.append([*losses, *session.run(tf.trainable_variables())])
    assert not {"While", "TensorListPopBack"} & set(natively.left_to_numpy())
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_lists_without_items_and_lists_of_lists() -> None:
    """What a branch in the loop gives, and places for slices of a table's gradient and for rows of the inputs'."""
    x, ids = tf.placeholder(F, [None, 6, 3]), tf.placeholder(tf.int32, [6, None])
    table, n = tf.placeholder(F, [9, 3]), tf.placeholder(tf.int32, [])
    inputs = tf.TensorArray(F, 6).unstack(tf.transpose(tf.tanh(x), [1, 0, 2]))

    def step(i: Any, h: Any) -> Any:
        h = tf.tanh(h + inputs.read(i) * 0.5)
        h = tf.cond(
            tf.equal(i % 3, 1), lambda: tf.sin(h) * h, lambda: tf.cond(i > 3, lambda: h / 2.0, lambda: h * h)
        )
        return h + tf.nn.embedding_lookup(table, ids[i])

    y = _written(step, x[:, 0], n)
    gradients = tf.gradients(tf.reduce_sum(y * y), [x, table])
    fetches = [y, *map(tf.convert_to_tensor, gradients)]
    feeds = [
        {x: RNG.randn(rows, 6, 3), ids: RNG.randint(0, 9, (6, rows)), table: RNG.randn(9, 3), n: count}
        for rows, count in ((2, 6), (1, 4), (5, 1))
    ]
    slices = ["_NoItems", "TensorListConcat", "UnsortedSegmentSum"]
    natively.is_as_numpy(fetches, *feeds, hosts=[*HANDED, *slices, "TensorListGatherLike"])


def test_two_gradients_in_turn_of_one_array() -> None:
    """One of the backward loops is NumPy's: it is handed lists that nobody looks into, too."""
    n, x, rows = (
        tf.placeholder(tf.int32, []),
        tf.placeholder(F, [None, 2]),
        tf.placeholder(F, [None, None, 2]),
    )
    inputs = tf.TensorArray(F, tf.shape(rows)[0], clear_after_read=False).unstack(rows)

    def step(i: Any, h: Any) -> Any:
        return tf.tanh(h + inputs.read(i))

    def body(i: Any, h: Any, items: Any) -> Any:
        h = step(i, h)
        return i + 1, h, items.write(i, h)

    items = tf.TensorArray(F, 0, dynamic_size=True, element_shape=[None, 2])
    _, y, items = tf.while_loop(lambda i, *_: i < n, body, [0, x, items])
    _, y = tf.while_loop(
        lambda i, h: tf.logical_and(i < n, tf.reduce_sum(h) < 100), lambda i, h: (i + 1, step(i, h)), [0, y]
    )
    gradients = tf.gradients(tf.reduce_sum(y * y) + tf.reduce_sum(tf.sin(items.stack())), [x, rows])
    for count in (4, 1, 6):
        natively.is_as_numpy_somehow(
            [y, *gradients], {n: count, x: RNG.randn(2, 2), rows: RNG.randn(6, 2, 2)}
        )
