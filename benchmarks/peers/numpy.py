"""Dense nets written by hand in NumPy: what a framework should cost nothing beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.works import Arrays, Sizes, Step

VERSION = np.__version__


def _softmax(logits: Any) -> Any:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def perceptron(sizes: Sizes, arrays: Arrays) -> Step:
    """W1."""
    x, classes, rate = arrays["x"], arrays["classes"], sizes["rate"]
    w, b = arrays["w"].copy(), arrays["b"].copy()

    def step() -> float:
        nonlocal w, b
        p = _softmax(x @ w + b)
        loss = -np.sum(classes * np.log(p))
        d = p - classes
        w -= rate * (x.T @ d)
        b -= rate * d.sum(0)
        return float(loss)

    return step


def xor(sizes: Sizes, arrays: Arrays) -> Step:
    """W2."""
    x, classes, rate = arrays["x"], arrays["classes"], sizes["rate"]
    w0, b0, w1, b1 = (arrays[name].copy() for name in ("w0", "b0", "w1", "b1"))

    def step() -> float:
        nonlocal w0, b0, w1, b1
        hidden = 1 / (1 + np.exp(-(x @ w0 + b0)))
        p = _softmax(hidden @ w1 + b1)
        loss = -np.sum(classes * np.log(p))
        d = p - classes
        d_hidden = (d @ w1.T) * hidden * (1 - hidden)
        w1 -= rate * (hidden.T @ d)
        b1 -= rate * d.sum(0)
        w0 -= rate * (x.T @ d_hidden)
        b0 -= rate * d_hidden.sum(0)
        return float(loss)

    return step


def _layers(sizes: Sizes, arrays: Arrays) -> list[list[Any]]:
    count = len(sizes["layers"]) - 1
    return [[arrays[f"w_{i}"].copy(), arrays[f"b_{i}"].copy()] for i in range(count)]


def _activations(layers: list[list[Any]], x: Any) -> list[Any]:
    """The input of each layer, and the logits."""
    found = [x]
    for i, (w, b) in enumerate(layers):
        h = found[-1] @ w
        h += b
        if i < len(layers) - 1:
            np.maximum(h, 0, out=h)
        found.append(h)
    return found


def _train(layers: list[list[Any]], x: Any, labels: Any, update: Callable[[int, int, Any], None]) -> float:
    """Loss and backpropagation; `update(layer, which, gradient)` changes a parameter."""
    rows = np.arange(len(x))
    *inputs, logits = _activations(layers, x)
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


class _Descent:
    """Gradient descent in place."""

    def __init__(self, layers: list[list[Any]], rate: float) -> None:
        self._layers, self._rate = layers, np.float32(rate)

    def begin(self) -> None:
        """Nothing changes from step to step."""

    def update(self, layer: int, which: int, gradient: Any) -> None:
        """Changes one parameter."""
        gradient *= self._rate
        self._layers[layer][which] -= gradient


class _Adam:
    """Adam in place. Source: Kingma and Ba (2015), the form at the end of section 2."""

    def __init__(self, layers: list[list[Any]], rate: float) -> None:
        self._layers, self._rate, self._count = layers, rate, 0
        self._now = np.float32(rate)
        self._moments = [[tuple(np.zeros_like(p) for _ in range(3)) for p in pair] for pair in layers]

    def begin(self) -> None:
        """The rate of this step."""
        self._count += 1
        corrected = self._rate * np.sqrt(1 - 0.999**self._count) / (1 - 0.9**self._count)
        self._now = np.float32(corrected)

    def update(self, layer: int, which: int, gradient: Any) -> None:
        """Changes one parameter and its moments."""
        m, v, scratch = self._moments[layer][which]
        m += np.subtract(gradient, m, out=scratch) * np.float32(0.1)
        np.multiply(gradient, gradient, out=gradient)
        v += np.subtract(gradient, v, out=scratch) * np.float32(0.001)
        np.sqrt(v, out=scratch)
        scratch += np.float32(1e-8)
        np.divide(m, scratch, out=scratch)
        scratch *= self._now
        self._layers[layer][which] -= scratch


def mlp(sizes: Sizes, arrays: Arrays) -> Step:
    """W3 and W4."""
    layers = _layers(sizes, arrays)
    optimizer = (_Adam if sizes["optimizer"] == "adam" else _Descent)(layers, sizes["rate"])

    def step() -> float:
        optimizer.begin()
        return _train(layers, arrays["x"], arrays["labels"], optimizer.update)

    return step


def mlp_inference(sizes: Sizes, arrays: Arrays) -> Step:
    """W10a."""
    layers = _layers(sizes, arrays)
    return lambda: _activations(layers, arrays["x"])[-1]


def product(sizes: Sizes, arrays: Arrays) -> Step:
    """A matrix product into an array that is there."""
    a = arrays["a"].T if sizes["transpose_a"] else arrays["a"]
    b = arrays["b"].T if sizes["transpose_b"] else arrays["b"]
    c = np.zeros((sizes["m"], sizes["n"]), a.dtype)
    return lambda: np.matmul(a, b, out=c)


BUILDERS = {
    "perceptron": perceptron,
    "xor": xor,
    "mlp": mlp,
    "mlp_inference": mlp_inference,
    "product": product,
}
