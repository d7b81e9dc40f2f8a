"""Loop nests of awkward shapes: what joins them, sums along dimensions of all kinds, transposed operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute, target
from tahr.core.opdef import Array
from tests.backends.native.natively import run

pytestmark = pytest.mark.skipif(not target.is_available(), reason="needs llvmlite")


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def loops_of(name: str) -> list[Any]:
    """The nests that have an operation of a type."""
    calls = [
        c for r in execute._records.values() if r.native for s in r.native.segments for c in s.calls if c.loop
    ]
    return [c.loop for c in calls if any(n.opdef.name == name for n in c.nodes)]


def expected(fetches: Any, feeds: dict[Any, Array]) -> Any:
    with tf.Session(backend="numpy") as session:
        return session.run(fetches, feeds)


def test_what_does_not_join_leaves_no_dimensions_behind() -> None:
    """One scalar scales arrays of several shapes: the first is its nest's, and the others' sizes are not."""
    arrays = {tf.placeholder(tf.float64, a.shape): a for a in (random(6, 7), random(5, 3), random(11))}
    fetches, norm = tf.clip_by_global_norm(list(arrays), 1.0)
    found, _ = run([*fetches, norm], arrays)
    for a, b in zip(found, expected([*fetches, norm], arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    (nest,) = [loop.nest for loop in loops_of("Minimum")]
    assert (nest.rows, nest.columns) == ((), (42,))
