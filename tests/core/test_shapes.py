"""TensorShape and Dimension, as in TensorFlow 1.15, and static shapes of whole expressions."""

# Wrong arguments are the subject of many tests here.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportUnusedExpression=false

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tahr as tf
from tahr.core import shapes, tensor_shapes
from tahr.core.shapes import Spec
from tahr.core.sizes import UNKNOWN
from tahr.core.tensor_shapes import Dimension, TensorShape, unknown_shape

D, S = Dimension, TensorShape


class TestDimension:
    def test_equality_with_an_unknown_one_is_none(self):
        assert D(3) == 3 and D(3) != 4 and D(3) == D(3)
        results = [D(3) == None, D(None) == 3, D(None) == None, D(None) != 4]  # noqa: E711
        assert results == [None, None, None, None]
        assert D(3) != "x"

    def test_arithmetic(self):
        assert [(D(3) + 2).value, (2 + D(3)).value, (D(3) - 1).value, (7 - D(3)).value] == [5, 5, 2, 4]
        assert [(D(3) * 2).value, (2 * D(3)).value, (D(7) // 2).value, (20 // D(6)).value] == [6, 6, 3, 3]
        assert [(D(7) % 4).value, (9 % D(5)).value] == [3, 4]
        for unknown in (D(None) * 2, 2 + D(None), D(3) + None, D(3) // D(None), D(None) % 2):
            assert isinstance(unknown, D) and unknown.value is None
        with pytest.raises(ValueError, match="Dimension -2 must be >= 0"):
            D(3) - 5

    @pytest.mark.parametrize("operation", [lambda: D(3) + "a", lambda: D(2) * 3.5, lambda: D(3) < "x"])
    def test_arithmetic_with_something_else(self, operation):
        with pytest.raises((TypeError, ValueError)):
            operation()

    @pytest.mark.parametrize("operation", [lambda: D(7) / 2, lambda: 7 / D(2), lambda: D(7) / D(2)])
    def test_true_division_is_refused(self, operation):
        with pytest.raises(TypeError, match="please use // instead"):
            operation()

    def test_order(self):
        assert D(3) < 4 and D(3) <= 3 and D(4) > D(3) and D(4) >= 4 and D(4) > 3
        assert [D(None) < 4, D(3) > None, D(None) >= D(None)] == [None, None, None]

    def test_as_an_integer(self):
        assert int(D(3)) == 3 and list(range(D(2))) == [0, 1] and [10, 20][D(1)] == 20
        assert np.zeros([D(2), 3]).shape == (2, 3)
        assert D(D(4)).value == 4 and D(np.int64(4)).value == 4
        with pytest.raises(TypeError, match="__int__ returned non-int"):
            int(D(None))

    @pytest.mark.parametrize(
        ("value", "error"), [(-1, ValueError), (2.5, ValueError), ("a", TypeError), ([1], TypeError)]
    )
    def test_bad_values(self, value, error):
        with pytest.raises(error):
            D(value)

    def test_merging(self):
        assert D(3).merge_with(None).value == 3 and D(None).merge_with(4).value == 4
        assert D(3).is_compatible_with(None) and not D(3).is_compatible_with(4)
        with pytest.raises(ValueError, match="Dimensions 3 and 4 are not compatible"):
            D(3).merge_with(4)
        with pytest.raises(ValueError, match="Dimensions 3 and 4 are not compatible"):
            D(3).assert_is_compatible_with(4)

    def test_text_and_copies(self):
        assert [str(D(3)), str(D(None)), repr(D(2)), repr(D(None))] == [
            "3",
            "?",
            "Dimension(2)",
            "Dimension(None)",
        ]
        assert pickle.loads(pickle.dumps(D(3))).value == copy.copy(D(3)).value == 3


class TestTensorShape:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "<unknown>"),
            ([], "()"),
            ([None, 3], "(?, 3)"),
            (3, "(3,)"),
            (D(3), "(3,)"),
            ([D(2), None], "(2, ?)"),
            ((2,), "(2,)"),
            (S([2]), "(2,)"),
            (np.array([2, 3]), "(2, 3)"),
            (range(3), "(0, 1, 2)"),
            ([D(None)], "(?,)"),
        ],
    )
    def test_from(self, value, text):
        assert str(S(value)) == text

    @pytest.mark.parametrize(
        ("value", "error"),
        [("abc", TypeError), (["a"], TypeError), ([-2, 2], ValueError), ([2.5], ValueError)],
    )
    def test_bad_values(self, value, error):
        with pytest.raises(error):
            S(value)

    def test_repr(self):
        assert repr(S(None)) == "TensorShape(None)"
        assert repr(S([None, 3])) == "TensorShape([Dimension(None), Dimension(3)])"

    def test_equality(self):
        assert S([None, 3]) == [None, 3] and S([2]) == (2,) and S(None) == None  # noqa: E711
        assert S([2]) != [3] and S([2]) != [2, 3] and S([2]) != "abc"
        assert S([2]) != "abc"
        with pytest.raises(ValueError, match="inequality of unknown TensorShapes is undefined"):
            _ = S(None) != S([2])
        assert {S([2, 3]): 1}[S([2, 3])] == 1

    def test_items(self):
        assert S([2, 3])[0].value == 2 and S([2, 3])[-1].value == 3 and str(S([2, 3, 4])[1:]) == "(3, 4)"
        assert isinstance(S([2, 3])[0], Dimension)
        with pytest.raises(IndexError):
            S([2, 3])[5]

    def test_items_of_an_unknown_shape(self):
        assert S(None)[0].value is None
        slices = [S(None)[1:3], S(None)[:2], S(None)[1:], S(None)[-2:], S(None)[:-1]]
        assert list(map(str, slices)) == ["(?, ?)", "(?, ?)", "<unknown>", "<unknown>", "<unknown>"]

    def test_length_and_truth(self):
        assert len(S([1, 2])) == 2 and [bool(S(None)), bool(S([])), bool(S([1]))] == [False, True, True]
        assert [d.value for d in S([2, None])] == [2, None]
        with pytest.raises(ValueError, match="Cannot take the length of shape with unknown rank"):
            len(S(None))
        with pytest.raises(ValueError, match="Cannot iterate over a shape with unknown rank"):
            list(S(None))

    def test_as_list(self):
        assert S([2, None]).as_list() == [2, None] and S([]).as_list() == []
        with pytest.raises(ValueError, match=r"as_list\(\) is not defined on an unknown TensorShape"):
            S(None).as_list()

    def test_rank_and_size(self):
        assert [S(None).ndims, S([1]).ndims, S([]).rank] == [None, 1, 0]
        sizes = [S(s).num_elements() for s in ([2, 3], [2, None], None, [], [0, None])]
        assert sizes == [6, None, None, 1, None]
        assert [S(s).is_fully_defined() for s in ([2], [2, None], None, [])] == [True, False, False, True]
        assert S(None).dims is None and S([2]).dims is not None

    def test_compatibility(self):
        assert S([2, None]).is_compatible_with([None, 3]) and S(None).is_compatible_with([2])
        assert not S([2]).is_compatible_with([2, 3]) and not S([2]).is_compatible_with([3])
        assert S([2]).is_compatible_with(None)

    @pytest.mark.parametrize(
        ("check", "text"),
        [
            (lambda: S([2]).assert_is_compatible_with([3]), r"Shapes \(2,\) and .* are incompatible"),
            (lambda: S([2]).assert_same_rank([3, 4]), r"Shapes \(2,\) and \(3, 4\) must have the same rank"),
            (lambda: S([2]).assert_has_rank(2), r"Shape \(2,\) must have rank 2"),
            (lambda: S([2]).with_rank(2), r"Shape \(2,\) must have rank 2"),
            (lambda: S([3]).with_rank_at_least(2), r"Shape \(3,\) must have rank at least 2"),
            (lambda: S([3, 3]).with_rank_at_most(1), r"Shape \(3, 3\) must have rank at most 1"),
            (lambda: S([2]).merge_with([3]), r"Shapes \(2,\) and \(3,\) are not compatible"),
            (lambda: S([2]).merge_with([3, 4]), r"Shapes \(2,\) and \(3, 4\) are not compatible"),
            (lambda: S([2, None]).assert_is_fully_defined(), r"Shape \(2, \?\) is not fully defined"),
        ],
    )
    def test_failing_checks(self, check, text):
        with pytest.raises(ValueError, match=text):
            check()

    def test_passing_checks(self):
        S(None).assert_has_rank(2)
        S(None).assert_same_rank([1])
        S([2]).assert_is_fully_defined()
        assert str(S(None).with_rank(2)) == "(?, ?)" and str(S([3, 4]).with_rank(2)) == "(3, 4)"
        assert S([3, 3]).with_rank_at_most(2) == [3, 3] and S(None).with_rank_at_least(2).ndims is None

    def test_joining(self):
        assert S([None, 3]).merge_with([2, None]) == [2, 3] and S(None).merge_with([2]) == [2]
        other = [3]
        assert S([2]).concatenate([3]) == S([2]) + other == [2, 3] == other[:0] + S([2, 3])
        assert (S([2]) + None).ndims is None and (S(None) + other).ndims is None
        assert S([None, 2]).most_specific_compatible_shape([3, 2]) == [None, 2]
        assert S([1, 2]).most_specific_compatible_shape([1]).ndims is None

    def test_copies(self):
        for shape in (S(None), S([None, 3]), S([])):
            assert pickle.loads(pickle.dumps(shape)) == copy.deepcopy(shape) == shape

    def test_makers(self):
        assert (
            str(unknown_shape()) == "<unknown>"
            and str(unknown_shape(2)) == str(unknown_shape(ndims=2)) == "(?, ?)"
        )
        assert [tensor_shapes.scalar(), tensor_shapes.vector(3), tensor_shapes.matrix(2, None)] == [
            [],
            [3],
            [2, None],
        ]


