"""The public functions of shaping, structural and modules near them: what the samples do not show."""

from __future__ import annotations

import numpy as np
import pytest

from tahr import errors
from tahr.core import convert, dtypes
from tahr.core.graph import Graph, Tensor
from tahr.ops import blocks, cropping, fills, joining, placeholders, structural as s
from tests.evaluate import evaluate


@pytest.fixture(autouse=True)
def graph():
    with Graph().as_default() as graph:
        yield graph


def known(tensor: Tensor) -> list[int | None] | None:
    shape = tensor.get_shape()
    return None if shape.ndims is None else shape.as_list()


def added(graph: Graph, build) -> list[tuple[str, str]]:
    """Name and type of the operations that a call adds."""
    before = len(graph.get_operations())
    build()
    return [(op.name, op.type) for op in graph.get_operations()[before:]]


# ---------------------------------------------------------------- placeholders


def test_placeholder_without_dtype_or_shape():
    x = placeholders.placeholder()
    assert x.spec.dtype is None
    assert known(x) is None
    assert x.op.type == "Placeholder"


def test_placeholder_that_is_not_fed():
    x = placeholders.placeholder(dtypes.float32, [None, 2])
    with pytest.raises(
        errors.InvalidArgumentError, match=r"You must feed a value .* dtype float and shape \[\?,2\]"
    ):
        evaluate(x)


def test_default_of_a_placeholder():
    x = placeholders.placeholder_with_default([1.0, 2.0], [None])
    assert known(x) == [None]
    assert evaluate(x).tolist() == [1.0, 2.0]
    assert evaluate(x, {x: [3.0]}).tolist() == [3.0]


# ---------------------------------------------------------------- shapes


def test_shape_is_constant_where_it_is_known():
    assert s.shape(placeholders.placeholder("float32", [2, 3])).op.type == "Const"
    assert s.shape(placeholders.placeholder("float32", [2, 3]), optimize=False).op.type == "Shape"
    assert s.shape(placeholders.placeholder("float32", [None, 3])).op.type == "Shape"
    assert s.size(placeholders.placeholder("float32", [2, 3]), out_type=dtypes.int64).dtype == "int64"
    assert s.rank(placeholders.placeholder("float32", [None, 3])).op.type == "Const"


def test_partly_known_shapes_flow_through_lists_and_slices():
    x = placeholders.placeholder("float32", [None, 28, 28])
    batch = cropping.slice_(s.shape(x), [0], [1])
    assert known(s.reshape(x, joining.concat([batch, [784]], 0))) == [None, 784]
    assert known(s.reshape(x, joining.stack([s.reshape(batch, []), 784]))) == [None, 784]
    assert known(s.reshape(x, [s.reshape(batch, []), 784])) == [None, 784]
    assert known(s.reshape(x, [-1, 28])) == [None, 28]
    assert known(fills.zeros([s.reshape(batch, []), 5])) == [None, 5]


def test_one_unknown_size_follows_from_the_others():
    x = placeholders.placeholder("float32", [4, 6])
    unknown = s.reshape(cropping.slice_(s.shape(placeholders.placeholder("float32", [None])), [0], [1]), [])
    assert known(s.reshape(x, [unknown, 8])) == [3, 8]


def test_reshape_at_run_time():
    x, target = placeholders.placeholder("float32"), placeholders.placeholder("int32", [None])
    y = s.reshape(x, target)
    assert evaluate(y, {x: np.ones([2, 3]), target: [3, -1]}).shape == (3, 2)
    with pytest.raises(
        errors.InvalidArgumentError, match="is a tensor with 6 values, but the requested shape has 4"
    ):
        evaluate(y, {x: np.ones([2, 3]), target: [4]})
    with pytest.raises(errors.InvalidArgumentError, match="requires a multiple of 4"):
        evaluate(y, {x: np.ones([2, 3]), target: [4, -1]})
    with pytest.raises(errors.InvalidArgumentError, match="cannot infer the missing input size"):
        evaluate(y, {x: np.ones([0, 3]), target: [0, -1]})


def test_older_names_of_arguments():
    x = placeholders.placeholder("float32", [2, 1])
    assert known(s.expand_dims(x, dim=0)) == [1, 2, 1]
    assert known(s.squeeze(x, squeeze_dims=[1])) == [2]
    assert known(s.reduce_sum(x, reduction_indices=1, keep_dims=True)) == [2, 1]
    with pytest.raises(ValueError, match="Cannot specify both 'dim' and 'axis'"):
        s.expand_dims(x, 0, dim=0)
    with pytest.raises(ValueError, match="Cannot specify both 'reduction_indices' and 'axis'"):
        s.reduce_sum(x, 0, reduction_indices=0)
    with pytest.raises(ValueError, match="Must specify an axis"):
        s.expand_dims(x)


