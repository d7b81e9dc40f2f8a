"""Memory that NumPy's runs leave behind goes back to the system."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from typing import Any

import pytest

from tahr.backends.native import heap

PROGRAM = """
import numpy as np
from tahr.backends.native import heap

def resident():
    (line,) = [l for l in open("/proc/self/status") if l.startswith("VmRSS")]
    return int(line.split()[1])

large = np.ones(8 << 20, np.uint8)
del large  # from now on, glibc takes what is smaller from the heap
arrays = [np.ones(100_000, np.uint8) for _ in range(600)]
last = arrays[-1]
del arrays
before = resident()
heap.trim()
print(before - resident(), last.sum())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_is_free_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back > 40_000 and kept == 100_000


def test_elsewhere_the_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    monkeypatch.setattr(sys, "platform", "darwin")
    heap.trim()
    assert not asked
