"""Samples of `tahr.ops.segments`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr import errors
from tests.ops.samples import COMPLEX, FLOATS, INTEGERS, NUMBERS, Bad, Sample

REALS = FLOATS + INTEGERS
ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0], [2.0, 1.0]]
GAP = np.array([0, 0, 2, 2])  # segment 1 has no rows
ANY_ORDER = np.array([2, 0, -1, 2])
BAD_IDS = (
    Bad(([[1.0], [2.0]], [1, 0]), {}, errors.InvalidArgumentError, "segment ids are not increasing"),
    Bad(([[1.0], [2.0]], [-1, 0]), {}, errors.InvalidArgumentError, "segment ids must be >= 0"),
    Bad(([[1.0], [2.0]], [0]), {}, ValueError, "segment_ids should be the same size as dimension 0 of input"),
)
BAD_UNSORTED = (
    Bad(
        ([1.0, 2.0], [0, 3], 3), {}, errors.InvalidArgumentError, "segment_ids[1] = 3 is out of range [0, 3)"
    ),
)


def loop(combine: Any, empty: Any) -> Any:
    """A reduction by segment, row by row."""

    def reduce(data: Any, ids: Any, count: int | None = None) -> Any:
        groups: list[list[Any]] = [
            [] for _ in range(max(ids, default=-1) + 1 if count is None else int(count))
        ]
        for row, i in zip(data, ids):
            if i >= 0:
                groups[i].append(row)
        missing = np.full(data.shape[1:], empty)
        return np.array([combine(np.array(g)) if g else missing for g in groups]).reshape(-1, *data.shape[1:])

    return reduce


def chosen(combine: Any) -> Any:
    """A reduction by segment of chosen rows."""

    def reduce(data: Any, indices: Any, ids: Any, count: int | None = None) -> Any:
        return loop(combine, 0.0)(data[indices], ids, count)

    return reduce


def total(rows: Any) -> Any:
    return sum(rows)


def mean(rows: Any) -> Any:
    return sum(rows) / len(rows)


def over_root(rows: Any) -> Any:
    return sum(rows) / len(rows) ** 0.5


def product(rows: Any) -> Any:
    return rows[0] * product(rows[1:]) if len(rows) else 1


def largest(rows: Any) -> Any:
    return np.array([max(column) for column in rows.T])


def smallest(rows: Any) -> Any:
    return np.array([min(column) for column in rows.T])


EMPTY = (np.zeros([0, 2]), np.zeros(0, np.int32))
PICK, PICKED = np.array([3, 0, 0, 2]), np.array([0, 0, 1, 1])

SAMPLES = [
    Sample(
        "SegmentSum",
        "with a gap",
        inputs=(ROWS, GAP),
        expected=loop(total, 0),
        dtypes=NUMBERS,
        data_dependent=True,
        bad=BAD_IDS,
    ),
    Sample(
        "SegmentSum",
        "empty",
        inputs=EMPTY,
        expected=np.zeros([0, 2]),
        dtypes=("float32",),
        data_dependent=True,
    ),
    Sample(
        "SegmentMean",
        "with a gap",
        inputs=(ROWS, GAP),
        expected=loop(mean, 0),
        dtypes=FLOATS + COMPLEX,
        data_dependent=True,
    ),
    Sample(
        "SegmentProd",
        "with a gap",
        inputs=(ROWS, GAP),
        expected=loop(product, 1),
        dtypes=NUMBERS,
        data_dependent=True,
        bad=BAD_IDS,
    ),
    Sample(
        "SegmentProd",
        "zeros",
        inputs=([2.0, 0.0, 3.0, 0.0, 0.0], np.array([0, 0, 1, 2, 2])),
        expected=[0.0, 3.0, 0.0],
        dtypes=("float64",),
        second=False,
        data_dependent=True,
    ),
    Sample(
        "SegmentMax",
        "with a gap",
        inputs=(ROWS, GAP),
        expected=loop(largest, 0),
        dtypes=REALS,
        data_dependent=True,
        bad=BAD_IDS,
    ),
    Sample(
        "SegmentMin",
        "with a gap",
        inputs=(ROWS, GAP),
        expected=loop(smallest, 0),
        dtypes=REALS,
        data_dependent=True,
        bad=BAD_IDS,
    ),
    Sample(
        "UnsortedSegmentProd",
        "dropped row",
        inputs=(ROWS, ANY_ORDER, 3),
        expected=loop(product, 1),
        dtypes=NUMBERS,
        bad=BAD_UNSORTED,
    ),
    Sample(
        "UnsortedSegmentProd",
        "zeros",
        inputs=([2.0, 0.0, 3.0, 5.0], np.array([0, 0, 1, 1]), 3),
        expected=[0.0, 15.0, 1.0],
        dtypes=("float64",),
        second=False,
    ),
    Sample(
        "UnsortedSegmentProd",
        "ids of rank 2",
        inputs=([[2.0, 3.0], [4.0, 5.0]], np.array([[0, 1], [1, 0]]), 2),
        expected=[10.0, 12.0],
        dtypes=FLOATS,
    ),
    Sample(
        "UnsortedSegmentMax",
        "dropped row",
        inputs=(ROWS, ANY_ORDER, 3),
        expected=[[3.0, 4.0], [np.finfo(np.float32).min] * 2, [2.0, 2.0]],
        dtypes=("float32",),
        bad=BAD_UNSORTED,
    ),
    Sample(
        "UnsortedSegmentMax",
        "integers",
        inputs=(ROWS, np.array([1, 0, 0, 1]), 2),
        expected=loop(largest, 0),
        dtypes=INTEGERS + FLOATS,
    ),
    Sample(
        "UnsortedSegmentMin",
        "dropped row",
        inputs=(ROWS, ANY_ORDER, 3),
        expected=[[3.0, 4.0], [np.finfo(np.float32).max] * 2, [1.0, 1.0]],
        dtypes=("float32",),
        bad=BAD_UNSORTED,
    ),
    Sample(
        "UnsortedSegmentMin",
        "integers",
        inputs=(ROWS, np.array([1, 0, 0, 1]), 2),
        expected=loop(smallest, 0),
        dtypes=INTEGERS + FLOATS,
    ),
    Sample(
        "SparseSegmentSum",
        "repeated rows",
        inputs=(ROWS, PICK, PICKED),
        expected=chosen(total),
        dtypes=REALS,
        data_dependent=True,
    ),
    Sample(
        "SparseSegmentMean",
        "repeated rows",
        inputs=(ROWS, PICK, PICKED),
        expected=chosen(mean),
        dtypes=FLOATS,
        data_dependent=True,
    ),
    Sample(
        "SparseSegmentSqrtN",
        "repeated rows",
        inputs=(ROWS, PICK, PICKED),
        expected=chosen(over_root),
        dtypes=("float32", "float64"),
        data_dependent=True,
    ),
    Sample(
        "SparseSegmentSumWithNumSegments",
        "one more",
        inputs=(ROWS, PICK, PICKED, 3),
        expected=chosen(total),
        dtypes=REALS,
    ),
    Sample(
        "SparseSegmentMeanWithNumSegments",
        "one more",
        inputs=(ROWS, PICK, PICKED, 3),
        expected=chosen(mean),
        dtypes=FLOATS,
    ),
    Sample(
        "SparseSegmentSqrtNWithNumSegments",
        "one more",
        inputs=(ROWS, PICK, PICKED, 3),
        expected=chosen(over_root),
        dtypes=("float32", "float64"),
    ),
]
