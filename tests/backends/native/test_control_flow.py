"""Loops and lists run natively: with the results of the reference backend, and no Python between iterations."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tahr.backends.native.roles import Role
from tests.backends.native import natively

RNG = np.random.RandomState(7)


def _loops() -> int:
    """How many loops are native in the plans there are."""
    plans = [record.native for record in execute._records.values() if record.native is not None]
    return sum(r is Role.LOOP for plan in plans for r in plan.node_roles.values())


def _same_as_numpy(fetches, feeds, loops: int = 1) -> list:
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    got, hosts = natively.run(fetches, feeds)
    assert hosts == [] and _loops() == loops
    for g, e in zip(got, expected):
        assert g.dtype == e.dtype and g.shape == e.shape
        np.testing.assert_allclose(g, e, rtol=2e-5, atol=2e-5)
    return got


# ---------------------------------------------------------------- loops


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_loop_over_arrays_of_sizes_that_are_fed(rows):
    x = tf.placeholder(tf.float32, [None, 4])
    results = tf.while_loop(
        lambda i, a, b: i < 10, lambda i, a, b: (i + 1, a + b, a * 0.5 + x), [0, x, x * 2.0]
    )
    _same_as_numpy(results, {x: RNG.randn(rows, 4).astype(np.float32)})


def test_variables_that_change_places():
    n = tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float32, [2, 3])
    results = tf.while_loop(
        lambda i, a, b, c: i < n, lambda i, a, b, c: (i + 1, b, c, a), [0, x, x + 1.0, x + 2.0]
    )
    for count in range(4):
        _same_as_numpy(results, {x: np.arange(6.0).reshape(2, 3), n: count})


def test_a_condition_on_data():
    x = tf.placeholder(tf.float64, [5])
    root = tf.while_loop(
        lambda r: tf.reduce_max(tf.abs(r * r - x)) > 1e-9, lambda r: 0.5 * (r + x / r), [tf.ones_like(x)]
    )
    value = np.array([1.0, 2.0, 9.0, 1e4, 0.5])
    (got,) = _same_as_numpy([root], {x: value})
    np.testing.assert_allclose(got, np.sqrt(value), rtol=1e-9)


def test_a_loop_in_a_loop():
    x = tf.placeholder(tf.float32, [3])

    def outer(i, a):
        _, b = tf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, b * x), [0, a])
        return i + 1, b + x

    results = tf.while_loop(lambda i, a: i < 4, outer, [1, tf.ones_like(x)])
    _same_as_numpy(results, {x: np.array([1.5, -0.5, 0.0])}, loops=2)


def test_what_a_loop_captures_outlives_its_iterations():
    x, w = tf.placeholder(tf.float32, [None, 8]), tf.placeholder(tf.float32, [8, 8])
    kernel = tf.tanh(w)  # a storage of the plan's own, read early in each iteration

    def body(i, a):
        b = tf.matmul(a, kernel)
        return i + 1, tf.nn.softmax(tf.matmul(tf.nn.relu(b), w)) + tf.reduce_sum(b)

    results = tf.while_loop(lambda i, a: i < 6, body, [0, x])
    _same_as_numpy(results, {x: RNG.randn(5, 8), w: 0.1 * RNG.randn(8, 8)})


def test_a_variable_that_is_a_part_of_what_an_iteration_made():
    x = tf.placeholder(tf.float32, [2, 3])

    def body(i, a, total):
        twice = tf.tanh(1.5 * tf.concat([a, 2.0 * a], 0))
        return i + 1, twice[:2], total + tf.reduce_sum(twice)

    results = tf.while_loop(lambda i, *_: i < 5, body, [0, x, 0.0])
    _same_as_numpy(results, {x: RNG.randn(2, 3)})


def test_a_loop_without_an_end_is_over_in_time():
    x = tf.placeholder(tf.float32, [2])
    forever = tf.while_loop(lambda a: tf.reduce_all(tf.equal(a, a)), lambda a: a * 0.5, [x])
    options = tf.RunOptions(timeout_in_ms=300)
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.DeadlineExceededError),
    ):
        session.run(forever, {x: [1.0, 2.0]}, options=options)


# ---------------------------------------------------------------- lists


def test_rows_are_read_and_written():
    x = tf.placeholder(tf.float32, [5, 3])
    rows = tf.TensorArray(tf.float32, 5).unstack(x)
    made = tf.TensorArray(tf.float32, 5)

    def body(i, made, total):
        return i + 1, made.write(4 - i, total * rows.read(i)), total + rows.read(i)

    _, made, total = tf.while_loop(lambda i, *_: i < 5, body, [0, made, x[0]])
    _same_as_numpy([made.stack(), total], {x: RNG.randn(5, 3)})


def test_rows_that_nobody_wrote_are_zeros():
    x = tf.placeholder(tf.float32, [3])
    made = tf.TensorArray(tf.float32, 6, element_shape=[3])
    _, made = tf.while_loop(lambda i, _: i < 6, lambda i, a: (i + 2, a.write(i, x)), [0, made])
    _same_as_numpy([made.stack()], {x: np.ones(3)})


@pytest.mark.parametrize(
    ("index", "what"), [(lambda i: i * 0, "already been written"), (lambda i: i + 3, "Tried to write")]
)
def test_writing_to_a_wrong_row_is_an_error(index, what):
    x = tf.placeholder(tf.float32, [3])
    made = tf.TensorArray(tf.float32, 4)
    _, made = tf.while_loop(lambda i, _: i < 4, lambda i, a: (i + 1, a.write(index(i), x)), [0, made])
    stacked = made.stack()
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.InvalidArgumentError, match=what),
    ):
        session.run(stacked, {x: np.ones(3)})


def test_reading_a_row_that_is_not_there_is_an_error():
    x = tf.placeholder(tf.float32, [4, 3])
    rows = tf.TensorArray(tf.float32, 4).unstack(x)
    _, total = tf.while_loop(lambda i, _: i < 6, lambda i, t: (i + 1, t + rows.read(i)), [0, x[0]])
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.InvalidArgumentError, match="index 4 but array size is: 4"),
    ):
        session.run(total, {x: np.ones((4, 3))})


# ---------------------------------------------------------------- gradients


def _lstm(steps: int, lengths=None):
    x = tf.placeholder(tf.float32, [None, steps, 4])
    with tf.variable_scope("lstm", initializer=tf.ones_initializer()):
        w = tf.placeholder(tf.float32, [10, 24])
        with tf.variable_scope("scale"):
            cell = tf.nn.rnn_cell.BasicLSTMCell(6)
        outputs, state = tf.nn.dynamic_rnn(cell, x * w[0, 0], lengths, dtype=tf.float32)
    loss = tf.reduce_sum(outputs * outputs) + tf.reduce_sum(state.c)
    return x, w, loss, tf.gradients(loss, [x, *tf.trainable_variables()])


@pytest.mark.parametrize("batch", [1, 3])
def test_a_recurrent_net_and_its_gradients(batch):
    x, w, loss, gradients = _lstm(5)
    feeds = {x: RNG.randn(batch, 5, 4), w: 0.3 * RNG.randn(10, 24)}
    found = {}
    for backend, tier in (("numpy", None), ("native", "compiled")):
        execute._records.clear()
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            found[backend] = [session.run([loss, *gradients], feeds) for _ in range(3)][-1]
    assert natively.left_to_numpy() == [] and _loops() == 2
    for g, e in zip(found["native"], found["numpy"]):
        np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_the_sum_of_products_counts_the_iterations_that_there_were(count):
    n = tf.placeholder(tf.int32, [])
    x, w = tf.placeholder(tf.float64, [2, 3]), tf.placeholder(tf.float64, [3, 3])
    last = tf.minimum(n, 5)
    _, y = tf.while_loop(lambda i, a: i < last, lambda i, a: (i + 1, tf.tanh(tf.matmul(a, w)) + x), [0, x])
    gradients = tf.gradients(tf.reduce_sum(y * y), [x, w])
    _same_as_numpy([y, *gradients], {x: RNG.randn(2, 3), w: RNG.randn(3, 3), n: count}, loops=2)


def test_a_factor_that_is_a_few_operations_is_kept_too():
    """Whoever reads 1 - a could compute it again; the product behind the loop needs it from every iteration."""
    x, w = tf.placeholder(tf.float64, [2, 3]), tf.placeholder(tf.float64, [3, 3])

    def body(i, a, total):
        b = 1.0 - a
        return i + 1, tf.sin(b), total + tf.matmul(a, b, transpose_a=True)

    results = tf.while_loop(lambda i, *_: i < 6, body, [0, x, w])
    _same_as_numpy(results, {x: RNG.randn(2, 3), w: RNG.randn(3, 3)})


def test_what_is_kept_for_a_gradient_is_written_once():
    """Gradients of gates are computed where the sum behind the loop reads them; what only says a shape is not kept."""
    x, w, loss, gradients = _lstm(5)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        execute._records.clear()
        session.run([loss, *gradients], {x: RNG.randn(3, 5, 4), w: np.ones([10, 24])})
    (plan,) = (r.native for r in execute._records.values() if r.native is not None)
    titles = [call.title for segment in plan.segments for call in segment.calls]
    forward = titles[titles.index("loop") : titles.index("end of the loop")]
    backward = titles[titles.index("end of the loop") + 1 :]
    backward = backward[backward.index("loop") : backward.index("end of the loop")]
    assert "Sum" in backward and "Sum _Copy" not in backward
    assert forward.count("TensorListPushBack") == 8  # the counter, h, c, four gates and tanh(c)


def test_the_gradient_of_a_gradient():
    x = tf.placeholder(tf.float64, [3])
    _, y = tf.while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, tf.sin(a) * x), [0, x])
    (first,) = tf.gradients(y, x)
    (second,) = tf.gradients(first, x)
    with tf.Session(backend="numpy") as session:
        expected = session.run([first, second], {x: [0.3, -1.0, 2.0]})
    got, _ = natively.run([first, second], {x: [0.3, -1.0, 2.0]}, runs=2)
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_variables_that_are_made_of_each_other():
    x, z = tf.placeholder(tf.float64, [2]), tf.placeholder(tf.float64, [2])
    _, a, b = tf.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, b, a * b), [0, x, z])
    gradients = tf.gradients(a * 2.0 + b, [x, z])
    _same_as_numpy([a, b, *gradients], {x: [0.9, -0.3], z: [1.4, 2.0]}, loops=2)


# ---------------------------------------------------------------- ahead of a loop


def _kernels_of_iterations(fetches, feeds) -> list[str]:
    """What the kernels of a session's loops compute, between the loops' first and last steps."""
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(fetches, feeds)
    (record,) = [r for r in execute._records.values() if r.native is not None]
    assert record.native is not None
    titles = [call.title for segment in record.native.segments for call in segment.calls]
    return titles[titles.index("loop") : titles.index("end of the loop")]


def test_what_never_changes_is_computed_ahead_of_the_loop():
    x, w = tf.placeholder(tf.float32, [None, 8]), tf.placeholder(tf.float32, [8, 8])

    def body(i, a, b):
        return i + 1, tf.matmul(a, tf.exp(w) / tf.reduce_sum(w)) + b, b

    results = tf.while_loop(lambda i, a, b: i < 6, body, [0, x, tf.tanh(x)])
    feeds = {x: RNG.randn(5, 8), w: 0.1 * RNG.rand(8, 8)}
    _same_as_numpy(results, feeds)
    inside = " ".join(_kernels_of_iterations(results, feeds))
    assert "MatMul" in inside and "Exp" not in inside and "Sum" not in inside


@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_matrix_is_transposed_ahead_of_the_loop(count):
    n = tf.placeholder(tf.int32, [])
    x, w = tf.placeholder(tf.float32, [None, 8]), tf.placeholder(tf.float32, [8, 8])
    results = tf.while_loop(
        lambda i, a: i < n, lambda i, a: (i + 1, tf.tanh(tf.matmul(a, w, transpose_b=True))), [0, x]
    )
    _same_as_numpy(results, {x: RNG.randn(5, 8), w: RNG.randn(8, 8), n: count})


def test_what_is_computed_ahead_in_a_loop_in_a_loop():
    x, w = tf.placeholder(tf.float32, [2, 8]), tf.placeholder(tf.float32, [8, 8])

    def outer(i, a):
        scaled = w * tf.cast(i, tf.float32)
        _, b = tf.while_loop(
            lambda j, b: j < 5, lambda j, b: (j + 1, tf.matmul(b, tf.sin(scaled), transpose_b=True)), [0, a]
        )
        return i + 1, tf.tanh(b + tf.matmul(x, tf.cos(w)))

    results = tf.while_loop(lambda i, a: i < 4, outer, [1, x])
    _same_as_numpy(results, {x: RNG.randn(2, 8), w: 0.3 * RNG.randn(8, 8)}, loops=2)


def test_what_may_fail_stays_in_the_loop():
    x, at = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.int32, [2])
    n = tf.placeholder(tf.int32, [])
    results = tf.while_loop(
        lambda i, a: i < n, lambda i, a: (i + 1, a + tf.gather(x, at)), [0, tf.zeros([2])]
    )
    _same_as_numpy(results, {x: np.ones(4), at: [0, 9], n: 0})
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.InvalidArgumentError),
    ):
        session.run(results, {x: np.ones(4), at: [0, 9], n: 1})


def test_what_a_loop_remembered_is_used_behind_a_step_of_numpy():
    """Its lists are made by one segment, and changed by another."""
    x = tf.placeholder(tf.float64, [None, 3, 3])
    squares = tf.map_fn(lambda a: tf.tanh(a) + tf.eye(3, dtype=tf.float64) * 2.0, x)
    loss = tf.reduce_sum(tf.square(tf.matrix_inverse(squares)))
    fetches = [loss, *tf.gradients(loss, x)]
    with tf.Session(backend="numpy") as reference, tf.Session(backend="native", tier="compiled") as session:
        for count in (4, 1, 4):
            feeds = {x: RNG.randn(count, 3, 3)}
            for found, expected in zip(session.run(fetches, feeds), reference.run(fetches, feeds)):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert _loops() > 0


# ---------------------------------------------------------------- when the body of a loop is compiled


def _compiled() -> int:
    """How many plans are compiled."""
    return sum(record.native is not None for record in execute._records.values())


def _counting(count: int, is_native: bool):
    """A loop of so many iterations, and what it gives."""
    known = (
        (lambda x: x) if is_native else (lambda x: tf.py_func(lambda x: x, [x], tf.float32, stateful=False))
    )

    def body(i, total):
        more = known(total + 1.0)
        more.set_shape([3])
        return i + 1, more * 1.0

    _, total = tf.while_loop(lambda i, _: i < count, body, [0, tf.zeros([3])])
    return total


@pytest.mark.parametrize("is_native", [True, False])
def test_the_first_run_compiles_no_short_loop(is_native):
    total = _counting(20, is_native)
    execute._records.clear()  # of earlier tests, whose plans may go at any time
    with tf.Session(backend="native") as session:
        before = _compiled()
        for run in range(3):
            assert session.run(total).tolist() == [20, 20, 20]
            assert (_compiled() > before) == (run > 0)


def test_the_first_run_compiles_a_long_loop():
    count = execute.COMPILED_IN_LOOPS_FROM + 5
    total = _counting(count, is_native=True)
    execute._records.clear()  # of earlier tests, whose plans may go at any time
    with tf.Session(backend="native") as session:
        before = _compiled()
        assert session.run(total).tolist() == [count] * 3
        assert _compiled() > before
