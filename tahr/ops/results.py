"""What operations with several results return: tuples with TensorFlow's type and field names."""

from __future__ import annotations

from typing import NamedTuple

from tahr.core.graph import Tensor


class TopKV2(NamedTuple):
    """What `top_k` returns: the largest elements along the last axis, and where they are."""

    values: Tensor
    indices: Tensor


class Unique(NamedTuple):
    """What `unique` returns.

    Attributes:
        y: the different elements, in the order of their first occurrence.
        idx: for each element of the input its place in `y`.
    """

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """What `unique_with_counts` returns: as `Unique`, and how often each element of `y` occurs."""

    y: Tensor
    idx: Tensor
    count: Tensor  # pyright: ignore[reportIncompatibleMethodOverride]  # TensorFlow's name


class ListDiff(NamedTuple):
    """What `setdiff1d` returns.

    Attributes:
        out: the elements of `x` that are not in `y`, in their order.
        idx: where they are in `x`.
    """

    out: Tensor
    idx: Tensor


class MaxPoolWithArgmax(NamedTuple):
    """What `max_pool_with_argmax` returns: the maxima, and their places in the flattened images."""

    output: Tensor
    argmax: Tensor


class Qr(NamedTuple):
    """What `qr` returns: orthonormal columns, and an upper triangular matrix."""

    q: Tensor
    r: Tensor


class LogMatrixDeterminant(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    log_abs_determinant: Tensor


class UniformCandidateSampler(NamedTuple):
    """What `uniform_candidate_sampler` returns.

    Attributes:
        sampled_candidates: the classes drawn, [num_sampled].
        true_expected_count: how often each target class is expected in a sample, [batch, num_true].
        sampled_expected_count: the same for each class drawn, [num_sampled].
    """

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


class LogUniformCandidateSampler(NamedTuple):
    """What `log_uniform_candidate_sampler` returns; as `UniformCandidateSampler`."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


class ComputeAccidentalHits(NamedTuple):
    """What `compute_accidental_hits` returns.

    Attributes:
        indices: the example of each hit.
        ids: the place of its class among the sampled ones.
        weights: the lowest float32, to be added to the class's logit.
    """

    indices: Tensor
    ids: Tensor
    weights: Tensor
