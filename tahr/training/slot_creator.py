"""Slots: variables that belong to another one and are named after it, such as `w/Momentum`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr import variable_scope
from tahr.core import dtypes, shapes
from tahr.core.convert import Const
from tahr.core.dtypes import DType
from tahr.core.graph import Tensor
from tahr.core.shapes import TensorShape
from tahr.ops import shaping, structural
from tahr.variables import Variable


class Constant:
    """An initializer that gives every element the same value.

    Args:
        value: the value.
    """

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, shape: Any, dtype: Any = dtypes.float32, partition_info: Any = None) -> Tensor:
        """A tensor of the shape and dtype."""
        if self.value == 0:
            return structural.zeros(shape, dtype)
        if self.value == 1:
            return structural.ones(shape, dtype)
        one_value = np.asarray(self.value, dtypes.as_dtype(dtype).base_dtype.numpy)
        return structural.fill(TensorShape(shape), one_value, name="Const")


def create_slot(primary: Any, val: Any, name: str, colocate_with_primary: bool = True) -> Any:
    """A slot with an initial value.

    Args:
        primary: the variable or tensor that it belongs to.
        val: the initial value, a tensor.
        name: what follows the primary's name in its own.
        colocate_with_primary: accepted; devices are kept, not obeyed.
    """
    slot = _create(primary, name, initializer=val, validate_shape=val.shape.is_fully_defined())
    if val.op.opdef is Const:
        slot.op.lazy_value = val.op.attrs["value"]
    return slot


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
    if isinstance(initializer, Tensor) or not shape.is_fully_defined():
        value = initializer if isinstance(initializer, Tensor) else initializer()
        return _create(primary, name, initializer=value, validate_shape=False)
    dtype = dtypes.as_dtype(dtype).base_dtype
    slot = _create(primary, name, initializer=initializer, shape=shape, dtype=dtype)
    if isinstance(initializer, Constant):
        # In tutorial behaviour a variable made from an array needs no initializer to run, so its slots must not either.
        slot.op.lazy_value = np.broadcast_to(np.asarray(initializer.value, dtype.numpy), shape.as_list())
    return slot


def create_zeros_slot(
    primary: Any, name: str, dtype: Any = None, colocate_with_primary: bool = True
) -> Any:
    """A slot of zeros with the primary's shape.

    Args:
        primary: the variable or tensor that it belongs to.
        name: what follows the primary's name in its own.
        dtype: its dtype; the primary's by default.
        colocate_with_primary: accepted; devices are kept, not obeyed.
    """
    return create_filled_slot(primary, 0, name, primary.dtype.base_dtype if dtype is None else dtype)


def create_filled_slot(primary: Any, value: float, name: str, dtype: DType) -> Any:
    """A slot with the primary's shape of which all elements are `value` at first."""
    if primary.shape.is_fully_defined():
        return create_slot_with_initializer(primary, Constant(value), primary.shape, dtype, name)
    # The shape is that of the value which the primary has when the slot is initialized.
    like = primary.initialized_value() if isinstance(primary, Variable) else primary
    return create_slot(primary, Constant(value)(shaping.shape(like), dtype), name)


def _create(primary: Any, name: str, **arguments: Any) -> Any:
    scope = variable_scope.get_variable_scope()
    partitioner = scope.partitioner
    scope.set_partitioner(None)  # a slot is as whole as what it belongs to
    try:
        with variable_scope.variable_scope(None, f"{primary.op.name}/{name}"):
            slot = variable_scope.get_variable(
                "", trainable=False, use_resource=_is_resource(primary), **arguments
            )
    finally:
        scope.set_partitioner(partitioner)
    whole = primary._get_save_slice_info() if isinstance(primary, Variable) else None
    if whole is not None:
        suffix = slot.op.name[len(primary.op.name) + 1 :]
        slot._set_save_slice_info(
            Variable.SaveSliceInfo(
                f"{whole.full_name}/{suffix}", whole.full_shape, whole.var_offset, whole.var_shape
            )
        )
    return slot


def _is_resource(primary: Any) -> bool:
    return isinstance(primary, Variable) and primary.handle_or_ref.spec.dtype is dtypes.resource
