"""Nodes that are a kernel of their own: the registry's samples, edge cases, errors, any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr import errors
from tahr.backends.native import execute, searching
from tahr.core import dtypes, scalar
from tahr.ops import sorting
from tests.backends.native import guarded, natively
from tests.backends.native.natively import by_numpy
from tests.ops.samples import Sample, collect

# The ops, and the inputs that are fed.
OPS = {
    "Gather": (0, 1),
    "GatherV2": (0, 1),
    "GatherNd": (0, 1),
    "UnsortedSegmentSum": (0, 1),
    "ScatterNd": (0, 1),
    "UnsortedSegmentProd": (0, 1),
    "UnsortedSegmentMax": (0, 1),
    "UnsortedSegmentMin": (0, 1),
    "TensorScatterUpdate": (0, 1, 2),
    "TensorScatterAdd": (0, 1, 2),
    "TensorScatterSub": (0, 1, 2),
    "TopKV2": (0,),
    "InTopK": (0, 1),
    "InTopKV2": (0, 1),
    "MatrixBandPart": (0,),
    "MatrixSetDiag": (0, 1),
    "ReverseSequence": (0, 1),
    "ArgMax": (0,),
    "ArgMin": (0,),
    "Cumsum": (0,),
    "Cumprod": (0,),
}
TIERS = {"numpy": None, "native": "compiled"}
SUPPORTED = {d.name for d in scalar.SUPPORTED}
CASES = [
    (sample, dtype)
    for op, samples in sorted(collect().items())
    if op in OPS
    for sample in samples
    if sample.stateful is None
    for dtype in sample.dtypes or (None,)
    if dtype is None or dtype in SUPPORTED
]
# What has no kernel of its own.
LEFT_TO_NUMPY = {"GatherV2: of strings"}
# What follows from a size that is hidden: how many indices lead to a number.
LEFT_WITHOUT_SIZES = {"GatherNd: one number"}


@pytest.mark.parametrize("hides_sizes", [False, True], ids=["sizes known", "sizes hidden"])
@pytest.mark.parametrize(("sample", "dtype"), CASES, ids=[f"{s}-{d or 'as written'}" for s, d in CASES])
def test_sample(sample: Sample, dtype: str | None, hides_sizes: bool) -> None:
    outputs, feeds = natively.op_of_sample(sample, dtype, OPS[sample.op], hides_sizes)
    found, hosts = natively.run(outputs, feeds)
    for a, b in zip(found, by_numpy(outputs, feeds)):
        assert natively.same(a, b)
    left = LEFT_TO_NUMPY | LEFT_WITHOUT_SIZES if hides_sizes else LEFT_TO_NUMPY
    assert bool(hosts) == (str(sample) in left)


def check(fetch: Any, feeds: Any) -> None:
    """Native results are NumPy's, with one thread and with several, and nothing is left to NumPy."""
    expected = by_numpy(fetch, feeds)
    for threads in (1, 2):
        found, hosts = natively.run(fetch, feeds, threads)
        assert not hosts
        assert natively.same(found, expected)


# ---------------------------------------------------------------- lookups


