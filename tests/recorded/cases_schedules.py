"""Learning-rate schedules, moving averages and clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Cases, run

Schedule = Callable[[Any, Any], Any]

GLOBAL_STEPS = [0, 1, 3, 5, 9, 10, 11, 20, 25, 37, 100]

SCHEDULES: dict[str, Schedule] = {
    "exponential_decay": lambda tf, step: tf.train.exponential_decay(0.1, step, 10, 0.96),
    "exponential_decay_staircase": lambda tf, step: tf.train.exponential_decay(
        0.1, step, 10, 0.5, staircase=True
    ),
    "natural_exp_decay": lambda tf, step: tf.train.natural_exp_decay(0.1, step, 10, 0.5),
    "natural_exp_decay_staircase": lambda tf, step: tf.train.natural_exp_decay(
        0.1, step, 10, 0.5, staircase=True
    ),
    "inverse_time_decay": lambda tf, step: tf.train.inverse_time_decay(0.1, step, 10, 0.5),
    "inverse_time_decay_staircase": lambda tf, step: tf.train.inverse_time_decay(
        0.1, step, 10, 0.5, staircase=True
    ),
    "polynomial_decay": lambda tf, step: tf.train.polynomial_decay(0.1, step, 20),
    "polynomial_decay_power": lambda tf, step: tf.train.polynomial_decay(0.1, step, 20, 0.01, power=0.5),
    "polynomial_decay_cycle": lambda tf, step: tf.train.polynomial_decay(
        0.1, step, 10, 0.01, power=2.0, cycle=True
    ),
    "piecewise_constant": lambda tf, step: tf.train.piecewise_constant(
        step, [3, 10, 20], [1.0, 0.5, 0.25, 0.125]
    ),
    "piecewise_constant_decay": lambda tf, step: tf.train.piecewise_constant_decay(step, [10], [3, 7]),
    "cosine_decay": lambda tf, step: tf.train.cosine_decay(0.1, step, 25),
    "cosine_decay_alpha": lambda tf, step: tf.train.cosine_decay(0.1, step, 25, alpha=0.2),
    "cosine_decay_restarts": lambda tf, step: tf.train.cosine_decay_restarts(0.1, step, 10),
    "cosine_decay_restarts_all": lambda tf, step: tf.train.cosine_decay_restarts(
        0.1, step, 10, t_mul=1.5, m_mul=0.8, alpha=0.1
    ),
    "cosine_decay_restarts_equal": lambda tf, step: tf.train.cosine_decay_restarts(
        0.1, step, 10, t_mul=1.0, m_mul=0.5
    ),
    "linear_cosine_decay": lambda tf, step: tf.train.linear_cosine_decay(0.1, step, 25),
    "linear_cosine_decay_all": lambda tf, step: tf.train.linear_cosine_decay(
        0.1, step, 25, num_periods=2.0, alpha=0.1, beta=0.01
    ),
}


def schedule_case(tf: Any, schedule: Schedule) -> dict[str, Any]:
    """Follow a schedule over fed int64 steps, and read it once through a variable."""
    step = tf.placeholder(tf.int64, [])
    rate = schedule(tf, step)
    counter = tf.Variable(7, trainable=False, dtype=tf.int32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = [session.run(rate, {step: number}) for number in GLOBAL_STEPS]
        # Inside its scope a schedule may be composed as one likes.
        return {
            "scope": rate.op.name.split("/")[0],
            "dtype": rate.dtype.name,
            "shape": rate.get_shape().as_list(),
            "values": np.stack(values),
            "by_variable": session.run(schedule(tf, counter)),
        }


def noisy_linear_cosine_decay(tf: Any) -> dict[str, Any]:
    """Random, so only its form is recorded; without variance it is the linear cosine decay."""
    rate = tf.train.noisy_linear_cosine_decay(0.1, 5, 25)
    still = tf.train.noisy_linear_cosine_decay(0.1, 5, 25, initial_variance=0.0)
    return {"name": rate.name, "shape": rate.get_shape().as_list(), "still": run(tf, still)}


def moving_average(tf: Any, **arguments: Any) -> dict[str, Any]:
    """Track a variable and a tensor over four steps."""
    w = tf.Variable(np.array([1.0, 2.0], np.float32), name="w")
    x = tf.placeholder(tf.float32, [], name="x")
    total = tf.multiply(x, 2.0, name="total")
    average = tf.train.ExponentialMovingAverage(0.9, **arguments)
    update = average.apply([w, total])
    change = w.assign_add([1.0, -1.0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        shadows = [average.average(w), average.average(total)]
        first = session.run(shadows)
        values = []
        for number in (1.0, 5.0, -2.0, 0.0):
            session.run(change)
            session.run(update, {x: number})
            values.append(session.run(shadows))
        return {
            "update": [update.name, update.type],
            "shadows": [shadow.name for shadow in shadows],
            "average_names": [average.average_name(w), average.average_name(total)],
            "global_variables": [v.name for v in tf.global_variables()],
            "trainable_variables": [v.name for v in tf.trainable_variables()],
            "collection": [v.name for v in tf.moving_average_variables()],
            "restored": {name: v.op.name for name, v in sorted(average.variables_to_restore().items())},
            "untracked": average.average(tf.Variable(0.0)) is None,
            "initial": first,
            "of_variable": np.stack([v for v, _ in values]),
            "of_tensor": np.stack([t for _, t in values]),
        }


def moving_average_counted(tf: Any) -> dict[str, Any]:
    """With num_updates, the decay starts at 1 / 10 and grows: min(decay, (1 + n) / (10 + n))."""
    w = tf.Variable(0.0, name="w")
    count = tf.placeholder(tf.int32, [])
    average = tf.train.ExponentialMovingAverage(0.99, num_updates=count, name="Averages")
    update = average.apply([w])
    change = w.assign_add(1.0)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = []
        for number in (0, 1, 10, 1000):
            session.run(change)
            session.run(update, {count: number})
            values.append(session.run(average.average(w)))
        return {
            "name": average.average(w).name,
            "values": np.stack(values),
            "average_name": average.average_name(w),
        }


def moving_average_of_all(tf: Any) -> dict[str, Any]:
    """Without a list, all trainable variables are tracked, in the order they were made."""
    with tf.variable_scope("net"):
        tf.get_variable("b", [2], initializer=tf.ones_initializer())
        tf.get_variable("a", [], initializer=tf.zeros_initializer())
    tf.Variable(1.0, trainable=False, name="still")
    with tf.variable_scope("outer"):
        tf.train.ExponentialMovingAverage(0.9).apply()
    return {"global_variables": [v.name for v in tf.global_variables()]}


SPECIALS = np.array([[3.0, -4.0], [0.0, 12.0]], np.float32)


def clip_cases(tf: Any, values: list[float]) -> dict[str, Any]:
    """Clip one vector by every rule; NaN, Inf and zero are TensorFlow's."""
    x = tf.constant(values, tf.float32)
    other = tf.constant([1.0, -1.0])
    clipped, norm = tf.clip_by_global_norm([x, None, other], 2.0)
    given, _ = tf.clip_by_global_norm([x, other], 2.0, use_norm=tf.constant(4.0))
    return run(
        tf,
        {
            "value": tf.clip_by_value(x, -1.0, 2.5),
            "norm": tf.clip_by_norm(x, 2.0),
            "average_norm": tf.clip_by_average_norm(x, 0.5),
            "global": [clipped[0], clipped[2]],
            "global_norm": norm,
            "global_given": given,
            "norm_of_all": tf.global_norm([x, None, other]),
        },
    )


