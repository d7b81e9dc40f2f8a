"""JAX: one jitted function a step, with donated parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.works import Arrays, Convolution, Sizes, Step, parameters, resnet_blocks, resnet_stem

VERSION = jax.__version__

Tree = Any
Loss = Callable[[Tree, Any, Any], Any]


def _cross_entropy(logits: Any, labels: Any) -> Any:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)
    return -chosen.mean()


# ---------------------------------------------------------------- optimizers: (parameters, state, gradients) -> both


def _descent(rate: float) -> tuple[Callable[[Tree], Tree], Callable[..., tuple[Tree, Tree]]]:
    def update(p: Tree, state: Tree, g: Tree) -> tuple[Tree, Tree]:
        return jax.tree.map(lambda p, g: p - rate * g, p, g), state

    return lambda p: (), update


def _momentum(rate: float) -> tuple[Callable[[Tree], Tree], Callable[..., tuple[Tree, Tree]]]:
    def update(p: Tree, state: Tree, g: Tree) -> tuple[Tree, Tree]:
        state = jax.tree.map(lambda m, g: 0.9 * m + g, state, g)
        return jax.tree.map(lambda p, m: p - rate * m, p, state), state

    return lambda p: jax.tree.map(jnp.zeros_like, p), update


def _adam(rate: float) -> tuple[Callable[[Tree], Tree], Callable[..., tuple[Tree, Tree]]]:
    def start(p: Tree) -> Tree:
        return jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)

    def update(p: Tree, state: Tree, g: Tree) -> tuple[Tree, Tree]:
        count, m, v = state
        count += 1
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, g)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, g)
        now = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        p = jax.tree.map(lambda p, m, v: p - now * m / (jnp.sqrt(v) + 1e-8), p, m, v)
        return p, (count, m, v)

    return start, update


def _training_step(loss: Loss, p: Tree, sizes: Sizes, x: np.ndarray, labels: np.ndarray) -> Step:
    make = {"adam": _adam, "momentum": _momentum}.get(sizes.get("optimizer", "sgd"), _descent)
    start, update = make(sizes["rate"])

    def train(p: Tree, state: Tree, x: Any, labels: Any) -> tuple[Tree, Tree, Any]:
        value, gradients = jax.value_and_grad(loss)(p, x, labels)
        return *update(p, state, gradients), value

    compiled = jax.jit(train, donate_argnums=(0, 1))
    p = jax.tree.map(jnp.array, p)
    state = start(p)

    def step() -> float:
        nonlocal p, state
        p, state, value = compiled(p, state, x, labels)
        return float(value)

    return step


# ---------------------------------------------------------------- dense nets


def _cross_entropy_of(p: Any, classes: Any) -> Any:
    return -jnp.sum(classes * jnp.log(p))


def perceptron(sizes: Sizes, arrays: Arrays) -> Step:
    """W1."""

    def loss(p: Tree, x: Any, classes: Any) -> Any:
        return _cross_entropy_of(jax.nn.softmax(x @ p["w"] + p["b"]), classes)

    return _training_step(loss, parameters(arrays), sizes, arrays["x"], arrays["classes"])


def xor(sizes: Sizes, arrays: Arrays) -> Step:
    """W2."""

    def loss(p: Tree, x: Any, classes: Any) -> Any:
        hidden = jax.nn.sigmoid(x @ p["w0"] + p["b0"])
        return _cross_entropy_of(jax.nn.softmax(hidden @ p["w1"] + p["b1"]), classes)

    return _training_step(loss, parameters(arrays), sizes, arrays["x"], arrays["classes"])


def _mlp(p: Tree, x: Any, sizes: Sizes) -> Any:
    count = len(sizes["layers"]) - 1
    for i in range(count):
        x = x @ p[f"w_{i}"] + p[f"b_{i}"]
        if i < count - 1:
            x = jax.nn.relu(x)
    return x


def mlp(sizes: Sizes, arrays: Arrays) -> Step:
    """W3 and W4."""

    def loss(p: Tree, x: Any, labels: Any) -> Any:
        return _cross_entropy(_mlp(p, x, sizes), labels)

    return _training_step(loss, parameters(arrays), sizes, arrays["x"], arrays["labels"])


def _inference_step(net: Callable[[Tree, Any], Any], arrays: Arrays) -> Step:
    p = jax.tree.map(jnp.array, parameters(arrays))
    compiled = jax.jit(net)
    return lambda: np.asarray(compiled(p, arrays["x"]))


def mlp_inference(sizes: Sizes, arrays: Arrays) -> Step:
    """W10a."""
    return _inference_step(lambda p, x: _mlp(p, x, sizes), arrays)


# ---------------------------------------------------------------- images


def _conv(x: Any, filters: Any, stride: int) -> Any:
    side = filters.shape[0] // 2
    return lax.conv_general_dilated(
        x, filters, (stride, stride), [(side, side)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _lenet(p: Tree, x: Any, sizes: Sizes) -> Any:
    for i in range(len(sizes["filters"])):
        x = jax.nn.relu(_conv(x, p[f"k_{i}"], 1) + p[f"c_{i}"])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.reshape(len(x), -1)
    return jax.nn.relu(x @ p["w_hidden"] + p["b_hidden"]) @ p["w_out"] + p["b_out"]


def cnn(sizes: Sizes, arrays: Arrays) -> Step:
    """W5."""

    def loss(p: Tree, x: Any, labels: Any) -> Any:
        return _cross_entropy(_lenet(p, x, sizes), labels)

    return _training_step(loss, parameters(arrays), sizes, arrays["x"], arrays["labels"])


def cnn_inference(sizes: Sizes, arrays: Arrays) -> Step:
    """W10b."""
    return _inference_step(lambda p, x: _lenet(p, x, sizes), arrays)


def resnet(sizes: Sizes, arrays: Arrays) -> Step:
    """W6; the moving averages are a second result of the loss."""
    blocks, stem = resnet_blocks(sizes), resnet_stem(sizes)
    p, averages = parameters(arrays), {}
    for name, value in p.items():
        if name.startswith("scale_"):
            averages[name] = (jnp.zeros_like(value), jnp.ones_like(value))

    def loss(p: Tree, averages: Tree, x: Any, labels: Any) -> tuple[Any, Tree]:
        kept = {}

        def normalized(x: Any, c: Convolution) -> Any:
            x = _conv(x, p[f"k_{c.name}"], c.stride)
            mean = x.mean((0, 1, 2))
            variance = jnp.square(x).mean((0, 1, 2)) - jnp.square(mean)
            name = f"scale_{c.name}"
            old_mean, old_variance = averages[name]
            kept[name] = old_mean + 0.1 * (mean - old_mean), old_variance + 0.1 * (variance - old_variance)
            return (x - mean) * (lax.rsqrt(variance + 1e-5) * p[name]) + p[f"offset_{c.name}"]

        x = jax.nn.relu(normalized(x, stem))
        for block in blocks:
            y = normalized(jax.nn.relu(normalized(x, block.first)), block.second)
            x = jax.nn.relu(y + (normalized(x, block.shortcut) if block.shortcut else x))
        return _cross_entropy(x.mean((1, 2)) @ p["w_out"] + p["b_out"], labels), lax.stop_gradient(kept)

    start, update = _momentum(sizes["rate"])

    def train(p: Tree, state: Tree, averages: Tree, x: Any, labels: Any) -> Any:
        (value, averages), g = jax.value_and_grad(loss, has_aux=True)(p, averages, x, labels)
        return *update(p, state, g), averages, value

    compiled = jax.jit(train, donate_argnums=(0, 1, 2))
    p = jax.tree.map(jnp.array, p)
    state = start(p)

    def step() -> float:
        nonlocal p, state, averages
        p, state, averages, value = compiled(p, state, averages, arrays["x"], arrays["labels"])
        return float(value)

    return step


# ---------------------------------------------------------------- sequences


def lstm(sizes: Sizes, arrays: Arrays) -> Step:
    """W7: a scan, with the projection of the inputs before it."""
    depth, hidden = sizes["embedding"], sizes["hidden"]
    p = parameters(arrays)
    p["bias"] = np.zeros(4 * hidden, np.float32)

    def loss(p: Tree, x: Any, labels: Any) -> Any:
        projected = p["embedding"][x.T] @ p["kernel"][:depth] + p["bias"]

        def cell(state: Any, inputs: Any) -> Any:
            c, h = state
            i, j, f, o = jnp.split(inputs + h @ p["kernel"][depth:], 4, axis=1)
            c = c * jax.nn.sigmoid(f + 1.0) + jax.nn.sigmoid(i) * jnp.tanh(j)
            h = jnp.tanh(c) * jax.nn.sigmoid(o)
            return (c, h), h

        zeros = jnp.zeros((x.shape[0], hidden), jnp.float32)
        _, outputs = lax.scan(cell, (zeros, zeros), projected)
        return _cross_entropy(outputs @ p["w_out"] + p["b_out"], labels.T)

    return _training_step(loss, p, sizes, arrays["x"], arrays["labels"])


def gpt(sizes: Sizes, arrays: Arrays) -> Step:
    """W8."""
    heads, width, steps = sizes["heads"], sizes["width"], sizes["steps"]
    size = width // heads
    visible = np.tri(steps, dtype=bool)

    def dense(p: Tree, x: Any, name: str) -> Any:
        return x @ p[f"w_{name}"] + p[f"b_{name}"]

    def norm(p: Tree, x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return centred * lax.rsqrt(variance + 1e-5) * p[f"scale_{name}"] + p[f"offset_{name}"]

    def attention(p: Tree, x: Any, name: str) -> Any:
        qkv = dense(p, x, f"{name}_qkv").reshape(-1, steps, 3, heads, size)
        q, k, v = (qkv[:, :, i] for i in range(3))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(size)
        weights = jax.nn.softmax(jnp.where(visible, scores, -1e9))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return dense(p, mixed.reshape(x.shape), f"{name}_merge")

    def loss(p: Tree, x: Any, labels: Any) -> Any:
        h = p["tokens"][x] + p["positions"]
        for i in range(sizes["layers"]):
            h += attention(p, norm(p, h, f"{i}_attention"), str(i))
            h += dense(p, jax.nn.gelu(dense(p, norm(p, h, f"{i}_mlp"), f"{i}_up")), f"{i}_down")
        return _cross_entropy(norm(p, h, "end") @ p["tokens"].T, labels)

    return _training_step(loss, parameters(arrays), sizes, arrays["x"], arrays["labels"])


# ---------------------------------------------------------------- without layers


def elementwise(sizes: Sizes, arrays: Arrays) -> Step:
    """W9."""

    def total(x: Any, a: Any, b: Any) -> Any:
        return jnp.sum(jnp.tanh(a * x + b) * jax.nn.sigmoid(x) + jnp.exp(-x * x))

    compiled = jax.jit(jax.value_and_grad(total, (0, 1, 2)))
    x, a, b = (jnp.array(arrays[name]) for name in "xab")

    def step() -> list[Any]:
        value, gradients = compiled(x, a, b)
        return [float(value), *(np.asarray(g) for g in gradients)]

    return step


def rosenbrock(sizes: Sizes, arrays: Arrays) -> Step:
    """W11."""

    def function(x: Any) -> Any:
        return jnp.sum(100.0 * jnp.square(x[1:] - jnp.square(x[:-1])) + jnp.square(1.0 - x[:-1]))

    product = jax.jit(lambda x, v: jax.grad(lambda y: jnp.vdot(jax.grad(function)(y), v))(x))
    return lambda: np.asarray(product(arrays["x"], arrays["v"]))


def empty(sizes: Sizes, arrays: Arrays) -> Step:
    """Several scalars in, and several sums of the first one out."""
    compiled = jax.jit(lambda *xs: [xs[0] + float(i) for i in range(sizes["fetches"])])
    feeds = [arrays[f"x{i}"] for i in range(sizes["feeds"])]
    return lambda: [np.asarray(y) for y in compiled(*feeds)]


def _in_precision(build: Callable[[Sizes, Arrays], Step], double: bool) -> Callable[[Sizes, Arrays], Step]:
    """Switches float64, which JAX has only where it is enabled, on or off before a step is built."""

    def switched(sizes: Sizes, arrays: Arrays) -> Step:
        jax.config.update("jax_enable_x64", double)
        return build(sizes, arrays)

    return switched


_DOUBLE = {"perceptron": perceptron, "xor": xor}
_SINGLE = {
    "mlp": mlp,
    "mlp_inference": mlp_inference,
    "cnn": cnn,
    "cnn_inference": cnn_inference,
    "resnet": resnet,
    "lstm": lstm,
    "gpt": gpt,
    "elementwise": elementwise,
    "rosenbrock": rosenbrock,
    "empty": empty,
}
BUILDERS = {kind: _in_precision(build, True) for kind, build in _DOUBLE.items()} | {
    kind: _in_precision(build, False) for kind, build in _SINGLE.items()
}
