"""Variables: named state that lives in a session and that operations read and write."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tahr.core import convert, dtypes, scopes
from tahr.core.convert import IndexedSlices
from tahr.core.dtypes import DType
from tahr.core.graph import Graph, Operation, Operators, Region, Tensor, install_operators
from tahr.core.opdef import Array
from tahr.core.scopes import GraphKeys
from tahr.core.tensor_shapes import TensorShape
from tahr.ops import (
    assignments,
    control_flow,
    indexing,
    slicing,
    state,
    structural,
    variable_lists,
)


class VariableSynchronization:
    """When copies of a distributed variable are brought together; tahr has one copy, so all mean the same."""

    AUTO, NONE, ON_WRITE, ON_READ = range(4)


class VariableAggregation:
    """How copies of a distributed variable are brought together; tahr has one copy, so all mean the same."""

    NONE, SUM, MEAN, ONLY_FIRST_REPLICA = range(4)


class Variable(Operators):
    """A value that a session keeps from run to run.

    Args:
        initial_value: the initial value: a tensor, a value that converts to one, or a function of no arguments that
            gives one (it is called outside of every loop and branch).
        trainable: whether optimizers change it by default.
        collections: the graph collections it is added to; `GLOBAL_VARIABLES` by default.
        validate_shape: whether its shape is fixed by the initial value.
        caching_device: accepted.
        name: its name; "Variable" by default.
        variable_def: not supported: importing is done by the graph importers.
        dtype: its dtype; that of the initial value by default.
        expected_shape: accepted; the initial value's shape is used, as in TensorFlow 1.15.
        import_scope: not supported.
        constraint: a function from the new value to the value to keep, applied by optimizers.
        use_resource: whether it is a resource variable, whose reads are ordered by control dependencies alone; False
            is TensorFlow 1's default.
        synchronization: accepted.
        aggregation: accepted.
        shape: its shape, if it is to be less precise than the initial value's.

    Raises:
        ValueError: there is no initial value, or its shape is unknown while `validate_shape` is set.
    """

    __array_priority__ = 100

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Sequence[Any] | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Tensor], Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
        shape: Any = None,
    ) -> None:
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        if constraint is not None and not callable(constraint):
            raise ValueError("The `constraint` argument must be a callable.")
        if collections is None:
            collections = [GraphKeys.GLOBAL_VARIABLES]
        if not isinstance(collections, (list, tuple, set)):
            raise ValueError(
                f"collections argument to Variable constructor must be a list, tuple, or set. Got {collections} of "
                f"type {type(collections)}"
            )
        self._trainable = True if trainable is None else trainable
        self._constraint = constraint
        self._use_resource = bool(use_resource)
        self._caching_device = caching_device
        self._save_slice_info: Any = None
        self._synchronization, self._aggregation = synchronization, aggregation
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        with scopes.init_scope():
            self._build(
                initial_value, wanted, name, validate_shape, None if shape is None else TensorShape(shape)
            )
        graph = self.graph
        graph.add_to_collections(list(collections), self)
        if self._trainable and GraphKeys.TRAINABLE_VARIABLES not in collections:
            graph.add_to_collection(GraphKeys.TRAINABLE_VARIABLES, self)

    def _build(
        self,
        initial_value: Any,
        dtype: DType | None,
        name: str | None,
        validate_shape: bool,
        shape: TensorShape | None,
    ) -> None:
        """Adds the variable's operations: initial value, the variable, its initializer, a read."""
        given = callable(initial_value)
        with scopes.name_scope(name, "Variable", [] if given else [initial_value]) as scope:
            self._initial_value = self._converted(initial_value, dtype)
            self._check_initial_value(scope, validate_shape)
            if shape is None:
                shape = self._initial_value.shape if validate_shape else TensorShape(None)
            self._dtype: DType = self._initial_value.dtype.base_dtype
            attrs = {"dtype": self._dtype, "shape": shape.raw}
            if self._use_resource:
                self._add_resource(attrs, scope)
            else:
                self._add_reference(attrs, scope, validate_shape)
            if (
                not isinstance(initial_value, Tensor)
                and not given
                and self._initial_value.op.opdef is convert.Const
            ):
                # Tutorial behaviour: a session takes this value when the variable is first needed.
                self._handle.op.lazy_value = self._initial_value.op.attrs["value"]

    def _converted(self, initial_value: Any, dtype: DType | None) -> Tensor:
        """The initial value, which may be given as a function that makes it, as a tensor."""
        given = callable(initial_value)
        if not given and not self._use_resource:
            return convert.convert_to_tensor(initial_value, dtype=dtype, name="initial_value")
        with scopes.name_scope("Initializer"):
            value = initial_value() if given else initial_value
            return convert.convert_to_tensor(value, dtype=dtype, name="initial_value")

    def _check_initial_value(self, scope: str, validate_shape: bool) -> None:
        """Raises ValueError where the initial value is inside a loop or conditional, or lacks a shape."""
        if self._initial_value.op.region is not None:
            raise ValueError(
                f"Initializer for variable {scope} is from inside a control-flow construct, such as a loop or "
                "conditional. When creating a variable inside a loop or conditional, use a lambda as the "
                "initializer."
            )
        if validate_shape and not self._initial_value.shape.is_fully_defined():
            raise ValueError("initial_value must have a shape specified: " + str(self._initial_value))

    def _add_resource(self, attrs: Mapping[str, Any], scope: str) -> None:
        """Adds the operations of a resource variable."""
        self._handle: Tensor = state.VarHandleOp(**attrs, shared_name=scope[:-1], name=scope)
        with scopes.name_scope("IsInitialized"):
            self._is_initialized: Any = state.VarIsInitializedOp(self._handle)
        self._initializer: Operation = state.AssignVariableOp(
            self._handle, self._initial_value, name="Assign"
        )
        with scopes.name_scope("Read"):
            self._snapshot: Tensor = self._read()

    def _add_reference(self, attrs: Mapping[str, Any], scope: str, validate_shape: bool) -> None:
        """Adds the operations of a reference variable."""
        self._handle = state.VariableV2(**attrs, name=scope)
        value = _with_initialized_values(self._initial_value, scope)
        assign = state.Assign(self._handle, value, validate_shape=validate_shape, name="Assign")
        self._initializer = assign.op
        self._snapshot = structural.identity(self._handle, name="read")

    # ------------------------------------------------------------ what it is

    @property
    def handle_or_ref(self) -> Tensor:
        """The tensor that stands for the variable itself."""
        return self._handle

    @property
    def handle(self) -> Tensor:
        """The resource handle. Raises AttributeError for a reference variable."""
        if not self._use_resource:
            raise AttributeError("a reference variable has no handle; make it with use_resource=True")
        return self._handle

    def _ref(self) -> Tensor:
        return self._handle

    @property
    def _variable(self) -> Tensor:
        return self._handle

    def _as_graph_element(self) -> Tensor:
        return self._snapshot if self._use_resource else self._handle

    @property
    def name(self) -> str:
        """`variable_name:0`."""
        return f"{self._handle.op.name}:0"

    @property
    def _shared_name(self) -> str:
        return self._handle.op.name

    @property
    def op(self) -> Operation:
        """The operation of the variable."""
        return self._handle.op

    @property
    def graph(self) -> Graph:
        """The graph that it belongs to."""
        return self._handle.graph

    @property
    def device(self) -> str:
        """The device noted on it."""
        return self._handle.device

    @property
    def dtype(self) -> DType:
        """Its dtype; a `_ref` one for a reference variable."""
        return self._dtype if self._use_resource else self._dtype.ref_dtype

    @property
    def shape(self) -> TensorShape:
        """Its static shape."""
        return TensorShape(self._handle.op.attrs["shape"]) if self._use_resource else self._handle.shape

    def get_shape(self) -> TensorShape:
        """Its static shape."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Adds to what is known of the shape of its value."""
        self._snapshot.set_shape(shape)
        if not self._use_resource:
            self._handle.set_shape(shape)

    @property
    def trainable(self) -> bool:
        """Whether optimizers change it by default."""
        return self._trainable

    @property
    def constraint(self) -> Callable[[Tensor], Any] | None:
        """The function that optimizers apply to new values."""
        return self._constraint

    @property
    def synchronization(self) -> Any:
        """As given."""
        return self._synchronization

    @property
    def aggregation(self) -> Any:
        """As given."""
        return self._aggregation

    @property
    def initializer(self) -> Operation:
        """The operation that gives it its initial value."""
        return self._initializer

    @property
    def initial_value(self) -> Tensor:
        """The initial value, as a tensor."""
        return self._initial_value

    # ------------------------------------------------------------ reading

    def _read(self) -> Tensor:
        value = state.ReadVariableOp(self._handle, dtype=self._dtype)
        value.set_shape(self.shape)
        return value

    def value(self) -> Tensor:
        """Its value: for a reference variable the one read that was made with it, else a new read."""
        return self._read() if self._use_resource else self._snapshot

    def read_value(self) -> Tensor:
        """A new read, which control dependencies order."""
        if self._use_resource:
            return structural.identity(self._read())
        return structural.identity(self._handle, name="read")

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """The rows at `indices`."""
        return indexing.gather(self, indices, name=name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements or slices at `indices`, [..., depth]."""
        return indexing.gather_nd(self, indices, name=name)

    def eval(self, session: Any = None) -> Array:
        """Its value in `session` or the default session."""
        return self._snapshot.eval(session=session)

    def initialized_value(self) -> Tensor:
        """Its value if it is initialized, else its initial value."""
        with scopes.init_scope():
            return control_flow.cond(
                assignments.is_variable_initialized(self), self.read_value, lambda: self.initial_value
            )

    # ------------------------------------------------------------ writing

    def assign(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Gives it a new value.

        Args:
            value: a tensor of its dtype and shape.
            use_locking: accepted; a write is always whole.
            name: the operation's name.
            read_value: whether to return the new value rather than the operation.
        """
        result = assignments.assign(self, value, use_locking=use_locking, name=name)
        return result if read_value else self._write_op(result)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Adds `delta` to it; as `assign`."""
        result = assignments.assign_add(self, delta, use_locking=use_locking, name=name)
        return result if read_value else self._write_op(result)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Subtracts `delta` from it; as `assign`."""
        result = assignments.assign_sub(self, delta, use_locking=use_locking, name=name)
        return result if read_value else self._write_op(result)

    def _write_op(self, result: Tensor) -> Operation:
        # The read after a resource variable's write has the write as its innermost control input.
        return result.op.control_inputs[-1] if self._use_resource else result.op

    def _scatter(self, kind: str, rows: Any, use_locking: bool, name: str | None) -> Tensor:
        if not isinstance(rows, IndexedSlices):
            raise TypeError(f"sparse_delta is not IndexedSlices: {rows}")
        return assignments.scatter(kind, self, rows.indices, rows.values, use_locking, name)

    def scatter_sub(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """Subtracts rows. Raises TypeError where `sparse_delta` is no IndexedSlices."""
        return self._scatter("Sub", sparse_delta, use_locking, name)

    def scatter_add(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """Adds rows; as `scatter_sub`."""
        return self._scatter("Add", sparse_delta, use_locking, name)

    def scatter_update(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """Sets rows; as `scatter_sub`."""
        return self._scatter("Update", sparse_delta, use_locking, name)

    def scatter_max(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """Takes the maximum with rows; as `scatter_sub`."""
        return self._scatter("Max", sparse_delta, use_locking, name)

    def scatter_min(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """Takes the minimum with rows; as `scatter_sub`."""
        return self._scatter("Min", sparse_delta, use_locking, name)

    def scatter_mul(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """Multiplies rows; as `scatter_sub`."""
        return self._scatter("Mul", sparse_delta, use_locking, name)

    def scatter_div(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Tensor:
        """Divides rows; as `scatter_sub`."""
        return self._scatter("Div", sparse_delta, use_locking, name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """Subtracts from the elements or slices at `indices`, [..., depth]."""
        return assignments.scatter_nd_sub(self, indices, updates, name=name)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """Adds to the elements or slices at `indices`, [..., depth]."""
        return assignments.scatter_nd_add(self, indices, updates, name=name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """Sets the elements or slices at `indices`, [..., depth]."""
        return assignments.scatter_nd_update(self, indices, updates, name=name)

    def count_up_to(self, limit: int) -> Tensor:
        """Adds one unless that would pass `limit`, which raises OutOfRangeError; gives the value before."""
        return assignments.count_up_to(self, limit)

    def load(self, value: Any, session: Any = None) -> None:
        """Gives it a value in `session` or the default session at once.

        Raises:
            ValueError: there is no session, or the value's shape is another.
        """
        self._initializer.run({self._initializer.inputs[1]: value}, session)

    # ------------------------------------------------------------ being a tensor

    def __getitem__(self, key: Any) -> Any:
        return self._assignable_slice(self.value()[key])

    def _assignable_slice(self, part: Any) -> Any:
        """A slice of its value, with a method that writes to that part of it: `v[0, 1:].assign(value, name=None)`.

        Args:
            part: a tensor; it gets the method if a StridedSlice made it, which a mask's tensor is not.
        """
        if part.op.opdef is slicing.StridedSlice:
            part.assign = functools.partial(assignments.assign_slice, self, part.op)
        return part

    def __iter__(self) -> Any:
        raise TypeError("'Variable' object is not iterable.")

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        return self.value().__array_ufunc__(*(_value_of(a) for a in args), **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.value().__array_function__(func, types, tuple(_value_of(a) for a in args), kwargs)

    def __repr__(self) -> str:
        return f"<tf.Variable {self.name!r} shape={self.shape} dtype={self.dtype.name}>"

    class SaveSliceInfo:
        """Where a part of a partitioned variable lies in the whole.

        Args:
            full_name: the name of the whole.
            full_shape: the shape of the whole.
            var_offset: the first index of the part, in each dimension.
            var_shape: the shape of the part.
        """

        def __init__(
            self,
            full_name: str | None = None,
            full_shape: Sequence[int] | None = None,
            var_offset: Sequence[int] | None = None,
            var_shape: Sequence[int] | None = None,
        ) -> None:
            self.full_name = full_name
            self.full_shape = full_shape
            self.var_offset = var_offset
            self.var_shape = var_shape

        @property
        def spec(self) -> str:
            """The form in which checkpoints write it: `full_shape offset,length:offset,length`."""
            full = " ".join(map(str, self.full_shape or ()))
            parts = ":".join(f"{o},{s}" for o, s in zip(self.var_offset or (), self.var_shape or ()))
            return f"{full} {parts}"

    def _set_save_slice_info(self, save_slice_info: Any) -> None:
        self._save_slice_info = save_slice_info

    def _get_save_slice_info(self) -> Any:
        return self._save_slice_info


install_operators(Variable)


def _value_of(item: Any) -> Any:
    if isinstance(item, tuple):
        return tuple(_value_of(i) for i in item)
    return item.value() if isinstance(item, Variable) else item


def _convert_variable(value: Variable, dtype: DType | None, name: str | None, as_ref: bool) -> Any:
    found = value.dtype.base_dtype
    if dtype is not None and found is not dtype:
        raise ValueError(
            f"Incompatible type conversion requested to type {dtype.name!r} for variable of type {value.dtype.name!r}"
        )
    return (
        value.handle_or_ref
        if as_ref and value.handle_or_ref.spec.dtype is not dtypes.resource
        else value.value()
    )


convert.register_tensor_conversion_function(Variable, _convert_variable, priority=10)


def _with_initialized_values(value: Tensor, scope: str) -> Tensor:
    """An initial value computed from other variables, as it is where some of them are not initialized yet.

    Their initial values take their place, in copies of the operations in between. As in TensorFlow this is done for
    reference variables alone, and not within loops and branches.

    Args:
        value: the initial value.
        scope: the name scope of the variable that it is for; the copies' names end with it.
    """
    copies: dict[Operation, Operation] = {}
    variables: dict[Operation, Variable] = {}
    for op in _operations_behind(value):
        if op.opdef is state.VariableV2:
            variables = variables or {
                v.op: v for v in variable_lists.global_variables() + variable_lists.local_variables()
            }
            if op in variables:
                copies[op] = variables[op].initialized_value().op
        elif any(t.op in copies for t in op.inputs):
            inputs = [copies[t.op].outputs[t.value_index] if t.op in copies else t for t in op.inputs]
            copies[op] = op.graph.add_operation(op.opdef, inputs, dict(op.attrs), f"{op.name}_{scope}")
    return copies[value.op].outputs[value.value_index] if value.op in copies else value


def _operations_behind(value: Tensor) -> list[Operation]:
    """The operations that a value is computed by, each behind those whose results it takes.

    Operations that write, ask whether a variable is initialized, or hold regions are left as they are, and so is what
    they take.
    """
    found: dict[Operation, None] = {}
    stack = [(value.op, False)]
    while stack:
        op, is_done = stack.pop()
        if op in found:
            continue
        if is_done:
            found[op] = None
        elif not (op.opdef.effects.ordered or any(isinstance(a, Region) for a in op.attrs.values())):
            stack.append((op, True))
            stack += [(t.op, False) for t in op.inputs]
    return list(found)
