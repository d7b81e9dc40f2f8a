"""tf.initializers: initial values of variables."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops import initializers as _initializers
from tahr.ops import variable_lists as _variable_lists
from tahr.ops.initializers import he_normal as he_normal
from tahr.ops.initializers import he_uniform as he_uniform
from tahr.ops.initializers import lecun_normal as lecun_normal
from tahr.ops.initializers import lecun_uniform as lecun_uniform

# names that differ from those of tahr's own
constant = _initializers.Constant
glorot_normal = _initializers.GlorotNormal
glorot_uniform = _initializers.GlorotUniform
identity = _initializers.Identity
ones = _initializers.Ones
orthogonal = _initializers.Orthogonal
random_normal = _initializers.RandomNormal
random_uniform = _initializers.RandomUniform
truncated_normal = _initializers.TruncatedNormal
uniform_unit_scaling = _initializers.UniformUnitScaling
variance_scaling = _initializers.VarianceScaling
zeros = _initializers.Zeros
global_variables = _variable_lists.global_variables_initializer
local_variables = _variable_lists.local_variables_initializer
variables = _variable_lists.variables_initializer

_boundary.enclose(globals(), __name__)
