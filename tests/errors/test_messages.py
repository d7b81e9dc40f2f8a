"""Mistakes that users make: the class, TensorFlow's phrase, the user's line, and what to write instead."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.errors import OpError

THIS_FILE = "test_messages.py"


def message_of(call: Callable[[], Any], kind: type[Exception]) -> str:
    """The text of the error that a call raises, after what holds for every error was checked."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert 1 <= len(text.splitlines()) <= 12
    assert text.splitlines()[0] and not text.endswith(" ")
    return text


def op_error_of(call: Callable[[], Any], kind: type[OpError], op_name: str) -> str:
    """Likewise for an error at run time, which knows the operation and its code and can be pickled."""
    text = message_of(call, kind)
    with pytest.raises(kind) as caught:
        call()
    error: OpError = caught.value
    assert error.op.name == error.node_def.name == op_name
    assert error.message == str(error)
    assert error.error_code == kind.code  # pyright: ignore[reportAttributeAccessIssue]
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.message, copy.error_code, copy.op) == (error.message, error.error_code, None)
    return text


def line_of(marker: str, function: Callable[..., Any]) -> str:
    """`test_messages.py:41` for the line of a function that ends with a comment: # marker."""
    lines, first = inspect.getsourcelines(function)
    (found,) = [first + i for i, line in enumerate(lines) if line.rstrip().endswith(f"# {marker}")]
    return f"{THIS_FILE}:{found}"


def run(fetches: Any, feed_dict: Any = None) -> Any:
    with tf.Session() as session:
        return session.run(fetches, feed_dict)


# ---------------------------------------------------------------- feeds


def test_missing_feeds_are_all_named_with_lines_and_paths() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")  # x
    y = tf.placeholder(tf.float32, [2], name="y")  # y
    hidden = tf.tanh(x + y, name="hidden")
    loss = tf.reduce_sum(hidden, name="loss")
    text = op_error_of(lambda: run(loss), tf.errors.InvalidArgumentError, "x")
    assert "You must feed a value for placeholder tensor 'x' with dtype float and shape [2]" in text
    assert "'y'" in text.splitlines()[0]
    here = test_missing_feeds_are_all_named_with_lines_and_paths
    assert line_of("x", here) in text
    assert line_of("y", here) in text
    assert "needed by loss <- hidden <- add <- x" in text
    assert "needed by loss <- hidden <- add <- y" in text
    assert "Fix: sess.run(..., feed_dict={'x:0': ..., 'y:0': ...})" in text


def test_only_what_is_missing_is_named() -> None:
    x, y = tf.placeholder(tf.float32, name="x"), tf.placeholder(tf.float32, name="y")
    text = op_error_of(lambda: run(x + y, {x: 1.0}), tf.errors.InvalidArgumentError, "y")
    assert "placeholder tensor 'y' with dtype float" in text
    assert "'x'" not in text


def test_many_missing_feeds_fit_twelve_lines() -> None:
    many = [tf.placeholder(tf.float32, name=f"p{i}") for i in range(30)]
    text = op_error_of(lambda: run(tf.add_n(many)), tf.errors.InvalidArgumentError, "p0")
    assert all(f"'p{i}'" in text for i in range(30))
    assert "more" in text.splitlines()[-2]


def test_missing_feed_inside_a_loop() -> None:
    x = tf.placeholder(tf.float32, [], name="x")  # here
    result = tf.while_loop(lambda i: i < 3.0, lambda i: i + x, [0.0])
    text = op_error_of(lambda: run(result), tf.errors.InvalidArgumentError, "x")
    assert line_of("here", test_missing_feed_inside_a_loop) in text
    assert "needed by while" in text


def test_missing_feed_of_a_callable() -> None:
    x = tf.placeholder(tf.float32, name="x")
    with tf.Session() as session:
        text = op_error_of(lambda: session.make_callable(x * 2.0), tf.errors.InvalidArgumentError, "x")
    assert "You must feed a value for placeholder tensor 'x'" in text


