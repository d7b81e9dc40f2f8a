"""Every registered op against its samples: the checks of `checks.py` on the table of `samples`.

An op without a sample fails here. Each pair of a sample and a dtype is a test of its own, e.g.
`test_kernel[Sum: middle axis kept-float32]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import tahr
from tahr.core.opdef import OPS
from tests.ops import checks
from tests.ops.samples import Bad, Sample, collect

# Importing all of tahr has filled OPS.
ROOT = Path(str(tahr.__file__)).parents[1]
TABLE = collect()

SAMPLES = [s for samples in TABLE.values() for s in samples if s.op in OPS]
RUN_HERE = [s for s in SAMPLES if s.stateful is None]
CASES = [(s, dtype) for s in RUN_HERE for dtype in s.dtypes or (None,)]
WITH_KERNEL = [(s, dtype) for s, dtype in CASES if OPS[s.op].compute is not None]
WITH_EXPANSION = [(s, dtype) for s, dtype in CASES if OPS[s.op].expand is not None]
GRADIENTS = [
    (s, dtype) for s in RUN_HERE for dtype in checks.gradient_dtypes(s) if checks.has_gradient(OPS[s.op], s)
]


def each(cases: Iterable[tuple[Sample, str | None]]) -> Any:
    """One test for each sample and dtype."""
    cases = list(cases)
    ids = [f"{sample}-{dtype or 'as written'}" for sample, dtype in cases]
    return pytest.mark.parametrize(("sample", "dtype"), cases, ids=ids)


def each_sample(samples: Iterable[Sample]) -> Any:
    """One test for each sample, in the first of its dtypes: for what does not depend on the dtype."""
    return each((s, s.dtypes[0] if s.dtypes else None) for s in samples)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_has_a_sample(name: str) -> None:
    assert TABLE.get(name), f"op {name} has no sample: add one to tests/ops/samples"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_sample_has_an_op(name: str) -> None:
    assert name in OPS, f"there are samples of {name}, but no such op"


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_means_something(name: str) -> None:
    opdef = OPS[name]
    tested_elsewhere = [s for s in TABLE.get(name, []) if s.stateful]
    assert opdef.compute or opdef.expand or tested_elsewhere, f"op {name} has neither kernel nor expansion"


@each(WITH_KERNEL)
def test_kernel(sample: Sample, dtype: str | None) -> None:
    checks.check_kernel(checks.make_case(OPS[sample.op], sample, dtype))


@each_sample(s for s in RUN_HERE if OPS[s.op].compute is not None)
def test_kernel_of_any_strides(sample: Sample, dtype: str | None) -> None:
    checks.check_strides(checks.make_case(OPS[sample.op], sample, dtype))


@each(WITH_EXPANSION)
def test_expansion(sample: Sample, dtype: str | None) -> None:
    checks.check_expansion(checks.make_case(OPS[sample.op], sample, dtype))


@each_sample(s for s in RUN_HERE if OPS[s.op].expand is not None)
def test_expansion_with_unknown_sizes(sample: Sample, dtype: str | None) -> None:
    checks.check_expansion(checks.make_case(OPS[sample.op], sample, dtype), checks.hide_sizes)


@each_sample(RUN_HERE)
def test_shape_rule(sample: Sample, dtype: str | None) -> None:
    checks.check_shape_rule(checks.make_case(OPS[sample.op], sample, dtype))


@each_sample(RUN_HERE)
def test_wrong_dtypes(sample: Sample, dtype: str | None) -> None:
    checks.check_wrong_dtypes(checks.make_case(OPS[sample.op], sample, dtype))


@each(GRADIENTS)
def test_gradient(sample: Sample, dtype: str | None) -> None:
    checks.check_gradient(checks.gradient_case(OPS[sample.op], sample, dtype))


@each(GRADIENTS)
def test_gradient_with_unknown_sizes(sample: Sample, dtype: str | None) -> None:
    checks.check_gradient(checks.gradient_case(OPS[sample.op], sample, dtype), checks.hide_sizes)


@each(GRADIENTS)
def test_gradient_with_computed_axes_and_shapes(sample: Sample, dtype: str | None) -> None:
    checks.check_gradient(checks.gradient_case(OPS[sample.op], sample, dtype), checks.hide_all_but_rank)


@each((s, dtype) for s, dtype in GRADIENTS if s.second)
def test_second_order_gradient(sample: Sample, dtype: str | None) -> None:
    checks.check_gradient(checks.gradient_case(OPS[sample.op], sample, dtype), second=True)


BAD = [(s, bad) for s in SAMPLES for bad in s.bad]


@pytest.mark.parametrize(("sample", "bad"), BAD, ids=[f"{s}-{b.phrase}" for s, b in BAD])
def test_bad_call(sample: Sample, bad: Bad) -> None:
    checks.check_bad(OPS[sample.op], bad)


ELSEWHERE = [s for s in SAMPLES if s.stateful is not None]


@pytest.mark.parametrize("sample", ELSEWHERE, ids=str)
def test_stateful_op_is_tested_elsewhere(sample: Sample) -> None:
    path = ROOT / str(sample.stateful)
    assert path.is_file(), f"{sample.op} should be tested by {sample.stateful}, which does not exist"
    assert sample.op in path.read_text(), f"{sample.stateful} does not mention {sample.op}"
