"""Samples of `tahr.ops.morphology`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.samples import FLOATS, SIGNED, Bad, Sample

NAN = float("nan")
ONES = (1, 1, 1, 1)
IMAGES = ((np.arange(40.0) * 7 % 40 - 20) / 4).reshape(1, 5, 4, 2)
FILTER = np.array([[[0.0, 1.0], [1.0, -0.75]], [[-1.25, 0.5], [0.25, 2.0]]])


def best(x: Any, filter: Any, *, strides: Any, rates: Any, padding: str) -> tuple[Any, Any, Any]:
    """Maxima of pixel plus filter, and where they are, output by output."""
    batch, *sizes, channels = x.shape
    extents = [(k - 1) * r + 1 for k, r in zip(filter.shape, rates[1:3])]
    if padding == "SAME":
        out = [-(-size // step) for size, step in zip(sizes, strides[1:3])]
        missing = [(o - 1) * s + e - n for o, s, e, n in zip(out, strides[1:3], extents, sizes)]
        low = [max(m, 0) // 2 for m in missing]
    else:
        out = [(size - e) // step + 1 for size, e, step in zip(sizes, extents, strides[1:3])]
        low = [0, 0]
    y = np.full((batch, *out, channels), -np.inf)
    pixels, weights = np.zeros(y.shape, np.int64), np.zeros(y.shape, np.int64)
    for n, i, j, c in np.ndindex(*y.shape):
        for a, b in np.ndindex(*filter.shape[:2]):
            row, column = i * strides[1] + a * rates[1] - low[0], j * strides[2] + b * rates[2] - low[1]
            if 0 <= row < sizes[0] and 0 <= column < sizes[1]:
                total = x[n, row, column, c] + filter[a, b, c]
                if total > y[n, i, j, c]:
                    y[n, i, j, c] = total
                    pixels[n, i, j, c] = np.ravel_multi_index((n, row, column, c), x.shape)
                    weights[n, i, j, c] = np.ravel_multi_index((a, b, c), filter.shape)
    return y, pixels, weights


def dilated(x: Any, filter: Any, **attrs: Any) -> Any:
    return best(x, filter, **attrs)[0]


def places(x: Any, filter: Any, **attrs: Any) -> Any:
    return best(x, filter, **attrs)[1:]


def attrs(strides: Any, rates: Any, padding: str) -> dict[str, Any]:
    return {"strides": strides, "rates": rates, "padding": padding}


CASES = {
    "same": attrs(ONES, ONES, "SAME"),
    "valid": attrs(ONES, ONES, "VALID"),
    "same, strides and rates": attrs((1, 2, 1, 1), (1, 1, 2, 1), "SAME"),
    "valid, strides and rates": attrs((1, 2, 2, 1), (1, 3, 1, 1), "VALID"),
}

SAMPLES = [
    sample
    for name, case in CASES.items()
    for sample in (
        Sample(
            "Dilation2D", name, (IMAGES, FILTER), case, dilated, dtypes=("float32", "float64"), second=True
        ),
        Sample("_Dilation2DPlaces", name, (IMAGES, FILTER), case, places, dtypes=("float32", "float64")),
    )
] + [
    Sample(
        "Dilation2D",
        "integers and halves",
        (np.round(IMAGES), np.round(FILTER)),
        CASES["same"],
        dilated,
        dtypes=(*FLOATS, *SIGNED),
        gradient=False,
    ),
    Sample(
        # Recorded from TensorFlow.
        "Dilation2D",
        "NaN does not count",
        (np.array([[1.0, NAN], [3.0, 2.0]]).reshape(1, 2, 2, 1), np.zeros([1, 2, 1])),
        CASES["valid"],
        expected=np.array([1.0, 3.0]).reshape(1, 2, 1, 1),
        dtypes=("float32",),
        gradient=False,
    ),
    Sample(
        "_Dilation2DPlaces",
        "the first of equal ones, none of NaN",
        (np.array([[1.0, 1.0], [NAN, NAN]]).reshape(1, 2, 2, 1), np.zeros([1, 2, 1])),
        CASES["valid"],
        expected=(np.array([0, -1]).reshape(1, 2, 1, 1), np.array([0, -1]).reshape(1, 2, 1, 1)),
        dtypes=("float32",),
    ),
    Sample(
        "Dilation2D",
        "no images",
        (np.zeros([0, 5, 4, 2]), FILTER),
        CASES["same"],
        expected=np.zeros([0, 5, 4, 2]),
        dtypes=("float32",),
        gradient=False,
        bad=(
            Bad((IMAGES, FILTER), attrs((2, 1, 1, 1), ONES, "SAME"), ValueError, "stride"),
            Bad((IMAGES, FILTER), attrs(ONES, (1, 1, 1, 2), "SAME"), ValueError, "rate"),
            Bad((IMAGES, FILTER), attrs(ONES, ONES, "FULL"), ValueError, "padding"),
            Bad(
                (IMAGES, FILTER[..., :1]),
                CASES["same"],
                ValueError,
                "Dimensions must be equal, but are 2 and 1",
            ),
            Bad((IMAGES, FILTER[0]), CASES["same"], ValueError, "rank"),
            Bad((IMAGES, np.ones([6, 1, 2])), CASES["valid"], ValueError, "Negative dimension size"),
        ),
    ),
]
