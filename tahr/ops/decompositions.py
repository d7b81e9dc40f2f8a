"""Factorisations of matrices, linear systems, inverses, determinants and norms.

All work on stacks of matrices [..., m, n]. The gradients are those of Giles, "Collected matrix derivative
results for forward and reverse mode algorithmic differentiation" (2008), unless another source is named; A'
is the conjugate transpose of A, and dA the gradient with respect to A. Half precision is computed in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import FLOATING
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, minimum
from tahr.errors import Complaint
from tahr.ops import (
    elementwise as e,
    indexing,
    joining,
    linalg,
    reductions,
    results,
    special,
    structural as s,
)
from tahr.ops.diagonals import matrix_diag, matrix_diag_part, matrix_dims, matrix_set_diag
from tahr.ops.linalg import adjoint, matmul, matrix_band_part

_TYPES = {"T": FLOATING}

# ---------------------------------------------------------------- what the ops here share


def square_shape(x: Spec) -> Shape:
    """The shape of a stack of matrices that must be square. Raises ValueError where they surely are not."""
    if x.shape is None:
        return None
    if len(x.shape) < 2:
        raise ValueError(f"Shape must be at least rank 2 but is rank {len(x.shape)}")
    rows, columns = x.shape[-2:]
    if isinstance(rows, int) and isinstance(columns, int) and rows != columns:
        raise ValueError(f"Dimensions must be equal, but are {rows} and {columns}")
    size = shapes.merge_dims(rows, columns)
    return (*x.shape[:-2], size, size)


def check_square(x: Array) -> None:
    """Raises Complaint unless an array holds square matrices."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise Complaint(f"Input matrix must be square: {shapes.show(x.shape)}")


def _wide(x: Array) -> Array:
    """An array of a type that LAPACK computes in."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def _vector(x: Tensor) -> Tensor:
    """Numbers [...] as [..., 1, 1], to scale matrices with."""
    return s.expand_dims(s.expand_dims(x, -1), -1)


def _swap(x: Array) -> Array:
    """The conjugate transposes."""
    return np.swapaxes(x, -1, -2).conj()


# ---------------------------------------------------------------- MatrixInverse, determinants

MatrixInverse = OpDef("MatrixInverse", "input: T -> output: T", attrs={"adjoint": False}, types=_TYPES)


@MatrixInverse.shape
def _inverse_shape(x: Spec, *, adjoint: bool) -> Shape:
    return square_shape(x)


@MatrixInverse.kernel
def _inverse_kernel(x: Array, *, adjoint: bool) -> Array:
    check_square(x)
    try:
        return np.linalg.inv(_wide(_swap(x) if adjoint else x)).astype(x.dtype)
    except np.linalg.LinAlgError:
        raise Complaint("Input is not invertible.") from None


@MatrixInverse.gradient
def _inverse_gradient(op: Operation, dy: Tensor) -> Tensor:
    """C = A^-1: dA = -C' dC C'."""
    inverse = op.outputs[0]
    if op.attrs["adjoint"]:  # C = A'^-1: what holds for A' is transposed
        dy, inverse = adjoint(dy), adjoint(inverse)
    return e.negative(matmul(inverse, matmul(dy, inverse, adjoint_b=True), adjoint_a=True))


def matrix_inverse(input: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The inverses of square matrices, or of their adjoints.

    Args:
        input: [..., n, n], floating or complex.
        adjoint: whether to invert the conjugate transposes.
        name: the operation's name.

    Raises:
        InvalidArgumentError: "Input is not invertible."
    """
    return MatrixInverse(input, adjoint=adjoint, name=name)


MatrixDeterminant = OpDef("MatrixDeterminant", "input: T -> output: T", types=_TYPES)


@MatrixDeterminant.shape
def _determinant_shape(x: Spec) -> Shape:
    shape = square_shape(x)
    return None if shape is None else shape[:-2]


@MatrixDeterminant.kernel
def _determinant_kernel(x: Array) -> Array:
    check_square(x)
    return np.asarray(np.linalg.det(_wide(x))).astype(x.dtype)


@MatrixDeterminant.gradient
def _determinant_gradient(op: Operation, dy: Tensor) -> Tensor:
    """c = det A: dA = dc c A'^-1."""
    scale = e.multiply(dy, e.conj(op.outputs[0]))
    return e.multiply(_vector(scale), matrix_inverse(op.inputs[0], adjoint=True))


