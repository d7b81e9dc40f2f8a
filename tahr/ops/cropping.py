"""Operations on boxes of a tensor: cutting one out (slice), putting margins around one (pad), repeating it (tile).

Each is the adjoint of another: the gradient of a slice is a pad, that of a pad a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes, sizes
from tahr.core.forms import MOVEMENT, Position
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef, known_ints, known_value
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.core.views import Along, Assembly, Part, Run, Selection, View, parts_of_runs
from tahr.errors import Complaint
from tahr.ops.elementwise import minimum
from tahr.ops.joining import concat, split, stack, unstack
from tahr.ops.structural import range_, reduce_sum, reshape, reverse, shape, size, static_shape


def _block_shape(x: Spec, begin: Spec, size: Spec) -> Shape:
    merged = shapes.merge(begin.shape, size.shape)
    (length,) = shapes.dims(merged, 1)
    if x.shape is not None:
        length = shapes.merge_dims(length, len(x.shape))
    if not isinstance(length, int):
        return None
    whole = shapes.dims(x.shape, length)
    begins: list[Dim] = [UNKNOWN] * length if begin.value is None else begin.value.tolist()
    counts: list[Dim] = [UNKNOWN] * length if size.value is None else size.value.tolist()
    return tuple(_sliced_dim(i, d, b, n) for i, (d, b, n) in enumerate(zip(whole, begins, counts)))


def _sliced_dim(axis: int, whole: Dim, begin: Dim, size: Dim) -> Dim:
    """The size of one dimension of a slice; -1 takes all that remains."""
    if isinstance(whole, int) and isinstance(begin, int) and not 0 <= begin <= whole:
        raise Complaint(f"Expected begin[{axis}] in [0, {whole}], but got {begin}")
    if isinstance(size, int) and size == -1:
        return whole - begin
    rest = whole - begin
    if isinstance(rest, int) and isinstance(size, int) and not 0 <= size <= rest:
        raise Complaint(f"Expected size[{axis}] in [0, {rest}], but got {size}")
    return size


def _block(x: View, begin: Spec, size: Shape) -> Selection | None:
    """The elements of a block; its begin is a position along each axis where it is not sure to be within bounds."""
    rank = len(x.shape)
    if size is None or begin.shape != (rank,) or len(size) != rank:
        return None
    if not all(sizes.surely_at_most(0, n) for n in size):
        return None
    begins: list[Dim] = [UNKNOWN] * rank if begin.value is None else begin.value.tolist()
    positions: list[Along] = []
    for axis, (whole, first, count) in enumerate(zip(x.shape, begins, size)):
        if not (sizes.surely_at_most(0, first) and sizes.surely_at_most(first + count, whole)):
            places = sizes.maximum(whole - count + 1, 0)
            positions.append(Along(axis, places, x.strides[axis], from_end=0))
            begins[axis] = 0
    return Selection(x.sliced(begins, (1,) * rank, size), tuple(positions))


def _block_of(whole: Shape, begin: Spec, size: Shape) -> Selection | None:
    return None if whole is None else _block(View.dense(whole), begin, size)


def _view_of_block(x: View, begin: Spec, size: Shape) -> View | None:
    """The elements of a block; None where it is not sure to be within bounds."""
    found = _block(x, begin, size)
    return None if found is None or found.positions else found.view


def _window(whole: Sequence[int], begin: Array, size: Sequence[int]) -> tuple[Any, ...]:
    """A block as NumPy's key."""
    window: list[slice] = []
    for axis, (dim, first, count) in enumerate(zip(whole, begin.tolist(), size)):
        length = _sliced_dim(axis, dim, first, count)
        assert isinstance(length, int)
        window.append(slice(first, first + length))
    return (*window, ...)


Slice = OpDef(
    "Slice",
    "input: T, begin: Index, size: Index -> output: T",
    types={"Index": dtypes.INDICES},
    form=Position(0, 1, lambda x, begin, size: _block_of(x.shape, begin, _block_shape(x, begin, size))),
    aliases=(0,),
)
Slice.shape(_block_shape)


