"""Samples of the elementwise ops: arithmetic, logic, casts, transcendental and special functions.

Oracles are Python's own arithmetic and `math`, element by element, SciPy's special functions, and literals.
"""

from __future__ import annotations

import cmath
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from tahr.core import dtypes as tf
from tahr.errors import InvalidArgumentError
from tests.ops.samples import COMPLEX, FLOATS, INTEGERS, NUMBERS, SIGNED, Bad, Sample

NAN, INF = math.nan, math.inf
REALS = FLOATS + INTEGERS
WIDE = ("float32", "float64")
DIVISION_BY_ZERO = Bad(([1, 2], [1, 0]), {}, InvalidArgumentError, "Integer division by zero")


def each(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """An oracle: a Python function of numbers, applied element by element with broadcasting."""

    def oracle(*inputs: Any, **attrs: Any) -> np.ndarray:
        arrays = np.broadcast_arrays(*map(np.asarray, inputs))
        values = [
            function(*(v.item() for v in group)) for group in zip(*(a.ravel() for a in arrays), strict=True)
        ]
        return np.array(values).reshape(arrays[0].shape)

    return oracle


def unary(
    op: str, function: Any, at: list[Any], dtypes: tuple[str, ...] = FLOATS, **more: Any
) -> list[Sample]:
    """An ordinary sample, one of size 0, and one of rank 0."""
    return [
        Sample(op, "values", inputs=(at,), expected=each(function), dtypes=dtypes, **more),
        Sample(op, "nothing", inputs=(np.zeros([0, 2]),), expected=np.zeros([0, 2]), dtypes=dtypes),
        Sample(op, "scalar", inputs=(at[-1],), expected=each(function), dtypes=dtypes, **more),
    ]


def special(op: str, at: list[float], gives: list[Any], dtypes: tuple[str, ...] = FLOATS) -> Sample:
    """Values at zeros, poles, infinities and NaN, where no finite difference makes sense."""
    return Sample(op, "special values", inputs=(at,), expected=gives, dtypes=dtypes, gradient=False)


def binary(op: str, function: Any, x: Any, y: Any, dtypes: tuple[str, ...], **more: Any) -> list[Sample]:
    """A broadcast sample, one of size 0 and one of rank 0."""
    unequal = ([1, 2], [1, 2, 3]) if "int32" in dtypes else ([1.0, 2.0], [1.0, 2.0, 3.0])
    bad = (Bad(unequal, {}, ValueError, "Dimensions must be equal"),)
    x, y = np.array(x), np.array(y)
    return [
        Sample(op, "broadcast", (x[:, None], y), expected=each(function), dtypes=dtypes, bad=bad, **more),
        Sample(op, "nothing", (np.ones([0, 1]), y), expected=np.zeros([0, y.size]), dtypes=dtypes, **more),
        Sample(op, "scalars", (x[0], y[0]), expected=each(function), dtypes=dtypes, **more),
    ]


def truncated(x: float, y: float) -> float:
    """The quotient rounded towards zero."""
    return math.trunc(x / y)


def squared_distance(x: complex, y: complex) -> complex:
    """The square of x - y, without a conjugate."""
    return (x - y) * (x - y)


ARITHMETIC = [
    *binary("Add", operator.add, [1.5, 2.0, 4.0], [0.5, 3.0], FLOATS + COMPLEX),
    Sample(
        "Add", "strings", (np.array([b"a", b"b"], object), np.array(b"c", object)), expected=[b"ac", b"bc"]
    ),
    *binary("AddV2", operator.add, [1, 2, 4], [5, 3], NUMBERS),
    Sample("AddV2", "wraps around", ([200, 255], [100, 1]), expected=[44, 0], dtypes=("uint8",)),
    *binary("Sub", operator.sub, [9, 8, 7], [5, 3], NUMBERS),
    *binary("Mul", operator.mul, [1, 2, 4], [5, 3], NUMBERS),
    Sample("Mul", "complex", ([1 + 2j, 3j], [2 - 1j, 1 + 1j]), expected=[4 + 3j, -3 + 3j], dtypes=COMPLEX),
    *binary("MulNoNan", operator.mul, [1.0, 2.0, 4.0], [5.0, 3.0], FLOATS + COMPLEX),
    Sample(
        "MulNoNan",
        "zero wins",
        ([NAN, INF, 2.0, NAN], [0.0, 0.0, 0.0, 1.0]),
        expected=[0.0, 0.0, 0.0, NAN],
        dtypes=FLOATS,
        gradient=False,
    ),
    *binary("RealDiv", operator.truediv, [1.0, 2.0, 4.0], [5.0, 3.0], FLOATS + COMPLEX),
    Sample(
        "RealDiv",
        "by zero",
        ([1.0, -1.0, 0.0, 3.0], [0.0, 0.0, 0.0, INF]),
        expected=[INF, -INF, NAN, 0.0],
        dtypes=FLOATS,
        gradient=False,
        bad=(Bad(([1], [2]), {}, TypeError, "not in list of allowed values"),),
    ),
    *binary("Div", operator.truediv, [1.0, 2.0, 4.0], [5.0, 3.0], FLOATS + COMPLEX),
    Sample("Div", "integers", ([7, -7, 7, -7], [2, 2, -2, -2]), expected=[3, -3, -3, 3], dtypes=SIGNED),
    *binary("FloorDiv", operator.floordiv, [7.0, -8.0, 9.0], [2.5, -1.5], FLOATS),
    Sample(
        "FloorDiv",
        "integers",
        ([7, -7, 7, -7], [2, 2, -2, -2]),
        expected=[3, -4, -4, 3],
        dtypes=SIGNED,
        bad=(DIVISION_BY_ZERO,),
    ),
    Sample(
        "CheckDivisor",
        "passes",
        ([7, 8, 9], [[1], [-2]]),
        expected=[[1], [-2]],
        dtypes=SIGNED,
        bad=(DIVISION_BY_ZERO,),
    ),
    Sample(
        "CheckDivisor", "nothing", (np.zeros([0]), np.zeros([0])), expected=np.zeros([0]), dtypes=INTEGERS
    ),
    Sample("FloorDiv", "unsigned", ([7, 9, 200], [2, 3, 7]), expected=[3, 3, 28], dtypes=INTEGERS[4:]),
    Sample(
        "FloorDiv",
        "infinities",
        ([INF, 1.0, -1.0], [3.0, 0.0, INF]),
        expected=[INF, INF, -0.0],
        dtypes=FLOATS,
    ),
    *binary("TruncateDiv", truncated, [7.0, -8.0, 9.0], [2.5, -1.5], FLOATS),
    Sample(
        "TruncateDiv",
        "integers",
        ([7, -7, 7, -7, 6], [2, 2, -2, -2, -3]),
        expected=[3, -3, -3, 3, -2],
        dtypes=SIGNED,
        bad=(DIVISION_BY_ZERO,),
    ),
    *binary("FloorMod", operator.mod, [7.0, -8.5, 9.0], [2.5, -2.0], FLOATS),
    Sample(
        "FloorMod",
        "integers",
        ([7, -7, 7, -7], [2, 2, -2, -2]),
        expected=[1, 1, -1, -1],
        dtypes=SIGNED,
        bad=(DIVISION_BY_ZERO,),
    ),
    *binary("TruncateMod", math.fmod, [7.0, -8.0, 9.0], [2.5, -1.5], FLOATS),
    Sample(
        "TruncateMod",
        "integers",
        ([7, -7, 7, -7], [2, 2, -2, -2]),
        expected=[1, -1, 1, -1],
        dtypes=SIGNED,
        bad=(DIVISION_BY_ZERO,),
    ),
    *binary("Mod", math.fmod, [7.0, -8.0, 9.0], [2.5, -1.5], FLOATS),
    *binary("DivNoNan", operator.truediv, [1.0, 2.0, 4.0], [5.0, 3.0], FLOATS + COMPLEX),
    Sample(
        "DivNoNan",
        "by zero",
        ([1.0, NAN, 0.0, INF], [0.0, 0.0, 0.0, INF]),
        expected=[0.0, 0.0, 0.0, NAN],
        dtypes=FLOATS,
        gradient=False,
    ),
    *binary("SquaredDifference", squared_distance, [1, 2, 4], [5, 3], FLOATS + SIGNED + COMPLEX),
    *binary("Maximum", max, [1, 7, 4], [5, 3], REALS),
    Sample(
        "Maximum",
        "NaN",
        ([1.0, NAN, -INF], [NAN, 1.0, 2.0]),
        expected=[NAN, NAN, 2.0],
        dtypes=FLOATS,
        gradient=False,
    ),
    *binary("Minimum", min, [1, 7, 4], [5, 3], REALS),
    Sample(
        "Minimum",
        "NaN",
        ([1.0, NAN, -INF], [NAN, 1.0, 2.0]),
        expected=[NAN, NAN, -INF],
        dtypes=FLOATS,
        gradient=False,
    ),
    *unary("Neg", operator.neg, [1, -2, 0, 3], FLOATS + SIGNED + COMPLEX),
    *unary("Abs", abs, [1, -2, 3], FLOATS + SIGNED),
    special("Abs", [-INF, -0.0, NAN], [INF, 0.0, NAN]),
    Sample("ComplexAbs", "values", ([3 + 4j, -5j, 2],), expected=[5.0, 5.0, 2.0], dtypes=("complex64",)),
    Sample("ComplexAbs", "wide", ([3 + 4j, -5j],), {"Tout": tf.float64}, [5.0, 5.0], dtypes=("complex128",)),
    *unary("Sign", lambda x: (x > 0) - (x < 0), [1, -2, 3], FLOATS + SIGNED),
    special("Sign", [-INF, -0.0, NAN], [-1.0, 0.0, NAN]),
    Sample(
        "Sign", "complex", ([3 + 4j, 0, -2j],), expected=[0.6 + 0.8j, 0, -1j], dtypes=COMPLEX, gradient=False
    ),
    *unary("Floor", math.floor, [-1.5, -1.0, 0.25, 2.75]),
    special("Floor", [NAN, INF, -0.0], [NAN, INF, -0.0]),
    *unary("Ceil", math.ceil, [-1.5, -1.0, 0.25, 2.75]),
    special("Ceil", [NAN, -INF], [NAN, -INF]),
    *unary("Rint", round, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.25]),
    *unary("Round", round, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.25]),
    Sample("Round", "integers stay", ([3, -4],), expected=[3, -4], dtypes=SIGNED),
    Sample("Round", "complex parts", ([0.5 + 1.5j],), expected=[0 + 2j], dtypes=COMPLEX),
]


