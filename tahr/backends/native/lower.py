"""Groups become calls of kernels: the expressions of their nodes, and where everything lies in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from tahr.backends.native import by_rows, fuse, gemm, nest_kernels, nests, roles, singles, tracing, windows
from tahr.backends.native.assembling import Seats
from tahr.backends.native.calls import Bind, Call, Known, Partial, Place, Ref
from tahr.backends.native.epilogue import COLUMN, FULL, SCALAR, Epilogue, Operand
from tahr.backends.native.fuse import Fusion
from tahr.backends.native.groups import Group, Map
from tahr.backends.native.matrices import flips, matrix, merged_batches
from tahr.backends.native.multiplication import Multiplication
from tahr.backends.native.nests import Access, Bound, Extent, Nest, Position, Reduce
from tahr.backends.native.roles import Role
from tahr.backends.native.tiles import Loop
from tahr.core import scalar
from tahr.core.convert import Const
from tahr.core.dtypes import DType
from tahr.core.forms import Reduction
from tahr.core.opdef import known_value
from tahr.core.scalar import Scalar
from tahr.core.sizes import Dim
from tahr.core.views import View, dense_strides
from tahr.program.node import Node, Value

# Leaves that stand for results of reductions while a nest's inputs are still being counted.
_RESULTS = 1 << 20


@dataclass(frozen=True)
class _Form:
    """One way to compute a product.

    Attributes:
        multiplication: its sizes, and for how many rows it is computed.
        buffers: A, B, the epilogue's operands and its outputs.
        reads, writes: the storages that it uses.
    """

    multiplication: Multiplication
    buffers: tuple[Ref, ...]
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]


class Lowering:
    """Makes the calls of a segment's groups.

    Args:
        fusion: the groups.
        node_roles: what each node is.
        places: where each value lies.
        needs: for each node the values that its kernel reads.
        wanted: the roots that something outside their group reads.
        recomputed: the values that nests compute again instead of reading them.
        seats: where nests write what is a part of something else.
    """

    def __init__(
        self,
        fusion: Fusion,
        node_roles: Mapping[Node, Role],
        places: Mapping[Value, Place],
        needs: Mapping[Node, Sequence[Value]],
        wanted: Callable[[Value, Group], bool],
        recomputed: Set[Value] = frozenset(),
        seats: Seats | None = None,
    ) -> None:
        self._fusion = fusion
        self._roles = node_roles
        self._places = places
        self._needs = needs
        self._wanted = wanted
        self._recomputed = recomputed
        self._seats = {} if seats is None else seats
        # Equal layers have equal nests: each is written once.
        self._compiled = functools.cache(nest_kernels.compiled)

    def calls(self, group: Group) -> list[Call]:
        """The calls of one group."""
        if group.anchor is None:
            return [
                _NestBuilder(
                    self._roles,
                    self._places,
                    self._needs,
                    self._wanted,
                    self._recomputed,
                    self._seats,
                    group,
                ).call(self._compiled)
            ]
        role = self._roles[group.anchor]
        if role is Role.PRODUCT:
            return [self._product(group)]
        if role is Role.WINDOW:
            epilogue, operands, outputs = self._epilogue(group)
            places = self._dense_places(group.anchor, role)
            return [windows.call(group.nodes, places, epilogue, operands, outputs, self._fusion.of)]
        if role is Role.SINGLE:
            single = singles.single(group.anchor)
            assert single is not None
            return [single.call(group.anchor, self._dense_places(group.anchor, role))]
        return self._parts(group.anchor)

    def _dense_places(self, node: Node, role: Role) -> Mapping[Value, Place]:
        """Where values lie, for a kernel that reads dense copies of some of its node's inputs."""
        data = (node.inputs[i] for i in roles.data_inputs(node, role))
        return {**self._places, **{v: self._places[n] for v, n in zip(data, self._needs[node])}}

    # ------------------------------------------------------------ products

    def _product(self, group: Group) -> Call:
        """The call of a product, in each of its forms."""
        forms = self._forms(group)
        title = " ".join(_unique(n.opdef.name for n in group.nodes))
        reads = dict.fromkeys(r for form in forms for r in form.reads)
        binders = [form.multiplication.binder(form.buffers) for form in forms]

        def bind(known: Known) -> tuple[list[Bind], dict[Partial, int]]:
            return [step for binder in binders for step in binder(known)[0]], {}

        return Call(title, tuple(group.nodes), tuple(reads), forms[0].writes, (), bind)

    def _forms(self, group: Group) -> list[_Form]:
        """The forms of a product, of which the number of rows chooses one."""
        anchor = group.anchor
        assert anchor is not None
        if anchor.opdef is by_rows.ProductAhead:
            return [self._form(group, most_rows=anchor.attrs["most_rows"])]
        if anchor.opdef is not by_rows.ProductOfRest:
            return [self._form(group)]
        most, first, count = (anchor.attrs[name] for name in ("most_rows", "first", "count"))
        rest = self._form(group, self._needs[anchor][2], (first, count), most_rows=most)
        return [rest, self._form(group, least_rows=most + 1)]

    def _form(
        self, group: Group, added: Value | None = None, terms: tuple[int, int] | None = None, **rows: int
    ) -> _Form:
        """A product for some numbers of rows.

        Args:
            added: what is added to it.
            terms: the first term of its sums, and how many they have; None for all of them.
            rows: the least and the most rows for which it is computed.
        """
        anchor = group.anchor
        assert anchor is not None and anchor.outputs[0].dtype is not None
        a, b = (self._places[v] for v in self._needs[anchor][:2])
        epilogue, operands, outputs = self._epilogue(group, added)
        shape = anchor.outputs[0].dims
        flip_a, flip_b = flips(anchor)
        left, right = matrix(a.view, flip_a), matrix(b.view, flip_b)
        assert left is not None and right is not None
        spec = gemm.Product(anchor.outputs[0].dtype, left.is_transposed, right.is_transposed, epilogue)
        batch_shape = shape[:-2]
        out = dense_strides(shape)
        dims = merged_batches(batch_shape, left.batches(batch_shape), right.batches(batch_shape), out[:-2])
        first, k = terms or (0, left.columns)
        skipped_a = first * (left.stride if left.is_transposed else 1)
        skipped_b = first * (1 if right.is_transposed else right.stride)
        buffers = (
            Ref(a.root, a.view.offset + skipped_a),
            Ref(b.root, b.view.offset + skipped_b),
            *operands,
            *(Ref(v) for v in outputs),
        )
        return _Form(
            Multiplication(spec, shape[-2], shape[-1], k, left.stride, right.stride, dims, **rows),
            buffers,
            tuple(r.storage for r in buffers[: 2 + len(operands)] if isinstance(r.storage, Value)),
            tuple(outputs),
        )

    def _epilogue(self, group: Group, added: Value | None = None) -> tuple[Epilogue, list[Ref], list[Value]]:
        """What a group computes from its product: the expressions, their operands and where results go.

        Args:
            added: what is added to the product before.
        """
        anchor = group.anchor
        assert anchor is not None
        product = anchor.outputs[0]
        assert product.dtype is not None
        values: dict[Value, Scalar] = {product: scalar.leaf(0, product.dtype)}
        operands: dict[tuple[Value, Dim, str], Scalar] = {}
        described: list[Operand] = []
        updated: dict[Value, Scalar] = {}

        def operand(value: Value, dtype: DType, shape: Sequence[Dim]) -> Scalar:
            place = self._places[value]
            if place.root in values:
                return values[place.root]
            if value in self._recomputed:
                inputs = value.node.inputs
                return _applied(value.node, Role.ELEMENTWISE, lambda i, t: operand(inputs[i], t, shape))[0]
            constant = _constant(value, self._roles.get(value.node), dtype)
            if constant is not None:
                return constant
            access = self._fusion.operand_access(group, value, shape)
            assert access in (FULL, COLUMN, SCALAR)
            key = (place.root, place.view.offset, access)
            if key not in operands:
                described.append(Operand(dtype, access))
                operands[key] = scalar.leaf(len(described), dtype)
            return operands[key]

        if added is not None:
            values[product] = operand(added, product.dtype, product.dims) + values[product]
        for node in group.nodes[1:]:
            role = self._roles[node]
            shape = fuse.iteration_shape(node, role)
            read = _read(node, role, self._needs)
            results = _applied(node, role, lambda i, t, r=read, s=shape: operand(r[i], t, s))
            if role is Role.UPDATE:
                cells = (node.inputs[i] for i in node.opdef.effects.writes)
                updated.update(zip(cells, results))
            else:
                values[node.outputs[0]] = results[0]
        stored = {v: e for v, e in values.items() if self._wanted(v, group)} | updated
        refs = [Ref(root, offset) for root, offset, _ in operands]
        return Epilogue(tuple(stored.values()), tuple(described)), refs, list(stored)

    # ------------------------------------------------------------ assemblies

    def _parts(self, node: Node) -> list[Call]:
        """One copying nest for each part, behind one that fills the whole."""
        assembly = roles.assembly(node)
        output = node.outputs[0]
        places = self._dense_places(node, Role.PARTS)
        assert assembly is not None and output.dtype is not None
        calls: list[Call] = []
        if assembly.fill is not None or assembly.fill_input is not None:
            calls.append(self._fill(node, assembly))
        for part in assembly.parts:
            value = node.inputs[part.input]
            if value in self._seats:
                continue  # it is there already
            place = places[value]
            source = compose(part.source, place.view, value.dims)
            assert source is not None
            nest = _copying(
                part.target.shape,
                Access(output.dtype, source.strides, source.offset),
                Access(output.dtype, part.target.strides, part.target.offset),
            )
            calls.append(_nest_call(nest, [place.root], [output], [], (node,), f"part of {node.opdef.name}"))
        return calls

    def _fill(self, node: Node, assembly: roles.Assembly) -> Call:
        output = node.outputs[0]
        assert output.dtype is not None
        shape = output.dims
        store = Access(output.dtype, dense_strides(shape))
        if assembly.fill_input is None:
            nest = _filling(shape, assembly.fill, store)
            return _nest_call(nest, [], [output], [], (node,), f"fill of {node.opdef.name}")
        place = self._places[node.inputs[assembly.fill_input]]
        source = Access(output.dtype, (0,) * len(shape), place.view.offset)
        nest = _copying(shape, source, store)
        return _nest_call(nest, [place.root], [output], [], (node,), f"fill of {node.opdef.name}")


