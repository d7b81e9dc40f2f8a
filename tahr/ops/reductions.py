"""Reductions along axes: mean, max, product, norms, where the largest is ...

`Sum` itself is in `structural`, because it is the adjoint of broadcasting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tahr.core import dtypes, shapes, sizes
from tahr.core.convert import convert_to_tensor
from tahr.core.dtypes import FLOATING, INDICES, NUMBERS, REALS, DType
from tahr.core.forms import ArgExtreme, Extent, Reduction
from tahr.core.graph import Operation, Tensor
from tahr.core.opdef import Array, OpDef, known_int, known_ints
from tahr.core.scopes import name_scope
from tahr.core.shapes import Shape, Spec
from tahr.core.sizes import UNKNOWN, Dim
from tahr.errors import Complaint
from tahr.ops import elementwise as e, fills, indexing, joining, special, structural as s
from tahr.ops.scans import cumprod, cumsum

_REDUCTION_TYPES = {"T": NUMBERS, "Tidx": INDICES}
_ORDERED_TYPES = {"T": REALS, "Tidx": INDICES}


# ---------------------------------------------------------------- what reductions share


def _reduce(
    op: OpDef, x: Any, axis: Any, keepdims: Any, name: str | None, reduction_indices: Any, keep_dims: Any
) -> Tensor:
    """What all public reductions do: both spellings of the arguments, and all axes by default."""
    axis = s.deprecated_argument("axis", axis, "reduction_indices", reduction_indices)
    keepdims = s.deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims)
    if axis is None:
        x = convert_to_tensor(x, name="input_tensor")
    y = op(x, s.all_axes(x, axis), keep_dims=bool(keepdims), name=name)
    return s.reduced_to_scalar(y, axis, bool(keepdims))


def _reduced_shape(x: Spec, axes: Spec, *, keep_dims: bool) -> Shape:
    return shapes.reduced(x.shape, axes.value, keep_dims)


def _axes(axes: Array, rank: int) -> tuple[int, ...]:
    """The axes to reduce, counted from the front."""
    given = axes.ravel().tolist()
    if len(given) == 1 and 0 <= given[0] < rank:  # nearly always
        return (given[0],)
    found: list[int] = []
    for axis in given:
        if not -rank <= axis < rank:
            raise Complaint(f"Invalid reduction dimension ({axis} for input with {rank} dimension(s)")
        if axis % rank in found:
            raise Complaint(f"Invalid reduction arguments: Axes contains duplicate dimension: {axis}")
        found.append(axis % rank)
    return tuple(found)


def _restore(y: Tensor, x: Tensor, axes: Tensor) -> Tensor:
    """A reduction's result with its reduced axes back, of size 1, so that it broadcasts against the input."""
    return s.reshape(y, s.kept_shape(x, axes))


# ---------------------------------------------------------------- Mean


def _elements_per_output(x: Spec, y: Spec) -> Dim:
    return shapes.num_elements(x.shape) // sizes.maximum(shapes.num_elements(y.shape), 1)


ElementsPerOutput = OpDef(
    "ElementsPerOutput", "x: T, y: T -> count: T", types={"T": NUMBERS}, form=Extent(_elements_per_output)
)
ElementsPerOutput.not_differentiable()


@ElementsPerOutput.shape
def _elements_shape(x: Spec, y: Spec) -> Shape:
    return ()