@pytest.mark.parametrize("shape", [(40, 1), (40, 3), (40, 200), (40, 20_000), (40, 0), (1, 5)])
@pytest.mark.parametrize("count", [0, 1, 2_500])
def test_gather_of_many_sizes(shape: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(0)
    params = tf.placeholder(tf.float32, [None, shape[1]])
    indices = tf.placeholder(tf.int64, [None])
    count = min(count, 8_000_000 // max(shape[1], 1) // 4)
    feeds = {params: rng.normal(size=shape).astype(np.float32), indices: rng.integers(0, shape[0], count)}
    check(tf.gather(params, indices), feeds)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_gather_along_axes(axis: int) -> None:
    rng = np.random.default_rng(0)
    params, indices = tf.placeholder(tf.float64, [None, 31, 40]), tf.placeholder(tf.int32, [7, None])
    feeds = {params: rng.normal(size=[35, 31, 40]), indices: rng.integers(0, 31, [7, 9])}
    check(tf.gather(params, indices, axis=axis), feeds)


@pytest.mark.parametrize(("axis", "batch_dims"), [(1, 1), (2, 1), (2, 2), (1, 0)])
@pytest.mark.parametrize("count", [0, 1, 9, 400])
def test_gather_by_the_indices_of_each_batch(axis: int, batch_dims: int, count: int) -> None:
    rng = np.random.default_rng(0)
    params = tf.placeholder(tf.float32, [None, 6, 30, 5])
    indices = tf.placeholder(tf.int32, [None] * (batch_dims + 1))
    for batch in (8, 0):
        shape = (*(batch, 6)[:batch_dims], count)
        feeds = {params: rng.normal(size=[batch, 6, 30, 5]), indices: rng.integers(0, 6, shape)}
        check(tf.gather(params, indices, axis=axis, batch_dims=batch_dims), feeds)


def test_gather_reads_copies_of_what_is_not_dense() -> None:
    rng = np.random.default_rng(0)
    params, indices = tf.placeholder(tf.float32, [None, 8]), tf.placeholder(tf.int32, [2, None])
    feeds = {params: rng.normal(size=[35, 8]), indices: rng.integers(0, 8, [2, 9])}
    check(tf.gather(tf.transpose(params), tf.transpose(indices)), feeds)


def test_gather_from_a_variable_and_its_gradient() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=[50, 16]).astype(np.float32)
    indices = tf.placeholder(tf.int32, [None, 3])
    feeds = {indices: rng.integers(0, 50, [20, 3])}
    variable = tf.Variable(table)
    rows = tf.nn.embedding_lookup(variable, indices)
    (slope,) = tf.gradients(tf.reduce_sum(rows * rows), [variable])
    dense = tf.convert_to_tensor(slope)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        found = session.run([rows, dense], feeds)
    np.testing.assert_array_equal(found[0], table[feeds[indices]])
    expected = np.zeros_like(table)
    np.add.at(expected, feeds[indices], 2 * table[feeds[indices]])
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)


@pytest.mark.parametrize("bad", [-1, 40, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("place", [0, 1, 777, 2_999])
@pytest.mark.parametrize("threads", [1, 2])
def test_gather_complains_of_an_index(bad: int, place: int, threads: int) -> None:
    params, indices = tf.placeholder(tf.float32, [None, 100]), tf.placeholder(tf.int32, [None, 3])
    fetch = tf.gather(params, indices)
    wrong = np.ones([1000, 3], np.int32)
    wrong.flat[place] = bad
    feeds = {params: np.zeros([40, 100], np.float32), indices: wrong}
    message = rf"indices\[{place // 3},{place % 3}\] = {bad} is not in \[0, 40\)"
    with pytest.raises(errors.InvalidArgumentError, match=message):
        natively.run(fetch, feeds, threads)


def test_a_run_after_an_error_is_as_any_other() -> None:
    params, indices = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.int32, [None])
    fetch = tf.gather(params, indices)
    values = np.arange(5, dtype=np.float32)
    with tf.Session(backend="native", tier="compiled") as session:
        for _ in range(4):
            np.testing.assert_array_equal(session.run(fetch, {params: values, indices: [4, 0]}), [4, 0])
            with pytest.raises(errors.InvalidArgumentError, match=r"indices\[1\] = 5 is not in \[0, 5\)"):
                session.run(fetch, {params: values, indices: [4, 5]})


def test_gather_from_nothing() -> None:
    params, indices = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.int32, [None])
    check(tf.gather(params, indices), {params: np.zeros([0, 2]), indices: []})
    with pytest.raises(errors.InvalidArgumentError, match=r"indices\[0\] = 0 is not in \[0, 0\)"):
        natively.run(tf.gather(params, indices), {params: np.zeros([0, 2]), indices: [0]})


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_gather_nd_and_its_adjoint(depth: int) -> None:
    rng = np.random.default_rng(0)
    params, indices = tf.placeholder(tf.float32, [None, 8, 9]), tf.placeholder(tf.int32, [None, 5, depth])
    feeds = {params: rng.normal(size=[7, 8, 9]), indices: rng.integers(0, 7, [600, 5, depth])}
    taken = tf.gather_nd(params, indices)
    check(taken, feeds)
    check(tf.scatter_nd(indices, taken, tf.shape(params)), feeds)
    if depth:
        feeds[indices][99, 2, depth - 1] = -1
        with pytest.raises(
            errors.InvalidArgumentError, match=r"indices\[99,2\] = .*-1\] does not index into"
        ):
            natively.run(taken, feeds)


