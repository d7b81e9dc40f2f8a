"""What a program means does not depend on the backend: these tests run on each of them."""

from __future__ import annotations

import pytest

from tahr.backends.native import target


@pytest.fixture(
    autouse=True,
    params=[
        "numpy",
        pytest.param("native", marks=pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")),
    ],
)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend that sessions run on unless they say otherwise, natively from their first run on."""
    monkeypatch.setenv("TAHR_BACKEND", request.param)
    monkeypatch.setenv("TAHR_TIER", "reference" if request.param == "numpy" else "compiled")
    return request.param
