"""Pooling and grayscale dilation of NumPy arrays, and their adjoints.

`windows.py` says what images, windows and taps are. All is computed by a loop over taps: each step combines two strided
slices. The slices leave the padding out, so no padded image is made and no padding value can win a maximum. Within one
tap every window touches another pixel, so `+=` on a slice is a correct scatter-add.

No function writes to its arguments, and none returns a view of them. Results have the dtype of the images;
float16 and bfloat16 accumulate in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tahr.core.dtypes import widened
from tahr.ops.windows import Array, Frame, Padding, check_gradient, frame_of, taps_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# ---------------------------------------------------------------- max pooling


def max_pool(x: Array, window: Sequence[int], strides: Sequence[int], padding: Padding) -> Array:
    """Return the maximum of each window.

    As in TensorFlow's kernel for two dimensions, the scan starts from the lowest finite number and passes
    over NaN: a window of nothing but NaN and -Inf gives that number. (`max_pool_with_argmax` differs.)

    Args:
        x: images, `[batch, *spatial, channels]`, floating or integer.
        window, strides, padding: see `windows.py`.

    Returns:
        `[batch, *out spatial, channels]`.
    """
    frame = _pool_frame(x.shape, window, strides, padding)
    y = np.full((x.shape[0], *frame.out, x.shape[-1]), _lowest(x.dtype), x.dtype)
    for tap in taps_of(frame):
        np.fmax(y[tap.out], x[tap.pixels], out=y[tap.out])
    return y


def max_pool_with_argmax(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    include_batch_in_index: bool = False,
) -> tuple[Array, NDArray[np.int64]]:
    """Return the maximum of each window and where it is.

    The first of equal maxima counts. As in TensorFlow, a window whose first pixel is NaN has its maximum
    there, and later NaNs are passed over.

    Args:
        x: images, `[batch, *spatial, channels]`.
        window, strides, padding: see `windows.py`.
        include_batch_in_index: whether indices count through the whole batch, or start anew with each image.

    Returns:
        Maxima and indices, both `[batch, *out spatial, channels]`; an index points into the flattened x, or
        into one flattened image, without padding.
    """
    frame = _pool_frame(x.shape, window, strides, padding)
    taps = _winning_taps(x, max_pool(x, window, strides, padding), frame)
    index = np.zeros(taps.shape, np.int64)
    offsets = np.unravel_index(taps, frame.window) if taps.size else ()
    for axis, offset in enumerate(offsets):
        first = np.arange(frame.out[axis]) * frame.strides[axis] - frame.padding[axis][0]
        index = index * frame.sizes[axis] + offset + _along(axis, first, len(frame.out))
    index = index * x.shape[-1] + np.arange(x.shape[-1])
    batch_starts = np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) * math.prod(x.shape[1:])
    whole = index + batch_starts
    return x.reshape(-1)[whole], whole if include_batch_in_index else index


def max_pool_grad(
    x: Array,
    y: Array,
    dy: Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    all_ties: bool = False,
) -> Array:
    """Return the gradient of `max_pool` with respect to the images.

    As in TensorFlow, the first of equal maxima takes the window's gradient, or the window's first pixel if
    that is NaN. TensorFlow's CPU kernel for three dimensions gives the whole gradient to each of them:
    `all_ties`.

    Args:
        x: images, `[batch, *spatial, channels]`.
        y: `max_pool` of them, `[batch, *out spatial, channels]`.
        dy: gradient of y.
        window, strides, padding: those of `max_pool`.
        all_ties: whether every maximum takes the gradient, or only the first.

    Returns:
        An array of x's shape.
    """
    frame = _pool_frame(x.shape, window, strides, padding)
    check_gradient("dy", dy, (x.shape[0], *frame.out, x.shape[-1]))
    wide = widened(dy)
    dx = np.zeros(x.shape, wide.dtype)
    winners = None if all_ties else _winning_taps(x, y, frame)
    overlap = any(k > s for k, s in zip(frame.window, frame.strides, strict=True))
    for number, tap in enumerate(taps_of(frame)):
        wins = x[tap.pixels] == y[tap.out] if winners is None else winners[tap.out] == number
        share = _masked(wide[tap.out], wins)
        if overlap:
            dx[tap.pixels] += share
        else:
            dx[tap.pixels] = share
    return dx.astype(dy.dtype, copy=False)


def max_pool_grad_grad(
    x: Array, y: Array, ddx: Array, window: Sequence[int], strides: Sequence[int], padding: Padding
) -> Array:
    """Return the gradient of `max_pool_grad` with respect to dy: ddx where each window has its maximum.

    The first pixel equal to y counts. As in TensorFlow the result is 0 for a window that has none (see
    `max_pool`), although `max_pool_grad` chose one.

    Args:
        x: images, `[batch, *spatial, channels]`.
        y: `max_pool` of them, `[batch, *out spatial, channels]`.
        ddx: gradient of `max_pool_grad`'s result, of x's shape.
        window, strides, padding: those of `max_pool`.

    Returns:
        An array of y's shape.
    """
    frame = _pool_frame(x.shape, window, strides, padding)
    check_gradient("ddx", ddx, x.shape)
    matches = _matching_taps(x, y, frame)
    ddy = np.zeros(y.shape, ddx.dtype)
    for number, tap in enumerate(taps_of(frame)):
        ddy[tap.out] += _masked(ddx[tap.pixels], matches[tap.out] == number)
    return ddy


def _pool_frame(
    shape: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Padding
) -> Frame:
    frame = frame_of(shape[1:-1], window, strides, [1] * len(window), padding)
    for extent, pad in zip(frame.window, frame.padding, strict=True):
        if not isinstance(padding, str) and max(pad) >= extent:
            raise ValueError(f"padding {pad} needs to be smaller than the window size {extent}")
    if 0 in frame.sizes and 0 not in frame.out:
        raise ValueError(f"windows over an image of sizes {list(frame.sizes)} contain padding only")
    return frame


def _lowest(dtype: np.dtype[Any]) -> Any:
    """Return the lowest finite number of a dtype."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    # np.finfo does not know bfloat16.
    return np.nextafter(dtype.type(-np.inf), dtype.type(0))


