"""TensorArray: reading, writing, shapes, errors, and gradients of first and second order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.autodiff.gradients import gradients
from tests.gradient_check import random_cotangent
from tests.running import run


def array_of(*rows, **kwargs):
    return tf.TensorArray(tf.float64, len(rows), **kwargs).unstack(np.array(rows))


# ---------------------------------------------------------------- values


def test_write_read_and_stack():
    ta = tf.TensorArray(tf.float32, 3)
    ta = ta.write(2, [1.0, 2.0]).write(0, [3.0, 4.0])
    assert run(ta.read(2)).tolist() == [1.0, 2.0]
    assert run(ta.stack()).tolist() == [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]
    assert run(ta.size()) == 3


def test_a_tensor_array_is_a_value_and_may_be_read_again():
    ta = tf.TensorArray(tf.float32, 1)
    first, second = ta.write(0, 1.0), ta.write(0, 2.0)
    a = first.read(0)
    with tf.control_dependencies([a]):
        b = first.read(0)
    assert run([a, b, second.read(0)]) == [1.0, 1.0, 2.0]


def test_unstack_gather_and_scatter():
    ta = array_of([1.0], [2.0], [3.0])
    assert run(ta.gather([2, 0])).tolist() == [[3.0], [1.0]]
    scattered = tf.TensorArray(tf.float64, 4).scatter([2, 1], [[1.0], [2.0]])
    assert run(scattered.stack()).tolist() == [[0.0], [2.0], [1.0], [0.0]]
    shorter = tf.TensorArray(tf.float64, 3).unstack(np.array([1.0, 2.0]))
    assert run(shorter.stack()).tolist() == [1.0, 2.0, 0.0]


def test_split_and_concat():
    ta = tf.TensorArray(tf.float32, 2, infer_shape=False).split([1.0, 2.0, 3.0], [2, 1])
    assert run([ta.read(0), ta.read(1)])[1].tolist() == [3.0]
    assert run(ta.concat()).tolist() == [1.0, 2.0, 3.0]


def test_a_dynamic_size_grows():
    ta = tf.TensorArray(tf.float32, 0, dynamic_size=True)
    assert run([ta.write(2, 1.0).stack(), ta.write(2, 1.0).size()])[0].tolist() == [0.0, 0.0, 1.0]
    assert run(ta.unstack([1.0, 2.0]).size()) == 2
    assert run(ta.size()) == 0


def test_grad_adds_up_what_is_written():
    gradient = array_of([1.0], [2.0]).grad("gradients")
    assert run(gradient.write(0, [5.0]).write(0, [2.0]).stack()).tolist() == [[7.0], [0.0]]


def test_a_handle_makes_the_same_tensor_array_again():
    ta = array_of(1.0, 2.0)
    again = tf.TensorArray(tf.float64, handle=ta.handle, flow=ta.flow)
    assert run(again.read(1)) == 2.0
    assert run([ta.identity().read(0), ta.close()]) == [1.0, None]


def test_in_a_loop_and_in_a_cond():
    def body(i, ta):
        return i + 1, ta.write(i, tf.cast(i, tf.float32) * 2.0)

    _, ta = tf.while_loop(lambda i, _: i < 3, body, [0, tf.TensorArray(tf.float32, 3)])
    assert ta.element_shape == tf.TensorShape([]) and ta.stack().shape == tf.TensorShape([3])
    pred = tf.placeholder(tf.bool, [])
    either = tf.cond(pred, lambda: ta, lambda: tf.TensorArray(tf.float32, 1).write(0, 9.0))
    assert run(either.stack(), {pred: True}).tolist() == [0.0, 2.0, 4.0]
    assert run(either.stack(), {pred: False}).tolist() == [9.0]


def test_in_a_loop_over_a_size_that_is_fed():
    x = tf.placeholder(tf.float32, [None, 2])
    n = tf.shape(x)[0]
    rows = tf.TensorArray(tf.float32, n).unstack(x)
    _, out = tf.while_loop(
        lambda i, _: i < n,
        lambda i, ta: (i + 1, ta.write(i, rows.read(n - 1 - i))),
        [0, tf.TensorArray(tf.float32, n)],
    )
    with tf.Session() as session:
        for count in (0, 1, 3, 4):
            value = np.arange(2.0 * count).reshape(count, 2)
            if count:
                assert session.run(out.stack(), {x: value}).tolist() == value[::-1].tolist()
            else:
                assert session.run(out.stack(), {x: value}).shape == (0, 2)


# ---------------------------------------------------------------- static knowledge


def test_shapes():
    ta = tf.TensorArray(tf.float32, 3)
    assert ta.read(0).shape.ndims is None
    ta = ta.write(0, tf.zeros([2, 5]))
    assert ta.element_shape.as_list() == [2, 5] and ta.read(1).shape.as_list() == [2, 5]
    assert ta.stack().shape.as_list() == [3, 2, 5]
    assert ta.gather([0, 1]).shape.as_list() == [2, 2, 5]
    assert ta.concat().shape.as_list() == [None, 5]
    assert (
        tf.TensorArray(tf.float32, 3, infer_shape=False).write(0, tf.zeros([2])).stack().shape.ndims is None
    )
    assert tf.TensorArray(tf.float32, 2).split([1.0, 2.0], [1, 1]).read(0).shape.as_list() == [1]
    assert tf.TensorArray(tf.float32, 0, dynamic_size=True).write(0, 1.0).stack().shape.as_list() == [None]


def test_names():
    with tf.Graph().as_default():
        ta = tf.TensorArray(tf.float32, 2).unstack([1.0, 2.0])
        names = [
            ta.write(0, 1.0).flow.name,
            ta.read(0).name,
            ta.stack().name,
            ta.gather([0]).name,
            ta.flow.name,
        ]
    assert names == [
        "TensorArrayWrite/TensorArrayWriteV3:0",
        "TensorArrayReadV3:0",
        "TensorArrayStack/TensorArrayGatherV3:0",
        "TensorArrayGatherV3:0",
        "TensorArrayUnstack/TensorArrayScatter/TensorArrayScatterV3:0",
    ]


# ---------------------------------------------------------------- errors


def test_errors_while_the_graph_is_built():
    number: Any = 1
    with pytest.raises(ValueError, match="Size must be provided"):
        tf.TensorArray(tf.float32)
    with pytest.raises(TypeError, match="must be a Tensor"):
        tf.TensorArray(tf.float32, handle=number)
    with pytest.raises(ValueError, match="both a handle and size"):
        tf.TensorArray(tf.float32, 3, handle=number)
    with pytest.raises(ValueError, match=r"Inconsistent shapes: saw \(1,\) but expected \(2,\)"):
        tf.TensorArray(tf.float32, 2).write(0, [1.0, 2.0]).write(1, [1.0])
    with pytest.raises(ValueError, match=r"saw \(3,\) but expected \(2,\)"):
        tf.TensorArray(tf.float32, 3, element_shape=[2]).write(0, [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="dtype is float32 but Op is trying to write dtype int32"):
        tf.TensorArray(tf.float32, 2).write(0, tf.constant(1))
    with pytest.raises(ValueError, match="rank"):
        tf.TensorArray(tf.float32, 2).unstack(1.0)


@pytest.mark.parametrize(
    ("build", "phrase"),
    [
        (lambda ta: ta.read(3), "Tried to read from index 3 but array size is: 3"),
        (lambda ta: ta.read(0), "element shape is not fully defined"),
        (lambda ta: ta.write(3, 1.0).stack(), "write to index 3 but array is not resizeable and size is: 3"),
        (lambda ta: ta.write(-1, 1.0).stack(), "write to index -1"),
        (lambda ta: ta.write(1, 1.0).write(1, 2.0).read(1), "has already been written to"),
        (lambda ta: ta.stack(), "is not fully defined"),
        (
            lambda ta: ta.scatter([2, 7], [1.0, 2.0]).stack(),
            r"Max scatter index must be < array size \(7 vs. 3\)",
        ),
        (lambda ta: ta.write(0, 1.0).gather([9]), "read from index 9"),
        (lambda ta: ta.split([1.0, 2.0], [1, 1]).read(0), "size of lengths"),
    ],
)
def test_errors_of_a_run(build, phrase):
    fetch = build(tf.TensorArray(tf.float32, 3))
    with pytest.raises(tf.errors.InvalidArgumentError, match=phrase):
        run(fetch)


def test_elements_of_known_shape_that_were_not_written_are_zero():
    assert run(tf.TensorArray(tf.float32, 3, element_shape=[2]).read(1)).tolist() == [0.0, 0.0]


# ---------------------------------------------------------------- gradients


def write_in_parts(x):
    ta = tf.TensorArray(tf.float64, 3)
    for i in range(3):
        ta = ta.write(2 - i, x[i] * x[i])
    return ta.stack()


PIPELINES = {
    "unstack, read": lambda x: tf.TensorArray(tf.float64, 3).unstack(x).read(1) ** 3,
    "read twice": lambda x: (lambda ta: ta.read(1) * ta.read(1) * ta.read(0))(
        tf.TensorArray(tf.float64, 3).unstack(x)
    ),
    "write, stack": write_in_parts,
    "scatter, gather": lambda x: tf.TensorArray(tf.float64, 5).scatter([4, 0, 2], x**3).gather([2, 2, 4, 1]),
    "split, concat": lambda x: tf.TensorArray(tf.float64, 2, infer_shape=False).split(x**3, [1, 2]).concat(),
    "split, read": lambda x: tf.TensorArray(tf.float64, 2, infer_shape=False).split(x**3, [1, 2]).read(1),
    "dynamic": lambda x: (
        tf.TensorArray(tf.float64, 0, dynamic_size=True).unstack(x).write(5, x[0] ** 3).stack()
    ),
}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_gradients(pipeline):
    value = np.array([[1.0, 2.0], [-3.0, 0.5], [1.5, -2.5]])
    x = tf.placeholder(tf.float64, [3, 2])
    y = PIPELINES[pipeline](x)
    with tf.Session() as session:
        shape = session.run(y, {x: value}).shape
        (first,) = gradients(y, x, grad_ys=random_cotangent(shape, np.dtype(np.float64), 1))
        (second,) = gradients(first, x, grad_ys=random_cotangent((3, 2), np.dtype(np.float64), 2))
        for function, gradient, seed in ((y, first, 1), (first, second, 2)):
            found = session.run(gradient, {x: value})
            weights = random_cotangent(session.run(function, {x: value}).shape, np.dtype(np.float64), seed)
            for index in np.ndindex(value.shape):
                step = np.zeros_like(value)
                step[index] = 1e-5
                ahead, behind = (session.run(function, {x: value + s}) for s in (step, -step))
                expected = np.sum(weights * (ahead - behind)) / 2e-5
                assert found[index] == pytest.approx(expected, rel=1e-6, abs=1e-6)
