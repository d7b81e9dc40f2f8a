"""PyTorch: eager, or with `compiled` the losses through torch.compile.

Tuned as its users would: fused optimizers, channels-last images, its own LSTM and attention, inference mode.
Denormals are left as PyTorch leaves them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.works import Arrays, Convolution, Sizes, Step, parameters, resnet_blocks, resnet_stem

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))

VERSION = torch.__version__
COMPILED = os.environ.get("BENCH_TORCH_COMPILE") == "1"

Parameters = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _compiled(function: Any) -> Any:
    return torch.compile(function) if COMPILED else function


def _parameters(arrays: Arrays) -> Parameters:
    return {name: torch.tensor(value, requires_grad=True) for name, value in parameters(arrays).items()}


def _images(x: np.ndarray) -> torch.Tensor:
    """[batch, height, width, channels] as PyTorch's [batch, channels, height, width], in the same memory."""
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def _filters(p: Parameters) -> None:
    """Convolution filters [height, width, in, out] become [out, in, height, width], channels last."""
    for name, value in p.items():
        if name.startswith("k_"):
            filters = value.detach().permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
            p[name] = filters.requires_grad_()


def _weights(p: Parameters) -> None:
    """Dense weights [in, out] become nn.Linear's [out, in]."""
    for name, value in p.items():
        if name.startswith("w_"):
            p[name] = value.detach().T.contiguous().requires_grad_()


class _Descent:
    """Gradient descent by hand: half the time of torch.optim.SGD in the smallest nets."""

    def __init__(self, trained: list[torch.Tensor], rate: float) -> None:
        self._trained, self._rate = trained, rate

    def zero_grad(self, set_to_none: bool) -> None:
        """Drops the gradients."""
        for p in self._trained:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Changes the parameters."""
        for p in self._trained:
            p.sub_(p.grad, alpha=self._rate)


def _optimizer(p: Parameters, sizes: Sizes) -> Any:
    trained, rate = [v for v in p.values() if v.requires_grad], sizes["rate"]
    if sizes["optimizer"] == "adam":
        return torch.optim.Adam(trained, lr=rate, fused=True)
    if sizes["optimizer"] == "momentum":
        return torch.optim.SGD(trained, lr=rate, momentum=0.9, fused=True)
    return _Descent(trained, rate)


def _training_step(loss: Loss, optimizer: Any, feed: Callable[[], tuple[Any, Any]]) -> Step:
    loss = _compiled(loss)

    def step() -> float:
        x, labels = feed()
        optimizer.zero_grad(set_to_none=True)
        value = loss(x, labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def _labels(arrays: Arrays) -> np.ndarray:
    """PyTorch's cross-entropy takes int64, so a user has them so."""
    return arrays["labels"].astype(np.int64).reshape(-1)


# ---------------------------------------------------------------- dense nets


