"""Bad calls raise TensorFlow's exceptions, with its key phrase in the text."""

from __future__ import annotations

import pytest

import tahr as tf
from tests.recorded import cases_errors as cases
from tests.recorded.harness import load_fixture, run_case

# What is an error in TensorFlow and has a meaning here.
EXTENSIONS = {"matmul_rank": "vectors may be multiplied with matrices, as in the tutorial"}


@pytest.mark.parametrize("name", [name for name in cases.CASES if name not in EXTENSIONS])
def test_errors(name: str) -> None:
    run_case(tf, cases.CASES[name])  # the case itself demands the class and the phrase


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions_are_no_errors(name: str) -> None:
    with pytest.raises(AssertionError, match="no error"):
        run_case(tf, cases.CASES[name])


@pytest.mark.parametrize("name", cases.CASES)
def test_the_phrase_is_tensorflows(name: str) -> None:
    wanted, phrase, _ = cases.CALLS[name]
    recorded = load_fixture("errors")[name]
    assert wanted in recorded["classes"]
    assert phrase in recorded["message"]
