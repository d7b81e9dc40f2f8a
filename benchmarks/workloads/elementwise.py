"""W9 and W11, and a run of next to nothing: programs without layers."""

from __future__ import annotations

from typing import Any

from benchmarks.workloads.running import inference_step
from benchmarks.works import Arrays, Sizes, Step


def elementwise(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """The sum of tanh(a x + b) sigmoid(x) + exp(-x x), and its gradients; x stays where the variables are."""
    with tf.Graph().as_default():
        x, a, b = (tf.Variable(arrays[name]) for name in "xab")
        total = tf.reduce_sum(tf.tanh(a * x + b) * tf.sigmoid(x) + tf.exp(-x * x))
        return inference_step(tf, [total, *tf.gradients(total, [x, a, b])], {})


def rosenbrock(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """The Hessian of Rosenbrock's function times a vector: the gradient of (gradient · v)."""
    with tf.Graph().as_default():
        x, v = (tf.placeholder(tf.float32, [sizes["size"]]) for _ in range(2))
        y = tf.reduce_sum(100.0 * tf.square(x[1:] - tf.square(x[:-1])) + tf.square(1.0 - x[:-1]))
        (gradient,) = tf.gradients(y, x)
        (product,) = tf.gradients(tf.reduce_sum(gradient * v), x)
        return inference_step(tf, product, {x: arrays["x"], v: arrays["v"]})


def empty(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """A run of next to nothing: several scalars fed, and several sums of the first one fetched."""
    with tf.Graph().as_default():
        feeds = {tf.placeholder(tf.float32, []): arrays[f"x{i}"] for i in range(sizes["feeds"])}
        first = next(iter(feeds))
        fetches = [first + float(i) for i in range(sizes["fetches"])]
        return inference_step(tf, fetches, feeds)
