"""Every optimizer: five steps of dense updates, slots, names and the global step."""

from __future__ import annotations

from typing import Any

import numpy as np

from .harness import Cases

STEPS = 5

# Label -> (class in tf.train, arguments).
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gradient_descent": ("GradientDescentOptimizer", {"learning_rate": 0.1}),
    "momentum": ("MomentumOptimizer", {"learning_rate": 0.1, "momentum": 0.9}),
    "nesterov": ("MomentumOptimizer", {"learning_rate": 0.1, "momentum": 0.8, "use_nesterov": True}),
    "adagrad": ("AdagradOptimizer", {"learning_rate": 0.3}),
    "adagrad_start": ("AdagradOptimizer", {"learning_rate": 0.3, "initial_accumulator_value": 0.5}),
    "adadelta": ("AdadeltaOptimizer", {}),
    "adadelta_fast": ("AdadeltaOptimizer", {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-3}),
    "rmsprop": ("RMSPropOptimizer", {"learning_rate": 0.05}),
    "rmsprop_momentum": (
        "RMSPropOptimizer",
        {"learning_rate": 0.05, "decay": 0.8, "momentum": 0.5, "epsilon": 1e-4},
    ),
    "rmsprop_centered": (
        "RMSPropOptimizer",
        {"learning_rate": 0.05, "decay": 0.8, "momentum": 0.5, "centered": True},
    ),
    "adam": ("AdamOptimizer", {"learning_rate": 0.1}),
    "adam_betas": ("AdamOptimizer", {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 0.1}),
    "ftrl": ("FtrlOptimizer", {"learning_rate": 0.5}),
    "ftrl_regularized": (
        "FtrlOptimizer",
        {
            "learning_rate": 0.5,
            "initial_accumulator_value": 0.2,
            "l1_regularization_strength": 0.3,
            "l2_regularization_strength": 0.2,
        },
    ),
    "ftrl_shrinkage": (
        "FtrlOptimizer",
        {
            "learning_rate": 0.5,
            "learning_rate_power": -0.6,
            "l1_regularization_strength": 0.1,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.4,
        },
    ),
    "proximal_gradient_descent": (
        "ProximalGradientDescentOptimizer",
        {"learning_rate": 0.1, "l1_regularization_strength": 0.4, "l2_regularization_strength": 0.2},
    ),
    "proximal_adagrad": (
        "ProximalAdagradOptimizer",
        {"learning_rate": 0.3, "l1_regularization_strength": 0.2, "l2_regularization_strength": 0.1},
    ),
}

# TensorFlow's proximal optimizers do not convert their rates, so that float64 raises a TypeError.
DTYPES = {
    label: ("float32",) if label.startswith("proximal") else ("float32", "float64") for label in OPTIMIZERS
}


def make_optimizer(tf: Any, label: str) -> Any:
    """Build the optimizer with that label."""
    class_name, arguments = OPTIMIZERS[label]
    return getattr(tf.train, class_name)(**arguments)


def dense_loss(tf: Any, dtype: str) -> tuple[Any, Any, Any]:
    """Return a curved loss of a vector and a scalar, and these variables."""
    w = tf.Variable(np.array([1.0, -2.0, 0.0], dtype), name="w")
    b = tf.Variable(np.array(0.5, dtype), name="b")
    error = w * np.array([1.0, 0.5, 2.0], dtype) + b - np.array([0.3, 1.0, -0.7], dtype)
    return tf.reduce_sum(tf.square(error)) + tf.square(b) * tf.constant(0.25, dtype), w, b


def follow(tf: Any, train: Any, variables: list[Any], slots: dict[str, Any]) -> dict[str, Any]:
    """Run the steps; return the variables after each, and the slots after the last."""
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        trajectory = []
        for _ in range(STEPS):
            session.run(train)
            trajectory.append(session.run(variables))
        # One array per variable, with the steps along its first axis.
        steps = [np.stack(values) for values in zip(*trajectory, strict=True)]
        return {"trajectory": steps, "slots": session.run(slots)}


def slots_of(optimizer: Any, variables: list[Any]) -> dict[str, Any]:
    """Return every slot variable by its name."""
    found = [
        optimizer.get_slot(variable, name) for name in optimizer.get_slot_names() for variable in variables
    ]
    return {slot.op.name: slot for slot in found}