def clip_axes(tf: Any) -> dict[str, Any]:
    """clip_by_norm along axes, and of tensors whose limits are broadcast."""
    x = tf.constant(SPECIALS)
    return run(
        tf,
        {
            "rows": tf.clip_by_norm(x, 2.0, axes=[1]),
            "columns": tf.clip_by_norm(x, 2.0, axes=[0]),
            "all": tf.clip_by_norm(x, 2.0),
            "small": tf.clip_by_norm(x, 100.0),
            "value": tf.clip_by_value(x, [-1.0, -2.0], [1.0, 5.0]),
            "integers": tf.clip_by_value(tf.constant([1, 5, -9]), -2, 3),
        },
    )


def clip_gradients(tf: Any) -> dict[str, Any]:
    """Gradients of the clipping functions."""
    x = tf.constant(SPECIALS)
    zero = tf.zeros([2])
    weights = tf.constant([[1.0, 2.0], [-1.0, 0.5]])
    by_global_norm = tf.clip_by_global_norm([x], 2.0)[0][0]
    return run(
        tf,
        {
            "norm": tf.gradients(tf.clip_by_norm(x, 2.0) * weights, x)[0],
            "norm_small": tf.gradients(tf.clip_by_norm(x, 100.0) * weights, x)[0],
            "norm_zero": tf.gradients(tf.clip_by_norm(zero, 1.0), zero)[0],
            "average_norm": tf.gradients(tf.clip_by_average_norm(x, 0.5) * weights, x)[0],
            "global_norm": tf.gradients(by_global_norm * weights, x)[0],
            "value": tf.gradients(tf.clip_by_value(x, -4.0, 3.0) * weights, x)[0],
        },
    )


