"""What of tahr is there without more than it needs."""

from __future__ import annotations

from tahr.backends.native import target

BACKENDS = ["numpy", *(["native"] if target.is_available() else [])]
"""The backends that run here: the native one needs llvmlite."""
