"""tf.debugging: checks."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops import assertions as _assertions
from tahr.ops.logic import is_finite as is_finite
from tahr.ops.logic import is_inf as is_inf
from tahr.ops.logic import is_nan as is_nan
from tahr.ops.assertions import assert_equal as assert_equal
from tahr.ops.assertions import assert_greater as assert_greater
from tahr.ops.assertions import assert_greater_equal as assert_greater_equal
from tahr.ops.assertions import assert_integer as assert_integer
from tahr.ops.assertions import assert_less as assert_less
from tahr.ops.assertions import assert_less_equal as assert_less_equal
from tahr.ops.assertions import assert_near as assert_near
from tahr.ops.assertions import assert_negative as assert_negative
from tahr.ops.assertions import assert_non_negative as assert_non_negative
from tahr.ops.assertions import assert_non_positive as assert_non_positive
from tahr.ops.assertions import assert_none_equal as assert_none_equal
from tahr.ops.assertions import assert_positive as assert_positive
from tahr.ops.assertions import assert_proper_iterable as assert_proper_iterable
from tahr.ops.assertions import assert_rank as assert_rank
from tahr.ops.assertions import assert_rank_at_least as assert_rank_at_least
from tahr.ops.assertions import assert_rank_in as assert_rank_in
from tahr.ops.assertions import assert_scalar as assert_scalar
from tahr.ops.assertions import assert_type as assert_type
from tahr.ops.assertions import check_numerics as check_numerics
from tahr.ops.assertions import is_non_decreasing as is_non_decreasing
from tahr.ops.assertions import is_numeric_tensor as is_numeric_tensor
from tahr.ops.assertions import is_strictly_increasing as is_strictly_increasing

# names that differ from those of tahr's own
Assert = _assertions.assert_

_boundary.enclose(globals(), __name__)
