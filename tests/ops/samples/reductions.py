"""Samples of `tahr.ops.reductions`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tahr import errors
from tahr.core import dtypes
from tests.ops.samples import COMPLEX, FLOATS, INTEGERS, NUMBERS, Bad, Sample

INF, NAN = math.inf, math.nan
MATRIX = [[1.0, 2.0, 4.0], [3.0, 5.0, 0.5]]
CUBE = np.arange(24.0).reshape(2, 3, 4) / 8 + 0.5
REALS = FLOATS + INTEGERS
AXIS = (Bad(([[1.0]], [2]), {}, ValueError, "Invalid reduction dimension"),)
OUT_OF_AXES = (Bad(([[1.0, 2.0]], 5), {}, ValueError, "Invalid"),)


def naive(combine: Any, start: Any) -> Any:
    """A reduction as a loop over all elements."""

    def reduction(x: Any, axes: Any, *, keep_dims: bool) -> Any:
        axes = {int(a) % x.ndim for a in np.ravel(axes)}
        kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
        result = np.full(kept, start, dtype=object)
        for place in np.ndindex(*x.shape):
            target = tuple(0 if i in axes else p for i, p in enumerate(place))
            result[target] = combine(result[target], x[place])
        return result if keep_dims else result.reshape([n for i, n in enumerate(x.shape) if i not in axes])

    return reduction


def running(combine: Any, start: Any) -> Any:
    """A running reduction of a vector as a loop."""

    def scan(x: Any, axis: Any, *, exclusive: bool, reverse: bool) -> Any:
        result, total = [], start
        for value in x[::-1] if reverse else x:
            result += [total] if exclusive else [combine(total, value)]
            total = combine(total, value)
        return np.array(result[::-1] if reverse else result)

    return scan


PLUS, TIMES = running(lambda a, b: a + b, 0), running(lambda a, b: a * b, 1)
product = naive(lambda a, b: a * b, 1)

SAMPLES = [
    Sample(
        "ElementsPerOutput",
        "rows",
        inputs=(np.ones([2, 3]), np.ones(2)),
        expected=3,
        dtypes=("float32", "int32"),
    ),
    Sample(
        "ElementsPerOutput", "of nothing", inputs=(np.ones([2, 0]), np.ones(2)), expected=0, dtypes=FLOATS
    ),
    Sample(
        "Mean", "rows", inputs=(MATRIX, [1]), expected=[7 / 3, 8.5 / 3], dtypes=FLOATS, rtol=1e-2, bad=AXIS
    ),
    Sample(
        "Mean",
        "all, kept",
        inputs=(CUBE, [0, 1, 2]),
        attrs={"keep_dims": True},
        expected=[[[1.9375]]],
        dtypes=("float16", "float32", "float64", "complex64"),
    ),
    Sample(
        "Mean",
        "negative axis",
        inputs=(CUBE, [-2, 0]),
        expected=[1.75, 1.875, 2.0, 2.125],
        dtypes=("float64",),
    ),
    Sample(
        "Mean",
        "integers round towards zero",
        inputs=([[7, 8], [-7, -8]], [1]),
        expected=[7, -7],
        dtypes=("int8", "int32", "int64"),
    ),
    Sample(
        "Mean",
        "of nothing is NaN",
        inputs=(np.zeros([2, 0]), [1]),
        expected=[NAN, NAN],
        dtypes=FLOATS,
        second=False,
    ),
    Sample("Mean", "scalar", inputs=(3.0, np.zeros(0, np.int32)), expected=3.0, dtypes=FLOATS),
    Sample(
        "Mean",
        "half sums do not saturate",
        inputs=(np.ones(5000), [0]),
        expected=1.0,
        dtypes=("float16", "bfloat16"),
        gradient=False,
    ),
    Sample("Prod", "rows", inputs=(MATRIX, [1]), expected=product, dtypes=NUMBERS, bad=AXIS),
    Sample(
        "Prod",
        "two axes, kept",
        inputs=(CUBE, [2, 0]),
        attrs={"keep_dims": True},
        expected=product,
        dtypes=("float64", "complex128"),
    ),
    Sample(
        "Prod",
        "zeros",
        inputs=([[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [0.0, 0.0, 4.0]], [1]),
        expected=[24.0, 0.0, 0.0],
        dtypes=FLOATS,
        second=False,
    ),
    Sample(
        "Prod",
        "of nothing is one",
        inputs=(np.zeros([0, 2]), [0]),
        expected=[1.0, 1.0],
        dtypes=("float32", "int32"),
    ),
    Sample("Prod", "scalar", inputs=(3.0, np.zeros(0, np.int32)), expected=3.0, dtypes=("float32",)),
    Sample("Max", "rows", inputs=(MATRIX, [1]), expected=[4.0, 5.0], dtypes=FLOATS, bad=AXIS),
    Sample("Max", "integers", inputs=([[3, 7], [9, 2]], [0]), expected=[9, 7], dtypes=INTEGERS),
    Sample(
        "Max",
        "all, kept",
        inputs=(CUBE, [0, 1, 2]),
        attrs={"keep_dims": True},
        expected=[[[3.375]]],
        dtypes=FLOATS,
    ),
    Sample(
        "Max",
        "ties, NaN and infinity",
        inputs=([[3.0, 3.0], [NAN, 1.0], [-INF, -INF]], [1]),
        expected=[3.0, NAN, -INF],
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample("Max", "of nothing", inputs=(np.zeros([2, 0]), [1]), expected=[-INF, -INF], dtypes=FLOATS),
    Sample(
        "Max", "of no integers", inputs=(np.zeros([2, 0]), [1]), expected=[-(2**31)] * 2, dtypes=("int32",)
    ),
    Sample("Min", "rows", inputs=(MATRIX, [1]), expected=[1.0, 0.5], dtypes=FLOATS, bad=AXIS),
    Sample("Min", "integers", inputs=([[3, 7], [9, 2]], [0]), expected=[3, 2], dtypes=INTEGERS),
    Sample(
        "Min",
        "ties, NaN and infinity",
        inputs=([[3.0, 3.0], [NAN, 1.0], [INF, INF]], [1]),
        expected=[3.0, NAN, INF],
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample("Min", "of nothing", inputs=(np.zeros([2, 0]), [1]), expected=[INF, INF], dtypes=FLOATS),
    Sample("Any", "rows", inputs=([[False, True], [False, False]], [1]), expected=[True, False]),
    Sample("Any", "of nothing is false", inputs=(np.zeros([2, 0], bool), [1]), expected=[False, False]),
    Sample(
        "Any", "all, kept", inputs=([[False, True]], [0, 1]), attrs={"keep_dims": True}, expected=[[True]]
    ),
    Sample("All", "rows", inputs=([[True, True], [False, True]], [1]), expected=[True, False]),
    Sample("All", "of nothing is true", inputs=(np.zeros([2, 0], bool), [1]), expected=[True, True]),
    Sample(
        "EuclideanNorm",
        "rows",
        inputs=([[3.0, 4.0], [5.0, 12.0]], [1]),
        expected=[5.0, 13.0],
        dtypes=FLOATS + COMPLEX,
    ),
    Sample(
        "EuclideanNorm",
        "all, kept",
        inputs=([[2.0, 4.0], [5.0, 6.0]], [0, 1]),
        attrs={"keep_dims": True},
        expected=[[9.0]],
        dtypes=("float32",),
    ),
    Sample(
        "ArgMax",
        "first of equals",
        inputs=([[1.0, 3.0, 3.0], [5.0, 2.0, 1.0]], 1),
        expected=[1, 0],
        dtypes=REALS,
        bad=OUT_OF_AXES,
    ),
    Sample(
        "ArgMax",
        "negative axis, int32",
        inputs=(CUBE, -3),
        attrs={"output_type": dtypes.int32},
        expected=np.ones([3, 4]),
        dtypes=("float32",),
    ),
    Sample("ArgMax", "NaN never wins", inputs=([NAN, 1.0, 2.0], 0), expected=2, dtypes=FLOATS),
    Sample("ArgMax", "bool", inputs=([False, True, True], 0), expected=1, dtypes=("bool",)),
    Sample(
        "ArgMin",
        "first of equals",
        inputs=([[3.0, 1.0, 1.0], [5.0, 2.0, 1.0]], 1),
        expected=[1, 2],
        dtypes=REALS,
        bad=OUT_OF_AXES,
    ),
    Sample("ArgMin", "NaN never wins", inputs=([NAN, 2.0, 1.0], 0), expected=2, dtypes=FLOATS),
    Sample("Cumsum", "vector", inputs=([1.0, 2.0, 4.0], 0), expected=PLUS, dtypes=NUMBERS, bad=OUT_OF_AXES),
    Sample(
        "Cumsum",
        "exclusive",
        inputs=([1.0, 2.0, 4.0], 0),
        attrs={"exclusive": True},
        expected=PLUS,
        dtypes=NUMBERS,
    ),
    Sample(
        "Cumsum",
        "reverse",
        inputs=([1.0, 2.0, 4.0], 0),
        attrs={"reverse": True},
        expected=PLUS,
        dtypes=FLOATS,
    ),
    Sample(
        "Cumsum",
        "both, columns",
        inputs=([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]], -2),
        attrs={"exclusive": True, "reverse": True},
        expected=[[20.0, 40.0], [16.0, 32.0], [0.0, 0.0]],
        dtypes=FLOATS,
    ),
    Sample("Cumsum", "empty", inputs=(np.zeros([2, 0]), 1), expected=np.zeros([2, 0]), dtypes=("float32",)),
    Sample("Cumprod", "vector", inputs=([1.0, 2.0, 4.0], 0), expected=TIMES, dtypes=NUMBERS, bad=OUT_OF_AXES),
    Sample(
        "Cumprod",
        "exclusive",
        inputs=([3.0, 2.0, 4.0], 0),
        attrs={"exclusive": True},
        expected=TIMES,
        dtypes=FLOATS,
    ),
    Sample(
        "Cumprod",
        "reverse",
        inputs=([3.0, 2.0, 4.0], 0),
        attrs={"reverse": True},
        expected=TIMES,
        dtypes=FLOATS,
    ),
    Sample(
        "Cumprod", "zeros", inputs=([2.0, 0.0, 3.0, 0.0, 5.0], 0), expected=TIMES, dtypes=FLOATS, second=False
    ),
    Sample(
        "Cumprod",
        "zeros, reverse, exclusive",
        inputs=([2.0, 0.0, 3.0, 0.0, 5.0], 0),
        attrs={"exclusive": True, "reverse": True},
        expected=[0.0, 0.0, 0.0, 5.0, 1.0],
        dtypes=FLOATS,
        second=False,
    ),
    Sample(
        "HistogramFixedWidth",
        "edges and outside",
        inputs=([-1.0, 0.0, 1.5, 2.0, 5.0, 15.0], [0.0, 5.0], 5),
        expected=[2, 1, 1, 0, 2],
        dtypes=("int32", "int64", "float32", "float64"),
        bad=(
            Bad(([1.0], [2.0, 2.0], 3), {}, errors.InvalidArgumentError, "value_range[0] < value_range[1]"),
            Bad(([1.0], [0.0, 2.0], 0), {}, errors.InvalidArgumentError, "nbins should be a positive number"),
        ),
    ),
    Sample(
        "HistogramFixedWidth",
        "of nothing",
        inputs=(np.zeros(0), [0.0, 1.0], 2),
        attrs={"dtype": dtypes.int64},
        expected=[0, 0],
        dtypes=("float32",),
    ),
    Sample(
        "Bincount",
        "counts",
        inputs=([1, 1, 2, 7], 4, np.zeros(0)),
        expected=[0, 2, 1, 0],
        dtypes=("int32", "int64", "float32", "float64"),
        bad=(Bad(([-1], 3, np.zeros(0, np.int32)), {}, errors.InvalidArgumentError, "non-negative"),),
    ),
    Sample(
        "Bincount",
        "of a matrix",
        inputs=([[1, 1, 2], [0, 1, 3]], 5, np.zeros(0)),
        expected=[1, 3, 1, 1, 0],
        dtypes=("int32", "int64", "float32", "float64"),
    ),
    Sample(
        "Bincount",
        "of nothing",
        inputs=(np.zeros([0], np.int32), 3, np.zeros(0)),
        expected=[0, 0, 0],
        dtypes=("int32", "float32"),
    ),
    Sample(
        "Bincount",
        "weights",
        inputs=([1, 1, 2], 3, [0.5, 2.0, 4.0]),
        expected=[0.0, 2.5, 4.0],
        dtypes=("float32",),
    ),
]
