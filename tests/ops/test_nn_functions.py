"""Functions of tf.nn that are made of several ops, by identities between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tahr  # noqa: F401  # pyright: ignore[reportUnusedImport]  # installs the operators
from tahr.autodiff.gradients import gradients
from tahr.core.convert import constant
from tahr.core.graph import Graph, Tensor
from tahr.ops import candidate_sampling, convolution, convolution_nd, normalization, pooling, softmax
from tests.evaluate import evaluate

RNG = np.random.default_rng(0)
SIGNALS = RNG.normal(size=[2, 7, 3])
IMAGES = RNG.normal(size=[2, 6, 7, 3])
VOLUMES = RNG.normal(size=[1, 4, 5, 4, 2])
FILTERS_1D = RNG.normal(size=[3, 3, 4])
FILTERS_2D = RNG.normal(size=[3, 2, 3, 4])
FILTERS_3D = RNG.normal(size=[2, 2, 2, 2, 3])


@pytest.fixture(autouse=True)
def graph() -> Any:
    with Graph().as_default() as graph:
        yield graph


def assert_same(a: Tensor, b: Any) -> None:
    expected = evaluate(b) if isinstance(b, Tensor) else b
    found = evaluate(a)
    assert a.shape.as_list() == list(found.shape)
    np.testing.assert_allclose(found, expected, 1e-10, 1e-12)


def assert_adjoint(
    forward: Callable[[Tensor], Tensor], transposed: Callable[[Tensor], Tensor], x: Any
) -> None:
    """<forward(x), dy> = <x, transposed(dy)>."""
    y = evaluate(forward(constant(x)))
    dy = RNG.normal(size=y.shape)
    dx = transposed(constant(dy))
    assert dx.shape.as_list() == list(x.shape)
    np.testing.assert_allclose(np.sum(y * dy), np.sum(x * evaluate(dx)), 1e-10)


def spread(filters: Any, rate: int) -> Any:
    """Filters with rate - 1 zeros between their taps."""
    rows, columns = ((k - 1) * rate + 1 for k in filters.shape[:2])
    wide = np.zeros([rows, columns, *filters.shape[2:]])
    wide[::rate, ::rate] = filters
    return wide


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_conv1d_is_conv2d_of_flat_images(padding: str) -> None:
    found = convolution_nd.conv1d(constant(SIGNALS), constant(FILTERS_1D), 2, padding)
    image = convolution.conv2d(constant(SIGNALS[:, None]), constant(FILTERS_1D[None]), [1, 1, 2, 1], padding)
    assert_same(found, evaluate(image)[:, 0])


def test_channels_first_signals() -> None:
    last = convolution_nd.conv1d(constant(SIGNALS), constant(FILTERS_1D), 2, "SAME")
    first = convolution_nd.conv1d(
        constant(SIGNALS.swapaxes(1, 2)), constant(FILTERS_1D), 2, "SAME", data_format="NCW"
    )
    assert_same(first, evaluate(last).swapaxes(1, 2))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_dilated_convolution_has_holes_in_its_filters(padding: str) -> None:
    x = constant(IMAGES)
    wide = convolution.conv2d(x, constant(spread(FILTERS_2D, 2)), 1, padding)
    assert_same(convolution_nd.atrous_conv2d(x, constant(FILTERS_2D), 2, padding), wide)
    assert_same(convolution_nd.convolution(x, constant(FILTERS_2D), padding, dilation_rate=[2, 2]), wide)


def test_depthwise_dilation() -> None:
    x = constant(IMAGES)
    wide = convolution.depthwise_conv2d_native(x, constant(spread(FILTERS_2D, 2)), 1, "SAME")
    assert_same(convolution_nd.depthwise_conv2d(x, constant(FILTERS_2D), 1, "SAME", rate=[2, 2]), wide)


def test_convolution_of_any_rank() -> None:
    for x, w, conv in (
        (SIGNALS, FILTERS_1D, convolution_nd.conv1d),
        (IMAGES, FILTERS_2D, convolution.conv2d),
        (VOLUMES, FILTERS_3D, convolution.conv3d),
    ):
        rank = x.ndim - 2
        found = convolution_nd.convolution(constant(x), constant(w), "VALID", strides=[2] * rank)
        assert_same(found, conv(constant(x), constant(w), 2, "VALID"))


def test_strides_and_dilations_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="strides > 1 not supported in conjunction with dilation_rate > 1"):
        convolution_nd.convolution(
            constant(IMAGES), constant(FILTERS_2D), "SAME", strides=[2, 2], dilation_rate=[2, 2]
        )


def test_separable_convolution_is_two_convolutions() -> None:
    x, pointwise = constant(IMAGES), constant(RNG.normal(size=[1, 1, 12, 5]))
    channels = convolution.depthwise_conv2d_native(x, constant(FILTERS_2D), 2, "SAME")
    expected = convolution.conv2d(channels, pointwise, 1, "VALID")
    found = convolution_nd.separable_conv2d(x, constant(FILTERS_2D), pointwise, [1, 2, 2, 1], "SAME")
    assert_same(found, expected)


def test_transposed_convolutions_are_adjoints() -> None:
    for x, w, conv, transposed in (
        (SIGNALS, FILTERS_1D, convolution_nd.conv1d, convolution_nd.conv1d_transpose),
        (IMAGES, FILTERS_2D, convolution.conv2d, convolution.conv2d_transpose),
        (VOLUMES, FILTERS_3D, convolution.conv3d, convolution.conv3d_transpose),
    ):
        for transpose in (transposed, convolution_nd.conv_transpose):
            assert_adjoint(
                lambda t, w=w, conv=conv: conv(t, constant(w), 2, "SAME"),
                lambda t, w=w, x=x, transpose=transpose: transpose(t, constant(w), list(x.shape), 2, "SAME"),
                x,
            )
    assert_adjoint(
        lambda t: convolution_nd.atrous_conv2d(t, constant(FILTERS_2D), 2, "SAME"),
        lambda t: convolution_nd.atrous_conv2d_transpose(
            t, constant(FILTERS_2D), list(IMAGES.shape), 2, "SAME"
        ),
        IMAGES,
    )


def test_backprop_functions_are_the_gradients() -> None:
    x, w = constant(IMAGES), constant(FILTERS_2D)
    for conv, to_input, to_filter in (
        (convolution.conv2d, convolution.conv2d_backprop_input, convolution.conv2d_backprop_filter),
        (
            convolution.depthwise_conv2d_native,
            convolution.depthwise_conv2d_native_backprop_input,
            convolution.depthwise_conv2d_native_backprop_filter,
        ),
    ):
        y = conv(x, w, 2, "SAME")
        dy = constant(RNG.normal(size=evaluate(y).shape))
        dx, dw = gradients(y, [x, w], dy)
        assert_same(to_input(IMAGES.shape, w, dy, 2, "SAME"), dx)
        assert_same(to_filter(x, FILTERS_2D.shape, dy, 2, "SAME"), dw)


def test_explicit_padding_is_that_of_pad() -> None:
    padded = np.pad(IMAGES, [(0, 0), (1, 2), (0, 1), (0, 0)])
    expected = convolution.conv2d(constant(padded), constant(FILTERS_2D), 2, "VALID")
    found = convolution.conv2d(constant(IMAGES), constant(FILTERS_2D), 2, [[0, 0], [1, 2], [0, 1], [0, 0]])
    assert_same(found, expected)


@pytest.mark.parametrize("kind", ["MAX", "AVG"])
def test_pooling_of_any_rank(kind: str) -> None:
    functions = {
        "MAX": (pooling.max_pool1d, pooling.max_pool, pooling.max_pool3d, pooling.max_pool_v2),
        "AVG": (pooling.avg_pool1d, pooling.avg_pool, pooling.avg_pool3d, pooling.avg_pool_v2),
    }[kind]
    for x, function in zip((SIGNALS, IMAGES, VOLUMES), functions, strict=False):
        rank = x.ndim - 2
        expected = function(constant(x), 2, 2, "SAME")
        assert_same(pooling.pool(constant(x), [2] * rank, kind, "SAME", strides=[2] * rank), expected)
        assert_same(functions[3](constant(x), 2, 2, "SAME"), expected)


def test_window_lists_of_a_wrong_length() -> None:
    with pytest.raises(ValueError, match="ksize should be of length 1, 2 or 4 but was 3"):
        pooling.max_pool(constant(IMAGES), [1, 2, 2], 1, "SAME")


def test_softmax_along_another_axis() -> None:
    for axis in (0, 1, -2, 3):
        moved = np.moveaxis(IMAGES, axis, -1)
        expected = np.moveaxis(evaluate(softmax.softmax(constant(moved))), -1, axis)
        assert_same(softmax.softmax(constant(IMAGES), axis=axis), expected)


def test_moments_from_sufficient_statistics() -> None:
    statistics = normalization.sufficient_statistics(constant(IMAGES), [0, 2], shift=0.5)
    for found in (
        normalization.moments(constant(IMAGES), [0, 2]),
        normalization.normalize_moments(*statistics),
        normalization.weighted_moments(constant(IMAGES), [0, 2], 1.0),
    ):
        assert_same(found[0], IMAGES.mean(axis=(0, 2)))
        assert_same(found[1], IMAGES.var(axis=(0, 2)))


def test_sampled_softmax_of_all_classes_is_the_softmax() -> None:
    weights, biases = RNG.normal(size=[5, 3]), RNG.normal(size=[5])
    inputs, labels = RNG.normal(size=[2, 3]), np.array([[1], [4]])
    logits = constant(inputs @ weights.T + biases)
    expected = softmax.sparse_softmax_cross_entropy_with_logits(labels=constant(labels[:, 0]), logits=logits)
    # Every class is sampled once; the true ones among them are accidental hits.
    sampled = constant(np.arange(5)), constant(np.ones([2, 1])), constant(np.ones([5]))
    found = candidate_sampling.sampled_softmax_loss(
        constant(weights), constant(biases), constant(labels), constant(inputs), 5, 5, 1, sampled
    )
    assert_same(found, expected)
