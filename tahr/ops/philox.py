"""Random numbers with TensorFlow's own values: Philox 4x32-10 and the transforms its CPU kernels apply to it.

Philox turns a 64-bit key and a 128-bit counter into 128 random bits (four 32-bit *words*, one *block*) by ten
rounds of multiplication and exclusive-or. It has no other state, so block 1000 costs no more than block 0,
and a kernel may hand out blocks in any order. The file has three parts:

* `Philox`, the immutable generator: key, counter, and the blocks that follow them;
* the transforms from words to distributions, as pure functions of a `Philox`;
* `Stream`, the mutable state of one random operation in one session. A draw first *reserves* a range of
  blocks (the only mutation), then computes from the reserved range.

Sources:
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (the generator).
    TensorFlow: core/lib/random/philox_random.h, random_distributions.h (words to numbers);
    core/util/guarded_philox_random.cc (reservation); core/kernels/random_op.cc, random_poisson_op.cc,
    multinomial_op.cc, random_shuffle_op.cc, range_sampler.cc (which block feeds which output).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Array = np.ndarray[Any, Any]
Words = np.ndarray[Any, np.dtype[np.uint32]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Doubles = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]

_MASK64 = 2**64 - 1
_MASK128 = 2**128 - 1

# ----------------------------------------------------------------------------
# Seeds
# ----------------------------------------------------------------------------

DEFAULT_GRAPH_SEED = 87654321
_MAX_SEED = 2**31 - 1


def seed_pair(
    graph_seed: int | None, op_seed: int | None, last_op_id: int
) -> tuple[int, int] | tuple[None, None]:
    """Returns the two seeds of an operation, from the graph's seed and its own.

    Args:
        graph_seed: what `set_random_seed` set, or None.
        op_seed: the operation's `seed` argument, or None.
        last_op_id: the number of operations in the graph so far; stands in for an absent `op_seed`, so that
            every operation of a seeded graph has a stream of its own.

    Returns:
        `(seed, seed2)`, or `(None, None)` where neither seed is set: the values shall differ from run to run.

    Source: TensorFlow 1.15, python/framework/random_seed.py, `get_seed`.
    """
    if graph_seed is None and op_seed is None:
        return None, None
    seed = DEFAULT_GRAPH_SEED if graph_seed is None else graph_seed % _MAX_SEED
    seed2 = (last_op_id if op_seed is None else op_seed) % _MAX_SEED
    # A kernel reads (0, 0) as "not seeded", which the user did not ask for.
    return (0, _MAX_SEED) if (seed, seed2) == (0, 0) else (seed, seed2)


# ----------------------------------------------------------------------------
# The generator
# ----------------------------------------------------------------------------

WORDS_PER_BLOCK = 4
ROUNDS = 10
# The multipliers of words 0 and 2, and what a round adds to the halves of the key.
MULTIPLIER0 = np.uint64(0xD2511F53)
MULTIPLIER2 = np.uint64(0xCD9E8D57)
KEY_INCREMENT0 = 0x9E3779B9
KEY_INCREMENT1 = 0xBB67AE85
_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)

# What a kernel reserves for each output number. One that accepts or rejects starts every output (or group of
# four) that far from the last, so that the values do not depend on how threads share the work. The others
# need half a block at most, and reserve as much.
BLOCKS_PER_OUTPUT = 256

# Blocks computed at a time: the working set of a chunk stays in the second-level cache.
_CHUNK = 8192


class Philox(NamedTuple):
    """A position in the sequence of random blocks that belongs to a key.

    Attributes:
        key: 64 bits that choose the sequence.
        counter: 128-bit number of the next block.
    """

    key: int
    counter: int

    @classmethod
    def from_seeds(cls, seed: int, seed2: int) -> Philox:
        """Returns the generator that a TensorFlow kernel with these seeds starts from.

        The first seed is the key and the second is the upper half of the counter, both modulo 2**64.
        """
        return cls(seed & _MASK64, (seed2 & _MASK64) << 64)

    def skip(self, blocks: int) -> Philox:
        """Returns the generator `blocks` blocks further on."""
        return Philox(self.key, (self.counter + blocks) & _MASK128)

    def blocks(self, offsets: npt.NDArray[np.uint64]) -> Words:
        """Returns the blocks at the given distances from the counter.

        Args:
            offsets: [n] uint64, in any order.

        Returns:
            [n, 4] uint32, the words of block `counter + offsets[i]` in row i.
        """
        low = offsets + np.uint64(self.counter & _MASK64)
        carry = low < offsets
        high = carry.astype(np.uint64) + np.uint64(self.counter >> 64)  # wraps, as the 128-bit counter does
        return _philox_4x32_10(self.key, low, high)

    def map_blocks(self, offsets: npt.NDArray[np.uint64], transform: Callable[[Words], Array]) -> Array:
        """Returns `transform` of the blocks at the given distances, computed in pieces that fit the cache.

        Args:
            offsets: [n] uint64, in any order.
            transform: from words [m, 4] to an array with m rows, each depending on its own words only.

        Returns:
            n rows.
        """
        starts = range(0, max(len(offsets), 1), _CHUNK)  # one empty piece has the shape and dtype of no rows
        return np.concatenate([transform(self.blocks(offsets[i : i + _CHUNK])) for i in starts])

    def words(self, count: int) -> Words:
        """Returns the next `count` words: [count] uint32."""
        offsets = np.arange(-(-count // WORDS_PER_BLOCK), dtype=np.uint64)
        return self.map_blocks(offsets, lambda words: words).reshape(-1)[:count]


def _philox_4x32_10(key: int, low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> Words:
    """Returns the blocks with counters `high * 2**64 + low`: [n, 4] uint32.

    The words are kept as 64-bit integers with an empty upper half, so that a product of two is exact.

    Source: Salmon et al. 2011, section 3.3.
    """
    x0, x1 = low & _LOW_WORD, low >> _WORD_BITS
    x2, x3 = high & _LOW_WORD, high >> _WORD_BITS
    key0, key1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(ROUNDS):
        product0 = x0 * MULTIPLIER0
        product2 = x2 * MULTIPLIER2
        x0 = (product2 >> _WORD_BITS) ^ x1 ^ np.uint64(key0)
        x1 = product2 & _LOW_WORD
        x2 = (product0 >> _WORD_BITS) ^ x3 ^ np.uint64(key1)
        x3 = product0 & _LOW_WORD
        key0 = (key0 + KEY_INCREMENT0) & 0xFFFFFFFF
        key1 = (key1 + KEY_INCREMENT1) & 0xFFFFFFFF
    result = np.empty((len(low), WORDS_PER_BLOCK), np.uint32)
    result[:, 0], result[:, 1], result[:, 2], result[:, 3] = x0, x1, x2, x3
    return result


# ----------------------------------------------------------------------------
# From words to numbers
# ----------------------------------------------------------------------------

_FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")

# Box-Muller raises smaller uniform numbers to this, since log(0) is -Inf.
SMALLEST_UNIFORM = 1e-7


def _uniform_from_words(words: Words, dtype: np.dtype[Any]) -> Array:
    """Returns numbers in [0, 1): words [n, 4] to [n, 4], or to [n, 2] for float64.

    The random bits become the mantissa of a number in [1, 2), from which 1 is subtracted. So a value is a
    multiple of 2**-10 (float16), 2**-7 (bfloat16), 2**-23 (float32) or 2**-52 (float64), and below 1.
    """
    if dtype == np.float64:
        mantissa = (words[:, 0::2] & np.uint32(0xFFFFF)).astype(np.uint64) << _WORD_BITS | words[:, 1::2]
        return (mantissa | np.uint64(1023 << 52)).view(np.float64) - 1.0
    if dtype == np.float32:
        mantissa = words & np.uint32(0x7FFFFF)
        return (mantissa | np.uint32(127 << 23)).view(np.float32) - np.float32(1)
    mantissa_bits = 7 if dtype.name == "bfloat16" else 10
    mantissa = (words & np.uint32(2**mantissa_bits - 1)).astype(np.float32)
    return (mantissa * np.float32(2.0**-mantissa_bits)).astype(dtype)


def _normal_from_words(words: Words, dtype: np.dtype[Any]) -> Array:
    """Returns normal numbers by the Box-Muller transform: words [n, 4] to [n, 4], or [n, 2] for float64.

    A pair of uniform numbers (u, v) becomes the pair sqrt(-2 log u) * (sin 2 pi v, cos 2 pi v). float16 and
    bfloat16 are computed in float32 and not yet rounded here.
    """
    if dtype == np.float64:
        uniform = _uniform_from_words(words, dtype)
        angle = 2 * math.pi * uniform[:, 1]
        sine, cosine = np.sin(angle), np.cos(angle)
        radius = np.sqrt(-2.0 * np.log(np.maximum(uniform[:, 0], SMALLEST_UNIFORM)))
        return np.stack([sine * radius, cosine * radius], axis=1)
    uniform = _uniform_from_words(words, np.dtype(np.float32))
    sine, cosine = _sincosf((2 * math.pi * uniform[:, 1::2].astype(np.float64)).astype(np.float32))
    radius = np.sqrt(np.float32(-2) * _logf(np.maximum(uniform[:, 0::2], np.float32(SMALLEST_UNIFORM))))
    normal = np.empty_like(uniform)
    np.multiply(sine, radius, out=normal[:, 0::2])
    np.multiply(cosine, radius, out=normal[:, 1::2])
    return normal


def _integers_from_words(words: Words, minval: int, maxval: int, dtype: np.dtype[Any]) -> Array:
    """Returns integers in [minval, maxval): words [n, 4] to int32 [n, 4] or int64 [n, 2].

    The remainder of a division, so small values are slightly preferred unless the range is a power of two.
    """
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits = words if unsigned == np.uint32 else words[:, 0::2] | words[:, 1::2].astype(np.uint64) << _WORD_BITS
    # Unsigned arithmetic wraps, so the sum is right even where maxval - minval overflows the signed type.
    lowest = unsigned.type(minval % 2 ** (8 * dtype.itemsize))
    return (bits % unsigned.type(maxval - minval) + lowest).view(dtype)


def _fill(generator: Philox, size: int, dtype: np.dtype[Any], transform: Callable[[Words], Array]) -> Array:
    """Returns `size` numbers from a transform that takes a fixed number of words for each: [size] of `dtype`.

    Args:
        transform: words [n, 4] to numbers [n, group], where `group` is 4, or 2 for an 8-byte dtype.
    """
    groups = -(-size // (2 if dtype.itemsize == 8 else 4))
    values = generator.map_blocks(np.arange(groups, dtype=np.uint64), transform)
    return values.reshape(-1)[:size].astype(dtype, copy=False)


# ----------------------------------------------------------------------------
# The C library's float32 logarithm, sine and cosine
#
# TensorFlow calls glibc's logf and sincosf (2.28 and later). NumPy's differ from them, and between
# processors, in the last bit. These are glibc's algorithms, computed in float64 and rounded once, so that a
# float32 normal number has TensorFlow's bits everywhere.
#
# Source of the formulas and constants: Arm Optimized Routines, math/logf.c, logf_data.c, sincosf.h,
# sincosf_data.c.
# ----------------------------------------------------------------------------


def _hex(numbers: str) -> Doubles:
    """Returns numbers written as hexadecimal floats, which give every bit."""
    return np.array([float.fromhex(number) for number in numbers.split()])


# For each of the 16 intervals that [0.7, 1.4) is cut into: 1 / c and log(c) of a point c near its middle.
LOG_INVERSE_CENTER = _hex(
    """
    0x1.661ec79f8f3bep+0 0x1.571ed4aaf883dp+0 0x1.49539f0f010bp+0  0x1.3c995b0b80385p+0
    0x1.30d190c8864a5p+0 0x1.25e227b0b8eap+0  0x1.1bb4a4a1a343fp+0 0x1.12358f08ae5bap+0
    0x1.0953f419900a7p+0 0x1p+0               0x1.e608cfd9a47acp-1 0x1.ca4b31f026aap-1
    0x1.b2036576afce6p-1 0x1.9c2d163a1aa2dp-1 0x1.886e6037841edp-1 0x1.767dcf5534862p-1
    """
)
LOG_CENTER = _hex(
    """
    -0x1.57bf7808caadep-2 -0x1.2bef0a7c06ddbp-2 -0x1.01eae7f513a67p-2 -0x1.b31d8a68224e9p-3
    -0x1.6574f0ac07758p-3 -0x1.1aa2bc79c81p-3   -0x1.a4e76ce8c0e5ep-4 -0x1.1973c5a611cccp-4
    -0x1.252f438e10c1ep-5  0x0p+0                0x1.aa5aa5df25984p-5  0x1.c5e53aa362eb4p-4
     0x1.526e57720db08p-3  0x1.bc2860d22477p-3   0x1.1058bc8a07ee1p-2  0x1.4043057b6ee09p-2
    """
)
# log(1 + r) is nearly r + LOG[0] r^2 + LOG[1] r^3 + LOG[2] r^4.
LOG = _hex("-0x1.ffffef20a4123p-2 0x1.5575b0be00b6ap-2 -0x1.00ea348b88334p-2")
INTERVALS_START = np.int32(0x3F330000)  # the bits of the float32 0.699...
EXPONENT_BITS = np.int32(-(1 << 23))

# For |x| <= pi / 4, sin(x) is nearly x + SIN[0] x^3 + SIN[1] x^5 + ..., and cos(x) is 1 + COS[0] x^2 + ...
SIN = _hex("-0x1.555545995a603p-3 0x1.1107605230bc4p-7 -0x1.994eb3774cf24p-13")
COS = _hex("-0x1.ffffffd0c621cp-2 0x1.55553e1068f19p-5 -0x1.6c087e89a359dp-10 0x1.99343027bf8c3p-16")


def _logf(x: Floats) -> Floats:
    """Returns log(x) for positive, normal float32 x, with the bits of the C library's logf.

    x = 2**k * z with z in one of 16 intervals; log(x) = k log(2) + log(c) + log(1 + r), where c is the
    interval's centre and r = z / c - 1 is small.
    """
    bits = x.view(np.int32)
    distance = bits - INTERVALS_START
    interval = (distance >> 19) & 15
    k = distance >> 23
    z = (bits - (distance & EXPONENT_BITS)).view(np.float32).astype(np.float64)
    r = z * LOG_INVERSE_CENTER[interval] - 1
    r2 = r * r
    whole = LOG_CENTER[interval] + k * math.log(2)
    return ((LOG[2] * r2 + (LOG[1] * r + LOG[0])) * r2 + (whole + r)).astype(np.float32)


def _sincosf(angle: Floats) -> tuple[Floats, Floats]:
    """Returns sine and cosine of float32 angles in [0, 2 pi], with the bits of the C library's sincosf."""
    x = angle.astype(np.float64)
    quadrant = np.floor(x * (2 / math.pi) + 0.5)
    x -= quadrant * (math.pi / 2)
    x2 = x * x
    x3 = x * x2
    x4 = x2 * x2
    sine = (x + x3 * SIN[0]) + (x3 * x2) * (SIN[1] + x2 * SIN[2])
    cosine = ((1 + x2 * COS[0]) + x4 * COS[1]) + (x4 * x2) * (COS[2] + x2 * COS[3])
    turns = quadrant.astype(np.int8)
    odd = (turns & 1).astype(np.bool_)
    # A quarter turn takes (sin, cos) to (cos, -sin).
    sine, cosine = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    np.negative(sine, out=sine, where=(turns & 2).astype(np.bool_))
    np.negative(cosine, out=cosine, where=((turns + 1) & 2).astype(np.bool_))
    return sine.astype(np.float32), cosine.astype(np.float32)


