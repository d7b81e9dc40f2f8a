"""variable_scope and get_variable: names, reuse, initializers, collections, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Cases, run


def failure(action: Callable[[], Any], *phrases: str) -> dict[str, Any]:
    """Return the class of the exception, and which of the phrases its text has."""
    try:
        action()
    except Exception as error:  # which one it is, is the question
        text = str(error)
        return {"error": type(error).__name__, "has": [phrase for phrase in phrases if phrase in text]}
    return {"error": None}


def variable(tf: Any, name: str = "w", shape: Any = (2,), **options: Any) -> Any:
    return tf.get_variable(name, shape, **options)


def nested_scopes(tf: Any) -> list[str]:
    names = [variable(tf).name]
    with tf.variable_scope("a") as outer:
        names += [outer.name, outer.original_name_scope, variable(tf).name, tf.constant(1.0).name]
        with tf.variable_scope("b") as inner:
            names += [inner.name, inner.original_name_scope, variable(tf).name, tf.constant(1.0).name]
        with tf.name_scope("n"):
            names += [variable(tf, "v").name, tf.Variable(1.0, name="plain").name]
    with tf.name_scope("n2"), tf.variable_scope("c"):
        names += [variable(tf).name, tf.constant(1.0).name]
    return names


def reopened_scopes(tf: Any) -> list[str]:
    """A scope opened again continues its variables' names, and gets a new name scope for its operations."""
    names = []
    with tf.variable_scope("a") as scope:
        names += [variable(tf, "v1").name, tf.constant(1.0).name]
    with tf.variable_scope("a"):
        names += [variable(tf, "v2").name, tf.constant(1.0).name]
    with tf.variable_scope("b"), tf.variable_scope(scope):
        names += [variable(tf, "v3").name, tf.constant(1.0).name, tf.get_variable_scope().name]
    with tf.variable_scope(scope, auxiliary_name_scope=False):
        names += [variable(tf, "v4").name, tf.constant(1.0).name]
    with tf.variable_scope(scope), tf.name_scope(scope.original_name_scope):
        names.append(tf.constant(1.0).name)
    return names


def default_names(tf: Any) -> list[str]:
    """variable_scope(None, default_name) is made unique, also under a parent and against plain scopes."""
    names = []
    for _ in range(2):
        with tf.variable_scope(None, default_name="layer") as scope:
            names += [scope.name, variable(tf).name, tf.constant(1.0).name]
    with tf.variable_scope("net"):
        for _ in range(2):
            with tf.variable_scope(None, "layer"):
                names.append(variable(tf).name)
    with tf.variable_scope("layer_2"):
        names.append(variable(tf).name)
    with tf.variable_scope(None, "layer"):
        names.append(variable(tf).name)
    with tf.variable_scope("given", "layer"):
        names.append(variable(tf).name)
    with tf.variable_scope(tf.get_variable_scope()):
        names += [variable(tf, "root").name, tf.constant(1.0).name]
    with tf.variable_scope(""):
        names += [variable(tf, "empty").name, tf.constant(1.0).name]
    return names


def reuse(tf: Any) -> dict[str, Any]:
    with tf.variable_scope("a"):
        first = variable(tf)
    with tf.variable_scope("a", reuse=True) as scope:
        same = variable(tf) is first
        flags = [scope.reuse]
        with tf.variable_scope("inner"):
            flags.append(tf.get_variable_scope().reuse)
        with tf.variable_scope("inner", reuse=False):
            flags.append(tf.get_variable_scope().reuse)
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE):
        auto = [variable(tf) is first, variable(tf, "new").name, variable(tf, "new").name]
    with tf.variable_scope("a") as scope:
        flags.append(scope.reuse)
        scope.reuse_variables()
        flags += [scope.reuse, variable(tf) is first]
    with tf.variable_scope("b"):
        tf.get_variable_scope().reuse_variables()
        flags.append(tf.get_variable_scope().reuse)
    flags.append(tf.get_variable_scope().reuse)
    return {
        "same": same,
        "auto": auto,
        "flags": [str(flag) for flag in flags],
        "variables": [v.name for v in tf.global_variables()],
    }


def scope_defaults(tf: Any) -> dict[str, Any]:
    """Initializer, regularizer, dtype and custom getter are inherited."""

    def doubled(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getter(name + "_got", *args, **kwargs)

    with tf.variable_scope(
        "a",
        initializer=tf.constant_initializer(3.0),
        dtype=tf.float64,
        regularizer=lambda w: tf.reduce_sum(w, name="penalty"),
    ):
        w = variable(tf)
        with tf.variable_scope("b", custom_getter=doubled):
            v = variable(tf)
        other = variable(tf, "o", initializer=tf.zeros_initializer(), dtype=tf.float32)
        integer = variable(tf, "i", initializer=np.array([1, 2]), shape=None)
    penalties = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    return {
        "names": [item.name for item in (w, v, other, integer)],
        "dtypes": [item.dtype.base_dtype.name for item in (w, v, other, integer)],
        "penalties": [item.name for item in penalties],
        "values": run(tf, [w, v, other, integer]),
    }


def integer_defaults(tf: Any) -> dict[str, Any]:
    """Without an initializer integers and booleans start at zero, floats are drawn by Glorot's rule."""
    made = [variable(tf, "i", dtype=tf.int32), variable(tf, "b", dtype=tf.bool)]
    return {"values": run(tf, made)}


def collections(tf: Any) -> dict[str, Any]:
    with tf.variable_scope("gen"):
        variable(tf, "w")
        variable(tf, "still", trainable=False)
    with tf.variable_scope("gen_b"):
        variable(tf, "w")
    variable(tf, "mine", collections=["own", tf.GraphKeys.GLOBAL_VARIABLES])
    variable(tf, "local", collections=[tf.GraphKeys.LOCAL_VARIABLES], trainable=False)

    def names(found: Any) -> list[str]:
        return [item.name for item in found]

    return {
        "global": names(tf.global_variables()),
        "trainable": names(tf.trainable_variables()),
        "local": names(tf.local_variables()),
        "own": names(tf.get_collection("own")),
        "prefix": names(tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope="gen")),
        "slash": names(tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope="gen/")),
        "regex": names(tf.trainable_variables(scope=".*w")),
        "none": names(tf.global_variables("nothing")),
        "keys": [
            tf.GraphKeys.GLOBAL_VARIABLES,
            tf.GraphKeys.TRAINABLE_VARIABLES,
            tf.GraphKeys.UPDATE_OPS,
            tf.GraphKeys.REGULARIZATION_LOSSES,
            tf.GraphKeys.SUMMARIES,
            tf.GraphKeys.LOSSES,
            tf.GraphKeys.LOCAL_VARIABLES,
            tf.GraphKeys.GLOBAL_STEP,
            tf.GraphKeys.QUEUE_RUNNERS,
            tf.GraphKeys.MOVING_AVERAGE_VARIABLES,
            tf.GraphKeys.MODEL_VARIABLES,
            tf.GraphKeys.WEIGHTS,
            tf.GraphKeys.BIASES,
            tf.GraphKeys.ACTIVATIONS,
        ],
    }


