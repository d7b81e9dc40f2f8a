"""What tahr itself costs: building a graph, differentiating it, and memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np

import tahr as tf


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def construction(count: int = 100_000) -> float:
    """Seconds to build `count` simple operations."""

    def build() -> None:
        x = tf.constant(1.0)
        for _ in range(count):
            x = tf.add(x, x)

    with tf.Graph().as_default():
        return _seconds(build)


def deep_chain(depth: int = 10_000) -> float:
    """Seconds of `tf.gradients` through a chain of `depth` operations."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [])
        y = x
        for _ in range(depth):
            y = tf.sin(y)
        return _seconds(lambda: tf.gradients(y, x))


def doubling(levels: int = 1000) -> float:
    """Seconds of `tf.gradients` through `levels` of `y = y + y`."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [])
        y = x
        for _ in range(levels):
            y = y + y
        return _seconds(lambda: tf.gradients(y, x))


def chain_memory(layers: int = 200, size: int = 250_000) -> float:
    """The peak memory of a chain of layers, in buffers of one layer's output."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None])
        y = x
        for _ in range(layers):
            y = tf.tanh(y * 0.5 + 1.0)
        value = np.ones(size, np.float32)
        session.run(y, {x: value})
        tracemalloc.start()
        session.run(y, {x: value})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak / value.nbytes
