"""Default graphs, name scopes, control blocks, devices and collections."""

# Wrong arguments are the subject of many tests here.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportUnusedExpression=false

from __future__ import annotations

import threading

import pytest

import tahr as tf
from tahr.core import scopes


def _name(name=None):
    return tf.constant(1.0, name=name).op.name if name else tf.constant(1.0).op.name


def _controls(tensor):
    return [op.name for op in tensor.op.control_inputs]


@pytest.fixture
def strict():
    before = scopes.is_strict()
    scopes.set_strict(True)
    yield
    scopes.set_strict(before)


class TestDefaultGraph:
    def test_a_stack(self):
        base, other = tf.get_default_graph(), tf.Graph()
        with other.as_default() as entered:
            assert entered is other is tf.get_default_graph()
            with base.as_default():
                assert tf.get_default_graph() is base
            assert tf.get_default_graph() is other
        assert tf.get_default_graph() is base

    def test_each_thread_has_its_own(self):
        base, seen = tf.get_default_graph(), []
        with tf.Graph().as_default():
            thread = threading.Thread(target=lambda: seen.append(tf.get_default_graph()))
            thread.start()
            thread.join()
        assert seen == [base]

    def test_resetting(self):
        before = tf.get_default_graph()
        tf.reset_default_graph()
        assert tf.get_default_graph() is not before
        with tf.Graph().as_default(), pytest.raises(AssertionError, match="to clear nested graphs"):
            tf.reset_default_graph()

    def test_leaving_in_another_order(self):
        outer, inner = tf.Graph().as_default(), tf.Graph().as_default()
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(AssertionError, match="Nesting violated"):
            outer.__exit__(None, None, None)
        inner.__exit__(None, None, None)
        outer.__exit__(None, None, None)

    def test_the_tutorials_bare_call(self):
        graph = tf.Graph()
        graph.as_default()
        assert tf.get_default_graph() is graph

    def test_an_error_inside_leaves_it(self):
        base = tf.get_default_graph()
        with pytest.raises(KeyError), tf.Graph().as_default():
            raise KeyError
        assert tf.get_default_graph() is base

    @pytest.mark.usefixtures("strict")
    def test_the_bare_call_when_strict(self):
        base = tf.get_default_graph()
        tf.Graph().as_default()
        assert tf.get_default_graph() is base


class TestNames:
    def test_unique_ones_do_not_look_at_case(self):
        assert [_name(n) for n in ("a", "A", "a", "a_1", "a")] == ["a", "A_1", "a_2", "a_1_1", "a_3"]
        graph = tf.get_default_graph()
        assert graph.unique_name("a") == "a_4"
        assert (
            graph.unique_name("a", mark_as_used=False) == graph.unique_name("a", mark_as_used=False) == "a_5"
        )

    def test_scopes_are_unique_too(self):
        names = []
        for scope in ("s", "s", "S", "s_1/"):
            with tf.name_scope(scope) as prefix:
                names += [prefix, _name("x")]
        assert names == ["s/", "s/x", "s_1/", "s_1/x", "S_2/", "S_2/x", "s_1/", "s_1/x_1"]
        assert [_name("s"), _name("s_1/x")] == ["s_3", "s_1/x_2"]

    def test_nesting_and_jumping(self):
        with tf.name_scope("a") as a, tf.name_scope("b") as b:
            assert (a, b, _name("x")) == ("a/", "a/b/", "a/b/x")
            for jump, prefix in (("c/", "c/"), (None, ""), ("", ""), (a, "a/")):
                with tf.name_scope(jump) as entered:
                    assert (entered == prefix and _name("y") == prefix + "y") or jump == ""
            assert tf.get_default_graph().get_name_scope() == "a/b"
        assert tf.get_default_graph().get_name_scope() == ""

    def test_default_names(self):
        x = tf.constant(1.0)
        for arguments, prefix in (((None, "d"), "d/"), ((None, "d", [x]), "d_1/"), (("n", "d"), "n/")):
            with tf.name_scope(*arguments) as entered:
                assert entered == prefix
        with pytest.raises(ValueError, match="At least one of name"):
            tf.name_scope(None, None, [x])
        assert tf.name_scope("n").name == "n"

    def test_the_scope_as_a_name(self):
        with tf.name_scope("s") as scope:
            assert tf.identity(tf.constant(1.0, name="q"), name=scope).op.name == "s"
            assert tf.identity(tf.constant(1.0), name="s").op.name == "s/s"

    def test_an_absolute_name_is_taken_once(self):
        assert _name("a/") == "a"
        with pytest.raises(ValueError, match="Duplicate node name in graph: 'a'"):
            _name("a/")

    @pytest.mark.parametrize("name", ["_a", "a b", "a:0", "-a", "/a", "é"])
    def test_bad_operation_names(self, name):
        with pytest.raises(ValueError, match=r"is not a valid node name"):
            _name(name)

    @pytest.mark.parametrize("name", ["a b", "_a", "é", "/"])
    def test_bad_scope_names(self, name):
        with pytest.raises(ValueError, match=r"is not a valid"), tf.name_scope(name):
            _name("b c")

    def test_inside_a_scope_more_is_allowed(self):
        with tf.name_scope("s"):
            assert _name("_a") == "s/_a"
            with tf.name_scope("_b") as inner:
                assert inner == "s/_b/"
            with pytest.raises(ValueError, match="is not a valid"):
                _name("a b")

    def test_names_are_strings(self):
        with pytest.raises(TypeError, match="must be a string"):
            _name(3)
        with pytest.raises(TypeError, match="must be a string"), tf.name_scope(3):
            pass

    def test_values_choose_the_graph(self):
        other = tf.Graph()
        with other.as_default():
            x = tf.constant(1.0)
        with tf.name_scope("s", values=[x]):
            assert tf.get_default_graph() is other and _name("y") == "s/y"
        assert tf.get_default_graph() is not other


