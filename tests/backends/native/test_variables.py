"""Variables in native plans: what is written before it is read, and two names of one variable."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tahr.ops import state

ONES = np.ones(4, np.float32)


@pytest.fixture
def session():
    with tf.Session(backend="native", tier="compiled") as session:
        yield session


def test_what_an_assignment_gives_is_the_new_value(session: tf.Session):
    v = tf.Variable(tf.zeros([4]))  # not initialized: the assignment may be the first
    assigned = tf.assign(v, ONES * 3)
    np.testing.assert_array_equal(session.run(assigned), ONES * 3)
    np.testing.assert_array_equal(session.run(v), ONES * 3)


def test_an_assignment_and_an_addition_to_an_uninitialized_variable(session: tf.Session):
    v = tf.Variable(tf.zeros([4]))
    with tf.control_dependencies([tf.assign(v, ONES)]):
        added = tf.assign_add(v, ONES)
    np.testing.assert_array_equal(session.run(added), ONES * 2)


def test_an_addition_alone_needs_a_value(session: tf.Session):
    v = tf.Variable(tf.zeros([4]))
    added = tf.assign_add(v, ONES)
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized"):
        session.run(added)
    session.run(v.initializer)
    np.testing.assert_array_equal(session.run(added), ONES)


def test_a_second_session_initializes_by_the_plan_of_the_first():
    v = tf.Variable(tf.zeros([4]))
    assigned = tf.assign(v, ONES)
    for _ in range(3):
        with tf.Session(backend="native") as session:
            np.testing.assert_array_equal(session.run(assigned), ONES)


def test_two_operations_of_one_variable(session: tf.Session):
    a, b = (
        state.VariableV2(shape=(4,), dtype=tf.float32, shared_name="same", name=name) for name in ("a", "b")
    )
    session.run(state.Assign(a, tf.constant(ONES)))
    first = state.AssignAdd(b, tf.constant(ONES))
    with tf.control_dependencies([first]):
        second = state.AssignAdd(a, tf.constant(ONES * 2))
    for total in (4, 7, 10):
        np.testing.assert_array_equal(session.run(second), ONES * total)
        np.testing.assert_array_equal(session.run(tf.identity(b)), ONES * total)


def test_a_variable_that_is_being_changed_is_initialized():
    v = tf.Variable(tf.zeros([4]))
    with tf.Session() as session:
        session.run(v.initializer)
        (cell,) = session._store._cells.values()
        with cell.lock:
            array = cell.take()
            assert not cell.is_initialized  # in this thread, which has it out; others wait for the lock
            cell.give(array)
        assert cell.is_initialized


def test_plans_say_which_variables_are_overwritten(session: tf.Session):
    execute._records.clear()
    v = tf.Variable(tf.zeros([4]))
    session.run(tf.assign(v, ONES))
    (plan,) = [r.native for r in execute._records.values() if r.native is not None]
    assert [len(segment.overwritten) for segment in plan.segments] == [1]
