"""Graphs, operations and tensors: looking up, operators, indexing, and what TensorFlow refuses."""

# Wrong arguments are the subject of many tests here.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportUnusedExpression=false

from __future__ import annotations

import threading
import time

import ml_dtypes
import numpy as np
import pytest

import tahr as tf
from tahr.core import dtypes


def _ph(shape=None, dtype=tf.float32, name=None):
    return tf.placeholder(dtype, shape, name=name)


def _run(fetch, feed=None):
    with tf.Session() as session:
        return session.run(fetch, feed)


class TestLookup:
    @pytest.fixture(autouse=True)
    def graph(self):
        tf.split(tf.constant([1.0, 2.0], name="v"), 2, name="sp")
        tf.no_op(name="n")
        return tf.get_default_graph()

    def test_by_name(self, graph):
        sp = graph.get_operation_by_name("sp")
        assert graph.get_tensor_by_name("sp:1") is sp.outputs[1]
        assert graph.as_graph_element("sp") is sp and graph.as_graph_element("sp:0") is sp.outputs[0]
        assert graph.as_graph_element(sp) is sp and graph.as_graph_element(sp.outputs[1]) is sp.outputs[1]

    @pytest.mark.parametrize(
        ("name", "error", "text"),
        [
            ("sp", ValueError, "refers to an Operation, not a Tensor. Tensor names must be of the form"),
            ("nope", ValueError, r"looks like an \(invalid\) Operation name, not a Tensor"),
            ("sp:2", KeyError, "The operation, 'sp', exists but only has 2 outputs"),
            ("n:0", KeyError, "The operation, 'n', exists but only has 0 outputs"),
            ("nope:0", KeyError, "The operation, 'nope', does not exist in the graph"),
            ("sp:x", ValueError, "is not a valid one. Tensor names must be of the form"),
            ("sp:", ValueError, "is not a valid one"),
            ("a:b:0", ValueError, "is not a valid one"),
            (":0", KeyError, "The operation, '', does not exist in the graph"),
            ("", ValueError, r"looks like an \(invalid\) Operation name"),
            ("^sp", ValueError, r"looks like an \(invalid\) Operation name"),
            (None, TypeError, r"Tensor names are strings \(or similar\), not NoneType"),
            (3, TypeError, r"Tensor names are strings \(or similar\), not int"),
        ],
    )
    def test_no_such_tensor(self, graph, name, error, text):
        with pytest.raises(error, match=text):
            graph.get_tensor_by_name(name)

    @pytest.mark.parametrize(
        ("name", "error", "text"),
        [
            ("sp:0", ValueError, "Name 'sp:0' appears to refer to a Tensor, not a Operation"),
            ("nope", KeyError, "The name 'nope' refers to an Operation not in the graph"),
            ("SP", KeyError, "refers to an Operation not in the graph"),
            ("", KeyError, "refers to an Operation not in the graph"),
            (3, TypeError, r"Operation names are strings \(or similar\), not int"),
        ],
    )
    def test_no_such_operation(self, graph, name, error, text):
        with pytest.raises(error, match=text):
            graph.get_operation_by_name(name)

    @pytest.mark.parametrize(
        ("value", "options", "error", "text"),
        [
            (3, {}, TypeError, "Can not convert a int into a Tensor or Operation"),
            (None, {}, TypeError, "Can not convert a NoneType into a Tensor or Operation"),
            (3.5, {"allow_operation": False}, TypeError, "Can not convert a float into a Tensor"),
            ([1], {"allow_tensor": False}, TypeError, "Can not convert a list into a Operation"),
            ("sp:0", {"allow_tensor": False}, ValueError, "appears to refer to a Tensor, not a Operation"),
            ("sp", {"allow_tensor": False, "allow_operation": False}, ValueError, "can't both be False"),
        ],
    )
    def test_no_element(self, graph, value, options, error, text):
        with pytest.raises(error, match=text):
            graph.as_graph_element(value, **options)

    def test_the_wrong_kind(self, graph):
        x = graph.get_tensor_by_name("v:0")
        with pytest.raises(TypeError, match="Can not convert a Tensor into a Operation"):
            graph.as_graph_element(x, allow_tensor=False)
        with pytest.raises(TypeError, match="Can not convert a Operation into a Tensor"):
            graph.as_graph_element(x.op, allow_operation=False)

    def test_another_graphs(self, graph):
        with tf.Graph().as_default():
            x = tf.constant(1.0)
        for element in (x, x.op):
            with pytest.raises(ValueError, match="is not an element of this graph"):
                graph.as_graph_element(element)

    def test_what_stands_for_an_element(self, graph):
        v = tf.Variable(1.0, name="w")
        assert graph.as_graph_element(v).name == "w:0"

        class Stand:
            def _as_graph_element(self):
                return graph.get_tensor_by_name("v:0")

        assert graph.as_graph_element(Stand()).name == "v:0"


