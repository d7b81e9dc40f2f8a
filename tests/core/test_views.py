"""Views: each operation on the map is the operation on the array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tahr.core import sizes
from tahr.core.sizes import UNKNOWN
from tahr.core.views import Part, Run, View, dense_strides, parts_of_runs

S: Any = sizes.symbol("s")
STORAGE = np.arange(120)
CUBE = STORAGE.reshape(4, 5, 6)


def shown(view: View, storage: np.ndarray[Any, Any] = STORAGE, s: int = 4) -> np.ndarray[Any, Any]:
    """The array that a view is of a storage."""

    def numbers(dims: Any) -> list[int]:
        return [sizes.evaluate(d, {"s": s}) for d in dims]

    shape, (begin,) = numbers(view.shape), numbers([view.offset])
    steps = [stride * storage.itemsize for stride in numbers(view.strides)]
    return np.lib.stride_tricks.as_strided(storage[begin:], shape, steps)


def test_dense() -> None:
    assert dense_strides((4, 5, 6)) == (30, 6, 1)
    assert dense_strides((2, S)) == (S, 1)
    assert dense_strides(()) == ()
    assert View.dense((4, S)).is_dense
    assert not View.dense((4, S)).transposed((1, 0)).is_dense
    assert np.array_equal(shown(View.dense((4, 5, 6))), CUBE)


OPERATIONS: list[tuple[str, Callable[[View], View], Callable[[Any], Any]]] = [
    ("transposed", lambda v: v.transposed((2, 0, -2)), lambda x: x.transpose(2, 0, 1)),
    ("sliced", lambda v: v.sliced((1, 0, 5), (2, 1, -2), (2, 5, 3)), lambda x: x[1::2, :, 5::-2]),
    ("narrowed", lambda v: v.narrowed(1, 1, 2, 3), lambda x: x[:, 1::3]),
    ("at", lambda v: v.at(1, 3), lambda x: x[:, 3]),
    ("reversed", lambda v: v.reversed((0, 2)), lambda x: x[::-1, :, ::-1]),
    ("expanded", lambda v: v.expanded(1), lambda x: x[:, None]),
    ("expanded at the end", lambda v: v.expanded(3), lambda x: x[..., None]),
    ("repeated", lambda v: v.expanded(1).repeated(1, 7), lambda x: np.repeat(x[:, None], 7, 1)),
    ("diagonal", lambda v: v.diagonal(0, 2, 4), lambda x: x.diagonal(axis1=0, axis2=2).T),
    ("without", lambda v: v.without((0, 2)), lambda x: x[0, :, 0]),
    ("broadcast", lambda v: v.broadcast((2, 4, 5, 6)), lambda x: np.broadcast_to(x, (2, 4, 5, 6))),
    ("broadcast from 1", lambda v: v.narrowed(1, 2, 1).broadcast((4, 3, 6)),
     lambda x: np.broadcast_to(x[:, 2:3], (4, 3, 6))),
]  # fmt: skip


@pytest.mark.parametrize(("_", "view", "array"), OPERATIONS, ids=[name for name, _, _ in OPERATIONS])
@pytest.mark.parametrize("first", [4, S], ids=str)
def test_operation(first: Any, _: str, view: Callable[[View], View], array: Callable[[Any], Any]) -> None:
    whole = View.dense((first, 5, 6))
    assert np.array_equal(shown(view(whole)), array(CUBE))
    assert np.array_equal(shown(view(whole.reversed((0, 2)))), array(CUBE[::-1, :, ::-1]))


class TestReshaped:
    @pytest.mark.parametrize("shape", [(120,), (20, 6), (4, 30), (2, 2, 5, 3, 2), (1, 4, 1, 5, 6, 1)])
    def test_dense(self, shape: tuple[int, ...]) -> None:
        view = View.dense((4, 5, 6)).reshaped(shape)
        assert view is not None and np.array_equal(shown(view), CUBE.reshape(shape))

    @pytest.mark.parametrize("shape", [(4, 6, 5), (2, 2, 6, 5), (4, 3, 2, 5), (4, 1, 6, 5), (4, 6, 5, 1)])
    def test_splitting_what_is_transposed(self, shape: tuple[int, ...]) -> None:
        view = View.dense((4, 5, 6)).transposed((0, 2, 1)).reshaped(shape)
        assert view is not None and np.array_equal(shown(view), CUBE.transpose(0, 2, 1).reshape(shape))

    def test_merging_what_is_transposed_is_no_view(self) -> None:
        assert View.dense((4, 5, 6)).transposed((0, 2, 1)).reshaped((4, 30)) is None
        assert View.dense((4, 5, 6)).transposed((2, 1, 0)).reshaped((120,)) is None

    def test_merging_without_gaps(self) -> None:
        view = View.dense((4, 5, 6)).narrowed(0, 1, 2).reshaped((10, 6))
        assert view is not None and np.array_equal(shown(view), CUBE[1:3].reshape(10, 6))
        assert View.dense((4, 5, 6)).narrowed(1, 1, 2).reshaped((8, 6)) is None

    def test_symbolic_sizes(self) -> None:
        view = View.dense((S, 5, 6)).transposed((0, 2, 1)).reshaped((S, 2, 3, 5))
        assert view is not None
        assert np.array_equal(shown(view), CUBE.transpose(0, 2, 1).reshape(4, 2, 3, 5))
        merged = View.dense((S, 5, 6)).narrowed(2, 1, 2).reshaped((5 * S, 2))
        assert merged is not None and np.array_equal(shown(merged), CUBE[:, :, 1:3].reshape(20, 2))

    def test_broadcast_dimensions_are_no_run(self) -> None:
        wide = View.dense((1, 6)).broadcast((4, 6))
        assert wide.reshaped((24,)) is None
        split = wide.reshaped((2, 2, 6))
        assert split is not None
        assert np.array_equal(shown(split), np.broadcast_to(STORAGE[:6], (4, 6)).reshape(2, 2, 6))

    def test_nothing(self) -> None:
        view = View.dense((0, 3)).reshaped((5, 0))
        assert view is not None and view.shape == (5, 0)


def test_what_is_known() -> None:
    assert View((S,), (1,), 0).is_known
    assert not View((UNKNOWN,), (1,), 0).is_known
    assert not View((2,), (UNKNOWN,), 0).is_known
    assert not View((2,), (1,), UNKNOWN).is_known
    assert Part(0, View.dense((2, S)), View.dense((2, S))).is_known
    assert not Part(0, View.dense((2, S)), View.dense((2, 3))).is_known
    assert not Part(0, View.dense((2, S)), View.dense((2, S, 1))).is_known


def test_parts_of_runs() -> None:
    """A vector rolled by 2, and its mirror image."""
    source, target = View.dense((6,)), View.dense((12,))
    runs = [[Run(0, 2, 4), Run(4, 0, 2), Run(0, 0, 0), Run(5, 6, 6, -1)]]
    result = np.full(12, -1)
    parts = parts_of_runs(0, source, target, runs)
    for part in parts:
        shown(part.target, result)[...] = shown(part.source)
    assert len(parts) == 3
    assert result.tolist() == [4, 5, 0, 1, 2, 3, 5, 4, 3, 2, 1, 0]
