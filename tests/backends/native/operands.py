"""Random operands: views of views of what is fed, held or computed, of sizes that a graph knows or does not know.

Every dimension has a size for each of two runs. What a tensor should be is asked of the reference backend as soon as
it is built, so that an operation is simply tried: one that does not fit is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tahr as tf
from tahr.core.opdef import Array

Dim = tuple[int, int]
"""A size in the first run, and in the second."""
Dims = tuple[Dim, ...]

# What is larger may overflow in a gradient, or lose the digits that make a term exact.
MOST = {"float64": 1e4, "float32": 1e3, "float16": 50.0, "bfloat16": 50.0}
MISFITS = (ValueError, TypeError, NotImplementedError, tf.errors.OpError)


class Misfit(Exception):
    """An operation does not fit its operands."""


@dataclass(frozen=True)
class Term:
    """A tensor.

    Attributes:
        tensor: the tensor.
        values: what it is in each run.
        is_exact: whether it is the same on every backend to the last bit.
    """

    tensor: Any
    values: tuple[Array, ...]
    is_exact: bool

    @property
    def dims(self) -> Dims:
        """Its sizes."""
        first, second = (v.shape for v in self.values)
        return tuple(zip(first, second))

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return self.values[0].ndim


class Maker:
    """Makes operands and terms in the default graph, as a list of numbers says.

    Args:
        numbers: they make all choices; behind the last there are zeros.
        dtype: of the operands.
    """

    def __init__(self, numbers: Sequence[int], dtype: str) -> None:
        self.dtype = tf.as_dtype(dtype)
        self.feeds: tuple[dict[Any, Array], ...] = ({}, {})
        self.inputs: list[Any] = []
        self.session = tf.Session(backend="numpy")
        self._numbers = iter(numbers)
        self._free: Dim = (self.number(8), self.number(8))  # a size that differs between the runs

    # ------------------------------------------------------------ choices

    def number(self, count: int) -> int:
        """0 to count - 1."""
        return next(self._numbers, 0) % count

    def flip(self) -> bool:
        """Yes or no."""
        return self.number(2) == 1

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of some."""
        return choices[self.number(len(choices))]

    def order(self, count: int) -> list[int]:
        """A permutation."""
        rest = list(range(count))
        return [rest.pop(self.number(len(rest))) for _ in range(count)]

    def dim(self) -> Dim:
        """A size; often the one that differs, sometimes 1 or 0."""
        first, second = self._free
        same = [(n, n) for n in (2, 3, 1, 5, 4, 17, 0)]
        return self.pick([*same, self._free, (first + 1, second + 1), (2 * first, 2 * second)])

    def dims(self, least: int, most: int) -> Dims:
        """Some sizes."""
        return tuple(self.dim() for _ in range(least + self.number(most - least + 1)))

    # ------------------------------------------------------------ operands

    def operand(self, dims: Dims, depth: int = 2) -> Term:
        """A tensor of given sizes: given, or a view of another one."""
        for _ in range(3):
            try:
                return self.pick(_VIEWS)(self, dims, depth - 1) if depth else self.given(dims)
            except Misfit:
                continue
        return self.given(dims)

    def given(self, dims: Dims) -> Term:
        """A constant, or what is fed, of sizes that the graph knows or does not know."""
        values = tuple(self._numbers_of(tuple(d[run] for d in dims)) for run in (0, 1))
        if self.number(4) == 0 and values[0].shape == values[1].shape:
            return Term(tf.constant(values[0]), (values[0], values[0]), True)
        shape = [a if a == b and self.flip() else None for a, b in dims]
        fed = tf.placeholder(self.dtype, shape)
        self.inputs.append(fed)
        for feeds, value in zip(self.feeds, values):
            feeds[fed] = value
        return Term(fed, values, True)

    def _numbers_of(self, shape: tuple[int, ...]) -> Array:
        rng = np.random.default_rng(shape)
        return np.asarray(rng.integers(-8, 9, shape) / 4).astype(self.dtype.as_numpy_dtype)

    def indices(self, dims: Dims, limit: Dim) -> Term:
        """What is fed as indices below a limit."""
        if min(limit) == 0:
            raise Misfit
        fed = tf.placeholder(self.pick([tf.int32, tf.int64]), [a if a == b else None for a, b in dims])
        values = tuple(
            np.random.default_rng(run).integers(0, limit[run], [d[run] for d in dims]) for run in (0, 1)
        )
        for feeds, value in zip(self.feeds, values):
            feeds[fed] = value.astype(fed.dtype.as_numpy_dtype)
        return Term(fed, values, True)

    def shape(self, dims: Dims) -> Any:
        """Sizes as a tensor, where the graph does not know them."""
        known = [a if a == b else None for a, b in dims]
        if None not in known:
            return known
        fed = tf.placeholder(tf.bool, known)
        for run, feeds in enumerate(self.feeds):
            feeds[fed] = np.zeros([d[run] for d in dims], bool)
        return tf.shape(fed)

    # ------------------------------------------------------------ terms

    def apply(
        self, function: Callable[..., Any], *terms: Term, exact: bool = True, jumps: bool = False
    ) -> Term:
        """The first result of an operation.

        Args:
            exact: whether it is exact where its operands are.
            jumps: whether a rounding may make a difference: then the operands must be exact.

        Raises:
            Misfit: the operation does not take these operands, or gives large numbers.
        """
        if jumps and not all(t.is_exact for t in terms):
            raise Misfit
        try:
            made = function(*(t.tensor for t in terms))
            values = tuple(self.session.run(made, feeds) for feeds in self.feeds)
        except MISFITS as error:
            raise Misfit from error
        wide = [np.abs(v[np.isfinite(v)]) for v in (np.asarray(v, np.float64) for v in values)]
        most = MOST.get(values[0].dtype.name, math.inf)
        is_large = any(w.size > 4096 or w.max(initial=0) > most for w in wide)
        if is_large or len({v.ndim for v in values}) > 1 or not all(np.isfinite(v).all() for v in values):
            raise Misfit
        # Sums of a few small multiples of 1/16 have all of their digits in float32.
        is_coarse = all((w * 16 == np.round(w * 16)).all() for w in wide)
        is_half = values[0].dtype.itemsize < 4 and values[0].dtype.kind not in "biu"
        is_exact = exact and is_coarse and (jumps or not is_half) and all(t.is_exact for t in terms)
        return Term(made, values, is_exact)


