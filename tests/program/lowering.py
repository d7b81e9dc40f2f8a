"""Programs for tests: made from tensors, shown as formulas, and computed naively."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tahr.core.convert import Const
from tahr.core.graph import Tensor
from tahr.core.opdef import OPS, Array
from tahr.plan.stages import classify
from tahr.program.extract import extract
from tahr.program.function import Function
from tahr.program.node import Input, Program, Value
from tests.evaluate import compute_expansion, compute_kernel


class _Ops:
    """`op.Cast(x, DstT=...)`: the ops themselves, which the public functions would leave out or change."""

    def __getattr__(self, name: str) -> Any:
        return OPS[name]


op = _Ops()


def lower(outputs: Sequence[Tensor], feeds: Mapping[Tensor, Array], targets: Sequence[Any] = ()) -> Program:
    """The Program of some tensors as it is extracted, before any pass."""
    graph = outputs[0].graph if outputs else targets[0].graph
    function = Function(graph, list(feeds), outputs, targets)
    specs, _ = classify(dict(zip(function.keys, feeds.values(), strict=True)))
    stage = extract(function, specs, frozenset(), frozenset())
    assert stage.is_last, "the program has more than one stage"
    return stage.program


def compute(program: Program, arrays: Sequence[Array]) -> list[Array]:
    """The outputs of a pure Program, one kernel after another."""
    values: dict[Value, Any] = {}
    for node in program.nodes():
        if node.opdef is Input:
            found: Sequence[Any] = [arrays[node.attrs["place"]]]
        elif node.opdef is Const:
            found = [node.attrs["value"]]
        elif node.opdef.compute is not None:
            found = compute_kernel(node.opdef, [values[v] for v in node.inputs], node.attrs)
        else:
            inputs = [values[v] for v in node.inputs]
            found = compute_expansion(node.opdef, inputs, node.attrs, [v.spec for v in node.inputs])
        values.update(zip(node.outputs, found, strict=True))
    return [np.asarray(values[v]) for v in program.outputs]


def formula(value: Value, names: Sequence[str]) -> str:
    """A value as text, `Mul(x, Log(y))`; the program's inputs have the names given, constants are numbers."""
    node = value.node
    if node.opdef is Input:
        return str(names[node.attrs["place"]])
    if node.opdef is Const:
        return str(node.attrs["value"].tolist())
    attrs = [
        f"{k}={getattr(v, 'name', v)}"
        for k, v in node.attrs.items()
        if k not in node.opdef.attrs or node.opdef.attrs[k] != v
    ]
    text = f"{node.opdef.name}({', '.join([*(formula(v, names) for v in node.inputs), *attrs])})"
    return text if len(node.outputs) == 1 else f"{text}.{value.index}"
