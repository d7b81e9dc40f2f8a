"""The mutable state of one random operation in one session.

A draw first *reserves* a range of blocks, which is the only mutation, then computes from the reserved range.

Source: TensorFlow, core/util/guarded_philox_random.cc (reservation).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tahr.ops.philox import BLOCKS_PER_OUTPUT, WORDS_PER_BLOCK, Array, Floats, Indices, Philox
from tahr.ops.sampling import (
    Sampler,
    categories,
    class_probability,
    draw_classes,
    fill,
    gammas,
    integers_from_words,
    log_uniform_classes,
    normal_from_words,
    permutation,
    poissons,
    truncated_normals,
    uniform_classes,
    uniform_from_words,
)

if TYPE_CHECKING:
    import numpy.typing as npt

_FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")


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
        return fill(generator, size, dtype, lambda words: uniform_from_words(words, dtype)).reshape(shape)

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
        integers = fill(
            generator, size, dtype, lambda words: integers_from_words(words, minval, maxval, dtype)
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
        return fill(generator, size, dtype, lambda words: normal_from_words(words, dtype)).reshape(shape)

    def truncated_normal(self, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Array:
        """Returns normal numbers, those beyond 2 deviations drawn again (`TruncatedNormal`).

        Accuracy as for `standard_normal`. Rounding to float16 or bfloat16 comes last, so 2 can occur.

        Args:
            shape: the result's shape.
            dtype: float16, bfloat16, float32 or float64.
        """
        dtype = _float_dtype("TruncatedNormal", dtype)
        size = _size(shape)
        return truncated_normals(self.reserve(size * BLOCKS_PER_OUTPUT), size, dtype).reshape(shape)

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
        values = gammas(generator, np.repeat(alpha.astype(np.float64).reshape(-1), samples))
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
        values = poissons(generator, np.repeat(rate.reshape(-1), samples), highest)
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
        return categories(generator, logits, num_samples).astype(dtype)

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
        draw = {"uniform": uniform_classes, "log_uniform": log_uniform_classes}[sampler]
        generator = self.reserve(num_sampled * 2048 // WORDS_PER_BLOCK)
        sampled, tries = draw_classes(generator, num_sampled, range_max, unique, draw)

        def expected_count(numbers: Indices) -> Floats:
            probability = class_probability(sampler, numbers, range_max)
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
        return permutation(self.reserve(blocks), size)


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
