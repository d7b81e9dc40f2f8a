"""What the recorded cases do not cover: resource variables, subclasses, constraints, gates, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.training import training_util
from tahr.training.optimizer import Optimizer

START = np.array([[1.0, -2.0], [0.5, 3.0], [0.0, -1.0]], np.float32)

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "gradient descent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.3),
    "adagrad da": lambda: tf.train.AdagradDAOptimizer(
        0.3, training_util.get_or_create_global_step(), 0.1, 0.05, 0.1
    ),
    "adadelta": lambda: tf.train.AdadeltaOptimizer(1.0, 0.9, 1e-3),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.05, 0.8, 0.5, 1e-4),
    "rmsprop centered": lambda: tf.train.RMSPropOptimizer(0.05, 0.8, 0.5, centered=True),
    "adam": lambda: tf.train.AdamOptimizer(0.1),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.5, l1_regularization_strength=0.1),
    "ftrl with shrinkage": lambda: tf.train.FtrlOptimizer(0.5, l2_shrinkage_regularization_strength=0.2),
    "proximal gradient descent": lambda: tf.train.ProximalGradientDescentOptimizer(0.1, 0.1, 0.2),
    "proximal adagrad": lambda: tf.train.ProximalAdagradOptimizer(0.3, 0.1, 0.1),
}

each_optimizer = pytest.mark.parametrize("label", OPTIMIZERS)


def train(fetch: Any, step: Any, times: int = 4) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(times):
            session.run(step)
        return session.run(fetch)


def follow(label: str, use_resource: bool, sparse: bool, **options: Any) -> list[np.ndarray]:
    """The variable, the optimizer's variables and the step after some steps."""
    with tf.Graph().as_default():
        count = tf.train.get_or_create_global_step()
        w = tf.Variable(START, name="w", use_resource=use_resource, **options)
        rows = tf.gather(w, tf.constant([2, 0, 2])) if sparse else w
        optimizer = OPTIMIZERS[label]()
        step = optimizer.minimize(tf.reduce_sum(tf.square(rows - 1.0)), global_step=count)
        return train([w, *optimizer.variables(), count], step)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@each_optimizer
def test_resource_variables_take_the_same_steps(label: str, sparse: bool) -> None:
    for got, expected in zip(follow(label, True, sparse), follow(label, False, sparse), strict=True):
        np.testing.assert_allclose(got, expected, 1e-6)


def test_adagrad_da() -> None:
    # Recorded from TensorFlow 2.21, compat.v1.
    dense = [[0.4639679, 0.4451613], [0.536954, 0.1304903], [0.5364439, 0.4857309]]
    sparse = [[0.4639679, 0.4451613], [0.5, 3.0], [0.5575102, 0.497945]]
    np.testing.assert_allclose(follow("adagrad da", False, False)[0], dense, 1e-6)
    np.testing.assert_allclose(follow("adagrad da", False, True)[0], sparse, 1e-6)


@pytest.mark.parametrize("use_resource", [False, True], ids=["reference", "resource"])
@each_optimizer
def test_constraint_is_applied_to_the_new_value(label: str, use_resource: bool) -> None:
    w = follow(label, use_resource, False, constraint=lambda x: tf.clip_by_value(x, -0.25, 0.25))[0]
    assert np.all(np.abs(w) <= 0.25)
    assert np.any(np.abs(w) == 0.25)


def test_no_constraint_on_rows() -> None:
    w = tf.Variable(START, constraint=tf.identity)
    with pytest.raises(RuntimeError, match="Cannot use a constraint function on a sparse variable"):
        tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(tf.gather(w, [0])))


@each_optimizer
def test_variable_of_unknown_shape(label: str) -> None:
    value = tf.placeholder_with_default(np.ones(3, np.float32), [None])
    w = tf.Variable(value, validate_shape=False)
    optimizer = OPTIMIZERS[label]()
    step = optimizer.minimize(tf.reduce_sum(tf.square(w - 2.0)))
    found = train([w, *(optimizer.get_slot(w, name) for name in optimizer.get_slot_names())], step)
    assert {a.shape for a in found} == {(3,)}
    assert np.all(found[0] != 1)


@each_optimizer
def test_variables_made_from_arrays_need_no_initializer(label: str) -> None:
    w = tf.Variable(START)
    count = tf.train.get_or_create_global_step()
    step = OPTIMIZERS[label]().minimize(tf.reduce_sum(tf.square(w - 1.0)), global_step=count)
    with tf.Session() as session:
        session.run(step)
        assert session.run(count) == 1
        assert np.any(session.run(w) != START)


@pytest.mark.parametrize("gate", [Optimizer.GATE_NONE, Optimizer.GATE_OP, Optimizer.GATE_GRAPH])
def test_gates_compute_the_same(gate: int) -> None:
    w, table = tf.Variable(2.0), tf.Variable(START)
    loss = tf.square(w) + tf.reduce_sum(tf.gather(table, [1]))
    step = tf.train.GradientDescentOptimizer(0.5).minimize(loss, gate_gradients=gate)
    found = train([w, table], step, times=1)
    assert found[0] == 0.0
    np.testing.assert_array_equal(found[1], START - [[0, 0], [0.5, 0.5], [0, 0]])


