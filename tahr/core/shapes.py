"""Shapes as shape rules see them, and as users see them.

A rule works on plain tuples of dimensions (`sizes.Dim`), or None where not even the rank is known. Users see
`TensorShape` and `Dimension`, TensorFlow's classes. A `Spec` is all that is known of a tensor: dtype, shape and, for
small integer tensors that usually hold shapes, the (partly known) value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


class Dimension:
    """One dimension of a `TensorShape`: `value` is an integer, or None where it is not known."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, Dimension):
            value = value.value
        if value is not None:
            if isinstance(value, (float, np.floating)) and not float(value).is_integer():
                raise ValueError(f"Ambiguous dimension: {value}")
            try:
                value = int(value)
            except (TypeError, ValueError):
                raise TypeError(f"Dimension value must be integer or None, got {value!r}") from None
            if value < 0:
                raise ValueError(f"Dimension {value} must be >= 0")
        self._value: int | None = value

    @property
    def value(self) -> int | None:
        """The size, or None."""
        return self._value

    def __repr__(self) -> str:
        return f"Dimension({self._value})"

    def __str__(self) -> str:
        return "?" if self._value is None else str(self._value)

    def __eq__(self, other: object) -> Any:
        try:
            other = as_dimension(other)
        except (TypeError, ValueError):
            return NotImplemented
        # TensorFlow answers None, which is false, where either is unknown.
        return None if self._value is None or other.value is None else self._value == other.value

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented or equal is None else not equal

    def __hash__(self) -> int:
        return hash(self._value)

    def __int__(self) -> int:
        if self._value is None:
            raise TypeError("__int__ returned non-int (type NoneType): the dimension is not known")
        return self._value

    __index__ = __int__

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the two may be the same size."""
        other = as_dimension(other)
        return self._value is None or other.value is None or self._value == other.value

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError unless the two may be the same size."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {other} are not compatible")

    def merge_with(self, other: Any) -> Dimension:
        """What the two say together. Raises ValueError where they differ."""
        other = as_dimension(other)
        self.assert_is_compatible_with(other)
        return other if self._value is None else self

    def _arithmetic(self, other: Any, operation: Any) -> Any:
        try:
            other = as_dimension(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._value is None or other.value is None:
            return Dimension(None)
        return Dimension(operation(self._value, other.value))

    def __add__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: b // a)

    def __truediv__(self, other: Any) -> Any:
        raise TypeError(
            f"unsupported operand type(s) for /: 'Dimension' and '{type(other).__name__}', please use // instead"
        )

    def __rtruediv__(self, other: Any) -> Any:
        raise TypeError(
            f"unsupported operand type(s) for /: '{type(other).__name__}' and 'Dimension', please use // instead"
        )

    def __mod__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a % b)

    def __rmod__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: b % a)

    def _compare(self, other: Any, operation: Any) -> Any:
        other = as_dimension(other)
        return None if self._value is None or other.value is None else operation(self._value, other.value)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a >= b)

    def __reduce__(self) -> Any:
        return Dimension, (self._value,)


def as_dimension(value: Any) -> Dimension:
    """Converts None, an integer or a Dimension to a `Dimension`."""
    return value if isinstance(value, Dimension) else Dimension(value)


def dimension_value(dimension: Any) -> Any:
    """The integer (or None) of a Dimension; anything else as it is."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


def _dim(value: Any) -> Dim:
    """A dimension as shape rules want it, from what users write: None, an integer, a Dimension."""
    if value is None or isinstance(value, Unknown):
        return UNKNOWN
    if (type(value) is int and value >= 0) or isinstance(value, Size):
        return value
    known = as_dimension(value).value
    return UNKNOWN if known is None else known


