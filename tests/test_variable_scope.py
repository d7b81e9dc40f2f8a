"""get_variable and its scopes, beyond what tests/recorded compares with TensorFlow."""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import pytest

from tahr.core import dtypes
from tahr.core.convert import constant, convert_to_tensor
from tahr.core.graph import Graph
from tahr.core.scopes import GraphKeys, get_collection, get_default_graph, name_scope, set_random_seed
from tahr.core.tensor_shapes import TensorShape
from tahr.ops import initializers
from tahr.ops.elementwise import multiply
from tahr.ops.fills import ones, zeros
from tahr.ops.structural import reduce_sum
from tahr.ops.variable_lists import global_variables_initializer
from tahr.session.session import Session
from tahr.variable_scope import (
    AUTO_REUSE,
    fixed_size_partitioner,
    get_local_variable,
    get_variable,
    get_variable_scope,
    make_template,
    min_max_variable_partitioner,
    no_regularizer,
    variable_axis_size_partitioner,
    variable_op_scope,
    variable_scope,
)
from tahr.variables import Variable, VariableSynchronization


@pytest.fixture(autouse=True)
def graph():
    with Graph().as_default() as graph:
        yield graph


def run(fetches: Any) -> Any:
    with Session() as session:
        session.run(global_variables_initializer())
        return session.run(fetches)


# ---- Names ----


def test_operations_of_a_variable(graph):
    get_variable("w", [3, 2])
    draw = [f"random_uniform/{n}" for n in ("shape", "min", "max", "RandomUniform", "sub", "mul")]
    inside = [f"w/Initializer/{n}" for n in [*draw, "random_uniform"]]
    assert [op.name for op in graph.get_operations()] == [*inside, "w", "w/Assign", "w/read"]


def test_a_name_scope_does_not_name_variables():
    with name_scope("n"), variable_scope("a") as scope, name_scope("m"):
        assert get_variable("w", []).name == "a/w:0"
        assert scope.original_name_scope == "n/a/"
        assert constant(1).name == "n/a/m/Const:0"


def test_a_scope_is_entered_again_anywhere():
    with variable_scope("a"), variable_scope("b") as inner:
        pass
    with variable_scope("c"):
        with variable_scope(inner) as again:
            assert get_variable("w", []).name == "a/b/w:0"
            assert again.original_name_scope == "a/b/"
            assert constant(1).name == "c/b/Const:0"
        assert get_variable("w", []).name == "c/w:0"


def test_default_names_start_anew_in_each_entry_of_a_parent():
    names = []
    for _ in range(2):
        with variable_scope("a", reuse=AUTO_REUSE):
            for _ in range(2):
                with variable_scope(None, "d") as scope:
                    names.append(scope.name)
    assert names == ["a/d", "a/d_1", "a/d", "a/d_1"]


def test_default_names_after_a_jump():
    with variable_scope("a") as scope, variable_scope(None, "d"):
        pass
    with variable_scope(scope), variable_scope(None, "d") as again:
        assert again.name == "a/d"


def test_without_an_auxiliary_name_scope():
    with variable_scope("a", auxiliary_name_scope=False) as scope:
        assert get_variable("w", []).name == "a/w:0"
        assert constant(1).name == "Const:0"
        assert scope.original_name_scope == ""


def test_a_scope_with_slashes():
    with variable_scope("a/b") as scope:
        assert (scope.name, get_variable("w", []).name) == ("a/b", "a/b/w:0")


def test_old_order_of_arguments():
    with variable_op_scope([constant(1.0)], None, "d") as scope:
        assert (scope.name, constant(1.0).name) == ("d", "d/Const:0")


def test_values_choose_the_graph():
    other = Graph()
    with other.as_default():
        x = constant(1.0)
    with variable_scope("a", values=[x]):
        assert get_default_graph() is other
        assert get_variable("w", []).graph is other
    assert get_default_graph() is not other


def test_each_thread_starts_at_the_root(graph):
    names = []

    def work():
        with graph.as_default():
            names.append(get_variable("w", []).name)

    with variable_scope("a"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert names == ["w:0"]


def test_an_exception_leaves_the_scope():
    with pytest.raises(KeyError), variable_scope("a"), variable_scope("b"):
        raise KeyError
    assert get_variable_scope().name == ""
    assert constant(1).name == "Const:0"


# ---- Sharing ----


def test_reuse_variables_does_not_leak():
    with variable_scope("a") as scope:
        w = get_variable("w", [])
        scope.reuse_variables()
        assert get_variable("w") is w
    assert not get_variable_scope().reuse
    with variable_scope(scope):  # the object remembers
        assert get_variable("w", []) is w


def test_the_error_names_the_line_of_the_first():
    get_variable("w", [])
    with pytest.raises(ValueError, match="Variable w already exists, disallowed") as caught:
        get_variable("w", [])
    assert "test_variable_scope.py" in str(caught.value)
    assert 'get_variable("w", [])' in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: get_variable("n"), ValueError, r"Shape of a new variable \(n\) must be fully defined"),
        (lambda: get_variable("n", [None]), ValueError, r"must be fully defined, but instead was \(\?,\)"),
        (lambda: get_variable(cast(Any, [2])), TypeError, "name must be a string"),
        (lambda: get_variable("n", [2], dtypes.complex64), ValueError, "An initializer for variable n of"),
        (
            lambda: get_variable("n", dtype=dtypes.float32, initializer=np.array([1])),
            ValueError,
            "Initializer type .*int64.* and explicit dtype .*float32.* don't match",
        ),
        (lambda: get_variable("n", [2], custom_getter=3), ValueError, "custom_getter which is not callable"),
        (lambda: get_variable("n", [2], partitioner=3), ValueError, "Partitioner must be callable"),
        (lambda: variable_scope(cast(Any, 7)), TypeError, "name_or_scope must be a string or VariableScope"),
        (
            lambda: variable_scope("a", auxiliary_name_scope=cast(Any, 1)),
            TypeError,
            "auxiliary_name_scope must be",
        ),
        (
            lambda: get_variable("n", [], trainable=True, synchronization=VariableSynchronization.ON_READ),
            ValueError,
            "only for non-trainable variables",
        ),
    ],
)
def test_complaints(call, error, phrase):
    with pytest.raises(error, match=phrase):
        call()


