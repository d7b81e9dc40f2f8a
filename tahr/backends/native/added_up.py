"""Calls that add matrix products to a loop's variables, for many of its iterations at once.

Where it is known how often a loop runs at most, the factors of all iterations are kept, and there is one product behind
the loop. Where that has no bound, there is room for the factors of some iterations. Whenever it is full their product
is added, and behind the loop that of what is left: its sum is as long as the next power of two, filled up with zeros.
So such a product is computed with a few sizes only, and memory does not grow with the number of iterations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tahr.backends.native import gemm, list_buffers
from tahr.backends.native.calls import Bind, Call, Jump, Known, Mark, Partial, Ref
from tahr.backends.native.epilogue import accumulating
from tahr.backends.native.list_buffers import Storage
from tahr.backends.native.multiplication import Multiplication
from tahr.backends.native.nests import Bound
from tahr.core import sizes
from tahr.core.sizes import Dim
from tahr.program.node import Value

Steps = list[Bind | Jump | Mark]


class Added(NamedTuple):
    """A product that is added to a variable: a^T b.

    Attributes:
        a, b: its factors in each iteration, [iterations, rows, m] and [iterations, rows, n]; or all rows at once.
        target: the variable.
        first: to which of its rows on the product is added.
    """

    a: Value
    b: Value
    target: Value
    first: int = 0

    def product(self) -> Call:
        """The call that adds the product of all iterations."""
        bind = self._multiplication(self._kept).binder(self._buffers)
        return Call("MatMul AddV2", (), (self.a, self.b, self.target), (self.target,), (), bind)

    def of_first(self, iterations: int, known: Known) -> Bind:
        """The step that adds the product of the first iterations: of one or another number of them."""
        (step,), _ = self._multiplication(iterations).binder(self._buffers, is_always=False)(known)
        return step

    @property
    def _kept(self) -> Dim:
        assert self.a.shape is not None
        return self.a.shape[0]

    @property
    def _buffers(self) -> tuple[Ref, ...]:
        assert self.b.shape is not None
        into = Ref(self.target, self.first * self.b.shape[-1])
        return Ref(self.a), Ref(self.b), into, into

    def _multiplication(self, iterations: Dim) -> Multiplication:
        assert self.target.dtype is not None and self.a.shape is not None and self.b.shape is not None
        *rows, m = self.a.shape[1:]
        n = self.b.shape[-1]
        product = gemm.Product(self.target.dtype, True, False, accumulating(self.target.dtype))
        return Multiplication(product, m, n, math.prod(rows) * iterations, m, n)


def when_full(factors: Sequence[Storage], products: Sequence[Added], flag: Value) -> Call:
    """The call at an iteration's end that adds the products if there is no room for another iteration's factors.

    Args:
        factors: the lists of them: as long as each other.
        products: what is added.
        flag: a bool, which tells whether to.
    """

    def bind(known: Known) -> tuple[Sequence[Any], dict[Partial, int]]:
        room = _room(factors[0], known)
        steps = [each.of_first(room, known) for each in products]
        emptied = [Bind(list_buffers.begin(), (Ref(f.meta),), Bound((0, 0, 0), 1)) for f in factors]
        return _if_as_long(factors[0], room - 1, room, flag, [*steps, *emptied]), {}

    return _call(factors, products, flag, bind)


def of_the_rest(factors: Sequence[Storage], products: Sequence[Added], flag: Value) -> Call:
    """The call behind a loop that adds the products of those factors that are left."""

    def bind(known: Known) -> tuple[Sequence[Any], dict[Partial, int]]:
        room = _room(factors[0], known)
        steps: Steps = []
        least, most = 0, 1
        while least < room - 1:
            most = min(most, room)
            cleared = [_cleared(f, most, known) for f in factors] if most > 1 else []
            added = [each.of_first(most, known) for each in products]
            steps += _if_as_long(factors[0], least, most, flag, [*cleared, *added])
            least, most = most, 2 * most
        return steps, {}

    return _call(factors, products, flag, bind)


def _call(
    factors: Sequence[Storage],
    products: Sequence[Added],
    flag: Value,
    bind: Callable[[Known], tuple[Sequence[Any], dict[Partial, int]]],
) -> Call:
    lists = [v for f in factors for v in (f.items, f.meta)]
    targets = list(dict.fromkeys(each.target for each in products))
    kernels = (list_buffers.is_as_long(), list_buffers.begin(), list_buffers.clear_rest())
    return Call("MatMul AddV2", (), (*lists, *targets, flag), (*lists, *targets, flag), kernels, bind)


def _room(factor: Storage, known: Known) -> int:
    """For how many iterations there is room."""
    assert factor.items.shape is not None
    return sizes.evaluate(factor.items.shape[0], known)  # pyright: ignore[reportArgumentType]


def _cleared(factor: Storage, most: int, known: Known) -> Bind:
    """The step that fills what is missing to so many iterations with zeros."""
    bound = Bound((list_buffers.row_bytes(factor.items, known), most), 1)
    return Bind(list_buffers.clear_rest(), (Ref(factor.meta), Ref(factor.items)), bound)


def _if_as_long(factor: Storage, least: int, most: int, flag: Value, steps: Sequence[Bind]) -> Steps:
    """Steps for a list of more than `least` and at most `most` items."""
    end = Mark()
    asked = Bind(list_buffers.is_as_long(), (Ref(factor.meta), Ref(flag)), Bound((least, most), 1))
    return [asked, Jump(end, Ref(flag)), *steps, end]