# ---------------------------------------------------------------- views


def _given(make: Maker, dims: Dims, depth: int) -> Term:
    return make.given(dims)


def _transposed(make: Maker, dims: Dims, depth: int) -> Term:
    order = make.order(len(dims))
    inner = make.operand(tuple(dims[i] for i in order), depth)
    return make.apply(lambda x: tf.transpose(x, np.argsort(order)), inner)


def _part(make: Maker, dims: Dims, depth: int) -> Term:
    if not dims:
        raise Misfit
    axis, before, behind = make.number(len(dims)), make.number(3), make.number(3)
    longer = tuple(n + before + behind for n in dims[axis])
    inner = make.operand((*dims[:axis], longer, *dims[axis + 1 :]), depth)  # pyright: ignore[reportArgumentType]
    key = (*[slice(None)] * axis, slice(before, -behind if behind else None))
    return make.apply(lambda x: x[key], inner)


def _every_second(make: Maker, dims: Dims, depth: int) -> Term:
    if not dims:
        raise Misfit
    axis, step = make.number(len(dims)), make.pick([2, -1, -2])
    longer = tuple(n * abs(step) for n in dims[axis])
    inner = make.operand((*dims[:axis], longer, *dims[axis + 1 :]), depth)  # pyright: ignore[reportArgumentType]
    return make.apply(lambda x: x[(*[slice(None)] * axis, slice(None, None, step))], inner)


def _broadcast(make: Maker, dims: Dims, depth: int) -> Term:
    narrow = tuple((1, 1) if make.flip() else d for d in dims)[make.number(len(dims) + 1) :]
    return make.apply(lambda x: tf.broadcast_to(x, make.shape(dims)), make.operand(narrow, depth))


def _squeezed(make: Maker, dims: Dims, depth: int) -> Term:
    axis = make.number(len(dims) + 1)
    return make.apply(
        lambda x: tf.squeeze(x, [axis]), make.operand((*dims[:axis], (1, 1), *dims[axis:]), depth)
    )


def _reshaped(make: Maker, dims: Dims, depth: int) -> Term:
    count = (math.prod(a for a, _ in dims), math.prod(b for _, b in dims))
    return make.apply(lambda x: tf.reshape(x, make.shape(dims)), make.operand((count,), depth))


def _item(make: Maker, dims: Dims, depth: int) -> Term:
    axis, count = make.number(len(dims) + 1), 1 + make.number(3)
    inner = make.operand((*dims[:axis], (count, count), *dims[axis:]), depth)
    return make.apply(lambda x: tf.unstack(x, count, axis)[count - 1], inner)


def _doubled(make: Maker, dims: Dims, depth: int) -> Term:
    return make.apply(lambda x: x + x, make.operand(dims, depth))


_VIEWS = [
    _given,
    _transposed,
    _part,
    _every_second,
    _broadcast,
    _squeezed,
    _reshaped,
    _item,
    _doubled,
]
"""Ways to make an operand of another one."""
