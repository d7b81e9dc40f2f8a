"""The places of what is not zero, and what is done with rows of which only some count: kernels between guards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import lookups, nonzero, target
from tahr.backends.native.lookups import Rows
from tahr.core import dtypes
from tests.backends.native import guarded, natively

pytestmark = pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")

ALL = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "bfloat16", "float32", "float64",
]  # fmt: skip


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("size", [0, 1, 100])
def test_numbers(dtype: str, size: int) -> None:
    values = np.random.default_rng(0).integers(0, 2, size).astype(tf.as_dtype(dtype).as_numpy_dtype)
    outputs: list[Any] = [((size + 1,), np.int64), ((1,), np.int32)]
    found, count = guarded.run(nonzero.numbers(tf.as_dtype(dtype)), [values], outputs, (size,), 1)
    expected = np.flatnonzero(values)
    assert count == len(expected)
    np.testing.assert_array_equal(found[: len(expected)], expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_is_not_zero_but_negative_zero_is(dtype: str) -> None:
    values = np.array([0.0, -0.0, np.nan, np.inf, -1.0], tf.as_dtype(dtype).as_numpy_dtype)
    outputs: list[Any] = [((6,), np.int64), ((1,), np.int32)]
    found, count = guarded.run(nonzero.numbers(tf.as_dtype(dtype)), [values], outputs, (5,), 1)
    assert found[: int(count[0])].tolist() == [2, 3, 4]


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (4, 1, 3, 2)], ids=str)
@pytest.mark.parametrize("count", [0, 1, 5, None])
def test_indices(shape: tuple[int, ...], count: int | None) -> None:
    """Two rows in a tile, the last tile first."""
    size, rank = int(np.prod(shape)), len(shape)
    count = size if count is None else count
    chosen = np.sort(np.random.default_rng(0).permutation(size)[:count])
    numbers = np.full(size + 1, -1, np.int64)
    numbers[:count] = chosen
    inputs = [numbers, np.array([count], np.int32)]
    table, tiles = (2, size, *shape), -(-size // 2)
    (found,) = guarded.run(
        nonzero.indices(rank), inputs, [((size, rank), np.int64)], table, tiles, per_call=1
    )
    np.testing.assert_array_equal(found[:count], np.stack(np.unravel_index(chosen, shape), axis=1))
    assert not found[count:].any()


@pytest.mark.parametrize("length", [1, 3, None])
@pytest.mark.parametrize("count", [0, 1, 4, 10])
def test_lookup_of_rows_that_count(length: int | None, count: int) -> None:
    """Places behind the last hold indices that do not exist; their rows become zero."""
    width = length or 3
    source = np.random.default_rng(0).normal(size=[7, width]).astype(np.float32)
    indices = np.random.default_rng(1).integers(0, 7, 10)
    indices[count:] = -5
    result, status = np.full([10, width], np.nan, np.float32), np.zeros(8, np.int64)
    kernel = lookups.lookup(Rows(dtypes.float32, dtypes.int64, 1, length), False, False, is_counted=True)
    inputs = [source, indices, result, status, np.array([count], np.int32)]
    (found,) = guarded.run(kernel, inputs, [2], (3, 10, 10, width, 7, 1, 7, 1), 4, per_call=1)
    np.testing.assert_array_equal(found[:count], source[indices[:count]])
    assert not found[count:].any()


@pytest.mark.parametrize("shape", [[0], [1], [70_001], [300, 7], [2, 0, 3], [40, 5, 30]], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_sum_of_chosen_elements(shape: list[int], share: float) -> None:
    """For any number of threads the same bits."""
    x = tf.placeholder(tf.float32, [None] * len(shape))
    mask = tf.placeholder(tf.bool, [None] * len(shape))
    chosen = tf.gather_nd(x, tf.where(mask))
    fetches = [
        tf.reduce_sum(chosen),
        tf.size(chosen) // 2,
        tf.convert_to_tensor(tf.gradients(chosen**2, x)[0]),
    ]
    random = np.random.default_rng(0)
    feeds = {x: random.normal(size=shape), mask: random.random(shape) < share}
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    results: list[Any] = []
    for threads in (1, 2, 4):
        found, hosts = natively.run(fetches, feeds, threads)
        assert not hosts
        results.append([np.asarray(a).tobytes() for a in found])
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert results[0] == results[1] == results[2]


def test_a_masked_loss_has_a_shortcut() -> None:
    """However many elements the mask chooses: nothing is planned anew."""
    x, mask = tf.placeholder(tf.float32, [None, 4]), tf.placeholder(tf.bool, [None])
    weights = tf.get_variable("w", initializer=np.ones([4, 1], np.float32))
    losses = tf.squeeze(tf.square(tf.matmul(x, weights)), 1)
    loss = tf.reduce_mean(tf.boolean_mask(losses, mask))
    fetches = [loss, tf.train.GradientDescentOptimizer(0.01).minimize(loss)]
    values = np.random.default_rng(0).normal(size=[50, 4])
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        found = [session.run(fetches, {x: values, mask: np.arange(50) < n})[0] for n in range(1, 40)]
        explained = session.explain(fetches, {x: values, mask: np.arange(50) < 3})
        assert not explained.boundaries and len(explained.reports) == 1
    assert np.isfinite(found).all()
