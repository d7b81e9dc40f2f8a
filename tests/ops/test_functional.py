"""map_fn, scan, foldl, foldr, case and switch_case against plain Python, with gradients of second order."""

from __future__ import annotations

import itertools
import operator
from functools import reduce
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.running import run

ROWS = np.array([[1.0, 2.0], [-3.0, 0.5], [1.5, -2.5]])
# Where a function belongs; of any type, because these tests pass it on purpose.
NO_FUNCTION: Any = 1


# ---------------------------------------------------------------- values


def test_map_fn():
    y = tf.map_fn(lambda row: row * row, tf.constant(ROWS))
    assert y.shape.as_list() == [3, 2] and y.name == "map/TensorArrayStack/TensorArrayGatherV3:0"
    assert run(y).tolist() == (ROWS * ROWS).tolist()


def test_map_fn_with_nested_elems_and_results():
    elems = {"a": tf.constant([1.0, 2.0]), "b": (tf.constant([3, 4]),)}
    result = tf.map_fn(
        lambda e: [e["a"] * 2.0, (e["b"][0] + 1, e["a"])], elems, dtype=[tf.float32, (tf.int32, tf.float32)]
    )
    first, (second, third) = run(result)
    assert (first.tolist(), second.tolist(), third.tolist()) == ([2.0, 4.0], [4, 5], [1.0, 2.0])
    same = run(tf.map_fn(lambda e: (e[1], e[0]), (tf.constant([1, 2]), tf.constant([3, 4]))))
    assert [s.tolist() for s in same] == [[3, 4], [1, 2]]


def test_the_number_of_rows_may_be_fed():
    x = tf.placeholder(tf.float64, [None, 2])
    y = tf.map_fn(lambda row: tf.reduce_sum(row), x)
    sums = tf.scan(lambda total, row: total + row, x)
    assert y.shape.as_list() == [None] and sums.shape.as_list() == [None, 2]
    with tf.Session() as session:
        for count in (1, 2, 3):
            assert session.run(y, {x: ROWS[:count]}).tolist() == ROWS[:count].sum(1).tolist()
            assert session.run(sums, {x: ROWS[:count]}).tolist() == ROWS[:count].cumsum(0).tolist()
        assert session.run(y, {x: ROWS[:0]}).shape == (0,)


def test_rows_of_unknown_rank():
    x = tf.placeholder(tf.float64)
    y = tf.map_fn(lambda row: row * 2.0, x)
    assert run(y, {x: ROWS}).tolist() == (ROWS * 2.0).tolist()


def test_no_rows():
    assert run(tf.map_fn(lambda row: row, tf.zeros([0, 2]))).shape == (0, 2)
    assert run(tf.scan(lambda a, x: a + x, tf.zeros([0]), initializer=1.0)).shape == (0,)
    assert run(tf.foldl(lambda a, x: a + x, tf.zeros([0]), initializer=1.0)) == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="Tried to read from index 0"):
        run(tf.foldl(lambda a, x: a + x, tf.zeros([0])))


NUMBERS = [3.0, 5.0, 2.0, 7.0]


def subtract_from(total, x):
    return x - 2.0 * total


@pytest.mark.parametrize("initializer", [None, 10.0])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_and_folds(initializer, reverse):
    numbers = NUMBERS[::-1] if reverse else NUMBERS
    expected = list(itertools.accumulate(numbers, subtract_from, initial=initializer))
    expected = expected if initializer is None else expected[1:]
    start = None if initializer is None else tf.constant(initializer)
    elems = tf.constant(NUMBERS)
    scanned = run(tf.scan(subtract_from, elems, start, reverse=reverse))
    assert scanned.tolist() == (expected[::-1] if reverse else expected)
    fold = tf.foldr if reverse else tf.foldl
    assert run(fold(subtract_from, elems, start)) == expected[-1]


def test_scan_with_a_nested_accumulator():
    def step(total, x):
        return total[0] + x, total[1] * x

    sums, products = run(tf.scan(step, tf.constant(NUMBERS), (0.0, 1.0)))
    assert sums.tolist() == list(itertools.accumulate(NUMBERS))
    assert products.tolist() == list(itertools.accumulate(NUMBERS, operator.mul))
    total, product = run(tf.foldl(step, tf.constant(NUMBERS), (tf.constant(0.0), tf.constant(1.0))))
    assert (total, product) == (sum(NUMBERS), reduce(operator.mul, NUMBERS))


# ---------------------------------------------------------------- gradients


def test_gradients_of_map_fn_to_second_order():
    x = tf.placeholder(tf.float64, [None, 2])
    w = tf.constant([2.0, 3.0], tf.float64)
    y = tf.map_fn(lambda row: row * row * row * w, x)
    first = tf.gradients(y, x)[0]
    second = tf.gradients(first, x)[0]
    of_w = tf.gradients(y, w)[0]
    mixed = tf.gradients(first, w)[0]
    found = run([first, second, of_w, mixed], {x: ROWS})
    expected = [3 * ROWS**2 * [2, 3], 6 * ROWS * [2, 3], (ROWS**3).sum(0), (3 * ROWS**2).sum(0)]
    for f, e in zip(found, expected):
        np.testing.assert_allclose(f, e, rtol=1e-12)


@pytest.mark.parametrize("function", [tf.scan, tf.foldl, tf.foldr])
def test_gradients_through_a_product_to_second_order(function):
    x = tf.constant([2.0, 3.0, 5.0], tf.float64)
    y = function(lambda total, e: total * e, x)
    first = tf.gradients(y, x)[0]
    second = tf.gradients(first, x)[0]
    a, b, c = 2.0, 3.0, 5.0
    product = [b * c, a * c, a * b], [b + c, a + c, a + b]
    partial = [1 + b + b * c, a + a * c, a * b], [1 + c + b, 1 + c + a, a + b]
    expected = partial if function is tf.scan else product
    np.testing.assert_allclose(run([first, second]), expected, rtol=1e-12)


