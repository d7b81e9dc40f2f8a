"""Blocks of a tensor moved between its dimensions; and grids: identity matrices, meshgrid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_ints, known_value
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.core.views import Assembly, Part, View
from tahr.errors import Complaint
from tahr.ops.joining import stack
from tahr.ops.structural import broadcast_to, reshape, size

# ---------------------------------------------------------------- space and depth

SpaceToDepth = OpDef(
    "SpaceToDepth",
    "input: T -> output: T",
    attrs={"block_size": REQUIRED, "data_format": "NHWC"},
    form=MOVEMENT,
)


def _to_nhwc(shape: Shape, data_format: str) -> tuple[Dim, ...]:
    """The dimensions of images in the order batch, height, width, channels."""
    if data_format not in ("NHWC", "NCHW"):
        raise Complaint(f"Value for attr 'data_format' of {data_format!r} is not in the list of NHWC, NCHW")
    batch, *rest = shapes.dims(shape, 4)
    return (batch, *rest) if data_format == "NHWC" else (batch, *rest[1:], rest[0])


def _from_nhwc(shape: Sequence[Dim], data_format: str) -> Shape:
    batch, height, width, channels = shape
    return (batch, height, width, channels) if data_format == "NHWC" else (batch, channels, height, width)


def _divided(dim: Dim, by: int, what: str) -> Dim:
    """A dimension in units of a block. Raises Complaint where the blocks surely do not fill it."""
    if isinstance(dim, int) and dim % by:
        raise Complaint(f"Dimension size must be evenly divisible by {by} but is {dim}: the {what}")
    return dim // by


@SpaceToDepth.shape
def _space_to_depth_shape(x: Spec, *, block_size: int, data_format: str) -> Shape:
    batch, height, width, channels = _to_nhwc(x.shape, data_format)
    height, width = _divided(height, block_size, "height"), _divided(width, block_size, "width")
    return _from_nhwc((batch, height, width, channels * block_size**2), data_format)


def _space_and_depth(shape: Shape, block: int, data_format: str) -> tuple[View, View] | None:
    """Where the elements of images, and of the same ones with blocks as channels, lie.

    Args:
        shape: of the images: batch, height, width, channels, or as `data_format` says.
        block: the size of a block.
        data_format: "NHWC" or "NCHW".

    Returns:
        Both views have the shape [batch, rows, columns, block, block, channels]; None where blocks may not fit.
    """
    batch, height, width, channels = _to_nhwc(shape, data_format)
    rows, columns = height // block, width // block
    if not (sizes.surely_equal(rows * block, height) and sizes.surely_equal(columns * block, width)):
        return None
    if data_format == "NHWC":
        images = View.dense((batch, rows, block, columns, block, channels)).transposed((0, 1, 3, 2, 4, 5))
        return images, View.dense((batch, rows, columns, block, block, channels))
    images = View.dense((batch, channels, rows, block, columns, block)).transposed((0, 2, 4, 3, 5, 1))
    return images, View.dense((batch, block, block, channels, rows, columns)).transposed((0, 4, 5, 1, 2, 3))


@SpaceToDepth.parts
def _space_to_depth_parts(
    x: Spec, *, outs: Sequence[Spec], block_size: int, data_format: str
) -> list[Part] | None:
    views = _space_and_depth(x.shape, block_size, data_format)
    return None if views is None else [Part(0, views[0], views[1])]


@SpaceToDepth.kernel
def _space_to_depth_kernel(x: Array, *, block_size: int, data_format: str) -> Array:
    _space_to_depth_shape(Spec(None, x.shape), block_size=block_size, data_format=data_format)
    images = x if data_format == "NHWC" else np.moveaxis(x, 1, 3)
    batch, height, width, channels = images.shape
    rows, columns = height // block_size, width // block_size
    cut = images.reshape(batch, rows, block_size, columns, block_size, channels).transpose(0, 1, 3, 2, 4, 5)
    deep = cut.copy().reshape(batch, rows, columns, channels * block_size**2)
    return deep if data_format == "NHWC" else np.moveaxis(deep, 3, 1)


@SpaceToDepth.gradient
def _space_to_depth_gradient(op: Operation, dy: Tensor) -> Tensor:
    return DepthToSpace(dy, **op.attrs)


def space_to_depth(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Images whose blocks of block_size x block_size pixels become the channels of one pixel.

    Args:
        input: [batch, height, width, channels], or [batch, channels, height, width].
        block_size: a divisor of height and width.
        name: the operation's name.
        data_format: "NHWC" or "NCHW".

    Returns:
        [batch, height / block_size, width / block_size, channels * block_size**2], or likewise.
    """
    return SpaceToDepth(input, block_size=block_size, data_format=data_format, name=name)


