"""Jacobians two ways, for tests: from the symbolic gradient, and from finite differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tahr.autodiff.gradients import gradients
from tahr.core import convert
from tahr.core.convert import IndexedSlices
from tahr.core.graph import Tensor
from tahr.core.opdef import Array
from tahr.ops import structural

Jacobians = tuple[Array, Array]


def compute_gradient(
    x: Any,
    x_shape: Any,
    y: Any,
    y_shape: Any,
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Any = None,
    extra_feed_dict: Mapping[Any, Any] | None = None,
) -> Any:
    """The Jacobian of y with respect to x, from the symbolic gradient and from central differences.

    Both are computed in the default session. Complex numbers count as pairs of real ones.

    Args:
        x: a tensor, or a list of them.
        x_shape: its shape, or a list of their shapes.
        y: a tensor.
        y_shape: its shape.
        x_init_value: an array (or list of arrays) at which to differentiate; uniform random numbers by
            default.
        delta: how far to move each element of x, up and down.
        init_targets: operations to run first.
        extra_feed_dict: values for other tensors.

    Returns:
        A pair (theoretical, numeric) of matrices [elements of x, elements of y]; a list of pairs for
        a list of xs.

    Raises:
        ValueError: there is no default session, or y does not depend on x.  TypeError: x is of integers.
    """
    feeds = dict(extra_feed_dict or {})
    for target in _as_list(init_targets) if init_targets is not None else []:
        target.run()
    if not isinstance(x, (list, tuple)):
        value = _initial_value(x, x_shape, x_init_value)
        return _jacobians(x, value, y, tuple(y_shape), delta, feeds)
    given = x_init_value if x_init_value is not None else [None] * len(x)
    values = [_initial_value(*args) for args in zip(x, x_shape, given)]
    feeds.update(zip(x, values))
    return [_jacobians(one, value, y, tuple(y_shape), delta, feeds) for one, value in zip(x, values)]


def compute_gradient_error(
    x: Any,
    x_shape: Any,
    y: Any,
    y_shape: Any,
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Any = None,
    extra_feed_dict: Mapping[Any, Any] | None = None,
) -> float:
    """The largest difference between the Jacobians that `compute_gradient` gives.

    Args:
        x: as in `compute_gradient`, like all the others.

    Returns:
        The largest absolute difference; 0 where there are no elements, NaN where a Jacobian holds one.
    """
    found = compute_gradient(x, x_shape, y, y_shape, x_init_value, delta, init_targets, extra_feed_dict)
    pairs: list[Jacobians] = found if isinstance(found, list) else [found]
    differences = [np.abs(theoretical - numeric).max(initial=0) for theoretical, numeric in pairs]
    return float(np.max(differences, initial=0))


def _jacobians(
    x: Tensor, value: Array, y: Tensor, y_shape: tuple[int, ...], delta: float, feeds: dict[Any, Any]
) -> Jacobians:
    if not (x.dtype.is_floating or x.dtype.is_complex):
        raise TypeError(
            f"compute_gradient: {x.name} is {x.dtype.name}, but must be of real or complex numbers"
        )
    theoretical = _theoretical_jacobian(x, value, y, y_shape, feeds)
    return theoretical, _numeric_jacobian(x, value, y, y_shape, delta, feeds)


def _theoretical_jacobian(
    x: Tensor, value: Array, y: Tensor, y_shape: tuple[int, ...], feeds: dict[Any, Any]
) -> Array:
    """One column for each element of y: the gradient of x where that element's is 1 and all others are 0."""
    with x.graph.as_default():
        # The identity lets dy be fed even where the gradient of x is dy itself.
        dy = convert.constant(1.0, dtype=y.dtype.base_dtype, shape=y_shape)
        (dx,) = gradients(y, x, structural.identity(dy))
    if dx is None:
        raise ValueError(f"compute_gradient: {y.name} does not depend on {x.name}")
    seed = np.zeros(y_shape, y.dtype.as_numpy_dtype)
    columns = _reals(seed)
    jacobian = np.zeros((_reals(value).size, columns.size), x.dtype.real_dtype.as_numpy_dtype)
    for column in range(columns.size):
        columns[column] = 1
        jacobian[:, column] = _reals(_dense(_evaluate(dx, {**feeds, x: value, dy: seed}), value))
        columns[column] = 0
    return jacobian


def _numeric_jacobian(
    x: Tensor, value: Array, y: Tensor, y_shape: tuple[int, ...], delta: float, feeds: dict[Any, Any]
) -> Array:
    """One row for each element of x: how y changes as that element moves by delta to either side."""
    moved = value.copy()
    elements = _reals(moved)
    width = _reals(np.zeros(y_shape, y.dtype.as_numpy_dtype)).size
    jacobian = np.zeros((elements.size, width), x.dtype.real_dtype.as_numpy_dtype)
    for row in range(elements.size):
        original = elements[row]
        elements[row] = original + delta
        above = y.eval({**feeds, x: moved})
        elements[row] = original - delta
        below = y.eval({**feeds, x: moved})
        elements[row] = original
        jacobian[row] = _reals((above - below) / (2 * delta))
    return jacobian


def _evaluate(dx: Any, feeds: dict[Any, Any]) -> Any:
    if isinstance(dx, IndexedSlices):
        return dx.values.eval(feeds), dx.indices.eval(feeds)
    return dx.eval(feeds)


def _dense(dx: Any, like: Array) -> Array:
    """A gradient as an array of the shape of x: rows of the same index add up."""
    if not isinstance(dx, tuple):
        return dx
    rows, indices = dx
    result = np.zeros_like(like)
    np.add.at(result, indices, rows)
    return result


def _reals(array: Array) -> Array:
    """The elements in one line (a view where the array is contiguous), complex ones as pairs of real ones."""
    flat: Array = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.real(flat).dtype) if flat.dtype.kind == "c" else flat


def _initial_value(x: Tensor, shape: Any, value: Any) -> Array:
    if value is not None:
        array = np.array(value, dtype=x.dtype.as_numpy_dtype)
        if array.shape != tuple(shape):
            raise ValueError(
                f"compute_gradient: x_shape is {list(shape)}, but x_init_value has {list(array.shape)}"
            )
        return array
    value = np.random.default_rng().random(tuple(shape))
    if x.dtype.is_complex:
        value = value + 1j * np.random.default_rng().random(tuple(shape))
    return np.asarray(value, dtype=x.dtype.as_numpy_dtype)


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]
