"""From Python values to tensors: TensorFlow's rules, and what tahr refuses where TensorFlow would change a value."""

from __future__ import annotations

import decimal
import fractions
from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core.convert import as_array
from tahr.core.tensor_shapes import Dimension, TensorShape


def _made(value: Any, dtype: Any = None) -> tuple[str, Any]:
    """The dtype and the value of the constant that a value becomes."""
    tensor = tf.convert_to_tensor(value, dtype=dtype)
    found = tensor.op.get_attr("value")
    assert tensor.op.type == "Const" and tensor.shape.as_list() == list(found.shape)
    return tensor.dtype.name, found.tolist()


class HasArray:
    def __array__(self, dtype=None, copy=None):
        return np.array([1.0, 2.0])


class RaisingArray:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array today")


# The value, the dtype, and the result; all of it is what TensorFlow says.
DERIVED = [
    (1, "int32", 1),
    (1.5, "float32", 1.5),
    (True, "bool", True),
    ("é", "string", b"\xc3\xa9"),
    (b"a", "string", b"a"),
    (1 + 2j, "complex128", 1 + 2j),
    ([1, 2.5], "float32", [1.0, 2.5]),
    (["a", b"b"], "string", [b"a", b"b"]),
    ((1, 2), "int32", [1, 2]),
    ([[True], [False]], "bool", [[True], [False]]),
    ([], "float32", []),
    ([[], []], "float32", [[], []]),
    (2**31 - 1, "int32", 2**31 - 1),
    (2**31, "int64", 2**31),
    (-(2**31), "int32", -(2**31)),
    (-(2**31) - 1, "int64", -(2**31) - 1),
    ([1, 2**40], "int64", [1, 2**40]),
    (2**63, "uint64", 2**63),
    (1e40, "float32", float("inf")),
    (np.float64(1), "float64", 1.0),
    (np.int64(1), "int64", 1),
    (np.uint8(3), "uint8", 3),
    (np.float16(1), "float16", 1.0),
    (np.bool_(True), "bool", True),
    (np.str_("a"), "string", b"a"),
    ([np.float64(1), 2], "float32", [1.0, 2.0]),
    ([np.int64(1), 2], "int32", [1, 2]),
    ([np.uint8(1), np.uint8(2)], "uint8", [1, 2]),
    (np.array([1, 2]), "int64", [1, 2]),
    (np.array([1.0]), "float64", [1.0]),
    (np.array(["a", "bc"]), "string", [b"a", b"bc"]),
    (np.array(["a", b"b"], object), "string", [b"a", b"b"]),
    (np.zeros((0, 3)), "float64", []),
    (np.array([1, 2], ">i4"), "int32", [1, 2]),
    (np.arange(6)[::-2], "int64", [5, 3, 1]),
    (HasArray(), "float64", [1.0, 2.0]),
    (memoryview(b"ab"), "uint8", [97, 98]),
    (range(3), "int32", [0, 1, 2]),
    (Dimension(3), "int32", 3),
    ([Dimension(3), 4], "int32", [3, 4]),
    (TensorShape([2, 3]), "int32", [2, 3]),
    (TensorShape([2, 2**31]), "int64", [2, 2**31]),
    (TensorShape([]), "int32", []),
]


@pytest.mark.parametrize(
    ("value", "dtype", "result"), DERIVED, ids=[repr(case[0]).partition(" at 0x")[0][:40] for case in DERIVED]
)
def test_derived_dtypes(value, dtype, result):
    assert _made(value) == (dtype, result)


GIVEN = [
    (1, "float32", 1.0),
    (1, "complex64", 1 + 0j),
    (True, "int32", 1),
    (True, "float32", 1.0),
    ([1, 2.5], "float64", [1.0, 2.5]),
    (70000, "float16", float("inf")),
    (2**63, "uint64", 2**63),
    ([], "int32", []),
    ([], "string", []),
    ([[], []], "int64", [[], []]),
    (np.array([1.9, -1.9]), "int32", [1, -1]),
    (np.float64(1.5), "int32", 1),
    (np.array([True]), "float32", [1.0]),
    (np.array([0, 2]), "bool", [False, True]),
    (np.array([300]), "uint8", [44]),
    (np.array([1.0]), "complex64", [1 + 0j]),
    (TensorShape([2]), "int64", [2]),
]


@pytest.mark.parametrize(("value", "dtype", "result"), GIVEN, ids=[f"{c[0]!r}-{c[1]}"[:40] for c in GIVEN])
def test_given_dtypes(value, dtype, result):
    assert _made(value, dtype) == (dtype, result)


def test_bfloat16():
    assert tf.convert_to_tensor(1.1, tf.bfloat16).op.get_attr("value") == np.float32(1.1015625)