@Slice.value
def _slice_value(x: Spec, begin: Spec, size: Spec) -> Array | None:
    first, counts = known_ints(begin), known_ints(size)
    if x.value is None or first is None or counts is None:
        return None
    return _slice_kernel(x.value, np.array(first, dtype=np.int64), np.array(counts, dtype=np.int64))


@Slice.kernel
def _slice_kernel(x: Array, begin: Array, size: Array) -> Array:
    if begin.size != x.ndim or size.size != x.ndim:
        raise Complaint(f"Expected begin and size arguments to be 1-D tensors of size {x.ndim}")
    return x[_window(x.shape, begin, size.tolist())]


@Slice.view
def _slice_view(x: View, _: Spec, begin: Spec, size: Spec, *, outs: Sequence[Spec]) -> View | None:
    return _view_of_block(x, begin, outs[0].shape)


@Slice.gradient
def _slice_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    x, begin, _ = op.inputs
    first, inside, outside = convert.constant_value(begin), static_shape(dy), static_shape(x)
    if first is None or inside is None or outside is None:
        return SliceGrad(shape(x, out_type=begin.dtype), begin, dy), None, None
    behind = np.array(outside, first.dtype) - first - np.array(inside, first.dtype)
    return pad(dy, np.stack([first, behind], axis=1)), None, None


SliceGrad = OpDef(
    "SliceGrad",
    "shape: Index, begin: Index, dy: T -> output: T",
    types={"Index": dtypes.INDICES},
    form=Position(
        2,
        1,
        lambda shape, begin, dy: _block_of(shapes.from_value(shape.value), begin, dy.shape),
        is_adjoint=True,
    ),
)


@SliceGrad.shape
def _slice_grad_shape(shape: Spec, begin: Spec, dy: Spec) -> Shape:
    (rank,) = shapes.dims(shapes.merge(shape.shape, begin.shape), 1)
    return shapes.from_value(shape.value, rank)


@SliceGrad.kernel
def _slice_grad_kernel(shape: Array, begin: Array, dy: Array) -> Array:
    result = np.zeros(shape.tolist(), dy.dtype)
    result[_window(result.shape, begin, dy.shape)] = dy
    return result


@SliceGrad.parts
def _slice_grad_parts(shape: Spec, begin: Spec, dy: Spec, *, outs: Sequence[Spec]) -> Assembly | None:
    target = _view_of_block(View.dense(outs[0].shape or ()), begin, dy.shape)
    return None if target is None else Assembly((Part(2, View.dense(dy.shape or ()), target),), fill=0)


@SliceGrad.gradient
def _slice_grad_gradient(op: Operation, dy: Tensor) -> tuple[None, None, Tensor]:
    _, begin, inner = op.inputs
    return None, None, slice_(dy, begin, shape(inner, out_type=begin.dtype))


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """A block of a tensor.

    Args:
        input_: any tensor.
        begin: [rank], where the block begins.
        size: [rank], its shape; -1 takes all that remains of a dimension.
        name: the operation's name.

    Raises:
        ValueError: the block surely reaches over the tensor's edge.
    """
    return Slice(input_, begin, size, name=name)


def _padded_shape(x: Spec, paddings: Spec, *_: Spec, **attrs: Any) -> Shape:
    length, two = shapes.dims(paddings.shape, 2)
    if isinstance(two, int) and two != 2:
        raise Complaint(f"Dimension must be 2 but is {two}: paddings is [rank, 2]")
    if not isinstance(length, int):
        length = x.rank
    if length is None:
        return None
    whole = shapes.dims(x.shape, length)
    if paddings.value is None:
        return (UNKNOWN,) * length
    if any(isinstance(p, int) and p < 0 for p in paddings.value.flat):
        raise Complaint("Paddings must be non-negative")
    return tuple(d + before + after for d, (before, after) in zip(whole, paddings.value))