def dense_case(tf: Any, label: str, dtype: str) -> dict[str, Any]:
    loss, w, b = dense_loss(tf, dtype)
    step = tf.train.get_or_create_global_step()
    optimizer = make_optimizer(tf, label)
    train = optimizer.minimize(loss, global_step=step)
    return {
        "slot_names": optimizer.get_slot_names(),
        **follow(tf, train, [w, b], slots_of(optimizer, [w, b])),
    }


def names_case(tf: Any, label: str) -> dict[str, Any]:
    """Record the names of what `minimize` made, with and without a global step."""
    loss, w, b = dense_loss(tf, "float32")
    optimizer = make_optimizer(tf, label)
    before = len(tf.get_default_graph().get_operations())
    grads = optimizer.compute_gradients(loss)
    train = optimizer.apply_gradients(grads, global_step=tf.train.get_or_create_global_step())
    plain = make_optimizer(tf, label).minimize(loss)
    named = make_optimizer(tf, label).minimize(loss, name="step")
    made = tf.get_default_graph().get_operations()[before:]
    return {
        "train_ops": [(op.name, op.type) for op in (train, plain, named)],
        "update_ops": [(op.name, op.type) for op in made if op.name.startswith(f"{train.name}/update")],
        "slots": {
            name: [optimizer.get_slot(v, name).name for v in (w, b)] for name in optimizer.get_slot_names()
        },
        "global_variables": [
            (v.name, v.dtype.base_dtype.name, v.shape.as_list()) for v in tf.global_variables()
        ],
        "optimizer_variables": [v.name for v in optimizer.variables()],
        "trainable_variables": [v.name for v in tf.trainable_variables()],
        "name": optimizer.get_name(),
    }


def scoped_names(tf: Any) -> dict[str, Any]:
    """An optimizer used inside a scope puts its slots there; used outside, beside the variable."""
    with tf.variable_scope("net"):
        w = tf.get_variable("w", initializer=np.ones(2, np.float32))
        loss = tf.reduce_sum(tf.square(w), name="loss")
        inside = tf.train.AdamOptimizer().minimize(loss)
    outside = tf.train.AdamOptimizer().minimize(loss)
    with tf.name_scope("train"):
        in_name_scope = tf.train.MomentumOptimizer(0.1, 0.9, name="Mom").minimize(loss)
    return {
        "train_ops": [inside.name, outside.name, in_name_scope.name],
        "global_variables": [v.name for v in tf.global_variables()],
    }


def global_step_counts(tf: Any) -> dict[str, Any]:
    """The step is an int64 scalar outside the trainable variables, and counts the runs."""
    loss, _, _ = dense_loss(tf, "float32")
    step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, global_step=step)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = []
        for _ in range(3):
            session.run(train)
            values.append(session.run(step))
        return {
            "name": step.name,
            "values": values,
            "same": tf.train.get_global_step() is step,
            "collection": [v.name for v in tf.get_collection(tf.GraphKeys.GLOBAL_STEP)],
            "helper": tf.train.global_step(session, step),
        }


def fed_learning_rate(tf: Any) -> dict[str, Any]:
    """A learning rate may be a placeholder."""
    loss, w, _ = dense_loss(tf, "float32")
    rate = tf.placeholder(tf.float32, [])
    train = tf.train.AdamOptimizer(rate).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = []
        for number in (0.1, 0.0, 0.5):
            session.run(train, {rate: number})
            values.append(session.run(w))
        return {"w": np.stack(values)}


def chosen_variables(tf: Any) -> dict[str, Any]:
    """var_list, grad_loss and a variable the loss does not depend on."""
    loss, w, b = dense_loss(tf, "float32")
    other = tf.Variable(1.0, name="other")
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    pairs = optimizer.compute_gradients(loss, [w, other], grad_loss=tf.constant(2.0))
    train = optimizer.apply_gradients(pairs)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train)
        return {
            "pairs": [(grad is not None, variable.name) for grad, variable in pairs],
            "values": session.run([w, b, other]),
        }


CASES: Cases = {}
for _label in OPTIMIZERS:
    for _dtype in DTYPES[_label]:
        CASES[f"{_label}_{_dtype}"] = lambda tf, label=_label, dtype=_dtype: dense_case(tf, label, dtype)
for _label in (
    "gradient_descent",
    "momentum",
    "adagrad",
    "adadelta",
    "rmsprop",
    "rmsprop_centered",
    "adam",
    "ftrl",
    "proximal_gradient_descent",
    "proximal_adagrad",
):
    CASES[f"names_{_label}"] = lambda tf, label=_label: names_case(tf, label)
for _case in (scoped_names, global_step_counts, fed_learning_rate, chosen_variables):
    CASES[_case.__name__] = _case
