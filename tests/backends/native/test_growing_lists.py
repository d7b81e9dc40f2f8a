"""Lists that grow in a native loop, are handed to NumPy behind it, or are read in a branch."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native.roles import Role
from tests.backends.native import natively

RNG = np.random.RandomState(5)


def _same_as_numpy(fetches, feeds, hosts=()) -> None:
    """Runs on both backends; given are the ops that are left to NumPy."""
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    for threads in (1, 4):
        got, left = natively.run(fetches, feeds, threads=threads, runs=2)
        assert set(left) - {"nothing in it is native"} == set(hosts)
        for g, e in zip(got, expected):
            assert g.dtype == e.dtype and g.shape == e.shape
            np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)


def _decoded(steps: int, stop: int):
    """Greedy decoding: each symbol is that of the largest logit, until all sequences have come to their end."""
    start = tf.placeholder(tf.float32, [None, 8])
    batch = tf.shape(start)[0]
    rng = np.random.RandomState(0)
    embedding, recurrent, logits = (
        # So small that roundings do not grow from step to step.
        tf.constant(0.3 * rng.randn(*shape), tf.float32)
        for shape in ((11, 8), (8, 8), (8, 11))
    )

    def goes_on(i, symbol, state, is_over, symbols):
        return tf.logical_and(i < steps, tf.logical_not(tf.reduce_all(is_over)))

    def body(i, symbol, state, is_over, symbols):
        new = tf.tanh(tf.matmul(state, recurrent) + tf.nn.embedding_lookup(embedding, symbol))
        symbol = tf.argmax(tf.matmul(new, logits), 1, output_type=tf.int32)
        symbol = tf.where(is_over, tf.zeros_like(symbol), symbol)
        state = tf.where(is_over, state, new)
        return i + 1, symbol, state, tf.logical_or(is_over, tf.equal(symbol, stop)), symbols.write(i, symbol)

    symbols = tf.TensorArray(tf.int32, size=0, dynamic_size=True, element_shape=[None])
    none = tf.zeros([batch], tf.int32)
    first = [0, none, start, tf.zeros([batch], tf.bool), symbols]
    *_, state, _, symbols = tf.while_loop(goes_on, body, first)
    return start, symbols.stack(), state


@pytest.mark.parametrize(("steps", "stop"), [(20, -1), (20, 3), (1, 3)])
@pytest.mark.parametrize("batch", [1, 4])
def test_greedy_decoding(steps, stop, batch):
    start, symbols, state = _decoded(steps, stop)
    hosts = ["_ListOf", "TensorListLength", "TensorListStack"]
    _same_as_numpy([symbols, state], {start: np.random.RandomState(batch).randn(batch, 8)}, hosts)
    plans = [r.native for r in natively.execute._records.values() if r.native is not None]
    assert sum(role is Role.LOOP for plan in plans for role in plan.node_roles.values()) == 1


def test_no_iterations():
    n, x = tf.placeholder(tf.int32, []), tf.placeholder(tf.float32, [2])
    items = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=[2])
    last = tf.minimum(n, 5)
    _, items = tf.while_loop(lambda i, _: i < last, lambda i, a: (i + 1, a.write(i, x * 2.0)), [0, items])
    stacked, size = items.stack(), items.size()
    for count in (0, 1, 5, 9):
        with tf.Session(backend="native", tier="compiled") as session:
            for _ in range(2):
                got, found = session.run([stacked, size], {n: count, x: [1.0, 2.0]})
                assert (
                    got.shape == (min(count, 5), 2) and found == min(count, 5) and (got == [2.0, 4.0]).all()
                )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda items, i, x: items.write(i, x).write(i, x), "already been written"),
        (lambda items, i, x: items.write(i, x + items.read(i + 1)), "array size is: 0"),
    ],
)
def test_errors_are_those_of_the_reference_backend(change, what):
    x = tf.placeholder(tf.float32, [2])
    items = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=[2])
    _, items = tf.while_loop(lambda i, _: i < 4, lambda i, a: (i + 1, change(a, i, x)), [0, items])
    stacked = items.stack()
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            for _ in range(2):
                with pytest.raises(tf.errors.InvalidArgumentError, match=what):
                    session.run(stacked, {x: [1.0, 2.0]})


def test_a_list_is_read_in_branches():
    x, i = tf.placeholder(tf.float32, [4, 3]), tf.placeholder(tf.int32, [])
    rows = tf.TensorArray(tf.float32, 4).unstack(tf.exp(x))
    y = tf.cond(i < 3, lambda: rows.read(i) * 2.0, lambda: tf.zeros([3]))

    def body(j, a):
        return j + 1, a + tf.cond(j < 3, lambda: rows.read(j + 1), lambda: rows.read(0) * a)

    _, z = tf.while_loop(lambda j, _: j < 4, body, [0, x[0]])
    for k in (0, 2, 3, 9):
        _same_as_numpy([y, z], {x: RNG.randn(4, 3), i: k})
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.InvalidArgumentError, match="index -1"),
    ):
        session.run(y, {x: np.ones((4, 3)), i: -1})


def test_rows_of_a_variable_that_a_loop_reads_are_trained():
    with tf.variable_scope("rows", initializer=tf.constant_initializer(0.5)):
        table = tf.get_variable("table", [9, 4])
    numbers = tf.placeholder(tf.int32, [5])

    def body(i, a):
        return i + 1, tf.tanh(a * 0.5 + tf.gather(table, tf.gather(numbers, i)))

    _, y = tf.while_loop(lambda i, _: i < 5, body, [0, tf.zeros([4])])
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y * y))
    found = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        natively.execute._records.clear()
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            for _ in range(3):
                session.run(train, {numbers: [1, 2, 2, 8, 0]})
            found.append(session.run(table))
    assert "While" not in natively.left_to_numpy()
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_scan_whose_first_item_is_written_before_the_loop(rows):
    x = tf.placeholder(tf.float64, [None, 4])
    y = tf.scan(lambda a, b: tf.sin(a) * 0.5 + b, x)
    _same_as_numpy([y, *tf.gradients(y * y, x)], {x: RNG.randn(rows, 4)})


@pytest.mark.parametrize("size", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_numpy_computes_is_written_to_a_list(place: int, size: int):
    """A row is found by the segment that writes it, though its index was known before."""
    x = tf.placeholder(tf.float32, [None, 3])
    items = [x, tf.exp(x), tf.tanh(x)]
    items[place] = tf.igamma(2.0, tf.square(x))
    rows = tf.TensorArray(tf.float32, 3, element_shape=[None, 3])
    for i, item in enumerate(items):
        rows = rows.write(i, item * (i + 2.0))
    stacked = rows.stack()
    y = tf.reduce_sum(tf.sin(stacked), 0)
    fetches = [stacked, y, *tf.gradients(y, items), *tf.gradients(y, x)]
    _same_as_numpy(fetches, {x: RNG.randn(size, 3)}, hosts=["Igamma"])


def test_what_a_loop_of_numpys_computes_is_written_to_a_list():
    x, n = tf.placeholder(tf.float64, [None, 4]), tf.placeholder(tf.int32, [])
    two = tf.constant(2.0, tf.float64)
    _, last = tf.while_loop(
        lambda i, _: i < n, lambda i, y: (i + 1, tf.igamma(two, tf.square(y)) + x), [0, x]
    )
    rows = tf.TensorArray(tf.float64, 3)
    for i in range(3):
        rows = rows.write(i, last * (i + 1.0))
    y = tf.reduce_sum(rows.stack(), 0)
    _same_as_numpy([y], {x: RNG.randn(2, 4), n: 3}, ["While", "Igamma"])
