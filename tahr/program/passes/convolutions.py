"""Convolutions as those that native kernels compute: in float32 or float64, and of all channels together.

Halves are converted before and behind. Groups of channels are convolved one by one; see `ops.grouped`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tahr.core import dtypes, scalar
from tahr.core.forms import Window
from tahr.core.shapes import Shape
from tahr.ops import casts, grouped
from tahr.ops.layouts import channel_axis
from tahr.program.node import Builder, Node, Program, Value
from tahr.program.passes import expand
from tahr.program.rewrite import rewrite

# More groups of several channels stay as they are: each takes a few steps.
MOST_GROUPS = 64

_KINDS = ("convolution", "depthwise")


def run(program: Program) -> Program:
    """The pass."""
    return rewrite(program, partial(_simpler, builder=program.builder))


def _simpler(node: Node, builder: Builder) -> Sequence[Value] | None:
    """What stands for a convolution; None where it stays."""
    form = node.opdef.form
    if not isinstance(form, Window) or form.kind not in _KINDS:
        return None
    if node.outputs[0].dtype in scalar.HALVES:
        return [_in_float(node, builder)]
    groups, channels = _groups(node, form)
    if groups < 2 or (channels > 1 and groups > MOST_GROUPS):
        return None
    expansions = grouped.DEPTHWISE if channels == 1 else grouped.GROUPED
    return expand.inline(expansions[node.opdef], node, builder)


def _in_float(node: Node, builder: Builder) -> Value:
    half = node.outputs[0].dtype
    inputs = [
        builder.value(casts.Cast, v, op=node.op, DstT=dtypes.float32) if v.dtype is half else v
        for v in node.inputs
    ]
    (wide,) = builder.node(node.opdef, inputs, node.attrs, node.op).outputs
    return builder.value(casts.Cast, wide, op=node.op, DstT=half)


def _groups(node: Node, form: Window) -> tuple[int, int]:
    """How many groups a convolution's channels are, and of how many channels; zeros where that is not known."""
    if node.opdef not in grouped.GROUPED:
        return 0, 0
    filters = node.outputs[0] if form.adjoint == "filter" else node.inputs[1]
    images = node.outputs[0] if form.adjoint == "images" else node.inputs[0]
    dy = node.inputs[2] if form.adjoint else node.outputs[0]
    axis = channel_axis(node.attrs["data_format"])
    inner, outer = _size(filters.shape, 2), _size(filters.shape, 3)
    channels = _size(images.shape, axis)
    if inner < 1 or channels % inner or _size(dy.shape, axis) != outer:
        return 0, 0
    groups = channels // inner
    return (groups, inner) if groups and outer % groups == 0 else (0, 0)


def _size(shape: Shape, axis: int) -> int:
    """A dimension; 0 where it is not known."""
    size = None if shape is None else shape[axis]
    return size if isinstance(size, int) else 0
