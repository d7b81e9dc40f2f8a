"""tf.losses: losses that are weighted, reduced to one number, and collected.

Unless it says otherwise, every loss computes in float32, as TensorFlow does, and takes these arguments:

    weights: what each element's loss counts: a scalar, or a tensor of the rank of the losses whose dimensions
        are theirs or 1. What is weighted 0 is left out.
    scope: the scope of the operations.
    loss_collection: the collection to which the loss is added, or None.
    reduction: one of `Reduction`.
"""

from __future__ import annotations

from typing import Any

from tahr.core.convert import constant, convert_to_tensor
from tahr.core.dtypes import float32
from tahr.core.graph import Tensor
from tahr.core.scopes import GraphKeys, add_to_collection, control_dependencies, get_collection, name_scope
from tahr.ops.activations import relu
from tahr.ops.assertions import assert_
from tahr.ops.casts import cast
from tahr.ops.control_flow import cond
from tahr.ops.elementwise import (
    abs as absolute,
    add,
    div_no_nan,
    maximum,
    minimum,
    multiply,
    negative,
    subtract,
)
from tahr.ops.fills import ones_like, zeros_like
from tahr.ops.identities import stop_gradient
from tahr.ops.indexing import where
from tahr.ops.logic import equal, greater, logical_or, not_equal
from tahr.ops.nn import sigmoid_cross_entropy_with_logits
from tahr.ops.ranges import range_
from tahr.ops.reductions import reduce_all
from tahr.ops.shaping import deprecated_argument, rank, shape, size, squeeze
from tahr.ops.softmax import softmax_cross_entropy_with_logits_v2, sparse_softmax_cross_entropy_with_logits
from tahr.ops.special import log, square, squared_difference
from tahr.ops.structural import add_n, broadcast_to, reduce_sum

# ---------------------------------------------------------------- reduction


