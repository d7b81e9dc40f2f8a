"""What tests of the native backend share. Without llvmlite there is none: the suite is the reference executor's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import tahr as tf
from tahr.backends.native import target

collect_ignore_glob = [] if target.is_available() else ["test*.py"]


@pytest.fixture
def session() -> Iterator[Any]:
    """A session that compiles at once."""
    with tf.Session(backend="native", tier="compiled") as session:
        yield session


@pytest.fixture
def seeded() -> None:
    """The test's graph has a seed."""
    tf.set_random_seed(7)
