"""tf.nn.rnn_cell: the cells of recurrent networks."""

from tahr.core import boundary as _boundary
from tahr.layers.rnn_cell import (
    BasicLSTMCell as BasicLSTMCell,
    BasicRNNCell as BasicRNNCell,
    GRUCell as GRUCell,
    LSTMCell as LSTMCell,
    LSTMStateTuple as LSTMStateTuple,
    RNNCell as RNNCell,
)
from tahr.layers.rnn_wrappers import (
    DeviceWrapper as DeviceWrapper,
    DropoutWrapper as DropoutWrapper,
    MultiRNNCell as MultiRNNCell,
    ResidualWrapper as ResidualWrapper,
)

_boundary.enclose(globals(), __name__)
