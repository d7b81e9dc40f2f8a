"""W1 to W4 and W10a: the tutorial's perceptron and XOR net, and dense nets on images."""

from __future__ import annotations

from typing import Any

from benchmarks.workloads.running import cross_entropy, inference_step, optimizer, training_step
from benchmarks.works import Arrays, Sizes, Step


def perceptron(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """Softmax regression on points in the plane, as the tutorial writes it: no stable cross-entropy."""
    with tf.Graph().as_default():
        x, c = tf.placeholder(tf.float64, [None, 2]), tf.placeholder(tf.float64, [None, 2])
        w, b = tf.Variable(arrays["w"]), tf.Variable(arrays["b"])
        p = tf.nn.softmax(tf.matmul(x, w) + b)
        loss = -tf.reduce_sum(c * tf.log(p))
        train = tf.train.GradientDescentOptimizer(sizes["rate"]).minimize(loss)
        return training_step(tf, train, loss, {x: arrays["x"], c: arrays["classes"]})


def xor(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """The tutorial's net with one hidden layer."""
    with tf.Graph().as_default():
        x, c = tf.placeholder(tf.float64, [None, 2]), tf.placeholder(tf.float64, [None, 2])
        hidden = tf.sigmoid(tf.matmul(x, tf.Variable(arrays["w0"])) + tf.Variable(arrays["b0"]))
        p = tf.nn.softmax(tf.matmul(hidden, tf.Variable(arrays["w1"])) + tf.Variable(arrays["b1"]))
        loss = -tf.reduce_sum(c * tf.log(p))
        train = tf.train.GradientDescentOptimizer(sizes["rate"]).minimize(loss)
        return training_step(tf, train, loss, {x: arrays["x"], c: arrays["classes"]})


def _logits(tf: Any, x: Any, sizes: Sizes, arrays: Arrays) -> Any:
    count = len(sizes["layers"]) - 1
    for i in range(count):
        x = tf.matmul(x, tf.Variable(arrays[f"w_{i}"])) + tf.Variable(arrays[f"b_{i}"])
        if i < count - 1:
            x = tf.nn.relu(x)
    return x


def mlp(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """Dense layers with ReLU, trained on classes."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, sizes["layers"][0]])
        labels = tf.placeholder(tf.int32, [None])
        loss = cross_entropy(tf, labels, _logits(tf, x, sizes, arrays))
        train = optimizer(tf, sizes).minimize(loss)
        return training_step(tf, train, loss, {x: arrays["x"], labels: arrays["labels"]})


def mlp_inference(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """The logits of the same net."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, sizes["layers"][0]])
        return inference_step(tf, _logits(tf, x, sizes, arrays), {x: arrays["x"]})