class TestControlDependencies:
    def test_what_an_input_implies_is_left_out(self):
        a, b = tf.constant(1.0, name="a"), tf.constant(1.0, name="b")
        with tf.control_dependencies([a, b.op]):
            x = tf.constant(1.0, name="x")
            y = tf.identity(a)
            z = tf.identity(x)
            with tf.control_dependencies([x]):
                w = tf.constant(1.0)
                v = tf.identity(x)
                u = tf.add(a, b)
        assert [_controls(t) for t in (x, y, z)] == [["a", "b"], ["b"], []]
        assert [_controls(t) for t in (w, v, u)] == [["a", "b", "x"], [], ["x"]]
        assert _controls(tf.constant(1.0)) == []

    def test_none_clears(self):
        a = tf.constant(1.0, name="a")
        with tf.control_dependencies([a]):
            with tf.control_dependencies(None):
                b = tf.constant(1.0, name="b")
                with tf.control_dependencies([b]):
                    c = tf.constant(1.0)
            d = tf.constant(1.0)
        assert [_controls(t) for t in (b, c, d)] == [[], ["b"], ["a"]]

    def test_what_may_control(self):
        a, v = tf.constant(1.0, name="a"), tf.Variable(1.0, name="v")
        r = tf.Variable(1.0, name="r", use_resource=True)
        rows = tf.IndexedSlices(tf.constant([1.0], name="values"), tf.constant([0]))
        for controllers, names in (
            (["a", "a:0", a, a.op], ["a"]),
            ([v], ["v"]),
            ([v.initializer], ["v/Assign"]),
            ([r], ["r"]),
            ([rows], ["values"]),
            ([], []),
        ):
            with tf.control_dependencies(controllers):
                assert _controls(tf.constant(1.0)) == names

    @pytest.mark.parametrize(
        ("controllers", "error"),
        [([3], TypeError), ([None], TypeError), (["nope"], KeyError), ([["a"]], TypeError)],
    )
    def test_what_may_not(self, controllers, error):
        tf.constant(1.0, name="a")
        with pytest.raises(error):
            tf.control_dependencies(controllers)

    def test_a_tensor_is_no_list(self):
        with pytest.raises(TypeError, match="Iterating over"):
            tf.control_dependencies(tf.constant([1.0]))

    def test_another_graphs_operation(self):
        with tf.Graph().as_default():
            x = tf.constant(1.0)
        with pytest.raises(ValueError, match="is not an element of this graph"):
            tf.control_dependencies([x])

    def test_regions(self):
        """What controls a block outside of a loop controls the loop as a whole."""
        a = tf.constant(1.0, name="a")
        inner = []

        def body(i):
            b = tf.constant(2, name="b")
            with tf.control_dependencies([b]):
                inner.append(tf.constant(1, name="inner"))
            inner.append(tf.add(i, inner[0]))
            return inner[1]

        with tf.control_dependencies([a]):
            result = tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])
        assert [_controls(t) for t in inner] == [["while/b"], []]
        assert tf.Session().run(result) == 3

    def test_init_scope(self):
        a = tf.constant(1.0, name="a")
        with tf.name_scope("s"), tf.control_dependencies([a]), tf.init_scope():
            assert _controls(tf.constant(1.0)) == [] and _name("x") == "s/x"


