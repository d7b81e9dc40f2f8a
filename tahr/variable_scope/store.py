"""All variables of a graph that `get_variable` made, by name: what is shared, and what may not be.

Source of the rules: TensorFlow 1.15, python/ops/variable_scope.py.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tahr import errors
from tahr.core import convert, dtypes, scopes, source
from tahr.core.dtypes import DType
from tahr.core.graph import Tensor
from tahr.core.scopes import GraphKeys
from tahr.core.tensor_shapes import TensorShape
from tahr.ops import initializers
from tahr.ops.cropping import slice_
from tahr.variable_scope.partitions import (
    PartitionedVariable,
    PartitionInfo,
    call_partitioner,
    cut_axis,
    slices,
)
from tahr.variables import Variable


class ReuseMode(enum.Enum):
    """How a scope treats names that exist, or do not, where True and False do not say it."""

    AUTO_REUSE = 1


AUTO_REUSE = ReuseMode.AUTO_REUSE
"""As `reuse` of a scope: variables that exist are shared, others are made."""

Reuse = bool | ReuseMode | None


class VariableStore:
    """The variables of a graph that `get_variable` made, by name."""

    def __init__(self) -> None:
        self._variables: dict[str, Variable] = {}
        self._partitioned: dict[str, PartitionedVariable] = {}

    def get_variable(
        self,
        name: str,
        shape: Any,
        dtype: DType,
        initializer: Any,
        regularizer: Callable[[Any], Any] | None,
        reuse: Reuse,
        partitioner: Callable[..., Any] | None,
        **options: Any,
    ) -> Any:
        """The variable with a full name: found or made, whole or partitioned."""
        is_scalar = isinstance(shape, Sequence) and not shape
        if partitioner is not None and not is_scalar:
            if not callable(partitioner):
                raise ValueError(f"Partitioner must be callable, but received: {partitioner}")
            return self._get_partitioned(
                name, shape, dtype, initializer, regularizer, reuse, partitioner, options
            )
        if reuse is True and name in self._partitioned:
            return self._share_partitioned(name, TensorShape(shape), dtype, None)
        if f"{name}/part_0" in self._variables:
            raise ValueError(
                "No partitioner was provided, but a partitioned version of the variable was found: "
                f"{name}/part_0. Perhaps a variable of the same name was already created with partitioning?"
            )
        return self._get_single(name, shape, dtype, initializer, regularizer, reuse, None, options)

    def _get_single(
        self,
        name: str,
        shape: Any,
        dtype: DType,
        initializer: Any,
        regularizer: Callable[[Any], Any] | None,
        reuse: Reuse,
        partition_info: PartitionInfo | None,
        options: dict[str, Any],
    ) -> Variable:
        is_value = initializer is not None and not callable(initializer)
        if shape is not None and is_value:
            raise ValueError("If initializer is a constant, do not specify shape.")
        shape = TensorShape(shape)
        if name in self._variables:
            return self._share(name, shape, dtype, reuse)
        if reuse is True:
            raise ValueError(
                errors.describe(
                    "",
                    f"Variable {name} does not exist, or was not created with tf.get_variable(). "
                    "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?",
                    [source.caller().describe()],
                )
            )
        if initializer is None:
            initializer = _default_initializer(name, dtype)
        initial_value = initializer if is_value else _bound(initializer, name, shape, dtype, partition_info)
        variable = Variable(
            initial_value, name=name, dtype=dtype if shape.is_fully_defined() else None, **options
        )
        self._variables[name] = variable
        if regularizer is not None:
            _add_regularization(variable, name, regularizer)
        return variable

    def _share(self, name: str, shape: TensorShape, dtype: DType, reuse: Reuse) -> Variable:
        """A variable that exists, where it may be shared and is what is asked for."""
        found = self._variables[name]
        if not reuse:
            raise ValueError(
                errors.describe(
                    "",
                    f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or "
                    "reuse=tf.AUTO_REUSE in VarScope? Originally defined at:",
                    [found.op.source.describe()],
                )
            )
        if not shape.is_compatible_with(found.get_shape()):
            raise ValueError(
                f"Trying to share variable {name}, but specified shape {shape} and found shape "
                f"{found.get_shape()}."
            )
        if dtype.base_dtype is not found.dtype.base_dtype:
            raise ValueError(
                f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype "
                f"{found.dtype.name}."
            )
        return found

    def _get_partitioned(
        self,
        name: str,
        shape: Any,
        dtype: DType,
        initializer: Any,
        regularizer: Callable[[Any], Any] | None,
        reuse: Reuse,
        partitioner: Callable[..., Any],
        options: dict[str, Any],
    ) -> PartitionedVariable:
        if name in self._variables:
            raise ValueError(
                "A partitioner was provided, but an unpartitioned version of the variable was found: "
                f"{name}. Perhaps a variable of the same name was already created without partitioning?"
            )
        shape = TensorShape(shape)
        if initializer is not None and not callable(initializer):
            initializer = convert.convert_to_tensor(initializer)
            shape = shape.merge_with(initializer.shape)
        partitions = call_partitioner(partitioner, shape, dtype)
        if name in self._partitioned:
            if not reuse:
                raise ValueError(
                    f"Partitioned variable with name {name} already exists. Did you mean to set reuse=True "
                    "or reuse=tf.AUTO_REUSE in VarScope?"
                )
            return self._share_partitioned(name, shape, dtype, partitions)
        if reuse is True:
            raise ValueError(
                f"PartitionedVariable {name} does not exist, or was not created with tf.get_variable(). "
                "Did you mean to set reuse=False or reuse=tf.AUTO_REUSE in VarScope?"
            )
        sizes = [int(size) for size in shape]
        parts: list[Variable] = []
        for i, (offset, part_shape) in enumerate(slices(sizes, *cut_axis(partitions))):
            part_name = f"{name}/part_{i}"
            wanted: Any = part_shape
            value = initializer
            if isinstance(initializer, Tensor):
                with scopes.name_scope(part_name + "/PartitionedInitializer"):
                    value, wanted = slice_(initializer, offset, part_shape), None
            info = PartitionInfo(sizes, offset)
            part = self._get_single(part_name, wanted, dtype, value, regularizer, reuse, info, options)
            part._set_save_slice_info(  # pyright: ignore[reportPrivateUsage]  # TensorFlow's name of it
                Variable.SaveSliceInfo(name, sizes, offset, part_shape)
            )
            parts.append(part)
        found = PartitionedVariable(name, shape, parts[0].dtype.base_dtype, parts, partitions)
        self._partitioned[name] = found
        return found

    def _share_partitioned(
        self, name: str, shape: TensorShape, dtype: DType, partitions: list[int] | None
    ) -> PartitionedVariable:
        found = self._partitioned[name]
        if not shape.is_compatible_with(found.get_shape()):
            raise ValueError(
                f"Trying to reuse partitioned variable {name}, but specified shape {shape} and found shape "
                f"{found.get_shape()}."
            )
        if dtype.base_dtype is not found.dtype.base_dtype:
            raise ValueError(
                f"Trying to reuse partitioned variable {name}, but specified dtype {dtype.name} and found "
                f"dtype {found.dtype.name}."
            )
        if partitions is not None and partitions != found.partitions:
            raise ValueError(
                f"Trying to reuse partitioned variable {name}, but specified partitions {partitions} and "
                f"found partitions {found.partitions}."
            )
        return found


def _default_initializer(name: str, dtype: DType) -> Callable[..., Any]:
    """What a variable without an initializer starts from: Glorot's rule for floats, zeros for other types.

    Raises:
        ValueError: there is no such value for the dtype.
    """
    if dtype.is_floating:
        return initializers.GlorotUniform()
    if dtype.is_integer or dtype.is_bool or dtype is dtypes.string:
        return initializers.Zeros()
    raise ValueError(f"An initializer for variable {name} of {dtype!r} is required")


def _bound(
    initializer: Any, name: str, shape: TensorShape, dtype: DType, partition_info: PartitionInfo | None
) -> Callable[[], Any]:
    """A function of no arguments that gives the initial value.

    Args:
        initializer: a function of shape, dtype and (if it wants it) partition_info, a class of such, or,
            where the shape is not given, a function of no arguments.

    Raises:
        ValueError: the shape is not known, but the initializer needs it.
    """
    if isinstance(initializer, type):
        initializer = initializer()
    if shape.is_fully_defined():
        options: dict[str, Any] = {"dtype": dtype.base_dtype}
        if accepts(initializer, "partition_info"):
            options["partition_info"] = partition_info
        return lambda: initializer(shape.as_list(), **options)
    if shape.ndims is None and not _needs_arguments(initializer):
        return initializer
    raise ValueError(
        errors.describe(
            "",
            f"Shape of a new variable ({name}) must be fully defined, but instead was {shape}.",
            [source.caller().describe()],
            f"give it a shape: tf.get_variable({name.rpartition('/')[2]!r}, shape=[...])",
        )
    )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes an argument of that name."""
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in _parameters(function))


def _needs_arguments(function: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without arguments."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(p.default is p.empty and p.kind not in optional for p in _parameters(function))


def _add_regularization(variable: Variable, name: str, regularizer: Callable[[Any], Any]) -> None:
    with scopes.init_scope(), scopes.name_scope(name + "/Regularizer/"):
        loss = regularizer(variable)
    if loss is not None:
        scopes.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)


def no_regularizer(_: Any) -> None:
    """As `regularizer`: overrides the scope's regularizer by none."""
