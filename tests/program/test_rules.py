"""Each rewriting rule: what it makes of a formula, alone, and that the numbers stay the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tahr as tf
from tahr.core import dtypes
from tahr.core.graph import Tensor
from tahr.program import check
from tahr.program.node import Program
from tahr.program.passes import canonicalize, simplify, softmaxes, stabilize
from tahr.program.pattern import Rule, Rules
from tahr.program.rewrite import rewrite
from tests.program.lowering import compute, formula, lower, op

NAN, INF = float("nan"), float("inf")
# What algebra goes wrong on.
ODD = [0.0, -0.0, 1.0, -1.5, NAN, INF, -INF, 1e-30, 3e4]
INTEGERS = [0, 1, -1, 2, -128, 127]
FLOATS = ("float16", "bfloat16", "float32", "float64")
REALS = ("float32", "float64")


@dataclass(frozen=True)
class Case:
    """One rule on one formula.

    Attributes:
        rule: its name.
        make: the formula, a function of tensors with the names in `inputs`.
        left: the formula in the Program, before.
        right: the formula after; the same as `left` where the rule must not apply.
        inputs: the values of the inputs.
        dtypes: the inputs' dtypes, each tried for all inputs; None: as they are.
        rounds: whether the results may differ by rounding, instead of not at all.
        improves: whether the result before may also be NaN or infinite where the one after is a number.
        static: whether the shapes are known as integers.
        signs: whether the signs of zeros must be the same.
    """

    rule: str
    make: Callable[..., Tensor]
    left: str
    right: str
    inputs: Mapping[str, Any] = field(default_factory=lambda: {"x": ODD})
    dtypes: tuple[str | None, ...] = FLOATS
    rounds: bool = False
    improves: bool = False
    static: bool = False
    signs: bool = True


def stays(rule: str, make: Callable[..., Tensor], left: str, **options: Any) -> Case:
    """A formula that looks like the rule's, but must not be changed."""
    return Case(rule, make, left, left, **options)


MATRIX = [[1.0, -2.0, NAN], [INF, 0.0, -0.0]]
PLAIN = [[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]]
LOGITS = [[1.0, -2.0, 0.5], [200.0, -200.0, 0.0]]
G = [[0.5, -1.0, 2.0], [1.0, 0.25, -3.0]]