def test_fed_shape() -> None:
    x = tf.placeholder(tf.float32, [None, 3], name="x")  # here
    text = message_of(lambda: run(x, {x: np.ones([2, 4])}), ValueError)
    assert "Cannot feed value of shape (2, 4) for Tensor 'x:0', which has shape '(?, 3)'" in text
    assert line_of("here", test_fed_shape) in text
    assert "Fix: feed an array of shape (?, 3)" in text


def test_fed_rank() -> None:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    text = message_of(lambda: run(x, {x: np.ones(3)}), ValueError)
    assert "Cannot feed value of shape (3,) for Tensor 'x:0'" in text


def test_fed_text_for_numbers() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")  # here
    text = message_of(lambda: run(x, {x: ["a", "b"]}), ValueError)
    assert "could not convert string to float" in text
    assert "Cannot feed ['a', 'b'] for Tensor 'x:0' of dtype float32" in text
    assert line_of("here", test_fed_text_for_numbers) in text


def test_fed_integer_too_large() -> None:
    x = tf.placeholder(tf.int32, [], name="x")
    text = message_of(lambda: run(x, {x: 2**40}), TypeError)
    phrase = (
        "Type of feed value 1099511627776 with type <class 'int'> is not compatible with Tensor type int32."
    )
    assert phrase in text
    assert "Try explicitly setting the type of the feed tensor to a larger type (e.g. int64)." in text


def test_fed_tensor() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")  # here
    text = message_of(lambda: run(x, {x: tf.constant([1.0, 2.0], name="value")}), TypeError)
    assert "The value of a feed cannot be a tf.Tensor object." in text
    assert 'Tensor("value:0"' in text
    assert line_of("here", test_fed_tensor) in text


def test_feed_key_that_is_no_tensor() -> None:
    c = tf.constant(1.0)
    text = message_of(lambda: run(c, {1: 2.0}), TypeError)
    assert "Cannot interpret feed_dict key as Tensor: Can not convert a int into a Tensor." in text


def test_feed_key_of_another_graph() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, name="x")  # here
    c = tf.constant(1.0)
    text = message_of(lambda: run(c, {x: 2.0}), TypeError)
    assert "Cannot interpret feed_dict key as Tensor" in text
    assert "is not an element of this graph." in text
    assert line_of("here", test_feed_key_of_another_graph) in text


def test_feed_that_is_prevented() -> None:
    c = tf.constant(1.0, name="c")  # here
    tf.get_default_graph().prevent_feeding(c)
    text = message_of(lambda: run(c, {c: 2.0}), ValueError)
    assert "may not be fed." in text
    assert line_of("here", test_feed_that_is_prevented) in text


def test_nested_feed_of_another_length() -> None:
    x, y = tf.placeholder(tf.float32, name="x"), tf.placeholder(tf.float32, name="y")
    text = message_of(lambda: run(x + y, {(x, y): (1.0,)}), ValueError)
    assert "Cannot feed 1 values for 2 tensors" in text
    assert '"x:0"' in text and '"y:0"' in text


def test_feed_dict_that_is_none() -> None:
    text = message_of(lambda: run(tf.constant(1.0), [1]), TypeError)
    assert "feed_dict must be a dictionary, got list" in text


# ---------------------------------------------------------------- fetches


def test_fetch_of_another_graph() -> None:
    with tf.Graph().as_default():
        c = tf.constant(1.0, name="c")  # here
    tf.constant(2.0)
    text = message_of(lambda: run(c), ValueError)
    assert "cannot be interpreted as a Tensor." in text
    assert "is not an element of this graph." in text
    assert line_of("here", test_fetch_of_another_graph) in text
    assert "Fix: make the session for the graph" in text


