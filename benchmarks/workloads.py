"""W1 to W4: training steps as TensorFlow 1 programs, beside the same steps written by hand in NumPy.

Both start from the same weights, and their losses are compared before anything is timed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tahr as tf

Step = Callable[[], float]


@dataclass
class Workload:
    """One piece of work in two forms; each step returns the loss before its update."""

    name: str
    tahr: Step
    numpy: Step


def _session_step(graph: Any, train: Any, loss: Any, feeds: dict[Any, Any]) -> Step:
    session = tf.Session(graph=graph)
    with graph.as_default():
        session.run(tf.global_variables_initializer())
    return lambda: float(session.run([train, loss], feeds)[1])


def perceptron() -> Workload:
    """W1: softmax regression on 100 points in the plane, float64, gradient descent."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(-1.0, 1.0, (50, 2)), rng.normal(1.0, 1.0, (50, 2))])
    classes = np.repeat(np.eye(2), 50, axis=0)
    w0, b0 = rng.normal(size=(2, 2)), rng.normal(size=2)
    graph = tf.Graph()
    with graph.as_default():
        x, c = tf.placeholder(tf.float64, [None, 2]), tf.placeholder(tf.float64, [None, 2])
        w, b = tf.Variable(w0), tf.Variable(b0)
        p = tf.nn.softmax(tf.matmul(x, w) + b)
        loss = -tf.reduce_sum(c * tf.log(p))
        train = tf.train.GradientDescentOptimizer(0.01).minimize(loss)
        step = _session_step(graph, train, loss, {x: points, c: classes})

    weights, bias = w0.copy(), b0.copy()

    def by_hand() -> float:
        nonlocal weights, bias
        logits = points @ weights + bias
        e = np.exp(logits - logits.max(1, keepdims=True))
        q = e / e.sum(1, keepdims=True)
        value = -np.sum(classes * np.log(q))
        d = q - classes
        weights -= 0.01 * (points.T @ d)
        bias -= 0.01 * d.sum(0)
        return float(value)

    return Workload("W1 perceptron 100x2, float64", step, by_hand)


def xor() -> Workload:
    """W2: a 2-2-2 network on the XOR points, float64, gradient descent."""
    rng = np.random.default_rng(1)
    points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    classes = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    w1_0, w2_0 = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    graph = tf.Graph()
    with graph.as_default():
        x, c = tf.placeholder(tf.float64, [None, 2]), tf.placeholder(tf.float64, [None, 2])
        w1, b1, w2, b2 = (
            tf.Variable(w1_0),
            tf.Variable(np.zeros(2)),
            tf.Variable(w2_0),
            tf.Variable(np.zeros(2)),
        )
        hidden = tf.sigmoid(tf.matmul(x, w1) + b1)
        p = tf.nn.softmax(tf.matmul(hidden, w2) + b2)
        loss = -tf.reduce_sum(c * tf.log(p))
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        step = _session_step(graph, train, loss, {x: points, c: classes})

    state = [w1_0.copy(), np.zeros(2), w2_0.copy(), np.zeros(2)]

    def by_hand() -> float:
        a1, c1, a2, c2 = state
        h = 1 / (1 + np.exp(-(points @ a1 + c1)))
        logits = h @ a2 + c2
        e = np.exp(logits - logits.max(1, keepdims=True))
        q = e / e.sum(1, keepdims=True)
        value = -np.sum(classes * np.log(q))
        d = q - classes
        dh = (d @ a2.T) * h * (1 - h)
        a2 -= 0.1 * (h.T @ d)
        c2 -= 0.1 * d.sum(0)
        a1 -= 0.1 * (points.T @ dh)
        c1 -= 0.1 * dh.sum(0)
        return float(value)

    return Workload("W2 XOR net 2-2-2, float64", step, by_hand)


def _layers(sizes: list[int], rng: np.random.Generator) -> list[tuple[Any, Any]]:
    return [
        ((rng.normal(size=(m, n)) / np.sqrt(m)).astype(np.float32), np.zeros(n, np.float32))
        for m, n in itertools.pairwise(sizes)
    ]


def _batch(size: int, rng: np.random.Generator) -> tuple[Any, Any]:
    return rng.random((size, 784), np.float32), rng.integers(0, 10, size).astype(np.int32)


