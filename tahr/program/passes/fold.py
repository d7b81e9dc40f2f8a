"""What depends on constants alone is computed once, when the Program is made, and not at every run.

An error is never folded away: where a kernel complains the node stays, and complains at each run. Draws,
reads and Python functions have effects, and so are no concern of this pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tahr.core import shapes
from tahr.core.convert import Const
from tahr.program.node import Node, Program, Value
from tahr.program.passes import canonicalize
from tahr.program.pattern import build
from tahr.program.rewrite import rewrite

# A result of more bytes is kept only if it is no larger than what it is computed from:
# tf.zeros([10000, 10000]) is not to be stored for ever.
MAX_BYTES = 1 << 16


def run(program: Program) -> Program:
    """The pass."""
    return rewrite(program, fold, canonicalize.RULES)


def fold(node: Node) -> Sequence[Value] | None:
    """The values of a node whose inputs all are constants, as constants."""
    if not node.inputs or node.opdef is Const or any(v.constant is None for v in node.inputs):
        return None
    compute = node.opdef.compute
    if compute is None or not _is_small(node):
        return None
    inputs = [v.node.attrs["value"] for v in node.inputs]
    try:
        with np.errstate(all="ignore"):
            found = compute(*inputs, **node.attrs)
    except Exception:  # whatever a kernel raises, it raises again when it runs
        return None
    outputs = found if isinstance(found, (list, tuple)) else [found]
    return [
        build.constant(np.array(array, value.dtype.numpy))
        for array, value in zip(outputs, node.outputs)
        if value.dtype
    ]


def _is_small(node: Node) -> bool:
    """Whether the outputs are numbers whose sizes are known and worth keeping."""
    total = 0
    for value in node.outputs:
        count = shapes.num_elements(value.shape)
        if not isinstance(count, int) or value.dtype is None or value.dtype.numpy.kind == "O":
            return False
        total += count * value.dtype.numpy.itemsize
    return total <= max(MAX_BYTES, sum(v.node.attrs["value"].nbytes for v in node.inputs))