@ElementsPerOutput.kernel
def _elements_kernel(x: Array, y: Array) -> Array:
    """How many elements of x went into each element of y, which is x reduced; in their own dtype."""
    return np.int64(x.size // max(y.size, 1)).astype(x.dtype)


Mean = OpDef(
    "Mean",
    "input: T, reduction_indices: Tidx -> output: T",
    attrs={"keep_dims": False},
    types=_REDUCTION_TYPES,
)
Mean.shape(_reduced_shape)


@Mean.kernel
def _mean_kernel(x: Array, axes: Array, *, keep_dims: bool) -> Array:
    # Halves are summed in float32: above 2048 a float16 sum no longer grows by 1.
    wide = np.dtype(np.float32) if dtypes.is_half(x.dtype) else x.dtype
    total = np.add.reduce(x, axis=_axes(axes, x.ndim), keepdims=keep_dims, dtype=wide)
    count = x.size // max(np.size(total), 1)
    if x.dtype.kind in "iu":
        # Integer division truncates, as in C++; the mean of nothing is 0.
        return np.asarray(np.sign(total) * (np.abs(total) // max(count, 1)), dtype=x.dtype)
    return np.asarray(total / wide.type(count), dtype=x.dtype)


@Mean.expansion
def _mean_expansion(x: Tensor, axes: Tensor, *, keep_dims: bool) -> Tensor:
    total = s.reduce_sum(x, axes, keepdims=keep_dims)
    count = ElementsPerOutput(x, total)
    return e.truncatediv(total, e.maximum(count, 1)) if x.dtype.is_integer else e.realdiv(total, count)


@Mean.gradient
def _mean_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    x, axes = op.inputs
    share = e.realdiv(dy, ElementsPerOutput(x, dy))
    return s.broadcast_to(_restore(share, x, axes), s.shape(x)), None


def reduce_mean(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The mean of the elements along axes.

    Args:
        input_tensor: any shape, numeric; the mean of integers is an integer, rounded towards zero.
        axis: the axes to reduce, an integer or a list of them; all by default.
        keepdims: whether reduced axes stay, with size 1.
        name: the operation's name.
        reduction_indices: the old name of `axis`.
        keep_dims: the old name of `keepdims`.

    Returns:
        The shape of the input without the reduced axes; NaN where nothing is averaged.

    Raises:
        ValueError: an axis is out of range, or an argument is given under both names.
    """
    return _reduce(Mean, input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


# ---------------------------------------------------------------- Prod

Prod = OpDef(
    "Prod",
    "input: T, reduction_indices: Tidx -> output: T",
    attrs={"keep_dims": False},
    types=_REDUCTION_TYPES,
    form=Reduction("multiply", 1),
)
Prod.shape(_reduced_shape)


@Prod.value
def _prod_value(x: Spec, axes: Spec, *, keep_dims: bool) -> Array | None:
    """The number of elements of a known shape is known."""
    if x.value is None or known_ints(axes) is None or axes.value is None:
        return None
    product = np.multiply.reduce(x.value, axis=_axes(axes.value, x.value.ndim), keepdims=keep_dims)
    return np.asarray(product, dtype=object)


@Prod.kernel
def _prod_kernel(x: Array, axes: Array, *, keep_dims: bool) -> Array:
    product = np.multiply.reduce(x, axis=_axes(axes, x.ndim), keepdims=keep_dims, dtype=x.dtype)
    return np.asarray(product, dtype=x.dtype)


@Prod.gradient
def _prod_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    """dy times the product of all the other elements.

    y / x would be NaN at zeros. Instead the reduced axes are moved to the front and merged; the products of
    the elements before and after each one are running products.
    """
    x, axes = op.inputs
    rank = x.spec.rank
    known = known_ints(axes.spec)
    if rank is not None and known is not None:
        front = [a % rank for a in known]
        order = front + [a for a in range(rank) if a not in front]
        forth, back = order, [order.index(a) for a in range(rank)]
    else:
        forth, back = axes_to_front(s.rank(x), axes)
    moved = s.transpose(x, forth)
    merged = s.reshape(moved, joining.stack([e.floordiv(s.size(x), others := s.size(op.outputs[0])), others]))
    before = cumprod(merged, 0, exclusive=True)
    after = cumprod(merged, 0, exclusive=True, reverse=True)
    rest = s.transpose(s.reshape(e.conj(e.multiply(before, after)), s.shape(moved)), back)
    return e.multiply(_restore(dy, x, axes), rest), None


def axes_to_front(rank: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """The permutation that moves some axes to the front, for ranks that are known only at run time.

    Args:
        rank: int32 scalar.
        axes: integers from -rank to rank - 1, [n].

    Returns:
        The permutation for `transpose`, [rank], and its inverse.
    """
    axes = e.floormod(s.reshape(e.cast(axes, dtypes.int32), [-1]), e.maximum(rank, 1))
    everyone = s.range_(rank)
    chosen = indexing.unsorted_segment_sum(fills.ones_like(axes), axes, rank)
    among_chosen = cumsum(chosen, exclusive=True)
    among_others = e.add(s.size(axes), cumsum(e.subtract(1, chosen), exclusive=True))
    place = e.add(e.multiply(chosen, among_chosen), e.multiply(e.subtract(1, chosen), among_others))
    return indexing.unsorted_segment_sum(everyone, place, rank), place


def reduce_prod(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The product of the elements along axes; 1 where there are none. Arguments as in `reduce_mean`."""
    return _reduce(Prod, input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


# ---------------------------------------------------------------- Max, Min


def _extreme(dtype: np.dtype[Any], lowest: bool) -> Any:
    """The smallest or largest value of a dtype: what the maximum or minimum of nothing is."""
    found = dtypes.of_numpy(dtype)
    if found.is_floating:
        return -np.inf if lowest else np.inf
    return found.min if lowest else found.max


def _extreme_kernel(ufunc: np.ufunc, x: Array, axes: Array, keep_dims: bool) -> Array:
    along = _axes(axes, x.ndim)
    if x.size:
        return np.asarray(ufunc.reduce(x, axis=along, keepdims=keep_dims))
    # NumPy refuses to reduce nothing without being told what that gives.
    nothing = np.asarray(_extreme(x.dtype, ufunc is np.maximum)).astype(x.dtype)
    return np.asarray(ufunc.reduce(x, axis=along, keepdims=keep_dims, initial=nothing), dtype=x.dtype)


def _extreme_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    """Elements that share the extreme value share the gradient equally."""
    x, axes = op.inputs
    y = _restore(op.outputs[0], x, axes)
    chosen = e.select(e.equal(x, y), fills.ones_like(x), fills.zeros_like(x))
    ties = _restore(s.reduce_sum(chosen, axes), x, axes)
    return e.multiply(e.realdiv(chosen, ties), _restore(dy, x, axes)), None


Max = OpDef(
    "Max",
    "input: T, reduction_indices: Tidx -> output: T",
    attrs={"keep_dims": False},
    types=_ORDERED_TYPES,
    form=Reduction("maximum", -np.inf),
)
Max.shape(_reduced_shape)
Max.gradient(_extreme_gradient)


@Max.kernel
def _max_kernel(x: Array, axes: Array, *, keep_dims: bool) -> Array:
    return _extreme_kernel(np.maximum, x, axes, keep_dims)


def reduce_max(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The largest element along axes; NaN if one is NaN, the type's lowest value where there are none.

    Arguments as in `reduce_mean`, real numbers only.
    """
    return _reduce(Max, input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


Min = OpDef(
    "Min",
    "input: T, reduction_indices: Tidx -> output: T",
    attrs={"keep_dims": False},
    types=_ORDERED_TYPES,
    form=Reduction("minimum", np.inf),
)
Min.shape(_reduced_shape)
Min.gradient(_extreme_gradient)


@Min.kernel
def _min_kernel(x: Array, axes: Array, *, keep_dims: bool) -> Array:
    return _extreme_kernel(np.minimum, x, axes, keep_dims)


def reduce_min(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """The smallest element along axes; NaN if one is NaN, the type's highest value where there are none.

    Arguments as in `reduce_mean`, real numbers only.
    """
    return _reduce(Min, input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


# ---------------------------------------------------------------- Any, All

Any_ = OpDef(
    "Any",
    "input: bool, reduction_indices: Tidx -> output: bool",
    attrs={"keep_dims": False},
    types={"Tidx": INDICES},
    form=Reduction("or", False),
).not_differentiable()
Any_.shape(_reduced_shape)


@Any_.kernel
def _any_kernel(x: Array, axes: Array, *, keep_dims: bool) -> Array:
    return np.asarray(np.logical_or.reduce(x, axis=_axes(axes, x.ndim), keepdims=keep_dims))


def reduce_any(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Whether any element along axes is true; false where there are none.

    Arguments as in `reduce_mean`, bool.
    """
    return _reduce(Any_, input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


All = OpDef(
    "All",
    "input: bool, reduction_indices: Tidx -> output: bool",
    attrs={"keep_dims": False},
    types={"Tidx": INDICES},
    form=Reduction("and", True),
).not_differentiable()
All.shape(_reduced_shape)


@All.kernel
def _all_kernel(x: Array, axes: Array, *, keep_dims: bool) -> Array:
    return np.asarray(np.logical_and.reduce(x, axis=_axes(axes, x.ndim), keepdims=keep_dims))


def reduce_all(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Whether all elements along axes are true; true where there are none.

    Arguments as in `reduce_mean`, bool.
    """
    return _reduce(All, input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


# ---------------------------------------------------------------- EuclideanNorm, logsumexp, count_nonzero

EuclideanNorm = OpDef(
    "EuclideanNorm",
    "input: T, reduction_indices: Tidx -> output: T",
    attrs={"keep_dims": False},
    types={"T": FLOATING, "Tidx": INDICES},
)
EuclideanNorm.shape(_reduced_shape)


@EuclideanNorm.expansion
def _euclidean_norm_expansion(x: Tensor, axes: Tensor, *, keep_dims: bool) -> Tensor:
    return special.sqrt(s.reduce_sum(e.multiply(x, e.conj(x)), axes, keepdims=keep_dims))


def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The square root of the sum of the squared absolute values along axes.

    Arguments as in `reduce_mean`, floating.
    """
    return _reduce(EuclideanNorm, input_tensor, axis, keepdims, name, None, None)


def reduce_variance(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The mean of the squared distances |x - mean|² of the elements along axes.

    Arguments as in `reduce_mean`, floating or complex.

    Raises:
        TypeError: the input holds integers.
    """
    with name_scope(name, "reduce_variance", [input_tensor]):
        x = convert_to_tensor(input_tensor)
        if x.spec.dtype is not None and x.spec.dtype not in FLOATING:
            raise TypeError(f"Input must be either real or complex, not {x.dtype.name}: cast it first")
        distances = x - reduce_mean(x, axis, keepdims=True)
        if x.spec.dtype is not None and x.spec.dtype.is_complex:
            return reduce_mean(e.real(e.multiply(e.conj(distances), distances)), axis, keepdims)
        return reduce_mean(special.square(distances), axis, keepdims)


def reduce_std(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The standard deviations of the elements along axes: the square root of `reduce_variance`."""
    with name_scope(name, "reduce_std", [input_tensor]):
        return special.sqrt(reduce_variance(input_tensor, axis, keepdims))


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """log(sum(exp(x))) along axes, shifted by the largest element so that exp never overflows.

    Arguments as in `reduce_mean`, floating.
    """
    axis = s.deprecated_argument("axis", axis, "reduction_indices", reduction_indices)
    keepdims = bool(s.deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    x = convert_to_tensor(input_tensor)
    with name_scope(name, "ReduceLogSumExp", [x]) as scope:
        highest = reduce_max(x, axis, keepdims=True)
        # An infinite shift would turn -inf - -inf into NaN.
        shift = s.stop_gradient(e.select(e.is_finite(highest), highest, fills.zeros_like(highest)))
        total = special.log(s.reduce_sum(special.exp(e.subtract(x, shift)), axis, keepdims=keepdims))
        if not keepdims:
            shift = s.reshape(shift, s.shape(total))
        return e.add(total, shift, name=scope)


def count_nonzero(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    dtype: Any = dtypes.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """How many elements along axes are not zero (not "" for strings).

    Arguments as in `reduce_mean`, any type; `dtype` is the result's, int64 by default.
    """
    axis = s.deprecated_argument("axis", axis, "reduction_indices", reduction_indices)
    keepdims = bool(s.deprecated_argument("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "count_nonzero", [input_tensor]):
        x = convert_to_tensor(input_tensor, name="input")
        zero = fills.zeros([], dtype=x.dtype)
        present = e.cast(e.not_equal(x, zero), dtypes.int64)
        return e.cast(s.reduce_sum(present, axis, keepdims=keepdims), dtype)


# ---------------------------------------------------------------- ArgMax, ArgMin


def _arg_shape(x: Spec, dimension: Spec, *, output_type: DType) -> Shape:
    if x.shape is None:
        return None
    if not x.shape:
        raise ValueError("Shape must be at least rank 1 but is rank 0")
    axis = known_int(dimension)
    if axis is None:
        return (UNKNOWN,) * (len(x.shape) - 1)
    axis = shapes.normalize_axis(axis, len(x.shape), "dimension")
    if x.shape[axis] == 0:
        raise ValueError(f"Reduction axis {axis} is empty in shape {shapes.show(x.shape)}")
    return x.shape[:axis] + x.shape[axis + 1 :]


def _arg_kernel(function: Any, x: Array, dimension: Array, output_type: DType) -> Array:
    axis = int(dimension)
    if not -x.ndim <= axis < x.ndim:
        raise Complaint(f"Expected dimension in the range [{-x.ndim}, {x.ndim}), but got {axis}")
    if x.shape[axis] == 0:
        raise Complaint(f"Reduction axis {axis % x.ndim} is empty in shape {list(x.shape)}")
    where = function(x, axis=axis)
    if dtypes.of_numpy(x.dtype).is_floating:
        chosen = np.take_along_axis(x, np.expand_dims(where, axis), axis)
        if np.isnan(chosen).any():
            # NumPy finds the first NaN, but in TensorFlow a NaN is never greater or less than anything.
            worst = _extreme(x.dtype, function is np.argmax)
            where = function(np.where(np.isnan(x), np.asarray(worst).astype(x.dtype), x), axis=axis)
    return np.asarray(where, dtype=output_type.numpy)


_ARG_TYPES = {"T": REALS | {dtypes.bool_}, "Tidx": INDICES, "output_type": INDICES}

ArgMax = OpDef(
    "ArgMax",
    "input: T, dimension: Tidx -> output: output_type",
    attrs={"output_type": dtypes.int64},
    types=_ARG_TYPES,
    form=ArgExtreme(largest=True),
).not_differentiable()
ArgMax.shape(_arg_shape)


@ArgMax.kernel
def _argmax_kernel(x: Array, dimension: Array, *, output_type: DType) -> Array:
    return _arg_kernel(np.argmax, x, dimension, output_type)


def argmax(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = dtypes.int64,
) -> Tensor:
    """The index of the largest element along an axis; the lowest index among equals.

    Args:
        input: real numbers or bool, of rank 1 or more.
        axis: the axis, an integer; 0 by default.
        name: the operation's name.
        dimension: the old name of `axis`.
        output_type: int64 or int32.

    Returns:
        Indices, with the shape of the input without that axis.

    Raises:
        ValueError: the axis is out of range or empty, or given under both names.
    """
    axis = s.deprecated_argument("axis", axis, "dimension", dimension)
    return ArgMax(input, 0 if axis is None else axis, output_type=dtypes.as_dtype(output_type), name=name)


def arg_max(input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None) -> Tensor:
    """The old name of `argmax`."""
    return argmax(input, dimension, name, output_type=output_type)


ArgMin = OpDef(
    "ArgMin",
    "input: T, dimension: Tidx -> output: output_type",
    attrs={"output_type": dtypes.int64},
    types=_ARG_TYPES,
    form=ArgExtreme(largest=False),
).not_differentiable()
ArgMin.shape(_arg_shape)


@ArgMin.kernel
def _argmin_kernel(x: Array, dimension: Array, *, output_type: DType) -> Array:
    return _arg_kernel(np.argmin, x, dimension, output_type)


def argmin(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = dtypes.int64,
) -> Tensor:
    """The index of the smallest element along an axis; the lowest index among equals.

    Arguments as in `argmax`.
    """
    axis = s.deprecated_argument("axis", axis, "dimension", dimension)
    return ArgMin(input, 0 if axis is None else axis, output_type=dtypes.as_dtype(output_type), name=name)


def arg_min(input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None) -> Tensor:
    """The old name of `argmin`."""
    return argmin(input, dimension, name, output_type=output_type)
