"""Random graphs: a recipe is a list of numbers that picks one operation after another.

What is computed is the same on every backend, so the recipe needs no second vocabulary. Whatever may jump where
numbers differ by a rounding (comparisons, casts to integers, arguments of maxima) is only applied to exact values:
those that are the same on every backend to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tahr as tf
from tahr.core.opdef import OPS, Array

Recipe = Sequence[tuple[int, int, int, int]]
Dim = int | str
"""A size, or "n" for the size of the batch."""

WIDTHS = (5, 3, 8, 1)
FLOATS = ("float64", "float32", "float16", "bfloat16")
# By how much results may differ, relative to the largest number around.
TOLERANCES = {"float64": 1e-9, "float32": 2e-4, "float16": 3e-2, "bfloat16": 2e-1}


@dataclass(frozen=True)
class Term:
    """A tensor of a random graph.

    Attributes:
        tensor: the tensor.
        shape: its shape.
        is_exact: whether it is the same on every backend to the last bit.
    """

    tensor: Any
    shape: tuple[Dim, ...]
    is_exact: bool = False

    @property
    def kind(self) -> str:
        """ "f", "i" or "b"."""
        return "f" if self.tensor.dtype.is_floating else "b" if self.tensor.dtype == tf.bool else "i"

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)


@dataclass
class Graph:
    """What a recipe made.

    Attributes:
        inputs: placeholders, with their shapes.
        terms: everything, in order.
    """

    inputs: list[tuple[Any, tuple[Dim, ...]]]
    terms: list[Term]

    def feeds(self, n: int, seed: int = 0, specials: bool = False) -> dict[Any, Array]:
        """Values of the inputs for a size of the batch: multiples of 1/4, and if asked for NaN and the like."""
        rng = np.random.default_rng([n, seed])
        found: dict[Any, Array] = {}
        for tensor, shape in self.inputs:
            exact = [n if isinstance(d, str) else d for d in shape]
            values = rng.integers(-12, 13, exact) / 4
            if specials and tensor.dtype.is_floating:
                odd = rng.choice([np.nan, np.inf, -np.inf, -0.0], exact)
                values = np.where(rng.random(exact) < 0.2, odd, values)
            found[tensor] = np.asarray(values).astype(tensor.dtype.as_numpy_dtype)
        return found

    def outputs(self, count: int = 4) -> list[Any]:
        """The last few terms, and some in the middle."""
        chosen = self.terms[len(self.inputs) :]
        chosen = chosen[-count:] + chosen[: -count : max(1, len(chosen) // 2)]
        return list(dict.fromkeys(t.tensor for t in chosen)) or [self.terms[0].tensor]

    def gradients(self) -> list[Any]:
        """Gradients of the last number by every input."""
        floats = [t for t in self.terms[len(self.inputs) :] if t.kind == "f"]
        if not floats:
            return []
        last = floats[-1].tensor
        found = tf.gradients(last * tf.ones_like(last), [x for x, _ in self.inputs if x.dtype.is_floating])
        return [tf.convert_to_tensor(g) for g in found if g is not None]


# ---------------------------------------------------------------- operations

Operation = Callable[[Term, Term, int], "Term | None"]
"""Makes a term of two others, and a number to choose by; None where it does not fit them."""


def _broadcast(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> tuple[Dim, ...] | None:
    rank = max(len(a), len(b))
    result: list[Dim] = []
    for x, y in zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b):
        if x != y and 1 not in (x, y):
            return None
        result.append(y if x == 1 else x)
    return tuple(result)


def _of_one(functions: Sequence[Callable[[Any], Any]], is_exact: bool = False) -> Operation:
    def apply(a: Term, b: Term, number: int) -> Term | None:
        if a.kind != "f":
            return None
        return Term(functions[number % len(functions)](a.tensor), a.shape, is_exact and a.is_exact)

    return apply


def _of_two(functions: Sequence[Callable[[Any, Any], Any]], kind: str, is_exact: bool) -> Operation:
    def apply(a: Term, b: Term, number: int) -> Term | None:
        shape = _broadcast(a.shape, b.shape)
        if a.kind != kind or b.tensor.dtype != a.tensor.dtype or shape is None:
            return None
        exact = is_exact and a.is_exact and b.is_exact
        return Term(functions[number % len(functions)](a.tensor, b.tensor), shape, exact)

    return apply


SMOOTH = _of_one(
    [
        tf.tanh,
        tf.sigmoid,
        lambda x: tf.exp(-tf.abs(x)),
        lambda x: tf.log(1.0 + tf.abs(x)),
        lambda x: tf.sqrt(tf.abs(x) + 1.0),
        lambda x: tf.rsqrt(tf.square(x) + 1.0),
        tf.nn.softplus,
        tf.sin,
        tf.erf,
        lambda x: 0.25 * tf.square(x),
    ]
)
SHARP = _of_one([tf.nn.relu, tf.abs, tf.negative, lambda x: tf.maximum(x, 0.25), tf.identity], is_exact=True)
ARITHMETIC = _of_two(
    [
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, y: 0.5 * x * y,
        lambda x, y: x / (1.0 + tf.abs(y)),
        tf.squared_difference,
    ],
    "f",
    False,
)
EXTREME = _of_two([tf.maximum, tf.minimum], "f", True)
INTEGER = _of_two(
    [
        lambda x, y: x + y,
        lambda x, y: x * y,
        lambda x, y: x - 3 * y,
        lambda x, y: tf.floordiv(x, tf.bitwise.bitwise_and(y, 7) + 1),
        lambda x, y: tf.floormod(x, tf.bitwise.bitwise_and(y, 7) + 1),
        tf.bitwise.bitwise_and,
        tf.bitwise.bitwise_xor,
        tf.minimum,
        tf.maximum,
    ],
    "i",
    True,
)
LOGIC = _of_two([tf.logical_and, tf.logical_or, tf.not_equal], "b", True)


def compare(a: Term, b: Term, number: int) -> Term | None:
    """A comparison."""
    shape = _broadcast(a.shape, b.shape)
    if shape is None or a.tensor.dtype != b.tensor.dtype or a.kind == "b" or not (a.is_exact and b.is_exact):
        return None
    function = (tf.less, tf.greater_equal, tf.equal)[number % 3]
    return Term(function(a.tensor, b.tensor), shape, True)


def choose(a: Term, b: Term, number: int) -> Term | None:
    """One or the other, by the sign of the first where that is exact, or else by position."""
    shape = _broadcast(a.shape, b.shape)
    if shape is None or a.tensor.dtype != b.tensor.dtype or a.kind == "b":
        return None
    zero = tf.zeros([], a.tensor.dtype)
    condition = a.tensor > zero if a.is_exact else tf.constant(bool(number % 2))
    exact = a.is_exact and b.is_exact
    if number % 3 == 0:
        return Term(
            tf.where(tf.broadcast_to(condition, tf.shape(a.tensor)), a.tensor, a.tensor * 2), a.shape, False
        )
    return Term(OPS["SelectV2"](condition, a.tensor, b.tensor), shape, exact)


def cast(a: Term, b: Term, number: int) -> Term | None:
    """Another dtype; a float becomes an integer only where it is exact."""
    if a.kind == "f":
        if number % 3 == 0 and a.is_exact:
            return Term(
                tf.cast(a.tensor * 4.0, (tf.int32, tf.int64, tf.int8, tf.bool)[number % 4]), a.shape, True
            )
        return Term(tf.cast(tf.cast(tf.tanh(a.tensor), tf.float32), a.tensor.dtype), a.shape)
    dtype = b.tensor.dtype if b.kind == "f" else tf.int32
    if a.kind == "i" and dtype.is_floating:
        return Term(tf.cast(tf.floormod(a.tensor, 9), dtype), a.shape, True)
    return Term(tf.cast(a.tensor, dtype), a.shape, True)


def _axes(a: Term, number: int) -> list[int]:
    """Some of the dimensions."""
    chosen = [i for i in range(a.rank) if number >> i & 1]
    return chosen or list(range(a.rank))


def reduce(a: Term, b: Term, number: int) -> Term | None:
    """A reduction over some of the dimensions."""
    axes, keep, which = _axes(a, number), number // 8 % 2 == 1, number // 16
    if a.kind == "b":
        function, exact = ((tf.reduce_any, tf.reduce_all)[which % 2]), True
    elif a.kind == "i":
        function, exact = ((tf.reduce_sum, tf.reduce_max, tf.reduce_min)[which % 3]), True
    else:
        function = (tf.reduce_mean, tf.reduce_max, tf.reduce_min, _scaled_sum)[which % 4]
        exact = a.is_exact and which % 4 in (1, 2)
        if which % 4 in (1, 2) and "n" in a.shape and not a.is_exact:
            function = tf.reduce_mean
    found = function(a.tensor, axes, keepdims=keep)
    shape = tuple(1 if i in axes else d for i, d in enumerate(a.shape) if keep or i not in axes)
    return Term(found, shape, exact)


def _scaled_sum(x: Any, axes: Sequence[int], keepdims: bool) -> Any:
    return tf.reduce_sum(x * 0.0625, axes, keepdims=keepdims)


def normalize(a: Term, b: Term, number: int) -> Term | None:
    """What goes over each row several times."""
    if a.kind != "f" or a.rank < 2:
        return None
    x = a.tensor
    if number % 4 == 0:
        return Term(tf.nn.softmax(x), a.shape)
    if number % 4 == 1:
        return Term(tf.nn.log_softmax(x), a.shape)
    axes = [-1] if number % 4 == 2 else [0]
    mean = tf.reduce_mean(x, axes, keepdims=True)
    centred = x - mean
    return Term(centred * tf.rsqrt(tf.reduce_mean(tf.square(centred), axes, keepdims=True) + 0.5), a.shape)


def move(a: Term, b: Term, number: int) -> Term | None:
    """The same elements elsewhere."""
    x, shape = a.tensor, a.shape
    which, axis = number % 8, number // 8 % max(a.rank, 1)
    if which == 0 and a.rank >= 2:
        order = [*range(axis, a.rank), *range(axis)] if axis else [*range(a.rank)][::-1]
        return replace(a, tensor=tf.transpose(x, order), shape=tuple(shape[i] for i in order))
    if which == 1 and a.rank >= 1:
        return replace(a, tensor=tf.expand_dims(x, axis), shape=(*shape[:axis], 1, *shape[axis:]))
    if which == 2 and a.rank >= 1:
        return replace(a, tensor=tf.reverse(x, [axis]))
    if which == 3 and isinstance(shape[axis] if shape else "", int) and int(shape[axis]) > 1:
        size = int(shape[axis])
        begin = [0] * a.rank
        begin[axis] = 1
        count = [-1] * a.rank
        count[axis] = size - 1
        return replace(
            a, tensor=tf.slice(x, begin, count), shape=(*shape[:axis], size - 1, *shape[axis + 1 :])
        )
    if which == 4 and a.rank >= 2 and all(isinstance(d, int) for d in shape[1:]):
        width = int(np.prod([int(d) for d in shape[1:]]))
        return replace(a, tensor=tf.reshape(x, [-1, width]), shape=(shape[0], width)) if width else None
    if which == 5 and isinstance(shape[axis] if shape else "", int) and a.kind != "b":
        padding = [[0, 0]] * a.rank
        padding[axis] = [1, 2]
        return replace(
            a, tensor=tf.pad(x, padding), shape=(*shape[:axis], int(shape[axis]) + 3, *shape[axis + 1 :])
        )
    if which == 6 and isinstance(shape[axis] if shape else "", int):
        times = [1] * a.rank
        times[axis] = 2
        return replace(
            a, tensor=tf.tile(x, times), shape=(*shape[:axis], 2 * int(shape[axis]), *shape[axis + 1 :])
        )
    if which == 7 and a.rank >= 1:
        rolled = [slice(None)] * axis
        parts = [x[(*rolled, slice(1, None))], x[(*rolled, slice(None, 1))]]
        return replace(a, tensor=tf.concat(parts, axis))
    return None


def join(a: Term, b: Term, number: int) -> Term | None:
    """Two tensors behind each other."""
    if a.tensor.dtype != b.tensor.dtype or a.rank != b.rank or not a.rank:
        return None
    axis = number % a.rank
    sides = [t.shape[:axis] + t.shape[axis + 1 :] for t in (a, b)]
    if sides[0] != sides[1]:
        return None
    exact = a.is_exact and b.is_exact
    if a.shape == b.shape and number // 4 % 2:
        shape = (*a.shape[:axis], 2, *a.shape[axis:])
        return Term(tf.stack([a.tensor, b.tensor], axis), shape, exact)
    if not (isinstance(a.shape[axis], int) and isinstance(b.shape[axis], int)):
        return None
    size = int(a.shape[axis]) + int(b.shape[axis])
    return Term(tf.concat([a.tensor, b.tensor], axis), (*a.shape[:axis], size, *a.shape[axis + 1 :]), exact)


def multiply(a: Term, b: Term, number: int) -> Term | None:
    """A matrix product, in any transposition; of a weight where two terms do not fit."""
    if a.kind != "f" or a.rank < 2:
        return None
    flip, flip_b = bool(number % 2), bool(number // 2 % 2)
    rows, inner = a.shape[-2:][::-1] if flip else a.shape[-2:]
    if b.rank == a.rank and b.shape[:-2] == a.shape[:-2] and b.tensor.dtype == a.tensor.dtype:
        behind, columns = b.shape[-2:][::-1] if flip_b else b.shape[-2:]
        if behind == inner and [*a.shape[:-2], rows, columns].count("n") <= 1:
            return _product(a.tensor, b.tensor, flip, flip_b, (*a.shape[:-2], rows, columns))
    if not isinstance(inner, int):
        return None
    columns = 1 + number // 4 % 6
    weight = np.linspace(-0.5, 0.5, inner * columns).reshape((columns, inner) if flip_b else (inner, columns))
    weight = tf.constant(np.broadcast_to(weight, (1,) * (a.rank - 2) + weight.shape), a.tensor.dtype)
    return _product(a.tensor, weight, flip, flip_b, (*a.shape[:-2], rows, columns))


def _product(a: Any, b: Any, flip: bool, flip_b: bool, shape: tuple[Dim, ...]) -> Term:
    return Term(tf.tanh(tf.matmul(a, b, transpose_a=flip, transpose_b=flip_b) * 0.25), shape)


def count(a: Term, b: Term, number: int) -> Term | None:
    """Numbers that follow from sizes, and positions."""
    if not a.rank:
        return None
    axis = number // 2 % a.rank
    if number % 2 or a.kind != "f":
        return Term(tf.shape(a.tensor)[axis] + tf.size(a.tensor), (), True)
    positions = tf.floormod(tf.range(tf.shape(a.tensor)[axis]), 7)
    place = tf.reshape(positions, [-1] + [1] * (a.rank - 1 - axis))
    return Term(a.tensor + tf.cast(place, a.tensor.dtype), a.shape)


def pick(a: Term, b: Term, number: int) -> Term | None:
    """Rows or columns by number; running totals; one-hot rows."""
    if a.rank < 2 or a.kind == "b":
        return None
    if number % 3 == 0 and isinstance(a.shape[-1], int) and a.shape[-1] > 1:
        indices = tf.constant([a.shape[-1] - 1, 0, 1])
        return replace(a, tensor=tf.gather(a.tensor, indices, axis=a.rank - 1), shape=(*a.shape[:-1], 3))
    if number % 3 == 1 and a.kind == "f" and isinstance(a.shape[-1], int):
        return Term(tf.cumsum(a.tensor * 0.25, a.rank - 1), a.shape)
    if a.is_exact and isinstance(a.shape[-1], int):
        return Term(tf.argmax(a.tensor, a.rank - 1), a.shape[:-1], True)
    return None


OPERATIONS: list[Operation] = [
    *(
        SMOOTH,
        SMOOTH,
        SHARP,
        ARITHMETIC,
        ARITHMETIC,
        ARITHMETIC,
        EXTREME,
        compare,
        choose,
        cast,
        reduce,
        reduce,
    ),
    *(reduce, normalize, move, move, move, join, multiply, multiply, count, pick, INTEGER, LOGIC),
]
EXACT: list[Operation] = [SHARP, EXTREME, compare, choose, cast, reduce, reduce, move, join, INTEGER, LOGIC]


def build(
    recipe: Recipe, dtype: str, known: int | None = None, operations: Sequence[Operation] = OPERATIONS
) -> Graph:
    """Carries out a recipe in the default graph.

    Args:
        recipe: for each step what to do, with which of the terms so far, and a number to choose by.
        dtype: the inputs' dtype.
        known: the size of the batch, where the graph knows it.
        operations: what to choose from.
    """
    shapes: list[tuple[Dim, ...]] = [("n", 5), ("n", 5), (5,), ("n", 1), ("n", 3, 5)]
    inputs: list[tuple[Any, tuple[Dim, ...]]] = []
    for shape in shapes:
        static = [known if d == "n" else d for d in shape]
        inputs.append((tf.placeholder(tf.as_dtype(dtype), static), shape))
    inputs.append((tf.placeholder(tf.int32, [known, 5]), ("n", 5)))
    terms = [Term(x, shape, True) for x, shape in inputs]
    for what, left, right, number in recipe:
        # The latest terms are the likeliest, so that chains grow long.
        a, b = terms[-1 - left % min(len(terms), 6)], terms[-1 - right % len(terms)]
        for step in range(len(operations)):
            made = operations[(what + step) % len(operations)](a, b, number)
            if made is not None and made.rank <= 4 and made.shape.count("n") <= 1:
                terms.append(made)
                break
    return Graph(inputs, terms)