def test_callable_hyperparameters() -> None:
    w = tf.Variable(2.0)
    step = tf.train.MomentumOptimizer(lambda: 0.25, momentum=lambda: 0.0).minimize(tf.square(w))
    assert train(w, step, times=1) == 1.0


def test_update_sees_the_values_before_the_run() -> None:
    a, b = tf.Variable(2.0), tf.Variable(3.0)
    step = tf.train.GradientDescentOptimizer(1.0).minimize(a * b)
    assert train([a, b], step, times=1) == [-1.0, 1.0]


def test_train_op_is_collected() -> None:
    step = tf.train.GradientDescentOptimizer(1.0).minimize(tf.square(tf.Variable(1.0)))
    assert tf.get_collection(tf.GraphKeys.TRAIN_OP) == [step]


class SignDescent(Optimizer):
    """A user's own optimizer: a slot counts the steps, the sign of the gradient makes them."""

    def __init__(self, rate: float) -> None:
        super().__init__(use_locking=False, name="SignDescent")
        self.rate = rate
        self.finished: list[str] = []

    def _create_slots(self, var_list: Any) -> None:
        for var in var_list:
            self._zeros_slot(var, "count", self._name)

    def _prepare(self) -> None:
        self.rate_tensor = tf.convert_to_tensor(self.rate, name="rate")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        count = self.get_slot(var, "count").assign_add(tf.ones_like(grad))
        return tf.group(var.assign_sub(self.rate_tensor * tf.sign(grad)), count)

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        return tf.scatter_sub(var, grad.indices, self.rate_tensor * tf.sign(grad.values)).op

    def _finish(self, update_ops: Any, name_scope: str) -> Any:
        self.finished = [op.name for op in update_ops]
        return super()._finish(update_ops, name_scope)


def test_subclass() -> None:
    w, table = tf.Variable([4.0, -4.0], name="w"), tf.Variable(START, name="table")
    optimizer = SignDescent(0.5)
    # Row 1 is used twice with opposite signs: its gradient is summed before the sign is taken.
    rows = tf.gather(table, [1, 1, 2])
    loss = tf.reduce_sum(tf.square(w)) + tf.reduce_sum(rows * tf.constant([[3.0], [-1.0], [-2.0]]))
    step = optimizer.minimize(loss)
    assert (step.name, step.type) == ("SignDescent", "NoOp")
    assert optimizer.finished == ["SignDescent/update_w/group_deps", "SignDescent/update_table/ScatterSub"]
    assert [v.name for v in optimizer.variables()] == ["table/SignDescent:0", "w/SignDescent:0"]
    found = train([w, table, optimizer.get_slot(w, "count")], step, times=2)
    np.testing.assert_array_equal(found[0], [3, -3])
    np.testing.assert_array_equal(found[1], START + np.array([[0], [-1], [1]]))
    np.testing.assert_array_equal(found[2], [2, 2])


def test_one_optimizer_applied_twice_shares_its_slots() -> None:
    w = tf.Variable(1.0, name="w")
    optimizer = tf.train.AdamOptimizer()
    optimizer.minimize(tf.square(w))
    before = len(tf.global_variables())
    optimizer.minimize(w)
    assert len(tf.global_variables()) == before
    assert optimizer.get_slot(w, "m").name == "w/Adam:0"
    assert optimizer.get_slot(w, "nothing") is None


def test_errors() -> None:
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    w, other = tf.Variable(1.0), tf.Variable(1.0)
    with pytest.raises(TypeError, match="must be a tensor, got the function"):
        optimizer.minimize(lambda: w * 2.0)
    with pytest.raises(ValueError, match="gate_gradients must be one of"):
        optimizer.minimize(w * 2.0, gate_gradients=3)
    with pytest.raises(ValueError, match=r"Invalid type tf\.int32"):
        optimizer.minimize(tf.constant(1))
    with pytest.raises(ValueError, match="No gradients provided for any variable, check your graph for ops"):
        optimizer.minimize(w * 2.0, var_list=[other])
    with pytest.raises(ValueError, match="No gradients provided for any variable: "):
        optimizer.apply_gradients([(None, w)])
    with pytest.raises(TypeError, match="Gradient must be convertible to a Tensor or IndexedSlices, or None"):
        optimizer.apply_gradients([(object(), w)])
    with pytest.raises(NotImplementedError, match="Trying to update a Tensor"):
        optimizer.apply_gradients([(tf.constant(1.0), w * 2.0)])
    with pytest.raises(NotImplementedError, match="Trying to optimize unsupported type"):
        optimizer.minimize(w * 2.0, var_list=[3])


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (lambda: tf.train.AdagradOptimizer(0.1, 0.0), "initial_accumulator_value must be positive: 0.0"),
        (lambda: tf.train.ProximalAdagradOptimizer(0.1, -1.0), "initial_accumulator_value must be positive"),
        (lambda: tf.train.FtrlOptimizer(0.1, learning_rate_power=1.0), "needs to be negative or zero"),
        (
            lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=-1.0),
            "needs to be positive or zero",
        ),
        (
            lambda: tf.train.AdagradDAOptimizer(0.1, None, 0.0),
            "initial_gradient_squared_accumulator_value must be positive",
        ),
    ],
)
def test_hyperparameters_of_the_wrong_sign(make: Callable[[], Any], phrase: str) -> None:
    with pytest.raises(ValueError, match=phrase):
        make()