CANONICAL = [
    Case("same_values", lambda x: tf.identity(x), "Identity(x)", "x"),
    Case(
        "same_values",
        lambda x: tf.stop_gradient(x),
        "StopGradient(x)",
        "x",
        inputs={"x": INTEGERS},
        dtypes=("int32",),
    ),
    Case("same_values", lambda x: op.PreventGradient(x), "PreventGradient(x)", "x"),
    Case(
        "same_list",
        lambda x, y: op.IdentityN([x, y], T=[x.dtype, y.dtype])[1],
        "IdentityN(x, y, T=[tf.float32, tf.float32]).1",
        "y",
        inputs={"x": ODD, "y": ODD},
        dtypes=("float32",),
    ),
    Case(
        "same_shape", lambda x: tf.reshape(x, tf.shape(x)), "Reshape(x, Shape(x))", "x", inputs={"x": MATRIX}
    ),
    Case(
        "same_shape",
        lambda x: op.BroadcastTo(x, tf.shape(x)),
        "BroadcastTo(x, Shape(x))",
        "x",
        inputs={"x": MATRIX},
    ),
    Case(
        "same_shape",
        lambda x: op.SumToShape(x, tf.shape(x)),
        "SumToShape(x, Shape(x))",
        "x",
        inputs={"x": MATRIX},
        signs=False,
    ),
    Case(
        "same_shape", lambda x: op.Tile(x, [1, 1]), "Tile(x, [1, 1])", "x", inputs={"x": MATRIX}, static=True
    ),
    Case(
        "same_shape",
        lambda x: op.EnsureShape(x, shape=tf.TensorShape([None, 3])),
        "EnsureShape(x, shape=(?, 3))",
        "x",
        inputs={"x": MATRIX},
        static=True,
    ),
    stays(
        "same_shape",
        lambda x: op.EnsureShape(x, shape=tf.TensorShape([None, 3])),
        "EnsureShape(x, shape=(?, 3))",
        inputs={"x": MATRIX},
    ),
    stays("same_shape", lambda x: tf.reshape(x, [3, 2]), "Reshape(x, [3, 2])", inputs={"x": MATRIX}),
    stays(
        "same_shape", lambda x: tf.reshape(x, [2, 3]), "Reshape(x, [2, 3])", inputs={"x": MATRIX}
    ),  # x may be [3, 2]
    Case("same_dtype", lambda x: op.Cast(x, DstT=x.dtype), "Cast(x, DstT=float32)", "x", dtypes=("float32",)),
    Case("like_same_dtype", lambda x, y: op.CastLike(x, y), "CastLike(x, y)", "x", {"x": [1.5], "y": [2.0]}),
    stays("same_dtype", lambda x: op.Cast(x, DstT=tf.int32), "Cast(x, DstT=int32)", inputs={"x": [1.5]}),
    Case(
        "identical_order",
        lambda x: op.Transpose(x, [0, 1]),
        "Transpose(x, [0, 1])",
        "x",
        inputs={"x": MATRIX},
    ),
    stays(
        "identical_order",
        lambda x: op.Transpose(x, [1, 0]),
        "Transpose(x, [1, 0])",
        inputs={"x": [[1.0, 2.0], [3.0, 4.0]]},
    ),
    Case(
        "whole_slice",
        lambda x: tf.slice(x, [0, 0], [-1, -1]),
        "Slice(x, [0, 0], [-1, -1])",
        "x",
        inputs={"x": MATRIX},
    ),
    stays(
        "whole_slice",
        lambda x: tf.slice(x, [0, 1], [-1, 2]),
        "Slice(x, [0, 1], [-1, 2])",
        inputs={"x": MATRIX},
    ),
    Case(
        "whole_strided_slice",
        lambda x: x[:],
        "StridedSlice(x, [0], [0], [1], begin_mask=1, end_mask=1)",
        "x",
        inputs={"x": MATRIX},
    ),
    stays(
        "whole_strided_slice",
        lambda x: x[::-1],
        "StridedSlice(x, [0], [0], [-1], begin_mask=1, end_mask=1)",
        inputs={"x": MATRIX},
    ),
    Case("reduce_no_axes", lambda x: op.Sum(x, np.zeros(0, np.int32)), "Sum(x, [])", "x", signs=False),
    Case("reduce_no_axes", lambda x: op.Max(x, np.zeros(0, np.int32)), "Max(x, [])", "x"),
    Case("concat_of_one", lambda x: op.ConcatV2([x], 0), "ConcatV2(x, 0)", "x"),
    stays("concat_of_one", lambda x: op.ConcatV2([x, x], 0), "ConcatV2(x, x, 0)"),
    Case("stack_of_one", lambda x: op.Pack([x], axis=1), "Pack(x, axis=1)", "ExpandDims(x, 1)"),
    Case("add", lambda x, y: op.Add(x, y), "Add(x, y)", "AddV2(x, y)", inputs={"x": ODD, "y": ODD[::-1]}),
    stays("add", lambda x: op.Add(x, x), "Add(x, x)", inputs={"x": [b"a"]}, dtypes=("string",)),
    Case("inv", lambda x: op.Inv(x), "Inv(x)", "Reciprocal(x)"),
    Case("div", lambda x, y: op.Div(x, y), "Div(x, y)", "RealDiv(x, y)", inputs={"x": ODD, "y": ODD[::-1]}),
    stays("div", lambda x: op.Div(x, 2), "Div(x, 2)", inputs={"x": INTEGERS}, dtypes=("int32",)),
    Case(
        "batch_matmul",
        lambda x: op.BatchMatMul(x, x, adj_y=True),
        "BatchMatMul(x, x, adj_y=True)",
        "BatchMatMulV2(x, x, adj_y=True)",
        inputs={"x": [PLAIN]},
        dtypes=REALS,
    ),
    Case(
        "add_few",
        lambda x, y: op.AddN([x, y]),
        "AddN(x, y)",
        "AddV2(x, y)",
        inputs={"x": ODD, "y": ODD[::-1]},
    ),
    Case("add_few", lambda x: op.AddN([x]), "AddN(x)", "x"),
    stays("add_few", lambda x: op.AddN([x, x, x]), "AddN(x, x, x)"),
    Case(
        "shapes_of_many",
        lambda x, y: op.ShapeN([x, y], N=2)[1],
        "ShapeN(x, y, N=2).1",
        "Shape(y)",
        inputs={"x": ODD, "y": MATRIX},
    ),
    Case(
        "sum_to_known_shape",
        lambda x: op.SumToShape(x, [3]),
        "SumToShape(x, [3])",
        "Sum(x, [0])",
        inputs={"x": PLAIN},
        static=True,
        dtypes=(*REALS, "int32"),
    ),
    Case(
        "sum_to_known_shape",
        lambda x: op.SumToShape(x, [2, 1]),
        "SumToShape(x, [2, 1])",
        "Sum(x, [1], keep_dims=True)",
        inputs={"x": PLAIN},
        dtypes=REALS,
        static=True,
    ),
    Case(
        "sum_to_known_shape",
        lambda x: op.SumToShape(x, [1]),
        "SumToShape(x, [1])",
        "Reshape(Sum(x, [0, 1]), [1])",
        inputs={"x": PLAIN},
        dtypes=REALS,
    ),
    Case(
        "sum_to_known_shape",
        lambda x: op.SumToShape(x, [3]),
        "SumToShape(x, [3])",
        "Reshape(Sum(x, [0]), [3])",
        inputs={"x": PLAIN},
        dtypes=REALS,
    ),
    Case(
        "sum_to_known_shape",
        lambda x: op.SumToShape(x, [2, 1]),
        "SumToShape(x, [2, 1])",
        "Reshape(Sum(x, [1], keep_dims=True), [2, 1])",
        inputs={"x": PLAIN},
        dtypes=REALS,
    ),
    Case(
        "known_broadcast_axes",
        lambda x, y: op.BroadcastGradientArgs(tf.shape(x), tf.shape(y))[1],
        "BroadcastGradientArgs(Shape(x), Shape(y)).1",
        "[0]",
        inputs={"x": PLAIN, "y": [1.0, 2.0, 3.0]},
    ),
    Case(
        "known_zeros",
        lambda x: op.ZerosLike(x),
        "ZerosLike(x)",
        "[0.0, 0.0]",
        inputs={"x": [NAN, 1.0]},
        static=True,
    ),
    Case(
        "known_zeros",
        lambda x: op.ZerosLike(x),
        "ZerosLike(x)",
        "Fill([100], 0.0)",
        inputs={"x": np.ones(100)},
        static=True,
    ),
    stays("known_zeros", lambda x: op.ZerosLike(x), "ZerosLike(x)", inputs={"x": [NAN, 1.0]}),
    Case(
        "known_ones",
        lambda x: op.OnesLike(x),
        "OnesLike(x)",
        "[1, 1]",
        inputs={"x": [5, 6]},
        dtypes=("int32",),
        static=True,
    ),
]


