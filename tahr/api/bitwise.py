"""tf.bitwise: bits of integers."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops.logic import bitwise_and as bitwise_and
from tahr.ops.logic import bitwise_or as bitwise_or
from tahr.ops.logic import bitwise_xor as bitwise_xor
from tahr.ops.logic import invert as invert
from tahr.ops.logic import left_shift as left_shift
from tahr.ops.logic import right_shift as right_shift

_boundary.enclose(globals(), __name__)
