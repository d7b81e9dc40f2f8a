"""Which nodes become one kernel.

Nodes are taken in topological order; each joins the group of a node that it depends on, where that is allowed, or
starts a group of its own. There are three kinds:

* a *nest* has a space: dimensions that its elements are indexed by. A member lies along some of them, in order.
  Element-wise nodes, reductions over the leading or the trailing dimensions, and updates of variables join;
* a *product* (or convolution) takes element-wise nodes and updates of its output's shape as an epilogue, but not what
  only nests use and can compute of what it stores for them in any case;
* anything else stays alone.

Joining must not make a circle: a node may not join a group if something that it needs, outside the group, needs the
group. Which groups each group needs is kept as a set of bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tahr.backends.native import tracing, windows
from tahr.backends.native.calls import Place
from tahr.backends.native.groups import Axes, Group, identity_map, product
from tahr.backends.native.roles import Role
from tahr.core import scalar, sizes
from tahr.core.sizes import Dim
from tahr.core.views import View
from tahr.program.node import Node, Value

# More nodes than this are not put into one kernel: registers run out, and compiling takes longer than it saves.
MOST_NODES = 64
# The epilogue of a single column goes element by element: what takes more operations than this is a nest's, which is
# vectorized. The logistic loss of a million points takes 1 ms instead of 20.
MOST_IN_A_COLUMN = 4


class Fusion:
    """Groups the nodes of a segment.

    Args:
        nodes: in topological order.
        roles: what each node is.
        places: where each value lies.
        before: the nodes that must run before a node, for data or for the order of effects.
        needs: for each node the values that its kernel reads.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        roles: Mapping[Node, Role],
        places: Mapping[Value, Place],
        before: Mapping[Node, Iterable[Node]],
        needs: Mapping[Node, Sequence[Value]],
    ) -> None:
        self._roles = roles
        self._places = places
        self._before = before
        self._needs = needs
        self.groups: list[Group | None] = []
        self.of: dict[Node, Group] = {}
        self._depends: list[int] = []  # for each group the groups that it needs, as bits
        self._position = {node: i for i, node in enumerate(nodes)}
        self._users: dict[Value, list[Node]] = {}
        for node in nodes:
            for root in dict.fromkeys(self._roots(node)):
                self._users.setdefault(root, []).append(node)
        for node in nodes:
            self._add(node)
        self._merge_siblings()

    def result(self) -> list[Group]:
        """The groups, each after those that it needs."""
        groups = [g for g in self.groups if g is not None]
        done = 0
        order: list[Group] = []
        waiting = groups
        while waiting:
            later: list[Group] = []
            for group in waiting:
                # One pass in the order of creation: what could not go yet is tried again behind those after it.
                if self._depends[group.number] & ~done:
                    later.append(group)
                else:
                    order.append(group)
                    done |= 1 << group.number
            assert len(later) < len(waiting), "groups need each other"
            waiting = later
        return order

    # ------------------------------------------------------------ which group

    def _add(self, node: Node) -> None:
        needed = 0
        for other in self._before.get(node, ()):
            group = self.of.get(other)
            if group is not None:
                needed |= 1 << group.number | self._depends[group.number]
        role = self._roles[node]
        if role in (Role.ELEMENTWISE, Role.UPDATE, Role.REDUCE):
            for group in self._candidates(node):
                if not self._is_circular(group, needed) and self._joins(group, node, role):
                    self._enter(group, node, needed)
                    self._merge_others(group, node)
                    return
        group = Group(len(self.groups))
        self.groups.append(group)
        self._depends.append(needed)
        self._start(group, node, role)
        self._put(group, node)

    def _candidates(self, node: Node) -> list[Group]:
        """The groups that compute what a node reads, the latest first."""
        found = {self.of[r.node] for r in self._roots(node) if r.node in self.of}
        return sorted(found, key=lambda g: -g.number)

    def _roots(self, node: Node) -> list[Value]:
        return [self._places[v].root for v in self._needs[node]]

    def _is_circular(self, group: Group, needed: int) -> bool:
        """Whether one of the groups in `needed`, other than this one, needs this group."""
        bit = 1 << group.number
        others = needed & ~bit
        while others:
            low = others & -others
            if self._depends[low.bit_length() - 1] & bit:
                return True
            others ^= low
        return False

    def _enter(self, group: Group, node: Node, needed: int) -> None:
        self._put(group, node)
        self._need(group, needed & ~(1 << group.number))

    def _put(self, group: Group, node: Node) -> None:
        group.nodes.append(node)
        group.reads |= self._variables_read(node)
        group.changes |= self._variables_changed(node)
        self.of[node] = group

    def _variables_read(self, node: Node) -> set[Value]:
        """The variables that a node reads, but for those that it changes itself."""
        read = {root for root in self._roots(node) if self._roles.get(root.node) is Role.VARIABLE}
        return read - self._variables_changed(node)

    def _variables_changed(self, node: Node) -> set[Value]:
        return {node.inputs[i] for i in node.opdef.effects.writes}

    def _need(self, group: Group, needed: int) -> None:
        if needed & ~self._depends[group.number]:
            bit = 1 << group.number
            self._depends[group.number] |= needed
            for i, depends in enumerate(self._depends):
                if depends & bit:
                    self._depends[i] = depends | needed

    def _merge_others(self, group: Group, node: Node) -> None:
        """Merges the nests that compute what a node reads, where they run over the same space."""
        for other in self._candidates(node):
            if other is group or other.anchor is not None or group.anchor is not None:
                continue
            if len(other.nodes) + len(group.nodes) > MOST_NODES or not group.shares_space(other):
                continue
            if self._is_circular(group, self._depends[other.number]) or self._is_circular(
                other, self._depends[group.number]
            ):
                continue
            if self._reads_leaving(group, other) or self._reads_leaving(other, group):
                continue
            if group.meets_in_variables(other) or group.would_be_torn(other):
                continue
            if not (self._agree(group, other) and self._agree(other, group)):
                continue
            self._merge(group, other)

    def _reads_leaving(self, group: Group, other: Group) -> bool:
        """Whether a node of a group reads what only leaves another when that is over."""
        return any(self._places[v].root in other.leaving for n in group.nodes for v in self._needs[n])

    def _agree(self, group: Group, other: Group) -> bool:
        """Whether what nodes of a group read of another lies along the same dimensions of the space as they do.

        Equal sizes do not make equal dimensions: a reduction's space may have them in another order.
        """
        for node in group.nodes:
            for value in self._needs[node]:
                place = self._places[value]
                if self.of.get(place.root.node) is not other:
                    continue
                count = len(other.space)
                found = other.mapped_view(place.root, place.view)
                if found is None or len(other.space) != count:
                    return False
                mine = group.maps[node]
                read = zip(found, mine[len(mine) - len(found) :])
                if any(axes and axes != along for axes, along in read):
                    return False
        return True

    def _merge(self, group: Group, other: Group) -> None:
        both = set(group.nodes) | set(other.nodes)
        group.nodes = sorted(both, key=self._position.__getitem__)
        group.maps.update(other.maps)
        group.leaving |= other.leaving
        group.reads |= other.reads
        group.changes |= other.changes
        group.has_rows |= other.has_rows
        group.split = other.split if group.split is None else group.split
        for node in other.nodes:
            self.of[node] = group
        mine, theirs = 1 << group.number, 1 << other.number
        together = (self._depends[group.number] | self._depends[other.number]) & ~mine & ~theirs
        for i, depends in enumerate(self._depends):
            if depends & theirs:
                self._depends[i] = (depends & ~theirs) | mine
        self._depends[group.number] &= ~mine & ~theirs
        self._need(group, together)
        for i, depends in enumerate(self._depends):
            if depends & mine:
                self._depends[i] |= together
        self.groups[other.number] = None

    def _merge_siblings(self) -> None:
        """Merges nests that do not need each other but read the same tensor: then it is read once."""
        readers: dict[Value, list[Group]] = {}
        for group in [g for g in self.groups if g is not None and g.anchor is None]:
            whole = self._read_whole(group)
            siblings = dict.fromkeys(g for root in whole for g in readers.get(root, ()))
            sibling = next((g for g in siblings if self._are_siblings(g, group)), None)
            if sibling is not None:
                nodes = [*sibling.nodes, *group.nodes]
                self._merge(sibling, group)
                sibling.nodes = nodes
                group = sibling
            for root in whole:
                found = readers.setdefault(root, [])
                if group not in found:
                    found.append(group)

    def _read_whole(self, group: Group) -> list[Value]:
        """The roots outside a nest of which it reads as many elements as it has."""
        count = product(group.space)
        read = (
            v
            for n in group.nodes
            for v in self._needs[n]
            if self.of.get(self._places[v].root.node) is not group
        )
        return list(
            dict.fromkeys(self._places[v].root for v in read if sizes.surely_equal(product(v.dims), count))
        )

    def _are_siblings(self, a: Group, b: Group) -> bool:
        """Whether two nests can be merged though neither reads what the other computes."""
        needs_other = self._depends[a.number] >> b.number & 1 or self._depends[b.number] >> a.number & 1
        updates = any(self._roles[n] is Role.UPDATE for n in (*a.nodes, *b.nodes))
        return (
            not needs_other
            and not (updates and (a.has_rows or b.has_rows))
            and not a.meets_in_variables(b)
            and len(a.nodes) + len(b.nodes) <= MOST_NODES
            and a.shares_space(b)
        )

    # ------------------------------------------------------------ starting and joining

    def _start(self, group: Group, node: Node, role: Role) -> None:
        if role is Role.IOTA:
            group.space = list(node.outputs[0].dims)
            group.maps[node.outputs[0]] = group.maps[node] = identity_map(group.space)
        elif role is Role.REDUCE:
            self._start_reduce(group, node)
        elif role in (Role.ELEMENTWISE, Role.UPDATE):
            shape = iteration_shape(node, role)
            group.space = [d for d in shape if d != 1]
            group.maps[node] = identity_map(shape)
            for value in _results(node, role):
                group.maps[value] = group.maps[node]
        else:
            group.anchor = node

    def _start_reduce(self, group: Group, node: Node) -> None:
        """A reduction over dimensions in the middle runs over a space in which they come last."""
        shape = node.inputs[0].dims
        reduced = reduced_axes(node)
        kept = [i for i in range(len(shape)) if i not in reduced and shape[i] != 1]
        over = [i for i in sorted(reduced) if shape[i] != 1]
        order = sorted(kept + over)
        if over != order[: len(over)] and over != order[len(order) - len(over) :]:
            order = kept + over
        group.space = [shape[i] for i in order]
        mapping = [(order.index(i),) if i in order else () for i in range(len(shape))]
        joined = self._join_reduce(group, node, mapping)
        assert joined

    def _joins(self, group: Group, node: Node, role: Role) -> bool:
        """Whether a node may join a group; if so, it is mapped, and if not, the group is as it was."""
        space, maps, split = list(group.space), group.maps, group.split
        if self._join(group, node, role):
            return True
        # Looking for a place may have cut dimensions, or added some.
        group.space, group.maps, group.split = space, maps, split
        return False

    def _join(self, group: Group, node: Node, role: Role) -> bool:
        used = self._variables_read(node) | self._variables_changed(node)
        if len(group.nodes) >= MOST_NODES or group.changes & used:
            return False
        if group.anchor is not None:
            return role is not Role.REDUCE and self._fits_epilogue(group, node, role)
        if role is Role.UPDATE and group.has_rows:
            return False
        found = self._mapping(group, node, role)
        if found is None:
            return False
        mapping, more = found
        if role is Role.UPDATE and not self._reads_before(group, node, mapping):
            return False
        if more and not group.may_grow(more):
            return False
        group.space += more
        joins = (
            self._join_reduce(group, node, mapping)
            if role is Role.REDUCE
            else group.may_compute(role, mapping)
        )
        if not joins:
            del group.space[len(group.space) - len(more) :]
            return False
        if role is not Role.REDUCE:
            group.maps[node] = tuple(mapping)
            for value in _results(node, role):
                group.maps[value] = tuple(mapping)
        return True

    def _reads_before(self, group: Group, node: Node, mapping: Sequence[Axes]) -> bool:
        """Whether whoever in a nest reads a variable that a node changes reads each element where that is changed.

        Elements are read before they are written.
        """
        changed = self._variables_changed(node)
        shape = iteration_shape(node, Role.UPDATE)
        for member in group.nodes:
            for value in self._needs[member]:
                place = self._places[value]
                if place.root in changed and not (
                    place.view == View.dense(shape)
                    and group.maps[member] == tuple(mapping)
                    and [a for axes in mapping for a in axes] == list(range(len(group.space)))
                ):
                    return False
        return True

    def _mapping(self, group: Group, node: Node, role: Role) -> tuple[list[Axes], list[Dim]] | None:
        """The dimensions of the space that those of a node lie along, and by what the space grows; or None."""
        shape = iteration_shape(node, role)
        mapping: list[Axes | None] = [() if d == 1 else None for d in shape]
        for value in self._needs[node]:
            place = self._places[value]
            if self.of.get(place.root.node) is not group:
                continue
            if place.root in group.leaving or place.root not in group.maps:
                return None
            axes = group.mapped_view(place.root, place.view)
            if axes is None:
                return None
            first = len(shape) - len(axes)
            for i, found in enumerate(axes, first):
                if found and mapping[i] is None:
                    mapping[i] = found
                elif found and mapping[i] != found:
                    return None
        return group.completed(shape, mapping) or group.around_reduction(shape, mapping)

    def _join_reduce(self, group: Group, node: Node, mapping: Sequence[Axes]) -> bool:
        count = len(group.space)
        reduced = reduced_axes(node)
        over = sorted(a for i in reduced for a in mapping[i])
        kept = [a for i, axes in enumerate(mapping) if i not in reduced for a in axes]
        result = node.outputs[0]
        if not over:
            if not group.covers_rows(mapping):
                return False
        elif sorted(over + kept) != list(range(count)):
            return False
        elif not kept:
            group.leaving.add(result)
        elif over == list(range(count - len(over), count)):
            # With several passes over a row an element would be read again after it was changed.
            if group.reads & group.changes or not self._split(group, count - len(over)):
                return False
            group.has_rows = True
        elif over == list(range(len(over))):
            if not self._split(group, len(over)):
                return False
            group.leaving.add(result)
        else:
            return False
        group.maps[node] = tuple(mapping)
        if node.attrs["keep_dims"]:
            group.maps[result] = tuple(() if i in reduced else axes for i, axes in enumerate(mapping))
        else:
            group.maps[result] = tuple(axes for i, axes in enumerate(mapping) if i not in reduced)
        return True

    @staticmethod
    def _split(group: Group, place: int) -> bool:
        if not group.can_split(place):
            return False
        group.split = place
        return True

    # ------------------------------------------------------------ epilogues

    def _fits_epilogue(self, group: Group, node: Node, role: Role) -> bool:
        anchor = group.anchor
        assert anchor is not None
        if not self._takes_epilogue(anchor):
            return False
        product = anchor.outputs[0]
        shape = iteration_shape(node, role)
        if not _same_rows(shape, product.dims):
            return False
        if role is Role.UPDATE and len(node.opdef.effects.writes) > 1:
            # Moments in the order of a product's tiles: Adam on 784x512 takes 1.5 ms with its product so, 1.35 apart.
            return False
        if role is Role.UPDATE and group.reads & self._variables_changed(node):
            return False
        if product.dims[-1] == 1 and _operations(node, role) > MOST_IN_A_COLUMN:
            return False
        if any(self.operand_access(group, v, shape) is None for v in self._needs[node]):
            return False
        if self._is_left_to_nests(group, node):
            return False
        for value in _results(node, role):
            group.maps[value] = ()
        return True

    def _is_left_to_nests(self, group: Group, node: Node) -> bool:
        """Whether only nests use what a node computes, and can as well compute it of what is stored in any case.

        The gradient of a normalization is an example: it is summed, multiplied and summed, and multiplied again.
        """
        read = [root for root in self._roots(node) if self.of.get(root.node) is group]
        return self._is_for_nests(node) and all(map(self._is_stored, read))

    def _is_stored(self, value: Value) -> bool:
        """Whether a value is stored because it is used outside its epilogue, or would be if that saved others."""
        users = self._users[value]
        return any(map(self._is_outside, users)) or (len(users) > 1 and all(map(self._is_for_nests, users)))

    def _is_for_nests(self, node: Node) -> bool:
        """Whether all that is made of what a node computes ends in nests that cannot be a part of its epilogue."""
        seen = {node}
        stack = [node]
        while stack:
            users = [user for value in stack.pop().outputs for user in self._users.get(value, ())]
            if not users or len(seen) > MOST_NODES:
                return False
            if any(self._roles[user] not in (Role.ELEMENTWISE, Role.REDUCE) for user in users):
                return False
            inside = {user for user in users if not self._is_outside(user)} - seen
            seen |= inside
            stack += inside
        return True

    def _is_outside(self, node: Node) -> bool:
        """Whether a node cannot be a part of any epilogue."""
        role = self._roles[node]
        if role is not Role.ELEMENTWISE:
            return True
        shape = iteration_shape(node, role)
        return any(_access(self._places[v].view, shape) is None for v in self._needs[node])

    def _takes_epilogue(self, anchor: Node) -> bool:
        role = self._roles[anchor]
        return role is Role.PRODUCT or (role is Role.WINDOW and windows.takes_epilogue(anchor))

    def operand_access(self, group: Group, value: Value, shape: Sequence[Dim]) -> str | None:
        """How an epilogue reads a value: "member", "full", "column", "scalar", or None if it cannot."""
        place = self._places[value]
        view = place.view
        if self.of.get(place.root.node) is group:
            whole = view.is_dense and _same_rows(view.shape, shape)
            return "member" if whole else None
        return _access(view, shape)


