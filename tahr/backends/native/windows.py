"""Convolutions and pooling as calls of kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tahr.backends.native.calls import Call, Place, Ref
from tahr.backends.native.epilogue import Epilogue
from tahr.program.node import Node, Value


def fits(node: Node) -> bool:
    """Whether there is a kernel for a node: its dtypes, layout, and what is known of its inputs."""
    return False


def takes_epilogue(node: Node) -> bool:
    """Whether element-wise nodes may be fused onto a node's output."""
    return False


def call(
    nodes: Sequence[Node],
    places: Mapping[Value, Place],
    epilogue: Epilogue,
    operands: Sequence[Ref],
    outputs: Sequence[Value],
) -> Call:
    """The call of a node and what is fused onto it.

    Args:
        nodes: the node, then the others.
        places: where values lie; each input that is data is dense.
        epilogue: what is computed of each element of the node's first output.
        operands: the epilogue's operands.
        outputs: where its expressions go.
    """
    raise NotImplementedError(nodes[0].opdef.name)