def _matching_taps(x: Array, y: Array, frame: Frame) -> Array:
    """Return the row-major number of each window's first tap equal to y, or the number of taps if none is."""
    matches = np.zeros(y.shape, np.min_scalar_type(math.prod(frame.window)))
    searching = np.ones(y.shape, np.bool_)
    # Counting the taps before the first match takes three fast passes; masked assignment is ten times slower.
    for tap in taps_of(frame):
        differs = np.ones(y.shape, np.bool_)
        np.not_equal(x[tap.pixels], y[tap.out], out=differs[tap.out])
        searching &= differs
        matches += searching
    return matches


def _masked(values: Array, mask: NDArray[np.bool_]) -> Array:
    """Return values where the mask is true and 0 elsewhere.

    ANDing bits is four times as fast as `np.where`, and unlike a product it leaves Inf and NaN where they
    are.
    """
    bits = np.dtype(f"u{values.itemsize}")
    return (values.view(bits) & -mask.astype(bits)).view(values.dtype)


def _winning_taps(x: Array, y: Array, frame: Frame) -> Array:
    """Return the row-major number of the tap that TensorFlow's scan `if best < pixel` ends at.

    The scan starts at the window's first pixel inside the image. It stays there if that is NaN, or if there
    is nothing but -Inf and NaN; in all other cases it ends at the first pixel equal to the maximum.
    """
    winners = _matching_taps(x, y, frame)
    # Nearly all images are free of NaN and -Inf, and two fast reductions tell (NaN spreads through np.min).
    if not y.size or not (np.isnan(np.min(x)) or np.max(winners) == math.prod(frame.window)):
        return winners
    rank = len(frame.out)
    first_pixels: list[Array] = [np.arange(len(x))]
    first_taps = np.zeros([1] * (rank + 1), np.int64)
    for axis, (out, stride, (low, _)) in enumerate(zip(frame.out, frame.strides, frame.padding, strict=True)):
        starts = np.arange(out) * stride - low
        first_pixels.append(np.maximum(starts, 0))
        first_taps = first_taps * frame.window[axis] + _along(axis, np.maximum(-starts, 0), rank)
    first = x[np.ix_(*first_pixels, np.arange(x.shape[-1]))]
    stays = (winners == math.prod(frame.window)) | np.isnan(first)
    np.copyto(winners, first_taps, where=stays, casting="unsafe")
    return winners


def _along(axis: int, values: Array, rank: int) -> Array:
    """Return a vector along one spatial axis, shaped to broadcast against `[batch, *spatial, channels]`."""
    return values.reshape(*[-1 if other == axis else 1 for other in range(rank)], 1)


