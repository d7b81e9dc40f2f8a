"""tf.debug: what tahr makes of a program. TensorFlow has no such names."""

# one line a name

from tahr.session.debug import ir as ir
