"""PyTensor: one compiled function a step, with the parameters as shared variables updated by it.

The programs that it runs well: dense nets and element-wise functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from benchmarks.works import Arrays, Sizes, Step

VERSION = f"{pytensor.__version__}, {pytensor.config.mode}, {pytensor.config.linker}"


def _function(inputs: list[Any], outputs: Any, updates: Any = ()) -> Callable[..., Any]:
    """A compiled function that does not check its inputs, as the data has the right dtypes."""
    compiled = pytensor.function(inputs, outputs, updates=list(updates))
    compiled.trust_input = True
    return compiled


def _shared(arrays: Arrays, names: list[str]) -> list[Any]:
    return [pytensor.shared(arrays[name].copy(), name) for name in names]


def _step(train: Callable[..., Any], *feeds: np.ndarray) -> Step:
    return lambda: float(train(*feeds))


def _descent(loss: Any, trained: list[Any], rate: float) -> list[tuple[Any, Any]]:
    return [
        (p, p - np.asarray(rate, p.dtype) * g) for p, g in zip(trained, pt.grad(loss, trained), strict=True)
    ]


def _adam(loss: Any, trained: list[Any], rate: float) -> list[tuple[Any, Any]]:
    """Source: Kingma and Ba (2015), the form at the end of section 2."""
    one = np.float32(1)
    count = pytensor.shared(np.float32(0), "count")
    next_count = count + one
    now = (
        np.float32(rate)
        * pt.sqrt(one - np.float32(0.999) ** next_count)
        / (one - np.float32(0.9) ** next_count)
    )
    updates = [(count, next_count)]
    for p, g in zip(trained, pt.grad(loss, trained), strict=True):
        m, v = (pytensor.shared(np.zeros_like(p.get_value())) for _ in range(2))
        next_m = m + np.float32(0.1) * (g - m)
        next_v = v + np.float32(0.001) * (g * g - v)
        step = now * next_m / (pt.sqrt(next_v) + np.float32(1e-8))
        updates += [(m, next_m), (v, next_v), (p, p - step)]
    return updates


def perceptron(sizes: Sizes, arrays: Arrays) -> Step:
    """W1."""
    x, classes = pt.dmatrix("x"), pt.dmatrix("classes")
    trained = _shared(arrays, ["w", "b"])
    w, b = trained
    loss = -pt.sum(classes * pt.log(pt.special.softmax(x @ w + b, axis=1)))
    train = _function([x, classes], loss, _descent(loss, trained, sizes["rate"]))
    return _step(train, arrays["x"], arrays["classes"])


def xor(sizes: Sizes, arrays: Arrays) -> Step:
    """W2."""
    x, classes = pt.dmatrix("x"), pt.dmatrix("classes")
    trained = _shared(arrays, ["w0", "b0", "w1", "b1"])
    w0, b0, w1, b1 = trained
    hidden = pt.sigmoid(x @ w0 + b0)
    loss = -pt.sum(classes * pt.log(pt.special.softmax(hidden @ w1 + b1, axis=1)))
    train = _function([x, classes], loss, _descent(loss, trained, sizes["rate"]))
    return _step(train, arrays["x"], arrays["classes"])


def _mlp(sizes: Sizes, arrays: Arrays, x: Any) -> tuple[Any, list[Any]]:
    """The logits and the parameters."""
    count = len(sizes["layers"]) - 1
    trained: list[Any] = []
    for i in range(count):
        w, b = _shared(arrays, [f"w_{i}", f"b_{i}"])
        trained += [w, b]
        x = x @ w + b
        if i < count - 1:
            x = pt.maximum(x, np.float32(0))
    return x, trained


def mlp(sizes: Sizes, arrays: Arrays) -> Step:
    """W3 and W4."""
    x, labels = pt.fmatrix("x"), pt.ivector("labels")
    logits, trained = _mlp(sizes, arrays, x)
    chosen = pt.special.log_softmax(logits, axis=1)[pt.arange(labels.shape[0]), labels]
    loss = -pt.mean(chosen, dtype="float32")
    updates = (_adam if sizes["optimizer"] == "adam" else _descent)(loss, trained, sizes["rate"])
    return _step(_function([x, labels], loss, updates), arrays["x"], arrays["labels"])


def mlp_inference(sizes: Sizes, arrays: Arrays) -> Step:
    """W10a."""
    x = pt.fmatrix("x")
    net = _function([x], _mlp(sizes, arrays, x)[0])
    return lambda: net(arrays["x"])


def elementwise(sizes: Sizes, arrays: Arrays) -> Step:
    """W9."""
    x, a, b = _shared(arrays, ["x", "a", "b"])
    total = pt.sum(pt.tanh(a * x + b) * pt.sigmoid(x) + pt.exp(-x * x))
    return _function([], [total, *pt.grad(total, [x, a, b])])


def rosenbrock(sizes: Sizes, arrays: Arrays) -> Step:
    """W11."""
    x, v = pt.fvector("x"), pt.fvector("v")
    y = pt.sum(np.float32(100) * (x[1:] - x[:-1] ** 2) ** 2 + (np.float32(1) - x[:-1]) ** 2)
    product = _function([x, v], pt.grad(pt.sum(pt.grad(y, x) * v), x))
    return lambda: product(arrays["x"], arrays["v"])


def empty(sizes: Sizes, arrays: Arrays) -> Step:
    """Several scalars in, and several sums of the first one out."""
    feeds = [pt.fscalar(f"x{i}") for i in range(sizes["feeds"])]
    outputs = [feeds[0] + np.float32(i) for i in range(sizes["fetches"])]
    compiled = pytensor.function(feeds, outputs, on_unused_input="ignore")
    compiled.trust_input = True
    values = [arrays[f"x{i}"] for i in range(sizes["feeds"])]
    return lambda: compiled(*values)


BUILDERS = {
    "perceptron": perceptron,
    "xor": xor,
    "mlp": mlp,
    "mlp_inference": mlp_inference,
    "elementwise": elementwise,
    "rosenbrock": rosenbrock,
    "empty": empty,
}
