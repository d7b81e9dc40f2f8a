"""Casts between dtypes, and complex numbers, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes, shapes
from tahr.core.convert import IndexedSlices, convert_to_tensor
from tahr.core.dtypes import COMPLEX, FLOATING, NUMBERS, DType
from tahr.core.forms import ELEMENTWISE, Elementwise
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.ops import scalars_arithmetic
from tahr.ops.fills import zeros_like

# ---------------------------------------------------------------- casts

Cast = OpDef(
    "Cast",
    "x: SrcT -> y: DstT",
    attrs={"DstT": REQUIRED, "Truncate": False},
    form=Elementwise(scalar=scalars_arithmetic.cast),
)


@Cast.value
def _cast_value(x: Spec, *, DstT: DType, Truncate: bool) -> Array | None:
    return x.value


@Cast.kernel
def _cast_kernel(x: Array, *, DstT: DType, Truncate: bool) -> Array:
    if x.dtype.kind == "c" and not DstT.is_complex:
        x = x.real
    elif x.dtype == dtypes.bfloat16.numpy:
        x = x.astype(np.float32)  # so that NaN becomes the same integer as from float32
    return x.astype(DstT.numpy)


@Cast.gradient
def _cast_gradient(op: Operation, dy: Tensor) -> Tensor | None:
    source, target = op.inputs[0].spec.dtype, op.outputs[0].spec.dtype
    if source is None:
        return dy
    return cast(dy, source) if source in FLOATING and target in FLOATING else None


# A gradient below a `placeholder()` without dtype: it gets the dtype of what it is taken with respect to once that is
# fed. Beside integers, which have no gradients in TensorFlow, it stays what it is.
CastLike = OpDef(
    "CastLike",
    "x: T, like: S -> y: T",
    types={"T": FLOATING},
    form=Elementwise(scalar=scalars_arithmetic.cast_like),
)


@CastLike.dtype
def _cast_like_dtype(x: Spec, like: Spec) -> list[DType | None]:
    return [like.dtype if like.dtype is None or like.dtype in FLOATING else x.dtype]


@CastLike.shape
def _cast_like_shape(x: Spec, like: Spec) -> Shape:
    return x.shape


@CastLike.kernel
def _cast_like_kernel(x: Array, like: Array) -> Array:
    target = dtypes.of_numpy(like.dtype)
    return _cast_kernel(x, DstT=target, Truncate=False) if target in FLOATING else x.copy()


@CastLike.gradient
def _cast_like_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    return CastLike(dy, op.inputs[0]), None


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """`x` in another dtype; a tensor that has it already is returned as it is.

    Floats lose their fraction when they become integers, and complex numbers their imaginary part when they
    become real; true is 1, and whatever is not 0 is true. An integer that does not fit wraps around; what
    becomes of such a float is not defined.

    Args:
        x: a tensor, or an IndexedSlices, whose values are cast.
        dtype: any numeric type or bool.

    Raises:
        TypeError: strings and handles cannot be cast.
    """
    wanted = dtypes.as_dtype(dtype).base_dtype
    if isinstance(x, Tensor) and x.dtype is wanted:
        return x
    with name_scope(name, "Cast", [x]) as scope:
        if isinstance(x, IndexedSlices):
            return IndexedSlices(cast(x.values, wanted, scope), x.indices, x.dense_shape)
        x = convert_to_tensor(x, name="x")
        if x.spec.dtype is wanted:
            return x
        if x.spec.dtype is not None and (x.dtype.numpy.kind == "O" or wanted.numpy.kind == "O"):
            raise TypeError(f"Cast: cannot cast {x.dtype.name} to {wanted.name}.")
        return Cast(x, DstT=wanted, name=scope)


def to_float(x: Any, name: str | None = "ToFloat") -> Tensor:
    """Casts to float32."""
    return cast(x, dtypes.float32, name)


def to_double(x: Any, name: str | None = "ToDouble") -> Tensor:
    """Casts to float64."""
    return cast(x, dtypes.float64, name)


def to_int32(x: Any, name: str | None = "ToInt32") -> Tensor:
    """Casts to int32."""
    return cast(x, dtypes.int32, name)


def to_int64(x: Any, name: str | None = "ToInt64") -> Tensor:
    """Casts to int64."""
    return cast(x, dtypes.int64, name)


def to_bfloat16(x: Any, name: str | None = "ToBFloat16") -> Tensor:
    """Casts to bfloat16."""
    return cast(x, dtypes.bfloat16, name)


def to_complex64(x: Any, name: str | None = "ToComplex64") -> Tensor:
    """Casts to complex64."""
    return cast(x, dtypes.complex64, name)


def to_complex128(x: Any, name: str | None = "ToComplex128") -> Tensor:
    """Casts to complex128."""
    return cast(x, dtypes.complex128, name)


Bitcast = OpDef(
    "Bitcast", "input: T -> output: type", attrs={"type": REQUIRED}, types={"T": NUMBERS}, aliases=(0,)
)
Bitcast.not_differentiable()


@Bitcast.shape
def _bitcast_shape(x: Spec, *, type: DType) -> Shape:
    if x.shape is None or x.dtype is None:
        return None
    if x.dtype.size >= type.size:
        return x.shape if x.dtype.size == type.size else (*x.shape, x.dtype.size // type.size)
    if not x.shape:
        raise ValueError(
            f"Cannot bitcast a scalar of {x.dtype.name} to {type.name}: Shape must be at least rank 1"
        )
    shapes.merge_dims(x.shape[-1], type.size // x.dtype.size)
    return x.shape[:-1]


@Bitcast.kernel
def _bitcast_kernel(x: Array, *, type: DType) -> Array:
    if x.dtype.itemsize == type.size:
        return x.view(type.numpy)
    if x.dtype.itemsize > type.size:
        return np.ascontiguousarray(x[..., np.newaxis]).view(type.numpy)
    return np.ascontiguousarray(x).view(type.numpy)[..., 0]


def bitcast(input: Any, type: Any, name: str | None = None) -> Tensor:
    """The same bytes read as another dtype.

    Args:
        input: numbers, [...]. For a wider `type` the last dimension must be the ratio of the sizes.
        type: a numeric dtype.

    Returns:
        [...], with one dimension more for a narrower type and one less for a wider one.

    Raises:
        ValueError: the last dimension does not fit.
    """
    return Bitcast(input, type=dtypes.as_dtype(type).base_dtype, name=name)


# ---------------------------------------------------------------- complex numbers


def is_complex(x: Tensor) -> bool:
    """Whether a tensor is known to hold complex numbers."""
    return x.spec.dtype is not None and x.spec.dtype.is_complex


Complex = OpDef(
    "Complex",
    "real: T, imag: T -> out: Tout",
    attrs={"Tout": dtypes.complex64},
    types={"T": frozenset({dtypes.float32, dtypes.float64})},
    form=ELEMENTWISE,
)


@Complex.kernel
def _complex_kernel(real: Array, imag: Array, *, Tout: DType) -> Array:
    # Not real + 1j * imag: that makes NaN of an infinite imaginary part.
    result = np.empty(np.broadcast_shapes(real.shape, imag.shape), dtype=Tout.numpy)
    result.real, result.imag = real, imag
    return result


@Complex.gradient
def _complex_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    return real(dy), imag(dy)


def complex(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """real + i imag.

    Args:
        real, imag: float32 or float64.

    Returns:
        complex64 or complex128.

    Raises:
        TypeError: the dtypes are others, or differ.
    """
    with name_scope(name, "Complex", [real, imag]) as scope:
        real, imag = convert_to_tensor(real, name="real"), convert_to_tensor(imag, name="imag")
        if real.spec.dtype not in (dtypes.float32, dtypes.float64) or imag.spec.dtype is not real.spec.dtype:
            raise TypeError(
                f"real and imag have incorrect types: {real.dtype} {imag.dtype}; "
                "both must be float32 or float64"
            )
        width = dtypes.complex64 if real.spec.dtype is dtypes.float32 else dtypes.complex128
        return Complex(real, imag, Tout=width, name=scope)


_PART: dict[str, Any] = {"attrs": {"Tout": dtypes.float32}, "types": {"T": COMPLEX}, "form": ELEMENTWISE}

Real = OpDef("Real", "input: T -> output: Tout", **_PART)


@Real.kernel
def _real_kernel(x: Array, *, Tout: DType) -> Array:
    return x.real.copy()


@Real.gradient
def _real_gradient(op: Operation, dy: Tensor) -> Tensor:
    return complex(dy, zeros_like(dy))


def real(input: Any, name: str | None = None) -> Tensor:
    """The real part; real numbers are returned as they are."""
    with name_scope(name, "Real", [input]) as scope:
        x = convert_to_tensor(input, name="input")
        return Real(x, Tout=x.dtype.real_dtype, name=scope) if is_complex(x) else x


Imag = OpDef("Imag", "input: T -> output: Tout", **_PART)


@Imag.kernel
def _imag_kernel(x: Array, *, Tout: DType) -> Array:
    return x.imag.copy()


@Imag.gradient
def _imag_gradient(op: Operation, dy: Tensor) -> Tensor:
    return complex(zeros_like(dy), dy)


def imag(input: Any, name: str | None = None) -> Tensor:
    """The imaginary part; 0 for real numbers."""
    with name_scope(name, "Imag", [input]) as scope:
        x = convert_to_tensor(input, name="input")
        return Imag(x, Tout=x.dtype.real_dtype, name=scope) if is_complex(x) else zeros_like(x)


Angle = OpDef("Angle", "input: T -> output: Tout", **_PART)


@Angle.kernel
def _angle_kernel(x: Array, *, Tout: DType) -> Array:
    return np.arctan2(x.imag, x.real)


@Angle.gradient
def _angle_gradient(op: Operation, dy: Tensor) -> Tensor:
    # With x = a + ib the gradient is (-b + ia) / (a^2 + b^2) = -1 / (b + ia).
    x = op.inputs[0]
    return -complex(dy, zeros_like(dy)) / complex(imag(x), real(x))


def angle(input: Any, name: str | None = None) -> Tensor:
    """The argument of a complex number in radians, in (-pi, pi]; 0 for real numbers, as in TensorFlow 1."""
    with name_scope(name, "Angle", [input]) as scope:
        x = convert_to_tensor(input, name="input")
        return Angle(x, Tout=x.dtype.real_dtype, name=scope) if is_complex(x) else zeros_like(x)


Conj = OpDef("Conj", "input: T -> output: T", types={"T": COMPLEX}, form=Elementwise(np.conjugate))


@Conj.gradient
def _conj_gradient(op: Operation, dy: Tensor) -> Tensor:
    return conj(dy)


def conj(x: Any, name: str | None = None) -> Tensor:
    """The complex conjugate; real numbers are returned as they are.

    Raises:
        TypeError: `x` is not numeric.
    """
    x = convert_to_tensor(x, name="x")
    if is_complex(x):
        return Conj(x, name=name)
    if x.spec.dtype is not None and x.spec.dtype not in NUMBERS:
        raise TypeError(f"Expected numeric or variant tensor, got dtype {x.dtype!r}")
    return x