REFUSED = [
    (None, None, ValueError, "None values not supported"),
    ([1, None], None, TypeError, "Failed to convert object of type <class 'list'> to Tensor"),
    ([1, "a"], None, TypeError, "it holds: int, str"),
    (["a", 1], None, TypeError, "it holds: int, str"),
    ({1, 2}, None, TypeError, "Failed to convert object of type <class 'set'> to Tensor"),
    ({"a": 1}, None, TypeError, "Failed to convert object of type <class 'dict'> to Tensor"),
    (object(), None, TypeError, "Failed to convert object"),
    (iter([1]), None, TypeError, "Failed to convert object"),
    (tf.float32, None, TypeError, "Failed to convert object"),
    (decimal.Decimal("1.5"), None, TypeError, "it holds: Decimal"),
    (fractions.Fraction(1, 2), None, TypeError, "it holds: Fraction"),
    (-(2**63) - 1, None, ValueError, "is out of range for int64"),
    ([[1, 2], [3]], None, ValueError, "ragged"),
    ([1, [2]], None, ValueError, "ragged"),
    ([np.array([1, 2]), np.array([3])], None, ValueError, "ragged"),
    (np.array([1, 2], object), None, TypeError, "Expected binary or unicode string, got 1"),
    (np.array([None]), None, TypeError, "Expected binary or unicode string, got None"),
    (np.datetime64("2020-01-01"), None, TypeError, "to a TensorFlow DType"),
    (RaisingArray(), None, RuntimeError, "no array today"),
    (1.5, "int32", TypeError, "Expected int32, but got 1.5 of type 'float'"),
    (1.0, "int32", TypeError, "Expected int32, but got 1.0 of type 'float'"),
    ([1, 2.5], "int32", TypeError, "Expected int32, but got 2.5 of type 'float'"),
    (1j, "float32", TypeError, "Expected float32, but got 1j of type 'complex'"),
    (1, "bool", TypeError, "Expected bool, but got 1 of type 'int'"),
    (1, "string", TypeError, "Expected string, but got 1 of type 'int'"),
    ("a", "float32", TypeError, "Expected float32, but got 'a' of type 'str'"),
    (np.array(["a"]), "float32", TypeError, "Expected float32, but got"),
    (np.array([1.0]), "string", TypeError, "Expected string, but got"),
    (np.array([1j]), "float32", TypeError, "Expected float32, but got"),
    # TensorFlow wraps these around.
    (2**31, "int32", ValueError, "is out of range for int32"),
    (-1, "uint8", ValueError, "is out of range for uint8"),
    ([1, 300], "uint8", ValueError, "is out of range for uint8"),
    (TensorShape([2]), "float32", TypeError, "Cannot convert a TensorShape to dtype: float32"),
    (Dimension(2), "float32", TypeError, "Cannot convert a Dimension to dtype: float32"),
    (TensorShape([None, 2]), None, ValueError, "Cannot convert a partially known TensorShape to a Tensor: "),
    (TensorShape(None), None, ValueError, "Cannot convert a partially known TensorShape to a Tensor: "),
    (Dimension(None), None, ValueError, "Cannot convert an unknown Dimension to a Tensor"),
    ([Dimension(None), 2], None, TypeError, "it holds: NoneType, int"),
]


@pytest.mark.parametrize(
    ("value", "dtype", "error", "text"),
    REFUSED,
    ids=[f"{type(c[0]).__name__} {i}" for i, c in enumerate(REFUSED)],
)
def test_what_is_refused(value, dtype, error, text):
    with pytest.raises(error, match=text):
        tf.convert_to_tensor(value, dtype=dtype)


def test_an_error_names_the_users_line():
    with pytest.raises(TypeError, match=r"test_convert.py:\d+   tf.convert_to_tensor\(1.5, dtype=tf.int32\)"):
        tf.convert_to_tensor(1.5, dtype=tf.int32)


def test_constants_are_copies():
    array = np.array([1.0, 2.0])
    x = tf.constant(array)
    array[0] = 9.0
    assert x.op.get_attr("value").tolist() == [1.0, 2.0]
    assert as_array(np.float32(3), tf.float32).flags.writeable


def test_tensors_and_variables():
    x = tf.placeholder(tf.float32, [2])
    assert tf.convert_to_tensor(x) is x and tf.convert_to_tensor(x, tf.float32) is x
    with pytest.raises(
        ValueError, match="Tensor conversion requested dtype int32 for Tensor with dtype float32"
    ):
        tf.convert_to_tensor(x, dtype=tf.int32)
    v = tf.Variable(1.0, name="v")
    assert tf.convert_to_tensor(v).name == "v/read:0"
    with pytest.raises(ValueError, match="requested to type 'int32' for variable of type 'float32_ref'"):
        tf.convert_to_tensor(v, dtype=tf.int32)


def test_names():
    assert tf.convert_to_tensor(1, name="c").name == "c:0" and tf.convert_to_tensor(1).name == "Const:0"
    packed = tf.convert_to_tensor([tf.placeholder(tf.float32, []), 1.0], name="p")
    assert (packed.name, packed.op.type) == ("p:0", "Pack")


def test_preferred_dtypes():
    def preferring(value, dtype):
        return tf.convert_to_tensor(value, preferred_dtype=dtype).dtype.name

    assert preferring(1, tf.float32) == "float32" and preferring(1.5, tf.int32) == "float32"
    assert preferring("a", tf.float32) == "string" and preferring([], tf.int32) == "int32"


