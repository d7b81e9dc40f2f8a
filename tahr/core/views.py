"""Views: where the elements of one tensor lie in the storage of another.

A view is an affine map. The element at (i, j, ...) lies `offset + i * strides[0] + j * strides[1] + ...` elements into
the storage. Transposing, slicing, reversing and broadcasting change the map and move nothing, so a compiler can hand
the map to whoever reads the tensor.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tahr.core import sizes
from tahr.core.sizes import Dim, Unknown

Dims = tuple[Dim, ...]


def dense_strides(shape: Sequence[Dim]) -> Dims:
    """The strides, in elements, of an array that lies in row-major order without gaps."""
    strides: list[Dim] = []
    step: Dim = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


class View(NamedTuple):
    """An affine map from indices to places in a storage.

    Attributes:
        shape: the tensor's shape.
        strides: how many elements further one step along each dimension leads; 0 where it is broadcast.
        offset: the place of the first element.
    """

    shape: Dims
    strides: Dims
    offset: Dim = 0

    @staticmethod
    def dense(shape: Sequence[Dim]) -> View:
        """The whole of a storage in row-major order."""
        return View(tuple(shape), dense_strides(shape))

    @property
    def is_dense(self) -> bool:
        """Whether it surely is the whole of a storage in row-major order."""
        return self.offset == 0 and self.is_contiguous

    @property
    def is_contiguous(self) -> bool:
        """Whether its elements surely follow each other in row-major order."""
        wanted = dense_strides(self.shape)
        return all(
            size == 1 or sizes.surely_equal(have, want)
            for size, have, want in zip(self.shape, self.strides, wanted)
        )

    @property
    def is_known(self) -> bool:
        """Whether the map is known: as integers, or as sizes that what is fed decides."""
        return not any(isinstance(d, Unknown) for d in (*self.shape, *self.strides, self.offset))

    def transposed(self, perm: Sequence[int]) -> View:
        """Dimension i of the result is dimension `perm[i]`."""
        return View(tuple(self.shape[i] for i in perm), tuple(self.strides[i] for i in perm), self.offset)

    def broadcast(self, shape: Sequence[Dim]) -> View:
        """Stretched to a shape that it broadcasts to."""
        missing = len(shape) - len(self.shape)
        strides = (0,) * missing + tuple(
            0 if size == 1 else stride for size, stride in zip(self.shape, self.strides)
        )
        return View(tuple(shape), strides, self.offset)

    def sliced(self, begins: Sequence[Dim], steps: Sequence[Dim], shape: Sequence[Dim]) -> View:
        """Every `steps[i]`-th element from `begins[i]` on, `shape[i]` of them."""
        offset = self.offset
        for begin, stride in zip(begins, self.strides):
            offset = offset + begin * stride
        return View(tuple(shape), tuple(t * s for t, s in zip(self.strides, steps)), offset)

    def narrowed(self, axis: int, begin: Dim, size: Dim, step: int = 1) -> View:
        """Every `step`-th element from `begin` on, `size` of them, along one dimension."""
        shape, strides = list(self.shape), list(self.strides)
        offset = self.offset + begin * strides[axis]
        shape[axis], strides[axis] = size, strides[axis] * step
        return View(tuple(shape), tuple(strides), offset)

    def at(self, axis: int, index: Dim) -> View:
        """The elements at one index along a dimension, which is dropped."""
        return self.narrowed(axis, index, 1).without([axis])

    def reversed(self, axes: Iterable[int]) -> View:
        """In reverse order along some dimensions."""
        view = self
        for axis in axes:
            view = view.narrowed(axis, view.shape[axis] - 1, view.shape[axis], -1)
        return view

    def repeated(self, axis: int, times: Dim) -> View:
        """A dimension of size 1 stretched to another size."""
        shape, strides = list(self.shape), list(self.strides)
        shape[axis], strides[axis] = times, 0
        return View(tuple(shape), tuple(strides), self.offset)

    def expanded(self, axis: int) -> View:
        """With a new dimension of size 1."""
        shape, strides = self.shape, self.strides
        return View((*shape[:axis], 1, *shape[axis:]), (*strides[:axis], 0, *strides[axis:]), self.offset)

    def diagonal(self, axis: int, other: int, size: Dim) -> View:
        """The elements with equal indices along two dimensions; `axis` is left, of the given size."""
        strides = list(self.strides)
        strides[axis] = strides[axis] + strides[other]
        return View(self.shape, tuple(strides), self.offset).narrowed(axis, 0, size).without([other])

    def without(self, axes: Sequence[int]) -> View:
        """Without some dimensions, of which the first index counts."""
        kept = [i for i in range(len(self.shape)) if i not in axes]
        return View(tuple(self.shape[i] for i in kept), tuple(self.strides[i] for i in kept), self.offset)

    def reshaped(self, shape: Sequence[Dim]) -> View | None:
        """The same elements in the same order under another shape, or None where that is no affine map.

        Runs of dimensions of equal size are matched from the front; inside a run that differs the elements must lie
        without gaps.
        """
        shape = tuple(shape)
        if self.is_dense:
            return View(shape, dense_strides(shape), self.offset)
        strides: list[Dim] = []
        old = [(d, s) for d, s in zip(self.shape, self.strides) if d != 1]
        new = [d for d in shape if d != 1]
        while old or new:
            if not old or not new:
                return None
            if sizes.surely_equal(old[0][0], new[0]):
                strides.append(old.pop(0)[1])
                new.pop(0)
                continue
            run = _matching_runs([d for d, _ in old], new)
            if run is None:
                return None
            taken, made = run
            if any(
                not sizes.surely_equal(old[i][1], old[i + 1][1] * old[i + 1][0]) for i in range(taken - 1)
            ):
                return None
            step = old[taken - 1][1]
            strides += [s * step for s in dense_strides(new[:made])]
            del old[:taken], new[:made]
        found = iter(strides)
        return View(shape, tuple(0 if d == 1 else next(found) for d in shape), self.offset)


def _matching_runs(old: Sequence[Dim], new: Sequence[Dim]) -> tuple[int, int] | None:
    """The shortest prefixes of two shapes with surely equal numbers of elements."""
    for total in range(2, len(old) + len(new) + 1):
        for taken in range(max(1, total - len(new)), min(len(old), total - 1) + 1):
            if sizes.surely_equal(_product(old[:taken]), _product(new[: total - taken])):
                return taken, total - taken
    return None


def _product(dims: Sequence[Dim]) -> Dim:
    product: Dim = 1
    for dim in dims:
        product = product * dim
    return product


# ---------------------------------------------------------------- views that data move


class Along(NamedTuple):
    """A position along an axis that is data.

    Attributes:
        where: its place in the vector of positions.
        places: how many positions there are.
        stride: how many elements further one position leads.
        from_end: what a negative one is added to: the axis's size, or 0 where none may be negative.
    """

    where: int
    places: Dim
    stride: Dim
    from_end: Dim


class Selection(NamedTuple):
    """The elements of a tensor that some positions choose.

    Attributes:
        view: where the elements lie if all positions are 0.
        positions: what moves the view.
    """

    view: View
    positions: tuple[Along, ...]

    @property
    def is_known(self) -> bool:
        """Whether all but the positions is known."""
        return self.view.is_known and not any(
            isinstance(p.places, Unknown) or isinstance(p.stride, Unknown) for p in self.positions
        )


# ---------------------------------------------------------------- tensors put together from parts


class Part(NamedTuple):
    """A part of a tensor that is put together.

    Attributes:
        input: the index of the input that the elements come from.
        source: where they lie in this input, which is dense.
        target: where they go in the output, which is dense; no two elements to the same place.
    """

    input: int
    source: View
    target: View

    @property
    def is_known(self) -> bool:
        """Whether both maps are known, and surely have the same shape."""
        same_rank = len(self.source.shape) == len(self.target.shape)
        return (
            self.source.is_known
            and self.target.is_known
            and same_rank
            and all(map(sizes.surely_equal, self.source.shape, self.target.shape))
        )


class Assembly(NamedTuple):
    """A tensor put together from parts that do not overlap.

    Attributes:
        parts: the parts.
        fill: the number that all other elements are (0: what is zero in the dtype); None where there are none, or
            `fill_input` says it.
        fill_input: the index of a scalar input that all other elements are equal to, or None.
    """

    parts: tuple[Part, ...]
    fill: int | None = None
    fill_input: int | None = None


class Run(NamedTuple):
    """Indices along one dimension of a source, and those of a target that they go to.

    Attributes:
        source: the first index in the source.
        target: the first index in the target.
        size: how many there are.
        step: from one index in the source to the next.
    """

    source: Dim
    target: Dim
    size: Dim
    step: int = 1


def parts_of_runs(index: int, source: View, target: View, runs: Sequence[Sequence[Run]]) -> list[Part]:
    """The parts of a tensor each of whose dimensions consists of runs.

    Args:
        index: the input that the source is.
        source: the whole of it.
        target: the whole of the output.
        runs: the runs along each dimension; empty ones are left out.
    """
    filled = [[run for run in along if run.size != 0] for along in runs]
    parts: list[Part] = []
    for block in itertools.product(*filled):
        have, want = source, target
        for axis, run in enumerate(block):
            have = have.narrowed(axis, run.source, run.size, run.step)
            want = want.narrowed(axis, run.target, run.size)
        parts.append(Part(index, have, want))
    return parts
