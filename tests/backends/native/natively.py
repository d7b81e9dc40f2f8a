"""Runs fetches on the native backend, and says what of them was left to NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

import tahr as tf
from tahr.backends.native import execute
from tahr.backends.native.plan import HostStep
from tahr.core.opdef import OPS, Array
from tests.ops import checks
from tests.ops.samples import Sample


def random(*shape: int) -> Array:
    """Normal numbers, the same ones for the same shape."""
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def by_numpy(fetches: Any, feeds: Any) -> Any:
    """What the reference backend computes."""
    with tf.Session(backend="numpy") as session:
        return session.run(fetches, feeds)


def run(fetches: Any, feeds: Mapping[Any, Any], threads: int = 0, runs: int = 1) -> tuple[Any, list[str]]:
    """The results of the last of some runs, and the op types that NumPy computed."""
    execute._records.clear()
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Session(backend="native", tier="compiled", config=config) as session:
        for _ in range(runs - 1):
            session.run(fetches, feeds)
        results = session.run(fetches, feeds)
    return results, left_to_numpy()


def is_as_numpy(fetches: Any, *feeds: Mapping[Any, Any], hosts: Sequence[str] = ()) -> None:
    """Asserts that results are NumPy's, that their bits depend on no threads, and what is left to NumPy.

    Args:
        feeds: several in one session, one after the other.
        hosts: the op types that NumPy computes.
    """
    with tf.Session(backend="numpy") as session:
        expected = [session.run(fetches, each) for each in feeds]
    found: list[list[Any]] = []
    for threads in (1, 2, 4):
        execute._records.clear()
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Session(backend="native", tier="compiled", config=config) as session:
            for each in feeds:
                session.run(fetches, each)
            found.append([session.run(fetches, each) for each in feeds])
        assert set(left_to_numpy()) - {"nothing in it is native"} == set(hosts)
    for *ours, numpy in zip(*found, expected):
        for *a, b in zip(*ours, numpy):
            assert all(same(a[0], other) for other in a)
            assert a[0].shape == b.shape
            np.testing.assert_allclose(a[0], b, rtol=1e-9, atol=1e-9)


def is_as_numpy_somehow(fetches: Any, feed: Mapping[Any, Any]) -> None:
    """Asserts that results are NumPy's, whatever is left to it."""
    found, _ = run(fetches, feed, runs=2)
    for a, b in zip(found, by_numpy(fetches, feed), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def left_to_numpy() -> list[str]:
    """The op types that NumPy computes in the plans there are, or why it computes a whole plan."""
    records = list(execute._records.values())
    hosts = [r.reason for r in records if r.native is None or r.reason]
    for record in records:
        items = [] if record.native is None else record.native.items
        hosts += [item.node.opdef.name for item in items if isinstance(item, HostStep)]
    return hosts


def same(a: Array, b: Array) -> bool:
    """Whether two arrays have the same dtype, shape and bits, except for the bits of NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "biuO":
        return bool((a == b).all())
    nan = np.isnan(a.astype(np.float64))
    kind = f"u{a.dtype.itemsize}"
    equal = np.ascontiguousarray(a).view(kind) == np.ascontiguousarray(b).view(kind)
    return bool((equal | nan).all()) and bool((nan == np.isnan(b.astype(np.float64))).all())


def op_of_sample(
    sample: Sample, dtype: str | None, data: Sequence[int], hides_sizes: bool = False
) -> tuple[list[Any], dict[Any, Array]]:
    """The outputs of an op on a sample, and feeds.

    Args:
        data: the inputs that are fed; others are constants.
        hides_sizes: whether the first dimension of what is fed is not known before the run.
    """
    case = checks.make_case(OPS[sample.op], sample, dtype)
    feeds: dict[Any, Array] = {}

    def given(i: int, array: Array) -> Any:
        if i not in data:
            return tf.constant(array)
        shape = [None, *array.shape[1:]] if hides_sizes and array.ndim else array.shape
        fed = tf.placeholder(tf.as_dtype(array.dtype), shape)
        feeds[fed] = array
        return fed

    numbers = iter(range(len(list(chain(*(g if isinstance(g, list) else [g] for g in case.grouped))))))
    inputs = [
        [given(next(numbers), a) for a in g] if isinstance(g, list) else given(next(numbers), g)
        for g in case.grouped
    ]
    made = case.opdef(*inputs, **case.attrs)
    return list(made) if isinstance(made, (list, tuple)) else [made], feeds
