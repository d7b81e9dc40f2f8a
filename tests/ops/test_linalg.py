"""Functions of linear algebra made of several ops: products, einsum, tensordot, solvers and norms.

Values are compared with NumPy's, gradients with finite differences, for known and unknown shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tahr.autodiff.gradients import gradients
from tahr.core import dtypes
from tahr.core.convert import constant
from tahr.core.graph import Graph, Tensor
from tahr.core.shapes import Spec
from tahr.core.sizes import UNKNOWN
from tahr.ops import (  # noqa: F401  # operators: installs x[...]
    contractions,
    counting,
    decompositions,
    elementwise as e,
    linalg,
    linear_systems,
    matrix_functions,
    norms,
    operators,  # pyright: ignore[reportUnusedImport]
    placeholders,
    reductions,
    segments,
    structural as s,
)
from tests.evaluate import evaluate, fed
from tests.gradient_check import check_gradients, random_cotangent

KNOWN, SIZES, RANK = "known", "unknown sizes", "unknown rank"


def values(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random numbers away from 0."""
    rng = np.random.default_rng([seed, *shape])
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape))


def feed(array: np.ndarray[Any, Any], what: str) -> Tensor:
    """A tensor for an array of which more or less is known."""
    shape = {KNOWN: array.shape, SIZES: (UNKNOWN,) * array.ndim, RANK: None}[what]
    return fed(Spec(dtypes.of_numpy(array.dtype), shape))


def check(
    function: Callable[..., Tensor], expected: Any, *arrays: np.ndarray[Any, Any], what: str = KNOWN
) -> None:
    """Compares a function's value with `expected` and its gradients with finite differences."""
    with Graph().as_default():
        tensors = [feed(a, what) for a in arrays]
        y = function(*tensors)
        feeds = dict(zip(tensors, arrays, strict=True))
        found = evaluate(y, feeds)
        assert found.dtype == y.dtype.numpy
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        if what == KNOWN:
            assert y.shape.as_list() == list(np.shape(expected))
        cotangent = feed(random_cotangent(found.shape, found.dtype, 0), KNOWN)
        slopes = gradients([y], tensors, [cotangent])
        feeds[cotangent] = random_cotangent(found.shape, found.dtype, 0)
        check_gradients([y], tensors, [cotangent], slopes, feeds)


@pytest.mark.parametrize("what", [KNOWN, SIZES, RANK])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 2)),
        ((2, 1, 4, 3), (5, 3, 2)),
        ((5, 2, 3), (3, 4)),
    ],
)
def test_matmul_of_any_ranks(left: tuple[int, ...], right: tuple[int, ...], what: str) -> None:
    a, b = values(*left), values(*right, seed=1)
    check(linalg.matmul, np.matmul(a, b), a, b, what=what)


@pytest.mark.parametrize("what", [KNOWN, SIZES, RANK])
@pytest.mark.parametrize("shape", [(3, 2), (4, 3, 2)])
def test_matmul_transposed(shape: tuple[int, ...], what: str) -> None:
    a, b = values(*shape), values(*shape[:-2], 5, 3, seed=1)
    expected = np.matmul(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2))
    check(lambda x, y: linalg.matmul(x, y, transpose_a=True, transpose_b=True), expected, a, b, what=what)
    check(lambda x, y: linalg.matmul(x, y, adjoint_a=True, adjoint_b=True), expected, a, b, what=what)


def test_matmul_distinguishes_transposes_from_adjoints() -> None:
    a = values(3, 2) + 1j * values(3, 2, seed=1)
    for rank in (2, 3):
        x = a.reshape((1,) * (rank - 2) + a.shape)
        check(lambda t: linalg.matmul(t, t, adjoint_a=True), np.swapaxes(x, -1, -2).conj() @ x, x)
        check(lambda t: linalg.matmul(t, t, transpose_a=True), np.swapaxes(x, -1, -2) @ x, x)


def test_matmul_names_the_transpose_that_fits() -> None:
    with Graph().as_default(), pytest.raises(ValueError, match="transpose_b=True") as caught:
        linalg.matmul(np.ones([32, 784]), np.ones([10, 784]))
    assert "Dimensions must be equal, but are 784 and 10" in str(caught.value)


