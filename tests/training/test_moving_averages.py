"""Moving averages: order within a run, starts, and the weighted average; formulas are in tests/recorded."""

from __future__ import annotations

import numpy as np
import pytest

import tahr as tf
from tahr.training import moving_averages


def test_average_sees_the_value_after_the_update() -> None:
    w = tf.Variable(0.0)
    average = tf.train.ExponentialMovingAverage(0.75)
    with tf.control_dependencies([w.assign_add(4.0)]):
        update = average.apply([w])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(update)
        assert session.run([w, average.average(w)]) == [4.0, 1.0]


def test_average_starts_at_a_random_initial_value() -> None:
    w = tf.Variable(tf.random_normal([3]))
    average = tf.train.ExponentialMovingAverage(0.75)
    average.apply([w])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(*session.run([w, average.average(w)]))


def test_average_of_a_resource_variable() -> None:
    w = tf.Variable(2.0, use_resource=True)
    average = tf.train.ExponentialMovingAverage(0.5)
    with tf.control_dependencies([w.assign(4.0)]):
        update = average.apply()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(update)
        assert session.run(average.average(w)) == 3.0


def test_integers_have_no_average() -> None:
    with pytest.raises(TypeError, match="The variables must be half, float, or double"):
        tf.train.ExponentialMovingAverage(0.5).apply([tf.Variable(1)])


def test_name_of_an_average_to_come() -> None:
    w = tf.Variable(1.0, name="w")
    average = tf.train.ExponentialMovingAverage(0.5, name="mean")
    assert average.average_name(w) == "w/mean"
    assert average.average(w) is None
    assert average.name == "mean"


def test_assign_moving_average_corrects_for_its_start() -> None:
    w = tf.Variable(0.0, trainable=False, name="w")
    value = tf.placeholder(tf.float32, [])
    update = moving_averages.assign_moving_average(w, value, 0.75)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(update, {value: 8.0}) == pytest.approx(8.0)
        # The weights of the two values are 0.25 * 0.75 and 0.25, divided by their sum.
        assert session.run(update, {value: 1.0}) == pytest.approx((0.1875 * 8.0 + 0.25 * 1.0) / 0.4375)
