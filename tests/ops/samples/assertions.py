"""Samples of the ops that check values."""

from __future__ import annotations

import numpy as np

from tahr.core import dtypes
from tahr.errors import InvalidArgumentError
from tests.ops.samples import FLOATS, Bad, Sample

_TEST = "tests/ops/test_assertions.py"

SAMPLES = [
    Sample(
        "Assert",
        "in a session",
        stateful=_TEST,
        bad=(
            Bad(([True], ["x"]), {"T": [dtypes.string]}, ValueError, "Shape must be rank 0 but is rank 1"),
            Bad((1, ["x"]), {"T": [dtypes.string]}, TypeError, "Expected bool"),
        ),
    ),
    Sample(
        "CheckNumerics",
        "finite",
        inputs=([[1.0, -2.0], [0.0, 3.0]],),
        attrs={"message": "x"},
        expected=[[1.0, -2.0], [0.0, 3.0]],
        dtypes=FLOATS,
        bad=(
            Bad(
                (np.array([1.0, np.nan]),),
                {"message": "x"},
                InvalidArgumentError,
                "x : Tensor had NaN values",
            ),
            Bad((np.array(-np.inf),), {"message": "x"}, InvalidArgumentError, "x : Tensor had Inf values"),
            Bad((1,), {"message": "x"}, TypeError, "not in list of allowed values"),
        ),
    ),
    Sample(
        "CheckNumerics",
        "of nothing",
        inputs=(np.zeros([0, 2]),),
        attrs={"message": "x"},
        expected=np.zeros([0, 2]),
        dtypes=FLOATS,
    ),
]
