"""From Python values to tensors, and from a call of an OpDef to an operation in the graph."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tahr import errors
from tahr.core import dtypes, memory, opdef, scopes, shapes, source
from tahr.core.dtypes import DType
from tahr.core.forms import MOVEMENT
from tahr.core.graph import Graph, Operation, Tensor
from tahr.core.opdef import REQUIRED, Arg, Array, OpDef
from tahr.core.shapes import Spec
from tahr.core.tensor_shapes import Dimension, TensorShape

# ---------------------------------------------------------------- Const

Const = OpDef("Const", "-> output: dtype", attrs={"value": REQUIRED, "dtype": REQUIRED}, form=MOVEMENT)
Const.not_differentiable()


@Const.shape
def _const_shape(*, value: Array, dtype: DType | None) -> shapes.Shape:
    return value.shape


@Const.value
def _const_value(*, value: Array, dtype: DType | None) -> Array | None:
    return value.astype(object) if value.size <= shapes.MAX_VALUE_SIZE and value.ndim <= 2 else None


@Const.kernel
def _const_kernel(*, value: Array, dtype: DType | None) -> Array:
    return value


def _add_const(graph: Graph, value: Array, dtype: DType | None, name: str | None) -> Tensor:
    value.setflags(write=False)
    return graph.add_operation(Const, (), {"value": value, "dtype": dtype}, name or "Const").outputs[0]


# ---------------------------------------------------------------- Python values -> arrays


def as_array(value: Any, dtype: DType | None) -> Array:
    """A NumPy array for a Python value, by TensorFlow's rules.

    Python integers become int32 (int64 where they do not fit), floats float32, complex numbers complex128, and strings
    bytes; NumPy arrays keep their dtype. With `dtype` the value must fit it: no float becomes an integer.

    Args:
        value: a number, string, (nested) sequence of such, or an array.
        dtype: the wanted type, or None to derive it.

    Raises:
        TypeError: the value has another type.  ValueError: the rows of a list have different lengths.
    """
    if value is None:
        raise ValueError("None values not supported.")
    if isinstance(value, (TensorShape, Dimension)):
        value = _static_value(value, dtype)
    if not isinstance(value, (list, tuple)) and hasattr(value, "__array__"):
        return _from_array(np.asarray(value), dtype)
    array = _from_python(value)
    kind = array.dtype.kind
    if array.size == 0 and kind == "f":  # an empty list has no type of its own
        return array.astype((dtype or dtypes.float32).numpy)
    if dtype is None:
        return _derive(array, value)
    if not _converts(kind, dtype):
        leaves = np.array(value, dtype=object).flat
        bad = next(v for v in leaves if not _converts(np.asarray(v).dtype.kind, dtype))
        raise TypeError(f"Expected {dtype.name}, but got {_short(bad)} of type '{type(bad).__name__}'.")
    if dtype.is_integer and kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        if low < dtype.min or high > dtype.max:
            raise ValueError(f"Tensor value {_short(value)} is out of range for {dtype.name}")
    return _cast(array, dtype)


def _static_value(value: TensorShape | Dimension, dtype: DType | None) -> Any:
    """The integers that a known shape or dimension stands for."""
    if dtype is not None and dtype not in dtypes.INDICES:
        raise TypeError(f"Cannot convert a {type(value).__name__} to dtype: {dtype.name}")
    if isinstance(value, Dimension):
        if value.value is None:
            raise ValueError("Cannot convert an unknown Dimension to a Tensor: ?")
        return value.value
    if not value.is_fully_defined():
        raise ValueError(f"Cannot convert a partially known TensorShape to a Tensor: {value}")
    return value.as_list() or np.zeros(0, np.int32)


def _from_array(array: Array, dtype: DType | None) -> Array:
    """A copy of an array; one of numbers is cast to whatever dtype is asked for, as in TensorFlow."""
    found = dtypes.of_numpy(array.dtype)
    if found is dtypes.string and array.dtype.kind == "O":
        for item in array.flat:
            if not isinstance(item, (str, bytes)):
                raise TypeError(f"Expected binary or unicode string, got {_short(item)}")
    dtype = found if dtype is None else dtype
    fits = found.is_complex <= dtype.is_complex and dtypes.string not in (found, dtype)
    if found is not dtype and not (fits and dtype.is_numpy_compatible):
        raise TypeError(f"Expected {dtype.name}, but got {_short(array)} of type '{array.dtype}'.")
    return _cast(array, dtype)


# Constants of so many elements may be weights.
_LARGE = 1024


def _cast(array: Array, dtype: DType) -> Array:
    """A copy in another type; what is too large for a float becomes infinite."""
    if dtype is dtypes.string:
        return _as_bytes(array)
    with np.errstate(over="ignore", invalid="ignore"):
        return memory.copy(array, dtype.numpy) if array.size >= _LARGE else array.astype(dtype.numpy)


def _from_python(value: Any) -> Array:
    """The array that NumPy makes of a Python value: of numbers, or an object array of text.

    Raises:
        TypeError: it holds something else.  ValueError: it is ragged, or an integer is too big.
    """
    try:
        array = np.array(value)
        if array.dtype.kind in "SU":  # of a number beside a string NumPy makes a string
            array = np.array(value, dtype=object)
    except ValueError:
        raise ValueError(
            f"Can't convert Python sequence with mixed or ragged rows to a Tensor: {_short(value)}"
        ) from None
    if array.dtype.kind != "O" or all(isinstance(v, (str, bytes)) for v in array.flat):
        return array
    # NumPy takes Dimensions and big integers for objects.
    items = [v.value if isinstance(v, Dimension) else v for v in array.flat]
    if all(isinstance(v, (int, float, complex, np.number)) for v in items):
        numeric = np.array(items).reshape(array.shape)
        if numeric.dtype.kind != "O":
            return numeric
        raise ValueError(f"Tensor value {_short(value)} is out of range for int64")
    kinds = ", ".join(sorted({type(v).__name__ for v in items}))
    raise TypeError(
        f"Failed to convert object of type {type(value)} to Tensor. Contents: {_short(value)}. "
        f"Consider casting elements to a supported type (it holds: {kinds})."
    )


def _derive(array: Array, value: Any) -> Array:
    """An array in the dtype that TensorFlow derives: Python's numbers are float32 and, where they fit, int32."""
    found = dtypes.of_numpy(array.dtype)
    if not _holds_arrays(value):
        if found is dtypes.float64:
            found = dtypes.float32
        elif found is dtypes.int64 and (
            array.size == 0 or (int(array.min()) >= -(2**31) and int(array.max()) < 2**31)
        ):
            found = dtypes.int32
    return _cast(array, found)


