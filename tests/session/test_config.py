"""ConfigProto and its parts take TensorFlow's fields and no others."""

from __future__ import annotations

import pytest

import tahr as tf


def test_nested_settings() -> None:
    config = tf.ConfigProto(allow_soft_placement=True, device_count={"GPU": 0})
    config.gpu_options.allow_growth = True
    config.gpu_options.per_process_gpu_memory_fraction = 0.5
    config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    config.inter_op_parallelism_threads = 2
    assert config.gpu_options.allow_growth
    assert config.graph_options.optimizer_options.global_jit_level == 1
    assert not tf.ConfigProto().gpu_options.allow_growth
    with tf.Session(config=config) as session:
        assert session.run(tf.constant(1)) == 1


def test_parts_can_be_given() -> None:
    config = tf.ConfigProto(
        gpu_options=tf.GPUOptions(per_process_gpu_memory_fraction=0.3, visible_device_list="0"),
        graph_options=tf.GraphOptions(
            optimizer_options=tf.OptimizerOptions(opt_level=tf.OptimizerOptions.L0)
        ),
    )
    assert config.gpu_options.visible_device_list == "0"
    assert config.graph_options.optimizer_options.opt_level == -1


def test_a_field_that_tensorflow_lacks_is_an_error() -> None:
    with pytest.raises(TypeError, match="allow_grow"):
        tf.GPUOptions(allow_grow=True)  # pyright: ignore[reportCallIssue]
    config = tf.ConfigProto()
    with pytest.raises(AttributeError, match="allow_grow"):
        config.gpu_options.allow_grow = True  # pyright: ignore[reportAttributeAccessIssue]


def test_run_options_and_metadata() -> None:
    options, metadata = (
        tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE, timeout_in_ms=5000),
        tf.RunMetadata(),
    )
    with tf.Session() as session:
        assert session.run(tf.constant(2.0), options=options, run_metadata=metadata) == 2
    assert options.trace_level == 3


def test_the_switches_of_version_2() -> None:
    tf.disable_v2_behavior()
    tf.disable_eager_execution()
    assert not tf.executing_eagerly()