# ---------------------------------------------------------------- accumulations


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize("width", [0, 1, 3, 300, 5_000])
@pytest.mark.parametrize("segments", [0, 1, 70, 4_000])
def test_segment_sums_of_many_sizes(dtype: str, width: int, segments: int) -> None:
    rng = np.random.default_rng(0)
    data, ids = tf.placeholder(dtype, [None, width]), tf.placeholder(tf.int32, [None])
    count = 500
    segments = min(segments, 4_000_000 // max(width, 1))
    feeds = {
        data: (10 * rng.normal(size=[count, width])).astype(tf.as_dtype(dtype).as_numpy_dtype),
        ids: rng.integers(-3, segments, count),
    }
    check(tf.unsorted_segment_sum(data, ids, segments), feeds)
    if width in (1, 300) and segments:
        for function in (tf.unsorted_segment_prod, tf.unsorted_segment_max, tf.unsorted_segment_min):
            check(function(data, ids, segments), feeds)


@pytest.mark.parametrize("threads", [1, 2])
def test_segment_sum_complains_of_an_id(threads: int) -> None:
    data, ids = tf.placeholder(tf.float32, [None, 400]), tf.placeholder(tf.int64, [None])
    wrong = np.full([300], -1)
    wrong[[70, 80]] = 60, 61
    feeds = {data: np.zeros([300, 400]), ids: wrong}
    with pytest.raises(
        errors.InvalidArgumentError, match=r"segment_ids\[70\] = 60 is out of range \[0, 60\)"
    ):
        natively.run(tf.unsorted_segment_sum(data, ids, 60), feeds, threads)


# ---------------------------------------------------------------- rows of variables


def scattered(
    backend: str, op: str, resource: bool, shape: tuple[int, ...], dtype: str
) -> tuple[Any, list[str]]:
    """A variable after some rows were changed, and what NumPy did of it; a bad index must leave it as it was."""
    rng = np.random.default_rng(0)
    with tf.Graph().as_default(), tf.Session(backend=backend, tier=TIERS[backend]) as session:
        start = (4 * rng.normal(size=shape)).astype(tf.as_dtype(dtype).as_numpy_dtype)
        variable = tf.get_variable("v", initializer=start, use_resource=resource)
        indices, updates = tf.placeholder(tf.int32, [None, 2]), tf.placeholder(dtype, [None, 2, *shape[1:]])
        change = getattr(tf, op)(variable, indices, updates)
        feeds = {
            indices: rng.integers(0, shape[0], [70, 2]),
            updates: (4 * rng.normal(size=[70, 2, *shape[1:]])).astype(start.dtype),
        }
        session.run(tf.global_variables_initializer())
        execute._records.clear()
        for _ in range(3):
            session.run(change.op if hasattr(change, "op") else change, feeds)
        hosts = natively.left_to_numpy()
        result = session.run(variable)
        feeds[indices][69, 1] = shape[0]
        message = rf"indices\[69,1\] = {shape[0]} is not in \[0, {shape[0]}\)"
        with pytest.raises(errors.InvalidArgumentError, match=message):
            session.run(change, feeds)
        assert natively.same(session.run(variable), result)
    return result, hosts


SCATTERS = [
    *("scatter_add", "scatter_sub", "scatter_update", "scatter_mul"),
    *("scatter_div", "scatter_min", "scatter_max"),
]


@pytest.mark.parametrize("op", SCATTERS)
@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("shape", [(50,), (50, 16), (3, 20, 500), (900, 300)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int32"])
def test_rows_of_a_variable(op: str, resource: bool, shape: tuple[int, ...], dtype: str) -> None:
    expected, _ = scattered("numpy", op, resource, shape, dtype)
    found, hosts = scattered("native", op, resource, shape, dtype)
    assert bool(hosts) == (op == "scatter_div" and dtype == "int32")
    assert natively.same(found, expected)


@pytest.mark.parametrize("op", SCATTERS)
@pytest.mark.parametrize("shape", [(50,), (50, 300), (0, 3)])
def test_rows_of_a_variable_and_a_number(op: str, shape: tuple[int, ...]) -> None:
    start = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    indices, number = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.float32, [])
    feeds = {indices: np.arange(0, shape[0], 3), number: 0.5}
    results: list[Any] = []
    variable = tf.get_variable("v", initializer=start, use_resource=False)
    change = getattr(tf, op)(variable, indices, number).op
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier=TIERS[backend]) as session:
            session.run(tf.global_variables_initializer())
            execute._records.clear()
            session.run(change, feeds)
            assert backend == "numpy" or not natively.left_to_numpy()
            results.append(session.run(variable))
    assert natively.same(*results)


@pytest.mark.parametrize("op", ["scatter_nd_add", "scatter_nd_sub", "scatter_nd_update"])
@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_places_of_a_variable(op: str, resource: bool, depth: int) -> None:
    rng = np.random.default_rng(0)
    shape = (6, 7, 20)
    start = rng.normal(size=shape).astype(np.float32)
    results: list[Any] = []
    for backend in ("numpy", "native"):
        rng = np.random.default_rng(1)
        with tf.Graph().as_default(), tf.Session(backend=backend, tier=TIERS[backend]) as session:
            variable = tf.get_variable("v", initializer=start, use_resource=resource)
            indices = tf.placeholder(tf.int32, [None, depth])
            updates = tf.placeholder(tf.float32, [None, *shape[depth:]])
            change = getattr(tf, op)(variable, indices, updates)
            feeds = {
                indices: rng.integers(0, 6, [30, depth]),
                updates: rng.normal(size=[30, *shape[depth:]]),
            }
            session.run(tf.global_variables_initializer())
            execute._records.clear()
            for _ in range(3):
                session.run(change.op if hasattr(change, "op") else change, feeds)
            assert backend == "numpy" or not natively.left_to_numpy()
            results.append(session.run(variable))
            feeds[indices][29, -1] = -1
            with pytest.raises(
                errors.InvalidArgumentError, match=r"indices\[29\] = \[.*-1\] does not index into"
            ):
                session.run(change, feeds)
            assert natively.same(session.run(variable), results[-1])
    assert natively.same(*results)


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_an_embedding_is_trained_in_one_segment(resource: bool) -> None:
    results: list[Any] = []
    for backend in ("numpy", "native"):
        with tf.Graph().as_default(), tf.Session(backend=backend, tier=TIERS[backend]) as session:
            start = np.random.default_rng(0).normal(size=[40, 8]).astype(np.float32)
            table = tf.get_variable("table", initializer=start, use_resource=resource)
            indices = tf.placeholder(tf.int32, [None])
            loss = tf.reduce_sum(tf.nn.embedding_lookup(table, indices) ** 2)
            train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
            session.run(tf.global_variables_initializer())
            execute._records.clear()
            for i in range(5):
                session.run(train, {indices: [i, 3, 39, 3]})
            assert backend == "numpy" or not natively.left_to_numpy()
            results.append(session.run(table))
    np.testing.assert_allclose(*results, rtol=1e-6)


# ---------------------------------------------------------------- along an axis

SHAPES = [
    (1, 1, 1),
    (3, 5, 1),
    (7, 200, 1),
    (2, 100, 3),
    (5, 33, 16),
    (4, 30, 300),
    (2, 3, 5_000),
    (3000, 10, 1),
]


def numbers(shape: tuple[int, ...], dtype: str) -> Any:
    """Numbers of which many are equal."""
    values = np.random.default_rng(0).integers(-20, 20, shape).astype(np.float64) / 4
    return values.astype(tf.as_dtype(dtype).as_numpy_dtype)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "uint32", "int64"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_arg_extremes(shape: tuple[int, ...], dtype: str) -> None:
    x = tf.placeholder(dtype, [None, shape[1], shape[2]])
    feeds = {x: numbers(shape, dtype)}
    for axis in (0, 1, 2):
        check(tf.argmax(x, axis), feeds)
        check(tf.argmin(x, axis, output_type=tf.int32), feeds)


@pytest.mark.parametrize("columns", [1, 4, 40])
def test_nan_is_no_extreme(columns: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], [50, 37, columns])
    values[3] = np.nan
    x = tf.placeholder(tf.float32, [None, 37, columns])
    check(tf.argmax(x, 1), {x: values})
    check(tf.argmin(x, 1), {x: values})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint32", "int64"])
