"""Products of matrices, and parts of them; diagonals of tensors.

Products of tensors are in `contractions`, solvers and inverses in `linear_systems`, factorisations in `decompositions`,
and norms in `norms`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import convert_to_tensor, dtype_of
from tahr.core.dtypes import NUMBERS, REALS
from tahr.core.forms import MOVEMENT, Band, Contraction
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import Dim, surely_equal
from tahr.core.views import Assembly, Part, View
from tahr.errors import Complaint
from tahr.ops import elementwise as e, fills, indexing, joining, structural as s
from tahr.ops.diagonals import matrix_diag, matrix_diag_part, matrix_dims, matrix_set_diag

# ---------------------------------------------------------------- MatMul, BatchMatMul


def _check_inner(a: tuple[Dim, ...], b: tuple[Dim, ...], flip_a: bool, flip_b: bool) -> None:
    """Complains where the inner dimensions of a matrix product surely differ.

    Args:
        a, b: the last two dimensions of the operands.
        flip_a, flip_b: whether they are transposed.
    """
    rows, inner = a[::-1] if flip_a else a
    other, columns = b[::-1] if flip_b else b
    if not isinstance(inner, int) or not isinstance(other, int) or inner == other:
        return
    fix = None
    if inner == columns:
        fix = f"tf.matmul(a, b, transpose_b={not flip_b}), or give b the shape {shapes.show((inner, other))}"
    elif rows == other:
        fix = f"tf.matmul(a, b, transpose_a={not flip_a}), or give a the shape {shapes.show((inner, other))}"
    raise Complaint(f"Dimensions must be equal, but are {inner} and {other}", fix)


def _multiply(a: Array, b: Array) -> Array:
    """a @ b. Halves are accumulated in float32, as BLAS libraries do."""
    try:
        if dtypes.is_half(a.dtype):
            return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
        return np.matmul(a, b)
    except ValueError:
        sizes = f"In[0]: {shapes.show(a.shape)}, In[1]: {shapes.show(b.shape)}"
        raise Complaint(f"Matrix size-incompatible: {sizes}") from None


def _product_gradients(
    product: Callable[[Tensor, Tensor, bool, bool], Tensor],
    x: Tensor,
    y: Tensor,
    dy: Tensor,
    flip_x: bool,
    flip_y: bool,
) -> tuple[Tensor, Tensor]:
    """The gradients of z = x y: dx = dz y', dy = x' dz, for each combination of transposed operands."""
    if flip_x:
        dx = product(y, dy, flip_y, True)
    else:
        dx = product(dy, y, False, not flip_y)
    if flip_y:
        return dx, product(dy, x, True, flip_x)
    return dx, product(x, dy, not flip_x, False)


MatMul = OpDef(
    "MatMul",
    "a: T, b: T -> product: T",
    attrs={"transpose_a": False, "transpose_b": False},
    types={"T": NUMBERS},
    form=Contraction(),
)


@MatMul.shape
def _matmul_shape(a: Spec, b: Spec, *, transpose_a: bool, transpose_b: bool) -> Shape:
    left, right = shapes.dims(a.shape, 2), shapes.dims(b.shape, 2)
    _check_inner(left, right, transpose_a, transpose_b)
    return left[1 if transpose_a else 0], right[0 if transpose_b else 1]


@MatMul.kernel
def _matmul_kernel(a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
    # Transposed views, not copies: BLAS reads them as they are.
    return _multiply(a.T if transpose_a else a, b.T if transpose_b else b)


@MatMul.gradient
def _matmul_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    def product(x: Tensor, y: Tensor, flip_x: bool, flip_y: bool) -> Tensor:
        return MatMul(x, y, transpose_a=flip_x, transpose_b=flip_y)

    a, b = map(e.conj, op.inputs)
    return _product_gradients(product, a, b, dy, op.attrs["transpose_a"], op.attrs["transpose_b"])


BatchMatMulV2 = OpDef(
    "BatchMatMulV2",
    "x: T, y: T -> output: T",
    attrs={"adj_x": False, "adj_y": False},
    types={"T": NUMBERS},
    form=Contraction(),
)
BatchMatMul = OpDef(
    "BatchMatMul",
    "x: T, y: T -> output: T",
    attrs={"adj_x": False, "adj_y": False},
    types={"T": NUMBERS},
    form=Contraction(),
)


@BatchMatMul.shape
@BatchMatMulV2.shape
def _batch_matmul_shape(x: Spec, y: Spec, *, adj_x: bool, adj_y: bool) -> Shape:
    if x.shape is None or y.shape is None:
        return None
    if not x.shape or not y.shape:
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    # A vector is a row on the left and a column on the right; that axis is missing from the product.
    left = x.shape if len(x.shape) > 1 else (1, *x.shape)
    right = y.shape if len(y.shape) > 1 else (*y.shape, 1)
    flip_x, flip_y = adj_x and len(x.shape) > 1, adj_y and len(y.shape) > 1
    _check_inner(left[-2:], right[-2:], flip_x, flip_y)
    batch = shapes.broadcast(left[:-2], right[:-2])
    assert batch is not None
    rows = (left[-1 if flip_x else -2],) if len(x.shape) > 1 else ()
    columns = (right[-2 if flip_y else -1],) if len(y.shape) > 1 else ()
    return batch + rows + columns


@BatchMatMul.kernel
@BatchMatMulV2.kernel
def _batch_matmul_kernel(x: Array, y: Array, *, adj_x: bool, adj_y: bool) -> Array:
    if x.ndim == 0 or y.ndim == 0:
        raise Complaint(f"In[{0 if x.ndim == 0 else 1}] ndims must be >= 1: 0")
    product = _multiply(_adjoint_array(x) if adj_x else x, _adjoint_array(y) if adj_y else y)
    return np.asarray(product)


def _adjoint_array(x: Array) -> Array:
    """The conjugate transpose of matrices; a vector as it is."""
    if x.ndim < 2:
        return x
    flipped = np.swapaxes(x, -1, -2)
    return flipped.conj() if x.dtype.kind == "c" else flipped


@BatchMatMul.gradient
@BatchMatMulV2.gradient
def _batch_matmul_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    x, y = op.inputs
    adj_x, adj_y = op.attrs["adj_x"], op.attrs["adj_y"]

    def product(a: Tensor, b: Tensor, flip_a: bool, flip_b: bool) -> Tensor:
        return BatchMatMulV2(a, b, adj_x=flip_a, adj_y=flip_b)

    if (x.spec.rank or 0) >= 2 and (y.spec.rank or 0) >= 2:
        dx, dz = _product_gradients(product, x, y, dy, adj_x, adj_y)
        return s.sum_to_shape(dx, x), s.sum_to_shape(dz, y)
    # The operands may turn out to be vectors: then these rules need the axis that the product left out.
    left, right = _as_matrix(x, adj_x), _as_matrix(y, not adj_y)
    rows, columns = size_of(left, -1 if adj_x else -2), size_of(right, -2 if adj_y else -1)
    kept = e.add(e.minimum(e.subtract(s.rank(x), 1), 1), e.minimum(e.subtract(s.rank(y), 1), 1))
    batch = indexing.getitem(s.shape(dy), slice(0, e.subtract(s.rank(dy), kept)))
    shape = joining.concat([batch, as_vector([rows, columns])], 0)
    dx, dz = _product_gradients(product, left, right, s.reshape(dy, shape), adj_x, adj_y)
    return (
        s.reshape(s.sum_to_shape(dx, left), s.shape(x)),
        s.reshape(s.sum_to_shape(dz, right), s.shape(y)),
    )


def _as_matrix(x: Tensor, is_column: bool) -> Tensor:
    """A tensor of unknown rank, with a vector made into a column or a row."""
    missing = fills.fill(s.expand_dims(e.maximum(e.subtract(2, s.rank(x)), 0), 0), 1)
    parts = [s.shape(x), missing] if is_column else [missing, s.shape(x)]
    return s.reshape(x, joining.concat(parts, 0))


def size_of(x: Tensor, axis: int) -> Any:
    """The size of an axis: an integer where it is known, else a scalar tensor."""
    known = None if x.spec.shape is None else x.spec.shape[axis]
    return known if isinstance(known, int) else indexing.getitem(s.shape(x), axis)


def as_vector(sizes: Sequence[Any]) -> Tensor:
    """Sizes, integers or scalar tensors, as an int32 vector."""
    return convert_to_tensor(list(sizes), dtype=dtypes.int32)


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of two matrices, or of stacks of them.

    Args:
        a: [..., n, k], or [..., k, n] if it is transposed.
        b: [..., k, m], or [..., m, k] if it is transposed. Leading axes broadcast.
        transpose_a: whether to transpose the matrices of `a`.
        transpose_b: whether to transpose those of `b`.
        adjoint_a: whether to transpose and conjugate those of `a`.
        adjoint_b: whether to transpose and conjugate those of `b`.
        a_is_sparse: a hint that `a` has many zeros; accepted and not needed.
        b_is_sparse: the same for `b`.
        name: the operation's name.

    Returns:
        [..., n, m]. Unlike in TensorFlow an operand may be a vector: a row on the left, a column on the
        right, and that axis is left out of the product, as in NumPy.

    Raises:
        ValueError: the inner dimensions differ, or an operand is to be transposed and conjugated both.
    """
    if transpose_a and adjoint_a:
        raise ValueError("Only one of transpose_a and adjoint_a can be True.")
    if transpose_b and adjoint_b:
        raise ValueError("Only one of transpose_b and adjoint_b can be True.")
    with name_scope(name, "MatMul", [a, b]) as scope:
        a = convert_to_tensor(a, name="a", preferred_dtype=dtype_of(b))
        b = convert_to_tensor(b, name="b", preferred_dtype=a.spec.dtype)
        ranks = a.spec.rank, b.spec.rank
        if 1 in ranks and None not in ranks:
            return _matmul_of_vectors(a, b, transpose_a, transpose_b, adjoint_a, adjoint_b, scope)
        if ranks == (2, 2):
            # MatMul can transpose but not conjugate, BatchMatMulV2 takes adjoints only.
            left, right = e.conj(a) if adjoint_a else a, e.conj(b) if adjoint_b else b
            flip_a, flip_b = transpose_a or adjoint_a, transpose_b or adjoint_b
            return MatMul(left, right, transpose_a=flip_a, transpose_b=flip_b, name=scope)
        left, right = e.conj(a) if transpose_a else a, e.conj(b) if transpose_b else b
        flip_a, flip_b = transpose_a or adjoint_a, transpose_b or adjoint_b
        return BatchMatMulV2(left, right, adj_x=flip_a, adj_y=flip_b, name=scope)


