"""Where in a graph a thread is building: regions, name scopes, control dependencies, devices."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tahr.core.operations import Operation, Tensor

if TYPE_CHECKING:
    from tahr.core.graph import Graph

VALID_OP_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\-/]*$")
VALID_SCOPE_NAME = re.compile(r"^[A-Za-z0-9_.\-/]*$")


class Region:
    """A part of a graph whose operations run as the body of another operation: a branch or a loop's body.

    Its operations belong to the graph like all others (names, collections, seeds). They may use tensors of enclosing
    regions freely: such captures are found when the region is complete, not declared.

    Attributes:
        parent: the enclosing region, or None at the top.
        what: "while loop" or "cond branch", for messages.
        inputs: the tensors that stand for the values given at each execution.
        outputs: the tensors whose values an execution gives back.
        operations: what belongs to it directly (not to a region inside it).
        controllers: what operations in it wait for that is outside: it runs before the loop or cond as a whole.
        owner: the loop or cond, once it is there.
    """

    def __init__(self, graph: Graph, what: str) -> None:
        self.graph = graph
        self.parent = graph.region
        self.what = what
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.operations: list[Operation] = []
        self.controllers: dict[Operation, None] = {}
        self.owner: Operation | None = None
        self.functions: dict[Any, Any] = {}  # the planner's forms of it, made when first needed

    def encloses(self, other: Region | None) -> bool:
        """Whether `other` is this region or lies inside it."""
        while other is not None:
            if other is self:
                return True
            other = other.parent
        return False

    def adopt(self, tensor: Tensor) -> Tensor | None:
        """What stands for a tensor of a region that does not enclose this one; None where nothing does."""
        return self.parent.adopt(tensor) if self.parent is not None else None

    def captures(self) -> list[Tensor]:
        """The tensors of enclosing regions that operations here, or in regions inside, use; in order of use."""
        found: dict[Tensor, None] = {}
        for op in self.operations:
            for tensor in op.inputs:
                if tensor.op.region is not self and not self.encloses(tensor.op.region):
                    found[tensor] = None
        for tensor in self.outputs:
            if not self.encloses(tensor.op.region):
                found[tensor] = None
        return list(found)

    def __enter__(self) -> Region:
        self._previous = self.graph.region
        self.graph.state.region = self
        return self

    def __exit__(self, *exc: object) -> None:
        self.graph.state.region = self._previous


class ControlGroup:
    """One `control_dependencies` block: its controllers, and the operations made in it."""

    __slots__ = ("clears", "ops", "seen")

    def __init__(self, ops: Sequence[Operation], clears: bool = False) -> None:
        self.ops = ops
        self.clears = clears
        self.seen: set[Operation] = set()


class State(threading.local):
    """Where in a graph a thread is building."""

    def __init__(self) -> None:
        self.name_stack = ""
        self.control_groups: list[ControlGroup] = []
        self.devices: list[Any] = []
        self.region: Region | None = None
        self.gradient_overrides: dict[str, str] = {}


class NameScope:
    """Prefixes the names of operations made in it."""

    def __init__(self, graph: Graph, name: str | None) -> None:
        self._graph = graph
        self._name = name

    def __enter__(self) -> str:
        graph, name = self._graph, self._name
        if name is not None and not isinstance(name, str):
            raise TypeError(f"The name of a scope must be a string, not {name!r}.")
        self._previous = graph.state.name_stack
        if not name:
            graph.state.name_stack = ""
            return ""
        if name.endswith("/"):
            new = name[:-1]
        else:
            valid = VALID_SCOPE_NAME if graph.state.name_stack else VALID_OP_NAME
            if not valid.match(name):
                raise ValueError(f"'{name}' is not a valid scope name")
            new = graph.unique_name(name)
        graph.state.name_stack = new
        return new + "/"

    def __exit__(self, *exc: object) -> None:
        self._graph.state.name_stack = self._previous


class ControlScope:
    """Makes operations made in it wait for others."""

    def __init__(self, graph: Graph, control_inputs: Sequence[Any] | None) -> None:
        self._graph = graph
        ops: dict[Operation, None] = {}
        for item in () if control_inputs is None else control_inputs:
            item = getattr(item, "op", item) if not isinstance(item, (Operation, str)) else item
            ops[graph.as_operation(item)] = None
        self._group = ControlGroup(list(ops), clears=control_inputs is None)

    def __enter__(self) -> None:
        state = self._graph.state
        self._previous = state.control_groups
        state.control_groups = [] if self._group.clears else [*state.control_groups, self._group]

    def __exit__(self, *exc: object) -> None:
        self._graph.state.control_groups = self._previous


class DeviceScope:
    """Notes devices on operations made in it."""

    def __init__(self, graph: Graph, *devices: Any) -> None:
        self._graph = graph
        self._devices = [d if d is None or callable(d) else merge_devices("", str(d)) for d in devices]

    def __enter__(self) -> None:
        self._previous = self._graph.state.devices
        self._graph.state.devices = [*self._previous, *self._devices]

    def __exit__(self, *exc: object) -> None:
        self._graph.state.devices = self._previous


class OverrideScope:
    """Gives operations made in it gradients registered under other names."""

    def __init__(self, graph: Graph, op_type_map: Mapping[str, str]) -> None:
        if not isinstance(op_type_map, Mapping):
            raise TypeError("op_type_map must be a dictionary mapping strings to strings")
        for key, value in op_type_map.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError("op_type_map must be a dictionary mapping strings to strings")
        self._graph = graph
        self._map = op_type_map

    def __enter__(self) -> None:
        self._previous = self._graph.state.gradient_overrides
        self._graph.state.gradient_overrides = {**self._previous, **self._map}

    def __exit__(self, *exc: object) -> None:
        self._graph.state.gradient_overrides = self._previous


class RegionScope:
    """Builds in a region that exists already, outside of every control block.

    Args:
        graph: the graph.
        region: the region; None outside of all regions.
    """

    def __init__(self, graph: Graph, region: Region | None) -> None:
        self._graph = graph
        self._region = region

    def __enter__(self) -> None:
        state = self._graph.state
        self._previous = state.region, state.control_groups
        state.region, state.control_groups = self._region, []

    def __exit__(self, *exc: object) -> None:
        state = self._graph.state
        state.region, state.control_groups = self._previous


_DEVICE_PARTS = ("job", "replica", "task", "device")


def merge_devices(outer: str, inner: str) -> str:
    """A device with the parts of both; the inner one wins. `/cpu:0` is written `/device:CPU:0`.

    Raises:
        ValueError: for what is no device, such as `/tpus`.
    """
    parts: dict[str, str] = {}
    for text in (outer, inner):
        for part in filter(None, text.split("/")):
            key, _, value = part.partition(":")
            if key.lower() in ("cpu", "gpu", "tpu"):
                key, value = "device", f"{key.upper()}:{value or '*'}"
            if key not in _DEVICE_PARTS:
                raise ValueError(f"Unknown attribute: {key!r} in {text!r}")
            parts[key] = value
    return "".join(f"/{k}:{parts[k]}" for k in _DEVICE_PARTS if k in parts)