class TestListsWithTensors:
    def test_packing(self):
        x = tf.placeholder(tf.float32, [], name="x")
        n = tf.placeholder(tf.int32, [])
        assert str(tf.convert_to_tensor([1, x])) == 'Tensor("packed:0", shape=(2,), dtype=float32)'
        assert tf.convert_to_tensor([[1, n], [3, 4]]).shape == [2, 2]
        assert tf.convert_to_tensor([tf.Variable(1.0), 2.0]).dtype == tf.float32
        assert tf.convert_to_tensor([x, np.float64(2.0)]).dtype == tf.float32
        assert tf.convert_to_tensor([tf.constant("a"), "b"]).dtype == tf.string

    @pytest.mark.parametrize(
        ("values", "error"),
        [
            (lambda x, n: [x, n], (TypeError, ValueError)),
            (lambda x, n: [n, 2.5], TypeError),
            (lambda x, n: [x, 1j], TypeError),
            (lambda x, n: [x, None], ValueError),
            (lambda x, n: [tf.ones([2]), tf.ones([3])], ValueError),
            (lambda x, n: [x, [x]], ValueError),
        ],
    )
    def test_what_does_not_pack(self, values, error):
        with pytest.raises(error):
            tf.convert_to_tensor(values(tf.placeholder(tf.float32, []), tf.placeholder(tf.int32, [])))


class TestConstant:
    @pytest.mark.parametrize(
        ("value", "shape", "result"),
        [
            (1, [2, 3], [[1, 1, 1], [1, 1, 1]]),
            ([1, 2], [4], [1, 2, 2, 2]),
            ([1, 2, 3, 4], [2, 2], [[1, 2], [3, 4]]),
            ([1.0], (), 1.0),
            ("a", [2], [b"a", b"a"]),
            (5, [0], []),
            (5, [2, 0], [[], []]),
        ],
    )
    def test_shapes(self, value, shape, result):
        assert tf.constant(value, shape=shape).op.get_attr("value").tolist() == result

    def test_bad_shapes(self):
        with pytest.raises(ValueError, match="Too many elements provided"):
            tf.constant([1, 2, 3], shape=[2])
        with pytest.raises(ValueError, match="from an empty value"):
            tf.constant([], shape=[2])
        with pytest.raises(TypeError, match=r"Expected Tensor's shape: \(1, 2\)"):
            tf.constant([1, 2], shape=[1, 2], verify_shape=True)
        with pytest.raises((TypeError, ValueError)):
            tf.constant(1, shape=[None, 2])
        with pytest.raises(ValueError, match="must be >= 0"):
            tf.constant(1, shape=[-1])

    @pytest.mark.parametrize("dtype", ["float32", tf.float32, np.float32, float])
    def test_dtypes(self, dtype):
        assert tf.constant(1, dtype=dtype).dtype == tf.float32

    @pytest.mark.parametrize("value", [lambda x: x, lambda x: [x], lambda x: [[1.0], [x]]])
    def test_a_tensor_is_no_constant(self, value):
        with pytest.raises(TypeError, match="Expected any non-tensor type, but got a tensor instead"):
            tf.constant(value(tf.placeholder(tf.float32, [])))


def test_registered_conversions():
    class Celsius:
        def __init__(self, degrees):
            self.degrees = degrees

    def convert(value, dtype=None, name=None, as_ref=False):
        return tf.constant(value.degrees, dtype=dtype, name=name or "celsius")

    tf.register_tensor_conversion_function(Celsius, convert)
    assert tf.convert_to_tensor(Celsius(20.0)).name == "celsius:0"
    assert (tf.constant([1.0]) + Celsius(2.0)).dtype == tf.float32
    assert tf.convert_to_tensor([Celsius(1.0), 2.0]).shape == [2]
    assert tf.add(Celsius(1.0), 2.0).dtype == tf.float32


def test_a_million_numbers_are_converted_at_numpys_speed():
    assert tf.constant([1.0] * 1_000_000).shape == [1_000_000]


def test_an_operation_is_made_in_the_graph_of_its_inputs():
    graph = tf.Graph()
    with graph.as_default():
        x, v = tf.constant([1.0], name="x"), tf.Variable(1.0, name="v")
    for y in (x + 1.0, 1.0 + x, tf.add(x, 2.0), tf.concat([x, [2.0]], 0), v * 2.0, x[0]):
        assert y.graph is graph
    with pytest.raises(ValueError, match="must be from the same graph"):
        tf.add(x, tf.constant(1.0))


def test_indexed_slices():
    rows = tf.IndexedSlices(tf.constant([[1.0, 2.0]]), tf.constant([3]), tf.constant([5, 2]))
    assert (rows.dtype, rows.shape, rows.name, rows.op.type) == (tf.float32, [5, 2], "Const:0", "Const")
    assert str(rows).startswith("IndexedSlices(indices=Tensor(")
    assert tf.convert_to_tensor(rows).shape == [5, 2]
    assert tf.IndexedSlices(rows.values, rows.indices).shape.ndims is None
    with pytest.raises(ValueError, match="without dense_shape"):
        tf.convert_to_tensor(tf.IndexedSlices(rows.values, rows.indices))
