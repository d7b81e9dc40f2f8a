"""What of a loop's body is computed ahead of the loop, once.

It is what depends on nothing that changes in the loop; it becomes a value that the loop captures. A matrix by whose
transpose each iteration multiplies is transposed ahead, so that its rows lie as the product reads them. And where
iterations multiply one item each of a list by a matrix, as a recurrent net does with its inputs, all items are
multiplied at once if that pays: larger products are faster. Where only a run knows whether it does, see `by_rows.py`.
If the items were looked up in a table, the table is multiplied instead: see `looked_up.py`. If the item is only a part
of what is multiplied, [x, h] W, the product is taken apart: x W1 + h W2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tahr.backends.native import blocked, by_rows, roles, target as targets
from tahr.backends.native.looked_up import LookedUp
from tahr.backends.native.roles import Role
from tahr.core import dtypes
from tahr.core.opdef import known_int
from tahr.core.sizes import Size
from tahr.ops import cropping, elementwise, indexing, joining, linalg, list_arrays, transposing
from tahr.program.node import Builder, Input, Node, Program, Value
from tahr.program.rewrite import is_rewritable, rewrite

_FREE = frozenset({Role.VIEW, Role.CONSTANT, Role.KNOWN, Role.EXTENT, Role.UNIFORM, Role.IOTA})
"""What costs nothing in the body."""
_MOVED = frozenset({Role.ELEMENTWISE, Role.REDUCE, Role.PARTS, Role.PRODUCT, Role.WINDOW})
"""What is computed ahead. Nothing of it can fail: the loop may have no iterations at all."""


# A product of all rows is kept until the loop has ended: it must not be larger than the rows by more than this.
_MOST_GROWTH = 16
# Matrices that fill the second-level cache so many times leave the loop, with what they multiply: measured, see
# docs/benchmarks.md.
_MANY_CACHES = 2


@dataclass(frozen=True)
class Moved:
    """A loop's body without what is computed ahead of it.

    Attributes:
        body: the body, which takes further inputs behind its own.
        inputs: what those are around it.
        lookups: its values that are rows of a table around it, which it looks up.
    """

    body: Program
    inputs: list[Value]
    lookups: frozenset[Value]


def moved(
    body: Program,
    same: Mapping[Value, Value],
    rows: Mapping[Value, Value],
    looked_up: Mapping[Value, LookedUp],
    builder: Builder,
    is_repeated: bool,
) -> Moved:
    """A loop's body without what is computed ahead of it.

    Args:
        body: the body; it is not changed.
        same: its inputs that do not change while the loop runs, and what they are around it.
        rows: its values that are one row after the other of a tensor around the loop, which is that tensor.
        looked_up: its values that are items of a list around the loop, and how all of them are looked up.
        builder: makes nodes of the program around it.
        is_repeated: whether there may be enough iterations for matrices to be treated ahead.
    """
    return _Mover(body, same, rows, looked_up, builder, is_repeated).result()


class _Mover:
    def __init__(
        self,
        body: Program,
        same: Mapping[Value, Value],
        rows: Mapping[Value, Value],
        looked_up: Mapping[Value, LookedUp],
        builder: Builder,
        is_repeated: bool,
    ) -> None:
        self._body = body
        self._rows = rows
        self._looked_up = looked_up
        self._builder = builder
        self._is_repeated = is_repeated
        # What values of the body that do not change are around the loop, as far as that was asked for.
        self._around_loop = dict(same)
        self._unchanging = set(same)
        self._leaving: set[Node] = set()
        self._lookups: set[Value] = set()
        self._inputs: dict[Value, Value] = {}  # for each further capture, around the loop, the body's input

    def result(self) -> Moved:
        for node in self._body.nodes():
            self._look_at(node)
        given = {v: self._input(self._around(v)) for node in self._wanted() for v in node.outputs}
        steps = (
            (self._looked_up_inside, self._with_rows_in_place, self._without_rows)
            if self._is_repeated
            else ()
        )
        new = rewrite(self._body, *steps, given=given)
        if not self._inputs:
            return Moved(self._body, [], frozenset())
        inputs = [*self._body.inputs, *self._inputs.values()]
        body = Program(new.builder, inputs, new.outputs, new.roots)
        return Moved(body, list(self._inputs), frozenset(self._lookups))

    def _look_at(self, node: Node) -> None:
        """Notes whether a node computes the same in each iteration."""
        role = roles.role(node)
        if role in _FREE | _MOVED and is_rewritable(node) and self._unchanging.issuperset(node.inputs):
            self._unchanging.update(node.outputs)
            if role in _MOVED and node.outputs[0].shape != ():
                self._leaving.add(node)

    def _wanted(self) -> list[Node]:
        """The nodes that leave, and whose results are read by those that stay."""
        wanted: list[Node] = []
        seen: set[Node] = set()
        stack = [*self._body.roots, *(v.node for v in self._body.outputs)]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in self._leaving:
                wanted.append(node)
            else:
                stack += [*(v.node for v in node.inputs), *node.tokens]
        return sorted(wanted, key=lambda node: node.number)

    def _with_rows_in_place(self, node: Node) -> Sequence[Value] | None:
        """A product with a matrix that was transposed ahead, for one with its transpose."""
        if node.opdef is not linalg.MatMul or not node.attrs["transpose_b"]:
            return None
        a, b = node.inputs
        if not self._is_unchanging(b):
            return None
        matrix = self._around(b)
        order = self._builder.constant(np.array([1, 0], np.int32))
        transposed = self._input(self._builder.value(transposing.Transpose, matrix, order, op=node.op))
        attrs = {**node.attrs, "transpose_b": False}
        return self._body.builder.node(node.opdef, [a, transposed], attrs, node.op).outputs

    def _looked_up_inside(self, node: Node) -> Sequence[Value] | None:
        """Rows that are looked up where they are needed, for the item of a list of rows that were looked up before."""
        found = self._looked_up.get(node.outputs[0]) if node.outputs else None
        if found is None:
            return None
        axis = self._body.builder.constant(np.array(0, np.int32))
        table, indices = self._input(found.table), self._item(found.indices, node)
        rows = self._body.builder.value(indexing.GatherV2, table, indices, axis, op=found.op)
        self._lookups.add(rows)
        return [rows]

    def _without_rows(self, node: Node) -> Sequence[Value] | None:
        """A sum of products, of which those with rows of a tensor were computed ahead."""
        parts = self._separable(node)
        leaving = {p for p in parts if p in self._lookups or (p in self._rows and self._pays(p))}
        if not leaving:
            return self._with_choice(node, parts)
        b = node.inputs[1]
        terms: list[Value] = []
        first, rest = 0, list[Value]()
        for part in (*parts, None):
            if part is not None and part not in leaving:
                rest.append(part)
                continue
            if rest:
                left = rest[0] if len(rest) == 1 else self._joined(rest, node)
                width = sum(map(_width, rest))
                factor = _rows_of(self._body.builder, b, first, width)
                terms.append(self._body.builder.value(linalg.MatMul, left, factor, op=node.op))
                first, rest = first + width, []
            if part is not None:
                multiply = self._rows_of_product if part in self._lookups else self._product_of_all
                terms.append(multiply(part, b, first, node))
                first += _width(part)
        total = terms[0]
        for term in terms[1:]:
            total = self._body.builder.value(elementwise.AddV2, total, term, op=node.op)
        return [total]

    def _with_choice(self, node: Node, parts: Sequence[Value]) -> Sequence[Value] | None:
        """A product of which the first or the last part is computed ahead if there turn out to be few rows."""
        part = next((p for p in (*parts[:1], *parts[-1:]) if p in self._rows), None)
        if part is None or not isinstance(part.dims[0], Size):
            return None
        a, b = node.inputs
        rest = _width(a) - _width(part)
        is_first = part is parts[0]
        few = {"most_rows": self._few_rows(part)}
        item = self._product_of_all(part, b, 0 if is_first else rest, node, few)
        attrs = {**node.attrs, **few, "first": _width(part) if is_first else 0, "count": rest}
        specs = [node.outputs[0].spec]
        return self._body.builder.node(by_rows.ProductOfRest, [a, b, item], attrs, node.op, (), specs).outputs

    def _separable(self, node: Node) -> Sequence[Value]:
        """The matrices beside each other that a node multiplies by one that does not change, if each could be alone."""
        if node.opdef is not linalg.MatMul or node.attrs["transpose_a"] or node.attrs["transpose_b"]:
            return ()
        a, b = node.inputs
        parts = beside_each_other(a)
        return parts if self._is_unchanging(b) and _is_moderate(parts, b) else ()

    def _pays(self, part: Value) -> bool:
        """Whether it is faster to multiply all items at once.

        It is where an item has so few rows that the micro-kernel is hardly used, and where iterations would read so
        much of matrices that it is not in the cache any more when they need it again.
        """
        assert part.shape is not None and part.dtype is not None
        rows = part.shape[0]
        is_low = isinstance(rows, int) and rows <= self._few_rows(part)
        cache = blocked.blocking(part.dtype, targets.current()).cache
        return is_low or self._bytes_of_factors >= _MANY_CACHES * cache

    @staticmethod
    def _few_rows(part: Value) -> int:
        """With up to so many rows the micro-kernel is hardly used."""
        assert part.dtype is not None
        return blocked.blocking(part.dtype, targets.current()).rows // 2

    @cached_property
    def _bytes_of_factors(self) -> int:
        """How much of matrices iterations multiply by rows of tensors."""
        return sum(
            _width(part) * _width(node.inputs[1]) * part.dtype.size
            for node in self._body.nodes()
            for part in self._separable(node)
            if part in self._rows and part.dtype is not None
        )

    def _product_of_all(
        self, part: Value, matrix: Value, first: int, node: Node, few: Mapping[str, int] | None = None
    ) -> Value:
        """The row that belongs to the iteration of a product that was computed ahead.

        Args:
            few: the most rows for which it is; None for any number.
        """
        factor = _rows_of(self._builder, self._around(matrix), first, _width(part))
        factors = self._rows[part], factor
        product = self._builder.value(linalg.BatchMatMulV2, *factors, op=node.op)
        if few is not None:
            attrs = {**product.node.attrs, **few}
            specs = [product.spec]
            product = self._builder.node(by_rows.ProductAhead, factors, attrs, node.op, (), specs).outputs[0]
        return self._item(product, part.node)

    def _rows_of_product(self, part: Value, matrix: Value, first: int, node: Node) -> Value:
        """The product of rows of a table: rows of the table's product, which was computed ahead."""
        lookup = part.node
        table, indices, axis = lookup.inputs
        factor = _rows_of(self._builder, self._around(matrix), first, _width(part))
        product = self._input(self._builder.value(linalg.MatMul, self._around(table), factor, op=node.op))
        return self._body.builder.value(lookup.opdef, product, indices, axis, op=lookup.op)

    def _item(self, tensor: Value, read: Node) -> Value:
        """The item of a tensor around the loop that lies where an iteration reads another tensor's item."""
        items = self._builder.value(list_arrays.TensorListFromTensor, tensor, op=read.op)
        assert tensor.shape is not None
        attrs = {**read.attrs, "element_dtype": tensor.dtype, "element_shape": tensor.shape[1:]}
        return self._body.builder.node(
            read.opdef, [self._input(items), read.inputs[1]], attrs, read.op
        ).outputs[0]

    def _joined(self, parts: Sequence[Value], node: Node) -> Value:
        axis = self._body.builder.constant(np.array(1, np.int32))
        return self._body.builder.value(joining.ConcatV2, *parts, axis, op=node.op)

    def _is_unchanging(self, value: Value) -> bool:
        return value in self._unchanging or value in self._around_loop

    def _input(self, around: Value) -> Value:
        """The body's input that is a value around the loop."""
        found = self._inputs.get(around)
        if found is None:
            attrs = {"place": len(self._body.inputs) + len(self._inputs)}
            found = self._body.builder.add(Input, (), attrs, [around.spec]).outputs[0]
            self._inputs[around] = found
            self._around_loop[found] = around
        return found

    def _around(self, value: Value) -> Value:
        """What an unchanging value of the body is around the loop: the same computation there."""
        found = self._around_loop.get(value)
        if found is None:
            node = value.node
            inputs = [self._around(v) for v in node.inputs]
            specs = [v.spec for v in node.outputs]
            made = self._builder.node(node.opdef, inputs, node.attrs, node.op, (), specs)
            self._around_loop.update(zip(node.outputs, made.outputs))
            found = self._around_loop[value]
        return found


