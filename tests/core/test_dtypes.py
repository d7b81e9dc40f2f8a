"""Element types: what TensorFlow 1.15 says of them."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

from tahr.core import dtypes
from tahr.core.dtypes import as_dtype

FLOAT_REF = dtypes.float32.ref_dtype


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_every_name_and_enum_value_leads_back(dtype):
    assert as_dtype(dtype.name) is as_dtype(dtype.as_datatype_enum) is as_dtype(dtype) is dtype
    assert as_dtype(dtype.name + "_ref") is as_dtype(dtype.as_datatype_enum + 100) is dtype.ref_dtype
    assert dtype.ref_dtype.base_dtype is dtype.base_dtype is dtype
    assert pickle.loads(pickle.dumps(dtype)) is copy.deepcopy(dtype) is dtype
    assert hash(dtype) == hash(as_dtype(dtype.name)) and {dtype: 1}[dtype] == 1


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (float, "float32"),
        (bool, "bool"),
        (str, "string"),
        (bytes, "string"),
        (object, "string"),
        (complex, "complex128"),
        (np.float32, "float32"),
        (np.dtype(np.int16), "int16"),
        (np.longlong, "int64"),
        (np.ulonglong, "uint64"),
        (np.dtype(">f4"), "float32"),
        (np.dtype("S5"), "string"),
        (np.dtype("U5"), "string"),
        (ml_dtypes.bfloat16, "bfloat16"),
        ("half", "float16"),
        ("double", "float64"),
        ("float", "float32"),
        (1, "float32"),
        (101, "float32_ref"),
    ],
)
def test_conversion(value, name):
    assert as_dtype(value).name == name


@pytest.mark.parametrize("value", [None, "nope", "", 0, 999, True, [1], np.datetime64, np.dtype("m8"), 1.5])
def test_what_names_no_type(value):
    with pytest.raises(TypeError, match="to a TensorFlow DType"):
        as_dtype(value)


def test_equality():
    assert dtypes.float32 == "float32" == dtypes.float32
    assert dtypes.float32 == np.float32 and np.float32 == dtypes.float32
    assert dtypes.float32 == 1
    assert dtypes.float32 == float  # noqa: E721
    assert dtypes.float32 != dtypes.int32 and dtypes.float32 is not None and dtypes.float32 != "x"
    assert dtypes.float32 != FLOAT_REF and FLOAT_REF.base_dtype == dtypes.float32
    assert dtypes.int32 in [dtypes.float32, dtypes.int32]


def test_a_reference_may_stand_for_a_value_but_not_the_other_way():
    assert dtypes.float32.is_compatible_with(FLOAT_REF)
    assert not FLOAT_REF.is_compatible_with(dtypes.float32)
    assert FLOAT_REF.is_compatible_with(FLOAT_REF)
    assert not dtypes.float32.is_compatible_with("int32")


def test_kinds():
    def names(quality):
        return {t.name for t in dtypes.ALL if getattr(t, quality)}

    assert names("is_floating") == {"float16", "bfloat16", "float32", "float64"}
    assert names("is_complex") == {"complex64", "complex128"}
    assert names("is_unsigned") == {"uint8", "uint16", "uint32", "uint64"}
    assert names("is_integer") == names("is_unsigned") | {"int8", "int16", "int32", "int64"}
    assert names("is_bool") == {"bool"}
    assert names("is_numpy_compatible") == {t.name for t in dtypes.ALL} - {"resource", "variant"}
    assert names("is_quantized") == set()
    assert dtypes.int32.ref_dtype.is_integer and FLOAT_REF.is_floating


def test_limits():
    assert (dtypes.int8.min, dtypes.int8.max, dtypes.int8.limits) == (-128, 127, (0, 127))
    assert dtypes.uint8.limits == (0, 255)
    assert dtypes.float32.max == np.finfo(np.float32).max and dtypes.float32.limits == (0, 1)
    assert float(dtypes.bfloat16.max) == float.fromhex("0x1.FEp127")
    assert dtypes.bool_.limits == (0, True)
    for dtype in (dtypes.bool_, dtypes.string, dtypes.complex64):
        with pytest.raises(TypeError, match="Cannot find minimum value of"):
            _ = dtype.min
        with pytest.raises(TypeError, match="Cannot find maximum value of"):
            _ = dtype.max


def test_numpy_and_real_types():
    assert dtypes.float32.as_numpy_dtype is np.float32 and dtypes.string.as_numpy_dtype is np.object_
    assert [t.size for t in (dtypes.bool_, dtypes.float16, dtypes.complex128)] == [1, 2, 16]
    assert dtypes.complex64.real_dtype is dtypes.float32 and dtypes.int32.real_dtype is dtypes.int32


def test_text():
    assert (str(dtypes.float32), repr(dtypes.float32)) == ("<dtype: 'float32'>", "tf.float32")
    assert str(FLOAT_REF) == "<dtype: 'float32_ref'>"
