"""Convolution and pooling kernels against naive loops, adjointness, and values recorded from TensorFlow."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tahr.ops import convolution_kernels, layouts, pooling_kernels, windows

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "windows.json").read_text())


class Case(NamedTuple):
    """One convolution; without its channels also one pooling."""

    images: tuple[int, ...]  # batch, *spatial, channels
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: windows.Padding
    filters: int = 3
    groups: int = 1

    @property
    def filter_shape(self) -> tuple[int, ...]:
        return (*self.window, self.images[-1] // self.groups, self.filters)


CASES = {
    "1d-same": Case((2, 7, 3), (3,), (1,), (1,), "SAME"),
    "1d-same-even-window": Case((2, 6, 1), (4,), (1,), (1,), "SAME"),
    "1d-valid-strided": Case((2, 8, 4), (3,), (2,), (1,), "VALID"),
    "1d-dilated": Case((1, 9, 2), (3,), (1,), (3,), "SAME"),
    "1d-explicit": Case((2, 5, 3), (3,), (2,), (1,), [(2, 0)]),
    "2d-same": Case((2, 5, 6, 3), (3, 3), (1, 1), (1, 1), "SAME"),
    "2d-same-one-channel": Case((2, 5, 4, 1), (3, 2), (1, 1), (1, 1), "SAME", filters=6),
    "2d-same-two-channels-strided": Case((2, 5, 4, 2), (3, 2), (2, 1), (1, 1), "SAME", filters=2),
    "2d-same-strided-odd": Case((2, 7, 5, 3), (3, 3), (2, 2), (1, 1), "SAME"),
    "2d-same-strided-even": Case((2, 6, 8, 3), (3, 3), (2, 2), (1, 1), "SAME"),
    "2d-valid": Case((2, 6, 5, 3), (3, 2), (1, 1), (1, 1), "VALID"),
    "2d-valid-few-inputs": Case((1, 6, 5, 3), (2, 2), (1, 1), (1, 1), "VALID", filters=13),
    "2d-valid-unequal-strides": Case((1, 7, 9, 3), (2, 3), (3, 2), (1, 1), "VALID"),
    "2d-dilated": Case((2, 8, 7, 3), (3, 2), (1, 1), (2, 3), "SAME"),
    "2d-dilated-strided": Case((1, 9, 9, 3), (3, 3), (2, 2), (2, 2), "VALID"),
    "2d-explicit": Case((2, 4, 5, 3), (3, 3), (1, 1), (1, 1), [(1, 2), (0, 1)]),
    "2d-explicit-strided": Case((2, 4, 5, 3), (3, 3), (2, 1), (1, 1), [(2, 2), (1, 0)]),
    "2d-pointwise": Case((2, 4, 3, 5), (1, 1), (1, 1), (1, 1), "SAME"),
    "2d-pointwise-strided": Case((2, 4, 5, 3), (1, 1), (2, 3), (1, 1), "SAME"),
    "2d-window-over-image": Case((2, 2, 3, 3), (5, 7), (1, 1), (1, 1), "SAME"),
    "2d-stride-over-window": Case((2, 9, 8, 3), (2, 1), (4, 3), (1, 1), "SAME"),
    "2d-stride-over-image": Case((2, 2, 2, 3), (2, 2), (5, 5), (1, 1), "SAME"),
    "2d-groups": Case((2, 5, 5, 6), (3, 3), (1, 1), (1, 1), "SAME", filters=4, groups=2),
    "2d-groups-strided": Case((2, 5, 6, 6), (3, 2), (2, 2), (1, 1), "VALID", filters=6, groups=3),
    "2d-empty-batch": Case((0, 5, 5, 3), (3, 3), (1, 1), (1, 1), "SAME"),
    "2d-empty-image": Case((2, 0, 3, 3), (3, 3), (1, 1), (1, 1), "SAME"),
    "2d-empty-output": Case((2, 2, 5, 3), (3, 3), (1, 1), (1, 1), "VALID"),
    "2d-empty-output-strided": Case((2, 2, 2, 3), (4, 4), (3, 3), (1, 1), "VALID"),
    "3d-same": Case((2, 3, 4, 5, 3), (2, 3, 2), (1, 1, 1), (1, 1, 1), "SAME"),
    "3d-valid-strided": Case((1, 4, 5, 5, 3), (2, 2, 3), (1, 2, 2), (1, 1, 1), "VALID"),
    "3d-explicit-dilated": Case((1, 3, 4, 3, 3), (2, 2, 1), (1, 1, 2), (1, 2, 1), [(1, 0), (1, 1), (0, 0)]),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
pooling_cases = {
    name: case for name, case in CASES.items() if set(case.dilations) == {1} and case.groups == 1
}
every_pooling = pytest.mark.parametrize("case", pooling_cases.values(), ids=pooling_cases)


def numbers(shape: Sequence[int], seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(tuple(shape))


def ties(shape: Sequence[int], seed: int = 0) -> np.ndarray[Any, Any]:
    """Small integers as floats: many equal maxima."""
    return np.random.default_rng(seed).integers(-2, 3, tuple(shape)).astype(np.float64)


# ------------------------------------------------------------------------------------------------- the oracle


def naive_geometry(case: Case) -> tuple[list[int], list[int]]:
    """Output sizes and low paddings, by counting the window positions."""
    outs, lows = [], []
    for axis, size in enumerate(case.images[1:-1]):
        extent = (case.window[axis] - 1) * case.dilations[axis] + 1
        stride = case.strides[axis]
        if case.padding == "SAME":
            starts = list(range(0, size, stride))
            missing = max(0, starts[-1] + extent - size) if starts else 0
            low, high = missing // 2, missing - missing // 2
        else:
            low, high = (0, 0) if isinstance(case.padding, str) else case.padding[axis]
        outs.append(
            len(range(0, size + low + high - extent + 1, stride)) if size or case.padding != "SAME" else 0
        )
        lows.append(low)
    return outs, lows


def naive_pairs(case: Case) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """All (output position, tap, pixel) with the pixel inside the image."""
    outs, lows = naive_geometry(case)
    for position in itertools.product(*map(range, outs)):
        for tap in itertools.product(*map(range, case.window)):
            pixel = tuple(
                o * s + t * d - low
                for o, s, t, d, low in zip(position, case.strides, tap, case.dilations, lows, strict=True)
            )
            if all(0 <= p < size for p, size in zip(pixel, case.images[1:-1], strict=True)):
                yield position, tap, pixel


def naive_conv(case: Case, x, filters):
    outs, _ = naive_geometry(case)
    y = np.zeros((case.images[0], *outs, case.filters))
    ins, share = filters.shape[-2], case.filters // case.groups
    for position, tap, pixel in naive_pairs(case):
        for o in range(case.filters):
            channels = slice(o // share * ins, (o // share + 1) * ins)
            y[(slice(None), *position, o)] += (
                x[(slice(None), *pixel, channels)] @ filters[(*tap, slice(None), o)]
            )
    return y


def naive_conv_gradients(case: Case, x, filters, dy):
    dx, df = np.zeros_like(x), np.zeros_like(filters)
    ins, share = filters.shape[-2], case.filters // case.groups
    for position, tap, pixel in naive_pairs(case):
        for n, o, i in np.ndindex(len(x), case.filters, ins):
            channel = o // share * ins + i
            gradient = dy[(n, *position, o)]
            dx[(n, *pixel, channel)] += gradient * filters[(*tap, i, o)]
            df[(*tap, i, o)] += gradient * x[(n, *pixel, channel)]
    return dx, df


def naive_windows(case: Case) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """The pixels of each output position, in scan order."""
    pixels: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for position, _, pixel in naive_pairs(case):
        pixels.setdefault(position, []).append(pixel)
    return pixels


def naive_max_pool(case: Case, x, dy):
    """Maxima, their flat indices within an image, and both rules' gradients."""
    outs, _ = naive_geometry(case)
    y = np.zeros((case.images[0], *outs, case.images[-1]))
    index, first, shared = np.zeros(y.shape, int), np.zeros_like(x), np.zeros_like(x)
    for (position, pixels), n, c in itertools.product(
        naive_windows(case).items(), range(len(x)), range(x.shape[-1])
    ):
        values = [x[(n, *pixel, c)] for pixel in pixels]
        winner = values.index(max(values))
        at, out = (n, *pixels[winner], c), (n, *position, c)
        y[out] = max(values)
        index[out] = np.ravel_multi_index(at[1:], x.shape[1:])
        first[at] += dy[out]
        for value, pixel in zip(values, pixels, strict=True):
            shared[(n, *pixel, c)] += dy[out] if value == y[out] else 0
    return y, index, first, shared


