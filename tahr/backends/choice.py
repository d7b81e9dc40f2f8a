"""Which backend a session runs on."""

from __future__ import annotations

import os

from tahr.backends import numpy as reference
from tahr.backends.base import Executor
from tahr.backends.native import target

BACKENDS = ("numpy", "native")
TIERS = ("reference", "compiled")
# On Windows the native backend compiles, but nobody has run it there.
DEFAULT = "native" if os.name == "posix" else "numpy"


def executor(backend: str | None = None, tier: str | None = None, threads: int = 0) -> Executor:
    """The executor for a session.

    Args:
        backend: "numpy" or "native"; by default what the environment variable `TAHR_BACKEND` says, else native where
            llvmlite can be imported (except on Windows).
        tier: "reference" runs everything by NumPy, "compiled" compiles at the first run; by default the first run of a
            signature is NumPy's and later ones are compiled. The environment variable `TAHR_TIER` may say so too.
        threads: how many threads compute; 0 for as many as there are.

    Raises:
        ValueError: there is no such backend or tier.  ImportError: the native backend is asked for without llvmlite.
    """
    asked = backend or os.environ.get("TAHR_BACKEND") or None
    if asked is not None and asked not in BACKENDS:
        raise ValueError(f"there is no backend {asked!r}: choose one of {', '.join(BACKENDS)}")
    tier = tier or os.environ.get("TAHR_TIER") or None
    if tier is not None and tier not in TIERS:
        raise ValueError(f"there is no tier {tier!r}: choose one of {', '.join(TIERS)}")
    chosen = asked or (DEFAULT if target.is_available() else "numpy")
    if chosen == "native" and not target.is_available():
        raise ImportError("the native backend needs llvmlite: pip install llvmlite, or use the numpy backend")
    if chosen == "numpy" or tier == "reference":
        return reference.executor()
    # Imported here, so that sessions of the reference backend do not pay for a compiler.
    from tahr.backends.native import execute

    return execute.executor(1 if tier == "compiled" else execute.COMPILED_FROM, threads)