def _copying(shape: Sequence[Dim], source: Access, target: Access) -> Nest:
    """The nest that copies elements."""
    return Nest((), tuple(shape), (source,), (), ((scalar.leaf(0, source.dtype), target),))


def _filling(shape: Sequence[Dim], number: Any, target: Access) -> Nest:
    """The nest that writes one number everywhere."""
    return Nest((), tuple(shape), (), (), ((scalar.constant(number, target.dtype), target),))


def copy_call(place: Place, value: Value, target: Value) -> Call:
    """The call that copies a value, which lies in some place, to the start of a storage."""
    assert target.dtype is not None
    shape = value.dims
    source = Access(target.dtype, place.view.strides, place.view.offset)
    store = Access(target.dtype, dense_strides(shape))
    return _nest_call(_copying(shape, source, store), [place.root], [target], [], (), "copy")


def zeros_call(target: Value) -> Call:
    """The call that fills a storage with zeros."""
    assert target.dtype is not None
    shape = target.dims
    store = Access(target.dtype, dense_strides(shape))
    return _nest_call(_filling(shape, 0, store), [], [target], [], (), "zeros")


# ---------------------------------------------------------------- nests


class _NestBuilder:
    """Makes the nest of a group."""

    def __init__(
        self,
        node_roles: Mapping[Node, Role],
        places: Mapping[Value, Place],
        needs: Mapping[Node, Sequence[Value]],
        wanted: Callable[[Value, Group], bool],
        recomputed: Set[Value],
        seats: Seats,
        group: Group,
    ) -> None:
        self._roles = node_roles
        self._places = places
        self._needs = needs
        self._wanted = wanted
        self._recomputed = recomputed
        self._seats = seats
        self._group = group
        self._leaves: dict[object, Scalar] = {}
        self._inputs: list[nests.Source] = []
        self._sources: list[Value] = []
        self._values: dict[Value, Scalar] = {}
        self._reduces: list[Reduce] = []
        self._leaving: list[tuple[int, Value]] = []
        self._updated: list[tuple[Value, Scalar, Node]] = []

    def call(self, compiled: Callable[[Nest, str], Loop]) -> Call:
        """The call; `compiled` makes its kernel."""
        group = self._group
        for node in group.nodes:
            self._add(node, self._roles[node])
        stores: list[tuple[Scalar, Access]] = []
        targets: list[Value] = []
        for value, e in self._values.items():
            if value not in group.leaving and self._wanted(value, group):
                assert value.dtype is not None
                target, view = self._seats.get(value, (value, View.dense(value.dims)))
                strides = self._strides(view, group.maps[value], view.shape)
                stores.append((e, Access(value.dtype, strides, view.offset)))
                targets.append(target)
        for cell, e, node in self._updated:
            view = View.dense(cell.node.attrs["shape"])
            stores.append((e, Access(e.dtype, self._strides(view, group.maps[node], view.shape))))
            targets.append(cell)
        final = {
            _RESULTS + j: scalar.leaf(len(self._inputs) + j, r.dtype) for j, r in enumerate(self._reduces)
        }
        expressions = scalar.substitute([e for e, _ in stores] + [r.what for r in self._reduces], final)
        split = group.split or 0
        nest = Nest(
            tuple(group.space[:split]),
            tuple(group.space[split:]),
            tuple(self._inputs),
            tuple(replace(r, what=e) for r, e in zip(self._reduces, expressions[len(stores) :])),
            tuple((e, a) for e, (_, a) in zip(expressions, stores)),
        )
        title = " ".join(_unique(n.opdef.name for n in group.nodes))
        return _nest_call(nest, self._sources, targets, self._leaving, tuple(group.nodes), title, compiled)

    def _add(self, node: Node, role: Role) -> None:
        mapping = self._group.maps[node]
        shape = fuse.iteration_shape(node, role)
        if role is Role.IOTA:
            self._values[node.outputs[0]] = self._iota(node, mapping)
            return
        if role is Role.REDUCE:
            self._reduce(node, self._operand(node.inputs[0], None, mapping, shape))
            return
        read = _read(node, role, self._needs)
        results = _applied(node, role, lambda i, dtype: self._operand(read[i], dtype, mapping, shape))
        if role is Role.UPDATE:
            cells = [node.inputs[i] for i in node.opdef.effects.writes]
            self._updated += [(c, e, node) for c, e in zip(cells, results)]
        else:
            self._values.update(zip(node.outputs, results))

    def _reduce(self, node: Node, what: Scalar) -> None:
        form, group, result = node.opdef.form, self._group, node.outputs[0]
        assert isinstance(form, Reduction) and result.dtype is not None
        reduced = fuse.reduced_axes(node)
        over = [a for i in reduced for a in group.maps[node][i]]
        if not over:
            self._values[result] = what
            return
        split = group.split or 0
        if result in group.leaving:
            kind = "column" if len(over) < len(group.space) else "all"
            self._leaving.append((len(self._reduces), result))
        else:
            kind = "row"
            assert min(over) == split
        self._values[result] = scalar.leaf(_RESULTS + len(self._reduces), result.dtype)
        self._reduces.append(Reduce(form.combine, kind, what, result.dtype))

    def _iota(self, node: Node, mapping: Map) -> Scalar:
        dtype = node.outputs[0].dtype
        assert dtype is not None
        start = self._operand(node.inputs[0], None, mapping, node.outputs[0].dims)
        delta = self._operand(node.inputs[-1], None, mapping, node.outputs[0].dims)
        index: Scalar = scalar.constant(0, dtype)
        for axis in mapping[0]:  # several, where a reader goes through it in another shape
            position = self._leaf(("position", axis, dtype), dtype, Position(dtype, axis))
            index = index * self._extent(self._group.space[axis], dtype) + position
        return start + index * delta

    def _extent(self, count: Dim, dtype: DType) -> Scalar:
        """The expression of a size."""
        if isinstance(count, int):
            return scalar.constant(count, dtype)
        return self._leaf(("extent", count, dtype), dtype, Extent(dtype, count))

    def _operand(self, value: Value, dtype: DType | None, mapping: Map, shape: Sequence[Dim]) -> Scalar:
        """The expression for an element of a value that a node reads."""
        place = self._places[value]
        dtype = dtype or value.dtype
        assert dtype is not None
        if place.root in self._values and place.root not in self._group.leaving:
            return self._values[place.root]
        if value in self._recomputed:
            inputs = value.node.inputs
            return _applied(
                value.node, Role.ELEMENTWISE, lambda i, t: self._operand(inputs[i], t, mapping, shape)
            )[0]
        constant = _constant(value, self._roles.get(value.node), dtype)
        if constant is not None:
            return constant
        count = _count(value, self._roles.get(value.node))
        if count is not None:
            return self._extent(count, dtype)
        strides = self._strides(place.view, mapping, shape)
        key = (place.root, strides, place.view.offset)
        if key not in self._leaves:
            self._sources.append(place.root)
        return self._leaf(key, dtype, Access(dtype, strides, place.view.offset))

    def _leaf(self, key: object, dtype: DType, source: nests.Source) -> Scalar:
        if key not in self._leaves:
            self._leaves[key] = scalar.leaf(len(self._inputs), dtype)
            self._inputs.append(source)
        return self._leaves[key]

    def _strides(self, view: View, mapping: Map, shape: Sequence[Dim]) -> tuple[Dim, ...]:
        """The strides of a view along the dimensions of the space, for something of a shape that is mapped to it."""
        space = self._group.space
        strides: list[Dim] = [0] * len(space)
        first = len(shape) - len(view.shape)
        for i, (size, stride) in enumerate(zip(view.shape, view.strides), first):
            if size == 1 or stride == 0:
                continue
            for axis in reversed(mapping[i]):
                strides[axis] = stride
                stride = stride * space[axis]
        return tuple(strides)


