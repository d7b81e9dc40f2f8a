"""Without llvmlite there is no native backend to test: the suite is the reference executor's."""

from __future__ import annotations

from tahr.backends.native import target

collect_ignore_glob = [] if target.is_available() else ["test*.py"]
