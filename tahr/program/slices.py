"""Slices whose length is known though not where they begin: they are blocks.

The length of a slice is data where its bounds are: `x[i:i+1]` is empty behind the end, and for i = -1. But in

    tf.while_loop(lambda i, y: i < tf.shape(x)[0], lambda i, y: (i + 1, y + f(x[i:i+1])), [0, y])

i is at least 0 and less than the size of x, so that there is always one row. Such a slice becomes the block
`tf.slice(x, [i, 0], [1, -1])`, whose shape is known, and no stage ends in the body.

The adjoint of a slice is that of a block where the gradient's own shape says how long the slice was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tahr.core import shapes, sizes
from tahr.core.graph import Operation
from tahr.core.opdef import known_value
from tahr.core.sizes import Dim
from tahr.ops import cropping, elementwise, indexing, joining, logic, slicing, structural
from tahr.ops.slicing import range_entries
from tahr.program.linear import Linear, linear
from tahr.program.node import Builder, Node, Value


class _Window(NamedTuple):
    """A range of known length.

    Attributes:
        place: which entry of a key it is.
        axis: the axis that it is for.
        result_axis: which axis of the slice that becomes.
        first: where it begins.
        length: how long it is, unless it reaches over an end.
        start, stop: the bounds as linear functions.
    """

    place: int
    axis: int
    result_axis: int
    first: Value
    length: int
    start: Linear
    stop: Linear


def _windows(rank: int, begin: Value, end: Value, strides: Value, masks: dict[str, int]) -> list[_Window]:
    """The ranges of a key whose ends are a known number behind their beginnings, which are data; of step 1."""
    firsts, stops, steps = _scalars(begin), _scalars(end), known_value(strides.spec)
    if steps is None or not len(firsts) == len(stops) == len(steps):
        return []
    open_ = masks["begin_mask"] | masks["end_mask"]
    found: list[_Window] = []
    for place, axis, result_axis in range_entries(rank, len(steps), masks):
        if open_ >> place & 1 or steps[place] != 1:
            continue
        first, start, stop = firsts[place], linear(firsts[place]), linear(stops[place])
        length = stop.plus(start, -1)
        if start.factors and not length.factors and isinstance(length.rest, int) and length.rest > 0:
            found.append(_Window(place, axis, result_axis, first, length.rest, start, stop))
    return found


def _scalars(vector: Value) -> Sequence[Value]:
    """What a vector was packed of; nothing where it was not."""
    node = vector.node
    is_one = node.opdef is structural.ExpandDims and node.inputs[0].shape == ()
    return node.inputs if node.opdef is joining.Pack else node.inputs[:1] if is_one else ()


def _rest_of_key(masks: dict[str, int], windows: Sequence[_Window]) -> dict[str, int]:
    """The masks of a key that takes everything where there are windows."""
    bits = sum(1 << w.place for w in windows)
    return {**masks, "begin_mask": masks["begin_mask"] | bits, "end_mask": masks["end_mask"] | bits}


def _vector(builder: Builder, values: Sequence[Value], op: Operation | None) -> Value:
    return builder.node(joining.Pack, values, dict(joining.Pack.attrs), op).outputs[0]


def _integer(builder: Builder, number: int, like: Value) -> Value:
    """A constant of the dtype of another value."""
    assert like.dtype is not None
    return builder.constant(np.array(number, like.dtype.numpy))


# ---------------------------------------------------------------- slices


def with_block(
    builder: Builder, inputs: Sequence[Value], masks: dict[str, int], op: Operation
) -> tuple[list[Value], dict[str, int]]:
    """A StridedSlice's inputs and attributes, behind a block that has been cut out instead of ranges.

    Args:
        builder: makes nodes.
        inputs: what the operation takes.
        masks: its attributes.
        op: the operation.
    """
    x, begin, end, strides = inputs
    if x.shape is None:
        return list(inputs), masks
    rank = len(x.shape)
    windows = {
        w.axis: w for w in _windows(rank, begin, end, strides, masks) if _lies_within(w, x.shape[w.axis])
    }
    if not windows:
        return list(inputs), masks
    zero = _integer(builder, 0, begin)
    starts = [windows[a].first if a in windows else zero for a in range(rank)]
    counts = [_integer(builder, windows[a].length if a in windows else -1, begin) for a in range(rank)]
    corner, size = (_vector(builder, values, op) for values in (starts, counts))
    block = builder.value(cropping.Slice, x, corner, size, op=op)
    return [block, *inputs[1:]], _rest_of_key(masks, list(windows.values()))


def _lies_within(window: _Window, dim: Dim) -> bool:
    """Whether a range surely reaches over no end of a dimension."""
    return sizes.surely_at_most(0, window.start.least()) and sizes.surely_at_most(window.stop.most(), dim)


# ---------------------------------------------------------------- their adjoints


def adjoint_of_block(builder: Builder, node: Node) -> Value | None:
    """What a StridedSliceGrad gives, as the adjoint of a block instead of ranges; None where there are none."""
    shape, begin, end, strides, dy = node.inputs
    whole, masks = node.outputs[0].shape, dict(node.attrs)
    if whole is None or dy.shape is None or known_value(shape.spec) is None:
        return None
    windows = {
        w.axis: w
        for w in _windows(len(whole), begin, end, strides, masks)
        if dy.shape[w.result_axis : w.result_axis + 1] == (w.length,)
    }
    if not windows:
        return None
    starts = [_integer(builder, 0, begin)] * len(whole)
    counts = [_size(builder, shape, axis) for axis in range(len(whole))]
    for axis, window in windows.items():
        starts[axis] = _from_front(builder, window, counts[axis])
        counts[axis] = _integer(builder, window.length, begin)
    corner, size = (_vector(builder, values, node.op) for values in (starts, counts))
    block = tuple(windows[a].length if a in windows else d for a, d in enumerate(whole))
    if not shapes.surely_equal(dy.shape, block) or set(known_value(strides.spec) or ()) != {1}:
        rest = _rest_of_key(masks, list(windows.values()))
        dy = builder.value(slicing.StridedSliceGrad, size, begin, end, strides, dy, op=node.op, **rest)
    return builder.value(cropping.SliceGrad, shape, corner, dy, op=node.op)


def _size(builder: Builder, shape: Value, axis: int) -> Value:
    place, along = (builder.constant(np.array(i, np.int32)) for i in (axis, 0))
    return builder.value(indexing.GatherV2, shape, place, along)


def _from_front(builder: Builder, window: _Window, size: Value) -> Value:
    """Where a range begins, counted from the front; negative where it would not have its length.

    A range that begins k before the end has an end of 0, and so is empty; it is not counted from the front.
    """
    first = window.first
    if sizes.surely_at_most(0, window.start.least()):
        return first
    is_from_end = builder.value(logic.Less, first, _integer(builder, -window.length, first))
    return builder.value(logic.SelectV2, is_from_end, builder.value(elementwise.AddV2, first, size), first)
