"""At kinks, ties and poles values and gradients follow TensorFlow's conventions."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_kinks as cases
from tests.recorded.harness import check


@pytest.mark.parametrize("name", cases.CASES)
def test_kinks(name: str) -> None:
    check(tf, cases.CASES, "kinks", name, atol=1e-12)