def test_fetched_none() -> None:
    c = tf.constant(1.0)
    for fetches in (None, [c, None], {"a": None}):
        text = message_of(lambda fetches=fetches: run(fetches), TypeError)
        assert "Fetch argument None has invalid type <class 'NoneType'>" in text
        assert "Fix: leave it out" in text


def test_fetched_number() -> None:
    tf.constant(1.0)
    text = message_of(lambda: run([1.5]), TypeError)
    assert "Fetch argument 1.5 has invalid type <class 'float'>, must be a string or Tensor." in text
    assert "Can not convert a float into a Tensor or Operation." in text


def test_fetched_name_that_is_unknown() -> None:
    tf.constant(1.0, name="accuracy")
    text = message_of(lambda: run("acuracy:0"), ValueError)
    assert "Fetch argument 'acuracy:0' cannot be interpreted as a Tensor." in text
    assert "The name 'acuracy:0' refers to a Tensor which does not exist." in text
    assert "Fix: did you mean 'accuracy:0'?" in text
    assert "Fix" not in message_of(lambda: run("entirely_different"), ValueError)


def test_name_of_the_wrong_form() -> None:
    tf.constant(1.0, name="c")
    text = message_of(lambda: run("c:first"), ValueError)
    assert 'Tensor names must be of the form "<op_name>:<output_index>".' in text


def test_fetch_that_is_prevented() -> None:
    c = tf.constant(1.0, name="c")  # here
    tf.get_default_graph().prevent_fetching(c.op)
    text = message_of(lambda: run(c), ValueError)
    assert "Operation 'c' has been marked as not fetchable." in text
    assert line_of("here", test_fetch_that_is_prevented) in text


# ---------------------------------------------------------------- loops and branches


def inner_tensor_of_a_loop() -> Any:
    inner: list[Any] = []

    def body(i: Any) -> Any:
        inner.append(tf.add(i, 1, name="inside"))  # inner
        return inner[0]

    tf.while_loop(lambda i: i < 3, body, [0])
    return inner[0]


def test_inner_tensor_of_a_loop_fetched_outside() -> None:
    inner = inner_tensor_of_a_loop()
    text = message_of(lambda: run(inner), ValueError)
    assert "Operation 'while/inside' has been marked as not fetchable" in text
    assert line_of("inner", inner_tensor_of_a_loop) in text
    assert "Fix: fetch what the loop or cond gives back" in text


def test_inner_tensor_of_a_loop_used_outside() -> None:
    inner = inner_tensor_of_a_loop()
    text = message_of(lambda: tf.negative(inner), ValueError)
    phrase = "Cannot use 'while/inside' as input because it is in a while loop, and is used outside of it."
    assert phrase in text
    assert line_of("inner", inner_tensor_of_a_loop) in text
    assert "Fix: return the tensor from the while loop" in text


def test_inner_tensor_of_a_loop_fed() -> None:
    inner = inner_tensor_of_a_loop()
    text = message_of(lambda: run(tf.constant(1.0), {inner: 1}), ValueError)
    assert "may not be fed" in text
    assert line_of("inner", inner_tensor_of_a_loop) in text


def test_inner_tensor_of_a_branch_used_outside() -> None:
    inner: list[Any] = []

    def branch() -> Any:
        inner.append(tf.constant(1.0, name="inside"))  # inner
        return inner[0]

    tf.cond(tf.placeholder(tf.bool), branch, lambda: tf.constant(2.0))
    text = message_of(lambda: tf.negative(inner[0]), ValueError)
    assert "because it is in a cond branch, and is used outside of it." in text
    assert line_of("inner", test_inner_tensor_of_a_branch_used_outside) in text


# ---------------------------------------------------------------- graphs, variables and sessions


def test_uninitialized_variable() -> None:
    with tf.variable_scope("layer"):
        w = tf.get_variable("w", [2])  # here
    text = op_error_of(lambda: run(w + 1.0), tf.errors.FailedPreconditionError, "layer/w")
    assert "Attempting to use uninitialized value layer/w" in text
    assert text.count(line_of("here", test_uninitialized_variable)) == 1
    assert "Fix: sess.run(tf.global_variables_initializer()) first" in text


