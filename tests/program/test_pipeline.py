"""The passes together: their order, what they must keep, and the numbers that they must not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core.opdef import OPS
from tahr.program.node import Program
from tahr.program.passes import expand, pipeline
from tahr.program.show import show
from tahr.session.explain import program_of
from tests.evaluate import fed
from tests.ops import checks, test_registry
from tests.ops.samples import Sample
from tests.program.lowering import compute, lower, op

pytestmark = pytest.mark.usefixtures("checked")

EVERYTHING = pipeline.passes(keeps=lambda opdef: False)


def kinds(program: Program) -> list[str]:
    return [node.opdef.name for node in program.nodes()]


def optimized(outputs: list[Any], feeds: dict[Any, Any]) -> Program:
    return pipeline.for_numpy(lower(outputs, feeds))


# ---------------------------------------------------------------- order


def test_order() -> None:
    names = [each.name for each in pipeline.passes(keeps=lambda opdef: True)]
    assert names == ["canonicalize", "stabilize", "expand", "fold", "simplify"]


def test_a_program_that_needs_nothing_stays_the_same_object() -> None:
    x, y = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [3, 2])
    program = lower([tf.matmul(x, y)], {x: np.ones((5, 3), "f"), y: np.ones((3, 2), "f")})
    assert pipeline.for_numpy(program) is program


def test_passes_are_idempotent() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    loss = tf.reduce_mean(-tf.log(tf.nn.softmax(x))[:, 0])
    program = optimized([loss, tf.gradients(loss, x)[0]], {x: np.ones((5, 3), "f")})
    assert show(pipeline.for_numpy(program)) == show(program)


# ---------------------------------------------------------------- every op


def purely_run() -> list[tuple[Sample, str | None]]:
    """The samples of ops without effects, once each."""
    found: list[tuple[Sample, str | None]] = []
    for sample in test_registry.RUN_HERE:
        opdef = OPS[sample.op]
        if (
            not opdef.effects.any
            and not opdef.takes_context
            and opdef.inputs
            and (opdef.compute or opdef.expand)
        ):
            found.append((sample, sample.dtypes[0] if sample.dtypes else None))
    return found


@test_registry.each(purely_run())
@pytest.mark.parametrize("order", [pipeline.NUMPY, EVERYTHING], ids=["numpy", "expanded"])
def test_every_sample_keeps_its_numbers(sample: Sample, dtype: str | None, order: Any) -> None:
    case = checks.make_case(OPS[sample.op], sample, dtype)
    tensors = [fed(spec) for spec in case.specs]
    outputs = _call(case, tensors)
    arrays = [np.asarray(a) for a in case.arrays]
    if not outputs:
        pytest.skip("it gives nothing")
    try:
        program = lower(outputs, dict(zip(tensors, arrays, strict=True)))
    except AssertionError as error:
        pytest.skip(str(error))  # its shape depends on data
    with np.errstate(all="ignore"):
        found = compute(pipeline.run(program, order), arrays)
    checks.compare(case, found)


def _call(case: checks.Case, tensors: list[Any]) -> list[Any]:
    """The op on flat tensors, grouped as its signature wants them."""
    rest = iter(tensors)
    grouped = [
        [next(rest) for _ in value] if isinstance(value, list) else next(rest) for value in case.grouped
    ]
    made = case.opdef(*grouped, **case.attrs)
    return made if isinstance(made, list) else [made]


# ---------------------------------------------------------------- stability, through gradients


def trains(loss: Any, x: Any, value: Any) -> tuple[Any, Any]:
    """A loss and its gradient, which must be finite."""
    (gradient,) = tf.gradients(loss, [x])
    with tf.Session() as session:
        found = session.run([loss, gradient], {x: value})
    assert all(np.all(np.isfinite(f)) for f in found), found
    return found[0], found[1]


LOGITS = np.array([[0.0, 800.0, -5.0], [1.0, 2.0, 3.0]], np.float32)
LABELS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
SOFTMAX = np.array([[0.0, 1.0, 0.0], np.exp([-2.0, -1.0, 0.0]) / np.exp([-2.0, -1.0, 0.0]).sum()])


def test_cross_entropy_of_softmax_written_by_hand_trains_when_a_probability_underflows() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    loss = tf.reduce_sum(-tf.reduce_sum(LABELS * tf.log(tf.nn.softmax(x)), axis=1))
    value, gradient = trains(loss, x, LOGITS)
    np.testing.assert_allclose(value, 800.0 - np.log(SOFTMAX[1, 2]), rtol=1e-6)
    np.testing.assert_allclose(gradient, SOFTMAX - LABELS, atol=1e-6)


def test_the_tutorials_form_without_dtype() -> None:
    x = tf.placeholder()
    c = tf.placeholder()
    loss = tf.negative(tf.reduce_sum(tf.reduce_sum(c * tf.log(tf.nn.softmax(x)), axis=1)))
    (gradient,) = tf.gradients(loss, [x])
    with tf.Session() as session:
        found = session.run(gradient, {x: LOGITS.astype(np.float64), c: LABELS.astype(np.float64)})
    np.testing.assert_allclose(found, SOFTMAX - LABELS, atol=1e-12)


def test_along_another_axis() -> None:
    x = tf.placeholder(tf.float32, [3, None])
    loss = -tf.reduce_sum(LABELS.T * tf.log(tf.nn.softmax(x, axis=0)))
    _, gradient = trains(loss, x, LOGITS.T)
    np.testing.assert_allclose(gradient, (SOFTMAX - LABELS).T, atol=1e-6)


def test_reshaped_before_the_logarithm() -> None:
    x = tf.placeholder(tf.float32, [2, 3])
    loss = -tf.reduce_sum(LABELS.ravel() * tf.log(tf.reshape(tf.nn.softmax(x), [-1])))
    _, gradient = trains(loss, x, LOGITS)
    np.testing.assert_allclose(gradient, SOFTMAX - LABELS, atol=1e-6)


def test_other_uses_of_the_probabilities_keep_their_gradient() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.nn.softmax(x)
    loss = -tf.reduce_sum(LABELS * tf.log(y)) + tf.reduce_sum(tf.square(y))
    _, gradient = trains(loss, x, LOGITS)
    squares = 2 * SOFTMAX * SOFTMAX
    expected = SOFTMAX - LABELS + squares - SOFTMAX * squares.sum(-1, keepdims=True)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_binary_cross_entropy_written_by_hand() -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.sigmoid(x)
    target = np.array([1.0, 0.0, 1.0, 0.0, 1.0], np.float32)
    value = np.array([-200.0, 200.0, 3.0, -3.0, 100.0], np.float32)
    loss = -tf.reduce_sum(target * tf.log(y) + (1 - target) * tf.log(1 - y))
    found, gradient = trains(loss, x, value)
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-value.astype(np.float64)))
    np.testing.assert_allclose(found, np.logaddexp(0, np.where(target == 1, -value, value)).sum(), rtol=1e-6)
    np.testing.assert_allclose(gradient, probability - target, atol=1e-6)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, 1, None])
def test_log_sum_exp_written_by_hand(axis: int | None, keepdims: bool) -> None:
    x = tf.placeholder(tf.float64, [None, 3])
    loss = tf.log(tf.reduce_sum(tf.exp(x), axis=axis, keepdims=keepdims))
    value, gradient = trains(loss, x, LOGITS.astype(np.float64))
    axes = (0, 1) if axis is None else (axis,)
    expected = np.logaddexp.reduce(LOGITS.astype(np.float64), axis=axes[-1], keepdims=True)
    if axis is None:
        expected = np.logaddexp.reduce(expected, axis=0, keepdims=True)
    np.testing.assert_allclose(gradient, np.exp(LOGITS - expected), atol=1e-12)
    np.testing.assert_allclose(value, expected if keepdims else np.squeeze(expected, axes), rtol=1e-12)


def test_softplus_written_by_hand() -> None:
    x = tf.placeholder(tf.float32, [None])
    value, gradient = trains(tf.log(1 + tf.exp(x)), x, np.array([900.0, -900.0, 0.0], np.float32))
    np.testing.assert_allclose(value, [900.0, 0.0, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(gradient, [1.0, 0.0, 0.5], atol=1e-6)


def test_a_fed_probability_is_used_as_it_is() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.nn.softmax(x)
    loss = tf.log(y)
    with tf.Session() as session:
        found = session.run(loss, {x: LOGITS, y: np.ones((2, 3), np.float32)})
    assert np.array_equal(found, np.zeros((2, 3)))


# ---------------------------------------------------------------- expansion and folding


def test_a_composite_without_kernel_is_expanded_once_for_each_spec() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    norms = [op.EuclideanNorm(x + i, [1]) for i in range(3)]
    expand._traces.clear()
    program = optimized(norms, {x: np.ones((5, 3), "f")})
    assert "EuclideanNorm" not in kinds(program)
    assert len(expand._traces) == 1
    np.testing.assert_allclose(
        compute(program, [np.ones((4, 3), "f")])[1], np.full(4, np.sqrt(12.0)), rtol=1e-6
    )


def test_expansions_keep_symbolic_sizes() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    program = pipeline.run(lower([tf.nn.softmax(x)], {x: np.ones((5, 3), "f")}), EVERYTHING)
    assert str(program.outputs[0].shape) == "(s0, 3)"


def test_constants_are_computed_once() -> None:
    program = optimized([tf.sin(tf.constant(2.0)) * tf.constant([3.0, 4.0])], {})
    assert kinds(program) == ["Const"]
    assert program.outputs[0].constant is not None
    np.testing.assert_allclose(program.outputs[0].constant, np.sin(2.0) * np.array([3.0, 4.0]), rtol=1e-6)


def test_large_results_are_not_kept() -> None:
    program = optimized([tf.fill([1000, 1000], 1.0) + 1.0], {})
    assert "Fill" in kinds(program)


def test_errors_are_not_folded_away() -> None:
    quotient = tf.floordiv(tf.constant([1, 2]), tf.constant([0, 1]))
    assert "FloorDiv" in kinds(optimized([quotient], {}))
    with tf.Session() as session, pytest.raises(tf.errors.InvalidArgumentError, match="division by zero"):
        session.run(quotient)


def test_what_does_not_fit_fails_when_it_runs_and_not_before() -> None:
    x = tf.placeholder(tf.float32, [None, None])
    product = tf.matmul(tf.transpose(x), tf.ones([3, 2]))
    chosen = tf.cond(
        tf.reduce_sum(x) > 0, lambda: product, lambda: tf.matmul(tf.transpose(x), tf.ones([3, 2]))
    )
    with tf.Session() as session:
        for fetched in (product, chosen):
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"Dimensions|size-incompatible"):
                session.run(fetched, {x: np.ones((4, 2))})
        index = tf.placeholder_with_default(5, [])
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(tf.gather([1, 2], index))


def test_a_fed_constant_is_no_constant() -> None:
    size = tf.constant([2, 3])
    x = tf.placeholder(tf.float32, [6])
    with tf.Session() as session:
        for given in ([3, 2], [2, 3], [6, 1]):
            reshaped, more = session.run([tf.reshape(x, size), size + 1], {x: np.zeros(6), size: given})
            assert list(more) == [given[0] + 1, given[1] + 1]
            assert reshaped.shape == tuple(given)


# ---------------------------------------------------------------- effects and draws


def runs(optimize: Any) -> list[Any]:
    """What a program with draws and updates gives, with some passes."""
    with tf.Graph().as_default():
        tf.set_random_seed(7)
        w = tf.Variable(tf.zeros([4]))
        noise = tf.random_normal([4]) * 1.0
        unused = tf.zeros_like(tf.random_uniform([3]))
        update = tf.assign_add(w, tf.identity(noise) + 0.0)
        with tf.control_dependencies([update]):
            after = tf.identity(w) * 1.0
        with tf.Session() as session:
            session._executor.optimize = optimize
            session.run(tf.global_variables_initializer())
            return [session.run([noise, after, unused]) for _ in range(3)]


def test_draws_and_updates_are_the_same_with_and_without_passes() -> None:
    for with_passes, without in zip(runs(pipeline.for_numpy), runs(lambda program: program), strict=True):
        for a, b in zip(with_passes, without, strict=True):
            assert np.array_equal(a, b)


def test_two_draws_are_never_merged() -> None:
    a, b = tf.random_normal([3], seed=1), tf.random_normal([3], seed=1)
    program = optimized([a, b, a - b], {})
    assert kinds(program).count("RandomStandardNormal") == 2


def test_an_unread_draw_still_happens() -> None:
    draw = tf.random_normal([3])
    with tf.Session() as session:
        program = program_of(session, tf.zeros_like(draw))
    assert kinds(program) == ["Const"], "the graph knows the zeros, and no draw belongs to the run"
    with tf.Session() as session:
        program = program_of(session, [draw.op, tf.zeros([3])])
    assert "RandomStandardNormal" in kinds(program)


def test_loops_are_rewritten_inside() -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.while_loop(lambda v: tf.reduce_sum(v) < 100.0, lambda v: tf.identity(v) * 2.0 + tf.zeros([]), [x])
    with tf.Session() as session:
        assert np.array_equal(session.run(y, {x: [1.0, 2.0]}), [64.0, 128.0])


def test_depth_does_not_matter() -> None:
    x = tf.placeholder(tf.float32, [None, 4])
    y = x
    for _ in range(2000):  # far deeper than Python's stack
        y = tf.identity(tf.tanh(y) * 1.0)
    program = optimized([y], {x: np.ones((2, 4), "f")})
    assert kinds(program).count("Tanh") == 2000
    assert len(program.nodes()) == 2001
