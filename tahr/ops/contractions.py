"""Contractions of tensors: einsum and tensordot, which are products of matrices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import constant_value, convert_to_tensor
from tahr.core.graph import Tensor
from tahr.core.scopes import name_scope
from tahr.ops import elementwise as e, indexing, joining, reductions, structural as s
from tahr.ops.diagonals import matrix_diag_part
from tahr.ops.linalg import as_vector, matmul, size_of


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Tensor:
    """A sum of products of elements, as an equation between indices says.

    `einsum("ij,jk->ik", a, b)` is the matrix product: an index that is missing on the right is summed over.
    It is made of transposes, reshapes, matrix products and sums, from left to right.

    Args:
        equation: one letter for each axis, operands separated by commas. An index that an operand has twice
            means its diagonal. "..." stands for any leading axes, which broadcast; ranks must be known then.
            Without "->" the result has the indices that occur once, in alphabetical order.
        inputs: the operands.
        name: the operations' scope.

    Raises:
        ValueError: the equation is malformed, or does not fit the operands.
    """
    with name_scope(name, "einsum", [equation, *inputs]):
        tensors = [convert_to_tensor(x, name="input") for x in inputs]
        operands, result = _parse_equation(equation, tensors)
        total, labels = _take_diagonals(tensors[0], operands[0])
        for i in range(1, len(tensors)):
            kept = set(result).union(*operands[i + 1 :])
            total, labels = _contract(total, labels, *_take_diagonals(tensors[i], operands[i]), kept)
        total, labels = _sum_out(total, labels, set(result))
        return _transposed(total, labels, result)


_EQUATION = re.compile(r"^([a-zA-Z.]*(?:,[a-zA-Z.]*)*)(?:->([a-zA-Z.]*))?$")


def _parse_equation(equation: str, inputs: Sequence[Tensor]) -> tuple[list[str], str]:
    """The labels of each operand, one letter for each axis, and those of the result."""
    match = _EQUATION.match(equation.replace(" ", ""))
    if match is None:
        raise ValueError(f"Indices have incorrect format: {equation}")
    operands, result = match[1].split(","), match[2]
    if len(operands) != len(inputs):
        raise ValueError(f"Expected {len(operands)} arguments for einsum {equation!r}, but got {len(inputs)}")
    unused = [c for c in map(chr, range(ord("A"), ord("z") + 1)) if c.isalpha() and c not in equation]
    widths = [_ellipsis_width(labels, x, equation) for labels, x in zip(operands, inputs)]
    leading = "".join(unused[: max(widths)])
    operands = [
        labels.replace("...", leading[len(leading) - w :]) if "..." in labels else labels
        for labels, w in zip(operands, widths)
    ]
    if result is None:
        counts = Counter("".join(operands))
        once = sorted(c for c, n in counts.items() if n == 1 and c not in leading)
        result = leading + "".join(once)
    result = result.replace("...", leading)
    missing = [c for c in result if c not in "".join(operands)]
    if missing or len(set(result)) < len(result) or "." in result + "".join(operands):
        raise ValueError(f"Indices have incorrect format: {equation}; check the output's indices {result!r}")
    return operands, result


def _ellipsis_width(labels: str, x: Tensor, equation: str) -> int:
    """How many axes the "..." in the labels stands for. Raises ValueError where the labels do not fit."""
    named = len(labels.replace("...", ""))
    rank = x.spec.rank
    if "..." in labels:
        if rank is None:
            raise ValueError(f"einsum {equation!r}: '...' needs an input of known rank")
        if rank >= named:
            return rank - named
    elif rank is None or rank == named:
        return 0
    raise ValueError(f"einsum {equation!r}: the indices {labels!r} do not fit an input of rank {rank}")


def _take_diagonals(x: Tensor, labels: str) -> tuple[Tensor, str]:
    """An operand without repeated labels."""
    for label in [c for c, n in Counter(labels).items() if n > 1]:
        while labels.count(label) > 1:
            places = [i for i, c in enumerate(labels) if c == label][:2]
            others = [i for i in range(len(labels)) if i not in places]
            x = matrix_diag_part(s.transpose(x, others + places))
            labels = "".join(labels[i] for i in others) + label
    return x, labels


def _sum_out(x: Tensor, labels: str, kept: set[str]) -> tuple[Tensor, str]:
    """The sum over all axes but some."""
    gone = [i for i, c in enumerate(labels) if c not in kept]
    if not gone:
        return x, labels
    return s.reduce_sum(x, gone), "".join(c for c in labels if c in kept)


def _transposed(x: Tensor, labels: str, wanted: str) -> Tensor:
    return x if labels == wanted else s.transpose(x, [labels.index(c) for c in wanted])


def _contract(a: Tensor, labels_a: str, b: Tensor, labels_b: str, kept: set[str]) -> tuple[Tensor, str]:
    """The product of two operands, summed over the labels that both have and nobody needs any more.

    Batch labels come first and stay apart, so that they broadcast; the labels of one operand, and those that
    are summed over, are merged into one axis each: what is left is one matrix product.
    """
    a, labels_a = _sum_out(a, labels_a, kept | set(labels_b))
    b, labels_b = _sum_out(b, labels_b, kept | set(labels_a))
    batch = "".join(c for c in labels_a if c in labels_b and c in kept)
    summed = "".join(c for c in labels_a if c in labels_b and c not in kept)
    free_a = "".join(c for c in labels_a if c not in labels_b)
    free_b = "".join(c for c in labels_b if c not in labels_a)
    dims = {c: size_of(x, i) for x, labels in ((a, labels_a), (b, labels_b)) for i, c in enumerate(labels)}
    if not summed:
        left = _spread(_transposed(a, labels_a, batch + free_a), len(batch + free_a), len(free_b))
        right = _transposed(b, labels_b, batch + free_b)
        if free_a and free_b:
            shape = [dims[c] for c in batch] + [1] * len(free_a) + [dims[c] for c in free_b]
            right = s.reshape(right, shape)
        elif free_a:
            right = _spread(right, len(batch), len(free_a))
        return e.multiply(left, right), batch + free_a + free_b
    left, flip_left = _as_stack(a, labels_a, batch, free_a, summed, dims)
    right, flip_right = _as_stack(b, labels_b, batch, summed, free_b, dims)
    product = matmul(left, right, transpose_a=flip_left, transpose_b=flip_right)
    if len(free_a) != 1 or len(free_b) != 1:
        leading = [size_of(product, i) for i in range(len(batch))]
        product = s.reshape(product, leading + [dims[c] for c in free_a + free_b])
    return product, batch + free_a + free_b


def _spread(x: Tensor, rank: int, count: int) -> Tensor:
    """`x`, of the given rank, with axes of size 1 added at the end."""
    return x if count == 0 else s.reshape(x, [*(size_of(x, i) for i in range(rank)), *([1] * count)])


def _as_stack(
    x: Tensor, labels: str, batch: str, rows: str, columns: str, dims: dict[str, Any]
) -> tuple[Tensor, bool]:
    """An operand as matrices [*batch, rows, columns], and whether they still have to be transposed."""
    is_flipped = labels == batch + columns + rows and labels != batch + rows + columns
    first, second = (columns, rows) if is_flipped else (rows, columns)
    x = _transposed(x, labels, batch + first + second)
    if len(first) != 1 or len(second) != 1:
        leading = [dims[c] for c in batch]
        x = s.reshape(x, [*leading, _product([dims[c] for c in first]), _product([dims[c] for c in second])])
    return x, is_flipped


def _product(sizes: Sequence[Any]) -> Any:
    """The product of integers and scalar tensors."""
    product: Any = 1
    for size in sizes:
        if isinstance(product, int) and isinstance(size, int):
            product = product * size
        else:
            product = e.multiply(product, size)
    return product


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """The sum of products over axes of two tensors.

    Args:
        a: any rank.
        b: any rank.
        axes: how many of the last axes of `a` are paired with as many of the first of `b`; or two lists (or
            integers), the axes of `a` and those of `b`, paired in order.
        name: the operations' scope.

    Returns:
        The remaining axes of `a`, then those of `b`.

    Raises:
        ValueError: the axes do not fit the tensors.
    """
    with name_scope(name, "Tensordot", [a, b, axes]) as scope:
        a = convert_to_tensor(a, name="a")
        b = convert_to_tensor(b, name="b")
        axes_a, axes_b = _paired_axes(axes)
        left, free_a = _as_flat_matrix(a, axes_a, are_last=True)
        right, free_b = _as_flat_matrix(b, axes_b, are_last=False)
        return s.reshape(matmul(left, right), joining.concat([free_a, free_b], 0), name=scope)


def _paired_axes(axes: Any) -> tuple[list[int], list[int]]:
    value = constant_value(axes)
    axes = axes if value is None else value.tolist()
    if isinstance(axes, (int, np.integer)):
        if axes < 0:
            raise ValueError("'axes' must be at least 0.")
        return list(range(-int(axes), 0)), list(range(int(axes)))
    if isinstance(axes, Tensor):
        raise ValueError("tensordot needs axes that are known when the graph is built")
    if len(axes) != 2:
        raise ValueError("'axes' must be an integer or have length 2.")
    axes_a, axes_b = ([int(x)] if np.ndim(x) == 0 else [int(i) for i in x] for x in axes)
    if len(axes_a) != len(axes_b):
        raise ValueError(f"Different number of contraction axes 'a' and 'b', {len(axes_a)} != {len(axes_b)}.")
    return axes_a, axes_b


def _as_flat_matrix(x: Tensor, axes: list[int], are_last: bool) -> tuple[Tensor, Any]:
    """A tensor as a matrix, with some axes merged into its last or first one, and the sizes of the others."""
    if x.spec.rank is None:
        return _as_flat_matrix_of_unknown_rank(x, axes, are_last)
    rank = x.spec.rank
    if any(not -rank <= i < rank for i in axes) or len(axes) > rank:
        raise ValueError(f"'axes' {axes} do not fit a tensor of shape {shapes.show(x.spec.shape)}")
    merged = [i % rank for i in axes]
    free = [i for i in range(rank) if i not in merged]
    order = free + merged if are_last else merged + free
    sizes = [size_of(x, i) for i in range(rank)]
    inner, outer = _product([sizes[i] for i in merged]), _product([sizes[i] for i in free])
    moved = x if order == list(range(rank)) else s.transpose(x, order)
    flat = s.reshape(moved, [outer, inner] if are_last else [inner, outer])
    return flat, as_vector([sizes[i] for i in free])


def _as_flat_matrix_of_unknown_rank(x: Tensor, axes: list[int], are_last: bool) -> tuple[Tensor, Tensor]:
    merged = e.floormod(as_vector(axes), s.rank(x))
    ascending, _ = reductions.axes_to_front(s.rank(x), merged)
    others = indexing.getitem(ascending, slice(len(axes), None))
    moved = s.transpose(x, joining.concat([others, merged] if are_last else [merged, others], 0))
    free = indexing.gather(s.shape(x), others)
    inner = reductions.reduce_prod(indexing.gather(s.shape(x), merged))
    outer = reductions.reduce_prod(free)
    return s.reshape(moved, [outer, inner] if are_last else [inner, outer]), free
