"""Random numbers of the native backend: the bits of `tahr.ops.sampling`, run after run, whatever the size."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.ops.philox import Philox
from tahr.ops.streams import Stream
from tests.backends.native import natively

DRAWS: dict[str, Callable[[Any], Any]] = {
    **{
        f"{draw.__name__} {dtype}": lambda shape, draw=draw, dtype=dtype: draw(shape, dtype=dtype, seed=3)
        for draw in (tf.random_uniform, tf.random_normal, tf.truncated_normal)
        for dtype in ("float16", "bfloat16", "float32", "float64")
    },
    "a few int32": lambda shape: tf.random_uniform(shape, -5, 3, dtype=tf.int32, seed=3),
    "odd int32": lambda shape: tf.random_uniform(shape, -5, 1_000_003, dtype=tf.int32, seed=3),
    "all int32": lambda shape: tf.random_uniform(shape, -(2**31), 2**31 - 1, dtype=tf.int32, seed=3),
    "one int32": lambda shape: tf.random_uniform(shape, 7, 8, dtype=tf.int32, seed=3),
    "some int64": lambda shape: tf.random_uniform(shape, -5, 10**15, dtype=tf.int64, seed=3),
    "all int64": lambda shape: tf.random_uniform(shape, -(2**63), 2**63 - 1, dtype=tf.int64, seed=3),
}
# The logarithm and the sine of float64 are NumPy's.
LEFT_TO_NUMPY = {"random_normal float64", "truncated_normal float64"}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shape", [[], [0], [1], [63], [64], [65], [3, 31], [50, 701]])
def test_bits(name: str, shape: list[int]) -> None:
    fetch = DRAWS[name](shape)
    with tf.Session(backend="numpy") as session:
        expected = [session.run(fetch) for _ in range(3)][-1]
    found, hosts = natively.run(fetch, {}, threads=2, runs=3)
    assert natively.same(np.asarray(found), np.asarray(expected))
    assert bool(hosts) == (name in LEFT_TO_NUMPY)


def test_sizes_that_a_run_decides() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    fetch = tf.random_uniform(tf.shape(x), seed=1)
    found: dict[str, Any] = {}
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier=None if backend == "numpy" else "compiled") as session:
            found[backend] = [session.run(fetch, {x: np.zeros([n, 3])}) for n in (5, 0, 700, 5)]
    for a, b in zip(*found.values()):
        np.testing.assert_array_equal(a, b)


def test_the_counter_carries() -> None:
    """A stream whose counter's lower half overflows within the draw."""
    fetch = tf.random_uniform([400], seed=1)
    node_op = fetch.op
    while node_op.type != "RandomUniform":
        node_op = node_op.inputs[0].op
    with tf.Session(backend="native", tier="compiled") as session:
        with session._store.stream(node_op, 0, 0) as stream:
            stream._generator = Philox(12345, (77 << 64) + 2**64 - 30)
        found = session.run(fetch)
    expected = Stream.from_state((12345, (77 << 64) + 2**64 - 30)).uniform([400])
    np.testing.assert_array_equal(found, expected)


def test_threads_draw_from_one_stream() -> None:
    """What several threads of Python draw together is what one would have drawn."""
    fetch = tf.random_uniform([1000], seed=1)
    with tf.Session(backend="numpy") as session:
        expected = {session.run(fetch).tobytes() for _ in range(40)}
    found: list[bytes] = []
    with tf.Session(backend="native", tier="compiled") as session:

        def work() -> None:
            found.extend(session.run(fetch).tobytes() for _ in range(10))

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert set(found) == expected


def test_dropout_and_its_gradient() -> None:
    x = tf.placeholder(tf.float32, [None, 50])
    y = tf.nn.dropout(x, rate=0.3, seed=5)
    fetches = [y, *tf.gradients(tf.reduce_sum(y * y), [x])]
    feeds = {x: np.random.default_rng(0).normal(size=[64, 50]).astype(np.float32)}
    with tf.Session(backend="numpy") as session:
        expected = [session.run(fetches, feeds) for _ in range(2)][-1]
    found, hosts = natively.run(fetches, feeds, runs=2)
    assert not hosts
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-6)
