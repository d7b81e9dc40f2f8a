"""Movement: where ops say that elements lie, against their kernels, over the table of samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from tahr.core import dtypes
from tahr.core.forms import Movement
from tahr.core.opdef import OPS, Array
from tahr.core.shapes import Spec
from tahr.core.sizes import evaluate, symbol
from tahr.core.views import Assembly, View
from tests.evaluate import compute_kernel
from tests.ops import checks
from tests.ops.samples import Sample, collect

MOVES = {name: op for name, op in OPS.items() if op.view_rule or op.parts_rule}
CASES = [s for name, samples in collect().items() if name in MOVES for s in samples if s.stateful is None]

# Ops that move elements without such a rule.
WITHOUT_RULE = {
    "Const": "it has no input",
    "_Arg": "it stands for what is fed to a function",
    "EmptyTensorList": "lists are not tensors",
    "TensorListReserve": "lists are not tensors",
    "TensorListPopBack": "lists are not tensors",
    "IdentityN": "it stands for several Identity ops",
}


def test_every_movement_has_a_rule() -> None:
    movements = {name for name, op in OPS.items() if isinstance(op.form, Movement)}
    without = {name for name in movements if name not in MOVES}
    assert without == {name for name in WITHOUT_RULE if name in OPS}


def test_rules_belong_to_movements() -> None:
    assert all(isinstance(op.form, Movement) for op in MOVES.values())
    assert not [name for name, op in MOVES.items() if op.view_rule and op.parts_rule]


# ---------------------------------------------------------------- views and parts, made arrays


def places(view: View, sizes: Mapping[str, int]) -> Array:
    """The places in the storage of each element of a view."""

    def numbers(dims: Any) -> list[int]:
        return [evaluate(d, sizes) for d in dims]

    shape, strides, (begin,) = numbers(view.shape), numbers(view.strides), numbers([view.offset])
    assert all(d >= 0 for d in shape)
    where = np.full(shape, begin)
    for index, stride in zip(np.indices(shape), strides, strict=True):
        where += index * stride
    return where


def taken(storage: Array, view: View, sizes: Mapping[str, int]) -> Array:
    """The elements of a view, all of which must lie within the storage."""
    where = places(view, sizes)
    assert where.size == 0 or 0 <= where.min() <= where.max() < storage.size
    return storage.take(where) if where.ndim else np.array(storage[where], dtype=storage.dtype)


def put_together(assembly: Assembly, arrays: list[Array], like: Array, sizes: Mapping[str, int]) -> Array:
    """What the parts make; each element must come from one place."""
    times = np.zeros(like.size, int)
    result = np.zeros(like.size, like.dtype)
    if like.dtype.kind == "O":
        result[:] = b""
    elif assembly.fill_input is not None:
        result[:] = arrays[assembly.fill_input]
    else:
        result[:] = assembly.fill or 0
    for part in assembly.parts:
        where = places(part.target, sizes)
        assert where.size == 0 or 0 <= where.min() <= where.max() < result.size
        result[where] = taken(arrays[part.input].ravel(), part.source, sizes)
        np.add.at(times, where, 1)
    assert times.max(initial=0) <= 1
    is_whole = assembly.fill is None and assembly.fill_input is None
    assert not is_whole or times.min(initial=1) == 1
    return result.reshape(like.shape)


def moved(
    case: checks.Case, specs: list[Spec], wanted: list[Array], sizes: Mapping[str, int]
) -> list[Array] | None:
    """The outputs as the op's rule describes them, or None where it does not."""
    opdef = case.opdef
    outs = opdef.infer(specs, case.attrs)
    if opdef.view_rule is not None:
        views = opdef.views(specs, outs, case.attrs)
        storage = case.arrays[opdef.viewed].ravel()
        return None if views is None else [taken(storage, view, sizes) for view in views]
    assembly = opdef.assembly(specs, outs, case.attrs)
    return None if assembly is None else [put_together(assembly, case.arrays, wanted[0], sizes)]


def compare(found: list[Array], wanted: list[Array]) -> None:
    assert len(found) == len(wanted)
    for have, want in zip(found, wanted):
        assert have.shape == want.shape
        assert have.astype(want.dtype).tobytes() == want.tobytes() or np.array_equal(have, want)


def in_first_dtype(sample: Sample) -> tuple[checks.Case, list[Array]]:
    case = checks.make_case(OPS[sample.op], sample, sample.dtypes[0] if sample.dtypes else None)
    return case, [np.asarray(y) for y in compute_kernel(case.opdef, case.arrays, case.attrs)]


# ---------------------------------------------------------------- checks