class TestDevices:
    @staticmethod
    def on(*devices):
        if not devices:
            return tf.constant(1.0).device
        with tf.device(devices[0]):
            return TestDevices.on(*devices[1:])

    @pytest.mark.parametrize(
        ("devices", "result"),
        [
            (["/cpu:0"], "/device:CPU:0"),
            (["cpu:0"], "/device:CPU:0"),
            (["/gpu:1"], "/device:GPU:1"),
            (["/device:GPU:*"], "/device:GPU:*"),
            (["/job:ps/replica:1/task:0/cpu:0"], "/job:ps/replica:1/task:0/device:CPU:0"),
            ([""], ""),
            ([None], ""),
            (["/job:w", "/gpu:0"], "/job:w/device:GPU:0"),
            (["/job:w/gpu:1", "/gpu:0"], "/job:w/device:GPU:0"),
            (["/gpu:1", "/job:w"], "/job:w/device:GPU:1"),
            (["/job:w/task:1", "/job:ps"], "/job:ps/task:1"),
            (["/gpu:1", None], ""),
            (["/gpu:1", ""], "/device:GPU:1"),
            ([lambda op: "/gpu:0"], "/gpu:0"),
            (["/job:a", lambda op: "/gpu:0"], "/job:a/device:GPU:0"),
            ([lambda op: "/gpu:0", "/job:a"], "/gpu:0"),
            (["/cpu:1", lambda op: ""], "/device:CPU:1"),
        ],
    )
    def test_nesting(self, devices, result):
        assert self.on(*devices) == result

    def test_a_function_sees_the_operation(self):
        seen = []

        def place(op):
            seen.append((op.name, op.type, op.device))
            return "/gpu:0" if op.type == "Const" else op.device

        with tf.device(place), tf.device("/cpu:1"):
            tf.identity(tf.constant(1.0, name="a"), name="b")
        assert seen == [("a", "Const", "/device:CPU:1"), ("b", "Identity", "/device:CPU:1")]

    @pytest.mark.parametrize("device", ["garbage", "/foo:1", 3])
    def test_what_is_no_device(self, device):
        with pytest.raises(ValueError, match="Unknown attribute"):
            tf.device(device)

    def test_colocation(self):
        with tf.device("/gpu:0"):
            a = tf.constant(1.0)
        with tf.device("/job:w"), tf.colocate_with(a):
            assert tf.constant(1.0).device == "/device:GPU:0"
        with tf.device("/gpu:0"), tf.colocate_with(None, ignore_existing=True):
            assert tf.constant(1.0).device == ""
        with pytest.raises(ValueError, match="Trying to reset colocation"):
            tf.colocate_with(None)

    def test_variables(self):
        with tf.device("/gpu:0"):
            v = tf.Variable(1.0)
        assert [v.device, v.initializer.device, v.value().device] == ["/device:GPU:0"] * 3
        assert (v + 1.0).device == ""


class TestCollections:
    def test_filtering(self):
        x_a, y_a, x_b = (tf.constant(1.0, name=n) for n in ("x/a", "y/a", "x/b"))
        for item in (x_a, y_a, x_b, 5, "text"):
            tf.add_to_collection("k", item)
        assert tf.get_collection("k") == [x_a, y_a, x_b, 5, "text"]
        assert tf.get_collection("k", "x") == [x_a, x_b] and tf.get_collection("k", ".*a") == [x_a, y_a]
        assert tf.get_collection("k", "b") == [] and tf.get_collection("k", "") == [x_a, y_a, x_b]
        assert tf.get_collection("nothing") == []

    def test_several(self):
        tf.add_to_collections(["a", "b"], 1)
        tf.add_to_collections(("a", "a"), 2)
        tf.add_to_collections("c", 3)
        assert [tf.get_collection(k) for k in "abc"] == [[1, 2], [1], [3]]

    def test_references_and_copies(self):
        tf.add_to_collection("a", 1)
        tf.get_collection("a").append(2)
        tf.get_collection_ref("a").append(3)
        assert tf.get_collection("a") == [1, 3]
        graph = tf.get_default_graph()
        graph.clear_collection("a")
        graph.clear_collection("nothing")
        assert tf.get_collection("a") == []
        tf.get_collection_ref("new")
        assert graph.get_all_collection_keys() == ["new"]

    def test_keys(self):
        tf.add_to_collection(("t", 1), 1)
        tf.add_to_collection("__private", 1)
        graph = tf.get_default_graph()
        assert graph.get_all_collection_keys() == ["__private"] and len(graph.collections) == 2
        with pytest.raises(TypeError, match="unhashable"):
            tf.add_to_collection(["a"], 1)

    def test_variables_by_scope(self):
        for name in ("m/w", "m2/w", "n/m/w"):
            tf.Variable(1.0, name=name)
        names = lambda scope: [v.op.name for v in tf.trainable_variables(scope)]  # noqa: E731
        assert (
            names("m") == ["m/w", "m2/w"]
            and names("m/") == ["m/w"]
            and names(".*/w:0$") == ["m/w", "m2/w", "n/m/w"]
        )


def test_graph_seed():
    tf.set_random_seed(3)
    assert tf.get_default_graph().seed == 3