def test_matmul_refuses_to_transpose_twice() -> None:
    with Graph().as_default(), pytest.raises(ValueError, match="Only one of transpose_a and adjoint_a"):
        linalg.matmul(np.ones([2, 2]), np.ones([2, 2]), transpose_a=True, adjoint_a=True)


def test_matvec() -> None:
    a, b = values(4, 2, 3), values(4, 3, seed=1)
    check(linalg.matvec, np.einsum("bij,bj->bi", a, b), a, b)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ji,jk->ki", (3, 2), (3, 4)),
    ("bij,bkj->bik", (5, 2, 3), (5, 4, 3)),
    ("i,j->ij", (2,), (3,)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("ij,j->ji", (2, 3), (3,)),
    ("abc,cd->abd", (2, 3, 4), (4, 5)),
    ("abc,acd,ad->b", (2, 3, 4), (2, 4, 5), (2, 5)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iij->j", (3, 3, 2)),
    ("ij->ji", (2, 3)),
    ("ij->j", (2, 3)),
    ("ba", (2, 3)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
    ("b...,b...->...b", (2, 3), (2, 3)),
    ("i,,i->", (2,), (), (2,)),
    ("ab,cd,ef->facebd", (2, 3), (4, 2), (3, 2)),
]


@pytest.mark.parametrize("what", [KNOWN, SIZES])
@pytest.mark.parametrize("case", EQUATIONS, ids=lambda case: case[0])
def test_einsum(case: tuple[Any, ...], what: str) -> None:
    equation, *shapes = case
    arrays = [values(*shape, seed=i) for i, shape in enumerate(shapes)]
    check(lambda *x: contractions.einsum(equation, *x), np.einsum(equation, *arrays), *arrays, what=what)


@pytest.mark.parametrize(
    ("equation", "shapes", "phrase"),
    [
        ("ij,jk->ik", [(2, 3)], "Expected 2 arguments"),
        ("ij->k", [(2, 3)], "Indices have incorrect format"),
        ("i1->i", [(2, 3)], "Indices have incorrect format"),
        ("ijk->i", [(2, 3)], "do not fit"),
        ("ij->ii", [(2, 3)], "Indices have incorrect format"),
        ("ij,jk->ik", [(2, 3), (2, 3)], "Dimensions must be equal"),
    ],
)
def test_einsum_refuses(equation: str, shapes: list[tuple[int, ...]], phrase: str) -> None:
    with Graph().as_default(), pytest.raises(ValueError, match=phrase):
        contractions.einsum(equation, *map(np.ones, shapes))


@pytest.mark.parametrize("what", [KNOWN, SIZES, RANK])
@pytest.mark.parametrize("axes", [0, 1, 2, [[0, 1], [1, 0]], [[2, 0], [0, 2]], [-1, 0], [[], []]], ids=str)
def test_tensordot(axes: Any, what: str) -> None:
    a, b = (
        (values(2, 3, 2), values(3, 2, 2, seed=1))
        if axes in (2, [[0, 1], [1, 0]])
        else (values(2, 3, 2), values(2, 3, 2, seed=1))
    )
    check(lambda x, y: contractions.tensordot(x, y, axes), np.tensordot(a, b, axes), a, b, what=what)


def test_eye_and_trace() -> None:
    with Graph().as_default():
        np.testing.assert_array_equal(evaluate(linalg.eye(3)), np.eye(3, dtype=np.float32))
        np.testing.assert_array_equal(evaluate(linalg.eye(2, 3, [2])), np.stack([np.eye(2, 3)] * 2))
        assert linalg.eye(placeholders.placeholder("int32", []), 3).shape.as_list() == [None, 3]
        assert linalg.eye(2, 3, [4], dtypes.int32).shape.as_list() == [4, 2, 3]
    x = values(2, 3, 4)
    check(linalg.trace, np.trace(x, axis1=1, axis2=2), x)


POSITIVE = values(2, 3, 3) @ np.swapaxes(values(2, 3, 3), 1, 2) + np.eye(3)


def symmetric(x: Tensor) -> Tensor:
    return e.multiply(e.cast(0.5, x.dtype), e.add(x, linalg.adjoint(x)))


def test_cholesky_of_symmetric_matrices() -> None:
    check(lambda x: linear_systems.cholesky(symmetric(x)), np.linalg.cholesky(POSITIVE), POSITIVE)


def test_logdet_and_cholesky_solve() -> None:
    check(lambda x: linear_systems.logdet(symmetric(x)), np.linalg.slogdet(POSITIVE)[1], POSITIVE)
    b = values(2, 3, 2)

    def solve(x: Tensor, y: Tensor) -> Tensor:
        return linear_systems.cholesky_solve(linear_systems.cholesky(symmetric(x)), y)

    check(solve, np.linalg.solve(POSITIVE, b), POSITIVE, b)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3)])
