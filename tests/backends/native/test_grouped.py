"""Convolutions of halves and of groups of channels are native, as those that they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.program.passes import convolutions
from tests.backends.native import natively

TOLERANCES = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}


def convolved(
    dtype: str,
    channels: int,
    groups: int,
    filters: int,
    data_format: str = "NHWC",
    batch: int = 3,
    strides: Any = 1,
    dilations: Any = 1,
) -> tuple[list[Any], dict[Any, Any]]:
    """A convolution, its gradients by images and filters, and feeds."""
    rng = np.random.default_rng(0)
    shape = (7, 6, channels) if data_format == "NHWC" else (channels, 7, 6)
    numpy = tf.as_dtype(dtype).as_numpy_dtype
    images, window = tf.placeholder(dtype, [None, *shape]), (3, 2, channels // groups, filters)
    weights = tf.placeholder(dtype, window)
    y = tf.nn.conv2d(images, weights, strides, "SAME", data_format=data_format, dilations=dilations)
    feeds = {
        images: (rng.integers(-8, 9, [batch, *shape]) / 8).astype(numpy),
        weights: (rng.integers(-8, 9, window) / 8).astype(numpy),
    }
    return [y, *tf.gradients(y * y, [images, weights])], feeds


def check(fetches: list[Any], feeds: dict[Any, Any], dtype: str) -> None:
    """Native results are NumPy's, and nothing is left to it."""
    with tf.Session(backend="numpy") as session:
        expected = session.run(fetches, feeds)
    results = [natively.run(fetches, feeds, threads) for threads in (1, 2, 4)]
    for found, hosts in results:
        assert not hosts
        for a, b, c in zip(found, expected, results[0][0]):
            assert a.dtype == b.dtype
            assert natively.same(a, c)
            wide = b.astype(np.float64)
            scale = np.abs(wide).max(initial=1)
            np.testing.assert_allclose(a.astype(np.float64) / scale, wide / scale, atol=TOLERANCES[dtype])


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    ("channels", "groups", "filters"), [(6, 1, 4), (6, 2, 4), (6, 3, 3), (6, 6, 6), (6, 6, 12)]
)
def test_groups(dtype: str, channels: int, groups: int, filters: int, data_format: str) -> None:
    check(*convolved(dtype, channels, groups, filters, data_format), dtype)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize(("strides", "dilations"), [(2, 1), (1, 2), ((2, 1), 1)])
def test_windows_of_groups(groups: int, batch: int, strides: Any, dilations: int) -> None:
    fetches, feeds = convolved("float32", 4, groups, 4, batch=batch, strides=strides, dilations=dilations)
    check(fetches, feeds, "float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_depthwise_convolution_of_halves(dtype: str) -> None:
    rng = np.random.default_rng(0)
    numpy = tf.as_dtype(dtype).as_numpy_dtype
    images, weights = tf.placeholder(dtype, [None, 6, 5, 3]), tf.placeholder(dtype, [3, 3, 3, 2])
    y = tf.nn.depthwise_conv2d(images, weights, (1, 1, 1, 1), "VALID")
    feeds = {
        images: rng.normal(size=[2, 6, 5, 3]).astype(numpy),
        weights: rng.normal(size=[3, 3, 3, 2]).astype(numpy),
    }
    check([y, *tf.gradients(y, [images, weights])], feeds, dtype)


def test_not_a_number_stays_in_its_group() -> None:
    fetches, feeds = convolved("float32", 4, 2, 4)
    images = next(iter(feeds))
    feeds[images][..., 3] = np.nan
    found, hosts = natively.run(fetches[0], feeds)
    assert not hosts
    assert np.isfinite(found[..., :2]).all()
    assert np.isnan(found[..., 2:]).all()


def test_very_many_groups_are_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "MOST_GROUPS", 2)
    _, hosts = natively.run(*convolved("float32", 6, 3, 3))
    assert set(hosts) == {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"}