def _holds_arrays(value: Any) -> bool:
    """Whether a (nested) list holds arrays, whose dtype is then kept."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, np.ndarray)


def _converts(kind: str, dtype: DType) -> bool:
    """Whether Python values of a NumPy kind may be written where `dtype` is wanted."""
    if dtype is dtypes.string:
        return kind in "OSU"
    if dtype.is_bool:
        return kind == "b"
    if dtype.is_integer:
        return kind in "biu"
    if dtype.is_floating:
        return kind in "biufV"  # V: bfloat16
    if dtype.is_complex:
        return kind in "biufc"
    return kind == "O"


def _as_bytes(array: Array) -> Array:
    """Strings as TensorFlow keeps them: an object array of bytes."""
    flat = [
        v.encode() if isinstance(v, str) else bytes(v) if isinstance(v, np.bytes_) else v for v in array.flat
    ]
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(array.shape)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---------------------------------------------------------------- converting to tensors

Converter = Callable[..., Any]
_converters: list[tuple[Any, int, Converter]] = []


def register_tensor_conversion_function(
    base_type: Any, conversion_func: Converter, priority: int = 100
) -> None:
    """Registers how objects of a type become tensors.

    Args:
        base_type: the class, or a tuple of classes.
        conversion_func: `(value, dtype, name, as_ref)` gives a Tensor, or NotImplemented.
        priority: lower ones are asked first.
    """
    _converters.append((base_type, priority, conversion_func))
    _converters.sort(key=lambda entry: entry[1])


def convert_to_tensor(
    value: Any,
    dtype: Any = None,
    name: str | None = None,
    preferred_dtype: Any = None,
    dtype_hint: Any = None,
    as_ref: bool = False,
) -> Tensor:
    """Converts a value to a tensor of the default graph.

    Args:
        value: a Tensor, Variable, number, array, (nested) list of such, or an object of a registered type.
        dtype: the wanted dtype; a Tensor must have it already.
        name: the name of the constant, where one is made.
        preferred_dtype: a dtype that is used where it fits and `dtype` is not given.
        dtype_hint: the newer name of `preferred_dtype`.
        as_ref: whether a variable is wanted itself, rather than its value.

    Raises:
        TypeError: no conversion is registered for the type.  ValueError: a tensor has another dtype.
    """
    wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
    if isinstance(value, Tensor):
        found = value.spec.dtype
        if wanted is not None and found is not None and found is not wanted:
            raise ValueError(
                f"Tensor conversion requested dtype {wanted.name} for Tensor with dtype {found.name}: {str(value)!r}"
            )
        return value
    preferred = preferred_dtype if preferred_dtype is not None else dtype_hint
    for base_type, _, function in _converters:
        if isinstance(value, base_type):
            result = function(value, dtype=wanted, name=name, as_ref=as_ref)
            if result is not NotImplemented:
                return result
    if wanted is None and preferred is not None:
        try:
            return _constant(value, dtypes.as_dtype(preferred).base_dtype, name)
        except (TypeError, ValueError):
            pass  # a preference, not a demand
    return _constant(value, wanted, name)


def _constant(value: Any, dtype: DType | None, name: str | None) -> Tensor:
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        assert _pack is not None
        return _pack(value, dtype, name)
    array = _user_array(value, dtype)
    return _add_const(scopes.get_default_graph(), array, dtypes.of_numpy(array.dtype), name)


def _user_array(value: Any, dtype: DType | None) -> Array:
    """`as_array`, for a value that the user wrote: errors show his line."""
    try:
        return as_array(value, dtype)
    except (TypeError, ValueError) as error:
        kind = (
            TypeError if isinstance(error, TypeError) else ValueError
        )  # a subclass may take other arguments
        raise kind(errors.describe("", str(error), [source.caller().describe()])) from error


# Asking a million numbers one by one whether some conversion is registered for them would be felt.
_PLAIN = frozenset({bool, int, float, complex, str, bytes})


def _holds_tensor(values: Sequence[Any]) -> bool:
    return any(
        isinstance(v, Tensor)
        or (isinstance(v, (list, tuple)) and _holds_tensor(v))
        or any(isinstance(v, base) for base, _, _ in _converters)
        for v in values
        if type(v) not in _PLAIN
    )


# Filled by the op that stacks tensors: how a list that holds tensors becomes one.
_pack: Callable[[Sequence[Any], DType | None, str | None], Tensor] | None = None


def set_pack(function: Callable[[Sequence[Any], DType | None, str | None], Tensor]) -> None:
    """Fills the hook that turns a list holding tensors into one tensor."""
    global _pack
    _pack = function


def constant(
    value: Any, dtype: Any = None, shape: Any = None, name: str = "Const", verify_shape: bool = False
) -> Tensor:
    """A tensor with a fixed value.

    Args:
        value: a number, string, (nested) list, or array.
        dtype: its dtype; derived from the value by default.
        shape: its shape. A value with fewer elements is filled up with its last one.
        name: the operation's name.
        verify_shape: whether the value must have exactly this shape.

    Raises:
        TypeError: the value does not fit `dtype`, or, with `verify_shape`, the shape.
        ValueError: the value has more elements than the shape.
    """
    if isinstance(value, Tensor) or (isinstance(value, (list, tuple)) and _holds_tensor(value)):
        raise TypeError(
            errors.describe(
                "constant",
                "Expected any non-tensor type, but got a tensor instead.",
                [source.caller().describe()],
                "tf.convert_to_tensor(x), or tf.stack for a list of tensors",
            )
        )
    array = _user_array(value, None if dtype is None else dtypes.as_dtype(dtype).base_dtype)
    if shape is not None:
        wanted: tuple[Any, ...] = tuple(TensorShape(shape).as_list())
        if verify_shape and wanted != array.shape:
            raise TypeError(f"Expected Tensor's shape: {wanted}, got {array.shape}.")
        count = int(np.prod(wanted, dtype=np.int64))
        if count == 0:
            array = array.ravel()[:0]  # nothing of the value is needed
        if array.size > count:
            raise ValueError(f"Too many elements provided. Needed at most {count}, but received {array.size}")
        if array.size < count:
            if array.size == 0:
                raise ValueError(f"Cannot fill shape {wanted} from an empty value")
            array = np.concatenate([array.ravel(), np.repeat(array.ravel()[-1:], count - array.size)])
        array = array.reshape(wanted)
    return _add_const(scopes.get_default_graph(), array, dtypes.of_numpy(array.dtype), name)


def weak_constant(value: Any, name: str | None = None) -> Tensor:
    """A Python number beside a tensor whose dtype is not known yet; it takes that tensor's dtype when it is."""
    return _add_const(scopes.get_default_graph(), np.asarray(value), None, name)


