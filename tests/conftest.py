"""Settings that every test shares."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest

# Programs are checked after every pass; see tahr/program/check.py. Read when tahr is imported.
os.environ.setdefault("TAHR_CHECK_PROGRAMS", "1")

# Compiled kernels are kept between runs of the tests, but not among the user's own.
os.environ.setdefault("TAHR_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "objects"))

# "quick" is the same on every run, so that a failure in CI is a failure at home. `make fuzz` looks further:
# it draws new examples each time and prints how to repeat the one that failed.
hypothesis.settings.register_profile("quick", derandomize=True, max_examples=25, deadline=None, database=None)
hypothesis.settings.register_profile(
    "fuzz",
    max_examples=2000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
# A test that fails inside tahr shows where: errors keep tahr's own frames.
# tests/errors/test_tracebacks.py does without.
os.environ.setdefault("TAHR_FULL_TRACEBACK", "1")

hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def fresh_default_graph() -> None:
    """Each test starts with an empty default graph.

    A property test runs all its examples in one test: it makes a `tf.Graph()` for each of them.
    """
    # A test that has not imported tahr needs nothing, and does not pay for it.
    reset = getattr(sys.modules.get("tahr"), "reset_default_graph", None)
    if reset is not None:
        reset()


@pytest.fixture(autouse=True)
def entries_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs wait for what entries are made of: which way they go does not depend on time."""
    builtin = sys.modules.get("tahr.backends.native.builtin")
    if builtin is not None:
        monkeypatch.setattr(builtin, "is_coming", lambda: False)