def _softmax_gradient(dy: Tensor, y: Tensor) -> Tensor:
    return (dy - op.Sum(dy * y, -1, keep_dims=True)) * y


def _sigmoid_gradient(dy: Tensor, y: Tensor) -> Tensor:
    return dy * y * (1 - y)


def _sum_exp_gradient(g: Tensor, x: Tensor, keep: bool) -> Tensor:
    total = op.Sum(tf.exp(x), 1, keep_dims=keep)
    dy = g * tf.reciprocal(total)
    dy = dy if keep else tf.reshape(dy, [2, 1])
    return op.BroadcastTo(dy, tf.shape(x)) * tf.exp(x)


LOG_SUM_EXP = "Log(Sum(Exp(x), {axes}))"
SHIFT = "SelectV2(IsFinite(Max(x, {axes}, keep_dims=True)), Max(x, {axes}, keep_dims=True), 0.0)"

STABLE = [
    Case(
        "log_of_softmax",
        lambda x: tf.log(op.Softmax(x)),
        "Log(Softmax(x))",
        "LogSoftmax(x)",
        {"x": LOGITS},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "log_of_softmax",
        lambda x: tf.log(op.Softmax(x)),
        "Log(Softmax(x))",
        "LogSoftmax(x)",
        {"x": PLAIN},
        FLOATS,
        rounds=True,
    ),
    Case(
        "log_of_reshaped",
        lambda x: tf.log(tf.reshape(op.Softmax(x), [-1])),
        "Log(Reshape(Softmax(x), [-1]))",
        "Reshape(Log(Softmax(x)), [-1])",
        {"x": LOGITS},
    ),
    Case(
        "log_of_transposed",
        lambda x: tf.log(op.Transpose(op.Sigmoid(x), [1, 0])),
        "Log(Transpose(Sigmoid(x), [1, 0]))",
        "Transpose(Log(Sigmoid(x)), [1, 0])",
        {"x": LOGITS},
    ),
    Case(
        "gradient_of_log_of_softmax",
        lambda g, x: _softmax_gradient(g * tf.reciprocal(op.Softmax(x)), op.Softmax(x)),
        "Mul(Sub({dy}, Sum(Mul({dy}, {y}), -1, keep_dims=True)), {y})".format(
            dy="Mul(g, Reciprocal(Softmax(x)))", y="Softmax(x)"
        ),
        "Sub(g, Mul(Softmax(x), Sum(g, -1, keep_dims=True)))",
        {"g": G, "x": LOGITS},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "gradient_of_log_of_softmax",
        lambda g, h, x: _softmax_gradient(h + g * tf.reciprocal(op.Softmax(x)), op.Softmax(x)),
        "Mul(Sub({dy}, Sum(Mul({dy}, {y}), -1, keep_dims=True)), {y})".format(
            dy="AddV2(h, Mul(g, Reciprocal(Softmax(x))))", y="Softmax(x)"
        ),
        "AddV2(Sub(g, Mul(Softmax(x), Sum(g, -1, keep_dims=True))), "
        "Mul(Sub(h, Sum(Mul(h, Softmax(x)), -1, keep_dims=True)), Softmax(x)))",
        {"g": G, "h": PLAIN, "x": LOGITS},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "gradient_of_log_of_softmax",
        lambda g, x: _softmax_gradient(
            op.Transpose(-(g * tf.reciprocal(op.Transpose(op.Softmax(x), [1, 0]))), [1, 0]), op.Softmax(x)
        ),
        "Mul(Sub({dy}, Sum(Mul({dy}, {y}), -1, keep_dims=True)), {y})".format(
            dy="Transpose(Neg(Mul(g, Reciprocal(Transpose(Softmax(x), [1, 0])))), [1, 0])", y="Softmax(x)"
        ),
        "Sub({g}, Mul(Softmax(x), Sum({g}, -1, keep_dims=True)))".format(g="Transpose(Neg(g), [1, 0])"),
        {"g": np.transpose(G), "x": LOGITS},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "gradient_of_log_of_softmax",
        lambda g, x: _softmax_gradient(
            tf.reshape(g * tf.reciprocal(tf.reshape(op.Softmax(x), [6])), tf.shape(x)), op.Softmax(x)
        ),
        "Mul(Sub({dy}, Sum(Mul({dy}, {y}), -1, keep_dims=True)), {y})".format(
            dy="Reshape(Mul(g, Reciprocal(Reshape(Softmax(x), [6]))), [2, 3])", y="Softmax(x)"
        ),
        "Sub({g}, Mul(Softmax(x), Sum({g}, -1, keep_dims=True)))".format(g="Reshape(g, [2, 3])"),
        {"g": np.ravel(G), "x": LOGITS},
        REALS,
        rounds=True,
        improves=True,
        static=True,
    ),
    stays(
        "gradient_of_log_of_softmax",
        lambda g, x: _softmax_gradient(g, op.Softmax(x)),
        "Mul(Sub(g, Sum(Mul(g, Softmax(x)), -1, keep_dims=True)), Softmax(x))",
        inputs={"g": G, "x": PLAIN},
        dtypes=REALS,
    ),
    Case(
        "log_of_sigmoid",
        lambda x: tf.log(op.Sigmoid(x)),
        "Log(Sigmoid(x))",
        "Neg(Softplus(Neg(x)))",
        {"x": [0.0, -1.0, 3.0, -90.0, -200.0, INF, NAN]},
        REALS,
        rounds=True,
        improves=True,
    ),
    stays(
        "log_of_sigmoid",
        lambda x: tf.log(op.Sigmoid(x)),
        "Log(Sigmoid(x))",
        dtypes=("complex64",),
        inputs={"x": [1.0]},
    ),
    Case(
        "log_of_one_minus_sigmoid",
        lambda x: tf.log(1 - op.Sigmoid(x)),
        "Log(Sub(1.0, Sigmoid(x)))",
        "Neg(Softplus(x))",
        {"x": [0.0, -1.0, 3.0, 90.0, 900.0, -INF, NAN]},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "gradient_of_log_of_sigmoid",
        lambda g, x: _sigmoid_gradient(g * tf.reciprocal(op.Sigmoid(x)), op.Sigmoid(x)),
        "Mul(Mul(Mul(g, Reciprocal(Sigmoid(x))), Sigmoid(x)), Sub(1.0, Sigmoid(x)))",
        "Mul(g, Sub(1.0, Sigmoid(x)))",
        {"g": G, "x": [[1.0, 0.0, -3.0], [-100.0, -900.0, 90.0]]},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "gradient_of_log_of_sigmoid",
        lambda g, h, x: _sigmoid_gradient(
            tf.add_n([g * tf.reciprocal(op.Sigmoid(x)), -(g * tf.reciprocal(1 - op.Sigmoid(x))), h]),
            op.Sigmoid(x),
        ),
        "Mul(Mul(AddN(Mul(g, Reciprocal({y})), Neg(Mul(g, Reciprocal({z}))), h), {y}), {z})".format(
            y="Sigmoid(x)", z="Sub(1.0, Sigmoid(x))"
        ),
        "AddN(Mul(g, {z}), Mul(Neg(g), {y}), Mul(Mul(h, {y}), {z}))".format(
            y="Sigmoid(x)", z="Sub(1.0, Sigmoid(x))"
        ),
        {"g": G, "h": PLAIN, "x": [[1.0, 0.0, -3.0], [-100.0, -900.0, 90.0]]},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "log_of_one_plus_exp",
        lambda x: tf.log(1 + tf.exp(x)),
        "Log(AddV2(1.0, Exp(x)))",
        "Softplus(x)",
        {"x": [0.0, 1.0, 900.0, -900.0, NAN, INF]},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "log_of_one_plus_exp",
        lambda x: tf.log1p(tf.exp(x)),
        "Log1p(Exp(x))",
        "Softplus(x)",
        {"x": [0.0, 1.0, 900.0, -900.0, NAN, INF]},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "gradient_of_log_of_one_plus_exp",
        lambda g, x: g * tf.reciprocal(tf.exp(x) + 1) * tf.exp(x),
        "Mul(Mul(g, Reciprocal(AddV2(Exp(x), 1.0))), Exp(x))",
        "Mul(g, Sigmoid(x))",
        {"g": [1.0, 2.0, 3.0], "x": [0.5, 900.0, -900.0]},
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "log_of_one_plus",
        lambda x: tf.log(x + 1),
        "Log(AddV2(x, 1.0))",
        "Log1p(x)",
        {"x": [0.0, 1.0, -0.5, -1.0, -2.0, NAN, INF]},
        FLOATS,
        rounds=True,
    ),
    Case(
        "exp_minus_one",
        lambda x: tf.exp(x) - 1,
        "Sub(Exp(x), 1.0)",
        "Expm1(x)",
        {"x": [0.0, 1.0, -5.0, NAN, INF, -INF]},
        FLOATS,
        rounds=True,
    ),
    Case(
        "exp_minus_one",
        lambda x: -1 + tf.exp(x),
        "AddV2(-1.0, Exp(x))",
        "Expm1(x)",
        {"x": [0.0, 1.0]},
        REALS,
        rounds=True,
    ),
    Case(
        "log_of_sum_of_exp",
        lambda x: tf.log(op.Sum(tf.exp(x), [1], keep_dims=True)),
        "Log(Sum(Exp(x), [1], keep_dims=True))",
        f"AddV2({SHIFT}, Log(Sum(Exp(Sub(x, {SHIFT})), {{axes}}, keep_dims=True)))".format(axes="[1]"),
        {
            "x": [
                [1.0, 2.0],
                [900.0, 1.0],
                [-900.0, -901.0],
                [-INF, -INF],
                [INF, 1.0],
                [NAN, 1.0],
                [-INF, 3.0],
            ]
        },
        REALS,
        rounds=True,
        improves=True,
    ),
    Case(
        "log_of_sum_of_exp",
        lambda x: tf.log(op.Sum(tf.exp(x), 0)),
        "Log(Sum(Exp(x), 0))",
        f"AddV2(Squeeze({SHIFT}, squeeze_dims=(0,)), Log(Sum(Exp(Sub(x, {SHIFT})), {{axes}})))".format(
            axes="0"
        ),
        {"x": [[1.0, 900.0, -900.0], [2.0, 900.0, -900.0]]},
        REALS,
        rounds=True,
        improves=True,
    ),
    stays(
        "log_of_sum_of_exp",
        lambda x: tf.log(op.Sum(tf.exp(x - op.Max(x, -1, keep_dims=True)), -1)),
        "Log(Sum(Exp(Sub(x, Max(x, -1, keep_dims=True))), -1))",
        inputs={"x": LOGITS},
        dtypes=REALS,
    ),
    Case(
        "gradient_of_log_of_sum_of_exp",
        lambda g, x: _sum_exp_gradient(g, x, True),
        "Mul(BroadcastTo(Mul(g, Reciprocal(Sum(Exp(x), 1, keep_dims=True))), [2, 3]), Exp(x))",
        "Mul(BroadcastTo(g, [2, 3]), Exp(Sub(x, BroadcastTo(Log(Sum(Exp(x), 1, keep_dims=True)), [2, 3]))))",
        {"g": [[1.0], [2.0]], "x": PLAIN},
        REALS,
        rounds=True,
        static=True,
    ),
    Case(
        "gradient_of_log_of_sum_of_exp_over_axes",
        lambda g, x: _sum_exp_gradient(g, x, False),
        "Mul(BroadcastTo(Reshape(Mul(g, Reciprocal(Sum(Exp(x), 1))), [2, 1]), [2, 3]), Exp(x))",
        "Mul(BroadcastTo(Reshape(g, [2, 1]), [2, 3]), "
        "Exp(Sub(x, BroadcastTo(Reshape(Log(Sum(Exp(x), 1)), [2, 1]), [2, 3]))))",
        {"g": [1.0, 2.0], "x": PLAIN},
        REALS,
        rounds=True,
        static=True,
    ),
]

