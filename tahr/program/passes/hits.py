"""Accidental hits, which a sampled loss hides, without their list.

TensorFlow's losses list the pairs of an example and a sampled class that is one of its true ones, and make a matrix of
that list, to be added to the logits. The matrix follows from the classes by itself, element by element.
"""

from __future__ import annotations

from collections.abc import Sequence

from tahr.core import shapes
from tahr.ops import counted
from tahr.ops.candidate_sampling import NEVER
from tahr.ops.casts import Cast
from tahr.ops.joining import ConcatV2
from tahr.ops.scattering import SparseToDense
from tahr.ops.shaping import ExpandDims, Reshape
from tahr.program.node import Node, Program, Value
from tahr.program.pattern import build
from tahr.program.rewrite import rewrite


def run(program: Program) -> Program:
    """The pass."""
    return rewrite(program, _without_list)


def _without_list(node: Node) -> Sequence[Value] | None:
    """What stands for a matrix that is made of a list of hits; None for any other node."""
    if node.opdef is not counted.counted(SparseToDense):
        return None
    places, _, weights, default, count = node.inputs
    hits = count.node
    if hits.opdef is not counted.PaddedAccidentalHits or places.node.opdef is not ConcatV2:
        return None
    true_classes, sampled = hits.inputs
    given = [*map(_source, places.node.inputs[:-1]), _source(weights)]
    dims = None if true_classes.shape is None else (true_classes.shape[0], *(sampled.shape or ()))
    if given != list(hits.outputs[:3]) or not shapes.surely_equal(node.outputs[0].shape, dims):
        return None
    is_hit = build.Any(build.Equal(build.ExpandDims(true_classes, dim=2), sampled), reduction_indices=[1])
    assert weights.dtype is not None
    never = build.constant(NEVER.astype(weights.dtype.numpy))
    return [build.SelectV2(is_hit, never, default)]


def _source(value: Value) -> Value:
    """What a value is but for its dtype and shape."""
    while value.node.opdef in (Cast, ExpandDims, Reshape):
        value = value.node.inputs[0]
    return value
