"""Gradients by finite differences, and their comparison with symbolic ones.

For outputs y, cotangents c and inputs x the loss is L = Re Σ conj(c)·y, and the gradient with respect to a
complex input is ∂L/∂Re x + i ∂L/∂Im x. For a holomorphic f that is c·conj(f'): TensorFlow's convention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tahr.core.graph import Tensor
from tahr.core.opdef import Array
from tests.evaluate import evaluate

# Where central differences are most accurate: the truncation error h² meets the rounding error ε/h.
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)

# Of a larger input that many elements are checked, evenly spread.
MAX_ELEMENTS = 24


def check_gradients(
    ys: Sequence[Tensor],
    xs: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    feeds: dict[Tensor, Array],
    rtol: float = 1e-5,
) -> None:
    """Compares symbolic gradients with central differences.

    Args:
        ys: the outputs, float64 or complex128.
        xs: the inputs, of these types too, all of them fed.
        cotangents: one for each output, fed.
        gradients: of Σ conj(c)·y with respect to each input; None claims that it is zero.
        feeds: the values of inputs, cotangents, and whatever else is needed.
        rtol: the tolerance, relative to the largest element of each gradient or 1.

    Raises:
        AssertionError: a gradient is wrong; the text names the input and the element.
    """
    weights = [feeds[c] for c in cotangents]
    found = evaluate(list(gradients), feeds)
    for x, gradient in zip(xs, found, strict=True):
        value = feeds[x]
        if gradient is None:
            gradient = np.zeros_like(value)
        assert gradient.shape == value.shape, f"gradient of {x} has shape {gradient.shape}, not {value.shape}"
        assert gradient.dtype == value.dtype, f"gradient of {x} is {gradient.dtype}, not {value.dtype}"

        def outputs(moved: Array, x: Tensor = x) -> Sequence[Array]:
            return evaluate(list(ys), {**feeds, x: moved})

        for index in chosen_elements(value):
            expected = central_difference(outputs, value, index, weights)
            scale = max(1.0, float(np.max(np.abs(gradient))), abs(expected))
            assert abs(gradient[index] - expected) <= rtol * scale, (
                f"gradient of {x.name}{list(index)} is {gradient[index]}, finite differences give {expected}"
            )


def central_difference(
    outputs: Callable[[Array], Sequence[Array]],
    value: Array,
    index: tuple[int, ...],
    weights: Sequence[Array],
) -> complex:
    """The derivative of Re Σ conj(weights)·outputs by one element of an input.

    Args:
        outputs: the function.
        value: where the derivative is taken.
        index: by which element.
        weights: one array for each output.

    Returns:
        A real number; for a complex element the derivative by the real part plus i times the other.
    """
    step = STEP * max(1.0, abs(value[index]))

    def derivative(direction: complex) -> float:
        ahead, behind = value.copy(), value.copy()
        ahead[index] += step * direction
        behind[index] -= step * direction
        width = abs(ahead[index] - behind[index])  # the step as it was rounded
        change = 0.0
        for weight, y1, y0 in zip(weights, outputs(ahead), outputs(behind), strict=True):
            change += float(np.sum(np.real(np.conj(weight) * (y1 - y0))))
        return change / width

    if value.dtype.kind != "c":
        return derivative(1.0)
    return derivative(1.0) + 1j * derivative(1j)


def chosen_elements(value: Array) -> list[tuple[int, ...]]:
    """All indices of a small array; `MAX_ELEMENTS` evenly spread ones of a larger."""
    count = min(value.size, MAX_ELEMENTS)
    flat = np.unique(np.linspace(0, value.size - 1, count).astype(int)) if count else np.empty(0, int)
    return [tuple(int(i) for i in np.unravel_index(f, value.shape)) for f in flat]


def random_cotangent(shape: tuple[int, ...], dtype: np.dtype, seed: int) -> Array:
    """A cotangent of no special structure: both signs, nothing near zero, the same on every run."""
    rng = np.random.default_rng(seed)

    def part() -> Array:
        return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)

    return np.asarray(part() + 1j * part() if dtype.kind == "c" else part(), dtype)
