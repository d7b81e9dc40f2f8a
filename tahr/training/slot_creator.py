"""Slots: variables that belong to another one and are named after it, such as `w/Momentum`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes
from tahr.core.graph import Tensor
from tahr.core.tensor_shapes import TensorShape
from tahr.ops import fills, shaping
from tahr.ops.assignments import is_resource
from tahr.ops.initializers import Constant, Ones, Zeros
from tahr.variable_scope import get_variable, get_variable_scope, variable_scope
from tahr.variables import Variable


def create_slot(primary: Any, val: Any, name: str, colocate_with_primary: bool = True) -> Any:
    """A slot with an initial value.

    Args:
        primary: the variable or tensor that it belongs to.
        val: the initial value, a tensor.
        name: what follows the primary's name in its own.
        colocate_with_primary: accepted; devices are kept, not obeyed.
    """
    return _create(primary, name, initializer=val, validate_shape=val.shape.is_fully_defined())


def create_slot_with_initializer(
    primary: Any, initializer: Any, shape: Any, dtype: Any, name: str, colocate_with_primary: bool = True
) -> Any:
    """A slot with an initializer.

    Args:
        primary: the variable or tensor that it belongs to.
        initializer: a function `(shape, dtype, partition_info)`, or a tensor.
        shape: its shape.
        dtype: its dtype.
        name: what follows the primary's name in its own.
        colocate_with_primary: accepted; devices are kept, not obeyed.
    """
    shape = TensorShape(shape)
    if isinstance(initializer, Tensor):
        return _create(primary, name, initializer=initializer, validate_shape=shape.is_fully_defined())
    return _create(
        primary,
        name,
        initializer=initializer,
        shape=shape,
        dtype=dtypes.as_dtype(dtype).base_dtype,
        validate_shape=shape.is_fully_defined(),
    )


def create_zeros_slot(primary: Any, name: str, dtype: Any = None, colocate_with_primary: bool = True) -> Any:
    """A slot of zeros with the primary's shape.

    Args:
        primary: the variable or tensor that it belongs to.
        name: what follows the primary's name in its own.
        dtype: its dtype; the primary's by default.
        colocate_with_primary: accepted; devices are kept, not obeyed.
    """
    return create_filled_slot(primary, 0, name, primary.dtype.base_dtype if dtype is None else dtype)


def create_filled_slot(primary: Any, value: float, name: str, dtype: Any) -> Any:
    """A slot with the primary's shape of which all elements are `value` at first.

    Args:
        primary: the variable or tensor that it belongs to.
        value: the number.
        name: what follows the primary's name in its own.
        dtype: its dtype.
    """
    shape, dtype = primary.shape, dtypes.as_dtype(dtype).base_dtype
    number = np.asarray(value, dtype.numpy)
    if not shape.is_fully_defined():
        # The shape is known when the slot is initialized, together with what it belongs to.
        like = primary.initial_value if isinstance(primary, Variable) else primary
        return create_slot(primary, fills.fill(shaping.shape(like), number), name)
    initializer = Zeros() if value == 0 else Ones() if value == 1 else Constant(value)
    slot = create_slot_with_initializer(primary, initializer, shape, dtype, name)
    # In tutorial behaviour a variable made from an array needs no initializer to run; nor do its slots.
    slot.op.lazy_value = np.broadcast_to(number, shape.as_list())
    return slot


def _create(primary: Any, name: str, **arguments: Any) -> Any:
    scope = get_variable_scope()
    partitioner = scope.partitioner
    scope.set_partitioner(None)  # a slot is as whole as what it belongs to
    try:
        with variable_scope(None, f"{primary.op.name}/{name}"):
            slot = get_variable("", trainable=False, use_resource=is_resource(primary), **arguments)
    finally:
        scope.set_partitioner(partitioner)
    # A method that TensorFlow's savers know, too, and hence keeps its name.
    whole = primary._get_save_slice_info() if isinstance(primary, Variable) else None  # pyright: ignore[reportPrivateUsage]
    if whole is not None:
        suffix = slot.op.name[len(primary.op.name) + 1 :]
        slot._set_save_slice_info(
            Variable.SaveSliceInfo(
                f"{whole.full_name}/{suffix}", whole.full_shape, whole.var_offset, whole.var_shape
            )
        )
    return slot
