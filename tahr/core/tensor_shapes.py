"""Shapes as users see them: `TensorShape` and `Dimension`, TensorFlow's classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.shapes import Shape
from tahr.core.sizes import UNKNOWN, Dim, Size, Unknown


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
        count = shapes.num_elements(self._dims)
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
        return shapes.is_static(self._dims)

    def assert_is_fully_defined(self) -> None:
        """Raises ValueError unless every dimension is known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether some concrete shape is described by both."""
        return shapes.compatible(self._dims, as_shape(other))

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
            return TensorShape(shapes.merge(self._dims, other.raw))
        except ValueError:
            raise ValueError(f"Shapes {self} and {other} are not compatible") from None

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The most precise shape that is true of both."""
        return TensorShape(shapes.join(self._dims, as_shape(other)))

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