def comparison(op: str, function: Any, dtypes: tuple[str, ...] = REALS) -> list[Sample]:
    x, y = [1.0, 2.0, NAN, INF], [2.0, NAN, INF]
    return [
        *binary(op, function, [1, 2, 3], [2, 3], dtypes),
        Sample(op, "NaN", (np.array(x)[:, None], y), expected=each(function), dtypes=FLOATS),
    ]


LOGIC_TABLE = ([[True], [False]], [True, False])

LOGIC = [
    *comparison("Equal", operator.eq, NUMBERS),
    Sample(
        "Equal", "strings", (np.array([b"a", b"b"], object), np.array(b"a", object)), expected=[True, False]
    ),
    *comparison("NotEqual", operator.ne, NUMBERS),
    Sample("NotEqual", "bool", ([True, False], [True, True]), expected=[False, True]),
    *comparison("Less", operator.lt),
    *comparison("LessEqual", operator.le),
    *comparison("Greater", operator.gt),
    *comparison("GreaterEqual", operator.ge),
    Sample(
        "ApproximateEqual",
        "tolerance",
        ([1.0, 1.0, 5.0, NAN], [1.25, 2.0, 5.0, NAN]),
        {"tolerance": 0.5},
        [True, False, True, False],
        dtypes=FLOATS,
        bad=(Bad(([1.0], [1.0, 2.0]), {}, ValueError, "not compatible"),),
    ),
    Sample(
        "ApproximateEqual", "unsigned", ([1, 5], [2, 5]), {"tolerance": 2.0}, [True, True], dtypes=INTEGERS
    ),
    Sample("ApproximateEqual", "complex", ([1j], [1 + 1j]), {"tolerance": 2.0}, [True], dtypes=COMPLEX),
    Sample(
        "IsNan", "all kinds", ([NAN, INF, -INF, 0.0],), expected=[True, False, False, False], dtypes=FLOATS
    ),
    Sample(
        "IsInf", "all kinds", ([NAN, INF, -INF, 0.0],), expected=[False, True, True, False], dtypes=FLOATS
    ),
    Sample(
        "IsFinite", "all kinds", ([NAN, INF, -INF, 0.0],), expected=[False, False, False, True], dtypes=FLOATS
    ),
    Sample(
        "LogicalAnd",
        "truth table",
        LOGIC_TABLE,
        expected=[[True, False], [False, False]],
        bad=(Bad(([1], [2]), {}, TypeError, "Expected bool"),),
    ),
    Sample("LogicalOr", "truth table", LOGIC_TABLE, expected=[[True, True], [True, False]]),
    Sample("LogicalNot", "truth table", ([True, False],), expected=[False, True]),
    Sample("LogicalNot", "nothing", (np.zeros([0], bool),), expected=np.zeros([0], bool)),
    Sample(
        "SelectV2",
        "broadcast",
        ([[True], [False]], [1.0, 2.0], 3.0),
        expected=[[1.0, 2.0], [3.0, 3.0]],
        dtypes=FLOATS + COMPLEX,
    ),
    Sample("SelectV2", "scalars", (False, 1.0, NAN), expected=NAN, dtypes=FLOATS, gradient=False),
    Sample(
        "Select",
        "elements",
        ([[True, False]], [[1.0, 2.0]], [[3.0, 4.0]]),
        expected=[[1.0, 4.0]],
        dtypes=NUMBERS,
        bad=(
            Bad(([True], [1.0], [1.0, 2.0]), {}, ValueError, "not compatible"),
            Bad(([True], [[1.0], [2.0]], [[1.0], [2.0]]), {}, ValueError, "not compatible"),
        ),
    ),
    Sample(
        "Select",
        "a vector chooses rows",
        ([True, False], [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]),
        expected=[[1.0, 2.0], [7.0, 8.0]],
        dtypes=FLOATS,
    ),
    Sample(
        "Select", "a scalar chooses all", (False, [1.0, 2.0], [5.0, 6.0]), expected=[5.0, 6.0], dtypes=FLOATS
    ),
    Sample(
        "Select",
        "strings",
        ([True, False], np.array([b"a", b"b"], object), np.array([b"c", b"d"], object)),
        expected=[b"a", b"d"],
    ),
    *binary("BitwiseAnd", operator.and_, [1, 6, 7], [5, 3], INTEGERS),
    *binary("BitwiseOr", operator.or_, [1, 6, 7], [5, 3], INTEGERS),
    *binary("BitwiseXor", operator.xor, [1, 6, 7], [5, 3], INTEGERS),
    Sample("Invert", "signed", ([0, 5, -1],), expected=[-1, -6, 0], dtypes=SIGNED),
    Sample("Invert", "unsigned", ([0, 5],), expected=[255, 250], dtypes=("uint8",)),
    *binary("LeftShift", operator.lshift, [1, 6, 7], [2, 3], INTEGERS),
    Sample("LeftShift", "too far", ([1, 3], [9, -1]), expected=[-128, 3], dtypes=("int8",)),
    *binary("RightShift", operator.rshift, [1, 6, 70], [2, 3], INTEGERS),
    Sample(
        "RightShift", "keeps the sign", ([-8, -1, 100], [1, 99, -3]), expected=[-4, -1, 100], dtypes=SIGNED
    ),
]

