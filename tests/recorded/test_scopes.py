"""Variable scopes name, share and refuse as TensorFlow's do."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_scopes as cases
from tests.recorded.harness import check


@pytest.mark.parametrize("name", cases.CASES)
def test_scopes(name: str) -> None:
    check(tf, cases.CASES, "scopes", name)
