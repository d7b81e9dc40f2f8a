"""Softmax, its logarithm, and the cross-entropies that contain it.

Everything is computed from logits less the largest one of their row, so that no exponential overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tahr import errors
from tahr.core import shapes
from tahr.core.convert import constant_value, convert_to_tensor
from tahr.core.dtypes import FLOATS, INDICES, bfloat16, float16, float32, widened
from tahr.core.forms import InRange
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops.casts import cast
from tahr.ops.elementwise import multiply, negative, subtract
from tahr.ops.fills import zeros_like
from tahr.ops.joining import concat
from tahr.ops.logic import equal, select_v2
from tahr.ops.reductions import reduce_max
from tahr.ops.special import exp, log
from tahr.ops.structural import (
    deprecated_argument,
    expand_dims,
    range_,
    rank as rank_of,
    reduce_sum,
    reshape,
    shape,
    squeeze,
    stop_gradient,
    sum_to_shape,
    transpose,
)

# ---------------------------------------------------------------- Softmax


def _rows_shape(logits: Spec) -> Shape:
    if logits.shape == ():
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    return logits.shape


def _shifted_array(x: Array) -> Array:
    """A new array: x less the largest element of each row."""
    return x - np.maximum.reduce(x, axis=-1, keepdims=True, initial=-np.inf)


def _shifted(x: Tensor) -> Tensor:
    return x - reduce_max(x, -1, keepdims=True)


Softmax = OpDef("Softmax", "logits: T -> softmax: T", types={"T": FLOATS})
Softmax.shape(_rows_shape)


@Softmax.kernel
def _softmax_kernel(x: Array) -> Array:
    y = _shifted_array(widened(x))
    np.exp(y, out=y)
    y /= np.sum(y, axis=-1, keepdims=True)
    return y.astype(x.dtype, copy=False)


@Softmax.expansion
def _softmax_expansion(x: Tensor) -> Tensor:
    e = exp(_shifted(x))
    return e / reduce_sum(e, -1, keepdims=True)


@Softmax.gradient
def _softmax_gradient(op: Operation, dy: Tensor) -> Tensor:
    return _softmax_derivative(op.outputs[0], dy)


def _softmax_derivative(y: Tensor, dy: Tensor) -> Tensor:
    """The product of dy with the (symmetric) Jacobian of y = softmax(x): diag(y) - y yᵀ."""
    return (dy - reduce_sum(dy * y, -1, keepdims=True)) * y


def softmax(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
    """exp(x) / Σ exp(x) along one dimension.

    Args:
        logits: floating numbers, at least a vector.
        axis: the dimension to normalize along; the last one by default.
        name: the operation's name.
        dim: the older name of `axis`.

    Raises:
        errors.InvalidArgumentError: the axis is out of range.  ValueError: the rank is unknown and needed.
    """
    return _along_axis(Softmax, logits, deprecated_argument("axis", axis, "dim", dim), name)


def _along_axis(definition: Callable[..., Tensor], logits: Any, axis: Any, name: str | None) -> Tensor:
    """Applies an op of the last dimension along another one, by exchanging the two before and after."""
    x = convert_to_tensor(logits, name="logits")
    axis = -1 if axis is None else int(axis)
    rank = x.spec.rank
    if axis == -1:
        return definition(x, name=name)
    if rank is None:
        raise ValueError(f"The axis {axis} of a tensor of unknown rank: set its shape, or use axis=-1")
    if not -rank <= axis < rank:
        message = (
            f"Dimension ({axis}) must be in the range [{-rank}, {rank}) "
            f"where {rank} is the number of dimensions in the input."
        )
        raise errors.InvalidArgumentError(None, None, message)
    if axis % rank == rank - 1:
        return definition(x, name=name)
    dims = rank_of(x)
    place: Any = axis if axis >= 0 else axis + dims
    dims = rank_of(x)  # another one, as in TensorFlow, whose names follow from it
    place %= rank
    result = _exchanged(definition(_exchanged(x, place, dims)), place, dims, name)
    result.set_shape(x.shape)
    return result


def _exchanged(x: Tensor, place: Any, rank: Tensor, name: str | None = None) -> Tensor:
    """A tensor with a dimension and the last one exchanged, made by the operations that TensorFlow makes."""
    last = subtract(rank, 1)
    order = concat([range_(place), [last], range_(place + 1, last), [place]], 0)
    return transpose(x, order, name=name or "transpose")


# ---------------------------------------------------------------- LogSoftmax

LogSoftmax = OpDef("LogSoftmax", "logits: T -> logsoftmax: T", types={"T": FLOATS})
LogSoftmax.shape(_rows_shape)


@LogSoftmax.kernel
def _log_softmax_kernel(x: Array) -> Array:
    y = _shifted_array(widened(x))
    y -= np.log(np.sum(np.exp(y), axis=-1, keepdims=True))
    return y.astype(x.dtype, copy=False)


@LogSoftmax.expansion
def _log_softmax_expansion(x: Tensor) -> Tensor:
    z = _shifted(x)
    return z - log(reduce_sum(exp(z), -1, keepdims=True))


@LogSoftmax.gradient
def _log_softmax_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy - reduce_sum(dy, -1, keepdims=True) * exp(op.outputs[0])


def log_softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Tensor:
    """x - log Σ exp(x) along one dimension.

    Arguments and errors as in `softmax`.
    """
    return _along_axis(LogSoftmax, logits, deprecated_argument("axis", axis, "dim", dim), name)


# ---------------------------------------------------------------- SoftmaxCrossEntropyWithLogits

SoftmaxCrossEntropyWithLogits = OpDef(
    "SoftmaxCrossEntropyWithLogits", "features: T, labels: T -> loss: T, backprop: T", types={"T": FLOATS}
)


@SoftmaxCrossEntropyWithLogits.shape
def _cross_entropy_shape(features: Spec, labels: Spec) -> list[Shape]:
    x, p = shapes.dims(features.shape, 2), shapes.dims(labels.shape, 2)
    for a, b in zip(x, p):
        if isinstance(a, int) and isinstance(b, int) and a != b and 1 not in (a, b):
            raise Complaint(
                f"Dimensions must be equal, but are {a} and {b}: logits are {shapes.show(x)}, "
                f"labels {shapes.show(p)}"
            )
    batch, classes = shapes.dims(shapes.broadcast(x, p), 2)
    return [(batch,), (batch, classes)]


@SoftmaxCrossEntropyWithLogits.kernel
def _cross_entropy_kernel(features: Array, labels: Array) -> tuple[Array, Array]:
    x, p = widened(features), widened(labels)
    if x.shape != p.shape:
        x, p = np.broadcast_arrays(x, p)
    z = _shifted_array(x)
    softmax = np.exp(z)
    sums = np.sum(softmax, axis=-1, keepdims=True)
    softmax /= sums
    np.subtract(np.log(sums), z, out=z)  # -log softmax
    loss = np.einsum("bc,bc->b", p, z)
    softmax -= p
    return loss.astype(features.dtype, copy=False), softmax.astype(features.dtype, copy=False)


@SoftmaxCrossEntropyWithLogits.expansion
def _cross_entropy_expansion(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    z = _shifted(features)
    e = exp(z)
    sums = reduce_sum(e, -1, keepdims=True)
    return reduce_sum(labels * (log(sums) - z), -1), e / sums - labels


@SoftmaxCrossEntropyWithLogits.gradient
def _cross_entropy_gradient(op: Operation, dloss: Tensor, dbackprop: Tensor) -> tuple[Tensor, Tensor]:
    """As in TensorFlow, the loss's derivative is `backprop` whether the labels add up to 1 or not.

    Unlike TensorFlow's, the gradient's own derivative by the labels is there too.
    """
    features, labels = op.inputs
    dloss = expand_dims(dloss, -1)
    dx = dloss * op.outputs[1]
    dlabels = dloss * negative(LogSoftmax(features))
    if not is_zero(dbackprop):
        dx += _softmax_derivative(Softmax(features), dbackprop)
        dlabels -= dbackprop
    return _sum_repeated(dx, features, labels), _sum_repeated(dlabels, labels, features)


def is_zero(x: Tensor) -> bool:
    """Whether a gradient is surely zero because nothing depends on the output that it belongs to."""
    if x.op.type == "ZerosLike":
        return True
    value = constant_value(x.op.inputs[1] if x.op.type == "Fill" else x)
    return value is not None and not np.any(value)


def _sum_repeated(gradient: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """The gradient summed over the dimensions along which x was repeated to fit `other`.

    Where nothing is known of the sizes, none was: a check at run time would cost a pass.
    """
    sizes, others = shapes.dims(x.spec.shape, 2), shapes.dims(other.spec.shape, 2)
    repeated = any(a == 1 and b != 1 for a, b in zip(sizes, others))
    return sum_to_shape(gradient, x) if repeated else gradient


def softmax_cross_entropy_with_logits_v2(
    labels: Any, logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Tensor:
    """-Σ labels log softmax(logits): the cross-entropy between two distributions over classes.

    Args:
        labels: [..., classes, ...], probabilities; their gradient is computed too.
        logits: of the same shape.
        axis: the dimension of the classes; the last one by default.
        name: the scope of the operations.
        dim: the older name of `axis`.

    Returns:
        One loss for each distribution: the shape of the logits without the classes.

    Raises:
        ValueError: the shapes differ.
    """
    axis = deprecated_argument("axis", axis, "dim", dim)
    with name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels")
        dtype = logits.spec.dtype
        x = _precise(logits)
        p = labels if x.spec.dtype is None else cast(labels, x.spec.dtype)
        if axis is not None and axis != -1:
            x, p = _moved_to_end(x, axis), _moved_to_end(p, axis)
        losses, _ = SoftmaxCrossEntropyWithLogits(_as_matrix(x), _as_matrix(p), name=scope)
        losses = reshape(losses, _outer_shape(x))
        return losses if dtype is None else cast(losses, dtype)


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: int | None = -1,
    name: str | None = None,
    axis: int | None = None,
) -> Tensor:
    """`softmax_cross_entropy_with_logits_v2` with labels that are taken as constants: they get no gradient.

    Args:
        labels: [..., classes, ...], probabilities.
        logits: of the same shape.
        dim: the older name of `axis`.
        name: the scope of the operations.
        axis: the dimension of the classes; the last one by default.

    Raises:
        ValueError: the shapes differ, or labels and logits are not given by name.
    """
    axis = dim if axis is None else axis
    check_named("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        labels = stop_gradient(labels, name="labels_stop_gradient")
        return softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits, axis=axis, name=scope)


def check_named(function: str, sentinel: Any, labels: Any, logits: Any) -> None:
    """Raises ValueError unless labels and logits, which are easily mixed up, are given by name."""
    if sentinel is not None:
        raise ValueError(f"Only call `{function}` with named arguments (labels=..., logits=..., ...)")
    if labels is None or logits is None:
        raise ValueError("Both labels and logits must be provided.")


def _precise(logits: Tensor) -> Tensor:
    """16-bit logits as float32."""
    return cast(logits, float32) if logits.spec.dtype in (float16, bfloat16) else logits


def _moved_to_end(x: Tensor, axis: int) -> Tensor:
    if x.spec.rank is None:
        raise ValueError(f"The axis {axis} of a tensor of unknown rank: set its shape, or use axis=-1")
    axis = shapes.normalize_axis(axis, x.spec.rank)
    return transpose(x, [*(i for i in range(x.spec.rank) if i != axis), axis])


def _as_matrix(x: Tensor) -> Tensor:
    """[..., n] as [rows, n]."""
    known = x.spec.shape
    if known is None or not isinstance(known[-1], int):
        return reshape(x, concat([[-1], shape(x)[-1:]], 0))
    # With all sizes known there is no -1 to work out, which a size of 0 would make ambiguous.
    rows = shapes.num_elements(known[:-1])
    return reshape(x, [rows if isinstance(rows, int) else -1, known[-1]])


def _outer_shape(x: Tensor) -> Any:
    """The shape without its last dimension: a list where it is known, else a tensor."""
    known = x.spec.shape
    if known is not None and shapes.is_static(known[:-1]):
        return np.array(known[:-1], dtype=np.int32)
    return shape(x)[:-1]


# ---------------------------------------------------------------- SparseSoftmaxCrossEntropyWithLogits

SparseSoftmaxCrossEntropyWithLogits = OpDef(
    "SparseSoftmaxCrossEntropyWithLogits",
    "features: T, labels: Tlabels -> loss: T, backprop: T",
    types={"T": FLOATS, "Tlabels": INDICES},
)


@SparseSoftmaxCrossEntropyWithLogits.shape
def _sparse_cross_entropy_shape(features: Spec, labels: Spec) -> list[Shape]:
    rows, classes = shapes.dims(features.shape, 2)
    (count,) = shapes.dims(labels.shape, 1)
    try:
        batch = shapes.merge_dims(rows, count)
    except ValueError:
        raise Complaint(
            f"Dimensions must be equal, but are {rows} and {count}: logits are "
            f"{shapes.show(features.shape)}, labels {shapes.show(labels.shape)}"
        ) from None
    return [(batch,), (batch, classes)]


@SparseSoftmaxCrossEntropyWithLogits.kernel
def _sparse_cross_entropy_kernel(features: Array, labels: Array) -> tuple[Array, Array]:
    rows = features.shape[0]
    if labels.shape != (rows,):
        raise Complaint(
            f"logits and labels must have the same first dimension, but are {rows} and {labels.shape}"
        )
    _check_labels(labels, features)
    own = np.arange(rows), labels  # the places of the labels' own logits
    z = _shifted_array(widened(features))
    softmax = np.exp(z)
    sums = np.add.reduce(softmax, axis=-1, keepdims=True)
    loss = np.log(sums[:, 0]) - z[own]
    softmax /= sums
    softmax[own] -= 1
    if z.dtype is features.dtype:
        return loss, softmax
    return loss.astype(features.dtype), softmax.astype(features.dtype)


# For the expansion, which compares labels with classes: one that is no class would equal none, and go unnoticed.
CheckLabels = OpDef(
    "CheckLabels",
    "labels: Tlabels, features: T -> output: Tlabels",
    types={"T": FLOATS, "Tlabels": INDICES},
    form=InRange(),
    aliases=(0,),
)
CheckLabels.not_differentiable()


@CheckLabels.shape
def _check_labels_shape(labels: Spec, features: Spec) -> Shape:
    return labels.shape


@CheckLabels.kernel
def _check_labels(labels: Array, features: Array) -> Array:
    classes = features.shape[-1]
    if classes == 0:
        raise Complaint(f"Must have at least one class, but got logits shape {list(features.shape)}")
    # As unsigned numbers negative labels are large ones: one look finds both.
    if labels.size == 0 or np.maximum.reduce(labels.view(f"u{labels.itemsize}")) < classes:
        return labels
    bad = labels[(labels < 0) | (labels >= classes)][0]
    shown = " ".join(map(str, labels[:32].tolist()))
    raise Complaint(
        f"Received a label value of {bad} which is outside the valid range of [0, {classes}).  "
        f"Label values: {shown}{'...' if labels.size > 32 else ''}"
    )


@SparseSoftmaxCrossEntropyWithLogits.expansion
def _sparse_cross_entropy_expansion(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    z = _shifted(features)
    e = exp(z)
    sums = reduce_sum(e, -1, keepdims=True)
    labels = CheckLabels(labels, features)
    own = equal(expand_dims(labels, -1), cast(range_(shape(features)[1]), labels.dtype))
    # Selected rather than multiplied by 0 and 1: another class's logit may be infinite.
    own_z = reduce_sum(select_v2(own, z, zeros_like(z)), -1)
    return squeeze(log(sums), [-1]) - own_z, e / sums - cast(own, features.dtype)


@SparseSoftmaxCrossEntropyWithLogits.gradient
def _sparse_cross_entropy_gradient(op: Operation, dloss: Tensor, dbackprop: Tensor) -> tuple[Tensor, None]:
    dx = multiply(expand_dims(dloss, -1), op.outputs[1])
    if not is_zero(dbackprop):
        dx += _softmax_derivative(Softmax(op.inputs[0]), dbackprop)
    return dx, None


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """-log softmax(logits)[label]: the cross-entropy where each row has one true class.

    Args:
        labels: [...], int32 or int64, the true classes, in [0, classes).
        logits: [..., classes].
        name: the scope of the operations.

    Returns:
        One loss for each label.

    Raises:
        ValueError: the shapes do not fit, or labels and logits are not given by name.
        errors.InvalidArgumentError: a label is out of range, when run.
    """
    check_named("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [labels, logits]):
        labels = convert_to_tensor(labels, name="labels")
        logits = convert_to_tensor(logits, name="logits")
        dtype, x = logits.spec.dtype, _precise(logits)
        _check_sparse_shapes(labels.spec.shape, logits.spec.shape)
        if logits.spec.rank == 2 or (logits.spec.rank is None and labels.spec.rank == 1):
            losses, _ = SparseSoftmaxCrossEntropyWithLogits(x, labels, name=name)
        else:
            flat, _ = SparseSoftmaxCrossEntropyWithLogits(_as_matrix(x), reshape(labels, [-1]), name=name)
            losses = reshape(flat, shape(labels))
        return losses if dtype is None else cast(losses, dtype)


def _check_sparse_shapes(labels: Shape, logits: Shape) -> None:
    if logits == ():
        raise ValueError("Logits cannot be scalars - received shape ().")
    if labels is None or logits is None:
        return
    if len(labels) != len(logits) - 1:
        raise ValueError(
            f"Rank mismatch: Rank of labels (received {len(labels)}) should equal rank of logits minus 1 "
            f"(received {len(logits)})."
        )
    if not shapes.compatible(labels, logits[:-1]):
        raise ValueError(
            f"Shape mismatch: The shape of labels (received {shapes.show(labels)}) should equal the shape of "
            f"logits except for the last dimension (received {shapes.show(logits)})."
        )
