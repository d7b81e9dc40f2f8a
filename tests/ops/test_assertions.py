"""Assert, the assertions made of it, and CheckNumerics.

The texts were recorded from TensorFlow 2.21 (compat.v1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.ops import assertions
from tests.running import run


def unknown(value, dtype=tf.float32):
    """A tensor of which nothing is known before the run."""
    return tf.placeholder_with_default(np.array(value, dtype.as_numpy_dtype), None)


# ---------------------------------------------------------------- Assert


def test_assert():
    holds = tf.placeholder(tf.bool, [])
    check = tf.Assert(holds, ["x is", [1.0, 2.0, 3.0, 4.0], [[1, 2], [3, 4]]])
    assert isinstance(check, tf.Operation) and check.type == "Assert"
    with tf.Session() as session:
        assert session.run(check, {holds: True}) is None
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"assertion failed: \[x is\] \[1 2 3...\] \[\[1 2\]\[3...\]"
        ):
            session.run(check, {holds: False})
    with pytest.raises(ValueError, match="less than minimum 1"):
        tf.Assert(True, [])


def test_a_control_dependency_runs_the_check_first():
    v = tf.Variable(1.0)
    with tf.control_dependencies([tf.Assert(tf.less(v, 0.0), ["no"])]):
        update = v.assign_add(1.0)
    with tf.Session() as session:
        session.run(v.initializer)
        with pytest.raises(tf.errors.InvalidArgumentError, match="no"):
            session.run(update)
        assert session.run(v) == 1.0


COMPARISONS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "==": (tf.assert_equal, ([1, 2], [1, 2]), ([1, 2], [1, 3])),
    "!=": (tf.assert_none_equal, ([1, 2], [0, 0]), ([1, 2], [1, 3])),
    "<": (tf.assert_less, ([1, 2], [2, 3]), ([1, 2], [1, 3])),
    "<=": (tf.assert_less_equal, ([1, 2], [1, 3]), ([1, 4], [1, 3])),
    ">": (tf.assert_greater, ([2, 3], [1, 2]), ([1, 2], [1, 1])),
    ">=": (tf.assert_greater_equal, ([1, 3], [1, 2]), ([1, 2], [1, 3])),
}


@pytest.mark.parametrize("symbol", COMPARISONS)
def test_comparisons(symbol):
    function, good, bad = COMPARISONS[symbol]
    text = f"Condition x {symbol} y did not hold element-wise:"
    run(function(*map(unknown, good)))
    run(function(*map(tf.constant, good)))
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        run(function(*map(unknown, bad)))
    assert f"assertion failed: [{text}] [x (PlaceholderWithDefault" in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:  # known already while the graph is built
        function(*map(tf.constant, bad))
    assert str(caught.value).startswith(text + "\nx (Const") and str(caught.value).endswith(
        f"\n{np.array(bad[1])}"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[hey\].*\[1...\]"):
        run(function(*map(unknown, bad), message="hey", summarize=1))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"assertion failed: \[mine\]"):
        run(function(*map(unknown, bad), data=["mine"]))


SIGNS = {
    ">": (tf.assert_positive, [1, 2], [1, 0]),
    "<": (tf.assert_negative, [-1, -2], [-1, 0]),
    ">=": (tf.assert_non_negative, [0, 1], [-1, 0]),
    "<=": (tf.assert_non_positive, [0, -1], [1, 0]),
}


@pytest.mark.parametrize("symbol", SIGNS)
def test_signs(symbol):
    function, good, bad = SIGNS[symbol]
    text = f"Condition x {symbol} 0 did not hold element-wise:"
    run([function(unknown(good)), function(tf.constant(good))])
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        run(function(unknown(bad)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        function(tf.constant(bad))


def test_near():
    run(assertions.assert_near(unknown([1.0]), unknown([1.0000001])))
    run(assertions.assert_near(unknown([1.0]), unknown([1.1]), atol=0.2))
    with pytest.raises(tf.errors.InvalidArgumentError, match="x and y not equal to tolerance"):
        run(assertions.assert_near(unknown([1.0]), unknown([1.1])))


def test_ranks():
    x, u = tf.constant([1.0, 2.0]), unknown([1.0, 2.0])
    run(
        [
            tf.assert_rank(x, 1),
            tf.assert_rank(u, 1),
            tf.assert_rank_at_least(u, 1),
            assertions.assert_rank_in(u, [0, 1]),
        ]
    )
    with pytest.raises(ValueError, match=r"must have rank 2.  Received rank 1, shape \(2,\)"):
        tf.assert_rank(x, 2)
    with pytest.raises(ValueError, match=r"must have rank at least 2.  Received rank 1"):
        tf.assert_rank_at_least(x, 2)
    with pytest.raises(ValueError, match=r"must have rank in \(0, 2\).  Received rank 1"):
        assertions.assert_rank_in(x, [0, 2])
    with pytest.raises(ValueError, match="Rank must be a scalar"):
        tf.assert_rank(x, [1])
    for check, phrase in [
        (
            tf.assert_rank(u, 2, message="mm"),
            r"\[mm.  \] \[Tensor .* must have rank\] \[2\] \[Received shape: \] \[2\]",
        ),
        (tf.assert_rank_at_least(u, 2), r"must have rank at least\] \[2\]"),
        (assertions.assert_rank_in(u, [0, 2]), r"must have rank in\] \[0\] \[2\]"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=phrase):
            run(check)


def test_static_checks():
    with pytest.raises(TypeError, match=r"must be of type tf.float32; got tf.int32"):
        tf.assert_type(tf.constant(1), tf.float32)
    with pytest.raises(TypeError, match=r'Expected "x" to be integer type.  Found: Const'):
        tf.assert_integer(tf.constant(1.0))
    with pytest.raises(ValueError, match=r"Expected scalar shape for Const.*, saw shape: \(1,\)."):
        tf.assert_scalar(tf.constant([1]))
    for value, phrase in [(tf.constant(1), "proper"), ("a", "proper"), (3, "to be iterable")]:
        with pytest.raises(TypeError, match=phrase):
            assertions.assert_proper_iterable(value)
    run([tf.assert_type(tf.constant(1), tf.int32), tf.assert_integer(tf.constant(1))])
    assertions.assert_proper_iterable([1])
    assert run(tf.assert_scalar(3.0)) == 3.0


def test_predicates():
    assert tf.is_numeric_tensor(tf.constant(1)) and not tf.is_numeric_tensor(tf.constant(True))
    assert not tf.is_numeric_tensor(1.0)
    cases = [[], [1.0], [1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 1.0]]
    tensors = [unknown(c) for c in cases]
    assert run([tf.is_non_decreasing(t) for t in tensors]) == [True, True, True, True, False]
    assert run([tf.is_strictly_increasing(t) for t in tensors]) == [True, True, False, True, False]


# ---------------------------------------------------------------- CheckNumerics


def test_check_numerics():
    x = tf.placeholder(tf.float32, [None])
    y = tf.check_numerics(x, "bad x")
    with tf.Session() as session:
        assert session.run(y, {x: [1.0, 2.0]}).tolist() == [1.0, 2.0]
        for value, phrase in [([np.nan, 1.0], "NaN"), ([np.inf], "Inf"), ([-np.inf, np.nan], "Inf and NaN")]:
            with pytest.raises(tf.errors.InvalidArgumentError, match=rf"bad x : Tensor had {phrase} values"):
                session.run(y, {x: value})
    gradient = tf.gradients(tf.sqrt(tf.check_numerics(x, "bad x")), x)[0]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"detected in gradient. bad x : Tensor had Inf values"
    ):
        run(gradient, {x: [0.0]})


def test_verify_tensor_all_finite():
    assert run(tf.verify_tensor_all_finite(unknown([1.0]), "bad")).tolist() == [1.0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad : Tensor had NaN"):
        run(tf.verify_tensor_all_finite(unknown([np.nan]), "bad"))
    with pytest.raises(ValueError, match="both"):
        tf.verify_tensor_all_finite(unknown([1.0]), "bad", x=unknown([1.0]))


def test_add_check_numerics_ops():
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [])
        tf.log(x, name="logarithm")
        check = tf.add_check_numerics_ops()
        session.run(check, {x: 1.0})
        with pytest.raises(tf.errors.InvalidArgumentError, match="logarithm:0 : Tensor had Inf values"):
            session.run(check, {x: 0.0})