def matrix_determinant(input: Any, name: str | None = None) -> Tensor:
    """The determinants [...] of square matrices [..., n, n]; 1 for n = 0."""
    return MatrixDeterminant(input, name=name)


LogMatrixDeterminant = OpDef(
    "LogMatrixDeterminant", "input: T -> sign: T, log_abs_determinant: T", types=_TYPES
)


@LogMatrixDeterminant.shape
def _log_determinant_shape(x: Spec) -> list[Shape]:
    shape = _determinant_shape(x)
    return [shape, shape]


@LogMatrixDeterminant.kernel
def _log_determinant_kernel(x: Array) -> tuple[Array, Array]:
    check_square(x)
    sign, logarithm = np.linalg.slogdet(_wide(x))
    return np.asarray(sign).astype(x.dtype), np.asarray(logarithm).astype(x.dtype)


@LogMatrixDeterminant.gradient
def _log_determinant_gradient(op: Operation, _: Tensor, dy: Tensor) -> Tensor:
    """c = log |det A|: dA = dc A'^-1. The sign is piecewise constant."""
    return e.multiply(_vector(dy), matrix_inverse(op.inputs[0], adjoint=True))


def slogdet(input: Any, name: str | None = None) -> results.LogMatrixDeterminant:
    """The signs [...] and the logarithms of the absolute values [...] of determinants of matrices.

    A singular matrix has sign 0 and logarithm -Inf.
    """
    return results.LogMatrixDeterminant(*LogMatrixDeterminant(input, name=name))


def logdet(matrix: Any, name: str | None = None) -> Tensor:
    """The logarithms [...] of the determinants of Hermitian positive definite matrices [..., n, n]."""
    with name_scope(name, "logdet", [matrix]):
        diagonal = matrix_diag_part(cholesky(matrix))
        return e.multiply(s.reduce_sum(special.log(e.real(diagonal)), [-1]), 2.0)


# ---------------------------------------------------------------- linear systems


def _solve_shape(matrix: Spec, rhs: Spec, **_: bool) -> Shape:
    """[..., m, k] for the system [..., m, m] and the right-hand sides [..., m, k]."""
    left = square_shape(matrix)
    if left is None or rhs.shape is None:
        return rhs.shape
    if len(rhs.shape) < 2:
        raise ValueError(f"Shape must be at least rank 2 but is rank {len(rhs.shape)}")
    if isinstance(left[-1], int) and isinstance(rhs.shape[-2], int) and left[-1] != rhs.shape[-2]:
        raise ValueError(f"Dimensions must be equal, but are {left[-1]} and {rhs.shape[-2]}")
    batch = shapes.merge(left[:-2], rhs.shape[:-2])
    assert batch is not None
    return (*batch, shapes.merge_dims(left[-1], rhs.shape[-2]), rhs.shape[-1])


def _check_system(matrix: Array, rhs: Array) -> None:
    check_square(matrix)
    if rhs.shape[:-1] != matrix.shape[:-1]:
        raise Complaint(
            f"Input matrix and rhs are incompatible: {shapes.show(matrix.shape)} and {shapes.show(rhs.shape)}"
        )


MatrixSolve = OpDef("MatrixSolve", "matrix: T, rhs: T -> output: T", attrs={"adjoint": False}, types=_TYPES)
MatrixSolve.shape(_solve_shape)


@MatrixSolve.kernel
def _solve_kernel(matrix: Array, rhs: Array, *, adjoint: bool) -> Array:
    _check_system(matrix, rhs)
    try:
        return np.linalg.solve(_wide(_swap(matrix) if adjoint else matrix), _wide(rhs)).astype(rhs.dtype)
    except np.linalg.LinAlgError:
        raise Complaint("Input matrix is not invertible.") from None


@MatrixSolve.gradient
def _solve_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    """X = A^-1 B: dB = A'^-1 dX, dA = -dB X'."""
    matrix, x = op.inputs[0], op.outputs[0]
    is_adjoint = op.attrs["adjoint"]
    drhs = matrix_solve(matrix, dy, adjoint=not is_adjoint)
    left, right = (x, drhs) if is_adjoint else (drhs, x)
    return e.negative(matmul(left, right, adjoint_b=True)), drhs