class TestRules:
    """The functions on plain tuples that shape rules are made of."""

    def test_broadcasting(self):
        assert shapes.broadcast((2, 1), (3,)) == (2, 3) and shapes.broadcast((), (4,), None) is None
        assert shapes.broadcast((UNKNOWN, 3), (4, 1)) == (4, 3)
        assert shapes.broadcast((UNKNOWN,), (1,)) == (UNKNOWN,)
        with pytest.raises(ValueError, match="Dimensions must be equal, but are 2 and 3"):
            shapes.broadcast((5, 2), (3,))

    def test_merging(self):
        assert shapes.merge((UNKNOWN, 2), (3, UNKNOWN)) == (3, 2) and shapes.merge(None, (1,)) == (1,)
        with pytest.raises(ValueError, match="Dimension 1 in both shapes must be equal, but are 3 and 4"):
            shapes.merge((2, 3), (2, 4))
        with pytest.raises(ValueError, match="Shapes must be equal rank, but are 1 and 2"):
            shapes.merge((2,), (2, 3))

    def test_joining(self):
        assert shapes.join((2, 3), (2, 4)) == (2, UNKNOWN) and shapes.join((2,), (2, 3)) is None

    def test_ranks(self):
        assert shapes.dims(None, 2) == (UNKNOWN, UNKNOWN)
        with pytest.raises(ValueError, match="Shape must be rank 2 but is rank 1"):
            shapes.dims((3,), 2)
        assert shapes.normalize_axis(-1, 3) == 2
        with pytest.raises(ValueError, match="Invalid axis 3"):
            shapes.normalize_axis(3, 3)

    def test_spec(self):
        spec = Spec(tf.int32, (2,), shapes.as_value([3, UNKNOWN]))
        assert (spec.rank, spec.is_static) == (1, True) and hash(spec.key)
        assert shapes.from_value(spec.value) == (3, UNKNOWN)
        assert shapes.from_value(None, 2) == (UNKNOWN, UNKNOWN) and shapes.from_value(None) is None


