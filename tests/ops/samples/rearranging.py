"""Samples of `tahr.ops.rearranging`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.errors import InvalidArgumentError
from tests.ops.samples import FLOATS, INDICES, NUMBERS, Bad, Sample

CUBE = np.arange(24.0).reshape(2, 3, 4) / 2


def rolled(x: Any, shift: Any, axis: Any) -> Any:
    """Element by element, one axis after the other."""
    for by, along in zip(np.ravel(shift), np.ravel(axis), strict=True):
        moved = np.empty_like(x)
        for place in np.ndindex(*x.shape):
            target = list(place)
            target[along] = (target[along] + int(by)) % x.shape[along]
            moved[tuple(target)] = x[place]
        x = moved
    return x


def unraveled(indices: Any, dims: Any) -> Any:
    """By repeated division, from the last axis on."""
    rows = []
    for size in reversed(dims):
        rows.append(indices % size)
        indices = indices // size
    return np.array(rows[::-1])


SAMPLES = [
    Sample("Roll", "vector", ([1.0, 2.0, 3.0], 1, 0), expected=[3.0, 1.0, 2.0], dtypes=NUMBERS),
    Sample("Roll", "backwards and around", (CUBE, [-1, 9], [0, -1]), expected=rolled, dtypes=FLOATS),
    Sample(
        "Roll", "one axis twice", (CUBE, [1, 1], [1, 1]), expected=rolled, dtypes=("float64", "complex64")
    ),
    Sample(
        "Roll",
        "no axis",
        (CUBE, np.zeros(0, np.int32), np.zeros(0, np.int32)),
        expected=CUBE,
        dtypes=("float64",),
    ),
    Sample("Roll", "int64", (CUBE, np.int64(1), np.int64(-2)), expected=rolled, dtypes=("float64",)),
    Sample("Roll", "empty", (np.zeros([0, 2]), 1, 0), expected=np.zeros([0, 2]), dtypes=("float32",)),
    Sample(
        "Roll",
        "strings",
        (np.array([b"a", b"b"], object), 1, 0),
        expected=np.array([b"b", b"a"], object),
        bad=(
            Bad((3, 1, 0), {}, ValueError, "Shape must be at least rank 1 but is rank 0"),
            Bad(([3], [[1]], [[0]]), {}, ValueError, "Shape must be at most rank 1 but is rank 2"),
            Bad(([3], [1], 0), {}, ValueError, "equal rank"),
            Bad((3, 1, 0), {}, InvalidArgumentError, "input must be 1-D or higher"),
            Bad(([3], 1, 4), {}, InvalidArgumentError, "axis 4 is out of range"),
            Bad(([3], [1, 2], [0]), {}, InvalidArgumentError, "shift and axis must have the same size"),
        ),
    ),
    Sample("UnravelIndex", "scalar", (5, [2, 3]), expected=[1, 2], dtypes=INDICES),
    Sample("UnravelIndex", "vector", ([5, 1, 22], [2, 3, 4]), expected=unraveled, dtypes=INDICES),
    Sample(
        "UnravelIndex",
        "no indices",
        (np.zeros(0), [2, 3]),
        expected=np.zeros([2, 0]),
        dtypes=INDICES,
        bad=(
            Bad((0, 3), {}, ValueError, "rank 1 but is rank 0"),
            Bad(
                ([[5, 1]], [2, 3]),
                {},
                InvalidArgumentError,
                "The indices can only be scalar or vector, got [1,2]",
            ),
            Bad((6, [2, 3]), {}, InvalidArgumentError, "index is out of bound as with dims"),
            Bad((-1, [2, 3]), {}, InvalidArgumentError, "index is out of bound as with dims"),
            Bad((0, [2, 0]), {}, InvalidArgumentError, "dims contains zero at index 1"),
        ),
    ),
]
