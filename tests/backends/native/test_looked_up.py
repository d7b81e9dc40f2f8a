"""A loop that multiplies rows of a table: there, and in its gradient, the table is multiplied instead."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute, lookups
from tests.backends.native import guarded, natively

RNG = np.random.RandomState(11)


class _Net:
    """A recurrent net over vectors of a table, its results and all gradients."""

    def __init__(self, cell, height, batch, steps, dtype=tf.float32, indices=tf.int32, **how) -> None:
        tf.reset_default_graph()
        self.ids = tf.placeholder(indices, [batch, steps], name="ids")
        initializer = tf.random_uniform_initializer(-1, 1, seed=3, dtype=dtype)
        with tf.variable_scope("net", initializer=initializer, dtype=dtype):
            table = tf.get_variable("table", [height, 5])
            rows = tf.nn.embedding_lookup(table, self.ids, name="vectors")
            outputs, _ = tf.nn.dynamic_rnn(cell(6), rows, dtype=dtype, **how)
        self.variables = tf.trainable_variables()
        loss = tf.reduce_sum(outputs * outputs)
        gradients = [tf.convert_to_tensor(g) for g in tf.gradients(loss, self.variables)]
        self.fetches = [outputs, *gradients]
        with tf.Session(backend="numpy") as session:
            session.run(tf.global_variables_initializer())
            self.values = session.run(self.variables)

    def run(self, ids, backend="native", threads=0, fetches=None):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        tier = "compiled" if backend == "native" else None
        with tf.Session(backend=backend, tier=tier, config=config) as session:
            for variable, value in zip(self.variables, self.values):
                variable.load(value, session)
            execute._records.clear()
            return session.run(self.fetches if fetches is None else fetches, {self.ids: ids})

    def check(self, ids, tolerance=2e-5) -> None:
        expected = self.run(ids, "numpy")
        for got, wanted in zip(self.run(ids), expected):
            assert got.dtype == wanted.dtype and got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
        assert natively.left_to_numpy() == []


def _titles() -> list[str]:
    """What the calls of the plans compute."""
    natives = [r.native for r in execute._records.values() if r.native is not None]
    return [call.title for plan in natives for segment in plan.segments for call in segment.calls]


@pytest.mark.parametrize(
    "cell", [tf.nn.rnn_cell.BasicRNNCell, tf.nn.rnn_cell.GRUCell, tf.nn.rnn_cell.LSTMCell]
)
@pytest.mark.parametrize(("batch", "steps"), [(1, 9), (4, 7)])
def test_a_small_table_is_multiplied_instead_of_its_rows(cell, batch, steps):
    net = _Net(cell, 8, batch, steps)
    net.check(RNG.randint(0, 8, [batch, steps]))
    titles = _titles()
    assert "GatherV2" in titles[titles.index("loop") :] and "sums of rows" in titles
    assert "rows to their places" in titles


def test_a_table_that_may_have_more_rows_than_are_looked_up_is_not_multiplied():
    net = _Net(tf.nn.rnn_cell.GRUCell, 29, 4, 7)
    net.check(RNG.randint(0, 29, [4, 7]))
    titles = _titles()
    assert "GatherV2" not in titles[titles.index("loop") :] and "sums of rows" not in titles


@pytest.mark.parametrize(("batch", "steps"), [(2, 2), (3, 5), (1, 4), (2, 1), (0, 3)])
@pytest.mark.parametrize("height", [4, 5])
def test_sizes_that_are_fed(batch, steps, height):
    _Net(tf.nn.rnn_cell.BasicLSTMCell, height, None, None).check(RNG.randint(0, height, [batch, steps]))


def test_another_batch_compiles_nothing():
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 8, None, 7)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        session.run(net.fetches, {net.ids: RNG.randint(0, 8, [3, 7])})
        plans = len(execute._records.values())
        explained = session.explain(net.fetches, {net.ids: RNG.randint(0, 8, [6, 7])})
        session.run(net.fetches, {net.ids: RNG.randint(0, 8, [6, 7])})
        assert len(execute._records.values()) == plans
    assert " 0 compiled" in str(explained)


@pytest.mark.parametrize("dtype", [tf.float64, tf.float16])
def test_other_dtypes(dtype):
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 8, 3, 6, dtype, tf.int64)
    net.check(RNG.randint(0, 8, [3, 6]), 1e-12 if dtype is tf.float64 else 2e-2)


def test_sequences_of_several_lengths():
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 8, 4, 7, sequence_length=[2, 5, 0, 4])
    net.check(RNG.randint(0, 8, [4, 7]))


def test_time_may_come_first():
    _Net(tf.nn.rnn_cell.GRUCell, 8, 7, 3, time_major=True).check(RNG.randint(0, 8, [7, 3]))


def test_rows_that_nobody_looks_up_do_no_harm():
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 8, 4, 7)
    net.values[0][[2, 5]] = [[np.nan], [np.inf]]
    net.check(RNG.choice([0, 1, 3, 4, 6, 7], [4, 7]))


def test_the_bits_are_the_same_for_any_number_of_threads():
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 20, 33, 16)
    ids = RNG.randint(0, 20, [33, 16])
    first, *others = [[r.tobytes() for r in net.run(ids, threads=n)] for n in (1, 2, 4)]
    assert all(other == first for other in others)


@pytest.mark.parametrize("bad", [8, -1])
def test_an_index_out_of_range_is_an_error_of_the_lookup(bad):
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 8, 4, 7)
    ids = RNG.randint(0, 8, [4, 7])
    ids[2, 3] = bad
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"= {bad} is not in \\[0, 8\\)") as caught:
        net.run(ids)
    assert caught.value.op is not None and "vectors" in caught.value.op.name


def test_an_index_out_of_range_that_only_a_gradient_takes():
    ids, w = tf.placeholder(tf.int32, [6, 4]), tf.placeholder(tf.float32, [3, 2])
    rows = tf.TensorArray(tf.float32, 6).unstack(tf.gather(tf.ones([5, 3]) * tf.reduce_sum(w), ids))
    _, total = tf.while_loop(
        lambda i, a: i < 6, lambda i, a: (i + 1, a + tf.matmul(rows.read(i), w)), [0, tf.zeros([4, 2])]
    )
    gradient = tf.gradients(total, w)
    good = np.full([6, 4], 4)
    feeds = {ids: good, w: np.ones([3, 2])}
    with tf.Session(backend="numpy") as session:
        expected = session.run(gradient, feeds)
    np.testing.assert_allclose(natively.run(gradient, feeds)[0], expected)
    good[5, 1] = 5
    with pytest.raises(tf.errors.InvalidArgumentError, match="= 5 is not in"):
        natively.run(gradient, {ids: good, w: np.ones([3, 2])})


def test_parts_beside_the_rows():
    """[a, rows, b, rows] W, and its gradient: each part has rows of W of its own."""
    ids, w = tf.placeholder(tf.int32, [6, 4]), tf.placeholder(tf.float64, [13, 4])
    table = tf.placeholder(tf.float64, [5, 3])
    rows = tf.TensorArray(tf.float64, 6).unstack(tf.gather(table, ids))

    def body(i, a):
        row = rows.read(i)
        return i + 1, tf.tanh(tf.matmul(tf.concat([a, row, a[:, :3], row], 1), w))

    _, result = tf.while_loop(lambda i, a: i < 6, body, [0, tf.ones([4, 4], tf.float64)])
    fetches = [result, *tf.gradients(result, [w, table])]
    fetches[2] = tf.convert_to_tensor(fetches[2])
    feeds = {ids: RNG.randint(0, 5, [6, 4]), w: RNG.randn(13, 4), table: RNG.randn(5, 3)}
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    got, hosts = natively.run(fetches, feeds)
    assert hosts == [] and _titles().count("sums of rows") == 2
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["GradientDescentOptimizer", "AdamOptimizer", "MomentumOptimizer"])
def test_training(name):
    """Optimizers add up the gradients of equal rows, or apply them one by one."""
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 8, 4, 7, tf.float64)
    rates = (0.1, 0.9) if name == "MomentumOptimizer" else (0.1,)
    train = getattr(tf.train, name)(*rates).minimize(tf.reduce_mean(net.fetches[0] ** 2))
    ids, found = RNG.randint(0, 8, [4, 7]), {}
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            for variable, value in zip(net.variables, net.values):
                variable.load(value, session)
            for _ in range(3):
                session.run(train, {net.ids: ids})
            found[backend] = session.run(net.variables)
    for got, wanted in zip(found["native"], found["numpy"]):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def test_gradients_of_rows_that_are_wanted_themselves():
    net = _Net(tf.nn.rnn_cell.BasicLSTMCell, 8, 4, 7, tf.float64)
    (slices,) = tf.gradients(tf.reduce_sum(net.fetches[0] ** 2), net.variables[:1])
    rows = [slices.values, tf.global_norm([slices]), tf.convert_to_tensor(slices)]
    ids = RNG.randint(0, 8, [4, 7])
    for got, wanted in zip(net.run(ids, fetches=rows), net.run(ids, "numpy", fetches=rows)):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def _loop_over_rows(ids, table, w, position, order):
    """The gradients of a loop that multiplies rows of a table, taken in some order, and turned in some way."""
    rows = tf.TensorArray(tf.float64, 6).unstack(tf.transpose(tf.gather(table, ids), order))

    def body(i, a):
        return i + 1, tf.tanh(tf.matmul(tf.concat([rows.read(position(i)), a], 1), w))

    _, result = tf.while_loop(lambda i, a: i < 6, body, [0, tf.ones([4, 4], tf.float64)])
    gradients = tf.gradients(tf.reduce_sum(result * result), [table, w])
    return [result, *map(tf.convert_to_tensor, gradients)]


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2]])
@pytest.mark.parametrize("position", [lambda i: 5 - i, lambda i: i // 2], ids=["backwards", "twice"])
def test_rows_in_any_order(order, position):
    shape = (6, 4) if order[0] == 0 else (4, 6)
    ids = tf.placeholder(tf.int32, shape)
    table, w = tf.placeholder(tf.float64, [5, 3]), tf.placeholder(tf.float64, [7, 4])
    fetches = _loop_over_rows(ids, table, w, position, order)
    feeds = {ids: RNG.randint(0, 5, shape), table: RNG.randn(5, 3), w: RNG.randn(7, 4)}
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    got, hosts = natively.run(fetches, feeds)
    assert hosts == [] and "rows to their places" in _titles()
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-12)


def test_both_directions():
    tf.reset_default_graph()
    ids, cell = tf.placeholder(tf.int32, [4, 7]), tf.nn.rnn_cell.GRUCell
    with tf.variable_scope("net", initializer=tf.random_uniform_initializer(-1, 1, seed=3)):
        rows = tf.nn.embedding_lookup(tf.get_variable("table", [8, 5]), ids)
        outputs, _ = tf.nn.bidirectional_dynamic_rnn(cell(6), cell(6), rows, dtype=tf.float32)
    loss = tf.reduce_sum(tf.concat(outputs, 2) ** 2)
    fetches = [loss, *map(tf.convert_to_tensor, tf.gradients(loss, tf.trainable_variables()))]
    feeds = {ids: RNG.randint(0, 8, [4, 7])}
    with tf.Session(backend="numpy") as session:
        session.run(tf.global_variables_initializer())
        values = session.run(tf.trainable_variables())
        expected = session.run(fetches, feeds)
    with tf.Session(backend="native", tier="compiled") as session:
        for variable, value in zip(tf.trainable_variables(), values):
            variable.load(value, session)
        got = session.run(fetches, feeds)
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g, e, rtol=2e-5, atol=2e-5)


def test_a_lookup_of_the_loops_own_is_not_computed_ahead():
    """A decoder looks up what it has chosen, and may stop early: a large table must not be multiplied for that."""
    table, w = tf.placeholder(tf.float32, [9, 4]), tf.placeholder(tf.float32, [4, 4])

    def body(i, at, a):
        return i + 1, (at * 2 + 1) % 9, a + tf.matmul(tf.gather(table, at), w)

    first = [0, tf.constant([0, 3]), tf.zeros([2, 4])]
    result = tf.while_loop(lambda i, *_: i < 20, body, first)[2]
    feeds = {table: RNG.randn(9, 4), w: RNG.randn(4, 4)}
    with tf.Session(backend="numpy") as session:
        expected = session.run(result, feeds)
    got, hosts = natively.run(result, feeds)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)
    titles = _titles()
    assert hosts == [] and not any("MatMul" in t for t in titles[: titles.index("loop")])


@pytest.mark.parametrize(
    ("height", "length", "places"), [(1, 1, 1), (5, 7, 9), (3, 300, 40), (700, 33, 20), (4, 5, 0)]
)
def test_rows_in_use_within_their_bounds(height, length, places):
    table = RNG.randn(height, length).astype(np.float32)
    indices = RNG.randint(0, height, [places]).astype(np.int32)
    rows = lookups.Rows(tf.float32, tf.int32, 1, None)
    kernel = lookups.accumulate(rows, "assign", 0, is_same_row=True)
    *cut, tiles = lookups._blocks(height, length, 4)
    sizes = (places, length, height, *cut, height)
    target, status = guarded.run(
        kernel, [table, indices], [((height, length), np.float32), ((1,), np.int64)], sizes, tiles
    )
    expected = np.zeros_like(table)
    expected[indices] = table[indices]
    np.testing.assert_array_equal(target, expected)
    assert status.view(np.uint8).tolist() == [0xFF] * 8


@pytest.mark.parametrize(("height", "length", "places"), [(1, 1, 1), (5, 7, 9), (40, 3, 20), (4, 5, 0)])
def test_rows_that_are_moved_to_their_places_within_their_bounds(height, length, places):
    rows = RNG.randn(height, length).astype(np.float32)
    indices = RNG.randint(0, height, [places]).astype(np.int32)
    kernel = lookups.hand_out(lookups.Rows(tf.float32, tf.int32, 1, None))
    table = (places, length, height)
    target, left = guarded.run(kernel, [rows, indices], [((places, length), np.float32), 0], table, 1)
    expected, rest = np.zeros((places, length), np.float32), rows.copy()
    for place, index in enumerate(indices):
        expected[place], rest[index] = rest[index], 0
    np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(left, rest)
