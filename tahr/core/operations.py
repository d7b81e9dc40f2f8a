"""The two things that a graph is made of: operations, and the tensors that they give and take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tahr import errors
from tahr.core import shapes, source, tensor_shapes
from tahr.core.boundary import boundary
from tahr.core.dtypes import DType
from tahr.core.opdef import OpDef
from tahr.core.shapes import Spec
from tahr.core.tensor_shapes import TensorShape

if TYPE_CHECKING:
    import numpy as np

    from tahr.core.building import Region
    from tahr.core.graph import Graph


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
            merged = shapes.merge(self.spec.shape, tensor_shapes.as_shape(shape))
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

    def remove_consumer(self, op: Operation) -> None:
        """Notes that `op` takes this tensor once less."""
        self._consumers.remove(op)

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

    # Of a loop or cond, the outputs that gradients have asked for beside its user's, by the tensor that they hold.
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
            if arg.number == name:
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

    def replace_input(self, index: int, tensor: Tensor) -> None:
        """Gives the operation another tensor in place of one of its inputs, while its gradient is made."""
        self._inputs[index].remove_consumer(self)
        self._inputs[index] = tensor
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
