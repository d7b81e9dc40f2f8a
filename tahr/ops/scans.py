"""Scans: running sums and products along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.dtypes import INDICES, NUMBERS
from tahr.core.forms import Scan
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_int
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import elementwise as e, fills


def _scan_shape(x: Spec, axis: Spec, *, exclusive: bool, reverse: bool) -> Shape:
    along = known_int(axis)
    if x.shape is not None and along is not None:
        shapes.normalize_axis(along, len(x.shape), "scan axis")
    return x.shape


def _scan(ufunc: np.ufunc, x: Array, axis: Array, exclusive: bool, reverse: bool) -> Array:
    along = int(axis)
    if not -x.ndim <= along < x.ndim:
        raise Complaint(f"Expected scan axis in the range [{-x.ndim}, {x.ndim}), but got {along}")
    rows = np.moveaxis(x, along, 0)
    if reverse:
        rows = rows[::-1]
    # x's own layout, so that a scan along the last axis still writes contiguous memory.
    result = np.empty_like(x)
    out = np.moveaxis(result, along, 0)
    if reverse:
        out = out[::-1]
    if exclusive:
        out[:1] = ufunc.identity
        rows, out = rows[:-1], out[1:]
    ufunc.accumulate(rows, axis=0, dtype=x.dtype, out=out)
    return result


Cumsum = OpDef(
    "Cumsum",
    "x: T, axis: Tidx -> out: T",
    attrs={"exclusive": False, "reverse": False},
    types={"T": NUMBERS, "Tidx": INDICES},
    form=Scan("add"),
)
Cumsum.shape(_scan_shape)


@Cumsum.kernel
def _cumsum_kernel(x: Array, axis: Array, *, exclusive: bool, reverse: bool) -> Array:
    return _scan(np.add, x, axis, exclusive, reverse)


@Cumsum.gradient
def _cumsum_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    exclusive, reverse = op.attrs["exclusive"], op.attrs["reverse"]
    return cumsum(dy, op.inputs[1], exclusive=exclusive, reverse=not reverse), None


def cumsum(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """The running sum along an axis: [a, b, c] gives [a, a + b, a + b + c].

    Args:
        x: numbers, of rank 1 or more.
        axis: the axis, an integer.
        exclusive: whether an element's own value is left out: [0, a, a + b].
        reverse: whether to sum from the end: [a + b + c, b + c, c].
        name: the operation's name.

    Returns:
        The shape and dtype of `x`.

    Raises:
        ValueError: the axis is out of range.
    """
    with name_scope(name, "Cumsum", [x]) as scope:
        return Cumsum(x, axis, exclusive=exclusive, reverse=reverse, name=scope)


Cumprod = OpDef(
    "Cumprod",
    "x: T, axis: Tidx -> out: T",
    attrs={"exclusive": False, "reverse": False},
    types={"T": NUMBERS, "Tidx": INDICES},
    form=Scan("multiply"),
)
Cumprod.shape(_scan_shape)


@Cumprod.kernel
def _cumprod_kernel(x: Array, axis: Array, *, exclusive: bool, reverse: bool) -> Array:
    return _scan(np.multiply, x, axis, exclusive, reverse)


@Cumprod.gradient
def _cumprod_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    """dx_k is the sum of dy_i y_i / x_k over the i that x_k is part of.

    Where x_k is 0 this is 0 / 0. The first zero of each row gets what y would be with 1 in its place; past it
    every y is 0, and the quotient is 0 whatever divides it. (TensorFlow 1.15 gives NaN there.)
    """
    x, axis = op.inputs
    exclusive, reverse = op.attrs["exclusive"], op.attrs["reverse"]

    def total(y: Tensor) -> Tensor:
        return cumsum(e.multiply(e.conj(y), dy), axis, exclusive=exclusive, reverse=not reverse)

    one = fills.ones_like(x)
    is_zero = e.equal(x, fills.zeros_like(x))
    zeros_so_far = cumsum(e.cast(is_zero, dtypes.int32), axis, reverse=reverse)
    is_first = e.logical_and(is_zero, e.equal(zeros_so_far, 1))
    without_first = cumprod(e.select(is_first, one, x), axis, exclusive=exclusive, reverse=reverse)
    elsewhere = e.realdiv(total(op.outputs[0]), e.conj(e.select(is_zero, one, x)))
    return e.select(is_first, total(without_first), elsewhere), None


def cumprod(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """The running product along an axis: [a, b, c] gives [a, a b, a b c]. Arguments as in `cumsum`."""
    with name_scope(name, "Cumprod", [x]) as scope:
        return Cumprod(x, axis, exclusive=exclusive, reverse=reverse, name=scope)
