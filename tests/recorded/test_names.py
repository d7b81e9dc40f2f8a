"""Calls add operations with TensorFlow's default names and types."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_names as cases
from tests.recorded.harness import check


@pytest.mark.parametrize("name", cases.CASES)
def test_names(name: str) -> None:
    check(tf, cases.CASES, "names", name)
