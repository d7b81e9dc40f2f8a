"""tf.losses: which weights fit, what unknown shapes and dtypes do, and the errors; the values are recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf

LABELS = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


def placeholders() -> tuple[Any, Any]:
    """Losses and weights of unknown shapes."""
    return tf.placeholder(tf.float32), tf.placeholder(tf.float32)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param(2.0, 7.0, id="scalar"),
        pytest.param(0.0, 0.0, id="zero"),
        pytest.param([[1.0], [0.0]], 2.0, id="rows"),
        pytest.param([[1.0, 0.0, 0.0]], 2.5, id="columns"),
        pytest.param([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]], 6.5, id="elements"),
    ],
)
def test_weights_known_and_fed(weights: Any, expected: float) -> None:
    losses, fed = placeholders()
    known = tf.losses.compute_weighted_loss(tf.constant(LABELS), weights)
    unknown = tf.losses.compute_weighted_loss(losses, fed)
    with tf.Session() as session:
        assert session.run(known) == expected
        assert session.run(unknown, {losses: LABELS, fed: weights}) == expected


@pytest.mark.parametrize("weights", [[1.0, 2.0, 3.0], [[1.0, 2.0]], [[[1.0]]]])
def test_weights_that_do_not_fit(weights: Any) -> None:
    with pytest.raises(ValueError, match="weights can not be broadcast to values"):
        tf.losses.compute_weighted_loss(tf.constant(LABELS), weights)
    losses, fed = placeholders()
    loss = tf.losses.compute_weighted_loss(losses, fed)
    with (
        tf.Session() as session,
        pytest.raises(tf.errors.InvalidArgumentError, match="weights can not be broadcast to values"),
    ):
        session.run(loss, {losses: LABELS, fed: weights})


def test_weights_of_known_rank_must_not_widen_the_losses() -> None:
    losses, fed = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    loss = tf.losses.compute_weighted_loss(losses, fed)
    with tf.Session() as session:
        assert session.run(loss, {losses: [1.0, 3.0], fed: [1.0, 1.0]}) == 2.0
        with pytest.raises(tf.errors.InvalidArgumentError, match="weights can not be broadcast"):
            session.run(loss, {losses: [1.0], fed: [1.0, 1.0]})


def test_nan_weights_are_not_hidden() -> None:
    loss = tf.losses.compute_weighted_loss(tf.constant([1.0, 2.0]), [np.nan, 1.0])
    assert np.isnan(tf.Session().run(loss))


@pytest.mark.parametrize("reduction", tf.losses.Reduction.all())
def test_the_dtype_stays(reduction: str) -> None:
    losses = tf.constant([1.0, 2.0], tf.float64)
    loss = tf.losses.compute_weighted_loss(losses, reduction=reduction, loss_collection=None)
    assert loss.dtype == tf.float64
    assert loss.shape.as_list() == ([2] if reduction == tf.losses.Reduction.NONE else [])
    assert tf.losses.get_losses() == []


def test_columns_of_labels_and_weights_are_squeezed() -> None:
    logits, labels, weights = tf.constant(LABELS), tf.constant([[2], [0]]), tf.constant([[1.0], [0.5]])
    one = tf.losses.sparse_softmax_cross_entropy(labels, logits, weights)
    other = tf.losses.sparse_softmax_cross_entropy([2, 0], logits, [1.0, 0.5])
    unknown_labels, unknown_weights = tf.placeholder(tf.int32), tf.placeholder(tf.float32)
    fed = tf.losses.sparse_softmax_cross_entropy(unknown_labels, logits, unknown_weights)
    with tf.Session() as session:
        expected = session.run(other)
        assert session.run(one) == expected
        for shape in ([2], [2, 1]):
            feeds = {
                unknown_labels: np.reshape([2, 0], shape),
                unknown_weights: np.reshape([1.0, 0.5], shape),
            }
            assert session.run(fed, feeds) == expected


def test_pairs_are_counted_by_definition() -> None:
    labels = np.array([[1.0, 5.0, 2.0], [4.0, 8.0, 12.0]], np.float32)
    predictions = np.array([[4.0, 8.0, 12.0], [8.0, 1.0, 3.0]], np.float32)
    total = 0.0
    for d in predictions - labels:
        pairs = [(d[i] - d[j]) ** 2 for i in range(3) for j in range(3) if i != j]
        total += sum(pairs) / len(pairs)
    loss = tf.losses.mean_pairwise_squared_error(labels, predictions)
    unknown = tf.placeholder(tf.float32)
    fed = tf.losses.mean_pairwise_squared_error(labels, unknown)
    with tf.Session() as session:
        assert session.run(loss) == pytest.approx(total, rel=1e-6)
        assert session.run(fed, {unknown: predictions}) == pytest.approx(total, rel=1e-6)


def test_totals() -> None:
    with pytest.raises(ValueError, match="at least one Tensor"):
        tf.losses.get_total_loss()
    assert tf.Session().run(tf.losses.get_regularization_loss()) == 0.0
    tf.losses.absolute_difference([1.0], [3.0], scope="a")
    tf.losses.absolute_difference([1.0], [4.0], scope="b")
    assert tf.Session().run(tf.losses.get_total_loss()) == 5.0
    assert tf.Session().run(tf.losses.get_total_loss(scope="a")) == 2.0


@pytest.mark.parametrize(
    ("call", "phrase"),
    [
        pytest.param(lambda: tf.losses.hinge_loss(None, LABELS), "labels must not be None", id="no labels"),
        pytest.param(
            lambda: tf.losses.log_loss(LABELS, None), "predictions must not be None", id="no predictions"
        ),
        pytest.param(
            lambda: tf.losses.huber_loss(LABELS[:1], LABELS), r"Shapes .* are incompatible", id="shapes"
        ),
        pytest.param(
            lambda: tf.losses.cosine_distance(LABELS, LABELS), "You must specify 'axis'", id="no axis"
        ),
        pytest.param(
            lambda: tf.losses.cosine_distance(LABELS, LABELS, axis=1, dim=1),
            "Cannot specify both",
            id="two axes",
        ),
        pytest.param(
            lambda: tf.losses.compute_weighted_loss(LABELS, reduction="mean"),
            "Invalid Reduction Key mean",
            id="reduction",
        ),
    ],
)
def test_bad_calls(call: Any, phrase: str) -> None:
    with pytest.raises(ValueError, match=phrase):
        call()
