"""The global step, and what schedules and clipping refuse."""

from __future__ import annotations

from typing import Any

import pytest

import tahr as tf


def test_there_is_one_global_step() -> None:
    assert tf.train.get_global_step() is None
    step = tf.train.create_global_step()
    assert tf.train.get_or_create_global_step() is step
    with pytest.raises(ValueError, match='"global_step" already exists'):
        tf.train.create_global_step()


def test_global_step_of_another_graph() -> None:
    graph = tf.Graph()
    step = tf.train.get_or_create_global_step(graph)
    assert step.graph is graph
    assert tf.train.get_global_step() is None
    assert tf.train.get_global_step(graph) is step


def test_global_step_is_made_outside_of_scopes() -> None:
    with tf.name_scope("scope"):
        assert tf.train.create_global_step().name == "global_step:0"


def test_variable_found_by_its_name() -> None:
    step = tf.Variable(5, name="global_step", trainable=False)
    found = tf.train.get_global_step()
    with tf.Session() as session:
        session.run(step.initializer)
        assert tf.train.global_step(session, found) == 5


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        (3, "must be a Variable or Tensor"),
        (lambda: tf.constant(1.0), "does not have integer type"),
        (lambda: tf.constant([1, 2]), "is not scalar"),
    ],
)
def test_what_is_no_global_step(value: Any, phrase: str) -> None:
    with pytest.raises(TypeError, match=phrase):
        tf.train.assert_global_step(value() if callable(value) else value)


def test_schedules_need_a_step() -> None:
    for schedule in (tf.train.exponential_decay, tf.train.polynomial_decay, tf.train.inverse_time_decay):
        with pytest.raises(ValueError, match="global_step is required for"):
            schedule(0.1, None, 10, 0.5)


def test_pieces_that_do_not_fit() -> None:
    step = tf.constant(3)
    with pytest.raises(ValueError, match="should be 1 less than the length of values"):
        tf.train.piecewise_constant(step, [1, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="must have the same dtype"):
        tf.train.piecewise_constant(step, [1], [0.1, 2])


def test_clipping_needs_a_list() -> None:
    with pytest.raises(TypeError, match="t_list should be a sequence"):
        tf.clip_by_global_norm("abc", 1.0)
    assert tf.global_norm([None]) is None
    assert tf.clip_by_global_norm([None], 1.0) == ([None], None)


def test_clipping_keeps_the_shape() -> None:
    with pytest.raises(ValueError, match="incompatible"):
        tf.clip_by_norm(tf.ones([2]), tf.ones([3, 2]))
