"""Samples of the string ops; the texts were recorded from TensorFlow 2.21."""

from __future__ import annotations

import numpy as np

from tahr.errors import InvalidArgumentError
from tests.ops.samples import Bad, Sample

SAMPLES = [
    Sample(
        "AsString",
        "floats",
        inputs=(np.array([1.5, 2.0, np.nan, 1e10, -0.0], np.float32),),
        expected=[b"1.500000", b"2.000000", b"nan", b"10000000000.000000", b"-0.000000"],
        bad=(
            Bad((1.0,), {"scientific": True, "shortest": True}, ValueError, "both scientific and shortest"),
            Bad((1.0,), {"fill": "ab"}, ValueError, "one or fewer characters"),
            Bad(("a",), {}, TypeError, "not in list of allowed values"),
        ),
    ),
    Sample(
        "AsString",
        "integers",
        inputs=([[1, -2]],),
        expected=[[b"1", b"-2"]],
        dtypes=("int8", "int32", "int64"),
    ),
    Sample("AsString", "bools", inputs=([True, False],), expected=[b"true", b"false"]),
    Sample("AsString", "complex", inputs=(1 + 2j,), expected=b"(1.000000,2.000000)"),
    Sample("AsString", "half", inputs=(np.float16(1.5),), expected=b"1.500000"),
    Sample(
        "AsString",
        "width and fill",
        inputs=([1.5],),
        attrs={"precision": 2, "width": 8, "fill": "0"},
        expected=[b"00001.50"],
    ),
    Sample("AsString", "fill on the right", inputs=(5,), attrs={"width": 4, "fill": "-"}, expected=b"5   "),
    Sample("AsString", "scientific", inputs=([1.5],), attrs={"scientific": True}, expected=[b"1.500000e+00"]),
    Sample(
        "AsString", "shortest", inputs=([1.5, 1e-10],), attrs={"shortest": True}, expected=[b"1.5", b"1e-10"]
    ),
    Sample("AsString", "of nothing", inputs=(np.zeros([0, 2]),), expected=np.zeros([0, 2], object)),
    Sample(
        "StringJoin",
        "a scalar beside a vector",
        inputs=([["a", "b"], "c"],),
        attrs={"separator": "-"},
        expected=[b"a-c", b"b-c"],
        bad=(
            Bad((["a", 1],), {}, TypeError, "string"),
            Bad(([["a", "b"], ["c"]],), {}, InvalidArgumentError, "Input shapes do not match"),
        ),
    ),
    Sample("StringJoin", "scalars", inputs=(["a", "b", "c"],), expected=b"abc"),
    Sample(
        "StringJoin", "of nothing", inputs=([np.zeros([0], object), "x"],), expected=np.zeros([0], object)
    ),
]
