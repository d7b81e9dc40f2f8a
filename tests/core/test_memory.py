"""Arrays of variables begin at a cache line, and who has a view of one holds the array."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core import memory


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "?", "c16", tf.bfloat16.as_numpy_dtype])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (784, 128), (2, 0, 3)])
def test_arrays_begin_at_a_line(shape: tuple[int, ...], dtype: Any) -> None:
    arrays = [memory.empty(shape, dtype) for _ in range(5)]
    for array in arrays:
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype)) and type(array) is np.ndarray
        assert array.ctypes.data % 64 == 0 or not array.size
        assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
    for i, array in enumerate(arrays):
        array[...] = i % 2
    assert all(np.array_equal(array, np.full(shape, i % 2, dtype)) for i, array in enumerate(arrays))


def test_a_view_of_a_view_holds_the_array() -> None:
    array = memory.empty((4, 6), np.float32)
    before = sys.getrefcount(array)
    views = [array[1], array[1:][::2, 3], array.T.reshape(2, 12)[0], array.view(np.int32).ravel()[3:]]
    shared = [view for view in views if np.shares_memory(view, array)]
    assert len(shared) >= 3 and sys.getrefcount(array) == before + len(shared)


def test_copies_are_in_row_major_order_and_may_be_cast() -> None:
    found = memory.copy(np.arange(6.0).reshape(2, 3).T, np.float32)
    assert found.flags.c_contiguous and found.dtype == np.float32 and found.ctypes.data % 64 == 0
    np.testing.assert_array_equal(found, [[0, 3], [1, 4], [2, 5]])
    assert memory.copy([[1, 2]]).shape == (1, 2)
    assert memory.copy(np.array(["a", None], object)).tolist() == ["a", None]


def test_too_much_is_an_error() -> None:
    with pytest.raises((MemoryError, ValueError)):
        memory.empty((1 << 62,), np.float64)


def test_variables_begin_at_a_line_whatever_is_assigned_and_constants_that_may_be_weights() -> None:
    v = tf.get_variable("v", [33, 7], initializer=tf.ones_initializer())
    fed = tf.placeholder(tf.float32, [33, 7])
    steps = [tf.assign(v, fed), tf.assign_add(v, fed), tf.assign(v, fed * 2 + v)]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            for step in steps:
                kept = session.run(v)
                session.run(step, {fed: np.ones((33, 7))})
                v.load(session.run(v) + 1, session)
                cells = list(session._store._cells.values())
                assert all(cell.read().ctypes.data % 64 == 0 for cell in cells)
                assert np.array_equal(kept, kept[:1].repeat(33, 0))
    weights = tf.constant(np.ones((50, 50)).T, tf.float32).op.get_attr("value")
    assert np.asarray(weights).ctypes.data % 64 == 0
