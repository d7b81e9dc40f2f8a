"""The scalar functions of nodes, as expressions in leaves that are their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from tahr.core import scalar
from tahr.core.dtypes import DType
from tahr.core.forms import Elementwise, RowUpdate, Update
from tahr.core.opdef import OpDef, known_int
from tahr.core.scalar import Scalar
from tahr.program.node import Node, attrs_key


def traced(node: Node) -> tuple[Scalar, ...] | None:
    """The function of a node's elements, in leaves that are its inputs; None where the scalar language has none.

    A quotient of integers has one where the divisor is known, as nothing is said of a division by zero.
    """
    types: tuple[Any, ...] = tuple(v.dtype for v in node.inputs)
    found = _traced(node.opdef, types, _Attrs(node.attrs))
    known = tuple(known_int(v.spec) if v.shape == () else None for v in node.inputs)
    if found is None and any(k is not None for k in known):
        return _traced(node.opdef, types, _Attrs(node.attrs), known)
    return found


def update_traced(node: Node, inputs: Sequence[int] | None = None) -> tuple[Scalar, ...] | None:
    """The new elements of the variables that a node updates, in leaves that are its inputs.

    Args:
        node: the node.
        inputs: those inputs that its function takes; all by default.
    """
    types = variable_types(node)
    taken = types if inputs is None else tuple(types[i] for i in inputs)
    return _traced(node.opdef, taken, _Attrs(node.attrs))


def variable_types(node: Node) -> tuple[DType, ...]:
    """The dtypes of an updating node's inputs, where those that stand for variables have the variables' dtypes."""
    written = set(node.opdef.effects.writes)
    return tuple(
        v.node.attrs["dtype"] if i in written else v.dtype
        for i, v in enumerate(node.inputs)  # pyright: ignore[reportReturnType]
    )


class _Attrs:
    """Attributes that can be hashed."""

    def __init__(self, attrs: Any) -> None:
        self.attrs = attrs
        self.key = attrs_key(attrs)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Attrs) and other.key == self.key


@lru_cache(4096)
def _traced(
    opdef: OpDef, types: tuple[DType, ...], attrs: _Attrs, known: tuple[int | None, ...] = ()
) -> tuple[Scalar, ...] | None:
    form = opdef.form
    assert isinstance(form, (Elementwise, Update, RowUpdate)) and form.scalar is not None
    try:
        leaves = [scalar.leaf(i, t) for i, t in enumerate(types)]
        operands = [a if k is None else scalar.constant(k, a.dtype) for a, k in zip_longest(leaves, known)]
        found = form.scalar(*operands, **attrs.attrs)
    except scalar.Unsupported:
        return None
    return found if isinstance(found, tuple) else (found,)
