"""Loop nests of awkward shapes: what joins them, sums along dimensions of all kinds, transposed operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import engine, execute
from tahr.backends.native.blocks import BlockLoop
from tahr.backends.native.kernel import Kernel
from tahr.backends.native.strips import StripLoop
from tahr.backends.native.tiles import STRETCH, cut
from tahr.core.opdef import Array
from tests.backends.native.hostile import hostile
from tests.backends.native.natively import by_numpy, random, run, same


def loops_of(name: str) -> list[Any]:
    """The nests that have an operation of a type."""
    calls = [
        c for r in execute._records.values() if r.native for s in r.native.segments for c in s.calls if c.loop
    ]
    return [c.loop for c in calls if any(n.opdef.name == name for n in c.nodes)]


def test_what_does_not_join_leaves_no_dimensions_behind() -> None:
    """One scalar scales arrays of several shapes: the first is its nest's, and the others' sizes are not."""
    arrays = {tf.placeholder(tf.float64, a.shape): a for a in (random(6, 7), random(5, 3), random(11))}
    fetches, norm = tf.clip_by_global_norm(list(arrays), 1.0)
    found, _ = run([*fetches, norm], arrays)
    for a, b in zip(found, by_numpy([*fetches, norm], arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    (nest,) = [loop.nest for loop in loops_of("Minimum")]
    assert (nest.rows, nest.columns) == ((), (42,))


# ---------------------------------------------------------------- sums along the middle, and along the first dimension

REDUCTIONS = ("sum", "prod", "max", "min")
DTYPES = ("float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8")
TOLERANCES = {"float16": 1e-2, "bfloat16": 1e-1, "float32": 1e-5}


def check(fetches: list[Any], feeds: dict[Any, Array], dtype: str = "float64") -> list[Array]:
    """Compares with NumPy, in watched memory too; the bits don't depend on threads. Returns the results."""
    tolerance = TOLERANCES.get(dtype, 1e-9)
    right = by_numpy(fetches, feeds)
    found, hosts = run(fetches, feeds)
    assert not hosts
    with hostile():
        watched, _ = run(fetches, feeds)
    for results in (found, watched):
        for a, b in zip(results, right, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            a, b = (np.asarray(v, np.float64) for v in (a, b))
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    for threads in (1, 2, 4):
        others, _ = run(fetches, feeds, threads)
        assert all(map(same, found, others))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5, 9), (2, 7, 64), (2, 3, 130), (1, 4, 65), (3, 1, 20), (2, 300, 200)])
def test_reductions_in_the_middle(shape: tuple[int, ...], dtype: str) -> None:
    values = (random(*shape) * (1 if dtype != "uint8" else 3)).astype(tf.as_dtype(dtype).as_numpy_dtype)
    x = tf.placeholder(dtype, [None, *shape[1:]])
    fetches = [getattr(tf, f"reduce_{name}")(x, 1) for name in REDUCTIONS if name != "prod" or shape[1] < 10]
    check([*fetches, x - tf.reduce_max(x, 1, keepdims=True)], {x: values}, dtype)
    if min(shape[:2]) > 1 and shape[2] >= 9:
        assert any(isinstance(loop, StripLoop) for loop in loops_of("Max"))


@pytest.mark.parametrize("shape", [(3, 5, 9), (2, 40, 130), (2, 2100, 12), (0, 4, 16), (3, 0, 16), (3, 4, 0)])
def test_what_goes_on_in_strips(shape: tuple[int, ...]) -> None:
    """Means and variances, softmax, and stores once for each row."""
    x, y = tf.placeholder(tf.float64, [None] * 3), tf.placeholder(tf.float64, [None] * 3)
    mean, variance = tf.nn.moments(x * y, [1], keepdims=True)
    normal = (x * y - mean) * tf.rsqrt(variance + 1e-3)
    fetches = [
        normal,
        tf.nn.softmax(x, axis=1) * y,
        tf.reduce_any(x > y, 1),
        tf.reduce_logsumexp(x, 1) + mean[:, 0],
    ]
    with np.errstate(all="ignore"):
        check(fetches, {x: random(*shape), y: random(*shape[::-1]).transpose(2, 1, 0)})


def test_strips_see_what_is_not_a_number() -> None:
    values = random(2, 6, 70)
    values[0, 3, 5], values[1, 2, 69], values[1, 0, 0] = np.nan, np.inf, -np.inf
    x = tf.placeholder(tf.float64, [2, 6, 70])
    check(
        [tf.reduce_max(x, 1), tf.reduce_min(x, 1), tf.reduce_sum(x, 1), tf.reduce_any(tf.is_nan(x), 1)],
        {x: values},
    )


