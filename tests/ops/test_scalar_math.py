"""How exact the transcendental functions of the scalar language are, as machine code."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
import scipy.special

from tahr.backends.native import target
from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.ops import scalar_math, scalars_angles, scalars_formats, scalars_special, special_functions
from tests.backends.native.loop import Loop
from tests.ops import minimax

pytestmark = pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")

FUNCTIONS = {**vars(scalar_math), **vars(scalars_angles), **vars(scalars_special)}

Array = np.ndarray[Any, Any]
Wide = np.longdouble
# Where a long double is a double, the oracle's own errors count too.
SLACK = 0.0 if np.finfo(Wide).eps < 1e-18 else 1.5

COUNT = 20_000


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# name: oracle, range in float32 and in float64 (of normal results), most units in the last place in each.
EXACTNESS: dict[
    str, tuple[Callable[[Array], Array], tuple[float, float], tuple[float, float], float, float]
] = {
    "exp": (np.exp, (-87.3, 88.7), (-708.3, 709.7), 1.1, 1.1),
    "expm1": (np.expm1, (-90, 88.7), (-750, 709.7), 1.6, 1.8),
    "log": (np.log, (0, 1e4), (0, 1e4), 0.9, 1.0),
    "log1p": (np.log1p, (-0.9999, 1e4), (-0.9999, 1e4), 1.5, 1.6),
    "tanh": (np.tanh, (-10, 10), (-22, 22), 2.0, 2.1),
    "sigmoid": (sigmoid, (-87, 90), (-708, 700), 1.8, 1.8),
    "softplus": (softplus, (-87, 90), (-700, 700), 1.8, 1.8),
    "sin": (np.sin, (-1e5, 1e5), (-1e5, 1e5), 0.6, 1.7),
    "cos": (np.cos, (-1e5, 1e5), (-1e5, 1e5), 0.6, 1.7),
    "tan": (np.tan, (-1e5, 1e5), (-1e5, 1e5), 0.6, 3.5),
    "asin": (np.arcsin, (-1, 1), (-1, 1), 0.7, 2.6),
    "acos": (np.arccos, (-1, 1), (-1, 1), 0.7, 1.6),
    "atan": (np.arctan, (-10, 10), (-10, 10), 0.6, 2.6),
    "sinh": (np.sinh, (-89, 89), (-709, 709), 0.6, 1.8),
    "cosh": (np.cosh, (-89, 89), (-709, 709), 0.6, 1.6),
    "asinh": (np.arcsinh, (-100, 100), (-100, 100), 0.6, 1.8),
    "acosh": (np.arccosh, (1, 100), (1, 100), 0.6, 2.3),
    "atanh": (np.arctanh, (-1, 1), (-1, 1), 0.6, 2.3),
}

EDGES = (
    0.0, -0.0, math.nan, math.inf, -math.inf, 1e-30, -1e-30, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 89.0, -89.0, 104.0,
    -104.0, 711.0, -711.0, -745.0, 1e10, -1e10, 3e38, -3e38,
)  # fmt: skip


def compiled(name: str, dtype: DType, *arrays: Array) -> Array:
    leaves = [scalar.leaf(i, dtype) for i in range(len(arrays))]
    return Loop([FUNCTIONS[name](*leaves)], [dtype] * len(arrays))(*arrays)[0]


def sample(low: float, high: float) -> Array:
    """Numbers spread evenly over an interval and, near zero, over magnitudes."""
    random = np.random.default_rng(0)
    size = max(abs(low), abs(high))
    small = np.exp(random.uniform(math.log(1e-30), math.log(size), COUNT // 2)) * random.choice(
        [-1, 1], COUNT // 2
    )
    return np.concatenate([random.uniform(low, high, COUNT // 2), small.clip(low, high)])


def errors(result: Array, exact: Array) -> Array:
    """Errors in units in the last place of normal finite results."""
    rounded = exact.astype(result.dtype)
    normal = np.isfinite(rounded) & (np.abs(rounded) >= np.finfo(result.dtype).tiny)
    assert np.isfinite(result[normal]).all()
    unit = np.spacing(np.abs(rounded[normal])).astype(Wide)
    return np.abs((result[normal].astype(Wide) - exact[normal]) / unit).astype(np.float64)


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", EXACTNESS)
def test_exactness(name: str, dtype: DType):
    oracle, narrow, wide, narrow_bound, wide_bound = EXACTNESS[name]
    is_narrow = dtype is dtypes.float32
    x = sample(*(narrow if is_narrow else wide)).astype(dtype.numpy)
    with np.errstate(all="ignore"):
        x = x[np.isfinite(oracle(x.astype(Wide)))]
        error = errors(compiled(name, dtype, x), oracle(x.astype(Wide)))
    assert error.max() <= (narrow_bound if is_narrow else wide_bound + SLACK)


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", EXACTNESS)
def test_ends_of_the_range(name: str, dtype: DType):
    with np.errstate(all="ignore"):
        x = np.array(EDGES).astype(dtype.numpy)
        expected = EXACTNESS[name][0](x.astype(Wide)).astype(dtype.numpy)
    result = compiled(name, dtype, x)
    tiny = np.finfo(dtype.numpy).tiny
    expected = np.where(np.abs(expected) < tiny, np.copysign(0.0, expected), expected)
    result = np.where(np.abs(result) < tiny, np.copysign(0.0, result), result)
    np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(dtype.numpy).eps)
    if name not in ("cos", "log"):  # the log of numbers that are not normal is -inf
        keeps_sign = (expected == 0) | (x == 0) & ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(result[keeps_sign]), np.signbit(expected[keeps_sign]))


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", ["exp", "expm1"])
def test_the_last_number_whose_exponential_is_finite(name: str, dtype: DType):
    kind = dtype.numpy.type
    last = kind(np.log(np.finfo(kind).max.astype(Wide)))
    x = np.array([np.nextafter(last, kind(0)), last, np.nextafter(last, kind(math.inf))])
    with np.errstate(over="ignore"):
        expected = EXACTNESS[name][0](x.astype(Wide)).astype(kind)
    np.testing.assert_allclose(compiled(name, dtype, x), expected, rtol=4 * np.finfo(kind).eps)


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sin", "tan", "atan", "asin", "sinh"])
def test_the_smallest_normal_numbers_stay(name: str, dtype: DType):
    x = np.finfo(dtype.numpy).tiny * np.array([1, 1.5, 2, 3, 5, -1, -1.5, -2.5]).astype(dtype.numpy)
    np.testing.assert_array_equal(compiled(name, dtype, x), x)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_large_angles(name: str):
    x = np.exp(np.random.default_rng(0).uniform(math.log(1e3), math.log(2.0**45), COUNT))
    multiples = np.arange(1, 2000) * (math.pi / 2)  # the doubles next to zeros and poles
    oracle = EXACTNESS[name][0]
    for angles, bound in ((x, 3.5), (multiples, 3.5)):
        assert (
            errors(compiled(name, dtypes.float64, angles), oracle(angles.astype(Wide))).max() <= bound + SLACK
        )
        single = angles.astype(np.float32)
        assert errors(compiled(name, dtypes.float32, single), oracle(single.astype(Wide))).max() <= 0.6


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles(name: str, dtype: DType):
    largest = float(np.finfo(dtype.numpy).max)
    draws = np.random.default_rng(0).uniform(math.log(2.0**44), math.log(largest), COUNT)
    x = np.concatenate([np.exp(draws), [largest, 2.0**45], [1.0] * 40])  # vectors of one sort, and of both
    x[1::2] *= -1
    x = x[np.abs(x) <= largest].astype(dtype.numpy)
    with np.errstate(invalid="ignore"):
        error = errors(compiled(name, dtype, x), EXACTNESS[name][0](x.astype(Wide)))
    assert error.max() <= (0.6 if dtype is dtypes.float32 else 2.6 + SLACK)


@pytest.mark.parametrize(("name", "oracle", "most"), [("erf", math.erf, 1.5), ("erfc", math.erfc, 1.2)])
def test_error_functions_of_float32(name: str, oracle: Callable[[float], float], most: float):
    x = sample(-6, 9).astype(np.float32)
    exact = np.array([oracle(float(v)) for v in x])
    assert errors(compiled(name, dtypes.float32, x), exact.astype(Wide)).max() <= most


def test_error_function_of_float32_at_its_ends():
    ends = np.array([1, 3.9], np.float32)
    inside = np.array([0.0, 4, 9, 3e38, math.inf], np.float32)
    x = np.concatenate([inside, ends, np.nextafter(ends, 0), np.nextafter(ends, 9)])
    found = compiled("erf", dtypes.float32, x)
    np.testing.assert_array_equal(compiled("erf", dtypes.float32, -x), -found)
    np.testing.assert_array_equal(found[: inside.size], [0, 1, 1, 1, 1])
    assert found.max() == 1
    others = compiled("erf", dtypes.float32, np.array([-0.0, math.nan], np.float32))
    assert np.signbit(others[0]) and np.isnan(others[1])


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 3), (0.99, 1.01), (1.99, 2.01), (0, 100), (-20, 0), (0, 1e30), (-1e6, 0)]
)
def test_gamma_functions_of_float32(name: str, low: float, high: float):
    x = np.random.default_rng(0).uniform(low, high, COUNT).astype(np.float32)
    with np.errstate(all="ignore"):
        exact = getattr(scipy.special, {"lgamma": "gammaln", "digamma": "digamma"}[name])(
            x.astype(np.float64)
        )
    assert errors(compiled(name, dtypes.float32, x), exact.astype(Wide)).max() <= 0.6


def test_gamma_functions_have_no_float64():
    with pytest.raises(scalar.Unsupported, match="not exact enough"):
        scalars_special.lgamma(scalar.leaf(0, dtypes.float64))


def test_log_gamma_of_tiny_negative_numbers():
    """There gamma(x) is 1 / x, and what the reflection divides by is too small for a float64."""
    x = np.array([-1e-100, -1e-154, -1e-200, -1e-307])
    np.testing.assert_allclose(special_functions.lgamma(x), -np.log(-x), rtol=1e-15)


PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def exact_erfc(x: float) -> Decimal:
    """Taylor's series, or for large x the continued fraction DLMF 7.9.1."""
    with localcontext() as context:
        context.prec = 60
        value = Decimal(x)
        if x >= 3:
            fraction = Decimal(0)
            for k in range(400, 0, -1):
                fraction = Decimal(k) / 2 / (value + fraction)
            return (-value * value).exp() / PI.sqrt() / (value + fraction)
        total, term, k = Decimal(0), value, 0
        while abs(term) > Decimal("1e-50"):
            total += term / (2 * k + 1)
            k += 1
            term = -term * value * value / k
        return 1 - 2 / PI.sqrt() * total