def _check_paddings(x: Array, paddings: Array) -> list[tuple[int, int]]:
    if paddings.shape != (x.ndim, 2):
        raise Complaint(
            "The first dimension of paddings must be the rank of inputs: "
            f"{list(paddings.shape)}, {list(x.shape)}"
        )
    if paddings.size and paddings.min() < 0:
        raise Complaint(f"Paddings must be non-negative: {paddings.tolist()}")
    return [(before, after) for before, after in paddings.tolist()]


Pad = OpDef("Pad", "input: T, paddings: Tpaddings -> output: T", types={"Tpaddings": dtypes.INDICES},
            form=MOVEMENT)  # fmt: skip
Pad.shape(_padded_shape)


def _known_paddings(paddings: Spec) -> list[tuple[Dim, Dim]] | None:
    """How much is added before and after each dimension; None unless all of it is known and not negative."""
    found = known_value(paddings)
    if found is None or not all(sizes.surely_at_most(0, d) for d in found):
        return None
    return list(zip(found[::2], found[1::2]))


def _padded(x: Spec, paddings: Spec, outs: Sequence[Spec], **fill: int) -> Assembly | None:
    around = _known_paddings(paddings)
    if around is None or x.shape is None:
        return None
    target = View.dense(outs[0].shape or ())
    inner = target.sliced([before for before, _ in around], (1,) * len(around), x.shape)
    parts = (Part(0, View.dense(x.shape), inner),)
    return Assembly(parts) if all(p == (0, 0) for p in around) else Assembly(parts, **fill)


@Pad.parts
def _pad_parts(x: Spec, paddings: Spec, *, outs: Sequence[Spec]) -> Assembly | None:
    return _padded(x, paddings, outs, fill=0)


@Pad.kernel
def _pad_kernel(x: Array, paddings: Array) -> Array:
    zero = np.array(b"", dtype=object) if x.dtype.kind == "O" else np.zeros((), x.dtype)
    return _pad_v2_kernel(x, paddings, zero)


@Pad.gradient
def _pad_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    x, paddings = op.inputs
    return _unpad(dy, paddings, x), None


def _unpad(y: Tensor, paddings: Tensor, x: Tensor) -> Tensor:
    """What a padded tensor holds where `x` was before padding."""
    known = convert.constant_value(paddings)
    begin = reshape(slice_(paddings, [0, 0], [-1, 1]), [-1]) if known is None else known[:, 0]
    return slice_(y, begin, shape(x, out_type=paddings.dtype))


PadV2 = OpDef("PadV2", "input: T, paddings: Tpaddings, constant_values: T -> output: T",
              types={"Tpaddings": dtypes.INDICES}, form=MOVEMENT)  # fmt: skip
PadV2.shape(_padded_shape)


@PadV2.parts
def _pad_v2_parts(x: Spec, paddings: Spec, constant_values: Spec, *, outs: Sequence[Spec]) -> Assembly | None:
    return _padded(x, paddings, outs, fill_input=2)


@PadV2.kernel
def _pad_v2_kernel(x: Array, paddings: Array, constant_values: Array) -> Array:
    around = _check_paddings(x, paddings)
    padded = np.full([b + d + a for d, (b, a) in zip(x.shape, around)], constant_values, dtype=x.dtype)
    padded[(*(slice(b, b + d) for d, (b, _) in zip(x.shape, around)), ...)] = x
    return padded


@PadV2.gradient
def _pad_v2_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    x, paddings, _ = op.inputs
    return _unpad(dy, paddings, x), None, None  # as in TensorFlow, none for the constant


MirrorPad = OpDef("MirrorPad", "input: T, paddings: Tpaddings -> output: T", attrs={"mode": REQUIRED},
                  types={"Tpaddings": dtypes.INDICES}, form=MOVEMENT)  # fmt: skip
MirrorPad.shape(_padded_shape)


@MirrorPad.kernel
def _mirror_pad_kernel(x: Array, paddings: Array, *, mode: str) -> Array:
    for axis, (before, after) in enumerate(_check_paddings(x, paddings)):
        if before or after:
            _check_mirror(before, after, x.shape[axis], mode)
            x = x.take(_mirrored(before, x.shape[axis], after, mode), axis=axis)
    return x.copy() if not paddings.any() else x


