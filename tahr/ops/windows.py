"""Convolution and pooling of NumPy arrays: what a window sliding over images computes, and its adjoints.

Images are `[batch, *spatial, channels]` with one, two or three spatial dimensions; every function is generic
in that rank. `window`, `strides` and `dilations` hold one number for each spatial dimension. `padding` is
"SAME", "VALID", or explicit: one pair (low, high) for each spatial dimension. `to_channels_last` and
`from_channels_last` serve the other layouts.

A *tap* is one position inside the window. For one tap, the pixels that all windows see are a strided slice of
the image, and two ways of computing follow:

* **patches and GEMM** (convolution): all taps of a window are copied into one row of a matrix ("im2col"), so
  a convolution is a matrix product. The copy is made in blocks that stay in the cache; a 1x1 window needs
  none.
* **a loop over taps** (pooling, depthwise convolution, scattering into images): each step combines two
  strided slices. The slices leave the padding out, so no padded image is made and no padding value can win a
  maximum. Within one tap every window touches another pixel, so `+=` on a slice is a correct scatter-add.

No function writes to its arguments, and none returns a view of them. Results have the dtype of the images;
float16 and bfloat16 accumulate in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array = np.ndarray[Any, Any]
Padding = str | Sequence[tuple[int, int]]

# Elements in a block of patches: 2 MiB of float32, about a core's L2 cache. On the shapes of LeNet and of
# small residual nets blocks of 1 to 4 MiB are equally fast, and one block for a whole batch is up to twice
# as slow. Much smaller blocks would make many small GEMMs, each of which waits for BLAS's slowest thread.
_BLOCK_ELEMENTS = 1 << 19

# Up to this many channels, copying patches tap by tap (long runs along the image) beats copying them pixel by
# pixel (runs of kernel width times channels): 1.5 ms against 3.6 ms at 64x28x28x1 with a 5x5 window.
_FEW_CHANNELS = 2


class Geometry(NamedTuple):
    """Sizes of a windowed operation's output and the padding that leads to them; None where unknown."""

    out: tuple[Any, ...]
    padding: tuple[tuple[int, int] | None, ...]


