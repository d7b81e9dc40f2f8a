"""Convolution and depthwise convolution of NumPy arrays, and their adjoints.

`windows.py` says what images, windows and taps are. There are two ways of computing:

* **patches and GEMM** (convolution): all taps of a window are copied into one row of a matrix ("im2col"), so
  a convolution is a matrix product. The copy is made in blocks that stay in the cache; a 1x1 window needs
  none.
* **a loop over taps** (depthwise convolution, scattering into images): each step combines two strided slices. The
  slices leave the padding out, so no padded image is made. Within one tap every window touches another pixel, so `+=`
  on a slice is a correct scatter-add.

No function writes to its arguments, and none returns a view of them. Results have the dtype of the images;
float16 and bfloat16 accumulate in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tahr.core.dtypes import widened
from tahr.ops.windows import Array, Frame, Padding, check_gradient, frame_of, taps_of

# Elements in a block of patches: 2 MiB of float32, about a core's L2 cache. On the shapes of LeNet and of
# small residual nets blocks of 1 to 4 MiB are equally fast, and one block for a whole batch is up to twice
# as slow. Much smaller blocks would make many small GEMMs, each of which waits for BLAS's slowest thread.
_BLOCK_ELEMENTS = 1 << 19

# Up to this many channels, copying patches tap by tap (long runs along the image) beats copying them pixel by
# pixel (runs of kernel width times channels): 1.5 ms against 3.6 ms at 64x28x28x1 with a 5x5 window.
_FEW_CHANNELS = 2

# ---------------------------------------------------------------- convolution


def conv(
    x: Array, filters: Array, strides: Sequence[int], padding: Padding, dilations: Sequence[int]
) -> Array:
    """Return the convolution of images with filters (in truth, as usual, their cross-correlation).

    If x has g times as many channels as a filter, they form g groups, each with its own share of the filters.

    Args:
        x: images, `[batch, *spatial, in]`.
        filters: `[*window, in / groups, out]`, of x's dtype.
        strides, padding, dilations: see `windows.py`.

    Returns:
        `[batch, *out spatial, out]`.

    Source: Chellapilla, Puri, Simard, "High Performance Convolutional Neural Networks for Document
    Processing" (2006): im2col.
    """
    frame = frame_of(x.shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    wide_x, wide_filters = widened(x), widened(filters)
    parts = [
        _conv_group(wide_x[..., ins], wide_filters[..., outs], frame)
        for ins, outs in _groups(x.shape[-1], filters.shape)
    ]
    return _joined(parts).astype(x.dtype, copy=False)


def conv_backprop_input(
    input_shape: Sequence[int],
    filters: Array,
    dy: Array,
    strides: Sequence[int],
    padding: Padding,
    dilations: Sequence[int],
) -> Array:
    """Return the gradient of `conv` with respect to the images; it is also the transposed convolution.

    Args:
        input_shape: `[batch, *spatial, in]`.
        filters: `[*window, in / groups, out]`.
        dy: gradient of the output, `[batch, *out spatial, out]`.
        strides, padding, dilations: those of `conv`.

    Returns:
        An array of shape `input_shape`.
    """
    frame = frame_of(input_shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    check_gradient("dy", dy, (input_shape[0], *frame.out, filters.shape[-1]))
    wide_filters, wide_dy = widened(filters), widened(dy)
    parts = [
        _conv_group_to_input(wide_filters[..., outs], wide_dy[..., outs], frame)
        for _, outs in _groups(input_shape[-1], filters.shape)
    ]
    return _joined(parts).astype(dy.dtype, copy=False)


def conv_backprop_filter(
    x: Array,
    filter_shape: Sequence[int],
    dy: Array,
    strides: Sequence[int],
    padding: Padding,
    dilations: Sequence[int],
) -> Array:
    """Return the gradient of `conv` with respect to the filters.

    Args:
        x: images, `[batch, *spatial, in]`.
        filter_shape: `[*window, in / groups, out]`.
        dy: gradient of the output, `[batch, *out spatial, out]`.
        strides, padding, dilations: those of `conv`.

    Returns:
        An array of shape `filter_shape`.
    """
    frame = frame_of(x.shape[1:-1], filter_shape[:-2], strides, dilations, padding)
    check_gradient("dy", dy, (x.shape[0], *frame.out, filter_shape[-1]))
    wide_x, wide_dy = widened(x), widened(dy)
    parts = [
        _conv_group_to_filter(wide_x[..., ins], wide_dy[..., outs], frame)
        for ins, outs in _groups(x.shape[-1], filter_shape)
    ]
    return _joined(parts).astype(x.dtype, copy=False)


def _groups(channels: int, filter_shape: Sequence[int]) -> list[tuple[slice, slice]]:
    """Return each group's slice of the input channels and of the output channels."""
    ins, outs = filter_shape[-2:]
    if ins < 1:
        raise ValueError(f"filter must not have zero elements, but has the shape {list(filter_shape)}")
    if channels % ins or channels == 0:
        raise ValueError(f"input depth must be evenly divisible by filter depth: {channels} vs {ins}")
    count = channels // ins
    if outs % count:
        raise ValueError(f"output depth must be evenly divisible by number of groups: {outs} vs {count}")
    share = outs // count
    return [(slice(g * ins, (g + 1) * ins), slice(g * share, (g + 1) * share)) for g in range(count)]


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _conv_group(x: Array, filters: Array, frame: Frame) -> Array:
    windows = _windows(x, frame)
    matrix = filters.reshape(math.prod(filters.shape[:-1]), filters.shape[-1])
    out = np.empty((x.shape[0], *frame.out, filters.shape[-1]), x.dtype)
    for block in _blocks(windows, frame):
        patches = _patches(windows[block], frame)
        # A block is contiguous in `out`, so this reshape is a view.
        np.matmul(patches, matrix, out=out[block].reshape(len(patches), filters.shape[-1]))
    return out


