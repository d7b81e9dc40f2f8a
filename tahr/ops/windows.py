"""Windows that slide over images, which are NumPy arrays: where they lie, and which pixels they see.

Images are `[batch, *spatial, channels]` with one, two or three spatial dimensions; every function is generic
in that rank. `window`, `strides` and `dilations` hold one number for each spatial dimension. `padding` is
"SAME", "VALID", or explicit: one pair (low, high) for each spatial dimension. `layouts.py` has the other layouts.

A *tap* is one position inside the window. For one tap, the pixels that all windows see are a strided slice of
the image. What is computed of them is in `convolution_kernels.py` and `pooling_kernels.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Padding = str | Sequence[tuple[int, int]]


class Geometry(NamedTuple):
    """Sizes of a windowed operation's output and the padding that leads to them; None where unknown."""

    out: tuple[Any, ...]
    padding: tuple[tuple[int, int] | None, ...]


class Frame(NamedTuple):
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


class Tap(NamedTuple):
    """One position of the window, the outputs that see a pixel through it, and these pixels."""

    offset: tuple[int, ...]
    out: tuple[slice, ...]
    pixels: tuple[slice, ...]


# ---------------------------------------------------------------- geometry


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


def frame_of(
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Padding,
) -> Frame:
    """Return the frame of a windowed operation whose sizes are all known."""
    out, pads = window_geometry(sizes, window, strides, dilations, padding)
    known = tuple(pad for pad in pads if pad is not None)
    return Frame(tuple(sizes), tuple(window), tuple(strides), tuple(dilations), known, out)


def taps_of(frame: Frame) -> list[Tap]:
    """Return all taps in row-major order; their slices start with the batch, and may be empty."""
    taps: list[Tap] = []
    for offset in np.ndindex(*frame.window):
        slices = [
            _tap_slices(size, out, position * dilation - low, stride)
            for size, out, position, dilation, (low, _), stride in zip(
                frame.sizes, frame.out, offset, frame.dilations, frame.padding, frame.strides, strict=True
            )
        ]
        out = (slice(None), *(outputs for outputs, _ in slices))
        taps.append(Tap(offset, out, (slice(None), *(pixels for _, pixels in slices))))
    return taps


def _tap_slices(size: int, out: int, shift: int, stride: int) -> tuple[slice, slice]:
    """Return the outputs o with 0 <= o * stride + shift < size, and those pixels, as slices."""
    first = max(0, -(shift // stride))
    stop = min(out, (size - 1 - shift) // stride + 1)
    if first >= stop:
        return slice(0, 0), slice(0, 0)
    return slice(first, stop), slice(first * stride + shift, (stop - 1) * stride + shift + 1, stride)


# ---------------------------------------------------------------- what kernels share


def check_gradient(name: str, gradient: Array, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless a gradient has the shape of what it is the gradient of."""
    if gradient.shape != expected:
        raise ValueError(
            f"{name} has the shape {list(gradient.shape)}, but the windows' output is {list(expected)}"
        )