def test_finalized_graph() -> None:
    def build() -> Any:
        return tf.constant(1.0)  # here

    tf.get_default_graph().finalize()
    text = message_of(build, RuntimeError)
    assert "Graph is finalized and cannot be modified." in text
    assert line_of("here", build) in text
    assert "Fix: build all operations before" in text


def test_two_graphs() -> None:
    with tf.Graph().as_default():
        c = tf.constant(1.0, name="c")  # here
    other = tf.constant(2.0)  # other
    text = message_of(lambda: c + other, ValueError)
    assert "must be from the same graph as" in text
    assert line_of("here", test_two_graphs) in text
    assert line_of("other", test_two_graphs) in text
    assert "Fix: build both inside one" in text


def test_closed_session() -> None:
    c = tf.constant(1.0)
    session = tf.Session()
    session.run(c)
    session.close()
    assert message_of(lambda: session.run(c), RuntimeError) == "Attempted to use a closed Session."
    assert message_of(lambda: session.run([c, c]), RuntimeError) == "Attempted to use a closed Session."


def test_empty_graph() -> None:
    with tf.Graph().as_default():
        text = message_of(lambda: run("x:0"), RuntimeError)
    assert "The Session graph is empty. Add operations to the graph before calling run()." in text


def test_no_default_session() -> None:
    text = message_of(tf.constant(1.0).eval, ValueError)
    assert "Cannot evaluate tensor using `eval()`: No default session is registered." in text
    text = message_of(tf.no_op().run, ValueError)
    assert "Cannot execute operation using `run()`: No default session is registered." in text


def test_default_session_of_another_graph() -> None:
    with tf.Graph().as_default():
        c = tf.constant(1.0)
    tf.constant(1.0)
    with tf.Session():
        text = message_of(c.eval, ValueError)
    assert "the tensor's graph is different from the session's graph." in text


# ---------------------------------------------------------------- building operations


def test_shapes_that_do_not_fit() -> None:
    x = tf.placeholder(tf.float32, [32, 784], name="x")  # x
    w = tf.placeholder(tf.float32, [10, 784], name="w")  # w

    def build() -> Any:
        return tf.matmul(x, w)  # here

    text = message_of(build, ValueError)
    assert "MatMul: Dimensions must be equal, but are 784 and 10: a is [32,784], b is [10,784]." in text
    assert line_of("here", build) in text
    assert f'a = "x:0" ({line_of("x", test_shapes_that_do_not_fit)})' in text
    assert f'b = "w:0" ({line_of("w", test_shapes_that_do_not_fit)})' in text
    assert "Fix: tf.matmul(a, b, transpose_b=True), or give b the shape [784,10]" in text


def test_shapes_that_do_not_broadcast() -> None:
    a, b = tf.placeholder(tf.float32, [4, 2]), tf.placeholder(tf.float32, [3])

    def build() -> Any:
        return a * b  # here

    text = message_of(build, ValueError)
    assert "Dimensions must be equal, but are 2 and 3: [4,2] does not broadcast with [3]" in text
    assert line_of("here", build) in text
    assert "Fix:" in text


def test_dtypes_that_do_not_fit() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")

    def build() -> Any:
        return x + tf.constant([1, 2])  # here

    text = message_of(build, TypeError)
    assert "Input 'y' of 'AddV2' Op has type int32 that does not match type float32 of argument 'x'." in text
    assert line_of("here", build) in text
    assert "Fix: tf.cast(y, tf.float32)" in text


