"""The scalar language: nodes, simplification, and what the primitives mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tahr.core import dtypes, scalar
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar, constant, leaf

F32, F64, I32, U8 = dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8
X, Y = leaf(0, F32), leaf(1, F32)
M, N = leaf(0, I32), leaf(1, I32)
P = leaf(0, dtypes.bool_)


def value(expression: Scalar, *arrays: object) -> np.ndarray:
    return scalar.evaluate([expression], [np.asarray(a) for a in arrays])[0]


# ---------------------------------------------------------------- nodes


def test_equal_expressions_are_the_same_object():
    assert X * Y + 1 is leaf(0, F32) * leaf(1, F32) + 1.0
    assert X * Y is not Y * X
    assert leaf(0, F32) is not leaf(0, F64)


def test_zeros_of_different_signs_are_different_constants():
    assert constant(0.0, F32) is not constant(-0.0, F32)
    assert constant(math.nan, F32) is constant(-math.nan, F32)
    assert constant(1, F32) is constant(1.0, F32)
    assert constant(1, I32) is not constant(True, dtypes.bool_)


def test_constants_are_rounded_and_wrap_around():
    assert constant(0.1, F32).value == np.float32(0.1)
    assert constant(0.1, dtypes.float16).value == np.float16(0.1)
    assert constant(300, U8).value == 44
    assert constant(-1, dtypes.uint64).value == 2**64 - 1
    assert constant(1e400, F64).value == math.inf


def test_operands_have_one_dtype():
    with pytest.raises(TypeError, match="float32 and int32"):
        scalar.add(X, N)
    with pytest.raises(scalar.Unsupported, match="sqrt of int32"):
        scalar.sqrt(M)
    with pytest.raises(scalar.Unsupported, match="and of float32"):
        scalar.and_(X, Y)
    with pytest.raises(scalar.Unsupported, match="add of bool"):
        scalar.add(P, P)
    with pytest.raises(scalar.Unsupported, match="no complex64"):
        leaf(0, dtypes.complex64)
    with pytest.raises(scalar.Unsupported, match="bits as int32"):
        scalar.bitcast(leaf(0, F64), I32)


def test_an_expression_has_no_truth_value():
    with pytest.raises(TypeError, match="select"):
        bool(X < Y)


def test_order_has_arguments_first_and_everything_once():
    shared = X * Y
    order = scalar.ordered([shared + shared, shared - X])
    assert len(order) == len(set(order)) == 5
    for i, node in enumerate(order):
        assert all(a in order[:i] for a in node.args)


def test_order_leaves_out_what_is_known():
    shared = X * Y
    assert scalar.ordered([shared + 1], {shared}) == [constant(1, F32), shared + 1]


def test_a_long_chain_is_no_deep_recursion():
    chain = X
    for _ in range(5000):
        chain = chain * Y
    assert len(scalar.ordered([chain])) == 5002


def test_substitution():
    (result,) = scalar.substitute([X * Y + X], {0: Y + 1})
    assert result is (Y + 1) * Y + (Y + 1)


def test_substitution_simplifies():
    assert scalar.substitute([X * Y], {1: constant(1, F32)}) == [X]


def test_repr():
    assert repr(scalar.convert(X * 2.0, I32)) == "convert:int32(mul(x0, 2.0))"


# ---------------------------------------------------------------- simplification


@pytest.mark.parametrize(
    ("expression", "simple"),
    [
        (X * 1, X),
        (1 * X, X),
        (X / 1, X),
        (X - 0, X),
        (X + -0.0, X),
        (scalar.neg(scalar.neg(X)), X),
        (M + 0, M),
        (M * 1, M),
        (M | 0, M),
        (M & -1, M),
        (M ^ 0, M),
        (M << 0, M),
        (M & M, M),
        (~~P, P),
        (scalar.maximum(X, X), X),
        (scalar.select(P, X, X), X),
        (scalar.select(~P, X, Y), scalar.select(P, Y, X)),
        (scalar.select(constant(True, dtypes.bool_), X, Y), X),
        (scalar.select(constant(False, dtypes.bool_), X, Y), Y),
        (scalar.convert(X, F32), X),
        (scalar.bitcast(scalar.bitcast(X, I32), F32), X),
        (scalar.relabel(scalar.relabel(X, dtypes.float16), F32), X),
        (constant(2, F32) * 3 + 1, constant(7, F32)),
        (scalar.sqrt(constant(2, F64)), constant(math.sqrt(2), F64)),
        (constant(255, U8) + 1, constant(0, U8)),
    ],
)
def test_simplification(expression: Scalar, simple: Scalar):
    assert expression is simple


@pytest.mark.parametrize("expression", [X + 0.0, X - -0.0, X * 0, X - X, X / X, scalar.eq(X, X)])
def test_what_differs_for_some_float_stays(expression: Scalar):
    """-0.0 + 0.0 is 0.0; NaN and infinities times 0, less themselves and by themselves are NaN."""
    assert expression.args


def test_rounding_to_a_half_stays():
    half = scalar.convert(scalar.convert(X, dtypes.float16), F32)
    assert half is not X
    assert value(half, np.float32(0.1)) == np.float32(np.float16(0.1))


# ---------------------------------------------------------------- meaning


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (X + Y, [4.5, -1.0]),
        (X - Y, [-1.5, -4.0]),
        (X * Y, [4.5, -3.75]),
        (X / Y, [0.5, np.float32(-2.5) / np.float32(1.5)]),
        (-X, [-1.5, 2.5]),
        (abs(X), [1.5, 2.5]),
        (scalar.fma(X, Y, 1), [5.5, -2.75]),
        (scalar.muladd(X, Y, 1), [5.5, -2.75]),
        (scalar.minimum(X, Y), [1.5, -2.5]),
        (scalar.maximum(X, Y), [3.0, 1.5]),
        (scalar.floor(X), [1, -3]),
        (scalar.ceil(X), [2, -2]),
        (scalar.trunc(X), [1, -2]),
        (scalar.rint(X), [2, -2]),
        (scalar.sqrt(Y), [np.sqrt(np.float32(3)), np.sqrt(np.float32(1.5))]),
        (scalar.copysign(X, -Y), [-1.5, -2.5]),
        (X < Y, [True, True]),
        (X <= 1.5, [True, True]),
        (X > 0, [True, False]),
        (X >= 2, [False, False]),
        (scalar.eq(X, 1.5), [True, False]),
        (scalar.ne(X, 1.5), [False, True]),
        (scalar.select(X < 0, Y, X), [1.5, 1.5]),
        (scalar.bitcast(X, I32), [0x3FC00000, 0xC0200000 - 2**32]),
        (scalar.convert(X, I32), [1, -2]),
        (2 - X, [0.5, 4.5]),
        (3 / Y, [1.0, 2.0]),
    ],
)
def test_floats(expression: Scalar, expected: list[float]):
    result = value(expression, np.array([1.5, -2.5], np.float32), np.array([3.0, 1.5], np.float32))
    assert result.dtype == expression.dtype.numpy
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (scalar.quotient(M, N), [-3, 3, 0, -(2**31)]),
        (scalar.remainder(M, N), [-1, 1, 0, 0]),
        (M & 5, [1, 5, 1, 0]),
        (M | 5, [-3, 7, 5, 5 - 2**31]),
        (M ^ 5, [-4, 2, 4, 5 - 2**31]),
        (~M, [6, -8, -2, 2**31 - 1]),
        (M << 1, [-14, 14, 2, 0]),
        (M >> 1, [-4, 3, 0, -(2**30)]),
        (abs(M), [7, 7, 1, -(2**31)]),
        (M * M, [49, 49, 1, 0]),
    ],
)
def test_integers(expression: Scalar, expected: list[int]):
    result = value(expression, np.array([-7, 7, 1, -(2**31)], np.int32), np.array([2, 2, 0, -1], np.int32))
    np.testing.assert_array_equal(result, expected)


def test_shift_of_unsigned_integers_enters_zeros():
    assert value(leaf(0, U8) >> 1, np.uint8(0x80)) == 0x40


def test_extrema_keep_nan():
    nan = np.float32(math.nan)
    for function in (scalar.minimum, scalar.maximum):
        assert np.isnan(value(function(X, Y), nan, np.float32(1))).all()
        assert np.isnan(value(function(X, Y), np.float32(1), nan)).all()


def test_fma_rounds_once():
    x = 1 + 2.0**-30
    assert value(scalar.fma(leaf(0, F64), leaf(0, F64), constant(-1, F64)), x) == 2.0**-29 + 2.0**-60


@pytest.mark.parametrize(
    ("source", "target", "given", "expected"),
    [
        (F32, I32, [1.9, -1.9, math.nan, 3e9, -3e9], [1, -1, -(2**31), -(2**31), -(2**31)]),
        (F64, dtypes.int64, [2.0**62, math.inf], [2**62, -(2**63)]),
        (F64, dtypes.uint64, [2.0**63, 1.5], [2**63, 1]),
        (F32, dtypes.int8, [257.0, -1.0], [1, -1]),
        (I32, U8, [257, -1], [1, 255]),
        (U8, I32, [255], [255]),
        (dtypes.bool_, F32, [True, False], [1.0, 0.0]),
        (F32, dtypes.bool_, [0.0, -0.0, 0.5, math.nan], [False, False, True, True]),
        (F64, dtypes.float16, [1e6, 0.1], [math.inf, float(np.float16(0.1))]),
        (dtypes.bfloat16, I32, [3.0], [3]),
    ],
)
def test_casts(source: DType, target: DType, given: list[float], expected: list[float]):
    result = value(scalar.convert(leaf(0, source), target), np.array(given).astype(source.numpy))
    assert result.dtype == target.numpy
    np.testing.assert_array_equal(result, expected)


def test_halves_are_rounded_at_the_end():
    x = leaf(0, dtypes.float16)
    # In float16 the product would be infinite.
    assert value(x * x / x, np.float16(1000.0)) == 1000.0