# ---------------------------------------------------------------- calling an OpDef


def apply(definition: OpDef, inputs: Sequence[Any], attrs: Mapping[str, Any], name: str | None) -> Any:
    """Adds an operation to the graph: converts the inputs, checks dtypes, completes the attributes.

    Raises:
        TypeError: dtypes or attributes do not fit, with TensorFlow's key phrases.  ValueError: shapes do not fit.
    """
    full = _complete_attrs(definition, attrs)
    graph = scopes.get_default_graph()
    home = _home(inputs)
    if home is not None and home is not graph:  # as in TensorFlow: an operation is made where its inputs are
        with scopes.inside(home):
            return apply(definition, inputs, attrs, name)
    if all(isinstance(value, Tensor) for value in inputs):
        tensors = _convert_inputs(definition, inputs)
    else:
        # Constants made from Python values are named after the argument, below the operation: "add/y".
        name = (
            graph.unique_name(name or definition.name.lstrip("_")) if not (name or "").endswith("/") else name
        )
        name = name if name is None or name.endswith("/") else name + "/"
        with graph.name_scope(name):
            tensors = _convert_inputs(definition, inputs)
    op = graph.add_operation(definition, tensors, full, name)
    outputs = definition.outputs
    if not outputs:
        return op
    if len(outputs) == 1 and not outputs[0].is_list:
        return op.outputs[0]
    return list(op.outputs)


