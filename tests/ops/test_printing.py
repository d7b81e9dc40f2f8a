"""Values as text, Print, StringFormat and PrintV2.

The texts were recorded from TensorFlow 2.21 (compat.v1).
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tahr as tf
from tahr.ops import printing
from tests.running import run

# ---------------------------------------------------------------- values as text


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (np.array([1.0, 2.0, 3.0, 4.5]), 3, "[1 2 3...]"),
        (np.array([[1, 2], [3, 4]]), 3, "[[1 2][3...]...]"),
        (np.arange(10.0).reshape(2, 5), 7, "[[0 1 2 3 4][5 6...]...]"),
        (np.arange(8).reshape(2, 2, 2), 100, "[[[0 1][2 3]][[4 5][6 7]]]"),
        (np.arange(8).reshape(2, 2, 2), -1, "[[[0 1][2 3]][[4 5][6 7]]]"),
        (np.array(b"text", object), 3, "[text]"),
        (np.array(True), 3, "[1]"),
        (np.float32(1e-8), 3, "[1e-08]"),
        (np.float32(1e10), 3, "[1e+10]"),
        (np.float16(1.1), 3, "[1.09960938]"),
        (np.float32(3.14159265), 3, "[3.14159274]"),
        (np.float64(0.1), 3, "[0.1]"),
        (np.array([np.nan, np.inf, -np.inf]), 3, "[nan inf -inf]"),
        (np.zeros(0), 3, "[]"),
        (np.int8(-5), 3, "[-5]"),
    ],
)
def test_summary(value, limit, text):
    assert printing.summary(np.asarray(value), limit) == text


# ---------------------------------------------------------------- Print


def test_print(capfd):
    x = tf.constant([1.0, 2.0, 3.0, 4.5])
    y = tf.Print(x, [x, "text", True], "values: ", first_n=2)
    assert y.op.type == "Print" and y.shape == x.shape
    with tf.Session() as session:
        for _ in range(3):
            assert session.run(y).tolist() == [1.0, 2.0, 3.0, 4.5]
        assert session.run(tf.gradients(y, x)[0]).tolist() == [1.0] * 4
    assert capfd.readouterr().err == "values: [1 2 3...][text][1]\n" * 2


def test_tf_print(capfd):
    x = tf.constant(np.arange(10))
    op = tf.print("x =", x, 3, output_stream=sys.stdout)
    assert op.type == "PrintV2" and op.inputs[0].op.type == "StringFormat"
    run([op, tf.print(tf.constant([[1, 2], [3, 4]]), summarize=-1, end="!")])
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("x = [0 1 2 ... 7 8 9] 3\n", "[[1 2]\n [3 4]]!")
    with pytest.raises(ValueError, match="Unknown output stream"):
        tf.print(x, output_stream="nowhere")


def test_tf_print_to_a_file(tmp_path):
    path = tmp_path / "log.txt"
    run(tf.print("a", tf.constant(1.5), sep="|", output_stream=f"file://{path}"))
    assert path.read_text() == "a|1.5\n"
