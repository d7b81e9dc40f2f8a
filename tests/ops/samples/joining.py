"""Samples of `tahr/ops/joining.py`."""

from __future__ import annotations

import numpy as np

from tahr import errors
from tests.ops.samples import FLOATS, INDICES, NUMBERS, Bad, Sample

ROW = np.array([1.0, 2.0, 3.0])
MATRIX = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
CUBE = np.arange(24.0).reshape(2, 3, 4)
EMPTY = np.zeros([0, 3])
ANY = (*NUMBERS, "bool")


def mirror(x, paddings, *, mode):
    """One axis after another, one place after another."""
    for axis, (before, after) in enumerate(paddings):
        edge = 0 if mode == "SYMMETRIC" else 1
        size = x.shape[axis]
        left = [edge + before - 1 - i for i in range(before)]
        right = [size - 1 - edge - i for i in range(after)]
        x = np.stack([np.take(x, i, axis) for i in [*left, *range(size), *right]], axis)
    return x


def mirror_gradient(dy, paddings, *, mode):
    """Each element is the sum of those of dy that show it."""
    shape = [size - sum(around) for size, around in zip(dy.shape, paddings)]
    places = mirror(np.arange(np.prod(shape)).reshape(shape), paddings, mode=mode)
    return np.bincount(places.ravel(), dy.ravel(), np.prod(shape)).reshape(shape)