def check(got, want, dtype: Any = np.float64) -> None:
    assert got.dtype == dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(np.asarray(got, np.float64), want, rtol=1e-9, atol=1e-9)


# --------------------------------------------------------------------------------------------------- geometry


@every_case
def test_geometry_counts_window_positions(case: Case) -> None:
    got = windows.window_geometry(case.images[1:-1], case.window, case.strides, case.dilations, case.padding)
    outs, lows = naive_geometry(case)
    assert list(got.out) == outs
    if 0 not in outs:
        assert [pad[0] for pad in got.padding if pad] == lows


@pytest.mark.parametrize(
    ("padding", "out", "pads"),
    [
        ("SAME", (None, 3), (None, (1, 1))),
        ("VALID", (None, 2), ((0, 0), (0, 0))),
        ([(1, 2), (0, 1)], (None, 2), ((1, 2), (0, 1))),
    ],
)
def test_geometry_of_an_unknown_size(padding, out, pads) -> None:
    assert windows.window_geometry([None, 5], [3, 3], [1, 2], [1, 1], padding) == (out, pads)


def test_geometry_of_an_unknown_window() -> None:
    assert windows.window_geometry([5], [None], [2], [1], "SAME") == ((3,), (None,))
    assert windows.window_geometry([5], [None], [2], [1], "VALID") == ((None,), ((0, 0),))


