"""Functions of `rearranging` and `diagonals` that the samples of their ops do not show."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tests.running import run

TABLE = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


# ---------------------------------------------------------------- repeat


@pytest.mark.parametrize(
    ("repeats", "axis"),
    [
        (2, None),
        (2, 0),
        (3, 1),
        (3, -1),
        ([2], 0),
        (0, 1),
        ([1, 2], 0),
        ([0, 3, 1], 1),
        ([0, 0], 0),
        (np.int64(2), 0),
    ],
)
def test_repeat_is_that_of_numpy(repeats, axis):
    expected = np.repeat(TABLE, repeats, axis)
    repeated = tf.repeat(TABLE, repeats, axis)
    assert tf.TensorShape(expected.shape).is_compatible_with(repeated.shape)
    np.testing.assert_array_equal(run(repeated), expected)
    x = tf.placeholder(tf.float32, [None, None])
    np.testing.assert_array_equal(run(tf.repeat(x, repeats, axis), {x: TABLE}), expected)


def test_repeat_of_what_is_only_known_when_it_runs():
    x, counts = tf.placeholder(tf.float32), tf.placeholder(tf.int32)
    repeated = tf.repeat(x, tf.reshape(counts, [2]), axis=0)
    assert run(repeated, {x: TABLE, counts: [1, 2]}).tolist() == TABLE[[0, 1, 1]].tolist()
    assert run(tf.repeat([1, 2], tf.constant([-1, 2]))).tolist() == [2, 2]
    assert run(tf.repeat([1, 2], tf.constant(-1))).tolist() == []
    assert run(tf.repeat(3, 4)).tolist() == [3] * 4


@pytest.mark.parametrize("repeats", [3, [1, 2]])
def test_gradients_of_repeat_add_up(repeats):
    x = tf.constant(TABLE)
    dx = tf.gradients(tf.repeat(x, repeats, axis=0), x)[0]
    expected = np.broadcast_to(np.reshape(np.broadcast_to(repeats, [2]), [2, 1]), [2, 3])
    np.testing.assert_array_equal(run(tf.convert_to_tensor(dx)), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "phrase"),
    [
        ((TABLE, 2.0), TypeError, "must be of type integer"),
        ((TABLE, 2, "rows"), TypeError, "axis must be an int"),
        ((TABLE, [1, 2, 3], 0), ValueError, "not compatible"),
        ((TABLE, [[1, 2]], 0), ValueError, "at most rank 1"),
        ((TABLE, 2, 2), ValueError, "2"),
    ],
)
def test_bad_repeats(arguments, error, phrase):
    with pytest.raises(error, match=phrase):
        tf.repeat(*arguments)
    with pytest.raises(ValueError, match="may only be negative if rank"):
        tf.repeat(tf.placeholder(tf.float32), 2, -1)


# ---------------------------------------------------------------- diagonals


def test_the_newer_arguments_of_diagonals():
    assert tf.matrix_diag([1.0, 2.0]).op.type == "MatrixDiag"
    assert tf.matrix_diag_part(TABLE).op.type == "MatrixDiagPart"
    assert tf.matrix_set_diag(TABLE, [0.0, 0.0]).op.type == "MatrixSetDiag"
    below = tf.linalg.diag([1.0, 2.0], k=-1, padding_value=7.0)
    assert below.op.type == "MatrixDiagV2" and below.shape.as_list() == [3, 3]
    assert run(below).tolist() == [[7.0, 7.0, 7.0], [1.0, 7.0, 7.0], [7.0, 2.0, 7.0]]
    assert run(tf.linalg.diag([True], k=1)).tolist() == [[False, True], [False, False]]
    band = tf.linalg.diag_part(TABLE, k=[-1, 1])
    assert run(band).tolist() == [[2.0, 6.0], [1.0, 5.0], [4.0, 0.0]]
    assert run(tf.linalg.set_diag(TABLE, [8.0], k=2)).tolist() == [[1.0, 2.0, 8.0], [4.0, 5.0, 6.0]]


def test_diagonals_that_are_only_known_when_they_run():
    k = tf.placeholder(tf.int32)
    part = tf.linalg.diag_part(TABLE, k=k)
    assert part.shape.ndims is None
    assert run(part, {k: 1}).tolist() == [2.0, 6.0]
    assert run(part, {k: [0, 1]}).tolist() == [[2.0, 6.0], [1.0, 5.0]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="lower_diag_index is out of bound"):
        run(part, {k: 3})


# ---------------------------------------------------------------- unique elements


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("spread", [1, 50, 1_000, 10**6])
@pytest.mark.parametrize("at", ["min", "middle", "max"])
def test_unique_integers(dtype: str, spread: int, at: str):
    """Of few different values and of many, at both ends of what there is: counted in tables, or sorted."""
    lowest, highest = int(tf.as_dtype(dtype).min), int(tf.as_dtype(dtype).max)
    spread = min(spread, highest - lowest)
    start = {"min": lowest, "middle": max(lowest, -spread // 2), "max": highest - spread + 1}[at]
    chosen = np.random.default_rng(0).integers(0, spread, 300).tolist()
    x = np.array([start + c for c in chosen], dtype)
    y, idx, count = run(tf.unique_with_counts(tf.constant(x)))
    first = list(dict.fromkeys(x.tolist()))
    assert y.dtype == x.dtype and y.tolist() == first
    assert y[idx].tolist() == x.tolist()
    assert count.tolist() == [x.tolist().count(v) for v in first]


# ---------------------------------------------------------------- results


def test_results_have_tensorflows_type_and_field_names():
    x, v = tf.ones([1, 4, 4, 2]), tf.constant([1, 2, 1])
    classes = tf.constant([[1]], tf.int64)
    results = [
        tf.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"),
        tf.nn.top_k(v),
        tf.unique(v),
        tf.unique_with_counts(v),
        tf.setdiff1d(v, v),
        tf.linalg.qr(x),
        tf.linalg.slogdet(tf.eye(2)),
        tf.nn.uniform_candidate_sampler(classes, 1, 2, True, 4),
        tf.nn.log_uniform_candidate_sampler(classes, 1, 2, True, 4),
        tf.nn.compute_accidental_hits(classes, tf.constant([1], tf.int64), 1),
    ]
    sample = ("sampled_candidates", "true_expected_count", "sampled_expected_count")
    # Recorded from TensorFlow.
    assert [(type(result).__name__, result._fields) for result in results] == [
        ("MaxPoolWithArgmax", ("output", "argmax")),
        ("TopKV2", ("values", "indices")),
        ("Unique", ("y", "idx")),
        ("UniqueWithCounts", ("y", "idx", "count")),
        ("ListDiff", ("out", "idx")),
        ("Qr", ("q", "r")),
        ("LogMatrixDeterminant", ("sign", "log_abs_determinant")),
        ("UniformCandidateSampler", sample),
        ("LogUniformCandidateSampler", sample),
        ("ComputeAccidentalHits", ("indices", "ids", "weights")),
    ]
    assert type(run(results[1])).__name__ == "TopKV2"
    assert type(tf.self_adjoint_eig(tf.eye(2))) is tuple


# ---------------------------------------------------------------- indices


@pytest.mark.parametrize("key", [[0, 1], [0]])
def test_a_vector_of_indices_is_no_index(key):
    x = tf.constant(TABLE)
    with pytest.raises(TypeError, match=r"Only integers, slices.*are valid indices"):
        x[tf.constant(key)]
    with pytest.raises(TypeError, match=r"tf.gather\(x, indices\)"):
        x[tf.constant(key), 0]
    with pytest.raises(TypeError, match="valid indices"):
        x[tf.constant(key) :]
    i = tf.placeholder(tf.int32)
    assert run(x[i], {i: 1}).tolist() == [4.0, 5.0, 6.0]


# ---------------------------------------------------------------- lists that hold tensors


def test_a_list_takes_the_dtype_that_is_asked_for():
    i = tf.constant(3)
    assert run(tf.convert_to_tensor([i, 1.5], tf.float32)).tolist() == [3.0, 1.5]
    assert run(tf.convert_to_tensor([[tf.constant(2.7), 1], [2, 3]], tf.int32)).tolist() == [[2, 1], [2, 3]]
    assert run(tf.constant([1.0]) * [i]).tolist() == [3.0]
    assert run(tf.ones([tf.cast(i, tf.int64), 1])).tolist() == [[1.0]] * 3
    assert run(tf.zeros([tf.cast(i, tf.int64)])).tolist() == [0.0] * 3
    with pytest.raises(
        TypeError, match="Cannot convert a list containing a tensor of dtype float32 to int32"
    ):
        tf.convert_to_tensor([i, tf.constant(2.0)])
    with pytest.raises(ValueError, match="Tensor conversion requested dtype float32"):
        tf.convert_to_tensor(i, tf.float32)


# ---------------------------------------------------------------- variance, erosion, accidental hits


@pytest.mark.parametrize("axis", [None, 0, [0, 1], -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_variance_and_standard_deviation(axis, keepdims):
    x = TABLE * [1.0, -2.0, 0.5]
    where = tuple(axis) if isinstance(axis, list) else axis
    np.testing.assert_allclose(
        run(tf.math.reduce_variance(x, axis, keepdims)), x.var(where, keepdims=keepdims), rtol=1e-12
    )
    np.testing.assert_allclose(
        run(tf.math.reduce_std(x, axis, keepdims)), x.std(where, keepdims=keepdims), rtol=1e-12
    )


def test_variance_of_other_numbers():
    z = np.array([1 + 2j, 2.0, -1j])
    variance = tf.math.reduce_variance(z)
    assert variance.dtype is tf.float64
    np.testing.assert_allclose(run(variance), z.var())
    with pytest.raises(TypeError, match="Input must be either real or complex"):
        tf.math.reduce_std([1, 2])


def test_erosion():
    # Recorded from TensorFlow.
    x = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
    kernel = tf.reshape([0.0, 1.0, -1.0, 0.5], [2, 2, 1])
    eroded = tf.nn.erosion2d(x, kernel, [1, 1, 1, 1], [1, 1, 1, 1], "SAME")
    np.testing.assert_array_equal(run(eroded).ravel(), np.arange(16) - 0.5)


def test_a_class_that_is_given_twice_is_hidden_once():
    labels = tf.constant([[1, 1]], tf.int64)
    sampled = tf.constant([1, 3], tf.int64), tf.ones([1, 2]), tf.ones([2])
    for loss in (tf.nn.nce_loss, tf.nn.sampled_softmax_loss):
        found = loss(tf.ones([5, 3]), tf.zeros([5]), labels, tf.ones([1, 3]), 2, 5, 2, sampled, True)
        assert found.shape.as_list() in ([1], [None]) and np.isfinite(run(found)).all()
