"""Whether exact sizes fit together, where symbolic ones leave it open: kernels do not look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import numpy as np

from tahr import errors
from tahr.backends.native.matrices import flips
from tahr.backends.native.plan import NativePlan
from tahr.core import sizes
from tahr.core.forms import Contraction, Elementwise, Reduction
from tahr.core.shapes import Spec
from tahr.core.sizes import UNKNOWN, Dim, Size, Unknown
from tahr.program.node import Node, Value

Pair = tuple[Dim, Dim]


class Fitting:
    """What exact sizes of a plan must fulfil. It is worked out once: most plans leave little open.

    Args:
        plan: the plan.
    """

    def __init__(self, plan: NativePlan) -> None:
        called = dict.fromkeys(n for segment in plan.segments for call in segment.calls for n in call.nodes)
        everything = dict.fromkeys([*plan.program.nodes(), *called])
        # As where a window that strides is larger than its image.
        self._perhaps_negative = dict.fromkeys(
            d
            for node in everything
            for v in node.outputs
            for d in v.shape or ()
            if isinstance(d, Size) and ((bound := sizes.least(d)) is None or bound < 0)
        )
        self._inferred = [node for node in called if not _always_fits(node)]
        self._perhaps_repeated = dict.fromkeys(pair for node in called for pair in _perhaps_repeated(node))
        self._reshaped = [(n.inputs[0].shape or (), n.outputs[0].shape or ()) for n in plan.reshaped]

    def holds(self, bound: Mapping[str, int]) -> bool:
        """Whether sizes fit."""
        if not bound:
            return True  # what the graph knows was checked when it was built

        def exact(dim: Dim) -> int:
            return sizes.evaluate(dim, bound)  # pyright: ignore[reportArgumentType]

        return (
            all(exact(dim) >= 0 for dim in self._perhaps_negative)
            and not any(exact(dim) == 1 != exact(wide) for dim, wide in self._perhaps_repeated)
            and all(math.prod(map(exact, a)) == math.prod(map(exact, b)) for a, b in self._reshaped)
            and self._can_infer(bound)
        )

    def _can_infer(self, bound: Mapping[str, int]) -> bool:
        """Whether the shape rules of operations accept the exact sizes of their inputs."""
        specs = {v: _exact_spec(v, bound) for node in self._inferred for v in node.inputs}
        try:
            for node in self._inferred:
                node.opdef.infer([specs[v] for v in node.inputs], node.attrs)
        except (ValueError, errors.Complaint):
            return False
        return True


def _always_fits(node: Node) -> bool:
    """Whether a shape rule that accepted symbolic sizes is known to accept exact ones."""
    shapes = [value.shape for value in node.inputs if value.shape is not None]
    if len(shapes) < len(node.inputs) or any(UNKNOWN in shape for shape in shapes):
        return False
    if node.opdef.broadcasts:
        return _surely_broadcast(shapes)
    if isinstance(node.opdef.form, Contraction):
        (a, b), (flip_a, flip_b) = shapes[:2], flips(node)
        return (
            min(len(a), len(b)) >= 2
            and sizes.surely_equal(a[-2 if flip_a else -1], b[-1 if flip_b else -2])
            and _surely_broadcast([a[:-2], b[:-2]])
        )
    if isinstance(node.opdef.form, Reduction):
        return True  # axes and ranks are no matter of sizes
    return all(_is_exact(value.spec) for value in node.inputs)


def _surely_broadcast(shapes: Sequence[Sequence[Dim]]) -> bool:
    """Whether in each dimension all sizes but those of 1 are the same polynomial."""
    columns = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return all(len({dim for dim in column if dim != 1}) <= 1 for column in columns)


def _is_exact(spec: Spec) -> bool:
    """Whether nothing that is known of a value depends on symbols."""
    return spec.is_static and (spec.value is None or not any(isinstance(d, Size) for d in spec.value.flat))


def _perhaps_repeated(node: Node) -> Iterator[Pair]:
    """Dimensions of operands that may happen to be 1, with those that they would be broadcast to.

    What the plan knows to be 1 has a stride of 0. `x[1:]` has none in general, and perhaps only one element.
    """
    form = node.opdef.form
    if not isinstance(form, (Elementwise, Contraction)):
        return
    end = -2 if isinstance(form, Contraction) else None
    wide = (node.outputs[0].shape or ())[:end]
    for value in node.inputs:
        for dim, to in zip(reversed((value.shape or ())[:end]), reversed(wide)):
            if isinstance(dim, Size) and dim != to and not sizes.surely_above_one(dim):
                yield dim, to


def _exact_spec(value: Value, bound: Mapping[str, int]) -> Spec:
    spec = value.spec
    if spec.shape is None:
        return spec
    shape = tuple(d if isinstance(d, Unknown) else sizes.evaluate(d, bound) for d in spec.shape)
    known = None
    if spec.value is not None:
        exact = [d if isinstance(d, Unknown) else sizes.evaluate(d, bound) for d in spec.value.flat]
        known = np.array(exact, dtype=object).reshape(spec.value.shape)
    return Spec(spec.dtype, shape, known)