@pytest.mark.parametrize("shape", [*SHAPES, (2, 0, 3), (0, 4, 1), (2, 3, 0)])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans(shape: tuple[int, ...], dtype: str, exclusive: bool, reverse: bool) -> None:
    x = tf.placeholder(dtype, [None, *shape[1:]])
    feeds = {x: numbers(shape, dtype)}
    for function in (tf.cumsum, tf.cumprod):
        with np.errstate(all="ignore"):
            check(function(x, 1, exclusive=exclusive, reverse=reverse), feeds)


# ---------------------------------------------------------------- the largest


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "uint32", "int64"]
)
@pytest.mark.parametrize("shape", [(1, 1), (0, 5), (3, 5), (50, 1_000), (3000, 10)])
@pytest.mark.parametrize("count", [0, 1, 5, 64])
def test_largest(shape: tuple[int, int], dtype: str, count: int) -> None:
    x = tf.placeholder(dtype, [None, shape[1]])
    feeds = {x: numbers(shape, dtype)}
    for output in tf.nn.top_k(x, min(count, shape[1])):
        check(output, feeds)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize("length", [31, 32, 33, 64, 95, 128, 500])
@pytest.mark.parametrize("count", [1, 31, 32, 33, 128])
def test_largest_of_whole_runs_and_what_is_left(length: int, dtype: str, count: int) -> None:
    """Of rows in order, in the opposite order, of equal elements, and of which the last one is the largest."""
    values = np.sort(numbers((4, length), dtype), axis=1)
    values[1] = values[1, ::-1].copy()
    values[2] = values[2, 0]
    values[3, :-1] = values[3, 0]
    x = tf.placeholder(dtype, [None, length])
    for output in tf.nn.top_k(x, min(count, length)):
        check(output, {x: values})


