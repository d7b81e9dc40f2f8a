"""The demo's networks, written as TensorFlow 1 programs are written."""

from __future__ import annotations

from typing import NamedTuple

import tahr as tf


class Network(NamedTuple):
    """The tensors and operations through which a network is trained and used.

    Attributes:
        inputs: placeholder for a batch of examples.
        labels: placeholder for their classes, [batch].
        dropout: the fraction of hidden units to drop; 0 unless it is fed.
        logits: scores, [batch, classes].
        loss: mean cross-entropy of the batch.
        accuracy: the fraction of the batch whose highest score is the right class.
        step: runs one step of training.
    """

    inputs: tf.Tensor
    labels: tf.Tensor
    dropout: tf.Tensor
    logits: tf.Tensor
    loss: tf.Tensor
    accuracy: tf.Tensor
    step: tf.Operation


def convolutional(side: int, classes: int, steps: int) -> Network:
    """A small convolutional network for square grey images.

    Args:
        side: the images' height and width in pixels; a multiple of 4.
        classes: the number of classes.
        steps: after how many steps the learning rate has come down to 0.
    """
    images = tf.placeholder(tf.float32, [None, side, side, 1], name="images")
    dropout = tf.placeholder_with_default(0.0, [], name="dropout")

    # Twice: look for small patterns everywhere, then halve the size by keeping the clearest finds.
    hidden = tf.nn.relu(tf.nn.conv2d(images, _weights([3, 3, 1, 8]), [1, 1, 1, 1], "SAME") + _biases(8))
    hidden = tf.nn.max_pool(hidden, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    hidden = tf.nn.relu(tf.nn.conv2d(hidden, _weights([3, 3, 8, 16]), [1, 1, 1, 1], "SAME") + _biases(16))
    hidden = tf.nn.max_pool(hidden, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")

    # Then decide from all places together.
    features = (side // 4) ** 2 * 16
    hidden = tf.reshape(hidden, [-1, features])
    hidden = tf.nn.relu(tf.matmul(hidden, _weights([features, 96])) + _biases(96))
    hidden = tf.nn.dropout(hidden, rate=dropout)
    logits = tf.matmul(hidden, _weights([96, classes])) + _biases(classes)

    global_step = tf.train.get_or_create_global_step()
    learning_rate = tf.train.cosine_decay(0.003, global_step, steps)
    return _trained(tf.train.AdamOptimizer(learning_rate), images, dropout, logits)


def perceptron(classes: int) -> Network:
    """The tutorial's perceptron for points in the plane: one linear map, one bias."""
    points = tf.placeholder(tf.float32, [None, 2], name="points")
    dropout = tf.placeholder_with_default(0.0, [], name="dropout")
    logits = tf.matmul(points, _weights([2, classes])) + _biases(classes)
    return _trained(tf.train.GradientDescentOptimizer(0.1), points, dropout, logits)


def _weights(shape: list[int]) -> tf.Variable:
    """Weights that keep the variance of what passes a rectifier (He et al. 2015, equation 10)."""
    fan_in = 1
    for size in shape[:-1]:
        fan_in *= size
    return tf.Variable(tf.truncated_normal(shape, stddev=(2 / fan_in) ** 0.5), name="weights")


def _biases(size: int) -> tf.Variable:
    return tf.Variable(tf.zeros([size]), name="biases")


def _trained(
    optimizer: tf.train.Optimizer, inputs: tf.Tensor, dropout: tf.Tensor, logits: tf.Tensor
) -> Network:
    """Adds the loss, the accuracy and the training step to a network's scores."""
    labels = tf.placeholder(tf.int64, [None], name="labels")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
    step = optimizer.minimize(loss, global_step=tf.train.get_or_create_global_step())
    return Network(inputs, labels, dropout, logits, loss, accuracy, step)