SIMPLE = [
    Case("times_one", lambda x: x * 1, "Mul(x, 1.0)", "x"),
    Case(
        "times_one",
        lambda x: op.Fill(tf.shape(x), tf.constant(1, x.dtype)) * x,
        "Mul(Fill(Shape(x), 1.0), x)",
        "x",
    ),
    Case("times_one", lambda x: x / 1, "RealDiv(x, 1.0)", "x"),
    Case("times_one", lambda x: 1 * x, "Mul(1, x)", "x", {"x": INTEGERS}, ("int8", "int32", "int64")),
    stays("times_one", lambda x: x * np.ones([2, 1]), "Mul(x, [[1.0], [1.0]])", dtypes=("float64",)),
    stays("times_one", lambda x: 1 / x, "RealDiv(1.0, x)"),
    Case("plus_zero_of_integers", lambda x: x + 0, "AddV2(x, 0)", "x", {"x": INTEGERS}, ("int32", "int64")),
    Case("plus_zero_of_integers", lambda x: x - 0, "Sub(x, 0.0)", "x"),
    stays("plus_zero_of_integers", lambda x: x + 0, "AddV2(x, 0.0)"),
    stays("plus_zero_of_integers", lambda x: x - -0.0, "Sub(x, -0.0)"),
    Case("plus_negative_zero", lambda x: x + -0.0, "AddV2(x, -0.0)", "x"),
    stays("plus_negative_zero", lambda x: x + 0.0, "AddV2(x, 0.0)"),
    Case("twice_undone", lambda x: tf.negative(-x), "Neg(Neg(x))", "x"),
    Case("twice_undone", lambda x: tf.negative(-x), "Neg(Neg(x))", "x", {"x": INTEGERS}, ("int8", "int32")),
    Case("plus_negative", lambda x, y: -x + y, "AddV2(Neg(x), y)", "Sub(y, x)", {"x": ODD, "y": ODD[::-1]}),
    Case("plus_negative", lambda x: x + -x, "AddV2(x, Neg(x))", "Sub(x, x)", {"x": INTEGERS}, ("int8",)),
    Case("minus_negative", lambda x, y: x - -y, "Sub(x, Neg(y))", "AddV2(x, y)", {"x": ODD, "y": ODD[::-1]}),
    Case("power_of_two", lambda x: x**2, "Pow(x, 2.0)", "Square(x)", dtypes=REALS, rounds=True),
    Case(
        "equal_sizes",
        lambda x, y: tf.equal(tf.shape(x), tf.shape(y)),
        "Equal(Shape(x), Shape(y))",
        "[True]",
        {"x": ODD, "y": ODD},
        REALS,
    ),
    stays(
        "equal_sizes",
        lambda x, y: tf.equal(tf.shape(x), tf.shape(y)),
        "Equal(Shape(x), Shape(y))",
        inputs={"x": ODD, "y": ODD[:3]},
    ),
    Case(
        "equal_choices",
        lambda c, x: op.SelectV2(c > 0, x, x),
        "SelectV2(Greater(c, 0.0), x, x)",
        "x",
        {"c": ODD, "x": ODD},
    ),
    stays(
        "equal_choices",
        lambda c, x: op.SelectV2(c > 0, x, x),
        "SelectV2(Greater(c, 0.0), x, x)",
        inputs={"c": np.reshape(ODD, [9, 1]), "x": ODD},
    ),
    Case(
        "reshape_undone",
        lambda x: tf.reshape(tf.expand_dims(x, 1), [2, 3]),
        "Reshape(ExpandDims(x, 1), [2, 3])",
        "x",
        {"x": MATRIX},
        static=True,
    ),
    Case(
        "reshape_undone",
        lambda x: op.Squeeze(tf.expand_dims(x, 1), squeeze_dims=(1,)),
        "Squeeze(ExpandDims(x, 1), squeeze_dims=(1,))",
        "x",
        {"x": MATRIX},
    ),
    stays(
        "reshape_undone",
        lambda x: tf.reshape(tf.reshape(x, [3]), tf.shape(x)),
        "Reshape(Reshape(x, [3]), Shape(x))",
        inputs={"x": [1.0, 2.0, 3.0]},
    ),  # the inner one checks the size of x
    Case(
        "reshape_of_reshape",
        lambda x: tf.reshape(tf.reshape(x, [-1]), [3, 2]),
        "Reshape(Reshape(x, [-1]), [3, 2])",
        "Reshape(x, [3, 2])",
        {"x": MATRIX},
    ),
    stays(
        "reshape_of_reshape",
        lambda x: tf.reshape(tf.reshape(x, [3, 2]), [-1]),
        "Reshape(Reshape(x, [3, 2]), [-1])",
        inputs={"x": MATRIX},
    ),
    Case(
        "transpose_of_transpose",
        lambda x: op.Transpose(op.Transpose(x, [1, 2, 0]), [0, 2, 1]),
        "Transpose(Transpose(x, [1, 2, 0]), [0, 2, 1])",
        "Transpose(x, [1, 0, 2])",
        {"x": np.arange(8.0).reshape(2, 2, 2)},
    ),
    Case(
        "transpose_of_transpose",
        lambda x: op.Transpose(op.Transpose(x, [1, 2, 0]), [0, 2, 1]),
        "Transpose(Transpose(x, [1, 2, 0]), [0, 2, 1])",
        "Transpose(x, [1, 0, 2])",
        {"x": np.arange(24.0).reshape(2, 3, 4)},
    ),
    Case(
        "of_broadcast",
        lambda x, y: op.BroadcastTo(x, tf.shape(y)) * y,
        "Mul(BroadcastTo(x, Shape(y)), y)",
        "Mul(x, y)",
        {"x": [1.0, NAN, 2.0], "y": MATRIX},
    ),
    Case(
        "of_broadcast",
        lambda x: x / op.Fill(tf.shape(x), tf.constant(3, x.dtype)),
        "RealDiv(x, Fill(Shape(x), 3.0))",
        "RealDiv(x, 3.0)",
    ),
    Case(
        "of_broadcast",
        lambda x, y, z: op.ExpandDims(op.BroadcastTo(x, tf.shape(y)), -1) * z,
        "Mul(ExpandDims(BroadcastTo(x, Shape(y)), -1), z)",
        "Mul(Reshape(x, []), z)",
        {"x": [3.0], "y": [1.0, 2.0], "z": [[1.0], [NAN]]},
    ),
    stays(
        "of_broadcast",
        lambda x, y: op.BroadcastTo(x, [2, 3]) * y,
        "Mul(BroadcastTo(x, [2, 3]), y)",
        inputs={"x": [1.0, NAN, 2.0], "y": 2.0},
    ),
    Case(
        "negative_of_broadcast",
        lambda x: -op.BroadcastTo(x, [4, 9]),
        "Neg(BroadcastTo(x, [4, 9]))",
        "BroadcastTo(Neg(x), [4, 9])",
    ),
    Case(
        "cast_of_cast",
        lambda x: tf.cast(tf.cast(x, tf.float64), tf.float16),
        "Cast(Cast(x, DstT=float64), DstT=float16)",
        "Cast(x, DstT=float16)",
        dtypes=("float32", "bfloat16"),
    ),
    Case(
        "cast_of_cast",
        lambda x: tf.cast(tf.cast(x, tf.int64), tf.uint8),
        "Cast(Cast(x, DstT=int64), DstT=uint8)",
        "Cast(x, DstT=uint8)",
        {"x": INTEGERS},
        ("int32", "int8"),
    ),
    stays(
        "cast_of_cast",
        lambda x: tf.cast(tf.cast(x, tf.float16), tf.float64),
        "Cast(Cast(x, DstT=float16), DstT=float64)",
        dtypes=("float32", "bfloat16"),
    ),
    stays(
        "cast_of_cast",
        lambda x: tf.cast(tf.cast(x, tf.float32), tf.int32),
        "Cast(Cast(x, DstT=float32), DstT=int32)",
        inputs={"x": INTEGERS},
        dtypes=("int32",),
    ),
    Case(
        "product_of_transposed_left",
        lambda x: tf.matmul(op.Transpose(x, [1, 0]), x),
        "MatMul(Transpose(x, [1, 0]), x)",
        "MatMul(x, x, transpose_a=True)",
        {"x": PLAIN},
        (*REALS, "int32"),
    ),
    Case(
        "product_of_transposed_right",
        lambda x: tf.matmul(x, op.Transpose(x, [1, 0])),
        "MatMul(x, Transpose(x, [1, 0]))",
        "MatMul(x, x, transpose_b=True)",
        {"x": PLAIN},
        (*REALS, "int32"),
    ),
]

