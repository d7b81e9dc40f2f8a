"""tf.initializers: initial values of variables."""

# ruff: noqa: I001  # one line a name

from tahr.ops.initializers import Constant as constant
from tahr.ops.initializers import GlorotNormal as glorot_normal
from tahr.ops.initializers import GlorotUniform as glorot_uniform
from tahr.ops.initializers import he_normal as he_normal
from tahr.ops.initializers import he_uniform as he_uniform
from tahr.ops.initializers import Identity as identity
from tahr.ops.initializers import lecun_normal as lecun_normal
from tahr.ops.initializers import lecun_uniform as lecun_uniform
from tahr.ops.initializers import Ones as ones
from tahr.ops.initializers import Orthogonal as orthogonal
from tahr.ops.initializers import RandomNormal as random_normal
from tahr.ops.initializers import RandomUniform as random_uniform
from tahr.ops.initializers import TruncatedNormal as truncated_normal
from tahr.ops.initializers import UniformUnitScaling as uniform_unit_scaling
from tahr.ops.initializers import VarianceScaling as variance_scaling
from tahr.ops.initializers import Zeros as zeros
from tahr.variables import global_variables_initializer as global_variables
from tahr.variables import local_variables_initializer as local_variables
from tahr.variables import variables_initializer as variables
