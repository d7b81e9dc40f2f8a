"""Groups: the nodes of one kernel, and the space that a nest goes through.

A member of a nest lies along some dimensions of its space, in order; a `Map` says which. Here is what may lie along
them; `fuse.py` decides which nodes become a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tahr.backends.native.roles import Role
from tahr.core import sizes
from tahr.core.sizes import Dim
from tahr.core.views import View, dense_strides
from tahr.program.node import Node, Value

Axes = tuple[int, ...]
"""The dimensions of a space that one dimension of a value lies along: none where its size is 1."""
Map = tuple[Axes, ...]
"""Along which dimensions of a space those of a value lie."""


@dataclass(eq=False)
class Group:
    """Nodes that become one kernel.

    Attributes:
        number: its place in the order of creation.
        anchor: the product or other node that it was made for; None for a nest.
        nodes: its members, in topological order.
        space: the sizes of the dimensions of a nest.
        split: how many of them are rows; None while that is open.
        maps: the dimensions that each member of a nest lies along: its values, and what its nodes go through.
        leaving: results of reductions that can only be used outside.
        has_rows: whether a reduction goes along the columns of each row.
        reads: the variables that members read, beside those that they change themselves.
        changes: the variables that members change.
    """

    number: int
    anchor: Node | None = None
    nodes: list[Node] = field(default_factory=list[Node])
    space: list[Dim] = field(default_factory=list[Dim])
    split: int | None = None
    maps: dict[Value | Node, Map] = field(default_factory=dict[Value | Node, Map])
    leaving: set[Value] = field(default_factory=set[Value])
    has_rows: bool = False
    reads: set[Value] = field(default_factory=set[Value])
    changes: set[Value] = field(default_factory=set[Value])

    def refine(self, axis: int, parts: Sequence[Dim]) -> None:
        """Cuts one dimension of the space into several."""
        more = len(parts) - 1

        def renumbered(axes: Axes) -> Axes:
            result: list[int] = []
            for a in axes:
                result += range(axis, axis + more + 1) if a == axis else [a + more * (a > axis)]
            return tuple(result)

        self.space[axis : axis + 1] = parts
        self.maps = {v: tuple(map(renumbered, m)) for v, m in self.maps.items()}
        if self.split is not None and self.split > axis:
            self.split += more

    def may_grow(self, more: Sequence[Dim]) -> bool:
        """Whether members may be computed again for each element along further dimensions.

        Not where there may be none, since members are stored, nor where they change variables.
        """
        if self.leaving or self.has_rows or self.split is not None or self.changes:
            return False
        return all(sizes.surely_at_most(1, d) for d in more)

    def may_compute(self, role: Role, mapping: Sequence[Axes]) -> bool:
        """Whether what an element-wise node computes is computed as often as it may be: an update only once."""
        if role is Role.UPDATE:
            return _covers(mapping, len(self.space)) or not self.space
        return self.covers_rows(mapping)

    def covers_rows(self, mapping: Sequence[Axes]) -> bool:
        """Whether something is computed at most once for each row: it may not be repeated for every row."""
        if self.split is not None:
            return _covers(mapping, self.split)
        axes = [a for part in mapping for a in part]
        return not self.space or (bool(axes) and axes == list(range(len(axes))))

    def meets_in_variables(self, other: Group) -> bool:
        """Whether one of the two groups changes a variable that the other reads or changes: they keep their order."""
        return bool(self.changes & (other.reads | other.changes) or other.changes & self.reads)

    def would_be_torn(self, other: Group) -> bool:
        """Whether, in one nest, one group would go over rows several times and the other change what it reads."""
        return (self.has_rows and bool(other.reads & other.changes)) or (
            other.has_rows and bool(self.reads & self.changes)
        )

    def shares_space(self, other: Group) -> bool:
        """Whether another group goes over the same space, with the same rows."""
        return (
            len(self.space) == len(other.space)
            and all(map(sizes.surely_equal, self.space, other.space))
            and (self.split is None or other.split is None or self.split == other.split)
            and self.can_split(other.split)
            and other.can_split(self.split)
        )

    def can_split(self, place: int | None) -> bool:
        """Whether the first dimensions can be the rows: whatever is used in the group lies along them."""
        if place is None or self.split is not None:
            return self.split == place or place is None
        return all(_covers(m, place) for v, m in self.maps.items() if v not in self.leaving)

    def mapped_view(self, root: Value, view: View) -> list[Axes] | None:
        """The dimensions of a space that those of a view of a member lie along.

        A dimension of the view may lie along several of the space, and one of the space may have to be cut for several
        of the view. A slice, a transposition or anything else that does not go through the member in its own order
        gives None.
        """
        if view.offset != 0:
            return None
        mapping = self.maps[root]
        axes = [a for part in mapping for a in part]
        strides = dense_strides([self.space[a] for a in axes])
        result: list[Axes] = []
        at = 0
        i = 0
        while i < len(view.shape):
            size, stride = view.shape[i], view.strides[i]
            if size == 1 or stride == 0:
                result.append(())
                i += 1
                continue
            if at == len(axes):
                return None
            taken = [axes[at]]
            total = self.space[axes[at]]
            last = at
            while not sizes.surely_equal(total, size) and last + 1 < len(axes):
                if sizes.surely_equal(stride, strides[last]):
                    break
                last += 1
                taken.append(axes[last])
                total = total * self.space[axes[last]]
            if sizes.surely_equal(total, size) and sizes.surely_equal(stride, strides[last]):
                result.append(tuple(taken))
                at = last + 1
                i += 1
                continue
            parts = _cut(view, i, self.space[axes[at]], strides[at])
            if parts is None:
                return None
            axis = axes[at]
            self.refine(axis, parts)
            return self.mapped_view(root, view)
        return result if at == len(axes) else None

    def completed(
        self, shape: Sequence[Dim], mapping: Sequence[Axes | None]
    ) -> tuple[list[Axes], list[Dim]] | None:
        """A mapping with places found for dimensions that no member decides: between its neighbours, by size.

        Behind all others the space may grow by them.
        """
        result = list(mapping)
        more: list[Dim] = []
        low = 0
        for i, found in enumerate(result):
            if found is not None:
                if found:
                    if found[0] < low:
                        return None
                    low = found[-1] + 1
                continue
            following = [a[0] for a in result[i + 1 :] if a]
            high = following[0] if following else len(self.space)
            for axis in range(low, high):
                if sizes.surely_equal(self.space[axis], shape[i]):
                    result[i] = (axis,)
                    low = axis + 1
                    break
            else:
                if following:
                    return None
                result[i] = (len(self.space) + len(more),)
                more.append(shape[i])
                low = len(self.space) + len(more)
        return [axes or () for axes in result], more

    def around_reduction(
        self, shape: Sequence[Dim], mapping: Sequence[Axes | None]
    ) -> tuple[list[Axes], list[Dim]] | None:
        """A mapping for what surrounds a reduction along a dimension in the middle, which is the last of the space.

        A dimension that no member decides is one of those that are reduced, as in x less its largest elements.
        """
        used = [a for axes in mapping for a in axes or ()]
        if not self.has_rows or self.split is None or len(set(used)) < len(used):
            return None
        orders = [[a for axes in m for a in axes] for m in self.maps.values()]
        if all(order == sorted(order) for order in orders):
            return None  # no member reduces a dimension in the middle
        free = [a for a in range(self.split, len(self.space)) if a not in used]
        result: list[Axes] = []
        for axes, size in zip(mapping, shape):
            if axes is None:
                axis = next((a for a in free if sizes.surely_equal(self.space[a], size)), None)
                if axis is None:
                    return None
                free.remove(axis)
                axes = (axis,)
            result.append(axes)
        return result, []


def identity_map(shape: Sequence[Dim]) -> Map:
    """The map of something of a shape in a space that was made for it, which leaves out sizes of 1."""
    result: list[Axes] = []
    count = 0
    for dim in shape:
        result.append(() if dim == 1 else (count,))
        count += dim != 1
    return tuple(result)


def _covers(mapping: Sequence[Axes], rows: int) -> bool:
    """Whether something lies along all of the first dimensions."""
    axes = {a for part in mapping for a in part}
    return axes >= set(range(rows)) and bool(axes)


def product(dims: Iterable[Dim]) -> Dim:
    """The number of elements of a shape."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def _cut(view: View, first: int, size: Dim, stride: Dim) -> list[Dim] | None:
    """The dimensions of a view, from one on, that together are one dimension of the space."""
    parts: list[Dim] = []
    for end in range(first, len(view.shape)):
        if view.shape[end] == 1:
            continue
        parts.append(view.shape[end])
        if sizes.surely_equal(product(parts), size):
            dims = [i for i in range(first, end + 1) if view.shape[i] != 1]
            wanted = [s * stride for s in dense_strides(parts)]
            fits = all(sizes.surely_equal(view.strides[i], w) for i, w in zip(dims, wanted))
            return parts if fits and len(parts) > 1 else None
    return None