# ---- Arguments ----


def test_initializers_of_every_kind():
    made = [
        get_variable("object", [2], initializer=initializers.Ones()),
        get_variable("klass", [2], initializer=initializers.Ones),
        get_variable("function", [2], initializer=lambda shape, dtype: ones(shape, dtype)),
        get_variable("plain", initializer=lambda: ones([2])),
        get_variable("tensor", initializer=ones([2])),
        get_variable("array", initializer=np.ones(2, np.float32)),
        get_variable("list", initializer=[1.0, 1.0]),
        get_variable("shape", TensorShape([2]), initializer=initializers.Ones()),
    ]
    for found in run(made):
        np.testing.assert_array_equal(found, np.ones(2, np.float32), strict=True)


def test_values_for_a_graphs_seed():
    set_random_seed(7)
    # The second seed is the number of operations before the draw: shape, min, max.
    first = run(get_variable("w", [3, 2]))
    with Graph().as_default():
        expected = run(initializers.random.random_uniform([3, 2], -np.sqrt(1.2), np.sqrt(1.2), seed=3))
        assert not np.array_equal(first, expected)  # another graph's seed
        set_random_seed(7)
        expected = run(initializers.random.random_uniform([3, 2], -np.sqrt(1.2), np.sqrt(1.2), seed=3))
    np.testing.assert_allclose(first, expected, rtol=1e-6)


def test_regularizers():
    def penalty(w):
        return reduce_sum(w, name="penalty")

    with variable_scope("a", regularizer=penalty):
        w = get_variable("w", [2])
        get_variable("b", [2], regularizer=no_regularizer)
        with variable_scope(get_variable_scope(), reuse=True):
            assert get_variable("w") is w  # sharing adds nothing
    losses = get_collection(GraphKeys.REGULARIZATION_LOSSES)
    assert [loss.name for loss in losses] == ["a/w/Regularizer/penalty:0"]


def test_local_variables():
    local = get_local_variable("l", [2])
    assert get_collection(GraphKeys.LOCAL_VARIABLES) == [local]
    assert not get_collection(GraphKeys.GLOBAL_VARIABLES) and not get_collection(
        GraphKeys.TRAINABLE_VARIABLES
    )


def test_collections_of_a_scope():
    with variable_scope("a") as scope:
        w, frozen = get_variable("w", []), get_variable("f", [], trainable=False)
    get_variable("ab", [])
    assert scope.global_variables() == [w, frozen]
    assert scope.trainable_variables() == [w]
    assert scope.local_variables() == []
    assert len(get_variable_scope().global_variables()) == 3


def test_scopes_pass_on_their_defaults():
    def square(w):
        return w

    with variable_scope("a", constraint=square, use_resource=True, caching_device="/cpu:0") as outer:
        with variable_scope("b", dtype=dtypes.float64) as inner:
            w = get_variable("w", [])
        assert (inner.constraint, inner.use_resource, inner.dtype) == (square, True, dtypes.float64)
        assert (outer.dtype, inner.caching_device) == (dtypes.float32, "/cpu:0")
    assert w.constraint is square
    assert w.op.type == "VarHandleOp"


def test_custom_getters_nest_from_the_inside_out():
    calls = []

    def logging(label):
        def getter(getter, name, *args, **kwargs):
            calls.append((label, name))
            return getter(f"{name}_{label}", *args, **kwargs)

        return getter

    with (
        variable_scope("a", custom_getter=logging("outer")),
        variable_scope("b", custom_getter=logging("inner")),
    ):
        assert get_variable("w", []).name == "a/b/w_inner_outer:0"
    assert calls == [("inner", "a/b/w"), ("outer", "a/b/w_inner")]


def test_a_custom_getter_may_give_something_else():
    def halved(getter, *args, **kwargs):
        return multiply(getter(*args, **kwargs), 0.5)

    with variable_scope("a", custom_getter=halved):
        half = get_variable("w", [2], initializer=initializers.Ones())
    assert run(half).tolist() == [0.5, 0.5]


