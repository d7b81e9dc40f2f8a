"""What computations cost, by count: the bytes of arrays and the floating-point operations of nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tahr.core import scalar, sizes
from tahr.core.forms import (
    Accumulation,
    Contraction,
    Elementwise,
    Extent,
    Iota,
    Lookup,
    Movement,
    Reduction,
    Scan,
    Update,
    Window,
)
from tahr.core.scalar import Scalar
from tahr.core.shapes import Shape
from tahr.core.sizes import Unknown
from tahr.program.node import Node, Program, Value

Known = Mapping[str, int]
"""The sizes that symbols stand for."""

# What one primitive of the scalar language counts for; those that are not here are no arithmetic.
_COUNTS = {"fma": 2, "muladd": 2} | dict.fromkeys(
    (
        *("add", "sub", "mul", "div", "neg", "abs", "minimum", "maximum", "sqrt"),
        *("floor", "ceil", "trunc", "rint", "quotient", "remainder"),
    ),
    1,
)
_NO_ARITHMETIC = (Movement, Extent, Iota, Lookup)


def known_sizes(program: Program, values: Sequence[Any]) -> dict[str, int]:
    """The sizes that a program's symbols stand for when it is given some arrays."""
    known: dict[str, int] = {}
    for value, array in zip(program.inputs, values):
        for dim, size in zip(value.shape or (), array.shape):
            name = sizes.name_of(dim)
            if name is not None:
                known[name] = size
    return known


def elements(shape: Shape, known: Known) -> int | None:
    """The number of elements of a shape; None where it follows from data."""
    if shape is None or any(isinstance(d, Unknown) for d in shape):
        return None
    try:
        return math.prod(sizes.evaluate(d, known) for d in shape)  # pyright: ignore[reportArgumentType]
    except KeyError:  # a size of something that is no input
        return None


def size(value: Value, known: Known) -> int | None:
    """The bytes of a value; None where its shape follows from data, or its elements are Python objects."""
    if value.dtype is None or value.dtype.numpy.hasobject:
        return None
    count = elements(value.shape, known)
    return None if count is None else count * value.dtype.size


def flops(node: Node, known: Known) -> int | None:
    """The arithmetic operations of a node; a multiplication and an addition are two. None where nobody knows."""
    form = node.opdef.form
    if isinstance(form, _NO_ARITHMETIC) or node.opdef.view_rule is not None:
        return 0
    if isinstance(form, Elementwise):
        count = elements(node.outputs[0].shape, known)
        return (
            None if count is None else count * _primitives(form, [v.dtype for v in node.inputs], node.attrs)
        )
    if isinstance(form, Update):
        variable = node.inputs[node.opdef.effects.writes[0]].node
        count = elements(variable.attrs.get("shape"), known)
        written = set(node.opdef.effects.writes)
        types = [variable.attrs["dtype"] if i in written else v.dtype for i, v in enumerate(node.inputs)]
        return None if count is None else count * _primitives(form, types, node.attrs)
    if isinstance(form, (Reduction, Scan)):
        return elements(node.inputs[0].shape, known)
    if isinstance(form, Accumulation):
        return elements(node.inputs[form.rows].shape, known)
    if isinstance(form, Contraction):
        return _product(node, known)
    if isinstance(form, Window):
        return _pooling(node, known) if "ksize" in node.attrs else _convolution(node, known)
    return None


def _primitives(form: Elementwise | Update, types: Sequence[Any], attrs: Mapping[str, Any]) -> int:
    """The arithmetic of one element; 1 where the scalar language cannot say it."""
    if form.scalar is None:
        return 1
    try:
        found = form.scalar(*(scalar.leaf(i, t) for i, t in enumerate(types)), **attrs)
    except scalar.Unsupported:
        return 1
    outputs: tuple[Scalar, ...] = found if isinstance(found, tuple) else (found,)
    return sum(_COUNTS.get(e.op, 0) for e in scalar.ordered(outputs))


def _product(node: Node, known: Known) -> int | None:
    """2 m n k: for each element of the result k products, and as many additions."""
    result, left = elements(node.outputs[0].shape, known), node.inputs[0].shape
    if result is None or not left or len(left) < 2:
        return None
    flipped = node.attrs.get("transpose_a") or node.attrs.get("adj_x")
    depth = elements((left[-2 if flipped else -1],), known)
    return None if depth is None else 2 * result * depth


def _pooling(node: Node, known: Known) -> int | None:
    """One for each element of each window. A gradient has one window for each element of dy."""
    is_gradient = "Grad" in node.opdef.name
    windows = elements((node.inputs[-1] if is_gradient else node.outputs[0]).shape, known)
    return None if windows is None else windows * math.prod(node.attrs["ksize"])


def _convolution(node: Node, known: Known) -> int | None:
    """2 for each product of an element and a filter's: for each place of the output the filter, once for each image.

    The gradients of a convolution take part in the same products in other roles.
    """
    if "Conv" not in node.opdef.name or node.attrs.get("data_format", "NHWC") not in ("NHWC", "NDHWC"):
        return None
    places, filters = _roles_in_convolution(node)
    if places is None or filters is None:
        return None
    outputs = elements(places[:-1], known)
    taps = elements(filters, known)
    return None if outputs is None or taps is None else 2 * outputs * taps


def _roles_in_convolution(node: Node) -> tuple[Shape, Shape]:
    """The shapes of the convolution's output and of its filter, whichever of the three a node computes."""
    if "BackpropInput" in node.opdef.name:
        return node.inputs[2].shape, node.inputs[1].shape
    if "BackpropFilter" in node.opdef.name:
        return node.inputs[2].shape, node.outputs[0].shape
    return node.outputs[0].shape, node.inputs[1].shape