opdef.set_apply(apply)


def _home(inputs: Sequence[Any]) -> Graph | None:
    """The graph of the first tensor or variable among an operation's inputs."""
    for value in inputs:
        if isinstance(value, Tensor):
            return value.op.graph
        if isinstance(value, (list, tuple)):
            if value and isinstance(value[0], Tensor):
                return value[0].op.graph
        elif type(value) not in _PLAIN and isinstance(graph := getattr(value, "graph", None), Graph):
            return graph
    return None


def _complete_attrs(definition: OpDef, attrs: Mapping[str, Any]) -> dict[str, Any]:
    full = dict(definition.attrs)
    for key, value in attrs.items():
        if key not in full:
            raise TypeError(f"{definition.name}: has no attribute {key!r}; it has {sorted(full)}")
        full[key] = value
    for key, value in full.items():
        if value is REQUIRED:
            raise TypeError(f"{definition.name}: needs the attribute {key!r}")
    layout = full.get("data_format")
    if layout is not None and layout not in _LAYOUTS[definition.attrs["data_format"]]:
        allowed = ", ".join(f'"{known}"' for known in _LAYOUTS[definition.attrs["data_format"]])
        problem = f"Attr 'data_format' of '{definition.name}' Op passed string {layout!r} not in: {allowed}."
        raise ValueError(errors.describe(definition.name, problem, [source.caller().describe()]))
    return full


