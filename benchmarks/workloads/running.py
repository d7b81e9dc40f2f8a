"""What the programs share: optimizers, losses, and a session around a graph."""

from __future__ import annotations

from typing import Any

from benchmarks.works import Sizes, Step


def inference_step(tf: Any, fetches: Any, feeds: dict[Any, Any]) -> Step:
    """A step that runs the fetches in a session of the default graph."""
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return lambda: session.run(fetches, feeds)


def training_step(tf: Any, train: Any, loss: Any, feeds: dict[Any, Any]) -> Step:
    """A step that trains once and returns the loss before."""
    step = inference_step(tf, [train, loss], feeds)
    return lambda: step()[1]


def optimizer(tf: Any, sizes: Sizes) -> Any:
    """The optimizer that the sizes name."""
    rate = sizes["rate"]
    if sizes["optimizer"] == "adam":
        return tf.train.AdamOptimizer(rate)
    if sizes["optimizer"] == "momentum":
        return tf.train.MomentumOptimizer(rate, momentum=0.9)
    return tf.train.GradientDescentOptimizer(rate)


def cross_entropy(tf: Any, labels: Any, logits: Any) -> Any:
    """The mean over all labels."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
