"""The tutorial's two clouds of points, and what its program gives on them."""

from __future__ import annotations

import numpy as np

_rng = np.random.default_rng(28)  # a start about as bad as the one printed in the tutorial
red_points = _rng.normal(size=(50, 2)) - 2
blue_points = _rng.normal(size=(50, 2)) + 2
first_weights = _rng.normal(size=(2, 2))
first_bias = _rng.normal(size=2)


def losses_by_hand(steps: int, learning_rate: float) -> list[float]:
    """The losses of the perceptron under gradient descent, from the formulas: an oracle without a graph."""
    points = np.concatenate((blue_points, red_points))
    classes = np.array([[1, 0]] * len(blue_points) + [[0, 1]] * len(red_points))
    # As in TensorFlow a Python number becomes a float32 first, whatever the variables are.
    learning_rate = float(np.float32(learning_rate))
    weights, bias, losses = first_weights, first_bias, []
    for _ in range(steps):
        scores = points @ weights + bias
        chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        losses.append(-np.sum(classes * np.log(chances)))
        # The gradient of cross-entropy after softmax, with respect to the scores.
        residual = chances - classes
        weights = weights - learning_rate * points.T @ residual
        bias = bias - learning_rate * residual.sum(axis=0)
    return losses