# ---------------------------------------------------------------- grayscale dilation


def dilation(
    x: Array, filters: Array, strides: Sequence[int], rates: Sequence[int], padding: Padding
) -> Array:
    """Return the maximum of pixel plus filter in each window; NaN does not count.

    Args:
        x: images, `[batch, *spatial, channels]`, real numbers.
        filters: `[*window, channels]`.
        strides, rates, padding: strides, dilations and padding of the window; see `windows.py`.

    Returns:
        `[batch, *out spatial, channels]`.
    """
    frame = frame_of(x.shape[1:-1], filters.shape[:-1], strides, rates, padding)
    y = np.full((x.shape[0], *frame.out, x.shape[-1]), _lowest(x.dtype), x.dtype)
    for tap in taps_of(frame):
        np.fmax(y[tap.out], x[tap.pixels] + filters[tap.offset], out=y[tap.out])
    return y


def dilation_places(
    x: Array, filters: Array, strides: Sequence[int], rates: Sequence[int], padding: Padding
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the maxima of `dilation` come from; the first of equal ones counts.

    Returns:
        Indices into the flattened x and into the flattened filters, -1 where nothing counts; both
        `[batch, *out spatial, channels]`.
    """
    frame = frame_of(x.shape[1:-1], filters.shape[:-1], strides, rates, padding)
    best = np.full((x.shape[0], *frame.out, x.shape[-1]), _lowest(x.dtype), x.dtype)
    pixels, weights = np.full(best.shape, -1), np.full(best.shape, -1)
    all_pixels = np.arange(x.size).reshape(x.shape)
    all_weights = np.arange(filters.size).reshape(filters.shape)
    for tap in taps_of(frame):
        total = x[tap.pixels] + filters[tap.offset]
        wins = total > best[tap.out]
        np.copyto(best[tap.out], total, where=wins)
        np.copyto(pixels[tap.out], all_pixels[tap.pixels], where=wins)
        np.copyto(weights[tap.out], all_weights[tap.offset], where=wins)
    return pixels, weights


# ---------------------------------------------------------------- average pooling


def avg_pool(x: Array, window: Sequence[int], strides: Sequence[int], padding: Padding) -> Array:
    """Return the mean of each window's pixels; padding is no pixel.

    Args:
        x: images, `[batch, *spatial, channels]`, floating.
        window, strides, padding: see `windows.py`.

    Returns:
        `[batch, *out spatial, channels]`.
    """
    frame = _pool_frame(x.shape, window, strides, padding)
    wide = widened(x)
    y = np.zeros((x.shape[0], *frame.out, x.shape[-1]), wide.dtype)
    for tap in taps_of(frame):
        y[tap.out] += wide[tap.pixels]
    y /= _pixel_counts(frame).astype(y.dtype)
    return y.astype(x.dtype, copy=False)


def avg_pool_grad(
    input_shape: Sequence[int], dy: Array, window: Sequence[int], strides: Sequence[int], padding: Padding
) -> Array:
    """Return the gradient of `avg_pool`: each window shares its dy equally among its pixels.

    Args:
        input_shape: `[batch, *spatial, channels]`.
        dy: gradient of the output, `[batch, *out spatial, channels]`.
        window, strides, padding: those of `avg_pool`.

    Returns:
        An array of shape `input_shape`.
    """
    frame = _pool_frame(input_shape, window, strides, padding)
    check_gradient("dy", dy, (input_shape[0], *frame.out, input_shape[-1]))
    wide = widened(dy)
    shares = wide / _pixel_counts(frame).astype(wide.dtype)
    dx = np.zeros(tuple(input_shape), wide.dtype)
    for tap in taps_of(frame):
        dx[tap.pixels] += shares[tap.out]
    return dx.astype(dy.dtype, copy=False)


def _pixel_counts(frame: Frame) -> NDArray[np.int64]:
    """Return how many pixels inside the image each window sees, `[*out, 1]`; at least 1, to divide by."""
    counts = np.ones([1] * (len(frame.out) + 1), np.int64)
    for axis, (size, k, stride, (low, _), out) in enumerate(
        zip(frame.sizes, frame.window, frame.strides, frame.padding, frame.out, strict=True)
    ):
        starts = np.arange(out) * stride - low
        seen = np.minimum(starts + k, size) - np.maximum(starts, 0)
        counts = counts * _along(axis, np.maximum(seen, 1), len(frame.out))
    return counts
