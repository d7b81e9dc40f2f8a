"""Samples of `tahr/ops/shaping.py`, `identities.py`, `transposing.py` and `ranges.py`, and of Const."""

from __future__ import annotations

import math

import numpy as np

from tahr.core import dtypes
from tahr.core.tensor_shapes import TensorShape
from tests.ops.samples import COMPLEX, FLOATS, INDICES, NUMBERS, Bad, Sample

MATRIX = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
CUBE = np.arange(24.0).reshape(2, 3, 4)
EMPTY = np.zeros([0, 3])
ANY = (*NUMBERS, "bool")


def same(x, *_, **attrs):
    return x


SAMPLES = [
    # ------------------------------------------------------------ the same values
    Sample(
        "Const",
        "matrix",
        attrs={"value": np.array([[1.5, 2.5]], np.float32), "dtype": dtypes.float32},
        expected=[[1.5, 2.5]],
    ),
    Sample("Const", "shape", attrs={"value": np.array([2, 3]), "dtype": dtypes.int64}, expected=[2, 3]),
    Sample("Identity", "matrix", inputs=(MATRIX,), expected=MATRIX, dtypes=NUMBERS),
    Sample("Identity", "nothing", inputs=(EMPTY,), expected=EMPTY, dtypes=("float32",)),
    Sample("Identity", "strings", inputs=(["a", "b"],), expected=[b"a", b"b"]),
    Sample("Identity", "of a shape", inputs=([2, 3],), expected=[2, 3], dtypes=INDICES),
    Sample(
        "IdentityN",
        "of two dtypes",
        inputs=((1.5, [1, 2]),),
        attrs={"T": [dtypes.float32, dtypes.int32]},
        expected=(1.5, [1, 2]),
        gradient=False,
    ),
    Sample(
        "IdentityN",
        "of two matrices",
        inputs=((np.array([1.5]), np.array([[2.0]])),),
        attrs={"T": [dtypes.float64, dtypes.float64]},
        expected=([1.5], [[2.0]]),
    ),
    Sample("StopGradient", "vector", inputs=([1.0, math.nan],), expected=[1.0, math.nan], dtypes=FLOATS),
    Sample(
        "PreventGradient", "vector", inputs=([1.0, 2.0],), expected=[1.0, 2.0], dtypes=FLOATS, gradient=False
    ),
    Sample("GuaranteeConst", "vector", inputs=([1.0, 2.0],), expected=[1.0, 2.0], dtypes=FLOATS),
    Sample(
        "EnsureShape",
        "of which one size is given",
        inputs=(MATRIX,),
        attrs={"shape": TensorShape([None, 3])},
        expected=MATRIX,
        dtypes=("float32", "int32"),
        bad=(
            Bad((np.ones([2, 4]),), {"shape": TensorShape([None, 3])}, ValueError, "not compatible"),
            Bad((np.ones([2]),), {"shape": TensorShape([None, 3])}, ValueError, "must have the same rank"),
        ),
    ),
    # ------------------------------------------------------------ shapes as tensors
    Sample("Shape", "cube", inputs=(CUBE,), expected=[2, 3, 4], dtypes=("float32", "bool")),
    Sample("Shape", "scalar", inputs=(1.0,), expected=np.zeros([0]), dtypes=("float32",)),
    Sample("Shape", "with a 0", inputs=(EMPTY,), expected=[0, 3], dtypes=INDICES, var="out_type"),
    Sample(
        "ShapeN", "two", inputs=((MATRIX, np.ones([])),), attrs={"N": 2}, expected=([2, 3], np.zeros([0]))
    ),
    Sample("Size", "cube", inputs=(CUBE,), expected=24, dtypes=INDICES, var="out_type"),
    Sample("Size", "nothing", inputs=(EMPTY,), expected=0),
    Sample("Size", "scalar", inputs=(1.0,), expected=1),
    Sample("Rank", "cube", inputs=(CUBE,), expected=3, dtypes=("float32", "bool")),
    Sample("Rank", "scalar", inputs=(1.0,), expected=0, dtypes=("float32",)),
    # ------------------------------------------------------------ other shapes of the same elements
    Sample(
        "Reshape",
        "matrix to matrix",
        inputs=(MATRIX, [3, 2]),
        expected=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        dtypes=ANY,
        bad=(
            Bad((MATRIX, [4]), {}, ValueError, "Cannot reshape a tensor with 6 elements to shape [4]"),
            Bad((MATRIX, [4, -1]), {}, ValueError, "Dimension size must be evenly divisible by 4 but is 6"),
            Bad((MATRIX, [-2, 3]), {}, ValueError, "Size 0 must be non-negative, not -2"),
            Bad((MATRIX, [-1, -1]), {}, ValueError, "Only one input size may be -1"),
            Bad((MATRIX, 6), {}, ValueError, "Shape must be rank 1 but is rank 0"),
        ),
    ),
    Sample("Reshape", "to a vector", inputs=(MATRIX, [-1]), expected=[1, 2, 3, 4, 5, 6], dtypes=("float32",)),
    Sample("Reshape", "by an int64 shape", inputs=(MATRIX, np.array([1, 6])), expected=[[1, 2, 3, 4, 5, 6]]),
    Sample(
        "Reshape", "to a scalar", inputs=([5.0], np.zeros([0], np.int32)), expected=5.0, dtypes=("float32",)
    ),
    Sample("Reshape", "nothing", inputs=(EMPTY, [3, -1]), expected=np.zeros([3, 0]), dtypes=("float32",)),
    Sample("Reshape", "a shape", inputs=([2, 3], [2, 1]), expected=[[2], [3]], dtypes=INDICES),
    Sample(
        "ExpandDims",
        "in the middle",
        inputs=(MATRIX, 1),
        expected=[[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]],
        dtypes=ANY,
        bad=(Bad((MATRIX, 3), {}, ValueError, "dim 3 not in the interval [-3, 2]"),),
    ),
    Sample("ExpandDims", "at the end", inputs=([1.0, 2.0], -1), expected=[[1.0], [2.0]], dtypes=("float32",)),
    Sample("ExpandDims", "scalar", inputs=(3, [0]), expected=[3], dtypes=INDICES),
    Sample(
        "Squeeze",
        "all",
        inputs=(np.ones([1, 3, 1, 2]),),
        expected=np.ones([3, 2]),
        dtypes=ANY,
        bad=(Bad((MATRIX,), {"squeeze_dims": (0,)}, ValueError, "Can not squeeze dim[0]"),),
    ),
    Sample(
        "Squeeze",
        "one from the end",
        inputs=(np.array([[[1.0], [2.0]]]),),
        attrs={"squeeze_dims": (-1,)},
        expected=[[1.0, 2.0]],
        dtypes=("float32", "int32"),
    ),
    Sample("Squeeze", "to a scalar", inputs=([[7]],), expected=7, dtypes=("int32",)),
    Sample("Squeeze", "nothing", inputs=(np.zeros([1, 0]),), expected=np.zeros([0]), dtypes=("float32",)),
    # ------------------------------------------------------------ orders of the same elements
    Sample(
        "Transpose",
        "matrix",
        inputs=(MATRIX, [1, 0]),
        expected=[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]],
        dtypes=ANY,
        bad=(
            Bad((MATRIX, [0, 0]), {}, ValueError, "is not a permutation"),
            Bad((MATRIX, [0, 2]), {}, ValueError, "perm dim 2 is out of range of input rank 2"),
            Bad((MATRIX, [0, 1, 2]), {}, ValueError, "Dimension must be 2 but is 3"),
        ),
    ),
    Sample(
        "Transpose",
        "a cycle of three",
        inputs=(CUBE, [1, 2, 0]),
        expected=[[[CUBE[k, i, j] for k in range(2)] for j in range(4)] for i in range(3)],
        dtypes=("float32",),
    ),
    Sample(
        "Transpose",
        "counted from the end",
        inputs=(MATRIX, [-1, 0]),
        expected=[[1, 4], [2, 5], [3, 6]],
        gradient=False,  # computed, it meets InvertPermutation, which takes no negative axes
    ),
    Sample("Transpose", "scalar", inputs=(5.0, np.zeros([0], np.int32)), expected=5.0, dtypes=("float32",)),
    Sample("Transpose", "nothing", inputs=(EMPTY, [1, 0]), expected=np.zeros([3, 0]), dtypes=("float32",)),
    Sample(
        "ConjugateTranspose",
        "matrix",
        inputs=(np.array([[1 + 2j, 3.0], [4j, 5 - 6j]]), [1, 0]),
        expected=[[1 - 2j, -4j], [3.0, 5 + 6j]],
        dtypes=COMPLEX,
    ),
    Sample("ConjugateTranspose", "real", inputs=(MATRIX, [1, 0]), expected=[[1, 4], [2, 5], [3, 6]]),
    Sample(
        "InvertPermutation",
        "of five",
        inputs=([3, 4, 0, 2, 1],),
        expected=[2, 4, 3, 0, 1],
        dtypes=INDICES,
        bad=(Bad(([0, 0],), {}, ValueError, "is not a permutation"),),
    ),
    Sample(
        "InvertPermutation", "of nothing", inputs=(np.zeros([0]),), expected=np.zeros([0]), dtypes=INDICES
    ),
    Sample(
        "ReverseV2",
        "rows",
        inputs=(MATRIX, [0]),
        expected=[[4.0, 5.0, 6.0], [1.0, 2.0, 3.0]],
        dtypes=ANY,
        bad=(
            Bad((MATRIX, [2]), {}, ValueError, "Invalid dimension 2"),
            Bad((MATRIX, [0, -2]), {}, ValueError, "specified more than once"),
        ),
    ),
    Sample(
        "ReverseV2", "both", inputs=(MATRIX, [-1, 0]), expected=[[6, 5, 4], [3, 2, 1]], dtypes=("float32",)
    ),
    Sample(
        "ReverseV2", "no axis", inputs=(MATRIX, np.zeros([0], np.int32)), expected=MATRIX, dtypes=("float32",)
    ),
    Sample("ReverseV2", "strings", inputs=(["a", "b"], [0]), expected=[b"b", b"a"]),
    # ------------------------------------------------------------ ranges
    Sample(
        "Range",
        "up",
        inputs=(3, 18, 3),
        expected=[3, 6, 9, 12, 15],
        dtypes=("int32", "int64"),
        bad=(
            Bad((0, 3, 0), {}, ValueError, "Requires delta != 0"),
            Bad((3, 0, 1), {}, ValueError, "Requires start <= limit when delta > 0: 3/0"),
            Bad((0, 3, -1), {}, ValueError, "Requires start >= limit when delta < 0: 0/3"),
        ),
    ),
    Sample("Range", "limit not reached", inputs=(0, 5, 2), expected=[0, 2, 4], dtypes=("int32",)),
    Sample("Range", "down", inputs=(3, -3, -2), expected=[3, 1, -1], dtypes=("int32",)),
    Sample("Range", "empty", inputs=(2, 2, 1), expected=np.zeros([0]), dtypes=("int32",)),
    Sample(
        "Range",
        "of floats",
        inputs=(1.0, 2.75, 0.5),
        expected=[1.0, 1.5, 2.0, 2.5],
        dtypes=FLOATS,
        data_dependent=True,
    ),
    # TensorFlow's values: start + i * delta, each rounded.
    Sample(
        "Range",
        "rounding errors do not add up",
        inputs=(np.float32(0), np.float32(1), np.float32(0.1)),
        expected=np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.90000004], np.float32),
        rtol=0,
        data_dependent=True,
    ),
]