@pytest.mark.parametrize("sample", CASES, ids=str)
def test_known_sizes(sample: Sample) -> None:
    case, wanted = in_first_dtype(sample)
    found = moved(case, case.specs, wanted, {})
    assert found is not None
    compare(found, wanted)


def _sizes_as_symbols(spec: Spec, leading_only: bool) -> Spec:
    """A tensor whose (leading) sizes of 2 and more are called s2, s3 and so on; not one that holds indices."""
    if spec.value is not None or spec.shape is None:
        return spec
    named = [symbol(f"s{d}") if isinstance(d, int) and d > 1 else d for d in spec.shape]
    return Spec(spec.dtype, (*named[:1], *spec.shape[1:]) if leading_only else tuple(named))


def _values_as_symbols(spec: Spec) -> Spec:
    """Indices of 2 and more are called s2, s3 and so on as well."""
    if spec.value is None:
        return spec
    value = np.empty(spec.value.shape, dtype=object)
    for place, d in np.ndenumerate(spec.value):
        value[place] = symbol(f"s{d}") if d > 1 else d
    return spec._replace(value=value)


SIZES = {f"s{n}": n for n in range(2, 2000)}


def _described(case: checks.Case) -> Iterator[list[Spec]]:
    """Ways to know less of a case's inputs."""
    for leading_only in (True, False):
        sized = [_sizes_as_symbols(spec, leading_only) for spec in case.specs]
        yield sized
        yield [_values_as_symbols(spec) for spec in sized]


@pytest.mark.parametrize("sample", CASES, ids=str)
def test_symbolic_sizes(sample: Sample) -> None:
    case, wanted = in_first_dtype(sample)
    for specs in _described(case):
        found = moved(case, specs, wanted, SIZES)
        if found is not None:
            compare(found, wanted)


@pytest.mark.parametrize("sample", [s for s in CASES if MOVES[s.op].view_rule], ids=str)
def test_view_of_a_view(sample: Sample) -> None:
    """The viewed input itself lies transposed, behind three other elements."""
    case, wanted = in_first_dtype(sample)
    x = case.arrays[case.opdef.viewed]
    storage = np.concatenate([np.zeros(3, x.dtype), x.T.ravel()])
    dense = View.dense(x.shape[::-1]).transposed(range(x.ndim)[::-1])
    lies = View(dense.shape, dense.strides, 3)
    views = case.opdef.views(case.specs, case.opdef.infer(case.specs, case.attrs), case.attrs, lies)
    if views is not None:
        compare([taken(storage, view, {}) for view in views], wanted)
    assert views is not None or sample.op == "Reshape"


@pytest.mark.parametrize("sample", CASES, ids=str)
def test_unknown_sizes_are_no_view(sample: Sample) -> None:
    case, wanted = in_first_dtype(sample)
    specs = [Spec(spec.dtype, None) for spec in case.specs]
    assert moved(case, specs, wanted, {}) is None


# ---------------------------------------------------------------- what must not be missed


def known(op: str, *inputs: Any, **attrs: Any) -> Any:
    """What the rule of an op says: its views or its assembly. Lists of integers and sizes are index inputs."""
    specs: list[Spec] = []
    for x in inputs:
        if isinstance(x, tuple):
            specs.append(Spec(dtypes.float32, x))
        else:
            value = np.array(x, dtype=object)
            specs.append(Spec(dtypes.int32, value.shape, value))
    opdef = OPS[op]
    attrs = {**opdef.attrs, **attrs}
    outs = opdef.infer(specs, attrs)
    if opdef.view_rule is None:
        return opdef.assembly(specs, outs, attrs)
    views = opdef.views(specs, outs, attrs)
    assert views is None or [view.shape for view in views] == [out.shape for out in outs]
    return views


N: Any = symbol("n")
ROWS: dict[str, Any] = {"begin_mask": 1, "end_mask": 1}