CUBE = np.sin(np.arange(24.0)).reshape(2, 3, 4)


def gradient_of_softmax(x: Tensor, y: Tensor) -> Tensor:
    dy, y = (op.Transpose(v, [0, 2, 1]) for v in (x, y))
    return (dy - tf.reduce_sum(dy * y, -1, keepdims=True)) * y


def gradient_of_log_softmax(x: Tensor, y: Tensor) -> Tensor:
    dy, y = (op.Transpose(v, [0, 2, 1]) for v in (x, y))
    return dy - tf.reduce_sum(dy, -1, keepdims=True) * tf.exp(y)


ALONG = [
    Case(
        "softmax_of_transpose",
        lambda x: op.Softmax(op.Transpose(x, [0, 2, 1])),
        "Softmax(Transpose(x, [0, 2, 1]))",
        "Transpose(RealDiv(Exp(Sub(x, Max(x, [1], keep_dims=True))), "
        "Sum(Exp(Sub(x, Max(x, [1], keep_dims=True))), [1], keep_dims=True)), [0, 2, 1])",
        {"x": CUBE},
        rounds=True,
    ),
    stays(
        "softmax_of_transpose",
        lambda x: op.Softmax(op.Transpose(x, [1, 0, 2])),
        "Softmax(Transpose(x, [1, 0, 2]))",
        inputs={"x": CUBE},
    ),
    Case(
        "log_softmax_of_transpose",
        lambda x: op.LogSoftmax(op.Transpose(x, [2, 0, 1])),
        "LogSoftmax(Transpose(x, [2, 0, 1]))",
        "Transpose(Sub(Sub(x, Max(x, [1], keep_dims=True)), "
        "Log(Sum(Exp(Sub(x, Max(x, [1], keep_dims=True))), [1], keep_dims=True))), [2, 0, 1])",
        {"x": CUBE},
        rounds=True,
    ),
    stays(
        "log_softmax_of_transpose",
        lambda x: op.LogSoftmax(op.Transpose(x, [1, 0, 2])),
        "LogSoftmax(Transpose(x, [1, 0, 2]))",
        inputs={"x": CUBE},
    ),
    Case(
        "gradient_of_softmax",
        gradient_of_softmax,
        "Mul(Sub(Transpose(x, [0, 2, 1]), Sum(Mul(Transpose(x, [0, 2, 1]), Transpose(y, [0, 2, 1])), -1, "
        "keep_dims=True)), Transpose(y, [0, 2, 1]))",
        "Transpose(Mul(Sub(x, Sum(Mul(x, y), [1], keep_dims=True)), y), [0, 2, 1])",
        {"x": CUBE, "y": CUBE * CUBE},
        rounds=True,
    ),
    Case(
        "gradient_of_log_softmax",
        gradient_of_log_softmax,
        "Sub(Transpose(x, [0, 2, 1]), Mul(Sum(Transpose(x, [0, 2, 1]), -1, keep_dims=True), "
        "Exp(Transpose(y, [0, 2, 1]))))",
        "Transpose(Sub(x, Mul(Sum(x, [1], keep_dims=True), Exp(y))), [0, 2, 1])",
        {"x": CUBE, "y": CUBE * CUBE},
        rounds=True,
    ),
]
CASES = [*CANONICAL, *STABLE, *SIMPLE, *ALONG]


