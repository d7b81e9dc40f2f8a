"""Variables as the graph sees them: the op that stands for the variable, reads, and writes.

Two kinds share one meaning. `VariableV2` gives a reference (TensorFlow's default variables), `VarHandleOp` a resource
handle (`use_resource=True`). Neither is computed: a session puts the variable's `Cell` in their place before a run.
Reads are not kernels: which write a read sees is decided when a program is extracted (`program.effects`), so an
Identity of a reference and a ReadVariableOp become the cell's value at the start of the run, or after a write.
Every write changes the cell under its lock, so that no update from another thread is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.dtypes import INDICES, NUMBERS, DType
from tahr.core.forms import PositionWrite, Scatter, Update
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, Effects, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint, FailedPreconditionError, OutOfRangeError
from tahr.ops import scalars_updates
from tahr.ops.indexing import check_indices, combine_rows, scatter_rows
from tahr.ops.slicing import MASKS, selection_of, write_slice

WRITES = Effects(writes=(0,))
READS = Effects(reads=(0,))

# ---------------------------------------------------------------- the variable itself


def _variable_shape(*, dtype: DType, shape: Shape, **_: Any) -> Shape:
    return shape


VariableV2 = OpDef(
    "VariableV2",
    "-> ref: &dtype",
    attrs={"shape": REQUIRED, "dtype": REQUIRED, "container": "", "shared_name": ""},
).not_differentiable()
VariableV2.shape(_variable_shape)

VarHandleOp = OpDef(
    "VarHandleOp",
    "-> resource: resource",
    attrs={"container": "", "shared_name": "", "dtype": REQUIRED, "shape": REQUIRED},
).not_differentiable()
VarHandleOp.shape(lambda **_: ())


def variable_op(ref: Tensor) -> Operation:
    """The operation of the variable that a reference or handle leads to."""
    op = ref.op
    while op.opdef is not VariableV2 and op.opdef is not VarHandleOp:
        op = op.inputs[0].op
    return op


# ---------------------------------------------------------------- reads


def _read_shape(resource: Spec, **_: Any) -> Shape:
    return None


ReadVariableOp = OpDef(
    "ReadVariableOp", "resource: resource -> value: dtype", attrs={"dtype": REQUIRED}, effects=READS
)
ReadVariableOp.shape(_read_shape)


@ReadVariableOp.gradient
def _read_gradient(op: Operation, dy: Tensor) -> Tensor:
    return dy


ReadVariableOp.gradient_takes_slices = True

# What is left of a read when a program is extracted: the cell's value at the start of the run (or of a loop's
# iteration), or after everything that the run wrote. A lenient one is for branches, which may not be taken.
ReadCell = OpDef(
    "_ReadCell",
    "cell: resource -> value: dtype",
    attrs={"dtype": REQUIRED, "shape": None, "lenient": False},
    register=False,
)
ReadCell.shape(lambda cell, *, dtype, shape, lenient: shape)


@ReadCell.kernel
def _read_cell_kernel(cell: Any, *, dtype: DType, shape: Shape, lenient: bool) -> Any:
    if not lenient:
        return cell.read()
    try:
        return cell.read()
    except FailedPreconditionError as error:
        return Uninitialized(dtype, shape, error)


class Uninitialized:
    """Stands for the value of a variable that has none, until somebody wants to use it.

    `tf.cond(tf.is_variable_initialized(v), v.read_value, ...)` hands it to a branch that is not taken.
    """

    def __init__(self, dtype: DType, shape: Shape, error: FailedPreconditionError) -> None:
        self.dtype = dtype.numpy
        self.shape = tuple(d if isinstance(d, int) else 0 for d in shape or ())
        self._error = error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise self._error


def _initialized_kernel(context: Any, cell: Any, **_: Any) -> Array:
    return np.asarray(cell.is_initialized)


IsVariableInitialized = OpDef(
    "IsVariableInitialized", "ref: &dtype -> is_initialized: bool", effects=READS
).not_differentiable()
IsVariableInitialized.shape(lambda ref: ())
IsVariableInitialized.stateful_kernel(_initialized_kernel)

VarIsInitializedOp = OpDef(
    "VarIsInitializedOp", "resource: resource -> is_initialized: bool", effects=READS
).not_differentiable()
VarIsInitializedOp.shape(lambda resource: ())
VarIsInitializedOp.stateful_kernel(_initialized_kernel)

# ---------------------------------------------------------------- writes

Change = Callable[[Array, Array], Array]


def _same_shape(ref: Spec, value: Spec, **_: Any) -> Shape:
    return shapes.merge(ref.shape, value.shape)


def _assign_shape(ref: Spec, value: Spec, *, validate_shape: bool, use_locking: bool) -> Shape:
    return shapes.merge(ref.shape, value.shape) if validate_shape else value.shape


Assign = OpDef(
    "Assign",
    "ref: &T, value: T -> output_ref: &T",
    attrs={"validate_shape": True, "use_locking": True},
    form=Update(scalars_updates.assign),
    effects=WRITES,
).not_differentiable()
Assign.shape(_assign_shape)


@Assign.stateful_kernel
def _assign_kernel(
    context: Any, cell: Any, value: Array, *, validate_shape: bool, use_locking: bool
) -> Array:
    return cell.assign(value)


def _in_place(ufunc: np.ufunc) -> Callable[..., Array]:
    """A write that combines the old value with another by a ufunc."""

    def kernel(context: Any, cell: Any, value: Array, **_: Any) -> Array:
        def change(old: Array) -> Array:
            if old.shape != value.shape and np.broadcast_shapes(old.shape, value.shape) != old.shape:
                raise Complaint(
                    f"shapes of variable {list(old.shape)} and value {list(value.shape)} do not match"
                )
            return ufunc(old, value, out=old)

        return cell.update(change)

    return kernel


AssignAdd = OpDef(
    "AssignAdd",
    "ref: &T, value: T -> output_ref: &T",
    attrs={"use_locking": False},
    types={"T": NUMBERS},
    form=Update(scalars_updates.assign_add),
    effects=WRITES,
).not_differentiable()
AssignAdd.shape(_same_shape)
AssignAdd.stateful_kernel(_in_place(np.add))

AssignSub = OpDef(
    "AssignSub",
    "ref: &T, value: T -> output_ref: &T",
    attrs={"use_locking": False},
    types={"T": NUMBERS},
    form=Update(scalars_updates.assign_sub),
    effects=WRITES,
).not_differentiable()
AssignSub.shape(_same_shape)
AssignSub.stateful_kernel(_in_place(np.subtract))

# The same for resource variables; these operations have no output in TensorFlow.
AssignVariableOp = OpDef(
    "AssignVariableOp",
    "resource: resource, value: dtype ->",
    form=Update(scalars_updates.assign),
    effects=WRITES,
).not_differentiable()


@AssignVariableOp.stateful_kernel
def _assign_variable_kernel(context: Any, cell: Any, value: Array) -> Array:
    return cell.assign(value)


AssignAddVariableOp = OpDef(
    "AssignAddVariableOp",
    "resource: resource, value: dtype ->",
    form=Update(scalars_updates.assign_add),
    effects=WRITES,
).not_differentiable()
AssignAddVariableOp.stateful_kernel(_in_place(np.add))

AssignSubVariableOp = OpDef(
    "AssignSubVariableOp",
    "resource: resource, value: dtype ->",
    form=Update(scalars_updates.assign_sub),
    effects=WRITES,
).not_differentiable()
AssignSubVariableOp.stateful_kernel(_in_place(np.subtract))

# ---------------------------------------------------------------- sparse writes


def _scatter_shape(ref: Spec, indices: Spec, updates: Spec, **_: Any) -> Shape:
    if ref.shape is not None and indices.shape is not None and updates.shape:
        wanted = indices.shape + ref.shape[1:]
        if not shapes.compatible(updates.shape, wanted):
            raise ValueError(
                f"Must have updates.shape = indices.shape + params.shape[1:] or updates.shape = [], got "
                f"updates.shape {shapes.show(updates.shape)}, indices.shape {shapes.show(indices.shape)}, "
                f"params.shape {shapes.show(ref.shape)}"
            )
    return ref.shape


# How the old rows and the updates are combined; None replaces them.
_SCATTERS: dict[str, np.ufunc | None] = {
    "Update": None,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Min": np.minimum,
    "Max": np.maximum,
}


def _write_rows(combine: np.ufunc | None, target: Array, rows: Array, values: Array) -> None:
    if combine is None:
        target[rows] = values
    else:
        combine_rows(combine, target, rows, values)


def _scatter(combine: np.ufunc | None) -> Callable[..., Array]:
    def kernel(context: Any, cell: Any, indices: Array, updates: Array, **_: Any) -> Array:
        def change(old: Array) -> Array:
            old = np.asarray(old, order="C")
            check_indices(indices, len(old))
            values = np.broadcast_to(updates, (*indices.shape, *old.shape[1:]))
            _write_rows(combine, old, indices.reshape(-1), values.reshape(indices.size, *old.shape[1:]))
            return old

        return cell.update(change)

    return kernel


def _define_scatter(kind: str) -> tuple[OpDef, OpDef]:
    combine = _SCATTERS[kind]
    form = Scatter("assign" if combine is None else combine.__name__)
    ref = OpDef(
        f"Scatter{kind}",
        "ref: &T, indices: Tindices, updates: T -> output_ref: &T",
        attrs={"use_locking": kind == "Update"},
        types={"Tindices": INDICES},
        form=form,
        effects=WRITES,
    ).not_differentiable()
    ref.shape(_scatter_shape)
    ref.stateful_kernel(_scatter(combine))
    resource = OpDef(
        f"ResourceScatter{kind}",
        "resource: resource, indices: Tindices, updates: dtype ->",
        types={"Tindices": INDICES},
        form=form,
        effects=WRITES,
    ).not_differentiable()
    resource.stateful_kernel(_scatter(combine))
    return ref, resource


SCATTER = {kind: _define_scatter(kind) for kind in _SCATTERS}


def _scatter_nd(combine: np.ufunc | None) -> Callable[..., Array]:
    def kernel(context: Any, cell: Any, indices: Array, updates: Array, **_: Any) -> Array:
        def change(old: Array) -> Array:
            old = np.asarray(old, order="C")
            _write_rows(combine, *scatter_rows(old, indices, updates))
            return old

        return cell.update(change)

    return kernel


def _define_scatter_nd(kind: str, combine: np.ufunc | None) -> tuple[OpDef, OpDef]:
    form = Scatter("assign" if combine is None else combine.__name__, tuples=True)
    ref = OpDef(
        f"ScatterNd{kind}",
        "ref: &T, indices: Tindices, updates: T -> output_ref: &T",
        attrs={"use_locking": kind == "Update"},
        types={"Tindices": INDICES},
        form=form,
        effects=WRITES,
    ).not_differentiable()
    ref.shape(lambda ref, indices, updates, **_: ref.shape)
    ref.stateful_kernel(_scatter_nd(combine))
    resource = OpDef(
        f"ResourceScatterNd{kind}",
        "ref: resource, indices: Tindices, updates: T ->",
        attrs={"use_locking": True},
        types={"Tindices": INDICES},
        form=form,
        effects=WRITES,
    ).not_differentiable()
    resource.stateful_kernel(_scatter_nd(combine))
    return ref, resource


SCATTER_ND = {
    "Update": _define_scatter_nd("Update", None),
    "Add": _define_scatter_nd("Add", np.add),
    "Sub": _define_scatter_nd("Sub", np.subtract),
}

# ---------------------------------------------------------------- writes to slices


def _write_slice_kernel(
    context: Any, cell: Any, begin: Array, end: Array, strides: Array, value: Array, **masks: int
) -> Array:
    def change(old: Array) -> Array:
        write_slice(old, begin, end, strides, value, masks)
        return old

    return cell.update(change)


_SLICE = PositionWrite(
    4,
    1,
    lambda var, begin, end, strides, value, **masks: selection_of(var.shape, begin, end, strides, masks),
)

StridedSliceAssign = OpDef(
    "StridedSliceAssign",
    "ref: &T, begin: Index, end: Index, strides: Index, value: T -> output_ref: &T",
    attrs=MASKS,
    types={"Index": INDICES},
    form=_SLICE,
    effects=WRITES,
).not_differentiable()
StridedSliceAssign.shape(lambda ref, begin, end, strides, value, **_: ref.shape)
StridedSliceAssign.stateful_kernel(_write_slice_kernel)

ResourceStridedSliceAssign = OpDef(
    "ResourceStridedSliceAssign",
    "ref: resource, begin: Index, end: Index, strides: Index, value: T ->",
    attrs=MASKS,
    types={"Index": INDICES},
    form=_SLICE,
    effects=WRITES,
).not_differentiable()
ResourceStridedSliceAssign.stateful_kernel(_write_slice_kernel)

# ---------------------------------------------------------------- counting

CountUpTo = OpDef(
    "CountUpTo", "ref: &T -> output: T", attrs={"limit": REQUIRED}, types={"T": INDICES}, effects=WRITES
).not_differentiable()
CountUpTo.shape(lambda ref, *, limit: ref.shape)


@CountUpTo.stateful_kernel
def _count_up_to_kernel(context: Any, cell: Any, *, limit: int) -> Array:
    before: list[Array] = []

    def change(old: Array) -> Array:
        if int(old) >= limit:
            raise Complaint(f"Reached limit of {limit}", kind=OutOfRangeError)
        before.append(old.copy())
        return np.add(old, 1, out=old)

    cell.update(change)
    return before[0]