def _conv_group_to_filter(x: Array, dy: Array, frame: Frame) -> Array:
    windows = _windows(x, frame)
    total = np.zeros((math.prod(frame.window) * x.shape[-1], dy.shape[-1]), x.dtype)
    for block in _blocks(windows, frame):
        patches = _patches(windows[block], frame)
        total += patches.T @ dy[block].reshape(len(patches), dy.shape[-1])
    return total.reshape(*frame.window, x.shape[-1], dy.shape[-1])


def _conv_group_to_input(filters: Array, dy: Array, frame: Frame) -> Array:
    """Return the images' gradient: as a convolution where that is possible and not wasteful, else tap by tap.

    With strides of 1 the adjoint is a convolution of dy with mirrored filters. Its patches have `out`
    channels where the scattered gradient has `in`, but are copied instead of added: worth it up to a factor
    of about 4.
    """
    ins, outs = filters.shape[-2:]
    mirrored = tuple(
        (extent - 1 - low, size + low - out)
        for extent, (low, _), size, out in zip(
            frame.extents, frame.padding, frame.sizes, frame.out, strict=True
        )
    )
    is_convolution = all(stride == 1 for stride in frame.strides) and min(map(min, mirrored)) >= 0
    if not is_convolution or outs > 4 * ins:
        return _conv_group_scatter(filters, dy, frame)
    flipped = np.flip(filters, axis=tuple(range(len(frame.window)))).swapaxes(-1, -2)
    return _conv_group(dy, flipped, frame._replace(sizes=frame.out, padding=mirrored, out=frame.sizes))


def _conv_group_scatter(filters: Array, dy: Array, frame: Frame) -> Array:
    """Return the images' gradient by adding each tap's share to the pixels that the tap sees."""
    ins, outs = filters.shape[-2:]
    taps = taps_of(frame)
    dx = np.zeros((len(dy), *frame.sizes, ins), dy.dtype)
    few = ins <= _FEW_CHANNELS
    columns = ins * len(taps) if few else ins
    for images in _image_blocks(len(dy), math.prod(frame.out) * max(columns, outs)):
        block, pixels = dx[images], dy[images]
        matrix = pixels.reshape(math.prod(pixels.shape[:-1]), outs)
        if few:
            # One GEMM for all taps: with so few columns, one GEMM a tap would only read dy again and again.
            gradients = filters.reshape(math.prod(filters.shape[:-1]), outs) @ matrix.T
            gradients = gradients.reshape(*filters.shape[:-1], *pixels.shape[:-1])
            for tap in taps:
                block[tap.pixels] += np.moveaxis(gradients[tap.offset], 0, -1)[tap.out]
        else:
            for tap in taps:
                gradients = (matrix @ filters[tap.offset].T).reshape(*pixels.shape[:-1], ins)
                block[tap.pixels] += gradients[tap.out]
    return dx


