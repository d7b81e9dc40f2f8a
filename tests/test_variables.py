"""Variables in all their forms; names, orders and values are TensorFlow's."""

# Wrong arguments are the subject of many tests here.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportUnusedExpression=false

from __future__ import annotations

import threading

import numpy as np
import pytest

import tahr as tf
from tahr.core import scopes

Variable = tf.Variable
BOTH = pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])


@pytest.fixture(autouse=True)
def strict():
    """TensorFlow's behaviour: a variable must be initialized before it is read."""
    before = scopes.is_strict()
    scopes.set_strict(True)
    yield
    scopes.set_strict(before)


def _run(*fetches, feed=None):
    """Values fetched one after the other from one session, after initialization."""
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        results = [session.run(fetch, feed) for fetch in fetches]
    return [r.tolist() if isinstance(r, np.ndarray | np.generic) else r for r in results]


def _operations():
    return [(op.name, op.type) for op in tf.get_default_graph().get_operations()]


class TestMaking:
    def test_a_reference_variable(self):
        v = Variable(1.0, name="v")
        assert _operations() == [
            ("v/initial_value", "Const"),
            ("v", "VariableV2"),
            ("v/Assign", "Assign"),
            ("v/read", "Identity"),
        ]
        assert (v.name, v.op.name, v.op.type, v.shape) == ("v:0", "v", "VariableV2", [])
        assert v.dtype == tf.float32.ref_dtype and v.dtype.name == "float32_ref" and v.dtype != tf.float32
        assert v.dtype.base_dtype == tf.float32 == v.value().dtype and v._ref().dtype.name == "float32_ref"
        assert v.op.get_attr("dtype") == tf.float32 and v.op.outputs[0].dtype.name == "float32_ref"
        assert str(v) == repr(v) == "<tf.Variable 'v:0' shape=() dtype=float32_ref>"
        with pytest.raises(AttributeError):
            _ = v.handle

    def test_a_resource_variable(self):
        v = Variable(1.0, name="v", use_resource=True)
        assert _operations() == [
            ("v/Initializer/initial_value", "Const"),
            ("v", "VarHandleOp"),
            ("v/IsInitialized/VarIsInitializedOp", "VarIsInitializedOp"),
            ("v/Assign", "AssignVariableOp"),
            ("v/Read/ReadVariableOp", "ReadVariableOp"),
        ]
        assert v.dtype == tf.float32 and v.handle.dtype == tf.resource
        assert (v.name, v.value().name, v.read_value().op.type) == ("v:0", "ReadVariableOp:0", "Identity")

    def test_a_function_gives_the_initial_value(self):
        v = Variable(lambda: tf.constant(1.0), name="v")
        assert ("v/Initializer/Const", "Const") in _operations() and v.initial_value.shape == []
        assert Variable(lambda: 1.0, name="w").initial_value.name == "w/Initializer/initial_value:0"

    @BOTH
    @pytest.mark.parametrize(
        ("value", "dtype", "found", "shape"),
        [
            (1, None, "int32", []),
            ([1, 2], None, "int32", [2]),
            (np.ones(2), None, "float64", [2]),
            ("a", None, "string", []),
            (True, None, "bool", []),
            (1j, None, "complex128", []),
            (1, tf.float32, "float32", []),
            (1.0, tf.float64, "float64", []),
            (1.0, "float16", "float16", []),
            (np.zeros((0, 3)), None, "float64", [0, 3]),
        ],
    )
    def test_dtypes_and_shapes(self, value, dtype, found, shape, resource):
        v = Variable(value, dtype=dtype, use_resource=resource)
        assert (v.dtype.base_dtype.name, v.get_shape().as_list()) == (found, shape)
        expected = np.asarray(value).astype(object if found == "string" else found)
        assert np.array_equal(_run(v)[0], expected.tolist() if found != "string" else b"a")

    def test_a_tensor_gives_the_initial_value(self):
        v = Variable(tf.zeros([2, 3]), name="v")
        assert v.initial_value.op.type == "Fill" or v.initial_value.op.type == "Const"
        assert v.shape == [2, 3] and Variable(v.initialized_value() + 1.0).shape == [2, 3]

    def test_names(self):
        assert [Variable(1.0, name=n).name for n in ("v", "v", "V", None, None)] == [
            "v:0",
            "v_1:0",
            "V_2:0",
            "Variable:0",
            "Variable_1:0",
        ]
        with tf.name_scope("s"):
            v = Variable(1.0, name="v")
        names = [v.name, v.initializer.name, v.value().name, v.initial_value.name]
        assert names == ["s/v:0", "s/v/Assign", "s/v/read:0", "s/v/initial_value:0"]

    @pytest.mark.parametrize(
        ("make", "error", "text"),
        [
            (lambda: Variable(None), ValueError, "initial_value must be specified"),
            (
                lambda: Variable(tf.placeholder(tf.float32)),
                ValueError,
                "initial_value must have a shape specified",
            ),
            (
                lambda: Variable(tf.placeholder(tf.float32, [None, 3])),
                ValueError,
                "initial_value must have a shape specified",
            ),
            (lambda: Variable(1.0, collections="x"), ValueError, "must be a list, tuple, or set"),
            (lambda: Variable(1.0, constraint=3), ValueError, "`constraint` argument must be a callable"),
            (lambda: Variable(1.5, dtype=tf.int32), TypeError, "Expected int32"),
            (
                lambda: Variable(tf.zeros([2]), dtype=tf.int32),
                ValueError,
                "Tensor conversion requested dtype int32",
            ),
            (lambda: Variable(1.0, shape=[2]), ValueError, "Shapes must be equal rank, but are 1 and 0"),
            (lambda: Variable([[1], [2, 3]]), ValueError, "ragged"),
        ],
    )
    def test_bad_arguments(self, make, error, text):
        with pytest.raises(error, match=text):
            make()

    def test_a_shape_that_is_not_validated(self):
        x = tf.placeholder(tf.float32, [None, 2])
        v = Variable(x, validate_shape=False)
        assert v.shape.ndims is None
        v.set_shape([None, None])
        assert v.shape.as_list() == [None, None] == v.value().shape.as_list()
        with tf.Session() as session:
            session.run(v.initializer, {x: [[1.0, 2.0]]})
            assert session.run(v).shape == (1, 2)
            session.run(tf.assign(v, [[1.0], [2.0], [3.0]], validate_shape=False))
            assert session.run(tf.shape(v)).tolist() == [3, 1]

    def test_a_less_precise_shape(self):
        assert Variable(tf.zeros([2, 3]), shape=[None, 3]).shape.as_list() == [None, 3]
        with pytest.raises(ValueError, match="Shapes must be equal rank"):
            Variable(1.0).set_shape([2])

    def test_collections(self):
        a = Variable(1.0)
        b = Variable(1.0, trainable=False)
        c = Variable(1.0, collections=["x"], trainable=True)
        d = Variable(1.0, collections=[tf.GraphKeys.LOCAL_VARIABLES], trainable=False)
        e = Variable(1.0, collections=[], trainable=False)
        assert tf.global_variables() == [a, b] and tf.trainable_variables() == [a, c]
        assert tf.get_collection("x") == [c] and tf.local_variables() == [d] and e.graph is a.graph
        assert [v.trainable for v in (a, b)] == [True, False]
        assert Variable(1.0, constraint=abs).constraint is abs

    def test_a_finalized_graph(self):
        tf.get_default_graph().finalize()
        with pytest.raises(RuntimeError, match="Graph is finalized"):
            Variable(1.0)

    def test_slices_of_a_partitioned_variable(self):
        with tf.variable_scope("p", partitioner=tf.fixed_size_partitioner(2)):
            w = tf.get_variable("w", [4, 2], initializer=tf.ones_initializer())
        assert [v.name for v in tf.global_variables()] == ["p/w/part_0:0", "p/w/part_1:0"]
        assert (w.name, w.get_shape()) == ("p/w", [4, 2])
        assert [v._get_save_slice_info().spec for v in w] == ["4 2 0,2:0,2", "4 2 2,2:0,2"]
        assert _run(tf.convert_to_tensor(w)) == [np.ones((4, 2)).tolist()]


