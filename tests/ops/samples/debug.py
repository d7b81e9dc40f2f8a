"""Samples of the ops that check and show values."""

from __future__ import annotations

import numpy as np

from tahr.core import dtypes
from tahr.errors import InvalidArgumentError
from tests.ops.samples import FLOATS, Bad, Sample

_TEST = "tests/ops/test_debug.py"

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
    Sample("Print", "in a session", stateful=_TEST),
    Sample("PrintV2", "in a session", stateful=_TEST, bad=(Bad((["x"],), {}, ValueError, "must be rank 0"),)),
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
    Sample(
        "StringFormat",
        "tensors between words",
        inputs=([np.arange(10), np.array(1.5), np.array([[True, False]])],),
        attrs={"T": [dtypes.int64, dtypes.float64, dtypes.bool_], "template": "a %s b %s%s"},
        expected=b"a [0 1 2 ... 7 8 9] b 1.5[[1 0]]",
    ),
    Sample(
        "StringFormat",
        "all elements",
        inputs=([np.arange(10)],),
        attrs={"T": [dtypes.int64], "summarize": -1},
        expected=b"[0 1 2 3 4 5 6 7 8 9]",
    ),
]
