"""Variables' operations against NumPy: writes of both kinds of variables, sparse writes, counting, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.ops import state

START = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)


def session_for(*variables):
    session = tf.Session()
    session.run([v.initializer for v in variables])
    return session


# ---------------------------------------------------------------- whole values


def test_VariableV2_and_VarHandleOp():
    by_reference, by_handle = tf.Variable(START), tf.Variable(START, use_resource=True)
    assert by_reference.op.type == "VariableV2" and by_handle.op.type == "VarHandleOp"
    read = by_handle.read_value()
    assert "ReadVariableOp" in {op.type for op in (read.op, *(t.op for t in read.op.inputs))}
    with session_for(by_reference, by_handle) as session:
        for value in session.run([by_reference, by_handle, read]):
            np.testing.assert_array_equal(value, START)


@pytest.mark.parametrize("resource", [False, True])
def test_Assign_AssignAdd_and_AssignSub(resource):
    v = tf.Variable(START, use_resource=resource)
    types = (
        {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"}
        if resource
        else {"Assign", "AssignAdd", "AssignSub"}
    )
    with session_for(v) as session:
        session.run(tf.assign(v, START * 2))
        np.testing.assert_array_equal(session.run(v), START * 2)
        session.run(tf.assign_add(v, START))
        np.testing.assert_array_equal(session.run(v), START * 3)
        session.run(tf.assign_sub(v, START * 2))
        np.testing.assert_array_equal(session.run(v), START)
    assert types <= {op.type for op in v.graph.get_operations()}


def test_assigned_values_are_copies():
    v = tf.Variable(START)
    x = tf.placeholder(tf.float32, [3, 2])
    value = START.copy()
    with session_for(v) as session:
        result = session.run(tf.assign(v, x), {x: value})
        value[:] = 0.0
        result[:] = 0.0
        np.testing.assert_array_equal(session.run(v), START)


@pytest.mark.parametrize("resource", [False, True])
def test_whether_it_is_initialized(resource):
    v = tf.Variable(tf.constant(1.0), use_resource=resource)
    definition = state.VarIsInitializedOp if resource else state.IsVariableInitialized
    assert definition.name == ("VarIsInitializedOp" if resource else "IsVariableInitialized")
    known = definition(v.handle_or_ref)
    with tf.Session() as session:
        assert not session.run(known)
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value"):
            session.run(v + 1.0)
        session.run(v.initializer)
        assert session.run(known)


def test_a_shape_that_does_not_fit():
    v = tf.Variable(START)
    with pytest.raises(ValueError, match=r"\[3,2\]"):
        tf.assign(v, [1.0])
    with pytest.raises(ValueError, match=r"\[3,2\]"):
        tf.assign_add(v, [1.0])
    with session_for(v) as session:
        longer = session.run(tf.assign(v, [1.0], validate_shape=False))
    assert longer.tolist() == [1.0]


# ---------------------------------------------------------------- sparse writes

INDICES = [2, 0, 2]
UPDATES = np.array([[10.0, 20.0], [30.0, 40.0], [2.0, 0.5]], np.float32)

COMBINE = {
    "ScatterUpdate": lambda old, new: new,
    "ScatterAdd": lambda old, new: old + new,
    "ScatterSub": lambda old, new: old - new,
    "ScatterMul": lambda old, new: old * new,
    "ScatterDiv": lambda old, new: old / new,
    "ScatterMin": np.minimum,
    "ScatterMax": np.maximum,
}
RESOURCE = {
    "ResourceScatterUpdate", "ResourceScatterAdd", "ResourceScatterSub", "ResourceScatterMul", "ResourceScatterDiv",
    "ResourceScatterMin", "ResourceScatterMax",
}  # fmt: skip


def scattered(kind, indices, updates):
    """Row by row, as it is defined."""
    result = START.copy()
    for index, row in zip(indices, updates):
        result[index] = COMBINE[kind](result[index], row)
    return result


@pytest.mark.parametrize("kind", COMBINE)
@pytest.mark.parametrize("resource", [False, True])
def test_scatter(kind, resource):
    v = tf.Variable(START, use_resource=resource)
    by_ref, by_handle = state.SCATTER[kind.removeprefix("Scatter")]
    assert by_ref.name == kind and by_handle.name in RESOURCE
    definition = by_handle if resource else by_ref
    with session_for(v) as session:
        session.run(definition(v.handle_or_ref, INDICES, UPDATES))
        np.testing.assert_allclose(session.run(v), scattered(kind, INDICES, UPDATES), rtol=1e-6)
        before = session.run(v)
        session.run(definition(v.handle_or_ref, np.zeros([0], np.int64), np.zeros([0, 2], np.float32)))
        np.testing.assert_array_equal(session.run(v), before)
        bad = definition(v.handle_or_ref, [0, 3], UPDATES[:2])
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[1\] = 3 is not in \[0, 3\)"):
            session.run(bad)


def test_one_scalar_for_all_rows():
    v = tf.Variable(START)
    with session_for(v) as session:
        result = session.run(tf.scatter_add(v, [[0, 1]], 1.0))
    np.testing.assert_array_equal(result, START + np.array([[1.0], [1.0], [0.0]], np.float32))


def test_updates_of_another_shape():
    with pytest.raises(ValueError, match=r"Must have updates.shape = indices.shape"):
        tf.scatter_add(tf.Variable(START), [0, 1], UPDATES)


@pytest.mark.parametrize(
    ("kind", "sign"), [("ScatterNdUpdate", 0), ("ScatterNdAdd", 1), ("ScatterNdSub", -1)]
)
def test_scatter_nd(kind, sign):
    v = tf.Variable(START)
    definition, by_handle = state.SCATTER_ND[kind.removeprefix("ScatterNd")]
    assert definition.name == kind
    assert by_handle.name in {"ResourceScatterNdUpdate", "ResourceScatterNdAdd", "ResourceScatterNdSub"}
    expected = START.copy()
    for row, column, update in [(0, 1, 7.0), (2, 0, 8.0)]:
        expected[row, column] = update if not sign else expected[row, column] + sign * update
    with session_for(v) as session:
        np.testing.assert_array_equal(
            session.run(definition(v.handle_or_ref, [[0, 1], [2, 0]], [7.0, 8.0])), expected
        )
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"indices\[0\] = \[0, 2\] does not index into shape"
        ):
            session.run(definition(v.handle_or_ref, [[0, 2]], [7.0]))


# ---------------------------------------------------------------- counting


def test_CountUpTo():
    v = tf.Variable(0)
    step = tf.count_up_to(v, 3)
    assert step.op.type == "CountUpTo"
    with session_for(v) as session:
        assert [session.run(step) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(tf.errors.OutOfRangeError, match="Reached limit of 3"):
            session.run(step)
        assert session.run(v) == 3


# ---------------------------------------------------------------- elements, slices


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("Update", [1.0, 9.0, 7.0]), ("Add", [1.0, 11.0, 13.0]), ("Sub", [1.0, -7.0, -7.0])],
)
def test_scatter_nd_of_both_kinds_of_variables(resource, kind, expected):
    v = tf.Variable([1.0, 2.0, 3.0], use_resource=resource)
    write = getattr(tf, f"scatter_nd_{kind.lower()}")(v, [[1], [2], [2]], [9.0, 3.0, 7.0])
    types = {op.type for op in v.graph.get_operations()}
    assert (f"ResourceScatterNd{kind}" if resource else f"ScatterNd{kind}") in types
    with session_for(v) as session:
        assert session.run(write).tolist() == expected
        assert session.run(v).tolist() == expected


@pytest.mark.parametrize("resource", [False, True])
def test_scatter_nd_as_a_method_and_out_of_range(resource):
    v = tf.Variable(START, use_resource=resource)
    i = tf.placeholder(tf.int32, [1, 2])
    write = v.scatter_nd_add(i, [0.5])
    with session_for(v) as session:
        assert session.run(write, {i: [[2, 1]]})[2].tolist() == [5.0, 6.5]
        with pytest.raises(tf.errors.InvalidArgumentError, match="does not index into"):
            session.run(write, {i: [[3, 0]]})


SLICES = {
    "element": ((0, 1), 7.0),
    "row": (2, [7.0, 8.0]),
    "broadcast": (slice(1, None), 7.0),
    "every other": (slice(None, None, 2), [[7.0, 8.0], [9.0, 10.0]]),
    "backwards": ((slice(None, None, -1), 0), [7.0, 8.0, 9.0]),
    "new axis": ((None, 0), [[7.0, 8.0]]),
    "ellipsis": ((..., -1), [7.0, 8.0, 9.0]),
    "nothing": ((slice(3, None), 0), np.zeros([0])),
}


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("resource", [False, True])
def test_assigning_to_a_slice(resource, name):
    key, value = SLICES[name]
    v = tf.Variable(START, use_resource=resource)
    write = v[key].assign(value)
    expected = START.copy()
    expected[key] = value
    types = {op.type for op in v.graph.get_operations()}
    assert ("ResourceStridedSliceAssign" if resource else "StridedSliceAssign") in types
    with session_for(v) as session:
        np.testing.assert_array_equal(session.run(write), expected)
        np.testing.assert_array_equal(session.run(v), expected)


def test_names_of_a_sliced_assignment():
    v = tf.Variable(START)
    assert v[0, 1].assign(5.0).name == "strided_slice/_assign:0"
    assert v[0].assign([1.0, 2.0], name="written").name == "written:0"
    part: Any = tf.strided_slice(v, [0, 0], [1, 1], var=v)
    assert part.assign([[9.0]]).op.type == "StridedSliceAssign"


@pytest.mark.parametrize("resource", [False, True])
def test_a_sliced_assignment_between_reads(resource):
    v = tf.Variable(START, use_resource=resource)
    before = v.read_value()
    with tf.control_dependencies([before]):
        write = v[0].assign(v[1] + v[2])
    with tf.control_dependencies([write]):
        after = v.read_value()
    with session_for(v) as session:
        old, new = session.run([before, after])
    np.testing.assert_array_equal(old, START)
    np.testing.assert_array_equal(new[0], START[1] + START[2])


@pytest.mark.parametrize("resource", [False, True])
def test_bad_sliced_assignments(resource):
    v = tf.Variable(START, use_resource=resource)
    with pytest.raises((TypeError, ValueError), match="int32"):
        v[0].assign(tf.constant([1, 2]))
    with pytest.raises(ValueError, match="slice index 3 of dimension 0 out of bounds"):
        v[3, 0].assign(1.0)
    assert not hasattr(v.value()[0], "assign")
    assert not hasattr(v[tf.constant([True, False, True])], "assign")
    write = v[0].assign([1.0, 2.0, 3.0])
    with tf.Session() as session, pytest.raises(tf.errors.FailedPreconditionError):
        session.run(tf.Variable(tf.constant(START))[0].assign([1.0, 2.0]))
    with (
        session_for(v) as session,
        pytest.raises(tf.errors.InvalidArgumentError, match=r"has the shape \[3\]"),
    ):
        session.run(write)