@pytest.mark.parametrize(
    ("op", "inputs", "attrs"),
    [
        ("Reshape", ((N, 28, 28, 1), [-1, 784]), {}),
        ("Reshape", ((N, 12), [N, 3, 4]), {}),
        ("ExpandDims", ((N, 3), -1), {}),
        ("Squeeze", ((N, 1, 3), ), {"squeeze_dims": (1,)}),
        ("Squeeze", ((N, 1, 3), ), {}),
        ("Transpose", ((N, 8, 3), [1, 0, 2]), {}),
        ("ReverseV2", ((N, 8), [0]), {}),
        ("BroadcastTo", ((3,), [N, 3]), {}),
        ("BroadcastTo", ((N, 1), [4, N, 3]), {}),
        ("Fill", ([N, 3], ()), {}),
        ("Slice", ((N, 8), [0, 2], [-1, 3]), {}),
        ("Slice", ((N, 8), [1, 0], [N - 1, 8]), {}),
        ("StridedSlice", ((N, 8), [0, 1], [0, -1], [1, 2]), ROWS),
        ("StridedSlice", ((N, 8), [10], [20], [1]), {}),
        ("StridedSlice", ((N, 8), [-1], [0], [1]), {"shrink_axis_mask": 1}),
        ("StridedSlice", ((N, 8), [0], [0], [-1]), ROWS),
        ("StridedSlice", ((8, N), [0, 0], [0, N - 1], [1, 1]), ROWS),
        ("StridedSliceGrad", ([N, 8], [0, 1], [0, 4], [1, 1], (N, 3)), ROWS),
        ("Split", (1, (N, 8)), {"num_split": 4}),
        ("Split", (0, (4 * N, 8)), {"num_split": 4}),
        ("SplitV", ((N, 8), [3, -1], 1), {"num_split": 2}),
        ("Unpack", ((N, 8), ), {"num": 8, "axis": 1}),
        ("MatrixDiagPart", ((N, 5, 5), ), {}),
        ("DiagPart", ((N, N), ), {}),
        ("Pad", ((N, 8), [[0, 0], [1, 2]]), {}),
        ("PadV2", ((N, 8), [[1, 0], [1, 2]], ()), {}),
        ("MirrorPad", ((N, 8), [[0, 0], [1, 2]]), {"mode": "REFLECT"}),
        ("Tile", ((N, 8), [1, 3]), {}),
        ("Tile", ((1, 8), [N, 1]), {}),
        ("MatrixDiag", ((N, 8), ), {}),
        ("Diag", ((N,), ), {}),
        ("Roll", ((N, 8), [1, -2], [0, 1]), {}),
        ("SpaceToDepth", ((N, 8, 8, 3), ), {"block_size": 2}),
        ("DepthToSpace", ((N, 8, 8, 12), ), {"block_size": 2}),
        ("SpaceToBatchND", ((N, 8, 8, 3), [2, 2], [[0, 0], [1, 1]]), {}),
        ("SpaceToBatchND", ((N, 8, 8, 3), [2, 2], [[0, 0], [0, 0]]), {}),
        ("BatchToSpaceND", ((4 * N, 4, 5, 3), [2, 2], [[0, 0], [1, 1]]), {}),
    ],
    ids=str,
)  # fmt: skip
def test_any_batch_size_is_known(op: str, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> None:
    assert known(op, *inputs, **attrs) is not None


@pytest.mark.parametrize(
    ("op", "inputs", "attrs"),
    [
        ("BroadcastTo", ((N,), [4]), {}),
        ("BroadcastTo", ((1,), [N - 3]), {}),
        ("Fill", ([N - 3], ()), {}),
        ("Slice", ((N, 8), [0, 0], [4, 8]), {}),
        ("Slice", ((N, 8), [3, 0], [1, 8]), {}),
        ("StridedSlice", ((N, 8), [5], [0], [1]), {"shrink_axis_mask": 1}),
        ("StridedSlice", ((N, 8), [N - 4], [N], [1]), {}),
        ("StridedSliceGrad", ([N, 8], [0, 1], [0, 4], [1, 1], (5, 3)), ROWS),
        ("Split", (0, (N, 8)), {"num_split": 4}),
        ("SplitV", ((N, 8), [3, -1], 0), {"num_split": 2}),
        ("Unpack", ((N, 8), ), {"num": 8, "axis": 0}),
        ("DiagPart", ((N, 8), ), {}),
        ("Pad", ((N, 8), [[0, 0], [N - 3, 2]]), {}),
        ("MirrorPad", ((N, 8), [[3, 0], [1, 2]]), {"mode": "REFLECT"}),
        ("Tile", ((N, 8), [N - 3, 1]), {}),
        ("Roll", ((N - 2, 8), [1], [0]), {}),
        ("Roll", ((N, 8), [1], [2]), {}),
        ("SpaceToDepth", ((N, N, 8, 3), ), {"block_size": 2}),
        ("SpaceToBatchND", ((N, N, 8, 3), [2, 2], [[0, 0], [0, 0]]), {}),
        ("SpaceToBatchND", ((N, 90, 3), [9 * 9], [[0, 72]]), {}),
        ("BatchToSpaceND", ((N, 8, 8, 3), [2, 2], [[0, 0], [0, 0]]), {}),
    ],
    ids=str,
)  # fmt: skip
def test_what_must_be_checked_or_is_not_known_is_left_to_the_kernel(
    op: str, inputs: tuple[Any, ...], attrs: dict[str, Any]
) -> None:
    assert known(op, *inputs, **attrs) is None
