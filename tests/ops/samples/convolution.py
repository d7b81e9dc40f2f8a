"""Samples of `tahr.ops.convolution`. Small numbers with few bits, so that sums are exact in float16 too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.ops.samples import FLOATS, Bad, Sample


def numbers(*shape: int, step: int = 7) -> Any:
    """Small multiples of 1/4 without a pattern."""
    return (np.arange(float(math.prod(shape))).reshape(shape) * step % 11 - 5) / 4


def places(x_shape: Sequence[int], window: Sequence[int], attrs: dict[str, Any]) -> Any:
    """Yields (output place, tap, pixel) for every tap inside the image, by TensorFlow's rules of padding."""
    spatial = slice(2, None) if attrs["data_format"].startswith("NC") else slice(1, -1)
    strides, dilations = attrs["strides"][spatial], attrs["dilations"][spatial]
    outs, lows = [], []
    pairs = list(
        zip(attrs.get("explicit_paddings", ())[::2], attrs.get("explicit_paddings", ())[1::2], strict=True)
    )
    for i, (size, k, stride, dilation) in enumerate(zip(x_shape, window, strides, dilations, strict=True)):
        extent = (k - 1) * dilation + 1
        if attrs["padding"] == "SAME":
            outs.append(-(-size // stride))
            lows.append(max((outs[-1] - 1) * stride + extent - size, 0) // 2)
        else:
            low, high = pairs[spatial][i] if attrs["padding"] == "EXPLICIT" else (0, 0)
            outs.append((size + low + high - extent) // stride + 1)
            lows.append(low)
    for out in np.ndindex(*outs):
        for tap in np.ndindex(*window):
            pixel = [
                o * s + t * d - low
                for o, s, t, d, low in zip(out, strides, tap, dilations, lows, strict=True)
            ]
            if all(0 <= p < size for p, size in zip(pixel, x_shape, strict=True)):
                yield out, tap, tuple(pixel)


def last(x: Any, data_format: str) -> Any:
    return np.moveaxis(x, 1, -1) if data_format.startswith("NC") else x


def first(x: Any, data_format: str) -> Any:
    return np.moveaxis(x, -1, 1) if data_format.startswith("NC") else x


def grouped(filters: Any, channels: int) -> Any:
    """Filters of groups as filters of all channels, most of them 0."""
    *window, ins, outs = filters.shape
    groups = channels // ins
    full = np.zeros([*window, channels, outs])
    for g in range(groups):
        of_group = slice(g * outs // groups, (g + 1) * outs // groups)
        full[..., g * ins : (g + 1) * ins, of_group] = filters[..., of_group]
    return full


def of_each_channel(filters: Any, channels: int) -> Any:
    """Depthwise filters as filters of all channels, most of them 0."""
    *window, ins, multiplier = filters.shape
    full = np.zeros([*window, ins, ins * multiplier])
    for c in range(ins):
        full[..., c, c * multiplier : (c + 1) * multiplier] = filters[..., c, :]
    return full


class Naive:
    """A convolution and its adjoints, one product of a pixel with a filter after another."""

    def __init__(self, spread: Any) -> None:
        self.spread = spread  # filters of all channels

    def forward(self, x: Any, filters: Any, **attrs: Any) -> Any:
        x = last(x, attrs["data_format"])
        full = self.spread(filters, x.shape[-1])
        window = filters.shape[:-2]
        seen = list(places(x.shape[1:-1], window, attrs))
        y = np.zeros(
            [
                len(x),
                *(max((o[i] for o, _, _ in seen), default=-1) + 1 for i in range(len(window))),
                full.shape[-1],
            ]
        )
        for out, tap, pixel in seen:
            y[(slice(None), *out)] += x[(slice(None), *pixel)] @ full[tap]
        return first(y, attrs["data_format"])

    def to_input(self, sizes: Any, filters: Any, dy: Any, **attrs: Any) -> Any:
        dx = last(np.zeros(sizes), attrs["data_format"])
        dy = last(dy, attrs["data_format"])
        full = self.spread(filters, dx.shape[-1])
        for out, tap, pixel in places(dx.shape[1:-1], filters.shape[:-2], attrs):
            dx[(slice(None), *pixel)] += dy[(slice(None), *out)] @ full[tap].T
        return first(dx, attrs["data_format"])

    def to_filter(self, x: Any, sizes: Any, dy: Any, **attrs: Any) -> Any:
        x, dy = last(x, attrs["data_format"]), last(dy, attrs["data_format"])
        dw = np.zeros(sizes)
        # Each element of the filters by itself: the gradient along the image of its own one-hot filter.
        for out, tap, pixel in places(x.shape[1:-1], tuple(sizes[:-2]), attrs):
            full = x[(slice(None), *pixel)].T @ dy[(slice(None), *out)]
            for i, o in np.ndindex(*sizes[-2:]):
                unit = np.zeros([1] * (len(sizes) - 2) + list(sizes[-2:]))
                unit[..., i, o] = 1
                dw[(*tap, i, o)] += np.sum(full * self.spread(unit, x.shape[-1]).reshape(full.shape))
        return dw


CONV, DEPTHWISE = Naive(grouped), Naive(of_each_channel)
KINDS = {
    "Conv2D": (CONV, "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"),
    "Conv3D": (CONV, "Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"),
    "Depthwise": (
        DEPTHWISE,
        "DepthwiseConv2dNative",
        "DepthwiseConv2dNativeBackpropInput",
        "DepthwiseConv2dNativeBackpropFilter",
    ),
}


def attributes(rank: int, **given: Any) -> dict[str, Any]:
    """All attributes, for the oracle."""
    default = "NHWC" if rank == 4 else "NDHWC"
    return {"strides": (1,) * rank, "dilations": (1,) * rank, "data_format": default, **given}


def three(
    kind: str, name: str, x: Any, filters: Any, bad: tuple[Bad, ...] = (), **given: Any
) -> list[Sample]:
    """A sample of a convolution and of both of its adjoints."""
    naive, forward, to_input, to_filter = KINDS[kind]
    attrs = attributes(x.ndim, **given)
    dy = numbers(*naive.forward(x, filters, **attrs).shape, step=5)
    used = {key: value for key, value in attrs.items() if key in given or key == "strides"}
    common: dict[str, Any] = {"attrs": used, "dtypes": FLOATS}
    return [
        Sample(forward, name, inputs=(x, filters), expected=naive.forward, bad=bad, **common),
        Sample(
            to_input,
            name,
            inputs=(np.array(x.shape, np.int32), filters, dy),
            expected=naive.to_input,
            **common,
        ),
        Sample(
            to_filter,
            name,
            inputs=(x, np.array(filters.shape, np.int32), dy),
            expected=naive.to_filter,
            **common,
        ),
    ]


def call(
    x: Sequence[int], filters: Sequence[int], strides: Any, padding: str, phrase: str, **attrs: Any
) -> Bad:
    inputs = np.ones(x, np.float32), np.ones(filters, np.float32)
    return Bad(inputs, {"strides": strides, "padding": padding, **attrs}, ValueError, phrase)


ONES = (1, 1, 1, 1)
BAD = (
    call([1, 3, 3, 2], [5, 5, 2, 4], ONES, "VALID", "Negative dimension size caused by subtracting 5 from 3"),
    call([1, 3, 3, 2], [2, 2, 2, 4], ONES, "VALID", "subtracting 4 from 3", dilations=(1, 3, 3, 1)),
    call(
        [1, 8, 8, 3],
        [3, 3, 2, 4],
        ONES,
        "SAME",
        "Depth of input (3) is not a multiple of input depth of filter (2)",
    ),
    call([1, 3, 3], [3, 3, 2, 4], ONES, "SAME", "Shape must be rank 4 but is rank 3"),
    call([1, 3, 3, 2], [3, 3, 2, 4], (1, 0, 1, 1), "SAME", "Stride must be > 0, but got 0"),
    call([1, 3, 3, 2], [3, 3, 2, 4], (2, 1, 1, 1), "SAME", "strides in the batch and depth dimensions"),
    call([1, 3, 3, 2], [3, 3, 2, 4], ONES, "FULL", "passed string 'FULL' not in"),
)

SAMPLES = [
    *three("Conv2D", "same", numbers(2, 4, 3, 2), numbers(3, 2, 2, 2, step=3), BAD, padding="SAME"),
    *three(
        "Conv2D",
        "valid, strided",
        numbers(1, 5, 6, 2),
        numbers(2, 3, 2, 3, step=3),
        padding="VALID",
        strides=(1, 2, 3, 1),
    ),
    *three(
        "Conv2D",
        "same, strided",
        numbers(1, 5, 4, 1),
        numbers(3, 3, 1, 2, step=3),
        padding="SAME",
        strides=(1, 2, 2, 1),
    ),
    *three("Conv2D", "1x1", numbers(2, 2, 2, 3), numbers(1, 1, 3, 2, step=3), padding="VALID"),
    *three(
        "Conv2D",
        "dilated",
        numbers(1, 5, 5, 1),
        numbers(2, 2, 1, 1, step=3),
        padding="VALID",
        dilations=(1, 2, 3, 1),
    ),
    *three(
        "Conv2D",
        "channels first",
        numbers(1, 2, 4, 3),
        numbers(3, 2, 2, 2, step=3),
        padding="SAME",
        data_format="NCHW",
        strides=(1, 1, 2, 1),
    ),
    *three(
        "Conv2D",
        "explicit padding",
        numbers(1, 3, 3, 1),
        numbers(2, 2, 1, 2, step=3),
        padding="EXPLICIT",
        explicit_paddings=(0, 0, 1, 0, 2, 1, 0, 0),
    ),
    *three("Conv2D", "two groups", numbers(1, 3, 3, 4), numbers(2, 2, 2, 2, step=3), padding="VALID"),
    *three("Conv2D", "no images", numbers(0, 3, 3, 1), numbers(2, 2, 1, 2, step=3), padding="VALID"),
    Sample(
        "Conv2D",
        "integers",
        inputs=(np.arange(4, dtype=np.int32).reshape(1, 2, 2, 1), np.ones([2, 2, 1, 1], np.int32)),
        attrs={"strides": ONES, "padding": "VALID"},
        expected=[[[[6]]]],
    ),
    *three("Conv3D", "same", numbers(1, 3, 2, 3, 1), numbers(2, 2, 2, 1, 2, step=3), padding="SAME"),
    *three(
        "Conv3D",
        "valid, strided",
        numbers(1, 3, 3, 4, 2),
        numbers(2, 2, 1, 2, 1, step=3),
        padding="VALID",
        strides=(1, 1, 1, 2, 1),
    ),
    *three(
        "Conv3D",
        "channels first",
        numbers(1, 1, 2, 3, 2),
        numbers(2, 2, 1, 1, 2, step=3),
        padding="VALID",
        data_format="NCDHW",
    ),
    *three(
        "Depthwise",
        "same",
        numbers(1, 4, 3, 2),
        numbers(3, 2, 2, 2, step=3),
        (call([2, 5, 5, 3], [3, 3, 2, 2], ONES, "SAME", "Dimensions must be equal, but are 3 and 2"),),
        padding="SAME",
    ),
    *three(
        "Depthwise",
        "valid, strided",
        numbers(2, 5, 5, 2),
        numbers(2, 3, 2, 1, step=3),
        padding="VALID",
        strides=(1, 2, 2, 1),
    ),
    *three(
        "Depthwise",
        "dilated",
        numbers(1, 4, 4, 2),
        numbers(2, 2, 2, 1, step=3),
        padding="SAME",
        dilations=(1, 2, 2, 1),
    ),
    *three(
        "Depthwise",
        "channels first",
        numbers(1, 2, 3, 4),
        numbers(2, 2, 2, 2, step=3),
        padding="VALID",
        data_format="NCHW",
    ),
]
