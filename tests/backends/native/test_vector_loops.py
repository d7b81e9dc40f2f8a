"""Nests whose innermost loop is written in vectors: rows of all lengths, element types, and what is written how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import nest_kernels, nests, target, vector_loops
from tahr.backends.native.kernel import AS_WRITTEN
from tahr.backends.native.tiles import Loop
from tahr.core import dtypes, scalar, sizes
from tests.backends.native.hostile import hostile
from tests.backends.native.test_random_graphs import check

pytestmark = pytest.mark.skipif(
    not vector_loops.masks(target.current()), reason="LLVM makes the vectors here"
)

LENGTHS = [0, 1, 7, 16, 17, 63, 64, 65, 200]


def numbers(dtype: str, *shape: int) -> np.ndarray:
    random = np.random.default_rng(shape)
    values = random.standard_normal(shape) if "float" in dtype else random.integers(-9, 9, shape)
    return values.astype(tf.as_dtype(dtype).as_numpy_dtype)


def compare(fetches: Any, feeds: dict[Any, np.ndarray], dtype: str) -> None:
    with tf.Session(backend="numpy") as reference:
        expected = reference.run(fetches, feeds)
    with tf.Session(backend="native", tier="compiled") as session, hostile():
        check(session.run(fetches, feeds), expected, dtype)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int32", "int64"])
def test_rows_of_any_length(dtype: str, length: int) -> None:
    x, column = tf.placeholder(dtype, [None, None]), tf.placeholder(dtype, [None])
    y = x * x + column
    fetches = [y, tf.reduce_sum(y, 1), tf.reduce_sum(y, 0), tf.reduce_sum(y), tf.maximum(x, -column)]
    compare(fetches, {x: numbers(dtype, 11, length), column: numbers(dtype, length)}, dtype)


@pytest.mark.parametrize("length", [9, 16, 17, 40, 64, 100, 256])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int8"])
def test_rows_of_a_known_length(dtype: str, length: int) -> None:
    x = tf.placeholder(dtype, [None, length])
    y = x * x + x
    fetches = [y, *(f(y, axis) for f in (tf.reduce_sum, tf.reduce_max) for axis in (None, 0, 1))]
    compare(fetches, {x: numbers(dtype, 11, length)}, dtype)


@pytest.mark.parametrize("length", [17, 24, 33, 40, 48, 49, 65, 144])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_matrices_whose_rows_are_a_few_vectors(dtype: str, length: int) -> None:
    """Totals are cleared along all columns at once, whose number has nothing to do with the vectors of a row."""
    x = tf.placeholder(dtype, [None, None, length])
    y = x * x
    fetches = [tf.reduce_sum(y, 0), tf.reduce_max(y, 0), tf.reduce_sum(tf.expand_dims(y[0], 1) * y[0], 0)]
    for rows in (1, 2, 3, 8, 20):
        compare(fetches, {x: numbers(dtype, 4, rows, length)}, dtype)


def test_rows_of_groups_that_may_be_empty() -> None:
    """Small sizes are compiled in, and one that is computed from another may be 0."""
    x = tf.placeholder("float32", [None, None, None])
    batch, rows, columns = tf.unstack(tf.shape(x))
    groups = tf.reshape(x[..., : columns // 5 * 5], tf.stack([batch, rows, 5, columns // 5]))
    y = groups - tf.reduce_mean(groups, [1, 3], keepdims=True)
    for length in (11, 1):
        compare([y], {x: numbers("float32", 8, 3, length)}, "float32")


@pytest.mark.parametrize("length", [3, 16, 45, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_totals_of_matrices_beside_one_of_everything(dtype: str, length: int) -> None:
    """Several rows are worked on together, and each has several dimensions of columns."""
    x, scale = tf.placeholder(dtype, [None, None, length]), tf.placeholder(dtype, [length])
    y = x * scale
    for total in (tf.reduce_sum, tf.reduce_max):
        fetches = [tf.reduce_sum(y, 0), total(y), tf.reduce_min(y, 0)]
        for rows, columns in ((1, 3), (4, 3), (9, 23), (9, 1), (6, 0), (0, 2)):
            feeds = {x: numbers(dtype, rows, columns, length), scale: numbers(dtype, length)}
            if columns and rows:
                compare(fetches, feeds, dtype)
            else:
                compare(fetches[:1], feeds, dtype)


@pytest.mark.parametrize("length", LENGTHS)
def test_passes_that_keep_what_they_computed(length: int) -> None:
    x = tf.placeholder("float32", [None, None])
    compare([tf.nn.softmax(x), tf.nn.log_softmax(x)], {x: numbers("float32", 6, length)}, "float32")


@pytest.mark.parametrize("length", LENGTHS)
def test_bools(length: int) -> None:
    x = tf.placeholder("float32", [None, None])
    positive = tf.greater(x, 0.0)
    fetches = [
        tf.logical_not(positive),
        *(f(positive, a) for f in (tf.reduce_all, tf.reduce_any) for a in (0, 1)),
    ]
    compare(fetches, {x: numbers("float32", 5, length)}, "bool")


@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("length", [5, 64, 70])
def test_special_values_reach_the_result_from_any_place(what: float, length: int) -> None:
    x = tf.placeholder("float32", [None, None])
    values = np.repeat(numbers("float32", 1, length), length, axis=0)
    np.fill_diagonal(values, what)
    compare([f(x, 1) for f in (tf.reduce_max, tf.reduce_min, tf.reduce_sum)], {x: values}, "float32")


@pytest.mark.parametrize("length", LENGTHS)
def test_positions_and_several_dimensions_of_columns(length: int) -> None:
    x = tf.placeholder("float32", [None, 3, None])
    index = tf.cast(tf.range(tf.shape(x)[2]), tf.float32)
    swapped = tf.transpose(x * index, [1, 0, 2])
    fetches = [
        x + index,
        tf.one_hot(tf.range(4), length, dtype=tf.int32),
        swapped,
        tf.reduce_sum(swapped, [0]),
    ]
    compare(fetches, {x: numbers("float32", 4, 3, length)}, "float32")


def test_an_update_in_place() -> None:
    w = tf.Variable(np.arange(100, dtype=np.float32))
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(tf.assign_add(w, 2.0 * w))
        np.testing.assert_array_equal(session.run(w), 27.0 * np.arange(100))


def nest(what: scalar.Scalar, stride: int = 1) -> nests.Nest:
    """A nest over a vector; leaf 0 is its element."""
    read, written = nests.Access(what.dtype, (stride,)), nests.Access(what.dtype, (1,))
    return nests.Nest((), (sizes.symbol("n"),), (read,), (), ((what, written),))


def test_what_is_written_in_vectors() -> None:
    def is_vector(nest: nests.Nest) -> bool:
        return nest_kernels.compiled(nest, "").kernel.text.startswith(AS_WRITTEN)

    x, i = scalar.leaf(0, dtypes.float32), scalar.leaf(0, dtypes.int32)
    assert is_vector(nest(x * 2.0)) and is_vector(nest(x * 2.0, stride=0)) and is_vector(nest(i * 2))
    assert not is_vector(nest(x * 2.0, stride=2))
    assert is_vector(nest(scalar.quotient(i, i)))
    with target.using(target.BASELINE):
        assert not is_vector(nest(x * 2.0))


def test_equal_nests_of_a_plan_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[nests.Nest] = []
    right = nest_kernels.compiled

    def compiled(nest: nests.Nest, title: str) -> Loop:
        written.append(nest)
        return right(nest, title)

    monkeypatch.setattr(nest_kernels, "compiled", compiled)
    layers = [tf.placeholder("float32", [4, 8]) for _ in range(3)]
    fetches = [tf.reduce_sum(x, 0) for x in layers]
    compare(fetches, {x: numbers("float32", 4, 8) for x in layers}, "float32")
    assert len(written) == 1