def test_no_gradient_without_back_prop():
    x = tf.constant([1.0, 2.0])
    assert tf.gradients(tf.map_fn(lambda e: e * e, x, back_prop=False), x) == [None]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: tf.map_fn(NO_FUNCTION, [1.0]), TypeError, "fn must be callable"),
        (lambda: tf.scan(NO_FUNCTION, [1.0]), TypeError, "fn must be callable"),
        (lambda: tf.foldl(NO_FUNCTION, [1.0]), TypeError, "fn must be callable"),
        (lambda: tf.map_fn(lambda x: x, tf.constant(1.0)), ValueError, "1\\+ dimensional"),
        (lambda: tf.scan(lambda a, x: a, tf.constant(1.0)), ValueError, "1\\+ dimensional"),
        (lambda: tf.map_fn(lambda x: (x, x), tf.constant([1.0])), ValueError, "same nested structure"),
        (lambda: tf.scan(lambda a, x: (a, a), tf.constant([1.0])), ValueError, "same nested structure"),
        (lambda: tf.foldr(lambda a, x: (a, a), tf.constant([1.0])), ValueError, "same nested structure"),
        (
            lambda: tf.map_fn(lambda x: tf.cast(x, tf.int32), tf.constant([1.0])),
            TypeError,
            "trying to write dtype int32",
        ),
        (
            lambda: tf.map_fn(lambda x: x[0], (tf.zeros([1]), tf.zeros([2])), tf.float32),
            ValueError,
            "not compatible",
        ),
    ],
)
def test_errors(call, error, phrase):
    with pytest.raises(error, match=phrase):
        call()


# ---------------------------------------------------------------- branching


def test_case_takes_the_first_that_is_true():
    x = tf.placeholder(tf.int32, [])
    pairs = [(x < 1, lambda: tf.constant("low")), (x < 10, lambda: tf.constant("middle"))]
    with_default = tf.case(pairs, default=lambda: tf.constant("high"))
    with tf.Session() as session:
        assert [session.run(with_default, {x: v}) for v in (0, 5, 50)] == [b"low", b"middle", b"high"]
        assert session.run(tf.case(pairs), {x: 5}) == b"middle"
        with pytest.raises(tf.errors.InvalidArgumentError, match="None of conditions evaluated as True"):
            session.run(tf.case(pairs), {x: 50})
        with pytest.raises(tf.errors.InvalidArgumentError, match="More than one condition evaluated as True"):
            session.run(tf.case(pairs, exclusive=True), {x: 0})
        assert session.run(tf.case({x < 3: lambda: tf.constant("only")}, exclusive=True), {x: 0}) == b"only"


def test_only_the_chosen_function_has_effects():
    v = tf.Variable(0)
    x = tf.placeholder(tf.int32, [])
    chosen = tf.case([(tf.equal(x, 1), lambda: v.assign_add(1)), (tf.equal(x, 2), lambda: v.assign_add(10))])
    with tf.Session() as session:
        session.run(v.initializer)
        session.run(chosen, {x: 2})
        assert session.run(v) == 10


def test_switch_case():
    x = tf.placeholder(tf.int32, [])
    functions = [lambda: tf.constant(10), lambda: tf.constant(20)]
    last = tf.switch_case(x, functions)
    default = tf.switch_case(x, {1: functions[1], 0: functions[0]}, default=lambda: tf.constant(-1))
    with tf.Session() as session:
        assert [session.run(last, {x: v}) for v in (0, 1, 5, -5)] == [10, 20, 20, 20]
        assert [session.run(default, {x: v}) for v in (0, 1, 5, -5)] == [10, 20, -1, -1]


def test_gradients_through_case():
    x = tf.placeholder(tf.float64, [])
    y = tf.case([(x < 0.0, lambda: x * x), (x < 1.0, lambda: x * x * x)], default=lambda: 5.0 * x)
    first = tf.gradients(y, x)[0]
    second = tf.gradients(first, x)[0]
    with tf.Session() as session:
        assert session.run([first, second], {x: -2.0}) == [-4.0, 2.0]
        assert session.run([first, second], {x: 0.5}) == [0.75, 3.0]
        assert session.run(first, {x: 2.0}) == 5.0


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: tf.case([]), ValueError, "at least one"),
        (lambda: tf.case(3), TypeError, "must be a list, tuple, or dict"),
        (lambda: tf.case([3]), TypeError, "2-tuple"),
        (lambda: tf.case([(True, lambda: 1)]), TypeError, "pred must be a Tensor"),
        (lambda: tf.case([(tf.constant(True), 1)]), TypeError, "must be callable"),
        (
            lambda: tf.case([(tf.constant(True), lambda: 1)], default=NO_FUNCTION),
            TypeError,
            "default must be callable",
        ),
        (lambda: tf.switch_case(3, [lambda: 1]), TypeError, "must be a Tensor"),
        (lambda: tf.switch_case(tf.constant(1.0), [lambda: 1]), TypeError, "integer Tensor"),
        (lambda: tf.switch_case(tf.constant(1), []), ValueError, "at least one item"),
        (lambda: tf.switch_case(tf.constant(1), {5: lambda: 1}), ValueError, "contiguous range"),
        (lambda: tf.switch_case(tf.constant(1), {"a": lambda: 1}), TypeError, "Python `int`"),
        (lambda: tf.switch_case(tf.constant(1), [(0, 1)]), TypeError, "must be callable"),
    ],
)
def test_errors_of_branching(call, error, phrase):
    with pytest.raises(error, match=phrase):
        call()
