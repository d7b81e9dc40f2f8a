"""Samples of `tahr.ops.diagonals`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.errors import InvalidArgumentError
from tests.ops.samples import COMPLEX, FLOATS, INTEGERS, NUMBERS, Bad, Sample

A = np.array([[1.0, 2.0, 3.0], [4.0, 0.5, 6.0]])
STACK = np.arange(12.0).reshape(2, 2, 3) / 4 + 0.25
TABLE = np.arange(1.0, 13.0).reshape(3, 4)
BAND = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def packed(x: Any, k: Any, padding_value: Any) -> Any:
    """The band of diagonals, element by element."""
    rows, columns = x.shape
    low, high = np.ravel(k)[0], np.ravel(k)[-1]
    lines = []
    for d in range(high, low - 1, -1):
        lines.append([x[i, i + d] for i in range(rows) if 0 <= i + d < columns])
    longest = max(map(len, lines))
    result = np.full((len(lines), longest), padding_value)
    for line, row in zip(lines, result, strict=True):
        row[: len(line)] = line
    return result[0] if low == high else result


def with_band(x: Any, diagonal: Any, k: Any) -> Any:
    """The matrix with the band set, element by element."""
    result = x.copy()
    low, high = np.ravel(k)[0], np.ravel(k)[-1]
    band = [diagonal] if low == high else diagonal
    for line, d in zip(band, range(high, low - 1, -1), strict=True):
        places = [(i, i + d) for i in range(x.shape[0]) if 0 <= i + d < x.shape[1]]
        for place, value in zip(places, line):
            result[place] = value
    return result


SAMPLES = [
    Sample(
        "MatrixDiag",
        "stack",
        inputs=([[1.0, 2.0], [3.0, 4.0]],),
        expected=[[[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, 4.0]]],
        dtypes=NUMBERS,
    ),
    Sample(
        "MatrixDiag", "empty", inputs=(np.zeros([2, 0]),), expected=np.zeros([2, 0, 0]), dtypes=("float32",)
    ),
    Sample("MatrixDiagPart", "wide", inputs=(A,), expected=[1.0, 0.5], dtypes=FLOATS + COMPLEX),
    Sample(
        "MatrixDiagPart",
        "tall stack",
        inputs=(STACK.swapaxes(1, 2),),
        expected=[[0.25, 1.25], [1.75, 2.75]],
        dtypes=("float64", "float16"),
    ),
    Sample(
        "MatrixSetDiag",
        "wide",
        inputs=(A, [7.0, 8.0]),
        expected=[[7.0, 2.0, 3.0], [4.0, 8.0, 6.0]],
        dtypes=("float32", "float64", "complex64"),
    ),
    Sample(
        "MatrixSetDiag",
        "integers",
        inputs=([[1, 2], [3, 4]], [7, 8]),
        expected=[[7, 2], [3, 8]],
        dtypes=INTEGERS,
        bad=(Bad((np.ones([2, 2]), np.ones(3)), {}, ValueError, "not compatible"),),
    ),
    # What follows was recorded from TensorFlow, where it is not computed by a loop.
    Sample(
        "MatrixDiagV2",
        "band, square",
        (BAND, [-1, 0], -1, -1, 9.0),
        expected=[[1.0, 9.0, 9.0], [4.0, 2.0, 9.0], [9.0, 5.0, 3.0]],
        dtypes=NUMBERS,
    ),
    Sample(
        "MatrixDiagV2",
        "band of given sizes",
        ([[9.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [0, 1], 3, 4, 0.0),
        expected=[[4.0, 9.0, 0.0, 0.0], [0.0, 5.0, 2.0, 0.0], [0.0, 0.0, 6.0, 3.0]],
        dtypes=("float64",),
    ),
    Sample(
        "MatrixDiagV2",
        "above",
        ([1.0, 2.0], 2, -1, -1, 0.0),
        expected=[[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0], [0.0] * 4, [0.0] * 4],
        dtypes=("float64", "complex128"),
    ),
    Sample(
        "MatrixDiagV2",
        "below, stack",
        ([[1.0, 2.0]], [-1], 3, -1, 7.0),
        expected=[[[7.0, 7.0], [1.0, 7.0], [7.0, 2.0]]],
        dtypes=("float64",),
        bad=(
            Bad(([1, 2], 0, 1, -1, 0), {}, ValueError, "num_rows is too small"),
            Bad(([1, 2], 0, -1, 1, 0), {}, ValueError, "num_cols is too small"),
            Bad(([1, 2], 0, 3, 4, 0), {}, ValueError, "num_rows and num_cols are not consistent"),
            Bad(([[1, 2]], [0, 1], -1, -1, 0), {}, ValueError, "doesn't match the number of diagonals"),
            Bad(([1, 2], [0, 1], -1, -1, 0), {}, ValueError, "Shape must be at least rank 2 but is rank 1"),
            Bad(([[1, 2]], [0, 1, 2], -1, -1, 0), {}, ValueError, "vector with one or two elements"),
            Bad(([[1, 2]], [[0]], -1, -1, 0), {}, ValueError, "Shape must be at most rank 1 but is rank 2"),
            Bad(([1, 2], [1, 0], -1, -1, 0), {}, ValueError, "lower_diag_index"),
        ),
    ),
    *(
        Sample(
            "MatrixDiagPartV2",
            f"diagonals {k}",
            (TABLE, k, 99.0),
            expected=packed,
            dtypes=("float64", "int32"),
        )
        for k in (0, 1, -2, 3, [2, 2], [0, 1], [-1, 2], [-2, -1], [1, 3])
    ),
    Sample(
        "MatrixDiagPartV2",
        "stack",
        (STACK, [0, 1], 0.0),
        expected=[[[0.5, 1.5], [0.25, 1.25]], [[2.0, 3.0], [1.75, 2.75]]],
        dtypes=("float32", "float64"),
        bad=(
            Bad((TABLE, 4, 0.0), {}, ValueError, "lower_diag_index is out of bound"),
            Bad((TABLE, -3, 0.0), {}, ValueError, "lower_diag_index is out of bound"),
            Bad((TABLE, [0, 4], 0.0), {}, ValueError, "upper_diag_index is out of bound"),
            Bad((TABLE, [1, 0], 0.0), {}, ValueError, "must not be larger than upper_diag_index: 1 > 0"),
        ),
    ),
    *(
        Sample(
            "MatrixSetDiagV2",
            f"diagonals {k}",
            (TABLE, -BAND if isinstance(k, list) else -BAND[0, :2], k),
            expected=with_band,
            dtypes=("float64", "int32"),
        )
        for k in (2, -1, [0, 1], [-1, 0], [1, 2])
    ),
    Sample(
        "MatrixSetDiagV2",
        "stack",
        (STACK, [[7.0], [8.0]], -1),
        expected=[[[0.25, 0.5, 0.75], [7.0, 1.25, 1.5]], [[1.75, 2.0, 2.25], [8.0, 2.75, 3.0]]],
        dtypes=FLOATS,
        bad=(
            Bad((TABLE, [1.0, 2.0, 3.0], -1), {}, ValueError, "not compatible"),
            Bad((TABLE, -BAND[0], -1), {}, InvalidArgumentError, "diagonal shape: [3]"),
        ),
    ),
]
