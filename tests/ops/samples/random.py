"""Samples of the random ops; `tests/ops/test_random.py` runs those that draw."""

from __future__ import annotations

import numpy as np

from tahr.errors import InvalidArgumentError
from tests.ops.samples import Bad, Sample

_TEST = "tests/ops/test_random.py"
_RANK_1 = "Shape must be rank 1 but is rank 0"
_CLASSES = np.zeros([3], np.int64)
_SAMPLER = {"num_true": 1, "num_sampled": 2, "unique": True, "range_max": 5}

SAMPLES = [
    Sample("RandomUniform", "drawn", stateful=_TEST),
    Sample(
        "RandomUniformInt",
        "drawn",
        stateful=_TEST,
        bad=(
            Bad((3, 0, 5), {}, ValueError, _RANK_1),
            Bad(([3], 0.0, 5.0), {}, TypeError, "not in list of allowed values"),
            Bad(([3], [0], 5), {}, ValueError, "Shape must be rank 0 but is rank 1"),
        ),
    ),
    Sample("RandomStandardNormal", "drawn", stateful=_TEST),
    Sample("TruncatedNormal", "drawn", stateful=_TEST),
    Sample("RandomGamma", "drawn", stateful=_TEST, bad=(Bad((3, 1.0), {}, ValueError, _RANK_1),)),
    Sample(
        # Central differences (step 1e-5) of scipy.stats.gamma.ppf(q, alpha) in alpha, at q = 0.3, 0.5, 0.9.
        "RandomGammaGrad",
        "from quantiles",
        inputs=([0.5, 1.0, 3.0], [0.07423593091627, 0.6931471805599455, 5.322320337834211]),
        expected=[0.41662196, 0.96804483, 1.38870840],
        dtypes=("float32", "float64"),
        rtol=2e-6,
    ),
    Sample(
        # For small x: P(a, x) is nearly x^a / gamma(a + 1); at a = 1, digamma(2) = 0.42278...
        "RandomGammaGrad",
        "tiny samples",
        inputs=([1.0, 1.0], [0.0, 1e-30]),
        expected=[0.0, -1e-30 * (np.log(1e-30) - 0.42278433509846713)],
        dtypes=("float32", "float64"),
        gradient=False,
    ),
    Sample(
        "RandomPoissonV2",
        "drawn",
        stateful=_TEST,
        bad=(
            Bad((3, 1.0), {}, ValueError, _RANK_1),
            Bad(([3], True), {}, TypeError, "not in list of allowed values"),
        ),
    ),
    Sample(
        "Multinomial",
        "drawn",
        stateful=_TEST,
        bad=(
            Bad(([1.0, 2.0], 3), {}, ValueError, "Shape must be rank 2 but is rank 1"),
            Bad(([[1.0, 2.0]], -1), {}, ValueError, "must be non-negative but is -1"),
        ),
    ),
    Sample("RandomShuffle", "drawn", stateful=_TEST),
    Sample(
        "CheckCrop",
        "the shape passes",
        inputs=([4, 0, 7], [4, 0, 5]),
        expected=[4, 0, 7],
        dtypes=("int32", "int64"),
        bad=(Bad(([4, 2], [5, 2]), {}, InvalidArgumentError, "Need value.shape >= size, got "),),
    ),
    Sample(
        "UniformCandidateSampler",
        "drawn",
        stateful=_TEST,
        bad=(Bad((_CLASSES,), _SAMPLER, ValueError, "Shape must be rank 2 but is rank 1"),),
    ),
    Sample(
        "LogUniformCandidateSampler",
        "drawn",
        stateful=_TEST,
        bad=(Bad((_CLASSES,), _SAMPLER, ValueError, "Shape must be rank 2 but is rank 1"),),
    ),
]