class _Frame(NamedTuple):
    """A windowed operation on images of known size: one entry for each spatial dimension in every field."""

    sizes: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    out: tuple[int, ...]

    @property
    def extents(self) -> tuple[int, ...]:
        """Pixels from a window's first tap to its last, both included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.window, self.dilations, strict=True))


class _Tap(NamedTuple):
    """One position of the window, the outputs that see a pixel through it, and these pixels."""

    offset: tuple[int, ...]
    out: tuple[slice, ...]
    pixels: tuple[slice, ...]


# --------------------------------------------------------------------------------------------------- geometry


def window_geometry(
    sizes: Sequence[Any],
    window: Sequence[Any],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Padding,
) -> Geometry:
    """Return the output sizes and the (low, high) padding of a window sliding over an image.

    Output sizes are made with `+`, `-` and `//` only, so a symbolic size gives a symbolic result.

    Args:
        sizes: the image's spatial sizes: integers, symbolic integers, or None where unknown.
        window: the window's sizes, None where unknown.
        strides: steps between windows.
        dilations: steps between the taps of a window.
        padding: "SAME", "VALID", or a (low, high) pair for each spatial dimension.

    Returns:
        Output sizes, None where unknown; and paddings, None where "SAME" meets a size that is not an integer.

    Raises:
        ValueError: for a rank mismatch, a bad padding, window, stride or dilation, or a window that
            does not fit.

    Source: TensorFlow's "Notes on padding", https://www.tensorflow.org/api_docs/python/tf/nn
    """
    rank = len(sizes)
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(f'padding must be "SAME", "VALID" or (low, high) pairs, not {padding!r}')
        pairs: Sequence[tuple[int, int] | None] = [None if padding == "SAME" else (0, 0)] * rank
    else:
        pairs = [(low, high) for low, high in padding]
    arguments = {"window": window, "strides": strides, "dilations": dilations, "padding": pairs}
    for name, values in arguments.items():
        if len(values) != rank:
            raise ValueError(
                f"{name} has {len(values)} entries for {rank} spatial dimensions: {list(values)}"
            )
    for name in ("window", "strides", "dilations"):
        if any(isinstance(value, int) and value < 1 for value in arguments[name]):
            raise ValueError(f"{name} must be positive, got {list(arguments[name])}")
    if any(pair is not None and min(pair) < 0 for pair in pairs):
        raise ValueError(f"explicit paddings must be nonnegative, got {list(pairs)}")
    dimensions = [
        _dimension(*values) for values in zip(sizes, window, strides, dilations, pairs, strict=True)
    ]
    return Geometry(tuple(out for out, _ in dimensions), tuple(pad for _, pad in dimensions))


def _dimension(
    size: Any, window: Any, stride: int, dilation: int, pad: tuple[int, int] | None
) -> tuple[Any, tuple[int, int] | None]:
    """Return output size and padding of one dimension; `pad` is None for "SAME"."""
    extent = None if window is None else (window - 1) * dilation + 1
    if pad is None:
        if size is None:
            return None, None
        out = (size + stride - 1) // stride
        if not (isinstance(size, (int, np.integer)) and isinstance(extent, (int, np.integer))):
            return out, None
        # The odd pixel of padding goes to the high side.
        total = max((int(out) - 1) * stride + int(extent) - int(size), 0)
        return out, (total // 2, total - total // 2)
    if size is None or extent is None:
        return None, pad
    room = size + pad[0] + pad[1] - extent + stride
    out = room // stride
    if isinstance(out, (int, np.integer)):
        # TensorFlow's division truncates towards zero: only a whole stride of missing room is an error.
        if room <= -stride:
            raise ValueError(
                f"Computed output size would be negative: a window of extent {extent} "
                f"does not fit into {size} pixels with padding {pad} and stride {stride}"
            )
        out = max(out, 0)
    return out, pad


def transposed_sizes(
    sizes: Sequence[Any],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Padding,
) -> tuple[Any, ...]:
    """Return the spatial sizes that a transposed convolution gives when none are asked for.

    Several image sizes lead to the same `sizes` in the forward direction. As in `tf.layers.conv2d_transpose`
    this is the largest one for "SAME"; for "VALID" the one that wastes no pixel, but at least `size *
    stride`.

    Args:
        sizes: spatial sizes of the transposed convolution's input, None where unknown.
        window, strides, dilations, padding: as in `window_geometry`.

    Returns:
        Spatial sizes of its output, None where unknown.
    """

    def one(size: Any, k: int, stride: int, dilation: int, pair: tuple[int, int] | None) -> Any:
        extent = (k - 1) * dilation + 1
        if size is None:
            return None
        if padding == "SAME":
            return size * stride
        if pair is None:
            return size * stride + max(extent - stride, 0)
        return (size - 1) * stride + extent - pair[0] - pair[1]

    pairs = [None] * len(sizes) if isinstance(padding, str) else padding
    return tuple(one(*values) for values in zip(sizes, window, strides, dilations, pairs, strict=True))


def _frame(
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Padding,
) -> _Frame:
    """Return the frame of a windowed operation whose sizes are all known."""
    out, pads = window_geometry(sizes, window, strides, dilations, padding)
    known = tuple(pad for pad in pads if pad is not None)
    return _Frame(tuple(sizes), tuple(window), tuple(strides), tuple(dilations), known, out)


def _taps(frame: _Frame) -> list[_Tap]:
    """Return all taps in row-major order; their slices start with the batch, and may be empty."""
    taps: list[_Tap] = []
    for offset in np.ndindex(*frame.window):
        slices = [
            _tap_slices(size, out, position * dilation - low, stride)
            for size, out, position, dilation, (low, _), stride in zip(
                frame.sizes, frame.out, offset, frame.dilations, frame.padding, frame.strides, strict=True
            )
        ]
        out = (slice(None), *(outputs for outputs, _ in slices))
        taps.append(_Tap(offset, out, (slice(None), *(pixels for _, pixels in slices))))
    return taps


def _tap_slices(size: int, out: int, shift: int, stride: int) -> tuple[slice, slice]:
    """Return the outputs o with 0 <= o * stride + shift < size, and those pixels, as slices."""
    first = max(0, -(shift // stride))
    stop = min(out, (size - 1 - shift) // stride + 1)
    if first >= stop:
        return slice(0, 0), slice(0, 0)
    return slice(first, stop), slice(first * stride + shift, (stop - 1) * stride + shift + 1, stride)


# ---------------------------------------------------------------------------------------------------- layouts


def to_channels_last(images: Array, data_format: str) -> Array:
    """Return images of a layout such as "NCHW" as a view with channels last; "NHWC" passes through."""
    return np.moveaxis(images, 1, -1) if data_format[1] == "C" else images


def from_channels_last(images: Array, data_format: str) -> Array:
    """Return images with channels last as a view in a layout such as "NCHW": `to_channels_last` undone."""
    return np.moveaxis(images, -1, 1) if data_format[1] == "C" else images


def _widened(array: Array) -> Array:
    """Return float16 and bfloat16 as float32, in which they are accumulated; other arrays as they are."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array