@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_matrix_solve_ls(shape: tuple[int, int], l2: float) -> None:
    a, b = values(*shape), values(shape[0], 2, seed=1)
    expected = np.linalg.solve(a.T @ a + l2 * np.eye(shape[1]), a.T @ b) if l2 else np.linalg.pinv(a) @ b
    check(lambda x, y: linear_systems.matrix_solve_ls(x, y, l2), expected, a, b)


@pytest.mark.parametrize("order", ["euclidean", 1, 2, 3, np.inf], ids=str)
@pytest.mark.parametrize("axis", [None, 0, -1], ids=str)
def test_norm_of_vectors(order: Any, axis: Any) -> None:
    x = values(3, 4)
    expected = np.linalg.norm(x.ravel() if axis is None else x, 2 if order == "euclidean" else order, axis)
    check(lambda t: norms.norm(t, order, axis), expected, x)


@pytest.mark.parametrize("order", ["euclidean", "fro", 1, 2, np.inf], ids=str)
def test_norm_of_matrices(order: Any) -> None:
    x = values(3, 2, 4)
    expected = np.linalg.norm(x, "fro" if order == "euclidean" else order, (0, 2), keepdims=True)
    check(lambda t: norms.norm(t, order, [0, 2], keepdims=True), expected, x)


def test_norm_refuses() -> None:
    with Graph().as_default():
        for order, axis in (("nuclear", None), (-1, 0), (3, [0, 1]), (2, [0, 0]), (2, [0, 1, 2])):
            with pytest.raises(ValueError, match="must be"):
                norms.norm(np.ones([2, 2]), order, axis)


@pytest.mark.parametrize("compute_uv", [True, False])
def test_svd_of_complex_matrices(compute_uv: bool) -> None:
    """What does not depend on the vectors' phases: the singular values, and the matrix put together again."""
    x = values(3, 2) + 1j * values(3, 2, seed=1)

    def total(t: Tensor) -> Tensor:
        if not compute_uv:
            return s.reduce_sum(e.multiply(decompositions.svd(t, compute_uv=False), [1.0, 2.0]))
        singular, u, v = decompositions.svd(t)
        scaled = e.multiply(u, e.cast(e.multiply(singular, singular), t.dtype))
        return e.real(linalg.matmul(scaled, v, adjoint_b=True))

    u, singular, vh = np.linalg.svd(x, full_matrices=False)
    expected = (u * singular**2) @ vh if compute_uv else singular @ [1.0, 2.0]
    check(total, np.real(expected), x)


def test_reduce_logsumexp() -> None:
    x = values(2, 3)
    check(lambda t: reductions.reduce_logsumexp(t, 1), np.log(np.exp(x).sum(1)), x)
    with Graph().as_default():
        found = evaluate(
            reductions.reduce_logsumexp([[1000.0, 1000.0], [-np.inf, -np.inf]], 1, keepdims=True)
        )
    np.testing.assert_allclose(found, [[1000.0 + np.log(2)], [-np.inf]], rtol=1e-6)


