"""Samples of `tahr.ops.pooling`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.ops.samples import FLOATS, SIGNED, Bad, Sample
from tests.ops.samples.convolution import first, last, numbers, places

NAN, INF = float("nan"), float("inf")
ONES = (1, 1, 1, 1)


def distinct(*shape: int) -> Any:
    """Numbers without ties."""
    count = math.prod(shape)
    return (np.arange(float(count)).reshape(shape) * 7 % count - count // 2) / 4


def windows_of(x_shape: Any, attrs: dict[str, Any]) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """The pixels that each window sees, in the order of its taps."""
    spatial = slice(2, None) if attrs["data_format"].startswith("NC") else slice(1, -1)
    seen: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for out, _, pixel in places(
        x_shape, attrs["ksize"][spatial], {**attrs, "dilations": (1,) * len(attrs["ksize"])}
    ):
        seen.setdefault(out, []).append(pixel)
    return seen


def pooled(x: Any, function: Any, attrs: dict[str, Any]) -> Any:
    x = last(x, attrs["data_format"])
    seen = windows_of(x.shape[1:-1], attrs)
    y = np.empty([len(x), *(max(o[i] for o in seen) + 1 for i in range(x.ndim - 2)), x.shape[-1]], x.dtype)
    for out, pixels in seen.items():
        for b, c in np.ndindex(len(x), x.shape[-1]):
            y[(b, *out, c)] = function([x[(b, *p, c)] for p in pixels])
    return first(y, attrs["data_format"])


def max_pool(x: Any, **attrs: Any) -> Any:
    return pooled(x, max, attrs)


def avg_pool(x: Any, **attrs: Any) -> Any:
    return pooled(x, lambda values: math.fsum(values) / len(values), attrs)


def max_pool_grad(x: Any, y: Any, dy: Any, **attrs: Any) -> Any:
    x, dy = last(x, attrs["data_format"]), last(dy, attrs["data_format"])
    dx = np.zeros(x.shape)
    for out, pixels in windows_of(x.shape[1:-1], attrs).items():
        for b, c in np.ndindex(len(x), x.shape[-1]):
            winner = max(pixels, key=lambda p: x[(b, *p, c)])  # the first of equal ones
            dx[(b, *winner, c)] += dy[(b, *out, c)]
    return first(dx, attrs["data_format"])


def max_pool_grad_grad(x: Any, y: Any, ddx: Any, **attrs: Any) -> Any:
    x, ddx = last(x, attrs["data_format"]), last(ddx, attrs["data_format"])
    ddy = np.zeros(last(y, attrs["data_format"]).shape)
    for out, pixels in windows_of(x.shape[1:-1], attrs).items():
        for b, c in np.ndindex(len(x), x.shape[-1]):
            winner = max(pixels, key=lambda p: x[(b, *p, c)])  # the first of equal ones
            ddy[(b, *out, c)] = ddx[(b, *winner, c)]
    return first(ddy, attrs["data_format"])


def avg_pool_grad(sizes: Any, dy: Any, **attrs: Any) -> Any:
    dx, dy = last(np.zeros(sizes), attrs["data_format"]), last(dy, attrs["data_format"])
    for out, pixels in windows_of(dx.shape[1:-1], attrs).items():
        for pixel in pixels:
            dx[(slice(None), *pixel)] += dy[(slice(None), *out)] / len(pixels)
    return first(dx, attrs["data_format"])


def argmax(x: Any, *, include_batch_in_index: bool, Targmax: Any, **attrs: Any) -> Any:
    attrs["data_format"] = "NHWC"
    y = max_pool(x, **attrs)
    index = np.zeros(y.shape, np.int64)
    for out, pixels in windows_of(x.shape[1:-1], attrs).items():
        for b, c in np.ndindex(len(x), x.shape[-1]):
            row, column = max(pixels, key=lambda p: x[(b, *p, c)])
            image = b if include_batch_in_index else 0
            index[(b, *out, c)] = ((image * x.shape[1] + row) * x.shape[2] + column) * x.shape[3] + c
    return y, index


def argmax_grad(x: Any, dy: Any, places: Any, *, include_batch_in_index: bool, **_: Any) -> Any:
    dx = np.zeros(x.shape)
    for at in np.ndindex(dy.shape):
        image = 0 if include_batch_in_index else at[0] * math.prod(x.shape[1:])
        dx[np.unravel_index(places[at] + image, x.shape)] += dy[at]
    return dx


def argmax_grad_grad(x: Any, ddx: Any, places: Any, *, include_batch_in_index: bool, **_: Any) -> Any:
    ddy = np.zeros(places.shape)
    for at in np.ndindex(places.shape):
        image = 0 if include_batch_in_index else at[0] * math.prod(x.shape[1:])
        ddy[at] = ddx[np.unravel_index(places[at] + image, x.shape)]
    return ddy


def six(name: str, x: Any, **attrs: Any) -> list[Sample]:
    """A sample of maximum and mean, of their gradients, and of the maximum's gradient's gradient."""
    d3 = "3D" if x.ndim == 5 else ""
    full = {"data_format": "NDHWC" if d3 else "NHWC", **attrs}
    y = max_pool(x, **full)
    dy, ddx = numbers(*y.shape, step=5), numbers(*x.shape, step=3)
    common: dict[str, Any] = {"attrs": attrs, "dtypes": FLOATS}
    by_dy: dict[str, Any] = {**common, "gradient": (2,)}
    sizes = np.array(x.shape, np.int32)
    return [
        Sample(f"MaxPool{d3}", name, inputs=(x,), expected=max_pool, **common),
        Sample(f"MaxPool{d3}Grad", name, inputs=(x, y, dy), expected=max_pool_grad, **by_dy),
        Sample(f"MaxPool{d3}GradGrad", name, inputs=(x, y, ddx), expected=max_pool_grad_grad, **by_dy),
        Sample(f"AvgPool{d3}", name, inputs=(x,), expected=avg_pool, **common),
        Sample(f"AvgPool{d3}Grad", name, inputs=(sizes, dy), expected=avg_pool_grad, **common),
    ]


def with_argmax(name: str, x: Any, include: bool, **attrs: Any) -> list[Sample]:
    given = {**attrs, "include_batch_in_index": include}
    y, index = argmax(x, Targmax=None, **given)
    dy, ddx = numbers(*y.shape, step=5), numbers(*x.shape, step=3)
    common: dict[str, Any] = {"attrs": given, "dtypes": ("float32", "float64")}
    return [
        Sample("MaxPoolWithArgmax", name, inputs=(x,), expected=argmax, **common),
        Sample("MaxPoolGradWithArgmax", name, inputs=(x, dy, index), expected=argmax_grad, **common),
        Sample(
            "MaxPoolGradGradWithArgmax", name, inputs=(x, ddx, index), expected=argmax_grad_grad, **common
        ),
    ]


TWO = {"ksize": (1, 2, 2, 1), "strides": (1, 2, 2, 1)}
THREE = {"ksize": (1, 3, 2, 1), "strides": (1, 2, 1, 1)}
VOLUME = {"ksize": (1, 2, 2, 1, 1), "strides": (1, 1, 2, 1, 1)}
TIES = np.array([[2.0, 2.0, 1.0], [2.0, 0.0, 2.0]]).reshape(1, 2, 3, 1)

SAMPLES = [
    *six("valid", distinct(2, 5, 4, 2), padding="VALID", **TWO),
    *six("same, overlapping", distinct(1, 5, 4, 2), padding="SAME", **THREE),
    *six(
        "channels first",
        distinct(1, 2, 4, 5),
        padding="SAME",
        data_format="NCHW",
        ksize=(1, 1, 2, 3),
        strides=(1, 1, 2, 1),
    ),
    *six("valid", distinct(1, 3, 4, 2, 2), padding="VALID", **VOLUME),
    *six("same", distinct(1, 3, 4, 2, 1), padding="SAME", **VOLUME),
    *six(
        "channels first",
        distinct(1, 2, 2, 3, 2),
        padding="SAME",
        data_format="NCDHW",
        ksize=(1, 1, 2, 2, 1),
        strides=(1, 1, 2, 1, 1),
    ),
    *with_argmax("valid", distinct(2, 5, 4, 2), False, padding="VALID", **TWO),
    *with_argmax("same, counting through the batch", distinct(2, 5, 4, 1), True, padding="SAME", **THREE),
    Sample(
        "MaxPoolWithArgmax",
        "32-bit indices",
        inputs=(distinct(1, 2, 2, 1),),
        var="Targmax",
        dtypes=("int32", "int64"),
        attrs={**TWO, "padding": "VALID"},
        expected=([[[[max(distinct(1, 2, 2, 1).flat)]]]], [[[[int(np.argmax(distinct(1, 2, 2, 1)))]]]]),
        gradient=False,
    ),
    Sample(
        "MaxPool",
        "integers",
        inputs=(np.array([[3, -1], [2, 5]]).reshape(1, 2, 2, 1),),
        dtypes=SIGNED,
        attrs={**TWO, "padding": "VALID"},
        expected=[[[[5]]]],
        bad=(
            Bad(
                (np.ones([1, 3, 3, 2], "f"),),
                {"ksize": (1, 5, 5, 1), "strides": ONES, "padding": "VALID"},
                ValueError,
                "Negative dimension size caused by subtracting 5 from 3",
            ),
            Bad(
                (np.ones([1, 3, 3, 2], "f"),),
                {"ksize": (1, 2, 2, 2), "strides": ONES, "padding": "VALID"},
                ValueError,
                "batch and depth dimensions",
            ),
            Bad(
                (np.ones([3, 3, 2], "f"),),
                {**TWO, "padding": "VALID"},
                ValueError,
                "Shape must be rank 4 but is rank 3",
            ),
            Bad((np.ones([1, 3, 3, 2], "f"),), {**TWO, "padding": "EXPLICIT"}, ValueError, "not in"),
        ),
    ),
    Sample(
        "MaxPool",
        "no images",
        inputs=(np.zeros([0, 4, 4, 1]),),
        dtypes=FLOATS,
        attrs={**TWO, "padding": "SAME"},
        expected=np.zeros([0, 2, 2, 1]),
    ),
    Sample(
        "MaxPool",
        "Inf and NaN",
        inputs=(np.array([[INF, NAN], [1.0, -INF]]).reshape(1, 2, 2, 1),),
        dtypes=FLOATS,
        attrs={**TWO, "padding": "VALID"},
        expected=[[[[INF]]]],
        gradient=False,
    ),
    Sample(
        "AvgPool",
        "no images",
        inputs=(np.zeros([0, 4, 4, 1]),),
        dtypes=FLOATS,
        attrs={**TWO, "padding": "SAME"},
        expected=np.zeros([0, 2, 2, 1]),
    ),
    Sample(
        "MaxPoolGrad",
        "the first of ties",
        inputs=(TIES, [[[[2.0], [2.0]]]], [[[[1.0], [3.0]]]]),
        dtypes=FLOATS,
        attrs={"ksize": (1, 2, 2, 1), "strides": ONES, "padding": "VALID"},
        gradient=False,
        expected=np.array([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]).reshape(1, 2, 3, 1),
    ),
    Sample(
        "MaxPool3DGrad",
        "all ties",
        inputs=(TIES[:, None], np.array([[[[[2.0], [2.0]]]]]), [[[[[1.0], [3.0]]]]]),
        dtypes=FLOATS,
        attrs={"ksize": (1, 1, 2, 2, 1), "strides": (1,) * 5, "padding": "VALID"},
        gradient=False,
        expected=np.array([[1.0, 4.0, 0.0], [1.0, 0.0, 3.0]]).reshape(1, 1, 2, 3, 1),
    ),
]
