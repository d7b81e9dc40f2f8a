"""Forward mode and second derivatives, both made of reverse mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tahr.autodiff.gradients import UnconnectedGradients, gradients, source_tensor
from tahr.core import convert, scopes, shapes
from tahr.core.graph import Tensor
from tahr.ops import control_flow, fills, joining, scattering, structural
from tahr.ops.tensor_array import TensorArray


def jvp(ys: Any, xs: Any, vs: Any, name: str = "jvp") -> list[Tensor | None]:
    """Jacobian-vector products: how ys change as xs move along vs.

    Reverse mode gives g(u) = uᵀJ, which is linear in u. Its derivative with respect to u, weighted by v, is
    Jv; the value of u is never needed. This costs a few times as much as computing ys, however many xs there
    are.

    Args:
        ys: a tensor or list of tensors.
        xs: a tensor or variable, or a list of them.
        vs: for each x a direction of its shape and dtype; a list if xs is one.
        name: the name scope of the operations added.

    Returns:
        For each y a tensor of its shape, or None where no x changes it.

    Raises:
        LookupError: an operation in between, or its gradient, has no gradient.
        ValueError: xs and vs do not fit.

    Source: Jamie Townsend, "A new trick for calculating Jacobian vector products" (2017).
    """
    ys = _as_list(ys)
    if not isinstance(xs, (list, tuple)):
        xs, vs = [xs], [vs]
    if len(xs) != len(vs):
        raise ValueError(f"jvp: Passed {len(vs)} vs for {len(xs)} xs")
    with scopes.name_scope(name, "jvp", [*ys, *xs]):
        directions = [_direction(i, x, v) for i, (x, v) in enumerate(zip(xs, vs))]
        y_tensors = [convert.convert_to_tensor(y, name="y") for y in ys]
        us = [fills.ones_like(y) for y in y_tensors]
        connected = [(g, v) for g, v in zip(gradients(y_tensors, xs, us), directions) if g is not None]
        if not connected:
            return [None] * len(ys)
        return gradients([g for g, _ in connected], us, [v for _, v in connected])


def _direction(index: int, x: Any, v: Any) -> Tensor:
    own = convert.convert_to_tensor(x)
    tensor = convert.convert_to_tensor(v, dtype=own.spec.dtype, name=f"vs_{index}")
    if not shapes.compatible(tensor.spec.shape, own.spec.shape):
        raise ValueError(
            f"jvp: vs[{index}] has shape {shapes.show(tensor.spec.shape)}, "
            f"but its x has {shapes.show(own.spec.shape)}"
        )
    return tensor


def hessians(
    ys: Any,
    xs: Any,
    name: str = "hessians",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: int | None = None,
) -> list[Tensor]:
    """The second derivatives of the sum of ys with respect to each x, one row at a time, in a loop.

    Args:
        ys: a tensor or list of tensors.
        xs: a tensor or variable, or a list of them.
        name: the name scope of the operations added.
        colocate_gradients_with_ops: as in `gradients`.
        gate_gradients: as in `gradients`.
        aggregation_method: as in `gradients`.

    Returns:
        For each x of shape s a tensor of shape s + s.

    Raises:
        LookupError: an operation in between, or its gradient, has no gradient.
        ValueError: ys do not depend on an x.

    Differs from TensorFlow 1.15: where ys are linear in x the Hessian is zero rather than an error.
    """
    options = (colocate_gradients_with_ops, gate_gradients, aggregation_method)
    xs = _as_list(xs)
    with scopes.name_scope(name, "hessians", _as_list(ys)):
        firsts = gradients(ys, xs, None, "gradients", *options)
        for x, first in zip(xs, firsts):
            if first is None:
                raise ValueError(
                    f"hessians: None values not supported: ys do not depend on {source_tensor(x).name}"
                )
        return [_hessian(first, x, options) for first, x in zip(firsts, xs)]


def _hessian(first: Any, x: Any, options: tuple[bool, bool, int | None]) -> Tensor:
    value = convert.convert_to_tensor(x)
    first = convert.convert_to_tensor(first)
    flat = structural.reshape(first, [-1])
    count = structural.size(value)

    def row(j: Tensor) -> Any:
        return gradients(flat[j], x, None, "gradients", *options, None, UnconnectedGradients.ZERO)[0]

    rows = _stacked(row, count, value) if value.spec.dtype is not None else _scattered(row, count, flat)
    if shapes.is_static(value.spec.shape):
        shape: Any = value.shape.as_list() * 2
    else:
        own = structural.shape(value)
        shape = joining.concat([own, own], 0)
    return structural.reshape(rows, shape)


def _stacked(row: Callable[[Tensor], Any], count: Tensor, like: Tensor) -> Tensor:
    """`row(0)`, `row(1)` ... as one tensor [count, ...]; each has the shape of `like`."""

    def body(j: Tensor, rows: TensorArray) -> tuple[Tensor, TensorArray]:
        return j + 1, rows.write(j, row(j))

    rows = TensorArray(like.dtype.base_dtype, count, element_shape=like.shape)
    _, rows = control_flow.while_loop(lambda j, _: j < count, body, (convert.constant(0), rows))
    return rows.stack()


def _scattered(row: Callable[[Tensor], Any], count: Tensor, flat: Tensor) -> Tensor:
    """As `_stacked`, for the dtype of a placeholder that has none yet, of which there is no TensorArray.

    Each step copies all rows, [count, count].
    """

    def body(j: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        place, update = structural.reshape(j, [1, 1]), structural.reshape(row(j), [1, -1])
        return j + 1, scattering.tensor_scatter_update(rows, place, update)

    nothing = fills.zeros_like(structural.expand_dims(flat, 1) * flat)
    return control_flow.while_loop(lambda j, _: j < count, body, (convert.constant(0), nothing))[1]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
