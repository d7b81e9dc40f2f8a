"""TensorArray: a list of tensors that loops write and read element by element.

A TensorArray is immutable: every method that changes it returns a new one. Behind it is one of the lists of
`ops.list_values`, and its gradient is that of the ops on them.
"""

from __future__ import annotations

from typing import Any

from tahr.core import convert, dtypes, scopes, shapes, tensor_shapes
from tahr.core.dtypes import DType
from tahr.core.graph import Operation, Tensor
from tahr.core.shapes import Shape
from tahr.core.tensor_shapes import TensorShape
from tahr.ops import control_flow, list_arrays, lists, ranges, structural


class _Elements:
    """What all versions of one TensorArray know together: what is learned inside of a loop holds outside too.

    Attributes:
        shape: the static shape of its elements.
        size: the number of elements, or None where it can grow or is only found in the list.
    """

    def __init__(self, shape: Shape, size: Tensor | None) -> None:
        self.shape = shape
        self.size = size


class TensorArray:
    """A list of tensors of one dtype.

    Differs from TensorFlow 1.15: reading an element again is allowed whatever `clear_after_read` says, as nothing is
    changed by reading; `flow` is a variant tensor (the list itself) rather than a float, and `handle` is the same.

    Args:
        dtype: the elements' dtype.
        size: the number of elements, an int32 scalar.
        dynamic_size: whether writing past the end makes it longer.
        clear_after_read: accepted.
        tensor_array_name: accepted.
        handle: the `handle` of an existing TensorArray, instead of a size.
        flow: the `flow` of an existing TensorArray.
        infer_shape: whether all elements must have one shape, known from the first that is written.
        element_shape: the elements' shape, as far as it is known.
        colocate_with_first_write_call: accepted.
        name: the operation's name.

    Raises:
        ValueError: neither a size nor a handle, or both.  TypeError: `handle` is no tensor.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Tensor | None = None,
        flow: Tensor | None = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        if handle is not None and size is not None:
            raise ValueError("Cannot provide both a handle and size at the same time")
        if handle is not None and element_shape is not None:
            raise ValueError("Cannot provide both a handle and element_shape at the same time")
        if handle is not None and not isinstance(handle, Tensor):
            raise TypeError(f"Handle must be a Tensor, got {type(handle).__name__}")
        if handle is None and size is None:
            raise ValueError("Size must be provided if handle is not provided")
        self._dtype = dtypes.as_dtype(dtype).base_dtype
        self._dynamic_size = bool(dynamic_size)
        self._infer_shape = infer_shape or element_shape is not None
        self._adds_up = False
        if handle is not None:
            self._flow = handle if flow is None else flow
            self._elements = _Elements(None, None)
            return
        with scopes.name_scope(name, "TensorArray", [size, flow]) as scope:
            size = convert.convert_to_tensor(size, dtype=dtypes.int32, name="size")
            self._flow: Tensor = lists.TensorListReserve(size, name=scope) if flow is None else flow
        self._elements = _Elements(tensor_shapes.as_shape(element_shape), None if dynamic_size else size)

    # ------------------------------------------------------------ what it is

    @property
    def flow(self) -> Tensor:
        """The list itself, a variant scalar."""
        return self._flow

    @property
    def handle(self) -> Tensor:
        """The list itself, as `flow`."""
        return self._flow

    @property
    def dtype(self) -> DType:
        """The elements' dtype."""
        return self._dtype

    @property
    def dynamic_size(self) -> bool:
        """Whether writing past the end makes it longer."""
        return self._dynamic_size

    @property
    def element_shape(self) -> TensorShape:
        """What is known of the elements' shape."""
        return TensorShape(self._elements.shape)

    def with_flow(self, flow: Tensor) -> TensorArray:
        """The same TensorArray in another state: what a loop or cond makes of its flow."""
        other = object.__new__(TensorArray)
        other.__dict__.update(self.__dict__)
        other._flow = flow
        if _is_from_cond(flow):  # the branches may have given different TensorArrays
            other._elements = _Elements(self._elements.shape, None)
        return other

    def identity(self) -> TensorArray:
        """The same TensorArray, behind an Identity: something to attach control dependencies to."""
        return self.with_flow(structural.identity(self._flow))

    def grad(self, source: str, flow: Tensor | None = None, name: str | None = None) -> TensorArray:
        """A TensorArray of the same size for gradients: what is written to one index adds up.

        Args:
            source: accepted; calls with one source do not share their state.
            flow: the flow that it belongs to; this one's by default.
            name: the operation's name.
        """
        flow = self._flow if flow is None else flow
        gradient = self.with_flow(lists.TensorListZerosLike(flow, name=name or "TensorArrayGradV3"))
        gradient._adds_up = True
        return gradient

    # ------------------------------------------------------------ one element

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The element at an index.

        Raises:
            InvalidArgumentError: when run: the index is out of range, or the element was not written and its shape is
                not known.
        """
        return lists.TensorListGetItem(
            self._flow,
            index,
            element_dtype=self._dtype,
            element_shape=self._elements.shape,
            name=name or "TensorArrayReadV3",
        )

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The TensorArray with one more element written.

        Args:
            index: an int32 scalar.
            value: the element, of this TensorArray's dtype.
            name: the name scope.

        Raises:
            TypeError: the value has another dtype.  ValueError: it has another shape than the others.
            InvalidArgumentError: when run: the index is out of range, or was written to before.
        """
        with scopes.name_scope(name, "TensorArrayWrite", [self._flow, index, value]):
            index = convert.convert_to_tensor(index, dtype=dtypes.int32, name="index")
            value = self._converted(value)
            self._learn(value.spec.shape)
            if self._adds_up:
                value = structural.add_n([value, lists.TensorListGetItemLike(self._flow, index, value)])
            flow = lists.TensorListSetItem(
                self._flow,
                index,
                value,
                resize_if_index_out_of_bounds=self._dynamic_size,
                write_once=not self._adds_up,
                name="TensorArrayWriteV3",
            )
        return self.with_flow(flow)

    # ------------------------------------------------------------ all elements

    def stack(self, name: str | None = None) -> Tensor:
        """The elements as the rows of one tensor, [size, ...]; those that were not written are zero."""
        with scopes.name_scope(name, "TensorArrayStack", [self._flow]):
            return list_arrays.TensorListStack(
                self._flow,
                self.size(),
                element_dtype=self._dtype,
                element_shape=self._elements.shape,
                name="TensorArrayGatherV3",
            )

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements at some indices, [len(indices), ...]."""
        return list_arrays.TensorListGather(
            self._flow,
            convert.convert_to_tensor(indices, dtype=dtypes.int32, name="indices"),
            element_dtype=self._dtype,
            element_shape=self._elements.shape,
            name=name or "TensorArrayGatherV3",
        )

    def concat(self, name: str | None = None) -> Tensor:
        """The elements joined along their first axis."""
        shape = self._elements.shape
        joined, _ = list_arrays.TensorListConcat(
            self._flow,
            element_dtype=self._dtype,
            element_shape=shape if shape else None,
            name=name or "TensorArrayConcatV3",
        )
        return joined

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The TensorArray with the rows of a tensor as its first elements."""
        with scopes.name_scope(name, "TensorArrayUnstack", [self._flow, value]):
            value = self._converted(value)
            if value.spec.shape == ():
                raise ValueError("Shape must be at least rank 1 but is rank 0: a scalar cannot be unstacked")
            return self.scatter(ranges.range_(0, structural.shape(value)[0]), value)

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The TensorArray with the rows of a tensor as its elements at some indices."""
        with scopes.name_scope(name, "TensorArrayScatter", [self._flow, value, indices]):
            value = self._converted(value)
            self._learn(None if value.spec.shape is None else value.spec.shape[1:])
            flow = list_arrays.TensorListScatter(
                self._flow,
                value,
                convert.convert_to_tensor(indices, dtype=dtypes.int32, name="indices"),
                resize_if_index_out_of_bounds=self._dynamic_size,
                write_once=not self._adds_up,
                name="TensorArrayScatterV3",
            )
        return self.with_flow(flow)

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """A TensorArray whose elements are parts of a tensor.

        Args:
            value: what is divided along its first axis.
            lengths: the parts' lengths, one for each element.
            name: the name scope.

        Raises:
            InvalidArgumentError: when run: the lengths do not add up, or are not as many as there are elements.
        """
        with scopes.name_scope(name, "TensorArraySplit", [self._flow, value, lengths]):
            value = self._converted(value)
            lengths = convert.convert_to_tensor(lengths, dtype=dtypes.int64)
            self._learn(_part_shape(value, lengths))
            size = -1 if self._dynamic_size else self.size()
            flow = list_arrays.TensorListSplit(value, lengths, size, name="TensorArraySplitV3")
        return self.with_flow(flow)

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements, an int32 scalar."""
        size = self._elements.size
        name = name or "TensorArraySizeV3"
        if size is not None and _is_within_reach(size):
            return structural.identity(size, name=name)
        return lists.TensorListLength(self._flow, name=name)

    def close(self, name: str | None = None) -> Operation:
        """An operation that does nothing: the elements are freed when nothing needs them."""
        return control_flow.no_op(name or "TensorArrayCloseV3")

    # ------------------------------------------------------------ checks

    def _converted(self, value: Any) -> Tensor:
        tensor = convert.convert_to_tensor(value, preferred_dtype=self._dtype, name="value")
        found = tensor.spec.dtype
        if found is not None and found is not self._dtype:
            raise TypeError(
                f"TensorArray dtype is {self._dtype.name} but Op is trying to write dtype {found.name}: {tensor}"
            )
        return tensor

    def _learn(self, shape: Shape) -> None:
        """Notes an element's shape."""
        if not self._infer_shape:
            return
        known = self._elements.shape
        try:
            self._elements.shape = shapes.merge(known, shape)
        except ValueError:
            raise ValueError(
                f"Inconsistent shapes: saw {TensorShape(shape)} but expected {TensorShape(known)} "
                "(and infer_shape=True)"
            ) from None


def _is_from_cond(flow: Tensor) -> bool:
    return any(t.op.opdef is control_flow.If for t in flow.op.inputs)


def _is_within_reach(tensor: Tensor) -> bool:
    """Whether a tensor may be used where the graph is being built."""
    home = tensor.op.region
    return home is None or home.encloses(tensor.graph.region)


def _part_shape(value: Tensor, lengths: Tensor) -> Shape:
    """The shape of the parts, where all of them are known to be equally long."""
    known = convert.constant_value(lengths)
    if known is None or value.spec.shape is None or not known.size or (known != known.flat[0]).any():
        return None
    return (int(known.flat[0]), *value.spec.shape[1:])
