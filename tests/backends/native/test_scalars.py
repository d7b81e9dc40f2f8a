"""Expressions as machine code: every primitive against its meaning in NumPy, for elements and for vectors."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tahr.backends.native import ir, scalars, target
from tahr.core import dtypes, scalar, scalar_meaning
from tahr.core.dtypes import DType
from tahr.core.scalar import Scalar, Unsupported, leaf
from tahr.ops import scalars_arithmetic
from tests.backends.native.loop import Loop

SUPPORTED = sorted(scalar.SUPPORTED, key=lambda dtype: dtype.name)
FLOATS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -2.5,
    3.0,
    255.7,
    -128.9,
    1e4,
    65519.0,
    65520.0,
    1e-3,
    -(2.0**45),
    1e300,
    math.inf,
    -math.inf,
)
INTEGERS = (
    0,
    1,
    2,
    3,
    7,
    63,
    100,
    127,
    128,
    255,
    -1,
    -2,
    -7,
    -100,
    -127,
    -128,
    2**31 - 1,
    -(2**31),
    2**63 - 1,
)

# muladd may round twice, and NumPy has sines of its own.
INEXACT = ("fma", "muladd", "sin", "cos", "tan")
INTEGER_DTYPES = [dtype for dtype in SUPPORTED if dtype.is_integer]

UNARY = ("neg", "absolute", "sqrt", "floor", "ceil", "trunc", "rint", "not_")
BINARY = (
    "add", "sub", "mul", "div", "quotient", "remainder", "minimum", "maximum", "copysign",
    "lt", "le", "eq", "ne", "and_", "or_", "xor",
)  # fmt: skip


def values(dtype: DType) -> np.ndarray:
    with np.errstate(all="ignore"):
        if dtype.is_floating:
            return np.array([*FLOATS, math.nan]).astype(dtype.numpy)
        return np.array([x if x < 2**63 else x - 2**64 for x in INTEGERS]).astype(dtype.numpy)


@functools.cache
def inputs(dtype: DType) -> list[np.ndarray]:
    """All pairs of values, and a number of bits to shift by."""
    pairs = list(itertools.product(values(dtype), values(dtype)))
    x, y = (np.array(column, dtype.numpy) for column in zip(*pairs))
    width = 8 * dtype.size
    counts = np.arange(x.size) % width
    return [x, y, counts.astype(dtype.numpy)]


def expressions(dtype: DType) -> dict[str, Scalar]:
    """What can be said of elements of a dtype, by primitive."""
    x, y, count = (leaf(i, dtype) for i in range(3))
    calls: list[tuple[str, Callable[..., Scalar], tuple[Any, ...]]] = [
        *((name, getattr(scalar, name), (x,)) for name in UNARY),
        *((name, getattr(scalar, name), (x, y)) for name in BINARY),
        ("shift_left", scalar.shift_left, (x, count)),
        ("shift_right", scalar.shift_right, (x, count)),
        ("fma", scalar.fma, (x, y, x)),
        ("muladd", scalar.muladd, (x, y, x)),
        ("select", scalar.select, (scalar.eq(x, y), x, y)),
        ("fmod", scalar.seldom, ("fmod", scalar.lt(x, y), y, x, y)),
        ("maximum with a constant", scalar.maximum, (x, 1)),
        ("minimum of a constant", scalar.minimum, (1, x)),
        *((f"quotient by {divisor}", scalar.quotient, (x, divisor)) for divisor in (2, -1, 3)),
        *((f"remainder by {divisor}", scalar.remainder, (x, divisor)) for divisor in (2, -1, 3)),
        *((f"convert to {target.name}", scalar.convert, (x, target)) for target in SUPPORTED),
        *((f"bits as {target.name}", scalar.bitcast, (x, target)) for target in SUPPORTED),
    ]
    if dtype is dtypes.float64:
        is_huge = (scalar.absolute(x) >= 2.0**45) & (scalar.absolute(x) < math.inf)
        calls += [(name, scalar.seldom, (name, is_huge, y, x)) for name in ("sin", "cos", "tan")]
    found: dict[str, Scalar] = {}
    for name, function, args in calls:
        with contextlib.suppress(Unsupported):
            found[name] = function(*args)
    return found


def check(expression: Scalar, result: np.ndarray, expected: np.ndarray, exact: bool) -> None:
    assert result.dtype == expected.dtype == expression.dtype.numpy
    if not expression.dtype.is_floating:
        np.testing.assert_array_equal(result, expected)
        return
    found, wanted = (
        result.astype(np.float64),
        expected.astype(np.float64),
    )  # NumPy's tests know no NaN of bfloat16
    tolerance = 0 if exact else 1e-2 if expression.dtype.size == 2 else 1e-6
    np.testing.assert_allclose(found, wanted, rtol=tolerance)


@pytest.mark.parametrize("width", [None, 4, 16])
@pytest.mark.parametrize("dtype", SUPPORTED, ids=lambda dtype: dtype.name)
def test_primitives_mean_what_numpy_says(dtype: DType, width: int | None):
    made, arrays = expressions(dtype), inputs(dtype)
    results = Loop(list(made.values()), [dtype] * 3, width)(*arrays)
    for (name, expression), result in zip(made.items(), results):
        where = np.ones(arrays[0].shape, bool)
        if name.startswith("bits"):  # the bits of NaN are nobody's promise
            where = ~np.isnan(arrays[0].astype(np.float64))
        if dtype.is_floating and name == "convert to uint64":  # out of range: depends on the processor
            where = (arrays[0].astype(np.float64) >= 0) & np.isfinite(arrays[0].astype(np.float64))
        (expected,) = scalar.evaluate([expression], arrays)
        check(expression, result[where], expected[where], exact=name not in INEXACT)


@pytest.mark.parametrize("width", [None, 8])
@pytest.mark.parametrize("dtype", INTEGER_DTYPES, ids=lambda dtype: dtype.name)
def test_quotients_next_to_an_integer(dtype: DType, width: int | None):
    """Where a quotient in floating point would be rounded up, and at both ends of what there is."""
    random = np.random.default_rng(0)
    lowest, highest = int(dtype.min), int(dtype.max)
    sizes = [random.integers(1, min(2**bits, highest), 300).tolist() for bits in range(2, 64, 3)]
    divisors = [0, 1, 2, 3, highest, highest - 1, *(d for row in sizes for d in row)]
    pairs = [(lowest, d) for d in divisors] + [(highest, d) for d in divisors]
    for d in filter(None, divisors):
        q = highest // d
        times = {1, q, max(q // 2, 1), int(random.integers(1, min(q, 2**62) + 1))}
        pairs += [(d * t + e, d) for t in times for e in (-1, 0, 1) if lowest <= d * t + e <= highest]
    if not dtype.is_unsigned:
        pairs += [(-x, y) for x, y in pairs if x > lowest] + [(x, -y) for x, y in pairs] + [(lowest, lowest)]
    x, y = (np.array(column, dtype.numpy) for column in zip(*pairs))
    a, b = leaf(0, dtype), leaf(1, dtype)
    made = [scalar.quotient(a, b), scalar.remainder(a, b)]
    for found, expected in zip(Loop(made, [dtype] * 2, width)(x, y), scalar.evaluate(made, [x, y])):
        np.testing.assert_array_equal(found, expected)


def test_every_primitive_is_tested():
    ops = {
        node.op for dtype in SUPPORTED for e in expressions(dtype).values() for node in scalar.ordered([e])
    }
    assert ops >= set(scalar_meaning.MEANING) | {"convert", "bitcast"}


def test_doubles_are_rounded_once_to_halves():
    # Just above the middle of two halves: rounding to float32 first would lose it.
    for dtype, last in ((dtypes.float16, 2.0**-10), (dtypes.bfloat16, 2.0**-7)):
        x = np.array([1 + last / 2 + 2.0**-40, 1 + last / 2, -1 - last / 2 - 2.0**-40, 1e300, 0.0])
        (result,) = Loop([scalar.convert(leaf(0, dtypes.float64), dtype)], [dtypes.float64])(x)
        np.testing.assert_array_equal(result.astype(np.float64), [1 + last, 1, -1 - last, math.inf, 0])


def test_halves_are_rounded_by_casts_and_stores_alone():
    x = leaf(0, dtypes.float16)
    rounded = scalar.convert(scalar.convert(x * x, dtypes.float32), dtypes.float16) / x
    results = Loop([x * x / x, rounded], [dtypes.float16])(np.array([1000.0], np.float16))
    np.testing.assert_array_equal(np.concatenate(results), [1000.0, math.inf])


@pytest.mark.parametrize("width", [None, 8])
def test_halves_on_any_processor(width: int | None):
    """Every float16, and floats around the middles between halves, with code for a processor that has no halves."""
    if target.host().architecture != target.BASELINE.architecture:
        pytest.skip("the code is for x86-64")
    exact = np.arange(2**16, dtype=np.uint16).view(np.float16)
    random = np.random.default_rng(0)
    near = (
        exact.astype(np.float32).view(np.uint32) + random.integers(0, 2**13, 2**16).astype(np.uint32)
    ).view(np.float32)
    x = leaf(0, dtypes.float32)
    with target.using(target.BASELINE), np.errstate(all="ignore"):
        (wide,) = Loop([scalar.convert(leaf(0, dtypes.float16), dtypes.float32)], [dtypes.float16], width)(
            exact
        )
        np.testing.assert_array_equal(wide, exact.astype(np.float32))
        for floats in (near, exact.astype(np.float32)):
            halves, brains = Loop(
                [scalar.convert(x, dtypes.float16), scalar.convert(x, dtypes.bfloat16)],
                [dtypes.float32],
                width,
            )(floats)
            np.testing.assert_array_equal(halves, floats.astype(np.float16))
            expected = floats.astype(dtypes.bfloat16.numpy)
            np.testing.assert_array_equal(brains.astype(np.float32), expected.astype(np.float32))


def test_common_expressions_are_computed_once():
    f = ir.Function("f", ())
    x = leaf(0, dtypes.float32)
    names = scalars.lower(f, [x * x + 1, x * x - 1, x], ["%x"])
    text = f.finish()
    assert text.count("fmul") == 1
    assert names[2] == "%x"


def test_what_is_known_is_not_computed_again():
    f = ir.Function("f", ())
    x = leaf(0, dtypes.float32)
    scalars.lower(f, [x * x + 1], {0: "%x"}, known={x * x: "%square"})
    assert "fmul" not in f.finish()


def test_vectors_have_splatted_constants():
    f = ir.Function("f", ())
    scalars.lower(f, [leaf(0, dtypes.float32) + 1], ["%x"], width=4)
    assert "fadd <4 x float> %x, splat (float 0x3FF0000000000000)" in f.finish()


@pytest.mark.parametrize("width", [None, 8])
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda dtype: dtype.name)
def test_remainders_of_floats_are_exact(dtype: DType, width: int | None):
    random, kind = np.random.default_rng(0), dtype.numpy.type
    y = np.exp(random.uniform(-20, 20, 4000)).astype(kind) * random.choice([-1, 1], 4000).astype(kind)
    # Of whole multiples and their neighbours, of all sizes, and with quotients that only the library finds.
    whole = np.rint(np.exp2(random.uniform(0, 60, 4000))).astype(kind)
    x = whole * y
    for given in (x, np.nextafter(x, kind(0)), np.nextafter(x, kind(math.inf)), y * kind(0.75), -x / kind(3)):
        expression = scalars_arithmetic.truncate_mod(leaf(0, dtype), leaf(1, dtype))
        (found,) = Loop([expression], [dtype] * 2, width)(given, y)
        np.testing.assert_array_equal(found, np.fmod(given, y))
        np.testing.assert_array_equal(np.signbit(found), np.signbit(given))
