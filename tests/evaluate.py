"""The naive evaluator: what a graph means, by one kernel after another.

It knows nothing of programs, plans, sessions or backends, and so it is the oracle for all of them. It
computes pure operations only: no variables, queues, random draws or loops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tahr import errors
from tahr.core.convert import IndexedSlices
from tahr.core.forms import HOST
from tahr.core.graph import Graph, Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.shapes import Shape, Spec

# A tensor whose value is given; its attributes say exactly as much about it as shape rules shall know.
Fed = OpDef(
    "_Fed",
    "-> output: dtype",
    attrs={"dtype": REQUIRED, "shape": REQUIRED, "value": None},
    form=HOST,
    register=False,
)
Fed.not_differentiable()


@Fed.shape
def _fed_shape(*, dtype: Any, shape: Shape, value: Array | None) -> Shape:
    return shape


@Fed.value
def _fed_value(*, dtype: Any, shape: Shape, value: Array | None) -> Array | None:
    return value


def fed(spec: Spec) -> Tensor:
    """A tensor of the default graph of which `spec` is known, and whose value is given to `evaluate`."""
    return Fed(dtype=spec.dtype, shape=spec.shape, value=spec.value)


def evaluate(fetches: Any, feeds: Mapping[Tensor, Any] | None = None) -> Any:
    """Computes tensors of a graph.

    Args:
        fetches: a Tensor, IndexedSlices (computed as a dense array), None (None), or a list or tuple of such.
        feeds: the values of tensors; they are cast to the tensors' dtypes.

    Returns:
        An array, or a list of arrays.

    Raises:
        NotImplementedError: an operation is not pure, or has neither kernel nor expansion.
        errors.OpError: a kernel complains about its inputs.
    """
    values = {tensor: _as_value(value, tensor) for tensor, value in (feeds or {}).items()}
    flat = fetches if isinstance(fetches, (list, tuple)) else [fetches]
    tensors = [tensor for fetch in flat for tensor in _tensors(fetch)]
    for op in _needed(tensors, values):
        results = compute(op, [values[tensor] for tensor in op.inputs])
        for tensor, result in zip(op.outputs, results, strict=True):
            values.setdefault(tensor, result)  # a fed output keeps what was fed
    results = [_collected(fetch, values) for fetch in flat]
    return results if isinstance(fetches, (list, tuple)) else results[0]


def compute(op: Operation, arrays: Sequence[Array]) -> list[Array]:
    """The values of an operation's outputs, by its kernel or else by its expansion."""
    opdef = op.opdef
    if opdef.compute is not None:
        return compute_kernel(opdef, arrays, op.attrs, op)
    return compute_expansion(opdef, arrays, op.attrs, [tensor.spec for tensor in op.inputs])


def compute_kernel(
    opdef: OpDef, arrays: Sequence[Array], attrs: Mapping[str, Any], op: Operation | None = None
) -> list[Array]:
    """What an op's kernel makes of arrays; a complaint becomes the error that a session would raise."""
    if opdef.takes_context or opdef.effects.reads or opdef.effects.writes or opdef.effects.io:
        raise NotImplementedError(f"{opdef.name} is not pure: it needs a session")
    assert opdef.compute is not None
    try:
        with np.errstate(all="ignore"):
            found = opdef.compute(*arrays, **attrs)
    except errors.Complaint as complaint:
        raise complaint.kind(None, op, errors.describe(opdef.name, complaint.problem)) from complaint
    return outputs_of(opdef, found)


def compute_expansion(
    opdef: OpDef, arrays: Sequence[Array], attrs: Mapping[str, Any], specs: Sequence[Spec]
) -> list[Array]:
    """What an op's expansion makes of arrays, where `specs` is all that it may know of them in advance.

    It is built in a graph of its own, so that evaluation never changes the graph that is evaluated.
    """
    if opdef.expand is None:
        raise NotImplementedError(f"{opdef.name} has neither a kernel nor an expansion")
    with Graph().as_default():
        tensors = [fed(spec) for spec in specs]
        found = outputs_of(opdef, opdef.expand(*tensors, **attrs))
    return evaluate(found, dict(zip(tensors, arrays, strict=True)))


def outputs_of(opdef: OpDef, found: Any) -> list[Any]:
    """A kernel's or an expansion's result as a list: none, one, or several outputs."""
    if not opdef.outputs:
        return []
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _needed(tensors: Iterable[Tensor], known: Mapping[Tensor, Array]) -> list[Operation]:
    """The operations that tensors depend on, given those that are known, in the order of their creation."""
    found: set[Operation] = set()
    pending = [tensor for tensor in tensors if tensor not in known]
    while pending:
        op = pending.pop().op
        if op not in found:
            found.add(op)
            pending += [tensor for tensor in op.inputs if tensor not in known]
    return sorted(found, key=lambda op: op.id)


def _tensors(fetch: Any) -> list[Tensor]:
    if fetch is None:
        return []
    if isinstance(fetch, IndexedSlices):
        assert fetch.dense_shape is not None, "IndexedSlices without dense_shape"
        return [fetch.values, fetch.indices, fetch.dense_shape]
    return [fetch]


def _collected(fetch: Any, values: Mapping[Tensor, Array]) -> Array | None:
    parts = [values[tensor] for tensor in _tensors(fetch)]
    if not isinstance(fetch, IndexedSlices):
        return parts[0] if parts else None
    rows, indices, shape = parts
    dense = np.zeros(tuple(shape), rows.dtype)
    np.add.at(dense, indices, rows)  # rows with equal indices add up
    return dense


def _as_value(value: Any, tensor: Tensor) -> Array:
    """A private copy that no kernel can write to."""
    dtype = tensor.spec.dtype
    array = np.array(value) if dtype is None else np.array(value, dtype=dtype.numpy)
    array.setflags(write=False)
    return array
