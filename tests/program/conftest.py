"""What tests of Programs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tahr.program import check


@pytest.fixture
def checked() -> Iterator[None]:
    """Programs are checked after every pass, whatever the environment says."""
    with check.on():
        yield