def partitioned(tf: Any) -> dict[str, Any]:
    """A partitioner cuts along one axis; the parts are variables of their own."""
    with tf.variable_scope("p", partitioner=tf.fixed_size_partitioner(3, axis=0)):
        w = tf.get_variable("w", [7, 2], initializer=tf.ones_initializer())
    parts = list(w)
    return {
        "names": [part.name for part in parts],
        "shapes": [part.shape.as_list() for part in parts],
        "shape": w.get_shape().as_list(),
        "value": run(tf, tf.convert_to_tensor(w)),
        "variables": [v.name for v in tf.global_variables()],
    }


def variable_properties(tf: Any) -> dict[str, Any]:
    w = tf.Variable(tf.ones([2, 3]), name="w", trainable=False)
    with tf.name_scope("s"):
        v = tf.Variable(1, name="v", dtype=tf.float64)
    return {
        "name": w.name,
        "op": w.op.name,
        "shape": w.get_shape().as_list(),
        "dtype": w.dtype.base_dtype.name,
        "value": w.value().name,
        "initializer": w.initializer.name,
        "initial_value": w.initial_value.name,
        "scoped": [v.name, v.dtype.base_dtype.name, v.initializer.name],
        "trainable": w.trainable,
    }


def template(tf: Any) -> list[str]:
    """make_template creates variables once and then reuses them."""

    def affine(x: Any) -> Any:
        return x * tf.get_variable("w", [], initializer=tf.ones_initializer())

    shared = tf.make_template("shared", affine)
    shared(tf.constant(1.0))
    shared(tf.constant(2.0))
    return [v.name for v in tf.global_variables()]


def reuse_errors(tf: Any) -> dict[str, Any]:
    with tf.variable_scope("a"):
        variable(tf)

    def within(make: Callable[[], Any], **options: Any) -> Callable[[], Any]:
        def action() -> None:
            with tf.variable_scope("a", **options):
                make()

        return action

    return {
        "exists": failure(
            within(lambda: variable(tf)),
            "Variable a/w already exists, disallowed.",
            "Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?",
        ),
        "missing": failure(
            within(lambda: variable(tf, "other"), reuse=True),
            "Variable a/other does not exist",
            "was not created with tf.get_variable()",
            "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?",
        ),
        "shape": failure(
            within(lambda: variable(tf, shape=[3]), reuse=True),
            "Trying to share variable a/w, but specified shape (3,) and found shape (2,).",
        ),
        "auto_shape": failure(
            within(lambda: variable(tf, shape=[3]), reuse=tf.AUTO_REUSE),
            "Trying to share variable a/w, but specified shape (3,) and found shape (2,).",
        ),
        "dtype": failure(
            within(lambda: variable(tf, dtype=tf.int32), reuse=True),
            "Trying to share variable a/w, but specified dtype int32 and found dtype float32",
        ),
        "no_shape": failure(lambda: tf.get_variable("n")),
        "partial_shape": failure(lambda: tf.get_variable("n", [None, 2])),
        "shape_and_array": failure(
            lambda: tf.get_variable("n", [2], initializer=tf.constant([1.0, 2.0])),
            "If initializer is a constant, do not specify shape.",
        ),
        "no_scope_name": failure(
            lambda: tf.variable_scope(None).__enter__(),
            "If default_name is None then name_or_scope is required",
        ),
        "reuse_with_default": failure(
            lambda: tf.variable_scope(None, "d", reuse=True).__enter__(),
            "reuse=True cannot be used without a name_or_scope",
        ),
        "no_initial_value": failure(lambda: tf.Variable(), "initial_value must be specified."),
        "not_by_get_variable": failure(
            lambda: shared_plain(tf),
            "Variable plain does not exist",
            "was not created with tf.get_variable()",
        ),
    }


def shared_plain(tf: Any) -> Any:
    """A variable made by tf.Variable cannot be shared."""
    tf.Variable(1.0, name="plain")
    with tf.variable_scope("", reuse=True):
        return tf.get_variable("plain", [])


CASES: Cases = {
    case.__name__: case
    for case in (
        nested_scopes,
        reopened_scopes,
        default_names,
        reuse,
        scope_defaults,
        integer_defaults,
        collections,
        partitioned,
        variable_properties,
        template,
        reuse_errors,
    )
}