def relative(result: Array, exact: list[Decimal]) -> float:
    return max(float(abs((Decimal(float(r)) - e) / e)) for r, e in zip(result, exact))


def test_error_functions_of_float64():
    random = np.random.default_rng(0)
    x = np.concatenate(
        [random.uniform(-6, 26, 40), random.uniform(0.4, 5, 40), random.uniform(0.46, 0.48, 10)]
    )
    complements = [exact_erfc(v) for v in x]
    assert relative(compiled("erfc", dtypes.float64, x), complements) < 1e-15
    assert relative(compiled("erf", dtypes.float64, x), [1 - c for c in complements]) < 1e-15


def test_powers():
    random = np.random.default_rng(0)
    x = np.exp(random.uniform(-40, 40, COUNT)).astype(np.float32)
    y = (random.uniform(-80, 80, COUNT) / np.log(x)).astype(np.float32)
    exact = np.power(x.astype(Wide), y.astype(Wide))
    assert errors(compiled("power", dtypes.float32, x, y), exact).max() <= 0.6
    base = np.concatenate([np.exp(random.uniform(-50, 50, 60)), random.uniform(0.5, 2, 60)])
    exponent = random.uniform(-690, 690, 120) / np.log(base)
    with localcontext() as context:
        context.prec = 60
        powers = [(Decimal(float(b)) * Decimal(float(a)).ln()).exp() for a, b in zip(base, exponent)]
    assert relative(compiled("power", dtypes.float64, base, exponent), powers) < 1e-15