def _nest_call(
    nest: Nest,
    sources: Sequence[Value],
    targets: Sequence[Value],
    leaving: Sequence[tuple[int, Value]],
    nodes: tuple[Node, ...],
    title: str,
    compiled: Callable[[Nest, str], Loop] = nest_kernels.compiled,
) -> Call:
    loop = compiled(nests.collapsed(nest), title)
    reduces = loop.nest.reduces
    partials = [Partial(value, reduces[j].accumulator) for j, value in leaving]
    left = [reduces[j] for j, _ in leaving]
    combiners = [nest_kernels.combiner(r.combine, r.accumulator, r.dtype) for r in left]
    fixed = (*(Ref(s) for s in sources), *(Ref(t) for t in targets))

    def bind(known: Known) -> tuple[list[Bind], dict[Partial, int]]:
        bound = loop.bind(known)
        buffers: list[Ref] = list(fixed)
        counts: dict[Partial, int] = {}
        more: list[Bind] = []
        for (j, value), partial, combine in zip(leaving, partials, combiners):
            width = loop.width(known) if reduces[j].over == "column" else 1
            if bound.tiles == 1 and partial.dtype is value.dtype:
                buffers.append(Ref(value))
                continue
            counts[partial] = bound.tiles * width
            buffers.append(Ref(partial))
            table = Bound((bound.tiles, width), nest_kernels.combiner_tiles(width))
            more.append(Bind(combine, (Ref(partial), Ref(value)), table))
        return [Bind(loop.kernel, tuple(buffers), bound), *more], counts

    return Call(
        title,
        nodes,
        tuple(dict.fromkeys(sources)),
        (*targets, *(v for _, v in leaving)),
        (loop.kernel, *combiners),
        bind,
        loop=loop,
    )