class TensorShape:
    """The possibly unknown shape of a tensor.

    Args:
        dims: None for an unknown rank, an iterable of None, integers and Dimensions, or another TensorShape;
            an integer makes a vector's shape.

    Raises:
        ValueError: for a negative dimension.  TypeError: for something that is no dimension.
    """

    __slots__ = ("_dims",)

    def __init__(self, dims: Any) -> None:
        self._dims: Shape = as_shape(dims)

    @property
    def raw(self) -> Shape:
        """The shape as shape rules see it."""
        return self._dims

    @property
    def dims(self) -> list[Dimension] | None:
        """The dimensions, or None where the rank is unknown."""
        return None if self._dims is None else [_facade(d) for d in self._dims]

    @property
    def ndims(self) -> int | None:
        """The rank, or None."""
        return None if self._dims is None else len(self._dims)

    @property
    def rank(self) -> int | None:
        """The rank, or None."""
        return self.ndims

    def _known_rank(self) -> tuple[Dim, ...]:
        if self._dims is None:
            raise ValueError("Cannot take the length of shape with unknown rank.")
        return self._dims

    def __len__(self) -> int:
        return len(self._known_rank())

    def __bool__(self) -> bool:
        return self._dims is not None

    def __iter__(self) -> Iterator[Dimension]:
        if self._dims is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return iter([_facade(d) for d in self._dims])

    def __getitem__(self, key: Any) -> Any:
        if self._dims is not None:
            if isinstance(key, slice):
                return TensorShape(self._dims[key])
            return _facade(self._dims[key])
        if not isinstance(key, slice):
            return Dimension(None)
        # The length of some slices of an unknown shape is known.
        start = key.start if key.start is not None else 0
        if key.step is None and key.stop is not None and start >= 0 and key.stop >= start:
            return TensorShape([None] * (key.stop - start))
        return TensorShape(None)

    def num_elements(self) -> int | None:
        """The number of elements, or None where some dimension is unknown."""
        count = num_elements(self._dims)
        return count if isinstance(count, int) else None

    def as_list(self) -> list[int | None]:
        """The dimensions as integers and None.

        Raises:
            ValueError: where the rank is unknown.
        """
        if self._dims is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return [d if isinstance(d, int) else None for d in self._dims]

    def is_fully_defined(self) -> bool:
        """Whether every dimension is known."""
        return is_static(self._dims)

    def assert_is_fully_defined(self) -> None:
        """Raises ValueError unless every dimension is known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether some concrete shape is described by both."""
        return compatible(self._dims, as_shape(other))

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError unless some concrete shape is described by both."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {TensorShape(other)} are incompatible")

    def assert_same_rank(self, other: Any) -> None:
        """Raises ValueError where both ranks are known and differ."""
        other = TensorShape(other)
        if self.ndims is not None and other.ndims is not None and self.ndims != other.ndims:
            raise ValueError(f"Shapes {self} and {other} must have the same rank")

    def assert_has_rank(self, rank: int) -> None:
        """Raises ValueError where the rank is known and another."""
        if self.ndims not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}")

    def with_rank(self, rank: int) -> TensorShape:
        """This shape, known to have `rank` dimensions. Raises ValueError where it has another rank."""
        try:
            return self.merge_with([None] * rank)
        except ValueError:
            raise ValueError(f"Shape {self} must have rank {rank}") from None

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """This shape. Raises ValueError where it is known to have fewer dimensions."""
        if self.ndims is not None and self.ndims < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """This shape. Raises ValueError where it is known to have more dimensions."""
        if self.ndims is not None and self.ndims > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}")
        return self

    def merge_with(self, other: Any) -> TensorShape:
        """What the two shapes say together. Raises ValueError where they contradict each other."""
        other = TensorShape(other)
        try:
            return TensorShape(merge(self._dims, other.raw))
        except ValueError:
            raise ValueError(f"Shapes {self} and {other} are not compatible") from None

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The most precise shape that is true of both."""
        return TensorShape(join(self._dims, as_shape(other)))

    def concatenate(self, other: Any) -> TensorShape:
        """The dimensions of this shape followed by those of `other`."""
        other = as_shape(other)
        return TensorShape(None if self._dims is None or other is None else self._dims + other)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __eq__(self, other: object) -> bool:
        try:
            shape = as_shape(other)
        except (TypeError, ValueError):
            return NotImplemented
        return self._dims == shape

    def __ne__(self, other: object) -> bool:
        try:
            shape = as_shape(other)
        except (TypeError, ValueError):
            return NotImplemented
        # TensorFlow refuses to call two shapes different where either is partly unknown.
        if self._dims is None or shape is None:
            raise ValueError("The inequality of unknown TensorShapes is undefined.")
        return self._dims != shape

    def __hash__(self) -> int:
        return hash(self._dims)

    def __repr__(self) -> str:
        return "TensorShape(None)" if self._dims is None else f"TensorShape({self.dims!r})"

    def __str__(self) -> str:
        if self._dims is None:
            return "<unknown>"
        return f"({self._dims[0]},)" if len(self._dims) == 1 else f"({', '.join(map(str, self._dims))})"

    def __reduce__(self) -> Any:
        return TensorShape, (None if self._dims is None else self.as_list(),)


def _facade(dim: Dim) -> Dimension:
    return Dimension(dim if isinstance(dim, int) else None)


def as_shape(value: Any) -> Shape:
    """The tuple of dimensions (or None) for whatever users write as a shape.

    Raises:
        ValueError: for a negative dimension.  TypeError: for something that is no dimension.
    """
    if isinstance(value, TensorShape):
        return value.raw
    if value is None:
        return None
    if isinstance(value, (str, bytes)):
        raise TypeError(f"Dimension value must be integer or None, got {value!r}")
    if isinstance(value, (int, np.integer, Dimension)):
        return (_dim(value),)
    return tuple(map(_dim, value))


def unknown_shape(rank: int | None = None, **kwargs: Any) -> TensorShape:
    """A shape of `rank` unknown dimensions, or of unknown rank."""
    rank = kwargs.pop("ndims", rank)
    return TensorShape(None if rank is None else [None] * rank)


def scalar() -> TensorShape:
    """The shape of a scalar."""
    return TensorShape(())


def vector(length: Any) -> TensorShape:
    """The shape of a vector."""
    return TensorShape([length])


def matrix(rows: Any, columns: Any) -> TensorShape:
    """The shape of a matrix."""
    return TensorShape([rows, columns])
