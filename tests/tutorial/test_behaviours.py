"""Tutorial behaviour and strict behaviour differ in two things, and in nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tahr as tf
from tahr.core import scopes


@pytest.fixture
def strict() -> Iterator[None]:
    """Strict behaviour for one test."""
    scopes.set_strict(True)
    yield
    scopes.set_strict(False)


def test_tutorial_behaviour_is_the_default() -> None:
    assert not scopes.is_strict()


# ------------------------------------------------------------ the default graph


def test_a_bare_as_default_replaces_the_base_graph() -> None:
    before = tf.get_default_graph()
    graph = tf.Graph()
    graph.as_default()
    assert tf.get_default_graph() is graph is not before
    assert tf.placeholder().graph is graph
    assert tf.Session().graph is graph


def test_a_bare_as_default_pushes_nothing() -> None:
    tf.Graph().as_default()
    tf.Graph().as_default()
    tf.reset_default_graph()  # would raise inside a `with graph.as_default():`
    assert tf.get_default_graph().get_operations() == []


@pytest.mark.usefixtures("strict")
def test_a_bare_as_default_does_nothing_in_strict_behaviour() -> None:
    before = tf.get_default_graph()
    tf.Graph().as_default()
    assert tf.get_default_graph() is before


@pytest.mark.parametrize("is_strict", [False, True])
def test_as_a_context_manager_it_works_the_same_in_both(is_strict: bool) -> None:
    before = tf.get_default_graph()
    scopes.set_strict(is_strict)
    try:
        outer, inner = tf.Graph(), tf.Graph()
        with outer.as_default() as entered:
            assert tf.get_default_graph() is outer is entered
            with inner.as_default():
                assert tf.get_default_graph() is inner
            assert tf.get_default_graph() is outer
            with pytest.raises(AssertionError, match="nested graphs"):
                tf.reset_default_graph()
        assert tf.get_default_graph() is before
    finally:
        scopes.set_strict(False)


def test_inside_a_context_a_bare_as_default_does_nothing() -> None:
    base = tf.get_default_graph()
    with tf.Graph().as_default() as graph:
        tf.Graph().as_default()
        assert tf.get_default_graph() is graph
    assert tf.get_default_graph() is base


# ------------------------------------------------------------ variables


@pytest.mark.parametrize(
    "value", [2, 2.5, True, [1, 2], [[1.0], [2.0]], np.arange(3), np.float32(7)], ids=repr
)
def test_a_variable_made_from_a_value_takes_it_when_first_needed(value) -> None:
    variable = tf.Variable(value)
    np.testing.assert_array_equal(tf.Session().run(variable), value)


def test_an_update_starts_from_the_lazy_value() -> None:
    variable = tf.Variable(10.0)
    session = tf.Session()
    assert session.run(tf.assign_add(variable, 1.0)) == 11
    assert session.run(variable) == 11
    assert tf.Session().run(variable) == 10


def test_the_callers_array_is_not_changed_by_updates() -> None:
    value = np.zeros(3)
    variable = tf.Variable(value)
    session = tf.Session()
    session.run(tf.assign_add(variable, np.ones(3)))
    assert value.tolist() == [0, 0, 0]
    value[:] = 7
    assert tf.Session().run(variable).tolist() == [0, 0, 0]


def test_running_the_initializer_starts_again() -> None:
    variable = tf.Variable(1.0)
    add = tf.assign_add(variable, 1.0)
    session = tf.Session()
    session.run([add])
    session.run(tf.global_variables_initializer())
    assert session.run(variable) == 1


def test_an_optimizers_slots_are_lazy_too() -> None:
    variable = tf.Variable([1.0, 2.0])
    step = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(tf.square(variable)))
    session = tf.Session()
    session.run(step)
    np.testing.assert_allclose(session.run(variable), [0.9, 1.9], rtol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: tf.constant(1.0), lambda: tf.random_normal([2]), lambda: lambda: 1.0]
)
def test_a_variable_made_from_a_tensor_or_a_function_must_be_initialized(make) -> None:
    variable = tf.Variable(make())
    with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value"):
        tf.Session().run(variable)


@pytest.mark.usefixtures("strict")
def test_every_variable_must_be_initialized_in_strict_behaviour() -> None:
    variable = tf.Variable(1.0)
    session = tf.Session()
    with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value"):
        session.run(variable)
    with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value"):
        session.run(tf.assign_add(variable, 1.0))
    session.run(tf.global_variables_initializer())
    assert session.run(variable) == 1


def test_questions_about_initialization_are_answered_as_if_nothing_were_lazy() -> None:
    read, unread = tf.Variable(1.0, name="read"), tf.Variable(2.0, name="unread")
    is_initialized = [tf.is_variable_initialized(read), tf.is_variable_initialized(unread)]
    uninitialized = tf.report_uninitialized_variables()
    session = tf.Session()
    assert session.run(is_initialized) == [False, False]
    assert session.run(uninitialized).tolist() == [b"read", b"unread"]
    session.run(read)  # takes its value for this read, but nobody has initialized it
    assert session.run(is_initialized) == [False, False]
    session.run(read.initializer)
    assert session.run(is_initialized) == [True, False]
    assert session.run(uninitialized).tolist() == [b"unread"]
    session.run(tf.assign(unread, 5.0))
    assert session.run(is_initialized) == [True, True]
