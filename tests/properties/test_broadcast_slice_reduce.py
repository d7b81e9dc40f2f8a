"""Broadcasting, slicing, reductions, transposes and random graphs, against NumPy and finite differences.

Every example is a graph of its own, of which some sizes are known in advance and some are not; the naive
evaluator computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from hypothesis.extra import numpy as hnp

import tahr as tf
from tahr.core import dtypes, shapes
from tahr.core.graph import Tensor
from tahr.core.opdef import Array
from tahr.core.shapes import Spec
from tahr.core.sizes import UNKNOWN
from tests.evaluate import evaluate, fed
from tests.gradient_check import check_gradients, random_cotangent

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TYPES = st.sampled_from(["int32", "int64", "float32", "float64"])


def arrays(shape: tuple[int, ...], dtype: str) -> st.SearchStrategy[Array]:
    """Arrays of small whole numbers, with which floating-point arithmetic is exact."""
    return hnp.arrays(dtype, shape, elements=st.integers(-8, 8))


def distinct(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Float64 arrays whose elements differ by at least 0.1, so that maxima have no kinks nearby."""
    count = int(np.prod(shape))
    orders = st.permutations(range(count))
    return orders.map(lambda order: (np.array(order, dtype=float) / 10 + 0.05).reshape(shape))


@st.composite
def given_tensors(draw: st.DrawFn, *values: Array) -> list[Tensor]:
    """A tensor for each array, in the default graph; its sizes may be known or not, or not even its rank."""
    found: list[Tensor] = []
    for value in values:
        known = draw(st.one_of(st.none(), st.tuples(*[st.booleans()] * value.ndim)))
        shape = None
        if known is not None:
            shape = tuple(d if is_known else UNKNOWN for d, is_known in zip(value.shape, known, strict=True))
        found.append(fed(Spec(dtypes.of_numpy(value.dtype), shape)))
    return found


def agree(tensor: Tensor, feeds: dict[Tensor, Array], expected: Any) -> None:
    """The tensor's value is the expected one, of its declared dtype and static shape."""
    value = np.asarray(evaluate(tensor, feeds))
    assert value.dtype == tensor.dtype.numpy
    assert shapes.compatible(tensor.spec.shape, value.shape)
    assert value.shape == np.shape(expected)
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6)


def check_gradient(y: Tensor, xs: list[Tensor], feeds: dict[Tensor, Array]) -> None:
    """The symbolic gradients of one float64 tensor agree with finite differences."""
    value = np.asarray(evaluate(y, feeds))
    cotangent = fed(Spec(dtypes.float64, y.spec.shape))
    feeds = {**feeds, cotangent: random_cotangent(value.shape, value.dtype, seed=0)}
    found = tf.gradients(y, xs, grad_ys=cotangent)
    for x, gradient in zip(xs, found, strict=True):
        assert gradient is None or shapes.compatible(gradient.get_shape().raw, x.spec.shape)
    check_gradients([y], xs, [cotangent], found, feeds)


# ---------------------------------------------------------------- broadcasting

BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "squared_difference": lambda a, b: (a - b) * (a - b),
    "less": np.less,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
}


@given(st.data(), st.sampled_from(sorted(BINARY)), TYPES)
def test_broadcasting_agrees_with_numpy(data: st.DataObject, name: str, dtype: str) -> None:
    both = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4))
    a, b = (data.draw(arrays(shape, dtype)) for shape in both.input_shapes)
    with tf.Graph().as_default():
        x, y = data.draw(given_tensors(a, b))
        agree(getattr(tf, name)(x, y), {x: a, y: b}, BINARY[name](a, b))


