"""Samples of `tahr.ops.candidate_sampling`."""

from __future__ import annotations

import numpy as np

from tests.ops.samples import Bad, Sample

LOWEST = float(np.finfo(np.float32).min)

SAMPLES = [
    Sample(
        "ComputeAccidentalHits",
        "one hit in each row",
        inputs=(np.array([[1, 7], [4, 2]]), np.array([4, 3, 1])),
        attrs={"num_true": 2},
        expected=([0, 1], [2, 0], [LOWEST, LOWEST]),
        data_dependent=True,
        bad=(Bad((np.array([[1]]), np.array([4])), {"num_true": 2}, ValueError, "num_true"),),
    ),
    Sample(
        "ComputeAccidentalHits",
        "no hits",
        inputs=(np.array([[1]]), np.array([4, 3])),
        attrs={"num_true": 1},
        expected=([], [], []),
        data_dependent=True,
    ),
]
