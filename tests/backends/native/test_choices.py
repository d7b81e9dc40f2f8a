"""Classes drawn with probabilities, and rows in random order: NumPy's, from the same stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr import errors
from tahr.backends.native import choices
from tahr.core import dtypes
from tests.backends.native import guarded, natively

pytestmark = pytest.mark.usefixtures("seeded")


def check(fetch: Any, feeds: Any) -> Any:
    """Three runs natively are three of NumPy's, for any number of threads."""
    for threads in (1, 2, 4):
        found, hosts = natively.run(fetch, feeds, threads, runs=3)
        assert not hosts
        with tf.Session(backend="numpy") as session:
            expected = [session.run(fetch, feeds) for _ in range(3)][-1]
        assert natively.same(found, expected)
    return found


@pytest.mark.parametrize("shape", [(1, 1), (40, 17), (0, 5), (3, 5000), (3000, 6)])
@pytest.mark.parametrize("samples", [0, 1, 5, 130])
def test_classes(shape: tuple[int, int], samples: int) -> None:
    logits = tf.placeholder(tf.float32, [None, None])
    values = np.random.default_rng(0).normal(size=shape)
    found = check(tf.multinomial(logits, samples, seed=1), {logits: values})
    assert found.shape == (shape[0], samples)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize("output", [tf.int32, tf.int64])
def test_dtypes_of_classes(dtype: str, output: Any) -> None:
    values = np.random.default_rng(0).integers(0, 4, [9, 30]).astype(tf.as_dtype(dtype).as_numpy_dtype)
    logits = tf.placeholder(dtype, [None, 30])
    found = check(tf.multinomial(logits, 20, output_dtype=output), {logits: values})
    assert found.dtype == output.as_numpy_dtype


def test_infinite_and_nan_logits_have_no_weight() -> None:
    values = np.random.default_rng(0).choice([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30], [50, 6])
    values[0] = np.nan
    logits = tf.placeholder(tf.float32, [None, 6])
    found = check(tf.multinomial(logits, 40), {logits: values})
    assert (found[0] == 6).all()


def test_of_no_classes_none_can_be_drawn() -> None:
    logits = tf.placeholder(tf.float32, [None, 0])
    with pytest.raises(errors.InvalidArgumentError, match="num_classes should be positive"):
        natively.run(tf.multinomial(logits, 3), {logits: np.zeros([2, 0])})


def test_frequencies_are_probabilities() -> None:
    probabilities = np.array([0.5, 0.125, 0.25, 0.125])
    found, _ = natively.run(tf.multinomial(np.log(probabilities)[None], 40_000, seed=3), {})
    np.testing.assert_allclose(np.bincount(found[0]) / 40_000, probabilities, atol=0.01)


SHAPES = [(0,), (1,), (2,), (100_000,), (50, 3), (5, 0), (0, 3), (300, 2, 200)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "int32", "float64"])
def test_rows_in_random_order(shape: tuple[int, ...], dtype: str) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
    fed = tf.placeholder(dtype, [None, *shape[1:]])
    found = check(tf.random_shuffle(fed), {fed: values})
    assert sorted(map(str, found)) == sorted(map(str, values))


def test_permutation_kernel() -> None:
    """As the algorithm is written down, between guards."""
    words = np.random.default_rng(0).integers(0, 2**32, 40, np.uint32)
    (found,) = guarded.run(choices.permutation(), [words], [((41,), np.int64)], (41,), 1)
    order = list(range(41))
    for i, word in enumerate(words.tolist()):
        j = i + word % (41 - i)
        order[i], order[j] = order[j], order[i]
    assert found.tolist() == order


def test_class_kernel() -> None:
    """Uniform numbers at and around the borders of the classes, between guards."""
    logits = np.log(np.array([[1, 2, 1], [0.5, 0.25, 0.25]]))
    uniform = np.array([[0, 0.2, 0.3, 0.8], [0.49, 0.51, 0.74, 0.76]])
    kernel = choices.classes(dtypes.float64, dtypes.int32)
    kernel = type(kernel)(kernel.text, 24, kernel.title)
    (found,) = guarded.run(kernel, [logits, uniform], [((2, 4), np.int32)], (1, 2, 3, 4), 2, per_call=1)
    np.testing.assert_array_equal(found, [[0, 0, 1, 2], [0, 1, 1, 2]])


def test_an_agents_step_is_one_segment() -> None:
    """A policy draws an action, and is trained by what it drew."""
    state = tf.placeholder(tf.float32, [None, 4])
    weights = tf.get_variable("w", initializer=np.ones([4, 3], np.float32))
    logits = tf.matmul(state, weights)
    action = tf.squeeze(tf.multinomial(logits, 1, seed=5), 1)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=action, logits=logits))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    feeds = {state: np.random.default_rng(0).normal(size=[20, 4])}
    results: list[Any] = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            results.append([session.run([action, train], feeds)[0] for _ in range(4)])
            assert backend == "numpy" or not session.explain([action, train], feeds).boundaries
    np.testing.assert_array_equal(*results)
