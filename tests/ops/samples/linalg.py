"""Samples of `tahr.ops.linalg`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr import errors
from tests.ops.samples import COMPLEX, FLOATS, INTEGERS, NUMBERS, Bad, Sample

A = np.array([[1.0, 2.0, 3.0], [4.0, 0.5, 6.0]])
B = np.array([[2.0, 1.0, 0.0, 1.0], [1.0, 3.0, 1.0, 2.0], [0.0, 1.0, 4.0, 0.5]])
STACK = np.arange(12.0).reshape(2, 2, 3) / 4 + 0.25
COMPLEX_A = A + 1j * A[::-1]


def dot(a: Any, b: Any) -> Any:
    """A matrix product as three loops."""
    result = np.zeros((a.shape[0], b.shape[1]), dtype=np.result_type(a, b))
    for i, j, k in np.ndindex(a.shape[0], b.shape[1], a.shape[1]):
        result[i, j] += a[i, k] * b[k, j]
    return result


def matmul(a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    return dot(a.T if transpose_a else a, b.T if transpose_b else b)


def batch_matmul(x: Any, y: Any, *, adj_x: bool, adj_y: bool) -> Any:
    if adj_x:
        x = x.swapaxes(-1, -2).conj()
    if adj_y:
        y = y.swapaxes(-1, -2).conj()
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = (np.broadcast_to(z, batch + z.shape[-2:]) for z in (x, y))
    result = [dot(x[i], y[i]) for i in np.ndindex(*batch)]
    return np.array(result).reshape(*batch, x.shape[-2], y.shape[-1])


MISMATCH = (
    Bad(
        (np.ones([32, 784]), np.ones([10, 784])),
        {},
        ValueError,
        "Dimensions must be equal, but are 784 and 10",
    ),
    Bad(
        (np.ones([2, 3]), np.ones([2, 3])),
        {"transpose_b": True, "transpose_a": True},
        ValueError,
        "Dimensions must be equal, but are 2 and 3",
    ),
    Bad((np.ones([2, 3, 4]), np.ones([4, 3])), {}, ValueError, "Shape must be rank 2 but is rank 3"),
)

SAMPLES = [
    Sample("MatMul", "plain", inputs=(A, B), expected=matmul, dtypes=NUMBERS, bad=MISMATCH),
    Sample(
        "MatMul",
        "left transposed",
        inputs=(A.T, B),
        attrs={"transpose_a": True},
        expected=matmul,
        dtypes=FLOATS + COMPLEX,
    ),
    Sample(
        "MatMul",
        "right transposed",
        inputs=(A, B.T),
        attrs={"transpose_b": True},
        expected=matmul,
        dtypes=FLOATS + COMPLEX,
    ),
    Sample(
        "MatMul",
        "both transposed",
        inputs=(A.T, B.T),
        attrs={"transpose_a": True, "transpose_b": True},
        expected=matmul,
        dtypes=("float64", "complex128"),
    ),
    Sample(
        "MatMul",
        "no inner elements",
        inputs=(np.ones([2, 0]), np.ones([0, 3])),
        expected=np.zeros([2, 3]),
        dtypes=("float32", "float16"),
    ),
    Sample(
        "MatMul",
        "no rows",
        inputs=(np.ones([0, 2]), np.ones([2, 3])),
        expected=np.zeros([0, 3]),
        dtypes=FLOATS,
    ),
    Sample(
        "MatMul",
        "half sums do not saturate",
        inputs=(np.ones([1, 4096]), np.ones([4096, 1])),
        expected=[[4096.0]],
        dtypes=("float16", "bfloat16"),
        gradient=False,
    ),
    Sample(
        "BatchMatMulV2",
        "broadcast",
        inputs=(STACK, B),
        expected=batch_matmul,
        dtypes=FLOATS + COMPLEX,
        bad=(
            Bad(
                (np.ones([2, 3, 4]), np.ones([2, 3, 4])),
                {},
                ValueError,
                "Dimensions must be equal, but are 4 and 3",
            ),
        ),
    ),
    Sample(
        "BatchMatMulV2",
        "adjoints",
        inputs=(STACK.swapaxes(1, 2), STACK[:1]),
        attrs={"adj_x": True, "adj_y": True},
        expected=batch_matmul,
        dtypes=("float64", "complex64"),
    ),
    Sample(
        "BatchMatMulV2",
        "left adjoint",
        inputs=(COMPLEX_A[None], A[None] * 1j),
        attrs={"adj_x": True},
        expected=batch_matmul,
        dtypes=COMPLEX,
    ),
    Sample(
        "BatchMatMulV2",
        "right adjoint",
        inputs=(A * 1j, COMPLEX_A[None]),
        attrs={"adj_y": True},
        expected=batch_matmul,
        dtypes=COMPLEX,
    ),
    Sample(
        "BatchMatMulV2",
        "vectors",
        inputs=([1.0, 2.0], [3.0, 4.0]),
        expected=11.0,
        dtypes=("float32", "int32"),
    ),
    Sample(
        "BatchMatMulV2",
        "row",
        inputs=([1.0, 2.0], STACK),
        expected=STACK[:, 0] + 2 * STACK[:, 1],
        dtypes=("float64",),
    ),
    Sample(
        "BatchMatMulV2", "column", inputs=(A, [1.0, 2.0, 3.0]), expected=[14.0, 23.0], dtypes=("float64",)
    ),
    Sample(
        "BatchMatMul",
        "stack",
        inputs=(STACK, STACK.swapaxes(1, 2)),
        expected=batch_matmul,
        dtypes=("float32", "complex64"),
    ),
    Sample(
        "Diag", "vector", inputs=([1.0, 2.0],), expected=[[1.0, 0.0], [0.0, 2.0]], dtypes=FLOATS + COMPLEX
    ),
    Sample(
        "Diag",
        "matrix",
        inputs=([[1.0, 2.0]],),
        expected=np.array([1.0, 0.0, 0.0, 2.0]).reshape(1, 2, 1, 2),
        dtypes=("float32", "int32"),
    ),
    Sample("Diag", "empty", inputs=(np.zeros(0),), expected=np.zeros([0, 0]), dtypes=("float32",)),
    Sample(
        "DiagPart",
        "matrix",
        inputs=([[1.0, 2.0], [3.0, 4.0]],),
        expected=[1.0, 4.0],
        dtypes=NUMBERS,
        bad=(Bad((np.ones(3),), {}, ValueError, "Input must have even and non-zero rank"),),
    ),
    Sample(
        "DiagPart",
        "rank 4",
        inputs=(np.arange(16.0).reshape(2, 2, 2, 2),),
        expected=[[0.0, 5.0], [10.0, 15.0]],
        dtypes=("float64",),
    ),
    Sample(
        "MatrixBandPart",
        "lower triangle",
        inputs=(A, -1, 0),
        expected=[[1.0, 0.0, 0.0], [4.0, 0.5, 0.0]],
        dtypes=FLOATS + COMPLEX,
    ),
    Sample(
        "MatrixBandPart",
        "band",
        inputs=(np.arange(9).reshape(3, 3) + 1, 0, 1),
        expected=[[1, 2, 0], [0, 5, 6], [0, 0, 9]],
        dtypes=INTEGERS,
        bad=(
            Bad(
                (np.ones([2, 2]), 3, 0),
                {},
                errors.InvalidArgumentError,
                "num_lower must be negative or less or equal to number of rows (2)",
            ),
        ),
    ),
    Sample(
        "MatrixBandPart",
        "NaN outside is dropped",
        inputs=([[1.0, np.nan], [2.0, 3.0]], -1, 0),
        expected=[[1.0, 0.0], [2.0, 3.0]],
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample(
        "Cross",
        "unit vectors and others",
        inputs=([[1.0, 0.0, 0.0], [1.0, 2.0, 3.0]], [[0.0, 1.0, 0.0], [4.0, 6.0, 5.0]]),
        expected=[[0.0, 0.0, 1.0], [-8.0, 7.0, -2.0]],
        dtypes=(*FLOATS, "int32"),
        bad=(Bad((np.ones(2), np.ones(2)), {}, ValueError, "3-element vectors"),),
    ),
]
