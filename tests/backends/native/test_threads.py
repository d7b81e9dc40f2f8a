"""Whole programs on several threads: the same bits for any number of them, no lost update, and life after fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native.tiles import TILE
from tests.backends.native.hostile import shared

ROWS = 3 * TILE // 16 + 5


def session(threads: int = 0) -> tf.Session:
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    return tf.Session(backend="native", tier="compiled", config=config)


@pytest.fixture(autouse=True)
def _shared() -> Iterator[None]:
    with shared():
        yield


# ---------------------------------------------------------------- the same bits

Net = tuple[Any, list[Any], dict[Any, np.ndarray]]


def reductions() -> Net:
    x = tf.placeholder(tf.float32, [None, 16])
    fetches = [f(x, axis) for f in (tf.reduce_sum, tf.reduce_mean, tf.reduce_max) for axis in (None, 0, 1)]
    return None, [*fetches, tf.reduce_sum(tf.square(x - tf.reduce_mean(x, 0)), 0)], {x: _numbers(ROWS, 16)}


def normalizations() -> Net:
    x = tf.placeholder(tf.float32, [None, 16])
    loss = tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.nn.softmax(x[:, ::-1]), logits=x)
    )
    return None, [tf.nn.softmax(x), loss, *tf.gradients(loss, x)], {x: _numbers(ROWS, 16)}


def products() -> Net:
    x, w = tf.placeholder(tf.float32, [None, 300]), tf.Variable(_numbers(300, 200))
    y = tf.nn.relu(tf.matmul(x, w) + 0.5)
    loss = tf.reduce_mean(tf.square(y))
    train = tf.train.MomentumOptimizer(0.01, 0.9).minimize(loss)
    batched = tf.matmul(tf.reshape(x, [-1, 20, 15]), tf.reshape(x, [-1, 15, 20]))
    return w, [y, loss, train, batched], {x: _numbers(260, 300)}


def convolutions() -> Net:
    x, w = tf.placeholder(tf.float32, [None, 14, 14, 8]), tf.Variable(_numbers(3, 3, 8, 16))
    y = tf.nn.max_pool(
        tf.nn.relu(tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")), [1, 2, 2, 1], [1, 2, 2, 1], "VALID"
    )
    loss = tf.reduce_mean(tf.square(y))
    train = tf.train.AdamOptimizer(0.01).minimize(loss)
    return w, [y, loss, train, *tf.gradients(loss, x)], {x: _numbers(9, 14, 14, 8)}


def draws() -> Net:
    x = tf.placeholder(tf.float32, [None, 16])
    noise = tf.random_normal(tf.shape(x), seed=3) + tf.random_uniform(tf.shape(x), seed=4)
    return None, [noise, tf.reduce_sum(tf.nn.dropout(x, rate=0.3, seed=5), 0)], {x: _numbers(ROWS, 16)}


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


@pytest.mark.parametrize("net", [reductions, normalizations, products, convolutions, draws])
def test_bits_do_not_depend_on_the_number_of_threads(net: Callable[[], Net]) -> None:
    variable, fetches, feeds = net()
    results: list[list[bytes]] = []
    for threads in (1, 2, 4):
        with session(threads) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(2):
                sess.run(fetches, feeds)
            found = [r for r in sess.run(fetches, feeds) if r is not None]
            found += [] if variable is None else [sess.run(variable)]
            results.append([np.asarray(r).tobytes() for r in found])
    assert results[0] == results[1] == results[2]


# ---------------------------------------------------------------- several Python threads


def test_eight_threads_train_shared_variables() -> None:
    """Every step counts once, whoever else is in the session; sums are exact."""
    x = tf.placeholder(tf.float32, [None, 4])
    count, total = tf.Variable(0), tf.Variable(tf.zeros([4]))
    rows = tf.reduce_sum(x, 0)
    step = tf.group(tf.assign_add(count, 1), tf.assign_add(total, rows))
    found: list[BaseException] = []
    with session() as sess:
        sess.run(tf.global_variables_initializer())

        def work(number: int) -> None:
            try:
                for i in range(60):
                    sess.run(step, {x: np.full([1 + (number + i) % 3, 4], 1.0, np.float32)})
                    value = sess.run(total)
                    assert (value == value[0]).all(), "half of an update was seen"
            except BaseException as error:
                found.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not found
        assert sess.run(count) == 480
        np.testing.assert_array_equal(
            sess.run(total), sum(1 + (n + i) % 3 for n in range(8) for i in range(60))
        )


def test_eight_threads_run_one_plan_on_arrays_of_their_own() -> None:
    x = tf.placeholder(tf.float32, [None, 16])
    fetch = tf.reduce_sum(tf.nn.softmax(x) * x, 1)
    wrong: list[Any] = []
    with session() as sess:

        def work(number: int) -> None:
            feed = _numbers(50 + number, 16)
            first = sess.run(fetch, {x: feed})
            wrong.extend(i for i in range(40) if not np.array_equal(sess.run(fetch, {x: feed}), first))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_computes() -> None:
    _, fetches, feeds = normalizations()
    with session() as sess:
        before = sess.run(fetches, feeds)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                after = sess.run(fetches, feeds)
                status = 0 if all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for a, b in zip(before, sess.run(fetches, feeds), strict=True):
            np.testing.assert_array_equal(a, b)
