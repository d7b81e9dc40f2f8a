"""A plan that is written out as a Python function does what the loop over its steps does."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends import numpy as backend
from tahr.plan.straight import Straight


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Straight]:
    """The plans that the test writes out: all that run."""
    made: list[Straight] = []

    class Watched(Straight):
        def __init__(self, plan):
            super().__init__(plan)
            made.append(self)

    monkeypatch.setattr(backend, "Straight", Watched)
    monkeypatch.setattr(backend, "STRAIGHT_FROM", 2)
    return made


def twice(fetches, feeds=None):
    """The results of the loop and, for the second run, of the function."""
    with tf.Session(backend="numpy") as session:
        return [session.run(fetches, feeds) for _ in range(2)]


def test_results_are_the_same(plans: list[Straight]):
    x = tf.placeholder(tf.float32, [None, 4])
    a, b = tf.split(x, 2, axis=1)
    top = tf.nn.top_k(a * 2.0 + b, 1)
    fetches = [tf.matmul(a, b, transpose_b=True), tf.exp(a) + 1.0, top.values, top.indices, tf.shape(x)]
    loop, straight = twice(fetches, {x: np.arange(12, dtype=np.float32).reshape(3, 4)})
    for one, other in zip(loop, straight):
        np.testing.assert_array_equal(one, other)
    assert "transpose_b=" in plans[-1].source


def test_variables_change_in_the_same_order(plans: list[Straight]):
    v = tf.Variable(np.ones(3, np.float32))
    before = v.read_value()
    with tf.control_dependencies([before]):
        added = tf.assign_add(v, np.full(3, 2.0, np.float32))
    with tf.Session(backend="numpy") as session:
        found = [session.run([before, added]) for _ in range(4)]
    assert [one[0][0] for one in found] == [1.0, 3.0, 5.0, 7.0]
    assert [other[0] for _, other in found] == [3.0, 5.0, 7.0, 9.0]
    assert plans


def test_an_error_names_the_operation_and_what_it_was_given(plans: list[Straight]):
    x, at = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.int32, [])
    y = tf.gather(x * 2.0, at, name="taken")
    with tf.Session(backend="numpy") as session:
        for _ in range(3):
            assert session.run(y, {x: [1.0, 2.0], at: 1}) == 4.0
        with pytest.raises(tf.errors.InvalidArgumentError, match="is not in \\[0, 2\\)") as caught:
            session.run(y, {x: [1.0, 2.0], at: 5})
    assert caught.value.op.name == "taken"
    assert "test_straight.py" in str(caught.value)
    assert "[2] float32" in str(caught.value)
    assert plans


def test_arrays_go_when_nobody_needs_them(plans: list[Straight]):
    x = tf.placeholder(tf.float32, [None])
    y = tf.reduce_sum(tf.sin(x) * tf.cos(x))
    twice(y, {x: np.ones(5, np.float32)})
    assert " = None" in plans[-1].source


def test_a_fed_array_is_not_written(plans: list[Straight]):
    x = tf.placeholder(tf.float32, [None])
    array = np.arange(4, dtype=np.float32)
    loop, straight = twice((x + 1.0) * 2.0, {x: array})
    np.testing.assert_array_equal(loop, straight)
    np.testing.assert_array_equal(array, np.arange(4))
