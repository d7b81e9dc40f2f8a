"""Samples of variables' ops; `tests/ops/test_state.py` runs them in sessions."""

from __future__ import annotations

from tests.ops.samples import Sample

_OPS = (
    "VariableV2",
    "VarHandleOp",
    "ReadVariableOp",
    "IsVariableInitialized",
    "VarIsInitializedOp",
    "Assign",
    "AssignAdd",
    "AssignSub",
    "AssignVariableOp",
    "AssignAddVariableOp",
    "AssignSubVariableOp",
    "ScatterUpdate",
    "ResourceScatterUpdate",
    "ScatterAdd",
    "ResourceScatterAdd",
    "ScatterSub",
    "ResourceScatterSub",
    "ScatterMul",
    "ResourceScatterMul",
    "ScatterDiv",
    "ResourceScatterDiv",
    "ScatterMin",
    "ResourceScatterMin",
    "ScatterMax",
    "ResourceScatterMax",
    "ScatterNdUpdate",
    "ResourceScatterNdUpdate",
    "ScatterNdAdd",
    "ResourceScatterNdAdd",
    "ScatterNdSub",
    "ResourceScatterNdSub",
    "StridedSliceAssign",
    "ResourceStridedSliceAssign",
    "CountUpTo",
)

SAMPLES = [Sample(op, "in a session", stateful="tests/ops/test_state.py") for op in _OPS]
