"""tf.gradients: its options, sums over paths, sparse gradients, and what flows through loops and branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.autodiff import registry
from tahr.core.opdef import OpDef
from tests.differences import check_derivatives
from tests.running import run_initialized as run


def scalar(name: str | None = None) -> tf.Tensor:
    return tf.placeholder(tf.float64, [], name)


def dense(slices: Any) -> np.ndarray:
    """The value of a fetched IndexedSlices as an array."""
    result = np.zeros(tuple(slices.dense_shape), slices.values.dtype)
    np.add.at(result, slices.indices, slices.values)
    return result


# ---------------------------------------------------------------- what is differentiated by what


def test_one_x_gives_a_list_too():
    x = tf.constant(3.0)
    assert run(tf.gradients(x * x, x)) == [6.0]


def test_no_xs_and_no_ys():
    x = tf.constant(3.0)
    assert tf.gradients(x, []) == []
    assert tf.gradients([], [x]) == [None]


def test_several_ys_are_summed():
    x = tf.constant(3.0)
    assert run(tf.gradients([x * x, x * x, x], x)) == [13.0]


def test_a_repeated_y_counts_as_often():
    x = tf.constant(3.0)
    y = x * x
    assert run(tf.gradients([y, y], x)) == [12.0]


def test_a_repeated_x_has_the_same_gradient_twice():
    x = tf.constant(3.0)
    assert run(tf.gradients(x * x, [x, x])) == [6.0, 6.0]


def test_y_is_x():
    x = tf.constant(3.0)
    assert run(tf.gradients(x, x)) == [1.0]
    assert run(tf.gradients([x, x], x)) == [2.0]


def test_ys_that_are_xs_count_themselves_and_what_depends_on_them():
    x = tf.constant(3.0)
    y = x * x
    assert run(tf.gradients([x, y], [x, y])) == [7.0, 1.0]


def test_the_same_input_twice():
    x = tf.constant(3.0)
    assert run(tf.gradients(tf.multiply(x, x), x)) == [6.0]
    assert run(tf.gradients(tf.concat([[x], [x], [x]], 0), x)) == [3.0]


def test_a_diamond_adds_its_paths():
    x = scalar()
    left, right = tf.sin(x), tf.exp(x)
    y = left * right
    assert run(tf.gradients(y, [x, left, right]), {x: 0.7}) == pytest.approx(
        [np.exp(0.7) * (np.sin(0.7) + np.cos(0.7)), np.exp(0.7), np.sin(0.7)]
    )


def test_an_intermediate_tensor_and_its_own_sources():
    x = scalar()
    middle = x * x
    y = middle * x
    assert run(tf.gradients(y, [x, middle]), {x: 2.0}) == [12.0, 2.0]


def test_one_x_that_depends_on_another():
    a = scalar()
    b = a * 3.0
    c = b + a
    assert run(tf.gradients(c * b, [a, b, c]), {a: 1.0}) == [24.0, 7.0, 3.0]


def test_an_x_that_nothing_depends_on():
    x, other = tf.constant([1.0, 2.0]), tf.constant([1, 2])
    assert tf.gradients(x, other) == [None]
    zeros, ones = run(tf.gradients(x, [other, x], unconnected_gradients=tf.UnconnectedGradients.ZERO))
    np.testing.assert_array_equal(zeros, [0, 0])
    assert zeros.dtype == np.int32
    np.testing.assert_array_equal(ones, [1.0, 1.0])


def test_zeros_of_an_unconnected_variable_and_of_an_unknown_shape():
    variable, resource = tf.Variable([1.0, 2.0]), tf.Variable([3.0], use_resource=True)
    x, other = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.float32)
    found = tf.gradients(tf.constant(1.0), [variable, resource, x, other], unconnected_gradients="zero")
    values = run(found, {x: np.ones((3, 2)), other: np.ones((1, 4, 1))})
    assert [v.shape for v in values] == [(2,), (1,), (3, 2), (1, 4, 1)]
    assert not any(v.any() for v in values)


def test_an_unknown_word_for_unconnected_gradients():
    x = tf.constant(1.0)
    with pytest.raises(ValueError, match="Unknown value for unconnected_gradients: 'foo'"):
        tf.gradients(x, x, unconnected_gradients="foo")


def test_an_output_that_nothing_uses_counts_as_zero():
    x = tf.placeholder(tf.float64, [4])
    first, _ = tf.split(x, 2)
    np.testing.assert_array_equal(run(tf.gradients(first * first, x)[0], {x: [1, 2, 3, 4]}), [2, 4, 0, 0])


def test_gradients_are_scoped_by_name():
    x = tf.constant(1.0)
    assert tf.gradients(tf.sin(x), x)[0].name.startswith("gradients/")
    assert tf.gradients(tf.sin(x), x)[0].name.startswith("gradients_1/")
    assert tf.gradients(tf.sin(x), x, name="slopes")[0].name.startswith("slopes/")


# ---------------------------------------------------------------- options


def test_grad_ys():
    x = tf.placeholder(tf.float64, [2])
    y, z = x * x, tf.reduce_sum(x)
    np.testing.assert_array_equal(run(tf.gradients(y, x, [[10.0, 100.0]])[0], {x: [1, 2]}), [20, 400])
    np.testing.assert_array_equal(run(tf.gradients([y, z], x, [None, 5.0])[0], {x: [1, 2]}), [7, 9])


def test_grad_ys_may_depend_on_x():
    x = scalar()
    (first,) = tf.gradients(x * x, x, grad_ys=[x])
    assert run([first, *tf.gradients(first, x)], {x: 3.0}) == [18.0, 12.0]


def test_grad_ys_that_do_not_fit():
    x = tf.constant([1.0, 2.0])
    with pytest.raises(ValueError, match="Passed 2 grad_ys for 1 ys"):
        tf.gradients(x, x, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"grad_ys\[0\] has shape \[3\]"):
        tf.gradients(x, x, [[1.0, 2.0, 3.0]])


def test_stop_gradients_makes_constants():
    a = tf.constant(2.0)
    b = 2 * a
    assert run(tf.gradients(a + b, [a, b], stop_gradients=[a, b])) == [1.0, 1.0]
    assert run(tf.gradients(a + b, [a, b])) == [3.0, 1.0]
    assert run(tf.gradients(a * b, a, stop_gradients=b)) == [4.0]
    assert tf.gradients(b, a, stop_gradients=b) == [None]


def test_an_x_that_is_also_stopped_has_its_gradient():
    x = tf.constant(3.0)
    assert run(tf.gradients(x * x, x, stop_gradients=[x])) == [6.0]


def test_stop_gradients_stops_one_output_of_several():
    x = tf.placeholder(tf.float64, [4])
    first, second = tf.split(x, 2)
    y = tf.reduce_sum(first * second)
    np.testing.assert_array_equal(
        run(tf.gradients(y, x, stop_gradients=[second])[0], {x: [1, 2, 3, 4]}), [3, 4, 0, 0]
    )


def test_stop_gradient_the_operation():
    x = tf.constant(3.0)
    assert run(tf.gradients(x * tf.stop_gradient(x), x)) == [3.0]
    assert tf.gradients(tf.stop_gradient(x), x) == [None]


@pytest.mark.parametrize(
    "options",
    [
        {"colocate_gradients_with_ops": True},
        {"gate_gradients": True},
        *({"aggregation_method": m} for m in range(3)),
        {"aggregation_method": None},
    ],
)
def test_options_that_only_say_how(options: dict[str, Any]):
    x = tf.constant(3.0)
    assert run(tf.gradients(x * x + x, x, **options)) == [7.0]


# ---------------------------------------------------------------- dtypes


def test_integers_carry_no_gradient():
    x, n = tf.constant(3.0), tf.constant(3)
    assert tf.gradients(n * 2, n) == [None]
    assert run(tf.gradients(n, n)) == [1]
    assert tf.gradients(tf.cast(x, tf.int32), x) == [None]
    assert tf.gradients(tf.cast(tf.cast(x, tf.int32), tf.float32) * 2.0, x) == [None]
    assert run(tf.gradients(tf.cast(tf.floor(x), tf.float32) * x, x)) == [3.0]


def test_truth_values_cannot_be_differentiated():
    x = tf.constant(3.0)
    with pytest.raises(TypeError, match="dtype bool"):
        tf.gradients(x > 1.0, x)


def test_a_gradient_has_the_dtype_of_its_x():
    x = tf.constant(2.0, tf.float16)
    y = tf.cast(x, tf.float64) ** 3
    (dx,) = run(tf.gradients(y, x))
    assert dx == 12.0
    assert dx.dtype == np.float16


def test_complex_gradients_are_conjugated():
    z = tf.constant(3 + 1j)
    weight = tf.constant(1 + 0j, tf.complex128)
    assert run(tf.gradients(tf.real(z * z), z)) == [6 - 2j]
    assert run(tf.gradients(z * z, z, grad_ys=[weight])) == [6 - 2j]
    with pytest.raises(TypeError, match="must set grad_ys"):
        tf.gradients(z * z, z)


def test_second_derivatives_of_a_real_function_of_complex_numbers():
    z = tf.placeholder(tf.complex128, [])
    (first,) = tf.gradients(tf.square(tf.abs(z)), z)
    (second,) = tf.gradients(tf.real(first), z)
    assert run([first, second], {z: 3 + 4j}) == pytest.approx([6 + 8j, 2 + 0j])


# ---------------------------------------------------------------- variables


@pytest.mark.parametrize("use_resource", [False, True])
def test_all_reads_of_a_variable_count(use_resource: bool):
    w = tf.Variable(2.0, use_resource=use_resource)
    read = w.read_value()
    y = read * read * w
    assert run(tf.gradients(y, [w, read])) == [12.0, 8.0]


@pytest.mark.parametrize("use_resource", [False, True])
def test_gradients_of_gradients_by_a_variable(use_resource: bool):
    w = tf.Variable([2.0, 3.0], dtype=tf.float64, use_resource=use_resource)
    check_derivatives(w * w * tf.sin(w), [w], {w: np.array([0.4, 0.9])}, orders=3)


def test_the_value_of_a_variable_is_an_x_of_its_own():
    w = tf.Variable(2.0)
    assert run(tf.gradients(w * w, w.value())) == [4.0]


def test_a_gradient_uses_the_fed_value():
    w = tf.Variable(2.0)
    y = w * w
    (gradient,) = tf.gradients(y * y, w)
    assert run(gradient, {w: 3.0}) == 108.0
    assert run(gradient, {y: 1.0}) == 8.0


def test_no_gradient_flows_through_an_assignment():
    x, w = tf.constant(1.0), tf.Variable(1.0)
    assert tf.gradients(tf.assign(w, x), x) == [None]


# ---------------------------------------------------------------- sparse gradients


@pytest.mark.parametrize("use_resource", [False, True])
def test_gathering_gives_slices_and_several_are_joined(use_resource: bool):
    w = tf.Variable(np.ones((4, 2), np.float32), use_resource=use_resource)
    ys = [tf.reduce_sum(tf.gather(w, [0, 0, 2])), 5.0 * tf.reduce_sum(tf.gather(w, [1]))]
    (gradient,) = tf.gradients(ys, w)
    assert isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_array_equal(dense(run(gradient)), [[2, 2], [5, 5], [1, 1], [0, 0]])


@pytest.mark.parametrize("use_resource", [False, True])
def test_slices_beside_a_dense_gradient_become_dense(use_resource: bool):
    w = tf.Variable(np.ones((4, 2), np.float32), use_resource=use_resource)
    (gradient,) = tf.gradients([tf.reduce_sum(tf.gather(w, [0, 0, 2])), tf.reduce_sum(w)], w)
    assert isinstance(gradient, tf.Tensor)
    np.testing.assert_array_equal(run(gradient), [[3, 3], [1, 1], [2, 2], [1, 1]])


def test_slices_become_dense_where_they_pass_through_an_operation():
    w = tf.Variable(np.arange(8.0).reshape(4, 2))
    (gradient,) = tf.gradients(tf.gather(w * w, [[3, 3], [0, 3]]), w)
    assert isinstance(gradient, tf.Tensor)
    expected = np.zeros((4, 2))
    expected[0], expected[3] = [0, 2], [36, 42]
    np.testing.assert_array_equal(run(gradient), expected)


def test_slices_as_ys_and_grad_ys():
    w = tf.Variable(np.ones((3, 1)))
    slices = tf.gradients(tf.gather(w * 2.0, [1, 1]), w * 1.0)[0]
    assert slices is None
    scaled = w * 2.0
    start = tf.IndexedSlices(
        tf.constant([[5.0], [7.0]], tf.float64), tf.constant([2, 2]), tf.constant([3, 1])
    )
    (gradient,) = tf.gradients(scaled, w, grad_ys=[start])
    np.testing.assert_array_equal(run(gradient), [[0], [0], [24]])


def test_second_derivatives_through_gathered_rows():
    w = tf.placeholder(tf.float64, [4, 2])
    rows = tf.gather(w, [1, 3, 1])
    check_derivatives(rows * tf.sin(rows), [w], {w: np.arange(8.0).reshape(4, 2) / 7}, orders=2)


# ---------------------------------------------------------------- missing and registered gradients


def test_a_missing_gradient_names_the_operation_and_the_path():
    x = tf.constant([2.0, 1.0], name="start")
    y = _without_gradient(tf.square(x, name="before"))
    z = tf.exp(y, name="behind")
    with pytest.raises(LookupError) as caught:
        tf.gradients(z, x)
    text = str(caught.value)
    assert "No gradient defined for operation 'Orphan' (op type: Orphan)" in text
    places = [
        text.index(f'"{name}"') if f'"{name}"' in text else text.index(name)
        for name in ("behind", "before", "start")
    ]
    assert places == sorted(places)
    assert "tf.RegisterGradient('Orphan')" in text


def _without_gradient(x: tf.Tensor) -> tf.Tensor:
    orphan = OpDef("Orphan", "x: T -> y: T", register=False)
    orphan.shape(lambda x: x.shape)
    return orphan(x)


def test_a_missing_gradient_off_the_path_does_not_matter():
    x = tf.constant([2.0, 1.0])
    y = _without_gradient(tf.constant([5.0, 5.0])) * x
    assert tf.gradients(y, x)[0] is not None


@pytest.fixture
def registered() -> Any:
    """Registers gradients for one test."""
    names: list[str] = []

    def register(name: str, function: Callable[..., Any]) -> None:
        tf.RegisterGradient(name)(function)
        names.append(name)

    yield register
    for name in names:
        registry.unregister(name)


def test_gradient_override_map_at_second_order(registered: Callable[..., None]):
    registered("GradientOfTheTest", lambda op, dy: dy * 10.0 * op.inputs[0])
    x = scalar()
    with tf.get_default_graph().gradient_override_map({"Sin": "GradientOfTheTest"}):
        y = tf.sin(x)
    (first,) = tf.gradients(y, x)
    assert run([first, *tf.gradients(first, x)], {x: 3.0}) == [30.0, 10.0]


def test_an_overridden_gradient_inside_a_loop(registered: Callable[..., None]):
    registered("GradientOfTheTest", lambda op, dy: dy * 10.0)
    x = scalar()

    def body(i, a):
        with tf.get_default_graph().gradient_override_map({"Sin": "GradientOfTheTest"}):
            return i + 1, tf.sin(a)

    _, y = tf.while_loop(lambda i, a: i < 3, body, [0, x])
    assert run(tf.gradients(y, x), {x: 0.5}) == [1000.0]


def test_a_registered_gradient_of_the_wrong_number(registered: Callable[..., None]):
    registered("GradientOfTheTest", lambda op, dy: [dy])
    x = tf.constant(1.0)
    with tf.get_default_graph().gradient_override_map({"Mul": "GradientOfTheTest"}):
        y = x * 2.0
    with pytest.raises(ValueError, match="Num gradients 1 generated for op"):
        tf.gradients(y, x)


def test_a_registered_gradient_of_the_wrong_shape(registered: Callable[..., None]):
    registered("GradientOfTheTest", lambda op, dy: tf.ones([3, 3]))
    x = tf.constant([1.0, 2.0])
    with tf.get_default_graph().gradient_override_map(
        {"Cumsum": "GradientOfTheTest", "Identity": "GradientOfTheTest"}
    ):
        y = tf.identity(x)
    with pytest.raises(
        ValueError, match="Incompatible shapes between op input and calculated input gradient"
    ):
        tf.gradients(y, x)


def test_py_func_has_no_gradient_unless_it_is_given_one(registered: Callable[..., None]):
    x = scalar()
    assert tf.gradients(tf.py_func(lambda v: v * v, [x], tf.float64), x) == [None]
    registered("GradientOfTheTest", lambda op, dy: dy * 2.0 * op.inputs[0])
    with tf.get_default_graph().gradient_override_map({"PyFunc": "GradientOfTheTest"}):
        y = tf.py_func(lambda v: v * v, [x], tf.float64)
    assert run(tf.gradients(y, x), {x: 3.0}) == [6.0]


# ---------------------------------------------------------------- second and higher orders


def test_the_hessian_of_a_small_net():
    w1 = tf.placeholder(tf.float64, [3, 4])
    w2 = tf.placeholder(tf.float64, [4, 2])
    x = np.linspace(-1, 1, 15).reshape(5, 3)
    labels = np.eye(2)[[0, 1, 1, 0, 1]]
    logits = tf.matmul(tf.tanh(tf.matmul(tf.constant(x), w1)), w2)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))
    rng = np.random.default_rng(0)
    check_derivatives(
        loss, [w1, w2], {w1: rng.normal(size=(3, 4)), w2: rng.normal(size=(4, 2))}, orders=2, rtol=1e-5
    )


def test_the_hessian_of_a_convolutional_net_with_batch_normalization():
    w = tf.placeholder(tf.float64, [2, 2, 1, 2])
    scale = tf.placeholder(tf.float64, [2])
    image = tf.constant(np.random.default_rng(1).normal(size=(2, 4, 4, 1)))
    h = tf.nn.conv2d(image, w, [1, 1, 1, 1], "SAME")
    mean = tf.reduce_mean(h, [0, 1, 2])
    variance = tf.reduce_mean(tf.square(h - mean), [0, 1, 2])
    h = tf.nn.batch_normalization(h, mean, variance, None, scale, 1e-3)
    loss = tf.reduce_mean(tf.nn.avg_pool(tf.nn.softplus(h), [1, 2, 2, 1], [1, 2, 2, 1], "VALID") ** 2)
    rng = np.random.default_rng(2)
    check_derivatives(
        loss, [w, scale], {w: rng.normal(size=(2, 2, 1, 2)), scale: rng.normal(size=2)}, orders=2, rtol=1e-5
    )


def test_the_fifth_derivative():
    x = scalar()
    y = tf.exp(2.0 * x)
    for _ in range(5):
        (y,) = tf.gradients(y, x)
    assert run(y, {x: 0.3}) == pytest.approx(32 * np.exp(0.6))


# ---------------------------------------------------------------- branches


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_that_returns_its_capture_directly(taken: bool):
    x, p = scalar(), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: x, lambda: tf.constant(1.0, tf.float64))
    assert run(tf.gradients(y, x), {x: 5.0, p: taken}) == [1.0 if taken else 0.0]
    z = tf.cond(p, lambda: x, lambda: x * x)
    assert run(tf.gradients(z, x), {x: 5.0, p: taken}) == [1.0 if taken else 10.0]


@pytest.mark.parametrize("taken", [True, False])
def test_branches_with_different_captures_and_several_results(taken: bool):
    a, b, c, p = scalar(), scalar(), scalar(), tf.placeholder(tf.bool, [])
    first, second = tf.cond(p, lambda: (a * b, b), lambda: (c * 3.0, tf.sin(a)))
    check_derivatives(first * second, [a, b, c], {a: 0.5, b: 1.5, c: 2.5, p: taken}, orders=2)


def test_a_branch_whose_result_has_no_gradient():
    x, p = scalar(), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.stop_gradient(x), lambda: tf.constant(2.0, tf.float64))
    assert tf.gradients(y, x) == [None]
    z = tf.cond(p, lambda: tf.stop_gradient(x) * 1.0, lambda: x * x)
    assert run(tf.gradients(z, x), {x: 5.0, p: True}) == [0.0]
    assert run(tf.gradients(z, x), {x: 5.0, p: False}) == [10.0]


def test_integer_results_beside_others():
    x, p = scalar(), tf.placeholder(tf.bool, [])
    n, y = tf.cond(p, lambda: (tf.constant(2), x * x), lambda: (tf.constant(3), x))
    z = y * tf.cast(n, tf.float64)
    assert run(tf.gradients(z, x), {x: 5.0, p: True}) == [20.0]
    assert run(tf.gradients(z, x), {x: 5.0, p: False}) == [3.0]


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_inside_a_branch(taken: bool):
    x, p = scalar(), tf.placeholder(tf.bool, [])
    y = tf.cond(
        p,
        lambda: tf.cond(x > 1.0, lambda: x**3, lambda: x * 7.0),
        lambda: tf.cond(x > 1.0, lambda: tf.exp(x), lambda: x),
    )
    for value in (0.5, 2.0):
        check_derivatives(y, [x], {x: value, p: taken}, orders=3, rtol=1e-5)


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("taken", [True, False])
def test_sparse_gradients_in_a_branch(taken: bool, use_resource: bool):
    w = tf.Variable(np.ones((4, 2)), use_resource=use_resource)
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.gather(w, [0, 0]), lambda: 3.0 * tf.gather(w, [3]))
    (gradient,) = tf.gradients(y, w)
    assert isinstance(gradient, tf.IndexedSlices)
    expected = np.zeros((4, 2))
    expected[0 if taken else 3] = 2.0 if taken else 3.0
    np.testing.assert_array_equal(dense(run(gradient, {p: taken})), expected)


@pytest.mark.parametrize("taken", [True, False])
def test_a_sparse_gradient_in_one_branch_and_none_in_the_other(taken: bool):
    w, p = tf.Variable(np.ones((4, 2))), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.gather(w, [1, 1]), lambda: tf.zeros([1, 2], tf.float64))
    (gradient,) = tf.gradients(y, w)
    assert isinstance(gradient, tf.IndexedSlices)
    assert dense(run(gradient, {p: taken})).sum() == (4.0 if taken else 0.0)


@pytest.mark.parametrize("taken", [True, False])
def test_a_sparse_gradient_in_one_branch_and_a_dense_one_in_the_other(taken: bool):
    w, p = tf.Variable(np.ones((4, 2))), tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: tf.gather(w, [1, 1]), lambda: w * 2.0)
    (gradient,) = tf.gradients(y, w)
    assert isinstance(gradient, tf.Tensor)
    expected = [[0, 0], [2, 2], [0, 0], [0, 0]] if taken else np.full((4, 2), 2.0)
    np.testing.assert_array_equal(run(gradient, {p: taken}), expected)


def test_a_sparse_gradient_of_a_branchs_result():
    x = tf.placeholder(tf.float64, [2])
    y = tf.gather(tf.cond(x[0] > 0.0, lambda: x * x, lambda: x * 3.0), [0, 0])
    np.testing.assert_array_equal(run(tf.gradients(y, x)[0], {x: [1.0, 2.0]}), [4.0, 0.0])


def test_case_and_its_gradient():
    x = scalar()
    y = tf.case([(x < 0.0, lambda: -x), (x < 1.0, lambda: x * x)], default=lambda: tf.exp(x), exclusive=False)
    for value in (-0.5, 0.5, 1.5):
        check_derivatives(y, [x], {x: value}, orders=2)


# ---------------------------------------------------------------- loops


def loop(count: Any, step: Callable[[Any, Any], Any], start: Any, **options: Any) -> Any:
    """`start` after `count` times `a = step(i, a)`."""
    return tf.while_loop(lambda i, a: i < count, lambda i, a: (i + 1, step(i, a)), [0, start], **options)[1]


def as_float(i: Any) -> Any:
    return tf.cast(i, tf.float64)


def test_captures_loop_variables_and_variables_in_nested_loops():
    x, w = scalar(), tf.Variable(1.2, dtype=tf.float64)
    outside = x * w

    def inner(i: Any, a: Any) -> Any:
        return loop(i + 1, lambda j, b: b * tf.sin(outside + as_float(j)) + w * a, a)

    y = loop(3, inner, x)
    check_derivatives(y, [x, w, outside], {x: 0.4, w: 1.3}, orders=1, known=[outside])
    check_derivatives(y, [x, w], {x: 0.4, w: 1.3}, orders=3, rtol=1e-4)


def test_a_resource_variable_in_nested_loops():
    w = tf.Variable([1.2, 0.3], dtype=tf.float64, use_resource=True)
    y = loop(2, lambda i, a: loop(2, lambda j, b: tf.tanh(b * w) + a, a), tf.constant([0.5, 0.7], tf.float64))
    check_derivatives(y, [w], {w: np.array([1.1, 0.4])}, orders=2)


def test_a_branch_in_a_loop_in_a_branch():
    x, p = scalar(), tf.placeholder(tf.bool, [])

    def step(i: Any, a: Any) -> Any:
        return tf.cond(tf.equal(i % 2, 0), lambda: tf.sin(a) * x, lambda: a + x * x)

    y = tf.cond(p, lambda: loop(3, step, x), lambda: x**3)
    for taken in (True, False):
        check_derivatives(y, [x], {x: 0.8, p: taken}, orders=3, rtol=1e-5)


def test_a_loop_in_a_branch_in_a_loop():
    x = scalar()

    def step(i: Any, a: Any) -> Any:
        return tf.cond(i < 2, lambda: loop(i + 1, lambda j, b: b * x, a), lambda: a + tf.exp(x))

    check_derivatives(loop(4, step, x), [x], {x: 0.8}, orders=3, rtol=1e-5)


def test_branches_in_nested_loops():
    x = tf.placeholder(tf.float64, [2])

    def inner(i: Any, a: Any) -> Any:
        return loop(2, lambda j, b: tf.cond(j < i, lambda: b * x, lambda: tf.sin(b) + a), a)

    check_derivatives(loop(3, inner, x), [x], {x: np.array([0.8, 1.1])}, orders=2)


def test_loops_one_behind_the_other():
    x = scalar()
    first = loop(2, lambda i, a: a * x, x)
    second = loop(2, lambda i, a: tf.sin(a * first), x)
    check_derivatives(first + second, [x], {x: 0.8}, orders=3, rtol=1e-5)


def test_a_count_that_the_first_loop_computes():
    x = scalar()
    count, y = tf.while_loop(lambda i, a: a < 10.0, lambda i, a: (i + 1, a * x), [0, x])
    z = loop(count, lambda i, a: a * tf.sin(x), y)
    check_derivatives(z, [x], {x: 1.9}, orders=2)


def test_integer_and_bool_loop_variables():
    x = scalar()

    def body(i: Any, go: Any, total: Any, a: Any) -> Any:
        return i + 1, i < 2, total + i, a * x * as_float(total + 1)

    *_, y = tf.while_loop(lambda i, go, total, a: go, body, [0, True, 0, x])
    check_derivatives(y, [x], {x: 0.9}, orders=2)


def test_loop_variables_that_swap():
    x, z = scalar(), scalar()
    _, a, b = tf.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, b, a * b), [0, x, z])
    check_derivatives(a * 2.0 + b, [x, z], {x: 0.9, z: 1.4}, orders=2)


def test_a_loop_variable_that_is_only_passed_on():
    x = scalar()
    _, kept, y = tf.while_loop(lambda i, k, a: i < 3, lambda i, k, a: (i + 1, k, a * k), [0, x, x])
    check_derivatives(y + kept, [x], {x: 0.9}, orders=2)


def test_a_loop_variable_that_is_replaced_by_a_capture_or_a_constant():
    x, z = scalar(), scalar()
    _, y = tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, z), [0, x])
    assert run(tf.gradients(y, [x, z]), {x: 1.0, z: 2.0}) == [0.0, 1.0]
    _, y = tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, tf.constant(1.0, tf.float64)), [0, x])
    assert run(tf.gradients(y, x), {x: 1.0}) == [0.0]


def test_two_results_of_one_loop_differentiated_apart():
    x = scalar()
    _, a, b = tf.while_loop(lambda i, a, b: i < 2, lambda i, a, b: (i + 1, a * x, b + a), [0, x, x])
    first = tf.gradients(a, x)[0]
    second = tf.gradients(b, x)[0]
    assert run([first, second], {x: 2.0}) == [12.0, 1 + 1 + 4]
    assert run([a, b], {x: 2.0}) == [8.0, 8.0]


def test_back_prop_false_stops_gradients():
    x = scalar()
    y = loop(3, lambda i, a: a * x, x, back_prop=False)
    assert tf.gradients(y, x) == [None]
    assert run(tf.gradients(y * x, x), {x: 2.0}) == [16.0]


def test_gradients_inside_of_a_body_of_what_is_outside():
    x = scalar()
    y = tf.sin(x)

    def step(i: Any, a: Any) -> Any:
        (slope,) = tf.gradients(a * a * x, a)
        return slope + tf.gradients(y, x)[0]

    check_derivatives(loop(2, step, x), [x], {x: 0.6}, orders=2)


def test_the_gradient_of_a_loop_inside_of_a_body():
    x = scalar()

    def step(i: Any, a: Any) -> Any:
        power = loop(2, lambda j, b: b * a, a)
        return tf.gradients(power, a)[0] * x

    check_derivatives(loop(2, step, x), [x], {x: 0.6}, orders=2)


def test_a_loop_over_the_rows_of_a_batch_of_any_size():
    x, w = tf.placeholder(tf.float64, [None, 3]), tf.placeholder(tf.float64, [3, 3])
    h = loop(
        tf.shape(x)[0], lambda i, h: tf.tanh(tf.matmul(h, w) + x[i][tf.newaxis]), tf.zeros([1, 3], tf.float64)
    )
    rng = np.random.default_rng(0)
    for n in (3, 1, 2, 0):
        check_derivatives(
            h, [x, w], {x: rng.normal(size=(n, 3)), w: rng.normal(size=(3, 3))}, orders=2, rtol=1e-5
        )


def test_a_recurrent_net_over_tensor_arrays():
    x, w = tf.placeholder(tf.float64, [4, 2]), tf.placeholder(tf.float64, [2, 2])
    inputs = tf.TensorArray(tf.float64, 4).unstack(x)
    states = tf.TensorArray(tf.float64, 4)

    def body(i: Any, h: Any, states: Any) -> Any:
        h = tf.tanh(tf.matmul(h, w) + inputs.read(i)[tf.newaxis])
        return i + 1, h, states.write(i, h)

    *_, states = tf.while_loop(lambda i, *_: i < 4, body, [0, tf.zeros([1, 2], tf.float64), states])
    rng = np.random.default_rng(0)
    check_derivatives(
        states.stack(), [x, w], {x: rng.normal(size=(4, 2)), w: rng.normal(size=(2, 2))}, orders=3, rtol=1e-4
    )


def test_tensor_arrays_in_a_branch_in_a_loop():
    x = tf.placeholder(tf.float64, [3])
    array = tf.TensorArray(tf.float64, 3, element_shape=[])

    def body(i: Any, array: Any) -> Any:
        return i + 1, tf.cond(x[i] > 0.0, lambda: array.write(i, x[i] ** 2), lambda: array)

    _, array = tf.while_loop(lambda i, _: i < 3, body, [0, array])
    check_derivatives(array.stack(), [x], {x: np.array([0.5, -0.7, 0.9])}, orders=2)


def test_concatenated_and_split_tensor_arrays():
    x = tf.placeholder(tf.float64, [5])
    parts = tf.TensorArray(tf.float64, 2).split(x * x, [2, 3])
    y = parts.concat() * parts.read(0)[1]
    check_derivatives(y, [x], {x: np.linspace(0.5, 1.5, 5)}, orders=2)


@pytest.mark.parametrize("build", ["map_fn", "scan", "foldl", "foldr"])
def test_functional_loops(build: str):
    x, w = tf.placeholder(tf.float64, [3, 2]), scalar()
    y = {
        "map_fn": lambda: tf.map_fn(lambda row: tf.sin(row * w), x),
        "scan": lambda: tf.scan(lambda a, row: a * row + w, x),
        "foldl": lambda: tf.foldl(lambda a, row: a * row + w, x),
        "foldr": lambda: tf.foldr(lambda a, row: a * row + w, x),
    }[build]()
    rng = np.random.default_rng(3)
    check_derivatives(y, [x, w], {x: rng.normal(size=(3, 2)), w: 0.7}, orders=2)


def test_sparse_gradients_through_nested_loops_and_branches():
    w = tf.Variable(np.arange(8.0).reshape(4, 2))

    def step(i: Any, a: Any) -> Any:
        return loop(
            2, lambda j, b: b + tf.cond(j < i, lambda: tf.gather(w, [i + j]), lambda: tf.gather(w, [0])), a
        )

    (gradient,) = tf.gradients(loop(2, step, tf.zeros([1, 2], tf.float64)), w)
    assert isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_array_equal(dense(run(gradient)), [[3, 3], [1, 1], [0, 0], [0, 0]])


def test_a_sparse_gradient_of_a_loop_that_does_not_run():
    w, n = tf.Variable(np.ones((4, 2))), tf.placeholder(tf.int32, [])
    (gradient,) = tf.gradients(loop(n, lambda i, a: a + tf.gather(w, [i]), tf.zeros([1, 2], tf.float64)), w)
    assert dense(run(gradient, {n: 0})).sum() == 0.0
    np.testing.assert_array_equal(dense(run(gradient, {n: 2})).sum(1), [2, 2, 0, 0])


@pytest.mark.parametrize("value", [0.3, 0.8])
def test_loops_whose_length_depends_on_the_variable(value: float):
    x = scalar()
    y = tf.while_loop(lambda a: a < 10.0, lambda a: a * (1.0 + x), [tf.exp(x)])
    check_derivatives(y, [x], {x: value}, orders=2, rtol=1e-5)


def test_maximum_iterations():
    x = scalar()
    y = loop(100, lambda i, a: a * x, x, maximum_iterations=3)
    check_derivatives(y, [x], {x: 0.9}, orders=2)


def test_fetching_gradients_of_several_orders_and_the_value_at_once():
    x = scalar()
    derivatives: list[Any] = [loop(3, lambda i, a: a * x, tf.constant(1.0, tf.float64))]
    for _ in range(3):
        derivatives += tf.gradients(derivatives[-1], x)
    session = tf.Session()
    for subset in ([0], [1], [3, 0], [0, 1, 2, 3], [2]):
        expected = np.array([8.0, 12.0, 12.0, 6.0])[subset]
        np.testing.assert_allclose(session.run([derivatives[i] for i in subset], {x: 2.0}), expected)


def test_adding_gradients_after_the_first_run_changes_nothing():
    x = scalar()
    y = loop(3, lambda i, a: a * x, x)
    session = tf.Session()
    assert session.run(y, {x: 2.0}) == 16.0
    first = tf.gradients(y, x)[0]
    assert session.run([y, first], {x: 2.0}) == [16.0, 32.0]
    second = tf.gradients(first, x)[0]
    assert session.run([y, first, second], {x: 2.0}) == [16.0, 32.0, 48.0]


def test_gradients_of_a_shared_loop_by_two_calls_share_its_hidden_lists():
    x = scalar()
    y = loop(3, lambda i, a: tf.sin(a * x), x)
    (op,) = [o for o in tf.get_default_graph().get_operations() if o.type == "While"]
    tf.gradients(y, x)
    count = len(op.outputs)
    tf.gradients(y, x)
    assert len(op.outputs) == count