def test_attribute_of_the_wrong_value() -> None:
    image, filters = tf.ones([1, 8, 8, 3]), tf.ones([3, 3, 3, 4])

    def padding() -> Any:
        return tf.nn.conv2d(image, filters, [1, 1, 1, 1], padding="FOO")  # here

    def data_format() -> Any:
        return tf.nn.conv2d(image, filters, [1, 1, 1, 1], "SAME", data_format="NXYZ")  # here

    def pooling() -> Any:
        return tf.nn.max_pool(image, 2, 2, "FOO")  # here

    text = message_of(padding, ValueError)
    assert 'passed string \'FOO\' not in: "SAME", "VALID"' in text
    assert line_of("here", padding) in text
    text = message_of(data_format, ValueError)
    assert "Attr 'data_format' of 'Conv2D' Op passed string 'NXYZ' not in: \"NHWC\", \"NCHW\"." in text
    assert line_of("here", data_format) in text
    text = message_of(pooling, ValueError)
    assert "passed string 'FOO' not in" in text
    assert line_of("here", pooling) in text


def test_values_that_do_not_convert() -> None:
    def ragged() -> Any:
        return tf.constant([[1.0], [2.0, 3.0]])  # here

    def fraction() -> Any:
        return tf.constant(1.5, tf.int32)  # here

    def nothing() -> Any:
        return tf.convert_to_tensor(None)  # here

    def thing() -> Any:
        return tf.negative(object())  # here

    expected: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (ragged, ValueError, "ragged rows"),
        (fraction, TypeError, "Expected int32, but got 1.5 of type 'float'."),
        (nothing, ValueError, "None values not supported."),
        (thing, TypeError, "Failed to convert object of type <class 'object'> to Tensor."),
    ]
    for build, kind, phrase in expected:
        text = message_of(build, kind)
        assert phrase in text
        assert line_of("here", build) in text


def test_tensor_iterated() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")

    def unpack() -> Any:
        first, second = x  # here
        return first, second

    text = message_of(unpack, TypeError)
    assert "Iterating over a `tf.Tensor` is not allowed" in text
    assert line_of("here", unpack) in text
    assert "Fix: tf.unstack(x)" in text


def test_shape_that_contradicts() -> None:
    x = tf.placeholder(tf.float32, [2, 3], name="x")  # x

    def build() -> Any:
        x.set_shape([2, 4])  # here

    text = message_of(build, ValueError)
    assert "Dimension 1 in both shapes must be equal, but are 3 and 4" in text
    assert line_of("here", build) in text
    assert line_of("x", test_shape_that_contradicts) in text
    with pytest.raises(ValueError, match=re.escape("Shapes (2, 3) and (2, 4) are not compatible")):
        x.shape.merge_with([2, 4])


# ---------------------------------------------------------------- running operations


def test_nan_in_check_numerics() -> None:
    x = tf.placeholder(tf.float32, [1], name="x")
    checked = tf.check_numerics(tf.log(x), "the loss", name="check")  # here
    text = op_error_of(lambda: run(checked, {x: [-1.0]}), tf.errors.InvalidArgumentError, "check")
    assert "the loss : Tensor had NaN values" in text
    assert line_of("here", test_nan_in_check_numerics) in text


def test_index_out_of_range() -> None:
    ids = tf.placeholder(tf.int32, name="ids")
    rows = tf.gather(tf.constant([1.0, 2.0, 3.0], name="table"), ids, name="rows")  # here
    text = op_error_of(lambda: run(rows, {ids: [0, 7]}), tf.errors.InvalidArgumentError, "rows")
    assert "indices[1] = 7 is not in [0, 3)" in text
    assert line_of("here", test_index_out_of_range) in text
    assert '"table:0" is [3] float32' in text
    assert '"ids:0" is [2] int32' in text


def test_slice_out_of_range() -> None:
    i = tf.placeholder(tf.int32, [], name="i")
    item = tf.constant([1.0, 2.0, 3.0])[i]  # here
    text = op_error_of(lambda: run(item, {i: 7}), tf.errors.InvalidArgumentError, item.op.name)
    assert "slice index 7 of dimension 0 out of bounds" in text
    assert line_of("here", test_slice_out_of_range) in text