def test_geometry_truncates_a_small_lack_of_room_to_no_output() -> None:
    # As TensorFlow's kernels: (1 - 6 + 4) / 4 is 0 in C++, and only (1 - 9 + 4) / 4 is negative.
    assert windows.window_geometry([1], [6], [4], [1], "VALID").out == (0,)
    with pytest.raises(ValueError, match="Computed output size would be negative"):
        windows.window_geometry([1], [9], [4], [1], "VALID")


class Symbol:
    """An integer expression that knows +, - and // only."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __add__(self, other: int) -> Symbol:
        return Symbol(f"({self.text} + {other})") if other else self

    def __sub__(self, other: int) -> Symbol:
        return Symbol(f"({self.text} - {other})")

    def __floordiv__(self, other: int) -> Symbol:
        return Symbol(f"({self.text} // {other})")


def test_geometry_of_symbols() -> None:
    for padding, formula in (("SAME", "((n + 2) - 1) // 2"), ("VALID", "((n - 3) + 2) // 2")):
        (out,), _ = windows.window_geometry([Symbol("n")], [3], [2], [1], padding)
        assert out.text == f"({formula})"
    (out,), _ = windows.window_geometry([Symbol("n")], [2], [1], [3], [(2, 0)])
    assert eval(out.text, {"n": 10}) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([5], [3], [1], [1], "same"), 'must be "SAME"'),
        (([5, 5], [3], [1, 1], [1, 1], "SAME"), "window has 1 entries for 2"),
        (([5], [3], [0], [1], "SAME"), "strides must be positive"),
        (([5], [3], [1], [0], "SAME"), "dilations must be positive"),
        (([5], [0], [1], [1], "SAME"), "window must be positive"),
        (([5], [3], [1], [1], [(-1, 0)]), "must be nonnegative"),
        (([5], [3], [1], [1], [(1, 0), (0, 0)]), "padding has 2 entries for 1"),
        (([2], [4], [1], [1], "VALID"), "output size would be negative"),
    ],
)
def test_geometry_errors(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        windows.window_geometry(*arguments)


# ------------------------------------------------------------------------------------------------ convolution


@every_case
def test_conv_and_gradients_are_the_naive_ones(case: Case) -> None:
    x, filters = numbers(case.images), numbers(case.filter_shape, 1)
    arguments = (case.strides, case.padding, case.dilations)
    y = convolution_kernels.conv(x, filters, *arguments)
    check(y, naive_conv(case, x, filters))
    dy = numbers(y.shape, 2)
    dx, df = naive_conv_gradients(case, x, filters, dy)
    check(convolution_kernels.conv_backprop_input(x.shape, filters, dy, *arguments), dx)
    check(convolution_kernels.conv_backprop_filter(x, filters.shape, dy, *arguments), df)


@every_case
def test_conv_gradients_are_adjoints(case: Case) -> None:
    x, filters = numbers(case.images), numbers(case.filter_shape, 1)
    arguments = (case.strides, case.padding, case.dilations)
    y = convolution_kernels.conv(x, filters, *arguments)
    dy = numbers(y.shape, 2)
    product = np.vdot(y, dy)
    np.testing.assert_allclose(
        np.vdot(convolution_kernels.conv_backprop_input(x.shape, filters, dy, *arguments), x), product
    )
    np.testing.assert_allclose(
        np.vdot(convolution_kernels.conv_backprop_filter(x, filters.shape, dy, *arguments), filters), product
    )


@every_case
@pytest.mark.parametrize("limit", [1, 200])
def test_blocks_do_not_change_results(case: Case, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one row, or of a few rows or images, instead of one block for everything."""
    x, filters = numbers(case.images), numbers(case.filter_shape, 1)
    arguments = (case.strides, case.padding, case.dilations)

    def results() -> list[np.ndarray[Any, Any]]:
        y = convolution_kernels.conv(x, filters, *arguments)
        return [
            y,
            convolution_kernels.conv_backprop_input(x.shape, filters, y, *arguments),
            convolution_kernels.conv_backprop_filter(x, filters.shape, y, *arguments),
        ]

    whole = results()
    monkeypatch.setattr(convolution_kernels, "_BLOCK_ELEMENTS", limit)
    for got, want in zip(results(), whole, strict=True):
        check(got, want)