class TestInitializing:
    @BOTH
    def test_uninitialized(self, resource):
        v = Variable(1.0, name="v", use_resource=resource)
        with tf.Session() as session:
            for fetch in (v, v + 1.0, v.assign_add(1.0), v.read_value()):
                with pytest.raises(
                    tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value v"
                ):
                    session.run(fetch)
            assert session.run(tf.is_variable_initialized(v)) == np.False_
            assert session.run(v.initialized_value()) == 1.0
            session.run(v.initializer)
            assert session.run(tf.is_variable_initialized(v)) == np.True_
            session.run(v.assign(3.0))
            assert session.run(v.initialized_value()) == 3.0

    def test_tutorial_behaviour(self):
        scopes.set_strict(False)
        with tf.Session() as session:
            assert session.run(Variable([1.0, 2.0]) * 2.0).tolist() == [2.0, 4.0]

    def test_reporting(self):
        v, w = Variable(1.0, name="v"), Variable(1.0, name="s/w")
        report = tf.report_uninitialized_variables()
        assert report.dtype == tf.string
        with tf.Session() as session:
            assert session.run(report).tolist() == [b"v", b"s/w"]
            session.run(v.initializer)
            assert session.run(report).tolist() == [b"s/w"]
            assert session.run(tf.report_uninitialized_variables([v])).tolist() == []
            session.run(w.initializer)
            assert session.run(report).tolist() == []

    def test_reporting_nothing(self):
        assert tf.Session().run(tf.report_uninitialized_variables()).tolist() == []

    def test_one_from_another(self):
        v = Variable(tf.random_normal([2], seed=1), name="v")
        w = Variable(v.initialized_value() * 2.0, name="w")
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            x, y = session.run([v, w])
            assert (y == 2.0 * x).all()

    def test_initializers(self):
        assert tf.global_variables_initializer().type == "NoOp"
        v = Variable(1.0, name="v")
        assert tf.global_variables_initializer().control_inputs == [v.initializer]
        assert tf.variables_initializer([], name="nothing").name == "nothing"
        with pytest.raises(AttributeError):
            tf.variables_initializer([tf.constant(1.0)])