def test_transpose_of_unknown_rank():
    x = placeholders.placeholder("float32")
    y = s.transpose(x)
    assert known(y) is None
    assert evaluate(y, {x: np.ones([2, 3, 4])}).shape == (4, 3, 2)


def test_transposed_matrices():
    x = placeholders.placeholder("complex64", [None, 2, 3])
    assert known(s.matrix_transpose(x)) == [None, 3, 2]
    assert s.matrix_transpose(x, conjugate=True).op.type == "ConjugateTranspose"
    with pytest.raises(ValueError, match="rank >= 2"):
        s.matrix_transpose([1.0])


# ---------------------------------------------------------------- broadcasting and sums


def test_sum_over_all_of_an_unknown_rank():
    x = placeholders.placeholder("float32")
    y = s.reduce_sum(x)
    assert known(y) == []
    assert evaluate(y, {x: np.ones([2, 3])}) == 6.0


SUMS = {
    "nothing to do": ([2, 3], [2, 3], None),
    "a bias": ([None, 3], [3], "Sum"),
    "a column": ([None, 3], [2, 1], "Sum"),
    "a known size is never repeated": ([None, 3], [4, 3], None),
    "a scalar": ([2, 3], [], "Sum"),
    "rows and columns": ([2, 3, 4], [3, 1], "Reshape"),
    "perhaps a batch of one": ([None, 3], [None, 3], "SumToShape"),
    "nothing known": (None, None, "SumToShape"),
}


@pytest.mark.parametrize(("wide", "narrow", "made"), SUMS.values(), ids=SUMS)
def test_sum_to_shape_looks_at_what_is_known(wide, narrow, made):
    grad, x = placeholders.placeholder("float32", wide), placeholders.placeholder("float32", narrow)
    found = s.sum_to_shape(grad, x)
    if made is None:
        assert found is grad
        return
    assert found.op.type == made
    small = [
        1 if made == "SumToShape" and i == 0 else d or 2
        for i, d in enumerate([2, 3] if narrow is None else narrow)
    ]
    big = [d or 2 for d in wide or [2, 3]]
    value = np.arange(float(np.prod(big))).reshape(big)
    oracle = np.zeros(small)
    for place in np.ndindex(*big):
        tail = place[len(big) - len(small) :]
        oracle[tuple(0 if d == 1 else k for d, k in zip(small, tail))] += value[place]
    np.testing.assert_allclose(evaluate(found, {grad: value, x: np.zeros(small)}), oracle)


def test_broadcast_shapes():
    assert s.broadcast_static_shape([None, 3], [2, 1]).as_list() == [2, 3]
    with pytest.raises(ValueError, match="Dimensions must be equal"):
        s.broadcast_static_shape([2], [3])
    assert evaluate(s.broadcast_dynamic_shape([2, 1], [3])).tolist() == [2, 3]


# ---------------------------------------------------------------- fills and ranges


def test_large_fills_are_no_constants(graph):
    assert added(graph, lambda: fills.zeros([10, 10])) == [("zeros", "Const")]
    assert added(graph, lambda: fills.ones([40, 50])) == [
        ("ones/shape_as_tensor", "Const"),
        ("ones/Const", "Const"),
        ("ones", "Fill"),
    ]


def test_fills_of_other_dtypes():
    assert evaluate(fills.zeros([2], dtypes.string)).tolist() == [b"", b""]
    assert evaluate(fills.zeros([2], dtypes.bool_)).tolist() == [False, False]
    assert evaluate(fills.ones(3, "int64")).tolist() == [1, 1, 1]
    x = placeholders.placeholder("float32", [None])
    assert evaluate(fills.zeros_like(x, dtypes.int32), {x: [1.0, 2.0]}).dtype == np.int32
    assert fills.ones_like(placeholders.placeholder()).spec.dtype is None


def test_ranges():
    assert evaluate(s.range_(3)).tolist() == [0, 1, 2]
    assert s.range_(0, 1.0, 0.25).dtype == "float32"
    assert known(s.range_(0.0, 1.0, 0.3)) == [4]
    assert s.range_(3, dtype=dtypes.float64).dtype == "float64"
    n = placeholders.placeholder("int64", [])
    assert s.range_(0, n).dtype == "int64"
    with pytest.raises(errors.InvalidArgumentError, match="Requires start <= limit"):
        evaluate(s.range_(0, n), {n: -1})