def clip_names(tf: Any) -> dict[str, Any]:
    """Names of the results."""
    x = tf.placeholder(tf.float32, [2], name="x")
    clipped, norm = tf.clip_by_global_norm([x, 2.0 * x], 1.0)
    return {
        "value": tf.clip_by_value(x, 0.0, 1.0).name,
        "norm": tf.clip_by_norm(x, 1.0).name,
        "average_norm": tf.clip_by_average_norm(x, 1.0).name,
        "global": [item.name for item in clipped],
        "global_norm": norm.name,
        "only_norm": tf.global_norm([x]).name,
    }


def clip_slices(tf: Any) -> dict[str, Any]:
    """IndexedSlices stay sparse."""
    slices = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([2, 0]), tf.constant([4, 1]))
    clipped, norm = tf.clip_by_global_norm([slices, tf.constant([12.0])], 6.5)
    by_norm = tf.clip_by_norm(slices, 2.5)
    return run(
        tf,
        {
            "values": clipped[0].values,
            "indices": clipped[0].indices,
            "dense": clipped[1],
            "norm": norm,
            "by_norm": by_norm.values,
        },
    )


CASES: Cases = {
    name: lambda tf, schedule=schedule: schedule_case(tf, schedule) for name, schedule in SCHEDULES.items()
}
CASES.update(
    {
        "noisy_linear_cosine_decay": noisy_linear_cosine_decay,
        "moving_average": lambda tf: moving_average(tf),
        "moving_average_zero_debias": lambda tf: moving_average(tf, zero_debias=True),
        "moving_average_constant_count": lambda tf: moving_average(tf, num_updates=2),
        "moving_average_counted": moving_average_counted,
        "moving_average_of_all": moving_average_of_all,
        "clip": lambda tf: clip_cases(tf, [3.0, -4.0, 0.5]),
        "clip_small": lambda tf: clip_cases(tf, [0.1, -0.2]),
        "clip_zero": lambda tf: clip_cases(tf, [0.0, 0.0]),
        "clip_infinite": lambda tf: clip_cases(tf, [float("inf"), 1.0]),
        "clip_nan": lambda tf: clip_cases(tf, [float("nan"), 1.0]),
        "clip_empty": lambda tf: clip_cases(tf, []),
        "clip_axes": clip_axes,
        "clip_gradients": clip_gradients,
        "clip_names": clip_names,
        "clip_slices": clip_slices,
    }
)
