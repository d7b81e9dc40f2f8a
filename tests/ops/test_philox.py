"""Random numbers against known answers, values recorded from TensorFlow, and probability theory."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tahr.ops.philox import DEFAULT_GRAPH_SEED, Philox, seed_pair
from tahr.ops.sampling import Sampler
from tahr.ops.streams import Stream

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "random_values.json").read_text())
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(name) for name in ("float16", "float32", "float64")] + [BFLOAT16]


def dtype_of(name) -> np.dtype[Any]:
    return BFLOAT16 if name == "bfloat16" else np.dtype(str(name))


# ---- The generator ----


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        # The known answers of the authors' library Random123 (kat_vectors, philox4x32 10).
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter, key, words):
    def number(text):
        return sum(int(word, 16) << (32 * i) for i, word in enumerate(text.split()))

    generator = Philox(number(key), number(counter))
    assert [f"{word:08x}" for word in generator.words(4)] == words.split()


def naive_block(key, counter):
    """One block, in Python's integers: the definition of Salmon et al. 2011."""
    x = [counter >> (32 * i) & 0xFFFFFFFF for i in range(4)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        high0, low0 = divmod(x[0] * 0xD2511F53, 2**32)
        high2, low2 = divmod(x[2] * 0xCD9E8D57, 2**32)
        x = [high2 ^ x[1] ^ k[0], low2, high0 ^ x[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return x


@pytest.mark.parametrize("counter", [0, 2**32 - 3, 2**64 - 3, 2**96 - 3, 2**128 - 3])
def test_the_counter_carries(counter):
    key = 0x0123456789ABCDEF
    words = Philox(key, counter).words(6 * 4).reshape(6, 4)
    assert words.tolist() == [naive_block(key, (counter + i) % 2**128) for i in range(6)]


def test_skip_jumps_over_blocks():
    generator = Philox.from_seeds(1, 2)
    assert np.array_equal(generator.skip(5).words(8), generator.words(28)[20:])


def test_a_sequence_does_not_depend_on_how_it_is_cut():
    generator = Philox.from_seeds(1, 2)
    whole = generator.words(4 * 20_000)
    parts = [generator.skip(start).words(4 * 5000) for start in range(0, 20_000, 5000)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole[:7], generator.words(7))


# ---- Values recorded from TensorFlow ----


def draw(stream, case):
    dtype = dtype_of(case["dtype"])
    op = case["op"]
    if op == "RandomUniform":
        return stream.uniform(case["shape"], dtype)
    if op == "RandomUniformInt":
        return stream.uniform_int(case["shape"], case["minval"], case["maxval"], dtype)
    if op == "RandomStandardNormal":
        return stream.standard_normal(case["shape"], dtype)
    if op == "TruncatedNormal":
        return stream.truncated_normal(case["shape"], dtype)
    if op == "RandomGamma":
        return stream.gamma(case["shape"], np.array(case["alpha"], dtype))
    if op == "RandomPoissonV2":
        return stream.poisson(case["shape"], case["rate"], dtype)
    if op == "Multinomial":
        logits = np.array([row.split() for row in case["logits"]]).astype(np.float32)
        return stream.multinomial(logits, case["num_samples"], dtype)
    assert op == "RandomShuffle"
    return stream.random_shuffle(case["size"])


def label(case):
    details = [
        case.get(name) for name in ("shape", "minval", "alpha", "num_samples", "size", "unique", "range_max")
    ]
    return "-".join(str(part) for part in (case["op"], case["dtype"], *details) if part is not None)


def is_exact(case):
    """Whether the bits must be equal, rather than nearly equal numbers.

    float64 logarithms, sines and powers are NumPy's, whose last bit depends on the processor. A gamma number
    rounded to float32 shows the difference once in 2**29 numbers.
    """
    return case["op"] != "RandomGamma" and not (case["op"].endswith("Normal") and case["dtype"] == "float64")


def assert_same(actual, recorded, dtype, exact):
    expected = np.frombuffer(bytes.fromhex(recorded), dtype)
    if exact:
        assert actual.tobytes() == expected.tobytes()
    else:
        np.testing.assert_allclose(actual, expected, rtol=8 * float(np.finfo(dtype).eps), atol=0)


SAMPLERS: dict[str, Sampler] = {
    "UniformCandidateSampler": "uniform",
    "LogUniformCandidateSampler": "log_uniform",
}


@pytest.mark.parametrize("case", [c for c in FIXTURE["cases"] if c["op"] in SAMPLERS], ids=label)
def test_candidates_are_tensorflows(case):
    stream = Stream(*case["seeds"])
    sizes = {name: case[name] for name in ("num_sampled", "unique", "range_max")}
    for run in case["runs"]:
        classes, true_counts, counts = stream.candidates(SAMPLERS[case["op"]], [[0, 11], [3, 5]], **sizes)
        assert_same(classes, run["values"], np.dtype(np.int64), exact=True)
        for actual, expected in ((true_counts, run["true_counts"]), (counts, run["counts"])):
            assert actual.dtype == np.float32
            assert_same(actual.reshape(-1), expected, np.dtype(np.float32), exact=False)


@pytest.mark.parametrize("case", [c for c in FIXTURE["cases"] if c["op"] not in SAMPLERS], ids=label)
def test_values_are_tensorflows(case):
    stream, dtype = Stream(*case["seeds"]), dtype_of(case["dtype"])
    for run in case["runs"]:
        values = draw(stream, case)
        assert values.dtype == dtype
        assert list(values.shape) == run["shape"]
        flat = values.reshape(-1)
        if "values" in run:
            assert_same(flat, run["values"], dtype, is_exact(case))
            continue
        assert_same(flat[:10], run["head"], dtype, is_exact(case))
        assert_same(flat[-10:], run["tail"], dtype, is_exact(case))
        if is_exact(case):
            assert hashlib.sha256(flat.tobytes()).hexdigest() == run["sha256"]
        else:
            magnitude = float(np.abs(flat.astype(np.float64)).sum())
            assert abs(float(flat.astype(np.float64).sum()) - run["sum"]) <= magnitude * float(
                np.finfo(dtype).eps
            )


def test_a_planted_error_in_one_value_is_caught():
    case = next(c for c in FIXTURE["cases"] if c["op"] == "RandomStandardNormal" and c["dtype"] == "float32")
    values = draw(Stream(*case["seeds"]), case).reshape(-1).copy()
    recorded = case["runs"][0]["values"]
    assert_same(values, recorded, np.float32, exact=True)
    values[3] = np.nextafter(values[3], np.float32(9))
    with pytest.raises(AssertionError):
        assert_same(values, recorded, np.float32, exact=True)


# ---- Seeds and state ----


@pytest.mark.parametrize(
    ("graph_seed", "op_seed", "last_op_id", "expected"),
    [
        (None, None, 7, (None, None)),
        (None, 5, 7, (DEFAULT_GRAPH_SEED, 5)),
        (1234, None, 7, (1234, 7)),
        (1234, 5, 7, (1234, 5)),
        (0, 0, 7, (0, 2**31 - 1)),
        (0, None, 0, (0, 2**31 - 1)),
        (None, 0, 7, (DEFAULT_GRAPH_SEED, 0)),
        (2**31 - 1, 2**31 - 1, 7, (0, 2**31 - 1)),
        (2**31, 2**40, 7, (1, 2**40 % (2**31 - 1))),
        (-1, -2, 7, (2**31 - 2, 2**31 - 3)),
    ],
)
def test_seed_pair(graph_seed, op_seed, last_op_id, expected):
    assert seed_pair(graph_seed, op_seed, last_op_id) == expected


def test_unseeded_streams_differ():
    assert Stream().state != Stream(0, 0).state


def test_a_stream_can_be_copied_and_restored():
    stream = Stream(3, 4)
    stream.standard_normal([5])
    copy, restored = stream.copy(), Stream.from_state(stream.state)
    expected = stream.standard_normal([5])
    assert np.array_equal(copy.standard_normal([5]), expected)
    assert np.array_equal(restored.standard_normal([5]), expected)
    assert copy.state == stream.state


def test_a_draw_reserves_256_blocks_for_each_number():
    stream = Stream(3, 4)
    stream.uniform([10])
    assert stream.state == (3, (4 << 64) + 10 * 256)


def test_numpy_dimensions_do_not_limit_the_counter():
    stream = Stream.from_state((1, 2**127))
    stream.uniform(tuple(np.array([2, 3], np.int64)))
    assert stream.state == (1, 2**127 + 6 * 256)


# ---- Distributions ----

MANY = 200_000


def assert_moments(values, mean, variance):
    """Mean and variance within five standard errors (the variance's for a kurtosis up to 9)."""
    values = values.astype(np.float64)
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / values.size) + 1e-12
    assert abs(values.var() - variance) < 5 * variance * math.sqrt(8 / values.size) + 1e-12


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_uniform_distribution(dtype):
    values = Stream(1, 2).uniform([MANY], dtype)
    assert values.dtype == dtype
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    step = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(
        dtype.name, 0.0
    )  # the grid shifts the mean by half a step
    assert_moments(values, 0.5 - step / 2, 1 / 12 - step**2 / 12)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_normal_distribution(dtype):
    values = Stream(1, 2).standard_normal([MANY], dtype)
    assert_moments(values, 0, 1)
    assert abs(np.mean(values.astype(np.float64) ** 4) - 3) < 5 * math.sqrt(96 / MANY)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_truncated_normal_distribution(dtype):
    values = Stream(1, 2).truncated_normal([MANY], dtype)
    assert float(np.abs(values).max()) <= 2
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    assert_moments(values, 0, 1 - 4 * density / math.erf(math.sqrt(2)))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_are_equally_frequent(dtype):
    values = Stream(1, 2).uniform_int([MANY], -3, 4, dtype)
    counts = np.bincount(values + 3, minlength=7)
    assert counts.size == 7
    assert np.all(np.abs(counts - MANY / 7) < 5 * math.sqrt(MANY * 6 / 49))


@pytest.mark.parametrize("alpha", [0.2, 0.9, 1.0, 1.1, 7.0, 300.0])
def test_gamma_distribution(alpha):
    values = Stream(1, 2).gamma([MANY], alpha)
    assert values.dtype == np.float64
    mean, error = values.mean(), math.sqrt(alpha / MANY)
    assert abs(mean - alpha) < 5 * error
    assert abs(values.var() - alpha) < 5 * math.sqrt((2 * alpha**2 + 6 * alpha) / MANY)


@pytest.mark.parametrize("rate", [0.1, 3.0, 9.99, 10.0, 77.0])
def test_poisson_distribution(rate):
    values = Stream(1, 2).poisson([MANY], rate, np.int64)
    assert values.min() >= 0
    assert abs(values.mean() - rate) < 5 * math.sqrt(rate / MANY)
    assert abs(values.var() - rate) < 5 * math.sqrt((2 * rate**2 + rate) / MANY)
    for k in (0, round(rate)):
        expected = math.exp(k * math.log(rate) - rate - math.lgamma(k + 1))
        assert abs(np.mean(values == k) - expected) < 5 * math.sqrt(expected / MANY) + 1e-5


def test_multinomial_frequencies():
    probabilities = np.array([[0.25, 0.25, 0.25, 0.25], [0.1, 0.0, 0.6, 0.3]])
    with np.errstate(divide="ignore"):
        values = Stream(1, 2).multinomial(np.log(probabilities), MANY)
    for row, expected in zip(values, probabilities, strict=True):
        counts = np.bincount(row, minlength=4)
        assert np.all(np.abs(counts / MANY - expected) <= 5 * np.sqrt(expected / MANY))


def test_every_permutation_is_equally_frequent():
    stream = Stream(1, 2)
    draws = [tuple(stream.random_shuffle(3).tolist()) for _ in range(6000)]
    assert {*draws} == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    assert all(abs(draws.count(order) - 1000) < 5 * math.sqrt(1000) for order in {*draws})


# ---- Edge cases ----


@pytest.mark.parametrize("method", ["uniform", "standard_normal", "truncated_normal"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_empty_results_draw_nothing(method, dtype):
    stream = Stream(1, 2)
    before = stream.state
    values = getattr(stream, method)([3, 0, 2], dtype)
    assert values.shape == (3, 0, 2)
    assert values.dtype == dtype
    assert stream.state == before


def test_other_empty_results_draw_nothing():
    stream = Stream(1, 2)
    before = stream.state
    assert stream.uniform_int([0], 5, 5).shape == (0,)
    assert stream.gamma([2, 0], [1.0, 2.0]).shape == (2, 0, 2)
    assert stream.gamma([2], np.zeros([0])).shape == (2, 0)
    assert stream.poisson([0], 3.0).shape == (0,)
    assert stream.poisson([2], np.zeros([0])).shape == (2, 0)
    assert stream.multinomial(np.zeros([0, 3]), 2).shape == (0, 2)
    assert stream.multinomial(np.zeros([2, 3]), 0).shape == (2, 0)
    assert stream.random_shuffle(0).tolist() == []
    assert stream.random_shuffle(1).tolist() == [0]
    assert [part.size for part in stream.candidates("log_uniform", [[3]], 0, True, 9)] == [0, 1, 0]
    assert [part.size for part in stream.candidates("uniform", [[3]], 0, False, 9)] == [0, 1, 0]
    assert stream.state == before


def test_gamma_of_unusual_alpha():
    values = Stream(1, 2).gamma([4], np.array([0.0, -1.0, np.nan, np.inf], np.float32))
    assert np.array_equal(
        values, np.tile(np.array([0, np.nan, np.nan, np.inf], np.float32), (4, 1)), equal_nan=True
    )


def test_gamma_has_no_subnormal_results():
    values = Stream(1, 2).gamma([1000], np.float32(0.01))
    assert np.any(values == 0)
    assert np.all((values == 0) | (values >= np.finfo(np.float32).tiny))


def test_multinomial_of_unusual_logits():
    logits = np.array([[np.nan, 0, np.inf], [-np.inf, -np.inf, -np.inf], [-1e30, 1e30, -1e30]], np.float32)
    values = Stream(1, 2).multinomial(logits, 6, np.int32)
    assert values.tolist() == [[1] * 6, [3] * 6, [1] * 6]


def test_integers_over_the_whole_range():
    limits = np.iinfo(np.int64)
    values = Stream(1, 2).uniform_int([1000], limits.min, limits.max, np.int64)
    assert values.min() < limits.min // 2
    assert values.max() > limits.max // 2
    assert (
        Stream(1, 2).uniform_int([50], limits.max - 1, limits.max, np.int64).tolist() == [limits.max - 1] * 50
    )


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "Need minval < maxval, got 5 >= 5", lambda s: s.uniform_int([2], 5, 5)),
        (ValueError, "Need minval < maxval, got 6 >= 5", lambda s: s.uniform_int([2], 6, 5)),
        (ValueError, "must fit int32", lambda s: s.uniform_int([2], 0, 2**31)),
        (TypeError, "int32 or int64, got float32", lambda s: s.uniform_int([2], 0, 1, np.float32)),
        (TypeError, "float64, got int32", lambda s: s.uniform([2], np.int32)),
        (TypeError, "float64, got int64", lambda s: s.standard_normal([2], np.int64)),
        (TypeError, "float64, got complex64", lambda s: s.truncated_normal([2], np.complex64)),
        (TypeError, "float64, got int64", lambda s: s.gamma([2], 3)),
        (TypeError, "got uint8", lambda s: s.poisson([2], 3.0, np.uint8)),
        (ValueError, "must be finite", lambda s: s.poisson([2], np.nan)),
        (ValueError, "must be finite", lambda s: s.poisson([2], np.inf)),
        (ValueError, "at most 65504", lambda s: s.poisson([2], 1e6, np.float16)),
        (ValueError, "should be a matrix", lambda s: s.multinomial([0.0, 1.0], 2)),
        (ValueError, "num_classes should be positive", lambda s: s.multinomial(np.zeros([2, 0]), 2)),
        (ValueError, "num_samples should be non-negative", lambda s: s.multinomial(np.zeros([2, 2]), -1)),
        (ValueError, "too small: 5 different", lambda s: s.candidates("uniform", [[0]], 5, True, 4)),
        (ValueError, r"out of range \[0, 4\)", lambda s: s.candidates("uniform", [[4]], 2, True, 4)),
        (ValueError, "must be a matrix", lambda s: s.candidates("uniform", [0], 2, True, 4)),
        (ValueError, "range_max must be positive", lambda s: s.candidates("uniform", [[0]], 2, False, 0)),
        (ValueError, "must be >= 0", lambda s: s.uniform([2, -1])),
    ],
)
def test_bad_arguments(error, message, call):
    stream = Stream(1, 2)
    before = stream.state
    with pytest.raises(error, match=message):
        call(stream)
    assert stream.state == before