def _read(node: Node, role: Role, needs: Mapping[Node, Sequence[Value]]) -> Mapping[int, Value]:
    """What a node reads in the place of each of its inputs: an update may read a copy."""
    return dict(zip(roles.data_inputs(node, role), needs[node]))


def _applied(node: Node, role: Role, operand: Callable[[int, DType], Scalar]) -> list[Scalar]:
    """The expressions of what a node computes; only operands that they use are asked for."""
    found = tracing.update_traced(node) if role is Role.UPDATE else tracing.traced(node)
    assert found is not None
    used = {e.value: e.dtype for e in scalar.ordered(found) if e.op == "leaf"}
    return scalar.substitute(found, {i: operand(i, dtype) for i, dtype in sorted(used.items())})


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _constant(value: Value, role: Role | None, dtype: DType) -> Scalar | None:
    """The expression of what is the same number everywhere."""
    if role is Role.UNIFORM:
        found = tracing.traced(value.node)
        assert found is not None
        return found[0]
    if value.node.opdef is Const and value.node.attrs["value"].size == 1:
        return scalar.constant(value.node.attrs["value"].item(), dtype)
    return None


def _count(value: Value, role: Role | None) -> Dim | None:
    """The size that a scalar is."""
    if role is Role.EXTENT:
        return roles.extent(value.node)
    known = known_value(value.spec) if value.spec.value is not None else None
    return known[0] if known is not None and len(known) == 1 else None


def part_fits(node: Node, number: int, view: View) -> bool:
    """Whether the parts that come from an input can be read where it lies."""
    shape = node.inputs[number].dims
    assembly = roles.assembly(node)
    assert assembly is not None
    return all(compose(p.source, view, shape) is not None for p in assembly.parts if p.input == number)


def compose(inner: View, outer: View, shape: Sequence[Dim]) -> View | None:
    """A view of a dense tensor of a shape, as a view of the storage that this tensor itself is a view of."""
    if outer.is_dense and outer.offset == 0:
        return inner
    strides = dense_strides(shape)
    if inner.strides == strides and inner.offset == 0:
        return outer
    return None