# By the default of the attribute `data_format`: which layouts there are.
_LAYOUTS = {"NHWC": ("NHWC", "NCHW"), "NDHWC": ("NDHWC", "NCDHW")}


def _convert_inputs(definition: OpDef, inputs: Sequence[Any]) -> list[Tensor]:
    """The flat input tensors, each of the dtype that its argument asks for."""
    args = definition.inputs
    if len(inputs) != len(args):
        raise TypeError(f"{definition.name}: takes {len(args)} inputs, got {len(inputs)}")
    bound: dict[str, tuple[DType | None, Arg]] = {}
    flat: list[Tensor] = []
    for arg, value in zip(args, inputs):
        if arg.is_list:
            if not isinstance(value, (list, tuple)):
                raise TypeError(
                    f"{definition.name}: expected a list for argument '{arg.name}', got {_short(value)}."
                )
            flat += _convert_list(definition, arg, value, bound)
        else:
            flat.append(_convert_one(definition, arg, value, bound))
    return flat


def _convert_list(
    definition: OpDef, arg: Arg, values: Sequence[Any], bound: dict[str, tuple[DType | None, Arg]]
) -> list[Tensor]:
    if arg.is_hetero:
        return [convert_to_tensor(v) for v in values]
    if arg.type not in bound:
        # The first element that has a dtype decides for the Python values beside it.
        for value in values:
            dtype = dtype_of(value)
            if dtype is not None:
                bound[arg.type] = (dtype, arg)
                break
    return [_convert_one(definition, _element(arg, i, v), v, bound) for i, v in enumerate(values)]


def _element(arg: Arg, index: int, value: Any) -> Arg:
    """The argument that one element of a list is: a constant made from it is named `values_1`."""
    return arg if isinstance(value, Tensor) else arg._replace(name=f"{arg.name}_{index}")


def dtype_of(value: Any) -> DType | None:
    """The base dtype of something that already has one (Tensor, Variable, IndexedSlices), else None."""
    if isinstance(value, Tensor):
        return value.spec.dtype
    dtype = getattr(value, "dtype", None)
    return dtype.base_dtype if isinstance(dtype, DType) else None


def _convert_one(
    definition: OpDef, arg: Arg, value: Any, bound: dict[str, tuple[DType | None, Arg]]
) -> Tensor:
    fixed = dtypes_by_name.get(arg.type)
    known = arg.type in bound
    wanted = fixed if fixed is not None else bound[arg.type][0] if known else None
    if known and wanted is None and not isinstance(value, Tensor) and isinstance(value, numbers.Number):
        return weak_constant(value)
    if isinstance(value, Tensor) and (not value.is_ref or arg.is_ref):
        tensor = value
    else:
        tensor = _convert_value(definition, arg, value, wanted)
    found = tensor.spec.dtype
    if wanted is not None and found is not None and found is not wanted:
        raise TypeError(_mismatch(definition, arg, found, bound.get(arg.type), wanted, tensor))
    if arg.is_ref and not tensor.is_ref:
        raise TypeError(
            f"{definition.name}: argument '{arg.name}' must be a variable, got {tensor}: "
            "only variables can be assigned to."
        )
    if fixed is None and found is not None:
        allowed = definition.types.get(arg.type)
        if allowed is not None and found not in allowed:
            raise TypeError(_not_allowed(definition, arg, found, allowed, tensor))
    if fixed is None and (not known or wanted is None):
        bound[arg.type] = (found, arg)
    return tensor


dtypes_by_name = {t.name: t for t in dtypes.ALL}


