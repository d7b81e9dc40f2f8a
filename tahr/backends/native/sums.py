"""What a loop adds up, and what can as well be added up behind it, at once.

That is a matrix product in each iteration, the gradient of a weight: the factors are kept, and there is one product.
Where nobody knows how many iterations there are, the factors of some are kept, and multiplied together: `added_up.py`.
Rows of a factor that were looked up in a table are not multiplied one by one: see `looked_up.py`. The gradient of such
a table adds up products, too. As P^T (G W^T) = (P^T G) W^T, it needs the same sums of rows of G as the gradient of W.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from tahr.backends.native import ahead
from tahr.core import dtypes, sizes
from tahr.core.opdef import known_int, known_ints
from tahr.core.sizes import Dim
from tahr.ops import (
    counted,
    cropping,
    elementwise,
    indexing,
    joining,
    linalg,
    list_arrays,
    lists,
    structural,
    transposing,
)
from tahr.program.node import Node, Program, Value
from tahr.program.rewrite import rewrite

Users = Mapping[Value, Sequence[Node]]


@dataclass(frozen=True, eq=False)
class Sum:
    """A variable to which each iteration adds a matrix product, such as the gradient of a weight; or some of its rows.

    The factors of all iterations are kept, and the sum is one product behind the loop: it goes over more rows at once.

    Attributes:
        place: the variable's.
        first: the first of its rows.
        a, b: the body's values of which a^T b is added, [rows, m] and [rows, n].
        lookup: where the rows of the one factor are looked up in a table, how; then `a` is their indices.
    """

    place: int
    first: int
    a: Value
    b: Value
    lookup: Node | None = None


@dataclass(frozen=True, eq=False)
class Share:
    """A matrix product whose rows are gradients of rows of a table.

    Attributes:
        sum: the sum that has the left factor, and knows the table.
        matrix: the right factor: the body's input of which it is some columns.
        first: the first of those columns.
    """

    sum: Sum
    matrix: Value
    first: int


@dataclass(frozen=True, eq=False)
class Shares:
    """A list of gradients of rows that were looked up in a table, if only the sums of those of equal rows are wanted.

    So it does not matter which of them has which share in the sum: one of them may have all.

    Attributes:
        place: the variable's that is the list.
        indices: the body's input that is the list of the rows' indices.
        terms: what each iteration adds to an item of the list.
    """

    place: int
    indices: Value
    terms: Sequence[Share]


def find_sums(
    test: Program, body: Program, results: Sequence[Value], count: int, looked_up: Set[Value]
) -> list[Sum]:
    """The variables of a loop to which nothing happens but that products of matrices are added.

    Args:
        test, body: the loop's condition and body.
        results: what the body makes of the variables.
        count: how many variables there are.
        looked_up: the body's values that are rows of a table around it.
    """
    users = _users(test, body)
    found: list[Sum] = []
    for i in range(count):
        variable, result = body.inputs[i], results[i]
        if result.node.opdef is not elementwise.AddV2 or users.get(variable) != [result.node]:
            continue
        (product,) = (v for v in result.node.inputs if v is not variable)
        if users[product] != [result.node] or result in users or results.count(result) > 1:
            continue
        attrs = product.node.attrs
        is_product = product.node.opdef is linalg.MatMul and attrs["transpose_a"] and not attrs["transpose_b"]
        if is_product and product.dtype in (dtypes.float32, dtypes.float64):
            a, b = product.node.inputs
            found += _parts(i, a, b, looked_up)
    return found


def _parts(place: int, a: Value, b: Value, looked_up: Set[Value]) -> list[Sum]:
    """The sum of a^T b; where `a` is put together of parts that are looked up and others, one sum for each part."""
    parts = ahead.beside_each_other(a)
    widths = [(part.shape or (None,))[-1] for part in parts]
    if looked_up.isdisjoint(parts):
        return [Sum(place, 0, a, b)]
    found: list[Sum] = []
    first = 0
    for part, width in zip(parts, widths):
        if not isinstance(width, int):
            return [Sum(place, 0, a, b)]
        lookup = part.node if part in looked_up else None
        found.append(Sum(place, first, part if lookup is None else lookup.inputs[1], b, lookup))
        first += width
    return found


# Where nobody knows how many iterations there are, so many rows of factors are multiplied at once, those of so many
# iterations at most.
_AT_ONCE, _ITERATIONS = 128, 32
# What is saved is to read and write the sum in each iteration, what is spent to copy factors to where they wait.
# Measured on a Zen 4, an element takes about as long in both; it shall pay twice, and more than further steps take.
# Where nobody knows how many rows there are in an iteration, they count as so many.
_WORTH, _LEAST, _USUAL_ROWS = 2, 2048, 32


def worth_keeping(sums: Sequence[Sum]) -> list[Sum]:
    """Those of which it pays to add the products of some iterations at once, where their number has no bound."""
    return [s for s in sums if _is_worth_keeping(s)]


def _is_worth_keeping(each: Sum) -> bool:
    m, n = ((v.shape or (None,))[-1] for v in (each.a, each.b))
    rows = _rows(each)
    rows = rows if isinstance(rows, int) else _USUAL_ROWS
    if not isinstance(m, int) or not isinstance(n, int) or 2 * rows > _AT_ONCE:
        return False
    return m * n >= max(_LEAST, _WORTH * (m + n) * rows)


def _rows(each: Sum) -> Dim:
    """How many rows factors have in an iteration."""
    assert each.a.shape is not None
    return each.a.shape[0]


def kept_at_once(sums: Sequence[Sum]) -> Dim:
    """Of how many iterations the factors are kept, where their number has no bound."""
    most: Dim = 1
    for each in sums:
        most = sizes.maximum(most, _rows(each))
    return sizes.maximum(1, sizes.minimum(_ITERATIONS, _AT_ONCE // most))


def _users(*programs: Program) -> dict[Value, list[Node]]:
    users: dict[Value, list[Node]] = {}
    for program in programs:
        for node in program.nodes():
            for value in node.inputs:
                users.setdefault(value, []).append(node)
    return users


# ---------------------------------------------------------------- gradients of rows of a table


def find_shares(
    node: Node, body: Program, results: Sequence[Value], sums: Sequence[Sum], around: Mapping[Value, Value]
) -> list[Shares]:
    """The lists of zeros to which a loop adds products with the factors of its sums, and nothing else.

    Args:
        node: the loop.
        body: its body.
        results: what the body makes of the loop's variables.
        sums: the loop's.
        around: what the values are around the loop that the body captures.
    """
    users = _users(body)
    found: list[Shares] = []
    for i, first in enumerate(node.inputs[: len(node.outputs)]):
        add = results[i].node
        if add.opdef is not lists.TensorListAdd or users.get(body.inputs[i]) != [add]:
            continue
        item = add.inputs[1].node
        if item.opdef is not lists.TensorListOneItem or first.node.opdef is not lists.TensorListZerosLike:
            continue
        _, index, row = item.inputs
        terms = [_share(term, index, sums, around) for term in _added_up(row)]
        known = [term for term in terms if term is not None]
        indices = {_read_from(term.sum) for term in known}
        if len(known) == len(terms) and len(indices) == 1:
            found.append(Shares(i, indices.pop(), known))
    return found


def _added_up(value: Value) -> list[Value]:
    """The values of which one is the sum."""
    if value.node.opdef is not elementwise.AddV2:
        return [value]
    return [term for operand in value.node.inputs for term in _added_up(operand)]


def _share(row: Value, index: Value, sums: Sequence[Sum], around: Mapping[Value, Value]) -> Share | None:
    """A value as some columns of a product with the factor of a sum over rows that are looked up by the same index."""
    product, first = row, 0
    if row.node.opdef is joining.SplitV:
        widths = known_ints(row.node.inputs[1].spec)
        if widths is None or known_int(row.node.inputs[2].spec) not in (1, -1):
            return None
        product, first = row.node.inputs[0], sum(widths[: row.node.outputs.index(row)])
    attrs = product.node.attrs
    if product.node.opdef is not linalg.MatMul or attrs["transpose_a"] or attrs["transpose_b"]:
        return None
    factor, matrix = product.node.inputs
    if matrix not in around or row.shape is None or not isinstance(row.shape[-1], int):
        return None
    for each in sums:
        if each.lookup is not None and each.b is factor and each.lookup.inputs[1].node.inputs[1] is index:
            return Share(each, matrix, first)
    return None


def _read_from(each: Sum) -> Value:
    """The list from which a sum reads indices."""
    assert each.lookup is not None
    return each.lookup.inputs[1].node.inputs[0]


def are_only_summed(items: Value, indices: Value, users: Users, outputs: Sequence[Value]) -> bool:
    """Whether a list is only used to add up those of its items' rows that have equal indices.

    Args:
        items: the list.
        indices: their indices: a tensor of as many as there are rows.
        users: the nodes that take each value.
        outputs: the values that are wanted in any case.
    """
    whole = (list_arrays.TensorListStack, list_arrays.TensorListGatherLike, list_arrays.TensorListStackLike)
    stacks = users.get(items, ())
    if (
        items in outputs
        or not stacks
        or any(s.opdef not in whole or s.inputs[0] is not items for s in stacks)
    ):
        return False
    order = None
    if indices.node.opdef is transposing.Transpose:
        order, indices = known_ints(indices.node.inputs[1].spec), indices.node.inputs[0]
    return all(_rows_are_only_summed(s.outputs[0], order, indices, users, outputs) for s in stacks)


def _rows_are_only_summed(
    tensor: Value, order: Sequence[int] | None, indices: Value, users: Users, outputs: Sequence[Value]
) -> bool:
    """The same of a tensor, of which the dimensions before the last are those of the indices in some order."""
    readers = users.get(tensor, ())
    if tensor in outputs or not readers:
        return False
    for reader in readers:
        if reader.opdef is indexing.UnsortedSegmentSum and order is None and reader.inputs[0] is tensor:
            if not _tells_apart(reader.inputs[1], indices):
                return False
            continue
        is_followed = _keeps_rows(reader) if order is None else _puts_in_order(reader, order)
        if not is_followed or not _rows_are_only_summed(reader.outputs[0], None, indices, users, outputs):
            return False
    return True


def _puts_in_order(node: Node, order: Sequence[int]) -> bool:
    """Whether a node undoes a transposition of all dimensions but the last."""
    turned = known_ints(node.inputs[1].spec) if node.opdef is transposing.Transpose else None
    return turned is not None and [order[i] for i in turned[:-1] if i < len(order)] == list(range(len(order)))


def _keeps_rows(node: Node) -> bool:
    """Whether a node makes a matrix of all rows, in their order."""
    if node.opdef is not structural.Reshape:
        return False
    before, after = node.inputs[0].shape, node.outputs[0].shape
    return bool(before) and bool(after) and isinstance(before[-1], int) and before[-1] == after[-1]


def _tells_apart(places: Value, indices: Value) -> bool:
    """Whether there are places for indices, in their order: equal ones for equal ones."""
    if places.node.opdef is counted.PaddedUnique and places.node.outputs[1] is places:
        places = places.node.inputs[0]
    while places is not indices:
        if places.node.opdef is not structural.Reshape:
            return False
        places = places.node.inputs[0]
    return True


# ---------------------------------------------------------------- what is left of the body


def narrowed(body: Program) -> Program:
    """The same, but of products of which only one part is used, beside others, only that is computed."""
    used = {*body.outputs, *(v for node in body.nodes() for v in node.inputs)}
    users = _users(body)

    def narrow(node: Node) -> Sequence[Value] | None:
        parts = [v for v in node.outputs if v in used]
        if (
            node.opdef is not joining.SplitV
            or len(parts) != 1
            or known_int(node.inputs[2].spec) not in (1, -1)
        ):
            return None
        product, widths = node.inputs[0], known_ints(node.inputs[1].spec)
        attrs = product.node.attrs
        is_product = (
            product.node.opdef is linalg.MatMul and not attrs["transpose_a"] and not attrs["transpose_b"]
        )
        if widths is None or not is_product or users[product] != [node] or product in body.outputs:
            return None
        a, b = product.node.inputs
        at = node.outputs.index(parts[0])
        begin, size = (np.array(x, np.int32) for x in ([0, sum(widths[:at])], [-1, widths[at]]))
        builder = body.builder
        columns = builder.value(cropping.Slice, b, builder.constant(begin), builder.constant(size))
        part = builder.value(linalg.MatMul, a, columns, op=product.node.op)
        return [part if v is parts[0] else v for v in node.outputs]

    return rewrite(body, narrow)
