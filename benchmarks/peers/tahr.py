"""tahr itself."""

from __future__ import annotations

import os
from functools import partial

import tahr as tf
from benchmarks.workloads import PROGRAMS

_backend = os.environ.get("TAHR_BACKEND")

VERSION = f"{tf.__version__}, {'default' if _backend is None else _backend} backend"
BUILDERS = {kind: partial(program, tf) for kind, program in PROGRAMS.items()}
