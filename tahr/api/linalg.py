"""tf.linalg: linear algebra."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops import diagonals as _diagonals
from tahr.ops import linalg as _linalg
from tahr.ops import decompositions as _decompositions
from tahr.ops import linear_systems as _linear_systems
from tahr.ops import matrix_functions as _matrix_functions
from tahr.ops.transposing import matrix_transpose as matrix_transpose
from tahr.ops.linalg import adjoint as adjoint
from tahr.ops.linalg import cross as cross
from tahr.ops.contractions import einsum as einsum
from tahr.ops.linalg import eye as eye
from tahr.ops.linalg import matmul as matmul
from tahr.ops.linalg import matvec as matvec
from tahr.ops.contractions import tensordot as tensordot
from tahr.ops.linalg import trace as trace
from tahr.ops.linear_systems import cholesky as cholesky
from tahr.ops.linear_systems import cholesky_solve as cholesky_solve
from tahr.ops.linear_systems import logdet as logdet
from tahr.ops.norms import norm as norm
from tahr.ops.decompositions import qr as qr
from tahr.ops.linear_systems import slogdet as slogdet
from tahr.ops.decompositions import svd as svd
from tahr.ops.normalization import l2_normalize as l2_normalize
from tahr.ops.clip import global_norm as global_norm
from tahr.ops import transposing as _transposing

# names that differ from those of tahr's own
transpose = _transposing.matrix_transpose
band_part = _linalg.matrix_band_part
diag = _diagonals.matrix_diag
diag_part = _diagonals.matrix_diag_part
set_diag = _diagonals.matrix_set_diag
tensor_diag = _linalg.diag
tensor_diag_part = _linalg.diag_part
det = _linear_systems.matrix_determinant
eigh = _decompositions.self_adjoint_eig
eigvalsh = _decompositions.self_adjoint_eigvals
inv = _linear_systems.matrix_inverse
lstsq = _linear_systems.matrix_solve_ls
solve = _linear_systems.matrix_solve
sqrtm = _matrix_functions.matrix_square_root
triangular_solve = _linear_systems.matrix_triangular_solve

_boundary.enclose(globals(), __name__)
