"""Losses, cross-entropies, softmax and normalisation: values and gradients, at extreme inputs too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Cases, run

Build = Callable[..., Any]

NAN, INF = float("nan"), float("inf")
LOGITS = [[1.0, -2.0, 0.5], [3.0, 3.0, -1.0]]
LABELS = [[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]]
EXTREME = [[1000.0, -1000.0, 0.0], [88.0, 89.0, -104.0], [1e30, 1e30, 0.0]]
ONE_HOT = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
SPECIAL = [[INF, 0.0, 1.0], [-INF, 0.0, 1.0], [NAN, 0.0, 1.0], [-INF, -INF, -INF]]
SPECIAL_LABELS = [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
CUBE = (np.arange(12).reshape(2, 3, 2) * 7 % 5 - 1.5).tolist()
IMAGE = (np.arange(32).reshape(2, 2, 2, 4) * 11 % 13 / 4.0 - 1.0).tolist()


def value_and_gradients(tf: Any, build: Build, *inputs: Any, dtype: str = "float32") -> dict[str, Any]:
    """Return the results of `build` and their gradients, weighted unevenly so that no error cancels."""
    tensors = [tf.constant(np.array(value, dtype)) for value in inputs]
    results = build(tf, *tensors)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    weights = [
        tf.constant(
            1.0 + np.arange(np.prod(result.shape.as_list(), dtype=int)) % 4 / 2.0,
            result.dtype,
            result.shape.as_list(),
        )
        for result in results
    ]
    grads = tf.gradients(results, tensors, grad_ys=weights)
    known = {str(index): tf.convert_to_tensor(grad) for index, grad in enumerate(grads) if grad is not None}
    return run(tf, {"value": results, "gradient": known})


def softmax_v1(tf: Any, x: Any, y: Any) -> Any:
    return tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=x)


def softmax_v2(tf: Any, x: Any, y: Any) -> Any:
    return tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=x)


def sigmoid(tf: Any, x: Any, y: Any) -> Any:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x)


def weighted(tf: Any, x: Any, y: Any) -> Any:
    return tf.nn.weighted_cross_entropy_with_logits(y, x, 2.5)


def sparse(*labels: int) -> Build:
    """Sparse softmax cross-entropy with these classes."""

    def build(tf: Any, x: Any) -> Any:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.constant(labels), logits=x)

    return build


def softmax(axis: int) -> Build:
    def build(tf: Any, x: Any) -> Any:
        return tf.nn.softmax(x, axis=axis)

    return build


def log_softmax(axis: int) -> Build:
    def build(tf: Any, x: Any) -> Any:
        return tf.nn.log_softmax(x, axis=axis)

    return build


def l2_normalize(axis: Any, **options: Any) -> Build:
    def build(tf: Any, x: Any) -> Any:
        return tf.nn.l2_normalize(x, axis, **options)

    return build


def moments(axes: list[int], keep_dims: bool = False) -> Build:
    def build(tf: Any, x: Any) -> Any:
        return tf.nn.moments(x, axes, keep_dims=keep_dims)

    return build


def fused(training: bool, **options: Any) -> Build:
    """fused_batch_norm: output, mean and variance (training also returns the batch's)."""

    def build(tf: Any, x: Any, scale: Any, offset: Any, *statistics: Any) -> Any:
        mean, variance = statistics or (None, None)
        outputs = tf.nn.fused_batch_norm(
            x, scale, offset, mean=mean, variance=variance, is_training=training, **options
        )
        return list(outputs) if not training else outputs[0]

    return build


def fused_statistics(tf: Any) -> dict[str, Any]:
    """The batch's mean and its variance with Bessel's correction; epsilon is at least 1.001e-5."""
    x = tf.constant(np.array(IMAGE, np.float32))
    ones, zeros = tf.ones([4]), tf.zeros([4])
    y, mean, variance = tf.nn.fused_batch_norm(x, ones, zeros, epsilon=1e-3)
    flat = tf.nn.fused_batch_norm(x * 1e-3, ones, zeros, epsilon=0.0)[0]
    return run(tf, {"y": y, "mean": mean, "variance": variance, "no_epsilon": flat})


def loss(name: str, **options: Any) -> Build:
    def build(tf: Any, x: Any, y: Any) -> Any:
        return getattr(tf.losses, name)(y, x, **options)

    return build


def reductions(tf: Any, weights: Any) -> dict[str, Any]:
    """tf.losses by every reduction, with weights of several shapes."""
    x, y = tf.constant(LOGITS), tf.constant(LABELS)
    kinds = (
        "none",
        "weighted_sum",
        "weighted_mean",
        "weighted_sum_over_batch_size",
        "weighted_sum_by_nonzero_weights",
    )
    return run(
        tf, {kind: tf.losses.mean_squared_error(y, x, weights=weights, reduction=kind) for kind in kinds}
    )


def losses_collection(tf: Any) -> dict[str, Any]:
    """Losses are collected; the total adds the regularization losses."""
    x, y = tf.constant(LOGITS), tf.constant(LABELS)
    first = tf.losses.mean_squared_error(y, x)
    second = tf.losses.absolute_difference(y, x)
    with tf.variable_scope("v", regularizer=lambda w: 0.5 * tf.reduce_sum(tf.square(w))):
        tf.get_variable("w", initializer=np.array([1.0, 2.0], np.float32))
    return {
        "losses": [item.name for item in tf.losses.get_losses()],
        "count": len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)),
        "values": run(
            tf,
            [
                first,
                second,
                tf.losses.get_regularization_loss(),
                tf.losses.get_total_loss(),
                tf.losses.get_total_loss(add_regularization_losses=False),
            ],
        ),
    }


