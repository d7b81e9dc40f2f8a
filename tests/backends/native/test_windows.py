"""Convolutions and pooling natively against NumPy: sizes, gradients, what is fused, and changing batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import execute
from tahr.backends.native.calls import Bind
from tahr.core.opdef import OPS, Array
from tests.backends.native.natively import op_of_sample, run
from tests.ops.samples import Sample, collect

NATIVE = [
    "Conv2D",
    "Conv2DBackpropInput",
    "Conv2DBackpropFilter",
    "Conv3D",
    "Conv3DBackpropInputV2",
    "Conv3DBackpropFilterV2",
    "DepthwiseConv2dNative",
    "DepthwiseConv2dNativeBackpropInput",
    "DepthwiseConv2dNativeBackpropFilter",
    "MaxPool",
    "MaxPoolGrad",
    "MaxPool3D",
    "MaxPool3DGrad",
    "AvgPool",
    "AvgPoolGrad",
    "AvgPool3D",
    "AvgPool3DGrad",
]
SAMPLES = [s for name in NATIVE for s in collect()[name]]


def random(*shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def fed(array: Array, shape: Sequence[int | None] | None = None) -> Any:
    return tf.placeholder(array.dtype, array.shape if shape is None else shape)


def agree(fetches: Sequence[Any], feeds: dict[Any, Array], host: Sequence[str] = ()) -> list[str]:
    """Compares with NumPy; returns the titles of the calls.

    Args:
        host: what NumPy is expected to compute.
    """
    found, hosts = run(list(fetches), feeds)
    titles = [
        c.title for r in execute._records.values() if r.native for s in r.native.segments for c in s.calls
    ]
    with tf.Session(backend="numpy") as session:
        expected = session.run(list(fetches), feeds)
    assert sorted(set(hosts)) == sorted(host)
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        tolerance = 1e-5 if b.dtype == np.float32 else 1e-12
        scale = float(np.abs(b).max(initial=1.0))
        np.testing.assert_allclose(a, b, rtol=tolerance * 10, atol=tolerance * scale)
    return titles


def kernel_titles(binding: execute.Binding) -> list[str]:
    found: list[str] = []
    for item in binding.plan.segments:
        for call in item.calls:
            found += [b.kernel.title for b in call.bind(binding.bound)[0] if isinstance(b, Bind)]
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sample", SAMPLES, ids=repr)
def test_what_is_native(sample: Sample, dtype: str) -> None:
    form: Any = OPS[sample.op].form
    data = [i for i in range(len(sample.inputs)) if i != form.sizes]
    fetches, feeds = op_of_sample(sample, dtype if sample.dtypes and dtype in sample.dtypes else None, data)
    types = {array.dtype for array in feeds.values()}
    supported = "Pool" in sample.op or types <= {np.dtype("float32"), np.dtype("float64")}
    is_native = supported and len(types) == 1
    agree(fetches, feeds, [] if is_native else [sample.op, "nothing in it is native"])


GEOMETRIES = [
    # window, strides, dilations, padding, sizes
    ((3, 3), (1, 1), (1, 1), "SAME", (9, 11)),
    ((5, 4), (2, 3), (1, 1), "SAME", (13, 10)),
    ((5, 4), (2, 1), (1, 1), "VALID", (13, 10)),
    ((3, 2), (1, 1), (2, 3), "SAME", (9, 8)),
    ((3, 3), (2, 2), (1, 1), [[0, 0], [2, 1], [0, 3], [0, 0]], (8, 9)),
    ((1, 1), (1, 1), (1, 1), "SAME", (7, 5)),
    ((1, 1), (1, 1), (1, 1), [[0, 0], [1, 1], [0, 0], [0, 0]], (7, 5)),
    ((1, 1), (2, 2), (1, 1), "VALID", (7, 5)),
]


@pytest.mark.parametrize("known", [True, False], ids=["sizes known", "sizes not known"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=repr)
def test_convolutions_and_gradients(geometry: Any, known: bool) -> None:
    window, strides, dilations, padding, sizes = geometry
    x, w = random(3, *sizes, 5), random(*window, 5, 17)
    image = fed(x, None if known else [None, None, None, 5])
    filters = fed(w)
    y = tf.nn.conv2d(image, filters, strides, padding, dilations=dilations)
    z = tf.reduce_sum(tf.square(y))
    agree([y, *tf.gradients(z, [image, filters])], {image: x, filters: w})


def test_convolutions_with_the_channels_in_front() -> None:
    x, w, d = random(3, 5, 9, 11), random(3, 2, 5, 17), random(3, 3, 5, 2)
    image, filters, depthwise = fed(x, [None, 5, None, 11]), fed(w), fed(d)
    y = tf.nn.conv2d(image, filters, 2, "SAME", data_format="NCHW")
    z = tf.nn.depthwise_conv2d(image, depthwise, [1, 1, 1, 1], "VALID", data_format="NCHW")
    gradients = tf.gradients([tf.square(y), tf.square(z)], [image, filters, depthwise])
    agree([y, z, *gradients], {image: x, filters: w, depthwise: d})


@pytest.mark.parametrize("geometry", GEOMETRIES[:5], ids=repr)
def test_depthwise_convolutions_and_gradients(geometry: Any) -> None:
    window, _, _, padding, sizes = geometry
    x, w = random(3, *sizes, 6), random(*window, 6, 2)
    image, filters = fed(x, [None, *x.shape[1:]]), fed(w)
    y = tf.nn.depthwise_conv2d(image, filters, [1, 2, 2, 1], padding)
    z = tf.reduce_sum(tf.square(y))
    agree([y, *tf.gradients(z, [image, filters])], {image: x, filters: w})


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("kind", ["MAX", "AVG"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("window", "strides"), [((2, 2), (2, 2)), ((3, 3), (2, 1)), ((2, 2), (3, 3))])
def test_pooling_and_gradients(
    window: tuple[int, int], strides: tuple[int, int], padding: str, kind: str, layout: str
) -> None:
    x = random(2, 9, 8, 19)
    x[0, 2] = x[0, 3] = 0.5  # ties
    if layout == "NCHW":
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    image = fed(x, [n if n == 19 else None for n in x.shape])
    y = tf.nn.pool(image, window, kind, padding, strides=strides, data_format=layout)
    agree([y, *tf.gradients(tf.square(y), [image])], {image: x})


def test_pooling_and_its_gradient_share_what_won() -> None:
    x = random(2, 8, 8, 5)
    image = fed(x)
    y = tf.nn.max_pool(image, 2, 2, "VALID")
    agree([y, *tf.gradients(tf.square(y), [image])], {image: x})
    found = all_kernel_titles()
    assert sum("indices" in title for title in found) == 1
    assert any("max pool with indices" in title for title in found)


def all_kernel_titles() -> list[str]:
    bindings = [b for r in execute._records.values() for b in r.bindings.values() if b is not None]
    return [title for binding in bindings for title in kernel_titles(binding)]


@pytest.mark.parametrize("kind", ["MAX", "AVG"])
def test_volumes(kind: str) -> None:
    x, w = random(2, 5, 6, 7, 3), random(2, 3, 2, 3, 4)
    image, filters = fed(x), fed(w)
    y = tf.nn.conv3d(image, filters, [1, 1, 2, 1, 1], "SAME")
    p = tf.nn.pool(y, (2, 2, 2), kind, "SAME", strides=(2, 2, 2))
    agree([y, p, *tf.gradients(tf.square(p), [image, filters])], {image: x, filters: w})


def test_signals() -> None:
    x, w = random(2, 33, 3), random(4, 3, 8)
    signal, filters = fed(x, [None, 33, 3]), fed(w)
    y = tf.nn.conv1d(signal, filters, 2, "SAME")
    agree([y, *tf.gradients(tf.square(y), [signal, filters])], {signal: x, filters: w})


def test_transposed() -> None:
    x, w = random(2, 4, 5, 6), random(3, 3, 4, 6)
    image, filters = fed(x), fed(w)
    y = tf.nn.conv2d_transpose(image, filters, [2, 8, 10, 4], 2, "SAME")
    agree([y, *tf.gradients(tf.square(y), [image, filters])], {image: x, filters: w})


def test_an_output_shape_of_a_fixed_batch() -> None:
    x, w = random(2, 4, 5, 6), random(3, 3, 4, 6)
    image, filters = fed(x, [None, 4, 5, 6]), fed(w)
    y = tf.nn.conv2d_transpose(image, filters, [2, 8, 10, 4], 2, "SAME")
    agree([y], {image: x, filters: w})
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier="compiled") as session, pytest.raises(tf.errors.OpError):
            session.run(y, {image: x[:1], filters: w})


def test_what_follows_a_convolution_is_fused() -> None:
    x, w, b, r = random(2, 8, 8, 3), random(3, 3, 3, 16), random(16), random(2, 8, 8, 16)
    image, filters, bias, residual = fed(x, [None, 8, 8, 3]), fed(w), fed(b), fed(r, [None, 8, 8, 16])
    y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(image, filters, 1, "SAME"), bias) + residual)
    feeds = {image: x, filters: w, bias: b, residual: r}
    assert agree([y], feeds) == ["Conv2D AddV2 Relu"]
    hidden = tf.nn.relu(image)
    y = tf.nn.conv2d(hidden, filters, 1, "SAME")
    (gradient,) = tf.gradients(tf.square(y), [image])
    assert "Conv2DBackpropInput ReluGrad" in agree([gradient], {image: x, filters: w})


def test_a_convolution_of_single_pixels_is_a_product() -> None:
    x, w = random(2, 8, 8, 3), random(1, 1, 3, 16)
    image, filters = fed(x, [None, 8, 8, 3]), fed(w)
    y = tf.nn.relu(tf.nn.conv2d(image, filters, 1, "SAME"))
    agree([y, *tf.gradients(tf.square(y), [image])], {image: x, filters: w})
    (record,) = execute._records.values()
    (binding,) = record.bindings.values()
    assert binding is not None
    titles = kernel_titles(binding)
    assert any(title.startswith("matmul") for title in titles)
    assert not any("convolution" in title for title in titles)


def test_another_batch_compiles_nothing() -> None:
    w = random(3, 3, 3, 16)
    image, filters = tf.placeholder(tf.float32, [None, 8, 8, 3]), fed(w)
    y = tf.nn.max_pool(tf.nn.relu(tf.nn.conv2d(image, filters, 1, "SAME")), 2, 2, "SAME")
    fetches = [y, *tf.gradients(tf.square(y), [image, filters])]
    execute._records.clear()
    with tf.Session(backend="native", tier="compiled") as session:
        kernels: list[set[str]] = []
        bindings: list[execute.Binding] = []
        for batch in (2, 5, 0, 1):
            x = random(batch, 8, 8, 3)
            found = session.run(fetches, {image: x, filters: w})
            with tf.Session(backend="numpy") as other:
                expected = other.run(fetches, {image: x, filters: w})
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(np.abs(b).max(initial=1.0)))
            records = [r for r in execute._records.values() if r.native is not None]
            bindings = [b for r in records for b in r.bindings.values() if b is not None]
            kernels.append({k for b in bindings for k in kernel_titles(b)})
    assert len(bindings) == 4
    assert all(found == kernels[0] for found in kernels)


def test_a_window_that_does_not_fit() -> None:
    x, w = random(2, 2, 2, 3), random(5, 3, 3, 4)
    image, filters = fed(x, [None, None, None, 3]), fed(w)
    y = tf.nn.conv2d(image, filters, 1, "VALID")
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier="compiled") as session, pytest.raises(tf.errors.OpError):
            session.run(y, {image: x, filters: w})


def test_gradients_of_wrong_sizes_are_numpys_to_refuse() -> None:
    x, dy, w = random(2, 8, 8, 3), random(2, 7, 8, 4), random(3, 3, 3, 4)
    image, gradient = fed(x), fed(dy)
    y = tf.nn.conv2d_backprop_filter(image, w.shape, gradient, [1, 1, 1, 1], "SAME")
    for backend in ("numpy", "native"):
        with tf.Session(backend=backend, tier="compiled") as session, pytest.raises(tf.errors.OpError):
            session.run(y, {image: x, gradient: dy})
