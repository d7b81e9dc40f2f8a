"""Samples of `tahr.ops.channels`, `tahr.ops.batch_norm`, `tahr.ops.normalization` and `tahr.ops.nn`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.ops.samples import FLOATS, NUMBERS, Bad, Sample

IMAGES = (np.arange(24.0).reshape(2, 3, 2, 2) * 7 % 11 - 4) / 4
SCALE, OFFSET = np.array([2.0, -0.5]), np.array([0.25, 1.0])
MEAN, VARIANCE = np.array([0.5, -0.25]), np.array([1.5, 0.5])
EMPTY = np.zeros([0])
NCHW = {"data_format": "NCHW"}


def first(x: Any) -> Any:
    """NHWC images as NCHW."""
    return np.moveaxis(np.asarray(x), -1, 1)


def batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> Any:
    """Channel by channel, with exact sums."""
    images = np.moveaxis(x, 1, -1) if data_format == "NCHW" else x
    y, statistics = np.empty(images.shape), []
    for c in range(images.shape[-1]):
        channel = images[..., c].ravel().tolist()
        m, v = (mean[c], variance[c]) if not is_training else moments(channel)
        unbiased = v if not is_training else v * len(channel) / max(len(channel) - 1, 1)
        y[..., c] = (images[..., c] - m) / math.sqrt(v + epsilon) * scale[c] + offset[c]
        statistics.append((m, unbiased, m, v))
    return np.moveaxis(y, -1, 1) if data_format == "NCHW" else y, *np.transpose(statistics)


def moments(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / len(values)


def batch_norm_v3(*arrays: Any, **attrs: Any) -> Any:
    return *batch_norm(*arrays, **attrs), EMPTY


def batch_norm_grad(
    dy: Any,
    x: Any,
    scale: Any,
    mean: Any,
    variance: Any,
    *rest: Any,
    epsilon: float,
    data_format: str,
    is_training: bool,
) -> Any:
    """Element by element: ∂y_j/∂x_i summed over j, the mean and variance being those of the channel."""
    images, dys = (np.moveaxis(a, 1, -1) if data_format == "NCHW" else a for a in (x, dy))
    dx, dscale, doffset = np.empty(images.shape), [], []
    for c in range(images.shape[-1]):
        s = math.sqrt(variance[c] + epsilon)
        h, d = (images[..., c].ravel() - mean[c]) / s, dys[..., c].ravel()
        n = len(h)
        jacobian = np.eye(n) if not is_training else np.eye(n) - (1 + np.outer(h, h)) / n
        dx[..., c] = (scale[c] / s * (jacobian @ d)).reshape(images.shape[:-1])
        dscale.append(math.fsum(h * d))
        doffset.append(math.fsum(d))
    return np.moveaxis(dx, -1, 1) if data_format == "NCHW" else dx, dscale, doffset, EMPTY, EMPTY


def lrn(x: Any, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Any:
    y = np.empty(x.shape)
    for *place, c in np.ndindex(x.shape):
        near = range(max(0, c - depth_radius), min(x.shape[-1], c + depth_radius + 1))
        total = math.fsum(x[(*place, k)] ** 2 for k in near)
        y[(*place, c)] = x[(*place, c)] / (bias + alpha * total) ** beta
    return y


def lrn_grad(dy: Any, x: Any, y: Any, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Any:
    """Σ_k dy_k ∂y_k/∂x_c, where the given y stands for x_k / norm_k^beta."""
    dx = np.zeros(x.shape)
    for *place, c in np.ndindex(x.shape):
        for k in range(max(0, c - depth_radius), min(x.shape[-1], c + depth_radius + 1)):
            near = range(max(0, k - depth_radius), min(x.shape[-1], k + depth_radius + 1))
            norm = bias + alpha * math.fsum(x[(*place, j)] ** 2 for j in near)
            direct = norm**-beta if k == c else 0.0
            through_norm = 2 * alpha * beta * x[(*place, c)] * y[(*place, k)] / norm
            dx[(*place, c)] += dy[(*place, k)] * (direct - through_norm)
    return dx


DEEP = (np.arange(24.0).reshape(1, 2, 2, 6) * 5 % 13 - 6) / 4
LRN_ATTRS: dict[str, Any] = {"depth_radius": 1, "bias": 2.0, "alpha": 0.5, "beta": 0.75}
DY = np.cos(np.arange(24.0)).reshape(IMAGES.shape)

# The batch's own statistics, for the gradients' samples.
BATCH = [moments(IMAGES[..., c].ravel().tolist()) for c in range(2)]
BATCH_MEAN, BATCH_VARIANCE = np.transpose(BATCH)
SHORT = {"float16": 4e-3, "bfloat16": 4e-2}

SAMPLES = [
    Sample(
        "BiasAdd",
        "matrix",
        inputs=([[1.0, 2.0], [3.0, 4.0]], [10.0, 20.0]),
        expected=[[11.0, 22.0], [13.0, 24.0]],
        dtypes=NUMBERS,
        bad=(
            Bad((np.ones([2, 3]), np.ones([4])), {}, ValueError, "Dimensions must be equal, but are 3 and 4"),
            Bad((np.ones([3]), np.ones([3])), {}, ValueError, "Shape must be at least rank 2 but is rank 1"),
        ),
    ),
    Sample(
        "BiasAdd", "images", inputs=(IMAGES, [0.5, -1.0]), expected=lambda x, b, **_: x + b, dtypes=FLOATS
    ),
    Sample(
        "BiasAdd",
        "channels first",
        inputs=(first(IMAGES), [0.5, -1.0]),
        attrs=NCHW,
        expected=lambda x, b, **_: x + b[:, None, None],
        dtypes=FLOATS,
    ),
    Sample(
        "BiasAdd", "nothing", inputs=(np.zeros([0, 2]), [1.0, 2.0]), expected=np.zeros([0, 2]), dtypes=FLOATS
    ),
    Sample("BiasAddGrad", "matrix", inputs=([[1.0, 2.0], [3.0, 4.0]],), expected=[4.0, 6.0], dtypes=NUMBERS),
    Sample(
        "BiasAddGrad",
        "images",
        inputs=(IMAGES,),
        expected=lambda x, **_: [math.fsum(x[..., c].ravel()) for c in range(2)],
        dtypes=FLOATS,
    ),
    Sample(
        "BiasAddGrad",
        "channels first",
        inputs=(first(IMAGES),),
        attrs=NCHW,
        expected=lambda x, **_: [math.fsum(x[:, c].ravel()) for c in range(2)],
        dtypes=FLOATS,
    ),
    Sample("BiasAddGrad", "nothing", inputs=(np.zeros([0, 2]),), expected=[0.0, 0.0], dtypes=FLOATS),
    *[
        Sample(
            op,
            name,
            inputs=(x, SCALE, OFFSET, *statistics),
            attrs=attrs,
            expected=oracle,
            dtypes=("float32", "float64"),
            gradient=(0, 1, 2),
        )
        for op, oracle in (("FusedBatchNorm", batch_norm), ("FusedBatchNormV3", batch_norm_v3))
        for name, x, statistics, attrs in (
            ("training", IMAGES, (EMPTY, EMPTY), {}),
            ("training, channels first", first(IMAGES), (EMPTY, EMPTY), NCHW),
            ("inference", IMAGES, (MEAN, VARIANCE), {"is_training": False, "epsilon": 0.01}),
        )
    ],
    Sample(
        "FusedBatchNormV3",
        "one pixel",
        inputs=(np.ones([1, 1, 1, 2]), SCALE, OFFSET, EMPTY, EMPTY),
        expected=([[[OFFSET]]], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0], EMPTY),
        dtypes=("float32", "float64"),
        gradient=False,
        bad=(
            Bad(
                (
                    np.ones([2, 3, 4, 5], "f"),
                    np.ones([4], "f"),
                    np.ones([5], "f"),
                    EMPTY.astype("f"),
                    EMPTY.astype("f"),
                ),
                {},
                ValueError,
                "Dimensions must be equal, but are 5 and 4",
            ),
        ),
    ),
    *[
        Sample(
            "FusedBatchNormV3",
            f"{dtype} images",
            var="T",
            dtypes=(dtype,),
            expected=batch_norm_v3,
            gradient=False,
            inputs=(IMAGES, *(v.astype(np.float32) for v in (SCALE, OFFSET, EMPTY, EMPTY))),
            rtol=SHORT[dtype],
            atol=SHORT[dtype],
        )
        for dtype in SHORT
    ],
    *[
        Sample(
            op,
            name,
            inputs=(dy, x, SCALE, mean, variance, *rest),
            attrs=attrs,
            expected=batch_norm_grad,
            dtypes=("float32", "float64"),
        )
        for op, rest in (("FusedBatchNormGrad", ()), ("FusedBatchNormGradV3", (EMPTY,)))
        for name, dy, x, mean, variance, attrs in (
            ("training", DY, IMAGES, BATCH_MEAN, BATCH_VARIANCE, {}),
            ("training, channels first", first(DY), first(IMAGES), BATCH_MEAN, BATCH_VARIANCE, NCHW),
            ("inference", DY, IMAGES, MEAN, VARIANCE, {"is_training": False}),
        )
    ],
    Sample(
        "LRN",
        "defaults",
        inputs=(DEEP,),
        expected=lrn,
        dtypes=FLOATS,
        bad=(Bad((np.ones([2, 3], "f"),), {}, ValueError, "Shape must be rank 4 but is rank 2"),),
    ),
    Sample("LRN", "near channels", inputs=(DEEP,), attrs=LRN_ATTRS, expected=lrn, dtypes=FLOATS),
    Sample(
        "LRN", "nothing", inputs=(np.zeros([0, 2, 2, 3]),), expected=np.zeros([0, 2, 2, 3]), dtypes=FLOATS
    ),
    Sample(
        "LRN", "no channels", inputs=(np.zeros([2, 2, 3, 0]),), expected=np.zeros([2, 2, 3, 0]), dtypes=FLOATS
    ),
    Sample(
        "LRNGrad",
        "defaults",
        inputs=(DY.reshape(DEEP.shape), DEEP, lrn(DEEP, depth_radius=5, bias=1, alpha=1, beta=0.5)),
        expected=lrn_grad,
        dtypes=("float32", "float64"),
    ),
    Sample(
        "LRNGrad",
        "near channels",
        inputs=(DY.reshape(DEEP.shape), DEEP, lrn(DEEP, **LRN_ATTRS)),
        attrs=LRN_ATTRS,
        expected=lrn_grad,
        dtypes=("float32", "float64"),
    ),
    Sample("L2Loss", "matrix", inputs=([[1.0, -2.0], [3.0, 0.5]],), expected=7.125, dtypes=FLOATS),
    Sample("L2Loss", "scalar", inputs=(-3.0,), expected=4.5, dtypes=FLOATS),
    Sample("L2Loss", "nothing", inputs=(np.zeros([0, 2]),), expected=0.0, dtypes=FLOATS),
    Sample(
        "L2Loss",
        "Inf and NaN",
        inputs=([float("inf"), float("nan")],),
        expected=float("nan"),
        dtypes=FLOATS,
        gradient=False,
    ),
]
