"""What the user builds: a Graph of Operations joined by Tensors.

A graph only grows. An operation is described by its `OpDef`; it knows its input tensors, its attributes, the operations
that must run before it (control inputs), and the user's line that made it. Nothing is computed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tahr import errors
from tahr.core import shapes, source
from tahr.core.boundary import boundary
from tahr.core.building import (
    VALID_OP_NAME,
    VALID_SCOPE_NAME,
    ControlScope,
    DeviceScope,
    NameScope,
    OverrideScope,
    Region,
    RegionScope,
    State,
    merge_devices,
)
from tahr.core.forks import new_lock
from tahr.core.opdef import OPS, REQUIRED, OpDef
from tahr.core.operations import Operation, Operators, Tensor, hooks, install_operators, static_shape


class Graph:
    """A set of operations and the tensors between them, with unique names and collections."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._operations: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._names_in_use: dict[str, int] = {}
        self._collections: dict[Any, list[Any]] = {}
        self._finalized = False
        self.changes = 0  # grows when something that exists is changed; plans made before are then stale
        self.seed: int | None = None
        self.state = State()
        self.unfeedable: set[Tensor] = set()
        self.unfetchable: set[Operation] = set()
        self.routines: dict[Any, Any] = {}  # the planner's cache: belongs to the graph, outlives sessions

    # ------------------------------------------------------------ growing

    @property
    def version(self) -> int:
        """The number of operations: grows with the graph."""
        return len(self._operations)

    def touch(self) -> None:
        """Notes that something that exists was changed."""
        self.changes += 1

    @property
    def finalized(self) -> bool:
        """Whether the graph may no longer grow."""
        return self._finalized

    def finalize(self) -> None:
        """Makes the graph read-only: adding an operation raises RuntimeError from now on."""
        self._finalized = True

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    @property
    def building_function(self) -> bool:
        """Whether this is the graph of a TensorFlow function; tahr has none."""
        return False

    @property
    def region(self) -> Region | None:
        """The region that is being built, or None at the top."""
        return self.state.region

    def add_operation(
        self,
        opdef: OpDef,
        inputs: Sequence[Tensor],
        attrs: dict[str, Any],
        name: str | None = None,
        op: Operation | None = None,
    ) -> Operation:
        """Adds an operation: checks shapes, gives it a unique name, and notes where the user made it.

        Args:
            opdef: its kind.
            inputs: flat input tensors, already converted and of fitting dtypes.
            attrs: all attributes.
            name: its name within the current name scope; made unique. One that ends with "/" is taken as it is.
            op: the object to fill in; a new Operation by default.

        Raises:
            RuntimeError: the graph is finalized.
            ValueError: the inputs' shapes do not fit, or belong elsewhere.
        """
        if self._finalized:
            raise _is_finalized(opdef)
        state = self.state
        region = state.region
        inputs = [
            t if t.op.region is region and t.op.graph is self else self._admit(t, opdef, inputs)
            for t in inputs
        ]
        try:
            specs = opdef.infer([t.spec for t in inputs], attrs)
        except ValueError as error:
            raise ValueError(_shape_message(opdef, inputs, attrs, error)) from None
        if opdef.items_rule is not None:
            # Static shapes say of a list's items what the user said, as in TensorFlow.
            specs = tuple(s._replace(items=None) for s in specs)
        op = Operation.__new__(Operation) if op is None else op
        op.graph = self
        op.opdef = opdef
        op._inputs = inputs  # pyright: ignore[reportPrivateUsage]
        op.attrs = attrs
        op.region = region
        op.hidden = {}
        op.source = source.caller()
        op.gradient_type = state.gradient_overrides.get(opdef.name) if state.gradient_overrides else None
        outputs = opdef.outputs
        if len(outputs) == 1 and not outputs[0].is_list:
            op.outputs = [Tensor(op, 0, specs[0], outputs[0].is_ref)]
        else:
            flat = opdef.output_args(attrs) if specs else ()
            op.outputs = [Tensor(op, i, s, a.is_ref) for i, (s, a) in enumerate(zip(specs, flat))]
        control_inputs = self._control_inputs_for(op, inputs) if state.control_groups else []
        op._control_inputs = control_inputs  # pyright: ignore[reportPrivateUsage]
        op.device = ""
        self._enter(op, name)
        for tensor in inputs:
            tensor.add_consumer(op)
        if state.devices:
            self._place(op)
        return op

    def _enter(self, op: Operation, name: str | None) -> None:
        """Gives an operation its name and number, and takes it up."""
        with self._lock:
            op.name = self._name_for(op.opdef, name)
            if op.name in self._by_name:
                raise ValueError(f"Duplicate node name in graph: {op.name!r}")
            op.id = len(self._operations)
            self._operations.append(op)
            self._by_name[op.name] = op
            if op.region is not None:
                op.region.operations.append(op)

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        dtypes: Any = None,
        input_types: Any = None,
        name: str | None = None,
        attrs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Operation:
        """Adds an operation by the name of its type; the functions of the public interface are the usual way.

        Args:
            op_type: e.g. "MatMul".
            inputs: flat input tensors of fitting dtypes.
            dtypes: accepted; the output dtypes follow from the type.
            input_types: accepted.
            name: its name; the type's by default.
            attrs: plain values of the attributes that differ from their defaults.

        Raises:
            ValueError: the type is not known, or the shapes do not fit.  TypeError: an input is no tensor, or an
                attribute is missing.
        """
        definition = OPS.get(op_type)
        if definition is None:
            raise ValueError(f"Op type not registered {op_type!r}: tahr knows no such operation")
        for value in inputs:
            if not isinstance(value, Tensor):
                raise TypeError(f"Input #{list(inputs).index(value)} is not a tensor: {value!r}")
        full = {**definition.attrs, **(attrs or {})}
        missing = [key for key, value in full.items() if value is REQUIRED]
        if missing:
            raise TypeError(f"{op_type}: needs the attribute {missing[0]!r}")
        return self.add_operation(definition, list(inputs), full, name)

    def _name_for(self, opdef: OpDef, name: str | None) -> str:
        if name is None:
            return self.unique_name(opdef.name.lstrip("_"))
        if not isinstance(name, str):
            raise TypeError(f"The name of an operation must be a string, not {name!r}.")
        if name.endswith("/"):
            return name[:-1]
        if not VALID_OP_NAME.match(name) and not (self.state.name_stack and VALID_SCOPE_NAME.match(name)):
            raise ValueError(f"'{name}' is not a valid node name")
        return self.unique_name(name)

    def _admit(self, tensor: Tensor, opdef: OpDef, inputs: Sequence[Tensor]) -> Tensor:
        """A tensor of another region (or graph) as an input here: itself, what stands for it, or an error."""
        if tensor.op.graph is not self:
            here = next((t for t in inputs if t.op.graph is self), None)
            raise ValueError(
                errors.describe(
                    opdef.name,
                    f"{tensor} must be from the same graph as {'the default graph' if here is None else here}.",
                    [source.caller().describe(), *(t.op.describe() for t in (tensor, here) if t is not None)],
                    "build both inside one `with graph.as_default():`",
                )
            )
        region = self.region
        home = tensor.op.region
        if home is None or home.encloses(region):
            return tensor
        adopted = region.adopt(tensor) if region is not None else None
        if adopted is None:
            raise ValueError(
                errors.describe(
                    opdef.name,
                    f"Cannot use '{tensor.op.name}' as input because it is in a {home.what}, "
                    "and is used outside of it.",
                    [tensor.op.describe()],
                    f"return the tensor from the {home.what} and use what the loop or cond gives back",
                )
            )
        return adopted

    def _control_inputs_for(self, op: Operation, inputs: Sequence[Tensor]) -> list[Operation]:
        """The controllers of the open `control_dependencies` blocks that no input implies already."""
        sources = {t.op for t in inputs}
        found: dict[Operation, None] = {}
        for group in self.state.control_groups:
            if sources.isdisjoint(group.seen):
                for controller in group.ops:
                    if controller.region is op.region and controller not in sources:
                        found[controller] = None
                    elif op.region is not None:
                        op.region.controllers[controller] = None
            group.seen.add(op)
        return list(found)

    def _place(self, op: Operation) -> None:
        """Notes a new operation's device. The innermost scope comes first: outer ones add what it leaves open.

        A function sees the operation with what inner scopes gave it, and its answer replaces that.
        """
        for entry in reversed(self.state.devices):
            if entry is None:
                return
            if callable(entry):
                device = entry(op)
                op.device = op.device if device is None else str(device)
            else:
                op.device = merge_devices(entry, op.device)

    # ------------------------------------------------------------ names

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """The first of `name`, `name_1`, `name_2` ... in the current name scope that is not taken."""
        stack = self.state.name_stack
        if stack:
            name = f"{stack}/{name}"
        taken = self._names_in_use
        key = name.lower()
        with self._lock:
            count = taken.get(key, 0)
            if mark_as_used:
                taken[key] = count + 1
            if count == 0:
                return name
            base = key
            while key in taken:
                key = f"{base}_{count}"
                count += 1
            if mark_as_used:
                taken[key] = 1
        return f"{name}_{count - 1}"

    def name_scope(self, name: str | None) -> NameScope:
        """A context manager that prefixes the names of operations made in it; None or "" clears the prefix."""
        return NameScope(self, name)

    def get_name_scope(self) -> str:
        """The current name scope, without a slash at its end."""
        return self.state.name_stack

    # ------------------------------------------------------------ scopes

    def control_dependencies(self, control_inputs: Sequence[Any] | None) -> ControlScope:
        """A context manager: operations made in it run after `control_inputs`; None forgets outer blocks."""
        return ControlScope(self, control_inputs)

    def device(self, device_name_or_function: Any) -> DeviceScope:
        """A context manager that notes a device on operations made in it."""
        return DeviceScope(self, device_name_or_function)

    def colocate_with(self, op: Any, ignore_existing: bool = False) -> DeviceScope:
        """A context manager that notes the device of `op`, whatever the scopes around it say; None notes none.

        Raises:
            ValueError: `op` is None, but `ignore_existing` is not set.
        """
        if op is None and not ignore_existing:
            raise ValueError("Trying to reset colocation (op is None) but ignore_existing is not True")
        return DeviceScope(self, None, "" if op is None else self.as_operation(op).device)

    def gradient_override_map(self, op_type_map: Mapping[str, str]) -> OverrideScope:
        """A context manager: operations made in it use the gradients registered under other names.

        Args:
            op_type_map: from op type to the name given to `RegisterGradient`.
        """
        return OverrideScope(self, op_type_map)

    def top_level(self) -> RegionScope:
        """A context manager that leaves every region and control block: variables are made in it."""
        return RegionScope(self, None)

    # ------------------------------------------------------------ looking up

    def get_operations(self) -> list[Operation]:
        """All operations, in the order in which they were made."""
        return list(self._operations)

    @boundary
    def get_operation_by_name(self, name: str) -> Operation:
        """The operation with a name. Raises KeyError where there is none."""
        if not isinstance(name, str):
            raise TypeError(f"Operation names are strings (or similar), not {type(name).__name__}.")
        return self.as_graph_element(name, allow_tensor=False, allow_operation=True)

    @boundary
    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor named `op:index`. Raises KeyError where there is none, ValueError for another form."""
        if not isinstance(name, str):
            raise TypeError(f"Tensor names are strings (or similar), not {type(name).__name__}.")
        return self.as_graph_element(name, allow_tensor=True, allow_operation=False)

    @boundary
    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The Tensor or Operation that `obj` is, names or converts to.

        Raises:
            KeyError: no such name.  ValueError: another graph, or a name of the wrong form.  TypeError: no element.
        """
        if not allow_tensor and not allow_operation:
            raise ValueError("allow_tensor and allow_operation can't both be False.")
        wanted = " or ".join(w for w, a in (("Tensor", allow_tensor), ("Operation", allow_operation)) if a)
        convert = getattr(obj, "_as_graph_element", None)
        if convert is not None:
            obj = convert()
        if isinstance(obj, str):
            return self._element_by_name(obj, allow_tensor, allow_operation)
        if (isinstance(obj, Tensor) and allow_tensor) or (isinstance(obj, Operation) and allow_operation):
            if obj.graph is not self:
                raise ValueError(
                    f"{'Tensor' if isinstance(obj, Tensor) else 'Operation'} {obj} is not an element of this graph."
                )
            return obj
        raise TypeError(f"Can not convert a {type(obj).__name__} into a {wanted}.")

    def _element_by_name(self, name: str, allow_tensor: bool, allow_operation: bool) -> Any:
        if ":" in name and allow_tensor:
            op_name, _, index = name.partition(":")
            if not index.isdigit():
                raise ValueError(
                    f"The name {name!r} looks like a Tensor name, but is not a valid one. "
                    'Tensor names must be of the form "<op_name>:<output_index>".'
                )
            op = self._by_name.get(op_name)
            if op is None:
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. "
                    f"The operation, {op_name!r}, does not exist in the graph."
                )
            if int(index) >= len(op.outputs):
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. The operation, "
                    f"{op_name!r}, exists but only has {len(op.outputs)} outputs."
                )
            return op.outputs[int(index)]
        if ":" in name:
            raise ValueError(f"Name {name!r} appears to refer to a Tensor, not a Operation.")
        op = self._by_name.get(name)
        if not allow_operation:
            if op is not None:
                raise ValueError(
                    f"The name {name!r} refers to an Operation, not a Tensor. "
                    'Tensor names must be of the form "<op_name>:<output_index>".'
                )
            raise ValueError(
                f"The name {name!r} looks like an (invalid) Operation name, not a Tensor. "
                'Tensor names must be of the form "<op_name>:<output_index>".'
            )
        if op is None:
            raise KeyError(f"The name {name!r} refers to an Operation not in the graph.")
        return op

    def as_operation(self, obj: Any) -> Operation:
        """The operation that `obj` is, names, or is an output of."""
        element = self.as_graph_element(obj)
        return element.op if isinstance(element, Tensor) else element

    def prevent_feeding(self, tensor: Tensor) -> None:
        """Forbids feeding a tensor."""
        self.unfeedable.add(tensor)

    def is_feedable(self, tensor: Tensor) -> bool:
        """Whether a tensor may be fed."""
        return tensor not in self.unfeedable

    def prevent_fetching(self, op: Operation) -> None:
        """Forbids fetching an operation and its outputs."""
        self.unfetchable.add(op)

    def is_fetchable(self, element: Tensor | Operation) -> bool:
        """Whether a tensor or operation may be fetched: not where it is forbidden, nor inside a loop or branch."""
        op = element.op if isinstance(element, Tensor) else element
        return op not in self.unfetchable and op.region is None

    # ------------------------------------------------------------ collections

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Adds a value to the collection `name`. Raises RuntimeError where the graph is finalized."""
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Adds a value to several collections (or to one, given as a string)."""
        for name in {names} if isinstance(names, str) else set(names):
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: Any) -> list[Any]:
        """The collection itself: changing the list changes the collection."""
        return self._collections.setdefault(name, [])

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of the collection; with `scope` only those whose name matches that regular expression."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        pattern = re.compile(scope)
        return [item for item in items if hasattr(item, "name") and pattern.match(item.name)]

    def get_all_collection_keys(self) -> list[Any]:
        """The names of all collections whose names are strings."""
        return [k for k in self._collections if isinstance(k, str)]

    @property
    def collections(self) -> list[Any]:
        """The names of all collections."""
        return list(self._collections)

    def clear_collection(self, name: Any) -> None:
        """Empties a collection."""
        self._collections.pop(name, None)

    # ------------------------------------------------------------ being the default

    def as_default(self) -> Any:
        """A context manager that makes this the default graph; see `core.scopes`."""
        return _enter_default(self)