SAMPLES = [
    # ------------------------------------------------------------ concat and split
    Sample(
        "ConcatV2",
        "rows",
        inputs=([MATRIX, [[7.0, 8.0, 9.0]]], 0),
        expected=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],
        dtypes=ANY,
        bad=(
            Bad(
                ([MATRIX, [[1.0]]], 0),
                {},
                ValueError,
                "Dimension 1 in both shapes must be equal, but are 3 and 1",
            ),
            Bad(([MATRIX, [1.0]], 0), {}, ValueError, "Shape must be rank 2 but is rank 1"),
            Bad(([1.0, 2.0], 0), {}, ValueError, "Can't concatenate scalars"),
            Bad(([MATRIX, MATRIX], 2), {}, ValueError, "concatenating axis"),
        ),
    ),
    Sample(
        "ConcatV2",
        "last axis",
        inputs=([[[1.0], [2.0]], [[3.0, 4.0], [5.0, 6.0]]], -1),
        expected=[[1.0, 3.0, 4.0], [2.0, 5.0, 6.0]],
        dtypes=("float32", "complex64"),
    ),
    Sample("ConcatV2", "with nothing", inputs=([EMPTY, MATRIX], 0), expected=MATRIX, dtypes=("float32",)),
    Sample("ConcatV2", "shapes", inputs=([[2], [3, 4]], 0), expected=[2, 3, 4], dtypes=INDICES),
    Sample("ConcatV2", "one", inputs=([ROW], 0), expected=ROW, dtypes=("float32",)),
    Sample("ConcatV2", "strings", inputs=([["a"], ["b"]], 0), expected=[b"a", b"b"]),
    Sample("AxisSizes", "of two", inputs=([MATRIX, CUBE], -1), expected=[3, 4]),
    Sample(
        "Split",
        "columns",
        inputs=(1, MATRIX),
        attrs={"num_split": 3},
        expected=([[1.0], [4.0]], [[2.0], [5.0]], [[3.0], [6.0]]),
        dtypes=ANY,
        bad=(
            Bad((1, MATRIX), {"num_split": 2}, ValueError, "must be evenly divisible by 2 but is 3"),
            Bad((2, MATRIX), {"num_split": 1}, ValueError, "split dimension"),
        ),
    ),
    Sample(
        "Split",
        "from the end",
        inputs=(-2, MATRIX),
        attrs={"num_split": 2},
        expected=([[1, 2, 3]], [[4, 5, 6]]),
    ),
    Sample(
        "Split",
        "nothing",
        inputs=(0, EMPTY),
        attrs={"num_split": 2},
        expected=(EMPTY, EMPTY),
        dtypes=("float32",),
    ),
    Sample(
        "SplitV",
        "columns",
        inputs=(MATRIX, [1, 2], 1),
        attrs={"num_split": 2},
        expected=([[1.0], [4.0]], [[2.0, 3.0], [5.0, 6.0]]),
        dtypes=ANY,
        bad=(
            Bad(
                (MATRIX, [1, 1], 1),
                {"num_split": 2},
                ValueError,
                "can't split axis of size 3 into pieces of size",
            ),
            Bad(
                (MATRIX, [4, -1], 1),
                {"num_split": 2},
                ValueError,
                "can't split axis of size 3 into pieces of size",
            ),
            Bad((MATRIX, [-1, -1], 1), {"num_split": 2}, ValueError, "can only have one -1"),
        ),
    ),
    Sample(
        "SplitV",
        "the rest",
        inputs=(ROW, [1, -1], 0),
        attrs={"num_split": 2},
        expected=([1.0], [2.0, 3.0]),
        dtypes=("float32",),
    ),
    Sample(
        "SplitV",
        "nothing taken",
        inputs=(ROW, np.array([0, 3]), 0),
        attrs={"num_split": 2},
        expected=(np.zeros([0]), ROW),
        dtypes=("float32",),
    ),
    # ------------------------------------------------------------ stack and unstack
    Sample(
        "Pack",
        "rows",
        inputs=([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],),
        expected=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        dtypes=ANY,
        bad=(
            Bad(
                ([[1.0], [1.0, 2.0]],),
                {},
                ValueError,
                "Dimension 0 in both shapes must be equal, but are 1 and 2",
            ),
            Bad(([[1.0]],), {"axis": 2}, ValueError, "axis"),
        ),
    ),
    Sample(
        "Pack", "columns", inputs=([[1.0, 2.0], [3.0, 4.0]],), attrs={"axis": 1}, expected=[[1, 3], [2, 4]]
    ),
    Sample(
        "Pack",
        "last axis",
        inputs=([MATRIX],),
        attrs={"axis": -1},
        expected=MATRIX[:, :, None],
        dtypes=("float32",),
    ),
    Sample("Pack", "a shape", inputs=([2, 3],), expected=[2, 3], dtypes=INDICES),
    Sample("Pack", "strings", inputs=(["a", "b"],), expected=[b"a", b"b"]),
    Sample(
        "Unpack",
        "rows",
        inputs=(MATRIX,),
        attrs={"num": 2},
        expected=([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]),
        dtypes=ANY,
        bad=(Bad((MATRIX,), {"num": 3}, ValueError, "Dimension must be 3 but is 2"),),
    ),
    Sample(
        "Unpack", "columns", inputs=(MATRIX,), attrs={"num": 3, "axis": -1}, expected=([1, 4], [2, 5], [3, 6])
    ),
    Sample(
        "Unpack", "vector", inputs=(ROW,), attrs={"num": 3}, expected=(1.0, 2.0, 3.0), dtypes=("float32",)
    ),
    Sample("Unpack", "strings", inputs=(["a", "b"],), attrs={"num": 2}, expected=(b"a", b"b")),
    Sample("Unpack", "of no rows", inputs=(EMPTY,), attrs={"num": 0}, expected=(), gradient=False),
    # ------------------------------------------------------------ slice and pad
    Sample(
        "Slice",
        "block",
        inputs=(MATRIX, [0, 1], [2, 2]),
        expected=[[2.0, 3.0], [5.0, 6.0]],
        dtypes=ANY,
        bad=(
            Bad((MATRIX, [0, 2], [2, 2]), {}, ValueError, "Expected size[1] in [0, 1], but got 2"),
            Bad((MATRIX, [3, 0], [0, 0]), {}, ValueError, "Expected begin[0] in [0, 2], but got 3"),
            Bad((MATRIX, [0], [1]), {}, ValueError, "not compatible"),
        ),
    ),
    Sample("Slice", "the rest", inputs=(MATRIX, [1, 0], [-1, -1]), expected=[[4, 5, 6]], dtypes=("float32",)),
    Sample(
        "Slice", "nothing", inputs=(MATRIX, [2, 1], [0, 1]), expected=np.zeros([0, 1]), dtypes=("float32",)
    ),
    Sample("Slice", "scalar", inputs=(5.0, np.zeros([0], np.int32), np.zeros([0], np.int32)), expected=5.0),
    Sample("Slice", "of a shape", inputs=([2, 3, 4], [1], [2]), expected=[3, 4], dtypes=INDICES),
    Sample(
        "SliceGrad",
        "of two axes",
        inputs=([2, 4], [0, 1], [[7.0, 8.0]]),
        expected=[[0, 7, 8, 0], [0, 0, 0, 0]],
        dtypes=NUMBERS,
        bad=(
            Bad(
                ([2, 4], [0, 3], [[7.0, 8.0]]),
                {},
                errors.InvalidArgumentError,
                "Expected size[1] in [0, 1], but got 2",
            ),
        ),
    ),
    Sample(
        "Pad",
        "matrix",
        inputs=([[1.0, 2.0]], [[1, 0], [0, 2]]),
        expected=[[0, 0, 0, 0], [1, 2, 0, 0]],
        dtypes=ANY,
        bad=(
            Bad((ROW, [[-1, 0]]), {}, ValueError, "Paddings must be non-negative"),
            Bad((ROW, [[1, 0], [1, 0]]), {}, ValueError, "Shape must be rank 2 but is rank 1"),
            Bad((ROW, [[1, 0, 1]]), {}, ValueError, "Dimension must be 2 but is 3"),
        ),
    ),
    Sample(
        "Pad", "nothing", inputs=(EMPTY, [[0, 1], [0, 0]]), expected=[[0.0, 0.0, 0.0]], dtypes=("float32",)
    ),
    Sample("Pad", "scalar", inputs=(5.0, np.zeros([0, 2], np.int32)), expected=5.0, dtypes=("float32",)),
    Sample("Pad", "strings", inputs=(["a"], [[1, 0]]), expected=[b"", b"a"]),
    Sample(
        "PadV2",
        "with nines",
        inputs=([1.0, 2.0], [[1, 2]], 9.0),
        expected=[9, 1, 2, 9, 9],
        dtypes=NUMBERS,
        gradient=(0,),  # TensorFlow has none for the constant
    ),
    Sample(
        "MirrorPad",
        "reflect",
        inputs=(MATRIX, [[1, 1], [2, 0]]),
        attrs={"mode": "REFLECT"},
        expected=[[6, 5, 4, 5, 6], [3, 2, 1, 2, 3], [6, 5, 4, 5, 6], [3, 2, 1, 2, 3]],
        dtypes=ANY[:-1],
        bad=(
            Bad(
                (ROW, [[3, 0]]),
                {"mode": "REFLECT"},
                errors.InvalidArgumentError,
                "paddings must be less than",
            ),
        ),
    ),
    Sample(
        "MirrorPad",
        "symmetric",
        inputs=(MATRIX, [[1, 0], [2, 1]]),
        attrs={"mode": "SYMMETRIC"},
        expected=[[2, 1, 1, 2, 3, 3], [2, 1, 1, 2, 3, 3], [5, 4, 4, 5, 6, 6]],
        dtypes=("float32", "int32"),
        bad=(
            Bad(
                (ROW, [[4, 0]]),
                {"mode": "SYMMETRIC"},
                errors.InvalidArgumentError,
                "paddings must be no greater",
            ),
        ),
    ),
    Sample(
        "MirrorPad",
        "three axes",
        inputs=(CUBE, [[1, 0], [2, 2], [0, 3]]),
        attrs={"mode": "REFLECT"},
        expected=mirror,
    ),
    Sample("MirrorPad", "not at all", inputs=(ROW, [[0, 0]]), attrs={"mode": "REFLECT"}, expected=ROW),
    Sample(
        "MirrorPadGrad",
        "reflect",
        inputs=([1.0, 10.0, 100.0, 1000.0, 10000.0], [[1, 1]]),
        attrs={"mode": "REFLECT"},
        expected=[10.0, 100.0 + 1.0 + 10000.0, 1000.0],
        dtypes=FLOATS[2:],
    ),
    Sample(
        "MirrorPadGrad",
        "symmetric",
        inputs=([1.0, 2.0, 4.0, 8.0, 16.0], [[2, 1]]),
        attrs={"mode": "SYMMETRIC"},
        expected=[2.0 + 4.0, 1.0 + 8.0 + 16.0],
        dtypes=FLOATS,
    ),
    *(
        Sample(
            "MirrorPadGrad",
            f"{what}, {mode}",
            inputs=(x, paddings),
            attrs={"mode": mode},
            expected=mirror_gradient,
        )
        for mode in ("REFLECT", "SYMMETRIC")
        for what, x, paddings in (
            ("two axes of three", np.arange(168.0).reshape(6, 4, 7), [[2, 1], [0, 0], [0, 3]]),
            ("shown from both sides", np.arange(7.0), [[2, 2]]),
        )
    ),
    Sample(
        "MirrorPadGrad",
        "no rows",
        inputs=(np.zeros([0, 5]), [[0, 0], [1, 1]]),
        attrs={"mode": "REFLECT"},
        expected=np.zeros([0, 3]),
    ),
    # ------------------------------------------------------------ tile
    Sample(
        "Tile",
        "both axes",
        inputs=([[1.0, 2.0]], [2, 2]),
        expected=[[1, 2, 1, 2], [1, 2, 1, 2]],
        dtypes=ANY,
        bad=(
            Bad((ROW, [1, 2]), {}, ValueError, "Shape must be rank 1 but is rank 2"),
            Bad((ROW, [[1]]), {}, ValueError, "Shape must be rank 1 but is rank 2"),
        ),
    ),
    Sample("Tile", "not at all", inputs=(ROW, [0]), expected=np.zeros([0]), dtypes=("float32",)),
    Sample("Tile", "once", inputs=(MATRIX, [1, 1]), expected=MATRIX, dtypes=("float32",)),
    Sample("Tile", "scalar", inputs=(5.0, np.zeros([0], np.int32)), expected=5.0, dtypes=("float32",)),
]
