"""Forms: what kind of computation an op is.

There are hundreds of ops and some thirty forms. A backend knows forms, and no op by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tahr.core.scalar import Scalar
from tahr.core.sizes import Dim
from tahr.core.views import Selection

FormType = TypeVar("FormType", bound="Form")


class Form:
    """What kind of computation an op is. Forms of one kind are equal where their attributes are; nobody changes those.

    They are no dataclasses, whose generated methods would take half a millisecond of `import tahr` for each of them.
    """

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"

    def replaced(self: FormType, **changes: Any) -> FormType:
        """The same form but for some attributes."""
        return type(self)(**{**vars(self), **changes})


class Elementwise(Form):
    """Each output element depends on the broadcast inputs' elements at the same place.

    Attributes:
        ufunc: the NumPy ufunc with exactly this meaning, where there is one: it is the kernel, and can
            write into the storage of an input that is no longer needed.
        scalar: the function of one element in the scalar language, `scalar(*inputs, **attrs)`; None where it has
            none. It raises `scalar.Unsupported` for dtypes and attributes that it does not cover.
    """

    def __init__(self, ufunc: np.ufunc | None = None, scalar: Callable[..., Scalar] | None = None) -> None:
        self.ufunc = ufunc
        self.scalar = scalar


class Update(Form):
    """A write that changes the inputs in `effects.writes` element by element; other inputs of rank 0 broadcast.

    Attributes:
        scalar: `scalar(*inputs, **attrs)` gives the new elements of the inputs that it writes, in the order of
            `effects.writes`. It raises `scalar.Unsupported` for dtypes and attributes that it does not cover.
    """

    def __init__(self, scalar: Callable[..., tuple[Scalar, ...]]) -> None:
        self.scalar = scalar


class Reduction(Form):
    """Elements along some axes are combined into one.

    Attributes:
        combine: "add", "multiply", "maximum", "minimum", "and" or "or".
        identity: what an empty reduction gives.
    """

    def __init__(self, combine: str, identity: Any) -> None:
        self.combine = combine
        self.identity = identity


class Movement(Form):
    """Every output element is a copy of some input element, or a constant: no arithmetic."""


class Position(Movement):
    """Those elements of a tensor that lie at positions of axes; the positions may be data.

    Attributes:
        source, positions: the inputs that hold the tensor, and the positions.
        rule: `rule(*specs, **attrs)` gives the Selection of those elements; None where what is known does not say which
            they are.
        is_adjoint: whether the source holds those elements, and the output is zero elsewhere.
    """

    def __init__(
        self,
        source: int,
        positions: int,
        rule: Callable[..., Selection | None],
        is_adjoint: bool = False,
    ) -> None:
        self.source = source
        self.positions = positions
        self.rule = rule
        self.is_adjoint = is_adjoint


class Iota(Form):
    """Element i of the vector is start + i * delta: the first and the last input."""


class Contraction(Form):
    """Sums of products: matrix products and their kin."""


class Window(Form):
    """A function of windows that slide over images: convolution and pooling, and their adjoints.

    Attributes:
        kind: "convolution", "depthwise", "maximum" or "mean"; empty for anything else.
        adjoint: empty for the function itself; "images" and "filter" for its adjoint by these. "ties" is the adjoint of
            maxima by the images where each of equal maxima counts; else it is the first. "taken" is the adjoint of the
            adjoint of maxima: the elements of input 2 that lie where the maxima (input 1) of input 0 are.
        sizes: the index of an input that only says the shape of the output, or None.
    """

    def __init__(self, kind: str = "", adjoint: str = "", sizes: int | None = None) -> None:
        self.kind = kind
        self.adjoint = adjoint
        self.sizes = sizes


class PlacedMaxima(Form):
    """The maxima of windows that slide over pictures, channels last, and their places: see `max_pool_with_argmax`."""


class InPictures(Form):
    """Those elements of input 1, pictures, whose numbers input 2 holds: picture by picture, or counted through all.

    Attributes:
        is_adjoint: whether input 1 holds those elements, and they are added up where they came from: in pictures like
            those of input 0, of which only the shape counts.
    """

    def __init__(self, is_adjoint: bool = False) -> None:
        self.is_adjoint = is_adjoint


class Extent(Form):
    """A scalar that is a number of elements.

    Attributes:
        rule: `rule(*specs, **attrs)` gives it as a dimension.
    """

    def __init__(self, rule: Callable[..., Dim]) -> None:
        self.rule = rule


class Band(Form):
    """Matrices with zeros outside of a band: inputs 1 and 2 say how many diagonals are kept below and above the main.

    Negative numbers mean all of them.
    """


class WithDiagonal(Form):
    """The matrices of input 0 with input 1 as their main diagonals."""


class Reversal(Form):
    """Sequences of different lengths (input 1), each reversed up to its length.

    Attributes:
        batch, steps: the attributes that say which dimension counts the sequences, and which runs along them.
    """

    def __init__(self, batch: str, steps: str) -> None:
        self.batch = batch
        self.steps = steps


class Largest(Form):
    """The largest elements along the last axis and their places, as many as input 1 says.

    They descend; of equal ones the first come first, and NaN is larger than anything.
    """


class SortedPlace(Form):
    """The place of each element of input 1 in the same row of input 0, which ascends; NaN is larger than anything.

    Attributes:
        before_equals: whether that is before elements that are equal, or behind them.
    """

    def __init__(self, before_equals: bool) -> None:
        self.before_equals = before_equals


class AmongLargest(Form):
    """Whether the class that input 1 says is among those with the largest elements of each row of input 0.

    Ties count in. A row that holds anything infinite or NaN, or whose class does not exist, gives False.

    Attributes:
        count: `count(*specs, **attrs)` is how many count as largest; None where it is not known.
    """

    def __init__(self, count: Callable[..., int | None]) -> None:
        self.count = count


class Lookup(Form):
    """Slices of the first input, at the places that the second holds.

    Attributes:
        axes: `axes(*specs, **attrs)` gives the dimension, from 0, that the second input's elements are indices along,
            and how many leading dimensions both inputs have in common; None where they are not known. Without it the
            second input's rows are tuples of indices along the first dimensions.
        count: which input says how much of the second counts, along its first dimension; where nothing does, slices
            are zero. None where all of it counts.
    """

    def __init__(
        self, axes: Callable[..., tuple[int, int] | None] | None = None, count: int | None = None
    ) -> None:
        self.axes = axes
        self.count = count


class Accumulation(Form):
    """Slices combined at places of the output; with sums the adjoint of a `Lookup` along the first dimensions.

    What no slice goes to is 0, the product of nothing 1, the maximum and minimum of nothing the furthest finite number.

    Attributes:
        rows: which input holds the slices.
        indices: which input holds their places.
        tuples: whether those are tuples of indices along the first dimensions.
        drops_negative: whether a negative place means nowhere, instead of an error.
        combine: "add", "multiply", "maximum" or "minimum".
        count: which input says how many of the places count, from the first on; None where all do.
    """

    def __init__(
        self,
        rows: int,
        indices: int,
        tuples: bool = False,
        drops_negative: bool = False,
        combine: str = "add",
        count: int | None = None,
    ) -> None:
        self.rows = rows
        self.indices = indices
        self.tuples = tuples
        self.drops_negative = drops_negative
        self.combine = combine
        self.count = count


class Occurrences(Form):
    """How often each integer from 0 on is in the first input; those beyond the output's length do not count.

    A negative one is an error. The last input, of what each occurrence counts, is empty: each counts 1.
    """


class Scatter(Form):
    """A write that changes rows of the variable that input 0 stands for: input 1 says which, input 2 holds operands.

    Attributes:
        combine: "assign", "add", "subtract", "multiply", "divide", "minimum" or "maximum"; of rows that are named
            repeatedly, each operand is combined in order.
        tuples: whether rows are named by tuples of indices along the first dimensions.
        count: which input says how many of the rows count, from the first on; None where all do.
    """

    def __init__(self, combine: str, tuples: bool = False, count: int | None = None) -> None:
        self.combine = combine
        self.tuples = tuples
        self.count = count


class PositionWrite(Form):
    """A write to those elements of the variable that input 0 stands for that lie at positions of axes.

    Attributes:
        source, positions: the inputs that hold the new elements, and the positions.
        rule: as in `Position`; the first Spec is that of the variable's value.
    """

    def __init__(self, source: int, positions: int, rule: Callable[..., Selection | None]) -> None:
        self.source = source
        self.positions = positions
        self.rule = rule


class RowUpdate(Form):
    """A write that changes rows of the variables in `effects.writes`, element by element and one after the other.

    Attributes:
        scalar: the new elements of the variables, as in `Update`, given all inputs but `indices` and `count`.
        rows: which input holds a row for each that changes; the others are scalars.
        indices: which input says which rows of the variables change.
        count: as in `Scatter`.
    """

    def __init__(
        self, scalar: Callable[..., tuple[Scalar, ...]], rows: int, indices: int, count: int | None = None
    ) -> None:
        self.scalar = scalar
        self.rows = rows
        self.indices = indices
        self.count = count


class Distinct(Form):
    """The different elements of a vector in the order of their first occurrence, for each element its place among them.

    The first output is as long as the vector. How many of its elements count says the third; the others repeat the
    first.
    """


class Places(Form):
    """The places, tuples of indices, of the elements of input 0 that are not zero, in row-major order.

    The first output has as many rows as there are elements. How many of them count says the second; the others are
    zero.
    """


class Scattered(Form):
    """A copy of input 0 with rows changed; everything else as in `Scatter`."""

    def __init__(self, combine: str, tuples: bool = True, count: int | None = None) -> None:
        self.combine = combine
        self.tuples = tuples
        self.count = count


class Draw(Form):
    """Numbers from the random stream of the operation, which has the attributes `seed` and `seed2`.

    Attributes:
        distribution: "uniform", "normal", "truncated_normal"; or "integers", where the second and the third input are
            the bounds.
    """

    def __init__(self, distribution: str) -> None:
        self.distribution = distribution


class Classes(Draw):
    """Class numbers: for each row of input 0 as many as input 1 says, drawn with the probabilities softmax(row).

    An infinite or NaN element has none; a row of nothing else gives the number of classes.
    """

    def __init__(self) -> None:
        super().__init__("classes")


class Permutation(Draw):
    """The rows of input 0 in random order."""

    def __init__(self) -> None:
        super().__init__("permutation")


class Candidates(Draw):
    """Classes for a sampled loss, and how often those of input 0 and the drawn ones are expected among them.

    The attributes `num_sampled`, `unique` and `range_max` say how many, whether they all differ, and of how many.

    Attributes:
        sampler: "uniform", or "log_uniform" for Zipf's law.
    """

    def __init__(self, sampler: str) -> None:
        super().__init__("candidates")
        self.sampler = sampler


class Finite(Form):
    """The elements of input 0; an error where one is infinite or NaN."""


class InRange(Form):
    """The integers of input 0; an error where one is below 0, or not below the last dimension of input 1."""


class NotZero(Form):
    """The integers of input 1; an error where one is 0."""


class Check(Form):
    """An error where input 0, a truth, does not hold; nothing where it does."""


class Scan(Form):
    """Each element is combined with those before it along the axis that input 1 says.

    The attribute `exclusive` says whether its own value is left out, `reverse` whether this starts from the end.

    Attributes:
        combine: "add" or "multiply".
    """

    def __init__(self, combine: str) -> None:
        self.combine = combine


class ArgExtreme(Form):
    """The first place of an extreme along the axis that input 1 says. NaN is no extreme; all NaN gives 0.

    Attributes:
        largest: whether it is the largest element, or the smallest.
    """

    def __init__(self, largest: bool) -> None:
        self.largest = largest


class Host(Form):
    """Anything else; computed by the NumPy kernel, whatever the backend."""


ELEMENTWISE = Elementwise()
MOVEMENT = Movement()
IOTA = Iota()
HOST = Host()