def _windows(x: Array, frame: Frame) -> Array:
    """Return all windows of the zero-padded images, a view `[batch, *out, *window, channels]`."""
    if any(pad != (0, 0) for pad in frame.padding):
        padded = [low + size + high for size, (low, high) in zip(frame.sizes, frame.padding, strict=True)]
        interior = tuple(
            slice(low, low + size) for size, (low, _) in zip(frame.sizes, frame.padding, strict=True)
        )
        images = np.zeros((x.shape[0], *padded, x.shape[-1]), x.dtype)
        images[(slice(None), *interior)] = x
    else:
        images = x
    batch_step, *steps, channel_step = images.strides
    window_steps = [step * stride for step, stride in zip(steps, frame.strides, strict=True)]
    tap_steps = [step * dilation for step, dilation in zip(steps, frame.dilations, strict=True)]
    return as_strided(
        images,
        (images.shape[0], *frame.out, *frame.window, images.shape[-1]),
        (batch_step, *window_steps, *tap_steps, channel_step),
        writeable=False,
    )


def _patches(windows: Array, frame: Frame) -> Array:
    """Return windows as a matrix `[pixels, taps * channels]`: a copy, unless the window is 1x1."""
    rank = len(frame.window)
    pixels, elements = math.prod(windows.shape[: rank + 1]), math.prod(windows.shape[rank + 1 :])
    if windows.shape[-1] <= _FEW_CHANNELS:
        taps_first = windows.transpose(*range(rank + 1, 2 * rank + 2), *range(rank + 1))
        return taps_first.reshape(elements, pixels).T
    return windows.reshape(pixels, elements)


