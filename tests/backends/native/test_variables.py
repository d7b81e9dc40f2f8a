"""Variables in native plans: what is written before it is read, and two names of one variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tahr.ops import state

ONES = np.ones(4, np.float32)


def test_what_an_assignment_gives_is_the_new_value(session: tf.Session):
    v = tf.Variable(tf.zeros([4]))  # not initialized: the assignment may be the first
    assigned = tf.assign(v, ONES * 3)
    np.testing.assert_array_equal(session.run(assigned), ONES * 3)
    np.testing.assert_array_equal(session.run(v), ONES * 3)


def test_an_assignment_and_an_addition_to_an_uninitialized_variable(session: tf.Session):
    v = tf.Variable(tf.zeros([4]))
    with tf.control_dependencies([tf.assign(v, ONES)]):
        added = tf.assign_add(v, ONES)
    np.testing.assert_array_equal(session.run(added), ONES * 2)


def test_an_addition_alone_needs_a_value(session: tf.Session):
    v = tf.Variable(tf.zeros([4]))
    added = tf.assign_add(v, ONES)
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized"):
        session.run(added)
    session.run(v.initializer)
    np.testing.assert_array_equal(session.run(added), ONES)


def test_a_second_session_initializes_by_the_plan_of_the_first():
    v = tf.Variable(tf.zeros([4]))
    assigned = tf.assign(v, ONES)
    for _ in range(3):
        with tf.Session(backend="native") as session:
            np.testing.assert_array_equal(session.run(assigned), ONES)


def test_two_operations_of_one_variable(session: tf.Session):
    a, b = (
        state.VariableV2(shape=(4,), dtype=tf.float32, shared_name="same", name=name) for name in ("a", "b")
    )
    session.run(state.Assign(a, tf.constant(ONES)))
    first = state.AssignAdd(b, tf.constant(ONES))
    with tf.control_dependencies([first]):
        second = state.AssignAdd(a, tf.constant(ONES * 2))
    for total in (4, 7, 10):
        np.testing.assert_array_equal(session.run(second), ONES * total)
        np.testing.assert_array_equal(session.run(tf.identity(b)), ONES * total)


def test_a_variable_that_is_being_changed_is_initialized():
    v = tf.Variable(tf.zeros([4]))
    with tf.Session() as session:
        session.run(v.initializer)
        (cell,) = session._store._cells.values()
        with cell.lock:
            array = cell.take()
            assert not cell.is_initialized  # in this thread, which has it out; others wait for the lock
            cell.give(array)
        assert cell.is_initialized


def test_plans_say_which_variables_are_overwritten(session: tf.Session):
    execute._records.clear()
    v = tf.Variable(tf.zeros([4]))
    session.run(tf.assign(v, ONES))
    (plan,) = [r.native for r in execute._records.values() if r.native is not None]
    assert [len(segment.overwritten) for segment in plan.segments] == [1]


@pytest.mark.parametrize("shape", [(), (5,), (5, 1)])
def test_an_update_is_made_once_beside_more_elements(session: tf.Session, shape: tuple[int, ...]):
    """Who reads what is added along more dimensions, by more than a tile, does not add it again."""
    x, s = tf.placeholder(tf.float32, [5, None, 3]), tf.placeholder(tf.float32, shape)
    v = tf.Variable(np.ones(shape, np.float32))
    change = tf.tanh(s)
    reader = tf.exp(tf.reshape(change, [-1, 1, 1]) + x)
    added = tf.assign_add(v, change)
    with tf.control_dependencies([reader]):
        later = tf.assign_add(v, 2.0 * change)
    session.run(v.initializer)
    feeds = {x: np.zeros((5, 20_000, 3), np.float32), s: np.full(shape, 0.5, np.float32)}
    session.run([added.op, reader], feeds)
    session.run([reader, later.op], feeds)
    np.testing.assert_allclose(session.run(v), np.full(shape, 1 + 3 * np.tanh(0.5)), rtol=1e-6)


# ---------------------------------------------------------------- changes and reads in one nest

START = np.arange(35, dtype=np.float32).reshape(5, 7) / 4


def on_both(
    build: Callable[[Any], Any], shape: tuple[int, ...] = START.shape, runs: int = 2
) -> list[list[str]]:
    """Compares what `build(variable)` fetches on both backends, and the variable; gives the native kernels' members."""
    results: list[Any] = []
    with tf.Graph().as_default():
        v = tf.get_variable("v", initializer=np.resize(START, shape), use_resource=True)
        fetches = build(v)
        for backend, tier in (("numpy", None), ("native", "compiled")):
            with tf.Session(backend=backend, tier=tier) as session:
                session.run(tf.global_variables_initializer())
                found = [session.run(fetches) for _ in range(runs)]
                results.append((found, session.run(v)))
                explained = session.explain(fetches)
    (found, after), (expected, wanted) = results
    np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-5)
    for a, b in zip(found, expected):
        for x, y in zip(a, b):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    return [[n.opdef.name for n in step.nodes] for step in explained.steps]


def unknown(shape: Sequence[int]) -> Any:
    """A tensor of halves that nobody can compute before the run."""
    half = tf.get_variable(f"half{len(tf.global_variables())}", initializer=np.full(shape, 0.5, np.float32))
    return half.read_value()


