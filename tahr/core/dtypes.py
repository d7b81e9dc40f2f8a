"""Element types, with TensorFlow's names, enum values and promotion-free strictness."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np


class DType:
    """The type of a tensor's elements.

    Two DTypes are equal when their enum values are, so a variable's `float32_ref` differs from `float32`;
    `base_dtype` removes the difference. A DType equals the NumPy types and names that mean the same.
    """

    __slots__ = ("_numpy", "as_datatype_enum", "base_dtype", "name", "ref_dtype")

    name: str
    as_datatype_enum: int
    base_dtype: DType
    ref_dtype: DType

    def __init__(self, name: str, enum: int, numpy_type: Any, base: DType | None = None) -> None:
        self.name = name
        self.as_datatype_enum = enum
        self._numpy = np.dtype(numpy_type)
        if base is None:
            self.base_dtype = self
            self.ref_dtype = DType(name + "_ref", enum + 100, numpy_type, self)
        else:
            self.base_dtype = base
            self.ref_dtype = self

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of the arrays that hold such elements (object for strings)."""
        return self._numpy

    @property
    def as_numpy_dtype(self) -> Any:
        """The NumPy scalar type, e.g. `np.float32`."""
        return np.object_ if self._numpy.kind == "O" else self._numpy.type

    @property
    def _is_ref_dtype(self) -> bool:
        return self.base_dtype is not self

    @property
    def real_dtype(self) -> DType:
        """The type of the real part: float32 for complex64, float64 for complex128, else the type itself."""
        return {"complex64": float32, "complex128": float64}.get(self.base_dtype.name, self)

    @property
    def is_floating(self) -> bool:
        """Whether this is a real floating-point type."""
        return self.base_dtype.name in ("float16", "float32", "float64", "bfloat16")

    @property
    def is_complex(self) -> bool:
        """Whether this is a complex type."""
        return self._numpy.kind == "c"

    @property
    def is_integer(self) -> bool:
        """Whether this is a (signed or unsigned) integer type; bool is not."""
        return self._numpy.kind in "iu"

    @property
    def is_bool(self) -> bool:
        """Whether this is bool."""
        return self._numpy.kind == "b"

    @property
    def is_unsigned(self) -> bool:
        """Whether this is an unsigned integer type."""
        return self._numpy.kind == "u"

    @property
    def is_quantized(self) -> bool:
        """Whether this is one of TensorFlow's quantized types; tahr has none."""
        return False

    @property
    def is_numpy_compatible(self) -> bool:
        """Whether NumPy can hold such elements."""
        return self.base_dtype.name not in ("resource", "variant")

    @property
    def is_differentiable(self) -> bool:
        """Whether gradients flow through tensors of this type."""
        return self.is_floating or self.is_complex or self.base_dtype.name == "variant"

    @property
    def size(self) -> int:
        """Bytes of one element; 1 for strings and handles, as in TensorFlow."""
        return 1 if self._numpy.kind == "O" else self._numpy.itemsize

    @property
    def min(self) -> Any:
        """The smallest finite value. Raises TypeError where there is no order."""
        return self._limit("min")

    @property
    def max(self) -> Any:
        """The largest finite value. Raises TypeError where there is no order."""
        return self._limit("max")

    @property
    def limits(self) -> tuple[Any, Any]:
        """The intensities of an image of this type, as (0, most): 0 to 1 for floats, 0 to 255 for uint8."""
        return 0, True if self.is_bool else 1 if self.is_floating else self.max

    def _limit(self, end: str) -> Any:
        if self.is_integer:
            return int(getattr(np.iinfo(self._numpy), end))
        if self.is_floating:
            # NumPy's finfo would do, but not while a session counts denormals as zero.
            largest = np.nextafter(self._numpy.type(np.inf), self._numpy.type(0))
            return -largest if end == "min" else largest
        raise TypeError(f"Cannot find {end}imum value of {self}.")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor of type `other` may stand where this type is asked for: a reference also gives a value."""
        other = as_dtype(other)
        return self is other or self is other.base_dtype

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if other is None:
            return False
        try:
            return as_dtype(other).as_datatype_enum == self.as_datatype_enum
        except TypeError:
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return self.as_datatype_enum

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __reduce__(self) -> Any:
        return as_dtype, (self.name,)


float32 = DType("float32", 1, np.float32)
float64 = DType("float64", 2, np.float64)
int32 = DType("int32", 3, np.int32)
uint8 = DType("uint8", 4, np.uint8)
int16 = DType("int16", 5, np.int16)
int8 = DType("int8", 6, np.int8)
string = DType("string", 7, np.object_)
complex64 = DType("complex64", 8, np.complex64)
int64 = DType("int64", 9, np.int64)
bool_ = DType("bool", 10, np.bool_)
bfloat16 = DType("bfloat16", 14, ml_dtypes.bfloat16)
uint16 = DType("uint16", 17, np.uint16)
complex128 = DType("complex128", 18, np.complex128)
float16 = DType("float16", 19, np.float16)
resource = DType("resource", 20, np.object_)
variant = DType("variant", 21, np.object_)
uint32 = DType("uint32", 22, np.uint32)
uint64 = DType("uint64", 23, np.uint64)

half = float16
double = float64

ALL = (
    float32, float64, int32, uint8, int16, int8, string, complex64, int64, bool_, bfloat16,
    uint16, complex128, float16, resource, variant, uint32, uint64,
)  # fmt: skip

# The sets of types that op definitions name.
FLOATS = frozenset({float16, bfloat16, float32, float64})
COMPLEX = frozenset({complex64, complex128})
SIGNED = frozenset({int8, int16, int32, int64})
INTEGERS = SIGNED | {uint8, uint16, uint32, uint64}
REALS = FLOATS | INTEGERS
NUMBERS = REALS | COMPLEX
FLOATING = FLOATS | COMPLEX
INDICES = frozenset({int32, int64})

_BY_NAME: dict[Any, DType] = {t.name: t for t in ALL}
_BY_NAME.update({t.ref_dtype.name: t.ref_dtype for t in ALL})
_BY_NAME.update({"half": float16, "double": float64, "float": float32})
_BY_ENUM = {t.as_datatype_enum: t for base in ALL for t in (base, base.ref_dtype)}
_BY_NUMPY = {t.numpy: t for t in ALL if t.numpy.kind != "O"}
# What `tf.as_dtype` makes of Python's own types: float is TensorFlow's default float32.
_BY_PYTHON: dict[Any, DType] = {float: float32, bool: bool_, object: string, str: string, bytes: string}


def as_dtype(value: Any) -> DType:
    """Converts a DType, a name, an enum value, a Python or a NumPy type to a `DType`.

    Raises:
        TypeError: where `value` names no element type.
    """
    if isinstance(value, DType):
        return value
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return _BY_ENUM[value]
        if isinstance(value, str):
            return _BY_NAME[value]
        if isinstance(value, type) and value in _BY_PYTHON:
            return _BY_PYTHON[value]
        if value is not None:  # np.dtype(None) would be float64
            return of_numpy(np.dtype(value))  # pyright: ignore[reportArgumentType, reportCallIssue]
    except (KeyError, TypeError):
        pass
    raise TypeError(f"Cannot convert value {value!r} to a TensorFlow DType.")


def of_numpy(dtype: np.dtype[Any]) -> DType:
    """The `DType` of an array's dtype; every kind of string is `string`.

    Raises:
        TypeError: for dtypes without a counterpart, such as datetime64.
    """
    found = _BY_NUMPY.get(dtype)
    if found is not None:
        return found
    if dtype.kind in "OSU":
        return string
    native = dtype.newbyteorder("=")
    if native in _BY_NUMPY:
        return _BY_NUMPY[native]
    if dtype.kind in "iu" and dtype.itemsize == 8:  # long and long long are distinct NumPy types
        return int64 if dtype.kind == "i" else uint64
    raise TypeError(f"Cannot convert value {dtype!r} to a TensorFlow DType.")


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether an array's dtype is float16 or bfloat16, which kernels compute in float32."""
    return dtype.itemsize == 2 and dtype.kind in "fV"


def widened(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Halves as float32; other arrays as they are."""
    return array.astype(np.float32) if is_half(array.dtype) else array
