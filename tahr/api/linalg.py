"""tf.linalg: linear algebra."""

# ruff: noqa: I001  # one line a name

from tahr.ops.shaping import matrix_transpose as matrix_transpose
from tahr.ops.shaping import matrix_transpose as transpose
from tahr.ops.linalg import adjoint as adjoint
from tahr.ops.linalg import matrix_band_part as band_part
from tahr.ops.linalg import cross as cross
from tahr.ops.linalg import matrix_diag as diag
from tahr.ops.linalg import matrix_diag_part as diag_part
from tahr.ops.linalg import einsum as einsum
from tahr.ops.linalg import eye as eye
from tahr.ops.linalg import matmul as matmul
from tahr.ops.linalg import matvec as matvec
from tahr.ops.linalg import matrix_set_diag as set_diag
from tahr.ops.linalg import diag as tensor_diag
from tahr.ops.linalg import diag_part as tensor_diag_part
from tahr.ops.linalg import tensordot as tensordot
from tahr.ops.linalg import trace as trace
from tahr.ops.decompositions import cholesky as cholesky
from tahr.ops.decompositions import cholesky_solve as cholesky_solve
from tahr.ops.decompositions import matrix_determinant as det
from tahr.ops.decompositions import self_adjoint_eig as eigh
from tahr.ops.decompositions import self_adjoint_eigvals as eigvalsh
from tahr.ops.decompositions import matrix_inverse as inv
from tahr.ops.decompositions import logdet as logdet
from tahr.ops.decompositions import matrix_solve_ls as lstsq
from tahr.ops.decompositions import norm as norm
from tahr.ops.decompositions import qr as qr
from tahr.ops.decompositions import slogdet as slogdet
from tahr.ops.decompositions import matrix_solve as solve
from tahr.ops.decompositions import svd as svd
from tahr.ops.decompositions import matrix_triangular_solve as triangular_solve
from tahr.ops.normalization import l2_normalize as l2_normalize
from tahr.ops.clip import global_norm as global_norm