def test_powers_at_ends_of_the_range():
    edges = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, math.inf, -math.inf, math.nan])
    x, y = (a.ravel() for a in np.meshgrid(edges, edges))
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    for dtype in (dtypes.float32, dtypes.float64):
        result = compiled("power", dtype, x.astype(dtype.numpy), y.astype(dtype.numpy))
        np.testing.assert_allclose(result, expected.astype(dtype.numpy), rtol=1e-6)
        np.testing.assert_array_equal(np.signbit(result[expected == 0]), np.signbit(expected[expected == 0]))


def test_powers_of_float64_that_are_just_too_large():
    """y log(x) in one part is not above the largest exponent, in two parts it is."""
    largest, above = np.finfo(np.float64).max, np.nextafter(1.0, 2.0)
    x = np.array([largest, -largest, largest, 0.5 * largest])
    y = np.array([above, above, 1.0, above])
    found = compiled("power", dtypes.float64, x, y)
    np.testing.assert_array_equal(found[:2], [math.inf, math.nan])
    np.testing.assert_allclose(found[2:], x[2:], rtol=1e-12)


def test_angles_of_points():
    edges = np.array([0.0, -0.0, math.inf, -math.inf, 1.0, -2.0, 1e-300, 1e300])
    y, x = (a.ravel() for a in np.meshgrid(edges, edges))
    np.testing.assert_allclose(compiled("atan2", dtypes.float64, y, x), np.arctan2(y, x), rtol=1e-15)
    random = np.random.default_rng(0)
    y, x = random.normal(size=COUNT), random.normal(size=COUNT)
    exact = np.arctan2(y.astype(Wide), x.astype(Wide))
    assert errors(compiled("atan2", dtypes.float64, y, x), exact).max() <= 2.6 + SLACK


