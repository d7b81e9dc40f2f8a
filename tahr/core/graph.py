"""What the user builds: a Graph of Operations joined by Tensors.

A graph only grows. An operation is described by its `OpDef`; it knows its input tensors, its attributes, the operations
that must run before it (control inputs), and the user's line that made it. Nothing is computed here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tahr import errors
from tahr.core import shapes, source
from tahr.core.boundary import boundary
from tahr.core.dtypes import DType
from tahr.core.opdef import OPS, REQUIRED, OpDef
from tahr.core.shapes import Spec, TensorShape
from tahr.core.sizes import UNKNOWN

if TYPE_CHECKING:
    import numpy as np

_VALID_OP_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\-/]*$")
_VALID_SCOPE_NAME = re.compile(r"^[A-Za-z0-9_.\-/]*$")


class Hooks:
    """The three places where core reaches upwards; each is filled when the module that owns it is imported.

    Attributes:
        run: `run(fetch, feed_dict, session)`: evaluates in a session; behind `Tensor.eval` and `Operation.run`.
        operator: `operator(name, *operands)`: builds the op behind `x + y`, `x[1:]`, `np.exp(x)`.
        python_operation: makes a subclass of Operation with a `compute` method into one host operation.
    """

    run: Callable[..., Any]
    operator: Callable[..., Any]
    python_operation: Callable[..., None]


hooks = Hooks()


class Operators:
    """The operators of Tensor, Variable and Operation; they go through `hooks.operator`."""

    __slots__ = ()

    if TYPE_CHECKING:  # what `install_operators` adds, for type checkers

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...


class Tensor(Operators):
    """One output of an operation: a value that a session can compute. It holds no value itself.

    Attributes:
        op: the operation that computes it.
        value_index: which of the operation's outputs it is.
        spec: what is known of its dtype, shape and value.
    """

    __array_priority__ = 100  # so that `array + tensor` asks the tensor

    def __init__(self, op: Operation, value_index: int, spec: Spec, is_ref: bool = False) -> None:
        self.op = op
        self.value_index = value_index
        self.spec = spec
        self.is_ref = is_ref
        self._consumers: list[Operation] = []

    @property
    def graph(self) -> Graph:
        """The graph that it belongs to."""
        return self.op.graph

    @property
    def name(self) -> str:
        """`op_name:output_index`."""
        return f"{self.op.name}:{self.value_index}"

    @property
    def device(self) -> str:
        """The device that its operation was placed on; kept, not obeyed."""
        return self.op.device

    @property
    def dtype(self) -> DType:
        """The type of its elements; a variable's own tensor has a `_ref` type."""
        dtype = self.spec.dtype
        if self.is_ref and dtype is not None:
            return dtype.ref_dtype
        return dtype  # pyright: ignore[reportReturnType]  # None only below a placeholder() without dtype

    @property
    def shape(self) -> TensorShape:
        """Its possibly partial static shape."""
        return TensorShape(self.spec.shape)

    def get_shape(self) -> TensorShape:
        """Its possibly partial static shape."""
        return TensorShape(self.spec.shape)

    @boundary
    def set_shape(self, shape: Any) -> None:
        """Adds to what is known of its shape.

        Raises:
            ValueError: where the new statement contradicts what is known.
        """
        try:
            merged = shapes.merge(self.spec.shape, shapes.as_shape(shape))
        except ValueError as error:
            where = [source.caller().describe(), self.op.describe()]
            raise ValueError(errors.describe("set_shape", str(error), where)) from None
        if merged != self.spec.shape:
            self.spec = self.spec._replace(shape=merged)
            self.graph.touch()

    def consumers(self) -> list[Operation]:
        """The operations that take it as an input: one that takes it twice is there twice."""
        return list(self._consumers)

    def add_consumer(self, op: Operation) -> None:
        """Notes that `op` takes this tensor as an input."""
        self._consumers.append(op)

    @boundary
    def eval(self, feed_dict: Mapping[Any, Any] | None = None, session: Any = None) -> Any:
        """Its value, computed by `session` or the default session.

        Raises:
            ValueError: there is no session, or it has another graph.
        """
        return hooks.run(self, feed_dict, session)

    def __repr__(self) -> str:
        dtype = self.spec.dtype
        return f"<tf.Tensor {self.name!r} shape={self.shape} dtype={self.dtype.name if dtype else None}>"

    def __str__(self) -> str:
        shape = "" if self.spec.shape is None else f", shape={self.shape}"
        return f'Tensor("{self.name}"{shape}, dtype={self.dtype.name if self.spec.dtype else None})'

    # As in TensorFlow 1 tensors are compared by identity, and are dictionary keys; tf.equal compares values.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @boundary
    def __bool__(self) -> bool:
        raise TypeError(
            "Using a `tf.Tensor` as a Python `bool` is not allowed. Use `if t is not None:` instead of `if t:` to "
            "test if a tensor is defined, and use TensorFlow ops such as tf.cond to execute subgraphs conditioned "
            "on the value of a tensor."
        )

    @boundary
    def __iter__(self) -> Iterator[Tensor]:
        raise TypeError(
            errors.describe(
                "",
                f"Iterating over a `tf.Tensor` is not allowed while a graph is built: {self} has no elements yet.",
                [source.caller().describe()],
                "tf.unstack(x) gives a list of its rows, tf.map_fn(fn, x) applies a function to each",
            )
        )

    @boundary
    def __len__(self) -> int:
        raise TypeError(
            f"len is not well defined for symbolic Tensors. ({self.name}) "
            "Please call `x.shape` rather than `len(x)` for shape information."
        )

    @boundary
    def __getitem__(self, key: Any) -> Tensor:
        return hooks.operator("getitem", self, key)

    @boundary
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        raise NotImplementedError(
            f"Cannot convert a symbolic Tensor ({self.name}) to a numpy array: it has a value only in a session."
        )

    @boundary
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return hooks.operator("ufunc", self, ufunc, method, inputs, kwargs)

    @boundary
    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return hooks.operator("function", self, func, args, kwargs)