CASTS = [
    Sample(
        "CastLike", "between floats", ([1.5, -2.0], np.zeros(2, np.float64)), {}, [1.5, -2.0], dtypes=FLOATS
    ),
    Sample("CastLike", "beside integers", ([0.1, -0.0], [1, 2]), {}, lambda x, like: x, dtypes=FLOATS),
    Sample(
        "Cast", "truncates", ([1.75, -1.75, 0.0],), {"DstT": tf.int32}, [1, -1, 0], dtypes=FLOATS, var="SrcT"
    ),
    Sample(
        "Cast",
        "NaN to integer",
        ([NAN],),
        {"DstT": tf.int32},
        [-(2**31)],
        dtypes=FLOATS,
        var="SrcT",
        gradient=False,
    ),
    Sample(
        "Cast", "to bool", ([0, 2, 3],), {"DstT": tf.bool_}, [False, True, True], dtypes=NUMBERS, var="SrcT"
    ),
    Sample("Cast", "of bool", ([True, False],), {"DstT": tf.float16}, [1.0, 0.0]),
    Sample("Cast", "real part", ([1.5 + 2j],), {"DstT": tf.float32}, [1.5], dtypes=COMPLEX, var="SrcT"),
    Sample(
        "Cast",
        "between floats",
        ([1.5, NAN],),
        {"DstT": tf.float64},
        [1.5, NAN],
        dtypes=FLOATS,
        var="SrcT",
        gradient=False,
    ),
    Sample("Cast", "wraps around", (np.array([300, -1], np.int64),), {"DstT": tf.uint8}, [44, 255]),
    Sample(
        "Cast", "nothing", (np.zeros([0, 3]),), {"DstT": tf.int8}, np.zeros([0, 3]), dtypes=FLOATS, var="SrcT"
    ),
    Sample(
        "Bitcast",
        "same size",
        (np.array([1.0, -2.0], np.float32),),
        {"type": tf.int32},
        [0x3F800000, -0x40000000],
    ),
    Sample("Bitcast", "narrower", (np.array(0x04030201, np.int32),), {"type": tf.uint8}, [1, 2, 3, 4]),
    Sample(
        "Bitcast",
        "wider",
        (np.array([[1, 2, 3, 4]], np.uint8),),
        {"type": tf.int32},
        [0x04030201],
        bad=(Bad((np.zeros([3], np.uint8),), {"type": tf.int32}, ValueError, "not compatible"),),
    ),
    Sample(
        "Complex",
        "narrow",
        ([1.0, 2.0], [INF, 4.0]),
        expected=[complex(1, INF), 2 + 4j],
        dtypes=("float32",),
        gradient=False,
    ),
    Sample(
        "Complex",
        "wide",
        ([[1.0], [2.0]], 3.0),
        {"Tout": tf.complex128},
        [[1 + 3j], [2 + 3j]],
        dtypes=("float64",),
    ),
    Sample("Real", "values", ([1 + 2j, -3j],), expected=[1.0, 0.0], dtypes=("complex64",)),
    Sample("Real", "wide", ([1 + 2j],), {"Tout": tf.float64}, [1.0], dtypes=("complex128",)),
    Sample("Imag", "values", ([1 + 2j, -3j],), expected=[2.0, -3.0], dtypes=("complex64",)),
    Sample("Imag", "wide", ([1 + 2j],), {"Tout": tf.float64}, [2.0], dtypes=("complex128",)),
    Sample(
        "Angle", "quadrants", ([1 + 1j, -1j, -2 + 1j],), expected=each(cmath.phase), dtypes=("complex64",)
    ),
    Sample(
        "Angle", "wide", ([1 + 1j, -1j],), {"Tout": tf.float64}, each(cmath.phase), dtypes=("complex128",)
    ),
    Sample("Conj", "values", ([1 + 2j, -3j],), expected=[1 - 2j, 3j], dtypes=COMPLEX),
]


