"""Samples of `tahr.ops.activations`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.ops.samples import FLOATS, SIGNED, Bad, Sample

NAN, INF = float("nan"), float("inf")
X = [[-3.0, -0.75, 0.25], [1.5, 5.0, 7.0]]
DY = [[1.0, -2.0, 0.5], [4.0, 1.5, -1.0]]
SCALE, SCALE_ALPHA = 1.0507009873554805, 1.7580993408473768


def each(function: Callable[..., float]) -> Callable[..., Any]:
    """An oracle that computes element by element in Python."""

    def expected(*arrays: Any, **attrs: Any) -> Any:
        return np.vectorize(lambda *values: function(*map(float, values), **attrs), otypes=[float])(*arrays)

    return expected


def elu(x: float) -> float:
    return x if x >= 0 else math.expm1(x)


def selu(x: float) -> float:
    return SCALE * x if x >= 0 else SCALE_ALPHA * math.expm1(x)


def elu_grad(dy: float, y: float) -> float:
    return dy if y >= 0 else dy * (y + 1)


def selu_grad(dy: float, y: float) -> float:
    return dy * SCALE if y >= 0 else dy * (y + SCALE_ALPHA)


def leaky_relu(x: float, *, alpha: float) -> float:
    return x if x > 0 else alpha * x


def leaky_relu_grad(dy: float, x: float, *, alpha: float) -> float:
    return dy if x > 0 else alpha * dy


def softplus(x: float) -> float:
    return x if x > 100 else math.log1p(math.exp(x))


def softplus_grad(dy: float, x: float) -> float:
    return dy / (1 + math.exp(-x))


UNARY: dict[str, Callable[..., float]] = {
    "Relu": lambda x: max(x, 0.0),
    "Relu6": lambda x: min(max(x, 0.0), 6.0),
    "Elu": elu,
    "Selu": selu,
    "LeakyRelu": leaky_relu,
    "Softplus": softplus,
    "Softsign": lambda x: x / (abs(x) + 1),
}
BINARY: dict[str, Callable[..., float]] = {
    "ReluGrad": lambda dy, x: dy if x > 0 else 0.0,
    "Relu6Grad": lambda dy, x: dy if 0 < x < 6 else 0.0,
    "EluGrad": elu_grad,
    "SeluGrad": selu_grad,
    "LeakyReluGrad": leaky_relu_grad,
    "SoftplusGrad": softplus_grad,
    "SoftsignGrad": lambda dy, x: dy / (abs(x) + 1) ** 2,
}

SAMPLES: list[Sample] = []
for _op, _function in UNARY.items():
    SAMPLES.extend(
        [
            Sample(_op, "either side of 0", inputs=(X,), expected=each(_function), dtypes=FLOATS),
            Sample(_op, "scalar", inputs=(-0.5,), expected=each(_function), dtypes=FLOATS),
            Sample(_op, "nothing", inputs=(np.zeros([0, 2]),), expected=np.zeros([0, 2]), dtypes=FLOATS),
        ]
    )
for _op, _function in BINARY.items():
    SAMPLES.extend(
        [
            Sample(_op, "either side of 0", inputs=(DY, X), expected=each(_function), dtypes=FLOATS),
            Sample(_op, "scalar", inputs=(2.0, -0.5), expected=each(_function), dtypes=FLOATS),
        ]
    )
SAMPLES.extend(
    [
        # At infinities, NaN and kinks: literal values that TensorFlow gives.
        Sample(
            "Relu",
            "special",
            inputs=([-INF, -0.0, INF, NAN],),
            expected=[0.0, 0.0, INF, NAN],
            dtypes=FLOATS,
            gradient=False,
            bad=(Bad(([True],), {}, TypeError, "not in list of allowed values"),),
        ),
        Sample("Relu", "integers", inputs=([-2, 0, 3],), expected=[0, 0, 3], dtypes=SIGNED),
        Sample("Relu6", "integers", inputs=([-2, 0, 3, 9],), expected=[0, 0, 3, 6], dtypes=SIGNED),
        Sample("ReluGrad", "integers", inputs=([5, 6, 7], [-1, 0, 1]), expected=[0, 0, 7], dtypes=SIGNED),
        Sample(
            "Relu6",
            "special",
            inputs=([-INF, 6.0, INF, NAN],),
            expected=[0.0, 6.0, 6.0, NAN],
            dtypes=FLOATS,
            gradient=False,
        ),
        Sample(
            "ReluGrad",
            "at the kink and NaN",
            inputs=([1.0, 2.0, 3.0], [0.0, NAN, INF]),
            expected=[0.0, 0.0, 3.0],
            dtypes=FLOATS,
            gradient=False,
        ),
        Sample(
            "Relu6Grad",
            "at the kinks and NaN",
            inputs=([1.0, 2.0, 3.0], [0.0, 6.0, NAN]),
            expected=[0.0, 0.0, 0.0],
            dtypes=FLOATS,
            gradient=False,
        ),
        Sample(
            "Elu",
            "special",
            inputs=([-INF, -0.0, INF, NAN],),
            expected=[-1.0, 0.0, INF, NAN],
            dtypes=FLOATS,
            gradient=False,
        ),
        Sample(
            "EluGrad",
            "at the kink, -Inf and NaN",
            inputs=([3.0, 2.0, 2.0], [0.0, -1.0, NAN]),
            expected=[3.0, 0.0, 2.0],
            dtypes=FLOATS,
            gradient=False,
        ),
        Sample(
            "SeluGrad",
            "at the kink, -Inf and NaN",
            inputs=([2.0, 2.0, 2.0], [0.0, -SCALE_ALPHA, NAN]),
            expected=[2 * SCALE, 0.0, 2 * SCALE],
            dtypes=("float32", "float64"),
            gradient=False,
        ),
        Sample(
            "Selu",
            "special",
            inputs=([-INF, INF, NAN],),
            expected=[-SCALE_ALPHA, INF, NAN],
            dtypes=FLOATS,
            gradient=False,
        ),
        Sample(
            "LeakyRelu",
            "special",
            inputs=([-INF, INF, NAN],),
            expected=[-INF, INF, NAN],
            dtypes=FLOATS,
            gradient=False,
        ),
        Sample(
            "LeakyRelu",
            "slope above 1",
            inputs=(X,),
            attrs={"alpha": 2.0},
            expected=each(leaky_relu),
            dtypes=FLOATS,
        ),
        Sample(
            "LeakyRelu",
            "negative slope",
            inputs=(X,),
            attrs={"alpha": -0.5},
            expected=each(leaky_relu),
            dtypes=FLOATS,
        ),
        Sample(
            "Softplus",
            "extremes",
            inputs=([-INF, -750.0, 750.0, INF, NAN],),
            expected=[0.0, 0.0, 750.0, INF, NAN],
            dtypes=("float32", "float64"),
            gradient=False,
        ),
        Sample(
            "SoftplusGrad",
            "extremes",
            inputs=([1.0, 2.0, 3.0], [-750.0, 750.0, NAN]),
            expected=[0.0, 2.0, NAN],
            dtypes=("float32", "float64"),
            gradient=False,
        ),
        Sample(
            "Softsign",
            "special",
            inputs=([-INF, INF, NAN],),
            expected=[NAN, NAN, NAN],
            dtypes=FLOATS,
            gradient=False,
        ),
    ]
)
