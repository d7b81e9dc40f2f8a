"""Gradients of weights in loops without a bound: products of several iterations are added at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tests.backends.native import natively
from tests.backends.native.hostile import hostile
from tests.backends.native.loop_programs import repeated, with_gradients

F = tf.float64
RNG = np.random.RandomState(5)

LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 70]


class _Net:
    """A recurrent net that runs for as long as is fed, with the gradients of its weights."""

    def __init__(self, rows: int | None, m: int = 48, dtype: Any = F) -> None:
        tf.reset_default_graph()
        self.n = tf.placeholder(tf.int32, [])
        self.x = tf.placeholder(dtype, [rows, m])
        self.w = tf.placeholder(dtype, [m, m])
        self.dtype, self.m = dtype, m
        self.y = self.repeated(self.n)
        self.fetches = with_gradients(self.y, self.x, self.w)

    def step(self, _: Any, h: Any) -> Any:
        """One step, which keeps what is fed in play."""
        return tf.tanh(tf.matmul(h, self.w)) + tf.cast(0.1, self.dtype) * self.x

    def repeated(self, count: Any) -> Any:
        """So many steps."""
        return repeated(count, self.step, self.x)

    def feeds(self, count: int, rows: int) -> dict[Any, Any]:
        """What is fed."""
        spread = 0.5 / np.sqrt(self.m)
        return {
            self.n: count,
            self.x: RNG.randn(rows, self.m),
            self.w: spread * RNG.randn(self.m, self.m),
        }


def _adds_at_once() -> bool:
    """Whether a plan adds products of several iterations at once."""
    natives = [r.native for r in execute._records.values() if r.native is not None]
    calls = [call for plan in natives for segment in plan.segments for call in segment.calls]
    return any(kernel.title == "how long a list is" for call in calls for kernel in call.kernels)


@pytest.mark.parametrize("rows", [1, 3, 5, 12])
def test_all_lengths(rows: int) -> None:
    net = _Net(rows)
    natively.is_as_numpy(net.fetches, *(net.feeds(count, rows) for count in LENGTHS))
    assert _adds_at_once()


def test_batches_that_are_not_known() -> None:
    """As many iterations at once as make up enough rows: of large batches only one."""
    net = _Net(None, m=128)
    feeds = [net.feeds(count, rows) for rows in (4, 1, 0, 30, 64, 100, 200, 2) for count in (7, 0, 35)]
    natively.is_as_numpy(net.fetches, *feeds)
    assert _adds_at_once()


@pytest.mark.parametrize(
    ("rows", "m", "pays"),
    [(1, 48, True), (1, 40, False), (40, 48, False), (None, 48, False), (100, 600, False)],
)
def test_where_it_pays(rows: int | None, m: int, pays: bool) -> None:
    net = _Net(rows, m)
    natively.run(net.fetches, net.feeds(2, rows or 3))
    assert _adds_at_once() is pays


@pytest.mark.parametrize("count", [0, 6, 33, 50])
def test_nothing_is_written_outside(count: int) -> None:
    net = _Net(3)
    feeds = net.feeds(count, 3)
    expected = natively.by_numpy(net.fetches, feeds)
    with hostile(), tf.Session(backend="native", tier="compiled") as session:
        execute._records.clear()
        for _ in range(2):
            for found, wanted in zip(session.run(net.fetches, feeds), expected):
                np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("counts", [[2, 0, 40, 1], [0, 0], [], [32, 31, 33]])
def test_loops_in_loops(counts: list[int]) -> None:
    """An inner loop adds up what is the sum of one outer iteration."""
    net = _Net(2)
    n = tf.placeholder(tf.int32, [None])
    y = repeated(tf.size(n), lambda i, h: 0.5 * repeated(n[i], net.step, h), net.x)
    feeds = {k: v for k, v in net.feeds(0, 2).items() if k is not net.n}
    natively.is_as_numpy(with_gradients(y, net.x, net.w), {**feeds, n: counts})
    assert _adds_at_once()


def test_factors_that_several_products_share() -> None:
    """Two weights have the same gradient as the right factor, in one loop, of other widths."""
    net = _Net(2)
    v = tf.placeholder(F, [96, 48])

    def step(_: Any, h: Any) -> Any:
        return tf.tanh(tf.matmul(h, net.w) + tf.matmul(tf.concat([h, net.x], 1), v)) + 0.1 * net.x

    y = repeated(net.n, step, net.x)
    feeds = [{**net.feeds(count, 2), v: 0.05 * RNG.randn(96, 48)} for count in (40, 0, 5)]
    natively.is_as_numpy(with_gradients(y, net.x, net.w, v), *feeds)
    assert _adds_at_once()


def test_gradients_of_gradients() -> None:
    net = _Net(2)
    squared = tf.reduce_sum(tf.square(tf.gradients(tf.reduce_sum(net.y**2), net.w)[0]))
    natively.is_as_numpy([squared, *tf.gradients(squared, [net.x, net.w])], net.feeds(35, 2), net.feeds(3, 2))


def test_a_loop_that_fails_leaves_nothing_behind() -> None:
    """The factors of a run that failed are not added in the next one."""
    net = _Net(2)

    def step(i: Any, h: Any) -> Any:
        with tf.control_dependencies([tf.Assert(tf.reduce_all(h < 100), ["at", i])]):
            return net.step(i, h)

    fetches = with_gradients(repeated(net.n, step, net.x), net.x, net.w)
    with tf.Session(backend="numpy") as reference, tf.Session(backend="native", tier="compiled") as session:
        for count in (5, 50, 3, 37):
            feeds = net.feeds(count, 2)
            if count == 50:
                with pytest.raises(tf.errors.InvalidArgumentError, match="at"):
                    session.run(fetches, {**feeds, net.x: 1000 + feeds[net.x]})
            for found, expected in zip(session.run(fetches, feeds), reference.run(fetches, feeds)):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_half_types_are_added_one_by_one() -> None:
    net = _Net(2, dtype=tf.bfloat16)
    (_, _, found), left = natively.run(net.fetches, net.feeds(9, 2), runs=2)
    assert not left and found.dtype == tf.bfloat16.as_numpy_dtype and not _adds_at_once()


def test_nan_and_infinity_stay_where_they_are() -> None:
    """Zeros that fill up a product are not multiplied by what lies in factors of another run."""
    net = _Net(2)
    with tf.Session(backend="native", tier="compiled") as session:
        bad = net.feeds(31, 2)
        bad[net.x][0, 0] = np.inf
        assert not np.isfinite(session.run(net.fetches, bad)[2]).all()
        for count in (1, 3, 30):
            feeds = net.feeds(count, 2)
            expected = natively.by_numpy(net.fetches, feeds)
            for found, wanted in zip(session.run(net.fetches, feeds), expected):
                np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_memory_does_not_grow_with_factors() -> None:
    net = _Net(2)
    fetches = tf.gradients(repeated(net.n, lambda _, h: h + tf.matmul(net.x, net.w), net.x), net.w)
    with tf.Session(backend="native", tier="compiled") as session:
        feeds = net.feeds(2000, 2)
        session.run(fetches, feeds)
        (report,) = session.explain(fetches, feeds).reports
        assert report.arena + report.growing < 2000 * 48 * 8 * 2
