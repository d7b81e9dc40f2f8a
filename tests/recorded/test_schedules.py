"""Schedules, moving averages and clipping give TensorFlow's values."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_schedules as cases
from tests.recorded.harness import check


@pytest.mark.parametrize("name", cases.CASES)
def test_schedules(name: str) -> None:
    check(tf, cases.CASES, "schedules", name)