class TestGraph:
    def test_finalizing(self):
        graph = tf.get_default_graph()
        x = _ph(name="x")
        assert graph.finalized is False
        graph.finalize()
        assert graph.finalized is True
        for change in (
            lambda: tf.constant(1.0),
            lambda: tf.Variable(1.0),
            lambda: tf.add_to_collection("a", 1),
        ):
            with pytest.raises(RuntimeError, match="Graph is finalized and cannot be modified"):
                change()
        x.set_shape([2])
        tf.set_random_seed(1)
        assert graph.get_tensor_by_name("x:0").shape == [2] and tf.get_collection("a") == []
        graph._unsafe_unfinalize()
        tf.constant(1.0)

    def test_a_finalized_graph_still_runs(self):
        y = _ph([]) + 1.0
        tf.get_default_graph().finalize()
        assert _run(y, {y.op.inputs[0]: 2.0}) == 3.0

    def test_version_and_operations(self):
        graph = tf.get_default_graph()
        before = graph.version
        x = tf.constant(1.0)
        assert graph.version > before and graph.get_operations()[-1] is x.op
        graph.get_operations().clear()
        assert x.op in graph.get_operations() and graph.building_function is False

    def test_feeding_and_fetching_can_be_prevented(self):
        graph, a = tf.get_default_graph(), tf.constant(1.0, name="a")
        assert graph.is_feedable(a) and graph.is_fetchable(a) and graph.is_fetchable(a.op)
        graph.prevent_feeding(a)
        assert not graph.is_feedable(a)
        with pytest.raises(ValueError, match="may not be fed"):
            _run(a, {a: 2.0})
        graph.prevent_fetching(a.op)
        assert not graph.is_fetchable(a) and not graph.is_fetchable(a.op)
        for fetch in (a, a.op, "a:0"):
            with pytest.raises(ValueError, match="has been marked as not fetchable"):
                _run(fetch)

    def test_create_op(self):
        graph, x = tf.get_default_graph(), tf.ones([2, 3])
        op = graph.create_op("MatMul", [x, x], [tf.float32], name="m", attrs={"transpose_b": True})
        assert (op.name, op.type, op.outputs[0].shape) == ("m", "MatMul", [2, 2])
        with pytest.raises(ValueError, match="Op type not registered 'Nope'"):
            graph.create_op("Nope", [])
        with pytest.raises(TypeError, match="is not a tensor"):
            graph.create_op("Identity", [1.0])
        with pytest.raises(TypeError, match="needs the attribute 'dtype'"):
            graph.create_op("Placeholder", [])

    def test_many_threads_add_to_one_graph(self):
        graph = tf.Graph()

        def build():
            with graph.as_default():
                for _ in range(200):
                    with tf.name_scope("s"):
                        tf.identity(tf.constant(1.0, name="c"), name="i")

        threads = [threading.Thread(target=build) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        operations = graph.get_operations()
        assert len(operations) == 3200 and len({op.name for op in operations}) == 3200
        assert [op.id for op in operations] == list(range(3200))
        for op in operations:
            if op.type == "Identity":  # each thread has a name scope of its own
                assert op.inputs[0].op.name.split("/")[0] == op.name.split("/")[0]

    def test_building_scales(self):
        """100,000 operations of one name: unique, and the last as fast as the first."""
        times = []
        x = tf.constant(1.0)
        for _ in range(10):
            start = time.process_time()
            for _ in range(10_000):
                tf.identity(x, name="i")
            times.append(time.process_time() - start)
        operations = tf.get_default_graph().get_operations()
        assert len({op.name for op in operations}) == 100_001 and operations[-1].name == "i_99999"
        assert min(times[5:]) < 5 * min(times[:5])


class TestOperation:
    def test_properties(self):
        a, b = tf.ones([2, 2], name="a"), tf.ones([2, 2], name="b")
        with tf.control_dependencies([tf.no_op(name="n")]):
            m = tf.matmul(a, b, transpose_b=True, name="m")
        op = m.op
        assert (op.name, op.type, op.device, op.graph is tf.get_default_graph()) == ("m", "MatMul", "", True)
        assert list(op.inputs) == [a, b] and op.outputs == [m] and op.values() == (m,)
        assert [c.name for c in op.control_inputs] == ["n"] and op.control_inputs[0].control_outputs == [op]
        assert op.colocation_groups() == [b"loc:@m"]
        assert repr(op) == "<tf.Operation 'm' type=MatMul>"
        with pytest.raises(AttributeError):
            op.inputs = []

    def test_consumers(self):
        a = tf.constant(1.0)
        b, c = tf.identity(a), tf.add(a, a)
        assert a.consumers() == [b.op, c.op, c.op] and c.consumers() == []

    def test_attributes(self):
        x = tf.constant([1, 2])
        conv = tf.nn.conv2d(tf.ones([1, 4, 4, 1]), tf.ones([2, 2, 1, 1]), [1, 2, 2, 1], "SAME")
        attributes = [
            (x, "dtype", tf.int32),
            (tf.stack([x, x], 1), "N", 2),
            (tf.stack([x, x], 1), "axis", 1),
            (tf.cast(x, tf.float64), "SrcT", tf.int32),
            (tf.cast(x, tf.float64), "DstT", tf.float64),
            (tf.identity_n([x, tf.constant(1.0)])[0], "T", [tf.int32, tf.float32]),
            (conv, "strides", [1, 2, 2, 1]),
            (conv, "padding", b"SAME"),
            (conv, "data_format", b"NHWC"),
            (_ph([None, 3]), "shape", tf.TensorShape([None, 3])),
            (x[1:, None, ...], "begin_mask", 0),
            (x[1:, None, ...], "new_axis_mask", 2),
            (x[0], "shrink_axis_mask", 1),
        ]
        assert [t.op.get_attr(name) for t, name, _ in attributes] == [value for *_, value in attributes]
        with pytest.raises(ValueError, match="Operation 'Const' has no attr named 'nope'"):
            x.op.get_attr("nope")

    def test_node_def(self):
        parts = tf.split(tf.ones([2], name="o"), 2, name="sp")
        with tf.control_dependencies([tf.no_op(name="n")]), tf.device("/cpu:0"):
            y = tf.add(parts[1], parts[0], name="s")
        node = y.op.node_def
        assert (node.name, node.op, node.input) == ("s", "Add", ["sp:1", "sp", "^n"])
        assert node.device == "/device:CPU:0"

    def test_adding_control_inputs(self):
        a, b = tf.constant(1.0), tf.constant(2.0)
        b.op._add_control_input(a.op)
        b.op._add_control_inputs([a.op])
        assert b.op.control_inputs == [a.op]


class TestTensor:
    def test_text(self):
        texts = [
            str(t) for t in (_ph([2, None], name="a"), _ph(name="b"), _ph([], name="c"), _ph([3], name="d"))
        ]
        assert texts == [
            'Tensor("a:0", shape=(2, ?), dtype=float32)',
            'Tensor("b:0", dtype=float32)',
            'Tensor("c:0", shape=(), dtype=float32)',
            'Tensor("d:0", shape=(3,), dtype=float32)',
        ]
        assert repr(_ph([None], name="e")) == "<tf.Tensor 'e:0' shape=(?,) dtype=float32>"

    def test_identity(self):
        a, b = tf.constant(1.0), tf.constant(1.0)
        assert a == a and a != b and a != 1.0 and a in [b, a] and {a: 1}[a] == 1

    @pytest.mark.parametrize(
        ("use", "error", "text"),
        [
            (bool, TypeError, "as a Python `bool` is not allowed"),
            (lambda x: x and 1, TypeError, "as a Python `bool` is not allowed"),
            (lambda x: 1 < x < 3, TypeError, "as a Python `bool` is not allowed"),
            (list, TypeError, "Iterating over a"),
            (lambda x: list(x), TypeError, "Iterating over a"),
            (len, TypeError, "len is not well defined for"),
            (float, TypeError, "not 'Tensor'"),
            (int, TypeError, "not 'Tensor'"),
            (range, TypeError, "cannot be interpreted as an integer"),
            (np.array, NotImplementedError, "Cannot convert a symbolic Tensor"),
            (np.linalg.norm, TypeError, "does not work on a tensor"),
        ],
    )
    def test_it_has_no_value(self, use, error, text):
        with pytest.raises(error, match=text):
            use(tf.constant([1.0], name="x"))

    def test_set_shape(self):
        x, seen = _ph(), []
        for shape in ([None, 3], [2, None], None, tf.TensorShape([2, 3]), [tf.Dimension(2), 3]):
            x.set_shape(shape)
            seen.append(str(x.shape))
        assert seen == ["(?, 3)"] + ["(2, 3)"] * 4
        scalar = _ph()
        scalar.set_shape(())
        assert scalar.shape.ndims == 0

    @pytest.mark.parametrize(
        ("shape", "error", "text"),
        [
            ([3], ValueError, "Dimension 0 in both shapes must be equal, but are 2 and 3"),
            ([2, 3], ValueError, "Shapes must be equal rank, but are 1 and 2"),
            ([-1], ValueError, "must be >= 0"),
            ("a", TypeError, "integer or None"),
        ],
    )
    def test_a_shape_that_does_not_fit(self, shape, error, text):
        with pytest.raises(error, match=text):
            _ph([2]).set_shape(shape)


FLOATS = [tf.float16, tf.bfloat16, tf.float32, tf.float64]
INTEGERS = [tf.int8, tf.uint8, tf.int16, tf.int32, tf.int64]
COMPLEX = [tf.complex64, tf.complex128]


class TestOperators:
    @pytest.mark.parametrize("dtype", FLOATS + INTEGERS + COMPLEX, ids=lambda t: t.name)
    def test_python_and_numpy_operands_take_the_tensors_dtype(self, dtype):
        x = tf.constant([6, 7], dtype)
        ones = np.ones(2, dtype.as_numpy_dtype)
        results = [
            x + 1,
            1 + x,
            2 * x,
            x - ones,
            ones * x,
            x * np.ones(2),
            np.ones(2) + x,
            x + tf.Variable(ones),
        ]
        assert {t.dtype for t in results} == {dtype}
        values = [v.astype(np.complex128).tolist() for v in map(_run, results[:-1])]
        assert values == [[7, 8], [7, 8], [12, 14], [5, 6], [6, 7], [6, 7], [7, 8]]

    @pytest.mark.parametrize(
        ("dtype", "quotient"),
        [
            ("int8", "float32"),
            ("uint16", "float32"),
            ("int32", "float64"),
            ("int64", "float64"),
            ("float16", "float16"),
        ],
    )
    def test_true_division(self, dtype, quotient):
        x = _ph([2], dtype)
        assert (x / 2).dtype == (2 / x).dtype == quotient
        assert _run(x / 2, {x: [1, 3]}).tolist() == [0.5, 1.5]

    def test_floor_division_and_remainder(self):
        x, n = tf.constant([7.5, -7.5]), tf.constant([7, -7])
        assert _run([x // 2, x % 2, n // 2, n % 2, 7 // n, 20 % n])[0].tolist() == [3.0, -4.0]
        assert [v.tolist() for v in _run([x % 2, n // 2, n % 2, 20 % n])] == [
            [1.5, 0.5],
            [3, -4],
            [1, 1],
            [6, -1],
        ]

    def test_numpy_scalars_are_cast(self):
        n = _ph([2], tf.int32)
        assert (n + np.float32(1.5)).dtype == (np.float64(2.0) * n).dtype == tf.int32
        assert (np.float64(1.5) * _ph([2])).dtype == tf.float32
        assert (_ph([2]) + True).dtype == tf.float32

    @pytest.mark.parametrize(
        "build",
        [
            lambda x, n: n + 1.5,
            lambda x, n: 1.5 + n,
            lambda x, n: x + n,
            lambda x, n: x + "a",
            lambda x, n: "a" + x,
            lambda x, n: x * 1j,
            lambda x, n: n + 2**40,
            lambda x, n: _ph([2], tf.uint8) - (-1),
            lambda x, n: _ph([2], tf.bool) + True,
            lambda x, n: _ph([2], tf.complex64) < 1,
            lambda x, n: _ph([2], tf.bool) < True,
            lambda x, n: ~x,
            lambda x, n: x & x,
            lambda x, n: -_ph([2], tf.bool),
            lambda x, n: -_ph([2], tf.string),
            lambda x, n: +x,
            lambda x, n: x << 1,
            lambda x, n: divmod(x, 2),
            lambda x, n: x + {1, 2},
        ],
    )
    def test_operands_that_do_not_fit(self, build):
        with pytest.raises(TypeError):
            build(_ph([2]), _ph([2], tf.int32))

    def test_none_is_no_operand(self):
        for build in (lambda: _ph([2]) + None, lambda: None * _ph([2])):
            with pytest.raises((TypeError, ValueError)):
                build()

    def test_shapes_that_do_not_fit(self):
        with pytest.raises(ValueError, match="Dimensions must be equal, but are 2 and 3"):
            _ph([2]) + _ph([3])
        with pytest.raises(ValueError, match="Dimensions must be equal, but are 3 and 4"):
            _ph([2, 3]) @ _ph([4, 4])

    def test_names_and_types(self):
        x = _ph([2])
        made = [x + 1, 1 - x, x * 2, x / 2, x // 2, x % 2, x**2, -x, abs(x), x < 1, x > 1, x <= 1, x >= 1]
        assert [t.op.name for t in made] == (
            [
                "add",
                "sub",
                "mul",
                "truediv",
                "floordiv",
                "mod",
                "pow",
                "Neg",
                "Abs",
                "Less",
                "Greater",
                "LessEqual",
                "GreaterEqual",
            ]
        )
        assert [t.op.type for t in made] == (
            [
                "AddV2",
                "Sub",
                "Mul",
                "RealDiv",
                "FloorDiv",
                "FloorMod",
                "Pow",
                "Neg",
                "Abs",
                "Less",
                "Greater",
                "LessEqual",
                "GreaterEqual",
            ]
        )
        assert made[0].op.inputs[1].name == "add/y:0" and made[1].op.inputs[0].name == "sub/x:0"

    def test_logic_and_bits(self):
        p, n = tf.constant([True, False]), tf.constant([6, 5])
        results = [p & True, True & p, p | p, p ^ True, ~p, n & 3, n | 1, n ^ n, ~n]
        assert [v.tolist() for v in _run(results)] == [
            [True, False],
            [True, False],
            [True, False],
            [False, True],
            [False, True],
            [2, 1],
            [7, 5],
            [0, 0],
            [-7, -6],
        ]

    def test_text(self):
        s = tf.constant(["a", "b"])
        assert _run([s + "x", "x" + s])[0].tolist() == [b"ax", b"bx"] and _run("x" + s).tolist() == [
            b"xa",
            b"xb",
        ]

    def test_matrix_products(self):
        x = tf.constant([[1.0, 2.0]])
        for product in (
            x @ [[1.0], [2.0]],
            np.array([[1.0, 2.0]]) @ tf.transpose(x),
            x @ np.array([[1.0], [2.0]]),
        ):
            assert product.dtype == tf.float32 and _run(product).tolist() == [[5.0]]

    def test_complex_modulus(self):
        assert abs(_ph([2], tf.complex64)).dtype == tf.float32 and abs(_ph([2], tf.int32)).dtype == tf.int32

    @pytest.mark.parametrize("operand", [[1, 2], (1, 2), [1.5, 2]])
    def test_lists_and_tuples(self, operand):
        x = _ph([2])
        assert (x + operand).dtype == (operand + x).dtype == (operand * x).dtype == tf.float32


UFUNCS = [np.exp, np.sqrt, np.tanh, np.negative, np.floor, np.square, np.sign, np.isnan, np.log1p, np.cos]
FUNCTIONS = {
    "sum": lambda x: np.sum(x, axis=1),
    "mean": np.mean,
    "max": lambda x: np.max(x, axis=0, keepdims=True),
    "transpose": np.transpose,
    "reshape": lambda x: np.reshape(x, [3, 2]),
    "clip": lambda x: np.clip(x, 1.0, 4.0),
    "argmax": lambda x: np.argmax(x, axis=1),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "where": lambda x: np.where(x > 2.0, x, 0.0),
    "stack": lambda x: np.stack([x, x]),
    "concatenate": lambda x: np.concatenate([x, x], axis=1),
    "maximum": lambda x: np.maximum(x, 2.0),
    "dot": lambda x: np.dot(x, np.ones((3, 2))),
    "squeeze": lambda x: np.squeeze(np.expand_dims(x, 0)),
    "tile": lambda x: np.tile(x, [2, 1]),
}


class TestNumpyFunctions:
    data = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])

    @pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
    def test_ufuncs(self, ufunc):
        result = ufunc(tf.constant(self.data))
        assert isinstance(result, tf.Tensor)
        np.testing.assert_allclose(_run(result), ufunc(self.data))

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_functions(self, name):
        result = FUNCTIONS[name](tf.constant(self.data))
        assert isinstance(result, tf.Tensor)
        np.testing.assert_allclose(_run(result), FUNCTIONS[name](self.data))

    @pytest.mark.parametrize(
        "use", [lambda x: np.add(x, x, out=np.zeros(1)), lambda x: np.add.reduce(x), np.median, np.spacing]
    )
    def test_what_has_no_meaning(self, use):
        with pytest.raises(TypeError, match="a tensor"):
            use(tf.constant([1.0]))


INDICES = {
    "row": np.s_[1],
    "last": np.s_[-1],
    "range": np.s_[1:3],
    "reversed": np.s_[::-1],
    "steps": np.s_[::-2],
    "down": np.s_[3:0:-2],
    "beyond": np.s_[2:99],
    "empty": np.s_[3:3],
    "two": np.s_[1, ::2],
    "ellipsis": np.s_[..., 0],
    "middle": np.s_[0, ..., -1:],
    "new_axis": np.s_[:, None, 1],
    "new_axes": np.s_[None, ..., None],
    "all": np.s_[...],
    "none": (),
    "mixed": np.s_[-1:, None, ::-1, ..., 2],
    "numpy": (np.int64(1), np.array(2)),
}


class TestIndexing:
    data = np.arange(60).reshape(4, 3, 5)

    @pytest.mark.parametrize("case", INDICES)
    def test_as_numpy(self, case):
        x = tf.constant(self.data)
        y = x[INDICES[case]]
        expected = self.data[INDICES[case]]
        assert y.shape == list(expected.shape) and np.array_equal(_run(y), expected)

    @pytest.mark.parametrize("case", INDICES)
    def test_with_unknown_sizes(self, case):
        expected = self.data[INDICES[case]]
        for shape in ([None, 3, 5], [None, None, None]):
            x = _ph(shape, tf.int64)
            y = x[INDICES[case]]
            assert y.shape.is_compatible_with(expected.shape) and y.shape.ndims == expected.ndim
            assert np.array_equal(_run(y, {x: self.data}), expected)

    @pytest.mark.parametrize(
        ("key", "shape"),
        [
            (np.s_[1:3], [None]),
            (np.s_[0], []),
            (np.s_[::-1], [None]),
            (np.s_[..., None], [None, 1]),
        ],
    )
    def test_static_shapes_of_an_unknown_size(self, key, shape):
        assert _ph([None])[key].shape.as_list() == shape

    def test_tensors_as_bounds(self):
        x = tf.constant(self.data)
        one, three = tf.constant(1), tf.constant(3, tf.int64)
        assert np.array_equal(_run(x[one]), self.data[1])
        assert np.array_equal(_run(x[:, one : tf.constant(3)]), self.data[:, 1:3])
        assert np.array_equal(_run(x[tf.constant(3) : tf.constant(0) : tf.constant(-2)]), self.data[3:0:-2])
        assert x[three].shape == [3, 5] and x[:, : tf.Dimension(2)].shape == [4, 2, 5]
        i = _ph([], tf.int32)
        y = x[i:, i]
        assert y.shape.as_list() == [None, 5] and np.array_equal(_run(y, {i: 2}), self.data[2:, 2])

    def test_masks(self):
        x, mask = tf.constant([1.0, 2.0, 3.0]), tf.constant([True, False, True])
        assert _run(x[mask]).tolist() == [1.0, 3.0]

    @pytest.mark.parametrize(
        ("key", "error", "text"),
        [
            (0.5, TypeError, "Only integers, slices"),
            ("a", TypeError, "Only integers, slices"),
            (np.array([0, 1]), TypeError, "Only integers, slices"),
            (np.s_[0, 0, 0, 0], ValueError, "Index out of range using input dim 3; input has only 3 dims"),
            (np.s_[..., ...], ValueError, "Multiple ellipses in slice spec not allowed"),
            (np.s_[:, 7], ValueError, "slice index 7 of dimension 1 out of bounds"),
            (np.s_[:, -7], ValueError, "of dimension 1 out of bounds"),
            (np.s_[::0], ValueError, "must be non-zero"),
        ],
    )
    def test_bad_keys(self, key, error, text):
        with pytest.raises(error, match=text):
            _ph([4, 3, 5])[key]

    def test_a_scalar_has_no_elements(self):
        with pytest.raises(ValueError, match=r"scalar|has only 0 dims"):
            _ph([])[0]
        assert _ph([])[...].shape.ndims == 0 and _ph([])[None].shape == [1]

    def test_unknown_rank(self):
        x = _ph()
        assert [x[k].shape.ndims for k in (0, np.s_[:2], np.s_[..., 0])] == [None] * 3
        assert _run(x[..., 0], {x: [[1.0, 2.0], [3.0, 4.0]]}).tolist() == [1.0, 3.0]


def test_half_types_keep_their_dtype_through_numpy():
    x = tf.constant([1.5], tf.bfloat16)
    assert (np.array([2.0], ml_dtypes.bfloat16) * x).dtype == tf.bfloat16
    assert dtypes.of_numpy(_run(x).dtype) is dtypes.bfloat16
