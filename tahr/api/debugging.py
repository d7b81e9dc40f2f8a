"""tf.debugging: checks."""

# ruff: noqa: I001  # one line a name

from tahr.ops.logic import is_finite as is_finite
from tahr.ops.logic import is_inf as is_inf
from tahr.ops.logic import is_nan as is_nan