def rule_named(name: str) -> Rule:
    (found,) = [
        r for m in (canonicalize, stabilize, simplify, softmaxes) for r in m.RULES.rules if r.name == name
    ]
    return found


def lowered(case: Case, dtype: str | None) -> tuple[Program, dict[str, Any]]:
    """The case's Program, without the ops that say nothing, and its inputs."""
    kind = None if dtype is None else dtypes.as_dtype(dtype)
    arrays = {
        name: np.asarray(value, object if dtype == "string" else None if kind is None else kind.numpy)
        for name, value in case.inputs.items()
    }
    tensors = [
        tf.placeholder(kind, a.shape if case.static else [None] * a.ndim, name=name)
        for name, a in arrays.items()
    ]
    program = lower([case.make(*tensors)], dict(zip(tensors, arrays.values(), strict=True)))
    return program, arrays


def prepared(case: Case, program: Program) -> Program:
    """For rules of later passes: the canonical Program, as they see it."""
    return program if case in CANONICAL else rewrite(program, canonicalize.RULES)


def check_rule(rule: Rule, case: Case, dtype: str | None) -> str:
    """The formula after a rule; the numbers must be what they were before it."""
    program, arrays = lowered(case, dtype)
    before = prepared(case, program)
    with np.errstate(all="ignore"):
        after = rewrite(before, Rules(rule))
    check.program(after, rule.name)
    old, new = (compute(p, list(arrays.values()))[0] for p in (before, after))
    compare(case, old, new)
    return formula(after.outputs[0], list(arrays))