def _check_mirror(before: int, after: int, size: int, mode: str) -> None:
    if max(before, after) > size - (mode == "REFLECT"):
        limit = "less than" if mode == "REFLECT" else "no greater than"
        raise Complaint(f"paddings must be {limit} the dimension size: {before}, {after} for size {size}")


def _mirrored(before: int, size: int, after: int, mode: str) -> Array:
    """For each place of a padded dimension, the place of the original that it shows."""
    places = np.arange(-before, size + after)
    if mode == "REFLECT":  # the edge itself is not repeated
        return size - 1 - np.abs(size - 1 - np.abs(places))
    return np.where(places < 0, -1 - places, np.where(places >= size, 2 * size - 1 - places, places))


@MirrorPad.parts
def _mirror_pad_parts(x: Spec, paddings: Spec, *, outs: Sequence[Spec], mode: str) -> list[Part] | None:
    around = _known_paddings(paddings)
    if around is None or x.shape is None:
        return None
    edge = 1 if mode == "REFLECT" else 0  # how many elements at the edge are not repeated
    limits = [size - edge for size in x.shape]
    if not all(sizes.surely_at_most(n, most) for pair, most in zip(around, limits) for n in pair):
        return None
    runs = [
        [
            Run(edge + before - 1, 0, before, -1),
            Run(0, before, size),
            Run(size - 1 - edge, before + size, after, -1),
        ]
        for size, (before, after) in zip(x.shape, around)
    ]
    return parts_of_runs(0, View.dense(x.shape), View.dense(outs[0].shape or ()), runs)


@MirrorPad.gradient
def _mirror_pad_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return MirrorPadGrad(dy, op.inputs[1], mode=op.attrs["mode"]), None


MirrorPadGrad = OpDef("MirrorPadGrad", "input: T, paddings: Tpaddings -> output: T", attrs={"mode": REQUIRED},
                      types={"T": dtypes.NUMBERS, "Tpaddings": dtypes.INDICES})  # fmt: skip


@MirrorPadGrad.shape
def _mirror_pad_grad_shape(x: Spec, paddings: Spec, *, mode: str) -> Shape:
    if x.shape is None or paddings.value is None:
        return None if x.shape is None else (UNKNOWN,) * len(x.shape)
    return tuple(d - before - after for d, (before, after) in zip(x.shape, paddings.value))


@MirrorPadGrad.kernel
def _mirror_pad_grad_kernel(x: Array, paddings: Array, *, mode: str) -> Array:
    total = x
    for axis, (before, after) in enumerate(_check_paddings(x, paddings)):
        if before or after:
            size = x.shape[axis] - before - after
            _check_mirror(before, after, size, mode)
            moved = np.moveaxis(total, axis, 0)
            folded = np.zeros((size, *moved.shape[1:]), x.dtype)
            np.add.at(folded, _mirrored(before, size, after, mode), moved)
            total = np.moveaxis(folded, 0, axis)
    return total.copy() if total is x else total


@MirrorPadGrad.expansion
def _mirror_pad_grad_expansion(dy: Tensor, paddings: Tensor, *, mode: str) -> Tensor:
    edge = 1 if mode == "REFLECT" else 0  # how many elements at the edge are not repeated
    for axis in range(len(dy.spec.shape or ())):
        before, after = _paddings_of(paddings, axis)
        if before is not None:
            mirrored, kept, shown, rest = split(dy, [before, minimum(edge, before), before, -1], axis)
            dy = concat([kept, shown + reverse(mirrored, [axis]), rest], axis)
        if after is not None:
            rest, shown, kept, mirrored = split(dy, [-1, after, minimum(edge, after), after], axis)
            dy = concat([rest, shown + reverse(mirrored, [axis]), kept], axis)
    return dy


def _paddings_of(paddings: Tensor, axis: int) -> list[Any]:
    """How many elements are added before and after a dimension; None where it is known that none are."""
    known = convert.constant_value(paddings)
    if known is None:
        return unstack(reshape(slice_(paddings, [axis, 0], [1, 2]), [2]), 2)
    return [n if n else None for n in known[axis]]


