"""Samples of `tahr/ops/structural.py`, `fills.py` and `placeholders.py`."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tahr import errors
from tahr.core import dtypes
from tahr.core.tensor_shapes import TensorShape
from tests.ops.samples import COMPLEX, FLOATS, INDICES, NUMBERS, Bad, Sample

MATRIX = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
CUBE = np.arange(24.0).reshape(2, 3, 4)
EMPTY = np.zeros([0, 3])
NO_AXES = np.zeros([0], np.int32)


def sum_oracle(x, axes, *, keep_dims):
    """A loop over all elements."""
    gone = {int(a) % x.ndim for a in np.ravel(axes)}
    total = np.zeros([1 if i in gone else d for i, d in enumerate(x.shape)], x.dtype)
    for place in itertools.product(*map(range, x.shape)):
        total[tuple(0 if i in gone else k for i, k in enumerate(place))] += x[place]
    return total if keep_dims else total.reshape([d for i, d in enumerate(x.shape) if i not in gone])


SAMPLES = [
    # ------------------------------------------------------------ broadcasting, and its adjoint the sum
    Sample(
        "BroadcastTo",
        "row",
        inputs=([1.0, 2.0], [3, 2]),
        expected=[[1.0, 2.0]] * 3,
        dtypes=NUMBERS,
        bad=(
            Bad((MATRIX, [2, 4]), {}, ValueError, "broadcast"),
            Bad((MATRIX, [3]), {}, ValueError, "Incompatible shapes"),
        ),
    ),
    Sample(
        "BroadcastTo",
        "column",
        inputs=([[1.0], [2.0]], [2, 2]),
        expected=[[1, 1], [2, 2]],
        dtypes=("float32",),
    ),
    Sample(
        "BroadcastTo",
        "scalar",
        inputs=(5.0, [2, 1]),
        expected=[[5.0], [5.0]],
        dtypes=("float32", "complex64"),
    ),
    Sample("BroadcastTo", "to itself", inputs=(5.0, NO_AXES), expected=5.0, dtypes=("float32",)),
    Sample(
        "BroadcastTo", "to nothing", inputs=([[1.0]], [0, 1]), expected=np.zeros([0, 1]), dtypes=("float32",)
    ),
    Sample(
        "Sum",
        "middle axis",
        inputs=(CUBE, 1),
        expected=sum_oracle,
        dtypes=NUMBERS,
        bad=(
            Bad((MATRIX, [2]), {}, ValueError, "Invalid reduction dimension 2"),
            Bad((MATRIX, [-3]), {}, ValueError, "Invalid reduction dimension -3"),
        ),
    ),
    Sample("Sum", "all", inputs=(MATRIX, [0, 1]), expected=21.0, dtypes=NUMBERS),
    Sample("Sum", "kept", inputs=(MATRIX, [-1]), attrs={"keep_dims": True}, expected=[[6.0], [15.0]]),
    Sample(
        "Sum", "first of two", inputs=(MATRIX, [0]), expected=[5.0, 7.0, 9.0], dtypes=("float32", "int64")
    ),
    Sample("Sum", "outer axes", inputs=(CUBE, np.array([2, 0])), expected=sum_oracle, dtypes=("float32",)),
    Sample("Sum", "no axis", inputs=(MATRIX, NO_AXES), expected=MATRIX, dtypes=("float32",)),
    Sample("Sum", "scalar", inputs=(5.0, NO_AXES), expected=5.0, dtypes=("float32",)),
    Sample("Sum", "of nothing", inputs=(EMPTY, [0]), expected=[0.0, 0.0, 0.0], dtypes=FLOATS + COMPLEX),
    Sample(
        "Sum",
        "with NaN and Inf",
        inputs=([[math.nan, 1], [math.inf, 1]], 1),
        expected=[math.nan, math.inf],
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample("Sum", "wraps around", inputs=([100, 100], 0), expected=-56, dtypes=("int8",)),
    # Added up one by one in 16 bits, 4096 ones would make 2048 (float16) or 256 (bfloat16).
    Sample(
        "Sum",
        "many ones",
        inputs=(np.ones([4096]), 0),
        expected=4096.0,
        dtypes=("float16", "bfloat16"),
        gradient=False,
    ),
    Sample("ReducedShape", "of three", inputs=([2, 3, 4], [0, -1]), expected=[1, 3, 1], dtypes=INDICES),
    Sample("ReducedShape", "no axes", inputs=([2, 3], NO_AXES), expected=[2, 3], dtypes=INDICES),
    Sample(
        "SumToShape",
        "to a row",
        inputs=(MATRIX, [3]),
        expected=[5.0, 7.0, 9.0],
        dtypes=NUMBERS,
        bad=(Bad((MATRIX, [2]), {}, errors.InvalidArgumentError, "Incompatible shapes"),),
    ),
    Sample(
        "SumToShape", "to a column", inputs=(MATRIX, [2, 1]), expected=[[6.0], [15.0]], dtypes=("float32",)
    ),
    Sample(
        "SumToShape", "to a scalar", inputs=(MATRIX, NO_AXES), expected=21.0, dtypes=("float32", "complex64")
    ),
    Sample("SumToShape", "to itself", inputs=(MATRIX, [2, 3]), expected=MATRIX, dtypes=("float32",)),
    Sample(
        "SumToShape",
        "to one row",
        inputs=(CUBE, [1, 4]),
        expected=[[60.0, 66.0, 72.0, 78.0]],
        dtypes=("float32",),
    ),
    Sample("SumToShape", "of nothing", inputs=(EMPTY, [3]), expected=[0.0, 0.0, 0.0], dtypes=("float32",)),
    Sample(
        "BroadcastArgs",
        "both give way",
        inputs=([2, 1, 4], [3, 1]),
        expected=[2, 3, 4],
        dtypes=INDICES,
        bad=(Bad(([2], [3]), {}, ValueError, "broadcast"),),
    ),
    Sample("BroadcastArgs", "with a scalar's", inputs=([2, 3], NO_AXES), expected=[2, 3], dtypes=("int32",)),
    Sample(
        "BroadcastGradientArgs",
        "both give way",
        inputs=([2, 1, 4], [3, 1]),
        expected=([1], [0, 2]),
        dtypes=INDICES,
        data_dependent=True,
    ),
    Sample(
        "BroadcastGradientArgs",
        "equal",
        inputs=([2, 3], [2, 3]),
        expected=(NO_AXES, NO_AXES),
        dtypes=INDICES,
        data_dependent=True,
    ),
    # ------------------------------------------------------------ the sum of tensors
    Sample(
        "AddN",
        "three",
        inputs=([[1.0, 2.0], [10.0, 20.0], [50.0, 60.0]],),
        expected=[61.0, 82.0],
        dtypes=NUMBERS,
        bad=(Bad(([[1.0, 2.0], [3.0]],), {}, ValueError, "must be equal, but are 2 and 1"),),
    ),
    Sample("AddN", "one", inputs=([[1.0, 2.0]],), expected=[1.0, 2.0], dtypes=("float32",)),
    Sample(
        "AddN",
        "scalars",
        inputs=([1.0, math.inf, -math.inf],),
        expected=math.nan,
        dtypes=FLOATS,
        gradient=False,
    ),
    Sample("AddN", "nothing", inputs=([EMPTY, EMPTY],), expected=EMPTY, dtypes=("float32",)),
    # ------------------------------------------------------------ fills
    Sample(
        "Fill",
        "matrix",
        inputs=([2, 3], 7.0),
        expected=[[7.0] * 3] * 2,
        dtypes=NUMBERS,
        bad=(
            Bad(([2], [1.0]), {}, ValueError, "Shape must be rank 0 but is rank 1"),
            Bad(([-2], 1.0), {}, ValueError, "Dimension -2 must be >= 0"),
        ),
    ),
    Sample("Fill", "scalar", inputs=(NO_AXES, 7.0), expected=7.0, dtypes=("float32", "bool")),
    Sample("Fill", "nothing", inputs=([0, 2], 7.0), expected=np.zeros([0, 2]), dtypes=("float32",)),
    Sample("Fill", "strings", inputs=([2], "a"), expected=[b"a", b"a"]),
    Sample("Fill", "shape", inputs=([2], 5), expected=[5, 5], dtypes=INDICES),
    Sample(
        "ZerosLike", "matrix", inputs=(MATRIX,), expected=[[0, 0, 0], [0, 0, 0]], dtypes=(*NUMBERS, "bool")
    ),
    Sample("ZerosLike", "NaN", inputs=([math.nan],), expected=[0], dtypes=FLOATS),
    Sample("ZerosLike", "strings", inputs=(["a", "b"],), expected=[b"", b""]),
    Sample(
        "OnesLike", "matrix", inputs=(MATRIX,), expected=[[1, 1, 1], [1, 1, 1]], dtypes=(*NUMBERS, "bool")
    ),
    Sample("OnesLike", "nothing", inputs=(EMPTY,), expected=EMPTY, dtypes=("float32",)),
    Sample(
        "LinSpace",
        "four",
        inputs=(10.0, 13.0, 4),
        expected=[10.0, 11.0, 12.0, 13.0],
        dtypes=FLOATS,
        bad=(Bad((0.0, 1.0, 0), {}, ValueError, "Requires num > 0: 0"),),
    ),
    Sample("LinSpace", "downwards", inputs=(1.0, -1.0, 3), expected=[1.0, 0.0, -1.0], dtypes=FLOATS),
    Sample("LinSpace", "one", inputs=(5.0, 6.0, 1), expected=[5.0], dtypes=FLOATS),
    # ------------------------------------------------------------ placeholders
    Sample(
        "Placeholder",
        "not fed",
        bad=(
            Bad(
                (),
                {"dtype": dtypes.float32, "shape": TensorShape([None, 2])},
                errors.InvalidArgumentError,
                "You must feed a value for placeholder tensor with dtype float and shape [?,2]",
            ),
        ),
        stateful="tests/ops/test_structural.py",
    ),
    Sample(
        "PlaceholderWithDefault",
        "not fed",
        inputs=(MATRIX,),
        attrs={"shape": TensorShape([2, 3])},
        expected=MATRIX,
        dtypes=("float32", "int32"),
        bad=(Bad((MATRIX,), {"shape": TensorShape([None, 2])}, ValueError, "are not compatible"),),
    ),
]
