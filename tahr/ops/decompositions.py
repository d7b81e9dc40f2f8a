"""Decompositions of matrices: QR, singular values, and eigenvalues of Hermitian matrices.

All work on stacks of matrices [..., m, n]. The gradients are those of Giles, "Collected matrix derivative
results for forward and reverse mode algorithmic differentiation" (2008), unless another source is named; A'
is the conjugate transpose of A, and dA the gradient with respect to A. Half precision is computed in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core.dtypes import FLOATING, widened
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, minimum
from tahr.errors import Complaint
from tahr.ops import elementwise as e, fills, indexing, joining, results, structural as s
from tahr.ops.diagonals import matrix_diag, matrix_diag_part, matrix_dims, matrix_set_diag
from tahr.ops.linalg import adjoint, matmul, matrix_band_part
from tahr.ops.linear_systems import matrix_triangular_solve
from tahr.ops.matrices import check_square, conjugate_transposes, half, square_shape, static_sizes

_TYPES = {"T": FLOATING}

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
    q, r = np.linalg.qr(widened(x), mode="complete" if full_matrices else "reduced")
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
    strictly_lower = matrix_set_diag(lower, fills.zeros_like(matrix_diag_part(lower)))
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
    return e.div_no_nan(fills.ones_like(x), x)


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
            values = np.linalg.svd(widened(x), compute_uv=False)
            nothing = np.zeros(0, dtype=x.dtype)
            return values.astype(x.dtype), nothing, nothing
        u, values, vh = np.linalg.svd(widened(x), full_matrices=full_matrices)
    except np.linalg.LinAlgError:
        raise Complaint("Singular value decomposition did not converge: is the input finite?") from None
    return values.astype(x.dtype), u.astype(x.dtype), conjugate_transposes(vh).astype(x.dtype)


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
        rows, columns = static_sizes(a, "the gradient of svd with full_matrices")
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
        turn = e.multiply(half(a), e.multiply(inverse, e.subtract(e.conj(phases), phases)))
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
            return np.linalg.eigvalsh(widened(x)).astype(x.dtype), np.zeros(0, dtype=x.dtype)
        values, vectors = np.linalg.eigh(widened(x))
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
    return matrix_set_diag(folded, e.multiply(half(folded), matrix_diag_part(folded)))


def self_adjoint_eig(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The eigenvalues, ascending, [..., n], and eigenvectors, in columns, [..., n, n], of Hermitian matrices.

    Only the lower triangles of the matrices [..., n, n] are read.
    """
    values, vectors = SelfAdjointEigV2(tensor, compute_v=True, name=name)
    return values, vectors


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues, ascending, [..., n], of Hermitian matrices [..., n, n]."""
    return SelfAdjointEigV2(tensor, compute_v=False, name=name)[0]
