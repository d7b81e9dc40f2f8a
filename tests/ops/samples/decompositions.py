"""Samples of `tahr.ops.linear_systems` and `decompositions`: small matrices whose factors are known in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tahr import errors
from tests.ops.samples import COMPLEX, Bad, Sample

WIDE = ("float32", "float64")
ALL = ("float16", "float32", "float64", *COMPLEX)
GENERAL = np.array([[2.0, 1.0], [1.0, 3.0]])  # determinant 5
SKEW = np.array([[1.0, 2.0], [4.0, 3.0]])  # determinant -5
HERMITIAN = np.array([[2.0, 1.0j], [-1.0j, 2.0]])
STACK = np.stack([GENERAL, SKEW])
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]], np.float32)
LOWER = np.array([[2.0, 0.0, 0.0], [1.0, 4.0, 0.0], [3.0, 2.0, 5.0]])
POSITIVE = LOWER @ LOWER.T
TALL = np.array([[3.0, 1.0], [0.0, 2.0], [4.0, 1.0]])
ROOT = math.sqrt(0.5)
# The singular vectors of [[3, 0], [4, 5]], whose singular values are 3 and 1 times the root of 5.
U = np.array([[-1.0, -3.0], [-3.0, 1.0]]) / math.sqrt(10)
V = np.array([[-1.0, -1.0], [-1.0, 1.0]]) * ROOT
LEFT = np.array([[2.0, 1.0, 2.0], [-2.0, 2.0, 1.0]]) / 3

NOT_SQUARE = Bad((np.ones([2, 3], np.float32),), {}, ValueError, "Dimensions must be equal, but are 2 and 3")
NOT_INVERTIBLE = Bad((SINGULAR,), {}, errors.InvalidArgumentError, "Input is not invertible.")
NO_SOLUTION = Bad(
    (SINGULAR, np.ones([2, 1], np.float32)),
    {},
    errors.InvalidArgumentError,
    "Input matrix is not invertible.",
)


def gram_schmidt(x: Any, *, full_matrices: bool) -> Any:
    """Q and R of a real matrix; like LAPACK's Householder reflections, with a negative diagonal of R."""
    rows, columns = x.shape
    q = np.zeros((rows, min(rows, columns)))
    for j in range(q.shape[1]):
        rest = x[:, j] - sum((q[:, i] @ x[:, j]) * q[:, i] for i in range(j))
        q[:, j] = -rest / math.sqrt(rest @ rest)
    if rows <= columns:  # the last of the reflections is left out
        q[:, -1] *= (-1) ** (rows - 1) * round(np.linalg.det(q))
    return q, q.T @ x


