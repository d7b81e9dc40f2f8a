"""Samples of the ops in `slicing`, `indexing`, `scattering` and near them: literal values, loops, NumPy's indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.errors import InvalidArgumentError
from tests.ops.samples import COMPLEX, FLOATS, INTEGERS, NUMBERS, SIGNED, Bad, Sample

Array = np.ndarray[Any, Any]

CUBE = np.arange(24.0).reshape(2, 3, 4)
SOME = ("float16", "bfloat16", "float32", "int8", "int64", "uint8", "bool", "complex64")
ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
EMPTY_INDICES = np.zeros([0], np.int32)


def strided_slice(key: tuple[Any, ...], *vectors: list[int], name: str, **masks: int) -> Sample:
    """A sample of StridedSlice whose meaning is `x[key]` in NumPy."""
    return Sample("StridedSlice", name, (CUBE, *vectors), masks, expected=CUBE[key], dtypes=("float32",))


SLICING = [
    Sample("StridedSlice", "a row", ([1.0, 0.0, 3.0], [1], [3], [1]), expected=[0.0, 3.0], dtypes=SOME),
    Sample("StridedSlice", "of strings", ([b"a", b"b", b"c"], [2], [0], [-1]), expected=[b"c", b"b"]),
    strided_slice(
        np.s_[1:, ::2, 3:0:-2],
        [1, 0, 3],
        [0, 0, 0],
        [1, 2, -2],
        name="strides of either sign",
        begin_mask=0b010,
        end_mask=0b011,
    ),
    strided_slice(
        np.s_[..., None, 1:2],
        [0, 0, 1],
        [0, 0, 2],
        [1, 1, 1],
        name="ellipsis and new axis",
        ellipsis_mask=0b001,
        new_axis_mask=0b010,
    ),
    strided_slice(
        np.s_[-1, :, 2],
        [-1, 0, 2],
        [0, 0, 3],
        [1, 1, 1],
        name="dropped axes",
        begin_mask=0b010,
        end_mask=0b010,
        shrink_axis_mask=0b101,
    ),
    strided_slice(np.s_[-9:9, 2:1], [-9, 2], [9, 1], [1, 1], name="bounds outside, and nothing"),
    Sample(
        "StridedSlice",
        "a scalar",
        ([4.0, 5.0], [-2], [0], [1]),
        {"shrink_axis_mask": 1},
        expected=4.0,
        dtypes=FLOATS,
    ),
    Sample(
        "StridedSlice",
        "of a scalar",
        (3.0, [0], [0], [1]),
        {"new_axis_mask": 1},
        expected=[3.0],
        dtypes=("float64",),
    ),
    Sample(
        "StridedSlice",
        "of nothing",
        (np.zeros([0, 2]), [0], [5], [2]),
        expected=np.zeros([0, 2]),
        dtypes=("float64",),
        bad=(
            Bad(
                ([1.0, 2.0], [2], [3], [1]),
                {"shrink_axis_mask": 1},
                ValueError,
                "slice index 2 of dimension 0 out of bounds",
            ),
            Bad(([1.0, 2.0], [0], [1], [0]), {}, ValueError, "strides[0] must be non-zero"),
            Bad(
                ([1.0], [0, 0], [1, 1], [1, 1]),
                {},
                ValueError,
                "Index out of range using input dim 1; input has only 1 dims",
            ),
            Bad((CUBE, [0, 0], [0, 0], [1, 1]), {"ellipsis_mask": 3}, ValueError, "Multiple ellipses"),
            Bad(([1.0], [0], [1], [-1]), {"shrink_axis_mask": 1}, ValueError, "only stride 1 allowed"),
            Bad(
                ([1.0], [0, 0], [1], [1]),
                {},
                ValueError,
                "Expected begin, end, and strides to be 1D equal size",
            ),
        ),
    ),
    Sample(
        "StridedSliceGrad",
        "backwards",
        ([5], [4], [0], [-2], [7.0, 8.0]),
        expected=[0.0, 0.0, 8.0, 0.0, 7.0],
        dtypes=FLOATS + COMPLEX + SIGNED,
    ),
    Sample(
        "StridedSliceGrad",
        "dropped axis",
        ([2, 2], [1, 0], [2, 1], [1, 1], [7.0]),
        {"shrink_axis_mask": 0b01},
        expected=[[0.0, 0.0], [7.0, 0.0]],
        dtypes=("float64",),
    ),
]

GATHER = [
    Sample(
        "Gather",
        "rows",
        (ROWS, [2, 0, 2]),
        expected=[[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]],
        dtypes=SOME,
        bad=(
            Bad(([1.0], [1]), {}, InvalidArgumentError, "indices[0] = 1 is not in [0, 1)"),
            Bad((1.0, [0]), {}, ValueError, "Shape must be at least rank 1 but is rank 0"),
        ),
    ),
    Sample(
        "Gather",
        "matrix of indices",
        ([1.0, 2.0], [[0, 1], [1, 1]]),
        expected=[[1.0, 2.0], [2.0, 2.0]],
        dtypes=("float64",),
    ),
    Sample("GatherV2", "rows", (ROWS, [[2], [0]], 0), expected=[[[5.0, 6.0]], [[1.0, 2.0]]], dtypes=SOME),
    Sample("GatherV2", "one row", (ROWS, 1, 0), expected=[3.0, 4.0], dtypes=("float32",)),
    Sample(
        "GatherV2",
        "middle axis",
        (CUBE, [[2, 0], [1, 1]], 1),
        expected=CUBE[:, [[2, 0], [1, 1]]],
        dtypes=("float32", "int32"),
    ),
    Sample("GatherV2", "last axis", (CUBE, [3, 3], -1), expected=CUBE[:, :, [3, 3]], dtypes=("float32",)),
    Sample("GatherV2", "of strings", ([b"a", b"b"], np.array([1, 0]), 0), expected=[b"b", b"a"]),
    Sample(
        "GatherV2",
        "no indices",
        (np.zeros([0, 2]), EMPTY_INDICES, 0),
        expected=np.zeros([0, 2]),
        dtypes=("float64",),
    ),
    Sample(
        "GatherV2",
        "indices of each batch",
        (CUBE, [[3, 0], [1, 1]], 2),
        {"batch_dims": 1},
        expected=np.stack([CUBE[0][:, [3, 0]], CUBE[1][:, [1, 1]]]),
        dtypes=("float32",),
        gradient=False,
        bad=(
            Bad(([1.0, 2.0], [[0, 7]], 0), {}, InvalidArgumentError, "indices[0,1] = 7 is not in [0, 2)"),
            Bad(([1.0, 2.0], -1, 0), {}, InvalidArgumentError, "indices = -1 is not in [0, 2)"),
            # Integers, which might be sizes, are looked at when the graph is built.
            Bad(([1, 2], [0, 7], 0), {}, InvalidArgumentError, "indices[1] = 7 is not in [0, 2)"),
            Bad(([1, 2], -1, 0), {}, InvalidArgumentError, "indices = -1 is not in [0, 2)"),
            Bad(([1.0, 2.0], [0], 3), {}, ValueError, "Shape must be at least rank 4 but is rank 1"),
            Bad(
                (ROWS, [[0]], 0),
                {"batch_dims": 1},
                ValueError,
                "batch_dims must be less than or equal to axis",
            ),
        ),
    ),
    Sample("GatherNd", "elements", (ROWS, [[0, 1], [2, 0], [0, 1]]), expected=[2.0, 5.0, 2.0], dtypes=SOME),
    Sample(
        "GatherNd", "rows", (ROWS, [[[2]], [[2]]]), expected=[[[5.0, 6.0]], [[5.0, 6.0]]], dtypes=("float32",)
    ),
    Sample("GatherNd", "one number", (ROWS, [2, 0]), expected=5.0, dtypes=SOME),
    Sample(
        "GatherNd",
        "everything twice",
        ([1.0, 2.0], np.zeros([2, 0], np.int32)),
        expected=[[1.0, 2.0], [1.0, 2.0]],
        dtypes=("float64",),
    ),
    Sample(
        "GatherNd",
        "nothing",
        (np.zeros([0, 2]), np.zeros([0, 1], np.int64)),
        expected=np.zeros([0, 2]),
        dtypes=("float64",),
        bad=(
            Bad(
                ([[1.0, 2.0]], [[0, 1], [2, 0]]),
                {},
                InvalidArgumentError,
                "indices[1] = [2, 0] does not index into param shape [1,2]",
            ),
            Bad(([1.0], [[0, 0]]), {}, ValueError, "indices.shape[-1] must be <= params.rank"),
            Bad(([1.0], 0), {}, ValueError, "Shape must be at least rank 1 but is rank 0"),
        ),
    ),
]

SCATTER = [
    Sample(
        "ScatterNd",
        "elements add up",
        ([[1], [3], [1]], [1.0, 2.0, 4.0], [5]),
        expected=[0.0, 5.0, 0.0, 2.0, 0.0],
        dtypes=NUMBERS,
    ),
    Sample(
        "ScatterNd",
        "rows of a batch",
        ([[[0], [2]]], [[[1.0, 2.0], [3.0, 4.0]]], [3, 2]),
        expected=[[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]],
        dtypes=("float64",),
    ),
    Sample(
        "ScatterNd",
        "no updates",
        (np.zeros([0, 1], np.int32), np.zeros([0]), [2]),
        expected=[0.0, 0.0],
        dtypes=("float64",),
        bad=(
            Bad(
                ([[0], [7]], [1.0, 2.0], [3]),
                {},
                InvalidArgumentError,
                "indices[1] = [7] does not index into shape [3]",
            ),
            Bad(([[0], [1]], [1.0, 2.0, 3.0], [3]), {}, ValueError, "must match dimensions [0,1) of updates"),
            Bad(
                ([[0]], [1.0], [3, 2]),
                {},
                ValueError,
                "Dimensions [1,2) of input[shape=[3,2]] = [2] must match",
            ),
        ),
    ),
    Sample(
        "SparseToDense",
        "matrix",
        ([[0, 1], [1, 0], [1, 2]], [2, 3], [1.0, 2.0, 3.0], 9.0),
        expected=[[9.0, 1.0, 9.0], [2.0, 9.0, 3.0]],
        dtypes=SOME,
        var="T",
    ),
    Sample(
        "SparseToDense",
        "one value for all places of a vector",
        ([0, 2], [4], 1.0, 9.0),
        expected=[1.0, 9.0, 1.0, 9.0],
        dtypes=("float64",),
        var="T",
    ),
    Sample(
        "SparseToDense",
        "a scalar place, int64",
        (np.int64(2), np.array([4]), [1.0], 0.0),
        expected=[0.0, 0.0, 1.0, 0.0],
        dtypes=("float64",),
        var="T",
    ),
    Sample(
        # Recorded from TensorFlow.
        "SparseToDense",
        "in any order, the last value stays",
        ([[0, 1], [0, 0], [0, 1]], [2, 2], [1, 2, 3], 0),
        {"validate_indices": False},
        expected=[[2, 3], [0, 0]],
        dtypes=("int32",),
        var="T",
    ),
    Sample(
        "SparseToDense",
        "no places",
        (np.zeros([0, 2], np.int32), [2, 2], np.zeros(0), 1.0),
        expected=np.ones([2, 2]),
        dtypes=("float32",),
        var="T",
        bad=(
            Bad(
                ([[0, 2]], [2, 2], [1.0], 0.0),
                {},
                InvalidArgumentError,
                "indices[0] = [0,2] is out of bounds",
            ),
            Bad(
                ([[0, 1], [0, 1]], [2, 2], 1.0, 0.0),
                {},
                InvalidArgumentError,
                "indices[1] = [0,1] is repeated",
            ),
            Bad(
                ([[0, 1], [0, 0]], [2, 2], 1.0, 0.0),
                {},
                InvalidArgumentError,
                "indices[1] = [0,0] is out of order",
            ),
            Bad(
                ([[0, 1]], [2, 2], [1.0, 2.0], 0.0),
                {},
                InvalidArgumentError,
                "sparse_values has incorrect shape [2]",
            ),
            Bad(
                ([[0, 1]], [2], [1.0], 0.0),
                {},
                InvalidArgumentError,
                "output_shape has incorrect number of elements",
            ),
            Bad(([[[0, 1]]], [2, 2], [1.0], 0.0), {}, InvalidArgumentError, "scalar, vector, or matrix"),
            Bad(
                ([[0, 1]], [2, 2], [1.0], [0.0]), {}, InvalidArgumentError, "default_value should be a scalar"
            ),
        ),
    ),
    Sample(
        "TensorScatterUpdate",
        "the last update stays",
        (ROWS, [[2], [0], [2]], [[7.0, 7.0], ROWS[2], ROWS[1]]),
        expected=[ROWS[2], ROWS[1], ROWS[1]],
        dtypes=SOME,
        gradient=False,
    ),
    Sample(
        "TensorScatterUpdate",
        "elements",
        (ROWS, [[1, 0]], [9.0]),
        expected=[[1.0, 2.0], [9.0, 4.0], [5.0, 6.0]],
        dtypes=("float64",),
        bad=(
            Bad(
                ([1.0, 2.0], [[7]], [1.0]),
                {},
                InvalidArgumentError,
                "indices[0] = [7] does not index into shape [2]",
            ),
        ),
    ),
    Sample(
        "TensorScatterAdd",
        "updates add up",
        ([10.0, 20.0], [[1], [1]], [1.0, 2.0]),
        expected=[10.0, 23.0],
        dtypes=NUMBERS,
    ),
    Sample(
        "TensorScatterSub",
        "updates add up",
        ([10.0, 20.0], [[1], [1]], [1.0, 2.0]),
        expected=[10.0, 17.0],
        dtypes=NUMBERS,
    ),
    Sample(
        "UnsortedSegmentSum",
        "negative segments are dropped",
        (ROWS, [2, -1, 2], 4),
        expected=[[0.0, 0.0], [0.0, 0.0], [6.0, 8.0], [0.0, 0.0]],
        dtypes=NUMBERS,
    ),
    Sample(
        "UnsortedSegmentSum",
        "segments of elements",
        (ROWS, [[0, 1], [1, 0], [0, 0]], 2),
        expected=[1.0 + 4.0 + 5.0 + 6.0, 2.0 + 3.0],
        dtypes=("float64",),
    ),
    Sample(
        "UnsortedSegmentSum",
        "infinite and NaN",
        ([np.inf, np.inf, -np.inf, np.nan, 1.0], [0, 1, 1, 2, 3], 4),
        expected=[np.inf, np.nan, np.nan, 1.0],
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample(
        "UnsortedSegmentSum",
        "nothing",
        (np.zeros([0, 2]), EMPTY_INDICES, 1),
        expected=[[0.0, 0.0]],
        dtypes=("float64",),
        bad=(
            Bad(
                ([1.0, 2.0], [0, 7], 3), {}, InvalidArgumentError, "segment_ids[1] = 7 is out of range [0, 3)"
            ),
            Bad((ROWS, [0, 0, 0, 0], 1), {}, ValueError, "Dimensions must be equal, but are 3 and 4"),
            Bad(([1.0], [0], -1), {}, ValueError, "must be non-negative but is -1"),
        ),
    ),
]

MASKS = [
    Sample(
        "Where",
        "of booleans",
        ([[True, False], [True, True]],),
        expected=[[0, 0], [1, 0], [1, 1]],
        dtypes=("bool",),
        data_dependent=True,
    ),
    Sample(
        "Where",
        "of numbers",
        ([0.0, np.nan, 2.0],),
        expected=[[1], [2]],
        dtypes=FLOATS + COMPLEX,
        data_dependent=True,
    ),
    Sample(
        "Where",
        "nowhere",
        (np.zeros([2, 0, 3]),),
        expected=np.zeros([0, 3]),
        dtypes=INTEGERS,
        data_dependent=True,
    ),
    Sample(
        "OneHot",
        "outside of the depth is off",
        ([0, 2, -1, 3], 3, 1.0, 0.0),
        expected=[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        dtypes=SOME,
    ),
    Sample(
        "OneHot",
        "along the first axis",
        ([1, 0, 1], 2, 5.0, -1.0),
        {"axis": 0},
        expected=[[-1.0, 5.0, -1.0], [5.0, -1.0, 5.0]],
        dtypes=("float32", "int32"),
    ),
    Sample(
        "OneHot",
        "between",
        ([[0, 1]], 2, 1.0, 0.0),
        {"axis": 1},
        expected=[[[1.0, 0.0], [0.0, 1.0]]],
        dtypes=("float32",),
    ),
    Sample("OneHot", "of a scalar", (np.uint8(1), 2, True, False), expected=[False, True]),
    Sample(
        "OneHot",
        "no depth",
        ([0], 0, 1.0, 0.0),
        expected=np.zeros([1, 0]),
        dtypes=("float32",),
        bad=(
            Bad(([0], -1, 1.0, 0.0), {}, ValueError, "depth must be non-negative, got: -1"),
            Bad(([0], 1, 1.0, 0.0), {"axis": 5}, ValueError, "Expected axis to be -1 or between [0, 2)"),
        ),
    ),
]


def reverse_sequence(input: Array, seq_lengths: list[int], *, seq_dim: int, batch_dim: int) -> Array:
    """Each sequence reversed up to its length, in a loop over the elements."""
    result = input.copy()
    for place in np.ndindex(*input.shape):
        length = seq_lengths[place[batch_dim]]
        if place[seq_dim] < length:
            source = list(place)
            source[seq_dim] = length - 1 - place[seq_dim]
            result[place] = input[tuple(source)]
    return result


PARTITION = [
    Sample(
        "DynamicPartition",
        "rows",
        (ROWS, [1, 0, 1]),
        {"num_partitions": 3},
        expected=([ROWS[1]], [ROWS[0], ROWS[2]], np.zeros([0, 2])),
        dtypes=SOME,
        data_dependent=True,
    ),
    Sample(
        "DynamicPartition",
        "elements",
        (ROWS, [[1, 0], [0, 0], [0, 1]]),
        {"num_partitions": 2},
        expected=([2.0, 3.0, 4.0, 5.0], [1.0, 6.0]),
        dtypes=("float64",),
        data_dependent=True,
        bad=(
            Bad(
                ([1.0, 2.0], [0, 5]),
                {"num_partitions": 3},
                InvalidArgumentError,
                "partitions[1] = 5 is not in [0, 3)",
            ),
            Bad(
                ([1.0, 2.0], [0]),
                {"num_partitions": 1},
                ValueError,
                "data.shape must start with partitions.shape",
            ),
        ),
    ),
    Sample(
        "DynamicStitch",
        "rows and matrices of rows",
        ([[0, 3], [[2], [1]]], [ROWS[:2], [[ROWS[2]], [ROWS[0]]]]),
        {"N": 2},
        expected=[ROWS[0], ROWS[0], ROWS[2], ROWS[1]],
        dtypes=SOME,
        data_dependent=True,
    ),
    Sample(
        "DynamicStitch",
        "the last stays",
        ([[0, 1], 1], [[1.0, 2.0], 3.0]),
        {"N": 2},
        expected=[1.0, 3.0],
        dtypes=("float64",),
        data_dependent=True,
        gradient=False,
        bad=(
            Bad(([[0, -2]], [[1.0, 2.0]]), {"N": 1}, InvalidArgumentError, "indices[1] is out of range"),
            Bad(([[0, 1]], [[1.0]]), {"N": 1}, ValueError, "does not start with indices.shape"),
        ),
    ),
    Sample(
        "ReverseSequence",
        "along the second axis",
        (CUBE, [2, 3]),
        {"seq_dim": 1},
        expected=reverse_sequence,
        dtypes=SOME,
    ),
    Sample(
        "ReverseSequence",
        "batch after time",
        (CUBE, [0, 1, 4]),
        {"seq_dim": 2, "batch_dim": 1},
        expected=reverse_sequence,
        dtypes=("float64",),
        bad=(
            Bad(([[1.0, 2.0]], [3]), {"seq_dim": 1}, InvalidArgumentError, "seq_lens(0) > input.dims(1)"),
            Bad(([[1.0, 2.0]], [-1]), {"seq_dim": 1}, InvalidArgumentError, "seq_lens(0) < 0"),
            Bad(
                ([[1.0, 2.0]], [1, 1]),
                {"seq_dim": 1},
                ValueError,
                "Dimensions must be equal, but are 1 and 2",
            ),
            Bad(([[1.0, 2.0]], [1]), {"seq_dim": 2}, ValueError, "seq_dim must be < input rank"),
            Bad(([[1.0, 2.0]], [1]), {"seq_dim": 0}, ValueError, "batch_dim == seq_dim == 0"),
        ),
    ),
]

SAMPLES = SLICING + GATHER + SCATTER + MASKS + PARTITION