def compare(case: Case, old: Any, new: Any) -> None:
    assert old.dtype == new.dtype
    assert old.shape == new.shape
    if old.dtype == object or old.dtype.kind in "iub":
        assert np.array_equal(old, new)
        return
    if not case.rounds:
        assert np.array_equal(old, new, equal_nan=True)
        if case.signs and old.dtype.kind != "c":
            assert np.array_equal(np.signbit(old)[~np.isnan(old)], np.signbit(new)[~np.isnan(new)])
        return
    if case.improves:
        worse = ~np.isfinite(old) & np.isfinite(new)
        old, new = old[~worse], new[~worse]
    eps = float(ml_dtypes.finfo(old.dtype).eps)
    wide = np.float64
    np.testing.assert_allclose(new.astype(wide), old.astype(wide), rtol=32 * eps, atol=32 * eps)


RUNS = [(case, dtype) for case in CASES for dtype in case.dtypes]


@pytest.mark.parametrize(
    ("case", "dtype"), RUNS, ids=[f"{case.rule}: {case.left}-{dtype}" for case, dtype in RUNS]
)
def test_rule(case: Case, dtype: str | None) -> None:
    program, arrays = lowered(case, dtype)
    left = formula(prepared(case, program).outputs[0], list(arrays))
    assert left == case.left, "the case does not begin with the formula that it names"
    right = check_rule(rule_named(case.rule), case, dtype)
    assert right == case.right


@pytest.mark.parametrize(
    "module", [canonicalize, stabilize, simplify, softmaxes], ids=lambda m: m.__name__.rsplit(".")[-1]
)
def test_every_rule_is_listed_and_has_a_case(module: ModuleType) -> None:
    rules = [value for value in vars(module).values() if isinstance(value, Rule)]
    assert list(module.RULES.rules) == rules, "RULES lists the module's rules in their order"
    tested = {case.rule for case in CASES if case.left != case.right and case.dtypes}
    assert {rule.name for rule in rules} <= tested