@MirrorPadGrad.gradient
def _mirror_pad_grad_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return MirrorPad(dy, op.inputs[1], mode=op.attrs["mode"]), None


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0
) -> Tensor:
    """A tensor with more elements before and after each dimension.

    Args:
        tensor: any tensor.
        paddings: [rank, 2]: how many elements to add before and after.
        mode: what is added: "CONSTANT", a value; "REFLECT", the mirror image without the edge; "SYMMETRIC",
            the mirror image with the edge.
        name: the operation's name.
        constant_values: the value, a scalar.

    Raises:
        ValueError: another mode, or paddings of the wrong shape.
    """
    mode = mode.upper()
    if mode in ("REFLECT", "SYMMETRIC"):
        return MirrorPad(tensor, paddings, mode=mode, name=name)
    if mode != "CONSTANT":
        raise ValueError(f"Unknown padding mode: {mode}")
    if not isinstance(constant_values, Tensor) and constant_values == 0:
        return Pad(tensor, paddings, name=name)
    return PadV2(tensor, paddings, constant_values, name=name)


# ---------------------------------------------------------------- tile

Tile = OpDef("Tile", "input: T, multiples: Tmultiples -> output: T", types={"Tmultiples": dtypes.INDICES},
             form=MOVEMENT)  # fmt: skip


@Tile.shape
def _tile_shape(x: Spec, multiples: Spec) -> Shape:
    (length,) = shapes.dims(multiples.shape, 1)
    if x.shape is not None and isinstance(length, int) and length != len(x.shape):
        raise Complaint(f"Shape must be rank {len(x.shape)} but is rank {length}: the length of multiples")
    if not isinstance(length, int):
        length = x.rank
    if length is None:
        return None
    times = shapes.from_value(multiples.value, length)
    assert times is not None
    return tuple(d * n for d, n in zip(shapes.dims(x.shape, length), times))


@Tile.kernel
def _tile_kernel(x: Array, multiples: Array) -> Array:
    if multiples.size != x.ndim:
        raise Complaint(
            f"Expected multiples argument to be a vector of length {x.ndim} but got length {multiples.size}"
        )
    if multiples.size and multiples.min() < 0:
        raise Complaint(f"Expected multiples[i] >= 0, but got {multiples.tolist()}")
    return np.tile(x, multiples.tolist())


@Tile.parts
def _tile_parts(x: Spec, multiples: Spec, *, outs: Sequence[Spec]) -> list[Part] | None:
    times = known_value(multiples)
    if times is None or x.shape is None or not all(sizes.surely_at_most(0, n) for n in times):
        return None
    # Each dimension that is repeated is seen as two: its copies, and the elements of one copy.
    copied = [n != 1 for n in times]
    narrow = [d for size, twice in zip(x.shape, copied) for d in ((1, size) if twice else (size,))]
    wide = [d for n, size, twice in zip(times, x.shape, copied) for d in ((n, size) if twice else (size,))]
    source = View.dense(narrow)
    for axis, (one, many) in enumerate(zip(narrow, wide)):
        if one == 1 and many != 1:
            source = source.repeated(axis, many)
    return [Part(0, source, View.dense(wide))]


@Tile.gradient
def _tile_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    x, multiples = op.inputs
    # dy in the shape [m0, d0, m1, d1, ...]: the copies of each dimension lie along its own axis.
    pairs = reshape(stack([multiples, shape(x, out_type=multiples.dtype)], axis=1), [-1])
    rank = x.spec.rank
    copies = np.arange(0, 2 * rank, 2, dtype=np.int32) if rank is not None else range_(0, size(pairs), 2)
    return reshape(reduce_sum(reshape(dy, pairs), copies), shape(x)), None


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """A tensor repeated along each dimension.

    Args:
        input: any tensor.
        multiples: [rank], how many times.
        name: the operation's name.
    """
    return Tile(input, multiples, name=name)