# Filled by core.scopes, which owns the stack of default graphs.
_enter_default: Callable[[Graph], Any]


def set_enter_default(function: Callable[[Graph], Any]) -> None:
    """Fills the hook behind `Graph.as_default`."""
    global _enter_default
    _enter_default = function


def _is_finalized(opdef: OpDef) -> RuntimeError:
    """The error for an operation that a finalized graph shall take."""
    where = [f"{opdef.name}, {source.caller().describe()}"]
    fix = "build all operations before the graph is finalized, and only run them in the training loop"
    return RuntimeError(errors.describe("", "Graph is finalized and cannot be modified.", where, fix))


def _shape_message(
    opdef: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, Any], error: ValueError
) -> str:
    """The text of a shape error: the rule's complaint, the operands' shapes, and the lines that made them."""
    operands = [(arg.name, tensor) for arg, tensor in zip(opdef.flat_inputs(len(inputs), attrs), inputs)][:8]
    described = ", ".join(f"{n} is {shapes.show(t.spec.shape)}" for n, t in operands)
    where = [source.caller().describe()]
    where += [f'{n} = "{t.name}" ({t.op.source.place})' for n, t in operands]
    problem = f"{str(error).rstrip('.')}: {described}." if described else str(error)
    return errors.describe(opdef.name, problem, where, getattr(error, "fix", None))


__all__ = [
    "Graph",
    "Operation",
    "Operators",
    "Region",
    "Tensor",
    "hooks",
    "install_operators",
    "static_shape",
]
