"""Layers: when they build, which variables are theirs, what they complain about."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.layers.base import InputSpec, Layer


@pytest.fixture(autouse=True)
def _graph() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


class Scale(Layer):
    """Multiplies by a vector of its own."""

    def __init__(self, regularizer: Any = None, partitioner: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options = {"regularizer": regularizer, "partitioner": partitioner}
        self.built_with: list[Any] = []

    def build(self, input_shape: Any) -> None:
        self.built_with.append(input_shape)
        self.scale = self.add_weight("scale", [input_shape[-1].value], **self.options)
        self.count = self.add_variable("count", [], tf.int32, trainable=False)

    def call(self, inputs: Any, power: int = 1) -> Any:
        return inputs * self.scale**power


def names(variables: list[Any]) -> list[str]:
    return [variable.name for variable in variables]


def test_the_first_call_builds_and_later_ones_share() -> None:
    layer = Scale()
    assert not layer.built
    assert layer.weights == []
    first, second = layer(tf.ones([4, 3])), layer(np.ones([2, 3], np.float32), power=2)
    assert [shape.as_list() for shape in layer.built_with] == [[4, 3]]
    assert names(layer.weights) == names(tf.global_variables()) == ["scale/scale:0", "scale/count:0"]
    assert names(layer.trainable_variables) == names(tf.trainable_variables()) == ["scale/scale:0"]
    assert layer.count_params() == 4
    assert (first.shape.as_list(), second.shape.as_list()) == ([4, 3], [2, 3])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(tf.assign(layer.scale, [1.0, 2.0, 3.0]))
        np.testing.assert_array_equal(session.run(second), [[1, 4, 9]] * 2)


def test_layers_of_one_name_are_told_apart_within_a_scope_only() -> None:
    x = tf.ones([1, 2])
    layers = [Scale(), Scale(), Scale(name="mine")]
    with tf.variable_scope("a"):
        for layer in layers:
            layer(x)
    assert [layer.scope_name for layer in layers] == ["a/scale", "a/scale_1", "a/mine"]
    assert [layer.name for layer in layers] == ["scale_1", "scale_2", "mine"]
    with tf.variable_scope("b"):
        other = Scale()
        other(x)
    assert other.scope_name == "b/scale"


def test_reuse_shares_the_variables_of_another_layer() -> None:
    x = tf.ones([1, 2])
    with pytest.raises(ValueError, match="does not exist"):
        Scale(_scope="s", _reuse=True)(x)
    first = Scale(_scope="s")
    first(x)
    second = Scale(_scope="s", _reuse=True)
    second(x)
    assert second.weights[0] is first.weights[0]
    assert len(tf.global_variables()) == 2


def test_the_variables_dtype_is_that_of_the_first_input_unless_given() -> None:
    wide, given = Scale(), Scale(dtype="float16")
    wide(tf.ones([1, 2], tf.float64))
    assert (wide.dtype, wide.scale.dtype.base_dtype) == ("float64", tf.float64)
    given(tf.ones([1, 2], tf.float16))
    assert given.scale.dtype.base_dtype is tf.float16


def test_a_layer_that_is_not_trainable_has_no_trainable_variables() -> None:
    layer = Scale(trainable=False)
    layer(tf.ones([1, 2]))
    assert tf.trainable_variables() == []
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == 2


def test_a_variable_is_regularized_once() -> None:
    x = tf.ones([1, 2])
    layer = Scale(regularizer=lambda w: tf.reduce_sum(w * w), _scope="s")
    layer(x)
    layer(x)
    Scale(regularizer=lambda w: tf.reduce_sum(w * w), _scope="s", _reuse=True)(x)
    assert len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == 1
    assert len(layer.losses) == 1


def test_the_parts_of_a_partitioned_variable_are_the_layers() -> None:
    layer = Scale(partitioner=tf.fixed_size_partitioner(2))
    layer.build(tf.TensorShape([None, 4]))
    assert names(layer.trainable_weights) == ["scale/scale/part_0:0", "scale/scale/part_1:0"]


def test_updates_and_losses_are_collected_once() -> None:
    layer = Layer()
    update, loss = tf.no_op(), tf.constant(1.0)
    layer.add_update([update, update])
    layer.add_loss(loss)
    layer.add_loss([loss, None])
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == [update]
    assert tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES) == [loss]
    assert layer.updates[0] is update


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (InputSpec(ndim=3), "expected ndim=3, found ndim=2"),
        (InputSpec(min_ndim=3), "expected min_ndim=3, found ndim=2"),
        (InputSpec(max_ndim=1), "expected max_ndim=1, found ndim=2"),
        (InputSpec(dtype="int32"), "expected dtype=int32, found dtype=float32"),
        (InputSpec(axes={-1: 5}), "expected axis -1 of input shape to have value 5"),
        (InputSpec(shape=(None, 5)), "expected shape="),
        ([InputSpec(), InputSpec()], "expects 2 inputs, but it received 1"),
    ],
)
def test_inputs_that_do_not_fit(spec: Any, message: str) -> None:
    layer = Layer(name="layer")
    layer.input_spec = spec
    with pytest.raises(ValueError, match=message):
        layer(tf.ones([2, 3]))


def test_what_is_not_known_of_an_input_fits() -> None:
    layer = Layer()
    layer.input_spec = InputSpec(ndim=2, axes={-1: 3, 0: None})
    assert layer(tf.placeholder(tf.float32, [None, None])) is not None
    with pytest.raises(ValueError, match="its rank is undefined"):
        layer(tf.placeholder(tf.float32))


def test_misuse() -> None:
    with pytest.raises(TypeError, match="not understood: colour"):
        Layer(colour="red")
    with pytest.raises(ValueError, match="has not been used yet"):
        _ = Layer().scope_name
    with pytest.raises(ValueError, match="isn't built"):
        Layer().count_params()


def test_an_unused_layer_can_be_copied() -> None:
    first = Scale()
    second = copy.deepcopy(first)
    first(tf.ones([1, 2]))
    second(tf.ones([1, 2]))
    assert len(tf.trainable_variables()) == 2


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("Conv2DTranspose", "conv2d_transpose_1"),
        ("LSTM2Cell", "lst_m2cell_1"),
        ("_Hidden", "private__hidden_1"),
        ("RNN", "rnn_1"),
    ],
)
def test_a_layer_is_named_after_its_class(class_name: str, name: str) -> None:
    assert type(class_name, (Layer,), {})().name == name
