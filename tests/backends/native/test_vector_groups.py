"""Sums over small groups of neighbours and another dimension, as group normalization has them: vectors of groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.backends.native import target, vector_loops
from tahr.backends.native.strips import StripLoop
from tests.backends.native.natively import run
from tests.backends.native.test_nests import DTYPES, check, loops_of, random

pytestmark = pytest.mark.skipif(
    not target.is_available() or not vector_loops.masks(target.current()), reason="needs vectors with masks"
)


def normalized(x: Any, channels: int, group: int) -> tuple[Any, Any, Any]:
    """Group normalization of pixels [n, pixels, channels], and what it takes: scales, means."""
    grouped = tf.reshape(x, [tf.shape(x)[0], -1, channels // group, group])
    mean, variance = tf.nn.moments(grouped, [1, 3], keepdims=True)
    return tf.reshape((grouped - mean) * tf.rsqrt(variance + 1e-3), tf.shape(x)), variance, mean


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("group", [2, 4, 8])
@pytest.mark.parametrize(("images", "pixels", "groups"), [(2, 9, 8), (1, 50, 1), (3, 7, 5), (2, 30, 37)])
def test_group_normalization(images: int, pixels: int, groups: int, group: int, dtype: str) -> None:
    """Of as many channels as fill vectors, and of others; what is stored once for each group, too."""
    channels = groups * group
    x = tf.placeholder(dtype, [None, pixels, channels])
    scale, shift = (tf.placeholder(dtype, [channels]) for _ in range(2))
    y, variance, mean = normalized(x, channels, group)
    arrays = {x: random(images, pixels, channels), scale: random(channels), shift: random(channels) + 1}
    feeds = {k: v.astype(tf.as_dtype(dtype).as_numpy_dtype) for k, v in arrays.items()}
    check([y * scale + shift, variance, mean], feeds, "bfloat16" if dtype == "float16" else dtype)
    if groups > 1 and images > 1:
        assert any(isinstance(loop, StripLoop) for loop in loops_of("Sum"))


@pytest.mark.parametrize("group", [2, 8])
@pytest.mark.parametrize("shape", [(2, 16, 24), (3, 5, 40)])
def test_gradients_of_group_normalization(shape: tuple[int, ...], group: int) -> None:
    """They read what belongs to groups."""
    x, dy = (tf.placeholder(tf.float64, [None, *shape[1:]]) for _ in range(2))
    y, _, _ = normalized(x, shape[-1], group)
    check([y, *tf.gradients(y, [x], dy)], {x: random(*shape), dy: random(*shape) ** 2})


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
def test_reductions_of_groups(dtype: str) -> None:
    values = (random(3, 9, 10, 4) * 3).astype(tf.as_dtype(dtype).as_numpy_dtype)
    x = tf.placeholder(dtype, [None, 9, 10, 4])
    names = ("any", "all") if dtype == "bool" else ("sum", "max", "min")
    check([getattr(tf, f"reduce_{name}")(x, [1, 3]) for name in names], {x: values}, dtype)
    assert isinstance(loops_of(f"{names[-1].capitalize()}")[0], StripLoop)


@pytest.mark.parametrize("shape", [(0, 4, 6, 4), (2, 0, 6, 4), (2, 4, 0, 4)])
def test_none_at_all(shape: tuple[int, ...]) -> None:
    x = tf.placeholder(tf.float64, [None, None, None, 4])
    total = tf.reduce_sum(x, [1, 3], keepdims=True)
    check([total, x - total, tf.reduce_max(x, [1, 3])], {x: np.zeros(shape)})


def test_groups_see_what_is_not_a_number() -> None:
    """And nobody but their own."""
    values = random(2, 6, 9, 4)
    values[0, 3, 5, 1], values[1, 2, 8, 3], values[1, 0, 0, 0] = np.nan, np.inf, -np.inf
    x = tf.placeholder(tf.float64, [2, 6, 9, 4])
    total = tf.reduce_sum(x, [1, 3], keepdims=True)
    check([tf.reduce_max(x, [1, 3]), tf.reduce_min(x, [1, 3]), x * total], {x: values})


@pytest.mark.parametrize("group", [3, 16])
def test_other_groups_are_written_otherwise(group: int) -> None:
    """Those that vectors do not hold whole, and those that fill one."""
    x = tf.placeholder(tf.float32, [2, 6, 9, group])
    check(
        [x - tf.reduce_sum(x, [1, 3], keepdims=True)],
        {x: random(2, 6, 9, group).astype(np.float32)},
        "float32",
    )
    assert not any(isinstance(loop, StripLoop) for loop in loops_of("Sum"))


def test_another_batch_compiles_nothing() -> None:
    x = tf.placeholder(tf.float32, [None, 6, 8, 4])
    y = x - tf.reduce_max(x, [1, 3], keepdims=True)
    for images in (2, 7):
        values = random(images, 6, 8, 4).astype(np.float32)
        found, hosts = run(y, {x: values})
        assert not hosts
        np.testing.assert_array_equal(found, values - values.max((1, 3), keepdims=True))
