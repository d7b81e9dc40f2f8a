"""One form for each meaning, so that later passes and backends have few forms to know.

What does nothing goes, what is known of shapes becomes constants, old ops become newer ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes, sizes
from tahr.core.convert import Const
from tahr.core.opdef import known_ints, known_value
from tahr.ops import structural
from tahr.program.node import Node, Program, Value
from tahr.program.pattern import Rules, build, p, rule
from tahr.program.rewrite import rewrite

# Zeros and ones of more elements are filled in when they are needed, rather than kept for ever.
MAX_CONSTANT = 64

# Ops that a canonical Program does not hold; Add joins strings, and there is no other op for that.
GONE = frozenset(
    {"Identity", "IdentityN", "StopGradient", "PreventGradient", "GuaranteeConst", "Inv", "BatchMatMul"}
)


def run(program: Program) -> Program:
    """The pass."""
    return rewrite(program, known_value_is_constant, RULES)


def known_value_is_constant(node: Node) -> Sequence[Value] | None:
    """An integer tensor of which shape inference knows every element, as a constant.

    What may fail at run time keeps no such value: inference raises, or knows nothing.
    """
    if node.opdef is Const or len(node.outputs) != 1 or node.outputs[0].spec.value is None:
        return None
    spec = node.outputs[0].spec
    values = known_ints(spec)
    if values is None or spec.value is None or spec.dtype is None:
        return None
    limits = np.iinfo(spec.dtype.numpy)
    if any(not limits.min <= v <= limits.max for v in values):
        return None  # the kernel wraps around
    return [build.constant(np.array(values, spec.dtype.numpy).reshape(spec.value.shape))]


# ---------------------------------------------------------------- what does nothing


@rule(p.Identity("x"), p.StopGradient("x"), p.PreventGradient("x"), p.GuaranteeConst("x"), same_shape=True)
def same_values(x: Value) -> Value:
    """identity(x) -> x.

    The same values; what these ops say to gradients has been heard when a Program is made.
    """
    return x


@rule(p.IdentityN(...), same_shape=True)
def same_list(node: Node) -> Sequence[Value]:
    """identity_n(x, y) -> x, y. The same values."""
    return node.inputs


@rule(
    p.Reshape("x", ...),
    p.BroadcastTo("x", ...),
    p.SumToShape("x", ...),
    p.EnsureShape("x"),
    p.PlaceholderWithDefault("x"),
    p.Squeeze("x"),
    p.Tile("x", ...),
)
def same_shape(x: Value) -> Value:
    """reshape(x, shape(x)) -> x.

    With surely equal shapes these ops neither move, repeat nor add anything, nor fail.
    """
    return x


@rule(p.Cast("x", DstT="to"), same_shape=True)
def same_dtype(x: Value, to: dtypes.DType) -> Value | None:
    """cast(x, x.dtype) -> x. Nothing is converted."""
    return x if x.dtype is to else None


@rule(p.CastLike("x", ...), same_shape=True)
def like_same_dtype(x: Value, node: Node) -> Value | None:
    """cast_like(x, y) -> x where y has its dtype, or one without gradients. Nothing is converted."""
    return x if x.dtype is node.outputs[0].dtype else None


@rule(p.Transpose("x", perm="perm"))
def identical_order(x: Value, perm: tuple[int, ...]) -> Value | None:
    """transpose(x, [0, 1, 2]) -> x. Nothing moves."""
    return x if perm == tuple(range(len(perm))) else None


@rule(p.Slice("x", ..., begin="begin"))
def whole_slice(x: Value, begin: tuple[int, ...]) -> Value | None:
    """x[0:n, 0:m] -> x. A slice from the start with the shape of x is all of x."""
    return None if any(begin) else x


@rule(p.StridedSlice("x", ..., ..., strides="strides"))
def whole_strided_slice(x: Value, strides: tuple[int, ...]) -> Value | None:
    """x[:, ...] -> x. With strides of 1 elements keep their order, and with equal shapes none is left out."""
    return x if all(s == 1 for s in strides) else None


@rule(p.Sum("x", reduction_indices=()), p.Mean("x", reduction_indices=()), p.Max("x", reduction_indices=()),
      p.Min("x", reduction_indices=()), p.Prod("x", reduction_indices=()))  # fmt: skip
def reduce_no_axes(x: Value) -> Value:
    """sum(x, []) -> x.

    Each element is reduced alone: NaN, Inf and integers stay, as does -0.0, of which NumPy's 0.0 + -0.0 makes 0.0.
    """
    return x


@rule(p.ConcatV2(...))
def concat_of_one(node: Node) -> Value | None:
    """concat([x], axis) -> x. There is nothing to join."""
    return node.inputs[0] if len(node.inputs) == 2 else None


@rule(p.Pack(...))
def stack_of_one(node: Node) -> Value | None:
    """stack([x], axis) -> expand_dims(x, axis). A view, where stacking copies."""
    return build.ExpandDims(node.inputs[0], dim=node.attrs["axis"]) if len(node.inputs) == 1 else None


# ---------------------------------------------------------------- one op for each meaning


@rule(p.Add("x", "y"), same_shape=True)
def add(x: Value, y: Value) -> Value | None:
    """Add(x, y) -> AddV2(x, y). The same sum of numbers; strings, which only Add joins, stay."""
    return None if x.dtype is dtypes.string else build.AddV2(x, y)


@rule(p.Inv("x"), same_shape=True)
def inv(x: Value) -> Value:
    """Inv(x) -> Reciprocal(x). Two names of one op."""
    return build.Reciprocal(x)


@rule(p.Div("x", "y"), same_shape=True)
def div(x: Value, y: Value) -> Value | None:
    """Div(x, y) -> RealDiv(x, y). The same for floating numbers; integers, which Div truncates, stay."""
    return None if x.dtype is None or x.dtype.is_integer else build.RealDiv(x, y)


@rule(p.BatchMatMul("x", "y", adj_x="adj_x", adj_y="adj_y"), same_shape=True)
def batch_matmul(x: Value, y: Value, adj_x: bool, adj_y: bool) -> Value:
    """BatchMatMul(x, y) -> BatchMatMulV2(x, y).

    The newer op also broadcasts, which equal shapes do not need.
    """
    return build.BatchMatMulV2(x, y, adj_x=adj_x, adj_y=adj_y)


@rule(p.AddN(...))
def add_few(node: Node) -> Value | None:
    """add_n([x, y]) -> x + y; add_n([x]) -> x.

    The same sum; AddV2 can write it over an input that nothing else needs.
    """
    inputs = node.inputs
    if len(inputs) == 1:
        return inputs[0]
    same = len(inputs) == 2 and shapes.surely_equal(inputs[0].shape, inputs[1].shape)
    return build.AddV2(*inputs) if same else None


# ---------------------------------------------------------------- what shapes say


@rule(p.ShapeN(...))
def shapes_of_many(node: Node) -> Sequence[Value]:
    """shape_n([x, y]) -> shape(x), shape(y). Each may be known for itself."""
    return [build.Shape(x, out_type=node.attrs["out_type"]) for x in node.inputs]


@rule(p.SumToShape("x", "shape"))
def sum_to_known_shape(x: Value, shape: Value, node: Node) -> Value | None:
    """sum_to_shape(g, s) -> reshape(sum(g, axes), s).

    Where sizes say which axes were broadcast; the same sum. A size of s that is not known of the sum is the same, as
    g is s made wider.
    """
    narrow = node.outputs[0].shape
    axes = structural.summed_axes(x.shape, narrow)
    if axes is None or x.shape is None or narrow is None:
        return None
    keep_dims = len(x.shape) == len(narrow)
    total: Value = build.Sum(x, reduction_indices=list(axes), keep_dims=keep_dims)
    return total if shapes.surely_equal(total.shape, narrow) else build.Reshape(total, shape)


@rule(p.BroadcastGradientArgs("a", "b"), same_shape=True)
def known_broadcast_axes(a: Value, b: Value) -> Sequence[Value] | None:
    """broadcast_gradient_args([n, 3], [3]) -> [], [0]. Where sizes are known to be 1, or to be more."""
    left, right = known_value(a.spec), known_value(b.spec)
    if left is None or right is None or a.dtype is None:
        return None
    rank = max(len(left), len(right))
    found: list[Value] = []
    for dims in (left, right):
        if not all(isinstance(d, int) or sizes.surely_above_one(d) for d in dims):
            return None
        lead = rank - len(dims)
        over = [i for i in range(rank) if i < lead or dims[i - lead] == 1]
        found.append(build.constant(np.array(over, a.dtype.numpy)))
    return found


@rule(p.ZerosLike("x"))
def known_zeros(x: Value) -> Value | None:
    """zeros_like(x) -> zeros. Where the shape is known the values of x, even NaN, are not needed."""
    return _filled(0, x)


@rule(p.OnesLike("x"))
def known_ones(x: Value) -> Value | None:
    """ones_like(x) -> ones. Where the shape is known the values of x, even NaN, are not needed."""
    return _filled(1, x)


def _filled(number: int, like: Value) -> Value | None:
    if like.dtype is None or not (like.dtype in dtypes.NUMBERS or like.dtype is dtypes.bool_):
        return None
    if not shapes.is_static(like.shape):
        return None
    shape: Any = like.shape
    scalar = np.array(number, like.dtype.numpy)
    if shapes.num_elements(shape) <= MAX_CONSTANT:  # pyright: ignore[reportOperatorIssue]  # static, so an integer
        return build.constant(np.broadcast_to(scalar, shape).copy())
    return build.Fill(list(shape), build.constant(scalar))


RULES = Rules(
    same_values,
    same_list,
    same_shape,
    same_dtype,
    like_same_dtype,
    identical_order,
    whole_slice,
    whole_strided_slice,
    reduce_no_axes,
    concat_of_one,
    stack_of_one,
    add,
    inv,
    div,
    batch_matmul,
    add_few,
    shapes_of_many,
    sum_to_known_shape,
    known_broadcast_axes,
    known_zeros,
    known_ones,
)