_BINARY = ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_COMPARISONS = ("lt", "le", "gt", "ge")
_UNARY = ("neg", "abs", "invert")


def _install_operators(cls: type) -> None:
    """Gives Tensor (or Variable) its operators; all of them go through the one `operator` hook."""

    def binary(name: str) -> Callable[..., Any]:
        return boundary(lambda self, other: hooks.operator(name, self, other))

    def reflected(name: str) -> Callable[..., Any]:
        return boundary(lambda self, other: hooks.operator(name, other, self))

    def unary(name: str) -> Callable[..., Any]:
        return boundary(lambda self: hooks.operator(name, self))

    for name in _BINARY:
        setattr(cls, f"__{name}__", binary(name))
        setattr(cls, f"__r{name}__", reflected(name))
    for name in _COMPARISONS:
        setattr(cls, f"__{name}__", binary(name))
    for name in _UNARY:
        setattr(cls, f"__{name}__", unary(name))


install_operators = _install_operators
install_operators(Tensor)


class Operation(Operators):
    """A node of the graph: it computes zero or more tensors from its inputs.

    TensorFlow's operations come from functions such as `tf.matmul`. As in the tutorial, a new one can also be written
    by subclassing: `compute(self, *values)` receives NumPy arrays and returns one, and the object stands for its value
    in further operations and in fetches.

    Args (of a subclass's `super().__init__`):
        input_nodes: what `compute` receives the values of: tensors, or anything that converts to one.
        name: the operation's name; the class's name by default.
    """

    # Set by Graph.add_operation.
    graph: Graph
    opdef: OpDef
    name: str
    id: int
    _inputs: list[Tensor]
    _control_inputs: list[Operation]
    attrs: dict[str, Any]
    outputs: list[Tensor]
    device: str
    region: Region | None
    source: source.Source
    gradient_type: str | None

    hidden: dict[Any, Tensor]
    # Only for a variable's operation: the array that tutorial behaviour initializes it with when it is first needed.
    lazy_value: np.ndarray[Any, Any] | None = None

    def __init__(self, input_nodes: Sequence[Any] = (), name: str | None = None) -> None:
        hooks.python_operation(self, input_nodes, name)

    @property
    def type(self) -> str:
        """The op type, e.g. "MatMul"."""
        return self.opdef.name

    @property
    def inputs(self) -> Sequence[Tensor]:
        """The input tensors."""
        return self._inputs

    @inputs.setter
    def inputs(self, values: Any) -> None:
        # The tutorial's compute() methods note the values that they are given. Those belong to a run, not to the graph.
        if type(self) is Operation:
            raise AttributeError("the inputs of an operation cannot be changed")

    @property
    def control_inputs(self) -> list[Operation]:
        """The operations that must run before this one."""
        return self._control_inputs

    @property
    def control_outputs(self) -> list[Operation]:
        """The operations that must run after this one."""
        return [op for op in self.graph.get_operations() if self in op.control_inputs]

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def traceback(self) -> Any:
        """The user's line that made it, as one (file, line, function, text) tuple."""
        where = self.source
        return [(where.filename, where.lineno, where.code.co_name, where.line)]

    @boundary
    def get_attr(self, name: str) -> Any:
        """The value of an attribute.

        Raises:
            ValueError: the operation has no such attribute.
        """
        if name in self.attrs:
            return _attr_for_users(self.attrs[name], is_shape=name == "shape")
        specs = [t.spec for t in self._inputs]
        types = self.opdef.bind_types(specs, self.attrs)
        if name in types:
            return types[name]
        for arg in (*self.opdef.inputs, *self.opdef.outputs):
            if arg.count == name:
                return len(self._inputs) - (len(self.opdef.inputs) - 1)
            if arg.is_hetero and arg.type == name:
                return [
                    s.dtype for s, a in zip(specs, self.opdef.flat_inputs(len(specs), self.attrs)) if a is arg
                ]
        raise ValueError(f"Operation '{self.name}' has no attr named '{name}'.")

    @property
    def node_def(self) -> NodeDef:
        """A description of it by names: see `NodeDef`."""
        names = [t.op.name if t.value_index == 0 else t.name for t in self._inputs]
        names += [f"^{op.name}" for op in self._control_inputs]
        attr = {key: self.get_attr(key) for key in self.attrs}
        return NodeDef(self.name, self.type, names, self.device, attr)

    @property
    def _id(self) -> int:
        return self.id

    def values(self) -> tuple[Tensor, ...]:
        """The output tensors."""
        return tuple(self.outputs)

    def colocation_groups(self) -> list[bytes]:
        """The colocation groups it belongs to: its own."""
        return [b"loc:@" + self.name.encode()]

    @boundary
    def run(self, feed_dict: Mapping[Any, Any] | None = None, session: Any = None) -> None:
        """Runs it in `session` or the default session.

        Raises:
            ValueError: there is no session, or it has another graph.
        """
        hooks.run(self, feed_dict, session)

    def add_control_inputs(self, ops: Sequence[Operation]) -> None:
        """Adds operations that must run before this one."""
        self._control_inputs.extend(op for op in ops if op not in self._control_inputs)
        self.graph.touch()

    _add_control_inputs = add_control_inputs

    def _add_control_input(self, op: Operation) -> None:
        self.add_control_inputs([op])

    def insert_input(self, index: int, tensor: Tensor) -> None:
        """Gives the operation one more input: how a loop gains hidden variables for its gradient."""
        self._inputs.insert(index, tensor)
        tensor.add_consumer(self)

    def add_output(self, spec: Spec) -> Tensor:
        """Gives the operation one more output, likewise."""
        self.outputs.append(Tensor(self, len(self.outputs), spec))
        return self.outputs[-1]

    def describe(self) -> str:
        """`"w/read" (Identity), model.py:38   w = tf.Variable(...)`."""
        return f'"{self.name}" ({self.type}), {self.source.describe()}'

    def __repr__(self) -> str:
        return f"<tf.Operation {self.name!r} type={self.type}>"