@given(st.data(), SHAPES, SHAPES)
def test_shapes_that_do_not_broadcast_are_errors(
    data: st.DataObject, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    try:
        np.broadcast_shapes(first, second)
    except ValueError:
        a, b = np.zeros(first), np.zeros(second)
        with tf.Graph().as_default():
            x, y = data.draw(given_tensors(a, b))
            with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
                evaluate(tf.add(x, y), {x: a, y: b})


@given(st.data())
def test_gradients_of_broadcasting(data: st.DataObject) -> None:
    both = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=1, max_side=3))
    a, b = (data.draw(distinct(shape)) for shape in both.input_shapes)
    with tf.Graph().as_default():
        x, y = data.draw(given_tensors(a, b))
        check_gradient(x * y - x, [x, y], {x: a, y: b})


# ---------------------------------------------------------------- slicing


@given(st.data(), SHAPES, TYPES)
def test_slicing_agrees_with_numpy(data: st.DataObject, shape: tuple[int, ...], dtype: str) -> None:
    a = data.draw(arrays(shape, dtype))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(a))
        agree(x[key], {x: a}, a[key])


@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
def test_gradients_of_slicing(data: st.DataObject, shape: tuple[int, ...]) -> None:
    a = data.draw(distinct(shape))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(a))
        check_gradient(tf.square(x[key]), [x], {x: a})


@given(st.data(), hnp.array_shapes(max_dims=3, max_side=4), st.integers(2, 3))
def test_concatenated_pieces_are_the_whole(data: st.DataObject, shape: tuple[int, ...], pieces: int) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    a = data.draw(arrays((*shape,), "float32"))
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[axis]), min_size=pieces - 1, max_size=pieces - 1)))
    lengths = np.diff([0, *cuts, shape[axis]]).tolist()
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(a))
        parts = tf.split(x, lengths, axis=axis)
        for part, expected in zip(parts, np.split(a, cuts, axis=axis), strict=True):
            agree(part, {x: a}, expected)
        agree(tf.concat(parts, axis), {x: a}, a)


# ---------------------------------------------------------------- reductions

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": np.sum,
    "reduce_prod": np.prod,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
}


@st.composite
def axes_of(draw: st.DrawFn, rank: int) -> Any:
    """None, one axis, or a list of different ones, counted from the front or the back."""
    chosen = [a - draw(st.sampled_from([0, rank])) for a in range(rank) if draw(st.booleans())]
    if draw(st.booleans()):
        return None
    return chosen[0] if len(chosen) == 1 and draw(st.booleans()) else chosen


def as_numpy_axis(axes: Any) -> Any:
    return tuple(axes) if isinstance(axes, list) else axes


@given(st.data(), st.sampled_from(sorted(REDUCTIONS)), SHAPES, st.booleans())
def test_reductions_agree_with_numpy(
    data: st.DataObject, name: str, shape: tuple[int, ...], keepdims: bool
) -> None:
    a, axes = data.draw(arrays(shape, "float64")), data.draw(axes_of(len(shape)))
    # Of nothing NumPy has neither mean nor maximum. TensorFlow has: see the samples.
    assume(a.size > 0 or name in ("reduce_sum", "reduce_prod"))
    expected = REDUCTIONS[name](a, axis=as_numpy_axis(axes), keepdims=keepdims)
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(a))
        agree(getattr(tf, name)(x, axes, keepdims=keepdims), {x: a}, expected)


@given(st.data(), st.sampled_from([*sorted(REDUCTIONS), "reduce_logsumexp"]), st.booleans())
def test_gradients_of_reductions(data: st.DataObject, name: str, keepdims: bool) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
    a, axes = data.draw(distinct(shape)), data.draw(axes_of(len(shape)))
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(a))
        check_gradient(getattr(tf, name)(x, axes, keepdims=keepdims), [x], {x: a})


# ---------------------------------------------------------------- transposes


@given(st.data(), SHAPES, TYPES)
def test_transposes_agree_with_numpy(data: st.DataObject, shape: tuple[int, ...], dtype: str) -> None:
    a, order = data.draw(arrays(shape, dtype)), data.draw(st.permutations(range(len(shape))))
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(a))
        there = tf.transpose(x, order)
        agree(there, {x: a}, a.transpose(order))
        agree(tf.transpose(there, np.argsort(order).tolist()), {x: a}, a)
        agree(tf.transpose(x), {x: a}, a.T)


