"""Samples of the ops that show values."""

from __future__ import annotations

import numpy as np

from tahr.core import dtypes
from tests.ops.samples import Bad, Sample

_TEST = "tests/ops/test_printing.py"

SAMPLES = [
    Sample("Print", "in a session", stateful=_TEST),
    Sample("PrintV2", "in a session", stateful=_TEST, bad=(Bad((["x"],), {}, ValueError, "must be rank 0"),)),
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
