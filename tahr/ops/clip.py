"""Clipping by norms: the standard guard against exploding gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tahr.core import convert, scopes
from tahr.core.convert import IndexedSlices
from tahr.core.graph import Tensor
from tahr.ops import casts, elementwise, fills, identities, joining, logic, nn, shaping, special, structural


def _values(t: Any, name: str) -> Tensor:
    """The elements that a tensor or IndexedSlices holds."""
    return convert.convert_to_tensor(t.values if isinstance(t, IndexedSlices) else t, name=name)


def _like(t: Any, values: Tensor) -> Any:
    """New values in the form of `t`."""
    return IndexedSlices(values, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else values


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Scales a tensor down to an L2 norm: `t * clip_norm / max(norm(t), clip_norm)`.

    Args:
        t: a tensor, or an IndexedSlices, of which the values are clipped.
        clip_norm: the largest norm, a positive scalar (or of a shape that broadcasts to the values').
        axes: the axes over which the norm is taken; all of them by default.
        name: the name of the result.

    Returns:
        A tensor of `t`'s shape, or an IndexedSlices.

    Raises:
        ValueError: `clip_norm` has a shape that would make the result larger than `t`.
    """
    with scopes.name_scope(name, "clip_by_norm", [t, clip_norm]) as scope:
        values = _values(t, "t")
        squares = structural.reduce_sum(values * values, axes, keepdims=True)
        # sqrt has no finite derivative at zero, so where the norm is zero it is not taken.
        positive = logic.greater(squares, 0)
        safe = logic.select(positive, squares, fills.ones_like(squares))
        norm = logic.select(positive, special.sqrt(safe), squares)
        scaled = values * clip_norm
        values.shape.assert_is_compatible_with(scaled.shape)
        return _like(t, identities.identity(scaled / elementwise.maximum(norm, clip_norm), name=scope))


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor | None:
    """The L2 norm of all elements of several tensors: `sqrt(sum(norm(t)**2 for t in t_list))`.

    Args:
        t_list: tensors, IndexedSlices (repeated indices count as they are) and None, which is left out.
        name: the name scope.

    Returns:
        A scalar, or None where the list holds nothing but None.

    Raises:
        TypeError: `t_list` is not a sequence.
    """
    given = [t for t in _sequence(t_list) if t is not None]
    with scopes.name_scope(name, "global_norm", given):
        if not given:
            return None
        halves = [nn.l2_loss(_values(t, f"t_{i}")) for i, t in enumerate(given)]
        half = structural.reduce_sum(joining.stack(halves))
        return special.sqrt(half * convert.constant(2.0, dtype=half.dtype), name="global_norm")


def _sequence(t_list: Any) -> Sequence[Any]:
    if isinstance(t_list, str) or not isinstance(t_list, Sequence):
        raise TypeError(f"t_list should be a sequence, got {t_list!r}: write [t] for one tensor")
    return t_list


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Any]:
    """Scales several tensors by one factor, so that their global norm is at most `clip_norm`.

    Source: Pascanu, Mikolov and Bengio 2012, algorithm 1.

    Args:
        t_list: tensors, IndexedSlices and None, which stays None.
        clip_norm: the largest norm, a positive scalar.
        use_norm: the global norm, where it is known already.
        name: the name scope.

    Returns:
        The clipped list, and the global norm before clipping. If that is not finite, all values become NaN.

    Raises:
        TypeError: `t_list` is not a sequence.
    """
    given = list(_sequence(t_list))
    norm = global_norm(given, name) if use_norm is None else use_norm
    with scopes.name_scope(name, "clip_by_global_norm", [*given, clip_norm]) as scope:
        if all(t is None for t in given):
            return given, norm
        norm_tensor = convert.convert_to_tensor(norm, name="use_norm")
        one = convert.constant(1.0, dtype=norm_tensor.dtype.base_dtype)
        scale = clip_norm * elementwise.minimum(1.0 / norm_tensor, one / clip_norm)
        # Adds nothing, but turns the scale into NaN where the norm is not finite.
        scale = scale + (norm_tensor - norm_tensor)
        clipped = [
            None
            if t is None
            else _like(t, identities.identity(_values(t, f"t_{i}") * scale, name=f"{scope}_{i}"))
            for i, t in enumerate(given)
        ]
        return clipped, norm


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """Scales a tensor down to an average norm, the L2 norm divided by the number of elements.

    Args:
        t: a tensor.
        clip_norm: the largest average norm, a positive scalar.
        name: the name of the result.

    Returns:
        A tensor of `t`'s shape.
    """
    with scopes.name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        t = convert.convert_to_tensor(t, name="t")
        dtype = t.dtype.base_dtype
        count = casts.cast(shaping.size(t), dtype)
        inverse_norm = special.rsqrt(structural.reduce_sum(t * t))
        one = convert.constant(1.0, dtype=dtype)
        factor = elementwise.minimum(inverse_norm * count, one / clip_norm)
        return identities.identity(t * clip_norm * factor, name=scope)
