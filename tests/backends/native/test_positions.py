"""Positions that are data: `x[i]`, `x[:, t]`, `x[i, 2:5, j]`, blocks that begin there, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import positions
from tahr.core import dtypes
from tests.backends.native import guarded, natively

KEYS = [
    lambda x, i, j: x[i],
    lambda x, i, j: x[:, i],
    lambda x, i, j: x[..., i],
    lambda x, i, j: x[:, i, tf.newaxis],
    lambda x, i, j: x[i, ...],
    lambda x, i, j: x[0:, i, :],
    lambda x, i, j: x[i, 0],
    lambda x, i, j: x[-1, i],
    lambda x, i, j: x[i, j],
    lambda x, i, j: x[i, :, j],
    lambda x, i, j: x[:, j, i],
    lambda x, i, j: x[..., i, j],
    lambda x, i, j: x[i, j, -2],
    lambda x, i, j: x[i, j, i],
    lambda x, i, j: x[i, 1:3],
    lambda x, i, j: x[i, 1:100, tf.newaxis, j],
    lambda x, i, j: x[1:, i, ::2],
    lambda x, i, j: x[::-1, ::-1, i],
    lambda x, i, j: x[i, ::-2, ::-1],
    lambda x, i, j: x[i, 2:1],
]


@pytest.mark.parametrize("take", KEYS)
@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 3, 3)])
def test_positions_and_their_gradients(take, dtype, shape):
    x = tf.placeholder(dtype, [None, None, shape[2]])
    i, j = tf.placeholder(tf.int32, []), tf.placeholder(tf.int32, [])
    y = take(x, i, j)
    dx = tf.gradients(y * y, x)[0]
    value = np.arange(np.prod(shape)).reshape(shape) / 16
    for places in ((0, 2), (2, -1), (-1, 0), (-3, 1)):
        feeds = {x: value, i: places[0], j: places[1]}
        with tf.Session(backend="numpy") as session:
            expected = session.run([y, dx], feeds)
        for threads in (1, 4):
            got, left = natively.run([y, dx], feeds, threads=threads)
            assert left == []
            assert all(map(natively.same, got, expected))


@pytest.mark.parametrize("take", KEYS)
def test_many_tiles_have_the_bits_of_one(take):
    x, i, j = tf.placeholder(tf.float64, [None] * 3), *(tf.placeholder(tf.int64, []) for _ in range(2))
    y = take(x, i, j)
    fetches = [y, tf.gradients(y * y, x)[0]]
    value = np.random.RandomState(0).randn(40, 90, 50)
    natively.is_as_numpy(fetches, {x: value, i: 31, j: -40}, {x: value[:33], i: -1, j: 0})


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.int64, tf.bool, tf.int8])
def test_other_dtypes(dtype):
    x, i = tf.placeholder(dtype, [2, 4]), tf.placeholder(tf.int64, [])
    value = np.array([[1, 1, 0, 1], [0, 1, 1, 0]]).astype(dtype.as_numpy_dtype)
    got, left = natively.run([x[1, i], x[i - 1, 1:]], {x: value, i: 2})
    assert left == []
    assert all(map(natively.same, got, [value[1, 2, ...], value[1, 1:]]))


@pytest.mark.parametrize("index", [4, -5, 2**31 - 1, -(2**31)])
def test_a_position_out_of_range_is_an_error(index):
    x, i = tf.placeholder(tf.float32, [2, None]), tf.placeholder(tf.int32, [])
    (dx,) = tf.gradients(x[:, i], x)
    for fetch in (x[:, i], dx):
        assert f"slice index {index} of dimension 1 out of bounds" in error(
            fetch, {x: np.ones((2, 4)), i: index}
        )


@pytest.mark.parametrize("places", [(3, 0), (0, 4), (-4, -5), (2**63 - 1, 0), (0, -(2**63))])
def test_one_of_several_positions_out_of_range(places):
    x, i, j = tf.placeholder(tf.float32, [None] * 3), *(tf.placeholder(tf.int64, []) for _ in range(2))
    for y in (x[i, j], x[i, :2, j]):
        for fetch in (y, tf.gradients(y, x)[0]):
            found = error(fetch, {x: np.ones((3, 4, 4)), i: places[0], j: places[1]})
            assert "out of bounds" in found and "test_positions.py" in found


def error(fetch, feeds):
    """What is said natively of feeds that are not valid, run after run: what NumPy's backend complains of."""
    found = []
    for backend, tier in (("numpy", "reference"), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            for _ in range(2):
                with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                    session.run(fetch, feeds)
                found.append(str(caught.value))
    # Only the op may be another: NumPy's backend also computes what only the shape is wanted of.
    assert len({each.splitlines()[0].split(": ")[1] for each in found}) == 1
    return found[-1]


def test_a_gradient_of_another_shape_is_an_error():
    x, i, g = (
        tf.placeholder(tf.float32, [None, None]),
        tf.placeholder(tf.int32, []),
        tf.placeholder(tf.float32),
    )
    (dx,) = tf.gradients(x[i], x, grad_ys=tf.reshape(g, [-1]))
    for size in (1, 2, 5):
        assert "shape of dy was" in error(dx, {x: np.ones((3, 4)), i: 1, g: np.ones(size)})


def test_a_number_as_position_of_an_axis_of_any_size():
    """Whether 5 is within bounds is known only when it runs."""
    x = tf.placeholder(tf.float32, [None, None])
    y = x[5, -4]
    natively.is_as_numpy([y, tf.gradients(y, x)[0]], {x: np.arange(30.0).reshape(6, 5)})
    assert "slice index 5 of dimension 0" in error(y, {x: np.ones((5, 5))})
    assert "slice index -4 of dimension 1" in error(y, {x: np.ones((6, 3))})


@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_positions_between_guards(tiles):
    """x[:, i, ::2, j, 1:3], and its adjoint."""
    x = np.random.RandomState(0).randn(3, 4, 5, 2, 4).astype(np.float32)
    places = np.array([7, -1, 7, 1])
    taken = x[:, -1, ::2, 1, 1:3]
    # For each position its place, count, stride and end; for the loop over every other one its count and stride.
    table = (-(-3 // tiles), 3, 160, 1, 6, 2, *(1, 4, 40, 4), *(3, 2, 4, 2), *(3, 16))
    status = ((1,), np.int64)
    for is_adjoint, given, wanted in ((False, x, taken), (True, taken, np.zeros_like(x))):
        if is_adjoint:
            wanted[:, -1, ::2, 1, 1:3] = taken
        kernel = positions.position(dtypes.float32, dtypes.int64, 2, 1, True, is_adjoint)
        got, code = guarded.run(kernel, [given, places], [(wanted.shape, np.float32), status], table, tiles)
        np.testing.assert_array_equal(got, wanted)
        assert code == -1  # untouched
        places[1] = 4
        _, code = guarded.run(kernel, [given, places], [(wanted.shape, np.float32), status], table, tiles)
        assert code == tf.errors.INVALID_ARGUMENT
        places[1] = -1


@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_writes_to_positions_between_guards(tiles):
    """x[:, i, ::2, j, 1:3] of a variable; the rest of it, here poison, stays."""
    part = np.random.RandomState(1).randn(3, 3, 2).astype(np.float32)
    places = np.array([7, -1, 7, 1])
    table = (-(-3 // tiles), 3, 160, 1, 6, 2, *(1, 4, 40, 4), *(3, 2, 4, 2), *(3, 16))
    kernel = positions.position(dtypes.float32, dtypes.int64, 2, 1, True, True, keeps_rest=True)
    target = ((3, 4, 5, 2, 4), np.float32)
    for j, wanted in ((1, part), (4, np.full_like(part, np.nan))):
        places[3] = j
        got, code = guarded.run(kernel, [part, places], [target, ((1,), np.int64)], table, tiles)
        np.testing.assert_array_equal(got[:, -1, ::2, 1, 1:3], wanted)
        assert np.isfinite(got).sum() == np.isfinite(wanted).sum()
        assert code == (-1 if j == 1 else tf.errors.INVALID_ARGUMENT)


@pytest.mark.parametrize("take", KEYS)
@pytest.mark.parametrize("use_resource", [False, True])
def test_a_part_of_a_variable_is_written(take, use_resource):
    start = np.arange(60.0).reshape(3, 4, 5)
    v = tf.Variable(start, use_resource=use_resource)
    i, j = tf.placeholder(tf.int32, []), tf.placeholder(tf.int64, [])
    part = take(v, i, tf.cast(j, tf.int32))
    written = part.assign(-2.0 * part)
    for places in ((0, 2), (2, -1), (-3, 1)):
        feeds = {i: places[0], j: places[1]}
        is_written_as_by_numpy(v, written, feeds)


def is_written_as_by_numpy(v, fetch, feeds):
    """The same is fetched and in the variable, run after run, with any number of threads, and nothing is NumPy's."""
    found = []
    for backend, threads in (("numpy", 0), ("native", 1), ("native", 2), ("native", 4)):
        tier = "compiled" if backend == "native" else None
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Session(backend=backend, tier=tier, config=config) as session:
            session.run(v.initializer)
            results = [session.run(fetch, feeds) for _ in range(4)]
            found.append([*results, session.run(v)])
            if backend == "native":
                assert not session.explain(fetch, feeds).boundaries
    for other in found[1:]:
        assert all(map(natively.same, found[0], other))


PARTS = {
    "a range": lambda v: v[1:3],
    "a column": lambda v: v[:, 1],
    "every other": lambda v: v[::2],
    "backwards": lambda v: v[::-1, ::-1],
    "all": lambda v: v[...],
    "nothing": lambda v: v[2:1],
    "one": lambda v: v[-1, 0],
    "new axis": lambda v: v[0, tf.newaxis],
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.bool, tf.int64])
def test_a_known_part_of_a_variable_is_written(name, dtype):
    v = tf.Variable((np.arange(12).reshape(4, 3) % 5).astype(dtype.as_numpy_dtype))
    part = PARTS[name](v)
    value = tf.placeholder(dtype, part.shape)
    fed = (np.arange(part.shape.num_elements()).reshape(part.shape.as_list()) % 2).astype(
        dtype.as_numpy_dtype
    )
    is_written_as_by_numpy(v, part.assign(value), {value: fed})


def test_what_is_written_is_read_from_the_same_variable():
    start = np.random.RandomState(0).randn(300, 70)
    v, n = tf.Variable(start), tf.placeholder(tf.int32, [])
    for write in (
        v[1:].assign(v[:-1]),
        v[:-1].assign(v[1:]),
        v[::-1].assign(v),
        v[n].assign(v[n + 1]),
        v[:, 1:].assign(v[:, :-1] * 2.0),
        tf.scatter_update(v, tf.range(299, -1, -1), v),
    ):
        is_written_as_by_numpy(v, write, {n: 5})


def test_a_position_out_of_range_writes_nothing():
    start = np.arange(12.0).reshape(4, 3)
    v, i = tf.Variable(start), tf.placeholder(tf.int32, [])
    write = v[i, :2].assign([7.0, 8.0])
    messages = []
    for backend, tier in (("numpy", "reference"), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(v.initializer)
            for _ in range(4):
                with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                    session.run(write, {i: 4})
                np.testing.assert_array_equal(session.run(v), start)
                messages.append(str(caught.value).splitlines()[0])
            for _ in range(3):
                session.run(write, {i: 1})
            with pytest.raises(tf.errors.InvalidArgumentError):
                session.run(write, {i: -5})
    assert "out of bounds" in messages[0] and len(set(messages)) == 1


def test_a_part_of_a_variable_without_a_value():
    v = tf.Variable(tf.zeros([3]))
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.FailedPreconditionError),
    ):
        session.run(v[1].assign(2.0))


def test_a_number_for_a_whole_part_is_numpys():
    v = tf.Variable(np.zeros((4, 3), np.float32))
    write = v[1:3].assign(tf.constant(5.0))
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(v.initializer)
        np.testing.assert_array_equal(session.run(write)[:, 0], [0, 5, 5, 0])


def test_a_table_that_a_loop_fills():
    v = tf.Variable(np.zeros((6, 2), np.float32))
    x = tf.placeholder(tf.float32, [2])

    def body(i):
        with tf.control_dependencies([v[i].assign(x * tf.cast(i, tf.float32))]):
            return i + 1

    loop = tf.while_loop(lambda i: i < 5, body, [1])
    for backend in ("numpy", "native"):
        tier = "compiled" if backend == "native" else None
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(v.initializer)
            for k in range(3):
                assert session.run(loop, {x: [k, 1.0]}) == 5
                np.testing.assert_array_equal(session.run(v)[1:5], [[k * i, i] for i in range(1, 5)])


def test_no_elements():
    x, i = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.int32, [])
    for y in (x[:, i], x[:, i, tf.newaxis], x[1:, i]):
        got, left = natively.run([y, *tf.gradients(y, x)], {x: np.zeros((0, 3)), i: 1})
        assert left == [] and got[0].size == 0 and got[1].shape == (0, 3)
    with (
        tf.Session(backend="native", tier="compiled") as session,
        pytest.raises(tf.errors.InvalidArgumentError, match="out of bounds"),
    ):
        session.run(x[i], {x: np.zeros((0, 3)), i: 0})


def test_a_loop_over_steps():
    x = tf.placeholder(tf.float64, [None, 5, 3])
    _, y = tf.while_loop(lambda t, _: t < 5, lambda t, a: (t + 1, tf.tanh(a + x[:, t])), [0, x[:, 0]])
    fetches = [y, *tf.gradients(y, x)]
    feeds = {x: np.random.RandomState(0).randn(2, 5, 3)}
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    got, left = natively.run(fetches, feeds, runs=2)
    assert left == []
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g, e, rtol=1e-9)


def test_a_walk_over_a_table():
    """Dynamic programming: the cheapest way through a grid, softly, one cell in each iteration."""
    x = tf.placeholder(tf.float64, [None, None])
    width, far = tf.shape(x)[1], tf.constant(1e3, tf.float64)

    def cell(k, left, above):
        i, j = k // width, k % width
        ways = tf.stack([tf.where(j > 0, left, far), above[j]])
        best = x[i, j] - tf.reduce_logsumexp(-ways)
        return k + 1, best, tf.where(tf.equal(tf.range(width), j), tf.fill([width], best), above)

    start = [0, tf.constant(0.0, tf.float64), tf.fill([width], far)]
    best = tf.while_loop(lambda k, *_: k < tf.size(x), cell, start)[1]
    feeds = [{x: np.random.RandomState(0).rand(*shape)} for shape in ((4, 5), (6, 3))]
    natively.is_as_numpy([best, *tf.gradients(best, x)], *feeds)


def test_a_loop_that_leaves_its_table():
    x = tf.placeholder(tf.float64, [None, None])
    _, y = tf.while_loop(lambda k, _: k < 5, lambda k, y: (k + 1, y + x[1, k]), [0, x[0, 0]])
    assert "slice index 4 of dimension 1 out of bounds" in error(y, {x: np.ones((2, 4))})


BLOCKS = [  # where a block begins, and its size
    lambda i, j: ([i, j, 0], [1, 2, 4]),
    lambda i, j: ([0, i, j], [3, 1, 2]),
    lambda i, j: ([i, 1, 0], [1, -1, -1]),
    lambda i, j: ([i, 0, j], [2, 0, 1]),
    lambda i, j: ([i, j, i], [1, 1, 1]),
    lambda i, j: ([2 + i, 0, 0], [0, 4, 5]),
]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
@pytest.mark.parametrize("is_known", [False, True])
def test_blocks_and_their_gradients(block, dtype, is_known):
    shape = (3, 4, 5)
    x = tf.placeholder(dtype, shape if is_known else [None] * 3)
    i, j = tf.placeholder(tf.int32, []), tf.placeholder(tf.int32, [])
    begin, size = block(i, j)
    y = tf.slice(x, tf.stack(begin), size)
    dx = tf.gradients(y * y, x)[0]
    fetches = [y, dx, tf.gradients(dx, x)[0]]
    value = np.arange(np.prod(shape)).reshape(shape) / 16
    natively.is_as_numpy(fetches, {x: value, i: 1, j: 2}, {x: value, i: 0, j: 0}, {x: value, i: 1, j: 1})


@pytest.mark.parametrize("places", [(3, 0), (0, 3), (-1, 0), (2**63 - 1, 0), (0, -(2**63))])
def test_a_block_that_reaches_over_the_edge_is_an_error(places):
    x, i, j = tf.placeholder(tf.float32, [None] * 2), *(tf.placeholder(tf.int64, []) for _ in range(2))
    y = tf.slice(x, [i, j], [1, 2])
    for fetch in (y, tf.gradients(y, x)[0]):
        assert "Expected " in error(fetch, {x: np.ones((3, 4)), i: places[0], j: places[1]})
    assert "Expected size[1] in [0, 1], but got 2" in error(y, {x: np.ones((3, 1)), i: 0, j: 0})
    assert "Expected begin[0] in [0, 0], but got 2" in error(y, {x: np.ones((0, 2)), i: 2, j: 0})


def test_blocks_in_a_loop():
    """Windows that move along a sequence."""
    x = tf.placeholder(tf.float64, [None, None, 3])
    batch, steps = tf.shape(x)[0], tf.shape(x)[1]

    def window(t, total):
        return t + 1, tf.tanh(total + tf.reduce_sum(tf.slice(x, [0, t, 0], [batch, 2, 3]), axis=1))

    _, y = tf.while_loop(lambda t, _: t < steps - 1, window, [0, tf.zeros([batch, 3], tf.float64)])
    feeds = [{x: np.random.RandomState(0).randn(*shape)} for shape in ((2, 5, 3), (4, 3, 3))]
    natively.is_as_numpy([y, *tf.gradients(y, x)], *feeds)