class NodeDef(NamedTuple):
    """A description of an operation by names, as in TensorFlow's GraphDef; but attributes are plain Python values.

    Attributes:
        name: the operation's name.
        op: its type.
        input: the names of its inputs, `name` or `name:index`, then those of its control inputs, `^name`.
        device: the device noted on it.
        attr: its attributes, as `Operation.get_attr` gives them.
    """

    name: str
    op: str
    input: list[str]
    device: str
    attr: dict[str, Any]


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
        effects: the operations that must run even where no output depends on them.
    """

    def __init__(self, graph: Graph, what: str) -> None:
        self.graph = graph
        self.parent = graph.region
        self.what = what
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.operations: list[Operation] = []
        self.controllers: dict[Operation, None] = {}
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


class _ControlGroup:
    """One `control_dependencies` block: its controllers, and the operations made in it."""

    __slots__ = ("clears", "ops", "seen")

    def __init__(self, ops: Sequence[Operation], clears: bool = False) -> None:
        self.ops = ops
        self.clears = clears
        self.seen: set[Operation] = set()


class _State(threading.local):
    """Where in a graph a thread is building."""

    def __init__(self) -> None:
        self.name_stack = ""
        self.control_groups: list[_ControlGroup] = []
        self.devices: list[Any] = []
        self.region: Region | None = None
        self.gradient_overrides: dict[str, str] = {}


class Graph:
    """A set of operations and the tensors between them, with unique names and collections."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._operations: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._names_in_use: dict[str, int] = {}
        self._collections: dict[Any, list[Any]] = {}
        self._finalized = False
        self._changes = 0
        self.seed: int | None = None
        self.state = _State()
        self.unfeedable: set[Tensor] = set()
        self.unfetchable: set[Operation] = set()
        self.routines: dict[Any, Any] = {}  # the planner's cache: belongs to the graph, outlives sessions

    # ------------------------------------------------------------ growing

    @property
    def version(self) -> int:
        """The number of operations: grows with the graph."""
        return len(self._operations)

    @property
    def changes(self) -> int:
        """Grows when something that exists is changed; plans made before are then stale."""
        return self._changes

    def touch(self) -> None:
        """Notes that something that exists was changed."""
        self._changes += 1

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
            raise RuntimeError(
                errors.describe(
                    "",
                    "Graph is finalized and cannot be modified.",
                    [f"{opdef.name}, {source.caller().describe()}"],
                    "build all operations before the graph is finalized, and only run them in the training loop",
                )
            )
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
        with self._lock:
            op.name = self._name_for(opdef, name)
            if op.name in self._by_name:
                raise ValueError(f"Duplicate node name in graph: {op.name!r}")
            op.id = len(self._operations)
            self._operations.append(op)
            self._by_name[op.name] = op
            if region is not None:
                region.operations.append(op)
        for tensor in inputs:
            tensor.add_consumer(op)
        if state.devices:
            self._place(op)
        return op

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
        if not _VALID_OP_NAME.match(name) and not (self.state.name_stack and _VALID_SCOPE_NAME.match(name)):
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
                op.device = _merge_devices(entry, op.device)

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

    def name_scope(self, name: str | None) -> _NameScope:
        """A context manager that prefixes the names of operations made in it; None or "" clears the prefix."""
        return _NameScope(self, name)

    def get_name_scope(self) -> str:
        """The current name scope, without a slash at its end."""
        return self.state.name_stack

    # ------------------------------------------------------------ scopes

    def control_dependencies(self, control_inputs: Sequence[Any] | None) -> _ControlScope:
        """A context manager: operations made in it run after `control_inputs`; None forgets outer blocks."""
        return _ControlScope(self, control_inputs)

    def device(self, device_name_or_function: Any) -> _DeviceScope:
        """A context manager that notes a device on operations made in it."""
        return _DeviceScope(self, device_name_or_function)

    def colocate_with(self, op: Any, ignore_existing: bool = False) -> _DeviceScope:
        """A context manager that notes the device of `op`, whatever the scopes around it say; None notes none.

        Raises:
            ValueError: `op` is None, but `ignore_existing` is not set.
        """
        if op is None and not ignore_existing:
            raise ValueError("Trying to reset colocation (op is None) but ignore_existing is not True")
        return _DeviceScope(self, None, "" if op is None else self.as_operation(op).device)

    def gradient_override_map(self, op_type_map: Mapping[str, str]) -> _OverrideScope:
        """A context manager: operations made in it use the gradients registered under other names.

        Args:
            op_type_map: from op type to the name given to `RegisterGradient`.
        """
        return _OverrideScope(self, op_type_map)

    def top_level(self) -> _TopLevelScope:
        """A context manager that leaves every region and control block: variables are made in it."""
        return _TopLevelScope(self)

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