@pytest.mark.parametrize("name", [*EXACTNESS, "erf", "erfc"])
def test_halves_are_computed_in_float32(name: str):
    for dtype in (dtypes.float16, dtypes.bfloat16):
        x = np.array([0.5, 1.0, 0.25, math.nan]).astype(dtype.numpy)
        with np.errstate(all="ignore"):
            expected = compiled(name, dtypes.float32, x.astype(np.float32)).astype(dtype.numpy)
        np.testing.assert_array_equal(
            compiled(name, dtype, x).astype(np.float32), expected.astype(np.float32)
        )


def test_integers_have_no_such_functions():
    with pytest.raises(scalar.Unsupported):
        scalar_math.exp(scalar.leaf(0, dtypes.int32))


MINIMAX = {
    "exp 32": (scalars_formats.F32.exp, minimax.exponential(5), -26),
    "exp 64": (scalars_formats.F64.exp, minimax.exponential(11), -61),
    "log 32": (scalar_math._LOG_32, minimax.LOG_32, -30),
    "log 64": (scalar_math._LOG_64, minimax.LOG_64, -58),
    "log rest": (scalar_math._LOG_REST, minimax.LOG_REST, -51.5),
    "sin": (scalars_angles._SIN, minimax.sine(6), -57.5),
    "cos": (scalars_angles._COS, minimax.cosine(6), -63),
    "sin short": (scalars_angles._SIN_SHORT, minimax.sine(4), -37),
    "cos short": (scalars_angles._COS_SHORT, minimax.cosine(4), -42),
    "atan": (scalars_angles._ATAN, minimax.arctangent(11), -58.5),
    "atan short": (scalars_angles._ATAN_SHORT, minimax.arctangent(5), -30),
    "asin": (scalars_angles._ASIN, minimax.arcsine(12), -55),
    "asin short": (scalars_angles._ASIN_SHORT, minimax.arcsine(5), -27),
    "sinh": (scalar_math._SINH, minimax.hyperbolic_sine(7), -62.5),
    "sinh short": (scalar_math._SINH_SHORT, minimax.hyperbolic_sine(4), -33.5),
    "erf small": (scalars_special._ERF_SMALL, minimax.ERF_SMALL, -29.5),
    "erf large": (scalars_special._ERF_LARGE, minimax.ERF_LARGE, -24.5),
}


@pytest.mark.parametrize("name", MINIMAX)
def test_coefficients_are_minimax(name: str):
    coefficients, problem, bits = MINIMAX[name]
    found, error = problem.coefficients()
    # How far the exchange of nodes goes moves the smaller coefficients a little.
    np.testing.assert_allclose(coefficients, [float(c) for c in found], rtol=2e-3)
    assert math.log2(error) <= bits
