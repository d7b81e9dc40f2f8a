"""Samples of the ops in `sorting`: literal values, naive loops, and what TensorFlow answers for NaN."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np

from tests.ops.samples import FLOATS, INTEGERS, SIGNED, Bad, Sample

Array = np.ndarray[Any, Any]

REALS = FLOATS + INTEGERS
SCORES = [[1.0, 2.0, 2.0], [1.0, np.inf, 0.0], [0.0, 1.0, np.nan], [0.0, 1.0, 2.0]]


def top_k(input: Array, k: int, *, sorted: bool) -> tuple[Any, Any]:
    """A stable sort of each row, by descending value."""
    rows = input.reshape(-1, input.shape[-1])
    order = [np.argsort([-v for v in row], kind="stable").tolist()[:k] for row in rows.tolist()]
    values = [[row[i] for i in places] for row, places in zip(rows.tolist(), order)]
    shape = (*input.shape[:-1], k)
    return np.reshape(values, shape), np.reshape(order, shape)


def lower_bound(sorted_inputs: Array, values: Array, **_: Any) -> Any:
    """A binary search for each element."""
    return [
        [bisect.bisect_left(row, v) for v in wanted] for row, wanted in zip(sorted_inputs.tolist(), values)
    ]


def upper_bound(sorted_inputs: Array, values: Array, **_: Any) -> Any:
    """A binary search for each element, which goes behind equal ones."""
    return [
        [bisect.bisect_right(row, v) for v in wanted] for row, wanted in zip(sorted_inputs.tolist(), values)
    ]


IN_TOP_K = [
    Sample(
        "InTopKV2",
        "ties count in",
        (SCORES, [1, 0, 0, 1], 1),
        expected=[True, False, False, False],
    ),
    Sample(
        "InTopKV2",
        "no such class",
        (SCORES, [5, 0, -1, 1], 3),
        expected=[False, False, False, True],
        bad=(
            Bad(([[1.0]], [0, 0], 1), {}, ValueError, "Dimensions must be equal, but are 1 and 2"),
            Bad(([1.0], [0], 1), {}, ValueError, "Shape must be rank 2 but is rank 1"),
        ),
    ),
    Sample(
        "InTopK",
        "ties count in",
        (SCORES, [1, 0, 0, 1]),
        {"k": 2},
        expected=[True, False, False, True],
    ),
    Sample(
        "InTopK",
        "nobody",
        (np.zeros([0, 3], np.float32), np.zeros([0], np.int64)),
        {"k": 2},
        expected=np.zeros([0]),
    ),
]

SAMPLES = [
    Sample(
        "TopKV2",
        "ties",
        ([[3.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 0.0]], 3),
        expected=([[3.0, 3.0, 2.0], [1.0, 0.0, 0.0]], [[0, 3, 2], [2, 0, 1]]),
        dtypes=REALS,
        gradient=False,
    ),
    Sample(
        "TopKV2",
        "of batches",
        (np.array([[[0.5, -2.0, 7.0]], [[4.0, 9.0, -1.0]]]), 2),
        expected=top_k,
        dtypes=FLOATS + SIGNED,
    ),
    Sample(
        "TopKV2",
        "a few of many",
        (np.array([[(7 * i * i) % 31 for i in range(40)], [i // 4 for i in range(40)]], np.float64), 5),
        expected=top_k,
        dtypes=REALS,
        gradient=False,
    ),
    Sample(
        "TopKV2",
        "the largest of equals",
        ([5.0, 7.0, 7.0], 1),
        expected=([7.0], [1]),
        dtypes=REALS,
        gradient=False,
    ),
    Sample(
        "TopKV2",
        "infinite",
        ([1.0, np.inf, -np.inf, 2.0], 4),
        expected=([np.inf, 2.0, 1.0, -np.inf], [1, 3, 0, 2]),
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample(
        "TopKV2",
        "none",
        ([[1.0, 2.0]], 0),
        {"sorted": False},
        expected=(np.zeros([1, 0]), np.zeros([1, 0])),
        dtypes=("float64",),
        bad=(
            Bad(([1.0, 2.0], 5), {}, ValueError, "input must have last dimension >= k = 5 but is 2"),
            Bad((1.0, 1), {}, ValueError, "Shape must be at least rank 1 but is rank 0"),
            Bad(([1.0], -1), {}, ValueError, "Need k >= 0, got -1"),
        ),
    ),
    *IN_TOP_K,
    Sample(
        "NthElement",
        "the second smallest",
        ([[3.0, 1.0, 2.0], [9.0, 7.0, 8.0]], 1),
        expected=[2.0, 8.0],
        dtypes=REALS,
    ),
    Sample(
        "NthElement",
        "the largest",
        ([3.0, 4.0, 1.0], 0),
        {"reverse": True},
        expected=4.0,
        dtypes=FLOATS,
        bad=(
            Bad(([1.0, 2.0], 2), {}, ValueError, "Input must have last dimension > n = 2"),
            Bad((1.0, 0), {}, ValueError, "Shape must be at least rank 1 but is rank 0"),
            Bad(([1.0], -1), {}, ValueError, "n must be non-negative, got -1"),
        ),
    ),
    Sample(
        "LowerBound",
        "before equals",
        ([[1.0, 2.0, 2.0], [0.0, 5.0, 9.0]], [[2.0, 0.0], [9.0, 10.0]]),
        expected=lower_bound,
        dtypes=REALS,
        var="T",
    ),
    Sample(
        "LowerBound", "in nothing", (np.zeros([1, 0]), [[2.0]]), expected=[[0]], dtypes=("float64",), var="T"
    ),
    Sample(
        "UpperBound",
        "after equals",
        ([[1.0, 2.0, 2.0], [0.0, 5.0, 9.0]], [[2.0, 0.0], [9.0, 10.0]]),
        expected=upper_bound,
        dtypes=REALS,
        var="T",
        bad=(Bad(([[1.0]], [[1.0], [2.0]]), {}, ValueError, "Dimensions 1 and 2 are not compatible"),),
    ),
    Sample(
        "Unique",
        "in order of occurrence",
        ([3.0, 1.0, 3.0, 2.0, 1.0],),
        expected=([3.0, 1.0, 2.0], [0, 1, 0, 2, 1]),
        dtypes=REALS,
        var="T",
        gradient=False,
        data_dependent=True,
    ),
    Sample(
        "Unique",
        "zeros are equal and NaNs are not",
        ([np.nan, 1.0, np.nan, 0.0, -0.0],),
        expected=([np.nan, 1.0, np.nan, 0.0], [0, 1, 2, 3, 3]),
        dtypes=FLOATS,
        var="T",
        gradient=False,
        data_dependent=True,
    ),
    Sample(
        "Unique", "of strings", ([b"b", b"a", b"b"],), expected=([b"b", b"a"], [0, 1, 0]), data_dependent=True
    ),
    Sample(
        "Unique",
        "of nothing",
        (np.zeros([0]),),
        expected=(np.zeros([0]), np.zeros([0])),
        dtypes=("float32",),
        var="T",
        gradient=False,
        data_dependent=True,
        bad=(Bad(([[1.0]],), {}, ValueError, "Shape must be rank 1 but is rank 2"),),
    ),
    Sample(
        "UniqueWithCounts",
        "in order of occurrence",
        ([3.0, 1.0, 3.0, 2.0, 3.0],),
        expected=([3.0, 1.0, 2.0], [0, 1, 0, 2, 0], [3, 1, 1]),
        dtypes=REALS,
        var="T",
        gradient=False,
        data_dependent=True,
    ),
    Sample(
        "ListDiff",
        "repeated elements stay",
        ([1.0, 2.0, 3.0, 1.0, 2.0], [2.0, 4.0]),
        expected=([1.0, 3.0, 1.0], [0, 2, 3]),
        dtypes=REALS,
        var="T",
        gradient=False,
        data_dependent=True,
    ),
    Sample(
        "ListDiff",
        "NaN is never the same",
        ([np.nan, 1.0], [np.nan, 1.0]),
        expected=([np.nan], [0]),
        dtypes=FLOATS,
        var="T",
        gradient=False,
        data_dependent=True,
    ),
    Sample(
        "ListDiff",
        "of strings",
        ([b"b", b"a"], [b"a"]),
        expected=([b"b"], [0]),
        data_dependent=True,
        bad=(Bad(([[1.0]], [1.0]), {}, ValueError, "Shape must be rank 1 but is rank 2"),),
    ),
]
