"""Losses and normalisations give TensorFlow's values and gradients."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_nn as cases
from tests.recorded.harness import check


@pytest.mark.parametrize("name", cases.CASES)
def test_nn(name: str) -> None:
    check(tf, cases.CASES, "nn", name)
