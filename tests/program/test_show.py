"""Programs as text."""

from __future__ import annotations

import re

import numpy as np

import tahr as tf
from tahr.program.show import show
from tahr.session.explain import program_of


def text_of(session: tf.Session, fetches: object, feed_dict: object = None) -> str:
    """The Program as text, with `file.py:12` for the user's lines."""
    return re.sub(r"\w+\.py:\d+", "file.py:12", show(program_of(session, fetches, feed_dict)))


def test_show() -> None:
    x = tf.placeholder(tf.float32, [None, 784])
    w = tf.placeholder(tf.float32, [784, 10])
    y = tf.matmul(x, w) * 2.0
    with tf.Session() as session:
        found = text_of(session, [y, tf.shape(y)], {x: np.ones((5, 784)), w: np.ones((784, 10))})
    assert found.splitlines() == [
        "%1 = input 0 : float32[s0,784]",
        "%2 = input 1 : float32[784,10]",
        "%3 = MatMul(%1, %2) : float32[s0,10]   file.py:12",
        "%4 = constant 2.0 : float32[]   file.py:12",
        "%5 = Mul(%3, %4) : float32[s0,10]   file.py:12",
        "%6 = Shape(%5) : int32[2]   file.py:12",
        "return %5, %6",
    ]


def test_effects_are_shown_with_what_they_come_after() -> None:
    w = tf.Variable([1.0, 2.0])
    update = tf.assign_add(w, [1.0, 1.0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = text_of(session, [w, update])
        assert np.array_equal(session.run(w), [1.0, 2.0]), "showing a program runs nothing"
    assert re.search(r"%\d+ = AssignAdd\(%\d+, %\d+\) : float32\[2\]", found)
    assert re.search(r"%\d+ = _ReadCell\(%\d+\) : float32\[2\]   after %\d+", found)


def test_attributes_that_differ_from_their_defaults_and_large_constants() -> None:
    x = tf.placeholder(tf.float32, [2, 3])
    y = tf.matmul(x, np.ones((100, 3), np.float32), transpose_b=True)
    with tf.Session() as session:
        found = text_of(session, y, {x: np.ones((2, 3))})
    assert "constant ... : float32[100,3]" in found
    assert "MatMul(%1, %2, transpose_b=True) : float32[2,100]" in found
