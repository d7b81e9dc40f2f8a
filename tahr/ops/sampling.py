"""From random words to distributions, as TensorFlow's CPU kernels go: pure functions of a `Philox`.

Sources:
    TensorFlow: core/lib/random/random_distributions.h (words to numbers); core/kernels/random_op.cc,
    random_poisson_op.cc, multinomial_op.cc, random_shuffle_op.cc, range_sampler.cc (which block feeds which output).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tahr.ops.libm import logf, sincosf
from tahr.ops.philox import (
    BLOCKS_PER_OUTPUT,
    WORD_BITS,
    WORDS_PER_BLOCK,
    Array,
    Doubles,
    Floats,
    Indices,
    Philox,
    Words,
)

# ---------------------------------------------------------------- a fixed number of words for each number

# Box-Muller raises smaller uniform numbers to this, since log(0) is -Inf.
SMALLEST_UNIFORM = 1e-7


def uniform_from_words(words: Words, dtype: np.dtype[Any]) -> Array:
    """Returns numbers in [0, 1): words [n, 4] to [n, 4], or to [n, 2] for float64.

    The random bits become the mantissa of a number in [1, 2), from which 1 is subtracted. So a value is a
    multiple of 2**-10 (float16), 2**-7 (bfloat16), 2**-23 (float32) or 2**-52 (float64), and below 1.
    """
    if dtype == np.float64:
        mantissa = (words[:, 0::2] & np.uint32(0xFFFFF)).astype(np.uint64) << WORD_BITS | words[:, 1::2]
        return (mantissa | np.uint64(1023 << 52)).view(np.float64) - 1.0
    if dtype == np.float32:
        mantissa = words & np.uint32(0x7FFFFF)
        return (mantissa | np.uint32(127 << 23)).view(np.float32) - np.float32(1)
    mantissa_bits = 7 if dtype.name == "bfloat16" else 10
    mantissa = (words & np.uint32(2**mantissa_bits - 1)).astype(np.float32)
    return (mantissa * np.float32(2.0**-mantissa_bits)).astype(dtype)


def normal_from_words(words: Words, dtype: np.dtype[Any]) -> Array:
    """Returns normal numbers by the Box-Muller transform: words [n, 4] to [n, 4], or [n, 2] for float64.

    A pair of uniform numbers (u, v) becomes the pair sqrt(-2 log u) * (sin 2 pi v, cos 2 pi v). float16 and
    bfloat16 are computed in float32 and not yet rounded here.
    """
    if dtype == np.float64:
        uniform = uniform_from_words(words, dtype)
        angle = 2 * math.pi * uniform[:, 1]
        sine, cosine = np.sin(angle), np.cos(angle)
        radius = np.sqrt(-2.0 * np.log(np.maximum(uniform[:, 0], SMALLEST_UNIFORM)))
        return np.stack([sine * radius, cosine * radius], axis=1)
    uniform = uniform_from_words(words, np.dtype(np.float32))
    sine, cosine = sincosf((2 * math.pi * uniform[:, 1::2].astype(np.float64)).astype(np.float32))
    radius = np.sqrt(np.float32(-2) * logf(np.maximum(uniform[:, 0::2], np.float32(SMALLEST_UNIFORM))))
    normal = np.empty_like(uniform)
    np.multiply(sine, radius, out=normal[:, 0::2])
    np.multiply(cosine, radius, out=normal[:, 1::2])
    return normal


def integers_from_words(words: Words, minval: int, maxval: int, dtype: np.dtype[Any]) -> Array:
    """Returns integers in [minval, maxval): words [n, 4] to int32 [n, 4] or int64 [n, 2].

    The remainder of a division, so small values are slightly preferred unless the range is a power of two.
    """
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits = words if unsigned == np.uint32 else words[:, 0::2] | words[:, 1::2].astype(np.uint64) << WORD_BITS
    # Unsigned arithmetic wraps, so the sum is right even where maxval - minval overflows the signed type.
    lowest = unsigned.type(minval % 2 ** (8 * dtype.itemsize))
    return (bits % unsigned.type(maxval - minval) + lowest).view(dtype)


def fill(generator: Philox, size: int, dtype: np.dtype[Any], transform: Callable[[Words], Array]) -> Array:
    """Returns `size` numbers from a transform that takes a fixed number of words for each: [size] of `dtype`.

    Args:
        transform: words [n, 4] to numbers [n, group], where `group` is 4, or 2 for an 8-byte dtype.
    """
    groups = -(-size // (2 if dtype.itemsize == 8 else 4))
    values = generator.map_blocks(np.arange(groups, dtype=np.uint64), transform)
    return values.reshape(-1)[:size].astype(dtype, copy=False)


# ---------------------------------------------------------------- rejection sampling

_TRUNCATION = 2.0


def truncated_normals(generator: Philox, size: int, dtype: np.dtype[Any]) -> Array:
    """Returns normal numbers in (-2, 2): [size] of `dtype`.

    The outputs form groups of four (two for float64). A group reads normal numbers from its own blocks and
    keeps the first ones that are in range.
    """
    group = 2 if dtype.itemsize == 8 else 4
    groups = -(-size // group)
    block = np.arange(groups, dtype=np.uint64) * np.uint64(group * BLOCKS_PER_OUTPUT // WORDS_PER_BLOCK)

    def normals(words: Words) -> Array:
        return normal_from_words(words, dtype)

    # Five first blocks out of six have all their numbers in range. The other groups start again below.
    result = generator.map_blocks(block, normals)
    pending = np.flatnonzero((np.abs(result) >= _TRUNCATION).any(axis=1))
    filled = np.zeros(groups, np.int64)
    while pending.size:
        candidates = generator.map_blocks(block[pending], normals)
        accepted = np.abs(candidates) < _TRUNCATION
        # The place of a candidate: what its group had before, plus the accepted ones to its left.
        place = filled[pending, None] + np.cumsum(accepted, axis=1) - 1
        row, column = np.nonzero(accepted & (place < group))
        result[pending[row], place[row, column]] = candidates[row, column]
        filled[pending] += accepted.sum(axis=1)
        block[pending] += np.uint64(1)
        pending = pending[filled[pending] < group]
    return result.reshape(-1)[:size].astype(dtype)


class _Lanes:
    """One generator for each of `size` outputs, each at a position of its own."""

    def __init__(self, generator: Philox, size: int) -> None:
        self._generator = generator
        self._block = np.arange(size, dtype=np.uint64) * np.uint64(BLOCKS_PER_OUTPUT)

    def next_words(self, lanes: Indices) -> Words:
        """Returns the next block of each of the lanes, which differ from each other: [len(lanes), 4]."""
        words = self._generator.blocks(self._block[lanes])
        self._block[lanes] += np.uint64(1)
        return words


class _Pairs:
    """Numbers for every lane, one at a time, from a transform that makes two float64 of a block.

    Of a pair the second is handed out first, as in TensorFlow's kernels.
    """

    def __init__(
        self, lanes: _Lanes, size: int, transform: Callable[[Words, np.dtype[Any]], Doubles]
    ) -> None:
        self._lanes = lanes
        self._transform = transform
        self._spare = np.full(size, np.nan)
        self._has_spare = np.zeros(size, np.bool_)

    def take(self, lanes: Indices) -> Doubles:
        """Returns the next number of each of the lanes: [len(lanes)] float64."""
        result = self._spare[lanes]
        fresh = ~self._has_spare[lanes]
        pair = self._transform(self._lanes.next_words(lanes[fresh]), np.dtype(np.float64))
        result[fresh] = pair[:, 1]
        self._spare[lanes[fresh]] = pair[:, 0]
        self._has_spare[lanes] = fresh
        return result


def gammas(generator: Philox, alpha: Doubles) -> Doubles:
    """Returns one sample of Gamma(alpha[i], 1) for each i: [n] float64; NaN where alpha is negative or NaN.

    With d = alpha - 1/3 and c = 1 / sqrt(9 d), d * (1 + c x)**3 for normal x is nearly a gamma variable;
    rejection makes it one. For alpha < 1: a sample for alpha + 1, times u**(1 / alpha). For alpha = 1, the
    exponential distribution: inversion.

    Source: Marsaglia, Tsang, "A simple method for generating gamma variables", ACM TOMS 26(3), 2000.
    """
    size = alpha.size
    lanes = _Lanes(generator, size)
    normals = _Pairs(lanes, size, normal_from_words)
    uniforms = _Pairs(lanes, size, uniform_from_words)
    result = np.where(alpha >= 0, 0.0, np.nan)

    exponential = np.flatnonzero(alpha == 1)
    result[exponential] = -np.log1p(-uniforms.take(exponential))

    boosted = alpha < 1
    d = alpha + np.where(boosted, 2.0 / 3, -1.0 / 3)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        c = 1.0 / 3 / np.sqrt(d)
        pending = np.flatnonzero((alpha >= 0) & (alpha != 1))
        while pending.size:
            x = normals.take(pending)
            v = 1 + c[pending] * x
            positive = v > 0
            # Only a lane with v > 0 draws a uniform number; the others start again from a new x.
            tried, x, v = pending[positive], x[positive], v[positive]
            v = v * v * v
            u = uniforms.take(tried)
            squeeze = u < 1 - 0.0331 * (x * x) * (x * x)  # cheap, and true for most of what is accepted
            accepted = squeeze | (np.log(u) < 0.5 * x * x + d[tried] * (1 - v + np.log(v)))
            done = tried[accepted]
            result[done] = d[done] * v[accepted]
            small = done[boosted[done]]
            result[small] *= uniforms.take(small) ** (1 / alpha[small])
            pending = np.concatenate([pending[~positive], tried[~accepted]])
    return result


def poissons(generator: Philox, rate: Doubles, highest: float) -> Doubles:
    """Returns one sample of Poisson(rate[i]) for each i: [n] float64 whole numbers, not above `highest`.

    Sources: below rate 10, Knuth, "The Art of Computer Programming", volume 2, section 3.4.1 F.3; from 10 on,
    Hoermann, "The transformed rejection method for generating Poisson random variables", 1993.
    """
    uniforms = _Pairs(_Lanes(generator, rate.size), rate.size, uniform_from_words)
    result = np.zeros(rate.size)
    _poisson_by_products(uniforms, rate, np.flatnonzero(rate < 10), result)
    _poisson_by_rejection(uniforms, rate, np.flatnonzero(rate >= 10), highest, result)
    return result


def _poisson_by_products(uniforms: _Pairs, rate: Doubles, pending: Indices, result: Doubles) -> None:
    """Counts in `result` the uniform numbers that can be multiplied until the product is exp(-rate)."""
    limit = np.exp(-np.maximum(rate[pending], 0))
    product = np.ones(pending.size)
    while pending.size:
        product *= uniforms.take(pending)
        going_on = product > limit
        pending, limit, product = pending[going_on], limit[going_on], product[going_on]
        result[pending] += 1


def _poisson_by_rejection(
    uniforms: _Pairs, rate: Doubles, pending: Indices, highest: float, result: Doubles
) -> None:
    """Stores in `result` the samples of the `pending` lanes, whose rates are at least 10.

    The names are the paper's. A point (u, v) gives the candidate k. Most are settled by cheap bounds on the
    density; the others compare logarithms.
    """
    while pending.size:
        mean = rate[pending]
        b = 0.931 + 2.53 * np.sqrt(mean)
        a = -0.059 + 0.02483 * b
        inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
        u = uniforms.take(pending) - 0.5
        v = uniforms.take(pending)
        u_shifted = 0.5 - np.abs(u)
        with np.errstate(divide="ignore", invalid="ignore"):  # u = -0.5 gives k = -Inf, which is rejected
            k = np.floor((2 * a / u_shifted + b) * u + mean + 0.43)
            possible = k <= highest
            accepted = possible & (u_shifted >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
            unsure = possible & ~accepted & (k >= 0) & ~((u_shifted < 0.013) & (v > u_shifted))
            left = np.log(v * inverse_alpha / (a / (u_shifted * u_shifted) + b))
            right = -mean + k * np.log(mean) - _log_factorial(np.where(unsure, k, 0.0))
            accepted |= unsure & (left <= right)
        result[pending[accepted]] = k[accepted]
        pending = pending[~accepted]


def _log_factorial(k: Doubles) -> Doubles:
    """Returns log(k!) for whole k >= 0."""
    return np.fromiter((math.lgamma(number + 1) for number in k.tolist()), np.float64, k.size)


def categories(generator: Philox, logits: Array, samples: int) -> Indices:
    """Returns class numbers drawn with probability softmax(logits): [batch, samples].

    Inversion: the first class whose cumulative weight exceeds a uniform number times the total weight. A
    class with an infinite or NaN logit has no weight. Without any weight the answer is `classes`, one past
    the last.
    """
    batch, classes = logits.shape
    finite = np.isfinite(logits)
    weights = logits.astype(np.float64)
    largest = np.max(weights, axis=1, keepdims=True, where=finite, initial=-np.inf)
    weights = np.exp(np.subtract(weights, largest, where=finite, out=np.full_like(weights, -np.inf)))
    cumulative = np.cumsum(weights, axis=1)
    uniform = fill(generator, batch * samples, np.dtype(np.float64), _uniform64)
    target = uniform.reshape(batch, samples) * cumulative[:, -1:]

    # Binary search in all rows at once for the first class with cumulative > target.
    rows = np.arange(batch)[:, None]
    low = np.zeros((batch, samples), np.int64)
    high = np.full((batch, samples), classes)
    for _ in range(classes.bit_length()):
        middle = (low + high) // 2
        beyond = (middle < high) & (cumulative[rows, np.minimum(middle, classes - 1)] <= target)
        low = np.where(beyond, middle + 1, low)
        high = np.where(beyond, high, middle)
    return low


def _uniform64(words: Words) -> Doubles:
    return uniform_from_words(words, np.dtype(np.float64))


def permutation(generator: Philox, size: int) -> Indices:
    """Returns the numbers 0 to size - 1 in random order: [size] (Fisher-Yates from the front)."""
    order = list(range(size))
    remaining = np.arange(size, 1, -1, dtype=np.uint32)
    distances = generator.words(size - 1) % remaining
    for i, distance in enumerate(distances.tolist()):
        j = i + distance
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.int64)


# ---------------------------------------------------------------- candidate classes for sampled losses


Sampler = Literal["uniform", "log_uniform"]


def uniform_classes(words: Words, classes: int) -> Indices:
    """Returns class numbers below `classes`, all equally likely: words [n, 4] to at most [2 n].

    The lowest 2**64 mod `classes` of the 64-bit numbers are left out, so that the remainder has no bias.
    """
    bits = (words[:, 0::2] | words[:, 1::2].astype(np.uint64) << WORD_BITS).reshape(-1)
    bits = bits[bits >= np.uint64(2**64 % classes)]
    return (bits % np.uint64(classes)).astype(np.int64)


def log_uniform_classes(words: Words, classes: int) -> Indices:
    """Returns class numbers below `classes`, small ones likelier (Zipf's law): words [n, 4] to [2 n]."""
    ranks = np.exp(_uniform64(words).reshape(-1) * math.log1p(classes)).astype(np.int64)
    return (ranks - 1) % classes


def draw_classes(
    generator: Philox, count: int, classes: int, unique: bool, draw: Callable[[Words, int], Indices]
) -> tuple[Indices, int]:
    """Returns the first `count` classes drawn, different ones if `unique`, and how many draws that took."""
    blocks = count
    while True:
        drawn = draw(generator.words(WORDS_PER_BLOCK * blocks).reshape(-1, WORDS_PER_BLOCK), classes)
        first_seen = np.sort(np.unique(drawn, return_index=True)[1]) if unique else np.arange(drawn.size)
        if first_seen.size >= count:
            chosen = first_seen[:count]
            return drawn[chosen], int(chosen[-1]) + 1 if count else 0
        blocks *= 2


def class_probability(sampler: Sampler, numbers: Indices, classes: int) -> Floats:
    """Returns the probability that one draw gives the class, for each of `numbers`."""
    if sampler == "uniform":
        return np.full(numbers.shape, 1.0 / classes, np.float32)
    return (np.log((numbers + 2.0) / (numbers + 1.0)) / math.log1p(classes)).astype(np.float32)