def matrix_solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The solutions X of A X = B.

    Args:
        matrix: A, [..., m, m].
        rhs: B, [..., m, k].
        adjoint: whether to solve A' X = B instead.
        name: the operation's name.

    Returns:
        [..., m, k].

    Raises:
        InvalidArgumentError: "Input matrix is not invertible."
    """
    return MatrixSolve(matrix, rhs, adjoint=adjoint, name=name)


MatrixTriangularSolve = OpDef(
    "MatrixTriangularSolve",
    "matrix: T, rhs: T -> output: T",
    attrs={"lower": True, "adjoint": False},
    types=_TYPES,
)
MatrixTriangularSolve.shape(_solve_shape)


@MatrixTriangularSolve.kernel
def _triangular_solve_kernel(matrix: Array, rhs: Array, *, lower: bool, adjoint: bool) -> Array:
    """NumPy has no triangular solver, but its LU factorisation leaves an upper triangular matrix as it is.

    There is nothing to eliminate and no reason to exchange rows: what remains is back substitution. A lower
    triangular system becomes an upper one when its equations and unknowns are taken in reverse.
    """
    _check_system(matrix, rhs)
    triangle = np.tril(_wide(matrix)) if lower else np.triu(_wide(matrix))
    if adjoint:
        triangle = _swap(triangle)
    is_upper = lower == adjoint
    step = 1 if is_upper else -1
    try:
        solution = np.linalg.solve(triangle[..., ::step, ::step], _wide(rhs)[..., ::step, :])
    except np.linalg.LinAlgError:
        raise Complaint("Input matrix is not invertible.") from None
    return solution[..., ::step, :].astype(rhs.dtype)


@MatrixTriangularSolve.gradient
def _triangular_solve_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    """As for `MatrixSolve`; only the triangle that is read has a gradient."""
    matrix, x = op.inputs[0], op.outputs[0]
    lower, is_adjoint = op.attrs["lower"], op.attrs["adjoint"]
    drhs = matrix_triangular_solve(matrix, dy, lower=lower, adjoint=not is_adjoint)
    left, right = (x, drhs) if is_adjoint else (drhs, x)
    dmatrix = e.negative(matmul(left, right, adjoint_b=True))
    return matrix_band_part(dmatrix, *((-1, 0) if lower else (0, -1))), drhs


def matrix_triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """The solutions X of A X = B for triangular matrices A.

    Args:
        matrix: A, [..., m, m]; the other triangle is not read.
        rhs: B, [..., m, k].
        lower: whether A is lower triangular.
        adjoint: whether to solve A' X = B instead.
        name: the operation's name.

    Returns:
        [..., m, k].

    Raises:
        InvalidArgumentError: "Input matrix is not invertible."
    """
    return MatrixTriangularSolve(matrix, rhs, lower=lower, adjoint=adjoint, name=name)


# ---------------------------------------------------------------- Cholesky

Cholesky = OpDef("Cholesky", "input: T -> output: T", types=_TYPES)
Cholesky.shape(square_shape)


@Cholesky.kernel
def _cholesky_kernel(x: Array) -> Array:
    check_square(x)
    try:
        return np.linalg.cholesky(_wide(x)).astype(x.dtype)
    except np.linalg.LinAlgError:
        raise Complaint("Cholesky decomposition was not successful. The input might not be valid.") from None


@Cholesky.gradient
def _cholesky_gradient(op: Operation, dy: Tensor) -> Tensor:
    """A = L L': dA = sym(L'^-1 P(L' dL) L^-1), where P keeps the lower triangle and halves the diagonal.

    Source: Murray, "Differentiation of the Cholesky decomposition" (2016), section 3. A stands for a
    symmetric matrix, and so does its gradient.
    """
    factor = op.outputs[0]
    middle = matmul(factor, dy, adjoint_a=True)
    middle = matrix_set_diag(middle, e.multiply(_half(dy), matrix_diag_part(middle)))
    middle = matrix_band_part(middle, -1, 0)
    left = matrix_triangular_solve(factor, middle, adjoint=True)
    both = adjoint(matrix_triangular_solve(factor, adjoint(left), adjoint=True))
    return e.multiply(_half(dy), e.add(both, adjoint(both)))


def _half(x: Tensor) -> Tensor:
    """1/2 in the dtype of `x`."""
    return e.cast(0.5, x.dtype)


def cholesky(input: Any, name: str | None = None) -> Tensor:
    """The lower triangular L with A = L L' for Hermitian positive definite matrices A, [..., n, n].

    Only the lower triangle of A is read.

    Raises:
        InvalidArgumentError: "Cholesky decomposition was not successful. The input might not be valid."
    """
    return Cholesky(input, name=name)


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """The solutions X [..., m, k] of A X = B.

    Args:
        chol: the Cholesky factors of A, [..., m, m].
        rhs: B, [..., m, k].
        name: the operations' scope.
    """
    with name_scope(name, "cholesky_solve", [chol, rhs]):
        y = matrix_triangular_solve(chol, rhs, adjoint=False, lower=True)
        return matrix_triangular_solve(chol, y, adjoint=True, lower=True)


# ---------------------------------------------------------------- least squares

MatrixSolveLs = OpDef(
    "MatrixSolveLs",
    "matrix: T, rhs: T, l2_regularizer: float64 -> output: T",
    attrs={"fast": True},
    types=_TYPES,
)


@MatrixSolveLs.shape
def _least_squares_shape(matrix: Spec, rhs: Spec, l2_regularizer: Spec, *, fast: bool) -> Shape:
    if matrix.shape is None or rhs.shape is None:
        return None
    if len(matrix.shape) < 2 or len(rhs.shape) < 2:
        raise ValueError("Shape must be at least rank 2")
    rows, others = matrix.shape[-2], rhs.shape[-2]
    if isinstance(rows, int) and isinstance(others, int) and rows != others:
        raise ValueError(f"Dimensions must be equal, but are {rows} and {others}")
    batch = shapes.merge(matrix.shape[:-2], rhs.shape[:-2])
    assert batch is not None
    return (*batch, matrix.shape[-1], rhs.shape[-1])


@MatrixSolveLs.kernel
def _least_squares_kernel(matrix: Array, rhs: Array, l2_regularizer: Array, *, fast: bool) -> Array:
    """The minimum-norm solution by a complete factorisation; `fast` solves the normal equations instead."""
    if rhs.shape[:-1] != matrix.shape[:-1]:
        raise Complaint(
            f"Input matrix and rhs are incompatible: {shapes.show(matrix.shape)} and {shapes.show(rhs.shape)}"
        )
    a, b = _wide(matrix), _wide(rhs)
    rows, columns = a.shape[-2:]
    result = np.zeros((*a.shape[:-2], columns, b.shape[-1]), dtype=a.dtype)
    for place in np.ndindex(*a.shape[:-2]):
        if not fast:
            result[place] = np.linalg.lstsq(a[place], b[place], rcond=None)[0]
        elif rows >= columns:
            gramian = _swap(a[place]) @ a[place] + l2_regularizer * np.eye(columns)
            result[place] = np.linalg.solve(gramian, _swap(a[place]) @ b[place])
        else:
            gramian = a[place] @ _swap(a[place]) + l2_regularizer * np.eye(rows)
            result[place] = _swap(a[place]) @ np.linalg.solve(gramian, b[place])
    return result.astype(matrix.dtype)


@MatrixSolveLs.gradient
def _least_squares_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor, None]:
    raise ValueError("Gradient not defined for fast=False")


def matrix_solve_ls(
    matrix: Any, rhs: Any, l2_regularizer: Any = 0.0, fast: bool = True, name: str | None = None
) -> Tensor:
    """The X that minimise |A X - B|^2 + l2 |X|^2; the shortest ones where there are many.

    Args:
        matrix: A, [..., m, n], of full rank if `fast`. Which of m, n is less must be known.
        rhs: B, [..., m, k].
        l2_regularizer: a number, not negative; ignored without `fast`.
        fast: whether to solve the normal equations by Cholesky factors, which has a gradient but squares the
            condition number; else a complete factorisation is used, which has none.
        name: the operations' scope.

    Returns:
        [..., n, k].

    Raises:
        ValueError: `fast`, and the sizes of the matrices are not known.
        InvalidArgumentError: `fast`, and a matrix does not have full rank.
    """
    if not fast:
        return MatrixSolveLs(matrix, rhs, l2_regularizer, fast=False, name=name)
    with name_scope(name, "matrix_solve_ls", [matrix, rhs, l2_regularizer]):
        matrix = convert_to_tensor(matrix, name="matrix")
        rhs = convert_to_tensor(rhs, name="rhs", preferred_dtype=matrix.spec.dtype)
        rows, columns = _static_sizes(matrix, "matrix_solve_ls")
        if rows >= columns:
            chol = _cholesky_of_gramian(matrix, l2_regularizer, columns, first_kind=True)
            return cholesky_solve(chol, matmul(matrix, rhs, adjoint_a=True))
        chol = _cholesky_of_gramian(matrix, l2_regularizer, rows, first_kind=False)
        return matmul(matrix, cholesky_solve(chol, rhs), adjoint_a=True)


def _static_sizes(x: Tensor, function: str) -> tuple[int, int]:
    """The sizes of matrices. Raises ValueError where they are not known."""
    shape = x.spec.shape
    if shape is None or not isinstance(shape[-1], int) or not isinstance(shape[-2], int):
        raise ValueError(f"{function} needs matrices of known size, got the shape {shapes.show(shape)}")
    return shape[-2], shape[-1]


def _cholesky_of_gramian(a: Tensor, l2_regularizer: Any, size: int, first_kind: bool) -> Tensor:
    """The Cholesky factors of A' A + l2, or of A A' + l2."""
    gramian = matmul(a, a, adjoint_a=first_kind, adjoint_b=not first_kind)
    if isinstance(l2_regularizer, Tensor) or l2_regularizer != 0:
        scale = e.cast(l2_regularizer, a.dtype)
        gramian = e.add(gramian, e.multiply(scale, linalg.eye(size, dtype=a.dtype)))
    return cholesky(gramian)


# ---------------------------------------------------------------- Qr

Qr = OpDef("Qr", "input: T -> q: T, r: T", attrs={"full_matrices": False}, types=_TYPES)


@Qr.shape
def _qr_shape(x: Spec, *, full_matrices: bool) -> list[Shape]:
    dims = matrix_dims(x)
    if dims is None:
        return [None, None]
    batch, rows, columns = dims
    inner = rows if full_matrices else minimum(rows, columns)
    return [(*batch, rows, inner), (*batch, inner, columns)]


@Qr.kernel
def _qr_kernel(x: Array, *, full_matrices: bool) -> tuple[Array, Array]:
    q, r = np.linalg.qr(_wide(x), mode="complete" if full_matrices else "reduced")
    return q.astype(x.dtype), r.astype(x.dtype)


@Qr.gradient
def _qr_gradient(op: Operation, dq: Tensor, dr: Tensor) -> Tensor:
    """A = Q R with more rows than columns: dA = (dQ + Q copyltu(M)) R'^-1, M = R dR' - dQ' Q.

    A wide matrix is [X, Y] with square X = Q U and Y = Q V: dX as above, with dQ + Y dV' for dQ; dY = Q dV.
    Source: Walter & Lehmann, "Algorithmic differentiation of linear algebra functions" (2018); for wide
    matrices Roberts & Roberts, "QR and LQ decomposition matrix backpropagation algorithms" (2020).
    """
    (a,), (q, r) = op.inputs, op.outputs
    dims = matrix_dims(a.spec)
    _, rows, columns = dims or ((), UNKNOWN, UNKNOWN)
    is_tall = isinstance(rows, int) and isinstance(columns, int) and rows >= columns
    is_wide = isinstance(rows, int) and isinstance(columns, int) and rows <= columns
    if op.attrs["full_matrices"] and not is_wide:
        raise NotImplementedError("QrGrad not implemented when full_matrices is true and nrows > ncols.")
    if is_tall:
        return _tall_qr_gradient(q, r, dq, dr)
    # Where the sizes are not known this serves tall matrices too: Y and V have no columns then.
    count = indexing.getitem(s.shape(q), -1)
    u, _ = _split_columns(r, count)
    du, dv = _split_columns(dr, count)
    _, y = _split_columns(a, count)
    dx = _tall_qr_gradient(q, u, e.add(dq, matmul(y, dv, adjoint_b=True)), du)
    return joining.concat([dx, matmul(q, dv)], -1)


def _split_columns(x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The first columns of matrices, and the others."""
    return indexing.getitem(x, (..., slice(0, count))), indexing.getitem(x, (..., slice(count, None)))


def _tall_qr_gradient(q: Tensor, r: Tensor, dq: Tensor, dr: Tensor) -> Tensor:
    m = e.subtract(matmul(r, dr, adjoint_b=True), matmul(dq, q, adjoint_a=True))
    lower = matrix_band_part(m, -1, 0)
    strictly_lower = matrix_set_diag(lower, s.zeros_like(matrix_diag_part(lower)))
    # copyltu: the lower triangle, mirrored to the upper one.
    rhs = e.add(dq, matmul(q, e.add(lower, adjoint(strictly_lower))))
    return adjoint(matrix_triangular_solve(r, adjoint(rhs), lower=False))


def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> results.Qr:
    """The factors of A = Q R: Q with orthonormal columns, R upper triangular.

    Args:
        input: A, [..., m, n].
        full_matrices: whether Q is square.
        name: the operation's name.

    Returns:
        Q [..., m, p] and R [..., p, n], with p = m if `full_matrices`, else min(m, n).
    """
    return results.Qr(*Qr(input, full_matrices=full_matrices, name=name))


# ---------------------------------------------------------------- Svd, SelfAdjointEigV2


def _safe_reciprocal(x: Tensor) -> Tensor:
    """1 / x, but 0 at 0: the vectors of equal eigenvalues have no derivative."""
    return e.div_no_nan(s.ones_like(x), x)


def _reciprocal_gaps(values: Tensor) -> Tensor:
    """F_ij = 1 / (v_j - v_i), and 0 on the diagonal."""
    return _safe_reciprocal(e.subtract(s.expand_dims(values, -2), s.expand_dims(values, -1)))


Svd = OpDef(
    "Svd",
    "input: T -> s: T, u: T, v: T",
    attrs={"compute_uv": True, "full_matrices": False},
    types=_TYPES,
)


@Svd.shape
def _svd_shape(x: Spec, *, compute_uv: bool, full_matrices: bool) -> list[Shape]:
    dims = matrix_dims(x)
    if dims is None:
        return [None, None, None] if compute_uv else [None, (0,), (0,)]
    batch, rows, columns = dims
    count = minimum(rows, columns)
    if not compute_uv:
        return [(*batch, count), (0,), (0,)]
    wide = (rows, columns) if full_matrices else (count, count)
    return [(*batch, count), (*batch, rows, wide[0]), (*batch, columns, wide[1])]


@Svd.kernel
def _svd_kernel(x: Array, *, compute_uv: bool, full_matrices: bool) -> tuple[Array, Array, Array]:
    try:
        if not compute_uv:
            values = np.linalg.svd(_wide(x), compute_uv=False)
            nothing = np.zeros(0, dtype=x.dtype)
            return values.astype(x.dtype), nothing, nothing
        u, values, vh = np.linalg.svd(_wide(x), full_matrices=full_matrices)
    except np.linalg.LinAlgError:
        raise Complaint("Singular value decomposition did not converge: is the input finite?") from None
    return values.astype(x.dtype), u.astype(x.dtype), _swap(vh).astype(x.dtype)


@Svd.gradient
def _svd_gradient(op: Operation, ds: Tensor, du: Tensor, dv: Tensor) -> Tensor:
    """The gradient of A = U S V', a sum of what each factor contributes.

    dA = U (S^ + (J + J') S + S (K + K')) V' + (1 - U U') dU S^-1 V' + U S^-1 dV' (1 - V V')
         + U S^-1 (L' - L) V' / 2,

    S^ = diag(ds), J = F * (U' dU), K = F * (V' dV), L = 1 * (V' dV), F_ij = 1 / (s_j^2 - s_i^2), where * is
    elementwise; the last term vanishes for real matrices.
    Source: Wan & Zhang, "Automatic differentiation for complex valued SVD" (2019).
    """
    a = op.inputs[0]
    ds = _real_part(ds)
    if not op.attrs["compute_uv"]:
        _, u, v = svd(a)
        return matmul(_scale_columns(u, ds), v, adjoint_b=True)
    values, u, v = op.outputs
    if op.attrs["full_matrices"]:
        rows, columns = _static_sizes(a, "the gradient of svd with full_matrices")
        if rows != columns:
            raise NotImplementedError("SVD gradient is not implemented when full_matrices is True and m != n")
    gaps = _reciprocal_gaps(e.multiply(values, values))
    utdu, vtdv = matmul(u, du, adjoint_a=True), matmul(v, dv, adjoint_a=True)
    j, k = e.multiply(gaps, utdu), e.multiply(gaps, vtdv)
    inverse = _safe_reciprocal(values)
    middle = e.add(
        matrix_diag(ds),
        e.add(
            _scale_columns(e.add(j, adjoint(j)), values),
            e.multiply(s.expand_dims(values, -1), e.add(k, adjoint(k))),
        ),
    )
    if a.dtype.is_complex:
        phases = matrix_diag_part(vtdv)
        turn = e.multiply(_half(a), e.multiply(inverse, e.subtract(e.conj(phases), phases)))
        middle = e.add(middle, matrix_diag(turn))
    left = _scale_columns(e.subtract(du, matmul(u, utdu)), inverse)
    right = _scale_columns(e.subtract(dv, matmul(v, vtdv)), inverse)
    return e.add(matmul(e.add(matmul(u, middle), left), v, adjoint_b=True), matmul(u, right, adjoint_b=True))


def _real_part(x: Tensor) -> Tensor:
    """A gradient with respect to numbers that are real, whatever their type."""
    return e.cast(e.real(x), x.dtype) if x.dtype.is_complex else x


def _scale_columns(x: Tensor, factors: Tensor) -> Tensor:
    """Matrices times a diagonal matrix."""
    return e.multiply(x, s.expand_dims(factors, -2))


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """The singular value decompositions A = U diag(s) V'.

    Args:
        tensor: A, [..., m, n].
        full_matrices: whether U and V are square.
        compute_uv: whether U and V are wanted.
        name: the operation's name.

    Returns:
        s, U, V: the singular values [..., p] in descending order, p = min(m, n), and their vectors
        [..., m, p] and [..., n, p]; or s alone. Note the order, and that V is not transposed; NumPy has
        U, s, V'.
    """
    values, u, v = Svd(tensor, compute_uv=compute_uv, full_matrices=full_matrices, name=name)
    if not compute_uv:
        return values
    # A complex matrix has real singular values.
    return (e.real(values) if values.dtype is not None and values.dtype.is_complex else values), u, v


SelfAdjointEigV2 = OpDef(
    "SelfAdjointEigV2", "input: T -> e: T, v: T", attrs={"compute_v": True}, types=_TYPES
)


@SelfAdjointEigV2.shape
def _eig_shape(x: Spec, *, compute_v: bool) -> list[Shape]:
    shape = square_shape(x)
    return [None if shape is None else shape[:-1], shape if compute_v else (0,)]


@SelfAdjointEigV2.kernel
def _eig_kernel(x: Array, *, compute_v: bool) -> tuple[Array, Array]:
    check_square(x)
    try:
        if not compute_v:
            return np.linalg.eigvalsh(_wide(x)).astype(x.dtype), np.zeros(0, dtype=x.dtype)
        values, vectors = np.linalg.eigh(_wide(x))
    except np.linalg.LinAlgError:
        raise Complaint(
            "Self-adjoint eigen decomposition was not successful. The input might not be valid."
        ) from None
    return values.astype(x.dtype), vectors.astype(x.dtype)


@SelfAdjointEigV2.gradient
def _eig_gradient(op: Operation, de: Tensor, dv: Tensor) -> Tensor:
    """A = V E V': dA = V (diag(de) + F * (V' dV)) V', F_ij = 1 / (e_j - e_i).

    Only the lower triangle of A is read, so the gradient is folded onto it.
    """
    de = _real_part(de)
    if op.attrs["compute_v"]:
        values, v = op.outputs
        middle = e.add(matrix_diag(de), e.multiply(_reciprocal_gaps(values), matmul(v, dv, adjoint_a=True)))
    else:
        _, v = SelfAdjointEigV2(op.inputs[0])
        middle = matrix_diag(de)
    full = matmul(v, matmul(middle, v, adjoint_b=True))
    folded = matrix_band_part(e.add(full, adjoint(full)), -1, 0)
    return matrix_set_diag(folded, e.multiply(_half(folded), matrix_diag_part(folded)))


def self_adjoint_eig(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The eigenvalues, ascending, [..., n], and eigenvectors, in columns, [..., n, n], of Hermitian matrices.

    Only the lower triangles of the matrices [..., n, n] are read.
    """
    values, vectors = SelfAdjointEigV2(tensor, compute_v=True, name=name)
    return values, vectors


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues, ascending, [..., n], of Hermitian matrices [..., n, n]."""
    return SelfAdjointEigV2(tensor, compute_v=False, name=name)[0]


# ---------------------------------------------------------------- norms


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Norms of vectors or matrices.

    Args:
        tensor: any shape, floating or complex.
        ord: "euclidean" or any positive number, np.inf included, for vectors; "euclidean", "fro", 1, 2 or
            np.inf for matrices.
        axis: None: all elements are one vector; an integer: vectors along that axis; a pair: matrices.
        keepdims: whether those axes stay, with size 1.
        name: the operations' scope.
        keep_dims: the old name of `keepdims`.

    Raises:
        ValueError: the norm does not exist.
    """
    keepdims = bool(s.deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    is_matrix = isinstance(axis, (tuple, list)) and len(axis) == 2
    _check_order(ord, axis, is_matrix)
    with name_scope(name, "norm", [tensor]):
        x = convert_to_tensor(tensor)
        result = _matrix_norm(x, ord, list(axis)) if is_matrix else _vector_norm(x, ord, axis)
        return result if keepdims else s.squeeze(result, axis)


def _check_order(ord: Any, axis: Any, is_matrix: bool) -> None:
    if is_matrix:
        if axis[0] == axis[1]:
            raise ValueError("'axis' must be None, an integer, or a tuple of 2 unique integers")
        if ord not in ("euclidean", "fro", 1, 2, np.inf):
            raise ValueError(
                f"'ord' must be a supported matrix norm in ['euclidean', 'fro', 1, 2, inf], got {ord}"
            )
        return
    if isinstance(axis, (tuple, list)) and len(axis) != 1:
        raise ValueError("'axis' must be None, an integer, or a tuple of 2 unique integers")
    if ord != "euclidean" and (isinstance(ord, str) or ord <= 0):
        raise ValueError(
            f"'ord' must be a supported vector norm ('euclidean' or a positive number), got {ord}"
        )


def _euclidean(x: Tensor, axis: Any) -> Tensor:
    return special.sqrt(s.reduce_sum(e.multiply(x, e.conj(x)), axis, keepdims=True))


def _vector_norm(x: Tensor, ord: Any, axis: Any) -> Tensor:
    if ord in ("euclidean", 2):
        return _euclidean(x, axis)
    size = e.abs(x)
    if ord == 1:
        return s.reduce_sum(size, axis, keepdims=True)
    if ord == np.inf:
        return reductions.reduce_max(size, axis, keepdims=True)
    return special.pow(s.reduce_sum(special.pow(size, ord), axis, keepdims=True), 1.0 / ord)


def _matrix_norm(x: Tensor, ord: Any, axes: list[int]) -> Tensor:
    if ord in ("euclidean", "fro"):
        return _euclidean(x, axes)
    if ord == 2:
        return _spectral_norm(x, axes)
    # The largest sum of a column (1) or of a row (inf).
    summed, compared = axes if ord == 1 else axes[::-1]
    return reductions.reduce_max(s.reduce_sum(e.abs(x), summed, keepdims=True), compared, keepdims=True)


def _spectral_norm(x: Tensor, axes: list[int]) -> Tensor:
    """The largest singular value of the matrices along two axes."""
    rank = x.spec.rank
    if rank is None:
        raise ValueError("norm: ord=2 of matrices needs a tensor of known rank")
    last = [i % rank for i in axes]
    order = [i for i in range(rank) if i not in last] + last
    values = svd(s.transpose(x, order), compute_uv=False)
    largest = _vector(reductions.reduce_max(e.abs(values), -1))
    return s.transpose(largest, [order.index(i) for i in range(rank)])
