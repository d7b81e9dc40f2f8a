"""Random bits with TensorFlow's own values: seeds, and the generator Philox 4x32-10.

Philox turns a 64-bit key and a 128-bit counter into 128 random bits (four 32-bit *words*, one *block*) by ten
rounds of multiplication and exclusive-or. It has no other state, so block 1000 costs no more than block 0,
and a kernel may hand out blocks in any order. `sampling.py` makes numbers of the words, and `streams.py` has the
state of an operation that draws.

Sources:
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    TensorFlow: core/lib/random/philox_random.h.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

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

# ---------------------------------------------------------------- seeds

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


# ---------------------------------------------------------------- the generator

WORDS_PER_BLOCK = 4
ROUNDS = 10
# The multipliers of words 0 and 2, and what a round adds to the halves of the key.
MULTIPLIER0 = np.uint64(0xD2511F53)
MULTIPLIER2 = np.uint64(0xCD9E8D57)
KEY_INCREMENT0 = 0x9E3779B9
KEY_INCREMENT1 = 0xBB67AE85
_LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)

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
    x0, x1 = low & _LOW_WORD, low >> WORD_BITS
    x2, x3 = high & _LOW_WORD, high >> WORD_BITS
    key0, key1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(ROUNDS):
        product0 = x0 * MULTIPLIER0
        product2 = x2 * MULTIPLIER2
        x0 = (product2 >> WORD_BITS) ^ x1 ^ np.uint64(key0)
        x1 = product2 & _LOW_WORD
        x2 = (product0 >> WORD_BITS) ^ x3 ^ np.uint64(key1)
        x3 = product0 & _LOW_WORD
        key0 = (key0 + KEY_INCREMENT0) & 0xFFFFFFFF
        key1 = (key1 + KEY_INCREMENT1) & 0xFFFFFFFF
    result = np.empty((len(low), WORDS_PER_BLOCK), np.uint32)
    result[:, 0], result[:, 1], result[:, 2], result[:, 3] = x0, x1, x2, x3
    return result