class Reduction:
    """How the losses of many elements become one."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """Every reduction."""
        return (
            cls.NONE,
            cls.SUM,
            cls.MEAN,
            cls.SUM_OVER_BATCH_SIZE,
            cls.SUM_OVER_NONZERO_WEIGHTS,
            cls.SUM_BY_NONZERO_WEIGHTS,
        )

    @classmethod
    def validate(cls, key: str) -> None:
        """Checks that a reduction exists.

        Raises:
            ValueError: it does not.
        """
        if key not in cls.all():
            raise ValueError(f"Invalid Reduction Key {key}. Key should be one of {cls.all()}.")


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """Weights, reduces and collects losses.

    Args:
        losses: numbers of any shape.
        weights, scope, loss_collection, reduction: as for every loss.

    Returns:
        A scalar of the dtype of the losses; a tensor of their shape if the reduction is NONE. The scalar is 0
        where it would be 0 / 0.

    Raises:
        ValueError: the weights do not fit, or there is no such reduction.
        errors.InvalidArgumentError: the weights do not fit, when run.
    """
    Reduction.validate(reduction)
    with name_scope(scope, "weighted_loss", [losses, weights]):
        losses = convert_to_tensor(losses, name="losses")
        dtype = losses.spec.dtype
        with control_dependencies(_check_broadcastable(weights, losses)):
            losses, weights = cast(losses, float32), cast(weights, float32)
            weighted = multiply(losses, weights)
            loss = _reduced(weighted, losses, weights, reduction)
        loss = loss if dtype is None else cast(loss, dtype)
        add_loss(loss, loss_collection)
        return loss


def _reduced(weighted: Tensor, losses: Tensor, weights: Tensor, reduction: str) -> Tensor:
    if reduction == Reduction.NONE:
        return weighted
    total = reduce_sum(weighted)
    if reduction == Reduction.SUM:
        return total
    if reduction == Reduction.MEAN:
        count = reduce_sum(_broadcast(weights, losses))
    elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
        count = cast(size(losses), float32)
    else:
        count = _num_present(losses, weights)
    return div_no_nan(total, count, name="value")


def _num_present(losses: Tensor, weights: Tensor, per_batch: bool = False) -> Tensor:
    """How many elements have a weight other than 0: in all, or for each index of the first dimension."""
    with name_scope(None, "num_present", [losses, weights]) as scope:
        # NaN counts as present, so that it is not hidden.
        present = cast(not_equal(weights, 0.0), float32)
        if per_batch:
            present = _broadcast(present, losses)
            return reduce_sum(present, axis=_all_but_first_axis(losses), keepdims=True, name=scope)
        if weights.shape.ndims == 0:  # All or none: nothing to add up.
            return multiply(present, cast(size(losses), float32), name=scope)
        return reduce_sum(_broadcast(present, losses), name=scope)


def _broadcast(weights: Tensor, losses: Tensor) -> Tensor:
    return broadcast_to(weights, shape(losses))


def _all_but_first_axis(x: Tensor) -> Any:
    return range_(1, rank(x)) if x.shape.ndims is None else list(range(1, x.shape.ndims))


def _check_broadcastable(weights: Any, values: Tensor) -> list[Any]:
    """Operations that fail where the weights do not broadcast to the values; none where that is known.

    This is narrower than NumPy's broadcasting: weights of another rank are more often an oversight.

    Raises:
        ValueError: it is known that they do not.
    """
    with name_scope(None, "assert_broadcastable", [weights, values]):
        weights = convert_to_tensor(weights, name="weights")
        if weights.shape.ndims == 0:
            return []
        phrase = "weights can not be broadcast to values."
        ranks = weights.shape.ndims, values.shape.ndims
        if None not in ranks:
            if ranks[0] != ranks[1]:
                raise ValueError(
                    f"{phrase} values.rank={ranks[1]}. weights.rank={ranks[0]}. "
                    f"values.shape={values.shape}. weights.shape={weights.shape}."
                )
            pairs = list(zip(weights.shape.as_list(), values.shape.as_list(), strict=True))
            for axis, (weight, value) in enumerate(pairs):
                if weight is not None and value is not None and weight not in (1, value):
                    raise ValueError(
                        f"{phrase} Mismatch at dim {axis}. "
                        f"values.shape={values.shape}, weights.shape={weights.shape}."
                    )
            if all(weight == 1 or (weight is not None and value is not None) for weight, value in pairs):
                return []
        data = [phrase, "weights.shape=", shape(weights), "values.shape=", shape(values)]
        return [assert_(_broadcastable_when_run(weights, values), data, name="Assert")]


def _broadcastable_when_run(weights: Tensor, values: Tensor) -> Tensor:
    ours, theirs = shape(weights), shape(values)

    def same_or_one() -> Tensor:
        return reduce_all(logical_or(equal(ours, 1), equal(ours, theirs)))

    if weights.shape.ndims is not None and weights.shape.ndims == values.shape.ndims:
        return same_or_one()
    return cond(equal(rank(weights), rank(values)), same_or_one, lambda: equal(rank(weights), 0))


# ---------------------------------------------------------------- the collection of losses


def add_loss(loss: Tensor, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Adds a loss to a collection, unless that is None."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Tensor]:
    """The losses of a collection.

    Args:
        scope: a regular expression that the start of their names must match.
        loss_collection: the collection.
    """
    return get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    """The losses that the variables' regularizers have made.

    Args:
        scope: a regular expression that the start of their names must match.
    """
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of the regularization losses; 0 if there are none.

    Args:
        scope: as in `get_regularization_losses`.
        name: the operation's name.
    """
    losses = get_regularization_losses(scope)
    return add_n(losses, name=name) if losses else constant(0.0)


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """The sum of all collected losses.

    Args:
        add_regularization_losses: whether those of the regularizers are among them.
        name: the operation's name.
        scope: a regular expression that the start of the losses' names must match.

    Raises:
        ValueError: there are no losses.
    """
    losses = get_losses(scope=scope)
    if add_regularization_losses:
        losses = losses + get_regularization_losses(scope=scope)
    return add_n(losses, name=name)


# ---------------------------------------------------------------- losses of predictions