def elementary(op: str, name: str, at: list[float], **more: Any) -> list[Sample]:
    """A function that `math` and `cmath` have under one name."""
    return [
        *unary(op, getattr(math, name), at, **more),
        Sample(
            op, "complex", ([0.5 + 0.25j, -0.25 + 1j],), expected=each(getattr(cmath, name)), dtypes=COMPLEX
        ),
    ]


def inverse(op: str) -> list[Sample]:
    return [
        *unary(op, lambda x: 1 / x, [0.5, -2.0, 3.0]),
        Sample(op, "complex", ([1 + 1j],), expected=[0.5 - 0.5j], dtypes=COMPLEX),
        special(op, [0.0, -0.0, INF, NAN], [INF, -INF, 0.0, NAN]),
        Sample(
            op,
            "integers",
            ([1, -1, 3],),
            expected=[1, -1, 0],
            dtypes=SIGNED,
            bad=(Bad(([0],), {}, InvalidArgumentError, "Integer division by zero"),),
        ),
    ]


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


TRANSCENDENTAL = [
    *unary("Square", lambda x: x * x, [1, 2, 3], NUMBERS),
    *elementary("Sqrt", "sqrt", [0.25, 2.0, 9.0]),
    special("Sqrt", [-1.0, 0.0, INF, NAN], [NAN, 0.0, INF, NAN]),
    *unary("Rsqrt", lambda x: 1 / math.sqrt(x), [0.25, 2.0, 9.0]),
    special("Rsqrt", [-1.0, 0.0, INF], [NAN, INF, 0.0]),
    *inverse("Reciprocal"),
    *inverse("Inv"),
    *binary("Pow", operator.pow, [0.5, 2.0, 3.0], [2.0, -1.5], FLOATS),
    Sample("Pow", "complex", ([1 + 1j], [2.0]), expected=[2j], dtypes=COMPLEX, atol=1e-6),
    Sample(
        "Pow",
        "integers",
        ([2, -3, 7], [3, 3, 0]),
        expected=[8, -27, 1],
        dtypes=SIGNED,
        bad=(
            Bad(([2], [-1]), {}, InvalidArgumentError, "Integers to negative integer powers are not allowed"),
        ),
    ),
    Sample(
        "Pow",
        "special values",
        ([0.0, 0.0, -2.0, 1.0, -2.0, NAN], [0.0, -1.0, 0.5, NAN, 3.0, 0.0]),
        expected=[1.0, INF, NAN, 1.0, -8.0, 1.0],
        dtypes=FLOATS,
        gradient=False,
    ),
    *elementary("Exp", "exp", [-2.0, 0.0, 1.5]),
    special("Exp", [-INF, INF, NAN], [0.0, INF, NAN]),
    *unary("Expm1", math.expm1, [-2.0, 1e-5, 1.5]),
    *elementary("Log", "log", [0.25, 1.0, 9.0]),
    special("Log", [0.0, -1.0, INF], [-INF, NAN, INF]),
    *unary("Log1p", math.log1p, [-0.5, 1e-5, 9.0]),
    special("Log1p", [-1.0, -2.0], [-INF, NAN]),
    *binary("Xlogy", lambda x, y: x * math.log(y), [1.0, 2.0, 4.0], [0.5, 3.0], FLOATS),
    Sample(
        "Xlogy",
        "zero wins",
        ([0.0, 0.0, 1.0], [0.0, NAN, 0.0]),
        expected=[0.0, 0.0, -INF],
        dtypes=FLOATS,
        gradient=False,
    ),
    *binary("Xdivy", operator.truediv, [1.0, 2.0, 4.0], [0.5, 3.0], FLOATS),
    Sample(
        "Xdivy",
        "zero wins",
        ([0.0, 0.0, 1.0], [0.0, NAN, 0.0]),
        expected=[0.0, 0.0, INF],
        dtypes=FLOATS,
        gradient=False,
    ),
    *elementary("Sin", "sin", [-2.0, 0.0, 1.5]),
    special("Sin", [INF, NAN], [NAN, NAN]),
    *elementary("Cos", "cos", [-2.0, 0.0, 1.0]),
    *elementary("Tan", "tan", [-2.0, 0.0, 1.0]),
    *elementary("Asin", "asin", [-0.75, 0.0, 0.5]),
    special("Asin", [1.0, 1.5], [math.pi / 2, NAN]),
    *elementary("Acos", "acos", [-0.75, 0.0, 0.5]),
    *elementary("Atan", "atan", [-2.0, 0.0, 1.5]),
    *binary("Atan2", math.atan2, [0.5, -2.0, 3.0], [2.0, -1.5], FLOATS),
    Sample(
        "Atan2",
        "on the axes",
        ([0.0, -0.0, 1.0], [-1.0, -1.0, 0.0]),
        expected=[math.pi, -math.pi, math.pi / 2],
        dtypes=FLOATS,
        gradient=False,
    ),
    *elementary("Sinh", "sinh", [-2.0, 0.0, 1.5]),
    *elementary("Cosh", "cosh", [-2.0, 0.0, 1.5]),
    *elementary("Tanh", "tanh", [-2.0, 0.0, 1.5]),
    special("Tanh", [-INF, 100.0, NAN], [-1.0, 1.0, NAN]),
    *elementary("Asinh", "asinh", [-2.0, 0.0, 1.5]),
    *unary("Acosh", math.acosh, [1.25, 2.0, 9.0]),
    special("Acosh", [0.5, 1.0, INF], [NAN, 0.0, INF]),
    *elementary("Atanh", "atanh", [-0.75, 0.0, 0.5]),
    special("Atanh", [1.0, -1.0, 1.5], [INF, -INF, NAN]),
    *unary("Sigmoid", logistic, [-2.0, 0.0, 1.5]),
    special("Sigmoid", [-INF, -1000.0, 1000.0, NAN], [0.0, 0.0, 1.0, NAN]),
    Sample("Sigmoid", "complex", ([1j],), expected=each(lambda z: 1 / (1 + cmath.exp(-z))), dtypes=COMPLEX),
]

