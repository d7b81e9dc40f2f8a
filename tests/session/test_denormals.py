"""Denormals count as zero while a session runs, and only then."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tahr as tf
from tahr.session import denormals

pytestmark = pytest.mark.skipif(
    denormals._libm is None, reason="this platform's floating-point mode cannot be set"
)

TINY = {np.float32: 1e-40, np.float64: 1e-310}


def is_flushing(dtype: type = np.float64) -> bool:
    """Whether this thread takes denormals as zero."""
    smallest = np.full(64, np.finfo(dtype).tiny)
    return not (smallest * dtype(0.5)).any()


def test_pythons_own_mode_keeps_denormals():
    assert not is_flushing(np.float32)
    assert not is_flushing(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_denormal_results_and_inputs_are_zero_in_a_run(dtype: type, size: int):
    x = tf.placeholder(dtype, [size])
    session = tf.Session()
    small = np.full(size, np.finfo(dtype).tiny, dtype)
    assert not session.run(x * dtype(0.5), {x: small}).any()
    assert not session.run(x * dtype(2.0), {x: np.full(size, TINY[dtype], dtype)}).any()
    assert session.run(x * dtype(2.0), {x: small}).all()


def test_the_mode_is_restored_after_a_run():
    tf.Session().run(tf.constant(1.0) + 1.0)
    assert not is_flushing()


def test_the_mode_is_restored_after_an_error():
    x = tf.placeholder(tf.float32)

    def fail(value: np.ndarray) -> np.ndarray:
        assert is_flushing()
        raise KeyError("no")

    with pytest.raises(tf.errors.UnknownError):
        tf.Session().run(tf.py_func(fail, [x], tf.float32), {x: 1.0})
    assert not is_flushing()


def test_nested_runs_restore_it_at_the_end_of_the_outermost_one():
    session = tf.Session()
    inner = tf.constant(1.0) + 1.0
    modes: list[bool] = []

    def call(value: np.ndarray) -> np.ndarray:
        modes.append(is_flushing())
        result = session.run(inner)
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(tf.placeholder(tf.float32))
        modes.append(is_flushing())
        return result + value

    assert session.run(tf.py_func(call, [inner], tf.float32)) == 4.0
    assert modes == [True, True]
    assert not is_flushing()


def test_each_thread_has_its_own_mode():
    inside, leave = threading.Event(), threading.Event()
    session = tf.Session()

    def wait(value: np.ndarray) -> np.ndarray:
        inside.set()
        leave.wait(30)
        return value

    y = tf.py_func(wait, [tf.constant(1.0)], tf.float32)
    thread = threading.Thread(target=session.run, args=(y,))
    thread.start()
    assert inside.wait(30)
    assert not is_flushing()
    leave.set()
    thread.join(30)


def test_a_mode_that_the_caller_set_stays_set():
    with denormals.FLUSHED:
        tf.Session().run(tf.constant(1.0) + 1.0)
        assert is_flushing()
    assert not is_flushing()


def test_where_the_mode_cannot_be_set_nothing_happens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(denormals, "_libm", None)
    x = tf.placeholder(tf.float64, [64])
    found = tf.Session(backend="numpy").run(x * 0.5, {x: np.full(64, np.finfo(np.float64).tiny)})
    assert found.all()


@pytest.mark.parametrize(
    ("system", "machine", "libc"),
    [("darwin", "x86_64", "glibc"), ("linux", "aarch64", "glibc"), ("linux", "x86_64", "")],
)
def test_platforms_without_a_mode(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: str):
    monkeypatch.setattr(denormals.sys, "platform", system)
    monkeypatch.setattr(denormals.platform, "machine", lambda: machine)
    monkeypatch.setattr(denormals.platform, "libc_ver", lambda: (libc, ""))
    assert denormals._library() is None
