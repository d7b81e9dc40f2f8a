"""Every op of the registry, its samples and dtypes, natively against NumPy; and which of them are native at all.

All cases of an op are one graph and one run, so that their kernels are compiled together. Each graph runs twice: in
memory that is full of NaN and watched (see `hostile`), and as usual.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute, roles
from tahr.backends.native.plan import HostStep
from tahr.core import dtypes
from tahr.core.convert import IndexedSlices
from tahr.core.opdef import OPS, Array
from tests.backends.native.hostile import hostile
from tests.gradient_check import random_cotangent
from tests.ops import checks
from tests.ops.samples import Sample, collect

TABLE = collect()
# How many times the units of `checks.ULPS` results may differ from NumPy's by, where once is not enough.
FACTORS: dict[str, float] = {}
# Integer inputs that are data, not what a shape rule reads: they are fed.
INDEXED = {"Gather", "GatherV2", "GatherNd", "UnsortedSegmentSum", "ScatterNd", "ResourceGather"}


def _cases(name: str) -> list[tuple[Sample, str | None]]:
    return [(s, d) for s in TABLE[name] if s.stateful is None for d in s.dtypes or (None,)]


def _gradient_cases(name: str) -> list[tuple[Sample, str | None]]:
    samples = [s for s in TABLE[name] if s.stateful is None and checks.has_gradient(OPS[name], s)]
    return [(s, d) for s in samples for d in checks.gradient_dtypes(s)]


CASES = {name: found for name in sorted(OPS) if (found := _cases(name))}
GRADIENTS = {name: found for name in sorted(OPS) if (found := _gradient_cases(name))}
LEFT: dict[str, dict[str, int]] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "native.json").read_text()
)
"""For each op what NumPy is left with: how many nodes, and why. `tests/fixtures/make_native.py` writes it."""


@dataclass
class Built:
    """A case in the graph: its outputs, and the tolerance."""

    case: checks.Case
    dtype: str | None
    outputs: list[Any]
    inputs: list[Any]

    def __repr__(self) -> str:
        return f"{self.case.sample}-{self.dtype or 'as written'}"


def built(sample: Sample, dtype: str | None, hides_sizes: bool, feeds: dict[Any, Array]) -> Built:
    """Adds a case to the default graph, and its feeds to `feeds`.

    What only says a shape, some axes or the like is a constant.
    """
    case = checks.make_case(OPS[sample.op], sample, dtype)
    variable = checks.variable_under_test(case.opdef, sample)
    made: list[Any] = []
    for arg, spec, array in zip(case.args, case.specs, case.arrays, strict=True):
        if spec.value is not None and arg.type != variable and sample.op not in INDEXED:
            made.append(tf.constant(array))
            continue
        assert spec.dtype is not None
        shape = [None] * array.ndim if hides_sizes else array.shape
        fed = tf.placeholder(spec.dtype, shape)
        feeds[fed] = array
        made.append(fed)
    rest = iter(made)
    grouped = [[next(rest) for _ in g] if isinstance(g, list) else next(rest) for g in case.grouped]
    found = case.opdef(*grouped, **case.attrs)
    return Built(case, dtype, list(found) if isinstance(found, (list, tuple)) else [found], made)


def run(fetches: Any, feeds: dict[Any, Array], backend: str) -> Any:
    """What a backend computes."""
    with tf.Session(backend=backend, tier="reference" if backend == "numpy" else "compiled") as session:
        return session.run(fetches, feeds)


def run_natively(fetches: Any, feeds: dict[Any, Array]) -> Any:
    """What the native backend computes, in watched memory and as usual."""
    with hostile():
        found = run(fetches, feeds, "native")
    execute._records.clear()
    again = run(fetches, feeds, "native")
    for a, b in zip(found, again, strict=True):
        for x, y in zip(a, b, strict=True):
            same = x == y if isinstance(x, bytes) else checks._same(np.asarray(x), np.asarray(y))
            assert same, "results depend on what was in memory before"
    return found


def problem(found: Any, expected: Any, case: checks.Case, is_gradient: bool) -> str | None:
    """How a result differs from NumPy's by more than is allowed.

    What only moves elements has to be exact, but not its gradient: that may add them up.
    """
    found, expected = (np.asarray(a, object if isinstance(a, bytes) else None) for a in (found, expected))
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return f"{found.dtype}{found.shape} instead of {expected.dtype}{expected.shape}"
    unit = max(checks._unit(a.dtype) for a in (found, *case.arrays))
    moves = not is_gradient and (case.opdef.view_rule or case.opdef.parts_rule)
    is_exact = found.dtype == object or moves
    if is_exact or not unit:
        return None if checks._same(found, expected) else f"{found} instead of {expected}"
    unit *= FACTORS.get(case.opdef.name, 1)
    rtol, atol = (max(unit, given or 0.0) for given in (case.sample.rtol, case.sample.atol))
    try:
        np.testing.assert_allclose(checks._widened(found), checks._widened(expected), rtol, atol)
    except AssertionError as error:
        return str(error)
    return None


def compare(
    cases: Sequence[Built],
    fetches: Sequence[Sequence[Any]],
    feeds: dict[Any, Array],
    are_gradients: bool = False,
) -> None:
    """Runs what is fetched for each case on both backends."""
    expected = run(fetches, feeds, "numpy")
    found = run_natively(fetches, feeds)
    wrong = [
        f"{case}, output {i}: {text}"
        for case, values, wanted in zip(cases, found, expected, strict=True)
        for i, (value, right) in enumerate(zip(values, wanted, strict=True))
        if (text := problem(value, right, case.case, are_gradients)) is not None
    ]
    assert not wrong, "\n".join(wrong)


def left_to_numpy() -> dict[str, int]:
    """How many nodes of the plans that ran natively are NumPy's, by what they are and why."""
    found: Counter[str] = Counter()
    for record in execute._records.values():
        if record.native is None:
            found[f"everything: {record.reason}"] += 1
            continue
        nodes = [item.node for item in record.native.items if isinstance(item, HostStep)]
        found.update(f"{node.opdef.name}: {roles.reason(node)}" for node in nodes)
    return dict(sorted(found.items()))