SAMPLES = [
    Sample(
        "MatrixInverse",
        "general",
        inputs=(GENERAL,),
        expected=[[0.6, -0.2], [-0.2, 0.4]],
        dtypes=ALL,
        bad=(NOT_SQUARE, NOT_INVERTIBLE),
        rtol=1e-3,
        gradient_rtol=1e-4,
    ),
    Sample(
        "MatrixInverse",
        "stack, adjoint",
        inputs=(STACK,),
        attrs={"adjoint": True},
        expected=[[[0.6, -0.2], [-0.2, 0.4]], [[-0.6, 0.8], [0.4, -0.2]]],
        dtypes=WIDE,
        rtol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "MatrixInverse", "empty", inputs=(np.zeros([0, 0]),), expected=np.zeros([0, 0]), dtypes=("float32",)
    ),
    Sample(
        "MatrixDeterminant",
        "stack",
        inputs=(STACK,),
        expected=[5.0, -5.0],
        dtypes=ALL,
        rtol=1e-3,
        bad=(NOT_SQUARE,),
    ),
    Sample("MatrixDeterminant", "singular", inputs=(SINGULAR,), expected=0.0, dtypes=WIDE, gradient=False),
    Sample(
        "MatrixDeterminant",
        "of nothing is one",
        inputs=(np.zeros([0, 0]),),
        expected=1.0,
        dtypes=("float32",),
    ),
    Sample(
        "LogMatrixDeterminant",
        "stack",
        inputs=(STACK,),
        expected=([1.0, -1.0], [math.log(5)] * 2),
        dtypes=("float16", "float32", "float64"),
        rtol=1e-3,
        gradient_rtol=1e-4,
        bad=(NOT_SQUARE,),
    ),
    Sample(
        "LogMatrixDeterminant",
        "singular",
        inputs=(SINGULAR,),
        expected=(0.0, -math.inf),
        dtypes=WIDE,
        gradient=False,
    ),
    Sample(
        "MatrixSolve",
        "two right-hand sides",
        inputs=(GENERAL, [[5.0, 0.0], [10.0, 5.0]]),
        expected=[[1.0, -1.0], [3.0, 2.0]],
        dtypes=ALL,
        rtol=1e-3,
        atol=1e-3,
        gradient_rtol=1e-4,
        bad=(NO_SOLUTION,),
    ),
    Sample(
        "MatrixSolve",
        "adjoint",
        inputs=(SKEW, [[9.0], [8.0]]),
        attrs={"adjoint": True},
        expected=[[1.0], [2.0]],
        dtypes=WIDE,
        rtol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "MatrixTriangularSolve",
        "lower",
        inputs=(LOWER, [[2.0], [9.0], [22.0]]),
        expected=[[1.0], [2.0], [3.0]],
        dtypes=ALL,
        rtol=1e-3,
        gradient_rtol=1e-4,
        bad=(
            Bad(
                (np.zeros([1, 1], np.float32), np.ones([1, 1], np.float32)),
                {},
                errors.InvalidArgumentError,
                "Input matrix is not invertible.",
            ),
        ),
    ),
    Sample(
        "MatrixTriangularSolve",
        "lower, adjoint",
        inputs=(LOWER, [[13.0], [14.0], [15.0]]),
        attrs={"adjoint": True},
        expected=[[1.0], [2.0], [3.0]],
        dtypes=WIDE,
        rtol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "MatrixTriangularSolve",
        "upper",
        inputs=(LOWER.T, [[13.0], [14.0], [15.0]]),
        attrs={"lower": False},
        expected=[[1.0], [2.0], [3.0]],
        dtypes=WIDE,
        rtol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "MatrixTriangularSolve",
        "upper, adjoint; the other triangle is not read",
        inputs=(LOWER.T + np.tril(np.full([3, 3], 7.0), -1), [[2.0], [9.0], [22.0]]),
        attrs={"lower": False, "adjoint": True},
        expected=[[1.0], [2.0], [3.0]],
        dtypes=WIDE,
        rtol=1e-5,
        gradient_rtol=1e-4,
    ),
    # The gradient is that of symmetric matrices: single elements cannot be varied. See test_linalg.
    Sample(
        "Cholesky",
        "known factor",
        inputs=(POSITIVE,),
        expected=LOWER,
        dtypes=ALL,
        rtol=1e-3,
        atol=1e-3,
        gradient=False,
        bad=(
            NOT_SQUARE,
            Bad(
                (-np.eye(2, dtype=np.float32),),
                {},
                errors.InvalidArgumentError,
                "Cholesky decomposition was not successful. The input might not be valid.",
            ),
        ),
    ),
    Sample(
        "MatrixSolveLs",
        "line through points",
        inputs=([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [[1.0], [3.0], [5.0]], 0.0),
        attrs={"fast": False},
        expected=[[1.0], [2.0]],
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-5,
        gradient=False,
    ),
    Sample(
        "MatrixSolveLs",
        "shortest of many, regularised",
        inputs=([[3.0, 4.0]], [[26.0]], 1.0),
        expected=[[3.0], [4.0]],
        dtypes=WIDE,
        rtol=1e-4,
        gradient=False,
    ),
    Sample(
        "Qr",
        "tall",
        inputs=(TALL,),
        expected=gram_schmidt,
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "Qr",
        "wide",
        inputs=(TALL.T,),
        expected=gram_schmidt,
        dtypes=("float64",),
        rtol=1e-9,
        atol=1e-9,
        gradient_rtol=1e-4,
    ),
    Sample(
        "Svd",
        "diagonal",
        inputs=([[0.0, 2.0], [3.0, 0.0]],),
        attrs={"compute_uv": False},
        expected=([3.0, 2.0], np.zeros(0), np.zeros(0)),
        dtypes=ALL,
        rtol=1e-3,
    ),
    Sample(
        "Svd",
        "vectors",
        inputs=([[3.0, 0.0], [4.0, 5.0]],),
        expected=([3 * math.sqrt(5), math.sqrt(5)], U, V),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "Svd",
        "tall",
        inputs=([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]],),
        expected=([3.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]),
        dtypes=WIDE,
        gradient=False,
    ),
    Sample(
        "Svd",
        "tall, generic",
        inputs=(6 * np.outer(LEFT[0], V[:, 0]) + 2 * np.outer(LEFT[1], V[:, 1]),),
        expected=([6.0, 2.0], -LEFT.T, -V),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "Svd",
        "wide, generic",
        inputs=(6 * np.outer(V[:, 0], LEFT[0]) + 2 * np.outer(V[:, 1], LEFT[1]),),
        expected=([6.0, 2.0], V, LEFT.T),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-5,
        gradient_rtol=1e-4,
    ),
    Sample(
        "Svd",
        "full matrices",
        inputs=([[3.0], [0.0]],),
        attrs={"full_matrices": True},
        expected=([3.0], [[1.0, 0.0], [0.0, 1.0]], [[1.0]]),
        dtypes=WIDE,
        gradient=False,
    ),
    Sample(
        "SelfAdjointEigV2",
        "vectors; only the lower triangle is read",
        inputs=([[1.0, 9.0], [2.0, 4.0]],),
        expected=([0.0, 5.0], np.array([[-2.0, 1.0], [1.0, 2.0]]) / math.sqrt(5)),
        dtypes=WIDE,
        rtol=1e-4,
        atol=1e-6,
        gradient_rtol=1e-4,
        bad=(NOT_SQUARE,),
    ),
    Sample(
        "SelfAdjointEigV2",
        "values alone",
        inputs=([[2.0, 1.0], [1.0, 2.0]],),
        attrs={"compute_v": False},
        expected=([1.0, 3.0], np.zeros(0)),
        dtypes=("float16", "float32", "float64"),
        rtol=1e-3,
    ),
]
