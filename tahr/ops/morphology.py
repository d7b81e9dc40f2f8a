"""Grayscale dilation and erosion of images: windows of maxima and minima, weighted by addition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.core import shapes
from tahr.core.dtypes import REALS, int64
from tahr.core.forms import Window
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import REQUIRED, Array, OpDef
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.errors import Complaint
from tahr.ops import pooling_kernels
from tahr.ops.elementwise import negative
from tahr.ops.indexing import unsorted_segment_sum
from tahr.ops.layouts import check_window, complaining, in_layout, output_sizes, per_dimension, same_dim
from tahr.ops.structural import deprecated_argument, reshape, shape, size
from tahr.ops.transposing import reverse

_ATTRS = {"strides": REQUIRED, "rates": REQUIRED, "padding": REQUIRED}
_LAYOUT = "NHWC"


def _dilated_shape(
    x: Spec, filter: Spec, *, strides: Sequence[int], rates: Sequence[int], padding: str, **_: Any
) -> Shape:
    steps, spread = check_window("Stride", strides, _LAYOUT), check_window("Rate", rates, _LAYOUT)
    if padding not in ("SAME", "VALID"):
        raise Complaint(f'Attr "padding" passed string {padding!r} not in: "SAME", "VALID".')
    batch, *sizes, channels = shapes.dims(x.shape, 4)
    *window, depth = shapes.dims(filter.shape, 3)
    out = output_sizes(sizes, window, steps, spread, padding)
    return in_layout(batch, out, same_dim(channels, depth), _LAYOUT)


Dilation2D = OpDef(
    "Dilation2D", "input: T, filter: T -> output: T", attrs=_ATTRS, types={"T": REALS}, form=Window()
)
Dilation2D.shape(_dilated_shape)


@Dilation2D.kernel
@complaining
def _dilation_kernel(
    x: Array, filter: Array, *, strides: Sequence[int], rates: Sequence[int], padding: str
) -> Array:
    _dilated_shape(
        Spec(None, x.shape), Spec(None, filter.shape), strides=strides, rates=rates, padding=padding
    )
    return pooling_kernels.dilation(x, filter, strides[1:3], rates[1:3], padding)


@Dilation2D.gradient
def _dilation_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Each result is one element of the input plus one of the filter: these two get its gradient."""
    x, filter = op.inputs
    pixels, weights = DilationPlaces(x, filter, **op.attrs)
    return _sent_to(pixels, dy, x), _sent_to(weights, dy, filter)


def _sent_to(places: Tensor, dy: Tensor, x: Tensor) -> Tensor:
    """Zeros like x, with dy added at places of the flattened x."""
    return reshape(unsorted_segment_sum(dy, places, size(x, out_type=int64)), shape(x))


# Where the maxima of a dilation come from, as indices into the flattened input and filter.
DilationPlaces = OpDef(
    "_Dilation2DPlaces",
    "input: T, filter: T -> pixels: int64, weights: int64",
    attrs=_ATTRS,
    types={"T": REALS},
).not_differentiable()


@DilationPlaces.shape
def _places_shape(x: Spec, filter: Spec, **attrs: Any) -> list[Shape]:
    return [_dilated_shape(x, filter, **attrs)] * 2


@DilationPlaces.kernel
@complaining
def _places_kernel(
    x: Array, filter: Array, *, strides: Sequence[int], rates: Sequence[int], padding: str
) -> tuple[Array, Array]:
    return pooling_kernels.dilation_places(x, filter, strides[1:3], rates[1:3], padding)


def dilation2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    rates: Any = None,
    padding: str | None = None,
    name: str | None = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """The maximum of input plus filter, in each window: `max(input[y·s + i·r, x·s + j·r, c] + filter[i, j, c])`.

    Args:
        input: images, real numbers, [batch, height, width, channels].
        filter: [height, width, channels].
        strides: the steps between windows, four integers [1, s, s, 1].
        rates: the steps within a window, four integers [1, r, r, 1].
        padding: "SAME" or "VALID"; what is beyond the edge does not count.
        name: the operation's name.
        filters: the newer name of `filter`.
        dilations: the newer name of `rates`.

    Returns:
        [batch, out height, out width, channels].

    Raises:
        ValueError: shapes do not fit, or strides or rates are none.
    """
    return Dilation2D(
        input,
        deprecated_argument("filters", filters, "filter", filter),
        strides=per_dimension(strides, _LAYOUT, "strides"),
        rates=per_dimension(deprecated_argument("dilations", dilations, "rates", rates), _LAYOUT, "rates"),
        padding=padding,
        name=name,
    )


def erosion2d(
    value: Any, kernel: Any, strides: Any, rates: Any, padding: str, name: str | None = None
) -> Tensor:
    """The minimum of value minus kernel, in each window: the dilation of the negative by the kernel turned around.

    Args:
        value: images, real numbers, [batch, height, width, channels].
        kernel: [height, width, channels].
        strides, rates, padding: as in `dilation2d`.
        name: the operation's name.
    """
    with name_scope(name, "erosion2d", [value, kernel]) as scope:
        turned_around = negative(value), reverse(kernel, [0, 1])
        return negative(dilation2d(*turned_around, strides, rates, padding, name=scope))
