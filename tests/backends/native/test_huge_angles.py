"""Sine, cosine and tangent of huge float64 angles against decimals of 700 digits, also where they are all but zero."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext

import numpy as np
import pytest

from tahr.backends.native import target
from tahr.core import dtypes, scalar
from tahr.core.opdef import Array
from tahr.ops import scalars_angles
from tests.backends.native.loop import Loop

pytestmark = pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")

DIGITS = 700  # the largest doubles have 309 before the point, and quotients by pi / 2 about 20 that are zero behind it


@pytest.fixture(scope="module")
def pi() -> Iterator[Decimal]:
    """By the means of Gauss and Legendre, in a context of so many digits."""
    with localcontext() as context:
        context.prec = DIGITS
        a, b, t, power = Decimal(1), 1 / Decimal(2).sqrt(), Decimal("0.25"), 1
        while abs(a - b) > Decimal(10) ** (-DIGITS // 2):
            mean = (a + b) / 2
            b, t, power = (a * b).sqrt(), t - power * (a - mean) ** 2, 2 * power
            a = mean
        yield (a + b) ** 2 / (4 * t)


def exact(name: str, x: float, pi: Decimal) -> Decimal:
    """A function of an angle, to 50 digits."""
    quarters = (Decimal(x) / (pi / 2)).to_integral_value()
    rest = Decimal(x) - quarters * (pi / 2)
    series = [Decimal(0), Decimal(0)]  # the even powers are the cosine's, the odd ones the sine's
    term = Decimal(1)
    for k in range(50):
        series[k % 2] += -term if k % 4 > 1 else term
        term = term * rest / (k + 1)
    cosine, sine = series
    for _ in range(int(quarters) % 4):
        sine, cosine = cosine, -sine
    return {"sin": sine, "cos": cosine, "tan": sine / cosine}[name]


def nearest_to_zeros(pi: Decimal) -> list[float]:
    """For some exponents, the doubles m 2^e nearest to multiples of pi / 2.

    m are denominators of the continued fraction of 2^(e + 1) / pi.
    """
    found: list[float] = []
    for exponent in range(-7, 972, 7):
        quarters = Decimal(2) ** (exponent + 1) / pi
        before, m = 0, 1
        while m < 2**53:
            found.append(m * 2.0**exponent)
            quarters = 1 / (quarters - int(quarters))
            before, m = m, int(quarters) * m + before
    return [x for x in found if x > 2.0**45]


def largest_error(name: str, angles: Array, pi: Decimal, width: int | None = None) -> float:
    """The largest relative one."""
    function = getattr(scalars_angles, name)(scalar.leaf(0, dtypes.float64))
    (found,) = Loop([function], [dtypes.float64], width)(angles)
    wanted = (exact(name, float(x), pi) for x in angles)
    return max(abs(float(Decimal(float(value)) / w - 1)) for value, w in zip(found, wanted))


@pytest.mark.parametrize("width", [None, 8])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles(name: str, width: int | None, pi: Decimal):
    random = np.random.default_rng(0)
    angles = random.uniform(1, 2, 200) * 2.0 ** random.integers(45, 1024, 200) * random.choice([-1, 1], 200)
    ends = [2.0**45, np.nextafter(2.0**45, np.inf), np.finfo(float).max, -np.finfo(float).max]
    assert largest_error(name, np.array([*angles, *ends]), pi, width) < 5e-16


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles_next_to_multiples_of_a_quarter(name: str, pi: Decimal):
    nearest = 6381956970095103 * 2.0**797  # of all doubles
    assert abs(exact("cos", nearest, pi)) < Decimal("4.7e-19")
    angles = nearest_to_zeros(pi)
    assert largest_error(name, np.array([nearest, -nearest, *angles]), pi) < 5e-16