def _blocks(windows: Array, frame: Frame) -> Iterator[tuple[slice, slice]]:
    """Yield slices of batch and first spatial dimension in which the patches fill about one cache."""
    image_elements = math.prod(windows.shape[1:])
    if image_elements <= _BLOCK_ELEMENTS or math.prod(frame.window) == 1:
        yield from ((images, slice(None)) for images in _image_blocks(len(windows), image_elements))
        return
    rows = max(1, _BLOCK_ELEMENTS * frame.out[0] // image_elements)
    for image in range(len(windows)):
        for row in range(0, frame.out[0], rows):
            yield slice(image, image + 1), slice(row, row + rows)


def _image_blocks(images: int, image_elements: int) -> Iterator[slice]:
    """Yield slices of the batch that hold about `_BLOCK_ELEMENTS`, and at least one image."""
    step = max(1, _BLOCK_ELEMENTS // max(1, image_elements))
    return (slice(start, min(start + step, images)) for start in range(0, images, step))


# ---------------------------------------------------------------- depthwise convolution
#
# With every channel repeated `multiplier` times, a depthwise convolution multiplies channel by channel. Its
# GEMMs would have one column, so it loops over taps instead.


def depthwise_conv(
    x: Array, filters: Array, strides: Sequence[int], padding: Padding, dilations: Sequence[int]
) -> Array:
    """Return the convolution of each channel with its own `multiplier` filters.

    Args:
        x: images, `[batch, *spatial, in]`.
        filters: `[*window, in, multiplier]`, of x's dtype.
        strides, padding, dilations: see `windows.py`.

    Returns:
        `[batch, *out spatial, in * multiplier]`: channel `c * multiplier + m` is channel c under filter m.
    """
    frame = frame_of(x.shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    wide_x, columns = _depthwise_operands(x, filters.shape), _merged(widened(filters))
    out = np.zeros((x.shape[0], *frame.out, columns.shape[-1]), wide_x.dtype)
    taps = taps_of(frame)
    for images in _image_blocks(len(x), math.prod(frame.out) * columns.shape[-1]):
        source, target = wide_x[images], out[images]
        for tap in taps:
            target[tap.out] += source[tap.pixels] * columns[tap.offset]
    return out.astype(x.dtype, copy=False)


def depthwise_conv_backprop_input(
    input_shape: Sequence[int],
    filters: Array,
    dy: Array,
    strides: Sequence[int],
    padding: Padding,
    dilations: Sequence[int],
) -> Array:
    """Return the gradient of `depthwise_conv` with respect to the images.

    Args:
        input_shape: `[batch, *spatial, in]`.
        filters: `[*window, in, multiplier]`.
        dy: gradient of the output, `[batch, *out spatial, in * multiplier]`.
        strides, padding, dilations: those of `depthwise_conv`.

    Returns:
        An array of shape `input_shape`.
    """
    frame = frame_of(input_shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    wide_dy, columns = widened(dy), _merged(widened(filters))
    check_gradient("dy", dy, (input_shape[0], *frame.out, columns.shape[-1]))
    dx = np.zeros((*input_shape[:-1], columns.shape[-1]), wide_dy.dtype)
    taps = taps_of(frame)
    for images in _image_blocks(len(dy), math.prod(frame.sizes) * columns.shape[-1]):
        source, target = wide_dy[images], dx[images]
        for tap in taps:
            target[tap.pixels] += source[tap.out] * columns[tap.offset]
    # Integers keep their dtype here, which NumPy's sum would widen.
    summed = dx.reshape(*input_shape, filters.shape[-1]).sum(axis=-1, dtype=dx.dtype)
    return summed.astype(dy.dtype, copy=False)


def depthwise_conv_backprop_filter(
    x: Array,
    filter_shape: Sequence[int],
    dy: Array,
    strides: Sequence[int],
    padding: Padding,
    dilations: Sequence[int],
) -> Array:
    """Return the gradient of `depthwise_conv` with respect to the filters.

    Args:
        x: images, `[batch, *spatial, in]`.
        filter_shape: `[*window, in, multiplier]`.
        dy: gradient of the output, `[batch, *out spatial, in * multiplier]`.
        strides, padding, dilations: those of `depthwise_conv`.

    Returns:
        An array of shape `filter_shape`.
    """
    frame = frame_of(x.shape[1:-1], filter_shape[:-2], strides, dilations, padding)
    wide_x, wide_dy = _depthwise_operands(x, filter_shape), widened(dy)
    check_gradient("dy", dy, (x.shape[0], *frame.out, wide_x.shape[-1]))
    total = np.zeros((*frame.window, wide_x.shape[-1]), wide_x.dtype)
    taps = taps_of(frame)
    for images in _image_blocks(len(x), math.prod(frame.out) * wide_x.shape[-1]):
        source, gradient = wide_x[images], wide_dy[images]
        for tap in taps:
            products = source[tap.pixels] * gradient[tap.out]
            rows = math.prod(products.shape[:-1])
            # A GEMV sums the pixels in blocks, more accurately than adding row after row.
            total[tap.offset] += np.ones(rows, total.dtype) @ products.reshape(rows, total.shape[-1])
    return total.reshape(tuple(filter_shape)).astype(x.dtype, copy=False)


def _depthwise_operands(x: Array, filter_shape: Sequence[int]) -> Array:
    """Return the images, widened, with every channel repeated once for each of its filters."""
    channels, multiplier = filter_shape[-2:]
    if x.shape[-1] != channels:
        raise ValueError(f"input depth must equal the filters' depth: {x.shape[-1]} vs {channels}")
    wide = widened(x)
    return wide if multiplier == 1 else np.repeat(wide, multiplier, axis=-1)


def _merged(filters: Array) -> Array:
    """Return filters `[*window, in, multiplier]` as `[*window, in * multiplier]`."""
    return filters.reshape(*filters.shape[:-2], filters.shape[-2] * filters.shape[-1])