FORMS = pytest.mark.parametrize("hides_sizes", [False, True], ids=["sizes known", "sizes hidden"])


@FORMS
@pytest.mark.parametrize("name", sorted(CASES))
def test_op(name: str, hides_sizes: bool) -> None:
    feeds: dict[Any, Array] = {}
    cases = [built(s, d, hides_sizes, feeds) for s, d in CASES[name]]
    compare(cases, [case.outputs for case in cases], feeds)
    found, listed = (by_op(left) for left in (left_to_numpy(), LEFT.get(key(name, hides_sizes), {})))
    more = {op: count for op, count in found.items() if count > listed[op]}
    assert not more, f"{left_to_numpy()} is left to NumPy, though tests/fixtures/native.json does not say so"


def by_op(left: dict[str, int]) -> Counter[str]:
    """How many nodes of each op are left to NumPy, whatever the reason."""
    found: Counter[str] = Counter()
    for what, count in left.items():
        found[what.split(":")[0]] += count
    return found


def key(name: str, hides_sizes: bool) -> str:
    """What the list of what is native calls one of the tests."""
    return f"{name}, sizes hidden" if hides_sizes else name


BAD = {
    name: [
        bad for s in samples if s.stateful is None for bad in s.bad if issubclass(bad.exception, tf.OpError)
    ]
    for name, samples in collect().items()
}


@pytest.mark.parametrize("name", sorted(name for name, found in BAD.items() if found))
def test_bad_call(name: str) -> None:
    """What NumPy's kernel does not take is an error natively too."""
    for bad in BAD[name]:
        with tf.Graph().as_default():
            case = checks.make_case(OPS[name], Sample(name, "bad", bad.inputs, bad.attrs), None)
            feeds = {tf.placeholder(spec.dtype): array for spec, array in zip(case.specs, case.arrays)}
            rest = iter(feeds)
            inputs = [[next(rest) for _ in g] if isinstance(g, list) else next(rest) for g in case.grouped]
            fetches = case.opdef(*inputs, **case.attrs)
            with pytest.raises(bad.exception, match=re.escape(bad.phrase)):
                run(fetches, feeds, "native")


@FORMS
@pytest.mark.parametrize("name", sorted(GRADIENTS))
def test_gradients(name: str, hides_sizes: bool) -> None:
    feeds: dict[Any, Array] = {}
    cases = [built(s, d, hides_sizes, feeds) for s, d in GRADIENTS[name]]
    outputs = run([case.outputs for case in cases], feeds, "numpy")
    fetches = [gradients(case, values, feeds) for case, values in zip(cases, outputs, strict=True)]
    compare(cases, fetches, feeds, are_gradients=True)


def gradients(case: Built, values: Sequence[Array], feeds: dict[Any, Array]) -> list[Any]:
    """A case's gradients, given fed cotangents."""
    ys = [y for y in case.outputs if y.dtype in (dtypes.float64, dtypes.complex128)]
    cotangents: list[Any] = []
    for y, value in zip(case.outputs, values, strict=True):
        if y in ys:
            fed = tf.placeholder(y.dtype, y.shape)
            feeds[fed] = random_cotangent(value.shape, value.dtype, seed=len(feeds))
            cotangents.append(fed)
    xs = [case.inputs[i] for i in checks.differentiated(case.case)]
    found = tf.gradients(ys, xs, cotangents)
    flat: list[Any] = []
    for g in found:
        if g is not None:
            flat += [g.values, g.indices] if isinstance(g, IndexedSlices) else [g]
    return flat
