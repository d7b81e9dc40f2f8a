"""Samples of `tahr.ops.matrix_functions`."""

from __future__ import annotations

import numpy as np

from tests.ops.samples import Bad, Sample

NAN = float("nan")
# Squares of these roots, whose eigenvalues have positive real parts.
ROOT = np.array([[2.0, 1.0, 0.5], [-1.0, 3.0, 0.25], [0.5, 0.0, 1.0]])
ROTATION = np.array([[0.5, -0.75], [0.75, 0.5]])
COMPLEX_ROOT = np.array([[1 + 2j, 0.5], [0.25j, 2 - 1j]])

SAMPLES = [
    Sample(
        "MatrixSquareRoot",
        "general",
        (ROOT @ ROOT,),
        expected=ROOT,
        dtypes=("float32", "float64"),
        rtol=1e-5,
        atol=1e-6,
    ),
    Sample(
        "MatrixSquareRoot",
        "stack with complex eigenvalues",
        (np.stack([ROTATION @ ROTATION, np.array([[4.0, 0.0], [0.0, 9.0]])]),),
        expected=np.stack([ROTATION, np.diag([2.0, 3.0])]),
        dtypes=("float16", "float32", "float64"),
        rtol=2e-3,
        atol=1e-3,
    ),
    Sample(
        "MatrixSquareRoot",
        "complex",
        (COMPLEX_ROOT @ COMPLEX_ROOT,),
        expected=COMPLEX_ROOT,
        dtypes=("complex64", "complex128"),
        rtol=1e-5,
        atol=1e-6,
    ),
    Sample(
        "MatrixSquareRoot",
        "defective",
        ([[4.0, 1.0, 0.0], [0.0, 4.0, 1.0], [0.0, 0.0, 4.0]],),
        expected=[[2.0, 0.25, -1 / 64], [0.0, 2.0, 0.25], [0.0, 0.0, 2.0]],
        dtypes=("float64",),
    ),
    Sample(
        "MatrixSquareRoot",
        "a cyclic permutation",
        ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],),
        # A permutation of order 3: (2/3) (1 + A + A²) - A² is its principal root, as (2/3) (1 + w + w²) = 0.
        expected=[[2 / 3, -1 / 3, 2 / 3], [2 / 3, 2 / 3, -1 / 3], [-1 / 3, 2 / 3, 2 / 3]],
        dtypes=("float64",),
    ),
    Sample(
        "MatrixSquareRoot",
        "singular",
        ([[1.0, 1.0], [1.0, 1.0]],),
        expected=np.full([2, 2], 0.5**0.5),
        gradient=False,
    ),
    Sample("MatrixSquareRoot", "zero", (np.zeros([2, 2]),), expected=np.zeros([2, 2]), gradient=False),
    Sample(
        "MatrixSquareRoot",
        "negative",
        ([[-4.0, 0.0], [0.0, 9.0]],),
        expected=np.full([2, 2], NAN),
        gradient=False,
    ),
    Sample("MatrixSquareRoot", "NaN", ([[NAN]],), expected=[[NAN]], gradient=False),
    Sample(
        "MatrixSquareRoot",
        "empty",
        (np.zeros([3, 0, 0]),),
        expected=np.zeros([3, 0, 0]),
        gradient=False,
        bad=(
            Bad((np.zeros([1, 2]),), {}, ValueError, "Dimensions must be equal, but are 1 and 2"),
            Bad((np.zeros([2]),), {}, ValueError, "Shape must be at least rank 2 but is rank 1"),
        ),
    ),
]
