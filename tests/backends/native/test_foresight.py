"""What is told of a plan before it is made: whether it is compiled at once, and what is compiled meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends import numpy as reference
from tahr.backends.native import engine, execute, foresight, kernel, target as targets
from tahr.backends.native.kernel import AS_WRITTEN, Kernel
from tahr.core import blas

pytest.importorskip("llvmlite")


@pytest.fixture
def by_numpy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of steps of each plan that NumPy runs."""
    found: list[int] = []
    usual = reference.execute

    def recorded(plan: Any, *rest: Any) -> list[Any]:
        found.append(len(plan.steps))
        return usual(plan, *rest)

    monkeypatch.setattr(reference, "execute", recorded)
    return found


@pytest.fixture
def foreseen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of kernels that are compiled while a plan is made."""
    found: list[str] = []
    monkeypatch.setattr(engine, "foresee", lambda kernels: found.extend(each.title for each in kernels))
    return found


def test_what_takes_long_is_compiled_in_its_first_run(
    by_numpy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = tf.placeholder(tf.float32, [None, 20])
    y = tf.matmul(x, np.ones((20, 30), np.float32))
    with tf.Session(backend="native") as session:
        monkeypatch.setattr(foresight, "_LONG", 2 * 7 * 20 * 30 + 1)
        np.testing.assert_array_equal(session.run(y, {x: np.ones((7, 20))}), np.full((7, 30), 20))
        assert by_numpy  # one operation too few
        by_numpy.clear()
        monkeypatch.setattr(foresight, "_LONG", 2 * 8 * 20 * 30)
        z = tf.matmul(x, np.ones((20, 30), np.float32)) + 1
        np.testing.assert_array_equal(session.run(z, {x: np.ones((8, 20))}), np.full((8, 30), 21))
        assert not by_numpy


def test_of_a_plan_that_cannot_be_native_numpy_runs_the_first_too(
    by_numpy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "_LONG", 0)
    x = tf.placeholder(tf.complex64, [3, 3])
    with tf.Session(backend="native") as session:
        found = session.run(tf.matmul(x, x), {x: np.eye(3) * 1j})
    np.testing.assert_array_equal(found, -np.eye(3))
    assert by_numpy


def large(dtype: Any, m: Any = None, n: int = 512) -> tuple[Any, Any]:
    x = tf.placeholder(dtype, [m, 1024])
    return x, tf.matmul(x, tf.zeros([1024, n], dtype))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.bfloat16], ids=lambda d: d.name)
def test_what_all_large_products_share_is_foreseen(foreseen: list[str], dtype: Any) -> None:
    x, y = large(dtype)
    with tf.Session(backend="native") as session:
        for _ in range(2):
            session.run(y, {x: np.zeros((2, 1024), dtype.as_numpy_dtype)})
    accumulated = tf.float64 if dtype == tf.float64 else tf.float32
    assert foreseen[0] == f"blocked products {dtype.name}"
    assert foreseen[1].startswith(f"micro-kernel {accumulated.name}")


@pytest.mark.parametrize(
    "build",
    [
        lambda: large(tf.float32, m=1),
        lambda: large(tf.int32),
        lambda: large(tf.float32, n=1),
        lambda: large(tf.float32, n=0),
        lambda: (x := tf.placeholder(tf.float32, [1, 1024]), tf.exp(x)),
    ],
    ids=["a row", "integers", "a column", "nothing", "no product"],
)
def test_nothing_is_foreseen_that_may_not_be_needed(
    foreseen: list[str], build: Callable[[], tuple[Any, Any]]
) -> None:
    x, y = build()
    with tf.Session(backend="native") as session:
        for _ in range(2):
            session.run(y, {x: np.zeros((x.shape[0].value or 2, 1024))})
    assert foreseen == []


def test_what_was_foreseen_is_compiled_once() -> None:
    compiling = engine.Engine(targets.host())
    f = kernel.function()
    found = Kernel(AS_WRITTEN + f.finish(), 0, "nothing")
    compiling.foresee([found, found])
    compiling.foresee([found])
    (address,) = compiling.load([found])
    assert address and compiling.statistics().compiled == 1
    compiling.foresee([found])  # it is there
    assert compiling.load([found]) == [address]
    assert compiling.statistics().compiled == 1


def test_numpy_computes_with_one_thread_and_python_functions_with_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = blas.library()
    if library is None:
        pytest.skip("NumPy's BLAS library cannot be told how many threads to use")
    inside: list[int] = []

    def recorded(call: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            inside.append(library.get_threads())
            return call(*arguments)

        return wrapped

    monkeypatch.setattr(reference, "execute", recorded(reference.execute))
    monkeypatch.setattr(execute.Binding, "_host", recorded(execute.Binding._host))
    x = tf.placeholder(tf.float32, [4])
    y = tf.exp(tf.py_func(lambda a: a + library.get_threads(), [tf.sin(x)], tf.float32))
    before = library.get_threads()
    library.set_threads(2)
    try:
        with tf.Session(backend="native") as session:
            for _ in range(3):
                found = session.run(y, {x: np.zeros(4)})
                np.testing.assert_allclose(found, np.exp(np.full(4, 2.0)), rtol=1e-6)
        assert len(inside) >= 3 and set(inside) == {1}
        assert library.get_threads() == 2
    finally:
        library.set_threads(before)
