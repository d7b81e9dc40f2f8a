"""Loop nests: what a fused group of element-wise operations and reductions computes.

A nest runs over rows and columns, each a run of dimensions. An expression may depend on both, on the row alone, on the
column alone, or on neither. Reductions go

* over the columns of a row ("row"): their results are used further in the same row, so softmax, its cross-entropy
  and layer normalisation are one nest;
* over the rows ("column"), as in a bias's gradient, or over everything ("all"), as in a loss: their results leave the
  nest.

`nest_kernels` makes code of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tahr.core import dtypes, scalar, sizes
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar
from tahr.core.sizes import Dim


@dataclass(frozen=True)
class Access:
    """Where a nest reads or writes the elements of one buffer.

    Attributes:
        dtype: what they are.
        strides: for each row and column dimension, in elements.
        offset: the place of the first element.
    """

    dtype: DType
    strides: tuple[Dim, ...]
    offset: Dim = 0


@dataclass(frozen=True)
class Position:
    """An input that is no memory: the index along one dimension.

    Attributes:
        dtype: its type.
        axis: the dimension.
    """

    dtype: DType
    axis: int


@dataclass(frozen=True)
class Extent:
    """An input that is no memory: a size.

    Attributes:
        dtype: its type.
        count: the size.
    """

    dtype: DType
    count: Dim


Source = Access | Position | Extent


@dataclass(frozen=True)
class Reduce:
    """One reduction.

    Attributes:
        combine: as in `forms.Reduction`.
        over: "row", "column" or "all".
        what: the expression of an element.
        dtype: the dtype of the result.
    """

    combine: str
    over: str
    what: Scalar
    dtype: DType

    @property
    def accumulator(self) -> DType:
        """The type in which elements are combined: halves in float32."""
        return dtypes.float32 if self.dtype in scalar.HALVES else self.dtype


@dataclass(frozen=True)
class Nest:
    """A loop nest.

    Leaf i of the expressions is input i; leaf `len(inputs) + j` is the result of reduction j, which goes over rows.

    Attributes:
        rows, columns: the sizes of the dimensions.
        inputs: what is read.
        reduces: the reductions.
        stores: expressions, and where their values go. What does not depend on columns is stored once for each row.
    """

    rows: tuple[Dim, ...]
    columns: tuple[Dim, ...]
    inputs: tuple[Source, ...]
    reduces: tuple[Reduce, ...]
    stores: tuple[tuple[Scalar, Access], ...]

    @property
    def expressions(self) -> list[Scalar]:
        """Everything that is computed."""
        return [r.what for r in self.reduces] + [e for e, _ in self.stores]

    @property
    def leaving(self) -> list[int]:
        """The reductions whose results leave the nest."""
        return [i for i, r in enumerate(self.reduces) if r.over != "row"]


class Bound(NamedTuple):
    """A kernel's call for exact sizes.

    Attributes:
        sizes: the table of sizes.
        tiles: how many tiles there are.
        scratch: how many bytes of scratch each thread needs.
    """

    sizes: tuple[int, ...]
    tiles: int
    scratch: int = 0


# ---------------------------------------------------------------- fewer dimensions


def collapsed(nest: Nest) -> Nest:
    """The same nest with neighbouring dimensions merged wherever every access allows it."""
    nest = _merge(nest, 0, len(nest.rows))
    nest = _merge(nest, len(nest.rows), len(nest.rows) + len(nest.columns))
    if not any(r.over == "row" for r in nest.reduces):
        nest = _flat(nest)
    if not nest.columns:
        accesses = [replace(a, strides=(*a.strides, 0)) if isinstance(a, Access) else a for a in nest.inputs]
        stores = [(e, replace(a, strides=(*a.strides, 0))) for e, a in nest.stores]
        nest = replace(nest, columns=(1,), inputs=tuple(accesses), stores=tuple(stores))
    return nest


def _merge(nest: Nest, first: int, end: int) -> Nest:
    """Merges what can be merged among the dimensions from `first` to `end`, and drops those of size 1."""
    axis = first
    while axis < end:
        dims = [*nest.rows, *nest.columns]
        if dims[axis] == 1 and not _has_position(nest, axis):
            nest, end = _without(nest, axis, None), end - 1
        elif axis + 1 < end and _can_merge(nest, axis, dims[axis + 1]):
            nest, end = _without(nest, axis, dims[axis] * dims[axis + 1]), end - 1
        else:
            axis += 1
    return nest


def _has_position(nest: Nest, axis: int) -> bool:
    return any(isinstance(a, Position) and a.axis == axis for a in nest.inputs)


def accesses(nest: Nest) -> list[Access]:
    """Where a nest reads and writes memory."""
    return [*(a for a in nest.inputs if isinstance(a, Access)), *(a for _, a in nest.stores)]


def _can_merge(nest: Nest, axis: int, following: Dim) -> bool:
    if _has_position(nest, axis) or _has_position(nest, axis + 1):
        return False
    return all(sizes.surely_equal(a.strides[axis], a.strides[axis + 1] * following) for a in accesses(nest))


def _without(nest: Nest, axis: int, merged: Dim | None) -> Nest:
    """Without one dimension; the one behind it has the size `merged`, if that is given."""

    def shorter(access: Any) -> Any:
        if isinstance(access, Extent):
            return access
        if isinstance(access, Position):
            return replace(access, axis=access.axis - (access.axis > axis))
        return replace(access, strides=access.strides[:axis] + access.strides[axis + 1 :])

    dims: list[Dim] = [*nest.rows, *nest.columns]
    del dims[axis]
    if merged is not None:
        dims[axis] = merged
    split = len(nest.rows) - (axis < len(nest.rows))
    return replace(
        nest,
        rows=tuple(dims[:split]),
        columns=tuple(dims[split:]),
        inputs=tuple(map(shorter, nest.inputs)),
        stores=tuple((e, shorter(a)) for e, a in nest.stores),
    )


def _flat(nest: Nest) -> Nest:
    """Without reductions along one of the two, rows and columns are a matter of choice.

    One run of elements is best. Otherwise the last dimension becomes the column.
    """
    over = {r.over for r in nest.reduces}
    if "column" in over:
        return nest
    dims = (*nest.rows, *nest.columns)
    nest = _merge(replace(nest, rows=(), columns=dims), 0, len(dims))
    return replace(nest, rows=nest.columns[:-1], columns=nest.columns[-1:])
