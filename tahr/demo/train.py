"""The demo's training loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tahr as tf
from tahr.demo import models
from tahr.demo.data import Array, Dataset
from tahr.demo.models import Network

DROPOUT = 0.25
BATCH = 64
EPOCHS = {"mnist": 12, "digits": 30, "points": 100}


@dataclass
class History:
    """What was measured on the way.

    Attributes:
        losses: the loss of each step's batch, before the step.
        accuracies: the accuracy on each step's batch, likewise.
        held_out: (step, accuracy on the held-out part), once an epoch and at the end.
        interrupted: whether the user stopped it.
    """

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    interrupted: bool = False


class Training:
    """A network, its data, and the session that holds what it has learned.

    Args:
        data: what to learn.
        seed: of the initial weights, of dropout and of the order of the examples.
        steps: how many steps; None leaves it to `epochs`.
        epochs: how often each example is seen; None takes what is enough for the data.
    """

    def __init__(self, data: Dataset, seed: int, steps: int | None = None, epochs: int | None = None) -> None:
        self.data = data
        self.is_images = data.inputs.ndim == 4
        # The points are few: as in the tutorial, each step sees all of them.
        self.batch = BATCH if self.is_images else len(data.inputs)
        self.epoch = len(data.inputs) // self.batch
        self.steps = (epochs or EPOCHS[data.name]) * self.epoch if steps is None else steps
        self.history = History()
        self._rng = np.random.default_rng(seed)
        graph = tf.Graph()
        with graph.as_default():
            tf.set_random_seed(seed)
            self.network = self._build()
            initialize = tf.global_variables_initializer()
        self.session = tf.Session(graph=graph)
        self.session.run(initialize)

    def _build(self) -> Network:
        if self.is_images:
            return models.convolutional(self.data.inputs.shape[1], self.data.classes, self.steps)
        return models.perceptron(self.data.classes)

    def run(self, show_progress: bool = True) -> History:
        """Trains to the end, or until Ctrl-C.

        Args:
            show_progress: whether to draw a progress bar on stderr.
        """
        from tqdm import tqdm

        bar = tqdm(total=self.steps, unit="step", disable=not show_progress, dynamic_ncols=True)
        try:
            for inputs, labels in self._batches():
                self._step(inputs, labels)
                bar.set_postfix(self._progress(), refresh=False)
                bar.update()
        except KeyboardInterrupt:
            self.history.interrupted = True
        finally:
            bar.close()
        return self.history

    def logits(self, inputs: Array) -> Array:
        """The network's scores for many examples, [examples, classes]."""
        # In parts: a convolution over all images at once would need their patches in memory at once.
        parts = [inputs[i : i + 250] for i in range(0, len(inputs), 250)]
        network = self.network
        return np.concatenate([self.session.run(network.logits, {network.inputs: part}) for part in parts])

    def predictions(self) -> Array:
        """The predicted class of each held-out example."""
        return self.logits(self.data.held_out_inputs).argmax(axis=1)

    def _batches(self) -> Iterator[tuple[Array, Array]]:
        """As many batches as there are steps, from a new order of the examples in each epoch."""
        order = np.arange(0)
        for number in range(self.steps):
            place = number % self.epoch
            if place == 0:
                order = self._rng.permutation(len(self.data.inputs))
            chosen = order[place * self.batch : (place + 1) * self.batch]
            yield self._shifted(self.data.inputs[chosen]), self.data.labels[chosen]

    def _shifted(self, inputs: Array) -> Array:
        """Images moved by up to a fourteenth of their side: a digit is the same digit a little to the left.

        What leaves on one side enters on the other, but MNIST's margins are empty; the images of 8 by 8 pixels
        have no margin and stay where they are.
        """
        reach = inputs.shape[1] // 14 if self.is_images else 0
        if not reach:
            return inputs
        count, side = inputs.shape[:2]
        down, right = self._rng.integers(-reach, reach + 1, (2, count, 1))
        rows, columns = (np.arange(side) + down) % side, (np.arange(side) + right) % side
        return inputs[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _step(self, inputs: Array, labels: Array) -> None:
        network, history = self.network, self.history
        feed: dict[Any, Any] = {network.inputs: inputs, network.labels: labels, network.dropout: DROPOUT}
        _, loss, accuracy = self.session.run([network.step, network.loss, network.accuracy], feed)
        history.losses.append(float(loss))
        history.accuracies.append(float(accuracy))
        done = len(history.losses)
        if (done % self.epoch == 0 and self.is_images) or done == self.steps:
            right = self.predictions() == self.data.held_out_labels
            history.held_out.append((done, float(right.mean())))

    def _progress(self) -> dict[str, str]:
        """What the progress bar shows: averages of the last steps, for single batches jump about."""
        history = self.history
        shown = {
            "loss": f"{np.mean(history.losses[-20:]):.3f}",
            "accuracy": f"{np.mean(history.accuracies[-20:]):.1%}",
        }
        if history.held_out:
            shown["held out"] = f"{history.held_out[-1][1]:.1%}"
        return shown
