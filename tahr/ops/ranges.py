"""Ranges of numbers: tf.range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tahr.core import convert, dtypes, shapes
from tahr.core.dtypes import DType
from tahr.core.forms import IOTA
from tahr.core.graph import Tensor
from tahr.core.opdef import Array, OpDef, known_int
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN
from tahr.errors import Complaint

Range = OpDef("Range", "start: Tidx, limit: Tidx, delta: Tidx -> output: Tidx", types={"Tidx": dtypes.REALS},
              form=IOTA)  # fmt: skip
Range.not_differentiable()


@Range.shape
def _range_shape(start: Spec, limit: Spec, delta: Spec) -> Shape:
    for arg in (start, limit, delta):
        shapes.dims(arg.shape, 0)
    ends = [UNKNOWN if arg.value is None else arg.value.item() for arg in (start, limit, delta)]
    first, last, step = ends
    if not isinstance(step, int):
        return (UNKNOWN,)
    if isinstance(first, int) and isinstance(last, int):
        return (_range_length(first, last, step),)
    # Rounded up, and not negative as the kernel checks.
    return ((last - first + step - 1) // step if step > 0 else (first - last - step - 1) // -step,)


def _range_length(start: Any, limit: Any, delta: Any) -> int:
    """The number of elements of a range. Raises Complaint where it cannot end."""
    if delta == 0:
        raise Complaint("Requires delta != 0: 0")
    if delta > 0 and start > limit:
        raise Complaint(f"Requires start <= limit when delta > 0: {start}/{limit}")
    if delta < 0 and start < limit:
        raise Complaint(f"Requires start >= limit when delta < 0: {start}/{limit}")
    if isinstance(delta, int):
        return (limit - start + delta - 1) // delta if delta > 0 else (start - limit - delta - 1) // -delta
    return math.ceil(abs((limit - start) / delta))


@Range.value
def _range_value(start: Spec, limit: Spec, delta: Spec) -> Array | None:
    ends = [known_int(arg) for arg in (start, limit, delta)]
    if None in ends:
        return None
    first, last, step = (e for e in ends if e is not None)
    if _range_length(first, last, step) > shapes.MAX_VALUE_SIZE:
        return None
    return np.arange(first, last, step, dtype=np.int64).astype(object)


@Range.kernel
def _range_kernel(start: Array, limit: Array, delta: Array) -> Array:
    if start.dtype.kind in "iu":
        first, last, step = int(start), int(limit), int(delta)
        _range_length(first, last, step)
        return np.arange(first, last, step, dtype=start.dtype)
    count = _range_length(start[()], limit[()], delta[()])
    return start + np.arange(count).astype(start.dtype) * delta


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """The numbers start, start + delta, ... up to but without limit; `range_(n)` counts from 0.

    Args:
        start: a scalar, the first number.
        limit: a scalar.
        delta: a scalar, not 0.
        dtype: the type of the numbers; the widest of the arguments' by default.
        name: the operation's name.

    Raises:
        ValueError: the range is known never to end.
        TypeError: tensors of different dtypes; unlike in TensorFlow they are not converted.
    """
    if limit is None:
        start, limit = 0, start
    values = (start, limit, delta)
    with name_scope(name, "range", values) as scope:
        wanted = _range_dtype(values) if dtype is None else dtypes.as_dtype(dtype).base_dtype
        ends = [convert.convert_to_tensor(v, wanted, n) for v, n in zip(values, ("start", "limit", "delta"))]
        y = Range(*ends, name=scope)
        known = [convert.constant_value(end) for end in ends]
        if all(k is not None and k.ndim == 0 for k in known):
            y.set_shape([_range_kernel(*known).size])
        return y


_RANGE_TYPES = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)


def _range_dtype(values: Sequence[Any]) -> DType | None:
    """The widest dtype among the ends of a range; None where a tensor's is not known."""
    found = [
        v.spec.dtype if isinstance(v, Tensor)
        else convert.dtype_of(v) or dtypes.of_numpy(convert.as_array(v, None).dtype)
        for v in values
    ]  # fmt: skip
    ranked = [t for t in found if t in _RANGE_TYPES]
    return max(ranked, key=_RANGE_TYPES.index) if len(ranked) == len(found) else found[0]