def _cross_entropy_of(p: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return -(classes * p.log()).sum()


def perceptron(sizes: Sizes, arrays: Arrays) -> Step:
    """W1."""
    w, b = (torch.tensor(arrays[name], requires_grad=True) for name in ("w", "b"))

    def loss(x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return _cross_entropy_of(torch.softmax(torch.addmm(b, x, w), 1), classes)

    return _descent(loss, [w, b], sizes, arrays)


def xor(sizes: Sizes, arrays: Arrays) -> Step:
    """W2."""
    w0, b0, w1, b1 = (torch.tensor(arrays[name], requires_grad=True) for name in ("w0", "b0", "w1", "b1"))

    def loss(x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        hidden = torch.sigmoid(torch.addmm(b0, x, w0))
        return _cross_entropy_of(torch.softmax(torch.addmm(b1, hidden, w1), 1), classes)

    return _descent(loss, [w0, b0, w1, b1], sizes, arrays)


def _descent(loss: Loss, trained: list[torch.Tensor], sizes: Sizes, arrays: Arrays) -> Step:
    optimizer = _Descent(trained, sizes["rate"])
    feed = (torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["classes"]))
    return _training_step(loss, optimizer, lambda: feed)


def _mlp(p: Parameters, sizes: Sizes) -> Callable[[torch.Tensor], torch.Tensor]:
    count = len(sizes["layers"]) - 1

    def logits(x: torch.Tensor) -> torch.Tensor:
        for i in range(count):
            x = F.linear(x, p[f"w_{i}"], p[f"b_{i}"])
            if i < count - 1:
                x = F.relu(x)
        return x

    return logits


def mlp(sizes: Sizes, arrays: Arrays) -> Step:
    """W3 and W4."""
    p, labels = _parameters(arrays), _labels(arrays)
    _weights(p)
    logits = _mlp(p, sizes)
    return _training_step(
        lambda x, t: F.cross_entropy(logits(x), t),
        _optimizer(p, sizes),
        lambda: (torch.from_numpy(arrays["x"]), torch.from_numpy(labels)),
    )


def _inference_step(net: Any, feed: Callable[[], torch.Tensor]) -> Step:
    net = _compiled(net)

    @torch.inference_mode()
    def step() -> np.ndarray:
        return net(feed()).numpy()

    return step


def mlp_inference(sizes: Sizes, arrays: Arrays) -> Step:
    """W10a."""
    p = _parameters(arrays)
    _weights(p)
    return _inference_step(_mlp(p, sizes), lambda: torch.from_numpy(arrays["x"]))


# ---------------------------------------------------------------- images


def _lenet(p: Parameters, sizes: Sizes) -> Callable[[torch.Tensor], torch.Tensor]:
    side = sizes["kernel"] // 2

    def logits(x: torch.Tensor) -> torch.Tensor:
        for i in range(len(sizes["filters"])):
            x = F.max_pool2d(F.relu(F.conv2d(x, p[f"k_{i}"], p[f"c_{i}"], padding=side)), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        return F.linear(F.relu(F.linear(x, p["w_hidden"], p["b_hidden"])), p["w_out"], p["b_out"])

    return logits


def cnn(sizes: Sizes, arrays: Arrays) -> Step:
    """W5."""
    p, labels = _parameters(arrays), _labels(arrays)
    _weights(p)
    _filters(p)
    logits = _lenet(p, sizes)
    return _training_step(
        lambda x, t: F.cross_entropy(logits(x), t),
        _optimizer(p, sizes),
        lambda: (_images(arrays["x"]), torch.from_numpy(labels)),
    )


def cnn_inference(sizes: Sizes, arrays: Arrays) -> Step:
    """W10b."""
    p = _parameters(arrays)
    _weights(p)
    _filters(p)
    return _inference_step(_lenet(p, sizes), lambda: _images(arrays["x"]))


def resnet(sizes: Sizes, arrays: Arrays) -> Step:
    """W6."""
    p, labels = _parameters(arrays), _labels(arrays)
    _weights(p)
    _filters(p)
    blocks, stem = resnet_blocks(sizes), resnet_stem(sizes)
    averages = {n: (torch.zeros_like(v), torch.ones_like(v)) for n, v in p.items() if n.startswith("scale_")}
    averages = {n: tuple(a.detach() for a in pair) for n, pair in averages.items()}

    def normalized(x: torch.Tensor, c: Convolution) -> torch.Tensor:
        x = F.conv2d(x, p[f"k_{c.name}"], stride=c.stride, padding=c.size // 2)
        mean, variance = averages[f"scale_{c.name}"]
        scale, offset = p[f"scale_{c.name}"], p[f"offset_{c.name}"]
        return F.batch_norm(x, mean, variance, scale, offset, training=True, momentum=0.1, eps=1e-5)

    def loss(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        x = F.relu(normalized(x, stem))
        for block in blocks:
            y = normalized(F.relu(normalized(x, block.first)), block.second)
            x = F.relu(y + (normalized(x, block.shortcut) if block.shortcut else x))
        return F.cross_entropy(F.linear(x.mean((2, 3)), p["w_out"], p["b_out"]), t)

    return _training_step(
        loss, _optimizer(p, sizes), lambda: (_images(arrays["x"]), torch.from_numpy(labels))
    )


# ---------------------------------------------------------------- sequences


def _lstm(arrays: Arrays, sizes: Sizes) -> torch.nn.LSTM:
    """nn.LSTM with TensorFlow's weights.

    The gates are in another order (i, f, g, o for i, g, f, o), the forget bias is part of the bias, and of the
    two biases only one is trained: two would learn twice as fast.
    """
    depth, hidden = sizes["embedding"], sizes["hidden"]
    net = torch.nn.LSTM(depth, hidden, batch_first=True)
    i, g, f, o = np.split(arrays["kernel"], 4, axis=1)
    kernel = torch.from_numpy(np.concatenate([i, f, g, o], axis=1)).T
    with torch.no_grad():
        net.weight_ih_l0.copy_(kernel[:, :depth])
        net.weight_hh_l0.copy_(kernel[:, depth:])
        net.bias_ih_l0.zero_()
        net.bias_ih_l0[hidden : 2 * hidden] = 1.0
        net.bias_hh_l0.zero_()
    net.bias_hh_l0.requires_grad_(False)
    return net


def lstm(sizes: Sizes, arrays: Arrays) -> Step:
    """W7."""
    p, x, labels = _parameters(arrays), arrays["x"].astype(np.int64), _labels(arrays)
    del p["kernel"]
    _weights(p)
    net = _lstm(arrays, sizes)

    def loss(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        outputs, _ = net(F.embedding(x, p["embedding"]))
        return F.cross_entropy(F.linear(outputs, p["w_out"], p["b_out"]).flatten(0, 1), t)

    optimizer = _optimizer({**p, **dict(net.named_parameters())}, sizes)
    return _training_step(loss, optimizer, lambda: (torch.from_numpy(x), torch.from_numpy(labels)))


def gpt(sizes: Sizes, arrays: Arrays) -> Step:
    """W8."""
    p, x, labels = _parameters(arrays), arrays["x"].astype(np.int64), _labels(arrays)
    _weights(p)
    heads, width = sizes["heads"], sizes["width"]

    def dense(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, p[f"w_{name}"], p[f"b_{name}"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (width,), p[f"scale_{name}"], p[f"offset_{name}"], 1e-5)

    def attention(x: torch.Tensor, name: str) -> torch.Tensor:
        batch, steps, _ = x.shape
        parts = dense(x, f"{name}_qkv").split(width, 2)
        q, k, v = (y.view(batch, steps, heads, width // heads).transpose(1, 2) for y in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return dense(mixed.transpose(1, 2).reshape(batch, steps, width), f"{name}_merge")

    def loss(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        h = F.embedding(x, p["tokens"]) + p["positions"]
        for i in range(sizes["layers"]):
            h = h + attention(norm(h, f"{i}_attention"), str(i))
            h = h + dense(F.gelu(dense(norm(h, f"{i}_mlp"), f"{i}_up"), approximate="tanh"), f"{i}_down")
        return F.cross_entropy(F.linear(norm(h, "end"), p["tokens"]).flatten(0, 1), t)

    return _training_step(loss, _optimizer(p, sizes), lambda: (torch.from_numpy(x), torch.from_numpy(labels)))


# ---------------------------------------------------------------- without layers


def elementwise(sizes: Sizes, arrays: Arrays) -> Step:
    """W9."""
    x, a, b = (torch.tensor(arrays[name], requires_grad=True) for name in "xab")

    @_compiled
    def total(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(a * x + b) * torch.sigmoid(x) + torch.exp(-x * x)).sum()

    def step() -> list[Any]:
        value = total(x, a, b)
        gradients = torch.autograd.grad(value, [x, a, b])
        return [value.item(), *(g.numpy() for g in gradients)]

    return step


def _rosenbrock(x: torch.Tensor) -> torch.Tensor:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def rosenbrock(sizes: Sizes, arrays: Arrays) -> Step:
    """W11; torch.compile takes the functional form, as it does not compile a backward of a backward."""

    def eager(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        x = x.requires_grad_()
        (gradient,) = torch.autograd.grad(_rosenbrock(x), x, create_graph=True)
        (product,) = torch.autograd.grad(gradient, x, v)
        return product

    def functional(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda y: torch.func.grad(_rosenbrock)(y) @ v)(x)

    product = _compiled(functional) if COMPILED else eager

    return lambda: product(torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["v"])).numpy()


def empty(sizes: Sizes, arrays: Arrays) -> Step:
    """Several scalars in, and several sums of the first one out."""

    def step() -> list[Any]:
        first, *_ = [torch.from_numpy(value) for value in arrays.values()]
        return [(first + float(i)).numpy() for i in range(sizes["fetches"])]

    return step


def product(sizes: Sizes, arrays: Arrays) -> Step:
    """A matrix product into a tensor that is there."""
    a, b = torch.from_numpy(arrays["a"]), torch.from_numpy(arrays["b"])
    a = a.t() if sizes["transpose_a"] else a
    b = b.t() if sizes["transpose_b"] else b
    c = torch.zeros((sizes["m"], sizes["n"]), dtype=a.dtype)
    return lambda: torch.mm(a, b, out=c)


BUILDERS = {
    "perceptron": perceptron,
    "xor": xor,
    "mlp": mlp,
    "mlp_inference": mlp_inference,
    "cnn": cnn,
    "cnn_inference": cnn_inference,
    "resnet": resnet,
    "lstm": lstm,
    "gpt": gpt,
    "elementwise": elementwise,
    "rosenbrock": rosenbrock,
    "product": product,
    "empty": empty,
}
