"""Orders of the same elements: transpose, reverse, and the inverse of a permutation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.core.views import View
from tahr.errors import Complaint
from tahr.ops.ranges import range_
from tahr.ops.shaping import rank, same_shape

Transpose = OpDef("Transpose", "x: T, perm: Tperm -> y: T", types={"Tperm": dtypes.INDICES},
                  form=MOVEMENT, aliases=(0,))  # fmt: skip


@Transpose.shape
def _transpose_shape(x: Spec, perm: Spec) -> Shape:
    if perm.shape is not None:
        (length,) = shapes.dims(perm.shape, 1)
        if x.shape is None:
            return (UNKNOWN,) * length if isinstance(length, int) else None
        if isinstance(length, int) and length != len(x.shape):
            raise Complaint(
                f"Dimension must be {len(x.shape)} but is {length}: perm has one entry a dimension"
            )
    if x.shape is None:
        return None
    order = known_ints(perm)
    if order is None:
        return (UNKNOWN,) * len(x.shape)
    _check_permutation(order)
    return tuple(x.shape[axis] for axis in order)


def _check_permutation(perm: Sequence[int]) -> None:
    for axis in perm:
        if not -len(perm) <= axis < len(perm):
            raise Complaint(f"perm dim {axis} is out of range of input rank {len(perm)}")
    if len({axis % len(perm) for axis in perm}) != len(perm):
        raise Complaint(f"perm {list(perm)} is not a permutation: a dimension occurs twice")


@Transpose.kernel
def _transpose_kernel(x: Array, perm: Array) -> Array:
    if perm.size != x.ndim:
        raise Complaint(
            f"transpose expects a vector of size {x.ndim}. But input(1) is a vector of size {perm.size}"
        )
    order = perm.tolist()
    _check_permutation(order)
    return x.transpose(order)


@Transpose.view
def _transpose_view(x: View, _: Spec, perm: Spec, *, outs: Sequence[Spec]) -> View | None:
    order = known_ints(perm)
    return None if order is None else x.transposed(order)


@Transpose.gradient
def _transpose_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return transpose(dy, _inverse(op.inputs[1])), None


ConjugateTranspose = OpDef("ConjugateTranspose", "x: T, perm: Tperm -> y: T", types={"Tperm": dtypes.INDICES})
ConjugateTranspose.shape(_transpose_shape)


@ConjugateTranspose.kernel
def _conjugate_transpose_kernel(x: Array, perm: Array) -> Array:
    return np.conj(_transpose_kernel(x, perm))


@ConjugateTranspose.gradient
def _conjugate_transpose_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return transpose(dy, _inverse(op.inputs[1]), conjugate=True), None


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """The dimensions of a tensor in another order.

    Args:
        a: any tensor.
        perm: [rank]: dimension i of the result is dimension perm[i] of `a`; reversed by default.
        name: the operation's name.
        conjugate: whether complex elements are conjugated.
    """
    with name_scope(name, "transpose", [a]) as scope:
        x = convert.convert_to_tensor(a, name="a")
        conjugates = conjugate and x.spec.dtype is not None and x.spec.dtype.is_complex
        definition = ConjugateTranspose if conjugates else Transpose
        if perm is None:
            perm = _reversed_axes(x)
        return definition(x, perm, name=scope)


def _reversed_axes(x: Tensor) -> Any:
    """[rank - 1, ..., 0] for the rank of `x`."""
    if x.spec.rank is not None:
        return np.arange(x.spec.rank - 1, -1, -1, dtype=np.int32)
    return reverse(range_(rank(x)), [0])


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """The last two dimensions exchanged: [..., m, n] becomes [..., n, m].

    Raises:
        ValueError: `a` has fewer than two dimensions, or an unknown rank.
    """
    with name_scope(name, "matrix_transpose", [a]):
        x = convert.convert_to_tensor(a, name="a")
        ndims = x.spec.rank
        if ndims is None:
            raise ValueError("matrix_transpose needs a tensor of known rank; give it one with set_shape")
        if ndims < 2:
            raise ValueError(
                "Argument 'a' should be a (batch) matrix, with rank >= 2.  "
                f"Found: {shapes.show(x.spec.shape)}"
            )
        perm = [*range(ndims - 2), ndims - 1, ndims - 2]
        return transpose(x, perm, conjugate=conjugate)


InvertPermutation = OpDef("InvertPermutation", "x: T -> y: T", types={"T": dtypes.INDICES})
InvertPermutation.shape(same_shape)
InvertPermutation.not_differentiable()


@InvertPermutation.kernel
def _invert_permutation_kernel(x: Array) -> Array:
    if not np.array_equal(np.sort(x), np.arange(x.size)):
        raise Complaint(f"{x.tolist()} is not a permutation of 0 to {x.size - 1}")
    inverse = np.empty_like(x)
    inverse[x] = np.arange(x.size, dtype=x.dtype)
    return inverse


@InvertPermutation.value
def _invert_permutation_value(x: Spec) -> Array | None:
    order = known_ints(x)
    return (
        None if order is None else _invert_permutation_kernel(np.array(order, dtype=np.int64)).astype(object)
    )


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """The inverse of a permutation of 0 ... n-1: y[x[i]] = i. Both are [n], int32 or int64."""
    return InvertPermutation(x, name=name)


def _inverse(perm: Tensor) -> Any:
    """The inverse of a permutation that may count from the end; an array where it is known."""
    known = convert.constant_value(perm)
    return invert_permutation(perm) if known is None else np.argsort(known % known.size).astype(known.dtype)


ReverseV2 = OpDef("ReverseV2", "tensor: T, axis: Tidx -> output: T", types={"Tidx": dtypes.INDICES},
                  form=MOVEMENT, aliases=(0,))  # fmt: skip


@ReverseV2.shape
def _reverse_shape(x: Spec, axis: Spec) -> Shape:
    axes = known_ints(axis)
    if x.shape is not None and axes is not None:
        unique_axes(axes, len(x.shape))
    return x.shape


def unique_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front. Raises Complaint where one is out of range or occurs twice."""
    if len(axes) == 1 and 0 <= axes[0] < rank:  # nearly always
        return (axes[0],)
    normal = tuple(axis % rank if -rank <= axis < rank else -1 for axis in axes)
    for axis, place in zip(axes, normal):
        if place < 0:
            raise Complaint(f"Invalid dimension {axis}: it must be in the range [{-rank}, {rank})")
        if normal.count(place) > 1:
            raise Complaint(f"axis {axis} specified more than once")
    return normal


@ReverseV2.kernel
def _reverse_kernel(x: Array, axis: Array) -> Array:
    return np.flip(x, unique_axes(axis.ravel().tolist(), x.ndim))


@ReverseV2.view
def _reverse_view(x: View, _: Spec, axis: Spec, *, outs: Sequence[Spec]) -> View | None:
    axes = known_ints(axis)
    return None if axes is None else x.reversed(unique_axes(axes, len(x.shape)))


@ReverseV2.gradient
def _reverse_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return reverse(dy, op.inputs[1]), None


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """The elements in reverse order along some dimensions.

    Args:
        tensor: any tensor.
        axis: [n], the dimensions to reverse.
        name: the operation's name.
    """
    return ReverseV2(tensor, axis, name=name)