def _matmul_of_vectors(
    a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool, adjoint_a: bool, adjoint_b: bool, scope: str
) -> Tensor:
    """A product with a vector: a matrix product with an axis added before and removed after."""
    gone: list[int] = []
    if a.spec.rank == 1:
        a, transpose_a, adjoint_a = s.expand_dims(a, 0), False, False
        gone.append(-2)
    if b.spec.rank == 1:
        b, transpose_b, adjoint_b = s.expand_dims(b, -1), False, False
        gone.append(-1)
    product = matmul(a, b, transpose_a, transpose_b, adjoint_a, adjoint_b)
    return s.squeeze(product, gone, name=scope)


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of matrices [..., n, k] and vectors [..., k]: [..., n]. Arguments as in `matmul`."""
    with name_scope(name, "MatVec", [a, b]):
        column = s.expand_dims(b, axis=-1)
        product = matmul(a, column, transpose_a=transpose_a, adjoint_a=adjoint_a)
        return s.squeeze(product, axis=-1)


# ---------------------------------------------------------------- diagonals of tensors

_DIAGONAL_TYPES = {"T": NUMBERS}

Diag = OpDef("Diag", "diagonal: T -> output: T", types=_DIAGONAL_TYPES, form=MOVEMENT)


@Diag.shape
def _diag_shape(x: Spec) -> Shape:
    return None if x.shape is None else x.shape + x.shape


@Diag.kernel
def _diag_kernel(x: Array) -> Array:
    square = np.zeros((x.size, x.size), dtype=x.dtype)
    places = np.arange(x.size)
    square[places, places] = x.ravel()
    return square.reshape(x.shape + x.shape)


@Diag.parts
def _diag_parts(x: Spec, *, outs: Sequence[Spec]) -> Assembly:
    shape = x.shape or ()
    return Assembly((Part(0, View.dense(shape), _diagonal(View.dense(shape + shape))),), fill=0)


def _diagonal(x: View) -> View:
    """The elements of [*s, *s] where both halves of the indices agree."""
    half = len(x.shape) // 2
    for axis in range(half):
        x = x.diagonal(axis, half, x.shape[axis])
    return x


@Diag.gradient
def _diag_gradient(op: Operation, dy: Tensor) -> Tensor:
    return diag_part(dy)


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """The tensor [*s, *s] with `diagonal` [*s] where both halves of the indices agree, and 0 elsewhere."""
    return Diag(diagonal, name=name)


DiagPart = OpDef("DiagPart", "input: T -> diagonal: T", types=_DIAGONAL_TYPES, form=MOVEMENT, aliases=(0,))


@DiagPart.shape
def _diag_part_shape(x: Spec) -> Shape:
    if x.shape is None:
        return None
    if not x.shape or len(x.shape) % 2:
        raise ValueError(f"Input must have even and non-zero rank, input rank is {len(x.shape)}")
    half = len(x.shape) // 2
    return shapes.merge(x.shape[:half], x.shape[half:])


@DiagPart.kernel
def _diag_part_kernel(x: Array) -> Array:
    half = x.ndim // 2
    if x.ndim % 2 or x.shape[:half] != x.shape[half:]:
        raise Complaint(
            f"Invalid shape {list(x.shape)}: dimensions {x.shape[:half]} and {x.shape[half:]} differ"
        )
    count = int(np.prod(x.shape[:half], dtype=np.int64))
    return x.reshape(count, count).diagonal().reshape(x.shape[:half])


@DiagPart.view
def _diag_part_view(x: View, *specs: Spec, outs: Sequence[Spec]) -> View | None:
    half = len(x.shape) // 2
    return _diagonal(x) if all(map(surely_equal, x.shape[:half], x.shape[half:])) else None


@DiagPart.gradient
def _diag_part_gradient(op: Operation, dy: Tensor) -> Tensor:
    return diag(dy)


def diag_part(input: Any, name: str | None = None) -> Tensor:
    """The elements [*s] of a tensor [*s, *s] where both halves of the indices agree.

    Raises:
        ValueError: the rank is odd or 0, or the halves of the shape differ.
    """
    return DiagPart(input, name=name)


# ---------------------------------------------------------------- parts of matrices

MatrixBandPart = OpDef(
    "MatrixBandPart",
    "input: T, num_lower: Tindex, num_upper: Tindex -> band: T",
    types={"Tindex": dtypes.INDICES},
    form=Band(),
)


@MatrixBandPart.shape
def _matrix_band_part_shape(x: Spec, num_lower: Spec, num_upper: Spec) -> Shape:
    matrix_dims(x)
    return x.shape


@MatrixBandPart.kernel
def _matrix_band_part_kernel(x: Array, num_lower: Array, num_upper: Array) -> Array:
    rows, columns = x.shape[-2:]
    lower, upper = int(num_lower), int(num_upper)
    if lower > rows:
        raise Complaint(
            f"num_lower must be negative or less or equal to number of rows ({rows}) got: {lower}"
        )
    if upper > columns:
        raise Complaint(
            f"num_upper must be negative or less or equal to number of columns ({columns}) got: {upper}"
        )
    below = np.arange(rows)[:, None] - np.arange(columns)
    inside = ((lower < 0) | (below <= lower)) & ((upper < 0) | (-below <= upper))
    return np.where(inside, x, np.zeros((), dtype=x.dtype))


@MatrixBandPart.gradient
def _matrix_band_part_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None, None]:
    return matrix_band_part(dy, op.inputs[1], op.inputs[2]), None, None


def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """Matrices with everything outside of a band around the diagonal set to 0.

    Args:
        input: [..., m, n].
        num_lower: how many diagonals below the main one to keep, an integer scalar; all if negative.
        num_upper: the same above it. (-1, 0) keeps the lower triangle, (0, 0) the diagonal.
        name: the operation's name.
    """
    return MatrixBandPart(input, num_lower, num_upper, name=name)


def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = dtypes.float32,
    name: str | None = None,
) -> Tensor:
    """Identity matrices.

    Args:
        num_rows: an integer scalar.
        num_columns: an integer scalar; `num_rows` by default.
        batch_shape: a vector: how many of them; one matrix by default.
        dtype: the type of the elements.
        name: the operations' scope.

    Returns:
        [*batch_shape, num_rows, num_columns].
    """
    with name_scope(name, "eye", [num_rows, num_columns, batch_shape]):
        batch = [] if batch_shape is None else batch_shape
        batch = convert_to_tensor(batch, dtype=dtypes.int32, name="shape")
        columns = num_rows if num_columns is None else num_columns
        is_known = not isinstance(num_rows, Tensor) and not isinstance(columns, Tensor)
        length = min(num_rows, columns) if is_known else e.minimum(num_rows, columns)
        diagonal = fills.ones(joining.concat([batch, as_vector([length])], 0), dtype=dtype)
        if num_columns is None:
            return matrix_diag(diagonal)
        zeros = fills.zeros(joining.concat([batch, as_vector([num_rows, columns])], 0), dtype=dtype)
        return matrix_set_diag(zeros, diagonal)


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sums [...] of the main diagonals of matrices [..., m, n]."""
    with name_scope(name, "Trace", [x]) as scope:
        return s.reduce_sum(matrix_diag_part(convert_to_tensor(x, name="x")), [-1], name=scope)


