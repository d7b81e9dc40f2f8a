"""Samples of the queue ops; `tests/ops/test_queues.py` runs them in sessions."""

from __future__ import annotations

from tests.ops.samples import Sample

_OPS = (
    "FIFOQueueV2",
    "RandomShuffleQueueV2",
    "PaddingFIFOQueueV2",
    "PriorityQueueV2",
    "QueueEnqueueV2",
    "QueueEnqueueManyV2",
    "QueueDequeueV2",
    "QueueDequeueManyV2",
    "QueueDequeueUpToV2",
    "QueueCloseV2",
    "QueueSizeV2",
    "QueueIsClosedV2",
)

SAMPLES = [Sample(op, "in a session", stateful="tests/ops/test_queues.py") for op in _OPS]
