"""Initializers: TensorFlow's values for a seed, their variances, configurations, and complaints."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tahr.core import dtypes
from tahr.core.graph import Graph
from tahr.core.tensor_shapes import Dimension, TensorShape
from tahr.ops import initializers as init
from tahr.session.session import Session


def value(initializer: Any, shape: Any, **options: Any) -> np.ndarray:
    with Graph().as_default() as graph:
        tensor = initializer(shape, **options)
        with Session(graph=graph) as session:
            return session.run(tensor)


# What TensorFlow 2.21 (compat.v1) returns for seed 1.
RECORDED = [
    (
        init.GlorotUniform(seed=1),
        [3, 2],
        [-0.571740448, 0.921049356, -0.984777927, -0.00932335854, 0.735092521, -1.03745139],
    ),
    (
        init.GlorotNormal(seed=1),
        [2, 2, 2, 1],
        [
            -0.376545727,
            0.689025939,
            0.0303204041,
            0.0460627675,
            0.296893626,
            0.747631013,
            0.0758994892,
            -0.703463137,
        ],
    ),
    (
        init.he_normal(seed=1),
        [3, 2],
        [-0.753091455, 1.37805188, 0.0606408082, 0.092125535, 0.593787253, 1.49526203],
    ),
    (init.he_uniform(seed=1), [4], [-0.639225245, 1.02976453, -1.10101521, -0.0104238987]),
    (
        init.lecun_normal(seed=1),
        [3, 2],
        [-0.532516062, 0.974429846, 0.0428795256, 0.0651425868, 0.419870973, 1.05730999],
    ),
    (
        init.lecun_uniform(seed=1),
        [3, 2],
        [-0.521925211, 0.840799093, -0.898975134, -0.00851106644, 0.671044588, -0.947059155],
    ),
    (
        init.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=1),
        [3, 2],
        [-0.811318219, 1.48459876, 0.0653293729, -2.4427042, 0.0992484018, 0.591224313],
    ),
    (
        init.UniformUnitScaling(1.5, seed=1),
        [3, 2],
        [-0.782887816, 1.26119852, -1.3484627, -0.0127665997, 1.006567, -1.42058873],
    ),
    (init.RandomUniform(-1.0, 2.0, seed=1), [3], [-0.282887816, 1.76119852, -0.848462701]),
    (init.RandomUniform(-10, 20, seed=1, dtype=dtypes.int32), [3], [17, 19, -7]),
    (init.RandomNormal(1.0, 2.0, seed=1), [3], [-0.622636437, 3.96919751, 1.13065875]),
    (init.TruncatedNormal(1.0, 2.0, seed=1), [3], [-0.622636437, 3.96919751, 1.13065875]),
    (
        init.Orthogonal(2.0, seed=1),
        [3, 2],
        [-1.97889042, -0.0740474015, 0.15934521, -1.89311218, 0.242077276, 0.640814543],
    ),
    (
        init.Orthogonal(seed=1),
        [2, 3],
        [-0.98944521, 0.0796726048, 0.121038638, -0.0370237008, -0.946556091, 0.320407271],
    ),
    (init.Identity(2.0), [2, 3], [2, 0, 0, 0, 2, 0]),
    (init.Zeros(), [2], [0, 0]),
    (init.Ones(dtypes.int32), [2], [1, 1]),
    (init.Constant([1.0, 2.0]), [2, 2], [1, 2, 2, 2]),
    (init.Constant(7), [], [7]),
]


@pytest.mark.parametrize(
    ("initializer", "shape", "expected"), RECORDED, ids=lambda item: getattr(type(item), "__name__", None)
)
def test_values_are_tensorflows(initializer, shape, expected):
    found = value(initializer, shape)
    assert list(found.shape) == shape
    np.testing.assert_allclose(found.ravel(), expected, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (init.VarianceScaling(3.0, "fan_in", seed=1), 3 / 1800),
        (init.VarianceScaling(3.0, "fan_out", "uniform", seed=1), 3 / 450),
        (init.VarianceScaling(3.0, "fan_avg", "untruncated_normal", seed=1), 3 / 1125),
        (init.xavier_initializer(seed=1), 1 / 1125),
        (init.xavier_initializer(uniform=False, seed=1), 1.3 / 1125 * 0.87962566103423978**2),
        (init.contrib_variance_scaling_initializer(2.0, "FAN_OUT", True, seed=1), 2 / 450),
    ],
)
def test_variance_scaling(initializer, variance):
    shape = [3, 3, 200, 50]  # 9 * 200 inputs, 9 * 50 outputs
    found = value(initializer, shape)
    assert found.dtype == np.float32
    assert found.var() == pytest.approx(variance, rel=0.01)
    assert abs(found.mean()) < 4 * math.sqrt(variance / found.size)


@pytest.mark.parametrize("shape", [[5, 5], [7, 3], [3, 7], [2, 3, 4], [2, 2, 9]])
def test_orthogonal(shape):
    found = value(init.Orthogonal(3.0, seed=5, dtype=dtypes.float64), shape).reshape(-1, shape[-1])
    gram = found.T @ found if found.shape[0] >= found.shape[1] else found @ found.T
    np.testing.assert_allclose(gram, 9 * np.eye(len(gram)), atol=1e-12)


def test_shapes_may_be_written_in_several_ways():
    for shape in ([2, 3], (2, 3), TensorShape([2, 3]), [Dimension(2), 3]):
        for initializer in (init.Zeros(), init.GlorotUniform(), init.Identity(), init.Orthogonal()):
            assert value(initializer, shape).shape == (2, 3)


def test_the_calls_dtype_wins():
    assert value(init.Ones(), [2], dtype=dtypes.int64).dtype == np.int64
    assert value(init.RandomNormal(), [2], dtype=dtypes.float64).dtype == np.float64
    assert value(init.Zeros(), [2], dtype=dtypes.string).tolist() == [b"", b""]


def test_names_of_operations():
    with Graph().as_default() as graph:
        init.Orthogonal()([3, 2])
        names = [op.name for op in graph.get_operations()]
    draw = [f"random_normal/{n}" for n in ("shape", "mean", "stddev", "RandomStandardNormal", "mul")]
    rest = ["random_normal", "Qr", "DiagPart", "Sign", "mul", "Reshape/shape", "Reshape", "mul_1/x", "mul_1"]
    assert names == draw + rest


@pytest.mark.parametrize("initializer", [item[0] for item in RECORDED], ids=lambda item: type(item).__name__)
def test_configurations_make_equal_initializers(initializer):
    config = initializer.get_config()
    copy = type(initializer).from_config(config)
    assert type(copy) is type(initializer)
    assert copy.get_config() == config
    assert config["dtype"] in ("float32", "int32")


def test_part_of_a_variable_is_scaled_by_the_whole():
    part_info = SimpleNamespace(full_shape=[4, 3], var_offset=[2, 0])
    assert value(init.Identity(), [2, 3], partition_info=part_info).tolist() == [[0, 0, 1], [0, 0, 0]]
    whole = value(init.GlorotUniform(seed=1), [4, 3])
    part = value(init.GlorotUniform(seed=1), [2, 3], partition_info=part_info)
    np.testing.assert_array_equal(part, whole[:2])


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: init.VarianceScaling(0.0), ValueError, "`scale` must be positive float."),
        (lambda: init.VarianceScaling(mode="fan"), ValueError, "Invalid `mode` argument: fan"),
        (lambda: init.VarianceScaling(distribution="x"), ValueError, "Invalid `distribution` argument: x"),
        (lambda: init.RandomNormal(dtype=dtypes.int32), ValueError, "Expected floating point type"),
        (lambda: init.Constant({}), TypeError, "Invalid type for initial value"),
        (lambda: init.Identity()([2]), ValueError, "can only be used for 2D matrices"),
        (lambda: init.Orthogonal()([2]), ValueError, "must be at least two-dimensional"),
        (lambda: init.Constant([1.0, 2.0], verify_shape=True)([3]), TypeError, "Expected Tensor's shape"),
        (lambda: init.Constant([1.0, 2.0])([1]), ValueError, "Too many elements provided"),
        (lambda: init.contrib_variance_scaling_initializer(mode="fan_in"), TypeError, "Unknown mode fan_in"),
        (lambda: init.xavier_initializer(dtype=dtypes.int32), TypeError, "non-floating point type"),
    ],
)
def test_complaints(call, error, phrase):
    with Graph().as_default(), pytest.raises(error, match=phrase):
        call()
