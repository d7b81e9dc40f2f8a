"""How a plan for the native backend is made.

It takes five steps. Every node gets a role. Views are traced to the storage that they look at, with copies where
that is no affine map. The order of effects is made explicit: a variable is written in place, so whoever reads its old
value comes before. Nodes are dealt out to stages, native and host in turn, each as early as it can be. Each native
stage is fused and lowered to kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial, reduce
from operator import or_
from typing import Any

from tahr.backends.native import (
    assembling,
    draws,
    lower,
    matrices,
    recompute,
    region_programs,
    region_roles,
    regions,
    roles,
)
from tahr.backends.native.branch_plans import BranchPlans
from tahr.backends.native.calls import Call, Place
from tahr.backends.native.fuse import Fusion, iteration_shape
from tahr.backends.native.groups import Group
from tahr.backends.native.list_plans import Copy, ListPlans
from tahr.backends.native.loop_plans import LoopPlans
from tahr.backends.native.lower import Lowering
from tahr.backends.native.own_lists import with_own_lists
from tahr.backends.native.plan import HostStep, NativePlan, Segment, Unplannable, frees
from tahr.backends.native.region_plans import with_storage
from tahr.backends.native.region_programs import Found
from tahr.backends.native.roles import COMPUTED, REGION_ROLES, Role
from tahr.core import shapes, sizes
from tahr.core.views import View
from tahr.ops import state, structural
from tahr.plan import schedule
from tahr.program.effects import SlotKey, slot_of
from tahr.program.node import Node, Program, Value


def make_plan(program: Program) -> NativePlan:
    """Plans a program.

    Raises:
        Unplannable: its order of effects does not allow variables to be written in place.
    """
    program = with_own_lists(program)
    found = regions.find(program)
    try:
        return _Planner(program, found).plan()
    except Unplannable:
        if not found.nodes:
            raise
        return _Planner(program, Found()).plan()


class _Planner:
    """The planner of a program, or of a region."""

    def __init__(
        self,
        program: Program,
        found: Found,
        cells: dict[SlotKey, Value] | None = None,
        reshaped: list[Node] | None = None,
    ) -> None:
        self.program = program
        self._cells = {} if cells is None else cells  # one value for each variable, wherever it is used
        self._reshaped: list[Node] = [] if reshaped is None else reshaped
        self.found = found
        self.lists = ListPlans(self, found)
        self._plans_of = {
            Role.LIST: self.lists,
            Role.LOOP: LoopPlans(self, found),
            Role.BRANCHING: BranchPlans(self, found),
        }
        self.order = region_roles.ordered(schedule.order(program), found)
        self.roles: dict[Node, Role] = {}
        self.places: dict[Value, Place] = {}
        self.needs: dict[Node, list[Value]] = {}
        self.copies: dict[Value, Value] = {}
        self._stands_for: dict[Node, Node] = {}  # for reads that are copied, which they are
        self.nodes: list[Node] = []  # what computes, in topological order

    def plan(self) -> NativePlan:
        """The plan."""
        given = self.lists.given_by_python()
        written = self.prepare()
        outputs = [self._output(v, written) for v in self.program.outputs]
        before = self._before()
        stages = self._stages(before)
        items = self._items(stages, before, outputs)
        plan = NativePlan(
            items,
            self.places,
            self.roles,
            self._symbols(),
            self._variables(),
            self._uncertain(),
            self.program,
            self._reshaped,
            given,
        )
        plan.frees = frees(plan, outputs)
        plan.program = Program(self.program.builder, self.program.inputs, outputs, self.program.roots)
        return plan

    def prepare(self) -> set[Value]:
        """Finds out what is needed and where it lies; gives the variables that native nodes change."""
        for node in self.order:
            self.roles[node] = region_roles.role_of(node, self.found)
        for cell in self._own_cells():
            self._cells.setdefault(_slot(cell), cell)
        needed = self._needed()
        written = self._written(needed)
        self.touched = self._touched(needed)
        self.late = self._read_late(needed)
        for node in self.order:
            if node in needed:
                self._place(node, written)
        return written

    # ------------------------------------------------------------ regions

    def inner(self, program: Program, found: Found) -> _Planner:
        """The planner of a region."""
        return _Planner(program, found, self._cells, self._reshaped)

    def finished(self, leaves: set[Value]) -> list[Call]:
        """The calls of a region's nodes; those roots are read behind them."""
        before = self._before()
        self._stages(before)
        calls = self._calls(_topological(self.nodes, before), before, leaves)
        for own in self._own_cells():
            calls = with_storage(calls, own, self._cells[_slot(own)])
        return [draws.as_often_as_run(call) for call in calls]

    # ------------------------------------------------------------ what is needed

    def _needed(self) -> set[Node]:
        """The nodes whose results somebody reads as data, and those with effects."""
        needed: set[Node] = set()
        stack = [*self.program.roots, *(v.node for v in self.program.outputs)]
        while stack:
            node = stack.pop()
            if node in needed:
                continue
            needed.add(node)
            stack += [v.node for v in region_roles.data(node, self.roles[node], self.found)]
            stack += node.tokens
        return needed

    def _written(self, needed: set[Node]) -> set[Value]:
        """The variables that native nodes change in place."""
        written = {
            node.inputs[i]
            for node in needed
            if self.roles[node] in (Role.UPDATE, Role.SINGLE)
            for i in node.opdef.effects.writes
        }
        return written | self._written_inside(
            n for n in needed if self.roles[n] in (Role.LOOP, Role.BRANCHING)
        )

    def _written_inside(self, nodes: Iterable[Node]) -> set[Value]:
        """The variables that regions of some nodes change."""
        slots = frozenset[SlotKey]().union(*(region_programs.writes(node) for node in nodes))
        return {cell for cell in self._own_cells() if _slot(cell) in slots}

    def _own_cells(self) -> list[Value]:
        """The values that stand for variables in this program or region."""
        return [node.outputs[0] for node in self.order if self.roles[node] is Role.VARIABLE]

    # ------------------------------------------------------------ where values lie

    def _touched(self, needed: set[Node]) -> set[Value]:
        """The variables that host steps get at. Their reads hold the array, which is then not changed in place."""
        hosts = [n for n in needed if self.roles[n] is Role.HOST and n.opdef is not state.ReadCell]
        given = {v for node in hosts for v in node.inputs if self.roles[v.node] is Role.VARIABLE}
        return given | self._written_inside(n for n in hosts if region_programs.has_regions(n))

    def _read_late(self, needed: set[Node]) -> set[Node]:
        """The reads of variables which somebody looks at who needs what comes behind a write: they are copies.

        Others are looked at where the variable lies, before it is changed there.
        """
        writes = [n for n in self.order if n in needed and any(t.opdef is state.ReadCell for t in n.tokens)]
        bits = {node: 1 << i for i, node in enumerate(writes)}
        behind: dict[Node, int] = {}  # for each node the writes that it needs
        looked_at: dict[Node, int] = {}  # for each read the writes that those need who look at it
        for node in self.order if writes else ():
            sources = {*(v.node for v in node.inputs), *node.tokens}
            behind[node] = reduce(or_, (behind.get(s, 0) | bits.get(s, 0) for s in sources), 0)
            for value in node.inputs:
                read = self._origin(value)
                looked_at[read] = looked_at.get(read, 0) | behind[node]
        reads = ((write, t) for write in writes for t in write.tokens if t.opdef is state.ReadCell)
        return {read for write, read in reads if looked_at.get(read, 0) & bits[write]}

    def _place(self, node: Node, written: set[Value]) -> None:
        role = self.roles[node]
        if role in REGION_ROLES:
            self._plans_of[role].place(node)
            return
        if role is Role.READ and node.inputs[0] in self.touched:
            role = self.roles[node] = Role.HOST
        if role is Role.READ:
            self.places[node.outputs[0]] = Place(node.inputs[0], View.dense(node.outputs[0].dims))
            if node in self.late:
                self._place_late(node)
        elif role is Role.VIEW:
            self._place_view(node)
        elif role is Role.VARIABLE:
            shape = node.attrs["shape"]
            if shape is not None:
                self.places[node.outputs[0]] = Place(node.outputs[0], View.dense(shape))
        else:
            self._place_dense(node)
            if role in COMPUTED:
                self._place_computed(node, role)
            elif role is Role.HOST:
                self._place_host(node, written)

    def _place_late(self, read: Node) -> None:
        """Gives a read an array of its own: the copy of another read."""
        specs = [v.spec for v in read.outputs]
        other = self.program.builder.add(read.opdef, read.inputs, read.attrs, specs, read.op, read.tokens)
        self.roles[other] = Role.READ
        self._stands_for[other] = read
        self.places[other.outputs[0]] = self.places[read.outputs[0]]
        self.places[read.outputs[0]] = self.places[self.copy(other.outputs[0])]

    def _place_dense(self, node: Node) -> None:
        for value in node.outputs:
            if value.shape is not None and value not in self.places:  # a region's inputs lie outside of it
                self.places[value] = Place(value, View.dense(value.shape))

    def _place_view(self, node: Node) -> None:
        viewed = node.inputs[node.opdef.viewed]
        specs, outs = [v.spec for v in node.inputs], [v.spec for v in node.outputs]
        place = self.places[viewed]
        views = node.opdef.views(specs, outs, node.attrs, place.view)
        if views is None:
            place = self.places[self.copy(viewed)]
            views = node.opdef.views(specs, outs, node.attrs, place.view)
            assert views is not None
        for value, view in zip(node.outputs, views):
            self.places[value] = Place(place.root, view)
        if node.opdef is structural.Reshape and not _keeps_all(node):
            self._reshaped.append(node)

    def _place_computed(self, node: Node, role: Role) -> None:
        needs = [node.inputs[i] for i in roles.data_inputs(node, role)]
        if role is Role.PRODUCT:
            needs = self._product_operands(node, needs)
        elif role is Role.PARTS:
            numbers = roles.data_inputs(node, role)
            fits = [lower.part_fits(node, i, self.places[v].view) for i, v in zip(numbers, needs)]
            needs = [v if fit else self.dense(v) for fit, v in zip(fits, needs)]
        elif role is Role.UPDATE:
            needs = self._apart(node, needs, View.dense(iteration_shape(node, role)))
        elif role in (Role.WINDOW, Role.SINGLE):
            needs = [self.dense(v) for v in self._apart(node, needs)]
        self.needs[node] = needs
        self.nodes.append(node)

    def _product_operands(self, node: Node, needs: Sequence[Value]) -> list[Value]:
        """A product's operands; one that cannot be read where it lies is copied."""
        a, b, *added = needs
        if not matrices.product_fits(node, self.places[a].view, self.places[b].view):
            a, b = self.dense(a), self.dense(b)
        return [a, b, *added]

    def _apart(self, node: Node, needs: Sequence[Value], safe: View | None = None) -> list[Value]:
        """What a node reads; what lies in a variable that it changes meanwhile is copied.

        Args:
            safe: how a variable may be looked at nonetheless: each element is read before it is written.
        """
        changed = {node.inputs[i] for i in node.opdef.effects.writes}

        def is_apart(value: Value) -> bool:
            place = self.places[value]
            return value in changed or place.root not in changed or place.view == safe

        return [v if is_apart(v) else self.copy(v) for v in needs]

    def _place_host(self, node: Node, written: set[Value]) -> None:
        self.needs[node] = [self._fetchable(v, written) for v in node.inputs]
        self.nodes.append(node)

    def _fetchable(self, value: Value, written: set[Value]) -> Value:
        """A value as it is handed to Python; what lies in a variable that is changed in place is copied."""
        if self.roles[value.node] in REGION_ROLES and value in self.found.lists:
            return self.lists.handed_over(value)
        place = self.places.get(value)
        if place is not None and place.root in written and value is not place.root:
            return self.copy(value)
        return value

    def _output(self, value: Value, written: set[Value]) -> Value:
        """A value as it is fetched.

        A view is copied, unless it is all of what is computed and stands for it. What lies side by side in something
        that is given is left to Python, which copies as fast.
        """
        value = self._fetchable(value, written)
        place = self.places.get(value)
        if place is None or place.root is value:
            return value
        if self.roles[place.root.node] not in COMPUTED:
            return value if place.view.is_contiguous else self.copy(value)
        counts = (shapes.num_elements(s) for s in (place.view.shape, place.root.dims))
        is_whole = place.view.is_dense and sizes.surely_equal(*counts)
        return value if is_whole and place.root not in self.program.outputs else self.copy(value)

    def dense(self, value: Value) -> Value:
        """A value that lies in row-major order: itself or a copy."""
        return value if self.places[value].view.is_dense else self.copy(value)

    def copy(self, value: Value) -> Value:
        """A copy of a value, the same one each time."""
        found = self.copies.get(value)
        if found is None:
            node = self.program.builder.add(Copy, [value], {}, [value.spec], value.node.op)
            found = self.copies[value] = node.outputs[0]
            self.roles[node] = Role.ELEMENTWISE
            self._place_dense(node)
            self.needs[node] = [value]
            self.nodes.append(node)
        return found

    # ------------------------------------------------------------ order

    def _before(self) -> dict[Node, list[Node]]:
        """For each node that computes, those that must run first."""
        computing = set(self.nodes)
        users: dict[Node, list[Node]] = {}
        before: dict[Node, dict[Node, None]] = {n: {} for n in self.nodes}
        self.lists.finish()
        for node in self.nodes:
            before[node].update(dict.fromkeys(self.lists.orders.get(node, ())))
            for value in self.needs[node]:
                origin = self._origin(value)
                if origin in computing:
                    before[node][origin] = None
                root = self._computed_root(value)
                if root is not None and root in computing:
                    before[node][root] = None
                read = self._read(value)
                if read is not None:
                    users.setdefault(read, []).append(node)
                    before[node].update(dict.fromkeys(t for t in self._tokens(read) if t in computing))
        for node in self.nodes:
            for token in self._tokens(node):
                if token in computing:
                    before[node][token] = None
                for user in users.get(token, ()):
                    if user is not node:
                        before[node][user] = None
        return {n: list(b) for n, b in before.items()}

    def _tokens(self, node: Node) -> list[Node]:
        """The nodes with effects that must run before a node; for a check that holds, those before it."""
        found: list[Node] = []
        for token in node.tokens:
            found += self._tokens(token) if self.roles.get(token) is Role.HOLDS else [token]
        return found

    def _origin(self, value: Value) -> Node:
        """The node whose result a value is a view of, by its inputs."""
        node = value.node
        while self.roles.get(node) is Role.VIEW:
            node = node.inputs[node.opdef.viewed].node
        return node

    def _computed_root(self, value: Value) -> Node | None:
        place = self.places.get(value)
        return value.node if place is None else place.root.node

    def _read(self, value: Value) -> Node | None:
        """The read of a variable that a value is a view of, where it is looked at where the variable lies."""
        node = self._origin(value)
        if node.opdef is not state.ReadCell or (node in self.late and self.roles[node] is Role.READ):
            return None
        return self._stands_for.get(node, node)

    def _stages(self, before: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
        """Even stages are native, odd ones are the host's; each node is as early as it can be."""
        stages: dict[Node, int] = {}
        opened: set[Node] = set()
        for start in self.nodes:
            stack = [start]
            while stack:
                node = stack[-1]
                if node in stages:
                    stack.pop()
                    continue
                # A value is seated for the segment that writes it: others have tables of their own.
                written = before[self.lists.writers.get(node, node)]
                needed = [*before[node], *(n for n in written if n is not node)]
                waiting = [n for n in needed if n not in stages]
                if waiting:
                    if node in opened:
                        raise Unplannable("a variable's old value is needed after it was changed")
                    opened.add(node)
                    stack += waiting
                    continue
                is_host = self.roles[node] is Role.HOST
                least = max((stages[n] for n in needed), default=0)
                stages[node] = least + (least % 2 != is_host)
                stack.pop()
        return stages

    def _items(
        self,
        stages: Mapping[Node, int],
        before: Mapping[Node, Sequence[Node]],
        outputs: Sequence[Value],
    ) -> list[Segment | HostStep]:
        """Segments and host steps in their order: of each stage, a segment of all its nodes or a step for each."""
        order = _topological(self.nodes, before)
        handed_out = {self.places[v].root for v in outputs if v in self.places}
        readers: dict[Value, set[int]] = {}
        for node in self.nodes:
            for value in self.needs[node]:
                if value in self.places:
                    readers.setdefault(self.places[value].root, set()).add(stages[node])
        items: list[Segment | HostStep] = []
        given: set[Value] = set()  # by the segments so far
        for number in range(max(stages.values(), default=0) + 1):
            nodes = [n for n in order if stages[n] == number]
            if number % 2:
                items += [_host_step(n, self.needs[n], self._reason(n)) for n in nodes]
            elif nodes:
                segment = self._segment(number, nodes, before, readers, handed_out, given)
                items.append(segment)
                given.update(segment.outputs)
        return items

    def _reason(self, node: Node) -> str:
        """Why NumPy computes a node."""
        found = self.found.reasons.get(node) or roles.reason(node)
        # A read is the host's, too, where others of its steps change the variable behind the plan's back.
        return found or "a step of NumPy's takes the variable itself"

    def _segment(
        self,
        number: int,
        nodes: Sequence[Node],
        before: Mapping[Node, Sequence[Node]],
        readers: Mapping[Value, set[int]],
        handed_out: set[Value],
        given: Set[Value],
    ) -> Segment:
        """One native stage as a segment.

        Args:
            number: the stage's.
            nodes: what it computes, in order.
            before: for each node those that must run first.
            readers: for each root the stages that read it.
            handed_out: the roots of what is fetched.
            given: what earlier segments gave.
        """
        outputs = [
            v
            for n in nodes
            for v in (*n.outputs, *self.lists.owned.get(n, ()))
            if v in self.places and (v in handed_out or readers.get(v, set()) - {number})
        ]
        calls = self._calls(nodes, before, set(outputs))
        written = {v for call in calls for v in call.writes}
        # A list that an earlier segment made may be changed by this one.
        made = written.union(v for n in nodes for v in n.outputs) - given
        used = dict.fromkeys(v for call in calls for v in (*call.reads, *call.writes))
        cells = [v for v in used if self.roles[v.node] is Role.VARIABLE]
        return Segment(
            calls,
            [v for v in used if v not in made and v not in cells],
            outputs,
            cells,
            [v for v in cells if v in written],
            _overwritten(calls, cells),
        )

    def _calls(
        self, nodes: Sequence[Node], before: Mapping[Node, Sequence[Node]], leaves: set[Value]
    ) -> list[Call]:
        """The calls of native nodes; the roots in `leaves` are read behind them."""
        leaves = leaves | self.lists.kept
        mine = set(nodes)
        inner = {n: [b for b in before[n] if b in mine] for n in nodes}
        fusion = Fusion(nodes, self.roles, self.places, inner, self.needs)
        reading: dict[Value, set[Group]] = {}
        for n in nodes:
            for v in self.needs[n]:
                if v in self.places:
                    reading.setdefault(self.places[v].root, set()).add(fusion.of[n])

        def wanted(value: Value, group: Group) -> bool:
            return value in leaves or bool(reading.get(value, set[Group]()) - {group})

        def stores(group: Group) -> bool:
            return group.anchor is not None or any(
                self.roles[n] is Role.UPDATE or any(wanted(v, group) for v in n.outputs) for n in group.nodes
            )

        again = recompute.recomputed(nodes, self.roles, self.places, self.needs, fusion, reading, leaves)
        seats = assembling.seated(nodes, self.roles, self.places, fusion, reading, leaves)
        lowering = Lowering(fusion, self.roles, self.places, self.needs, wanted, again, seats)
        calls: list[Call] = []
        for group in fusion.result():
            role = None if group.anchor is None else self.roles[group.anchor]
            if group.anchor is not None and role in REGION_ROLES:
                calls += self._plans_of[role].calls(group.anchor)
            elif stores(group):
                calls += lowering.calls(group)
        return calls

    # ------------------------------------------------------------ what runs must know

    def _symbols(self) -> list[tuple[str, int, int]]:
        found: dict[str, tuple[str, int, int]] = {}
        for i, value in enumerate(self.program.inputs):
            shape = value.shape if value.spec.items is None else value.spec.items.innermost.shape
            for axis, dim in enumerate(shape or ()):
                name = sizes.name_of(dim)
                if name is not None and name not in found:
                    found[name] = (name, i, axis)
        return list(found.values())

    def _variables(self) -> list[tuple[Value, SlotKey, Any]]:
        variables: list[tuple[Value, SlotKey, Any]] = []
        for node, role in self.roles.items():
            if role is Role.VARIABLE:
                variables.append((node.outputs[0], _slot(node.outputs[0]), node.op))
        return variables

    def _uncertain(self) -> list[Value]:
        found = [n.inputs[0] for n in self.roles if n.opdef is state.ReadCell and n.attrs["lenient"]]
        own = set(self._own_cells())
        found += [
            n.outputs[0]
            for n, role in self.roles.items()
            if role is Role.VARIABLE and n.outputs[0] not in own
        ]
        return list(dict.fromkeys(found))


def _overwritten(calls: Sequence[Call], cells: Sequence[Value]) -> frozenset[Value]:
    """The variables whose old values nobody looks at: the first call that touches them only writes them."""
    touched: set[Value] = set()
    found: set[Value] = set()
    for call in calls:
        if not call.depth:  # in a loop or a branch it may not run at all
            found.update(v for v in call.writes if v in cells and v not in touched and v not in call.reads)
        touched.update(call.reads, call.writes)
    return frozenset(found)


def _topological(nodes: Sequence[Node], before: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Nodes, each behind those that must run before it, else in the order that they have."""
    order: dict[Node, None] = {}
    for start in nodes:
        stack = [start]
        while stack:
            node = stack[-1]
            waiting = [n for n in before[node] if n not in order] if node not in order else []
            if waiting:
                stack += waiting
            else:
                order[stack.pop()] = None
    return list(order)


def _slot(cell: Value) -> SlotKey:
    """The key of the variable that a value stands for."""
    assert cell.node.op is not None
    return slot_of(cell.node.op)


def _keeps_all(node: Node) -> bool:
    """Whether a node's output surely has as many elements as its first input."""
    before, after = (shapes.num_elements(v.dims) for v in (node.inputs[0], node.outputs[0]))
    return sizes.surely_equal(before, after)


def _host_step(node: Node, needs: list[Value], reason: str) -> HostStep:
    compute = node.opdef.compute
    if compute is None:
        raise Unplannable(f"{node.opdef.name} has no kernel")
    bound = partial(compute, **node.attrs) if node.attrs else compute
    return HostStep(bound, node, needs, node.opdef.takes_context, reason)