def test_counting() -> None:
    with Graph().as_default():
        assert evaluate(reductions.count_nonzero([[0.0, 2.0], [np.nan, 0.0]])) == 2
        np.testing.assert_array_equal(
            evaluate(reductions.count_nonzero([[0, 2], [3, 0]], 1, True)), [[1], [1]]
        )
        np.testing.assert_array_equal(evaluate(counting.bincount([1, 1, 3])), [0, 2, 0, 1])
        np.testing.assert_array_equal(evaluate(counting.bincount([1, 1, 3], minlength=5)), [0, 2, 0, 1, 0])
        np.testing.assert_array_equal(evaluate(counting.bincount([1, 1, 3], maxlength=2)), [0, 2])
        np.testing.assert_array_equal(evaluate(counting.bincount([1, 1, 3], [0.5, 1.0, 2.0])), [0, 1.5, 0, 2])
        assert evaluate(counting.bincount(np.zeros(0, np.int32))).shape == (0,)
        matrix = evaluate(counting.confusion_matrix([1, 2, 2], [[2], [2], [0]]))
        np.testing.assert_array_equal(matrix, [[0, 0, 0], [0, 0, 1], [1, 0, 1]])
        weighted = counting.confusion_matrix([0, 1], [0, 0], 2, dtypes.float32, weights=[0.5, 2.0])
        np.testing.assert_array_equal(evaluate(weighted), [[0.5, 0], [2, 0]])
        assert weighted.shape.as_list() == [2, 2]


def test_unsorted_segment_means() -> None:
    x, ids = values(4, 2), np.array([1, -1, 1, 0])
    mean = np.stack([x[3], (x[0] + x[2]) / 2, np.zeros(2)])
    check(lambda t: segments.unsorted_segment_mean(t, ids, 3), mean, x)
    root = np.stack([x[3], (x[0] + x[2]) / np.sqrt(2), np.zeros(2)])
    check(lambda t: segments.unsorted_segment_sqrt_n(t, ids, 3), root, x)


def test_both_names_of_an_argument() -> None:
    with Graph().as_default():
        for call in (
            lambda: reductions.reduce_mean([1.0], 0, reduction_indices=0),
            lambda: reductions.reduce_max([1.0], 0, True, keep_dims=True),
            lambda: reductions.argmax([1.0], 0, dimension=0),
            lambda: norms.norm([1.0], keepdims=True, keep_dims=True),
        ):
            with pytest.raises(ValueError, match="Cannot specify both"):
                call()


# ---------------------------------------------------------------- square roots


@pytest.mark.parametrize("kind", ["general", "symmetric", "defective"])
def test_the_square_of_the_square_root(kind: str) -> None:
    m = np.random.default_rng(0).normal(size=[30, 30])
    if kind == "general":
        a = (m + 20 * np.eye(30)) @ (m + 20 * np.eye(30))
    elif kind == "symmetric":
        a = m @ m.T + np.eye(30)
    else:
        # Two Jordan blocks, hidden by an orthogonal change of the basis.
        q, _ = np.linalg.qr(m)
        jordan = np.diag([4.0] * 28 + [9.0] * 2) + np.diag([1.0] * 27 + [0.0, 1.0], 1)
        a = q @ jordan @ q.T
    root = evaluate(matrix_functions.matrix_square_root(constant(a)))
    np.testing.assert_allclose(root @ root, a, atol=1e-10 * np.abs(a).max())
    assert (np.linalg.eigvals(root).real > 0).all()


@pytest.mark.parametrize(
    "a",
    [
        pytest.param(np.random.default_rng(0).normal(size=[12, 12]), id="general"),
        pytest.param(
            np.roll(np.eye(3), 1, axis=0), id="a permutation, where plain shifts go round in circles"
        ),
        pytest.param(np.diag([2.0] * 5) + np.diag([1.0] * 4, 1), id="defective"),
        pytest.param(np.zeros([3, 3]), id="zero"),
        pytest.param(np.zeros([0, 0]), id="empty"),
    ],
)
def test_schur_by_steps(a: Any) -> None:
    q, t = matrix_functions.schur_by_steps(a.astype(np.complex128))
    np.testing.assert_allclose(q @ t @ q.conj().T, a, atol=1e-13 * max(len(a), 1))
    np.testing.assert_allclose(q @ q.conj().T, np.eye(len(a)), atol=1e-13)
    np.testing.assert_allclose(np.tril(t, -1), 0, atol=1e-14)