def softmax_loss(**options: Any) -> Build:
    def build(tf: Any, x: Any, y: Any) -> Any:
        return tf.losses.softmax_cross_entropy(y, x, **options)

    return build


def second_order(build: Build, *inputs: Any) -> Callable[[Any], Any]:
    """The gradient of the gradient along a fixed direction."""

    def case(tf: Any) -> Any:
        tensors = [tf.constant(np.array(value, "float64")) for value in inputs]
        x = tensors[0]
        first = tf.gradients(build(tf, *tensors), x)[0]
        direction = np.cos(np.arange(np.prod(x.shape.as_list()))).reshape(x.shape.as_list())
        return run(tf, tf.gradients(first * tf.constant(direction), x)[0])

    return case


# Name -> (function, inputs); the first input is the logits or the activations.
FLOAT32: dict[str, tuple[Any, ...]] = {
    "softmax_cross_entropy": (softmax_v1, LOGITS, LABELS),
    "softmax_cross_entropy_extreme": (softmax_v1, EXTREME, ONE_HOT),
    "softmax_cross_entropy_special": (softmax_v1, SPECIAL, SPECIAL_LABELS),
    "softmax_cross_entropy_v2": (softmax_v2, LOGITS, LABELS),
    "softmax_cross_entropy_v2_extreme": (softmax_v2, EXTREME, ONE_HOT),
    "softmax_cross_entropy_v2_special": (softmax_v2, SPECIAL, SPECIAL_LABELS),
    "softmax_cross_entropy_v2_unnormalized": (softmax_v2, LOGITS, [[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
    "softmax_cross_entropy_v2_axis": (
        lambda tf, x, y: tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=x, axis=0),
        LOGITS,
        LABELS,
    ),
    "softmax_cross_entropy_v2_rank3": (softmax_v2, CUBE, np.full((2, 3, 2), 0.5)),
    "sparse_softmax": (sparse(2, 1), LOGITS),
    "sparse_softmax_extreme": (sparse(1, 0, 2), EXTREME),
    "sparse_softmax_special": (sparse(1, 1, 0, 2), SPECIAL),
    "sigmoid_cross_entropy": (sigmoid, LOGITS, LABELS),
    "sigmoid_cross_entropy_extreme": (sigmoid, EXTREME, ONE_HOT),
    "sigmoid_cross_entropy_zero": (sigmoid, [0.0, -0.0], [0.0, 1.0]),
    "sigmoid_cross_entropy_special": (sigmoid, [INF, -INF, NAN, INF], [1.0, 0.0, 1.0, 0.0]),
    "weighted_cross_entropy": (weighted, LOGITS, LABELS),
    "weighted_cross_entropy_extreme": (weighted, EXTREME, ONE_HOT),
    "softmax_last": (softmax(-1), LOGITS),
    "softmax_extreme": (softmax(-1), EXTREME),
    "softmax_special": (softmax(-1), SPECIAL),
    "softmax_axis0": (softmax(0), CUBE),
    "softmax_axis1": (softmax(1), CUBE),
    "softmax_vector": (softmax(-1), [1.0, 2.0, 4.0]),
    "softmax_empty": (softmax(-1), np.zeros((0, 3))),
    "log_softmax": (log_softmax(-1), LOGITS),
    "log_softmax_extreme": (log_softmax(-1), EXTREME),
    "log_softmax_special": (log_softmax(-1), SPECIAL),
    "log_softmax_axis1": (log_softmax(1), CUBE),
    "logsumexp": (lambda tf, x: tf.reduce_logsumexp(x, 1), EXTREME),
    "logsumexp_special": (lambda tf, x: tf.reduce_logsumexp(x, 1), SPECIAL),
    "l2_normalize": (l2_normalize(1), LOGITS),
    "l2_normalize_axes": (l2_normalize([0, 2]), CUBE),
    "l2_normalize_zero": (l2_normalize(0), [0.0, 0.0]),
    "l2_normalize_epsilon": (l2_normalize(0, epsilon=0.1), [0.1, 0.2]),
    "moments": (moments([0]), LOGITS),
    "moments_kept": (moments([0, 1], keep_dims=True), CUBE),
    "moments_large_mean": (moments([0]), [1001.0, 1003.0, 1002.0, 1002.0]),
    "batch_normalization": (
        lambda tf, x, m, v, b, g: tf.nn.batch_normalization(x, m, v, b, g, 1e-3),
        LOGITS,
        [0.5, 0.0, 1.0],
        [1.0, 2.0, 0.0],
        [0.1, 0.2, 0.3],
        [1.0, 2.0, -1.0],
    ),
    "batch_normalization_plain": (
        lambda tf, x, m, v: tf.nn.batch_normalization(x, m, v, None, None, 1e-3),
        LOGITS,
        [0.5, 0.0, 1.0],
        [1.0, 2.0, 0.0],
    ),
    "fused_batch_norm_training": (
        fused(True, epsilon=1e-3),
        IMAGE,
        [1.0, 2.0, -1.0, 0.5],
        [0.0, 1.0, 2.0, 3.0],
    ),
    "fused_batch_norm_inference": (
        fused(False, epsilon=1e-2),
        IMAGE,
        [1.0, 2.0, -1.0, 0.5],
        [0.0, 1.0, 2.0, 3.0],
        [0.1, 0.2, 0.3, 0.4],
        [1.0, 0.5, 2.0, 0.0],
    ),
    "lrn": (lambda tf, x: tf.nn.lrn(x), IMAGE),
    "lrn_options": (lambda tf, x: tf.nn.lrn(x, depth_radius=1, bias=2.0, alpha=0.3, beta=0.75), IMAGE),
    "l2_loss": (lambda tf, x: tf.nn.l2_loss(x), LOGITS),
    "log_poisson": (lambda tf, x, y: tf.nn.log_poisson_loss(y, x, compute_full_loss=True), LOGITS, LABELS),
    "losses_mean_squared_error": (loss("mean_squared_error"), LOGITS, LABELS),
    "losses_mean_squared_error_weights": (loss("mean_squared_error", weights=[[2.0], [0.0]]), LOGITS, LABELS),
    "losses_zero_weights": (loss("mean_squared_error", weights=0.0), LOGITS, LABELS),
    "losses_absolute_difference": (loss("absolute_difference"), LOGITS, LABELS),
    "losses_huber": (loss("huber_loss", delta=1.5), LOGITS, LABELS),
    "losses_hinge": (loss("hinge_loss"), LOGITS, [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]),
    "losses_log": (loss("log_loss"), [[0.1, 0.9], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]),
    "losses_cosine": (loss("cosine_distance", axis=1), LOGITS, LABELS),
    "losses_pairwise": (loss("mean_pairwise_squared_error"), LOGITS, LABELS),
    "losses_softmax_smoothed": (softmax_loss(label_smoothing=0.1, weights=[1.0, 0.5]), LOGITS, LABELS),
    "losses_sigmoid_smoothed": (
        lambda tf, x, y: tf.losses.sigmoid_cross_entropy(y, x, label_smoothing=0.2),
        LOGITS,
        LABELS,
    ),
}

FLOAT64 = (
    "softmax_cross_entropy_v2",
    "sparse_softmax",
    "sigmoid_cross_entropy",
    "softmax_axis1",
    "log_softmax_axis1",
    "moments",
    "l2_normalize",
    "batch_normalization",
)

CASES: Cases = {}
for _name, (_build, *_inputs) in FLOAT32.items():
    CASES[_name] = lambda tf, build=_build, inputs=_inputs: value_and_gradients(tf, build, *inputs)
for _name in FLOAT64:
    CASES[f"{_name}_float64"] = lambda tf, case=FLOAT32[_name]: value_and_gradients(
        tf, *case, dtype="float64"
    )
CASES.update(
    {
        "fused_statistics": fused_statistics,
        "reductions_scalar": lambda tf: reductions(tf, 2.0),
        "reductions_rows": lambda tf: reductions(tf, tf.constant([[2.0], [0.0]])),
        "reductions_all": lambda tf: reductions(tf, tf.constant([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0]])),
        "losses_collection": losses_collection,
        "second_order_softmax_cross_entropy": second_order(softmax_v2, LOGITS, LABELS),
        "second_order_sigmoid_cross_entropy": second_order(sigmoid, LOGITS, LABELS),
        "second_order_log_softmax": second_order(lambda tf, x: tf.nn.log_softmax(x)[:, 1], LOGITS),
        "second_order_softmax": second_order(lambda tf, x: tf.nn.softmax(x)[:, 1], LOGITS),
        "second_order_l2_normalize": second_order(lambda tf, x: tf.nn.l2_normalize(x, 1)[:, 1], LOGITS),
    }
)