def _convert_value(definition: OpDef, arg: Arg, value: Any, wanted: DType | None) -> Tensor:
    if wanted is None and isinstance(value, (list, tuple)) and not value:
        # An empty list has no type of its own: no axes, a scalar's shape, an empty permutation are integers.
        wanted = dtypes.int32 if definition.types.get(arg.type) == dtypes.INDICES else None
    try:
        return convert_to_tensor(value, dtype=wanted, name=arg.name, as_ref=arg.is_ref)
    except TypeError as error:
        if wanted is None or "Expected" not in str(error):
            raise
        raise TypeError(
            f"{definition.name}: {str(error).splitlines()[0]} (argument '{arg.name}')\n"
            f"  {source.caller().describe()}"
        ) from None
    except ValueError as error:
        if wanted is None or dtype_of(value) is None:
            raise
        raise TypeError(
            f"Input '{arg.name}' of '{definition.name}' Op has type {dtype_of(value).name} "  # pyright: ignore[reportOptionalMemberAccess]
            f"that does not match expected type of {wanted.name}."
        ) from error


def _mismatch(
    definition: OpDef,
    arg: Arg,
    found: DType,
    bound: tuple[DType | None, Arg] | None,
    wanted: DType,
    tensor: Tensor,
) -> str:
    expected = (
        f"does not match type {wanted.name} of argument '{bound[1].name}'"
        if bound is not None
        else f"does not match expected type of {wanted.name}"
    )
    return errors.describe(
        definition.name,
        f"Input '{arg.name}' of '{definition.name}' Op has type {found.name} that {expected}.",
        [source.caller().describe(), f'{arg.name} = "{tensor.name}" ({tensor.op.source.place})'],
        None if dtypes.string in (found, wanted) else f"tf.cast({arg.name}, tf.{wanted.name})",
    )


def _not_allowed(definition: OpDef, arg: Arg, found: DType, allowed: frozenset[DType], tensor: Tensor) -> str:
    names = ", ".join(t.name for t in dtypes.ALL if t in allowed)
    return errors.describe(
        definition.name,
        f"Value passed to parameter '{arg.name}' has DataType {found.name} not in list of allowed values: {names}",
        [source.caller().describe(), f'{arg.name} = "{tensor.name}" ({tensor.op.source.place})'],
    )


def constant_value(tensor: Any, partial: bool = False) -> Array | None:
    """The value of a tensor where it is known when the graph is built, else None.

    Args:
        tensor: a Tensor, or a Python value.
        partial: accepted for TensorFlow's sake; nothing partial is returned.
    """
    if not isinstance(tensor, Tensor):
        return None
    if tensor.op.opdef is Const:
        return tensor.op.attrs["value"]
    spec: Spec = tensor.spec
    if spec.value is not None and spec.dtype is not None and all(isinstance(d, int) for d in spec.value.flat):
        return spec.value.astype(spec.dtype.numpy)
    return None


class IndexedSlices:
    """Some rows of a larger tensor: a sparse gradient. Rows with equal indices add up.

    Args:
        values: the rows, [n, ...].
        indices: which rows of the dense tensor they are, [n].
        dense_shape: the shape of the dense tensor, a vector, or None.
    """

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Tensor | None = None) -> None:
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape

    @property
    def name(self) -> str:
        """The name of the values."""
        return self.values.name

    @property
    def dtype(self) -> DType:
        """The type of the values."""
        return self.values.dtype

    @property
    def op(self) -> Operation:
        """The operation that computes the values."""
        return self.values.op

    @property
    def graph(self) -> Graph:
        """The graph that they belong to."""
        return self.values.graph

    @property
    def device(self) -> str:
        """The device of the values."""
        return self.values.device

    @property
    def shape(self) -> TensorShape:
        """The static shape of the dense tensor."""
        if self.dense_shape is not None and self.dense_shape.spec.value is not None:
            return TensorShape(shapes.from_value(self.dense_shape.spec.value))
        return TensorShape(None)

    def get_shape(self) -> TensorShape:
        """The static shape of the dense tensor."""
        return self.shape

    def __str__(self) -> str:
        dense = "" if self.dense_shape is None else f", dense_shape={self.dense_shape}"
        return f"IndexedSlices(indices={self.indices}, values={self.values}{dense})"
