"""The pieces of work that are measured: what they are, and the data and first weights that they start from.

Every framework gets the same arrays, so its losses must be the same. This module needs NumPy only: the worker
processes of other frameworks import it too.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Sizes = dict[str, Any]
Arrays = dict[str, np.ndarray]
Step = Callable[[], Any]
"""One step of a workload: returns the loss before its update, or what an inference run computes."""


@dataclass(frozen=True)
class Work:
    """One piece of work.

    Attributes:
        name: what `--only` names.
        title: a line for the tables.
        kind: which program it is; each framework has a builder for each kind it knows.
        sizes: the arguments of the program.
        goal: how many times faster than the best peer tahr means to be.
    """

    name: str
    title: str
    kind: str
    sizes: Sizes = field(default_factory=dict)
    goal: float | None = None

    @property
    def keeps_moments(self) -> bool:
        """Whether it trains by an optimizer with moments, which decay towards denormals over many steps."""
        is_training = not self.kind.endswith("_inference")
        return is_training and self.sizes.get("optimizer") in ("adam", "momentum")


def _mlp(layers: list[int], batch: int, optimizer: str = "adam", rate: float = 1e-3) -> Sizes:
    return {"layers": layers, "batch": batch, "optimizer": optimizer, "rate": rate}


def _cnn(image: int, channels: int, filters: list[int], kernel: int, hidden: int, batch: int) -> Sizes:
    return {
        "image": image,
        "channels": channels,
        "filters": filters,
        "kernel": kernel,
        "hidden": hidden,
        "batch": batch,
        "optimizer": "adam",
        "rate": 1e-4,
    }


def _resnet(image: int, channels: list[int], blocks: int, batch: int) -> Sizes:
    return {
        "image": image,
        "channels": channels,
        "blocks": blocks,
        "batch": batch,
        "optimizer": "momentum",
        "rate": 0.01,
    }


def _lstm(vocabulary: int, embedding: int, hidden: int, steps: int, batch: int) -> Sizes:
    return {
        "vocabulary": vocabulary,
        "embedding": embedding,
        "hidden": hidden,
        "steps": steps,
        "batch": batch,
        "optimizer": "adam",
        "rate": 1e-3,
    }


def _gpt(layers: int, width: int, heads: int, steps: int, batch: int, vocabulary: int = 65) -> Sizes:
    return {
        "vocabulary": vocabulary,
        "layers": layers,
        "width": width,
        "heads": heads,
        "steps": steps,
        "batch": batch,
        "optimizer": "adam",
        "rate": 1e-3,
    }


LENET = _cnn(28, 1, [32, 64], 5, 1024, 64)

WORKLOADS = (
    Work("W1", "perceptron 100x2, float64", "perceptron", {"points": 100, "rate": 0.01}, goal=2.5),
    Work("W2", "XOR net 2-2-2, float64", "xor", {"rate": 0.1}, goal=2.5),
    Work("W3", "MLP 784-512-512-10, batch 128, Adam", "mlp", _mlp([784, 512, 512, 10], 128), goal=1.4),
    Work("W4", "MLP 784-128-10, batch 32, SGD", "mlp", _mlp([784, 128, 10], 32, "sgd", 0.1), goal=1.8),
    Work("W5", "CNN 28x28, 32 and 64 filters, batch 64, Adam", "cnn", LENET, goal=1.2),
    Work("W6", "ResNet 32x32x3, 16/32/64, batch 32", "resnet", _resnet(32, [16, 32, 64], 1, 32), goal=1.3),
    Work("W7", "LSTM 256, 64 steps, batch 32, Adam", "lstm", _lstm(65, 128, 256, 64, 32), goal=1.2),
    Work("W8", "GPT 4 layers, d 128, seq 128, batch 8", "gpt", _gpt(4, 128, 4, 128, 8), goal=1.5),
    Work("W9", "element-wise, 4M, and gradients", "elementwise", {"size": 4_000_000}, goal=4.0),
    Work("W10a", "W3's net, batch 1, inference", "mlp_inference", _mlp([784, 512, 512, 10], 1), goal=1.3),
    Work("W10b", "W5's net, batch 1, inference", "cnn_inference", {**LENET, "batch": 1}, goal=1.3),
    Work("W11", "Hessian times vector, Rosenbrock 1000", "rosenbrock", {"size": 1000}, goal=2.5),
)

# Sizes that nobody tunes for: primes, odd batches, other depths.
OTHERS = (
    Work("O1", "MLP 101-37-11, batch 17, SGD", "mlp", _mlp([101, 37, 11], 17, "sgd", 0.1)),
    Work(
        "O2", "MLP 256-1024-1024-1024-10, batch 256", "mlp", _mlp([256, 1024, 1024, 1024, 10], 256, rate=1e-4)
    ),
    Work("O3", "MLP 784-10 layers of 64-10, batch 64", "mlp", _mlp([784, *[64] * 10, 10], 64)),
    Work("O4", "CNN 20x20x3, 3x3, 8 and 24 filters, batch 10", "cnn", _cnn(20, 3, [8, 24], 3, 100, 10)),
    Work("O5", "CNN 40x40x4, 7x7, 16 filters, batch 16", "cnn", _cnn(40, 4, [16], 7, 50, 16)),
    Work("O6", "ResNet 24x24x3, 12/20/44, 2 blocks, batch 8", "resnet", _resnet(24, [12, 20, 44], 2, 8)),
    Work("O7", "LSTM 100, 20 steps, batch 10", "lstm", _lstm(50, 30, 100, 20, 10)),
    Work("O8", "GPT 2 layers, d 96, 3 heads, seq 50, batch 3", "gpt", _gpt(2, 96, 3, 50, 3, 101)),
    Work("O9", "element-wise, 100,000, and gradients", "elementwise", {"size": 100_000}),
    Work("O10", "O4's net, batch 32, inference", "cnn_inference", _cnn(20, 3, [8, 24], 3, 100, 32)),
    Work("O11", "Hessian times vector, Rosenbrock 100,000", "rosenbrock", {"size": 100_000}),
)

# Tiny ones of every kind: for tests, where only what happens matters.
TINY = (
    Work("perceptron", "", "perceptron", {"points": 6, "rate": 0.01}),
    Work("xor", "", "xor", {"rate": 0.1}),
    Work("mlp, Adam", "", "mlp", _mlp([5, 4, 3], 2)),
    Work("mlp, SGD", "", "mlp", _mlp([5, 4, 3], 2, "sgd")),
    Work("cnn", "", "cnn", _cnn(8, 2, [3, 4], 3, 5, 2)),
    Work("resnet", "", "resnet", _resnet(8, [3, 4], 1, 2)),
    Work("lstm", "", "lstm", _lstm(7, 4, 3, 5, 2)),
    Work("gpt", "", "gpt", _gpt(2, 8, 2, 5, 2, 7)),
    Work("elementwise", "", "elementwise", {"size": 10}),
    Work("mlp_inference", "", "mlp_inference", _mlp([5, 8, 3], 2)),
    Work("cnn_inference", "", "cnn_inference", _cnn(8, 2, [3, 4], 3, 5, 1)),
    Work("rosenbrock", "", "rosenbrock", {"size": 10}),
    Work("empty", "", "empty", {"feeds": 2, "fetches": 3}),
)


# ---------------------------------------------------------------- structure that every framework follows


@dataclass(frozen=True)
class Convolution:
    """A convolution of the residual net: kernel size x size, `inputs` to `outputs` channels."""

    name: str
    size: int
    inputs: int
    outputs: int
    stride: int


@dataclass(frozen=True)
class Block:
    """relu(second(relu(first(x))) + shortcut(x)); without a shortcut x itself."""

    first: Convolution
    second: Convolution
    shortcut: Convolution | None


def resnet_blocks(sizes: Sizes) -> list[Block]:
    """The residual blocks: from one width to the next the image is halved.

    Source: He et al., "Deep Residual Learning for Image Recognition" (2015), section 4.2, with projections.
    """
    blocks: list[Block] = []
    before = sizes["channels"][0]
    for stage, width in enumerate(sizes["channels"]):
        for i in range(sizes["blocks"]):
            stride = 2 if stage and not i else 1
            name = f"stage{stage}_block{i}"
            shortcut = Convolution(f"{name}_shortcut", 1, before, width, stride)
            blocks.append(
                Block(
                    Convolution(f"{name}_first", 3, before, width, stride),
                    Convolution(f"{name}_second", 3, width, width, 1),
                    shortcut if stride > 1 or before != width else None,
                )
            )
            before = width
    return blocks


def resnet_stem(sizes: Sizes) -> Convolution:
    """The first convolution, from the colours."""
    return Convolution("stem", 3, 3, sizes["channels"][0], 1)


def resnet_convolutions(sizes: Sizes) -> list[Convolution]:
    """All convolutions, in order."""
    found = [resnet_stem(sizes)]
    for block in resnet_blocks(sizes):
        found += [c for c in (block.first, block.second, block.shortcut) if c]
    return found


# ---------------------------------------------------------------- data


def _normal(rng: np.random.Generator, *shape: int, scale: float) -> np.ndarray:
    return (rng.normal(size=shape) * scale).astype(np.float32)


def _dense(rng: np.random.Generator, name: str, inputs: int, outputs: int) -> Arrays:
    weights = _normal(rng, inputs, outputs, scale=inputs**-0.5)
    return {f"w_{name}": weights, f"b_{name}": np.zeros(outputs, np.float32)}


def _labels(rng: np.random.Generator, classes: int, *shape: int) -> np.ndarray:
    return rng.integers(0, classes, shape).astype(np.int32)


def _perceptron_data(rng: np.random.Generator, *, points: int, **_: Any) -> Arrays:
    half = points // 2
    clouds = [rng.normal(-1.0, 1.0, (half, 2)), rng.normal(1.0, 1.0, (points - half, 2))]
    classes = np.repeat(np.eye(2), [half, points - half], axis=0)
    return {
        "x": np.concatenate(clouds),
        "classes": classes,
        "w": rng.normal(size=(2, 2)),
        "b": rng.normal(size=2),
    }


def _xor_data(rng: np.random.Generator, **_: Any) -> Arrays:
    return {
        "x": np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
        "classes": np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]),
        "w0": rng.normal(size=(2, 2)),
        "b0": np.zeros(2),
        "w1": rng.normal(size=(2, 2)),
        "b1": np.zeros(2),
    }


def _mlp_data(rng: np.random.Generator, *, layers: list[int], batch: int, **_: Any) -> Arrays:
    found = {"x": _normal(rng, batch, layers[0], scale=1.0), "labels": _labels(rng, layers[-1], batch)}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        found |= _dense(rng, str(i), inputs, outputs)
    return found


def _cnn_data(
    rng: np.random.Generator,
    *,
    image: int,
    channels: int,
    filters: list[int],
    kernel: int,
    hidden: int,
    batch: int,
    **_: Any,
) -> Arrays:
    found = {"x": _normal(rng, batch, image, image, channels, scale=1.0), "labels": _labels(rng, 10, batch)}
    for i, (inputs, outputs) in enumerate(itertools.pairwise([channels, *filters])):
        scale = (kernel * kernel * inputs) ** -0.5
        found[f"k_{i}"] = _normal(rng, kernel, kernel, inputs, outputs, scale=scale)
        found[f"c_{i}"] = np.zeros(outputs, np.float32)
    side = image >> len(filters)
    return found | _dense(rng, "hidden", side * side * filters[-1], hidden) | _dense(rng, "out", hidden, 10)


def _resnet_data(rng: np.random.Generator, **sizes: Any) -> Arrays:
    image, batch = sizes["image"], sizes["batch"]
    found = {"x": _normal(rng, batch, image, image, 3, scale=1.0), "labels": _labels(rng, 10, batch)}
    for c in resnet_convolutions(sizes):
        scale = (2 / (c.size * c.size * c.inputs)) ** 0.5
        found[f"k_{c.name}"] = _normal(rng, c.size, c.size, c.inputs, c.outputs, scale=scale)
        found[f"scale_{c.name}"] = np.ones(c.outputs, np.float32)
        found[f"offset_{c.name}"] = np.zeros(c.outputs, np.float32)
    return found | _dense(rng, "out", sizes["channels"][-1], 10)


def _text(rng: np.random.Generator, vocabulary: int, batch: int, steps: int) -> Arrays:
    text = _labels(rng, vocabulary, batch, steps + 1)
    return {"x": text[:, :-1].copy(), "labels": text[:, 1:].copy()}


def _lstm_data(
    rng: np.random.Generator,
    *,
    vocabulary: int,
    embedding: int,
    hidden: int,
    steps: int,
    batch: int,
    **_: Any,
) -> Arrays:
    found = _text(rng, vocabulary, batch, steps)
    found["embedding"] = _normal(rng, vocabulary, embedding, scale=0.1)
    found["kernel"] = _normal(rng, embedding + hidden, 4 * hidden, scale=(embedding + hidden) ** -0.5)
    return found | _dense(rng, "out", hidden, vocabulary)


def _gpt_data(
    rng: np.random.Generator, *, vocabulary: int, layers: int, width: int, steps: int, batch: int, **_: Any
) -> Arrays:
    found = _text(rng, vocabulary, batch, steps)
    found["tokens"] = _normal(rng, vocabulary, width, scale=0.02)
    found["positions"] = _normal(rng, steps, width, scale=0.02)
    norms = ["end"]
    for i in range(layers):
        found |= _dense(rng, f"{i}_qkv", width, 3 * width) | _dense(rng, f"{i}_merge", width, width)
        found |= _dense(rng, f"{i}_up", width, 4 * width) | _dense(rng, f"{i}_down", 4 * width, width)
        norms += [f"{i}_attention", f"{i}_mlp"]
    for norm in norms:
        found[f"scale_{norm}"] = np.ones(width, np.float32)
        found[f"offset_{norm}"] = np.zeros(width, np.float32)
    return found


def _elementwise_data(rng: np.random.Generator, *, size: int) -> Arrays:
    x = rng.normal(size=size).astype(np.float32)
    return {"x": x, "a": np.asarray(1.5, np.float32), "b": np.asarray(0.25, np.float32)}


def _rosenbrock_data(rng: np.random.Generator, *, size: int) -> Arrays:
    return {"x": _normal(rng, size, scale=1.0), "v": _normal(rng, size, scale=1.0)}


def _product_data(
    rng: np.random.Generator, *, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool, dtype: str
) -> Arrays:
    a, b = (k, m) if transpose_a else (m, k), (n, k) if transpose_b else (k, n)
    return {"a": rng.normal(size=a).astype(dtype), "b": rng.normal(size=b).astype(dtype)}


def _empty_data(rng: np.random.Generator, *, feeds: int, **_: Any) -> Arrays:
    return {f"x{i}": np.asarray(i, np.float32) for i in range(feeds)}


_DATA: dict[str, Callable[..., Arrays]] = {
    "perceptron": _perceptron_data,
    "xor": _xor_data,
    "mlp": _mlp_data,
    "mlp_inference": _mlp_data,
    "cnn": _cnn_data,
    "cnn_inference": _cnn_data,
    "resnet": _resnet_data,
    "lstm": _lstm_data,
    "gpt": _gpt_data,
    "elementwise": _elementwise_data,
    "rosenbrock": _rosenbrock_data,
    "product": _product_data,
    "empty": _empty_data,
}


def make_arrays(work: Work, seed: int = 0) -> Arrays:
    """The data and the first weights of a workload; the same for the same seed."""
    return _DATA[work.kind](np.random.default_rng(seed), **work.sizes)


def parameters(arrays: Arrays) -> Arrays:
    """Those of the arrays that training changes: all but the batch."""
    return {name: value for name, value in arrays.items() if name not in ("x", "labels", "classes")}


# ---------------------------------------------------------------- on their way to another process


def save(work: Work, path: Path) -> None:
    """Writes a workload and its arrays into one .npz file."""
    stored: dict[str, Any] = {"__work__": np.array(json.dumps(asdict(work))), **make_arrays(work)}
    np.savez(path, **stored)


def load(path: Path) -> tuple[Work, Arrays]:
    """Reads what `save` wrote."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "__work__"}
        return Work(**json.loads(str(stored["__work__"]))), arrays
