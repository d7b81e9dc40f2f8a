"""Random graphs with branches and loops, run in a session, against the naive evaluator and against plain NumPy.

Every example draws a recipe: a list of numbers that picks one operation after another. The recipe is carried out
twice, by tahr's functions on tensors and by NumPy's on arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tahr as tf
from tahr.program import check
from tests.differences import check_derivatives
from tests.evaluate import evaluate

# Matrices are [n, 3], where n may be unknown when the graph is built.
WIDTH = 3
Recipe = list[tuple[int, int, int]]

RECIPES = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=8
)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@pytest.fixture(autouse=True)
def _checked() -> Any:
    """Every Program is checked after every pass."""
    with check.on():
        yield


class _OnTensors:
    """The vocabulary of recipes, in tahr."""

    number = staticmethod(lambda v: tf.constant(v, tf.float64))
    sin = staticmethod(tf.sin)
    tanh = staticmethod(tf.tanh)
    softplus = staticmethod(tf.nn.softplus)
    sigmoid = staticmethod(tf.sigmoid)
    softmax = staticmethod(tf.nn.softmax)
    matmul = staticmethod(lambda a, b: tf.matmul(a, b))
    mean = staticmethod(lambda a, axis: tf.reduce_mean(a, axis, keepdims=True))
    total = staticmethod(lambda a: tf.reduce_sum(a))
    transpose = staticmethod(tf.transpose)
    concat = staticmethod(lambda a, b: tf.concat([a[:1], b], 0)[:-1])
    gather = staticmethod(lambda a: tf.gather(a, [2, 0, 0], axis=1))
    gather_rows = staticmethod(lambda a: tf.gather(a, tf.range(tf.shape(a)[0])[::-1]))
    stack = staticmethod(lambda a, b: tf.reduce_sum(tf.stack([a, b], 1), 1))
    flat = staticmethod(lambda a: tf.reshape(tf.reshape(a, [-1]), [-1, WIDTH]))
    pad = staticmethod(lambda a: tf.pad(a, [[1, 0], [0, 0]])[1:])
    cumsum = staticmethod(lambda a: tf.cumsum(a, 1))
    where = staticmethod(lambda a, b: tf.where(a > b + 0.1234, a, b * 0.5))
    split = staticmethod(lambda a: tf.concat(tf.split(a, WIDTH, 1)[::-1], 1))

    @staticmethod
    def cond(pred: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        return tf.cond(pred, yes, no)

    @staticmethod
    def loop(count: int, step: Callable[[Any, Any], Any], start: Any) -> Any:
        body = lambda i, a: (i + 1, step(tf.cast(i, tf.float64), a))  # noqa: E731
        return tf.while_loop(lambda i, a: i < count, body, [0, start])[1]


class _OnArrays:
    """The same in NumPy."""

    number = staticmethod(np.float64)
    sin = staticmethod(np.sin)
    tanh = staticmethod(np.tanh)
    softplus = staticmethod(lambda a: np.logaddexp(a, 0.0))
    sigmoid = staticmethod(lambda a: 1.0 / (1.0 + np.exp(-a)))
    matmul = staticmethod(lambda a, b: a @ b)
    mean = staticmethod(lambda a, axis: a.mean(axis, keepdims=True))
    total = staticmethod(lambda a: a.sum())
    transpose = staticmethod(np.transpose)
    concat = staticmethod(lambda a, b: np.concatenate([a[:1], b])[:-1])
    gather = staticmethod(lambda a: a[:, [2, 0, 0]])
    gather_rows = staticmethod(lambda a: a[::-1])
    stack = staticmethod(lambda a, b: a + b)
    flat = staticmethod(lambda a: a)
    pad = staticmethod(lambda a: np.concatenate([np.zeros((1, WIDTH)), a])[1:])
    cumsum = staticmethod(lambda a: a.cumsum(1))
    where = staticmethod(lambda a, b: np.where(a > b + 0.1234, a, b * 0.5))
    split = staticmethod(lambda a: a[:, ::-1])

    @staticmethod
    def softmax(a: Any) -> Any:
        e = np.exp(a - a.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    @staticmethod
    def cond(pred: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        return yes() if pred else no()

    @staticmethod
    def loop(count: int, step: Callable[[Any, Any], Any], start: Any) -> Any:
        for i in range(count):
            start = step(np.float64(i), start)
        return start


PURE: list[Callable[[Any, Any, Any], Any]] = [
    lambda f, a, b: f.sin(a) + b,
    lambda f, a, b: a * f.sigmoid(b),
    lambda f, a, b: f.tanh(a) - b * 0.5,
    lambda f, a, b: f.softmax(a) * b,
    lambda f, a, b: f.softplus(a) / (b * b + 1.0),
    lambda f, a, b: f.matmul(a, f.tanh(f.matmul(f.transpose(b), a))) * 0.1,
    lambda f, a, b: f.mean(a, 0) + f.mean(b, 1),
    lambda f, a, b: a * (f.sin(f.total(b)) + 0.5),
    lambda f, a, b: f.concat(a, b),
    lambda f, a, b: f.gather(a) + f.gather_rows(b),
    lambda f, a, b: f.stack(a, b),
    lambda f, a, b: f.flat(a) + f.pad(b),
    lambda f, a, b: f.cumsum(a) * 0.3 + f.split(b),
    lambda f, a, b: f.where(a, b),
    lambda f, a, b: f.transpose(f.transpose(a) * 2.0) - b,
    lambda f, a, b: f.tanh(a) * f.tanh(a) + f.tanh(a),
]


def build(f: Any, values: list[Any], recipe: Recipe, depth: int = 0) -> Any:
    """Carries out a recipe; the last value.

    Args:
        f: the vocabulary.
        values: what there is to begin with, matrices of one shape.
        recipe: for each step what to do, and with which two of the values so far.
        depth: how deep in branches and loops this is.
    """
    values = list(values)
    for place, (what, left, right) in enumerate(recipe):
        a, b = values[left % len(values)], values[right % len(values)]
        inner = recipe[place + 1 : place + 4]
        if what % 20 >= len(PURE) and depth < 2 and inner:
            values.append(_region(f, what, values, a, b, inner, depth))
        else:
            values.append(PURE[what % len(PURE)](f, a, b))
    return values[-1]


def _region(f: Any, what: int, values: list[Any], a: Any, b: Any, inner: Recipe, depth: int) -> Any:
    if what % 2:
        return f.cond(
            f.total(a) > f.total(b) * 0.5 + 0.1234,
            lambda: build(f, [*values, a], inner, depth + 1),
            lambda: build(f, [*values, b], inner[::-1], depth + 1),
        )
    # The shape of a loop's variable must not change: what its body gives is added to it.
    return f.loop(what % 3, lambda i, h: a * 0.5 + f.tanh(build(f, [*values, h, h * i], inner, depth + 1)), a)


def _is_pure(recipe: Recipe) -> bool:
    return all(what % 20 < len(PURE) for what, _, _ in recipe)


def inputs_of(size: int, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(size)
    return [rng.uniform(-1.5, 1.5, (size, WIDTH)) for _ in range(count)]


@settings(max_examples=2 * settings().max_examples)
@given(recipe=RECIPES, sizes=SIZES, is_known=st.booleans())
def test_a_session_computes_what_numpy_does(recipe: Recipe, sizes: list[int], is_known: bool):
    sizes = sizes[:1] * len(sizes) if is_known else sizes
    with tf.Graph().as_default():
        xs = [tf.placeholder(tf.float64, [sizes[0] if is_known else None, WIDTH]) for _ in range(2)]
        y = build(_OnTensors, xs, recipe)
        session = tf.Session()
        for size in [*sizes, sizes[0]]:
            arrays = inputs_of(size)
            found = session.run(y, dict(zip(xs, arrays, strict=True)))
            np.testing.assert_allclose(found, build(_OnArrays, arrays, recipe), rtol=1e-9, atol=1e-9)


@settings(max_examples=2 * settings().max_examples)
@given(recipe=RECIPES.filter(_is_pure), sizes=SIZES, fetched=st.integers(0, 99))
def test_a_session_computes_what_the_naive_evaluator_does(recipe: Recipe, sizes: list[int], fetched: int):
    with tf.Graph().as_default():
        xs = [tf.placeholder(tf.float64, [None, WIDTH]) for _ in range(2)]
        y = build(_OnTensors, xs, recipe)
        # Some of them are slices.
        gradients = [tf.convert_to_tensor(g) for g in tf.gradients(y, xs, unconnected_gradients="zero")]
        floats = [
            t for op in tf.get_default_graph().get_operations() for t in op.outputs if t.dtype is tf.float64
        ]
        outputs = [y, *gradients, floats[fetched % len(floats)]]
        session = tf.Session()
        for size in sizes:
            feeds = dict(zip(xs, inputs_of(size), strict=True))
            found, expected = session.run(outputs, feeds), evaluate(outputs, feeds)
            for value, wanted in zip(found, expected, strict=True):
                assert value.shape == wanted.shape
                np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9)


@given(recipe=RECIPES, size=st.integers(1, 3))
def test_gradients_are_those_of_finite_differences(recipe: Recipe, size: int):
    with tf.Graph().as_default():
        xs = [tf.placeholder(tf.float64, [None, WIDTH]) for _ in range(2)]
        y = build(_OnTensors, xs, recipe)
        check_derivatives(y, xs, dict(zip(xs, inputs_of(size), strict=True)), rtol=1e-4)


@settings(max_examples=settings().max_examples // 2)
@given(recipe=RECIPES)
def test_second_derivatives_are_those_of_finite_differences(recipe: Recipe):
    with tf.Graph().as_default():
        xs = [tf.placeholder(tf.float64, [None, WIDTH])]
        y = build(_OnTensors, xs, recipe[:5])
        check_derivatives(y, xs, dict(zip(xs, inputs_of(2, 1), strict=True)), orders=2, rtol=1e-3)
