"""Writing to variables, as functions.

What they are given is a variable, or the reference that a VariableV2 operation gives. A resource variable is written by
its handle, and read anew behind the write; of a reference variable the write gives the reference.
"""

from __future__ import annotations

from typing import Any

from tahr.core import convert, dtypes, scopes, shapes
from tahr.core.graph import Operation, Tensor
from tahr.ops import state


def is_resource(ref: Any) -> bool:
    """Whether something is a variable made with `use_resource=True`."""
    handle = getattr(ref, "handle_or_ref", None)
    return handle is not None and handle.spec.dtype is dtypes.resource


def _after(ref: Any, op: Operation) -> Tensor:
    """A resource variable's value after a write."""
    with scopes.control_dependencies([op]):
        return ref.value()


def _resource_value(ref: Any, value: Any) -> Tensor:
    tensor = convert.convert_to_tensor(value, dtype=ref.dtype.base_dtype)
    if not shapes.compatible(tensor.spec.shape, ref.shape.raw):
        raise ValueError(f"Shapes {ref.shape} and {tensor.shape} are incompatible")
    return tensor


def assign(
    ref: Any,
    value: Any,
    validate_shape: bool | None = None,
    use_locking: bool | None = None,
    name: str | None = None,
) -> Tensor:
    """Gives a variable a new value.

    Args:
        ref: the variable.
        value: a tensor of its dtype.
        validate_shape: whether the value must have the variable's shape.
        use_locking: accepted; a write is always whole.
        name: the operation's name.

    Returns:
        The variable's value after the write.
    """
    if is_resource(ref):
        return _after(ref, state.AssignVariableOp(ref.handle, _resource_value(ref, value), name=name))
    return state.Assign(ref, value, validate_shape=validate_shape is not False, name=name)


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Adds a value to a variable and returns the sum; as `assign`."""
    if is_resource(ref):
        return _after(ref, state.AssignAddVariableOp(ref.handle, _resource_value(ref, value), name=name))
    return state.AssignAdd(ref, value, use_locking=bool(use_locking), name=name)


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Subtracts a value from a variable and returns the difference; as `assign`."""
    if is_resource(ref):
        return _after(ref, state.AssignSubVariableOp(ref.handle, _resource_value(ref, value), name=name))
    return state.AssignSub(ref, value, use_locking=bool(use_locking), name=name)


def assign_slice(ref: Any, part: Operation, value: Any, name: str | None = None) -> Tensor:
    """Gives the part of a variable that a StridedSlice takes a new value, and returns the variable's."""
    name = f"{part.name}/_assign" if name is None else name
    _, *bounds = part.inputs
    if is_resource(ref):
        value = convert.convert_to_tensor(value, dtype=ref.dtype.base_dtype)
        write = state.ResourceStridedSliceAssign(ref.handle, *bounds, value, **part.attrs, name=name)
        return _after(ref, write)
    return state.StridedSliceAssign(ref, *bounds, value, **part.attrs, name=name)


def scatter(kind: str, ref: Any, indices: Any, updates: Any, use_locking: bool, name: str | None) -> Tensor:
    """Changes rows of a variable. As `scatter_update`; `kind` is a key of `state.SCATTER`."""
    by_ref, by_handle = state.SCATTER[kind]
    if is_resource(ref):
        updates = convert.convert_to_tensor(updates, dtype=ref.dtype.base_dtype)
        return _after(ref, by_handle(ref.handle, indices, updates, name=name))
    return by_ref(ref, indices, updates, use_locking=use_locking, name=name)


def scatter_update(
    ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Tensor:
    """Sets rows of a variable: `ref[indices] = updates`; returns the new value.

    Args:
        ref: the variable, [n, ...].
        indices: int32 or int64, of any shape.
        updates: of shape `indices.shape + ref.shape[1:]`, or a scalar.
        use_locking: accepted.
        name: the operation's name.

    Raises:
        InvalidArgumentError: at run time, for an index out of range.
    """
    return scatter("Update", ref, indices, updates, use_locking, name)


def scatter_add(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Adds to rows of a variable; rows with equal indices add up. As `scatter_update`."""
    return scatter("Add", ref, indices, updates, use_locking, name)


def scatter_sub(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Subtracts from rows of a variable. As `scatter_update`."""
    return scatter("Sub", ref, indices, updates, use_locking, name)


def scatter_mul(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Multiplies rows of a variable. As `scatter_update`."""
    return scatter("Mul", ref, indices, updates, use_locking, name)


def scatter_div(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Divides rows of a variable. As `scatter_update`."""
    return scatter("Div", ref, indices, updates, use_locking, name)


def scatter_min(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Takes the minimum with rows of a variable. As `scatter_update`."""
    return scatter("Min", ref, indices, updates, use_locking, name)


def scatter_max(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Takes the maximum with rows of a variable. As `scatter_update`."""
    return scatter("Max", ref, indices, updates, use_locking, name)


def _scatter_nd(
    kind: str, ref: Any, indices: Any, updates: Any, use_locking: bool, name: str | None
) -> Tensor:
    by_ref, by_handle = state.SCATTER_ND[kind]
    if is_resource(ref):
        updates = convert.convert_to_tensor(updates, dtype=ref.dtype.base_dtype)
        return _after(ref, by_handle(ref.handle, indices, updates, name=name))
    return by_ref(ref, indices, updates, use_locking=use_locking, name=name)


def scatter_nd_update(
    ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Tensor:
    """Sets elements or slices of a variable; returns the new value.

    Args:
        ref: the variable.
        indices: int32 or int64, [..., depth]: index tuples along its first `depth` dimensions.
        updates: of shape `indices.shape[:-1] + ref.shape[depth:]`.
        use_locking: accepted.
        name: the operation's name.

    Raises:
        InvalidArgumentError: at run time, for an index out of range.
    """
    return _scatter_nd("Update", ref, indices, updates, use_locking, name)


def scatter_nd_add(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Adds to elements or slices of a variable. As `scatter_nd_update`."""
    return _scatter_nd("Add", ref, indices, updates, use_locking, name)


def scatter_nd_sub(
    ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """Subtracts from elements or slices of a variable. As `scatter_nd_update`."""
    return _scatter_nd("Sub", ref, indices, updates, use_locking, name)


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Tensor:
    """Adds one to an integer variable unless that would pass `limit`; gives the value before.

    Raises:
        OutOfRangeError: at run time, when the limit is reached.
    """
    return state.CountUpTo(ref, limit=limit, name=name)


def is_variable_initialized(ref: Any, name: str | None = None) -> Tensor:
    """Whether a variable has been initialized in the session, as a bool scalar."""
    if is_resource(ref):
        return state.VarIsInitializedOp(ref.handle, name=name)
    return state.IsVariableInitialized(ref, name=name)