class TestWriting:
    @BOTH
    def test_assign(self, resource):
        v = Variable(1.0, use_resource=resource)
        fetches = (v, v.assign_add(1.0), v, v.assign_sub(3.0), v, tf.assign(v, 7.0), v, tf.assign_add(v, 1.0))
        assert _run(*fetches) == [1.0, 2.0, 2.0, -1.0, -1.0, 7.0, 7.0, 8.0]

    @BOTH
    def test_the_operation_alone(self, resource):
        v = Variable(1.0, use_resource=resource)
        for write in (v.assign(2.0, read_value=False), v.assign_add(2.0, read_value=False)):
            assert isinstance(write, tf.Operation)
            assert _run(write, v)[0] is None

    def test_what_an_assignment_is(self):
        v = Variable(1.0, name="v")
        made = [v.assign(2.0), v.assign_add(2.0), v.assign_sub(2.0)]
        assert [(t.name, t.dtype.name) for t in made] == [
            ("Assign:0", "float32_ref"),
            ("AssignAdd:0", "float32_ref"),
            ("AssignSub:0", "float32_ref"),
        ]

    @BOTH
    def test_values_that_do_not_fit(self, resource):
        v = Variable([1.0, 2.0], use_resource=resource)
        for value in ([1.0, 2.0, 3.0], 3.0, [[1.0, 2.0]]):
            with pytest.raises(ValueError, match=r"must be equal|incompatible"):
                v.assign(value)
        for value in ("a", tf.constant([1, 2]), None):
            with pytest.raises((TypeError, ValueError)):
                v.assign(value)

    def test_only_variables_are_written(self):
        with pytest.raises(TypeError, match="only variables can be assigned to"):
            tf.assign(tf.constant(1.0), 2.0)

    @BOTH
    def test_scattering(self, resource):
        v = Variable([[1.0, 2.0], [3.0, 4.0]], use_resource=resource)

        def rows(values, indices):
            return tf.IndexedSlices(tf.constant(values), tf.constant(indices))

        writes = [
            (v.scatter_add(rows([[1.0, 1.0]], [1])), [[1.0, 2.0], [4.0, 5.0]]),
            (v.scatter_update(rows([[5.0, 6.0]], [0])), [[5.0, 6.0], [4.0, 5.0]]),
            (v.scatter_sub(rows([[1.0, 1.0], [1.0, 1.0]], [0, 0])), [[3.0, 4.0], [4.0, 5.0]]),
            (v.scatter_mul(rows([[2.0, 2.0]], [0])), [[6.0, 8.0], [4.0, 5.0]]),
            (v.scatter_div(rows([[2.0, 4.0]], [0])), [[3.0, 2.0], [4.0, 5.0]]),
            (v.scatter_max(rows([[7.0, 0.0]], [1])), [[3.0, 2.0], [7.0, 5.0]]),
            (v.scatter_min(rows([[0.0, 9.0]], [1])), [[3.0, 2.0], [0.0, 5.0]]),
            (tf.scatter_update(v, [], np.zeros((0, 2))), [[3.0, 2.0], [0.0, 5.0]]),
        ]
        assert _run(*(write for write, _ in writes)) == [result for _, result in writes]

    def test_scattering_elements(self):
        v = Variable([[1.0, 2.0], [3.0, 4.0]])
        assert _run(
            v.scatter_nd_add([[0, 1]], [9.0]),
            v.scatter_nd_sub([[0, 1]], [1.0]),
            v.scatter_nd_update([[0]], [[5.0, 6.0]]),
        ) == [[[1.0, 11.0], [3.0, 4.0]], [[1.0, 10.0], [3.0, 4.0]], [[5.0, 6.0], [3.0, 4.0]]]

    def test_bad_scattering(self):
        v = Variable([1.0, 2.0])
        with pytest.raises(TypeError, match="sparse_delta is not IndexedSlices"):
            v.scatter_add(tf.constant(1.0))
        with pytest.raises(ValueError, match=r"updates\.shape"):
            tf.scatter_update(v, [0, 1], [5.0, 6.0, 7.0])
        for index in (2, -1):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match=rf"indices\[0\] = {index} is not in \[0, 2\)"
            ):
                _run(tf.scatter_update(v, [index], [5.0]))

    def test_counting(self):
        v = Variable(0)
        count = v.count_up_to(2)
        assert _run(count, v, count) == [0, 1, 1]
        with pytest.raises(tf.errors.OutOfRangeError, match="Reached limit of 2"):
            _run(count, count, tf.count_up_to(v, 2))
        with pytest.raises(
            TypeError, match="has DataType float32 not in list of allowed values: int32, int64"
        ):
            Variable(1.0).count_up_to(3)

    @BOTH
    def test_loading(self, resource):
        v = Variable(1.0, use_resource=resource)
        with tf.Session() as session:
            session.run(v.initializer)
            v.load(5.0, session)
            assert v.eval(session) == 5.0 == v.eval()
            v.load(6.0)
            assert session.run(v) == 6.0
            with pytest.raises(ValueError, match="Cannot feed value of shape"):
                v.load([1.0, 2.0], session)
        with pytest.raises(ValueError, match="session"):
            v.load(2.0)

    @BOTH
    def test_control_dependencies_order_new_reads(self, resource):
        v = Variable(1.0, use_resource=resource)
        with tf.control_dependencies([v.assign(5.0)]):
            read = v.read_value()
        assert _run(read) == [5.0]

    def test_threads_lose_no_update(self):
        v = Variable(0)
        add = v.assign_add(1).op
        with tf.Session() as session:
            session.run(v.initializer)
            threads = [
                threading.Thread(target=lambda: [session.run(add) for _ in range(50)]) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert session.run(v) == 200


class TestInRegions:
    @BOTH
    def test_read_in_a_loop(self, resource):
        v = Variable(3.0, use_resource=resource)
        result = tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * v), [0, tf.constant(1.0)])
        assert _run(result[1]) == [27.0]

    @BOTH
    def test_written_in_a_loop(self, resource):
        v = Variable(1.0, use_resource=resource)

        def body(i):
            with tf.control_dependencies([v.assign_add(2.0)]):
                return i + 1

        assert _run(tf.while_loop(lambda i: i < 3, body, [0]), v) == [3, 7.0]

    @BOTH
    def test_written_in_a_branch(self, resource):
        v = Variable(1.0, use_resource=resource)
        taken = tf.placeholder(tf.bool, [])
        result = tf.cond(taken, lambda: v.assign_add(1.0), lambda: v.assign_sub(1.0))
        assert _run(result, v, feed={taken: True}) == [2.0, 2.0]
        assert _run(result, v, feed={taken: False}) == [0.0, 0.0]

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Variable(2.0),
            lambda: Variable(lambda: tf.constant(2.0)),
            lambda: Variable(2.0, use_resource=True),
            lambda: tf.get_variable("w", [], initializer=tf.constant_initializer(2.0)),
        ],
    )
    def test_made_in_a_loop(self, make):
        result = tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * make()), [0, tf.constant(1.0)])
        assert len(tf.global_variables()) == 1 and tf.global_variables()[0].op.region is None
        assert _run(result[1]) == [8.0]

    def test_not_made_from_a_loops_tensor(self):
        with pytest.raises(ValueError, match="from inside a control-flow construct"):
            tf.while_loop(lambda x: x < 3.0, lambda x: x + Variable(x), [tf.constant(1.0)])