def test_a_variable_is_decayed_in_place():
    kernels = on_both(lambda v: [v.assign(v.read_value() * 0.5)])
    assert ["Mul", "AssignVariableOp"] in kernels


def test_several_may_read_what_is_changed_behind_them():
    def build(v):
        old = v.read_value()
        grown = old * 0.5 + tf.tanh(old)
        with tf.control_dependencies([v.assign(grown)]):
            return [grown * 2.0, tf.reduce_sum(old * old)]

    assert any({"Tanh", "AssignVariableOp"} <= set(kernel) for kernel in on_both(build))


@pytest.mark.parametrize("shape", [(5, 7), (1,), ()])
def test_what_was_changed_is_read_behind_it(shape):
    """Not with what the change is fused into, though both read the same."""

    def build(v):
        x = tf.tanh(unknown(shape))
        with tf.control_dependencies([v.assign_add(x)]):
            return [v.read_value() * 10.0 + x]

    on_both(build, shape)


def test_what_a_product_changed_is_read_behind_it():
    def build(v):
        x = tf.matmul(unknown([5, 3]), unknown([3, 7]))
        with tf.control_dependencies([v.assign_sub(x)]):
            return [v.read_value() * 10.0 + x]

    assert ["MatMul", "AssignSubVariableOp"] in on_both(build)


@pytest.mark.parametrize(
    "taken",
    [
        lambda old: tf.transpose(old),
        lambda old: old[::-1],
        lambda old: old[:1] + tf.zeros([5, 5]),
        lambda old: tf.reshape(tf.reshape(old, [25])[::-1], [5, 5]),
        lambda old: tf.nn.softmax(old),
        lambda old: old / tf.reduce_sum(old, 1, keepdims=True),
        lambda old: old / tf.reduce_sum(old, 0),
        lambda old: old - tf.reduce_mean(old),
    ],
)
def test_elements_that_are_read_elsewhere_are_read_before_any_is_changed(taken: Callable[[Any], Any]):
    def build(v):
        new = taken(v.read_value()) * 0.5 + 0.25
        with tf.control_dependencies([v.assign(new)]):
            return [tf.identity(new), tf.nn.softmax(new + 1.0)]

    on_both(build, (5, 5))


@pytest.mark.parametrize("size", [5, 40])
@pytest.mark.parametrize("change", ["assign", "assign_add", "descend", "loop"])
@pytest.mark.parametrize(
    "taken",
    [
        lambda old: tf.transpose(old),
        lambda old: old[::-1],
        lambda old: tf.reverse(old, [1]),
        lambda old: tf.broadcast_to(old[2], old.shape),
        lambda old: tf.reshape(old, old.shape),
    ],
)
def test_a_variable_takes_a_view_of_itself(taken: Callable[[Any], Any], change: str, size: int):
    """Elements that are read elsewhere are copied first, though nothing is computed from them."""

    def write(v: Any) -> Any:
        if change == "descend":
            loss = tf.reduce_sum(v * tf.stop_gradient(taken(v)))
            return tf.train.MomentumOptimizer(0.5, 0.5).minimize(loss)
        if change == "loop":

            def body(i: Any) -> Any:
                with tf.control_dependencies([v.assign(taken(v.read_value()))]):
                    return i + 1

            return tf.while_loop(lambda i: i < 3, body, [0])
        return getattr(v, change)(taken(v.read_value()))

    def build(v: Any) -> Any:
        with tf.control_dependencies([write(v)]):
            return [v.read_value() * 2.0]

    on_both(build, (size, size))


def test_two_changes_of_one_variable_keep_their_order():
    def build(v):
        x = tf.tanh(unknown([5, 7]))
        with (
            tf.control_dependencies([v.assign(v.read_value() * x)]),
            tf.control_dependencies([v.assign_add(x)]),
            tf.control_dependencies([v.assign(v.read_value() * v.read_value())]),
        ):
            return [v.read_value() + x]

    on_both(build)


@pytest.mark.parametrize("seed", range(30))
def test_random_orders_of_changes_and_reads(seed: int):
    rng = np.random.default_rng(seed)

    def build(v):
        w = tf.get_variable("w", initializer=START.T[:5, :5] / 8, use_resource=True)
        values, last = [tf.tanh(v.read_value() / 8)], tf.no_op()
        for _ in range(10):
            with tf.control_dependencies([last]):
                cell = (v, w)[rng.integers(2)]
                x, y = (values[rng.integers(len(values))] for _ in range(2))
                kind = rng.integers(7)
                if kind < 2:
                    last = (cell.assign(x / 2 + y), cell.assign_add(x))[kind]
                    last = getattr(last, "op", last)
                elif kind == 2:
                    values.append(cell.read_value() * 0.5 + x)
                elif kind == 3:
                    values.append(tf.transpose(cell.read_value()) - y)
                elif kind == 4:
                    values.append(tf.matmul(x, cell.read_value()) / 8)
                elif kind == 5:
                    values.append(x * tf.reduce_mean(cell.read_value() + y, 1, keepdims=True) / 4)
                else:
                    values.append(tf.sin(x + y))
        with tf.control_dependencies([last]):
            return [*values[-3:], w.read_value()]

    on_both(build, (5, 5))
