"""The optimizers' steps change variables: they are tested in sessions, each against its formula."""

from __future__ import annotations

import numpy as np

from tests.ops.samples import Bad, Sample

_TEST = "tests/ops/test_training_ops.py"

_DENSE = [
    "GradientDescent",
    "Momentum",
    "Adagrad",
    "AdagradDA",
    "Adadelta",
    "RMSProp",
    "CenteredRMSProp",
    "Adam",
    "Ftrl",
    "FtrlV2",
    "ProximalGradientDescent",
    "ProximalAdagrad",
]
_SPARSE = [kind for kind in _DENSE if kind not in ("GradientDescent", "Adam")]

_VALUE = np.zeros(2, np.float32)
_NOT_A_VARIABLE = Bad((_VALUE, np.float32(0.1), _VALUE), {}, TypeError, "must be a variable")

SAMPLES = [
    *(
        Sample(f"{prefix}Apply{kind}", "a step", stateful=_TEST)
        for prefix in ("", "Resource")
        for kind in _DENSE
        if kind != "GradientDescent" or prefix
    ),
    Sample("ApplyGradientDescent", "a step", stateful=_TEST, bad=(_NOT_A_VARIABLE,)),
    *(
        Sample(f"{prefix}SparseApply{kind}", "a step of some rows", stateful=_TEST)
        for prefix in ("", "Resource")
        for kind in _SPARSE
    ),
]
