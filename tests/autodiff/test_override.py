"""Gradients of the user's own: custom_gradient, gradient_override_map, RegisterGradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.autodiff import registry
from tests.running import run_initialized as run

# ---------------------------------------------------------------- custom_gradient


@tf.custom_gradient
def log1pexp(x: Any) -> Any:
    """log(1 + e^x), whose gradient 1 - 1 / (1 + e^x) does not overflow where that of the formula is NaN."""
    e = tf.exp(x)
    return tf.log(1 + e), lambda dy: dy * (1 - 1 / (1 + e))


def test_the_given_gradient_takes_the_place_of_the_real_one() -> None:
    x = tf.constant(100.0)
    assert run(tf.gradients(log1pexp(x), x)[0]) == 1
    assert run(log1pexp(tf.constant(0.0))) == pytest.approx(np.log(2))


def test_it_can_be_differentiated_again() -> None:
    x = tf.constant(0.5)
    first = tf.gradients(log1pexp(x), x)[0]
    second = tf.gradients(first, x)[0]
    sigmoid = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(run(second), sigmoid * (1 - sigmoid), rtol=1e-6)


def test_several_arguments_and_results() -> None:
    @tf.custom_gradient
    def f(x: Any, y: Any) -> Any:
        return {"sum": x + y, "product": (x * y,)}, lambda dp, ds: (10 * dp, 100 * ds)

    x, y = tf.constant(2.0), tf.constant(3.0)
    result = f(x, y)
    assert run(result) == {"sum": 5, "product": (6,)}
    # The dictionary's leaves are taken in the order of its sorted keys: product, then sum.
    assert run(tf.gradients([result["sum"], result["product"][0]], [x, y], [5.0, 7.0])) == [70, 500]


def test_a_result_that_is_not_used_has_the_gradient_zero() -> None:
    seen: list[Any] = []

    @tf.custom_gradient
    def f(x: Any) -> Any:
        def gradient(*dys: Any) -> Any:
            seen.extend(dys)
            return dys[0]

        return (x, 2 * x), gradient

    x = tf.constant([1.0, 2.0])
    (dx,) = tf.gradients(f(x)[0], x)
    assert len(seen) == 2
    np.testing.assert_array_equal(run([dx, seen[1]]), [[1, 1], [0, 0]])


def test_no_gradient_is_none() -> None:
    @tf.custom_gradient
    def f(x: Any, y: Any) -> Any:
        return x * y, lambda dy: (dy, None)

    x, y = tf.constant(2.0), tf.constant(3.0)
    dx, dy = tf.gradients(f(x, y), [x, y])
    assert run(dx) == 1
    assert dy is None


def test_what_the_function_takes_from_outside_gets_nothing() -> None:
    w, x = tf.constant(3.0), tf.constant(2.0)

    @tf.custom_gradient
    def f(x: Any) -> Any:
        return w * x, lambda dy: dy

    assert tf.gradients(f(x), w) == [None]


@pytest.mark.parametrize("use_resource", [False, True])
def test_variables_reach_the_gradient(use_resource: bool) -> None:
    w = tf.Variable(3.0, use_resource=use_resource)
    unused = tf.Variable(4.0, use_resource=use_resource)
    given: list[Any] = []

    @tf.custom_gradient
    def f(x: Any) -> Any:
        def gradient(dy: Any, variables: Any) -> Any:
            given.extend(variables)
            return 10 * dy, [100 * dy]

        return x * w, gradient

    x = tf.constant(2.0)
    dx, dw, dunused = tf.gradients(f(x), [x, w, unused])
    assert given == [w]
    assert dunused is None
    assert run([dx, dw]) == [10, 100]


@pytest.mark.parametrize("use_resource", [False, True])
def test_variables_made_inside_reach_the_gradient(use_resource: bool) -> None:
    @tf.custom_gradient
    def f(x: Any) -> Any:
        w = tf.get_variable("w", [2], initializer=tf.ones_initializer(), use_resource=use_resource)
        tf.get_variable("unused", [2], use_resource=use_resource)
        return x * w, lambda dy, variables=(): (dy, [5 * dy for _ in variables])

    x = tf.constant([1.0, 2.0])
    y = f(x)
    w = tf.global_variables()[0]
    np.testing.assert_array_equal(run(tf.gradients(y, [x, w])), [[1, 1], [5, 5]])


def test_a_variable_without_a_gradient_is_an_error() -> None:
    w = tf.Variable(3.0, use_resource=True)

    @tf.custom_gradient
    def f(x: Any) -> Any:
        return x * w, lambda dy: dy

    with pytest.raises(TypeError, match="grad_fn must accept a keyword argument 'variables'"):
        f(1.0)


def test_a_reference_variable_may_be_left_out() -> None:
    w = tf.Variable(3.0)

    @tf.custom_gradient
    def f(x: Any) -> Any:
        return x * w, lambda dy: dy

    assert tf.gradients(f(1.0), w) == [None]


def test_too_few_variable_gradients_are_an_error() -> None:
    w = tf.Variable(3.0, use_resource=True)

    @tf.custom_gradient
    def f(x: Any) -> Any:
        return x * w, lambda dy, variables: (dy, [])

    with pytest.raises(ValueError, match="Must return gradient for each variable"):
        tf.gradients(f(1.0), w)


def test_too_many_gradients_are_an_error() -> None:
    @tf.custom_gradient
    def f(x: Any) -> Any:
        return x * 2, lambda dy: (dy, dy)

    x = tf.constant(1.0)
    with pytest.raises(ValueError, match="Num gradients"):
        tf.gradients(f(x), x)


def test_keyword_arguments_are_an_error() -> None:
    with pytest.raises(ValueError, match="keywords arguments"):
        log1pexp(x=1.0)


def test_the_function_keeps_its_name_and_may_be_a_method() -> None:
    class Model:
        scale = 3.0

        @tf.custom_gradient
        def double(self: Any, x: Any = None) -> Any:
            """Doubles."""
            return 2 * x, lambda dy: (None, dy)

    assert log1pexp.__name__ == "log1pexp"
    assert Model.double.__doc__ == "Doubles."


def test_inside_a_loop() -> None:
    @tf.custom_gradient
    def f(x: Any) -> Any:
        return 2 * x, lambda dy: 3 * dy

    x = tf.constant(1.0)
    y = tf.while_loop(lambda i, _: i < 4, lambda i, a: (i + 1, f(a)), [0, x])[1]
    assert run([y, tf.gradients(y, x)[0]]) == [16, 81]


# ---------------------------------------------------------------- names for gradients


@pytest.fixture
def registered() -> Iterator[None]:
    """Forgets what a test registers."""
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)


@pytest.mark.usefixtures("registered")
def test_gradient_override_map() -> None:
    @tf.RegisterGradient("Clipped")
    def _clipped(op: Any, dy: Any) -> Any:
        return tf.clip_by_value(dy, -1.0, 1.0)

    x = tf.constant(2.0)
    with tf.get_default_graph().gradient_override_map({"Identity": "Clipped"}):
        y = tf.identity(x)
    z = tf.identity(x)
    assert run(tf.gradients(5 * y, x)) == [1]
    assert run(tf.gradients(5 * z, x)) == [5]


@pytest.mark.usefixtures("registered")
def test_an_override_ends_with_its_block_even_after_an_error() -> None:
    graph = tf.get_default_graph()
    with pytest.raises(RuntimeError), graph.gradient_override_map({"Identity": "Nothing"}):
        raise RuntimeError
    x = tf.constant(2.0)
    assert run(tf.gradients(tf.identity(x), x)) == [1]


def test_a_name_that_is_not_registered_is_an_error() -> None:
    x = tf.constant(2.0)
    with tf.get_default_graph().gradient_override_map({"Identity": "NoSuchGradient"}):
        y = tf.identity(x)
    with pytest.raises(LookupError, match="NoSuchGradient"):
        tf.gradients(y, x)


@pytest.mark.parametrize("bad", [["Identity"], {"Identity": 1}, {1: "x"}, None])
def test_a_bad_override_map_is_an_error(bad: Any) -> None:
    with pytest.raises(TypeError, match="op_type_map must be a dictionary mapping strings to strings"):
        tf.get_default_graph().gradient_override_map(bad)


@pytest.mark.usefixtures("registered")
def test_registering_twice_is_an_error() -> None:
    tf.RegisterGradient("Once")(lambda op, dy: dy)
    with pytest.raises(KeyError, match="Once"):
        tf.RegisterGradient("Once")(lambda op, dy: dy)
    with pytest.raises(KeyError, match="MatMul"):
        tf.RegisterGradient("MatMul")(lambda op, dy: dy)
    with pytest.raises(KeyError, match="ArgMax"):
        tf.NotDifferentiable("ArgMax")
    with pytest.raises(TypeError, match="op_type must be a string"):
        tf.RegisterGradient(tf.matmul)  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("registered")
def test_not_differentiable() -> None:
    tf.NotDifferentiable("Wall")
    x = tf.constant(2.0)
    with tf.get_default_graph().gradient_override_map({"Identity": "Wall"}):
        y = tf.identity(x)
    assert tf.gradients(y, x) == [None]
