"""Functions of matrices: the square root."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core.dtypes import FLOATING
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import elementwise, joining, structural
from tahr.ops.linalg import adjoint, eye
from tahr.ops.linear_systems import matrix_solve
from tahr.ops.matrices import check_square, square_shape
from tahr.ops.slicing import slice_by

# ---------------------------------------------------------------- Schur's decomposition

_EPSILON = float(np.finfo(np.float64).eps)
# A row of a matrix converges within some three steps; the limit is LAPACK's.
_MAX_STEPS = 30


def _schur(a: Array) -> tuple[Array, Array]:
    """The unitary Q and the upper triangular T with A = Q T Q'.

    The columns of A's eigenvectors V span nested invariant subspaces, and so do those of Q in V = Q R. That is fast,
    but fails where a defective matrix has too few eigenvectors.
    """
    wide = a.astype(np.complex128)
    q, _ = np.linalg.qr(np.linalg.eig(wide)[1])
    t = q.conj().T @ wide @ q
    rounding = 10 * len(a) * _EPSILON * float(np.linalg.norm(wide))
    return (q, np.triu(t)) if np.linalg.norm(np.tril(t, -1)) <= rounding else schur_by_steps(wide)


def schur_by_steps(a: Array) -> tuple[Array, Array]:
    """`_schur` of any matrix, by a few factorisations for each row.

    Source: the QR algorithm with Wilkinson's shifts; G. Golub and C. Van Loan, Matrix Computations, 4th edition,
    section 7.5, without the reduction to Hessenberg form, which only saves time.
    """
    t, q = a.copy(), np.eye(len(a), dtype=np.complex128)
    tolerance = _EPSILON * float(np.linalg.norm(t))
    for last in range(len(t) - 1, 0, -1):
        for step in range(1, _MAX_STEPS * len(t)):
            if not np.linalg.norm(t[last, :last]) > tolerance:
                break
            # Where shifts go round in circles another one breaks the symmetry.
            shift = _wilkinson_shift(t[last - 1 : last + 1, last - 1 : last + 1])
            if step % 10 == 0:
                shift = shift + np.linalg.norm(t[last, :last])
            active = slice(0, last + 1)
            factor, _ = np.linalg.qr(t[active, active] - shift * np.eye(last + 1))
            t[active] = factor.conj().T @ t[active]
            t[:, active] = t[:, active] @ factor
            q[:, active] = q[:, active] @ factor
        else:
            raise Complaint("The Schur decomposition did not converge. The input might not be valid.")
        t[last, :last] = 0
    return q, t


def _wilkinson_shift(corner: Array) -> complex:
    """The eigenvalue of a 2 x 2 matrix that is closer to its last element."""
    (a, b), (c, d) = corner
    half = (a - d) / 2
    root = np.sqrt(half * half + b * c)
    if (half.conjugate() * root).real < 0:
        root = -root
    return d if half + root == 0 else d - b * c / (half + root)


# ---------------------------------------------------------------- MatrixSquareRoot

MatrixSquareRoot = OpDef("MatrixSquareRoot", "input: T -> output: T", types={"T": FLOATING})


@MatrixSquareRoot.shape
def _square_root_shape(x: Spec) -> Shape:
    return square_shape(x)


@MatrixSquareRoot.kernel
def _square_root_kernel(x: Array) -> Array:
    check_square(x)
    result = np.empty(x.shape, x.dtype)
    for place in np.ndindex(*x.shape[:-2]):
        root = _square_root(x[place])
        result[place] = root.astype(x.dtype) if x.dtype.kind == "c" else _real(root).astype(x.dtype)
    return result


def _square_root(a: Array) -> Array:
    """The principal square root; NaN where the matrix holds NaN or Inf.

    Source: Å. Björck and S. Hammarling, "A Schur method for the square root of a matrix" (1983).
    """
    if not np.isfinite(a).all():
        return np.full(a.shape, np.nan)
    q, t = _schur(a)
    u = np.diag(np.sqrt(np.diag(t)))
    for j in range(len(t)):
        for i in range(j - 1, -1, -1):
            rest = t[i, j] - u[i, i + 1 : j] @ u[i + 1 : j, j]
            u[i, j] = rest / (u[i, i] + u[j, j]) if rest else 0
    return q @ u @ q.conj().T


def _real(root: Array) -> Array:
    """The root of a real matrix: real, or NaN where a negative eigenvalue has none."""
    is_real = np.abs(root.imag).max(initial=0) <= np.sqrt(_EPSILON) * np.abs(root).max(initial=0)
    return root.real if is_real else np.full(root.shape, np.nan)


@MatrixSquareRoot.gradient
def _square_root_gradient(op: Operation, dy: Tensor) -> Tensor:
    """R R = A, so dA = R dR + dR R. Its adjoint is Sylvester's equation R' X + X R' = dR for X, the gradient of A.

    Row by row the elements of X are a vector, and the left-hand side the matrix R' (x) I + I (x) conj(R) times it.
    """
    root = op.outputs[0]
    shape = structural.shape(root)
    n = slice_by(shape, -1)
    identity = eye(n, dtype=root.dtype)
    system = elementwise.add(
        _kronecker(adjoint(root), identity), _kronecker(identity, elementwise.conj(root))
    )
    batch, square = slice_by(shape, slice(None, -2)), n * n
    matrices = structural.reshape(system, joining.concat([batch, [square, square]], 0))
    vectors = structural.reshape(dy, joining.concat([batch, [square, 1]], 0))
    return structural.reshape(matrix_solve(matrices, vectors), shape)


def _kronecker(a: Tensor, b: Tensor) -> Tensor:
    """The Kronecker products of matrices, [..., n, m, n, m] for n x n and m x m ones."""
    left = structural.expand_dims(structural.expand_dims(a, -1), -3)
    right = structural.expand_dims(structural.expand_dims(b, -2), -4)
    return elementwise.multiply(left, right)


def matrix_square_root(input: Any, name: str | None = None) -> Tensor:
    """The principal square roots R of matrices: R R = A, with eigenvalues of positive real part.

    Args:
        input: A, [..., n, n], floating or complex, without eigenvalues that are real and negative.
        name: the operation's name.

    Returns:
        R, [..., n, n]; NaN where there is none.

    Differs from TensorFlow 1.15: the root of zero is zero, not NaN.
    """
    return MatrixSquareRoot(input, name=name)