class TestAsTensors:
    @BOTH
    def test_operators(self, resource):
        v = Variable([[6.0, 7.0]], use_resource=resource)
        results = [
            v + 1,
            1 - v,
            v * 2.0,
            2.0 * v,
            v / 2,
            v // 4,
            v % 4,
            v**2,
            -v,
            abs(-v),
            v @ [[1.0], [1.0]],
            v < 7,
        ]
        assert _run(*results) == [
            [[7.0, 8.0]],
            [[-5.0, -6.0]],
            [[12.0, 14.0]],
            [[12.0, 14.0]],
            [[3.0, 3.5]],
            [[1.0, 1.0]],
            [[2.0, 3.0]],
            [[36.0, 49.0]],
            [[-6.0, -7.0]],
            [[6.0, 7.0]],
            [[13.0]],
            [[True, False]],
        ]

    @BOTH
    def test_beside_arrays_and_tensors(self, resource):
        v = Variable([1.0], use_resource=resource)
        for sum_ in (v + np.ones(1), np.ones(1) + v, tf.ones([1]) + v, v + tf.ones([1]), v + Variable([1.0])):
            assert sum_.dtype == tf.float32 and _run(sum_) == [[2.0]]
        assert _run(np.exp(v - 1.0), np.sum(v)) == [[1.0], 1.0]
        assert (Variable(1) / 2).dtype == tf.float64
        with pytest.raises(TypeError, match="does not match type int32"):
            Variable(1) + 1.5
        p = Variable(True, use_resource=resource)
        assert _run(p & False, ~p, p | False, p ^ True) == [False, False, True, False]

    @BOTH
    def test_indexing(self, resource):
        v = Variable([[1.0, 2.0], [3.0, 4.0]], use_resource=resource)
        assert _run(v[0], v[:, ::-1], v[..., None][1], v[tf.constant(1), 0]) == [
            [1.0, 2.0],
            [[2.0, 1.0], [4.0, 3.0]],
            [[3.0], [4.0]],
            3.0,
        ]
        assert _run(v.sparse_read([1]), v.gather_nd([[0, 1]])) == [[[3.0, 4.0]], [2.0]]
        with pytest.raises(ValueError, match="slice index 5 of dimension 0 out of bounds"):
            v[5]

    def test_conversion(self):
        v = Variable(1.0, name="v")
        assert tf.convert_to_tensor(v).name == "v/read:0" and tf.identity(v).op.inputs[0].name == "v/read:0"
        assert tf.stack([v, v]).shape == [2] and tf.add_n([v, v]).shape == []

    def test_as_a_python_value(self):
        v = Variable([1.0])
        assert bool(v) is True  # as any object: `if bias:` asks whether there is one
        assert v == v and v != Variable([1.0]) and v != 1.0 and {v: 1}[v] == 1
        for use in (list, len, float):
            with pytest.raises(TypeError):
                use(v)

    @BOTH
    def test_gradients(self, resource):
        v = Variable(3.0, use_resource=resource)
        assert _run(tf.gradients(v * v, v)[0], tf.gradients(v * v, [v])[0]) == [6.0, 6.0]
        assert tf.gradients(v + 1.0, Variable(1.0)) == [None]

    def test_feeding(self):
        v = Variable(1.0, name="v")
        assert _run(v + 1.0, feed={v.value(): 5.0}) == [6.0]
        assert _run(v * 2.0, feed={"v:0": 5.0}) == [10.0]
        assert _run(["v:0"]) == [[1.0]]

    def test_another_graph(self):
        with tf.Graph().as_default() as graph:
            v = Variable(1.0)
        assert (v + 1.0).graph is graph
        with pytest.raises(ValueError, match="must be from the same graph"):
            tf.constant(1.0) + v


