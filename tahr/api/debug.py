"""tf.debug: what tahr makes of a program. TensorFlow has no such names."""

# one line a name

from tahr.core import boundary as _boundary
from tahr.session.debug import ir as ir

_boundary.enclose(globals(), __name__)