@given(st.data(), hnp.array_shapes(max_dims=4, max_side=3))
def test_gradients_of_transposes(data: st.DataObject, shape: tuple[int, ...]) -> None:
    a, order = data.draw(distinct(shape)), data.draw(st.permutations(range(len(shape))))
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(a))
        check_gradient(tf.square(tf.transpose(x, order)), [x], {x: a})


# ---------------------------------------------------------------- random graphs

# What a random graph is made of: TensorFlow's function and NumPy's. All are smooth, and bounded enough that a
# chain of them neither overflows nor loses the digits that finite differences need.
UNARY_STEPS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (lambda x: tf.tanh(x), np.tanh),
    (lambda x: tf.sin(x), np.sin),
    (lambda x: tf.sigmoid(x), lambda a: 1 / (1 + np.exp(-a))),
    (lambda x: -x, np.negative),
    (lambda x: tf.reduce_mean(x, -1, keepdims=True), lambda a: np.mean(a, -1, keepdims=True)),
    (lambda x: tf.reduce_mean(x, 0, keepdims=True), lambda a: np.mean(a, 0, keepdims=True)),
    (lambda x: tf.transpose(tf.transpose(x) * 0.5), lambda a: a * 0.5),
]
BINARY_STEPS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (lambda x, y: x + y, np.add),
    (lambda x, y: x - y, np.subtract),
    (lambda x, y: tf.tanh(x) * y, lambda a, b: np.tanh(a) * b),
    (lambda x, y: x / (2.0 + tf.sin(y)), lambda a, b: a / (2.0 + np.sin(b))),
    (
        lambda x, y: tf.tanh(tf.matmul(tf.matmul(x + y, x + y, transpose_b=True), x + y)),
        lambda a, b: np.tanh((a + b) @ (a + b).T @ (a + b)),
    ),
]


@st.composite
def grown(draw: st.DrawFn, tensors: list[Tensor], values: list[Array]) -> tuple[Tensor, Array]:
    """The result of a few random steps, each from one or two of all earlier results."""
    tensors, values = list(tensors), list(values)
    for _ in range(draw(st.integers(1, 7))):
        first, second = draw(st.tuples(*[st.integers(0, len(tensors) - 1)] * 2))
        if draw(st.booleans()):
            symbolic, numeric = draw(st.sampled_from(UNARY_STEPS))
            operands = [first]
        else:
            symbolic, numeric = draw(st.sampled_from(BINARY_STEPS))
            operands = [first, second]
        tensors.append(symbolic(*(tensors[i] for i in operands)))
        values.append(numeric(*(values[i] for i in operands)))
    return tensors[-1], values[-1]


# All shapes are of matrices that broadcast with each other, so that any two results can meet.
MATRICES = st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 3)])


@given(st.data(), st.lists(MATRICES, min_size=1, max_size=3))
def test_random_graphs_and_their_gradients(data: st.DataObject, chosen: list[tuple[int, int]]) -> None:
    values = [data.draw(distinct(shape)) for shape in chosen]
    with tf.Graph().as_default():
        xs = data.draw(given_tensors(*values))
        feeds = dict(zip(xs, values, strict=True))
        y, expected = data.draw(grown(xs, values))
        agree(y, feeds, expected)
        check_gradient(y, xs, feeds)


@given(st.data(), MATRICES)
def test_second_gradients_of_random_graphs(data: st.DataObject, shape: tuple[int, int]) -> None:
    value = data.draw(distinct(shape))
    with tf.Graph().as_default():
        (x,) = data.draw(given_tensors(value))
        y, _ = data.draw(grown([x], [value]))
        (gradient,) = tf.gradients(y, [x])
        check_gradient(gradient, [x], {x: value})
