"""Candidate samplers: NumPy's classes and expected counts, from the same stream, to the bit."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr import errors
from tahr.backends.native import candidates
from tahr.ops.streams import Stream
from tests.backends.native import guarded, natively

pytestmark = pytest.mark.usefixtures("seeded")

SAMPLERS: dict[str, Callable[..., Any]] = {
    "uniform": tf.nn.uniform_candidate_sampler,
    "log_uniform": tf.nn.log_uniform_candidate_sampler,
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize(
    ("wanted", "classes"),
    [(0, 5), (1, 1), (5, 5), (31, 40), (32, 40), (33, 10**6), (64, 50_000), (1000, 1000), (64, 2**62 + 1)],
)
@pytest.mark.parametrize("batch", [0, 1, 70])
def test_bits(name: str, unique: bool, wanted: int, classes: int, batch: int) -> None:
    """Of three runs the last, for any number of threads."""
    true_classes = tf.placeholder(tf.int64, [None, 2])
    fetches = list(SAMPLERS[name](true_classes, 2, wanted, unique, classes))
    feeds = {true_classes: np.random.default_rng(0).integers(0, classes, [batch, 2])}
    with tf.Session(backend="numpy") as session:
        expected = [session.run(fetches, feeds) for _ in range(3)][-1]
    for threads in (1, 2, 4):
        found, hosts = natively.run(fetches, feeds, threads, runs=3)
        assert bool(hosts) == (name == "log_uniform" and classes > 2**31)
        assert all(map(natively.same, found, expected))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("wrong", [-1, 9, 2**62])
def test_a_true_class_out_of_range(name: str, wrong: int) -> None:
    true_classes = tf.placeholder(tf.int64, [None, 1])
    fetches = list(SAMPLERS[name](true_classes, 1, 3, True, 9))
    values = np.zeros([20, 1], np.int64)
    values[17] = wrong
    with pytest.raises(errors.InvalidArgumentError, match=r"out of range \[0, 9\)"):
        natively.run(fetches, {true_classes: values})


@pytest.mark.parametrize(
    ("num_true", "wanted", "classes", "message"),
    [
        (2, 3, 9, "must have num_true columns"),
        (1, 10, 9, "range is too small"),
        (1, 3, 0, "range_max must be positive"),
    ],
)
def test_numpy_complains_of_arguments(num_true: int, wanted: int, classes: int, message: str) -> None:
    true_classes = tf.placeholder(tf.int64, [None, 1])
    fetches = list(tf.nn.uniform_candidate_sampler(true_classes, num_true, wanted, True, classes))
    with pytest.raises(errors.InvalidArgumentError, match=message):
        natively.run(fetches, {true_classes: np.zeros([4, 1])})


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("unique", [True, False])
def test_kernel(name: Any, unique: bool) -> None:
    """Between guards, with a table that has no slot to spare."""
    wanted, classes, position = 16, 40, np.array([5, 2**64 - 3, 7], np.uint64)
    (logarithm,) = struct.unpack("q", struct.pack("d", math.log1p(classes)))
    kernel = candidates.draw(name, unique)
    outputs: list[Any] = [((wanted,), np.int64), ((1,), np.int64)]
    outputs += [((32,), np.int32)] if unique else []
    found, tries, *_ = guarded.run(kernel, [position], outputs, (wanted, classes, logarithm, 5), 1)
    stream = Stream.from_state((5, (7 << 64) + 2**64 - 3))
    expected, _, _ = stream.candidates(name, [[0]], wanted, unique, classes)
    np.testing.assert_array_equal(found, expected)
    assert tries > wanted if unique else tries == wanted


def test_in_a_loop_the_stream_goes_on() -> None:
    def body(i: Any, total: Any) -> Any:
        sampled, *_ = tf.nn.log_uniform_candidate_sampler([[1]], 1, 20, True, 1000)
        return i + 1, total * 3 + tf.reduce_sum(sampled)

    fetch = tf.while_loop(lambda i, _: i < 5, body, [0, tf.constant(0, tf.int64)])[1]
    with tf.Session(backend="numpy") as session:
        expected = [session.run(fetch) for _ in range(3)]
    with tf.Session(backend="native", tier="compiled") as session:
        assert [session.run(fetch) for _ in range(3)] == expected
        assert not session.explain(fetch).boundaries


def test_word2vec_is_one_segment() -> None:
    """Embeddings trained by noise-contrastive estimation: the losses of NumPy's steps."""
    words, context = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.int32, [None, 1])
    embeddings = tf.get_variable("embeddings", initializer=tf.random_uniform([90, 8], seed=1))
    weights = tf.get_variable("weights", initializer=tf.random_uniform([90, 8], seed=2))
    biases = tf.get_variable("biases", initializer=tf.zeros([90]))
    inputs = tf.nn.embedding_lookup(embeddings, words)
    losses = tf.nn.nce_loss(weights, biases, context, inputs, num_sampled=16, num_classes=90)
    loss = tf.reduce_mean(losses)
    fetches = [loss, tf.train.GradientDescentOptimizer(0.5).minimize(loss)]
    values = np.random.default_rng(0).integers(0, 90, [2, 40])
    feeds = {words: values[0], context: values[1][:, None]}
    results: list[Any] = []
    for backend, tier in (("numpy", None), ("native", "compiled")):
        with tf.Session(backend=backend, tier=tier) as session:
            session.run(tf.global_variables_initializer())
            results.append([session.run(fetches, feeds)[0] for _ in range(6)])
            assert backend == "numpy" or not session.explain(fetches, feeds).boundaries
    np.testing.assert_allclose(*results, rtol=1e-5)
    assert results[0][-1] < results[0][0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("num_true", [1, 3])
def test_hidden_hits(dtype: str, num_true: int) -> None:
    """Classes that are true ones, some of them twice, are hidden without a list of them: there are few classes."""
    labels = tf.placeholder(tf.int64, [None, num_true])
    inputs = tf.placeholder(dtype, [None, 4])
    random = np.random.default_rng(0)
    kind = tf.as_dtype(dtype).as_numpy_dtype
    weights, biases = tf.constant(random.normal(size=[9, 4]).astype(kind)), tf.zeros([9], dtype)
    drawn = (
        tf.constant([3, 0, 8, 5], tf.int64),
        tf.ones([tf.shape(labels)[0], num_true], dtype),
        tf.ones([4], dtype),
    )
    losses = tf.nn.sampled_softmax_loss(weights, biases, labels, inputs, 4, 9, num_true, drawn)
    fetches = [losses, *tf.gradients(losses, [inputs])]
    for batch in (1, 6, 0, 40):
        feeds = {labels: random.integers(0, 9, [batch, num_true]), inputs: random.normal(size=[batch, 4])}
        with tf.Session(backend="numpy") as session:
            expected = session.run(fetches, feeds)
        found, hosts = natively.run(fetches, feeds)
        assert not hosts or not batch  # the list of nothing is known beforehand
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-2 if dtype == "float16" else 1e-5, atol=1e-3)


def test_hits_that_are_listed_are_numpys() -> None:
    labels = tf.placeholder(tf.int64, [None, 1])
    rows, ids, weights = tf.nn.compute_accidental_hits(labels, [4, 2], 1)
    fetches = [tf.reduce_sum(rows), tf.reduce_max(ids), tf.reduce_min(weights), tf.size(rows) + 1]
    feeds = {labels: [[2], [7], [4], [4]]}
    found, hosts = natively.run(fetches, feeds)
    assert hosts == ["_PaddedAccidentalHits"]
    assert [float(x) for x in found] == [5, 1, np.finfo(np.float32).min, 4]