def test_integer_division_by_zero() -> None:
    d = tf.placeholder(tf.int32, [1], name="d")
    quotient = tf.constant([1]) // d  # here
    text = op_error_of(lambda: run(quotient, {d: [0]}), tf.errors.InvalidArgumentError, quotient.op.name)
    assert "Integer division by zero" in text
    assert line_of("here", test_integer_division_by_zero) in text


def test_shapes_that_do_not_fit_when_running() -> None:
    a, b = tf.placeholder(tf.float32, name="a"), tf.placeholder(tf.float32, name="b")
    total = tf.add(a, b, name="total")  # here
    feeds = {a: np.ones(2), b: np.ones(3)}
    text = op_error_of(lambda: run(total, feeds), tf.errors.InvalidArgumentError, "total")
    assert "Incompatible shapes: [2] vs. [3]" in text
    assert line_of("here", test_shapes_that_do_not_fit_when_running) in text
    assert '"a:0" is [2] float32' in text and '"b:0" is [3] float32' in text


def test_error_inside_a_loop_names_the_inner_operation() -> None:
    d = tf.placeholder(tf.int32, [], name="d")
    result = tf.while_loop(lambda i: i < 3, lambda i: tf.floordiv(1, d, name="inner"), [0])  # here
    text = op_error_of(lambda: run(result, {d: 0}), tf.errors.InvalidArgumentError, "while/inner")
    assert "Integer division by zero" in text
    assert line_of("here", test_error_inside_a_loop_names_the_inner_operation) in text


def test_long_problems_keep_their_beginning_and_end() -> None:
    def recursive(n: int) -> float:
        return recursive(n - 1) if n else 1 // n

    def alternating(n: int) -> float:
        return recursive(n - 1) if n % 2 else alternating(n - 1)

    value = tf.py_func(lambda: alternating(40), [], tf.float32, name="call")
    text = op_error_of(lambda: run(value), tf.errors.UnknownError, "call")
    assert "ZeroDivisionError" in text.splitlines()[0]
    assert "in recursive" in text


def test_memory_that_is_not_there() -> None:
    n = tf.placeholder(tf.int32, [], name="n")
    huge = tf.zeros([n, n, n], name="huge")  # here
    text = op_error_of(lambda: run(huge, {n: 100_000}), tf.errors.ResourceExhaustedError, "huge")
    assert "OOM when allocating tensor" in text
    assert line_of("here", test_memory_that_is_not_there) in text


def test_a_placeholder_inside_a_loop() -> None:
    def body(i: Any) -> Any:
        return i + tf.placeholder(tf.int32, [], name="inner")  # here

    result = tf.while_loop(lambda i: i < 3, body, [0])
    text = op_error_of(lambda: run(result), tf.errors.InvalidArgumentError, "while/inner")
    assert "You must feed a value for placeholder tensor" in text
    assert line_of("here", body) in text
    assert "Fix: make the placeholder outside of it" in text


def test_text_beside_numbers_is_not_to_be_cast() -> None:
    text = message_of(lambda: tf.constant(1.0) + "a", TypeError)
    assert "has type string that does not match type float32" in text
    assert "Fix" not in text


# ---------------------------------------------------------------- the classes


def test_codes_and_classes_name_each_other() -> None:
    without_code: Any = tf.errors.OpError
    for code in range(1, 17):
        kind = tf.errors.exception_type_from_error_code(code)
        assert tf.errors.error_code_from_exception_type(kind) == code
        assert kind(None, None, "text").error_code == code
    with pytest.raises(KeyError):
        tf.errors.exception_type_from_error_code(99)
    with pytest.raises(KeyError):
        tf.errors.error_code_from_exception_type(without_code)


def test_an_op_error_without_a_class_is_pickled_with_its_code() -> None:
    copy = pickle.loads(pickle.dumps(tf.errors.OpError(None, None, "text", 42)))
    assert (copy.message, copy.error_code) == ("text", 42)
