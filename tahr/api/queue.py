"""tf.queue: queues."""

# ruff: noqa: I001  # one line a name

from tahr.core import boundary as _boundary
from tahr.ops.queues import FIFOQueue as FIFOQueue
from tahr.ops.queues import PaddingFIFOQueue as PaddingFIFOQueue
from tahr.ops.queues import PriorityQueue as PriorityQueue
from tahr.ops.queues import QueueBase as QueueBase
from tahr.ops.queues import RandomShuffleQueue as RandomShuffleQueue

_boundary.enclose(globals(), __name__)