DepthToSpace = OpDef(
    "DepthToSpace",
    "input: T -> output: T",
    attrs={"block_size": REQUIRED, "data_format": "NHWC"},
    form=MOVEMENT,
)


@DepthToSpace.shape
def _depth_to_space_shape(x: Spec, *, block_size: int, data_format: str) -> Shape:
    batch, height, width, channels = _to_nhwc(x.shape, data_format)
    channels = _divided(channels, block_size**2, "channels")
    return _from_nhwc((batch, height * block_size, width * block_size, channels), data_format)


@DepthToSpace.parts
def _depth_to_space_parts(
    x: Spec, *, outs: Sequence[Spec], block_size: int, data_format: str
) -> list[Part] | None:
    depth, channels = (_to_nhwc(spec.shape, data_format)[3] for spec in (x, outs[0]))
    if not sizes.surely_equal(channels * block_size**2, depth):
        return None
    views = _space_and_depth(outs[0].shape, block_size, data_format)
    return None if views is None else [Part(0, views[1], views[0])]


@DepthToSpace.kernel
def _depth_to_space_kernel(x: Array, *, block_size: int, data_format: str) -> Array:
    _depth_to_space_shape(Spec(None, x.shape), block_size=block_size, data_format=data_format)
    images = x if data_format == "NHWC" else np.moveaxis(x, 1, 3)
    batch, rows, columns, depth = images.shape
    channels = depth // block_size**2
    cut = images.reshape(batch, rows, columns, block_size, block_size, channels).transpose(0, 1, 3, 2, 4, 5)
    wide = cut.copy().reshape(batch, rows * block_size, columns * block_size, channels)
    return wide if data_format == "NHWC" else np.moveaxis(wide, 3, 1)


@DepthToSpace.gradient
def _depth_to_space_gradient(op: Operation, dy: Tensor) -> Tensor:
    return SpaceToDepth(dy, **op.attrs)


