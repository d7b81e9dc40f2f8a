"""Views that are fetched: those that take elements out of their order are copied natively, others by Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tests.backends.native import hostile, natively

MOVED: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda x: tf.transpose(x, [0, 2, 1, 3]),
    "all dimensions in reverse order": lambda x: tf.transpose(x),
    "reversed": lambda x: tf.reverse(x, [3]),
    "rows reversed": lambda x: tf.reverse(x, [0, 2]),
    "every other": lambda x: x[:, ::2, :, ::-2],
    "columns": lambda x: x[..., 1:3],
    "broadcast": lambda x: tf.broadcast_to(x[:1], tf.shape(x)),
}
WHOLE: dict[str, Callable[[Any], Any]] = {
    "reshaped": lambda x: tf.reshape(x, [-1]),
    "rows": lambda x: x[1:],
    "a dimension more": lambda x: tf.expand_dims(x, 1),
}


def fetched(view: Callable[[Any], Any], values: Any, threads: int = 0) -> tuple[Any, list[str]]:
    """A view of a feed, and what was left to NumPy."""
    x = tf.placeholder(tf.as_dtype(values.dtype), [None, None, 3, 4])
    return natively.run(view(x), {x: values}, threads)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool"])
@pytest.mark.parametrize("name", MOVED)
def test_moved_elements_are_copied_natively(name: str, dtype: str) -> None:
    for shape in ((5, 7, 3, 4), (1, 1, 3, 4), (0, 2, 3, 4), (200, 31, 3, 4)):
        values = np.random.default_rng(0).integers(-50, 50, shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
        with tf.Session(backend="numpy") as session:
            x = tf.placeholder(dtype, [None, None, 3, 4])
            expected = session.run(MOVED[name](x), {x: values})
        for threads in (1, 2, 4):
            found, hosts = fetched(MOVED[name], values, threads)
            assert natively.same(found, expected)
            assert not hosts or 0 in shape or 1 in shape  # then some are where they were


@pytest.mark.parametrize("name", MOVED)
def test_nothing_else_is_touched(name: str) -> None:
    values = np.arange(120, dtype=np.float32).reshape(2, 5, 3, 4)
    expected, _ = fetched(MOVED[name], values)
    with hostile.hostile():
        found, hosts = fetched(MOVED[name], values)
    assert not hosts
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [*MOVED, *WHOLE])
def test_what_is_fetched_is_an_array_of_its_own(name: str) -> None:
    """That of a variable too, which is then changed."""
    values = np.arange(120, dtype=np.float32).reshape(2, 5, 3, 4)
    view = {**MOVED, **WHOLE}[name]
    w = tf.Variable(values)
    x = tf.placeholder(tf.float32, [None, 5, 3, 4])
    step = tf.assign_add(w, tf.ones_like(w))
    fetches = [view(w), view(x)]
    with tf.Session(backend="native", tier="compiled") as session:
        session.run(tf.global_variables_initializer())
        of_variable, of_feed = session.run(fetches, {x: values})
        np.testing.assert_array_equal(of_variable, of_feed)
        of_feed += 1
        session.run(step)
        np.testing.assert_array_equal(values, np.arange(120).reshape(2, 5, 3, 4))
        np.testing.assert_array_equal(session.run(fetches[0]), of_feed)
        np.testing.assert_array_equal(of_variable, of_feed - 1)


@pytest.mark.parametrize("name", WHOLE)
def test_neighbours_are_left_to_python(name: str) -> None:
    values = np.arange(120, dtype=np.float32).reshape(2, 5, 3, 4)
    _, hosts = fetched(WHOLE[name], values)
    assert hosts == ["nothing in it is native"]
