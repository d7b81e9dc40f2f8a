"""Static shapes are as well known as TensorFlow's."""

from __future__ import annotations

from typing import Any

import pytest

import tahr as tf
from tests.recorded import cases_shapes as cases
from tests.recorded.harness import check, load_fixture, run_case


def refines(got: Any, expected: Any) -> bool:
    """Whether `got` agrees with every dimension that `expected` knows."""
    if expected == "unknown":
        return True
    if got == "unknown" or len(got) != len(expected):
        return False
    return all(known is None or known == found for found, known in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", [name for name in cases.CASES if name not in cases.MAY_KNOW_MORE])
def test_shapes(name: str) -> None:
    check(tf, cases.CASES, "shapes", name)


@pytest.mark.parametrize("name", sorted(cases.MAY_KNOW_MORE))
def test_shapes_that_may_be_better_known(name: str) -> None:
    got, expected = run_case(tf, cases.CASES[name]), load_fixture("shapes")[name]
    assert refines(got, expected), f"{got} instead of {expected}"
