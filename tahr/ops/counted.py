"""Operations on rows of which only the first ones count: how many, is known when they run.

They stand in Programs for operations whose number of rows depends on data, but is seen by nobody (`program.padding`).
What finds such rows also gives their number, as its last output; what has to know it takes it as one more input. NumPy
kernels do what they would do with just the rows that count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import constant
from tahr.core.dtypes import INTEGERS, DType
from tahr.core.forms import (
    HOST,
    Accumulation,
    Distinct,
    Form,
    Lookup,
    Places,
    Reduction,
    RowUpdate,
    Scatter,
    Scattered,
)
from tahr.core.graph import Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.ops import elementwise, fills, structural
from tahr.ops.candidate_sampling import ComputeAccidentalHits
from tahr.ops.indexing import Where
from tahr.ops.logic import SelectV2
from tahr.ops.reductions import ElementsPerOutput, Mean
from tahr.ops.scattering import SparseToDense, TensorScatterUpdate
from tahr.ops.sorting import Unique

# ---------------------------------------------------------------- what finds rows

# What stands for `Unique`.
PaddedUnique = OpDef(
    "_PaddedUnique",
    "x: T -> y: T, idx: out_idx, count: int32",
    attrs={"out_idx": dtypes.int32},
    types={"T": INTEGERS},
    form=Distinct(),
    register=False,
).not_differentiable()


@PaddedUnique.shape
def _padded_unique_shape(x: Spec, *, out_idx: DType) -> list[Shape]:
    shape = shapes.dims(x.shape, 1)
    return [shape, shape, ()]


@PaddedUnique.kernel
def _padded_unique_kernel(x: Array, *, out_idx: DType) -> tuple[Array, Array, Array]:
    assert Unique.compute is not None
    found, idx = Unique.compute(x, out_idx=out_idx)
    y = np.full_like(x, found[0] if found.size else 0)
    y[: found.size] = found
    return y, idx, np.asarray(found.size, np.int32)


# What stands for `Where`.
PaddedWhere = OpDef(
    "_PaddedWhere",
    "input: T -> index: int64, count: int32",
    types=Where.types,
    form=Places(),
    register=False,
).not_differentiable()


@PaddedWhere.shape
def _padded_where_shape(x: Spec) -> list[Shape]:
    return [None if x.shape is None else (shapes.num_elements(x.shape), len(x.shape)), ()]


@PaddedWhere.kernel
def _padded_where_kernel(x: Array) -> tuple[Array, Array]:
    assert Where.compute is not None
    found = Where.compute(x)
    return _padded(found, x.size), np.asarray(len(found), np.int32)


# What stands for `ComputeAccidentalHits`.
PaddedAccidentalHits = OpDef(
    "_PaddedAccidentalHits",
    ComputeAccidentalHits.signature + ", count: int32",
    attrs=ComputeAccidentalHits.attrs,
    register=False,
).not_differentiable()


@PaddedAccidentalHits.shape
def _padded_hits_shape(true_classes: Spec, sampled: Spec, **_: Any) -> list[Shape]:
    pairs = (*shapes.dims(true_classes.shape, 2), *shapes.dims(sampled.shape, 1))
    return [*([(shapes.num_elements(pairs),)] * 3), ()]


@PaddedAccidentalHits.kernel
def _padded_hits_kernel(true_classes: Array, sampled: Array, **attrs: Any) -> tuple[Array, ...]:
    assert ComputeAccidentalHits.compute is not None
    found = ComputeAccidentalHits.compute(true_classes, sampled, **attrs)
    padded = (_padded(rows, true_classes.size * sampled.size) for rows in found)
    return (*padded, np.asarray(len(found[0]), np.int32))


def _padded(rows: Array, height: int) -> Array:
    """As many rows as said: those given, and zeros behind them."""
    padded = np.zeros((height, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


PADDED = {Unique: PaddedUnique, Where: PaddedWhere, ComputeAccidentalHits: PaddedAccidentalHits}
"""What stands for each op that finds rows."""


# ---------------------------------------------------------------- what is told how many there are


def can_be_counted(opdef: OpDef) -> bool:
    """Whether an op writes rows of variables that it is given in order, so that it can stop behind some of them."""
    return isinstance(opdef.form, RowUpdate) or (isinstance(opdef.form, Scatter) and not opdef.form.tuples)


def row_inputs(opdef: OpDef) -> tuple[int, ...]:
    """Which inputs of such an op are rows: for a write the one with their numbers, then the one with the rows."""
    form = opdef.form
    if isinstance(form, RowUpdate):
        return form.indices, form.rows
    if isinstance(form, Accumulation):
        return form.indices, form.rows
    if isinstance(form, Scatter):
        return 1, 2
    if opdef in (SparseToDense, TensorScatterUpdate):
        return (0, 2) if opdef is SparseToDense else (1, 2)
    return (1,) if isinstance(form, Lookup) else (0,)


@cache
def counted(opdef: OpDef) -> OpDef:
    """The op that does what another does, but only with as many rows as its last input says."""
    compute, rule = opdef.compute, opdef.shape_rule
    inputs, _, outputs = opdef.signature.partition("->")
    places, gives_rows = row_inputs(opdef), isinstance(opdef.form, Lookup)
    assert compute is not None

    def shape(*specs: Spec, **attrs: Any) -> Shape:
        return None if rule is None else rule(*specs[:-1], **attrs)

    def kernel(*arguments: Any, **attrs: Any) -> Any:
        *given, count = arguments
        first = 1 if opdef.takes_context else 0
        height = len(given[places[0] + first])
        for i in places:
            rows = given[i + first]
            given[i + first] = rows[: int(count)] if rows.ndim else rows
        result = compute(*given, **attrs)
        return _padded(result, height) if gives_rows else result

    made = OpDef(
        f"_Counted{opdef.name}",
        f"{inputs}, count: int32 ->{outputs}",
        attrs=opdef.attrs,
        types=opdef.types,
        form=_counted_form(opdef),
        effects=opdef.effects,
        register=False,
    ).not_differentiable()
    made.shape(shape)
    (made.stateful_kernel if opdef.takes_context else made.kernel)(kernel)
    expansion = _expansion(opdef)
    if expansion is not None:
        made.expansion(expansion)
    return made


def _counted_form(opdef: OpDef) -> Form:
    form, count = opdef.form, len(opdef.inputs)
    if isinstance(form, Lookup):
        axes = form.axes
        uncounted = None if axes is None else lambda *specs, **attrs: axes(*specs[:-1], **attrs)
        return Lookup(uncounted, count)
    if isinstance(form, (RowUpdate, Scatter, Scattered, Accumulation)):
        return form.replaced(count=count)
    return HOST


# ---------------------------------------------------------------- in terms of other operations


def _expansion(opdef: OpDef) -> Callable[..., Tensor] | None:
    """What a counted op is made of, where it has no form of its own."""
    if isinstance(opdef.form, Reduction):
        return partial(_reduction, opdef, opdef.form)
    return {Mean: _mean, ElementsPerOutput: _elements, SparseToDense: _dense}.get(opdef)


def _reduction(opdef: OpDef, form: Reduction, x: Tensor, axes: Tensor, count: Tensor, **attrs: Any) -> Tensor:
    return opdef(_first_rows(x, count, _nothing(form, x.dtype)), axes, **attrs)


def _nothing(form: Reduction, dtype: DType) -> Any:
    """What changes no combination."""
    if not dtype.is_integer or math.isfinite(form.identity):
        return form.identity
    return dtype.min if form.identity < 0 else dtype.max


def _first_rows(x: Tensor, count: Tensor, rest: Any) -> Tensor:
    """The rows of x that count, and behind them a number."""
    assert x.spec.rank is not None
    counts = elementwise.less(structural.range_(structural.shape(x)[0]), count)
    counts = structural.reshape(counts, [-1] + [1] * (x.spec.rank - 1))
    return SelectV2(counts, x, constant(np.array(rest, x.dtype.numpy)))


def _mean(x: Tensor, axes: Tensor, count: Tensor, *, keep_dims: bool) -> Tensor:
    total = counted(structural.Sum)(x, axes, count, keep_dims=keep_dims)
    elements = counted(ElementsPerOutput)(x, total, count)
    if x.dtype.is_integer:
        return elementwise.truncatediv(total, elementwise.maximum(elements, 1))
    return elementwise.realdiv(total, elements)


def _elements(x: Tensor, y: Tensor, count: Tensor) -> Tensor:
    of_a_row = ElementsPerOutput(structural.reduce_sum(x, [0]), y)
    return elementwise.multiply(elementwise.cast(count, x.dtype), of_a_row)


def _dense(
    indices: Tensor, shape: Tensor, values: Tensor, default: Tensor, count: Tensor, *, validate_indices: bool
) -> Tensor:
    return counted(TensorScatterUpdate)(fills.fill(shape, default), indices, values, count)
