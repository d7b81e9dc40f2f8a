"""Samples of classes, and losses that compare the true classes with them, where all logits would be too many.

Source: Jean, Cho, Memisevic, Bengio, "On Using Very Large Target Vocabulary for Neural Machine Translation"
(2014); Gutmann, Hyvärinen, "Noise-contrastive estimation" (2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import int32, int64
from tahr.core.forms import Candidates
from tahr.core.graph import Tensor
from tahr.core.opdef import DRAWS, REQUIRED, Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.errors import Complaint
from tahr.ops import results
from tahr.ops.casts import cast
from tahr.ops.cropping import slice_
from tahr.ops.elementwise import multiply
from tahr.ops.embeddings import embedding_lookup
from tahr.ops.fills import ones, ones_like, zeros_like
from tahr.ops.joining import concat, stack
from tahr.ops.linalg import matmul
from tahr.ops.nn import sigmoid_cross_entropy_with_logits
from tahr.ops.sampling import Sampler
from tahr.ops.scattering import sparse_to_dense
from tahr.ops.seeds import SEEDS, drawing, seeds
from tahr.ops.softmax import softmax_cross_entropy_with_logits_v2
from tahr.ops.special import log
from tahr.ops.structural import expand_dims, reshape, shape, stop_gradient

# ---------------------------------------------------------------- samplers of classes


def _define_sampler(name: str, sampler: Sampler) -> OpDef:
    op = OpDef(
        name,
        "true_classes: int64 -> sampled_candidates: int64, true_expected_count: float32, "
        "sampled_expected_count: float32",
        attrs={
            "num_true": REQUIRED,
            "num_sampled": REQUIRED,
            "unique": REQUIRED,
            "range_max": REQUIRED,
            **SEEDS,
        },
        form=Candidates(sampler),
        effects=DRAWS,
    )
    op.not_differentiable()
    op.shape(_candidates_shape)

    @op.stateful_kernel
    def _candidates_kernel(  # pyright: ignore[reportUnusedFunction]
        context: Any,
        true_classes: Array,
        *,
        num_true: int,
        num_sampled: int,
        unique: bool,
        range_max: int,
        seed: int,
        seed2: int,
    ) -> tuple[Array, Array, Array]:
        if true_classes.ndim == 2 and true_classes.shape[1] != num_true:
            raise Complaint(
                f"true_classes must have num_true columns, expected: {num_true} was: {true_classes.shape[1]}"
            )
        with drawing(context, seed, seed2) as stream:
            return stream.candidates(sampler, true_classes, num_sampled, unique, range_max)

    return op


def _candidates_shape(true_classes: Spec, *, num_true: int, num_sampled: int, **_: Any) -> list[Shape]:
    batch, _classes = shapes.dims(true_classes.shape, 2)
    return [(num_sampled,), (batch, num_true), (num_sampled,)]


UniformCandidateSampler = _define_sampler("UniformCandidateSampler", "uniform")
LogUniformCandidateSampler = _define_sampler("LogUniformCandidateSampler", "log_uniform")


def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> results.UniformCandidateSampler:
    """Draws classes that are all equally likely.

    Args:
        true_classes: [batch, num_true] int64, the target classes.
        num_true: how many target classes each example has.
        num_sampled: how many classes to draw.
        unique: whether they all differ.
        range_max: the number of classes.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        The classes and their expected counts.
    """
    attrs: dict[str, Any] = {
        "num_true": num_true,
        "num_sampled": num_sampled,
        "unique": unique,
        "range_max": range_max,
    }
    sample = UniformCandidateSampler(true_classes, **attrs, **seeds(seed), name=name)
    return results.UniformCandidateSampler(*sample)


def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> results.LogUniformCandidateSampler:
    """Draws classes of which small numbers are likelier: P(k) = log((k + 2) / (k + 1)) / log(range_max + 1).

    Words numbered by falling frequency are nearly distributed like that (Zipf's law).

    Args:
        true_classes: [batch, num_true] int64, the target classes.
        num_true: how many target classes each example has.
        num_sampled: how many classes to draw.
        unique: whether they all differ.
        range_max: the number of classes.
        seed: see `set_random_seed`.
        name: the operation's name.

    Returns:
        The classes and their expected counts.
    """
    attrs: dict[str, Any] = {
        "num_true": num_true,
        "num_sampled": num_sampled,
        "unique": unique,
        "range_max": range_max,
    }
    sample = LogUniformCandidateSampler(true_classes, **attrs, **seeds(seed), name=name)
    return results.LogUniformCandidateSampler(*sample)


# ---------------------------------------------------------------- ComputeAccidentalHits

ComputeAccidentalHits = OpDef(
    "ComputeAccidentalHits",
    "true_classes: int64, sampled_candidates: int64 -> indices: int32, ids: int64, weights: float32",
    attrs={"num_true": REQUIRED, "seed": 0, "seed2": 0},
)
ComputeAccidentalHits.not_differentiable()

# What is added to the logit of a sampled class that is a true one, so that its probability vanishes.
NEVER = np.asarray(-np.finfo(np.float32).max)


@ComputeAccidentalHits.shape
def _accidental_hits_shape(true_classes: Spec, sampled: Spec, *, num_true: int, **_: Any) -> list[Shape]:
    count = shapes.dims(true_classes.shape, 2)[1]
    shapes.dims(sampled.shape, 1)
    if isinstance(count, int) and count != num_true:
        raise Complaint(f"true_classes must be a batch_size * num_true matrix, but num_true is {num_true}")
    return [(UNKNOWN,)] * 3


@ComputeAccidentalHits.kernel
def _accidental_hits_kernel(
    true_classes: Array, sampled: Array, *, num_true: int, seed: int, seed2: int
) -> tuple[Array, Array, Array]:
    rows, _, ids = np.nonzero(true_classes[:, :, None] == sampled)
    return rows.astype(np.int32), ids.astype(np.int64), np.full(len(rows), NEVER, np.float32)


def compute_accidental_hits(
    true_classes: Any,
    sampled_candidates: Any,
    num_true: int,
    seed: int | None = None,
    name: str | None = None,
) -> results.ComputeAccidentalHits:
    """Where a sampled class is a true one.

    Args:
        true_classes: [batch, num_true], int64.
        sampled_candidates: [num_sampled], int64.
        num_true: the number of true classes of each example.
        seed: accepted; nothing is drawn.
        name: the operation's name.

    Returns:
        For each hit the index of the example, that of the candidate, and the lowest float32, to be added to
        the candidate's logit.
    """
    hits = ComputeAccidentalHits(true_classes, sampled_candidates, num_true=int(num_true), name=name)
    return results.ComputeAccidentalHits(*hits)


# ---------------------------------------------------------------- losses


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
    seed: int | None = None,
) -> Tensor:
    """The softmax cross-entropy over the true classes and a sample of the others, for training only.

    Args:
        weights: [num_classes, dim], or a list of tensors that make it up.
        biases: [num_classes].
        labels: [batch, num_true], the true classes.
        inputs: [batch, dim].
        num_sampled: how many classes are drawn for the batch.
        num_classes: the number of classes.
        num_true: the number of true classes of each example.
        sampled_values: the results of a candidate sampler; of `log_uniform_candidate_sampler` by default.
        remove_accidental_hits: whether sampled classes that are true ones do not count.
        partition_strategy: how classes are dealt out to a list of weights, as in `embedding_lookup`.
        name: the scope of the operations.
        seed: the sampler's seed.

    Returns:
        [batch].
    """
    logits, targets = _sampled_logits(
        weights,
        biases,
        labels,
        inputs,
        num_sampled,
        num_classes,
        num_true,
        sampled_values,
        remove_accidental_hits,
        partition_strategy,
        name,
        seed,
    )
    targets = stop_gradient(targets, name="labels_stop_gradient")
    return softmax_cross_entropy_with_logits_v2(labels=targets, logits=logits)


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Tensor:
    """Noise-contrastive estimation: telling the true classes from sampled ones by a logistic regression.

    Arguments as in `sampled_softmax_loss`.

    Returns:
        [batch].
    """
    logits, targets = _sampled_logits(
        weights,
        biases,
        labels,
        inputs,
        num_sampled,
        num_classes,
        num_true,
        sampled_values,
        remove_accidental_hits,
        partition_strategy,
        name,
        None,
    )
    losses = sigmoid_cross_entropy_with_logits(labels=targets, logits=logits, name="sampled_losses")
    return _sums_of_rows(losses)


def _sampled_logits(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int,
    sampled_values: Sequence[Any] | None,
    remove_accidental_hits: bool,
    partition_strategy: str,
    name: str | None,
    seed: int | None,
) -> tuple[Tensor, Tensor]:
    """Logits and target probabilities of true and sampled classes, [batch, num_true + num_sampled] each.

    From each logit the logarithm of its class's expected count in the sample is subtracted. Operations are made in
    TensorFlow's order: names, and the sampler's default seed, follow from it.
    """
    with name_scope(name, "compute_sampled_logits", [inputs, labels]):
        inputs = convert_to_tensor(inputs, name="inputs")
        labels = cast(labels, int64)
        flat_labels = reshape(labels, [-1])
        if sampled_values is None:
            sampled_values = log_uniform_candidate_sampler(
                labels, num_true, num_sampled, unique=True, range_max=num_classes, seed=seed
            )
        sampled, true_count, sampled_count = (stop_gradient(value) for value in sampled_values)
        sampled = cast(sampled, int64)
        ids = concat([flat_labels, sampled], 0)
        w = cast(embedding_lookup(weights, ids, partition_strategy), inputs.dtype)
        true_w = slice_(w, [0, 0], stack([shape(flat_labels)[0], -1]))
        sampled_w = slice_(w, stack([shape(flat_labels)[0], 0]), [-1, -1])
        sampled_logits = matmul(inputs, sampled_w, transpose_b=True)
        b = cast(embedding_lookup(biases, ids, partition_strategy), inputs.dtype)
        true_b = slice_(b, [0], shape(flat_labels))
        sampled_b = slice_(b, shape(flat_labels), [-1])
        true_logits = _true_logits(inputs, true_w, num_true) + reshape(true_b, [-1, num_true])
        sampled_logits += sampled_b
        if remove_accidental_hits:
            sampled_logits += _hidden(labels, sampled, num_true, num_sampled, sampled_logits)
        true_logits -= log(true_count)
        sampled_logits -= log(sampled_count)
        logits = concat([true_logits, sampled_logits], 1)
        return logits, concat([ones_like(true_logits) / num_true, zeros_like(sampled_logits)], 1)


def _true_logits(inputs: Tensor, true_w: Tensor, num_true: int) -> Tensor:
    """The products of each example with the weights of its own classes, [batch, num_true]."""
    width = shape(true_w)[1:2]
    own_w = concat([[-1, num_true], width], 0)
    products = multiply(expand_dims(inputs, 1), reshape(true_w, own_w))
    rows = reshape(products, concat([[-1], width], 0))
    return reshape(_sums_of_rows(rows), [-1, num_true])


def _sums_of_rows(x: Tensor) -> Tensor:
    """The sums of rows, by a product with ones as in TensorFlow."""
    column = ones(stack([shape(x)[1], 1]), x.dtype)
    return reshape(matmul(x, column), [-1])


def _hidden(labels: Tensor, sampled: Tensor, num_true: int, num_sampled: int, logits: Tensor) -> Tensor:
    """What to add to the sampled classes' logits so that true ones among them do not count."""
    rows, ids, weights = compute_accidental_hits(labels, sampled, num_true)
    columns = [reshape(rows, [-1, 1]), reshape(cast(ids, int32), [-1, 1])]
    places = concat(columns, 1, name="sparse_indices")
    size = concat([shape(labels)[:1], expand_dims(num_sampled, 0)], 0)
    # Where a class is given as a true one twice its place is there twice, and must not add up to -Inf.
    return sparse_to_dense(
        places, size, cast(weights, logits.dtype), default_value=0.0, validate_indices=False
    )
