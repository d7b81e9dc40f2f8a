"""Minimax polynomials by Remez's exchange algorithm in 50 decimals: `tahr.ops.scalar_math` has their coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext

Function = Callable[[Decimal], Decimal]

PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def solve(rows: list[list[Decimal]]) -> list[Decimal]:
    """The solution of linear equations, whose right sides are the last column, by Gauss's elimination."""
    n = len(rows)
    for i in range(n):
        pivot = max(range(i, n), key=lambda j: abs(rows[j][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for j in range(i + 1, n):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [b - factor * a for a, b in zip(rows[i], rows[j])]
    solution = [Decimal(0)] * n
    for i in reversed(range(n)):
        known = sum((rows[i][k] * solution[k] for k in range(i + 1, n)), Decimal(0))
        solution[i] = (rows[i][n] - known) / rows[i][i]
    return solution


def horner(coefficients: list[Decimal], x: Decimal) -> Decimal:
    """The polynomial with these coefficients, lowest power first."""
    result = Decimal(0)
    for coefficient in reversed(coefficients):
        result = result * x + coefficient
    return result


@dataclass(frozen=True)
class Problem:
    """What a polynomial approximates.

    Attributes:
        function: of the polynomial's variable.
        weight: of the error there.
        low, high: the interval.
        terms: the number of coefficients.
    """

    function: Function
    weight: Function
    low: Decimal
    high: Decimal
    terms: int

    def nodes(self, count: int) -> list[Decimal]:
        """The extrema of a Chebyshev polynomial, moved to the interval."""
        inner = [Decimal(-math.cos(math.pi * i / (count - 1))) for i in range(1, count - 1)]
        middle, radius = (self.low + self.high) / 2, (self.high - self.low) / 2
        return [self.low, *(middle + radius * x for x in inner), self.high]

    def coefficients(self, points: int = 300) -> tuple[list[Decimal], Decimal]:
        """The coefficients, lowest power first, and the largest weighted error.

        Args:
            points: where the error is looked at to exchange nodes.
        """
        with localcontext() as context:
            context.prec = 50
            grid = self.nodes(points)
            values, weights = [self.function(x) for x in grid], [self.weight(x) for x in grid]
            nodes = self.nodes(self.terms + 1)
            while True:
                *found, level = solve([self._equation(i, x) for i, x in enumerate(nodes)])
                errors = [(v - horner(found, x)) * w for x, v, w in zip(grid, values, weights)]
                largest = max(map(abs, errors))
                exchanged = [grid[i] for i in self._extrema(errors)]
                if largest < abs(level) * Decimal("1.001") or exchanged == nodes:
                    return found, largest
                nodes = exchanged

    def _equation(self, i: int, x: Decimal) -> list[Decimal]:
        """At node i the weighted error is plus or minus a level, the last unknown."""
        powers = [x**k if k else Decimal(1) for k in range(self.terms)]
        return [*powers, (-1) ** i / self.weight(x), self.function(x)]

    def _extrema(self, errors: list[Decimal]) -> list[int]:
        """Where the error is largest between changes of its sign: one place more than there are coefficients."""
        runs: list[list[int]] = []
        for i, error in enumerate(errors):
            if runs and (errors[runs[-1][-1]] > 0) == (error > 0):
                runs[-1].append(i)
            else:
                runs.append([i])
        places = [max(run, key=lambda i: abs(errors[i])) for run in runs]
        while len(places) > self.terms + 1:
            places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
        return places


# ---------------------------------------------------------------- the functions


def series(coefficient: Callable[[int], Decimal], count: int) -> Function:
    """A power series."""

    def function(x: Decimal) -> Decimal:
        return horner([coefficient(k) for k in range(count)], x)

    return function


def factorial(n: int) -> Decimal:
    return Decimal(math.factorial(n))


def log_rest(f: Decimal) -> Decimal:
    """(log(1 + f) - f + f^2 / 2) / f^3."""
    if abs(f) < Decimal("0.05"):
        return series(lambda k: Decimal((-1) ** k) / (k + 3), 30)(f)
    return ((1 + f).ln() - f + f * f / 2) / f**3


def arcsine_term(k: int) -> Decimal:
    """The coefficient of x^(2k + 3) in asin(x)."""
    return Decimal(math.comb(2 * k + 2, k + 1)) / 4 ** (k + 1) / (2 * k + 3)


def erf_over(square: Decimal) -> Decimal:
    """erf(x) / x in x^2."""
    total, term, k = Decimal(0), Decimal(1), 0
    while abs(term) > Decimal("1e-45"):
        total += term / (2 * k + 1)
        k += 1
        term = -term * square / k
    return 2 / PI.sqrt() * total


def complement(x: Decimal) -> Decimal:
    """erfc(x)."""
    return 1 - x * erf_over(x * x)


LN2, ROOT2 = Decimal(2).ln(), Decimal(2).sqrt()
SLIGHTLY_MORE = Decimal("1.001")
HALF_LN2 = LN2 / 2 * SLIGHTLY_MORE
LOG_SQUARE = (3 - 2 * ROOT2) ** 2
ANGLE_SQUARE = (PI / 4 * SLIGHTLY_MORE) ** 2
TANGENT_SQUARE = (ROOT2 - 1) ** 2 * SLIGHTLY_MORE
QUARTER = Decimal("0.2501")


def exponential(terms: int) -> Problem:
    return Problem(
        series(lambda k: 1 / factorial(k + 2), 28),
        lambda x: abs(x) + Decimal("0.02"),
        -HALF_LN2,
        HALF_LN2,
        terms,
    )


def squares(
    coefficient: Callable[[int], Decimal], count: int, high: Decimal, floor: Decimal, terms: int
) -> Problem:
    """A series in x^2, with the error weighed by x^2: for what is added to the leading term of an odd function."""
    return Problem(series(coefficient, count), lambda z: z + floor, Decimal(0), high, terms)


def sine(terms: int) -> Problem:
    return squares(
        lambda k: (-1) ** (k + 1) / factorial(2 * k + 3), 20, ANGLE_SQUARE, ANGLE_SQUARE / 30, terms
    )


def cosine(terms: int) -> Problem:
    floor = ANGLE_SQUARE**2 / 30
    function = series(lambda k: (-1) ** k / factorial(2 * k + 4), 20)
    return Problem(function, lambda z: z * z + floor, Decimal(0), ANGLE_SQUARE, terms)


def arctangent(terms: int) -> Problem:
    return squares(
        lambda k: Decimal((-1) ** (k + 1)) / (2 * k + 3), 60, TANGENT_SQUARE, TANGENT_SQUARE / 30, terms
    )


def arcsine(terms: int) -> Problem:
    return squares(arcsine_term, 80, QUARTER, Decimal("0.25") / 30, terms)


def hyperbolic_sine(terms: int) -> Problem:
    return squares(lambda k: 1 / factorial(2 * k + 3), 15, SLIGHTLY_MORE, Decimal(1) / 30, terms)


LOG_32 = Problem(log_rest, lambda f: f * f + Decimal("0.002"), 1 / ROOT2 - 1, ROOT2 - 1, 9)
LOG_64 = squares(lambda k: Decimal(2) / (2 * k + 3), 40, LOG_SQUARE, LOG_SQUARE / 50, 7)
LOG_REST = Problem(
    series(lambda k: Decimal(2) / (2 * k + 5), 40), lambda z: Decimal(1), Decimal(0), LOG_SQUARE, 7
)
ERF_SMALL = Problem(lambda z: erf_over(z) - 1, lambda z: Decimal(1), Decimal(0), Decimal(1), 7)
ERF_LARGE = Problem(
    lambda x: 1 - complement(x + Decimal("2.5")),
    lambda x: Decimal(1),
    1 - Decimal("2.5"),
    Decimal("3.9") - Decimal("2.5"),
    13,
)
