"""Lists of tensors: versions, every op against Python's lists, and gradients through all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tahr as tf
from tahr.core import dtypes
from tahr.core.opdef import OpDef
from tahr.core.shapes import Items
from tahr.core.sizes import UNKNOWN
from tahr.errors import Complaint
from tahr.ops import list_arrays, lists
from tahr.ops.list_values import StoredList, TensorList

A, B, C = np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([5.0, 6.0])


def compute(op: OpDef, *inputs: Any, **attrs: Any) -> Any:
    """What an op's kernel returns."""
    assert op.compute is not None
    return op.compute(*inputs, **attrs)


def values(items: TensorList) -> list:
    return [None if i is None else i.tolist() for i in items.items()]


def test_every_version_of_a_list_keeps_its_items():
    empty = TensorList([])
    one = empty.push("a")
    two = one.push("b")
    other = one.push("c")
    changed = two.set(0, "z")
    shorter, last = changed.pop()
    assert (empty.items(), one.items(), two.items(), other.items()) == ([], ["a"], ["a", "b"], ["a", "c"])
    assert (changed.items(), shorter.items(), last) == (["z", "b"], ["z"], "b")
    assert two.get(0) == "a" and changed.get(0) == "z" and two.get(1) == "b"


def test_long_histories_are_walked_without_recursion():
    first = TensorList([])
    versions = [first]
    for i in range(5000):
        versions.append(versions[-1].push(i))
    assert len(first) == 0 and len(versions[-1]) == 5000 and versions[2500].items() == list(range(2500))


def test_EmptyTensorList_TensorListReserve_and_TensorListLength():
    empty = compute(lists.EmptyTensorList)
    reserved = compute(lists.TensorListReserve, np.int32(3))
    assert values(empty) == [] and values(reserved) == [None] * 3
    assert [int(compute(lists.TensorListLength, x)) for x in (empty, reserved)] == [0, 3]


def test_TensorListPushBack_and_TensorListPopBack():
    attrs = {"element_dtype": tf.float64, "element_shape": (2,)}
    pushed = compute(lists.TensorListPushBack, compute(lists.TensorListPushBack, TensorList([]), A), B)
    rest, last = compute(lists.TensorListPopBack, pushed, **attrs)
    assert values(pushed) == [A.tolist(), B.tolist()] and values(rest) == [A.tolist()] and last is B
    with pytest.raises(Complaint, match="empty list"):
        compute(lists.TensorListPopBack, TensorList([]), **attrs)


def test_in_gradients_a_missing_item_is_zero():
    items = TensorList([A, None])
    zeros = np.zeros(2)
    like = np.ones(2)
    rest, last = compute(lists.TensorListPopBackLike, items, like)
    assert last.tolist() == zeros.tolist() and values(rest) == [A.tolist()]
    assert compute(lists.TensorListGetItemLike, items, np.int32(1), like).tolist() == zeros.tolist()
    assert compute(list_arrays.TensorListStackLike, items, np.ones((2, 2))).tolist() == [
        A.tolist(),
        [0.0, 0.0],
    ]
    gathered = compute(list_arrays.TensorListGatherLike, items, np.array([1, 0, 0]), np.ones((3, 2)))
    assert gathered.tolist() == [[0.0, 0.0], A.tolist(), A.tolist()]
    joined = compute(list_arrays.TensorListConcatLike, items, np.ones(4), np.array([2, 2]))
    assert joined.tolist() == [1.0, 2.0, 0.0, 0.0]


def test_TensorListZerosLike_and_TensorListAdd():
    items = TensorList([A, None, TensorList([B])])
    zeros = compute(lists.TensorListZerosLike, items)
    assert zeros.items() == [None] * 3
    total = compute(lists.TensorListAdd, items, TensorList([B, C, TensorList([C])])).items()
    assert [total[0].tolist(), total[1].tolist(), values(total[2])] == [[4.0, 6.0], C.tolist(), [[8.0, 10.0]]]


