"""Operations on rows of which only the first ones count: how many, is known when they run.

They stand in Programs for operations whose number of rows depends on data, but is seen by nobody (`program.padding`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.dtypes import INTEGERS, DType
from tahr.core.opdef import Array, Distinct, OpDef, RowUpdate, Scatter
from tahr.core.shapes import Shape, Spec
from tahr.ops.sorting import Unique

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


def can_be_counted(opdef: OpDef) -> bool:
    """Whether an op writes rows of variables that it is given in order, so that it can stop behind some of them."""
    return isinstance(opdef.form, RowUpdate) or (isinstance(opdef.form, Scatter) and not opdef.form.tuples)


def row_inputs(opdef: OpDef) -> tuple[int, int]:
    """Which input of such an op holds the numbers of rows, and which the rows."""
    form = opdef.form
    assert isinstance(form, (RowUpdate, Scatter))
    return (form.indices, form.rows) if isinstance(form, RowUpdate) else (1, 2)


@cache
def counted(opdef: OpDef) -> OpDef:
    """The op that writes rows as another does, but only as many as its last input says."""
    compute, rule = opdef.compute, opdef.shape_rule
    inputs, _, outputs = opdef.signature.partition("->")
    places = row_inputs(opdef)
    assert compute is not None and isinstance(opdef.form, (RowUpdate, Scatter))

    def shape(*specs: Spec, **attrs: Any) -> Shape:
        return None if rule is None else rule(*specs[:-1], **attrs)

    def kernel(context: Any, *arrays: Any, **attrs: Any) -> Any:
        *given, count = arrays
        for i in places:
            given[i] = given[i][: int(count)] if given[i].ndim else given[i]
        return compute(context, *given, **attrs)

    made = OpDef(
        f"_Counted{opdef.name}",
        f"{inputs}, count: int32 ->{outputs}",
        attrs=opdef.attrs,
        types=opdef.types,
        form=opdef.form.replaced(count=len(opdef.inputs)),
        effects=opdef.effects,
        register=False,
    ).not_differentiable()
    made.shape(shape)
    made.stateful_kernel(kernel)
    return made
