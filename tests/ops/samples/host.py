"""Samples of Python functions as ops; `tests/ops/test_host.py` runs them in sessions."""

from __future__ import annotations

from tests.ops.samples import Sample

_OPS = (
    "PyFunc",
    "PyFuncStateless",
)

SAMPLES = [Sample(op, "in a session", stateful="tests/ops/test_host.py") for op in _OPS]