def test_sums_with_lists_of_which_one_item_is_set(monkeypatch):
    def one(index, item):
        return compute(lists.TensorListOneItem, TensorList([A, B, C]), np.int32(index), item)

    def add(a, b):
        return compute(lists.TensorListAdd, a, b)

    both = add(add(one(0, A), one(2, B)), one(0, C))
    assert values(both) == [(A + C).tolist(), None, B.tolist()] and len(both) == 3
    assert values(add(both, one(1, A))) == [(A + C).tolist(), A.tolist(), B.tolist()]
    full = TensorList([A, None, C])
    assert (
        values(add(full, one(1, B))) == values(add(one(1, B), full)) == [A.tolist(), B.tolist(), C.tolist()]
    )
    assert values(full) == [A.tolist(), None, C.tolist()]
    put = compute(
        lists.TensorListSetItem,
        one(0, A),
        np.int32(1),
        B,
        resize_if_index_out_of_bounds=False,
        write_once=False,
    )
    assert values(put) == [A.tolist(), B.tolist(), None]

    # Not even looked through: a loop that reads a list would take quadratic time for its gradient.
    monkeypatch.setattr(TensorList, "items", None)
    add(add(TensorList([A, B, C]), one(1, A)), one(2, A))


def test_gradients_of_reads_in_a_loop():
    x = tf.constant([1.0, 2.0, 3.0])
    items = tf.TensorArray(tf.float32, 3, clear_after_read=False).unstack(x)
    _, total = tf.while_loop(
        lambda i, s: i < 3,
        lambda i, s: (i + 1, s + items.read(i) ** 3 * items.read(0)),
        [0, 0.0],
    )
    (first,) = tf.gradients(total, x)
    (second,) = tf.gradients(first[0], x)
    found = tf.Session().run([first, second])  # of x0^4 + x0 x1^3 + x0 x2^3
    np.testing.assert_allclose(found[0], [39.0, 12.0, 27.0])
    np.testing.assert_allclose(found[1], [12.0, 12.0, 27.0])


def test_TensorListGetItem():
    items = TensorList([A, None])

    def get(i, shape=(2,)):
        return compute(
            lists.TensorListGetItem, items, np.int32(i), element_dtype=tf.float64, element_shape=shape
        )

    assert get(0) is A and get(1).tolist() == [0.0, 0.0]
    with pytest.raises(Complaint, match="Tried to read from index 2 but array size is: 2"):
        get(2)
    with pytest.raises(Complaint, match="element shape is not fully defined: <unknown>"):
        get(1, None)
    with pytest.raises(Complaint, match="inconsistent shapes"):
        get(0, (3,))


def test_TensorListSetItem_TensorListOneItem_and_TensorListClearItem():
    def put(items, i, resize=False, once=False):
        attrs = {"resize_if_index_out_of_bounds": resize, "write_once": once}
        return compute(lists.TensorListSetItem, items, np.int32(i), C, **attrs)

    assert values(put(TensorList([A, B]), 1)) == [A.tolist(), C.tolist()]
    assert values(put(TensorList([]), 2, resize=True)) == [None, None, C.tolist()]
    for index in (-1, 2):
        with pytest.raises(
            Complaint, match=rf"write to index {index} but array is not resizeable and size is: 2"
        ):
            put(TensorList([A, B]), index)
    with pytest.raises(Complaint, match="index 0 because it has already been written to"):
        put(TensorList([A]), 0, once=True)
    assert values(compute(lists.TensorListOneItem, TensorList([A, B]), np.int32(1), C)) == [None, C.tolist()]
    assert values(compute(lists.TensorListClearItem, TensorList([A, B]), np.int32(0))) == [None, B.tolist()]
    assert values(compute(list_arrays.TensorListClearItems, TensorList([A, B, C]), np.array([0, 2]))) == [
        None,
        B.tolist(),
        None,
    ]


def test_TensorListFromTensor_and_TensorListStack():
    rows = np.stack([A, B])

    def stack(items, count=-1, shape=(2,)):
        return compute(
            list_arrays.TensorListStack, items, np.int32(count), element_dtype=tf.float64, element_shape=shape
        )

    items = compute(list_arrays.TensorListFromTensor, rows)
    rows[0] = 7.0  # the list holds copies
    assert stack(items, 2).tolist() == [A.tolist(), B.tolist()]
    assert stack(TensorList([None, B])).tolist() == [[0.0, 0.0], B.tolist()]
    assert stack(TensorList([])).shape == (0, 2)
    with pytest.raises(Complaint, match="expected a list with 3 elements but got a list with 2"):
        stack(items, 3)
    with pytest.raises(Complaint, match=r"Index 0 has shape: .2. but index 1 has shape: .1."):
        stack(TensorList([A, A[:1]]), shape=None)
    with pytest.raises(Complaint, match="element shape <unknown> is not fully defined"):
        stack(TensorList([None]), shape=None)


def test_lists_of_strings():
    text = np.array([b"a", b"bc"], object)
    items = compute(list_arrays.TensorListFromTensor, text)
    back = compute(
        list_arrays.TensorListStack, items, np.int32(-1), element_dtype=tf.string, element_shape=()
    )
    assert back.tolist() == text.tolist()