def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """|predictions - labels|.

    Args:
        labels, predictions: numbers of one shape.
        weights, scope, loss_collection, reduction: as for every loss.

    Raises:
        ValueError: the shapes differ, or an argument is None.
    """
    with name_scope(scope, "absolute_difference", [predictions, labels, weights]) as scope:
        predictions, labels = _operands(predictions=predictions, labels=labels)
        losses = absolute(subtract(predictions, labels))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def _operands(**arguments: Any) -> list[Tensor]:
    """Two arguments as float32 tensors of one shape."""
    for name, value in arguments.items():
        if value is None:
            raise ValueError(f"{name} must not be None.")
    x, y = (cast(value, float32) for value in arguments.values())
    x.shape.assert_is_compatible_with(y.shape)
    return [x, y]


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """(predictions - labels)².

    Arguments as in `absolute_difference`.
    """
    with name_scope(scope, "mean_squared_error", [predictions, labels, weights]) as scope:
        predictions, labels = _operands(predictions=predictions, labels=labels)
        losses = squared_difference(predictions, labels)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """e² / 2 where the error e is at most delta, delta |e| - delta² / 2 beyond: outliers count less.

    Args:
        labels, predictions: numbers of one shape.
        delta: where the loss turns from quadratic to linear.
        weights, scope, loss_collection, reduction: as for every loss.

    Raises:
        ValueError: the shapes differ, or an argument is None.

    Source: Huber, "Robust Estimation of a Location Parameter" (1964).
    """
    with name_scope(scope, "huber_loss", [predictions, labels, weights]) as scope:
        predictions, labels = _operands(predictions=predictions, labels=labels)
        error = absolute(subtract(predictions, labels))
        # Without a branch: |e| is cut into min(|e|, delta) and what exceeds it.
        quadratic = minimum(error, delta)
        linear = subtract(error, quadratic)
        losses = add(multiply(0.5, square(quadratic)), multiply(delta, linear))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """-labels log(predictions + ε) - (1 - labels) log(1 - predictions + ε).

    Args:
        labels, predictions: probabilities, of one shape.
        epsilon: keeps the logarithms finite.
        weights, scope, loss_collection, reduction: as for every loss.

    Raises:
        ValueError: the shapes differ, or an argument is None.
    """
    with name_scope(scope, "log_loss", [predictions, labels, weights]) as scope:
        predictions, labels = _operands(predictions=predictions, labels=labels)
        hit = multiply(labels, log(predictions + epsilon))
        miss = multiply(1 - labels, log(1 - predictions + epsilon))
        return compute_weighted_loss(negative(hit) - miss, weights, scope, loss_collection, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
    dim: int | None = None,
) -> Tensor:
    """1 - Σ labels predictions along an axis.

    Args:
        labels, predictions: vectors of length 1 along the axis, of one shape; they are not normalized here.
        axis: the vectors' axis. It stays, with size 1, and the weights must fit that.
        weights, scope, loss_collection, reduction: as for every loss.
        dim: the older name of `axis`.

    Raises:
        ValueError: the shapes differ, an argument is None, or the axis is missing or given twice.
    """
    axis = deprecated_argument("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("You must specify 'axis'.")
    with name_scope(scope, "cosine_distance_loss", [predictions, labels, weights]) as scope:
        predictions, labels = _operands(predictions=predictions, labels=labels)
        losses = 1 - reduce_sum(multiply(predictions, labels), axis=axis, keepdims=True)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Tensor:
    """The mean of (dᵢ - dⱼ)² over all pairs i, j of an example's elements, d = predictions - labels; summed.

    Only differences between an example's predictions count, not their level.

    Args:
        labels, predictions: [batch, ...], of one shape.
        weights, scope, loss_collection: as for every loss.

    Returns:
        A scalar, the sum over the batch.

    Raises:
        ValueError: the shapes differ, the weights do not fit, or an argument is None.
    """
    with name_scope(scope, "mean_pairwise_squared_error", [predictions, labels, weights]):
        predictions, labels = _operands(predictions=predictions, labels=labels)
        weights = cast(weights, float32)
        with control_dependencies(_check_broadcastable(weights, labels)):
            d = subtract(predictions, labels)
            axes = _all_but_first_axis(d)
            n = _num_present(d, weights, per_batch=True)
            # Σᵢⱼ (dᵢ - dⱼ)² = 2 n Σ d² - 2 (Σ d)², over n (n - 1) ordered pairs.
            squares = div_no_nan(reduce_sum(square(d), axes, keepdims=True), maximum(n - 1, 0))
            products = div_no_nan(square(reduce_sum(d, axes, keepdims=True)), maximum(n * (n - 1), 0))
            total = reduce_sum(multiply(2.0 * squares - 2.0 * products, weights))
            any_present = greater(reduce_sum(n), 0)
            loss = where(any_present, total, zeros_like(total), name="value")
        add_loss(loss, loss_collection)
        return loss


# ---------------------------------------------------------------- losses of logits


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """max(0, 1 - t x), t = ±1: positive unless a logit x is beyond 1 on its label's side.

    Args:
        labels: 0 or 1, of the shape of the logits.
        logits: numbers of any shape.
        weights, scope, loss_collection, reduction: as for every loss.

    Raises:
        ValueError: the shapes differ, or an argument is None.
    """
    with name_scope(scope, "hinge_loss", [logits, labels, weights]) as scope:
        logits, labels = _operands(logits=logits, labels=labels)
        ones = ones_like(labels)
        signs = subtract(2 * labels, ones)
        losses = relu(subtract(ones, multiply(signs, logits)))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The cross-entropy of independent classes.

    Args:
        multi_class_labels: [batch, classes], in [0, 1].
        logits: [batch, classes], floating.
        label_smoothing: how far the labels are moved towards 1/2.
        weights, scope, loss_collection, reduction: as for every loss.

    Returns:
        A scalar of the dtype of the logits.

    Raises:
        ValueError: the shapes differ, or an argument is None.
    """
    with name_scope(scope, "sigmoid_cross_entropy_loss", [logits, multi_class_labels, weights]) as scope:
        logits, labels = _logits_and_labels(logits, multi_class_labels, "multi_class_labels")
        if label_smoothing > 0:
            labels = labels * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = sigmoid_cross_entropy_with_logits(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def _logits_and_labels(logits: Any, labels: Any, labels_name: str) -> tuple[Tensor, Tensor]:
    """Logits, and labels of their dtype and shape."""
    for name, value in ((labels_name, labels), ("logits", logits)):
        if value is None:
            raise ValueError(f"{name} must not be None.")
    logits = convert_to_tensor(logits, name="logits")
    labels = cast(labels, logits.dtype)
    logits.shape.assert_is_compatible_with(labels.shape)
    return logits, labels


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The cross-entropy of classes that exclude each other, given as distributions.

    Args:
        onehot_labels: [batch, classes]. No gradient flows into them.
        logits: [batch, classes], floating.
        label_smoothing: how far the labels are moved towards 1/classes.
        weights: a scalar or [batch].
        scope, loss_collection, reduction: as for every loss.

    Returns:
        A scalar of the dtype of the logits.

    Raises:
        ValueError: the shapes differ, or an argument is None.
    """
    with name_scope(scope, "softmax_cross_entropy_loss", [logits, onehot_labels, weights]) as scope:
        logits, labels = _logits_and_labels(logits, onehot_labels, "onehot_labels")
        if label_smoothing > 0:
            classes = cast(shape(labels)[1], logits.dtype)
            labels = labels * (1 - label_smoothing) + label_smoothing / classes
        labels = stop_gradient(labels, name="labels_stop_gradient")
        losses = softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = Reduction.SUM_BY_NONZERO_WEIGHTS,
) -> Tensor:
    """The cross-entropy of classes that exclude each other, given as class numbers.

    Args:
        labels: [batch] or [batch, 1], integers in [0, classes).
        logits: [batch, classes], floating.
        weights: a scalar, [batch] or [batch, 1].
        scope, loss_collection, reduction: as for every loss.

    Returns:
        A scalar of the dtype of the logits.

    Raises:
        ValueError: the shapes do not fit, or an argument is None.
        errors.InvalidArgumentError: a label is out of range, when run.
    """
    for name, value in (("labels", labels), ("logits", logits)):
        if value is None:
            raise ValueError(f"{name} must not be None.")
    with name_scope(scope, "sparse_softmax_cross_entropy_loss", [logits, labels, weights]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = _without_last(convert_to_tensor(labels, name="labels"), logits, 0)
        weights = _without_last(convert_to_tensor(weights, name="weights"), labels, 1)
        losses = sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def _without_last(x: Tensor, other: Tensor, excess: int) -> Tensor:
    """`x` without its last dimension, of size 1, where its rank is that of another tensor plus an excess."""
    if x.shape.ndims == 0:
        return x
    if x.shape.ndims is not None and other.shape.ndims is not None:
        return squeeze(x, [-1]) if x.shape.ndims == other.shape.ndims + excess else x
    return cond(equal(rank(x), rank(other) + excess), lambda: squeeze(x, [-1]), lambda: x)