def test_nan_among_what_is_skipped() -> None:
    values = np.zeros((3, 300), np.float32)
    values[0, 299], values[1, [40, 200]], values[2] = np.nan, np.nan, np.nan
    x = tf.placeholder(tf.float32, [None, 300])
    for output in tf.nn.top_k(x, 5):
        check(output, {x: values})


def test_nan_is_largest() -> None:
    rng = np.random.default_rng(0)
    x = tf.placeholder(tf.float32, [None, 40])
    feeds = {x: rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], [50, 40])}
    for output in tf.nn.top_k(x, 30):
        check(output, feeds)


SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1.5]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("count", [150, 200, 300])
def test_nan_is_largest_where_rows_are_sorted(dtype: str, count: int) -> None:
    values = np.random.default_rng(0).choice(SPECIAL, [50, 300]).astype(tf.as_dtype(dtype).as_numpy_dtype)
    x = tf.placeholder(dtype, [None, 300])
    for output in tf.nn.top_k(x, count):
        check(output, {x: values})


ORDERED = ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64"]


@pytest.mark.parametrize("dtype", ORDERED)
@pytest.mark.parametrize("direction", ["ASCENDING", "DESCENDING"])
@pytest.mark.parametrize("shape", [(1, 1), (0, 5), (7, 0), (300, 70), (2, 70_000)])
def test_rows_are_sorted(dtype: str, direction: str, shape: tuple[int, int]) -> None:
    """Their length is not known before the run."""
    x = tf.placeholder(dtype, [None, None])
    feeds = {x: numbers(shape, dtype)}
    check(tf.sort(x, direction=direction), feeds)
    check(tf.argsort(x, direction=direction), feeds)


@pytest.mark.parametrize(
    "dtype", ["uint32", "uint64", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
)
def test_extremes_are_sorted(dtype: str) -> None:
    numpy = tf.as_dtype(dtype).as_numpy_dtype
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, [9, 500 * np.dtype(numpy).itemsize]).astype(np.uint8).view(numpy)
    x = tf.placeholder(dtype, [9, 500])
    check(tf.nn.top_k(x, 500)[1], {x: values})


def test_columns_are_sorted() -> None:
    x = tf.placeholder(tf.float32, [90, None])
    check(tf.sort(x, axis=0), {x: numbers((90, 33), "float32")})


@pytest.mark.parametrize("shape", [(1, 1), (0, 5), (7, 0), (3, 5), (50, 1_000), (3000, 10)])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_in_top_k(shape: tuple[int, int], dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, targets = tf.placeholder(tf.float32, [None, shape[1]]), tf.placeholder(dtype, [None])
    values = numbers(shape, "float32")
    values[::7, -1:] = np.nan
    values[3::7, :1] = -np.inf
    feeds = {x: values, targets: rng.integers(-2, shape[1] + 2, shape[0])}
    for count in (-1, 0, 1, 5):
        check(tf.nn.in_top_k(x, targets, count), feeds)


# ---------------------------------------------------------------- rearrangements

MATRICES = [(1, 1, 1), (3, 5, 7), (2, 7, 5), (0, 3, 3), (2, 0, 3), (2, 3, 0), (2, 300, 200)]


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "float32", "int64"])
@pytest.mark.parametrize("shape", MATRICES)
def test_matrices(shape: tuple[int, ...], dtype: str) -> None:
    x = tf.placeholder(dtype, [None, *shape[1:]])
    diagonal = tf.placeholder(dtype, [None, min(shape[1:])])
    feeds = {x: numbers(shape, dtype), diagonal: numbers((shape[0], min(shape[1:])), dtype)}
    check(tf.matrix_set_diag(x, diagonal), feeds)
    for lower in (-1, 0, min(2, shape[1]), shape[1]):
        for upper in (-1, 0, min(3, shape[2]), shape[2]):
            check(tf.matrix_band_part(x, lower, upper), feeds)