def beside_each_other(value: Value) -> tuple[Value, ...]:
    """The matrices of which one consists, from left to right."""
    node = value.node
    if node.opdef is joining.ConcatV2 and known_int(node.inputs[-1].spec) in (1, -1):
        return node.inputs[:-1]
    return (value,)


def _is_moderate(parts: Sequence[Value], matrix: Value) -> bool:
    """Whether widths are known, no product grows too much, and none is rounded on its way."""
    widths = [(part.shape or (None,))[-1] for part in parts]
    columns = (matrix.shape or (None,))[-1]
    return (
        matrix.dtype in (dtypes.float32, dtypes.float64)
        and isinstance(columns, int)
        and all(isinstance(w, int) and columns <= _MOST_GROWTH * w for w in widths)
    )


def _width(matrix: Value) -> int:
    assert matrix.shape is not None
    columns = matrix.shape[-1]
    assert isinstance(columns, int)
    return columns


def _rows_of(builder: Builder, matrix: Value, first: int, count: int) -> Value:
    """Some rows of a matrix."""
    if matrix.shape is not None and matrix.shape[0] == count:
        return matrix
    begin = builder.constant(np.array([first, 0], np.int32))
    size = builder.constant(np.array([count, -1], np.int32))
    return builder.value(cropping.Slice, matrix, begin, size)
