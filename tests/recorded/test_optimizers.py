"""Every optimizer takes TensorFlow's steps, and its variables have TensorFlow's names."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_optimizers as cases
from tests.recorded.harness import check


@pytest.mark.parametrize("name", cases.CASES)
def test_optimizers(name: str) -> None:
    check(tf, cases.CASES, "optimizers", name)
