"""What exact sizes of a plan must fulfil, and what new sizes cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute, fitting

Shapes = tuple[tuple[int, ...], ...]


@pytest.fixture
def inferred(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ops whose shape rules are asked again for exact sizes, plan by plan."""
    found: list[str] = []

    class Watched(fitting.Fitting):
        def __init__(self, plan: Any) -> None:
            super().__init__(plan)
            found.extend(node.opdef.name for node in self._inferred)

    monkeypatch.setattr(execute, "Fitting", Watched)
    return found


def run(fetch: Any, feeds: dict[Any, Any]) -> Any:
    """What the native backend gives, or the class of its error."""
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        try:
            return session.run(fetch, feeds)
        except tf.errors.OpError as error:
            return type(error)


def placeholders(*ranks: int) -> list[Any]:
    return [tf.placeholder(tf.float32, [None] * rank) for rank in ranks]


def test_training_leaves_nothing_open(inferred: list[str]) -> None:
    x = tf.placeholder(tf.float32, [None, 4])
    w = tf.Variable(tf.ones([4, 3]))
    y = tf.nn.softmax(tf.nn.relu(tf.matmul(x, w) + tf.Variable(tf.ones([3]))))
    loss = tf.reduce_mean(tf.square(y - tf.reduce_sum(y, 1, keepdims=True)))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    run([step, loss], {x: np.ones((5, 4), np.float32)})
    assert not inferred


# An operation on placeholders, shapes for which its plan is made, and shapes of the same plan that do not fit.
OPEN: dict[str, tuple[Callable[..., Any], Shapes, Shapes]] = {
    "sum": (lambda x, y: x + y, ((3,), (3,)), ((3,), (4,))),
    "sum of slices": (lambda x, y: x[1:] + y, ((5,), (4,)), ((5,), (3,))),
    "sum with a constant": (lambda x: x[:, 2:] + np.ones(3, np.float32), ((2, 5),), ((2, 6),)),
    "product": (tf.matmul, ((2, 3), (3, 4)), ((2, 3), (5, 4))),
    "transposed product": (lambda x, y: tf.matmul(x, y, True, True), ((3, 2), (4, 3)), ((3, 2), (4, 5))),
    "batches": (tf.matmul, ((6, 2, 3), (6, 3, 4)), ((6, 2, 3), (5, 3, 4))),
    "many": (lambda x, y: tf.add_n([x, y]), ((3,), (3,)), ((3,), (4,))),
    "parts": (lambda x, y: tf.concat([x, y], 0), ((3, 2), (4, 2)), ((3, 2), (4, 5))),
}


@pytest.mark.parametrize("name", OPEN)
def test_sizes_that_do_not_fit_are_an_error(name: str) -> None:
    build, good, bad = OPEN[name]
    inputs = placeholders(*map(len, good))
    fetch = build(*inputs)
    with (
        tf.Session(backend="native", tier="compiled") as session,
        tf.Session(backend="numpy") as reference,
    ):
        for shapes in (good, bad, good):
            feeds = {x: np.ones(shape, np.float32) for x, shape in zip(inputs, shapes)}
            if shapes is bad:
                with pytest.raises(tf.errors.InvalidArgumentError):
                    session.run(fetch, feeds)
            else:
                np.testing.assert_array_equal(session.run(fetch, feeds), reference.run(fetch, feeds))


def test_equal_sizes_leave_nothing_open_and_others_do(inferred: list[str]) -> None:
    x, y = placeholders(1, 1)
    z = tf.exp(x) * y
    run(z, {x: np.ones(3), y: np.ones(3)})
    assert not inferred
    assert run(z, {x: np.ones(3), y: np.ones(4)}) is tf.errors.InvalidArgumentError
    assert inferred == ["Mul"]


@pytest.mark.parametrize("as_callable", [False, True])
def test_sizes_that_change_in_every_run_make_no_shortcuts(as_callable: bool) -> None:
    x = tf.placeholder(tf.float32, [None])
    total = tf.reduce_sum(tf.exp(x))
    made: list[Any] = []

    def counted(*args: Any) -> Any:
        made.append(args)
        return original(*args)

    original = execute.make_shortcut
    with tf.Session(backend="native", tier="compiled") as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "make_shortcut", counted)
        call = session.make_callable(total, [x]) if as_callable else lambda v: session.run(total, {x: v})
        for n in (3, 4, 5, 3, 4, 5):
            assert call(np.zeros(n, np.float32)) == n
        assert not made
        for n in (7, 7, 7, 8, 7, 9, 7):  # the shortcut for 7 is kept while others pass by
            assert call(np.zeros(n, np.float32)) == n
        assert len(made) == 1