# ---- Partitioned variables ----


def test_parts_of_a_value():
    w = get_variable(
        "w", initializer=constant(np.arange(14.0).reshape(7, 2)), partitioner=fixed_size_partitioner(3)
    )
    assert [part.shape.as_list() for part in w] == [[3, 2], [2, 2], [2, 2]]
    np.testing.assert_array_equal(run(convert_to_tensor(w)), np.arange(14.0).reshape(7, 2))
    info = list(w)[1]._get_save_slice_info()
    assert (info.full_shape, info.var_offset, info.var_shape) == ([7, 2], [3, 0], [2, 2])
    assert info.spec == "7 2 3,2:0,2"


def test_one_part_and_scalars():
    with variable_scope("a", partitioner=fixed_size_partitioner(1)):
        assert len(get_variable("w", [3], initializer=initializers.Zeros())) == 1
        assert isinstance(get_variable("s", []), Variable)
    assert convert_to_tensor(get_collection(GraphKeys.GLOBAL_VARIABLES)[0]).name == "a/w/part_0/read:0"


def test_partitioned_variables_are_shared_and_assigned():
    partitioner = fixed_size_partitioner(2, axis=1)
    with variable_scope("a", partitioner=partitioner):
        w = get_variable("w", [2, 3], initializer=initializers.Ones())
    with variable_scope("a", reuse=True):
        assert get_variable("w", [2, 3]) is w
        assert get_variable("w", [2, 3], partitioner=partitioner) is w
        with pytest.raises(
            ValueError, match=r"Trying to reuse partitioned variable a/w, but specified shape"
        ):
            get_variable("w", [2, 4])
        with pytest.raises(ValueError, match="PartitionedVariable a/v does not exist"):
            get_variable("v", [2, 3], partitioner=partitioner)
    with variable_scope("a"):
        with pytest.raises(ValueError, match="Partitioned variable with name a/w already exists"):
            get_variable("w", [2, 3], partitioner=partitioner)
        with pytest.raises(ValueError, match="a partitioned version of the variable was found: a/w/part_0"):
            get_variable("w", [2, 3])
    parts = run(w.assign_add(zeros([2, 3])))
    assert [part.shape for part in parts] == [(2, 2), (2, 1)]


def test_partitioners():
    shape = TensorShape([10, 4])
    assert fixed_size_partitioner(3)(shape=shape, dtype=dtypes.float32) == [3, 1]
    assert fixed_size_partitioner(30, axis=1)(shape=shape, dtype=dtypes.float32) == [1, 4]
    by_size = variable_axis_size_partitioner(50)
    assert by_size(shape=shape, dtype=dtypes.float32) == [4, 1]  # three rows of 16 bytes fit 50
    assert by_size(shape=shape, dtype=dtypes.float64) == [10, 1]
    assert variable_axis_size_partitioner(50, max_shards=2)(shape=shape, dtype=dtypes.float32) == [2, 1]
    at_least = min_max_variable_partitioner(8, min_slice_size=50)
    assert at_least(shape=shape, dtype=dtypes.float32) == [4, 1]
    assert min_max_variable_partitioner(2, min_slice_size=1)(shape=shape, dtype=dtypes.float32) == [2, 1]
    for bad in (lambda: variable_axis_size_partitioner(0), lambda: min_max_variable_partitioner(0)):
        with pytest.raises(ValueError, match="must be positive"):
            bad()


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (3, "Partitioner must return a sequence"),
        ([2], "does not match the Variable's rank"),
        ([0, 1], "zero partitions for some axes"),
        ([2, 2], "Can only slice a variable along one dimension"),
    ],
)
def test_bad_partitioners(answer, phrase):
    with pytest.raises(ValueError, match=phrase):
        get_variable("w", [4, 4], partitioner=lambda shape, dtype: answer)


# ---- Templates ----


def affine(x, size=1):
    return multiply(x, get_variable("w", [size], initializer=initializers.Ones()))


def test_templates_share_with_themselves_alone():
    first, second = make_template("t", affine), make_template("t", affine)
    for template in (first, first, second):
        template(constant([1.0]))
    assert [v.name for v in first.variables + second.variables] == ["t/w:0", "t_1/w:0"]
    assert (first.variable_scope_name, second.variable_scope_name) == ("t", "t_1")


def test_templates_with_arguments_scopes_and_names():
    template = make_template("t", affine, create_scope_now_=True, size=3)
    with variable_scope("elsewhere"):
        assert template(constant([1.0, 2.0, 3.0])).shape.as_list() == [3]
    assert [v.name for v in template.trainable_variables] == ["t/w:0"]
    assert template.non_trainable_variables == []
    named = make_template("t", affine, unique_name_="mine")
    named(constant([1.0]))
    assert [v.name for v in named.global_variables] == ["mine/w:0"]


def test_a_template_makes_variables_once():
    def forgetful(x):
        return multiply(x, Variable([1.0]))

    template = make_template("t", forgetful)
    template(constant([1.0]))
    with pytest.raises(
        ValueError, match="Trainable variable created when calling a template after the first"
    ):
        template(constant([1.0]))
