"""Loops as text: they count as Python's do, whether their bounds are written in the text or known when they run."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from tahr.backends.native import engine, ir
from tahr.backends.native.kernel import AS_WRITTEN, QUICKLY

BOUNDS = [(0, 0, 1), (0, 1, 1), (3, 2, 1), (5, 9, 1), (2, 9, 3), (0, 8, 4), (0, 8, 8), (0, 3, 8), (-2, 1, 1)]


def looped(bounds: Sequence[tuple[int | str, int | str, int | str]], heading: str = AS_WRITTEN) -> list[int]:
    """The indices of loops in each other, the outermost first; given as numbers, or as names of arguments."""
    f = ir.Function(
        "looped", [(ir.POINTER, "out"), *((ir.I64, name) for name in ("start", "end", "step"))], ir.I64
    )
    place = f.variable(ir.I64, "0")

    def nest(rest: Sequence[tuple[int | str, int | str, int | str]]) -> None:
        (start, end, step), *inner = rest
        with f.loop(start, end, step) as i:
            number = f.load(ir.I64, place)
            f.store(ir.I64, i, f.at(ir.I64, "%out", number))
            f.store(ir.I64, f.add(number, 1), place)
            if inner:
                nest(inner)

    nest(bounds)
    text = heading + f.finish(f"i64 {f.load(ir.I64, place)}") + "\n"
    address = engine.engine().load_module(text, "loops", ["looped"])["looped"]
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, *[ctypes.c_int64] * 3)(address)
    out = np.zeros(100, np.int64)
    return out[: call(out.ctypes.data, *RUN_TIME)].tolist()


RUN_TIME = (2, 9, 3)
NAMES = ("%start", "%end", "%step")


@pytest.mark.parametrize("heading", [AS_WRITTEN, QUICKLY, ""])
@pytest.mark.parametrize("bounds", BOUNDS)
def test_bounds_in_the_text(bounds: tuple[int, int, int], heading: str) -> None:
    assert looped([bounds], heading) == list(range(*bounds))


@pytest.mark.parametrize("which", list(itertools.product([False, True], repeat=3)))
def test_bounds_known_at_run_time(which: tuple[bool, ...]) -> None:
    mixed = [name if at_run_time else value for name, value, at_run_time in zip(NAMES, RUN_TIME, which)]
    assert looped([(mixed[0], mixed[1], mixed[2])]) == [2, 5, 8]


def test_loops_in_loops() -> None:
    found = looped([(0, 2, 1), (0, 1, 1), NAMES])
    assert found == [0, 0, 2, 5, 8, 1, 0, 2, 5, 8]


def test_what_runs_once_is_no_loop() -> None:
    f = ir.Function("once", [])
    with f.loop(0, 8, 16) as i:
        assert i == "0"
    assert "br " not in f.finish()
