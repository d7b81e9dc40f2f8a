"""Samples of `tahr/ops/blocks.py`."""

from __future__ import annotations

import numpy as np

from tests.ops.samples import FLOATS, NUMBERS, Bad, Sample

IMAGES = np.arange(48.0).reshape(2, 2, 4, 3)


def space_to_depth(x, *, block_size, data_format):
    """One element after another."""
    if data_format == "NCHW":
        return np.moveaxis(
            space_to_depth(np.moveaxis(x, 1, 3), block_size=block_size, data_format="NHWC"), 3, 1
        )
    batch, height, width, channels = x.shape
    y = np.zeros([batch, height // block_size, width // block_size, channels * block_size**2])
    for n, i, j, c in np.ndindex(*x.shape):
        place = (i % block_size) * block_size + j % block_size
        y[n, i // block_size, j // block_size, place * channels + c] = x[n, i, j, c]
    return y


def depth_to_space(y, *, block_size, data_format):
    """Where space_to_depth would have put each element."""
    if data_format == "NCHW":
        return np.moveaxis(
            depth_to_space(np.moveaxis(y, 1, 3), block_size=block_size, data_format="NHWC"), 3, 1
        )
    batch, height, width, channels = y.shape
    shape = [batch, height * block_size, width * block_size, channels // block_size**2]
    places = space_to_depth(
        np.arange(float(y.size)).reshape(shape), block_size=block_size, data_format="NHWC"
    )
    x = np.zeros(y.size)
    x[places.astype(int).ravel()] = y.ravel()
    return x.reshape(shape)


SAMPLES = [
    Sample(
        "SpaceToDepth",
        "one block",
        inputs=([[[[1.0], [2.0]], [[3.0], [4.0]]]],),
        attrs={"block_size": 2},
        expected=[[[[1.0, 2.0, 3.0, 4.0]]]],
        dtypes=NUMBERS,
        bad=(
            Bad(
                (np.ones([1, 3, 2, 1]),),
                {"block_size": 2},
                ValueError,
                "must be evenly divisible by 2 but is 3",
            ),
            Bad((np.ones([1, 3, 2]),), {"block_size": 2}, ValueError, "Shape must be rank 4 but is rank 3"),
        ),
    ),
    Sample("SpaceToDepth", "blocks", inputs=(IMAGES,), attrs={"block_size": 2}, expected=space_to_depth),
    Sample(
        "SpaceToDepth",
        "channels first",
        inputs=(IMAGES,),
        attrs={"block_size": 1, "data_format": "NCHW"},
        expected=space_to_depth,
    ),
    Sample(
        "SpaceToDepth",
        "channels first, blocks",
        inputs=(np.arange(32.0).reshape(1, 2, 4, 4),),
        attrs={"block_size": 2, "data_format": "NCHW"},
        expected=space_to_depth,
    ),
    Sample(
        "DepthToSpace",
        "one block",
        inputs=([[[[1.0, 2.0, 3.0, 4.0]]]],),
        attrs={"block_size": 2},
        expected=[[[[1.0], [2.0]], [[3.0], [4.0]]]],
        dtypes=NUMBERS,
        bad=(Bad((IMAGES,), {"block_size": 2}, ValueError, "must be evenly divisible by 4 but is 3"),),
    ),
    Sample(
        "DepthToSpace",
        "blocks",
        inputs=(np.arange(48.0).reshape(1, 2, 3, 8),),
        attrs={"block_size": 2},
        expected=depth_to_space,
    ),
    Sample(
        "DepthToSpace",
        "channels first",
        inputs=(np.arange(48.0).reshape(1, 8, 3, 2),),
        attrs={"block_size": 2, "data_format": "NCHW"},
        expected=depth_to_space,
    ),
    # The values are those of the examples in TensorFlow's documentation of the two ops.
    Sample(
        "SpaceToBatchND",
        "one block",
        inputs=([[[[1.0], [2.0]], [[3.0], [4.0]]]], [2, 2], [[0, 0], [0, 0]]),
        expected=[[[[1.0]]], [[[2.0]]], [[[3.0]]], [[[4.0]]]],
        dtypes=NUMBERS,
        bad=(
            Bad(
                (np.ones([1, 3, 2, 1]), [2, 2], [[0, 0], [0, 0]]),
                {},
                ValueError,
                "must be evenly divisible by 2",
            ),
            Bad((np.ones([1, 3]), [2, 2], [[0, 0], [0, 0]]), {}, ValueError, "input rank should be >= 3"),
        ),
    ),
    Sample(
        "SpaceToBatchND",
        "padded",
        inputs=(np.arange(1.0, 9.0).reshape(2, 1, 4, 1), [1, 2], [[0, 0], [2, 0]]),
        expected=[[[[0], [1], [3]]], [[[0], [5], [7]]], [[[0], [2], [4]]], [[[0], [6], [8]]]],
        dtypes=FLOATS,
    ),
    Sample(
        "SpaceToBatchND", "one axis", inputs=([[1.0, 2.0, 3.0]], [2], [[0, 1]]), expected=[[1, 3], [2, 0]]
    ),
    Sample(
        "BatchToSpaceND",
        "one block",
        inputs=([[[[1.0]]], [[[2.0]]], [[[3.0]]], [[[4.0]]]], [2, 2], [[0, 0], [0, 0]]),
        expected=[[[[1.0], [2.0]], [[3.0], [4.0]]]],
        dtypes=NUMBERS,
        bad=(
            Bad(
                (np.ones([3, 1, 1, 1]), [2, 2], [[0, 0], [0, 0]]),
                {},
                ValueError,
                "must be evenly divisible by 2",
            ),
            Bad((np.ones([4, 1, 1, 1]), [2, 2], [[0, 0], [2, 2]]), {}, ValueError, "Negative dimension size"),
        ),
    ),
    Sample(
        "BatchToSpaceND",
        "cropped",
        inputs=(
            [
                [[[0.0], [1.0], [3.0]]],
                [[[0.0], [5.0], [7.0]]],
                [[[0.0], [2.0], [4.0]]],
                [[[0.0], [6.0], [8.0]]],
            ],
            [1, 2],
            [[0, 0], [2, 0]],
        ),
        expected=[[[[1], [2], [3], [4]]], [[[5], [6], [7], [8]]]],
        dtypes=FLOATS,
    ),
    Sample(
        "BatchToSpaceND", "one axis", inputs=([[1.0, 3.0], [2.0, 9.0]], [2], [[0, 1]]), expected=[[1, 2, 3]]
    ),
]
