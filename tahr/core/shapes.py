"""Shapes as shape rules see them; what users see is in `tensor_shapes.py`.

A rule works on plain tuples of dimensions (`sizes.Dim`), or None where not even the rank is known. A `Spec` is all that
is known of a tensor: dtype, shape and, for small integer tensors that usually hold shapes, the (partly known) value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tahr import errors
from tahr.core import sizes
from tahr.core.dtypes import DType
from tahr.core.sizes import UNKNOWN, Dim, Size, Unknown

Shape = tuple[Dim, ...] | None

# Values larger than this are not propagated: they are data, not shapes.
MAX_VALUE_SIZE = 64


class Items(NamedTuple):
    """What holds of every item that a list has, or will ever be asked for.

    Attributes:
        dtype: their dtype; None where there are no items yet, and whatever comes decides.
        shape: their shape.
        items: where they are lists themselves, what holds of those lists' items.
    """

    dtype: DType | None = None
    shape: Shape = None
    items: Items | None = None

    @property
    def innermost(self) -> Items:
        """What holds of what is no list, in lists of lists."""
        return self if self.items is None else self.items.innermost

    def of_shape(self, shape: Shape) -> Items:
        """The same, where what is no list has another shape."""
        if self.items is None:
            return self._replace(shape=shape)
        return self._replace(items=self.items.of_shape(shape))


class Range(NamedTuple):
    """The least and the most that an integer scalar can be.

    Attributes:
        least: it is not less.
        most: it is not more.
    """

    least: Dim
    most: Dim


class Spec(NamedTuple):
    """What is known of a tensor before it is computed.

    Attributes:
        dtype: its base dtype; None only below a `placeholder()` without one.
        shape: a tuple of dimensions, or None for an unknown rank.
        value: for small integer tensors an object array of `Dim`s, partly known; else None.
        items: for a list of tensors what is known of its items; None where nothing is.
        within: for the counter of a loop around, its range.
    """

    dtype: DType | None
    shape: Shape
    value: np.ndarray[Any, Any] | None = None
    items: Items | None = None
    within: Range | None = None

    @property
    def rank(self) -> int | None:
        """The number of dimensions, or None."""
        return None if self.shape is None else len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is an integer."""
        return self.shape is not None and all(type(d) is int for d in self.shape)

    @property
    def key(self) -> tuple[Any, ...]:
        """A hashable form."""
        value = None if self.value is None else (self.value.shape, tuple(self.value.flat))
        return (self.dtype, self.shape, value, self.items, self.within)


def dims(shape: Shape, rank: int) -> tuple[Dim, ...]:
    """The dimensions of a shape that must have `rank` of them; unknown ones where the rank is not known.

    Raises:
        ValueError: for another rank, with TensorFlow's key phrase.
    """
    if shape is None:
        return (UNKNOWN,) * rank
    if len(shape) != rank:
        raise ValueError(f"Shape must be rank {rank} but is rank {len(shape)}, shape {show(shape)}")
    return shape


def show(shape: Shape) -> str:
    """A shape as TensorFlow's errors print it: [32,?]; <unknown> for an unknown rank."""
    return "<unknown>" if shape is None else "[" + ",".join(map(str, shape)) + "]"


def broadcast(*shapes: Shape) -> Shape:
    """The shape that shapes broadcast to, by NumPy's rules.

    Raises:
        ValueError: where they do not.
    """
    result: Shape = ()
    for shape in shapes:
        if shape is None or result is None:
            result = None
            continue
        if shape == result:  # UNKNOWN == UNKNOWN here: broadcasting the two gives UNKNOWN again
            continue
        longer, shorter = (shape, result) if len(shape) > len(result) else (result, shape)
        lead = len(longer) - len(shorter)
        try:
            tail = tuple(map(sizes.broadcast, longer[lead:], shorter))
        except ValueError:
            raise _cannot_broadcast(result, shape) from None
        result = longer[:lead] + tail
    return result