def adjoint(matrix: Any, name: str | None = None) -> Tensor:
    """The conjugate transposes [..., n, m] of matrices [..., m, n]."""
    with name_scope(name, "adjoint", [matrix]):
        return s.matrix_transpose(convert_to_tensor(matrix, name="matrix"), conjugate=True)


# ---------------------------------------------------------------- Cross

Cross = OpDef("Cross", "a: T, b: T -> product: T", types={"T": REALS})


@Cross.shape
def _cross_shape(a: Spec, b: Spec) -> Shape:
    shape = shapes.merge(a.shape, b.shape)
    if shape is not None and (not shape or (isinstance(shape[-1], int) and shape[-1] != 3)):
        raise ValueError("Cross-products are only defined for 3-element vectors")
    return shape


@Cross.kernel
def _cross_kernel(a: Array, b: Array) -> Array:
    if a.shape != b.shape:
        raise Complaint(f"Both inputs must be of same shape: {list(a.shape)} vs. {list(b.shape)}")
    # Component i is a[i+1] b[i+2] - a[i+2] b[i+1], counted modulo 3.
    after, before = [1, 2, 0], [2, 0, 1]
    return a[..., after] * b[..., before] - a[..., before] * b[..., after]


@Cross.gradient
def _cross_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    a, b = op.inputs
    return cross(b, dy), cross(dy, a)


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """The cross products of vectors, [..., 3] each, of the same shape."""
    return Cross(a, b, name=name)
