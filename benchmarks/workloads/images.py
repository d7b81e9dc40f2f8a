"""W5, W6 and W10b: convolutional nets."""

from __future__ import annotations

from typing import Any

from benchmarks.workloads.running import cross_entropy, inference_step, optimizer, training_step
from benchmarks.works import Arrays, Convolution, Sizes, Step, resnet_blocks, resnet_stem


def _dense(tf: Any, x: Any, arrays: Arrays, name: str) -> Any:
    return tf.matmul(x, tf.Variable(arrays[f"w_{name}"])) + tf.Variable(arrays[f"b_{name}"])


def _lenet(tf: Any, x: Any, sizes: Sizes, arrays: Arrays) -> Any:
    """Convolutions with ReLU, each followed by max-pooling, then two dense layers."""
    for i in range(len(sizes["filters"])):
        x = tf.nn.conv2d(x, tf.Variable(arrays[f"k_{i}"]), strides=[1, 1, 1, 1], padding="SAME")
        x = tf.nn.relu(tf.nn.bias_add(x, tf.Variable(arrays[f"c_{i}"])))
        x = tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    x = tf.reshape(x, [-1, arrays["w_hidden"].shape[0]])
    return _dense(tf, tf.nn.relu(_dense(tf, x, arrays, "hidden")), arrays, "out")


def _images(tf: Any, arrays: Arrays) -> Any:
    return tf.placeholder(tf.float32, [None, *arrays["x"].shape[1:]])


def cnn(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """A net like LeNet, trained on classes."""
    with tf.Graph().as_default():
        x, labels = _images(tf, arrays), tf.placeholder(tf.int32, [None])
        loss = cross_entropy(tf, labels, _lenet(tf, x, sizes, arrays))
        train = optimizer(tf, sizes).minimize(loss)
        return training_step(tf, train, loss, {x: arrays["x"], labels: arrays["labels"]})


def cnn_inference(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """The logits of the same net."""
    with tf.Graph().as_default():
        x = _images(tf, arrays)
        return inference_step(tf, _lenet(tf, x, sizes, arrays), {x: arrays["x"]})


class _Resnet:
    """A residual net with batch normalization, and the updates of its moving averages."""

    def __init__(self, tf: Any, arrays: Arrays) -> None:
        self._tf, self._arrays = tf, arrays
        self.updates: list[Any] = []

    def _average(self, value: Any, start: float) -> None:
        """Keeps a moving average, as inference would want it."""
        tf = self._tf
        moving = tf.Variable(tf.fill(value.shape, start), trainable=False)
        self.updates.append(tf.assign_sub(moving, 0.1 * (moving - value)))

    def _normalized(self, x: Any, c: Convolution) -> Any:
        """A convolution and the normalization of its output.

        The padding is the same on both sides, as in other frameworks, which "SAME" with a stride is not.
        """
        tf, arrays = self._tf, self._arrays
        side = [c.size // 2, c.size // 2]
        padding = [[0, 0], side, side, [0, 0]]
        x = tf.nn.conv2d(x, tf.Variable(arrays[f"k_{c.name}"]), [1, c.stride, c.stride, 1], padding)
        scale, offset = tf.Variable(arrays[f"scale_{c.name}"]), tf.Variable(arrays[f"offset_{c.name}"])
        y, mean, variance = tf.nn.fused_batch_norm(x, scale, offset, epsilon=1e-5, is_training=True)
        self._average(mean, 0.0)
        self._average(variance, 1.0)
        return y

    def logits(self, x: Any, sizes: Sizes) -> Any:
        tf = self._tf
        x = tf.nn.relu(self._normalized(x, resnet_stem(sizes)))
        for block in resnet_blocks(sizes):
            y = tf.nn.relu(self._normalized(x, block.first))
            y = self._normalized(y, block.second)
            x = tf.nn.relu(y + (self._normalized(x, block.shortcut) if block.shortcut else x))
        return _dense(tf, tf.reduce_mean(x, axis=[1, 2]), self._arrays, "out")


def resnet(tf: Any, sizes: Sizes, arrays: Arrays) -> Step:
    """A residual net, trained on classes."""
    with tf.Graph().as_default():
        x, labels = _images(tf, arrays), tf.placeholder(tf.int32, [None])
        net = _Resnet(tf, arrays)
        loss = cross_entropy(tf, labels, net.logits(x, sizes))
        train = tf.group(optimizer(tf, sizes).minimize(loss), *net.updates)
        return training_step(tf, train, loss, {x: arrays["x"], labels: arrays["labels"]})
