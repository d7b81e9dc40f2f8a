"""tf.manip: rearranging tensors."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops.shaping import reshape as reshape
from tahr.ops.transposing import reverse as reverse
from tahr.ops.cropping import tile as tile
from tahr.ops.blocks import batch_to_space_nd as batch_to_space_nd
from tahr.ops.blocks import space_to_batch_nd as space_to_batch_nd
from tahr.ops.indexing import gather_nd as gather_nd
from tahr.ops.indexing import scatter_nd as scatter_nd
from tahr.ops.rearranging import roll as roll

_boundary.enclose(globals(), __name__)