# ----------------------------------------------------------------------------
# Rejection sampling
# ----------------------------------------------------------------------------

_TRUNCATION = 2.0


def _truncated_normal(generator: Philox, size: int, dtype: np.dtype[Any]) -> Array:
    """Returns normal numbers in (-2, 2): [size] of `dtype`.

    The outputs form groups of four (two for float64). A group reads normal numbers from its own blocks and
    keeps the first ones that are in range.
    """
    group = 2 if dtype.itemsize == 8 else 4
    groups = -(-size // group)
    block = np.arange(groups, dtype=np.uint64) * np.uint64(group * BLOCKS_PER_OUTPUT // WORDS_PER_BLOCK)

    def normals(words: Words) -> Array:
        return _normal_from_words(words, dtype)

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


def _gamma(generator: Philox, alpha: Doubles) -> Doubles:
    """Returns one sample of Gamma(alpha[i], 1) for each i: [n] float64; NaN where alpha is negative or NaN.

    With d = alpha - 1/3 and c = 1 / sqrt(9 d), d * (1 + c x)**3 for normal x is nearly a gamma variable;
    rejection makes it one. For alpha < 1: a sample for alpha + 1, times u**(1 / alpha). For alpha = 1, the
    exponential distribution: inversion.

    Source: Marsaglia, Tsang, "A simple method for generating gamma variables", ACM TOMS 26(3), 2000.
    """
    size = alpha.size
    lanes = _Lanes(generator, size)
    normals = _Pairs(lanes, size, _normal_from_words)
    uniforms = _Pairs(lanes, size, _uniform_from_words)
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


def _poisson(generator: Philox, rate: Doubles, highest: float) -> Doubles:
    """Returns one sample of Poisson(rate[i]) for each i: [n] float64 whole numbers, not above `highest`.

    Sources: below rate 10, Knuth, "The Art of Computer Programming", volume 2, section 3.4.1 F.3; from 10 on,
    Hoermann, "The transformed rejection method for generating Poisson random variables", 1993.
    """
    uniforms = _Pairs(_Lanes(generator, rate.size), rate.size, _uniform_from_words)
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


def _categorical(generator: Philox, logits: Array, samples: int) -> Indices:
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
    uniform = _fill(generator, batch * samples, np.dtype(np.float64), _uniform64)
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
    return _uniform_from_words(words, np.dtype(np.float64))


def _permutation(generator: Philox, size: int) -> Indices:
    """Returns the numbers 0 to size - 1 in random order: [size] (Fisher-Yates from the front)."""
    order = list(range(size))
    remaining = np.arange(size, 1, -1, dtype=np.uint32)
    distances = generator.words(size - 1) % remaining
    for i, distance in enumerate(distances.tolist()):
        j = i + distance
        order[i], order[j] = order[j], order[i]
    return np.array(order, np.int64)


# ----------------------------------------------------------------------------
# Candidate classes for sampled losses
# ----------------------------------------------------------------------------


Sampler = Literal["uniform", "log_uniform"]


def _uniform_classes(words: Words, classes: int) -> Indices:
    """Returns class numbers below `classes`, all equally likely: words [n, 4] to at most [2 n].

    The lowest 2**64 mod `classes` of the 64-bit numbers are left out, so that the remainder has no bias.
    """
    bits = (words[:, 0::2] | words[:, 1::2].astype(np.uint64) << _WORD_BITS).reshape(-1)
    bits = bits[bits >= np.uint64(2**64 % classes)]
    return (bits % np.uint64(classes)).astype(np.int64)


def _log_uniform_classes(words: Words, classes: int) -> Indices:
    """Returns class numbers below `classes`, small ones likelier (Zipf's law): words [n, 4] to [2 n]."""
    ranks = np.exp(_uniform64(words).reshape(-1) * math.log1p(classes)).astype(np.int64)
    return (ranks - 1) % classes


def _draw_classes(
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


def _class_probability(sampler: Sampler, numbers: Indices, classes: int) -> Floats:
    """Returns the probability that one draw gives the class, for each of `numbers`."""
    if sampler == "uniform":
        return np.full(numbers.shape, 1.0 / classes, np.float32)
    return (np.log((numbers + 2.0) / (numbers + 1.0)) / math.log1p(classes)).astype(np.float32)


# ----------------------------------------------------------------------------
# The state of one operation
# ----------------------------------------------------------------------------


class Stream:
    """The random state of one operation in one session.

    Every method that draws advances the stream as TensorFlow's kernel does, so the values of the second and
    later runs agree as well. Nothing is shared between streams; a stream used by several threads needs the
    caller's lock.

    Args:
        seed, seed2: the operation's seeds (see `seed_pair`). Both 0: seeded by the operating system.

    The values have TensorFlow's bits, except that float64 logarithms, sines and powers come from
    NumPy, whose last bit varies between processors. The methods state what follows from that.
    """

    def __init__(self, seed: int = 0, seed2: int = 0) -> None:
        if seed == 0 and seed2 == 0:
            seed, seed2 = (int.from_bytes(os.urandom(8), "little") for _ in range(2))
        self._generator = Philox.from_seeds(seed, seed2)

    @property
    def state(self) -> tuple[int, int]:
        """The key (64 bits) and the counter (128 bits): all that the next values depend on."""
        return self._generator.key, self._generator.counter

    @classmethod
    def from_state(cls, state: tuple[int, int]) -> Stream:
        """Returns a stream that goes on where the one with this `state` was."""
        stream = cls.__new__(cls)
        stream._generator = Philox(*state)
        return stream

    def copy(self) -> Stream:
        """Returns an independent stream with the same future."""
        return self.from_state(self.state)

    def reserve(self, blocks: int) -> Philox:
        """Advances the stream by `blocks` and returns the generator of the blocks passed over."""
        generator = self._generator
        self._generator = generator.skip(blocks)
        return generator

    def uniform(self, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Array:
        """Returns numbers in [0, 1), TensorFlow's bits (`RandomUniform`).

        Args:
            shape: the result's shape.
            dtype: float16, bfloat16, float32 or float64.
        """
        dtype = _float_dtype("RandomUniform", dtype)
        size = _size(shape)
        generator = self.reserve(size * BLOCKS_PER_OUTPUT)
        return _fill(generator, size, dtype, lambda words: _uniform_from_words(words, dtype)).reshape(shape)

    def uniform_int(
        self, shape: Sequence[int], minval: int, maxval: int, dtype: npt.DTypeLike = np.int32
    ) -> Array:
        """Returns integers in [minval, maxval), TensorFlow's bits (`RandomUniformInt`).

        Args:
            shape: the result's shape.
            dtype: int32 or int64; must hold both bounds.

        Raises:
            ValueError: minval >= maxval (unless the result is empty), or a bound that the dtype cannot hold.
        """
        dtype = np.dtype(dtype)
        if dtype.name not in ("int32", "int64"):
            raise TypeError(f"RandomUniformInt: dtype must be int32 or int64, got {dtype.name}")
        minval, maxval = int(minval), int(maxval)
        limits = np.iinfo(dtype)
        if not (limits.min <= minval <= limits.max and limits.min <= maxval <= limits.max):
            raise ValueError(f"RandomUniformInt: minval {minval} and maxval {maxval} must fit {dtype.name}")
        size = _size(shape)
        if size == 0:
            return np.empty(shape, dtype)
        if minval >= maxval:
            raise ValueError(f"RandomUniformInt: Need minval < maxval, got {minval} >= {maxval}")
        generator = self.reserve(size * BLOCKS_PER_OUTPUT)
        integers = _fill(
            generator, size, dtype, lambda words: _integers_from_words(words, minval, maxval, dtype)
        )
        return integers.reshape(shape)

    def standard_normal(self, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Array:
        """Returns normal numbers of mean 0 and deviation 1 (`RandomStandardNormal`).

        TensorFlow's bits for float16, bfloat16 and float32; for float64 within 2 units in the last place.

        Args:
            shape: the result's shape.
            dtype: float16, bfloat16, float32 or float64.
        """
        dtype = _float_dtype("RandomStandardNormal", dtype)
        size = _size(shape)
        generator = self.reserve(size * BLOCKS_PER_OUTPUT)
        return _fill(generator, size, dtype, lambda words: _normal_from_words(words, dtype)).reshape(shape)

    def truncated_normal(self, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Array:
        """Returns normal numbers, those beyond 2 deviations drawn again (`TruncatedNormal`).

        Accuracy as for `standard_normal`. Rounding to float16 or bfloat16 comes last, so 2 can occur.

        Args:
            shape: the result's shape.
            dtype: float16, bfloat16, float32 or float64.
        """
        dtype = _float_dtype("TruncatedNormal", dtype)
        size = _size(shape)
        return _truncated_normal(self.reserve(size * BLOCKS_PER_OUTPUT), size, dtype).reshape(shape)

    def gamma(self, shape: Sequence[int], alpha: npt.ArrayLike) -> Array:
        """Returns samples of Gamma(alpha, 1) (`RandomGamma`).

        Computed in float64, within 4 units in the last place of TensorFlow's; rounding to float16 or float32
        hides the difference almost always. A subnormal float32 or float64 result is 0: TensorFlow's threads
        flush them.

        Args:
            shape: how many samples for each element of alpha.
            alpha: float16, float32 or float64. 0 gives 0, Inf gives Inf, negative or NaN gives NaN.

        Returns:
            `[*shape, *alpha.shape]`, alpha's dtype.
        """
        alpha = np.asarray(alpha)
        dtype = _float_dtype("RandomGamma", alpha.dtype)
        samples = _size(shape)
        generator = self.reserve(samples * alpha.size * BLOCKS_PER_OUTPUT)
        # All the samples of one alpha come before those of the next.
        values = _gamma(generator, np.repeat(alpha.astype(np.float64).reshape(-1), samples))
        result = values.reshape(alpha.size, samples).T.reshape((*shape, *alpha.shape))
        subnormal = np.abs(result) < (2.0**-126 if dtype.itemsize < 8 else 2.0**-1022)
        return np.where(subnormal, 0.0, result).astype(dtype)

    def poisson(self, shape: Sequence[int], rate: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Array:
        """Returns samples of Poisson(rate) (`RandomPoissonV2`), TensorFlow's values.

        From rate 10 on it compares logarithms, so where their last bits differ, a sample in 1e15 may.

        Args:
            shape: how many samples for each element of rate.
            rate: real numbers; a negative one counts as 0.
            dtype: float16, float32, float64, int32 or int64.

        Returns:
            `[*shape, *rate.shape]` of `dtype`.

        Raises:
            ValueError: a rate that is NaN or above the largest number of `dtype` (TensorFlow's kernel would
                never return).
        """
        dtype = np.dtype(dtype)
        if dtype.name not in ("float16", "float32", "float64", "int32", "int64"):
            raise TypeError(
                f"RandomPoissonV2: dtype must be float16, float32, float64, int32 or int64, got {dtype.name}"
            )
        rate = np.asarray(rate, np.float64)
        if dtype.kind == "i":
            highest = float(np.iinfo(dtype).max)
        else:  # finfo would compute its constants now, perhaps while denormals count as zero
            highest = float(np.nextafter(dtype.type(np.inf), dtype.type(0)))
        if not np.all(rate <= highest) or np.any(np.isinf(rate) & (rate > 0)):
            raise ValueError(
                f"RandomPoissonV2: rate must be finite and at most {highest:g}, the most {dtype.name} holds"
            )
        samples = _size(shape)
        generator = self.reserve(samples * rate.size * BLOCKS_PER_OUTPUT)
        values = _poisson(generator, np.repeat(rate.reshape(-1), samples), highest)
        return values.reshape(rate.size, samples).T.reshape((*shape, *rate.shape)).astype(dtype)

    def multinomial(self, logits: npt.ArrayLike, num_samples: int, dtype: npt.DTypeLike = np.int64) -> Array:
        """Returns class numbers, class j of row i with probability softmax(logits[i])[j] (`Multinomial`).

        TensorFlow's values where it uses one thread for the batch. With more, its kernel starts the rows of a
        later thread elsewhere, and its values depend on the number of threads.

        Args:
            logits: [batch, classes], floating point. An infinite or NaN logit counts as probability 0; a row
                without a finite logit gives `classes`.
            num_samples: samples for each row, at least 0.
            dtype: int32 or int64.

        Returns:
            [batch, num_samples] of `dtype`.

        Raises:
            ValueError: logits is not a matrix, has no classes, or num_samples is negative.
        """
        logits = np.asarray(logits)
        if logits.ndim != 2:
            raise ValueError(f"Multinomial: logits should be a matrix, got shape {list(logits.shape)}")
        if num_samples < 0:
            raise ValueError(f"Multinomial: num_samples should be non-negative, got {num_samples}")
        batch, classes = logits.shape
        if classes == 0:
            raise ValueError("Multinomial: num_classes should be positive, got 0")
        if batch == 0 or num_samples == 0:
            return np.empty((batch, num_samples), dtype)
        words_per_row = 2 * WORDS_PER_BLOCK * -(-num_samples // WORDS_PER_BLOCK)
        generator = self.reserve(batch * words_per_row * BLOCKS_PER_OUTPUT)
        return _categorical(generator, logits, num_samples).astype(dtype)

    def candidates(
        self, sampler: Sampler, true_classes: npt.ArrayLike, num_sampled: int, unique: bool, range_max: int
    ) -> tuple[Indices, Floats, Floats]:
        """Returns classes for a sampled loss (`UniformCandidateSampler`, `LogUniformCandidateSampler`).

        The classes are TensorFlow's; the expected counts within 2 units in the last place.

        Args:
            sampler: "uniform", or "log_uniform": P(k) = log((k + 2) / (k + 1)) / log(range_max + 1).
            true_classes: [batch, num_true] integers below `range_max`.
            num_sampled: how many classes to draw.
            unique: whether to draw until that many different ones are found.
            range_max: the number of classes.

        Returns:
            The classes, [num_sampled] int64; how often each true class is expected among them, float32 of the
            shape of `true_classes`; the same for the sampled classes, [num_sampled] float32.

        Raises:
            ValueError: true_classes is no matrix or out of range, or too few classes for `unique`.
        """
        true_classes = np.asarray(true_classes, np.int64)
        if true_classes.ndim != 2:
            raise ValueError(f"true_classes must be a matrix, got shape {list(true_classes.shape)}")
        if range_max <= 0:
            raise ValueError(f"range_max must be positive, got {range_max}")
        if np.any((true_classes < 0) | (true_classes >= range_max)):
            raise ValueError(f"`true_candidate` out of range [0, {range_max})")
        if unique and num_sampled > range_max:
            raise ValueError(f"Sampler's range is too small: {num_sampled} different classes of {range_max}")
        draw = {"uniform": _uniform_classes, "log_uniform": _log_uniform_classes}[sampler]
        generator = self.reserve(num_sampled * 2048 // WORDS_PER_BLOCK)
        sampled, tries = _draw_classes(generator, num_sampled, range_max, unique, draw)

        def expected_count(numbers: Indices) -> Floats:
            probability = _class_probability(sampler, numbers, range_max)
            if tries == num_sampled:
                return probability * np.float32(num_sampled)
            # The chance that a class is among `tries` draws, 1 - (1 - p)**tries.
            return -np.expm1(tries * np.log1p(-probability.astype(np.float64))).astype(np.float32)

        return sampled, expected_count(true_classes), expected_count(sampled)

    def random_shuffle(self, size: int) -> Indices:
        """Returns the rows in the order in which `RandomShuffle` puts them, TensorFlow's values.

        `value[stream.random_shuffle(len(value))]` is `tf.random_shuffle(value)`. With fewer than two rows
        nothing is drawn. TensorFlow draws nothing for a value without elements either: don't call this then.

        Returns:
            [size] int64, a permutation of 0 to size - 1.
        """
        if size <= 1:
            return np.arange(size)
        blocks = -(-(size - 1) // WORDS_PER_BLOCK)
        return _permutation(self.reserve(blocks), size)


def _size(shape: Sequence[int]) -> int:
    """Returns the number of elements, a Python int even where the dimensions are NumPy's.

    Raises:
        ValueError: a negative dimension.
    """
    dimensions = [int(dimension) for dimension in shape]
    if any(dimension < 0 for dimension in dimensions):
        raise ValueError(f"shape: Dimensions must be >= 0, got {dimensions}")
    return math.prod(dimensions)


def _float_dtype(op: str, dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Returns the dtype, if it is a floating-point one.

    Raises:
        TypeError: it is not.
    """
    dtype = np.dtype(dtype)
    if dtype.name not in _FLOAT_DTYPES:
        raise TypeError(f"{op}: dtype must be float16, bfloat16, float32 or float64, got {dtype.name}")
    return dtype
