"""tf.dtypes: types."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.core import dtypes as _dtypes
from tahr.core.dtypes import as_dtype as as_dtype
from tahr.core.dtypes import bfloat16 as bfloat16
from tahr.core.dtypes import complex128 as complex128
from tahr.core.dtypes import complex64 as complex64
from tahr.core.dtypes import double as double
from tahr.core.dtypes import DType as DType
from tahr.core.dtypes import float16 as float16
from tahr.core.dtypes import float32 as float32
from tahr.core.dtypes import float64 as float64
from tahr.core.dtypes import half as half
from tahr.core.dtypes import int16 as int16
from tahr.core.dtypes import int32 as int32
from tahr.core.dtypes import int64 as int64
from tahr.core.dtypes import int8 as int8
from tahr.core.dtypes import resource as resource
from tahr.core.dtypes import string as string
from tahr.core.dtypes import uint16 as uint16
from tahr.core.dtypes import uint32 as uint32
from tahr.core.dtypes import uint64 as uint64
from tahr.core.dtypes import uint8 as uint8
from tahr.core.dtypes import variant as variant
from tahr.ops.casts import cast as cast
from tahr.ops.casts import complex as complex
from tahr.ops.elementwise import saturate_cast as saturate_cast

# names that differ from those of tahr's own
bool = _dtypes.bool_

_boundary.enclose(globals(), __name__)
