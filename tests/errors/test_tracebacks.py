"""What a program that ends with an error prints: the user's lines, and no line of tahr's."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core import boundary, source

PACKAGE = str(Path(tf.__file__).parent)

# Python 3.10 raises an error that was caught with the frame that caught it.
ONE_FRAME_REMAINS = sys.version_info < (3, 11)


def printed(program: str, tmp_path: Path, full: str = "") -> str:
    """The traceback of a program."""
    path = tmp_path / "model.py"
    path.write_text(program, encoding="utf-8")
    environment = {**os.environ, boundary.FULL_TRACEBACK: full, "PYTHONPATH": str(Path(PACKAGE).parent)}
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


CALLS: dict[str, Callable[[], Any]] = {
    "function": lambda: tf.matmul(tf.ones([2, 3]), tf.ones([2, 3])),
    "operator": lambda: tf.ones([2]) + tf.ones([3]),
    "reflected operator": lambda: np.ones(2) + tf.ones([3]),
    "index": lambda: tf.ones([2])[5],
    "method": lambda: tf.ones([2]).set_shape([3]),
    "submodule": lambda: tf.nn.conv2d(1.0, 2.0, [1, 1, 1, 1], "SAME"),
    "class": lambda: tf.Variable(None),
    "method of a class": lambda: tf.train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0)),
    "run": lambda: tf.Session().run(tf.placeholder(tf.float32)),
    "kernel": lambda: tf.Session().run(tf.constant([1]) // tf.constant([0])),
    "feed": lambda: tf.Session().run(x := tf.placeholder(tf.float32), {x: ["a"]}),
    "eval": lambda: tf.constant(1.0).eval(),
    "name": lambda: tf.get_default_graph().get_tensor_by_name("nothing:0"),
    "callable": lambda: tf.Session().make_callable(tf.constant([1]) // tf.constant([0]))(),
    "context manager": lambda: tf.variable_scope(None).__enter__(),
}


def test_a_program_that_fails_prints_its_own_lines(tmp_path: Path) -> None:
    program = """
import tahr as tf

def body(i):
    return helper(i)

def helper(i):
    return i + tf.ones([3], tf.int32)[7]

tf.while_loop(lambda i: i < 3, body, [0])
"""
    text = printed(program, tmp_path)
    assert text.count("Traceback (most recent call last)") == 1
    frames = [line for line in text.splitlines() if line.startswith("  File ")]
    names = [line.rsplit(" ", 1)[1] for line in frames if PACKAGE not in line]
    assert names == ["<module>", "body", "helper"]  # what tahr called stays
    assert len(frames) <= 3 + 2 * ONE_FRAME_REMAINS
    assert "slice index 7 of dimension 0 out of bounds" in text


def test_the_full_traceback_is_there_when_asked_for(tmp_path: Path) -> None:
    text = printed("import tahr as tf\ntf.ones([2]) + tf.ones([3])\n", tmp_path, full="1")
    assert text.count(PACKAGE) > 3
    assert "add_operation" in text


# ---------------------------------------------------------------- the boundary itself


@pytest.fixture
def hiding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(boundary.FULL_TRACEBACK, "0")


def frames_of(error: BaseException) -> list[str]:
    """The functions in an error's traceback, but for the one that Python 3.10 cannot leave out."""
    entries = list(traceback.extract_tb(error.__traceback__))
    ours = [e for e in entries if source.is_ours(e.filename)]
    if ONE_FRAME_REMAINS and ours:
        entries.remove(ours[0])
    return [e.name for e in entries]


def caught(call: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as found:  # noqa: PT011  # which one does not matter here
        call()
    return found.value


@pytest.mark.usefixtures("hiding")
@pytest.mark.parametrize("name", CALLS)
def test_only_the_users_line_is_left(name: str) -> None:
    tf.constant(1.0)
    error = caught(CALLS[name])
    assert frames_of(error) == ["caught", "<lambda>"]
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.usefixtures("hiding")
def test_an_error_can_be_raised_again() -> None:
    def again() -> None:
        try:
            _ = tf.ones([2]) + tf.ones([3])
        except ValueError as error:
            raise error

    assert frames_of(caught(again))[-2:] == ["again", "again"]


@pytest.mark.usefixtures("hiding")
def test_a_cause_of_the_users_stays_and_one_of_tahrs_does_not() -> None:
    class Broken:
        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no array today")

    x = tf.placeholder(tf.float32)
    with tf.Session() as session:
        error = caught(lambda: session.run(x, {x: Broken()}))
        assert isinstance(error.__cause__, RuntimeError)
        assert frames_of(error.__cause__) == ["__array__"]
        error = caught(lambda: session.run(tf.constant([1]) // tf.constant([0])))
        assert error.__cause__ is None
        assert error.__suppress_context__


@pytest.mark.usefixtures("hiding")
def test_errors_that_are_each_others_cause_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    boundary.hide_frames(first)


def test_a_wrapped_function_is_still_itself() -> None:
    assert pickle.loads(pickle.dumps(tf.nn.relu)) is tf.nn.relu
    assert pickle.loads(pickle.dumps(tf.add)) is tf.add
    assert tf.add is tf.math.add
    assert tf.matmul.__name__ == "matmul"
    assert tf.matmul.__doc__


def test_every_public_function_is_enclosed() -> None:
    parts = [
        value for name in dir(tf) if getattr(value := getattr(tf, name), "__package__", "") == "tahr.api"
    ]
    assert tf.nn in parts and tf.test in parts
    open_ones = [
        name
        for namespace in (tf, *parts)
        for name, value in vars(namespace).items()
        if type(value) is type(tf.add) and not name.startswith("_") and not hasattr(value, "__wrapped__")
    ]
    assert open_ones == []