def test_add_n_takes_at_least_one():
    x = placeholders.placeholder("float32", [2])
    assert s.add_n([x]) is x
    with pytest.raises(ValueError, match="inputs must be a list of at least one Tensor"):
        s.add_n([])


# ---------------------------------------------------------------- joining


def test_lists_that_hold_tensors_are_packed(graph):
    a = placeholders.placeholder("float64", [])
    packed = convert.convert_to_tensor([[a, 1], [2, 3.5]])
    assert packed.dtype == "float64"
    assert known(packed) == [2, 2]
    assert evaluate(packed, {a: 7.0}).tolist() == [[7.0, 1.0], [2.0, 3.5]]
    names = [op.name for op in graph.get_operations()]
    assert names == ["Placeholder", "packed/0/1", "packed/0", "packed/1", "packed"]


def test_numbers_beside_a_tensor_of_unknown_dtype_stay_weak():
    packed = convert.convert_to_tensor([placeholders.placeholder(shape=[]), 1.5])
    assert [x.spec.dtype for x in packed.op.inputs] == [None, None]


def test_stack(graph):
    a = placeholders.placeholder("float32", [], name="a")
    assert added(graph, lambda: joining.stack([a, 1.0])) == [("stack/1", "Const"), ("stack", "Pack")]
    assert known(joining.stack([[1, 2], [3, 4], [5, 6]], axis=1)) == [2, 3]
    with pytest.raises(ValueError, match=r"axis = 2 not in \[-2, 2\)"):
        joining.stack([[1, 2]], axis=2)
    with pytest.raises(ValueError, match="Dimension 0 in both shapes must be equal, but are 2 and 3"):
        joining.stack([placeholders.placeholder("float32", [2]), placeholders.placeholder("float32", [3])])


def test_unstack_needs_a_known_size():
    x = placeholders.placeholder("float32", [None, 2])
    assert len(joining.unstack(x, axis=1)) == 2
    assert len(joining.unstack(x, num=3)) == 3
    with pytest.raises(ValueError, match="Cannot infer argument `num` from shape"):
        joining.unstack(x)
    with pytest.raises(ValueError, match=r"axis = 2 not in \[-2, 2\)"):
        joining.unstack(x, axis=2)


def test_argument_orders_of_old():
    a, b = placeholders.placeholder("float32", [2, 3]), placeholders.placeholder("float32", [2, 1])
    assert known(joining.concat(1, [a, b])) == [2, 4]
    assert [known(part) for part in joining.split(1, 3, a)] == [[2, 1]] * 3


def test_split_by_sizes():
    x = placeholders.placeholder("float32", [None, 7])
    assert [known(part) for part in joining.split(x, [2, -1], 1)] == [[None, 2], [None, 5]]
    sizes = placeholders.placeholder("int32", [None])
    with pytest.raises(ValueError, match="Cannot infer argument `num` from shape"):
        joining.split(x, sizes, 1)
    assert [known(part) for part in joining.split(x, sizes, 1, num=2)] == [[None, None]] * 2
    with pytest.raises(ValueError, match="Rank-0 tensors are not supported"):
        joining.split(x, placeholders.placeholder("int32", []), 1)


def test_pad_modes():
    x = [1, 2, 3]
    assert evaluate(cropping.pad(x, [[1, 1]], "reflect")).tolist() == [2, 1, 2, 3, 2]
    assert evaluate(cropping.pad(x, [[1, 1]], "SYMMETRIC")).tolist() == [1, 1, 2, 3, 3]
    assert evaluate(cropping.pad(x, [[1, 0]], constant_values=9)).tolist() == [9, 1, 2, 3]
    with pytest.raises(ValueError, match="Unknown padding mode"):
        cropping.pad(x, [[1, 1]], "EDGE")


# ---------------------------------------------------------------- grids and blocks


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid(indexing):
    vectors = [1, 2, 3], [4, 5], [6]
    found = evaluate(blocks.meshgrid(*vectors, indexing=indexing))
    for mine, numpys in zip(found, np.meshgrid(*vectors, indexing=indexing)):
        np.testing.assert_array_equal(mine, numpys)


def test_images_to_batch_and_back():
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    batch = blocks.space_to_batch(x, [[0, 0], [2, 0]], 2)
    assert known(batch) == [4, 2, 3, 1]
    np.testing.assert_array_equal(evaluate(blocks.batch_to_space(batch, [[0, 0], [2, 0]], 2)), x)
    with pytest.raises(ValueError, match="Specify either"):
        blocks.space_to_batch(x, [[0, 0], [0, 0]])
