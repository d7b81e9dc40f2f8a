"""Samples of `tahr.ops.softmax`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tahr import errors
from tests.ops.samples import FLOATS, INDICES, Bad, Sample

NAN, INF = float("nan"), float("inf")
LOGITS = [[1.0, -2.0, 0.5], [3.0, 3.0, -1.0]]
LABELS = [[0.25, 0.25, 0.5], [0.0, 1.0, 0.0]]


def softmax(x: Any) -> Any:
    """Row by row, by math.exp and an exact sum."""
    y = np.empty(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        e = [math.exp(v - max(x[row])) for v in x[row]]
        y[row] = [v / math.fsum(e) for v in e]
    return y


def log_softmax(x: Any) -> Any:
    y = np.empty(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        y[row] = [
            v - max(x[row]) - math.log(math.fsum(math.exp(u - max(x[row])) for u in x[row])) for v in x[row]
        ]
    return y


def cross_entropy(x: Any, p: Any) -> Any:
    x, p = np.broadcast_arrays(x, p)
    loss = [-math.fsum(a * b for a, b in zip(p[i], log_softmax(x)[i], strict=True)) for i in range(len(x))]
    return np.array(loss), softmax(x) - p


def sparse_cross_entropy(x: Any, labels: Any) -> Any:
    return cross_entropy(x, np.eye(x.shape[1])[labels])


SAMPLES = [
    Sample(
        "Softmax",
        "rows",
        inputs=(LOGITS,),
        expected=softmax,
        dtypes=FLOATS,
        bad=(Bad((1.0,), {}, ValueError, "Shape must be at least rank 1 but is rank 0"),),
    ),
    Sample("Softmax", "vector", inputs=([0.0, 1.0, 2.0],), expected=softmax, dtypes=FLOATS),
    Sample(
        "Softmax",
        "three dimensions",
        inputs=(np.arange(12.0).reshape(2, 3, 2) % 5,),
        expected=softmax,
        dtypes=FLOATS,
    ),
    Sample("Softmax", "no rows", inputs=(np.zeros([0, 3]),), expected=np.zeros([0, 3]), dtypes=FLOATS),
    Sample("Softmax", "no classes", inputs=(np.zeros([2, 0]),), expected=np.zeros([2, 0]), dtypes=FLOATS),
    Sample(
        "Softmax",
        "extremes",
        inputs=(
            [[1000.0, -1000.0, 0.0], [-INF, 0.0, 0.0], [INF, 0.0, 1.0], [NAN, 0.0, 1.0], [-INF, -INF, -INF]],
        ),
        expected=[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [NAN] * 3, [NAN] * 3, [NAN] * 3],
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample("LogSoftmax", "rows", inputs=(LOGITS,), expected=log_softmax, dtypes=FLOATS),
    Sample("LogSoftmax", "vector", inputs=([0.0, 1.0, 2.0],), expected=log_softmax, dtypes=FLOATS),
    Sample("LogSoftmax", "no rows", inputs=(np.zeros([0, 3]),), expected=np.zeros([0, 3]), dtypes=FLOATS),
    Sample(
        "LogSoftmax",
        "extremes",
        inputs=([[1000.0, -1000.0, 0.0], [-INF, 0.0, 0.0], [NAN, 0.0, 1.0]],),
        expected=[[0.0, -2000.0, -1000.0], [-INF, -math.log(2), -math.log(2)], [NAN] * 3],
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample(
        "SoftmaxCrossEntropyWithLogits",
        "rows",
        inputs=(LOGITS, LABELS),
        expected=cross_entropy,
        dtypes=FLOATS,
        bad=(
            Bad(
                (np.ones([2, 4]), np.ones([2, 3])),
                {},
                ValueError,
                "Dimensions must be equal, but are 4 and 3",
            ),
            Bad((np.ones([3]), np.ones([3])), {}, ValueError, "Shape must be rank 2 but is rank 1"),
        ),
    ),
    Sample(
        "SoftmaxCrossEntropyWithLogits",
        "labels for all rows",
        inputs=(LOGITS, LABELS[:1]),
        expected=cross_entropy,
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample(
        "SoftmaxCrossEntropyWithLogits",
        "no rows",
        inputs=(np.zeros([0, 3]), np.zeros([0, 3])),
        expected=(np.zeros([0]), np.zeros([0, 3])),
        dtypes=FLOATS,
    ),
    Sample(
        "SoftmaxCrossEntropyWithLogits",
        "no classes",
        inputs=(np.zeros([2, 0]), np.zeros([2, 0])),
        expected=(np.zeros([2]), np.zeros([2, 0])),
        dtypes=("float32",),
        gradient=False,
    ),
    Sample(
        "SoftmaxCrossEntropyWithLogits",
        "extremes",
        inputs=([[1000.0, -1000.0, 0.0], [-INF, 0.0, 1.0]], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]),
        expected=([2000.0, NAN], [[1.0, -1.0, 0.0], [0.0, -1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-1))]]),
        dtypes=("float32", "float64"),
        gradient=False,
    ),
    Sample(
        "SparseSoftmaxCrossEntropyWithLogits",
        "int32 labels",
        inputs=(LOGITS, np.array([2, 0], np.int32)),
        expected=sparse_cross_entropy,
        dtypes=FLOATS,
        bad=(
            Bad(
                (np.ones([1, 10]), np.array([10])),
                {},
                errors.InvalidArgumentError,
                "Received a label value of 10 which is outside the valid range of [0, 10)",
            ),
            Bad((np.ones([1, 3]), np.array([-1])), {}, errors.InvalidArgumentError, "label value of -1"),
            Bad(
                (np.ones([2, 0]), np.array([0, 0])),
                {},
                errors.InvalidArgumentError,
                "Must have at least one class",
            ),
            Bad(
                (np.ones([2, 3]), np.array([0])), {}, ValueError, "Dimensions must be equal, but are 2 and 1"
            ),
        ),
    ),
    Sample(
        "SparseSoftmaxCrossEntropyWithLogits",
        "int64 labels",
        inputs=(LOGITS, np.array([1, 1])),
        expected=sparse_cross_entropy,
        dtypes=FLOATS,
    ),
    Sample(
        "SparseSoftmaxCrossEntropyWithLogits",
        "no rows",
        inputs=(np.zeros([0, 3]), np.zeros([0], np.int32)),
        expected=(np.zeros([0]), np.zeros([0, 3])),
        dtypes=FLOATS,
    ),
    Sample(
        "SparseSoftmaxCrossEntropyWithLogits",
        "extremes",
        inputs=([[1000.0, -1000.0, 0.0], [-INF, 0.0, 0.0]], np.array([1, 1])),
        expected=([2000.0, math.log(2)], [[1.0, -1.0, 0.0], [0.0, -0.5, 0.5]]),
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample(
        "CheckLabels",
        "labels of rows",
        inputs=([2, 0, 1], np.zeros([3, 3], np.float32)),
        expected=[2, 0, 1],
        dtypes=INDICES,
        var="Tlabels",
        bad=(
            Bad(([0, 3], np.ones([2, 3])), {}, errors.InvalidArgumentError, "Received a label value of 3"),
            Bad(([-1], np.ones([1, 3])), {}, errors.InvalidArgumentError, "Received a label value of -1"),
            Bad(([0], np.ones([1, 0])), {}, errors.InvalidArgumentError, "Must have at least one class"),
        ),
    ),
    Sample(
        "CheckLabels",
        "none",
        inputs=(np.zeros([0], np.int32), np.zeros([0, 3], np.float32)),
        expected=np.zeros([0]),
        dtypes=INDICES,
        var="Tlabels",
    ),
]