def _network(layers: list[tuple[Any, Any]], x: Any, labels: Any) -> Any:
    h = x
    for i, (w0, b0) in enumerate(layers):
        h = tf.matmul(h, tf.Variable(w0)) + tf.Variable(b0)
        if i < len(layers) - 1:
            h = tf.nn.relu(h)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=h))


def _by_hand(layers: list[Any], x: Any, labels: Any, update: Callable[[int, int, Any], None]) -> float:
    """Loss and backpropagation through dense layers with ReLU; `update(layer, which, gradient)` changes a parameter."""
    rows = np.arange(len(x))
    inputs = [x]
    for i, (w, b) in enumerate(layers):
        h = inputs[-1] @ w
        h += b
        if i < len(layers) - 1:
            np.maximum(h, 0, out=h)
        inputs.append(h)
    logits = inputs.pop()
    logits -= logits.max(1, keepdims=True)
    e = np.exp(logits)
    total = e.sum(1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - logits[rows, labels])
    d = e
    d /= total
    d[rows, labels] -= 1
    d *= np.float32(1 / len(x))
    for i in reversed(range(len(layers))):
        w, _ = layers[i]
        dw, db = inputs[i].T @ d, d.sum(0)
        if i:
            d = d @ w.T
            d *= inputs[i] > 0
        update(i, 0, dw)
        update(i, 1, db)
    return float(loss)


def mlp_adam() -> Workload:
    """W3: 784-512-512-10, batch 128, Adam, fed from NumPy."""
    rng = np.random.default_rng(2)
    initial = _layers([784, 512, 512, 10], rng)
    images, digits = _batch(128, rng)
    graph = tf.Graph()
    with graph.as_default():
        x, labels = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.int32, [None])
        loss = _network(initial, x, labels)
        train = tf.train.AdamOptimizer(1e-3).minimize(loss)
        step = _session_step(graph, train, loss, {x: images, labels: digits})

    layers = [[w.copy(), b.copy()] for w, b in initial]
    moments = [[(np.zeros_like(p), np.zeros_like(p), np.empty_like(p)) for p in pair] for pair in layers]
    count = 0

    def by_hand() -> float:
        nonlocal count
        count += 1
        rate = np.float32(1e-3 * np.sqrt(1 - 0.999**count) / (1 - 0.9**count))

        def update(layer: int, which: int, g: Any) -> None:
            m, v, scratch = moments[layer][which]
            m += np.subtract(g, m, out=scratch) * np.float32(0.1)
            np.multiply(g, g, out=g)
            v += np.subtract(g, v, out=scratch) * np.float32(0.001)
            np.sqrt(v, out=scratch)
            scratch += np.float32(1e-8)
            np.divide(m, scratch, out=scratch)
            scratch *= rate
            layers[layer][which] -= scratch

        return _by_hand(layers, images, digits, update)

    return Workload("W3 MLP 784-512-512-10, batch 128, Adam", step, by_hand)


def mlp_sgd() -> Workload:
    """W4: 784-128-10, batch 32, gradient descent."""
    rng = np.random.default_rng(3)
    initial = _layers([784, 128, 10], rng)
    images, digits = _batch(32, rng)
    graph = tf.Graph()
    with graph.as_default():
        x, labels = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.int32, [None])
        loss = _network(initial, x, labels)
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        step = _session_step(graph, train, loss, {x: images, labels: digits})

    layers = [[w.copy(), b.copy()] for w, b in initial]

    def by_hand() -> float:
        def update(layer: int, which: int, g: Any) -> None:
            g *= np.float32(0.1)
            layers[layer][which] -= g

        return _by_hand(layers, images, digits, update)

    return Workload("W4 MLP 784-128-10, batch 32, SGD", step, by_hand)


WORKLOADS = (perceptron, xor, mlp_adam, mlp_sgd)


def check(workload: Workload, steps: int = 5, tolerance: float = 4e-4) -> None:
    """Raises AssertionError unless both forms have the same losses over some steps."""
    for _ in range(steps):
        ours, theirs = workload.tahr(), workload.numpy()
        assert abs(ours - theirs) <= tolerance * max(1.0, abs(theirs)), (workload.name, ours, theirs)
