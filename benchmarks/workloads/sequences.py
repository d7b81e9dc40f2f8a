"""W7 and W8: language models over characters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.workloads.running import cross_entropy, optimizer, training_step
from benchmarks.works import Arrays, Sizes, Step


def _train(tf: Any, sizes: Sizes, arrays: Arrays, logits: Any, x: Any) -> Step:
    labels = tf.placeholder(tf.int32, [None, sizes["steps"]])
    loss = cross_entropy(tf, tf.reshape(labels, [-1]), logits)
    train = optimizer(tf, sizes).minimize(loss)
    return training_step(tf, train, loss, {x: arrays["x"], labels: arrays["labels"]})


def lstm(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """One layer of LSTM between an embedding and a softmax."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.int32, [None, sizes["steps"]])
        inputs = tf.nn.embedding_lookup(tf.Variable(arrays["embedding"]), x)
        with tf.variable_scope("lstm", initializer=tf.constant_initializer(arrays["kernel"])):
            cell = tf.nn.rnn_cell.BasicLSTMCell(sizes["hidden"])
            outputs, _ = tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32)
        rows = tf.reshape(outputs, [-1, sizes["hidden"]])
        logits = tf.matmul(rows, tf.Variable(arrays["w_out"])) + tf.Variable(arrays["b_out"])
        return _train(tf, sizes, arrays, logits, x)


class _Gpt:
    """A decoder of transformer blocks, normalized before each part.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).
    """

    def __init__(self, tf: Any, sizes: Sizes, arrays: Arrays) -> None:
        self._tf, self._arrays = tf, arrays
        self._heads, self._steps, self._width = sizes["heads"], sizes["steps"], sizes["width"]
        self._layers = sizes["layers"]
        later = np.triu(np.ones((self._steps, self._steps), np.float32), 1)
        self._mask = tf.constant(later * np.float32(-1e9))

    def _variable(self, name: str) -> Any:
        return self._tf.Variable(self._arrays[name])

    def _dense(self, x: Any, name: str) -> Any:
        return self._tf.matmul(x, self._variable(f"w_{name}")) + self._variable(f"b_{name}")

    def _norm(self, x: Any, name: str) -> Any:
        tf = self._tf
        mean, variance = tf.nn.moments(x, axes=[-1], keep_dims=True)
        y = (x - mean) * tf.rsqrt(variance + 1e-5)
        return y * self._variable(f"scale_{name}") + self._variable(f"offset_{name}")

    def _gelu(self, x: Any) -> Any:
        """The approximation by tanh of Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016)."""
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return 0.5 * x * (1.0 + self._tf.tanh(inner))

    def _attention(self, x: Any, name: str) -> Any:
        """Each position looks at those before it and itself; x is [batch * steps, width]."""
        tf = self._tf
        size = self._width // self._heads
        qkv = tf.reshape(self._dense(x, f"{name}_qkv"), [-1, self._steps, 3, self._heads, size])
        q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))
        scores = tf.matmul(q, k, transpose_b=True) * (1 / math.sqrt(size)) + self._mask
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), [0, 2, 1, 3])
        return self._dense(tf.reshape(mixed, [-1, self._width]), f"{name}_merge")

    def logits(self, ids: Any) -> Any:
        tf = self._tf
        tokens = self._variable("tokens")
        x = tf.nn.embedding_lookup(tokens, ids) + self._variable("positions")
        x = tf.reshape(x, [-1, self._width])
        for i in range(self._layers):
            x += self._attention(self._norm(x, f"{i}_attention"), str(i))
            x += self._dense(self._gelu(self._dense(self._norm(x, f"{i}_mlp"), f"{i}_up")), f"{i}_down")
        return tf.matmul(self._norm(x, "end"), tokens, transpose_b=True)


def gpt(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """A small GPT, its token embedding shared with the softmax."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.int32, [None, sizes["steps"]])
        return _train(tf, sizes, arrays, _Gpt(tf, sizes, arrays).logits(x), x)