# Both error functions change formula at 0.46875 and 4.
ERF_POINTS = [-5.0, -1.0, -0.25, 0.375, 0.5, 3.0, 4.5]
# lgamma and digamma change theirs at 0, 0.5, 1.5, 2.5 and 10.
GAMMA_POINTS = [-2.5, -0.25, 0.25, 1.25, 2.0, 2.25, 3.5, 9.5, 20.0]
SHAPES, POINTS = [0.5, 2.0, 5.0], [0.25, 1.5, 12.0]

SPECIAL = [
    *unary("Erf", math.erf, ERF_POINTS),
    special("Erf", [-INF, INF, NAN], [-1.0, 1.0, NAN]),
    *unary("Erfc", math.erfc, ERF_POINTS),
    special("Erfc", [-INF, INF, NAN], [2.0, 0.0, NAN]),
    *unary("Lgamma", scipy.special.gammaln, GAMMA_POINTS),
    special("Lgamma", [0.0, -1.0, 1.0, 2.0, INF, NAN], [INF, INF, 0.0, 0.0, INF, NAN]),
    *unary("Digamma", scipy.special.digamma, GAMMA_POINTS),
    special("Digamma", [0.0, -1.0, INF], [NAN, NAN, INF]),
    *binary(
        "Polygamma",
        lambda n, x: scipy.special.polygamma(int(n), x),
        [1.0, 2.0, 3.0],
        [0.5, 2.5],
        WIDE,
        gradient=(1,),
    ),
    Sample(
        "Polygamma",
        "orders",
        ([0.0, -1.0, 1.5], [1.0, 1.0, 1.0]),
        expected=[-0.5772156649015329, NAN, NAN],
        dtypes=WIDE,
        gradient=False,
    ),
    *binary("Zeta", scipy.special.zeta, [2.0, 3.5, 20.0], [0.5, 2.5], WIDE, gradient=(1,)),
    Sample(
        "Zeta",
        "outside",
        ([1.0, 0.5, 2.0], [1.0, 1.0, -1.0]),
        expected=[INF, NAN, INF],
        dtypes=WIDE,
        gradient=False,
    ),
    *binary("Igamma", scipy.special.gammainc, SHAPES, POINTS, FLOATS, second=False),
    Sample(
        "Igamma",
        "outside",
        ([1.0, 0.0, 1.0, 1.0], [0.0, 1.0, INF, -1.0]),
        expected=[0.0, NAN, 1.0, NAN],
        dtypes=FLOATS,
        gradient=False,
    ),
    *binary("Igammac", scipy.special.gammaincc, SHAPES, POINTS, FLOATS, second=False),
    Sample(
        "IgammaGradA",
        "difference quotient",
        (SHAPES, POINTS),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-6,
        expected=each(
            lambda a, x: (scipy.special.gammainc(a + 1e-5, x) - scipy.special.gammainc(a - 1e-5, x)) / 2e-5
        ),
    ),
    Sample(
        "Betainc",
        "values",
        ([0.5, 2.0, 5.0, 7.0], [1.0, 3.0, 0.5, 2.0], [0.25, 0.75, 0.5, 0.125]),
        expected=each(scipy.special.betainc),
        dtypes=WIDE,
        gradient=(2,),
        second=False,
    ),
    Sample(
        "Betainc",
        "ends",
        ([2.0, 2.0, 2.0], [3.0, 3.0, 3.0], [0.0, 1.0, 1.5]),
        expected=[0.0, 1.0, NAN],
        dtypes=WIDE,
        gradient=False,
    ),
]

SAMPLES = [*ARITHMETIC, *LOGIC, *CASTS, *TRANSCENDENTAL, *SPECIAL]
