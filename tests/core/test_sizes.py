"""Dimensions: every operation on sizes, evaluated, is the operation on integers."""

from __future__ import annotations

import operator
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tahr.core import sizes
from tahr.core.sizes import UNKNOWN, Size, broadcast, evaluate, least, maximum, minimum, symbol

S: Any = symbol("s")
T: Any = symbol("t")

# An expression is a function of the values of s and t that works on sizes and on integers alike.
values = st.tuples(st.integers(2, 30), st.integers(2, 30))


def _expressions() -> st.SearchStrategy[tuple[Any, Any]]:
    """Pairs of a polynomial and the function that computes it from two integers."""
    leaves = st.one_of(
        st.integers(-5, 9).map(lambda n: (n, lambda s, t: n)),
        st.just((S, lambda s, t: s)),
        st.just((T, lambda s, t: t)),
    )

    def join(pair):
        (a, f), (b, g), op = pair
        return op(a, b), lambda s, t: op(f(s, t), g(s, t))

    operators = st.sampled_from([operator.add, operator.sub, operator.mul])
    return st.recursive(leaves, lambda inner: st.tuples(inner, inner, operators).map(join), max_leaves=8)


def _value(size: Any, s: int, t: int) -> int:
    return evaluate(size, {"s": s, "t": t})


@given(_expressions(), values)
def test_polynomials(expression, at):
    size, function = expression
    assert _value(size, *at) == function(*at)


@given(_expressions(), _expressions(), values)
def test_functions_of_polynomials(left, right, at):
    (a, f), (b, g) = left, right
    x, y = f(*at), g(*at)
    assert _value(maximum(a, b), *at) == max(x, y)
    assert _value(minimum(a, b), *at) == min(x, y)
    # A divisor that is zero for these values is a mistake of the run, not of the expression.
    if y and not (isinstance(b, int) and b == 0):
        assert _value(a // b, *at) == x // y
        assert _value(a % b, *at) == x % y


@given(_expressions(), values)
def test_lower_bounds(expression, at):
    size, function = expression
    bound = least(size)
    assert bound is None or bound <= function(*at)
    for derived in (size // 3, size % 3, maximum(size, 1), minimum(size, T)):
        bound = least(derived)
        assert bound is None or bound <= _value(derived, *at)


@given(_expressions(), _expressions())
def test_equal_polynomials_are_equal(left, right):
    (a, _), (b, _) = left, right
    assert (a + b) * (a - b) == a * a - b * b
    assert hash(a * b + a) == hash(a * (b + 1))
    assert a - a == 0 and type(a - a) is int


@given(st.integers(1, 6), st.integers(1, 6))
def test_broadcasting(x, y):
    """What is broadcast at the level of sizes is what NumPy makes of the numbers."""
    for a, b in ((S, x), (x, S), (S, S), (S, T), (S * 2, T)):
        at = {"s": 3, "t": 3}
        left, right = evaluate(a, at), evaluate(b, at)
        if left != right and 1 not in (left, right):
            continue
        joined: Any = broadcast(a, b)
        assert evaluate(joined, at) == max(left, right)


def test_exact_division():
    assert (6 * S) // 3 == 2 * S and (6 * S) % 3 == 0
    assert (S * T) // S == T and (S * S * T + S) // S == S * T + 1
    assert S // S == 1 and S % S == 0
    assert (S + T) // (S + T) == 1
    assert isinstance(S // 2, Size) and isinstance(7 // S, Size) and isinstance(7 % S, Size)


def test_extremes_that_are_known():
    assert maximum(S, 1) is S and maximum(1, S) is S and minimum(S, 1) == 1
    assert maximum(S, S + 3) == S + 3 and minimum(S, S + 3) is S
    assert maximum(3, 7) == 7 and minimum(3, 7) == 3


def test_bounds():
    assert (least(S), least(S * T + 1), least(3 * S - 1), least(1 - S)) == (2, 5, 5, None)
    assert least(S // 2) == 1 and least(S % 2) == 0 and least(UNKNOWN) is None and least(4) == 4
    assert sizes.surely_above_one(S) and not sizes.surely_above_one(S - 1) and not sizes.surely_above_one(1)


def test_broadcast_of_what_is_partly_known():
    assert broadcast(S, 1) is S and broadcast(1, S) is S and broadcast(UNKNOWN, 1) is UNKNOWN
    assert broadcast(UNKNOWN, 5) == 5 and broadcast(S, UNKNOWN) is S
    assert broadcast(UNKNOWN, UNKNOWN) is UNKNOWN
    with pytest.raises(ValueError, match="2 and 3 do not broadcast"):
        broadcast(2, 3)


def test_the_unknown_absorbs():
    for result in (UNKNOWN + 1, 1 - UNKNOWN, S * UNKNOWN, UNKNOWN // 2, 2 % UNKNOWN, S - UNKNOWN, -UNKNOWN):
        assert result is UNKNOWN
    assert maximum(S, UNKNOWN) is UNKNOWN and minimum(UNKNOWN, 0) is UNKNOWN
    assert not sizes.surely_equal(UNKNOWN, UNKNOWN) and sizes.surely_equal(S + 1, 1 + S)
    assert pickle.loads(pickle.dumps(UNKNOWN)) is UNKNOWN


def test_text():
    assert [str(d) for d in (S, 2 * S, S - 1, S * T, S // 3, UNKNOWN)] == [
        "s",
        "2*s",
        "s-1",
        "s*t",
        "floordiv(s, 3)",
        "?",
    ]