def test_TensorListGather_and_TensorListScatterLike():
    def gather(indices, shape=(2,)):
        return compute(
            list_arrays.TensorListGather,
            TensorList([A, B, None]),
            np.array(indices, np.int32),
            element_dtype=tf.float64,
            element_shape=shape,
        )

    assert gather([1, 1, 2]).tolist() == [B.tolist(), B.tolist(), [0.0, 0.0]]
    assert gather([]).shape == (0, 2)
    with pytest.raises(Complaint, match="read from index 3 but array size is: 3"):
        gather([3])
    with pytest.raises(Complaint, match="Could not read from TensorArray index 2"):
        gather([2], None)
    sums = compute(
        list_arrays.TensorListScatterLike, TensorList([A, B, C]), np.array([1, 1]), np.stack([A, B])
    )
    assert values(sums) == [None, [4.0, 6.0], None]


def test_TensorListScatterIntoExistingList():
    def scatter(indices, resize=False, once=False, items=(None, A)):
        attrs = {"resize_if_index_out_of_bounds": resize, "write_once": once}
        rows = np.stack([B, C])
        return values(
            compute(list_arrays.TensorListScatter, TensorList(list(items)), rows, np.array(indices), **attrs)
        )

    assert scatter([1, 0]) == [C.tolist(), B.tolist()]
    assert scatter([3, 0], resize=True) == [C.tolist(), A.tolist(), None, B.tolist()]
    with pytest.raises(Complaint, match=r"Max scatter index must be < array size .2 vs. 2."):
        scatter([0, 2])
    with pytest.raises(Complaint, match="index 1 because it has already been written to"):
        scatter([0, 1], once=True)
    with pytest.raises(Complaint, match=r"but saw: 1 vs. 2"):
        scatter([0])


def test_TensorListConcat_and_TensorListSplit():
    def concat(items, shape=None):
        return compute(
            list_arrays.TensorListConcat, TensorList(items), element_dtype=tf.float64, element_shape=shape
        )

    def split(lengths, count=-1):
        return values(
            compute(list_arrays.TensorListSplit, np.arange(3.0), np.array(lengths, np.int64), np.int32(count))
        )

    joined, lengths = concat([A, C[:1]])
    assert (joined.tolist(), lengths.tolist()) == ([1.0, 2.0, 5.0], [2, 1])
    assert concat([], (0, 4))[0].shape == (0, 4)
    with pytest.raises(Complaint, match="Did you mean to call pack"):
        concat([np.array(1.0)])
    with pytest.raises(Complaint, match="empty list"):
        concat([], (0, UNKNOWN))
    assert split([2, 1], 2) == [[0.0, 1.0], [2.0]] and split([0, 3]) == [[], [0.0, 1.0, 2.0]]
    with pytest.raises(Complaint, match="sum of lengths is 4"):
        split([2, 2])
    with pytest.raises(Complaint, match=r"size of lengths \(3 vs. 2\)"):
        split([2, 1], 3)


# ---------------------------------------------------------------- lists that native code left


def _stored() -> StoredList:
    """Three items, of which one was not set, in an array with room for four."""
    return StoredList(np.arange(8.0).reshape(4, 2), np.array([3, 1, 0, 1, 9]), Items(dtypes.float64, (2,)))


def test_a_stored_list_is_one_of_those_rows() -> None:
    items = _stored()
    assert len(items) == 3 and items.item_shape == (2,)
    assert items.get(1) is None and items.get(2).tolist() == [4.0, 5.0]
    assert [None if item is None else item.tolist() for item in items.items()] == [[0, 1], None, [4, 5]]


def test_versions_of_a_stored_list_are_values() -> None:
    first = _stored()
    changed = first.set(1, A)
    rest, last = changed.pop()
    pushed = first.push(B)
    assert len(first) == 3 and first.get(1) is None and len(rest) == 2 and last.tolist() == [4.0, 5.0]
    assert changed.get(1) is A and len(pushed) == 4 and pushed.get(3) is B and pushed.get(1) is None


def test_rows_of_a_stored_list_may_be_what_lies_in_lists() -> None:
    known = Items(dtypes.variant, (), Items(dtypes.variant, (), Items(dtypes.float64, ())))
    items = StoredList(np.arange(2.0), np.array([2, 1, 1]), known)
    assert items.get(1).get(0).get(0) == 1.0 and items.item_shape == ()
    assert known.innermost == Items(dtypes.float64, ())
    assert known.of_shape((3,)).innermost.shape == (3,)
