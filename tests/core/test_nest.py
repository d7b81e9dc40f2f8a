"""Nested structures, as `tf.nest` and TensorFlow 1.15's `nest` treat them."""

# Wrong arguments are the subject of many tests here.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportUnusedExpression=false

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest

from tahr.core import nest


class Pair(NamedTuple):
    a: object
    b: object


class Other(NamedTuple):
    a: object
    b: object


@pytest.mark.parametrize(
    ("structure", "leaves"),
    [
        ({"b": 1, "a": 2}, [2, 1]),
        (OrderedDict([("b", 1), ("a", 2)]), [2, 1]),
        ([1, (2, [3])], [1, 2, 3]),
        (Pair(1, [2, 3]), [1, 2, 3]),
        ([{"z": 1, "y": [2, 3]}, 4], [2, 3, 1, 4]),
        (5, [5]),
        ("abc", ["abc"]),
        (None, [None]),
        ([], []),
        ([[], {}, ()], []),
        ({"a": 1}.values(), [1]),
    ],
)
def test_flatten_and_pack(structure, leaves):
    assert nest.flatten(structure) == leaves
    packed = nest.pack_sequence_as(structure, [f"leaf {leaf}" for leaf in leaves])
    assert nest.flatten(packed) == [f"leaf {leaf}" for leaf in leaves]
    nest.assert_same_structure(structure, packed, check_types=False)


def test_packing_keeps_types_and_the_order_of_keys():
    packed = nest.pack_sequence_as(OrderedDict([("b", 1), ("a", 2)]), [10, 20])
    assert type(packed) is OrderedDict and list(packed.items()) == [("b", 20), ("a", 10)]
    assert nest.pack_sequence_as(Pair(1, [2, 3]), [7, 8, 9]) == Pair(7, [8, 9])
    assert nest.pack_sequence_as(5, [6]) == 6


def test_what_is_nested():
    assert [nest.is_sequence(v) for v in ([1], (), {}, Pair(1, 2), {}.values())] == [True] * 5
    assert [nest.is_sequence(v) for v in ("a", b"a", {1}, np.zeros(2), 3, None)] == [False] * 6


def test_map_structure():
    assert nest.map_structure(lambda x, y: x + y, [1, (2, 3)], [4, (5, 6)]) == [5, (7, 9)]
    assert nest.map_structure(str, {"a": 1}) == {"a": "1"}
    assert nest.map_structure(lambda a, b: (a, b), [1, 2], (3, 4), check_types=False) == [(1, 3), (2, 4)]


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        ([1, 2], [1], ValueError),
        ([1, [2]], [1, 2], ValueError),
        ([1], 1, ValueError),
        ([1, 2], (1, 2), TypeError),
        ({"a": 1}, {"b": 1}, ValueError),
        (Pair(1, 2), Other(1, 2), TypeError),
    ],
)
def test_different_structures(a, b, kind):
    with pytest.raises(kind, match="don't have the same nested structure"):
        nest.assert_same_structure(a, b)
    with pytest.raises(kind, match="don't have the same nested structure"):
        nest.map_structure(lambda x, y: x, a, b)


def test_bad_input():
    with pytest.raises(TypeError, match="sortable keys"):
        nest.flatten({1: 2, "a": 3})
    with pytest.raises(ValueError, match=r"Could not pack sequence\. Structure had 2"):
        nest.pack_sequence_as([1, 2], [1])
    with pytest.raises(ValueError, match=r"Could not pack sequence\. Structure had 1"):
        nest.pack_sequence_as(5, [1, 2])
    with pytest.raises(TypeError, match="flat_sequence"):
        nest.pack_sequence_as([1], 5)
    with pytest.raises(TypeError, match="callable"):
        nest.map_structure(3, [1])
    with pytest.raises(ValueError, match="at least one structure"):
        nest.map_structure(lambda: 1)
