"""Bad calls: the class of the exception, and the phrase that people search for and programs match."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .harness import Cases

Call = Callable[[Any], Any]

ADDRESS = re.compile("0x[0-9a-f]+")


def session_run(tf: Any, fetches: Any, feeds: Any = None) -> Any:
    tf.no_op()  # An empty graph would be an error of its own.
    with tf.Session() as session:
        return session.run(fetches, feeds)


def ones(tf: Any, *shape: Any) -> Any:
    return tf.placeholder(tf.float32, shape)


def finalized(tf: Any) -> None:
    tf.get_default_graph().finalize()
    tf.constant(1.0)


def other_graph(tf: Any) -> Any:
    with tf.Graph().as_default():
        return tf.constant(1.0)


def loop_inner_tensor(tf: Any) -> None:
    inner = []

    def body(i: Any) -> Any:
        inner.append(i + 1)
        return inner[-1]

    tf.while_loop(lambda i: i < 3, body, [0])
    session_run(tf, inner[0])


def fed_wrong(tf: Any, value: Any) -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    session_run(tf, x + 1.0, {x: value})


def closed_session(tf: Any) -> None:
    session = tf.Session()
    session.close()
    session.run(tf.constant(1.0))


def empty_queue(tf: Any) -> None:
    queue = tf.FIFOQueue(3, tf.float32, shapes=[[]])
    with tf.Session() as session:
        session.run(queue.close())
        session.run(queue.dequeue())


def no_trainables(tf: Any) -> None:
    tf.train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0))


def unconnected(tf: Any) -> None:
    tf.Variable(1.0)
    tf.train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0))


# Name -> (class or base class, phrase in the text, call). Recording fails where TensorFlow does otherwise.
# Phrases are those that TensorFlow 1.15 and the recording release have in common; "" where they share none.
CALLS: dict[str, tuple[str, str, Call]] = {
    "matmul": (
        "ValueError",
        "Dimensions must be equal, but are 784 and 10",
        lambda tf: tf.matmul(ones(tf, 32, 784), ones(tf, 10, 784)),
    ),
    "matmul_rank": (
        "ValueError",
        "must be rank 2 but is rank 1",
        lambda tf: tf.matmul(ones(tf, 3, 2), ones(tf, 2)),
    ),
    "add_shapes": (
        "ValueError",
        "Dimensions must be equal, but are 2 and 3",
        lambda tf: ones(tf, 2) + ones(tf, 3),
    ),
    "add_dtypes": (
        "TypeError",
        "that does not match type float32 of argument 'x'",
        lambda tf: tf.add(ones(tf, 2), tf.constant([1, 2])),
    ),
    "multiply_dtypes": (
        "TypeError",
        "has type float64 that does not match type float32",
        lambda tf: ones(tf, 2) * tf.constant([1.0, 2.0], tf.float64),
    ),
    "reshape_count": (
        "ValueError",
        "Cannot reshape a tensor with 6 elements to shape [4] (4 elements)",
        lambda tf: tf.reshape(tf.ones([2, 3]), [4]),
    ),
    "concat_shapes": (
        "ValueError",
        "in both shapes must be equal, but are 2 and 3",
        lambda tf: tf.concat([ones(tf, 1, 2), ones(tf, 1, 3)], 0),
    ),
    "stack_shapes": (
        "ValueError",
        "Dimension 0 in both shapes must be equal, but are 2 and 3",
        lambda tf: tf.stack([ones(tf, 2), ones(tf, 3)]),
    ),
    "reduce_axis": ("ValueError", "Invalid reduction dimension", lambda tf: tf.reduce_sum(ones(tf, 2, 3), 2)),
    "index_outside": (
        "ValueError",
        "slice index 5 of dimension 0 out of bounds",
        lambda tf: ones(tf, 2, 3)[5],
    ),
    "index_too_many": (
        "ValueError",
        "Index out of range using input dim 1; input has only 1 dims",
        lambda tf: ones(tf, 2)[0, 0],
    ),
    "index_by_string": ("TypeError", "Only integers, slices", lambda tf: ones(tf, 2)["a"]),
    "transpose_perm": (
        "ValueError",
        "Dimension must be 2 but is 3",
        lambda tf: tf.transpose(ones(tf, 2, 3), [0, 1, 2]),
    ),
    "squeeze": (
        "ValueError",
        "Can not squeeze dim[0], expected a dimension of 1, got 2",
        lambda tf: tf.squeeze(ones(tf, 2, 3), [0]),
    ),
    "expand_dims": ("ValueError", "not in the interval", lambda tf: tf.expand_dims(ones(tf, 2), 4)),
    "split": (
        "ValueError",
        "Number of ways to split should evenly divide the split dimension",
        lambda tf: tf.split(ones(tf, 3, 4), 3, 1),
    ),
    "unstack_unknown": (
        "ValueError",
        "Cannot infer argument `num` from shape",
        lambda tf: tf.unstack(ones(tf, None, 2)),
    ),
    "conv2d_channels": (
        "ValueError",
        "epth of",
        lambda tf: tf.nn.conv2d(ones(tf, 1, 8, 8, 3), ones(tf, 3, 3, 2, 4), [1, 1, 1, 1], "SAME"),
    ),
    "sparse_softmax_rank": (
        "ValueError",
        "rank",
        lambda tf: tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.constant([[1]]), logits=ones(tf, 1, 3)
        ),
    ),
    "sigmoid_shapes": (
        "ValueError",
        "must have the same shape",
        lambda tf: tf.nn.sigmoid_cross_entropy_with_logits(labels=ones(tf, 2), logits=ones(tf, 3)),
    ),
    "tensor_as_bool": ("TypeError", "as a Python `bool` is not allowed", lambda tf: bool(ones(tf, 2) > 0.0)),
    "iterate": ("TypeError", "is not allowed", lambda tf: list(ones(tf, 2))),
    "set_item": ("TypeError", "does not support item assignment", lambda tf: assign_item(tf)),
    "convert_none": ("ValueError", "None values not supported.", lambda tf: tf.convert_to_tensor(None)),
    "convert_ragged": ("ValueError", "", lambda tf: tf.constant([[1.0, 2.0], [3.0]])),
    "convert_dtype": (
        "ValueError",
        "Tensor conversion requested dtype int32 for Tensor with dtype float32",
        lambda tf: tf.convert_to_tensor(ones(tf, 2), tf.int32),
    ),
    "constant_float_as_int": (
        "TypeError",
        "Expected int32, but got 1.5 of type 'float'.",
        lambda tf: tf.constant(1.5, tf.int32),
    ),
    "constant_shape": (
        "TypeError",
        "Expected Tensor's shape: (2,)",
        lambda tf: tf.constant([1, 2, 3], shape=[2], verify_shape=True),
    ),
    "bad_name": ("ValueError", "is not a valid", lambda tf: tf.constant(1.0, name="a b")),
    "bad_scope_name": ("ValueError", "is not a valid", lambda tf: tf.name_scope("a b").__enter__()),
    "set_shape": (
        "ValueError",
        "Dimension 1 in both shapes must be equal, but are 3 and 4",
        lambda tf: ones(tf, 2, 3).set_shape([2, 4]),
    ),
    "as_list_unknown": (
        "ValueError",
        "as_list() is not defined on an unknown TensorShape",
        lambda tf: tf.placeholder(tf.float32).get_shape().as_list(),
    ),
    "get_tensor": (
        "KeyError",
        "The name 'nothing:0' refers to a Tensor which does not exist.",
        lambda tf: tf.get_default_graph().get_tensor_by_name("nothing:0"),
    ),
    "get_tensor_output": (
        "KeyError",
        "only has 1 outputs",
        lambda tf: [tf.constant(1.0, name="c"), tf.get_default_graph().get_tensor_by_name("c:1")],
    ),
    "get_tensor_without_output": (
        "ValueError",
        "looks like an (invalid) Operation name, not a Tensor",
        lambda tf: tf.get_default_graph().get_tensor_by_name("nothing"),
    ),
    "get_operation": (
        "KeyError",
        "The name 'nothing' refers to an Operation not in the graph.",
        lambda tf: tf.get_default_graph().get_operation_by_name("nothing"),
    ),
    "finalized": ("RuntimeError", "Graph is finalized and cannot be modified.", finalized),
    "two_graphs": (
        "ValueError",
        "must be from the same graph",
        lambda tf: other_graph(tf) + tf.constant(1.0),
    ),
    "fetch_other_graph": (
        "ValueError",
        "is not an element of this graph.",
        lambda tf: session_run(tf, other_graph(tf)),
    ),
    "fetch_none": ("TypeError", "has invalid type", lambda tf: session_run(tf, None)),
    "fetch_number": ("TypeError", "has invalid type", lambda tf: session_run(tf, 1.5)),
    "fetch_missing": (
        "ValueError",
        "The name 'nothing:0' refers to a Tensor which does not exist.",
        lambda tf: session_run(tf, "nothing:0"),
    ),
    "feed_missing": (
        "InvalidArgumentError",
        "You must feed a value for placeholder tensor",
        lambda tf: session_run(tf, tf.placeholder(tf.float32, [2], name="x") + 1.0),
    ),
    "feed_shape": (
        "ValueError",
        "Cannot feed value of shape (3,) for Tensor",
        lambda tf: fed_wrong(tf, np.ones(3)),
    ),
    "feed_text": ("ValueError", "could not convert string to float", lambda tf: fed_wrong(tf, ["a", "b"])),
    "feed_tensor": (
        "TypeError",
        "The value of a feed cannot be a tf.Tensor object.",
        lambda tf: fed_wrong(tf, tf.constant([1.0, 2.0])),
    ),
    "feed_key": (
        "TypeError",
        "Cannot interpret feed_dict key as Tensor",
        lambda tf: session_run(tf, tf.constant(1.0), {1: 2.0}),
    ),
    "uninitialized": (
        "FailedPreconditionError",
        "Attempting to use uninitialized value w",
        lambda tf: session_run(tf, tf.get_variable("w", [2]) + 1.0),
    ),
    "closed_session": ("RuntimeError", "Attempted to use a closed Session.", closed_session),
    "no_default_session": (
        "ValueError",
        "No default session is registered.",
        lambda tf: tf.constant(1.0).eval(),
    ),
    "run_time_matmul": ("InvalidArgumentError", "Matrix size-incompatible", lambda tf: run_time_matmul(tf)),
    "run_time_add": ("InvalidArgumentError", "Incompatible shapes: [2] vs. [3]", lambda tf: run_time_add(tf)),
    "run_time_reshape": (
        "InvalidArgumentError",
        "Input to reshape is a tensor with 3 values, but the requested shape has 4",
        lambda tf: run_time_reshape(tf),
    ),
    "run_time_gather": ("InvalidArgumentError", "= 7 is not in [0, 3)", lambda tf: run_time_gather(tf)),
    "check_numerics": (
        "InvalidArgumentError",
        "Tensor had NaN values",
        lambda tf: session_run(tf, tf.check_numerics(tf.constant([np.nan]), "found ")),
    ),
    "assertion": (
        "InvalidArgumentError",
        "assertion failed: [low]",
        lambda tf: session_run(tf, tf.Assert(tf.constant(False), ["low"])),
    ),
    "assert_static": (
        "InvalidArgumentError",
        "Condition x == y did not hold element-wise",
        lambda tf: tf.assert_equal(tf.constant(1), tf.constant(2)),
    ),
    "divide_by_zero": (
        "InvalidArgumentError",
        "Integer division by zero",
        lambda tf: session_run(tf, tf.constant([1]) // tf.constant([0])),
    ),
    "matrix_inverse": (
        "InvalidArgumentError",
        "Input is not invertible",
        lambda tf: session_run(tf, tf.matrix_inverse(tf.zeros([2, 2]))),
    ),
    "labels_outside": (
        "InvalidArgumentError",
        "Received a label value of 3 which is outside the valid range of [0, 3)",
        lambda tf: session_run(
            tf,
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.constant([3]), logits=tf.ones([1, 3])),
        ),
    ),
    "empty_queue": ("OutOfRangeError", "is closed and has insufficient elements", empty_queue),
    "assign_shape": (
        "ValueError",
        "must be equal",
        lambda tf: tf.assign(tf.get_variable("w", [2]), [1.0, 2.0, 3.0]),
    ),
    "no_trainables": ("ValueError", "No variables to optimize.", no_trainables),
    "unconnected": ("ValueError", "No gradients provided for any variable", unconnected),
    "apply_nothing": (
        "ValueError",
        "No variables provided.",
        lambda tf: tf.train.GradientDescentOptimizer(0.1).apply_gradients([]),
    ),
    "no_gradient": (
        "LookupError",
        "No gradient defined for operation",
        lambda tf: gradient_of_truncatemod(tf),
    ),
    "grad_ys": ("ValueError", "Passed 2 grad_ys for 1 ys", lambda tf: wrong_grad_ys(tf)),
    "slot_missing_optimizer_name": (
        "ValueError",
        "Must specify the optimizer name",
        lambda tf: tf.train.Optimizer(False, ""),
    ),
    "loop_inner_tensor": ("ValueError", "has been marked as not fetchable", loop_inner_tensor),
    "while_shape": (
        "ValueError",
        "with shape (2,), but has shape (4,) after one iteration",
        lambda tf: tf.while_loop(lambda x: True, lambda x: tf.concat([x, x], 0), [tf.ones([2])]),
    ),
    "while_dtype": (
        "TypeError",
        "that does not match type int32 of argument 'x'",
        lambda tf: tf.while_loop(lambda i: i < 3, lambda i: i + 1.0, [0]),
    ),
    "while_empty": ("ValueError", "", lambda tf: tf.while_loop(lambda: True, lambda: None, [])),
    "while_condition": ("TypeError", "must be callable", lambda tf: tf.while_loop(True, lambda i: i, [0])),
    "cond_structures": (
        "Exception",
        "The two structures don't have the same nested structure",
        lambda tf: tf.cond(ones(tf) > 0.0, lambda: (1.0, 2.0), lambda: 1.0),
    ),
    "cond_dtypes": (
        "ValueError",
        "must have the same type",
        lambda tf: tf.cond(ones(tf) > 0.0, lambda: tf.constant(1.0), lambda: tf.constant(1)),
    ),
    "cond_not_callable": ("TypeError", "must be callable", lambda tf: tf.cond(ones(tf) > 0.0, 1.0, 2.0)),
    "keep_prob": (
        "ValueError",
        "must be a scalar tensor or a float in the range",
        lambda tf: tf.nn.dropout(ones(tf, 2), keep_prob=1.5),
    ),
    "axis_and_dim": (
        "ValueError",
        "Cannot specify both",
        lambda tf: tf.reduce_sum(ones(tf, 2), axis=0, reduction_indices=0),
    ),
    "fill_negative": ("ValueError", "-2", lambda tf: tf.fill([-2], 1.0)),
    "piecewise": (
        "ValueError",
        "The length of boundaries should be 1 less than the length of values",
        lambda tf: tf.train.piecewise_constant(tf.constant(1), [3], [1.0]),
    ),
    "decay_without_step": ("ValueError", "", lambda tf: tf.train.exponential_decay(0.1, None, 10, 0.5)),
    "clip_not_a_list": (
        "TypeError",
        "should be a sequence",
        lambda tf: tf.clip_by_global_norm(ones(tf, 2), 1.0),
    ),
    "dtype_unknown": ("TypeError", "Cannot convert", lambda tf: tf.as_dtype("float33")),
    "group_of_number": ("TypeError", "with type '<class 'float'>'", lambda tf: tf.group([1.0])),
}


def assign_item(tf: Any) -> None:
    x = ones(tf, 2)
    x[0] = 1.0


def run_time_matmul(tf: Any) -> None:
    a, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    session_run(tf, tf.matmul(a, b), {a: np.ones((2, 3)), b: np.ones((2, 3))})


def run_time_add(tf: Any) -> None:
    a, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    session_run(tf, a + b, {a: np.ones(2), b: np.ones(3)})


def run_time_reshape(tf: Any) -> None:
    a = tf.placeholder(tf.float32)
    session_run(tf, tf.reshape(a, [4]), {a: np.ones(3)})


def run_time_gather(tf: Any) -> None:
    ids = tf.placeholder(tf.int32)
    session_run(tf, tf.gather(tf.constant([1.0, 2.0, 3.0]), ids), {ids: [0, 7]})


def gradient_of_truncatemod(tf: Any) -> None:
    x = ones(tf, 2)
    tf.gradients(tf.truncatemod(x, 2.0), x)


def wrong_grad_ys(tf: Any) -> None:
    x = ones(tf, 2)
    tf.gradients(x * 2.0, x, grad_ys=[tf.ones([3]), tf.ones([3])])


def error_case(tf: Any, name: str) -> dict[str, Any]:
    """Make the bad call; return the exception's classes and the line of its text that has the phrase."""
    wanted, phrase, call = CALLS[name]
    try:
        call(tf)
    except Exception as error:  # which one it is, is the question
        classes = [kind.__name__ for kind in type(error).__mro__[:-2]]  # without BaseException and object
        lines = str(error).splitlines() or [""]
        message = next((line for line in lines if phrase in line), lines[0])
        assert wanted in classes, f"{name}: {classes}: {message}"
        assert phrase in message, f"{name}: {message}"
        return {"classes": classes, "message": ADDRESS.sub("0x", message)[:240]}
    raise AssertionError(f"{name}: no error")


CASES: Cases = {name: lambda tf, name=name: error_case(tf, name) for name in CALLS}