class _NameScope:
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
            valid = _VALID_SCOPE_NAME if graph.state.name_stack else _VALID_OP_NAME
            if not valid.match(name):
                raise ValueError(f"'{name}' is not a valid scope name")
            new = graph.unique_name(name)
        graph.state.name_stack = new
        return new + "/"

    def __exit__(self, *exc: object) -> None:
        self._graph.state.name_stack = self._previous


class _ControlScope:
    def __init__(self, graph: Graph, control_inputs: Sequence[Any] | None) -> None:
        self._graph = graph
        ops: dict[Operation, None] = {}
        for item in () if control_inputs is None else control_inputs:
            item = getattr(item, "op", item) if not isinstance(item, (Operation, str)) else item
            ops[graph.as_operation(item)] = None
        self._group = _ControlGroup(list(ops), clears=control_inputs is None)

    def __enter__(self) -> None:
        state = self._graph.state
        self._previous = state.control_groups
        state.control_groups = [] if self._group.clears else [*state.control_groups, self._group]

    def __exit__(self, *exc: object) -> None:
        self._graph.state.control_groups = self._previous


class _DeviceScope:
    def __init__(self, graph: Graph, *devices: Any) -> None:
        self._graph = graph
        self._devices = [d if d is None or callable(d) else _merge_devices("", str(d)) for d in devices]

    def __enter__(self) -> None:
        self._previous = self._graph.state.devices
        self._graph.state.devices = [*self._previous, *self._devices]

    def __exit__(self, *exc: object) -> None:
        self._graph.state.devices = self._previous


class _OverrideScope:
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


class _TopLevelScope:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __enter__(self) -> None:
        state = self._graph.state
        self._previous = state.region, state.control_groups
        state.region, state.control_groups = None, []

    def __exit__(self, *exc: object) -> None:
        state = self._graph.state
        state.region, state.control_groups = self._previous


_DEVICE_PARTS = ("job", "replica", "task", "device")


def _merge_devices(outer: str, inner: str) -> str:
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


def _attr_for_users(value: Any, is_shape: bool) -> Any:
    """An attribute's value as TensorFlow gives it: bytes for text, lists for tuples, a TensorShape for a shape."""
    if is_shape and (value is None or isinstance(value, tuple)):
        return TensorShape(value)
    if isinstance(value, str):
        return value.encode()
    return list(value) if isinstance(value, tuple) else value


def static_shape(tensor: Tensor) -> tuple[int | None, ...] | None:
    """A tensor's static shape as integers and None, or None for an unknown rank."""
    shape = tensor.spec.shape
    return None if shape is None else tuple(d if isinstance(d, int) else None for d in shape)


__all__ = ["OPS", "UNKNOWN", "Graph", "Operation", "Operators", "Region", "Tensor", "hooks", "static_shape"]