def test_slice_info():
    info = Variable.SaveSliceInfo("w", [4, 2], [2, 0], [2, 2])
    assert (info.full_name, info.spec) == ("w", "4 2 2,2:0,2")


# ---------------------------------------------------------------- initial values made of other variables


@pytest.mark.parametrize("initial", [1.0, "a tensor"])
def test_an_initial_value_made_of_a_variable_that_is_not_initialized(initial):
    a = tf.Variable(tf.random_normal([2]) if initial == "a tensor" else [initial] * 2)
    b = tf.Variable(tf.square(a) + 1.0, name="b")
    # As recorded from TensorFlow, but for what a cond is made of.
    assert {"b/IsVariableInitialized", "b/cond/Merge", "Variable/read_b", "Square_b", "add_b"} <= {
        op.name for op in b.graph.get_operations()
    }
    assert b.initial_value.name == "add:0"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found, made = session.run([a, b])
        np.testing.assert_allclose(made, found**2 + 1.0, rtol=1e-6)
        session.run(a.assign([3.0, 4.0]))
        session.run(b.initializer)
        assert session.run(b).tolist() == [10.0, 17.0]


def test_an_initializer_alone_takes_the_other_variables_initial_value():
    a = tf.Variable(tf.constant(1.0))
    b = tf.Variable(a + 1.0)
    with tf.Session() as session:
        session.run(b.initializer)
        assert session.run(b) == 2.0
        with pytest.raises(tf.errors.FailedPreconditionError):
            session.run(a)


def test_resource_variables_are_not_replaced():
    a = tf.Variable(tf.constant(1.0), use_resource=True)
    b = tf.Variable(a + 1.0, use_resource=True)
    with tf.Session() as session, pytest.raises(tf.errors.FailedPreconditionError):
        session.run(b.initializer)
