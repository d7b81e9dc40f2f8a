"""Samples of ops with regions; `tests/ops/test_control_flow.py` runs them in sessions."""

from __future__ import annotations

from tests.ops.samples import Sample

_OPS = (
    "NoOp",
    "_Arg",
    "If",
    "While",
)

SAMPLES = [Sample(op, "in a session", stateful="tests/ops/test_control_flow.py") for op in _OPS]