def _cannot_broadcast(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> errors.Complaint:
    """The complaint about the last pair of dimensions that differ, with TensorFlow's key phrase."""
    for x, y in zip(reversed(a), reversed(b)):
        try:
            sizes.broadcast(x, y)
        except ValueError:
            return errors.Complaint(
                f"Dimensions must be equal, but are {x} and {y}: {show(a)} does not broadcast with {show(b)}",
                "dimensions broadcast where they are equal or one of them is 1; tf.expand_dims adds one of size 1",
            )
    raise AssertionError("the shapes do broadcast")


def merge_dims(a: Dim, b: Dim) -> Dim:
    """What two statements about the same dimension say together.

    Raises:
        ValueError: where they contradict each other.
    """
    if isinstance(a, Unknown):
        return b
    if isinstance(b, Unknown) or a == b:
        return a
    if isinstance(a, int) and isinstance(b, int):
        raise ValueError(f"Dimensions {a} and {b} are not compatible")
    sizes.note_equal(a, b)
    return a if isinstance(a, int) else b


def merge(a: Shape, b: Shape) -> Shape:
    """What two statements about the same shape say together.

    Raises:
        ValueError: where they contradict each other, with TensorFlow's key phrase.
    """
    if a is None:
        return b
    if b is None or a == b:
        return a
    if len(a) != len(b):
        raise ValueError(
            f"Shapes must be equal rank, but are {len(a)} and {len(b)}: "
            f"shapes {show(a)} and {show(b)} must have the same rank"
        )
    for i, (x, y) in enumerate(zip(a, b)):
        if type(x) is int and type(y) is int and x != y:
            raise ValueError(
                f"Dimension {i} in both shapes must be equal, but are {x} and {y}: "
                f"shapes {show(a)} and {show(b)} are not compatible"
            )
    return tuple(map(merge_dims, a, b))


def join(a: Shape, b: Shape) -> Shape:
    """The most precise shape that is true of both: what is known of a value that is one or the other."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if sizes.surely_equal(x, y) else UNKNOWN for x, y in zip(a, b))


def join_items(a: Items | None, b: Items | None) -> Items | None:
    """What is known of the items of a list that is one or the other, or has items of both."""
    if a is None or b is None:
        return None
    if a.dtype is None or b.dtype is None:
        return b if a.dtype is None else a
    return (
        Items(a.dtype, join(a.shape, b.shape), join_items(a.items, b.items)) if a.dtype is b.dtype else None
    )


def compatible(a: Shape, b: Shape) -> bool:
    """Whether some concrete shape is described by both."""
    try:
        merge(a, b)
    except ValueError:
        return False
    return True


def surely_equal(a: Shape, b: Shape) -> bool:
    """Whether two shapes are known to be the same."""
    return a is not None and b is not None and len(a) == len(b) and all(map(sizes.surely_equal, a, b))


def is_static(shape: Shape) -> bool:
    """Whether every dimension is an integer."""
    return shape is not None and all(type(d) is int for d in shape)


def num_elements(shape: Shape) -> Dim:
    """The number of elements; UNKNOWN where some dimension is."""
    if shape is None:
        return UNKNOWN
    count: Dim = 1
    for dim in shape:
        count = count * dim
    return count


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """An axis counted from the front. Raises ValueError where it is not in [-rank, rank)."""
    if not -rank <= axis < rank:
        raise ValueError(f"Invalid {what} {axis}: it must be in the range [{-rank}, {rank})")
    return axis % rank


def reduced(shape: Shape, axes: np.ndarray[Any, Any] | None, keep_dims: bool) -> Shape:
    """The shape of a reduction.

    Args:
        shape: the input's shape.
        axes: the known axes (an object array of rank 0 or 1), or None where they are computed.
        keep_dims: whether reduced dimensions stay, with size 1.
    """
    if shape is None:
        return None
    if axes is None or any(isinstance(a, (Unknown, Size)) for a in axes.flat):
        return (UNKNOWN,) * len(shape) if keep_dims else None
    gone = {normalize_axis(int(a), len(shape), "reduction dimension") for a in axes.flat}
    if keep_dims:
        return tuple(1 if i in gone else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def from_value(value: np.ndarray[Any, Any] | None, length: Dim = UNKNOWN) -> Shape:
    """The shape that a (partly known) shape tensor's value describes; a -1 says nothing.

    Args:
        value: an object array of rank 1, or None where nothing is known of the tensor's value.
        length: the number of elements of the tensor, which is the rank where `value` is None.
    """
    if value is None:
        return (UNKNOWN,) * length if isinstance(length, int) else None
    return tuple(UNKNOWN if isinstance(d, int) and d < 0 else d for d in value.ravel().tolist())


def as_value(dimensions: Iterable[Dim]) -> np.ndarray[Any, Any]:
    """A shape as the (partly known) value of a tensor: an object array of rank 1."""
    return np.array(list(dimensions), dtype=object)
