"""Text: numbers as strings, and strings joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    formatted = _formatter(x.dtype, precision, scientific, shortest, width, fill)
    result = np.empty(x.shape, object)
    for index in np.ndindex(x.shape):
        result[index] = formatted(x[index]).encode()
    return result


def _formatter(
    dtype: np.dtype[Any], precision: int, scientific: bool, shortest: bool, width: int, fill: str
) -> Callable[[Any], str]:
    """How an element is written: by C's printf, as in TensorFlow."""
    size = str(width) if width > -1 else ""
    if dtype.kind == "b":
        return lambda v: "true" if v else "false"
    if dtype.kind in "iu":
        return lambda v: f"%{fill}{size}d" % int(v)
    digits = f".{precision}" if precision > -1 else ""
    kind = "g" if shortest else "e" if scientific else "f"
    if dtype.kind == "c":
        return lambda v: f"(%{fill}{size}{digits}{kind},%{fill}{size}{digits}{kind})" % (v.real, v.imag)
    return lambda v: f"%{fill}{size}{digits}{kind}" % float(v)


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
