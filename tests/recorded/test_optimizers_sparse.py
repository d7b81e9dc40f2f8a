"""Every optimizer applies sparse gradients as TensorFlow does."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_optimizers_sparse as cases
from tests.recorded.harness import check


@pytest.mark.parametrize("name", cases.CASES)
def test_optimizers_sparse(name: str) -> None:
    check(tf, cases.CASES, "optimizers_sparse", name)