def test_a_band_is_no_wider_than_the_matrix() -> None:
    x = tf.placeholder(tf.float32, [None, None])
    with pytest.raises(
        errors.InvalidArgumentError, match=r"num_lower must be negative or less or equal to .*4"
    ):
        natively.run(tf.matrix_band_part(x, 5, 0), {x: np.ones([4, 6])})


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (0, 2), (2, 0), (1, 3)])
@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64"])
def test_reverse_sequence(axes: tuple[int, int], dtype: str) -> None:
    batch, steps = axes
    shape = (6, 5, 70, 4)
    x, lengths = tf.placeholder(dtype, [None, 5, 70, 4]), tf.placeholder(tf.int32, [None])
    ends = np.random.default_rng(0).integers(0, shape[steps] + 1, shape[batch])
    feeds = {x: numbers(shape, dtype), lengths: ends}
    fetch = tf.reverse_sequence(x, lengths, seq_axis=steps, batch_axis=batch)
    check(fetch, feeds)
    for bad, message in ((-1, "< 0"), (shape[steps] + 1, "> input.dims")):
        feeds[lengths][-1] = bad
        with pytest.raises(errors.InvalidArgumentError, match=rf"seq_lens.{shape[batch] - 1}. {message}"):
            natively.run(fetch, feeds)


# ---------------------------------------------------------------- places in sorted rows


@pytest.mark.parametrize("dtype", ORDERED)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("rows", "length", "width"), [(1, 1, 1), (3, 7, 20), (2, 1000, 5000), (0, 5, 3), (4, 0, 6), (4, 6, 0)]
)
def test_places_in_sorted_rows(rows: int, length: int, width: int, side: str, dtype: str) -> None:
    op = sorting.LowerBound if side == "left" else sorting.UpperBound
    sequences, values = tf.placeholder(dtype, [None, None]), tf.placeholder(dtype, [None, None])
    feeds = {
        sequences: np.sort(numbers((rows, length), dtype), axis=1),
        values: numbers((rows, width), dtype),
    }
    for out_type in (tf.int32, tf.int64):
        check(op(sequences, values, out_type=out_type), feeds)


@pytest.mark.parametrize("side", ["left", "right"])
def test_places_of_vectors_and_of_what_is_not_a_number(side: str) -> None:
    """NaN comes behind all numbers, in what is searched for as in what is searched."""
    special = np.array([np.nan, -np.inf, np.inf, 0.0, -0.0, 1.5, -1.5, np.nan])
    for sequence in (np.sort(special), np.sort(special)[:6], special[:1]):
        x, v = tf.placeholder(tf.float64, [len(sequence)]), tf.placeholder(tf.float64, [8])
        check(tf.searchsorted(x, v, side), {x: sequence, v: special})


def test_other_rows_are_left_to_numpy() -> None:
    """Which says that their numbers differ."""
    sequences, values = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None, 3])
    with pytest.raises((ValueError, errors.InvalidArgumentError)):
        natively.run(
            tf.searchsorted(sequences, values), {sequences: np.ones((2, 3)), values: np.ones((4, 3))}
        )


def test_places_between_guards() -> None:
    for length in (0, 1, 2, 7, 32):
        rows = np.sort(numbers((3, length), "float32"), axis=1)
        values = numbers((3, 11), "float32")
        for before_equals in (True, False):
            kernel = searching.sorted_places(dtypes.float32, dtypes.int64, before_equals)
            comes_before = np.less if before_equals else np.less_equal
            expected = comes_before(rows[:, None, :], values[:, :, None]).sum(2)
            for tile, tiles in ((33, 1), (5, 7)):
                (found,) = guarded.run(
                    kernel, [rows, values], [((3, 11), np.int64)], (tile, 33, length, 11), tiles
                )
                np.testing.assert_array_equal(found, expected)