def _x():
    return tf.placeholder(tf.float32, [None, 5, 6])


# What TensorFlow says of expressions over `x`, [?, 5, 6]; where tahr knows more, its answer is given.
STATIC = {
    "stack": (lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], 30])), [None, 30]),
    "list": (lambda x: tf.reshape(x, [tf.shape(x)[0], 30]), [None, 30]),
    "minus_one": (lambda x: tf.reshape(x, [-1, 30]), [None, 30]),
    "product": (lambda x: tf.reshape(x, [-1, tf.shape(x)[1] * tf.shape(x)[2]]), [None, 30]),
    "reduce_prod": (lambda x: tf.reshape(x, [tf.shape(x)[0], tf.reduce_prod(tf.shape(x)[1:])]), [None, 30]),
    "concat": (lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:-1], [2, 3]], 0)), [None, 5, 2, 3]),
    "size": (lambda x: tf.reshape(x, [tf.size(x[0]), -1]), [30, None]),
    "unstack": (lambda x: tf.reshape(x, [-1, tf.unstack(tf.shape(x))[2]]), [None, 6]),
    "zeros": (lambda x: tf.zeros(tf.shape(x)), [None, 5, 6]),
    "fill": (lambda x: tf.fill(tf.shape(x)[1:], 1.0), [5, 6]),
    "tile": (lambda x: tf.tile(x, [1, 2, tf.shape(x)[1]]), [None, 10, 30]),
    "arithmetic": (
        lambda x: tf.ones(
            [tf.shape(x)[1] // 2, tf.shape(x)[1] % 2, 8 - tf.shape(x)[1], tf.maximum(tf.shape(x)[1], 9)]
        ),
        [2, 1, 3, 9],
    ),
    "cast": (lambda x: tf.ones(tf.cast(tf.shape(x)[1:], tf.int64)), [5, 6]),
    "rank": (lambda x: tf.ones([tf.rank(x), tf.size(x[0, 0])]), [3, 6]),
    "range": (lambda x: tf.range(tf.shape(x)[1]), [5]),
    "range_unknown": (lambda x: tf.range(tf.shape(x)[0]), [None]),
    "slice": (lambda x: tf.slice(x, [0, 1, 0], [-1, 2, tf.shape(x)[2]]), [None, 2, 6]),
    "fed_size": (lambda x: tf.reshape(x, [tf.placeholder(tf.int32, []), 30]), [None, 30]),
    "fed_shape": (lambda x: tf.reshape(x, tf.placeholder(tf.int32, [2])), [None, None]),
    "dimension": (lambda x: tf.reshape(x, [-1, x.shape[1] * x.shape[2]]), [None, 30]),
    "shape_of": (lambda x: tf.zeros([x.shape[1], x.get_shape()[2].value]), [5, 6]),
}


@pytest.mark.parametrize("case", STATIC)
def test_static_shapes(case):
    build, expected = STATIC[case]
    assert build(_x()).shape.as_list() == expected


def test_a_partly_known_shape_can_be_run():
    x = _x()
    b, h, w = tf.unstack(tf.shape(x))
    y = tf.reshape(x, [b * h, w])
    assert y.shape.as_list() == [None, 6]
    with tf.Session() as session:
        for batch in (0, 1, 4):
            assert session.run(y, {x: np.zeros((batch, 5, 6))}).shape == (batch * 5, 6)


@pytest.mark.parametrize("value", [tf.TensorShape([None, 3]), tf.TensorShape(None)])
def test_a_partly_known_shape_is_no_tensor(value):
    with pytest.raises(ValueError, match="Cannot convert a partially known TensorShape to a Tensor"):
        tf.zeros(value)
