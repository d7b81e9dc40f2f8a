"""Native loops in a plan: the steps of their condition and their body, with jumps, among the steps around them.

A loop's variables lie where its results do; an iteration ends by copying there what the body made. What a loop captures
is read where it lies.
"""

from __future__ import annotations

from tahr.backends.native import (
    added_up,
    gemm,
    list_buffers,
    list_calls,
    lookups,
    lower,
    region_programs,
    roles,
    single,
)
from tahr.backends.native.added_up import Added
from tahr.backends.native.calls import Call, Jump, Mark, Place, Ref, deeper
from tahr.backends.native.epilogue import accumulating, plain
from tahr.backends.native.list_buffers import Storage
from tahr.backends.native.list_plans import Planner, settled
from tahr.backends.native.multiplication import Multiplication
from tahr.backends.native.region_plans import control, in_place, merge
from tahr.backends.native.region_programs import Found, Region
from tahr.backends.native.sums import Shares, Sum
from tahr.core import dtypes
from tahr.core.shapes import Spec
from tahr.core.sizes import Dim
from tahr.core.views import View
from tahr.program.node import Node, Value


class LoopPlans:
    """The loops of one program or region.

    Args:
        planner: its planner.
        found: what of it is native.
    """

    def __init__(self, planner: Planner, found: Found) -> None:
        self._planner = planner
        self._found = found
        # For each loop what it takes, where that is no list; and where the factors of its sums lie.
        self._inputs: dict[Node, list[Value | None]] = {}
        self._factors: dict[Node, dict[Value, Storage]] = {}
        # For sums with a table the sums of rows that belong to equal rows of the table.
        self._added_rows: dict[Sum, Value] = {}

    def place(self, node: Node) -> None:
        """Places a loop's results, and makes room for the factors of its sums."""
        loop, planner, lists = self._found.loops[node], self._planner, self._planner.lists
        inputs = self._inputs[node] = [self._input(node, value) for value in loop.inputs]
        needs: list[Value] = []
        for value, given in zip(loop.inputs, inputs):
            if given is not None:
                needs.append(given)
            elif value in lists.storage:
                needs += [lists.storage[value].items, lists.storage[value].meta]
        own: list[Value] = []
        for i, output in enumerate(node.outputs):
            if output.dtype is not dtypes.variant:
                assert output.shape is not None
                planner.places[output] = Place(output, View.dense(output.shape))
            elif i in loop.adopted:
                lists.change(node, node.inputs[i], output)
            else:
                own += lists.begin(node, output)
        for i, value in enumerate(loop.inputs):
            if value.dtype is dtypes.variant and i in loop.adopted:
                lists.follow(node, value)
            elif value.dtype is dtypes.variant:
                lists.look_at(node, value)
        factors = dict.fromkeys(v for s in loop.sums for v in (s.a, s.b))
        self._factors[node] = {v: self._place_factor(node, v, loop.kept) for v in factors}
        lists.owned[node] = own
        planner.needs[node] = needs
        planner.nodes.append(node)

    def _input(self, node: Node, value: Value) -> Value | None:
        """What a loop is given for a value; None for a list."""
        if value.dtype is dtypes.variant:
            return None
        return self._planner.dense(settled(self._planner, value, region_programs.writes(node)))

    def _place_factor(self, node: Node, factor: Value, kept: Dim) -> Storage:
        """Room for what a value of a loop's body is in so many iterations."""
        assert factor.shape is not None
        return self._planner.lists.new_storage(node, Spec(factor.dtype, (kept, *factor.shape)))

    def calls(self, node: Node) -> list[Call]:
        """The calls of a loop."""
        loop = self._found.loops[node]
        calls: list[Call] = []
        for i, output in enumerate(node.outputs):
            calls += self._entering(node, i, output)
        none = list_buffers.Shape(None, (), 0, 0)
        calls += [list_calls.begin(storage.meta, none, False) for storage in self._factors[node].values()]
        top, end = Mark(), Mark()
        calls.append(control("loop", [top]))
        test = self._inner(node, loop.test)
        test.prepare()
        condition = test.places[settled(test, loop.test.results[0])]
        calls += deeper(test.finished({condition.root}))
        merge(test, self._planner)
        holds = Ref(condition.root, condition.view.offset)
        calls.append(control("while", [Jump(end, holds)], [condition.root]))
        calls += deeper(self._body_calls(node, loop.body))
        full, behind = self._adding(node)
        calls += deeper(full)
        calls.append(control("end of the loop", [Jump(top), end]))
        return calls + behind

    def _entering(self, node: Node, i: int, output: Value) -> list[Call]:
        """What puts a variable's first value where the loop has it."""
        planner = self._planner
        if output.dtype is not dtypes.variant:
            first = self._inputs[node][i]
            assert first is not None
            return [lower.copy_call(planner.places[first], first, output)]
        loop = self._found.loops[node]
        if i in loop.adopted or loop.body.program.inputs[i] in loop.body.found.unread:
            return []
        lists = self._planner.lists
        return lists.brought(node.inputs[i], lists.storage[output], self._found.lists[output])

    def _inner(self, node: Node, region: Region) -> Planner:
        """The planner of a loop's region, whose inputs lie where the loop's variables and captures do."""
        planner = self._planner
        inner = planner.inner(region.program, region.found)
        count = len(node.outputs)
        for k, value in enumerate(region.program.inputs):
            place = None if k < count else region.places[k - count]
            outer = node.outputs[k] if place is None else self._found.loops[node].inputs[place]
            if value.dtype is dtypes.variant:
                if outer in self._planner.lists.storage:  # of another only the length is known, and asked for
                    inner.lists.give(value, self._planner.lists.storage[outer], planner.places)
                continue
            dense = outer if place is None else self._inputs[node][place]
            assert dense is not None and value.shape is not None
            inner.places[value] = Place(planner.places[dense].root, View.dense(value.shape))
        return inner

    def _body_calls(self, node: Node, region: Region) -> list[Call]:
        inner = self._inner(node, region)
        inner.prepare()
        for factor, storage in self._factors[node].items():
            inner.lists.keep(factor, storage, self._planner.places)
        behind = {s.place for s in self._found.loops[node].sums}
        states = {
            v: i for i, v in enumerate(node.outputs) if v.dtype is not dtypes.variant and i not in behind
        }
        made: dict[int, Value] = {}
        for output, i in states.items():
            new = settled(inner, region.results[i])
            root = inner.places[new].root
            if root is output and inner.places[new].view.is_dense:
                continue
            # What lies in a variable would change while the variables change.
            made[i] = inner.copy(new) if root in states else new
        calls = inner.finished({inner.places[v].root for v in made.values()})
        back: list[Call] = []
        for i, new in made.items():
            place, output = inner.places[new], node.outputs[i]
            shared = sum(inner.places[v].root is place.root for v in made.values()) > 1
            renamed = None if shared else in_place(calls, place, output, inner)
            if renamed is None:
                back.append(lower.copy_call(place, new, output))
            else:
                calls = renamed
        merge(inner, self._planner)
        return [*calls, *back]

    # ------------------------------------------------------------ what is added up at once

    def _adding(self, node: Node) -> tuple[list[Call], list[Call]]:
        """The calls that add sums to variables: at an iteration's end, and behind the loop."""
        loop, factors = self._found.loops[node], list(self._factors[node].values())
        if loop.sums and not loop.is_bounded:
            flag = self._planner.lists.room(node, Spec(dtypes.bool_, ()))
            products = [self._added(node, summed) for summed in loop.sums]
            args = factors, products, flag
            return [added_up.when_full(*args)], [added_up.of_the_rest(*args)]
        calls = [list_calls.clear_rest(storage) for storage in factors]
        for summed in loop.sums:
            calls += self._sum_calls(node, summed)
        for shares in loop.shares:
            calls += self._share_calls(node, shares)
        return [], calls

    def _added(self, node: Node, summed: Sum) -> Added:
        """The product that is added to a variable."""
        a, b = (self._factors[node][v].items for v in (summed.a, summed.b))
        return Added(a, b, node.outputs[summed.place], summed.first)

    def _sum_calls(self, node: Node, summed: Sum) -> list[Call]:
        """The calls behind a loop that add to a variable what its iterations would have added."""
        product = self._added(node, summed)
        a, b, *_ = product
        if summed.lookup is None:
            return [product.product()]
        lookup = self._lookup_of_all(node, summed.lookup, a)
        table = lookup.inputs[0]
        assert table.shape is not None and b.shape is not None
        used = self._planner.lists.room(node, table.spec)
        added = self._planner.lists.room(node, Spec(b.dtype, (table.shape[0], b.shape[-1])))
        self._added_rows[summed] = added
        return [
            lookups.rows_in_use(lookup, self._planner.places, used),
            lookups.sums_of_rows(lookup, self._planner.places, b, added),
            product._replace(a=used, b=added).product(),
        ]

    def _share_calls(self, node: Node, shares: Shares) -> list[Call]:
        """The calls behind a loop that give each row of a table's gradient to one of the items that share in it."""
        storage = self._planner.lists.storage
        items = storage[node.outputs[shares.place]].items
        indices = storage[self._around(node, shares.indices)].items
        assert items.shape is not None
        width, dtype = items.shape[-1], single.dtype_of(items)
        height = self._added_rows[shares.terms[0].sum].shape[0]  # pyright: ignore[reportOptionalSubscript]
        total = self._planner.lists.room(node, Spec(dtype, (height, width)))
        calls: list[Call] = []
        for share in shares.terms:
            rows = self._added_rows[share.sum]
            matrix = self._planner.places[self._around(node, share.matrix)]
            kind = accumulating(dtype) if calls else plain(dtype)
            into = (Ref(total), Ref(total)) if calls else (Ref(total),)
            product = gemm.Product(dtype, False, False, kind)
            inner, columns = matrix.view.shape
            multiplication = Multiplication(product, height, width, inner, inner, columns)
            buffers = (Ref(rows), Ref(matrix.root, matrix.view.offset + share.first), *into)
            calls.append(
                Call("MatMul", (), (rows, matrix.root), (total,), (), multiplication.binder(buffers))
            )
        return [*calls, lookups.handed_out(total, indices, items)]

    def _around(self, node: Node, value: Value) -> Value:
        """What the loop's body captures as an input; if that is no list it lies in row-major order."""
        loop = self._found.loops[node]
        place = loop.body.places[loop.body.program.inputs.index(value) - len(node.outputs)]
        return self._inputs[node][place] or loop.inputs[place]

    def _lookup_of_all(self, node: Node, lookup: Node, indices: Value) -> Node:
        """What all iterations look up in a table around a loop: a node that is not computed, but explains errors."""
        planner, table = self._planner, self._around(node, lookup.inputs[0])
        assert table.shape is not None and indices.shape is not None
        planner.places[indices] = Place(indices, View.dense(indices.shape))
        spec = Spec(table.dtype, (*indices.shape, *table.shape[1:]))
        inputs = [table, indices, *lookup.inputs[2:]]
        made = planner.program.builder.add(lookup.opdef, inputs, lookup.attrs, [spec], lookup.op)
        planner.roles[made] = roles.role(made)
        return made