def test_indices_in_strips() -> None:
    x = tf.placeholder(tf.float64, [3, 4, 70])
    places = tf.reshape(tf.cast(tf.range(70), tf.float64), [1, 1, 70])
    total = tf.reduce_sum(x * places, 1, keepdims=True)
    check([tf.exp(-tf.abs(total)) * x, total], {x: random(3, 4, 70)})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("axis", [0, 1, -2])
@pytest.mark.parametrize(
    "shape", [(3, 5, 9), (2, 100, 130), (5, 5, 5), (0, 4, 16), (3, 0, 16), (3, 4, 0), (1, 7, 1)]
)
def test_softmax_along_another_dimension(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    values = random(*shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
    x = tf.placeholder(dtype, [None, *shape[1:]])
    check([tf.nn.softmax(x, axis), tf.nn.log_softmax(x, axis)], {x: values}, dtype)


@pytest.mark.parametrize("function", [tf.nn.softmax, tf.nn.log_softmax])
@pytest.mark.parametrize("shape", [(3, 20, 9), (4, 30, 1), (0, 4, 16)])
def test_gradients_of_softmax_along_another_dimension(shape: tuple[int, ...], function: Any) -> None:
    x, dy = tf.placeholder(tf.float64, [None, *shape[1:]]), tf.placeholder(tf.float64, [None, *shape[1:]])
    y = function(x, 1)
    check([y, *tf.gradients(y, x, dy)], {x: random(*shape), dy: random(*shape) + 1})


def test_softmax_along_another_dimension_is_one_nest() -> None:
    """Nothing is transposed, and what surrounds the reductions joins them."""
    x = tf.placeholder(tf.float32, [None, 30, 40])
    values = {x: random(3, 30, 40).astype(np.float32)}
    for function in (tf.nn.softmax, tf.nn.log_softmax):
        y = function(x, 1)
        with tf.Session(backend="native", tier="compiled") as session:
            stages = tf.debug.ir([y, *tf.gradients(y, x, x)], values, session)
        assert stages.groups.count("group") == 1 and "_Copy" not in stages.groups


def test_softmax_of_what_is_not_a_number() -> None:
    values = random(2, 6, 70)
    values[0, 3, 5], values[1, 2, 69], values[1, 0, 0] = np.nan, np.inf, -np.inf
    values[0, :, 7] = -np.inf
    x = tf.placeholder(tf.float64, [2, 6, 70])
    with np.errstate(all="ignore"):
        check([tf.nn.softmax(x, 1), tf.nn.log_softmax(x, 1)], {x: values})


@pytest.mark.parametrize("shape", [(4, 9, 9), (9, 9, 9), (9, 4, 9), (4, 9, 70)])
def test_what_surrounds_a_reduction_in_the_middle(shape: tuple[int, ...]) -> None:
    """Equal sizes do not make equal dimensions."""
    x, y = tf.placeholder(tf.float64, [None, *shape[1:]]), tf.placeholder(tf.float64, [None, *shape[1:]])
    total = tf.reduce_sum(x, 1, keepdims=True)
    fetches = [x - total, tf.exp(y - total) * x, tf.reduce_max(x - total, 1), tf.reduce_sum(x * total, 2)]
    check(fetches, {x: random(*shape), y: random(*shape) + 1})
    row = tf.reduce_sum(x, 1)  # now along the last two dimensions, or the first and the last
    check([row[:, None, :] * x, row[:, :, None] + row[:, None, :]], {x: random(*shape)})


@pytest.mark.parametrize(
    "shape", [(3, 5, 40, 33), (2, 300, 20, 7), (1, 1, 17, 64), (7, 40, 3, 300), (0, 5, 20, 8), (3, 5, 0, 8)]
)
def test_rows_of_several_dimensions(shape: tuple[int, ...]) -> None:
    """A tile may begin and end anywhere in a run of rows."""
    x = tf.placeholder(tf.float32, [None, *shape[1:]])
    y = tf.placeholder(tf.float32, [shape[3]])
    turned = tf.transpose(x, [0, 2, 1, 3])
    fetches = [turned * 2.0, tf.reduce_sum(tf.square(turned + y), 3), tf.reduce_sum(turned * y)]
    check(fetches, {x: random(*shape).astype(np.float32), y: random(shape[3]).astype(np.float32)}, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("length", [1, 7, 16, 100, 1000])
def test_extremes_of_rows(length: int, dtype: str) -> None:
    """One NaN anywhere is the extreme of its row; infinities and rows of nothing else count as they are."""
    values = random(length + 3, length)
    values[range(length), range(length)] = np.nan
    values[-3:] = np.array([np.inf, -np.inf, np.nan])[:, None]
    values = values.astype(tf.as_dtype(dtype).as_numpy_dtype)
    x = tf.placeholder(dtype, [None, length])
    y = tf.placeholder(dtype, [None, length])
    fetches = [tf.reduce_max(x, 1), tf.reduce_min(x, 1), tf.reduce_max(x), tf.reduce_min(x, 0)]
    check(
        [*fetches, tf.reduce_max(y, 1), tf.reduce_min(y), tf.reduce_max(y, 0)],
        {x: values, y: -np.ones_like(values)},
        dtype,
    )


def test_extremes_of_zeros() -> None:
    x = tf.placeholder(tf.float64, [None, 40])
    values = np.zeros((3, 40)) * np.where(np.arange(40) % 3, 1, -1)
    (found, least) = check([tf.reduce_max(x, 1), tf.reduce_min(x, 1)], {x: values})
    assert not found.any() and not least.any()


@pytest.mark.parametrize("rows", [1, 15, 17, 300, 2000])
@pytest.mark.parametrize("columns", [1, 700, 1024, 2500])
def test_totals_of_long_rows(rows: int, columns: int) -> None:
    x = tf.placeholder(tf.float64, [None, columns])
    check([tf.reduce_sum(x, 0), tf.reduce_max(x, 0), tf.reduce_all(x > -3, 0)], {x: random(rows, columns)})


def test_totals_of_halves() -> None:
    """Partial sums are float32, and rounded once."""
    x = tf.placeholder(tf.float16, [None, 1100])
    values = np.full((3000, 1100), 0.25, np.float16)
    (total,) = check([tf.reduce_sum(x, 0)], {x: values}, "float16")
    assert (total == 750).all()


# ---------------------------------------------------------------- operands that lie across


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize(
    "shape", [(16, 8), (17, 9), (64, 256), (70, 300), (200, 40), (15, 7), (0, 30), (30, 0)]
)
def test_transposed_operands(shape: tuple[int, int], dtype: str) -> None:
    kind = tf.as_dtype(dtype).as_numpy_dtype
    x, y = tf.placeholder(dtype, [None, None]), tf.placeholder(dtype, [None, None])
    values, others = (random(*s) * 3 for s in (shape, shape[::-1]))
    result = tf.not_equal(tf.transpose(x), y) if dtype == "bool" else tf.transpose(x) - y
    check([result], {x: np.abs(values).astype(kind), y: np.abs(others).astype(kind)}, dtype)
    assert any(isinstance(loop, BlockLoop) for loop in loops_of(result.op.type)) == (min(shape) > 1)


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_transpositions_of_more_dimensions(order: tuple[int, ...]) -> None:
    x, y = tf.placeholder(tf.float64, [18, 20, 33]), tf.placeholder(tf.float64, [33])
    places = tf.reshape(tf.cast(tf.range([18, 20, 33][order[0]]), tf.float64), [-1, 1, 1])
    fetches = [
        tf.transpose(x * y, order) * 2.0,
        tf.transpose(x, order) + places,
        tf.reduce_sum(tf.transpose(x, order) * places),
    ]
    check(fetches, {x: random(18, 20, 33), y: random(33)})


def test_what_turns_blocks_is_shared_by_nests_and_dtypes() -> None:
    x, i, d = (tf.placeholder(dtype, [40, 50]) for dtype in (tf.float32, tf.int32, tf.float64))
    arrays = {t: np.abs(random(40, 50) * 9).astype(t.dtype.as_numpy_dtype) for t in (x, i, d)}
    fetches = [tf.transpose(x) + 1.0, tf.sqrt(tf.transpose(x)), tf.transpose(i) * 2, tf.transpose(d) - 1.0]
    check(fetches, arrays, "float32")
    turned = [loop for name in ("AddV2", "Sqrt", "Mul", "Sub") for loop in loops_of(name)]
    assert all(isinstance(loop, BlockLoop) for loop in turned)
    titles = {part.symbol: part.title for loop in turned for part in loop.kernel.parts}
    assert sorted(titles.values()) == ["turning elements of 4 bytes", "turning elements of 8 bytes"]


def test_every_bit_of_what_lies_across_is_kept() -> None:
    """Signalling NaNs, denormals and zeros of both signs are moved as they are."""
    bits = np.resize(np.array([0x7F800001, 0xFFC12345, 1, 0x80000000, 0x3F800000], np.uint32), (33, 47))
    x = tf.placeholder(tf.float32, [33, 47])
    (found,), _ = run([tf.transpose(x)], {x: bits.view(np.float32)})
    np.testing.assert_array_equal(found.view(np.uint32), bits.T)


def test_several_operands_across() -> None:
    x, y, z = (tf.placeholder(tf.float64, [None, 40]) for _ in range(3))
    result = tf.transpose(x) * tf.transpose(y) + tf.transpose(z)[::-1]
    check([result], {x: random(33, 40), y: random(34, 40)[1:].copy(), z: random(35, 40)[2:].copy()})


@pytest.mark.parametrize("columns", [8, 70, 2048, 2049])
def test_reductions_along_what_is_turned(columns: int) -> None:
    """Softmax and norms of rows that lie across, stored along them."""
    x, y = tf.placeholder(tf.float64, [columns, 40]), tf.placeholder(tf.float64, [40, columns])
    turned = tf.transpose(x)
    mean, variance = tf.nn.moments(turned, [1], keepdims=True)
    fetches = [tf.nn.softmax(turned) * y, (turned - mean) * tf.rsqrt(variance + 1e-3) + y]
    check(fetches, {x: random(columns, 40), y: random(40, columns)})


def test_what_lies_across_is_not_a_number() -> None:
    values = random(40, 50)
    values[3, 4], values[39, 49], values[20, 0] = np.nan, np.inf, -np.inf
    x = tf.placeholder(tf.float64, [None, 50])
    check([tf.transpose(x) + 1.0, tf.reduce_max(tf.transpose(x) * 2.0, 1)], {x: values})


def test_a_variable_that_gets_its_transpose() -> None:
    """Every element is read before any is written."""
    v = tf.Variable(random(70, 70))
    change = v.assign_add(tf.transpose(v) * 2.0)
    results: list[Any] = []
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier="compiled") as session:
            session.run(tf.global_variables_initializer())
            session.run(change.op)
            results.append(session.run(v))
    np.testing.assert_allclose(*results, rtol=1e-12)


# ---------------------------------------------------------------- backwards, and columns


def test_backwards() -> None:
    x = tf.placeholder(tf.float64, [None, 50])
    check([tf.reverse(x, [1]) + 1.0, tf.reverse(x, [0, 1]) * x, x[::-2, ::-1] * 2.0], {x: random(30, 50)})


def test_a_column_with_a_dear_epilogue_is_left_to_a_nest() -> None:
    x, w = tf.placeholder(tf.float64, [None, 6]), tf.Variable(random(6, 1))
    y = tf.nn.softplus(tf.matmul(x, w) + 1.0)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        values = random(500, 6)
        execute._records.clear()
        found = session.run(y, {x: values})
        groups = tf.debug.ir(y, {x: values}, session).groups
        np.testing.assert_allclose(found, np.log1p(np.exp(values @ session.run(w) + 1)), rtol=1e-12)
    assert "group 1: MatMul AddV2\n" in groups and "group 2: Softplus\n" in groups


@pytest.mark.parametrize(
    ("rows", "columns", "elements", "expected"),
    [
        (1, 256, 7000, (27, 1)),  # one tile
        (27, 256, 7000, (27, 1)),
        (28, 256, 7000, (7, 4)),  # two would be of 27 rows and one
        (32, 256, 7000, (8, 4)),
        (130, 256, 7000, (17, 8)),
        (1000, 256, 7000, (27, 38)),  # many
        (0, 256, 7000, (27, 1)),
    ],
)
def test_a_few_tiles_are_of_one_size(rows, columns, elements, expected):
    assert cut(rows, columns, True, elements, False) == expected


def test_stretches_of_columns_are_multiples_of_vectors():
    tile, tiles = cut(1, 20_000, False, 16_384, False)
    assert tile % STRETCH == 0 and (tiles - 1) * tile < 20_000 <= tiles * tile and tiles == 4


def test_more_tiles_compile_nothing(monkeypatch: pytest.MonkeyPatch):
    load, loaded = engine.load, set[str]()

    def watched(kernels: Sequence[Kernel]) -> list[int]:
        loaded.update(kernel.symbol for kernel in kernels)
        return load(kernels)

    monkeypatch.setattr(engine, "load", watched)
    x = tf.placeholder(tf.float32, [None, 5])
    fetches = [tf.reduce_sum(tf.exp(x), 0), tf.reduce_max(x), tf.reduce_mean(tf.cast(x, tf.float16))]
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(fetches, {x: np.ones((2, 5))})
        before = loaded.copy()
        session.run(fetches, {x: np.ones((50_000, 5))})
    assert before and loaded == before


@pytest.mark.parametrize("length", [0, 1, 2, 10, 15, 16, 17, 33, 300])
def test_runs_of_all_lengths_are_one_kernel(length: int) -> None:
    """What is compiled for a layer's weights serves its bias too, however short that is."""
    x, other = tf.placeholder(tf.float32, [length]), tf.placeholder(tf.float32, [7, 5])
    feeds = {x: random(length).astype(np.float32), other: random(7, 5).astype(np.float32)}
    check([tf.sqrt(tf.abs(x)) * 3.0, tf.sqrt(tf.abs(other)) * 3.0], feeds, "float32")
    kernels = {loop.kernel.text for loop in loops_of("Sqrt")}
    assert len(kernels) == (1 if length > 1 else 2)
