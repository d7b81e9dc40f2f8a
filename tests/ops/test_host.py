"""Python functions as operations (PyFunc, PyFuncStateless), and operations by subclassing Operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.autodiff import registry
from tests.running import run

# ---------------------------------------------------------------- py_func


def test_results():
    assert run(tf.py_func(lambda x: x * 2, [[1.0, 2.0]], tf.float32)).tolist() == [2.0, 4.0]
    both = tf.py_func(lambda x, y: (x + y, "text"), [1, 2], [tf.int32, tf.string])
    assert run(both) == [3, b"text"]
    assert run(tf.py_func(lambda: np.array(["a", "bc"]), [], tf.string)).tolist() == [b"a", b"bc"]
    assert run(tf.py_func(lambda x: x, ["abc"], tf.string)) == b"abc"
    assert run(tf.py_func(lambda x: type(x).__name__, [1.0], tf.string)) == b"float32"


def test_it_may_have_no_results_and_is_then_an_operation():
    seen = []
    op = tf.py_func(lambda x: seen.append(float(x)), [3.0], [])
    assert isinstance(op, tf.Operation) and op.type == "PyFunc"
    assert run(op) is None and seen == [3.0]


def test_arrays_are_nobody_elses():
    kept = []

    def function(x):
        x[0] = -1.0
        kept.append(x)
        return x

    constant = tf.constant([1.0, 2.0])
    y = tf.py_func(function, [constant], tf.float32)
    with tf.Session() as session:
        first = session.run(y)
        kept[0][:] = 9.0
        assert first.tolist() == [-1.0, 2.0]
        assert session.run([constant, y])[0].tolist() == [1.0, 2.0]
        first[:] = 5.0
        assert session.run(y).tolist() == [-1.0, 2.0]


def test_stateful_functions_are_called_every_time_and_others_may_be_merged():
    calls = []

    def function(x):
        calls.append(x)
        return x

    constant = tf.constant(1.0)
    run([tf.py_func(function, [constant], tf.float32) for _ in range(2)])
    assert len(calls) == 2
    stateless = [tf.py_func(function, [constant], tf.float32, stateful=False) for _ in range(2)]
    assert stateless[0].op.type == "PyFuncStateless" and run(stateless) == [1.0, 1.0]


def test_effects_keep_their_order():
    seen = []
    first = tf.py_func(lambda: seen.append("first"), [], [])
    with tf.control_dependencies([first]):
        second = tf.py_func(lambda: seen.append("second"), [], [])
    run(second)
    assert seen == ["first", "second"]


def test_it_may_run_a_session():
    x = tf.constant(3.0)
    with tf.Session() as session, tf.Session() as other:
        y = tf.py_func(lambda v: v + session.run(x) + other.run(x * 2.0), [1.0], tf.float32)
        assert session.run(y * 10.0) == 100.0


def test_in_the_middle_of_a_graph_with_unknown_shapes():
    x = tf.placeholder(tf.float32, [None])
    positive = tf.py_func(lambda v: v[v > 0], [x], tf.float32)
    assert positive.shape.ndims is None
    total = tf.reduce_sum(tf.exp(positive) * 2.0)
    assert run(total, {x: [1.0, -1.0, 0.0]}) == pytest.approx(2 * np.e, rel=1e-6)


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad"), tf.errors.InvalidArgumentError),
        (TypeError("bad"), tf.errors.InvalidArgumentError),
        (StopIteration("bad"), tf.errors.OutOfRangeError),
        (MemoryError("bad"), tf.errors.ResourceExhaustedError),
        (NotImplementedError("bad"), tf.errors.UnimplementedError),
        (KeyError("bad"), tf.errors.UnknownError),
        (ZeroDivisionError("bad"), tf.errors.UnknownError),
    ],
)
def test_exceptions(error, kind):
    with pytest.raises(kind, match=f"{type(error).__name__}: .?bad") as caught:
        run(tf.py_func(raising(error), [], tf.float32))
    assert "raise error" in str(caught.value) and "host.py" not in str(caught.value).replace(
        "test_host.py", ""
    )


@pytest.mark.parametrize(
    ("function", "types", "kind", "phrase"),
    [
        (
            lambda: 1,
            tf.float32,
            tf.errors.InvalidArgumentError,
            "0-th value returned by <lambda> is int64, but expects float",
        ),
        (lambda: np.float32(1), tf.float64, tf.errors.InvalidArgumentError, "is float, but expects double"),
        (
            lambda: (1.0, 2.0),
            tf.float64,
            tf.errors.InvalidArgumentError,
            "returns 2 values, but expects to see 1 values",
        ),
        (
            lambda: 1.0,
            [tf.float64] * 2,
            tf.errors.InvalidArgumentError,
            "returns 1 values, but expects to see 2 values",
        ),
        (lambda: None, tf.float64, tf.errors.InvalidArgumentError, "returns 0 values"),
        (object, tf.float64, tf.errors.InternalError, "Unsupported object type object"),
        (lambda: {"a": 1}, tf.float64, tf.errors.InternalError, "Unsupported object type dict"),
    ],
)
def test_wrong_results(function, types, kind, phrase):
    with pytest.raises(kind, match=phrase):
        run(tf.py_func(function, [], types))


def test_what_is_no_function():
    number: Any = 3
    with pytest.raises(ValueError, match="callable"):
        tf.py_func(number, [], tf.float32)


def test_a_gradient_by_override():
    name = "test_host.Cube"

    @tf.RegisterGradient(name)
    def _cube(op, dy):
        return dy * 3.0 * op.inputs[0] ** 2

    try:
        x = tf.constant(2.0)
        with tf.get_default_graph().gradient_override_map({"PyFunc": name}):
            y = tf.py_func(lambda v: v**3, [x], tf.float32)
        assert tf.gradients(tf.py_func(lambda v: v, [x], tf.float32), x) == [None]
        assert run(tf.gradients(y, x)) == [12.0]
    finally:
        registry.unregister(name)


# ---------------------------------------------------------------- operations by subclassing


class add(tf.Operation):  # as the tutorial names them
    def __init__(self, x, y):
        super().__init__([x, y])

    def compute(self, x_value, y_value):
        self.inputs = [x_value, y_value]  # as the tutorial does
        return x_value + y_value


class matmul(tf.Operation):
    def __init__(self, x, y, name=None):
        super().__init__([x, y], name)

    def compute(self, x_value, y_value):
        return x_value.dot(y_value)


class doubled(tf.Operation):
    def __init__(self, x):
        super().__init__([x])

    def compute(self, x_value):
        self.calls = getattr(self, "calls", 0) + 1
        return 2 * x_value


@pytest.fixture(autouse=True)
def gradients_of_the_tutorial():
    functions = {
        "add": lambda op, grad: [grad, grad],
        "matmul": lambda op, grad: [grad.dot(op.inputs[1].T), op.inputs[0].T.dot(grad)],
        "doubled": lambda op, grad: 2 * grad,
    }
    for name, function in functions.items():
        tf.RegisterGradient(name)(function)
    yield
    for name in functions:
        registry.unregister(name)


W = [[1.0, 2.0], [3.0, 4.0]]


def test_an_object_is_an_operation_of_the_graph():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder()
        y = matmul(x, W, name="product")
        z = add(y, y)
        assert graph.get_operation_by_name("product") is y and (y.type, z.name) == ("matmul", "add")
        assert y.output is graph.get_tensor_by_name("product:0") and list(z.inputs) == [y.output, y.output]
        with tf.Session() as session:
            values = session.run([y, z, z * 2 + 1, -z, z.output], {x: [[1, 0], [0, 2]]})
    expected = np.array([[1.0, 2.0], [6.0, 8.0]])
    for found, wanted in zip(values, [expected, 2 * expected, 4 * expected + 1, -2 * expected, 2 * expected]):
        assert found.tolist() == wanted.tolist()


def test_it_can_be_fed_and_runs_once_per_run():
    x = tf.constant([1.0, 2.0])
    y = doubled(x)
    with tf.Session() as session:
        session.run([y, y + 1.0, doubled(y)])
        assert y.calls == 1
        assert session.run(y + 1.0, {y: [5.0, 6.0]}).tolist() == [6.0, 7.0] and y.calls == 1


def test_gradients_are_functions_of_arrays():
    x = tf.placeholder()
    w = tf.Variable(np.array(W))
    y = matmul(x, w)
    loss = tf.reduce_sum(tf.square(add(y, y)))  # the same node twice
    of_w, of_x = tf.gradients(loss, [w, x])
    a, b = np.array([[1.0, -1.0], [2.0, 0.5]]), np.array(W)
    with tf.Session() as session:
        session.run(w.initializer)
        found = session.run([of_w, of_x], {x: a})
    np.testing.assert_allclose(found[0], a.T @ (8 * a @ b))
    np.testing.assert_allclose(found[1], (8 * a @ b) @ b.T)
    assert of_w.shape == w.shape


def test_training_through_such_operations():
    w = tf.Variable(np.array([[4.0], [2.0]]))
    loss = tf.reduce_sum(tf.square(matmul(tf.constant(np.eye(2)), w)))
    step = tf.train.GradientDescentOptimizer(0.25).minimize(loss)
    with tf.Session() as session:
        session.run(w.initializer)
        session.run(step)
        assert session.run(w).tolist() == [[2.0], [1.0]]


def test_mistakes_in_gradients():
    x, b = tf.constant(W), tf.constant([1.0, 2.0])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"input 1 must have the input's shape \[2\], but has \[2, 2\]"
    ):
        run(tf.gradients(add(x, b), b))
    registry.unregister("add")
    tf.RegisterGradient("add")(lambda op, grad: grad)
    with pytest.raises(tf.errors.InvalidArgumentError, match="returned 1 arrays for 2 inputs"):
        run(tf.gradients(add(x, x), x))
    registry.unregister("add")
    with pytest.raises(LookupError, match="No gradient defined for operation"):
        tf.gradients(add(x, x), x)
    tf.RegisterGradient("add")(lambda op, grad: [grad, grad])
    first = tf.gradients(tf.square(matmul(x, x)), x)[0]
    with pytest.raises(LookupError, match="No gradient defined for operation"):
        tf.gradients(first, x)


def test_mistakes_in_classes():
    class Empty(tf.Operation):
        pass

    class Failing(tf.Operation):
        def compute(self, x):
            raise KeyError("lost")

    with pytest.raises(TypeError, match=r"Empty needs a method compute\(self, \*values\)"):
        Empty([1.0])
    with pytest.raises(tf.errors.UnknownError, match="KeyError: 'lost'"):
        run(Failing([1.0]))
    with pytest.raises(TypeError, match="Can't convert Operation 'NoOp' to Tensor"):
        _ = tf.no_op() + 1.0