# ---------------------------------------------------------------- shapes of nodes


def _access(view: View, shape: Sequence[Dim]) -> str | None:
    """How an epilogue reads a view of what is not its own, for elements of a shape; None if it cannot."""
    if all(s == 0 or d == 1 for d, s in zip(view.shape, view.strides)):
        return "scalar"
    if view.is_dense and _same_rows(view.shape, shape):
        return "full"
    wide = [i for i, d in enumerate(view.shape) if d != 1 and view.strides[i] != 0]
    last = len(view.shape) - 1
    if wide == [last] and view.strides[last] == 1 and sizes.surely_equal(view.shape[last], shape[-1]):
        return "column"
    return None


def iteration_shape(node: Node, role: Role) -> tuple[Dim, ...]:
    """The shape of the elements that a node goes through."""
    if role is Role.REDUCE:
        return node.inputs[0].dims
    if role is Role.UPDATE:
        return node.inputs[node.opdef.effects.writes[0]].node.attrs["shape"]
    return node.outputs[0].dims


def _operations(node: Node, role: Role) -> int:
    """How many operations an element of a node takes."""
    found = tracing.update_traced(node) if role is Role.UPDATE else tracing.traced(node)
    return sum(e.op not in ("leaf", "constant") for e in scalar.ordered(found or ()))


def reduced_axes(node: Node) -> set[int]:
    """The dimensions that a reduction goes over."""
    rank = len(node.inputs[0].dims)
    axes = node.inputs[1].spec.value
    assert axes is not None
    return {int(a) % rank for a in axes.ravel().tolist()}


def _results(node: Node, role: Role) -> Sequence[Value]:
    return () if role is Role.UPDATE else node.outputs


def _same_rows(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """Whether two dense shapes have equally many elements in equally long rows."""
    if not a or not b or not sizes.surely_equal(a[-1], b[-1]):
        return False
    return sizes.surely_equal(product(a), product(b))
