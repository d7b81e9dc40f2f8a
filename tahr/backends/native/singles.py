"""Nodes that are a kernel of their own: they are not fused with others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tahr.backends.native.calls import Call, Place
from tahr.core.opdef import Form
from tahr.program.node import Node, Value


@dataclass(frozen=True)
class Single:
    """How nodes of one form are computed.

    Attributes:
        fits: whether a node can be: its dtypes, and what is known of its inputs.
        data: the inputs that it reads as data; others are read when the plan is made.
        call: the call; each data input is dense, and lies in the root that `places` says.
    """

    fits: Callable[[Node], bool]
    data: Callable[[Node], list[int]]
    call: Callable[[Node, Mapping[Value, Place]], Call]


SINGLES: dict[type[Form], Single] = {}


def single(node: Node) -> Single | None:
    """How a node is computed by a kernel of its own; None where it cannot be."""
    found = SINGLES.get(type(node.opdef.form))
    return found if found is not None and found.fits(node) else None