def depth_to_space(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Images whose channels become blocks of pixels: the inverse of `space_to_depth`.

    Args:
        input: [batch, height, width, channels], or [batch, channels, height, width].
        block_size: its square divides the number of channels.
        name: the operation's name.
        data_format: "NHWC" or "NCHW".

    Returns:
        [batch, height * block_size, width * block_size, channels / block_size**2], or likewise.
    """
    return DepthToSpace(input, block_size=block_size, data_format=data_format, name=name)


# ---------------------------------------------------------------- space and batch

SpaceToBatchND = OpDef(
    "SpaceToBatchND",
    "input: T, block_shape: Tblock_shape, paddings: Tpaddings -> output: T",
    types={"Tblock_shape": dtypes.INDICES, "Tpaddings": dtypes.INDICES},
    form=MOVEMENT,
)


def _blocks(x: Spec, block_shape: Spec, margins: Spec) -> tuple[list[Dim], list[tuple[Dim, Dim]]] | None:
    """The sizes of a block and the margins of each spatial dimension; None where the rank is not known."""
    (count,) = shapes.dims(block_shape.shape, 1)
    count = shapes.merge_dims(count, shapes.dims(margins.shape, 2)[0])
    if x.shape is None or not isinstance(count, int):
        return None
    if len(x.shape) <= count:
        raise Complaint(f"input rank should be >= {count + 1} instead of {len(x.shape)}")
    block: list[Dim] = [UNKNOWN] * count if block_shape.value is None else block_shape.value.tolist()
    around: list[Any] = [(UNKNOWN, UNKNOWN)] * count if margins.value is None else margins.value.tolist()
    return block, [(before, after) for before, after in around]


@SpaceToBatchND.shape
def _space_to_batch_shape(x: Spec, block_shape: Spec, paddings: Spec) -> Shape:
    found = _blocks(x, block_shape, paddings)
    if found is None or x.shape is None:
        return None if x.shape is None else (UNKNOWN,) * len(x.shape)
    block, around = found
    batch, *rest = x.shape
    for i, (size_, (before, after)) in enumerate(zip(block, around)):
        padded = rest[i] + before + after
        rest[i] = _divided(padded, size_, "padded dimension") if isinstance(size_, int) else padded // size_
        batch = batch * size_
    return (batch, *rest)


# With margins each element of a block is a part of its own; larger blocks are left to the kernel.
_MOST_PARTS = 64


def _space_and_batch(
    space: Shape, batch: Shape, block_shape: Spec, margins: Spec
) -> list[tuple[View, View]] | None:
    """Where elements lie in a tensor, and in the same one whose blocks are part of the batch dimension.

    Args:
        space: the shape of the tensor.
        batch: the shape of the one with blocks moved.
        block_shape: the size of a block.
        margins: how much the second is wider before and after each dimension.

    Returns:
        Pairs of views of one shape each; None where this is not known, or the blocks may not fit.
    """
    block, known = known_ints(block_shape), known_value(margins)
    if block is None or known is None or space is None or batch is None or min(block, default=1) < 1:
        return None
    around = list(zip(known[::2], known[1::2]))
    count, images, lengths = len(block), space[0], space[1 : 1 + len(block)]
    fits = sizes.surely_equal(batch[0], images * math.prod(block)) and all(
        sizes.surely_equal(before + size_ + after, n * b)
        and all(sizes.surely_at_most(0, d) for d in (before, after, size_))
        for (before, after), size_, n, b in zip(around, lengths, batch[1:], block)
    )
    if not fits:
        return None
    # [b0, b1, ..., batch, d0, d1, ..., rest]
    apart = View.dense((*block, images, *batch[1:]))
    if all(pair == (0, 0) for pair in around):
        # [batch, d0, b0, d1, b1, ..., rest]
        order = [count, *(axis for i in range(count) for axis in (count + 1 + i, i))]
        apart = apart.transposed([*order, *range(2 * count + 1, len(apart.shape))])
        return [(View.dense(apart.shape), apart)]
    if math.prod(block) > _MOST_PARTS:
        return None
    pairs: list[tuple[View, View]] = []
    for place in itertools.product(*map(range, block)):
        inside, moved = View.dense(space), apart
        for i, (at, b, (before, _), size_) in enumerate(zip(place, block, around, lengths)):
            # Which blocks' element `at` is not in the margin: those from `first` up to `stop`.
            first, stop = -((at - before) // b), -((at - before - size_) // b)
            inside = inside.narrowed(1 + i, first * b + at - before, stop - first, b)
            moved = moved.narrowed(count + 1 + i, first, stop - first).narrowed(i, at, 1)
        pairs.append((inside, moved.without(range(count))))
    return pairs


@SpaceToBatchND.parts
def _space_to_batch_parts(
    x: Spec, block_shape: Spec, paddings: Spec, *, outs: Sequence[Spec]
) -> Assembly | None:
    pairs = _space_and_batch(x.shape, outs[0].shape, block_shape, paddings)
    if pairs is None:
        return None
    is_padded = any(d != 0 for d in known_value(paddings) or ())
    return Assembly(tuple(Part(0, *pair) for pair in pairs), fill=0 if is_padded else None)


@SpaceToBatchND.kernel
def _space_to_batch_kernel(x: Array, block_shape: Array, paddings: Array) -> Array:
    target = _concrete(_space_to_batch_shape(Spec(None, x.shape), _known(block_shape), _known(paddings)))
    block = block_shape.tolist()
    count, batch = len(block), x.shape[0]
    padded = np.pad(x, [(0, 0), *paddings.tolist(), *[(0, 0)] * (x.ndim - count - 1)])
    # [batch, d0, b0, d1, b1, ..., rest] -> [b0, b1, ..., batch, d0, d1, ..., rest]
    pairs = [n for d, b in zip(target[1:], block) for n in (d, b)]
    cut = padded.reshape(batch, *pairs, *x.shape[1 + count :])
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, cut.ndim)]
    return cut.transpose(order).copy().reshape(target)


def _known(array: Array) -> Spec:
    """What shape rules know of an input in a kernel: everything."""
    return Spec(None, array.shape, array.astype(object))


def _concrete(shape: Shape) -> tuple[int, ...]:
    """What shape rules answer then."""
    assert shapes.is_static(shape)
    return cast("tuple[int, ...]", shape)


@SpaceToBatchND.gradient
def _space_to_batch_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return BatchToSpaceND(dy, op.inputs[1], op.inputs[2]), None, None


def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Tensor:
    """Blocks of the first spatial dimensions, zero-padded, moved into the batch dimension.

    Args:
        input: [batch, d_1 ... d_m, ...].
        block_shape: [m], the size of a block.
        paddings: [m, 2], how much to pad before and after; the sums must be divisible by the block.
        name: the operation's name.

    Returns:
        [batch * prod(block_shape), padded d_i / block_i, ...].
    """
    return SpaceToBatchND(input, block_shape, paddings, name=name)


def space_to_batch(
    input: Any, paddings: Any, block_size: Any = None, name: str | None = None, block_shape: Any = None
) -> Tensor:
    """`space_to_batch_nd` of images: [batch, height, width, channels] and square blocks.

    Args:
        input: [batch, height, width, channels].
        paddings: [2, 2].
        block_size: the height and width of a block.
        name: the operation's name.
        block_shape: the newer name: [2], or one integer.
    """
    return space_to_batch_nd(input, _block(block_size, block_shape), paddings, name=name)


def _block(block_size: Any, block_shape: Any) -> Any:
    if (block_size is None) == (block_shape is None):
        raise ValueError("Specify either 'block_size' or 'block_shape'")
    block = block_size if block_shape is None else block_shape
    return np.array([block, block], dtype=np.int64) if isinstance(block, (int, np.integer)) else block


BatchToSpaceND = OpDef(
    "BatchToSpaceND",
    "input: T, block_shape: Tblock_shape, crops: Tcrops -> output: T",
    types={"Tblock_shape": dtypes.INDICES, "Tcrops": dtypes.INDICES},
    form=MOVEMENT,
    aliases=(0,),
)


@BatchToSpaceND.shape
def _batch_to_space_shape(x: Spec, block_shape: Spec, crops: Spec) -> Shape:
    found = _blocks(x, block_shape, crops)
    if found is None or x.shape is None:
        return None if x.shape is None else (UNKNOWN,) * len(x.shape)
    block, around = found
    batch, *rest = x.shape
    for i, (size_, (before, after)) in enumerate(zip(block, around)):
        rest[i] = rest[i] * size_ - before - after
        batch = _divided(batch, size_, "batch") if isinstance(size_, int) else batch // size_
    if any(isinstance(d, int) and d < 0 for d in rest):
        raise Complaint(f"Negative dimension size caused by cropping to {shapes.show((batch, *rest))}")
    return (batch, *rest)


@BatchToSpaceND.parts
def _batch_to_space_parts(
    x: Spec, block_shape: Spec, crops: Spec, *, outs: Sequence[Spec]
) -> list[Part] | None:
    pairs = _space_and_batch(outs[0].shape, x.shape, block_shape, crops)
    return None if pairs is None else [Part(0, moved, inside) for inside, moved in pairs]


@BatchToSpaceND.kernel
def _batch_to_space_kernel(x: Array, block_shape: Array, crops: Array) -> Array:
    target = _concrete(_batch_to_space_shape(Spec(None, x.shape), _known(block_shape), _known(crops)))
    block = block_shape.tolist()
    count, batch = len(block), x.shape[0] // math.prod(block)
    # [b0, b1, ..., batch, d0, d1, ..., rest] -> [batch, d0, b0, d1, b1, ..., rest]
    cut = x.reshape(*block, batch, *x.shape[1:])
    pairs = [axis for i in range(count) for axis in (count + 1 + i, i)]
    whole = cut.transpose([count, *pairs, *range(2 * count + 1, cut.ndim)])
    whole = whole.reshape(batch, *(d * b for d, b in zip(x.shape[1:], block)), *x.shape[1 + count :])
    kept = [slice(before, before + d) for (before, _), d in zip(crops.tolist(), target[1:])]
    return whole[(slice(None), *kept)]


@BatchToSpaceND.gradient
def _batch_to_space_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return SpaceToBatchND(dy, op.inputs[1], op.inputs[2]), None, None


def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """Parts of the batch dimension moved into blocks of the spatial ones: the inverse of `space_to_batch_nd`.

    Args:
        input: [batch, d_1 ... d_m, ...].
        block_shape: [m], the size of a block; its product divides the batch.
        crops: [m, 2], how much to cut off before and after.
        name: the operation's name.

    Returns:
        [batch / prod(block_shape), d_i * block_i - crops, ...].
    """
    return BatchToSpaceND(input, block_shape, crops, name=name)


def batch_to_space(
    input: Any, crops: Any, block_size: Any = None, name: str | None = None, block_shape: Any = None
) -> Tensor:
    """`batch_to_space_nd` of images: [batch, height, width, channels] and square blocks.

    Args:
        input: [batch, height, width, channels].
        crops: [2, 2].
        block_size: the height and width of a block.
        name: the operation's name.
        block_shape: the newer name: [2], or one integer.
    """
    return batch_to_space_nd(input, _block(block_size, block_shape), crops, name=name)


# ---------------------------------------------------------------- grids


def meshgrid(*args: Any, indexing: str = "xy", name: str = "meshgrid") -> list[Tensor]:
    """The coordinates of all points of a grid.

    Args:
        args: n vectors of one dtype: the coordinates along each axis.
        indexing: "ij": the results' axes are in the order of the vectors; "xy": the first two are exchanged.
        name: the name of the operations' scope.

    Returns:
        n tensors of n dimensions: the coordinate of each point along each axis.

    Raises:
        ValueError: another `indexing`.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError("indexing parameter must be either 'xy' or 'ij'")
    with name_scope(name, "meshgrid", args):
        vectors = [convert.convert_to_tensor(x) for x in args]
        axes = list(range(len(vectors)))
        if indexing == "xy" and len(axes) > 1:
            axes[:2] = 1, 0
        counts = [size(x) for x in vectors]
        full = stack([counts[axis] for axis in axes]) if axes else []
        lines = [[-1 if axis == own else 1 for axis in range(len(axes))] for own in axes]
        return [broadcast_to(reshape(x, line), full) for x, line in zip(vectors, lines)]
