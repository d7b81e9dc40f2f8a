"""Checks, natively: that elements are finite, assertions, and checks of what is known.

What they let pass, say, and keep from running.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr import errors
from tahr.backends.native import checks
from tahr.core import dtypes
from tests.backends.native import guarded, natively

HALVES_AND_FLOATS = ["float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("dtype", HALVES_AND_FLOATS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 50_001)])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_finite_elements_pass(dtype: str, shape: tuple[int, ...], threads: int) -> None:
    numpy = tf.as_dtype(dtype).as_numpy_dtype
    values = np.random.default_rng(0).normal(size=shape).astype(numpy)
    values.reshape(-1)[:1] = tf.as_dtype(dtype).max
    x = tf.placeholder(dtype, [None] * len(shape))
    found, hosts = natively.run(tf.check_numerics(x, "x"), {x: values}, threads)
    assert not hosts
    assert natively.same(found, values)


@pytest.mark.parametrize("dtype", HALVES_AND_FLOATS)
@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
@pytest.mark.parametrize("place", [0, 77_777, 99_999])
def test_others_are_named(dtype: str, bad: float, what: str, place: int) -> None:
    values = np.ones(100_000, tf.as_dtype(dtype).as_numpy_dtype)
    values[place] = bad
    x = tf.placeholder(dtype, [None])
    with pytest.raises(errors.InvalidArgumentError, match=f"layer 3 : Tensor had {what} values"):
        natively.run(tf.check_numerics(x, "layer 3"), {x: values})


def test_kernel() -> None:
    """Between guards: every tile looks at its own elements."""
    values = np.array([1, 2, 3, 4, np.inf, 6, 7], np.float32)
    kernel = checks.finite(dtypes.float32)
    for tile, tiles, first_wrong in ((7, 1, 0), (2, 4, 2), (1, 7, 4)):
        for count in range(1, tiles + 1):
            found, status = guarded.run(
                kernel, [values], [((7,), np.float32), ((1,), np.int64)], (tile, 7), count
            )
            np.testing.assert_array_equal(found[: tile * count], values[: tile * count])
            assert (status[0] == errors.INVALID_ARGUMENT) == (count > first_wrong)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_labels_between_guards(dtype: str) -> None:
    for labels, first_wrong in (
        ([0, 4, 2, 1], 9),
        ([0, 1, 5, 2], 2),
        ([-1, 0, 0, 0], 0),
        ([0, 0, 0, 2**31 - 1], 3),
    ):
        kernel = checks.in_range(tf.as_dtype(dtype))
        for tile, tiles in ((4, 1), (1, 4)):
            values = np.array(labels, dtype)
            found, status = guarded.run(
                kernel, [values], [((4,), dtype), ((1,), np.int64)], (tile, 4, 5), tiles
            )
            np.testing.assert_array_equal(found, values)
            assert (status[0] == errors.INVALID_ARGUMENT) == (first_wrong < 4)


@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("place", [0, 40_000])
def test_a_label_that_is_no_class(label: int, place: int) -> None:
    """Nothing is learnt from it."""
    x, labels = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.int32, [None])
    w = tf.get_variable("w", initializer=np.ones((3, 3), np.float32))
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=tf.matmul(x, w))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    given = np.arange(40_001) % 3
    feeds = {x: np.ones((40_001, 3)), labels: given}
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        for fetches in (loss, [loss, train], train):
            session.run(loss, feeds)
            before = session.run(w)
            given[place] = label
            with pytest.raises(errors.InvalidArgumentError, match=f"Received a label value of {label} which"):
                session.run(fetches, feeds)
            np.testing.assert_array_equal(session.run(w), before)
            given[place] = 0
        assert not session.explain(train, feeds).boundaries


def test_what_follows_a_failed_check_does_not_happen() -> None:
    """A run after an error is as any other."""
    x = tf.placeholder(tf.float32, [4])
    v = tf.get_variable("v", initializer=np.zeros(4, np.float32))
    with tf.control_dependencies([tf.check_numerics(x, "x")]):
        step = v.assign_add(tf.ones([4]))
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        for count in (1, 2):
            session.run(step, {x: np.ones(4)})
            with pytest.raises(errors.InvalidArgumentError, match="Inf"):
                session.run(step, {x: np.full(4, np.inf)})
            np.testing.assert_array_equal(session.run(v), np.full(4, count))
        assert not session.explain(step, {x: np.ones(4)}).boundaries


# ---------------------------------------------------------------- assertions


def test_a_truth_between_guards() -> None:
    for value in (False, True):
        (status,) = guarded.run(checks.truth(), [np.array(value)], [((1,), np.int64)], (), 1)
        assert (status[0] == errors.INVALID_ARGUMENT) == (not value)


@pytest.mark.parametrize("dtype", [*HALVES_AND_FLOATS, "int8", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5, 3)])
def test_an_assertion_shows_what_it_was_given(dtype: str, shape: tuple[int, ...]) -> None:
    """As the reference backend does, down to the line."""
    x, holds = tf.placeholder(dtype, [None] * len(shape)), tf.placeholder(tf.bool, [])
    shown = ["x is", x, tf.transpose(x), tf.shape(x), tf.constant([1, 2])]
    with tf.control_dependencies([tf.Assert(holds, shown, summarize=4)]):
        y = tf.identity(x)
    values = np.random.default_rng(0).normal(size=shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
    found, hosts = natively.run(y, {x: values, holds: True})
    assert not hosts
    assert natively.same(found, values)
    messages: list[str] = []
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier="compiled" if backend == "native" else None) as session:
            for _ in range(2):
                with pytest.raises(
                    errors.InvalidArgumentError, match=r"assertion failed: \[x is\]"
                ) as caught:
                    session.run(y, {x: values, holds: False})
                messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert "test_checks.py" in messages[0]


def test_an_assertion_of_what_is_false() -> None:
    """A constant; and NaN, of which no comparison holds."""
    x = tf.placeholder(tf.float32, [None])
    with tf.control_dependencies([tf.Assert(tf.constant(False), ["never"])]):
        never = x * 2.0
    with pytest.raises(errors.InvalidArgumentError, match="never"):
        natively.run(never, {x: [1.0]})
    with tf.control_dependencies([tf.assert_greater_equal(x, 0.0, message="below")]):
        y = x * 2.0
    assert natively.run(y, {x: []})[0].shape == (0,)
    with pytest.raises(errors.InvalidArgumentError, match="below"):
        natively.run(y, {x: [1.0, np.nan]})


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_nothing_is_learnt_behind_an_assertion_that_fails(threads: int) -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    w = tf.get_variable("w", initializer=np.ones((3, 2), np.float32))
    with tf.control_dependencies([tf.assert_less(x, 100.0)]):
        loss = tf.reduce_sum(tf.square(tf.matmul(x, w)))
    with tf.control_dependencies([loss]):
        train = tf.train.GradientDescentOptimizer(1e-3).minimize(loss)
    good, bad = np.ones((300, 3)), np.full((300, 3), 100.0)
    config = tf.ConfigProto(intra_op_parallelism_threads=threads)
    with tf.Session(backend="native", tier="compiled", config=config) as session:
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(train, {x: good})
            before = session.run(w)
            with pytest.raises(errors.InvalidArgumentError, match=r"Condition x < y did not hold"):
                session.run(train, {x: bad})
            assert natively.same(session.run(w), before)
        assert not session.explain(train, {x: good}).boundaries


def test_an_assertion_in_a_loop_and_its_gradient() -> None:
    """It fails in the iteration in which it does, and says what there was then."""
    x, limit = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [])
    v = tf.get_variable("v", initializer=np.float32(0), use_resource=True)

    def body(i: Any, y: Any) -> Any:
        with tf.control_dependencies([tf.Assert(tf.reduce_all(y < limit), ["step", i, y])]):
            y = y * 2.0
            with tf.control_dependencies([v.assign_add(1.0)]):
                return i + 1, tf.identity(y)

    _, y = tf.while_loop(lambda i, _: i < 5, body, [0, x])
    (gradient,) = tf.gradients(y, x)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        for run in range(2):
            found = session.run([y, gradient], {x: [1.0, 3.0], limit: 100.0})
            np.testing.assert_array_equal(found, [[32.0, 96.0], [32.0, 32.0]])
            with pytest.raises(errors.InvalidArgumentError, match=r"\[step\] \[3\] \[8 24\]"):
                session.run([y, gradient], {x: [1.0, 3.0], limit: 20.0})
            assert session.run(v) == 8 * (run + 1)
        assert not session.explain([y, gradient], {x: [1.0, 3.0], limit: 100.0}).boundaries


@pytest.mark.parametrize("limit", [-1.0, 10.0])
def test_a_loop_without_iterations_asserts_nothing(limit: float) -> None:
    x = tf.placeholder(tf.float32, [2])

    def body(i: Any, y: Any) -> Any:
        with tf.control_dependencies([tf.Assert(tf.reduce_all(x < limit), [x])]):
            return i + 1, y + x

    n = tf.placeholder(tf.int32, [])
    _, y = tf.while_loop(lambda i, _: i < n, body, [0, x])
    found, hosts = natively.run(y, {x: [1.0, 2.0], n: 0})
    assert not hosts
    assert found.tolist() == [1.0, 2.0]


def test_only_the_branch_that_is_taken_asserts() -> None:
    x, is_checked = tf.placeholder(tf.float32, [2]), tf.placeholder(tf.bool, [])

    def checked() -> Any:
        with tf.control_dependencies([tf.assert_positive(x)]):
            return x + 1.0

    y = tf.cond(is_checked, checked, lambda: x - 1.0)
    found, hosts = natively.run(y, {x: [-1.0, 1.0], is_checked: False})
    assert not hosts
    assert found.tolist() == [-2.0, 0.0]
    with pytest.raises(errors.InvalidArgumentError, match="x > 0 did not hold"):
        natively.run(y, {x: [-1.0, 1.0], is_checked: True})


@pytest.mark.parametrize(("pred", "expected"), [((True, False), 1.0), ((False, True), 2.0)])
def test_a_case_of_which_one_must_hold(pred: tuple[bool, bool], expected: float) -> None:
    x, p = tf.placeholder(tf.float32, [2]), tf.placeholder(tf.bool, [2])
    y = tf.case([(p[0], lambda: x * 1.0), (p[1], lambda: x * 2.0)], exclusive=True)
    found, hosts = natively.run(y, {x: [1.0, 1.0], p: pred})
    assert not hosts
    assert found.tolist() == [expected] * 2
    for wrong in ((True, True), (False, False)):
        with pytest.raises(errors.InvalidArgumentError):
            natively.run(y, {x: [1.0, 1.0], p: wrong})


# ---------------------------------------------------------------- divisors

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_divisors_between_guards(dtype: str) -> None:
    kernel = checks.not_zero(tf.as_dtype(dtype))
    highest = tf.as_dtype(dtype).max
    for divisors, first_wrong in (([1, highest, 2, 3], 9), ([1, 1, 0, 1], 2), ([0, 1, 1, 1], 0)):
        for tile, tiles in ((4, 1), (1, 4)):
            values = np.array(divisors, dtype)
            found, status = guarded.run(kernel, [values], [((4,), dtype), ((1,), np.int64)], (tile, 4), tiles)
            np.testing.assert_array_equal(found, values)
            assert (status[0] == errors.INVALID_ARGUMENT) == (first_wrong < 4)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (37,), (3, 40_001)])
def test_integers_are_divided_natively(dtype: str, shape: tuple[int, ...]) -> None:
    """By divisors of the same shape, by one, by some that are broadcast, and by what is computed."""
    numpy, random = np.dtype(dtype), np.random.default_rng(0)
    highest = min(np.iinfo(numpy).max, 2**62)
    a = random.integers(np.iinfo(numpy).min, highest, shape).astype(dtype)
    shift = random.integers(0, numpy.itemsize * 8 - 2, shape).astype(dtype)
    b = np.maximum(random.integers(1, highest, shape).astype(dtype) >> shift, 1).astype(dtype)
    x, y, z = (tf.placeholder(dtype, [None] * d) for d in (len(shape), len(shape), 0))
    with np.errstate(all="ignore"):
        one = b.reshape(-1)[:1].sum(dtype=dtype) | np.array(1, dtype)
        fetches = [x // y, x % y, tf.truncatediv(x, y), x // z, x % z, x // (y | 1), (x % y) + (x // y)]
        expected = [a // b, a % b, _truncated(a, b), a // one, a % one]
        expected += [a // (b | np.array(1, dtype)), (a % b) + (a // b)]
    for threads in (1, 2, 4):
        found, hosts = natively.run(fetches, {x: a, y: b, z: one}, threads)
        assert not hosts
        for each, wanted in zip(found, expected):
            np.testing.assert_array_equal(each, wanted)


def _truncated(a: Any, b: Any) -> Any:
    """The quotient towards 0."""
    down, rest = np.divmod(a, b)
    return down + ((rest != 0) & (a < 0)).astype(a.dtype)


@pytest.mark.parametrize("place", [0, 70_000])
def test_a_divisor_that_is_zero(place: int) -> None:
    """It is an error of the division, and nothing is changed."""
    x, y = tf.placeholder(tf.int32, [None], name="x"), tf.placeholder(tf.int32, [None], name="y")
    total = tf.get_variable("total", initializer=np.int32(0))
    rest = tf.floormod(x, y - 1, name="rest")
    step = tf.assign_add(total, tf.reduce_sum(rest))
    a, b = np.arange(70_001, dtype=np.int32), np.full(70_001, 8, np.int32)
    wrong = b.copy()
    wrong[place] = 1
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        for count in (1, 2, 3):
            session.run(step, {x: a, y: b})
            with pytest.raises(
                errors.InvalidArgumentError, match="FloorMod: Integer division by zero"
            ) as raised:
                session.run(step, {x: a, y: wrong})
            assert raised.value.op is rest.op and '"x:0" is [70001] int32' in str(raised.value)
            assert session.run(total) == count * (a % 7).sum()
        assert not session.explain(step, {x: a, y: b}).boundaries


def test_known_divisors_are_not_looked_at() -> None:
    x = tf.placeholder(tf.int32, [None, 6])
    rows, columns = tf.shape(x)[0], tf.shape(x)[1]
    fetch = x // 7 + x % columns + x // rows + x % tf.constant([1, 2, 3, -1, -2, 5])
    a = np.arange(-30, 30, dtype=np.int32).reshape(10, 6)
    with tf.Session(backend="native", tier="compiled") as session:
        expected = a // 7 + a % 6 + a // 10 + a % np.array([1, 2, 3, -1, -2, 5], np.int32)
        np.testing.assert_array_equal(session.run(fetch, {x: a}), expected)
        named = {n.opdef.name for s in session.explain(fetch, {x: a}).steps for n in s.nodes}
        assert "CheckDivisor" not in named
        with pytest.raises(errors.InvalidArgumentError, match="division by zero"):
            session.run(fetch, {x: np.zeros((0, 6))})


def test_divisors_in_loops_and_branches() -> None:
    n = tf.placeholder(tf.int32, [])
    _, bits = tf.while_loop(lambda k, _: k > 0, lambda k, s: (k // n, s + k % n), [12345, 0])
    chosen = tf.cond(n > 5, lambda: 100 // n, lambda: 100 % (n - 1))
    with tf.Session(backend="native", tier="compiled") as session:
        assert session.run([bits, chosen], {n: 10}) == [15, 10]
        assert session.run([bits, chosen], {n: 4}) == [sum(int(c) for c in np.base_repr(12345, 4)), 1]
        assert session.run(chosen, {n: 10}) == 10  # the other branch divides by nothing
        assert not session.explain([bits, chosen], {n: 10}).boundaries
        for fetch, value in ((bits, 0), (chosen, 1)):
            with pytest.raises(errors.InvalidArgumentError, match="division by zero"):
                session.run(fetch, {n: value})


# ---------------------------------------------------------------- checks of what is known


def test_a_check_of_shapes_is_none() -> None:
    """Two batches of one size: nothing is left to be checked, and the run is one segment."""
    x, y = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None, 3])
    check = tf.Assert(tf.reduce_all(tf.equal(tf.shape(x), tf.shape(y))), ["shapes", tf.shape(x)])
    with tf.control_dependencies([check]):
        z = x + 2.0 * y
    ones = np.ones([5, 3], np.float32)
    found, hosts = natively.run(z, {x: ones, y: ones})
    assert not hosts
    assert natively.same(found, 3 * ones)


def test_a_check_that_fails_still_does() -> None:
    """After runs in which it held: other sizes are another plan."""
    x, y = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    check = tf.Assert(tf.reduce_all(tf.equal(tf.shape(x), tf.shape(y))), ["shapes", tf.shape(y)])
    with tf.control_dependencies([check]):
        total = tf.reduce_sum(x)
    with tf.Session(backend="native", tier="compiled") as session:
        for n in (2, 5):
            assert session.run(total, {x: np.ones(n), y: np.ones(n)}) == n
        with pytest.raises(errors.InvalidArgumentError, match=r"assertion failed: \[shapes\] \[3\]"):
            session.run(total, {x: np.ones(5), y: np.ones(3)})


@pytest.mark.parametrize("checks_before", [1, 3])
def test_order_goes_through_a_check_that_holds(checks_before: int) -> None:
    """What is behind a check is behind what the check is behind, reads and writes alike."""
    x = tf.placeholder(tf.float32, [4])
    v = tf.get_variable("v", initializer=np.zeros(4, np.float32), use_resource=True)
    last = v.assign_add(x).op
    for _ in range(checks_before):
        with tf.control_dependencies([last]):
            last = tf.Assert(tf.reduce_all(tf.equal(tf.shape(x), [4])), ["x"])
    with tf.control_dependencies([last]):
        seen = v.read_value() * 1.0
        with tf.control_dependencies([seen]):
            doubled = v.assign(v * 2.0)
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        for start in (0.0, 4.0):
            found = session.run([seen, doubled], {x: np.full(4, 2.0)})
            np.testing.assert_array_equal(found[0], np.full(4, start + 2.0))
            np.testing.assert_array_equal(found[1], np.full(4, 2 * (start + 2.0)))