@every_case
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_conv_is_a_grouped_conv(
    case: Case, multiplier: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = case.images[-1]
    grouped = case._replace(groups=channels, filters=channels * multiplier)
    x, filters = numbers(case.images), numbers((*case.window, channels, multiplier), 1)
    arguments = (case.strides, case.padding, case.dilations)
    y = convolution_kernels.depthwise_conv(x, filters, *arguments)
    # Channel c's filters m are the grouped convolution's output channels c * multiplier + m.
    one_row = filters.reshape(grouped.filter_shape)
    check(y, naive_conv(grouped, x, one_row))
    dy = numbers(y.shape, 2)
    dx, df = naive_conv_gradients(grouped, x, one_row, dy)
    for limit in (convolution_kernels._BLOCK_ELEMENTS, 1):
        monkeypatch.setattr(convolution_kernels, "_BLOCK_ELEMENTS", limit)
        check(convolution_kernels.depthwise_conv(x, filters, *arguments), y)
        check(convolution_kernels.depthwise_conv_backprop_input(x.shape, filters, dy, *arguments), dx)
        check(
            convolution_kernels.depthwise_conv_backprop_filter(x, filters.shape, dy, *arguments),
            df.reshape(filters.shape),
        )


def test_integers_stay_integers() -> None:
    x, filters = ties((1, 4, 4, 2)).astype(np.int32), ties((3, 3, 2, 2), 1).astype(np.int32)
    arguments = ([1, 1], "SAME", [1, 1])
    wide = convolution_kernels.conv(x.astype(np.float64), filters.astype(np.float64), *arguments)
    y = convolution_kernels.conv(x, filters, *arguments)
    check(y, wide, np.int32)
    assert convolution_kernels.conv_backprop_filter(x, filters.shape, y, *arguments).dtype == np.int32
    assert (
        convolution_kernels.conv_backprop_input(x.shape, filters, y, [2, 2], [(1, 4), (1, 4)], [1, 1]).dtype
        == np.int32
    )
    assert (
        convolution_kernels.depthwise_conv_backprop_input(
            x.shape, filters, convolution_kernels.depthwise_conv(x, filters, *arguments), *arguments
        ).dtype
        == np.int32
    )
    assert pooling_kernels.max_pool(x, [2, 2], [2, 2], "SAME").dtype == np.int32
    check(
        pooling_kernels.max_pool(np.full((1, 2, 2, 1), -128, np.int8), [2, 2], [2, 2], "SAME"),
        np.full((1, 1, 1, 1), -128),
        np.int8,
    )


def half_types() -> list[np.dtype[Any]]:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    return [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


def test_half_types_accumulate_in_float32() -> None:
    for dtype in half_types():
        x, ones = np.ones((1, 64, 64, 1), dtype), np.ones((64, 64, 1, 1), dtype)
        arguments = ([1, 1], "VALID", [1, 1])
        # Adding 1 to 2048 (float16) or 256 (bfloat16) gives the same number again.
        check(convolution_kernels.conv(x, ones, *arguments), np.full((1, 1, 1, 1), 4096), dtype)
        check(convolution_kernels.depthwise_conv(x, ones, *arguments), np.full((1, 1, 1, 1), 4096), dtype)
        check(pooling_kernels.avg_pool(x, [64, 64], [1, 1], "VALID"), np.ones((1, 1, 1, 1)), dtype)
        dy, one = np.ones((1, 64, 64, 1), dtype), (1, 1, 1, 1)
        for backprop in (
            convolution_kernels.conv_backprop_filter,
            convolution_kernels.depthwise_conv_backprop_filter,
        ):
            check(backprop(x, one, dy, *arguments), np.full(one, 4096), dtype)
        for backprop in (
            convolution_kernels.conv_backprop_input,
            convolution_kernels.depthwise_conv_backprop_input,
        ):
            dx = backprop((1, 127, 127, 1), ones, dy, *arguments)
            assert dx.dtype == dtype and dx[0, 63, 63, 0] == 4096
        y = pooling_kernels.max_pool(x, [2, 2], [2, 2], "SAME")
        assert y.dtype == dtype
        assert pooling_kernels.max_pool_grad(x, y, y, [2, 2], [2, 2], "SAME").dtype == dtype
        assert pooling_kernels.max_pool_grad_grad(x, y, x, [2, 2], [2, 2], "SAME").dtype == dtype
        assert pooling_kernels.avg_pool_grad(x.shape, y, [2, 2], [2, 2], "SAME").dtype == dtype
        lowest = pooling_kernels.max_pool(np.full_like(x, -np.inf), [2, 2], [2, 2], "SAME")
        assert np.isfinite(lowest.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("shape", "filter_shape", "message"),
    [
        ((1, 4, 4, 5), (3, 3, 2, 4), "input depth must be evenly divisible by filter depth: 5 vs 2"),
        ((1, 4, 4, 4), (3, 3, 2, 5), "output depth must be evenly divisible by number of groups: 5 vs 2"),
        ((1, 4, 4, 0), (3, 3, 0, 4), "filter must not have zero elements"),
        ((1, 4, 4, 4), (3, 4, 4), "window has 1 entries for 2 spatial dimensions"),
    ],
)
def test_conv_shape_errors(shape, filter_shape, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convolution_kernels.conv(np.ones(shape), np.ones(filter_shape), [1, 1], "SAME", [1, 1])


def test_gradients_of_a_wrong_shape_are_errors() -> None:
    x, filters, dy = np.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 1)), np.ones((1, 5, 4, 1))
    arguments = ([1, 1], "SAME", [1, 1])
    with pytest.raises(
        ValueError, match=r"dy has the shape \[1, 5, 4, 1\], but the windows' output is \[1, 4, 4, 1\]"
    ):
        convolution_kernels.conv_backprop_input(x.shape, filters, dy, *arguments)
    with pytest.raises(ValueError, match="dy has the shape"):
        convolution_kernels.conv_backprop_filter(x, filters.shape, dy, *arguments)
    with pytest.raises(ValueError, match="dy has the shape"):
        pooling_kernels.avg_pool_grad(x.shape, dy, [2, 2], [2, 2], "SAME")
    with pytest.raises(ValueError, match="input depth must equal the filters' depth: 2 vs 3"):
        convolution_kernels.depthwise_conv(x, np.ones((3, 3, 3, 1)), *arguments)


# ---------------------------------------------------------------------------------------------------- pooling


@every_pooling
def test_max_pool_is_the_naive_one(case: Case) -> None:
    x = ties(case.images)
    arguments = (case.window, case.strides, case.padding)
    y = pooling_kernels.max_pool(x, *arguments)
    dy = numbers(y.shape, 1)
    want, index, first, shared = naive_max_pool(case, x, dy)
    check(y, want)
    check(pooling_kernels.max_pool_grad(x, y, dy, *arguments), first)
    check(pooling_kernels.max_pool_grad(x, y, dy, *arguments, all_ties=True), shared)

    values, got = pooling_kernels.max_pool_with_argmax(x, *arguments)
    check(values, want)
    check(got, index, np.int64)
    _, whole = pooling_kernels.max_pool_with_argmax(x, *arguments, include_batch_in_index=True)
    starts = np.arange(len(x)) * np.prod(x.shape[1:])
    check(whole, index + starts.reshape(-1, *[1] * (x.ndim - 1)), np.int64)

    # The second-order gradient gathers where the first one scattered.
    ddx = numbers(x.shape, 2)
    ddy = pooling_kernels.max_pool_grad_grad(x, y, ddx, *arguments)
    check(ddy, ddx.reshape(-1)[whole])
    np.testing.assert_allclose(np.vdot(ddy, dy), np.vdot(ddx, first))


@every_pooling
def test_avg_pool_is_the_naive_one(case: Case) -> None:
    x = numbers(case.images)
    arguments = (case.window, case.strides, case.padding)
    y = pooling_kernels.avg_pool(x, *arguments)
    dy = numbers(y.shape, 1)
    outs, _ = naive_geometry(case)
    want, dx = np.zeros((len(x), *outs, x.shape[-1])), np.zeros_like(x)
    for position, pixels in naive_windows(case).items():
        for pixel in pixels:
            want[(slice(None), *position)] += x[(slice(None), *pixel)] / len(pixels)
            dx[(slice(None), *pixel)] += dy[(slice(None), *position)] / len(pixels)
    check(y, want)
    check(pooling_kernels.avg_pool_grad(x.shape, dy, *arguments), dx)


def test_pooling_windows_without_a_pixel_are_errors() -> None:
    with pytest.raises(ValueError, match="contain padding only"):
        pooling_kernels.max_pool(np.ones((1, 0, 1)), [2], [1], [(1, 1)])
    with pytest.raises(ValueError, match=r"padding \(0, 2\) needs to be smaller than the window size 2"):
        pooling_kernels.avg_pool(np.ones((1, 5, 1)), [2], [1], [(0, 2)])


# -------------------------------------------------------------------------------------- layouts and ownership


@pytest.mark.parametrize(("first", "last"), [("NCW", "NWC"), ("NCHW", "NHWC"), ("NCDHW", "NDHWC")])
def test_layouts(first: str, last: str) -> None:
    shape = tuple(range(2, 2 + len(first)))
    x = numbers(shape)
    moved = layouts.to_channels_last(x, first)
    assert np.shares_memory(moved, x)
    np.testing.assert_array_equal(moved, np.einsum(f"{first}->{last}", x))
    np.testing.assert_array_equal(layouts.from_channels_last(moved, first), x)
    assert layouts.to_channels_last(x, last) is x and layouts.from_channels_last(x, last) is x


def all_results(x, filters, depthwise, y, depthwise_y, pooled) -> list[np.ndarray[Any, Any]]:
    """Every kernel once, with a 1x1 window: where a careless kernel would return its argument."""
    ones, pool = ([1, 1], "SAME", [1, 1]), ([1, 1], [1, 1], "SAME")
    return [
        convolution_kernels.conv(x, filters, *ones),
        convolution_kernels.conv_backprop_input(x.shape, filters, y, *ones),
        convolution_kernels.conv_backprop_filter(x, filters.shape, y, *ones),
        convolution_kernels.depthwise_conv(x, depthwise, *ones),
        convolution_kernels.depthwise_conv_backprop_input(x.shape, depthwise, depthwise_y, *ones),
        convolution_kernels.depthwise_conv_backprop_filter(x, depthwise.shape, depthwise_y, *ones),
        pooling_kernels.max_pool(x, *pool),
        *pooling_kernels.max_pool_with_argmax(x, *pool),
        pooling_kernels.max_pool_grad(x, x, pooled, *pool),
        pooling_kernels.max_pool_grad_grad(x, x, pooled, *pool),
        pooling_kernels.avg_pool(x, *pool),
        pooling_kernels.avg_pool_grad(x.shape, pooled, *pool),
    ]


def test_arguments_are_neither_changed_nor_returned_and_may_be_views() -> None:
    shapes = [(2, 4, 4, 3), (1, 1, 3, 3), (1, 1, 3, 1), (2, 4, 4, 3), (2, 4, 4, 3), (2, 4, 4, 3)]
    arrays = [numbers(shape, seed) for seed, shape in enumerate(shapes)]
    for array in arrays:
        array.flags.writeable = False
    results = all_results(*arrays)
    for result in results:
        assert result.flags.writeable
        assert not any(np.shares_memory(result, array) for array in arrays)
    strided = all_results(*[np.repeat(array, 2, axis=-1)[..., ::2] for array in arrays])
    for got, want in zip(strided, results, strict=True):
        np.testing.assert_allclose(got, want)


# --------------------------------------------------------------------------------------- TensorFlow's numbers


def recorded(kind: str) -> Any:
    entries = {entry["name"]: entry for entry in FIXTURE if entry["kind"] == kind}
    return pytest.mark.parametrize("entry", entries.values(), ids=entries)


def ramp(shape: Sequence[int], period: int) -> np.ndarray[Any, Any]:
    """The small whole numbers that the fixture's generator puts in; sums of their products are exact."""
    return ((np.arange(np.prod(shape)) * 5 % period) - period // 2).reshape(tuple(shape)).astype(np.float32)


@recorded("conv")
def test_conv_gives_tensorflows_numbers(entry) -> None:
    x, filters = ramp(entry["x"], 11), ramp(entry["filters"], 7)
    arguments = (entry["strides"], entry["padding"], entry["dilations"])
    depthwise = "depthwise_" if entry["depthwise"] else ""
    y = getattr(convolution_kernels, f"{depthwise}conv")(x, filters, *arguments)
    assert y.tolist() == entry["y"]
    if "dx" not in entry:
        return
    dy = ramp(y.shape, 13)
    dx = getattr(convolution_kernels, f"{depthwise}conv_backprop_input")(x.shape, filters, dy, *arguments)
    df = getattr(convolution_kernels, f"{depthwise}conv_backprop_filter")(x, filters.shape, dy, *arguments)
    assert dx.tolist() == entry["dx"]
    assert df.tolist() == entry["df"]


@recorded("pool")
def test_pooling_gives_tensorflows_numbers(entry) -> None:
    x = np.array(entry["x"], np.float32)
    arguments = (entry["window"], entry["strides"], entry["padding"])
    three = x.ndim == 5
    y = pooling_kernels.max_pool(x, *arguments)
    average = pooling_kernels.avg_pool(x, *arguments)
    dy, ddx = ramp(y.shape, 13), ramp(x.shape, 17)
    got = {
        "y": y,
        "dx": pooling_kernels.max_pool_grad(x, y, dy, *arguments, all_ties=three),
        "ddy": pooling_kernels.max_pool_grad_grad(x, y, ddx, *arguments),
        "average": average,
        "average_dx": pooling_kernels.avg_pool_grad(x.shape, dy, *arguments),
    }
    if not three:
        got["values"], got["argmax"] = pooling_kernels.max_pool_with_argmax(x, *arguments)
        _, got["argmax_in_batch"] = pooling_kernels.max_pool_with_argmax(
            x, *arguments, include_batch_in_index=True
        )
    assert set(got) == set(entry["results"])
    for name, want in entry["results"].items():
        np.testing.assert_allclose(
            got[name], np.array(want, got[name].dtype), rtol=1e-6, atol=1e-6, err_msg=name
        )
