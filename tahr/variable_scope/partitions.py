"""Variables that are cut into parts, and the partitioners that say how.

Source of the rules: TensorFlow 1.15, python/ops/partitioned_variables.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tahr.core import convert, dtypes, scopes
from tahr.core.dtypes import DType
from tahr.core.graph import Tensor
from tahr.core.tensor_shapes import TensorShape
from tahr.ops.identities import identity
from tahr.ops.joining import concat, split
from tahr.variables import Variable


class PartitionInfo(NamedTuple):
    """What an initializer is told of the part that it initializes.

    Attributes:
        full_shape: the shape of the whole variable.
        var_offset: the part's first index, in each dimension.
    """

    full_shape: list[int]
    var_offset: list[int]


class PartitionedVariable:
    """A variable that is cut along one axis into parts, which are variables of their own.

    Args:
        name: its name.
        shape: the shape of the whole.
        dtype: its dtype.
        variable_list: the parts, in order.
        partitions: the number of parts along each axis.
    """

    def __init__(
        self,
        name: str,
        shape: Any,
        dtype: DType,
        variable_list: Sequence[Variable],
        partitions: Sequence[int],
    ) -> None:
        self._name = name
        self._shape = TensorShape(shape)
        self._dtype = dtype
        self._parts = list(variable_list)
        self._partitions = list(partitions)

    @property
    def name(self) -> str:
        """Its name, without an index."""
        return self._name

    @property
    def dtype(self) -> DType:
        """Its dtype."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The shape of the whole."""
        return self._shape

    def get_shape(self) -> TensorShape:
        """The shape of the whole."""
        return self._shape

    @property
    def partitions(self) -> list[int]:
        """The number of parts along each axis."""
        return self._partitions

    @property
    def axis(self) -> int:
        """The axis along which it is cut."""
        return cut_axis(self._partitions)[0]

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def _get_variable_list(self) -> list[Variable]:
        return self._parts

    def _get_partitions(self) -> list[int]:
        return self._partitions

    def as_tensor(self) -> Tensor:
        """The value of the whole."""
        with scopes.name_scope(None):
            if len(self._parts) == 1:
                return identity(self._parts[0], name=self._name)
            with scopes.name_scope(self._name + "/ConcatPartitions/"):
                whole = concat([part.value() for part in self._parts], self.axis)
            return identity(whole, name=self._name)

    def _write(
        self, method: str, value: Any, use_locking: bool, name: str | None, read_value: bool
    ) -> list[Any]:
        sizes = [int(part.shape[self.axis]) for part in self._parts]
        pieces = value if isinstance(value, list) else split(value, sizes, self.axis)
        return [
            getattr(part, method)(piece, use_locking, f"{name}_{i}" if name else None, read_value)
            for i, (part, piece) in enumerate(zip(self._parts, pieces, strict=True))
        ]

    def assign(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> list[Any]:
        """Gives all parts their pieces of a new value; one result for each part."""
        return self._write("assign", value, use_locking, name, read_value)

    def assign_add(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> list[Any]:
        """Adds to each part its piece of a value; one result for each part."""
        return self._write("assign_add", value, use_locking, name, read_value)

    def assign_sub(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> list[Any]:
        """Subtracts from each part its piece of a value; one result for each part."""
        return self._write("assign_sub", value, use_locking, name, read_value)


def _convert_partitioned(
    value: PartitionedVariable, dtype: DType | None, name: str | None, as_ref: bool
) -> Tensor:
    if dtype is not None and dtype is not value.dtype.base_dtype:
        raise ValueError(
            f"Incompatible type conversion requested to type {dtype.name!r} for variable of type "
            f"{value.dtype.name!r}"
        )
    if as_ref:
        raise NotImplementedError("PartitionedVariable doesn't support being used as a reference.")
    return value.as_tensor()


convert.register_tensor_conversion_function(PartitionedVariable, _convert_partitioned, priority=10)


def cut_axis(partitions: Sequence[int]) -> tuple[int, int]:
    """The axis along which a variable is cut, and the number of parts."""
    return next(((axis, parts) for axis, parts in enumerate(partitions) if parts > 1), (0, 1))


def call_partitioner(partitioner: Callable[..., Any], shape: TensorShape, dtype: DType) -> list[int]:
    """The number of parts along each axis, checked."""
    if not shape.is_fully_defined():
        raise ValueError(
            f"Shape of a new partitioned variable must be fully defined, but instead was {shape}."
        )
    if len(shape) < 1:
        raise ValueError(f"A partitioned Variable must have rank at least 1, shape: {shape}")
    partitions = partitioner(shape=shape, dtype=dtype)
    if not isinstance(partitions, Sequence):
        raise ValueError(f"Partitioner must return a sequence, but saw: {partitions}")
    if len(partitions) != len(shape):
        raise ValueError(
            "Partitioner returned a partition list that does not match the Variable's rank: "
            f"{partitions} vs. {shape}"
        )
    if any(parts < 1 for parts in partitions):
        raise ValueError(f"Partitioner returned zero partitions for some axes: {partitions}")
    if sum(parts > 1 for parts in partitions) > 1:
        raise ValueError(
            f"Can only slice a variable along one dimension: shape: {shape}, partitioning: {partitions}"
        )
    return list(partitions)


def slices(shape: Sequence[int], axis: int, count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Offset and shape of each of `count` parts; the first ones are longer where the axis does not divide."""
    length, longer = divmod(shape[axis], count)
    start = 0
    for i in range(count):
        size = length + (i < longer)
        offset = [start if a == axis else 0 for a in range(len(shape))]
        yield offset, [size if a == axis else full for a, full in enumerate(shape)]
        start += size


def _bytes_of(shape: TensorShape, dtype: DType, bytes_per_string_element: int) -> int:
    element = bytes_per_string_element if dtype.base_dtype is dtypes.string else dtype.base_dtype.size
    return (shape.num_elements() or 0) * element


def _along(axis: int, shape: TensorShape, parts: int) -> list[int]:
    partitions = [1] * len(shape)
    partitions[axis] = parts
    return partitions


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Callable[..., list[int]]:
    """A partitioner that cuts an axis into a fixed number of parts (or as many as it is long)."""

    def partitioner(shape: TensorShape, **_: Any) -> list[int]:
        return _along(axis, shape, min(num_shards, int(shape[axis])))

    return partitioner


def variable_axis_size_partitioner(
    max_shard_bytes: int, axis: int = 0, bytes_per_string_element: int = 16, max_shards: int | None = None
) -> Callable[..., list[int]]:
    """A partitioner that cuts an axis into parts of at most a given size.

    Args:
        max_shard_bytes: the largest size of a part, in bytes; a part has at least one row all the same.
        axis: the axis.
        bytes_per_string_element: what counts as the size of a string.
        max_shards: the largest number of parts.

    Raises:
        ValueError: a limit is not positive.
    """
    if max_shard_bytes < 1 or bytes_per_string_element < 1:
        raise ValueError("Both max_shard_bytes and bytes_per_string_element must be positive.")
    if max_shards is not None and max_shards < 1:
        raise ValueError("max_shards must be positive.")

    def partitioner(shape: TensorShape, dtype: DType) -> list[int]:
        rows = int(shape[axis])
        row_bytes = _bytes_of(shape, dtype, bytes_per_string_element) / max(rows, 1)
        rows_per_shard = max(1, math.floor(max_shard_bytes / row_bytes)) if row_bytes else max(rows, 1)
        shards = math.ceil(rows / rows_per_shard)
        return _along(axis, shape, min(max_shards, shards) if max_shards else shards)

    return partitioner


def min_max_variable_partitioner(
    max_partitions: int = 1,
    axis: int = 0,
    min_slice_size: int = 256 << 10,
    bytes_per_string_element: int = 16,
) -> Callable[..., list[int]]:
    """A partitioner that cuts an axis into as many parts of at least a given size as possible.

    Args:
        max_partitions: the largest number of parts.
        axis: the axis.
        min_slice_size: the smallest size of a part, in bytes.
        bytes_per_string_element: what counts as the size of a string.

    Raises:
        ValueError: a limit is not positive.
    """
    if max_partitions < 1:
        raise ValueError(f"max_partitions must be positive: {max_partitions}")
    if min_slice_size < 1:
        raise ValueError(f"min_slice_size must be positive: {min_slice_size}")

    def partitioner(shape: TensorShape, dtype: DType) -> list[int]:
        parts = math.ceil(_bytes_of(shape, dtype, bytes_per_string_element) / min_slice_size)
        return _along(axis, shape, max(1, min(int(shape[axis]), max_partitions, parts)))

    return partitioner
