"""Linear systems: inverses, determinants, solvers, Cholesky factors and least squares.

All work on stacks of matrices [..., m, n]. The gradients are those of Giles, "Collected matrix derivative
results for forward and reverse mode algorithmic differentiation" (2008), unless another source is named; A'
is the conjugate transpose of A, and dA the gradient with respect to A. Half precision is computed in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import FLOATING, widened
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import elementwise as e, linalg, results, special, structural as s
from tahr.ops.diagonals import matrix_diag_part, matrix_set_diag
from tahr.ops.linalg import adjoint, matmul, matrix_band_part
from tahr.ops.matrices import as_factors, check_square, conjugate_transposes, half, square_shape, static_sizes

_TYPES = {"T": FLOATING}

# ---------------------------------------------------------------- MatrixInverse, determinants

MatrixInverse = OpDef("MatrixInverse", "input: T -> output: T", attrs={"adjoint": False}, types=_TYPES)


@MatrixInverse.shape
def _inverse_shape(x: Spec, *, adjoint: bool) -> Shape:
    return square_shape(x)


@MatrixInverse.kernel
def _inverse_kernel(x: Array, *, adjoint: bool) -> Array:
    check_square(x)
    try:
        return np.linalg.inv(widened(conjugate_transposes(x) if adjoint else x)).astype(x.dtype)
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
    return np.asarray(np.linalg.det(widened(x))).astype(x.dtype)


@MatrixDeterminant.gradient
def _determinant_gradient(op: Operation, dy: Tensor) -> Tensor:
    """c = det A: dA = dc c A'^-1."""
    scale = e.multiply(dy, e.conj(op.outputs[0]))
    return e.multiply(as_factors(scale), matrix_inverse(op.inputs[0], adjoint=True))


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
    sign, logarithm = np.linalg.slogdet(widened(x))
    return np.asarray(sign).astype(x.dtype), np.asarray(logarithm).astype(x.dtype)


@LogMatrixDeterminant.gradient
def _log_determinant_gradient(op: Operation, _: Tensor, dy: Tensor) -> Tensor:
    """c = log |det A|: dA = dc A'^-1. The sign is piecewise constant."""
    return e.multiply(as_factors(dy), matrix_inverse(op.inputs[0], adjoint=True))


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
        return np.linalg.solve(
            widened(conjugate_transposes(matrix) if adjoint else matrix), widened(rhs)
        ).astype(rhs.dtype)
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
    triangle = np.tril(widened(matrix)) if lower else np.triu(widened(matrix))
    if adjoint:
        triangle = conjugate_transposes(triangle)
    is_upper = lower == adjoint
    step = 1 if is_upper else -1
    try:
        solution = np.linalg.solve(triangle[..., ::step, ::step], widened(rhs)[..., ::step, :])
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
        return np.linalg.cholesky(widened(x)).astype(x.dtype)
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
    middle = matrix_set_diag(middle, e.multiply(half(dy), matrix_diag_part(middle)))
    middle = matrix_band_part(middle, -1, 0)
    left = matrix_triangular_solve(factor, middle, adjoint=True)
    both = adjoint(matrix_triangular_solve(factor, adjoint(left), adjoint=True))
    return e.multiply(half(dy), e.add(both, adjoint(both)))


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
    a, b = widened(matrix), widened(rhs)
    rows, columns = a.shape[-2:]
    result = np.zeros((*a.shape[:-2], columns, b.shape[-1]), dtype=a.dtype)
    for place in np.ndindex(*a.shape[:-2]):
        if not fast:
            result[place] = np.linalg.lstsq(a[place], b[place], rcond=None)[0]
        elif rows >= columns:
            gramian = conjugate_transposes(a[place]) @ a[place] + l2_regularizer * np.eye(columns)
            result[place] = np.linalg.solve(gramian, conjugate_transposes(a[place]) @ b[place])
        else:
            gramian = a[place] @ conjugate_transposes(a[place]) + l2_regularizer * np.eye(rows)
            result[place] = conjugate_transposes(a[place]) @ np.linalg.solve(gramian, b[place])
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
        rows, columns = static_sizes(matrix, "matrix_solve_ls")
        if rows >= columns:
            chol = _cholesky_of_gramian(matrix, l2_regularizer, columns, first_kind=True)
            return cholesky_solve(chol, matmul(matrix, rhs, adjoint_a=True))
        chol = _cholesky_of_gramian(matrix, l2_regularizer, rows, first_kind=False)
        return matmul(matrix, cholesky_solve(chol, rhs), adjoint_a=True)


def _cholesky_of_gramian(a: Tensor, l2_regularizer: Any, size: int, first_kind: bool) -> Tensor:
    """The Cholesky factors of A' A + l2, or of A A' + l2."""
    gramian = matmul(a, a, adjoint_a=first_kind, adjoint_b=not first_kind)
    if isinstance(l2_regularizer, Tensor) or l2_regularizer != 0:
        scale = e.cast(l2_regularizer, a.dtype)
        gramian = e.add(gramian, e.multiply(scale, linalg.eye(size, dtype=a.dtype)))
    return cholesky(gramian)