def _check_gradient(name: str, gradient: Array, expected: tuple[int, ...]) -> None:
    if gradient.shape != expected:
        raise ValueError(
            f"{name} has the shape {list(gradient.shape)}, but the windows' output is {list(expected)}"
        )


# ------------------------------------------------------------------------------------------------ convolution


def conv(
    x: Array, filters: Array, strides: Sequence[int], padding: Padding, dilations: Sequence[int]
) -> Array:
    """Return the convolution of images with filters (in truth, as usual, their cross-correlation).

    If x has g times as many channels as a filter, they form g groups, each with its own share of the filters.

    Args:
        x: images, `[batch, *spatial, in]`.
        filters: `[*window, in / groups, out]`, of x's dtype.
        strides, padding, dilations: see the module.

    Returns:
        `[batch, *out spatial, out]`.

    Source: Chellapilla, Puri, Simard, "High Performance Convolutional Neural Networks for Document
    Processing" (2006): im2col.
    """
    frame = _frame(x.shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    wide_x, wide_filters = _widened(x), _widened(filters)
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
    frame = _frame(input_shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    _check_gradient("dy", dy, (input_shape[0], *frame.out, filters.shape[-1]))
    wide_filters, wide_dy = _widened(filters), _widened(dy)
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
    frame = _frame(x.shape[1:-1], filter_shape[:-2], strides, dilations, padding)
    _check_gradient("dy", dy, (x.shape[0], *frame.out, filter_shape[-1]))
    wide_x, wide_dy = _widened(x), _widened(dy)
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


def _conv_group(x: Array, filters: Array, frame: _Frame) -> Array:
    windows = _windows(x, frame)
    matrix = filters.reshape(math.prod(filters.shape[:-1]), filters.shape[-1])
    out = np.empty((x.shape[0], *frame.out, filters.shape[-1]), x.dtype)
    for block in _blocks(windows, frame):
        patches = _patches(windows[block], frame)
        # A block is contiguous in `out`, so this reshape is a view.
        np.matmul(patches, matrix, out=out[block].reshape(len(patches), filters.shape[-1]))
    return out


def _conv_group_to_filter(x: Array, dy: Array, frame: _Frame) -> Array:
    windows = _windows(x, frame)
    total = np.zeros((math.prod(frame.window) * x.shape[-1], dy.shape[-1]), x.dtype)
    for block in _blocks(windows, frame):
        patches = _patches(windows[block], frame)
        total += patches.T @ dy[block].reshape(len(patches), dy.shape[-1])
    return total.reshape(*frame.window, x.shape[-1], dy.shape[-1])


def _conv_group_to_input(filters: Array, dy: Array, frame: _Frame) -> Array:
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


def _conv_group_scatter(filters: Array, dy: Array, frame: _Frame) -> Array:
    """Return the images' gradient by adding each tap's share to the pixels that the tap sees."""
    ins, outs = filters.shape[-2:]
    taps = _taps(frame)
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


def _windows(x: Array, frame: _Frame) -> Array:
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


def _patches(windows: Array, frame: _Frame) -> Array:
    """Return windows as a matrix `[pixels, taps * channels]`: a copy, unless the window is 1x1."""
    rank = len(frame.window)
    pixels, elements = math.prod(windows.shape[: rank + 1]), math.prod(windows.shape[rank + 1 :])
    if windows.shape[-1] <= _FEW_CHANNELS:
        taps_first = windows.transpose(*range(rank + 1, 2 * rank + 2), *range(rank + 1))
        return taps_first.reshape(elements, pixels).T
    return windows.reshape(pixels, elements)


def _blocks(windows: Array, frame: _Frame) -> Iterator[tuple[slice, slice]]:
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


# -------------------------------------------------------------------------------------- depthwise convolution
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
        strides, padding, dilations: see the module.

    Returns:
        `[batch, *out spatial, in * multiplier]`: channel `c * multiplier + m` is channel c under filter m.
    """
    frame = _frame(x.shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    wide_x, columns = _depthwise_operands(x, filters.shape), _merged(_widened(filters))
    out = np.zeros((x.shape[0], *frame.out, columns.shape[-1]), wide_x.dtype)
    taps = _taps(frame)
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
    frame = _frame(input_shape[1:-1], filters.shape[:-2], strides, dilations, padding)
    wide_dy, columns = _widened(dy), _merged(_widened(filters))
    _check_gradient("dy", dy, (input_shape[0], *frame.out, columns.shape[-1]))
    dx = np.zeros((*input_shape[:-1], columns.shape[-1]), wide_dy.dtype)
    taps = _taps(frame)
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
    frame = _frame(x.shape[1:-1], filter_shape[:-2], strides, dilations, padding)
    wide_x, wide_dy = _depthwise_operands(x, filter_shape), _widened(dy)
    _check_gradient("dy", dy, (x.shape[0], *frame.out, wide_x.shape[-1]))
    total = np.zeros((*frame.window, wide_x.shape[-1]), wide_x.dtype)
    taps = _taps(frame)
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
    wide = _widened(x)
    return wide if multiplier == 1 else np.repeat(wide, multiplier, axis=-1)


def _merged(filters: Array) -> Array:
    """Return filters `[*window, in, multiplier]` as `[*window, in * multiplier]`."""
    return filters.reshape(*filters.shape[:-2], filters.shape[-2] * filters.shape[-1])


# ------------------------------------------------------------------------------------------------ max pooling


def max_pool(x: Array, window: Sequence[int], strides: Sequence[int], padding: Padding) -> Array:
    """Return the maximum of each window.

    As in TensorFlow's kernel for two dimensions, the scan starts from the lowest finite number and passes
    over NaN: a window of nothing but NaN and -Inf gives that number. (`max_pool_with_argmax` differs.)

    Args:
        x: images, `[batch, *spatial, channels]`, floating or integer.
        window, strides, padding: see the module.

    Returns:
        `[batch, *out spatial, channels]`.
    """
    frame = _pool_frame(x.shape, window, strides, padding)
    y = np.full((x.shape[0], *frame.out, x.shape[-1]), _lowest(x.dtype), x.dtype)
    for tap in _taps(frame):
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
        window, strides, padding: see the module.
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
    _check_gradient("dy", dy, (x.shape[0], *frame.out, x.shape[-1]))
    wide = _widened(dy)
    dx = np.zeros(x.shape, wide.dtype)
    winners = None if all_ties else _winning_taps(x, y, frame)
    overlap = any(k > s for k, s in zip(frame.window, frame.strides, strict=True))
    for number, tap in enumerate(_taps(frame)):
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
    _check_gradient("ddx", ddx, x.shape)
    matches = _matching_taps(x, y, frame)
    ddy = np.zeros(y.shape, ddx.dtype)
    for number, tap in enumerate(_taps(frame)):
        ddy[tap.out] += _masked(ddx[tap.pixels], matches[tap.out] == number)
    return ddy


def _pool_frame(
    shape: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Padding
) -> _Frame:
    frame = _frame(shape[1:-1], window, strides, [1] * len(window), padding)
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


def _matching_taps(x: Array, y: Array, frame: _Frame) -> Array:
    """Return the row-major number of each window's first tap equal to y, or the number of taps if none is."""
    matches = np.zeros(y.shape, np.min_scalar_type(math.prod(frame.window)))
    searching = np.ones(y.shape, np.bool_)
    # Counting the taps before the first match takes three fast passes; masked assignment is ten times slower.
    for tap in _taps(frame):
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


def _winning_taps(x: Array, y: Array, frame: _Frame) -> Array:
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


# ----------------------------------------------------------------------------------------- grayscale dilation


def dilation(
    x: Array, filters: Array, strides: Sequence[int], rates: Sequence[int], padding: Padding
) -> Array:
    """Return the maximum of pixel plus filter in each window; NaN does not count.

    Args:
        x: images, `[batch, *spatial, channels]`, real numbers.
        filters: `[*window, channels]`.
        strides, rates, padding: strides, dilations and padding of the window; see the module.

    Returns:
        `[batch, *out spatial, channels]`.
    """
    frame = _frame(x.shape[1:-1], filters.shape[:-1], strides, rates, padding)
    y = np.full((x.shape[0], *frame.out, x.shape[-1]), _lowest(x.dtype), x.dtype)
    for tap in _taps(frame):
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
    frame = _frame(x.shape[1:-1], filters.shape[:-1], strides, rates, padding)
    best = np.full((x.shape[0], *frame.out, x.shape[-1]), _lowest(x.dtype), x.dtype)
    pixels, weights = np.full(best.shape, -1), np.full(best.shape, -1)
    all_pixels = np.arange(x.size).reshape(x.shape)
    all_weights = np.arange(filters.size).reshape(filters.shape)
    for tap in _taps(frame):
        total = x[tap.pixels] + filters[tap.offset]
        wins = total > best[tap.out]
        np.copyto(best[tap.out], total, where=wins)
        np.copyto(pixels[tap.out], all_pixels[tap.pixels], where=wins)
        np.copyto(weights[tap.out], all_weights[tap.offset], where=wins)
    return pixels, weights


# -------------------------------------------------------------------------------------------- average pooling


def avg_pool(x: Array, window: Sequence[int], strides: Sequence[int], padding: Padding) -> Array:
    """Return the mean of each window's pixels; padding is no pixel.

    Args:
        x: images, `[batch, *spatial, channels]`, floating.
        window, strides, padding: see the module.

    Returns:
        `[batch, *out spatial, channels]`.
    """
    frame = _pool_frame(x.shape, window, strides, padding)
    wide = _widened(x)
    y = np.zeros((x.shape[0], *frame.out, x.shape[-1]), wide.dtype)
    for tap in _taps(frame):
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
    _check_gradient("dy", dy, (input_shape[0], *frame.out, input_shape[-1]))
    wide = _widened(dy)
    shares = wide / _pixel_counts(frame).astype(wide.dtype)
    dx = np.zeros(tuple(input_shape), wide.dtype)
    for tap in _taps(frame):
        dx[tap.pixels] += shares[tap.out]
    return dx.astype(dy.dtype, copy=False)


def _pixel_counts(frame: _Frame) -> NDArray[np.int64]:
    """Return how many pixels inside the image each window sees, `[*out, 1]`; at least 1, to divide by."""
    counts = np.ones([1] * (len(frame.out) + 1), np.int64)
    for axis, (size, k, stride, (low, _), out) in enumerate(
        zip(frame.sizes, frame.window, frame.strides, frame.padding, frame.out, strict=True)
    ):
        starts = np.arange(out) * stride - low
        seen = np.minimum(starts + k, size) - np.maximum(starts, 0)
        counts = counts * _along(axis, np.maximum(seen, 1), len(frame.out))
    return counts
