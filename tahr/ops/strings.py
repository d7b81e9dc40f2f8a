"""Text: numbers as strings, and strings joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import shapes
from tahr.core.dtypes import COMPLEX, FLOATS, INTEGERS, bool_
from tahr.core.graph import Tensor
from tahr.core.opdef import Array, OpDef
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops.shaping import same_shape

# ---------------------------------------------------------------- AsString

AsString = OpDef(
    "AsString",
    "input: T -> output: string",
    attrs={"precision": -1, "scientific": False, "shortest": False, "width": -1, "fill": ""},
    types={"T": FLOATS | COMPLEX | INTEGERS | {bool_}},
).not_differentiable()


@AsString.shape
def _as_string_shape(x: Spec, *, scientific: bool, shortest: bool, fill: str, **_: Any) -> Shape:
    if scientific and shortest:
        raise ValueError("Cannot select both scientific and shortest notation")
    if len(fill) > 1:
        raise ValueError(f"Fill string must be one or fewer characters, got {fill!r}")
    return same_shape(x)


@AsString.kernel
def _as_string_kernel(
    x: Array, *, precision: int, scientific: bool, shortest: bool, width: int, fill: str
) -> Array:
    if x.dtype.kind == "b":
        return np.where(x, np.array(b"true", object), np.array(b"false", object))
    result = np.empty(x.size, object)
    if x.dtype.kind in "iu":
        form = _printf("d", -1, width, fill)
        result[:] = [form % v for v in x.ravel().tolist()]
    else:
        form = _printf("g" if shortest else "e" if scientific else "f", precision, width, fill)
        if x.dtype.kind == "c":
            pairs = x.ravel().tolist()
            result[:] = [b"(%b,%b)" % (form % v.real, form % v.imag) for v in pairs]
        else:
            result[:] = [form % v for v in x.ravel().astype(np.float64).tolist()]
    return result.reshape(x.shape)


def _printf(kind: str, precision: int, width: int, fill: str) -> bytes:
    """How a number is written: by C's printf, as in TensorFlow."""
    size = str(width) if width > -1 else ""
    digits = f".{precision}" if precision > -1 else ""
    return f"%{fill}{size}{digits}{kind}".encode()


def as_string(
    input: Any,
    precision: int = -1,
    scientific: bool = False,
    shortest: bool = False,
    width: int = -1,
    fill: str = "",
    name: str | None = None,
) -> Tensor:
    """Numbers as text.

    Args:
        input: numbers or bools.
        precision: the digits behind the point; 6 if negative.
        scientific: whether to write 1.5e+00.
        shortest: whether to write as few digits as suffice for `precision`.
        width: the least number of characters.
        fill: what fills up to the width: "0" or " " on the left; with "-" blanks on the right.
        name: the operation's name.

    Raises:
        ValueError: both `scientific` and `shortest`, or a longer `fill`.
    """
    attrs = {
        "precision": precision,
        "scientific": scientific,
        "shortest": shortest,
        "width": width,
        "fill": fill,
    }
    return AsString(input, name=name, **attrs)


# ---------------------------------------------------------------- StringJoin

StringJoin = OpDef(
    "StringJoin", "inputs: N*string -> output: string", attrs={"separator": ""}
).not_differentiable()


@StringJoin.shape
def _string_join_shape(*inputs: Spec, separator: str) -> Shape:
    if any(x.shape is None for x in inputs):
        return None
    result: Shape = ()
    for x in inputs:
        if x.shape != ():
            result = x.shape if result == () else shapes.merge(result, x.shape)
    return result


@StringJoin.kernel
def _string_join_kernel(*inputs: Array, separator: str) -> Array:
    wanted = next((x.shape for x in inputs if x.ndim), ())
    if any(x.ndim and x.shape != wanted for x in inputs):
        raise Complaint(
            f"Input shapes do not match: {[shapes.show(x.shape) for x in inputs]}: all must be equal, or scalars"
        )
    result = np.empty(wanted, object)
    for index in np.ndindex(wanted):
        parts: list[bytes] = [x[index if x.ndim else ()] for x in inputs]  # pyright: ignore[reportAssignmentType]
        result[index] = separator.encode().join(parts)
    return result


def string_join(inputs: Sequence[Any], separator: str = "", name: str | None = None) -> Tensor:
    """Strings joined element by element.

    Args:
        inputs: string tensors of one shape, or scalars.
        separator: what stands between them.
        name: the operation's name.
    """
    return StringJoin(list(inputs), separator=separator, name=name)
